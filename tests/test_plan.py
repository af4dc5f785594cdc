"""A plan against a plain numpy evaluation of its graph: whole signals, one node after the other."""

import itertools
from contextlib import suppress
from math import gcd
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from scipy.interpolate import BPoly
from scipy.signal.windows import blackmanharris
from stepped import call, play_calls

from rtaudio import executor
from rtaudio.counters import NODE_TIMES, TIME_BINS, times_us
from rtaudio.errors import UserError
from rtaudio.graph import Composite, Graph, Mapped, Node, parameters_of
from rtaudio.kernel import channel, kernel, position, ring_read, ring_write, value
from rtaudio.layout import COMMANDS, CROSSFADE, DECLICK
from rtaudio.native import (
    compiled,
    f32_matrix,
    flush_denormals,
    i64_vector,
    int64_at,
    restore_float_mode,
)
from rtaudio.plan import Plan
from rtaudio.processor import Parameter, Port, Processor
from rtaudio.stream import Stream
from rtaudio.timing import time_bin

RATE = 8_000
"""Low, so that fades are short."""
FADE = round(CROSSFADE * RATE)
FALL = round(DECLICK * RATE)


# ------------------------------------------------------------------------------------------- test processors


def delayed(signal, samples):
    """A (channels, n) signal, later by a number of samples and as long."""
    return np.pad(signal, ((0, 0), (samples, 0)))[:, : signal.shape[1]]


@kernel
def amp_kernel(state, inputs, outputs, n, params, context):
    at = position(context)
    for c in range(i64_vector(state, 0)[0]):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        for i in range(n):
            level, jump, gain = value(params, 0, at + i), value(params, 1, at + i), value(params, 2, at + i)
            y[i] = x[i] * np.float32(level * jump * gain)
    return 0


class Amp(Processor):
    id = "amp"
    parameters = (
        Parameter("level", 1.0, 0.0, 4.0),
        Parameter("jump", 1.0, 0.0, 4.0, smoothing=0.0),
        Parameter("gain", 0.0, -60.0, 20.0, "dB", "dB", smoothing=0.02, silence=True),
        Parameter("mode", "soft", scale="choice", choices=("soft", "hard"), automatable=False),
    )
    KERNEL = amp_kernel

    def allocate(self):
        return (np.array([self.channels], np.int64),)

    def truth(self, ins, shape, block):
        gain = 10 ** (self.values["gain"] / 20)
        return {"out": ins["in"] * np.float32(self.values["level"] * self.values["jump"] * gain)}, 0


@kernel
def lag_kernel(state, inputs, outputs, n, params, context):
    lines, at = f32_matrix(state, 0), position(context)
    for c in range(lines.shape[0]):
        ring_write(lines[c], at, channel(inputs, c, n), n)
        ring_read(lines[c], at - i64_vector(state, 1)[0], channel(outputs, c, n), n)
    return 0


class Lag(Processor):
    """A delay that declares itself."""

    id = "lag"
    parameters = (Parameter("samples", 1, 0, 500, scale="integer", automatable=False),)
    KERNEL = lag_kernel

    def allocate(self):
        self.latency = int(self.values["samples"])
        return np.zeros((self.channels, 1024), np.float32), np.array([self.latency], np.int64)

    def truth(self, ins, shape, block):
        samples = int(self.values["samples"])
        return {"out": delayed(ins["in"], samples)}, samples


@kernel
def split_kernel(state, inputs, outputs, n, params, context):
    channels = i64_vector(state, 0)[0]
    for c in range(channels):
        x, low, high = channel(inputs, c, n), channel(outputs, c, n), channel(outputs, channels + c, n)
        for i in range(n):
            low[i] = np.float32(0.25) * x[i]
            high[i] = x[i] - low[i]
    return 0


class Split(Processor):
    id = "split"
    outputs = (Port("low"), Port("high"))
    fallback = "high"
    KERNEL = split_kernel
    allocate = Amp.allocate

    def truth(self, ins, shape, block):
        low = np.float32(0.25) * ins["in"]
        return {"low": low, "high": ins["in"] - low}, 0


@kernel
def duck_kernel(state, inputs, outputs, n, params, context):
    channels = i64_vector(state, 0)[0]
    for c in range(channels):
        x, key, y = channel(inputs, c, n), channel(inputs, channels + c, n), channel(outputs, c, n)
        for i in range(n):
            y[i] = x[i] - np.float32(0.5) * key[i]
    return 0


class Duck(Processor):
    id = "duck"
    inputs = (Port("in"), Port("key", optional=True))
    KERNEL = duck_kernel
    allocate = Amp.allocate

    def truth(self, ins, shape, block):
        return {"out": ins["in"] - np.float32(0.5) * ins["key"]}, 0


@kernel
def tone_kernel(state, inputs, outputs, n, params, context):
    at = position(context)
    for c in range(i64_vector(state, 0)[0]):
        y = channel(outputs, c, n)
        for i in range(n):
            y[i] = ((at + i) * 7919 % 1024 - 500) * (c + 1) / 512
    return 0


class Tone(Processor):
    """A source."""

    id = "tone"
    inputs = ()
    fallback = None
    KERNEL = tone_kernel
    allocate = Amp.allocate

    def truth(self, ins, shape, block):
        t, c = np.arange(shape[1]), np.arange(shape[0])[:, None]
        return {"out": ((t * 7919 % 1024 - 500) * (c + 1) / 512).astype(np.float32)}, 0


@kernel
def flip_kernel(state, inputs, outputs, n, params, context):
    at = position(context)
    for c in range(i64_vector(state, 0)[0]):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        for i in range(n):
            y[i] = x[n - 1 - i] * np.float32(value(params, 0, at + i))
    return 0


class Flip(Processor):
    """Plays every hop backwards."""

    id = "flip"
    parameters = (
        Parameter("level", 1.0, 0.0, 4.0),
        Parameter("hop", 16, 1, 64, scale="integer", automatable=False),
    )
    KERNEL = flip_kernel
    allocate = Amp.allocate

    def __init__(self, **values):
        super().__init__(**values)
        self.hop = int(self.values["hop"])

    def truth(self, ins, shape, block):
        hop = int(self.values["hop"])
        hops = np.pad(ins["in"], ((0, 0), (0, -shape[1] % hop))).reshape(shape[0], -1, hop)
        flipped = hops[:, :, ::-1].reshape(shape[0], -1)[:, : shape[1]] * np.float32(self.values["level"])
        return {"out": flipped}, 0


@kernel
def faulty_kernel(state, inputs, outputs, n, params, context):
    words, at = i64_vector(state, 0), position(context)
    channels, fault, how = words[0], words[1], words[2]
    for c in range(channels):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        for i in range(n):
            y[i] = np.float32(-0.5) * x[i]
            if at + i == fault and how != 0:
                y[i] = np.float32(np.nan) if how == 1 else np.float32(-np.inf)
    return 3 if how == 0 and at <= fault < at + n else 0


