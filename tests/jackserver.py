"""A private JACK server with the dummy driver, for tests."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path

import pytest

PATIENCE = 10.0
"""Seconds that a server may take to answer, or to go."""
_numbers = count()


class JackServer:
    """One server, which may be killed and started again under the same name. Others are not touched."""

    def __init__(
        self, period: int = 128, rate: int = 48000, channels: int = 2, synchronous: bool = False
    ) -> None:
        self.period, self.rate, self.channels, self.synchronous = period, rate, channels, synchronous
        self.name = f"rtaudio-test-{os.getpid()}-{next(_numbers)}"
        self.realtime = _may_be_real_time()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def env(self) -> dict[str, str]:
        """What leads a client to this server and to no other."""
        return {
            "JACK_DEFAULT_SERVER": self.name,
            "JACK_NO_START_SERVER": "1",
            "JACK_NO_AUDIO_RESERVATION": "1",
        }

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, period: int | None = None, rate: int | None = None) -> None:
        """Start, and wait until a client is served. The server ends with the thread that calls this."""
        self.period, self.rate = period or self.period, rate or self.rate
        scheduling = ["-R", "-P", "70"] if self.realtime else ["-r"]
        scheduling += ["-S"] * self.synchronous
        driver = ["-d", "dummy", "-r", str(self.rate), "-p", str(self.period)]
        driver += ["-C", str(self.channels), "-P", str(self.channels)]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `kill`
        self._process = subprocess.Popen(
            # Ends in order when this process dies, whatever it dies of.
            ["setpriv", "--pdeathsig", "TERM", "jackd", "-n", self.name, *scheduling, *driver],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=os.environ | self.env,
        )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.ports():
                return
            time.sleep(0.02)
        self._log.seek(0)
        raise RuntimeError(f"jackd does not serve: {self._log.read().decode()[-2000:]}")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it with a signal, and wait until it is gone."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None
            self._log.close()

    def run(self, *command: str) -> str:
        """Output of a JACK command-line tool on this server; empty if it fails."""
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=os.environ | self.env
        )
        return done.stdout if done.returncode == 0 else ""

    def ports(self) -> list[str]:
        """Names of all ports."""
        return self.run("jack_lsp").split()

    def connections(self, port: str) -> list[str]:
        """What a port is connected with."""
        lines = self.run("jack_lsp", "-c", port).splitlines()
        return [line.strip() for line in lines if line.startswith(" ")]

    def clean(self) -> None:
        """End it so that it gives back its place among the eight that JACK has for servers.

        One that was killed keeps its place until a server of the same name ends in order.
        """
        if self._process is None:
            self.start()
        self.kill(signal.SIGTERM)
        for stale in Path("/dev/shm").glob(f"jack_*{self.name}_*"):
            stale.unlink(missing_ok=True)


@contextmanager
def jack_server(
    period: int = 128, rate: int = 48000, channels: int = 2, synchronous: bool = False
) -> Iterator[JackServer]:
    """A server for a while; this process and its children become its clients.

    A synchronous one waits for clients that are late: no period of theirs is lost.
    """
    if shutil.which("jackd") is None or shutil.which("jack_lsp") is None:
        pytest.skip("jackd is not installed: apt-get install jackd2")
    server = JackServer(period, rate, channels, synchronous)
    _give_back_places()
    before = {name: os.environ.get(name) for name in server.env}
    os.environ.update(server.env)
    try:
        server.start()
        yield server
    finally:
        server.clean()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@cache
def _give_back_places() -> None:
    """Free the places of servers whose tests, or benchmarks, were killed."""
    registry = Path("/dev/shm/jack-shm-registry")
    entries = registry.read_bytes() if registry.exists() else b""
    for entry in set(re.findall(rb":(rtaudio-(?:test|meter)-(\d+)-\d+):", entries)):
        if not Path(f"/proc/{entry[1].decode()}").exists():
            server = JackServer()
            server.name = entry[0].decode()
            with suppress(RuntimeError):  # It runs still.
                server.clean()


def _may_be_real_time() -> bool:
    """Whether this user may have the priority that the server asks for."""
    code = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(70))"
    return subprocess.run(["python3", "-c", code], capture_output=True, check=False).returncode == 0
