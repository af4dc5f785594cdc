"""The disturbances of PESQ, differentiable: a loss that hears as the measure does.

ITU-T P.862 (2001) and P.862.2 (2007, wideband), without the alignment in time, which is known in training:
spectra of 32 ms in 49 bands of the Bark scale, equalised and levelled, as loudness after Zwicker; the
difference outside of a dead zone, and once more with what has been added counting more than what is missing.
J. M. Martin-Donas et al., "A Deep Learning Loss Function Based on the Perceptual Evaluation of the Speech
Quality", IEEE Signal Processing Letters 25, 2018, train with such a loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FRAME = 0.032
"""Seconds of a spectrum; they overlap by half."""
TOP = 8_000
"""Hz that are heard up to."""
BINS = (
    1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4, 3, 4, 5, 4,
    5, 6, 6, 7, 8, 9, 9, 12, 12, 15, 16, 18, 21, 25, 20,
)  # fmt: skip
"""Of 31.25 Hz, in each band: P.862's bands for 16 kHz."""
DENSITY = (
    100, 100, 100, 100, 100, 100, 100, 100, 50, 100, 100, 100, 100, 100, 53.05, 110, 118, 65, 68.76, 70,
    71.43, 75, 76.84, 80.97, 88.65, 63.86, 68.16, 72.55, 75.58, 58.38, 80.95, 64.14, 54.38, 73.82, 64.44,
    59.18, 65.52, 61.4, 58.14, 57, 64.13, 54.31, 61.11, 55.08, 56.85, 55.63, 53.14, 54.99, 79.55,
)  # fmt: skip
"""By which the power of each band's bins becomes a density: P.862's."""
THRESHOLD = (
    51_286_152, 2_454_709.5, 70_794.6, 4_897.79, 1_174.9, 389.045, 104.713, 45.7088, 17.7828, 9.77237,
    4.89779, 3.0903, 1.90546, 1.25893, 0.977237, 0.724436, 0.562341, 0.457088, 0.389045, 0.331131,
    0.295121, 0.269153, 0.25704, 0.251189, 0.251189, 0.251189, 0.251189, 0.263027, 0.288403, 0.30903,
    0.338844, 0.371535, 0.398107, 0.436516, 0.467735, 0.489779, 0.501187, 0.501187, 0.512861, 0.524807,
    0.524807, 0.524807, 0.512861, 0.47863, 0.42658, 0.371535, 0.363078, 0.416869, 0.537032,
)  # fmt: skip
"""Power at which each band is heard: P.862's."""
POWER = 1e7
"""Of speech from 325 to 3250 Hz, once it is levelled."""
SCALE = 6.910853e-6
"""From squared magnitudes to P.862's power densities."""
LOUDNESS, EXPONENT = 0.1866055, 0.23
"""Scale and exponent of Zwicker's law."""
SYLLABLE = 20
"""Frames of an interval, within which the worst count most; they overlap by half."""
BEST = 4.5
"""The score of what is not disturbed."""
WORST = 45.0
"""Most that a frame counts."""


