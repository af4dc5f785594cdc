"""A graph as the user means it: named nodes, edges between ports, composites that stand for a subgraph."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from graphlib import CycleError, TopologicalSorter
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from rtaudio.errors import UserError, nearest
from rtaudio.processor import Parameter, Port, Processor, Value, check_values

IN, OUT = "in", "out"
"""Names of the graph's own ends: ``in`` is what comes from the device or file, ``out`` is what is heard."""

SWITCHES = "bypass", "mute", "solo"
"""Of every node."""

MAIN = "main"
"""The output that is heard; an edge to ``out.NAME`` makes another, rendered beside it."""


@dataclass(frozen=True)
class Mapped:
    """A parameter of a composite: ``id`` sets ``parameter`` of the inner ``node``, with its own default."""

    id: str
    node: str
    parameter: str
    default: Value | None = None


class Composite:
    """Base of the engines that are declared as a subgraph. It has one input, ``in``.

    Its parameters are those of its own, which `build` reads and which are fixed while sound runs, and those
    that set parameters of inner nodes.

    Parameters
    ----------
    **values
        Parameters by id, in their units.
    """

    id: ClassVar[str] = ""
    version: ClassVar[int] = 1
    summary: ClassVar[str] = ""
    inputs: ClassVar[tuple[Port, ...]] = (Port("in"),)
    outputs: ClassVar[tuple[Port, ...]] = (Port("out"),)
    fallback: ClassVar[str | None] = "out"
    unity: ClassVar[Mapping[str, Value] | None] = {}
    tolerance: ClassVar[float] = 0.0
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {}
    limits: ClassVar[bool] = False
    """As of a `Processor`."""
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    """Those of its own; `parameters_of` gives all."""
    nodes: ClassVar[Mapping[str, Engine]] = {}
    edges: ClassVar[Sequence[str]] = ()
    """Edges of the subgraph; ``out.PORT`` is the composite's output of that name, and ``out`` its ``out``."""
    mapped: ClassVar[Sequence[Mapped]] = ()

    def __init__(self, /, **values: Value) -> None:
        self.values = check_values(self.id, parameters_of(type(self)), values, {})
        inner: dict[str, dict[str, Value]] = {name: {} for name in self.nodes}
        for target in self.mapped:
            if target.id in values or target.default is not None:
                inner[target.node][target.parameter] = self.values[target.id]
        self.graph = self.build([Node(name, engine, inner[name]) for name, engine in self.nodes.items()])

    @classmethod
    def model_files(cls, values: Mapping[str, Value]) -> Mapping[str, Path]:
        """As of a `Processor`."""
        return {}

    def build(self, nodes: list[Node]) -> Graph:
        """The subgraph of the declared nodes, which have their values.

        By default they are connected by ``edges``. A composite in which other nodes are depending on
        ``values`` overrides this; `UserError` if they do not fit.
        """
        return Graph(nodes, self.edges)


Engine: TypeAlias = "type[Processor] | type[Composite]"


def engine_of(engine: Engine, values: Mapping[str, Value]) -> Engine:
    """The engine as it declares itself with these values: see `Processor.of`."""
    return engine if issubclass(engine, Composite) else engine.of(values)


def parameters_of(engine: Engine) -> tuple[Parameter, ...]:
    """Declared parameters; a composite's are its own and, by its names and defaults, its inner nodes'."""
    if not issubclass(engine, Composite):
        return engine.parameters
    found = list(engine.parameters)
    for target in engine.mapped:
        parameter = next(p for p in parameters_of(engine.nodes[target.node]) if p.id == target.parameter)
        default = parameter.default if target.default is None else target.default
        found.append(replace(parameter, id=target.id, default=default))
    return tuple(found)


