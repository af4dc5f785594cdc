"""Tables and plots of how well speech is enhanced, as `export.enhancement` writes them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.material import Material, Mixed, Recorded
from export.metrics import METRICS, RATE, bootstrap, standard_error
from export.output import markdown_table
from export.systems import NOISY, Audio, System

Row = dict[str, Any]
"""A line of ``scores.csv``."""

PLACES = {"STOI": 3, "ESTOI": 3}
"""Decimals of means, where they are not two."""
UNITS = {"SI-SDR": "dB", "SSNR": "dB", "SNR": "dB"}
AVERAGE = "average"
"""Of a file's scores at all SNRs, where it has one at each."""

PAPER_SNR = {
    15.0: ("17.31 ± 0.010", "18.27 ± 0.004"),
    20.0: ("19.10 ± 0.011", "22.82 ± 0.002"),
    25.0: ("23.53 ± 0.014", "26.38 ± 0.003"),
}
"""The paper's Table 1: SEGAN, WGAN."""
PAPER_AVERAGES = {
    "PESQ": ("2.65", "2.61", "2.81"),
    "STOI": ("0.97", "0.97", "0.99"),
    "SSNR": ("13.32", "14.30", "15.87"),
    "CSIG": ("3.46", "3.57", "3.69"),
    "CBAK": ("3.02", "3.46", "3.48"),
    "COVL": ("3.32", "3.54", "3.64"),
}
"""Its Table 2: noisy, SEGAN, WGAN, over 15, 20 and 25 dB."""

NOTES = """{count} pairs of clean and noisy speech, {levels}. Means over files, ± standard error of the mean;
an average over SNRs is taken per file first. SNR levels are active speech level (ITU-T P.56) over the RMS of
the noise; the score SNR is plain, over the whole file, pauses included. Scores are at 16 kHz. Skipped: files
that gave no score, which no table counts; differences are of the files that both systems have. Lag: of what
was scored, median, in samples. Latency: live, as a model or chain declares it; of a peer the lag of clean
speech through it, median, which is taken out. Cost: CPU seconds for a second of speech, median."""


@dataclass(frozen=True)
class Scores:
    """All scores: ``values`` is (systems, levels, files, metrics), NaN where there is none."""

    systems: list[str]
    levels: list[str]
    values: NDArray[np.float64]

    def of(self, system: str, level: str) -> NDArray[np.float64]:
        """(files, metrics)."""
        return self.values[self.systems.index(system), self.levels.index(level)]  # type: ignore[no-any-return]


Table = tuple[str, list[str], list[list[str]]]
"""Title, heading, cells."""


def names_of(systems: Sequence[System]) -> list[str]:
    """What tables call systems: the name, with the mode where several have it."""
    names = [system.name for system in systems]
    return [
        f"{system.name}, {system.mode}" if names.count(system.name) > 1 else system.name for system in systems
    ]


def gather(rows: Sequence[Row], systems: Sequence[System], material: Material) -> Scores:
    """Arrange rows; the last of several levels is `AVERAGE`."""
    keys = {(system.name, system.mode): place for place, system in enumerate(systems)}
    values = np.full((len(systems), len(material.snrs), len(material), len(METRICS)), np.nan)
    for row in rows:
        if not row["problem"]:
            place, level = keys[row["system"], row["mode"]], material.snrs.index(row["snr"])
            values[place, level, row["number"]] = [row[metric] for metric in METRICS]
    levels = [f"{snr:g} dB" for snr in material.snrs if snr is not None]
    if len(levels) > 1:
        values = np.concatenate([values, values.mean(axis=1, keepdims=True)], axis=1)
    return Scores(names_of(systems), [*levels, AVERAGE] if len(levels) != 1 else levels, values)


