"""Pairs, measured apart from how they are mixed: SNR, alignment, rooms, codecs, determinism, bad input."""

import hashlib
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import p56_reference
import pytest
import soundfile as sf
from scipy.signal import welch

from export import mixing
from export.mixing import CODECS, KINDS, Mixer, Recipe, mix
from rtaudio.errors import FileError, UserError

RATE = 16_000
SHARED = Path(__file__).parents[2] / "shared" / "data"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
EVERYTHING = {
    **{"synthetic": 0.6, "kinds": ("office", "babble", "music", "siren"), "second": 0.5, "equaliser": 0.5},
    **{"room": 0.6, "level": (-40.0, -15.0), "clipping": 0.3, "codec": 0.5, "snr": (-5.0, 10.0)},
}


def voice(seed, rate=RATE, seconds=1.5):
    """Syllables, harmonics of a pitch that glides or hisses, with pauses; broad enough to find a delay."""
    random = np.random.default_rng(seed)
    x = 1e-5 * random.standard_normal(round(seconds * rate))
    at = round(random.uniform(0.0, 0.1) * rate)
    while at < len(x):
        length = round(random.uniform(0.08, 0.25) * rate)
        cycles = np.cumsum(np.linspace(*random.uniform(90, 220, 2), length)) / rate
        orders = np.arange(1, 30)
        tones = np.cos(2 * np.pi * np.outer(orders, cycles) + random.uniform(0, 6, (29, 1)))
        syllable = (orders**-0.7) @ tones + random.uniform(0.0, 1.0) * random.standard_normal(length)
        syllable *= np.hanning(length) * 10 ** random.uniform(-2.0, -1.3)
        x[at : at + length] += syllable[: len(x) - at]
        at += length + round(random.choice([0.0, 0.02, 0.3]) * rate)
    return x.astype(np.float32)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Ten voices, 1.2 to 1.65 s, 16 kHz."""
    folder = tmp_path_factory.mktemp("clean")
    paths = [folder / f"voice{k}.wav" for k in range(10)]
    for k, path in enumerate(paths):
        sf.write(path, voice(k, seconds=1.2 + 0.05 * k), RATE, "FLOAT")
    return paths


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A long one at 48 kHz in stereo, and one that is shorter than the speech."""
    folder, random = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    sf.write(folder / "long.flac", 0.05 * random.standard_normal((48_000 * 4, 2)), 48_000)
    sf.write(folder / "short.wav", 0.05 * random.standard_normal(RATE // 4), RATE, "FLOAT")
    return sorted(folder.iterdir())


def rms(x):
    return 10 * math.log10(np.mean(np.asarray(x, np.float64) ** 2))


def snr_of(speech, noise, rate=RATE):
    """By the reference's P.56 and the RMS."""
    return p56_reference.active_level(speech, rate)[0] - rms(noise)


def lag_of(y, x, most=800):
    """Samples by which y is later than x: where their correlation, whitened, is the largest."""
    size = 1 << (2 * len(x)).bit_length()
    a, b = np.fft.rfft(y, size), np.fft.rfft(x, size)
    cross = a * b.conj()
    found = np.fft.irfft(cross / (np.abs(cross) ** 0.5 + 1e-9), size)
    return int(np.argmax(np.concatenate([found[-most:], found[: most + 1]]))) - most


def files_of(path):
    x, rate = sf.read(path, dtype="float32")
    assert rate == RATE
    return x


# ------------------------------------------------------------------------------------------ mix


@pytest.mark.parametrize("snr", [-5.0, 0.0, 17.3, 40.0])
@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_mix_is_exact(snr, rate):
    speech = voice(1, rate)
    hiss = np.random.default_rng(2).standard_normal(len(speech))
    noisy, scaled = mix(speech, hiss, snr, rate)
    assert noisy.dtype == scaled.dtype == np.float32
    assert np.array_equal(noisy, speech + scaled)
    assert snr_of(speech, noisy.astype(np.float64) - speech, rate) == pytest.approx(snr, abs=0.01)
    assert np.corrcoef(scaled, hiss)[0, 1] == pytest.approx(1.0)


@pytest.mark.parametrize(("speech", "hiss", "line"), [
    (np.zeros(0), np.zeros(0), "the clean speech is empty"),
    (np.zeros(9), np.ones(9), "the clean speech is silent"),
    (np.ones(9), np.zeros(9), "the noise is silent"),
    (np.array([1.0, np.nan]), np.ones(2), "the clean speech has samples that are not finite"),
    (np.ones(2), np.array([np.inf, 1.0]), "the noise has samples that are not finite"),
    (np.ones(2), np.ones(3), "clean speech has 2 samples, but the noise 3"),
])  # fmt: skip
def test_what_cannot_be_mixed(speech, hiss, line):
    with pytest.raises(UserError, match=line) as caught:
        mix(speech, hiss, 10.0, RATE)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------ pairs


def test_pairs_of_the_paper(clean, noise):
    """Clean speech as it is, plus noise from a file at 15, 20 or 25 dB."""
    mixer = Mixer(clean, noise, Recipe(), seed=3)
    pairs = [mixer.pair(k) for k in range(20)]
    for pair in pairs:
        assert np.array_equal(pair.clean, files_of(clean[0].parent / f"{pair.name}.wav"))
        assert np.array_equal(pair.noisy, pair.clean + pair.noise)
        assert pair.clean.dtype == pair.noisy.dtype == pair.noise.dtype == np.float32
        assert snr_of(pair.clean, pair.noise) == pytest.approx(pair.snr, abs=0.01)
        assert pair.clean.flags.writeable
        assert pair.details.keys() == {"clean", "noise"}
    assert {pair.snr for pair in pairs} == {15.0, 20.0, 25.0}
    assert {pair.details["noise"] for pair in pairs} == {"long.flac", "short.wav"}
    # Every voice once an epoch, in another order each.
    epochs = [[pair.name for pair in pairs[:10]], [pair.name for pair in pairs[10:]]]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(path.stem for path in clean)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("options", [
    {"synthetic": 1.0},
    {"synthetic": 1.0, "kinds": ("babble",)},
    {"second": 1.0},
    {"equaliser": 1.0, "equaliser_gain": 12.0},
    {"level": (-35.0, -30.0)},
    {"synthetic": 0.5, "kinds": KINDS, "second": 0.5, "equaliser": 0.7, "level": (-50.0, -10.0)},
])  # fmt: skip
def test_snr_stays_exact(clean, noise, options):
    mixer = Mixer(clean, noise, Recipe(snr=(-5.0, 5.0, 20.0), **options), seed=1)
    for pair in map(mixer.pair, range(6)):
        assert snr_of(pair.clean, pair.noise) == pytest.approx(pair.snr, abs=0.01)
        assert np.array_equal(pair.noisy, pair.clean + pair.noise)
        if "level" in options:
            found = p56_reference.active_level(pair.clean, RATE)[0]
            assert found == pytest.approx(pair.details["level"], abs=0.15)  # thresholds stay where they are
            assert options["level"][0] <= pair.details["level"] <= options["level"][1]


def test_probabilities_and_kinds(clean, noise):
    recipe = Recipe(synthetic=0.5, kinds=("hum", "babble"), second=0.25)
    mixer = Mixer(clean, noise, recipe, seed=1)
    found = [mixer.pair(k).details for k in range(120)]
    synthetic = [details["noise"] in {"hum", "babble"} for details in found]
    assert np.mean(synthetic) == pytest.approx(0.5, abs=0.14)
    assert np.mean(["second noise" in details for details in found]) == pytest.approx(0.25, abs=0.12)
    assert {details["noise"] for details in found} == {"hum", "babble", "long.flac", "short.wav"}
    relative = [details["second noise level"] for details in found if "second noise" in details]
    assert -15 <= min(relative) < -8 < 0 < max(relative) <= 5


def test_the_second_noise_is_as_loud_as_said(clean, noise):
    tone = noise[0].with_name("tone.wav")
    sf.write(tone, 0.3 * np.sin(2 * np.pi * 1_000 * np.arange(RATE * 3) / RATE), RATE, "FLOAT")
    mixer = Mixer(clean, [noise[0], tone], Recipe(second=1.0), seed=0)
    checked = 0
    for pair in map(mixer.pair, range(12)):
        if pair.details["noise"] == pair.details["second noise"]:
            continue
        f, power = welch(pair.noise.astype(np.float64), RATE, nperseg=8_192)
        near = np.abs(f - 1_000) < 8
        ratio = 10 * math.log10(power[near].sum() / power[~near].sum())
        sign = 1 if pair.details["second noise"] == "tone.wav" else -1
        assert sign * ratio == pytest.approx(pair.details["second noise level"], abs=0.5)
        checked += 1
    tone.unlink()
    assert checked > 2


# ------------------------------------------------------------------------------------------ noise


def test_noise_that_is_too_short_repeats_without_a_seam(clean, tmp_path):
    """A tone with whole periods in the loop stays one, and noise keeps its power."""
    fade, period = round(0.05 * RATE), 1_600
    t = np.arange(period + fade) / RATE
    tone = np.sin(2 * np.pi * 500 * t).astype(np.float32)
    x = mixing.part(np.random.default_rng(0), tone, 20_000, fade)
    assert len(x) == 20_000
    assert np.max(np.abs(np.diff(x))) < 1.5 * 2 * np.pi * 500 / RATE
    ratios = []
    for seed in range(60):
        hiss = np.random.default_rng(seed).standard_normal(2_000).astype(np.float32)
        x = mixing.part(np.random.default_rng(0), hiss, 60_000, 1_000)  # nothing but crossfades
        assert np.array_equal(x[:1_000], x[1_000:2_000])
        ratios.append(rms(x) - rms(hiss))
    assert np.mean(ratios) == pytest.approx(0.0, abs=0.15)  # at constant power


@pytest.mark.parametrize("length", [1, 2, 3, 100, 9_999, 10_000, 10_001])
def test_parts_of_any_length(length):
    x = np.arange(1, length + 1, dtype=np.float32)
    found = mixing.part(np.random.default_rng(0), x, 10_000, 800)
    assert found.shape == (10_000,)
    assert np.any(found)


def test_parts_are_random_and_never_silent():
    x = np.zeros(100_000, np.float32)
    x[70_000] = 1.0
    random = np.random.default_rng(0)
    assert all(np.any(mixing.part(random, x, 1_000, 800)) for _ in range(50))
    ramp = np.arange(100_000, dtype=np.float32)
    begins = [mixing.part(random, ramp, 1_000, 800)[0] for _ in range(200)]
    assert min(begins) < 5_000
    assert max(begins) > 94_000


def test_other_rates_are_resampled_and_stereo_is_mixed_down(tmp_path):
    speech = voice(0, 48_000, 2.0)
    sf.write(tmp_path / "speech.wav", np.stack([1.5 * speech, 0.5 * speech], axis=1), 48_000, "FLOAT")
    t = np.arange(44_100 * 3) / 44_100
    sf.write(tmp_path / "tone.wav", 0.1 * np.sin(2 * np.pi * 440 * t), 44_100, "FLOAT")
    pair = Mixer([tmp_path / "speech.wav"], [tmp_path / "tone.wav"], Recipe(), 0).pair(0)
    assert len(pair.clean) == 2 * RATE
    # What 16 kHz have of 48 kHz, in the spectrum of the mean of the channels.
    found, expected = np.fft.rfft(pair.clean), np.fft.rfft(speech)[: RATE + 1] / 3
    error = np.sum(np.abs(found - expected)[:14_000] ** 2) / np.sum(np.abs(expected[:14_000]) ** 2)
    assert error < 1e-4
    f, power = welch(pair.noise, RATE, nperseg=8_000)
    assert f[np.argmax(power)] == 440
    assert snr_of(pair.clean, pair.noise) == pytest.approx(pair.snr, abs=0.01)


def test_babble_is_made_of_the_other_speakers(tmp_path):
    """Every speaker hums another tone: those of the babble are heard, and the talker is not among them."""
    t = np.arange(2 * RATE) / RATE
    paths = [tmp_path / f"s{k}_{take}.wav" for k in range(6) for take in range(2)]
    for path in paths:
        pitch = 500 + 200 * int(path.stem[1])
        sf.write(path, 0.1 * np.sin(2 * np.pi * pitch * t), RATE, "FLOAT")
    speakers = [path.stem[:2] for path in paths]
    mixer = Mixer(paths, [], Recipe(synthetic=1.0, kinds=("babble",)), 0, speakers)
    counts = set()
    for pair in map(mixer.pair, range(12)):
        f, power = welch(pair.noise.astype(np.float64), RATE, nperseg=1_600)
        heard = {k for k in range(6) if power[np.abs(f - 500 - 200 * k) < 15].max() > 1e-3 * power.max()}
        assert int(pair.name[1]) not in heard
        assert 3 <= len(heard) <= 5
        counts.add(len(heard))
    assert len(counts) > 1


# ------------------------------------------------------------------------------------------ equaliser


def test_the_equaliser_is_gentle_and_filters_speech_and_noise(clean, noise):
    """From the spectra of what went in and came out: gains within the sum of the three, and smooth."""
    impulse = np.zeros(RATE, np.float32)
    impulse[0] = 1.0
    curves = []
    for seed in range(12):
        response = mixing.equalise(np.random.default_rng(seed), impulse, RATE, 6.0)
        gains = 20 * np.log10(np.abs(np.fft.rfft(response)))[20:]
        assert np.max(np.abs(gains)) < 18.01
        octaves = gains[(20 * 2 ** np.arange(0, 8.5, 0.5)).astype(int) - 20]
        assert np.max(np.abs(np.diff(octaves))) < 7
        curves.append(octaves)
    assert np.mean(np.std(curves, axis=0)) > 2
    assert np.allclose(mixing.equalise(np.random.default_rng(0), impulse, RATE, 0.0), impulse, atol=1e-6)
    pair = Mixer(clean, noise, Recipe(equaliser=1.0), 0).pair(0)
    assert pair.details["speech equalised"] == pair.details["noise equalised"] == "yes"
    assert not np.allclose(pair.clean, files_of(clean[0].parent / f"{pair.name}.wav"), atol=1e-4)
    assert lag_of(pair.clean, files_of(clean[0].parent / f"{pair.name}.wav")) == 0


# ------------------------------------------------------------------------------------------ rooms


@pytest.mark.parametrize("level", [(), (-45.0, -40.0)])
def test_speech_in_simulated_rooms_stays_aligned_and_the_background_exact(clean, noise, level):
    """The same draws at 100 dB have late reverberation alone as their noise: the difference is the rest."""
    options = {"room": 1.0, "reverberation_time": (0.2, 0.5), "level": level}
    mixer = Mixer(clean, noise, Recipe(snr=(10.0,), **options), 5)
    quiet = Mixer(clean, noise, Recipe(snr=(100.0,), **options), 5)
    for k in range(4):
        pair, late = mixer.pair(k), quiet.pair(k)
        assert np.array_equal(pair.clean, late.clean)
        assert np.array_equal(pair.noisy, pair.clean + pair.noise)
        dry = files_of(clean[0].parent / f"{pair.name}.wav")
        assert lag_of(pair.clean, dry) == lag_of(pair.noisy, dry) == 0
        background = pair.noise.astype(np.float64) - late.noise
        assert snr_of(pair.clean, background) == pytest.approx(10.0, abs=0.03)
        assert snr_of(pair.clean, pair.noise) < 10.0  # late reverberation is noise on top
        assert rms(late.noise) - rms(pair.clean) == pytest.approx(pair.details["late reverberation"], abs=0.1)
        # Nothing of it comes before the early part of 50 ms is over.
        first = int(np.argmax(np.abs(dry) > 1e-3))
        assert np.max(np.abs(late.noise[: first + 790])) < 0.05 * np.max(np.abs(late.noise))
        if not level:
            assert rms(pair.clean) == pytest.approx(rms(dry), abs=1e-3)


def decay_time(response, rate):
    """RT60 by Schroeder's integral, from -5 to -25 dB."""
    energy = np.cumsum(np.asarray(response, np.float64)[::-1] ** 2)[::-1]
    curve = 10 * np.log10(energy / energy[0] + 1e-12)
    fit = (curve < -5) & (curve > -25)
    return -60 / np.polyfit(np.flatnonzero(fit) / rate, curve[fit], 1)[0]


@pytest.mark.parametrize("time", [0.2, 0.4])
def test_simulated_rooms_have_the_reverberation_time(time):
    recipe = Recipe(reverberation_time=(time, time))
    found = [decay_time(mixing.simulated_room(recipe, 0, k), RATE) for k in range(4)]
    assert found == pytest.approx([time] * 4, rel=0.3)
    assert np.mean(found) == pytest.approx(time, rel=0.15)


def room_file(path, early, late, before=0.01, rate=RATE):
    """A direct sound of -0.5 after a travelling time, a reflection 10 ms and one 120 ms later."""
    response = np.zeros((RATE // 2, 2))
    direct = round(before * rate)
    response[direct, 0] = -0.5
    response[direct + 160, 0] = -0.5 * early
    response[direct + 1_920, 0] = -0.5 * late
    response[:, 1] = 9.0  # a second channel that is not used
    sf.write(path, response, rate, "FLOAT")


def test_measured_rooms(clean, noise, tmp_path):
    """In closed form: clean has the direct sound and the early reflection, at the level of the recording."""
    room_file(tmp_path / "room.wav", 0.4, 0.3)
    recipe = Recipe(room=1.0, rooms=(str(tmp_path),), snr=(100.0,))
    pair = Mixer(clean, noise, recipe, 0).pair(0)
    dry = files_of(clean[0].parent / f"{pair.name}.wav")

    def delayed(k):
        return np.append(np.zeros(k), dry)[: len(dry)]

    early = dry + 0.4 * delayed(160)
    gain = 10 ** ((rms(dry) - rms(early)) / 20)
    assert pair.clean == pytest.approx(gain * early, abs=1e-5)
    assert pair.noise == pytest.approx(gain * 0.3 * delayed(1_920), abs=1e-4)
    assert pair.details["room"] == "room.wav"
    direct = Mixer(clean, noise, Recipe(room=1.0, rooms=(str(tmp_path),), snr=(100.0,), early=0.0), 0).pair(0)
    assert direct.clean == pytest.approx(dry, abs=1e-5)
    assert direct.noise == pytest.approx(0.4 * delayed(160) + 0.3 * delayed(1_920), abs=1e-4)
    whole = Mixer(clean, noise, Recipe(room=1.0, rooms=(str(tmp_path),), early=1.0), 0).pair(0)
    assert "late reverberation" not in whole.details
    assert snr_of(whole.clean, whole.noise) == pytest.approx(whole.snr, abs=0.01)


# ------------------------------------------------------------------------------------------ damage


def test_clipping(clean, noise):
    mixer = Mixer(clean, noise, Recipe(clipping=1.0, clipping_depth=(3.0, 9.0)), 0)
    for pair in map(mixer.pair, range(6)):
        whole = pair.clean + pair.noise
        limit = np.max(np.abs(pair.noisy))
        assert 20 * math.log10(np.max(np.abs(whole)) / limit) == pytest.approx(
            pair.details["clipped"], abs=1e-3
        )
        assert 3 <= pair.details["clipped"] <= 9
        below = np.abs(whole) < limit
        assert np.array_equal(pair.noisy[below], whole[below])
        assert snr_of(pair.clean, pair.noise) == pytest.approx(pair.snr, abs=0.01)


@pytest.mark.parametrize("codec", CODECS)
def test_codecs_keep_the_place_and_change_the_signal(clean, noise, codec):
    mixer = Mixer(clean, noise, Recipe(codec=1.0, codecs=(codec,)), 0)
    for pair in map(mixer.pair, range(3)):
        whole = pair.clean + pair.noise
        assert pair.noisy.shape == whole.shape
        assert pair.details["codec"] == codec
        assert lag_of(pair.noisy, whole) == 0
        assert np.max(np.abs(pair.noisy - whole)) > 1e-4
        assert rms(pair.noisy - whole) < rms(whole) - 2  # still the same signal, but for a telephone's bass


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
@pytest.mark.parametrize("codec", CODECS)
def test_codecs_at_other_rates(codec, rate):
    x = 3.0 * voice(4, rate, 1.0) / np.max(np.abs(voice(4, rate, 1.0)))  # above full scale too
    for compression in (0.3, 0.97):
        y = mixing.encoded(x, rate, codec, compression)
        assert y.shape == x.shape
        assert y.dtype == np.float32
        assert abs(lag_of(y, x)) <= (1 if rate == 48_000 else 0)
        assert np.max(np.abs(y)) > 1.5


def test_a_telephone_passes_its_band_only():
    x = 0.1 * np.random.default_rng(0).standard_normal(RATE * 4).astype(np.float32)
    y = mixing.encoded(x, RATE, "telephone", 0.5)
    f, before = welch(x, RATE, nperseg=1_024)
    _, after = welch(y, RATE, nperseg=1_024)
    gain = 10 * np.log10(after / before)
    assert np.all(np.abs(gain[(f > 500) & (f < 3_000)]) < 1.0)
    assert np.all(gain[((f > 20) & (f < 120)) | (f > 4_200)] < -25)
    # At 8 kHz nothing but the 255 values of mu-law comes out: G.711, table 2, of 14 bits.
    y = mixing.encoded(x, 8_000, "telephone", 0.5)
    values = {sign * ((2 * m + 33) * 2**e - 33) for sign in (-1, 1) for m in range(16) for e in range(8)}
    assert set(np.unique(y * 2**13).tolist()) <= values
    assert len(np.unique(y)) > 100


# ------------------------------------------------------------------------------------------ determinism


def digest(pair):
    return hashlib.sha256(pair.clean.tobytes() + pair.noisy.tobytes() + pair.noise.tobytes()).hexdigest()


def test_a_pair_depends_on_its_number_only(clean, noise):
    """In another order, in another process, and with a cache that keeps nothing."""
    numbers = [0, 7, 3, 12, 25]
    mixer = Mixer(clean, noise, Recipe(**EVERYTHING), 11)
    here = {k: digest(mixer.pair(k)) for k in numbers}
    assert len(set(here.values())) == len(numbers)
    script = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from test_mixing import EVERYTHING, Mixer, Recipe, digest
        clean, noise = ([Path(p) for p in group.split(":")] for group in sys.argv[1:])
        mixer = Mixer(clean, noise, Recipe(**EVERYTHING), 11)
        print({{k: digest(mixer.pair(k)) for k in {numbers[::-1]}}})
    """)
    groups = [":".join(map(str, paths)) for paths in (clean, noise)]
    done = subprocess.run(
        [sys.executable, "-c", script, *groups], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert eval(done.stdout) == here  # noqa: S307
    assert digest(Mixer(clean, noise, Recipe(**EVERYTHING), 12).pair(0)) != here[0]


def test_files_are_read_once_and_the_cache_is_bounded(clean, noise, monkeypatch):
    read = []

    def counted(path, rate, original=mixing.read_mono):
        read.append(path)
        return original(path, rate)

    monkeypatch.setattr(mixing, "read_mono", counted)
    mixer = Mixer(clean, noise, Recipe(), 2)
    kept = [digest(mixer.pair(k)) for k in range(30)]
    assert sorted(read) == sorted([*clean, *noise])
    limit = 6 * RATE * 4
    monkeypatch.setattr(mixing, "CACHE", limit)
    mixer = Mixer(clean, noise, Recipe(), 2)
    for k in range(30):
        assert digest(mixer.pair(k)) == kept[k]
        assert 0 < sum(x.nbytes for x in mixer._kept.values()) <= limit
    assert len(read) > 30
    monkeypatch.setattr(mixing, "CACHE", 10)
    assert digest(mixer.pair(3)) == kept[3]


# ------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(("options", "line"), [
    ({"rate": 100}, "rate is 100: want 8000 to 192000 Hz"),
    ({"snr": ()}, r"snr is \[\]: want one or more"),
    ({"snr": (math.nan,)}, "snr is .*nan"),
    ({"synthetic": 1.5}, "synthetic is 1.5: want a probability"),
    ({"codec": -0.1}, "codec is -0.1: want a probability"),
    ({"kinds": ("ofice",)}, "kinds has 'ofice', did you mean 'office'"),
    ({"kinds": ("zzzz",)}, "kinds has 'zzzz': want coloured, "),
    ({"kinds": ()}, "kinds is empty: want one or more of"),
    ({"codecs": ("opsu",)}, "codecs has 'opsu', did you mean 'opus'"),
    ({"room_size": (5.0, 3.0)}, r"room_size is \[5.0, 3.0\]: want \[least, most\] within 2.5 to 30 m"),
    ({"reverberation_time": (0.0, 0.3)}, "reverberation_time is .* within 0.1 to 1 s"),
    ({"level": (-20.0,)}, r"level is \[-20.0\]: want"),
    ({"clipping_depth": (0.0, math.nan)}, "clipping_depth is"),
    ({"early": -1.0}, "early is -1.0: want 0 to 1 s"),
    ({"equaliser_gain": 90.0}, "equaliser_gain is 90.0: want 0 to 40 dB"),
])  # fmt: skip
def test_recipes_are_checked(options, line):
    with pytest.raises(UserError, match=line) as caught:
        Recipe(**options)
    assert str(caught.value).startswith("[mix] ")
    assert "\n" not in str(caught.value)


def test_too_few_files(clean, noise, tmp_path):
    with pytest.raises(UserError, match="no clean speech: name one file or more"):
        Mixer([], noise, Recipe(), 0)
    with pytest.raises(UserError, match="no noise: name one file or more, or set synthetic = 1"):
        Mixer(clean, [], Recipe(synthetic=0.9), 0)
    with pytest.raises(UserError, match="babble needs clean speech of 4 speakers or more, there are 3"):
        Mixer(clean[:3], [], Recipe(synthetic=1.0, kinds=("babble",)), 0)
    with pytest.raises(UserError, match="no audio files in"):
        Mixer(clean, noise, Recipe(room=1.0, rooms=(str(tmp_path),)), 0)
    with pytest.raises(ValueError, match="10 files have 1 speakers"):
        Mixer(clean, noise, Recipe(), 0, ["one"])


@pytest.mark.parametrize("what", ["clean", "noise", "room"])
@pytest.mark.parametrize(("name", "write", "line"), [
    ("silent.wav", lambda path: sf.write(path, np.zeros(9_000), RATE), "is silent"),
    ("nan.wav", lambda path: sf.write(path, np.array([0.1, np.nan] * 999), RATE, "FLOAT"), "not finite"),
    ("text.wav", lambda path: path.write_text("no audio"), "cannot read"),
    ("empty.wav", lambda path: sf.write(path, np.zeros(0), RATE), "it holds no audio"),
    ("missing.wav", lambda path: None, "no such file|cannot read|does not exist"),
])  # fmt: skip
def test_files_that_cannot_be_used(clean, noise, tmp_path, what, name, write, line):
    bad = tmp_path / name
    write(bad)
    files = {"clean": [clean[:1], noise], "noise": [clean[:1], noise]}.get(what, [clean[:1], noise])
    recipe = Recipe()
    if what == "room":
        recipe = Recipe(room=1.0, rooms=(str(bad),))
    else:
        files[what == "noise"] = [bad]
    with pytest.raises(FileError, match=line) as caught:
        Mixer(*files, recipe, 0).pair(0)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------ real recordings


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the recordings of ../shared/data are not here")
def test_real_speech_and_noise():
    clean = sorted((SHARED / "speech" / "librispeech-251").glob("*.ogg"))[:3]
    noise = sorted((SHARED / "noise" / "train").iterdir())
    mixer = Mixer(clean, noise, Recipe(), 0)
    pair = mixer.pair(0)
    assert len(pair.clean) > RATE
    assert snr_of(pair.clean, pair.noise) == pytest.approx(pair.snr, abs=0.01)


def test_excerpts_are_parts_of_the_utterance(tmp_path):
    x = np.arange(1, 20_001, dtype=np.float32)
    starts = {int(mixing.excerpt(np.random.default_rng(seed), x, 8_000)[0]) - 1 for seed in range(300)}
    assert min(starts) < 500
    assert 11_500 < max(starts) <= 12_000
    taken = mixing.excerpt(np.random.default_rng(0), x, 8_000)
    np.testing.assert_array_equal(np.diff(taken), np.ones(7_999))
    assert mixing.excerpt(np.random.default_rng(0), x, 30_000) is x
    half_silent = np.r_[np.zeros(30_000, np.float32), np.ones(100, np.float32)]
    assert len(mixing.excerpt(np.random.default_rng(0), half_silent, 1_000)) in (1_000, 30_100)
