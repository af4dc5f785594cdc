"""The live denoiser beside its peers: quality against the project's goals, cost, latency.

``python benchmarks/enhancement.py [--count 25] [--snr 0 5 10 15 20 25] [--seconds 20] [--model NAME.onnx]
[--sealed] [--json FILE]`` prints tables. Peers that are installed take part, RNNoise, WebRTC, speexdsp and
noisereduce; the others are named.

**Quality.** Readers that the network was not trained on, each in a recording of noise that it was not trained
on, mixed and scored at 16 kHz by `export.enhancement`, the same pairs for everybody; an unseen voice at 48
kHz; noise alone; white noise. Cells are means over pairs, and under each its 95 % interval (bootstrap; pairs
share noises, which it does not count). Of the noises for validation a third is sealed: scored only with
``--sealed``, at the end.

**Cost.** CPU seconds for a second of sound, in turns. Then the time from when a hop of 10 ms is due to when
its sound is there, on a thread with a worker's real-time priority, at rest and beside a thread of the same
process that holds the GIL; ``pyrnnoise``, called from Python, is the foil. Hops in which a core of the
machine stalled (`stalls.StallWatch`) are left out and counted; more than 5 %, and the cell is invalid.

**Latency.** Declared, and as the sound is found late by cross-correlation.

A goal that is missed is printed and no failure: the exit status is 0, and where the recordings are not at
hand and no others are named, too. Ctrl-C prints what is done (130).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from foil import load
from numpy.typing import NDArray
from stalls import StallWatch, met, real_time, windows

from engines.enhancer import SPECTRA, kind_of, path_of
from export.enhancement import Task, cpu_seconds, say_problems, score_all
from export.material import Mixed, Pair
from export.metrics import METRICS, RATE, alignment, bootstrap
from export.mixing import level, read_mono
from export.output import progress, show, write_json
from export.reports import PLACES, Row, finite, gather, names_of, with_unit
from export.sets import Clip, find_clips, find_noise
from export.systems import (
    NOISY,
    Audio,
    Enhance,
    System,
    chain_latency,
    find_peers,
    from_chain,
    lag_of,
    on_time,
    rnnoise,
    unchanged,
)
from rtaudio.cli import compiling, decibels, file_path, read_chain, say, seconds, whole
from rtaudio.errors import UserError
from rtaudio.executor import run_block
from rtaudio.kernel import channel
from rtaudio.native import compiled, now_ns, sleep_until_ns
from rtaudio.plan import IN, Plan

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
CONFIGURATION = ROOT / "export" / "configs" / "live.toml"
SEALED = frozenset((
    "urban_road", "things_boiling-water", "things_dryer", "places_library", "places_subway-station",
    "urban_crowd", "things_ceiling-fan", "places_construction-site", "things_slide-projector",
    "transport_airplane", "things_washing-machine", "places_supermarket",
))  # fmt: skip
"""The third of the noises for validation by which nothing is chosen."""
FULL = 48_000
"""Hz, the network's rate."""
CLEAN = math.inf
"""The SNR of clean speech."""
ENGINE = "enhance"
SHOWN = ("PESQ", "STOI", "SI-SDR")

# ------------------------------------------------------------------------------------------ goals


@dataclass(frozen=True)
class Goal:
    """What a mean score is to reach; with ``over_noisy``, how far it is to be above the noisy speech's."""

    metric: str
    snr: float
    least: float
    over_noisy: bool = False
    rank: str = "first"


def _row(metric: str, least: Mapping[float, float], over_noisy: bool, rank: str = "first") -> list[Goal]:
    return [Goal(metric, snr, bound, over_noisy, rank) for snr, bound in least.items()]


