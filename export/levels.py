"""Levels of signals: RMS, and the active speech level of ITU-T Recommendation P.56 (12/2011), method B."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d
from scipy.signal import lfilter

TIME_CONSTANT = 0.03
"""Seconds. T of P.56, clause 8.3: of each of the two stages that smooth the envelope."""
HANGOVER = 0.2
"""Seconds. H of P.56, clause 8.3: speech counts as active for so long after the envelope fell."""
MARGIN = 15.9
"""dB. M of P.56, clause 8.3: how far the threshold that speech has to pass lies below the active level."""


def level(x: NDArray[Any]) -> float:
    """The RMS level of a signal (samples,) in dB re RMS 1.0; ``-inf`` for silence, ``nan`` if not finite."""
    energy = float(np.mean(np.square(x, dtype=np.float64)))
    return 10.0 * math.log10(energy) if energy > 0 else -math.inf if energy == 0 else math.nan


def active_level(x: NDArray[Any], rate: int) -> tuple[float, float]:
    """The level of speech while it is active: ITU-T P.56 (12/2011), clause 8, method B.

    The rectified signal is smoothed twice to an envelope (8.2: g = exp(-1 / (rate T)), p = g p + (1 - g) |x|,
    q = g q + (1 - g) p). For each threshold c_j, the samples at which the envelope has reached it now or
    within the hangover are counted, a_j. The energy of the signal spread over a_j samples is the level A_j.
    A_j - c_j falls as the threshold rises; the active level is A where it is the margin M, which is found by
    linear interpolation in dB between the two thresholds around it.

    Thresholds are the powers of two (8.2: at ratios of 2), of full scale 1.0 as is usual, but without a
    lowest or highest, so that quiet recordings have a level too. Nothing is filtered first: the filter of
    clause 10.2 is for a voltmeter on a line.

    Parameters
    ----------
    x
        (samples,), finite.
    rate
        Hz.

    Returns
    -------
    level
        dB re RMS 1.0; ``-inf`` for silence. Where no threshold that is reached comes as close as the margin,
        which takes a click in silence, that of the highest one.
    activity
        The activity factor, 0 to 1 (8.2: the long-term level is the active level times this).
    """
    energy = float(np.sum(np.square(x, dtype=np.float64)))
    if energy == 0.0:
        return -math.inf, 0.0
    g = math.exp(-1.0 / (rate * TIME_CONSTANT))
    envelope = lfilter([(1.0 - g) ** 2], [1.0, -2.0 * g, g * g], np.abs(x, dtype=np.float64))
    hangover = math.ceil(HANGOVER * rate)
    # A sample is active at a threshold that the envelope reached at most `hangover` samples ago.
    held = maximum_filter1d(envelope, hangover + 1, origin=hangover // 2, mode="constant")
    exponents = np.frexp(held[held > 0])[1] - 1
    lowest = int(exponents.min())
    active = np.cumsum(np.bincount(exponents - lowest)[::-1])[::-1]
    levels = 10.0 * np.log10(energy / active)
    thresholds = 20.0 * math.log10(2.0) * (lowest + np.arange(len(active)))
    below = levels - thresholds
    # Not 0 where there is one: the envelope starts from nothing, so that the first threshold is far below.
    j = int(np.argmax(below <= MARGIN))
    if j:
        part = (below[j - 1] - MARGIN) / (below[j - 1] - below[j])
        found = float(levels[j - 1] + part * (levels[j] - levels[j - 1]))
    else:
        found = float(levels[-1])
    return found, energy / len(x) / 10.0 ** (found / 10.0)
