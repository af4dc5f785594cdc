"""The file deck: plays a file as the host's input, from any place, in a loop, with cue and pause.

What is about to be heard lies on a tape, a ring of interleaved samples that a reader thread keeps full; loops
are already joined on it, and after the file's end comes silence. A seek or another loop is a second tape: it
is filled from the new place and offered to the callback, which takes it at the start of its next block, in a
crossfade of equal gain. So nothing that lies on the first one has to play out. Pause and play are a ramp in
the callback; while it rests at 0 the tape stands still.

All fades are quintics of 10 ms (`rtaudio.kernel.smoothstep`).
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.errors import FileError, UserError
from rtaudio.executor import LOUDEST
from rtaudio.files import AudioReader
from rtaudio.kernel import FROM, LENGTH, START, TO, resting, settled, smoothstep, turn, value
from rtaudio.native import (
    compiled,
    exchange,
    f32_matrix,
    f64_vector,
    i64_vector,
    load_acquire,
    read_acquire,
    store_release,
    write_release,
)
from rtaudio.ring import Ring, ring_pop, ring_skip, ring_taken

FADE_SECONDS = 0.010
"""Length of the crossfade of a seek and of a loop's join, and of the ramp of pause and play."""
DECLICK_SECONDS = 0.005
"""Time in which the step into a gap in the file, and out of it, decays."""
RING_SECONDS = 4.0
"""Length of a tape: what a busy interpreter or disk may stall."""
READY_SECONDS = 0.25
"""What has to lie on a tape when it is offered."""
CACHED_SECONDS = 2.0
"""Loops up to this length are kept in memory."""
CHUNK = 4096
"""Samples that are read at a time."""
IDLE = 0.02
"""Seconds that the reader waits when the tapes are full."""
PATIENCE = 1.0
"""Seconds that a change waits for the one before it to be over."""

# Words of a deck's state.
(
    NEXT,  # ring that is offered
    NEXT_FROM,  # samples of the tape before, times channels, at which it goes on from that; -1: a seek
    TURN,  # how far a change has come, see below
    OLD,  # ring that fades out
    FADE_AT,  # position at which the crossfade began
    FADE,  # its length, and that of the ramp of pause and play, in samples
    PLAY,  # 1 play, 0 pause: what is asked for
    PLAYING,  # what the ramp goes to
    STARVED,  # 1: the last block found the tape empty
    DECLICK_FROM,  # position at which the step into or out of a gap began to decay
    DECLICK,  # length of the decay in samples; 0: none
    DECK_WORDS,
) = range(12)

NO_TURN, OFFERED, TAKEN_OVER, DONE = range(4)
"""A change: a tape is offered by control, taken over by the callback, and the fade is done."""

WORDS, RAMP, SAMPLES = range(3)
"""Arrays: the words, the ramp of pause and play, the last sample of each channel and the decaying step."""


def deck_arrays(channels: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float32]]:
    """State that plays one tape as it is: what a stream begins with."""
    words = np.zeros(DECK_WORDS, np.int64)
    words[PLAY] = words[PLAYING] = 1
    return words, resting([1.0])[0], np.zeros((2, channels), np.float32)


# ------------------------------------------------------------------------------------------ in the callback


@compiled
def current_tape(deck: int, tape: int, at: int) -> int:
    """The ring that is heard from position ``at`` on: the one before, or one that is offered."""
    words = i64_vector(deck, WORDS)
    if load_acquire(words, TURN) != OFFERED or not exchange(words, TURN, OFFERED, TAKEN_OVER):
        return tape
    coming: int = words[NEXT]
    if words[NEXT_FROM] >= 0:
        ring_skip(coming, ring_taken(tape) - words[NEXT_FROM])
    if words[PLAYING] == 0 and settled(f64_vector(deck, RAMP).ctypes.data, 0, at):
        store_release(words, TURN, DONE)
    else:
        words[OLD], words[FADE_AT] = tape, at
    return coming


@compiled
def _decay(deck: int, x: Any, begin: int, end: int, at: int, channels: int) -> None:
    """Add what is left of a step to the samples from ``begin`` to ``end`` of a block at position ``at``."""
    words, offset = i64_vector(deck, WORDS), f32_matrix(deck, SAMPLES)[1]
    for i in range(begin, min(end, words[DECLICK_FROM] + words[DECLICK] - at)):
        left = np.float32(1.0 - smoothstep((at + i - words[DECLICK_FROM]) / words[DECLICK]))
        for c in range(channels):
            x[i * channels + c] += left * offset[c]


