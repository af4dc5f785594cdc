"""export/perceptual.py against the measure itself, by the package ``pesq``."""

import numpy as np
import pytest
import soxr
from tiny_speech import RATE as LOW
from tiny_speech import voice

torch = pytest.importorskip("torch")
pesq = pytest.importorskip("pesq")

from export.perceptual import BEST, BINS, DENSITY, THRESHOLD, Disturbances, bark  # noqa: E402

RATE = 48_000


def pairs():
    """Clean and degraded speech at 16 kHz: noises at several ratios, a low-pass, gaps, clipping."""
    random = np.random.default_rng(0)
    for seed in range(3):
        clean = voice(4.0, seed)
        white = random.standard_normal(len(clean))
        brown = np.cumsum(white) - np.convolve(np.cumsum(white), np.full(801, 1 / 801), "same")
        for ratio in (0, 12, 25):
            for noise in (white, brown):
                gain = np.sqrt(np.mean(clean**2) / np.mean(noise**2)) * 10 ** (-ratio / 20)
                yield clean, (clean + gain * noise).astype(np.float32)
        yield clean, np.convolve(clean, np.full(6, 1 / 6), "same").astype(np.float32)
        yield clean, np.where(np.arange(len(clean)) % 4_000 < 600, 0, clean).astype(np.float32)
        yield clean, np.clip(clean, -0.03, 0.03)


@pytest.mark.parametrize("rate", [16_000, RATE])
def test_what_it_says_is_what_pesq_says(rate):
    hears, said, meant = Disturbances(rate), [], []
    for clean, degraded in pairs():
        meant.append(pesq.pesq(LOW, clean, degraded, "wb"))
        both = [torch.from_numpy(soxr.resample(x, LOW, rate))[None] for x in (clean, degraded)]
        # P.862.2's map to what listeners say.
        said.append(0.999 + 4.0 / (1.0 + np.exp(-1.3669 * float(hears.score(*both)) + 3.8224)))
    assert np.corrcoef(said, meant)[0, 1] > 0.95
    assert np.ptp(meant) > 2.5
    assert np.mean(np.abs(np.array(said) - meant)) < 0.25


def test_nothing_is_disturbed_by_nothing_at_any_level():
    clean = torch.from_numpy(voice(2.0, 1))[None]
    hears = Disturbances(LOW)
    for gain in (1e-3, 1.0, 30.0):
        assert float(hears.score(clean, gain * clean)) == pytest.approx(BEST, abs=3e-3)


def test_gradients_are_finite_and_lead_to_clean_speech():
    clean = torch.from_numpy(np.stack([voice(1.5, 1), np.zeros(24_000, np.float32), voice(1.5, 2)]))
    noise = 0.05 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    degraded = torch.stack([clean[0] + noise[0], noise[1], torch.zeros_like(clean[2])]).requires_grad_()
    hears = Disturbances(LOW)
    before = hears.score(clean, degraded)
    (slope,) = torch.autograd.grad(before.sum(), degraded)
    assert slope.isfinite().all()
    step = 0.002 * slope[0] / slope[0].square().mean().sqrt()
    assert hears.score(clean[:1], degraded[:1] + step)[0] > before[0]


def test_the_bands_are_those_of_the_standard():
    """From 0 to 8 kHz, P.862's own numbers of them: 49 centres, of which three are known."""
    assert (len(BINS), sum(BINS), len(THRESHOLD), len(DENSITY)) == (49, 256, 49, 49)
    assert bark(np.array([977.06, 2_158.98, 7_796.47])) == pytest.approx([8.469, 13.518, 21.043], abs=0.15)
