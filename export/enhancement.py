"""How well speech is enhanced: ``python -m export evaluate enhancement``.

Models, external commands, this project's chains and what people can pick today (RNNoise, speexdsp, WebRTC,
noisereduce) get the same noisy speech; `export.metrics` compares what they make of it with the clean speech.
The tables and the figure of spectrograms are those of the paper that `export.models.segan` follows.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
import io
import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import product
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, TypeVar

from engines.chunks import Sliding
from engines.enhance import MODES
from export.material import Load, Material, Mixed, Recorded
from export.metrics import METRICS, RATE, score
from export.mixing import Recipe
from export.output import appear, command_line, digest, progress, show
from export.reports import Row, draw_spectrograms, gather, markdown, names_of, plot, summary, tables
from export.sets import find_clips, find_noise, find_pairs, speakers_of
from export.systems import (
    NOISY,
    PEERS,
    Enhance,
    System,
    chain_latency,
    find_peers,
    from_chain,
    from_command,
    from_model,
    lag_of,
    load_model,
    on_time,
    unchanged,
)
from rtaudio.cli import one_line
from rtaudio.errors import FileError, UserError, nearest

T = TypeVar("T")
Task = tuple[int, list[tuple[float | None, int]]]
"""A pair's number, and what of it to score: SNRs, with the places of systems."""

FIELDS = (
    *("number", "file", "noise", "snr", "system", "mode"),
    *METRICS,
    *("lag", "polarity", "latency", "cost", "problem"),
)

# ------------------------------------------------------------------------------------------ scoring


def score_pair(load: Load, systems: Sequence[System], started: Sequence[Enhance], task: Task) -> list[Row]:
    """Enhance a pair's noisy speech and score it: a row for each SNR and system.

    The row of what could not be scored has only ``problem`` instead.
    """
    number, wanted = task
    try:
        pair = load(number)
    except UserError as error:
        return failed_rows(systems, task, str(error))
    rows = []
    lags: dict[int, int] = {}
    for snr, place in wanted:
        system, process = systems[place], started[place]
        row = {"number": number, "file": pair.file, "noise": pair.noise, "snr": snr}
        row |= {"system": system.name, "mode": system.mode}
        try:
            latency = system.latency
            if system.peer:
                if place not in lags:
                    lags[place] = lag_of(process, pair.clean)
                latency = 1e3 * lags[place] / pair.rate
                process = partial(on_time, process, lags[place])
            before = cpu_seconds()
            enhanced = process(pair.noisy[snr])
            cost = (cpu_seconds() - before) * pair.rate / len(pair.clean)
            row |= score(pair.clean, enhanced, pair.rate) | {"latency": latency, "cost": cost, "problem": ""}
        except UserError as error:
            row["problem"] = one_line(str(error))
        except Exception as error:  # a network's, say: no reason to stop the others
            row["problem"] = one_line(f"{type(error).__name__}: {error}")
        rows.append(row)
    return rows


def failed_rows(systems: Sequence[System], task: Task, problem: str) -> list[Row]:
    """Rows of a pair of which nothing could be scored."""
    number, wanted = task
    return [
        {"number": number, "file": f"pair {number}", "snr": snr, "problem": one_line(problem)}
        | {"system": systems[place].name, "mode": systems[place].mode}
        for snr, place in wanted
    ]