@compiled
def _break(deck: int, x: Any, i: int, at: int, channels: int) -> None:
    """Let the step from the last sample to sample ``i`` of a block decay from there on."""
    words, last = i64_vector(deck, WORDS), f32_matrix(deck, SAMPLES)
    for c in range(channels):
        step = (x[(i - 1) * channels + c] if i > 0 else last[0, c]) - x[i * channels + c]
        last[1, c] = step if abs(step) <= LOUDEST else np.float32(0)
    words[DECLICK_FROM] = at + i


@compiled
def read_tape(deck: int, tape: int, at: int, x: Any, other: Any, n: int, channels: int) -> int:
    """Take a block at position ``at`` from the tape that is heard: ``n * channels`` interleaved samples.

    ``other`` is room for as many. Returns how many samples were not there.
    """
    words, ramp = i64_vector(deck, WORDS), f64_vector(deck, RAMP)
    ramps, play = ramp.ctypes.data, load_acquire(words, PLAY)
    if play != words[PLAYING]:
        turn(ramps, 0, at, float(play), 0, float(words[FADE]))
        words[PLAYING] = play
    wanted = n if play != 0 else max(0, min(n, int(ramp[START] + ramp[LENGTH]) - at))
    there = ring_pop(tape, x, wanted * channels) // channels
    for i in range(there * channels, n * channels):
        x[i] = np.float32(0)
    faded = at - words[FADE_AT]
    if words[OLD] != 0 and faded < words[FADE]:
        old = ring_pop(words[OLD], other, wanted * channels)
        for i in range(old, wanted * channels):
            other[i] = np.float32(0)
        for i in range(wanted):
            share = smoothstep(min(1.0, (faded + i) / words[FADE]))
            for j in range(i * channels, (i + 1) * channels):
                x[j] = x[j] if share == 1.0 else np.float32(other[j] + share * (x[j] - other[j]))
        if faded + n >= words[FADE]:
            words[OLD] = 0
            store_release(words, TURN, DONE)
    if not settled(ramps, 0, at):
        for i in range(wanted):
            level = np.float32(value(ramps, 0, at + i))
            for j in range(i * channels, (i + 1) * channels):
                x[j] *= level
    if words[STARVED] != 0 and there > 0:
        _break(deck, x, 0, at, channels)
        words[STARVED] = 0
    _decay(deck, x, 0, there, at, channels)
    if words[STARVED] == 0 and there < wanted:
        _break(deck, x, there, at, channels)
        words[STARVED] = 1
    _decay(deck, x, there, n, at, channels)
    last = f32_matrix(deck, SAMPLES)
    for c in range(channels):
        last[0, c] = x[(n - 1) * channels + c]
    return wanted - there


@compiled
def _withdraw(words: Any) -> bool:
    """Take an offer back; False if there is none, or it was taken over."""
    withdrawn: bool = exchange(words, TURN, OFFERED, NO_TURN)
    return withdrawn


# ------------------------------------------------------------------------------------------ what is on tape


@dataclass(frozen=True)
class _Loop:
    """A part of the file that repeats, in samples."""

    begin: int
    end: int
    before: NDArray[np.float32]
    """(channels, fade): what lies before the begin, into which the end fades."""
    cached: NDArray[np.float32] | None
    """(channels, end - begin), if it is short."""


@dataclass
class _Tape:
    """A ring, and what of the file lies on it."""

    ring: Ring
    file: AudioReader
    at: int
    """Sample of the file that comes on it next."""
    loop: _Loop | None
    base: int = -1
    """Samples of the tape before at which this one goes on from it; -1: it begins with a seek."""
    written: int = 0
    end: int | None = None
    """Samples written when the file ended; None: it has not."""
    broken: bool = False
    """The file could not be read: silence follows."""
    places: list[tuple[int, int]] = field(default_factory=list)
    """Samples written, and the sample of the file there, wherever that does not go on from the last. It is
    replaced, never changed: whoever asks for the position looks without a lock."""