GOALS = (
    *_row("PESQ", {0: 1.45, 5: 1.70, 10: 2.05}, over_noisy=False),
    *_row("PESQ", {15: 0.3, 20: 0.15, 25: 0.0}, over_noisy=True),
    *_row("SI-SDR", {0: 7.0, 5: 10.0, 10: 13.0}, over_noisy=False),
    *_row("SI-SDR", {15: 0.0, 20: 0.0, 25: 0.0}, over_noisy=True),
    *_row("STOI", {15: -0.002, 20: -0.002, 25: -0.002}, over_noisy=True),
    Goal("PESQ", CLEAN, 4.0),
    Goal("SI-SDR", CLEAN, 25.0),
    *_row("PESQ", {0: 1.72, 5: 1.95, 10: 2.23}, over_noisy=False, rank="then, GTCRN's"),
)
NOISE_ALONE, LOUDEST, SETTLED, LATENCY, COST = -20.0, 0.0, 0.3, 20.0, 0.02
"""At most: dB, median and highest; seconds; milliseconds; of a core."""


@dataclass(frozen=True)
class Verdict:
    """A goal beside what was found."""

    what: str
    goal: str
    found: str
    interval: str
    met: bool
    by: str
    """How far from the goal."""
    rank: str = "first"


def judge(
    goals: Iterable[Goal], values: Mapping[tuple[str, str, float], NDArray[np.float64]]
) -> list[Verdict]:
    """Verdicts on the engine's means; goals at levels that have no score are left out.

    Parameters
    ----------
    values
        (pairs,) by system, metric and SNR; NaN where there is no score.
    """
    found = []
    for goal in goals:
        x = values.get((ENGINE, goal.metric, goal.snr), np.empty(0))
        if goal.over_noisy and len(x):
            x = x - values[NOISY, goal.metric, goal.snr]
        x = finite(x)
        if not len(x):
            continue
        sign = "+" if goal.over_noisy else ""
        form = f"{sign}.{PLACES.get(goal.metric, 2)}f"
        than = f"noisy {goal.least:{form}}" if goal.over_noisy else f"{goal.least:{form}}"
        mean = float(np.mean(x))
        found.append(
            Verdict(
                f"{with_unit(goal.metric)}, {level_name(goal.snr)}",
                f">= {than}",
                f"{mean:{form}}",
                interval_of(x, form),
                mean >= goal.least,
                f"{mean - goal.least:+.{PLACES.get(goal.metric, 2)}f}",
                goal.rank,
            )
        )
    return found


def at_most(what: str, goal: float, found: float, form: str, interval: str = "") -> Verdict:
    """A verdict on something that is to be small."""
    by = f"{goal - found:+{form}}"
    return Verdict(what, f"<= {goal:{form}}", f"{found:{form}}", interval, found <= goal, by)


def interval_of(x: NDArray[np.float64], form: str) -> str:
    """The 95 % interval of a mean, as text; nothing for one value."""
    low, high = bootstrap(x)
    return "" if math.isnan(low) else f"{low:{form}} to {high:{form}}"


def level_name(snr: float) -> str:
    """What tables call an SNR."""
    return "clean" if snr == CLEAN else f"{snr:g} dB"


# ------------------------------------------------------------------------------------------ material


def choose_noise(paths: Iterable[Path], sealed: bool) -> list[Path]:
    """Those that are sealed, or those that are not."""
    return [path for path in paths if (path.stem in SEALED) == sealed]


def trained_on(model: Path) -> frozenset[str]:
    """Speakers of a network's training, as its card tells them."""
    card = json.loads(model.with_suffix(".json").read_text(encoding="utf-8"))
    return frozenset(card.get("data", {}).get("speakers", ()))


@dataclass(frozen=True)
class Sounds:
    """What is scored: speech at 16 kHz, a voice at 48 kHz, noises."""

    readers: Sequence[Clip]
    voice: Sequence[Clip]
    noise: Sequence[Path]


