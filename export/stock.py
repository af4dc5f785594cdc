"""What processes prepare for `export.bank`, one by one: clips of speech, noises, rooms. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.levels import active_level
from export.mixing import Recipe, read_mono, simulated_room
from export.noises import NOISES
from rtaudio.files import AudioReader

LEVEL = -20.0
"""dB, active level of clips."""


def read_clip(job: tuple[Path, int]) -> tuple[NDArray[np.float16], float]:
    """A file of a path at a rate in Hz: (samples,) at `LEVEL`, and the frequency in Hz that it ends at."""
    path, rate = job
    with AudioReader(path) as reader:
        band = min(reader.rate, rate) / 2
    x = read_mono(path, rate)
    return (x * np.float32(10 ** ((LEVEL - active_level(x, rate)[0]) / 20))).astype(np.float16), band


def make_noise(job: tuple[str, int, int, int, int]) -> NDArray[np.float16]:
    """A synthetic noise: its kind, a seed, its number, how many samples, and their rate in Hz."""
    kind, seed, number, samples, rate = job
    x = NOISES[kind](np.random.default_rng([seed, number, 7]), samples, rate)
    return np.clip(x, -60_000, 60_000).astype(np.float16)


def make_room(job: tuple[int, int, int]) -> NDArray[Any]:
    """The first second of a room's response: its rate in Hz, a seed, its number."""
    rate, seed, number = job
    return simulated_room(Recipe(rate=rate), seed, number)[:rate]
