"""``python -m export data``: inspect sets of recordings, mix pairs of speech and noise, render chains.

Corpora for voices, its fourth command, are made by `export.speech`.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.mel import FLOOR, logmel, mel_bands
from export.output import appear, digest, file_hash, progress, show
from export.sets import (
    CLEAN,
    LJSPEECH,
    NOISE,
    NOISY,
    RESPONSES,
    WANTED,
    Clip,
    find_clips,
    find_noise,
    find_rooms,
    licence,
    match,
    parts,
    read_metadata,
    read_text,
    recordings,
    shown,
    sides_of,
    split,
)
from rtaudio.errors import FileError, UserError

if TYPE_CHECKING:
    from export.mixing import Pair, Recipe
    from rtaudio.graph import Graph
    from rtaudio.render import Job

Row = dict[str, Any]
"""A line of a table."""

# ------------------------------------------------------------------------------------------ inspect

SHORTEST = 0.25
"""Seconds. Recordings of speech or noise below this are told as too short."""
SILENCE = 1e-4
"""Recordings whose peak is lower, -80 dB, are told as silent."""
CLIPPED = 0.999
"""Three samples or more in a row from here on are told as clipped."""
SHOWN = 10
"""Problems of a row that are printed; all are in the JSON file."""

_SNR = re.compile(r"_snr(-?\d+)_")


@dataclass
class Facts:
    """What one recording is: levels in dB re RMS 1.0 of the mean of its channels, the active one by P.56."""

    rate: int
    channels: int
    samples: int
    level: float
    active: float
    problems: list[str] = field(default_factory=list)


def measure(path: Path, what: str) -> Facts:
    """Read a recording and look at it; `FileError` if it cannot be read."""
    from export.levels import active_level, level
    from rtaudio.files import AudioReader

    with AudioReader(path) as reader:
        rate, x = reader.rate, reader.read(reader.samples)
    facts = Facts(rate, len(x), x.shape[1], -np.inf, -np.inf)
    if bad := int(np.count_nonzero(~np.isfinite(x))):
        facts.problems.append(f"{bad} samples are not finite")
        return facts
    peaks = np.abs(x) >= CLIPPED
    if clipped := int(np.count_nonzero(peaks[:, 2:] & peaks[:, 1:-1] & peaks[:, :-2])):
        facts.problems.append(f"clipped ({clipped} times three samples in a row)")
    if what != RESPONSES and x.shape[1] < SHORTEST * rate:
        facts.problems.append(f"too short: {x.shape[1] / rate:.3f} s, want {SHORTEST:g} s or more")
    if np.max(np.abs(x)) < SILENCE:
        facts.problems.append("silent")
        return facts
    mono = x.mean(axis=0)
    if not np.any(mono):
        facts.problems.append("its channels cancel: their mean is silent")
        return facts
    facts.level = level(mono)
    if what != RESPONSES:
        facts.active = active_level(mono, rate)[0]
    return facts


def inspect(folder: Path, advance: Callable[[str], None] = lambda what: None) -> list[Row]:
    """What a folder has: a row for each layout in it and each kind of recording.

    Parameters
    ----------
    folder
        As the table of `export.sets` has it, or one of such.
    advance
        Called with the name of each recording before it is read.

    Returns
    -------
    Rows of: folder, layout, what, clips, speakers, minutes, rates and channels (each with the number of
    files), active and level (dB: mean, least, most; None where there is none), snr (dB, the least and the
    most that names of DNS files tell, or None), problems, licence.

    Raises
    ------
    FileError
        The folder is of no known layout.
    """
    problems_of: dict[tuple[str, str], list[str]] = {}
    heard: dict[tuple[str, str], list[tuple[Clip, Facts]]] = {}
    for layout, part in parts(folder):
        found: dict[Path, Facts] = {}
        for what, clips in recordings(layout, part).items():
            told = problems_of.setdefault((layout, what), [])
            for clip in clips:
                advance(clip.path.name)
                try:
                    found[clip.path] = measure(clip.path, what)
                except FileError as error:
                    told.append(str(error))
                    continue
                told += [f"{clip.path}: {problem}" for problem in found[clip.path].problems]
                heard.setdefault((layout, what), []).append((clip, found[clip.path]))
        if layout == LJSPEECH:
            _, problems, left_out = read_metadata(part)
            problems += [f"{part}: audio {name!r} has no line in metadata.csv" for name in left_out]
            problems_of[layout, CLEAN] += problems
        for noisy, clean in sides_of(layout, part):
            pairs, problems = match(noisy, clean)
            problems_of.setdefault((layout, NOISY), []).extend(problems + _unlike(pairs, found))
    told_by = licence(folder)
    return [
        {"folder": shown(folder), "layout": layout, "what": what}
        | _summary(heard.get((layout, what), []), problems)
        | {"licence": told_by}
        for (layout, what), problems in problems_of.items()
    ]


def _unlike(pairs: Iterable[tuple[Path, Path]], found: Mapping[Path, Facts]) -> list[str]:
    """Pairs of another rate, width or length."""
    problems = []
    for pair in pairs:
        if all(path in found for path in pair):
            clean, noisy = (
                f"{facts.rate} Hz, {facts.channels} channels, {facts.samples} samples"
                for facts in map(found.__getitem__, pair)
            )
            if clean != noisy:
                problems.append(f"{pair[1]} has {noisy}, but {pair[0]} has {clean}: they must be alike")
    return problems


def _summary(heard: Sequence[tuple[Clip, Facts]], problems: list[str]) -> Row:
    """The columns of `inspect` that come from the recordings."""
    facts = [each for _, each in heard]
    rates, channels = (
        {str(value): count for value, count in sorted(Counter(values).items())}
        for values in ([each.rate for each in facts], [each.channels for each in facts])
    )
    for name, counts in (("rates in Hz", rates), ("numbers of channels", channels)):
        if len(counts) > 1:
            told = ", ".join(f"{value} ({count} files)" for value, count in counts.items())
            problems = [*problems, f"{name} differ: {told}"]
    snr = [float(match[1]) for clip, _ in heard if (match := _SNR.search(clip.path.stem))]
    return {
        "clips": len(heard),
        "speakers": len({clip.speaker for clip, _ in heard}),
        "minutes": round(sum(each.samples / each.rate for each in facts) / 60, 2),
        "rates": rates,
        "channels": channels,
        "active": _spread([each.active for each in facts]),
        "level": _spread([each.level for each in facts]),
        "snr": [min(snr), max(snr)] if snr else None,
        "problems": problems,
    }


def _spread(levels: Sequence[float]) -> list[float] | None:
    """Mean, least and most of levels that are finite."""
    finite = [level for level in levels if np.isfinite(level)]
    if not finite:
        return None
    return [round(float(value), 1) for value in (np.mean(finite), min(finite), max(finite))]


def _show_inspected(rows: Sequence[Row]) -> None:
    from rtaudio.cli import one_line

    cells = []
    for row in rows:
        levels = [row[key] for key in ("active", "level")]
        texts = ["" if spread is None else "{:.1f} ({:.1f}, {:.1f})".format(*spread) for spread in levels]
        texts.append("" if row["snr"] is None else "{:g} to {:g}".format(*row["snr"]))
        names = [str(row[key]) for key in ("folder", "layout", "what", "clips", "speakers", "minutes")]
        several = [", ".join(row[key]) for key in ("rates", "channels")]
        cells.append([*names, *several, *texts, str(len(row["problems"]))])
    heading = ["folder", "layout", "what", "clips", "speakers", "minutes", "rates", "channels"]
    show([*heading, "active", "RMS", "SNR", "problems"], cells, left=3)
    lines = ["active: level of speech by ITU-T P.56; mean (least, most) over files, dB re RMS 1.0"]
    licences = {row["folder"]: row["licence"] for row in rows}
    lines += [f"licence of {name}: {told}" for name, told in licences.items()]
    for row in rows:
        lines += row["problems"][:SHOWN]
        if (more := len(row["problems"]) - SHOWN) > 0:
            lines.append(f"{row['folder']}, {row['what']}: {more} problems more, see --json")
    sys.stdout.write("".join(f"{one_line(line)}\n" for line in lines))


def run_inspect(options: argparse.Namespace) -> int:
    """``data inspect``: 1 if there are problems."""
    from rtaudio.cli import check_report, write_report

    check_report(options.json, [])
    found = [part for folder in options.folders for part in parts(folder)]
    steps = sum(len(clips) for part in found for clips in recordings(*part).values())
    with progress(steps) as advance:
        rows = [row for folder in options.folders for row in inspect(folder, advance)]
    _show_inspected(rows)
    write_report(options.json, rows)
    return int(any(row["problems"] for row in rows))


# ------------------------------------------------------------------------------------------ making

SET, JOURNAL = "set.json", "unfinished.jsonl"
_LEFT_OVER = re.compile(r"\..+\.[0-9a-f]{8}\.part")


@contextmanager
def making(
    folder: Path, settings: Row, table: str, files: Mapping[str, Collection[Path]]
) -> Iterator[tuple[dict[str, Row], Callable[[Row], None]]]:
    """A folder in which a set is made, from where an earlier call was stopped.

    ``set.json`` has the settings; a set with others is refused. Each row that is kept is in
    ``unfinished.jsonl`` at once; on leaving without an exception, that becomes the table.

    Parameters
    ----------
    folder
        New, empty, or a set with the same settings.
    settings
        Plain values for JSON.
    table
        Name of the CSV file.
    files
        What a row stands for, by the row's ``name``: a row whose files are not all there is forgotten.

    Yields
    ------
    rows
        Those that are there, by name.
    keep
        A function that takes a row more.

    Raises
    ------
    UserError
        The folder has something else, or cannot be written.
    """
    from rtaudio.render import make_folder

    make_folder(folder)
    path, journal = folder / SET, folder / JOURNAL
    text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    if path.exists():
        _check_same(path, json.loads(text))
    elif any(folder.iterdir()):
        raise UserError(f"{folder} is not empty and has no {SET}: choose another folder")
    else:
        appear(path, lambda hidden: hidden.write_text(text, encoding="utf-8"))
    for each in folder.rglob(".*.part"):
        if _LEFT_OVER.fullmatch(each.name):  # of a process that was killed
            each.unlink(missing_ok=True)
    there = {str(row.get("name")): row for row in _rows_of(folder / table, journal)}
    rows = {name: there[name] for name in files if name in there and all(map(Path.is_file, files[name]))}
    lines = "".join(f"{json.dumps(row)}\n" for row in rows.values())
    appear(journal, lambda hidden: hidden.write_text(lines, encoding="utf-8"))
    with journal.open("a", encoding="utf-8") as file:

        def keep(row: Row) -> None:
            file.write(f"{json.dumps(row)}\n")
            file.flush()
            rows[row["name"]] = row

        yield rows, keep
    ordered = [rows[name] for name in files]
    columns = list(dict.fromkeys(key for row in ordered for key in row))

    def write(hidden: Path) -> None:
        with hidden.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(ordered)

    appear(folder / table, write)
    journal.unlink()


def _rows_of(table: Path, journal: Path) -> list[Row]:
    """The rows of a set: of its journal, but a last line that was cut short, or else of its table."""
    if not journal.is_file():
        text = read_text(table) if table.is_file() else ""
        reader = csv.DictReader(io.StringIO(text, newline=""))
        return [{key: value for key, value in row.items() if value} for row in reader]
    rows = []
    for line in read_text(journal, "replace").splitlines():
        try:
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            break
    return rows


def _check_same(path: Path, settings: Row) -> None:
    """Refuse a set with other settings."""
    try:
        other = json.loads(path.read_text(encoding="utf-8"))
        keys = [key for key in {**settings, **other} if settings.get(key) != other.get(key)]
    except (ValueError, TypeError):
        raise FileError(f"{path} is damaged: remove it, or choose another folder") from None
    if keys:
        told = " and ".join(f"another {key!r}" for key in keys)
        raise UserError(f"{path.parent} has a set with {told}: choose another folder")


def versions() -> dict[str, str]:
    """Of what makes the samples of a set."""
    import scipy
    import soundfile
    import soxr

    from rtaudio import __version__

    return {
        "rtaudio": __version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "soxr": soxr.__version__,
        "libsndfile": soundfile.__libsndfile_version__,
    }


def _licences(paths: Iterable[Path]) -> list[Row]:
    """What is written about the licences of folders, and of files' folders."""
    return [
        {"folder": shown(path), "licence": licence(path if path.is_dir() else path.parent)} for path in paths
    ]


