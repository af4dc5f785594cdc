"""Graphs that change while sound runs: the old one before, the new one after, a crossfade between."""

import gc
import os
import threading
import time
import tracemalloc
import weakref

import numpy as np
import pytest
import soundfile as sf
from edited import BLOCK, FADE, RATE, SECOND, Sound, await_, chain, crossfaded, node, wire
from stepped import Stepped, step_above_15_khz

from engines.gain import Gain
from rtaudio import host as host_module
from rtaudio.counters import EDITS, NODE_TIMES, sections
from rtaudio.edit import CATCH_UP, EDIT_LIMIT, to_play
from rtaudio.errors import UserError
from rtaudio.files import AudioReader, AudioWriter
from rtaudio.graph import Graph, Node
from rtaudio.host import Host
from rtaudio.kernel import channel, kernel
from rtaudio.layout import COMMANDS
from rtaudio.null import NullDevice
from rtaudio.plan import Plan
from rtaudio.processor import Parameter, Port, Processor
from rtaudio.stream import (
    DONE,
    HISTORY_END,
    NEXT,
    NEXT_AT,
    NO_TURN,
    OFFERED,
    PLAN,
    TAKEN_OVER,
    TURN,
)

pytestmark = pytest.mark.alone

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
    changed = sound.host.plan.graph.nodes["remix"].changed("preset", "balanced")
    sound.edit(sound.host.plan.graph.replace(changed))
    kept = sound.host.plan.value(f"remix/{mapped.node}.{mapped.parameter}")
    sound.result()
    assert kept == (-10.0 if again else -20.0)
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


def test_a_device_whose_new_length_takes_an_edit_that_fails_is_told_once(monkeypatch):
    limitless(monkeypatch)
    device = Changing()
    sound = Sound(chain(node("gain")), lane=1, device=device)
    sound.step(5)
    device.period = 4 * BLOCK
    with sound.running():
        sound.host.poll()
        sound.host.poll()
    assert sound.host.problems == [f"the device calls in other blocks now, but {host_module.TOO_HEAVY}"]
    assert sound.host.plan.burst == 1
    sound.result()


@pytest.mark.parametrize("processors", [1, 2, 64])
@pytest.mark.parametrize("shares", [[0.1], [0.2, 0.5], [0.3, 0.6], [0.3, 0.9, 0.9]])
def test_what_is_played_before_an_edit_is_heard_fits_into_its_time(shares, processors):
    """Played as fast as that share of real time allows, while the sound, too, goes on."""
    share = max(*shares, sum(shares) / (processors / 2))
    catching_up, lag = 0.0, to_play(shares, processors)
    if share >= 1.0:
        assert lag <= 0.0
        return
    for _ in range(1000):  # What came in while the last piece was played.
        catching_up, lag = catching_up + lag * share, lag * share
    assert catching_up == pytest.approx(CATCH_UP * EDIT_LIMIT, rel=1e-3)
    assert to_play([0.0], processors) >= EDIT_LIMIT


@pytest.mark.parametrize(("playable", "blocks"), [(0.0, 2), (0.01, 8), (60.0, 100)])
def test_a_heavy_graph_hears_less_of_the_past_but_what_settles_it(monkeypatch, playable, blocks):
    """A limiter of 72 samples; 100 blocks have been heard."""
    monkeypatch.setattr(host_module, "to_play", lambda shares, processors: playable)
    begun = []
    start = Plan.start
    monkeypatch.setattr(Plan, "start", lambda plan, at: begun.append(at) or start(plan, at))
    sound = Sound(chain(node("limiter")))
    sound.step(100)
    sound.host.change("limiter.lookahead", 1.4)
    await_(lambda: sound.host.stream.words[TURN] == OFFERED)
    assert begun == [0, (100 - blocks) * BLOCK]
    sound.result()


