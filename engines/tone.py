"""Test tones: sine, sweep and impulses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.kernel import channel, kernel, position, rate, settled, value
from rtaudio.native import compiled, f64_vector, i64_vector
from rtaudio.processor import Parameter, Processor

LEVEL, FREQUENCY, KIND, CHANNEL, LOW, HIGH, DURATION, INTERVAL = range(8)
KINDS = ("sine", "sweep", "impulses")
SINE, SWEEP, IMPULSES = range(3)
CHANNELS, BEGUN, PHASE = range(3)
"""Words of the counts: channels, whether the phase is set, the phase in 2**-64 of a turn."""
TOP = 0.49
"""Highest frequency, relative to the rate."""
TURN = 2.0**64
SINE_TAPS = (
    6.283185306487506,
    -41.34170192977273,
    81.60520943108192,
    -76.70366782775983,
    41.99998982871778,
    -14.337024694027312,
)
"""Odd minimax polynomial for sin(2 pi x), |x| <= 1/4, to 2e-11."""


@compiled
def sine(phase: int) -> float:
    """Sine of a phase in 2**-64 of a turn. A polynomial, so that any vectorisation gives the same bits."""
    x = 0.25 - abs(np.float64(phase - (1 << 62))) / TURN
    s = x * x
    p = SINE_TAPS[3] + s * (SINE_TAPS[4] + s * SINE_TAPS[5])
    return x * (SINE_TAPS[0] + s * (SINE_TAPS[1] + s * (SINE_TAPS[2] + s * p)))


@compiled
def increment(frequency: float, hertz: int) -> int:
    """Phase that passes in one sample, in 2**-64 of a turn; for whole Hz the exact quotient, rounded down.

    Long division in two steps of 32 bits, since 2**64 times the frequency would overflow.
    """
    held = min(frequency, TOP * hertz)
    whole = int(held)
    high = (whole << 32) // hertz
    low = (((whole << 32) - high * hertz) << 32) // hertz
    return (high << 32) + low + int((held - whole) / hertz * TURN)


@compiled
def sweep_turns(at: int, low: float, high: float, length: int, hertz: float) -> float:
    """Turns of a sweep from its beginning to a sample: the integral of low (high / low)**(t / T) over t."""
    low, high = min(low, TOP * hertz), min(high, TOP * hertz)
    seconds, octaves = at / hertz, math.log(high / low)
    if octaves == 0.0:
        return low * seconds
    growth = octaves * hertz / length
    return low * math.expm1(growth * seconds) / growth


@compiled
def signal(samples: Any, counts: Any, params: int, at: int, hertz: int, n: int) -> None:
    """``n`` samples of the tone with an amplitude of 1."""
    kind = value(params, KIND, at)
    if kind == SINE:
        step = increment(value(params, FREQUENCY, at), hertz)
        if counts[BEGUN] == 0:
            counts[BEGUN], counts[PHASE] = 1, step * at
        phase = counts[PHASE]
        if settled(params, FREQUENCY, at):
            for i in range(n):
                samples[i] = sine(phase + step * i)
            phase += step * n
        else:
            for i in range(n):
                samples[i] = sine(phase)
                phase += increment(value(params, FREQUENCY, at + i), hertz)
        counts[PHASE] = phase
    elif kind == SWEEP:
        low, high = value(params, LOW, at), value(params, HIGH, at)
        length = max(1, int(value(params, DURATION, at) * hertz + 0.5))
        for i in range(n):
            turns = sweep_turns((at + i) % length, low, high, length, float(hertz))
            samples[i] = sine(int((turns - math.floor(turns) - 0.5) * TURN) ^ (-1 << 63))
    else:
        interval = int(value(params, INTERVAL, at))
        for i in range(n):
            samples[i] = 1.0 if (at + i) % interval == 0 else 0.0


@kernel
def tone_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Tone`."""
    counts, samples = i64_vector(state, 0), f64_vector(state, 1)
    at = position(context)
    signal(samples, counts, params, at, rate(context), n)
    still, level = settled(params, LEVEL, at), value(params, LEVEL, at)
    only = int(value(params, CHANNEL, at)) - 1
    for c in range(counts[CHANNELS]):
        y = channel(outputs, c, n)
        if only not in (-1, c):
            for i in range(n):
                y[i] = np.float32(0)
        elif still:
            for i in range(n):
                y[i] = np.float32(level * samples[i])
        else:
            for i in range(n):
                y[i] = np.float32(value(params, LEVEL, at + i) * samples[i])
    return 0


class Tone(Processor):
    """Test tones, exact to the sample.

    - ``sine``: at ``frequency``. The phase is an integer in 2**-64 of a turn that grows by the same amount at
      every sample, so it does not drift: after a week at 192 kHz it is within 1e-8 of a turn of frequency
      times position. It follows from the position, also where a run begins later, as long as the frequency
      has not moved; when that moves, the phase goes on without a step.
    - ``sweep``: from ``low`` to ``high`` in ``duration``, at equal octaves per second, over and over, each
      from phase 0, as in A. Farina's measurements [1]_.
    - ``impulses``: one sample of the level at position 0 and every ``interval`` samples.

    ``level`` is the amplitude. ``channel`` is 0 for all channels, or the number of the only one that sounds.
    Frequencies are held below 0.49 of the rate. What is heard beside a sine is the rounding to float32: THD+N
    is below -140 dB.

    References
    ----------
    .. [1] A. Farina, "Simultaneous measurement of impulse response and distortion with a swept-sine
       technique", 108th AES Convention, 2000.
    """

    id = "tone"
    summary = "Source of test tones: sine, sweep or impulses"
    inputs = ()
    fallback = None
    unity = None
    parameters = (
        Parameter(
            "level", -20.0, -120.0, 0.0, "dB", "dB", silence=True, doc="amplitude; the minimum is silence"
        ),
        Parameter("frequency", 1000.0, 0.1, 96_000.0, "Hz", "log", doc="of the sine"),
        Parameter("kind", "sine", scale="choice", automatable=False, choices=KINDS, doc="the signal"),
        Parameter("channel", 0, 0, 64, "", "integer", automatable=False, doc="the only one; 0 is all"),
        Parameter("low", 20.0, 0.1, 96_000.0, "Hz", "log", automatable=False, doc="start of the sweep"),
        Parameter("high", 20_000.0, 0.1, 96_000.0, "Hz", "log", automatable=False, doc="end of the sweep"),
        Parameter("duration", 10.0, 0.01, 3600.0, "s", "log", automatable=False, doc="of the sweep"),
        Parameter(
            "interval", 48_000, 1, 1e9, "samples", "integer", automatable=False, doc="from impulse to impulse"
        ),
    )
    tolerance = 1e-7
    KERNEL = tone_kernel

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: counts; scratch."""
        return np.array([self.channels, 0, 0], np.int64), np.zeros(self.block)
