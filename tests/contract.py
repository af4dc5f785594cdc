"""The processor contract as plain checks: each takes a `Case`, and fails with `AssertionError` where it is
broken.

`test_contract.py` runs them on every registered engine, `test_contract_bites.py` on processors that are
broken on purpose. Nothing here knows an engine: what to set is read from its declarations.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import math
import re
import tempfile
import tomllib
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
import numpy as np
import streaming_models
from numba.core.runtime import _nrt_python
from numpy.typing import NDArray

from rtaudio.errors import UserError
from rtaudio.graph import Composite, Engine, Graph, Node, engine_of, parameters_of
from rtaudio.kernel import addresses, channel, kernel, turn
from rtaudio.native import call_kernel, compiled, f64_vector, flush_denormals, i64_vector, restore_float_mode
from rtaudio.plan import Plan
from rtaudio.processor import MAXIMUM_CHANNELS, RATES, Block, Parameter, Port, Processor, Value
from rtaudio.routing import Reblock

RATE = 48_000
BLOCKS = (1, 17, 64, 128, 441, 480, 512, 1024, 8193)
FEW_BLOCKS = (17, 441, 512, 8193)
"""The block sizes that the architecture names, and some of them; a random mixture comes in addition."""
SPAN = 2 * max(BLOCKS) + 777
"""Samples that are compared, beyond the latency: two of the largest blocks and a part."""
LONGEST_TAIL = 32_000
MOST_LATENCY, MOST_STATE = RATE, 20_000
"""Of settings at random: samples, and bytes for every sample of a hop."""
SILENT_TAIL = 1e-5
"""-100 dBFS."""
GROUP = "rtaudio.engines"
SCALES = ("linear", "integer", "log", "dB", "choice", "text")
STEADY_CALLS = 2000

# ------------------------------------------------------------------------------------------ engines, settings


def registered() -> dict[str, str]:
    """``module:attribute`` of every registered engine by name: entry points, and those of this checkout."""
    found: dict[str, str] = {}
    project = Path(__file__).parents[1] / "pyproject.toml"
    if project.exists():
        declared = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        found |= declared.get("entry-points", {}).get(GROUP, {})
    return found | {entry.name: entry.value for entry in entry_points(group=GROUP)}


def load(name: str) -> Engine:
    """The class of a registered engine; one that takes a model and has none, with one."""
    module, _, attribute = registered()[name].partition(":")
    engine: Engine = getattr(importlib.import_module(module), attribute)
    takes_model = any(
        parameter.id == "model" and not parameter.default for parameter in parameters_of(engine)
    )
    return engine_of(engine, {"model": str(streaming_models.any_model())}) if takes_model else engine


@dataclass(frozen=True)
class Case:
    """An engine with its settings."""

    engine: Engine
    values: Mapping[str, Value] = field(default_factory=dict)
    label: str = "defaults"

    def __str__(self) -> str:
        return f"{self.engine.id}-{self.label}"

    def make(self) -> Processor | Composite:
        return self.engine(**self.values)

    @property
    def is_source(self) -> bool:
        return not self.engine.inputs

    @property
    def at_unity(self) -> bool:
        """Whether the outputs must sum to the delayed input."""
        unity = self.engine.unity
        return unity is not None and self.make().values == Case(self.engine, unity).make().values

    @property
    def rate(self) -> int:
        accepted = [set(made.rates) for made in processors(self) if made.rates is not None]
        common = set.intersection(*accepted) if accepted else {RATE}
        return RATE if RATE in common else min(common)


def processors(case: Case) -> list[Processor]:
    """A new instance of the case's processor, or of all those inside a composite."""
    made = case.make()
    if isinstance(made, Composite):
        return [
            inner
            for node in made.graph.nodes.values()
            for inner in processors(Case(node.engine, node.values, case.label))
        ]
    return [made]


def inner_cases(case: Case) -> list[Case]:
    """The case itself, or those of the processors inside a composite, without repetitions."""
    if not issubclass(case.engine, Composite):
        return [case]
    found: list[Case] = []
    made = case.make()
    assert isinstance(made, Composite)
    for node in made.graph.nodes.values():
        found += [
            inner for inner in inner_cases(Case(node.engine, node.values, case.label)) if inner not in found
        ]
    return found


def valid(engine: Engine, values: Mapping[str, Value]) -> bool:
    """Whether the engine takes the values; it must say `UserError` where it does not."""
    try:
        engine(**values)
    except UserError:
        return False
    return True


def random_value(rng: np.random.Generator, parameter: Parameter) -> Value:
    """Any value of a parameter's range, its ends more often."""
    low, high = parameter.minimum, parameter.maximum
    if parameter.scale == "choice":
        return str(rng.choice(parameter.choices))
    if parameter.scale == "text":
        return parameter.default
    if rng.random() < 0.2:
        return float(rng.choice([low, high]))
    if parameter.scale == "integer":
        return float(rng.integers(int(low), int(high) + 1))
    if parameter.scale == "log":
        return min(max(float(np.exp(rng.uniform(math.log(low), math.log(high)))), low), high)
    return float(rng.uniform(low, high))


def light(made: Processor | Composite) -> bool:
    """Whether a setting is checked in seconds: it is not late by more than a second, and has no more state
    than is soon gone through in every hop."""
    if isinstance(made, Composite):
        return all(light(node.make()) for node in made.graph.nodes.values())
    made.rate, made.block, made.fixed, made.channels = RATE, made.hop or max(BLOCKS), made.hop is not None, 2
    state = sum(array.nbytes for array in made.allocate())
    return made.latency <= MOST_LATENCY and state <= MOST_STATE * (made.hop or max(BLOCKS))


def random_case(
    engine: Engine, rng: np.random.Generator, label: str, fixed: Mapping[str, Value]
) -> Case | None:
    """Random valid settings around fixed ones: all parameters at random first, then fewer and fewer of
    them."""
    parameters = [parameter for parameter in parameters_of(engine) if parameter.id not in fixed]
    for attempt in range(1000):
        share = 1.0 - attempt / 1000
        values = {p.id: random_value(rng, p) for p in parameters if rng.random() < share} | dict(fixed)
        if valid(engine, values) and light(engine(**values)):
            return Case(engine, values, label)
    return None


