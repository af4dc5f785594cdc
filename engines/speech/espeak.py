"""espeak-ng: a voice for almost any language, and the phonemes that Piper's voices are fed with.

It runs in a process of its own (`engines.speech.libespeak`): a crash there costs a sentence.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from multiprocessing.connection import Connection, Pipe
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.speech import LANGUAGES, libespeak
from engines.speech.joins import split_joined
from engines.speech.letters import name_letters
from engines.speech.pronunciation import WORD, Pronouncer, for_espeak, to_espeak
from engines.speech.voice import Chunk, Samples, SpeechError, word_places
from rtaudio.errors import UserError

if TYPE_CHECKING:
    from engines.speech.text import Sentence

WORDS_A_MINUTE, SLOWEST, FASTEST = 175, 80, 450
PITCH = 50
PATIENCE = 20.0
"""Seconds without an answer after which the process is given up."""


@dataclass(frozen=True)
class Event:
    """A word or phoneme that begins."""

    kind: str
    """``word`` or ``phoneme``"""
    sample: int
    """From the beginning of the text."""
    begin: int
    """Of a word: codepoints from the beginning of the text."""
    name: str
    """Of a phoneme: in IPA."""


class Espeak:
    """espeak-ng in a process of its own, which is started when it is first needed, and anew after a crash.

    Any thread may call; one request runs at a time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.rate = 0
        """Hz; known after `start`."""
        self.cpu = 0.0
        """CPU seconds that the process has taken."""

    def start(self) -> None:
        """Start the process, if it does not run. `UserError` if espeak-ng is not installed."""
        with self._lock:
            self._started()

    def synthesise(
        self, text: str, voice: str, rate: int = WORDS_A_MINUTE, pitch: int = PITCH, named: bool = False
    ) -> tuple[Samples, list[Event]]:
        """Speak a text: all samples, at `rate` Hz, and events, see `stream`."""
        pieces = list(self.stream(text, voice, rate, pitch, named))
        samples = [piece for piece, _ in pieces]
        return (
            np.concatenate(samples) if samples else np.zeros(0, np.float32),
            [event for _, events in pieces for event in events],
        )

    def stream(
        self, text: str, voice: str, rate: int = WORDS_A_MINUTE, pitch: int = PITCH, named: bool = False
    ) -> Iterator[tuple[Samples, list[Event]]]:
        """Speak a text, piece by piece as it is made.

        Parameters
        ----------
        text
            Plain text, of any length.
        voice
            espeak-ng's name of it: ``en-us``, ``bn``.
        rate
            Words a minute; held between 80 and 450.
        pitch
            0 to 100.
        named
            Whether ``[[...]]`` in the text has names of espeak-ng's phonemes.

        Yields
        ------
        Samples (n,) float32, and the events that begin in them or before.

        Raises
        ------
        SpeechError
            There is no such voice, or espeak-ng has crashed.
        UserError
            espeak-ng is not installed.
        """
        request = {
            "speak": text,
            "voice": voice,
            "rate": int(min(FASTEST, max(SLOWEST, rate))),
            "pitch": int(min(100, max(0, pitch))),
            "named": named,
        }
        with self._lock:
            connection = self._asked(request)
            whole, place = False, -1
            try:
                while "end" not in (message := self._heard(connection)):
                    whole = False
                    samples = np.frombuffer(self._frame(connection), np.int16)
                    whole = True
                    events = []
                    for event in _events(message["events"]):
                        # Between clauses it may tell of a word of the clause, or text, before once more.
                        if event.kind == "phoneme" or event.begin > place:
                            events.append(event)
                            place = max(place, event.begin) if event.kind == "word" else place
                    yield samples.astype(np.float32) / np.float32(32768), events
                whole, connection = True, None  # type: ignore[assignment]
            except SpeechError:
                connection = None  # type: ignore[assignment]
                raise
            finally:
                if connection is not None:  # Given up: what is left of it is of no use.
                    self._drain(connection) if whole else self._end()

    def phonemes(self, text: str, voice: str) -> list[list[str]]:
        """Phonemes of every sentence of a text, as Piper's voices are fed with them.

        Returns
        -------
        For each sentence the codepoints of its IPA (NFD), with ``. ? ! , : ;`` where they stand.

        Raises
        ------
        SpeechError, UserError
            As `stream`.
        """
        return self._phonemised([for_espeak(text)], voice)[0]

    def placed_phonemes(self, text: str, voice: str) -> list[tuple[list[str], list[tuple[int, int]]]]:
        """The same, and where every word of the text begins.

        espeak-ng says some words as one (``of the`` is ``ʌvðə``), and tells of each such group where it
        stands in the text as it speaks. Within a group the words are found by how each is said alone.

        Returns
        -------
        For each sentence its phonemes, and of each word that it has its number among ``text.split()``, and
        the index of its first phoneme; in order.

        Raises
        ------
        SpeechError, UserError
            As `stream`.
        """
        text = for_espeak(text)
        with self._lock:
            found, places = self._heard(self._asked({"groups": text, "voice": voice}))["end"]
        phonemes = [phoneme for sentence, _ in found for phoneme in sentence]
        offsets = list(accumulate((len(sentence) for sentence, _ in found), initial=0))
        groups = [offset + at for offset, (_, starts) in zip(offsets, found, strict=False) for at in starts]
        begins = [match.start() for match in re.finditer(r"\S+", text)]
        firsts = [bisect_right(begins, place) - 1 for place in places]
        if len(firsts) != len(groups):  # It has told of something else: then all is one group.
            firsts, groups = firsts[:1], groups[:1]
        firsts = [0, *firsts[1:], len(begins)][: len(groups) + 1]
        words, starts = text.split(), [0] * len(begins)
        joined = [words[first:last] for first, last in pairwise(firsts)]
        several = [word for together in joined if len(together) > 1 for word in together]
        alone = iter(self._phonemised(several, voice) if several else [])
        for together, first, (start, end) in zip(
            joined, firsts, pairwise([*groups, len(phonemes)]), strict=False
        ):
            apart = [list(chain.from_iterable(next(alone))) for _ in together if len(together) > 1]
            within = split_joined(phonemes[start:end], apart) if apart else [0] * len(together)
            starts[first : first + len(together)] = [start + at for at in within]
        if not groups:
            return [(sentence, []) for sentence, _ in found]
        placed = list(enumerate(starts))
        return [
            (sentence, [(word, at - offset) for word, at in placed if offset <= at < offset + len(sentence)])
            for offset, (sentence, _) in zip(offsets, found, strict=False)
        ]

    def _phonemised(self, texts: Sequence[str], voice: str) -> list[list[list[str]]]:
        """Of each text, the phonemes of its sentences."""
        with self._lock:
            message = self._heard(self._asked({"phonemes": texts, "voice": voice}))
        return [[sentence for sentence, _ in sentences] for sentences in message["end"]]

    def close(self) -> None:
        """End the process. Closing again does nothing; a later request starts it anew.

        A text that is half spoken fails when it goes on.
        """
        process = self._process
        if process is not None:
            process.kill()
            process.wait()
        if self._lock.acquire(blocking=False):  # Else who speaks finds the process gone.
            try:
                self._end()
            finally:
                self._lock.release()

    # ------------------------------------------------------------------------------------ with the lock held

    def _started(self) -> Connection:
        if self._connection is not None:
            return self._connection
        ours, theirs = Pipe()
        with theirs:
            code = f"from engines.speech.libespeak import work; work({theirs.fileno()})"
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                process_group=0,
            )
        self._connection = ours
        try:
            self.rate = int(self._heard(ours)["end"])
        except SpeechError as error:
            self._end()
            raise UserError(str(error)) from None
        return ours

    def _asked(self, request: dict[str, Any]) -> Connection:
        connection = self._started()
        try:
            connection.send_bytes(json.dumps(request).encode())
        except OSError:  # It has died since the last one.
            self._end()
            connection = self._started()
            connection.send_bytes(json.dumps(request).encode())
        return connection

    def _frame(self, connection: Connection) -> bytes:
        with suppress(OSError, EOFError):
            if connection.poll(PATIENCE):
                return connection.recv_bytes()
        self._end()
        raise SpeechError("espeak-ng crashed, or hangs, on this sentence")

    def _heard(self, connection: Connection) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._frame(connection))
        if "error" in message:
            raise SpeechError(message["error"])
        self.cpu = message.get("cpu", self.cpu)
        return message

    def _drain(self, connection: Connection) -> None:
        with suppress(SpeechError):
            while "end" not in self._heard(connection):
                self._frame(connection)

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            try:
                self._process.wait(0.5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def _events(found: list[list[Any]]) -> list[Event]:
    return [
        Event("word" if kind == libespeak.WORD else "phoneme", sample, max(0, place - 1), name)
        for kind, place, _, sample, name in found
    ]


class EspeakVoice:
    """espeak-ng as a `engines.speech.voice.Voice`.

    Parameters
    ----------
    name
        As `rtaudio voices` lists it.
    variety
        espeak-ng's name of the voice: ``en-us``, ``bn``.
    pronouncer
        How Bangla words are said; None: as espeak-ng says them.

    Raises
    ------
    UserError
        espeak-ng is not installed, or has no such voice.
    """

    def __init__(self, name: str, variety: str, pronouncer: Pronouncer | None = None) -> None:
        self._pronouncer = pronouncer
        self.name, self.language, self.variety = name, variety.partition("-")[0], variety
        self.speakers: Sequence[str] = ()
        self._espeak = Espeak()
        self._espeak.start()
        try:
            self._espeak.phonemes("", variety)
        except SpeechError as error:
            self._espeak.close()
            raise UserError(str(error)) from None
        self.rate = self._espeak.rate
        self.note = ""

    @property
    def cpu(self) -> float:
        """CPU seconds that its process has taken."""
        return self._espeak.cpu

    def speak(self, sentence: Sentence, speaker: int = 0, length_scale: float = 1.0) -> Iterator[Chunk]:
        """See `Voice.speak`."""
        # Of Bangla, too: Latin words in it are English ones, to this front end and to espeak-ng.
        sentence = name_letters(sentence) if self.language in LANGUAGES else sentence
        text, moved = self._written(sentence.spoken)
        places, word = [moved[place] for place in word_places(sentence)], 0
        rate, pitch = round(WORDS_A_MINUTE * sentence.rate / length_scale), round(PITCH * sentence.pitch)
        pieces = self._espeak.stream(text, self.variety, rate, pitch, self._pronouncer is not None)
        for samples, events in pieces:
            begun = []
            for event in events:
                if event.kind == "word":
                    while word < len(places) and places[word] <= event.begin:
                        begun.append((word, event.sample))
                        word += 1
            phones = [
                (event.name if any(map(str.isalpha, event.name)) else "", event.sample)
                for event in events
                if event.kind == "phoneme"
            ]
            yield Chunk(samples, tuple(begun), tuple(phones))

    def _written(self, spoken: str) -> tuple[str, list[int]]:
        """A text as espeak-ng is given it, and where in it are each codepoint of ``spoken`` and the end."""
        pieces: list[str] = []
        moved: list[int] = []
        at = length = 0
        for match in WORD.finditer(spoken):
            between, word = spoken[at : match.start()], self._written_word(match[0])
            moved += [*range(length, length + len(between)), *[length + len(between)] * len(match[0])]
            length += len(between) + len(word)
            pieces += between, word
            at = match.end()
        moved += range(length, length + len(spoken) - at + 1)
        return "".join([*pieces, spoken[at:]]), moved

    def _written_word(self, word: str) -> str:
        phones = [] if self._pronouncer is None else self._pronouncer.read(word, nasal=True)
        return to_espeak(phones) if phones else for_espeak(word)

    def close(self) -> None:
        """End the process."""
        self._espeak.close()
