"""Levels against a literal reading of ITU-T P.56 and closed forms."""

import math

import numpy as np
import p56_reference
import pytest
from scipy.optimize import brentq

from export.levels import active_level, level


def syllables(rate, seconds, seed=0):
    """Noise in bursts of 0.05 to 0.4 s, of levels 20 dB apart, with pauses of up to 0.6 s."""
    random = np.random.default_rng(seed)
    x = 1e-4 * random.standard_normal(round(seconds * rate))
    at = 0
    while at < len(x):
        length = round(random.uniform(0.05, 0.4) * rate)
        burst = random.standard_normal(length) * np.hanning(length) * 10 ** random.uniform(-1.7, -0.7)
        x[at : at + length] += burst[: len(x) - at]
        at += length + round(random.uniform(0.0, 0.6) * rate)
    return x


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000])
@pytest.mark.parametrize("gain", [1.0, 0.37, 0.003])
def test_active_level_is_that_of_the_standard(rate, gain):
    x = gain * syllables(rate, 1.5, seed=rate)
    found, expected = active_level(x, rate), p56_reference.active_level(x, rate)
    assert found == pytest.approx(expected, abs=1e-9)
    assert 0.2 < found[1] < 1.0  # there are pauses that count and pauses that do not


def test_float32_and_float64_agree():
    x = syllables(16_000, 3.0).astype(np.float32)
    assert active_level(x, 16_000) == pytest.approx(active_level(x.astype(np.float64), 16_000), abs=1e-9)


def exact_activity(on, period, amplitude):
    """Of a tone that is on for so long in every period (s), with no thresholds in between to interpolate.

    The envelope of a steady tone is its mean, 2/pi of the amplitude; two stages of the time constant T rise
    as 1 - (1 + t/T) exp(-t/T), and fall as (1 + t/T) exp(-t/T).
    """

    def gap(threshold):
        ratio = threshold / (amplitude * 2 / math.pi)

        def step(u):
            return (1 + u) * math.exp(-u)

        fall = 0.03 * brentq(lambda u: step(u) - ratio, 0, 50)
        rise = 0.03 * brentq(lambda u: 1 - step(u) - ratio, 0, 50)
        active = (on - rise + fall + 0.2) / period
        level = 20 * math.log10(amplitude / math.sqrt(2)) + 10 * math.log10(on / period / active)
        return level - 20 * math.log10(threshold) - 15.9, active, level

    threshold = brentq(lambda c: gap(c)[0], amplitude * 1e-3, amplitude * 0.5)
    return gap(threshold)[2], gap(threshold)[1]


@pytest.mark.parametrize(("on", "period"), [(2.0, 8.0), (5.0, 8.0), (1.0, 3.0)])
@pytest.mark.parametrize("amplitude", [0.5, 0.011])
def test_gated_tone(on, period, amplitude):
    rate, periods = 16_000, 4
    t = np.arange(round(periods * period * rate)) / rate
    x = amplitude * np.sin(2 * np.pi * 1_000 * t) * (t % period < on)
    found, activity = active_level(x, rate)
    expected, share = exact_activity(on, period, amplitude)
    assert found == pytest.approx(expected, abs=0.03)
    assert activity == pytest.approx(share, rel=0.007)
    # The level is that of the tone while it is on, spread over the hangover too.
    assert activity * period == pytest.approx(on + 0.2, abs=0.12)
    while_on = 20 * math.log10(amplitude / math.sqrt(2))
    assert found == pytest.approx(while_on - 10 * math.log10((on + 0.28) / on), abs=0.05)


def test_pauses_do_not_count_but_the_long_term_level_has_them():
    x = np.append(syllables(16_000, 4.0), np.zeros(8_000))
    longer = np.concatenate([x, np.zeros(3 * len(x))])
    assert active_level(longer, 16_000)[0] == pytest.approx(active_level(x, 16_000)[0], abs=1e-6)
    assert level(longer) == pytest.approx(level(x) - 10 * math.log10(4), abs=1e-9)


@pytest.mark.parametrize("make", [
    lambda t: 0.1 * math.sqrt(2) * np.sin(2 * np.pi * 1_000 * t),
    lambda t: 0.1 * np.random.default_rng(0).standard_normal(len(t)),
])  # fmt: skip
def test_a_steady_signal_is_active_throughout(make):
    x = make(np.arange(10 * 16_000) / 16_000)  # clauses 11.2 and 11.3: calibration by a tone and by noise
    found, activity = active_level(x, 16_000)
    assert found == pytest.approx(-20.0, abs=0.1)
    assert 0.99 < activity <= 1.0


@pytest.mark.parametrize("shift", [-60, -6.0205999, 30])
def test_a_gain_moves_the_level_by_itself(shift):
    x = syllables(16_000, 6.0)
    moved = active_level(x * 10 ** (shift / 20), 16_000)[0] - active_level(x, 16_000)[0]
    assert moved == pytest.approx(shift, abs=0.1)  # thresholds stay where they are


def test_silence_and_clicks():
    assert active_level(np.zeros(16_000), 16_000) == (-math.inf, 0.0)
    assert level(np.zeros(10)) == -math.inf
    click = np.zeros(16_000, np.float32)
    click[0] = 1.0
    found, activity = active_level(click, 16_000)
    assert -60 < found < 0
    assert 0 < activity < 0.5
    assert activity == pytest.approx(1 / 16_000 / 10 ** (found / 10))


def test_one_sample():
    assert active_level(np.full(1, 0.5), 16_000) == pytest.approx((20 * math.log10(0.5), 1.0))


def test_level():
    assert level(np.full(7, -0.1, np.float32)) == pytest.approx(-20.0, abs=1e-5)
    assert level(np.sin(2 * np.pi * np.arange(1_000) / 100)) == pytest.approx(-10 * math.log10(2))
    assert math.isnan(level(np.array([1.0, np.nan])))