def set_inside(made: Processor | Composite, path: str, value: Value) -> None:
    """Set a parameter of a node inside of a composite that no plan has opened yet.

    Parameters
    ----------
    made
        The composite.
    path
        ``"node.parameter"``, or ``"node/node.parameter"`` where that is a composite, too.
    value
        In the parameter's unit.

    Raises
    ------
    UserError
        There is no such node or parameter, or the value does not fit.
    """
    name, _, parameter = path.rpartition(".")
    nodes = made.graph.nodes if isinstance(made, Composite) else {}
    around = [node for node in nodes.values() if path.startswith(f"{node.name}/")]
    if name in nodes:
        node = nodes[name]
        node.values[parameter] = value
    elif around:
        node = around[0]
        node.inside[path.removeprefix(f"{node.name}/")] = value
    else:
        raise UserError(f"there is no {path!r} inside of it{nearest(name, nodes)}")
    node.make()


def preset_values(engine: Engine, name: str) -> dict[str, Value]:
    """Values of an engine's preset, by parameter, in their units; `UserError` if there is none such."""
    if name not in engine.presets:
        listed = ", ".join(engine.presets) or "it has none"
        raise UserError(f"{engine.id}: no preset {name!r}{nearest(name, engine.presets)} ({listed})")
    return dict(engine.presets[name])


@dataclass(frozen=True)
class End:
    """One end of an edge."""

    node: str
    port: str

    def __str__(self) -> str:
        return f"{self.node}.{self.port}"


@dataclass(frozen=True)
class Edge:
    """A path from an output port to an input port."""

    source: End
    target: End


@dataclass
class Node:
    """A named engine with its settings and its state at the start."""

    name: str
    engine: Engine
    values: dict[str, Value] = field(default_factory=dict)
    bypass: bool = False
    mute: bool = False
    solo: bool = False
    lane: int | None = None
    """Where it runs: 0 in the callback, 1 on a worker thread, 2 in a worker process; None: from its cost."""
    held: bool = field(default=False, kw_only=True, compare=False)
    """Bypassed without its kernel being run at all, until it is switched on: it has crashed the last host."""
    inside: dict[str, Value] = field(default_factory=dict, kw_only=True)
    """Of a composite: what is set inside of it, by ``"node.parameter"``, beside what it sets itself."""

    declared: Engine = field(init=False, repr=False, compare=False)
    """The engine as it is without what it takes from ``values``, see `engine_of`."""

    def __post_init__(self) -> None:
        self.declared = self.engine
        try:
            self.engine = engine_of(self.engine, self.values)
        except UserError as error:
            raise self._wrong(error) from None
        if issubclass(self.engine, Processor):
            self.values = {**self.engine.given, **self.values}
        self.make()

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process makes the node of: the engine as its module declares it, see `engine_of`."""
        declared = attrgetter(self.engine.__qualname__)(sys.modules[self.engine.__module__])
        values = self.name, declared, self.values, self.bypass, self.mute, self.solo, self.lane
        return partial(Node, inside=self.inside), values

    def copy(self) -> Node:
        """The same node, which can be set otherwise."""
        return self.with_values(dict(self.values))

    def with_values(self, values: dict[str, Value]) -> Node:
        """The node with other values; `UserError` where they do not fit."""
        state = self.bypass, self.mute, self.solo, self.lane
        inside = dict(self.inside)
        return Node(self.name, self.declared, values, *state, held=self.held, inside=inside)

    def make(self) -> Processor | Composite:
        """A new instance of the engine with the node's values; `UserError` where they do not fit."""
        try:
            made = self.engine(**self.values)
            for path, value in self.inside.items():
                set_inside(made, path, value)
        except UserError as error:
            raise self._wrong(error) from None
        return made

    def changed(self, parameter: str, value: Value) -> Node:
        """The node with another value of a parameter; others that its engine then does not have are gone.

        `UserError` where the values do not fit, or the engine does not have this one.
        """
        values = {**self.values, parameter: value}
        try:
            known = [each.id for each in parameters_of(engine_of(self.declared, values))]
        except UserError as error:
            raise self._wrong(error) from None
        if parameter not in known:
            listed = f"{nearest(parameter, known)} ({', '.join(known) or 'none'})"
            raise UserError(f"{self.name}: no parameter {parameter!r}{listed}")
        values = {name: value for name, value in values.items() if name in known}
        return self.with_values(values)

    def _wrong(self, error: UserError) -> UserError:
        prefix = f"{self.name}: "
        return UserError(str(error) if str(error).startswith(prefix) else f"{prefix}{error}")


