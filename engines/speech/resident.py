"""A player that stays, with its voices loaded: ``rtaudio say --serve``, and what lets it speak.

It listens at ``say.sock`` in the folder of `rtaudio.server`, for its user alone. A program writes a line of
JSON, ``{"text": ..., "voice": ..., "lang": ..., "speaker": ..., "factor": ...}``. When all is spoken it is
answered by a line with the ``report``, or an ``error``. Who leaves before has the rest not spoken. One text
is spoken at a time, in the order they come.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rtaudio.errors import UserError
from rtaudio.server import open_folder

if TYPE_CHECKING:
    from engines.speech.player import Player
    from engines.speech.reading import Reading
    from engines.speech.voice import Voice

NAME = "say.sock"
LONGEST = 1 << 25
"""Bytes of a request."""
CLIENTS = 16
PATIENCE = 2.0
"""Seconds that a program waits to be let in."""
KEYS = ("text", "voice", "lang", "speaker", "factor")
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
            connection.sendall(json.dumps(request).encode() + b"\n")
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
        self.request = b""
        self.complete = False

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
        self._selector = selectors.PollSelector()
        self._waiting: list[_Client] = []
        self._reading: Reading | None = None
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
        self._selector.register(self._listener, selectors.EVENT_READ)

    def load(self, name: str, language: str) -> Voice:
        """A voice, which stays loaded; `UserError` if there is none such."""
        from engines.speech.voices import open_voice

        key = name, "" if name else language
        if key not in self._voices:
            self._voices[key] = open_voice(name, language)
        return self._voices[key]

    def turn(self) -> None:
        """Take what programs want, and look how far the text is that is spoken."""
        for key, _ in self._selector.select(0):
            if key.data is None:
                self._accept()
            else:
                self._read(key.data)
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
        self._selector.close()
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
            self._waiting.append(_Client(connection))
            self._selector.register(connection, selectors.EVENT_READ, self._waiting[-1])

    def _read(self, client: _Client) -> None:
        try:
            got = client.connection.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            got = b""
        if not got or len(client.request) + len(got) > LONGEST:
            if client is self._speaking:
                self._player.queue.cancel()
                self._speaking = self._reading = None
            else:
                self._waiting.remove(client)
            self._drop(client)
        elif not client.complete:
            client.request += got
            client.complete = b"\n" in got

    def _begin(self, client: _Client) -> None:
        from engines.speech import LANGUAGES
        from engines.speech.reading import Reading
        from engines.speech.voice import find_speaker

        try:
            request = json.loads(client.request)
            text, name, language, speaker = (str(request[key]) for key in KEYS[:4])
            voice = self.load(name, language or "en")
            language = language or (voice.language if voice.language in LANGUAGES else "en")
            if language not in LANGUAGES:
                raise UserError(f"lang {language!r} is not one of {', '.join(LANGUAGES)}")
            factor = min(4.0, max(0.25, float(request["factor"])))
            reading = Reading(text, voice, language, find_speaker(voice, speaker), 1.0 / factor)
        except REFUSED as error:
            client.answer({"error": str(error) if isinstance(error, UserError) else "not a request"})
            self._drop(client)
            return
        self._speaking, self._reading = client, reading
        self._base = self._player.queue.underflows
        self._player.queue.add(reading)

    def _finish(self) -> None:
        client, reading, queue = self._speaking, self._reading, self._player.queue
        self._speaking = self._reading = None
        if client is None or reading is None:
            return
        if reading.spoken:
            client.answer({"report": {**reading.report(), "underflows": queue.underflows - self._base}})
        else:
            client.answer({"error": f"nothing could be spoken: {reading.problems[-1]}"})
        self._drop(client)

    def _drop(self, client: _Client) -> None:
        self._selector.unregister(client.connection)
        client.connection.close()
