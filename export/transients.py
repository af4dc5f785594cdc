"""Short noises: what hands, animals, kitchens and small machines do between silences.

Each is a function as in `export.noises`, which has them by name. Every event differs from all others, as
those of one object do: it is struck elsewhere, harder or softer. Events happen in a room or outdoors, over
its tone or over nothing, and what makes them is drawn anew for every noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from export.sounds import (
    Audio,
    Random,
    add,
    audible,
    normalised,
    periodic,
    ringing,
    room_tone,
    scattered,
    shaped,
    unsteady,
    wandering,
)

Places = NDArray[np.int64]
"""(events,), sample numbers."""
Gains = NDArray[np.float64]
"""(events,)."""

LEAD = 1.5
"""Seconds that are made before a noise begins, so that it is under way then."""

# ------------------------------------------------------------------------------------------ building blocks


def _log_uniform(random: Random, low: float, high: float) -> float:
    return math.exp(random.uniform(math.log(low), math.log(high)))


def _decibels(random: Random, low: float, high: float) -> np.float32:
    """An amplitude, uniform in dB."""
    return np.float32(10.0 ** (random.uniform(low, high) / 20.0))


def _span(samples: int, rate: int) -> int:
    """Samples of a noise with `LEAD` before it."""
    return samples + round(LEAD * rate)


def _places(seconds: Gains, rate: int) -> Places:
    return np.asarray(np.rint(seconds * rate), np.int64)


def _within(random: Random, seconds: Gains, samples: int, rate: int) -> Gains:
    """Moments, all of them later or earlier where none would be within the noise."""
    end = LEAD + 0.8 * samples / rate
    if np.any((seconds > LEAD) & (seconds < end)):
        return seconds
    nearest = float(seconds[np.argmin(np.abs(seconds - end))])
    return seconds + (random.uniform(LEAD, end) - nearest)


def _paced(random: Random, samples: int, rate: int, per_second: float, unsteadiness: float) -> Gains:
    """Moments in seconds at a pace, one within the noise; each off by a part (RMS) of the period."""
    count = math.ceil(_span(samples, rate) / rate * per_second) + 2
    at = np.arange(count) + random.random() + unsteadiness * random.standard_normal(count)
    return _within(random, at / per_second, samples, rate)


def _spells(
    random: Random, samples: int, rate: int, length: tuple[float, float], pause: tuple[float, float]
) -> list[tuple[float, float]]:
    """When something goes on, and for how long, in seconds: with pauses, from `LEAD` before the noise on."""
    end, start = _span(samples, rate) / rate, LEAD + 0.8 * samples / rate
    spells = []
    at = -random.uniform(0.0, length[1])
    while at < end:
        lasts = _log_uniform(random, *length)
        if at + lasts > 0.0:
            spells.append((at, lasts))
        at += lasts + _log_uniform(random, *pause)
    if not any(begin < start and begin + lasts > LEAD + 0.01 for begin, lasts in spells):
        spells.append((random.uniform(LEAD, start), _log_uniform(random, *length)))
    return spells


def _material(random: Random, low: float, high: float, unevenness: float = 4.0) -> Callable[[Any], Any]:
    """Gains over frequency: a band (Hz), with slopes of 6 to 18 dB per octave and bumps (dB, RMS)."""
    below, above = random.uniform(1.0, 3.0, 2)
    octaves = np.arange(4.0, 16.0, 0.5)
    bumps = random.normal(0.0, unevenness, len(octaves))

    def gain(f: NDArray[Any]) -> NDArray[Any]:
        band = (1.0 + (low / f) ** (2 * below)) * (1.0 + (f / high) ** (2 * above))
        return np.asarray(10.0 ** (np.interp(np.log2(f), octaves, bumps) / 20.0) / np.sqrt(band))

    return gain


def _burst(random: Random, rate: int, gain: Callable[[Any], Any], decay: float) -> Audio:
    """Noise of a spectrum that begins at once and decays by 60 dB in ``decay`` seconds. Its energy is 1."""
    samples = max(16, round(decay * rate))
    x = shaped(random, samples, rate, gain) * np.exp(-math.log(1000.0) * np.arange(samples) / samples)
    return np.asarray(x / math.sqrt(float(np.sum(x**2))), np.float32)


def _thing(random: Random, rate: int, low: float, high: float, decay: float, modes: int = 8) -> list[Audio]:
    """What is struck: four groups of its resonances (see `export.sounds.ringing`), each of other ones."""
    each = max(1, modes // 4)
    return [ringing(random, rate, low, high, decay * random.uniform(0.5, 1.0), each) for _ in range(4)]


def _struck(
    random: Random, samples: int, rate: int, things: Sequence[list[Audio]], which: NDArray[Any], at: Places,
    gains: Gains,
) -> Audio:  # fmt: skip
    """Things struck again and again, never twice alike: their groups have other gains in every blow."""
    groups = 4
    balance = random.lognormal(0.0, 0.5, (len(at), groups)) * random.choice([-1.0, 1.0], (len(at), groups))
    apart = random.exponential(0.0003 * rate, (len(at), groups)).astype(np.int64)
    return scattered(
        samples,
        [group for thing in things for group in thing],
        (np.asarray(which)[:, None] * groups + np.arange(groups)).ravel(),
        (at[:, None] + apart).ravel(),
        (np.asarray(gains)[:, None] * balance).ravel(),
    )


def _grains(random: Random, samples: int, at: Places, gains: Gains, kernels: Sequence[Audio]) -> Audio:
    """Many small impulses, each of which sounds by all kernels, at gains of its own."""
    inside = (at >= 0) & (at < samples)
    at, gains = at[inside], gains[inside]
    x = np.zeros(samples, np.float32)
    for kernel in kernels:
        weights = gains * random.standard_normal(len(at))
        impulses = np.bincount(at, weights, samples).astype(np.float32)
        x += oaconvolve(impulses, kernel)[:samples]
    return x


def _crowded(random: Random, envelope: NDArray[Any], count: int) -> Places:
    """Random places, as many as asked, the denser the higher an envelope (samples,) is."""
    crowd = np.cumsum(envelope, dtype=np.float64)
    return np.asarray(np.searchsorted(crowd, random.random(count) * crowd[-1]), np.int64)


def _swell(lasts: float, rate: int, attack: float) -> NDArray[np.float64]:
    """Rises for a part of a spell of seconds, and falls: squares of sines, (samples,)."""
    t = np.linspace(0.0, 1.0, max(8, round(lasts * rate)))
    return np.sin(np.pi / 2 * np.minimum(t / attack, (1.0 - t) / (1.0 - attack))) ** 2


def _add(x: NDArray[Any], piece: NDArray[Any], begin: float, rate: int) -> None:
    """Add a piece that begins at a moment in seconds, before the start perhaps."""
    add(x, piece, round(begin * rate))


def _finished(
    random: Random, x: Audio, samples: int, rate: int, floor: tuple[float, float] = (-65.0, -10.0)
) -> Audio:
    """In a room or none, without its lead, over a floor (dB below, range) or, now and then, over nothing."""
    if random.random() < 0.75:
        decay = _log_uniform(random, 0.1, 0.8)
        length = round(0.8 * decay * rate)
        dark = random.uniform(0.0, 0.5)
        tail = shaped(random, length, rate, lambda f: (f / 1_000.0) ** -dark)
        t = np.arange(length) / length
        tail *= np.minimum(1.0, t / 0.02) * np.exp(-0.8 * math.log(1000.0) * t)
        tail *= _decibels(random, -25.0, 0.0) / math.sqrt(float(np.sum(tail**2)))
        tail[0] = 1.0
        x = oaconvolve(x, tail)[: len(x)]
    x = normalised(x[len(x) - samples :])
    if random.random() < 0.8 or not np.any(x):
        if random.random() < 0.5:
            below = room_tone(random, samples, rate)
        else:
            slope = random.uniform(0.0, 0.7)
            below = normalised(shaped(random, samples, rate, lambda f: f**-slope))
        x = x + below * _decibels(random, *floor)
    return normalised(_recorded(random, x, rate))


def _recorded(random: Random, x: Audio, rate: int) -> Audio:
    """By a small microphone, from afar, or by what ends at 7 to 18 kHz: any of these, or none. No offset."""
    lows = _log_uniform(random, 40.0, 300.0) if random.random() < 0.5 else 1.0
    highs = _log_uniform(random, 2_000.0, 16_000.0) if random.random() < 0.6 else math.inf
    end = _log_uniform(random, 7_000.0, 18_000.0) if random.random() < 0.35 else math.inf
    steep, falling = random.integers(1, 4), random.uniform(0.5, 2.0)
    size = scipy.fft.next_fast_len(len(x) + rate // 20, real=True)  # its response ends in the silence after x
    f = scipy.fft.rfftfreq(size, 1.0 / rate)
    with np.errstate(divide="ignore"):
        gain = 1.0 / np.sqrt((1.0 + (lows / f) ** (2 * steep)) * (1.0 + (f / highs) ** (2 * falling)))
    gain /= np.sqrt(1.0 + (f / end) ** 40)
    return np.asarray(scipy.fft.irfft(scipy.fft.rfft(x, size) * gain, size)[: len(x)], np.float32)


# ------------------------------------------------------------------------------------------ small machines


def ticks(random: Random, samples: int, rate: int, per_second: float | None = None) -> Audio:
    """Clocks and counters: rows of short clicks, 0.5 to 8 a second: alike, in turns, in pairs, or accented.

    ``per_second`` is how many, if given.
    """
    pace = _log_uniform(random, 0.5, 8.0) if per_second is None else per_second
    style = str(random.choice(["even", "turns", "pairs", "accents"]))
    whole = _span(samples, rate)
    beats = _paced(random, samples, rate, pace, random.choice([0.001, 0.004, 0.015]))
    number = np.arange(len(beats))
    low = _log_uniform(random, 300.0, 3_500.0)
    decay = _log_uniform(random, 0.012, 0.15)
    things = [
        _thing(random, rate, low * ratio, random.uniform(2.0, 6.0) * low * ratio, decay, 12)
        for ratio in (1.0, random.uniform(0.7, 1.4), random.uniform(1.5, 3.0))
    ]
    gains = random.lognormal(0.0, 0.12, len(beats))
    which = np.zeros(len(beats), np.int64)
    if style == "turns":
        which = number % 2
        gains *= np.where(number % 2, random.uniform(0.3, 1.0), 1.0)
    if style == "accents":
        gains *= np.where(number % int(random.integers(3, 9)), random.uniform(0.2, 0.6), 1.0)
    x = _struck(random, whole, rate, things, which, _places(beats, rate), gains)
    if style == "pairs":  # an escapement falls, then its wheel is caught
        late = random.uniform(0.02, min(0.25, 0.4 / pace))
        second = beats + late + 0.001 * random.standard_normal(len(beats))
        fainter = gains * random.uniform(0.15, 0.7)
        x += _struck(random, whole, rate, things, which + 1, _places(second, rate), fainter)
    if random.random() < 0.4:  # a spring or the case rings along
        low, decay = _log_uniform(random, 800.0, 3_500.0), random.uniform(0.3, 1.0)
        ring = _thing(random, rate, low, 7_000.0, decay, 4)
        soft = gains * _decibels(random, -40.0, -15.0)
        x += _struck(random, whole, rate, [ring], number * 0, _places(beats, rate), soft)
    return _finished(random, x, samples, rate)


def machines(random: Random, samples: int, rate: int) -> Audio:
    """Rows of clacks, 5 to 25 a second, in bursts or on and on: typewriters, sewing machines, printers.

    Some have a motor's hum, a bell, or a ratchet (30 to 60 clicks a second).
    """
    whole = _span(samples, rate)
    low = _log_uniform(random, 250.0, 4_000.0)
    decay = _log_uniform(random, 0.02, 0.2)
    things = []
    for ratio in random.uniform(0.6, 1.7, 4):
        high = min(12_000.0, 4.0 * low * ratio)
        things.append(_thing(random, rate, low * ratio, high, decay * random.uniform(0.6, 1.6), 16))
    pace = _log_uniform(random, 5.0, 25.0)
    bursts = random.random() < 0.6
    length, pause = ((0.1, 1.2), (0.08, 0.8)) if bursts else ((30.0, 31.0), (0.1, 0.2))
    rows, soft = [], random.uniform(0.2, 1.0)
    irregular = random.uniform(0.1, 0.5) if bursts else random.uniform(0.003, 0.05)
    for begin, lasts in _spells(random, samples, rate, length, pause):
        count = max(1, round(lasts * pace))
        rows.append(begin + (np.arange(count) + irregular * random.standard_normal(count)) / pace)
    beats = np.concatenate(rows)
    number = np.arange(len(beats))
    gains = random.lognormal(0.0, random.uniform(0.1, 0.5), len(beats))
    gains *= np.where(number % int(random.integers(2, 5)), soft, 1.0)
    which = random.integers(0, 4, len(beats)) if bursts else number % int(random.integers(1, 5))
    x = _struck(random, whole, rate, things, which, _places(beats, rate), gains)
    if random.random() < 0.5:  # what is hit moves, or rattles, a moment later
        later = beats + random.uniform(0.02, 0.06) + 0.002 * random.standard_normal(len(beats))
        less = gains * random.uniform(0.1, 0.7)
        x += _struck(random, whole, rate, things, (which + 1) % 4, _places(later, rate), less)
    x = normalised(x)
    if random.random() < 0.25:
        bell = _thing(random, rate, random.uniform(1_800.0, 3_500.0), 9_000.0, random.uniform(0.6, 1.5), 4)
        rung = _places(random.uniform(0.0, whole / rate, 1), rate)
        x += _struck(random, whole, rate, [bell], np.zeros(1, int), rung, random.uniform(0.1, 0.6, 1))
    if random.random() < 0.3:
        begin, lasts = random.uniform(0.0, whole / rate), random.uniform(0.2, 0.7)
        teeth = begin + np.arange(0.0, lasts, 1.0 / random.uniform(30.0, 60.0))
        loud = random.uniform(0.1, 0.5) * random.lognormal(0.0, 0.2, len(teeth))
        x += _struck(random, whole, rate, things[:1], np.zeros(len(teeth), int), _places(teeth, rate), loud)
    if random.random() < 0.6:
        turns = _log_uniform(random, 40.0, 150.0)
        amplitudes = np.arange(1.0, 41.0) ** -random.uniform(0.6, 2.0) * random.uniform(0.1, 1.0, 40)
        motor = unsteady(random, whole, rate, turns, random.uniform(0.001, 0.02))
        tone = normalised(periodic(motor, audible(turns, amplitudes, rate), random))
        whirr = normalised(shaped(random, whole, rate, _material(random, 200.0, 4_000.0)))
        x += tone * _decibels(random, -40.0, 0.0)
        x += whirr * _decibels(random, -40.0, -3.0)
    return _finished(random, x, samples, rate)


# ------------------------------------------------------------------------------------------ hands


def keys(random: Random, samples: int, rate: int) -> Audio:
    """Typing: 4 to 9 strokes a second with pauses, each a press, a thump of the desk and a softer release."""
    whole = _span(samples, rate)
    brightness = _log_uniform(random, 0.7, 1.5)
    presses = [_thing(random, rate, 900.0 * brightness, 6_000.0 * brightness, 0.04) for _ in range(6)]
    releases = [_thing(random, rate, 1_500.0 * brightness, 7_000.0 * brightness, 0.025) for _ in range(6)]
    desk = _log_uniform(random, 45.0, 120.0)
    desks = [_thing(random, rate, desk, 4.0 * desk, 0.08) for _ in range(3)]
    tempo = random.uniform(4.0, 9.0)
    count = math.ceil(2.0 * tempo * whole / rate) + 8
    intervals = random.gamma(4.0, 0.25 / tempo, count)
    intervals += np.where(random.random(count) < 0.06, random.exponential(1.0, count), 0.0)
    down = _within(random, np.cumsum(intervals) - random.random(), samples, rate)
    gains = random.lognormal(0.0, 0.35, count)
    up = down + random.uniform(0.06, 0.13, count)
    x = _struck(
        random,
        whole,
        rate,
        [*presses, *releases, *desks],
        np.concatenate([random.integers(first, last, count) for first, last in ((0, 6), (6, 12), (12, 15))]),
        _places(np.concatenate([down, up, down]), rate),
        np.concatenate([gains, random.uniform(0.2, 0.6) * gains, _log_uniform(random, 0.01, 0.6) * gains]),
    )
    return _finished(random, x, samples, rate, (-45.0, -10.0))


_RUSTLES = {
    "paper": ((500.0, 2_500.0), (5_000.0, 15_000.0), (400.0, 4_000.0), 1.0),
    "plastic": ((1_500.0, 4_000.0), (12_000.0, 16_000.0), (100.0, 1_500.0), 1.4),
    "cloth": ((100.0, 400.0), (1_500.0, 4_000.0), (3_000.0, 9_000.0), 0.6),
}
"""Ranges of the band's ends in Hz and of how many impulses a second; the spread of their loudness."""


