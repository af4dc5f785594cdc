"""Bands of frequencies: how they are chosen, moved, widened and told."""

from __future__ import annotations

from typing import NamedTuple

from gui.rulers import hertz
from rtaudio.observation import HIGHEST, LOWEST

SEMITONE = 2.0 ** (1.0 / 12.0)
"""Of two frequencies; as narrow as a band may be."""


class Band(NamedTuple):
    """Frequencies from ``low`` to ``high``, in Hz: at least a semitone, between 20 Hz and 20 kHz."""

    low: float
    high: float


def between(one: float, other: float) -> Band:
    """The band between two frequencies, in either order."""
    low = min(max(min(one, other), LOWEST), HIGHEST / SEMITONE)
    return Band(low, min(max(one, other, low * SEMITONE), HIGHEST))


def octave(middle: float) -> Band:
    """The octave around a frequency."""
    return between(middle / 2.0**0.5, middle * 2.0**0.5)


def moved(band: Band, semitones: float) -> Band:
    """A band, as wide, so much higher; at the end of what is heard it stays."""
    by = min(max(SEMITONE**semitones, LOWEST / band.low), HIGHEST / band.high)
    return between(band.low * by, band.high * by)


def widened(band: Band, semitones: float) -> Band:
    """A band whose edges are both moved outwards by so much."""
    by = max(SEMITONE**semitones, (SEMITONE * band.low / band.high) ** 0.5)
    return between(band.low / by, band.high * by)


def told(band: Band) -> str:
    """The edges, as ``"440 Hz to 1.2 kHz"``."""
    return " to ".join(map(hertz, band))
