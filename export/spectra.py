"""Spectra of batches of sound, through which gradients flow: what voices and vocoders are trained with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.mel import FLOOR, mel_bands
from rtaudio.errors import UserError

SILENCE = 1e-12
"""What powers are raised to, since the root has no slope at zero."""


RESOLUTIONS = (1024, 120, 600), (2048, 240, 1200), (512, 50, 240)
"""Transform, hop and window in samples: those of UnivNet (W. Jang et al., Interspeech 2021)."""


@dataclass(frozen=True)
class Features:
    """The table ``[features]``: what a vocoder hears, and an acoustic model makes.

    Parameters
    ----------
    rate
        Hz.
    fft, hop
        Samples of a window and from one to the next.
    mels, low, high
        Bands, and where they begin and end in Hz.
    """

    rate: int = 22_050
    fft: int = 1024
    hop: int = 256
    mels: int = 80
    low: float = 0.0
    high: float = 8_000.0

    def __post_init__(self) -> None:
        if self.mels < 1 or self.rate < 1:
            raise UserError(f"rate = {self.rate}, mels = {self.mels}: want 1 or more")
        Mel(self.rate, self.fft, self.hop, self.fft, self.mels, self.low, self.high)

    def mel(self, whole: bool = False) -> Mel:
        """The transform; with ``whole`` its bands reach to half the rate, as losses have them."""
        low, high = (0.0, None) if whole else (self.low, self.high)
        return Mel(self.rate, self.fft, self.hop, self.fft, self.mels, low, high)


class Mel(nn.Module):
    """Magnitudes and log mel spectra, as vocoders take them: `export.mel.logmel` in torch.

    Periodic Hann windows; frame k is centred on sample ``k hop + hop / 2``, and beyond its ends the signal is
    reflected (J. Kong, J. Kim, J. Bae, "HiFi-GAN", NeurIPS 2020, and its program).

    Parameters
    ----------
    rate
        Hz.
    fft, hop, window
        Samples; ``window`` at most ``fft``, with zeros on both sides where it is shorter.
    mels
        Bands.
    low, high
        Hz, where the bands begin and end; None for half the rate.

    Raises
    ------
    UserError
        The sizes do not fit one another, or some band has nothing.
    """

    bands: Tensor
    hann: Tensor

    def __init__(
        self,
        rate: int,
        fft: int = 1024,
        hop: int = 256,
        window: int = 1024,
        mels: int = 80,
        low: float = 0.0,
        high: float | None = None,
    ) -> None:
        super().__init__()
        if not 0 < hop <= window <= fft:
            raise UserError(f"hop {hop}, window {window}, fft {fft}: want them in rising order")
        self.fft, self.hop, self.window = fft, hop, window
        bands = torch.from_numpy(mel_bands(rate, mels, fft, low, high)).float()
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("hann", torch.hann_window(window), persistent=False)

    def spectrum(self, x: Tensor) -> Tensor:
        """Magnitudes (batch, fft // 2 + 1, samples // hop) of (batch, samples), full scale 1.

        Raises
        ------
        UserError
            There is less sound than is reflected at an end.
        """
        before = (self.fft - self.hop) // 2
        after = self.fft - self.hop - before
        if x.shape[-1] <= after or x.shape[-1] < self.hop:
            raise UserError(
                f"{x.shape[-1]} samples are too few for a spectrum: want {max(after + 1, self.hop)}"
            )
        padded = functional.pad(x.float(), (before, after), mode="reflect")
        bins = torch.stft(
            padded, self.fft, self.hop, self.window, self.hann, center=False, return_complex=True
        )
        power: Tensor = bins.real.square() + bins.imag.square()
        return power.clamp_min(SILENCE).sqrt()

    def mel(self, spectrum: Tensor) -> Tensor:
        """Natural logarithm of ``max(band, 1e-5)``, (batch, mels, frames), of magnitudes."""
        return (self.bands @ spectrum).clamp_min(FLOOR).log()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, samples) to (batch, mels, samples // hop)."""
        return self.mel(self.spectrum(x))


class Resolutions(nn.Module):
    """Distance of sounds in short-time spectra of several resolutions.

    R. Yamamoto, E. Song, J. Kim, "Parallel WaveGAN", ICASSP 2020, equations 4 to 6: the mean over resolutions
    of the spectral convergence and of the mean absolute difference of logarithms of magnitudes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spectra = nn.ModuleList(Mel(16_000, fft, hop, window, 1) for fft, hop, window in RESOLUTIONS)

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Of (batch, samples) each, a number."""
        losses = []
        for spectra in self.spectra:
            wanted, found = (spectra.spectrum(x).clamp_min(FLOOR) for x in (real, fake))  # type: ignore[operator]
            losses.append(
                (wanted - found).norm() / wanted.norm() + functional.l1_loss(found.log(), wanted.log())
            )
        return torch.stack(losses).mean()
