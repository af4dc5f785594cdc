"""Typed configuration: TOML tables into frozen dataclasses."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from rtaudio.errors import FileError, UserError, nearest

T = TypeVar("T")


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file; `FileError` where it cannot be read or is no TOML."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is not TOML: {error}") from None


def typed(table: Mapping[str, Any], kind: type[T], where: str) -> T:
    """Make a dataclass of a table.

    Parameters
    ----------
    table
        Values by field; a field that is a dataclass itself takes a table. Fields left out have their default.
    kind
        The dataclass, which checks its values in ``__post_init__`` and raises `UserError`.
    where
        What an error names.

    Raises
    ------
    UserError
        An unknown key, with the nearest known one; a value of the wrong type; a field that is missing.
    """
    types = get_type_hints(kind)
    values = {}
    for key, value in table.items():
        if key not in types:
            raise UserError(f"{where}: unknown key {key!r}{nearest(key, types)}")
        if is_dataclass(types[key]):
            if not isinstance(value, Mapping):
                raise UserError(f"{where}: {key} is a table: write [{key}]")
            values[key] = typed(value, types[key], f"{where}, [{key}]")
        else:
            try:
                values[key] = msgspec.convert(value, types[key])
            except msgspec.ValidationError as error:
                raise UserError(f"{where}: {key} = {value!r}: {_plain(str(error))}") from None
    needed = [field for field in fields(kind) if field.default is MISSING is field.default_factory]  # type: ignore[arg-type]
    if missing := [field.name for field in needed if field.name not in values]:
        raise UserError(f"{where}: {', '.join(missing)} is missing")
    try:
        return kind(**values)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def check_least(table: object, least: float, *names: str) -> None:
    """`UserError` where one of a table's values, by name, is below ``least``."""
    for name in names:
        if not getattr(table, name) >= least:
            raise UserError(f"{name} = {getattr(table, name)}: want {least} or more")


def check_weights(table: Any) -> None:
    """`UserError` where a value of a table, a dataclass of weights of losses, is below 0 or not finite."""
    for name, value in asdict(table).items():
        if not 0 <= value < float("inf"):
            raise UserError(f"{name} = {value}: want 0 or more")


def check_optimiser(table: Any, *rates: str) -> None:
    """`UserError` where an optimiser of torch would refuse a table's values, or learn nothing by them.

    Parameters
    ----------
    table
        A dataclass, with ``decay``, and with ``betas`` perhaps.
    rates
        Names of its learning rates.
    """
    for name in rates:
        if not 0 < getattr(table, name) <= 1:
            raise UserError(f"{name} = {getattr(table, name)}: want rates above 0 up to 1")
    if not 0 <= table.decay <= 1:
        raise UserError(f"decay = {table.decay}: want 0 to 1")
    if not all(0 <= beta < 1 for beta in getattr(table, "betas", ())):
        raise UserError(f"betas = {list(table.betas)}: want 0 or more, below 1")


def _plain(message: str) -> str:
    """A message of msgspec, begun in lower case."""
    return message[:1].lower() + message[1:].replace("`", "")
