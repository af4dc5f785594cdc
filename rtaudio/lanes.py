"""Lanes 1 and 2: a part of a graph that a worker runs, a thread or a process, some blocks ahead.

The callback's walk writes block k into an input slot, wakes the worker and plays what the worker made of
block k - AHEAD. Slots carry the number of their block, published with release and read with acquire, so the
latency can never drift: a block that is not there in time is a miss, for which the fallback plays, and the
worker processes it all the same, so that its state stays right. A worker that falls behind by all slots
(lapped) is reset and goes on with the newest block.

What both sides of a segment use lies in one piece of memory, `Memory`, which two processes can map; each has
words of its own for addresses. See `rtaudio.processes` for the processes.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.counters import (
    NODE_FAILED,
    NODE_LAPSES,
    NODE_LONGEST,
    NODE_MISSES,
    NODE_TIMES,
    NODE_WORDS,
)
from rtaudio.executor import CONTEXT, EVENT_WORDS, MISSING, WALK_WORDS, renew, run_block
from rtaudio.kernel import channel, kernel, position, power_of_two
from rtaudio.native import (
    compiled,
    f32_cube,
    fence,
    float32_at,
    i64_vector,
    int64_at,
    load_acquire,
    now_ns,
    post,
    sleep_until_ns,
    store_release,
    thread_id,
    wait,
    write_release,
)
from rtaudio.processor import Port, Processor
from rtaudio.realtime import priority_of, raise_priority
from rtaudio.ring import RING_WORDS, Ring
from rtaudio.timing import count_time

LINE = 8
"""int64 words of a cache line: what two threads write lies on lines of its own."""

# Words of a segment: those of a walk, then these.
(
    BLOCK,
    AHEAD,  # blocks between what goes in and what comes out
    SLOTS,  # a power of two
    IN,  # addresses of the channels that the segment's walk reads
    IN_CHANNELS,
    OUT,  # addresses of the channels that it writes
    OUT_CHANNELS,
    SLOT_INPUTS,  # float32[SLOTS, IN_CHANNELS, BLOCK]
    SLOT_OUTPUTS,  # float32[SLOTS, OUT_CHANNELS, BLOCK]
    IN_NUMBERS,  # int64[SLOTS]: number of the block in a slot, plus 1; 0 while it is written
    OUT_NUMBERS,
    SEMAPHORE,
    FIRST,  # number of the first block
    UNSETTLED,  # blocks from there on that are not heard yet, where others were before
    RESETS,  # int64[N_RESETS, 3]: address of a state array, of its content at the start (0: zeros), bytes
    N_RESETS,
    SETTLING,  # blocks after a reset until the segment's latency has passed
    COUNTERS,  # address of the worker's section, see rtaudio.counters
    WAKES,  # address of the section of its wake-up
    SHARED,  # address of the words that follow: these themselves, or those of the memory of two processes
) = range(WALK_WORDS, WALK_WORDS + 20)
STOP = 4 * LINE
HEAD = 5 * LINE  # blocks published; written by the callback
POSTED = 5 * LINE + 1  # when the newest was, ns
READY = 5 * LINE + 2  # whether the block to be heard is there; the callback's own
DONE = 6 * LINE  # blocks processed; written by the worker, as the next two
PULSE = 6 * LINE + 1  # counts on whenever it gets on
THREAD = 6 * LINE + 2  # its number; 0 before it runs
SEGMENT_WORDS = 7 * LINE

SEMAPHORE_BYTES = 64
SMALLEST_SLOTS = 8
FOR_EVER = 2**63 - 1
"""A deadline that does not come."""
FREEWHEEL_WAIT = 20_000
"""Nanoseconds between two looks at slots that are not ready, where nothing is real-time."""


@kernel
def send_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Send`."""
    words, slots = i64_vector(state, 0), f32_cube(state, 1)
    shared = int64_at(words[SHARED], SEGMENT_WORDS)
    numbers = i64_vector(state, 2)
    k = position(context) // n
    slot = k & (words[SLOTS] - 1)
    store_release(numbers, slot, 0)
    fence()
    for c in range(slots.shape[1]):
        x, kept = channel(inputs, c, n), slots[slot, c]
        for i in range(n):
            kept[i] = x[i]
    store_release(numbers, slot, k + 1)
    shared[POSTED] = now_ns()
    store_release(shared, HEAD, k + 1)
    post(words[SEMAPHORE])
    wanted = k - words[AHEAD]
    if wanted >= words[FIRST]:
        made = int64_at(words[OUT_NUMBERS], words[SLOTS])
        words[READY] = 1 if load_acquire(made, wanted & (words[SLOTS] - 1)) == wanted + 1 else 0
        if words[READY] == 0:
            int64_at(words[COUNTERS], NODE_WORDS)[NODE_MISSES] += 1
    return 0


