"""Cards: what is said of a model in the JSON file beside it, read and checked without running anything."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from rtaudio.errors import FileError, UserError, nearest
from rtaudio.folders import data_folder
from rtaudio.processor import MAXIMUM_CHANNELS, RATES, Parameter, Port, Value

STREAM = "stream"
"""Kind of the networks that the engine ``network`` runs."""
LONGEST = 10
"""Seconds of the longest latency, and of the longest hop."""
LONGEST_TAIL = 600
"""Seconds."""
SCALES = ("linear", "integer", "log", "dB")
"""Of a network's parameters."""
SHIPPED = Path(__file__).parent / "models"
"""The models that come with the project."""


def user_models() -> Path:
    """Folder of the models that a user has added."""
    return data_folder() / "models"


def find_model(name: str, kinds: Collection[str], others: Collection[str] = ()) -> Path:
    """The file of a model: its path, or the name of one that a user has added or that the project ships.

    Parameters
    ----------
    name
        A path, or a name.
    kinds
        Those of models, and ``others`` the further names, that are suggested where there is none such.

    Raises
    ------
    FileError
        There is no such file.
    """
    path = Path(name)
    if path.suffix == ".onnx" and path.is_file():
        return path
    if path.name == name:
        folders = user_models(), SHIPPED
        for folder in folders:
            found = folder / f"{name.removesuffix('.onnx')}.onnx"
            if found.is_file():
                return found
        files = [file for folder in folders for file in folder.glob("*.onnx")]
        known = sorted({file.stem for file in files if _kind(file) in kinds} | {*others})
        listed = f" ({', '.join(known)})" if known else ""
        where = f"here, in {folders[0]} or among the project's own{listed}"
        raise FileError(f"no model {name!r}{nearest(name, known)} {where}: give the path of NAME.onnx")
    raise FileError(f"no model {name!r}: give the path of a file NAME.onnx")


def _kind(path: Path) -> str | None:
    """Kind of a model; None without a card."""
    try:
        return read_kind(path)
    except FileError:
        return None


def read_kind(path: Path) -> str:
    """Kind of the model NAME.onnx, as its card NAME.json says it.

    Raises
    ------
    FileError
        There is no card.
    """
    return str(_read(path.with_suffix(".json"))["kind"])


def read_card(path: Path, kind: str, wanted: Sequence[str]) -> dict[str, Any]:
    """The card beside a model.

    Parameters
    ----------
    path
        NAME.onnx; its card NAME.json lies beside it.
    kind
        Of the model.
    wanted
        What the card has to say.

    Raises
    ------
    FileError
        There is no card, or it is one of something else.
    """
    card = path.with_suffix(".json")
    found = _read(card)
    if found["kind"] != kind:
        raise FileError(f"{path} is a model of kind {found['kind']!r}, not {kind!r}")
    missing = [key for key in wanted if key not in found]
    if missing:
        raise FileError(f"{card} does not say {', '.join(missing)}")
    return found


