"""Graphs that change while sound runs: the old one before, the new one after, a crossfade between."""

import gc
import os
import threading
import time
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile as sf
from stepped import Stepped, step_above_15_khz

from rtaudio import host as host_module
from rtaudio.counters import EDITS, NODE_TIMES, sections
from rtaudio.errors import UserError
from rtaudio.executor import CONTEXT
from rtaudio.files import AudioReader, AudioWriter
from rtaudio.graph import Graph, Node
from rtaudio.host import Host
from rtaudio.kernel import channel, kernel
from rtaudio.lanes import slots_ready
from rtaudio.layout import CROSSFADE
from rtaudio.native import compiled, int64_at, load_acquire
from rtaudio.null import NullDevice
from rtaudio.plan import N_SEGMENTS, PLAN_WORDS, SEGMENTS, Plan
from rtaudio.processor import Port, Processor
from rtaudio.registry import load_engine
from rtaudio.stream import DONE, NEXT, NEXT_AT, NO_TURN, OFFERED, PLAN, TAKEN_OVER, TURN

RATE, BLOCK = 48_000, 64
FADE = round(CROSSFADE * RATE)
SECOND = 48_000 // BLOCK
"""Blocks."""


def node(name, engine=None, **values):
    return Node(name, load_engine(engine or name), values)


def chain(*nodes):
    sources = ["in", *(f"{each.name}.{each.engine.outputs[0].name}" for each in nodes)]
    targets = [*(each.name for each in nodes), "out"]
    return Graph(list(nodes), [f"{a} -> {b}" for a, b in zip(sources, targets, strict=True)])


def wire():
    return Graph([], ["in -> out"])


@compiled
def _plan_ready(words):
    plan = int64_at(words, PLAN_WORDS)
    position = int64_at(plan[CONTEXT], 1)[0]
    return slots_ready(int64_at(plan[SEGMENTS], plan[N_SEGMENTS]), position)


@compiled
def ready(stream):
    """Whether no worker is behind: those of the plan that is heard, and of the one that takes over."""
    return _plan_ready(stream[PLAN]) and (
        load_acquire(stream, TURN) != TAKEN_OVER or _plan_ready(stream[NEXT])
    )


class Sound:
    """A host on a stepped device that plays a sine, on a thread of its own while it is edited."""

    def __init__(self, graph, lane=0, channels=2, frequency=220.0, block=BLOCK, device=None):
        self.device, self.block = device or Stepped(), block
        self.before_step = lambda words: None
        self.host = Host(Plan(graph, RATE, block, channels, lane=lane), self.device)
        self.host.start()
        self.heard, self.turns, self.channels, self.frequency = [], [], channels, frequency

    def signal(self, begin, samples):
        at = np.arange(begin, begin + samples)[:, None]
        lag = np.arange(self.channels)
        return (0.5 * np.sin(2 * np.pi * self.frequency * at / RATE + lag)).astype(np.float32)

    def step(self, blocks=1):
        for _ in range(blocks):
            while not ready(self.host.stream.words):
                time.sleep(0.0001)
            self.before_step(self.host.stream.words)
            at = len(self.heard) * self.block
            self.heard.append(self.device.step(self.signal(at, self.block)))

    @contextmanager
    def running(self):
        """Sound runs meanwhile, about as fast as on a card."""
        stop = threading.Event()

        def run():
            while not stop.is_set():
                self.step()
                time.sleep(self.block / RATE)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def edit(self, graph, **options):
        with self.running():
            self.host.edit(graph, **options)
            self.turns.append(int(self.host.stream.words[NEXT_AT]))

    def result(self):
        """What was heard, (channels, samples)."""
        self.host.close()
        return np.concatenate(self.heard).T

    def offline(self, graph, events=(), lane=0):
        """What a graph makes of the same signal, with changes (block, function of the plan)."""
        plan, events = Plan(graph, RATE, self.block, self.channels, lane=lane), dict(events)
        played = []
        for number in range(len(self.heard)):
            events.get(number, lambda plan: None)(plan)
            block = np.ascontiguousarray(self.signal(number * self.block, self.block).T)
            played.append(plan.process(block)["main"].copy())
        plan.close()
        return np.concatenate(played, axis=1)


