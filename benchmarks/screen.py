"""A display without a screen, with a window manager: its pixels as they are drawn, and a hand at a mouse."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
from jackd import child, end
from numpy.typing import NDArray

SIZE = (1400, 900)
"""A window of 1280 x 800 has room."""
PROGRAMS = {"Xvfb": "xvfb", "openbox": "openbox", "xdotool": "xdotool", "setpriv": "util-linux"}
PATIENCE = 30.0
"""Seconds that a command of xdotool may take."""


def absent() -> str | None:
    """Why there can be no display here, in a line; None when there can."""
    missing = [f"{name} ({package})" for name, package in PROGRAMS.items() if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


class Screen:
    """A display of its own, white where no window is, for a ``with`` block.

    Attributes
    ----------
    environment
        Leads programs to it.
    pixels : uint8[rows, columns, 4]
        What is seen now: blue, green, red, and nothing. It changes as programs draw.
    server
        The process of the X server.
    """

    pixels: NDArray[np.uint8]

    def __enter__(self) -> Screen:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            reading, writing = os.pipe()
            screen = [
                "-screen",
                "0",
                "{}x{}x24".format(*SIZE),
                "-wr",
                "-fbdir",
                str(folder),
                "-nolisten",
                "tcp",
            ]
            self.server = self._start(
                ["Xvfb", "-displayfd", str(writing), *screen], dict(os.environ), writing
            )
            stack.callback(end, self.server)
            os.close(writing)
            with open(reading, encoding="ascii") as told:
                name = f":{told.readline().strip()}"
            others = ("WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
            self.environment = {key: text for key, text in os.environ.items() if key not in others}
            self.environment["DISPLAY"] = name
            stack.callback(end, self._start(["openbox"], self.environment))
            self._see(folder / "Xvfb_screen0")
            self._x, self._test = ctypes.CDLL("libX11.so.6"), ctypes.CDLL("libXtst.so.6")
            self._x.XOpenDisplay.restype = ctypes.c_void_p
            self._display = ctypes.c_void_p(self._x.XOpenDisplay(name.encode()))
            self._all = stack.pop_all()
        return self

    @staticmethod
    def _start(
        command: list[str], environment: dict[str, str], kept: int | None = None
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            child(command),
            env=environment,
            pass_fds=[] if kept is None else [kept],
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def _see(self, file: Path) -> None:
        header = struct.unpack(">25I", file.read_bytes()[:100])
        begin, height, row, colours = header[0] + 12 * header[19], header[5], header[12], 4
        rows = np.memmap(file, np.uint8, "r", begin, (height, row))
        self.pixels = rows.reshape(height, -1, colours)

    def do(self, *words: object) -> str:
        """What xdotool prints; empty if it cannot do it."""
        done = subprocess.run(
            ["xdotool", *map(str, words)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.stdout.strip()

    def click(self, x: int, y: int) -> int:
        """Press and release the mouse's button at a place; when that began, in ns of the monotonic clock."""
        self._test.XTestFakeMotionEvent(self._display, -1, x, y, 0)
        self._x.XSync(self._display, 0)
        pressed = time.monotonic_ns()
        for down in (1, 0):
            self._test.XTestFakeButtonEvent(self._display, 1, down, 0)
        self._x.XFlush(self._display)
        return pressed

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._x.XCloseDisplay(self._display)
        self._all.close()
