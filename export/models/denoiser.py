"""The live denoiser: a causal network with gates that cleans one short-time spectrum after the other.

Speech at 48 kHz, windows of 20 ms every 10 ms, no look-ahead. Gated convolutions
over frequency halve the lower 96 bins three times; two GRUs remember; gated transposed convolutions with
skips lead back to a filter over five frames for each of these bins, H. Schroeter et al., "DeepFilterNet",
ICASSP 2022, equation 4, and 32 bands above have a gain each. Gates are those of the enhancement paper
(`export.models.segan`), its equation 3.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rtaudio.errors import UserError

RATE = 48_000
"""Hz."""
WINDOW, HOP, FFT = 960, 480, 1024
"""Samples. The window is the root of a Hann window, followed by zeros."""
BINS = FFT // 2 + 1
LOW, HIGH = 96, 32
"""Bins that are filtered one by one, up to 4.5 kHz, and bands above them."""
TAPS = 5
"""Frames that a filter hears, the newest included."""
FLOOR = 1e-8
"""Power at which the logarithm ends."""
SHARPER = 0.2
"""By which the power of the gains is more than 1: PESQ rises by 0.01 to 0.04 (docs/enhancement.md)."""
TINY = 1e-16
"""Power below which nothing is sharpened."""


@dataclass(frozen=True)
class Shape:
    """The table ``[model]``.

    Parameters
    ----------
    channels
        Of the three convolutions, and backwards of the transposed ones.
    hidden
        Size of the GRUs.
    """

    channels: tuple[int, int, int] = (12, 24, 32)
    hidden: int = 192

    def __post_init__(self) -> None:
        if len(self.channels) != 3 or not all(1 <= width <= 256 for width in self.channels):
            raise UserError(f"channels = {list(self.channels)}: want three numbers from 1 to 256")
        if not 8 <= self.hidden <= 1024:
            raise UserError(f"hidden = {self.hidden}: want 8 to 1024")


def analysis(x: Tensor) -> Tensor:
    """Spectra, (batch, frames, BINS) complex, of (batch, samples): frames end every HOP samples."""
    padded = functional.pad(x, (WINDOW - HOP, 0))
    frames = padded.unfold(-1, WINDOW, HOP) * window(x.device)
    spectra: Tensor = torch.fft.rfft(frames, FFT)
    return spectra


def synthesis(spectra: Tensor) -> Tensor:
    """The signal, (batch, frames * HOP), of `analysis`: later by WINDOW - HOP samples."""
    frames = torch.fft.irfft(spectra, FFT)[..., :WINDOW] * window(spectra.device)
    first, second = frames[..., :HOP], frames[..., HOP:]
    whole: Tensor = first + functional.pad(second, (0, 0, 1, 0))[:, :-1]
    return whole.flatten(1)


def window(device: torch.device) -> Tensor:
    """The root of a Hann window: its square, halfway overlapped, adds up to 1."""
    return torch.hann_window(WINDOW, device=device).sqrt()


def band_edges() -> list[int]:
    """First bins of the bands above `LOW`, and the end: the wider the higher."""
    turns = torch.linspace(0, 1, HIGH + 1, dtype=torch.float64) ** 1.6
    return [LOW + round(float(turn) * (BINS - LOW)) for turn in turns]


def band_means() -> Tensor:
    """(BINS - LOW, HIGH): powers of bins to the mean power of bands."""
    edges = band_edges()
    weights = torch.zeros(BINS - LOW, HIGH)
    for band, (begin, end) in enumerate(pairwise(edges)):
        weights[begin - LOW : end - LOW, band] = 1 / (end - begin)
    return weights


def band_gains() -> Tensor:
    """(HIGH, BINS - LOW): gains of bands to gains of bins, on lines between the bands' middles."""
    edges = torch.tensor(band_edges(), dtype=torch.float64)
    middles = (edges[:-1] + edges[1:] - 1) / 2
    bins = torch.arange(LOW, BINS, dtype=torch.float64)
    place = torch.searchsorted(middles, bins).clamp(1, HIGH - 1)
    below, above = middles[place - 1], middles[place]
    part = ((bins - below) / (above - below)).clamp(0, 1)
    weights = torch.zeros(HIGH, BINS - LOW, dtype=torch.float64)
    columns = torch.arange(BINS - LOW)
    weights[place - 1, columns] = 1 - part
    weights[place, columns] = part
    return weights.float()


