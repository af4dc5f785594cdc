"""Second-order filters: pass, notch, peaking, shelving and all-pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rtaudio.kernel import channel, kernel, position, rate, settled, value
from rtaudio.native import compiled, f64_matrix, f64_vector
from rtaudio.processor import Parameter, Processor, Value

KIND, FREQUENCY, Q, GAIN = range(4)
KINDS = ("highpass", "lowpass", "bandpass", "notch", "peaking", "lowshelf", "highshelf", "allpass")
HIGHPASS, LOWPASS, BANDPASS, NOTCH, PEAKING, LOWSHELF, HIGHSHELF, ALLPASS = range(8)
TOP = 0.49
"""Highest frequency, relative to the rate."""
B0, B1, B2, A1, A2, DESIGNED = range(6)
"""Words of a design: the coefficients, then the frequency, Q and amplitude that they belong to."""
TAIL_LEVEL = 1e-6
"""Amplitude (-120 dB) at which an impulse response counts as over."""


@compiled
def design(words: Any, kind: float, frequency: float, q: float, amplitude: float, hertz: float) -> None:
    """Make ``words`` the coefficients of a filter, unless they are already.

    The names are those of the cookbook; ``hertz`` is the rate (its Fs) and ``amplitude`` its A squared;
    bandpass is the one with 0 dB peak gain.
    """
    if words[DESIGNED] == frequency and words[DESIGNED + 1] == q and words[DESIGNED + 2] == amplitude:
        return
    words[DESIGNED], words[DESIGNED + 1], words[DESIGNED + 2] = frequency, q, amplitude
    w0 = 2.0 * math.pi * min(frequency, TOP * hertz) / hertz
    cos_w0 = math.cos(w0)
    alpha = math.sin(w0) / (2.0 * q)
    a0, a1, a2 = 1.0 + alpha, -2.0 * cos_w0, 1.0 - alpha
    if kind == HIGHPASS:
        b0 = b2 = (1.0 + cos_w0) / 2.0
        b1 = -(1.0 + cos_w0)
    elif kind == LOWPASS:
        b0 = b2 = (1.0 - cos_w0) / 2.0
        b1 = 1.0 - cos_w0
    elif kind == BANDPASS:
        b0, b1, b2 = alpha, 0.0, -alpha
    elif kind == NOTCH:
        b0, b1, b2 = 1.0, a1, 1.0
    elif kind == ALLPASS:
        b0, b1, b2 = a2, a1, a0
    elif kind == PEAKING:
        a = math.sqrt(amplitude)
        b0, b1, b2 = 1.0 + alpha * a, a1, 1.0 - alpha * a
        a0, a2 = 1.0 + alpha / a, 1.0 - alpha / a
    else:
        a = math.sqrt(amplitude)
        root = 2.0 * math.sqrt(a) * alpha
        # The high shelf is the low shelf with cos(w0) and the signs of b1 and a1 turned.
        turn = 1.0 if kind == LOWSHELF else -1.0
        cosine = turn * cos_w0
        b0 = a * ((a + 1.0) - (a - 1.0) * cosine + root)
        b1 = turn * 2.0 * a * ((a - 1.0) - (a + 1.0) * cosine)
        b2 = a * ((a + 1.0) - (a - 1.0) * cosine - root)
        a0 = (a + 1.0) + (a - 1.0) * cosine + root
        a1 = turn * -2.0 * ((a - 1.0) + (a + 1.0) * cosine)
        a2 = (a + 1.0) + (a - 1.0) * cosine - root
    words[B0], words[B1], words[B2], words[A1], words[A2] = b0 / a0, b1 / a0, b2 / a0, a1 / a0, a2 / a0


@kernel
def biquad_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Biquad`."""
    memory, words = f64_matrix(state, 0), f64_vector(state, 1)
    at, hertz = position(context), float(rate(context))
    kind = value(params, KIND, at)
    if settled(params, FREQUENCY, at) and settled(params, Q, at) and settled(params, GAIN, at):
        frequency, q, amplitude = value(params, FREQUENCY, at), value(params, Q, at), value(params, GAIN, at)
        design(words, kind, frequency, q, amplitude, hertz)
        b0, b1, b2, a1, a2 = words[B0], words[B1], words[B2], words[A1], words[A2]
        for c in range(memory.shape[0]):
            x, y = channel(inputs, c, n), channel(outputs, c, n)
            s1, s2 = memory[c, 0], memory[c, 1]
            for i in range(n):
                wet = b0 * x[i] + s1
                s1 = (b1 * x[i] + s2) - a1 * wet
                s2 = b2 * x[i] - a2 * wet
                y[i] = np.float32(wet)
            memory[c, 0], memory[c, 1] = s1, s2
        return 0
    for i in range(n):
        now = at + i
        frequency, q, amplitude = (
            value(params, FREQUENCY, now),
            value(params, Q, now),
            value(params, GAIN, now),
        )
        design(words, kind, frequency, q, amplitude, hertz)
        for c in range(memory.shape[0]):
            x, y = channel(inputs, c, n), channel(outputs, c, n)
            wet = words[B0] * x[i] + memory[c, 0]
            memory[c, 0] = (words[B1] * x[i] + memory[c, 1]) - words[A1] * wet
            memory[c, 1] = words[B2] * x[i] - words[A2] * wet
            y[i] = np.float32(wet)
    return 0


