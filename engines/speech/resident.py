"""A player that stays, with its voices loaded: ``rtaudio say --serve``, and what lets it speak.

It listens at ``say.sock`` in the folder of `rtaudio.server`, for its user alone. A program writes a line of
JSON, ``{"text": ..., "voice": ..., "lang": ..., "speaker": ..., "factor": ...}``, and may then close its
side. When all is spoken it is answered by a line with the ``report``, or an ``error``. Who leaves before has
the rest not spoken. One text is spoken at a time, in the order they come; voices are opened in the thread
that speaks.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from engines.speech.written import LONGEST as LONGEST_TEXT
from rtaudio.errors import UserError
from rtaudio.server import open_folder

if TYPE_CHECKING:
    from engines.speech.player import Player
    from engines.speech.reading import Reading
    from engines.speech.voice import Voice

NAME = "say.sock"
LONGEST = 2 * LONGEST_TEXT + (1 << 16)
"""Bytes of a request: of a text whose characters all need a backslash, and the rest."""
PIECE = 1 << 20
"""Bytes that are read at a time."""
SHARE = 0.02
"""Seconds of a turn that programs may take, which write."""
CLIENTS = 16
VOICES = 4
"""That stay loaded: those that were used last."""
PATIENCE = 2.0
"""Seconds that a program waits to be let in."""
KEYS = ("text", "voice", "lang", "speaker", "factor")
WANTED = f"not a request: want JSON with {', '.join(KEYS[:-1])} and {KEYS[-1]}"
REFUSED = (UserError, ValueError, TypeError, KeyError, RecursionError)


def _address(folder: int) -> str:
    return f"/proc/self/fd/{folder}/{NAME}"


def connect() -> socket.socket | None:
    """A connection to this user's resident player, or None where there is none."""
    try:
        folder = open_folder()
    except (FileNotFoundError, UserError):
        return None
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    try:
        connection.connect(_address(folder))
    except OSError:
        connection.close()
        return None
    finally:
        os.close(folder)
    connection.settimeout(None)
    return connection


def ask(connection: socket.socket, request: Mapping[str, Any]) -> dict[str, Any]:
    """Let the resident player speak; returns its report when all is spoken. Leaving early cancels.

    Raises
    ------
    UserError
        It refuses, or has ended.
    """
    with connection:
        try:
            line = json.dumps(request, ensure_ascii=False)  # Escaped, Bangla would be twice as long.
            connection.sendall(line.encode("utf-8", "replace") + b"\n")
            with connection.makefile("rb") as answers:
                answer = json.loads(answers.readline() or b'{"error": "the resident player has ended"}')
        except (OSError, ValueError):
            raise UserError("the resident player has ended") from None
    if "error" in answer:
        raise UserError(str(answer["error"]))
    report: dict[str, Any] = answer["report"]
    return report


