"""A graph opened: composites replaced by what they stand for, in running order, with re-blocking to hops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rtaudio.errors import UserError
from rtaudio.graph import IN, MAIN, OUT, Composite, End, Graph
from rtaudio.processor import Processor
from rtaudio.routing import Reblock, Through

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
