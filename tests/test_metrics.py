"""The scores of enhanced speech against packages, closed forms and formulas written out frame by frame."""

import math
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from scipy import signal, stats
from scipy.linalg import solve_toeplitz, toeplitz

from export import metrics
from export.metrics import METRICS, bootstrap, score, standard_error
from rtaudio.errors import UserError

RATE = 16_000
SHARED = Path(__file__).parents[2] / "shared" / "data" / "speech"


def noise(samples, seed=0):
    return np.random.default_rng(seed).standard_normal(samples)


def energy(x):
    return float(np.sum(np.asarray(x, np.float64) ** 2))


def speech(seconds=2.0, seed=0, rate=RATE):
    """Syllables, buzz or fricative noise through formants, with pauses, above a room's noise at -70 dB."""
    random, samples = np.random.default_rng(seed), round(seconds * rate)
    y, begin = np.zeros(samples), 0
    while begin < samples:
        length = round(random.uniform(0.12, 0.3) * rate)
        t = np.arange(length) / rate
        pitch = random.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * 3 * t))
        buzz = np.diff(np.floor(np.cumsum(pitch) / rate), prepend=0.0)
        source = buzz if random.uniform() < 0.75 else 0.1 * random.standard_normal(length)
        for low, high, width in ((300, 800, 90), (900, 2_200, 120), (2_300, 3_200, 200), (3_500, 6_000, 400)):
            centre, radius = random.uniform(low, high), math.exp(-math.pi * width / rate)
            a = [1, -2 * radius * math.cos(2 * math.pi * centre / rate), radius**2]
            source = signal.lfilter([1 - radius], a, source)
        source *= np.hanning(length) / np.max(np.abs(source))
        part = y[begin : begin + length]
        part += random.uniform(0.1, 0.5) * source[: len(part)]
        begin += length + round(random.choice([0, 0, 0.1, 0.25]) * rate)
    return y + 3e-4 * random.standard_normal(samples)


def noisy(x, snr, seed=9):
    """Noise at an SNR in dB, and orthogonal to the signal."""
    n = noise(len(x), seed)
    n -= x * np.vdot(x, n) / energy(x)
    return x + n * math.sqrt(energy(x) / energy(n)) * 10 ** (-snr / 20)


