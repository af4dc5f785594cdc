"""A real window on a display, a real mouse and keyboard, and what is heard of them."""

import os
import signal
import subprocess
from contextlib import contextmanager

import numpy as np
import pytest
from display import display, until
from PySide6.QtGui import QPalette
from test_link import state_of, value
from test_window import tone
from window import PROGRAM, host, own_folders

from gui.application import COLOURS, Settings
from gui.rack import NARROWEST
from rtaudio.observation import Observation
from rtaudio.server import hosts

pytestmark = pytest.mark.alone

HANDLE = COLOURS["dark"][QPalette.ColorRole.Link]


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    own_folders(tmp_path, monkeypatch)


@contextmanager
def running(screen, *options):
    """``rtaudio gui`` on a display; gone in the end."""
    with subprocess.Popen([*PROGRAM, *map(str, options)], env=screen.env) as program:
        try:
            yield program
        finally:
            program.kill()


def level(seen, view):
    """RMS of a view, in dBFS."""
    return float(20 * np.log10(max(1e-9, seen.meters(view).rms.max())))


def shown(screen):
    """The number of the window, when it is there and has the focus."""
    found = screen.do("search", "--onlyvisible", "--name", "rtaudio")
    if found:
        screen.do("windowactivate", "--sync", found.split()[-1])
    return found and screen.do("getactivewindow") in found.split() and found


def test_mouse_and_keys_are_heard(tmp_path):
    Settings().match_loudness = False
    with (
        host("--file", tone(tmp_path), "--loop", chain="gain") as started,
        display() as screen,
        running(screen, "--pid", started.process.pid) as program,
    ):
        seen = Observation(started.process.pid)
        window = until(lambda: shown(screen)).split()[-1]
        x, y = until(lambda: [(x, y) for x, y in screen.find(HANDLE) if x < NARROWEST])[0]
        until(lambda: abs(level(seen, "out") + 20) < 0.1)
        screen.do("mousemove", x, y, "mousedown", 1)
        for step in range(1, 9):
            screen.do("mousemove", x - 3 * step, y)
        screen.do("mouseup", 1)
        until(lambda: value(state_of(started), "gain.gain") < -3)
        until(
            lambda: abs(level(seen, "out") - level(seen, "in") - value(state_of(started), "gain.gain")) < 0.1
        )
        assert level(seen, "in") == pytest.approx(-20, abs=0.1)
        screen.do("key", "--window", window, "b")
        until(lambda: state_of(started)["nodes"][0]["bypass"])
        until(lambda: abs(level(seen, "out") + 20) < 0.1)
        screen.do("key", "--window", window, "b")
        until(lambda: not state_of(started)["nodes"][0]["bypass"])
        until(lambda: level(seen, "out") < -23)
        screen.do("key", "--window", window, "ctrl+q")
        until(lambda: program.poll() is not None)
        assert program.returncode == 0
        assert started.process.poll() is None


def test_it_ends_in_order_when_it_is_told_to(tmp_path):
    with display() as screen:
        words = ["--api", "null", "--file", tone(tmp_path), "--loop", "--chain", "gain"]
        with running(screen, *words) as program:
            until(lambda: shown(screen))
            (pid,) = until(hosts)
            program.send_signal(signal.SIGTERM)
            until(lambda: program.poll() is not None)
            assert program.returncode == 0
            until(lambda: not os.path.exists(f"/proc/{pid}"))
            assert hosts() == []
