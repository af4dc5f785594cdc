"""Howl protection: finds acoustic feedback between loudspeaker and microphone, and notches it out.

The criteria (PNPR, PHPR, PAPR, IMSD) are those of T. van Waterschoot and M. Moonen, "Fifty years of acoustic
feedback control: state of the art and future challenges", Proc. IEEE 99(2), 2011, for notch-filter-based
howling suppression; here they are combined with how straight the growth is, and with what a notch does to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rtaudio.kernel import channel, kernel, position, rate, value
from rtaudio.native import compiled, f32_matrix, f32_vector, f64_matrix, f64_vector, i64_vector
from rtaudio.processor import Parameter, Processor, Value
from rtaudio.stft import SIZES, fft_tables, real_fft

SENSITIVITY, NOTCHES, DEPTH, RELEASE, CUT = range(5)

# State arrays.
(
    WINDOW,  # (n_fft,): Hann, scaled so that a sine of amplitude 1 has level 0 dB
    TURNS,
    SPLIT,
    WORK,
    FRAME,  # (n_fft,)
    SPECTRUM,  # (2, bins)
    HISTORY,  # (channels, 2 * n_fft): every sample twice, so that any window of it is one view
    POWER,  # (bins,): of the newest frame, summed over the channels
    LEVELS,  # (KEPT, bins): the same in dB, of the last frames
    TOTAL,  # (KEPT,): the mean over the bins in dB, of the last frames
    SERIES,  # (KEPT,)
    STEADY,  # (2 * bins,): frame in which a tone was last pure in a bin, and the one since which it is
    NOTCH,  # (MOST, NOTCH_WORDS)
    MEMORY,  # (MOST, 2 * channels)
    BROAD,  # (BROAD_WORDS,)
) = range(15)

(
    STATE,
    BIN,  # centre, in bins
    WIDTH,  # bandwidth, in bins
    TARGET,  # gain at the centre that the notch moves to
    NOW,  # gain at the centre at present
    A1,
    A2,
    A3,
    K,
    LEVEL,  # of the tone, in dB, when the notch was last deepened
    STEPPED,  # frame in which it was last deepened
    HEARD,  # frame in which there was last a reason for it
    NOTCH_WORDS,
) = range(13)
FREE, HOLDING, OUTSIDE = range(3)
"""States of a notch. OUTSIDE: the tone did not care for it, so it comes from outside and is let be."""

(
    GAIN,  # of all frequencies, at present
    AIM,  # what it moves to
    HOLD,  # frame until which it does not recover
    CUT_AT,  # frame in which it was last cut
    PEAK,  # loudest mean over the bins so far, in dB, slowly forgotten
    BROAD_WORDS,
) = range(6)

# Analysis.
MOST = 24
"""Notches."""
KEPT = 40
"""Frames of levels."""
WINDOW_SECONDS, OVERLAP = 0.04, 4
"""Least length of a frame, and frames that a sample is in."""
LOWEST, HIGHEST = 100.0, 16_000.0
"""Hz."""
SILENT = -75.0
"""dBFS below which nothing is a howl."""
LOUDEST = np.float32(1e12)
"""Analysis takes samples beyond this for silence, so that sums stay finite."""

# A tone that grows.
PNPR, PHPR, PAPR = 15.0, 15.0, 12.0
"""dB by which a howl stands out from its neighbours, from its harmonics, and from the mean of the bins."""
SPANS, RISES, DEVIATIONS = (8, 16, 40), (15.0, 6.0, 5.0), (0.05, 0.1, 0.1)
"""Frames, least rise in dB over them, and largest deviation from a straight line, relative to the rise."""
WANDER = 0.1
"""Largest standard deviation of its frequency, in bins."""
CROWDED, STRAIGHT = 6.0, 0.3
"""Howls next to each other, or at twice the frequency of another, fail PNPR or PHPR: such a tone needs this
PNPR only, but its deviation must be smaller by this factor."""

# A tone that persists, over KEPT frames and longer.
PURE_RISE, PURE_DEVIATION, PURE_WANDER, PURE_PAPR = 5.0, 0.3, 0.05, 22.0
"""Largest rise and deviation in dB and wander in bins; least PAPR."""
BEAT_RISES, BEAT_DEVIATION, BEAT_WANDER, BEAT_ABOVE = (3.0, 20.0), 0.3, 0.3, 30.0
"""Two howls in one bin beat: rise in dB, largest deviation relative to it, wander; least PNPR and PHPR."""
PATIENT, GAP = 50, 30
"""Frames that a tone persists; ones in between in which it may not."""

# Notches.
SHARPNESS, NARROWEST = 10.0, 20.0
"""Q, and least bandwidth in Hz."""
NEAR = 0.4
"""A howl belongs to a notch that is nearer than so many bandwidths."""
STEP, FALL, WAIT = 6.0, 3.0, 6
"""A notch goes down by so many dB, again if the tone has not fallen by so many dB in so many frames."""
ROUND_TRIP = 0.07
"""Seconds. What grows by more dB than a step in this time is turned down by as many at once."""
UNMOVED, LIMITED, VERDICT = 0.5, -10.0, 18
"""A tone that changes by fewer dB in so many frames comes from outside; above that level, in dBFS, where
something may limit a howl, only if the notch is at its deepest."""
OPENING = 60.0
"""dB per second in which a notch opens whose tone comes from outside."""
GLIDE = 0.004
"""Time constant, in seconds, of every gain."""

# The broadband cut.
OVERLOAD, AFTER_OVERLOAD = 2.0, 0.25
"""Amplitudes: +6 dBFS, which the output never exceeds, and what it is cut to when it would."""
RUNAWAY_SPAN, RUNAWAY_RISE, RUNAWAY_DEVIATION = 12, 12.0, 0.03
"""Frames, least rise in dB and largest relative deviation of a sound that runs away as a whole,"""
RUNAWAY_LEVEL, FORGET = -70.0, 2.0
"""having become louder than this mean over the bins, in dB, and than before, forgotten by so many dB/s."""
CUT_STEP, CUT_WAIT = 3.0, 12
"""dB of a cut where no notch helps, and frames between cuts."""
AT_ONCE, AT_ONCE_FRAMES = 4, 24
"""So many notches that were deepened in so many frames mean such a cut too."""
AFTERMATH = 2.0
"""Seconds after a cut in which a tone that falls slowly is still a howl,"""
FALLING = -10.0
"""if it falls by fewer dB in KEPT frames."""
RECOVERY = 3.0
"""dB per second in which the gain recovers."""


@compiled
def tone_level(levels: Any, frame: int, k: int) -> float:
    """Level of the highest bin around ``k`` in a frame."""
    row = levels[frame % KEPT]
    highest: float = max(row[k - 1], row[k], row[k + 1])
    return highest


@compiled
def offset_of_peak(row: Any, k: int) -> float:
    """How far the peak at bin ``k`` lies beside it, in bins: vertex of the parabola through three levels."""
    curvature = row[k - 1] - 2.0 * row[k] + row[k + 1]
    offset: float = min(max(0.5 * (row[k - 1] - row[k + 1]) / min(curvature, -1e-3), -2.0), 2.0)
    return offset


@compiled
def prominence(power: Any, k: int) -> float:
    """Peak-to-neighbour power ratio (PNPR) in dB: beyond the main lobe, 4 to 7 bins away."""
    near = 1e-20
    for distance in range(4, 8):
        near += power[max(k - distance, 0)] + power[min(k + distance, power.shape[0] - 1)]
    ratio: float = 10.0 * math.log10((power[k] + 1e-20) / (near / 8.0))
    return ratio


@compiled
def above_harmonics(row: Any, k: int) -> float:
    """Peak-to-harmonic power ratio (PHPR) in dB: to twice, three times and half the frequency."""
    highest = -300.0
    for place in (2 * k, 3 * k, (k + 1) // 2):
        if place < row.shape[0] - 2:
            for j in range(place - 1, place + 2):
                highest = max(highest, row[j])
    ratio: float = row[k] - highest
    return ratio


@compiled
def line(series: Any, span: int) -> tuple[float, float]:
    """Straight line through the first ``span`` levels: its rise, and the RMS deviation from it, in dB.

    The inter-frame magnitude slope deviation (IMSD), as a regression.
    """
    middle = 0.5 * (span - 1)
    total, slope, square = 0.0, 0.0, 0.0
    for q in range(span):
        total += series[q]
        slope += (q - middle) * series[q]
        square += series[q] * series[q]
    spread = span * (span * span - 1) / 12.0
    rest = square - total * total / span - slope * slope / spread
    return slope / spread * span, math.sqrt(max(rest, 0.0) / span)


@compiled
def growth(levels: Any, series: Any, frame: int, k: int, span: int) -> tuple[float, float]:
    """Rise of a tone over the last frames and its deviation, as `line` has them."""
    for q in range(span):
        series[q] = tone_level(levels, frame - span + 1 + q, k)
    return line(series, span)


@compiled
def wander(levels: Any, frame: int, k: int, span: int) -> float:
    """Standard deviation of a tone's frequency over the last frames, in bins."""
    total, square = 0.0, 0.0
    for q in range(span):
        offset = offset_of_peak(levels[(frame - q) % KEPT], k)
        total += offset
        square += offset * offset
    return math.sqrt(max(square / span - (total / span) ** 2, 0.0))


