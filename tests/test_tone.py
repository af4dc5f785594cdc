"""Tones against whole-number phases, scipy's chirp, and their own spectra."""

from fractions import Fraction

import blocks
import numpy as np
import pytest
from blocks import BLOCKS, PARTITIONS, course, noise, run
from contract import walk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from engines.tone import Tone, sine
from rtaudio.chain import load_chain

WEEK = 7 * 24 * 3600


def made(values, samples, channels=1, rate=48_000, sizes=(4096,)):
    """A tone at a level of 0 dB, unless another is given, from the beginning."""
    return run(Tone(**{"level": 0.0} | values), np.zeros((0, samples)), rate, sizes, channels)


def made_from(values, position, samples, rate=48_000):
    """A tone from a position on, by a processor that has not run before."""
    processor = Tone(**{"level": 0.0} | values)
    processor.prepare(rate, samples, channels=1)
    sizes = np.array([7, samples - 7])
    return walk(processor, np.zeros((0, samples), np.float32), sizes, position)[0].astype(float)


def exact(frequency, rate, position, samples):
    """A sine whose phase is frequency times position, modulo a turn, in exact fractions."""
    step = Fraction(frequency) / rate
    turns = [float(step * at % 1) for at in range(position, position + samples)]
    return np.sin(2 * np.pi * np.array(turns))


rates = st.sampled_from([8_000, 44_100, 48_000, 96_000, 192_000])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3919), rates, st.integers(0, WEEK))
def test_the_phase_of_whole_frequencies_is_exact_for_a_week(frequency, rate, second):
    got = made_from({"frequency": frequency}, second * rate, 50, rate)
    assert np.abs(got - exact(frequency, rate, second * rate, 50)).max() <= 1e-7


@settings(max_examples=60, deadline=None)
@given(st.floats(0.1, 3919.0), rates, st.integers(0, WEEK))
def test_the_phase_of_any_frequency_is_exact_for_a_week(frequency, rate, second):
    got = made_from({"frequency": frequency}, second * rate, 50, rate)
    assert np.abs(got - exact(frequency, rate, second * rate, 50)).max() <= 1e-7


def test_a_long_run_has_the_phase_of_its_position():
    """Ten minutes, sample by sample, end where a run that begins there begins."""
    processor = Tone(level=0.0, frequency=997.123)
    processor.prepare(48_000, 48_000, channels=1)
    y = np.empty((1, 48_000), np.float32)
    for _ in range(600):
        processor.process(np.zeros((0, 48_000), np.float32), y)
    assert np.array_equal(y[0, -100:], made_from({"frequency": 997.123}, 600 * 48_000 - 100, 100))
    assert np.abs(y[0, -100:] - exact(997.123, 48_000, 600 * 48_000 - 100, 100)).max() <= 1e-7


def test_the_polynomial_is_within_2e_11():
    turns = np.linspace(-0.5, 0.5, 20_001)[:-1]
    got = [sine(int(turn * 2.0**64)) for turn in turns]
    assert np.abs(np.array(got) - np.sin(2 * np.pi * turns)).max() <= 2e-11


def test_the_sine_is_pure():
    """On whole bins, without a window: THD+N below -120 dB, and what is left is the rounding to float32."""
    n, rate = 1 << 16, 48_000
    for bin_ in (3, 1361, 20_001, 31_999):
        for level in (0.0, -60.0):
            x = made({"frequency": bin_ * rate / n, "level": level}, n, 1, rate)[0].astype(float)
            spectrum = np.abs(np.fft.rfft(x)) ** 2
            assert spectrum.argmax() == bin_
            rest = np.delete(spectrum, bin_).sum() / spectrum[bin_]
            assert 10 * np.log10(rest) < -140
            assert 2 * np.sqrt(spectrum[bin_]) / n == pytest.approx(10 ** (level / 20), rel=1e-7)


def test_frequencies_are_held_below_half_the_rate():
    y = made({"frequency": 96_000.0}, 1000, 1, 8_000)[0]
    assert np.abs(y - exact(Fraction(3920), 8_000, 0, 1000)).max() <= 1e-7


@pytest.mark.parametrize("rate", [44_100, 192_000])
def test_the_sweep_is_a_logarithmic_chirp_that_repeats(rate):
    values = {"kind": "sweep", "low": 50.0, "high": 18_000.0, "duration": 0.3}
    length = round(0.3 * rate)
    y = made(values, 2 * length + 500, 1, rate)[0].astype(float)
    want = signal.chirp(np.arange(length) / rate, 50, 0.3, 18_000, "logarithmic", -90)
    assert np.abs(y[:length] - want).max() <= 1e-6
    assert np.array_equal(y[length : 2 * length], y[:length])
    assert np.array_equal(made_from(values, 2 * length - 100, 300, rate), y[2 * length - 100 :][:300])


