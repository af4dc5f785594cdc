"""How far the sound of one folder is from that of another: ``python -m export evaluate distances``.

Frechet and kernel distances between the features that a network gives for clips of both: M. Binkowski et al.,
"High fidelity speech synthesis with adversarial networks" (GAN-TTS), ICLR 2020, appendix B, with any feature
network in place of DeepSpeech2. Two of the paper's formulas are not used as they are printed:

- Equation (6) adds the sum of k over pairs of both sets. Its factor has to be -2/(m n), as in A. Gretton et
  al., "A kernel two-sample test", JMLR 13, 2012, equation (3).
- Equation (5) is the square of what (9) and (11) call Frechet. The square is reported, as by the paper's
  authors and as everywhere else (FID).

And means over time, equation (4), do not see everything: with them alone, speech without anything above 1 kHz
may come out nearer than speech without anything above 3 kHz. So standard deviations over time are kept too.
Neither sees the order of the frames: speech that is played backwards stays where it was.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
import textwrap
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.sessions import open_session
from export.output import appear, command_line, markdown_table, progress, show
from rtaudio.errors import FileError, UserError

Features = NDArray[np.float64]
"""(clips, features)."""
Weights = NDArray[np.float64]
"""(clips,), or (resamples, clips): how often each clip counts."""
Row = dict[str, Any]
"""A distance, with all that it depends on."""

# ------------------------------------------------------------------------------------------ distances


def frechet_distance(
    x: Features, y: Features, x_weights: Weights | None = None, y_weights: Weights | None = None
) -> float:
    """Squared Frechet distance between Gaussians with the means and covariances of two samples.

    ``|mx - my|^2 + Tr(Sx + Sy - 2 (Sx Sy)^(1/2))``, equation (5), in float64. With factors
    ``Sx = A' A``, ``Sy = B' B``, the trace of the root is the sum of the singular values of A B'. They are
    the roots of the eigenvalues of ``Sx^(1/2) Sy Sx^(1/2)``, but none can come out negative, and none loses
    half of its digits where there are fewer clips than features.

    It is biased: above 0 between samples of one distribution, by an amount that falls as 1 / clips. Compare
    it only with others of as many clips.

    Parameters
    ----------
    x, y
        Features of two clips or more each.
    x_weights, y_weights
        How often each clip counts, (clips,); once by default.
    """
    (x_mean, a), (y_mean, b) = _gaussian(x, x_weights), _gaussian(y, y_weights)
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(np.sum((x_mean - y_mean) ** 2) + np.sum(a**2) + np.sum(b**2) - 2 * root)


def _gaussian(x: Features, weights: Weights | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of a sample, and a triangular A with A' A the unbiased covariance."""
    x = np.asarray(x, np.float64)
    weights = np.ones(len(x)) if weights is None else weights
    n = weights.sum()
    mean = weights @ x / n
    factor: Any = np.linalg.qr(np.sqrt(weights / (n - 1))[:, None] * (x - mean), mode="r")
    return mean, factor


def kernel_distance(
    x: Features,
    y: Features,
    x_files: NDArray[np.intp] | None = None,
    y_files: NDArray[np.intp] | None = None,
    x_weights: Weights | None = None,
    y_weights: Weights | None = None,
) -> NDArray[np.float64]:
    """Squared maximum mean discrepancy with the kernel ``k(a, b) = (a.b / features + 1)^3`` of equation (7).

    Equation (6) with its last term put right: the mean of k over pairs of x, plus that over pairs of y, minus
    twice that over pairs of one of each. Unbiased, hence negative as often as not where there is no
    difference; it has no root and is not to be clipped. In float64.

    Clips of one file are no independent draws, so pairs of them are left out of all three means. With one
    clip per file these are the pairs of a clip with itself. Where x and y have files in common, which is the
    conditional distance of equation (10), they are matched pairs too: that is the estimate of Gretton et al.
    2012, equation (4), which stays unbiased where x_i depends on y_i.

    Parameters
    ----------
    x, y
        Features of two clips or more each, of two files or more.
    x_files, y_files
        The number of each clip's file, (clips,). By default every clip has its own.
    x_weights, y_weights
        How often each clip counts, (resamples, clips); once by default.

    Returns
    -------
    (resamples,), or (1,) where there are no weights.
    """
    x_files = np.arange(len(x)) if x_files is None else x_files
    y_files = len(x) + np.arange(len(y)) if y_files is None else y_files
    first = np.asarray(x, np.float64), x_files, np.ones((1, len(x))) if x_weights is None else x_weights
    second = np.asarray(y, np.float64), y_files, np.ones((1, len(y))) if y_weights is None else y_weights
    return _mean_kernel(*first, *first) + _mean_kernel(*second, *second) - 2 * _mean_kernel(*first, *second)