@compiled
def grows(levels: Any, series: Any, frame: int, k: int, strictness: float) -> float:
    """Growth in dB per frame of a tone that grows as feedback does: exponentially, at one frequency; or 0."""
    for which in range(3):
        span, least = SPANS[which], RISES[which]
        if tone_level(levels, frame, k) - tone_level(levels, frame - span + 1, k) > 0.7 * least:
            rise, deviation = growth(levels, series, frame, k, span)
            straight = rise > least and deviation < strictness * DEVIATIONS[which] * rise
            if straight and wander(levels, frame, k, span) < WANDER:
                return rise / span
    return 0.0


@compiled
def persists(
    steady: Any, levels: Any, series: Any, frame: int, k: int, strictness: float, least: float, beats: bool
) -> bool:
    """Whether a tone has been as pure as feedback for long; it need not be so long if it rises.

    Parameters
    ----------
    strictness
        Factor of the largest deviation.
    least
        Rise in dB that it must have.
    beats
        Whether it stands out so far that it may be two howls.
    """
    rise, deviation = growth(levels, series, frame, k, KEPT)
    pure = least < rise < PURE_RISE and deviation < strictness * PURE_DEVIATION
    beating = beats and BEAT_RISES[0] < rise < BEAT_RISES[1] and deviation < BEAT_DEVIATION * rise
    if not pure and not beating:
        return False
    if wander(levels, frame, k, KEPT) > (BEAT_WANDER if beating else PURE_WANDER):
        return False
    bins = steady.shape[0] // 2
    since = frame
    for j in range(k - 1, k + 2):
        if steady[j] >= frame - GAP:
            since = min(since, steady[bins + j])
    steady[k], steady[bins + k] = frame, since
    if least == FALLING:
        return True
    return frame - since >= PATIENT * min(2.0, max(0.2, 1.5 - 0.5 * rise))