def refuse_inside(output: Path, folders: Iterable[Path]) -> None:
    """Refuse an output inside of a folder that is read."""
    real = output.resolve()
    for folder in folders:
        if folder.resolve() in (real, *real.parents):
            raise UserError(
                f"{output} is inside of {folder}, whose files it would join: choose another folder"
            )


# ------------------------------------------------------------------------------------------ mix

SIDES = ("train", "held-out")
"""Which speakers a set has."""
PEAK = 0.99
"""Pairs that pass full scale are made quieter to have this peak: clean, noisy and noise alike."""


def run_mix(options: argparse.Namespace) -> int:
    """``data mix``."""
    from export.mixing import Mixer
    from rtaudio.cli import say

    recipe = _recipe(options)
    rooms_named = options.rooms or [Path(room) for room in recipe.rooms]
    folders = {"clean": options.clean, "noise": options.noise or [], "rooms": rooms_named}
    refuse_inside(options.output, [folder for each in folders.values() for folder in each])
    sides = dict(
        zip(SIDES, split(find_clips(options.clean), _share(options.held_out), options.seed), strict=True)
    )
    clips = sides[options.side]
    if not clips:
        raise UserError("nobody is held out: give --held-out, or leave out --side held-out")
    noise, rooms = find_noise(folders["noise"]), find_rooms(folders["rooms"])
    settings = {
        "made by": "data mix",
        "versions": versions(),
        "seed": options.seed,
        "recipe": asdict(recipe) | {"rooms": [shown(Path(room)) for room in recipe.rooms]},
        "pairs": len(clips) if options.all else options.count,
        "side": options.side,
        "speakers": {side: sorted({clip.speaker for clip in each}) for side, each in sides.items()},
        "licences": _licences(folder for each in folders.values() for folder in each),
        "sources": {
            "clean": digest(clip.path for clip in clips),
            "noise": digest(noise),
            "rooms": digest(rooms),
        },
    }
    if rooms:
        recipe = replace(recipe, rooms=tuple(map(str, rooms)))
    speakers = [clip.speaker for clip in clips]
    mixer = Mixer([clip.path for clip in clips], noise, recipe, options.seed, speakers)
    kinds = (CLEAN, NOISY, NOISE) if options.keep_noise else (CLEAN, NOISY)
    names = [f"{index:06d}" for index in range(settings["pairs"])]
    files = {name: {kind: options.output / kind / f"{name}.wav" for kind in kinds} for name in names}
    places = {name: own.values() for name, own in files.items()}
    with (
        making(options.output, settings, "pairs.csv", places) as (rows, keep),
        progress(len(names)) as advance,
    ):
        for index, name in enumerate(names):
            advance(name)
            if name not in rows:
                pair = mixer.pair(index)
                row = {"name": name, "speaker": speakers[mixer.clip(index)], "snr": pair.snr}
                keep(row | {"gain": _write_pair(pair, files[name])} | pair.details)
    say(f"{len(rows)} pairs in {options.output}")
    return 0


