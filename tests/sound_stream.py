"""A stand-in for the host's stream: a compiled callback that plays a signal and looks at what it hears."""

from __future__ import annotations

import numba
import numpy as np

from rtaudio.native import CALLBACK, float32_at, int64_at, load_acquire, now_ns, sleep_until_ns

CALLS, FRAMES, LONGEST, FLAGS, INSIDE, OVERLAPS, HANG, STATUS, HEARD, INPUTS, OUTPUTS, WORDS = range(12)


@numba.njit(error_model="numpy")
def sample(channel, i):
    """What is played, the same in every block of a multiple of 64 samples: exact in 32 bits."""
    return np.float32((channel + 1) * 0.125 + (i % 64) / 1024)


@numba.cfunc(CALLBACK, nopython=True, error_model="numpy", _nrt=False)
def _callback(source, sink, frames, time, flags, user):
    words = int64_at(user, WORDS)
    n = np.int64(frames)
    words[OVERLAPS] += words[INSIDE]
    words[INSIDE] = 1
    inputs, outputs = words[INPUTS], words[OUTPUTS]
    same = source != 0 and inputs > 0
    x, y = float32_at(source, n * inputs), float32_at(sink, n * outputs)
    for i in range(n):
        for c in range(inputs if source != 0 else 0):
            same = same and x[i * inputs + c] == sample(c, i)
        for c in range(outputs):
            y[i * outputs + c] = sample(c, i)
    words[HEARD] += 1 if same else 0
    words[CALLS] += 1
    words[FRAMES] += n
    words[LONGEST] = max(words[LONGEST], n)
    words[FLAGS] += np.int64(flags)
    while load_acquire(words, HANG) != 0:
        sleep_until_ns(now_ns() + 1_000_000)
    words[INSIDE] = 0
    return np.int32(words[STATUS])


class StandIn:
    """What a device calls. ``words[HEARD]`` counts blocks that were heard exactly as they were played."""

    def __init__(self, inputs: int = 0, outputs: int = 2, rate: int = 48000) -> None:
        self.inputs, self.outputs, self.rate = inputs, outputs, rate
        self.words = np.zeros(WORDS, np.int64)
        self.words[INPUTS], self.words[OUTPUTS] = inputs, outputs
        self.callback, self.address = int(_callback.address), int(self.words.ctypes.data)

    @property
    def callbacks(self) -> int:
        return int(self.words[CALLS])

    @property
    def taken(self) -> int:
        return int(self.words[FRAMES])