def test_workers_are_real_time_only_from_when_they_have_caught_up(monkeypatch):
    """Before, they compute without a pause: the brake would take all threads' priority."""
    sound = Sound(held(), lane=1)
    sound.step(500)
    words, seen = sound.host.stream.words, []

    def look(plan):
        seen.append((plan.position, int(words[HISTORY_END]), int(words[TURN])))

    monkeypatch.setattr(sound.host, "_raise_workers", look)
    Held.gate.set()
    sound.change("held.kind", "other")
    ((at, end, turn),) = seen
    assert end - BLOCK <= at <= end
    assert at >= 500 * BLOCK
    assert turn == NO_TURN
    sound.result()


def test_why_an_edit_is_not_heard_where_the_sound_stands_still(monkeypatch):
    monkeypatch.setattr(host_module, "EDIT_LIMIT", 0.2)
    sound = Sound(wire())
    sound.step(5)
    with pytest.raises(UserError, match="the device asks for no sound"):
        sound.host.edit(wire().insert(node("gain"), "in -> out"))
    sound.result()


def test_why_an_edit_is_not_heard_where_the_sound_has_no_clock(monkeypatch):
    limitless(monkeypatch)
    with Host(Plan(wire(), RATE, BLOCK, 2), NullDevice(freewheel=True)) as host:
        host.start()
        with pytest.raises(UserError, match="that runs as fast as it can"):
            host.edit(wire().insert(node("gain"), "in -> out"))


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


# ------------------------------------------------------------------------------------------ single parameters


class Held(Gain):
    """A gain that is prepared at once as long as ``kind`` is empty: else control opens the gate."""

    id = "held"
    parameters = (*Gain.parameters, Parameter("kind", "", scale="text", automatable=False))
    reached, gate = threading.Event(), threading.Event()

    def allocate(self):
        kind = self.values["kind"]
        if kind:
            Held.reached.set()
            assert Held.gate.wait(60)
        if kind == "refused":
            raise UserError("held: there is nothing of this kind")
        if kind == "broken":
            raise ZeroDivisionError("a mistake\nin the engine")
        return super().allocate()


class Shaped(Held):
    """It has a parameter more as long as ``kind`` is empty."""

    id = "shaped"
    extra = Parameter("extra", "a", scale="text", automatable=False)
    parameters = (*Held.parameters, extra)

    @classmethod
    def of(cls, values):
        return Held if values.get("kind") else cls


@pytest.fixture
def gate():
    Held.reached.clear()
    Held.gate.clear()
    yield Held.gate
    Held.gate.set()


def held(**values):
    return chain(Node("held", Held, values), node("after", "gain"))


def moved(signal, samples):
    return np.pad(signal, ((0, 0), (max(0, samples), 0)))[:, max(0, -samples) :]


@pytest.mark.parametrize("lane", [0, 1])
def test_a_change_of_latency_is_a_crossfade_without_a_step(lane):
    sound = Sound(chain(node("limiter")), lane)
    sound.step(40)
    before = sound.host.plan.latency
    sound.change("limiter.lookahead", 5.0)
    assert sound.host.notes == [f"limiter.lookahead is 5, latency {before} -> {before + 168} samples"]
    assert sound.host.statistics()["latency"]["total"] == before + 168
    sound.step(60)
    heard = sound.result()
    old, new = (sound.offline(chain(node("limiter", lookahead=each)), lane=lane) for each in (1.5, 5.0))
    np.testing.assert_array_equal(moved(new, -168)[:, 1000:3000], old[:, 1000:3000])
    np.testing.assert_array_equal(heard, crossfaded(old, new, sound.turns[0]))
    for each in heard[:, 40 * BLOCK - 160 :]:
        assert step_above_15_khz(each) <= -110