def _write_pair(pair: Pair, files: Mapping[str, Path]) -> float:
    """Write WAV files of 24 bits; returns the gain in dB that keeps all within full scale."""
    from rtaudio.files import AudioWriter
    from rtaudio.render import make_folder

    signals = {CLEAN: pair.clean, NOISY: pair.noisy, NOISE: pair.noise}
    peak = max(float(np.max(np.abs(x))) for x in signals.values())
    gain = PEAK / peak if peak > 1 else 1.0
    for kind, path in files.items():
        x = signals[kind][None] * np.float32(gain)
        make_folder(path.parent)
        with AudioWriter(path, pair.rate, 1, subtype="24", samples=x.shape[1]) as writer:
            writer.write(x)
    return round(20.0 * math.log10(gain), 3)


def _share(texts: Sequence[str]) -> float | list[str]:
    """``--held-out``: a share of the speakers, or names."""
    try:
        share = float(texts[0]) if len(texts) == 1 else 1.0
    except ValueError:
        share = 1.0
    return share if 0 <= share < 1 else list(texts)


def _recipe(options: argparse.Namespace) -> Recipe:
    """The recipe that the options ask for."""
    from export.config import read_toml, typed
    from export.mixing import Recipe

    table: Row = {}
    if options.recipe is not None:
        whole = read_toml(options.recipe)
        table = whole.get("mix", whole)
        if not isinstance(table, dict):
            raise UserError(f"{options.recipe}: mix is a table: write [mix]")
    if options.snr is not None:
        table["snr"] = tuple(options.snr)
    if options.rooms and "room" not in table:
        table["room"] = 1.0
    return typed(table, Recipe, str(options.recipe or "the options"))


