"""The null device: calls the compiled device callback at the pace of a sound card, or as fast as it can.

There is no sound card behind it; what it plays can be recorded, what it hears can come from a file.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from typing import Any

import numpy as np

from rtaudio.counters import DEVICE_LATEST, DEVICE_MISSES, HEAD_WORDS, WAKES
from rtaudio.executor import CONTEXT
from rtaudio.lanes import slots_ready
from rtaudio.native import (
    call_callback,
    compiled,
    int64_at,
    load_acquire,
    now_ns,
    sleep_until_ns,
    write_release,
)
from rtaudio.plan import N_SEGMENTS, PLAN_WORDS, SEGMENTS
from rtaudio.realtime import FIFO_PRIORITY, raise_priority
from rtaudio.ring import ring_readable, ring_writable
from rtaudio.stream import (
    BLOCK,
    COUNTERS,
    FILE,
    FILE_ENDED,
    GRAPH_INPUTS,
    GRAPH_OUTPUTS,
    PLAN,
    RECORD,
    RECORD_INPUT,
    STREAM_WORDS,
    Stream,
)
from rtaudio.timing import time_bin

STOP, END = range(2)
"""Words that control the thread: 1 to stop, and samples until it stops by itself (-1: never)."""
FREEWHEEL_WAIT = 100_000
"""Nanoseconds between two looks at a ring that is not ready, without pacing."""
PATIENCE = 2.0
"""Seconds that a block is given to return when the device stops."""
SECOND = 1_000_000_000
"""Nanoseconds."""


@compiled
def duration_ns(samples: int, rate: int) -> int:
    """How long samples last. Whole seconds apart: nanoseconds times samples overflow in two days."""
    return samples // rate * SECOND + samples % rate * SECOND // rate


@compiled
def _ready(stream: Any) -> bool:
    """Whether a block of input is there (or the file has ended), the recorder has room, no worker is late."""
    n = stream[BLOCK]
    if stream[FILE] != 0:
        ended = load_acquire(stream, FILE_ENDED)
        if ended == 0 and ring_readable(stream[FILE]) < n * stream[GRAPH_INPUTS]:
            return False
    if stream[RECORD] != 0 and ring_writable(stream[RECORD]) < n * stream[GRAPH_OUTPUTS]:
        return False
    if stream[RECORD_INPUT] != 0 and ring_writable(stream[RECORD_INPUT]) < n * stream[GRAPH_INPUTS]:
        return False
    plan = int64_at(stream[PLAN], PLAN_WORDS)
    position = int64_at(plan[CONTEXT], 1)[0]
    return slots_ready(int64_at(plan[SEGMENTS], plan[N_SEGMENTS]), position)


@compiled
def pace(
    callback: int,
    user: int,
    rate: int,
    freewheel: bool,
    control: Any,
    sink: int,
) -> None:
    """Call the callback once a block, without input, until ``control`` says to stop or has its end reached.

    Paced, block k is due at an absolute time and has one period to be done. One that is done later is a miss:
    a card would have run dry, and starts again a period later. The clock is anchored anew there, so that no
    burst of blocks catches up, and a graph that is too heavy leaves other threads a period after each block.
    """
    stream = int64_at(user, STREAM_WORDS)
    counters = int64_at(stream[COUNTERS], HEAD_WORDS)
    block = stream[BLOCK]
    period = duration_ns(block, rate)
    anchor, since, position = now_ns(), 0, 0
    while load_acquire(control, STOP) == 0:
        end = load_acquire(control, END)
        if 0 <= end <= position:
            break
        if freewheel:
            if not _ready(stream):
                sleep_until_ns(now_ns() + FREEWHEEL_WAIT)
                continue
            call_callback(callback, 0, sink, block, 0, 0, user)
        else:
            due = anchor + duration_ns(since, rate)
            while now_ns() < due:  # a signal ends the sleep
                sleep_until_ns(due)
            counters[WAKES + time_bin(now_ns() - due)] += 1
            call_callback(callback, 0, sink, block, 0, 0, user)
            since += block
            done = now_ns()
            if done - due > period:
                counters[DEVICE_MISSES] += 1
                counters[DEVICE_LATEST] = max(counters[DEVICE_LATEST], done - due - period)
                anchor, since = done + period, 0
        position += block


class NullDevice:
    """Runs a plan's callback on a thread of its own, without the GIL.

    Parameters
    ----------
    freewheel
        Do not wait for the clock: run as fast as input comes and the recorder follows.
    rate
        Hz; what the plan is made for.
    """

    name = "null"
    latency = 0
    """Samples that the device adds to the plan's latency."""
    period = None
    """It calls with the plan's block."""

    def __init__(self, freewheel: bool = False, rate: int = 48_000) -> None:
        self.freewheel, self.rate = freewheel, rate
        self.realtime = False
        """Whether the system granted the thread real-time priority."""
        self._control = np.array([1, -1], np.int64)
        self._thread: threading.Thread | None = None

    def start(self, stream: Stream, end: int = -1) -> None:
        """Start calling; stop by itself after ``end`` samples (-1: never), rounded up to a block."""
        self._stream = stream
        self._sink = np.zeros(stream.block * stream.outputs, np.float32)
        arguments = (
            stream.callback,
            stream.address,
            stream.rate,
            self.freewheel,
            self._control,
            self._sink.ctypes.data,
        )
        self._control[STOP] = 1
        pace(*arguments)  # Compiles, and returns at once.
        self._control[:] = 0, end
        scheduled = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(scheduled, *arguments), name="rtaudio-null", daemon=True
        )
        self._thread.start()
        scheduled.wait()

    def _run(self, scheduled: threading.Event, *arguments: Any) -> None:
        if not self.freewheel:
            self.realtime = bool(raise_priority(threading.get_native_id(), FIFO_PRIORITY))
        scheduled.set()
        pace(*arguments)

    def until(self, end: int) -> None:
        """Stop after another number of samples than was said at the start."""
        write_release(self._control, END, end)

    @property
    def running(self) -> bool:
        """Whether the callback is still being called."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> bool:
        """Stop after the block in hand; False if that does not return."""
        write_release(self._control, STOP, 1)
        if self._thread is not None:
            self._thread.join(PATIENCE)
        return not self.running

    def statistics(self) -> dict[str, Any]:
        """What the counters do not say."""
        return {"api": self.name, "freewheel": self.freewheel, "realtime_priority": self.realtime}


def can_pace() -> bool:
    """Whether this system has the clock that a paced device needs."""
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "clock_nanosleep")