def test_a_network_is_changed_for_one_of_another_kind():
    """Two shipped ones; what was set before stays, and what only the first has goes."""
    pytest.importorskip("onnxruntime", reason="runs networks")

    def first():
        return chain(node("enhance"))

    second = chain(node("enhance", model="paper", limit=12.0))
    late, later = latency_of(first()), latency_of(second)  # Compiles.
    sound = Sound(first(), lane=None, channels=1)
    sound.step(20)
    sound.host.set("enhance.limit", 12.0)
    sound.host.set("enhance.onset", 0.5)
    sound.step(SECOND // 2)
    before = sound.host.plan.latency
    edit = sound.change("enhance.model", "paper")
    assert edit.error is None
    after = sound.host.plan.latency
    assert sound.host.notes[-1] == f"enhance.model is paper, latency {before} -> {after} samples"
    assert sound.host.plan.graph.nodes["enhance"].values == {"model": "paper", "limit": 12.0}
    sound.step(SECOND // 2)
    assert sound.host.statistics()["misses"] == 0
    heard = sound.result()
    assert heard.shape[1] < 7 * RATE  # all of it was kept

    def settings(plan):
        plan.set("enhance.limit", 12.0)
        plan.set("enhance.onset", 0.5)

    old = moved(sound.offline(first(), {20: settings}), before - late)[:, : heard.shape[1]]
    new = moved(sound.offline(second), after - later)[:, : heard.shape[1]]
    assert not np.array_equal(moved(old, after - before)[:, : old.shape[1]], new)
    np.testing.assert_array_equal(heard, crossfaded(old, new, sound.turns[0]))


def test_a_changed_node_has_the_engine_that_its_values_name():
    """As a new node has it, which other processes can make."""
    pytest.importorskip("onnxruntime", reason="runs networks")
    paper = node("enhance", model="paper", lookahead=0)
    assert paper.changed("model", "live") == node("enhance", model="live")
    assert paper.changed("hop", 512.0) == node("enhance", model="paper", lookahead=0, hop=512.0)
    with pytest.raises(UserError, match=r"^enhance: no model 'nope'"):
        paper.changed("model", "nope")


def test_what_the_new_engine_does_not_have_is_refused():
    pytest.importorskip("onnxruntime", reason="runs networks")
    live = node("enhance", model="paper").changed("model", "live")
    with pytest.raises(UserError, match=r"^enhance: no parameter 'hop'"):
        live.changed("hop", 512.0)
    with pytest.raises(UserError, match=r"no parameter 'limt', did you mean 'limit'\?"):
        live.changed("limt", 12.0)


def test_a_change_that_waits_for_a_parameter_or_a_node_that_goes_is_told(gate):
    """It says no value where there is none."""
    sound = Sound(chain(Node("held", Shaped), node("limiter")))
    sound.step(5)
    with sound.running():
        edits = [sound.host.change("held.kind", "other"), sound.host.change("held.extra", "b")]
        assert Held.reached.wait(60)
        gate.set()
        await_(lambda: not sound.host.edits, sound.host.poll)
        assert sound.host.notes[0] == "held.kind is other"
        assert sound.host.notes[1].startswith("held.extra: no parameter 'extra'")
        assert isinstance(edits[1].error, UserError)
        Held.reached.clear()
        gate.clear()
        edits = [sound.host.change("held.kind", "last"), sound.host.change("limiter.lookahead", 3.0)]
        assert Held.reached.wait(60)
        gate.set()
        await_(lambda: edits[0].done, sound.host.poll)
        if not edits[1].done and sound.host._edit is None:
            sound.host.edit(sound.host.plan.graph.remove("limiter"))
        await_(lambda: not sound.host.edits, sound.host.poll)
    assert sound.host.notes[2:] == ["held.kind is last", "limiter.lookahead: there is no such node any more"]
    sound.result()


def latency_of(graph):
    plan = Plan(graph, RATE, BLOCK, 1)
    plan.close()
    return plan.latency


def test_sound_and_control_go_on_while_a_node_is_prepared(gate):
    sound = Sound(held(gain=-1.0))
    sound.host.set("held.gain", -6.0)
    sound.step(40)
    with sound.running():
        edit = sound.host.change("held.kind", "other")
        assert Held.reached.wait(60)
        assert sound.host.edits == [edit]
        sound.host.set("held.gain", -9.0)
        sound.host.set("held.gain", -12.0)
        sound.host.set("after.gain", -3.0)
        sound.host.mute("after")
        sound.host.mute("after", False)
        count = len(sound.heard)
        await_(lambda: len(sound.heard) > count + 20, sound.host.poll)
        with pytest.raises(UserError, match="another edit is under way"):
            sound.host.edit(wire())
        assert not edit.done
        gate.set()
        await_(lambda: edit.done, sound.host.poll)
    assert sound.host.notes == ["held.kind is other"]
    assert sound.host.plan.graph.nodes["held"].values == {"gain": -12.0, "kind": "other"}
    sound.step(20)
    heard = sound.result()
    steady = sound.offline(chain(node("a", "gain", gain=-12.0), node("b", "gain", gain=-3.0)))
    np.testing.assert_array_equal(heard[:, -10 * BLOCK :], steady[:, -10 * BLOCK :])
    begin = 40 * BLOCK
    for each in heard[:, begin - 160 :]:
        assert step_above_15_khz(each) <= -110


def test_of_several_values_the_last_is_heard_and_other_changes_wait(gate):
    graph = chain(Node("held", Held), node("limiter"), node("biquad"))
    sound = Sound(graph)
    sound.step(5)
    with sound.running():
        edits = [sound.host.change("held.kind", "a")]
        assert Held.reached.wait(60)
        edits += [sound.host.change("limiter.lookahead", each) for each in (5.0, 3.0)]
        edits += [sound.host.change("held.kind", "b"), sound.host.change("biquad.kind", "lowpass")]
        assert sound.host.edits == [edits[number] for number in (0, 2, 3, 4)]
        gate.set()
        await_(lambda: not sound.host.edits, sound.host.poll)
    assert all(edit.done for edit in edits)
    given_up = [edit.error is not None for edit in edits]
    assert given_up == [True, True, False, False, False]
    words = "limiter.lookahead is 3, latency 72 -> 144 samples", "held.kind is b", "biquad.kind is lowpass"
    assert sound.host.notes == [*words]
    assert sound.host.counters.words[EDITS] == 3
    assert sound.host.change("biquad.kind", "lowpass") is None
    values = [sound.host.plan.fixed(*path) for path in (("held", "kind"), ("limiter", "lookahead"))]
    assert values == ["b", 3.0]
    sound.result()


def test_what_a_composite_has_a_parameter_for_is_changed_from_inside_too():
    sound = Sound(chain(node("remix", percussive_insert="gain | delay")))
    sound.step(5)
    sound.host.set("remix.harmonic_gain", -3.0)
    sound.host.set("remix/percussive/gain.gain", -9.0)
    sound.change("remix/hpss.power", 3.0)
    assert sound.host.notes.pop() == "remix.power is 3"
    sound.change("remix/percussive.insert", "gain")
    assert sound.host.notes.pop() == "remix.percussive_insert is gain"
    values = sound.host.plan.graph.nodes["remix"].values
    assert values == {"percussive_insert": "gain", "harmonic_gain": -3.0, "power": 3.0}
    assert sound.host.plan.inside == {"remix/percussive/gain.gain": -9.0}
    sound.result()


FIXED_INSIDE = (
    "remix/percussive/delay.time is fixed while sound runs: it is inside of remix/percussive, which"
)


@pytest.mark.parametrize("lane", [0, 2])
def test_a_plan_that_was_refused_is_forgotten_at_once(monkeypatch, lane):
    """Not when the collector happens to come: a plan may hold hundreds of megabytes."""
    limitless(monkeypatch)
    graph, plans = chain(node("gain")), []
    monkeypatch.setattr(host_module, "Plan", lambda *args, **named: made(Plan(*args, **named)))

    def made(plan):
        plans.append(weakref.ref(plan))
        return plan

    sound = Sound(graph, lane)
    sound.step(20)
    gc.collect()
    gc.disable()
    try:
        opened = files()
        with sound.running(), pytest.raises(UserError, match="cannot catch up"):
            sound.host.edit(graph.insert(node("b", "gain"), "gain -> out"))
        assert [plan() for plan in plans] == [None]
        assert files() == opened
    finally:
        gc.enable()
        sound.host.close()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("remix.powr", 2.0, "remix: no parameter 'powr', did you mean 'power'?"),
        ("remix.power", 99.0, "remix: power=99 is out of range"),
        ("remix.hop", "257", "remix: hop='257' is not one of"),
        ("remx.hop", "256", "no node 'remx', did you mean 'remix'?"),
        ("remix/percussive/delay.time", 100.0, f"{FIXED_INSIDE} has no parameter for it"),
    ],
)
def test_a_change_that_cannot_be_is_refused_at_once(path, value, said):
    sound = Sound(chain(node("remix", percussive_insert="delay")))
    with pytest.raises(UserError) as refused:
        sound.host.change(path, value)
    assert str(refused.value).startswith(said)
    assert sound.host.edits == []
    sound.host.close()