class Faulty(Processor):
    """Fails in the block that holds a position."""

    id = "faulty"
    parameters = (
        Parameter("fault", 1000, 0, 1e9, scale="integer", automatable=False),
        Parameter("how", "status", scale="choice", choices=("status", "nan", "inf"), automatable=False),
    )
    KERNEL = faulty_kernel

    def allocate(self):
        targets = self.targets()
        return (np.array([self.channels, targets["fault"], targets["how"]], np.int64),)


@kernel
def faulty_lag_kernel(state, inputs, outputs, n, params, context):
    lines, at, words = f32_matrix(state, 0), position(context), i64_vector(state, 1)
    for c in range(lines.shape[0]):
        ring_write(lines[c], at, channel(inputs, c, n), n)
        ring_read(lines[c], at - words[0], channel(outputs, c, n), n)
    return 3 if at <= words[1] < at + n else 0


class FaultyLag(Processor):
    """A delay that declares itself and fails once. Its output is its fallback, sample for sample."""

    id = "faulty_lag"
    parameters = (*Lag.parameters, Faulty.parameters[0])
    KERNEL = faulty_lag_kernel

    def allocate(self):
        self.latency = int(self.values["samples"])
        words = np.array([self.latency, int(self.values["fault"])], np.int64)
        return np.zeros((self.channels, 1024), np.float32), words


class FaultyHop(Faulty):
    id = "faulty_hop"
    hop = 16


@kernel
def half_kernel(state, inputs, outputs, n, params, context):
    for c in range(i64_vector(state, 0)[0]):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        for i in range(n):
            y[i] = x[i] * np.float32(0.5)
    return 0


class Half(Processor):
    id = "half"
    KERNEL = half_kernel
    allocate = Amp.allocate


@kernel
def witness_kernel(state, inputs, outputs, n, params, context):
    for i in range(n):
        for c in range(3):
            channel(outputs, c, n)[i] = int64_at(context, 3)[c]
        channel(outputs, 0, n)[i] += i
    return 0


class Witness(Processor):
    """Writes its context: position of the sample, rate, offline."""

    id = "witness"
    outputs = (Port("out", 3),)
    parameters = (Parameter("any", 0.0),)
    KERNEL = witness_kernel
    allocate = Amp.allocate


@kernel
def mono_kernel(state, inputs, outputs, n, params, context):
    x, y = channel(inputs, 0, n), channel(outputs, 0, n)
    for i in range(n):
        y[i] = x[i] * np.float32(3)
    return 0


class Mono(Processor):
    id = "mono"
    outputs = (Port("out", 1),)
    KERNEL = mono_kernel
    allocate = Amp.allocate


class Pair(Composite):
    """A delayed amplifier beside the dry path, which has to wait for it."""

    id = "pair"
    nodes: ClassVar = {"lag": Lag, "amp": Amp}
    edges = ("in -> lag", "lag -> amp", "amp -> out", "in -> out")
    mapped = (Mapped("level", "amp", "level", default=0.5), Mapped("samples", "lag", "samples", default=3))


class Nest(Composite):
    """Two outputs of different latency, one of them from a composite inside."""

    id = "nest"
    outputs = (Port("out"), Port("side"))
    nodes: ClassVar = {"pair": Pair, "flip": Flip, "split": Split}
    edges = ("in -> split", "split.low -> pair", "pair -> flip", "flip -> out", "split.high -> out.side")
    mapped = (Mapped("level", "pair", "level", default=0.75), Mapped("hop", "flip", "hop", default=8))


class Case(Composite):
    """Something that fails inside."""

    id = "case"
    nodes: ClassVar = {"faulty": Faulty, "half": Half}
    edges = ("in -> faulty", "faulty -> half", "half -> out")


ENGINES = (Amp, Lag, Split, Duck, Tone, Flip, Pair, Nest)


# ------------------------------------------------------------------------------------------- the truth


def evaluate(graph, entry, late, arrival, block):
    """Outputs of a graph by name, each as late as the latest; how late; and how late with re-blocking.

    Whole signals, node after node, in a time in which hops cost nothing: ``entry`` is what comes in, ``late``
    samples late, or ``arrival`` with the re-blocking before it.
    """
    signals, silence = {"in.main": (entry, late, arrival)}, np.zeros_like(entry)
    audible = graph.audible()

    def gather(target, late):
        sources = [signals[str(edge.source)] for edge in graph.edges if str(edge.target) == target]
        terms = [delayed(signal, late - its) for signal, its, _ in sources]
        return sum(terms[1:], terms[0]) if terms else silence

    def latest(*targets):
        fed = [signals[str(edge.source)] for edge in graph.edges if str(edge.target) in targets]
        return max((late for _, late, _ in fed), default=0), max((arrival for *_, arrival in fed), default=0)

    for name in graph.order():
        node = graph.nodes[name]
        made = node.make()
        late, arrival = latest(*(f"{name}.{port.name}" for port in made.inputs))
        ins = {port.name: gather(f"{name}.{port.name}", late) for port in made.inputs}
        if isinstance(made, Composite):
            outs, ready, arrival = evaluate(made.graph, ins["in"], late, arrival, block)
            outs["out"] = outs.pop("main", silence)
        else:
            outs, latency = made.truth(ins, entry.shape, block)
            ready = late + latency
            if made.hop is not None:
                step = gcd(block, made.hop)
                latency += made.hop - step + (late - arrival) % step
            arrival += latency
        for port in made.outputs:
            signal = outs[port.name]
            if node.bypass:
                signal = (
                    delayed(ins[made.inputs[0].name], ready - late) if port.name == made.fallback else silence
                )
            signals[f"{name}.{port.name}"] = (signal if audible[name] else silence, ready, arrival)
    names = [f"out.{name}" for name in graph.output_names()]
    ready, arrival = latest(*names)
    return {name.removeprefix("out."): gather(name, ready) for name in names}, ready, arrival


def meant(graph, signal, block):
    """What a plan of the graph should play, by name of the output, and its latency."""
    outs, ready, arrival = evaluate(graph, signal, 0, 0, block)
    return {name: delayed(out, arrival - ready) for name, out in outs.items()}, arrival


def noise(channels, samples, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (channels, samples)).astype(np.float32)


def play(plan, signal):
    """What a plan makes of a signal, by name of the output; the last block is filled up with zeros."""
    channels, samples = signal.shape
    played = []
    for begin in range(0, samples, plan.block):
        block = np.zeros((channels, plan.block), np.float32)
        block[:, : min(plan.block, samples - begin)] = signal[:, begin : begin + plan.block]
        played.append({name: out.copy() for name, out in plan.process(block).items()})
    return {name: np.hstack([outs[name] for outs in played])[:, :samples] for name in played[0]}


