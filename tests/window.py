"""The window in tests: hosts that really play, and a window that shows them."""

import os
import sys
from contextlib import contextmanager

import pytest
from live_process import live

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)

from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QApplication

from gui.application import Settings, application
from gui.link import Link
from gui.process import HostProcess
from gui.window import Window

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


def own_folders(tmp_path, monkeypatch):
    """Give a test folders of its own, for sockets, settings, logs and racks: for an autouse fixture."""
    for name in ("RUNTIME_DIR", "CONFIG_HOME", "STATE_HOME", "DATA_HOME"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        monkeypatch.setenv(f"XDG_{name}", str(folder))


@pytest.fixture(autouse=True, scope="module")
def folders(tmp_path_factory):
    """Folders of their own for the tests of a module that imports this."""
    with pytest.MonkeyPatch.context() as patch:
        own_folders(tmp_path_factory.mktemp("folders"), patch)
        yield


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
