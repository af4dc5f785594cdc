"""What lines let a running source say: texts, one after the other, and how they are spoken."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.speech.written import read_text
from rtaudio.errors import UserError, nearest

if TYPE_CHECKING:
    from engines.speech.reading import Reading
    from engines.speech.source import Queue
    from engines.speech.voice import Voice
    from rtaudio.processor import Parameter, Value

SETTINGS = "voice", "lang", "speaker", "factor"


class Speaker:
    """Puts texts into a queue, each to be spoken as it is set when the text comes.

    The factor is that of the text that is being spoken, too, from its next sentence on.

    Voices are opened in the queue's thread, when one is chosen or a text needs it, and the last one is kept.

    Parameters
    ----------
    queue
        Open; closed with this.
    parameters, values
        Of the source: what `SETTINGS` may be, and are to begin with.
    """

    def __init__(self, queue: Queue, parameters: Sequence[Parameter], values: Mapping[str, Value]) -> None:
        self._queue = queue
        self._parameters = {each.id: each for each in parameters if each.id in SETTINGS}
        self._settings: dict[str, Value] = {name: values[name] for name in SETTINGS}
        self._voice: tuple[tuple[str, str], Voice] | None = None
        self._reading: Reading | None = None
        """The last one that was begun."""

    def begin(self, text: str) -> None:
        """Speak a text, which is ready at once; `UserError` where it, or the voice, cannot be."""
        reading = self._made(text)()
        self._queue.add(reading)

    def take(self, word: str, text: str) -> dict[str, Any]:
        """Do a line: see `Processor.take`."""
        if word == "say" and text:
            return self._add(text)
        if word == "read" and text:
            return self._add(read_text(Path(text)))
        if word == "use" and text:
            return self._use(*text.split(maxsplit=1))
        if word not in ("hush", "pause", "resume") or text:
            what = {"say": "a text", "read": "a file", "use": f"one of {', '.join(SETTINGS)}"}
            raise UserError(f"{word!r} takes {what.get(word, 'nothing more')}")
        if word == "hush":
            self._queue.cancel()
        if word == "pause":
            self._queue.pause()
        else:
            self._queue.play()
        return {"answer": {"hush": "silent", "pause": "paused", "resume": "goes on"}[word]}

    def _add(self, text: str) -> dict[str, Any]:
        number = self._queue.add(self._made(text))
        waiting = self._queue.waiting - 1
        return {"answer": f"text {number}" + f", after {waiting} more" * (waiting > 0), "text": number}

    def _use(self, name: str, value: str = "") -> dict[str, Any]:
        if name not in self._parameters:
            raise UserError(f"no {name!r}{nearest(name, SETTINGS)} ({', '.join(SETTINGS)})")
        parameter = self._parameters[name]
        wanted: Value = "" if value in ("''", '""') else value
        if parameter.scale not in ("choice", "text"):
            try:
                wanted = float(value)
            except ValueError:
                raise UserError(f"{name} {value!r} is not a number ({parameter.range})") from None
        wanted = parameter.checked(wanted, "use")
        if name == "voice":
            from engines.speech.voices import check_name

            check_name(str(wanted))
        self._settings[name] = wanted
        if name in ("voice", "lang"):
            voice, language = str(self._settings["voice"]), str(self._settings["lang"])
            self._queue.prepare(lambda: self._warm(voice, "en" if language == "auto" else language))
        if name == "factor" and self._reading is not None and self._reading.marks:
            self._reading.length_scale = 1.0 / float(self._settings[name])
        following = "sentence" if name == "factor" else "text"
        return {"answer": f"{name} {value or chr(39) * 2} from the next {following} on"}

    def _made(self, text: str) -> Callable[[], Reading]:
        """Makes a text ready to be read, as it is set now."""
        settings, began = dict(self._settings), time.perf_counter()

        def make() -> Reading:
            from engines.speech.reading import Reading
            from engines.speech.text import language_of
            from engines.speech.voice import find_speaker

            given = str(settings["lang"])
            language = "" if given == "auto" else given
            voice = self._open(str(settings["voice"]), language or language_of(text))
            speaker = find_speaker(voice, str(settings["speaker"]))
            self._reading = Reading(text, voice, language, speaker, 1.0 / float(settings["factor"]), began)
            return self._reading

        return make

    def _warm(self, name: str, language: str) -> None:
        """Open a voice before a text needs it; what is wrong is told at once."""
        self._open(name, language)

    def _open(self, name: str, language: str) -> Voice:
        """A voice, in place of the one before, which nothing reads with any more."""
        from engines.speech.voices import open_voice

        key = name, "" if name else language
        if self._voice is None or self._voice[0] != key:
            opened = open_voice(name, language)
            if self._voice is not None:
                self._voice[1].close()
            self._voice = key, opened
        return self._voice[1]

    def told(self, ahead: int = 0) -> dict[str, Any]:
        """What is heard, and what waits; ``ahead`` as of `Queue.begun`.

        Returns
        -------
        ``words``, for people; ``speaking``, whether anything is to be heard; ``text``, the number of the one
        that is heard, or 0; of that one ``sentence`` and ``word`` (begin and end in the text, in codepoints;
        None: there is none yet), ``length`` and ``made`` (codepoints: of all, and of what has been spoken
        into the ring), ``first_sound_ms`` and ``cpu_per_second`` (None: not known yet); ``begun`` (see
        `Queue.begun`); ``waiting``, texts that are not in the ring as a whole; ``paused``; ``underflows``;
        ``problems`` and ``notes``, the last ones; and how texts that come are spoken: ``voice``, ``lang``,
        ``speaker``, ``factor``.
        """
        heard, queue = self._queue.heard, self._queue
        reading = None if heard.text is None else heard.text.reading
        number = 0 if heard.text is None else heard.text.number
        words = "silent" if reading is None else f"text {number}"
        if reading is not None and heard.word is not None:
            words += f", {reading.text[slice(*heard.word)]!r}"
        return {
            "words": f"paused, {words}" if queue.paused else words,
            "speaking": not queue.played,
            "text": number,
            "sentence": heard.sentence,
            "word": heard.word,
            "begun": queue.begun(ahead),
            "length": 0 if reading is None else len(reading.text),
            "made": 0 if reading is None else reading.done,
            "first_sound_ms": None if reading is None else reading.first_ms,
            "cpu_per_second": None if reading is None else reading.cpu_per_second,
            "waiting": queue.waiting,
            "paused": queue.paused,
            "underflows": queue.underflows,
            "problems": list(queue.problems),
            "notes": list(queue.notes),
            **self._settings,
        }

    def close(self) -> None:
        """End the speech. Closing again does nothing."""
        self._queue.close()
        if self._voice is not None:
            self._voice[1].close()
            self._voice = None
