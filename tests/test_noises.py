"""Synthetic noises: spectra, pitch, modulation and levels, measured apart from how they are made."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.signal import find_peaks, stft, welch

from export import sounds
from export.noises import NOISES
from export.sounds import RMS

RATE = 16_000
STEADY = ("coloured", "uneven", "hum", "buzz", "fan", "ventilation", "room")
EVENTS = ("keys", "clicks", "drops")
TRANSIENTS = (
    "ticks", "machines", "paper", "rubbing", "dishes", "handling", "steps", "barks", "chirps", "crackle",
)  # fmt: skip


def make(name, seed=0, seconds=8.0, rate=RATE, **options):
    return NOISES[name](np.random.default_rng(seed), round(seconds * rate), rate, **options)


def spectrum(x, rate=RATE, size=4_096):
    return welch(np.asarray(x, np.float64), rate, nperseg=size)


def slope(x, low, high, rate=RATE):
    """Of the power in dB per octave."""
    f, power = spectrum(x, rate)
    inside = (f >= low) & (f <= high)
    edges = np.geomspace(low, high, 13)
    bands = [10 * np.log10(power[inside & (f >= a) & (f < b)].mean()) for a, b in pairwise(edges)]
    return np.polyfit(np.log2(np.sqrt(edges[1:] * edges[:-1])), bands, 1)[0]


def levels(x, seconds, rate=RATE):
    """In dB, frame by frame."""
    n = round(seconds * rate)
    return 10 * np.log10(
        np.mean(np.reshape(x[: len(x) // n * n], (-1, n)).astype(np.float64) ** 2, axis=1) + 1e-20
    )


def share(x, low, high, rate=RATE):
    """Of the energy, between two frequencies."""
    f, power = spectrum(x, rate)
    return power[(f >= low) & (f <= high)].sum() / power.sum()


# ------------------------------------------------------------------------------------------ all of them


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_level_shape_and_seed(name, rate):
    x = make(name, 3, 2.0, rate)
    assert x.shape == (2 * rate,)
    assert x.dtype == np.float32
    assert np.all(np.isfinite(x))
    assert math.sqrt(np.mean(x.astype(np.float64) ** 2)) == pytest.approx(RMS, rel=1e-5)
    assert abs(np.mean(x)) < 0.1 * RMS
    assert np.array_equal(x, make(name, 3, 2.0, rate))
    other = make(name, 4, 2.0, rate)
    assert abs(np.corrcoef(x, other)[0, 1]) < 0.6


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("samples", [1, 2, 63, 1_000])
def test_any_length(name, samples):
    x = NOISES[name](np.random.default_rng(samples), samples, RATE)
    assert x.shape == (samples,)
    assert np.all(np.isfinite(x))
    assert np.any(x)


@pytest.mark.parametrize("name", STEADY)
def test_steady_noises_begin_and_end_as_they_go_on(name):
    """No fade, and no filter that settles: the ends are as loud as the middle, over several seeds."""
    ends, peaks = [], []
    for seed in range(12):
        x = make(name, seed, 4.0).astype(np.float64)
        x -= np.convolve(x, np.ones(401) / 401, "same")  # above 40 Hz, which 50 ms have some periods of
        middle = math.sqrt(np.mean(x[RATE:-RATE] ** 2))
        ends.append(
            [
                20 * math.log10(math.sqrt(np.mean(x[place] ** 2)) / middle)
                for place in (slice(201, 1_001), slice(-1_001, -201))
            ]
        )
        step = np.abs(np.diff(x))
        peaks.append(max(step[:100].max(), step[-100:].max()) / step[1_000:-1_000].max())
    assert np.all(np.abs(np.mean(ends, axis=0)) < 1.5)
    assert max(peaks) < 1.5


@pytest.mark.parametrize("name", [*EVENTS, *TRANSIENTS, "traffic", "wind", "siren", "music"])
def test_others_are_under_way_from_the_start(name):
    """Over many seeds, the first 0.3 s are about as loud as any, in the mean of the power."""
    first, rest = [], []
    for seed in range(40):
        x = make(name, seed, 3.0).astype(np.float64)
        first.append(np.mean(x[: round(0.3 * RATE)] ** 2))
        rest.append(np.mean(x[round(0.3 * RATE) : round(2.4 * RATE)] ** 2))
    assert 0.45 < np.mean(first) / np.mean(rest) < 2.2


@pytest.mark.parametrize("name", NOISES)
def test_seeds_differ_in_spectrum(name):
    """A network must not learn one noise: spectra of seeds are several dB apart."""
    edges = np.geomspace(60, 7_000, 9)
    bands = np.array([
        [10 * math.log10(share(x, a, b)) for a, b in pairwise(edges)]
        for x in (make(name, seed, 3.0) for seed in range(8))
    ])  # fmt: skip
    assert np.mean(np.std(bands, axis=0)) > 1.5


# ------------------------------------------------------------------------------------------ steady


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_colour(rate, exponent):
    x = make("coloured", 1, 12.0, rate, exponent=exponent)
    assert slope(x, 80, 0.45 * rate, rate) == pytest.approx(-10 * math.log10(2) * exponent, abs=0.25)


def test_drawn_colours_are_mostly_dark():
    slopes = [slope(make("coloured", seed, 4.0), 80, 7_000) for seed in range(12)]
    assert -8.0 < min(slopes) < -5.0
    assert -2.5 < max(slopes) < 0.3
    assert np.ptp([slope(make("uneven", seed, 4.0), 80, 7_000) for seed in range(12)]) > 4.0


@pytest.mark.parametrize("mains", [50.0, 60.0])
def test_hum_has_the_harmonics_of_the_mains(mains):
    x = make("hum", 5, mains=mains)
    f, power = spectrum(x, size=RATE * 4)
    order = np.rint(f / mains)
    on = (np.abs(f - order * mains) < 0.6 + 1.5e-3 * f) & (order >= 1)
    assert power[on].sum() > 0.97 * power.sum()
    loud, _ = find_peaks(power, height=1e-4 * power.max(), distance=80)
    assert np.all(np.abs(f[loud] - np.rint(f[loud] / mains) * mains) < 0.5 + 1.5e-3 * f[loud])
    assert len(loud) > 5
    assert np.std(levels(x, 0.1)) < 0.5


def test_hum_is_of_both_mains():
    fundamentals = set()
    for seed in range(10):
        f, power = spectrum(make("hum", seed, 4.0), size=RATE * 2)
        near = {mains: power[np.abs(f - mains) < 2].sum() for mains in (50, 60)}
        fundamentals.add(max(near, key=near.get))
    assert fundamentals == {50, 60}


@pytest.mark.parametrize("fundamental", [75.0, 180.0, 420.0])
def test_buzz_has_the_harmonics_of_its_fundamental(fundamental):
    """Within a hundredth of them; what is between is the hiss, 10 dB below or less."""
    for seed in range(6):
        f, power = spectrum(make("buzz", seed, fundamental=fundamental), size=RATE * 2)
        order = np.rint(f / fundamental)
        on = (np.abs(f - order * fundamental) < 1 + 0.01 * f) & (order >= 1)
        assert power[on].sum() > 0.88 * power.sum()


def test_buzzes_have_the_pitch_of_voices():
    """The loudest line, which may be a harmonic, is never below 55 Hz, and mostly where voices are."""
    loudest = []
    for seed in range(30):
        f, power = spectrum(make("buzz", seed, 4.0), size=RATE * 2)
        loudest.append(f[np.argmax(power)])
    assert min(loudest) > 55
    assert np.mean(np.less(loudest, 620)) > 0.7
    assert np.mean(np.less(loudest, 190)) > 0.2


@pytest.mark.parametrize(("blades", "turns"), [(5, 30.0), (3, 50.0), (9, 20.0)])
def test_fan_has_lines_where_its_blades_pass(blades, turns):
    """In the mean over seeds: the lines stand out of the air, and blade harmonics of the shaft's."""
    size = 4 * RATE
    power = np.mean(
        [spectrum(make("fan", seed, blades=blades, turns=turns), size=size)[1] for seed in range(6)], axis=0
    )

    def line(frequency):
        """The highest of what is within its wandering, above its neighbourhood, in dB."""
        near = slice(round(frequency * 0.993 * 4), round(frequency * 1.007 * 4) + 1)
        around = slice(round((frequency - 0.45 * turns) * 4), round((frequency + 0.45 * turns) * 4))
        return 10 * math.log10(power[near].max() / np.median(power[around]))

    passing = [line(k * blades * turns) for k in (1, 2, 3)]
    shaft = [line(k * turns) for k in range(2, 3 * blades) if k % blades]
    assert min(passing) > 10
    assert np.mean(passing) > np.mean(shaft) + 6