def crossfaded(old, new, at):
    """``old`` before a position, ``new`` from 10 ms after it on."""
    u = np.clip((np.arange(old.shape[1]) - at) / FADE, 0.0, 1.0)
    share = u * u * u * (u * (u * 6.0 - 15.0) + 10.0)
    return np.where(share == 1.0, new, (old + share * (new - old)).astype(np.float32))


EDITS_BY_NAME = {
    "gain": lambda: node("gain", gain=-6.0),
    "biquad": lambda: node("biquad", kind="highpass", frequency=300.0),
    "hpss": lambda: node("hpss"),
    "remix": lambda: node("remix", percussive_gain=-60.0),
    "limiter": lambda: node("limiter"),
}


@pytest.fixture(scope="module", autouse=True)
def _compile():
    """What an edit compiles would let seconds of sound pass."""
    for make in EDITS_BY_NAME.values():
        Plan(wire().insert(make(), "in -> out"), RATE, BLOCK, 2).close()
    for lane in (0, 1):
        sound = Sound(wire(), lane)
        sound.edit(wire().insert(node("gain"), "in -> out"))
        sound.result()


@pytest.mark.parametrize("lane", [0, 1])
@pytest.mark.parametrize("name", EDITS_BY_NAME)
def test_the_old_graph_before_and_the_new_one_after_bit_for_bit(name, lane):
    before = wire() if lane == 0 else chain(node("first", "gain", gain=-1.0))
    edge = "in -> out" if lane == 0 else "first -> out"
    sound = Sound(before, lane)
    begin = SECOND if name in ("hpss", "remix") else 40  # they take a while to know the sine
    sound.step(begin)
    after = before.insert(EDITS_BY_NAME[name](), edge)
    sound.edit(after)
    sound.step(60)
    sound.edit(after.remove(name))
    sound.step(60)
    told = sound.host.statistics()
    heard, (first, second) = sound.result(), sound.turns
    assert heard.shape[1] < 4 * RATE  # all of it was kept
    assert told["edits"] == 2
    assert told["misses"] == 0
    old, new = sound.offline(before, lane=lane), sound.offline(after, lane=lane)
    assert not np.array_equal(old, new)
    expected = crossfaded(old, new, first)
    middle = (first + FADE + second) // 2
    expected[:, middle:] = crossfaded(new, old, second)[:, middle:]
    np.testing.assert_array_equal(heard, expected)
    assert first >= begin * BLOCK
    assert second >= first + FADE + 60 * BLOCK
    around = slice(begin * BLOCK - 160, None)
    own = max(step_above_15_khz(each) for each in [*old[:, around], *new[:, around]])
    for each in heard[:, around]:
        assert step_above_15_khz(each) <= max(-110.0, own + 1.0)  # the separator's own is at -95
    if name in ("gain", "biquad", "limiter"):
        assert own <= -110


@pytest.mark.parametrize("block", [16, 100, 480, 1000])
def test_an_edit_in_blocks_of_any_size(block):
    sound = Sound(wire(), block=block)
    sound.step(5)
    graph = wire().insert(node("gain", gain=-6.0), "in -> out")
    sound.edit(graph)
    sound.step(5)
    heard = sound.result()
    expected = crossfaded(sound.offline(wire()), sound.offline(graph), sound.turns[0])
    np.testing.assert_array_equal(heard, expected)


def test_a_plan_takes_over_at_the_block_that_it_is_offered_for():
    """Earlier or later it would have heard another input than the one before it."""
    sound = Sound(wire())
    coming = Plan(wire().insert(node("gain", gain=-6.0), "in -> out"), RATE, BLOCK, 2)
    words = sound.host.stream.words
    sound.step(3)
    for wrong in (2, 5):
        words[NEXT], words[NEXT_AT], words[TURN] = coming.words.ctypes.data, wrong * BLOCK, OFFERED
        sound.step()
        assert words[TURN] == OFFERED
    words[NEXT_AT] = 5 * BLOCK
    coming.start(5 * BLOCK)
    sound.step()
    assert words[TURN] == TAKEN_OVER
    assert coming.position == 6 * BLOCK
    sound.step(8)
    assert words[TURN] == DONE
    assert words[PLAN] == coming.words.ctypes.data
    same = sound.offline(wire().insert(node("gain", gain=-6.0), "in -> out"))
    expected = crossfaded(sound.offline(wire()), same, 5 * BLOCK)
    np.testing.assert_array_equal(sound.result(), expected)
    coming.close()


