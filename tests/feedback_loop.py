"""A loudspeaker and a microphone in a room: the closed loop that the howl guard is judged by, and programme.

Knows no engine: rooms, the limit of stability by Nyquist's criterion, speech-like and music-like sound.
"""

import numpy as np
from scipy import signal

BLOCK = 128


def band_limited(taps, rate):
    """What loudspeaker and microphone pass: 120 Hz to 8 kHz."""
    sos = signal.butter(2, (120, min(8000, 0.4 * rate)), "bandpass", fs=rate, output="sos")
    return signal.sosfilt(sos, taps)


def decaying_noise(seed, rate):
    """Impulse response: 5 to 30 ms of delay, direct sound, noise that decays by 60 dB in 0.15 to 0.6 s."""
    rng = np.random.default_rng(seed)
    delay, reverberation = rng.uniform(0.005, 0.030), rng.uniform(0.15, 0.6)
    t = np.arange(round(0.7 * reverberation * rate)) / rate
    taps = 0.15 * rng.standard_normal(len(t)) * np.exp(-np.log(1000) * t / reverberation)
    taps[0] += 1.0
    return band_limited(np.concatenate([np.zeros(round(delay * rate)), taps]), rate)


def shoebox(seed, rate, order=10):
    """Impulse response of a rectangular room by image sources.

    J. B. Allen, D. A. Berkley, "Image method for efficiently simulating small-room acoustics", JASA 65(4),
    1979.
    """
    rng = np.random.default_rng(seed)
    size = np.array([rng.uniform(4, 10), rng.uniform(3, 8), rng.uniform(2.4, 4)])
    speaker, microphone = size * rng.uniform(0.15, 0.85, (2, 3))
    while np.linalg.norm(speaker - microphone) < 1.7:
        speaker, microphone = size * rng.uniform(0.15, 0.85, (2, 3))
    reflection = rng.uniform(0.6, 0.85)
    number = np.arange(-order, order + 1)
    along = []
    for axis in range(3):
        image = np.where(number % 2, -1, 1) * speaker[axis] + (number + number % 2) * size[axis]
        along.append(image - microphone[axis])
    distance = np.sqrt(
        along[0][:, None, None] ** 2 + along[1][None, :, None] ** 2 + along[2][None, None, :] ** 2
    )
    bounces = np.abs(number)[:, None, None] + np.abs(number)[None, :, None] + np.abs(number)[None, None, :]
    keep = bounces <= order
    places = np.round(distance[keep] / 343 * rate).astype(int)
    taps = np.zeros(places.max() + 1)
    np.add.at(taps, places, reflection ** bounces[keep] / distance[keep])
    return band_limited(taps[: round(0.4 * rate)], rate)


def stability_limit(taps, block=BLOCK):
    """Largest gain of a stable loop of this response and a block: Nyquist's criterion.

    A loop is unstable where its gain exceeds 1 while its phase is a multiple of 2 pi.
    """
    size = 1 << (8 * len(taps)).bit_length()
    response = np.fft.rfft(np.concatenate([np.zeros(block), taps]), size)
    before, after = response[:-1], response[1:]
    crosses = (before.imag * after.imag <= 0) & (np.minimum(before.real, after.real) > 0)
    return 1 / np.abs(response[:-1][crosses]).max()


class Room:
    """A room, scaled so that its loop is at the limit of stability at gain 1."""

    def __init__(self, seed, rate, kind=decaying_noise):
        taps = kind(seed, rate)
        self.rate = rate
        self.taps = taps * stability_limit(taps)
        parts = np.pad(self.taps, (0, -len(taps) % BLOCK)).reshape(-1, BLOCK)
        self.spectra = np.fft.rfft(parts, 2 * BLOCK)

    def play(self, sound, gain, processor=None, clip=np.inf):
        """The loudspeaker's signal: ``sound`` at the microphone, ``gain`` (dB) above the limit of stability.

        The room answers one block later than the loudspeaker plays, and its answer is cut at ``clip``.
        """
        amplitude = 10 ** (gain / 20)
        line = np.zeros_like(self.spectra)
        pair, heard, played = np.zeros(2 * BLOCK), np.zeros(BLOCK), []
        out = np.zeros((1, BLOCK), np.float32)
        for at in range(0, len(sound) - BLOCK + 1, BLOCK):
            entering = (sound[at : at + BLOCK] + heard).astype(np.float32)[None]
            if processor is None:
                out = entering
            else:
                processor.process(entering, out)
            emitted = np.clip(out[0].astype(float), -clip, clip)
            played.append(emitted)
            if not np.abs(emitted).max() < 1e12:
                break
            pair = np.concatenate([pair[BLOCK:], emitted])
            line = np.roll(line, 1, axis=0)
            line[0] = np.fft.rfft(pair)
            heard = amplitude * np.fft.irfft((line * self.spectra).sum(axis=0))[BLOCK:]
        return np.concatenate(played)


def levels(x, rate, seconds=0.02):
    """Level of every stretch in dB, a full-scale square being 0."""
    size = round(seconds * rate)
    parts = np.asarray(x, float)[: len(x) // size * size].reshape(-1, size)
    return 10 * np.log10((parts**2).mean(axis=1) + 1e-20)


def speech_like(seconds, rate, seed=0):
    """Syllables of gliding harmonics with formants, and bursts of noise, with pauses; -26 dB."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    x, at = np.zeros(n), 0.05
    while at < seconds - 0.4:
        length = rng.uniform(0.08, 0.3)
        t = np.arange(round(length * rate)) / rate
        if rng.random() < 0.25:
            part = signal.lfilter([1, -0.9], [1], rng.standard_normal(len(t)))
        else:
            pitch = rng.uniform(90, 260) * 2 ** (rng.uniform(-0.3, 0.3) * t / length)
            part = signal.sawtooth(2 * np.pi * np.cumsum(pitch) / rate) + 0.05 * rng.standard_normal(len(t))
            for low, high, q in ((300, 800, 5), (900, 2300, 8), (2300, 3200, 10)):
                b, a = signal.iirpeak(rng.uniform(low, high), q, rate)
                part = 0.5 * part + 2 * signal.lfilter(b, a, part)
        begin = round(at * rate)
        x[begin : begin + len(t)] += part * np.hanning(len(t)) ** 0.5 * rng.uniform(0.3, 1) / part.std()
        at += length + (rng.uniform(0.2, 0.6) if rng.random() < 0.2 else rng.uniform(0, 0.05))
    return 0.05 * x / x.std()


def music_like(seconds, rate, seed=0):
    """Struck and blown notes of a scale in three voices, with harmonics and vibrato; -26 dB."""
    rng = np.random.default_rng(seed)
    x = np.zeros(round(seconds * rate))
    for voice, octave in enumerate((110.0, 220.0, 440.0)):
        at = 0.0
        while at < seconds - 1:
            length = rng.uniform(0.15, 0.9)
            t = np.arange(round(length * rate)) / rate
            pitch = octave * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
            phase = 2 * np.pi * pitch * (t + (voice == 2) * 4e-4 * np.sin(2 * np.pi * 5.5 * t))
            blown = np.minimum(1, t / 0.05) * np.minimum(1, (length - t) / 0.05)
            envelope = blown if voice == 2 else np.exp(-4 * t) * np.minimum(1, t / 0.003)
            harmonics = range(1, min(9, int(0.45 * rate / pitch)))
            begin = round(at * rate)
            x[begin : begin + len(t)] += envelope * sum(np.sin(h * phase) / h**1.5 for h in harmonics)
            at += length
    return 0.05 * x / x.std()
