"""The limiter against its guarantee, a reference in numpy, and true peaks measured at 16 points a sample."""

import blocks
import numpy as np
import pytest
from blocks import BLOCKS, PARTITIONS, course, noise, run
from scipy import signal

from engines.limiter import Limiter

FULL = {"ceiling": 0.0}


def limited(values, x, rate=48_000, sizes=(4096,)):
    """The output for blocks of these sizes, over and over, and the latency."""
    processor = Limiter(**values)
    return run(processor, x, rate, sizes), processor.latency


def played(values, x, block, events=()):
    """The output of a plan with events (parameter, value, position), as it runs live."""
    return blocks.played(Limiter, values, x, block, events)


def reference(x, ceiling, release, lookahead, rate):
    """The gain of each input sample: minimum, recovery, two averages, over the whole signal at once."""
    needed = np.minimum(1, ceiling / np.maximum(np.abs(x).max(axis=0), 1e-30))
    around = np.concatenate([np.ones(lookahead), needed, np.ones(lookahead)])
    lowest = np.lib.stride_tricks.sliding_window_view(around, lookahead + 1).min(axis=1)
    share, now, followed = 1 - np.exp(-1e3 / (release * rate)), 1.0, np.ones(lookahead + len(lowest))
    for i, target in enumerate(lowest):
        now = min(target, now + share * (target - now))
        followed[lookahead + i] = now
    first = lookahead // 2 + 1
    window = np.convolve(np.ones(first), np.ones(lookahead + 2 - first))
    return np.convolve(followed, window / window.sum(), "valid")[lookahead:]


def loud(name, samples=24_000, rate=48_000):
    """Test signals at up to +24 dB."""
    n = np.arange(samples)
    x = {
        "noise": noise(samples, 1)[0],
        "square": np.sign(np.sin(2 * np.pi * 441 * n / rate) + 1e-9),
        "sweep": signal.chirp(n / rate, 20, samples / rate, 0.49 * rate, "logarithmic"),
        "impulses": np.where(n % 1009 == 0, 1.0, 0.0) - np.where(n % 757 == 3, 0.7, 0.0),
        "bursts": noise(samples, 1, 1)[0] * np.where(n % 2000 < 300, 1.0, 0.01),
        "fade": noise(samples, 1, 2)[0] * np.linspace(0, 1, samples),
    }[name]
    return (16 * x).astype(np.float32)[None]


SIGNALS = ("noise", "square", "sweep", "impulses", "bursts", "fade")


@pytest.mark.parametrize("true_peak", ["off", "on"])
@pytest.mark.parametrize("name", SIGNALS)
def test_no_sample_exceeds_the_ceiling(name, true_peak):
    x = loud(name)
    settings = ((0.0, 80.0, 1.5), (-0.3, 1.0, 0.5), (-29.9, 2000.0, 20.0), (-7.77, 10.0, 5.0))
    for ceiling, release, lookahead in settings:
        values = {"ceiling": ceiling, "release": release, "lookahead": lookahead, "true_peak": true_peak}
        y, _ = limited(values, x)
        assert float(np.abs(y).max()) <= 10 ** (ceiling / 20)
        assert np.abs(y).max() >= 0.5 * 10 ** (ceiling / 20)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 64])
@pytest.mark.parametrize("rate", [8_000, 44_100, 384_000])
def test_no_sample_exceeds_the_ceiling_in_any_channel_at_any_rate(rate, channels):
    x = 4 * noise(9000, channels)
    y, _ = limited({"gain": 12.0}, x, rate)
    assert float(np.abs(y).max()) <= 10 ** (-0.3 / 20)


