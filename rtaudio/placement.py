"""Where the parts of a graph run: in the callback (lane 0), a thread (1) or a process (2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.errors import UserError
from rtaudio.kernel import addresses
from rtaudio.native import call_kernel, compiled, flush_denormals, now_ns, restore_float_mode
from rtaudio.parts import Part
from rtaudio.processor import Processor
from rtaudio.routing import Reblock, bare

CALLBACK_SHARE = 0.3
"""Share of a block's time that the nodes in the callback may take together; the rest is for the device, other
programs in its chain, and what a measurement on an idle machine does not see."""
HEADROOM = 1.5
"""A worker's blocks are given this much more time than was measured."""
SLACK_NS = 500_000
"""And this, but at most twice as much again: heavy work takes so much longer in one of a hundred blocks."""
CYCLES, FEWEST, LIMIT_NS = 12, 3, 50_000_000
"""How often every phase of the hop is measured; how often at least, where that takes longer: what else the
machine does may hit one or two."""


@dataclass
class Group:
    """Parts that are laid out together, in order: one in the callback, or those of one worker."""

    parts: list[str]
    ahead: int = 0
    """Blocks that their worker is ahead of what is heard; 0: in the callback."""
    lane: int = 0


@compiled
def _time_block(
    address: int, state: int, inputs: int, outputs: int, n: int, ramps: int, context: Any
) -> tuple[int, int]:
    """Nanoseconds of a block, and the kernel's status."""
    mode = flush_denormals()
    before = now_ns()
    status = call_kernel(address, state, inputs, outputs, n, ramps, context.ctypes.data)
    taken = now_ns() - before
    context[0] += n
    restore_float_mode(mode)
    return taken, status