def paper(random: Random, samples: int, rate: int) -> Audio:
    """Paper, plastic bags and cloth: spells of 0.1 to 1.5 s of a thousand small impulses, and soft thumps."""
    whole = _span(samples, rate)
    lows, highs, densities, tails = _RUSTLES[random.choice(["paper", "paper", "plastic", "cloth"])]
    low, high = _log_uniform(random, *lows), _log_uniform(random, *highs)
    kernels = [
        _burst(random, rate, _material(random, low * ratio, high), _log_uniform(random, 0.001, 0.012))
        for ratio in (1.0, random.uniform(0.5, 2.0), random.uniform(0.5, 2.0))
    ]
    envelope = np.zeros(whole)
    x = np.zeros(whole, np.float32)
    for begin, lasts in _spells(random, samples, rate, (0.1, 1.5), (0.1, random.uniform(0.3, 2.0))):
        swell = _swell(lasts, rate, random.uniform(0.05, 0.8)) * random.lognormal(0.0, 0.5)
        _add(envelope, swell, begin, rate)
        if random.random() < 0.4:
            thump = _burst(random, rate, _material(random, 60.0, 300.0), random.uniform(0.05, 0.2))
            _add(x, thump * np.float32(random.lognormal(-0.5, 1.0)), begin + random.uniform(0.0, lasts), rate)
    nervous = random.uniform(0.3, 1.2)
    envelope *= np.exp(nervous * wandering(random, whole, rate, random.uniform(5.0, 30.0)))
    count = _log_uniform(random, *densities) * np.sum(envelope > 0.02) / rate
    at = _crowded(random, envelope + 1e-9, max(8, round(count)))
    loud = np.sqrt(envelope[np.minimum(at, whole - 1)] + 1e-9) * random.lognormal(0.0, tails, len(at))
    x += _grains(random, whole, at, loud, kernels)
    return _finished(random, x, samples, rate)


