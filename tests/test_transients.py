"""Short noises: paces, bands, pitch, unlike events, measured apart from how they are made, and real ones."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from scipy.signal import correlate, stft, welch

from export import transients
from export.noises import NOISES

RATE = 16_000
RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data" / "noise" / "validation"
LIKE = {
    "ticks": "things_clock",
    "keys": "things_keyboard",
    "machines": "things_typewriter",
    "paper": "things_paper",
    "rubbing": "things_windshield-wipers",
    "barks": "animals_dog-barking",
    "chirps": "animals_birds",
    "crackle": "things_vinyl-effect",
}


def make(name, seed=0, seconds=4.0, rate=RATE, **options):
    return NOISES[name](np.random.default_rng(seed), round(seconds * rate), rate, **options)


def rises(x, rate=RATE):
    """Of the logarithm of the magnitude, summed over frequency, every 4 ms."""
    _, _, spectra = stft(x, rate, nperseg=256 * rate // 16_000, noverlap=192 * rate // 16_000)
    level = np.log10(np.abs(spectra) + 1e-3 * np.abs(spectra).max())
    return np.maximum(np.diff(level), 0.0).sum(axis=0)


def period(curve, expected):
    """Lag, in values, at which a curve is most like itself, within 40 % of what is expected."""
    curve = curve - curve.mean()
    match = correlate(curve, curve)[len(curve) - 1 :] / np.arange(len(curve), 0, -1)
    first = round(0.6 * expected)
    return first + np.argmax(match[first : round(1.4 * expected)])


def share(x, low, high, rate=RATE):
    f, power = welch(x.astype(np.float64), rate, nperseg=2_048)
    return power[(f >= low) & (f < high)].sum() / power.sum()


def kurtosis(x):
    x = np.asarray(x, np.float64) - np.mean(x)
    return np.mean(x**4) / np.mean(x**2) ** 2


# ------------------------------------------------------------------------------------------ paces


@pytest.mark.parametrize("pace", [0.8, 2.3, 6.5])
def test_ticks_come_at_their_pace(pace):
    expected = RATE / 64 / pace
    for seed in range(6):
        found = period(rises(make("ticks", seed, 10.0, per_second=pace)), expected)
        assert found == pytest.approx(expected, rel=0.03, abs=1.5)


@pytest.mark.parametrize("pace", [0.7, 1.6, 3.5])
def test_strokes_come_at_their_pace(pace):
    expected = RATE / 64 / pace
    found = []
    for seed in range(7):
        _, _, spectra = stft(make("rubbing", seed, 10.0, per_second=pace), RATE, nperseg=256, noverlap=192)
        found.append(period(np.abs(spectra[16:]).sum(axis=0), expected))
    assert np.median(found) == pytest.approx(expected, rel=0.06)


def test_crackles_are_rare_or_dense():
    rare, dense = (
        np.median([kurtosis(make("crackle", seed, per_second=pace)) for seed in range(9)])
        for pace in (3, 3_000)
    )
    assert rare > 4 * dense > 12


@pytest.mark.parametrize(
    "name", ["ticks", "rubbing", "crackle", "paper", "dishes", "handling", "steps", "barks", "chirps"]
)
def test_something_happens_in_every_noise(name, monkeypatch):
    """However short: without a room, a floor or a microphone, there is sound in each."""
    monkeypatch.setattr(transients, "_finished", lambda random, x, samples, rate, *_: x[-samples:])
    options = {"per_second": 0.5} if name in ("ticks", "rubbing", "crackle") else {}
    for seed in range(25):
        assert np.abs(make(name, seed, 0.8, **options)).max() > 1e-3


# ------------------------------------------------------------------------------------------ unlike events


def test_no_two_blows_are_alike():
    random = np.random.default_rng(1)
    thing = transients._thing(random, RATE, 500.0, 3_000.0, 0.05)
    at = np.arange(20) * 2_000 + 100
    x = transients._struck(random, 40_000, RATE, [thing], np.zeros(20, int), at, np.ones(20))
    blows = x.reshape(20, 2_000).astype(np.float64)
    assert not np.any(blows[:, :100])
    assert np.all(np.argmax(np.abs(blows), axis=1) < 300)
    blows /= np.linalg.norm(blows, axis=1, keepdims=True)
    alike = np.abs(blows @ blows.T)[~np.eye(20, dtype=bool)]
    assert alike.max() < 0.999
    assert np.median(alike) < 0.9


def test_grains_are_mixtures_of_their_kernels():
    random = np.random.default_rng(2)
    kernels = [random.standard_normal(40).astype(np.float32) for _ in range(3)]
    at = np.array([10, 100, 190, 280, -5, 400])
    x = transients._grains(random, 400, at, np.array([1.0, 2.0, 0.5, 0.0, 9.0, 9.0]), kernels)
    found = []
    for place in at[:3]:
        piece = x[place : place + 40]
        mixture, *_ = np.linalg.lstsq(np.stack(kernels, 1), piece, rcond=None)
        assert np.stack(kernels, 1) @ mixture == pytest.approx(piece, abs=1e-4)
        found.append(mixture / np.linalg.norm(mixture))
        x[place : place + 40] = 0.0
    assert np.abs(x).max() < 1e-4
    assert max(abs(found[0] @ found[1]), abs(found[0] @ found[2])) < 0.999


def test_crowds_are_as_dense_as_asked():
    envelope = np.repeat([1.0, 0.0, 3.0], 1_000)
    at = transients._crowded(np.random.default_rng(0), envelope, 40_000)
    counts = np.bincount(at // 1_000, minlength=3)
    assert counts[1] == 0
    assert counts[0] == pytest.approx(10_000, abs=4 * math.sqrt(40_000 * 0.25 * 0.75))


# ------------------------------------------------------------------------------------------ bands and pitch


def test_bands():
    """Medians over seeds: floors and microphones differ."""
    for name, low, high in (
        ("dishes", 1_000, 8_000),
        ("chirps", 1_300, 8_000),
        ("barks", 150, 3_000),
        ("handling", 0, 300),
    ):
        assert np.median([share(make(name, seed), low, high) for seed in range(12)]) > 0.8


def test_machines_clack_faster_than_4_a_second():
    found = []
    for seed in range(12):
        x = make("machines", seed).astype(np.float64)
        frames = np.sqrt(np.mean(x.reshape(-1, 80) ** 2, axis=1))
        f, power = welch(frames - frames.mean(), 200, nperseg=400)
        found.append(power[f >= 4].sum() / power.sum())
    assert np.median(found) > 0.7


def test_barks_are_short_and_fall():
    """By the strongest lag of the first and of the last third; of dogs without yelps or roughness."""
    falls = []
    for seed in range(10):
        dog = transients._Dog(np.random.default_rng(seed), RATE)
        dog._rough, dog._yelps, dog._breath = 0.0, 0.0, 0.0
        for _ in range(3):
            x = dog.bark().astype(np.float64)
            assert 0.065 < len(x) / RATE < 0.36
            pitches = []
            for middle in (0.4, 0.85):
                size = round(6 * RATE / dog._pitch)
                piece = x[max(0, round(middle * len(x)) - size // 2) :][:size] * np.hanning(size)[: len(x)]
                match = correlate(piece, piece)[len(piece) - 1 :]
                first, last = round(RATE / dog._pitch / 1.3), round(RATE / dog._pitch / 0.25)
                pitches.append(RATE / (first + np.argmax(match[first:last])))
            assert 0.5 < pitches[0] / dog._pitch < 1.25
            falls.append(pitches[1] / pitches[0])
    assert 0.4 < np.median(falls) < 0.95


# ------------------------------------------------------------------------------------------ real ones


def figures(x, rate):
    """Levels of octaves from 45 Hz to 11 kHz and modulations of three bands, in dB, kurtosis and crest.

    Modulations are from 0.5 to 32 Hz, in octaves, of the magnitudes in frames of 10 ms every 5; crest is of
    frames of 5 ms, in dB, and kurtosis the logarithm to base 2 of theirs, times 3.
    """
    x = x.astype(np.float64) / np.sqrt(np.mean(x.astype(np.float64) ** 2))
    f, power = welch(x, rate, nperseg=4_096)
    edges = 45.0 * 2.0 ** np.arange(9)
    octaves = [power[(f >= a) & (f < 2 * a)].sum() / power.sum() for a in edges[:-1]]
    values = [10 * math.log10(octave + 1e-6) for octave in octaves]
    f, _, spectra = stft(x, rate, nperseg=rate // 100, noverlap=rate // 200)
    for low, high in ((200, 1_000), (1_000, 4_000), (4_000, 11_000)):
        frames = np.sqrt(np.sum(np.abs(spectra[(f >= low) & (f < high)]) ** 2, axis=0)) + 1e-9
        g, slow = welch(frames / frames.mean() - 1.0, 200, nperseg=400)
        bands = [slow[(g >= a) & (g < 2 * a)].sum() * 0.5 for a in 0.5 * 2.0 ** np.arange(6)]
        values += [10 * math.log10(band + 1e-4) for band in bands]
    frames = np.sqrt(
        np.mean(x[: len(x) // (rate // 200) * (rate // 200)].reshape(-1, rate // 200) ** 2, axis=1)
    )
    values.append(3 * math.log2(kurtosis(frames)))
    values.append(20 * math.log10(frames.max() / np.sqrt(np.mean(frames**2))))
    return values


def missed(noises, recordings, rate):
    """By how many dB each of a recording's figures, in the median, is outside those of 95 % of the noises."""
    made = np.array([figures(x, rate) for x in noises])
    real = np.median([figures(x, rate) for x in recordings], axis=0)
    low, high = np.percentile(made, [2.5, 97.5], axis=0)
    return np.maximum(0.0, np.maximum(low - real, real - high))


@pytest.mark.slow
@pytest.mark.skipif(not RECORDED.is_dir(), reason="no recordings of noise beside the checkout")
@pytest.mark.parametrize("name", LIKE)
def test_real_ones_are_within_the_spread(name):
    """Of 40 examples, to 4 dB; and that of a fan is 6 dB off somewhere."""
    x, rate = sf.read(RECORDED / f"{LIKE[name]}.ogg", dtype="float32")
    pieces = [x[begin : begin + 4 * rate] for begin in range(0, len(x) - 4 * rate + 1, 4 * rate)]
    assert missed([make(name, seed, 4.0, rate) for seed in range(40)], pieces, rate).max() < 4.0
    assert missed([make("fan", seed, 4.0, rate) for seed in range(40)], pieces, rate).max() > 6.0
