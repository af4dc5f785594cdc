"""The connection with a host: lines out, answers and events in, and what is seen in shared memory.

Everything happens in the thread of the window, and nothing waits: the socket is read when something has come,
and what it does not take at once is written when it does.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, QSocketNotifier, QTimer, Signal

from rtaudio.errors import UserError
from rtaudio.observation import Observation
from rtaudio.server import LONGEST_LINE, connect

Done = Callable[[dict[str, Any]], None]

FRAME_MS = 16
"""Milliseconds between two changes of one value: as many as a screen shows."""
LOOK_MS, ASK_AFTER, PATIENCE = 250, 4, 12
"""Milliseconds between two looks whether the host still answers; looks without a word of it after which it is
asked for one, and after which it is said not to answer: 1 s, 3 s."""
AT_ONCE = 1 << 16
"""Bytes that are read at once."""
KEPT = 50
"""Notes, and problems, that are kept: the last ones."""
NEWS = "edit", "done", "note", "problem"
"""Events after which the latency, and whatever else is in a state, may be another."""
ENDED = "the host has ended"


@dataclass
class _Request:
    """A line whose answer is still to come."""

    done: Done | None
    path: str = ""
    """The parameter that it sets."""


class Link(QObject):
    """A connection with at most one host.

    Attributes
    ----------
    state : dict
        The newest ``state`` (see `rtaudio.state`), in which events have been entered since; {} when detached.
        Inside of a composite, values that its own parameters stand for are those of the last whole state.
    observation : Observation or None
        What is seen of the host; None when detached.
    """

    attached = Signal(int)
    """A host is there: its process number. `state` and `observation` are, too."""
    detached = Signal(str)
    """It is gone: why, in one line."""
    stated = Signal(object)
    """A whole new `state`: after attaching, after an edit, and after news of the host. (As a dict, Qt would
    copy it.)"""
    changed = Signal(object)
    """An event of ``watch`` (see `rtaudio.server`), a dict, entered in `state`."""
    said = Signal(str, bool)
    """A line for the status line; whether it is an error."""
    hinted = Signal(str)
    """What is under the pointer, for the status line; empty: nothing."""
    hung = Signal(bool)
    """True: it has not answered for 3 s; False: it answers again."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state: dict[str, Any] = {}
        self.observation: Observation | None = None
        self.pid = 0
        self._told_deck = 0
        """Blocks of the host when it last told where its deck is."""
        self._socket: socket.socket | None = None
        self._readable: QSocketNotifier | None = None
        self._writable: QSocketNotifier | None = None
        self._asked: deque[_Request] = deque()
        self._unsent = bytearray()
        self._begun = bytearray()
        self._values: dict[str, float | str] = {}
        """Values to set, the newest of each path."""
        self._setting: Counter[str] = Counter()
        """Sets of a path that are not answered yet."""
        self._is_old = self._is_asked = False
        """Whether `state` is to be asked for, and whether it has been."""
        self._pace = QTimer(self)
        self._pace.setSingleShot(True)
        self._pace.setInterval(FRAME_MS)
        self._pace.timeout.connect(self._send_values)
        self._silence = 0
        """Looks since the last word of the host. They are counted, since in a window that was held up itself
        time passes without one."""
        self._blocks = 0
        """Blocks of the host when it was last asked for a word."""
        self._watch = QTimer(self)
        self._watch.setInterval(LOOK_MS)
        self._watch.timeout.connect(self._look)

    @property
    def hangs(self) -> bool:
        """Whether the host has not answered for 3 s."""
        return self._silence >= PATIENCE

    def attach(self, pid: int) -> None:
        """Connect with the host in a process, after letting another one go.

        Raises
        ------
        UserError
            There is none, or it is of another version.
        """
        connection = connect(pid)
        try:
            observation = Observation(pid)
        except UserError:
            connection.close()
            raise
        if self._socket is not None:
            self.detach("another host takes its place")
        connection.setblocking(False)
        self._socket, self.observation, self.pid = connection, observation, pid
        self._readable = QSocketNotifier(connection.fileno(), QSocketNotifier.Type.Read, self)
        self._readable.activated.connect(self._read)
        self._writable = QSocketNotifier(connection.fileno(), QSocketNotifier.Type.Write, self)
        self._writable.setEnabled(False)
        self._writable.activated.connect(self._write)
        self._silence = 0
        self._watch.start()
        self._ask("watch", self._refused_at_once)
        self._ask("state", self._first_state)

    def detach(self, why: str) -> None:
        """Let the host go. Where there is none it does nothing."""
        if self._socket is None:
            return
        for notifier in (self._readable, self._writable):
            if notifier is not None:
                notifier.setEnabled(False)
                notifier.deleteLater()
        self._socket.close()
        self._socket = self._readable = self._writable = None
        self.state, self.observation, self.pid = {}, None, 0
        self._asked.clear()
        self._unsent.clear()
        self._begun.clear()
        self._values.clear()
        self._setting.clear()
        self._is_old = self._is_asked = False
        self._silence = 0
        self._pace.stop()
        self._watch.stop()
        self.detached.emit(why)

    @property
    def deck(self) -> dict[str, Any] | None:
        """The deck (see `rtaudio.state`) as it is now, by what has been heard since the host told of it."""
        deck = self.state.get("deck")
        if deck is None or self.observation is None:
            return None
        blocks = max(0, self.observation.blocks - self._told_deck)
        seconds = blocks * self.state["block"] / self.state["rate"]
        return {**deck, "position": playhead(deck, seconds)}

    @property
    def sounds(self) -> bool:
        """Whether sound has gone on since a host that does not answer was asked."""
        return self.observation is not None and self.observation.blocks != self._blocks

    def kill(self) -> None:
        """End a host that does not answer; `detached` tells when it has gone."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def send(self, line: str, done: Done | None = None) -> None:
        """Send a control line; never blocks.

        Parameters
        ----------
        line
            One of `rtaudio.control`.
        done
            Gets the answer. Without it what the answer says, and what is wrong, is `said`. It is not called
            where the host goes before it has answered.
        """
        self._ask(line, self._say_answer if done is None else done)

    def set(self, path: str, value: float | str) -> None:
        """Set a parameter, as ``set PATH VALUE``: at once, but the newest value of it only once a frame."""
        if self._socket is None:
            self.said.emit(f"no host runs: {path} is as it was", True)
            return
        self._values[path] = value
        if not self._pace.isActive():
            self._send_values()

    def is_setting(self, path: str) -> bool:
        """Whether a value of a parameter is on its way, so that what the state has is older."""
        return path in self._values or self._setting[path] > 0

    def _look(self) -> None:
        """Notice that the host does not answer; ask for a word where it has nothing to answer."""
        self._silence += 1
        if self._silence == ASK_AFTER and self.observation is not None:
            self._blocks = self.observation.blocks
        if self._silence == PATIENCE:
            self.hung.emit(True)
        elif self._silence >= ASK_AFTER and not self._asked:
            self._ask("", None)

    def _hear(self) -> None:
        """The host has said something."""
        hung, self._silence = self.hangs, 0
        if hung:
            self.hung.emit(False)

    def _send_values(self) -> None:
        values, self._values = self._values, {}
        for path, value in values.items():
            self._setting[path] += 1
            self._ask(f"set {path} {_written(value)}", self._say_error, path)
        if values and self._socket is not None:
            self._pace.start()

    def _ask(self, line: str, done: Done | None, path: str = "") -> None:
        text = f"{line}\n".encode(errors="replace")
        if self._socket is None:
            self.said.emit(f"no host runs: {line.split(maxsplit=1)[0]!r} is not done", True)
        elif "\n" in line or len(text) > LONGEST_LINE + 1:
            self._setting[path] -= 1
            self._tell_value(path)
            self.said.emit(f"{line[:40]!r}... is more than a line of {LONGEST_LINE} bytes: not sent", True)
        else:
            self._asked.append(_Request(done, path))
            self._unsent += text
            self._write()

    def _write(self) -> None:
        if self._socket is None or self._writable is None:
            return
        with suppress(BlockingIOError):
            try:
                del self._unsent[: self._socket.send(self._unsent)]
            except (BrokenPipeError, ConnectionResetError):  # `_read` will know.
                self._unsent.clear()
        self._writable.setEnabled(bool(self._unsent))

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            got = self._socket.recv(AT_ONCE)
        except BlockingIOError:
            return
        except ConnectionResetError:
            got = b""
        if got:
            self._hear()
        *lines, self._begun = (self._begun + got).split(b"\n")
        for line in lines:
            if self._socket is not None:
                self._take(json.loads(line))
        if not got:
            self.detach(ENDED)

    def _take(self, message: dict[str, Any]) -> None:
        if "event" in message:
            self._enter(message)
            return
        request = self._asked.popleft() if self._asked else _Request(None)
        if request.path:
            self._setting[request.path] -= 1
            if not message["ok"]:
                self._tell_value(request.path)
        if request.done is not None:
            request.done(message)

    def _refused_at_once(self, answer: dict[str, Any]) -> None:
        if not answer["ok"]:
            self.detach(answer["error"])

    def _first_state(self, answer: dict[str, Any]) -> None:
        self._take_state(answer["state"])
        self.attached.emit(self.pid)
        self.stated.emit(self.state)

    def _take_state(self, state: dict[str, Any]) -> None:
        self.state = state
        self._note_deck()

    def _note_deck(self) -> None:
        self._told_deck = 0 if self.observation is None else self.observation.blocks

    def _ask_state(self) -> None:
        """Ask for a new state; if one is on its way, when that has come."""
        self._is_old = self._is_asked
        if not self._is_asked:
            self._is_asked = True
            self._ask("state", self._next_state)

    def _next_state(self, answer: dict[str, Any]) -> None:
        self._is_asked = False
        if answer["ok"]:
            self._take_state(answer["state"])
            self.stated.emit(self.state)
        if self._is_old:
            self._ask_state()

    def _say_answer(self, answer: dict[str, Any]) -> None:
        self.said.emit(answer.get("answer", answer.get("error", "")), not answer["ok"])

    def _say_error(self, answer: dict[str, Any]) -> None:
        if not answer["ok"]:
            self.said.emit(answer["error"], True)

    def _enter(self, event: dict[str, Any]) -> None:
        """Enter an event in the state, and tell it."""
        kind = event["event"]
        if not self.state:
            return  # The first one will have it.
        if kind in _ENTER:
            _ENTER[kind](self.state, event)
        if kind == "deck":
            self._note_deck()
        if kind in NEWS:
            self._ask_state()
        if kind in ("note", "problem") or (kind == "done" and not event["heard"]):
            self.said.emit(event["text"], kind != "note")
        if kind == "set" and (self._setting[event["parameter"]] or event["parameter"] in self._values):
            return  # It is older than what is on its way.
        self.changed.emit(event)

    def _tell_value(self, path: str) -> None:
        """Tell a value that was not changed, so that what shows another one goes back."""
        parameter = _parameter(self.state, path)
        if parameter is not None and not self._setting[path]:
            self.changed.emit(
                {
                    "event": "set",
                    "parameter": path,
                    "value": parameter["value"],
                    "text": f"{path} is as it was",
                }
            )


def _written(value: float | str) -> str:
    """A value as a line has it."""
    return f"'{value}'" if isinstance(value, str) else repr(float(value))


def playhead(deck: dict[str, Any], elapsed: float) -> float:
    """Where a deck is, so many seconds after it was in a state; in seconds of the file.

    Parameters
    ----------
    deck
        As in `rtaudio.state`.
    elapsed
        Seconds of sound since then.
    """
    at = float(deck["position"])
    if not deck["playing"]:
        return at
    loop = deck["loop"]
    if loop is not None and at < loop[1] <= at + elapsed:
        begin, end = loop
        return float(begin + (at + elapsed - end) % (end - begin))
    return min(at + elapsed, float(deck["duration"]))


def nodes_of(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a state, those inside of composites too."""
    return [each for node in state.get("nodes", ()) for each in (node, *node["inside"])]