@compiled
def deepen(notch: Any, level: float, frame: int, by: float, floor: float) -> None:
    """Take a notch down by some dB."""
    notch[STATE] = HOLDING
    notch[TARGET] = max(notch[TARGET] * 10.0 ** (-by / 20.0), floor)
    notch[LEVEL], notch[STEPPED], notch[HEARD] = level, frame, frame


@compiled
def cut(broad: Any, by: float, frame: int, pace: float, hold: float, floor: float) -> None:
    """Lower the gain of all frequencies by some dB.

    It holds for ``hold`` seconds; for one, if it has only just been lowered.
    """
    since = frame - broad[CUT_AT]
    broad[HOLD] = max(broad[HOLD], frame + (hold if since > pace else 1.0) * pace)
    if since >= CUT_WAIT:
        broad[AIM] = max(broad[AIM] * 10.0 ** (-by / 20.0), floor)
        broad[CUT_AT] = frame


@compiled
def set_notch(
    state: int, centre: float, level: float, by: float, frame: int, hertz: float, count: int, floor: float
) -> bool:
    """Deepen the notch at a frequency (in bins) by some dB, or set one; False if there is none left."""
    notches, memory = f64_matrix(state, NOTCH), f64_matrix(state, MEMORY)
    n_fft = f32_vector(state, WINDOW).shape[0]
    for number in range(MOST):
        notch = notches[number]
        if notch[STATE] != FREE and abs(notch[BIN] - centre) <= NEAR * notch[WIDTH]:
            if notch[STATE] == OUTSIDE:
                if level < notch[LEVEL] + 10.0:
                    notch[HEARD] = frame
                    return True
            elif frame - notch[STEPPED] <= VERDICT:
                return True
            deepen(notch, level, frame, by, floor)
            return True
    for number in range(count):
        notch = notches[number]
        if notch[STATE] == FREE and notch[NOW] == 1.0:
            frequency = centre * hertz / n_fft
            bandwidth = max(frequency / SHARPNESS, NARROWEST)
            g = math.tan(math.pi * min(frequency / hertz, 0.49))
            notch[BIN], notch[WIDTH] = centre, bandwidth * n_fft / hertz
            notch[K] = bandwidth / frequency
            notch[A1] = 1.0 / (1.0 + g * (g + notch[K]))
            notch[A2] = g * notch[A1]
            notch[A3] = g * notch[A2]
            notch[TARGET] = 1.0
            for word in range(memory.shape[1]):
                memory[number, word] = 0.0
            deepen(notch, level, frame, by, floor)
            return True
    return False


