"""Where racks are kept, so that they go by a name, and the command ``rtaudio rack``.

A rack of the user's is ``NAME.toml`` in `user_folder`. Packages bring others: an entry point in the group
``rtaudio.racks`` names a package, or a folder in one, in which they lie. The user's come first.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtaudio.errors import FileError, UserError, nearest
from rtaudio.folders import data_folder
from rtaudio.registry import engine_names

if TYPE_CHECKING:
    from rtaudio.graph import Graph
    from rtaudio.rack import MidiBinding, Rack

_NAME = re.compile(r"[^\W\d][\w-]*")


def user_folder() -> Path:
    """Folder of the user's racks."""
    return data_folder() / "racks"


def factory_folders() -> list[Path]:
    """Folders of the racks that installed packages bring."""
    found = []
    for entry in sorted(entry_points(group="rtaudio.racks"), key=lambda entry: entry.name):
        try:
            spec = find_spec(entry.value)
        except ImportError:
            continue
        found += [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    return found


def rack_files() -> dict[str, Path]:
    """The file of every rack that goes by a name, sorted by name; the user's before those of packages."""
    found: dict[str, Path] = {}
    for folder in (user_folder(), *factory_folders()):
        for file in folder.glob("*.toml"):
            if _NAME.fullmatch(file.stem):
                found.setdefault(file.stem, file)
    return dict(sorted(found.items()))


def find_rack(name: str) -> Path | None:
    """The file of a rack that goes by a name; None if there is none."""
    return rack_files().get(name)


def user_file(name: str) -> Path:
    """Where a rack of the user's is kept under a name; makes the folder.

    Raises
    ------
    UserError
        It is no name, or that of an engine, or there is no folder to be had.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name of a rack: use letters, digits, - and _, a letter first")
    if name in engine_names():
        raise UserError(f"{name!r} is an engine, which 'chain {name}' would load: choose another name")
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make {folder}: {error.strerror}") from None
    return folder / f"{name}.toml"


# ------------------------------------------------------------------------------------ the command


def add_commands(commands: Any) -> None:
    """Add ``rack``."""
    from rtaudio.cli import Parser

    rack = commands.add_parser(
        "rack",
        help="list, show and check rack files",
        description="List, show and check rack files. FILE is a path that ends in .toml, NAME one that "
        "'rtaudio rack list' lists.",
    )
    actions = rack.add_subparsers(title="what", metavar="WHAT", required=True, parser_class=Parser)
    listed = actions.add_parser("list", help="the racks that go by a name, yours and those of packages")
    listed.set_defaults(run=run_list)
    show = actions.add_parser("show", help="print a rack as it would be saved now")
    show.add_argument("rack", metavar="FILE|NAME")
    show.set_defaults(run=run_show)
    check = actions.add_parser("check", help="say of each whether it can be used here")
    check.add_argument("racks", nargs="+", metavar="FILE|NAME")
    check.set_defaults(run=run_check)
    schema = actions.add_parser("schema", help="print the JSON schema of rack files")
    schema.set_defaults(run=run_schema)


def run_list(options: argparse.Namespace) -> int:
    """``rtaudio rack list``."""
    from rtaudio.cli import entry
    from rtaudio.rack import load_rack

    files = rack_files()
    for name, file in files.items():
        whose = "yours" if file.parent == user_folder() else "factory"
        try:
            rack = load_rack(file)
            nodes = " | ".join(rack.nodes) or "no nodes"
            what = f"{whose}: {rack.description or rack.name or 'no description'} ({nodes})"
        except UserError as error:
            what = f"{whose}, not usable: {error}"
        sys.stdout.write(entry(name, max(map(len, files)), what))
    return 0


def run_show(options: argparse.Namespace) -> int:
    """``rtaudio rack show``."""
    from rtaudio.rack import dump_rack

    sys.stdout.write(dump_rack(_opened(options.rack)[1]))
    return 0


def run_check(options: argparse.Namespace) -> int:
    """``rtaudio rack check``."""
    from rtaudio.cli import fail
    from rtaudio.rack import graph_of, named

    status = 0
    for text in options.racks:
        try:
            file, rack = _opened(text)
            with named(file):
                _check_bindings(rack.midi, graph_of(rack))
            sys.stdout.write(f"{text}: ok\n")
        except UserError as error:
            status = fail(str(error))
    return status


def _check_bindings(bindings: Sequence[MidiBinding], graph: Graph) -> None:
    """Refuse MIDI bindings of parameters that the graph, and what is inside of its composites, has not."""
    from rtaudio.graph import parameters_of
    from rtaudio.parts import composites, open_graph

    declared = {part.name: part.processor.parameters for part in open_graph(graph)}
    declared |= {name: parameters_of(type(made)) for name, made in composites(graph).items()}
    known = [f"{name}.{parameter.id}" for name, found in declared.items() for parameter in found]
    missing = [
        f"{binding.parameter!r}{nearest(binding.parameter, known)}"
        for binding in bindings
        if binding.parameter not in known
    ]
    if missing:
        raise UserError(f"midi: no parameter {'; no parameter '.join(missing)}")


def run_schema(options: argparse.Namespace) -> int:
    """``rtaudio rack schema``."""
    import msgspec

    from rtaudio.rack import Rack

    schema = msgspec.json.schema(Rack)
    schema["$defs"]["Rack"]["required"] = ["version"]  # Without it `parse_rack` takes none.
    sys.stdout.write(json.dumps(schema, indent=2) + "\n")
    return 0


def _opened(text: str) -> tuple[str | Path, Rack]:
    """The file, and the rack in it, that a path or a name means."""
    from rtaudio.rack import load_rack

    path: str | Path | None = text
    if _NAME.fullmatch(text):
        path = find_rack(text)
    if path is None:
        known = rack_files()
        listed = ", ".join(known) or "there are none"
        raise UserError(f"no rack {text!r}{nearest(text, known)} ({listed}); a file is named by its path")
    return path, load_rack(path)