def smoothstep(t, start, length):
    """From 0 at ``start`` to 1 ``length`` samples later, with no slope or curvature at the ends."""
    u = np.clip((t - start) / length, 0.0, 1.0) if length else (t >= start).astype(float)
    return u * u * u * (u * (u * 6.0 - 15.0) + 10.0)


def ramps(first, events, samples):
    """A parameter's values when events ``(position, target, length)`` take effect one after the other.

    One that finds another under way goes on with its slope and curvature: the quintic that begins so, and
    ends at rest.
    """
    t = np.arange(samples)
    values, last = np.full(samples, float(first)), None
    for position_, target, length in events:
        if position_ < samples:
            now = values[position_]
            turns = last is not None and position_ < last.x[-1] and length
            begin = [float(last(position_, order)) if turns else 0.0 for order in range(3)]
            last = None
            if length:
                ends = [now, *begin[1:]], [target, 0.0, 0.0]
                last = BPoly.from_derivatives([position_, position_ + length], ends)
            after = now + (target - now) * smoothstep(t, position_, length)
            if turns:
                after = last(np.minimum(t, position_ + length))
            after[t >= position_ + length] = target
            values[position_:] = after[position_:]
    return values


def turning(events):
    """Whether one of the events finds another under way."""
    return any(b[0] < a[0] + a[2] for a, b in itertools.pairwise(events))


def chain(*nodes):
    """A graph of nodes in a row, by their first outputs."""
    sources = ["in", *(f"{node.name}.{node.engine.outputs[0].name}" for node in nodes)]
    targets = [*(node.name for node in nodes), "out"]
    return Graph(list(nodes), [f"{a} -> {b}" for a, b in zip(sources, targets, strict=True)])


# ------------------------------------------------------------------------------------------- random graphs


@st.composite
def random_graphs(draw, flags=True):
    """Any graph of the test processors; edges lead from earlier to later nodes."""
    nodes, edges, sources = [], [], ["in"]

    def connect(target, least):
        chosen = draw(st.lists(st.sampled_from(sources), unique=True, min_size=least, max_size=3))
        edges.extend(f"{source} -> {target}" for source in chosen)

    for number in range(draw(st.integers(1, 7))):
        engine, name = draw(st.sampled_from(ENGINES)), f"n{number}"
        values = {
            "level": draw(st.sampled_from([0.0, 0.3, 1.0, 2.5])),
            "samples": draw(st.sampled_from([0, 1, 7, 30])),
            "hop": draw(st.sampled_from([1, 6, 16])),
        }
        mine = {parameter.id for parameter in parameters_of(engine)}
        node = Node(name, engine, {key: value for key, value in values.items() if key in mine})
        for port in engine.inputs:
            connect(f"{name}.{port.name}", 0 if port.optional else 1)
        if flags:
            node.bypass, node.mute, node.solo = (draw(st.integers(0, 9)) == 0 for _ in range(3))
        nodes.append(node)
        sources += [f"{name}.{port.name}" for port in engine.outputs]
    connect("out", 1)
    connect("out.aux", 0)
    return Graph(nodes, edges)


@settings(max_examples=200, deadline=None)
@given(random_graphs(), st.integers(1, 3), st.integers(0, 99))
def test_a_plan_plays_what_its_graph_means(graph, channels, seed):
    note(f"{graph.nodes} {graph.edges}")
    signal, sure = (
        noise(channels, 320, seed),
        192,
    )  # The last samples depend, through hops, on what comes after.
    for block in (7, 16, 64):
        expected, latency = meant(graph, signal, block)
        plan = Plan(graph, RATE, block, channels)
        played = play(plan, signal)
        assert plan.latency == latency
        assert list(played) == graph.output_names()
        for name in played:
            np.testing.assert_array_equal(played[name][:, :sure], expected[name][:, :sure])
        plan.close()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_latency_is_the_longest_path_and_every_path_arrives_then(data):
    """Delays only: an impulse comes out once, at the reported latency, as high as there are paths."""
    count = data.draw(st.integers(1, 6))
    arrows = [pair for pair in itertools.combinations(range(count), 2) if data.draw(st.booleans())]
    entries = [n for n in range(count) if data.draw(st.booleans()) or n not in {b for _, b in arrows}]
    exits = data.draw(st.lists(st.integers(0, count - 1), unique=True, min_size=1))
    samples = [data.draw(st.integers(0, 40)) for _ in range(count)]
    paths, found = [(n,) for n in entries], []
    while paths:
        found += [path for path in paths if path[-1] in exits]
        paths = [(*path, b) for path in paths for a, b in arrows if a == path[-1]]
    edges = [*(f"in -> n{n}" for n in entries), *(f"n{n} -> out" for n in exits)]
    edges += [f"n{a} -> n{b}" for a, b in arrows]
    plan = Plan(
        Graph([Node(f"n{n}", Lag, {"samples": samples[n]}) for n in range(count)], edges), RATE, 16, 1
    )
    assert plan.latency == max(sum(samples[n] for n in path) for path in found)
    impulse = np.zeros((1, 300), np.float32)
    impulse[0, 0] = 1
    played = play(plan, impulse)["main"][0]
    assert np.flatnonzero(played).tolist() == [plan.latency]
    assert played[plan.latency] == len(found)


def test_block_size_one_and_longer_than_the_signal():
    graph = chain(Node("nest", Nest), Node("amp", Amp, {"gain": -6.0}))
    for block in (1, 1024):
        expected, latency = meant(graph, noise(2, 200), block)
        plan = Plan(graph, RATE, block, 2)
        assert plan.latency == latency
        np.testing.assert_array_equal(play(plan, noise(2, 200))["main"], expected["main"])


def test_two_plans_of_a_graph_share_no_state():
    graph = chain(Node("nest", Nest), Node("lag", Lag, {"samples": 9}))
    alone = play(Plan(graph, RATE, 16, 2), noise(2, 160))["main"]
    a, b = Plan(graph, RATE, 16, 2), Plan(graph, RATE, 16, 2)
    for begin in range(0, 160, 16):
        block = np.ascontiguousarray(noise(2, 160)[:, begin : begin + 16])
        np.testing.assert_array_equal(a.process(block)["main"], alone[:, begin : begin + 16])
        b.process(-block)


def test_a_wire_plays_its_input():
    plan = Plan(Graph([], ["in -> out"]), RATE, 16, 2)
    assert plan.latency == 0
    np.testing.assert_array_equal(play(plan, noise(2, 100))["main"], noise(2, 100))


# ------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("rate", "channels", "message"),
    [
        (7_999, 2, "a rate of 7999 Hz is not supported (8000 to 384000 Hz)"),
        (400_000, 2, "a rate of 400000 Hz is not supported (8000 to 384000 Hz)"),
        (RATE, 0, "0 channels are not supported (1 to 64)"),
        (RATE, 65, "65 channels are not supported (1 to 64)"),
    ],
)
def test_a_stream_that_is_not_supported_is_refused(rate, channels, message):
    with pytest.raises(UserError) as caught:
        Plan(chain(Node("amp", Amp)), rate, 16, channels)
    assert str(caught.value) == message