class Disturbances(torch.nn.Module):
    """P.862's two figures for sound at a rate in Hz, a multiple of 125 from 16 kHz on.

    Of a clean and a degraded batch (batch, samples), at least 0.4 s long, in any unit. Gradients flow into
    the degraded one.
    """

    window: Tensor
    speech: Tensor
    shape: Tensor
    bands: Tensor
    widths: Tensor
    threshold: Tensor
    exponent: Tensor

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.size = round(FRAME * rate)
        self.heard = round(TOP * FRAME)
        frequency = torch.arange(self.heard) / FRAME
        bands = torch.zeros(self.heard, len(BINS))
        ends = np.cumsum(BINS)
        for band, (end, bins) in enumerate(zip(ends, BINS, strict=True)):
            bands[end - bins : end, band] = SCALE * DENSITY[band]
        # The measure's high-pass, from its difference equation at 16 kHz.
        turn = torch.exp(-2j * torch.pi * frequency / 16_000)
        filtered = (2.740826 - 5.4816519 * turn + 2.740826 * turn**2) / (
            1.0 - 1.9444777 * turn + 0.94597794 * turn**2
        )
        middle = np.append(0, ends[:-1]) + 0.5 * (np.array(BINS) - 1)
        edges = [bark(x / FRAME) for x in (np.append(0, ends[:-1]) - 0.5, ends - 0.5)]
        low = 6.0 / (torch.from_numpy(bark(middle / FRAME)) + 2.0)
        self.register_buffer("window", torch.hann_window(self.size))
        self.register_buffer("speech", ((frequency >= 325) & (frequency <= 3_250)).float())
        self.register_buffer("shape", filtered.abs().square().float())
        self.register_buffer("bands", bands)
        widths = torch.from_numpy(edges[1] - edges[0]).float()
        widths[0] = 0.0
        self.register_buffer("widths", widths)
        self.register_buffer("threshold", torch.tensor(THRESHOLD))
        self.register_buffer("exponent", (EXPONENT * low.clamp(1.0, 2.0) ** 0.15).float())

    def forward(self, clean: Tensor, degraded: Tensor) -> tuple[Tensor, Tensor]:
        """Symmetric and asymmetric disturbance, (batch,) each."""
        reference, other = (self._levelled(x) for x in (clean, degraded))
        silent = self._audible(reference, 100.0).sum(2) < POWER
        means = [
            (self._audible(x, 100.0) * ~silent[:, :, None]).mean(1, keepdim=True) for x in (reference, other)
        ]
        reference = reference * ((means[1] + 1e3) / (means[0] + 1e3)).clamp(0.01, 100.0)
        energy = self._audible(reference, 1.0).sum(2)
        gain = (energy + 5e3) / (self._audible(other, 1.0).sum(2) + 5e3)
        gain = torch.cat([gain[:, :1], 0.8 * gain[:, 1:] + 0.2 * gain[:, :-1]], 1).clamp(3e-4, 5.0)
        other = other * gain[:, :, None]
        heard, wanted = self._loudness(other), self._loudness(reference)
        difference = heard - wanted
        dead = 0.25 * torch.minimum(heard, wanted)
        difference = difference.sign() * (difference.abs() - dead).clamp_min(0)
        added = ((other + 50) / (reference + 50)) ** 1.2
        added = torch.where(added < 3, 0.0, added.clamp(max=12.0))
        symmetric = (self.widths.sum() * (difference * self.widths).square().sum(2) + 1e-12).sqrt()
        asymmetric = (difference.abs() * added * self.widths).sum(2)
        weight = ((energy + 1e5) / 1e7) ** 0.04
        return _over_time(symmetric / weight), _over_time(asymmetric / weight)

    def score(self, clean: Tensor, degraded: Tensor) -> Tensor:
        """(batch,) `BEST` - 0.1 d - 0.0309 a: P.862's score before it is mapped to that of listeners."""
        symmetric, asymmetric = self(clean, degraded)
        score: Tensor = BEST - 0.1 * symmetric - 0.0309 * asymmetric
        return score

    def _levelled(self, x: Tensor) -> Tensor:
        """Powers (batch, frames, bands) of sound whose speech band has `POWER`."""
        spectra = torch.fft.rfft(x.unfold(1, self.size, self.size // 2) * self.window)[:, :, : self.heard]
        powers = spectra.real.square() + spectra.imag.square()
        level = (powers * self.speech).sum(2).mean(1)[:, None, None]
        # Of a Hann window's samples the mean square is 3/8, and half of a spectrum is not here.
        powers = powers * (POWER * 512 * 512 * 0.375 / 2 / level.clamp_min(1e-20)) * self.shape
        powers = torch.cat([torch.zeros_like(powers[:, :, :1]), powers[:, :, 1:]], 2)
        densities: Tensor = powers @ self.bands
        return densities

    def _audible(self, powers: Tensor, times: float) -> Tensor:
        """Powers above so many times the threshold, else 0."""
        return torch.where(powers > times * self.threshold, powers, 0.0)

    def _loudness(self, powers: Tensor) -> Tensor:
        """Zwicker's law, in sones per Bark."""
        over = (0.5 + 0.5 * powers / self.threshold) ** self.exponent - 1.0
        found = LOUDNESS * (2.0 * self.threshold) ** self.exponent * over
        return torch.where(powers > self.threshold, found, 0.0)


def bark(frequency: NDArray[Any]) -> NDArray[Any]:
    """E. Zwicker and E. Terhardt, 1980: the Bark of a frequency in Hz."""
    return 13.0 * np.arctan(0.00076 * frequency) + 3.5 * np.arctan((frequency / 7_500) ** 2)


def _over_time(disturbance: Tensor) -> Tensor:
    """Norm of order 6 within intervals, of order 2 over them."""
    each = disturbance.clamp(max=WORST).unfold(1, SYLLABLE, SYLLABLE // 2)
    worst = (each**6).mean(2).clamp_min(1e-12) ** (1 / 6)
    found: Tensor = worst.square().mean(1).sqrt()
    return found
