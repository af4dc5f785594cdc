"""Engines and commands, found through the entry points of installed packages.

A package adds engines under ``rtaudio.engines`` and commands under ``rtaudio.commands``. Listing the names
imports nothing; a package is imported when one of its names is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeAlias

from rtaudio.errors import UserError, nearest

if TYPE_CHECKING:
    from rtaudio.graph import Engine

Command: TypeAlias = "Callable[..., Any]"

RESERVED = "engine"
"""The one name that a parameter cannot have: rack files use it."""


def engine_names() -> list[str]:
    """Names of the installed engines, sorted."""
    return _names("engine")


def load_engine(name: str) -> Engine:
    """Import one engine.

    Raises
    ------
    UserError
        There is no engine of that name, it fails to import, or it does not keep to the contract.
    """
    # Here, so that listing names and commands needs no numpy: ``--help`` answers at once.
    from rtaudio.graph import Composite, parameters_of
    from rtaudio.processor import Processor

    entry, loaded = _load("engine", name)
    if not (isinstance(loaded, type) and issubclass(loaded, (Processor, Composite))):
        raise _broken("engine", entry, f"{entry.value} is neither a Processor nor a Composite")
    if loaded.id != name:
        raise _broken("engine", entry, f"{entry.value} has another id, {loaded.id!r}")
    if any(parameter.id == RESERVED for parameter in parameters_of(loaded)):
        raise _broken("engine", entry, f"a parameter cannot be called {RESERVED!r}")
    return loaded


def load_engines() -> dict[str, Engine]:
    """Import every engine; `UserError` for the first that is broken (to pass over it, load each by name)."""
    return {name: load_engine(name) for name in engine_names()}


def command_names() -> list[str]:
    """Names of the commands that engines add, sorted."""
    return _names("command")


def load_command(name: str) -> Command:
    """Import one command; `UserError` as for `load_engine`."""
    entry, loaded = _load("command", name)
    if not callable(loaded):
        raise _broken("command", entry, f"{entry.value} is not callable")
    return loaded  # type: ignore[no-any-return]


def load_commands() -> dict[str, Command]:
    """Import every command; `UserError` for the first that is broken (to pass over it, load each by name)."""
    return {name: load_command(name) for name in command_names()}


def _names(kind: str) -> list[str]:
    return sorted(entry_points(group=f"rtaudio.{kind}s").names)


def _load(kind: str, name: str) -> tuple[EntryPoint, Any]:
    entries = list(entry_points(group=f"rtaudio.{kind}s", name=name))
    if not entries:
        known = _names(kind)
        listed = ", ".join(known) or "none is installed"
        raise UserError(f"no {kind} {name!r}{nearest(name, known)} ({listed})")
    if len(entries) > 1:
        packages = " and ".join(sorted(map(_package, entries)))
        raise UserError(f"{kind} {name!r} comes from the packages {packages}: uninstall all but one")
    try:
        return entries[0], entries[0].load()
    except Exception as error:
        why = str(error).strip().splitlines()[:1]
        raise _broken(kind, entries[0], ": ".join([type(error).__name__, *why])) from error


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown"


def _broken(kind: str, entry: EntryPoint, why: str) -> UserError:
    return UserError(f"{kind} {entry.name!r} of package {_package(entry)!r} cannot be used: {why}")
