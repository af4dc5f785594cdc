"""A graph made ready to run: placed on lanes, paths aligned, memory laid out, kernels compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio import executor
from rtaudio.counters import (
    BLOCK,
    BLOCKS,
    CHANNELS,
    LATENCY,
    NODE_AHEAD,
    NODE_COST,
    NODE_LANE,
    NODE_LATENCY,
    NODE_WORDS,
    NON_FINITE,
    RATE,
    Counters,
    report,
)
from rtaudio.errors import UserError, nearest
from rtaudio.graph import MAIN, OUT, End, Graph, Node, parameters_of
from rtaudio.kernel import FROM, TO, addresses, power_of_two, resting
from rtaudio.lanes import FOR_EVER, Receive, Segment, Send, await_slots
from rtaudio.native import read_acquire, write_release
from rtaudio.parts import ENTRY, Part, composites, fallback_of, open_graph
from rtaudio.placement import divide, place, worst_block_ns
from rtaudio.processor import MAXIMUM_CHANNELS, RATES, Block, Port, Processor, Value
from rtaudio.ring import Ring
from rtaudio.routing import Align, Reblock, Sum

# Words of a plan: those of the callback's walk, then these.
(
    IN,  # addresses of the graph's input channels
    OUT_CHANNELS,  # addresses of the channels that are heard
    SEGMENTS,  # addresses of the workers' words, see rtaudio.lanes
    N_SEGMENTS,
    PLAN_WORDS,
) = range(executor.WALK_WORDS, executor.WALK_WORDS + 5)

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
WORKER = "", " wake-up"
"""Ends of the names of a worker's two sections."""
PATIENCE = 1.0
"""Seconds that a worker is given to stop."""

_NONE = np.zeros(0, np.int64)
_NOTHING = np.zeros((0, 0), np.float32)


class _Walk:
    """A table of steps while it is built, and its memory: the callback's, or a worker's."""

    def __init__(self, rate: int, offline: bool) -> None:
        self.context = np.array([0, rate, int(offline)], np.int64)
        self.rows: list[NDArray[np.int64]] = []
        self.events = Ring(COMMANDS * executor.EVENT_WORDS, np.float64)
        self.words = np.zeros(executor.WALK_WORDS, np.int64)
        self.names: set[str] | None = None
        """The parts that a worker's walk runs; None for the callback's."""
        self.inputs: dict[End, _Signal] = {}
        """What it reads from outside."""
        self.delayed: dict[tuple[End, int], _Signal] = {}
        self.scratch = np.zeros(NODE_WORDS, np.int64)
        """Where steps that belong to no node are counted."""

    def finish(self) -> None:
        """Lay out the table; rows are then views of it."""
        self._pending = np.zeros((executor.PENDING_EVENTS, executor.EVENT_WORDS))
        self._table = np.array(self.rows, np.int64).reshape(len(self.rows), executor.ROW_WORDS)
        self.rows[:] = list(self._table)
        self.words[executor.ROWS], self.words[executor.N_ROWS] = self._table.ctypes.data, len(self._table)
        self.words[executor.CONTEXT] = self.context.ctypes.data
        self.words[executor.EVENTS] = self.events.address
        self.words[executor.PENDING] = self._pending.ctypes.data


@dataclass
class _Step:
    """What control keeps of a step."""

    walk: _Walk
    row: int
    processor: Processor
    ramps: NDArray[np.float64]
    of_node: bool
    heard_at: int
    """Position, in the step's own time, at which it hears the first sample of the input."""
    ahead: int
    """Blocks that its worker adds; 0 in the callback."""
    cost: int
    dry_lines: NDArray[np.float32]

    def copies(self) -> list[tuple[int, int, int]]:
        """What makes the step new: see `Processor.copies`; 0 for zeros."""
        return [*self.processor.copies(), (self.dry_lines.ctypes.data, 0, self.dry_lines.nbytes)]

    @property
    def words(self) -> NDArray[np.int64]:
        """The step's row."""
        return self.walk.rows[self.row]


@dataclass
class _Signal:
    """An output port in memory: a (channels, block) buffer.

    Its content is ``arrival`` samples late, of which ``waited`` are due to re-blocking and worker lanes and
    depend on the block, and rings on for ``tail`` samples after the input has ended.
    """

    buffer: Block
    arrival: int = 0
    waited: int = 0
    tail: int = 0


@dataclass
class _Heard:
    """What the callback plays of a worker's output: the row, and the nodes on the path of its fallback."""

    row: int
    nodes: list[str]