def rubbing(random: Random, samples: int, rate: int, per_second: float | None = None) -> Audio:
    """Wipers, brushes, sanding, scratching: noise that goes to and fro, 0.5 to 4 strokes a second.

    Some squeak: a tone with harmonics that glides with the speed. Some thud where they turn, and some go over
    the rumble of a car. ``per_second`` is how many strokes, if given.
    """
    pace = _log_uniform(random, 0.5, 4.0) if per_second is None else per_second
    whole = _span(samples, rate)
    turning = _paced(random, samples, rate, pace, random.uniform(0.0, 0.04))
    t = np.arange(whole) / rate
    stroke = np.interp(t, np.append(turning[0] - 1.0 / pace, turning), np.arange(len(turning) + 1.0))
    speed = np.abs(np.sin(np.pi * stroke)) ** random.uniform(0.6, 2.0)
    back = np.floor(stroke) % 2 == 1
    low, high = _log_uniform(random, 200.0, 2_500.0), _log_uniform(random, 2_500.0, 14_000.0)
    rough = np.exp(random.uniform(0.1, 0.6) * wandering(random, whole, rate, random.uniform(10.0, 80.0)))
    x = np.zeros(whole, np.float32)
    for there in (False, True):
        loud = np.where(back == there, speed, 0.0) * random.uniform(0.3, 1.0)
        x += (loud * rough).astype(np.float32) * shaped(random, whole, rate, _material(random, low, high))
    if random.random() < 0.4:
        pitch = _log_uniform(random, 250.0, 2_500.0) * (0.8 + random.uniform(0.1, 0.5) * speed)
        pitch *= 1.0 + random.uniform(0.005, 0.03) * wandering(random, whole, rate, 30.0)
        amplitudes = np.arange(1.0, 13.0) ** -random.uniform(0.8, 2.0)
        tone = periodic(np.cumsum(pitch) / rate, audible(1.2 * pitch.max(), amplitudes, rate), random)
        heard = np.maximum(0.0, wandering(random, whole, rate, 2.0 * pace)) * np.maximum(0.0, speed - 0.4)
        x = normalised(x) + normalised(tone * heard) * _decibels(random, -30.0, 6.0)
    if random.random() < 0.5:
        things = [
            _thing(random, rate, _log_uniform(random, 50.0, 250.0), 900.0, random.uniform(0.05, 0.2))
            for _ in range(2)
        ]
        gains = random.lognormal(0.0, 0.3, len(turning))
        thuds = _struck(
            random, whole, rate, things, np.arange(len(turning)) % 2, _places(turning, rate), gains
        )
        x = normalised(x) + normalised(thuds) * _decibels(random, -25.0, 12.0)
    if random.random() < 0.4:
        corner, order = random.uniform(50.0, 250.0), random.uniform(0.8, 2.0)
        car = normalised(shaped(random, whole, rate, lambda f: (1.0 + (f / corner) ** 2) ** -order))
        x = normalised(x) + car * _decibels(random, -10.0, 32.0)
    return _finished(random, x, samples, rate)


