"""Noise against its hash in whole numbers, its statistics, and spectra measured from the noise itself."""

import blocks
import numpy as np
import pytest
from blocks import BLOCKS, PARTITIONS, course, noise, run
from contract import walk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal, stats

from engines.noise import Noise
from rtaudio.chain import load_chain
from rtaudio.errors import UserError

RATES = (44_100, 48_000, 88_200, 96_000, 192_000)
MASK = 2**64 - 1


def made(values, samples, channels=2, rate=48_000, sizes=(4096,)):
    """Noise at a level of 0 dB, unless another is given, from the beginning."""
    return run(Noise(**{"level": 0.0} | values), np.zeros((0, samples)), rate, sizes, channels)


def mixed(z):
    """SplitMix64's output function, in whole numbers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def truth(seed, c, position):
    """A sample of white noise: the upper 53 bits from -1 to 1, scaled to a mean square of 1."""
    gamma = 0x9E3779B97F4A7C15
    key = (mixed(seed) + gamma * (c + 1)) & MASK
    return 3**0.5 * ((mixed((mixed(key) + gamma * position) & MASK) >> 11) / 2**52 - 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(0, 2**40), st.sampled_from([1, 2, 5]))
def test_a_white_sample_is_a_function_of_seed_channel_and_position(seed, position, channels):
    processor = Noise(level=-6.0, seed=seed)
    processor.prepare(48_000, 64, channels=channels)
    got = walk(processor, np.zeros((0, 64), np.float32), np.array([5, 59]), position)
    want = [[10**-0.3 * truth(seed, c, position + i) for i in range(64)] for c in range(channels)]
    assert np.abs(got - np.array(want)).max() <= 1e-7


def test_the_hash_is_splitmix64():
    """The first numbers of the published generator, seeded with 1234567."""
    gamma = 0x9E3779B97F4A7C15
    want = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [mixed((1234567 + gamma * k) & MASK) for k in (1, 2, 3)] == want


def test_white_noise_is_uniform_white_and_independent():
    x = made({}, 1 << 18, 3).astype(float)
    assert np.abs(x).max() <= 3**0.5
    for row in x:
        assert stats.kstest(row, "uniform", (-(3**0.5), 2 * 3**0.5)).pvalue > 1e-3
        spectrum = np.abs(np.fft.rfft(row)) ** 2 / len(row)
        assert stats.kstest(spectrum[1:-1], "expon").pvalue > 1e-3
    for a, b in ((0, 1), (0, 2), (1, 2)):
        lags = signal.correlate(x[a], x[b], "full", "fft") / x.shape[1]
        assert np.abs(lags).max() < 7 / x.shape[1] ** 0.5
    other = made({"seed": 1}, 1 << 18, 1).astype(float)
    assert abs(np.corrcoef(other[0], x[0])[0, 1]) < 5 / x.shape[1] ** 0.5


@pytest.mark.parametrize("colour", ["white", "pink", "brown"])
@pytest.mark.parametrize("rate", [8_000, 48_000, 192_000])
def test_level_is_the_rms(rate, colour):
    """Over 8 channels of 10 s: to 0.05 dB if white, and to what is due to few periods of 5 Hz else."""
    x = made({"colour": colour, "level": -12.0}, 10 * rate, 8, rate).astype(float)
    rms = 20 * np.log10(np.sqrt(np.mean(x[:, rate:] ** 2)))
    assert rms == pytest.approx(-12.0, abs=0.05 if colour == "white" else 0.5)
    assert np.abs(x[:, rate:].mean()) < (0.005 if colour == "white" else 0.15) * 10 ** (-12 / 20)


def response(colour, rate):
    """Frequencies from 20 Hz to 20 kHz, and dB of the filter between the white noise and this one."""
    n, window = 1 << 20, 1 << (17 if rate > 50_000 else 15)
    white, coloured = (made({"colour": kind}, n, 1, rate)[0].astype(float) for kind in ("white", colour))
    f, cross = signal.csd(white, coloured, rate, "hann", window)
    _, power = signal.welch(white, rate, "hann", window)
    heard = (f >= 20) & (f <= min(20_000, 0.49 * rate))
    return f[heard], 20 * np.log10(np.abs(cross / power)[heard])


@pytest.mark.parametrize(("colour", "slope", "tolerance"), [("pink", 1, 0.1), ("brown", 2, 0.3)])
@pytest.mark.parametrize("rate", RATES)
def test_the_spectrum_falls_as_it_should(rate, colour, slope, tolerance):
    f, decibels = response(colour, rate)
    flat = decibels + slope * 10 * np.log10(f)
    flat -= (flat.max() + flat.min()) / 2
    # What is left of chance: smoothed over a third of an octave where there is enough to smooth.
    octave = np.round(3 * np.log2(f / 20))
    level = np.array([flat[octave == band].mean() for band in np.unique(octave)])
    assert level.max() - level.min() <= 2 * tolerance
    assert np.polyfit(np.log2(np.unique(octave) + 1), level, 1)[0] == pytest.approx(0, abs=tolerance)


@pytest.mark.parametrize(("colour", "slope"), [("white", 0), ("pink", 3.0103), ("brown", 6.0206)])
def test_octave_bands_fall_by_the_slope(colour, slope):
    """By the noise alone, without the white noise that it is made of."""
    x = made({"colour": colour, "seed": 5}, 1 << 20, 4).astype(float)
    f, power = signal.welch(x, 48_000, "hann", 1 << 14)
    edges = 40 * 2.0 ** np.arange(9)
    bands = [power[:, (f >= low) & (f < 2 * low)].mean() for low in edges]
    fitted = np.polyfit(np.arange(9), 10 * np.log10(bands), 1)[0]
    assert fitted == pytest.approx(-slope, abs=0.06)


def test_one_noise_on_all_channels():
    for colour in ("white", "pink"):
        x = made({"colour": colour, "channels": "same"}, 5000, 4)
        assert (x == x[0]).all()
        apart = made({"colour": colour}, 5000, 4)
        assert np.array_equal(apart[0], x[0])
        assert not np.array_equal(apart[0], apart[1])


@pytest.mark.parametrize("colour", ["white", "pink", "brown"])
def test_any_partition_gives_the_same_bits(colour):
    want = made({"colour": colour}, 20_000, sizes=(20_000,))
    for sizes in PARTITIONS:
        assert np.array_equal(made({"colour": colour}, 20_000, sizes=sizes), want), sizes


def test_a_moving_level_follows_its_ramp_in_any_partition():
    events = [("level", -20.0, 1000), ("level", -120.0, 1300), ("level", 0.0, 5000)]
    values, x = {"colour": "pink", "level": 0.0}, noise(9000)
    want = blocks.played(Noise, values, x, 9000, events)
    for block in BLOCKS:
        assert np.array_equal(blocks.played(Noise, values, x, block, events), want), block
    level = course(1.0, [(0.1, 1000), (0.0, 1300), (1.0, 5000)], 9000)
    assert np.abs(want - level * made(values, 9000)).max() <= 1e-6
    assert not want[:, 1300 + 480 : 5000].any()


@pytest.mark.parametrize("colour", ["pink", "brown"])
def test_a_run_that_begins_elsewhere_comes_to_the_same_samples(colour):
    processor = Noise(level=0.0, colour=colour)
    whole = made(processor.values, 60_000)
    processor.prepare(48_000, 40_000)
    late = walk(processor, np.zeros((0, 40_000), np.float32), np.array([40_000]), 20_000)
    left = np.abs(late - whole[:, 20_000:])
    assert left.max() > 1e-3
    assert left[:, 24_000:].max() <= 1e-5


def test_reset_starts_afresh():
    processor = Noise(colour="pink")
    first = run(processor, np.zeros((0, 900)), channels=2)
    again = np.empty_like(first)
    processor.reset()
    processor.process(np.zeros((0, 900), np.float32), again)
    assert np.array_equal(first, again)


# ---------------------------------------------------------------------------------------------- in a rack

MASKED = """
version = 1
edges = ["in -> out", "hiss -> shape", "shape -> out", "hiss -> out.hiss"]

[nodes.hiss]
engine = "noise"
colour = "pink"
level = -40

[nodes.shape]
engine = "biquad"
frequency = 500
"""


def test_a_rack_adds_it_to_the_input(tmp_path):
    path = tmp_path / "masked.toml"
    path.write_text(MASKED)
    x = noise(6000)
    hiss = made({"colour": "pink", "level": -40.0}, 6000).astype(float)
    want = x + signal.sosfilt(signal.butter(2, 500, "high", fs=48_000, output="sos"), hiss, axis=1)
    assert np.abs(blocks.play(load_chain(str(path)), x, 128) - want).max() <= 1e-6


def test_it_stands_first_in_a_chain():
    got = blocks.play(load_chain("noise(colour=brown) | gain(gain=-6)"), noise(3000), 100)
    want = 10 ** (-6 / 20) * made({"colour": "brown", "level": -30.0}, 3000)
    assert np.abs(got - want).max() <= 1e-7
    with pytest.raises(UserError, match="noise is a source: it can only stand first"):
        load_chain("gain | noise")
