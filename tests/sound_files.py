"""Files of sound for tests that play and render them."""

import numpy as np
import soundfile as sf

RATE = 48_000


def sound(samples, channels=2, seed=0):
    """Noise bursts over two tones, (samples, channels) float32: something for every engine to do."""
    random = np.random.default_rng(seed)
    at = np.arange(samples)[:, None]
    tones = 0.3 * np.sin(at * (0.03 + 0.01 * np.arange(channels))) + 0.2 * np.sin(at * 0.11)
    bursts = 0.4 * random.standard_normal((samples, channels)) * (at % 4000 < 300)
    return (tones + bursts).astype(np.float32)


def write(path, samples, rate=RATE, subtype="FLOAT"):
    sf.write(path, samples, rate, subtype=subtype)
    return path


def read(path):
    return sf.read(path, dtype="float32", always_2d=True)[0]
