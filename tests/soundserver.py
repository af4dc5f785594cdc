"""A private PulseAudio or PipeWire without sound cards, for tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

PATIENCE = 20.0
"""Seconds that a server may take to answer."""
RATE = 48_000
PIPEWIRE = """
pipewire &
until [ -S "$XDG_RUNTIME_DIR/pipewire-0" ]; do sleep 0.05; done
wireplumber & pipewire-pulse &
wait
"""


class SoundServer(ABC):
    """One server with two outputs: ``room`` is where the microphone stands, ``speakers`` is the default."""

    needed: tuple[str, ...]
    microphone: str
    """What ``--input`` calls it."""

    def __init__(self) -> None:
        missing = [program for program in (*self.needed, "pactl", "pacat") if shutil.which(program) is None]
        if missing:
            pytest.skip(f"{', '.join(missing)} is not installed")
        self.folder = Path(tempfile.mkdtemp(prefix="rtaudio-", dir="/tmp"))  # a socket's path is short
        variables = "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"
        self.env = dict.fromkeys(variables, str(self.folder)) | {"PULSE_SERVER": self.socket}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def socket(self) -> str:
        """Address for ``pactl``."""

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it."""

    def start(self) -> None:
        """Start, and wait until both outputs are there."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *self.command()],
                env=os.environ | self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while not self.pactl("info"):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)
        for name in ("speakers", "room"):
            described = f"\"device.description='{name.title()}'\""
            form = f"rate={RATE}", "channels=2", "format=float32le", f"sink_properties={described}"
            self.pactl("load-module", "module-null-sink", f"sink_name={name}", *form)
        self.pactl("set-default-sink", "speakers")
        self.before = self.modules()

    def kill(self) -> None:
        """End it with all that it started."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)
            self._process = None

    def close(self) -> None:
        """End it, and remove its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pactl(self, *arguments: str) -> str:
        """What ``pactl`` prints; empty if it fails."""
        done = subprocess.run(
            ["pactl", *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            env=os.environ | self.env,
        )
        return done.stdout if done.returncode == 0 else ""

    def modules(self) -> list[str]:
        """Those that are loaded, one a line."""
        lines = self.pactl("list", "short", "modules").splitlines()
        return [line for line in lines if "\tmodule-" in line]

    def play(self, samples: np.ndarray, sink: str = "room") -> None:
        """Play (samples, 2) float32, until it is over."""
        form = "--format=float32le", f"--rate={RATE}", "--channels=2", "--latency-msec=500", "--raw"
        command = ["pacat", "--playback", f"--device={sink}", *form]
        data = samples.astype("<f4").tobytes()
        subprocess.run(command, input=data, env=os.environ | self.env, timeout=60 + PATIENCE, check=True)

    def record(self, source: str) -> Recording:
        """Begin to record."""
        return Recording(self, source)


class Recording:
    """What a source gives, from now until `end`."""

    def __init__(self, server: SoundServer, source: str) -> None:
        form = "--format=float32le", f"--rate={RATE}", "--channels=2", "--latency-msec=100", "--raw"
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `end`
        self._process = subprocess.Popen(
            ["pacat", "--record", f"--device={source}", *form],
            stdout=self._file,
            env=os.environ | server.env,
        )
        deadline = time.monotonic() + PATIENCE
        while os.fstat(self._file.fileno()).st_size == 0:
            assert time.monotonic() < deadline, f"{source} gives no sound"
            time.sleep(0.02)

    def end(self) -> np.ndarray:
        """All of it, (samples, 2), and what comes in a quarter of a second more."""
        deadline = time.monotonic() + PATIENCE
        enough = os.fstat(self._file.fileno()).st_size + 8 * RATE // 4
        while os.fstat(self._file.fileno()).st_size < enough:
            assert time.monotonic() < deadline, "the recording stopped"
            time.sleep(0.02)
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._file.seek(0)
        data = self._file.read()
        self._file.close()
        return np.frombuffer(data[: len(data) // 8 * 8], "<f4").reshape(-1, 2)


class PulseAudio(SoundServer):
    """PulseAudio."""

    needed = ("pulseaudio",)
    microphone = "room.monitor"

    @property
    def socket(self) -> str:
        """As `SoundServer.socket`."""
        return f"unix:{self.folder}/native"

    def command(self) -> list[str]:
        """As `SoundServer.command`."""
        listen = f"module-native-protocol-unix socket={self.folder}/native auth-anonymous=1"
        options = "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes"
        return ["pulseaudio", "-n", *options, "-L", listen]


class PipeWire(SoundServer):
    """PipeWire, its session manager, and its part for PulseAudio's clients."""

    needed = ("pipewire", "wireplumber", "pipewire-pulse", "pw-jack", "dbus-run-session")
    microphone = "Room"

    @property
    def socket(self) -> str:
        """As `SoundServer.socket`."""
        return f"unix:{self.folder}/pulse/native"

    def command(self) -> list[str]:
        """As `SoundServer.command`."""
        return ["dbus-run-session", "--", "sh", "-c", PIPEWIRE]
