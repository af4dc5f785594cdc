"""What a DJ's hand does to three stems before their inserts: crossfader, kill, mute and solo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.kernel import channel, kernel, position, settled, smoothstep, value
from rtaudio.native import compiled, i64_vector
from rtaudio.processor import Parameter, Port, Processor

STEMS = ("harmonic", "percussive", "residual")
HARMONIC, PERCUSSIVE, RESIDUAL = range(3)
SWITCHES = ("mute", "solo", "kill")
MUTE, SOLO, KILL = range(3)
KILL_SECONDS = 0.005


@compiled
def switch(params: int, stem: int, which: int, at: int) -> float:
    """How far a stem's switch is on at a position: 0 to 1."""
    return value(params, 1 + len(SWITCHES) * stem + which, at)


@compiled
def crossfade_gain(stem: int, fader: float) -> float:
    """Amplitude of a stem at a place of the crossfader, -1 to 1.

    Unity on its own side and in the middle; towards the other side a quintic S to silence, whose slope and
    curvature vanish in the middle, so that the fader may pass it at any speed. The residual, which belongs to
    neither side, fades towards both.
    """
    harmonic = 1.0 - smoothstep(min(max(fader, 0.0), 1.0))
    percussive = 1.0 - smoothstep(min(max(-fader, 0.0), 1.0))
    if stem == HARMONIC:
        return harmonic
    return percussive if stem == PERCUSSIVE else harmonic * percussive


@compiled
def stem_gain(params: int, stem: int, at: int) -> np.float32:
    """Amplitude of a stem at a position.

    A stem is heard if it is soloed, or none is: ``1 - (1 - s) (1 - unsoloed)``, where s says how far it is
    soloed itself and ``unsoloed`` is the product of 1 - s over all stems. Smooth, however the switches move.
    """
    unsoloed = 1.0
    for other in range(3):
        unsoloed *= 1.0 - switch(params, other, SOLO, at)
    gain = 1.0 - (1.0 - switch(params, stem, SOLO, at)) * (1.0 - unsoloed)
    gain *= (1.0 - switch(params, stem, MUTE, at)) * (1.0 - switch(params, stem, KILL, at))
    return np.float32(gain * crossfade_gain(stem, value(params, 0, at)))


@kernel
def stems_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Stems`."""
    # By index: unpacking an array raises when its length is another.
    words = i64_vector(state, 0)
    channels, parameters = words[0], words[1]
    at = position(context)
    still = True
    for index in range(parameters):
        still = still and settled(params, index, at)
    for stem in range(3):
        gain = stem_gain(params, stem, at)
        for c in range(stem * channels, (stem + 1) * channels):
            x, y = channel(inputs, c, n), channel(outputs, c, n)
            if still:
                for i in range(n):
                    y[i] = x[i] * gain
            else:
                for i in range(n):
                    y[i] = x[i] * stem_gain(params, stem, at + i)
    return 0


class Stems(Processor):
    """Crossfader, kill, mute and solo of three stems.

    Every stem goes in and comes out on ports of its own. While any stem is soloed, the others are silent;
    mute and kill silence a soloed one too. Changes take 10 ms, a kill 5 ms, the crossfader 20 ms.
    """

    id = "stems"
    summary = "Crossfader, kill, mute and solo of three stems"
    inputs = tuple(Port(stem) for stem in STEMS)
    outputs = tuple(Port(stem) for stem in STEMS)
    fallback = "harmonic"
    parameters = (
        Parameter(
            "crossfade",
            0.0,
            -1.0,
            1.0,
            smoothing=0.02,
            doc="-1 is harmonic alone, 1 percussive alone, 0 both at unity",
        ),
        *(
            Parameter(f"{stem}_{name}", False, smoothing=seconds, doc=doc.format(stem))
            for stem in STEMS
            for name, seconds, doc in (
                ("mute", 0.01, "1 silences the {} stem"),
                ("solo", 0.01, "1 silences the stems that are not soloed"),
                ("kill", KILL_SECONDS, "1 cuts the {} stem at once, soloed or not"),
            )
        ),
    )
    KERNEL = stems_kernel

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: the number of channels of a stem, and of parameters."""
        return (np.array([self.channels, len(self.parameters)], np.int64),)
