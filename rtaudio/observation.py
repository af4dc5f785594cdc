"""What is seen of a running host: spectrogram columns and levels of its views, and what it counts.

A view is a place in the graph: ``in``, ``out`` (what is heard), every other output (``out.cue``), and stems:
the outputs of a node that has several (``hpss.harmonic``), or, of a composite, what it sums
(``remix/harmonic``). What a node says about the sound, at an output that is none, is another kind of view
(`Observation.values`): ``enhance.activity``. Every hop of 10 ms a view gets a column. Column k is about the
graph's input up to position ``k * hop``: what is later than that by a view's latency has been moved back, so
equal positions of two views belong together.

The host writes, in one block of shared memory (`rtaudio.counters`), and any number of processes read; readers
only map and copy, so what becomes of them is nothing to the host. A column carries its number, which is taken
away before the column is written and published, with release, after it. A reader copies numbers, columns, and
numbers again, in this order (`rtaudio.counters.ordered`), and keeps those whose number was right both times.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.counters import (
    BLOCKS,
    FOLDER,
    LONGEST,
    PREFIX,
    RATE,
    TIME_BINS,
    TIMES,
    WORDS,
    acquired,
    bin_ns,
    lives,
    mapped,
    ordered,
    report,
    running,
)
from rtaudio.errors import UserError, nearest

VIEWS = 16
"""Views of a host, at most."""
COLUMNS = 3200
"""Columns that are kept of each: 32 s."""
ROWS = 512
"""Rows of a column, from the lowest frequency to the highest."""
METERED = 8
"""Channels of a view that have levels, at most; all are in its columns."""
LOWEST, HIGHEST = 20.0, 20_000.0
"""Hz of the first and the last row; at low rates the last is half of the rate."""
FLOOR = -120.0
"""dB of the byte 0; 255 is 0 dB, a sine of full scale."""
LOUDNESS_OF_ONE = -0.691
"""LUFS of a weighted mean square of 1 (ITU-R BS.1770-4)."""
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, -10.0
"""What counts for a loudness over time: LUFS, and LU from the mean of what is above that."""
MOMENTARY_HOPS, BLOCK_HOPS = 40, 10
"""Hops of the momentary loudness, 400 ms; from one such block to the next."""

PEAK, TRUE_PEAK, SQUARE, WEIGHTED, LEVELS = range(5)
"""Levels of a channel, with a column: greatest magnitude of the hop, of its samples and between them too;
mean square of the last 300 ms; mean square of the last 400 ms, K-weighted."""

VIEW = np.dtype(
    [
        ("name", "i8", 8),  # UTF-8, zero-filled; the first word is published last; empty: not in use
        ("channels", "i8"),
        ("latency", "i8"),  # samples
        ("newest", "i8"),  # number of the newest column; 0: none yet
        ("skipped", "i8"),  # columns that were left out, since the machine was busy
        ("clipped", "i8", METERED),  # samples beyond full scale so far
        ("control", "i8"),  # 1: it is no sound, and its columns are empty
        ("numbers", "i8", COLUMNS),  # of the columns; 0 while one is written
        ("levels", "f4", (COLUMNS, METERED, LEVELS)),
        ("columns", "u1", (COLUMNS, ROWS)),
    ]
)
VIEW_WORDS = 13 + METERED
"""int64 words of a view before its numbers."""
OBSERVED = np.dtype([("hop", "i8"), ("window", "i8"), ("views", VIEW, VIEWS)])
"""What follows the counters."""

AGAIN = 0.02
"""Seconds between two looks for a host."""


def frequencies(rate: int) -> NDArray[np.float64]:
    """Frequency of every row of a column, in Hz: equal steps of pitch."""
    return np.geomspace(LOWEST, min(HIGHEST, rate / 2), ROWS)


def decibels(columns: NDArray[np.uint8]) -> NDArray[np.float32]:
    """DB of columns; 0 is a sine of full scale. Steps of 0.47 dB, and -120 stands for all below."""
    return np.float32(FLOOR) + columns * np.float32(-FLOOR / 255)


@dataclass(frozen=True)
class View:
    """What a view is now.

    Attributes
    ----------
    channels
        Their number.
    latency
        Samples by which it is later than the input.
    position
        Position in the graph's input that its newest column reaches up to; 0: there is none yet.
    skipped
        Columns that the host left out so far, since the machine was busy.
    """

    channels: int
    latency: int
    position: int
    skipped: int


@dataclass(frozen=True)
class Meters:
    """Levels of a view's first channels, at most `METERED`: arrays with one value each.

    Attributes
    ----------
    position
        Position in the graph's input.
    peak, true_peak : float32
        Greatest magnitude since then, of the samples and of what lies between them; 1 is full scale.
    rms : float32
        Root of the mean square of the last 300 ms.
    loudness
        Momentary loudness (ITU-R BS.1770, 400 ms) of all of them together, each with weight 1, in LUFS;
        minus infinity for silence.
    clipped : int64
        Samples beyond full scale since the view began.
    """

    position: int
    peak: NDArray[np.float32]
    true_peak: NDArray[np.float32]
    rms: NDArray[np.float32]
    loudness: float
    clipped: NDArray[np.int64]


class Observation:
    """A look at a running host; it does not disturb it, and needs no compiled code.

    Parameters
    ----------
    pid
        Process number of the host; None: of the only one.

    Raises
    ------
    UserError
        No such host, or its block has another layout.
    """

    def __init__(self, pid: int | None = None) -> None:
        hosts = running() if pid is None else [pid]
        if len(hosts) != 1:
            listed = f"{', '.join(map(str, hosts))}: say which" if hosts else "none"
            raise UserError(f"hosts that run live: {listed}")
        self.pid = hosts[0]
        block, self._file = mapped(self.pid)
        if block.size != 8 * WORDS + OBSERVED.itemsize:
            raise UserError(f"process {self.pid} is a host of another version")
        self._words = block[: 8 * WORDS].view(np.int64)
        self._observed = block[8 * WORDS :].view(OBSERVED)[0]
        self._names: set[str] = set()

    @property
    def alive(self) -> bool:
        """Whether the host still runs. What it has left can be read on."""
        try:
            same = (FOLDER / f"{PREFIX}{self.pid}").stat().st_ino == self._file
        except OSError:
            return False
        return same and lives(self.pid)

    @property
    def rate(self) -> int:
        """Rate in Hz."""
        return int(self._words[RATE])

    @property
    def hop(self) -> int:
        """Samples between two columns."""
        return int(self._observed["hop"])

    @property
    def window(self) -> int:
        """Samples that a column is made of; its position is the end of them."""
        return int(self._observed["window"])

    def again(self, seconds: float = 1.0) -> Observation:
        """A look at the host that goes on: this one, or one with the same views that has taken its place.

        Waits for it. Of several the one with the highest process number.

        Raises
        ------
        UserError
            There is none after that time.
        """
        self.views()
        deadline = time.monotonic() + seconds
        while not self.alive:
            for pid in reversed(running()):
                try:
                    found = Observation(pid)
                except UserError:
                    continue  # It has ended, is another version, or just begins.
                if self._names <= found.views().keys():
                    return found
            if time.monotonic() > deadline:
                raise UserError(f"process {self.pid} has ended, and no host with its views has come")
            time.sleep(AGAIN)
        return self

    def views(self) -> dict[str, View]:
        """The views by name."""
        found = self._listed(control=False)
        self._names = set(found) or self._names
        return found

    def values(self) -> dict[str, View]:
        """Those of what is no sound but a value at every sample, by name; their `peaks` say what it is."""
        return self._listed(control=True)

    def _listed(self, control: bool) -> dict[str, View]:
        found = {}
        for view in self._observed["views"]:
            if acquired(view["name"], 0) and bool(view["control"]) == control:
                position = int(view["newest"]) * self.hop
                found[_text(view["name"])] = View(
                    int(view["channels"]), int(view["latency"]), position, int(view["skipped"])
                )
        return found

    def columns(self, view: str, since: int = 0) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """The columns of a view.

        Parameters
        ----------
        view
            Its name.
        since
            Only those that reach beyond this position: where the last look has ended.

        Returns
        -------
        positions : int64[n]
            Positions in the graph's input that the columns reach up to; they grow, with gaps where columns
            were left out or have been overwritten meanwhile.
        columns : uint8[n, ROWS]
            See `decibels` and `frequencies`.

        Raises
        ------
        UserError
            No such view (any more).
        """
        numbers, columns = self._copied(view, since, "columns")
        return numbers * self.hop, columns

    def meters(self, view: str, since: int | None = None) -> Meters:
        """The levels of a view.

        Parameters
        ----------
        view
            Its name.
        since
            Position from which on peaks count; None: those of the newest hop.

        Raises
        ------
        UserError
            No such view (any more).
        """
        place = self._place(view)
        newest = int(place["newest"]) * self.hop
        begin = newest - self.hop if since is None else min(since, newest - self.hop)
        numbers, levels = self._copied(view, begin, "levels")
        width = min(METERED, int(place["channels"]))
        if not len(numbers):
            levels = np.zeros((1, METERED, LEVELS), np.float32)
        levels = levels[:, :width]
        weighted = float(levels[-1, :, WEIGHTED].sum(dtype=np.float64))
        return Meters(
            int(numbers[-1]) * self.hop if len(numbers) else 0,
            levels[..., PEAK].max(axis=0),
            levels[..., TRUE_PEAK].max(axis=0),
            np.sqrt(levels[-1, :, SQUARE]),
            LOUDNESS_OF_ONE + 10.0 * np.log10(weighted) if weighted > 0.0 else -np.inf,
            place["clipped"][:width].copy(),
        )

    def peaks(self, view: str, since: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The greatest magnitude in every hop of a view, of all its channels that have levels.

        Parameters, positions and errors as of `columns`.
        """
        width = min(METERED, int(self._place(view)["channels"]))
        numbers, levels = self._copied(view, since, "levels")
        return numbers * self.hop, levels[:, :width, PEAK].max(axis=1)

    def loudness(self, view: str, seconds: float = 10.0) -> float:
        """Loudness of the last seconds of a view (at most 32) in LUFS: gated, as ITU-R BS.1770-4 has it.

        Minus infinity where all of it is below the gate at -70 LUFS.
        """
        place = self._place(view)
        since = int(place["newest"]) * self.hop - round(seconds * self.rate)
        _, levels = self._copied(view, max(since, (MOMENTARY_HOPS - 1) * self.hop), "levels")
        width = min(METERED, int(place["channels"]))
        blocks = levels[::BLOCK_HOPS, :width, WEIGHTED].sum(axis=1, dtype=np.float64)
        gate = 10.0 ** ((ABSOLUTE_GATE - LOUDNESS_OF_ONE) / 10.0)
        for _ in "absolute", "relative":
            blocks = blocks[blocks > gate]
            if not len(blocks):
                return -np.inf
            gate = max(gate, 10.0 ** (RELATIVE_GATE / 10.0) * blocks.mean())
        return LOUDNESS_OF_ONE + 10.0 * float(np.log10(blocks.mean()))

    def histogram(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """How long callbacks took: durations in ns (the middles of bins), and how many of each."""
        durations = np.array([bin_ns(bin_) for bin_ in range(TIME_BINS)])
        return durations, self._words[TIMES : TIMES + TIME_BINS].copy()

    def counters(self) -> dict[str, Any]:
        """What `rtaudio.counters.report` says now."""
        return report(self._words)

    @property
    def blocks(self) -> int:
        """Blocks so far; stands still where no sound runs."""
        return int(self._words[BLOCKS])

    @property
    def longest(self) -> int:
        """The longest callback, in ns."""
        return int(self._words[LONGEST])

    def _place(self, name: str) -> Any:
        """Where a view is."""
        for view in self._observed["views"]:
            if acquired(view["name"], 0) and _text(view["name"]) == name:
                return view
        shown = self.views()
        raise UserError(f"no view {name!r}{nearest(name, shown)} ({', '.join(shown) or 'none'})")

    def _copied(self, name: str, since: int, what: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Numbers of the columns beyond a position, and what is asked for of them; none that is torn."""
        place = self._place(name)
        newest = int(place["newest"])
        ordered()
        first = max(1, since // self.hop + 1, newest - COLUMNS + 1)
        wanted = np.arange(first, newest + 1)
        slots = wanted % COLUMNS
        before = place["numbers"][slots]
        ordered()
        copies = place[what][slots]
        ordered()
        whole = (before == wanted) & (place["numbers"][slots] == wanted)
        if _text(place["name"]) != name:
            raise UserError(f"the view {name!r} has just gone")
        return wanted[whole], copies[whole]


def _text(name: NDArray[np.int64]) -> str:
    return name.tobytes().rstrip(b"\0").decode(errors="replace")
