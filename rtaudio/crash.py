"""What a host that dies by a fault leaves behind: the signal, and the node whose kernel it was in.

While a kernel runs, its section of the counters holds what C calls the thread (`rtaudio.executor`). The block
of the counters outlives the process. So a handler that writes the signal and its own thread into it is enough
for the next host to know the node. The handler is compiled, since one of Python's would wait for the
interpreter: it writes two words, puts back who handled the signal before, such as ``faulthandler``, and sends
it again, so that the process ends as it would have.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types

from rtaudio.counters import (
    CRASH_SIGNAL,
    CRASH_THREAD,
    MEASURED,
    NODE_ENGINE,
    NODE_INSIDE,
    NODE_TIMES,
    Counters,
    engine_word,
    left,
    name_words,
    section_name,
    sections,
)
from rtaudio.native import int64_at, this_thread

FAULTS = (signal.SIGSEGV, signal.SIGFPE, signal.SIGBUS, signal.SIGILL, signal.SIGABRT)
"""Signals that what a kernel does may end the process with."""
_ON_STACK = 0x08000000
"""SA_ONSTACK: on the stack that ``faulthandler`` has for it, where it has one."""


class _Action(ctypes.Structure):
    """``struct sigaction`` of Linux' C libraries."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_byte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


_ACTION_BYTES = ctypes.sizeof(_Action)
_before = np.zeros((max(FAULTS) + 1, _ACTION_BYTES), np.uint8)
"""Who handled each signal before."""
_HEAD, _BEFORE = range(2)
_table = np.zeros(2, np.int64)
"""Addresses of the counters' head, or 0, and of `_before`."""
_measured: list[np.ndarray[Any, np.dtype[np.int64]]] = []
"""Where the host that runs keeps what it measures."""

_sigaction = types.ExternalFunction("sigaction", types.int32(types.int32, types.intp, types.intp))
_raise = types.ExternalFunction("raise", types.int32(types.int32))


@dataclass(frozen=True)
class Crash:
    """How a host has died."""

    signal: int
    node: str
    """The node whose kernel it was in; that inside of a composite is called ``remix/hpss``."""
    engine: int
    """`counters.engine_word` of the engine of the graph's node."""

    def hit(self, name: str, engine: str) -> bool:
        """Whether it was in this node of a graph, or inside of it, and that had this engine."""
        return self.node.partition("/")[0] == name and self.engine == engine_word(engine)


def crashes() -> list[Crash]:
    """How this user's hosts have died that were in a kernel then; `counters.sweep` forgets it."""
    found = []
    for words in left():
        if words[CRASH_SIGNAL]:
            measured = words[MEASURED : MEASURED + NODE_TIMES]
            for section in (measured, *sections(words).values()):
                if section[NODE_INSIDE] == words[CRASH_THREAD]:
                    name, engine = section_name(section), int(section[NODE_ENGINE])
                    found.append(Crash(int(words[CRASH_SIGNAL]), name, engine))
    return found


@contextmanager
def told_in(counters: Counters) -> Iterator[None]:
    """Meanwhile a fault is told in the counters, which have to be shared for the next host to see it."""
    if sys.platform != "linux":
        yield
        return
    library = ctypes.CDLL(None)
    _table[_HEAD], _table[_BEFORE] = counters.address, _before.ctypes.data
    _measured.append(counters.words[MEASURED : MEASURED + NODE_TIMES])
    action = _Action(handler=_teller().address, flags=_ON_STACK)
    for number in FAULTS:
        library.sigaction(number, ctypes.byref(action), ctypes.c_void_p(_before[number].ctypes.data))
    try:
        yield
    finally:
        for number in FAULTS:
            library.sigaction(number, ctypes.c_void_p(_before[number].ctypes.data), None)
        _measured.pop()
        _table[_HEAD] = 0


@contextmanager
def measuring(name: str, engine: str) -> Iterator[None]:
    """Meanwhile this thread is in the kernel of a node, which no section tells yet."""
    if not _measured:
        yield
        return
    section = _measured[-1]
    section[:8], section[NODE_ENGINE] = name_words(name), engine_word(engine)
    section[NODE_INSIDE] = this_thread()
    try:
        yield
    finally:
        section[NODE_INSIDE] = 0


@cache
def _teller() -> Any:
    """The signals' handler: words and system calls only. Not cached on disk: the table's address is in it."""
    table = _table.ctypes.data

    def tell(number: int) -> None:
        words = int64_at(table, 2)
        if words[_HEAD] != 0:
            head = int64_at(words[_HEAD], CRASH_THREAD + 1)
            head[CRASH_THREAD] = this_thread()
            head[CRASH_SIGNAL] = number
        _sigaction(number, words[_BEFORE] + _ACTION_BYTES * number, 0)
        _raise(number)

    return numba.cfunc(types.void(types.int32), nopython=True, error_model="numpy", _nrt=False)(tell)
