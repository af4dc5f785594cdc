"""Mel spectra, against librosa's filters and where a click is."""

import numpy as np
import pytest
from layouts import RATE, white

from export.mel import logmel


@pytest.mark.parametrize(
    ("rate", "mels", "hop", "window"),
    [(22_050, 80, 256, 1024), (16_000, 40, 80, 400), (48_000, 45, 240, 2_001)],
)
@pytest.mark.parametrize("samples", [20_000, 4_096])
def test_logmel_has_the_bands_of_librosa(rate, mels, hop, window, samples):
    filters = pytest.importorskip("librosa.filters", reason="compares with librosa")
    x = np.stack([white(samples, 1), 3 * white(samples, 2)]).astype(np.float32)
    before = (window - hop) // 2
    padded = np.pad(x.astype(np.float64), ((0, 0), (before, window - hop - before)), mode="reflect")
    hann = np.sin(np.pi * np.arange(window) / window) ** 2
    frames = [padded[:, at : at + window] * hann for at in range(0, samples - hop + 1, hop)]
    magnitudes = np.abs(np.fft.rfft(frames))  # (frames, channels, bins)
    bands = filters.mel(sr=rate, n_fft=window, n_mels=mels, dtype=np.float64)
    want = np.log(np.maximum(magnitudes @ bands.T, 1e-5)).transpose(1, 0, 2)
    got = logmel(x, rate, mels, hop, window)
    assert got.dtype == np.float32
    assert got.shape == (2, samples // hop, mels)
    np.testing.assert_allclose(got, want, atol=2e-5)


def test_frames_are_where_they_are_said_to_be():
    x = np.zeros((1, 8_000), np.float32)
    x[0, 3_200 + 40] = 1.0  # the middle of frame 40 at a hop of 80
    spectra = logmel(x, RATE, 40, 80, 400)
    loudest = np.argmax(spectra.sum(axis=2), axis=1)
    assert loudest.tolist() == [40]
    assert np.all(spectra[0, 50:] == np.float32(np.log(1e-5)))
