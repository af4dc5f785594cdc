"""The mixer against sums and gains written out here."""

import numpy as np
import pytest

from engines.gain import Gain
from engines.mix import Mix
from rtaudio.errors import UserError
from rtaudio.graph import Graph, Node
from rtaudio.plan import Plan

BLOCKS = (1, 17, 64, 128, 441, 480, 512, 1024, 8193)


def noise(samples, channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (channels, samples)).astype(np.float32)


def mixed(values, inputs):
    """The output for four inputs of equal shape."""
    processor = Mix(**values)
    processor.prepare(48_000, inputs[0].shape[1], channels=len(inputs[0]))
    y = np.empty_like(inputs[0])
    processor.process(np.concatenate(inputs), y)
    return y


def played(graph, x, block, events=()):
    """The output of a plan with events (path, value, position), as it runs live."""
    plan = Plan(graph, 48_000, block, len(x))
    for path, value, at in events:
        plan.set(path, value, at)
    padded = np.pad(x, ((0, 0), (0, -x.shape[1] % block)))
    blocks = [padded[:, at : at + block].copy() for at in range(0, padded.shape[1], block)]
    y = np.concatenate([plan.process(part)["main"].copy() for part in blocks], axis=1)[:, : x.shape[1]]
    plan.close()
    return y


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_the_default_is_the_sum_in_order_to_the_bit(channels):
    a, b, c, d = (noise(3000, channels, seed) for seed in range(4))
    assert np.array_equal(mixed({}, [a, b, c, d]), ((a + b) + c) + d)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("gain", "pan", "mute", "left", "right"),
    [
        (0.0, 0.0, False, 1, 1),
        (-6.0, 0.0, False, 10**-0.3, 10**-0.3),
        (6.0, -1.0, False, 10**0.3, 0),
        (0.0, 0.25, False, 0.75, 1),
        (24.0, 1.0, False, 0, 10**1.2),
        (-100.0, 0.0, False, 0, 0),
        (0.0, 0.0, True, 0, 0),
    ],
)
def test_a_strip_sets_gain_balance_and_mute_of_its_input_alone(number, gain, pan, mute, left, right):
    inputs = [noise(500, 2, seed) for seed in range(4)]
    amplitudes = np.ones((4, 2, 1))
    amplitudes[number - 1, :, 0] = left, right
    want = (np.array(inputs) * amplitudes).sum(axis=0)
    got = mixed({f"gain{number}": gain, f"pan{number}": pan, f"mute{number}": mute}, inputs)
    assert np.abs(got - want).max() <= 1e-6 * np.abs(want).max()


def test_balance_passes_by_what_is_not_stereo():
    inputs = [noise(500, 1, seed) for seed in range(4)]
    assert np.array_equal(mixed({"pan1": -1.0, "pan3": 1.0}, inputs), mixed({}, inputs))


def test_strips_in_a_graph_move_with_their_ramps():
    """in1 is the stream, in3 the stream 6 dB down; in2 and in4 are open."""

    def graph():  # A plan writes what is set into its graph.
        nodes = [Node("half", Gain, {"gain": -6.0}), Node("m", Mix)]
        return Graph(nodes, ["in -> m.in1", "in -> half", "half -> m.in3", "m -> out"])

    x = noise(4000)
    events = [("m.gain1", -20.0, 500), ("m.pan3", 1.0, 777), ("m.mute3", 1.0, 2500)]
    n = np.arange(4000)
    u1, u2, u3 = (np.clip((n - at) / 480, 0, 1) for at in (500, 777, 2500))
    s1, s2, s3 = (6 * u**5 - 15 * u**4 + 10 * u**3 for u in (u1, u2, u3))
    first = 1 - 0.9 * s1
    third = 10**-0.3 * np.stack([1 - s2, np.ones(4000)]) * (1 - s3)
    got = played(graph(), x, 128, events)
    assert np.abs(got - x * (first + third)).max() <= 1e-6
    for block in BLOCKS:
        assert np.array_equal(played(graph(), x, block, events), got), block


def test_unity_is_the_first_input():
    graph = Graph([Node("m", Mix, dict(Mix.unity))], ["in -> m", "m -> out"])
    x = noise(1000)
    assert np.array_equal(played(graph, x, 100), x)


def test_the_first_input_is_required():
    with pytest.raises(UserError, match=r"input m\.in1 is not connected"):
        Graph([Node("m", Mix)], ["in -> m.in2", "m -> out"])