def test_ventilation_and_room_tone_fall_with_frequency_and_surge_slowly():
    for name, low, high in (("ventilation", -14.0, -5.0), ("room", -10.0, -2.0)):
        noises_of = [make(name, seed, 20.0) for seed in range(6)]
        assert all(low < slope(x, 500, 4_000) < high for x in noises_of)
        assert all(share(x, 20, 1_000) > 0.7 for x in noises_of)
        surges = [np.std(levels(x, 1.0)) for x in noises_of]
        assert 0.3 < np.mean(surges) < 2.5


# ------------------------------------------------------------------------------------------ events


def strokes(x):
    """Rises of the level in 5 ms frames by 9 dB or more above the last 30 ms."""
    frames = levels(x, 0.005)
    before = np.array([frames[max(0, i - 6) : i].max() if i else frames[0] for i in range(len(frames))])
    onsets, _ = find_peaks(np.maximum(frames - before, 0.0), height=9, distance=8)
    return len(onsets) / (len(x) / RATE)


def test_keys_are_struck_as_fast_as_people_type():
    found = [make("keys", seed, 10.0) for seed in range(6)]
    assert all(2.0 < strokes(x) < 16.0 for x in found)  # a press and a release each
    assert all(share(x, 900, 8_000) > 0.3 for x in found)
    audible = [np.maximum(frames, frames.max() - 40) for frames in (levels(x, 0.1) for x in found)]
    assert 5.0 < np.mean([np.std(frames) for frames in audible]) < 15.0