ROWS = 1024
"""Of the matrix of kernels that are in memory at once."""


def _mean_kernel(
    x: Features, x_files: Any, x_weights: Weights, y: Features, y_files: Any, y_weights: Weights
) -> NDArray[np.float64]:
    """Mean of k over all pairs of clips of different files: (resamples,)."""
    total, pairs = np.zeros((2, len(x_weights)))
    for begin in range(0, len(x), ROWS):
        rows = slice(begin, begin + ROWS)
        apart = x_files[rows, None] != y_files
        kernel = np.where(apart, (x[rows] @ y.T / x.shape[1] + 1) ** 3, 0.0)
        total += np.sum(x_weights[:, rows] @ kernel * y_weights, axis=1)
        pairs += np.sum(x_weights[:, rows] @ apart.astype(np.float64) * y_weights, axis=1)
    return total / pairs


@dataclass(frozen=True)
class Sample:
    """Features of clips, (clips, features), and the number of each one's file, (clips,)."""

    features: Features
    files: NDArray[np.intp]


@dataclass(frozen=True)
class Estimate:
    """A distance and its interval at a confidence of 95 %."""

    value: float
    low: float
    high: float


def estimates(
    x: Sample, y: Sample, resamples: int, seed: int, advance: Callable[[str], None]
) -> dict[str, Estimate]:
    """Both distances with bootstrap intervals, over files drawn with replacement.

    Where x and y have the same files, clip by clip, matched pairs are drawn together. The interval is that of
    the percentiles, moved so that the resampled mean is at the estimate: drawing files again adds the bias of
    the Frechet distance once more. It is about the mean of such estimates at this number of clips. Where
    there is no difference it is too wide, by half or more, as the first-order terms, which vanish from the
    true spread, are not 0 in any sample. With few clips, far apart, that of the kernel distance holds 92 %.

    Parameters
    ----------
    x, y
        The reference and the other.
    resamples
        How many distances the intervals come from.
    seed
        Of the draws.
    advance
        Called once before every resample, and twice more, with what comes next.
    """
    random = np.random.default_rng([seed, 3])
    x_weights = _draws(x.files, resamples, random)
    matched = np.array_equal(x.files, y.files)
    y_weights = x_weights if matched else _draws(y.files, resamples, random)
    resampled = np.empty(resamples)
    for number in range(resamples):
        advance("Frechet distance, resampled")
        resampled[number] = frechet_distance(x.features, y.features, x_weights[number], y_weights[number])
    frechet = _interval(frechet_distance(x.features, y.features), resampled)
    advance("kernel distance")
    kernel = float(kernel_distance(x.features, y.features, x.files, y.files)[0])
    advance("kernel distance, resampled")
    resampled = kernel_distance(x.features, y.features, x.files, y.files, x_weights, y_weights)
    return {"Frechet, squared": frechet, "kernel": _interval(kernel, resampled)}


def _draws(files: NDArray[np.intp], resamples: int, random: np.random.Generator) -> Weights:
    """How often each clip counts when as many files as there are are drawn with replacement."""
    names, place = np.unique(files, return_inverse=True)
    counts = random.multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
    return counts[:, place].astype(np.float64)


def _interval(value: float, resampled: NDArray[np.float64]) -> Estimate:
    low, high = np.quantile(resampled - resampled.mean(), [0.025, 0.975])
    return Estimate(value, value + float(low), value + float(high))


