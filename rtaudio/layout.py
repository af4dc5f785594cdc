"""Steps in a table, for `executor.run_block`: the memory of a graph's parts, their delayed paths and sums.

A plan lays out what the callback runs, and what each worker does; a worker process lays out its own part
again, by the same code, so that both sides agree on every row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio import executor
from rtaudio.counters import NODE_FAILED, NODE_WORDS
from rtaudio.errors import UserError
from rtaudio.graph import End
from rtaudio.kernel import TO, addresses, power_of_two, resting
from rtaudio.parts import ENTRY, Part
from rtaudio.processor import Block, Port, Processor
from rtaudio.ring import Ring
from rtaudio.routing import Align, Sum

CROSSFADE = 0.010
"""Seconds of the crossfade of bypass, mute and solo."""
DECLICK = 0.005
"""Seconds over which the step into a fallback decays."""
COMMANDS = 4096
"""Events that fit in the command ring between two blocks."""

_NONE = np.zeros(0, np.int64)
_NOTHING = np.zeros((0, 0), np.float32)


class Walk:
    """A table of steps while it is built, and its memory: the callback's, or a worker's."""

    def __init__(self, rate: int, offline: bool) -> None:
        self.context = np.array([0, rate, int(offline)], np.int64)
        self.rows: list[NDArray[np.int64]] = []
        self.events = Ring(COMMANDS * executor.EVENT_WORDS, np.float64)
        self.send: Callable[[NDArray[np.float64]], bool] = self.events.push
        """How control sends an event; False where there is no room."""
        self.words = np.zeros(executor.WALK_WORDS, np.int64)
        self.names: set[str] | None = None
        """The parts that a worker's walk runs; None for the callback's."""
        self.inputs: dict[End, Signal] = {}
        """What it reads from outside."""
        self.delayed: dict[tuple[End, int], Signal] = {}
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
class Step:
    """What control keeps of a step."""

    walk: Walk
    row: int
    processor: Processor
    memory: dict[int, NDArray[Any]]
    """Its arrays, by the words of its row."""
    inputs: list[Block]
    outputs: list[Block]
    of_node: bool
    heard_at: int
    """Position, in the step's own time, at which it hears the first sample of the input."""
    ahead: int
    """Blocks that its worker adds; 0 in the callback."""
    cost: int
    targets: NDArray[np.float64]
    """Where control has sent every ramp."""
    section: NDArray[np.int64] | None = None
    """What a worker process counts of it; None: it runs in this process."""

    @property
    def ramps(self) -> NDArray[np.float64]:
        """Those of the parameters, then of the stage."""
        return self.memory[executor.RAMPS]

    def arrays(self) -> list[NDArray[Any]]:
        """All that it touches when it runs."""
        return [*self.memory.values(), *self.inputs, *self.outputs, *self.processor.memory()]

    def copies(self) -> list[tuple[int, int, int]]:
        """What makes the step new: see `Processor.copies`; 0 for zeros."""
        dry_lines = self.memory[executor.DRY_LINES]
        return [*self.processor.copies(), (dry_lines.ctypes.data, 0, dry_lines.nbytes)]

    @property
    def words(self) -> NDArray[np.int64]:
        """The step's row."""
        return self.walk.rows[self.row]

    @property
    def failure(self) -> tuple[NDArray[np.int64], int]:
        """The word that is 1 from a failure on, and 2 while the step is armed again: where, and which."""
        return (self.words, executor.FAILED) if self.section is None else (self.section, NODE_FAILED)


@dataclass
class Signal:
    """An output port in memory: a (channels, block) buffer.

    Its content is ``arrival`` samples late, of which ``waited`` are due to re-blocking and worker lanes and
    depend on the block, and rings on for ``tail`` samples after the input has ended. With ``control`` it is
    no sound: see `rtaudio.processor.Port`.
    """

    buffer: Block
    arrival: int = 0
    waited: int = 0
    tail: int = 0
    control: bool = False