def cpu_seconds() -> float:
    """What this process and those it has run have taken."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def score_all(
    material: Material, systems: Sequence[System], tasks: Sequence[Task], jobs: int
) -> Generator[list[Row], None, None]:
    """Score pairs in parallel processes, yielding the rows of each when it is done.

    A process that dies takes the rows of one pair with it. Closing the generator ends the processes.
    """
    waiting = list(reversed(tasks))
    workers: dict[Connection, tuple[subprocess.Popen[bytes], Task]] = {}
    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                connection, process = _start_worker()
                workers[connection] = process, waiting.pop()
                with suppress(OSError):  # that it died is found out below
                    connection.send((material, systems))
                    connection.send(workers[connection][1])
            ready = wait(list(workers))
            for connection in [connection for connection in workers if connection in ready]:
                process, task = workers[connection]
                try:
                    rows = connection.recv()
                except (EOFError, ConnectionError):
                    status = process.wait()
                    rows = failed_rows(
                        systems, task, f"the process that scored it ended with status {status}"
                    )
                if process.poll() is None and waiting:
                    workers[connection] = process, waiting.pop()
                    with suppress(OSError):
                        connection.send(workers[connection][1])
                else:
                    connection.close()
                    process.wait()
                    del workers[connection]
                yield rows
    finally:
        for process, _ in workers.values():
            process.terminate()
        for connection, (process, _) in workers.items():
            connection.close()
            process.wait()


def _start_worker() -> tuple[Connection, subprocess.Popen[bytes]]:
    """Start `work`, on one thread, in a process that Ctrl-C does not reach: its connection ends it."""
    ours, theirs = Pipe()
    with theirs:
        code = f"from export.enhancement import work; work({theirs.fileno()})"
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=2,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
            },
            process_group=0,
        )
    return ours, process


def work(descriptor: int) -> None:
    """Score the pairs that come through a connection, until it closes."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with Connection(descriptor) as connection, suppress(EOFError, ConnectionError):
        material, systems = connection.recv()
        load, started = material.open(), [system.start() for system in systems]
        while True:
            connection.send(score_pair(load, systems, started, connection.recv()))


# ------------------------------------------------------------------------------------------ kept rows