def find_sounds(options: argparse.Namespace, known: frozenset[str]) -> Sounds:
    """What the options name, but speakers who are known to the network; `UserError` where nothing is left."""
    default = DATA / "speech" / "librispeech-251", DATA / "speech" / "nathalie", DATA / "noise" / "validation"
    given = options.clean, options.voice, options.noise
    folders = [[path] if folder is None else folder for folder, path in zip(given, default, strict=True)]
    if options.clean is not None and options.voice is None:
        folders[1] = []
    speech, voice = (find_clips(paths) if paths else [] for paths in folders[:2])
    if options.clean is None:
        held_out = set(tomllib.loads(CONFIGURATION.read_text("utf-8"))["data"]["held_out"])
        speech = [clip for clip in speech if clip.speaker in held_out]
    speech, voice = ([clip for clip in clips if clip.speaker not in known] for clips in (speech, voice))
    if not speech:
        raise UserError("the network was trained on all of these speakers: give others with --clean DIR")
    noise = choose_noise(find_noise(folders[2]), options.sealed)
    if not noise:
        which = "is sealed" if options.sealed else "is left: all of it is sealed, which takes --sealed"
        raise UserError(f"no noise in {', '.join(map(str, folders[2]))} {which}")
    return Sounds(speech, voice, noise)


# ------------------------------------------------------------------------------------------ quality

HEARD, LEAST = 10.0, -100.0
"""Of a recording of noise alone: seconds, and dB that stand for silence."""
LAST, WINDOW = 1.0, 0.05
"""Seconds at the end that say what noise has settled at, and of the levels that are compared with it."""
STILL = 6.0
"""dB above that which are still settled."""


def score_pairs(material: Mixed, systems: Sequence[System], rows: list[Row]) -> None:
    """Score every system on every pair, on all cores; ``rows`` has what is done at any time."""
    places = {(system.name, system.mode): place for place, system in enumerate(systems)}
    names = names_of(systems)
    tasks: list[Task] = [
        (number, [(snr, place) for snr in material.snrs for place in places.values()])
        for number in range(len(material))
    ]
    found = score_all(material, systems, tasks, min(os.cpu_count() or 1, len(tasks)))
    try:
        with progress(len(tasks)) as advance:
            advance("starting")
            for scored in found:
                rows += scored
                say_problems(scored, names, places)
                advance(str(scored[0]["file"]))
    finally:
        found.close()


def values_of(
    rows: Sequence[Row], systems: Sequence[System], material: Mixed
) -> dict[tuple[str, str, float], NDArray[np.float64]]:
    """Scores by system, metric and SNR, (pairs,); NaN where there is none."""
    scores = gather(rows, systems, material)
    return {
        (name, metric, snr): scores.values[place, at, :, METRICS.index(metric)]
        for place, name in enumerate(scores.systems)
        for at, snr in enumerate(material.snrs)
        for metric in SHOWN
    }