class _Client:
    """A program that has connected."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.request = bytearray()
        self.complete = False
        self.too_long = False
        self.reading: Reading | None = None
        """Once it is ready."""
        self.error = ""
        """Why it will not be."""

    def answer(self, message: dict[str, Any]) -> None:
        """Send a line, if it is still there; it reads nothing else, so a report may take its time."""
        with suppress(OSError):
            self.connection.settimeout(PATIENCE)
            self.connection.sendall(json.dumps(message).encode() + b"\n")


class Resident:
    """The player's side: everything happens in `turn`, on the thread that calls it.

    Parameters
    ----------
    player
        What plays.
    """

    def __init__(self, player: Player) -> None:
        self._player = player
        self._voices: dict[tuple[str, str], Voice] = {}
        self._poll = select.poll()
        self._clients: dict[int, _Client] = {}
        self._waiting: list[_Client] = []
        self._speaking: _Client | None = None
        self._base = 0
        self._folder = open_folder(make=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        os.fchmod(self._listener.fileno(), 0o600)  # Linux: bind makes the name with this mode.
        try:
            other = connect()
            if other is not None:
                other.close()
                raise UserError("a resident player runs already: end that first")
            with suppress(FileNotFoundError):
                os.unlink(NAME, dir_fd=self._folder)
            self._listener.bind(_address(self._folder))
            self._listener.listen(CLIENTS)
        except BaseException as error:
            self._listener.close()
            os.close(self._folder)
            if isinstance(error, OSError):
                raise UserError(f"cannot make the socket {NAME}: {error.strerror}") from None
            raise
        self._poll.register(self._listener, select.POLLIN)

    def load(self, name: str, language: str) -> Voice:
        """A voice, which stays loaded while it is one of the last `VOICES`; `UserError` if there is none.

        By the thread that speaks, or before there is anything to speak.
        """
        from engines.speech.voices import open_voice

        key = name, "" if name else language
        voice = self._voices.pop(key, None) or open_voice(name, language)
        self._voices[key] = voice
        while len(self._voices) > VOICES:
            self._voices.pop(next(iter(self._voices))).close()
        return voice

    def turn(self) -> None:
        """Take what programs want, and look how far the text is that is spoken."""
        until, patience = time.monotonic() + SHARE, 0
        while (found := self._poll.poll(patience)) and time.monotonic() < until:
            for descriptor, event in found:
                if descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor in self._clients:
                    self._hear(self._clients[descriptor], event)
            patience = 1  # Who writes a long text has the next piece in a moment.
        if self._speaking is not None and self._player.queue.played:
            self._finish()
        while self._speaking is None and (ready := [each for each in self._waiting if each.complete]):
            self._waiting.remove(ready[0])
            self._begin(ready[0])

    def close(self) -> None:
        """Let everybody go, and remove the socket."""
        for client in [*self._waiting, *filter(None, [self._speaking])]:
            client.connection.close()
        self._listener.close()
        with suppress(OSError):
            os.unlink(NAME, dir_fd=self._folder)
        os.close(self._folder)
        self._player.queue.cancel()
        for voice in self._voices.values():
            voice.close()

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionError):
            connection, _ = self._listener.accept()
            size = struct.calcsize("3i")
            owner = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            if struct.unpack("3i", owner)[1] != os.getuid() or len(self._waiting) >= CLIENTS:
                connection.close()
                return
            connection.setblocking(False)
            client = _Client(connection)
            self._waiting.append(client)
            self._clients[connection.fileno()] = client
            self._poll.register(connection, select.POLLIN)

    def _hear(self, client: _Client, event: int) -> None:
        """Take what a program writes, or that it has left."""
        if not event & select.POLLIN:
            self._leave(client)
            return
        try:
            got = client.connection.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            self._leave(client)
            return
        if not got:  # It writes no more. Has it left, too, that is told next.
            client.complete = True
            self._poll.modify(client.connection, 0)
        elif not client.complete:
            client.too_long = client.too_long or len(client.request) + len(got) > LONGEST
            if client.too_long:  # The rest is passed over: who still writes hears no answer.
                client.request.clear()
            else:
                client.request += got
            client.complete = b"\n" in got

    def _leave(self, client: _Client) -> None:
        """Let a program go that has left."""
        if client is self._speaking:
            self._player.queue.cancel()
            self._speaking = None
        else:
            self._waiting.remove(client)
        self._drop(client)

    def _begin(self, client: _Client) -> None:
        """Let a request be spoken, or refuse it."""
        try:
            if client.too_long:
                raise UserError(f"the text is too long: it has at most {LONGEST_TEXT >> 20} MiB, divide it")
            make = self._made(client, json.loads(client.request))
        except REFUSED as error:
            client.answer({"error": str(error) if isinstance(error, UserError) else WANTED})
            self._drop(client)
            return
        client.request.clear()
        self._speaking = client
        self._base = self._player.queue.underflows
        self._player.queue.add(make)

    def _made(self, client: _Client, request: Mapping[str, Any]) -> Callable[[], Reading]:
        """Makes a request ready to be read; `REFUSED` where it is none."""
        from engines.speech import LANGUAGES
        from engines.speech.reading import Reading
        from engines.speech.text import language_of
        from engines.speech.voice import find_speaker

        text, name, given, speaker = (request[key] for key in KEYS[:4])
        if not all(isinstance(each, str) for each in (text, name, given, speaker)):
            raise TypeError
        factor = min(4.0, max(0.25, float(request["factor"])))
        language = "" if given == "auto" else given
        if language not in ("", *LANGUAGES):
            raise UserError(f"lang {language!r} is not one of auto, {', '.join(LANGUAGES)}")

        def make() -> Reading:
            try:
                voice = self.load(name, language or language_of(text))
                chosen = find_speaker(voice, speaker)
                client.reading = Reading(text, voice, language, chosen, 1.0 / factor)
            except UserError as error:
                client.error = str(error)
                raise
            return client.reading

        return make

    def _finish(self) -> None:
        client, queue = self._speaking, self._player.queue
        self._speaking = None
        if client is None:
            return
        reading = client.reading
        if reading is None:
            client.answer({"error": client.error or "the voice cannot be opened"})
        elif reading.spoken:
            client.answer({"report": {**reading.report(), "underflows": queue.underflows - self._base}})
        else:
            client.answer({"error": f"nothing could be spoken: {reading.problems[-1]}"})
        self._drop(client)

    def _drop(self, client: _Client) -> None:
        self._poll.unregister(client.connection)
        del self._clients[client.connection.fileno()]
        client.connection.close()
