"""How well sound is separated: ``python -m export evaluate separation``.

Scores are those of BSS Eval v3 "images": E. Vincent et al., "The signal separation evaluation campaign
(2007-2010): achievements and remaining challenges", Signal Processing 92, 2012, section 3.1; and SI-SDR:
J. Le Roux, S. Wisdom, H. Erdogan, J. R. Hershey, "SDR - half-baked or well done?", ICASSP 2019. The systems
and the plots are those of the paper that `engines.hpss` follows, section IV.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import math
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, toeplitz
from scipy.signal import istft, stft

from export.output import appear, command_line, markdown_table, progress, show
from rtaudio.errors import FileError, UserError

if TYPE_CHECKING:
    from rtaudio.processor import Value

Audio = NDArray[Any]
"""(channels, samples)."""
Scores = dict[str, float]
Files = Mapping[str, Mapping[str, Path]]
"""A folder's audio files, by song and stem."""
Row = dict[str, Any]
"""A line of ``scores.csv``."""

STEMS = ("harmonic", "percussive")
BSS_EVAL = ("SDR", "ISR", "SIR", "SAR")
SCORES = (*BSS_EVAL, "SI-SDR")
PEASS = ("OPS", "TPS", "IPS", "APS")
SPEED = "x real time"
SYSTEM = ("system", "iteration", "spatial")

# ------------------------------------------------------------------------------------------ scores

TAPS = 512
"""Length of the filters that BSS Eval allows for, in samples."""
SEGMENT = 32_768
"""Samples per FFT of the correlations."""
REGULARISATION = 1e-10
"""Added to the diagonal of the Gram matrix of signals of unit energy, which is singular where two channels
are the same. It limits what a projection resolves to `LIMIT`."""
LIMIT = 100.0
"""dB. Scores end here, and at minus this."""


class Truth:
    """The true stems of a song, factorised once for the scores of any number of estimates.

    BSS Eval splits an estimate into the true stem, what filters of 512 taps on all channels of that stem add
    to it (spatial distortion), what such filters on all stems add to that (interference), and the rest
    (artifacts). The energies of all of these follow from correlations: with the Gram matrix G of the
    delayed stems and an estimate's correlations d with them, its projection has the energy d' G^-1 d.

    Parameters
    ----------
    stems
        By name, (channels, samples) each, of equal shape, none silent.
    """

    def __init__(self, stems: Mapping[str, Audio]) -> None:
        self.stems = {stem: np.asarray(x, np.float64) for stem, x in stems.items()}
        x = np.concatenate(list(self.stems.values()))
        # Filters take any gain, so every channel may have unit energy here, which conditions the matrix.
        level = np.sqrt(np.sum(x**2, axis=1, keepdims=True))
        x = x / np.where(level > 0, level, 1.0)
        segments = np.array(_windows(x, 0))
        segments[..., _HOP:] = 0.0
        self._spectra = scipy.fft.rfft(segments).conj()
        lags = self._correlate(x)
        # <a delayed by p, b delayed by q> is their correlation at the lag p - q.
        gram = np.block([[toeplitz(lag[TAPS - 1 :], lag[TAPS - 1 :: -1]) for lag in row] for row in lags])
        gram[np.diag_indices_from(gram)] += REGULARISATION
        each = TAPS * len(x) // len(self.stems)
        self._own = {stem: slice(j * each, (j + 1) * each) for j, stem in enumerate(self.stems)}
        self._own_factor = {stem: cho_factor(gram[own, own]) for stem, own in self._own.items()}
        self._factor = cho_factor(gram)

    def _correlate(self, y: Audio) -> Audio:
        """Sums over t of ``x[a, t] y[b, t + lag]``: (channels of x, of y, lags above -512 and below 512)."""
        spectra = scipy.fft.rfft(_windows(y, TAPS - 1))
        summed = np.einsum("asf,bsf->abf", self._spectra, spectra)
        return scipy.fft.irfft(summed, SEGMENT)[..., : 2 * TAPS - 1]  # type: ignore[no-any-return]

    def scores(self, stem: str, estimate: Audio) -> Scores:
        """Score an estimate.

        Parameters
        ----------
        stem
            What it is an estimate of.
        estimate
            (channels, samples), as the stems; not silent.

        Returns
        -------
        `SCORES` in dB, from -100 to 100, each over all channels and the whole length. SDR is the true stem to
        all errors, which is what is called signal-to-noise ratio elsewhere: 10 log10 |s|^2 / |s - e|^2. ISR,
        SIR and SAR single out spatial distortion, interference and artifacts. SI-SDR is SDR at the
        best gain.
        """
        true, own = self.stems[stem], self._own[stem]
        e = np.asarray(estimate, np.float64)
        d = self._correlate(e)[..., TAPS - 1 :].transpose(0, 2, 1).reshape(-1, len(e))
        filtered = float(np.vdot(d[own], cho_solve(self._own_factor[stem], d[own])))
        explained = float(np.vdot(d, cho_solve(self._factor, d)))
        s, se, ee = (float(np.vdot(a, b)) for a, b in ((true, true), (true, e), (e, e)))
        return {
            "SDR": decibels(s, float(np.sum((true - e) ** 2))),
            # s is in the span of its delays, so the projection of e has the same product with it as e.
            "ISR": decibels(s, filtered - 2 * se + s),
            "SIR": decibels(filtered, explained - filtered),
            "SAR": decibels(explained, ee - explained),
            "SI-SDR": decibels(se**2, s * ee - se**2),
        }