def insert_line(state: dict[str, Any], node: str) -> str:
    """The control line that puts a node at the end of a rack, but before a limiter there."""
    limiters = [each["name"] for each in state["nodes"] if each["engine"] == "limiter"]
    last = next((name for name in limiters if f"{name}.out -> out.main" in state["edges"]), "")
    return f"insert {f'before {last}' if last else 'last'} {node}"


def _parameter(state: dict[str, Any], path: str) -> dict[str, Any] | None:
    """What a state says of a parameter; None where there is none."""
    name, _, parameter = path.rpartition(".")
    for node in nodes_of(state):
        if node["name"] == name:
            return next((each for each in node["parameters"] if each["id"] == parameter), None)
    return None


def _enter_value(state: dict[str, Any], event: dict[str, Any]) -> None:
    parameter = _parameter(state, event["parameter"])
    if parameter is not None:
        parameter["value"] = event["value"]


def _enter_switch(state: dict[str, Any], event: dict[str, Any]) -> None:
    for node in state["nodes"]:
        if node["name"] == event["node"]:
            node[event["switch"]] = event["on"]


def _enter_deck(state: dict[str, Any], event: dict[str, Any]) -> None:
    state["deck"] = event["deck"]


def _enter_edits(state: dict[str, Any], event: dict[str, Any]) -> None:
    state["loading"] = event["edits"]


def _enter_comparison(state: dict[str, Any], event: dict[str, Any]) -> None:
    state["compare"] = event["compare"]


def _enter_recordings(state: dict[str, Any], event: dict[str, Any]) -> None:
    state["recordings"] = event["recordings"]


def _enter_note(state: dict[str, Any], event: dict[str, Any]) -> None:
    state["notes"] = [*state["notes"], event["text"]][-KEPT:]


def _enter_problem(state: dict[str, Any], event: dict[str, Any]) -> None:
    state["problems"] = [*state["problems"], event["text"]][-KEPT:]


_ENTER: dict[str, Callable[[dict[str, Any], dict[str, Any]], None]] = {
    "set": _enter_value,
    "switch": _enter_switch,
    "deck": _enter_deck,
    "loading": _enter_edits,
    "compare": _enter_comparison,
    "record": _enter_recordings,
    "note": _enter_note,
    "problem": _enter_problem,
}
