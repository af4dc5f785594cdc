"""The null device: calls the compiled device callback at the pace of a sound card, or as fast as it can.

There is no sound card behind it; what it plays can be recorded, what it hears can come from a file.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from typing import Any

import numpy as np

from rtaudio.executor import (
    BLOCK,
    FILE,
    FILE_ENDED,
    IN_CHANNELS,
    OUT_CHANNELS,
    RECORD,
    STREAM_WORDS,
    TIME_BINS,
    callback_address,
    time_bin,
)
from rtaudio.native import (
    call_callback,
    compiled,
    int64_at,
    load_acquire,
    now_ns,
    sleep_until_ns,
    write_release,
)
from rtaudio.plan import Plan, times_us
from rtaudio.ring import ring_readable, ring_writable

# Words that control and device share.
STOP, MISSES, LATEST, WORDS = range(4)

FIFO_PRIORITY = 70
"""Real-time priority of the device thread: below the 88 of PipeWire's own."""
FREEWHEEL_WAIT = 100_000
"""Nanoseconds between two looks at a ring that is not ready, without pacing."""
SECOND = 1_000_000_000
"""Nanoseconds."""


@compiled
def duration_ns(samples: int, rate: int) -> int:
    """How long samples last. Whole seconds apart: nanoseconds times samples overflow in two days."""
    return samples // rate * SECOND + samples % rate * SECOND // rate


@compiled
def _ready(stream: Any) -> bool:
    """Whether a block of input is there (or the file has ended) and the recorder has room."""
    n = stream[BLOCK]
    if stream[FILE] != 0:
        ended = load_acquire(stream, FILE_ENDED)
        if ended == 0 and ring_readable(stream[FILE]) < n * stream[IN_CHANNELS]:
            return False
    if stream[RECORD] != 0:
        room: bool = ring_writable(stream[RECORD]) >= n * stream[OUT_CHANNELS]
        return room
    return True


@compiled
def pace(
    callback: int,
    user: int,
    rate: int,
    freewheel: bool,
    end: int,
    words: Any,
    wakes: Any,
    source: int,
    sink: int,
) -> None:
    """Call the callback once a block, until told to stop or ``end`` samples are done (-1: no end).

    Paced, block k is due at an absolute time and has one period to be done. One that is done later is a miss:
    a card would have run dry, and starts again a period later. The clock is anchored anew there, so that no
    burst of blocks catches up, and a graph that is too heavy leaves other threads a period after each block.
    """
    stream = int64_at(user, STREAM_WORDS)
    block = stream[BLOCK]
    period = duration_ns(block, rate)
    anchor, since, position = now_ns(), 0, 0
    while load_acquire(words, STOP) == 0 and (end < 0 or position < end):
        if freewheel:
            if not _ready(stream):
                sleep_until_ns(now_ns() + FREEWHEEL_WAIT)
                continue
            call_callback(callback, source, sink, block, 0, 0, user)
        else:
            due = anchor + duration_ns(since, rate)
            while now_ns() < due:  # a signal ends the sleep
                sleep_until_ns(due)
            wakes[time_bin(now_ns() - due)] += 1
            call_callback(callback, source, sink, block, 0, 0, user)
            since += block
            done = now_ns()
            if done - due > period:
                words[MISSES] += 1
                words[LATEST] = max(words[LATEST], done - due - period)
                anchor, since = done + period, 0
        position += block


class NullDevice:
    """Runs a plan's callback on a thread of its own, without the GIL.

    Parameters
    ----------
    freewheel
        Do not wait for the clock: run as fast as input comes and the recorder follows.
    """

    name = "null"
    latency = 0
    """Samples that the device adds to the plan's latency."""

    def __init__(self, freewheel: bool = False) -> None:
        self.freewheel = freewheel
        self.realtime = False
        """Whether the system granted the thread real-time priority."""
        self._words = np.zeros(WORDS, np.int64)
        self._wakes = np.zeros(TIME_BINS, np.int64)
        self._thread: threading.Thread | None = None

    def start(self, plan: Plan, end: int = -1) -> None:
        """Start calling; stop by itself after ``end`` samples (-1: never), rounded up to a block."""
        self._words[:] = 0
        self._plan = plan
        self._source = np.zeros(plan.block * plan.channels, np.float32)
        self._sink = np.zeros(plan.block * int(plan.stream[OUT_CHANNELS]), np.float32)
        arguments = (
            callback_address(),
            plan.stream.ctypes.data,
            plan.rate,
            self.freewheel,
            end,
            self._words,
            self._wakes,
            self._source.ctypes.data,
            self._sink.ctypes.data,
        )
        pace(*arguments[:4], 0, *arguments[5:])  # Compiles, and returns at once.
        scheduled = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(scheduled, *arguments), name="rtaudio-null", daemon=True
        )
        self._thread.start()
        scheduled.wait()

    def _run(self, scheduled: threading.Event, *arguments: Any) -> None:
        self.realtime = not self.freewheel and real_time_priority(FIFO_PRIORITY)
        scheduled.set()
        pace(*arguments)

    @property
    def running(self) -> bool:
        """Whether the callback is still being called."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Stop after the block in hand."""
        write_release(self._words, STOP, 1)
        if self._thread is not None:
            self._thread.join()

    def statistics(self) -> dict[str, Any]:
        """Misses (blocks not done in time), by how much the latest missed, how late the thread woke."""
        wakes = times_us(self._wakes, 2**62)
        return {
            "api": self.name,
            "freewheel": self.freewheel,
            "realtime_priority": self.realtime,
            "misses": int(self._words[MISSES]),
            "latest_us": round(int(self._words[LATEST]) / 1e3, 1),
            "wake_us": {"p50": wakes["p50"], "p99": wakes["p99"]},
        }


def can_pace() -> bool:
    """Whether this system has the clock that a paced device needs."""
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "clock_nanosleep")


def real_time_priority(priority: int) -> bool:
    """Give this thread real-time scheduling (first in, first out); False where the system refuses."""
    try:
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except (AttributeError, OSError):
        return False
    return True