class Graph:
    """Nodes and edges, checked.

    Parameters
    ----------
    nodes
        In any order; names are unique and neither ``in`` nor ``out``.
    edges
        ``"a.port -> b.port"``. A port may be left out where the engine has one: ``"in -> a"``. ``in`` and
        ``out`` are the graph's ends; several edges into a port are summed.

    Raises
    ------
    UserError
        Unknown node or port, a cycle, an open input, an edge given twice, or nothing that reaches ``out``.
    """

    def __init__(self, nodes: Sequence[Node], edges: Sequence[str]) -> None:
        self.nodes: dict[str, Node] = {}
        for node in nodes:
            if node.name in (IN, OUT) or not node.name.replace("_", "").replace("-", "").isalnum():
                allowed = "letters, digits, - and _, not 'in' or 'out'"
                raise UserError(f"node name {node.name!r} is not usable: {allowed}")
            if node.name in self.nodes:
                raise UserError(f"node {node.name!r} is defined twice: give one another name")
            self.nodes[node.name] = node
        self.edges = [self._edge(text) for text in edges]
        self._check()

    def _edge(self, text: str) -> Edge:
        source, arrow, target = (part.strip() for part in text.partition("->"))
        if not (source and arrow and target) or "->" in target:
            raise UserError(f"edge {text!r} is not of the form 'a.port -> b.port'")
        return Edge(self._end(source, text, output=True), self._end(target, text, output=False))

    def _end(self, text: str, edge: str, output: bool) -> End:
        name, dot, port = text.partition(".")
        if name == (IN if output else OUT):
            if output and dot and port != MAIN:
                raise UserError(f"edge {edge!r}: the graph has one input, {IN!r}")
            if dot and not port.replace("_", "").replace("-", "").isalnum():
                allowed = "letters, digits, - and _"
                raise UserError(f"edge {edge!r}: output name {port!r} is not usable: {allowed}")
            return End(name, port or MAIN)
        if name in (IN, OUT):
            wrong = f"nothing comes from {OUT!r}" if output else f"nothing leads to {IN!r}"
            raise UserError(f"edge {edge!r}: {wrong}")
        if name not in self.nodes:
            known = [*self.nodes, IN if output else OUT]
            raise UserError(f"edge {edge!r}: no node {name!r}{nearest(name, known)} ({', '.join(known)})")
        ports = self.nodes[name].engine.outputs if output else self.nodes[name].engine.inputs
        names = [declared.name for declared in ports]
        kind = "output" if output else "input"
        if dot:
            if port not in names:
                listed = ", ".join(names) or "none"
                raise UserError(
                    f"edge {edge!r}: {name} has no {kind} {port!r}{nearest(port, names)} ({listed})"
                )
            return End(name, port)
        candidates = [declared.name for declared in ports if not declared.optional]
        if len(candidates) != 1:
            has = f"has {len(names)} {kind}s: say which ({', '.join(names)})" if names else f"has no {kind}"
            raise UserError(f"edge {edge!r}: {name} {has}")
        return End(name, candidates[0])

    def _check(self) -> None:
        if len(set(self.edges)) != len(self.edges):
            twice = next(edge for edge in self.edges if self.edges.count(edge) > 1)
            raise UserError(f"edge '{twice.source} -> {twice.target}' is given twice: leave one out")
        self.order()
        fed = {edge.target for edge in self.edges}
        for node in self.nodes.values():
            for port in node.engine.inputs:
                if not port.optional and End(node.name, port.name) not in fed:
                    end = End(node.name, port.name)
                    raise UserError(f"input {end} is not connected: add an edge '... -> {end}'")
        if not any(end.node == OUT for end in fed):
            raise UserError("nothing is connected to 'out': add an edge '... -> out'")

    def node(self, name: str) -> Node:
        """The node of a name; `UserError` if there is none such."""
        if name not in self.nodes:
            raise UserError(f"no node {name!r}{nearest(name, self.nodes)} ({', '.join(self.nodes)})")
        return self.nodes[name]

    def copy(self) -> Graph:
        """The same graph with nodes of its own: what is set in one is not in the other."""
        return Graph([node.copy() for node in self.nodes.values()], self.texts())

    def texts(self) -> list[str]:
        """The edges, as `Graph` takes them."""
        return [f"{edge.source} -> {edge.target}" for edge in self.edges]

    def insert(self, node: Node, *edges: str) -> Graph:
        """A graph with a node put into an edge, or into several that begin or end together.

        The nodes are those of this graph. A source leaves the edges as they are: it is heard beside what they
        carry.

        Parameters
        ----------
        node
            Has one input that must be connected, or none, and an output.
        *edges
            ``"a.port -> b.port"``, such as are there.

        Raises
        ------
        UserError
            No such edge, or the node does not fit into it.
        """
        split = [self._edge(edge) for edge in edges]
        for edge in split:
            if edge not in self.edges:
                there = ", ".join(f"'{text}'" for text in self.texts())
                raise UserError(f"no edge '{edge.source} -> {edge.target}' ({there})")
        outputs = [port.name for port in node.engine.outputs]
        if not outputs:
            raise UserError(f"{node.name} has no output: it cannot be put into an edge")
        main = node.engine.fallback if node.engine.fallback in outputs else outputs[0]
        taken = split if node.engine.inputs else []
        kept = [f"{each.source} -> {each.target}" for each in self.edges if each not in taken]
        into = dict.fromkeys(f"{edge.source} -> {node.name}" for edge in taken)
        onwards = dict.fromkeys(f"{node.name}.{main} -> {edge.target}" for edge in split)
        return Graph([*self.nodes.values(), node], [*kept, *into, *onwards])

    def place(self, where: str, node: Node | None = None) -> list[str]:
        """The edges at a place, for `insert`.

        Parameters
        ----------
        where
            ``first``, ``last``, ``before NODE``, ``after NODE``; with ports as in edges.
        node
            What is to be put there. A source is put last before a node that limits what is heard
            (`rtaudio.processor.Processor.limits`), so that their sum does not exceed full scale.

        Raises
        ------
        UserError
            No such place, or nothing is connected there.
        """
        how, _, end = where.partition(" ")
        name, _, port = end.strip().partition(".")
        if where == "last" and node is not None and not node.engine.inputs:
            heard = [edge.source.node for edge in self.edges if edge.target == End(OUT, MAIN)]
            limiters = [each for each in heard if each != IN and self.nodes[each].engine.limits]
            if limiters:
                how, name = "before", limiters[0]
        if (how in ("first", "last")) == bool(name) or how not in ("first", "last", "before", "after"):
            raise UserError(f"{where!r} is no place: say first, last, before NODE or after NODE")
        if name:
            self.node(name)
        of_source = how in ("first", "after")
        wanted = name or (IN if how == "first" else OUT)
        ends = [edge.source if of_source else edge.target for edge in self.edges]
        here = [end for end in ends if end.node == wanted]
        if not port and how == "last":
            port = MAIN
        elif not port and here:
            port = here[0].port
        found = [text for text, end in zip(self.texts(), ends, strict=True) if end == End(wanted, port)]
        if not found:
            raise UserError(f"nothing is connected {where}: choose another place, or connect it first")
        return found

    def move(self, name: str, where: str) -> Graph:
        """A graph in which a node is at another place, see `remove` and `place`."""
        rest = self.remove(name)
        return rest.insert(self.nodes[name], *rest.place(where))

    def connect(self, edge: str) -> Graph:
        """A graph with another edge; `UserError` if it cannot be."""
        return Graph([*self.nodes.values()], [*self.texts(), edge])

    def disconnect(self, edge: str) -> Graph:
        """A graph without an edge; `UserError` if there is none, or what is left is no graph."""
        gone = self._edge(edge)
        if gone not in self.edges:
            there = ", ".join(f"'{text}'" for text in self.texts())
            raise UserError(f"no edge '{gone.source} -> {gone.target}' ({there})")
        texts = [text for text, each in zip(self.texts(), self.edges, strict=True) if each != gone]
        return Graph([*self.nodes.values()], texts)

    def remove(self, name: str) -> Graph:
        """A graph without a node: what fed its first input feeds what its outputs fed.

        Of a node with several outputs, whose targets would then all hear its input, only those of the output
        that its bypass plays are connected.

        Raises
        ------
        UserError
            No such node, or what is left is no graph.
        """
        engine = self.node(name).engine
        first = engine.inputs[0].name if engine.inputs else None
        sources = [each.source for each in self.edges if each.target == End(name, str(first))]
        targets = [each.target for each in self.edges if each.source == End(name, str(engine.fallback))]
        kept = [each for each in self.edges if name not in (each.source.node, each.target.node)]
        kept += [Edge(source, target) for source in sources for target in targets]
        nodes = [node for node in self.nodes.values() if node.name != name]
        return Graph(nodes, [f"{each.source} -> {each.target}" for each in dict.fromkeys(kept)])

    def replace(self, node: Node) -> Graph:
        """A graph with another node in the place of the one of that name; `UserError` if it does not fit."""
        nodes = [node if each.name == node.name else each for each in self.nodes.values()]
        return Graph(nodes, self.texts())

    def set_default(self, parameter: str, value: Value) -> list[str]:
        """Set a parameter in all nodes that have it and are not set themselves; returns the names of them.

        `UserError` if one does not take the value.
        """
        found = []
        for node in self.nodes.values():
            if any(declared.id == parameter for declared in parameters_of(node.engine)):
                found.append(node.name)
                if parameter not in node.values:
                    node.values[parameter] = value
                    node.engine = node.declared
                    node.__post_init__()
        return found

    def order(self) -> list[str]:
        """Node names so that every node comes after those that feed it; `UserError` for a cycle."""
        sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(self.nodes, ()))
        for edge in self.edges:
            if edge.source.node in self.nodes and edge.target.node in self.nodes:
                sorter.add(edge.target.node, edge.source.node)
        try:
            return list(sorter.static_order())
        except CycleError as error:
            path = " -> ".join(error.args[1])
            raise UserError(f"the graph has a cycle: {path} (a 'delay' node has its own feedback)") from None

    def output_names(self) -> list[str]:
        """Names of the graph's outputs, `MAIN` first if there is one."""
        names = {edge.target.port for edge in self.edges if edge.target.node == OUT}
        return sorted(names, key=lambda name: (name != MAIN, name))

    def heard(self, channels: int) -> int:
        """Channels of the main output, for a stream of ``channels``; 0 if it is not connected."""
        for edge in self.edges:
            if edge.target == End(OUT, MAIN):
                return channels if edge.source.node == IN else self.output(edge.source).channels or channels
        return 0

    def output(self, end: End) -> Port:
        """The output of a node that is an end."""
        return next(port for port in self.nodes[end.node].engine.outputs if port.name == end.port)

    def audible(self) -> dict[str, bool]:
        """Which nodes are heard: not muted and, if any node is soloed, on a path through a soloed one."""
        soloed = {name for name, node in self.nodes.items() if node.solo}
        heard = set(self.nodes)
        if soloed:
            heard = soloed | set(self._reach(soloed, forward=True)) | set(self._reach(soloed, forward=False))
        return {name: name in heard and not node.mute for name, node in self.nodes.items()}

    def _reach(self, names: set[str], forward: bool) -> Iterator[str]:
        seen, front = set(names), list(names)
        while front:
            name = front.pop()
            for edge in self.edges:
                here, there = (edge.source, edge.target) if forward else (edge.target, edge.source)
                if here.node == name and there.node in self.nodes and there.node not in seen:
                    seen.add(there.node)
                    front.append(there.node)
                    yield there.node
