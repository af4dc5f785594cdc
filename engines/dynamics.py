"""What the gate and the compressor share: the key that they listen to, and the gain that they play."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.biquad import A1, A2, B0, B1, B2, DESIGNED, HIGHPASS, design
from rtaudio.kernel import channel, power_of_two, ring_read, ring_write, settled
from rtaudio.native import compiled, f32_matrix, f32_vector, f64_matrix, f64_vector, i64_vector
from rtaudio.processor import Parameter, Port, Processor

LINES, COUNTS, MEMORY, FILTER, MEANS, KEY, POWER, GAINS, OWN = range(9)
"""State arrays; those of an engine itself begin at number `OWN`."""
LATENCY, CHANNELS, GROUP, FIRST_KEY, FILTERED = range(5)
"""Words of the counts: look-ahead in samples, channels, how many share a gain, the first channel of the key,
whether the key is filtered."""
UNFILTERED = 20.0
"""Frequency in Hz of the key's high-pass that means none."""
BUTTERWORTH = 0.5**0.5

LOG2 = 2.885390072752149, 0.9618007592155646, 0.5765845410302622, 0.4342559495833023
"""Odd minimax polynomial for log2((1 + z) / (1 - z)), |z| <= 3 - 2 sqrt(2)."""
EXP2 = (
    0.6931472028550969,
    0.2402264791362762,
    0.0555033247104064,
    0.0096184373576138,
    0.0013398874452999,
    0.0001535336200703,
)
"""Minimax polynomial for 2**x - 1, |x| <= 1/2, without its constant 0."""
ROOT_HALF = np.uint64(0x3FE6A09E667F3BCD)
ONE = np.uint64(0x3FF0000000000000)
SHIFT = np.uint64(52)
UNIT_AT_2_52 = np.uint64(0x4330000000000000)
"""Bits of sqrt(1/2) and of 1, width of a float64's fraction, bits of 2**52."""
ROUND = 1.5 * 2.0**52
"""Adding it leaves an integer in a float64's lowest bits."""


@compiled
def log2(x: float) -> float:
    """Binary logarithm of a normal positive number, to 2e-10.

    Arithmetic on bits, without a branch or a call, so that it vectorises, with the same bits as without.
    """
    bits = np.float64(x).view(np.uint64) + (ONE - ROOT_HALF)
    biased = bits >> SHIFT
    fraction = np.uint64((bits & np.uint64(0x000FFFFFFFFFFFFF)) + ROOT_HALF).view(np.float64)
    exponent = np.uint64(biased | UNIT_AT_2_52).view(np.float64) - (2.0**52 + 1023.0)
    z = (fraction - 1.0) / (fraction + 1.0)
    s = z * z
    return exponent + z * (LOG2[0] + s * (LOG2[1] + s * (LOG2[2] + s * LOG2[3])))


@compiled
def exp2(x: float) -> float:
    """2 to the power x, |x| < 1000, to a relative 2e-9; exact for integers. As `log2`, it vectorises."""
    rounded = x + ROUND
    f = x - (rounded - ROUND)
    p = EXP2[3] + f * (EXP2[4] + f * EXP2[5])
    p = 1.0 + f * (EXP2[0] + f * (EXP2[1] + f * (EXP2[2] + f * p)))
    scale: float = np.uint64((np.float64(rounded).view(np.uint64) << SHIFT) + ONE).view(np.float64)
    return p * scale


@compiled
def all_settled(params: int, count: int, at: int) -> bool:
    """Whether the first ``count`` parameters stay as they are until the next event."""
    still = True
    for index in range(count):
        still = still and settled(params, index, at)
    return still


@compiled
def high_pass(x: Any, memory: Any, words: Any, key: Any, n: int) -> None:
    """Filter ``x`` into ``key``, in transposed direct form II."""
    s1, s2 = memory[0], memory[1]
    for i in range(n):
        key[i] = words[B0] * x[i] + s1
        s1 = (words[B1] * x[i] + s2) - words[A1] * key[i]
        s2 = words[B2] * x[i] - words[A2] * key[i]
    memory[0], memory[1] = s1, s2