def cases(engine: Engine, random: int = 3) -> list[Case]:
    """Defaults, unity, every choice of every choice parameter at a time (with other settings at random where
    it does not go with the defaults), and random settings."""
    if not valid(engine, {}):
        return []  # `check_declarations` says so.
    rng = np.random.default_rng(zlib.crc32(engine.id.encode()))
    found: list[Case | None] = [Case(engine)]
    if engine.unity is not None:
        found.append(Case(engine, engine.unity, "unity"))
    for parameter in parameters_of(engine):
        for choice in parameter.choices:
            label, values = f"{parameter.id}={choice}", {parameter.id: choice}
            found.append(
                Case(engine, values, label)
                if valid(engine, values)
                else random_case(engine, rng, label, values)
            )
    if parameters_of(engine):
        found += [random_case(engine, rng, f"random{number}", {}) for number in range(random)]
    different: list[Case] = []
    for case in found:
        if case is not None and all(case.make().values != other.make().values for other in different):
            different.append(case)
    return different


def supports(case: Case, channels: int) -> bool:
    """Whether the engine takes that many channels; it must say `UserError` where it does not."""
    try:
        for made in processors(case):
            made.prepare(case.rate, 64 if made.hop is None else made.hop, channels=channels)
    except UserError:
        return False
    return True


# ------------------------------------------------------------------------------------------- signals, running


def sound(channels: int, n: int, seed: int = 1) -> Block:
    """Noise that swells, tones, clicks, and stretches beyond full scale: every channel another."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / RATE
    swell = 0.02 + 0.5 * np.sin(2 * np.pi * 3.1 * t) ** 2
    rows = []
    for c in range(channels):
        x = swell * rng.uniform(-1, 1, n) + 0.4 * np.sin(2 * np.pi * (220 + 70 * c) * t)
        x[rng.integers(0, n, 5)] += 1.5
        rows.append(x)
    return np.array(rows, np.float32).reshape(channels, n)


FEED = (1.0, -0.5, 0.25, -0.125)
"""Gains, exact in float32, that make the signals of several input ports different."""


def _feed_gain(number: int) -> float:
    return FEED[number % len(FEED)]


@kernel
def feed_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    widths = i64_vector(state, 0)
    gain = np.float32(f64_vector(state, 1)[0])
    for c in range(widths[1]):
        x, y = channel(inputs, c % widths[0], n), channel(outputs, c, n)
        for i in range(n):
            y[i] = x[i] * gain
    return 0


@lru_cache
def _feed(width: int | None, gain: float) -> type[Processor]:
    """An engine that repeats the stream's channels on a port of ``width`` and scales them."""

    class Feed(Processor):
        id = "feed"
        outputs = (Port("out", width),)
        KERNEL = feed_kernel

        def allocate(self) -> Sequence[NDArray[Any]]:
            return np.array([self.channels, self.ports(self.outputs)], np.int64), np.array([gain])

    return Feed


def graph_of(case: Case, channels: int, only_first: bool = False) -> Graph:
    """``node`` alone: the stream on its first input and scaled copies (or silence) on the others; every
    output port an output of the graph."""
    nodes = [Node("node", case.engine, dict(case.values))]
    edges = []
    for number, port in enumerate(case.engine.inputs):
        if number == 0 and port.channels in (None, channels):
            edges.append(f"in -> node.{port.name}")
        elif not (only_first and number and port.optional):
            gain = 0.0 if only_first and number else _feed_gain(number)
            nodes.append(Node(f"feed{number}", _feed(port.channels, gain)))
            edges += [f"in -> feed{number}", f"feed{number} -> node.{port.name}"]
    edges += [f"node.{port.name} -> out.{port.name}" for port in case.engine.outputs]
    return Graph(nodes, edges)


def make_plan(case: Case, channels: int, block: int, only_first: bool = False) -> Plan:
    # Offline an engine in Python runs here, as what is compiled does: live, it is tested in `test_processes`.
    here = any(made.in_python for made in processors(case))
    return Plan(graph_of(case, channels, only_first), case.rate, block, channels, offline=here)


def on_ports(processor: Processor, signal: Block, only_first: bool = False) -> Block:
    """What `graph_of` gives the node: the rows of all its input ports."""
    rows = []
    for number, port in enumerate(processor.inputs):
        width = processor.channels if port.channels is None else port.channels
        gain = 0.0 if only_first and number else _feed_gain(number)
        rows += [signal[c % len(signal)] * np.float32(gain) for c in range(width)]
    return np.array(rows, np.float32).reshape(len(rows), signal.shape[1])


