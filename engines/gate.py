"""Noise gate with look-ahead and side chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engines.dynamics import (
    CHANNELS,
    COUNTS,
    GAINS,
    GROUP,
    LATENCY,
    OWN,
    POWER,
    Keyed,
    all_settled,
    key_power,
    play,
)
from rtaudio.kernel import kernel, position, rate, smoothstep, value
from rtaudio.native import compiled, f32_vector, f64_matrix, f64_vector, i64_vector
from rtaudio.processor import Parameter, Value

THRESHOLD, HYSTERESIS, RANGE, ATTACK, HOLD, RELEASE = range(6)
OPEN, QUIET, RISE, FALL = range(4)
"""Words of a group: whether it is open, samples since the key was last loud, progress of opening and of
closing (0 to 1)."""


@compiled
def fade(power: Any, gains: Any, words: Any, params: int, at: int, hertz: float, late: int, n: int) -> None:
    """Gains of ``n`` samples from their power, with the parameters at a position."""
    opening = value(params, THRESHOLD, at) ** 2
    closing = opening / value(params, HYSTERESIS, at) ** 2
    hold = max(value(params, HOLD, at), 0.0) / 1e3 * hertz + late
    rise_step = 1e3 / (value(params, ATTACK, at) * hertz)
    fall_step = 1e3 / (value(params, RELEASE, at) * hertz)
    lowest = value(params, RANGE, at)
    is_open, quiet, rise, fall = words[OPEN] > 0.0, words[QUIET], words[RISE], words[FALL]
    for i in range(n):
        if is_open:
            quiet = 0.0 if power[i] >= closing else quiet + 1.0
            if quiet > hold and rise >= 1.0:
                is_open, rise, fall = False, 0.0, 0.0
        elif power[i] >= opening:
            is_open, quiet = True, 0.0
        if is_open:
            rise = min(1.0, rise + rise_step)
        fall = min(1.0, fall + fall_step)
        left = max(0.0, 1.0 - smoothstep(fall))
        share = left + (1.0 - left) * smoothstep(rise)
        gains[i] = np.float32(lowest + (1.0 - lowest) * share)
    words[OPEN], words[QUIET], words[RISE], words[FALL] = 1.0 if is_open else 0.0, quiet, rise, fall


@kernel
def gate_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Gate`."""
    counts, power, gains = i64_vector(state, COUNTS), f64_vector(state, POWER), f32_vector(state, GAINS)
    words = f64_matrix(state, OWN)
    at, hertz, late = position(context), float(rate(context)), counts[LATENCY]
    step = n if all_settled(params, RELEASE + 1, at) else 1
    first = 0
    while first < counts[CHANNELS]:
        key_power(state, inputs, first, 1.0, n)
        done = 0
        while done < n:
            fade(power[done:], gains[done:], words[first], params, at + done, hertz, late, step)
            done += step
        play(state, inputs, outputs, first, at, n)
        first += counts[GROUP]
    return 0


class Gate(Keyed):
    """Noise gate: turns down by ``range`` what is softer than a threshold.

    It opens at the first sample of the key whose magnitude reaches ``threshold``, within ``attack``, and
    closes, within ``release``, when for the time ``hold`` none has reached ``threshold - hysteresis``. A hold
    of half a period of the lowest tone or more keeps it open between the peaks of the wave.

    *Fades.* ``attack`` and ``release`` are the lengths of quintic fades of the gain, without a step in slope
    or curvature. A fade that opens is always completed. When it begins while another closes, it crosses over
    from that one, so that the gain stays smooth. From 1 ms on, a fade of a sine at 1 kHz leaves less than
    -110 dB above 10 kHz (at 2 ms -133 dB, at 0.5 ms -98 dB).

    *Onsets.* With ``lookahead`` the sound comes that much later than the key: if it is not shorter than the
    attack, the gate is open when the sample arrives that opened it. The hold counts from when the last loud
    sample is heard.

    ``link`` opens all channels together. ``key=sidechain`` listens to the input ``sidechain``, and stays
    closed while nothing is connected to it.

    ``latency`` is the look-ahead. With a range of 0 dB the output is the delayed input to the bit, and so it
    is while the gate is open.
    """

    id = "gate"
    summary = "Noise gate with hysteresis, hold, look-ahead and side chain"
    parameters = (
        Parameter("threshold", -40.0, -100.0, 0.0, "dB", "dB", doc="magnitude that opens"),
        Parameter("hysteresis", 6.0, 0.0, 40.0, "dB", "dB", doc="how far below it the key closes"),
        Parameter(
            "range", -100.0, -100.0, 0.0, "dB", "dB", silence=True, doc="gain when closed; -100: silence"
        ),
        Parameter("attack", 2.0, 0.1, 500.0, "ms", "log", doc="length of the opening fade"),
        Parameter("hold", 50.0, 0.0, 5000.0, "ms", doc="time that it stays open after the last loud sample"),
        Parameter("release", 100.0, 1.0, 5000.0, "ms", "log", doc="length of the closing fade"),
        *Keyed.key_parameters,
    )
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "voice": {"threshold": -38.0, "range": -12.0, "hold": 150.0, "release": 250.0},
        "drums": {"threshold": -35.0, "range": -60.0, "attack": 0.5, "hold": 40.0, "release": 80.0},
    }
    unity: ClassVar[Mapping[str, Value] | None] = {"range": 0.0}
    KERNEL = gate_kernel

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: that of the key; the words of every channel that leads a group."""
        words = np.zeros((self.channels, 4))
        words[:, FALL] = 1.0
        return *super().allocate(), words
