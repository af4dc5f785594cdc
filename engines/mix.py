"""Four mixer strips and their sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.gain import STRIP, strip_amplitude, strip_settled
from rtaudio.kernel import channel, kernel, position
from rtaudio.native import i64_vector
from rtaudio.processor import Parameter, Port, Processor

INPUTS = 4


@kernel
def mix_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Mix`."""
    at = position(context)
    channels = i64_vector(state, 0)[0]
    for c in range(channels):
        y = channel(outputs, c, n)
        for i in range(n):
            y[i] = np.float32(0)
        for term in range(INPUTS):
            x = channel(inputs, term * channels + c, n)
            first = term * STRIP
            if strip_settled(params, first, at):
                gain = strip_amplitude(params, first, c, channels, at)
                for i in range(n):
                    y[i] += x[i] * gain
            else:
                for i in range(n):
                    y[i] += x[i] * strip_amplitude(params, first, c, channels, at + i)
    return 0


def _strip(number: int) -> tuple[Parameter, ...]:
    """The parameters of `Gain`, for one input."""
    return (
        Parameter(f"gain{number}", 0.0, -100.0, 24.0, "dB", "dB", silence=True, doc=f"level of in{number}"),
        Parameter(f"pan{number}", 0.0, -1.0, 1.0, doc=f"balance of in{number}: -1 is left, 1 is right"),
        Parameter(f"mute{number}", False, doc=f"1 silences in{number}"),
    )


class Mix(Processor):
    """Sum of up to four inputs, each with gain, stereo balance and mute as in `Gain`.

    The inputs are added in their order, so that with every strip at its default the output is
    in1 + in2 + in3 + in4 to the bit. Inputs that are not connected are silent. The sum is not turned down for
    the number of inputs: put a `limiter` behind where it may exceed full scale.
    """

    id = "mix"
    summary = "Sum of up to four inputs, each with gain, balance and mute"
    inputs = (Port("in1"), *(Port(f"in{number}", optional=True) for number in range(2, INPUTS + 1)))
    parameters = tuple(parameter for number in range(1, INPUTS + 1) for parameter in _strip(number))
    KERNEL = mix_kernel

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: the number of channels of each port."""
        return (np.array([self.channels], np.int64),)
