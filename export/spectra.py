"""Spectra of batches of sound, through which gradients flow: what voices and vocoders are trained with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.mel import FLOOR, mel_bands
from rtaudio.errors import UserError

SILENCE = 1e-12
"""What powers are raised to, since the root has no slope at zero."""


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