@compiled
def key_power(state: int, inputs: int, first: int, share: float, n: int) -> None:
    """Make the power the largest square of the key in the group of channels that begins at ``first``.

    With a ``share`` below 1 the squares are averaged over time: the mean goes that far to each.
    """
    counts, memory, words = i64_vector(state, COUNTS), f64_matrix(state, MEMORY), f64_vector(state, FILTER)
    means, key, power = f64_vector(state, MEANS), f64_vector(state, KEY), f64_vector(state, POWER)
    for i in range(n):
        power[i] = 0.0
    for c in range(first, first + counts[GROUP]):
        x = channel(inputs, counts[FIRST_KEY] + c, n)
        if counts[FILTERED]:
            high_pass(x, memory[c], words, key, n)
        else:
            for i in range(n):
                key[i] = x[i]
        for i in range(n):
            key[i] *= key[i]
        if share < 1.0:
            mean = means[c]
            for i in range(n):
                mean = share * key[i] + (1.0 - share) * mean
                key[i] = mean
            means[c] = mean
        for i in range(n):
            power[i] = max(power[i], key[i])


@compiled
def play(state: int, inputs: int, outputs: int, first: int, at: int, n: int) -> None:
    """Play the group of channels that begins at ``first``, after the look-ahead, with the gains."""
    lines, counts, gains = f32_matrix(state, LINES), i64_vector(state, COUNTS), f32_vector(state, GAINS)
    latency = counts[LATENCY]
    for c in range(first, first + counts[GROUP]):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        if latency:
            ring_write(lines[c], at, x, n)
            ring_read(lines[c], at - latency, y, n)
            for i in range(n):
                y[i] *= gains[i]
        else:
            for i in range(n):
                y[i] = x[i] * gains[i]


class Keyed(Processor):
    """Base of the processors whose gain follows a key: the input, or the input ``sidechain``."""

    inputs = (Port("in"), Port("sidechain", optional=True))
    key_parameters = (
        Parameter("lookahead", 0.0, 0.0, 20.0, "ms", automatable=False, doc="delay of the sound; latency"),
        Parameter(
            "key",
            "auto",
            scale="choice",
            automatable=False,
            choices=("auto", "in", "sidechain"),
            doc="what it listens to; auto: the side chain if one is connected",
        ),
        Parameter(
            "highpass",
            UNFILTERED,
            UNFILTERED,
            2000.0,
            "Hz",
            "log",
            automatable=False,
            doc="of the key; 20: none",
        ),
        Parameter(
            "link",
            "on",
            scale="choice",
            automatable=False,
            choices=("on", "off"),
            doc="one gain for all channels",
        ),
    )

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: delay lines and counts; filter and mean square of the key; scratch."""
        targets = self.targets()
        self.latency = round(targets["lookahead"] / 1e3 * self.rate)
        group = self.channels if self.values["link"] == "on" else 1
        key = self.values["key"]
        aside = key == "sidechain" or (key == "auto" and "sidechain" in self.connected)
        first_key = self.channels if aside else 0
        counts = [self.latency, self.channels, group, first_key, targets["highpass"] > UNFILTERED]
        words = np.full(DESIGNED + 3, np.nan)
        design(words, HIGHPASS, targets["highpass"], BUTTERWORTH, 1.0, float(self.rate))
        ring = power_of_two(self.latency + self.block) if self.latency else 1
        return (
            np.zeros((self.channels, ring), np.float32),
            np.array(counts, np.int64),
            np.zeros((self.channels, 2)),
            words,
            np.zeros(self.channels),
            np.zeros(self.block),
            np.zeros(self.block),
            np.zeros(self.block, np.float32),
        )
