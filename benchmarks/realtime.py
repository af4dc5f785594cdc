"""Does the sound break? The host under load and attack, on JACK servers, beside clients known to break.

``python benchmarks/realtime.py [--seconds S] [--periods N ...] [--loads L ...] [--duts D ...] [--json FILE]``
measures one cell for each period, load and device under test with `glitchmeter.py`, and prints a table.

Attacks on a worker process (lane 2), whose graph copies its input as its fallback does: ``kill2`` (SIGKILL)
and ``hang2`` (SIGSTOP) every ten seconds, ``overload2`` (it computes for 1.4 times as long as a block lasts)
and ``stalls2`` (stopped for longer than a block, again and again) for ten seconds of every twenty. Nothing of
them may be heard, the latency is what it was, a worker that is gone has to be back, by the blocks that were
missed, within 50 ms, and one that is late stays.

``onnx1`` plays a network whose output is not heard; there no block may be late that no stall explains.

``edit0`` and ``edit1`` are edited all the time, by lines on the control socket: nodes come and go, presets
change, edits are undone and done again. The graph's output is its input all the while, so that not one sample
may be wrong.

A cell is
    pass     no wrong sample, no xrun that no stall of the machine explains, the latency that was promised
    FAIL     one of these is not so
    invalid  nothing is proven: the stall watch had no real-time priority, more than 5 % of the time would be
             excused, or the Python callback, in the same run under the GIL hog, showed fewer than 100 errors
    short    fewer than 60 s, otherwise good
    foil     a client to compare with, not judged
    absent   a foil that does not start here
    error    the device under test or the meter did not work
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from glob import glob
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any

import jack
import numpy as np
from foil import LOADS
from jackd import JackServer, absent, child, end
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from stalls import StallWatch, met, windows

from rtaudio.counters import attach, running
from rtaudio.counters import report as counted
from rtaudio.remote import HANG_BLOCKS
from rtaudio.server import connect

HERE = Path(__file__).parent
ENGINES = os.pathsep.join(filter(None, [str(HERE / "burn"), os.environ.get("PYTHONPATH", "")]))
"""Where hosts find the engine ``burn``, too."""
PERIODS = (64, 128, 256)

FULL_SECONDS = 60.0
"""Shorter cells prove nothing."""
EXCUSED_PERCENT = 5.0
"""More of the time under excuse proves nothing."""
FOIL_ERRORS = 100
"""A Python callback under the GIL hog with fewer errors in its worst channel proves nothing."""
START_SECONDS = 90.0
"""Patience with a device under test that compiles."""
IODELAY_SECONDS, PATCH_SECONDS = 3.0, 5.0
"""How long jack_iodelay measures, and may take to be connected."""
ATTACK_EVERY = 10.0
"""Seconds between two attacks, and of an overload."""
SPARE_SECONDS = 5.0
"""Seconds that a new spare is given before the next attack."""
BACK_MS, RATE = 50.0, 48_000
"""A worker that was killed is back by then, one that hangs as long after the verdict; the servers' rate."""
EDITS = (
    "insert last gain",
    "preset side presence",
    "undo",
    "redo",
    "insert before through eq: gain",
    "preset side telephone",
    "replace side gate",
    "undo",
    "move eq last",
    "bypass eq",
    "remove eq",
    "undo",
    "undo",
    "undo",
    "undo",
    "undo",
    "undo",
    "chain gain",
    "undo",
    "undo",
)
"""What is done to a graph whose output stays its input, again and again."""
EDIT_LOOK, EDIT_SECONDS = 0.1, 10.0
"""Seconds between two looks whether an edit is heard; and that one may take, on average."""
STOPPED_BLOCKS, RUNNING_BLOCKS = 3, 2
"""Of an overload: how long the worker is stopped, and let go."""
LOOK_SECONDS = 0.02
"""Between two looks at the blocks that were late."""
STRANGER_PRIORITY = 50
"""Real-time priority from which on another program is worth naming."""
KERNEL_THREAD = 0x00200000
"""Flag in Linux' /proc/PID/stat."""

READY = re.compile(r"^READY.*latency (\d+) samples", re.MULTILINE)


@dataclass(frozen=True)
class Device:
    """A client to measure.

    Parameters
    ----------
    command
        Starts it; ``--stress LOAD`` is added. Says ``READY ... latency N samples`` on stderr.
    client
        Regular expression for the begin of its JACK name.
    ours
        Whether it is judged.
    meter
        Further options of the meter.
    """

    command: tuple[str, ...]
    client: str
    ours: bool
    meter: tuple[str, ...] = ()
    attack: str = ""
    punctual: bool = False
    """Whether a block that a worker was late for counts as an error."""