class Gated(nn.Module):
    """A convolution with gates, over ``frames`` frames to the newest and over bins, which it halves."""

    def __init__(self, inputs: int, outputs: int, frames: int, width: int) -> None:
        super().__init__()
        self.frames = frames
        self.convolution = nn.Conv2d(
            inputs, 2 * outputs, (frames, width), (1, 2), (0, width // 2), bias=False
        )
        self.norm = nn.BatchNorm2d(2 * outputs)

    def forward(self, x: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(batch, inputs, frames, bins), and the frames before, to half as many bins and the last frames."""
        if before is not None:
            x = torch.cat([before, x], 2)
            before = x[:, :, 1 - self.frames :]
        return functional.glu(self.norm(self.convolution(x)), 1), before


class Doubled(nn.Module):
    """A transposed convolution over frequency with gates: twice as many bins."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(
            inputs, 2 * outputs, (1, width), (1, 2), (0, width // 2 - (width % 2 == 0)), (0, width % 2),
            bias=False,
        )  # fmt: skip
        self.norm = nn.BatchNorm2d(2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, frames, bins) to (batch, outputs, frames, 2 bins)."""
        return functional.glu(self.norm(self.convolution(x)), 1)


class Denoiser(nn.Module):
    """Noisy spectra to spectra of speech, and how likely it is that there is speech."""

    to_bands: Tensor
    from_bands: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        one, two, three = shape.channels
        hidden = shape.hidden
        middle = three * LOW // 8
        self.first = Gated(3, one, 3, 5)
        self.second = Gated(one, two, 2, 3)
        self.third = Gated(two, three, 1, 3)
        self.high = nn.Linear(2 * HIGH, 2 * HIGH)
        self.inner = nn.Linear(middle + HIGH, 2 * hidden)
        self.memory = nn.ModuleList([nn.GRU(hidden, hidden) for _ in range(2)])
        self.outer = nn.Linear(hidden, 2 * middle)
        self.up = nn.ModuleList(
            [Doubled(2 * three, two, 3), Doubled(2 * two, one, 3), Doubled(2 * one, 8, 5)]
        )
        self.filter = nn.Conv2d(8, 2 * TAPS + 1, 1)
        self.gains = nn.Linear(hidden + HIGH, HIGH)
        self.speech = nn.Linear(hidden, 1)
        self.register_buffer("to_bands", band_means())
        self.register_buffer("from_bands", band_gains())
        with torch.no_grad():
            for layer in (self.filter, self.gains):
                layer.weight.mul_(0.1)
            self.filter.bias.copy_(2.0 * (torch.arange(2 * TAPS + 1) == 2 * TAPS))  # type: ignore[union-attr]
            self.gains.bias.fill_(2.0)

    def states(self, batch: int = 1) -> dict[str, Tensor]:
        """What a stream begins with: zeros, by name."""
        one, hidden = self.shape.channels[0], self.shape.hidden
        return {
            "features": torch.zeros(batch, 3, 2, LOW),
            "halved": torch.zeros(batch, one, 1, LOW // 2),
            "bands": torch.zeros(batch, 1, HIGH),
            "memory_1": torch.zeros(batch, hidden),
            "memory_2": torch.zeros(batch, hidden),
            "past_re": torch.zeros(batch, TAPS - 1, LOW),
            "past_im": torch.zeros(batch, TAPS - 1, LOW),
        }

    def forward(
        self, re: Tensor, im: Tensor, features: Tensor, halved: Tensor, bands: Tensor,
        memory_1: Tensor, memory_2: Tensor, past_re: Tensor, past_im: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Clean some frames.

        Parameters
        ----------
        re, im
            (batch, frames, BINS).
        features, halved, bands, memory_1, memory_2, past_re, past_im
            `states`, or those of the call before.

        Returns
        -------
        re, im, speech
            Like the inputs; and (batch, frames, 1), from 0 to 1.
        *states
            For the next call.
        """
        low_re, low_im, frames = re[:, :, :LOW], im[:, :, :LOW], re.shape[1]
        power = re * re + im * im
        logarithm = torch.log(power[:, :, :LOW] + FLOOR)
        squeezed = torch.exp(-0.35 * logarithm)  # |X|^-0.7: the phase, and the magnitude to the power 0.3
        x = torch.stack([levels(logarithm), low_re * squeezed, low_im * squeezed], 1)
        one, features = self.first(x, features)
        two, halved = self.second(one, halved)
        three, _ = self.third(two, None)
        heard = levels(torch.log(power[:, :, LOW:] @ self.to_bands + FLOOR))
        both = torch.cat([bands, heard], 1)
        bands = both[:, -1:]
        high = functional.glu(self.high(torch.cat([heard, both[:, :-1]], 2)), 2)
        x = torch.cat([three.transpose(1, 2).flatten(2), high], 2)
        x = functional.glu(self.inner(x), 2).transpose(0, 1)
        memories = []
        for gru, before in zip(self.memory, (memory_1, memory_2), strict=True):
            found, after = gru(x, before[None])
            x = x + found
            memories.append(after.squeeze(0))
        x = x.transpose(0, 1)
        speech = torch.sigmoid(self.speech(x))
        gains = torch.sigmoid(self.gains(torch.cat([x, high], 2))) @ self.from_bands
        y = functional.glu(self.outer(x), 2)
        y = y.reshape(-1, frames, self.shape.channels[2], LOW // 8).transpose(1, 2)
        for up, skip in zip(self.up, (three, two, one), strict=True):
            y = up(torch.cat([y, skip], 1))
        taps = self.filter(y)
        a, b = taps[:, :TAPS], taps[:, TAPS : 2 * TAPS]
        whole_re, whole_im = torch.cat([past_re, low_re], 1), torch.cat([past_im, low_im], 1)
        c, d = late(whole_re, frames), late(whole_im, frames)
        sum_re = low_re + (a * c - b * d).sum(1)
        sum_im = low_im + (a * d + b * c).sum(1)
        gain = torch.sigmoid(taps[:, 2 * TAPS])
        clean_re = torch.cat([gain * sum_re, gains * re[:, :, LOW:]], 2)
        clean_im = torch.cat([gain * sum_im, gains * im[:, :, LOW:]], 2)
        past_re, past_im = whole_re[:, 1 - TAPS :], whole_im[:, 1 - TAPS :]
        return clean_re, clean_im, speech, features, halved, bands, *memories, past_re, past_im


def folded(network: nn.Module) -> nn.Module:
    """The same with the norms' means and variances in the convolutions' weights: for inference only."""
    network = copy.deepcopy(network).eval()
    for layer in network.modules():
        if isinstance(layer, (Gated, Doubled)):
            transposed = isinstance(layer, Doubled)
            layer.convolution = fuse_conv_bn_eval(layer.convolution, layer.norm, transposed)
            layer.norm = nn.Identity()  # type: ignore[assignment]
    return network


class Sharpened(nn.Module):
    """A denoiser whose gains are raised to the power 1 + `SHARPER`: for inference only.

    It is trained not to take out speech, and leaves more noise for it than is best for the ear.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, re: Tensor, im: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """As `Denoiser.forward`."""
        clean_re, clean_im, *others = self.network(re, im, *states)
        kept = (clean_re * clean_re + clean_im * clean_im + TINY) / (re * re + im * im + TINY)
        less = kept.clamp(max=1.0) ** (SHARPER / 2)
        return less * clean_re, less * clean_im, *others


def levels(logarithm: Tensor) -> Tensor:
    """Natural logarithms of powers to levels, about -1 to 2: 0 for -30 dB, 1 more for every 30 dB."""
    return logarithm * (1 / (3 * math.log(10))) + 1


def late(x: Tensor, frames: int) -> Tensor:
    """(batch, TAPS, frames, LOW): (batch, TAPS - 1 + frames, LOW) from its first frame on, its second ..."""
    if frames == 1:
        return x[:, :, None]
    return torch.stack([x[:, tap : tap + frames] for tap in range(TAPS)], 1)


class Critic(nn.Module):
    """Scores (batch,) of spectra of (clean or enhanced, noisy) speech: gated convolutions without norms."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        sizes = [2, width // 2, width, width, width]
        self.layers = nn.ModuleList([nn.Conv2d(a, 2 * b, (5, 5), (2, 2), (2, 2)) for a, b in pairwise(sizes)])
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, speech: Tensor, noisy: Tensor) -> Tensor:
        """Of squeezed spectra, (batch, frames, bands) each."""
        x = torch.stack([speech, noisy], 1)
        for layer in self.layers:
            x = functional.glu(layer(x), 1)
        scores: Tensor = self.last(x).mean((1, 2, 3))
        return scores
