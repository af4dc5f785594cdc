"""The shared library of espeak-ng, and the process that runs it.

espeak-ng is one set of globals, and foreign code: so it lives in a process of its own, which imports next to
nothing and is there in some hundredths of a second. It is installed by the system, never shipped.

Requests and answers are frames of bytes on a connection. A request is JSON: ``speak`` (with ``voice``,
``rate`` in words a minute, ``pitch`` 0 to 100, and ``named``: whether ``[[...]]`` has names of phonemes),
``phonemes`` (with ``voice``), a list of texts, or ``groups`` (with ``voice``), and a text. ``speak`` is
answered by pairs of frames, JSON of events and 16-bit samples, as they are made; each ends with a JSON frame
that has ``end``, and ``cpu``, the seconds that the process has taken so far, or ``error``. The end of
``phonemes`` is for each text what `Synthesiser.phonemes` says of it, that of ``groups`` the same of one, and
what `Synthesiser.groups` says.
"""

from __future__ import annotations

import ctypes
import json
import signal
import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

NAMES = "libespeak-ng.so.1", "libespeak-ng.so", "libespeak-ng.1.dylib", "libespeak-ng.dll"
INSTALL = "apt-get install libespeak-ng1 espeak-ng-data"

SYNCHRONOUS = 2
PHONEME_EVENTS, PHONEME_IPA, DONT_EXIT = 0x0001, 0x0002, 0x8000
RATE, PITCH = 1, 3
"""Parameters."""
QUICK, MIDDLE = 400, 50
"""Of words a minute, and of pitch. From 450 on it does more, and takes five times as long."""
CHARS_UTF8, IPA, CHARACTERS = 1, 2, 1
NAMED_PHONEMES = 0x100
LIST_END, WORD, PHONEME = 0, 1, 7
"""Kinds of events."""
CLAUSE_ENDS = {".": ".", "?": "?", "!": "!", ",": ", ", ":": ": ", ";": "; "}
SENTENCE_ENDS = ".?!।"