def _host(*options: str, meter: tuple[str, ...] = (), attack: str = "", punctual: bool = False) -> Device:
    command = (sys.executable, "-m", "rtaudio", "live", "--api", "jack", *options)
    return Device(command, "rtaudio", True, meter, attack, punctual)


def _foil(kind: str, client: str) -> Device:
    return Device((sys.executable, str(HERE / "foil.py"), kind), client, False)


HPSS = "hpss(preset=live).harmonic+percussive+residual"
DEVICES = {
    "lane0": _host("--chain", "gain", "--lane", "0"),
    "lane1": _host("--chain", "gain", "--lane", "1"),
    "remix0": _host("--chain", "remix(preset=live)", "--lane", "0", meter=("--mode", "null")),
    "remix1": _host("--chain", "remix(preset=live)", "--lane", "1", meter=("--mode", "null")),
    "hpss1": _host("--chain", HPSS, "--lane", "1", meter=("--mode", "null")),
    "onnx1": _host("--chain", "enhance(mix=0)", "--lane", "1", punctual=True),  # it runs, the sound stays
    "lane2": _host("--chain", "gain", "--lane", "2"),
    "kill2": _host("--chain", "gain", "--lane", "2", attack="kill"),
    "hang2": _host("--chain", "gain", "--lane", "2", attack="hang"),
    "overload2": _host("--chain", "burn(share=1.4, turn=20, lasts=10)", attack="overload"),
    "stalls2": _host("--chain", "gain", "--lane", "2", attack="stalls"),
    "edit0": _host("--chain", str(HERE / "edited.toml"), "--lane", "0", attack="edit"),
    "edit1": _host("--chain", str(HERE / "edited.toml"), "--lane", "1", attack="edit"),
    "python": _foil("python", "PortAudio"),
    "compiled": _foil("compiled", "PortAudio"),
    "pedalboard": _foil("pedalboard", "rtaudio_foil"),
}
FOIL = ("python", "gil")
"""The device and load that must break."""


@dataclass
class Cell:
    """One measurement."""

    period: int
    device: str
    load: str
    seconds: float
    verdict: str = ""
    reasons: list[str] = field(default_factory=list)
    ready: str = ""
    """What the device said when it was ready."""
    promised_latency: int | None = None
    """Samples."""
    round_trip: dict[str, float] | None = None
    """What `round_trip` measured, less the server's own part."""
    meter: dict[str, Any] = field(default_factory=dict)
    """The JSON of `glitchmeter.py`."""

    @property
    def worst_channel(self) -> int:
        """Errors in the worst channel."""
        return max(self.meter.get("channel_events", []), default=0) + int(self.meter.get("gaps", 0))

    @property
    def extra_latency(self) -> int | None:
        """Samples beyond what was promised; None where nothing came back."""
        measured = self.meter.get("latency")
        if measured is None or self.promised_latency is None:
            return None
        return int(measured) - self.promised_latency


def the_host() -> int:
    """The process of the host that this program has started."""
    found = [number for number in running() if _descends(number, _parents())]
    if len(found) != 1:
        raise CellError(f"hosts to attack: {found}")
    return found[0]