class Biquad(Processor):
    """A second-order filter after R. Bristow-Johnson's Audio EQ Cookbook [1]_.

    The kinds are the cookbook's LPF, HPF, BPF (constant 0 dB peak gain), notch, APF, peakingEQ, lowShelf and
    highShelf, with alpha = sin(w0) / (2 Q). Transposed direct form II with a state of 64 bits. While a
    parameter moves, the coefficients follow it at every sample: held for 16 samples at a time, a sweep of a
    low-pass would crackle at -40 to -60 dB; this way it leaves less than -110 dB.

    ``frequency`` is the cutoff, the centre or the shelf's midpoint and stays below 0.49 of the rate; ``gain``
    is that of peaking and the shelves, and nothing to the others. At 0 dB these give their input to the bit.

    ``tail`` is the time in which the impulse response falls to -120 dB with the settings at the start.

    References
    ----------
    .. [1] R. Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients", W3C Audio Working
       Group Note, 2021. https://www.w3.org/TR/audio-eq-cookbook/
    """

    id = "biquad"
    summary = "High-pass, low-pass, band-pass, notch, peaking, shelving or all-pass filter"
    parameters = (
        Parameter("kind", "highpass", scale="choice", automatable=False, choices=KINDS, doc="the response"),
        Parameter("frequency", 1000.0, 10.0, 20_000.0, "Hz", "log", doc="cutoff, centre or shelf's midpoint"),
        Parameter("q", 0.7071, 0.05, 50.0, "", "log", doc="resonance; 0.7071 is maximally flat"),
        Parameter("gain", 0.0, -40.0, 40.0, "dB", "dB", doc="of peaking, lowshelf and highshelf"),
    )
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "rumble": {"kind": "highpass", "frequency": 80.0},
        "warmth": {"kind": "lowshelf", "frequency": 150.0, "gain": 3.0},
        "mud": {"kind": "peaking", "frequency": 300.0, "q": 1.0, "gain": -3.0},
        "presence": {"kind": "peaking", "frequency": 3500.0, "q": 0.9, "gain": 3.0},
        "air": {"kind": "highshelf", "frequency": 10_000.0, "gain": 3.0},
        "telephone": {"kind": "bandpass", "frequency": 1010.0, "q": 0.326},
        "hum-50": {"kind": "notch", "frequency": 50.0, "q": 10.0},
        "hum-60": {"kind": "notch", "frequency": 60.0, "q": 10.0},
    }
    unity: ClassVar[Mapping[str, Value] | None] = {"kind": "peaking", "gain": 0.0}
    tolerance = 1e-6
    KERNEL = biquad_kernel

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: two words of memory per channel; the design."""
        words = np.full(DESIGNED + 3, np.nan)
        targets = self.targets()
        design(words, targets["kind"], targets["frequency"], targets["q"], targets["gain"], float(self.rate))
        self.tail = ring_samples(*words[:DESIGNED])
        return np.zeros((self.channels, 2)), words


def ring_samples(b0: float, b1: float, b2: float, a1: float, a2: float) -> int:
    """Samples after which the impulse response of a stable biquad stays below `TAIL_LEVEL` (an upper bound).

    Without its first sample the response is c0 g[n-1] + c1 g[n-2], where g is that of the poles
    alone: |g[n]| <= (n + 1) r**n, r being the larger radius. Distinct poles also give (|u| + |u'|) r**n with
    the residues u and u'; the smaller bound counts.
    """
    c0, c1 = b1 - b0 * a1, b2 - b0 * a2
    p, other = np.roots([1.0, a1, a2]).astype(complex)
    radius = max(abs(p), abs(other))
    size = abs(c0) + abs(c1)
    if radius == 0.0 or size == 0.0:
        return 2
    residues = (abs(c0 * p + c1) + abs(c0 * other + c1)) / max(abs(p - other), 1e-300)
    n = 0.0
    for _ in range(60):
        n = max(0.0, math.log(TAIL_LEVEL / min(residues, size * n + size)) / math.log(radius))
    return 2 + math.ceil(n)
