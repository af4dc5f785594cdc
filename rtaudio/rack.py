"""Rack files: a graph with its settings, its device and its MIDI map, as TOML that people read and edit.

::

    version = 2
    name = "Drums apart"
    edges = ["in -> sep", "sep.harmonic -> out", "sep.percussive -> out.drums"]

    [nodes.sep]
    engine = "hpss"
    parameters = { preset = "live" }

``edges`` may be left out where there is one node. docs/racks.md says what else there is. A file of an older
version is read by `migrate`; what is written is of the present one.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
import secrets
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

from rtaudio.errors import FileError, UserError, nearest
from rtaudio.graph import (
    IN,
    MAIN,
    OUT,
    SWITCHES,
    Edge,
    End,
    Engine,
    Graph,
    Node,
    engine_of,
    parameters_of,
    preset_values,
)
from rtaudio.processor import MAXIMUM_CHANNELS, RATES, Port, Value
from rtaudio.registry import engine_names, load_engine

Find: TypeAlias = "Callable[[str], Engine]"
"""Gives the engine of a name, or raises `UserError`."""

VERSION = 2
LARGEST = 1 << 20
"""Bytes of a rack file; more is none."""
LANE, USE = "lane", "use"
WIDE_CONTROLLERS = 32
"""MIDI controllers that may have a lower half: it is so many above."""
FIRST_KEYS = ("version", "name", "description", "nodes", "edges")
"""Of a file of version 1."""
LONGEST_BLOCK = 65_536

Plain = bool | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float | str
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
_T = TypeVar("_T")


class RackNode(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A node: its engine, what is set of it, and the host's switches."""

    engine: str
    use: str = ""
    """A preset of the engine, whose values ``parameters`` add to."""
    bypass: bool = False
    mute: bool = False
    solo: bool = False
    lane: Literal[0, 1, 2] | None = None
    """0: the callback, 1: a worker thread, 2: a worker process; not said: where there is room."""
    parameters: dict[str, Plain] = {}
    """Values in the parameters' units."""
    inside: dict[str, Plain] = {}
    """Of a composite such as ``remix``: values of nodes inside of it, by ``node.parameter``."""
    models: dict[str, Sha256] = {}
    """SHA-256 of the model file that each of these parameters named when the rack was saved."""
    package: str = ""
    """The package that the engine came with, if that was not this one."""