def settling(y: Audio, rate: int) -> float:
    """Seconds from which on a signal's level, in windows of 50 ms, is that of its last second, or lower.

    It is that up to 6 dB above it.
    """
    size = round(WINDOW * rate)
    levels = [level(window) for window in y[: len(y) // size * size].reshape(-1, size)]
    loud = np.flatnonzero(np.array(levels) > level(y[-round(LAST * rate) :]) + STILL)
    return 0.0 if not len(loud) else (int(loud[-1]) + 1) * size / rate


def noise_alone(
    started: Mapping[str, tuple[Enhance, int]], noise: Sequence[Path], found: dict[str, Any]
) -> None:
    """By how many dB each system makes recordings louder, over their first ten seconds.

    Parameters
    ----------
    started
        By name: a system's function, and the rate in Hz at which it hears them.
    found
        Gets lists of dB by name, in the order of ``noise``.
    """
    with progress(len(noise)) as advance:
        for path in noise:
            advance(path.stem)
            heard = {rate: read_mono(path, rate)[: round(HEARD * rate)] for _, rate in started.values()}
            for name, (process, rate) in started.items():
                change = level(process(heard[rate])) - level(heard[rate])
                found.setdefault(name, []).append(max(LEAST, change))


def white_noise(process: Enhance, lag: int, rate: int) -> dict[str, float]:
    """What becomes of four seconds of white noise at -30 dB: dB in the last second, seconds until then."""
    x = np.random.default_rng(0).normal(0, 10 ** (-30 / 20), 4 * rate).astype(np.float32)
    y, last = on_time(process, lag, x), -round(LAST * rate)
    return {"reduction": level(y[last:]) - level(x[last:]), "settled": settling(y, rate)}


# ------------------------------------------------------------------------------------------ cost

BLOCKS = 128, 480
ROUNDS, TURNS = 5, 3
HOP, HOP_NS = 480, 10_000_000
WORKER = 60
"""Real-time priority."""
STALL_NS = 100_000
"""Nanoseconds by which the watch must oversleep."""
LEFT_OUT = 0.05
"""Part of the hops that may be left out."""
WARM = 50
"""Hops before those that count."""
WAYS, LOADS = ("compiled", "python"), ("none", "gil")


@compiled
def play(words: Any, x: Any, block: int) -> None:
    """Run a plan over a mono signal."""
    for begin in range(0, x.shape[0] - block + 1, block):
        entry, fresh = channel(words[IN], 0, block), x[begin : begin + block]
        for i in range(block):
            entry[i] = fresh[i]
        run_block(words, block)


@compiled
def play_paced(words: Any, x: Any, due: Any, done: Any, period: int) -> None:
    """Run a plan over a mono signal, a hop a period; write down when each was due and done."""
    at = now_ns()
    for number in range(due.shape[0]):
        at += period
        sleep_until_ns(at)
        begin = number * HOP % (x.shape[0] - HOP + 1)
        entry = channel(words[IN], 0, HOP)
        for i in range(HOP):
            entry[i] = x[begin + i]
        run_block(words, HOP)
        due[number], done[number] = at, now_ns()
        at = max(at, done[number] - period)


def call_paced(x: Audio, due: NDArray[np.int64], done: NDArray[np.int64]) -> None:
    """The same by RNNoise, called from Python."""
    from pyrnnoise import rnnoise as native

    state = native.create()
    frames = np.round(x[: len(x) // HOP * HOP] * 32_767).astype(np.int16).reshape(-1, HOP)
    for frame in frames[:WARM]:
        native.process_mono_frame(state, frame)
    at = time.monotonic_ns()
    for number in range(len(due)):
        at += HOP_NS
        wait = at - time.monotonic_ns()
        if wait > 0:
            time.sleep(wait / 1e9)
        native.process_mono_frame(state, frames[number % len(frames)])
        due[number], done[number] = at, time.monotonic_ns()
        at = max(at, int(done[number]) - HOP_NS)
    native.destroy(state)


def measure_hops(chain: str, way: str, beside: str, length: float) -> dict[str, Any]:
    """One turn of a cell, in this process: microseconds of the hops that no stall met, and how many did."""
    x = np.random.default_rng(1).normal(0, 0.1, 2 * FULL).astype(np.float32)
    due, done = np.zeros((2, max(100, round(length * FULL / HOP))), np.int64)
    plan = Plan(read_chain(chain), FULL, HOP, 1)
    play_paced(plan.words, x, due[:WARM], done[:WARM], 0)  # Compiles.
    granted: list[bool] = []

    def work() -> None:
        granted.append(real_time(WORKER))
        if way == "compiled":
            play_paced(plan.words, x, due, done, HOP_NS)
        else:
            call_paced(x, due, done)

    watch = StallWatch(STALL_NS)
    watch.start()
    thread = threading.Thread(target=work)
    with load(beside):
        thread.start()
        thread.join()
    stalled = met(due, done, windows(watch.stop(), 0))
    plan.close()
    return {
        "taken_us": ((done - due) / 1e3)[~stalled].round(1).tolist(),
        "stalled": int(stalled.sum()),
        "real_time": all(granted) and watch.real_time,
    }


def time_hops(options: argparse.Namespace, found: dict[tuple[str, str], list[dict[str, Any]]]) -> None:
    """Let the cells take turns, each in a process of its own."""
    ways = [way for way in WAYS if way == "compiled" or importlib.util.find_spec("pyrnnoise") is not None]
    cells = [(way, beside) for way in ways for beside in LOADS]
    shared = ["--seconds", str(options.seconds / TURNS), "--model", options.model]
    with progress(TURNS * len(cells)) as advance:
        for _ in range(TURNS):
            for cell in cells:
                advance(", ".join(cell))
                command = [sys.executable, __file__, "--cell", *cell, *shared]
                answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                found.setdefault(cell, []).append(json.loads(answer.stdout))


def hop_report(turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of a cell's turns together."""
    taken = np.concatenate([np.array(turn["taken_us"]) for turn in turns])
    stalled = sum(turn["stalled"] for turn in turns)
    if not len(taken):
        return {"hops": 0, "stalled": stalled, "valid": False}
    valid = all(turn["real_time"] for turn in turns) and stalled <= LEFT_OUT * (len(taken) + stalled)
    return {
        "hops": len(taken),
        **{f"p{q}_us": round(float(np.percentile(taken, q)), 1) for q in (50, 99)},
        "max_us": round(float(taken.max()), 1),
        "late": round(100 * float(np.mean(taken > HOP_NS / 1e3)), 2),
        "stalled": stalled,
        "valid": valid,
    }


def real_time_factors(chain: str, peers: Sequence[System], x: Audio, found: dict[str, list[float]]) -> None:
    """CPU seconds for a second of sound, in turns: the engine's kernel in blocks, and peers.

    Of a signal at 16 kHz; those that work at 48 kHz get it at that rate, and do not pay for resampling.
    """
    full = np.asarray(soxr.resample(x, RATE, FULL), np.float32)
    plans = {block: Plan(read_chain(chain), FULL, block, 1) for block in BLOCKS}
    runs: dict[str, Callable[[], object]] = {
        f"{ENGINE}, blocks of {block}": partial(play, plan.words, full, block)
        for block, plan in plans.items()
    }
    for peer in peers:
        at_full = peer.name == "RNNoise"
        runs[peer.name] = partial(rnnoise(FULL), full) if at_full else partial(peer.start(), x)
    length = len(x) / RATE
    for number in range(ROUNDS + 1):
        for name, run in runs.items():
            before = cpu_seconds()
            run()
            if number:
                found.setdefault(name, []).append((cpu_seconds() - before) / length)
    for plan in plans.values():
        plan.close()


# ------------------------------------------------------------------------------------------ latency


def find_latencies(chain: str, speech: Path) -> list[dict[str, Any]]:
    """What plans declare, and by how much speech through them is late."""
    found = []
    for rate, block, lane in ((FULL, 128, 0), (FULL, 480, 0), (44_100, 128, 0), (FULL, 128, 1)):
        plan = Plan(read_chain(chain), rate, block, 1, lane=lane)
        x = read_mono(speech, rate)[: 4 * rate]
        x = np.pad(x, (0, plan.latency + -(len(x) + plan.latency) % block))
        (output,) = plan.outputs
        y = [
            plan.process(np.ascontiguousarray(part[None]))[output][0].copy() for part in x.reshape(-1, block)
        ]
        lag, _ = alignment(x, np.concatenate(y))
        where = "on a worker" if lane else "the engine"
        found.append(
            {"rate": rate, "block": block, "where": where, "declared": plan.latency, "measured": lag}
            | {"ms": 1e3 * plan.latency / rate}
        )
        plan.close()
    return found


# ------------------------------------------------------------------------------------------ command


@dataclass
class Found:
    """What is done so far."""

    tables: list[tuple[str, Sequence[System], Mixed, list[Row]]]
    alone: dict[str, list[float]]
    white: dict[str, dict[str, float]]
    factors: dict[str, list[float]]
    hops: dict[tuple[str, str], list[dict[str, Any]]]
    latencies: list[dict[str, Any]]


def run(options: argparse.Namespace, chain: str, sounds: Sounds, found: Found) -> None:
    """Measure everything; ``found`` has what is done at any time."""
    levels = tuple(dict.fromkeys((*options.snr, CLEAN)))
    noise = tuple(sounds.noise)
    engine = System(ENGINE, "", partial(from_chain, chain), chain, chain_latency(chain))
    peers = find_peers()
    full = [replace(engine, start=partial(from_chain, chain, FULL))]
    full += [replace(peer, start=partial(rnnoise, FULL)) for peer in peers if peer.name == "RNNoise"]
    noisy = System(NOISY, "", unchanged, "")
    count = f"{options.count} pairs of unseen readers in {len(noise)} noises, 16 kHz"
    kinds = [(count, [noisy, engine, *peers], Mixed(tuple(sounds.readers), noise, levels, options.count, 0))]
    if sounds.voice:
        half = -(-options.count // 2)
        voice = Mixed(tuple(sounds.voice), noise, levels, half, 1, FULL)
        kinds.append((f"{half} pairs of an unseen voice at 48 kHz, scored at 16 kHz", [noisy, *full], voice))
    for title, systems, material in kinds:
        say(f"scoring {title}")
        rows: list[Row] = []
        found.tables.append((title, systems, material, rows))
        score_pairs(material, systems, rows)

    say("noise alone")
    rates = {system.name: FULL for system in full}
    heard = full + [peer for peer in peers if peer.name not in rates]
    with compiling():
        started = {system.name: (system.start(), rates.get(system.name, RATE)) for system in heard}
    noise_alone(started, noise, found.alone)
    clip = sounds.readers[0].path
    for system in heard:
        process, rate = started[system.name]
        lag = lag_of(process, read_mono(clip, rate)) if system.peer else 0
        found.white[system.name] = white_noise(process, lag, rate)

    say("latency")
    found.latencies += find_latencies(chain, clip)
    say("cost of a second of sound")
    pair: Pair = kinds[0][2].open()(0)
    x = np.resize(pair.noisy[levels[0]], round(options.seconds * RATE))
    real_time_factors(chain, peers, x, found.factors)
    say("time of a hop")
    time_hops(options, found.hops)


def report(options: argparse.Namespace, found: Found) -> dict[str, Any]:
    """Print tables of what is done; everything in them, for JSON."""
    kept: dict[str, Any] = {"model": options.model, "sealed": options.sealed, "quality": {}}
    verdicts: list[Verdict] = []
    for number, (title, systems, material, rows) in enumerate(found.tables):
        if not any(not row["problem"] for row in rows):
            continue
        values = values_of(rows, systems, material)
        kept["quality"][title] = show_scores(title, values, names_of(systems), material.snrs)
        if not number:
            verdicts += judge(GOALS, values)
    if found.alone:
        verdicts += show_noise(found)
        kept |= {"noise alone, dB": found.alone, "white noise": found.white}
    if found.latencies:
        verdicts += show_latencies(found)
        kept["latency"] = found.latencies
    if found.factors:
        verdicts += show_factors(found.factors)
        kept["CPU seconds a second"] = found.factors
    if found.hops:
        reports = {cell: hop_report(turns) for cell, turns in found.hops.items()}
        verdicts += show_hops(reports)
        kept["hops"] = {", ".join(cell): each for cell, each in reports.items()}
    cells = [
        [each.rank, each.what, each.goal, each.found, each.interval, "met" if each.met else "MISSED", each.by]
        for each in verdicts
    ]
    if verdicts:
        show(["goal", "what", "wanted", "found", "95 %", "verdict", "by"], cells, "Goals", 2)
        first = [each.met for each in verdicts if each.rank == "first"]
        print(f"{sum(first)} of {len(first)} first goals are met.")
    kept["goals"] = [asdict(each) for each in verdicts]
    return kept


def show_scores(
    title: str,
    values: Mapping[tuple[str, str, float], NDArray[np.float64]],
    systems: Sequence[str],
    snrs: Sequence[float],
) -> dict[str, Any]:
    """A table of means and intervals, and the same as numbers: by system, metric and level."""
    kept: dict[str, Any] = {}
    cells = []
    for metric in SHOWN:
        form = f".{PLACES.get(metric, 2)}f"
        for system in systems:
            texts = []
            for snr in snrs:
                x = finite(values[system, metric, snr])
                mean, low, high = (float(np.mean(x)), *bootstrap(x)) if len(x) else (math.nan,) * 3
                numbers = [None if math.isnan(each) else round(float(each), 4) for each in (mean, low, high)]
                kept.setdefault(system, {}).setdefault(metric, {})[level_name(snr)] = numbers
                texts.append(f"{mean:{form}}\n{interval_of(x, form)}" if len(x) else "-")
            cells.append([with_unit(metric), system, *texts])
    show(["", "", *map(level_name, snrs)], cells, title, 2)
    return kept


def show_noise(found: Found) -> list[Verdict]:
    """Print what is left of noise; verdicts on the engine."""
    cells = []
    for name, each in found.alone.items():
        white = found.white.get(name)
        texts = ["-", "-"] if white is None else [f"{white['reduction']:.1f}", f"{white['settled']:.2f}"]
        cells.append(
            [name, f"{np.median(each):.1f}", f"{max(each):+.1f}", f"{sum(x > 0 for x in each)}", *texts]
        )
    files = max(map(len, found.alone.values()))
    heading = ["", "median, dB", "worst, dB", "louder than it came", "white noise, dB", "settled in, s"]
    show(heading, cells, f"Noise alone, {files} recordings, as made by each with its defaults")
    ours = found.alone[ENGINE]
    verdicts = [
        at_most("noise alone, median, dB", NOISE_ALONE, float(np.median(ours)), ".1f"),
        at_most("noise alone, worst, dB", LOUDEST, max(ours), ".1f"),
    ]
    if ENGINE in found.white:
        verdicts.append(at_most("white noise settled in, s", SETTLED, found.white[ENGINE]["settled"], ".2f"))
    return verdicts


def show_latencies(found: Found) -> list[Verdict]:
    """Print latencies; verdicts on the engine at 48 kHz."""
    keys = ("rate", "block", "declared", "measured")
    cells = [
        [f"{ENGINE}, {each['where']}", *(str(each[key]) for key in keys), f"{each['ms']:.1f}"]
        for each in found.latencies
    ]
    _, systems, _, rows = found.tables[0]
    for peer in (system for system in systems if system.peer):
        late = [row["latency"] for row in rows if row["system"] == peer.name and not row["problem"]]
        if late:
            lag = float(np.median(late))
            cells.append([peer.name, f"{RATE}", "-", "-", f"{lag * RATE / 1e3:.0f}", f"{lag:.1f}"])
    show(["", "rate, Hz", "block", "declared", "measured", "ms"], cells, "Latency, samples")
    ours = [each for each in found.latencies if each["rate"] == FULL and each["where"] == "the engine"]
    wrong = sum(each["declared"] != each["measured"] for each in found.latencies)
    return [
        at_most("latency at 48 kHz, ms", LATENCY, max(each["ms"] for each in ours), ".1f"),
        at_most("latencies that are not as declared", 0, wrong, ".0f"),
    ]


def show_factors(factors: Mapping[str, Sequence[float]]) -> list[Verdict]:
    """Print CPU seconds for a second of sound; verdicts on the engine."""
    cells = [
        [name, *(f"{100 * x:.2f}" for x in (float(np.median(each)), min(each), max(each)))]
        for name, each in factors.items()
    ]
    title = (
        "Of one core, %, mono (RNNoise and the engine at 48 kHz, others at 16 kHz; peers called from Python)"
    )
    show(["", "median", "least", "most"], cells, title)
    return [
        at_most(f"of a core, {name}", COST, float(np.median(each)), ".4f")
        for name, each in factors.items()
        if name.startswith(ENGINE)
    ]


def show_hops(reports: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[Verdict]:
    """Print how long hops take; verdicts on those of the engine that are valid."""
    keys = ("hops", "p50_us", "p99_us", "max_us", "late", "stalled")
    names = {"compiled": ENGINE, "python": "pyrnnoise from Python (foil)"}
    cells, verdicts = [], []
    for (way, beside), each in reports.items():
        valid = "yes" if each["valid"] else "no"
        cells.append([names[way], beside, *(str(each.get(key, "-")) for key in keys), valid])
        if way == "compiled" and each["valid"]:
            what = f"p99 of a hop, ms, load {beside}"
            verdicts.append(at_most(what, HOP_NS / 1e6, each["p99_us"] / 1e3, ".2f"))
    heading = ["", "load", "hops", "p50", "p99", "max", "late, %", "left out", "valid"]
    show(heading, cells, "A hop of 10 ms, due to done, microseconds", 2)
    return verdicts


def main() -> int:
    """Measure, print, write; 2 for a wrong option, 130 where it was interrupted."""
    parser = argparse.ArgumentParser(description="The live denoiser beside its peers, and its goals.")
    parser.add_argument("--count", type=whole, default=25, help="pairs of readers (default: 25)")
    parser.add_argument(
        "--snr", nargs="+", type=decibels, default=[0, 5, 10, 15, 20, 25], metavar="DB",
        help="besides clean speech (default: 0 5 10 15 20 25)",
    )  # fmt: skip
    parser.add_argument("--seconds", type=seconds, default=20.0, metavar="S", help="of a cost (default: 20)")
    parser.add_argument(
        "--model", default="live", metavar="NAME.onnx", help="default: live, which is shipped"
    )
    parser.add_argument(
        "--sealed", action="store_true",
        help="the noises by which nothing may be chosen, instead of the others: once, at the end",
    )  # fmt: skip
    parser.add_argument("--clean", nargs="+", type=file_path, metavar="DIR", help="other speech")
    parser.add_argument("--noise", nargs="+", type=file_path, metavar="DIR", help="other noise")
    parser.add_argument("--voice", nargs="+", type=file_path, metavar="DIR", help="another voice at 48 kHz")
    parser.add_argument("--json", type=file_path, metavar="FILE", help="write the figures to this file")
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    found = Found([], {}, {}, {}, {}, [])
    status = 0
    try:
        path = path_of(options.model)
        if kind_of(path) != SPECTRA:
            raise UserError(f"{path} sees chunks: want a network of kind {SPECTRA}, as {ENGINE} runs live")
        quoted = str(options.model).replace("\\", "\\\\").replace('"', '\\"')
        chain = ENGINE if options.model == "live" else f'{ENGINE}(model="{quoted}")'
        if options.cell:
            print(json.dumps(measure_hops(chain, *options.cell, options.seconds)))
            return 0
        if not DATA.is_dir() and None in (options.clean, options.noise):
            say(f"nothing to score: no folder {DATA}; give --clean DIR --noise DIR (--voice DIR at 48 kHz)")
            return 0
        sounds = find_sounds(options, trained_on(path))
        if options.sealed:
            warn(len(sounds.noise))
        run(options, chain, sounds, found)
    except UserError as error:
        say(f"enhancement: {error}")
        return 2
    except KeyboardInterrupt:
        if options.cell:
            return 130
        say("interrupted: what follows is what was done")
        status = 130
    kept = report(options, found)
    if options.json:
        write_json(options.json, kept)
    return status


def warn(count: int) -> None:
    """Say what it means to look at what is sealed."""
    line = "=" * 78
    print(
        f"{line}\nSEALED: {count} noises that no choice may rest on. Score them once, at the end: whoever\n"
        f"changes the network after reading what follows has no unseen noise left.\n{line}"
    )


if __name__ == "__main__":
    sys.exit(main())
