"""Ramps of parameters against quintics of scipy, and what a moving fader adds above 15 kHz."""

import numpy as np
import pytest
from blocks import course, played
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.interpolate import BPoly
from stepped import above_15_khz, step_above_15_khz

from engines.biquad import Biquad
from engines.delay import Delay
from engines.gain import Gain
from rtaudio.graph import Graph, Node
from rtaudio.kernel import HIGHEST, LOWEST, resting, settled, turn, value
from rtaudio.plan import Plan

RATE = 48_000


def values(ramps, at):
    return np.array([value(ramps.ctypes.data, 0, float(each)) for each in at])


def derivatives(ramps, at, side, length):
    """Value, slope, curvature (in lengths) on one side of a position: through six points of a quintic."""
    points = np.arange(1, 7) * side * length / 64
    fitted = np.polynomial.Polynomial.fit(
        points / length, values(ramps, at + points), 5, domain=[-1, 1], window=[-1, 1]
    )
    return np.array([fitted.deriv(order)(0.0) if order else fitted(0.0) for order in range(3)])


turns = st.lists(
    st.tuples(st.integers(0, 1500), st.floats(-1.0, 1.0), st.sampled_from([0, 1, 480, 1000])), max_size=8
)


@settings(max_examples=200, deadline=None)
@given(turns)
@example([(0, 0.5625, 480), (229, 0.0, 1), (0, 0.0, 480)])
def test_ramps_are_the_quintics_of_their_turns(moves):
    """From the value, slope and curvature at which the last was left, to rest at the target."""
    ramps, at, last, before = resting([0.0]), 0, None, 1
    for gap, target, length in moves:
        at += gap
        begin = [float(values(ramps, [at])[0]), 0.0, 0.0]
        if last is not None and at < last.x[-1] and length:
            begin = [float(last(at, order)) for order in range(3)]
        turn(ramps.ctypes.data, 0, at, target, 0, float(length))
        last = BPoly.from_derivatives([at, at + length], [begin, [target, 0, 0]]) if length else None
        if last is not None:
            t = at + np.linspace(0, length, 33)
            # The rounding of a curvature that is taken over grows by the square of the lengths' ratio.
            rounding = np.finfo(float).eps * (length / before) ** 2
            np.testing.assert_allclose(
                values(ramps, t), last(t), rtol=0, atol=1e-12 * max(1, abs(last(t)).max()) + rounding
            )
            before = length
        assert settled(ramps.ctypes.data, 0, at + length)
        assert not settled(ramps.ctypes.data, 0, at + length - 1)
        assert (values(ramps, at + length + np.arange(3)) == target).all()


@settings(max_examples=100, deadline=None)
@given(st.floats(-2, 2), st.integers(200, 800), st.floats(-2, 2), st.integers(300, 2000), st.integers(1, 3))
def test_a_turn_keeps_value_slope_and_curvature(first, at, second, length, times):
    """Also when it is turned again at once: several moves of a fader within a block."""
    ramps = resting([0.0])
    turn(ramps.ctypes.data, 0, 0, first, 0, 1000.0)
    before = derivatives(ramps, at, -1, 1000)
    for _ in range(times):
        turn(ramps.ctypes.data, 0, at, second, 0, float(length))
    after = derivatives(ramps, at, 1, length) * (1000 / length) ** np.arange(3)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)
    end = derivatives(ramps, at + length, -1, length)
    np.testing.assert_allclose(end, [second, 0.0, 0.0], rtol=0, atol=1e-6)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 10**9), st.integers(1, 5000))