def test_the_measure_sees_an_edit_without_a_crossfade():
    """The foil."""
    sound = Sound(wire())
    sound.step(200)
    wave = np.concatenate(sound.heard)[:, 0].astype(float)
    sound.result()
    wave[6400:] *= 10 ** (-6 / 20)
    assert step_above_15_khz(wave[2400:]) > -40


@pytest.mark.parametrize("lane", [0, 1])
def test_what_was_set_live_survives_an_edit(lane):
    def settings(plan):
        plan.set("a.gain", -12.0)
        plan.set("b.frequency", 500.0)
        plan.bypass("c")
        plan.mute("d")
        plan.solo("a")

    nodes = [node("a", "gain"), node("b", "biquad", kind="lowpass"), node("c", "gain", gain=-20.0)]
    nodes += [node("d", "gain"), node("e", "gain", gain=-3.0)]
    edges = ["in -> a", "a -> b", "b -> c", "c -> out", "in -> d", "d -> out", "in -> e", "e -> out"]
    graph = Graph(nodes, edges)
    sound = Sound(graph, lane)
    sound.step(20)
    settings(sound.host)
    sound.step(20)
    after = graph.insert(node("new", "gain", gain=-1.0), "c -> out")
    sound.edit(after)
    sound.step(20)
    assert [each.values.get("gain") for each in after.nodes.values()] == [
        -12.0,
        None,
        -20.0,
        None,
        -3.0,
        -1.0,
    ]
    assert sound.host.plan.graph.nodes["c"].bypass
    assert sound.host.plan.graph.nodes["d"].mute
    assert sound.host.plan.graph.nodes["a"].solo
    sound.host.bypass("c", False)
    sound.host.solo("a", False)
    sound.host.mute("d", False)
    sound.host.set("a.gain", 0.0)
    sound.step(40)
    heard = sound.result()
    made = sound.offline(sound.host.plan.graph, lane=lane)  # as it is at the end
    np.testing.assert_array_equal(heard[:, -BLOCK:], made[:, -BLOCK:])
    at = sound.turns[0] + FADE
    steady = slice(at, at + 10 * BLOCK)
    soloed = Graph(
        [
            node("a", "gain", gain=-12.0),
            node("b", "biquad", kind="lowpass", frequency=500.0),
            node("new", "gain", gain=-1.0),
        ],
        ["in -> a", "a -> b", "b -> new", "new -> out"],
    )
    np.testing.assert_allclose(heard[:, steady], sound.offline(soloed, lane=lane)[:, steady], atol=1e-6)