def test_events_are_sparse_and_decay():
    for name in EVENTS:
        for seed in range(4):
            x = make(name, seed).astype(np.float64)
            assert np.mean(x**4) / np.mean(x**2) ** 2 > 8  # kurtosis: 3 for steady noise
            frames = levels(x, 0.02)
            assert np.percentile(frames, 99.5) - np.percentile(frames, 20) > 12
    for seed in range(4):
        assert share(make("drops", seed), 350, 4_500) > 0.8


def test_blows_ring_as_long_as_asked():
    for decay in (0.05, 0.3):
        sound = sounds.ringing(np.random.default_rng(0), RATE, 500.0, 502.0, decay, 1)
        energy = np.cumsum(sound[::-1].astype(np.float64) ** 2)[::-1]
        curve = 10 * np.log10(energy / energy[0] + 1e-12)
        fit = (curve < -10) & (curve > -40)
        t = np.arange(len(sound)) / RATE
        assert -60 / np.polyfit(t[fit], curve[fit], 1)[0] == pytest.approx(decay, rel=0.25)
        assert np.max(np.abs(sound)) == pytest.approx(1.0)


def test_scattered_sounds_land_where_they_should():
    sound = np.arange(1.0, 5.0, dtype=np.float32)
    x = sounds.scattered(6, [sound], np.zeros(4, int), np.array([-2, 1, 4, 9]), [1.0, 10.0, 100.0, 1.0])
    assert x.tolist() == [3.0, 14.0, 20.0, 30.0, 140.0, 200.0]


# ------------------------------------------------------------------------------------------ streets, music


def test_traffic_swells_as_it_passes_and_is_brighter_then():
    swell, brighter = [], []
    for seed in range(8):
        x = make("traffic", seed, 20.0)
        frames = levels(x, 0.5)
        swell.append(np.ptp(frames))
        loud, soft = (np.argmax(frames), np.argmin(frames))
        piece = [x[k * RATE // 2 : (k + 1) * RATE // 2] for k in (loud, soft)]
        brighter.append(share(piece[0], 500, 8_000) - share(piece[1], 500, 8_000))
    assert min(swell) > 4
    assert np.mean(brighter) > 0.15


def test_wind_is_low_and_gusty():
    for seed in range(6):
        x = make("wind", seed, 15.0)
        assert share(x, 0, 400) > 0.6
        assert 2.0 < np.std(levels(x, 0.1)) < 9.0


def test_sirens_sweep_between_400_and_1500_hz():
    swept = []
    for seed in range(8):
        f, _, spectra = stft(make("siren", seed), RATE, nperseg=1_024)
        band = (f > 350) & (f < 1_600)
        pitch = f[band][np.argmax(np.abs(spectra[band]), axis=0)]
        assert np.mean((pitch > 380) & (pitch < 1_550)) > 0.95
        assert share(make("siren", seed), 380, 1_550) > 0.5
        swept.append(np.ptp(pitch[5:-5]))
    assert min(swept) > 100


def test_music_is_in_tune_and_in_time():
    for seed in range(4):
        x = make("music", seed, 12.0)
        f, power = spectrum(x, size=RATE * 2)
        tonal = (f > 150) & (f < 1_000)
        peaks, _ = find_peaks(np.where(tonal, 10 * np.log10(power), -200), prominence=12)
        strongest = f[peaks[np.argsort(power[peaks])[-6:]]]
        cents = 1_200 * np.log2(strongest / 440.0)
        assert np.max(np.abs(cents - 100 * np.rint(cents / 100))) < 20
        # Onsets of the hats repeat: their level above 5 kHz has a period of an eighth, 0.2 to 0.43 s.
        _, _, spectra = stft(x, RATE, nperseg=256, noverlap=192)
        envelope = np.log10(np.sum(np.abs(spectra[80:]) ** 2, axis=0) + 1e-9)
        rise = np.maximum(np.diff(envelope), 0)
        rise -= rise.mean()
        match = np.correlate(rise, rise, "full")[len(rise) - 1 :]
        period = match[round(0.19 / 0.004) : round(0.44 / 0.004)]
        assert period.max() > 0.3 * match[0]


# ------------------------------------------------------------------------------------------ scenes


@pytest.mark.parametrize("name", ["office", "conference"])
def test_quiet_rooms_are_low_steady_and_differ(name):
    """As recordings of rooms are: most energy below 500 Hz, a fall with frequency, little modulation."""
    found = [make(name, seed) for seed in range(10)]
    assert np.median([share(x, 20, 500) for x in found]) > 0.5
    assert np.median([slope(x, 200, 6_000) for x in found]) < -2.5
    assert np.median([np.std(levels(x, 0.1)) for x in found]) < 4.0
    assert all(share(x, 20, 4_000) > 0.6 for x in found)