class _Name(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", _Name),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


def load() -> ctypes.CDLL | None:
    """The shared library, or None where there is none."""
    for name in NAMES:
        with suppress(OSError):
            return ctypes.CDLL(name)
    return None


class Synthesiser:
    """The library, initialised; there can be one in a process.

    Parameters
    ----------
    heard
        Gets the events, ``[kind, position in the text, length, sample, name]`` each, and the samples (16
        bits), as they are made.

    Raises
    ------
    RuntimeError
        There is no library, or it finds no data.
    """

    def __init__(self, heard: Callable[[list[list[Any]], bytes], None]) -> None:
        library = load()
        if library is None:
            raise RuntimeError(f"speech needs espeak-ng: {INSTALL}")
        self._library, self._heard = library, heard
        library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        options = PHONEME_EVENTS | PHONEME_IPA | DONT_EXIT
        self.rate = int(library.espeak_Initialize(SYNCHRONOUS, 0, None, options))
        """Hz"""
        if self.rate <= 0:
            raise RuntimeError(f"espeak-ng finds no data of its own: {INSTALL}")
        self._callback = _Callback(self._on_samples)
        library.espeak_SetSynthCallback(self._callback)

    def _on_samples(self, samples: Any, n: int, events: Any) -> int:
        found, i = [], 0
        while events[i].kind != LIST_END:
            event = events[i]
            name = ""
            if event.kind == PHONEME:
                place = ctypes.addressof(event) + _Event.name.offset
                written = ctypes.string_at(place, 8).split(b"\0")[0].decode("utf-8", "replace")
                name = "".join(_without_marks(written))
            if event.kind in (WORD, PHONEME):
                found.append([event.kind, event.text_position, event.length, event.sample, name])
            i += 1
        self._heard(found, ctypes.string_at(samples, 2 * n) if samples and n > 0 else b"")
        return 0

    def choose(self, voice: str) -> None:
        """Choose a voice by its name; `ValueError` if there is none such."""
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}: see 'espeak-ng --voices'")

    def speak(self, text: str, rate: int, pitch: int, named: bool) -> None:
        """Speak a text, where ``named`` with ``[[names of phonemes]]``; returns when all is heard."""
        flags = CHARS_UTF8 | (NAMED_PHONEMES if named else 0)
        self._library.espeak_SetParameter(RATE, rate, 0)
        self._library.espeak_SetParameter(PITCH, pitch, 0)
        content = text.replace("\0", " ").encode("utf-8", "replace") + b"\0"
        if self._library.espeak_Synth(content, len(content), 0, CHARACTERS, 0, flags, None, None) != 0:
            raise ValueError("espeak-ng cannot speak this")

    def groups(self, text: str) -> list[int]:
        """Where in a text what it says as one word begins, in codepoints from 0: it tells as it speaks."""
        found: list[int] = []

        def note(events: list[list[Any]], samples: bytes) -> None:
            for kind, place, *_ in events:  # Between clauses it may tell of one once more.
                if kind == WORD and place - 1 > (found[-1] if found else -1):
                    found.append(place - 1)

        heard, self._heard = self._heard, note
        try:
            self.speak(text, QUICK, MIDDLE, named=False)
        finally:
            self._heard = heard
        return found

    def phonemes(self, text: str) -> list[tuple[list[str], list[int]]]:
        """Phonemes of every sentence, as codepoints of IPA (NFD), with the punctuation that Piper's voices
        have learnt, and without espeak-ng's marks of other languages, ``(en)``; and where among them begins
        what it says as one word.
        """
        content = text.replace("\0", " ").encode("utf-8", "replace")
        buffer = ctypes.create_string_buffer(content)
        start = ctypes.addressof(buffer)
        pointer = ctypes.c_void_p(start)
        sentences: list[tuple[list[str], list[int]]] = []
        open_sentence = False
        while pointer.value:
            clause = self._library.espeak_TextToPhonemes(ctypes.byref(pointer), CHARS_UTF8, IPA) or b""
            done = pointer.value - start if pointer.value else len(content) + 1
            end = content[: max(0, done - 1)].decode("utf-8", "ignore").rstrip(" ")[-1:]
            if not open_sentence:
                sentences.append(([], []))
            sentence, starts = sentences[-1]
            found = _without_marks(unicodedata.normalize("NFD", clause.decode("utf-8", "replace")))
            starts += [
                len(sentence) + at
                for at, each in enumerate(found)
                if each != " " and (not at or found[at - 1] == " ")
            ]
            sentence += found
            sentence += CLAUSE_ENDS.get(end, "")
            open_sentence = end not in SENTENCE_ENDS or not end
        return [each for each in sentences if any(codepoint.isalpha() for codepoint in each[0])]


def _without_marks(phonemes: str) -> str:
    kept, inside = [], False
    for letter in phonemes:
        if letter == "(":
            inside = True
        elif not inside:
            kept.append(letter)
        elif letter == ")":
            inside = False
    return "".join(kept)


def work(descriptor: int) -> None:
    """Answer requests until the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Connection(descriptor) as connection, suppress(EOFError, ConnectionError):

        def say(**message: Any) -> None:
            connection.send_bytes(json.dumps(message).encode())

        def heard(events: list[list[Any]], samples: bytes) -> None:
            with suppress(ConnectionError):
                say(events=events)
                connection.send_bytes(samples)

        try:
            synthesiser = Synthesiser(heard)
        except RuntimeError as error:
            say(error=str(error))
            return
        say(end=synthesiser.rate, cpu=time.process_time())
        while True:
            request = json.loads(connection.recv_bytes())
            try:
                synthesiser.choose(request["voice"])
                if "speak" in request:
                    synthesiser.speak(request["speak"], request["rate"], request["pitch"], request["named"])
                    say(end=True, cpu=time.process_time())
                elif "groups" in request:
                    text = request["groups"]
                    say(end=[synthesiser.phonemes(text), synthesiser.groups(text)], cpu=time.process_time())
                else:
                    say(
                        end=[synthesiser.phonemes(text) for text in request["phonemes"]],
                        cpu=time.process_time(),
                    )
            except ValueError as error:
                say(error=str(error))
