"""What the window costs, and how soon it shows and does things: its targets, each measured with a real host.

``python benchmarks/window.py [--parts P ...] [--seconds S] [--soak [MINUTES]] [--jack [SECONDS]]`` prints a
table; ``--json FILE`` writes all of it. Windows are shown on a display of their own (Xvfb, with a window
manager) in 1280 x 800 pixels, hosts play through the null device, settings are those of a first start. Parts:

pictures
    CPU time of two spectrograms, see `pictures.py`.
rate
    Frames that reach the display at 30 and 60 a second, by the pixels of a row of a picture, which a process
    beside it looks at once a millisecond; and how often a minimised window draws, as it counts itself.
views
    CPU time of the window's process with each view, as the system counts it, and its memory.
latency
    A host plays a file of bursts. Sound to pixel: from the callback that played a burst's first sample, found
    in the recording of what it played, until the right edge of the picture of the input is bright. And how
    old the newest column is that a reader finds, in any millisecond.
control
    A parameter, by lines on the control socket beside a window: from the line to the answer, which comes when
    the change is in the callback's ring; from there to the end of the first block that differs in the
    recording; both together.
bypass
    The button A/B bypass, at matched loudness: from the mouse button's press on the X server to the first
    sample that differs in the recording, when the callback that made it had ended. The device's own latency
    is not in it. The file is a square wave, so that its magnitude shows every change.
start
    From the start of the process until the window is on the display, and until its pictures roll; then it is
    killed (SIGKILL), and the next one takes its place at the host, which must not have missed anything.

``--soak`` runs a window at 60 frames a second, a view after the other, and compares memory of the first round
that is not warming up with the last, view by view. ``--jack`` is a cell of `realtime.py`: remix at 128
samples on a JACK server of its own, sample by sample through the meter, with its rules and its Python
callback to compare with, beside a window at 60 frames a second whose process is kept busy (`burdened.py`) and
that is resized, sent from view to view, and whose menus and dialogs are opened and closed all the time.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from control import LEVELS, changed_blocks
from jackd import JackServer, child, end
from jackd import absent as no_server
from numpy.typing import NDArray
from realtime import (
    DEVICES,
    FOIL,
    FULL_SECONDS,
    READY,
    Cell,
    environment,
    fill,
    judge,
    run_meter,
    started,
    the_host,
)
from rich.console import Console
from rich.table import Table
from screen import Screen, absent

from gui.application import Settings
from rtaudio.counters import POSITION, attach
from rtaudio.observation import Observation
from rtaudio.server import connect

HERE = Path(__file__).parent
CLIP = HERE.parent / "examples" / "clip.flac"
REMIX = "remix(preset=live)"
RATE, BLOCK, PERIOD = 48_000, 128, 128
PATIENCE = 60.0
"""Seconds after which something that should have happened is taken not to."""
LOOK = 0.001
"""Seconds between two looks at the display and at the host's clock."""
TORN_NS = 4_000_000
"""Changes of pixels that are closer together are of one frame."""
SETTLED = 0.5
"""Seconds for which a widget has to stay where it is."""
WARM_UP = 2.0
"""Seconds before something is measured."""
STARTS, CLICKS, CHANGES = 6, 20, 100
"""Windows that are started, the first of which is not counted; clicks on bypass; changes of a parameter."""
BURST_EVERY, BRIGHT = 1.0, 60
"""Seconds from one burst to the next; a colour that is brighter is no silence."""
VIEWS = ("Denoise", "Remix", "Speak", "Render")
TURN = 20.0
"""Seconds that a soaking window shows a view."""
STORM = (
    *("alt+h", "Escape", "alt+v", "Escape", "F1", "Escape"),
    *("ctrl+1", "ctrl+2", "ctrl+3", "ctrl+4", "ctrl+2"),
)
SIZES = ((900, 700), (1280, 800), (1100, 760), (1380, 860))
"""What a window is stormed with: keys, and sizes in pixels."""
STORM_EVERY = 0.1
"""Seconds between two of them, and what xdotool takes."""


class PartError(Exception):
    """Something cannot be measured; the message says why."""


@dataclass
class Row:
    """A line of the table."""

    what: str
    goal: str
    measured: str
    good: bool | None
    """Whether the goal is met; None: there is none."""
    values: dict[str, Any] = field(default_factory=dict)