@kernel
def receive_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Receive`."""
    words, slots = i64_vector(state, 0), f32_cube(state, 1)
    which = i64_vector(state, 2)
    if words[READY] == 0:
        return MISSING
    # The own time of what was made begins AHEAD blocks late, so this is the number of the block to be heard.
    slot = (position(context) // n) & (words[SLOTS] - 1)
    for c in range(which[1]):
        y, made = channel(outputs, c, n), slots[slot, which[0] + c]
        for i in range(n):
            y[i] = made[i]
    return 0


class Send(Processor):
    """Hands a block to the worker, and looks whether the one to be heard has come back."""

    id = "send"
    outputs = ()
    fallback = None
    KERNEL = send_kernel

    def __init__(self, segment: Segment) -> None:
        super().__init__()
        self.inputs = (Port("in", segment.slot_inputs.shape[1]),)  # type: ignore[misc]
        self.segment = segment

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: the segment's words, input slots and their numbers."""
        return self.segment.words, self.segment.slot_inputs, self.segment.in_numbers


class Receive(Processor):
    """Plays what the worker made: ``width`` of the segment's output channels, from the ``first``."""

    id = "receive"
    inputs = ()
    KERNEL = receive_kernel

    def __init__(self, segment: Segment, first: int, width: int) -> None:
        super().__init__()
        self.outputs = (Port("out", width),)  # type: ignore[misc]
        self.segment, self.first = segment, first

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: the segment's words and output slots; its first channel, and how many."""
        which = np.array([self.first, self.ports(self.outputs)], np.int64)
        return self.segment.words, self.segment.slot_outputs, which


@compiled
def _take(words: Any, k: int) -> bool:
    """Copy block k from its slot to where the walk reads; whether the callback left it alone meanwhile."""
    n, channels = words[BLOCK], words[IN_CHANNELS]
    slot = k & (words[SLOTS] - 1)
    numbers = int64_at(words[IN_NUMBERS], words[SLOTS])
    if load_acquire(numbers, slot) != k + 1:
        return False
    begin = words[SLOT_INPUTS] + 4 * n * channels * slot
    targets = int64_at(words[IN], channels)
    for c in range(channels):
        kept, x = float32_at(begin + 4 * n * c, n), float32_at(targets[c], n)
        for i in range(n):
            x[i] = kept[i]
    fence()
    return load_acquire(numbers, slot) == k + 1  # type: ignore[no-any-return]


@compiled
def _give(words: Any, k: int, publish: bool) -> None:
    """Copy what the walk wrote into the slot of block k, and publish it."""
    n, channels = words[BLOCK], words[OUT_CHANNELS]
    slot = k & (words[SLOTS] - 1)
    published = int64_at(words[OUT_NUMBERS], words[SLOTS])
    begin = words[SLOT_OUTPUTS] + 4 * n * channels * slot
    store_release(published, slot, 0)
    fence()
    sources = int64_at(words[OUT], channels)
    for c in range(channels):
        made, y = float32_at(begin + 4 * n * c, n), float32_at(sources[c], n)
        for i in range(n):
            made[i] = y[i]
    if publish:
        store_release(published, slot, k + 1)


@compiled
def work(words: Any) -> None:
    """The worker's life, in one call without the GIL: every block in turn, until it is told to stop."""
    shared = int64_at(words[SHARED], SEGMENT_WORDS)
    shared[THREAD] = thread_id()
    context = int64_at(words[CONTEXT], 3)
    n = words[BLOCK]
    k, settling = words[FIRST], words[UNSETTLED]
    while load_acquire(shared, STOP) == 0:
        store_release(shared, PULSE, shared[PULSE] + 1)
        head = load_acquire(shared, HEAD)
        if k >= head:
            wait(words[SEMAPHORE])
            if load_acquire(shared, HEAD) == k + 1:
                count_time(words[WAKES], NODE_TIMES, NODE_LONGEST, now_ns() - shared[POSTED])
            continue
        started = now_ns()
        if not _take(words, k):
            int64_at(words[COUNTERS], NODE_WORDS)[NODE_LAPSES] += 1
            renew(words[RESETS], words[N_RESETS])
            k, settling = head - 1, words[SETTLING]
            context[0] = k * n
            continue
        run_block(words, n)
        _give(words, k, settling == 0)
        settling = max(0, settling - 1)
        k += 1
        count_time(words[COUNTERS], NODE_TIMES, NODE_LONGEST, now_ns() - started)
        store_release(shared, DONE, k)


@compiled
def slots_ready(segments: Any, position: int) -> bool:
    """Whether no worker's block is missing that a callback at a position plays."""
    for number in range(segments.shape[0]):
        words = int64_at(segments[number], SEGMENT_WORDS)
        shared = int64_at(words[SHARED], SEGMENT_WORDS)
        k = position // words[BLOCK] - words[AHEAD]
        if k >= words[FIRST] and load_acquire(shared, DONE) <= k:
            return False
    return True


@compiled
def await_slots(segments: Any, position: int, deadline: int) -> bool:
    """Wait until `slots_ready`, where nothing is real-time; False if that is not by ``deadline`` (ns)."""
    while not slots_ready(segments, position):
        if now_ns() > deadline:
            return False
        sleep_until_ns(now_ns() + FREEWHEEL_WAIT)
    return True


@compiled
def all_rest(segments: Any) -> bool:
    """Whether no worker has anything to do."""
    for number in range(segments.shape[0]):
        shared = int64_at(int64_at(segments[number], SEGMENT_WORDS)[SHARED], SEGMENT_WORDS)
        if load_acquire(shared, DONE) < load_acquire(shared, HEAD):
            return False
    return True


class Memory:
    """What both sides of a segment use.

    Parameters
    ----------
    slots
        Their number, a power of two.
    block
        Samples per block.
    inputs, outputs
        Channels.
    sections
        Sections of counters that a worker in another process writes; it has a command ring there, too.
    file
        Descriptor of a file in memory, made as long as it has to be; None: of this process alone.
    commands
        Events that fit in the command ring.

    Attributes
    ----------
    words : int64[SEGMENT_WORDS]
        Those from `STOP` on are used by both sides.
    in_numbers, out_numbers : int64[slots]
    slot_inputs, slot_outputs : float32[slots, channels, block]
    sections : int64[sections, NODE_WORDS]
    events : Ring or None
    """

    def __init__(
        self,
        slots: int,
        block: int,
        inputs: int,
        outputs: int,
        sections: int = 0,
        file: int | None = None,
        commands: int = 0,
    ) -> None:
        elements = power_of_two(commands * EVENT_WORDS)
        shapes: dict[str, tuple[type[Any], tuple[int, ...]]] = {
            "words": (np.int64, (SEGMENT_WORDS,)),
            "semaphore": (np.int64, (SEMAPHORE_BYTES // 8,)),
            "in_numbers": (np.int64, (slots,)),
            "out_numbers": (np.int64, (slots,)),
            "slot_inputs": (np.float32, (slots, inputs, block)),
            "slot_outputs": (np.float32, (slots, outputs, block)),
            "sections": (np.int64, (sections, NODE_WORDS)),
            "ring": (np.int64, (RING_WORDS if file is not None else 0,)),
            "elements": (np.float64, (elements if file is not None else 0,)),
        }
        sizes = [math.prod(shape) * np.dtype(dtype).itemsize for dtype, shape in shapes.values()]
        places = np.cumsum([0, *(-(-size // (8 * LINE)) * 8 * LINE for size in sizes)])
        self.shared = file is not None
        if file is None:
            buffer = _aligned(int(places[-1]) // 8).view(np.uint8)
        else:
            if os.fstat(file).st_size != places[-1]:
                os.ftruncate(file, int(places[-1]))
            buffer = np.frombuffer(mmap.mmap(file, int(places[-1])), np.uint8)
        found = {
            name: buffer[place : place + size].view(dtype).reshape(shape)
            for (name, (dtype, shape)), place, size in zip(shapes.items(), places[:-1], sizes, strict=True)
        }
        self.words, self.semaphore = found["words"], found["semaphore"]
        self.in_numbers, self.out_numbers = found["in_numbers"], found["out_numbers"]
        self.slot_inputs, self.slot_outputs = found["slot_inputs"], found["slot_outputs"]
        self.sections = found["sections"]
        self.events = None
        if file is not None:
            self.events = Ring(elements, np.float64, found["ring"], found["elements"])

    def make_semaphore(self) -> None:
        """Make the semaphore; one side does."""
        place = ctypes.c_void_p(self.semaphore.ctypes.data)
        if ctypes.CDLL(None).sem_init(place, int(self.shared), 0) != 0:
            raise OSError("no semaphore")


class Segment:
    """The slots between the callback's walk and a worker's, and the worker.

    Parameters
    ----------
    walk
        Words of the walk that the worker runs, `executor.WALK_WORDS` of them.
    context
        The walk's context.
    names
        Of the parts that it runs.
    block
        Samples per block.
    ahead
        Blocks between what goes in and what comes out.
    inputs, outputs
        Addresses of the channels that the walk reads and writes.
    copies
        What is copied when the worker was lapped: address of a state array, of its first content or 0 for
        zeros, bytes.
    settling
        Samples from a reset until the walk's output is right again.
    memory
        For two processes; None: its own.

    Attributes
    ----------
    gives : int64
        Addresses of the channels that the walk writes.
    """

    lane = 1
    priority = 0
    """Real-time priority that its worker was given; 0: none."""

    def __init__(
        self,
        walk: NDArray[np.int64],
        context: NDArray[np.int64],
        names: set[str],
        block: int,
        ahead: int,
        inputs: NDArray[np.int64],
        outputs: NDArray[np.int64],
        copies: Sequence[tuple[int, int, int]],
        settling: int,
        memory: Memory | None = None,
    ) -> None:
        slots = slots_for(ahead)
        self.ahead, self.names, self._context = ahead, names, context
        if memory is None:
            memory = Memory(slots, block, len(inputs), len(outputs))
            memory.make_semaphore()
        self.memory = memory
        self.words = _aligned(SEGMENT_WORDS) if memory.shared else memory.words
        self.slot_inputs, self.slot_outputs = memory.slot_inputs, memory.slot_outputs
        self.in_numbers, self.out_numbers = memory.in_numbers, memory.out_numbers
        self._resets = np.array([copy for copy in copies if copy[2]], np.int64).reshape(-1, 3)
        self.gives = outputs
        self._keep = walk, inputs
        words = self.words
        words[:WALK_WORDS] = walk
        words[SHARED] = memory.words.ctypes.data
        words[BLOCK], words[AHEAD], words[SLOTS] = block, ahead, slots
        words[IN], words[IN_CHANNELS] = inputs.ctypes.data, len(inputs)
        words[OUT], words[OUT_CHANNELS] = outputs.ctypes.data, len(outputs)
        words[SLOT_INPUTS], words[SLOT_OUTPUTS] = self.slot_inputs.ctypes.data, self.slot_outputs.ctypes.data
        words[IN_NUMBERS], words[OUT_NUMBERS] = self.in_numbers.ctypes.data, self.out_numbers.ctypes.data
        words[SEMAPHORE] = memory.semaphore.ctypes.data
        words[RESETS], words[N_RESETS] = self._resets.ctypes.data, len(self._resets)
        words[SETTLING] = -(-settling // block)
        self.keep: object = None
        """What lives as long as the worker's thread."""
        self._thread: threading.Thread | None = None
        self._started = threading.Event()

    def count_in(self, worker: NDArray[np.int64], wake: NDArray[np.int64]) -> None:
        """Count in these sections from now on."""
        self._sections = worker, wake
        self.words[WAKES], self.words[COUNTERS] = wake.ctypes.data, worker.ctypes.data

    def start(self, position: int, keep: object = None) -> None:
        """Start the worker, at the block that begins at a position; ``keep`` lives as long as it does."""
        self.publish_start(position)
        self.words[STOP] = 0
        self.run(position // int(self.words[BLOCK]), keep)

    def publish_start(self, position: int) -> None:
        """Let the block that begins at a position be the first."""
        first = position // int(self.words[BLOCK])
        self.words[FIRST] = first
        self.memory.words[HEAD] = self.memory.words[DONE] = first

    def run(self, first: int, keep: object = None, unsettled: int = 0) -> None:
        """Run the worker in a thread of this process, from the block of a number on."""
        self.words[FIRST], self.words[UNSETTLED] = first, unsettled
        self._context[0] = first * self.words[BLOCK]
        warm_up()
        self.keep = keep
        if self._thread is None:
            self._thread = threading.Thread(
                target=_run, args=(self.words, self), name="rtaudio-worker", daemon=True
            )
            self._thread.start()
        self._started.set()

    def call_first(self, function: Callable[[], object]) -> None:
        """Make the worker's thread, which calls a function, and then waits for `run`; and wait for that call.

        Some libraries make what they need in every thread at the first call from it. What the function raises
        is raised here.
        """
        made: Future[object] = Future()

        def live() -> None:
            try:
                made.set_result(function())
            except Exception as error:
                made.set_exception(error)
            self._started.wait()
            _run(self.words, self)

        self._thread = threading.Thread(target=live, name="rtaudio-worker", daemon=True)
        self._thread.start()
        made.result()

    @property
    def thread(self) -> int:
        """Number of the worker's thread; 0 before it runs."""
        return int(self.memory.words[THREAD])

    @property
    def alive(self) -> bool:
        """Whether the worker runs in a thread of this process."""
        return self._thread is not None and self._started.is_set() and self._thread.is_alive()

    @property
    def progress(self) -> tuple[int, int]:
        """Blocks published and blocks processed."""
        return int(self.memory.words[HEAD]), int(self.memory.words[DONE])

    @property
    def rests(self) -> bool:
        """Whether the worker has done all that there is."""
        published, done = self.progress
        return done >= published

    @property
    def has_lost_priority(self) -> bool:
        """Whether the worker had real-time priority, and has not any more."""
        return bool(self.priority and self.thread) and priority_of(self.thread)[0] == "other"

    def restore_priority(self) -> None:
        """Give the worker its priority again."""
        raise_priority(self.thread, self.priority)

    @property
    def shown(self) -> str:
        """Names of the parts, for messages."""
        return ", ".join(sorted(self.names))

    @property
    def hangs(self) -> bool:
        """Whether the worker is taken to hang, which is counted as a failure of it; to be set."""
        return bool(self._sections[0][NODE_FAILED])

    @hangs.setter
    def hangs(self, hangs: bool) -> None:
        self._sections[0][NODE_FAILED] = hangs

    def stop(self, patience: float) -> bool:
        """Stop the worker; whether it did within ``patience`` seconds. What it uses must stay, if not."""
        if self._thread is None or not self._started.is_set():
            return True
        write_release(self.memory.words, STOP, 1)
        wake(int(self.words[SEMAPHORE]))
        self._thread.join(patience)
        return not self._thread.is_alive()


def slots_for(ahead: int) -> int:
    """Slots that a worker needs that is so many blocks ahead."""
    return max(SMALLEST_SLOTS, power_of_two(2 * ahead))


def _run(words: NDArray[np.int64], keep: object) -> None:
    """A worker's thread. It refers to all that it uses: nothing of that goes before it ends."""
    work(words)


@compiled
def wake(semaphore: int) -> None:
    """`post`, for callers in Python."""
    post(semaphore)


def _aligned(words: int) -> NDArray[np.int64]:
    """Zeros that begin on a cache line."""
    raw = np.zeros(words + LINE, np.int64)
    skip = -(raw.ctypes.data // 8) % LINE
    return raw[skip : skip + words]


@lru_cache
def warm_up() -> None:
    """Compile, or load from the cache, the worker, by letting one stop at once."""
    words, context = np.zeros(SEGMENT_WORDS, np.int64), np.zeros(3, np.int64)
    section = np.zeros(NODE_WORDS, np.int64)
    words[CONTEXT], words[COUNTERS], words[STOP] = context.ctypes.data, section.ctypes.data, 1
    words[SHARED] = words.ctypes.data
    work(words)
    await_slots(np.zeros(0, np.int64), 0, 0)
