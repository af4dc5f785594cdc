"""A text read aloud: sentence by sentence, with its pauses, and what cannot be spoken passed over."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.speech.voice import Samples, SpeechError, Voice
from rtaudio.errors import UserError

if TYPE_CHECKING:
    from engines.speech.text import Sentence


SHOWN = 40
"""Letters of a sentence in a message."""


@dataclass(frozen=True)
class Mark:
    """A word or sentence that begins."""

    kind: str
    """``word`` or ``sentence``"""
    sample: int
    """At the voice's rate, from the beginning of the reading."""
    begin: int
    end: int
    """In the text, in codepoints."""


@dataclass(frozen=True, slots=True)
class Span:
    """A word or phone that sounds until the next one of its kind begins."""

    kind: str
    """``word`` or ``phone``"""
    sample: int
    """At the voice's rate, from the beginning of the reading."""
    name: str
    """As it is written, or in IPA; empty: silence."""


class Reading:
    """A text, ready to be read: iterate over it for the sound, once.

    Parameters
    ----------
    text
        Plain text or SSML, of any length.
    voice
        Who reads.
    language
        Of the text, see `engines.speech.text.sentences`; empty: found by its script and the voice,
        `engines.speech.text.language_of`.
    speaker, length_scale
        See `Voice.speak`; the scale may be set anew, for the sentences that follow.
    began
        When the work began, by `time.perf_counter`; None: now.

    Attributes
    ----------
    marks : list of Mark
        Where words and sentences begin, as far as it has been read.
    spans : list of Span
        What sounds when, as far as it has been read: words, and phones where the voice knows them. Who wants
        them takes them away.
    problems : list of str
        What was left out, and why, in words, each once: sentences that could not be spoken, and characters.
    notes : list of str
        What was read in another way than it is written, in words, each once, as far as it has been read.
    done : int
        Codepoints that have been read.
    samples : int
        Samples so far, at the voice's rate.
    spoken : int
        Sentences that were spoken.
    first_ms : float or None
        Milliseconds from the beginning of the work to the first sound.
    cpu : float
        Seconds that the work has taken.

    Raises
    ------
    UserError
        There is nothing to speak.
    """

    def __init__(
        self,
        text: str,
        voice: Voice,
        language: str,
        speaker: int = 0,
        length_scale: float = 1.0,
        began: float | None = None,
    ) -> None:
        from engines.speech.text import each_sentence, language_of

        self._began, started = time.perf_counter() if began is None else began, time.thread_time()
        language = language or language_of(text, voice.language)
        self.text, self.voice, self.language = text, voice, language
        self.marks: list[Mark] = []
        self.spans: list[Span] = []
        self.problems: list[str] = []
        self.notes: list[str] = []
        if voice.language not in (language, ""):
            self.notes.append(f"voice {voice.name} speaks {voice.language}; the text is read as {language}")
        self._sentences: Iterator[Sentence] = each_sentence(text, language)
        begun = list(_up_to_speech(self._sentences))
        if not begun or not _speakable(begun[-1]):
            what = f"{text.strip()[:SHOWN]!r} has no words" if text.strip() else "the text is empty"
            raise UserError(f"there is nothing to speak: {what}")
        self._sentences = chain(begun, self._sentences)
        self._speaker, self.length_scale = speaker, length_scale
        self.done = self.samples = self.spoken = 0
        self.first_ms: float | None = None
        self.cpu = time.thread_time() - started

    def __iter__(self) -> Iterator[Samples]:
        """The sound, mono at the voice's rate, chunk by chunk."""
        started = time.thread_time()
        for sentence in self._sentences:
            self.cpu += time.thread_time() - started
            _tell(self.notes, sentence.notes)
            _tell(self.problems, sentence.left_out)
            if _speakable(sentence):
                yield from self._speak(sentence)
            pause = round(sentence.pause * self.voice.rate)
            if pause > 0:
                self.samples += pause
                yield np.zeros(pause, np.float32)
            self.done = sentence.end
            started = time.thread_time()
        self.done = len(self.text)

    def _speak(self, sentence: Sentence) -> Iterator[Samples]:
        start, gain, scale = self.samples, np.float32(10 ** (sentence.gain_db / 20)), self.length_scale
        self.marks.append(Mark("sentence", start, sentence.begin, sentence.end))
        cpu = self.cpu
        started, elsewhere = time.thread_time(), self.voice.cpu
        try:
            for chunk in self.voice.speak(sentence, self._speaker, scale):
                for index, at in chunk.words:
                    word = sentence.words[index]
                    self.marks.append(Mark("word", start + at, word.begin, word.end))
                    self.spans.append(Span("word", start + at, self.text[word.begin : word.end]))
                self.spans += [Span("phone", start + at, phone) for phone, at in chunk.phones]
                name = self.voice.name
                _tell(self.problems, [f"left out {each!r}: voice {name} has none" for each in chunk.left_out])
                self.samples += len(chunk.samples)
                if self.first_ms is None and len(chunk.samples):
                    self.first_ms = round(1e3 * (time.perf_counter() - self._began), 1)
                cpu += time.thread_time() - started
                yield chunk.samples if gain == 1 else chunk.samples * gain
                started = time.thread_time()
            self.spoken += 1
            self.spans += [Span(kind, self.samples, "") for kind in ("word", "phone")]
        except SpeechError as error:
            shown = sentence.text.strip()
            shown = shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 3]}..."
            _tell(self.problems, [f"left out {shown!r}: {error}"])
        self.cpu = cpu + time.thread_time() - started + max(0.0, self.voice.cpu - elsewhere)

    @property
    def cpu_per_second(self) -> float | None:
        """CPU seconds that a second of sound has taken; None: there is no sound yet."""
        return round(self.cpu * self.voice.rate / self.samples, 4) if self.samples else None

    def report(self) -> dict[str, Any]:
        """What was read so far, for reports."""
        rate = self.voice.rate
        return {
            "voice": self.voice.name,
            "language": self.language,
            "rate": rate,
            "sentences": self.spoken,
            "seconds": round(self.samples / rate, 3),
            "first_sound_ms": self.first_ms,
            "cpu_per_second": self.cpu_per_second,
            "left_out": self.problems,
            "notes": self.notes,
            "marks": [
                {"kind": mark.kind, "at": round(mark.sample / rate, 4), "begin": mark.begin, "end": mark.end}
                for mark in self.marks
            ],
        }


def _up_to_speech(sentences: Iterator[Sentence]) -> Iterator[Sentence]:
    """Sentences up to the first one that can be spoken."""
    for sentence in sentences:
        yield sentence
        if _speakable(sentence):
            return


def _tell(told: list[str], more: Iterable[str]) -> None:
    """Add what has not been told."""
    told += [each for each in dict.fromkeys(more) if each not in told]


def _speakable(sentence: Sentence) -> bool:
    return any(letter.isalnum() for letter in sentence.spoken)
