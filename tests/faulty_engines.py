"""An engine whose kernel reads address 0; run as a program, the command line that knows it.

``python faulty_engines.py FOLDER live ...`` keeps its counters in a folder of its own, so that hosts beside
it neither see nor sweep them.
"""

import sys
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path

import numpy as np

from rtaudio import cli, counters, registry
from rtaudio.kernel import channel, kernel, position
from rtaudio.native import i64_vector, int64_at
from rtaudio.processor import Parameter, Processor


@kernel
def faulty_kernel(state, inputs, outputs, n, params, context):
    words = i64_vector(state, 0)
    for c in range(words[0]):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        for i in range(n):
            y[i] = -x[i]
    if position(context) + n > words[1]:
        channel(outputs, 0, n)[0] = int64_at(words[2], 1)[0]
    return 0


class Faulty(Processor):
    """Turns its input around until it reads address 0, at a position."""

    id = "faulty"
    parameters = (Parameter("at", 1e12, 0.0, 1e12, "samples", automatable=False),)
    unity = None
    KERNEL = faulty_kernel

    def allocate(self):
        return (np.array([self.channels, self.values["at"], 0], np.int64),)


def main():
    def with_own(group, **match):
        own = EntryPoint("faulty", "faulty_engines:Faulty", "rtaudio.engines")
        return EntryPoints([*entry_points(group=group), own]).select(group=group, **match)

    counters.FOLDER, registry.entry_points = Path(sys.argv[1]), with_own
    return cli.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
