"""The biquad against the Audio EQ Cookbook, written out again here, and scipy's filter."""

import itertools

import blocks
import numpy as np
import pytest
from blocks import BLOCKS, PARTITIONS, noise, run
from scipy import signal

from engines.biquad import KINDS, Biquad

RATES = (44_100, 48_000, 96_000, 192_000)


def cookbook(kind, frequency, q, gain, rate):
    """b and a of the cookbook's formulas, as printed there."""
    A = 10 ** (gain / 40)
    w0 = 2 * np.pi * min(frequency, 0.49 * rate) / rate
    c, alpha = np.cos(w0), np.sin(w0) / (2 * q)
    s = 2 * np.sqrt(A) * alpha
    b, a = {
        "lowpass": ([(1 - c) / 2, 1 - c, (1 - c) / 2], [1 + alpha, -2 * c, 1 - alpha]),
        "highpass": ([(1 + c) / 2, -(1 + c), (1 + c) / 2], [1 + alpha, -2 * c, 1 - alpha]),
        "bandpass": ([alpha, 0, -alpha], [1 + alpha, -2 * c, 1 - alpha]),
        "notch": ([1, -2 * c, 1], [1 + alpha, -2 * c, 1 - alpha]),
        "allpass": ([1 - alpha, -2 * c, 1 + alpha], [1 + alpha, -2 * c, 1 - alpha]),
        "peaking": ([1 + alpha * A, -2 * c, 1 - alpha * A], [1 + alpha / A, -2 * c, 1 - alpha / A]),
        "lowshelf": (
            [A * (A + 1 - (A - 1) * c + s), 2 * A * (A - 1 - (A + 1) * c), A * (A + 1 - (A - 1) * c - s)],
            [A + 1 + (A - 1) * c + s, -2 * (A - 1 + (A + 1) * c), A + 1 + (A - 1) * c - s],
        ),
        "highshelf": (
            [A * (A + 1 + (A - 1) * c + s), -2 * A * (A - 1 + (A + 1) * c), A * (A + 1 + (A - 1) * c - s)],
            [A + 1 - (A - 1) * c + s, 2 * (A - 1 - (A + 1) * c), A + 1 - (A - 1) * c - s],
        ),
    }[kind]
    return np.array(b) / a[0], np.array(a) / a[0]


def filtered(values, x, rate, sizes=(4096,)):
    """The output for blocks of these sizes, over and over."""
    return run(Biquad(**values), x, rate, sizes)


def played(values, x, rate, block, events=()):
    """The output of a plan with events (parameter, value, position), as it runs live."""
    return blocks.played(Biquad, values, x, block, events, rate)


def magnitude(values, rate, frequencies):
    """The measured response in dB at some frequencies, from an impulse."""
    x = np.zeros((1, 1 << 16), np.float32)
    x[0, 0] = 1
    _, response = signal.freqz(filtered(values, x, rate)[0].astype(float), 1, frequencies, fs=rate)
    return 20 * np.log10(np.abs(response) + 1e-12)


@pytest.mark.parametrize("rate", [8_000, *RATES, 384_000])
@pytest.mark.parametrize("kind", KINDS)
def test_matches_scipy(kind, rate):
    x = noise(8192)
    frequencies, qs, gains = (10.0, 997.0, 20_000.0), (0.05, 0.7071, 50.0), (-40.0, 6.0, 40.0)
    for frequency, q, gain in itertools.product(frequencies, qs, gains):
        want = signal.lfilter(*cookbook(kind, frequency, q, gain, rate), x.astype(float))
        got = filtered({"kind": kind, "frequency": frequency, "q": q, "gain": gain}, x, rate)
        limit = Biquad.tolerance * max(1.0, np.abs(want).max())
        assert np.abs(got - want).max() <= limit, (frequency, q, gain)


@pytest.mark.parametrize("rate", RATES)
def test_landmarks(rate):
    at = np.array([1e-3, 1000.0, rate / 2])
    half = 20 * np.log10(0.5) / 2
    butterworth = {"frequency": 1000.0, "q": 2**-0.5}
    assert magnitude({"kind": "lowpass"} | butterworth, rate, at[:2]) == pytest.approx([0, half], abs=1e-3)
    assert magnitude({"kind": "highpass"} | butterworth, rate, at[1:]) == pytest.approx([half, 0], abs=1e-3)
    assert magnitude({"kind": "bandpass", "q": 3.0}, rate, at[1:2]) == pytest.approx([0], abs=1e-3)
    assert magnitude({"kind": "notch", "q": 3.0}, rate, at[1:2]) < -100
    assert magnitude({"kind": "notch", "q": 3.0}, rate, at[[0, 2]]) == pytest.approx([0, 0], abs=1e-3)
    assert magnitude({"kind": "peaking", "gain": 12.0}, rate, at) == pytest.approx([0, 12, 0], abs=1e-3)
    assert magnitude({"kind": "lowshelf", "gain": -18.0}, rate, at) == pytest.approx([-18, -9, 0], abs=1e-3)
    assert magnitude({"kind": "highshelf", "gain": 18.0}, rate, at) == pytest.approx([0, 9, 18], abs=1e-3)
    spread = np.geomspace(20, rate / 2.1, 50)
    assert magnitude({"kind": "allpass", "q": 2.0}, rate, spread) == pytest.approx(np.zeros(50), abs=1e-3)


@pytest.mark.parametrize("q", [0.5, 0.7071, 4.0])
def test_bandwidth_of_a_bandpass(q):
    """The -3 dB points of the analogue band-pass are 1 kHz / Q apart; 192 kHz bends them little."""
    edges = 1000 * (np.sqrt(1 + 1 / (4 * q * q)) + np.array([-1, 1]) / (2 * q))
    got = magnitude({"kind": "bandpass", "q": q}, 192_000, edges)
    assert got == pytest.approx([-3.0103, -3.0103], abs=0.01)


