"""Loads inside the host's own process, to show what the sound does not mind: ``rtaudio live --stress``."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from rtaudio.native import compiled, load_acquire, write_release

CYCLES = 20_000
"""Objects of a round of garbage; each refers to itself, so that only the collector frees it."""
SPIN = 1_000_000


def _hold_the_lock(stop: Any) -> None:
    """Compute in the interpreter without a pause: everything else in Python waits for its lock."""
    count = 0
    while not stop[0]:
        count += 1


def _make_garbage(stop: Any) -> None:
    """Make reference cycles and collect them, over and over: memory moves, the interpreter stands still."""
    while not stop[0]:
        rubbish = []
        for number in range(CYCLES):
            cycle: list[Any] = [number]
            cycle.append(cycle)
            rubbish.append(cycle)
        del rubbish
        gc.collect()


@compiled
def _compute(stop: Any) -> float:
    """Arithmetic without the interpreter, until told to stop."""
    total = 0.0
    while load_acquire(stop, 0) == 0:
        for i in range(SPIN):
            total += 1.0 / (i + 1.0)
    return total


@contextmanager
def stress(kind: str) -> Iterator[None]:
    """Run a load meanwhile: ``none``; ``gil`` and ``gc``, one thread; ``cpu``, two threads per core."""
    loads: dict[str, tuple[Callable[[Any], object], int]] = {
        "none": (_compute, 0),
        "gil": (_hold_the_lock, 1),
        "gc": (_make_garbage, 1),
        "cpu": (_compute, 2 * (os.cpu_count() or 1)),
    }
    load, count = loads[kind]
    stop = np.zeros(1, np.int64)
    _compute(np.ones(1, np.int64))
    threads = [threading.Thread(target=load, args=(stop,), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        write_release(stop, 0, 1)
        for thread in threads:
            thread.join()