def finite(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values without those that are not there."""
    return x[np.isfinite(x)]


def mean_and_error(x: NDArray[np.float64], metric: str) -> str:
    """A cell."""
    x, places = finite(x), PLACES.get(metric, 2)
    if not len(x):
        return "-"
    error = standard_error(x)
    return f"{np.mean(x):.{places}f}" + ("" if math.isnan(error) else f" ± {error:.{places + 1}f}")


def difference(x: NDArray[np.float64], low: float, high: float, metric: str) -> str:
    """A cell: the mean of paired differences with its interval."""
    x, places = finite(x), PLACES.get(metric, 2)
    if not len(x):
        return "-"
    interval = "" if math.isnan(low) else f" [{low:+z.{places}f}, {high:+z.{places}f}]"
    return f"{np.mean(x):+z.{places}f}{interval}"


def with_unit(metric: str) -> str:
    """A metric's name and unit."""
    return f"{metric}, {UNITS[metric]}" if metric in UNITS else metric


def overview(rows: Sequence[Row], systems: Sequence[System]) -> Table:
    """What was scored of each system, how late it is, what it costs."""
    heading = ["system", "mode", "scored", "skipped", "lag", "inverted", "latency, ms", "cost"]
    cells = []
    for system in systems:
        own = [row for row in rows if (row["system"], row["mode"]) == (system.name, system.mode)]
        good = [row for row in own if not row["problem"]]
        inverted = sum(row["polarity"] < 0 for row in good)
        texts = [system.name, system.mode, str(len(good)), str(len(own) - len(good))]
        texts += [_median(good, "lag", "g"), str(inverted), _median(good, "latency", ".1f")]
        cells.append([*texts, _median(good, "cost", ".4f")])
    return "Systems", heading, cells


def _median(rows: Sequence[Row], key: str, form: str) -> str:
    values = [row[key] for row in rows if row[key] is not None]
    return format(float(np.median(values)), form) if values else "-"


def averages(scores: Scores) -> Table:
    """The paper's Table 2: metrics by systems, averaged over the SNRs."""
    level = scores.levels[-1]
    beside = scores.levels[:-1] == [f"{snr:g} dB" for snr in PAPER_SNR]
    cells = []
    for number, metric in enumerate(METRICS):
        texts = [mean_and_error(scores.of(system, level)[:, number], metric) for system in scores.systems]
        printed = PAPER_AVERAGES.get(metric, ("",) * 3) if beside else ()
        cells.append([with_unit(metric), *texts, *printed])
    heading = ["metric", *scores.systems]
    if beside:
        heading += [f"the paper's {name}" for name in ("noisy", "SEGAN", "WGAN")]
    title = "Averages over the SNRs, as the paper's Table 2" if level == AVERAGE else f"At {level}"
    return title if len(scores.levels) > 1 or level != AVERAGE else "Averages", heading, cells


def summary(scores: Scores) -> Table:
    """The same averages, systems by metrics, for a terminal."""
    title, (_, *heading), cells = averages(scores)
    columns = zip(*cells, strict=True)
    metrics = list(next(columns))
    return (
        title.partition(",")[0],
        ["system", *metrics],
        [[name, *own] for name, own in zip(heading, columns, strict=True)],
    )


def global_snr(scores: Scores, snrs: Sequence[float | None]) -> Table:
    """The paper's Table 1: the global SNR of each system by SNR level."""
    number = METRICS.index("SNR")
    beside = any(snr in PAPER_SNR for snr in snrs)
    cells = []
    for snr, level in zip(snrs, scores.levels, strict=False):
        texts = [mean_and_error(scores.of(system, level)[:, number], "SNR") for system in scores.systems]
        printed = PAPER_SNR.get(snr or 0.0, ("", "")) if beside else ()
        cells.append([level, *texts, *printed])
    heading = ["SNR level", *scores.systems]
    if beside:
        heading += ["the paper's SEGAN", "the paper's WGAN"]
    return "Global SNR in dB, as the paper's Table 1", heading, cells


def by_level(scores: Scores) -> list[Table]:
    """A table per metric: systems by SNR level."""
    return [
        (
            with_unit(metric),
            ["system", *scores.levels],
            [
                [system, *(mean_and_error(scores.of(system, level)[:, n], metric) for level in scores.levels)]
                for system in scores.systems
            ],
        )
        for n, metric in enumerate(METRICS)
    ]


def differences(scores: Scores, against: str) -> list[Table]:
    """Tables of paired differences to a system, the average over SNRs first."""
    tables = []
    others = [system for system in scores.systems if system != against]
    if not others:
        return []
    for level in reversed(scores.levels):
        cells = []
        apart = np.array([scores.of(system, level) - scores.of(against, level) for system in others])
        low, high = bootstrap(apart.transpose(1, 0, 2))
        for n, system in enumerate(others):
            columns = zip(apart[n].T, low[n], high[n], METRICS, strict=True)
            cells.append([system, str(len(finite(apart[n, :, 0]))), *starmap(difference, columns)])
        where = f"{'' if level == AVERAGE else 'at '}{level}"
        title = f"Difference to {against}, {where}, with paired bootstrap 95 % intervals"
        tables.append((title, ["system", "files", *map(with_unit, METRICS)], cells))
    return tables


def against_latency(scores: Scores, rows: Sequence[Row], systems: Sequence[System]) -> list[Table]:
    """A table per model that was run in several modes: quality against latency."""
    tables = []
    everything = overview(rows, systems)[2]
    for own in dict.fromkeys(system.name for system in systems):
        chosen = [place for place, system in enumerate(systems) if system.name == own]
        if len(chosen) > 1:
            cells = []
            for place in chosen:
                values = scores.of(scores.systems[place], scores.levels[-1])
                means = [mean_and_error(values[:, n], metric) for n, metric in enumerate(METRICS)]
                cells.append([systems[place].mode, *everything[place][-2:], *means])
            heading = ["mode", "latency, ms", "cost", *map(with_unit, METRICS)]
            tables.append((f"{own}: quality against latency", heading, cells))
    return tables


def tables(
    rows: Sequence[Row], scores: Scores, systems: Sequence[System], material: Material, against: str
) -> list[Table]:
    """All tables of a report."""
    found = [overview(rows, systems), averages(scores)]
    if isinstance(material, Mixed):
        found.append(global_snr(scores, material.snrs))
    if len(scores.levels) > 1:
        found += by_level(scores)
    return [*found, *differences(scores, against), *against_latency(scores, rows, systems)]


def markdown(found: Sequence[Table], material: Material, command: str) -> str:
    """Tables in Markdown, under the command that made them."""
    levels = "as recorded" if isinstance(material, Recorded) else f"each at {_listed(material.snrs)} dB"
    notes = NOTES.format(count=len(material), levels=levels)
    lines = [f"    {command}", "", *textwrap.wrap(notes, 110, break_on_hyphens=False), ""]
    for title, heading, cells in found:
        lines += [f"### {title}", "", *markdown_table(heading, cells), ""]
    return "\n".join(lines)


def _listed(snrs: Sequence[float]) -> str:
    texts = [f"{snr:g}" for snr in snrs]
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))


