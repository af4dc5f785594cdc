"""Lets readers see what runs: columns and levels of a plan's views, see `rtaudio.observation`.

The callback copies what is looked at, the taps, into rings, and publishes how far it has come. A thread
without priority makes columns and levels of it, in compiled code; when the machine is so busy that it falls
behind, it goes on with the newest and counts what it left out.
"""

from __future__ import annotations

import threading
from math import log2, pi, tan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.counters import Counters, name_words
from rtaudio.errors import UserError
from rtaudio.kernel import addresses, channel, power_of_two, ring_read, ring_write
from rtaudio.layout import Signal
from rtaudio.native import (
    compiled,
    f32_matrix,
    f32_vector,
    f64_matrix,
    fence,
    float32_at,
    flush_denormals,
    i64_matrix,
    i64_vector,
    int64_at,
    load_acquire,
    now_ns,
    restore_float_mode,
    sleep_until_ns,
    store_release,
    uint8_at,
    write_release,
)
from rtaudio.observation import (
    COLUMNS,
    FLOOR,
    LEVELS,
    METERED,
    MOMENTARY_HOPS,
    OBSERVED,
    PEAK,
    ROWS,
    SQUARE,
    TRUE_PEAK,
    VIEW,
    VIEW_WORDS,
    VIEWS,
    WEIGHTED,
    frequencies,
)
from rtaudio.plan import N_TAPS, TAPS, Plan
from rtaudio.processor import state_table
from rtaudio.realtime import lock_memory, unlock_memory
from rtaudio.stft import SIZES, fft_tables, real_fft

# Words of a tap: a view's ring.
(
    RING,  # float32[TAP_CHANNELS, SIZE]
    SIZE,
    TAP_CHANNELS,
    FILLED,  # position after the newest sample; -1: none yet
    SINCE,  # position of the first
    DELAY,  # samples by which what is copied is later than the graph's input
    TAP_BLOCK,  # samples that the callback writes at once
    TAP_WORDS,
) = range(8)
SOURCE_WORDS = 3
"""Words of what a plan copies: the tap, its addresses, samples by which it is late."""

NAME_WORDS = 8
# Words of a view in the block, of `observation.VIEW`, after its name.
VIEW_CHANNELS, LATENCY, NEWEST, SKIPPED, CLIPPED = range(5)
CONTROL = CLIPPED + METERED

HEAD_BYTES = OBSERVED.itemsize - VIEWS * VIEW.itemsize

HOP = 0.010
"""Seconds from column to column."""
WINDOW = 2048
"""Samples of a column's window at 48 kHz; the nearest power of two at other rates."""
RING_SECONDS = 0.5
"""What the rings hold beside a window and two blocks."""
MEAN_HOPS = 30
"""Hops of the mean square, 300 ms."""
PHASES, TAPS_EACH, BETA = 4, 12, 5.0
"""True peak: points per sample, taps of each and Kaiser window of the interpolation."""
LOUDEST = np.float32(1e6)
"""What samples are held to, so that their spectrum is finite."""
LOOK = 5_000_000
"""Nanoseconds between two looks whether there is something to do."""

# Arrays that all views share.
(
    FRAME,  # float32[window]
    WINDOW_SHAPE,  # float32[window]: Hann, a sine of full scale gives power 1
    RE,
    IM,
    WORK,
    TURNS,
    SPLIT,
    POWER,  # float32[bins], the greatest of the channels
    ROW_PLACES,  # int64[3, ROWS]: bin below the row, first bin of its band and the one after the last
    ROW_SHARES,  # float32[ROWS]: how far the row is to the next bin
    WEIGHTING,  # float64[2, 5]: biquads, b0 b1 b2 a1 a2
    BETWEEN,  # float32[PHASES - 1, TAPS_EACH]
    RECENT,  # float32[hop + TAPS_EACH - 1]
    POINTS,  # float32[hop]
) = range(14)

# Arrays of a view.
(
    TAP,  # int64[TAP_WORDS]
    NEXT,  # int64[1]: number of the column to make; 0: the first
    SHARED,  # words of the view in the block
    NUMBERS,  # int64[COLUMNS]
    COLUMN_LEVELS,  # float32[COLUMNS, METERED * LEVELS]
    COLUMN_ROWS,  # int64[1]: address of uint8[COLUMNS, ROWS]
    FILTERS,  # float64[METERED, 4]
    ENERGIES,  # float64[2 * METERED, MOMENTARY_HOPS]: sums of squares of the last hops, plain and weighted
) = range(8)