def dishes(random: Random, samples: int, rate: int) -> Audio:
    """Plates, cutlery, glasses, coins, keys: they ring above 1 kHz, in clusters, or bounce."""
    whole = _span(samples, rate)
    things = []
    for _ in range(5):
        low, decay = _log_uniform(random, 1_000.0, 4_500.0), _log_uniform(random, 0.05, 1.0)
        things.append(_thing(random, rate, low, random.uniform(2.0, 5.0) * low, decay))
    seconds, gains, which = [], [], []
    begin = _paced(random, samples, rate, _log_uniform(random, 0.6, 4.0), random.uniform(0.2, 0.6))
    bouncing = random.uniform(0.0, 0.6)
    for at in begin:
        count = int(random.integers(1, 8))
        if random.random() < bouncing:  # each bounce is shorter, and fainter, by the same part
            part = random.uniform(0.6, 0.85)
            row = at + np.cumsum(random.uniform(0.06, 0.25) * part ** np.arange(3.0 * count))
            loud = part ** np.arange(3.0 * count)
        else:
            row = at + np.sort(random.exponential(0.12, count))
            loud = random.lognormal(0.0, 0.7, count)
        seconds.append(row)
        gains.append(loud * random.lognormal(0.0, 0.6))
        same = random.random(len(row)) < 0.7
        which.append(np.where(same, random.integers(0, 5), random.integers(0, 5, len(row))))
    at = _places(np.concatenate(seconds), rate)
    x = _struck(random, whole, rate, things, np.concatenate(which), at, np.concatenate(gains))
    return _finished(random, x, samples, rate)


