"""What the host is compared with: JACK clients that copy input to output, under the same loads.

``python benchmarks/foil.py KIND [--stress LOAD]`` runs until it is ended, and says ``READY`` with its latency
on stderr. Kinds:

python
    python-sounddevice with a Python callback, as its documentation shows it. It must break up as soon as
    another thread holds the GIL: a measurement in which it does not has no teeth.
compiled
    python-sounddevice's stream with a compiled callback: what the host's device layer can reach at best.
pedalboard
    ``pedalboard.io.AudioStream``, C++ behind a Python interface, by ALSA's jack plug-in: it is not built with
    JACK. Wants the samples of a period in PERIOD.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np

from rtaudio.native import CALLBACK, float32_at

RATE, CHANNELS = 48_000, 2
KINDS = ("python", "compiled", "pedalboard")

ALSA_CONFIGURATION = """\
</usr/share/alsa/alsa.conf>
pcm.rtaudio_foil {
    type jack
    name rtaudio_foil
    playback_ports { 0 system:playback_1 1 system:playback_2 }
    capture_ports { 0 system:capture_1 1 system:capture_2 }
    hint { show on description "JACK for the foil" }
}
"""

ABSENT = "no jack plug-in for ALSA (Debian: libasound2-plugins)"

# ---------------------------------------------------------------------------------------------- loads

BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(10**6): pass"
"""A program that takes a core until its parent is gone."""


def hold_lock(stop: threading.Event) -> None:
    """Keep the GIL as long as Python lets a thread: the switch interval."""
    number = 0
    while not stop.is_set():
        for _ in range(1_000_000):
            number += 1


def churn(stop: threading.Event) -> None:
    """Make garbage that only the collector can free, and make it collect."""
    while not stop.is_set():
        circles: list[list[Any]] = []
        for number in range(20_000):
            circle: list[Any] = [number]
            circle.append(circle)
            circles.append(circle)
        del circles
        gc.collect()


@contextlib.contextmanager
def load(name: str) -> Iterator[None]:
    """Run a load beside the block: ``gil``, ``gc`` (a thread), ``cpu`` (a process a core) or ``none``."""
    stop = threading.Event()
    work: dict[str, Callable[[threading.Event], None]] = {"gil": hold_lock, "gc": churn}
    if name in work:
        threading.Thread(target=work[name], args=(stop,), daemon=True).start()
    cores = os.cpu_count() or 1
    hogs = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(cores if name == "cpu" else 0)]
    try:
        yield
    finally:
        stop.set()
        for hog in hogs:
            hog.kill()
            hog.wait()


LOADS = ("none", "gil", "gc", "cpu")

# ---------------------------------------------------------------------------------------------- kinds


def _jack_device() -> int:
    """Number of JACK's own device: the default one may be ALSA's."""
    import sounddevice

    for interface in sounddevice.query_hostapis():
        if interface["name"].startswith("JACK"):
            return int(interface["default_output_device"])
    raise SystemExit("foil: this PortAudio has no JACK")


@contextlib.contextmanager
def python() -> Iterator[None]:
    """A stream with a Python callback."""
    import sounddevice

    def copy(indata: Any, outdata: Any, frames: int, time: Any, status: Any) -> None:
        outdata[:] = indata

    with sounddevice.Stream(
        samplerate=RATE, blocksize=0, device=_jack_device(), channels=CHANNELS, dtype="float32", callback=copy
    ):
        yield


def _copy(source: int, sink: int, frames: int, time: int, flags: int, user: int) -> int:
    values = CHANNELS * np.int64(frames)
    x, y = float32_at(source, values), float32_at(sink, values)
    for i in range(values):
        y[i] = x[i]
    return 0


@contextlib.contextmanager
def compiled() -> Iterator[None]:
    """A stream with a compiled callback, as python-rtmixer does it with C."""
    import sounddevice

    callback = numba.cfunc(CALLBACK, cache=True, nopython=True, _nrt=False)(_copy)
    cast = sounddevice._ffi.cast
    stream = sounddevice._StreamBase(
        kind="duplex",
        samplerate=RATE,
        blocksize=0,
        device=_jack_device(),
        channels=CHANNELS,
        dtype="float32",
        callback=cast("PaStreamCallback *", callback.address),
        userdata=cast("void *", 0),
        wrap_callback=None,
    )
    with stream:
        yield


@contextlib.contextmanager
def pedalboard() -> Iterator[None]:
    """Pedalboard's own stream, through ALSA."""
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "asound.conf"
        configuration.write_text(ALSA_CONFIGURATION)
        os.environ["ALSA_CONFIG_PATH"] = str(configuration)
        from pedalboard.io import AudioStream

        names = [name for name in AudioStream.output_device_names if "foil" in name]
        if not names:
            raise SystemExit(f"foil: {ABSENT}")
        period = int(os.environ.get("PERIOD", "128"))
        try:
            stream = AudioStream(
                names[0],
                names[0],
                sample_rate=RATE,
                buffer_size=period,
                num_input_channels=CHANNELS,
                num_output_channels=CHANNELS,
            )
        except ValueError as error:
            raise SystemExit(f"foil: {ABSENT}: {error}") from error
        with stream:
            yield


def main() -> None:
    """Run one foil until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description="A JACK client that copies, for comparison.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument(
        "--stress", choices=LOADS, default="none", help="load inside this process (default: none)"
    )
    options = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    stream = {"python": python, "compiled": compiled, "pedalboard": pedalboard}[options.kind]
    with stream(), load(options.stress):
        print("READY latency 0 samples", file=sys.stderr, flush=True)
        while not ended.wait(0.2):
            pass


if __name__ == "__main__":
    main()
