"""The source ``say``: texts are spoken into a ring by a thread, and the kernel plays what lies in it.

The thread keeps the ring full, sentence by sentence and chunk by chunk, resampled to the host's rate. What
has to be quick is done in the kernel: to cancel, it fades out over 5 ms and passes over what lies in the
ring; a pause is the same fade, and then the ring stands still.

Where words and sentences begin in the ring is kept with it, so that what is heard is known at any time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rtaudio.errors import UserError
from rtaudio.kernel import channel, kernel, position, settled, smoothstep, value
from rtaudio.native import (
    compiled,
    f32_vector,
    i64_vector,
    int64_at,
    load_acquire,
    now_ns,
    read_acquire,
    sleep_until_ns,
    store_release,
    write_release,
)
from rtaudio.processor import Parameter, Processor
from rtaudio.ring import Ring, ring_pop, ring_skip, ring_taken

if TYPE_CHECKING:
    from engines.speech.reading import Mark, Reading
    from engines.speech.speaker import Speaker

RING_SECONDS = 4.0
"""Length of the ring: what a busy interpreter may stall."""
READY_SECONDS = 0.25
"""What lies in the ring when a text begins, if it is that long: it lasts while the next piece is made."""
FADE_SECONDS = 0.005
CHUNK = 4096
"""Samples that are put into the ring at a time."""
PROBLEMS = 8
"""Of a queue, and notes, that are kept."""
IDLE = 0.02
"""Seconds that the thread waits where the ring is full."""
KEPT = {"word": 24, "phone": 64}
"""Of what was heard, by kind: the last ones are told."""
COMING = 1024
"""Of what is to be heard, of each kind, at most."""
NAP_NS = 200_000
"""Nanoseconds that an offline run sleeps where the ring is empty."""

# What a queue's thread and a kernel share, on cache lines of their own.
(
    PENDING,  # texts that are not in the ring as a whole
    BUSY,  # 1: the ring is in the middle of a text
    ALLOWED,  # samples, ever written, that may be played
    CANCELLED,  # samples, ever written, to be passed over
    PAUSED,
    UNDERFLOWS,  # blocks that found the ring empty in the middle of a text
    SHARED_WORDS,
) = range(0, 112, 16)

COUNTS, SCRATCH = range(2)
CHANNELS, RING, SHARED, FADE, LEVEL_AT, AHEAD = range(6)
"""Words of the counts: channels; addresses of the ring and of what is shared, or 0; length of the fade in
samples, and how far it is from silence; samples from a place in the ring to when it is played."""
LEVEL = 0
OFFLINE = 2
"""Of the context."""


@compiled
def _take(counts: Any, samples: Any, n: int, offline: bool) -> int:
    """Fill ``n`` samples from the ring, with the fades of cancel and pause; how many it had."""
    ring, shared = counts[RING], int64_at(counts[SHARED], SHARED_WORDS)
    if offline:
        while load_acquire(shared, ALLOWED) - ring_taken(ring) < n and load_acquire(shared, PENDING) > 0:
            sleep_until_ns(now_ns() + NAP_NS)
    paused, cancelled = load_acquire(shared, PAUSED), load_acquire(shared, CANCELLED) - ring_taken(ring)
    level, fade = counts[LEVEL_AT], counts[FADE]
    if cancelled > 0 and level == 0:
        ring_skip(ring, cancelled)
        cancelled = 0
        level = fade if paused == 0 else 0
    sounds = paused == 0 and cancelled <= 0
    wanted = n if sounds else min(n, level)
    if cancelled > 0:
        wanted = min(wanted, cancelled)
    there = ring_pop(ring, samples, max(0, min(wanted, load_acquire(shared, ALLOWED) - ring_taken(ring))))
    for i in range(there):
        level = min(fade, level + 1) if sounds else max(0, level - 1)
        if level < fade:
            samples[i] *= np.float32(smoothstep(level / fade))
    for i in range(there, n):
        samples[i] = np.float32(0)
    if not sounds and there < wanted:
        level = 0
    if sounds and there < n and load_acquire(shared, BUSY) == 1:
        store_release(shared, UNDERFLOWS, shared[UNDERFLOWS] + 1)
    counts[LEVEL_AT] = level
    return there


@kernel
def say_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Say`."""
    counts, samples, at = i64_vector(state, COUNTS), f32_vector(state, SCRATCH), position(context)
    if counts[RING] == 0:
        for i in range(n):
            samples[i] = np.float32(0)
    else:
        before = ring_taken(counts[RING])
        there = _take(counts, samples, n, int64_at(context, 3)[OFFLINE] != 0)
        after = ring_taken(counts[RING])
        if after != before:  # What was played last keeps its place in a silence.
            store_release(counts, AHEAD, at + there - after)
    still, level = settled(params, LEVEL, at), value(params, LEVEL, at)
    for c in range(counts[CHANNELS]):
        y = channel(outputs, c, n)
        if still:
            for i in range(n):
                y[i] = np.float32(level * samples[i])
        else:
            for i in range(n):
                y[i] = np.float32(value(params, LEVEL, at + i) * samples[i])
    return 0


