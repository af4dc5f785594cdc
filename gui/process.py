"""A host that the window has started: a process of its own, which outlives the window."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from PySide6.QtCore import QObject, QTimer, Signal

from gui.application import made_state_folder
from rtaudio.cli import one_line
from rtaudio.errors import UserError
from rtaudio.server import connect

LOOK_MS, REST_MS = 40, 200
"""Milliseconds between two looks at a host that is starting, and at one that runs."""
PATIENCE = 5.0
"""Seconds that a host has to end."""
LOGS = 32
"""Hosts of windows, at most, that write logs at once."""


class HostProcess(QObject):
    """Starts ``rtaudio live``, and tells what becomes of it."""

    said = Signal(str)
    """A line that it has written."""
    ready = Signal(int)
    """It takes lines now: its process number."""
    ended = Signal(str)
    """It has ended without `end`: why, in a line."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._process: subprocess.Popen[bytes] | None = None
        self._log: BinaryIO | None = None
        self._begun = b""
        self._last = ""
        self._is_ready = False
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)

    @property
    def pid(self) -> int:
        """Its process number; 0: there is none."""
        return self._process.pid if self._process is not None else 0

    @property
    def starting(self) -> bool:
        """Whether one has been started and takes no lines yet."""
        return self._process is not None and not self._is_ready

    def start(self, options: Sequence[str], folder: str = "") -> None:
        """Start one.

        Parameters
        ----------
        options
            Of ``rtaudio live``.
        folder
            Its working folder; empty: this one.

        Raises
        ------
        UserError
            There is no place for its log.
        """
        log, path = _open_log()
        with log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "rtaudio", "live", *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                cwd=folder or None,
            )
        if self._log is not None:
            self._log.close()
        self._log = path.open("rb")
        self._begun, self._last, self._is_ready = b"", "", False
        self._timer.start(LOOK_MS)

    def end(self) -> None:
        """End it, and wait until it has; where there is none, do nothing."""
        process, self._process = self._process, None
        self._timer.stop()
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def let_go(self) -> None:
        """Leave it to itself."""
        self._timer.stop()
        if self._process is not None:
            self._process.returncode = 0  # Or Python would warn that it still runs.
            self._process = None

    def _look(self) -> None:
        """Tell what it has written, and whether it is ready or over."""
        process = self._process
        if process is None:
            return
        over = process.poll() is not None
        self._read()
        if over:
            self._process = None
            self._timer.stop()
            self.ended.emit(self._why(process.returncode))
        elif not self._is_ready and _takes_lines(process.pid):
            self._is_ready = True
            self._timer.setInterval(REST_MS)
            self.ready.emit(process.pid)

    def _why(self, status: int) -> str:
        """Why it has ended, in a line."""
        if status < 0:
            return f"the host was ended by {signal.Signals(-status).name}"
        return (status and self._last) or "the host has ended"

    def _read(self) -> None:
        if self._log is None:
            return
        *lines, self._begun = (self._begun + self._log.read()).split(b"\n")
        for line in lines:
            self._last = one_line(line.decode(errors="replace"))
            self.said.emit(self._last)


def _takes_lines(pid: int) -> bool:
    """Whether the host in a process can be connected to."""
    try:
        connect(pid).close()
    except UserError:
        return False
    return True


def _open_log() -> tuple[BinaryIO, Path]:
    """A new log, open for writing, that no other host writes to: each holds a lock on its own as it lives."""
    try:
        folder = made_state_folder()
        for number in range(LOGS):
            path = folder / ("live.log" if number == 0 else f"live-{number}.log")
            file = os.fdopen(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600),
                "wb",
            )
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            file.truncate(0)
            return file, path
    except OSError as error:
        raise UserError(f"no place for a log: {error}; set XDG_STATE_HOME to a folder of yours") from None
    raise UserError(f"{LOGS} hosts of windows run already: end one of them")