def block_costs_ns(processor: Processor, cycles: int = CYCLES) -> NDArray[np.int64]:
    """Times of a prepared processor's blocks, one for each phase of its hop, in ns; it is reset afterwards.

    A hop that takes several blocks to fill costs its work in one of them. Each phase of the hop counts with
    its fastest run, so that what else the machine does is left out; the first runs, which fill the caches,
    do not count.

    Parameters
    ----------
    processor
        Prepared; at rest.
    cycles
        How often every phase runs, at most, the first time included.

    Raises
    ------
    UserError
        It failed in every block.
    """
    random = np.random.default_rng(0)
    width = processor.ports(processor.inputs)
    block = random.normal(0.0, 0.1, (width, processor.block)).astype(np.float32)
    out = np.zeros((processor.ports(processor.outputs), processor.block), np.float32)
    address, state = processor.kernel()
    inputs, outputs, ramps = addresses(block), addresses(out), processor.ramps()
    context = np.array([0, processor.rate, 0], np.int64)
    phases = processor.grid // gcd(processor.grid, processor.block)
    if processor.stretch is not None:
        phases = -(-processor.stretch[1] // processor.block)
    fastest, spent = np.full(phases, 2**62, np.int64), 0
    works = False
    for number in range(phases * cycles):
        if processor.stretch is not None and number % phases == 0:
            context[0] = processor.stretch[0]
        taken, status = _time_block(
            address,
            state.ctypes.data,
            inputs.ctypes.data,
            outputs.ctypes.data,
            processor.block,
            ramps.ctypes.data,
            context,
        )
        works = works or status == 0
        spent += taken
        if number >= phases:
            fastest[number % phases] = min(fastest[number % phases], taken)
        if spent > LIMIT_NS and number + 1 >= (1 + FEWEST) * phases:
            break
    if not works:
        reason = bare(processor).error(status) or f"status {status}"
        raise UserError(f"{bare(processor).id} fails in every block: {reason}")
    processor.reset()
    return fastest[: number + 1]


def in_process(part: Part, lane: int | None) -> bool:
    """Whether a part runs in a worker process, whatever it costs.

    Raises
    ------
    UserError
        The graph wants an engine in Python to run elsewhere.
    """
    processor = part.processor.inner if isinstance(part.processor, Reblock) else part.processor
    if processor.in_python or processor.calls_python:
        if part.lane in (0, 1):
            does = "is written in" if processor.in_python else "is run by"
            only = f"{processor.id} {does} Python and runs in lane 2 only"
            raise UserError(f"{part.name}: {only}; leave lane={part.lane} out")
        return True
    return _asked(part, lane) == 2


def _asked(part: Part, lane: int | None) -> int | None:
    """Where a part has to go; None: where there is room."""
    asked = lane if part.lane is None else part.lane
    return asked if asked is not None else part.processor.lane or None


def place(parts: Mapping[str, Part], lane: int | None, period_ns: float) -> dict[str, int]:
    """Lanes of the parts that run on workers, by name.

    A part goes where the graph says, else where ``lane`` says, else where its engine says; one in Python
    into a process. Those that are left share the callback, without the most expensive ones if they would take
    too much of a block; what lies between two parts on workers goes with them, so that their latency is paid
    once.
    """
    wanted = {name: 2 if in_process(part, lane) else _asked(part, lane) for name, part in parts.items()}
    workers = {name: found for name, found in wanted.items() if found}
    free = [part for name, part in parts.items() if wanted[name] is None]
    left = sum(part.cost for name, part in parts.items() if name not in workers)
    for part in sorted(free, key=lambda part: -part.cost):
        if left <= CALLBACK_SHARE * period_ns:
            break
        workers[part.name] = 1
        left -= part.cost
    between, between_processes = (
        _between(parts, {name for name, found in workers.items() if found >= lowest}) for lowest in (1, 2)
    )
    for part in free:
        if part.name in between_processes and part.portable:
            workers[part.name] = 2
        elif part.name in between:
            workers.setdefault(part.name, 1)
    return workers


def _between(parts: Mapping[str, Part], ends: set[str]) -> set[str]:
    """Those of ``ends``, and what lies on a path between two of them."""
    before: set[str] = set()
    for name, part in parts.items():
        if name in ends or any(end.node in before for end in part.reads()):
            before.add(name)
    after = set(ends)
    for part in reversed(list(parts.values())):
        if part.name in after:
            after |= {end.node for end in part.reads()}
    return before & after


def divide(parts: Mapping[str, Part], workers: Mapping[str, int], period_ns: float) -> list[Group]:
    """The parts in running order, those that one worker runs together; ``workers`` are lanes, by name.

    Neighbours in the same lane share a worker, unless something in another lies between them; so does not
    what runs beside each other, on a machine with several cores.
    """
    level: dict[str, int] = {}
    group: dict[str, str] = {}

    def root(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    for name, part in parts.items():
        group[name] = name
        sources = {end.node for end in part.reads() if end.node in parts}
        if name in workers:
            lane = workers[name]
            level[name] = max((level[each] + (workers.get(each) != lane) for each in sources), default=1)
            for source in sources:
                if workers.get(source) == lane and level[source] == level[name]:
                    group[root(source)] = root(name)
        else:
            level[name] = max((level[source] for source in sources), default=0)
    order: TopologicalSorter[str] = TopologicalSorter()
    members: dict[str, list[str]] = {}
    for name, part in parts.items():
        members.setdefault(root(name), []).append(name)
        order.add(root(name), *{root(end.node) for end in part.reads() if end.node in parts} - {root(name)})
    found = []
    for name in order.static_order():
        ahead = _ahead([parts[each] for each in members[name]], period_ns) if name in workers else 0
        found.append(Group(members[name], ahead, workers.get(name, 0)))
    return found


def _ahead(parts: list[Part], period_ns: float) -> int:
    """Blocks of latency that the work of one worker needs."""
    needed = HEADROOM * sum(part.cost for part in parts)
    return max(1, math.ceil(min(needed + SLACK_NS, 3 * needed) / period_ns))
