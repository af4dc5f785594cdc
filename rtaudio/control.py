"""The words that steer a running host: a line of text in, a line of text out.

| line | |
| --- | --- |
| ``seek TIME`` | go on from another place of the file |
| ``cue``, ``cue set [TIME]`` | go to the cue point; set it, here or there |
| ``loop [BEGIN END]``, ``loop off`` | repeat a part of the file, or all of it; play on |
| ``play``, ``pause`` | |
| ``set NODE.PARAMETER VALUE`` | as ``set remix.crossfade 0.5``, or ``set remix.residual_insert ''`` |
| ``mute NODE``, ``unmute NODE`` | and ``solo``, ``unsolo``, ``bypass``, ``unbypass`` |
| ``status``, ``help``, ``quit`` | |

What is fixed while sound runs, such as a model or a preset, is set by an edit (`Host.change`): it is loaded
while sound and lines go on, and heard in a crossfade; the host's notes tell when, or why not.

Times are seconds or ``m:ss``, both with decimals: 90.5 is 1:30.5. This module has no thread of its own:
whoever has a line applies it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from rtaudio.edit import shown
from rtaudio.errors import UserError, nearest

if TYPE_CHECKING:
    from rtaudio.deck import Deck
    from rtaudio.edit import Edit
    from rtaudio.host import Host
    from rtaudio.processor import Value

_TIME = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,4}):)?(\d{1,7}(?:\.\d*)?|\.\d+)", re.ASCII)


def parse_time(text: str) -> float:
    """Seconds that ``90.5``, ``1:30.5`` or ``1:02:03`` mean; `UserError` for anything else."""
    match = _TIME.fullmatch(text)
    hours, minutes, seconds = match.groups() if match else (None, None, "")
    if not seconds or (minutes and float(seconds) >= 60) or (hours and int(minutes or 0) >= 60):
        raise UserError(f"{text!r} is no time: write seconds, or m:ss")
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds)


def format_time(seconds: float) -> str:
    """``m:ss.mmm``."""
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    return f"{minutes}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"


def apply(host: Host, line: str) -> str | None:
    """Do what a line says; returns the answer, or None where it asks to quit.

    Raises
    ------
    UserError
        The line is wrong, or the host refuses it; nothing has changed.
    """
    words = line.split()
    if not words:
        return ""
    name, arguments = words[0], words[1:]
    if name == "set":
        arguments = line.strip().split(maxsplit=2)[1:]  # A text may have several spaces side by side.
    if name == "quit" and not arguments:
        return None
    if name not in _COMMANDS:
        raise UserError(f"no command {name!r}{nearest(name, _COMMANDS)} ({', '.join(_COMMANDS)})")
    usage, run = _COMMANDS[name]
    answer = run(host, arguments)
    if answer is None:
        raise UserError(f"{line.strip()!r} is not of the form '{usage}'")
    return answer


def _deck(host: Host) -> Deck:
    if host.deck is None:
        raise UserError("no file plays: start with --file")
    return host.deck


def _seek(host: Host, arguments: list[str]) -> str | None:
    if len(arguments) != 1:
        return None
    _deck(host).seek(parse_time(arguments[0]))
    return f"at {format_time(parse_time(arguments[0]))}"


def _cue(host: Host, arguments: list[str]) -> str | None:
    if arguments[:1] not in ([], ["set"]) or len(arguments) > 2:
        return None
    deck = _deck(host)
    if not arguments:
        deck.cue()
        return f"at the cue point, {format_time(deck.cue_point)}"
    deck.set_cue(parse_time(arguments[1]) if len(arguments) == 2 else None)
    return f"cue point at {format_time(deck.cue_point)}"


def _loop(host: Host, arguments: list[str]) -> str | None:
    if arguments != ["off"] and len(arguments) not in (0, 2):
        return None
    deck = _deck(host)
    if arguments == ["off"]:
        deck.clear_loop()
    else:
        deck.set_loop(*map(parse_time, arguments))
    return _loop_of(deck)


def _loop_of(deck: Deck) -> str:
    return "no loop" if deck.loop is None else "loop {} to {}".format(*map(format_time, deck.loop))


def _play(host: Host, arguments: list[str]) -> str | None:
    if arguments:
        return None
    _deck(host).play()
    return f"playing from {format_time(_deck(host).position)}"


def _pause(host: Host, arguments: list[str]) -> str | None:
    if arguments:
        return None
    _deck(host).pause()
    return f"paused at {format_time(_deck(host).position)}"


def _set(host: Host, arguments: list[str]) -> str | None:
    if len(arguments) != 2:
        return None
    path, text = arguments
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    value: Value = text
    if host.plan.parameter(path).scale != "text":
        value = {"true": True, "false": False}.get(text, text)
        with suppress(ValueError):
            value = float(text)
    edit = host.change(path, value)
    if edit is None:
        return f"{path} is {shown(text)}"
    ahead = [_named(each) for each in host.edits if each.path not in ("", edit.path)]
    return f"{_named(edit)} waits for {', '.join(ahead)}" if ahead else f"loading {_named(edit)}"


def _named(edit: Edit) -> str:
    return f"{edit.path} {edit.value}"


def _switch(switch: str, on: bool, done: str) -> Callable[[Host, list[str]], str | None]:
    def run(host: Host, arguments: list[str]) -> str | None:
        if len(arguments) != 1:
            return None
        getattr(host, switch)(arguments[0], on)
        return f"{arguments[0]} is {done}"

    return run


def _status(host: Host, arguments: list[str]) -> str | None:
    if arguments:
        return None
    report = host.statistics()
    words = [f"load {100 * report['load']:.1f} %", f"xruns {report['xruns']}", f"misses {report['misses']}"]
    if report["bypassed"]:
        words.append(f"bypassed {' '.join(report['bypassed'])}")
    words += [f"loading {_named(edit)}" for edit in host.edits if edit.path]
    if host.deck is not None:
        deck = host.deck
        at = f"{format_time(deck.position)} of {format_time(deck.duration)}"
        words = [at, "playing" if deck.playing else "paused", _loop_of(deck), *words]
    return ", ".join(words)


def _help(host: Host, arguments: list[str]) -> str | None:
    return None if arguments else " | ".join(usage for usage, _ in _COMMANDS.values())


_COMMANDS: dict[str, tuple[str, Callable[[Host, list[str]], str | None]]] = {
    "seek": ("seek TIME", _seek),
    "cue": ("cue [set [TIME]]", _cue),
    "loop": ("loop [BEGIN END | off]", _loop),
    "play": ("play", _play),
    "pause": ("pause", _pause),
    "set": ("set NODE.PARAMETER VALUE", _set),
    "mute": ("mute NODE", _switch("mute", True, "muted")),
    "unmute": ("unmute NODE", _switch("mute", False, "not muted")),
    "solo": ("solo NODE", _switch("solo", True, "soloed")),
    "unsolo": ("unsolo NODE", _switch("solo", False, "not soloed")),
    "bypass": ("bypass NODE", _switch("bypass", True, "bypassed")),
    "unbypass": ("unbypass NODE", _switch("bypass", False, "not bypassed")),
    "status": ("status", _status),
    "help": ("help", _help),
    "quit": ("quit", lambda host, arguments: None),
}
