"""Mel spectra, as vocoders take them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from rtaudio.errors import UserError

FLOOR = 1e-5
"""What magnitudes of mel bands are raised to before the logarithm."""


def logmel(x: NDArray[np.float32], rate: int, mels: int, hop: int, window: int) -> NDArray[np.float32]:
    """Log mel spectra as vocoders take them (J. Kong et al., "HiFi-GAN", NeurIPS 2020, and its program).

    Magnitudes of periodic Hann windows, in mel bands, natural logarithm of ``max(magnitude, 1e-5)``. Frame k
    is of the window that is centred on sample ``k hop + hop / 2``; beyond its ends the signal is reflected.

    Parameters
    ----------
    x
        (channels, samples).
    rate
        Hz.
    mels, hop, window
        Bands, from 0 Hz to half the rate; samples.

    Returns
    -------
    (channels, samples // hop, mels).
    """
    bands = mel_bands(rate, mels, window)
    frames = x.shape[1] // hop
    before = (window - hop) // 2
    padded = np.pad(x, ((0, 0), (before, window - hop - before)), mode="reflect")
    hann = np.hanning(window + 1)[:-1].astype(np.float32)
    spectra = np.empty((len(x), frames, mels), np.float32)
    for begin in range(0, frames, 1024):
        some = min(1024, frames - begin)
        samples = padded[:, begin * hop : (begin + some - 1) * hop + window]
        windows = sliding_window_view(samples, window, axis=1)[:, ::hop]
        spectra[:, begin : begin + some] = np.abs(np.fft.rfft(windows * hann)) @ bands.T
    return np.log(np.maximum(spectra, FLOOR))


@cache
def mel_bands(
    rate: int, mels: int, window: int, low: float = 0.0, high: float | None = None
) -> NDArray[np.float64]:
    """Triangles of area 1 on the mel scale of M. Slaney's Auditory Toolbox (1998): (mels, window // 2 + 1).

    The scale is linear up to 1 kHz, 200/3 Hz a mel, and logarithmic above, 27 mels for a factor of 6.4. The
    bands lie between ``low`` and ``high`` Hz, by default from 0 to half the rate.

    Raises
    ------
    UserError
        Some band is narrower than the spectrum's resolution and has nothing; or there is no room between
        ``low`` and ``high``.
    """
    high = rate / 2 if high is None else high
    if not 0 <= low < high <= rate / 2:
        raise UserError(f"mel bands from {low:g} to {high:g} Hz: want them within 0 to {rate / 2:g} Hz")
    step = np.log(6.4) / 27
    first, last = (15 + np.log(f / 1000) / step if f > 1000 else f * 3 / 200 for f in (low, high))
    mel = np.linspace(first, last, mels + 2)
    edges = np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(step * (mel - 15)))
    frequencies = np.fft.rfftfreq(window, 1 / rate)
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    bands = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    if not bands.any(axis=1).all():
        raise UserError(
            f"{mels} mel bands are too many for windows of {window} samples at {rate} Hz: "
            "give fewer, or a longer window"
        )
    return bands  # type: ignore[no-any-return]