class Plan:
    """A graph prepared for a rate, a block and a channel count.

    Runs blocks from Python (`process`) or under a device callback (`rtaudio.stream`), one at a time. One
    other thread, the control thread, may change and watch it meanwhile.

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
    lane
        Where nodes run that do not say so themselves: 0 all in the callback, 1 all on worker threads, None
        decided from their measured cost.
    burst
        Blocks that a device may ask for at once.

    Raises
    ------
    UserError
        A rate or channel count that a node does not take.
    """

    def __init__(
        self,
        graph: Graph,
        rate: int,
        block: int,
        channels: int,
        offline: bool = False,
        lane: int | None = 0,
        burst: int = 1,
    ) -> None:
        if not RATES[0] <= rate <= RATES[1]:
            raise UserError(f"a rate of {rate} Hz is not supported ({RATES[0]} to {RATES[1]} Hz)")
        if block < 1:
            raise UserError(f"blocks of {block} samples are not possible (1 or more)")
        if not 1 <= channels <= MAXIMUM_CHANNELS:
            raise UserError(f"{channels} channels are not supported (1 to {MAXIMUM_CHANNELS})")
        self.graph, self.rate, self.block, self.channels = graph, rate, block, channels
        self.lane, self.burst = lane, burst
        self.outputs: dict[str, Block] = {}
        self.segments: list[Segment] = []
        self.inside: dict[str, Value] = {}
        """What was set inside of composites, by path: the graph does not hold it."""
        self._walk = _Walk(rate, offline)
        self._main = self._walk
        self._keep: list[Any] = []
        self._steps: dict[str, _Step] = {}
        self._heard: list[_Heard] = []
        self._composites = composites(graph)
        self._started = False
        self._counted: list[Counters] = []
        executor.warm_up()
        self._build(lane)
        self._audible = graph.audible()
        for name, node in graph.nodes.items():
            ramps = self._steps[name].ramps
            ramps[WET, [FROM, TO]] = 0.0 if node.bypass else 1.0
            ramps[AUDIBLE, [FROM, TO]] = 1.0 if self._audible[name] else 0.0
        self._shut_dry_paths()
        self.count_in(Counters())

    # ------------------------------------------------------------------------------------------ building

    def _build(self, lane: int | None) -> None:
        self._parts = {part.name: part for part in open_graph(self.graph, self.rate)}
        period_ns = self.block / self.rate * 1e9
        offline = bool(self._main.context[2])
        self._prepare(list(self._parts.values()), measured=lane != 0 and not offline)
        workers = set() if offline else place(self._parts, lane, period_ns)
        entry = np.zeros((self.channels, self.block), np.float32)
        signals: dict[End, _Signal] = {ENTRY: _Signal(entry)}
        for group in divide(self._parts, workers, period_ns):
            parts = [self._parts[name] for name in group.parts]
            if group.ahead:
                self._lay_out_segment(parts, group.ahead * self.burst, signals)
            else:
                self._lay_out(parts[0], signals)
        self._finish(entry, signals)

    def _prepare(self, parts: list[Part], measured: bool) -> None:
        """Prepare every processor, and measure what a block costs."""
        waits: dict[End, tuple[int, int]] = {ENTRY: (0, 0)}
        for part in parts:
            processor = part.processor
            arrived = [waits[end] for ends in part.sources.values() for end in ends] or [(0, 0)]
            arrival = max(arrival for arrival, _ in arrived)
            waited = arrival - max(arrival - waited for arrival, waited in arrived)
            if isinstance(processor, Reblock):
                processor.origin = waited
            processor.prepare(self.rate, self.block, True, self.channels)
            if measured and part.staged:
                part.cost = worst_block_ns(processor)
            waited += processor.waiting if isinstance(processor, Reblock) else 0
            for port in processor.outputs:
                waits[End(part.name, port.name)] = arrival + processor.latency, waited

    def _lay_out(self, part: Part, signals: dict[End, _Signal], ahead: int = 0) -> None:
        """Add a part's step, and those that align and sum what it reads, to the walk in hand."""
        processor = part.processor
        arrived = [signals[end] for ends in part.sources.values() for end in ends]
        arrived = arrived or [signals[ENTRY]]
        arrival = max(signal.arrival for signal in arrived)
        waited = arrival - max(signal.arrival - signal.waited for signal in arrived)
        if isinstance(processor, Reblock) and processor.origin != waited:
            processor.origin = waited  # Workers before it add to what was known when it was measured.
            processor.prepare(self.rate, self.block, True, self.channels)
        inputs = []
        for port in processor.inputs:
            label = f"{part.name}.{port.name}"
            sources = part.sources.get(port.name, [])
            inputs.append(self._gather(sources, self._width(port), arrival, signals, label))
        outputs = [np.zeros((self._width(port), self.block), np.float32) for port in processor.outputs]
        dry = _Signal(inputs[0], arrival) if inputs else None
        if part.dry is not None:
            dry = self._local(part.dry, signals)
        self._append(part, inputs, outputs, dry, arrival, waited, ahead)
        ready = arrival + processor.latency
        waited += processor.waiting if isinstance(processor, Reblock) else 0
        tail = processor.tail + max(signal.tail for signal in arrived)
        for port, buffer in zip(processor.outputs, outputs, strict=True):
            signals[End(part.name, port.name)] = _Signal(buffer, ready, waited, tail)

    def _lay_out_segment(self, parts: list[Part], ahead: int, signals: dict[End, _Signal]) -> None:
        """Add parts as a walk of their own, and to the callback's the steps that hand blocks over."""
        names = {part.name for part in parts}
        walk = self._walk = _Walk(self.rate, False)
        walk.names = names
        inside = dict(signals)
        for part in parts:
            self._lay_out(part, inside, ahead)
        walk.finish()
        self._walk = self._main
        reads = [end for part in self._parts.values() if part.name not in names for end in part.reads()]
        reads += [edge.source for edge in self.graph.edges if edge.target.node == OUT]
        given = [end for end in dict.fromkeys(reads) if end.node in names]
        sources = [addresses(signal.buffer) for signal in walk.inputs.values()]
        results = [addresses(inside[end].buffer) for end in given]
        segment = Segment(
            walk.words,
            walk.context,
            names,
            self.block,
            ahead,
            np.concatenate([_NONE, *sources]),
            np.concatenate([_NONE, *results]),
            [copy for step in self._steps.values() if step.walk is walk for copy in step.copies()],
            max((inside[end].arrival for end in given), default=0)
            - min((signal.arrival for signal in walk.inputs.values()), default=0),
        )
        self.segments.append(segment)
        self._insert(Send(segment), [signals[end].buffer for end in walk.inputs])
        first, late = 0, ahead * self.block
        for end in given:
            made = inside[end]
            self._receive(segment, first, end, replace(made, arrival=made.arrival + late), late, signals)
            first += len(made.buffer)

    def _receive(
        self, segment: Segment, first: int, end: End, made: _Signal, late: int, signals: dict[End, _Signal]
    ) -> None:
        """Add the callback's step that plays what a worker made for an end, and its fallback on a miss."""
        through: list[str] = []
        inside = {name: part for name, part in self._parts.items() if name in segment.names}
        ends = fallback_of(end, inside, through)
        dry = None
        widths = {len(signals[each].buffer) for each in ends}
        if len(widths) == 1:
            arrival = max(signals[each].arrival for each in ends)
            dry = _Signal(self._gather(ends, widths.pop(), arrival, signals, str(end)), arrival)
        receive = Receive(segment, first, len(made.buffer))
        receive.prepare(self.rate, self.block, True, self.channels)
        output = np.zeros_like(made.buffer)
        part = Part(f"{receive.id}#{len(self._keep)}", receive, {})
        self._append(part, [], [output], dry, made.arrival, late)
        step = self._steps[part.name]
        self._heard.append(_Heard(step.row, [name for name in through if name in self.graph.nodes]))
        signals[end] = _Signal(output, made.arrival, made.waited + late, made.tail)

    def _finish(self, entry: Block, signals: dict[End, _Signal]) -> None:
        """Align the graph's outputs with each other and lay out what the callback sees."""
        ends: dict[str, list[End]] = {name: [] for name in self.graph.output_names()}
        for edge in self.graph.edges:
            if edge.target.node == OUT:
                ends[edge.target.port].append(edge.source)
        self.latency = max(signals[end].arrival for sources in ends.values() for end in sources)
        self.tail = max(signals[end].tail for sources in ends.values() for end in sources)
        for name, sources in ends.items():
            width = signals[sources[0]].buffer.shape[0]
            self.outputs[name] = self._gather(sources, width, self.latency, signals, f"out.{name}")
        first = next(iter(self.outputs.values()))
        self._entry, self.heard = entry, self.outputs.get(MAIN, first)
        self._main.finish()
        self._addresses = addresses(entry), addresses(self.heard)
        self._segment_addresses = np.array([segment.words.ctypes.data for segment in self.segments], np.int64)
        self.words = np.zeros(PLAN_WORDS, np.int64)
        self.words[: executor.WALK_WORDS] = self._main.words
        self.words[IN], self.words[OUT_CHANNELS] = (each.ctypes.data for each in self._addresses)
        self.words[SEGMENTS], self.words[N_SEGMENTS] = self._segment_addresses.ctypes.data, len(self.segments)

    def _width(self, port: Port) -> int:
        return self.channels if port.channels is None else port.channels

    def _local(self, end: End, signals: Mapping[End, _Signal]) -> _Signal:
        """What the walk in hand reads for an end: a worker's has a copy of what comes from outside."""
        if self._walk.names is None or end.node in self._walk.names:
            return signals[end]
        if end not in self._walk.inputs:
            outside = signals[end]
            self._walk.inputs[end] = replace(outside, buffer=np.zeros_like(outside.buffer))
        return self._walk.inputs[end]

    def _gather(
        self,
        sources: Sequence[End],
        width: int,
        arrival: int,
        signals: Mapping[End, _Signal],
        port: str,
    ) -> Block:
        """The buffer of an input port: its sources, delayed to ``arrival`` and summed, by steps as needed."""
        buffers, delayed = [], self._walk.delayed
        for end in sources:
            signal = self._local(end, signals)
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
        """Add a step of the host's own; returns its output, if it has one."""
        processor.prepare(self.rate, self.block, True, self.channels)
        outputs = [np.zeros((self._width(port), self.block), np.float32) for port in processor.outputs]
        part = Part(f"{processor.id}#{len(self._keep)}", processor, {}, staged=False)
        self._append(part, inputs, outputs, None, 0, 0)
        return outputs[0] if outputs else _NOTHING

    def _append(
        self,
        part: Part,
        inputs: list[Block],
        outputs: list[Block],
        dry: _Signal | None,
        arrival: int,
        waited: int,
        ahead: int = 0,
    ) -> None:
        """Add a step to the walk in hand.

        Its inputs are ``arrival`` samples late. Its own time begins ``waited`` samples after the run, so that
        it hears the same samples at the same positions whatever the block.
        """
        processor = part.processor
        address, state = processor.kernel()
        ins = np.concatenate([_NONE, *map(addresses, inputs)])
        outs = np.concatenate([_NONE, *map(addresses, outputs)])
        ramps = np.concatenate([processor.ramps(), resting([1.0, 1.0])])
        dry_addresses = np.zeros_like(outs)
        if dry is not None and part.staged:
            dry_addresses = _dry_addresses(processor, outputs, dry.buffer)
        delay = arrival + processor.latency - dry.arrival if dry is not None and dry_addresses.any() else 0
        size = power_of_two(delay + self.block) if delay else 0
        memory = {
            executor.STATE: state,
            executor.INPUTS: np.concatenate([ins, ins]),
            executor.OUTPUTS: np.concatenate([outs, outs]),
            executor.RAMPS: ramps,
            executor.DRY: dry_addresses,
            executor.DRY_LINES: np.zeros((len(outs), size), np.float32),
            executor.DRY_BLOCK: np.zeros(self.block, np.float32),
            executor.LAST: np.zeros((3, len(outs)), np.float32),
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
        row[executor.CROSSFADE] = round(CROSSFADE * self.rate)
        row[executor.COUNTERS] = self._walk.scratch.ctypes.data
        heard_at, place = arrival - waited, len(self._walk.rows)
        self._steps[part.name] = _Step(
            self._walk,
            place,
            processor,
            ramps,
            part.name in self._parts and part.staged,
            heard_at,
            ahead,
            part.cost,
            memory[executor.DRY_LINES],
        )
        self._walk.rows.append(row)
        self._keep.append((memory, inputs, outputs))

    # ------------------------------------------------------------------------------------------ running

    @property
    def position(self) -> int:
        """Absolute position of the next block."""
        return int(self._main.context[0])

    @property
    def context(self) -> NDArray[np.int64]:
        """The callback's context; its first word is the position."""
        return self._main.context

    def start(self, position: int = 0) -> None:
        """Start the workers. The first block is at ``position``, a multiple of the block."""
        self._main.context[0] = position
        for segment in self.segments:
            segment.start(position, keep=self)
        self._started = True

    def process(self, block: Block) -> dict[str, Block]:
        """Run one block from Python; waits for the workers, so none is missed.

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
        if self.segments and not self._started:
            self.start(self.position)
        replaced = 0
        for source, buffer in zip(block, self._entry, strict=True):
            replaced += executor.enter(source, buffer, self.block, 1)
        self.counters.words[NON_FINITE] += replaced
        await_slots(self._segment_addresses, self.position, FOR_EVER)
        executor.run_block(self.words, self.block)
        self.counters.words[BLOCKS] += 1
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
        if name in self.graph.nodes:
            self.graph.nodes[name].values[parameter_id] = parameter.checked(value, name)
            self.inside.pop(f"{inner}.{inner_id}", None)
        else:
            self.inside[f"{inner}.{inner_id}"] = value

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
        return [name for name, step in steps if read_acquire(step.words, executor.FAILED) == 1]

    def rearm(self, name: str) -> None:
        """Give a failed node a new state and fade it in once its latency has passed; do nothing to others."""
        step = self._step(name)
        row = step.words
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
        if name not in self._steps or not self._steps[name].of_node:
            known = [known for known, step in self._steps.items() if step.of_node]
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
        self._shut_dry_paths()

    def _shut_dry_paths(self) -> None:
        """Let no miss be heard through a node that is silent."""
        for heard in self._heard:
            shut = not all(self._audible[name] for name in heard.nodes)
            write_release(self._main.rows[heard.row], executor.DRY_SHUT, int(shut))

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
        if not step.walk.events.push(event):
            raise UserError(f"more than {COMMANDS} changes wait for the next block: send them later")

    # ------------------------------------------------------------------------------------------ reports

    def count_in(self, counters: Counters) -> None:
        """Count in these words from now on."""
        self._counted.append(counters)  # What runs now may be about to count in the former ones.
        self.counters = counters
        for name, step in self._steps.items():
            if step.of_node:
                section = counters.section(name)
                section[NODE_LANE], section[NODE_AHEAD] = int(step.ahead > 0), step.ahead
                section[NODE_LATENCY], section[NODE_COST] = step.processor.latency, step.cost
                step.words[executor.COUNTERS] = section.ctypes.data
        for number, segment in enumerate(self.segments, 1):
            worker, wake = (counters.section(f"worker {number}{what}") for what in WORKER)
            worker[NODE_LANE], worker[NODE_AHEAD] = 1, segment.ahead
            worker[NODE_LATENCY] = segment.ahead * self.block
            segment.count_in(worker, wake)
        words = counters.words
        words[RATE], words[BLOCK], words[CHANNELS] = self.rate, self.block, self.channels
        words[LATENCY] = self.latency

    def sections(self) -> list[str]:
        """Names under which the plan counts."""
        workers = [f"worker {number}{what}" for number in range(1, len(self.segments) + 1) for what in WORKER]
        return [name for name, step in self._steps.items() if step.of_node] + workers

    def placement(self) -> str:
        """In words, what runs on workers; empty if all runs in the callback."""
        shown = []
        for segment in self.segments:
            whole = {name for name in segment.names if name in self.graph.nodes}
            parts = {name for name in segment.names if name.partition("/")[0] not in whole}
            names = [name for name, part in self._parts.items() if name in whole | parts and part.staged]
            shown.append(f"{', '.join(names)} ({segment.ahead} block{'s' * (segment.ahead > 1)} ahead)")
        return "; ".join(shown)

    def statistics(self) -> dict[str, Any]:
        """Counters of the run so far, see `rtaudio.counters.report`."""
        return report(self.counters.words)

    def arrays(self) -> list[NDArray[Any]]:
        """All memory that runs of the plan touch, for `realtime.lock_memory`."""
        found: list[NDArray[Any]] = []
        for memory, inputs, outputs in self._keep:
            found += [*memory.values(), *inputs, *outputs]
        for step in self._steps.values():
            found += step.processor.memory()
        for segment in self.segments:
            found += [segment.words, segment.slot_inputs, segment.slot_outputs]
        return [array for array in found if array.nbytes]

    def close(self) -> bool:
        """Stop the workers and release the processors. Only when nothing can run the plan any more.

        False if a worker hangs: then nothing is released, since it may still be used.
        """
        hanging = [segment for segment in self.segments if not segment.stop(PATIENCE)]
        if not hanging:
            for step in self._steps.values():
                step.processor.release()
        return not hanging


def _dry_addresses(processor: Processor, outputs: list[Block], dry: Block) -> NDArray[np.int64]:
    """Address of every output channel's dry input: a channel of ``dry`` for the fallback port, else 0."""
    found = []
    for port, block in zip(processor.outputs, outputs, strict=True):
        plays_dry = port.name == processor.fallback and len(dry) in (1, len(block))
        found.append(np.resize(addresses(dry), len(block)) if plays_dry else np.zeros(len(block), np.int64))
    return np.concatenate([_NONE, *found])
