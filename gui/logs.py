"""Logs of the hosts that windows start, and which window has which: by locks, which die with their holders.

Such a host holds a lock on its log, ``live.log`` or ``live-N.log`` in the state folder; the window that has
it holds one on the file beside that, ``live.window``. So a host is a window's if its standard error is such a
log, and has been left if the lock beside that is free. All that show it share one on ``live.shown``.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from typing import BinaryIO

from gui.application import made_state_folder
from rtaudio.counters import running
from rtaudio.errors import UserError

HOSTS = 32
"""Hosts of windows, at most, that run at once."""
_NAME = re.compile(r"live(-\d+)?\.log")


def open_log() -> tuple[BinaryIO, Path, BinaryIO]:
    """A new log that no other host writes to.

    Returns
    -------
    log
        Open for writing; who inherits it holds its lock.
    path
        Where it is.
    claim
        What the window holds on the host until it is closed.

    Raises
    ------
    UserError
        There is no place for it, or too many hosts run.
    """
    try:
        folder = made_state_folder()
        for number in range(HOSTS):
            path = folder / ("live.log" if number == 0 else f"live-{number}.log")
            claim = _locked(path.with_suffix(".window"))
            if claim is None:
                continue
            log = _locked(path)
            if log is None:
                claim.close()
                continue
            log.truncate(0)
            return log, path, claim
    except OSError as error:
        raise UserError(f"no place for a log: {error}; set XDG_STATE_HOME to a folder of yours") from None
    raise UserError(f"{HOSTS} hosts of windows run already: end one of them")


def claim(pid: int) -> BinaryIO | None:
    """Claim the host in a process; None: it is no window's, or another window has it."""
    return _locked_beside(pid, ".window", fcntl.LOCK_EX)


def share(pid: int) -> BinaryIO | None:
    """What a window holds as long as it shows the host in a process; None: that is no window's."""
    return _locked_beside(pid, ".shown", fcntl.LOCK_SH)


def is_shared(shown: BinaryIO) -> bool:
    """Whether other windows show a host, too, of which one holds what `share` has given it."""
    try:
        fcntl.flock(shown, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        fcntl.flock(shown, fcntl.LOCK_SH)
    return False


def _locked_beside(pid: int, suffix: str, lock: int) -> BinaryIO | None:
    """A file beside the log of a host, with a lock; None: it is no window's, or another has the lock."""
    try:
        path = Path(os.readlink(f"/proc/{pid}/fd/2"))
        if path.parent != made_state_folder().resolve() or not _NAME.fullmatch(path.name):
            return None
        return _locked(path.with_suffix(suffix), lock)
    except OSError:  # It has ended.
        return None


def is_left(pid: int) -> bool:
    """Whether the host in a process is a window's that has gone."""
    found = claim(pid)
    if found is not None:
        found.close()
    return found is not None


def left_hosts() -> list[int]:
    """Process numbers of the hosts whose windows have gone."""
    return [pid for pid in running() if is_left(pid)]


def _locked(path: Path, lock: int = fcntl.LOCK_EX) -> BinaryIO | None:
    """A file of this user's alone, made if need be, with its lock; None where another has that."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.fdopen(os.open(path, flags, 0o600), "wb")
    try:
        fcntl.flock(file, lock | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