def test_a_block_without_samples_is_refused():
    with pytest.raises(UserError, match="blocks of 0 samples"):
        Plan(chain(Node("amp", Amp)), RATE, 0, 2)


def test_ports_of_other_widths_are_refused():
    with pytest.raises(UserError) as caught:
        Plan(chain(Node("mono", Mono), Node("amp", Amp)), RATE, 16, 2)
    assert str(caught.value) == "mono.out has 1 channels, amp.in takes 2: connect another port"
    plan = Plan(chain(Node("mono", Mono)), RATE, 16, 2)
    assert play(plan, noise(2, 100))["main"].shape == (1, 100)


@pytest.mark.parametrize("shape", [(2, 15), (1, 16), (16,)])
def test_a_block_of_another_shape_is_refused(shape):
    plan = Plan(chain(Node("amp", Amp)), RATE, 16, 2)
    with pytest.raises(ValueError, match="want"):
        plan.process(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match="want"):
        plan.process(np.zeros((2, 16)))


@pytest.mark.parametrize(
    ("path", "setting", "message"),
    [
        ("apm.level", 1.0, "no node 'apm', did you mean 'amp'? (amp, nest"),
        ("amp.lvl", 1.0, "amp: no parameter 'lvl', did you mean 'level'? (level, jump, gain, mode)"),
        ("amp.level", 5.0, "amp: level=5 is out of range (0 to 4)"),
        ("amp.level", float("nan"), "amp: level=nan is out of range (0 to 4)"),
        ("amp.level", "loud", "amp: level='loud' is not a number (0 to 4)"),
        ("amp.mode", "hard", "amp.mode is fixed while sound runs: set it before starting"),
        ("nest.hop", 16, "nest.hop is fixed while sound runs: set it before starting"),
        ("nest.levle", 1.0, "nest: no parameter 'levle', did you mean 'level'? (level, hop)"),
        ("nest.level", 9.0, "nest: level=9 is out of range (0 to 4)"),
        ("nest/pair.samples", 2, "nest/pair.samples is fixed while sound runs: set it before starting"),
        ("level", 1.0, "'level' is not of the form 'node.parameter'"),
        ("nest/pair/in.level", 1.0, "no node 'nest/pair/in'"),
    ],
)
def test_a_parameter_that_cannot_be_set_is_refused(path, setting, message):
    plan = Plan(chain(Node("amp", Amp), Node("nest", Nest)), RATE, 16, 2)
    with pytest.raises(UserError) as caught:
        plan.set(path, setting)
    assert str(caught.value).startswith(message)


def test_unknown_nodes_are_refused():
    plan = Plan(chain(Node("amp", Amp)), RATE, 16, 2)
    for control in (plan.bypass, plan.mute, plan.solo, plan.rearm):
        with pytest.raises(UserError, match="no node 'ampl', did you mean 'amp'"):
            control("ampl")


def test_more_changes_than_fit_are_refused_and_those_before_take_effect():
    plan = Plan(chain(Node("amp", Amp)), RATE, 16, 1)
    sent, ones = 0, np.ones((1, 16), np.float32)
    while plan._main.events.writable >= executor.EVENT_WORDS:
        plan.set("amp.jump", sent % 5 / 2)
        sent += 1
    assert sent >= COMMANDS
    with pytest.raises(UserError, match="changes wait for the next block"):
        plan.set("amp.jump", 4.0)
    last = (sent - 1) % 5 / 2
    while sent > 0:  # What waits is more than one block takes up.
        out = plan.process(ones)["main"].copy()
        sent -= executor.PENDING_EVENTS
    np.testing.assert_array_equal(out, np.float32(last) * ones)
    plan.set("amp.jump", 1.0)
    np.testing.assert_array_equal(plan.process(ones)["main"], ones)


# ------------------------------------------------------------------------------------------- events


def blend(wet, dry, share):
    """The crossfade: ``share`` of the wet signal."""
    return np.where(share == 1.0, wet, (dry + share * (wet - dry)).astype(np.float32))


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([1, 7, 16, 64, 600]),
    st.lists(st.tuples(st.integers(0, 150), st.sampled_from(["level", "jump", "gain"]), st.integers(0, 4))),
)
def test_ramps_begin_at_their_positions(block, events):
    """Any events in a row: the closed form, bit for bit unless they find others under way.

    And then to the last bit of a float, and the same bits in every block size.
    """
    plan, at = Plan(chain(Node("amp", Amp)), RATE, block, 1), 0
    whole = Plan(chain(Node("amp", Amp)), RATE, 600, 1)
    sent = {"level": [], "jump": [], "gain": []}
    lengths = {"level": FADE, "jump": 0, "gain": 2 * FADE}
    for gap, name, step in events:
        at += gap
        for each in (plan, whole):
            each.set(f"amp.{name}", -6.0 * step if name == "gain" else step / 2, at)
        sent[name].append((at, 10 ** (-0.3 * step) if name == "gain" else step / 2, lengths[name]))
    level, jump, gain = (ramps(1.0, sent[name], 600) for name in sent)
    expected = noise(1, 600) * (level * jump * gain).astype(np.float32)
    played = play(plan, noise(1, 600))["main"]
    np.testing.assert_array_equal(played, play(whole, noise(1, 600))["main"])
    if any(map(turning, sent.values())):
        np.testing.assert_allclose(played, expected, rtol=2.5e-7, atol=1e-12)
    else:
        np.testing.assert_array_equal(played, expected)


def test_events_need_not_be_sent_in_order():
    a, b = (Plan(chain(Node("amp", Amp)), RATE, 64, 1) for _ in range(2))
    events = [(10, 2.0), (11, 0.5), (300, 1.5), (301, 0.0), (302, 0.25)]
    for at, target in events:
        a.set("amp.level", target, at)
    for at, target in reversed(events):
        b.set("amp.level", target, at)
    np.testing.assert_array_equal(play(a, noise(1, 500))["main"], play(b, noise(1, 500))["main"])


@pytest.mark.parametrize("at", [-1, 0, 5, 127, 128])
def test_late_events_take_effect_with_the_next_block(at):
    plan = Plan(chain(Node("amp", Amp)), RATE, 64, 2)
    first = play(plan, noise(2, 128))["main"]
    plan.set("amp.level", 0.25, at)
    second = play(plan, noise(2, 192, 1))["main"]
    np.testing.assert_array_equal(first, noise(2, 128))
    level = ramps(1.0, [(0, 0.25, FADE)], 192).astype(np.float32)
    np.testing.assert_array_equal(second, noise(2, 192, 1) * level)


