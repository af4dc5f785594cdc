"""Small sets of recordings for the tests of the workshop."""

import numpy as np
import soundfile as sf

RATE = 16_000


def voice(seconds, seed):
    """Voiced syllables with pauses: harmonics of a gliding pitch under two formants."""
    random = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    pitch = random.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * random.uniform(0.5, 2) * t))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    formants = random.uniform((300, 900), (800, 2500))
    x = np.zeros_like(t)
    for harmonic in range(1, 30):
        weight = sum(np.exp(-(((harmonic * pitch - f) / 200) ** 2)) for f in formants) + 0.02
        x += weight * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * 3 * t + random.uniform(0, 6)) + 0.3, 0, 1) * (t % 1.7 < 1.4)
    x *= syllables
    return (0.2 * x / np.max(np.abs(x))).astype(np.float32)


def write_speech(folder, readers=6, each=1, seconds=2.5):
    """Files named as LibriSpeech's: READER-CHAPTER-NUMBER."""
    folder.mkdir(parents=True, exist_ok=True)
    for reader in range(readers):
        for number in range(each):
            sf.write(folder / f"{100 + reader}-1-{number:04}.wav", voice(seconds, 10 * reader + number), RATE)
    return folder


def write_noise(folder, files=2, seconds=3.0):
    """White noise through a low-pass of one pole."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(files):
        x = np.random.default_rng(1_000 + index).standard_normal(round(seconds * RATE))
        for _ in range(index):
            x[1:] += x[:-1]
        sf.write(folder / f"noise{index}.wav", 0.1 * x / np.max(np.abs(x)), RATE)
    return folder