class Attack(threading.Thread):
    """What is done to a host's worker process while the meter listens.

    Parameters
    ----------
    kind
        ``kill``, ``hang``, ``stalls``, or ``overload``, which the host's engine does by itself.
    period_ms
        Of a block.
    """

    def __init__(self, kind: str, period_ms: float) -> None:
        super().__init__(daemon=True)
        self.kind, self._over = kind, threading.Event()
        self._words, self._period_ms = attach(the_host()), period_ms
        self._act: Callable[[], object] = {
            "kill": self._kill,
            "hang": self._stop,
            "stalls": self._hinder,
            "overload": lambda: self._over.wait(ATTACK_EVERY),
        }[kind]
        self.back_ms: list[float] = []
        """How long the fallback was heard after each attack."""
        self.restarts = 0

    def run(self) -> None:
        """Attack again and again."""
        while not self._over.wait(SPARE_SECONDS):
            before = self._worker()
            self._act()
            self._over.wait(ATTACK_EVERY - SPARE_SECONDS)
            after = self._worker()
            self.restarts += after["restarts"] - before["restarts"]
            self.back_ms.append((after["misses"] - before["misses"]) * self._period_ms)

    def end(self) -> dict[str, Any]:
        """What came of it."""
        self._over.set()
        self.join()
        return {
            "kind": self.kind,
            "attacks": len(self.back_ms),
            "restarts": self.restarts,
            "back_ms": self.back_ms,
        }

    def _worker(self) -> dict[str, Any]:
        return dict(counted(self._words)["nodes"]["worker 1"])

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._worker()["pid"], number)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _stop(self) -> None:
        self._signal(signal.SIGSTOP)

    def _hinder(self) -> None:
        until = time.monotonic() + ATTACK_EVERY
        while time.monotonic() < until and not self._over.is_set():
            for number, blocks in ((signal.SIGSTOP, STOPPED_BLOCKS), (signal.SIGCONT, RUNNING_BLOCKS)):
                self._signal(number)
                time.sleep(blocks * self._period_ms / 1e3)


class Edits(threading.Thread):
    """Edits a host's graph while the meter listens, one edit after the other."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()
        self._pid = the_host()
        self._words, self.refused = attach(self._pid), list[str]()

    def run(self) -> None:
        """Send lines, each when the one before is heard."""
        with connect(self._pid) as connection, connection.makefile("rb") as answers:

            def ask(line: str) -> dict[str, Any]:
                connection.sendall(line.encode() + b"\n")
                return dict(json.loads(answers.readline()))

            for line in cycle(EDITS):
                answer = ask(line)
                if not answer["ok"]:
                    self.refused.append(f"{line}: {answer['error']}")
                while ask("state")["state"]["loading"] and not self._over.is_set():
                    self._over.wait(EDIT_LOOK)
                if self._over.wait(EDIT_LOOK):
                    return

    def end(self) -> dict[str, Any]:
        """What came of it."""
        self._over.set()
        self.join()
        return {
            "kind": "edit",
            "edits": counted(self._words)["edits"],
            "refused": self.refused,
            "back_ms": [],
        }


class Lateness(threading.Thread):
    """The blocks that a host's workers are late for while the meter listens.

    Parameters
    ----------
    period_ns
        Of a block.
    """

    def __init__(self, period_ns: int) -> None:
        super().__init__(daemon=True)
        self._words, self._over, self._excuse_ns = attach(the_host()), threading.Event(), 16 * period_ns
        self._watch = StallWatch(period_ns // 4)
        self._found: list[tuple[int, int, int]] = []
        """Begin and end of what was looked at, ns, and how many were late meanwhile."""

    def run(self) -> None:
        """Look again and again."""
        self._watch.start()
        begin, before = time.monotonic_ns(), counted(self._words)["misses"]
        while not self._over.wait(LOOK_SECONDS):
            end, now = time.monotonic_ns(), counted(self._words)["misses"]
            if now != before:
                self._found.append((begin, end, now - before))
            begin, before = end, now

    def end(self) -> dict[str, int]:
        """How many were late, and how many of them in no time that a stall excuses."""
        self._over.set()
        self.join()
        excused = windows(self._watch.stop(), self._excuse_ns)
        begins, ends, late = np.array(self._found, np.int64).reshape(-1, 3).T
        return {"late": int(late.sum()), "late_unexplained": int(late[~met(begins, ends, excused)].sum())}


class CellError(Exception):
    """A cell that cannot be measured; the message says why."""


@contextlib.contextmanager
def started(device: Device, load: str, server: JackServer) -> Iterator[str]:
    """Start a device under test and wait until it is ready; gives the line in which it said so."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            child([*device.command, "--stress", load]),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            text=True,
            start_new_session=True,
            env=server.environment | {"PERIOD": str(server.period), "PYTHONPATH": ENGINES},
            cwd=HERE.parent,
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                ended = process.poll() is not None
                said.seek(0)
                text = said.read()
                if found := READY.search(text):
                    break
                if ended or time.monotonic() > deadline:
                    last = (text.strip().splitlines() or ["nothing said"])[-1]
                    raise CellError(f"{'ended' if ended else 'not ready'}: {last}")
                time.sleep(0.05)
            yield found[0]
            if process.poll() is not None:
                raise CellError("ended while it was measured")
        finally:
            end(process)