# ------------------------------------------------------------------------------------------ the callback's


@compiled
def copy_taps(plan: Any, at: int, n: int) -> None:
    """Copy what is looked at of the ``n`` samples from a position on: the callback's part."""
    for number in range(plan[N_TAPS]):
        source = int64_at(plan[TAPS] + 8 * SOURCE_WORDS * number, SOURCE_WORDS)
        tap = int64_at(source[0], TAP_WORDS)
        size = tap[SIZE]
        for c in range(tap[TAP_CHANNELS]):
            ring_write(float32_at(tap[RING] + 4 * size * c, size), at, channel(source[1], c, n), n)
        if tap[FILLED] < 0:
            tap[SINCE] = at
        tap[DELAY] = source[2]
        store_release(tap, FILLED, at + n)


# ------------------------------------------------------------------------------------------ the thread's


@compiled
def _hear(tap: Any, c: int, begin: int, samples: Any, n: int) -> None:
    """Samples of a channel of a tap from a position on, held to `LOUDEST`."""
    size = tap[SIZE]
    ring_read(float32_at(tap[RING] + 4 * size * c, size), begin, samples, n)
    for i in range(n):
        samples[i] = min(max(samples[i], -LOUDEST), LOUDEST)


@compiled
def _make_column(tools: int, tap: Any, end: int, rows: Any) -> None:
    """Levels of the rows, 0 to 255, of the window that ends at a position of the tap."""
    frame, shape = f32_vector(tools, FRAME), f32_vector(tools, WINDOW_SHAPE)
    re, im, power = f32_vector(tools, RE), f32_vector(tools, IM), f32_vector(tools, POWER)
    work, turns, split = f32_matrix(tools, WORK), f32_matrix(tools, TURNS), f32_matrix(tools, SPLIT)
    n = frame.shape[0]
    power[:] = np.float32(0)
    for c in range(tap[TAP_CHANNELS]):
        _hear(tap, c, end - n, frame, n)
        for i in range(n):
            frame[i] *= shape[i]
        real_fft(frame, re, im, work, turns, split)
        for b in range(power.shape[0]):
            power[b] = max(power[b], re[b] * re[b] + im[b] * im[b])
    places, shares = i64_matrix(tools, ROW_PLACES), f32_vector(tools, ROW_SHARES)
    for r in range(ROWS):
        below = places[0, r]
        level = power[below] + shares[r] * (power[below + 1] - power[below])
        for b in range(places[1, r], places[2, r]):
            level = max(level, power[b])
        decibels = np.float32(10) * np.log10(level + np.float32(1e-30))
        byte = (decibels - np.float32(FLOOR)) * np.float32(-255.0 / FLOOR) + np.float32(0.5)
        rows[r] = np.uint8(min(max(byte, np.float32(0)), np.float32(255)))


@compiled
def _true_peak(recent: Any, taps: Any, points: Any) -> Any:
    """Greatest magnitude between the samples; the first taps but one are from before the hop."""
    n = points.shape[0]
    peak = np.float32(0)
    for phase in range(taps.shape[0]):
        points[:] = np.float32(0)
        for tap in range(taps.shape[1]):
            weight, moved = taps[phase, tap], recent[tap:]
            for i in range(n):
                points[i] += weight * moved[i]
        for i in range(n):
            peak = max(peak, abs(points[i]))
    return peak


@compiled
def _weigh(samples: Any, sections: Any, memory: Any) -> float:
    """Sum of squares of K-weighted samples (ITU-R BS.1770-4, Annex 1); its filters go on from ``memory``."""
    b0, b1, b2, a1, a2 = sections[0, 0], sections[0, 1], sections[0, 2], sections[0, 3], sections[0, 4]
    c0, c1, c2, d1, d2 = sections[1, 0], sections[1, 1], sections[1, 2], sections[1, 3], sections[1, 4]
    s1, s2, t1, t2 = memory[0], memory[1], memory[2], memory[3]
    total = 0.0
    for i in range(samples.shape[0]):
        x = float(samples[i])
        y = b0 * x + s1
        s1 = b1 * x - a1 * y + s2
        s2 = b2 * x - a2 * y
        z = c0 * y + t1
        t1 = c1 * y - d1 * z + t2
        t2 = c2 * y - d2 * z
        total += z * z
    memory[0], memory[1], memory[2], memory[3] = s1, s2, t1, t2
    return total


