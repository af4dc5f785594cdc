"""What rolling pictures cost: two spectrograms of 512 rows and 1000 columns, new columns in every frame.

``python benchmarks/pictures.py`` shows two windows, one of `gui.spectrogram.Spectrogram`, one of pyqtgraph's
`ImageItem` in plots with the same map, and puts as many columns into shared memory as come in a frame. They
read and draw them in turn, some seconds each, in step with a clock (caches are cold then) or, with
``--free``, one frame after the other. It prints the CPU time of the process for a frame of both views, in
milliseconds: median, 95 % and the greatest. ``--fps`` says how many frames a second there are, and
``--offscreen`` that there is no display, and ``--json`` that a line of JSON is printed instead.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from rtaudio.counters import RATE, Counters, name_words
from rtaudio.observation import COLUMNS, OBSERVED, ROWS, VIEWS, Observation

NAMES = ("in", "out")
WIDTH, HEIGHT = 1000, ROWS
HZ, HOP = 48_000, 480
ROUNDS, FRAMES, LEFT_OUT = 8, 60, 10
"""Turns of each, and frames of a turn, of which the first are not counted."""
FIRST = 2000
"""Columns that are there before."""


class Columns:
    """A block of shared memory with views whose columns this process writes."""

    def __init__(self) -> None:
        self.counters = Counters(shared=True, room=OBSERVED.itemsize)
        self.counters.reserve(0, OBSERVED.itemsize)
        self.counters.words[RATE] = HZ
        observed = self.counters.room.view(OBSERVED)[0]
        observed["hop"], observed["window"] = HOP, 2048
        self._views = observed["views"][: min(VIEWS, len(NAMES))]
        self._views["channels"] = 2
        for view, name in zip(self._views, NAMES, strict=True):
            view["name"] = name_words(name)
        generator = np.random.default_rng(1)
        rows, at = np.arange(ROWS), np.arange(COLUMNS)[:, None]
        lines = sum(np.exp(-(((rows - 60 * h - 40 * np.sin(at / 90)) / 4) ** 2)) / h for h in range(1, 8))
        noise = generator.normal(70, 8, (COLUMNS, ROWS))
        self._made = np.clip(noise + 150 * lines, 0, 255).astype(np.uint8)
        self.newest = 0

    def add(self, count: int) -> None:
        """Write so many columns more, as the host does."""
        numbers = np.arange(self.newest + 1, self.newest + count + 1)
        self.newest += count
        for view in self._views:
            view["columns"][numbers % COLUMNS] = self._made[numbers % COLUMNS]
            view["numbers"][numbers % COLUMNS] = numbers
            view["newest"] = self.newest


def own(seen: Observation) -> tuple[Any, Callable[[], None]]:
    """A window of the project's pictures, and what draws a frame."""
    from PySide6.QtWidgets import QVBoxLayout, QWidget

    from gui.spectrogram import Spectrogram

    link: Any = SimpleNamespace(observation=seen)
    window = QWidget()
    column = QVBoxLayout(window)
    pictures = [Spectrogram(link, [name]) for name in NAMES]
    for picture in pictures:
        around = picture.size() - picture.picture.size()
        picture.setFixedSize(WIDTH + around.width(), HEIGHT + around.height())
        column.addWidget(picture)

    def draw() -> None:
        for picture in pictures:
            picture.refresh()

    return window, draw


def foil(seen: Observation) -> tuple[Any, Callable[[], None]]:
    """A window of pyqtgraph's images, and what draws a frame."""
    import pyqtgraph

    window = pyqtgraph.GraphicsLayoutWidget()
    window.resize(WIDTH + 60, 2 * HEIGHT + 80)
    images = []
    for row, _ in enumerate(NAMES):
        plot = window.addPlot(row=row, col=0)
        plot.setXRange(0, WIDTH, padding=0)
        plot.setYRange(0, ROWS, padding=0)
        table = pyqtgraph.colormap.get("viridis").getLookupTable(nPts=256)
        image = pyqtgraph.ImageItem(np.zeros((WIDTH, ROWS), np.uint8), levels=(0, 255), lut=table)
        plot.addItem(image)
        images.append((image, np.zeros((WIDTH, ROWS), np.uint8)))
    since = [0]

    def draw() -> None:
        for name, (image, kept) in zip(NAMES, images, strict=True):
            positions, columns = seen.columns(name, since[0])
            new = columns[-WIDTH:]
            kept[: WIDTH - len(new)] = kept[len(new) :]
            kept[WIDTH - len(new) :] = new
            image.setImage(kept, autoLevels=False, levels=(0, 255))
        since[0] = int(positions[-1])

    return window, draw


def main() -> None:
    """Compare the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--offscreen", action="store_true")
    parser.add_argument("--free", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.offscreen:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from PySide6.QtWidgets import QApplication

    application = QApplication([])
    columns = Columns()
    columns.add(FIRST)
    kinds = {"own": own, "ImageItem": foil}
    shown = {kind: make(Observation(os.getpid())) for kind, make in kinds.items()}
    spent: dict[str, list[float]] = {kind: [] for kind in kinds}
    due = 0.0
    for turn in range(2 * ROUNDS):
        kind = list(kinds)[turn % 2]
        for each, (window, _) in shown.items():
            window.setVisible(each == kind)
        for frame in range(FRAMES):
            due += HZ / HOP / options.fps
            columns.add(int(due))
            due -= int(due)
            if not options.free:
                time.sleep(1.0 / options.fps)
            start = time.process_time_ns()
            shown[kind][1]()
            application.processEvents()
            if frame >= LEFT_OUT:
                spent[kind].append((time.process_time_ns() - start) / 1e6)
    if options.json:
        print(json.dumps(spent))
        return
    pace = "free" if options.free else "with a clock"
    print(
        f"platform {application.platformName()}, {options.fps:g} fps, {pace}, {len(spent['own'])} frames each"
    )
    for kind, times in spent.items():
        middle, high, most = np.percentile(times, [50, 95, 100])
        print(f"{kind}: median {middle:.3f} ms, 95 % {high:.3f} ms, most {most:.2f} ms")
    columns.counters.close()


if __name__ == "__main__":
    main()