@dataclass
class Text:
    """A text in a queue."""

    number: int
    """From 1, as they were added."""
    make: Callable[[], Reading | None]
    """Makes it ready to be read, in the queue's thread; `UserError` where it cannot be. None: it was only to
    be done, and nothing is to be read."""
    reading: Reading | None = None
    """Once it is ready."""


@dataclass(frozen=True)
class Heard:
    """What is heard of a queue."""

    text: Text | None = None
    """None: nothing."""
    sentence: tuple[int, int] | None = None
    word: tuple[int, int] | None = None
    """Where they begin and end in the text, in codepoints."""


SILENCE = Heard()


class Queue:
    """Texts that wait to be spoken, and the thread that speaks them into a ring. Any thread may call.

    `open` comes before anything else.

    Attributes
    ----------
    problems : collections.deque
        The last of what could not be spoken, texts, sentences and characters, and why, in words.
    notes : collections.deque
        The last of what was read in another way than it is written, in words.
    """

    def __init__(self) -> None:
        self.rate = 0
        self._shared = np.zeros(SHARED_WORDS, np.int64)
        self._ring: Ring | None = None
        self.problems: deque[str] = deque(maxlen=PROBLEMS)
        self.notes: deque[str] = deque(maxlen=PROBLEMS)
        self._texts: deque[Text] = deque()
        self._marks: deque[tuple[int, Text, Mark | None]] = deque()
        """What begins, in order: after how many samples; None: the text is over."""
        self._heard = SILENCE
        self._coming: dict[str, deque[tuple[int, str]]] = {kind: deque(maxlen=COMING) for kind in KEPT}
        self._begun: dict[str, deque[tuple[int, str]]] = {
            kind: deque(maxlen=count) for kind, count in KEPT.items()
        }
        """Words and phones, by kind: after how many samples, or since which position."""
        self._changed = threading.Condition()
        self._written = self._turn = self._number = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def open(self, rate: int) -> None:
        """Make the ring, for a rate in Hz."""
        self.rate, self._ring = rate, Ring(round(RING_SECONDS * rate))

    @property
    def addresses(self) -> tuple[int, int]:
        """Of the ring and of what is shared with the kernel."""
        assert self._ring is not None  # noqa: S101 - a mistake in code that uses it
        return self._ring.address, self._shared.ctypes.data

    @property
    def waiting(self) -> int:
        """Texts that are not in the ring as a whole."""
        return read_acquire(self._shared, PENDING)

    @property
    def written(self) -> int:
        """Samples that have been put into the ring."""
        return self._written

    @property
    def taken(self) -> int:
        """Samples that have been played or passed over."""
        return 0 if self._ring is None else self._ring.taken

    @property
    def underflows(self) -> int:
        """Blocks that found the ring empty in the middle of a text."""
        return read_acquire(self._shared, UNDERFLOWS)

    @property
    def played(self) -> bool:
        """Whether all texts have been played."""
        with self._changed:
            written = self._written
            return not self.waiting and self.taken >= written

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return read_acquire(self._shared, PAUSED) == 1

    @property
    def heard(self) -> Heard:
        """What has been played last of what is not over yet."""
        with self._changed:
            self._follow()
            return self._heard

    def begun(self, ahead: int) -> dict[str, list[tuple[int, str]]]:
        """Words and phones that have been played lately, by kind, see `engines.speech.reading.Span`: since
        when, as a position of the graph, and their names. A place in the ring is played ``ahead`` samples
        later.
        """
        with self._changed:
            taken = self.taken
            for kind, coming in self._coming.items():
                while coming and coming[0][0] < taken:
                    at, name = coming.popleft()
                    self._begun[kind].append((at + ahead, name))
            return {kind: list(found) for kind, found in self._begun.items()}

    def _follow(self) -> None:
        """Take the marks that have been played; with the lock held."""
        taken = self.taken
        while self._marks and self._marks[0][0] < taken:
            _, text, mark = self._marks.popleft()
            if mark is None:
                self._heard = SILENCE
            elif mark.kind == "sentence":
                self._heard = Heard(text, (mark.begin, mark.end))
            else:
                self._heard = Heard(text, self._heard.sentence, (mark.begin, mark.end))

    def add(self, reading: Reading | Callable[[], Reading]) -> int:
        """Let a text, or what makes it ready, follow those that wait; returns its number, from 1."""
        make = reading if callable(reading) else lambda: reading
        with self._changed:
            self._number += 1
            self._append(Text(self._number, make))
            return self._number

    def prepare(self, work: Callable[[], None]) -> None:
        """Let something be done after the texts that wait, in the thread that speaks them."""
        with self._changed:
            self._append(Text(0, work))

    def _append(self, text: Text) -> None:
        self._texts.append(text)
        self._count()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="rtaudio-say", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _count(self) -> None:
        """Tell the kernel how many texts there are."""
        write_release(self._shared, PENDING, sum(text.number > 0 for text in self._texts))

    def cancel(self) -> None:
        """Fall silent, within one block, and forget what waits."""
        with self._changed:
            self._turn += 1
            self._texts.clear()
            self._marks.clear()
            self._heard = SILENCE
            for kind, coming in self._coming.items():
                begun = self._begun[kind]
                sounds = bool(coming) or bool(begun and begun[-1][1])
                coming.clear()
                if sounds:
                    coming.append((self._written - 1, ""))
            write_release(self._shared, CANCELLED, self._written)
            write_release(self._shared, BUSY, 0)
            self._count()
            self._changed.notify_all()

    def pause(self) -> None:
        """Fade out, and stand still."""
        write_release(self._shared, PAUSED, 1)

    def play(self) -> None:
        """Go on after `pause`."""
        write_release(self._shared, PAUSED, 0)

    def wait_ready(self, seconds: float | None = None) -> None:
        """Wait until a quarter of a second of sound is there, or all, at most some seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self.waiting or self._left() >= self._ready, seconds)

    @property
    def _ready(self) -> float:
        """Samples that lie in the ring when a text begins."""
        return READY_SECONDS * self.rate

    def _left(self) -> int:
        """Samples in the ring that are to be played."""
        return self._written - max(self.taken, int(self._shared[CANCELLED]))

    def close(self) -> None:
        """End the thread, after the sentence that it speaks. Closing again does nothing."""
        self.cancel()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    # ------------------------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._texts or self._closed)
                if self._closed:
                    return
                text, turn = self._texts[0], self._turn
            try:
                text.reading = text.make()
                if text.reading is not None:
                    self._speak(text, text.reading, turn)
            except UserError as error:
                self._fail(text, str(error))
            except Exception as error:  # a voice's, say: no reason to stop the others
                self._fail(text, f"{type(error).__name__}: {error}")
            with self._changed:
                if turn == self._turn:
                    self._texts.popleft()
                    self._marks.append((self._written - 1, text, None))
                    write_release(self._shared, ALLOWED, self._written)
                    write_release(self._shared, BUSY, 0)
                    self._count()
                self._changed.notify_all()

    def _fail(self, text: Text, problem: str) -> None:
        self.problems.append(problem)
        if text.reading is not None:
            text.reading.problems.append(problem)

    def _speak(self, text: Text, reading: Reading, turn: int) -> None:
        import soxr

        up = soxr.ResampleStream(reading.voice.rate, self.rate, 1, quality="HQ")
        same = reading.voice.rate == self.rate
        start, scale = self._written, self.rate / reading.voice.rate
        marks = problems = notes = 0
        for samples in reading:
            with self._changed:
                if turn != self._turn:
                    return
                begun = reading.marks[marks:]
                self._marks += [(start + round(scale * mark.sample), text, mark) for mark in begun]
                self._follow()
                self._announce(reading, start, scale)
            self.problems += reading.problems[problems:]
            self.notes += reading.notes[notes:]
            marks, problems, notes = len(reading.marks), len(reading.problems), len(reading.notes)
            if not self._put(samples if same else up.resample_chunk(samples), turn):
                return
        with self._changed:
            if turn == self._turn:
                self._announce(reading, start, scale)
        self.problems += reading.problems[problems:]
        self.notes += reading.notes[notes:]
        if not same:
            self._put(up.resample_chunk(np.zeros(0, np.float32), last=True), turn)

    def _announce(self, reading: Reading, start: int, scale: float) -> None:
        """Keep what is to be heard, of a reading that starts at a place of the ring; with the lock held."""
        spans, reading.spans = reading.spans, []
        for span in spans:
            self._coming[span.kind].append((start + round(scale * span.sample), span.name))

    def _put(self, samples: NDArray[np.float32], turn: int) -> bool:
        """Put samples into the ring as there is room; False if they are not wanted any more."""
        assert self._ring is not None  # noqa: S101 - `open` starts the thread
        for start in range(0, len(samples), CHUNK):
            piece = np.ascontiguousarray(samples[start : start + CHUNK])
            with self._changed:
                while turn == self._turn and not self._ring.push(piece):
                    self._changed.wait(IDLE)
                if turn != self._turn:
                    return False
                self._written += len(piece)
                if self._shared[BUSY] or self._left() >= self._ready:
                    write_release(self._shared, ALLOWED, self._written)
                    write_release(self._shared, BUSY, 1)
                self._changed.notify_all()
        return True


class Say(Processor):
    """A text, spoken from the beginning of the run; the same on all channels, silence after its end.

    Offline the run waits for the voice. Live, some of the text is spoken before the sound begins, the rest
    while it runs; where the voice is too slow, there is a gap.

    A voice whose network makes noise of its own, as most of Piper's do, never speaks twice the same. An edit
    that makes the node anew begins the text anew.

    While it runs it takes lines: ``say`` and ``read`` let a text, or a file of text, follow those that wait;
    ``hush`` ends all of them within a block; ``use`` sets how texts that come are spoken.
    """

    id = "say"
    summary = "Source of speech"
    inputs = ()
    fallback = None
    unity = None
    parameters = (
        Parameter("level", 0.0, -120.0, 24.0, "dB", "dB", silence=True, doc="gain; the minimum is silence"),
        Parameter("text", "", scale="text", automatable=False, doc="what to say"),
        Parameter(
            "voice", "", scale="text", automatable=False, doc="see 'rtaudio voices'; by default, lang's"
        ),
        Parameter(
            "lang", "auto", scale="choice", automatable=False, choices=("auto", "en", "bn"), doc="of the text"
        ),
        Parameter(
            "speaker", "", scale="text", automatable=False, doc="of a voice of several: name or number"
        ),
        Parameter("factor", 1.0, 0.25, 4.0, "", "log", automatable=False, doc="how much faster"),
    )
    lines: ClassVar[Mapping[str, str]] = {
        "say": "TEXT",
        "read": "FILE",
        "hush": "",
        "pause": "",
        "resume": "",
        "use": "SETTING VALUE",
    }
    tolerance = 1e-6
    KERNEL = say_kernel
    queue: ClassVar[Queue | None] = None
    """Of the caller, in place of one of its own, see `source_of`."""

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: counts; scratch."""
        self._end_speech()
        if self.queue is None:
            self._begin_speech()
        speech = self._speech if self.queue is None else self.queue
        fade = round(FADE_SECONDS * self.rate)
        counts = np.array([self.channels, *speech.addresses, fade, fade, 0], np.int64)
        return counts, np.zeros(self.block, np.float32)

    _speech: Queue
    """Of its own."""
    _speaker: Speaker | None = None

    def _begin_speech(self) -> None:
        """Speak the text into a new queue, until some is there."""
        from engines.speech.speaker import Speaker

        self._speech = Queue()
        self._speech.open(self.rate)
        self._speaker = Speaker(self._speech, self.parameters, self.values)
        if self.values["text"]:
            try:
                self._speaker.begin(str(self.values["text"]))
            except UserError:
                self._end_speech()
                raise
            self._speech.wait_ready()

    def _end_speech(self) -> None:
        if self._speaker is not None:
            self._speaker.close()
            self._speaker = None

    def take(self, word: str, text: str) -> dict[str, Any]:
        """See `Processor.take`."""
        if self._speaker is None:
            raise UserError(f"{self.id} speaks for the program that has started it")
        return self._speaker.take(word, text)

    def told(self) -> dict[str, Any]:
        """See `Processor.told` and `Speaker.told`."""
        return {} if self._speaker is None else self._speaker.told(read_acquire(self._state[COUNTS], AHEAD))

    def reset(self) -> None:
        """Begin the text anew."""
        super().reset()
        if self._speaker is not None:
            self._end_speech()
            self._begin_speech()
            counts = self._state[COUNTS]
            counts[[RING, SHARED]] = self._fresh[COUNTS][[RING, SHARED]] = self._speech.addresses

    def release(self) -> None:
        """End the speech."""
        super().release()
        self._end_speech()


def source_of(given: Queue) -> type[Say]:
    """The source of a queue of the caller's, for one node of one plan; it stays the caller's to close."""

    class Queued(Say):
        queue = given
        lines: ClassVar[Mapping[str, str]] = {}

    return Queued
