"""The control thread's work: lines of everybody are applied here, in their order, and everybody is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rtaudio import control
from rtaudio.cli import one_line
from rtaudio.edit import reason
from rtaudio.errors import UserError
from rtaudio.server import text_of
from rtaudio.state import Changes, deck_state

if TYPE_CHECKING:
    from rtaudio.edit import Edit
    from rtaudio.host import Host
    from rtaudio.server import Client, Server


class Steering:
    """Steers a host by the lines of a server. Everything from one thread.

    Parameters
    ----------
    say
        Tells the user of this process: problems, notes, and what standard input is answered. Called with the
        text and whether it answers a line.

    Attributes
    ----------
    problems : int
        How many of the host's problems were told.
    """

    def __init__(self, host: Host, server: Server, say: Callable[[str, bool], None]) -> None:
        self._host, self._server, self._say = host, server, say
        self.problems = self._notes = 0
        self._changes: Changes | None = None
        self._deck_changes = 0
        self._faults: set[str] = set()
        self._edits: dict[Edit, int] = {}
        """Those that lines have begun and that are not over, with their numbers."""
        self._begun = 0

    def look(self) -> None:
        """Watch over the host, and tell what has happened. Several times a second."""
        host = self._host
        with self._surviving("watching over the host"):
            host.poll()
        host.notes += self._server.notes
        self._server.notes.clear()
        for problem in host.problems[self.problems :]:
            self._say(f"warning: {problem}", False)
            self._server.tell({"event": "problem", "text": one_line(problem)})
        for note in host.notes[self._notes :]:
            self._say(one_line(note), False)
            self._server.tell({"event": "note", "text": one_line(note)})
        self.problems, self._notes = len(host.problems), len(host.notes)
        self._tell_ends()
        with self._surviving("telling what has changed"):
            self._tell_changes()

    def serve(self, seconds: float) -> bool:
        """Apply the lines that come within this time; False where one asks to quit."""
        for client, line in self._server.take(seconds):
            answer = self._answer(client, line)
            if client is not self._server.standard_input:
                self._server.send(client, answer or {"ok": True, "answer": "the host ends"})
            elif answer is not None:
                self._say(str(answer.get("answer", answer.get("error"))), True)
            if answer is None:
                return False
        with self._surviving("telling what has changed"):
            self._tell_changes()
        return True

    @contextmanager
    def _surviving(self, what: str) -> Iterator[None]:
        """Make a fault of this program, or of an engine, a problem, told once: the sound goes on."""
        try:
            yield
        except Exception as error:
            fault = f"{what} failed: {reason(error)}"
            if fault not in self._faults:
                self._faults.add(fault)
                self._host.problems.append(fault)

    def _answer(self, client: Client, line: bytes) -> dict[str, Any] | None:
        """Do what a line says; None where it asks to quit."""
        try:
            text = text_of(line)
            words = text.split()
            if words[:1] == ["watch"] and client is not self._server.standard_input:
                return self._watch(client, words[1:])
            before = self._host.edits
            answer = control.apply(self._host, text)
        except UserError as error:
            return {"ok": False, "error": one_line(str(error))}
        except Exception as error:  # A fault of this program, or of an engine: the sound goes on.
            self._host.problems.append(f"{text!r} failed: {reason(error)}")
            return {"ok": False, "error": one_line(reason(error))}
        if answer is None:
            return None
        facts = answer.facts if isinstance(answer, control.Answer) else {}
        return {"ok": True, "answer": one_line(answer), **facts, **self._numbered(before)}

    def _numbered(self, before: list[Edit]) -> dict[str, int]:
        """The number of the edit that has begun since there were those before, if one has."""
        begun = [edit for edit in self._host.edits if edit.name and edit not in before]
        if not begun:
            return {}
        self._begun += 1
        self._edits[begun[-1]] = self._begun
        return {"edit": self._begun}

    def _tell_ends(self) -> None:
        """Tell of edits that lines have begun, and that are over, how they have ended."""
        for edit in [edit for edit in self._edits if edit.done]:
            error = UserError("it was undone") if edit.unwanted else edit.error
            text = f"{edit.name} is heard" if error is None else f"{edit.name}: {reason(error)}"
            number = self._edits.pop(edit)
            self._server.tell(
                {"event": "done", "edit": number, "heard": error is None, "text": one_line(text)}
            )

    def _watch(self, client: Client, arguments: list[str]) -> dict[str, Any]:
        if arguments not in ([], ["off"]):
            raise UserError(f"'watch {' '.join(arguments)}' is not of the form '{control.WATCH}'")
        self._tell_changes()
        client.watches = not arguments
        self._tell_changes()  # From here on.
        return {"ok": True, "answer": "watching" if client.watches else "not watching"}

    def _tell_changes(self) -> None:
        """Tell who watches what has changed since the last time."""
        if not self._server.watched:
            self._changes = None
        elif self._changes is None:
            self._changes = Changes(self._host)
        else:
            for event in self._changes.events():
                self._server.tell(event)
            deck = self._host.deck
            if deck is not None and deck.changes != self._deck_changes:
                self._deck_changes, now = deck.changes, deck_state(deck)
                text = "playing" if now["playing"] else "paused"
                self._server.tell({"event": "deck", "deck": now, "text": text})