# ------------------------------------------------------------------------------------------ render

INPUT, OUTPUT = "input", "output"
"""Folders of what goes into a chain, and of what comes out of its main output."""
SUBTYPES = {"flac": "24", "wav": "float"}


def run_render(options: argparse.Namespace) -> int:
    """``data render``."""
    from rtaudio.cli import find_inputs, one_line, read_chain, say
    from rtaudio.files import AudioReader
    from rtaudio.graph import MAIN
    from rtaudio.rack import dump_rack, rack_of
    from rtaudio.render import Job, check_targets

    graph = read_chain(options.chain)
    outputs = {name: OUTPUT if name == MAIN else name for name in graph.output_names()}
    folders = [INPUT, *outputs.values()]
    if len(set(folders)) < len(folders):
        raise UserError(f"an output of the chain is called {INPUT} or {OUTPUT}, as a folder is: rename it")
    refuse_inside(options.output, [path for path in options.inputs if path.is_dir()])
    inputs = find_inputs(options.inputs, options.output)
    names = {str(source): place.with_suffix("").as_posix() for source, place in inputs}
    rates: Counter[int] = Counter()
    for source, _ in inputs:
        with AudioReader(source) as reader:
            rates[reader.rate] += 1
    features = _features(options, rates)
    settings = {
        "made by": "data render",
        "versions": versions(),
        "chain": dump_rack(rack_of(graph)),
        "engines": {name: f"{node.engine.id} {node.engine.version}" for name, node in graph.nodes.items()},
        "outputs": list(outputs.values()),
        "latency": "compensated: outputs are aligned with the input and as long",
        "format": options.format,
        "rates": {str(rate): count for rate, count in sorted(rates.items())},
        "features": features,
        "licences": _licences(options.inputs),
        "sources": digest(source for source, _ in inputs),
    }
    files: dict[str, dict[str, Path]] = {}
    jobs = []
    for source, _ in inputs:
        name = names[str(source)]
        own = {kind: options.output / kind / f"{name}.{options.format}" for kind in folders}
        targets = {output: own[kind] for output, kind in outputs.items()}
        jobs.append(Job(source, targets, SUBTYPES[options.format]))
        if features is not None:
            own |= {f"{kind}.logmel": options.output / f"{kind}.logmel" / f"{name}.npy" for kind in folders}
        files[name] = own
    places = {name: own.values() for name, own in files.items()}
    check_targets(jobs)
    failed = clipped = 0
    with ExitStack() as stack:
        rows, keep = stack.enter_context(making(options.output, settings, "files.csv", places))
        advance = stack.enter_context(progress(len(jobs)))
        for job in jobs:
            if names[str(job.source)] in rows:
                advance("")
        jobs = [job for job in jobs if names[str(job.source)] not in rows]
        for report in stack.enter_context(_rendered(graph, jobs, max(rates), options.jobs)):
            name = names[report["source"]]
            advance(name)
            if "error" in report or report["failures"]:
                failed += 1
                say(one_line(report.get("error") or f"{name}: {'; '.join(report['failures'])}"))
            else:
                clipped += report["clipped"]
                keep(_finished(report, name, files[name], features))
        if failed:
            raise UserError(
                f"{failed} of {len(inputs)} files failed: call this again when the cause is gone, "
                "or mend the files and choose another folder"
            )
    say(f"{len(rows)} files in {options.output}")
    if clipped:
        say(f"{clipped} samples were clipped: lower the gain, or use --format wav")
    return 0