def files():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("kind", ["refused", "broken"])
def test_a_change_that_fails_leaves_all_as_it_was(gate, kind):
    gate.set()
    sound = Sound(held(gain=-6.0), lane=1)
    sound.step(20)
    plan, threads, opened = sound.host.plan, threading.active_count(), files()
    edit = sound.change("held.kind", kind)
    assert isinstance(edit.error, UserError if kind == "refused" else ZeroDivisionError)
    why = (
        "there is nothing of this kind" if kind == "refused" else "ZeroDivisionError: a mistake in the engine"
    )
    assert sound.host.notes == [f"held.kind stays '': {why}"]
    assert sound.host.plan is plan
    assert plan.graph.nodes["held"].values == {"gain": -6.0}
    assert (threading.active_count(), files()) == (threads, opened)
    assert sound.host.counters.words[EDITS] == 0
    sound.change("held.kind", "good")
    assert sound.host.notes[1:] == ["held.kind is good"]
    sound.step(20)
    heard = sound.result()
    np.testing.assert_array_equal(heard, sound.offline(held(gain=-6.0), lane=1))


def test_a_network_that_is_not_as_its_card_says_is_not_heard(tmp_path):
    pytest.importorskip("onnxruntime", reason="runs networks")
    import streaming_models

    good, bad = (streaming_models.gru(tmp_path / f"{name}.onnx", hop=64) for name in ("good", "bad"))
    bad.write_bytes(bad.read_bytes() + b"\0")
    graph = chain(node("network", model=str(good)))
    late = latency_of(graph)  # Compiles.
    sound = Sound(graph, lane=None, channels=1)
    sound.step(20)
    sound.change("network.model", str(bad))
    (note,) = sound.host.notes
    assert note.startswith(
        f"network.model stays {good}: {bad} is not the model of its card: the hash differs"
    )
    sound.step(20)
    late = sound.host.plan.latency - late
    heard = sound.result()
    np.testing.assert_array_equal(heard, moved(sound.offline(graph), late)[:, : heard.shape[1]])