def run_plan(
    plan: Plan, case: Case, signal: Block, before_block: Callable[[int], None] | None = None
) -> Block:
    """All outputs of a plan for a signal, which is padded to whole blocks."""
    n = signal.shape[1]
    padded = np.zeros((len(signal), -(-n // plan.block) * plan.block), np.float32)
    padded[:, :n] = signal
    pieces = []
    for at in range(0, padded.shape[1], plan.block):
        if before_block is not None:
            before_block(at)
        outputs = plan.process(np.ascontiguousarray(padded[:, at : at + plan.block]))
        pieces.append(np.concatenate([outputs[port.name] for port in case.engine.outputs]))
    return np.concatenate(pieces, axis=1)[:, :n]


@contextmanager
def flushed() -> Iterator[None]:
    """The executor's floating-point mode: no denormals."""
    mode = flush_denormals()
    try:
        yield
    finally:
        restore_float_mode(mode)


@compiled
def _walk(
    address: int,
    state: int,
    inputs: Any,
    outputs: Any,
    sizes: Any,
    params: int,
    context: Any,
    flush: bool,
    move: bool,
) -> int:
    mode = flush_denormals() if flush else 0
    status = 0
    for block in range(sizes.shape[0]):
        n = sizes[block]
        status |= call_kernel(
            address, state, inputs.ctypes.data, outputs.ctypes.data, n, params, context.ctypes.data
        )
        if move:
            for c in range(inputs.shape[0]):
                inputs[c] += 4 * n
            for c in range(outputs.shape[0]):
                outputs[c] += 4 * n
        context[0] += n
    if flush:
        restore_float_mode(mode)
    return status


def walk(
    processor: Processor,
    signal: Block,
    sizes: NDArray[np.int64],
    start: int = 0,
    flush: bool = True,
    ramps: NDArray[np.float64] | None = None,
    stay: bool = False,
) -> Block:
    """Call a prepared processor's kernel once per block from position ``start``, in a compiled loop; with
    ``stay`` all blocks are the first."""
    length = int(sizes[0]) if stay else int(sizes.sum())
    outs = processor.ports(processor.outputs)
    out = np.full((outs, length), np.nan, np.float32)
    signal = np.ascontiguousarray(signal[:, :length])
    if ramps is None:
        ramps = ramps_of(processor)
    address, table = processor.kernel()
    context = np.array([start, processor.rate, 0], np.int64)
    status = _walk(
        address,
        table.ctypes.data,
        addresses(signal),
        addresses(out),
        np.asarray(sizes, np.int64),
        ramps.ctypes.data,
        context,
        flush,
        not stay,
    )
    assert status == 0, f"{processor.id}: a kernel call gave status {status}"
    return out


def ramps_of(processor: Processor) -> NDArray[np.float64]:
    """Ramps that stay at the processor's settings."""
    return processor.ramps()


def by_process(processor: Processor, signal: Block, sizes: NDArray[np.int64]) -> Block:
    """As `walk`, by `Processor.process` from Python, on the processor's own position."""
    out = np.full((processor.ports(processor.outputs), int(sizes.sum())), np.nan, np.float32)
    at = 0
    with flushed():
        for n in sizes:
            piece = np.full((len(out), n), np.nan, np.float32)
            processor.process(np.ascontiguousarray(signal[:, at : at + n]), piece)
            out[:, at : at + n] = piece
            at += n
    return out


def uniform(n: int, block: int) -> NDArray[np.int64]:
    """Blocks of one size and what remains."""
    return np.array([block] * (n // block) + ([n % block] if n % block else []), np.int64)


def mixture(n: int, seed: int = 7) -> NDArray[np.int64]:
    """A random mixture of block sizes, small ones more often, that is ``n`` long."""
    rng = np.random.default_rng(seed)
    sizes: list[int] = []
    while (rest := n - sum(sizes)) > 0:
        size = int(rng.choice(BLOCKS)) if rng.random() < 0.5 else int(rng.integers(1, 700))
        sizes.append(min(size, rest))
    return np.array(sizes, np.int64)


def any_size(case: Case) -> Processor:
    """The case's processor, re-blocked if it wants a fixed hop."""
    made = case.make()
    assert isinstance(made, Processor)
    made.fit(case.rate)
    return made if made.hop is None else Reblock(made)


def prepared(case: Case, channels: int, block: int, fixed: bool = False) -> Processor:
    """`any_size`, prepared."""
    made = any_size(case)
    made.connected = frozenset(port.name for port in made.inputs)
    made.prepare(case.rate, block, fixed, channels)
    return made


def bare(case: Case, channels: int, n: int) -> tuple[Processor, NDArray[np.int64]]:
    """The case's processor without re-blocking, prepared, and the plainest blocks that are at least ``n``
    long together: one, or hops."""
    made = case.make()
    assert isinstance(made, Processor)
    made.fit(case.rate)
    hop = made.hop
    made.connected = frozenset(port.name for port in made.inputs)
    made.prepare(case.rate, n if hop is None else hop, True, channels)
    return made, np.array([n] if hop is None else [hop] * -(-n // hop), np.int64)


def latency_and_tail(case: Case, channels: int) -> tuple[int, int]:
    """The longest that they are."""
    if issubclass(case.engine, Composite):
        plan = make_plan(case, channels, 1)
        found = plan.latency, plan.tail
        plan.close()
        return found
    made = prepared(case, channels, 64)
    return made.latency, made.tail


def span(case: Case, channels: int) -> int:
    """Samples that show what a case does: `SPAN` beyond its latency, and up to 2/3 s of its tail."""
    latency, tail = latency_and_tail(case, channels)
    return latency + SPAN + min(tail, LONGEST_TAIL)


def assert_same_bits(got: Block, want: Block, what: str) -> None:
    """Equal to the bit over the common length (the sign of zero aside)."""
    n = min(got.shape[1], want.shape[1])
    assert got.shape[0] == want.shape[0], f"{what}: {got.shape[0]} channels, want {want.shape[0]}"
    assert n > SPAN // 2, f"{what}: only {n} samples to compare"
    different = np.argwhere(got[:, :n] != want[:, :n])
    if len(different):
        c, i = different[different[:, 1].argmin()]
        largest = np.abs(got[:, :n].astype(float) - want[:, :n]).max()
        raise AssertionError(
            f"{what}: {len(different)} samples differ, by {largest:.3g} at most, "
            f"the first at {i} of channel {c}: {got[c, i]!r}, want {want[c, i]!r}"
        )


# ------------------------------------------------------------------------------------------------ 1 partition


def check_partition(case: Case, channels: int, blocks: Sequence[int] = BLOCKS) -> None:
    """Any partition of a signal into blocks gives the same bits, after removing the declared latency."""
    n = span(case, channels)
    signal = sound(channels, n)
    if issubclass(case.engine, Composite):
        _check_partition_of_plans(case, signal, None, blocks)
        return
    processor, sizes = bare(case, channels, n)
    padded = np.zeros((channels, int(sizes.sum())), np.float32)
    padded[:, :n] = signal
    own_latency, hop = processor.latency, processor.hop
    want = by_process(processor, on_ports(processor, padded), sizes)[:, own_latency:n]
    assert np.isfinite(want).all()

    partitions = {f"blocks of {block}": uniform(n, block) for block in blocks} | {"a mixture": mixture(n)}
    for name, sizes in partitions.items():
        made = prepared(case, channels, int(sizes.max()))
        waiting = 0 if hop is None else hop - 1
        assert made.latency == own_latency + waiting, (
            f"{name}: latency {made.latency}, want {own_latency + waiting}"
        )
        got = walk(made, on_ports(made, signal), sizes)
        assert_same_bits(got[:, made.latency :], want, f"{case}, {name}")
    mixed = prepared(case, channels, n)
    got = by_process(mixed, on_ports(mixed, signal), mixture(n, 8))
    assert_same_bits(got[:, mixed.latency :], want, f"{case}, process() on a mixture")
    if hop is not None:
        for block in BLOCKS:
            made = prepared(case, channels, block, fixed=True)
            latency = own_latency + hop - math.gcd(block, hop)
            assert made.latency == latency, f"fixed blocks of {block}: latency {made.latency}, want {latency}"
            if block not in blocks:
                continue
            got = walk(made, on_ports(made, signal), uniform(n // block * block, block))
            assert_same_bits(got[:, latency:], want, f"{case}, fixed blocks of {block}")
    for block in (64, 441):
        _check_partition_of_plans(case, signal, want, (block,))


def _check_partition_of_plans(
    case: Case, signal: Block, want: Block | None, blocks: Sequence[int] = BLOCKS
) -> None:
    for block in blocks:
        plan = make_plan(case, len(signal), block)
        got = run_plan(plan, case, signal)[:, plan.latency :]
        assert not plan.failed(), f"{case}: {plan.failed()} failed"
        plan.close()
        assert np.isfinite(got).all()
        if want is not None:
            assert_same_bits(got, want, f"{case}, a plan with blocks of {block}")
        else:
            want = got


# ------------------------------------------------------------------------------------- 1 parameters that move

Event = tuple[int, Parameter, Value]


def random_events(case: Case, n: int, count: int = 24) -> list[Event]:
    """Changes of parameters at random positions, in order; some at once, some during the ramp of another."""
    rng = np.random.default_rng(zlib.crc32(str(case).encode()))
    parameters = [parameter for parameter in parameters_of(case.engine) if parameter.automatable]
    positions = sorted(int(at) for at in rng.integers(0, n - 2000, count))
    positions[3] = positions[2]
    positions[6], positions[9] = positions[5] + 1, positions[8] + 100
    drawn = [parameters[int(number)] for number in rng.integers(0, len(parameters), count)]
    drawn[6], drawn[9] = drawn[5], drawn[8]
    return [
        (at, parameter, random_value(rng, parameter))
        for at, parameter in zip(sorted(positions), drawn, strict=True)
    ]


def with_events(case: Case, channels: int, signal: Block, events: Sequence[Event]) -> tuple[Block, int]:
    """Output and latency of a processor whose parameters move, without the host: its kernel runs from event
    to event (to hops, rounded up), and the ramps are set between."""
    n = signal.shape[1]
    processor, sizes = bare(case, channels, n)
    hop = processor.hop or 1
    padded = np.zeros((channels, int(sizes.sum())), np.float32)
    padded[:, :n] = signal
    rows = on_ports(processor, padded)
    ramps, ids = ramps_of(processor), [parameter.id for parameter in processor.parameters]
    due = [(-(-at // hop) * hop, parameter, value) for at, parameter, value in events]
    borders = sorted({0, padded.shape[1], *(at for at, _, _ in due if at < padded.shape[1])})
    pieces = []
    for begin, end in pairwise(borders):
        for at, parameter, value in due:
            if at == begin:
                length, target = round(parameter.smoothing * case.rate), parameter.to_kernel(value)
                turn(ramps.ctypes.data, ids.index(parameter.id), begin, target, 0, float(length))
        blocks = uniform(end - begin, hop if processor.hop else end - begin)
        pieces.append(walk(processor, rows[:, begin:end], blocks, begin, ramps=ramps))
    return np.concatenate(pieces, axis=1)[:, :n], processor.latency


def check_events(case: Case, channels: int, blocks: Sequence[int] = BLOCKS) -> None:
    """The same parameter changes at the same positions give the same bits, whatever the block size, whether
    they are sent long before or with the block that they fall in, and as without a host.
    """
    n = span(case, channels)
    signal = sound(channels, n)
    events = random_events(case, n)
    want: Block | None = None
    if not issubclass(case.engine, Composite):
        out, latency = with_events(case, channels, signal, events)
        want = out[:, latency:]
    for block in (*blocks, -480):
        plan = make_plan(case, channels, abs(block))
        waiting = list(events)

        def send(
            at: int, plan: Plan = plan, waiting: list[Event] = waiting, just_in_time: bool = block < 0
        ) -> None:
            while waiting and (not just_in_time or waiting[0][0] < at + plan.block):
                position, parameter, value = waiting.pop(0)
                plan.set(f"node.{parameter.id}", value, at=position)

        got = run_plan(plan, case, signal, send)[:, plan.latency :]
        assert not plan.failed(), f"{case}: {plan.failed()} failed"
        plan.close()
        if want is None:
            want = got
        assert_same_bits(got, want, f"{case}, parameters moving, blocks of {block}")


# ---------------------------------------------------------------------------------------------------- 2 reset


def check_reset(case: Case, channels: int) -> None:
    """After noise and `reset` the output is that of a new instance; so it is after a second `prepare`."""
    for inner in inner_cases(case):
        fresh = prepared(inner, channels, 512)
        n = fresh.latency + SPAN + min(fresh.tail, LONGEST_TAIL)
        signal = sound(channels, n)
        want = by_process(fresh, on_ports(fresh, signal), uniform(n, 512))
        assert np.isfinite(want).all()
        used = prepared(inner, channels, 512)
        noise = np.random.default_rng(3).uniform(-1, 1, (channels, n - 100)).astype(np.float32)
        for again in ("reset", "reset", "prepare"):
            by_process(used, on_ports(used, noise), mixture(n - 100, 5).clip(max=512))
            if again == "reset":
                used.reset()
            else:
                used.prepare(inner.rate, 512, False, channels)
            got = by_process(used, on_ports(used, signal), uniform(n, 512))
            assert_same_bits(got, want, f"{inner}, after {again}")
            used.reset()


# -------------------------------------------------------------------------------------------------- 3 latency

STARTS = (0, 1_000_003, 2**31 + 11)
"""Positions that a run begins at: a re-armed node starts anew at any, and a day has more samples than
2**31."""


def total_of(case: Case, out: Block, channels: int) -> NDArray[np.float64]:
    """Sum of the output ports that are sound."""
    ports = [(port, channels if port.channels is None else port.channels) for port in case.engine.outputs]
    widths = {width for port, width in ports if not port.control}
    assert len(widths) == 1, f"{case}: outputs of {sorted(widths)} channels have no sum: unity should be None"
    sums = np.zeros((widths.pop(), out.shape[1]))
    at = 0
    for port, width in ports:
        if not port.control:
            sums += out[at : at + width]
        at += width
    return sums


def _delayed(signal: Block, latency: int, width: int) -> NDArray[np.float64]:
    n = signal.shape[1]
    rows = signal[[c % len(signal) for c in range(width)]].astype(np.float64)
    return np.concatenate([np.zeros((width, min(latency, n))), rows], axis=1)[:, :n]


def _latency_runs(case: Case, channels: int, signal: Block) -> Iterator[tuple[str, Block, int]]:
    """Outputs and declared latency of fresh instances, several ways."""
    if issubclass(case.engine, Composite):
        for block in (64, 441, 1000):
            plan = make_plan(case, channels, block, only_first=True)
            yield f"a plan with blocks of {block}", run_plan(plan, case, signal), plan.latency
            plan.close()
        return
    for start in STARTS:
        processor, sizes = bare(case, channels, signal.shape[1])
        rows = np.zeros((channels, int(sizes.sum())), np.float32)
        rows[:, : signal.shape[1]] = signal
        begin = start // sizes[0] * sizes[0] if processor.hop else start
        out = walk(processor, on_ports(processor, rows, True), sizes, int(begin))
        yield f"from position {begin}", out[:, : signal.shape[1]], processor.latency
    for block, fixed in ((441, False), (441, True), (480, True), (1024, True)):
        made = prepared(case, channels, block, fixed)
        sizes = uniform(signal.shape[1] // block * block, block)
        yield (
            f"blocks of {block}, fixed={fixed}",
            walk(made, on_ports(made, signal, True), sizes),
            made.latency,
        )


def check_latency(case: Case, channels: int) -> None:
    """At unity an impulse, and noise, come out as they went in, ``latency`` samples later. At other settings:
    where the sum of the outputs is the delayed input all the same, its delay is ``latency``."""
    if case.engine.unity is None:
        assert not case.at_unity
        return
    n = latency_and_tail(case, channels)[0] + 12_000
    tolerance = max(case.engine.tolerance, 1e-6)
    impulse = np.zeros((channels, n), np.float32)
    place = 3001
    impulse[:, place] = [1.0 / (1 + c) for c in range(channels)]
    noise = np.random.default_rng(11).uniform(-0.5, 0.5, (channels, n)).astype(np.float32)
    for kind, signal in (("impulse", impulse), ("noise", noise)):
        if kind == "impulse" and not case.at_unity:
            continue
        for way, out, latency in _latency_runs(case, channels, signal):
            what = f"{case}, {kind}, {way}"
            total = total_of(case, out, channels)
            if case.at_unity:
                if kind == "impulse":
                    measured = np.abs(total).argmax(axis=1) - place
                    assert (measured == latency).all(), f"{what}: comes {measured} late, declared {latency}"
                want = _delayed(signal, latency, len(total))[:, : total.shape[1]]
                error = np.abs(total - want).max()
                assert error <= tolerance, f"{what}: the outputs' sum is {error:.3g} off the delayed input"
            else:
                measured_lag = _lag(signal, total)
                want = _delayed(signal, measured_lag, len(total))[:, : total.shape[1]]
                if np.abs(total - want).max() <= tolerance:
                    assert measured_lag == latency, f"{what}: comes {measured_lag} late, declared {latency}"


def _lag(signal: Block, total: NDArray[np.float64]) -> int:
    """Delay from the first input channel to the first output channel, by cross-correlation."""
    size = 2 * total.shape[1]
    spectrum = np.fft.rfft(total[0], size) * np.conj(np.fft.rfft(signal[0], size))
    return int(np.abs(np.fft.irfft(spectrum, size))[: total.shape[1]].argmax())


# -------------------------------------------------------------------------------------------------- 4 silence


def check_silence(case: Case, channels: int) -> None:
    """Silence gives silence, to the bit, from a fresh effect; a source gives finite sound."""
    n = span(case, channels)
    silence = np.zeros((channels, n), np.float32)
    outs = []
    if not issubclass(case.engine, Composite):
        made = prepared(case, channels, 480)
        outs = [
            walk(made, on_ports(made, silence), uniform(n, 480)),
            by_process(prepared(case, channels, 480), on_ports(made, silence), uniform(n, 480)),
        ]
    plan = make_plan(case, channels, 480)
    outs.append(run_plan(plan, case, silence))
    assert not plan.failed(), f"{case}: {plan.failed()} failed on silence"
    plan.close()
    for out in outs:
        assert np.isfinite(out).all(), f"{case}: silence gives samples that are not finite"
        if not case.is_source:
            assert not out.any(), f"{case}: silence gives {np.abs(out).max():.3g}"


# -------------------------------------------------------------------------------------------- 5 hostile input


def hostile(channels: int, n: int = 6000) -> dict[str, Block]:
    """Signals that a processor must survive."""
    rng = np.random.default_rng(5)
    t = np.arange(n)
    noise = rng.uniform(-1, 1, (channels, n))
    bursts: dict[str, Any] = {
        "square": np.where(t // 53 % 2, 1.0, -1.0) * np.ones((channels, 1)),
        "nyquist": np.where(t % 2, 1.0, -1.0) * np.ones((channels, 1)),
        "full-scale noise": np.sign(noise),
        "dc": np.ones((channels, n)),
        "noise": noise,
    }
    for name, poison in (("nan", [np.nan]), ("inf", [np.inf]), ("mixed", [np.nan, np.inf, -np.inf])):
        x = noise.copy()
        x[:, 1000:1500] = np.resize(poison, 500)
        x[0, 2000::97] = poison[0]
        x[-1, n - 1] = poison[-1]
        bursts[name] = x
    for tiny in (1e-40, 1.5e-38, 1e-30, 1e-20):
        bursts[f"noise of {tiny:g}"] = noise * tiny
    decay = noise * 10.0 ** (-50.0 * t / n)
    bursts["decay into denormals"] = decay
    return {name: np.ascontiguousarray(x, np.float32) for name, x in bursts.items()}


def check_hostile(case: Case, channels: int) -> None:
    """Finite output, and no failure, from full scale, from samples that are not finite (replaced by 0 and
    counted exactly at the entry) and from denormals."""
    for name, signal in hostile(channels).items():
        what = f"{case}, {name}"
        bad = ~np.isfinite(signal)
        plan, clean_plan = make_plan(case, channels, 480), make_plan(case, channels, 480)
        out = run_plan(plan, case, signal)
        statistics = plan.statistics()
        plan.close()
        assert np.isfinite(out).all(), f"{what}: {np.count_nonzero(~np.isfinite(out))} samples are not finite"
        replaced = statistics["non_finite_replaced"]
        assert replaced == bad.sum(), (
            f"{what}: {replaced} samples counted as replaced, there were {bad.sum()}"
        )
        failures = {
            node: times["failures"] for node, times in statistics["nodes"].items() if times["failures"]
        }
        assert not failures, f"{what}: failures {failures}"
        if bad.any():
            clean = run_plan(clean_plan, case, np.where(bad, np.float32(0), signal))
            assert np.array_equal(out, clean), f"{what}: not as if the bad samples were 0"
        elif not issubclass(case.engine, Composite):
            made = prepared(case, channels, 480)
            direct = walk(made, on_ports(made, signal), uniform(signal.shape[1], 480), flush=False)
            assert np.isfinite(direct).all(), f"{what}: not finite where denormals are kept"
        clean_plan.close()


def check_largest(case: Case, channels: int) -> None:
    """The largest numbers there are give finite output, be it that the node fails and gives way to its
    input."""
    largest = np.finfo(np.float32).max
    for name in ("square", "full-scale noise", "nyquist"):
        plan = make_plan(case, channels, 480)
        out = run_plan(plan, case, hostile(channels)[name] * largest)
        plan.close()
        assert np.isfinite(out).all(), f"{case}, {name} of {largest:g}: samples that are not finite"


# --------------------------------------------------------------------------------------------------- 6 memory


def _heap_in_use() -> int | None:
    """Bytes of the C heap that are in use; None where the C library does not say."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return None

    class Info(ctypes.Structure):
        _fields_ = [
            (name, ctypes.c_size_t)
            for name in [
                "arena",
                "ordblks",
                "smblks",
                "hblks",
                "hblkhd",
                "usmblks",
                "fsmblks",
                "uordblks",
                "fordblks",
                "keepcost",
            ]
        ]

    mallinfo.restype = Info
    info = mallinfo()
    return int(info.uordblks + info.hblkhd)


def _nrt_counts() -> tuple[int, int]:
    """Allocations and memory blocks that Numba's run-time has made so far."""
    return _nrt_python.memsys_get_stats_alloc(), _nrt_python.memsys_get_stats_mi_alloc()


def _nrt_alive() -> tuple[int, int]:
    return (
        _nrt_python.memsys_get_stats_alloc() - _nrt_python.memsys_get_stats_free(),
        _nrt_python.memsys_get_stats_mi_alloc() - _nrt_python.memsys_get_stats_mi_free(),
    )


@contextmanager
def _no_growth(what: str, calls: int) -> Iterator[None]:
    """Less may be left over than the smallest allocation a call: 16 bytes of Python's, 32 of the heap.

    The heap is the whole process's, so what others allocate once has to fit in the difference.
    """
    with suppress(AttributeError):
        _nrt_python.memsys_enable_stats()
    gc.collect()
    tracemalloc.start()
    try:
        traced, heap, nrt = tracemalloc.get_traced_memory()[0], _heap_in_use(), _nrt_alive()
        yield
        gc.collect()
        nrt_after, heap_after, traced_after = _nrt_alive(), _heap_in_use(), tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    allowed = 8 * calls
    grown = np.subtract(nrt_after, nrt)
    assert (grown <= 0).all(), f"{what}: Numba's memory grew by {grown}"
    assert traced_after - traced < allowed, (
        f"{what}: {traced_after - traced} bytes of Python memory in {calls} calls"
    )
    if heap is not None and heap_after is not None:
        assert heap_after - heap < 3 * allowed, f"{what}: {heap_after - heap} bytes of heap in {calls} calls"


def _check_growth(what: str, run: Callable[[int], None]) -> None:
    """A leak grows every time; what others in the process allocate once, only the first."""
    for last in (False, True):
        try:
            with _no_growth(what, STEADY_CALLS):
                run(STEADY_CALLS)
            return
        except AssertionError:
            if last:
                raise


def check_memory(case: Case, channels: int) -> None:
    """Thousands of calls leave nothing behind, and a kernel call takes nothing from Numba's run-time at
    all."""
    block = 256
    plan = make_plan(case, channels, block)
    signal = sound(channels, block)
    parameters = [parameter for parameter in parameters_of(case.engine) if parameter.automatable]
    rng = np.random.default_rng(2)

    def some(calls: int) -> None:
        for number in range(calls):
            if parameters and number % 64 == 0:
                parameter = parameters[number // 64 % len(parameters)]
                plan.set(f"node.{parameter.id}", random_value(rng, parameter))
            plan.process(signal)

    some(300)
    _check_growth(f"{case}, a plan", some)
    plan.close()
    for inner in inner_cases(case):
        made, sizes = bare(inner, channels, block)
        rows = on_ports(made, sound(channels, int(sizes[0])))
        out = np.zeros((made.ports(made.outputs), rows.shape[1] if len(rows) else int(sizes[0])), np.float32)

        def again(calls: int) -> None:
            for _ in range(calls):
                made.process(rows, out)  # noqa: B023 - called before the next turn

        again(300)
        _check_growth(f"{inner}, process()", again)
        made, sizes = bare(inner, channels, block)
        taken = []
        for calls in (10, 1000):
            before = _nrt_counts()
            walk(made, rows, np.repeat(sizes[:1], calls), stay=True)
            taken.append(np.subtract(_nrt_counts(), before).tolist())
        assert taken[0] == taken[1], (
            f"{inner}: 10 and 1000 kernel calls took {taken} allocations of Numba's run-time"
        )


# -------------------------------------------------------------------------------------------- 7 compiled code

FORBIDDEN = re.compile(
    r"^(NRT_|_?Py[A-Z_]|numba_(gil|unpickle|do_raise|runtime|recreate|attempt|get_|rnd|do_|launch|parallel|gufunc)"
    r"|malloc$|calloc$|realloc$|free$|aligned_alloc$|posix_memalign$|mmap$|munmap$|_Znw|_Zna|_Zdl|_Zda"
    r"|pthread_(?!self$)|sem_wait$|printf|fprintf|puts$|putchar$|fopen|fwrite|fputs|open$|write$|read$|usleep$|sleep$"
    r"|nanosleep$|omp_|GOMP_|do_scheduling|get_num_threads|abort$|exit$)"
)
"""Names of functions that a kernel may not call. ``pthread_self`` only reads a register."""
HANDLER = frozenset(
    [
        "PyErr_Clear",
        "PyErr_SetNone",
        "PyErr_SetString",
        "PyErr_WriteUnraisable",
        "PyUnicode_FromString",
        "PyBytes_FromStringAndSize",
        "Py_DecRef",
        "PyExc_RuntimeError",
        "PyExc_StopIteration",
        "PyExc_SystemError",
        "numba_gil_ensure",
        "numba_gil_release",
        "numba_runtime_build_excinfo_struct",
        "numba_unpickle",
        "numba_do_raise",
    ]
)
"""What Numba puts into the C wrapper of every function, for errors that the function may report: unreachable
if nothing inside raises. Whether something does shows in the exceptions themselves, pickled among the
constants."""


ASSUMES_FINITE = re.compile(
    r"= (tail |notail )?(f(add|sub|mul|div|rem|cmp|neg)|call) "
    r"((nsz|arcp|contract|afn|reassoc) )*(fast|nnan|ninf)\b"
)


def llvm_without_cache(compile_: Callable[[], Any]) -> str:
    """Optimised LLVM of a C function and of all that is linked into it. What comes from the cache has none,
    so it is compiled anew."""
    kept = numba.config.CACHE_DIR
    with tempfile.TemporaryDirectory() as folder:
        numba.config.CACHE_DIR = folder
        try:
            return str(compile_().inspect_llvm())
        finally:
            numba.config.CACHE_DIR = kept


def llvm_of(kernel_: Any) -> str:
    """Optimised LLVM of a kernel."""
    return llvm_without_cache(lambda: type(kernel_)(kernel_.function).compiled)


def llvm_problems(text: str) -> list[str]:
    """What a kernel's LLVM shows and may not: calls into the interpreter or of an allocator, exceptions,
    and arithmetic that assumes finite numbers."""
    found = set()
    if re.search(r"^@\"?\.const\.pickle", text, re.MULTILINE):
        found.add("raises")
    for constant in re.findall(r"^@\"?\.const\.pickledata.*?c\"(.*?)\"", text, re.MULTILINE):
        # The exception, and the function and file it comes from, between the bytes of the pickle.
        words = re.findall(r"[\w./-]{4,}", re.sub(r"\\[0-9A-F]{2}", " ", constant))
        found.add(" ".join(["raises", *words]))
    function = ""
    for line in text.splitlines():
        if line.startswith("define "):
            match = re.search(r"@\"?([^\"(]+)", line)
            function = match[1] if match else "?"
        elif line.startswith("}"):
            function = ""
        elif function:
            for name in re.findall(r"@\"?([\w.$]+)", line):
                wrapper = function.startswith("cfunc.") and name in HANDLER
                if FORBIDDEN.match(name) and not wrapper:
                    found.add(f"uses {name} in {function[:60]}")
            if ASSUMES_FINITE.search(line):
                found.add(f"assumes finite numbers in {function[:60]}: {line.strip()[:60]}")
    assert "define " in text, "there is no LLVM to look at"
    return sorted(found)


@lru_cache
def _kernel_problems(kernel_: Any) -> tuple[str, ...]:
    return tuple(llvm_problems(llvm_of(kernel_)))


def check_llvm(case: Case) -> None:
    """The compiled kernel does not allocate, count references, raise, lock, print, or call the
    interpreter."""
    for made in processors(case):
        compiled_ = () if made.in_python else (made,)
        for processor in (*compiled_, Reblock(made)) if made.hop else compiled_:
            problems = _kernel_problems(processor.KERNEL)
            assert not problems, f"{case}, {processor.KERNEL.__name__}: " + "; ".join(problems)


# --------------------------------------------------------------------------------------------- 8 declarations


def check_declarations(name: str, engine: Engine) -> None:
    """What an engine declares fits together, and what it does not take it refuses with a `UserError`."""
    assert engine.id == name, f"the id {engine.id!r} is not the registered name {name!r}"
    assert engine.summary.strip(), "no summary"
    assert isinstance(engine.version, int)
    assert engine.version >= 1
    assert 0.0 <= engine.tolerance < 0.1
    _check_ports(engine)
    parameters = parameters_of(engine)
    ids = [parameter.id for parameter in parameters]
    assert len(set(ids)) == len(ids), f"parameters {ids} are not unique"
    for parameter in parameters:
        _check_parameter(parameter)
    names = [port.name for port in engine.outputs]
    assert engine.fallback is None or engine.fallback in names, (
        f"the fallback {engine.fallback!r} is none of {names}"
    )
    if not engine.inputs:
        assert engine.unity is None, "a source has no unity"
    made = engine()
    assert set(made.values) == set(ids)
    if engine.unity is not None:
        unknown = set(engine.unity) - set(ids)
        assert not unknown, f"unity sets {unknown}, which are no parameters"
        assert valid(engine, engine.unity), f"unity {dict(engine.unity)} is refused"
    rng = np.random.default_rng(9)
    for parameter in parameters:
        for choice in parameter.choices:
            values = {parameter.id: choice}
            reachable = valid(engine, values) or random_case(engine, rng, "", values) is not None
            assert reachable, f"no settings go with {parameter.id}={choice}"
    with_unknown = {"no_such_parameter": 1.0}
    assert not valid(engine, with_unknown), "an unknown parameter is taken"
    for processor in processors(Case(engine)):
        assert processor.lane in (0, 1, 2)
        assert processor.hop is None or processor.hop >= 1
        if processor.rates is not None:
            assert processor.rates, "no rate is accepted"
            assert all(RATES[0] <= rate <= RATES[1] for rate in processor.rates)
        assert processor.in_python or callable(processor.KERNEL.function)
    _check_preparation(Case(engine))


def _check_ports(engine: Engine) -> None:
    for kind, ports in (("inputs", engine.inputs), ("outputs", engine.outputs)):
        names = [port.name for port in ports]
        assert len(set(names)) == len(names), f"{kind} {names} are not unique"
        for port in ports:
            assert port.name.replace("_", "").replace("-", "").isalnum(), (
                f"port {port.name!r} cannot be in an edge"
            )
            assert port.channels is None or 1 <= port.channels <= MAXIMUM_CHANNELS
    assert engine.outputs, "no outputs"
    if engine.inputs:
        assert not engine.inputs[0].optional, "the first input, which the fallback plays, is optional"


def _check_parameter(parameter: Parameter) -> None:
    what = f"parameter {parameter.id!r}"
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", parameter.id), f"{what} is no identifier"
    assert parameter.scale in SCALES, f"{what}: scale {parameter.scale!r}"
    assert math.isfinite(parameter.smoothing), what
    assert parameter.smoothing >= 0.0, what

    def taken(value: Value) -> bool:
        try:
            parameter.checked(value, "")
        except UserError:
            return False
        return True

    assert taken(parameter.default), (
        f"{what}: the default {parameter.default!r} is refused ({parameter.range})"
    )
    checked = parameter.checked(parameter.default, "")
    assert parameter.checked(checked, "") == checked
    assert math.isfinite(parameter.to_kernel(checked))
    if parameter.scale == "text":
        assert not parameter.automatable, f"{what}: text cannot be ramped"
        assert not taken(1.0), what
        return
    assert not taken("no such value"), what
    if parameter.scale == "choice":
        assert parameter.choices, f"{what}: no choices"
        assert len(set(parameter.choices)) == len(parameter.choices), f"{what}: choices {parameter.choices}"
        numbers = [parameter.to_kernel(parameter.checked(choice, "")) for choice in parameter.choices]
        assert numbers == list(range(len(parameter.choices)))
        return
    low, high = parameter.minimum, parameter.maximum
    assert not parameter.choices, f"{what}: choices, but scale {parameter.scale}"
    assert math.isfinite(low), what
    assert math.isfinite(high), what
    assert low < high, f"{what}: range {low:g} to {high:g}"
    assert parameter.scale != "log" or low > 0, f"{what}: a log scale from {low:g}"
    assert parameter.scale != "integer" or (low == round(low) and high == round(high)), what
    assert not parameter.silence or parameter.scale == "dB", f"{what}: silence without dB"
    assert taken(low), what
    assert taken(high), what
    for bad in (math.nan, math.inf, low - 1.0, high + 1.0) + (() if parameter.silence else (-math.inf,)):
        assert not taken(bad), f"{what}: {bad} is taken ({parameter.range})"
    ends = parameter.to_kernel(low), parameter.to_kernel(high)
    assert ends[0] < ends[1], f"{what}: the kernel sees {ends}"


def _check_preparation(case: Case) -> None:
    """Rates and channel counts that are not supported are refused; latency and tail are set and constant."""
    assert any(supports(case, channels) for channels in (1, 2)), "neither mono nor stereo is supported"
    channels = 2 if supports(case, 2) else 1
    for inner in inner_cases(case):
        made = any_size(inner)
        for rate, width in (
            (RATES[0] - 1, channels),
            (RATES[1] + 1, channels),
            (case.rate, 0),
            (case.rate, 65),
        ):
            try:
                made.prepare(rate, 64, False, width)
            except UserError:
                continue
            raise AssertionError(f"{inner}: a rate of {rate} Hz with {width} channels is taken")
        made.prepare(case.rate, 64, False, channels)
        declared = made.latency, made.tail
        assert all(isinstance(samples, int) and samples >= 0 for samples in declared), (
            f"latency and tail {declared}"
        )
        for array in made._state:
            assert array.flags.c_contiguous
        with flushed():
            walk(made, on_ports(made, sound(channels, 640)), uniform(640, 64))
        made.reset()
        assert (made.latency, made.tail) == declared


# ----------------------------------------------------------------------------------------------------- 9 tail


def check_tail(case: Case, channels: int) -> None:
    """``latency + tail`` samples after the input has ended, what is left is below -100 dBFS."""
    if case.is_source:
        return
    loud = 8000
    signals = {
        "noise": np.random.default_rng(4).uniform(-1, 1, (channels, loud)),
        "dc": np.ones((channels, loud)),
    }
    for name, signal in signals.items():
        for block in (441, 512):
            plan = make_plan(case, channels, block)
            silent_from = loud + plan.latency + plan.tail
            x = np.zeros((channels, silent_from + 20_000), np.float32)
            x[:, :loud] = signal
            left = np.abs(run_plan(plan, case, x)[:, silent_from:]).max()
            assert not plan.failed()
            plan.close()
            assert left < SILENT_TAIL, (
                f"{case}, {name}, blocks of {block}: {20 * np.log10(left):.1f} dBFS are left after "
                f"latency {plan.latency} + tail {silent_from - loud - plan.latency}"
            )


# ------------------------------------------------------------------------------------------------ 10 failures


def smoothstep(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quintic from 0 to 1, without the host."""
    u = u.clip(0.0, 1.0)
    return u**3 * (u * (u * 6.0 - 15.0) + 10.0)


def assert_gives_way(
    out: NDArray[np.floating], wet: NDArray[np.floating], dry: NDArray[np.floating], failed_at: int, rate: int
) -> None:
    """``out`` is that of a node that fails for good: its wet output, then its fallback, and on it the step
    between them, which decays over 5 ms. The step is that at the border, between the last wet sample and the
    fallback's first or the one before it.
    """
    assert np.array_equal(out[:, :failed_at], wet[:, :failed_at].astype(np.float32))
    decay = 1.0 - smoothstep(np.arange(dry.shape[1] - failed_at) / max(1, round(0.005 * rate)))
    last_wet = wet[:, failed_at - 1] if failed_at else np.zeros(len(wet))
    last_dry = dry[:, failed_at - 1] if failed_at else np.zeros(len(dry))
    step = out[:, failed_at] - dry[:, failed_at]
    first, second = last_wet - dry[:, failed_at], last_wet - last_dry
    assert (step > np.minimum(first, second) - 1e-6).all()
    assert (step < np.maximum(first, second) + 1e-6).all()
    assert np.abs(out[:, failed_at:] - (dry[:, failed_at:] + step[:, None] * decay)).max() < 1e-6


def engine_names() -> list[str]:
    """Names of the registered engines."""
    return sorted(registered())


def importable(name: str) -> bool:
    """Whether an engine can be loaded at all (a test of its own says why not)."""
    try:
        load(name)
    except Exception:
        return False
    return True
