"""The separator with kernels of one's own: against the paper's Algorithm 1 (`kam_reference`), what a kernel's
text means, and what a repeating source is good for."""

import re

import kam_reference
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import median_filter

from engines.kam import NAMES, Kam, read_kernel
from engines.medians import median_network, shift, sort_partly
from rtaudio.errors import UserError

RATE = 44_100
SMALL = {"n_fft": "512", "hop": "128", "synthesis": "512", "lookahead": 2}


def streamed(x, **values):
    """The outputs x channels x samples, aligned with the input."""
    made = Kam(**values)
    made.prepare(RATE, made.hop, True, len(x))
    hop, ports = made.hop, len(made.outputs)
    blocks = -(-(x.shape[1] + made.latency) // hop)
    padded = np.zeros((len(x), blocks * hop), np.float32)
    padded[:, : x.shape[1]] = x
    out = np.zeros((ports * len(x), blocks * hop), np.float32)
    for begin in range(0, blocks * hop, hop):
        block = np.empty((ports * len(x), hop), np.float32)
        made.process(np.ascontiguousarray(padded[:, begin : begin + hop]), block)
        out[:, begin : begin + hop] = block
    return out.reshape(ports, len(x), -1)[:, :, made.latency : made.latency + x.shape[1]]


def music(channels=2, samples=20_000, seed=0):
    """Tones that begin and end, and bursts of noise, from all sides."""
    rng, t = np.random.default_rng(seed), np.arange(samples) / RATE
    x = 1e-3 * rng.standard_normal((channels, samples))
    for _ in range(12):
        side, on = rng.uniform(0, 1, (channels, 1)), np.sort(rng.uniform(0, t[-1], 2))
        x += side * ((t > on[0]) & (t < on[1])) * np.sin(2 * np.pi * rng.uniform(80, 8000) * t) * 0.1
    for begin in rng.integers(0, samples - 2000, 5):
        side = rng.uniform(0, 1, (channels, 1))
        x[:, begin : begin + 2000] += side * rng.standard_normal(2000) * np.exp(-np.arange(2000) / 300) * 0.3
    return x.astype(np.float32)


# ------------------------------------------------------------------------------------------ Algorithm 1

CROSS = [(0, 0), (1, 0), (-1, 0), (0, -1), (0, 1)]
KERNELS = {
    "the paper's": ("time 5", "frequency 5", "", [kam_reference.times(5, 2), kam_reference.frequencies(5)]),
    "any sets": (
        "(0,0) (0,-3) (1,-2) (-2,1)",
        "(0, 0) (3, 0) (-3, -1) (5, 2) (-64, 0)",
        "",
        [[(0, 0), (0, -3), (1, -2), (-2, 1)], [(0, 0), (3, 0), (-3, -1), (5, 2), (-64, 0)]],
    ),
    "three": (
        "time 17",
        "frequency 17",
        "(0,0) (0,-9) (0,-18)",
        [kam_reference.times(17, 2), kam_reference.frequencies(17), [(0, 0), (0, -9), (0, -18)]],
    ),
    "joined, and one bin": (
        "time 3 + frequency 3",
        "time 1",
        "repeat 0.02 4",  # 0.02 s are 7 frames
        [CROSS, [(0, 0)], [(0, 0), (0, -7), (0, -14), (0, -21)]],
    ),
}
KERNELS["a large one"] = (
    "time 17 + frequency 33",
    "frequency 5",
    "",
    [kam_reference.times(17, 2) + [(p, 0) for p in range(-16, 17) if p], kam_reference.frequencies(5)],
)
WAYS = {
    "once": {},
    "twice": {f"{name}_iterations": 2 for name in NAMES},
    "at different times": {"harmonic_iterations": 1, "percussive_iterations": 3, "repeating_iterations": 2},
    "power 1": {"power": 1.0, "percussive_iterations": 2},
    "power 3 and margins": {"power": 3.0, "harmonic_margin": 1.5, "percussive_margin": 2.0},
    "independent": {"channels": "independent", "harmonic_iterations": 2},
    "spatial": {"spatial": "weighted", **{f"{name}_iterations": 2 for name in NAMES}},
    "spatial with margins": {"spatial": "uniform", "power": 1.0, "harmonic_margin": 2.0},
    "hard": {"mask": "hard", "harmonic_margin": 1.2},
    "hard and spatial": {"mask": "hard", "spatial": "weighted", "percussive_iterations": 2},
}


@pytest.mark.parametrize("values", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("kernels", KERNELS.values(), ids=KERNELS)
def test_equals_the_reference(kernels, values):
    *texts, offsets = kernels
    values = SMALL | values | {f"{name}_kernel": text for name, text in zip(NAMES, texts, strict=True)}
    told = Kam(**values).values
    names = NAMES[: len(offsets)]
    x = music()
    want = kam_reference.separate(
        x, 512, 128, 512,
        iterations=[int(told[f"{name}_iterations"]) for name in names],
        linked=told["channels"] == "linked",
        kernels=offsets,
        margins=[told[f"{name}_margin"] for name in names],
        lookahead=2,
        spatial=told["spatial"],
        keep=1 - 128 / (2.3 * RATE),
        power=told["power"],
        hard=told["mask"] == "hard",
    )  # fmt: skip
    got = streamed(x, **values)
    if len(offsets) == 2:
        assert not got[2].any()
        got = got[[0, 1, 3]]
    difference = np.abs(got - want)
    if told["mask"] == "hard":
        # A bin whose medians are equal but for rounding can fall to either.
        assert np.mean(difference > 1e-6) <= 0.01
    else:
        assert np.max(difference) <= Kam.tolerance
    assert np.max(np.abs(got.astype(np.float64).sum(axis=0) - x)) <= 1e-6


def test_the_recursion_comes_to_the_papers_mean_over_all_frames():
    """The mean so far and, as the paper has it, the mean over all frames, of a sound whose places stay: the
    longer it lasts, the nearer they come."""
    rng = np.random.default_rng(0)
    channels = rng.standard_normal((2, 2)) @ rng.standard_normal((2, 40_000))
    X = kam_reference.stft(channels, kam_reference.windows(512, 128, 512)[0], 128)
    for model in ("uniform", "weighted"):
        _, so_far = kam_reference.spatial_covariance(X, model, 1.0)
        _, whole = kam_reference.spatial_covariance(X, model, None)
        apart = np.sqrt(np.sum(np.abs(so_far - whole) ** 2, axis=(0, 2, 3)))
        assert apart[-1] < 1e-9
        assert apart[200] < 0.5 * apart[20]


# ------------------------------------------------------------------------------------------ kernels


@pytest.mark.parametrize(
    ("text", "offsets"),
    [
        ("time 3", [(0, -1), (0, 0), (0, 1)]),
        ("time 7", [(0, p) for p in range(-4, 3)]),
        ("frequency 3", [(-1, 0), (0, 0), (1, 0)]),
        ("repeat 0.5 3", [(0, -100), (0, -50), (0, 0)]),
        ("repeat .5s 2", [(0, -50), (0, 0)]),
        ("repeat 0.034 s 4", [(0, -10), (0, -7), (0, -3), (0, 0)]),
        ("(1, -2)", [(1, -2)]),
        ("(1,-2)( -3 , 0 )", [(-3, 0), (1, -2)]),
        ("time 3 + time 3 + (0,0)", [(0, -1), (0, 0), (0, 1)]),
    ],
)
def test_the_text_of_a_kernel(text, offsets):
    assert list(read_kernel(text, lookahead=2, frames_per_s=100.0)) == offsets


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is none of: time SIZE"),
        ("tim 17", "'tim 17' is none of: time SIZE, frequency SIZE, repeat SECONDS COUNT, (BINS, FRAMES)"),
        ("time 16", "a size of 16 is not odd"),
        ("frequency 131", "a size of 131 is not odd, from 1 to 129"),
        ("time 3 +", "'' is none of"),
        ("repeat 0.001 3", "a period of 0.001 s is shorter than a frame"),
        ("repeat 1 0", "a count of 0 is not from 1 to 129"),
        ("repeat 1 99999999999", "a count of 99999999999 is not from 1 to 129"),
        ("(65, 0)", "(65, 0) is more than 64 bins away"),
        ("(0, 3)", "(0, 3) is after lookahead=2"),
        ("repeat 100 5", "(0, -40000) is over 16384 frames back: come nearer, or use a longer hop"),
    ],
)
def test_what_is_no_kernel_is_refused_in_words(text, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        read_kernel(text, lookahead=2, frames_per_s=100.0)
    if text:
        with pytest.raises(UserError, match="kam: repeating_kernel: "):
            Kam(repeating_kernel=text, hop="64", n_fft="1024", synthesis="1024", lookahead=2)


def test_kernels_that_keep_too_much_are_refused():
    far = {f"{name}_kernel": f"(0, {-16_000 - i})" for i, name in enumerate(NAMES)}
    made = Kam(**far, n_fft="16384", **{f"{name}_iterations": 3 for name in NAMES})
    with pytest.raises(UserError, match=r"keep 4\.4 GiB of frames, at most 1: use fewer iterations"):
        made.prepare(RATE, made.hop, True, 2)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_the_network_finds_the_median(size, seed):
    rows = np.random.default_rng(seed).integers(0, 9, (size, 33)).astype(np.float32)
    want = np.median(rows, axis=0)
    sort_partly(rows, median_network(size), 33)
    assert np.array_equal(0.5 * (rows[(size - 1) // 2] + rows[size // 2]), want)


@given(st.integers(2, 50), st.integers(-70, 70))
def test_shift_mirrors_the_ends(bins, offset):
    offset = int(np.clip(offset, 1 - bins, bins - 1))
    values, out = np.arange(bins, dtype=np.float32), np.full(bins, -1, np.float32)
    shift(values, bins, offset, out)
    padded = np.pad(values, abs(offset), mode="symmetric")
    assert np.array_equal(out, padded[abs(offset) + offset :][:bins])


def test_the_references_medians_are_scipys():
    """The median that everything is compared with, over lines and over a plane."""
    z = np.random.default_rng(0).exponential(size=(40, 30))
    across = kam_reference.median(z, kam_reference.frequencies(9))
    assert np.array_equal(across, median_filter(z, (9, 1), mode="reflect"))
    along = kam_reference.median(z, kam_reference.times(5, 2))
    assert np.array_equal(along[:, 2:-2], np.median(sliding_window_view(z, 5, axis=1), axis=-1))


# ------------------------------------------------------------------------------------------ what repeats


def sdr(estimate, truth):
    """Signal-to-distortion ratio, in dB."""
    return 10 * np.log10(np.sum(truth**2) / np.sum((estimate - truth) ** 2))


def loop_and_solo(seconds=16.0, period=1.0):
    """A bar that repeats, of hits and plucked notes, and a solo of notes that do not, (2, samples) each."""
    rng, samples, bar = np.random.default_rng(3), round(seconds * RATE), round(period * RATE)
    once, solo, t = np.zeros(bar), np.zeros(samples), np.arange(RATE) / RATE
    for beat in range(8):
        at, note = beat * bar // 8, 2 ** (rng.integers(0, 24) / 12)
        pluck = sum(np.sin(2 * np.pi * 110 * note * k * t) * np.exp(-t * 9 * k) / k for k in range(1, 12))
        hit = rng.standard_normal(RATE) * np.exp(-t * 40) * (beat % 2)
        once[at:] += (0.3 * pluck + 0.4 * hit)[: bar - at]
    at = 0
    while at < samples - RATE:
        length, note = rng.integers(RATE // 5, RATE), 2 ** (rng.integers(0, 24) / 12)
        fade = np.minimum(1, np.minimum(np.arange(length), length - np.arange(length)) / 500)
        solo[at : at + length] += (
            0.3 * fade * sum(np.sin(2 * np.pi * 220 * note * k * t[:length]) / k for k in range(1, 8))
        )
        at += length
    loop = np.tile(once, -(-samples // bar))[:samples]
    return np.stack([loop, loop]), np.stack([solo, solo])


def test_a_repeating_source_takes_what_repeats():
    """Plucked notes and hits of a loop are neither harmonic nor percussive alone; with a kernel of its period
    the loop comes out, and the solo is left."""
    loop, solo = loop_and_solo()
    x = (loop + solo).astype(np.float32)
    late = slice(4 * RATE, None)  # three times heard
    two = streamed(x, harmonic_kernel="time 17", percussive_kernel="frequency 17")[..., late]
    three = streamed(x, repeating_kernel="repeat 1.0 5")[..., late]
    without = sdr(two[0], solo[:, late])
    with_it = sdr(three[0], solo[:, late])
    scores = without, with_it, sdr(two[1], loop[:, late]), sdr(three[1] + three[2], loop[:, late])
    assert with_it >= without + 2
    assert scores[3] >= scores[2] + 2