@contextmanager
def _rendered(
    graph: Graph, jobs: Sequence[Job], rate: int, processes: int | None
) -> Iterator[Iterator[dict[str, Any]]]:
    """Reports of jobs as they are done, in parallel processes where there is something to share."""
    from rtaudio.cli import make_plan
    from rtaudio.parts import graph_rate
    from rtaudio.render import render_many, try_to_render

    processes = min(processes or os.cpu_count() or 1, len(jobs))
    if processes > 1:
        with suppress(UserError):  # which a file's own rate and width may not raise
            make_plan(graph, graph_rate(graph, rate), 1024, 1).close()  # compile once, not in each of them
        with closing(render_many(graph, jobs, processes)) as reports:
            yield reports
    else:
        yield (try_to_render(graph, job) for job in jobs)


def _finished(report: Mapping[str, Any], name: str, files: Mapping[str, Path], features: Row | None) -> Row:
    """Put the input beside its outputs, and the features; returns their row of ``files.csv``."""
    from rtaudio.files import AudioReader, AudioWriter
    from rtaudio.render import make_folder

    target = files[INPUT]
    make_folder(target.parent)
    subtype = SUBTYPES[target.suffix[1:]]
    with AudioReader(report["source"]) as reader:
        info = reader.info
        with AudioWriter(
            target, info.rate, info.channels, source=info, subtype=subtype, samples=info.samples
        ) as writer:
            while (block := reader.read(2**16)).shape[1]:
                writer.write(block)
    if features is not None:
        for kind, path in files.items():
            if path.suffix == ".npy":
                with AudioReader(files[kind.removesuffix(".logmel")]) as reader:
                    x = reader.read(reader.samples)
                make_folder(path.parent)
                spectra = logmel(x, info.rate, *(features[key] for key in ("mels", "hop", "window")))
                _save(path, spectra)
    row = {"name": name, "rate": info.rate, "processed at": report["rate"], "channels": info.channels}
    row |= {"samples": info.samples, "latency": report["latency"]["total"]}
    row |= {key: report[key] for key in ("clipped", "non_finite_replaced")}
    return row | {f"sha256 of {kind}": file_hash(path) for kind, path in files.items()}