def check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Keep the settings in a folder; refuse one that has scores by others."""
    path = folder / "settings.json"
    if path.exists():
        try:
            found = json.loads(path.read_text("utf-8"))
        except ValueError:
            found = None
        for key in settings:
            if not isinstance(found, dict) or found.get(key) != settings[key]:
                raise UserError(
                    f"{folder} has scores by other settings ({key} differs): choose another folder"
                )
    elif (folder / "scores.csv").exists():
        raise UserError(f"{folder} has scores of unknown settings: choose another folder")
    else:
        appear(path, lambda hidden: hidden.write_text(json.dumps(settings, indent=2) + "\n", "utf-8"))


def read_rows(path: Path) -> list[Row]:
    """Rows of ``scores.csv`` that say a score; those with a problem, and a torn last one, are left out."""
    if not path.exists():
        return []
    text = path.read_text("utf-8")
    lines = text[: text.rfind("\n") + 1].splitlines()
    rows: list[Row] = []
    for found in csv.DictReader(lines):
        if not found["problem"]:
            row: Row = {key: float(text) if text else None for key, text in found.items() if key in _NUMBERS}
            rows.append(found | row | {"number": int(found["number"])})
    return rows


_NUMBERS = ("snr", *METRICS, "lag", "polarity", "latency", "cost")


def write_rows(rows: Iterable[Row], file: io.TextIOBase, heading: bool = True) -> None:
    """Lines of ``scores.csv``."""
    writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
    if heading:
        writer.writeheader()
    for row in rows:
        writer.writerow({key: round(x, 6) if isinstance(x, float) else x for key, x in row.items()})


@contextmanager
def kept(path: Path, rows: list[Row], order: Callable[[Row], Any]) -> Iterator[Callable[[list[Row]], None]]:
    """A function that takes rows, adds them to ``rows`` and to a file; at the end the file is in order.

    What is scored so far is in the file at any time, whatever comes in between.
    """

    def write(hidden: Path) -> None:
        with hidden.open("w", newline="", encoding="utf-8") as file:
            write_rows(sorted(rows, key=order), file)

    appear(path, write)
    with path.open("a", newline="", encoding="utf-8") as file:

        def keep(found: list[Row]) -> None:
            write_rows(found, file, heading=False)
            file.flush()
            rows.extend(found)

        yield keep
    appear(path, write)


# ------------------------------------------------------------------------------------------ command


def command(commands: Any) -> None:
    """Add ``enhancement`` to ``evaluate``."""
    from rtaudio.cli import decibels, file_path, from_zero, seconds, whole

    parser = commands.add_parser(
        "enhancement",
        help="score speech enhancement",
        description="Score what systems make of noisy speech against the clean speech: PESQ, STOI, SI-SDR "
        "and more, with standard errors, paired intervals, lag and cost. Every system may be NAME=... to say "
        "what tables call it. The same command goes on where it was interrupted.",
    )
    systems = parser.add_argument_group("systems (repeatable)")
    systems.add_argument(
        "--model", action="append", default=[], metavar="M.onnx", help="a network that works in chunks"
    )
    systems.add_argument(
        "--mode", action="append", choices=MODES, help="how to run models; repeatable (default: overlap)"
    )
    systems.add_argument(
        "--hop",
        nargs="+",
        type=whole,
        default=[1024],
        metavar="N",
        help="samples, of sliding (default: 1024)",
    )
    systems.add_argument(
        "--lookahead",
        nargs="+",
        type=from_zero,
        default=[512],
        metavar="N",
        help="samples, of sliding (default: 512); all pairs of --hop and --lookahead are run",
    )
    systems.add_argument(
        "--command",
        action="append",
        default=[],
        metavar="'CMD {in} {out}'",
        help="a program that reads a WAV file and writes one as long; no shell",
    )
    systems.add_argument(
        "--command-rate", type=whole, default=RATE, metavar="HZ", help="of these files (default: 16000)"
    )
    systems.add_argument(
        "--timeout", type=seconds, default=600.0, metavar="S", help="for a command on a file (default: 600)"
    )
    systems.add_argument(
        "--chain", action="append", default=[], metavar="C", help="engines of this project, as in rtaudio"
    )
    systems.add_argument(
        "--peers", action="store_true", help=f"those of {', '.join(PEERS)} that are installed"
    )
    material = parser.add_argument_group("material")
    material.add_argument(
        "--clean",
        nargs="+",
        required=True,
        type=file_path,
        metavar="DIR",
        help="clean speech; that of speakers whom a --model was trained on is left out",
    )
    noisy = material.add_mutually_exclusive_group(required=True)
    noisy.add_argument(
        "--noisy",
        type=file_path,
        metavar="DIR",
        help="the same speech with noise, in files that pair by name",
    )
    noisy.add_argument(
        "--noise", nargs="+", type=file_path, metavar="DIR", help="noise to mix with the clean speech"
    )
    material.add_argument(
        "--snr", nargs="+", type=decibels, metavar="DB", help="to mix at (default: 15 20 25)"
    )
    material.add_argument(
        "--count", type=whole, metavar="N", help="pairs to mix (default: each clean file once)"
    )
    material.add_argument("--seed", type=from_zero, metavar="N", help="of the mixing (default: 0)")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=file_path,
        metavar="OUT",
        help="a folder for scores.csv, scores.md, scores.png and spectrograms.png",
    )
    parser.add_argument(
        "--against", default=NOISY, metavar="NAME", help="differences are to this system (default: noisy)"
    )
    parser.add_argument(
        "--figure",
        nargs="+",
        metavar="NAME",
        help="draw spectrograms of clean, noisy and these systems, at 20 dB or next to it",
    )
    parser.add_argument("--jobs", type=whole, metavar="N", help="processes (default: one per core)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Score every system on every pair; returns 1 if something could not be scored."""
    from rtaudio.cli import compiling, say
    from rtaudio.render import make_folder

    systems = find_systems(options)
    material = find_material(options, systems)
    names = names_of(systems)
    for name in (options.against, *(options.figure or ())):
        if name not in names:
            known = ", ".join(map(repr, names))
            raise UserError(f"no system {name!r}{nearest(name, names)}: there are {known}")
    draw = importlib.util.find_spec("matplotlib") is not None
    if options.figure and not draw:
        raise UserError("--figure needs matplotlib, which is not installed: pip install matplotlib")
    with compiling():
        started = [system.start() for system in systems]
    make_folder(options.output)
    path = options.output / "scores.csv"
    what = {name: system.what for name, system in zip(names, systems, strict=True)}
    check_settings(options.output, material.settings() | {"systems": what})

    places = {(system.name, system.mode): place for place, system in enumerate(systems)}

    def order(row: Row) -> tuple[int, int, int]:
        return row["number"], material.snrs.index(row["snr"]), places[row["system"], row["mode"]]

    try:
        rows = read_rows(path)
        done = set(map(order, rows))
    except (ValueError, KeyError):
        raise FileError(
            f"{path} is not a table of this command: remove it, or choose another folder"
        ) from None
    tasks: list[Task] = []
    for number in range(len(material)):
        wanted = [
            (snr, place)
            for (level, snr), place in product(enumerate(material.snrs), places.values())
            if (number, level, place) not in done
        ]
        if wanted:
            tasks.append((number, wanted))
    if rows:
        say(f"{len(rows)} scores are there from before, of the same files and systems")
    jobs = min(options.jobs or os.cpu_count() or 1, len(tasks))
    if jobs > 1:
        found = score_all(material, systems, tasks, jobs)
    else:
        load = material.open()
        found = (score_pair(load, systems, started, task) for task in tasks)
    try:
        with kept(path, rows, order) as keep, progress(len(tasks)) as advance:
            advance("starting")
            for scored in found:
                keep(scored)
                say_problems(scored, names, places)
                advance(scored[0]["file"])
    except BaseException:
        say(f"not complete: {path} has what was scored; the same command goes on")
        raise
    finally:
        found.close()
    if all(row["problem"] for row in rows):
        for name in ("scores.csv", "settings.json"):
            (options.output / name).unlink(missing_ok=True)
        raise UserError("nothing could be scored: see above")
    report(options, material, systems, started, rows, draw)
    return int(any(row["problem"] for row in rows))


