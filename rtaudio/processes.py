"""Lane 2 in the host: worker processes, a prepared spare for each, and the watch over them.

A worker that dies, or is silent for some blocks and is killed, is replaced by its spare, a process that has
prepared the same nodes and waits; the nodes' fallback is heard meanwhile, and until the new state has
settled. Then a new spare is started. All of that is done by one thread of the host, which also reads what
workers print: the first lines are told, the rest is dropped.

See `rtaudio.worker` for what runs in the process.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
from numba import types
from numpy.typing import NDArray

from rtaudio.errors import UserError
from rtaudio.lanes import (
    DONE,
    FOR_EVER,
    HEAD,
    PULSE,
    SEGMENT_WORDS,
)
from rtaudio.native import (
    compiled,
    int64_at,
    load_acquire,
    now_ns,
    sleep_until_ns,
)
from rtaudio.realtime import demote

PREPARE_LIMIT = 120.0
"""Seconds that a worker is given to start and prepare a part: it may have to compile, or load a network."""
STOP_LIMIT = 1.0
"""Seconds that it is given to end before it is killed."""
TOLD_LINES, TOLD_LENGTH = 3, 200
"""Lines that a worker prints which are told, and characters of a line."""
MEMORY_SHARE = 0.75
"""Share of the machine's memory that a worker may have."""

_poll = types.ExternalFunction("poll", types.int32(types.intp, types.uint64, types.int32))
_splice = types.ExternalFunction(
    "splice", types.int64(types.int32, types.intp, types.int32, types.intp, types.uint64, types.uint32)
)
_SPLICE_NONBLOCK = 2
_PIPE_BYTES = 1 << 20
_POLL = np.dtype([("file", np.int32), ("events", np.int16), ("revents", np.int16)])
_POLLIN = 1
_TOLD, _DROPPED, _ENDED = range(3)
"""What becomes of what a worker prints; the last: it can print no more."""
_READABLE, _DUE = -1, -2
_POLLS = 16
"""Looks at a segment in the time that it may be silent."""
_SHORTEST_POLL, _LONGEST_POLL = 1, 50
"""Milliseconds."""
_DRAIN_PAUSE = 1_000_000
"""Nanoseconds between two times that what a worker floods its output with is dropped."""
MISHAP_PAUSE = 0.05
"""Seconds that the watch rests after something went wrong in itself, which may go wrong again at once."""

WATCH_WORDS, WATCH_LIMIT, WATCH_LAST, WATCH_SINCE, WATCH_LOOKED, WATCHED = range(6)
"""Words of a segment that is watched: address of its words, ns that it may be silent, its last pulse, when
that came, whether half of its time is over."""


@compiled
def _drain(files: Any, mutes: Any, nowhere: int) -> bool:
    """Drop what is in the pipes that are muted; whether anything else is to be read."""
    readable, drained = False, False
    for number in range(mutes.shape[0]):
        if (files[number] >> 48) & 0xFFFF:
            if mutes[number, 0] != _DROPPED:
                readable = True
            else:
                moved = _splice(
                    np.int32(files[number] & 0xFFFFFFFF),
                    0,
                    np.int32(nowhere),
                    0,
                    _PIPE_BYTES,
                    _SPLICE_NONBLOCK,
                )
                mutes[number, 1] += max(0, moved)
                drained = True
                if moved == 0:
                    mutes[number, 0] = _ENDED
                    readable = True
    if drained and not readable:
        sleep_until_ns(now_ns() + _DRAIN_PAUSE)
    return readable


@compiled
def _watch(files: Any, mutes: Any, segments: Any, nowhere: int, wait_ms: int, due: int) -> int:
    """Wait, without the GIL, until something can be read, it is ``due``, or a segment is silent: its number.

    ``files`` are C's pollfd, one int64 each; ``mutes`` says of each what becomes of it, and how many bytes
    were dropped; a silent segment is told at half its limit, and at the limit. ``due`` is in ns.
    """
    while True:
        if _poll(files.ctypes.data, files.shape[0], np.int32(wait_ms)) > 0 and _drain(files, mutes, nowhere):
            return _READABLE
        now = now_ns()
        if now >= due:
            return _DUE
        for number in range(segments.shape[0]):
            row = segments[number]
            shared = int64_at(row[WATCH_WORDS], SEGMENT_WORDS)
            pulse = load_acquire(shared, PULSE)
            if pulse != row[WATCH_LAST] or load_acquire(shared, DONE) >= load_acquire(shared, HEAD):
                row[WATCH_LAST], row[WATCH_SINCE], row[WATCH_LOOKED] = pulse, now, 0
            elif now - row[WATCH_SINCE] > row[WATCH_LIMIT] // (2 - row[WATCH_LOOKED]):
                return number


