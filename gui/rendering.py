"""Files that are rendered, each by the command line in a process of its own, some at a time.

The process says in lines of JSON how far it is (``--progress``), and in words what is wrong. It ends by
itself when nobody reads what it says, and leaves nothing half-written when it is told to end.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QProcess,
    QProcessEnvironment,
    Qt,
    Signal,
)

from engines.separate import STEMS
from rtaudio.errors import UserError
from rtaudio.files import writable

Index = QModelIndex | QPersistentModelIndex

NICE = 10
"""Priority of what renders: below the window, and far below sound."""
ENDING = 10_000
"""Milliseconds that a process may take to end."""


class State(StrEnum):
    """Where a file is on its way."""

    ADDED = "added"
    WAITING = "waiting"
    STARTING = "starting"
    RENDERING = "rendering"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    DONE = "done"
    FAULTY = "done, with faults"
    FAILED = "failed"


RUNNING = frozenset({State.STARTING, State.RENDERING, State.CANCELLING})
"""A process is at work."""
RENDERED = frozenset({State.DONE, State.FAULTY})
"""Its outputs are written."""


@dataclass(frozen=True)
class Way:
    """How files are rendered: a command, and where its outputs go.

    Attributes
    ----------
    title
        What is said of it.
    command
        ``render``, ``separate`` or ``enhance``.
    options
        Of that command, for every file.
    folder
        Where outputs go, in the structure in which the inputs lie; None: beside each input.
    mark
        What tells a name beside an input from the input's.
    extension
        Of the outputs, with its dot; empty: the input's, where such files can be written, else ``.wav``.
    """

    title: str
    command: str
    options: tuple[str, ...] = ()
    folder: Path | None = None
    mark: str = "rendered"
    extension: str = ""

    def targets(self, source: Path, place: Path) -> list[Path]:
        """Files that are written of an input, which lies at ``place`` below what was added.

        A chain with several outputs writes more of them, beside the first.
        """
        folder = source.parent if self.folder is None else self.folder / place.parent
        if self.command == "separate":
            return [folder / f"{source.stem}.{stem}.wav" for stem in STEMS]
        extension = self.extension or (source.suffix if writable(source) else ".wav")
        mark = f".{self.mark}" if self.folder is None else ""
        return [folder / f"{source.stem}{mark}{extension}"]

    def words(self, source: Path, place: Path) -> list[str]:
        """The command line that renders an input, from the command on."""
        target = self.targets(source, place)[0]
        output = target.parent if self.command == "separate" else target
        return [self.command, "-o", os.fspath(output), *self.options, "--progress", "--", os.fspath(source)]


class Rendering(QObject):
    """A file, and the process that renders it.

    Attributes
    ----------
    source, place : Path
        The file, and where it lies below the folder that was added, or else its name.
    state : State
    way : Way or None
        How it was rendered, or is to be; None: not yet said.
    part, speed : float
        How much is done, 0 to 1, and how many times faster than real time.
    text : str
        A line on how it ended.
    said : str
        All that the process said.
    outputs : list of Path
        What has been written.
    """

    changed = Signal(object)
    """Itself."""

    def __init__(self, source: Path, place: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.source, self.place = source, place
        self.state = State.ADDED
        self.part = self.speed = 0.0
        self.text = self.said = ""
        self.outputs: list[Path] = []
        self.way: Way | None = None
        self._process: QProcess | None = None
        self._unread = b""
        self._report: dict[str, Any] = {}

    def queue(self, way: Way) -> None:
        """Let it wait to be rendered."""
        self.way, self.part, self.speed = way, 0.0, 0.0
        self.text, self.said, self.outputs = "", "", []
        self._become(State.WAITING)

    def refuse(self, way: Way, why: str) -> None:
        """Fail before anything has run."""
        self.queue(way)
        self._end(State.FAILED, why)

    @property
    def command(self) -> str:
        """The command line, to be read; empty: none yet."""
        if self.way is None:
            return ""
        return shlex.join(["rtaudio", *self.way.words(self.source, self.place)])

    def start(self) -> None:
        """Start the process of what waits."""
        assert self.way is not None  # noqa: S101
        self._unread, self._report = b"", {}
        process = self._process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        process.setProcessEnvironment(environment)
        process.setStandardInputFile(QProcess.nullDevice())
        process.started.connect(self._started)
        process.readyReadStandardOutput.connect(self._read)
        process.errorOccurred.connect(self._not_started)
        process.finished.connect(self._finished)
        self._become(State.STARTING)
        process.start(sys.executable, ["-P", "-m", "rtaudio", *self.way.words(self.source, self.place)])

    def cancel(self) -> None:
        """Let the process end, or what waits not begin."""
        if self._process is None:
            if self.state is State.WAITING:
                self._end(State.CANCELLED, "")
        elif self.state is not State.CANCELLING:
            self._become(State.CANCELLING)
            self._process.terminate()

    def wait(self) -> None:
        """Wait until the process has ended."""
        if self._process is not None:
            self._process.waitForFinished(ENDING)

    def _become(self, state: State) -> None:
        self.state = state
        self.changed.emit(self)

    def _started(self) -> None:
        assert self._process is not None  # noqa: S101
        with suppress(OSError):  # It has ended.
            os.setpriority(os.PRIO_PROCESS, self._process.processId(), NICE)

    def _read(self) -> None:
        """Take the lines that have come, of which the last counts."""
        assert self._process is not None  # noqa: S101
        *lines, self._unread = (self._unread + self._process.readAllStandardOutput().data()).split(b"\n")
        for line in lines:
            try:
                step = json.loads(line)
            except ValueError:  # What an engine prints.
                continue
            if "done" in step:
                self.part, self.speed = step["done"] / step["total"], step["speed"]
            else:
                self._report = step
        if self.state is not State.CANCELLING:
            self._become(State.RENDERING)

    def _not_started(self, error: QProcess.ProcessError) -> None:
        process = self._process
        if error is QProcess.ProcessError.FailedToStart and process is not None:
            self._process = None
            process.deleteLater()
            self._end(State.FAILED, f"cannot start {sys.executable}: {process.errorString()}")

    def _finished(self, status: int, how: QProcess.ExitStatus) -> None:
        assert self._process is not None  # noqa: S101
        process = self._process
        self._read()
        self.said = bytes(process.readAllStandardError().data()).decode(errors="replace").strip()
        self._process = None
        process.deleteLater()
        report = self._report
        if how is QProcess.ExitStatus.NormalExit and "outputs" in report:
            self.outputs = [Path(output) for output in report["outputs"].values()]
            self.part, self.speed = 1.0, report["speed"]
            faults = "; ".join(report["failures"])
            self._end(State.FAULTY if faults else State.DONE, faults or "; ".join(report["notes"]))
        elif self.state is State.CANCELLING:
            self._end(State.CANCELLED, "")
        elif how is QProcess.ExitStatus.CrashExit:
            self._end(State.FAILED, f"the process that rendered it was ended by {_signal(status)}")
        else:
            last = self.said.rpartition("\n")[2]
            self._end(State.FAILED, last.removeprefix("rtaudio: ") or f"ended with status {status}")

    def _end(self, state: State, text: str) -> None:
        self.text = text
        self._become(state)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


COLUMNS = ("File", "Chain", "Output", "Progress", "Speed", "State")
FILE, CHAIN, OUTPUT, PROGRESS, SPEED, STATE = range(len(COLUMNS))


class Renderings(QAbstractTableModel):
    """The files of the table, a row each, and the turns in which they are rendered.

    Attributes
    ----------
    rows : list of Rendering
    jobs : int
        Processes that run at once, at most.
    way : Way or None
        How what has only been added would be rendered, to be shown.
    """

    told = Signal()
    """Something has changed in a row."""

    def __init__(self, jobs: int, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows: list[Rendering] = []
        self.jobs = jobs
        self.way: Way | None = None

    # ------------------------------------------------------------------------------------ what is to be done

    def add(self, paths: Iterable[Path], output: Path | None = None) -> tuple[int, int]:
        """Add files, and those in folders, but for what lies in the output folder.

        Returns
        -------
        How many were added, and how many were there before.

        Raises
        ------
        UserError
            A path does not exist, or a folder has nothing to render; what else there is has been added.
        """
        from rtaudio.cli import find_inputs

        known = {rendering.source for rendering in self.rows}
        found: list[Rendering] = []
        before, problems = 0, []
        for path in paths:
            try:
                inputs = find_inputs([path.absolute()], output or Path(os.devnull))
            except UserError as error:
                problems.append(str(error))
                continue
            for source, place in inputs:
                if source in known:
                    before += 1
                else:
                    known.add(source)
                    found.append(Rendering(source, place, self))
        if found:
            first = len(self.rows)
            self.beginInsertRows(QModelIndex(), first, first + len(found) - 1)
            self.rows += found
            self.endInsertRows()
            for rendering in found:
                rendering.changed.connect(self._changed)
            self.told.emit()
        if problems:
            raise UserError("; ".join(problems))
        return len(found), before

    def remove(self, rows: Iterable[Rendering]) -> None:
        """Take rows out of the table, but for those at work."""
        for rendering in list(rows):
            if rendering.state in RUNNING:
                continue
            row = self.rows.index(rendering)
            self.beginRemoveRows(QModelIndex(), row, row)
            del self.rows[row]
            self.endRemoveRows()
            rendering.deleteLater()
        self.told.emit()

    def in_the_way(self, way: Way, rows: Iterable[Rendering]) -> dict[Rendering, list[Path]]:
        """Files that rows would replace, by the row: neither inputs nor what has been rendered here."""
        known = {os.path.realpath(rendering.source) for rendering in self.rows}
        known |= {os.path.realpath(output) for rendering in self.rows for output in rendering.outputs}
        found = {
            rendering: [Path(path) for path in _written(rendering, way) if path not in known]
            for rendering in rows
            if rendering.state not in RUNNING and rendering.state is not State.WAITING
        }
        there = {rendering: [path for path in paths if path.exists()] for rendering, paths in found.items()}
        return {rendering: paths for rendering, paths in there.items() if paths}

    def render(self, way: Way, rows: Iterable[Rendering]) -> int:
        """Let rows be rendered; returns how many wait for it now.

        What would be written over an input, or what another file becomes, fails at once.
        """
        inputs = {os.path.realpath(rendering.source): rendering.source for rendering in self.rows}
        owners: dict[str, Path] = {}
        for rendering in self.rows:
            if rendering.state in RUNNING or rendering.state is State.WAITING:
                owners |= dict.fromkeys(_written(rendering, rendering.way), rendering.source)
            for output in rendering.outputs:
                owners.setdefault(os.path.realpath(output), rendering.source)
        queued = 0
        for rendering in rows:
            if rendering.state in RUNNING or rendering.state is State.WAITING:
                continue
            written = _written(rendering, way)
            if over := next((inputs[path] for path in written if path in inputs), None):
                rendering.refuse(way, f"{over} is an input: choose another output folder")
            elif owner := next(
                (owners[path] for path in written if owners.get(path, rendering.source) != rendering.source),
                None,
            ):
                rendering.refuse(
                    way,
                    f"{owner} and {rendering.source} would both be written to {next(iter(written))}: add the "
                    "folder that holds them, whose structure is kept, or rename one",
                )
            else:
                owners |= dict.fromkeys(written, rendering.source)
                rendering.queue(way)
                queued += 1
        self._go_on()
        return queued

    def cancel(self, rows: Iterable[Rendering]) -> None:
        """Cancel what is at work, or waits, of some rows."""
        rows = list(rows)
        # What waits first, so that nothing takes the place of what ends.
        for rendering in sorted(rows, key=lambda rendering: rendering.state is not State.WAITING):
            rendering.cancel()

    def cancel_all(self) -> None:
        """Cancel everything, and wait until it has ended."""
        self.cancel(self.rows)
        for rendering in self.rows:
            rendering.wait()

    @property
    def busy(self) -> int:
        """Files that are at work, or wait for it."""
        return sum(each.state in RUNNING or each.state is State.WAITING for each in self.rows)

    def _go_on(self) -> None:
        """Start what waits, as far as there is room."""
        running = sum(rendering.state in RUNNING for rendering in self.rows)
        for rendering in self.rows:
            if running >= self.jobs:
                break
            if rendering.state is State.WAITING:
                running += 1
                rendering.start()

    def _changed(self, rendering: Rendering) -> None:
        row = self.rows.index(rendering)
        self.dataChanged.emit(self.index(row, 0), self.index(row, STATE))
        self.told.emit()
        if rendering.state not in RUNNING and rendering.state is not State.WAITING:
            self._go_on()

    def show_way(self, way: Way | None) -> None:
        """Show of what has only been added how it would be rendered."""
        if way != self.way:
            self.way = way
            if self.rows:
                self.dataChanged.emit(self.index(0, CHAIN), self.index(len(self.rows) - 1, OUTPUT))

    # ------------------------------------------------------------------------------------ what a table shows

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008, N802
        """Number of files."""
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008, N802
        """Number of columns."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Titles of the columns."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return COLUMNS[section]
        if role == Qt.ItemDataRole.TextAlignmentRole and section == SPEED:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What a cell shows; the tool tip has all of what is cut off."""
        rendering, column = self.rows[index.row()], index.column()
        if role == Qt.ItemDataRole.UserRole:
            return rendering
        if role == Qt.ItemDataRole.DisplayRole:
            return self._shown(rendering, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._told(rendering, column)
        if role == Qt.ItemDataRole.TextAlignmentRole and column == SPEED:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def _shown(self, rendering: Rendering, column: int) -> str:
        way = rendering.way or self.way
        if column == FILE:
            return os.fspath(rendering.place)
        if column == CHAIN:
            return way.title if way is not None else ""
        if column == OUTPUT:
            names = [path.name for path in self._outputs(rendering)]
            return ", ".join(names)
        if column == PROGRESS:
            return f"{100 * rendering.part:.0f} %"
        if column == SPEED:
            return f"{rendering.speed:.1f} ×" if rendering.speed else ""
        return f"{rendering.state}: {rendering.text}" if rendering.text else str(rendering.state)

    def _told(self, rendering: Rendering, column: int) -> str:
        if column == FILE:
            return os.fspath(rendering.source)
        if column == OUTPUT:
            return "\n".join(map(os.fspath, self._outputs(rendering)))
        if column == SPEED and rendering.speed:
            return f"{rendering.speed:.1f} times faster than real time"
        return self._shown(rendering, column)

    def _outputs(self, rendering: Rendering) -> Sequence[Path]:
        """What was written, or else what would be."""
        way = rendering.way or self.way
        if rendering.outputs or way is None:
            return rendering.outputs
        return way.targets(rendering.source, rendering.place)


def _written(rendering: Rendering, way: Way | None) -> dict[str, None]:
    """The files that a row writes, links followed, in order."""
    targets = [] if way is None else way.targets(rendering.source, rendering.place)
    return dict.fromkeys(os.path.realpath(target) for target in targets)