@pytest.mark.parametrize("block", [5, 16, 24, 64])
@pytest.mark.parametrize(("at", "effective"), [(0, 0), (1, 16), (16, 16), (100, 112), (111, 112), (112, 112)])
def test_events_of_a_hop_node_wait_for_its_hop(block, at, effective):
    plan = Plan(chain(Node("flip", Flip)), RATE, block, 2)
    plan.set("flip.level", 0.5, at)
    plan.bypass("flip", at=at + 160)
    signal = noise(2, 480)
    level = ramps(1.0, [(effective, 0.5, FADE)], 480).astype(np.float32)
    hops = signal.reshape(2, -1, 16)[:, :, ::-1].reshape(2, -1)
    wet, dry = delayed(hops * level, plan.latency), delayed(signal, plan.latency)
    share = ramps(1.0, [(at + 160 + plan.latency, 0.0, FADE)], 480)
    np.testing.assert_array_equal(play(plan, signal)["main"], blend(wet, dry, share))


def test_the_block_size_changes_nothing_but_the_latency():
    """Hops behind hops, changes at positions, a source and a kernel that counts its calls: the same bits."""
    hops = {"first": 6, "second": 16, "third": 10}
    edges = [
        "in -> first",
        "tone -> first",
        "first -> second",
        "second -> third",
        "third -> amp",
        "amp -> out",
    ]
    signal, played = noise(2, 700), {}
    for block in (1, 5, 16, 48, 128):
        nodes = [Node(name, Flip, {"hop": hop}) for name, hop in hops.items()]
        plan = Plan(Graph([Node("tone", Tone), *nodes, Node("amp", Amp)], edges), RATE, block, 2)
        for name in ("first", "second", "third", "amp"):
            plan.set(f"{name}.level", 0.5, at=123)
            plan.bypass(name, at=201)
            plan.bypass(name, on=False, at=350)
        plan.mute("amp", at=450)
        end = plan.latency + 500
        played[block] = play(plan, np.pad(signal, ((0, 0), (0, 200))))["main"][:, plan.latency : end]
    for block, got in played.items():
        np.testing.assert_array_equal(got, played[1], err_msg=f"blocks of {block}")


@pytest.mark.parametrize("path", ["nest.level", "nest/pair.level", "nest/pair/amp.level"])
def test_a_parameter_of_a_composite_reaches_the_node_inside(path):
    plan = Plan(chain(Node("nest", Nest)), RATE, 16, 1)
    plan.set(path, 2.0, 0)
    expected, _ = meant(chain(Node("nest", Nest, {"level": 2.0})), noise(1, 480), 16)
    np.testing.assert_array_equal(play(plan, noise(1, 480))["main"][:, 200:], expected["main"][:, 200:])


def test_events_far_ahead_do_not_hold_up_the_others():
    plan = Plan(chain(Node("amp", Amp)), RATE, 64, 1)
    plan.set("amp.level", 3.0, 10_000)
    plan.set("amp.jump", 0.5)
    ones = np.ones((1, 640), np.float32)
    np.testing.assert_array_equal(play(plan, ones)["main"], 0.5 * ones)


# ------------------------------------------------------------------------------------- bypass, mute, solo


def everything():
    """A graph of every kind of node, with a second output."""
    nodes = [
        *(Node("amp", Amp, {"gain": -3.0}), Node("lag", Lag, {"samples": 21}), Node("split", Split)),
        *(Node("duck", Duck), Node("flip", Flip), Node("nest", Nest), Node("pair", Pair), Node("tone", Tone)),
    ]
    edges = [
        "in -> amp",
        "amp -> lag",
        "amp -> split",
        "split.low -> duck",
        "lag -> duck.key",
        "duck -> flip",
    ]
    edges += ["flip -> nest", "nest.side -> pair", "nest.out -> out", "pair -> out", "tone -> out"]
    return Graph(nodes, [*edges, "split.high -> out.aux", "lag -> out.aux"])


@pytest.mark.parametrize("switch", ["bypass", "mute", "solo"])
@pytest.mark.parametrize("name", everything().nodes)
def test_a_switch_changes_nothing_before_its_fade_and_all_after(name, switch):
    """After the fade the plan plays what the switched graph means: on bypass the delayed input, exactly."""
    graph, switched = everything(), everything()
    setattr(switched.nodes[name], switch, True)
    signal = noise(2, 1000)
    plan = Plan(graph, RATE, 48, 2)
    getattr(plan, switch)(name, at=203)
    getattr(plan, switch)(name, on=False, at=603)
    played = play(plan, signal)
    off, latency = meant(everything(), signal, 48)
    on, _ = meant(switched, signal, 48)
    hops = 16 + 8  # So much earlier does a hop hear of what comes later in it.
    over = FADE + latency + hops
    for output, got in played.items():
        assert np.isfinite(got).all()
        np.testing.assert_array_equal(got[:, : 203 - hops], off[output][:, : 203 - hops])
        np.testing.assert_array_equal(got[:, 203 + over : 603 - hops], on[output][:, 203 + over : 603 - hops])
        np.testing.assert_array_equal(got[:, 603 + over : -hops], off[output][:, 603 + over : -hops])
    same = all(np.array_equal(on[output], off[output]) for output in played)
    assert same == ((name, switch) == ("lag", "bypass"))


@pytest.mark.parametrize("block", [7, 64, 500])
def test_fades_have_their_closed_form(block):
    signal, lag = noise(2, 500), delayed(noise(2, 500), 11)
    graph = chain(Node("lag", Lag, {"samples": 11}), Node("amp", Amp, {"level": 0.25}))
    plan = Plan(graph, RATE, block, 2)
    plan.bypass("amp", at=100)
    plan.bypass("amp", on=False, at=130)
    plan.mute("lag", at=300)
    # The changes wait for the sample that they were sent for, which comes 11 samples late.
    share = ramps(1.0, [(111, 0.0, FADE), (141, 1.0, FADE)], 500)
    heard = lag * ramps(1.0, [(311, 0.0, FADE)], 500).astype(np.float32)
    expected = blend(heard * np.float32(0.25), heard, share)
    played = play(plan, signal)["main"]
    np.testing.assert_allclose(played, expected, rtol=0, atol=2**-23)
    once = np.r_[0:141, 141 + FADE : 500]
    np.testing.assert_array_equal(played[:, once], expected[:, once])
    assert not expected[:, 311 + FADE :].any()


def test_mute_and_solo_leave_running_fades_of_others_alone():
    graph = Graph(
        [Node("a", Amp), Node("b", Amp), Node("c", Amp)],
        [*(f"in -> {name}" for name in "abc"), *(f"{name} -> out.{name}" for name in "abc")],
    )
    plan = Plan(graph, RATE, 64, 1)
    plan.mute("a", at=10)
    plan.mute("b", at=40)
    plan.solo("c", at=50)
    played = play(plan, np.ones((1, 200), np.float32))
    np.testing.assert_array_equal(played["a"][0], ramps(1.0, [(10, 0.0, FADE)], 200).astype(np.float32))
    np.testing.assert_array_equal(played["b"][0], ramps(1.0, [(40, 0.0, FADE)], 200).astype(np.float32))
    assert (played["c"] == 1).all()


