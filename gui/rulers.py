"""What is written at the edges of a picture of sound: frequencies, notes, times."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rtaudio.observation import ROWS, frequencies

MARKS = (100, 1000, 10_000, 50, 500, 5000, 20, 200, 2000, 20_000, 30, 300, 3000, 70, 700, 7000)
"""Hz with a label, if there is room; those before others."""
STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between two labels."""
NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
SPACE = 56.0
"""Pixels between two labels of time, at least."""


@lru_cache
def row_frequencies(rate: int) -> NDArray[np.float64]:
    """Hz of every row at a rate."""
    return frequencies(rate)


def note(frequency: float) -> str:
    """The nearest note of equal temperament with A4 = 440 Hz, and how far off, as in ``"D#6 -6 ct"``."""
    pitch = 69.0 + 12.0 * float(np.log2(frequency / 440.0))
    nearest = round(pitch)
    return f"{NOTES[nearest % 12]}{nearest // 12 - 1} {round(100 * (pitch - nearest)):+d} ct"


def hertz(frequency: float) -> str:
    """A frequency of three digits with its unit."""
    return f"{frequency:.0f} Hz" if frequency < 999.5 else f"{frequency / 1e3:.3g} kHz"


def height_of(frequency: float, rate: int) -> float:
    """How far up a frequency lies in a picture of all rows: from 0 to 1."""
    rows = row_frequencies(rate)
    row = (ROWS - 1) * np.log(frequency / rows[0]) / np.log(rows[-1] / rows[0])
    return float((row + 0.5) / ROWS)


def frequency_at(height: float, rate: int) -> float:
    """Hz that lies so far up, from 0 to 1: the inverse of `height_of`, held to what the picture has."""
    rows = row_frequencies(rate)
    share = min(max((height * ROWS - 0.5) / (ROWS - 1), 0.0), 1.0)
    return float(rows[0] * (rows[-1] / rows[0]) ** share)


def frequency_labels(rate: int, height: float, apart: float) -> list[tuple[int, float]]:
    """Hz and distance from the top of the labels that a ruler has room for, ``apart`` pixels or more."""
    found: list[tuple[int, float]] = []
    for hz in MARKS:
        share = height_of(hz, rate)
        y = height * (1.0 - share)
        if 0.0 <= share <= 1.0 and all(abs(y - other) >= apart for _, other in found):
            found.append((hz, y))
    return found


def time_labels(width: float, second: float) -> list[tuple[float, str]]:
    """Seconds before the right edge, and the text, of the labels below; a second is so many pixels."""
    step = next((each for each in STEPS if each * second >= SPACE), STEPS[-1])
    count = int(width / (step * second))
    return [(number * step, f"-{number * step:g} s" if number else "0 s") for number in range(count + 1)]
