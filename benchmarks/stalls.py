"""What the machine took from a measurement: a slow number beside many stalls says little.

`watch` sums up, for throughput: what this process ran, waited and lost. `StallWatch` says when, for real-time
measurements: which moments a core ran nothing, not even a thread that comes before all sound.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.native import compiled, load_acquire, now_ns, sleep_until_ns, store_release, write_release

Times = NDArray[np.int64]
"""Nanoseconds of the monotonic clock."""


@dataclass
class Stalls:
    """What happened meanwhile, filled in at the end of `watch`."""

    wall: float = 0.0
    """Seconds that passed."""
    cpu: float = 0.0
    """Seconds that this process ran."""
    waited: float | None = None
    """Seconds that this thread was ready to run and did not; None where the system does not say."""
    preempted: int = 0
    """Times that it had to make way."""
    stolen: float | None = None
    """Seconds that the hypervisor took from all cores; None where the system does not say."""

    def __str__(self) -> str:
        said = [f"{self.wall:.1f} s on the clock, {self.cpu:.1f} s of CPU"]
        if self.waited is not None:
            said.append(f"{self.waited:.2f} s waiting for a core")
        said.append(f"preempted {self.preempted} times")
        if self.stolen is not None:
            said.append(f"{self.stolen:.2f} s stolen by the hypervisor")
        return ", ".join(said)


@contextmanager
def watch() -> Iterator[Stalls]:
    """Measure what this thread misses while the block runs."""
    stalls = Stalls()
    wall, cpu, waited, preempted, stolen = _now()
    yield stalls
    after = _now()
    stalls.wall, stalls.cpu, stalls.preempted = after[0] - wall, after[1] - cpu, after[3] - preempted
    stalls.waited = None if waited is None or after[2] is None else after[2] - waited
    stalls.stolen = None if stolen is None or after[4] is None else after[4] - stolen


def _now() -> tuple[float, float, float | None, int, float | None]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), time.process_time(), _waited(), usage.ru_nivcsw, _stolen()


def _waited() -> float | None:
    """Second number of Linux' schedstat: nanoseconds on a run queue."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None


def _stolen() -> float | None:
    """Eighth number of Linux' /proc/stat: ticks in which a virtual core had work and no real core."""
    try:
        words = Path("/proc/stat").read_text().split(maxsplit=9)
        return int(words[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None


# ---------------------------------------------------------------------------------------------- real time

PRIORITY = 95
"""Real-time priority of the watching threads: above JACK's and everything that makes sound."""
TICK_NS = 400_000
"""Nanoseconds between two looks at the clock."""
CAPACITY = 1 << 16
"""Stalls kept for each core; more are counted."""
_STOP, _FOUND, _WORDS = range(3)


def real_time(priority: int) -> bool:
    """Schedule this thread first in, first out; whether it really is, as the system says afterwards."""
    try:
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(priority))
        return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
    except (AttributeError, OSError):
        return False


@compiled
def _watch_core(words: Any, spans: Any, threshold: int) -> None:
    """Look at the clock once a tick; write down every sleep that took ``threshold`` nanoseconds too long."""
    last = now_ns()
    while load_acquire(words, _STOP) == 0:
        sleep_until_ns(last + TICK_NS)
        now = now_ns()
        if now - last > TICK_NS + threshold:
            found = words[_FOUND]
            if found < spans.shape[0]:
                spans[found, 0] = last
                spans[found, 1] = now
            store_release(words, _FOUND, found + 1)
        last = now


class StallWatch:
    """One compiled thread on each core, before all others, that looks for time when the core ran nothing.

    What it finds is the machine's: a hypervisor that ran something else, an interrupt, or the kernel's brake
    on real-time threads. It cannot be a program of ordinary priority, nor one that makes sound. Costs about
    one per cent of each core.

    Parameters
    ----------
    threshold_ns
        Nanoseconds by which a sleep must be too long to count.
    """

    def __init__(self, threshold_ns: int) -> None:
        self._threshold = threshold_ns
        self._cores = sorted(os.sched_getaffinity(0))
        self._words = [np.zeros(_WORDS, np.int64) for _ in self._cores]
        self._found = [np.zeros((CAPACITY, 2), np.int64) for _ in self._cores]
        self._threads: list[threading.Thread] = []
        self._granted: list[bool] = []

    def start(self) -> None:
        """Start one thread on each core; returns when all of them watch."""
        finished = np.zeros(_WORDS, np.int64)
        finished[_STOP] = 1
        _watch_core(finished, self._found[0], self._threshold)  # Compiles, and returns at once.
        ready = threading.Barrier(len(self._cores) + 1)
        for core, words, spans in zip(self._cores, self._words, self._found, strict=True):
            thread = threading.Thread(target=self._run, args=(ready, core, words, spans), daemon=True)
            thread.start()
            self._threads.append(thread)
        ready.wait()

    def _run(self, ready: threading.Barrier, core: int, words: Times, spans: Times) -> None:
        os.sched_setaffinity(0, {core})
        self._granted.append(real_time(PRIORITY))
        ready.wait()
        _watch_core(words, spans, self._threshold)

    @property
    def real_time(self) -> bool:
        """Whether every thread got its priority; without it, what was found may be anybody's doing."""
        return len(self._granted) == len(self._cores) and all(self._granted)

    @property
    def overflow(self) -> int:
        """Stalls that were counted and not kept."""
        return sum(max(0, int(words[_FOUND]) - CAPACITY) for words in self._words)

    def stop(self) -> Times:
        """Stop; the begin and end of every stall on any core, shape (stalls, 2), in order of their begin."""
        for words in self._words:
            write_release(words, _STOP, 1)
        for thread in self._threads:
            thread.join()
        kept = [spans[: words[_FOUND]] for words, spans in zip(self._words, self._found, strict=True)]
        spans = np.concatenate(kept)
        return spans[np.argsort(spans[:, 0])]


def windows(spans: Times, after_ns: int) -> Times:
    """The union of ``spans``, each drawn out by ``after_ns`` nanoseconds; apart and in order."""
    merged: list[list[int]] = []
    for begin, end in spans:
        if merged and begin <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], int(end) + after_ns)
        else:
            merged.append([int(begin), int(end) + after_ns])
    return np.array(merged, np.int64).reshape(-1, 2)


def inside(times: Times, excused: Times) -> NDArray[np.bool_]:
    """Which times lie in one of the windows (apart and in order, as `windows` returns them)."""
    if not len(excused):
        return np.zeros(len(times), np.bool_)
    nearest = np.searchsorted(excused[:, 0], times, side="right") - 1
    found: NDArray[np.bool_] = (nearest >= 0) & (times <= excused[np.maximum(nearest, 0), 1])
    return found


def met(begins: Times, ends: Times, excused: Times) -> NDArray[np.bool_]:
    """Which spans of time, from ``begins`` to ``ends``, touch one of the windows."""
    found = inside(begins, excused) | inside(ends, excused)
    return found | (np.searchsorted(excused[:, 0], begins) != np.searchsorted(excused[:, 0], ends))


def share(excused: Times, begin: int, end: int) -> float:
    """Part of the time from ``begin`` to ``end`` that lies in the windows, 0 to 1."""
    covered = np.clip(excused[:, 1], begin, end) - np.clip(excused[:, 0], begin, end)
    return float(covered.sum()) / (end - begin)