def test_a_single_ramp_is_the_closed_form_bit_for_bit(first, target, at, length):
    ramps = resting([first])
    turn(ramps.ctypes.data, 0, at, target, 0, float(length))
    for i in {0, 1 % length, length // 3, length // 2, length - 1}:
        u = i / length
        smooth = u * u * u * (u * (u * 6.0 - 15.0) + 10.0)
        assert value(ramps.ctypes.data, 0, at + i) == first + (target - first) * smooth
    assert value(ramps.ctypes.data, 0, at + length) == target
    assert value(ramps.ctypes.data, 0, at - 1) == first


def test_a_ramp_that_waits_rests_until_it_starts():
    ramps = resting([1.0])
    turn(ramps.ctypes.data, 0, 100, 0.0, 50, 100.0)
    assert values(ramps, [100, 149, 150]).tolist() == [1.0, 1.0, 1.0]
    assert 0.0 < values(ramps, [200])[0] < 1.0
    assert values(ramps, [250])[0] == 0.0


# In an engine


def test_the_first_parameter_of_an_engine_is_ramped_as_it_should():
    """What LLVM made of the engine's code took the address of its first ramp for a null pointer."""
    ones = np.ones((1, 2000), np.float32)
    y = played(Gain, {}, ones, 128, [("gain", -40.0, 300)])[0]
    np.testing.assert_allclose(y, course(1.0, [(0.01, 300)], 2000), rtol=2e-7)


def sine(samples, frequency=220.0):
    return np.sin(2 * np.pi * frequency * np.arange(samples) / RATE).astype(np.float32)[None]


MOVES = {
    "walk": lambda random, number, last: float(np.clip(last + random.normal(0.0, 2.0), -40.0, 0.0)),
    "anywhere": lambda random, number, last: float(random.uniform(-40.0, 0.0)),
    "to and fro": lambda random, number, last: -40.0 * (number % 2),
}


@pytest.mark.parametrize("moves", MOVES)
@pytest.mark.parametrize("milliseconds", [1, 3, 7])
@pytest.mark.parametrize("together", [1, 2])
def test_a_fader_that_moves_on_adds_nothing_above_15_khz(moves, milliseconds, together):
    """-154 dB or less; where every ramp began with no slope, it was -100 to -106."""
    random, changes, last = np.random.default_rng(0), [], -6.0
    for number in range(700 // milliseconds):
        for _ in range(together):
            last = MOVES[moves](random, number, last)
            changes.append(("gain", last, round((0.1 + number * milliseconds / 1e3) * RATE)))
    heard = played(Gain, {}, sine(RATE), 128, changes)[0, 2400:]
    assert above_15_khz(heard) <= -150
    assert step_above_15_khz(heard) <= -135


def test_the_measure_sees_kinks():
    """The foil: straight lines instead of quintics, every 7 ms."""
    corners = np.arange(0, RATE, 336)
    lines = np.interp(np.arange(RATE), corners, np.random.default_rng(0).uniform(0.01, 1.0, len(corners)))
    assert above_15_khz(sine(RATE)[0] * lines) > -110
    assert step_above_15_khz(sine(RATE)[0] * lines) > -90


BOUNDED = [(Biquad, "frequency"), (Biquad, "q"), (Biquad, "gain"), (Delay, "damping")]


@pytest.mark.parametrize(("engine", "name"), BOUNDED)
def test_log_scales_and_decibels_never_leave_their_range(engine, name):
    """A turn may swing past where it turns, but not to a frequency of 0."""
    parameter = next(each for each in engine.parameters if each.id == name)
    node = Node("a", engine)
    plan = Plan(Graph([node], ["in -> a", "a -> out"]), RATE, 64, 1)
    index = [each.id for each in engine.parameters].index(name)
    ramps = plan._steps["a"].ramps
    low, high = (parameter.to_kernel(end) for end in (parameter.minimum, parameter.maximum))
    assert (ramps[index, LOWEST], ramps[index, HIGHEST]) == (low, high)
    random, seen = np.random.default_rng(1), []
    for number in range(400):
        end = parameter.minimum if number % 2 else parameter.maximum
        if random.random() < 0.5:
            plan.set(f"a.{name}", end if random.random() < 0.7 else parameter.default)
        plan.process(np.zeros((1, 64), np.float32))
        seen += [value(ramps.ctypes.data, index, plan.position + i) for i in range(64)]
    plan.close()
    assert low <= min(seen)
    assert max(seen) <= high
    assert min(seen) < low + 0.1 * (high - low) < 0.9 * high < max(seen)