def handling(random: Random, samples: int, rate: int) -> Audio:
    """A microphone that is held, its cable rubbed, its desk bumped, breath: bursts mostly below 300 Hz."""
    whole = _span(samples, rate)
    x = np.zeros(whole, np.float32)
    rumble = shaped(random, whole, rate, _material(random, 15.0, _log_uniform(random, 60.0, 250.0)))
    scrape = shaped(random, whole, rate, _material(random, 300.0, _log_uniform(random, 1_500.0, 9_000.0)))
    low, high = np.zeros(whole), np.zeros(whole)
    rub = _decibels(random, -40.0, -5.0)
    for begin, lasts in _spells(random, samples, rate, (0.05, 0.8), (0.05, 1.5)):
        swell = _swell(lasts, rate, random.uniform(0.05, 0.5)) * random.lognormal(0.0, 0.6)
        _add(low, swell, begin, rate)
        if random.random() < 0.6:
            _add(high, swell * rub * random.lognormal(0.0, 0.5), begin + random.uniform(-0.02, 0.02), rate)
    nervous = random.uniform(0.2, 0.8)
    x += rumble * (low * np.exp(nervous * wandering(random, whole, rate, 12.0))).astype(np.float32)
    x += scrape * (high * np.exp(1.5 * nervous * wandering(random, whole, rate, 40.0))).astype(np.float32)
    bumps = _paced(random, samples, rate, _log_uniform(random, 0.4, 4.0), 0.4)
    for at in bumps:
        decay = _log_uniform(random, 0.04, 0.3)
        t = np.arange(round(decay * rate)) / rate
        frequency = _log_uniform(random, 25.0, 140.0) * (1.0 + random.uniform(0.0, 1.0) * np.exp(-t / 0.02))
        bump = np.sin(2 * np.pi * np.cumsum(frequency) / rate) * np.exp(-math.log(1000.0) * t / decay)
        loud = np.float32(random.lognormal(0.5, 0.8))
        _add(x, bump.astype(np.float32) * loud, at, rate)
        contact = _burst(random, rate, _material(random, 150.0, 3_000.0), random.uniform(0.005, 0.04))
        _add(x, contact * loud * _decibels(random, -25.0, 5.0), at, rate)
    return _finished(random, x, samples, rate)


