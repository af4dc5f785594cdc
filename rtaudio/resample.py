"""Resampling inside a kernel: from the host's rate to another and back, by a whole number of samples.

A windowed sinc, `TAPS` samples of the lower rate long, is evaluated wherever an output sample lies between
those of the input (polyphase). All positions are absolute, so blocks make no difference. The way there puts
its samples where the last of a hop needs just the last of the input that is there; the way back puts its own
so that both together, with what a model between them adds, are late by a whole number of samples, the least
that is possible.

The response is flat up to 0.81 of half the lower rate (17.9 kHz between 44.1 and 48 kHz) and stops from 1.03
of it on. For a filter whose rate is well above the host's, both ways can fall off around half the host's rate
instead: what it hears mirrored above that comes back to where it belongs, so that all of the host's band can
be filtered. docs/networks.md has the figures, tests/test_resample.py holds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.native import compiled

TAPS = 48
"""Samples of the lower of two rates that an output sample is made of, or, upwards, as many input samples."""
BETA, MIDDLE = 8.0, 0.92
"""Of the Kaiser window; where the response is at -6 dB, in halves of the lower rate."""
ROLL_OFF, ALPHA = 0.25, 12.0
"""Of `edge`: half its width, in halves of the lower rate; of the Kaiser window that it is the integral of."""
LANES = 8
"""Sums that a dot product is kept in, so that it is vectorised with the same bits everywhere."""


@compiled
def mirror(ring: Any, at: int, samples: Any, n: int) -> None:
    """Write ``n`` samples at an absolute position into a ring that holds everything twice.

    Its length is twice a power of two; so any window of up to half of it lies in one piece.
    """
    size = ring.shape[0] // 2
    second = ring[size:]
    for i in range(n):
        place = (at + i) & (size - 1)
        ring[place] = samples[i]
        second[place] = samples[i]


@compiled
def polyphase(ring: Any, table: Any, starts: Any, step: int, at: int, out: Any, n: int) -> None:
    """Output samples ``at`` and the ``n - 1`` after it, of the input samples in a `mirror` ring.

    ``table`` (phases, taps), ``starts`` and ``step`` are those of a `Polyphase`; taps are a multiple of 8.
    """
    phases, taps = table.shape[0], table.shape[1]
    mask = ring.shape[0] // 2 - 1
    turn = at // phases
    phase = at - turn * phases
    for i in range(n):
        window, row = ring[(turn * step + starts[phase]) & mask :], table[phase]
        a = b = c = d = e = f = g = h = np.float32(0)
        for j in range(0, taps, 8):
            a += row[j] * window[j]
            b += row[j + 1] * window[j + 1]
            c += row[j + 2] * window[j + 2]
            d += row[j + 3] * window[j + 3]
            e += row[j + 4] * window[j + 4]
            f += row[j + 5] * window[j + 5]
            g += row[j + 6] * window[j + 6]
            h += row[j + 7] * window[j + 7]
        out[i] = ((a + e) + (c + g)) + ((b + f) + (d + h))
        phase += 1
        if phase == phases:
            phase, turn = 0, turn + 1


@dataclass(frozen=True)
class Polyphase:
    """A rate conversion: output sample i is made of input samples ``i // phases * step + starts[i % phases]``
    and those after it, with the weights ``table[i % phases]``.
    """

    table: NDArray[np.float32]
    """(phases, taps)"""
    starts: NDArray[np.int64]
    """(phases,); may be negative, before the first input sample is silence."""
    step: int

    @property
    def taps(self) -> int:
        """Input samples that an output sample is made of."""
        return int(self.table.shape[1])


@dataclass(frozen=True)
class Pair:
    """Conversions to a model's rate and back, around a model that takes hops.

    Hop k of the model can be made when ``ceil((k + 1) * hop)`` samples of the host are there.
    """

    down: Polyphase
    up: Polyphase
    latency: int
    """From the host's input to its output, in samples of the host, the model's own among them."""
    hop: Fraction
    """The model's hop in samples of the host."""
    back: Fraction
    """Where sample 0 of the output stands among the model's samples."""