@compiled
def _mean(energies: Any, number: int, hops: int, samples: int) -> float:
    """Mean of the last hops' sums of squares, up to that of a column."""
    total = 0.0
    for hop in range(hops):
        total += energies[(number - hop) % MOMENTARY_HOPS]
    return total / (hops * samples)


@compiled
def _measure(tools: int, view: int, tap: Any, number: int, end: int, levels: Any) -> None:
    """Levels of every channel, in the hop that ends at a position of the tap."""
    recent, points = f32_vector(tools, RECENT), f32_vector(tools, POINTS)
    hop = points.shape[0]
    shared, energies, filters = (
        i64_vector(view, SHARED),
        f64_matrix(view, ENERGIES),
        f64_matrix(view, FILTERS),
    )
    sections, between = f64_matrix(tools, WEIGHTING), f32_matrix(tools, BETWEEN)
    slot = number % MOMENTARY_HOPS
    for c in range(min(METERED, tap[TAP_CHANNELS])):
        _hear(tap, c, end - recent.shape[0], recent, recent.shape[0])
        samples = recent[TAPS_EACH - 1 :]
        peak, clipped, total = np.float32(0), 0, 0.0
        for i in range(hop):
            size = abs(samples[i])
            peak = max(peak, size)
            clipped += 1 if size > np.float32(1) else 0
            total += size * size
        shared[CLIPPED + c] += clipped
        energies[2 * c, slot] = total
        energies[2 * c + 1, slot] = _weigh(samples, sections, filters[c])
        of_channel = levels[LEVELS * c :]
        of_channel[PEAK] = peak
        of_channel[TRUE_PEAK] = max(peak, _true_peak(recent, between, points))
        of_channel[SQUARE] = _mean(energies[2 * c], number, MEAN_HOPS, hop)
        of_channel[WEIGHTED] = _mean(energies[2 * c + 1], number, MOMENTARY_HOPS, hop)