def steps(random: Random, samples: int, rate: int) -> Audio:
    """Footsteps, knocks, doors, chairs that are dragged: thuds at a walk's pace, creaks, and their room."""
    whole = _span(samples, rate)
    style = str(random.choice(["walk", "walk", "walk", "knocks", "doors", "chair"]))
    x = np.zeros(whole, np.float32)
    if style == "walk":
        moments = _paced(random, samples, rate, _log_uniform(random, 1.2, 2.8), 0.03)
        low, high = _log_uniform(random, 200.0, 1_500.0), _log_uniform(random, 2_500.0, 9_000.0)
        soles = _material(random, low, high)
        heel = random.uniform(0.02, 0.12)
        grit = _decibels(random, -20.0, 6.0)
        things = [
            _thing(random, rate, _log_uniform(random, 60.0, 200.0), 700.0, random.uniform(0.05, 0.2))
            for _ in range(2)
        ]
        gains = random.lognormal(0.0, 0.25, len(moments))
        x += _struck(random, whole, rate, things, np.arange(len(moments)) % 2, _places(moments, rate), gains)
        for at, gain in zip(moments, gains, strict=True):
            for later, fainter in ((0.0, 1.0), (heel + random.uniform(0.0, 0.02), random.uniform(0.2, 0.9))):
                scuff = _burst(random, rate, soles, _log_uniform(random, 0.02, 0.12)) * np.float32(8.0)
                _add(x, scuff * np.float32(gain * grit * fainter), at + later, rate)
    elif style in ("knocks", "doors"):
        things = []
        for _ in range(3):
            low, high = _log_uniform(random, 80.0, 400.0), random.uniform(1_000.0, 5_000.0)
            things.append(_thing(random, rate, low, high, random.uniform(0.06, 0.3), 16))
        rows = []
        for at in _paced(random, samples, rate, random.uniform(0.5, 1.0), 0.2):
            count = int(random.integers(2, 6)) if style == "knocks" else int(random.integers(1, 4))
            period = random.uniform(0.12, 0.3) if style == "knocks" else random.uniform(0.03, 0.15)
            rows.append(at + period * (np.arange(count) + 0.06 * random.standard_normal(count)))
        moments = np.concatenate(rows)
        which = random.integers(0, 1 if style == "knocks" else 3, len(moments))
        gains = random.lognormal(0.0, 0.3 if style == "knocks" else 0.7, len(moments))
        x += _struck(random, whole, rate, things, which, _places(moments, rate), gains)
    if style == "chair" or random.random() < 0.15:
        x = normalised(x) + _decibels(random, -15.0, 5.0) * normalised(_creaks(random, samples, rate))
    return _finished(random, x, samples, rate)


def _creaks(random: Random, samples: int, rate: int) -> Audio:
    """What sticks and slips, 15 to 150 times a second, faster and slower, in wood or metal: with the lead."""
    whole = _span(samples, rate)
    kernels = [
        _burst(random, rate, _material(random, _log_uniform(random, 150.0, 800.0), 4_000.0, 8.0), 0.02)
        for _ in range(3)
    ]
    rows, gains = [], []
    for begin, lasts in _spells(random, samples, rate, (0.15, 1.2), (0.2, 1.5)):
        pace = _log_uniform(random, 15.0, 150.0)
        count = max(3, int(lasts * pace))
        glide = np.exp(np.cumsum(random.normal(0.0, 0.1, count)).clip(-1.0, 1.0)) / pace
        rows.append(begin + np.cumsum(glide))
        gains.append(np.sin(np.pi * (np.arange(count) + 0.5) / count) * random.lognormal(0.0, 0.5))
    at = _places(np.concatenate(rows), rate)
    return _grains(random, whole, at, np.concatenate(gains), kernels)