def pair(
    rate: int, inner: int, hop: int, late: int = 0, blocks: bool = False, mirrored: bool = False
) -> Pair:
    """Conversions between two rates with the least latency.

    Parameters
    ----------
    rate, inner
        Rates of the host and of the model, in Hz.
    hop
        Samples that the model takes at once, at its own rate.
    late
        Latency of the model, in samples at its own rate.
    blocks
        The host's blocks are whole hops. Otherwise they are of any size, and the latency holds the wait for
        a hop.
    mirrored
        The model is a filter, such as time-frequency gains. Where its rate is 1.25 of the host's or more,
        both ways end the band by `edge`.

    Raises
    ------
    ValueError
        ``blocks``, where the hop is no whole number of the host's samples.
    """
    ratio = Fraction(rate, inner)  # samples of the host in one of the model's
    host_hop = hop * ratio
    if blocks and host_hop.denominator > 1:
        raise ValueError(f"a hop of {hop} at {inner} Hz is {float(host_hop)} samples at {rate} Hz")
    # How far the filter reaches, in samples of the host; at one rate, samples are what they are.
    reach = Fraction(1) if ratio == 1 else Fraction(TAPS, 2) * max(ratio, Fraction(1))
    # Sample m of the model stands at m * ratio + first of the host. The last that it is made of is before
    # (m + 1) * ratio, so that the last of a hop is there with the last of its input.
    first = ratio - reach
    least = late * ratio + reach - first
    if blocks:
        latency = ceil(least) - 1
    else:
        # Sample n of the host is made of those of the model before (n - latency + least) / ratio, and any of
        # hop k is there with sample ceil((k + 1) * hop) - 1 of the host.
        latency = max(
            ceil((k + 1) * host_hop) - 2 - floor(k * host_hop - least) for k in range(host_hop.denominator)
        )
    back = late - (latency + first) / ratio
    shape = _matched if mirrored and ratio * (1 + Fraction(ROLL_OFF)) <= 1 else _sharp
    return Pair(
        _design(ratio, first, reach, shape),
        _design(1 / ratio, back, reach / ratio, shape),
        latency,
        host_hop,
        back,
    )


def edge(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Amplitudes with which the band of a signal ends that `pair` has ``mirrored``.

    From 1 at 0.75 of half its rate to 0 at 1.25; the squares there and as far on the other side of 1 add up
    to 1 (J. P. Princen and A. B. Bradley, IEEE TASSP 34 (5), 1986; with the Kaiser-Bessel-derived slope).

    Parameters
    ----------
    frequency
        Of any shape, in halves of its rate, 0 or more.
    """
    window = np.kaiser(1025, ALPHA)
    rise = np.concatenate([[0.0], np.cumsum(window[1:] + window[:-1])])
    turn = (frequency - 1.0 + ROLL_OFF) / (2 * ROLL_OFF)
    found: NDArray[np.float64] = np.sqrt(1.0 - np.interp(turn, np.linspace(0, 1, len(rise)), rise / rise[-1]))
    return found


def _sharp(time: NDArray[np.float64]) -> NDArray[np.float64]:
    """A windowed sinc, at times in samples of the lower rate."""
    window = np.i0(BETA * np.sqrt(np.maximum(0.0, 1.0 - (time / (TAPS / 2)) ** 2)))
    return np.sinc(MIDDLE * time) * window


def _matched(time: NDArray[np.float64]) -> NDArray[np.float64]:
    """What has the response `edge`: its inverse Fourier transform."""
    points, weights = np.polynomial.legendre.leggauss(64)
    frequencies = 1.0 + ROLL_OFF * points
    found = (1.0 - ROLL_OFF) * np.sinc((1.0 - ROLL_OFF) * time)
    for frequency, height in zip(frequencies, ROLL_OFF * weights * edge(frequencies), strict=True):
        found += height * np.cos(np.pi * frequency * time)
    return found


def _design(
    step: Fraction, first: Fraction, reach: Fraction, shape: Callable[[NDArray[Any]], NDArray[Any]]
) -> Polyphase:
    """A conversion whose output i stands at ``i * step + first`` of the input and hears ``reach`` around,
    with the weights ``shape`` of times in samples of the lower rate.
    """
    phases = step.denominator
    taps = ceil(2 * reach / LANES) * LANES
    table, starts = np.zeros((phases, taps)), np.zeros(phases, np.int64)
    width = float(reach)
    for phase in range(phases):
        middle = phase * step + first
        starts[phase] = ceil(middle + reach) - taps  # never later than needed: what is to spare comes before
        table[phase] = np.arange(taps) - float(middle - int(starts[phase]))
    table = np.where(np.abs(table) < width, shape(TAPS / 2 / width * table), 0.0)
    table /= table.sum(axis=1, keepdims=True)
    return Polyphase(table.astype(np.float32), starts, step.numerator)
