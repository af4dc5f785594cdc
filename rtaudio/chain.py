"""The two ways to write a graph as text: a chain on one line, and a rack file.

Chain
-----
Nodes from left to right, each fed by the one before it::

    biquad(kind=highpass, frequency=80) | hpss(preset=live).harmonic+residual | limiter

    chain   := [ node ( "|" node )* ]
    node    := [ name ":" ] engine [ "(" [ setting ( "," setting )* ] ")" ] [ "." port ( "+" port )* ]
    setting := key "=" value
    value   := number | "true" | "false" | word | quoted
    number  := 80, -6.5, .5, 1e-3, inf, -inf
    quoted  := '...' or "...", where a backslash takes the next character as it is
    name, engine, port, key, word := a letter or _, then letters, digits, _ and -

Space may stand between any two of these. ``.port+port`` picks the outputs that go on, summed; it may be left
out where there is one, or one that is called ``out``. An unnamed node is called after its engine: ``gain``,
then ``gain2``, ``gain3``. A source may stand first; nothing feeds it. No nodes at all: the input goes to the
output as it is.

Rack file
---------
TOML, for every other graph. ``edges`` may be left out where there is one node. ``name`` and ``description``,
two strings at the top, are for the reader::

    version = 1
    edges = ["in -> sep", "sep.harmonic -> out", "sep.percussive -> out.drums"]

    [nodes.sep]
    engine = "hpss"
    preset = "live"

Both
----
Besides its engine's parameters, a node takes the host's switches ``bypass``, ``mute`` and ``solo``. Where the
engine has a parameter of such a name (``gain`` has ``mute``), the name means the parameter, and the switch is
called ``host_mute``. ``lane`` = 0 keeps a node in the callback, 1 puts it on a worker thread, 2 into a worker
process.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from rtaudio.errors import FileError, UserError, nearest
from rtaudio.graph import IN, MAIN, OUT, Edge, End, Engine, Graph, Node, engine_of, parameters_of
from rtaudio.processor import Port, Value
from rtaudio.registry import load_engine

Find: TypeAlias = "Callable[[str], Engine]"
"""Gives the engine of a name, or raises `UserError`."""

VERSION = 1
"""Of rack files."""

SWITCHES = ("bypass", "mute", "solo")
LANE = "lane"

_T = TypeVar("_T")
_WORD = r"[^\W\d][\w-]*"
_NAME = re.compile(_WORD)
_NUMBER = r"[+-]?(?:inf(?![\w-])|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
_INTEGER = re.compile(r"[+-]?[0-9]{1,15}")
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_VALUE = re.compile(rf"(?P<quoted>{_QUOTED})|(?P<number>{_NUMBER})|(?P<word>{_WORD})", re.DOTALL)
_SPACE = re.compile(r"\s*")
_FOUND = re.compile(r"[\w.-]+|.", re.DOTALL)


def load_chain(text: str, find: Find = load_engine) -> Graph:
    """The graph that a ``--chain`` option means.

    Parameters
    ----------
    text
        The path of a rack file, if it ends in ``.toml`` or a file is there; else a chain. A single word is an
        engine, whatever files there are.
    find
        Gives the engine of a name.

    Raises
    ------
    UserError
        The text, the file or the graph in it is wrong. Errors of a rack file begin with its name.
    """
    path = text.strip()
    if not path.lower().endswith(".toml") and (_NAME.fullmatch(path) or not os.path.isfile(path)):
        return parse_chain(text, find)
    shown = path if path.isprintable() else repr(path)
    try:
        rack = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FileError(f"{shown}: cannot read this rack file: {error.strerror}") from None
    except ValueError:
        raise FileError(f"{shown}: not a rack file: it is not UTF-8 text") from None
    try:
        return parse_rack(rack, find)
    except UserError as error:
        raise UserError(f"{shown}: {error}") from None


def parse_chain(text: str, find: Find = load_engine) -> Graph:
    """The graph of a chain; `UserError` says at which column it is wrong and what was expected there."""
    steps = _Parser(text, find).chain()
    _name(steps)
    nodes, edges = [], []
    sources = [IN]
    for step in steps:
        nodes.append(_node(step.name, step.engine, step.settings))
        inputs = step.engine.inputs
        if inputs:
            edges += [f"{source} -> {step.name}.{inputs[0].name}" for source in sources]
        elif step is not steps[0]:
            raise _wrong(step.column, f"{step.name} is a source: it can only stand first, nothing feeds it")
        more = [port.name for port in inputs[1:] if not port.optional]
        if more:
            rest = f"the pipe feeds {inputs[0].name!r} only, not {', '.join(more)}: use a rack file"
            raise _wrong(step.column, f"{step.name} has {1 + len(more)} inputs, {rest}")
        sources = [f"{step.name}.{port}" for port in _outgoing(step, last=step is steps[-1])]
    return Graph(nodes, edges + [f"{source} -> {OUT}" for source in sources])


def parse_node(text: str, taken: Collection[str] = (), find: Find = load_engine) -> Node:
    """The node that a part of a chain means, as ``eq: biquad(gain=3)``; without a name it gets one.

    ``taken`` are names that it may not have. `UserError` as `parse_chain`.
    """
    parser = _Parser(text, find)
    step = parser.node()
    if parser.at < len(parser.text):
        parser.tried.append("the end")
        raise parser.unexpected()
    if step.ports:
        ports = "+".join(step.ports)
        raise UserError(f"{text.strip()!r}: a node is meant, not its output {ports!r}: leave that out")
    if step.name in taken:
        raise UserError(f"node {step.name!r} is there already: give another name")
    _name([step], taken)
    return _node(step.name, step.engine, step.settings)


def parse_rack(text: str, find: Find = load_engine) -> Graph:
    """The graph of a rack file's text; `UserError` if it is wrong."""
    try:
        rack = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not TOML: {error}") from None
    version = rack.get("version")
    if version is None:
        raise UserError(f"no version: add version = {VERSION}")
    if type(version) is not int or version != VERSION:
        raise UserError(f"version {version!r} is not known (known: {VERSION})")
    known = ["version", "name", "description", "nodes", "edges"]
    for key in rack:
        if key not in known:
            raise UserError(f"unknown key {key!r}{nearest(key, known)} ({', '.join(known)})")
    for key in ("name", "description"):
        _typed(rack.get(key, ""), str, f"{key!r} must be a string")
    nodes = []
    for name, table in _typed(rack.get("nodes", {}), dict, "'nodes' must be a table of tables").items():
        settings = _typed(table, dict, f"node {name!r} must be a table")
        if not name.isprintable():
            raise UserError(f"node name {name!r} is not usable")
        if "engine" not in settings:
            raise UserError(f"node {name!r} has no engine: add engine = '...'")
        try:
            engine = find(_typed(settings.pop("engine"), str, "'engine' must be a string"))
            engine = engine_of(engine, settings)
        except UserError as error:
            raise UserError(f"node {name!r}: {error}") from None
        for key, value in settings.items():
            wide = type(value) is int and not -(2**63) <= value < 2**63
            if wide or not isinstance(value, (str, bool, int, float)):
                raise UserError(f"node {name!r}: {key!r} must be a number, a string, true or false")
        nodes.append(_node(name, engine, settings))
    if "edges" not in rack and len(nodes) == 1:
        feed = [f"{IN} -> {nodes[0].name}"] if nodes[0].engine.inputs else []
        return Graph(nodes, [*feed, f"{nodes[0].name} -> {OUT}"])
    if "edges" not in rack:
        raise UserError("no edges: add edges = ['in -> a', 'a -> out']")
    form = "'edges' must be an array of strings such as 'in -> a'"
    return Graph(nodes, [_typed(edge, str, form) for edge in _typed(rack["edges"], list, form)])