# ------------------------------------------------------------------------------------------ animals


def barks(random: Random, samples: int, rate: int) -> Audio:
    """Dogs: rows of barks of 0.07 to 0.35 s, harmonic, falling, rough, with formants; some yelp."""
    whole = _span(samples, rate)
    x = np.zeros(whole, np.float32)
    for _ in range(int(random.choice([1, 1, 2]))):
        dog = _Dog(random, rate)
        distance = _decibels(random, -12.0, 0.0)
        for begin, lasts in _spells(random, samples, rate, (0.1, 2.5), (0.2, random.uniform(0.5, 2.5))):
            at = begin
            loud = random.lognormal(0.0, 0.25)
            while at < min(begin + lasts, whole / rate):
                bark = dog.bark()
                _add(x, bark * distance * np.float32(loud * random.lognormal(0.0, 0.2)), at, rate)
                at += len(bark) / rate + random.gamma(3.0, dog.gap / 3.0)
    if not np.any(x[whole - samples :]):
        _add(x, dog.bark(), random.uniform(LEAD, LEAD + 0.8 * samples / rate), rate)
    return _finished(random, x, samples, rate)


class _Dog:
    """A voice: no two of its barks are alike."""

    def __init__(self, random: Random, rate: int) -> None:
        self._random, self._rate = random, rate
        self._pitch = _log_uniform(random, 200.0, 900.0)
        self._length = random.uniform(0.1, 0.25)
        size = (900.0 / self._pitch) ** 0.15  # large dogs bark low, with low formants
        self._formants = random.uniform([450.0, 900.0, 2_000.0], [900.0, 1_800.0, 3_500.0]) / size
        self._tilt = random.uniform(1.0, 3.0)
        self._rough, self._breath = random.uniform(0.0, 1.0), _decibels(random, -40.0, -5.0)
        self._yelps = random.choice([0.0, 0.1, 0.5])
        self.gap = random.uniform(0.08, 0.4)

    def bark(self) -> Audio:
        """(samples,), at an RMS near 1."""
        random, rate = self._random, self._rate
        yelp = random.random() < self._yelps
        samples = round(self._length * random.uniform(0.7, 1.4) * rate * (1.3 if yelp else 1.0))
        t = np.linspace(0.0, 1.0, samples)
        top, fall = random.uniform(0.1, 0.4), random.uniform(0.2, 0.7)
        shape = np.where(
            t < top,
            1.0 - 0.4 * (1.0 - t / top) ** 2,
            1.0 - fall * np.maximum(0.0, (t - top) / (1.0 - top)) ** 1.5,
        )
        pitch = self._pitch * random.uniform(0.85, 1.15) * (random.uniform(1.5, 2.5) if yelp else 1.0) * shape
        pitch *= 1.0 + (0.01 + 0.05 * self._rough) * wandering(random, samples, rate, 120.0)
        cycles = np.cumsum(pitch) / rate + random.random()
        highest = max(1, min(24, int(min(0.45 * rate, 9_000.0) / pitch.max())))
        centres = self._formants * random.uniform(0.9, 1.1, 3) * (1.0 + 0.3 * np.sin(np.pi * t[::64, None]))
        heights = random.uniform(0.3, 1.0, 3) * np.array([1.0, 0.7, 0.3])
        x = np.zeros(samples, np.float32)
        phase = (cycles - np.floor(cycles)).astype(np.float32) * np.float32(2 * np.pi)
        for k in range(1, highest + 1):
            away = np.log2(k * pitch[::64, None] / centres) / 0.35
            gain = float(k) ** -self._tilt * (0.1 + np.sum(heights * np.exp(-0.5 * away**2), axis=1))
            x += np.interp(t, t[::64], gain).astype(np.float32) * np.sin(np.float32(k) * phase)
        half = np.sin(np.pi * cycles + random.random()).astype(np.float32)
        x *= 1.0 + np.float32(self._rough) * half * np.float32(random.uniform(0.2, 1.0))
        air = shaped(random, samples, rate, _material(random, 500.0, 3_000.0))
        x += air * np.float32(self._breath * math.sqrt(float(np.mean(x**2))))
        attack = random.uniform(0.03, 0.15)
        end = np.minimum(1.0, (1.0 - t) / 0.4) ** random.uniform(0.7, 2.0)
        x *= (np.minimum(1.0, t / attack) * end).astype(np.float32)
        return np.asarray(x / (math.sqrt(float(np.mean(x**2))) + 1e-9), np.float32)