_HOP = SEGMENT - 2 * (TAPS - 1)


def _windows(x: Audio, before: int) -> Audio:
    """Windows, every `_HOP` samples, the first one ``before`` early: (channels, count, SEGMENT)."""
    count = -(-x.shape[1] // _HOP)
    padded = np.zeros((len(x), count * _HOP + SEGMENT))
    padded[:, before : before + x.shape[1]] = x
    return sliding_window_view(padded, SEGMENT, axis=1)[:, : count * _HOP : _HOP]


def decibels(energy: float, error: float) -> float:
    """``10 log10(energy / error)``, from -`LIMIT` to `LIMIT`."""
    if energy <= 0.0:
        return -LIMIT
    if error <= 0.0:
        return LIMIT
    return min(max(10.0 * math.log10(energy / error), -LIMIT), LIMIT)


def peass_scores(true: Mapping[str, Audio], stem: str, estimate: Audio, rate: int) -> Scores:
    """Perceptual scores from 0 to 100, by the package ``python-peass`` where it is installed.

    V. Emiya, E. Vincent, N. Harlander, V. Hohmann, "Subjective and objective quality assessment of audio
    source separation", IEEE Transactions on Audio, Speech and Language Processing 19 (7), 2011.
    """
    import peass  # type: ignore[import-not-found, unused-ignore]

    order = [stem, *(other for other in true if other != stem)]
    sources = [np.ascontiguousarray(true[name].T, np.float64) for name in order]
    found = peass.predict_perceptual_evaluation_scores(
        sources, np.ascontiguousarray(estimate.T, np.float64), sampling_frequency_hz=float(rate)
    )
    return {
        "OPS": float(found.overall_perceptual_score),
        "TPS": float(found.target_perceptual_score),
        "IPS": float(found.interference_perceptual_score),
        "APS": float(found.artifact_perceptual_score),
    }


# ------------------------------------------------------------------------------------------ songs

ENDINGS = {"pitched": "harmonic", "harmonic": "harmonic", "drums": "percussive", "percussive": "percussive"}
"""What stands before a file's extension, and the stem that it says."""
SHORTEST = 4096
"""Samples that a song must have: a frame of the spectra that the systems see."""


@dataclass(frozen=True)
class Song:
    """A song's true stems, (channels, samples) float32 each, at a rate in Hz, and their sum."""

    name: str
    rate: int
    stems: dict[str, Audio]

    @property
    def mix(self) -> Audio:
        """The sum of the stems."""
        return sum(self.stems.values())  # type: ignore[return-value]


def find_songs(folder: Path) -> dict[str, dict[str, Path]]:
    """Files of a folder by song and stem: NAME.harmonic.* (or .pitched) and NAME.percussive.* (or .drums).

    Raises
    ------
    FileError
        There are none, or a song has one stem only, or a stem has two files.
    """
    from rtaudio.files import EXTENSIONS

    if not folder.is_dir():
        raise FileError(f"{folder} is not a folder")
    songs: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        name, _, ending = path.stem.rpartition(".")
        if path.suffix.lower() in EXTENSIONS and ending in ENDINGS and name.lstrip("."):
            stems = songs.setdefault(name, {})
            other = stems.setdefault(ENDINGS[ending], path)
            if other != path:
                raise FileError(f"{other} and {path} are both the {ENDINGS[ending]} part: remove one")
    if not songs:
        raise FileError(
            f"no songs in {folder}: want NAME.harmonic.wav (or .pitched) and NAME.percussive.wav (or .drums)"
        )
    for name, stems in songs.items():
        for stem in STEMS:
            if stem not in stems:
                raise FileError(f"{folder} has no {stem} stem of {name}: add {name}.{stem}.wav")
    return songs


def check_songs(truth: Files, estimates: Files) -> None:
    """Refuse estimates that are missing, or of another rate, width or length than the true stems."""
    for name, stems in truth.items():
        if name not in estimates:
            folder = next(iter(estimates.values()))[STEMS[0]].parent
            raise FileError(f"{folder} has no {name}: add {name}.harmonic.wav and {name}.percussive.wav")
        first = stems[STEMS[0]]
        want = _shape(first)
        for path in (stems[STEMS[1]], *estimates[name].values()):
            if (got := _shape(path)) != want:
                raise FileError(f"{path} has {got}, but {first} has {want}: they must be alike")


def _shape(path: Path) -> str:
    from rtaudio.files import AudioReader

    with AudioReader(path) as reader:
        return f"{reader.rate} Hz, {reader.channels} channels, {reader.samples} samples"


def read(path: Path, seconds: float | None) -> tuple[int, Audio]:
    """Rate and samples of a file, or of its beginning; `FileError` if it is short, silent or not finite."""
    from rtaudio.files import AudioReader

    with AudioReader(path) as reader:
        length = reader.samples if seconds is None else min(reader.samples, round(seconds * reader.rate))
        x = reader.read(length)
    if x.shape[1] < SHORTEST:
        raise FileError(f"{path}: {x.shape[1]} samples are too few to score, want {SHORTEST} or more")
    if not np.all(np.isfinite(x)):
        raise FileError(f"{path} has samples that are not finite: nothing can be compared with it")
    if not np.any(x):
        raise FileError(f"{path} is silent, for which no score is defined: leave the song out")
    return reader.rate, x


def read_song(name: str, stems: Mapping[str, Path], seconds: float | None) -> Song:
    """A song from its files, or its beginning."""
    found = {stem: read(stems[stem], seconds) for stem in STEMS}
    return Song(name, found[STEMS[0]][0], {stem: x for stem, (_, x) in found.items()})


# ------------------------------------------------------------------------------------------ systems


@dataclass(frozen=True)
class System:
    """Something that separates: a name, and a function from a song to its estimated stems."""

    name: str
    separate: Callable[[Song], Mapping[str, Audio]]
    iteration: int | None = None
    spatial: str | None = None
    timed: bool = True
    """Whether its time says something: it does not for what has only been read, or knows the truth."""


def with_engine(song: Song, values: dict[str, Value]) -> dict[str, Audio]:
    """Separate with `engines.hpss.Hpss`, as ``rtaudio separate`` does."""
    from engines.hpss import Hpss
    from rtaudio.graph import Graph, Node
    from rtaudio.plan import Plan
    from rtaudio.render import BLOCK

    mix = song.mix
    channels, samples = mix.shape
    edges = ["in -> hpss", *(f"hpss.{stem} -> out.{stem}" for stem in STEMS)]
    plan = Plan(Graph([Node("hpss", Hpss, values)], edges), song.rate, BLOCK, channels, offline=True)
    blocks = -(-(samples + plan.latency) // BLOCK)
    x = np.zeros((channels, blocks * BLOCK), np.float32)
    x[:, :samples] = mix
    out = {stem: np.empty_like(x) for stem in STEMS}
    for begin in range(0, x.shape[1], BLOCK):
        block = slice(begin, begin + BLOCK)
        parts = plan.process(np.ascontiguousarray(x[:, block]))
        for stem in STEMS:
            out[stem][:, block] = parts[stem]
    heard = slice(plan.latency, plan.latency + samples)
    failed = plan.failed()
    plan.close()
    if failed:
        raise UserError(f"hpss failed on {song.name} and was bypassed: there is nothing to score")
    return {stem: y[:, heard] for stem, y in out.items()}


def with_librosa(song: Song, n_fft: int, hop: int, kernel: int) -> dict[str, Audio]:
    """Separate with `librosa.decompose.hpss`."""
    import librosa

    mix = song.mix
    spectrum = librosa.stft(mix, n_fft=n_fft, hop_length=hop)
    parts = librosa.decompose.hpss(spectrum, kernel_size=kernel)
    return {
        stem: librosa.istft(part, hop_length=hop, length=mix.shape[1])
        for stem, part in zip(STEMS, parts, strict=True)
    }


def as_mixed(song: Song) -> dict[str, Audio]:
    """The mix for either stem."""
    return dict.fromkeys(STEMS, song.mix)


def with_truth(song: Song) -> dict[str, Audio]:
    """The Wiener mask of the true stems, per channel, 4096/1024: what a soft mask can reach at best."""
    how = {"nperseg": 4096, "noverlap": 3072}
    spectra = {stem: stft(np.asarray(x, np.float64), **how)[2] for stem, x in song.stems.items()}
    total = sum(spectra.values())
    energy = sum(np.abs(spectrum) ** 2 for spectrum in spectra.values()) + np.finfo(np.float64).tiny
    masks = {stem: np.abs(spectrum) ** 2 / energy for stem, spectrum in spectra.items()}
    samples = song.mix.shape[1]
    return {stem: istft(mask * total, **how)[1][:, :samples] for stem, mask in masks.items()}


def from_files(song: Song, songs: Files, seconds: float | None) -> dict[str, Audio]:
    """What somebody has written."""
    return read_song(song.name, songs[song.name], seconds).stems


def built_in(iterations: int, preset: str) -> list[System]:
    """The systems of every evaluation: the engine as in the paper's figures, its presets, librosa, bounds.

    Each has separated silence once, so that nothing is compiled while it is timed.

    Raises
    ------
    UserError
        The engine does not take the settings.
    """
    from engines.hpss import PRESETS, Hpss

    systems = []
    for spatial in next(parameter.choices for parameter in Hpss.parameters if parameter.id == "spatial"):
        for n in range(1, iterations + 1):
            values: dict[str, Value] = {"harmonic_iterations": n, "percussive_iterations": n}
            values |= {"preset": preset, "spatial": spatial}
            systems.append(System(f"rtaudio {preset}", partial(with_engine, values=values), n, spatial))
    others: dict[str, dict[str, Value]] = {other: {"preset": other} for other in PRESETS if other != preset}
    for estimate in ("medians", "scales"):
        others[f"live, {estimate}"] = {"preset": "live", "estimate": estimate}
    systems += [
        System(f"rtaudio {name}", partial(with_engine, values=values)) for name, values in others.items()
    ]
    if importlib.util.find_spec("librosa") is not None:
        paper, default = (4096, 1024, 17), (2048, 512, 31)
        for name, (n_fft, hop, kernel) in (("the paper's", paper), ("defaults", default)):
            separate = partial(with_librosa, n_fft=n_fft, hop=hop, kernel=kernel)
            systems.append(System(f"librosa, {name}", separate))
    systems.append(System("mix", as_mixed, timed=False))
    systems.append(System("ideal Wiener mask", with_truth, timed=False))
    silence = Song("silence", 44_100, dict.fromkeys(STEMS, np.zeros((2, 8192), np.float32)))
    for system in systems:
        system.separate(silence)
    return systems


# ------------------------------------------------------------------------------------------ evaluation


def evaluate(song: Song, system: System, truth: Truth, peass: bool = False) -> list[Row]:
    """Separate a song and score its stems: a row each."""
    started = time.process_time()
    estimates = system.separate(song)
    taken = (time.process_time() - started) * song.rate / song.mix.shape[1]
    rows: list[Row] = []
    for stem in STEMS:
        estimate = estimates[stem]
        row: Row = {"song": song.name, "stem": stem, "system": system.name}
        row |= {"iteration": system.iteration, "spatial": system.spatial}
        row |= truth.scores(stem, estimate)
        if peass:
            row |= peass_scores(song.stems, stem, estimate, song.rate)
        rows.append(row | {SPEED: taken if system.timed else None})
    return rows


def means(rows: Sequence[Row], stems: Sequence[str] = STEMS) -> list[Row]:
    """Means of all scores over songs and ``stems``, one row per system; the median of the time."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["stem"] in stems:
            groups.setdefault(tuple(row[key] for key in SYSTEM), []).append(row)
    found = []
    for key, group in groups.items():
        mean: Row = dict(zip(SYSTEM, key, strict=True))
        for score in (*SCORES, *PEASS):
            if score in group[0]:
                mean[score] = float(np.mean([row[score] for row in group]))
        timed = group[0][SPEED] is not None
        found.append(mean | {SPEED: float(np.median([row[SPEED] for row in group])) if timed else None})
    return found


# ------------------------------------------------------------------------------------------ report

PAPER_SPEED = {2: "about 0.33", 10: "1.7"}
"""Seconds that the paper's program (section IV) takes for a second of sound, by iterations."""

COLOURS, MARKERS = ("black", "tab:red", "tab:blue", "tab:green"), "osD^"
"""Of the spatial models: black is R = I and red with R, as in the paper."""

NOTES = """Means over {count} songs. Scores in dB: BSS Eval v3 "images" with filters of {taps} taps; SDR is
the plain signal-to-noise ratio too. {speed}: CPU seconds for a second of sound, median. Where an iteration is
given, both sources have as many; spatial is the model of R, none is R = I. mix: the mix as the estimate
of either source. ideal Wiener mask: made from the true sources."""


def _titled(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    return [("Both sources", means(rows)), *((stem.capitalize(), means(rows, [stem])) for stem in STEMS)]


def _texts(row: Row) -> list[str]:
    """The cells of a row of means."""
    forms = {key: "" if key in SYSTEM else ".4f" if key == SPEED else ".2f" for key in row}
    return ["" if value is None else format(value, forms[key]) for key, value in row.items()]


def markdown(rows: Sequence[Row], command: str) -> str:
    """The same tables in Markdown, under the command that made them, and the paper's run time beside ours."""
    count = len({row["song"] for row in rows})
    lines = [
        f"    {command}",
        "",
        *textwrap.wrap(NOTES.format(count=count, taps=TAPS, speed=SPEED), 110, break_on_hyphens=False),
        "",
    ]
    for title, group in _titled(rows):
        table = markdown_table(list(group[0]), list(map(_texts, group)), left=len(SYSTEM))
        lines += [f"### {title}", "", *table, ""]
    speeds = {(row["iteration"], row["spatial"]): row[SPEED] for row in means(rows) if row["iteration"]}
    if speeds:
        iterations, models = (dict.fromkeys(key[place] for key in speeds) for place in (0, 1))
        heading = ["iterations", *(f"spatial {model}" for model in models), "the paper, on a laptop of 2014"]
        cells = [
            [str(n), *(f"{speeds[n, model]:.4f}" for model in models), PAPER_SPEED.get(n, "")]
            for n in iterations
        ]
        lines += [f"### {SPEED}", "", *markdown_table(heading, cells, left=0), ""]
    return "\n".join(lines)


def plot(rows: Sequence[Row], scores: Sequence[str], path: Path) -> None:
    """Draw means against the iteration, one line per spatial model, as the paper's Figures 2 to 5.

    Parameters
    ----------
    rows
        Of all systems; those without an iteration are left out.
    scores
        What to draw, one row of axes each.
    path
        The PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 2.4 * len(scores) + 0.4), layout="constrained")
    axes = figure.subplots(len(scores), 2, sharex=True, squeeze=False)
    for column, stem in enumerate(reversed(STEMS)):
        group = [row for row in means(rows, [stem]) if row["iteration"]]
        axes[0, column].set_title(f"{stem} source")
        axes[-1, column].set_xlabel("iterations")
        for ax, score in zip(axes[:, column], scores, strict=True):
            for number, model in enumerate(dict.fromkeys(row["spatial"] for row in group)):
                points = [(row["iteration"], row[score]) for row in group if row["spatial"] == model]
                colour, marker = COLOURS[number], MARKERS[number]
                ax.plot(*zip(*points, strict=True), color=colour, marker=marker, label=f"spatial={model}")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.grid(alpha=0.3)
    for ax, score in zip(axes[:, 0], scores, strict=True):
        ax.set_ylabel(score if score in PEASS else f"{score}, dB")
    axes[0, 0].legend()
    FigureCanvasAgg(figure).print_png(path)  # type: ignore[no-untyped-call, unused-ignore]


# ------------------------------------------------------------------------------------------ command


def command(commands: Any) -> None:
    """Add ``separation`` to ``evaluate``."""
    from rtaudio.cli import file_path, seconds, whole

    parser = commands.add_parser(
        "separation",
        help="score harmonic/percussive separation",
        description="Score this project's separator per iteration, librosa, the mix and the ideal mask, and "
        "folders of estimates, against true stems. Prints tables of means; -o keeps every score.",
    )
    parser.add_argument(
        "folders",
        nargs="*",
        type=file_path,
        metavar="DIR",
        help="estimates to score, NAME.harmonic.* and NAME.percussive.*, as 'rtaudio separate' writes them",
    )
    parser.add_argument(
        "--stems",
        required=True,
        type=file_path,
        metavar="DIR",
        help="the truth: NAME.harmonic.* or .pitched, and NAME.percussive.* or .drums; their sum is the mix",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=file_path,
        metavar="OUT",
        help="a folder for scores.csv, table.md and iterations.png",
    )
    parser.add_argument(
        "--iterations", type=whole, default=10, metavar="N", help="score 1 to N of them (default: 10)"
    )
    parser.add_argument(
        "--preset", default="quality", metavar="P", help="to iterate: live, balanced or quality (default)"
    )
    parser.add_argument("--seconds", type=seconds, metavar="S", help="score the beginning of each song only")
    parser.add_argument("--no-systems", action="store_true", help="score the folders only")
    parser.add_argument(
        "--peass",
        action="store_true",
        help="OPS, TPS, IPS and APS too, by python-peass (GPL, not installed with this); a minute for 5 s",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Score every system on every song."""
    from rtaudio.cli import say

    truth = find_songs(options.stems)
    check_songs(truth, truth)
    systems = _systems(options, truth)
    draw = options.output is not None and any(system.iteration for system in systems)
    if draw and importlib.util.find_spec("matplotlib") is None:
        say("no plots: matplotlib is not installed (pip install matplotlib)")
        draw = False
    perceptual = PEASS if options.peass else ()
    rows: list[Row] = []
    with kept(options.output, perceptual) as keep, progress(len(truth) * len(systems)) as advance:
        for name, stems in truth.items():
            song = read_song(name, stems, options.seconds)
            factorised = Truth(song.stems)
            for system in systems:
                advance(f"{name}: {system.name}")
                found = evaluate(song, system, factorised, options.peass)
                keep(found)
                rows += found
    for title, group in _titled(rows):
        show(list(group[0]), list(map(_texts, group)), title, left=len(SYSTEM))
    if options.output is not None:
        text = markdown(rows, command_line())
        appear(options.output / "table.md", lambda path: path.write_text(text, "utf-8"))
    if draw:
        appear(options.output / "iterations.png", lambda path: plot(rows, BSS_EVAL, path))
    if draw and options.peass:
        appear(options.output / "peass.png", lambda path: plot(rows, PEASS, path))
    return 0


def _systems(options: argparse.Namespace, truth: Files) -> list[System]:
    """What the options ask for."""
    from rtaudio.cli import compiling, say

    systems = []
    if options.no_systems and not options.folders:
        raise UserError("--no-systems leaves nothing to score: name folders of estimates")
    if options.peass and importlib.util.find_spec("peass") is None:
        raise UserError("--peass needs python-peass, which is not installed: pip install python-peass (GPL)")
    for folder in options.folders:
        estimates = find_songs(folder)
        check_songs(truth, estimates)
        separate = partial(from_files, songs=estimates, seconds=options.seconds)
        systems.append(System(folder.resolve().name, separate, timed=False))
    if not options.no_systems:
        if importlib.util.find_spec("librosa") is None:
            say("librosa is left out: it is not installed (pip install librosa)")
        with compiling():
            systems = [*built_in(options.iterations, options.preset), *systems]
    names = [system.name for system in systems if system.iteration in (None, 1)]
    for system in systems:
        if system.iteration is None and names.count(system.name) > 1:
            raise UserError(f"two rows would be called {system.name}: rename the folder")
    return systems


@contextmanager
def kept(folder: Path | None, perceptual: Sequence[str]) -> Iterator[Callable[[Iterable[Row]], None]]:
    """A function that takes rows for ``scores.csv``, which appears when all are there.

    Until then they are in ``scores.csv.part``; it stays when something, Ctrl-C say, comes in between.
    """
    if folder is None:
        yield lambda rows: None
        return
    from rtaudio.cli import say
    from rtaudio.render import make_folder

    make_folder(folder)
    path = folder / "scores.csv"
    part = path.with_name(f"{path.name}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("song", "stem", *SYSTEM, *SCORES, *perceptual, SPEED))
        writer.writeheader()

        def keep(rows: Iterable[Row]) -> None:
            for row in rows:
                writer.writerow({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
            file.flush()

        try:
            yield keep
        except BaseException:
            say(f"not complete: what was scored is in {part}")
            raise
    part.replace(path)
