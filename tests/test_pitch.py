"""Pitch, of sounds whose pitch is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.pitch import pitch_of


def voiced(pitch, rate, seed=0):
    """Harmonics of a pitch in Hz (samples,) under a formant."""
    random = np.random.default_rng(seed)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    x = np.zeros(len(pitch))
    for harmonic in range(1, 30):
        weight = np.exp(-(((harmonic * pitch - 600) / 500) ** 2)) + 0.03
        x += weight * (harmonic * pitch < 0.45 * rate) * np.sin(harmonic * phase + random.uniform(0, 6))
    return (0.3 * x / np.abs(x).max()).astype(np.float32)


def cents(found, wanted):
    return np.abs(1200 * np.log2(found / wanted))


@pytest.mark.parametrize(("rate", "hop"), [(22_050, 256), (16_000, 200), (8_000, 256)])
def test_a_glide_is_followed(rate, hop):
    t = np.arange(2 * rate) / rate
    pitch = 160 * 2 ** (0.5 * np.sin(2 * np.pi * 0.6 * t))
    found = pitch_of(voiced(pitch, rate), rate, hop)
    assert (found.dtype, len(found)) == (np.float32, len(t) // hop)
    inner = slice(4, -4)
    middles = pitch[hop // 2 :: hop][: len(found)]
    assert np.all(found[inner] > 0)
    assert cents(found, middles)[inner].max() < 30
    assert np.median(cents(found, middles)[inner]) < 5


@given(st.floats(70, 400), st.floats(0.01, 1.0))
@settings(max_examples=20, deadline=None)
def test_any_pitch_at_any_level(hertz, level):
    x = np.float32(level) * voiced(np.full(16_000, hertz), 16_000)
    found = pitch_of(x, 16_000, 256)[5:-5]
    assert np.all(found > 0)
    assert cents(found, hertz).max() < 10


def test_noise_and_silence_have_none():
    random = np.random.default_rng(3)
    assert not pitch_of(np.zeros(10_000, np.float32), 22_050, 256).any()
    assert len(pitch_of(np.zeros(100, np.float32), 22_050, 256)) == 0
    noise = random.standard_normal(44_100).astype(np.float32)
    assert np.mean(pitch_of(noise, 22_050, 256) > 0) < 0.05


def test_what_is_voiced_is_told_from_what_is_not():
    rate, hop = 22_050, 256
    x = voiced(np.full(rate, 200.0), rate)
    x[rate // 3 : 2 * rate // 3] = 0.02 * np.random.default_rng(1).standard_normal(rate // 3)
    said = pitch_of(x, rate, hop) > 0
    at = (np.arange(len(said)) + 0.5) * hop / rate
    inside = (at > 1 / 3 + 0.03) & (at < 2 / 3 - 0.03)
    outside = ((at < 1 / 3 - 0.03) & (at > 0.03)) | ((at > 2 / 3 + 0.03) & (at < 0.97))
    assert not said[inside].any()
    assert said[outside].all()
