"""A graph made ready to run: composites opened, paths aligned, memory laid out, kernels compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio import executor
from rtaudio.errors import UserError, nearest
from rtaudio.graph import IN, MAIN, OUT, Composite, End, Graph, Node, parameters_of
from rtaudio.kernel import RAMP_WORDS, addresses, power_of_two
from rtaudio.native import read_acquire, write_release
from rtaudio.processor import MAXIMUM_CHANNELS, RATES, Block, Port, Processor, Value
from rtaudio.ring import Ring
from rtaudio.routing import Align, Reblock, Sum, Through

CROSSFADE = 0.010
"""Seconds of the crossfade of bypass, mute and solo."""
DECLICK = 0.005
"""Seconds over which the step into a fallback decays."""
NOW = -1
"""Position of an event that takes effect with the next block."""
WET, AUDIBLE = -2, -1
"""A node's last two ramps."""
COMMANDS = 4096
"""Events that fit in the command ring between two blocks."""


@dataclass
class _Part:
    """A step of the opened graph: a node, one in a composite (``remix/hpss``), or an end of a composite."""

    name: str
    processor: Processor
    sources: dict[str, list[End]]
    staged: bool = True
    dry: End | None = None
    """What the stage plays, delayed, when the part is bypassed; None: the part's own first input."""


@dataclass
class _Step:
    """What control keeps of a step."""

    row: int
    processor: Processor
    ramps: NDArray[np.float64]
    times: NDArray[np.int64]
    staged: bool
    heard_at: int
    """Position, in the step's own time, at which it hears the first sample of the input."""


@dataclass
class _Signal:
    """An output port in memory: a (channels, block) buffer.

    Its content is ``arrival`` samples late, of which ``waited`` are due to re-blocking and depend on the
    block, and rings on for ``tail`` samples after the input has ended.
    """

    buffer: Block
    arrival: int = 0
    waited: int = 0
    tail: int = 0


