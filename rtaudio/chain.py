"""What a ``--chain`` option means: a graph as a line of text, the path of a rack file, or the name of a rack.

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

Besides its engine's parameters, a node takes the host's keys: the switches ``bypass``, ``mute`` and ``solo``;
``lane`` = 0 keeps it in the callback, 1 puts it on a worker thread, 2 into a worker process; ``use`` names a
preset of the engine, whose values the node's own add to. Where the engine has a parameter of such a name
(``gain`` has ``mute``), the name means the parameter, and the key is called ``host_mute``.

Racks
-----
For every other graph there are rack files, see `rtaudio.rack`. A rack that lies where racks are kept goes by
its name alone, see `rtaudio.racks`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from rtaudio.errors import UserError, nearest
from rtaudio.graph import IN, OUT, SWITCHES, Engine, Graph, Node, engine_of, parameters_of, preset_values
from rtaudio.processor import Value
from rtaudio.rack import LANE, USE, Find, Rack, graph_of, host_key, load_rack, named
from rtaudio.racks import rack_files
from rtaudio.registry import engine_names, load_engine

_WORD = r"[^\W\d][\w-]*"
_NAME = re.compile(_WORD)
_NUMBER = r"[+-]?(?:inf(?![\w-])|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
_INTEGER = re.compile(r"[+-]?[0-9]{1,15}")
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_VALUE = re.compile(rf"(?P<quoted>{_QUOTED})|(?P<number>{_NUMBER})|(?P<word>{_WORD})", re.DOTALL)
_SPACE = re.compile(r"\s*")
_FOUND = re.compile(r"[\w.-]+|.", re.DOTALL)


def load_chain(text: str, find: Find = load_engine) -> Graph:
    """The graph that a ``--chain`` option means: see `open_chain`."""
    return open_chain(text, find)[0]


def open_chain(text: str, find: Find = load_engine) -> tuple[Graph, Rack | None]:
    """The graph that a ``--chain`` option means, and the rack that it comes from, if it is one.

    Parameters
    ----------
    text
        The path of a rack file, if it ends in ``.toml`` or a file is there; else a chain. A single word is an
        engine, or else the name of a rack, whatever files there are.
    find
        Gives the engine of a name.

    Raises
    ------
    UserError
        The text, the file or the graph in it is wrong. Errors of a rack file begin with its name.
    """
    path = _rack_path(text.strip(), find)
    if path is None:
        return parse_chain(text, find), None
    rack = load_rack(path, find)
    with named(path):
        return graph_of(rack, find), rack


def _rack_path(text: str, find: Find) -> str | Path | None:
    """The rack file that a text means; None: it is a chain."""
    if text.lower().endswith(".toml"):
        return text
    if not _NAME.fullmatch(text):
        return text if os.path.isfile(text) else None
    racks = {} if text in engine_names() else rack_files()
    if text not in racks:
        _check_engine(text, find, racks)
    return racks.get(text)


def _check_engine(word: str, find: Find, racks: Iterable[str]) -> None:
    """Refuse a word that is neither an engine nor a rack."""
    try:
        find(word)
    except UserError:
        if word in engine_names():
            raise
        near = nearest(word, [*engine_names(), *racks])
        see = "see 'rtaudio engines' and 'rtaudio rack list'"
        raise UserError(f"no engine and no rack {word!r}{near} ({see})") from None


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
                step.settings = _used(step.engine, step.settings)
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


def _used(engine: Engine, settings: Mapping[str, Value]) -> dict[str, Value]:
    """The settings, added to those of the preset that they name."""
    own, key = dict(settings), host_key(engine, USE)
    return preset_values(engine, str(own.pop(key))) | own if key in own else own


def _node(name: str, engine: Engine, settings: Mapping[str, Value]) -> Node:
    switches = {host_key(engine, switch): switch for switch in SWITCHES}
    known = [parameter.id for parameter in parameters_of(engine)] + [*switches, host_key(engine, LANE)]
    values: dict[str, Value] = {}
    on: dict[str, Any] = {}
    lane = None
    for key, value in settings.items():
        if key not in known:
            raise UserError(f"{name}: no parameter {key!r}{nearest(key, known)} ({', '.join(known)})")
        if key == host_key(engine, LANE):
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