@compiled
def tend(state: int, frame: int, pace: float, release: float, floor: float, cut_floor: float) -> None:
    """Deepen the notches whose howl goes on, and open those that are not needed any more.

    ``pace`` is the number of frames in a second.
    """
    notches, broad = f64_matrix(state, NOTCH), f64_vector(state, BROAD)
    levels, power, series = f32_matrix(state, LEVELS), f32_vector(state, POWER), f64_vector(state, SERIES)
    fresh = 0
    for number in range(MOST):
        notch = notches[number]
        if notch[STATE] == FREE:
            continue
        k = int(notch[BIN] + 0.5)
        level, waited = tone_level(levels, frame, k), frame - notch[STEPPED]
        holding = notch[STATE] == HOLDING
        if holding and waited < AT_ONCE_FRAMES:
            fresh += 1
        if holding and (waited in (WAIT, VERDICT)) and level > SILENT:
            risen = level - notch[LEVEL]
            rise, deviation = growth(levels, series, frame, k, WAIT)
            unmoved = max(abs(risen), abs(rise), deviation) < UNMOVED
            deepest = notch[TARGET] <= floor
            if unmoved and (deepest or level < LIMITED):
                if waited == VERDICT:
                    notch[STATE], notch[LEVEL], notch[HEARD] = OUTSIDE, level, frame
            elif risen > -FALL and prominence(power, k) > CROWDED:
                if not deepest:
                    deepen(notch, level, frame, STEP, floor)
                elif risen > FALL and level > LIMITED:
                    cut(broad, CUT_STEP, frame, pace, release, cut_floor)
                    deepen(notch, level, frame, STEP, floor)
        if notch[STATE] == OUTSIDE:
            if level > notch[LEVEL] - 10.0:
                notch[HEARD] = frame
            notch[TARGET] = min(1.0, notch[TARGET] * 10.0 ** (OPENING / 20.0 / pace))
            if frame - notch[HEARD] > pace:
                notch[STATE] = FREE
        elif frame - notch[HEARD] > release * pace:
            notch[TARGET] = min(1.0, notch[TARGET] * 10.0 ** (18.0 / 20.0 / (release * pace)))
            if notch[TARGET] == 1.0:
                notch[STATE] = FREE
    if fresh >= AT_ONCE:
        cut(broad, CUT_STEP, frame, pace, 1.0, cut_floor)
    if frame >= broad[HOLD]:
        broad[AIM] = min(1.0, broad[AIM] * 10.0 ** (RECOVERY / 20.0 / pace))