class Plan:
    """A graph prepared for a rate, a block and a channel count.

    Runs blocks from Python (`process`) or under a device callback (`stream`), one at a time. One other
    thread, the control thread, may change and watch it meanwhile.

    Parameters
    ----------
    graph
        The graph; its nodes' processors are prepared here and released by `close`.
    rate
        Rate in Hz.
    block
        Samples per block; every block has exactly this many.
    channels
        Channels of the stream.
    offline
        What kernels see in their context.

    Raises
    ------
    UserError
        A rate or channel count that a node does not take.
    """

    def __init__(self, graph: Graph, rate: int, block: int, channels: int, offline: bool = False) -> None:
        if not RATES[0] <= rate <= RATES[1]:
            raise UserError(f"a rate of {rate} Hz is not supported ({RATES[0]} to {RATES[1]} Hz)")
        if block < 1:
            raise UserError(f"blocks of {block} samples are not possible (1 or more)")
        if not 1 <= channels <= MAXIMUM_CHANNELS:
            raise UserError(f"{channels} channels are not supported (1 to {MAXIMUM_CHANNELS})")
        self.graph, self.rate, self.block, self.channels = graph, rate, block, channels
        self.outputs: dict[str, Block] = {}
        self._context = np.array([0, rate, int(offline)], np.int64)
        self._rows: list[NDArray[np.int64]] = []
        self._keep: list[Any] = []
        self._steps: dict[str, _Step] = {}
        self._composites = _composites(graph)
        executor.warm_up()
        self._build()
        self._audible = graph.audible()
        for name, node in graph.nodes.items():
            ramps = self._steps[name].ramps
            ramps[WET, :2] = 0.0 if node.bypass else 1.0
            ramps[AUDIBLE, :2] = 1.0 if self._audible[name] else 0.0

    # ------------------------------------------------------------------------------------------ building

    def _build(self) -> None:
        entry = np.zeros((self.channels, self.block), np.float32)
        signals: dict[End, _Signal] = {_ENTRY: _Signal(entry)}
        delayed: dict[tuple[End, int], _Signal] = {}
        for part in _open(self.graph):
            processor = part.processor
            if processor.lane > 0:
                raise UserError(
                    f"{part.name}: {processor.id} needs lane {processor.lane}; this host has lane 0 only"
                )
            arrived = [signals[end] for ends in part.sources.values() for end in ends] or [_Signal(entry)]
            arrival = max(signal.arrival for signal in arrived)
            waited = arrival - max(signal.arrival - signal.waited for signal in arrived)
            if isinstance(processor, Reblock):
                processor.origin = waited
            processor.prepare(self.rate, self.block, True, self.channels)
            inputs = []
            for port in processor.inputs:
                label = f"{part.name}.{port.name}"
                sources = part.sources.get(port.name, [])
                inputs.append(self._gather(sources, self._width(port), arrival, signals, delayed, label))
            outputs = [np.zeros((self._width(port), self.block), np.float32) for port in processor.outputs]
            dry = _Signal(inputs[0], arrival) if inputs else None
            if part.dry is not None:
                dry = signals[part.dry]
            self._append(part, inputs, outputs, dry, arrival, waited)
            ready = arrival + processor.latency
            waited += processor.waiting if isinstance(processor, Reblock) else 0
            tail = processor.tail + max(signal.tail for signal in arrived)
            for port, buffer in zip(processor.outputs, outputs, strict=True):
                signals[End(part.name, port.name)] = _Signal(buffer, ready, waited, tail)
        self._finish(entry, signals, delayed)

    def _finish(
        self, entry: Block, signals: dict[End, _Signal], delayed: dict[tuple[End, int], _Signal]
    ) -> None:
        """Align the graph's outputs with each other and lay out what the callback sees."""
        ends: dict[str, list[End]] = {name: [] for name in self.graph.output_names()}
        for edge in self.graph.edges:
            if edge.target.node == OUT:
                ends[edge.target.port].append(edge.source)
        self.latency = max(signals[end].arrival for sources in ends.values() for end in sources)
        self.tail = max(signals[end].tail for sources in ends.values() for end in sources)
        for name, sources in ends.items():
            width = signals[sources[0]].buffer.shape[0]
            self.outputs[name] = self._gather(sources, width, self.latency, signals, delayed, f"out.{name}")
        first = next(iter(self.outputs.values()))
        self._entry, self.heard = entry, self.outputs.get(MAIN, first)
        self._pending = np.zeros((executor.PENDING_EVENTS, executor.EVENT_WORDS))
        self._events = Ring(COMMANDS * executor.EVENT_WORDS, np.float64)
        self._scratch = np.zeros(self.block * self.channels, np.float32)
        self._table = np.array(self._rows, np.int64).reshape(len(self._rows), executor.ROW_WORDS)
        self._rows = list(self._table)
        self._times = np.zeros(executor.TIME_BINS, np.int64)
        self._in_addresses, self._out_addresses = addresses(entry), addresses(self.heard)
        self.stream = np.zeros(executor.STREAM_WORDS, np.int64)
        self.stream[executor.ROWS] = self._table.ctypes.data
        self.stream[executor.N_ROWS] = len(self._table)
        self.stream[executor.CONTEXT] = self._context.ctypes.data
        self.stream[executor.BLOCK] = self.block
        self.stream[executor.IN] = self._in_addresses.ctypes.data
        self.stream[executor.IN_CHANNELS] = self.channels
        self.stream[executor.OUT] = self._out_addresses.ctypes.data
        self.stream[executor.OUT_CHANNELS] = self.heard.shape[0]
        self.stream[executor.EVENTS] = self._events.address
        self.stream[executor.PENDING] = self._pending.ctypes.data
        self.stream[executor.IN_BLOCK] = self._scratch.ctypes.data
        self.stream[executor.CALLBACK_TIMES] = self._times.ctypes.data

    def _width(self, port: Port) -> int:
        return self.channels if port.channels is None else port.channels

    def _gather(
        self,
        sources: Sequence[End],
        width: int,
        arrival: int,
        signals: Mapping[End, _Signal],
        delayed: dict[tuple[End, int], _Signal],
        port: str,
    ) -> Block:
        """The buffer of an input port: its sources, delayed to ``arrival`` and summed, by steps as needed."""
        buffers = []
        for end in sources:
            signal = signals[end]
            if signal.buffer.shape[0] != width:
                has = f"{end} has {signal.buffer.shape[0]} channels"
                raise UserError(f"{has}, {port} takes {width}: connect another port")
            wait = arrival - signal.arrival
            if wait and (end, wait) not in delayed:
                delayed[end, wait] = _Signal(self._insert(Align(width, wait), [signal.buffer]), arrival)
            buffers.append(delayed[end, wait].buffer if wait else signal.buffer)
        if not buffers:
            return np.zeros((width, self.block), np.float32)
        return buffers[0] if len(buffers) == 1 else self._insert(Sum(width, len(buffers)), buffers)

    def _insert(self, processor: Processor, inputs: list[Block]) -> Block:
        """Add a step of the host's own; returns its output."""
        processor.prepare(self.rate, self.block, True, self.channels)
        output = np.zeros((self._width(processor.outputs[0]), self.block), np.float32)
        part = _Part(f"{processor.id}#{len(self._rows)}", processor, {}, staged=False)
        self._append(part, inputs, [output], None, 0, 0)
        return output

    def _append(
        self,
        part: _Part,
        inputs: list[Block],
        outputs: list[Block],
        dry: _Signal | None,
        arrival: int,
        waited: int,
    ) -> None:
        """Add a step to the table.

        Its inputs are ``arrival`` samples late. Its own time begins ``waited`` samples after the run, so that
        it hears the same samples at the same positions whatever the block.
        """
        processor = part.processor
        address, state = processor.kernel()
        ins = np.concatenate([np.zeros(0, np.int64), *map(addresses, inputs)])
        outs = np.concatenate([np.zeros(0, np.int64), *map(addresses, outputs)])
        ramps = np.zeros((len(processor.parameters) + 2, RAMP_WORDS))
        ramps[:, 0] = ramps[:, 1] = [*processor.targets().values(), 1.0, 1.0]
        dry_addresses = np.zeros_like(outs)
        if dry is not None and part.staged:
            dry_addresses = _dry_addresses(processor, outputs, dry.buffer)
        delay = arrival + processor.latency - dry.arrival if dry is not None and dry_addresses.any() else 0
        size = power_of_two(delay + self.block) if delay else 0
        times = np.zeros(executor.TIME_BINS, np.int64)
        memory = {
            executor.STATE: state,
            executor.INPUTS: np.concatenate([ins, ins]),
            executor.OUTPUTS: np.concatenate([outs, outs]),
            executor.RAMPS: ramps,
            executor.DRY: dry_addresses,
            executor.DRY_LINES: np.zeros((len(outs), size), np.float32),
            executor.DRY_BLOCK: np.zeros(self.block, np.float32),
            executor.LAST: np.zeros((3, len(outs)), np.float32),
            executor.TIMES: times,
        }
        row = np.zeros(executor.ROW_WORDS, np.int64)
        for word, array in memory.items():
            row[word] = array.ctypes.data
        row[executor.ADDRESS] = address
        row[executor.N_INPUTS], row[executor.N_OUTPUTS] = len(ins), len(outs)
        row[executor.N_RAMPS] = len(ramps)
        row[executor.HOP] = (processor.inner.hop or 1) if isinstance(processor, Reblock) else 1
        row[executor.ORIGIN] = waited
        row[executor.STAGED] = int(part.staged)
        row[executor.DRY_SIZE], row[executor.DRY_DELAY] = size, delay
        row[executor.DECLICK] = max(1, round(DECLICK * self.rate))
        row[executor.DECLICK_FROM] = -row[executor.DECLICK]
        heard_at = arrival - waited
        self._steps[part.name] = _Step(len(self._rows), processor, ramps, times, part.staged, heard_at)
        self._rows.append(row)
        self._keep.append((memory, inputs, outputs))

    # ------------------------------------------------------------------------------------------ running

    @property
    def position(self) -> int:
        """Absolute position of the next block."""
        return int(self._context[0])

    def process(self, block: Block) -> dict[str, Block]:
        """Run one block from Python.

        Parameters
        ----------
        block
            (channels, block) float32, C-contiguous; non-finite samples are replaced by 0 and counted.

        Returns
        -------
        The graph's outputs by name, (channels, block) float32 each: views that the next call overwrites.
        """
        if block.shape != self._entry.shape or block.dtype != np.float32:
            raise ValueError(f"a block of {block.shape} {block.dtype}, want {self._entry.shape} float32")
        replaced = 0
        for source, buffer in zip(block, self._entry, strict=True):
            replaced += executor.enter(source, buffer, self.block, 1)
        self.stream[executor.NON_FINITE] += replaced
        executor.run_block(self.stream, self.block)
        self.stream[executor.CALLBACKS] += 1
        return self.outputs

    # ------------------------------------------------------------------------------------------ control

    def set(self, path: str, value: Value, at: int = NOW) -> None:
        """Change a parameter while the plan runs.

        Parameters
        ----------
        path
            ``"node.parameter"``; for a node inside a composite, ``"remix/hpss.parameter"``.
        value
            In the parameter's unit.
        at
            Position in the input at which the change begins: it waits until the node hears that sample, so
            that the block size does not matter. `NOW`, or a position that has passed, for the next block. Of
            several changes at one position the last sent counts.

        Raises
        ------
        UserError
            Unknown node or parameter, a value out of range, a parameter that is fixed while sound runs, or
            more changes at once than the ring holds.
        """
        name, dot, parameter_id = path.rpartition(".")
        if not dot:
            raise UserError(f"{path!r} is not of the form 'node.parameter'")
        step = self._step(name)
        composite = self._composites.get(name)
        declared = step.processor.parameters if composite is None else parameters_of(type(composite))
        known = {parameter.id: parameter for parameter in declared}
        if parameter_id not in known:
            listed = ", ".join(known) or "none"
            raise UserError(f"{name}: no parameter {parameter_id!r}{nearest(parameter_id, known)} ({listed})")
        parameter = known[parameter_id]
        if not parameter.automatable:
            raise UserError(f"{path} is fixed while sound runs: set it before starting")
        target = parameter.to_kernel(parameter.checked(value, name))
        inner, inner_id = self._resolve(name, parameter_id)
        step = self._steps[inner]
        index = [declared.id for declared in step.processor.parameters].index(inner_id)
        self._send(step, index, target, at, parameter.smoothing)

    def bypass(self, name: str, on: bool = True, at: int = NOW) -> None:
        """Play a node's input, delayed by its latency, instead of its output (or back), with a crossfade."""
        node = self._node(name)
        self._send(self._steps[name], WET, 0.0 if on else 1.0, at, CROSSFADE)
        node.bypass = on

    def mute(self, name: str, on: bool = True, at: int = NOW) -> None:
        """Silence a node (or let it sound again), with a ramp."""
        self._switch(self._node(name), "mute", on, at)

    def solo(self, name: str, on: bool = True, at: int = NOW) -> None:
        """Let only the soloed nodes, and what feeds them or is fed by them, be heard."""
        self._switch(self._node(name), "solo", on, at)

    def failed(self) -> list[str]:
        """Nodes that are bypassed since their kernel failed."""
        steps = self._steps.items()
        return [name for name, step in steps if read_acquire(self._rows[step.row], executor.FAILED) == 1]

    def rearm(self, name: str) -> None:
        """Give a failed node a new state and fade it in once its latency has passed; do nothing to others."""
        step = self._step(name)
        row = self._rows[step.row]
        if read_acquire(row, executor.FAILED) != 1:
            return
        step.processor.reset()
        write_release(row, executor.FAILED, 2)
        wet = 0.0 if name in self.graph.nodes and self.graph.nodes[name].bypass else 1.0
        try:
            self._send(step, WET, wet, NOW, CROSSFADE, wait=step.processor.latency, rearm=True)
        except UserError:
            write_release(row, executor.FAILED, 1)
            raise

    def _resolve(self, name: str, parameter: str) -> tuple[str, str]:
        """The step and the parameter that a composite's parameter stands for; others stand for themselves."""
        for target in self._composites[name].mapped if name in self._composites else ():
            if target.id == parameter:
                return self._resolve(f"{name}/{target.node}", target.parameter)
        return name, parameter

    def _node(self, name: str) -> Node:
        if name not in self.graph.nodes:
            listed = ", ".join(self.graph.nodes)
            raise UserError(f"no node {name!r}{nearest(name, self.graph.nodes)} ({listed})")
        return self.graph.nodes[name]

    def _step(self, name: str) -> _Step:
        if name not in self._steps or not self._steps[name].staged:
            known = [known for known, step in self._steps.items() if step.staged]
            raise UserError(f"no node {name!r}{nearest(name, known)} ({', '.join(known)})")
        return self._steps[name]

    def _switch(self, node: Node, switch: str, on: bool, at: int) -> None:
        """Set a node's mute or solo and send what follows; it stays as it was if there is no room to send."""
        before = getattr(node, switch)
        setattr(node, switch, on)
        try:
            self._send_audible(at)
        except UserError:
            setattr(node, switch, before)
            raise

    def _send_audible(self, at: int) -> None:
        for name, audible in self.graph.audible().items():
            if audible != self._audible[name]:
                self._send(self._steps[name], AUDIBLE, 1.0 if audible else 0.0, at, CROSSFADE)
                self._audible[name] = audible

    def _send(
        self,
        step: _Step,
        ramp: int,
        target: float,
        at: int,
        seconds: float,
        wait: int = 0,
        rearm: bool = False,
    ) -> None:
        index = ramp if ramp >= 0 else len(step.ramps) + ramp
        if at != NOW:
            at += step.heard_at + (step.processor.latency if ramp < 0 else 0)
        event = np.array([at, step.row, index, target, round(seconds * self.rate), wait, rearm], np.float64)
        if not self._events.push(event):
            raise UserError(f"more than {COMMANDS} changes wait for the next block: send them later")

    # ------------------------------------------------------------------------------------------ reports

    def latencies(self) -> dict[str, int]:
        """Latency in samples of every node that has one, re-blocking to its hop included."""
        nodes = {name: step.processor for name, step in self._steps.items() if step.staged}
        return {name: processor.latency for name, processor in nodes.items() if processor.latency}

    def statistics(self) -> dict[str, Any]:
        """Counters of the run so far: blocks, samples replaced, and per node times (us) and failures."""
        nodes = {}
        for name, step in self._steps.items():
            if step.staged:
                row = self._rows[step.row]
                nodes[name] = times_us(step.times, int(row[executor.LONGEST]))
                nodes[name]["failures"] = int(row[executor.FAILURES])
                if row[executor.FAILURES]:
                    nodes[name]["failed_at"] = int(row[executor.FAILED_AT])
                    nodes[name]["status"] = int(row[executor.STATUS])
        total = times_us(self._times, int(self.stream[executor.CALLBACK_LONGEST]))
        return {
            "rate": self.rate,
            "block": self.block,
            "channels": self.channels,
            "latency": {"total": self.latency, **self.latencies()},
            "callbacks": int(self.stream[executor.CALLBACKS]),
            "callbacks_refused": int(self.stream[executor.REFUSED]),
            "callback_us": total,
            "nodes": nodes,
            "non_finite_replaced": int(self.stream[executor.NON_FINITE]),
            "over_full_scale": int(self.stream[executor.OVER_FULL_SCALE]),
        }

    def mean_callback_us(self) -> float:
        """Mean time of a device callback, in microseconds."""
        count = int(self._times.sum())
        total = sum(int(n) * executor.bin_ns(bin_) for bin_, n in enumerate(self._times) if n)
        return total / count / 1e3 if count else 0.0

    def close(self) -> None:
        """Release the processors. Only when nothing can run the plan any more."""
        for step in self._steps.values():
            step.processor.release()


