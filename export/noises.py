"""Synthetic noises: what rooms, machines, hands, streets and weather sound like.

Each is a function ``(random, samples, rate)`` that returns (samples,) float32 at an RMS of
`export.sounds.RMS`, as if cut out of a longer recording: it does not fade in or out. Everything random comes
from the generator, so that the same seed gives the same noise. `NOISES` has them by name. Rates are 8 kHz or
more; components above half the rate are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from export.sounds import (
    LOWEST,
    Audio,
    Noise,
    Random,
    audible,
    echoing,
    moments,
    normalised,
    over_floor,
    periodic,
    ringing,
    room_tone,
    scattered,
    shaped,
    unsteady,
    wandering,
)
from export.transients import (
    barks,
    chirps,
    crackle,
    dishes,
    handling,
    keys,
    machines,
    paper,
    rubbing,
    steps,
    ticks,
)

# ------------------------------------------------------------------------------------------ steady


def coloured(random: Random, samples: int, rate: int, exponent: float | None = None) -> Audio:
    """Noise whose power falls as ``f**-exponent`` above 20 Hz: 0 white, 1 pink, 2 brown; else 0 to 2.5."""
    exponent = random.uniform(0.0, 2.5) if exponent is None else exponent
    return normalised(shaped(random, samples, rate, lambda f: f ** (-exponent / 2.0)))


def uneven(random: Random, samples: int, rate: int) -> Audio:
    """Noise with a random smooth spectrum: a tilt of 0 to -9 dB per octave, +-4 dB from octave to octave."""
    octaves = np.arange(math.log2(LOWEST), math.log2(rate))
    curve = random.uniform(-9.0, 0.0) * octaves + random.normal(0.0, 4.0, len(octaves))
    return normalised(
        shaped(random, samples, rate, lambda f: 10.0 ** (np.interp(np.log2(f), octaves, curve) / 20.0))
    )


def hum(random: Random, samples: int, rate: int, mains: float | None = None) -> Audio:
    """Mains hum: 50 or 60 Hz and harmonics; even ones from transformers, odd ones from rectified currents."""
    mains = float(random.choice([50.0, 60.0])) if mains is None else mains
    number = np.arange(1, 81)
    amplitudes = number ** -random.uniform(1.0, 2.2) * random.uniform(0.3, 1.0, len(number))
    amplitudes[1::2] *= random.uniform(0.7, 3.0)
    tone = periodic(unsteady(random, samples, rate, mains, 2e-4), audible(mains, amplitudes, rate), random)
    hiss = shaped(random, samples, rate, lambda f: f**-0.5)
    return normalised(normalised(tone) + normalised(hiss) * 10.0 ** (random.uniform(-40.0, -20.0) / 20.0))


def buzz(random: Random, samples: int, rate: int, fundamental: float | None = None) -> Audio:
    """A steady buzz or whine, as of lamps, motors and telephones: 1 to 60 harmonics of a frequency (Hz).

    Without ``fundamental`` it is 60 to 600 Hz, where voices have their pitch, which is never as steady; a
    quarter have a second tone.
    """
    x = np.zeros(samples, np.float32)
    for _ in range(1 if random.random() < 0.75 else 2):
        pitch = 60.0 * 10.0 ** random.random() if fundamental is None else fundamental
        number = np.arange(1, round(60.0 ** random.random()) + 1)
        amplitudes = number ** -random.uniform(0.0, 2.0) * random.uniform(0.2, 1.0, len(number))
        cycles = unsteady(random, samples, rate, pitch, 10.0 ** random.uniform(-4.0, -2.5))
        x += normalised(periodic(cycles, audible(pitch, amplitudes, rate), random))
    hiss = shaped(random, samples, rate, lambda f: f**-0.5)
    return normalised(normalised(x) + normalised(hiss) * 10.0 ** (random.uniform(-40.0, -10.0) / 20.0))


def fan(
    random: Random, samples: int, rate: int, blades: int | None = None, turns: float | None = None
) -> Audio:
    """A fan or rotor: its shaft's harmonics, strongest at multiples of the blades, in the noise of the air.

    Parameters
    ----------
    blades, turns
        How many, and revolutions per second; 3 to 9, and 15 to 60, if not given.
    """
    blades = int(random.integers(3, 10)) if blades is None else blades
    turns = random.uniform(15.0, 60.0) if turns is None else turns
    number = np.arange(1, 8 * blades + 1)
    amplitudes = random.uniform(0.02, 0.15, len(number)) / np.sqrt(number)
    passing = number % blades == 0
    amplitudes[passing] = random.uniform(0.5, 1.0, 8) * np.arange(1, 9) ** -random.uniform(0.7, 1.5)
    cycles = unsteady(random, samples, rate, turns, 1e-3)
    tone = normalised(periodic(cycles, audible(turns, amplitudes, rate), random))
    centre, width = random.uniform(150.0, 1_200.0), random.uniform(1.0, 2.0)
    slope = random.uniform(0.4, 0.9)
    air = shaped(
        random, samples, rate, lambda f: f**-slope * (0.3 + np.exp(-0.5 * (np.log2(f / centre) / width) ** 2))
    )
    # The air pulses a little as the blades pass, and slowly.
    air *= 1.0 + random.uniform(0.0, 0.2) * np.sin(2 * np.pi * blades * cycles).astype(np.float32)
    air *= (1.0 + 0.05 * wandering(random, samples, rate, 1.0)).astype(np.float32)
    return normalised(normalised(air) + tone * 10.0 ** (random.uniform(-18.0, 3.0) / 20.0))


def ventilation(random: Random, samples: int, rate: int) -> Audio:
    """Air from ducts: a rumble that falls by 6 to 12 dB per octave, a duct's resonance, and slow surges."""
    corner, order = random.uniform(60.0, 300.0), random.uniform(1.0, 2.0)
    duct, height = random.uniform(100.0, 800.0), random.uniform(0.0, 1.5)
    x = shaped(
        random,
        samples,
        rate,
        lambda f: (
            (1 + (f / corner) ** 2) ** (-order / 2) * (1 + height * np.exp(-18 * np.log2(f / duct) ** 2))
        ),
    )
    surges = 10.0 ** (1.5 / 20.0 * wandering(random, samples, rate, random.uniform(0.1, 0.5)))
    return normalised(x * surges)


