"""Compressor with a soft knee, look-ahead and side chain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engines.dynamics import (
    CHANNELS,
    COUNTS,
    GAINS,
    GROUP,
    OWN,
    POWER,
    Keyed,
    all_settled,
    exp2,
    key_power,
    log2,
    play,
)
from rtaudio.kernel import kernel, position, rate, value
from rtaudio.native import compiled, f32_vector, f64_matrix, f64_vector, i64_vector
from rtaudio.processor import Parameter, Value

THRESHOLD, RATIO, KNEE, ATTACK, RELEASE, MAKEUP, MIX, DETECTOR, AVERAGE = range(9)
INFINITE = 1000.0
"""Ratio that means infinity."""
OCTAVE = 20.0 * math.log10(2.0)
"""dB of a doubled amplitude. Levels are in such octaves, which spares a multiplication."""
SILENCE = 1e-60
"""Power that counts as silence (-600 dB)."""


@compiled
def keep(milliseconds: float, hertz: float) -> float:
    """What a one-pole smoother keeps of its past in one sample: exp(-1 / (time constant in samples))."""
    return math.exp(-1e3 / (milliseconds * hertz))


@compiled
def follow(power: Any, gains: Any, envelope: Any, params: int, at: int, hertz: float, n: int) -> None:
    """Gains of ``n`` samples from their power, which is overwritten, with the parameters at a position."""
    threshold, knee = value(params, THRESHOLD, at) / OCTAVE, max(value(params, KNEE, at), 0.0) / OCTAVE
    ratio = value(params, RATIO, at)
    slope = 1.0 - 1.0 / ratio if ratio < INFINITE else 1.0
    half, bend = knee / 2.0, 0.5 / knee if knee > 0.0 else 0.0
    for i in range(n):
        over = 0.5 * log2(max(power[i], SILENCE)) - threshold
        inside = min(max(over + half, 0.0), knee)
        power[i] = slope * (bend * inside * inside + max(over - half, 0.0))
    attack = keep(value(params, ATTACK, at), hertz)
    release = keep(value(params, RELEASE, at), hertz)
    held, now = envelope[0], envelope[1]
    for i in range(n):
        wanted = power[i]
        held = max(wanted, release * held + (1.0 - release) * wanted)
        now = attack * now + (1.0 - attack) * held
        power[i] = now
    envelope[0], envelope[1] = held, now
    mix = value(params, MIX, at)
    dry, wet = 1.0 - mix, mix * value(params, MAKEUP, at)
    for i in range(n):
        gains[i] = np.float32(dry + wet * exp2(-power[i]))


@kernel
def compressor_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Compressor`."""
    counts, power, gains = i64_vector(state, COUNTS), f64_vector(state, POWER), f32_vector(state, GAINS)
    envelopes = f64_matrix(state, OWN)
    at, hertz = position(context), float(rate(context))
    share = 1.0
    if value(params, DETECTOR, at) > 0.0:
        share = 1.0 - keep(value(params, AVERAGE, at), hertz)
    step = n if all_settled(params, MIX + 1, at) else 1
    first = 0
    while first < counts[CHANNELS]:
        key_power(state, inputs, first, share, n)
        done = 0
        while done < n:
            follow(power[done:], gains[done:], envelopes[first], params, at + done, hertz, step)
            done += step
        play(state, inputs, outputs, first, at, n)
        first += counts[GROUP]
    return 0


class Compressor(Keyed):
    """Feed-forward compressor with its detector in the log domain, after Giannoulis, Massberg and Reiss [1]_.

    With the level x of the key in dB, threshold T, ratio R and knee W, the static curve is their equation 4::

        y = x                                        2 (x - T) < -W
        y = x + (1/R - 1) (x - T + W/2)**2 / (2 W)   2 |x - T| <= W
        y = T + (x - T) / R                          2 (x - T) > W

    and the reduction x - y is followed in dB by their smooth, decoupled peak detector, equation 17, with the
    shares a = exp(-1 / (attack rate)) and r = exp(-1 / (release rate))::

        held[n] = max(x - y, r held[n-1] + (1 - r) (x - y))
        reduction[n] = a reduction[n-1] + (1 - a) held[n]

    Both times are time constants: the time to 1 - 1/e of a step. The release begins gently, since the attack
    smooths it too.

    ``detector`` takes the magnitude of every sample (peak) or the root of the mean square (rms) over the time
    constant ``average``; the level of a sine is its amplitude with the one, 3 dB less with the other.
    ``link`` gives all channels the gain of the loudest. ``key=sidechain`` listens to the input ``sidechain``,
    and compresses nothing while nothing is connected to it. ``mix`` adds the uncompressed sound, aligned.

    ``latency`` is the look-ahead.

    References
    ----------
    .. [1] D. Giannoulis, M. Massberg, J. D. Reiss, "Digital Dynamic Range Compressor Design - A Tutorial and
       Analysis", Journal of the Audio Engineering Society 60(6), 2012.
    """

    id = "compressor"
    summary = "Compressor with soft knee, look-ahead and side chain"
    parameters = (
        Parameter("threshold", -20.0, -80.0, 0.0, "dB", doc="level above which it turns down"),
        Parameter("ratio", 4.0, 1.0, INFINITE, "", "log", doc="dB in per dB out, above it; 1000: infinite"),
        Parameter("knee", 6.0, 0.0, 40.0, "dB", doc="width of the curve's bend"),
        Parameter("attack", 10.0, 0.01, 500.0, "ms", "log", doc="time constant of turning down"),
        Parameter("release", 100.0, 1.0, 5000.0, "ms", "log", doc="time constant of the recovery"),
        Parameter("makeup", 0.0, -24.0, 48.0, "dB", "dB", doc="gain of the compressed sound"),
        Parameter("mix", 1.0, doc="0 is the input alone, 1 the compressed sound alone"),
        Parameter(
            "detector",
            "peak",
            scale="choice",
            automatable=False,
            choices=("peak", "rms"),
            doc="what a level is",
        ),
        Parameter("average", 10.0, 0.1, 500.0, "ms", "log", automatable=False, doc="time constant of rms"),
        *Keyed.key_parameters,
    )
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "voice": {
            "threshold": -24.0,
            "ratio": 3.0,
            "attack": 5.0,
            "release": 120.0,
            "makeup": 4.0,
        },
        "drums": {
            "threshold": -18.0,
            "ratio": 4.0,
            "knee": 3.0,
            "attack": 15.0,
            "release": 80.0,
            "makeup": 3.0,
        },
        "glue": {
            "threshold": -14.0,
            "ratio": 2.0,
            "knee": 10.0,
            "attack": 30.0,
            "release": 300.0,
            "makeup": 1.5,
            "detector": "rms",
        },
    }
    unity: ClassVar[Mapping[str, Value] | None] = {"ratio": 1.0}
    tolerance = 1e-6
    KERNEL = compressor_kernel

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: that of the key; per channel the held and the smoothed reduction."""
        return *super().allocate(), np.zeros((self.channels, 2))
