"""Medians over time, over frequency and over any set of neighbours, vectorised across bins."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.native import compiled

NETWORK_SIZE = 17
"""Kernel size of the frequency median that has its own network, as has 9; others take insertion."""
NETWORK_ROWS = 26
"""Rows of scratch that `median_over_frequency` needs."""


@compiled
def slide_sorted_columns(columns: Any, moved: Any, leaving: Any, entering: Any) -> None:
    """Replace one value in every sorted column.

    Parameters
    ----------
    columns
        (size, bins) float32, ascending along the first axis.
    moved
        (size, bins) float32; receives the columns without ``leaving`` and with ``entering``.
    leaving
        (bins,) float32, a value of each column.
    entering
        (bins,) float32, finite.
    """
    size, bins = columns.shape
    here, above, out = columns[0], columns[1], moved[0]
    for f in range(bins):
        kept = here[f] if here[f] < leaving[f] else above[f]
        out[f] = kept if kept < entering[f] else entering[f]
    for i in range(1, size - 1):
        below, here, above, out = columns[i - 1], columns[i], columns[i + 1], moved[i]
        for f in range(bins):
            kept_below = below[f] if below[f] < leaving[f] else here[f]
            kept_here = here[f] if here[f] < leaving[f] else above[f]
            larger = kept_below if kept_below > entering[f] else entering[f]
            out[f] = kept_here if kept_here < larger else larger
    below, here, out = columns[size - 2], columns[size - 1], moved[size - 1]
    for f in range(bins):
        kept = below[f] if below[f] < leaving[f] else here[f]
        out[f] = kept if kept > entering[f] else entering[f]


@compiled
def _sort_pair(a: Any, b: Any, low: Any, high: Any, n: int) -> None:
    for f in range(n):
        x, y = a[f], b[f]
        low[f] = x if x < y else y
        high[f] = x if x > y else y


@compiled
def _narrow(a: Any, b: Any, low: Any, high: Any, n: int) -> None:
    """Raise ``low`` to the smaller of a pair and lower ``high`` to the larger."""
    for f in range(n):
        x, y = a[f], b[f]
        smaller = x if x < y else y
        larger = x if x > y else y
        low[f] = low[f] if low[f] > smaller else smaller
        high[f] = high[f] if high[f] < larger else larger


@compiled
def mirror(values: Any, padded: Any, half: int) -> None:
    """Copy ``values`` (bins,) behind ``half`` mirrored values and before as many (edge value repeated)."""
    bins = values.shape[0]
    for i in range(half):
        padded[i] = values[min(half - 1 - i, bins - 1)]
        padded[half + bins + i] = values[max(bins - 1 - i, 0)]
    for i in range(bins):
        padded[half + i] = values[i]


@compiled
def _clamp(centre: Any, low: Any, high: Any, out: Any, bins: int) -> None:
    for f in range(bins):
        value = centre[f] if centre[f] > low[f] else low[f]
        out[f] = value if value < high[f] else high[f]


@compiled
def _sort_blocks_of_4(padded: Any, rows: Any, n: int) -> None:
    """Sort ``n`` overlapping blocks of 4 by odd-even merges, into rows 2, 6, 7, 5."""
    _sort_pair(padded, padded[1:], rows[0], rows[1], n + 2)
    _sort_pair(rows[0], rows[0][2:], rows[2], rows[3], n)
    _sort_pair(rows[1], rows[1][2:], rows[4], rows[5], n)
    _sort_pair(rows[3], rows[4], rows[6], rows[7], n)


@compiled
def _median_9(padded: Any, out: Any, rows: Any, bins: int) -> None:
    """Median of 9: as `_median_17` with blocks of 4."""
    _sort_blocks_of_4(padded, rows, bins + 5)
    s0, s1, s2, s3 = rows[2], rows[6], rows[7], rows[5]
    low, high = rows[0], rows[1]
    _sort_pair(s0, s3[5:], low, high, bins)
    _narrow(s1, s2[5:], low, high, bins)
    _narrow(s2, s1[5:], low, high, bins)
    _narrow(s3, s0[5:], low, high, bins)
    _clamp(padded[4:], low, high, out, bins)


@compiled
def _median_17(padded: Any, out: Any, rows: Any, bins: int) -> None:
    """Median of 17: a window is a sorted block of 8, the centre, and the sorted block of 8 that starts 9
    later.

    Batcher's odd-even merges sort all blocks of 8 at once; each block serves two windows. The median of
    8 + 1 + 8 sorted values is the centre clamped between the largest of ``min(left[i], right[7 - i])`` and
    the smallest of ``max(left[i], right[7 - i])``.
    """
    _sort_blocks_of_4(padded, rows, bins + 13)
    n = bins + 9
    _sort_pair(rows[2], rows[2][4:], rows[8], rows[9], n)
    _sort_pair(rows[7], rows[7][4:], rows[10], rows[11], n)
    _sort_pair(rows[9], rows[10], rows[12], rows[13], n)
    _sort_pair(rows[6], rows[6][4:], rows[14], rows[15], n)
    _sort_pair(rows[5], rows[5][4:], rows[16], rows[17], n)
    _sort_pair(rows[15], rows[16], rows[18], rows[19], n)
    _sort_pair(rows[12], rows[14], rows[20], rows[21], n)
    _sort_pair(rows[13], rows[18], rows[22], rows[23], n)
    _sort_pair(rows[11], rows[19], rows[24], rows[25], n)
    s0, s1, s2, s3 = rows[8], rows[20], rows[21], rows[22]
    s4, s5, s6, s7 = rows[23], rows[24], rows[25], rows[17]
    low, high = rows[0], rows[1]
    _sort_pair(s0, s7[9:], low, high, bins)
    _narrow(s1, s6[9:], low, high, bins)
    _narrow(s2, s5[9:], low, high, bins)
    _narrow(s3, s4[9:], low, high, bins)
    _narrow(s4, s3[9:], low, high, bins)
    _narrow(s5, s2[9:], low, high, bins)
    _narrow(s6, s1[9:], low, high, bins)
    _narrow(s7, s0[9:], low, high, bins)
    _clamp(padded[8:], low, high, out, bins)


@compiled
def _median_by_insertion(padded: Any, out: Any, window: Any, size: int, bins: int) -> None:
    """Median of any odd size: a sorted window, one value out and one in per bin."""
    for i in range(size):
        place, entering = i, padded[i]
        while place > 0 and window[place - 1] > entering:
            window[place] = window[place - 1]
            place -= 1
        window[place] = entering
    out[0] = window[size // 2]
    for f in range(1, bins):
        leaving, entering = padded[f - 1], padded[f + size - 1]
        place = 0
        while window[place] != leaving:
            place += 1
        while place < size - 1 and window[place + 1] < entering:
            window[place] = window[place + 1]
            place += 1
        while place > 0 and window[place - 1] > entering:
            window[place] = window[place - 1]
            place -= 1
        window[place] = entering
        out[f] = window[size // 2]


@compiled
def median_over_frequency(values: Any, out: Any, size: int, padded: Any, rows: Any) -> None:
    """Median of ``size`` neighbouring bins, the ends mirrored as `scipy.ndimage.median_filter` does.

    Parameters
    ----------
    values, out
        (bins,) float32; ``values`` finite.
    size
        Odd.
    padded
        (bins + size - 1 or more,) float32 scratch.
    rows
        (NETWORK_ROWS, bins + 16 or more) float32 scratch.
    """
    bins = values.shape[0]
    mirror(values, padded, size // 2)
    if size == NETWORK_SIZE:
        _median_17(padded, out, rows, bins)
    elif size == 9:
        _median_9(padded, out, rows, bins)
    else:
        _median_by_insertion(padded, out, rows[0], size, bins)


def median_network(size: int) -> NDArray[np.int64]:
    """Compare-exchanges (pairs, 2) that bring the middle of ``size`` values to its place, for `sort_partly`.

    Batcher's odd-even merge sort (1968), without what the middle, or both middles, do not need.
    """
    pairs: list[tuple[int, int]] = []
    step, rounded = 1, 1 << (size - 1).bit_length()
    while step < rounded:
        merge = step
        while merge >= 1:
            for begin in range(merge % step, rounded - merge, 2 * merge):
                pairs += [
                    (i, i + merge)
                    for i in range(begin, begin + merge)
                    if i // (2 * step) == (i + merge) // (2 * step)
                ]
            merge //= 2
        step *= 2
    needed, kept = {(size - 1) // 2, size // 2}, []
    for low, high in reversed([pair for pair in pairs if pair[1] < size]):
        if low in needed or high in needed:
            needed |= {low, high}
            kept.append((low, high))
    return np.array(kept[::-1], np.int64).reshape(-1, 2)


@compiled
def sort_partly(rows: Any, network: Any, bins: int) -> None:
    """Compare and exchange rows (at least (size, bins) float32) in the order of a `median_network`."""
    for pair in range(network.shape[0]):
        low, high = rows[network[pair, 0]], rows[network[pair, 1]]
        for f in range(bins):
            x, y = low[f], high[f]
            low[f] = x if x < y else y
            high[f] = x if x > y else y


@compiled
def shift(values: Any, bins: int, offset: int, out: Any) -> None:
    """``out[f] = values[f + offset]`` for (bins,) float32, the ends mirrored; ``abs(offset) < bins``."""
    begin, end = max(0, -offset), min(bins, bins - offset)
    inner, source = out[begin:end], values[begin + offset : end + offset]
    for i in range(end - begin):
        inner[i] = source[i]
    for f in range(begin):
        out[f] = values[-1 - f - offset]
    for f in range(end, bins):
        out[f] = values[2 * bins - 1 - f - offset]


def scratch(bins: int, size: int) -> tuple[np.ndarray[Any, np.dtype[np.float32]], ...]:
    """``padded`` and ``rows`` for `median_over_frequency` and `sort_partly` of up to ``size`` values."""
    padded = np.zeros(bins + max(size, NETWORK_SIZE), np.float32)
    return padded, np.zeros((max(size, NETWORK_ROWS), bins + 32), np.float32)
