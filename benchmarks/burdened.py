"""``rtaudio gui`` that tells where its widgets are, and that can be burdened: for `window.py`.

``python benchmarks/burdened.py [--bursts] OPTIONS`` takes lines on standard input and answers each by one:
``where NAME``: left, top, width and height, in pixels of the screen, of the widget that has this accessible
name or text, of a spectrogram those of its picture; 0 0 0 0 if none is seen. ``frames``: how often the window
has drawn, counted from the first such line on. With ``--bursts`` the window's process computes in Python for
20 ms, and writes a long JSON text, a C call that keeps the interpreter, in turn, five times a second.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import count
from typing import Any

from PySide6.QtCore import QPoint, QSocketNotifier, QTimer
from PySide6.QtWidgets import QApplication

from gui.application import application
from gui.command import command
from gui.spectrogram import Spectrogram
from gui.window import Window
from rtaudio.cli import Parser

BURST_S, EVERY_MS = 0.02, 200
TEXT = [{"number": each, "text": str(each)} for each in range(8000)]


def place(name: str) -> str:
    """Where a widget is."""
    for each in QApplication.allWidgets():
        words: Any = getattr(each, "text", str)
        if each.isVisible() and name in (each.accessibleName(), words() if callable(words) else ""):
            part = each.picture if isinstance(each, Spectrogram) else each.rect()
            ratio, corner = each.devicePixelRatioF(), each.mapToGlobal(QPoint(0, 0)) + part.topLeft()
            found = (corner.x(), corner.y(), part.width(), part.height())
            return " ".join(str(round(ratio * number)) for number in found)
    return "0 0 0 0"


class Frames:
    """How often the window has drawn."""

    def __init__(self) -> None:
        self._count = -1

    def __str__(self) -> str:
        if self._count < 0:
            self._count = 0
            window = next(each for each in QApplication.topLevelWidgets() if isinstance(each, Window))
            window._timer.timeout.connect(self._add)
        return str(self._count)

    def _add(self) -> None:
        self._count += 1


def main() -> int:
    """Show the window; the exit status is its."""
    words, frames, turns = sys.argv[1:], Frames(), count()

    def tell() -> None:
        line = sys.stdin.readline().strip()
        if line:
            print(frames if line == "frames" else place(line.removeprefix("where ")), flush=True)

    def burst() -> None:
        if next(turns) % 2:
            json.dumps(TEXT)
        else:
            end = time.perf_counter() + BURST_S
            while time.perf_counter() < end:
                pass

    made = application()
    lines = QSocketNotifier(sys.stdin.fileno(), QSocketNotifier.Type.Read, made)
    lines.activated.connect(tell)
    timer = QTimer(made)
    timer.timeout.connect(burst)
    if words[:1] == ["--bursts"]:
        words = words[1:]
        timer.start(EVERY_MS)
    parser = Parser(prog="rtaudio")
    command(parser.add_subparsers(parser_class=Parser))
    options = parser.parse_args(["gui", *words])
    return int(options.run(options))


if __name__ == "__main__":
    sys.exit(main())