# ------------------------------------------------------------------------------------------ events


def clicks(random: Random, samples: int, rate: int) -> Audio:
    """Knocks, clacks and clicks of hard things, 0.5 to 8 per second at random."""
    sounds = []
    for _ in range(8):
        low = math.exp(random.uniform(math.log(150.0), math.log(2_500.0)))
        sounds.append(
            ringing(random, rate, low, 4.0 * low, random.uniform(0.02, 0.25), int(random.integers(2, 7)))
        )
    at = moments(random, samples, rate, random.uniform(0.5, 8.0))
    sounds = echoing(random, sounds, rate)
    x = scattered(samples, sounds, random.integers(0, 8, len(at)), at, random.lognormal(0.0, 0.6, len(at)))
    return over_floor(random, x, rate)


def drops(random: Random, samples: int, rate: int) -> Audio:
    """Dripping water: bubbles that ring at 400 to 3000 Hz, rise in pitch and decay, 1 to 12 per second."""
    sounds = []
    for _ in range(10):
        frequency = math.exp(random.uniform(math.log(400.0), math.log(3_000.0)))
        decay = random.uniform(0.03, 0.12)
        t = np.arange(round(1.2 * decay * rate)) / rate
        rise = random.uniform(0.0, 4.0) * t
        sound = np.exp(-math.log(1000.0) * t / decay) * np.sin(2 * np.pi * frequency * (t + 0.5 * rise * t))
        sound *= np.minimum(1.0, t / 0.0008) * np.minimum(1.0, (t[-1] - t) / 0.002)
        sounds.append(sound.astype(np.float32))
    at = moments(random, samples, rate, random.uniform(1.0, 12.0))
    sounds = echoing(random, sounds, rate)
    x = scattered(samples, sounds, random.integers(0, 10, len(at)), at, random.lognormal(0.0, 0.5, len(at)))
    return over_floor(random, x, rate)


# ------------------------------------------------------------------------------------------ outdoors


