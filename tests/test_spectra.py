"""Mel spectra in torch, against the ones without it, and librosa."""

import numpy as np
import pytest
import torch

from export.mel import logmel, mel_bands
from export.spectra import Mel
from rtaudio.errors import UserError


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("rate", "fft", "hop", "mels"), [(22_050, 1024, 256, 80), (16_000, 400, 80, 40)])
@pytest.mark.parametrize("samples", [8192, 9001])
def test_mel_is_that_of_the_data(rate, fft, hop, mels, samples):
    x = 0.3 * noise(2, samples)
    found = Mel(rate, fft, hop, fft, mels)(x)
    assert found.shape == (2, mels, samples // hop)
    np.testing.assert_allclose(found.mT.numpy(), logmel(x.numpy(), rate, mels, hop, fft), atol=3e-4)


@pytest.mark.parametrize(("low", "high"), [(0.0, 8000.0), (60.0, 7600.0), (1200.0, None), (0.0, 900.0)])
def test_bands_are_those_of_librosa(low, high):
    filters = pytest.importorskip("librosa.filters", reason="compares with librosa")
    want = filters.mel(sr=22_050, n_fft=1024, n_mels=20, fmin=low, fmax=high, dtype=np.float64)
    np.testing.assert_allclose(mel_bands(22_050, 20, 1024, low, high), want, atol=1e-12)
    np.testing.assert_allclose(Mel(22_050, mels=20, low=low, high=high).bands.numpy(), want, atol=1e-7)


def test_spectrum_of_a_tone_and_of_a_shorter_window():
    """A tone on a bin has half the sum of the window there, times its amplitude; padding changes no more."""
    x = 0.5 * torch.cos(2 * torch.pi * 64 * torch.arange(4096) / 1024)[None]
    for window in (1024, 512):
        found = Mel(22_050, window=window).spectrum(x)
        assert found.shape == (1, 513, 16)
        np.testing.assert_allclose(found[0, 64, 4:12].numpy(), 0.5 * window / 4, rtol=1e-4)


def test_silence_has_a_gradient():
    silent = torch.zeros(1, 4096, requires_grad=True)
    mel = Mel(22_050)
    (mel(silent).sum() + mel.spectrum(silent).sum()).backward()
    assert torch.equal(silent.grad, torch.zeros(1, 4096))


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="rising order"):
        Mel(22_050, 512, 256, 1024)
    with pytest.raises(UserError, match="within 0 to 4000 Hz"):
        Mel(8000, high=8000.0)
    with pytest.raises(UserError, match="300 samples are too few"):
        Mel(22_050)(noise(1, 300))