def test_what_the_new_plan_has_no_room_for_yet_is_set_later(gate):
    """Not lost; what is gone from the new graph is."""
    sound = Sound(held())
    sound.step(5)
    edit = sound.host.change("held.kind", "other")
    assert Held.reached.wait(60)
    for number in range(2 * COMMANDS):  # Positions that have passed.
        sound.host.set("after.gain", -6.0, at=-10 - number)
        if number % 1000 == 0:
            sound.step()
    sound.host.set("after.gain", -9.0)
    sound.host._set(("gone",), lambda plan: plan.set("gone.gain", 0.0) if plan is edit.plan else None)
    gate.set()
    with sound.running():
        await_(lambda: edit.done, sound.host.poll)
    assert edit.error is None
    assert edit._changes == {}
    sound.step(60)
    heard = sound.result()
    steady = sound.offline(chain(node("a", "gain"), node("b", "gain", gain=-9.0)))
    np.testing.assert_array_equal(heard[:, -10 * BLOCK :], steady[:, -10 * BLOCK :])


def test_a_refused_edit_leaves_the_figures_of_the_memory():
    sound = Sound(wire())
    sound.step(5)
    before = sound.host.memory
    with sound.running(), pytest.raises(UserError, match="1 channels come out"):
        sound.host.edit(chain(Node("mono", Mono)))
    with pytest.MonkeyPatch.context() as patch:
        limitless(patch)
        with sound.running(), pytest.raises(UserError, match="cannot catch up"):
            sound.host.edit(wire().insert(node("delay"), "in -> out"))
    assert sound.host.memory == before
    sound.edit(wire().insert(node("delay"), "in -> out"))
    assert sound.host.memory[1] > before[1]
    sound.result()


