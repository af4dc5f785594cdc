"""What goes on when another plan takes over: nodes, workers, all that they remember."""

import numpy as np
import pytest
from edited import BLOCK, SECOND, Sound, chain, node

from rtaudio import executor, stream
from rtaudio.graph import Graph, Node
from rtaudio.kernel import channel, kernel, position, value
from rtaudio.native import i64_vector
from rtaudio.processor import Parameter, Processor
from rtaudio.succession import succession

pytestmark = pytest.mark.alone


@kernel
def count_kernel(state, inputs, outputs, n, params, context):
    """Add how many samples were heard so far, which no history of the input can tell."""
    heard = i64_vector(state, 0)
    x, y = channel(inputs, 0, n), channel(outputs, 0, n)
    at = position(context)
    for i in range(n):
        y[i] = np.float32(value(params, 0, at + i)) * x[i] + np.float32(heard[0] + i) * np.float32(2.0**-24)
    heard[0] += n
    return 0


class Count(Processor):
    """Remembers for ever."""

    id = "count"
    parameters = (Parameter("gain", 1.0, 0.0, 2.0, smoothing=0.0), Parameter("fixed", 0.0, automatable=False))
    unity = None
    KERNEL = count_kernel

    def allocate(self):
        return (np.zeros(1, np.int64),)


class Late(Count):
    """The same, 300 samples late by its own account."""

    id = "late"

    def allocate(self):
        self.latency = 300
        return super().allocate()


@pytest.fixture(autouse=True)
def short_history(monkeypatch):
    """What an edit plays to a new plan is far from all that was."""
    monkeypatch.setattr(stream, "HISTORY_SECONDS", 0.1)


def counting(name="count", engine=Count, **values):
    return Node(name, engine, values)


@pytest.fixture(scope="module", autouse=True)
def _compile():
    for lane in (0, 1):
        sound = Sound(chain(counting()), lane, channels=1)
        sound.edit(chain(counting(), node("gain")))
        sound.result()


def counted(sound, graph):
    """What was heard, and what an unedited graph makes of the same."""
    expected = sound.offline(graph)
    return sound.result(), expected


@pytest.mark.parametrize("lane", [0, 1, 2])
def test_what_lies_before_an_edit_goes_on_as_if_nothing_had_been(lane):
    """And runs once: it would count twice, else."""
    graph = chain(Node("count", Count, lane=lane))
    sound = Sound(graph, channels=1)
    sound.step(SECOND)
    longer = graph.insert(node("gain"), "count -> out")
    sound.edit(longer)
    sound.step(40)
    sound.edit(longer.remove("gain"))
    sound.step(40)
    assert len(set(sound.turns)) == 2
    assert sound.host.statistics()["misses"] == 0
    np.testing.assert_array_equal(*counted(sound, graph))


def test_what_comes_after_the_edit_is_made_anew():
    graph = chain(counting("first"), counting("second", gain=0.0))
    sound = Sound(graph, channels=1)
    sound.step(SECOND)
    sound.edit(graph.insert(node("gain"), "first -> second"))
    sound.step(40)
    heard, expected = counted(sound, graph)
    assert sound.turns[0] > SECOND * BLOCK
    before = slice(0, sound.turns[0])
    np.testing.assert_array_equal(heard[:, before], expected[:, before])
    lost = (expected - heard)[0, -BLOCK:] * 2.0**24  # what "second" heard before its history begins
    assert lost.min() == lost.max() > SECOND * BLOCK / 2


@pytest.mark.parametrize(
    "other",
    [
        lambda: counting(gain=0.0, fixed=1.0),
        lambda: counting(engine=Late, gain=0.0),
        lambda: Node("count", Count, {"gain": 0.0}, lane=1),
    ],
    ids=["a fixed value", "another engine", "another lane"],
)
def test_what_is_made_otherwise_does_not_go_on(other):
    graph = chain(counting(gain=0.0))
    sound = Sound(graph, channels=1)
    sound.step(SECOND)
    sound.edit(chain(other()))
    sound.step(40)
    heard, expected = counted(sound, graph)
    assert (expected - heard)[0, -1] > SECOND * BLOCK / 2 * 2.0**-24


def test_values_and_switches_of_another_graph_are_ramped_to():
    """Not jumped to, and not lost: the node goes on with its ramps where they are."""
    graph = chain(counting(), node("level", "gain", gain=-20.0))
    sound = Sound(graph, channels=1)
    sound.step(SECOND)
    quieter = Graph(
        [counting(gain=0.5), Node("level", graph.nodes["level"].engine, {"gain": -6.0}, mute=True)],
        graph.texts(),
    )
    sound.edit(quieter.insert(node("last", "gain"), "level -> out"))
    assert sound.host.plan.value("count.gain") == 0.5
    sound.step(40)
    assert not sound.heard[-1].any()
    sound.host.mute("level", False)
    sound.step(40)
    heard, expected = counted(sound, chain(counting(gain=0.5), node("level", "gain", gain=-6.0)))
    np.testing.assert_allclose(heard[:, -BLOCK:], expected[:, -BLOCK:], atol=1e-7)