def standardised(reference: Features, *others: Features) -> list[Features]:
    """The reference and others, in float64, by the mean and the standard deviation of the reference.

    The reference's own clips are in its mean, so the kernel distance is not quite unbiased after this; what
    that adds falls as 1 / clips^2, and is lost in the noise from 100 clips on. A feature that does not move
    in the reference, but for the rounding of float32, keeps its unit.
    """
    reference = np.asarray(reference, np.float64)
    mean, spread = reference.mean(axis=0), reference.std(axis=0, ddof=1)
    spread = np.where(spread > 1e-6 * np.abs(mean), spread, 1.0)
    return [(np.asarray(x, np.float64) - mean) / spread for x in (reference, *others)]


# ------------------------------------------------------------------------------------------ network

KIND = "features"
POOLINGS = ("mean", "mean+std")
"""Over frames: the mean alone, for posteriors; the mean and the standard deviation."""
BATCH = 16
"""Clips that a network sees at once."""


class Network:
    """A feature network: ``NAME.onnx`` and, where there is one, its card ``NAME.json``.

    It takes one input, (batch, samples) float32 of full scale 1, and its first output is (batch, features) or
    (batch, frames, features). The card, a JSON table, has ``"kind": "features"``, ``"sha256"`` of the ONNX
    file, ``"rate"`` in Hz, and may have ``"clip"``, samples that the input must have (null: any number of
    them), and ``"pooling"``, one of `POOLINGS`. It runs on one core, so that its numbers do not depend on how
    many there are.

    Parameters
    ----------
    path
        The ONNX file.
    rate
        In Hz, for a network without a card.
    pooling
        One of `POOLINGS`, instead of the card's, or of ``mean+std``, where the output has frames.

    Attributes
    ----------
    sha256 : str
        Of the ONNX file.
    rate : int
        In Hz.
    clip : int or None
        Samples that a clip must have; None: any number.
    pooling : str
        One of `POOLINGS`, or ``none`` where the output has no frames.

    Raises
    ------
    FileError
        A file cannot be read, is not what its name says, or the two do not belong together.
    UserError
        The rate is not known, or is not that of the card; or there is nothing to pool.
    """

    def __init__(self, path: Path, rate: int | None = None, pooling: str | None = None) -> None:
        self.path = path
        try:
            content = path.read_bytes()
        except OSError as error:
            raise FileError(f"{path}: cannot be read ({error.strerror}): give an ONNX file") from error
        self.sha256 = hashlib.sha256(content).hexdigest()
        card = _read_card(path, self.sha256, rate)
        self._session = open_session(path, content)
        inputs, output = self._session.get_inputs(), self._session.get_outputs()[0]
        dims = inputs[0].shape if len(inputs) == 1 and inputs[0].type == "tensor(float)" else []
        if len(dims) != 2 or _fixed(dims[0]) > 1:
            found = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs) or "nothing"
            raise FileError(f"{path}: takes {found}, want one input of float32, ['batch', 'samples']")
        if len(output.shape) not in (2, 3) or output.type != "tensor(float)":
            raise FileError(
                f"{path}: gives {output.type} {output.shape}, want float32, ['batch', 'features'] or "
                "['batch', 'frames', 'features']"
            )
        if len(output.shape) == 2 and pooling is not None:
            raise UserError(f"{path} gives no frames, {output.shape}: leave --pooling out")
        self._batch = _fixed(dims[0]) or BATCH
        self.clip: int | None = _fixed(dims[1]) or card["clip"]
        if card["clip"] not in (None, self.clip):
            raise FileError(
                f"{path}: takes {self.clip} samples, its card says {card['clip']}: give its own card"
            )
        self.rate: int = card["rate"]
        self.pooling: str = "none" if len(output.shape) == 2 else pooling or card["pooling"]

    def features(self, clips: NDArray[np.float32]) -> Features:
        """Features, pooled over frames, of (clips, samples): (clips, features), finite or not.

        Raises
        ------
        UserError
            The network does not take clips of this length.
        """
        name = self._session.get_inputs()[0].name
        outputs = []
        for begin in range(0, len(clips), self._batch):
            batch = clips[begin : begin + self._batch]
            try:
                out = np.asarray(self._session.run(None, {name: batch})[0], np.float64)
            except Exception as error:  # onnxruntime's have no other base
                raise UserError(
                    f"{self.path} fails on clips of {clips.shape[1]} samples ({error}): give other --seconds"
                ) from error
            if len(out) != len(batch) or not out.size:
                raise FileError(
                    f"{self.path}: gives {out.shape} for {len(batch)} clips: want features of each"
                )
            if self.pooling != "none":
                spread = [out.std(axis=1)] if self.pooling == "mean+std" else []
                out = np.concatenate([out.mean(axis=1), *spread], axis=1)
            outputs.append(out)
        return np.concatenate(outputs)