def times_us(histogram: NDArray[np.int64], longest_ns: int) -> dict[str, float]:
    """Median, 99th percentile and maximum, in microseconds, of a histogram of `executor.time_bin`."""
    total = int(histogram.sum())
    if total == 0:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    bins = np.searchsorted(np.cumsum(histogram), [0.5 * total, 0.99 * total])
    p50, p99 = (min(executor.bin_ns(int(bin_)), longest_ns) / 1e3 for bin_ in bins)
    return {"p50": round(p50, 2), "p99": round(p99, 2), "max": round(longest_ns / 1e3, 2)}


def _dry_addresses(processor: Processor, outputs: list[Block], dry: Block) -> NDArray[np.int64]:
    """Address of every output channel's dry input: a channel of ``dry`` for the fallback port, else 0."""
    found = []
    for port, block in zip(processor.outputs, outputs, strict=True):
        plays_dry = port.name == processor.fallback and len(dry) in (1, len(block))
        found.append(np.resize(addresses(dry), len(block)) if plays_dry else np.zeros(len(block), np.int64))
    return np.concatenate([np.zeros(0, np.int64), *found])


_ENTRY = End(IN, MAIN)


def _open(graph: Graph, prefix: str = "", entry: End = _ENTRY) -> list[_Part]:
    """The graph's parts in running order, composites replaced by their subgraphs between two ends."""

    def place(end: End) -> End:
        return entry if end.node == IN else End(prefix + end.node, end.port)

    parts = []
    for name in graph.order():
        made, full = graph.nodes[name].make(), prefix + name
        sources: dict[str, list[End]] = {}
        for edge in graph.edges:
            if edge.target.node == name:
                sources.setdefault(edge.target.port, []).append(place(edge.source))
        if isinstance(made, Composite):
            inside = End(f"{full}/in", "in")
            parts.append(_Part(inside.node, Through(made.inputs), sources, staged=False))
            parts += _open(made.graph, f"{full}/", inside)
            ends: dict[str, list[End]] = {}
            for edge in made.graph.edges:
                if edge.target.node == OUT:
                    port = "out" if edge.target.port == MAIN else edge.target.port
                    inner = End(f"{full}/{edge.source.node}", edge.source.port)
                    ends.setdefault(port, []).append(inside if edge.source.node == IN else inner)
            parts.append(_Part(full, Through(made.outputs, made.fallback), ends, dry=inside))
        else:
            parts.append(_Part(full, Reblock(made) if made.hop is not None else made, sources))
    return parts


def _composites(graph: Graph, prefix: str = "") -> dict[str, Composite]:
    """Every composite of a graph, those inside others too, by its full name."""
    found = {}
    for name, node in graph.nodes.items():
        made = node.make()
        if isinstance(made, Composite):
            found[prefix + name] = made
            found |= _composites(made.graph, f"{prefix}{name}/")
    return found


def graph_rate(graph: Graph, rate: int) -> int:
    """The rate at which a graph runs for a file of ``rate``.

    The same if every engine takes it, else the lowest above it that all take, else the highest.

    Raises
    ------
    UserError
        Two engines take no rate in common.
    """
    picky = {part.name: set(rates) for part in _open(graph) if (rates := part.processor.rates) is not None}
    if not picky:
        return rate
    common = set.intersection(*picky.values())
    if not common:
        wants = "; ".join(
            f"{name} takes {', '.join(map(str, sorted(rates)))}" for name, rates in picky.items()
        )
        raise UserError(f"the engines have no rate in common: {wants} (Hz)")
    return rate if rate in common else min((r for r in common if r > rate), default=max(common))
