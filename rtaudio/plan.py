"""A graph made ready to run: placed on lanes, paths aligned, memory laid out, kernels compiled."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio import crash, executor
from rtaudio.counters import (
    BLOCK,
    BLOCKS,
    CHANNELS,
    LATENCY,
    NODE_AHEAD,
    NODE_COST,
    NODE_ENGINE,
    NODE_FAILED,
    NODE_LANE,
    NODE_LATENCY,
    NODE_STATUS,
    NODE_TAKEOVERS,
    NODE_TIMES,
    NODE_WORKER,
    NON_FINITE,
    RATE,
    Counters,
    engine_word,
    report,
    spent_s,
)
from rtaudio.errors import UserError, nearest
from rtaudio.graph import MAIN, OUT, End, Engine, Graph, Node, parameters_of
from rtaudio.kernel import FROM, TO, addresses, raise_ended
from rtaudio.lanes import Receive, Segment, Send, await_slots
from rtaudio.layout import COMMANDS, CROSSFADE, Layout, Signal, Step, Walk
from rtaudio.native import now_ns, read_acquire, write_release
from rtaudio.parts import ENTRY, Part, composites, controls, fallback_of, open_graph, stems
from rtaudio.placement import block_costs_ns, divide, in_process, place
from rtaudio.processes import Pool
from rtaudio.processor import MAXIMUM_CHANNELS, RATES, Block, Parameter, Processor, Value
from rtaudio.remote import Remote, RemoteSegment
from rtaudio.routing import bare
from rtaudio.succession import Succession, steps_of, succession

# Words of a plan: those of the callback's walk, then these.
(
    IN,  # addresses of the graph's input channels
    OUT_CHANNELS,  # addresses of the channels that are heard
    SEGMENTS,  # addresses of the workers' words, see rtaudio.lanes
    N_SEGMENTS,
    KEPT,  # steps that go on when this plan takes over, see rtaudio.succession: int64[N_KEPT, 2]
    N_KEPT,
    KEPT_SEGMENTS,  # workers that do: place in SEGMENTS, address of the words: int64[N_KEPT_SEGMENTS, 2]
    N_KEPT_SEGMENTS,
    TAPS,  # what is copied for `rtaudio.observe`, and how many
    N_TAPS,
    PLAN_WORDS,
) = range(executor.WALK_WORDS, executor.WALK_WORDS + 11)

NOW = -1
"""Position of an event that takes effect with the next block."""
WET, AUDIBLE = -2, -1
"""A node's last two ramps."""
WORKER = "", " wake-up"
"""Ends of the names of a worker's two sections."""
PATIENCE = 1.0
"""Seconds that a worker is given to stop."""
_WAIT_NS = 100_000_000
"""Nanoseconds of waiting for a worker after which Python may be interrupted."""

_NONE = np.zeros(0, np.int64)