@pytest.mark.parametrize("true_peak", ["off", "on"])
@pytest.mark.parametrize("lookahead", [0.5, 1.5, 20.0])
@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_below_the_ceiling_the_output_is_the_input_later(rate, lookahead, true_peak):
    x = noise(rate // 4)
    if true_peak == "on":
        x *= np.float32(0.3)
    y, latency = limited(FULL | {"lookahead": lookahead, "true_peak": true_peak}, x, rate)
    assert latency == round(lookahead / 1e3 * rate) + (16 if true_peak == "on" else 0)
    assert np.array_equal(y[:, latency:], x[:, :-latency])
    assert not y[:, :latency].any()


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize(("release", "lookahead"), [(80.0, 1.5), (3.0, 7.0)])
def test_matches_the_reference(name, release, lookahead):
    x = np.vstack([loud(name), 0.5 * noise(24_000, 1, 5)])
    y, latency = limited({"ceiling": -6.0, "release": release, "lookahead": lookahead}, x)
    gain = reference(x.astype(float), 10 ** (-6 / 20), release, latency, 48_000)
    assert np.abs(y[:, latency:] - (x * gain)[:, :-latency]).max() <= 1e-6


def test_channels_share_the_gain():
    x = np.vstack([loud("bursts"), np.full((1, 24_000), 0.01, np.float32)])
    y, latency = limited({}, x)
    left, right = (y[:, latency:] / x[:, :-latency]).astype(float)
    assert left.min() < 0.1
    assert np.abs(left - right).max() <= 1e-6


@pytest.mark.parametrize("release", [5.0, 80.0, 500.0])
def test_release_is_the_time_constant(release):
    """After a loud second, 1 - gain falls as exp(-t / release)."""
    rate, loud_samples = 48_000, 4800
    x = np.full((1, loud_samples + 2 * rate), 0.05, np.float32)
    x[:, :loud_samples] = 1
    y, latency = limited({"ceiling": -20.0, "release": release}, x, rate)
    reduction = 1 - y[0, latency:].astype(float) / x[0, :-latency]
    assert reduction[loud_samples - 1] == pytest.approx(0.9, abs=1e-6)
    start = loud_samples + 3 * latency
    later = start + np.round(np.array([0.5, 1.0, 2.0]) * release / 1e3 * rate).astype(int)
    want = reduction[start] * np.exp(-(later - start) / (release / 1e3 * rate))
    assert reduction[later] == pytest.approx(want, rel=1e-4)


def test_the_fade_is_complete_and_no_deeper_than_needed_when_the_peak_arrives():
    x = np.full((1, 4000), 0.1, np.float32)
    x[0, 2000] = 4
    y, latency = limited(FULL, x)
    gain = y[0, latency:].astype(float) / x[0, :-latency]
    assert gain[2000] == pytest.approx(0.25, abs=1e-7)
    assert (gain[: 2000 - latency] == 1).all()
    assert (np.diff(gain[: 2000 + 1]) <= 0).all()
    assert np.abs(np.diff(gain)).max() <= 0.75 / (latency // 2)


def test_after_ten_loud_minutes_the_gain_is_exactly_one_again():
    processor = Limiter(ceiling=-6.0)
    processor.prepare(48_000, 48_000, channels=1)
    y = np.empty((1, 48_000), np.float32)
    x = 8 * noise(48_000, 1)
    for _ in range(600):
        processor.process(x, y)
    assert float(np.abs(y).max()) <= 10 ** (-6 / 20)
    quiet, latency = noise(48_000, 1, 3) / 4, processor.latency
    processor.process(quiet, y)
    assert not np.array_equal(y[:, latency:24_000], quiet[:, : 24_000 - latency])
    for _ in range(2):
        processor.process(quiet, y)
    assert np.array_equal(y[:, latency:], quiet[:, :-latency])


@pytest.mark.parametrize("true_peak", ["off", "on"])
def test_any_partition_gives_the_same_bits(true_peak):
    x = 3 * noise(20_000)
    values = {"true_peak": true_peak, "release": 10.0}
    want, _ = limited(values, x, sizes=(20_000,))
    for sizes in PARTITIONS:
        assert np.array_equal(limited(values, x, sizes=sizes)[0], want), sizes


EVENTS = (
    ("ceiling", -12.0, 1000),
    ("gain", 20.0, 1203),
    ("release", 3.0, 1203),
    ("ceiling", -1.0, 1390),
    ("gain", 0.0, 7000),
    ("ceiling", -30.0, 9001),
)


@pytest.mark.parametrize("true_peak", ["off", "on"])
def test_any_partition_gives_the_same_bits_while_parameters_move(true_peak):
    x = 2 * noise(12_000)
    want = played({"true_peak": true_peak}, x, 12_000, EVENTS)
    for block in BLOCKS:
        assert np.array_equal(played({"true_peak": true_peak}, x, block, EVENTS), want), block


def ramped(start, parameter, samples=12_000):
    """The course of a parameter in dB through `EVENTS`, as amplitude."""
    changes = [(10 ** (decibels / 20), at) for name, decibels, at in EVENTS if name == parameter]
    return course(start, changes, samples, high=1.0)


@pytest.mark.parametrize("name", SIGNALS)
def test_every_sample_is_held_to_the_ceiling_of_the_moment_it_entered(name):
    x = loud(name, 12_000)
    y = played({}, x, 128, EVENTS)[:, 72:]
    ceiling = ramped(10 ** (-0.3 / 20), "ceiling")[:-72]
    assert (np.abs(y) <= ceiling * (1 + 1e-7)).all()
    events = [event for event in EVENTS if event[0] == "ceiling"]
    gain = reference(x.astype(float), ramped(10 ** (-0.3 / 20), "ceiling"), 80.0, 72, 48_000)
    assert np.abs(played({}, x, 128, events)[:, 72:] - (x * gain)[:, :-72]).max() <= 1e-6


@pytest.mark.parametrize("true_peak", ["off", "on"])
@pytest.mark.parametrize("name", SIGNALS)
def test_the_gain_alone_holds_the_ceiling(name, true_peak):
    """A quiet second channel shows the gain without the clamp, which is there for rounding only."""
    x = np.vstack([loud(name, 12_000), np.full((1, 12_000), 1e-3, np.float32)])
    y = played({"true_peak": true_peak, "release": 1.0}, x, 128, EVENTS)
    latency = 88 if true_peak == "on" else 72
    gain = y[1, latency:] / x[1, :-latency].astype(float)
    ceiling = ramped(10 ** (-0.3 / 20), "ceiling")[:-latency]
    assert (np.abs(x[0, :-latency]) * gain <= ceiling * (1 + 1e-6)).all()


def test_a_moving_ceiling_holds_true_peaks():
    x = below_20_khz("noise", 48_000, 12_000)
    y = played({"true_peak": "on"}, x, 128, [event for event in EVENTS if event[0] == "ceiling"])[:, 88:]
    assert true_peak_db(y / ramped(10 ** (-0.3 / 20), "ceiling")[:-88]) <= 0.15


def test_reset_starts_afresh():
    x = 4 * noise(1000)
    processor = Limiter(true_peak="on")
    processor.prepare(48_000, 1000)
    first, second = np.empty_like(x), np.empty_like(x)
    processor.process(x, first)
    processor.reset()
    processor.process(x, second)
    assert np.array_equal(first, second)


def test_extreme_input_stays_finite_and_silence_silent():
    for true_peak in ("off", "on"):
        values = {"true_peak": true_peak, "gain": 24.0}
        for level in (1e-40, 1.0, 3.4e38):
            x = level * np.where(np.arange(4000) % 50 < 25, 1.0, -1.0)
            y, _ = limited(values, x.astype(np.float32)[None])
            assert float(np.abs(y).max()) <= 10 ** (-0.3 / 20)
        assert not limited(values, np.zeros((1, 4000), np.float32))[0].any()


def test_the_gain_drives():
    x = noise(2000) / 100
    y, latency = limited({"gain": 12.0}, x)
    assert np.abs(y[:, latency:] - x[:, :-latency] * 10**0.6).max() <= 1e-7


# ---------------------------------------------------------------------------------------------- true peaks


def band(samples, rate, hertz, seed=0):
    """Noise up to a frequency, with nothing above it."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=samples))
    spectrum[np.fft.rfftfreq(samples, 1 / rate) > hertz] = 0
    x = np.fft.irfft(spectrum, samples)
    return x / np.abs(x).max()


def true_peak_db(y):
    """The largest magnitude at 16 points per sample in dB, by Fourier interpolation; without the ends."""
    fine = signal.resample(y.astype(float), 16 * y.shape[1], axis=1)
    return 20 * np.log10(np.abs(fine[:, 3200:-3200]).max())


def below_20_khz(name, rate, samples=32_768):
    """Test signals at +24 dB with nothing above 0.4535 of the rate (20 kHz at 44.1 kHz)."""
    n, edge = np.arange(samples), 20 / 44.1 * rate
    gate = np.where(n % 3000 < 400, 1.0, 0.03)
    x = {
        "noise": band(samples, rate, edge),
        "dull noise": band(samples, rate, edge / 2),
        "bursts": band(samples, rate, edge, 1) * gate,
        "dull bursts": band(samples, rate, edge / 2, 2) * gate,
        "sweep": signal.chirp(n / rate, 20, samples / rate, edge),
        "quarter of the rate": np.sin(np.pi / 2 * n + np.pi / 4),
        "square": sum(np.sin(2 * np.pi * 997 * k * n / rate) / k for k in range(1, int(edge / 997) + 1, 2)),
        "tones": np.sin(2.1 * n) + np.sin(2.6 * n + 1) + np.sin(0.02 * n),
        "low": np.sin(2 * np.pi * 50 * n / rate) + 0.5 * np.sin(2 * np.pi * 0.4 * n),
    }[name]
    return (16 * x / np.abs(x).max()).astype(np.float32)[None]


BANDED = (
    "noise",
    "dull noise",
    "bursts",
    "dull bursts",
    "sweep",
    "quarter of the rate",
    "square",
    "tones",
    "low",
)


@pytest.mark.parametrize("rate", [44_100, 96_000])
@pytest.mark.parametrize("name", BANDED)
def test_true_peaks_stay_within_0_15_db_of_the_ceiling(name, rate):
    x = below_20_khz(name, rate)
    for lookahead in (0.5, 1.5, 5.0):
        y, _ = limited({"ceiling": -1.0, "true_peak": "on", "lookahead": lookahead}, x, rate)
        assert true_peak_db(y) <= -1.0 + 0.15


def test_white_noise_stays_within_2_db_of_the_ceiling_between_the_samples():
    """Half the rate is not reached by any short interpolation; the documentation says so."""
    y, _ = limited({"ceiling": -1.0, "true_peak": "on"}, 16 * noise(32_768, 1), 44_100)
    assert -1.0 + 0.15 < true_peak_db(y) <= -1.0 + 2.0


def test_without_true_peak_the_signal_between_the_samples_exceeds_the_ceiling():
    for name, excess in (("quarter of the rate", 3.0), ("noise", 1.0)):
        y, _ = limited({"ceiling": -1.0}, below_20_khz(name, 44_100), 44_100)
        assert true_peak_db(y) > -1.0 + excess