@compiled
def analyse(state: int, at: int, frame: int) -> float:
    """Levels of the frame that ends before a position; returns the mean over the bins in dB."""
    history, spectrum = f32_matrix(state, HISTORY), f32_matrix(state, SPECTRUM)
    windowed, window = f32_vector(state, FRAME), f32_vector(state, WINDOW)
    power, row = f32_vector(state, POWER), f32_matrix(state, LEVELS)[frame % KEPT]
    work, turns, split = f32_matrix(state, WORK), f32_matrix(state, TURNS), f32_matrix(state, SPLIT)
    n_fft = window.shape[0]
    begin = at & (n_fft - 1)
    for k in range(power.shape[0]):
        power[k] = np.float32(0)
    re, im = spectrum[0], spectrum[1]
    for c in range(history.shape[0]):
        past = history[c, begin : begin + n_fft]
        for i in range(n_fft):
            windowed[i] = past[i] * window[i] if abs(past[i]) <= LOUDEST else np.float32(0)
        real_fft(windowed, re, im, work, turns, split)
        for k in range(power.shape[0]):
            power[k] += re[k] * re[k] + im[k] * im[k]
    total = 0.0
    for k in range(power.shape[0]):
        total += power[k]
        row[k] = np.float32(10.0 * math.log10(power[k] + 1e-20))
    mean: float = 10.0 * math.log10(total / power.shape[0] + 1e-20)
    f64_vector(state, TOTAL)[frame % KEPT] = mean
    return mean


@compiled
def runs_away(state: int, frame: int, pace: float, mean: float) -> float:
    """Growth in dB per frame of the sound as a whole, if exponential and leading beyond what was; or 0."""
    total, series, broad = f64_vector(state, TOTAL), f64_vector(state, SERIES), f64_vector(state, BROAD)
    for q in range(RUNAWAY_SPAN):
        series[q] = total[(frame - RUNAWAY_SPAN + 1 + q) % KEPT]
    rise, deviation = line(series, RUNAWAY_SPAN)
    louder = mean > max(broad[PEAK], RUNAWAY_LEVEL)
    broad[PEAK] = max(mean, broad[PEAK] - FORGET / pace)
    if louder and rise > RUNAWAY_RISE and deviation < RUNAWAY_DEVIATION * rise:
        return rise / RUNAWAY_SPAN
    return 0.0


@compiled
def detect(state: int, frame: int, params: int, at: int, hertz: float) -> None:
    """Look for howls in the frame that ends before a position, and act."""
    levels, power, steady = f32_matrix(state, LEVELS), f32_vector(state, POWER), i64_vector(state, STEADY)
    broad, series = f64_vector(state, BROAD), f64_vector(state, SERIES)
    n_fft = f32_vector(state, WINDOW).shape[0]
    pace = hertz * OVERLAP / n_fft
    ease, count = value(params, SENSITIVITY, at), int(value(params, NOTCHES, at))
    floor, cut_floor = value(params, DEPTH, at), value(params, CUT, at)
    release = value(params, RELEASE, at)
    mean = analyse(state, at, frame)
    row = levels[frame % KEPT]
    first = max(2, int(LOWEST * n_fft / hertz))
    last = min(int(HIGHEST * n_fft / hertz), int(0.45 * n_fft))
    for k in range(first, last):
        if row[k] < max(mean + PAPR, SILENT) - ease or row[k] <= row[k - 1] or row[k] < row[k + 1]:
            continue
        apart = prominence(power, k)
        if apart < CROWDED - ease:
            continue
        above = above_harmonics(row, k)
        strictness = 1.0 if apart > PNPR - ease and above > PHPR - ease else STRAIGHT
        growing = grows(levels, series, frame, k, strictness)
        howls = growing > 0.0
        if not howls and row[k] > mean + PURE_PAPR - ease:
            least = -1.0 if above > PHPR - ease or row[k] > -3.0 else 1.0
            if frame - broad[CUT_AT] < AFTERMATH * pace:
                least = FALLING
            beats = min(apart, above) > BEAT_ABOVE
            howls = persists(steady, levels, series, frame, k, strictness, least, beats)
        if howls:
            broad[HOLD] = max(broad[HOLD], frame + pace)
            by = max(STEP, growing * pace * ROUND_TRIP)
            if not set_notch(state, k + offset_of_peak(row, k), row[k], by, frame, hertz, count, floor):
                cut(broad, CUT_STEP, frame, pace, release, cut_floor)
    running = runs_away(state, frame, pace, mean)
    if running > 0.0:
        cut(broad, max(STEP, running * pace * ROUND_TRIP), frame, pace, 1.0, cut_floor)
    tend(state, frame, pace, release, floor, cut_floor)