def run_meter(device: Device, seconds: float, server: JackServer) -> dict[str, Any]:
    """Run the meter on a client."""
    program = [sys.executable, str(HERE / "glitchmeter.py")]
    command = [*program, device.client, "--seconds", str(seconds), *device.meter]
    pipe, strangers = subprocess.PIPE, set()
    process = subprocess.Popen(
        child(command), stdout=pipe, stderr=pipe, text=True, start_new_session=True, env=server.environment
    )
    deadline = time.monotonic() + seconds + START_SECONDS
    try:
        while process.poll() is None:
            if time.monotonic() > deadline:
                raise CellError("the meter hangs")
            strangers |= other_real_time()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
    finally:
        end(process)
    said, complaint = process.communicate()
    if process.returncode:
        raise CellError((complaint.strip().splitlines() or ["the meter failed"])[-1])
    report: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return report | {"other_real_time": sorted(strangers)}


def other_real_time() -> set[str]:
    """Names of programs with real-time threads that are none of ours: they may take what the sound needs.

    The stall watch comes before them too, and so does not see them.
    """
    names, parents = {}, _parents()
    for task in map(Path, glob("/proc/[0-9]*/task/[0-9]*/stat")):
        try:
            name, _, rest = task.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue  # It has ended.
        words = rest.split()
        process, priority, policy = int(task.parts[2]), int(words[37]), int(words[38])
        real_time = policy in {os.SCHED_FIFO, os.SCHED_RR} and priority >= STRANGER_PRIORITY
        if real_time and not int(words[6]) & KERNEL_THREAD:
            names[process] = name
    return {name for process, name in names.items() if not _descends(process, parents)}


def _parents() -> dict[int, int]:
    """The parent of every process."""
    found = {}
    for place in map(Path, glob("/proc/[0-9]*/stat")):
        with contextlib.suppress(OSError):  # It has ended.
            found[int(place.parts[2])] = int(place.read_text().rpartition(")")[2].split()[1])
    return found


def _descends(process: int, parents: dict[int, int]) -> bool:
    """Whether a process is this one or comes from it."""
    while process not in {0, os.getpid()}:
        process = parents.get(process, 0)
    return process != 0


def round_trip(target: str, server: JackServer) -> dict[str, float] | None:
    """What jack_iodelay measures through a client's first channel (``self``: patched to itself).

    Returns
    -------
    dict or None
        ``samples`` (median), ``spread`` (largest less smallest) and ``count``; None where there is none.
    """
    client = jack.Client("rtaudio-patch", no_start_server=True, servername=server.name)
    command = ["stdbuf", "-oL", "jack_iodelay"]
    process = subprocess.Popen(
        child(command),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env=server.environment,
    )
    try:
        deadline = time.monotonic() + PATCH_SECONDS
        while not _patch(client, target):  # Its ports are there a little before they can be connected.
            if time.monotonic() > deadline:
                return None
            time.sleep(0.1)
        time.sleep(IODELAY_SECONDS)
    finally:
        end(process)
        client.close()
    assert process.stdout is not None  # noqa: S101
    said = process.stdout.read()
    # The first is taken while its filters settle.
    samples = [float(number) for number in re.findall(r"([\d.]+) frames .* total roundtrip", said)][1:]
    if not samples:
        return None
    spread = max(samples) - min(samples)
    return {"samples": statistics.median(samples), "spread": round(spread, 3), "count": len(samples)}


def _patch(client: jack.Client, target: str) -> bool:
    """Connect jack_iodelay to a client's first input and output; whether that worked."""
    out, back = "jack_delay:out", "jack_delay:in"
    pairs = [(out, back)]
    try:
        if target != "self":
            ports = client.get_ports(f"^{target}.*:", is_audio=True)
            feed, *_ = sorted(port.name for port in ports if port.is_input)
            answer, *_ = sorted(port.name for port in ports if port.is_output)
            pairs = [(out, feed), (answer, back)]
        for source, sink in pairs:
            if source not in {port.name for port in client.get_all_connections(sink)}:
                client.connect(source, sink)
    except (jack.JackError, ValueError):
        return False
    return True