def test_sweeps_run_downward_and_stand_still():
    down = made({"kind": "sweep", "low": 9000.0, "high": 30.0, "duration": 0.2}, 9600)[0]
    want = signal.chirp(np.arange(9600) / 48_000, 9000, 0.2, 30, "logarithmic", -90)
    assert np.abs(down - want).max() <= 1e-6
    still = made({"kind": "sweep", "low": 440.0, "high": 440.0, "duration": 0.2}, 9600)[0]
    assert np.abs(still - exact(440, 48_000, 0, 9600)).max() <= 1e-7
    nearly = made({"kind": "sweep", "low": 440.0, "high": 440.0000001, "duration": 0.2}, 9600)[0]
    assert np.abs(nearly - still).max() <= 1e-6


def test_the_longest_sweep_is_exact_at_its_end():
    values = {"kind": "sweep", "low": 10.0, "high": 20_000.0, "duration": 3600.0}
    last = 3600 * 48_000 - 200
    got, t = made_from(values, last, 100), np.arange(last, last + 100, dtype=np.longdouble) / 48_000
    growth = np.log(np.longdouble(2000)) / 3600
    turns = 10 * np.expm1(growth * t) / growth
    assert np.abs(got - np.sin(2 * np.pi * (turns % 1).astype(float))).max() <= 1e-6


@pytest.mark.parametrize("interval", [1, 7, 441, 5000])
def test_impulses_are_where_they_should_be(interval):
    y = made({"kind": "impulses", "interval": interval, "level": -6.0}, 12_000)[0]
    assert np.array_equal(np.flatnonzero(y), np.arange(0, 12_000, interval))
    assert set(y[y != 0]) == {np.float32(10 ** (-6 / 20))}
    start = 2**31 + 11
    later = made_from({"kind": "impulses", "interval": interval}, start, 12_000)
    assert np.array_equal(
        np.flatnonzero(later), np.flatnonzero(np.arange(start, start + 12_000) % interval == 0)
    )


@pytest.mark.parametrize("kind", ["sine", "sweep", "impulses"])
def test_one_channel_alone(kind):
    values = {"kind": kind, "duration": 0.05, "interval": 10}
    whole = made(values, 3000, 3)
    assert (whole == whole[0]).all()
    for number in (1, 2, 3):
        y = made(values | {"channel": number}, 3000, 3)
        assert np.array_equal(y[number - 1], whole[0])
        assert not np.delete(y, number - 1, axis=0).any()
    assert not made(values | {"channel": 64}, 3000, 3).any()


@pytest.mark.parametrize(
    "values", [{}, {"kind": "sweep", "duration": 0.1}, {"kind": "impulses", "interval": 99}]
)
def test_any_partition_gives_the_same_bits(values):
    want = made(values, 20_000, sizes=(20_000,))
    for sizes in PARTITIONS:
        assert np.array_equal(made(values, 20_000, sizes=sizes), want), sizes


EVENTS = (
    ("frequency", 8000.0, 1000),
    ("level", -40.0, 1203),
    ("frequency", 100.0, 1217),
    ("frequency", 5.5, 9000),
)


def test_a_moving_frequency_bends_the_phase_without_a_step():
    x = noise(12_000, 1)
    want = blocks.played(Tone, {"level": 0.0}, x, 12_000, EVENTS)
    for block in BLOCKS:
        assert np.array_equal(blocks.played(Tone, {"level": 0.0}, x, block, EVENTS), want), block
    hertz = course(1000.0, [(value, at) for name, value, at in EVENTS if name == "frequency"], 12_000)
    level = course(1.0, [(0.01, 1203)], 12_000)
    turns = np.concatenate([[0], np.cumsum(hertz)[:-1]]) / 48_000
    assert np.abs(want[0] - level * np.sin(2 * np.pi * turns)).max() <= 1e-6


def test_reset_starts_afresh():
    processor = Tone(frequency=441.3)
    first = run(processor, np.zeros((0, 900)), channels=2)
    again = np.empty_like(first)
    processor.reset()
    processor.process(np.zeros((0, 900), np.float32), again)
    assert np.array_equal(first, again)


# ---------------------------------------------------------------------------------------------- in a rack

DUCKED = """
version = 1
edges = ["beep -> duck", "in -> duck.sidechain", "duck -> out"]

[nodes.beep]
engine = "tone"
frequency = 440
channel = 2

[nodes.duck]
engine = "compressor"
key = "sidechain"
threshold = -60
"""


def test_a_rack_ducks_it_under_the_input(tmp_path):
    path = tmp_path / "ducked.toml"
    path.write_text(DUCKED)
    silence, speech = np.zeros((2, 6000), np.float32), 0.5 * noise(6000)
    beep = 0.1 * exact(440, 48_000, 0, 6000)
    quiet = blocks.play(load_chain(str(path)), silence, 128)
    assert np.abs(quiet - [0 * beep, beep]).max() <= 1e-8
    ducked = blocks.play(load_chain(str(path)), speech, 128)
    assert np.abs(ducked[1, 4800:]).max() < 0.1 * 0.05


def test_it_stands_first_in_a_chain():
    got = blocks.play(load_chain("tone(kind=impulses, interval=50) | gain(gain=20)"), noise(200), 64)
    assert np.flatnonzero(got[0]).tolist() == [0, 50, 100, 150]
    assert got.max() == pytest.approx(1)
