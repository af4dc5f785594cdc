"""Phonemes to log mel spectra, with durations, pitch and energy that are predicted, or given in training.

Y. Ren et al., "FastSpeech 2: Fast and High-Quality End-to-End Text to Speech", ICLR 2021 (arXiv 2006.04558),
section 2: encoder, variance adaptor, decoder. Pitch and energy are means over each phoneme, and enter by a
convolution, as in FastPitch (A. Lancucki, ICASSP 2021, section 2). Encoder and decoder are blocks of ConvNeXt
in place of attention: they hear some words around, and cost a third.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from export.models.hifigan import SLOPE, Judged
from export.models.vocos import Block
from rtaudio.errors import UserError

PAD = 0
"""Id of what is between phonemes, and behind them; it takes no time."""
CENTRE, SPREAD = -5.0, 2.0
"""Of log mel spectra of speech, about: what the network puts out is relative to these."""
PITCH_NOISE, TEMPO_NOISE = 0.25, 0.1
"""Standard deviations that noise of 1 makes among sentences: of pitch and energy, as a part of those among
phonemes; and of the logarithm of all durations."""


@dataclass(frozen=True)
class Shape:
    """The table ``[model]``.

    Parameters
    ----------
    symbols
        That there is room for; at least the corpus' own.
    speakers
        As many as the corpus has.
    channels, encoder, decoder
        Channels of both, and their blocks.
    dropout, predictors
        What drops out in training: in the encoder, and in the predictors.
    """

    symbols: int = 256
    speakers: int = 1
    channels: int = 160
    encoder: int = 4
    decoder: int = 6
    dropout: float = 0.1
    predictors: float = 0.3

    def __post_init__(self) -> None:
        for name in ("symbols", "speakers", "channels", "encoder", "decoder"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: want 1 or more")
        for name in ("dropout", "predictors"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: want 0 or more, below 1")


def owners(durations: Tensor, frames: int | Tensor) -> Tensor:
    """Which token each frame is of.

    Parameters
    ----------
    durations
        (batch, tokens), frames of each, int64.
    frames
        How many are asked for.

    Returns
    -------
    (batch, frames) int64; the last token's for frames that are beyond the sum.
    """
    ends = durations.cumsum(1)
    at = torch.arange(frames, device=durations.device)  # type: ignore[arg-type]
    past = (at[None, :, None] >= ends[:, None]).long().sum(2)
    return past.clamp(max=durations.shape[1] - 1)


def spread(x: Tensor, owner: Tensor) -> Tensor:
    """(batch, tokens, channels) to (batch, frames, channels): the length regulator."""
    return x.gather(1, owner[:, :, None].expand(-1, -1, x.shape[2]))


class Predictor(nn.Module):
    """One number for each token: two convolutions, each with a norm (section 2.3 and figure 1 (c))."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(channels, channels, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(channels, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, tokens, channels) and (batch, tokens, 1) to (batch, tokens)."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            y = functional.relu(layer((x * mask).transpose(1, 2))).transpose(1, 2)
            x = self.dropout(norm(y))
        found: Tensor = self.last(x) * mask
        return found[:, :, 0]