class Layout:
    """What lays out a graph's parts, for a rate (Hz), a block (samples) and a channel count.

    Attributes
    ----------
    walk : Walk
        The walk in hand, to which steps are added.
    steps : dict
        Every step so far, by name.
    """

    def __init__(
        self, rate: int, block: int, channels: int, offline: bool, parts: Mapping[str, Part]
    ) -> None:
        self.rate, self.block, self.channels, self.parts = rate, block, channels, parts
        self.walk = Walk(rate, offline)
        self.steps: dict[str, Step] = {}

    def lay_out(self, part: Part, signals: dict[End, Signal], ahead: int = 0) -> None:
        """Add a part's step, and those that align and sum what it reads, to the walk in hand."""
        processor = part.processor
        arrived = [signals[end] for ends in part.sources.values() for end in ends]
        arrived = arrived or [signals[ENTRY]]
        arrival = max(signal.arrival for signal in arrived)
        waited = arrival - max(signal.arrival - signal.waited for signal in arrived)
        if processor.grid > 1 and processor.origin != waited:
            processor.origin = waited  # Workers before it add to what was known when it was measured.
            processor.prepare(self.rate, self.block, True, self.channels)
        inputs = []
        for port in processor.inputs:
            label = f"{part.name}.{port.name}"
            sources = part.sources.get(port.name, [])
            inputs.append(self.gather(sources, self.width(port), arrival, signals, label))
        outputs = [np.zeros((self.width(port), self.block), np.float32) for port in processor.outputs]
        dry = Signal(inputs[0], arrival) if inputs else None
        if part.dry is not None:
            dry = self._local(part.dry, signals)
        self.append(part, inputs, outputs, dry, arrival, waited, ahead)
        ready = arrival + processor.latency
        waited += processor.waiting
        tail = processor.tail + max(signal.tail for signal in arrived)
        for port, buffer in zip(processor.outputs, outputs, strict=True):
            signals[End(part.name, port.name)] = Signal(buffer, ready, waited, tail)

    def width(self, port: Port) -> int:
        """Channels of a port."""
        return self.channels if port.channels is None else port.channels

    def _local(self, end: End, signals: Mapping[End, Signal]) -> Signal:
        """What the walk in hand reads for an end: a worker's has a copy of what comes from outside."""
        if self.walk.names is None or end.node in self.walk.names:
            return signals[end]
        if end not in self.walk.inputs:
            outside = signals[end]
            self.walk.inputs[end] = replace(outside, buffer=np.zeros_like(outside.buffer))
        return self.walk.inputs[end]

    def gather(
        self,
        sources: Sequence[End],
        width: int,
        arrival: int,
        signals: Mapping[End, Signal],
        port: str,
    ) -> Block:
        """The buffer of an input port: its sources, delayed to ``arrival`` and summed, by steps as needed."""
        buffers, delayed = [], self.walk.delayed
        for end in sources:
            signal = self._local(end, signals)
            if signal.buffer.shape[0] != width:
                has = f"{end} has {signal.buffer.shape[0]} channels"
                raise UserError(f"{has}, {port} takes {width}: connect another port")
            wait = arrival - signal.arrival
            if wait and (end, wait) not in delayed:
                delayed[end, wait] = Signal(self.insert(Align(width, wait), [signal.buffer]), arrival)
            buffers.append(delayed[end, wait].buffer if wait else signal.buffer)
        if not buffers:
            return np.zeros((width, self.block), np.float32)
        return buffers[0] if len(buffers) == 1 else self.insert(Sum(width, len(buffers)), buffers)

    def insert(self, processor: Processor, inputs: list[Block]) -> Block:
        """Add a step of the host's own; returns its output, if it has one."""
        processor.prepare(self.rate, self.block, True, self.channels)
        outputs = [np.zeros((self.width(port), self.block), np.float32) for port in processor.outputs]
        part = Part(f"{processor.id}#{len(self.steps)}", processor, {}, staged=False)
        self.append(part, inputs, outputs, None, 0, 0)
        return outputs[0] if outputs else _NOTHING

    def append(
        self,
        part: Part,
        inputs: list[Block],
        outputs: list[Block],
        dry: Signal | None,
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
        row[executor.HOP] = processor.grid
        row[executor.ORIGIN] = waited
        row[executor.STAGED] = int(part.staged)
        row[executor.DRY_SIZE], row[executor.DRY_DELAY] = size, delay
        row[executor.DECLICK] = max(1, round(DECLICK * self.rate))
        row[executor.DECLICK_FROM] = -row[executor.DECLICK]
        row[executor.CROSSFADE] = round(CROSSFADE * self.rate)
        row[executor.COUNTERS] = self.walk.scratch.ctypes.data
        heard_at, place = arrival - waited, len(self.walk.rows)
        self.steps[part.name] = Step(
            self.walk,
            place,
            processor,
            memory,
            inputs,
            outputs,
            part.name in self.parts and part.staged,
            heard_at,
            ahead,
            part.cost,
            ramps[:, TO].copy(),
        )
        self.walk.rows.append(row)


def _dry_addresses(processor: Processor, outputs: list[Block], dry: Block) -> NDArray[np.int64]:
    """Address of every output channel's dry input: a channel of ``dry`` for the fallback port, else 0."""
    found = []
    for port, block in zip(processor.outputs, outputs, strict=True):
        plays_dry = port.name == processor.fallback and len(dry) in (1, len(block))
        found.append(np.resize(addresses(dry), len(block)) if plays_dry else np.zeros(len(block), np.int64))
    return np.concatenate([_NONE, *found])
