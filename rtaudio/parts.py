"""A graph opened: composites replaced by what they stand for, in running order, with re-blocking to hops."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from typing import Any

from rtaudio.errors import UserError
from rtaudio.graph import IN, MAIN, OUT, Composite, End, Graph, engine_of
from rtaudio.processor import Port, Processor, Value
from rtaudio.registry import load_engine
from rtaudio.routing import Reblock, Through, bare

ENTRY = End(IN, MAIN)
"""What comes from the device or file."""


@dataclass
class Part:
    """A step of the opened graph: a node, one in a composite (``remix/hpss``), or an end of a composite."""

    name: str
    processor: Processor
    sources: dict[str, list[End]]
    staged: bool = True
    dry: End | None = None
    """What the stage plays, delayed, when the part is bypassed; None: the part's own first input."""
    lane: int | None = None
    """Where the graph wants it; None: decided from its cost."""
    cost: int = 0
    """Worst time of a block, in ns, as measured."""
    mean: int = 0
    """Mean time of a block, in ns."""

    @property
    def portable(self) -> bool:
        """Whether another process can make it: see `describe`."""
        with suppress(UserError):
            describe(self)
            return True
        return False

    def reads(self) -> Iterator[End]:
        """Every end that the part's inputs or its stage read."""
        for ends in self.sources.values():
            yield from ends
        if self.dry is not None:
            yield self.dry


def open_graph(
    graph: Graph, rate: int | None = None, prefix: str = "", entry: End = ENTRY, lane: int | None = None
) -> list[Part]:
    """The graph's parts in running order, composites replaced by their subgraphs between two ends.

    Processors are fitted to the rate (Hz), if it is known.
    """

    def place(end: End) -> End:
        return entry if end.node == IN else End(prefix + end.node, end.port)

    parts = []
    for name in graph.order():
        node = graph.nodes[name]
        made, full = node.make(), prefix + name
        wanted = lane if node.lane is None else node.lane
        sources: dict[str, list[End]] = {}
        for edge in graph.edges:
            if edge.target.node == name:
                sources.setdefault(edge.target.port, []).append(place(edge.source))
        if isinstance(made, Composite):
            inside = End(f"{full}/in", "in")
            parts.append(Part(inside.node, Through(made.inputs), sources, staged=False, lane=wanted))
            parts += open_graph(made.graph, rate, f"{full}/", inside, wanted)
            ends: dict[str, list[End]] = {}
            for edge in made.graph.edges:
                if edge.target.node == OUT:
                    port = "out" if edge.target.port == MAIN else edge.target.port
                    inner = End(f"{full}/{edge.source.node}", edge.source.port)
                    ends.setdefault(port, []).append(inside if edge.source.node == IN else inner)
            exit_ = Through(made.outputs, made.fallback)
            parts.append(Part(full, exit_, ends, dry=inside, lane=wanted))
        else:
            made.connected = frozenset(sources)
            if rate is not None:
                made.fit(rate)
            processor = Reblock(made) if made.hop is not None else made
            parts.append(Part(full, processor, sources, lane=wanted))
    return parts


def composites(graph: Graph, prefix: str = "") -> dict[str, Composite]:
    """Every composite of a graph, those inside others too, by its full name."""
    found = {}
    for name, node in graph.nodes.items():
        made = node.make()
        if isinstance(made, Composite):
            found[prefix + name] = made
            found |= composites(made.graph, f"{prefix}{name}/")
    return found


def stems(parts: Iterable[Part]) -> list[End]:
    """What a graph divides its sound into: outputs of nodes that have several; of a composite, what it sums.

    Inside of a composite that sums, nothing is looked for but that.
    """
    found: list[End] = []
    staged: set[str] = set()
    for part in parts:
        if part.staged:
            staged.add(part.name)
        sounds = [port.name for port in part.processor.outputs if not port.control]
        summed = [end for ends in part.sources.values() if len(ends) > 1 for end in ends]
        if isinstance(part.processor, Through) and part.staged and summed:
            found = [end for end in found if not end.node.startswith(f"{part.name}/")]
            found += [end for end in dict.fromkeys(summed) if end.node in staged]
        elif part.staged and len(sounds) > 1 and not isinstance(part.processor, Through):
            found += [End(part.name, port) for port in sounds]
    return found


def controls(parts: Iterable[Part]) -> list[End]:
    """The outputs of nodes that are no sound."""
    return [
        End(part.name, port.name)
        for part in parts
        if part.staged
        for port in part.processor.outputs
        if port.control
    ]


