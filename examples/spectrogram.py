"""Draw labelled spectrograms, one above another: `python examples/spectrogram.py OUT.png FILE...`."""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile as sf
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from PIL import Image
from scipy.signal import stft

WINDOW = 0.064  # seconds
RANGE_DB = 75
TICKS = (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)  # Hz
ROWS = 400  # pixels of frequency in each panel


def levels(
    signal: npt.NDArray[Any], rate: int, hertz: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return frame times in seconds and levels `(len(hertz), frames)` in dB, 0 dB for a full-scale sine."""
    mono = np.atleast_2d(np.asarray(signal, dtype=np.float64)).mean(axis=0)
    size = 2 * round(WINDOW * rate / 2)
    mono = np.pad(mono, (0, max(0, size - mono.size)))
    bins, times, spectrum = stft(mono, rate, "hann", size, size - size // 8, nfft=4 * size)
    nearest = np.rint(hertz / bins[1]).astype(int)
    return times, 20 * np.log10(2 * np.abs(spectrum[nearest]) + 1e-10)


def label_hertz(hertz: float, _: int | None = None) -> str:
    return f"{hertz / 1000:g}k" if hertz >= 1000 else f"{hertz:g}"


def spectrogram_picture(
    path: str | os.PathLike[str], panels: Sequence[tuple[str, npt.NDArray[Any]]], rate: int
) -> None:
    """Draw the spectrogram of each signal, with log frequency, on one time axis and one colour scale.

    Parameters
    ----------
    path : path-like
        The PNG file to write, 1400 by 900 pixels.
    panels : sequence of (str, ndarray)
        A label and a signal for each panel, from the top: float samples of shape `(n,)` or `(channels, n)`,
        full scale 1. Channels are averaged.
    rate : int
        Sample rate of every signal, in Hz.

    Raises
    ------
    ValueError
        If there are no panels.
    """
    if not panels:
        raise ValueError("no signals to draw")
    hertz = np.geomspace(TICKS[0], min(TICKS[-1], rate / 2), ROWS)
    drawn = [levels(signal, rate, hertz) for _, signal in panels]
    top = 5 * round(max(np.percentile(level, 99.9) for _, level in drawn) / 5)

    figure = Figure(figsize=(14, 9), dpi=100, layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    scale = {"cmap": "magma", "vmin": top - RANGE_DB, "vmax": top}
    for axis, (label, _), (times, level) in zip(axes, panels, drawn, strict=True):
        mesh = axis.pcolormesh(times, hertz, level, shading="nearest", **scale)
        axis.set_yscale("log")
        axis.set_ylim(hertz[0], hertz[-1])
        axis.set_yticks([tick for tick in TICKS if tick <= hertz[-1]])
        axis.yaxis.set_major_formatter(FuncFormatter(label_hertz))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.set_ylabel("Hz")
        axis.set_title(label, loc="left", fontsize=12, fontweight="bold")
    axes[-1].set_xlim(0, max(signal.shape[-1] for _, signal in panels) / rate)
    axes[-1].set_xlabel("seconds")
    figure.colorbar(mesh, ax=list(axes), label="dBFS", pad=0.01, aspect=40, extend="both")
    drawing = io.BytesIO()
    figure.savefig(drawing, format="png")
    # A palette makes the file a third of the size, for no difference the eye can see.
    picture = Image.open(drawing).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
    picture.save(path, format="PNG", optimize=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draw the spectrograms of audio files, one above another.")
    parser.add_argument("out", type=Path, metavar="OUT.png")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    args = parser.parse_args(argv)
    panels = []
    rates = set()
    for file in args.files:
        samples, rate = sf.read(file, always_2d=True)
        panels.append((file.stem, samples.T))
        rates.add(rate)
    if len(rates) > 1:
        parser.error(f"the files have different sample rates: {sorted(rates)}")
    spectrogram_picture(args.out, panels, rates.pop())


if __name__ == "__main__":
    main()