@compiled
def observe(tools: int, views: Any, count: int) -> int:
    """Make the columns that are due of ``count`` views, whose tables are at ``views``; returns how many."""
    mode = flush_denormals()
    made = 0
    window, hop = f32_vector(tools, FRAME).shape[0], f32_vector(tools, POINTS).shape[0]
    for place in range(count):
        view = views[place]
        tap, following, shared = i64_vector(view, TAP), i64_vector(view, NEXT), i64_vector(view, SHARED)
        numbers, levels = i64_vector(view, NUMBERS), f32_matrix(view, COLUMN_LEVELS)
        filled = load_acquire(tap, FILLED)
        if filled < 0:
            continue
        delay = tap[DELAY]
        shared[LATENCY] = delay
        if following[0] == 0:
            following[0] = max(1, (tap[SINCE] - delay) // hop + 1)
        newest = (filled - delay) // hop
        while following[0] <= newest:
            number = following[0]
            end = number * hop + delay
            oldest = end - max(window, hop + TAPS_EACH)
            if 2 * (load_acquire(tap, FILLED) - oldest) > 2 * window + tap[SIZE] and number < newest:
                shared[SKIPPED] += newest - number
                following[0] = number = newest
                end = number * hop + delay
                oldest = end - max(window, hop + TAPS_EACH)
                f64_matrix(view, FILTERS)[:] = 0.0
                f64_matrix(view, ENERGIES)[:] = 0.0
            slot = number % COLUMNS
            store_release(numbers, slot, 0)
            fence()
            if shared[CONTROL] == 0:
                rows = uint8_at(i64_vector(view, COLUMN_ROWS)[0] + ROWS * slot, ROWS)
                _make_column(tools, tap, end, rows)
            _measure(tools, view, tap, number, end, levels[slot])
            fence()
            if load_acquire(tap, FILLED) + tap[TAP_BLOCK] - tap[SIZE] > oldest:
                shared[SKIPPED] += 1  # Overwritten while it was read.
            else:
                store_release(numbers, slot, number)
                store_release(shared, NEWEST, number)
                made += 1
            following[0] = number + 1
    restore_float_mode(mode)
    return made


@compiled
def _rest(ns: int) -> None:
    """Sleep, without the interpreter, which is dear to wait for."""
    sleep_until_ns(now_ns() + ns)


# ------------------------------------------------------------------------------------------ what control does


def weighting(rate: int) -> NDArray[np.float64]:
    """The K-weighting of ITU-R BS.1770-4, Annex 1, at any rate: float64[2, 5], b0 b1 b2 a1 a2 of two biquads.

    The standard lists them at 48 kHz; these are bilinear transforms of what they come from.
    """
    k = tan(pi * 1681.974450955533 / rate)
    q, high = 0.7071752369554196, 10.0 ** (3.999843853973347 / 20.0)
    band = high**0.4996667741545416
    scale = 1.0 + k / q + k * k
    shelf = [high + band * k / q + k * k, 2.0 * (k * k - high), high - band * k / q + k * k]
    shelf = [each / scale for each in (*shelf, 2.0 * (k * k - 1.0), 1.0 - k / q + k * k)]
    k, q = tan(pi * 38.13547087602444 / rate), 0.5003270373238773
    scale = 1.0 + k / q + k * k
    low_cut = [1.0, -2.0, 1.0, 2.0 * (k * k - 1.0) / scale, (1.0 - k / q + k * k) / scale]
    return np.array([shelf, low_cut])


def interpolation() -> NDArray[np.float32]:
    """What reads a signal between its samples: float32[PHASES - 1, TAPS_EACH], by windowed sinc."""
    places = np.arange(TAPS_EACH) - (TAPS_EACH // 2 - 1)
    shifts = np.arange(1, PHASES)[:, None] / PHASES
    away = places - shifts
    taps = np.sinc(away) * np.i0(BETA * np.sqrt(1.0 - (away / (TAPS_EACH / 2)) ** 2)) / np.i0(BETA)
    rows: NDArray[np.float32] = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    return rows


def window_of(rate: int) -> int:
    """Samples of a column's window at a rate."""
    return min(max(1 << round(log2(WINDOW * rate / 48_000)), SIZES[0]), SIZES[-1])


def _rows(rate: int, window: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Where the rows are among the bins: `ROW_PLACES` and `ROW_SHARES`."""
    bins = window // 2 + 1
    centres = frequencies(rate) * window / rate
    step = (centres[-1] / centres[0]) ** (0.5 / (ROWS - 1))
    below = np.minimum(np.floor(centres).astype(np.int64), bins - 2)
    first = np.ceil(centres / step).astype(np.int64)
    last = np.minimum(np.ceil(centres * step).astype(np.int64), bins)
    return np.array([below, first, last]), (centres - below).astype(np.float32)


def _tools(rate: int, hop: int) -> list[NDArray[Any]]:
    """The arrays that all views share."""
    window = window_of(rate)
    bins = window // 2 + 1
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(window) / window)
    shape = (2.0 / hann.sum() * hann).astype(np.float32)
    turns, split = fft_tables(window)
    places, shares = _rows(rate, window)
    empty = [np.zeros(size, np.float32) for size in (window, bins, bins, bins, hop + TAPS_EACH - 1, hop)]
    frame, re, im, power, recent, points = empty
    work = np.zeros((4, window // 2), np.float32)
    found = [frame, shape, re, im, work, turns, split, power, places, shares]
    return [*found, weighting(rate), interpolation(), recent, points]


class _Tapped:
    """A view in use: its ring, where it is in the block, and what goes on from column to column."""

    def __init__(self, place: NDArray[np.uint8], channels: int, size: int, block: int) -> None:
        self.words = place[: 8 * VIEW_WORDS].view(np.int64)
        self.ring = np.zeros((channels, size), np.float32)
        self.tap = np.zeros(TAP_WORDS, np.int64)
        self.tap[[RING, SIZE, TAP_CHANNELS]] = self.ring.ctypes.data, size, channels
        self.tap[[FILLED, TAP_BLOCK]] = -1, block
        view = place.view(VIEW)[0]
        rows = np.array([view["columns"].ctypes.data], np.int64)
        filters, energies = np.zeros((METERED, 4)), np.zeros((2 * METERED, MOMENTARY_HOPS))
        levels = view["levels"].reshape(COLUMNS, METERED * LEVELS)
        following = np.zeros(1, np.int64)
        shared = self.words[NAME_WORDS:]
        self._arrays = (self.tap, following, shared, view["numbers"], levels, rows, filters, energies)
        self.table = state_table(self._arrays)
        lock_memory([self.ring, self.tap])


class Observer:
    """Shows a host's views in the room of its counters; does nothing where there is none.

    `watch` and `keep` may be called by any thread but the callback's.

    Parameters
    ----------
    counters
        Where the run is counted.
    plan
        What is heard first.
    notes
        Where it is told, in words, what cannot be shown.
    """

    def __init__(self, counters: Counters, plan: Plan, notes: list[str]) -> None:
        self._counters, self._notes = counters, notes
        self._tapped: dict[tuple[str, int], _Tapped] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.thread: threading.Thread | None = None
        self._shows = bool(counters.room.size)
        if not self._shows:
            return
        try:
            counters.reserve(0, HEAD_BYTES)
        except UserError as error:
            self._shows = False
            notes.append(f"nothing can be looked at: {error}")
            return
        hop, window = round(HOP * plan.rate), window_of(plan.rate)
        self._size = power_of_two(round(RING_SECONDS * plan.rate) + window + 2 * plan.block)
        self._tools = _tools(plan.rate, hop)
        self._table = state_table(self._tools)
        self._tables = np.zeros(0, np.int64)
        head = counters.room.view(OBSERVED)[0]
        head["hop"], head["window"] = hop, window
        self.look()  # Compiles.
        self.watch(plan)

    def watch(self, plan: Plan) -> None:
        """Show a plan's views too, those of the same name and width in the same place, once it is heard.

        Before anything runs the plan.
        """
        if not self._shows:
            return
        sources = []
        with self._lock:
            for name, signal in plan.views.items():
                tapped = self._tapped.get((name, len(signal.buffer))) or self._show(name, signal, plan.block)
                if tapped is not None:
                    channels = addresses(signal.buffer)
                    plan.taps += [tapped.ring, tapped.tap, channels]
                    sources.append([tapped.tap.ctypes.data, channels.ctypes.data, signal.arrival])
        table = np.array(sources, np.int64)
        plan.taps.append(table)
        plan.words[TAPS], plan.words[N_TAPS] = table.ctypes.data, len(table)

    def _show(self, name: str, signal: Signal, block: int) -> _Tapped | None:
        """Give a view a place; None if there is none."""
        for number in range(VIEWS):
            begin = HEAD_BYTES + number * VIEW.itemsize
            place = self._counters.room[begin : begin + VIEW.itemsize]
            words = place[: 8 * VIEW_WORDS].view(np.int64)
            if words[0] == 0:
                try:
                    self._counters.reserve(begin, VIEW.itemsize)
                except UserError as error:
                    self._notes.append(f"{name} cannot be looked at: {error}")
                    return None
                letters = name_words(name)
                words[1:] = 0
                place.view(VIEW)[0]["numbers"][:] = 0
                tapped = _Tapped(place, len(signal.buffer), self._size, block)
                words[1:NAME_WORDS] = letters[1:]
                words[NAME_WORDS + VIEW_CHANNELS] = len(signal.buffer)
                words[NAME_WORDS + LATENCY] = signal.arrival
                words[NAME_WORDS + CONTROL] = signal.control
                write_release(words, 0, letters[0])
                self._tapped[name, len(signal.buffer)] = tapped
                self._list()
                return tapped
        self._notes.append(f"{name} cannot be looked at: there are {VIEWS} others")
        return None

    def keep(self, plan: Plan) -> None:
        """Show only a plan's views from now on. Nothing runs another plan any more."""
        with self._lock:
            wanted = {(name, len(signal.buffer)) for name, signal in plan.views.items()}
            for key in self._tapped.keys() - wanted:
                gone = self._tapped.pop(key)
                write_release(gone.words, 0, 0)
                unlock_memory([gone.ring, gone.tap])
                self._list()

    def _list(self) -> None:
        self._tables = np.array([each.table.ctypes.data for each in self._tapped.values()], np.int64)

    def look(self) -> int:
        """Make the columns that are due; returns how many."""
        with self._lock:
            return observe(self._table.ctypes.data, self._tables, len(self._tables))

    def start(self) -> None:
        """Look again and again, on a thread of its own."""
        if self._shows:
            self.thread = threading.Thread(target=self._run, name="rtaudio-observe", daemon=True)
            self.thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            _rest(LOOK)
            self.look()

    def close(self) -> None:
        """Stop looking. Only while nothing runs a plan, unless it hangs."""
        self._stop.set()
        if self.thread is not None:
            self.thread.join()
        for tapped in self._tapped.values():
            unlock_memory([tapped.ring, tapped.tap])
        self._tapped.clear()