def test_a_bypassed_node_spreads_one_channel_over_all_and_drops_none():
    class Widen(Amp):
        id = "widen"
        inputs = (Port("in", 1),)

    def first(plan):
        return play(plan, noise(plan.channels, 64))["main"]

    narrow = Graph(
        [Node("mono", Mono), Node("widen", Widen, bypass=True)],
        ["in -> mono", "mono -> widen", "widen -> out"],
    )
    np.testing.assert_array_equal(
        first(Plan(narrow, RATE, 16, 2)), 3 * np.repeat(noise(2, 64)[:1], 2, axis=0)
    )
    # Two channels do not fit into one: silence rather than half of the sound.
    assert not first(Plan(chain(Node("mono", Mono, bypass=True)), RATE, 16, 2)).any()


# ------------------------------------------------------------------------------------------- failures


def declicked(wet, dry, begin):
    """``wet``, from ``begin`` on ``dry``; the step between them decays from there."""
    step = wet[:, begin - 1] - dry[:, begin - 1] if begin else np.zeros(len(wet), np.float32)
    fall = (1.0 - smoothstep(np.arange(wet.shape[1]), begin, FALL)).astype(np.float32)
    return np.where(np.arange(wet.shape[1]) < begin, wet, dry + step[:, None] * fall)


@pytest.mark.parametrize("how", ["status", "nan", "inf"])
@pytest.mark.parametrize(("fault", "block"), [(1000, 64), (1000, 1000), (1000, 7), (3, 64), (64, 64), (1, 1)])
def test_a_failed_node_plays_its_input_from_that_block_on(how, fault, block):
    """Nothing of the block that failed is heard, the step decays over 5 ms, and the node is counted."""
    faulty = Node("faulty", Faulty, {"fault": fault, "how": how})
    edges = ["in -> faulty", "faulty -> out", "in -> amp", "amp -> lag", "lag -> out.other"]
    graph = Graph([faulty, Node("amp", Amp), Node("lag", Lag, {"samples": 5})], edges)
    plan, signal = Plan(graph, RATE, block, 2), noise(2, 1500)
    played = play(plan, signal)
    begin = fault // block * block
    expected = declicked(np.float32(-0.5) * signal, signal, begin)
    np.testing.assert_array_equal(played["main"], delayed(expected, 5))
    np.testing.assert_array_equal(played["other"], delayed(signal, 5))
    assert plan.failed() == ["faulty"]
    counted = plan.statistics()["nodes"]
    status = 3 if how == "status" else 0
    assert counted["faulty"] | {"failures": 1, "failed_at": begin, "status": status} == counted["faulty"]
    assert counted["amp"]["failures"] == counted["lag"]["failures"] == 0


def test_a_failure_during_a_fade_leaves_nothing_that_is_not_finite():
    for switch in (Plan.mute, Plan.bypass):
        plan = Plan(chain(Node("faulty", Faulty, {"fault": 200, "how": "nan"})), RATE, 64, 2)
        switch(plan, "faulty", at=190)
        played = play(plan, noise(2, 500))["main"]
        assert plan.failed() == ["faulty"]
        assert np.isfinite(played).all()
        assert np.abs(played).max() < 2.5


def test_a_failure_of_a_bypassed_node_is_not_heard():
    plan = Plan(chain(Node("faulty", Faulty, {"fault": 200, "how": "nan"}, bypass=True)), RATE, 64, 2)
    np.testing.assert_array_equal(play(plan, noise(2, 500))["main"], noise(2, 500))
    assert plan.failed() == ["faulty"]


def test_a_rearmed_node_fades_in():
    plan, signal = Plan(chain(Node("faulty", Faulty, {"fault": 100})), RATE, 64, 2), noise(2, 1000)
    played = play(plan, signal[:, :512])["main"]
    plan.rearm("faulty")
    plan.rearm("faulty")
    assert plan.failed() == []
    played = np.hstack([played, play(plan, signal[:, 512:])["main"]])
    dry, wet = signal, np.float32(-0.5) * signal
    share = ramps(0.0, [(512, 1.0, FADE)], 1000)
    np.testing.assert_array_equal(played[:, 512:], blend(wet, dry, share)[:, 512:])
    assert plan.failed() == []
    assert plan.statistics()["nodes"]["faulty"]["failures"] == 1


@pytest.mark.parametrize("block", [16, 64, 100])
def test_failing_and_rearming_are_not_heard_where_fallback_and_output_agree(block):
    """A delay fails: its fallback is the same. Re-armed, it is heard only once its new state has filled."""
    plan, signal = (
        Plan(chain(Node("lag", FaultyLag, {"samples": 150, "fault": 200})), RATE, block, 2),
        noise(2, 2000),
    )
    played = [play(plan, signal[:, : 6 * block + 200 // block * block])["main"]]
    assert plan.failed() == ["lag"]
    plan.rearm("lag")
    played.append(play(plan, signal[:, plan.position :])["main"])
    assert plan.failed() == []
    np.testing.assert_array_equal(np.hstack(played), delayed(signal, 150))


def test_a_hop_node_fails_and_comes_back_at_a_hop():
    plan, signal = Plan(chain(Node("hop", FaultyHop, {"fault": 200})), RATE, 24, 2), noise(2, 960)
    assert plan.latency == 8
    played = [play(plan, signal[:, :408])["main"]]
    assert plan.statistics()["nodes"]["hop"]["failed_at"] == 192  # The hop from 192 is complete at 208.
    plan.rearm("hop")
    played.append(play(plan, signal[:, 408:])["main"])
    dry = delayed(signal, 8)
    wet = np.float32(-0.5) * dry
    share = ramps(0.0, [(416 + 8, 1.0, FADE)], 960)
    expected = np.hstack([declicked(wet, dry, 192)[:, :408], blend(wet, dry, share)[:, 408:]])
    np.testing.assert_array_equal(np.hstack(played), expected)


def test_rearming_a_node_that_has_not_failed_changes_nothing():
    plan, signal = Plan(chain(Node("lag", Lag, {"samples": 40})), RATE, 64, 2), noise(2, 640)
    played = play(plan, signal[:, :320])["main"]
    plan.rearm("lag")
    played = np.hstack([played, play(plan, signal[:, 320:])["main"]])
    np.testing.assert_array_equal(played, delayed(signal, 40))


@pytest.mark.parametrize("on", [True, False])
def test_switching_the_bypass_of_a_failed_node_waits_for_its_rearming(on):
    plan, signal = (
        Plan(chain(Node("faulty", Faulty, {"fault": 0}, bypass=not on)), RATE, 64, 2),
        noise(2, 640),
    )
    play(plan, signal[:, :320])
    plan.bypass("faulty", on)
    np.testing.assert_array_equal(play(plan, signal[:, 320:])["main"], signal[:, 320:])
    plan.rearm("faulty")
    faded = blend(np.float32(-0.5) * signal, signal, ramps(0.0, [(0, 1.0, FADE)], 640))
    np.testing.assert_array_equal(play(plan, signal)["main"], signal if on else faded)


def test_a_node_inside_a_composite_fails_and_is_rearmed_by_its_full_name():
    plan, signal = Plan(chain(Node("case", Case)), RATE, 64, 2), noise(2, 640)
    played = play(plan, np.hstack([signal, signal]))["main"]
    assert plan.failed() == ["case/faulty"]
    np.testing.assert_array_equal(played[:, 1100:], np.float32(0.5) * signal[:, 1100 - 640 :])
    plan.rearm("case/faulty")
    played = play(plan, signal)["main"]
    np.testing.assert_array_equal(played[:, FADE:], np.float32(0.5) * (np.float32(-0.5) * signal[:, FADE:]))


# ------------------------------------------------------------------------------------------- input


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 199), st.sampled_from([np.nan, np.inf, -np.inf])))
)
def test_samples_that_are_not_finite_are_replaced_and_counted_at_entry(places):
    graph = Graph([Node("lag", Lag, {"samples": 3})], ["in -> lag", "lag -> out", "in -> out"])
    plan, signal, clean = Plan(graph, RATE, 50, 2), noise(2, 200), noise(2, 200)
    for c, i, bad in places:
        signal[c, i], clean[c, i] = bad, 0.0
    played = play(plan, signal)["main"]
    np.testing.assert_array_equal(played, np.float32(2) * delayed(clean, 3))
    assert plan.statistics()["non_finite_replaced"] == len({place[:2] for place in places})
    assert plan.failed() == []