def fallback_of(end: End, parts: Mapping[str, Part], through: list[str]) -> list[End]:
    """What is heard at an end when all of ``parts`` play their fallbacks: ends outside of them, summed.

    The names of the nodes on the way are added to ``through``.
    """
    if end.node not in parts:
        return [end]
    part = parts[end.node]
    if not part.staged:
        ends = part.sources[end.port]
    elif end.port != part.processor.fallback:
        return []
    elif part.dry is not None:
        ends = [part.dry]
    else:
        ends = next(iter(part.sources.values()), [])
    through.append(part.name)
    return [found for source in ends for found in fallback_of(source, parts, through)]


def graph_rate(graph: Graph, rate: int) -> int:
    """The rate at which a graph runs for a file of ``rate``.

    The same if every engine takes it, else the lowest above it that all take, else the highest.

    Raises
    ------
    UserError
        Two engines take no rate in common.
    """
    parts = open_graph(graph)
    picky = {part.name: set(rates) for part in parts if (rates := part.processor.rates) is not None}
    if not picky:
        return rate
    common = set.intersection(*picky.values())
    if not common:
        wants = "; ".join(
            f"{name} takes {', '.join(map(str, sorted(rates)))}" for name, rates in picky.items()
        )
        raise UserError(f"the engines have no rate in common: {wants} (Hz)")
    return rate if rate in common else min((r for r in common if r > rate), default=max(common))


def offline_block(graph: Graph, least: int) -> int:
    """Samples of a block with which a graph is rendered: ``least``, or what a processor gains from."""
    return max([least, *(bare(part.processor).offline_block for part in open_graph(graph))])


# ---------------------------------------------------------------------------------------- in other processes


def describe(part: Part) -> dict[str, Any]:
    """A part that is not prepared, in words that JSON takes: another process makes it of them, see `rebuild`.

    Raises
    ------
    UserError
        No other process can find its engine.
    """
    processor = part.processor
    inner = processor.inner if isinstance(processor, Reblock) else processor
    return {
        "name": part.name,
        "made": _describe(part.name, inner),
        "values": inner.values,
        "connected": sorted(inner.connected),
        "sources": {port: [[end.node, end.port] for end in ends] for port, ends in part.sources.items()},
        "staged": part.staged,
        "dry": None if part.dry is None else [part.dry.node, part.dry.port],
    }


def _describe(name: str, processor: Processor) -> dict[str, Any]:
    """What makes the processor: a registered engine, a class in a module, or the end of a composite."""
    engine = type(processor)
    if isinstance(processor, Through):
        ports = [[port.name, port.channels, port.optional] for port in processor.inputs]
        return {"ports": ports, "fallback": processor.fallback}
    with suppress(UserError):
        if engine_of(load_engine(engine.id), processor.values) is engine:
            return {"engine": engine.id}
    module, place = engine.__module__, engine.__qualname__
    with suppress(AttributeError):
        declared = attrgetter(place)(sys.modules.get(module))
        same = isinstance(declared, type) and engine_of(declared, processor.values) is engine
        if module != "__main__" and same:
            return {"module": module, "class": place}
    found = f"no other process can import its class {place!r} of {module!r}"
    raise UserError(f"{name}: {engine.id} cannot run in a worker process: {found}; move it into a module")


def rebuild(description: Mapping[str, Any], rate: int) -> Part:
    """The part that `describe` described, fitted to a rate (Hz).

    Raises
    ------
    UserError
        Its engine cannot be imported, or does not take its values.
    """
    made = description["made"]
    processor: Processor
    if "ports" in made:
        processor = Through([Port(*port) for port in made["ports"]], made["fallback"])
    else:
        processor = _engine(made, description["values"])(**description["values"])
        processor.connected = frozenset(description["connected"])
        processor.fit(rate)
    sources = {port: [End(*end) for end in ends] for port, ends in description["sources"].items()}
    dry = None if description["dry"] is None else End(*description["dry"])
    whole = processor if processor.hop is None else Reblock(processor)
    return Part(description["name"], whole, sources, description["staged"], dry)


def _engine(made: Mapping[str, Any], values: Mapping[str, Value]) -> type[Processor]:
    if "engine" in made:
        found = load_engine(made["engine"])
    else:
        try:
            found = attrgetter(made["class"])(import_module(made["module"]))
        except Exception as error:
            said = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
            raise UserError(f"{made['module']} cannot be imported: {said}") from None
    if not issubclass(found, Processor):
        raise UserError(f"{found.__name__} is no Processor")
    return found.of(values)
