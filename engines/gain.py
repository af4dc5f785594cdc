"""Gain and balance: a mixer strip's fader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.kernel import channel, kernel, position, settled, value
from rtaudio.native import i64_vector
from rtaudio.processor import Parameter, Processor

GAIN, PAN, MUTE = range(3)


@kernel
def gain_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    at = position(context)
    still = settled(params, GAIN, at) and settled(params, PAN, at) and settled(params, MUTE, at)
    channels = i64_vector(state, 0)[0]
    for c in range(channels):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        side = 0.0 if channels != 2 else (1.0 if c == 0 else -1.0)
        if still:
            gain = value(params, GAIN, at) * (1.0 - value(params, MUTE, at))
            gain = np.float32(gain * min(1.0, 1.0 - side * value(params, PAN, at)))
            for i in range(n):
                y[i] = x[i] * gain
        else:
            for i in range(n):
                gain = value(params, GAIN, at + i) * (1.0 - value(params, MUTE, at + i))
                y[i] = x[i] * np.float32(gain * min(1.0, 1.0 - side * value(params, PAN, at + i)))
    return 0


class Gain(Processor):
    """Gain in dB, stereo balance and mute.

    Balance turns the other side down and leaves its own at unity, so the centre is exact; streams that are not
    stereo pass it by.
    """

    id = "gain"
    summary = "Gain, stereo balance and mute"
    parameters = (
        Parameter("gain", 0.0, -100.0, 24.0, "dB", "dB", silence=True, doc="level; the minimum is silence"),
        Parameter("pan", 0.0, -1.0, 1.0, doc="-1 is left, 1 is right"),
        Parameter("mute", False, doc="1 is silence"),
    )
    KERNEL = gain_kernel

    def allocate(self) -> Sequence[NDArray[Any]]:
        return (np.array([self.channels], np.int64),)