def say_problems(rows: Sequence[Row], names: Sequence[str], places: Mapping[tuple[str, str], int]) -> None:
    """A line for each problem, with the systems that have it."""
    from rtaudio.cli import say

    problems: dict[str, dict[str, None]] = {}
    for row in rows:
        if row["problem"]:
            name = names[places[row["system"], row["mode"]]]
            problems.setdefault(row["problem"], {})[name] = None
    for problem, having in problems.items():
        whom = "all systems" if len(having) == len(names) else ", ".join(having)
        say(f"skipped: {rows[0]['file']}, {whom}: {problem}")


def report(
    options: argparse.Namespace,
    material: Material,
    systems: Sequence[System],
    started: Sequence[Enhance],
    rows: Sequence[Row],
    draw: bool,
) -> None:
    """Print and write tables, and draw."""
    from rtaudio.cli import say

    scores = gather(rows, systems, material)
    found = tables(rows, scores, systems, material, options.against)
    for title, heading, cells in (found[0], summary(scores)):
        show(heading, cells, title)
    text = markdown(found, material, command_line())
    appear(options.output / "scores.md", lambda path: path.write_text(text, "utf-8"))
    if not draw:
        say("no plots: matplotlib is not installed (pip install matplotlib)")
    elif isinstance(material, Mixed):
        appear(options.output / "scores.png", lambda path: plot(scores, material.snrs, path))
    if options.figure:
        number = next(row["number"] for row in rows if not row["problem"])
        pair = material.open()(number)
        snr = min(material.snrs, key=lambda snr: abs((snr or 0.0) - 20.0))
        title = NOISY if snr is None else f"{NOISY}, {snr:g} dB"
        signals = {"clean": pair.clean, title: pair.noisy[snr]}
        for name in options.figure:
            place = scores.systems.index(name)
            process = started[place]
            if systems[place].peer:
                process = partial(on_time, process, lag_of(process, pair.clean))
            signals[name] = process(pair.noisy[snr])
        appear(options.output / "spectrograms.png", lambda path: draw_spectrograms(signals, path))


