"""``rtaudio live`` in a process of its own, and what it says."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from queue import Empty, Queue

DEADLINE = 60.0
"""Seconds after which something that should have happened is taken not to."""


class Live:
    """A running ``rtaudio live``."""

    def __init__(self, *arguments, env=None, stdin=False):
        command = [sys.executable, "-m", "rtaudio", "live", *map(str, arguments)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if stdin else None,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | (env or {}),
        )
        self._lines = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stderr:
            self._lines.put(line.rstrip())
        self._lines.put(None)

    def line(self, part):
        """The next line that holds a text."""
        said = []
        while True:
            try:
                line = self._lines.get(timeout=DEADLINE)
            except Empty:
                raise AssertionError(f"no {part!r} in {said}") from None
            assert line is not None, f"ended without {part!r}: {said}"
            said.append(line)
            if part in line:
                return line

    def write(self, line):
        """Give it a line on standard input."""
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def end(self, number=signal.SIGINT):
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)


@contextmanager
def live(*arguments, env=None):
    """A `Live`, killed at the end."""
    host = Live(*arguments, env=env)
    try:
        yield host
    finally:
        host.process.kill()
        host.process.wait()