class Deck:
    """A file as the host's input. Every method may be called from any thread; properties never wait.

    Times are in seconds of the file, exact to the sample. A change is heard with the next block, in a
    crossfade of 10 ms: the methods return when all is read that it takes, some milliseconds, or seconds where
    the file has no index. `soon` leaves it to the reader's thread.

    A loop is as long as ``end - begin``, to the sample. In the last 10 ms before its end it fades into what
    lies before its begin, as far as there is such; at the start of the file there is not, and a loop over the
    whole file joins its end to its start as they are.

    Parameters
    ----------
    file
        At the rate and channel count of the graph. Nobody else reads it.
    words, ramp
        Of `deck_arrays`, to which the callback looks.
    block
        Samples that the callback takes at once.
    start
        Where to begin, with a ramp unless that is 0.
    loop
        True for the whole file, or its begin and end.

    Raises
    ------
    UserError
        A time beyond the file, a loop that ends before it begins or is shorter than 10 ms.
    """

    def __init__(
        self,
        file: AudioReader,
        words: NDArray[np.int64],
        ramp: NDArray[np.float64],
        block: int,
        start: float = 0.0,
        loop: bool | tuple[float, float] = False,
    ) -> None:
        check_places(file, start, loop)
        self.rate, self.samples = file.rate, file.samples
        self.cue_point = start
        """Where `cue` goes."""
        self.problems: list[str] = []
        """What went wrong without stopping the sound, in words."""
        self.changed: Callable[[], None] = lambda: None
        """Called after every change."""
        self.changes = 0
        """Number of changes so far."""
        self._wanted: list[tuple[Callable[[], None], dict[str, Any]]] = []
        """Changes that wait, the one that is being made first, and what will be: replaced, never changed."""
        self._queue, self._woken = threading.Lock(), threading.Event()
        self.file, self._at = file, 0
        self._channels = file.channels
        self._words, self._ramp = words, ramp
        self._fade = words[FADE] = round(FADE_SECONDS * self.rate)
        words[DECLICK] = round(DECLICK_SECONDS * self.rate)
        words[DECLICK_FROM] = -words[DECLICK]
        if start > 0.0:
            ramp[[FROM, TO, START, LENGTH]] = 0.0, 1.0, 0.0, self._fade
        self._capacity = max(round(RING_SECONDS * self.rate), 2 * (block + CHUNK))
        self._ready = min(self._capacity - CHUNK, max(round(READY_SECONDS * self.rate), 2 * block))
        self._lock, self._door = threading.Lock(), threading.Lock()
        self._loop = self._looped(*self._bounds(loop)) if loop else None
        begin = round(start * self.rate)
        self.length = None if loop else self.samples - begin
        """Samples from the start of the run to the end of the file; None where that is not known before."""
        self._tape = self._new_tape(begin)
        self._coming: _Tape | None = None
        _withdraw(words)  # Compiles: the first change is not to wait for that.
        self._taken(self._tape)

    # ------------------------------------------------------------------------------------------ control

    @property
    def position(self) -> float:
        """What is read now, in seconds; it is heard the latency of the graph later."""
        return float(self._will_be("position", lambda: self._place(self._heard()) / self.rate))

    @property
    def coming(self) -> AudioReader:
        """The file that plays when the changes are made that wait; not to be read."""
        found: AudioReader = self._will_be("file", lambda: self.file)
        return found

    @property
    def duration(self) -> float:
        """Length of the file in seconds."""
        return self.samples / self.rate

    @property
    def playing(self) -> bool:
        """Whether it plays, or is about to; False: paused."""
        return bool(self._words[PLAY])

    @property
    def loop(self) -> tuple[float, float] | None:
        """Begin and end of the loop, or None."""
        found: tuple[float, float] | None = self._will_be("loop", self._present_loop)
        return found

    def _present_loop(self) -> tuple[float, float] | None:
        loop = self._loop
        return None if loop is None else (loop.begin / self.rate, loop.end / self.rate)

    @property
    def ended(self) -> bool:
        """Whether the file has come to its end, or cannot be read any further, and silence follows."""
        tape = self._heard()
        return tape.end is not None and self._taken(tape) >= tape.end

    def soon(self, change: Callable[[], None], **will_be: Any) -> None:
        """Let the reader's thread make a change; what it refuses is a problem, told.

        Of several that wait, follow on each other and decide the same, only the last is made.

        Parameters
        ----------
        change
            Calls one of the methods.
        **will_be
            ``position`` and ``loop`` as they will be: they are that from now on; and ``file``, see `coming`.
        """
        with self._queue:
            waiting = self._wanted[1:]
            if waiting and waiting[-1][1].keys() == will_be.keys():
                waiting.pop()
            self._wanted = [*self._wanted[:1], *waiting, (change, will_be)]
        self._woken.set()

    def _make_wanted(self, stop: threading.Event) -> None:
        """Make the changes that wait."""
        while self._wanted and not stop.is_set():
            try:
                self._wanted[0][0]()
            except UserError as error:
                if not stop.is_set():
                    self.problems.append(str(error))
            with self._queue:
                self._wanted = self._wanted[1:]

    def _will_be(self, what: str, now: Callable[[], Any]) -> Any:
        """What the changes that wait make of something; if none does, what it is after that look."""
        found = [will_be[what] for _, will_be in self._wanted if what in will_be]
        return found[-1] if found else now()

    def seek(self, to: float) -> None:
        """Go on from another place; a paused deck stays paused. `UserError` beyond the file."""
        self._change(self._sample(to), self._loop)

    def set_cue(self, at: float | None = None) -> None:
        """Set the cue point, to the position if it is not given."""
        self.cue_point = self.position if at is None else self._sample(at) / self.rate
        self.changes += 1

    def cue(self) -> None:
        """Go to the cue point: at first, where the deck started."""
        self.seek(self.cue_point)

    def set_loop(self, begin: float = 0.0, end: float | None = None) -> None:
        """Repeat a part of the file from its end on, which without ``end`` is that of the file.

        If that lies behind, go to its begin at once.
        """
        bounds = self._bounds((begin, self.duration if end is None else end))
        with self._door, self._lock:
            loop = self._looped(*bounds)
        self._change(None, loop)

    def clear_loop(self) -> None:
        """Play on beyond the end of the loop."""
        self._change(None, None)

    def check(self, file: AudioReader) -> None:
        """Refuse a file that `load` would not take, as that does."""
        if file.rate != self.rate:
            raise ValueError(f"the file is at {file.rate} Hz, the deck at {self.rate}")
        if file.channels != self._channels and 1 not in (file.channels, self._channels):
            has = f"{file.info.path.name} has {file.channels} channels, what plays {self._channels}"
            raise UserError(f"{has}: start a host with --file for it")

    def load(self, file: AudioReader) -> None:
        """Play another file from its start, which is its cue point; the one before is closed.

        A loop over the whole file is one over the whole of this; any other ends. A single channel is heard in
        all of the graph's, and several are averaged for a single one.

        Raises
        ------
        ValueError
            The file is not at the deck's rate.
        UserError
            It has other channels, or cannot be read: what plays goes on.
        """
        self.check(file)
        self._change(0, None, file)

    def close(self) -> None:
        """Close the file; nobody reads it any more."""
        self.file.close()

    def pause(self) -> None:
        """Fade out, and stand still at the end of the ramp."""
        self._switch(0)

    def play(self) -> None:
        """Fade in and go on; from the beginning, where the file is over."""
        if self.ended:
            self.soon(lambda: self.seek(0.0), position=0.0)
        self._switch(1)

    def _switch(self, play: int) -> None:
        if play != self._words[PLAY]:
            write_release(self._words, PLAY, play)
            self.length = None
            self.changes += 1
            self.changed()

    def _change(self, to: int | None, loop: _Loop | None, file: AudioReader | None = None) -> None:
        """Let a tape be heard that begins at ``to``; None: where the present one will then have come to.

        With a ``file``, it is of that, and the loop is what the loop before is there.
        """
        with self._door, self._lock:
            waiting = self._coming if _withdraw(self._words) else None
            self._coming = self._coming if waiting is None else None
            self._await_turn()
            base = self._taken(self._tape)
            place = self._place(self._tape, base)
            if file is not None:
                loop = self._take_file(file)
            if to is None:
                if waiting is not None and waiting.base < 0:
                    to = place = waiting.places[0][1]
                if loop is not None and place >= loop.end:
                    to = loop.begin
            self._loop = loop
            tape = self._new_tape(place if to is None else to, base if to is None else -1)
            while tape.written < self._ready + (self._taken(self._tape) - base if to is None else 0):
                if not self._fill(tape):
                    break
            self._words[NEXT] = tape.ring.address
            self._words[NEXT_FROM] = -1 if to is not None else base * self._channels
            self._coming, self.length = tape, None
            write_release(self._words, TURN, OFFERED)
        self.changes += 1
        self.changed()

    def _take_file(self, file: AudioReader) -> _Loop | None:
        """Read another file from now on; returns its loop. No tape of the one before gets any more of it."""
        loop = self._loop
        whole = loop is not None and (loop.begin, loop.end) == (0, self.samples)
        before, self.file = self.file, file
        self._at = 0
        try:
            loop = self._looped(0, file.samples) if whole and file.samples >= self._fade else None
        except FileError:
            self.file, self._at = before, -1
            raise
        before.close()
        self.samples, self.cue_point = file.samples, 0.0
        return loop

    def _await_turn(self) -> None:
        """Wait until the fade of the last change is over."""
        deadline = time.monotonic() + PATIENCE
        while read_acquire(self._words, TURN) == TAKEN_OVER:
            if time.monotonic() > deadline:
                raise UserError("the deck does not move: no sound runs")
            time.sleep(0.001)
        self._settle()

    def _settle(self) -> None:
        """Forget the tape that has faded out."""
        if self._coming is not None and read_acquire(self._words, TURN) == DONE:
            self._tape, self._coming = self._coming, None
            write_release(self._words, TURN, NO_TURN)

    def _sample(self, seconds: float) -> int:
        check_place(self.file, seconds)
        return round(seconds * self.rate)

    def _bounds(self, loop: bool | tuple[float, float]) -> tuple[int, int]:
        check_places(self.file, 0.0, loop)
        begin, end = (0.0, self.duration) if isinstance(loop, bool) else loop
        return round(begin * self.rate), round(end * self.rate)

    # ------------------------------------------------------------------------------------------ reading

    @property
    def address(self) -> int:
        """Address of the ring that is heard first."""
        return self._tape.ring.address

    def fill(self) -> None:
        """Fill the tapes; before sound runs, and then by `run` alone."""
        while self._fill_one():
            pass

    def run(self, stop: threading.Event) -> None:
        """Keep the tapes full, and make the changes that are wanted, until ``stop``: the work of a thread."""
        while not stop.is_set():
            self._woken.clear()
            self._make_wanted(stop)
            if not self._fill_one():
                self._woken.wait(IDLE)

    def _fill_one(self) -> bool:
        """Read a chunk, if there is room for one. Who waits for a change goes first."""
        with self._door:
            self._lock.acquire()
        try:
            self._settle()
            return (self._coming is not None and self._fill(self._coming)) or self._fill(self._tape)
        finally:
            self._lock.release()

    def _new_tape(self, at: int, base: int = -1) -> _Tape:
        ring = Ring(self._capacity * self._channels)
        return _Tape(ring, self.file, at, self._loop, base, places=[(0, at)])

    def _fill(self, tape: _Tape) -> bool:
        """Put the next samples on a tape; False if there is no room, or it is of a file before."""
        channels = self._channels
        if tape.ring.writable < CHUNK * channels or tape.file is not self.file:
            return False
        loop = tape.loop if tape.loop is not None and tape.at < tape.loop.end else None
        n = min(CHUNK, (self.samples if loop is None else loop.end) - tape.at)
        if n <= 0 or tape.broken:
            if tape.end is None and (not tape.broken or tape.loop is None):
                tape.end = tape.written
            n, block = CHUNK, np.zeros((channels, CHUNK), np.float32)
        else:
            block = self._block(tape, n, loop)
        tape.ring.push(np.ascontiguousarray(block.T).ravel())
        tape.written += n
        tape.at = min(tape.at + n, self.samples)
        if loop is not None and tape.at == loop.end:
            tape.at = loop.begin
            taken = self._taken(tape)
            tape.places = [
                *tape.places[bisect_right(tape.places, (taken, self.samples)) - 1 :],
                (tape.written, tape.at),
            ]
        return True

    def _block(self, tape: _Tape, n: int, loop: _Loop | None) -> NDArray[np.float32]:
        """The next ``n`` samples for a tape, (channels, n): of a loop, joined."""
        try:
            if loop is not None and loop.cached is not None and tape.at >= loop.begin:
                at = tape.at - loop.begin
                block = loop.cached[:, at : at + n].copy()
            else:
                block = self._read(tape.at, n)
        except FileError as error:
            tape.broken = True
            self.problems.append(f"{error}; silence follows")
            return np.zeros((self._channels, n), np.float32)
        if loop is not None:
            fade = loop.before.shape[1]
            first = max(0, loop.end - fade - tape.at)
            into = np.arange(first, n) + tape.at - (loop.end - fade)
            block[:, first:] += _quintic(into / max(1, fade)) * (loop.before[:, into] - block[:, first:])
        return block

    def _looped(self, begin: int, end: int) -> _Loop:
        """A loop over these samples; what repeated reading would cost is read here."""
        fade = min(self._fade, begin, end - begin)
        short = end - begin <= CACHED_SECONDS * self.rate
        try:
            before = self._read(begin - fade, fade) if fade else np.zeros((self._channels, 0), np.float32)
            return _Loop(begin, end, before, self._read(begin, end - begin) if short else None)
        except FileError as error:
            raise FileError(f"{error}; choose another loop") from None

    def _read(self, at: int, n: int) -> NDArray[np.float32]:
        if at != self._at:
            self.file.seek(at)
        self._at = -1  # if that fails
        block = self.file.read(n)
        self._at = at + n
        if block.shape[0] == self._channels:
            return block
        if block.shape[0] == 1:
            return block.repeat(self._channels, axis=0)
        mean: NDArray[np.float32] = np.mean(block, axis=0, keepdims=True, dtype=np.float32)
        return mean

    def _taken(self, tape: _Tape) -> int:
        return tape.ring.taken // self._channels

    def _heard(self) -> _Tape:
        """The tape that is heard, or is about to be after a seek."""
        coming = self._coming
        if coming is None or (coming.base >= 0 and read_acquire(self._words, TURN) == OFFERED):
            return self._tape
        return coming

    def _place(self, tape: _Tape, taken: int | None = None) -> int:
        """Sample of the file that is taken from a tape next."""
        # In this order: a place that is dropped meanwhile lies before what is taken then.
        places = tape.places
        taken = self._taken(tape) if taken is None else taken
        written, at = places[max(0, bisect_right(places, (taken, self.samples)) - 1)]
        return min(at + taken - written, self.samples)