def traffic(random: Random, samples: int, rate: int) -> Audio:
    """Vehicles that pass, brighter the nearer they are, with their engines' hum, before a distant rumble."""
    t = np.arange(samples) / rate
    far = shaped(random, samples, rate, lambda f: 1.0 / (1.0 + (f / 120.0) ** 1.5))
    tyres = shaped(random, samples, rate, lambda f: np.exp(-0.5 * (np.log2(f / 800.0) / 1.3) ** 2))
    x = far * np.float32(10.0 ** (random.uniform(-20.0, -6.0) / 20.0))
    seconds = samples / rate
    count = 1 + random.poisson(seconds * random.uniform(0.05, 0.25))
    for at in random.uniform(-1.0, seconds + 1.0, count):
        # The intensity of a source on a line at a speed v and a distance d: 1 / (1 + (v t / d)^2).
        time = random.uniform(0.4, 1.5)
        near = 1.0 / (1.0 + ((t - at) / time) ** 2)
        gain = random.uniform(0.4, 1.0)
        x += (gain * (0.3 * np.sqrt(near) + 0.7 * near)).astype(np.float32) * tyres
        firing = random.uniform(30.0, 110.0)
        approach = (t - at) / time
        # Doppler: the frequency falls as it passes, by the component of v along the line of sight.
        shift = 1.0 - random.uniform(0.02, 0.08) * approach / np.sqrt(1.0 + approach**2)
        engine = periodic(np.cumsum(shift) * firing / rate, 1.0 / np.arange(1.0, 13.0), random)
        x += (gain * random.uniform(0.2, 0.8) * np.sqrt(near)).astype(np.float32) * engine
    return normalised(x)


def wind(random: Random, samples: int, rate: int) -> Audio:
    """Gusts at a microphone: a low rumble that swells and bursts, and a howl in the strongest."""
    force = 0.7 * wandering(random, samples, rate, 0.3) + 0.5 * wandering(random, samples, rate, 2.0)
    corner = random.uniform(40.0, 120.0)
    rumble = shaped(random, samples, rate, lambda f: (1.0 + (f / corner) ** 2) ** -0.9)
    howl, width = random.uniform(300.0, 900.0), random.uniform(0.4, 1.0)
    air = shaped(random, samples, rate, lambda f: np.exp(-0.5 * (np.log2(f / howl) / width) ** 2))
    x = rumble * np.exp(0.6 * force)
    return normalised(x + random.uniform(0.03, 0.3) * air * np.exp(1.2 * force))


def siren(random: Random, samples: int, rate: int) -> Audio:
    """An emergency vehicle's siren, wail, yelp or two tones, with its echoes, over the street."""
    echoes = np.rint(random.uniform(0.02, 0.3, 5) * rate).astype(np.int64)
    before = int(echoes.max())
    t = np.arange(samples + before) / rate + random.uniform(0.0, 10.0)
    style = str(random.choice(["wail", "yelp", "tones"]))
    low, high = random.uniform(400.0, 700.0), random.uniform(1_000.0, 1_500.0)
    if style == "tones":
        pitch = np.where(t * random.uniform(0.8, 1.2) % 2.0 < 1.0, low, low * 4.0 / 3.0)
    else:
        turns = t * (random.uniform(0.15, 0.3) if style == "wail" else random.uniform(2.5, 4.0))
        pitch = low + (high - low) * (0.5 - 0.5 * np.cos(2 * np.pi * turns))
    amplitudes = np.arange(1.0, 9.0) ** -random.uniform(1.0, 2.0)
    tone = periodic(np.cumsum(pitch) / rate, audible(high, amplitudes, rate), random)
    tone *= np.exp(0.4 * wandering(random, len(t), rate, 0.3)).astype(np.float32)
    whole = tone[before:].copy()
    for echo in echoes:
        whole += np.float32(random.uniform(0.1, 0.4)) * tone[before - echo : len(tone) - echo]
    street = shaped(random, samples, rate, lambda f: 1.0 / (1.0 + (f / 200.0) ** 1.2))
    return normalised(normalised(whole) + normalised(street) * 10.0 ** (random.uniform(-25.0, -5.0) / 20.0))


# ------------------------------------------------------------------------------------------ music

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))
_PROGRESSIONS = ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 4), (5, 3, 0, 4), (0, 6, 5, 6))
_BEATS = ("x...x...x...x...", "x.....x.x.......", "x..x..x...x..x..")