def _read(card: Path) -> dict[str, Any]:
    """What a card says, its kind among that."""
    try:
        found = json.loads(card.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{card}: {error.strerror}; a model has its card beside it") from None
    except (ValueError, RecursionError):
        raise FileError(f"{card} is not the card of a model") from None
    if not isinstance(found, dict) or "kind" not in found:
        raise FileError(f"{card} is not the card of a model")
    return found


def read_content(path: Path, sha256: str) -> bytes:
    """The content of a model, which has to be the one that its card was written for."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise FileError(f"{path} is not the model of its card: the hash differs; get both anew")
    return content


# ---------------------------------------------------------------------------------------------- kind: stream


@dataclass(frozen=True)
class Audio:
    """A tensor of sound: as many channels, a hop each."""

    name: str
    channels: int
    port: str


@dataclass(frozen=True)
class State:
    """What a network remembers: an input, and the output that is its next value."""

    name: str
    following: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class StreamCard:
    """The card of a model of kind ``stream``, see docs/networks.md."""

    path: Path
    """Of the card."""
    rate: int
    """Hz"""
    hop: int
    """Samples that the model takes at once, at its rate."""
    latency: int
    """Samples, at its rate, by which what it puts out for a hop is later than the hop."""
    tail: int
    """Samples, at its rate, after which nothing is heard of what came in."""
    inputs: tuple[Audio, ...]
    outputs: tuple[Audio, ...]
    states: tuple[State, ...]
    parameters: tuple[Parameter, ...]
    tensors: tuple[str, ...]
    """Name of every parameter's input."""
    unity: Mapping[str, Value] | None = field(hash=False)
    """Settings at which the outputs sum to the delayed input."""
    sha256: str

    @property
    def mono(self) -> bool:
        """Whether the model takes one channel at a time, of a stream of any."""
        return all(audio.channels == 1 for audio in (*self.inputs, *self.outputs))

    def ports(self, audio: Sequence[Audio]) -> tuple[Port, ...]:
        """Ports of the engine that stand for its inputs or outputs."""
        return tuple(Port(each.port, None if self.mono else each.channels) for each in audio)


WANTED = ("rate", "hop", "latency", "inputs", "outputs", "states", "sha256")
OPTIONAL = ("kind", "tail", "parameters", "unity")
_MADE = ("licence", "data", "command", "settings", "seconds", "steps", "scores", "notes")
ABOUT = ("name", "version", "author", "description", "task", *_MADE)
"""What a card may say that nothing here reads."""


def read_stream_card(path: Path) -> StreamCard:
    """The card of a model of kind ``stream``.

    Parameters
    ----------
    path
        NAME.onnx.

    Raises
    ------
    FileError
        There is none, or what it says cannot be.
    """
    found, known = read_card(path, STREAM, WANTED), (*WANTED, *OPTIONAL, *ABOUT)
    for key in found:
        if key not in known:
            meant = nearest(key, known) or "; what else there is to say goes into 'notes'"
            raise FileError(f"{path.with_suffix('.json')} says {key!r}, which no card has{meant}")
    said = _Said(path.with_suffix(".json"), found)
    rate = said.whole("rate", *RATES)
    inputs, outputs = said.audio("inputs"), said.audio("outputs")
    parameters, tensors = said.parameters()
    card = StreamCard(
        said.card,
        rate,
        said.whole("hop", 1, LONGEST * rate),
        said.whole("latency", 0, LONGEST * rate),
        said.whole("tail", 0, LONGEST_TAIL * rate, 0),
        inputs,
        outputs,
        said.states(),
        parameters,
        tensors,
        said.unity(parameters),
        said.text("sha256"),
    )
    following = [state.following for state in card.states]
    for names in (
        [*(each.name for each in inputs), *(each.name for each in card.states), *tensors],
        [*(each.name for each in outputs), *following],
    ):
        said.check_unique(names, "tensor")
    return card


class _Said:
    """What a card says, checked while it is read."""

    def __init__(self, card: Path, found: Mapping[str, Any]) -> None:
        self.card = card
        self._found = found

    def wrong(self, what: str, value: object, want: str) -> FileError:
        text = repr(value)
        text = text if len(text) < 80 else f"{text[:76]} ..."
        return FileError(f"{self.card} says {what} {text}: want {want}")

    def whole(self, key: str, least: int, most: int, otherwise: int | None = None) -> int:
        value = self._found.get(key, otherwise)
        if not _whole(value, least, most):
            raise self.wrong(key, value, f"a whole number from {least} to {most}")
        return value

    def text(self, key: str) -> str:
        value = self._found[key]
        if not isinstance(value, str):
            raise self.wrong(key, value, "text")
        return value

    def table(
        self, what: str, value: object, keys: Sequence[str], more: Sequence[str] = ()
    ) -> dict[str, Any]:
        """A table that has some keys, and may have more."""
        known = (*keys, *more)
        if not isinstance(value, dict) or not set(keys) <= value.keys() <= set(known):
            optional = f", and may have {', '.join(more)}" if more else ""
            raise self.wrong(what, value, f"a table of {', '.join(keys)}{optional}")
        return value

    def audio(self, key: str) -> tuple[Audio, ...]:
        entries = self._found[key]
        if not isinstance(entries, list) or not entries:
            raise self.wrong(key, entries, "a list of one table or more, of name and channels")
        found = []
        for entry in entries:
            table = self.table(f"in {key}", entry, ("name", "channels"), ("port",))
            name, channels = table["name"], table["channels"]
            port = table.get("port", name)
            if not isinstance(name, str) or not _whole(channels, 1, MAXIMUM_CHANNELS):
                raise self.wrong(f"in {key}", entry, f"a name, and 1 to {MAXIMUM_CHANNELS} channels")
            if not isinstance(port, str) or not port.replace("_", "").replace("-", "").isalnum():
                raise self.wrong(f"in {key} for a port", port, "a port of letters, digits, - and _")
            found.append(Audio(name, channels, port))
        self.check_unique([each.port for each in found], "port")
        if sum(each.channels for each in found) > MAXIMUM_CHANNELS:
            raise self.wrong(key, entries, f"at most {MAXIMUM_CHANNELS} channels together")
        return tuple(found)

    def states(self) -> tuple[State, ...]:
        entries = self._found["states"]
        if not isinstance(entries, dict):
            raise self.wrong("states", entries, "a table of states by name")
        found = []
        for name, entry in entries.items():
            table = self.table(f"of state {name}", entry, ("next", "shape"))
            shape = table["shape"]
            fits = isinstance(shape, list) and all(_whole(length, 1, 2**31) for length in shape)
            if not fits or not isinstance(table["next"], str):
                raise self.wrong(
                    f"of state {name}", entry, "next, the name of an output, and a shape of numbers from 1"
                )
            if math.prod(shape) > 2**28:
                raise self.wrong(f"of state {name}", shape, "at most 2**28 values")
            found.append(State(name, table["next"], tuple(shape)))
        return tuple(found)

    def parameters(self) -> tuple[tuple[Parameter, ...], tuple[str, ...]]:
        entries = self._found.get("parameters", [])
        if not isinstance(entries, list):
            raise self.wrong("parameters", entries, "a list of tables")
        found, tensors = [], []
        for entry in entries:
            table = self.table(
                "in parameters",
                entry,
                ("id", "input", "minimum", "maximum", "default"),
                ("unit", "scale", "smoothing", "doc"),
            )
            found.append(self.parameter(table))
            tensors.append(table["input"])
        self.check_unique(["model", "compute", "engine", *(each.id for each in found)], "parameter")
        return tuple(found), tuple(tensors)

    def parameter(self, table: Mapping[str, Any]) -> Parameter:
        name, what = table["id"], f"of parameter {table['id']!r}"
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise self.wrong("in parameters for an id", name, "letters, digits and _, no digit first")
        for key in ("input", "unit", "doc"):
            if not isinstance(table.get(key, ""), str):
                raise self.wrong(f"{what} {key}", table[key], "text")
        scale, smoothing = table.get("scale", "linear"), table.get("smoothing", 0.0)
        if scale not in SCALES:
            raise self.wrong(f"{what} scale", scale, f"one of {', '.join(SCALES)}")
        ends = table["minimum"], table["maximum"]
        numbers = *ends, table["default"], smoothing
        if not all(_finite(number) for number in numbers):
            raise self.wrong(what, dict(table), "numbers for minimum, maximum, default and smoothing")
        fits = ends[0] < ends[1] and 0 <= smoothing <= LONGEST
        fits = fits and (scale != "log" or ends[0] > 0)
        if not fits or (scale == "integer" and any(end != round(end) for end in ends)):
            want = "minimum below maximum (above 0 for log, whole for integer), smoothing from 0 to 10 s"
            raise self.wrong(what, dict(table), want)
        parameter = Parameter(
            name,
            float(table["default"]),
            float(ends[0]),
            float(ends[1]),
            table.get("unit", ""),
            scale,
            float(smoothing),
            doc=table.get("doc", ""),
        )
        return self.checked(parameter, parameter.default)

    def checked(self, parameter: Parameter, value: Value) -> Parameter:
        try:
            parameter.checked(value, "")
        except UserError:
            what = f"for parameter {parameter.id}"
            raise self.wrong(what, value, parameter.range) from None
        return parameter

    def unity(self, parameters: Sequence[Parameter]) -> Mapping[str, Value] | None:
        unity = self._found.get("unity")
        if unity is None:
            return None
        known = {parameter.id: parameter for parameter in parameters}
        if not isinstance(unity, dict) or not unity.keys() <= known.keys():
            raise self.wrong(
                "unity", unity, f"a table of parameters ({', '.join(known) or 'there are none'})"
            )
        for name, value in unity.items():
            self.checked(known[name], value)
        return unity

    def check_unique(self, names: Sequence[str], what: str) -> None:
        for number, name in enumerate(names):
            if name in names[:number]:
                raise FileError(
                    f"{self.card} says the {what} {name!r} twice: every {what} has a name of its own"
                )


def _whole(value: object, least: int, most: int) -> TypeGuard[int]:
    return type(value) is int and least <= value <= most


def _finite(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
