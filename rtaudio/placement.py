"""Where the parts of a graph run: in the callback (lane 0) or on worker threads (lane 1), from their cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from math import gcd
from typing import Any

import numpy as np

from rtaudio.errors import UserError
from rtaudio.kernel import addresses
from rtaudio.native import call_kernel, compiled, flush_denormals, now_ns, restore_float_mode
from rtaudio.parts import Part
from rtaudio.processor import Processor
from rtaudio.routing import Reblock

CALLBACK_SHARE = 0.3
"""Share of a block's time that the nodes in the callback may take together; the rest is for the device, other
programs in its chain, and what a measurement on an idle machine does not see."""
HEADROOM = 1.5
"""A worker's blocks are given this much more time than was measured."""
CYCLES, LIMIT_NS = 12, 50_000_000
"""How often every phase of the hop is measured, and after how long that is cut short."""


@dataclass
class Group:
    """Parts that are laid out together, in order: one in the callback, or those of one worker."""

    parts: list[str]
    ahead: int = 0
    """Blocks that their worker is ahead of what is heard; 0: in the callback."""


@compiled
def _time_block(address: int, state: int, inputs: int, outputs: int, n: int, ramps: int, context: Any) -> int:
    mode = flush_denormals()
    before = now_ns()
    call_kernel(address, state, inputs, outputs, n, ramps, context.ctypes.data)
    taken: int = now_ns() - before
    context[0] += n
    restore_float_mode(mode)
    return taken


def worst_block_ns(processor: Processor) -> int:
    """Time of the most expensive block of a prepared processor, in ns; it is reset afterwards.

    A hop that takes several blocks to fill costs its work in one of them. Each phase of the hop counts with
    its fastest run, so that what else the machine does is left out; the first runs, which fill the caches,
    do not count.
    """
    random = np.random.default_rng(0)
    width = processor.ports(processor.inputs)
    block = random.normal(0.0, 0.1, (width, processor.block)).astype(np.float32)
    out = np.zeros((processor.ports(processor.outputs), processor.block), np.float32)
    address, state = processor.kernel()
    inputs, outputs, ramps = addresses(block), addresses(out), processor.ramps()
    context = np.array([0, processor.rate, 0], np.int64)
    hop = (processor.inner.hop or 1) if isinstance(processor, Reblock) else 1
    phases = hop // gcd(hop, processor.block)
    fastest, spent = np.full(phases, 2**62, np.int64), 0
    for number in range(phases * CYCLES):
        taken = _time_block(
            address,
            state.ctypes.data,
            inputs.ctypes.data,
            outputs.ctypes.data,
            processor.block,
            ramps.ctypes.data,
            context,
        )
        spent += taken
        if number >= phases:
            fastest[number % phases] = min(fastest[number % phases], taken)
        if spent > LIMIT_NS and number >= 2 * phases:
            break
    processor.reset()
    return int(fastest.max())


def place(parts: Mapping[str, Part], lane: int | None, period_ns: float) -> set[str]:
    """Names of the parts that run on workers.

    A part goes where the graph says, else where ``lane`` says, else where its engine says. Those that are
    left share the callback, without the most expensive ones if they would take too much of a block; what
    lies between two parts on workers goes with them, so that their latency is paid once.
    """
    for part in parts.values():
        if part.processor.lane > 1:
            has = f"needs lane {part.processor.lane}; this host has lanes 0 and 1"
            raise UserError(f"{part.name}: {part.processor.id} {has}")
    asked = {name: lane if part.lane is None else part.lane for name, part in parts.items()}
    workers = {
        name
        for name, part in parts.items()
        if asked[name] == 1 or (asked[name] is None and part.processor.lane == 1)
    }
    free = [part for name, part in parts.items() if asked[name] is None and name not in workers]
    left = sum(part.cost for name, part in parts.items() if name not in workers)
    for part in sorted(free, key=lambda part: -part.cost):
        if left <= CALLBACK_SHARE * period_ns:
            break
        workers.add(part.name)
        left -= part.cost
    before: set[str] = set()
    for name, part in parts.items():
        if name in workers or any(end.node in before for end in part.reads()):
            before.add(name)
    after = set(workers)
    for part in reversed(list(parts.values())):
        if part.name in after:
            after |= {end.node for end in part.reads()}
    return workers | {part.name for part in free if part.name in before & after}


def divide(parts: Mapping[str, Part], workers: set[str], period_ns: float) -> list[Group]:
    """The parts in running order, those that one worker runs together.

    Neighbours share a worker, unless something in the callback lies between them; so does not what runs
    beside each other, on a machine with several cores.
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
            level[name] = max((level[source] + (source not in workers) for source in sources), default=1)
            for source in sources & workers:
                if level[source] == level[name]:
                    group[root(source)] = root(name)
        else:
            level[name] = max((level[source] for source in sources), default=0)
    order: TopologicalSorter[str] = TopologicalSorter()
    members: dict[str, list[str]] = {}
    for name, part in parts.items():
        members.setdefault(root(name), []).append(name)
        order.add(root(name), *{root(end.node) for end in part.reads() if end.node in parts} - {root(name)})
    return [
        Group(members[name], _ahead([parts[each] for each in members[name]], period_ns) * (name in workers))
        for name in order.static_order()
    ]


def _ahead(parts: list[Part], period_ns: float) -> int:
    """Blocks of latency that the work of one worker needs."""
    return max(1, math.ceil(HEADROOM * sum(part.cost for part in parts) / period_ns))