def check_place(file: AudioReader, seconds: float) -> None:
    """Refuse a place that a file does not have."""
    ends = f"{file.info.path.name} lasts {file.samples / file.rate:.3f} s"
    if not (math.isfinite(seconds) and 0 <= round(seconds * file.rate) < file.samples):
        raise UserError(f"there is no place at {seconds:g} s: {ends}")


def check_places(file: AudioReader, start: float, loop: bool | tuple[float, float]) -> None:
    """Refuse a start or a loop that a file does not have."""
    check_place(file, start)
    if loop is False:
        return
    begin, end = (0.0, file.samples / file.rate) if loop is True else loop
    check_place(file, begin)
    if not (math.isfinite(end) and round(end * file.rate) <= file.samples):
        ends = f"{file.info.path.name} lasts {file.samples / file.rate:.3f} s"
        raise UserError(f"a loop cannot end at {end:g} s: {ends}")
    if end < begin:
        raise UserError(f"a loop from {begin:g} to {end:g} s ends before it begins")
    if round(end * file.rate) - round(begin * file.rate) < round(FADE_SECONDS * file.rate):
        raise UserError(f"a loop from {begin:g} to {end:g} s is too short (at least {FADE_SECONDS:g} s)")
    if start >= end:
        raise UserError(f"the start at {start:g} s lies behind the loop's end at {end:g} s: start before it")


def _quintic(u: NDArray[np.float64]) -> NDArray[np.float32]:
    """`smoothstep` of an array."""
    return (u * u * u * (u * (u * 6.0 - 15.0) + 10.0)).astype(np.float32)