def until(happened: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Look again until something has happened; what it returned."""
    limit = time.monotonic() + seconds
    while not (found := happened()):
        if time.monotonic() > limit:
            raise PartError("waited in vain")
        time.sleep(LOOK)
    return found


@contextmanager
def host(*options: object) -> Iterator[int]:
    """A host on the null device; its process number. What it records is complete at the end."""
    command = [sys.executable, "-m", "rtaudio", "live", "--api", "null", "--block", BLOCK, *options]
    process = subprocess.Popen(
        child([str(word) for word in command]), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        if not any(line.startswith("READY") for line in process.stderr or ()):
            raise PartError("the host has not started")
        yield process.pid
        with connect(process.pid) as connection:
            connection.sendall(b"quit\n")
        process.communicate(timeout=PATIENCE)
    finally:
        end(process)


class Shown:
    """A window in a process of its own, that shows a host, for a ``with`` block."""

    def __init__(self, screen: Screen, pid: int, fps: int = 30, bursts: bool = False) -> None:
        Settings().frame_rate = fps
        command = [sys.executable, str(HERE / "burdened.py"), *["--bursts"] * bursts, "--pid", str(pid)]
        self.screen, self.begun = screen, time.monotonic()
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            child(command),
            env=screen.environment,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, *error: object) -> None:
        end(self.process)

    def ask(self, line: str) -> str:
        """What it answers to a line of `burdened.py`."""
        assert self.process.stdin is not None  # noqa: S101
        assert self.process.stdout is not None  # noqa: S101
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer:
            raise PartError("the window has ended")
        return answer

    def place(self, name: str) -> list[int]:
        """Where a widget is, once it is there and stays there: the window manager moves new windows."""
        until(lambda: self.is_seen(name))
        answers = ["", self.ask(f"where {name}")]
        while answers[-1] != answers[-2]:
            time.sleep(SETTLED)
            answers.append(self.ask(f"where {name}"))
        return [int(number) for number in answers[-1].split()]

    def is_seen(self, name: str) -> bool:
        """Whether a widget is there."""
        return self.ask(f"where {name}") != "0 0 0 0"

    def view(self, title: str) -> None:
        """Show a view."""
        until(lambda: self.screen.do("getactivewindow"))
        self.screen.do("key", f"ctrl+{1 + VIEWS.index(title)}")

    def cpu(self) -> float:
        """Seconds that its process has computed."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """What it takes of memory (RSS), MiB."""
        words = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(words[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def frames(screen: Screen, place: list[int], seconds: float, enough: int = 0) -> list[float]:
    """When the middle row of a picture changed on the display, in seconds of the monotonic clock."""
    x, y, width, height = place
    row, found = screen.pixels[y + height // 2, x : x + width], [0]
    before, limit = row.tobytes(), time.monotonic_ns() + round(1e9 * seconds)
    while (now := time.monotonic_ns()) < limit and not 0 < enough < len(found):
        seen = row.tobytes()
        if seen != before:
            before = seen
            if now - found[-1] > TORN_NS:
                found.append(now)
        time.sleep(LOOK)
    return [each / 1e9 for each in found[1:]]


class Clock:
    """When a host's callbacks had played what: looked at again and again."""

    def __init__(self, pid: int) -> None:
        self._words = attach(pid)
        self._seen: list[tuple[float, int]] = []

    def look(self) -> int:
        """The position now, which is kept."""
        position = int(self._words[POSITION])
        self._seen.append((time.monotonic(), position))
        return position

    def watch(self, seconds: float) -> None:
        """Look for a while."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            self.look()
            time.sleep(LOOK)

    def when(self, position: int) -> float:
        """When a sample had been played, in seconds of the monotonic clock; a look late at most."""
        times, positions = zip(*self._seen, strict=True)
        return float(times[int(np.searchsorted(positions, position, side="right"))])


def percentiles(values: Any, unit: str, *parts: float) -> str:
    """Some percentiles, as text."""
    found = np.percentile(values, parts)
    names, found = {50: "median", 100: "most"}, found.tolist()
    return ", ".join(
        f"{names.get(part, f'{part:g} %')} {value:.1f} {unit}"
        for part, value in zip(parts, found, strict=True)
    )


def write(path: Path, sound: NDArray[Any]) -> Path:
    """A stereo file."""
    sf.write(path, np.column_stack([sound, sound]).astype(np.float32), RATE, subtype="FLOAT")
    return path


# ------------------------------------------------------------------------------------------------ the parts


def pictures(screen: Screen, folder: Path, seconds: float) -> list[Row]:
    """Two spectrograms."""
    rows = []
    for pace, option in {"one after the other": ["--free"], "with a clock, caches cold": []}.items():
        command = [sys.executable, str(HERE / "pictures.py"), "--json", *option]
        done = subprocess.run(
            command, env=screen.environment, capture_output=True, text=True, timeout=10 * PATIENCE, check=True
        )
        spent = json.loads(done.stdout.splitlines()[-1])
        own, foil = (float(np.median(spent[kind])) for kind in ("own", "ImageItem"))
        told = f"{own:.2f} ms (pyqtgraph's ImageItem {foil:.2f} ms)"
        rows.append(Row(f"two spectrograms, CPU a frame, {pace}", "<= 0.5 ms", told, own <= 0.5, spent))
    return rows


def rate(screen: Screen, folder: Path, seconds: float) -> list[Row]:
    """Frames."""
    rows = []
    noise = write(folder / "noise.wav", 0.1 * np.random.default_rng(1).standard_normal(10 * RATE))
    with host("--file", noise, "--loop", "--chain", "gain") as pid:
        for fps in (30, 60):
            with Shown(screen, pid, fps) as window:
                window.view("Denoise")
                place = window.place("Spectrogram: Input")
                time.sleep(WARM_UP)
                found = np.array(frames(screen, place, seconds))
                got = float((len(found) - 1) / (found[-1] - found[0]))
                gap = 1e3 * float(np.diff(found).max())
                told = f"{got:.1f}, longest gap {gap:.0f} ms"
                rows.append(Row(f"frames a second, of {fps}", f">= {0.95 * fps:g}", told, got >= 0.95 * fps))
                if fps == 30:
                    rows.append(_minimised(window, seconds))
    return rows


def _minimised(window: Shown, seconds: float) -> Row:
    number = window.screen.do("getactivewindow")
    window.screen.do("windowminimize", number)
    time.sleep(WARM_UP)
    before, at = int(window.ask("frames")), time.monotonic()
    time.sleep(seconds)
    got = (int(window.ask("frames")) - before) / (time.monotonic() - at)
    return Row("frames a second, minimised", "<= 1", f"{got:.2f}", got <= 1.05)


def views(screen: Screen, folder: Path, seconds: float) -> list[Row]:
    """CPU time and memory."""
    rows, most = [], 0.0
    with host("--file", CLIP, "--loop", "--chain", REMIX) as pid, Shown(screen, pid) as window:
        until(lambda: window.is_seen("Spectrogram: Stems"))
        for title in VIEWS:
            window.view(title)
            time.sleep(WARM_UP)
            cpu, at = window.cpu(), time.monotonic()
            time.sleep(seconds)
            share = 100 * (window.cpu() - cpu) / (time.monotonic() - at)
            memory = window.memory()
            most = max(most, memory)
            values = {"cpu_percent": share, "rss_mib": memory}
            rows.append(Row(f"CPU at 30 a second, {title}", "<= 15 %", f"{share:.1f} %", share <= 15, values))
    rows.append(Row("memory of the window's process", "<= 150 MiB", f"{most:.0f} MiB", most <= 150))
    return rows


def latency(screen: Screen, folder: Path, seconds: float) -> list[Row]:
    """Sound to pixel."""
    at = np.arange(round(BURST_EVERY * RATE))
    sound = np.where(at < 0.1 * RATE, 0.5 * np.sin(2 * np.pi * 1000 * at / RATE), 0.0)
    bursts, rows, ages = write(folder / "bursts.wav", sound), [], []
    for fps, goal in ((30, 60.0), (60, 35.0)):
        recording, looks = folder / f"heard-{fps}.wav", []
        options = ("--file", bursts, "--loop", "--chain", "gain", "--record", recording)
        with host(*options) as pid, Shown(screen, pid, fps) as window:
            window.view("Denoise")
            x, y, width, height = window.place("Spectrogram: Input")
            time.sleep(WARM_UP)
            edge = screen.pixels[y : y + height, x + width - 2 : x + width, :3]
            clock, seen = Clock(pid), Observation(pid)
            limit = time.monotonic() + seconds
            while time.monotonic() < limit:
                position = clock.look()
                ages.append(1e3 * (position - seen.views()["in"].position) / RATE)
                looks.append((time.monotonic(), position, bool(edge.max() > BRIGHT)))
                time.sleep(LOOK)
        took = _delays(recording, clock, looks)
        told = f"{percentiles(took, 'ms', 50, 95, 100)}, {len(took)} bursts"
        good = bool(np.percentile(took, 95) <= goal)
        rows.append(Row(f"sound to pixel at {fps} a second", f"<= {goal:g} ms", told, good, {"ms": took}))
    told = percentiles(ages, "ms", 50, 99, 100)
    return [Row("age of the newest column", "<= 11 ms", told, bool(np.percentile(ages, 99) <= 11)), *rows]


def _delays(recording: Path, clock: Clock, looks: list[tuple[float, int, bool]]) -> list[float]:
    """From when bursts were played until they were seen, in ms."""
    heard = np.abs(sf.read(recording, dtype="float32")[0][:, 0]) > 1e-3
    loud = np.flatnonzero(heard)
    onsets = loud[np.flatnonzero(np.diff(loud, prepend=-RATE) > 0.5 * RATE)]
    times, positions, bright = (np.array(each) for each in zip(*looks, strict=True))
    begins = times[1:][bright[1:] & ~bright[:-1]]
    found = []
    for onset in onsets:
        if positions[0] < onset < positions[-1] - 0.5 * RATE:
            played = clock.when(int(onset))
            after = begins[begins > played]
            if len(after):
                found.append(1e3 * float(after[0] - played))
    if not found:
        raise PartError("no burst was seen")
    return found


def control(screen: Screen, folder: Path, seconds: float) -> list[Row]:
    """A parameter."""
    constant, recording = write(folder / "constant.wav", np.full(RATE, 0.5)), folder / "moved.wav"
    generator, answers, took = np.random.default_rng(1), [], []
    options = ("--file", constant, "--loop", "--chain", "gain", "--record", recording)
    with host(*options) as pid, Shown(screen, pid) as window:
        window.place("gain of gain")
        time.sleep(WARM_UP)
        words = attach(pid)
        with connect(pid) as connection, connection.makefile("rb") as answered:
            for number in range(CHANGES):
                time.sleep(generator.uniform(0.06, 0.12))
                begin = time.monotonic()
                connection.sendall(f"set gain.gain {LEVELS[number % 2]}\n".encode())
                answered.readline()
                took.append(1e3 * (time.monotonic() - begin))
                answers.append(int(words[POSITION]))
    heard = changed_blocks(sf.read(recording, dtype="float32")[0][:, 0])
    if len(heard) != CHANGES:
        raise PartError(f"{len(heard)} changes are heard of {CHANGES}")
    blocks = np.maximum(0, heard + BLOCK - np.array(answers)) / BLOCK
    whole = np.array(took) + 1e3 * blocks * BLOCK / RATE
    told = f"{percentiles(whole, 'ms', 50, 99, 100)}; to the answer {percentiles(took, 'ms', 50)}"
    beyond = float(blocks.max())
    return [
        Row("parameter, from the answer to the sound", "<= 1 block", f"{beyond:.2g} at most", beyond <= 1),
        Row(
            "parameter, in all", "<= 5 ms", told, bool(np.percentile(whole, 99) <= 5), {"ms": whole.tolist()}
        ),
    ]


def bypass(screen: Screen, folder: Path, seconds: float) -> list[Row]:
    """The button of the comparison."""
    square = write(folder / "square.wav", np.where(np.arange(RATE) // 24 % 2, 0.1, -0.1))
    recording, generator, pressed = folder / "compared.wav", np.random.default_rng(1), []
    options = ("--file", square, "--loop", "--chain", "gain(gain=-6, pan=0.5)", "--record", recording)
    with host(*options) as pid, Shown(screen, pid) as window:
        x, y, width, height = window.place("A/B bypass")
        time.sleep(WARM_UP + 2.0)  # There has to be a loudness to match.
        clock = Clock(pid)
        for _ in range(CLICKS):
            time.sleep(generator.uniform(0.3, 0.4))
            pressed.append(screen.click(x + width // 4, y + height // 2) / 1e9)
            clock.watch(0.2)
    moving = np.flatnonzero(np.diff(np.abs(sf.read(recording, dtype="float32")[0][:, 0])) != 0)
    heard = moving[np.flatnonzero(np.diff(moving, prepend=-RATE) > 0.05 * RATE)] + 1
    if len(heard) != CLICKS:
        raise PartError(f"{len(heard)} changes are heard of {CLICKS} clicks")
    took = [1e3 * (clock.when(int(at)) - when) for at, when in zip(heard, pressed, strict=True)]
    told = f"{percentiles(took, 'ms', 50, 95, 100)}, {CLICKS} clicks"
    return [
        Row(
            "bypass, from click to sound", "<= 20 ms", told, bool(np.percentile(took, 95) <= 20), {"ms": took}
        )
    ]


def start(screen: Screen, folder: Path, seconds: float) -> list[Row]:
    """Until it is shown, until it rolls; and what a host minds of its death."""
    shown, rolling, place = [], [], [0, 0, 0, 0]
    inside = screen.pixels[screen.pixels.shape[0] // 3, screen.pixels.shape[1] // 3, :3]
    with host("--file", CLIP, "--loop", "--chain", REMIX) as pid:
        before = Observation(pid).counters()
        for number in range(STARTS):
            until(lambda: bool((inside == 255).all()))
            with Shown(screen, pid) as window:
                until(lambda: bool((inside != 255).any()))
                seen = time.monotonic()
                if number == 0:
                    place = window.place("Spectrogram: Stems")
                *_, third = frames(screen, place, PATIENCE, 3)
                if number:
                    shown.append(seen - window.begun)
                    rolling.append(third - window.begun)
                window.process.send_signal(signal.SIGKILL)
                window.process.wait()
        after = Observation(pid).counters()
    missed = {kind: after[kind] - before[kind] for kind in ("xruns", "misses")}
    more = [each - first for each, first in zip(rolling, shown, strict=True)]
    told = ", ".join(f"{count} {kind}" for kind, count in missed.items())
    windows = f"{len(shown)} windows"
    values = {"shown_s": shown, "rolling_s": rolling}
    return [
        Row(
            "start until it is shown",
            "<= 2 s",
            f"{percentiles(shown, 's', 50, 100)}, {windows}",
            max(shown) <= 2,
        ),
        Row(
            "shown until the host's pictures roll again",
            "< 1 s",
            f"{percentiles(more, 's', 50, 100)}; from the start {percentiles(rolling, 's', 50)}",
            max(more) < 1,
            values,
        ),
        Row(f"{STARTS} windows killed while sound plays", "0 xruns", told, not missed["xruns"], missed),
    ]


PARTS: dict[str, Callable[[Screen, Path, float], list[Row]]] = {
    "pictures": pictures,
    "rate": rate,
    "views": views,
    "latency": latency,
    "control": control,
    "bypass": bypass,
    "start": start,
}


# --------------------------------------------------------------------------------------------- long ones


def soak(screen: Screen, minutes: float) -> list[Row]:
    """Memory over time."""
    rounds: list[dict[str, float]] = []
    with host("--file", CLIP, "--loop", "--chain", REMIX) as pid, Shown(screen, pid, 60) as window:
        until(lambda: window.is_seen("Spectrogram: Stems"))
        first, at = int(window.ask("frames")), time.monotonic()
        limit = at + 60 * minutes
        while time.monotonic() < limit or len(rounds) < 2:
            rounds.append({})
            for title in VIEWS:
                window.view(title)
                time.sleep(min(TURN, 60 * minutes / 8))
                rounds[-1][title] = window.memory()
        fps = (int(window.ask("frames")) - first) / (time.monotonic() - at)
        took = (time.monotonic() - at) / 60
    warm = rounds[1:]
    growth = max(warm[-1][title] - warm[0][title] for title in VIEWS)
    told = (
        f"{growth:+.1f} MiB in {took:.1f} min, {fps:.1f} frames a second, {max(rounds[-1].values()):.0f} MiB"
    )
    return [
        Row(
            "memory while it soaks",
            "< 5 MiB more",
            told,
            growth < 5 if len(warm) > 1 else None,
            {"rounds": rounds},
        )
    ]


class Storm(threading.Thread):
    """Sizes, menus, dialogs and views of a window, one after the other."""

    def __init__(self, window: Shown) -> None:
        super().__init__(daemon=True)
        self._window, self._over, self.done = window, threading.Event(), 0
        until(lambda: window.is_seen("Spectrogram: Stems"))
        self._number = window.screen.do("getactivewindow")

    def run(self) -> None:
        """Storm."""
        do = self._window.screen.do
        while not self._over.wait(STORM_EVERY):
            turn, is_size = divmod(self.done, 2)
            if is_size:
                do("windowsize", self._number, *SIZES[turn % len(SIZES)])
            else:
                do("key", STORM[turn % len(STORM)])
            self.done += 1

    def end(self) -> int:
        """How often something was done."""
        self._over.set()
        self.join()
        return self.done


def jack(screen: Screen, seconds: float) -> list[Row]:
    """Wrong samples and xruns on JACK beside a busy window."""
    with JackServer(PERIOD) as server:
        foil = Cell(PERIOD, *FOIL, 10.0)
        fill(foil, server, None)
        cell = Cell(PERIOD, "remix0", "none", seconds)
        with started(DEVICES[cell.device], cell.load, server) as cell.ready:
            found = READY.search(cell.ready)
            cell.promised_latency = int(found[1]) if found else None
            with Shown(screen, the_host(), 60, bursts=True) as window:
                storm = Storm(window)
                first, at = int(window.ask("frames")), time.monotonic()
                storm.start()
                cell.meter = run_meter(DEVICES[cell.device], seconds, server)
                fps = (int(window.ask("frames")) - first) / (time.monotonic() - at)
                done = storm.end()
    judge(cell, foil)
    meter = cell.meter
    xruns, events = (f"{meter[f'{kind}_unexplained']} of {meter[kind]}" for kind in ("xruns", "events"))
    told = (
        f"{cell.verdict}: {xruns} xruns and {events} wrong places unexplained in {meter['seconds']:.0f} s, "
        f"{meter['excused_percent']:.2f} % excused; {fps:.0f} frames a second, {done} keys and sizes"
    )
    good = {"pass": True, "FAIL": False}.get(cell.verdict)
    notes = "; ".join(cell.reasons)
    return [
        Row(
            "JACK, 128 samples, beside a busy window",
            "0 unexplained",
            f"{told} ({notes})",
            good,
            asdict(cell),
        )
    ]


# ------------------------------------------------------------------------------------------------ all


def table(rows: list[Row]) -> Table:
    """All that was measured."""
    shown = Table()
    for name in ("what", "goal", "measured", ""):
        shown.add_column(name, overflow="fold")
    for row in rows:
        mark = {True: "met", False: "MISSED", None: "not proven"}[row.good]
        shown.add_row(row.what, row.goal, row.measured, mark, style=None if row.good else "red")
    return shown


def main() -> int:
    """Measure and print; exit status 1 if a goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement (default: 20)")
    parser.add_argument("--soak", type=float, nargs="?", const=10.0, metavar="MINUTES", help="(default: 10)")
    parser.add_argument(
        "--jack",
        type=float,
        nargs="?",
        const=FULL_SECONDS,
        metavar="SECONDS",
        help=f"(default: {FULL_SECONDS:g})",
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 132)
    if reason := absent() or (options.jack and no_server()):
        console.print(reason)
        return 2
    wanted: dict[str, Callable[[Screen, Path], list[Row]]] = {
        name: lambda screen, folder, part=PARTS[name]: part(screen, folder, options.seconds)
        for name in options.parts
    }
    if options.soak:
        wanted["soak"] = lambda screen, folder: soak(screen, options.soak)
    if options.jack:
        wanted["jack"] = lambda screen, folder: jack(screen, options.jack)
    rows: list[Row] = []
    for name, part in wanted.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            for kind in ("RUNTIME_DIR", "CONFIG_HOME", "STATE_HOME", "DATA_HOME"):
                (folder / kind).mkdir(mode=0o700)
                os.environ[f"XDG_{kind}"] = str(folder / kind)
            try:
                with Screen() as screen:
                    rows += part(screen, folder)
            except Exception as error:  # of the others is told all the same
                rows.append(Row(name, "", f"not measured: {type(error).__name__}: {error}", None))
            console.print(f"{name}: done", highlight=False)
    console.print(table(rows))
    if options.json is not None:
        result = {"environment": environment(), "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return int(any(row.good is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
