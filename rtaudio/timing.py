"""Durations in histograms: eight bins to an octave, see `rtaudio.counters`."""

from __future__ import annotations

from rtaudio.counters import BINS_PER_OCTAVE, TIME_BINS
from rtaudio.native import compiled, int64_at


@compiled
def time_bin(ns: int) -> int:
    """Bin of a duration, eight to an octave: the leading bit and the three after it."""
    ns = max(ns, 8)
    exponent = 3
    while ns >> (exponent + 1):
        exponent += 1
    return exponent * BINS_PER_OCTAVE + ((ns >> (exponent - 3)) & 7)


@compiled
def count_time(counters: int, times: int, longest: int, ns: int) -> None:
    """Add a duration to the histogram at word ``times`` of the words at ``counters``."""
    words = int64_at(counters, times + TIME_BINS)
    words[times + time_bin(ns)] += 1
    words[longest] = max(words[longest], ns)