# ------------------------------------------------------------------------------------------ plots


def plot(scores: Scores, snrs: Sequence[float], path: Path) -> None:
    """Draw every metric against the SNR, a line per system with standard errors, into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 9), layout="constrained")
    axes = figure.subplots(3, 3, sharex=True)
    order = np.argsort(snrs)
    for ax, (number, metric) in zip(axes.flat, enumerate(METRICS), strict=True):
        for place, system in enumerate(scores.systems):
            found = [finite(scores.values[place, level, :, number]) for level in order]
            points = [(snrs[level], x) for level, x in zip(order, found, strict=True) if len(x)]
            ax.errorbar(
                [snr for snr, _ in points],
                [float(np.mean(x)) for _, x in points],
                [0.0 if len(x) < 2 else standard_error(x) for _, x in points],
                label=system,
                color="black" if system == NOISY else f"C{place - 1}",
                linestyle="--" if system == NOISY else "-",
                marker="os^Dv<>P*X"[place % 10],
                markersize=4,
                capsize=3,
                linewidth=1.2,
            )
        ax.set_title(with_unit(metric), fontsize=10)
        ax.set_xticks(sorted(snrs))
        ax.grid(alpha=0.3)
    for ax in axes[-1]:
        ax.set_xlabel("SNR of the noisy speech, dB")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 6))
    FigureCanvasAgg(figure).print_png(path)  # type: ignore[no-untyped-call, unused-ignore]


SHOWN = 4.0
"""Seconds of an utterance that the spectrograms show at most, where the first signal is loudest."""
RANGE = 70.0
"""dB that they show, down from the loudest of all."""
COLOURS = 64
"""Of their scale: few, so that the file is small."""


def draw_spectrograms(signals: Mapping[str, Audio], path: Path) -> None:
    """The paper's Figure 1: spectrograms of signals by title, on one scale in dB, into a PNG file.

    Hann windows of 32 ms, every 8 ms.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image
    from scipy.signal import stft

    first = next(iter(signals.values()))
    samples = min(round(SHOWN * RATE), len(first))
    energy = np.cumsum(np.square(np.pad(first, (1, 0)), dtype=np.float64))
    begin = int(np.argmax(energy[samples:] - energy[: len(energy) - samples]))
    spectra = {}
    for title, x in signals.items():
        magnitude = np.abs(stft(x[begin : begin + samples], RATE, nperseg=512, noverlap=384)[2])
        spectra[title] = 20 * np.log10(magnitude + 1e-9)
    top = max(float(spectrum.max()) for spectrum in spectra.values())
    height = -(-len(spectra) // 2)
    figure = Figure(figsize=(9, 2.7 * height + 0.3), layout="constrained")
    axes = figure.subplots(height, 2, sharex=True, sharey=True, squeeze=False)
    for ax in axes.flat[len(spectra) :]:
        ax.set_axis_off()
    for number, (ax, (title, spectrum)) in enumerate(zip(axes.flat, spectra.items(), strict=False)):
        image = ax.imshow(
            spectrum - top,
            origin="lower",
            aspect="auto",
            extent=(begin / RATE, (begin + samples) / RATE, 0.0, RATE / 2),
            vmin=-RANGE,
            vmax=0.0,
            cmap=colormaps["magma"].resampled(COLOURS),
        )
        ax.set_title(f"({chr(ord('a') + number)}) {title}", fontsize=10)
        ax.set_ylabel("frequency, Hz" if number % 2 == 0 else "")
        ax.set_xlabel("time, s" if number >= len(spectra) - 2 else "")
    figure.colorbar(image, ax=axes, label="dB re the loudest", pad=0.01)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call, unused-ignore]
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba()))  # type: ignore[no-untyped-call, unused-ignore]
    drawn.convert("RGB").quantize(dither=Image.Dither.NONE).save(path, "PNG", optimize=True)