def music(random: Random, samples: int, rate: int) -> Audio:
    """Chords and a bass with drums, 70 to 150 beats a minute, from anywhere in a bar on."""
    beat = 60.0 / random.uniform(70.0, 150.0)
    sixteenth = beat / 4.0
    start = random.uniform(0.0, 16.0 * beat)
    scale, progression = random.choice(_SCALES), random.choice(_PROGRESSIONS)
    root, brightness = int(random.integers(45, 57)), random.uniform(1.2, 2.5)
    decay, attack = random.uniform(0.4, 4.0), random.uniform(0.005, 0.08)
    amplitudes = np.arange(1.0, 17.0) ** -brightness
    x = np.zeros(samples, np.float32)
    bars = range(int(start // (4 * beat)), int((start + samples / rate) // (4 * beat)) + 1)
    for bar in bars:
        degree = int(progression[bar % 4])
        notes = [root - 12 + int(scale[degree])]
        for step in (0, 2, 4):
            octave, tone = divmod(degree + step, 7)
            notes.append(root + 12 * octave + int(scale[tone]))
        begin = round((bar * 4 * beat - start) * rate)
        length = round(4 * beat * rate)
        first, last = max(0, begin), min(samples, begin + length)
        t = np.arange(first - begin, last - begin) / rate
        envelope = np.minimum(1.0, t / attack) * np.exp(-t / decay) * np.minimum(1.0, (4 * beat - t) / 0.02)
        for pitch in notes:
            frequency = 440.0 * 2.0 ** ((pitch - 69) / 12)
            tones = periodic(t * frequency, audible(frequency, amplitudes, rate), random)
            x[first:last] += (random.uniform(0.6, 1.0) * envelope).astype(np.float32) * tones
    x = normalised(x)
    t = np.arange(round(0.25 * rate)) / rate
    kick = np.sin(2 * np.pi * (50.0 * t + 4.0 * (1.0 - np.exp(-t / 0.03)))) * np.exp(-t / 0.06)
    snare = random.standard_normal(len(t)) * np.exp(-t / 0.05) + np.sin(2 * np.pi * 190.0 * t) * np.exp(
        -t / 0.04
    )
    hat = np.diff(random.standard_normal(len(t) + 1)) * np.exp(-t / random.uniform(0.02, 0.06))
    sounds = [
        (0.5 * drum * np.minimum(1.0, (t[-1] - t) / 0.005)).astype(np.float32)
        for drum in (kick, snare, 0.3 * hat)
    ]
    kicks = str(random.choice(_BEATS))
    loudness = 10.0 ** (random.uniform(-15.0, 0.0) / 20.0)
    steps = range(int(start / sixteenth) - 4, int((start + samples / rate) / sixteenth) + 1)
    hits = [(0, step) for step in steps if kicks[step % 16] == "x"]
    hits += [(1, step) for step in steps if step % 16 in (4, 12)]
    hits += [(2, step) for step in steps if step % 2 == 0]
    at = np.array([round((step * sixteenth - start) * rate) for _, step in hits])
    drums = scattered(
        samples, sounds, np.array([k for k, _ in hits]), at, loudness * random.uniform(0.7, 1.0, len(at))
    )
    return normalised(x + drums)


# ------------------------------------------------------------------------------------------ scenes


def _scene(
    random: Random, samples: int, rate: int, parts: Sequence[tuple[Noise, float, float, float]]
) -> Audio:
    """Room tone, and each of ``parts`` with a probability at a level relative to it in dB (least, most)."""
    x = room_tone(random, samples, rate)
    for noise, probability, least, most in parts:
        if random.random() < probability:
            x += noise(random, samples, rate) * np.float32(10.0 ** (random.uniform(least, most) / 20.0))
    return normalised(x)


def office(random: Random, samples: int, rate: int) -> Audio:
    """A quiet office: room tone, ventilation, a computer's fan, hum; at times keys, or something put down."""
    return _scene(
        random,
        samples,
        rate,
        (
            (ventilation, 0.8, -10.0, 10.0),
            (fan, 0.7, -12.0, 8.0),
            (hum, 0.4, -20.0, 0.0),
            (keys, 0.3, -15.0, 5.0),
            (clicks, 0.2, -15.0, 0.0),
        ),
    )


def conference(random: Random, samples: int, rate: int) -> Audio:
    """A quiet conference room: room tone, strong ventilation, a projector's fan, hum; rarely a knock."""
    return _scene(
        random,
        samples,
        rate,
        (
            (ventilation, 0.95, 0.0, 15.0),
            (fan, 0.5, -10.0, 8.0),
            (hum, 0.3, -20.0, 0.0),
            (clicks, 0.1, -15.0, 0.0),
        ),
    )


NOISES: dict[str, Noise] = {
    "coloured": coloured,
    "uneven": uneven,
    "hum": hum,
    "buzz": buzz,
    "fan": fan,
    "ventilation": ventilation,
    "room": room_tone,
    "keys": keys,
    "clicks": clicks,
    "drops": drops,
    "ticks": ticks,
    "machines": machines,
    "paper": paper,
    "rubbing": rubbing,
    "dishes": dishes,
    "handling": handling,
    "steps": steps,
    "barks": barks,
    "chirps": chirps,
    "crackle": crackle,
    "traffic": traffic,
    "wind": wind,
    "siren": siren,
    "music": music,
    "office": office,
    "conference": conference,
}
"""By name."""
