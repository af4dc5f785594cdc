"""Pitch of speech, by autocorrelation.

P. Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a
sampled sound", Proceedings of the Institute of Phonetic Sciences 17, Amsterdam 1993: the autocorrelation of a
windowed frame over that of the window (equation 9), some maxima of it as candidates (equations 23 and 24),
and the path through them that costs least (equations 26 and 27).
"""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

LOWEST, HIGHEST = 60.0, 450.0
"""Hz."""
RATE = 8_000
"""Hz, what is analysed has at least: periods are interpolated."""
CANDIDATES = 6
"""Of each frame, besides that there is no pitch."""
VOICED, SILENCE = 0.45, 0.03
"""Strength of a candidate that is voiced, and peak relative to the clip's below which nothing is."""
OCTAVE, JUMP, CHANGE = 0.01, 0.35, 0.14
"""Costs: of an octave downwards, of a jump by one in 10 ms, of the change between voiced and not."""


def pitch_of(x: NDArray[np.float32], rate: int, hop: int) -> NDArray[np.float32]:
    """Fundamental frequency in Hz of frames; 0 where there is none.

    Parameters
    ----------
    x
        (samples,).
    rate
        Hz.
    hop
        Samples of a frame. Frame k is centred on sample ``k hop + hop / 2``, as in `export.mel`.

    Returns
    -------
    (samples // hop,).
    """
    frames = len(x) // hop
    factor = max(1, rate // RATE)
    y = soxr.resample(x.astype(np.float32), factor, 1) if factor > 1 else x
    if not frames or not np.abs(y).max(initial=0.0):
        return np.zeros(frames, np.float32)
    frequencies, strengths = _candidates(y / np.abs(y).max(), rate / factor, frames, hop / factor)
    return _path(frequencies, strengths, hop / rate)


def _candidates(
    x: NDArray[np.float32], rate: float, frames: int, hop: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies and strengths (frames, 1 + `CANDIDATES`); the first candidate is that there is none."""
    window = round(3 * rate / LOWEST)
    size = scipy.fft.next_fast_len(2 * window, real=True)
    hann = np.hanning(window + 2)[1:-1]
    of_window = scipy.fft.irfft(np.abs(scipy.fft.rfft(hann, size)) ** 2)[: window // 2]
    of_window /= of_window[0]
    first, last = math.floor(rate / HIGHEST), math.ceil(rate / LOWEST)
    starts = np.rint((np.arange(frames) + 0.5) * hop).astype(int)
    all_windows = sliding_window_view(np.pad(x, (window // 2, window)), window)
    frequencies = np.zeros((frames, 1 + CANDIDATES))
    strengths = np.full((frames, 1 + CANDIDATES), -1.0)
    for begin in range(0, frames, 512):
        some = slice(begin, begin + 512)
        windows = all_windows[starts[some]]
        loudest = np.abs(windows).max(1)
        windows = (windows - windows.mean(1, keepdims=True)) * hann
        power = np.abs(scipy.fft.rfft(windows, size)) ** 2
        r = scipy.fft.irfft(power)[:, : window // 2] / of_window
        r = r[:, first - 1 : last + 2] / np.maximum(r[:, :1], 1e-12)
        middle, left, right = r[:, 1:-1], r[:, :-2], r[:, 2:]
        peak = (middle > left) & (middle >= right) & (middle > 0.3 * VOICED)
        curve = 2 * middle - left - right
        shift = np.where(peak, 0.5 * (right - left) / np.where(peak, curve, 1), 0)
        height = middle + 0.25 * (right - left) * shift
        frequency = rate / (first + np.arange(middle.shape[1]) + shift)
        strength = np.where(peak, np.minimum(height, 1) + OCTAVE * np.log2(frequency / LOWEST), -1.0)
        best = np.argsort(-strength, axis=1, kind="stable")[:, :CANDIDATES]
        strengths[some, 1:] = np.take_along_axis(strength, best, 1)
        frequencies[some, 1:] = np.take_along_axis(frequency, best, 1)
        strengths[some, 0] = VOICED + np.maximum(0, 2 - loudest * (1 + VOICED) / SILENCE)
    return frequencies, strengths


def _path(
    frequencies: NDArray[np.float64], strengths: NDArray[np.float64], seconds: float
) -> NDArray[np.float32]:
    """The candidates of the path that costs least, by the Viterbi algorithm; frames are ``seconds`` apart."""
    voiced = frequencies > 0
    octaves = np.log2(np.where(voiced, frequencies, 1.0))
    scale = 0.01 / seconds
    best = -strengths[0]
    before = np.zeros(strengths.shape, np.int64)
    for frame in range(1, len(strengths)):
        both = voiced[frame][:, None] & voiced[frame - 1]
        one = voiced[frame][:, None] ^ voiced[frame - 1]
        jumps = JUMP * np.abs(octaves[frame][:, None] - octaves[frame - 1])
        costs = best + scale * (both * jumps + one * CHANGE)
        before[frame] = costs.argmin(1)
        best = costs.min(1) - strengths[frame]
    found = np.zeros(len(strengths), np.float32)
    at = int(best.argmin())
    for frame in range(len(strengths) - 1, -1, -1):
        found[frame] = frequencies[frame, at]
        at = before[frame, at]
    return found
