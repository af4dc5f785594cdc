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

    def pixels(self):
        """What is seen: uint8[rows, columns, 3], red, green, blue."""
        content = (self._folder / "Xvfb_screen0").read_bytes()
        header = struct.unpack(">25I", content[:100])
        begin, height, row, colours = header[0], header[5], header[12], header[19]
        rows = np.frombuffer(content, np.uint8, height * row, begin + 12 * colours).reshape(height, row)
        return rows.reshape(height, -1, 4)[:, : SIZE[0], 2::-1]

    def find(self, colour):
        """Middles of the spots of a colour that are as large as the handle of a fader, from the top."""
        wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        found = (np.abs(self.pixels().astype(int) - wanted) < 8).all(axis=2)
        spots = []
        for y, x in np.argwhere(found):
            if all(abs(x - other) > 12 or abs(y - top) > 14 for other, top in spots):
                spots.append((int(x), int(y)))
        middles = [(x, y + 5) for x, y in spots]
        return [(x, y) for x, y in middles if found[y - 3 : y + 4, x - 3 : x + 4].all()]


_OTHERS = ("WAYLAND_DISPLAY", "QT_QPA_PLATFORM")


def until(happened):
    """Look again until something has happened; what it returned."""
    limit = time.monotonic() + PATIENCE
    while not (found := happened()):
        assert time.monotonic() < limit
        time.sleep(0.02)
    return found


@contextmanager
def display():
    """A display for a while; skips the test where a program is missing."""
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install {package}")
    with tempfile.TemporaryDirectory() as folder:
        reading, writing = os.pipe()
        screen = ["-screen", "0", "{}x{}x24".format(*SIZE), "-fbdir", folder, "-nolisten", "tcp"]
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
