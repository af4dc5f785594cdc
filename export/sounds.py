"""What synthetic noises are made of: spectra, slow curves, tones, blows, and moments at which they sound.

Everything random comes from the generator, so that the same seed gives the same sound. Components above half
the rate are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.signal import oaconvolve

Audio = NDArray[np.float32]
"""(samples,)."""
Random = np.random.Generator
Noise = Callable[[Random, int, int], Audio]

RMS = 0.1
"""Of every noise: -20 dB re RMS 1.0. Short events among silence have peaks far above 1 then."""
LOWEST = 20.0
"""Hz. Spectra are flat below."""
SPAN = 4.0
"""Seconds of what an event may have begun before the noise does, so that it is under way when it starts."""


def normalised(x: NDArray[Any]) -> Audio:
    """At `RMS`, unless it is silent."""
    rms = math.sqrt(float(np.mean(np.square(x, dtype=np.float64))))
    return np.asarray(x * (RMS / (rms or 1.0)), np.float32)


def shaped(random: Random, samples: int, rate: int, gain: Callable[[NDArray[Any]], NDArray[Any]]) -> Audio:
    """Gaussian noise with a spectrum: ``gain`` gives the amplitude at frequencies in Hz. At an RMS of 1."""
    size = scipy.fft.next_fast_len(max(samples, 64), real=True)
    spectrum = scipy.fft.rfft(random.standard_normal(size, dtype=np.float32))
    spectrum *= gain(np.maximum(scipy.fft.rfftfreq(size, 1.0 / rate), LOWEST)).astype(np.float32)
    spectrum[0] = 0.0
    x = scipy.fft.irfft(spectrum, size)
    return np.asarray(x[:samples] / math.sqrt(float(np.mean(np.square(x)))), np.float32)


def wandering(random: Random, samples: int, rate: int, fastest: float) -> NDArray[np.float64]:
    """A smooth random curve, (samples,), of mean 0 and RMS 1 in the long run, that moves up to a frequency.

    Gaussian values, two per period of ``fastest``, joined by the smooth step s = 3 t^2 - 2 t^3: a blend by s
    of independent values of variance 1 has a mean square of 26/35.
    """
    place = np.arange(samples) * (2.0 * fastest / rate)
    values = random.standard_normal(int(place[-1]) + 2) * math.sqrt(35 / 26)
    t = np.arange(0.0, 1.0, 1 / 32)
    curve = values[:-1, None] + (t * t * (3.0 - 2.0 * t)) * np.diff(values)[:, None]
    return np.asarray(np.interp(place * 32, np.arange(curve.size + 1), np.append(curve, values[-1])))


def periodic(cycles: NDArray[Any], amplitudes: Sequence[float] | NDArray[Any], random: Random) -> Audio:
    """Harmonics, each at a random phase.

    Parameters
    ----------
    cycles
        (samples,), the phase of the fundamental, in cycles.
    amplitudes
        Of the fundamental and the harmonics above it.
    """
    size = max(1024, 16 * scipy.fft.next_fast_len(len(amplitudes)))
    spectrum = np.zeros(size // 2 + 1, np.complex128)
    phases = np.exp(2j * np.pi * random.random(len(amplitudes)))
    spectrum[1 : len(amplitudes) + 1] = np.asarray(amplitudes) * phases * (size / 2)
    table = scipy.fft.irfft(spectrum, size)
    table = np.append(table, table[0])
    place = (cycles - np.floor(cycles)) * size
    whole = np.minimum(place.astype(np.int64), size - 1)
    return np.asarray(table[whole] + (place - whole) * (table[whole + 1] - table[whole]), np.float32)


def audible(fundamental: float, amplitudes: NDArray[Any], rate: int) -> NDArray[Any]:
    """Those below 0.45 of the rate; at least the first."""
    return amplitudes[: max(1, int(0.45 * rate / fundamental))]


def unsteady(random: Random, samples: int, rate: int, frequency: float, unsteadiness: float) -> NDArray[Any]:
    """Phase of an oscillator whose frequency (Hz) wanders by a relative ``unsteadiness`` (RMS), in cycles."""
    speed = 1.0 + unsteadiness * wandering(random, samples, rate, 0.5)
    return np.cumsum(speed) * (frequency / rate)


def ringing(random: Random, rate: int, low: float, high: float, decay: float, modes: int) -> Audio:
    """A struck object: resonances (Hz, spread evenly in octaves) that decay, behind a short burst of noise.

    ``decay`` is the time in seconds to -60 dB at ``low``; it falls with the root of frequency. The peak is 1.
    """
    samples = max(8, round(1.2 * decay * rate))
    t = np.arange(samples) / rate
    high = min(high, 0.45 * rate)
    low = min(low, 0.8 * high)
    x = np.zeros(samples)
    for frequency in np.exp(random.uniform(math.log(low), math.log(high), modes)):
        rate_of_decay = math.log(1000.0) / (decay * math.sqrt(low / frequency))
        tone = np.sin(2 * np.pi * (frequency * t + random.random()))
        x += random.uniform(0.2, 1.0) * np.exp(-rate_of_decay * t) * tone
    burst = random.standard_normal(samples) * np.exp(-t / 0.002)
    x += random.uniform(0.2, 1.0) * burst
    x *= np.minimum(1.0, t / 0.0004)  # a blow takes its time too
    x *= np.minimum(1.0, (t[-1] - t) / 0.002)
    return np.asarray(x / np.max(np.abs(x)), np.float32)


def scattered(
    samples: int, sounds: Sequence[Audio], which: NDArray[Any], at: NDArray[Any], gains: Any
) -> Audio:
    """Sounds at sample numbers, which may lie before the start or run past the end."""
    x = np.zeros(samples, np.float32)
    for k, begin, gain in zip(which, at, gains, strict=True):
        add(x, sounds[int(k)], int(begin), np.float32(gain))
    return x


def add(x: NDArray[Any], sound: NDArray[Any], at: int, gain: float | np.float32 = 1.0) -> None:
    """Add a sound to a longer one at a sample number, which may lie before the start or past the end."""
    first = min(max(0, at), len(x))
    piece = sound[max(0, -at) :][: len(x) - first]
    x[first : first + len(piece)] += gain * piece


def moments(random: Random, samples: int, rate: int, per_second: float) -> NDArray[Any]:
    """Moments (sample numbers) of a Poisson process, from `SPAN` before the start on, one inside."""
    before = round(SPAN * rate)
    count = random.poisson(per_second * (samples + before) / rate)
    at = random.integers(-before, samples, count)
    return np.append(at, random.integers(0, max(1, samples * 4 // 5)))


def room_tone(random: Random, samples: int, rate: int) -> Audio:
    """A silent room as a microphone hears it: noise from outside, 6 to 9 dB per octave down, and hiss."""
    order, corner = random.uniform(1.0, 1.5), random.uniform(40.0, 120.0)
    outside = shaped(random, samples, rate, lambda f: (1.0 + (f / corner) ** 2) ** (-order / 2))
    outside *= 10.0 ** (wandering(random, samples, rate, 0.2) / 20.0)
    hiss = random.standard_normal(samples, dtype=np.float32)
    return normalised(outside + hiss * 10.0 ** (random.uniform(-40.0, -24.0) / 20.0))


def echoing(random: Random, sounds: Sequence[Audio], rate: int) -> list[Audio]:
    """Sounds in one room: each with a diffuse tail that decays by 60 dB in 0.15 to 0.5 s."""
    decay = random.uniform(0.15, 0.5)
    t = np.arange(round(0.8 * decay * rate)) / rate
    tail = random.standard_normal(len(t)) * np.exp(-math.log(1000.0) * t / decay) * np.minimum(1.0, t / 0.005)
    tail *= 10.0 ** (random.uniform(-20.0, -5.0) / 20.0) / math.sqrt(float(np.sum(tail**2)))
    tail[0] = 1.0
    return [oaconvolve(sound, tail).astype(np.float32) for sound in sounds]


def over_floor(random: Random, x: Audio, rate: int) -> Audio:
    """Events over the room that they happen in, 10 to 30 dB below them."""
    floor = room_tone(random, len(x), rate)
    return normalised(normalised(x) + floor * 10.0 ** (random.uniform(-30.0, -10.0) / 20.0))