def distorted(x):
    """What enhancers do: some noise is left, parts are gated, the treble is dull."""
    y = signal.lfilter([0.4, 0.3, 0.2, 0.1], 1, noisy(x, 12))
    y[len(y) // 4 : len(y) // 3] *= 0.01
    return y


# ------------------------------------------------------------------------------------------ composite ratings


def by_the_book(clean, enhanced):
    """SSNR, LLR and WSS, one frame, band and lag at a time."""
    window = [0.5 * (1 - math.cos(2 * math.pi * n / 481)) for n in range(1, 481)]
    centres, widths = [50.0 + 70 * k for k in range(8)], [70.0] * 7 + [77.3724]
    centres += [
        617.372,
        703.378,
        798.717,
        904.128,
        1020.38,
        1148.30,
        1288.72,
        1442.54,
        1610.70,
        1794.16,
        1993.93,
    ]
    widths += [
        86.0056,
        95.3398,
        105.411,
        116.256,
        127.914,
        140.423,
        153.823,
        168.154,
        183.457,
        199.776,
        217.153,
    ]
    centres += [2211.08, 2446.71, 2701.97, 2978.04, 3276.17, 3597.63]
    widths += [235.631, 255.255, 276.072, 298.126, 321.465, 346.136]
    filters = []
    for centre, width in zip(centres, widths, strict=True):
        middle, spread = math.floor(centre / 8_000 * 512), width / 8_000 * 512
        gains = [math.exp(-11 * ((j - middle) / spread) ** 2 + math.log(70 / width)) for j in range(512)]
        filters.append([gain if gain > math.exp(-30 / 4.606) else 0.0 for gain in gains])
    ssnr, llr, wss = [], [], []
    for frame in range(int(len(clean) / 120 - 480 / 120)):
        c, e = (x[frame * 120 : frame * 120 + 480] * np.array(window) for x in (clean, enhanced))
        ratio = np.sum(c**2) / (np.sum((c - e) ** 2) + 2.0**-52) + 2.0**-52
        ssnr.append(min(max(10 * math.log10(ratio), -10.0), 35.0))

        r_c, r_e = ([float(np.dot(x[: 480 - lag], x[lag:])) for lag in range(17)] for x in (c, e))
        a_c, a_e = (np.concatenate([[1.0], solve_toeplitz(r[:16], [-v for v in r[1:]])]) for r in (r_c, r_e))
        llr.append(math.log((a_e @ toeplitz(r_c) @ a_e) / (a_c @ toeplitz(r_c) @ a_c)))

        slopes, weights = [], []
        for x in (c, e):
            power = np.abs(np.fft.fft(x, 1024)) ** 2
            level = [10 * math.log10(max(float(np.dot(power[:512], gains)), 1e-10)) for gains in filters]
            slope = [level[i + 1] - level[i] for i in range(24)]
            weight = []
            for i in range(24):
                n = i
                if slope[i] > 0:
                    while n < 24 and slope[n] > 0:
                        n += 1
                    peak = level[n - 1]
                else:
                    while n >= 0 and slope[n] <= 0:
                        n -= 1
                    peak = level[n + 1]
                weight.append(20 / (20 + max(level) - level[i]) * 1 / (1 + peak - level[i]))
            slopes.append(slope)
            weights.append(weight)
        w = [(one + other) / 2 for one, other in zip(*weights, strict=True)]
        wss.append(sum(w[i] * (slopes[0][i] - slopes[1][i]) ** 2 for i in range(24)) / sum(w))
    kept = math.floor(0.95 * len(llr) + 0.5)
    return np.mean(ssnr), np.mean(sorted(llr)[:kept]), np.mean(sorted(wss)[:kept])


def ours(clean, enhanced):
    power = metrics._power(clean), metrics._power(enhanced)
    return (
        metrics.segmental_snr(clean, enhanced),
        metrics.trimmed_mean(metrics.llr_of(*power)),
        metrics.trimmed_mean(metrics.wss_of(*power)),
    )


CHANGES = {
    "5 dB": lambda x: noisy(x, 5),
    "20 dB": lambda x: noisy(x, 20),
    "distorted": distorted,
    "quieter": lambda x: 0.3 * x,
    "other speech": lambda x: speech(len(x) / RATE, seed=77),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("samples", [8_880, 19_999])
def test_ratings_equal_the_formulas_written_out(samples, change):
    clean = speech(samples / RATE, seed=samples)
    enhanced = CHANGES[change](clean)
    ssnr, llr, wss = by_the_book(clean, enhanced)
    assert np.max(np.abs(np.array(ours(clean, enhanced)) - (ssnr, llr, wss))) <= 1e-6
    found = score(clean, enhanced, RATE)
    assert abs(found["SSNR"] - ssnr) <= 1e-6
    expected = {
        "CSIG": 3.093 - 1.029 * llr + 0.603 * found["PESQ"] - 0.009 * wss,
        "CBAK": 1.634 + 0.478 * found["PESQ"] - 0.007 * wss + 0.063 * ssnr,
        "COVL": 1.594 + 0.805 * found["PESQ"] - 0.512 * llr - 0.007 * wss,
    }
    for name, rating in expected.items():
        assert abs(found[name] - min(max(rating, 1), 5)) <= 1e-6


def by_oqmscore(clean, enhanced):
    """SSNR, LLR and WSS by a port of the evaluation of SEGAN."""
    oqmscore = pytest.importorskip("oqmscore", reason="compares with oqmscore")
    values = []
    for name in ("ssnr", "llr", "wss"):
        measure = getattr(oqmscore, name.upper())(clean, enhanced)
        measure.c_sr = measure.n_sr = RATE
        measure.score()
        values.append(getattr(measure, f"{name}_score"))
    return np.array(values)


def compare_with_oqmscore(clean, enhanced):
    # Its SSNR has the floor 1e-10 and its LLR single-precision predictors; its WSS is double precision.
    assert np.all(np.abs(ours(clean, enhanced) - by_oqmscore(clean, enhanced)) <= (1e-4, 5e-3, 1e-6))


@pytest.mark.parametrize("change", CHANGES)
def test_ratings_equal_another_package(change):
    clean = speech(1.5, seed=4)
    compare_with_oqmscore(clean, CHANGES[change](clean))


def recordings():
    """The first second and a half of a few, at 16 kHz."""
    for path in sorted(SHARED.glob("*/wavs/*.ogg"))[::1000]:
        x, rate = sf.read(path)
        yield soxr.resample(x[: 3 * rate // 2], rate, RATE)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the recordings of ../shared are not there")
def test_ratings_of_recordings_equal_the_formulas_and_another_package():
    for clean in recordings():
        for change in ("20 dB", "distorted"):
            enhanced = CHANGES[change](clean)
            assert np.max(np.abs(np.array(ours(clean, enhanced)) - by_the_book(clean, enhanced))) <= 1e-6
            compare_with_oqmscore(clean, enhanced)


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
def test_ratings_of_synthetic_speech_equal_the_formulas(tmp_path):
    text = "The quick brown fox jumps over the lazy dog."
    subprocess.run(["espeak-ng", "-w", tmp_path / "fox.wav", text], check=True)
    x, rate = sf.read(tmp_path / "fox.wav")
    # Pauses are digital silence, which predicts itself, so that LLR is not defined there but by a floor.
    clean = soxr.resample(x, rate, RATE) + 1e-5 * noise(round(len(x) * RATE / rate))
    enhanced = distorted(clean)
    assert np.max(np.abs(np.array(ours(clean, enhanced)) - by_the_book(clean, enhanced))) <= 1e-6


def test_llr_of_a_first_order_process_has_a_closed_form():
    """Of noise through 1 / (1 - p z^-1), the flat predictor leaves 1 / (1 - p^2) times what the right one
    does, which in turn makes 1 + p^2 of white noise."""
    p, white = 0.8, noise(400_000)
    coloured = signal.lfilter([1], [1, -p], white)
    powers = metrics._power(coloured), metrics._power(noise(len(white), seed=1))
    flat, colouring = metrics.llr_of(*powers), metrics.llr_of(*powers[::-1])
    # 16 predictors of 480 windowed samples are fitted to the frame itself: about 16 / 180 more is explained.
    assert abs(np.mean(flat) - math.log(1 / (1 - p**2))) <= 0.2
    assert abs(np.mean(colouring) - math.log(1 + p**2)) <= 0.2


def test_llr_is_defined_for_digital_silence():
    x = speech(1.0)
    x[4_000:9_000] = 0.0
    silent = np.zeros_like(x)
    power, nothing = metrics._power(x), metrics._power(silent)
    for pair in ((power, nothing), (nothing, power), (power, metrics._power(np.ones_like(x)))):
        assert np.all(np.isfinite(metrics.llr_of(*pair)))
    assert np.all(metrics.llr_of(nothing, nothing) == 0)
    # The predictor of silence predicts nothing, so that all of a frame remains.
    r = [[float(np.dot(f[: 480 - lag], f[lag:])) for lag in range(17)] for f in metrics._frames(x)[:5]]
    a = [np.concatenate([[1.0], solve_toeplitz(v[:16], [-w for w in v[1:]])]) for v in r]
    expected = [math.log(v[0] / (b @ toeplitz(v) @ b)) for v, b in zip(r, a, strict=True)]
    assert np.max(np.abs(metrics.llr_of(power, nothing)[:5] - expected)) <= 1e-6


def test_predictors_of_what_is_all_but_predictable_have_their_zeros_inside_the_unit_circle():
    """Where the coefficients of (1 + z)^16 bound theirs."""
    t = np.arange(8_000) % 480 - 240.0
    bounds = [math.comb(16, k) for k in range(17)]
    for width in (20, 40, 60):
        a = metrics._predictors(metrics._power(np.exp(-((t / width) ** 2) / 2)))
        assert np.all(np.abs(a) <= bounds)


def test_wss_hears_nothing_below_its_floor():
    quiet, silent = metrics._power(1e-9 * noise(4_000)), metrics._power(np.zeros(4_000))
    assert np.all(metrics.wss_of(quiet, silent) == 0)
    assert np.all(metrics.wss_of(metrics._power(1e-5 * noise(4_000)), silent) > 1)


def test_a_trimmed_mean_leaves_out_the_worst_frames():
    assert metrics.trimmed_mean(np.array([1e9, *[1.0] * 19])) == 1
    assert metrics.trimmed_mean(np.array([3.0, *[1.0] * 8])) == pytest.approx(11 / 9)  # 8.55 is 9
    assert metrics.trimmed_mean(np.arange(10.0)) == 4.5  # 9.5 is 10
    assert metrics.trimmed_mean(np.array([*np.arange(70.0)])) == 33  # 66.5 is 67


# ------------------------------------------------------------------------------------------ closed forms


@pytest.mark.parametrize("snr", [-5.0, 0.0, 15.0, 60.0])
@pytest.mark.parametrize("gain", [1.0, 0.5, -2.0])
def test_orthogonal_noise_has_its_ratio(snr, gain):
    clean = speech(1.0)
    found = score(clean, gain * noisy(clean, snr), RATE)
    assert abs(found["SI-SDR"] - snr) <= 1e-9
    assert found["polarity"] == math.copysign(1, gain)
    # The error of g (s + n) is (1 - g) s - g n.
    error = (1 - gain) ** 2 + gain**2 * 10 ** (-snr / 10)
    assert abs(found["SNR"] + 10 * math.log10(error)) <= 1e-9


@pytest.mark.parametrize(
    ("snr", "expected"), [(-4.0, -4.0), (12.5, 12.5), (34.9, 34.9), (50.0, 35.0), (-20.0, -10.0)]
)
def test_an_error_of_constant_ratio_has_it_in_every_frame(snr, expected):
    clean = 0.3 * noise(20_000)
    assert abs(metrics.segmental_snr(clean, clean * (1 + 10 ** (-snr / 20))) - expected) <= 1e-6


def test_segmental_snr_is_the_mean_of_limited_frames():
    clean, enhanced = noise(9_600 + 480), np.zeros(9_600 + 480)
    enhanced[:4_800] = 0.99 * clean[:4_800]  # 40 dB, which counts 35; then the error is the signal, 0 dB
    counts = [35] * 37 + [0] * 40  # 3 frames in between are mixed
    frames = [metrics.segmental_snr(clean[k : k + 601], enhanced[k : k + 601]) for k in range(0, 9_600, 120)]
    assert np.max(np.abs(np.array(frames[:37] + frames[40:]) - counts)) <= 1e-9
    assert abs(metrics.segmental_snr(clean, enhanced) - np.mean(frames)) <= 1e-9


def test_digital_silence_counts_as_the_worst_frame():
    clean = 0.1 * noise(480 + 120 * 40)
    clean[480 + 120 * 19 :] = 0.0
    assert metrics.segmental_snr(clean, clean) == pytest.approx((35 * 23 - 10 * 17) / 40)


@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000])
@pytest.mark.parametrize("lag", [0, 1, -1, 37, -400])
def test_lag_and_polarity(lag, rate):
    x = speech(1.0, seed=3, rate=rate)
    clean, enhanced = x[1_000:-1_000], x[1_000 - lag : len(x) - 1_000 - lag]
    assert metrics.alignment(clean, enhanced) == (lag, 1)
    assert metrics.alignment(clean, -0.3 * enhanced + 0.01 * noise(len(clean))) == (lag, -1)


def test_lag_is_in_samples_at_the_rate_given_and_is_not_taken_out():
    x = speech(1.5, rate=48_000)
    found = score(x[300:], x[:-300], 48_000)
    assert (found["lag"], found["polarity"]) == (300, 1)
    assert found["PESQ"] > 4.5
    assert found["SI-SDR"] < 5


# ------------------------------------------------------------------------------------------ score


def test_what_is_unchanged_has_the_best_scores():
    x = speech()
    found = score(x, x, RATE)
    assert tuple(found) == (*METRICS, "lag", "polarity")
    assert all(type(value) is float for value in found.values())
    # P.862.2 of the highest raw PESQ, 4.5.
    assert abs(found["PESQ"] - (0.999 + 4 / (1 + math.exp(-1.3669 * 4.5 + 3.8224)))) <= 1e-4
    best = {"STOI": 1, "ESTOI": 1, "SI-SDR": 100, "SSNR": 35, "SNR": 100, "CSIG": 5, "CBAK": 5, "COVL": 5}
    assert {name: round(found[name], 6) for name in best} == best
    assert (found["lag"], found["polarity"]) == (0, 1)


def test_scores_equal_the_packages():
    from pesq import pesq
    from pystoi import stoi

    clean = speech()
    for enhanced in (noisy(clean, 10), distorted(clean)):
        found = score(clean, enhanced, RATE)
        assert abs(found["PESQ"] - pesq(RATE, clean, enhanced, "wb")) <= 1e-3
        assert abs(found["STOI"] - stoi(clean, enhanced, RATE)) <= 1e-9
        assert abs(found["ESTOI"] - stoi(clean, enhanced, RATE, extended=True)) <= 1e-9


def test_si_sdr_is_the_ratio_at_the_best_gain():
    clean = speech(1.0)
    enhanced = distorted(clean)
    gain = np.linalg.lstsq(clean[:, None], enhanced, rcond=None)[0][0]
    expected = 10 * math.log10(energy(gain * clean) / energy(gain * clean - enhanced))
    assert abs(score(clean, enhanced, RATE)["SI-SDR"] - expected) <= 1e-9


def test_scores_fall_as_noise_rises():
    clean = speech(2.0, seed=1)
    scores = [score(clean, noisy(clean, snr), RATE) for snr in range(40, -5, -5)]
    table = np.array([[found[name] for name in METRICS] for found in scores])
    falls = np.diff(table, axis=0) < 0
    limited = (table[1:] == 1) | (table[:-1] == 5)  # the ratings end there
    assert np.all(falls | limited)
    assert np.all(falls[:, :6])


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_other_rates_are_resampled(rate):
    x, n = speech(2.0), noise(2 * RATE, seed=2)
    y = x + 0.01 * n
    at_16k = score(x, y, RATE)
    found = score(*(soxr.resample(v, RATE, rate, "VHQ") for v in (x, y)), rate)
    for name in ("PESQ", "STOI", "ESTOI", "SI-SDR", "SNR", "SSNR", "CSIG", "CBAK", "COVL"):
        # The resamplers' filters end a little below 8 kHz.
        assert abs(found[name] - at_16k[name]) <= (0.5 if name in ("SI-SDR", "SNR", "SSNR") else 0.1), name


def test_float32_and_float64_score_alike_and_stay_as_they_are():
    clean = speech(1.0).astype(np.float32)
    enhanced = noisy(clean, 12).astype(np.float32)
    copies = clean.copy(), enhanced.copy()
    found, double = (
        score(clean.astype(kind), enhanced.astype(kind), RATE) for kind in (np.float32, np.float64)
    )
    assert found == double
    assert np.array_equal(copies[0], clean)
    assert np.array_equal(copies[1], enhanced)


def test_silence_has_the_worst_scores():
    clean = speech()
    found = score(clean, np.zeros_like(clean), RATE)
    assert [found[name] for name in ("PESQ", "STOI", "ESTOI", "SI-SDR", "SNR")] == [1, 0, 0, -100, 0]
    assert abs(found["SSNR"]) <= 1e-6
    assert [found[name] for name in ("CSIG", "COVL", "lag", "polarity")] == [1, 1, 0, 1]
    assert all(map(math.isfinite, found.values()))
    for snr in (0, 5):
        other = score(clean, noisy(clean, snr), RATE)
        assert all(found[name] <= other[name] for name in METRICS if name not in ("SSNR", "CBAK"))


@pytest.mark.parametrize(
    "enhanced", ["constant", "click", "a million times louder", "almost nothing", "half silent"]
)
def test_odd_output_has_finite_scores_that_repeat(enhanced):
    clean = speech()
    y = {
        "constant": np.full_like(clean, 0.1),
        "click": np.eye(1, len(clean), 20_000)[0],
        "a million times louder": 1e6 * noise(len(clean)),
        "almost nothing": 1e-25 * clean,
        "half silent": np.where(np.arange(len(clean)) < len(clean) // 2, clean, 0.0),
    }[enhanced]
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    found = score(clean, y, RATE)
    assert np.array_equal(before, np.random.get_state()[1])
    np.random.seed(2)
    assert score(clean, y, RATE) == found
    assert all(map(math.isfinite, found.values()))
    assert all(1 <= found[name] <= 5 for name in ("PESQ", "CSIG", "CBAK", "COVL"))
    if enhanced == "almost nothing":
        assert found["PESQ"] > 4.6


def broken(x, index, value):
    y = x.copy()
    y[index] = value
    return y


X = speech(1.0)
MISTAKES = {
    "stereo": (X, np.stack([X, X]), "the enhanced signal has the shape (2, 16000), want mono, (samples,)"),
    "stereo clean": (np.stack([X, X], 1), X, "the clean signal has the shape (16000, 2), want mono"),
    "lengths": (X, X[:-7], "the clean signal has 16000 samples, the enhanced one 15993: they must be alike"),
    "empty": (X[:0], X[:0], "0.000 s are too short to score, want 0.4 s or more"),
    "short": (X[:6_399], X[:6_399], "0.400 s are too short"),
    "nan": (X, broken(X, 5, np.nan), "the enhanced signal has samples that are not finite"),
    "infinite": (broken(X, 5, np.inf), X, "the clean signal has samples that are not finite"),
    "silent": (0 * X, X, "the clean signal is silent, for which no score is defined: leave it out"),
    "all but silent": (1e-170 * X, X, "the clean signal is silent"),
    "little speech": (
        broken(X, slice(3_000, None), 0),
        X,
        "the clean signal has less than the 0.4 s of speech",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_be_scored_is_refused_in_one_line(mistake):
    clean, enhanced, said = MISTAKES[mistake]
    with pytest.raises(UserError) as caught:
        score(clean, enhanced, RATE)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_rate_of_nothing_is_refused():
    with pytest.raises(UserError, match="a rate of 0 Hz is not one"):
        score(X, X, 0)


def test_speech_without_utterances_is_refused():
    x = speech(0.5, seed=11)
    with pytest.raises(UserError, match="PESQ finds no utterance in the clean signal"):
        score(x, x, RATE)


# ------------------------------------------------------------------------------------------ several files


def test_standard_error():
    assert standard_error([1, 2, 3, 4]) == pytest.approx(math.sqrt(5 / 3) / 2)
    x = noise(50)
    assert standard_error(x) == pytest.approx(stats.sem(x))
    assert math.isnan(standard_error([1.0]))
    assert math.isnan(standard_error([]))


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_bootstrap_of_many_is_the_normal_interval(level):
    x = 0.3 + noise(800)
    low, high = bootstrap(x, level=level)
    # The bootstrap's spread is that of s / sqrt(n) with n in s; 10 000 resamples resolve a quantile to 3 %.
    half = stats.norm.ppf((1 + level) / 2) * np.std(x) / math.sqrt(len(x))
    assert abs(low - (np.mean(x) - half)) <= 0.06 * half
    assert abs(high - (np.mean(x) + half)) <= 0.06 * half


def test_bootstrap_of_three_has_all_27_resamples():
    """Of 0, 0, 27: the mean is 0, 9, 18 or 27 with 8, 12, 6 and 1 of 27."""
    assert bootstrap([0, 0, 27], level=1 - 2 * 7.5 / 27) == (0, 9)
    assert bootstrap([0, 0, 27], level=1 - 2 * 0.5 / 27) == (0, 27)
    assert bootstrap([0, 0, 27], level=1 - 2 * 1.5 / 27) == (0, 18)


def test_bootstrap_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(5)
    intervals = [bootstrap(random.standard_normal(60), seed, 1_000, 0.9) for seed in range(400)]
    covered = np.mean([low <= 0 <= high for low, high in intervals])
    assert 0.9 - 0.06 <= covered <= 0.9 + 0.045  # 60 are few: 1 % too narrow; 3 standard errors of 400 trials


def test_bootstrap_of_columns_is_that_of_each_without_what_is_not_there():
    x = np.random.default_rng(6).normal([[0.0, 1.0], [2.0, 3.0]], 1.0, (50, 2, 2))
    x[7, 0], x[3:, 1, 1] = np.nan, np.nan
    low, high = bootstrap(x[:, :, 0])
    for column in range(2):
        values = x[:, column, 0][np.isfinite(x[:, column, 0])]
        want = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", random_state=1)
        # Each end is known to a standard error of 2.7 % of the mean's, s / sqrt(n), with 10 000 draws.
        error = np.std(values) / math.sqrt(len(values))
        assert abs(low[column] - want.confidence_interval.low) <= 0.12 * error
        assert abs(high[column] - want.confidence_interval.high) <= 0.12 * error
    low, high = bootstrap(x)
    assert low.shape == high.shape == (2, 2)
    assert np.nanmin(x[:, 1, 1]) <= low[1, 1] <= high[1, 1] <= np.nanmax(x[:, 1, 1])
    x[1:, 1, 1] = np.nan
    assert np.isnan(bootstrap(x)[0]).tolist() == [[False, False], [False, True]]


def test_bootstrap_is_seeded():
    x = noise(30)
    assert bootstrap(x, 3) == bootstrap(x, 3) != bootstrap(x, 4)
    assert bootstrap(np.full(5, 2.5)) == (2.5, 2.5)
    assert all(map(math.isnan, bootstrap([1.0])))


def test_scoring_needs_neither_package_before_it_scores():
    code = """
        import sys
        import export.metrics
        sys.exit(" ".join({"pesq", "pystoi", "torch", "librosa"} & set(sys.modules)) or 0)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
