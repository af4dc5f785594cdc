"""What stands in the host for a part of a graph that a worker process runs: processors, and the segment.

A segment keeps a spare for its worker, decides when a worker hangs, and lets the spare take over. What is
said here to be in the pool's thread is called by `rtaudio.processes.Pool`, which watches.
"""

from __future__ import annotations

import fcntl
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.counters import NODE_FAILED, NODE_LAPSES, NODE_MISSES, NODE_PID, NODE_RESTARTS, Counters
from rtaudio.errors import UserError
from rtaudio.executor import AT, INDEX, ORIGIN, ROW, TARGET
from rtaudio.graph import End
from rtaudio.kernel import FROM, TO, addresses
from rtaudio.lanes import BLOCK, DONE, FIRST, FOR_EVER, HEAD, STOP, Memory, Segment, slots_for, wake
from rtaudio.layout import COMMANDS, Signal, Step, Walk
from rtaudio.native import read_acquire, write_release
from rtaudio.parts import ENTRY, Part, describe
from rtaudio.processes import (
    PREPARE_LIMIT,
    WATCH_LIMIT,
    WATCH_LOOKED,
    WATCH_SINCE,
    WATCH_WORDS,
    WATCHED,
    Pool,
    Process,
    poll_ms,
)
from rtaudio.processor import Processor
from rtaudio.ring import ring_skip

ANSWER_LIMIT = 5.0
"""Seconds that a worker is given to answer anything but `prepare`."""
LINE_LIMIT = 1.0
"""Seconds that it is given to do a line: control waits for it."""
REASON_LIMIT = 0.5
"""Seconds that it is given to say why a node has failed."""
HANG_BLOCKS = 8
"""Blocks without a sign of life after which a worker that is one block ahead counts as hanging."""
HANG_PATIENT = 20.0
"""Seconds of that where nothing is real-time."""
TAKE_OVER_NS = 1_000_000_000
"""Nanoseconds that a spare may be silent while it takes over, at least."""
DEATHS, DEATHS_SECONDS = 3, 10.0
"""After so many ends in so short a time no worker is started for a while; so it is after so many spares in a
row that could not be prepared, or not take over, however long that took."""
REST_FIRST, REST_LONGEST = 10.0, 160.0
"""Seconds of that while; they double as long as it ends so again, and start over once a worker ran for the
longest of them."""
RETRY_FIRST, RETRY_LONGEST = 0.25, 8.0
"""Seconds until a spare is tried again that could not be started or prepared; they double."""
KEPT = 64
"""Changes sent after which it is looked at, the first time, which of them have taken effect."""
NEVER = 1 << 62
"""Blocks done by a worker that is given up: nothing waits for it any more."""


