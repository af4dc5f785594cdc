"""The engine ``burn``, for overloads of a worker process: it copies its input, and computes."""

from __future__ import annotations

import time
from typing import ClassVar

from rtaudio.processor import Block, Parameter, Processor


class Burn(Processor):
    """Copies its input, and for the last seconds of every turn computes for a share of each block's time."""

    id = "burn"
    summary = "Copies its input, and computes for too long now and then"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("share", 1.4, 0.0, 100.0, doc="of a block's time"),
        Parameter("turn", 20.0, 0.1, 1000.0, "s", automatable=False),
        Parameter("lasts", 10.0, 0.0, 1000.0, "s", automatable=False, doc="at the end of every turn"),
    )

    def process(self, block: Block, out: Block) -> None:
        """Copy, and let time go by."""
        turn, lasts = float(self.values["turn"]), float(self.values["lasts"])
        if self.position / self.rate % turn >= turn - lasts:
            until = time.perf_counter() + float(self.curve("share")[-1]) * block.shape[1] / self.rate
            while time.perf_counter() < until:
                pass
        out[:] = block