def _save(path: Path, array: NDArray[np.float32]) -> None:
    def write(hidden: Path) -> None:
        with hidden.open("wb") as file:
            np.save(file, array, allow_pickle=False)

    appear(path, write)


def _features(options: argparse.Namespace, rates: Counter[int]) -> Row | None:
    """What ``set.json`` says about the features, if there are to be any."""
    if options.features is None:
        return None
    if len(rates) > 1:
        told = ", ".join(f"{rate} Hz ({count} files)" for rate, count in sorted(rates.items()))
        raise UserError(
            f"features need one rate, but the files have {told}: resample them, or take them apart"
        )
    if options.hop > options.window:
        raise UserError(
            f"--hop {options.hop} is longer than --window {options.window}: samples would be left out"
        )
    (rate,) = rates
    mel_bands(rate, options.mels, options.window)
    return {
        "kind": options.features,
        "rate": rate,
        "mels": options.mels,
        "hop": options.hop,
        "window": options.window,
        "floor": FLOOR,
        "format": "npy, float32, (channels, samples // hop, mels)",
        "meaning": "ln(max(magnitude, floor)), frame k centred on sample k hop + hop / 2, Hann, Slaney's mel",
    }


# ------------------------------------------------------------------------------------------ command


def command(commands: Any) -> None:
    """Add ``data`` to a command line."""
    from export import speech
    from rtaudio.cli import CHAIN_HELP, decibels, file_path, from_zero, whole

    parser = commands.add_parser(
        "data",
        help="inspect, mix and render sets",
        description="Inspect, mix and render sets of recordings, and make corpora for voices.",
    )
    sets = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    many = {"nargs": "+", "type": file_path, "metavar": "DIR"}
    output = {"type": file_path, "required": True, "metavar": "OUT"}

    look = sets.add_parser(
        "inspect",
        help="say what folders have",
        description="Say what folders have, and what is wrong with it; exit status 1 if something is. "
        f"Folders: {WANTED}.",
    )
    look.add_argument("folders", **many)
    look.add_argument("--json", metavar="F", help="write all of it as JSON ('-' for stdout)")
    look.set_defaults(run=run_inspect)

    mixed = sets.add_parser(
        "mix",
        help="make pairs of clean and noisy speech",
        description="Write aligned pairs of clean and noisy speech. Called again, it goes on where it was.",
    )
    mixed.add_argument("--clean", required=True, **many, help="speech, in folders of any layout")
    mixed.add_argument("--noise", **many, help="noise; may be left out where the recipe makes it")
    mixed.add_argument("--rooms", **many, help="measured rooms (BUT ReverbDB) to put speakers in")
    mixed.add_argument("-o", "--output", **output, help="a folder for clean/, noisy/, pairs.csv and set.json")
    count = mixed.add_mutually_exclusive_group(required=True)
    count.add_argument("--count", type=whole, metavar="N", help="pairs")
    count.add_argument("--all", action="store_true", help="a pair of each clip")
    mixed.add_argument(
        "--snr", nargs="+", type=decibels, metavar="DB", help="one is drawn (default: 15 20 25)"
    )
    mixed.add_argument("--seed", type=from_zero, default=0, metavar="N", help="(default: 0)")
    mixed.add_argument(
        "--recipe", type=file_path, metavar="TOML", help="[mix], as in a training configuration"
    )
    mixed.add_argument(
        "--held-out",
        nargs="+",
        default=["0"],
        metavar="X",
        help="speakers to leave out, or a share that the seed draws: 0.1",
    )
    mixed.add_argument(
        "--side", choices=SIDES, default=SIDES[0], help="whose speech: held-out is that of those left out"
    )
    mixed.add_argument("--keep-noise", action="store_true", help="write noise/ too")
    mixed.set_defaults(run=run_mix)

    render = sets.add_parser(
        "render",
        help="write what a chain makes of files, and features",
        description="Write files and what a chain makes of them: aligned, as long, every output in a folder "
        "of its own. Called again, it goes on where it was.",
        epilog=CHAIN_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    render.add_argument("inputs", **many, help="files, or folders, whose structure is kept")
    render.add_argument("--chain", required=True, metavar="C")
    render.add_argument(
        "-o", "--output", **output, help=f"a folder for {INPUT}/, {OUTPUT}/, files.csv and set.json"
    )
    render.add_argument(
        "--format",
        choices=SUBTYPES,
        default="flac",
        help="flac: 24 bits (default); wav: float, nothing clips",
    )
    render.add_argument("--features", choices=("logmel",), help="beside the audio, as .npy")
    for name, default in (("mels", 80), ("hop", 256), ("window", 1024)):
        render.add_argument(
            f"--{name}", type=whole, default=default, metavar="N", help=f"(default: {default})"
        )
    render.add_argument("--jobs", type=whole, metavar="N", help="processes (default: CPU cores)")
    render.set_defaults(run=run_render)
    speech.command(sets)