def test_samples_too_loud_to_be_sound_are_replaced_and_counted():
    """Two paths of a graph could not be summed if they carried them."""
    block = np.full((1, 16), np.finfo(np.float32).max)
    block[0, 3:] = 0.5
    plan = Plan(Graph([Node("half", Half)], ["in -> half", "half -> out", "in -> out"]), RATE, 16, 1)
    assert plan.process(block)["main"][0].tolist() == [0.0] * 3 + [0.75] * 13
    assert plan.statistics()["non_finite_replaced"] == 3


def test_the_largest_finite_samples_pass():
    largest = np.full((1, 16), executor.LOUDEST)
    plan = Plan(chain(Node("half", Half)), RATE, 16, 1)
    np.testing.assert_array_equal(plan.process(-largest)["main"], -largest / 2)
    assert plan.statistics()["non_finite_replaced"] == 0


@compiled
def product(a, b):
    return a * b


@compiled
def float_mode():
    mode = flush_denormals()
    restore_float_mode(mode)
    return mode


DENORMAL, SMALL = np.float32(1e-39), np.float32(1.5e-38)
"""A number below the normal ones of float32, and one whose half is."""


def test_denormals_are_flushed_inside_and_only_there():
    plan, before = Plan(chain(Node("half", Half)), RATE, 16, 1), float_mode()
    for tiny in (DENORMAL, SMALL, -SMALL):
        assert product(tiny, np.float32(0.5)) != 0
        assert not plan.process(np.full((1, 16), tiny, np.float32))["main"].any()
        assert product(tiny, np.float32(0.5)) != 0
        assert float_mode() == before


# ------------------------------------------------------------------------------------------- device callback


