"""The window in tests: hosts that really play, and a window that shows them."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import numba
import numpy as np
import pytest
from display import until as wait_until
from live_process import live

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)

from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QApplication

from gui.application import Settings, application
from gui.link import Link
from gui.process import HostProcess
from gui.window import Window, views
from rtaudio import native  # noqa: F401 - says where kernels are kept

PATIENCE_MS = 60_000
"""Milliseconds after which something that should have happened is taken not to."""
PROGRAM = (
    sys.executable,
    "-c",
    """
import sys
from gui.command import command
from rtaudio import cli
parser = cli.Parser(prog="rtaudio")
command(parser.add_subparsers(parser_class=cli.Parser))
options = parser.parse_args()
try:
    sys.exit(options.run(options))
except cli.UserError as error:
    sys.exit(cli.failed(error))
""",
    "gui",
)
"""``rtaudio gui``, whether or not it is installed as a command."""
TELLS = """
import json
import sys

from PySide6.QtCore import QPoint, QSocketNotifier
from PySide6.QtWidgets import QApplication

from gui.application import application
from gui.spectrogram import Spectrogram
from gui.window import Window


def place(widget, part):
    ratio, corner = widget.devicePixelRatioF(), widget.mapToGlobal(QPoint(0, 0)) + part.topLeft()
    return [round(ratio * each) for each in (corner.x(), corner.y(), part.width(), part.height())]


def words(widget):
    told = getattr(widget, "toPlainText", None) or getattr(widget, "text", None)
    return told() if callable(told) else ""


def tell():
    copied = json.loads(sys.stdin.readline())
    if copied:
        QApplication.clipboard().setText(copied)
    found = {"widgets": []}
    for each in QApplication.allWidgets():
        if isinstance(each, Window):
            found |= {
                "place": place(each, each.rect()),
                "ratio": each.devicePixelRatioF(),
                "active": each.isActiveWindow(),
                "minimised": each.isMinimized(),
                "interval": each._timer.interval(),
                "view": each.tabs.tabText(each.tabs.currentIndex()),
            }
        if each.isVisible() and not each.visibleRegion().isEmpty():
            part = each.picture if isinstance(each, Spectrogram) else each.rect()
            told = {"name": each.accessibleName(), "text": words(each), "can": each.isEnabled()}
            found["widgets"].append(told | {"place": place(each, part)})
    print(json.dumps(found), flush=True)


notifier = QSocketNotifier(sys.stdin.fileno(), QSocketNotifier.Type.Read, application())
notifier.activated.connect(tell)
"""
"""What a window's process does besides: it tells, for each line, where its widgets are, and what they say. A
line is a text in JSON for the clipboard; an empty one leaves that as it is."""


def own_folders(tmp_path, monkeypatch):
    """Give a test folders of its own for sockets, settings, logs, racks and outlines; for autouse fixtures.

    Kernels stay where they are: hosts need not compile them anew.
    """
    monkeypatch.setenv("NUMBA_CACHE_DIR", numba.config.CACHE_DIR)
    for name in ("RUNTIME_DIR", "CONFIG_HOME", "STATE_HOME", "DATA_HOME", "CACHE_HOME"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        monkeypatch.setenv(f"XDG_{name}", str(folder))


@pytest.fixture(autouse=True, scope="module")
def folders(tmp_path_factory):
    """Folders of their own for the tests of a module that imports this; where they lie."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("folders")
        own_folders(folder, patch)
        yield folder


@contextmanager
def host(*options, chain="gain"):
    """A host (`live_process.Live`) that plays through the null device and takes lines."""
    with live("--api", "null", "--chain", chain, *options) as started:
        started.line("READY")
        yield started


def until(qtbot, happened):
    """Let the window go on until something has happened; what it returned."""
    found = []

    def check():
        found[:] = [happened()]
        return bool(found[0])

    qtbot.waitUntil(check, timeout=PATIENCE_MS)
    return found[0]


@contextmanager
def attached(qtbot, started):
    """A `Link` to a host."""
    application()
    link = Link()
    try:
        link.attach(started.process.pid)
        until(qtbot, lambda: link.state)
        yield link
    finally:
        link.detach("the test ends")


@contextmanager
def window(qtbot, started=None, options=()):
    """A window that is shown, attached to a host if there is one."""
    application()
    made = Window(Link(), HostProcess(), Settings(), options)
    made.show()
    made.fill()
    try:
        if started is not None:
            made.attach(started.process.pid)
            until(qtbot, lambda: made.link.state)
        yield made
    finally:
        made.close()
        made.deleteLater()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


class Shown:
    """A window of another process on a display: where its widgets are. Hands and eyes are the display's."""

    def __init__(self, screen, process):
        self.screen, self.process = screen, process

    def told(self, copied=""):
        """What it tells of itself, and of those widgets that are seen; a text is copied to the clipboard."""
        self.process.stdin.write(f"{json.dumps(copied)}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def find(self, name):
        """Where a widget is (left, top, width, height, in pixels of the screen), once it is seen."""
        return wait_until(
            lambda: [each["place"] for each in self.told()["widgets"] if name in (each["name"], each["text"])]
        )[0]

    def reads(self, part):
        """Whether some widget that is seen says something."""
        return any(part in each["text"] for each in self.told()["widgets"])

    def can(self, name):
        """Whether a widget is seen and can be used."""
        return any(name in (each["name"], each["text"]) and each["can"] for each in self.told()["widgets"])

    def click(self, name):
        """Press the mouse's left button in the middle of a widget."""
        x, y, width, height = self.find(name)
        self.screen.do("mousemove", x + width // 2, y + height // 2, "click", 1)

    def press(self, *keys):
        """Press keys, as they come from the keyboard."""
        wait_until(lambda: self.told()["active"])
        self.screen.do("key", *keys)

    def view(self, number):
        """Show a view by its key, and its title, once it is there."""
        self.press(f"ctrl+{number}")
        titles = [view.title for view in views()]
        wait_until(lambda: self.told()["view"] == titles[number - 1])
        return titles[number - 1]

    def picture(self, title):
        """The pixels of a spectrogram."""
        return self.screen.pixels(self.find(f"Spectrogram: {title}"))

    def rolls(self, title):
        """Whether a spectrogram moves on the screen."""
        before = self.picture(title)
        return wait_until(lambda: not np.array_equal(before, self.picture(title)))


@contextmanager
def running(screen, *options, env=None):
    """``rtaudio gui`` on a display, as `Shown`; gone in the end."""
    code = f"{TELLS}\n{PROGRAM[2]}"
    command = [*PROGRAM[:2], code, *PROGRAM[3:], *map(str, options)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=screen.env | (env or {}), stdin=pipe, stdout=pipe, text=True
    ) as program:
        try:
            yield Shown(screen, program)
        finally:
            program.kill()
