"""The host: a plan on a device, with a file as input, a recording of the output, and a watch over the nodes.

Threads: the device's thread runs the compiled callback and nothing else. A reader thread fills the input ring
from a file, a recorder thread empties the output ring into one; the caller's thread controls, and polls the
watch.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from rtaudio.errors import FileError, UserError
from rtaudio.executor import FILE, FILE_ENDED, FILE_UNDERFLOWS, OUT_CHANNELS, RECORD, RECORD_OVERFLOWS
from rtaudio.files import AudioReader, AudioWriter
from rtaudio.graph import MAIN
from rtaudio.native import write_release
from rtaudio.plan import Plan
from rtaudio.ring import Ring

RING_SECONDS = 4.0
"""Length of the rings between file threads and callback: what a busy interpreter or disk may stall."""
CHUNK = 4096
"""Samples that a file thread moves at a time."""
IDLE = 0.02
"""Seconds that a file thread waits when there is nothing to move."""
RETRY_FIRST, RETRY_LONGEST = 1.0, 60.0
"""Seconds until a failed node is tried again; they double while it fails, and start over once it ran for the
longest of them."""


class Device(Protocol):
    """What calls the compiled callback: see `rtaudio.null`."""

    latency: int

    def start(self, plan: Plan, end: int = -1) -> None:
        """Start calling; stop by itself after ``end`` samples (-1: never)."""

    def stop(self) -> None:
        """Stop; returns when no call can come any more."""

    @property
    def running(self) -> bool:
        """Whether calls come."""

    def statistics(self) -> dict[str, Any]:
        """Misses and what else the device counts."""


@dataclass
class _Watch:
    """A node that has failed: the wait after the last time, and when it is or was tried again."""

    delay: float = 0.0
    due: float = 0.0
    waiting: bool = False


class Host:
    """Runs a plan live.

    Parameters
    ----------
    plan
        The prepared graph; closed with the host. Its main output is what is heard.
    device
        What calls it.
    file
        Input instead of the device's; at the plan's rate and channel count. Closed with the host.
    loop
        Start the file again, without a gap, when it ends.
    record
        Where the output goes too; committed when the host closes. A full disk ends it, not the sound.
    seconds
        Stop by itself after this time, whether the file is shorter (silence follows it) or longer. Without
        it, stop when a file that does not loop has come out at the other end.

    Raises
    ------
    UserError
        The graph has no main output.
    """

    def __init__(
        self,
        plan: Plan,
        device: Device,
        file: AudioReader | None = None,
        loop: bool = False,
        record: AudioWriter | None = None,
        seconds: float | None = None,
    ) -> None:
        if MAIN not in plan.outputs:
            others = ", ".join(f"out.{name}" for name in plan.outputs)
            raise UserError(
                f"nothing to hear: only {others} is connected; add an edge '... -> out', or render"
            )
        if file is not None and (file.rate, file.channels) != (plan.rate, plan.channels):
            raise ValueError(f"the file is at {file.rate} Hz with {file.channels} channels, the plan is not")
        if record is not None and (record.rate, record.channels) != (plan.rate, len(plan.heard)):
            raise ValueError(f"the recording is at {record.rate} Hz with {record.channels}, the plan is not")
        self.plan, self.device = plan, device
        self.problems: list[str] = []
        """What went wrong without stopping the sound, in words."""
        self._file, self._loop, self._record = file, loop, record
        self._end = -1
        if seconds is not None:
            self._end = max(1, round(seconds * plan.rate))
        elif file is not None and not loop:
            self._end = file.samples + plan.latency
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._watches: dict[str, _Watch] = {}
        self._closed = False

    def start(self) -> None:
        """Fill the input ring, then let the device call."""
        stream = self.plan.stream
        samples = max(round(RING_SECONDS * self.plan.rate), 2 * (self.plan.block + CHUNK))
        if self._file is not None:
            self._input = Ring(samples * self.plan.channels)
            stream[FILE] = self._input.address
            ready = threading.Event()
            self._spawn(self._read, self._file, ready)
            ready.wait()
        if self._record is not None:
            self._output = Ring(samples * int(stream[OUT_CHANNELS]))
            stream[RECORD] = self._output.address
            self._spawn(self._write, self._record)
        self.device.start(self.plan, self._end)

    def _spawn(self, target: Any, *arguments: Any) -> None:
        thread = threading.Thread(
            target=target, args=arguments, name=f"rtaudio{target.__name__}", daemon=True
        )
        thread.start()
        self._threads.append(thread)

    def _read(self, file: AudioReader, ready: threading.Event) -> None:
        """Keep the input ring full; ``ready`` is set when it first is, or the file has ended."""
        try:
            while not self._stop.is_set():
                if self._input.writable < CHUNK * self.plan.channels:
                    ready.set()
                    self._stop.wait(IDLE)
                    continue
                block = file.read(CHUNK)
                if block.shape[1]:
                    self._input.push(np.ascontiguousarray(block.T).ravel())
                elif self._loop:
                    file.rewind()
                else:
                    break
        except FileError as error:
            self.problems.append(f"{error}; silence follows")
        finally:
            write_release(self.plan.stream, FILE_ENDED, 1)
            ready.set()

    def _write(self, record: AudioWriter) -> None:
        """Empty the output ring into the recording until the host closes; after an error, into nothing."""
        width = int(self.plan.stream[OUT_CHANNELS])
        failed = False
        while True:
            stopping = self._stop.is_set()
            taken = self._output.pop(CHUNK * width)
            if not taken.size:
                if stopping:
                    break
                self._stop.wait(IDLE)
            elif not failed:
                try:
                    record.write(np.ascontiguousarray(taken.reshape(-1, width).T))
                except FileError as error:
                    failed = True
                    self.problems.append(f"the recording ended: {error}")

    @property
    def running(self) -> bool:
        """Whether sound runs."""
        return self.device.running

    def poll(self) -> None:
        """Watch over the nodes: one that fails is given a new state and tried again after a while."""
        now = time.monotonic()
        for name in self.plan.failed():
            watch = self._watches.setdefault(name, _Watch())
            if not watch.waiting:
                again = watch.delay > 0.0 and now - watch.due < RETRY_LONGEST
                watch.delay = min(2.0 * watch.delay, RETRY_LONGEST) if again else RETRY_FIRST
                watch.due, watch.waiting = now + watch.delay, True
                self.problems.append(f"{name} failed and is bypassed; tried again in {watch.delay:g} s")
            elif now >= watch.due:
                with suppress(UserError):  # the command ring is full: next time
                    self.plan.rearm(name)
                    watch.waiting = False

    def statistics(self) -> dict[str, Any]:
        """`Plan.statistics`, the device's, the load (share of real time in callbacks), file overruns."""
        report = self.plan.statistics() | self.device.statistics()
        report["latency"]["device"] = self.device.latency
        report["latency"]["total"] += self.device.latency
        report["load"] = round(self.plan.mean_callback_us() * self.plan.rate / self.plan.block / 1e6, 5)
        report["seconds"] = round(self.plan.position / self.plan.rate, 3)
        report["file_underflows"] = int(self.plan.stream[FILE_UNDERFLOWS])
        report["record_overflows"] = int(self.plan.stream[RECORD_OVERFLOWS])
        report["problems"] = list(self.problems)
        return report

    def close(self) -> None:
        """Stop the device, then the file threads; commit the recording; release the plan.

        Closing again does nothing.
        """
        if self._closed:
            return
        self._closed = True
        self.device.stop()
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._file is not None:
            self._file.close()
        if self._record is not None:
            try:
                self._record.close()
            except FileError as error:
                if not any(str(error) in problem for problem in self.problems):
                    self.problems.append(str(error))
        self.plan.close()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