def test_changes_that_wait_for_their_position_are_not_lost():
    graph = chain(counting())
    sound = Sound(graph, channels=1)
    sound.step(SECOND)
    at = 4 * SECOND * BLOCK + 17
    sound.host.set("count.gain", 0.25, at=at)
    sound.step()
    sound.edit(graph.insert(node("gain"), "count -> out"))
    assert len(sound.heard) < 4 * SECOND
    sound.step(4 * SECOND + 10 - len(sound.heard))
    heard, expected = counted(sound, chain(counting()))
    np.testing.assert_array_equal(heard[:, :at], expected[:, :at])
    assert not np.array_equal(heard[:, at : at + 20], expected[:, at : at + 20])


def test_what_is_set_while_both_are_heard_is_set_once_and_for_all():
    graph = chain(counting())
    sound = Sound(graph, channels=1)
    sound.step(SECOND)
    gains = iter(np.linspace(1.0, 0.5, 400))
    last = []

    def move(words):
        last[:] = [next(gains, 0.5)]
        sound.host.set("count.gain", float(last[0]))

    sound.before_step = move
    sound.edit(graph.insert(node("gain"), "count -> out"))
    sound.before_step = lambda words: None
    sound.step(5)
    assert sound.host.plan.value("count.gain") == last[0]
    at = len(sound.heard) * BLOCK - np.arange(BLOCK, 0, -1)
    heard = sound.result()[0, -BLOCK:]
    expected = np.float32(last[0]) * sound.signal(at[0], BLOCK)[:, 0] + np.float32(at) * np.float32(2.0**-24)
    np.testing.assert_array_equal(heard, expected)


def test_a_failed_node_that_is_armed_amid_an_edit_is_tried_again():
    graph = chain(counting())
    sound = Sound(graph, channels=1)
    sound.step(SECOND)
    row = sound.host.plan.layout.steps["count"].words
    row[executor.FAILED] = 2  # as if what arms it had been sent, and was never heard
    sound.edit(graph.insert(node("gain"), "count -> out"))
    assert sound.host.plan.failed() == ["count"]
    sound.host.plan.rearm("count")
    sound.step(40)
    assert not sound.host.plan.failed()
    sound.result()


def test_a_worker_process_goes_on_and_so_does_what_is_counted_of_it():
    graph = chain(Node("count", Count, lane=2))
    sound = Sound(graph, channels=1)
    sound.step(SECOND)
    before = sound.host.statistics()["nodes"]["worker 1"]["pid"]
    sound.edit(graph.insert(node("gain"), "count -> out"))
    sound.step(10)
    assert sound.host.statistics()["nodes"]["worker 1"]["pid"] == before
    sound.host.set("count.gain", 0.0)
    sound.step(20)
    heard = sound.result()[0, -BLOCK:]
    begin = len(sound.heard) * BLOCK - 2 * BLOCK  # a block later on a worker
    np.testing.assert_array_equal(heard * 2.0**24, np.arange(begin, begin + BLOCK))


def test_one_of_two_equal_sums_goes_on_in_one():
    """Their memory is not shared."""
    nodes = [counting("a"), counting("b"), node("left", "gain"), node("right", "gain")]
    edges = [
        "in -> a",
        "in -> b",
        "a -> left",
        "b -> left",
        "a -> right",
        "b -> right",
        "left -> out",
        "right -> out",
    ]
    graph = Graph(nodes, edges)
    plans = []
    sound = Sound(graph, channels=1)
    sound.step(10)
    plans.append(sound.host.plan)
    after = graph.insert(node("last", "gain"), "left -> out")
    sound.edit(after)
    found = succession(sound.host.plan, sound.host.plan).steps
    assert len({old for old, _ in found}) == len({new for _, new in found}) == len(found)
    sound.step(10)
    heard, expected = counted(sound, graph)
    np.testing.assert_allclose(heard, expected, atol=1e-6)


def test_a_longer_path_beside_hears_what_goes_on_before_it_is_heard():
    """Else its delay line ends in what a node made that did not go on: a step in the sound."""
    graph = Graph([counting()], ["in -> count", "count -> out"])
    sound = Sound(graph, channels=1)
    sound.step(SECOND)
    after = Graph(
        [counting(), Node("late", Late, {"gain": 0.0})],
        ["in -> count", "count -> out", "in -> late", "late -> out"],
    )
    sound.edit(after)
    sound.step(40)
    heard = sound.result()[0]
    at = sound.turns[0]
    n = np.arange(heard.size)
    signal = sound.signal(0, heard.size)[:, 0]
    old = signal + (n * 2.0**-24).astype(np.float32)
    drift = heard[at - 300 : at] - old[at - 300 : at]
    np.testing.assert_array_equal(drift, 0)
    delayed = np.concatenate([np.zeros(300, np.float32), old])[: heard.size]
    extra = heard[at + 480 :] - delayed[at + 480 :]
    steps = np.diff(extra * 2.0**24)
    assert np.abs(steps - 1).max() < 4  # "late" counts on, by one a sample; float32 rounds


@pytest.mark.parametrize("lane", [0, 1])
def test_many_edits_in_a_row_lose_nothing(lane):
    graph = chain(Node("count", Count, lane=lane))
    sound = Sound(graph, channels=1)
    sound.step(SECOND)
    for number in range(2):
        sound.edit(graph.insert(node("more", "gain", gain=0.0), "count -> out"))
        sound.edit(graph)
        sound.step(number)
    sound.step(20)
    np.testing.assert_array_equal(*counted(sound, graph))
