"""The command ``rtaudio gui``: it finds a host or starts one, and shows the window."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rtaudio.errors import UserError

DEFAULT = ("--howl-guard",)
"""Options of a host of which nothing is said: its microphone and loudspeaker may be in one room."""
STAY = "--stay"
"""Option of every host of a window: it does not end with what a file has to play."""
_VALUES = (
    "chain",
    "api",
    "input",
    "output",
    "map",
    "rate",
    "block",
    "lane",
    "file",
    "start",
    "channels",
    "record",
    "record-input",
    "compute",
    "midi-delay",
)
_MAYBE_VALUES = ("loop", "midi", "virtual-mic")
_FLAGS = ("howl-guard", "monitor", "no-safe-start")
"""Options of ``rtaudio live`` that are handed on: with a value, with or without one, and switches."""


def command(commands: Any) -> None:
    """Add ``gui`` to the command line."""
    from rtaudio.cli import whole

    parser = commands.add_parser(
        "gui",
        help="show the window",
        description="Show the window. Where one host runs live, and nothing is said of another, it shows "
        "that one; else it starts 'rtaudio live' with the options below, which are explained there, unless "
        "a host runs that was started with the same in this folder: then it shows that. The "
        "sound is another process's: it goes on whatever becomes of the window.",
        epilog="exit status: 0 closed, 2 a mistake, found before there was a window",
    )
    parser.add_argument("--pid", type=whole, metavar="P", help="process of the host to show")
    live = parser.add_argument_group("options of 'rtaudio live'")
    for name in _VALUES:
        live.add_argument(f"--{name}", metavar=name[0].upper())
    for name in _MAYBE_VALUES:
        live.add_argument(f"--{name}", nargs="?", const=True, metavar=name[0].upper())
    for name in _FLAGS:
        live.add_argument(f"--{name}", action="store_true")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """``rtaudio gui``."""
    from rtaudio.cli import say

    wanted = live_options(options)
    pid = _host(options.pid, wanted)
    if pid is None:
        wanted = [*(wanted or DEFAULT), STAY]
        _check(wanted)
    asked = os.environ.get("QT_QPA_PLATFORM", "")
    _check_display()
    try:
        from gui.application import Settings, application, set_theme
        from gui.link import Link
        from gui.process import HostProcess
        from gui.window import Window
    except ImportError as error:
        raise UserError(f"the window needs PySide6 ({error}): pip install 'rtaudio[gui]'") from None
    settings = Settings()
    made = application()
    set_theme(settings.theme)
    if made.platformName() == "offscreen" and "offscreen" not in asked:
        raise UserError(f"the display cannot be used: {_displays()}; 'rtaudio live' plays without a window")
    how = ""
    if pid is None and (pid := _started_with(wanted)) is not None:
        how = f"the host in process {pid} was started with these options already: this window shows that one"
    window = Window(Link(), HostProcess(), settings, wanted)
    made.setQuitOnLastWindowClosed(True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: window.leave())
    window.show()
    made.processEvents()
    if pid is None:
        window.start()
    window.fill()
    if pid is not None:
        window.attach(pid, how)
    status = int(made.exec())
    if window.left:
        say(window.left)
    return status


def live_options(options: argparse.Namespace) -> list[str]:
    """What is to be handed to ``rtaudio live``."""
    found = []
    for name in (*_VALUES, *_MAYBE_VALUES, *_FLAGS):
        value = getattr(options, name.replace("-", "_"))
        if value is True:
            found.append(f"--{name}")
        elif value not in (None, False):
            found.append(f"--{name}={value}")
    return found


def _host(pid: int | None, options: Sequence[str]) -> int | None:
    """The process of the host to show; None: one is to be started.

    Raises
    ------
    UserError
        There is no such host, or several are meant.
    """
    from rtaudio.server import hosts

    if pid is not None:
        if options:
            raise UserError(f"--pid shows a host that runs: leave {' '.join(options)} out")
        if pid not in hosts():
            raise UserError(f"process {pid} runs no live host of yours: see 'rtaudio status'")
        return pid
    found = [] if options else hosts()
    if len(found) > 1:
        raise UserError(f"hosts that run live: {', '.join(map(str, found))}: say which with --pid")
    return found[0] if found else None


def _started_with(options: Sequence[str]) -> int | None:
    """The process of a host that was started with the same options in this folder; None: there is none."""
    from gui.recovery import options_of
    from rtaudio.server import hosts

    wanted, here = _parsed(options), os.getcwd()
    for pid in hosts():
        with suppress(UserError):  # It has just ended.
            found, folder = options_of(pid)
            if folder == here and found and _parsed(found) == wanted:
                return pid
    return None


def _check(options: Sequence[str]) -> None:
    """Refuse what ``rtaudio live`` would refuse at once."""
    parsed = _parsed(options)
    if parsed.file is not None and not Path(parsed.file).exists():
        raise UserError(f"{parsed.file}: no such file")


def _parsed(options: Sequence[str]) -> argparse.Namespace:
    """The options of ``rtaudio live`` as it understands them."""
    from rtaudio import live
    from rtaudio.cli import Parser

    parser = Parser(prog="rtaudio")
    live.add_commands(parser.add_subparsers(parser_class=Parser))
    return parser.parse_args(["live", *options])


def _check_display() -> None:
    """Refuse to show a window where there is no display. A Qt that cannot use it is not to abort."""
    if sys.platform != "linux" or "QT_QPA_PLATFORM" in os.environ:
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UserError("there is no display: 'rtaudio live' plays without a window")
    first = "wayland;xcb" if os.environ.get("WAYLAND_DISPLAY") else "xcb"
    os.environ["QT_QPA_PLATFORM"] = f"{first};offscreen"


def _displays() -> str:
    names = ("WAYLAND_DISPLAY", "DISPLAY")
    return ", ".join(f"{name}={os.environ[name]}" for name in names if os.environ.get(name))