class Remote(Processor):
    """Stands in the host for a processor that a worker process prepares and runs.

    Parameters
    ----------
    part
        What the graph made; its processor is not prepared here.
    pool
        Whose idle worker prepares it.
    """

    def __init__(self, part: Part, pool: Pool) -> None:
        self.made = part.processor
        for declared in ("id", "version", "summary", "inputs", "outputs", "parameters"):
            setattr(self, declared, getattr(self.made, declared))
        for declared in ("rates", "lane", "fallback", "unity", "tolerance", "grid", "lines"):
            setattr(self, declared, getattr(self.made, declared))
        super().__init__(**self.made.values)
        self._described, self._pool = describe(part), pool
        self.cost = self.mean = 0
        """Worst and mean time of a block, in ns, as the worker has measured it."""
        self.message: dict[str, Any] = {}
        """What makes another worker prepare it too."""
        self.ask_why: Callable[[int], str] | None = None
        """Asks the worker that runs it why it failed, by status."""
        self.tell: Callable[[dict[str, Any], Callable[[dict[str, Any]], None]], None] | None = None
        """Sends the worker that runs it a message; the answer comes in the pool's thread."""
        self._told: dict[str, Any] = {}
        self._asking = False

    def prepare(self, rate: int, block: int, fixed: bool = False, channels: int = 2) -> None:
        """Let a worker prepare it; `UserError` where it cannot."""
        self.rate, self.block, self.fixed, self.channels = rate, block, fixed, channels
        self.message = {
            "do": "prepare",
            "part": self._described,
            "rate": rate,
            "block": block,
            "channels": channels,
            "origin": int(self.origin),
        }
        answer = self._pool.idle().prepare(self.message)
        self.latency, self.tail, self.waiting = (answer[word] for word in ("latency", "tail", "waiting"))
        self.cost, self.mean, self.runs_on = answer["cost"], answer["mean"], answer["runs_on"]

    def check(self, answer: Mapping[str, Any]) -> None:
        """`UserError` where another worker has prepared it, and it is not the same."""
        for word, known in (("latency", self.latency), ("tail", self.tail), ("waiting", self.waiting)):
            if answer[word] != known:
                name = self._described["name"]
                raise UserError(f"{name} has a {word} of {answer[word]} samples there, not {known}")

    def error(self, status: int) -> str:
        """See `Processor.error`; empty, too, where the worker does not answer soon."""
        return self.ask_why(status) if self.ask_why is not None else super().error(status)

    def take(self, word: str, text: str) -> dict[str, Any]:
        """See `Processor.take`; `UserError`, too, where the worker does not answer soon."""
        answer: Future[dict[str, Any]] = Future()
        if self.tell is not None:
            self.tell({"do": "line", "word": word, "text": text}, answer.set_result)
        try:
            found = answer.result(LINE_LIMIT)
        except TimeoutError:
            raise UserError(f"its worker process did not answer for {LINE_LIMIT:g} s") from None
        if "error" in found:
            raise UserError(found["error"])
        return found

    def told(self) -> dict[str, Any]:
        """What the worker answered last, see `Processor.told`; it is asked again, and not waited for."""
        if self.tell is not None and not self._asking:
            self._asking = True
            self.tell({"do": "told"}, self._hear)
        return self._told

    def _hear(self, answer: dict[str, Any]) -> None:
        """The worker has told, in the pool's thread."""
        self._told, self._asking = answer.get("told", {}), False

    def ramps(self) -> NDArray[np.float64]:
        """See `Processor.ramps`."""
        return self.made.ramps()

    def kernel(self) -> tuple[int, NDArray[np.int64]]:
        """No address: nothing here may call it."""
        return 0, self._table

    def copies(self) -> list[tuple[int, int, int]]:
        """Nothing: the state is the worker's."""
        return []


