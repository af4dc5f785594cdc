"""``rtaudio ctl``: steers a host that runs live in another process.

It imports little, and nothing that it needs only for the answer before the line is on its way.
"""

from __future__ import annotations

import sys
from contextlib import suppress

from rtaudio.errors import UserError
from rtaudio.server import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from typing import Any, BinaryIO

PATIENCE = 30.0
"""Seconds that an answer may take: a seek in a long file reads it."""
ENDED = "the host has ended"


def add_command(commands: Any) -> None:
    """Add ``ctl``."""
    import argparse

    from rtaudio import cli

    ctl = commands.add_parser(
        "ctl",
        help="steer a running host",
        description="Steer a host that runs live in another process, with the words that it takes on its "
        "terminal: 'rtaudio ctl set gain.gain -6', 'rtaudio ctl help'. Without words, lines come from "
        "standard input, over one connection. 'rtaudio ctl watch' tells what happens until Ctrl-C.",
        epilog="exit status: 0 done, 2 refused",
    )
    ctl.add_argument("--pid", type=cli.whole, metavar="P", help="process of the host (default: the only one)")
    ctl.add_argument("--json", action="store_true", help="print answers as they come, a line of JSON each")
    ctl.add_argument(
        "--wait", action="store_true", help="return when what a line loads is heard (or refused: status 2)"
    )
    ctl.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="WORDS", help="(default: lines of standard input)"
    )
    ctl.set_defaults(run=lambda options: run(options.words, options.pid, options.json, options.wait))


def parse(arguments: Sequence[str]) -> tuple[list[str], int | None, bool, bool] | None:
    """What `run` takes, from what follows ``ctl``; None: more than that is in it, or a mistake."""
    words, pid, as_json, wait = list(arguments), None, False, False
    while words and words[0].startswith("-"):
        option, equals, number = words.pop(0).partition("=")
        if option == "--json" and not equals:
            as_json = True
        elif option == "--wait" and not equals:
            wait = True
        elif option == "--pid":
            if not equals:
                number = words.pop(0) if words else ""
            if not (number.isascii() and number.isdigit() and len(number) < 11 and 0 < int(number) < 2**31):
                return None
            pid = int(number)
        else:
            return None
    return words, pid, as_json, wait


def main(words: Sequence[str], pid: int | None = None, as_json: bool = False, wait: bool = False) -> int:
    """``rtaudio ctl``, without the rest of the command line; returns the exit status."""
    try:
        return run(words, pid, as_json, wait)
    except (UserError, KeyboardInterrupt, OSError) as error:
        from rtaudio import cli

        return cli.failed(error)


def run(words: Sequence[str], pid: int | None = None, as_json: bool = False, wait: bool = False) -> int:
    """Send the words as one line, or the lines of standard input, and print the answers.

    Where it is to wait, the next line is sent, or it returns, when the edit that a line began is over.
    Returns 0, or 2 if a line, or its edit, was refused. `UserError` where there is no host.
    """
    line = " ".join(word or "''" for word in words)
    if "\n" in line:
        raise UserError("the words are more than one line: give lines on standard input")
    status = 0
    with connect(pid) as connection, connection.makefile("rb") as answers:
        connection.settimeout(PATIENCE)
        if wait:
            _send(connection, b"watch")
            told = _message(answers)
            if told is not None and not told["ok"]:
                _print(told, as_json)
                return 2
        for each in [line.encode(errors="replace")] if words else sys.stdin.buffer:
            status = max(status, _ask(connection, answers, each, as_json, wait))
        if words == ["watch"] and not status:
            connection.settimeout(None)
            try:
                while (message := _message(answers)) is not None:
                    _print(message, as_json)
            except KeyboardInterrupt:
                return 0
            raise UserError(ENDED)
    return status


def _ask(connection: socket.socket, answers: BinaryIO, line: bytes, as_json: bool, wait: bool = False) -> int:
    """Send a line and print its answer, and the events before it; returns the exit status.

    Where it is to wait, of events that only is printed which ends the edit that the line began.
    """
    _send(connection, line)
    edit = None
    while (message := _message(answers)) is not None:
        ends = edit is not None and message.get("edit") == edit and "heard" in message
        if ends or "ok" in message or not wait:
            _print(message, as_json)
        if ends:
            connection.settimeout(PATIENCE)
            return 0 if message["heard"] else 2
        if "ok" in message:
            edit = message.get("edit")
            if not wait or edit is None:
                return 0 if message["ok"] else 2
            connection.settimeout(None)
    raise UserError(ENDED)


def _send(connection: socket.socket, line: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # It may have said why.
        connection.sendall(line.removesuffix(b"\n") + b"\n")


def _message(answers: BinaryIO) -> dict[str, Any] | None:
    """The next answer or event; None where nothing more comes."""
    import json

    try:
        line = answers.readline()
    except TimeoutError:
        raise UserError(f"the host has not answered for {PATIENCE:g} s") from None
    except ConnectionResetError:
        return None
    if not line:
        return None
    message: dict[str, Any] = json.loads(line)
    return message


def _print(message: dict[str, Any], as_json: bool) -> None:
    """Print an answer or event: refusals, in words, on stderr."""
    import json

    if as_json:
        text, file = json.dumps(message), sys.stdout
    elif "error" in message:
        text, file = f"rtaudio: {message['error']}", sys.stderr
    elif not message.get("heard", True):
        text, file = f"rtaudio: {message['text']}", sys.stderr
    else:
        text, file = message.get("answer", message.get("text", "")), sys.stdout
    if text:
        file.write(f"{text}\n")
        file.flush()