class DevicePreferences(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to play through where the command line does not say: as the options of ``rtaudio live``."""

    api: Literal["auto", "jack", "alsa", "null"] | None = None
    input: str | None = None
    output: str | None = None
    rate: Annotated[int, Meta(ge=RATES[0], le=RATES[1])] | None = None
    """Hz"""
    block: Annotated[int, Meta(ge=1, le=LONGEST_BLOCK)] | None = None
    """Samples"""
    channels: Annotated[int, Meta(ge=1, le=MAXIMUM_CHANNELS)] | None = None
    map: str | None = None
    """Device channels from 1, such as ``in=3/out=1,2``."""


class MidiBinding(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A MIDI controller that moves a parameter."""

    parameter: str
    """``node.parameter``"""
    channel: Annotated[int, Meta(ge=1, le=16)]
    controller: Annotated[int, Meta(ge=0, le=127)]
    wide: bool = False
    """14 bits: the upper seven here, the lower seven at the controller 32 above; 0 to 31 only."""
    minimum: float | None = None
    """Value, in the parameter's unit, at the controller's lowest place; not said: the parameter's minimum. It
    may be above the other."""
    maximum: float | None = None
    """As `minimum`, at the highest place."""
    toggle: bool = False
    """Every press (a value of 64 or more, after one below) goes to the other end, or to the next choice."""
    pickup: bool = False
    """A controller that is elsewhere moves nothing until it passes the parameter's value."""

    def __post_init__(self) -> None:
        """Refuse what no controller is."""
        if not all(self.parameter.rpartition(".")):
            raise ValueError(f"parameter {self.parameter!r} is not of the form 'node.parameter'")
        if not 1 <= self.channel <= 16:
            raise ValueError(f"channel {self.channel} of {self.parameter} is out of range (1 to 16)")
        if not 0 <= self.controller <= 127:
            raise ValueError(f"controller {self.controller} of {self.parameter} is out of range (0 to 127)")
        if self.wide and self.controller >= WIDE_CONTROLLERS:
            raise ValueError(
                f"controller {self.controller} of {self.parameter} has no lower half: wide ones are 0 to 31"
            )
        for end in (self.minimum, self.maximum):
            if end is not None and not math.isfinite(end):
                raise ValueError(f"{end} is no end of the range of {self.parameter}")


class Rack(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A rack file's content."""

    version: Literal[2] = 2
    name: str = ""
    description: str = ""
    edges: list[str] = []
    """``a.port -> b.port``, see `rtaudio.graph.Graph`; none: the only node, between input and output."""
    device: DevicePreferences | None = None
    nodes: dict[str, RackNode] = {}
    midi: list[MidiBinding] = []


# ------------------------------------------------------------------------------------ reading


def load_rack(path: str | Path, find: Find = load_engine) -> Rack:
    """The rack in a file.

    Parameters
    ----------
    path
        Of the file.
    find
        Gives the engine of a name; only files of older versions need it.

    Raises
    ------
    UserError
        The file cannot be read, or is no rack; the message begins with its name.
    """
    shown = _shown(path)
    try:
        with open(path, "rb", opener=_regular) as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise FileError(f"{shown}: cannot read this rack file: {error.strerror}") from None
    except ValueError:
        raise FileError(f"{shown}: not a rack file: there is no such name") from None
    if len(content) > LARGEST:
        raise FileError(f"{shown}: not a rack file: it is larger than {LARGEST >> 20} MB")
    try:
        text = content.decode("utf-8-sig")
    except ValueError:
        raise FileError(f"{shown}: not a rack file: it is not UTF-8 text") from None
    with named(path):
        return parse_rack(text.replace("\r\n", "\n"), find)


def _regular(path: str, flags: int) -> int:
    """Open a file, not a pipe or a device, which could keep the reader waiting for ever: for `open`."""
    file = os.open(path, flags | os.O_NONBLOCK)
    mode = os.fstat(file).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        os.close(file)
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a regular file")
    return file


@contextmanager
def named(path: str | Path) -> Iterator[None]:
    """Errors meanwhile begin with the name of a rack file."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{_shown(path)}: {error}") from None


def _shown(path: str | Path) -> str:
    return str(path) if str(path).isprintable() else repr(str(path))


def parse_rack(text: str, find: Find = load_engine) -> Rack:
    """The rack that a file's text means; `UserError` says in a line what is wrong with it, and where."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not TOML: {error}") from None
    version = document.get("version")
    if version is None:
        raise UserError(f"no version: add version = {VERSION}")
    if type(version) is not int or not 1 <= version <= VERSION:
        newer = type(version) is int and version > VERSION
        why = ": a newer rtaudio wrote it, update this one" if newer else ""
        raise UserError(f"version {version!r} is not known (known: 1, {VERSION}){why}")
    if version == 1:
        document = migrate(document, find)
    nodes = {}
    for name, table in _tables(document.get("nodes", {})):
        where = f"node {name!r}"
        for key, kind in ("parameters", Plain), ("inside", Plain), ("models", Sha256):
            for inner, value in table[key].items() if isinstance(table.get(key), dict) else ():
                _convert(value, kind, f"{where}: {inner!r}")
        nodes[name] = _convert(table, RackNode, where)
    rest = {key: value for key, value in document.items() if key != "nodes"}
    rack: Rack = msgspec.structs.replace(_convert(rest, Rack, ""), nodes=nodes)
    return rack


def migrate(document: Mapping[str, Any], find: Find = load_engine) -> dict[str, Any]:
    """What a file of version 1 says, as one of the present version says it.

    There a node's parameters stand beside its engine and the host's switches, one of which is called
    ``host_mute`` where the engine has a parameter ``mute``.

    Raises
    ------
    UserError
        An engine is missing, so that parameters and switches cannot be told apart, or what it says cannot be.
    """
    for key in document:
        if key not in FIRST_KEYS:
            raise UserError(_unknown(key, FIRST_KEYS))
    nodes = {}
    for name, table in _tables(document.get("nodes", {})):
        where, settings = f"node {name!r}", dict(table)
        engine = _convert({key: settings.pop(key) for key in ("engine",) if key in table}, RackNode, where)
        for key, value in settings.items():
            _convert(value, Plain, f"{where}: {key!r}")
        known = engine_of(_found(name, engine, find), settings)
        keys = {key: host_key(known, key) for key in (*SWITCHES, LANE)}
        of_host = {key: settings.pop(called) for key, called in keys.items() if called in settings}
        nodes[name] = {"engine": engine.engine, **of_host, "parameters": settings}
    return {**document, "version": VERSION, "nodes": nodes}


def _tables(nodes: Any) -> list[tuple[str, dict[str, Any]]]:
    """The nodes' tables, by name."""
    if not isinstance(nodes, dict):
        raise UserError("'nodes' must be a table of tables")
    for name, table in nodes.items():
        if not name.isprintable():
            raise UserError(f"node name {name!r} is not usable")
        if not isinstance(table, dict):
            raise UserError(f"node {name!r} must be a table")
    return list(nodes.items())


def host_key(engine: Engine, key: str) -> str:
    """What a key of the host, such as ``mute``, is called among the parameters of an engine."""
    return f"host_{key}" if any(parameter.id == key for parameter in parameters_of(engine)) else key


_PARTS: Mapping[str, type[Struct]] = {"device": DevicePreferences, "midi": MidiBinding}
_NAMES = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "a table",
    "date": "a date",
    "time": "a time",
    "datetime": "a date",
}


def _convert(value: Any, kind: Any, where: str) -> Any:
    """`msgspec.convert`, with an error for people; ``where`` says what the value is."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        place = ": ".join(filter(None, [where, path.strip("`.")]))
        part = _PARTS.get(re.split(r"\W", path.strip("`."))[0], kind)
        raise UserError(": ".join(filter(None, [place, _in_words(what, part)]))) from None


def _in_words(what: str, kind: Any) -> str:
    """What msgspec says of a value that is to be of a kind."""
    quoted = re.findall("`([^`]*)`", what)
    if what.startswith("Object contains unknown field"):
        more = "; values of parameters stand under 'parameters'" * (kind is RackNode)
        return _unknown(quoted[0], kind.__struct_fields__) + more
    if what.startswith("Object missing required field"):
        return f"no {quoted[0]}: add {quoted[0]} = ..."
    if "matching regex" in what:
        return "want a SHA-256, 64 digits from 0 to f"
    if what.startswith("Expected"):
        want, *got = (_kinds(names) for names in quoted)
        bound = "".join(re.findall(" [<>]= [-0-9]+", what))
        return f"want {want}{bound}{f', not {got[0]}' if got else ''}"
    return what.replace("Invalid enum value", "no such value:")


def _kinds(names: str) -> str:
    found = [_NAMES.get(name, name) for name in names.split(" | ") if name != "null"]
    return ", ".join(found[:-1]) + " or " * (len(found) > 1) + found[-1]


def _unknown(key: str, known: Sequence[str]) -> str:
    return f"unknown key {key!r}{nearest(key, known)} ({', '.join(known)})"


# ------------------------------------------------------------------------------------ to a graph, and back


def graph_of(rack: Rack, find: Find = load_engine) -> Graph:
    """The graph of a rack.

    Raises
    ------
    UserError
        An engine, a preset or a model is missing, or a model is another one than when the rack was saved;
        values do not fit, or the graph is none.
    """
    nodes = [_node(name, node, find) for name, node in rack.nodes.items()]
    if rack.edges:
        return Graph(nodes, rack.edges)
    if len(nodes) != 1:
        raise UserError("no edges: add edges = ['in -> a', 'a -> out']")
    feed = [f"{IN} -> {nodes[0].name}"] if nodes[0].engine.inputs else []
    return Graph(nodes, [*feed, f"{nodes[0].name} -> {OUT}"])


def _found(name: str, node: RackNode, find: Find) -> Engine:
    try:
        return find(node.engine)
    except UserError as error:
        why = str(error)
        if node.package and node.engine not in engine_names():
            why = f"no engine {node.engine!r}: it came with the package {node.package!r}, which is not here"
        raise UserError(f"node {name!r}: {why}; see 'rtaudio engines'") from None


def _node(name: str, node: RackNode, find: Find) -> Node:
    engine = _found(name, node, find)
    try:
        values = (preset_values(engine, node.use) if node.use else {}) | node.parameters
        known = engine_of(engine, values)
        for parameter in values:
            if all(parameter != declared.id for declared in parameters_of(known)):
                listed = [declared.id for declared in parameters_of(known)]
                raise UserError(
                    f"no parameter {parameter!r}{nearest(parameter, listed)} ({', '.join(listed) or 'none'})"
                )
        _check_models(known.model_files(values), node.models)
    except UserError as error:
        raise UserError(f"node {name!r}: {error}") from None
    switches = node.bypass, node.mute, node.solo, node.lane
    return Node(name, engine, values, *switches, inside=dict(node.inside))


def _check_models(files: Mapping[str, Path], saved: Mapping[str, str]) -> None:
    """Refuse a model that is not the one that the rack was saved with."""
    for parameter, wanted in saved.items():
        if parameter not in files:
            raise UserError(f"{parameter!r} names no model file: delete its line under models")
        found = _sha256(files[parameter])
        if found != wanted:
            raise UserError(
                f"model {files[parameter]} is not the one that this rack was saved with (sha256 "
                f"{wanted[:4]}…, now {found[:4]}…): restore it, or delete its line under models"
            )


def _sha256(path: Path) -> str:
    try:
        with open(path, "rb", opener=_regular) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"model {path}: {error.strerror}") from None


def rack_of(graph: Graph, base: Rack | None = None) -> Rack:
    """The rack of a graph: what is set, every edge, and the hashes of the models that it names.

    Parameters
    ----------
    graph
        The graph.
    base
        The rack that it was made of: name, description, device and MIDI bindings stay; not bindings of nodes
        that are gone.

    Raises
    ------
    UserError
        A model's file cannot be read.
    """
    base = base or Rack()
    return Rack(
        name=base.name,
        description=base.description,
        edges=[_shortest(graph, edge) for edge in graph.edges],
        device=base.device,
        nodes={name: _saved(node) for name, node in graph.nodes.items()},
        midi=[binding for binding in base.midi if _bound(binding) in graph.nodes],
    )


def _bound(binding: MidiBinding) -> str:
    """The graph's node that a binding belongs to, which may be a composite around what it moves."""
    return binding.parameter.rpartition(".")[0].partition("/")[0]


def _saved(node: Node) -> RackNode:
    files = node.engine.model_files(node.values)
    return RackNode(
        engine=node.engine.id,
        bypass=node.bypass,
        mute=node.mute,
        solo=node.solo,
        lane=node.lane,  # type: ignore[arg-type]
        parameters={key: _plain(value) for key, value in node.values.items()},
        inside={key: _plain(value) for key, value in node.inside.items()},
        models={parameter: _sha256(file) for parameter, file in files.items()},
        package=_package(node.engine),
    )


def _plain(value: Value) -> Plain:
    """The value without a type of numpy's."""
    return next(kind(value) for kind in (bool, int, float, str) if isinstance(value, kind))


def _package(engine: Engine) -> str:
    """The package of an engine; empty for the host's own, and for one that is not installed."""
    names = {entry.dist.name for entry in entry_points(group="rtaudio.engines", name=engine.id) if entry.dist}
    return "" if len(names) != 1 or "rtaudio" in names else names.pop()


def _shortest(graph: Graph, edge: Edge) -> str:
    def end(end: End, output: bool) -> str:
        if end.node not in graph.nodes:
            return end.node if end.port == MAIN else str(end)
        engine = graph.nodes[end.node].engine
        ports: tuple[Port, ...] = engine.outputs if output else engine.inputs
        return end.node if [port.name for port in ports] == [end.port] else str(end)

    return f"{end(edge.source, output=True)} -> {end(edge.target, output=False)}"


# ------------------------------------------------------------------------------------ writing


def dump_rack(rack: Rack) -> str:
    """The text of a rack file, from which `parse_rack` makes the same rack."""
    import tomli_w

    return tomli_w.dumps({"version": VERSION} | msgspec.to_builtins(rack))


def save_rack(path: str | Path, rack: Rack) -> None:
    """Write a rack file: whole, or not at all.

    The new file is complete and on the disk before it takes the name; a link stays one. Its
    mode is that which new files have.

    Raises
    ------
    FileError
        It cannot be written; what was there is as it was.
    """
    part = None
    try:
        target, content = Path(os.path.realpath(path)), dump_rack(rack).encode()
        if len(content) > LARGEST:
            raise OSError(errno.EFBIG, f"a rack of more than {LARGEST >> 20} MB could not be read")
        new = target.with_name(f".{target.name[:64]}.{secrets.token_hex(4)}.part")
        with open(new, "xb") as file:
            part = new
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
        part = None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "a text in it, or its name, is none"
        raise FileError(f"cannot write {_shown(path)}: {why}; nothing has changed") from None
    finally:
        if part is not None:
            with suppress(OSError):
                os.unlink(part)