def fill(cell: Cell, server: JackServer, baseline: dict[str, float] | None) -> None:
    """Measure a cell."""
    device = DEVICES[cell.device]
    try:
        with started(device, cell.load, server) as cell.ready:
            found = READY.search(cell.ready)
            cell.promised_latency = int(found[1]) if found else None
            attack: Attack | Edits | None = None
            if device.attack:
                period_ms = 1e3 * server.period / server.rate
                attack = Edits() if device.attack == "edit" else Attack(device.attack, period_ms)
                attack.start()
            lateness = Lateness(10**9 * server.period // server.rate) if device.punctual else None
            if lateness is not None:
                lateness.start()
            cell.meter = run_meter(device, cell.seconds, server)
            if attack is not None:
                cell.meter["attack"] = attack.end()
            if lateness is not None:
                cell.meter |= lateness.end()
            if baseline is not None and device.ours:
                cell.round_trip = round_trip(device.client, server)
                if cell.round_trip:
                    cell.round_trip["samples"] = round(cell.round_trip["samples"] - baseline["samples"], 3)
    except CellError as error:
        cell.verdict = "error" if device.ours or cell.ready else "absent"
        cell.reasons = [str(error)]


def judge(cell: Cell, foil: Cell | None) -> None:
    """Give a cell its verdict and reasons; ``foil`` is the Python callback under the GIL hog, same period."""
    if cell.verdict in {"error", "absent"}:
        return
    if not DEVICES[cell.device].ours:
        cell.verdict = "foil"
        return
    meter, blind, wrong = cell.meter, [], []
    if not meter["watch_real_time"]:
        blind.append("the stall watch had no real-time priority")
    if not meter["server_real_time"]:
        blind.append("the server had no real-time priority")
    if not blind:
        counts = {kind: meter[f"{kind}_unexplained"] for kind in ("events", "xruns")}
        wrong += [f"{count} {kind} unexplained" for kind, count in counts.items() if count]
        if cell.extra_latency != 0:
            wrong.append("no sound came back" if cell.extra_latency is None else "not the promised latency")
    if meter.get("late_unexplained"):
        wrong.append(f"{meter['late_unexplained']} of {meter['late']} late blocks unexplained")
    attack = meter.get("attack")
    if attack and attack["kind"] == "edit":
        wrong += attack["refused"]
        if attack["edits"] * EDIT_SECONDS < meter["seconds"]:
            wrong.append(f"{attack['edits']} edits only")
    elif attack and attack["kind"] in {"overload", "stalls"}:
        if not sum(attack["back_ms"]):
            blind.append("nothing came late")
        if attack["restarts"]:
            wrong.append(f"{attack['restarts']} workers were replaced")
    elif attack:
        late = max(attack["back_ms"], default=0.0)
        limit = BACK_MS + (HANG_BLOCKS * 1e3 * cell.period / RATE if attack["kind"] == "hang" else 0.0)
        if attack["restarts"] < attack["attacks"] or late > limit:
            wrong.append(
                f"{attack['restarts']} of {attack['attacks']} came back, the last after {late:.1f} ms"
            )
    if meter["excused_percent"] > EXCUSED_PERCENT:
        blind.append(f"{meter['excused_percent']:.1f} % of the time excused")
    if foil is None or foil.worst_channel < FOIL_ERRORS:
        shown = "was not measured" if foil is None else f"shows {foil.worst_channel} errors only"
        blind.append(f"the Python callback {shown}")
    short = [f"{meter['seconds']:.0f} s"] if meter["seconds"] < FULL_SECONDS - 1 else []
    cell.verdict = "FAIL" if wrong else "invalid" if blind else "short" if short else "pass"
    beside = [f"beside other real-time programs: {', '.join(meter['other_real_time'])}"]
    told = [f"{attack['edits']} edits"] if attack and attack["kind"] == "edit" else []
    if attack and attack["back_ms"]:
        median, longest = np.median(attack["back_ms"]), max(attack["back_ms"])
        told = [
            f"{attack['attacks']} attacks, fallback for {median:.1f} ms (median), {longest:.1f} ms (longest)"
        ]
    cell.reasons = wrong + blind + short + told + (beside if meter["other_real_time"] else [])


def plan(options: argparse.Namespace) -> list[Cell]:
    """All cells, period by period, the one that must break first."""
    cells: list[Cell] = []
    seconds = {True: options.seconds, False: min(options.seconds, options.foil_seconds)}
    for period in options.periods:
        wanted = [(device, load) for device in options.duts for load in options.loads]
        wanted = [FOIL, *(each for each in wanted if each != FOIL)]
        cells += [Cell(period, device, load, seconds[DEVICES[device].ours]) for device, load in wanted]
    return cells


def measure(
    cells: list[Cell], baselines: dict[int, dict[str, float] | None], console: Console, iodelay: bool
) -> None:
    """Fill the cells in their order, on one server for each period; Ctrl-C ends it early."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("", total=len(cells))
        for period in dict.fromkeys(cell.period for cell in cells):
            with JackServer(period) as server:
                if iodelay:
                    baselines[period] = round_trip("self", server)
                for cell in (cell for cell in cells if cell.period == period):
                    name = f"{period} samples, {cell.device}, load {cell.load}"
                    progress.update(task, description=name)
                    fill(cell, server, baselines.get(period))
                    progress.advance(task)
                    if cell.reasons:
                        console.print(f"{name}: {'; '.join(cell.reasons)}", highlight=False)


def table(cells: list[Cell]) -> Table:
    """All cells that have a verdict."""
    shown = Table(title="Errors: all / that no stall of the machine explains. Latency in samples.")
    for name in ("period", "device", "load", "s", "wrong", "xruns", "latency", "beyond promise"):
        shown.add_column(name, justify="left" if name in {"device", "load"} else "right")
    for name in ("jack_iodelay", "stalls", "excused", "verdict"):
        shown.add_column(name, justify="left" if name == "verdict" else "right")
    for cell in cells:
        if not cell.verdict:
            continue
        meter, trip = cell.meter, cell.round_trip
        row = [str(cell.period), cell.device, cell.load]
        if meter:
            row += [
                f"{meter['seconds']:.0f}",
                f"{meter['events']} / {meter['events_unexplained']}",
                f"{meter['xruns']} / {meter['xruns_unexplained']}",
                str(meter["latency"]),
                str(cell.extra_latency),
                f"{trip['samples']:.2f} ± {trip['spread']:.3f}" if trip else "-",
                f"{meter['stalls']}, {meter['longest_stall_ms']} ms",
                f"{meter['excused_percent']:.2f} %",
            ]
        else:
            row += ["-"] * 8
        style = {"pass": "green", "FAIL": "red", "error": "red", "invalid": "yellow", "short": "yellow"}
        shown.add_row(*row, cell.verdict, style=style.get(cell.verdict))
    return shown


def environment() -> dict[str, Any]:
    """Where this was measured."""
    names = ("numba", "numpy", "sounddevice", "pedalboard", "JACK-Client")
    versions = {}
    for name in names:
        with contextlib.suppress(ImportError):
            versions[name] = version(name)
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "system": platform.platform(),
        "processor": processor[1] if processor else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": versions,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def main() -> int:
    """Measure, print, and fail where a cell does."""
    parser = argparse.ArgumentParser(
        description="Wrong samples and xruns under load, on a private JACK server."
    )
    parser.add_argument("--seconds", type=float, default=FULL_SECONDS, help="a cell (default: 60)")
    parser.add_argument(
        "--foil-seconds", type=float, default=10.0, help="a foil's cell, at most (default: 10)"
    )
    parser.add_argument("--periods", type=int, nargs="+", default=list(PERIODS), help="samples a period")
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=list(LOADS))
    parser.add_argument("--duts", nargs="+", choices=list(DEVICES), default=list(DEVICES), help="under test")
    parser.add_argument("--no-iodelay", action="store_true", help="leave jack_iodelay out")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 132)
    if reason := absent():
        console.print(reason)
        return 2
    cells = plan(options)
    baselines: dict[int, dict[str, float] | None] = {}
    interrupted = False
    try:
        measure(cells, baselines, console, not options.no_iodelay)
    except KeyboardInterrupt:
        interrupted = True
        console.print("interrupted; what is done so far:")
    foils = {cell.period: cell for cell in cells if (cell.device, cell.load) == FOIL and cell.meter}
    for cell in cells:
        if cell.meter or cell.verdict:
            judge(cell, foils.get(cell.period))
    console.print(table(cells))
    for cell in cells:
        if cell.verdict in {"FAIL", "invalid", "error"} or cell.meter.get("attack"):
            where = f"{cell.period} {cell.device} {cell.load}"
            console.print(f"{where}: {cell.verdict}: {'; '.join(cell.reasons)}", highlight=False)
    if options.json:
        done = [asdict(cell) | {"extra_latency": cell.extra_latency} for cell in cells if cell.verdict]
        result = {"environment": environment(), "round_trip_baselines": baselines, "cells": done}
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if interrupted:
        return 130
    return int(any(cell.verdict in {"FAIL", "error"} for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
