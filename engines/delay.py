"""Echo: a delay line with a damped feedback loop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rtaudio.kernel import channel, kernel, position, power_of_two, rate, settled, value
from rtaudio.native import compiled, f32_matrix, f64_vector, i64_vector
from rtaudio.processor import Parameter, Processor, Value

TIME, FEEDBACK, MIX, DAMPING = range(4)
OPEN = 20_000.0
"""Damping frequency in Hz that means no damping."""
TAIL_LEVEL = 1e-6
"""Amplitude (-120 dB) at which the repeats count as over."""
LONGEST_TAIL = 30.0
"""Seconds of repeats that `Delay.tail` counts at most."""


@compiled
def damping_share(frequency: float, hertz: float) -> float:
    """How far the damping, a one-pole low-pass, goes to its input in one sample: 1 - exp(-2 pi f / rate)."""
    return 1.0 if frequency >= OPEN else 1.0 - math.exp(-2.0 * math.pi * frequency / hertz)


@kernel
def delay_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Delay`."""
    lines, damped = f32_matrix(state, 0), f64_vector(state, 1)
    samples = i64_vector(state, 2)[0]
    mask = lines.shape[1] - 1
    at, hertz = position(context), float(rate(context))
    still = settled(params, FEEDBACK, at) and settled(params, MIX, at) and settled(params, DAMPING, at)
    for c in range(lines.shape[0]):
        x, y, low = channel(inputs, c, n), channel(outputs, c, n), damped[c]
        feedback, mix = value(params, FEEDBACK, at), value(params, MIX, at)
        share = damping_share(value(params, DAMPING, at), hertz)
        for i in range(n):
            if not still:
                feedback, mix = value(params, FEEDBACK, at + i), value(params, MIX, at + i)
                share = damping_share(value(params, DAMPING, at + i), hertz)
            echo = lines[c, (at + i - samples) & mask]
            low = share * echo + (1.0 - share) * low
            lines[c, (at + i) & mask] = np.float32(x[i] + feedback * low)
            y[i] = np.float32((1.0 - mix) * x[i] + mix * echo)
        damped[c] = low
    return 0


class Delay(Processor):
    """Echoes: the first after ``time``, each next one ``feedback`` times the one before, and damped.

    With D = time in samples (rounded, at least 1) and a one-pole low-pass LP at ``damping`` (20 kHz: none)::

        line[n] = x[n] + feedback * LP(line[n - D])
        y[n] = (1 - mix) * x[n] + mix * line[n - D]

    The delay is meant to be heard: ``latency`` is 0. ``time`` is fixed while sound runs, since moving it
    would bend the pitch. ``tail`` is one time, and the time in which the repeats fall to -120 dB with the
    settings at the start, of which 30 s count at most.
    """

    id = "delay"
    summary = "Echo with feedback and damping"
    parameters = (
        Parameter("time", 250.0, 0.0, 5000.0, "ms", automatable=False, doc="between an echo and the next"),
        Parameter("feedback", 0.35, 0.0, 0.99, doc="amplitude of an echo relative to the one before"),
        Parameter("mix", 0.35, doc="0 is the input alone, 1 the echoes alone"),
        Parameter("damping", OPEN, 100.0, OPEN, "Hz", "log", doc="low-pass of the feedback; 20 kHz: none"),
    )
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "slap": {"time": 90.0, "feedback": 0.1, "mix": 0.25},
        "echo": {"time": 350.0, "feedback": 0.4, "mix": 0.3, "damping": 4000.0},
        "dub": {"time": 375.0, "feedback": 0.7, "mix": 0.4, "damping": 2500.0},
    }
    unity: ClassVar[Mapping[str, Value] | None] = {"mix": 0.0}
    tolerance = 1e-6
    KERNEL = delay_kernel

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: a delay line and a damping filter per channel; the delay in samples."""
        targets = self.targets()
        samples = max(1, round(targets["time"] / 1e3 * self.rate))
        feedback = targets["feedback"]
        repeats = math.ceil(math.log(TAIL_LEVEL) / math.log(feedback)) if feedback > 0.0 else 0
        self.tail = samples + min(repeats * samples, round(LONGEST_TAIL * self.rate))
        return (
            np.zeros((self.channels, power_of_two(samples + 1)), np.float32),
            np.zeros(self.channels),
            np.array([samples], np.int64),
        )