class Acoustic(nn.Module):
    """See the module.

    Parameters
    ----------
    mels
        Bands.
    shape
        Sizes.
    """

    def __init__(self, mels: int, shape: Shape) -> None:
        super().__init__()
        channels = shape.channels
        self.embedding = nn.Embedding(shape.symbols, channels)
        self.speaker = nn.Embedding(shape.speakers, channels) if shape.speakers > 1 else None
        self.dropout = nn.Dropout(shape.dropout)
        self.encoder = nn.ModuleList(Block(channels, 1 / shape.encoder) for _ in range(shape.encoder))
        self.durations, self.pitch, self.energy = (Predictor(channels, shape.predictors) for _ in range(3))
        self.variance = nn.Conv1d(2, channels, 3, padding=1)
        self.place = nn.Linear(2, channels)
        self.decoder = nn.ModuleList(Block(channels, 1 / shape.decoder) for _ in range(shape.decoder))
        self.norm = nn.LayerNorm(channels)
        self.last = nn.Linear(channels, mels)
        nn.init.normal_(self.embedding.weight, std=0.5)

    def encode(self, ids: Tensor, mask: Tensor, speaker: Tensor) -> Tensor:
        """Tokens (batch, tokens) of speakers (batch,) to (batch, tokens, channels)."""
        x: Tensor = self.embedding(ids)
        if self.speaker is not None:
            x = x + self.speaker(speaker)[:, None]
        x = (self.dropout(x) * mask).transpose(1, 2)
        for block in self.encoder:
            x = self.dropout(block(x)) * mask.transpose(1, 2)
        return x.transpose(1, 2)

    def decode(
        self, x: Tensor, mask: Tensor, pitch: Tensor, energy: Tensor, durations: Tensor, frames: Tensor | int
    ) -> Tensor:
        """Encoded tokens, with what is known of each (batch, tokens), to (batch, mels, frames)."""
        variance = self.variance(torch.stack([pitch, energy], 1) * mask.transpose(1, 2)).transpose(1, 2)
        owner = owners(durations, frames)
        starts, long = durations.cumsum(1) - durations, durations.clamp(min=1)
        known = torch.stack([starts, long], 2)  # (batch, tokens, 2)
        begun, lasts = spread(known, owner).to(x).unbind(2)
        at = torch.arange(frames, device=x.device)[None].to(x)  # type: ignore[arg-type]
        place = torch.stack([(at - begun + 0.5) / lasts, lasts.log()], 2)  # (batch, frames, 2)
        inside = (at < durations.sum(1, keepdim=True))[:, :, None].to(x)
        y = (spread(x + variance, owner) + self.place(place)) * inside
        y, inside = y.transpose(1, 2), inside.transpose(1, 2)
        for block in self.decoder:
            y = block(y) * inside
        mel: Tensor = self.last(self.norm(y.transpose(1, 2)))
        return (CENTRE + SPREAD * mel).transpose(1, 2)

    def forward(
        self, ids: Tensor, speaker: Tensor, durations: Tensor, pitch: Tensor, energy: Tensor, frames: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """With given durations, pitch and energy, as in training.

        Parameters
        ----------
        ids
            (batch, tokens) int64, `PAD` behind those of shorter sentences, nowhere else.
        speaker
            (batch,) int64.
        durations
            (batch, tokens) int64, frames.
        pitch, energy
            (batch, tokens), normalised.
        frames
            Of the longest.

        Returns
        -------
        Log mel spectra (batch, mels, frames); and predicted logarithms of 1 + durations, pitch, and energy,
        (batch, tokens) each.
        """
        mask = (ids != PAD)[:, :, None].to(self.embedding.weight)
        x = self.encode(ids, mask, speaker)
        said = self.durations(x, mask), self.pitch(x, mask), self.energy(x, mask)
        return self.decode(x, mask, pitch, energy, durations, frames), *said

    def speak(
        self, ids: Tensor, scales: Tensor, speaker: Tensor | None, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One sentence as Piper's voices are given it.

        Parameters
        ----------
        ids
            (1, P) int64, with `PAD` between phonemes.
        scales
            (3,): of noise, see `PITCH_NOISE`; of lengths; of noise of the tempo, see `TEMPO_NOISE`.
        speaker
            (1,) int64; None if there is only one.
        noise
            (1, 3, 1), normal: for pitch, energy and tempo.

        Returns
        -------
        Log mel spectra (1, mels, frames), and frames of each id (1, P) int64: 0 of `PAD`, else 1 or more.
        """
        at = (ids[0] != PAD).nonzero()[:, 0]
        tokens = ids[:, at]
        mask = torch.ones_like(tokens)[:, :, None].to(self.embedding.weight)
        x = self.encode(tokens, mask, torch.zeros_like(ids[0, :1]) if speaker is None else speaker)
        pitch, energy, tempo = noise[0].unbind()
        tempo = (scales[2] * TEMPO_NOISE * tempo).exp() * scales[1]
        durations = (self.durations(x, mask).exp() - 1) * tempo
        durations = durations.round().clamp(min=1).long()
        level = scales[0] * PITCH_NOISE
        mel = self.decode(
            x,
            mask,
            self.pitch(x, mask) + level * pitch,
            self.energy(x, mask) + level * energy,
            durations,
            durations.sum(),
        )
        return mel, torch.zeros_like(ids).scatter(1, at[None], durations)


class MelDiscriminator(nn.Module):
    """Judges pieces of log mel spectra as pictures, so that what a mean blurs is made sharp again.

    P. Isola, J. Zhu, T. Zhou, A. Efros, "Image-to-Image Translation with Conditional Adversarial Networks",
    CVPR 2017, section 3.2.2: a score for each patch.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = (1, width, 2 * width, 4 * width)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (5, 3), (2, 2 if a > 1 else 1), (2, 1))) for a, b in pairwise(sizes)
        )
        self.last = weight_norm(nn.Conv2d(sizes[-1], 1, 3, padding=1))

    def forward(self, mel: Tensor) -> Judged:
        """Of (batch, mels, frames)."""
        x, features = (mel[:, None] - CENTRE) / SPREAD, []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 2 * SLOPE)
            features.append(x)
        return [(self.last(x).flatten(1), features)]


def similarity(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Structural similarity of pictures: 1 where they are the same.

    Z. Wang, A. Bovik, H. Sheikh, E. Simoncelli, "Image quality assessment", IEEE Transactions on Image
    Processing 13 (4), 2004, equation 13: means, variances and covariance under a Gaussian of 11 places, whose
    standard deviation is 1.5; values from 0 to 1.

    Parameters
    ----------
    a, b
        (batch, rows, columns).
    mask
        (batch, 1, columns), 1 for columns that count.
    """
    window = torch.exp(-(torch.arange(-5, 6, device=a.device).to(a).square()) / (2 * 1.5**2))
    window = window / window.sum()

    def smooth(x: Tensor) -> Tensor:
        x = functional.conv2d(x[:, None], window[None, None, :, None], padding=(5, 0))
        return functional.conv2d(x, window[None, None, None], padding=(0, 5))[:, 0]

    a, b = a * mask, b * mask
    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    both = smooth(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    found = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    found = found / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    weighted: Tensor = (found * mask).sum() / (mask.sum() * a.shape[1])
    return weighted
