"""Real-time priority for threads, pages that stay in memory, a brake for a real-time thread that hangs."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from itertools import pairwise
from mmap import PAGESIZE
from typing import Any

import numba
from numba import types
from numpy.typing import NDArray

from rtaudio.native import demote_this_thread

FIFO_PRIORITY = 70
"""Real-time priority of a device thread: below the 88 of PipeWire's own."""
LIMITS = "/etc/security/limits.d/audio.conf"
PRIORITY_REMEDY = f"put '@audio - rtprio 95' into {LIMITS}, join the group audio, log in again"
MEMLOCK_REMEDY = f"put '@audio - memlock unlimited' into {LIMITS}, join the group audio, log in again"
PRIORITY_WARNING = f"no real-time priority, sound may break up under load; {PRIORITY_REMEDY}"
"""What to tell who is refused real-time priority."""

_RTKIT = ("org.freedesktop.RealtimeKit1", "/org/freedesktop/RealtimeKit1", "org.freedesktop.RealtimeKit1")
_BUS_SECONDS = 3.0

_POLICIES = {"SCHED_OTHER": "other", "SCHED_FIFO": "fifo", "SCHED_RR": "rr"}


# ---------------------------------------------------------------------------------------------- priority


def raise_priority(thread_id: int, priority: int) -> str:
    """Give a thread of this process real-time scheduling.

    Parameters
    ----------
    thread_id
        The kernel's (`threading.get_native_id`); 0 is the calling thread.
    priority
        1 to 99, more is more urgent. RealtimeKit gives no more than its own maximum, mostly 20.

    Returns
    -------
    str
        Who granted it: ``"fifo"`` (the system itself; first in, first out), ``"rtkit"`` (RealtimeKit, round
        robin), or ``""`` where nobody did.
    """
    try:
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(thread_id, policy, os.sched_param(priority))
    except (AttributeError, OSError):
        return "rtkit" if _ask_rtkit(thread_id, priority) else ""
    return "fifo"


def priority_of(thread_id: int) -> tuple[str, int]:
    """Policy and real-time priority of a thread: ``("fifo", 70)``, ``("other", 0)``, ``("", 0)`` if gone."""
    try:
        policy = os.sched_getscheduler(thread_id) & ~os.SCHED_RESET_ON_FORK
        known = {getattr(os, name): word for name, word in _POLICIES.items()}
        return known.get(policy, str(policy)), os.sched_getparam(thread_id).sched_priority
    except (AttributeError, OSError):
        return "", 0


def is_real_time(thread_id: int) -> bool:
    """Whether a thread runs before all ordinary ones."""
    return priority_of(thread_id)[0] in ("fifo", "rr")