def _read_card(network: Path, sha256: str, rate: int | None) -> dict[str, Any]:
    """A network's card, checked, or what it would say if there was one: ``rate``, ``clip``, ``pooling``."""
    path = network.with_suffix(".json")
    card: Any = {"kind": KIND, "rate": rate, "sha256": sha256}
    if path.exists():
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FileError(f"{path}: not a model card ({error}): give the network's own, or none") from error
    elif rate is None:
        raise UserError(f"{network} has no card {path.name} that tells its rate: give --rate")
    kind = card.get("kind") if isinstance(card, dict) else None
    if kind != KIND:
        raise FileError(f"{path}: a card of kind {kind!r}, not {KIND!r}: give a network that gives features")
    if card.get("sha256") != sha256:
        said = str(card.get("sha256"))
        raise FileError(
            f"{network}: its SHA-256 is {sha256[:12]}..., its card says {said[:12]}...: get both again"
        )
    card = {"rate": None, "clip": None, "pooling": "mean+std"} | card
    whole = "a whole number above 0"
    for key, fits, want in (
        ("rate", _is_count(card["rate"]), whole),
        ("clip", card["clip"] is None or _is_count(card["clip"]), f"{whole}, or null"),
        ("pooling", card["pooling"] in POOLINGS, " or ".join(POOLINGS)),
    ):
        if not fits:
            raise FileError(f"{path}: {key} is {card[key]!r}, want {want}")
    if rate not in (None, card["rate"]):
        raise UserError(f"{network} is for {card['rate']} Hz, not {rate} Hz: leave --rate out")
    return card  # type: ignore[no-any-return]


def _fixed(dimension: object) -> int:
    """The size of a dimension, or 0 if it is free."""
    return dimension if isinstance(dimension, int) else 0


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


# ------------------------------------------------------------------------------------------ clips

FEWEST = 10
"""Files that a set must have: the intervals come from drawing them again."""


@dataclass(frozen=True)
class Clip:
    """Where a clip begins in a file, in samples at the network's rate; ``name`` is what pairs files."""

    name: str
    path: Path
    begin: int


@dataclass(frozen=True, eq=False)
class Folder:
    """A folder's audio: by name, which is a path in it without extension, the file and its samples."""

    path: Path
    files: dict[str, Path]
    samples: dict[str, int]
    rates: list[int]
    """In Hz, of the files."""


def read_folder(folder: Path, rate: int) -> Folder:
    """Find a folder's audio; ``samples`` are counted at a rate in Hz.

    Raises
    ------
    FileError
        It is not a folder, has no audio, or two files that differ in their extension only.
    """
    from rtaudio.files import AudioReader, audio_files

    if not folder.is_dir():
        raise FileError(f"{folder} is not a folder")
    files: dict[str, Path] = {}
    samples: dict[str, int] = {}
    rates = set()
    for path in audio_files([folder]):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            raise FileError(f"{files[name]} and {path} are both called {name}: remove one")
        files[name] = path
        with AudioReader(path, rate) as reader:
            samples[name] = reader.samples
            rates.add(reader.info.rate)
    return Folder(folder, files, samples, sorted(rates))


