"""What the commands show while they work and write at the end: progress, files, tables."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rtaudio.errors import FileError

Cells = Sequence[Sequence[str]]
"""Rows of a table."""


def digest(paths: Iterable[Path]) -> str:
    """The number of files and a hash of their names and contents, in their order."""
    found = [f"{path.name}\t{file_hash(path)}\n" for path in paths]
    return f"{len(found)} files, sha256 {hashlib.sha256(''.join(found).encode()).hexdigest()}"


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits; `FileError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from None


@contextmanager
def progress(steps: int) -> Iterator[Callable[[str], None]]:
    """A progress bar on stderr, and a function that says which step begins."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from rtaudio.cli import on_terminal

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True, emoji=False),
        disable=not on_terminal(),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=steps, completed=-1)
        yield lambda what: bar.update(task, advance=1, description=what)


def appear(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a hidden name, and rename it when it is on the disk, complete."""
    hidden = path.with_name(f".{path.name}.part")
    try:
        write(hidden)
        with hidden.open("rb") as file:
            os.fsync(file.fileno())
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, as `appear` does."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    appear(path, lambda hidden: hidden.write_text(text + "\n", encoding="utf-8"))


def write_with_card(path: Path, content: bytes, card: Mapping[str, Any]) -> None:
    """Write a model, and its card, which says the hash, beside it; `FileError` where that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        appear(path, lambda hidden: hidden.write_bytes(content))
        write_json(path.with_suffix(".json"), {**card, "sha256": hashlib.sha256(content).hexdigest()})
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}; name another file with -o") from None


def show(heading: Sequence[str], cells: Cells, title: str | None = None, left: int = 1) -> None:
    """A table on stdout, its columns to the right but for the first ``left``."""
    from rich.console import Console
    from rich.table import Table

    console = Console(emoji=False, markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 200
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(heading):
        table.add_column(column, justify="left" if number < left else "right")
    for texts in cells:
        table.add_row(*texts)
    console.print(table)


def markdown_table(heading: Sequence[str], cells: Cells, left: int = 1) -> list[str]:
    """The lines of the same table in Markdown."""
    rule = ["---" if number < left else "---:" for number in range(len(heading))]
    return ["| " + " | ".join(texts) + " |" for texts in (heading, rule, *cells)]


def command_line() -> str:
    """The command that is running, as a shell takes it."""
    return shlex.join(["python", "-m", "export", *sys.argv[1:]])
