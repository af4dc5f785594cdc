"""How long a fader takes that another process moves: from the line on its way to the block that hears it.

``python benchmarks/control.py [--changes 200] [--rounds 2] [--json FILE]`` prints a table. A host plays a
constant through ``gain`` to a recording, on the paced null device in blocks of 128; this process reads the
host's position, sends a ``set``, and finds in the recording the block in which the change begins. The time is
until that block is due, from when the one before the position was: up to a block (2.7 ms) more than it took.
Once over an open connection, once by ``rtaudio ctl set``, a new process for every change, whose start counts.
At rest and beside a thread of the host that holds the GIL, alternating. Goal, over an open connection: 99 of
100 in 20 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from rich.console import Console
from rich.table import Table

from rtaudio.counters import POSITION, attach
from rtaudio.server import connect

RATE, BLOCK = 48_000, 128
GOAL_MS = 20.0
LOADS = ("none", "gil")
WAYS = ("connection", "ctl")
APART = 0.06, 0.12
"""Seconds between two changes: the fader's 10 ms are over, and the host's looks are met at any time."""
LEVELS = -6, 0
"""Decibels."""
ENVIRONMENT = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Modules are compiled once, as where rtaudio is installed."""


def measure(load: str, way: str, changes: int, folder: Path) -> dict[str, Any]:
    """Move the fader of a new host; times in milliseconds."""
    source, recording = folder / "constant.wav", folder / "heard.wav"
    sf.write(source, np.full((RATE, 1), 0.5, np.float32), RATE, subtype="FLOAT")
    command = [sys.executable, "-m", "rtaudio", "live", "--api", "null", "--chain", "gain", "--block", BLOCK]
    command += ["--file", source, "--loop", "--record", recording, "--stress", load]
    host = subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True)
    try:
        if not any(line.startswith("READY") for line in host.stderr or ()):
            raise SystemExit("the host has not started")
        sent, spent = move(host.pid, way, changes)
        with connect(host.pid) as connection:
            connection.sendall(b"quit\n")
        host.communicate()
    finally:
        host.kill()
    heard = changed_blocks(sf.read(recording, dtype="float32")[0])
    if len(heard) != changes:
        raise SystemExit(f"{len(heard)} changes are heard of {changes}")
    took = 1e3 * (heard + BLOCK - np.array(sent)) / RATE
    return {"load": load, "way": way, "ms": took.tolist(), "cpu_ms": 1e3 * spent / changes}


def move(pid: int, way: str, changes: int) -> tuple[list[int], float]:
    """Send the changes; the host's position before each, and the seconds of CPU that all processes took."""
    words, generator, sent = attach(pid), np.random.default_rng(1), []
    before = os.times()
    with connect(pid) as connection, connection.makefile("rb") as answers:
        for number in range(changes):
            time.sleep(generator.uniform(*APART))
            line = f"set gain.gain {LEVELS[number % 2]}"
            sent.append(int(words[POSITION]))
            if way == "connection":
                connection.sendall(f"{line}\n".encode())
                if not json.loads(answers.readline())["ok"]:
                    raise SystemExit(f"{line} was refused")
            else:
                command = [Path(sys.executable).with_name("rtaudio"), "ctl", *line.split()]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    after = os.times()
    return sent, sum(after[2:4]) - sum(before[2:4])


def changed_blocks(heard: np.ndarray) -> np.ndarray:
    """Positions of the blocks in which a constant begins to change, (changes,)."""
    moving = np.flatnonzero(np.diff(heard) != 0)
    first = moving[np.flatnonzero(np.diff(moving, prepend=-RATE) > round(0.02 * RATE))] + 1
    return first // BLOCK * BLOCK


def main() -> int:
    """Measure and print; exit status 1 if the goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cells = [(load, way) for _ in range(options.rounds) for way in WAYS for load in LOADS]
    with tempfile.TemporaryDirectory() as folder:
        found = [measure(load, way, options.changes, Path(folder)) for load, way in cells]
    table = Table("way", "load", "changes", "p50, ms", "p99, ms", "max, ms", "CPU, ms")
    missed = False
    for way in WAYS:
        for load in LOADS:
            same = [each for each in found if (each["way"], each["load"]) == (way, load)]
            ms = np.concatenate([each["ms"] for each in same])
            p50, p99 = np.percentile(ms, [50, 99])
            missed |= way == "connection" and p99 > GOAL_MS
            cpu = f"{np.mean([each['cpu_ms'] for each in same]):.0f}" if way == "ctl" else ""
            table.add_row(way, load, str(len(ms)), f"{p50:.1f}", f"{p99:.1f}", f"{ms.max():.1f}", cpu)
    Console().print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(found), encoding="utf-8")
    return int(missed)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