def call_device(plan, signal, frames):
    """What the callback plays for a (channels, samples) signal, ``frames`` samples a call."""
    return play_calls(Stream(plan, frames), signal.T, [frames] * (signal.shape[1] // frames)).T


def automate(plan):
    """Events of every kind."""
    plan.set("amp.level", 0.3, 70)
    plan.set("nest.level", 1.5, 200)
    plan.bypass("pair", at=333)
    plan.mute("tone", at=401)
    plan.solo("lag", at=500)


@pytest.mark.parametrize("blocks", [1, 2, 5])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_device_callback_plays_what_process_plays(channels, blocks):
    signal = noise(channels, 1440)
    signal[0, [5, 100, 101]] = np.nan, np.inf, DENORMAL
    offline, live = (Plan(everything(), RATE, 48, channels, offline=kind) for kind in (True, False))
    automate(offline)
    automate(live)
    expected = play(offline, signal)["main"]
    np.testing.assert_array_equal(call_device(live, signal, 48 * blocks), expected)
    statistics = live.statistics()
    assert statistics["callbacks"] == 1440 // (48 * blocks)
    assert statistics["blocks"] == 1440 // 48
    assert statistics["unfit_samples"] == 0
    assert statistics["non_finite_replaced"] == offline.statistics()["non_finite_replaced"] == 2
    assert statistics["over_full_scale"] == np.sum(np.abs(expected) > 1)
    assert live.position == offline.position == 1440


def test_denormals_are_the_same_live_and_offline():
    rng = np.random.default_rng(0)
    signal = (noise(2, 640) * 10.0 ** rng.uniform(-46, 0, (2, 640))).astype(np.float32)
    offline, live = (Plan(everything(), RATE, 64, 2, offline=kind) for kind in (True, False))
    automate(offline)
    automate(live)
    assert np.sum((signal != 0) & (np.abs(signal) < np.finfo(np.float32).tiny)) > 50
    expected = play(offline, signal)["main"]
    assert call_device(live, signal, 128).tobytes() == np.ascontiguousarray(expected).tobytes()


def test_the_callback_gives_its_caller_the_float_mode_back():
    plan, before = Plan(chain(Node("half", Half)), RATE, 16, 1), float_mode()
    call_device(plan, noise(1, 64), 16)
    assert float_mode() == before
    restore_float_mode(before)
    mode = flush_denormals()
    try:
        flushing = float_mode()
        call_device(plan, noise(1, 64), 16)
        assert float_mode() == flushing
    finally:
        restore_float_mode(mode)
    assert float_mode() == before


def test_a_device_without_input_gives_silence():
    plan = Plan(Graph([Node("tone", Tone)], ["tone -> out", "in -> out"]), RATE, 16, 2)
    expected, _ = Tone().truth({}, (2, 32), 16)
    np.testing.assert_array_equal(call(Stream(plan), None, 32).T, expected["out"])


# ------------------------------------------------------------------------------------------- reports


@pytest.mark.parametrize("offline", [False, True])
def test_kernels_see_the_position_the_rate_and_whether_it_is_offline(offline):
    plan = Plan(chain(Node("witness", Witness)), 44_100, 64, 2, offline)
    for at in (10, 63, 64, 65, 150):
        plan.set("witness.any", 0.5, at)
    played = play(plan, noise(2, 256))["main"]
    np.testing.assert_array_equal(played, np.array([np.arange(256), [44_100] * 256, [offline] * 256]))


def test_statistics_count_every_block_of_every_node():
    plan = Plan(everything(), RATE, 48, 2)
    play(plan, noise(2, 480))
    statistics = plan.statistics()
    assert {*statistics["nodes"]} == {
        *everything().nodes,
        *(f"nest/{name}" for name in ("flip", "split", "pair")),
    } | {*("pair/lag", "pair/amp", "nest/pair/lag", "nest/pair/amp")}
    assert statistics["blocks"] == 10
    assert (statistics["rate"], statistics["block"], statistics["channels"]) == (RATE, 48, 2)
    delays = {"lag": 21, "pair/lag": 3, "nest/pair/lag": 3}
    assert statistics["latency"] == {"total": plan.latency, **delays}
    for times in statistics["nodes"].values():
        assert 0 < times["p50"] <= times["p99"] <= times["max"]
    for name in statistics["nodes"]:
        assert plan.counters.section(name)[NODE_TIMES:].sum() == 10


@given(st.lists(st.integers(8, 10**11), min_size=1))
def test_percentiles_of_the_time_histogram_are_within_a_sixteenth(times):
    histogram = np.zeros(TIME_BINS, np.int64)
    for ns in times:
        histogram[time_bin(ns)] += 1
    report = times_us(histogram, max(times))
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        true = np.quantile(times, share, method="inverted_cdf") / 1e3
        assert abs(report[name] - true) <= true / 16 + 0.006
    assert report["max"] == round(max(times) / 1e3, 2)


def test_an_empty_time_histogram_is_all_zeros():
    assert times_us(np.zeros(TIME_BINS, np.int64), 0) == {"p50": 0.0, "p99": 0.0, "max": 0.0}


# ------------------------------------------------------------------------------------------- clicks


def above_12_khz(signal):
    """Energy above 12 kHz, relative to all, in dB, through a 4-term Blackman-Harris window; at 48 kHz."""
    spectrum = np.abs(np.fft.rfft(signal * blackmanharris(signal.shape[0], sym=False))) ** 2
    return 10 * np.log10(spectrum[signal.shape[0] // 4 :].sum() / spectrum.sum())


def around_change(graph, change, frequency, at):
    """Energy above 12 kHz around a change of a plan that plays a sine."""
    plan = Plan(graph, 48_000, 128, 1)
    change(plan, at)
    sine = 0.5 * np.sin(2 * np.pi * frequency * np.arange(8192) / 48_000)
    heard = play(plan, sine[None].astype(np.float32))["main"][0]
    return above_12_khz(heard[at - 1800 : at + 2296].astype(np.float64))


def beside(**flags):
    """Two nodes side by side."""
    return Graph([Node("a", Amp, **flags), Node("b", Amp)], ["in -> a", "in -> b", "a -> out", "b -> out"])


SILENCED = {
    "nothing": (lambda: chain(Node("a", Amp)), lambda plan, at: None),
    "gain to half": (lambda: chain(Node("a", Amp)), lambda plan, at: plan.set("a.level", 0.5, at)),
    "gain up 20 dB": (lambda: chain(Node("a", Amp)), lambda plan, at: plan.set("a.gain", 20.0, at)),
    "gain to silence": (lambda: chain(Node("a", Amp)), lambda plan, at: plan.set("a.level", 0.0, at)),
    "mute": (lambda: chain(Node("a", Amp)), lambda plan, at: plan.mute("a", at=at)),
    "unmute": (lambda: chain(Node("a", Amp, mute=True)), lambda plan, at: plan.mute("a", False, at)),
    "solo": (beside, lambda plan, at: plan.solo("a", at=at)),
    "end of solo": (lambda: beside(solo=True), lambda plan, at: plan.solo("a", False, at)),
    "bypass": (lambda: chain(Node("a", Amp, {"level": 0.25})), lambda plan, at: plan.bypass("a", at=at)),
    "end of bypass": (
        lambda: chain(Node("a", Amp, {"level": 0.25}, bypass=True)),
        lambda plan, at: plan.bypass("a", False, at),
    ),
    "bypass of a composite": (lambda: chain(Node("a", Pair)), lambda plan, at: plan.bypass("a", at=at)),
    "end of bypass of a composite": (
        lambda: chain(Node("a", Pair, bypass=True)),
        lambda plan, at: plan.bypass("a", False, at),
    ),
}


def to_and_fro(switch, times):
    """A switch that is turned on and off, some samples apart: each fade begins within the one before."""

    def act(plan, at):
        for number in range(len(times) + 1):
            switch(plan, number % 2 == 0, at + sum(times[:number]))

    return act


FAST = {
    "bypass": lambda plan, on, at: plan.bypass("a", on, at),
    "mute": lambda plan, on, at: plan.mute("a", on, at),
    "solo": lambda plan, on, at: plan.solo("b", on, at),
    "gain": lambda plan, on, at: plan.set("a.gain", -60.0 if on else 0.0, at),
}
for name, switch in FAST.items():
    SILENCED[f"{name} to and fro"] = (
        lambda: Graph(
            [Node("a", Amp, {"level": 0.25}), Node("b", Amp)],
            ["in -> a", "in -> b", "a -> out", "b -> out"],
        ),
        to_and_fro(switch, [200, 47, 333, 0, 0, 5, 144]),
    )


@pytest.mark.parametrize("change", SILENCED)
@pytest.mark.parametrize("frequency", [100, 1000])
@pytest.mark.parametrize("at", [4096, 4108, 4200])
def test_no_change_clicks(change, frequency, at):
    make, act = SILENCED[change]
    assert around_change(make(), act, frequency, at) <= -110


def test_a_jump_without_a_ramp_clicks():
    """The foil: what the measure above says about a step."""
    jump = around_change(
        chain(Node("a", Amp)), lambda plan, at: plan.set("a.jump", 0.0, at), 1000, 4096 + 240
    )
    assert -36 < jump < -30


def test_a_sum_of_finite_samples_is_finite():
    """31 nodes of 20 dB, and the one before the last beside them: 3.4e38 + 3.4e37."""
    nodes = [Node(f"a{number}", Amp, {"gain": 20.0}) for number in range(31)]
    edges = ["in -> a0", *(f"a{n} -> a{n + 1}" for n in range(30)), "a30 -> out", "a29 -> out"]
    plan = Plan(Graph(nodes, edges), RATE, 16, 1)
    block = np.full((1, 16), 3.4e7, np.float32)
    played = plan.process(block)["main"]
    assert np.isfinite(played).all()
    assert played.min() == np.finfo(np.float32).max
    assert not plan.failed()


@pytest.mark.parametrize("switch", ["mute", "solo"])
def test_a_switch_that_finds_no_room_changes_nothing(switch):
    plan = Plan(beside(), RATE, 16, 1)
    with suppress(UserError):
        for _ in range(2 * COMMANDS):
            plan.set("a.level", 0.5)
    with pytest.raises(UserError, match="send them later"):
        getattr(plan, switch)("a")
    assert not getattr(plan.graph.nodes["a"], switch)