@compiled
def filter_through(notch: Any, memory: Any, y: Any, share: float) -> float:
    """Filter a channel in place; returns the notch's gain after it.

    A band-pass as state-variable filter (A. Simper, "Linear trapezoidal state variable filter", 2013) is
    subtracted. Its memory does not depend on how deep the notch is, so that this can move freely.
    """
    a1, a2, a3, k = notch[A1], notch[A2], notch[A3], notch[K]
    now, target = notch[NOW], notch[TARGET]
    s1, s2 = memory[0], memory[1]
    for i in range(y.shape[0]):
        now += share * (target - now)
        if abs(now - target) < 1e-5:
            now = target
        v3 = y[i] - s2
        v1 = a1 * s1 + a2 * v3
        v2 = s2 + a2 * s1 + a3 * v3
        s1, s2 = 2.0 * v1 - s1, 2.0 * v2 - s2
        y[i] = np.float32(y[i] - (1.0 - now) * k * v1)
    memory[0], memory[1] = s1, s2
    after: float = now
    return after


@compiled
def hold_down(
    state: int, outputs: int, begin: int, end: int, n: int, params: int, context: int, share: float
) -> None:
    """The gain of all frequencies, cut at once where the output would exceed `OVERLOAD`."""
    broad, channels = f64_vector(state, BROAD), f32_matrix(state, HISTORY).shape[0]
    hop, at = f32_vector(state, WINDOW).shape[0] // OVERLAP, position(context)
    gain, target = broad[GAIN], broad[AIM]
    for i in range(begin, end):
        peak = np.float32(0)
        for c in range(channels):
            peak = max(peak, abs(channel(outputs, c, n)[i]))
        if peak * gain > OVERLOAD and value(params, CUT, at + i) < 1.0:
            target = max(min(target, AFTER_OVERLOAD / peak), value(params, CUT, at + i))
            gain = min(gain, OVERLOAD / peak)
            broad[HOLD] = max(broad[HOLD], (at + i) // hop + rate(context) / hop)
        if gain == 1.0 and target == 1.0:
            continue
        gain += share * (target - gain)
        if abs(gain - target) < 1e-6:
            gain = target
        for c in range(channels):
            y = channel(outputs, c, n)
            y[i] = np.float32(min(max(y[i] * gain, -OVERLOAD), OVERLOAD))
    broad[GAIN], broad[AIM] = gain, target


@kernel
def howl_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Howl`."""
    history, notches = f32_matrix(state, HISTORY), f64_matrix(state, NOTCH)
    memory = f64_matrix(state, MEMORY)
    n_fft = history.shape[1] // 2
    hop, hertz = n_fft // OVERLAP, float(rate(context))
    share = 1.0 - math.exp(-1.0 / (GLIDE * hertz))
    begin = 0
    while begin < n:
        at = position(context) + begin
        end = min(n, begin + hop - at % hop)
        for c in range(history.shape[0]):
            x, y, past = channel(inputs, c, n)[begin:end], channel(outputs, c, n)[begin:end], history[c]
            place = at & (n_fft - 1)
            once, again = past[place:], past[place + n_fft :]
            for i in range(x.shape[0]):
                once[i] = again[i] = y[i] = x[i]
        for number in range(MOST):
            notch = notches[number]
            if notch[STATE] != FREE or notch[NOW] != 1.0:
                now = notch[NOW]
                for c in range(history.shape[0]):
                    y = channel(outputs, c, n)[begin:end]
                    now = filter_through(notch, memory[number, 2 * c : 2 * c + 2], y, share)
                notch[NOW] = now
        hold_down(state, outputs, begin, end, n, params, context, share)
        at += end - begin
        if at % hop == 0:
            detect(state, at // hop, params, at, hertz)
        begin = end
    return 0


class Howl(Processor):
    """Acoustic feedback protection, for the end of a chain from a microphone to a loudspeaker.

    A detector beside the signal looks at frames of 43 ms (at 48 kHz), a quarter apart, of the power of all
    channels; notches and a gain, the same for all channels, act on the signal, which is not delayed. While
    no notch is set, the output is the input to the bit.

    *A howl* is a peak (PNPR, PHPR, PAPR) that rises in a straight line of dB at one frequency, over 85, 170
    or 430 ms; or one that has been pure for longer, as is feedback that hardly grows, or that something
    limits. Such a tone may as well be played: on a notch it tells, for feedback falls and what comes from
    outside does not. Then the notch opens at once, and the tone is let be while it lasts. So a steady sine
    is notched by 6 dB for a fraction of a second (if louder than -10 dBFS, to the full depth), 1 to 2 s
    after it begins; what has vibrato, glides, decays, or has harmonics and does not rise, is not. A tone
    without harmonics that swells evenly for 0.4 s is taken for a howl.

    *Notches* go down by 6 dB at a time, or by as much as the howl grows in 70 ms, until it falls.
    ``release`` seconds after the last howl near it a notch opens, by 18 dB in the same time again.

    *The broadband cut* is for what notches do not hold: none is left, many are set at once, the sound as a
    whole runs away, or it would exceed +6 dBFS, which no output sample does. It recovers by 3 dB/s.

    Measured (``benchmarks/howl.py``) in 24 rooms whose loop nothing else bounds, at 48 kHz in blocks of
    128: by dB above the limit of stability, the time from a howl as loud as speech to 20 dB less, after 50
    ms of noise (0: it was never so loud); with speech, the time that is 3 dB louder than the loudest of the
    speech, in 15 s; and the gain above the limit that is held at the end.

    | above the limit | to -20 dB: median, 90 %, most | too loud: median, most | held: median |
    | --- | --- | --- | --- |
    | 1 dB | 0, 0, 0 s | 0, 1.7 s | 1.0 dB |
    | 4 dB | 0, 0, 0 s | 0.3, 2.6 s | 4.0 dB |
    | 6 dB | 0, 0.10, 0.26 s | 0.3, 3.3 s | 3.0 dB |
    | 10 dB | 0.21, 0.46, 0.63 s | 0.1, 1.2 s | 2.8 dB |

    Without feedback: no notch in 12 minutes of recorded speech and 10 of noises, 0.5 a minute in mixed
    music, 1 in its pitched parts alone.

    ``sensitivity`` is subtracted from the dB by which a howl must stand out. ``cut=0`` switches the
    broadband cut and the bound of +6 dBFS off.
    """

    id = "howl"
    summary = "Howl protection: finds acoustic feedback and notches it out"
    parameters = (
        Parameter("sensitivity", 0.0, -12.0, 12.0, "dB", doc="by how much less a howl need stand out"),
        Parameter("notches", 16, 0, MOST, "", "integer", doc="the most there are at a time"),
        Parameter("depth", -18.0, -48.0, -6.0, "dB", "dB", doc="lowest gain of a notch"),
        Parameter("release", 30.0, 1.0, 600.0, "s", "log", doc="time without howl after which a notch opens"),
        Parameter("cut", -36.0, -60.0, 0.0, "dB", "dB", doc="lowest gain of the broadband cut; 0: none"),
    )
    unity: ClassVar[Mapping[str, Value] | None] = {"notches": 0, "cut": 0.0}
    KERNEL = howl_kernel

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: see the names of the arrays at the top of this module."""
        n_fft = next(size for size in SIZES if size >= WINDOW_SECONDS * self.rate)
        bins = n_fft // 2 + 1
        self.tail = round(0.5 * self.rate)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
        notches = np.zeros((MOST, NOTCH_WORDS))
        notches[:, [TARGET, NOW]] = 1.0
        broad = np.zeros(BROAD_WORDS)
        broad[[GAIN, AIM, CUT_AT, PEAK]] = 1.0, 1.0, -1e9, -200.0
        turns, split = fft_tables(n_fft)
        return (
            (2 * window / window.sum()).astype(np.float32),
            turns,
            split,
            np.zeros((4, n_fft // 2), np.float32),
            np.zeros(n_fft, np.float32),
            np.zeros((2, bins), np.float32),
            np.zeros((self.channels, 2 * n_fft), np.float32),
            np.zeros(bins, np.float32),
            np.full((KEPT, bins), -200.0, np.float32),
            np.full(KEPT, -200.0),
            np.zeros(KEPT),
            np.full(2 * bins, -(1 << 40)),
            notches,
            np.zeros((MOST, 2 * self.channels)),
            broad,
        )
