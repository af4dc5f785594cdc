"""The host that a window has, started or taken over: a process of its own, which outlives the window."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO

from PySide6.QtCore import QObject, QTimer, Signal

from gui.logs import claim, open_log
from rtaudio.cli import one_line
from rtaudio.errors import UserError
from rtaudio.server import connect

LOOK_MS, REST_MS = 40, 200
"""Milliseconds between two looks at a host that is starting, and at one that runs."""
PATIENCE = 5.0
"""Seconds that a host has to end."""


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
        self._claim: BinaryIO | None = None
        """Held as long as the host is this window's, see `gui.logs`."""
        self._taken = -1
        """Descriptor of the process of one that was taken over."""
        self._begun = b""
        self._last = ""
        self._is_ready = False
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)

    @property
    def pid(self) -> int:
        """Process number of the one that was started; 0: there is none."""
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
        self._give_up()
        log, path, self._claim = open_log()
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

    def take_over(self, pid: int) -> bool:
        """Have a host that the window which started it has left.

        False: it was started by hand, or another window has it; it stays that way.
        """
        if self._process is not None:
            return pid == self._process.pid
        self._give_up()
        try:
            self._taken = os.pidfd_open(pid)
        except OSError:  # It has ended.
            return False
        self._claim = claim(pid)
        if self._claim is None:
            self._give_up()
        return self._claim is not None

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
        if self._taken >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._taken, signal.SIGTERM)
                if not select.select([self._taken], [], [], PATIENCE)[0]:
                    signal.pidfd_send_signal(self._taken, signal.SIGKILL)
        self._give_up()

    def let_go(self) -> None:
        """Leave it to itself."""
        self._timer.stop()
        if self._process is not None:
            self._process.returncode = 0  # Or Python would warn that it still runs.
            self._process = None
        self._give_up()

    def _give_up(self) -> None:
        """Let another window have it."""
        if self._taken >= 0:
            os.close(self._taken)
            self._taken = -1
        if self._claim is not None:
            self._claim.close()
            self._claim = None

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
            self._give_up()
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