def split(
    a: Folder, b: Folder, floor: Folder | None, conditional: bool, length: int, seed: int
) -> tuple[list[str], list[str], list[str]]:
    """Names of the reference, of the other set and of the floor, in the order in which they are taken.

    As equations (8) to (12): what of A is in the reference is not in the floor. The other set has the same
    names as the reference if ``conditional``, and none of them if not, so that it does not repeat its texts.
    Files shorter than a clip of ``length`` samples are left out. The orders depend on the names and the seed.
    """
    orders = []
    for number, folder in enumerate((a, b, floor or a)):
        long = [name for name, samples in sorted(folder.samples.items()) if samples >= length]
        orders.append([long[place] for place in np.random.default_rng([seed, number]).permutation(len(long))])
    a_names, b_names, floor_names = orders
    shared = set(a_names) & set(b_names)
    half = floor is None or (bool(shared) and not conditional)
    candidates = [name for name in a_names if name in shared] if conditional else a_names
    reference = candidates[: len(a_names) // 2] if half else candidates
    taken = set(reference)
    other = reference if conditional else [name for name in b_names if name not in taken]
    return reference, other, [name for name in floor_names if name not in taken]


def cut(
    names: Iterable[str], folder: Folder, samples: Mapping[str, int], length: int, per_file: int, seed: int
) -> list[Clip]:
    """Clips of ``length`` samples that do not overlap, at most ``per_file`` of each file, anywhere in it.

    One of each file comes first, then a second of each, and so on. Where they begin depends on the seed, on
    the file's name and on its ``samples`` only.
    """
    clips = []
    for name in names:
        count = min(per_file, samples[name] // length)
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        gaps = np.sort(random.integers(samples[name] - count * length + 1, size=count))
        begins = random.permutation(gaps + length * np.arange(count))
        clips += [(turn, Clip(name, folder.files[name], int(begin))) for turn, begin in enumerate(begins)]
    return [clip for _, clip in sorted(clips, key=itemgetter(0))]


def read_clip(clip: Clip, rate: int, length: int, level: float | None) -> NDArray[np.float32]:
    """A clip at a rate in Hz, the mean of its channels, (length,).

    Parameters
    ----------
    level
        What `at_level` brings it to, in dB; None: its own.

    Raises
    ------
    FileError
        The file cannot be read, or has samples that are not finite.
    """
    from rtaudio.files import AudioReader

    with AudioReader(clip.path, rate) as reader:
        reader.seek(clip.begin)
        x = reader.read(length).mean(axis=0, dtype=np.float64)
    if not np.all(np.isfinite(x)):
        raise FileError(f"{clip.path} has samples that are not finite: leave it out")
    return np.asarray(x if level is None else at_level(x, level), np.float32)


def at_level(x: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Clips, (..., samples), at an RMS level in dB re full scale each; silence stays."""
    rms = np.sqrt(np.mean(x**2, axis=-1, keepdims=True))
    return x * (10 ** (level / 20) / np.where(rms > 0, rms, 1.0))


def features_of(
    clips: Sequence[Clip], network: Network, length: int, level: float | None, advance: Callable[[str], None]
) -> Features:
    """Features of clips; ``advance`` is called once before each batch of `BATCH`."""
    found = []
    for begin in range(0, len(clips), BATCH):
        batch = clips[begin : begin + BATCH]
        advance(f"{batch[0].path.parent.name}: {begin} of {len(clips)} clips")
        x = np.stack([read_clip(clip, network.rate, length, level) for clip in batch])
        features = network.features(x)
        for clip, row in zip(batch, features, strict=True):
            if not np.all(np.isfinite(row)):
                raise FileError(
                    f"{network.path} gives features that are not finite for {clip.path} "
                    f"from {clip.begin / network.rate:.3f} s: leave the file out, or give another network"
                )
        found.append(features)
    return np.concatenate(found)


# ------------------------------------------------------------------------------------------ report

HEADING = ("distance", "value", "95 %", "floor", "95 % of the floor")

NOTES = """Frechet: squared, and biased: compare it with its floor, and with values of as many clips, only.
Kernel: (a.b / features + 1)^3, squared, unbiased, so that it is negative as often as not where nothing
differs. Both in float64, of features standardised by the reference. Floor: the reference against as many
other real clips. In brackets: 95 % bootstrap intervals over files; near the floor they are too wide, and may
begin below zero. Numbers of another network, number or
length of clips cannot be compared with these. Source: GAN-TTS, appendix B, with -2/(mn) before the last sum
of its equation (6)."""


def _texts(row: Row) -> list[str]:
    """The cells of a distance."""
    value, low, high, *floor = (
        f"{row[key]:.4g}" for key in ("value", "low", "high", "floor", "floor_low", "floor_high")
    )
    return [row["distance"], value, f"[{low}, {high}]", floor[0], f"[{floor[1]}, {floor[2]}]"]


def _facts(row: Row) -> list[str]:
    """What the distances depend on, in words."""
    pairs = "conditional (matched pairs, by name)" if row["conditional"] else "unconditional (other names)"
    level = "levels as they are" if row["level"] is None else f"each at {row['level']:g} dB RMS"
    return [
        f"{row['reference']} (reference) to {row['other']}, {pairs}; floor from {row['floor_from']}",
        f"{row['clips']} clips of {row['seconds']:g} s in each set, at {row['rate']} Hz, {level}",
        f"network {row['network']}, {row['features']} features, pooling {row['pooling']}",
        f"its SHA-256 {row['sha256']}",
        f"{row['resamples']} resamples, seed {row['seed']}",
    ]


def markdown(rows: Sequence[Row], notes: Sequence[str], command: str) -> str:
    """The distances in Markdown, under the command that made them."""
    return "\n".join(
        [
            f"    {command}",
            "",
            *markdown_table(HEADING, list(map(_texts, rows))),
            "",
            *(f"- {fact}" for fact in (*_facts(rows[0]), *notes)),
            "",
            *textwrap.wrap(NOTES, 110, break_on_hyphens=False),
            "",
        ]
    )


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """A line per distance, each with all that it depends on."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


# ------------------------------------------------------------------------------------------ command

SECONDS = 1.5
"""Of a clip, for networks that take any number of samples."""


def command(commands: Any) -> None:
    """Add ``distances`` to ``evaluate``."""
    from rtaudio.cli import decibels, file_path, from_zero, seconds, whole

    parser = commands.add_parser(
        "distances",
        help="Frechet and kernel distances between two folders of audio",
        description="Frechet and kernel distances between the features that a network gives for clips of A, "
        "the reference, and of B; with 95 % bootstrap intervals and their floor, real against real.",
    )
    parser.add_argument("reference", type=file_path, metavar="A", help="a folder of real audio")
    parser.add_argument("other", type=file_path, metavar="B", help="a folder of audio to measure")
    parser.add_argument(
        "--features",
        required=True,
        type=file_path,
        metavar="NET.onnx",
        help="a network from (batch, samples) to (batch, features) or (batch, frames, features), with its "
        "card NET.json beside it",
    )
    parser.add_argument("--rate", type=whole, metavar="HZ", help="of a network that has no card")
    parser.add_argument(
        "--pooling",
        choices=POOLINGS,
        help="over frames (default: the card's, else mean+std); mean for posteriors",
    )
    parser.add_argument(
        "--seconds",
        type=seconds,
        metavar="S",
        help=f"length of a clip (default: the network's, or {SECONDS:g} where it takes any)",
    )
    parser.add_argument(
        "--clips", type=whole, metavar="N", help="in each set (default: as many as all sets have)"
    )
    parser.add_argument(
        "--per-file", type=whole, default=1, metavar="K", help="clips of a file at most (default: 1)"
    )
    parser.add_argument(
        "--level",
        type=decibels,
        metavar="DB",
        help="bring each clip to this RMS level (default: levels as they are, so that a gain counts)",
    )
    parser.add_argument(
        "--conditional",
        action="store_true",
        help="of B take the same names as in the reference, at the same places (default: only others)",
    )
    parser.add_argument(
        "--floor",
        type=file_path,
        metavar="DIR",
        help="more real audio, for the floor (default: half of A, which then is not in the reference)",
    )
    parser.add_argument(
        "--resamples", type=whole, default=1000, metavar="R", help="for the intervals (default: 1000)"
    )
    parser.add_argument("--seed", type=from_zero, default=0, metavar="N", help="of all draws (default: 0)")
    parser.add_argument(
        "-o",
        "--output",
        type=file_path,
        metavar="OUT",
        help="a folder for table.md and distances.csv and .json",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure both distances and their floor."""
    from rtaudio.cli import one_line, say
    from rtaudio.render import make_folder

    network = Network(options.features, options.rate, options.pooling)
    length = _length(options.seconds, network)
    a, b = (read_folder(path, network.rate) for path in (options.reference, options.other))
    floor = None if options.floor is None else read_folder(options.floor, network.rate)
    sets, notes = _sets(options, a, b, floor, network.rate, length)
    if options.output is not None:
        make_folder(options.output)
    steps = sum(-(-len(clips) // BATCH) for clips in sets) + 2 * (options.resamples + 2)
    with progress(steps) as advance:
        found = [features_of(clips, network, length, options.level, advance) for clips in sets]
        numbers: dict[str, int] = {}
        files = [np.array([numbers.setdefault(clip.name, len(numbers)) for clip in clips]) for clips in sets]
        reference, other, real = map(Sample, standardised(*found), files)
        values = estimates(reference, other, options.resamples, options.seed, advance)
        floors = estimates(reference, real, options.resamples, options.seed, advance)
    facts = {
        "reference": a.path.resolve().name,
        "other": b.path.resolve().name,
        "floor_from": (floor or a).path.resolve().name,
        "conditional": options.conditional,
        "clips": len(sets[0]),
        "seconds": length / network.rate,
        "rate": network.rate,
        "level": options.level,
        "pooling": network.pooling,
        "features": found[0].shape[1],
        "network": network.path.name,
        "sha256": network.sha256,
        "resamples": options.resamples,
        "seed": options.seed,
    }
    rows: list[Row] = []
    for name, value in values.items():
        row = {"distance": name} | asdict(value)
        row |= {"floor": floors[name].value, "floor_low": floors[name].low, "floor_high": floors[name].high}
        rows.append(row | facts)
    if len(sets[0]) <= facts["features"]:
        notes.append(f"{len(sets[0])} clips for {facts['features']} features: Frechet is mostly bias here")
    for note in notes:
        say(f"note: {note}")
    show(HEADING, list(map(_texts, rows)))
    sys.stdout.write("".join(f"{one_line(fact)}\n" for fact in _facts(rows[0])))
    if options.output is not None:
        table, plain = markdown(rows, notes, command_line()), json.dumps(rows, indent=2) + "\n"
        appear(options.output / "table.md", lambda path: path.write_text(table, "utf-8"))
        appear(options.output / "distances.csv", lambda path: write_csv(rows, path))
        appear(options.output / "distances.json", lambda path: path.write_text(plain, "utf-8"))
    return 0


def _length(seconds: float | None, network: Network) -> int:
    """Samples of a clip."""
    length = network.clip or max(1, round(SECONDS * network.rate))
    asked = length if seconds is None else max(1, round(seconds * network.rate))
    if network.clip is not None and asked != length:
        raise UserError(
            f"--seconds {seconds:g} is {asked} samples, but {network.path} takes {length} "
            f"({length / network.rate:g} s) only: leave --seconds out"
        )
    return asked


def _sets(
    options: argparse.Namespace, a: Folder, b: Folder, floor: Folder | None, rate: int, length: int
) -> tuple[list[list[Clip]], list[str]]:
    """Clips of the reference, of the other set and of the floor, as many of each; and what is to be noted."""
    reference, other, real = split(a, b, floor, options.conditional, length, options.seed)
    # Matched clips begin at the same place, so it has to be in both files.
    both = {name: min(a.samples[name], b.samples[name]) for name in reference if options.conditional}
    sets = [
        cut(names, folder, folder.samples | both, length, options.per_file, options.seed)
        for names, folder in ((reference, a), (other, b), (real, floor or a))
    ]
    want = options.clips or FEWEST
    if want < FEWEST:
        raise UserError(f"--clips {want} is too few, want {FEWEST} or more")
    folders = a, b, floor or a
    paired = "matched pairs" if options.conditional else "comparison, under other names than the reference's"
    for folder, found, what in zip(folders, sets, ("reference", paired, "floor"), strict=True):
        files = len({clip.name for clip in found})
        if len(found) < want or files < FEWEST:
            raise UserError(
                f"{folder.path} has {len(found)} clips of {length / rate:g} s in {files} files for the {what}"
                f", want {want} in {FEWEST} or more: add files, or change --seconds, --clips or --per-file"
            )
    notes = []
    for folder in dict.fromkeys(folders):
        short = sum(samples < length for samples in folder.samples.values())
        if short:
            notes.append(f"{short} files of {folder.path.name} are shorter than a clip and left out")
    rates = sorted({each for folder in folders for each in folder.rates})
    if rates[0] < rate or len(rates) > 1:
        listed = ", ".join(f"{each} Hz" for each in rates)
        notes.append(f"the files have {listed}, resampled to {rate} Hz: a difference in bandwidth counts too")
    clips = options.clips or min(map(len, sets))
    return [found[:clips] for found in sets], notes