def demote(thread_id: int) -> bool:
    """Take real-time priority from a thread; False if it is gone."""
    try:
        # Whoever may not raise priorities may not drop RESET_ON_FORK either.
        os.sched_setscheduler(thread_id, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
    except (AttributeError, OSError):
        return False
    return True


def _ask_rtkit(thread_id: int, priority: int) -> bool:
    """Ask RealtimeKit on the system bus.

    It serves a process only while RLIMIT_RTTIME, soft and hard, is at most its RTTimeUSecMax: a thread that
    computes for longer without a pause is killed with its process at the hard limit. So the soft limit is set
    below it, and the brake of `limit_runaway` is put on. A hard limit cannot be raised again.
    """
    import resource

    try:
        answer = _busctl("get-property", "RTTimeUSecMax", "MaxRealtimePriority")
        longest, highest = (int(line.split()[1]) for line in answer.splitlines())
        soft, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
        hard = min(hard, longest) if hard != resource.RLIM_INFINITY else longest
        # Below the hard limit, so that the brake comes before the kill.
        soft = min(soft, hard * 3 // 4) if soft != resource.RLIM_INFINITY else hard * 3 // 4
        _put_brake_on()
        resource.setrlimit(resource.RLIMIT_RTTIME, (soft, hard))
        thread, level = thread_id or threading.get_native_id(), min(priority, highest)
        _busctl("call", "MakeThreadRealtimeWithPID", "ttu", *map(str, (os.getpid(), thread, level)))
    except (AttributeError, OSError, ValueError, IndexError, subprocess.SubprocessError):
        return False
    return True


def _busctl(verb: str, *arguments: str) -> str:
    command = ["busctl", "--system", verb, *_RTKIT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_BUS_SECONDS, check=True)
    return done.stdout


# ---------------------------------------------------------------------------------------------- memory

_held: Counter[int] = Counter()
"""How many of the locked arrays lie in each page; the kernel itself does not count."""


def lock_memory(arrays: Iterable[NDArray[Any]]) -> tuple[int, int]:
    """Keep arrays in memory, so that the audio thread never waits for a page.

    Not mlockall: with MCL_FUTURE, once RLIMIT_MEMLOCK is reached every further allocation of the process
    fails, not only ours; and without it, it locks what happens to be mapped. Here only what the audio thread
    touches is locked, and what the limit refuses stays usable, merely not locked.

    Parameters
    ----------
    arrays
        C- or Fortran-contiguous. Unlock them (`unlock_memory`) before they are freed.

    Returns
    -------
    locked, asked : int
        Bytes, in whole pages; a page that several arrays share counts once.
    """
    pages = _pages(arrays)
    asked, locked = len(set(pages)), 0
    for first, count in _runs(sorted(set(pages))):
        if _memory_call("mlock", first, count):
            locked += count
            _held.update(page for page in pages if first <= page < first + count)
    return locked * PAGESIZE, asked * PAGESIZE


def unlock_memory(arrays: Iterable[NDArray[Any]]) -> None:
    """Release what `lock_memory` locked, but for pages that another locked array lies in."""
    free = set()
    for page in _pages(arrays):
        if page in _held:
            _held[page] -= 1
            if _held[page] == 0:
                del _held[page]
                free.add(page)
    for first, count in _runs(sorted(free)):
        _memory_call("munlock", first, count)


def trim_memory() -> None:
    """Let the system have back what has been freed: glibc keeps it, apart for every thread that allocates.

    For control threads, when no sound depends on what they allocate.
    """
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _pages(arrays: Iterable[NDArray[Any]]) -> list[int]:
    """Numbers of the pages that arrays lie in, once per array."""
    pages: list[int] = []
    for array in arrays:
        if array.nbytes:
            begin = array.ctypes.data
            pages.extend(range(begin // PAGESIZE, (begin + array.nbytes - 1) // PAGESIZE + 1))
    return pages


def _runs(pages: list[int]) -> Iterable[tuple[int, int]]:
    """First page and length of each run of neighbours."""
    if pages:
        starts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(pages)) if b != a + 1), len(pages)]
        for begin, end in pairwise(starts):
            yield pages[begin], end - begin


def _memory_call(name: str, first: int, count: int) -> bool:
    function = getattr(ctypes.CDLL(None), name)
    return bool(function(ctypes.c_void_p(first * PAGESIZE), ctypes.c_size_t(count * PAGESIZE)) == 0)


# ---------------------------------------------------------------------------------------------- runaways


def limit_runaway(seconds: float) -> bool:
    """Take real-time priority from any thread of this process that computes so long without a pause.

    A thread under real-time scheduling that never waits, because it has more work than time or is in an
    endless loop, starves all else on its core: the machine seems frozen. The kernel's own guard is
    RLIMIT_RTTIME: at the soft limit it sends SIGXCPU, to that thread, and raises the limit by a second; from
    the hard limit on it kills. The handler here is compiled and needs neither the GIL nor the main thread,
    for which Python's own would wait. The thread goes on with ordinary priority, others keep theirs, and the
    host can see it (`priority_of`). Call this again before it gets its priority back.

    Parameters
    ----------
    seconds
        Of processor time; a block takes milliseconds.

    Returns
    -------
    bool
        False where the system has no such limit.
    """
    if sys.platform != "linux":
        return False
    import resource

    _put_brake_on()
    _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    soft = round(seconds * 1e6)
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard * 3 // 4)
    resource.setrlimit(resource.RLIMIT_RTTIME, (soft, hard))
    return True


def _put_brake_on() -> None:
    """Handle SIGXCPU, which would end the process, by `_brake`."""
    library = ctypes.CDLL(None)
    library.signal.restype = ctypes.c_void_p
    library.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    library.signal(signal.SIGXCPU, _brake().address)


def lift_limit() -> None:
    """Undo `limit_runaway`, so that what this process starts later does not inherit it."""
    if sys.platform != "linux":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    resource.setrlimit(resource.RLIMIT_RTTIME, (hard, hard))


@cache
def _brake() -> Any:
    """The signal's handler: system calls only."""

    def brake(signal_number: int) -> None:
        demote_this_thread()

    signature = types.void(types.int32)
    return numba.cfunc(signature, nopython=True, error_model="numpy", _nrt=False, cache=True)(brake)
