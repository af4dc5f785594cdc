"""The band against SciPy's Butterworth filters, by its measured impulse response, and while it moves."""

import itertools

import blocks
import numpy as np
import pytest
from blocks import noise, run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from engines.band import Band
from rtaudio.errors import UserError

RATES = (8_000, 44_100, 48_000, 96_000, 384_000)


def sections(low, high, rate):
    """SciPy's filters of both edges, as second-order sections."""
    edges = [min(edge, 0.49 * rate) for edge in (low, high)]
    kinds = zip(edges, ("highpass", "lowpass"), strict=True)
    return np.concatenate([signal.butter(4, edge, kind, fs=rate, output="sos") for edge, kind in kinds])


def cookbook(kind, frequency, q, rate):
    """b and a of the Audio EQ Cookbook's LPF and HPF."""
    w0 = 2 * np.pi * frequency / rate
    c, alpha = np.cos(w0), np.sin(w0) / (2 * q)
    b = [(1 - c) / 2, 1 - c, (1 - c) / 2] if kind == "lowpass" else [(1 + c) / 2, -(1 + c), (1 + c) / 2]
    return np.array([*b, -2 * c, 1 - alpha]) / (1 + alpha)


def played(values, x, block, events=()):
    """The output of a plan with events (parameter, value, position), as it runs live."""
    return blocks.played(Band, values, x, block, events)


def magnitude(values, frequencies, rate=48_000):
    """The measured response in dB at some frequencies, from an impulse."""
    x = np.zeros((1, 1 << 16), np.float32)
    x[0, 0] = 1
    _, response = signal.freqz(run(Band(**values), x, rate)[0].astype(float), 1, frequencies, fs=rate)
    return 20 * np.log10(np.abs(response) + 1e-12)


@pytest.mark.parametrize("rate", RATES)
def test_matches_scipy(rate):
    x = noise(8192)
    for low, high in itertools.product((20.0, 997.0, 20_000.0), repeat=2):
        want = signal.sosfilt(sections(low, high, rate), x.astype(float))
        got = run(Band(low=low, high=high), x, rate)
        assert np.abs(got - want).max() <= Band.tolerance, (low, high)


@settings(max_examples=40, deadline=None)
@given(
    edges=st.tuples(*[st.floats(20.0, 20_000.0)] * 2), mix=st.floats(0.0, 1.0), rate=st.sampled_from(RATES)
)
def test_mix_blends_from_the_input_to_the_band(edges, mix, rate):
    x = noise(600)
    low, high = edges
    wet = signal.sosfilt(sections(low, high, rate), x.astype(float))
    got = run(Band(low=low, high=high, mix=mix), x, rate, (128,))
    assert np.abs(got - (x + mix * (wet - x))).max() <= Band.tolerance


def test_unity_is_the_input_to_the_bit():
    x = noise(5000)
    assert np.array_equal(run(Band(**Band.unity), x), x)


def test_the_measured_response_falls_by_24_db_an_octave_beyond_the_edges():
    low, high = 500.0, 2000.0
    middle, octaves = np.sqrt(low * high), np.array([1.0, 2.0, 3.0])
    assert magnitude({"low": low, "high": high}, [low, high]) == pytest.approx([-3.0, -3.0], abs=0.05)
    assert magnitude({"low": low, "high": high}, [middle]) == pytest.approx([-0.03], abs=0.02)
    below = magnitude({"low": low, "high": high}, low / 2**octaves)
    assert np.diff(below) == pytest.approx([-24.0, -24.0], abs=0.3)
    above = magnitude({"low": low, "high": high}, high * 2**octaves)
    assert (np.diff(above) < -23.5).all()  # The bilinear transform makes it steeper towards half the rate.


def test_the_tail_is_when_the_impulse_response_is_over():
    for low, high in ((20.0, 60.0), (300.0, 3000.0), (990.0, 1000.0), (15_000.0, 20_000.0)):
        made = Band(low=low, high=high)
        made.prepare(48_000, 64)
        x = np.eye(1, 4 * made.tail + 1000)[0]
        response = signal.sosfilt(sections(low, high, 48_000), x)
        over = 1 + np.flatnonzero(np.abs(response) > 1e-6).max(initial=-1)
        assert over <= made.tail <= 6 * max(over, 100), (low, high)


def test_coefficients_follow_a_moving_edge_at_every_sample():
    rate, start, samples = 48_000, 300, 1200
    x = noise(samples, 1)
    edge = blocks.course(300.0, [(3000.0, start)], samples)
    qs = 0.5 / np.cos(np.pi / 8 * np.array([1, 3]))
    want, memory = np.zeros(samples), np.zeros((4, 2))
    for i in range(samples):
        y = float(x[0, i])
        designs = [cookbook("highpass", edge[i], q, rate) for q in qs]
        designs += [cookbook("lowpass", 8000.0, q, rate) for q in qs]
        for (b0, b1, b2, a1, a2), kept in zip(designs, memory, strict=True):
            wet = b0 * y + kept[0]
            kept[:] = b1 * y - a1 * wet + kept[1], b2 * y - a2 * wet
            y = wet
        want[i] = y
    got = played({"low": 300.0, "high": 8000.0}, x, 64, [("low", 3000.0, start)])
    assert np.abs(got[0] - want).max() <= Band.tolerance


DRAG = [("high", 440.0 + 40 * step, 8000 + 480 * step) for step in range(9)]


@pytest.mark.parametrize(
    ("values", "events"),
    [
        ({"low": 200.0, "high": 5000.0}, [("low", 2000.0, 8000)]),
        ({"low": 200.0, "high": 5000.0}, [("high", 400.0, 8000)]),
        ({"low": 200.0, "high": 5000.0}, [("mix", 0.0, 8000)]),
        ({"low": 990.0, "high": 1010.0, "mix": 0.0}, [("mix", 1.0, 8000)]),
        (
            {"low": 200.0, "high": 400.0},
            [("high", 440.0 + 40 * step, 8000 + 480 * step) for step in range(9)],
        ),
    ],
)
def test_what_moves_does_not_click(values, events):
    """A sine at 1 kHz leaves less than -110 dB above 10 kHz, full scale being 0 dB."""
    samples, rate = 16_384, 48_000
    x = (0.9 * np.sin(2 * np.pi * 1000 * np.arange(samples) / rate)).astype(np.float32)[None]
    y = played(values, x, 128, events)[0]
    window = np.kaiser(samples, 20)
    spectrum = np.abs(np.fft.rfft(y * window)) * 2 / window.sum()
    above = spectrum[np.fft.rfftfreq(samples, 1 / rate) > 10_000]
    assert 20 * np.log10(np.sqrt((above**2).sum())) < -110


def test_edges_are_within_what_is_heard():
    for values in ({"low": 10.0}, {"high": 30_000.0}, {"mix": 1.5}):
        with pytest.raises(UserError, match="band"):
            Band(**values)
