"""Gain and balance: a mixer strip's fader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.kernel import channel, kernel, position, settled, value
from rtaudio.native import compiled, i64_vector
from rtaudio.processor import Parameter, Processor

GAIN, PAN, MUTE, STRIP = range(4)
"""A strip's parameters, in this order, and how many they are."""


@compiled
def strip_settled(params: int, first: int, at: int) -> bool:
    """Whether a strip, whose parameters begin at number ``first``, stays as it is until the next event."""
    gain, pan, mute = first + GAIN, first + PAN, first + MUTE
    return settled(params, gain, at) and settled(params, pan, at) and settled(params, mute, at)


@compiled
def strip_amplitude(params: int, first: int, c: int, channels: int, at: int) -> np.float32:
    """Amplitude of channel ``c`` in a strip, whose parameters begin at number ``first``, at a position."""
    side = 0.0 if channels != 2 else (1.0 if c == 0 else -1.0)
    gain = value(params, first + GAIN, at) * (1.0 - value(params, first + MUTE, at))
    return np.float32(gain * min(1.0, 1.0 - side * value(params, first + PAN, at)))


@kernel
def gain_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Gain`."""
    at = position(context)
    still = strip_settled(params, 0, at)
    channels = i64_vector(state, 0)[0]
    for c in range(channels):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        if still:
            gain = strip_amplitude(params, 0, c, channels, at)
            for i in range(n):
                y[i] = x[i] * gain
        else:
            for i in range(n):
                y[i] = x[i] * strip_amplitude(params, 0, c, channels, at + i)
    return 0


class Gain(Processor):
    """Gain in dB, stereo balance and mute.

    Balance turns the other side down and leaves its own at unity, so the centre is exact; streams that are
    not stereo pass it by.
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
        """State: the number of channels."""
        return (np.array([self.channels], np.int64),)