class RemoteSegment(Segment):
    """A segment whose worker is another process.

    Parameters
    ----------
    pool
        What its workers come from.
    walk
        As the worker lays it out, too; it never runs here.
    steps
        Of the walk, in order, by name.
    signals
        What the parts read and make.
    given
        The ends that the callback reads.
    rate, block, channels
        Of the plan.
    ahead, settling
        As of `Segment`.

    Attributes
    ----------
    walk : Walk
    ready : threading.Event
        Set while a spare is prepared.
    restarts : int
        Workers that have taken over from another.

    Raises
    ------
    UserError
        The worker cannot prepare its parts.
    """

    lane = 2

    def __init__(
        self,
        pool: Pool,
        walk: Walk,
        steps: Mapping[str, Step],
        signals: Mapping[End, Signal],
        given: Sequence[End],
        rate: int,
        block: int,
        channels: int,
        ahead: int,
        settling: int,
    ) -> None:
        self._pool, self.walk, self._steps = pool, walk, list(steps.values())
        self._parts = {
            name: step.processor for name, step in steps.items() if isinstance(step.processor, Remote)
        }
        counted = [name for name, step in steps.items() if step.of_node]
        self.title = ", ".join(counted)
        inputs = [addresses(signal.buffer) for signal in walk.inputs.values()]
        outputs = [addresses(signals[end].buffer) for end in given]
        ends, results = (np.concatenate([np.zeros(0, np.int64), *found]) for found in (inputs, outputs))
        self._process = pool.idle()
        self._file = self._process.file
        shape = slots_for(ahead), block, len(ends), len(results), len(counted) + 2
        memory = Memory(*shape, file=self._file, commands=COMMANDS)
        self._seal()
        memory.make_semaphore()
        assert memory.events is not None  # noqa: S101 - it has a file
        self._events = memory.events
        walk.finish()
        names = set(walk.names or ())
        super().__init__(walk.words, walk.context, names, block, ahead, ends, results, [], settling, memory)
        self._counted = counted
        for name, section in zip(counted, memory.sections, strict=False):
            steps[name].section = section
        walk.send = self.send
        self._reads = [[end.node, end.port] for end in walk.inputs]
        self._described = {
            "do": "lay_out",
            "names": list(self._parts),
            "rate": rate,
            "block": block,
            "channels": channels,
            "ahead": ahead,
            "settling": int(settling),
            "signals": [
                [
                    end.node,
                    end.port,
                    *map(int, (len(signal.buffer), signal.arrival, signal.waited, signal.tail)),
                ]
                for end, signal in signals.items()
                if end == ENTRY or end in walk.inputs
            ],
            "gives": [[end.node, end.port] for end in given],
        }
        self._sent: list[tuple[int, float, NDArray[np.float64]]] = []
        """Changes that may not have taken effect: where they end in the ring, when they are due, events."""
        self._room = KEPT
        """How many there may be before that is looked at."""
        self._lock = threading.Lock()
        self._spare: Process | None = None
        self.ready = threading.Event()
        self.restarts = 0
        self._running = False
        self._priority = 0
        self._deaths: deque[float] = deque(maxlen=DEATHS)
        self._died_at = 0.0
        self._looked = Look(0.0, 0.0)
        self._stat: int | None = None
        self._taking_over = False
        self._resting = self._given_up = False
        """Whether no workers are started for a while, and whether none works."""
        self._rest, self._rested, self._trial = 0.0, 0.0, 0.0
        """Seconds of the last such while, when it ended, and until when one end is too many after it."""
        self._failures, self._failed_at = 0, 0.0
        """Spares in a row that could not be prepared or not take over, or ended while they waited."""
        self._was_gone = False
        self._delay = 0.0
        self._runs_on: dict[str, str] = {}
        """Of the spare's parts, by name."""
        self._limit = round(HANG_PATIENT * 1e9)
        self.due = FOR_EVER
        """When the spare has to be prepared, or is to be started; ns."""
        self.watched = np.zeros(WATCHED, np.int64)
        """What `_watch` looks at, and keeps."""
        self.watched[WATCH_WORDS] = memory.words.ctypes.data
        self.watched[WATCH_LIMIT] = self._limit
        self._settle(HEAD)
        ring_skip(self._events.address, 0)  # Loads, or compiles, what taking over needs.
        for name, part in self._parts.items():
            part.ask_why, part.tell = partial(self._ask_why, name), partial(self._tell, name)
        pool.adopt(self, self._process)
        self._prepare(self._process)

    def _seal(self) -> None:
        """Let no worker change the length of the memory: the host would crash where it ends."""
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(self._file, fcntl.F_ADD_SEALS, seals)

    def _prepare(self, process: Process) -> None:
        """Let a worker prepare the parts, those that it has not yet, and lay them out."""
        for name, part in self._parts.items():
            if process.prepared.get(name) != part.message:
                part.check(process.prepare(part.message))
        self._check(process.ask(self._described, PREPARE_LIMIT))

    def _check(self, answer: Mapping[str, Any]) -> None:
        """Both sides have to agree on the rows: events name them by number."""
        if (answer["rows"], answer["reads"]) != (len(self.walk.rows), self._reads):
            raise UserError(
                f"{self.title}: the worker process runs another version of this program: start again"
            )

    # ---------------------------------------------------------------------------------------- for control

    @property
    def pid(self) -> int:
        """Number of the process that works."""
        return self._process.pid

    @property
    def gone(self) -> bool:
        """Whether no process works that should; once stopped, whether that was so."""
        return bool(self._process.over) if self._running else self._was_gone

    def start(self, position: int, keep: object = None) -> None:
        """Let the worker start, at the block that begins at a position."""
        if self._process.over:
            self._process = self._pool.do(self._spawn)
            self._prepare(self._process)
        self.publish_start(position)
        first = position // int(self.words[BLOCK])
        self._process.ask(self._start_message(first, again=False), ANSWER_LIMIT)
        self._running = self._process.works = True
        self._pool.do(self._open_stat)
        self._pool.do(lambda: self._pool.watch(self))

    def hurry(self, priority: int) -> str:
        """Be real-time from now on: give the worker a priority, and have less patience with it.

        Returns who granted the priority, see `realtime.raise_priority`.
        """
        self._pool.do(lambda: self._hurry(priority))
        with suppress(UserError):  # it has just died: the next one is asked, too
            return str(self._process.ask(self._priority_message(), ANSWER_LIMIT)["granted"])
        return "fifo"

    @property
    def has_lost_priority(self) -> bool:
        """See `Segment.has_lost_priority`; of a worker that takes over nothing is known yet."""
        return not self._taking_over and not self._process.over and super().has_lost_priority

    def restore_priority(self) -> None:
        """Give the worker its priority again."""
        self._process.tell(self._priority_message(), _ignore)

    def _tell(self, name: str, message: dict[str, Any], then: Callable[[dict[str, Any]], None]) -> None:
        """Send a message for a part to the process that works."""
        self._process.tell({**message, "name": name}, then)

    def _ask_why(self, name: str, status: int) -> str:
        answer: Future[dict[str, Any]] = Future()
        self._process.tell({"do": "explain", "name": name, "status": status}, answer.set_result)
        with suppress(TimeoutError):
            return str(answer.result(REASON_LIMIT).get("reason", ""))
        return ""

    def send(self, event: NDArray[np.float64]) -> bool:
        """Send an event to the worker, and keep it for the next one; False if there is no room."""
        with self._lock:
            if len(self._sent) >= self._room:
                self._settle(HEAD if self._given_up else DONE)
                self._room = min(COMMANDS, max(KEPT, 2 * len(self._sent)))
            if len(self._sent) >= COMMANDS or not (self._given_up or self._events.push(event)):
                return False
            origin = self._steps[int(event[ROW])].words[ORIGIN]
            due = max(event[AT], read_acquire(self.memory.words, HEAD) * self.words[BLOCK] - origin)
            end = 0 if self._given_up else self._events.taken + self._events.readable
            self._sent.append((end, float(due), event))
            return True

    def stop(self, patience: float) -> bool:
        """Tell the worker to stop; the pool ends it."""
        self._was_gone, self._running = self.gone, False
        write_release(self.memory.words, STOP, 1)
        wake(int(self.memory.semaphore.ctypes.data))
        return True

    def collect(self, counters: Counters, worker: NDArray[np.int64], wake_up: NDArray[np.int64]) -> None:
        """Copy what the worker counts to the sections of its nodes, and to its own two."""
        for name, section in zip(self._counted, self.memory.sections, strict=False):
            host = counters.section(name)
            host[NODE_FAILED:NODE_MISSES] = section[NODE_FAILED:NODE_MISSES]
            host[NODE_LAPSES:] = section[NODE_LAPSES:]
        worker[NODE_LAPSES:] = self.memory.sections[-2][NODE_LAPSES:]
        worker[NODE_RESTARTS], worker[NODE_PID], worker[NODE_FAILED] = self.restarts, self.pid, self.gone
        wake_up[NODE_LAPSES:] = self.memory.sections[-1][NODE_LAPSES:]

    # ------------------------------------------------------------------------------------ the pool's thread

    def _spawn(self) -> Process:
        process = self._pool.spawn(self._file)
        process.segment, process.names = self, self.title
        return process

    def _open_stat(self, thread: int = 0) -> None:
        """Open what tells whether a worker's thread can run: that takes long while others compute."""
        self._close_stat()
        path = f"/proc/{self.pid}/task/{thread or self.thread}/stat"
        with suppress(OSError):  # it has just ended
            self._stat = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _close_stat(self) -> None:
        if self._stat is not None:
            os.close(self._stat)
            self._stat = None

    def close(self) -> None:
        """Close what is open, and let go of what refers to this."""
        self.walk.send = self.walk.events.push
        for part in self._parts.values():
            part.ask_why = part.tell = None
        self._close_stat()

    def start_spare(self) -> None:
        """Start a process that prepares the same; later, where that is not possible now."""
        try:
            spare = self._spare = self._spawn()
        except UserError as error:
            if not self._delay:
                self._pool.said.append(f"{self.title}: {error}: no spare for now")
            self._start_later()
            return
        self.due, self._runs_on = time.monotonic_ns() + round(PREPARE_LIMIT * 1e9), {}
        for name, part in self._parts.items():
            spare.tell(part.message, partial(self._spare_answers, spare, name))
        spare.tell(self._described, partial(self._spare_answers, spare, None))

    def _start_later(self) -> None:
        self._delay = min(max(RETRY_FIRST, 2.0 * self._delay), RETRY_LONGEST)
        self.due = time.monotonic_ns() + round(self._delay * 1e9)

    def is_due(self) -> None:
        """The spare's time to prepare is over, or another one is to be started."""
        self.due = FOR_EVER
        if self._spare is not None:
            self._spare.kill(f"did not prepare it again within {PREPARE_LIMIT:g} s")
        elif not self._taking_over:
            if self._resting:
                self._resting, self._rested, self._trial = False, time.monotonic(), math.inf
                self._failures = 0
                self._deaths.clear()
            self.start_spare()

    def _spare_answers(self, spare: Process, name: str | None, answer: Mapping[str, Any]) -> None:
        """The spare has prepared the part of a name, or laid all out."""
        if spare.over:
            return
        try:
            if "error" in answer:
                raise UserError(answer["error"])
            if name is not None:
                self._parts[name].check(answer)
                self._runs_on[name] = answer["runs_on"]
                return
            self._check(answer)
        except UserError as error:
            spare.kill(f"could not prepare it again: {error}")
            return
        if spare.verdict:
            return
        self.due, self._delay = FOR_EVER, 0.0
        if time.monotonic() - self._failed_at > DEATHS_SECONDS:
            self._failures = 0
        if self._trial == math.inf and not self._process.over:
            self._trial = 0.0  # It was a spare that failed, and this one is well.
        if self._priority:
            spare.tell(self._priority_message(), _ignore)
        self.ready.set()
        if self._process.over:
            self._take_over()

    def _hurry(self, priority: int) -> None:
        self._priority = priority
        period_ns = 1e9 * int(self.words[BLOCK]) / int(self._context[1])
        whole = round((self.ahead + HANG_BLOCKS - 1) * period_ns)
        self._limit = max(whole // 2, whole - 2_000_000 * poll_ms(whole))
        if not self._taking_over:
            self.watched[WATCH_LIMIT] = self._limit
        if self.ready.is_set() and self._spare is not None:
            self._spare.tell(self._priority_message(), _ignore)

    def _priority_message(self) -> dict[str, Any]:
        return {"do": "priority", "priority": self._priority}

    def _start_message(self, first: int, again: bool) -> dict[str, Any]:
        ramps = [step.ramps[:, TO].tolist() for step in self._steps]
        return {"do": "start", "first": first, "again": again, "ramps": ramps, "priority": self._priority}

    def _settle(self, until: int) -> None:
        """Take into the ramps what the worker has taken, and what begins before a word's block.

        In the order in which it has taken effect, not in that of sending; what is left is in that order, too.
        """
        taken, begin = self._events.taken, read_acquire(self.memory.words, until) * int(self.words[BLOCK])
        kept = []
        for end, due, event in sorted(self._sent, key=lambda sent: sent[1]):
            step = self._steps[int(event[ROW])]
            if end <= taken and due <= begin - step.words[ORIGIN]:
                step.ramps[int(event[INDEX]), [FROM, TO]] = event[TARGET]
            else:
                kept.append((end, due, event))
        self._sent = kept

    def is_silent(self) -> None:
        """The worker has given no sign of life for half its time, or all of it."""
        row, now = self.watched, time.monotonic_ns()
        if self._process.over:
            row[WATCH_SINCE] = now
        elif not row[WATCH_LOOKED]:
            if self._taking_over and self._stat is None:
                self._open_stat(self.pid)  # Its thread does not run yet.
            row[WATCH_LOOKED], self._looked = 1, look(self._process.pid, self._stat)
        elif starved(self._looked, look(self._process.pid)):
            row[WATCH_SINCE], row[WATCH_LOOKED] = now, 0
        else:
            silent = (now - int(row[WATCH_SINCE])) / 1e6
            self._process.kill(f"hung for {silent:.0f} ms and was killed", urgent=True)
            row[WATCH_SINCE], row[WATCH_LOOKED] = now, 0

    def replace(self, process: Process) -> None:
        """A worker is gone: let the spare take over from it, unless too many have ended of late."""
        now = time.monotonic()
        if process is self._process and not self._taking_over:
            self._deaths.append(now)
        else:
            self._failures, self._failed_at = self._failures + 1, now
        if process is self._spare:
            self._spare = None
            self.ready.clear()
            if not self._resting:
                self.due = FOR_EVER
        elif process is self._process:
            self._died_at = now
            if self._running and not self._too_many and self.ready.is_set():
                self._take_over()

    @property
    def _too_many(self) -> bool:
        """Whether too many workers have ended in too short a time, or too many spares in a row."""
        recent = [died for died in self._deaths if self._deaths[-1] - died < DEATHS_SECONDS]
        return max(len(recent), self._failures) >= (1 if time.monotonic() < self._trial else DEATHS)

    def has_died(self, process: Process) -> None:
        """Say so, and start another one; after a rest, where they end again and again."""
        gone = process is self._process
        if not self._running or (self._resting and not gone):
            return
        what = f"the worker process of {self.title} {process.over}"
        if self._resting:
            self._pool.said.append(f"{what}: bypassed until another is started")
        elif self._too_many:
            self._begin_rest(what)
        elif process.works:
            self._pool.said.append(f"{what}: bypassed until it is replaced")
        elif self._failures == 1:
            self._pool.said.append(f"{what}; another is tried")
        if self._resting:
            if self._process.over:
                self._give_up()
        elif self._spare is None and not self._taking_over:
            if process.works:
                self.start_spare()
            else:
                self._start_later()

    def _begin_rest(self, what: str) -> None:
        """Start no worker for a while."""
        now = time.monotonic()
        how = f"in {DEATHS_SECONDS:g} s" if len(self._deaths) == DEATHS else "before they were ready"
        many = "" if now < self._trial else f"{DEATHS} have ended {how}: "
        again = self._rest > 0.0 and now - self._rested < REST_LONGEST
        self._rest = min(2.0 * self._rest, REST_LONGEST) if again else REST_FIRST
        self._resting, self._trial = True, 0.0
        until = f"another is started in {self._rest:g} s"
        if self._process.over:
            until = f"given up, and bypassed; {until}"
        self._pool.said.append(f"{what}; {many}{until}")
        if self._spare is not None:
            self._spare.kill("is not wanted now")
        self.due = time.monotonic_ns() + round(self._rest * 1e9)

    def _give_up(self) -> None:
        """Let nothing wait for a worker; what is set takes effect in the next one."""
        with self._lock:
            self._given_up = True
            self._sent = [(0, due, event) for _, due, event in self._sent]
        write_release(self.memory.words, DONE, NEVER)

    def _take_over(self) -> None:
        """Let the spare go on with the newest block, at the settings as they are now."""
        spare = self._spare
        assert spare is not None  # noqa: S101 - it is ready
        self._spare = None
        self.ready.clear()
        with self._lock:
            if self._sent:
                self._settle(HEAD)
                ring_skip(self._events.address, self._events.capacity)
            for number, (_, due, event) in enumerate(self._sent):
                self._events.push(event)  # There is room: `send` keeps no more.
                self._sent[number] = self._events.taken + self._events.readable, due, event
            self.memory.sections[:, NODE_FAILED] = 0
            self._process = spare
            if self._given_up:
                self._given_up = False
                write_release(self.memory.words, DONE, int(self.memory.words[HEAD]) - 1)
            spare.tell(self._start_message(int(self.words[FIRST]), again=True), self._has_taken_over)
        self._taking_over = spare.works = True
        self.restarts += 1
        row = self.watched
        row[WATCH_LIMIT] = max(self._limit, TAKE_OVER_NS)
        row[WATCH_SINCE], row[WATCH_LOOKED] = time.monotonic_ns(), 0
        self._close_stat()  # It is that of the dead one's thread.

    def _has_taken_over(self, answer: Mapping[str, Any]) -> None:
        self._taking_over = False
        row = self.watched
        row[WATCH_LIMIT], row[WATCH_SINCE], row[WATCH_LOOKED] = self._limit, time.monotonic_ns(), 0
        if "error" in answer:
            self._process.kill(f"could not take over: {answer['error']}")
            return
        self._failures = 0
        self._trial = min(self._trial, time.monotonic() + DEATHS_SECONDS)
        after = 1e3 * (time.monotonic() - self._died_at)
        self._pool.said.append(f"{self.title}: another worker process has taken over after {after:.0f} ms")
        self._open_stat()
        for name, runs_on in self._runs_on.items():
            if runs_on != self._parts[name].runs_on:
                self._pool.said.append(f"{name} runs on {runs_on} now")
                self._parts[name].runs_on = runs_on
        if self._spare is None and not self._resting:
            self.start_spare()


def _ignore(answer: Mapping[str, Any]) -> None:
    """Nobody waits for it."""


@dataclass(frozen=True)
class Look:
    """A process at a moment: seconds on the clock and of processor time, and whether its thread can run."""

    at: float
    spent: float
    runnable: bool = False


def look(pid: int, stat: int | None = None) -> Look:
    """How a process is now; of a thread if ``stat`` is its file in /proc, open."""
    spent, runnable = 0.0, False
    with suppress(OSError):  # it is gone
        spent = time.clock_gettime((~pid << 3) | 2)  # as clock_getcpuclockid makes it
        if stat is not None:
            runnable = os.pread(stat, 256, 0).rpartition(b")")[2].split()[0] == b"R"
    return Look(time.monotonic(), spent, runnable)


def starved(before: Look, after: Look) -> bool:
    """Whether a thread wanted to run and the machine did not let its process."""
    return before.runnable and after.spent - before.spent < 0.5 * (after.at - before.at)
