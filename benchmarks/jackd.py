"""A private JACK server on the dummy driver: real-time scheduling, no sound card, no other clients."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

PRIORITY = 70
"""Real-time priority of the server; its clients run five below."""
PATIENCE = 10.0
"""Seconds that a server may take to start, or a child to end when asked."""
MESSAGES = 62
"""Real-time priority of the threads that pass on JACK's messages (of an xrun, for example)."""


def absent() -> str | None:
    """Why no server can be started here, in a line; None when one can."""
    missing = [tool for tool in ("jackd", "jack_wait") if shutil.which(tool) is None]
    if missing:
        return f"{' and '.join(missing)} not installed: apt-get install jackd2 jack-example-tools"
    return None


def child(command: list[str]) -> list[str]:
    """The command, such that it ends with this process where the system can see to it."""
    leash = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    return [*leash, *command]


def end(process: subprocess.Popen[str]) -> None:
    """Ask a process of ours to end, then make it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            continue


def prefer_messages(process: int, known: set[int] | None = None) -> None:
    """Give a process' ordinary threads real-time priority, except ``known`` ones.

    JACK tells of an xrun through ordinary threads of server and client. Beside programs that take all cores
    they come late, and so would the xrun's time stamp.
    """
    for thread in threads(process) - (known or set()):
        try:
            if os.sched_getscheduler(thread) == os.SCHED_OTHER:
                policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
                os.sched_setscheduler(thread, policy, os.sched_param(MESSAGES))
        except OSError:
            continue  # Refused, or the thread has ended.


def threads(process: int) -> set[int]:
    """Numbers of a process' threads."""
    return {int(task.name) for task in Path(f"/proc/{process}/task").iterdir()}


class JackServer:
    """A server of its own name, for a ``with`` block; ``environment`` leads clients to it.

    Parameters
    ----------
    period
        Samples a cycle.
    rate
        Hz.
    """

    def __init__(self, period: int, rate: int = 48_000) -> None:
        self.period = period
        self.rate = rate
        self.name = f"rtaudio-meter-{os.getpid()}-{time.monotonic_ns() % 1_000_000}"
        self.environment = os.environ | {"JACK_DEFAULT_SERVER": self.name, "JACK_NO_START_SERVER": "1"}
        self.real_time = False
        """Whether the server got real-time scheduling."""

    def __enter__(self) -> JackServer:
        self._log = tempfile.TemporaryFile("w+")
        common = ["-d", "dummy", "-r", str(self.rate), "-p", str(self.period)]
        for mode in (["-R", "-P", str(PRIORITY)], ["-r"]):
            self._process = subprocess.Popen(
                child(["jackd", "-n", self.name, *mode, *common]),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                env=self.environment | {"JACK_NO_AUDIO_RESERVATION": "1"},
            )
            if self._started():
                self.real_time = mode[0] == "-R" and "Cannot" not in self.log()
                prefer_messages(self._process.pid)
                return self
            end(self._process)
        raise RuntimeError(f"jackd did not start: {self.log().strip().splitlines()[-1:]}")

    def _started(self) -> bool:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            wait = ["jack_wait", "-s", self.name, "-w", "-t", "1"]
            answer = subprocess.run(wait, capture_output=True, text=True, check=False, env=self.environment)
            if "available" in answer.stdout and "not available" not in answer.stdout:
                return True
        return False

    def log(self) -> str:
        """What the server has said so far."""
        self._log.seek(0)
        return self._log.read()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self._process)
        self._log.close()
