"""Look-ahead limiter with a guaranteed ceiling, for sample peaks or true peaks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rtaudio.kernel import channel, kernel, position, power_of_two, rate, ring_read, settled, value
from rtaudio.native import compiled, f32_matrix, f32_vector, f64_vector, i64_vector
from rtaudio.processor import Parameter, Processor, Value

CEILING, GAIN, RELEASE, LOOKAHEAD, TRUE_PEAK = range(5)
LATENCY, SEEN, WINDOW, FIRST, SECOND, HEAD, TAIL, FIRST_SUM, SECOND_SUM = range(9)
"""Words of the counts: total latency, samples by which a peak is known late, length of the minimum and of the
two averages, ends of the minimum's queue, sums of the two averages."""

UNIT = 1 << 36
"""A gain of 1 in the averages. Their sums are integers, hence exact: they do not drift. Two averages of 3841
samples each (20 ms at 384 kHz) stay below 2**60."""
HUGE = 1e30
"""Bound of the driven signal, so that it cannot overflow."""

POINTS, TAPS, BETA = 8, 32, 4.0
"""True peak: points per sample, taps and Kaiser window of the interpolation."""


def interpolation() -> NDArray[np.float32]:
    """Taps, (POINTS - 1, TAPS): row p reads (p + 1) / POINTS samples behind the one at tap TAPS / 2 - 1."""
    behind = np.arange(1, POINTS)[:, None] / POINTS
    distance = np.arange(TAPS) - (TAPS // 2 - 1) - behind
    taps = np.sinc(distance) * np.i0(BETA * np.sqrt(np.maximum(0.0, 1.0 - (distance / (TAPS / 2)) ** 2)))
    rows: NDArray[np.float32] = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    return rows


@compiled
def float32_below(number: float) -> np.float32:
    """The largest float32 that is not above ``number`` (positive)."""
    near = np.float32(number)
    return near if near <= number else np.float32(near * (1.0 - 2.0**-24))


@compiled
def sample_peaks(line: Any, at: int, peaks: Any, n: int) -> None:
    """Raise ``peaks`` to the magnitudes of the ``n`` samples of a ring from a position."""
    mask = line.shape[0] - 1
    for i in range(n):
        peaks[i] = max(peaks[i], abs(line[(at + i) & mask]))


@compiled
def true_peaks(line: Any, at: int, taps: Any, nearby: Any, points: Any, peaks: Any, n: int) -> None:
    """Raise ``peaks`` to the magnitudes between each of the ``n`` samples from a position and the next."""
    ring_read(line, at - (TAPS // 2 - 1), nearby, n + TAPS - 1)
    for row in range(POINTS - 1):
        for i in range(n):
            points[i] = np.float32(0)
        for tap in range(TAPS):
            weight = taps[row, tap]
            for i in range(n):
                points[i] += weight * nearby[tap + i]
        for i in range(n):
            peaks[i] = max(peaks[i], abs(points[i]))


@compiled
def sliding_minimum(number: float, at: int, least: Any, places: Any, counts: Any) -> float:
    """Minimum of the last ``counts[WINDOW]`` numbers, from a queue of those that can still become it.

    D. Lemire, "Streaming maximum-minimum filter using no more than three comparisons per element", Nordic
    Journal of Computing 13, 2006.
    """
    mask = least.shape[0] - 1
    head, tail = counts[HEAD], counts[TAIL]
    while head > tail and least[(head - 1) & mask] >= number:
        head -= 1
    least[head & mask], places[head & mask] = number, at
    head += 1
    while places[tail & mask] <= at - counts[WINDOW]:
        tail += 1
    counts[HEAD], counts[TAIL] = head, tail
    minimum: float = least[tail & mask]
    return minimum


@compiled
def average(number: int, at: int, past: Any, length: int, counts: Any, word: int) -> int:
    """Sum of the last ``length`` numbers, kept in ``counts[word]``; ``past`` is a ring of them."""
    mask = past.shape[0] - 1
    counts[word] += number - past[(at - length) & mask]
    past[at & mask] = number
    total: int = counts[word]
    return total


@compiled
def release_share(milliseconds: float, hertz: float) -> float:
    """How far the gain recovers in one sample: 1 - exp(-1 / (time constant in samples))."""
    return 1.0 - math.exp(-1e3 / (milliseconds * hertz))


@kernel
def limiter_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Limiter`."""
    lines, ceilings = f32_matrix(state, 0), f32_vector(state, 1)
    counts, envelope = i64_vector(state, 2), f64_vector(state, 3)
    least, places = f64_vector(state, 4), i64_vector(state, 5)
    first, second = i64_vector(state, 6), i64_vector(state, 7)
    gains, peaks, taps = f64_vector(state, 8), f32_vector(state, 9), f32_matrix(state, 10)
    nearby, points = f32_vector(state, 11), f32_vector(state, 12)
    at, hertz = position(context), float(rate(context))
    mask = lines.shape[1] - 1
    seen, latency = counts[SEEN], counts[LATENCY]
    true_peak = value(params, TRUE_PEAK, at) > 0.0

    for i in range(n):
        peaks[i] = np.float32(0)
        gains[i] = value(params, GAIN, at + i)
        ceilings[(at + i) & mask] = float32_below(value(params, CEILING, at + i))
    for c in range(lines.shape[0]):
        x, line = channel(inputs, c, n), lines[c]
        for i in range(n):
            line[(at + i) & mask] = np.float32(min(max(x[i] * gains[i], -HUGE), HUGE))
        sample_peaks(line, at - seen, peaks, n)
        if true_peak:
            true_peaks(line, at - seen, taps, nearby, points, peaks, n)

    still = settled(params, RELEASE, at)
    share = release_share(value(params, RELEASE, at), hertz)
    now = envelope[0]
    total = float(UNIT) * counts[FIRST] * counts[SECOND]
    for i in range(n):
        ceiling = ceilings[(at + i - seen) & mask]
        needed = float(ceiling) / peaks[i] if peaks[i] > ceiling else 1.0
        lowest = sliding_minimum(needed, at + i, least, places, counts)
        if not still:
            share = release_share(value(params, RELEASE, at + i), hertz)
        now = lowest if lowest < now else now + share * (lowest - now)
        once = average(int(now * UNIT), at + i, first, counts[FIRST], counts, FIRST_SUM)
        gains[i] = average(once, at + i, second, counts[SECOND], counts, SECOND_SUM) / total
    envelope[0] = now

    for c in range(lines.shape[0]):
        y, line = channel(outputs, c, n), lines[c]
        for i in range(n):
            place = (at + i - latency) & mask
            ceiling = ceilings[place]
            y[i] = min(max(np.float32(line[place] * gains[i]), -ceiling), ceiling)
    return 0


class Limiter(Processor):
    """Look-ahead limiter: turns down what would exceed a ceiling, early and smoothly, and nothing else.

    For every sample the gain that it needs is min(1, ceiling / peak), its peak being the largest magnitude of
    all channels, which share one gain so that the stereo image stays. The minimum of those gains over the
    look-ahead is followed down at once and up exponentially, and smoothed by two moving averages that are
    together as long as the look-ahead. All that they average is at most the needed gain, hence so is the
    outcome, and the fade is complete when the peak arrives.

    *Guarantee.* No output sample exceeds the ceiling, to the bit. While the ceiling or the gain moves, each
    sample is held to the ceiling of the moment in which it entered: automation is delayed like the sound it
    belongs to. What needs no reduction comes out to the bit as it went in.

    With ``true_peak`` the signal between the samples counts too, read at 8 points per sample through 32 taps
    each: finer than the 4 points and 12 taps of ITU-R BS.1770-4, Annex 2 [1]_. Measured at 16 points, a
    signal below 0.45 of the rate (20 kHz at 44.1 kHz) then exceeds the ceiling by 0.15 dB at most. What lies
    between there and half the rate no short interpolation sees: white noise exceeds it by 1 to 2 dB.

    ``release`` is the time constant: the time in which the reduction falls to 1/e. ``latency`` is the
    look-ahead, with ``true_peak`` 16 samples more.

    References
    ----------
    .. [1] Recommendation ITU-R BS.1770-4, "Algorithms to measure audio programme loudness and true-peak audio
       level", 2015, Annex 2.
    """

    id = "limiter"
    summary = "Look-ahead limiter with a guaranteed ceiling"
    parameters = (
        Parameter("ceiling", -0.3, -30.0, 0.0, "dB", "dB", doc="what the output never exceeds"),
        Parameter("gain", 0.0, 0.0, 24.0, "dB", "dB", doc="drive, before the limiter"),
        Parameter("release", 80.0, 1.0, 2000.0, "ms", "log", doc="time constant of the recovery"),
        Parameter("lookahead", 1.5, 0.5, 20.0, "ms", automatable=False, doc="length of the fade; latency"),
        Parameter(
            "true_peak",
            "off",
            scale="choice",
            automatable=False,
            choices=("off", "on"),
            doc="also limit what lies between the samples",
        ),
    )
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "safe": {"ceiling": -1.0, "true_peak": "on"},
        "loud": {"ceiling": -1.0, "gain": 6.0, "release": 50.0, "true_peak": "on"},
    }
    unity: ClassVar[Mapping[str, Value] | None] = {"ceiling": 0.0}
    KERNEL = limiter_kernel
    limits = True

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: rings of the driven signal, the ceiling, the minimum and the averages; scratch."""
        targets = self.targets()
        lookahead = round(targets["lookahead"] / 1e3 * self.rate)
        seen = TAPS // 2 if targets["true_peak"] > 0.0 else 0
        window = lookahead + 1
        first = lookahead // 2 + 1
        second = lookahead + 2 - first
        self.latency = lookahead + seen
        ring = power_of_two(self.latency + TAPS + self.block)
        counts = [self.latency, seen, window, first, second, 0, 0, first * UNIT, first * second * UNIT]
        return (
            np.zeros((self.channels, ring), np.float32),
            np.full(ring, float32_below(targets["ceiling"]), np.float32),
            np.array(counts, np.int64),
            np.ones(1),
            np.zeros(power_of_two(window + 1)),
            np.zeros(power_of_two(window + 1), np.int64),
            np.full(power_of_two(first + 1), UNIT, np.int64),
            np.full(power_of_two(second + 1), first * UNIT, np.int64),
            np.zeros(self.block),
            np.zeros(self.block, np.float32),
            interpolation(),
            np.zeros(self.block + TAPS - 1, np.float32),
            np.zeros(self.block, np.float32),
        )
