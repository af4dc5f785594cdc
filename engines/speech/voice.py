"""What every voice does: it speaks a sentence, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from rtaudio.errors import UserError

if TYPE_CHECKING:
    from engines.speech.text import Sentence

Samples = NDArray[np.float32]


class SpeechError(UserError):
    """A sentence that a voice cannot speak; it can speak others."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a spoken sentence."""

    samples: Samples
    """(n,), at the voice's rate."""
    words: tuple[tuple[int, int], ...] = ()
    """Words that begin: the index among the sentence's words, and the sample, counted from the beginning of
    the sentence. Each is told with or before the chunk that it begins in."""
    phones: tuple[tuple[str, int], ...] = ()
    """Phones that begin, in IPA, and the sample, in the same way; an empty one is silence. None are told by a
    voice that does not know when they are."""
    left_out: tuple[str, ...] = ()
    """Phonemes, or letters, of the sentence that the voice does not know and has left out."""


class Voice(Protocol):
    """A voice, ready to speak. One thread at a time uses it."""

    name: str
    language: str
    """Code, such as ``en`` or ``bn``."""
    rate: int
    """Hz"""
    speakers: Sequence[str]
    """Names of the speakers; empty if there is only one."""

    @property
    def note(self) -> str:
        """What who uses it may want to know, in words; or empty."""
        ...

    @property
    def cpu(self) -> float:
        """CPU seconds that it has taken in processes of its own."""
        ...

    def speak(self, sentence: Sentence, speaker: int = 0, length_scale: float = 1.0) -> Iterator[Chunk]:
        """Speak a sentence.

        Parameters
        ----------
        sentence
            Its ``spoken`` text, faster by ``rate``; the pause after it and ``gain_db`` are the caller's.
        speaker
            Index among `speakers`.
        length_scale
            How much longer it takes than usual.

        Raises
        ------
        SpeechError
            It cannot speak this sentence.
        """
        ...

    def close(self) -> None:
        """End what it runs. Closing again does nothing."""
        ...


def word_places(sentence: Sentence) -> list[int]:
    """Where in ``sentence.spoken`` each of its words begins, in codepoints, in order."""
    places, at = [], 0
    for word in sentence.words:
        found = sentence.spoken.find(word.spoken, at)
        places.append(at if found < 0 else found)
        at = places[-1] + (len(word.spoken) if found >= 0 else 0)
    return places


def find_speaker(voice: Voice, speaker: str) -> int:
    """Index of a speaker, by name or number; ``""`` is the first. `UserError` if there is none such."""
    from rtaudio.errors import nearest

    if not speaker:
        return 0
    if speaker in voice.speakers:
        return list(voice.speakers).index(speaker)
    count = max(1, len(voice.speakers))
    if speaker.isascii() and speaker.isdecimal() and int(speaker) < count:
        return int(speaker)
    known = ", ".join(voice.speakers[:8]) + ", ..." * (len(voice.speakers) > 8)
    which = f" ({known}, or a number below {count})" if voice.speakers else "; it has one: leave it out"
    raise UserError(f"voice {voice.name} has no speaker {speaker!r}{nearest(speaker, voice.speakers)}{which}")
