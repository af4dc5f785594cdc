"""The echo against its closed form and scipy's filter."""

import blocks
import numpy as np
import pytest
from blocks import BLOCKS, PARTITIONS, noise, run
from scipy import signal

from engines.delay import Delay
from rtaudio.errors import UserError
from rtaudio.graph import Graph, Node
from rtaudio.plan import Plan


def echoed(values, x, rate=48_000, sizes=(4096,)):
    """The output for blocks of these sizes, over and over."""
    return run(Delay(**values), x, rate, sizes)


def played(values, x, block, events=()):
    """The output of a plan with events (parameter, value, position), as it runs live."""
    return blocks.played(Delay, values, x, block, events)


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
@pytest.mark.parametrize("mix", [0.25, 1.0])
@pytest.mark.parametrize("feedback", [0.0, 0.5, 0.9])
def test_impulse_response_is_a_geometric_series(feedback, mix, rate):
    x = np.zeros((1, rate), np.float32)
    x[0, 0] = 1
    step = round(0.0123 * rate)
    want = np.zeros(rate)
    want[0] = 1 - mix
    want[step::step] = mix * feedback ** np.arange(len(want[step::step]))
    got = echoed({"time": 12.3, "feedback": feedback, "mix": mix}, x, rate)
    assert np.abs(got[0] - want).max() <= 1e-7


@pytest.mark.parametrize("damping", [100.0, 3000.0, 19_000.0])
def test_damping_matches_scipy(damping):
    """line / x = 1 / (1 - feedback LP(z) z^-D), with LP(z) = s / (1 - (1 - s) / z), echo = line z^-D."""
    x, feedback, step, rate = noise(30_000), 0.8, 77, 44_100
    s = 1 - np.exp(-2 * np.pi * damping / rate)
    b, a = np.zeros(step + 2), np.zeros(step + 2)
    b[step : step + 2] = 1, s - 1
    a[:2] = 1, s - 1
    a[step] -= feedback * s
    want = 0.4 * x + 0.6 * signal.lfilter(b, a, x.astype(float))
    values = {"time": 1e3 * step / rate, "feedback": feedback, "mix": 0.6, "damping": damping}
    assert np.abs(echoed(values, x, rate) - want).max() <= Delay.tolerance


def test_the_first_echo_is_not_damped():
    x = np.zeros((1, 1000), np.float32)
    x[0, 0] = 1
    y = echoed({"time": 5.0, "feedback": 0.5, "mix": 1.0, "damping": 500.0}, x)[0]
    assert y[240] == 1
    assert not y[241:480].any()
    assert 0 < y[480] < 0.1


@pytest.mark.parametrize("time", [0.0, 0.02, 7.3])
def test_any_partition_gives_the_same_bits(time):
    x = noise(20_000)
    values = {"time": time, "feedback": 0.7, "mix": 0.5, "damping": 2000.0}
    want = echoed(values, x, sizes=(20_000,))
    for sizes in PARTITIONS:
        assert np.array_equal(echoed(values, x, sizes=sizes), want), sizes


def test_any_partition_gives_the_same_bits_while_parameters_move():
    x = noise(12_000)
    events = [("feedback", 0.9, 1000), ("mix", 1.0, 1203), ("damping", 500.0, 1203), ("damping", 2e4, 1500)]
    want = played({"time": 3.0}, x, 12_000, events)
    for block in BLOCKS:
        assert np.array_equal(played({"time": 3.0}, x, block, events), want), block


def test_a_moving_mix_and_feedback_follow_their_ramps():
    """A constant input: the dry part fades with 1 - mix, the second echo comes with its feedback."""
    x = np.ones((1, 3000), np.float32)
    time = 1e3 * 1000 / 48_000
    y = played({"time": time, "feedback": 0.0, "mix": 0.0}, x, 128, [("mix", 1.0, 100)])[0]
    u = np.clip((np.arange(3000) - 100) / 480, 0, 1)
    mix = 6 * u**5 - 15 * u**4 + 10 * u**3
    assert np.abs(y[:1000] - (1 - mix[:1000])).max() <= 1e-7
    assert np.abs(y[1000:] - 1).max() <= 1e-7
    y = played({"time": time, "feedback": 0.0, "mix": 1.0}, x, 128, [("feedback", 0.5, 1100)])[0]
    u = np.clip((np.arange(3000) - 1100) / 480, 0, 1)
    feedback = 0.5 * (6 * u**5 - 15 * u**4 + 10 * u**3)
    assert np.abs(y[2000:] - (1 + feedback[1000:2000])).max() <= 1e-6


def test_unity_is_exact():
    x = noise(5000)
    assert np.array_equal(echoed(Delay.unity, x), x)


@pytest.mark.parametrize("feedback", [0.0, 0.1, 0.5, 0.9])
def test_tail_covers_the_repeats_to_minus_120_db(feedback):
    processor = Delay(time=2.0, feedback=feedback, mix=1.0)
    processor.prepare(48_000, 256)
    x = np.zeros((1, 2 * processor.tail + 1000), np.float32)
    x[0, 0] = 1
    y = np.abs(echoed(processor.values, x)[0])
    assert y[processor.tail + 1 :].max() < 1e-6
    assert processor.tail <= np.flatnonzero(y > 1e-6)[-1] + 96


def test_tail_ends_after_30_seconds_and_one_time():
    processor = Delay(time=5000.0, feedback=0.99)
    processor.prepare(8_000, 256)
    assert processor.tail == 35 * 8_000
    assert processor.latency == 0


@pytest.mark.parametrize("rate", [8_000, 192_000])
def test_longest_and_shortest_time(rate):
    x = np.zeros((1, 5 * rate + 10), np.float32)
    x[0, 0] = 1
    for time, step in ((5000.0, 5 * rate), (0.0, 1)):
        y = echoed({"time": time, "feedback": 0.0, "mix": 1.0}, x, rate)
        assert np.flatnonzero(y[0]).tolist() == [step]


def test_time_is_fixed_while_sound_runs():
    plan = Plan(Graph([Node("f", Delay)], ["in -> f", "f -> out"]), 48_000, 64, 2)
    with pytest.raises(UserError, match=r"f\.time is fixed while sound runs"):
        plan.set("f.time", 100.0)


def test_extreme_input_stays_finite():
    for x in (np.ones((1, 20_000)), np.full((1, 20_000), 1e-40), np.zeros((1, 20_000))):
        y = echoed({"time": 1.0, "feedback": 0.99, "mix": 1.0}, x.astype(np.float32))
        assert np.abs(y).max() <= 100.001 * x.max()


def test_reset_starts_afresh():
    x = noise(1000)
    processor = Delay(time=3.0, damping=1000.0)
    processor.prepare(48_000, 1000)
    first, second = np.empty_like(x), np.empty_like(x)
    processor.process(x, first)
    processor.reset()
    processor.process(x, second)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_channels_do_not_touch_each_other(channels):
    x = noise(2000, channels)
    y = echoed({"time": 3.0}, x)
    for c in range(channels):
        assert np.array_equal(y[c], echoed({"time": 3.0}, x[c : c + 1])[0])
