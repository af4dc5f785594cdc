"""An engine in Python, from another package: all that one needs.

``pip install examples/tremolo``, then ``rtaudio live --chain 'tremolo(depth=0.8)'``. It runs in a process of
its own, so that neither its interpreter nor its faults disturb the sound of the others.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from rtaudio.processor import Block, Parameter, Processor, Value


class Tremolo(Processor):
    """Lets the level swing."""

    id = "tremolo"
    summary = "Lets the level swing, some times a second"
    parameters = (Parameter("depth", 0.5), Parameter("speed", 5.0, 0.1, 20.0, "Hz", automatable=False))
    unity: ClassVar[Mapping[str, Value] | None] = {"depth": 0.0}

    def process(self, block: Block, out: Block) -> None:
        """Write ``out`` (channels, samples) from ``block``; both float32."""
        at = self.position + np.arange(block.shape[1])
        swing = 0.5 - 0.5 * np.cos(2 * np.pi * float(self.values["speed"]) * at / self.rate)
        out[:] = block * (1.0 - self.curve("depth") * swing)