def dump_rack(graph: Graph) -> str:
    """The text of a rack file that `parse_rack` makes the same graph of: what was set, and every edge."""
    lines = [f"version = {VERSION}", "edges = ["]
    lines += [f"    {_quote(_shortest(graph, edge))}," for edge in graph.edges]
    lines.append("]")
    for name, node in graph.nodes.items():
        settings: dict[str, Value] = {"engine": node.engine.id, **node.values}
        settings |= {_switch(node.engine, switch): True for switch in SWITCHES if getattr(node, switch)}
        if node.lane is not None:
            settings[_switch(node.engine, LANE)] = node.lane
        lines += ["", f"[nodes.{_key(name)}]"]
        lines += [f"{_key(key)} = {_toml(value)}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"


@dataclass
class _Step:
    """A node as a chain has it; ``name`` is empty until it has one."""

    name: str
    engine: Engine
    column: int
    settings: dict[str, Value] = field(default_factory=dict)
    ports: list[str] = field(default_factory=list)


class _Parser:
    """Recursive descent over a chain. Errors name all that was tried since the last thing that was taken."""

    def __init__(self, text: str, find: Find) -> None:
        self.text = text
        self.find = find
        self.tried: list[str] = []
        self.start = self.at = _SPACE.match(text).end()  # type: ignore[union-attr]

    def chain(self) -> list[_Step]:
        if self.at == len(self.text):
            return []
        steps = [self.node()]
        while self.symbol("|"):
            steps.append(self.node())
        if self.at < len(self.text):
            self.tried.append("the end")
            raise self.unexpected()
        return steps

    def node(self) -> _Step:
        name, engine = "", self.word("an engine")
        column = at = self.start + 1
        if self.symbol(":"):
            name, engine = engine, self.word("an engine")
            at = self.start + 1
        try:
            step = _Step(name, self.find(engine), column)
        except UserError as error:
            raise _wrong(at, str(error)) from None
        if self.symbol("("):
            self.arguments(step.settings)
            try:
                step.engine = engine_of(step.engine, step.settings)
            except UserError as error:
                raise _wrong(at, str(error)) from None
        if self.symbol("."):
            step.ports.append(self.port(step))
            while self.symbol("+"):
                step.ports.append(self.port(step))
        return step

    def arguments(self, settings: dict[str, Value]) -> None:
        if self.symbol(")"):
            return
        while True:
            key = self.word("a parameter")
            if key in settings:
                raise _wrong(self.start + 1, f"{key} is given twice")
            if not self.symbol("="):
                raise self.unexpected()
            settings[key] = self.value()
            if self.symbol(")"):
                return
            if not self.symbol(","):
                raise self.unexpected()

    def value(self) -> Value:
        match = self.take(_VALUE, "a value")
        if match is None:
            if self.text.startswith(("'", '"'), self.at):
                raise _wrong(self.at + 1, "this quote is not closed")
            raise self.unexpected()
        if match["quoted"]:
            return re.sub(r"\\(.)", r"\1", match[0][1:-1], flags=re.DOTALL)
        if match["number"]:
            return int(match[0]) if _INTEGER.fullmatch(match[0]) else float(match[0])
        return {"true": True, "false": False}.get(match[0], match[0])

    def port(self, step: _Step) -> str:
        port = self.word("an output")
        known = [declared.name for declared in step.engine.outputs]
        if port not in known:
            what = f"no output {port!r}{nearest(port, known)} ({', '.join(known) or 'none'})"
            raise _wrong(self.start + 1, f"{step.engine.id} has {what}")
        return port

    def word(self, what: str) -> str:
        match = self.take(_NAME, what)
        if match is None:
            raise self.unexpected()
        return match[0]

    def symbol(self, symbol: str) -> bool:
        return self.take(re.compile(re.escape(symbol)), repr(symbol)) is not None

    def take(self, pattern: re.Pattern[str], what: str) -> re.Match[str] | None:
        match = pattern.match(self.text, self.at)
        if match is None:
            self.tried.append(what)
            return None
        self.tried.clear()
        self.start = self.at
        self.at = _SPACE.match(self.text, match.end()).end()  # type: ignore[union-attr]
        return match

    def unexpected(self) -> UserError:
        found = _FOUND.match(self.text, self.at)
        what = " or ".join(filter(None, [", ".join(self.tried[:-1]), self.tried[-1]]))
        return _wrong(self.at + 1, f"expected {what}, found {repr(found[0]) if found else 'the end'}")


def _wrong(column: int, what: str) -> UserError:
    return UserError(f"chain, column {column}: {what}")


def _name(steps: list[_Step], others: Collection[str] = ()) -> None:
    """Give every step a name of its own; those that the user gave come first."""
    taken = set(others)
    for step in steps:
        if step.name in taken:
            raise _wrong(step.column, f"node {step.name!r} is defined twice: give one another name")
        taken |= {step.name} - {""}
    for step in steps:
        if not step.name:
            step.name = base = step.engine.id
            numbers = count(2)
            while step.name in taken:
                step.name = f"{base}{next(numbers)}"
            taken.add(step.name)


def _outgoing(step: _Step, last: bool) -> list[str]:
    """The outputs that go on down the chain."""
    engine, names = step.engine.id, [port.name for port in step.engine.outputs]
    if step.ports or len(names) == 1:
        return step.ports or names
    if "out" in names:
        return ["out"]
    if not names:
        raise _wrong(step.column, f"{engine} has no output, so nothing is heard after it: use a rack file")
    ways = f"pick one ({engine}.{names[0]}) or sum some ({engine}.{names[0]}+{names[1]})"
    if last:
        ways += ", or keep them apart with a rack file or 'rtaudio separate'"
    raise _wrong(step.column, f"{engine} has {len(names)} outputs ({', '.join(names)}): {ways}")


def _switch(engine: Engine, switch: str) -> str:
    """What a switch of the host is called on nodes of this engine."""
    return f"host_{switch}" if any(parameter.id == switch for parameter in parameters_of(engine)) else switch


def _node(name: str, engine: Engine, settings: Mapping[str, Value]) -> Node:
    switches = {_switch(engine, switch): switch for switch in SWITCHES}
    known = [parameter.id for parameter in parameters_of(engine)] + [*switches, _switch(engine, LANE)]
    values: dict[str, Value] = {}
    on: dict[str, bool] = {}
    lane = None
    for key, value in settings.items():
        if key not in known:
            raise UserError(f"{name}: no parameter {key!r}{nearest(key, known)} ({', '.join(known)})")
        if key == _switch(engine, LANE):
            if isinstance(value, bool) or value not in (0, 1, 2):
                lanes = "0 (callback), 1 (worker thread) or 2 (worker process)"
                raise UserError(f"{name}: {key}={value!r} is none of {lanes}")
            lane = int(value)
        elif key not in switches:
            values[key] = value
        elif isinstance(value, bool):
            on[switches[key]] = value
        else:
            raise UserError(f"{name}: {key}={value!r} is neither true nor false")
    return Node(name, engine, values, **on, lane=lane)


def _typed(value: Any, kind: type[_T], message: str) -> _T:
    if not isinstance(value, kind):
        raise UserError(message)
    return value


def _shortest(graph: Graph, edge: Edge) -> str:
    def end(end: End, output: bool) -> str:
        if end.node not in graph.nodes:
            return end.node if end.port == MAIN else str(end)
        engine = graph.nodes[end.node].engine
        ports: tuple[Port, ...] = engine.outputs if output else engine.inputs
        return end.node if [port.name for port in ports] == [end.port] else str(end)

    return f"{end(edge.source, output=True)} -> {end(edge.target, output=False)}"


def _toml(value: Value) -> str:
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else repr(float(value))


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _quote(text)


def _quote(text: str) -> str:
    """A TOML basic string: JSON's escapes, and DEL, which TOML does not allow as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