def find_material(options: argparse.Namespace, systems: Sequence[System]) -> Material:
    """What the options name, but the speech of those whom a system was trained on."""
    if options.noisy is not None:
        for name in ("snr", "count", "seed"):
            if getattr(options, name) is not None:
                raise UserError(f"--{name} is for --noise: the files of --noisy are as they are")
        if len(options.clean) != 1:
            raise UserError(f"--noisy pairs with one folder of --clean, not with {len(options.clean)}")
        pairs = find_pairs((options.noisy, options.clean[0]))
        whose = speakers_of(pairs, options.clean[0].parent)
        return Recorded(tuple(_of_others(pairs, whose, systems)))
    clips = find_clips(options.clean)
    clean = tuple(_of_others(clips, [clip.speaker for clip in clips], systems))
    snrs = tuple(dict.fromkeys(options.snr or Recipe().snr))
    noise = tuple(find_noise(options.noise))
    return Mixed(clean, noise, snrs, options.count or len(clean), options.seed or 0)


def _of_others(found: list[T], whose: Sequence[str], systems: Sequence[System]) -> list[T]:
    """What is not of speakers that a system was trained on; a line says so."""
    from rtaudio.cli import say

    known = set().union(*(system.speakers for system in systems))
    left = [each for each, speaker in zip(found, whose, strict=True) if speaker not in known]
    if not left:
        raise UserError("--clean has only speakers that a --model was trained on: give speech of others")
    if len(left) < len(found):
        count = len(set(whose) - known)
        say(f"{len(left)} of {len(found)} clips are left, of {count} speakers: a --model knows the others")
    return left


def find_systems(options: argparse.Namespace) -> list[System]:
    """What the options name, the noisy speech itself first."""
    systems = [System(NOISY, "", unchanged, "")]
    for text in options.model:
        name, rest = _named(text)
        path = Path(rest)
        model = load_model(path)
        for mode, hop, lookahead in _modes(options):
            latency, shown = model.chunk, mode
            if mode == "sliding":
                latency, shown = Sliding(model, hop, lookahead).latency, f"{mode} {hop}+{lookahead}"
            start = partial(from_model, path, mode, hop, lookahead)
            what = f"{model.card.sha256} {shown}"
            delay = 1e3 * latency / model.rate
            systems.append(System(name or path.stem, shown, start, what, delay, speakers=model.speakers))
    for text in options.command:
        name, line = _named(text)
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise UserError(f"--command {line!r}: {str(error).lower()}") from None
        for place in ("{in}", "{out}"):
            if not any(place in word for word in words[1:]):
                raise UserError(f"--command {line!r} has no {place}: say where the file's name goes")
        start = partial(from_command, line, options.command_rate, options.timeout)
        files = [Path(word) for word in words if Path(word).is_file()]
        what = f"{line} at {options.command_rate} Hz, {digest(files)}"
        systems.append(System(name or Path(words[0]).name, "", start, what))
    for text in options.chain:
        name, chain = _named(text)
        rack = Path(chain.strip())
        what = hashlib.sha256(rack.read_bytes()).hexdigest() if rack.is_file() else chain
        systems.append(System(name or chain, "", partial(from_chain, chain), what, chain_latency(chain)))
    if options.peers:
        systems += find_peers()
    keys = [(system.name, system.mode) for system in systems]
    for name, mode in keys:
        if keys.count((name, mode)) > 1:
            raise UserError(f"two systems are called {name}: say NAME=... for one")
    return systems


def _modes(options: argparse.Namespace) -> list[tuple[str, int, int]]:
    """Modes of models, each with a hop and a look-ahead."""
    found = []
    for mode in dict.fromkeys(options.mode or ["overlap"]):
        sizes = list(product(options.hop, options.lookahead))
        found += [(mode, *size) for size in dict.fromkeys(sizes if mode == "sliding" else sizes[:1])]
    return found


def _named(text: str) -> tuple[str, str]:
    """The name, or nothing, and the rest of ``NAME=...``."""
    match = re.fullmatch(r"([\w.+-]+)=(.+)", text, re.DOTALL)
    return (match[1], match[2]) if match else ("", text)
