"""Spectra to sound, for vocoders that give spectra and leave their inverse transform to who runs them.

As sherpa-onnx has them: three outputs, float32 [1, bins, T], magnitude, cosine and sine of the phase, and
``n_fft``, ``hop_length``, ``win_length``, ``window_type`` and ``normalized`` among the file's metadata.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from engines.speech.voice import Samples

WINDOWS = {"hann": 0.5, "hanning": 0.5, "hamming": 0.54, "rectangular": 1.0}
"""Their mean: a window is that less a cosine."""
LONGEST = 1 << 16


class Inverse:
    """The inverse of a short-time Fourier transform.

    Every window is transformed, multiplied by the window function once more, and added; the sum is divided by
    that of the squared window functions. Of T windows that makes T hops: from ``(n_fft - hop) / 2`` on, so
    that each hop lies in the middle of its window.

    Parameters
    ----------
    said
        The file's metadata.

    Raises
    ------
    ValueError
        They do not say a transform; with what is wrong.
    """

    def __init__(self, said: Mapping[str, str]) -> None:
        self.size, self.hop = _number(said, "n_fft"), _number(said, "hop_length")
        width = _number(said, "win_length") if "win_length" in said else self.size
        if self.size % 2 or not 0 < width <= self.size or not 0 < self.hop <= width // 2:
            raise ValueError(
                f"n_fft {self.size}, win_length {width} and hop_length {self.hop} do not overlap"
            )
        kind = said.get("window_type", "hann")
        if kind not in WINDOWS:
            raise ValueError(f"window_type {kind!r} (want {', '.join(WINDOWS)})")
        mean, before = WINDOWS[kind], (self.size - width) // 2
        window = mean - (1 - mean) * np.cos(2 * np.pi * np.arange(width) / width)
        window = np.pad(window, (before, self.size - width - before))
        self._window = window.astype(np.float32)
        self._scale = np.float32(np.sqrt(self.size) if said.get("normalized", "0") in ("1", "True") else 1)

    def __call__(self, spectra: Sequence[NDArray[np.float32]]) -> Samples:
        """Magnitude, cosine and sine, each (1, n_fft / 2 + 1, T), to (T * hop,)."""
        magnitude, cosine, sine = (x[0].T for x in spectra)
        windows = np.fft.irfft(magnitude * (cosine + 1j * sine), self.size).astype(np.float32)
        count = len(windows)
        sound = np.zeros(self.size + (count - 1) * self.hop, np.float32)
        weights = np.zeros_like(sound)
        for number, x in enumerate(windows):
            at = slice(number * self.hop, number * self.hop + self.size)
            sound[at] += self._scale * x * self._window
            weights[at] += self._window**2
        at = slice((self.size - self.hop) // 2, (self.size - self.hop) // 2 + count * self.hop)
        return sound[at] / weights[at]


def _number(said: Mapping[str, str], name: str) -> int:
    text = said.get(name, "")
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < LONGEST:
        raise ValueError(f"{name} {text!r} is no number of samples")
    return int(text)