def test_any_partition_gives_the_same_bits():
    x = noise(20_000)
    values = {"kind": "peaking", "frequency": 300.0, "q": 5.0, "gain": 9.0}
    want = filtered(values, x, 48_000, (20_000,))
    for sizes in PARTITIONS:
        assert np.array_equal(filtered(values, x, 48_000, sizes), want), sizes


EVENTS = (
    ("frequency", 8000.0, 1000),
    ("gain", -12.0, 1203),
    ("q", 8.0, 1203),
    ("frequency", 200.0, 1217),
    ("frequency", 150.0, 9000),
)


@pytest.mark.parametrize("kind", ["lowpass", "peaking", "highshelf"])
def test_any_partition_gives_the_same_bits_while_parameters_move(kind):
    x = noise(12_000)
    want = played({"kind": kind}, x, 48_000, 12_000, EVENTS)
    for block in BLOCKS:
        assert np.array_equal(played({"kind": kind}, x, 48_000, block, EVENTS), want), block


def test_coefficients_follow_a_moving_parameter_at_every_sample():
    rate, start, samples = 48_000, 300, 1200
    x = noise(samples, 1)
    u = np.clip((np.arange(samples) - start) / 480, 0, 1)
    frequency = 500 + 4500 * (6 * u**5 - 15 * u**4 + 10 * u**3)
    want, s1, s2 = np.zeros(samples), 0.0, 0.0
    for i, sample in enumerate(x[0].astype(float)):
        b, a = cookbook("lowpass", frequency[i], 2.0, 0.0, rate)
        want[i] = b[0] * sample + s1
        s1 = b[1] * sample - a[1] * want[i] + s2
        s2 = b[2] * sample - a[2] * want[i]
    values = {"kind": "lowpass", "frequency": 500.0, "q": 2.0}
    got = played(values, x, rate, 64, [("frequency", 5000.0, start)])
    assert np.abs(got[0] - want).max() <= Biquad.tolerance


@pytest.mark.parametrize(
    ("values", "event"),
    [
        ({"kind": "lowpass", "frequency": 200.0}, ("frequency", 5000.0)),
        ({"kind": "lowpass", "frequency": 5000.0}, ("frequency", 200.0)),
        ({"kind": "highpass", "frequency": 200.0}, ("frequency", 20_000.0)),
        ({"kind": "lowpass", "frequency": 1000.0, "q": 10.0}, ("q", 0.5)),
        ({"kind": "peaking", "gain": -12.0}, ("gain", 12.0)),
        ({"kind": "lowshelf", "gain": 12.0}, ("gain", -12.0)),
    ],
)
def test_moving_a_parameter_does_not_click(values, event):
    """A sine at 1 kHz leaves less than -110 dB above 10 kHz, full scale being 0 dB."""
    samples, rate = 16_384, 48_000
    x = (0.9 * np.sin(2 * np.pi * 1000 * np.arange(samples) / rate)).astype(np.float32)[None]
    y = played(values, x, rate, 128, [(*event, 8000)])[0]
    window = np.kaiser(samples, 20)
    spectrum = np.abs(np.fft.rfft(y * window)) * 2 / window.sum()
    above = spectrum[np.fft.rfftfreq(samples, 1 / rate) > 10_000]
    assert 20 * np.log10(np.sqrt((above**2).sum())) < -110


@pytest.mark.parametrize("kind", ["peaking", "lowshelf", "highshelf"])
def test_unity_is_exact(kind):
    x = noise(5000)
    assert np.array_equal(filtered({"kind": kind, "gain": 0.0}, x, 44_100), x)
    if kind == "peaking":
        assert np.array_equal(filtered(Biquad.unity, x, 44_100), x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("frequency", "q"), [(50.0, 0.3), (50.0, 0.5), (1000.0, 0.7071), (1000.0, 30.0), (20_000.0, 1.0)]
)
def test_tail_is_when_the_impulse_response_is_over(kind, frequency, q):
    processor = Biquad(kind=kind, frequency=frequency, q=q, gain=12.0)
    processor.prepare(48_000, 64)
    b, a = cookbook(kind, frequency, q, 12.0, 48_000)
    response = signal.lfilter(b, a, np.eye(1, 3 * processor.tail + 1000)[0])
    over = 1 + np.flatnonzero(np.abs(response) > 1e-6)[-1]
    assert over <= processor.tail <= 2 * over + 8


def test_extreme_input_stays_finite_and_silence_silent():
    for kind in KINDS:
        values = {"kind": kind, "frequency": 20_000.0, "q": 50.0, "gain": 40.0}
        for x in (np.ones((1, 4096)), np.full((1, 4096), 1e-40), np.tile([1.0, -1.0], 2048)[None]):
            assert np.isfinite(filtered(values, x.astype(np.float32), 8_000)).all()
        assert not filtered(values, np.zeros((1, 512), np.float32), 8_000).any()


def test_reset_starts_afresh():
    x = noise(1000)
    processor = Biquad(kind="lowpass", frequency=100.0)
    processor.prepare(48_000, 1000)
    first, second = np.empty_like(x), np.empty_like(x)
    processor.process(x, first)
    processor.reset()
    processor.process(x, second)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_do_not_touch_each_other(channels):
    x = noise(2000, channels)
    y = filtered({"kind": "bandpass"}, x, 48_000)
    for c in range(channels):
        assert np.array_equal(y[c], filtered({"kind": "bandpass"}, x[c : c + 1], 48_000)[0])
