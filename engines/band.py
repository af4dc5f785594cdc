"""A band of frequencies: what lies between two edges, the rest left out as far as is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engines.biquad import A1, A2, B0, B1, B2, DESIGNED, HIGHPASS, LOWPASS, design, ring_samples
from engines.dynamics import all_settled
from rtaudio.kernel import channel, kernel, position, rate, value
from rtaudio.native import compiled, f64_matrix
from rtaudio.processor import Parameter, Processor, Value

LOW, HIGH, MIX, PARAMETERS = range(4)
SLOPE = 0.5411961001461969, 1.3065629648763766
"""Q of the two sections of a Butterworth filter of fourth order: 1 / (2 cos(pi / 8)), and with 3 pi / 8."""
SECTIONS = 2 * len(SLOPE)


@compiled
def tune(words: Any, low: float, high: float, hertz: float) -> None:
    """Make ``words``, a row for every section, the filters of two edges: see `engines.biquad.design`."""
    for section in range(SECTIONS):
        q = SLOPE[section & 1]
        if section < len(SLOPE):
            design(words[section], HIGHPASS, low, q, 1.0, hertz)
        else:
            design(words[section], LOWPASS, high, q, 1.0, hertz)


@compiled
def passed(sample: float, words: Any, memory: Any) -> float:
    """A sample, through one section after the other."""
    for section in range(SECTIONS):
        of_section, kept = words[section], memory[2 * section :]
        wet = of_section[B0] * sample + kept[0]
        kept[0] = (of_section[B1] * sample + kept[1]) - of_section[A1] * wet
        kept[1] = of_section[B2] * sample - of_section[A2] * wet
        sample = wet
    return sample


@kernel
def band_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Band`."""
    memory, words = f64_matrix(state, 0), f64_matrix(state, 1)
    at, hertz = position(context), float(rate(context))
    if all_settled(params, PARAMETERS, at):
        tune(words, value(params, LOW, at), value(params, HIGH, at), hertz)
        mix = value(params, MIX, at)
        for c in range(memory.shape[0]):
            x, y = channel(inputs, c, n), channel(outputs, c, n)
            for i in range(n):
                dry = float(x[i])
                y[i] = np.float32(dry + mix * (passed(dry, words, memory[c]) - dry))
        return 0
    for i in range(n):
        now = at + i
        tune(words, value(params, LOW, now), value(params, HIGH, now), hertz)
        mix = value(params, MIX, now)
        for c in range(memory.shape[0]):
            dry = float(channel(inputs, c, n)[i])
            wet = passed(dry, words, memory[c])
            channel(outputs, c, n)[i] = np.float32(dry + mix * (wet - dry))
    return 0


class Band(Processor):
    """What lies between two frequencies, to be heard alone.

    A high-pass at ``low`` and a low-pass at ``high``, both Butterworth filters of fourth order as cascades of
    two sections (`engines.biquad`): -3 dB at an edge, 24 dB an octave beyond it. While an edge moves, the
    coefficients follow it at every sample. Edges stay below 0.49 of the rate.

    ``mix`` blends from the input as it is, to the bit (0), to the band alone (1).

    ``tail`` is at least the time in which the impulse response falls to -120 dB with the settings at the
    start.
    """

    id = "band"
    summary = "A band of frequencies, to be heard alone"
    parameters = (
        Parameter("low", 300.0, 20.0, 20_000.0, "Hz", "log", doc="lower edge, -3 dB"),
        Parameter("high", 3000.0, 20.0, 20_000.0, "Hz", "log", doc="upper edge, -3 dB"),
        Parameter("mix", 1.0, doc="how far what lies outside is left out"),
    )
    unity: ClassVar[Mapping[str, Value] | None] = {"mix": 0.0}
    tolerance = 1e-6
    KERNEL = band_kernel

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: two words of memory per section and channel; the design of every section."""
        words = np.full((SECTIONS, DESIGNED + 3), np.nan)
        targets = self.targets()
        tune(words, targets["low"], targets["high"], float(self.rate))
        self.tail = sum(ring_samples(*section[:DESIGNED]) for section in words)
        return np.zeros((self.channels, 2 * SECTIONS)), words
