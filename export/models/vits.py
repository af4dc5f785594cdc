"""VITS: a network that speaks, trained from text to sound at once (J. Kim et al., arXiv 2106.06103).

While it is trained, an encoder of spectra (the posterior) says what the decoder makes sound of, and a flow
takes that to where the text's encoder (the prior) expects it; a search finds which symbol each frame is of.
To speak goes the other way: durations are drawn, then frames of the prior, which the flow takes back.

Sizes in comments: P symbols, T frames, N samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.models import hifigan
from export.models.flows import Affine, Coupling, Norm, Separable, SplineCoupling, WaveNet
from export.monotonic import durations
from rtaudio.errors import UserError

LONGEST = 200
"""Frames that a symbol takes at the most when it is spoken at its usual speed."""
KERNEL = 5
"""Of the WaveNets."""

Noise = Callable[[Tensor], Tensor]
"""Takes a tensor; gives noise of its shape, of mean 0 and deviation 1."""


@dataclass(frozen=True)
class Model:
    """The table ``[model]``; the defaults are the paper's.

    Parameters
    ----------
    symbols
        That there is room for; at least the corpus' own.
    speakers
        As many as the corpus has.
    hidden, filter
        Channels of the encoders and the flow, and between the two convolutions of a layer of the text's.
    layers, heads, kernel
        Of the text's encoder.
    window
        Symbols on either side whose distance the attention knows.
    dropout, duration_dropout
        Chances in the text's encoder, and in what durations are drawn with.
    latent
        Channels of what the decoder makes sound of.
    posterior
        Layers of the encoder of spectra.
    flows, flow_layers
        Couplings, and layers of each.
    embedding
        Channels of a speaker.
    fft
        Samples of a window of the spectra.
    decoder
        See `export.models.hifigan.Shape`.
    """

    symbols: int = 256
    speakers: int = 1
    hidden: int = 192
    filter: int = 768
    layers: int = 6
    heads: int = 2
    kernel: int = 3
    window: int = 4
    dropout: float = 0.1
    duration_dropout: float = 0.5
    latent: int = 192
    posterior: int = 16
    flows: int = 4
    flow_layers: int = 4
    embedding: int = 256
    fft: int = 1024
    decoder: hifigan.Shape = field(default_factory=lambda: hifigan.V1)

    def __post_init__(self) -> None:
        for name, least in (
            ("symbols", 4), ("speakers", 1), ("hidden", 2), ("filter", 1), ("layers", 1), ("heads", 1),
            ("kernel", 1), ("window", 0), ("latent", 2), ("posterior", 1), ("flows", 1),
            ("flow_layers", 1), ("embedding", 1), ("fft", 16),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise UserError(f"{name} = {getattr(self, name)}: give {least} or more")
        if self.hidden % self.heads:
            raise UserError(f"hidden = {self.hidden} over {self.heads} heads: want a multiple")
        for name in ("latent", "fft"):
            if getattr(self, name) % 2:
                raise UserError(f"{name} = {getattr(self, name)}: want an even number")
        if self.kernel % 2 == 0:
            raise UserError(f"kernel = {self.kernel}: want an odd number")
        for name in ("dropout", "duration_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: want 0 or more, below 1")


def mask_of(lengths: Tensor, longest: int) -> Tensor:
    """(batch, 1, longest), 1 where there is something and 0 behind it."""
    return (torch.arange(longest, device=lengths.device) < lengths[:, None]).float()[:, None]


def stretched(x: Tensor, counts: Tensor, frames: int | Tensor) -> Tensor:
    """Symbols to frames.

    Parameters
    ----------
    x
        (batch, channels, P).
    counts
        Frames of each symbol, (batch, P).
    frames
        How many there are to be; those beyond the sum of the counts are the last symbol's.

    Returns
    -------
    (batch, channels, frames).
    """
    ends = counts.cumsum(1)[:, None]  # (batch, 1, P)
    at = torch.arange(frames, device=x.device)[:, None]  # type: ignore[arg-type]
    symbol = (at >= ends).long().sum(2).clamp_max(x.shape[2] - 1)  # (batch, frames)
    return x.gather(2, symbol[:, None].expand(-1, x.shape[1], -1))


class Attention(nn.Module):
    """Attention that knows by how much symbols near each other are apart (P. Shaw, J. Uszkoreit, A. Vaswani,
    "Self-attention with relative position representations", arXiv 1803.02155, equations 3 and 4; beyond the
    window there is no representation, in place of the last).
    """

    def __init__(self, channels: int, heads: int, window: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.window, size = heads, window, channels // heads
        self.query, self.key, self.value = (nn.Conv1d(channels, channels, 1) for _ in range(3))
        self.output = nn.Conv1d(channels, channels, 1)
        self.keys, self.values = (
            nn.Parameter(size**-0.5 * torch.randn(2 * window + 1, size)) for _ in range(2)
        )
        self.dropout = nn.Dropout(dropout)
        for layer in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, channels, P)."""
        batch, channels, count = x.shape

        def by_head(part: Tensor) -> Tensor:
            return part.view(batch, self.heads, channels // self.heads, count).transpose(2, 3)

        q, k, v = by_head(self.query(x)), by_head(self.key(x)), by_head(self.value(x))  # (b, heads, P, size)
        q = q / math.sqrt(channels // self.heads)
        place = torch.arange(count, device=x.device)
        apart = place - place[:, None] + self.window  # (P, P), 0 to 2 * window where they are near
        near = (apart >= 0) & (apart <= 2 * self.window)
        known = q @ self.keys.to(q.dtype).T  # (b, heads, P, 2 * window + 1)
        index = apart.clamp(0, 2 * self.window).expand(batch, self.heads, count, count)
        zero = torch.zeros((), dtype=q.dtype, device=q.device)
        scores = q @ k.transpose(2, 3) + torch.where(near, known.gather(3, index), zero)
        scores = scores.masked_fill(mask[:, :, None] == 0, -math.inf)
        weights = self.dropout(scores.softmax(3)).to(v.dtype)  # (b, heads, P, P)
        # Of each symbol, the weights of those around it.
        beside = place[:, None] + torch.arange(-self.window, self.window + 1, device=x.device)
        there = (beside >= 0) & (beside < count)  # (P, 2 * window + 1)
        around = beside.clamp_min(0).minimum(place[-1:])
        index = around.expand(batch, self.heads, count, 2 * self.window + 1)
        some = torch.where(there, weights.gather(3, index), zero.to(v.dtype))
        y = weights @ v + some @ self.values.to(v.dtype)
        found: Tensor = self.output(y.transpose(2, 3).reshape(batch, channels, count))
        return found


class Layer(nn.Module):
    """Attention and two convolutions, each with a residual and normalised after it."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        hidden, padding = model.hidden, model.kernel // 2
        self.attention = Attention(hidden, model.heads, model.window, model.dropout)
        self.first = nn.Conv1d(hidden, model.filter, model.kernel, padding=padding)
        self.second = nn.Conv1d(model.filter, hidden, model.kernel, padding=padding)
        self.norms = nn.ModuleList(Norm(hidden) for _ in range(2))
        self.dropout = nn.Dropout(model.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, hidden, P)."""
        x = self.norms[0](x + self.dropout(self.attention(x, mask)))
        y = self.dropout(torch.relu(self.first(x * mask)))
        y = self.second(y * mask) * mask
        normed: Tensor = self.norms[1](x + self.dropout(y))
        return normed


class TextEncoder(nn.Module):
    """The prior of each symbol (VITS, 2.2.1 and figure 1)."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.embedding = nn.Embedding(model.symbols, model.hidden)
        nn.init.normal_(self.embedding.weight, std=model.hidden**-0.5)
        self.layers = nn.ModuleList(Layer(model) for _ in range(model.layers))
        self.prior = nn.Conv1d(model.hidden, 2 * model.latent, 1)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Ids (batch, P) to what the symbols are, (batch, hidden, P), and mean and logarithm of the deviation
        of the prior, (batch, latent, P) each.
        """
        x = (self.embedding(ids) * math.sqrt(self.embedding.embedding_dim)).transpose(1, 2) * mask
        for layer in self.layers:
            x = layer(x, mask) * mask
        mean, deviation = (self.prior(x) * mask).chunk(2, 1)
        return x, mean, deviation


class Posterior(nn.Module):
    """What spectra say (VITS, 2.2.3): mean and logarithm of the deviation of each frame."""

    def __init__(self, model: Model, condition: int) -> None:
        super().__init__()
        self.before = nn.Conv1d(model.fft // 2 + 1, model.hidden, 1)
        self.network = WaveNet(model.hidden, KERNEL, model.posterior, condition)
        self.after = nn.Conv1d(model.hidden, 2 * model.latent, 1)

    def forward(self, spectra: Tensor, mask: Tensor, g: Tensor | None) -> tuple[Tensor, Tensor]:
        """Magnitudes (batch, fft / 2 + 1, T) to (batch, latent, T) twice."""
        x = self.network(self.before(spectra) * mask, mask, g)
        mean, deviation = (self.after(x) * mask).chunk(2, 1)
        return mean, deviation


class Durations(nn.Module):
    """The stochastic duration predictor (VITS, 2.2.2 and appendix B.1): a flow from durations to noise.

    Whole numbers are made continuous by what a second flow draws (variational dequantisation), and a second
    channel of noise is put beside them (variational data augmentation).
    """

    LAYERS, COUPLINGS, FLOOR = 3, 4, 1e-5

    def __init__(self, model: Model, condition: int) -> None:
        super().__init__()
        hidden = model.hidden

        def flow() -> nn.ModuleList:
            couplings = (SplineCoupling(hidden, layers=self.LAYERS) for _ in range(self.COUPLINGS))
            return nn.ModuleList([Affine(2), *couplings])

        def reader(channels: int) -> nn.ModuleList:
            network = Separable(hidden, 3, self.LAYERS, model.duration_dropout)
            return nn.ModuleList([nn.Conv1d(channels, hidden, 1), network, nn.Conv1d(hidden, hidden, 1)])

        self.text, self.counts = reader(hidden), reader(1)
        self.flow, self.dequantiser = flow(), flow()
        self.condition = nn.Conv1d(condition, hidden, 1) if condition else None

    def _given(self, x: Tensor, mask: Tensor, g: Tensor | None) -> Tensor:
        before, network, after = self.text
        x = before(x)
        if self.condition is not None and g is not None:
            x = x + self.condition(g)
        given: Tensor = after(network(x, mask)) * mask
        return given

    @staticmethod
    def _through(flow: nn.ModuleList, x: Tensor, mask: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        x, total = flow[0](x, mask)
        for coupling in flow[1:]:
            x, steepness = coupling(x, mask, g)
            total = total + steepness
        return x, total

    def forward(self, x: Tensor, mask: Tensor, g: Tensor | None, counts: Tensor, noise: Noise) -> Tensor:
        """A bound of how unlikely durations are (equation 7).

        Parameters
        ----------
        x
            What the symbols are, (batch, hidden, P). Nothing is learned through it.
        mask, g
            (batch, 1, P); the speakers, (batch, embedding, 1).
        counts
            Frames of each symbol, (batch, 1, P).
        noise
            That dequantises.

        Returns
        -------
        Negative logarithms of likelihoods, (batch,).
        """
        given = self._given(x.detach(), mask, None if g is None else g.detach())
        before, network, after = self.counts
        told = after(network(before(counts), mask)) * mask
        drawn = noise(counts.expand(-1, 2, -1)) * mask
        z, steepness = self._through(self.dequantiser, drawn, mask, given + told)
        u, beside = z.chunk(2, 1)
        squashed = functional.logsigmoid(u) + functional.logsigmoid(-u)
        # log q: of the noise, less the steepness of what it went through
        likely = -0.5 * ((math.log(2 * math.pi) + drawn.square()) * mask).sum((1, 2))
        likely = likely - steepness - (squashed * mask).sum((1, 2))
        left = (counts - torch.sigmoid(u)).clamp_min(self.FLOOR).log() * mask
        z, steepness = self._through(self.flow, torch.cat([left, beside], 1), mask, given)
        # log p: of the noise that comes out, and the steepness of the flow and the logarithm
        out = -0.5 * ((math.log(2 * math.pi) + z.square()) * mask).sum((1, 2))
        return likely - (out + steepness - left.sum((1, 2)))

    def draw(self, x: Tensor, mask: Tensor, g: Tensor | None, drawn: Tensor) -> Tensor:
        """Logarithms of durations, (batch, 1, P), of noise (batch, 2, P)."""
        given = self._given(x, mask, g)
        affine, _, *rest = self.flow
        z = drawn * mask
        for coupling in reversed(rest):
            z = coupling.inverse(z, mask, given)  # type: ignore[operator]
        # The first coupling bends only the channel that was put beside the durations: it is left out.
        found: Tensor = affine.inverse(z.flip(1), mask)[:, :1]  # type: ignore[operator]
        return found


class Heard(NamedTuple):
    """What a step of training needs."""

    sound: Tensor
    """Of the segments, (batch, 1, samples)."""
    begins: Tensor
    """Frames at which they begin, (batch,)."""
    divergence: Tensor
    """Of posterior and prior, per frame (equations 3 and 4)."""
    duration: Tensor
    """How unlikely the durations are, per symbol."""
    counts: Tensor
    """Frames of each symbol, (batch, P)."""


class Vits(nn.Module):
    """Everything that speaks, and the posterior that it is trained with."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        condition = model.embedding if model.speakers > 1 else 0
        self.text = TextEncoder(model)
        self.posterior = Posterior(model, condition)
        self.flow = nn.ModuleList(
            Coupling(model.latent, model.hidden, KERNEL, model.flow_layers, condition)
            for _ in range(model.flows)
        )
        self.durations = Durations(model, condition)
        self.decoder = hifigan.Generator(model.latent, model.decoder, condition)
        self.speakers = nn.Embedding(model.speakers, condition) if condition else None

    def forward(
        self,
        ids: Tensor,
        symbols: Tensor,
        spectra: Tensor,
        frames: Tensor,
        speakers: Tensor,
        segment: int,
        noise: Noise = torch.randn_like,
    ) -> Heard:
        """What training needs of some clips.

        Parameters
        ----------
        ids, symbols
            (batch, P) int64, and how many there are of each, (batch,).
        spectra, frames
            Magnitudes (batch, fft / 2 + 1, T), and how many frames there are of each; as many as symbols, or
            more, and as many as ``segment`` has.
        speakers
            (batch,) int64.
        segment
            Frames of each clip, somewhere in it, that the decoder makes sound of; 0 for all.
        noise
            For the posterior and for the durations.
        """
        text_mask, mask = mask_of(symbols, ids.shape[1]), mask_of(frames, spectra.shape[2])
        g = self.speaker(speakers)
        x, mean, deviation = self.text(ids, text_mask)
        mean, deviation = mean.float(), deviation.float()
        m, s = (part.float() for part in self.posterior(spectra, mask, g))
        z = (m + noise(m) * s.exp()) * mask  # (batch, latent, T)
        expected = z
        for coupling in self.flow:
            expected = coupling(expected, mask, g)
        expected = expected.float()
        counts = align(expected, mean, deviation, symbols, frames)
        mean, deviation = (stretched(part, counts, z.shape[2]) for part in (mean, deviation))
        divergence = kullback_leibler(expected, s, mean, deviation, mask)
        with torch.autocast(x.device.type, enabled=False):
            unlikely = self.durations(x.float(), text_mask, g, counts[:, None].float(), noise)
        duration = unlikely.sum() / text_mask.sum()
        begins = torch.zeros_like(frames)
        if segment:
            begins = (torch.rand(len(frames), device=frames.device) * (frames - segment + 1)).long()
            z = cut(z, begins, segment)
        return Heard(self.decoder(z, g), begins, divergence, duration, counts)

    def speaker(self, numbers: Tensor) -> Tensor | None:
        """(batch, embedding, 1) of numbers (batch,); None if there is only one."""
        return None if self.speakers is None else self.speakers(numbers)[..., None]

    def speak(
        self, ids: Tensor, symbols: Tensor, scales: Tensor, speaker: Tensor | None, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """Speak a sentence.

        Parameters
        ----------
        ids, symbols
            (1, P) int64, and (1,).
        scales
            (3,): of the noise, of the durations, of their noise.
        speaker
            (1,) int64; None if there is only one.
        noise
            Of the durations, then of the frames.

        Returns
        -------
        The sound, (1, 1, N), and the frames of each symbol, (1, P) float32.
        """
        mask = mask_of(symbols, ids.shape[1])
        g = None if speaker is None else self.speaker(speaker)
        x, mean, deviation = self.text(ids, mask)
        drawn = noise(mean[:, :1].expand(-1, 2, -1)) * scales[2]
        length = self.durations.draw(x, mask, g, drawn).exp().clamp_max(LONGEST)
        counts = torch.ceil(length * mask * scales[1])[:, 0]  # (1, P)
        total = counts.sum().clamp_min(1).long()
        mean, deviation = stretched(mean, counts, total), stretched(deviation, counts, total)
        z = mean + noise(mean) * deviation.exp() * scales[0]
        all_frames = torch.ones_like(z[:, :1])
        for coupling in reversed(self.flow):
            z = coupling.inverse(z, all_frames, g)  # type: ignore[operator]
        return self.decoder(z, g), counts


@torch.no_grad()
def align(z: Tensor, mean: Tensor, deviation: Tensor, symbols: Tensor, frames: Tensor) -> Tensor:
    """Frames of each symbol in the alignment that makes them likeliest (VITS, equation 6).

    Parameters
    ----------
    z
        Frames, (batch, latent, T).
    mean, deviation
        Of the symbols' priors, the latter as its logarithm, (batch, latent, P).
    symbols, frames
        How many there are of each, (batch,).

    Returns
    -------
    (batch, P) int64, which add up to ``frames``.
    """
    precision = (-2 * deviation).exp().transpose(1, 2)  # (batch, P, latent)
    mean_t = mean.transpose(1, 2)
    constant = (-deviation - 0.5 * math.log(2 * math.pi)).sum(1)[..., None]  # (batch, P, 1)
    with torch.autocast(z.device.type, enabled=False):
        # log N(z; mean, deviation), its square multiplied out
        scores = (
            constant
            - 0.5 * (precision @ z.square())
            + (mean_t * precision) @ z
            - 0.5 * (mean_t.square() * precision).sum(2, keepdim=True)
        )  # (batch, P, T)
    found = durations(scores.float().cpu().numpy(), symbols.cpu().numpy(), frames.cpu().numpy())
    return torch.from_numpy(found).to(z.device)


def kullback_leibler(z: Tensor, s: Tensor, mean: Tensor, deviation: Tensor, mask: Tensor) -> Tensor:
    """Divergence of posterior and prior per frame, as far as a sample tells (VITS, equation 3).

    Parameters
    ----------
    z
        A sample of the posterior, run through the flow, (batch, latent, T).
    s
        Logarithms of the posterior's deviations.
    mean, deviation
        Of the prior, the latter as its logarithm.
    mask
        (batch, 1, T).

    Returns
    -------
    The sum over channels and frames by the number of frames. Of the posterior the expectation is taken, of
    the prior the sample: ``log(deviation / s) - 1/2 + (z - mean)^2 / (2 deviation^2)``.
    """
    each = deviation - s - 0.5 + 0.5 * (z - mean).square() * (-2 * deviation).exp()
    return (each * mask).sum() / mask.sum()


def cut(x: Tensor, begins: Tensor, length: int) -> Tensor:
    """Of (batch, channels, time) the ``length`` from ``begins`` on, (batch,)."""
    at = begins[:, None] + torch.arange(length, device=x.device)  # (batch, length)
    return x.gather(2, at[:, None].expand(-1, x.shape[1], -1))