class NoRoomError(UserError):
    """More changes at once than the command ring holds."""


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
        self.views: dict[str, Signal] = {}
        """What can be looked at while it runs, by name: see `rtaudio.observation`."""
        self.taps: list[NDArray[Any]] = []
        """Memory that the callback copies the views to."""
        self.segments: list[Segment] = []
        self._heard: list[_Heard] = []
        self._composites = composites(graph)
        self._started = False
        self._counted: list[Counters] = []
        executor.warm_up()
        self._parts = {part.name: part for part in open_graph(graph, rate)}
        self.layout = Layout(rate, block, channels, offline, self._parts)
        self._main, self._steps = self.layout.walk, self.layout.steps
        self._pool: Pool | None = None
        self._pool_end: weakref.finalize[Any, Any] | None = None
        self._succession = Succession()
        try:
            self._build(lane)
        except BaseException:
            if self._pool is not None:
                self._pool.close()
            raise
        self._audible = graph.audible()
        for name, node in graph.nodes.items():
            ramps = self._steps[name].ramps
            ramps[WET, [FROM, TO]] = 0.0 if node.bypass else 1.0
            ramps[AUDIBLE, [FROM, TO]] = 1.0 if self._audible[name] else 0.0
            self._steps[name].targets[:] = ramps[:, TO]
        for step in self._of(name for name, node in graph.nodes.items() if node.held):
            if step.section is None:
                write_release(*step.failure, executor.HELD)
        self._shut_dry_paths()
        self.count_in(Counters())

    # ------------------------------------------------------------------------------------------ building

    def _build(self, lane: int | None) -> None:
        period_ns = self.block / self.rate * 1e9
        offline = bool(self._main.context[2])
        if not offline:
            for part in self._parts.values():
                if in_process(part, lane):
                    self._send_away(part)
        self._prepare(list(self._parts.values()), measured=lane != 0 and not offline)
        workers = {} if offline else place(self._parts, lane, period_ns)
        for name, found in workers.items():
            if found == 2 and not isinstance(self._parts[name].processor, Remote):
                self._parts[name].processor.release()
                self._send_away(self._parts[name])
                self._prepare_part(self._parts[name], measured=True)
        entry = np.zeros((self.channels, self.block), np.float32)
        signals: dict[End, Signal] = {ENTRY: Signal(entry)}
        for group in divide(self._parts, workers, period_ns):
            parts = [self._parts[name] for name in group.parts]
            if group.ahead:
                self._lay_out_segment(parts, group.ahead * self.burst, group.lane, signals)
            else:
                self.layout.lay_out(parts[0], signals)
        self._finish(entry, signals)

    def _prepare(self, parts: list[Part], measured: bool) -> None:
        """Prepare every processor, and measure what a block costs."""
        waits: dict[End, tuple[int, int]] = {ENTRY: (0, 0)}
        for part in parts:
            processor = part.processor
            arrived = [waits[end] for ends in part.sources.values() for end in ends] or [(0, 0)]
            arrival = max(arrival for arrival, _ in arrived)
            waited = arrival - max(arrival - waited for arrival, waited in arrived)
            if processor.grid > 1:
                processor.origin = waited
            self._prepare_part(part, measured)
            waited += processor.waiting
            for port in processor.outputs:
                waits[End(part.name, port.name)] = arrival + processor.latency, waited

    def _prepare_part(self, part: Part, measured: bool) -> None:
        processor = part.processor
        processor.prepare(self.rate, self.block, True, self.channels)
        if isinstance(processor, Remote):
            part.cost, part.mean = processor.cost, processor.mean
        elif measured and part.staged:
            self._measure(part)

    def _measure(self, part: Part) -> None:
        """Measure what a block costs a part; nothing, of one that is held."""
        node = self.graph.nodes[part.name.partition("/")[0]]
        if not node.held:
            with crash.measuring(part.name, node.engine.id):
                costs = block_costs_ns(part.processor)
            part.cost, part.mean = int(costs.max()), int(costs.mean())

    def _send_away(self, part: Part) -> None:
        """Let a worker process prepare a part."""
        if self._pool is None:
            self._pool = Pool()
            self._end_pool_with_plan()
        part.processor, part.lane = Remote(part, self._pool), 2

    def _end_pool_with_plan(self) -> None:
        """Close the pool when nothing refers to the plan any more; it may have had another before."""
        if self._pool_end is not None:
            self._pool_end.detach()
        self._pool_end = None if self._pool is None else weakref.finalize(self, self._pool.close)

    def _lay_out_segment(self, parts: list[Part], ahead: int, lane: int, signals: dict[End, Signal]) -> None:
        """Add parts as a walk of their own, and to the callback's the steps that hand blocks over."""
        names = {part.name for part in parts}
        walk = self.layout.walk = Walk(self.rate, False)
        walk.names = names
        inside = dict(signals)
        for part in parts:
            self.layout.lay_out(part, inside, ahead)
        self.layout.walk = self._main
        reads = [end for part in self._parts.values() if part.name not in names for end in part.reads()]
        reads += [edge.source for edge in self.graph.edges if edge.target.node == OUT]
        reads += [*stems(self._parts.values()), *controls(self._parts.values())]
        given = [end for end in dict.fromkeys(reads) if end.node in names]
        steps = {name: step for name, step in self._steps.items() if step.walk is walk}
        settling = max((inside[end].arrival for end in given), default=0)
        settling -= min((signal.arrival for signal in walk.inputs.values()), default=0)
        if lane == 2:
            assert self._pool is not None  # noqa: S101 - it has prepared the parts
            of_plan = self.rate, self.block, self.channels
            segment: Segment = RemoteSegment(
                self._pool, walk, steps, inside, given, *of_plan, ahead, settling
            )
        else:
            walk.finish()
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
                [copy for step in steps.values() for copy in step.copies()],
                settling,
            )
        self.segments.append(segment)
        self.layout.insert(Send(segment), [signals[end].buffer for end in walk.inputs])
        first, late = 0, ahead * self.block
        for end in given:
            made = inside[end]
            self._receive(segment, first, end, replace(made, arrival=made.arrival + late), late, signals)
            first += len(made.buffer)

    def _receive(
        self, segment: Segment, first: int, end: End, made: Signal, late: int, signals: dict[End, Signal]
    ) -> None:
        """Add the callback's step that plays what a worker made for an end, and its fallback on a miss."""
        through: list[str] = []
        inside = {name: part for name, part in self._parts.items() if name in segment.names}
        ends = fallback_of(end, inside, through)
        dry = None
        widths = {len(signals[each].buffer) for each in ends}
        if len(widths) == 1:
            arrival = max(signals[each].arrival for each in ends)
            dry = Signal(self.layout.gather(ends, widths.pop(), arrival, signals, str(end)), arrival)
        receive = Receive(segment, first, len(made.buffer))
        receive.prepare(self.rate, self.block, True, self.channels)
        output = np.zeros_like(made.buffer)
        part = Part(f"{receive.id}#{len(self._steps)}", receive, {})
        self.layout.append(part, [], [output], dry, made.arrival, late)
        step = self._steps[part.name]
        self._heard.append(_Heard(step.row, [name for name in through if name in self.graph.nodes]))
        signals[end] = Signal(output, made.arrival, made.waited + late, made.tail)

    def _finish(self, entry: Block, signals: dict[End, Signal]) -> None:
        """Align the graph's outputs with each other and lay out what the callback sees."""
        ends: dict[str, list[End]] = {name: [] for name in self.graph.output_names()}
        for edge in self.graph.edges:
            if edge.target.node == OUT:
                ends[edge.target.port].append(edge.source)
        self.latency = max(signals[end].arrival for sources in ends.values() for end in sources)
        self.tail = max(signals[end].tail for sources in ends.values() for end in sources)
        for name, sources in ends.items():
            width = signals[sources[0]].buffer.shape[0]
            self.outputs[name] = self.layout.gather(sources, width, self.latency, signals, f"out.{name}")
        first = next(iter(self.outputs.values()))
        self.views[ENTRY.node] = signals[ENTRY]
        for name, buffer in self.outputs.items():
            self.views[OUT if name == MAIN else f"{OUT}.{name}"] = Signal(buffer, self.latency)
        for end in stems(self._parts.values()):
            self.views[str(end).removesuffix(".out")] = signals[end]
        for end in controls(self._parts.values()):
            self.views[str(end)] = replace(signals[end], control=True)
        self.entry, self.heard = entry, self.outputs.get(MAIN, first)
        self._main.finish()
        self._addresses = addresses(entry), addresses(self.heard)
        self._segment_addresses = np.array([segment.words.ctypes.data for segment in self.segments], np.int64)
        self.words = np.zeros(PLAN_WORDS, np.int64)
        self.words[: executor.WALK_WORDS] = self._main.words
        self.words[IN], self.words[OUT_CHANNELS] = (each.ctypes.data for each in self._addresses)
        self.words[SEGMENTS], self.words[N_SEGMENTS] = self._segment_addresses.ctypes.data, len(self.segments)

    # ------------------------------------------------------------------------------------------ running

    @property
    def position(self) -> int:
        """Absolute position of the next block."""
        return int(self._main.context[0])

    @property
    def context(self) -> NDArray[np.int64]:
        """The callback's context; its first word is the position."""
        return self._main.context

    def check_pace(self) -> list[float]:
        """Refuse what is too slow for real time where it runs. Before `start`: what is not measured is now.

        Returns
        -------
        Shares of real time that the callback and each worker need on average.

        Raises
        ------
        UserError
            The callback, or a worker, has more work than time.
        """
        period_ns = self.block / self.rate * 1e9
        groups: list[tuple[str, set[str]]] = [
            ("on a worker", segment.names & self._parts.keys()) for segment in self.segments
        ]
        on_workers = {name for _, names in groups for name in names}
        callback, shares = "in the callback", []
        for where, names in [(callback, self._parts.keys() - on_workers), *groups]:
            parts = [self._parts[name] for name in names if self._parts[name].staged]
            for part in parts:
                if not part.mean and not isinstance(part.processor, Remote):
                    self._measure(part)
            # A worker has the time of several blocks for the work of a hop; the callback has that of one.
            times = {part.name: part.cost if where == callback else part.mean for part in parts}
            if sum(times.values()) > period_ns:
                slowest = max(times, key=times.__getitem__)
                takes = f"{slowest} takes {times[slowest] / 1e6:.2f} ms"
                measured = f"{takes} of a block of {period_ns / 1e6:.2f} ms, measured"
                advice = "take larger blocks or cheaper settings"
                raise UserError(f"too slow for real time {where}: {measured}; {advice}")
            shares.append(sum(part.mean for part in parts) / period_ns)
        return shares

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
        if block.shape != self.entry.shape or block.dtype != np.float32:
            raise ValueError(f"a block of {block.shape} {block.dtype}, want {self.entry.shape} float32")
        if self.segments and not self._started:
            self.start(self.position)
        replaced = 0
        for source, buffer in zip(block, self.entry, strict=True):
            replaced += executor.enter(source, buffer, self.block, 1)
        self.counters.words[NON_FINITE] += replaced
        while not await_slots(self._segment_addresses, self.position, now_ns() + _WAIT_NS):
            pass
        executor.run_block(self.words, self.block)
        raise_ended()
        self.counters.words[BLOCKS] += 1
        return self.outputs

    # ------------------------------------------------------------------------------------ taking over

    def keep(self, old: Plan) -> None:
        """Let the nodes of a plan that are the same here go on when this one takes over from it.

        Before this plan is offered to the callback. See `rtaudio.succession`.
        """
        found = self._succession = succession(old, self)
        steps = [(old._steps[before].row, self._steps[name].row) for before, name in found.steps]
        workers = [(number, old.segments[before].words.ctypes.data) for before, number in found.segments]
        self._kept = [np.array(pairs, np.int64).reshape(-1, 2) for pairs in (steps, workers)]
        self.words[KEPT], self.words[KEPT_SEGMENTS] = (pairs.ctypes.data for pairs in self._kept)
        self.words[N_KEPT], self.words[N_KEPT_SEGMENTS] = map(len, self._kept)

    @property
    def keeps(self) -> bool:
        """Whether anything goes on in it."""
        return bool(self._succession.steps)

    def succeed(self, old: Plan) -> None:
        """After this plan has taken over: what goes on is its own now, and what it had for that is the old's.

        Where it has been set otherwise than the old plan, it gets there by ramps.
        """
        found, self._succession = self._succession, Succession()
        wanted: list[tuple[Step, NDArray[np.float64]]] = []
        for before, name in found.steps:
            own, other = self._steps[name], old._steps[before]
            wanted.append((own, own.targets))
            own.processor, other.processor = other.processor, own.processor
            own.targets, other.targets = other.targets, own.targets
            for word in own.memory.keys() & set(executor.GOES_ON):
                own.memory[word], other.memory[word] = other.memory[word], own.memory[word]
            if read_acquire(*own.failure) == 2:  # What arms it again was not heard any more.
                write_release(*own.failure, 1)
        for at, number in found.segments:
            here, there = self.segments[number], old.segments[at]
            for theirs, name in zip(steps_of(old, there), steps_of(self, here), strict=True):
                wanted.append((old._steps[theirs], self._steps[name].targets))
                self._steps[name], old._steps[theirs] = old._steps[theirs], self._steps[name]
            self.segments[number], old.segments[at] = there, here
            there.keep, here.keep = self, old
        if any(self.segments[number].lane == 2 for _, number in found.segments):
            self._pool, old._pool = old._pool, self._pool
            for plan in (self, old):
                plan._end_pool_with_plan()
        for name, part in self._parts.items():
            part.processor = self._steps[name].processor
        for name, part in old._parts.items():
            part.processor = old._steps[name].processor
        for step, targets in wanted:
            for index in np.flatnonzero(targets != step.targets):
                of_stage = index >= len(targets) - 2
                smoothing = CROSSFADE if of_stage else step.processor.parameters[index].smoothing
                self._send(step, int(index), float(targets[index]), NOW, smoothing)

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
        parameter = self.parameter(path)
        name, _, parameter_id = path.rpartition(".")
        if not parameter.automatable:
            raise UserError(f"{path} is fixed while sound runs: set it before starting")
        checked = parameter.checked(value, name)
        inner, inner_id = self._resolve(name, parameter_id)
        step = self._steps[inner]
        index = [declared.id for declared in step.processor.parameters].index(inner_id)
        self._send(step, index, parameter.to_kernel(checked), at, parameter.smoothing)
        nodes, (outermost, _, path) = self.graph.nodes, f"{inner}.{inner_id}".partition("/")
        if name not in nodes:
            nodes[outermost].inside[path] = checked
            return
        nodes[name].values[parameter_id] = checked
        if path:
            nodes[outermost].inside.pop(path, None)

    @property
    def inside(self) -> dict[str, Value]:
        """What was set inside of composites, by path: their nodes hold it."""
        nodes = self.graph.nodes.values()
        return {f"{node.name}/{path}": value for node in nodes for path, value in node.inside.items()}

    def parameter(self, path: str) -> Parameter:
        """The declaration of a parameter: see `set`. `UserError` if there is none such."""
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
        return known[parameter_id]

    def value(self, path: str) -> Value:
        """What a parameter is set to, in its unit. `UserError` as `parameter`."""
        parameter = self.parameter(path)
        name, _, parameter_id = path.rpartition(".")
        made = self._composites.get(name) or bare(self._steps[name].processor)
        if not parameter.automatable:
            return made.values[parameter_id]
        inner, inner_id = self._resolve(name, parameter_id)
        if name in self.graph.nodes and f"{inner}.{inner_id}" not in self.inside:
            return self.graph.nodes[name].values.get(parameter_id, made.values[parameter_id])
        step = self._steps[inner]
        index = [declared.id for declared in step.processor.parameters].index(inner_id)
        return parameter.from_kernel(float(step.targets[index]))

    def fixed(self, name: str, parameter: str) -> Value | None:
        """The value of a parameter that is fixed while the plan runs; None if there is none such."""
        made = self._composites.get(name)
        if made is not None:
            return made.values.get(parameter)
        return bare(self._steps[name].processor).values.get(parameter) if name in self._steps else None

    def engines(self) -> dict[str, Engine]:
        """The engines of all nodes, those inside of composites too, by name, in running order."""
        found: dict[str, Engine] = {}
        for name, step in self._steps.items():
            if step.of_node:
                made = step.processor.made if isinstance(step.processor, Remote) else step.processor
                found[name] = type(self._composites.get(name) or bare(made))
        return found

    def owner(self, path: str) -> tuple[Node, Parameter]:
        """The node of the graph that has a parameter, or has one for it where that is inside of a composite.

        `UserError` where there is no such parameter, or the composite has none for it.
        """
        self.parameter(path)
        name, _, parameter_id = path.rpartition(".")
        while name not in self.graph.nodes:
            name, _, inner = name.rpartition("/")
            mapped = self._composites[name].mapped
            found = [each.id for each in mapped if (each.node, each.parameter) == (inner, parameter_id)]
            if not found:
                has = f"it is inside of {name}, which has no parameter for it"
                raise UserError(f"{path} is fixed while sound runs: {has}")
            parameter_id = found[0]
        return self.graph.nodes[name], self.parameter(f"{name}.{parameter_id}")

    def own_lines(self) -> dict[str, Mapping[str, str]]:
        """The lines that nodes take themselves, by their names: see `Processor.lines`."""
        return {name: made.lines for name, made in self._takers()}

    def take(self, name: str, word: str, text: str) -> dict[str, Any]:
        """Let a node do one of its `own_lines`: see `Processor.take`."""
        return bare(self._steps[name].processor).take(word, text)

    def told(self) -> dict[str, dict[str, Any]]:
        """What the nodes that take lines tell, by name: see `Processor.told`."""
        return {name: made.told() for name, made in self._takers()}

    def _takers(self) -> Iterator[tuple[str, Processor]]:
        for name, step in self._steps.items():
            if step.of_node and bare(step.processor).lines:
                yield name, bare(step.processor)

    def bypass(self, name: str, on: bool = True, at: int = NOW) -> None:
        """Play a node's input, delayed by its latency, instead of its output (or back), with a crossfade."""
        node = self.graph.node(name)
        self._send(self._steps[name], WET, 0.0 if on else 1.0, at, CROSSFADE)
        node.bypass, node.held = on, node.held and on
        for step in () if on else self._of([name]):
            if read_acquire(*step.failure) == executor.HELD:
                write_release(*step.failure, 1)
                self._rearm(step)

    def mute(self, name: str, on: bool = True, at: int = NOW) -> None:
        """Silence a node (or let it sound again), with a ramp."""
        self._switch(self.graph.node(name), "mute", on, at)

    def solo(self, name: str, on: bool = True, at: int = NOW) -> None:
        """Let only the soloed nodes, and what feeds them or is fed by them, be heard."""
        self._switch(self.graph.node(name), "solo", on, at)

    def failed(self) -> list[str]:
        """Nodes that are bypassed since their kernel failed."""
        return [name for name, step in self._steps.items() if read_acquire(*step.failure) == 1]

    def reason(self, name: str) -> str:
        """Why a node failed last, in a line; empty where that is not known."""
        section = self._steps[name].section
        words = self.counters.section(name) if section is None else section
        return bare(self._steps[name].processor).error(int(words[NODE_STATUS]))

    def rearm(self, name: str) -> None:
        """Give a failed node a new state and fade it in once its latency has passed; do nothing to others."""
        step = self._step(name)
        if read_acquire(*step.failure) == 1:
            self._rearm(step, name in self.graph.nodes and self.graph.nodes[name].bypass)

    def _rearm(self, step: Step, bypassed: bool = False) -> None:
        if step.section is None:
            step.processor.reset()
        write_release(*step.failure, 2)
        how = 1 if step.section is None else executor.RENEW
        try:
            self._send(
                step, WET, 0.0 if bypassed else 1.0, NOW, CROSSFADE, wait=step.processor.latency, rearm=how
            )
        except UserError:
            write_release(*step.failure, 1)
            raise

    def _of(self, names: Iterable[str]) -> list[Step]:
        """The steps of some of the graph's nodes: those in composites, too."""
        wanted = set(names)
        return [
            step for name, step in self._steps.items() if step.of_node and name.partition("/")[0] in wanted
        ]

    def _resolve(self, name: str, parameter: str) -> tuple[str, str]:
        """The step and the parameter that a composite's parameter stands for; others stand for themselves."""
        for target in self._composites[name].mapped if name in self._composites else ():
            if target.id == parameter:
                return self._resolve(f"{name}/{target.node}", target.parameter)
        return name, parameter

    def _step(self, name: str) -> Step:
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
        step: Step,
        ramp: int,
        target: float,
        at: int,
        seconds: float,
        wait: int = 0,
        rearm: int = 0,
    ) -> None:
        index = ramp if ramp >= 0 else len(step.ramps) + ramp
        if at != NOW:
            at += step.heard_at + (step.processor.latency if ramp < 0 else 0)
        event = np.array([at, step.row, index, target, round(seconds * self.rate), wait, rearm], np.float64)
        if not step.walk.send(event):
            raise NoRoomError(f"more than {COMMANDS} changes wait for the next block: send them later")
        step.targets[index] = target

    # ------------------------------------------------------------------------------------------ reports

    def count_in(self, counters: Counters) -> None:
        """Count in these words from now on."""
        self._counted.append(counters)  # What runs now may be about to count in the former ones.
        self.counters = counters
        for name, step in self._steps.items():
            if step.of_node:
                section = counters.section(name)
                section[NODE_AHEAD], section[NODE_WORKER] = step.ahead, 0
                section[NODE_LATENCY], section[NODE_COST] = step.processor.latency, step.cost
                section[NODE_ENGINE] = engine_word(self.graph.nodes[name.partition("/")[0]].engine.id)
                step.words[executor.COUNTERS] = section.ctypes.data
                section[NODE_FAILED] = read_acquire(*step.failure) != 0
                bare(step.processor).takeovers = section[NODE_TAKEOVERS : NODE_TAKEOVERS + 1]
        for number, segment in enumerate(self.segments, 1):
            worker, wake = (counters.section(f"worker {number}{what}") for what in WORKER)
            worker[NODE_LANE], worker[NODE_AHEAD] = segment.lane, segment.ahead
            worker[NODE_LATENCY], worker[NODE_FAILED] = segment.ahead * self.block, 0
            segment.count_in(worker, wake)
            for name, step in self._steps.items():
                if step.of_node and name in segment.names:
                    section = counters.section(name)
                    section[NODE_LANE], section[NODE_WORKER] = segment.lane, number
        words = counters.words
        words[RATE], words[BLOCK], words[CHANNELS] = self.rate, self.block, self.channels
        words[LATENCY] = self.latency

    def callback_seconds(self) -> dict[str, float]:
        """Seconds that the callback has spent in each of its nodes, while this plan ran or others before."""
        away = {name for segment in self.segments for name in segment.names}
        return {
            name: spent_s(self.counters.section(name)[NODE_TIMES:])
            for name, step in self._steps.items()
            if step.of_node and name not in away
        }

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
            late = f"{segment.ahead} block{'s' * (segment.ahead > 1)} ahead"
            where = ", in a process" if isinstance(segment, RemoteSegment) else ""
            shown.append(f"{', '.join(names)} ({late}{where})")
        return "; ".join(shown)

    def compute(self) -> dict[str, str]:
        """What the networks run on, by the names of their nodes: ``cpu``, ``cuda:0``.

        In a worker process: in the one that works now.
        """
        found = {name: bare(part.processor).runs_on for name, part in self._parts.items()}
        return {name: runs_on for name, runs_on in found.items() if runs_on}

    def collect(self) -> None:
        """Fetch what worker processes have counted."""
        for number, segment in enumerate(self.segments, 1):
            if isinstance(segment, RemoteSegment):
                segment.collect(
                    self.counters, *(self.counters.section(f"worker {number}{what}") for what in WORKER)
                )

    def said(self) -> list[str]:
        """What there is to tell of the worker processes since the last time, a line each."""
        told = []
        while self._pool is not None and self._pool.said:
            told.append(self._pool.said.popleft())
        return told

    @property
    def watch_thread(self) -> int:
        """Number of the thread that watches over worker processes; 0 if there is none."""
        return 0 if self._pool is None else self._pool.thread

    def statistics(self) -> dict[str, Any]:
        """Counters of the run so far, see `rtaudio.counters.report`."""
        self.collect()
        return report(self.counters.words)

    def arrays(self) -> list[NDArray[Any]]:
        """All memory that runs of the plan touch here, for `realtime.lock_memory`."""
        found: list[NDArray[Any]] = []
        away = [segment.walk for segment in self.segments if isinstance(segment, RemoteSegment)]
        for step in self._steps.values():
            if not any(step.walk is walk for walk in away):  # A worker process locks its own.
                found += step.arrays()
        for segment in self.segments:
            found += [segment.words, segment.slot_inputs, segment.slot_outputs]
        return [array for array in found if array.nbytes]

    def close(self) -> bool:
        """Stop the workers and release the processors. Only when nothing can run the plan any more.

        False if a worker hangs: then nothing is released, since it may still be used.
        """
        hanging = [segment for segment in self.segments if not segment.stop(PATIENCE)]
        if self._pool is not None:
            self._pool.close()
        for segment in self.segments:
            if isinstance(segment, RemoteSegment):
                segment.close()
        if not hanging:
            for step in self._steps.values():
                step.processor.release()
        return not hanging
