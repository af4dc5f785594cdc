"""Noise: white, pink and brown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.kernel import channel, kernel, position, settled, value
from rtaudio.native import compiled, f64_matrix, f64_vector, i64_vector
from rtaudio.processor import Parameter, Processor

LEVEL = 0
CHANNELS, OWN, SEED = range(3)
"""Words of the counts: channels, how many of them have a noise of their own, the seed."""

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2**64 over the golden ratio: what SplitMix64 counts by."""
FLOOR = 5.0
"""Frequency in Hz at which pink and brown noise level out."""
PINK_POLES, PINK_ZEROS = (0.58415281, -0.28641339), (-0.40005556, 0.25167433)
PINK_TOP, PINK_RATIO = 0.02, 4.0
BROWN_POLE, BROWN_ZEROS = -0.60359476, (-0.66572652, -0.11471258)
"""Fitted so that the spectrum follows f**-1 and f**-2 to half the rate, within 0.12 dB at any rate."""


@compiled
def hashed(number: np.uint64) -> np.uint64:
    """The output function of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
    Generators", OOPSLA 2014): 64 bits that pass for random from any numbers that differ.
    """
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


@compiled
def white(seed: int, c: int, at: int, samples: Any, n: int) -> None:
    """Uniform noise of mean square 1 in channel ``c``: each sample is a function of its position alone."""
    key = hashed(hashed(np.uint64(seed)) + GOLDEN * np.uint64(c + 1))
    for i in range(n):
        bits = hashed(key + GOLDEN * np.uint64(at + i))
        samples[i] = math.sqrt(3.0) * (np.int64(bits >> np.uint64(11)) * 2.0**-52 - 1.0)


@kernel
def noise_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Noise`."""
    counts, sections, memory = i64_vector(state, 0), f64_matrix(state, 1), f64_matrix(state, 2)
    scale, samples = f64_vector(state, 3)[0], f64_vector(state, 4)
    at = position(context)
    still, level = settled(params, LEVEL, at), value(params, LEVEL, at)
    for c in range(counts[CHANNELS]):
        if c < counts[OWN]:
            white(counts[SEED], c, at, samples, n)
            for k in range(sections.shape[0]):
                pole, zero, s = sections[k, 0], sections[k, 1], memory[c, k]
                for i in range(n):
                    x = samples[i]
                    samples[i] = x + s
                    s = pole * samples[i] - zero * x
                memory[c, k] = s
        y = channel(outputs, c, n)
        if still:
            for i in range(n):
                y[i] = np.float32(level * (scale * samples[i]))
        else:
            for i in range(n):
                y[i] = np.float32(value(params, LEVEL, at + i) * (scale * samples[i]))
    return 0


def coloured(colour: str, rate: int) -> NDArray[np.float64]:
    """First-order sections (pole, zero) whose product has the spectrum of a colour at a rate (Hz).

    Pink: poles a factor of `PINK_RATIO` apart with zeros halfway between, in octaves, which alternate the
    slope between -6 dB and 0, from `FLOOR` to `PINK_TOP` of the rate; two sections above make up for what a
    digital filter is bent near half the rate.
    """
    if colour == "white":
        return np.zeros((0, 2))
    if colour == "brown":
        return np.array(
            [[math.exp(-2.0 * math.pi * FLOOR / rate), BROWN_ZEROS[0]], [BROWN_POLE, BROWN_ZEROS[1]]]
        )
    number = 1 + math.ceil(math.log(PINK_TOP * rate / FLOOR) / math.log(PINK_RATIO))
    turns = PINK_TOP / PINK_RATIO ** np.arange(number)
    poles = np.exp(-2.0 * math.pi * turns)
    zeros = np.exp(-2.0 * math.pi * turns * math.sqrt(PINK_RATIO))
    return np.stack([[*PINK_POLES, *poles], [*PINK_ZEROS, *zeros]], axis=1)


def mean_square(sections: NDArray[np.float64]) -> float:
    """Mean square of what the sections make of white noise of mean square 1.

    With h[0] = 1 and h[n] = sum of r[k] p[k]**n from n = 1, by partial fractions, it is the sum of
    h[n]**2: 1 + sum over j, k of r[j] r[k] p[j] p[k] / (1 - p[j] p[k]).
    """
    poles, zeros = sections.T
    others = poles[:, None] - poles[None, :] + np.eye(len(poles)) * poles
    residues = np.prod((poles[:, None] - zeros[None, :]) / others, axis=1)
    products = np.outer(poles, poles)
    return 1.0 + float(np.sum(np.outer(residues, residues) * products / (1.0 - products)))


class Noise(Processor):
    """Noise of one colour, the same in every run: a function of seed, channel and position.

    White noise is uniform, and each sample a hash of its position (SplitMix64 [1]_): a run that begins at any
    position has the samples that a longer one has there. Pink noise falls by 3.01 dB an octave, brown by
    6.02, from 20 Hz to 20 kHz within 0.1 and 0.3 dB, and levels out at 5 Hz; their filters begin at rest, so
    a run that begins elsewhere has come to the same samples within -100 dB after half a second.

    ``level`` is the RMS relative to 1, from 0 Hz to half the rate. The peaks of white noise are 4.8 dB above,
    those of pink and brown some 12 dB. ``channels=same`` plays one noise on all of them.

    References
    ----------
    .. [1] G. L. Steele, D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    """

    id = "noise"
    summary = "Source of white, pink or brown noise"
    inputs = ()
    fallback = None
    unity = None
    parameters = (
        Parameter("level", -30.0, -120.0, 0.0, "dB", "dB", silence=True, doc="RMS; the minimum is silence"),
        Parameter(
            "colour",
            "white",
            scale="choice",
            automatable=False,
            choices=("white", "pink", "brown"),
            doc="0, -3 or -6 dB an octave",
        ),
        Parameter("seed", 0, 0, 2**31 - 1, "", "integer", automatable=False, doc="another is another noise"),
        Parameter(
            "channels",
            "independent",
            scale="choice",
            automatable=False,
            choices=("independent", "same"),
            doc="a noise each, or one on all",
        ),
    )
    tolerance = 1e-6
    KERNEL = noise_kernel

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: counts; sections, their memory per channel, the scale to a mean square of 1; scratch."""
        sections = coloured(str(self.values["colour"]), self.rate)
        own = self.channels if self.values["channels"] == "independent" else 1
        return (
            np.array([self.channels, own, int(self.values["seed"])], np.int64),
            sections,
            np.zeros((self.channels, len(sections))),
            np.array([mean_square(sections) ** -0.5]),
            np.zeros(self.block),
        )
