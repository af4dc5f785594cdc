"""Synthesise the demonstration clip: ten seconds of band, with the pitched and drum stems known exactly.

The pitched bus (electric piano, pad, bass, plucked arpeggio, lead with vibrato) and the drum bus (kick,
snare, hi-hats, crash) are rendered apart, so a harmonic/percussive separation of their sum can be measured
against the truth.

    python examples/make_clip.py                    # writes examples/clip.flac
    python examples/make_clip.py --stems out/stems  # and out/stems/{pitched,drums}.flac
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

Audio = npt.NDArray[np.float64]
Clip = npt.NDArray[np.float32]

RATE = 44100  # Hz
SEED = 2026
BEAT = 60 / 110  # seconds
BEATS = 18  # four bars and a two-beat ending: a whole number, so that the clip loops in time
FADE = 1.0  # seconds
PEAK_DB = -1.0  # dBFS, of the mix
DRUMS_DB = 1.0  # RMS of the drum bus over that of the pitched bus

# Fmaj9, Em7, Dm9, G13 and home to Cmaj9: the bass note, then the hands.
CHORDS = (
    (41, (57, 60, 64, 67)),
    (40, (55, 59, 62, 67)),
    (38, (53, 57, 60, 64)),
    (43, (53, 57, 59, 64)),
    (36, (52, 55, 59, 62)),
)
# (beat, length in beats, MIDI note)
LEAD = (
    (0.0, 1.5, 76), (1.5, 0.5, 79), (2.0, 1.9, 72),
    (4.0, 1.5, 74), (5.5, 0.5, 76), (6.0, 1.9, 71),
    (8.0, 1.5, 72), (9.5, 0.5, 74), (10.0, 1.0, 77), (11.0, 0.9, 76),
    (12.0, 1.5, 76), (13.5, 0.5, 74), (14.0, 1.0, 71), (15.0, 0.9, 74),
    (16.0, 2.0, 76),
)  # fmt: skip


def hertz(note: float) -> float:
    return float(440 * 2 ** ((note - 69) / 12))


def clock(duration: float, rate: int) -> Audio:
    return np.arange(round(duration * rate)) / rate


def gate(t: Audio, attack: float, release: float) -> Audio:
    """Return a raised-cosine attack and release, in seconds, over the whole of `t`."""
    rise = np.clip(t / attack, 0, 1)
    fall = np.clip((t[-1] - t) / release, 0, 1)
    shape: Audio = np.sin(np.pi / 2 * rise) ** 2 * np.sin(np.pi / 2 * fall) ** 2
    return shape


def filtered(x: Audio, kind: str, cutoff: float | tuple[float, float], rate: int) -> Audio:
    """Filter along the last axis with a second-order Butterworth, `cutoff` in Hz."""
    y: Audio = sosfilt(butter(2, cutoff, kind, fs=rate, output="sos"), x)
    return y


def add(bus: Audio, beat: float, voice: Audio, gain: float, pan: float = 0.0) -> None:
    """Add a mono `(n,)` or stereo `(2, n)` voice to the bus, panned at equal power from -1 to 1."""
    start = round(beat / BEATS * bus.shape[1])
    angle = (pan + 1) * np.pi / 4
    sides = np.sqrt(2) * gain * np.array([[np.cos(angle)], [np.sin(angle)]])
    voice = voice[..., : bus.shape[1] - start]
    bus[:, start : start + voice.shape[-1]] += sides * voice


def reverb(bus: Audio, decay: float, wet: float, rate: int, rng: np.random.Generator) -> Audio:
    """Add a stereo reverberation of noise that falls by 60 dB in `decay` s, twice as fast in the treble."""
    t = clock(decay, rate)
    noise = rng.standard_normal((2, t.size))
    treble = filtered(noise, "highpass", 3000, rate)
    tail = (noise - treble) * 10 ** (-3 * t / decay) + 0.5 * treble * 10 ** (-6 * t / decay)
    tail = filtered(tail * np.clip(t / 0.008, 0, 1), "highpass", 250, rate)
    tail = np.pad(tail, ((0, 0), (round(0.015 * rate), 0)))
    tail *= wet / np.sqrt(np.mean(np.sum(tail**2, axis=1)))
    wet_bus: Audio = fftconvolve(bus, tail, axes=1)[:, : bus.shape[1]]
    return bus + wet_bus


def electric_piano(note: float, duration: float, velocity: float, rate: int) -> Audio:
    """Two detuned FM pairs, one to each side, under a short bell-like tine. Returns `(2, n)`."""
    t = clock(duration, rate)
    sides = []
    for cents in (-3, 3):
        phase = 2 * np.pi * hertz(note + cents / 100) * t
        index = velocity * (0.7 + 1.5 * np.exp(-3 * t))
        body = np.sin(phase + index * np.sin(phase)) * np.exp(-1.1 * t)
        tine = np.sin(phase + 0.8 * np.sin(14 * phase)) * np.exp(-12 * t)
        sides.append(velocity * (body + 0.35 * tine) * gate(t, 0.003, 0.08))
    return np.stack(sides)


def pad(note: float, duration: float, rate: int, rng: np.random.Generator) -> Audio:
    """Three detuned, softened sawtooths a side with a slow attack. Returns `(2, n)`."""
    t = clock(duration, rate)
    out = np.zeros((2, t.size))
    for side in out:
        for cents in (-7, 0, 7):
            f = hertz(note + cents / 100)
            for k in range(1, int(min(4000, rate / 2) / f) + 1):
                side += np.sin(2 * np.pi * (k * f * t + rng.random())) / k / (1 + (k * f / 1400) ** 2)
    return out / 3 * gate(t, 0.25, 0.3)


def bass(note: float, duration: float, rate: int) -> Audio:
    """A sawtooth whose upper partials die away first, as in a plucked bass guitar. Returns `(n,)`."""
    t = clock(duration, rate)
    f = hertz(note)
    tone = np.zeros(t.size)
    for k in range(1, 17):
        tone += np.sin(2 * np.pi * k * f * t) / k * np.exp(-(0.8 + 0.9 * k) * t)
    return np.tanh(1.2 * tone) * gate(t, 0.004, 0.03)


def pluck(note: float, duration: float, rate: int, rng: np.random.Generator) -> Audio:
    """A Karplus-Strong string, tuned between samples by linear interpolation in its loop. Returns `(n,)`."""
    t = clock(duration, rate)
    delay = rate / hertz(note) - 0.5  # the averaging below delays by the other half sample
    whole = int(delay)
    loop = np.convolve([0.5, 0.5], [1 - (delay - whole), delay - whole])
    burst = np.zeros(t.size)
    burst[:whole] = filtered(rng.uniform(-1, 1, whole), "lowpass", 9000, rate)
    string: Audio = lfilter([1.0], np.concatenate(([1.0], np.zeros(whole - 1), -0.996 * loop)), burst)
    return string * gate(t, 0.001, 0.05)


def lead(note: float, duration: float, rate: int) -> Audio:
    """A hollow reed with a vibrato that grows through the note, up to 22 cents at 5.4 Hz. Returns `(n,)`."""
    t = clock(duration, rate)
    cents = 22 * np.clip((t - 0.15) / 0.4, 0, 1) * np.sin(2 * np.pi * 5.4 * t)
    phase = 2 * np.pi * np.cumsum(hertz(note) * 2 ** (cents / 1200)) / rate
    tone = np.zeros(t.size)
    for k, level in enumerate((1.0, 0.22, 0.34, 0.08, 0.13, 0.04, 0.05), start=1):
        tone += level * np.sin(k * phase)
    return tone * (0.75 + 0.25 * np.exp(-5 * t)) * gate(t, 0.025, 0.09)


def kick(rate: int, rng: np.random.Generator) -> Audio:
    """A sine falling from 230 Hz to 52 Hz behind a click. Returns `(n,)`."""
    t = clock(0.4, rate)
    phase = 2 * np.pi * (52 * t + 178 / 38 * (1 - np.exp(-38 * t)))
    click = filtered(rng.standard_normal(t.size), "bandpass", (1500, 6000), rate) * np.exp(-350 * t)
    return np.tanh(2.2 * np.sin(phase) * np.exp(-8.5 * t) + 0.9 * click) * gate(t, 0.0005, 0.1)


def snare(rate: int, rng: np.random.Generator) -> Audio:
    """Two drum-head modes under the rattle of the wires. Returns `(n,)`."""
    t = clock(0.32, rate)
    bend = t + 0.004 * (1 - np.exp(-60 * t))
    head = (np.sin(2 * np.pi * 186 * bend) + 0.6 * np.sin(2 * np.pi * 331 * bend)) * np.exp(-24 * t)
    wires = filtered(rng.standard_normal(t.size), "bandpass", (1100, 9500), rate)
    wires *= 0.7 * np.exp(-17 * t) + 0.9 * np.exp(-130 * t)
    return np.tanh(0.75 * head + 1.1 * wires) * gate(t, 0.0005, 0.05)


def cymbal(duration: float, decay: float, cutoff: float, rate: int, rng: np.random.Generator) -> Audio:
    """Noise above `cutoff` Hz, wide in stereo, that falls by 60 dB in `decay` seconds. Returns `(2, n)`."""
    t = clock(duration, rate)
    both = 0.8 * rng.standard_normal(t.size) + 0.8 * rng.standard_normal((2, t.size))
    noise = filtered(filtered(both, "highpass", cutoff, rate), "lowpass", 15000, rate)
    return noise * 10 ** (-3 * t / decay) * gate(t, 0.0005, 0.02)


def play_pitched(rate: int) -> Audio:
    rng = np.random.default_rng(SEED)
    bus = np.zeros((2, round(BEATS * BEAT * rate)))
    for bar, (root, hands) in enumerate(CHORDS):
        start = 4 * bar
        length = min(4, BEATS - start)
        for voice, note in enumerate(hands):
            pan = (voice - 1.5) / 4
            strum = 0.012 * voice / BEAT
            add(bus, start, pad(note, (length + 0.3) * BEAT, rate, rng), 0.045, pan)
            if bar == len(CHORDS) - 1:
                add(bus, start + strum, electric_piano(note, length * BEAT, 0.9, rate), 0.2, pan)
                continue
            for beat, held, velocity in ((0, 1.4, 0.95), (1.5, 1.9, 0.75), (3.5, 0.45, 0.65)):
                add(bus, start + beat + strum, electric_piano(note, held * BEAT, velocity, rate), 0.2, pan)
        if bar == len(CHORDS) - 1:
            add(bus, start, bass(root, length * BEAT, rate), 0.27)
            continue
        for beat, held, step in ((0, 1.3, 0), (1.5, 0.8, 0), (2.5, 0.45, 12), (3, 0.45, 7), (3.5, 0.45, 12)):
            add(bus, start + beat, bass(root + step, held * BEAT, rate), 0.27)
        for i in range(16):
            note = hands[(0, 2, 1, 3)[i % 4]] + (12, 24)[i // 4 % 2]
            accent = 0.45 if i % 4 == 0 else 0.32
            add(bus, start + i / 4, pluck(note, 0.7, rate, rng), accent, (-0.6, 0.6)[i % 2])
    for beat, held, note in LEAD:
        add(bus, beat, lead(note, held * BEAT, rate), 0.18, 0.12)
    return reverb(bus, 1.4, 0.3, rate, rng)


def play_drums(rate: int) -> Audio:
    rng = np.random.default_rng(SEED + 1)
    bus = np.zeros((2, round(BEATS * BEAT * rate)))
    for start in (0, 4, 8, 12):
        for beat in (0, 1.5, 2.5):
            add(bus, start + beat, kick(rate, rng), 0.55 if beat == 0 else 0.47)
        for beat in (1, 3):
            add(bus, start + beat, snare(rate, rng), 0.65, -0.05)
        for i in range(16):
            strength = (0.28, 0.1, 0.2, 0.13)[i % 4] * rng.uniform(0.85, 1.15)
            if i == 14:
                add(bus, start + i / 4, cymbal(0.27, 0.5, 6500, rate, rng), 0.2, 0.3)
            elif i < 14:
                add(bus, start + i / 4, cymbal(0.12, 0.13, 7500, rate, rng), strength, 0.3)
    for beat, strength in ((15.25, 0.25), (15.5, 0.35), (15.75, 0.48)):
        add(bus, beat, snare(rate, rng), strength, -0.05)
    add(bus, 16, kick(rate, rng), 0.55)
    for beat in (0, 16):
        add(bus, beat, cymbal(2.2, 2.6, 3500, rate, rng), 0.22, -0.35)
    return reverb(np.tanh(bus), 0.6, 0.1, rate, rng)


@lru_cache(maxsize=2)
def buses(rate: int) -> tuple[Clip, Clip]:
    """Balance, fade and scale the two buses together, on the 16-bit grid so that files sum exactly too."""
    tones, hits = (filtered(bus, "highpass", 30, rate) for bus in (play_pitched(rate), play_drums(rate)))
    hits *= 10 ** (DRUMS_DB / 20) * np.sqrt(np.mean(tones**2) / np.mean(hits**2))
    left = np.arange(tones.shape[1], 0, -1) / rate
    fade = np.sin(np.pi / 2 * np.clip(left / FADE, 0, 1)) ** 2
    scale = 10 ** (PEAK_DB / 20) / np.max(np.abs((tones + hits) * fade)) * fade
    stems = [(np.round(bus * scale * 32768) / 32768).astype(np.float32) for bus in (tones, hits)]
    for stem in stems:
        stem.flags.writeable = False
    return stems[0], stems[1]


def pitched(rate: int = RATE) -> Clip:
    """Synthesise the pitched instruments.

    Parameters
    ----------
    rate : int
        Sample rate in Hz, 32000 or more.

    Returns
    -------
    ndarray of float32, shape (2, n)
        Left and right, read-only, on the 16-bit grid. `pitched(rate) + drums(rate)` is the mix, exactly,
        and peaks at -1 dBFS.
    """
    return buses(rate)[0]


def drums(rate: int = RATE) -> Clip:
    """Synthesise the drums.

    Parameters
    ----------
    rate : int
        Sample rate in Hz, 32000 or more.

    Returns
    -------
    ndarray of float32, shape (2, n)
        Left and right, read-only, on the 16-bit grid, as long as `pitched(rate)`.
    """
    return buses(rate)[1]


def write(path: Path, clip: Clip, rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, (clip.T * 32768).astype(np.int16), rate)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Synthesise the demonstration clip.")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("clip.flac"))
    parser.add_argument("--stems", type=Path, metavar="DIR", help="also write the two stems here")
    args = parser.parse_args(argv)
    write(args.out, pitched(RATE) + drums(RATE), RATE)
    if args.stems is not None:
        write(args.stems / "pitched.flac", pitched(RATE), RATE)
        write(args.stems / "drums.flac", drums(RATE), RATE)


if __name__ == "__main__":
    main()
