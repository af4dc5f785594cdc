"""Ten minutes of live sound while everything changes, and every sample of the recording checked afterwards.

``python benchmarks/soak.py [--minutes 10] [--api jack] [--lane 2] [--kills] [--seed 0]`` prints a verdict.

Through the host's public interface: parameters, bypass, mute, solo, presets, insertions and removals of
nodes, losses of the device, all at random times from a seed. With ``--kills``, worker processes are killed
too: what their fallback may sound in is a window like those of changes, and so is what a block may that the
host counts as late on a worker. With ``--every-engine``, all registered engines run beside it, in every lane,
not heard, their parameters turned too. With ``--api jack`` the device is a JACK server of
its own on the dummy driver, which is killed and started again; otherwise the null device, which is told to be
gone.

The input is a file in a loop whose samples are exact. Outside of the windows in which a change may sound,
which are logged as it is made (a few blocks and its fade, the crossfade of an edit to the sample), the
recording must be what the graph means, to the bit: its input, as late as the plan says, times the gains.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
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
from inference import write_network
from jackd import JackServer, absent
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from stalls import watch

from rtaudio.counters import NODE_MISSES, NODE_WORKER, sections
from rtaudio.errors import UserError
from rtaudio.files import AudioReader, AudioWriter
from rtaudio.graph import Graph, Node, parameters_of
from rtaudio.host import Host
from rtaudio.layout import CROSSFADE
from rtaudio.null import NullDevice
from rtaudio.plan import Plan
from rtaudio.processor import Value
from rtaudio.registry import engine_names, load_engine
from rtaudio.remote import RemoteSegment
from rtaudio.soundcard import open_device
from rtaudio.stream import NEXT_AFTER, NEXT_AT

RATE, BLOCK = 48_000, 128
PERIOD = 49_999
"""Samples of the file: prime, so that a wrong position is a wrong sample."""
PAUSE = 0.05, 0.8
"""Seconds between two changes."""
LOOK = 0.004
"""Seconds between two looks for late blocks."""
LOSS_EVERY = 20.0
"""Seconds between two losses of the device, about."""
GAINS = (0.0, -6.0, -12.0, 3.0, -0.5)
MARGIN = 4 * BLOCK
"""Samples that an event may wait for its block, here and on workers."""
LONGEST_RAMP = 0.05
"""Seconds that a change of a parameter takes, at most."""
KILL_EVERY, TAKE_OVER = 10.0, 2.0
"""Seconds between two kills of a worker process, about, and until another has to have taken over."""
HOP = 256
"""Samples that the network of ``--every-engine`` takes at once."""
MOST_NODES = 6
LEAST_COMPARED = 0.3
"""Share of the samples that has to be."""
EXPECTED = re.compile("^the device is gone|^the device now calls|killed by signal 9|has taken over")
"""What a host tells of losses and kills."""
WINDOW = 20.0
"""Seconds in which memory is at some time not that of an edit."""
LEAK, DEATH = 1.0, 0.5
"""MB a minute that memory may grow; MB that may stay of a JACK client that died (`soundcard.keep`)."""


def exact() -> NDArray[np.float32]:
    """Noise of 16 bits, at a quarter of full scale: products with gains are the same everywhere."""
    numbers = np.random.default_rng(1).integers(-(1 << 15), 1 << 15, PERIOD)
    return (numbers / (1 << 17)).astype(np.float32)


# ---------------------------------------------------------------------------------------------- the model


@dataclass
class Strip:
    """A node as the model sees it."""

    gain: float = 0.0
    bypass: bool = False
    mute: bool = False
    solo: bool = False


@dataclass
class State:
    """What the graph means: a row of nodes, and one beside it."""

    row: dict[str, Strip]
    side: Strip
    latency: int

    def copy(self) -> State:
        """The same, to be changed."""
        row = {name: Strip(**asdict(strip)) for name, strip in self.row.items()}
        return State(row, Strip(**asdict(self.side)), self.latency)

    def play(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output for an input."""
        soloed = [strip for strip in (*self.row.values(), self.side) if strip.solo]
        row_heard = not soloed or any(strip.solo for strip in self.row.values())
        side_heard = not soloed or self.side.solo
        y = x
        for strip in self.row.values():
            y = self._strip(strip, y)
            if strip.mute or not row_heard:
                y = np.zeros_like(y)
        z = self._strip(self.side, x)
        if self.side.mute or not side_heard:
            z = np.zeros_like(z)
        return y + z

    def _strip(self, strip: Strip, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return x if strip.bypass else x * np.float32(10.0 ** (strip.gain / 20.0))


@dataclass
class Change:
    """What was done, where it may be heard, and what is meant after it."""

    what: str
    begin: int
    end: int
    state: State = field(repr=False)


# ---------------------------------------------------------------------------------------------- devices


class Flaky(NullDevice):
    """The null device, which can be told to be gone."""

    def __init__(self) -> None:
        super().__init__(rate=RATE)
        self.lost = False
        self._back = 0.0

    def lose(self) -> None:
        """Be gone for a while."""
        self._back = time.monotonic() + random.Random(0).uniform(1.0, 3.0)  # noqa: S311
        self.lost = True

    def abandon(self) -> bool:
        """Give it up."""
        self.stop()
        return True

    def reopen(self) -> bool:
        """Whether it is back."""
        self.lost = time.monotonic() < self._back
        return not self.lost


@contextmanager
def null_device() -> Iterator[tuple[Any, Callable[[], None], Callable[[], None]]]:
    """The device, what lets it be lost, and what brings it back."""
    device = Flaky()
    yield device, device.lose, lambda: None


@contextmanager
def jack_device() -> Iterator[tuple[Any, Callable[[], None], Callable[[], None]]]:
    """The same with a JACK server."""
    reason = absent()
    if reason:
        raise SystemExit(reason)
    server = JackServer(BLOCK, RATE)
    os.environ.update(
        {key: server.environment[key] for key in ("JACK_DEFAULT_SERVER", "JACK_NO_START_SERVER")}
    )
    server.__enter__()
    try:
        device = open_device("jack", None, None, RATE, 1, 1)
        yield device, lambda: _kill(server), lambda: _start_again(server)
    finally:
        server.__exit__(None, None, None)


def _kill(server: JackServer) -> None:
    server._process.send_signal(signal.SIGKILL)
    server._process.wait()


def _start_again(server: JackServer) -> None:
    server._log.close()
    server.__enter__()


DEVICES = {"null": null_device, "jack": jack_device}


# ---------------------------------------------------------------------------------------------- the run


class Soak:
    """A run, and what is done to it."""

    def __init__(self, host: Host, state: State, seed: int) -> None:
        self.host, self.state = host, state
        self.random = random.Random(seed)  # noqa: S311
        self.changes: list[Change] = []
        self.turned = 0
        """Changes of parameters of engines that are not heard."""
        self.late: list[tuple[int, int]] = []
        """Where blocks of workers were late, from and to."""
        self.refused: list[str] = []
        """Edits that the host could not make, and why."""
        self._number = 0

    def _log(self, what: str, act: Callable[[], object], state: State) -> None:
        """Do something that takes effect with one of the next blocks, and write down where."""
        begin = self.host.plan.position
        act()
        now = self.host.plan.position
        fade = round(max(LONGEST_RAMP, CROSSFADE) * RATE)
        self.changes.append(Change(what, begin, now + state.latency + fade + MARGIN, state))
        self.state = state

    def _strip(self, state: State) -> tuple[str, Strip]:
        name = self.random.choice([*state.row, "side"])
        return name, state.side if name == "side" else state.row[name]

    def parameter(self) -> None:
        """Turn a gain."""
        state = self.state.copy()
        name, strip = self._strip(state)
        strip.gain = self.random.choice(GAINS)
        self._log(f"{name}.gain={strip.gain:g}", lambda: self.host.set(f"{name}.gain", strip.gain), state)

    def switch(self) -> None:
        """Bypass, mute or solo."""
        state = self.state.copy()
        name, strip = self._strip(state)
        which = self.random.choice(["bypass", "mute", "solo"])
        on = not getattr(strip, which)
        setattr(strip, which, on)
        self._log(f"{which} {name} {on}", lambda: getattr(self.host, which)(name, on), state)

    def preset(self) -> None:
        """Set all gains at once."""
        state = self.state.copy()

        def act() -> None:
            for name, strip in (*state.row.items(), ("side", state.side)):
                strip.gain = self.random.choice(GAINS)
                self.host.set(f"{name}.gain", strip.gain)

        self._log("preset", act, state)

    def edit(self) -> None:
        """Put a node in, or take one out; heard with a crossfade, which begins at a known sample."""
        state, graph = self.state.copy(), self.host.plan.graph
        names = list(state.row)
        if len(names) > 1 and (len(names) >= MOST_NODES or self.random.random() < 0.5):
            name = self.random.choice(names)
            del state.row[name]
            graph, what = graph.remove(name), f"remove {name}"
        else:
            place = self.random.randrange(len(names) + 1)
            name, self._number = f"n{self._number}", self._number + 1
            before = names[place - 1] if place else "in"
            after = names[place] if place < len(names) else "out"
            gain = self.random.choice(GAINS)
            node = Node(name, load_engine("gain"), {"gain": gain})
            graph, what = graph.insert(node, f"{before} -> {after}"), f"insert {name} after {before}"
            row = list(state.row.items())
            state.row = dict([*row[:place], (name, Strip(gain)), *row[place:]])
        try:
            self.host.edit(graph)
        except UserError as error:  # all is as it was
            self.refused.append(f"{what}: {error}")
            return
        state.latency = self.host.plan.latency
        begin = int(self.host.stream.words[NEXT_AT] + self.host.stream.words[NEXT_AFTER])
        # What had been changed just before may still be fading in the new graph.
        unsettled = [change.end for change in self.changes if change.end > begin]
        end = max([begin + round(CROSSFADE * RATE), *unsettled])
        self.changes.append(Change(what, begin, end, state))
        self.state = state

    def kill(self) -> bool:
        """Kill a worker process that has a spare; its fallback is heard until that has settled."""
        remote = [each for each in self.host.plan.segments if isinstance(each, RemoteSegment)]
        ready = [segment for segment in remote if segment.ready.is_set()]
        if not ready:
            return False
        segment = self.random.choice(ready)
        restarts = segment.restarts

        def act() -> None:
            os.kill(segment.pid, signal.SIGKILL)
            until = time.monotonic() + TAKE_OVER
            while segment.restarts == restarts or segment.progress[1] + 2 < segment.progress[0]:
                if time.monotonic() > until:
                    break
                self.host.poll()
                time.sleep(0.002)

        self._log(f"kill {segment.title}", act, self.state)
        return True

    def turn(self) -> None:
        """Set a parameter of an engine that runs beside and is not heard."""
        found = [
            (name, parameter)
            for name, node in self.host.plan.graph.nodes.items()
            if name.startswith(BESIDE)
            for parameter in parameters_of(node.engine)
            if parameter.automatable and not parameter.choices
        ]
        if found:
            name, parameter = self.random.choice(found)
            value = self.random.uniform(parameter.minimum, parameter.maximum)
            self.host.set(f"{name}.{parameter.id}", round(value) if parameter.scale == "integer" else value)
            self.turned += 1

    def look(self, over: threading.Event) -> None:
        """Write down where blocks come late from workers: their fallback is heard."""
        looked, late = 0, dict[str, int]()
        while not over.wait(LOOK):
            position = self.host.plan.position
            counted = sections(self.host.counters.words)
            heard = {
                f"worker {words[NODE_WORKER]}"
                for name, words in counted.items()
                if not name.startswith(BESIDE)
            }
            before, late = late, {name: int(counted[name][NODE_MISSES]) for name in heard & counted.keys()}
            if any(count not in (0, before.get(name, 0)) for name, count in late.items()):
                end = position + self.state.latency + round(CROSSFADE * RATE) + MARGIN
                self.late.append((looked - BLOCK, end))
            looked = position

    def change(self) -> None:
        """Do one of all that."""
        acts = [self.parameter] * 4 + [self.switch] * 4 + [self.preset, self.edit, self.edit]
        self.random.choice(acts)()
        self.turn()


@dataclass
class Usage:
    """What the process holds, over time."""

    at: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def look(self) -> None:
        """Note what it is now."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.at.append(time.monotonic())
        self.megabytes.append(pages * os.sysconf("SC_PAGESIZE") / 2**20)
        self.threads.append(len(os.listdir("/proc/self/task")))
        self.files.append(len(os.listdir("/proc/self/fd")))

    def slope(self) -> float:
        """MB a minute, over the second half, of the least of each `WINDOW`: an edit holds two plans."""
        half = len(self.at) // 2
        at, megabytes = np.array(self.at[half:]), np.array(self.megabytes[half:])
        windows = ((at - at[0]) // WINDOW).astype(int)
        least = [np.flatnonzero(windows == window) for window in np.unique(windows)]
        least = [each[np.argmin(megabytes[each])] for each in least]
        return float(60.0 * np.polyfit(at[least], megabytes[least], 1)[0])


@dataclass
class Found:
    """What the recording shows."""

    compared: int = 0
    silent: int = 0
    """Among them, and rightly so."""
    wrong: int = 0
    places: list[tuple[int, str]] = field(default_factory=list)
    """Where the first wrong ones are, and after what."""


def check(recording: Path, changes: list[Change], late: list[tuple[int, int]], first: State) -> Found:
    """Compare the recording with what the graph meant wherever nothing was changing or late."""
    heard, signal_ = sf.read(recording, dtype="float32")[0], exact()
    changes = sorted(changes, key=lambda change: change.begin)
    begins = [0, *(change.begin for change in changes), len(heard)]
    states = [first, *(change.state for change in changes)]
    names = ["start", *(change.what for change in changes)]
    found, settled = Found(), 0
    fallback = np.zeros(len(heard), bool)
    for begin, end in late:
        fallback[max(begin, 0) : end] = True
    for number, state in enumerate(states):
        if number:
            settled = max(settled, changes[number - 1].end)
        begin, end = max(begins[number], settled, state.latency), min(begins[number + 1], len(heard))
        if begin < end:
            x = signal_[(np.arange(begin, end) - state.latency) % PERIOD]
            meant = state.play(x)
            judged = ~fallback[begin:end]
            bad = np.flatnonzero((heard[begin:end] != meant) & judged)
            found.compared += int(np.count_nonzero(judged))
            found.silent += int(np.count_nonzero((meant == 0) & judged))
            found.wrong += len(bad)
            if len(bad) and len(found.places) < 10:
                found.places.append((begin + int(bad[0]), names[number]))
    return found


def main() -> int:
    """Run, check, print; fail where something was wrong."""
    parser = argparse.ArgumentParser(
        description="A long run in which everything changes, every sample checked."
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--api", choices=list(DEVICES), default="null")
    parser.add_argument(
        "--lane", type=int, choices=(0, 1, 2), default=0, help="where the nodes run (default: 0)"
    )
    parser.add_argument("--kills", action="store_true", help="kill worker processes, about every ten seconds")
    parser.add_argument("--every-engine", action="store_true", help="all engines beside it, in all lanes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rtaudio-soak-") as name, DEVICES[options.api]() as device:
        return soak(Path(name), device, options)


BESIDE = "every-"
"""How the names of nodes begin that run beside what is heard."""


def every_engine(folder: Path) -> list[Node]:
    """A node of every engine, a third of them in each lane; `network` runs a recurrent one."""
    needed: dict[str, dict[str, Value]] = {"network": {"model": str(write_network(folder, "gru", HOP))}}
    return [
        Node(f"{BESIDE}{name}", load_engine(name), needed.get(name, {}), lane=number % 3)
        for number, name in enumerate(engine_names())
    ]


def soak(folder: Path, device: Any, options: argparse.Namespace) -> int:
    """The run itself."""
    card, lose, bring_back = device
    sf.write(folder / "in.wav", exact(), RATE, subtype="FLOAT")
    gain, limiter = load_engine("gain"), load_engine("limiter")
    nodes = [Node("first", gain), Node("side", gain, {"gain": -6.0}), Node("late", limiter, {"ceiling": 0.0})]
    edges = ["in -> first", "first -> out", "in -> late", "late -> side", "side -> out"]
    every = every_engine(folder) if options.every_engine else []
    for node in every:
        made = node.make()
        edges += [f"in -> {node.name}.{port.name}" for port in made.inputs if not port.optional]
        edges += [f"{node.name}.{port.name} -> out.{node.name}-{port.name}" for port in made.outputs]
    plan = Plan(Graph([*nodes, *every], edges), RATE, BLOCK, 1, lane=options.lane)
    state = State({"first": Strip()}, Strip(-6.0), plan.latency)
    record = AudioWriter(folder / "out.wav", RATE, 1, subtype="float")
    host = Host(plan, card, AudioReader(folder / "in.wav"), loop=True, record=record)
    usage, losses, seconds = Usage(), 0, 60.0 * options.minutes
    with watch() as stalls, host, _progress() as progress:
        run, task = Soak(host, state, options.seed), progress.add_task("soak", total=seconds)
        over = threading.Event()
        looks = threading.Thread(target=run.look, args=(over,), daemon=True)
        host.start()
        looks.start()
        begin = time.monotonic()
        next_change, next_loss, back = begin + 1.0, begin + LOSS_EVERY / 2, 0.0
        next_kill, kills = begin + KILL_EVERY / 2, 0
        while (now := time.monotonic()) < begin + seconds:
            host.poll()
            if now >= next_change:
                run.change()
                next_change = time.monotonic() + run.random.uniform(*PAUSE)
            if options.kills and now >= next_kill and run.kill():
                kills += 1
                next_kill = time.monotonic() + KILL_EVERY * run.random.uniform(0.7, 1.3)
            if back and now >= back:
                bring_back()
                back = 0.0
            elif not back and now >= next_loss and now < begin + seconds - 6.0:
                lose()
                losses += 1
                back = now + run.random.uniform(1.0, 3.0)
                next_loss = now + LOSS_EVERY * run.random.uniform(0.7, 1.3)
            if not usage.at or now - usage.at[-1] >= 0.5:
                usage.look()
                done = f"{len(run.changes)} changes, {losses} losses, {kills} kills"
                progress.update(task, completed=now - begin, description=done)
            time.sleep(0.01)
        over.set()
        looks.join()
        report = host.statistics()
        host.close()
    found = check(folder / "out.wav", run.changes, run.late, state)
    return verdict(options, run, usage, report, losses, found, str(stalls))


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    return Progress(*columns, transient=True)


def verdict(
    options: argparse.Namespace,
    run: Soak,
    usage: Usage,
    report: dict[str, Any],
    losses: int,
    found: Found,
    stalls: str,
) -> int:
    """Print what was found; the exit status."""
    kinds: dict[str, int] = {}
    for change in run.changes:
        kind = change.what.split()[0].partition(".")[0]
        kind = "parameter" if kind in ("side", "first") or kind.startswith("n") else kind
        kinds[kind] = kinds.get(kind, 0) + 1
    half = len(usage.at) // 2
    threads, files = max(usage.threads[half:]), max(usage.files[half:])
    quiet = [min(each[: half // 2 + 1]) for each in (usage.threads, usage.files)]
    final = [min(each[-half // 2 :]) for each in (usage.threads, usage.files)]
    xruns, device_misses = report["xruns"], report["device_misses"]
    lane_misses = report["misses"] - device_misses
    slipped = report["file_underflows"] + report["record_overflows"]
    short = len(usage.at) < 60 * 2
    failed = [name for name, node in report["nodes"].items() if node["failures"]]
    problems = [f"failures of {', '.join(failed)}"] if failed else []
    if found.compared < LEAST_COMPARED * report["blocks"] * BLOCK:
        problems.append(f"only {found.compared} samples could be compared")
    problems += [problem for problem in report["problems"] if not EXPECTED.search(problem)]
    if found.wrong:
        problems.append(f"{found.wrong} wrong samples")
    if slipped:
        problems.append(f"inconclusive: the files were late for {slipped} samples")
    deaths = losses / options.minutes if options.api == "jack" else 0.0
    if usage.slope() > LEAK + DEATH * deaths and not short:
        problems.append("memory grows")
    if any(after > before for before, after in zip(quiet, final, strict=True)):
        problems.append(f"threads, files {quiet} became {final}")
    if report["device_losses"] < losses - 1:
        problems.append(f"{losses} losses, {report['device_losses']} noticed")
    beside = f", {run.turned} not heard" if run.turned else ""
    print(f"changes: {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}{beside}")
    late = (
        f"{device_misses} blocks late on the null device, {lane_misses} on workers at {len(run.late)} times"
    )
    print(f"device: {options.api}, {losses} losses, {xruns} xruns, {late}")
    compared = f"{found.compared} of {report['blocks'] * BLOCK} samples, {found.silent} of them silence"
    print(f"compared {compared}; {found.wrong} wrong")
    for place, what in found.places:
        print(f"  at {place}, after '{what}'")
    grown = f"{usage.megabytes[half]:.1f} to {usage.megabytes[-1]:.1f} MB, {usage.slope():+.2f} MB a minute"
    print(f"memory {grown}; threads {quiet[0]} to {threads}, files {quiet[1]} to {files}")
    for edit in run.refused:
        print(f"  refused: {edit}")
    for problem in dict.fromkeys(report["problems"]):
        print(f"  told: {problem}")
    print(f"The machine meanwhile: {stalls}.")
    print(f"verdict: {'; '.join(problems) or 'pass'}")
    if options.json:
        figures = asdict(found) | {"slope": usage.slope(), "losses": losses, "changes": kinds}
        options.json.write_text(json.dumps(figures | {"problems": problems}, indent=1) + "\n")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