def chirps(random: Random, samples: int, rate: int) -> Audio:
    """Birds, one to a dozen: rows of whistles of 1.5 to 8 kHz that glide and warble, and trills."""
    whole = _span(samples, rate)
    x = np.zeros(whole, np.float32)
    for _ in range(int(_log_uniform(random, 1.0, 13.0))):
        bird = _Bird(random, rate)
        distance = _decibels(random, -20.0, 0.0)
        for begin, lasts in _spells(random, samples, rate, (0.1, 2.0), (0.1, random.uniform(0.4, 2.5))):
            at = begin
            trilling, song = random.random() < 0.35, int(random.integers(0, 4))
            while at < min(begin + lasts, whole / rate):
                note = bird.note(song, 0.8 * bird.trill if trilling else math.inf)
                _add(x, note * distance, at, rate)
                at += bird.trill if trilling else len(note) / rate + random.gamma(2.0, 0.05)
                song = song if trilling else int(random.integers(0, 4))
    if not np.any(x[whole - samples :]):
        _add(x, bird.note(0, math.inf), random.uniform(LEAD, LEAD + 0.8 * samples / rate), rate)
    return _finished(random, x, samples, rate, (-45.0, -5.0))


class _Bird:
    """A voice of four notes, none of which is twice the same; ``trill`` is the period of its trills."""

    def __init__(self, random: Random, rate: int) -> None:
        self._random, self._rate = random, rate
        self._centre, self._width = _log_uniform(random, 1_800.0, 6_500.0), random.uniform(0.05, 0.4)
        self._paths = random.uniform(-1.0, 1.0, (4, 5))
        self._lengths = np.exp(random.uniform(math.log(0.03), math.log(0.3), 4))
        self._warbles = random.choice([0.0, 0.0, 0.15], 4)
        self.trill = 1.0 / _log_uniform(random, 5.0, 25.0)

    def note(self, number: int, longest: float) -> Audio:
        """(samples,), with a peak near 1: one of 0 to 3, of so many seconds at most."""
        random, rate = self._random, self._rate
        length = min(longest, float(self._lengths[number]) * random.uniform(0.85, 1.15))
        t = np.linspace(0.0, 1.0, max(32, round(length * rate)))
        points = self._paths[number] + 0.1 * random.standard_normal(5)
        octaves = np.interp(t, np.linspace(0.0, 1.0, 5), points) * self._width
        octaves += self._warbles[number] * np.sin(2 * np.pi * length * random.uniform(25.0, 60.0) * t)
        pitch = np.minimum(self._centre * 2.0**octaves, min(9_000.0, 0.45 * rate))
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        x = np.sin(phase)
        if 2.0 * pitch.max() < 0.45 * rate:
            x += 0.15 * random.random() * np.sin(2 * phase)
        x *= np.sin(np.pi * t) ** random.uniform(0.5, 2.0) * random.lognormal(0.0, 0.25)
        return x.astype(np.float32)


# ------------------------------------------------------------------------------------------ crackling


def crackle(random: Random, samples: int, rate: int, per_second: float | None = None) -> Audio:
    """Vinyl, fire, frying: 2 to 3,000 clicks a second at random, few of them loud, over hiss and rumble.

    ``per_second`` is how many, if given.
    """
    pace = _log_uniform(random, 2.0, 3_000.0) if per_second is None else per_second
    whole = _span(samples, rate)
    low = _log_uniform(random, 150.0, 3_000.0)
    kernels = [
        _burst(random, rate, _material(random, low * ratio, 14_000.0), _log_uniform(random, 0.0008, 0.02))
        for ratio in (1.0, random.uniform(0.5, 2.0), random.uniform(0.3, 1.0))
    ]
    uneven = random.uniform(0.0, 0.8) if per_second is None else 0.0
    crowd = np.exp(uneven * wandering(random, whole, rate, random.uniform(0.5, 4.0)))
    at = _crowded(random, crowd, random.poisson(pace * whole / rate))
    at = np.append(at, whole - samples + random.integers(0, max(1, samples * 4 // 5)))
    # Amplitudes above a number are as many as its power of -1.2 to -3 says, up to 40 dB.
    gains = np.minimum(1.0 + random.pareto(random.uniform(1.2, 3.0), len(at)), 100.0)
    x = normalised(_grains(random, whole, at, gains, kernels))
    if random.random() < 0.7:
        hiss = normalised(shaped(random, whole, rate, _material(random, 1_000.0, 15_000.0)))
        x += hiss * _decibels(random, -40.0, 0.0)
    if random.random() < 0.6:
        turn = 1.0 + random.uniform(0.1, 0.6) * np.sin(2 * np.pi * 5 / 9 * np.arange(whole) / rate)
        corner, order = random.uniform(25.0, 120.0), random.uniform(1.0, 2.0)
        rumble = normalised(shaped(random, whole, rate, lambda f: (1.0 + (f / corner) ** 2) ** -order))
        x += rumble * turn.astype(np.float32) * _decibels(random, -30.0, 25.0)
    return _finished(random, x, samples, rate)
