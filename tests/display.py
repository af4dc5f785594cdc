"""A display without a screen, with a window manager, for tests of real windows."""

import os
import shutil
import struct
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

PATIENCE = 30.0
"""Seconds after which something that should have happened is taken not to."""
SIZE = (1280, 800)
PROGRAMS = {"Xvfb": "xvfb", "openbox": "openbox", "xdotool": "xdotool", "setpriv": "util-linux"}


class Display:
    """A display: its name, its pixels, and the hands at its mouse and keyboard."""

    def __init__(self, name, folder):
        self.name, self._folder = name, folder
        self.env = {key: value for key, value in os.environ.items() if key not in _OTHERS} | {"DISPLAY": name}

    def do(self, *words):
        """What xdotool prints; empty if it cannot do it."""
        done = subprocess.run(
            ["xdotool", *map(str, words)],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.stdout.strip()

    def pixels(self, place=None):
        """What is seen at a place (left, top, width, height), or everywhere: uint8[rows, columns, 3], RGB."""
        file = self._folder / "Xvfb_screen0"
        with file.open("rb") as opened:
            header = struct.unpack(">25I", opened.read(100))
        begin, width, height, row, colours = header[0], header[4], header[5], header[12], header[19]
        rows = np.memmap(file, np.uint8, "r", begin + 12 * colours, (height, row))
        x, y, across, down = place or (0, 0, width, height)
        return rows.reshape(height, -1, 4)[y : y + down, x : x + across, 2::-1].copy()


_OTHERS = ("WAYLAND_DISPLAY", "QT_QPA_PLATFORM")


def until(happened):
    """Look again until something has happened; what it returned."""
    limit = time.monotonic() + PATIENCE
    while not (found := happened()):
        assert time.monotonic() < limit
        time.sleep(0.02)
    return found


@contextmanager
def display(size=SIZE):
    """A display for a while, white where no window is; skips the test where a program is missing."""
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install {package}")
    with tempfile.TemporaryDirectory() as folder:
        reading, writing = os.pipe()
        screen = ["-screen", "0", "{}x{}x24".format(*size), "-wr", "-fbdir", folder, "-nolisten", "tcp"]
        server = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "Xvfb", "-displayfd", str(writing), *screen],
            pass_fds=[writing],
            stderr=subprocess.DEVNULL,
        )
        os.close(writing)
        with open(reading) as told:
            name = f":{told.readline().strip()}"
        made = Display(name, Path(folder))
        manager = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "openbox"], env=made.env, stderr=subprocess.DEVNULL
        )
        try:
            yield made
        finally:
            for process in (manager, server):
                process.terminate()
                process.wait()