@kernel
def loud_kernel(state, inputs, outputs, n, params, context):
    x, y = channel(inputs, 0, n), channel(outputs, 0, n)
    for i in range(n):
        y[i] = x[i]
    return 1 if x[0] > 0.5 else 0


class Loud(Mono):
    """Fails where it is loud."""

    id = "loud"
    parameters = (Parameter("kind", "", scale="text", automatable=False),)
    KERNEL = loud_kernel


def test_a_node_that_is_made_anew_has_not_failed_yet(monkeypatch):
    """If it does, that is told, and waited for, as at the first time."""
    monkeypatch.setattr(host_module, "to_play", lambda shares, processors: 0.0)  # It would fail in the past.
    sound = Sound(chain(Node("loud", Loud)), channels=1)
    told = "loud failed and is bypassed; tried again in 1 s"
    for _ in range(2):
        sound.device.step(0.9)
        sound.host.poll()
        assert sound.host.problems.pop() == told
        assert sound.host.statistics()["bypassed"] == ["loud"]
        sound.device.step(0.0)
        edit = sound.host.change("loud.kind", f"{len(sound.host.notes)}")
        await_(lambda edit=edit: edit.done, lambda: (sound.device.step(0.0), sound.host.poll()))
        assert edit.error is None
        assert sound.host.statistics()["bypassed"] == []
    sound.host.close()


def test_a_host_that_closes_does_not_wait_for_ever_for_what_is_loaded(monkeypatch, gate):
    """What it still makes is released once it is made."""
    monkeypatch.setattr(host_module, "CLOSE_LIMIT", 0.05)
    graph = held()
    Sound(graph, lane=1).host.close()  # Opens what stays open.
    threads, opened = threading.active_count(), files()
    sound = Sound(graph, lane=1)
    sound.step(20)
    edit = sound.host.change("held.kind", "other")
    assert Held.reached.wait(60)
    sound.host.close()
    assert sound.host.problems == ["held.kind other still loads: it is not waited for"]
    assert edit.done
    assert edit.thread.is_alive()
    assert edit.thread.daemon
    gate.set()
    edit.thread.join(60)
    assert (threading.active_count(), files()) == (threads, opened)


@pytest.mark.parametrize("stage", ["prepared", "offered", "taken over", "done", "waiting"])
def test_a_host_that_closes_amid_a_change_leaves_nothing_behind(monkeypatch, gate, stage):
    monkeypatch.setattr(host_module, "EDIT_LIMIT", 1e6)
    graph = held()
    Sound(graph, lane=1).host.close()  # Opens what stays open.
    threads, opened = threading.active_count(), files()
    sound = Sound(graph, lane=1)
    sound.step(20)
    words = sound.host.stream.words
    edit = sound.host.change("held.kind", "other")
    if stage in ("prepared", "waiting"):
        assert Held.reached.wait(60)
        if stage == "waiting":
            sound.host.change("held.kind", "another")
        monkeypatch.setattr(sound.device, "stop", lambda: gate.set() or True)
    else:
        gate.set()
        await_(lambda: words[TURN] == OFFERED)  # Nothing calls meanwhile.
    if stage in ("taken over", "done"):
        end = TAKEN_OVER if stage == "taken over" else DONE
        await_(lambda: words[TURN] == end, sound.step)
    released = []
    release = sound.host._release
    monkeypatch.setattr(sound.host, "_release", lambda plan: released.append(plan) or release(plan))
    plan = sound.host.plan
    sound.host.close()
    assert edit.done
    assert (edit.error is None) == (stage == "done")
    assert plan in released
    assert len(set(released)) == 2
    assert (sound.host.plan is not plan) == (stage == "done")
    assert (threading.active_count(), files()) == (threads, opened)