class Supervised(Protocol):
    """A segment as the pool sees it: see `rtaudio.remote`."""

    title: str
    watched: NDArray[np.int64]
    due: int
    """When it wants to be called next, ns; `FOR_EVER`: not at all."""

    def start_spare(self) -> None:
        """Start a process that prepares the same."""

    def is_due(self) -> None:
        """It is ``due``."""

    def is_silent(self) -> None:
        """The worker has given no sign of life for half its time, or all of it."""

    def replace(self, process: Process) -> None:
        """A worker is gone: let another take over, at once."""

    def has_died(self, process: Process) -> None:
        """It has been buried: say so."""

    def close(self) -> None:
        """Close what is open."""


class Process:
    """A worker process and the lines between it and the host. The pool's thread makes, reads and ends it."""

    def __init__(self, file: int, largest: int) -> None:
        self.file = file
        self.segment: Supervised | None = None
        self.prepared: dict[str, Mapping[str, Any]] = {}
        self.names = ""
        self.verdict = ""
        """Why the host killed it."""
        self.muted = self.closed = self.deaf = False
        """Whether what it prints is dropped, whether it can print no more, and be told no more."""
        self.works = False
        """Whether it has been told to start."""
        self.dropped = 0
        self._told = 0
        self._pending: deque[Callable[[dict[str, Any]], None]] = deque()
        self._lock = threading.Lock()
        self._inbox, self._printed, self._last = b"", b"", ""
        self.over = ""
        """How it ended; empty: it has not."""
        try:
            self._start(largest)
        except OSError as error:
            raise UserError(f"cannot start a worker process: {error.strerror}") from None

    def _start(self, largest: int) -> None:
        """Start it; nothing stays open, and it does not run, where that fails."""
        code = "from rtaudio.worker import main; main()"
        with ExitStack() as undo, ExitStack() as lent:
            self.socket, theirs = socket.socketpair()
            undo.callback(self.socket.close)
            lent.callback(theirs.close)
            self.output, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            undo.callback(os.close, self.output)
            lent.callback(os.close, writer)
            os.set_blocking(writer, True)
            words = theirs.fileno(), self.file, os.getpid(), largest
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-P", "-c", code, *map(str, words)],
                pass_fds=[theirs.fileno(), self.file],
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                env=environment(),
                process_group=0,
            )
            undo.callback(self._process.wait)
            undo.callback(self._process.kill)
            self.life = os.pidfd_open(self._process.pid)
            undo.pop_all()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def tell(self, message: Mapping[str, Any], then: Callable[[dict[str, Any]], None]) -> None:
        """Send a message; ``then`` gets the answer, in the pool's thread, or what kept it from coming."""
        line = f"{json.dumps(message)}\n".encode()
        with self._lock:
            if not self.over:
                self._pending.append(then)
                with suppress(OSError):  # it has just ended
                    self.socket.sendall(line)
                return
        then({"error": f"the worker process {self.over}"})

    def ask(self, message: Mapping[str, Any], limit: float) -> dict[str, Any]:
        """Send a message and wait for the answer, at most ``limit`` seconds; `UserError` if there is none."""
        answer: Future[dict[str, Any]] = Future()
        self.tell(message, answer.set_result)
        try:
            found = answer.result(limit)
        except TimeoutError:
            self.kill("did not answer")
            raise UserError(f"its worker process did not answer for {limit:g} s: it was killed") from None
        if "error" in found:
            raise UserError(found["error"])
        return found

    def prepare(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Let a part be prepared."""
        name = message["part"]["name"]
        self.names = self.names or name
        try:
            answer = self.ask(message, PREPARE_LIMIT)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        self.prepared[name] = message
        return answer

    def kill(self, verdict: str, urgent: bool = False) -> None:
        """End it, and for this reason; unless that is urgent without a priority, since it takes its time."""
        self.verdict = self.verdict or verdict
        if not urgent:
            demote(self.pid)
        with suppress(OSError):
            signal.pidfd_send_signal(self.life, signal.SIGKILL)

    def read_answers(self) -> None:
        """Pass on the answers that have come."""
        with suppress(BlockingIOError, ConnectionError):
            while not self.deaf:
                more = self.socket.recv(65536, socket.MSG_DONTWAIT)
                self.deaf = not more
                self._inbox += more
        *lines, self._inbox = self._inbox.split(b"\n")
        for line in lines:
            try:
                answer, then = json.loads(line), self._pending.popleft()
            except (ValueError, IndexError):
                self.kill("answered what nobody asked")
                return
            then(answer)

    def read_output(self) -> Iterable[str]:
        """The first lines that it has printed since, repeated ones once; mutes it when that is enough."""
        with suppress(BlockingIOError):
            while not self.muted and not self.closed:
                more = os.read(self.output, 4096)
                self.closed = not more
                *lines, self._printed = (self._printed + more).split(b"\n")
                if self.closed or self.over or len(self._printed) > TOLD_LENGTH:
                    lines.append(self._printed)
                    self._printed = b""
                for line in lines:
                    text = "".join(c for c in line.decode(errors="replace") if c.isprintable())
                    if not text.strip() or text == self._last:
                        continue
                    self._last = text
                    if self._told == TOLD_LINES:
                        self.muted = True
                        break
                    self._told += 1
                    yield text[:TOLD_LENGTH]

    def end(self, patience: float) -> None:
        """Wait for its end, killing it after ``patience`` seconds; answer who waits, close what was open.

        What it has started ends with it, as far as that is in its group: until it is waited for, no other
        group has its number.
        """
        if not _has_ended(self.life, patience):
            self.kill("did not end")
            _has_ended(self.life, None)
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        status = self._process.wait()
        self.read_answers()
        how = f"ended with status {status}"
        if status < 0:
            how = f"was killed by signal {-status} ({signal.strsignal(-status)})"
        with self._lock:
            self.over = self.verdict or how
        while self._pending:
            self._pending.popleft()({"error": f"its worker process {self.over}"})
        self.socket.close()
        for file in (self.output, self.life):
            os.close(file)


def environment() -> dict[str, str]:
    """As here, with the modules of this process, and one thread for each library: a worker has company."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**one, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class Pool:
    """The worker processes of a plan, and the thread that starts, watches and replaces them.

    That thread starts all of them, since the kernel ends a worker with the thread that it comes from.

    Parameters
    ----------
    largest
        Bytes of memory that a worker may have; None: most of the machine's.

    Attributes
    ----------
    said : collections.deque
        What is worth telling, a line each, oldest first.
    """

    def __init__(self, largest: int | None = None) -> None:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self._largest = largest or round(MEMORY_SHARE * total)
        self.said: deque[str] = deque()
        self._processes: list[Process] = []
        self._segments: list[Supervised] = []
        self._idle: Process | None = None
        self._files: list[int] = []
        self._requests: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._closing = False
        self._gate = threading.RLock()
        """Held while a request is put, so that none comes when nobody does them any more."""
        self._mishaps: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="rtaudio-supervisor", daemon=True)
        self._thread.start()

    # ---------------------------------------------------------------------------------------- for control

    def idle(self) -> Process:
        """A worker that belongs to no segment yet."""
        if self._idle is None or self._idle.over:
            try:
                self._files.append(os.memfd_create("rtaudio", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
            except OSError as error:
                raise UserError(f"cannot share memory with a worker process: {error.strerror}") from None
            self._idle = self.do(lambda: self.spawn(self._files[-1]))
        return self._idle

    def adopt(self, segment: Supervised, process: Process) -> None:
        """Let the idle worker belong to a segment, which it calls from now on."""
        process.segment, process.names, self._idle = segment, segment.title, None

    def do(self, request: Callable[[], Any]) -> Any:
        """Let the pool's thread do something, and wait for that."""
        done: Future[Any] = Future()
        with self._gate:
            if self._closing:
                raise UserError("the graph is closed")
            self._requests.put((done, request))
            os.eventfd_write(self._wake, 1)
        return done.result()

    def watch(self, segment: Supervised) -> None:
        """Watch over a segment, and keep a spare for it, from now on."""
        self._segments.append(segment)
        segment.start_spare()

    @property
    def thread(self) -> int:
        """Number of the thread that watches."""
        return self._thread.native_id or 0

    def close(self) -> None:
        """End all workers. Closing again does nothing.

        A plan that is forgotten may be collected in the pool's own thread, which then ends by itself.
        """
        with self._gate:
            first, self._closing = not self._closing, True
            if first:
                os.eventfd_write(self._wake, 1)
        if first and threading.current_thread() is not self._thread:
            self._thread.join()

    # ------------------------------------------------------------------------------------ the pool's thread

    def spawn(self, file: int) -> Process:
        """Start a worker; in the pool's thread."""
        process = Process(file, self._largest)
        self._processes.append(process)
        return process

    def _run(self) -> None:
        try:
            while not self._closing:
                try:
                    self._turn()
                except Exception as error:  # workers and sound go on
                    self._mishap(error)
        finally:
            with self._gate:
                self._closing = True
            self._finish()

    def _mishap(self, error: Exception) -> None:
        """Say, once, what went wrong in the watch itself, and rest."""
        what = f"the watch over worker processes: {type(error).__name__}: {error}"
        if what not in self._mishaps:
            self._mishaps.add(what)
            self.said.append(what)
        time.sleep(MISHAP_PAUSE)

    def _turn(self) -> None:
        """Wait for something, and do what it asks for."""
        processes = list(self._processes)
        sources = [self._wake]
        for process in processes:
            line = -1 if process.deaf else process.socket.fileno()
            sources += [process.life, line, -1 if process.closed else process.output]
        files = np.zeros(len(sources), _POLL)
        files["file"], files["events"] = sources, _POLLIN
        mutes = np.zeros((len(sources), 2), np.int64)
        mutes[3::3, 0] = [_DROPPED if process.muted else _TOLD for process in processes]
        rows = [segment.watched for segment in self._segments]
        watched = np.array(rows, np.int64).reshape(len(rows), WATCHED)
        wait_ms = -1
        if rows:
            wait_ms = poll_ms(int(watched[:, WATCH_LIMIT].min()))
        due = min((segment.due for segment in self._segments), default=FOR_EVER)
        silent = _watch(files.view(np.int64), mutes, watched, self._nowhere, wait_ms, due)
        for segment, row in zip(self._segments, watched, strict=True):
            segment.watched[:] = row
        for process, (state, dropped) in zip(processes, mutes[3::3], strict=True):
            process.dropped += int(dropped)
            process.closed = process.closed or state == _ENDED
        if silent >= 0:
            self._segments[silent].is_silent()
            return
        if silent == _DUE:
            for segment in self._segments:
                if segment.due <= time.monotonic_ns():
                    segment.is_due()
            return
        ready = files["revents"] != 0
        if ready[0]:
            with suppress(BlockingIOError):
                os.eventfd_read(self._wake)
        for process, (gone, answered, printed) in zip(processes, ready[1:].reshape(-1, 3), strict=True):
            if gone:
                self._bury(process)
                continue
            if answered:
                process.read_answers()
            if printed:
                self._listen(process)
        while not self._requests.empty():
            done, request = self._requests.get()
            try:
                done.set_result(request())
            except Exception as error:  # who asked gets it
                done.set_exception(error)

    def _listen(self, process: Process) -> None:
        """Tell what a worker prints."""
        known, who = process.muted, f"the worker of {process.names or 'a node'}"
        for line in process.read_output():
            self.said.append(f"{who} says: {line}")
        if process.muted and not known:
            self.said.append(f"{who} prints more, which is not shown")

    def _bury(self, process: Process) -> None:
        """A worker is dead: let its segment go on with another.

        That first: every call of the system may cost 5 ms of waiting for the interpreter.
        """
        process.over = process.verdict or "has ended"
        self._processes.remove(process)
        if process.segment is not None and not self._closing:
            process.segment.replace(process)
        self._listen(process)
        process.end(STOP_LIMIT)
        if process.dropped:
            who = f"the worker of {process.names or 'a node'}"
            self.said.append(f"{who} wrote {process.dropped} more bytes, not shown")
        if process.segment is not None and not self._closing:
            process.segment.has_died(process)
        process.segment = None

    def _finish(self) -> None:
        """End all workers: those that work have been told to stop, the others are killed."""
        for process in self._processes:
            if process.works:
                with suppress(OSError):
                    process.socket.shutdown(socket.SHUT_WR)
            else:
                process.kill("is not wanted any more")
        until = time.monotonic() + STOP_LIMIT
        for process in list(self._processes):
            while not process.over and time.monotonic() < until:
                with suppress(OSError):
                    self._listen(process)  # It may wait for room to print.
                if _has_ended(process.life, 0.01):
                    break
            with suppress(OSError):
                self._bury(process)
        for segment in self._segments:
            segment.close()
        self._segments.clear()
        for file in (self._wake, self._nowhere, *self._files):
            os.close(file)
        while not self._requests.empty():
            self._requests.get()[0].set_exception(UserError("the graph is closed"))


def poll_ms(limit: int) -> int:
    """Milliseconds between two looks at a segment that may be silent for ``limit`` ns.

    It is seen to be silent, and has been for that long, at most two looks later.
    """
    return min(_LONGEST_POLL, max(_SHORTEST_POLL, limit // (_POLLS * 1_000_000)))


def _has_ended(life: int, seconds: float | None) -> bool:
    """Wait for the end of the process that a descriptor stands for; None: for ever."""
    ended = select.poll()
    ended.register(life, select.POLLIN)
    return bool(ended.poll(None if seconds is None else 1e3 * seconds))