@pytest.mark.parametrize("again", [False, True])
def test_what_was_set_inside_of_a_composite_survives_an_edit(again):
    """Unless it was set from outside since."""
    graph = chain(node("remix"))
    sound = Sound(graph)
    sound.step(20)
    composite = sound.host.plan._composites["remix"]
    mapped = next(each for each in composite.mapped if each.id == "harmonic_gain")
    sound.host.set(f"remix/{mapped.node}.{mapped.parameter}", -20.0)
    if again:
        sound.host.set("remix.harmonic_gain", -10.0)
    sound.step(SECOND // 2)
    before = np.abs(np.concatenate(sound.heard[-100:])).max()
    sound.edit(graph.insert(node("gain"), "remix -> out"))
    sound.edit(sound.host.plan.graph.remove("gain"))
    sound.step(100)
    after = np.abs(np.concatenate(sound.heard[-100:])).max()
    sound.result()
    assert before < 0.25
    assert after == pytest.approx(before, rel=0.01)


@kernel
def mono_kernel(state, inputs, outputs, n, params, context):
    x, y = channel(inputs, 0, n), channel(outputs, 0, n)
    for i in range(n):
        y[i] = x[i]
    return 0


class Mono(Processor):
    id = "mono"
    outputs = (Port("out", 1),)
    KERNEL = mono_kernel

    def allocate(self):
        return (np.zeros(1),)


def limitless(monkeypatch):
    monkeypatch.setattr(host_module, "EDIT_LIMIT", 0.0)


def mono(graph):
    return graph.insert(Node("mono", Mono), "gain -> out")


def aside(graph):
    return Graph([graph.nodes["gain"]], ["in -> gain", "gain -> out.aside"])


def misfit(graph):
    return Graph([Node("mono", Mono), node("b", "gain")], ["in -> mono", "mono -> b", "b -> out"])


WRONG = {
    "another number of channels": (mono, "1 channels come out, not 2"),
    "no main output": (aside, "nothing to hear"),
    "a cycle": (lambda graph: Graph([node("a", "gain")], ["a -> a", "a -> out"]), "the graph has a cycle"),
    "an open input": (lambda graph: Graph([node("a", "gain")], ["a -> out"]), "is not connected"),
    "an unknown node": (lambda graph: graph.remove("gian"), "no node 'gian', did you mean 'gain'"),
    "an unknown edge": (lambda graph: graph.insert(node("b", "gain"), "in -> out"), "no edge 'in.main"),
    "ports that do not fit": (misfit, "connect another port"),
    "too heavy": (lambda graph: graph.insert(node("hpss"), "in -> gain"), "cannot catch up with the sound"),
}


@pytest.mark.parametrize("lane", [0, 1])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_edit_leaves_the_sound_as_it_is(monkeypatch, wrong, lane):
    make, said = WRONG[wrong]
    if wrong == "too heavy":
        limitless(monkeypatch)
    graph = chain(node("gain", gain=-6.0))
    sound = Sound(graph, lane)
    sound.step(20)
    plan, threads = sound.host.plan, threading.active_count()
    with sound.running(), pytest.raises(UserError, match=said):
        sound.host.edit(make(graph))
    assert sound.host.plan is plan
    assert threading.active_count() == threads
    assert sound.host.stream.words[TURN] == NO_TURN
    assert next(iter(sections(sound.host.counters.words))) == "gain"
    sound.step(20)
    monkeypatch.undo()
    at = (len(sound.heard) + 1) * BLOCK + 17
    sound.host.set("gain.gain", -3.0, at)
    sound.step(20)
    assert sound.host.counters.words[EDITS] == 0
    heard = sound.result()
    same = chain(node("gain", gain=-6.0))
    meant = sound.offline(same, {0: lambda plan: plan.set("gain.gain", -3.0, at)}, lane)
    np.testing.assert_array_equal(heard, meant)


@pytest.mark.parametrize("lane", [0, 1])
def test_counters_of_removed_nodes_go_and_of_kept_ones_go_on(lane):
    graph = chain(node("a", "gain"), node("b", "gain"))
    sound = Sound(graph, lane)
    sound.step(50)

    def counted(name):
        found = sections(sound.host.counters.words)
        return int(found[name][NODE_TIMES:].sum()) if name in found else None

    assert counted("a") >= 49
    sound.edit(graph.remove("b"))
    before = len(sound.heard)
    kept = counted("a")
    assert counted("b") is None
    assert 50 <= kept <= before
    after = sound.host.plan.graph.insert(node("c", "gain"), "a -> out")
    sound.step(30)
    assert kept + 29 <= counted("a") <= kept + 30
    sound.edit(after)
    sound.step(30)
    assert 29 <= counted("c") <= 31
    names = {"a", "c"} | ({"worker 1", "worker 1 wake-up"} if lane else set())
    assert set(sections(sound.host.counters.words)) == names
    assert set(sound.host.statistics()["nodes"]) == names
    sound.result()


def test_nodes_of_both_graphs_need_not_fit_into_the_counters_at_once():
    """150 nodes are replaced by 150 others."""

    def many(letter):
        nodes = [node(f"{letter}{number}", "gain") for number in range(150)]
        return chain(*nodes)

    sound = Sound(many("a"), channels=1)
    sound.step(5)
    sound.edit(many("b"))
    sound.step(5)
    assert set(sections(sound.host.counters.words)) == {f"b{number}" for number in range(150)}
    sound.result()


class Changing(Stepped):
    """A card that asks for another length from some time on."""

    period = BLOCK
    lost = False

    def abandon(self):
        return True

    def reopen(self):
        return True


def test_a_device_that_changes_its_length_amid_an_edit_is_adapted_to_after_it():
    """That takes an edit of its own where workers need more time, and there is one at a time."""
    graph, device = chain(node("gain", gain=-6.0)), Changing()
    sound = Sound(graph, lane=1, device=device)
    sound.step(20)
    after = graph.insert(node("b", "gain", gain=-3.0), "gain -> out")

    def change(words):
        if words[TURN] == TAKEN_OVER:
            device.period = 4 * BLOCK

    sound.before_step = change
    sound.edit(after)
    sound.before_step = lambda words: None
    assert sound.host.counters.words[EDITS] == 1
    assert sound.host.plan.burst == 1
    sound.step(20)
    with sound.running():
        sound.host.poll()
        sound.turns.append(int(sound.host.stream.words[NEXT_AT]))
    sound.step(20)
    assert sound.host.counters.words[EDITS] == 2
    assert sound.host.plan.burst == 4
    later = sound.host.plan.latency
    assert f"the device now calls in blocks of 256 samples: latency is {later} samples" in sound.host.problems
    heard = sound.result()[:, 2 * FADE :]  # before, the card fades in
    old, new = sound.offline(graph, lane=1), sound.offline(after, lane=1)
    last = np.pad(new, ((0, 0), (3 * BLOCK, 0)))[:, : new.shape[1]]
    expected = crossfaded(crossfaded(old, new, sound.turns[0]), last, sound.turns[1])
    np.testing.assert_array_equal(heard, expected[:, 2 * FADE :])


def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_does_not_grow_with_edits():
    sound = Sound(wire())
    with_gain = wire().insert(node("gain"), "in -> out")

    def edits(count):
        for _ in range(count):
            sound.edit(with_gain)
            sound.edit(wire())
            sound.heard.clear()
        gc.collect()

    edits(15)
    tracemalloc.start()
    edits(5)
    before, memory = resident(), tracemalloc.get_traced_memory()[0]
    edits(80)
    grown = tracemalloc.get_traced_memory()[0] - memory
    tracemalloc.stop()
    assert resident() - before < 8e6
    assert grown < 3_000_000  # two plans and their counters; a plan that stays is 1.2 MB for each edit
    assert len(sections(sound.host.counters.words)) == 0
    sound.host.close()


def test_an_edit_on_the_paced_device(tmp_path):
    """The recording is the old graph's before, the new one's after, as they are offline."""
    at = np.arange(3 * RATE)
    sine = (0.5 * np.sin(2 * np.pi * 220 * at / RATE)).astype(np.float32)
    sf.write(tmp_path / "in.wav", sine, RATE, subtype="FLOAT")
    record = AudioWriter(tmp_path / "r.wav", RATE, 1, subtype="float")
    graph = wire().insert(node("biquad", kind="highpass", frequency=300.0), "in -> out")
    plan = Plan(wire(), RATE, BLOCK, 1)
    with Host(plan, NullDevice(), AudioReader(tmp_path / "in.wav"), record=record, seconds=1.5) as host:
        host.start()
        while host.plan.position < RATE // 4:
            time.sleep(0.01)
        host.edit(graph)
        turn = int(host.stream.words[NEXT_AT])
        while host.running:
            time.sleep(0.01)
        assert host.counters.words[EDITS] == 1
        told = host.statistics()
    assert told["file_underflows"] == told["record_overflows"] == 0
    heard = sf.read(tmp_path / "r.wav", dtype="float32", always_2d=True)[0].T
    offline = Plan(graph, RATE, BLOCK, 1)
    parts = [
        offline.process(sine[None, k : k + BLOCK].copy())["main"].copy()
        for k in range(0, heard.shape[1], BLOCK)
    ]
    offline.close()
    expected = crossfaded(sine[None, : heard.shape[1]], np.concatenate(parts, axis=1), turn)
    np.testing.assert_array_equal(heard, expected)
    assert step_above_15_khz(heard[0, 2400:].astype(float)) <= -110
