"""Frechet and kernel distances against closed forms, literal sums and scipy, and their command."""

import hashlib
import io
import itertools
import json
import math
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf
import soxr
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.signal import butter, lfilter, sosfilt
from scipy.stats import ortho_group, spearmanr
from workshop import help_without, status_of, table_of

from export import distances
from export.__main__ import main
from export.distances import (
    Clip,
    Folder,
    Network,
    Sample,
    at_level,
    cut,
    estimates,
    frechet_distance,
    kernel_distance,
    read_clip,
    split,
    standardised,
)
from rtaudio.errors import UserError

onnx = pytest.importorskip("onnx", reason="builds feature networks")
pytest.importorskip("onnxruntime", reason="runs feature networks")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def silent(what):
    """Progress that nobody watches."""


# ------------------------------------------------------------------------------------------ Frechet


def by_sqrtm(x, y):
    """Equation (5) as it is printed."""
    sx, sy = (np.cov(each.T).reshape(each.shape[1], -1) for each in (x, y))
    root = np.real(np.trace(sqrtm(sx @ sy)))
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(sx) + np.trace(sy) - 2 * root


def by_eigenvalues(x, y):
    """The same by the eigenvalues of sqrt(Sx) Sy sqrt(Sx), which are 0 at least."""
    sx, sy = (np.cov(each.T).reshape(each.shape[1], -1) for each in (x, y))
    values, vectors = np.linalg.eigh(sx)
    half = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    root = np.sqrt(np.clip(np.linalg.eigvalsh(half @ sy @ half), 0, None)).sum()
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(sx) + np.trace(sy) - 2 * root


@pytest.mark.parametrize(("m", "n", "d"), [(300, 200, 16), (64, 1000, 8), (50, 50, 1), (40, 41, 39)])
def test_frechet_equals_sqrtm(m, n, d):
    x = noise(m, d) @ noise(d, d, seed=1)
    y = noise(n, d, seed=2) @ noise(d, d, seed=3) + noise(d, seed=4)
    assert frechet_distance(x, y) == pytest.approx(by_sqrtm(x, y), rel=1e-9)


@pytest.mark.parametrize(("m", "n"), [(20, 30), (30, 20), (20, 200), (2, 2)])
def test_frechet_of_fewer_clips_than_features(m, n):
    x, y = noise(m, 64) * np.linspace(0.1, 3, 64), noise(n, 64, seed=1) + 0.5
    assert frechet_distance(x, y) == pytest.approx(by_eigenvalues(x, y), rel=1e-6)


def test_frechet_of_a_sample_to_itself_is_0_to_rounding():
    for m, d in ((500, 16), (20, 100)):
        x = 5 + noise(m, d)
        assert abs(frechet_distance(x, x[::-1])) <= 1e-12 * m * d
    x = noise(20, 100)  # moved, so that only the means differ
    assert frechet_distance(x, x + 0.25) == pytest.approx(100 * 0.25**2, rel=1e-10)


def test_frechet_of_many_clips_is_that_of_the_gaussians():
    random = np.random.default_rng(0)
    mx, my = np.array([1.0, 0, 2]), np.array([0, 0.5, 2.5])
    a, b = random.standard_normal((2, 3, 3))
    sx, sy = a @ a.T, b @ b.T
    true = np.sum((mx - my) ** 2) + np.trace(sx + sy - 2 * np.real(sqrtm(sx @ sy)))
    x, y = (random.multivariate_normal(m, s, 400_000) for m, s in ((mx, sx), (my, sy)))
    assert frechet_distance(x, y) == pytest.approx(true, rel=0.01)


def test_frechet_of_one_distribution_is_what_theory_says():
    d, m, n = 4, 300, 500  # |dm|^2 + |dS|^2 / 4 to second order, for S = I
    expected = (1 / m + 1 / n) * (d + (d * d + d) / 4)
    found = [frechet_distance(noise(m, d, seed=2 * k), noise(n, d, seed=2 * k + 1)) for k in range(400)]
    assert np.mean(found) == pytest.approx(expected, rel=4 * np.std(found) / np.mean(found) / 20 + 0.01)


@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(1, 12), st.floats(0.01, 100))
def test_frechet_knows_no_rotation_no_origin_and_no_order(seed, clips, d, scale):
    random = np.random.default_rng(seed)
    x, y = random.standard_normal((clips, d)), scale * random.standard_normal((clips + 3, d)) + 1
    turn = ortho_group.rvs(d, random_state=seed) if d > 1 else -np.eye(1)
    value = frechet_distance(x, y)
    size = 1e-9 * (1 + scale) ** 2 * d
    assert value >= -size
    assert frechet_distance(x @ turn + 3, y @ turn + 3) == pytest.approx(value, rel=1e-9, abs=size)
    assert frechet_distance(y, x) == pytest.approx(value, rel=1e-9, abs=size)
    assert frechet_distance(2 * x, 2 * y) == pytest.approx(4 * value, rel=1e-9, abs=size)


# ------------------------------------------------------------------------------------------ kernel


def literal_kernel(x, y, x_files, y_files):
    """Equation (6) with -2/(mn), summed pair by pair over clips of different files."""

    def mean(a, b, a_files, b_files):
        found = [
            (sum(p * q for p, q in zip(u, v, strict=True)) / len(u) + 1) ** 3
            for u, i in zip(a.tolist(), a_files, strict=True)
            for v, j in zip(b.tolist(), b_files, strict=True)
            if i != j
        ]
        return math.fsum(found) / len(found)

    within = mean(x, x, x_files, x_files) + mean(y, y, y_files, y_files)
    return within - 2 * mean(x, y, x_files, y_files)


def moments(mean, covariance):
    """E x, E x x', E x x' x'' of a Gaussian."""
    m, s = mean, covariance
    third = np.einsum("i,j,k->ijk", m, m, m)
    for left in ("i,jk->ijk", "j,ik->ijk", "k,ij->ijk"):
        third += np.einsum(left, m, s)
    return m, s + np.outer(m, m), third


def true_kernel(x, y):
    """The distance of distributions with these moments: (1 + t)^3 is 1 + 3 t + 3 t^2 + t^3."""
    d = len(x[0])
    return sum(
        factor * np.sum((a - b) ** 2) / d**power
        for factor, power, a, b in zip((3, 3, 1), (1, 2, 3), x, y, strict=True)
    )


@pytest.mark.parametrize(("m", "n", "d"), [(12, 17, 3), (25, 9, 40)])
def test_kernel_equals_the_double_sum(m, n, d):
    x, y = noise(m, d), noise(n, d, seed=1) * 1.5 + 0.3
    want = literal_kernel(x, y, range(m), range(m, m + n))
    assert kernel_distance(x, y) == pytest.approx([want], rel=1e-11)


def test_kernel_leaves_pairs_of_one_file_out(monkeypatch):
    monkeypatch.setattr(distances, "ROWS", 7)  # more than one round
    x, y = noise(20, 3), noise(16, 3, seed=1) + 0.5
    x_files, y_files = np.arange(20) // 3, np.arange(16) // 2 + 2  # the sets share files
    want = literal_kernel(x, y, x_files, y_files)
    assert kernel_distance(x, y, x_files, y_files) == pytest.approx([want], rel=1e-11)


def test_weights_are_repetitions():
    random = np.random.default_rng(0)
    x, y, x_files, y_files = noise(20, 4), noise(15, 4, seed=1) + 1, np.arange(20) // 2, 50 + np.arange(15)
    counts = [random.integers(0, 4, (3, n)) for n in (20, 15)]
    found = kernel_distance(x, y, x_files, y_files, *(each.astype(float) for each in counts))
    for k in range(3):
        i, j = (np.repeat(np.arange(each.shape[1]), each[k]) for each in counts)
        assert found[k] == pytest.approx(literal_kernel(x[i], y[j], x_files[i], y_files[j]), rel=1e-11)
        weights = (each[k].astype(float) for each in counts)
        assert frechet_distance(x, y, *weights) == pytest.approx(by_sqrtm(x[i], y[j]), rel=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.6])
def test_kernel_is_unbiased(shift):
    a = np.array([[1.0, 0, 0], [0.5, 1, 0], [0, -0.4, 0.8]])
    mx, my, b = np.array([0.3, 0, -0.2]), np.array([0.3 + shift, 0, -0.2]), a * (1 + shift)
    true = true_kernel(moments(mx, a @ a.T), moments(my, b @ b.T))
    random = np.random.default_rng(1)
    found = []
    for _ in range(2000):
        x, y = random.standard_normal((15, 3)) @ a.T + mx, random.standard_normal((20, 3)) @ b.T + my
        found.append(kernel_distance(x, y)[0])
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - true) <= 3 * error
    assert error < 0.05 * max(true, 1)
    if not shift:  # nothing is clipped
        assert 0.3 < np.mean(np.array(found) < 0) < 0.8


def test_kernel_of_matched_pairs_is_unbiased():
    random = np.random.default_rng(2)
    matched, all_pairs = [], []
    for _ in range(1000):
        text = random.standard_normal((20, 3))
        x, y = (0.8 * text + 0.6 * random.standard_normal((20, 3)) for _ in range(2))
        matched.append(kernel_distance(x, y, np.arange(20), np.arange(20))[0])
        all_pairs.append(kernel_distance(x, y)[0])
    error = np.std(matched) / np.sqrt(len(matched))
    assert abs(np.mean(matched)) <= 3 * error
    assert np.mean(all_pairs) < -10 * error


def test_standardised_by_the_reference_the_kernel_of_one_distribution_stays_near_0():
    found = []
    for k in range(300):
        x, y = standardised(5 + 2 * noise(150, 8, seed=2 * k), 5 + 2 * noise(150, 8, seed=2 * k + 1))
        found.append(kernel_distance(x, y)[0])
    spread = np.std(found)
    assert abs(np.mean(found)) <= 3 * spread / np.sqrt(300) + 0.05 * spread
    assert 0.3 < np.mean(np.array(found) < 0) < 0.8


def test_what_float32_loses_is_not_lost():
    offset = np.float32(50)
    x32, y32 = (
        noise(40, 6).astype(np.float32) + offset,
        noise(40, 6, seed=1).astype(np.float32) * 1.1 + offset,
    )
    x, y = (each.astype(np.longdouble) for each in (x32, y32))
    mean, spread = x.mean(0), x.std(0, ddof=1)
    x, y = (x - mean) / spread, (y - mean) / spread
    found = standardised(x32, y32)
    assert all(each.dtype == np.float64 for each in found)
    exact = literal_kernel(x.astype(float), y.astype(float), range(40), range(40, 80))
    assert kernel_distance(*found)[0] == pytest.approx(exact, rel=1e-9)
    assert frechet_distance(*found) == pytest.approx(by_sqrtm(x.astype(float), y.astype(float)), rel=1e-9)
    plain = by_sqrtm(x32.astype(float), y32.astype(float))  # not standardised, in float32 even
    assert frechet_distance(x32, y32) == pytest.approx(plain, rel=1e-9)


def test_features_that_do_not_move_keep_their_unit():
    x = noise(20, 3)
    x[:, 1] = 7.0
    x[:, 2] = 3 + 1e-7 * x[:, 2]  # float32 rounds so
    reference, other = standardised(x, x + 0.5)
    assert np.std(reference[:, 0], ddof=1) == pytest.approx(1)
    assert np.max(np.abs(reference[:, 1:])) < 1e-6
    assert other[:, 1:] == pytest.approx(0.5 * np.ones((20, 2)), abs=1e-6)


# ------------------------------------------------------------------------------------------ intervals


@pytest.mark.parametrize(("shift", "widest"), [(0.0, 2.2), (0.5, 1.2)])
def test_intervals_hold_the_mean_of_such_estimates(shift, widest):
    """In about 95 of 100 draws, and in more where nothing differs; and are hardly wider than need be."""
    n, d, draws = 60, 3, 150
    random = np.random.default_rng(3)

    def draw():
        return random.standard_normal((n, d)), random.standard_normal((n, d)) + shift

    truth = [(frechet_distance(x, y), kernel_distance(x, y)[0]) for x, y in (draw() for _ in range(1500))]
    found = []
    for k in range(draws):
        x, y = draw()
        both = estimates(Sample(x, np.arange(n)), Sample(y, n + np.arange(n)), 150, k, silent)
        found.append([(each.low, each.high) for each in both.values()])
    for distance, mean, spread in zip((0, 1), np.mean(truth, 0), np.std(truth, 0), strict=True):
        low, high = np.array(found)[:, distance].T
        coverage = np.mean((low <= mean) & (mean <= high))
        assert coverage >= (0.89 if shift else 0.97)  # 2.5 standard errors below 0.935
        assert 0.85 <= np.mean(high - low) / (3.92 * spread) <= widest


def test_clips_of_a_file_are_drawn_together():
    x, y = noise(30, 4), noise(30, 4, seed=1) + 1
    one = estimates(Sample(x, np.arange(30)), Sample(y, 30 + np.arange(30)), 100, 0, silent)
    x, y = np.repeat(x, 5, axis=0), np.repeat(y, 5, axis=0)
    files = np.arange(150) // 5
    five = estimates(Sample(x, files), Sample(y, 30 + files), 100, 0, silent)
    for name, want in one.items():
        found = five[name]  # as if each was there once, but for n - 1 in the covariance
        assert found.value == pytest.approx(want.value, rel=0.05)
        assert found.high - found.low == pytest.approx(want.high - want.low, rel=0.1)


def test_matched_pairs_are_drawn_together():
    x = noise(30, 4)
    sample = Sample(x, np.arange(30))
    for found in estimates(sample, sample, 50, 0, silent).values():
        assert max(abs(found.value), abs(found.low), abs(found.high)) < 1e-9


# ------------------------------------------------------------------------------------------ networks


def weights_of(rate, bands, units):
    """Of log mel bands, 25 ms every 10 ms, and a layer of random weights, which stands for a trained one."""
    n = rate // 40
    frequency = np.arange(n // 2 + 1)
    angle = 2 * np.pi * np.outer(frequency, np.arange(n)) / n
    basis = np.concatenate([np.cos(angle), np.sin(angle)]) * np.hanning(n) / np.sqrt(n)
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    rise = (frequency * rate / n - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - frequency * rate / n) / (edges[2:] - edges[1:-1])[:, None]
    mel = np.clip(np.minimum(rise, fall), 0, None)
    layer = 0.3 * noise(bands, units) / np.sqrt(bands)
    return basis, np.concatenate([mel, mel], axis=1).T, layer, noise(units, seed=1)


def literal_features(x, rate, bands, units):
    """What the network gives for (clips, samples): (clips, frames, units)."""
    basis, mel, layer, bias = weights_of(rate, bands, units)
    frames = np.lib.stride_tricks.sliding_window_view(x, rate // 40, axis=1)[:, :: rate // 100]
    energy = (frames @ basis.T) ** 2 @ mel
    return np.tanh((np.log(energy + 1e-6) + 6) @ layer + bias)


def network(path, rate=8000, bands=12, units=4, samples="samples", batch="batch", card=None, gain=1.0):
    """An ONNX file of it, and a card where one is given."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    basis, mel, layer, bias = weights_of(rate, bands, units)
    tables = {
        "basis": basis[:, None],
        "mel": mel,
        "layer": gain * layer,
        "bias": bias,
        "least": 1e-6,
        "six": 6.0,
    }
    steps = [
        helper.make_node("Unsqueeze", ["x", "one"], ["channel"]),
        helper.make_node("Conv", ["channel", "basis"], ["parts"], strides=[rate // 100]),
        helper.make_node("Mul", ["parts", "parts"], ["squares"]),
        helper.make_node("Transpose", ["squares"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["frames", "mel"], ["energy"]),
        helper.make_node("Add", ["energy", "least"], ["above"]),
        helper.make_node("Log", ["above"], ["log"]),
        helper.make_node("Add", ["log", "six"], ["centred"]),
        helper.make_node("MatMul", ["centred", "layer"], ["sum"]),
        helper.make_node("Add", ["sum", "bias"], ["moved"]),
        helper.make_node("Tanh", ["moved"], ["y"]),
    ]
    save(
        path,
        steps,
        helper.make_tensor_value_info("x", kind, [batch, samples]),
        helper.make_tensor_value_info("y", kind, [batch, "frames", units]),
        {name: np.asarray(table, np.float32) for name, table in tables.items()} | {"one": np.array([1])},
    )
    if card is not None:
        write_card(path, **{"rate": rate} | card)
    return path


def save(path, steps, given, made, tables=None):
    helper = onnx.helper
    initial = [onnx.numpy_helper.from_array(table, name) for name, table in (tables or {}).items()]
    graph = helper.make_graph(steps, "features", [given] if given else [], [made], initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())


def write_card(path, **card):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps({"kind": "features", "sha256": digest} | card))


def literal_pooled(x, rate=8000, bands=12, units=4):
    """Means and standard deviations over frames."""
    frames = literal_features(x, rate, bands, units)
    return np.concatenate(
        [frames.mean(1), np.sqrt(((frames - frames.mean(1, keepdims=True)) ** 2).mean(1))], 1
    )


@pytest.mark.parametrize("batch", ["batch", 1])
def test_features_are_the_means_and_deviations_of_the_frames(tmp_path, batch):
    x = 0.1 * noise(distances.BATCH + 3, 1600)
    path = network(tmp_path / "net.onnx", batch=batch)
    net = Network(path, 8000)
    assert (net.rate, net.clip, net.pooling) == (8000, None, "mean+std")
    assert net.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    found = net.features(x.astype(np.float32))
    assert found.dtype == np.float64
    assert np.max(np.abs(found - literal_pooled(x))) < 1e-4
    assert np.array_equal(Network(path, 8000, "mean").features(x.astype(np.float32)), found[:, :4])


def test_the_card_says_rate_clip_and_pooling(tmp_path):
    path = network(tmp_path / "net.onnx", card={"clip": 1200, "pooling": "mean"})
    net = Network(path)
    assert (net.rate, net.clip, net.pooling) == (8000, 1200, "mean")
    assert Network(path, 8000, "mean+std").pooling == "mean+std"
    assert Network(network(tmp_path / "fixed.onnx", samples=1200), 8000).clip == 1200


def test_a_network_without_frames_is_not_pooled(tmp_path):
    path = tmp_path / "net.onnx"
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    step = helper.make_node("MatMul", ["x", "table"], ["y"])
    shapes = [helper.make_tensor_value_info(name, kind, ["n", size]) for name, size in (("x", 80), ("y", 3))]
    table = noise(80, 3).astype(np.float32)
    save(path, [step], *shapes, {"table": table})
    with pytest.raises(UserError, match=r"net.onnx gives no frames, \['n', 3\]: leave --pooling out"):
        Network(path, 8000, "mean")
    net = Network(path, 8000)
    assert (net.clip, net.pooling) == (80, "none")
    x = noise(5, 80, seed=1).astype(np.float32)
    assert np.max(np.abs(net.features(x) - x.astype(float) @ table)) < 1e-4


# ------------------------------------------------------------------------------------------ clips


def folder_of(tmp_path, lengths):
    return Folder(tmp_path, {name: tmp_path / f"{name}.wav" for name in lengths}, dict(lengths), [8000])


def test_clips_of_a_file_do_not_overlap_and_do_not_depend_on_others(tmp_path):
    lengths = {f"f{k}": 100 * (k % 5 + 1) + k for k in range(40)}
    folder = folder_of(tmp_path, lengths)
    clips = cut(lengths, folder, lengths, 100, 3, 7)
    by_name = {}
    for clip in clips:
        by_name.setdefault(clip.name, []).append(clip.begin)
    for name, begins in by_name.items():
        assert len(begins) == min(3, lengths[name] // 100)
        edges = sorted(begins)
        assert edges[0] >= 0
        assert edges[-1] + 100 <= lengths[name]
        assert all(b - a >= 100 for a, b in itertools.pairwise(edges))
    assert [clip.name for clip in clips[:40]] == list(lengths)  # one of each before a second of any
    alone = cut(["f33"], folder, lengths, 100, 3, 7)
    assert [clip.begin for clip in alone] == by_name["f33"]
    assert cut(lengths, folder, lengths, 100, 3, 8) != clips
    begins = [clip.begin for seed in range(400) for clip in cut(["f0"], folder, {"f0": 104}, 100, 1, seed)]
    assert set(begins) == {0, 1, 2, 3, 4}


def test_a_clip_is_the_mean_of_the_channels_from_where_it_begins(tmp_path):
    path, x = tmp_path / "x.wav", noise(1000, 2).astype(np.float32)
    sf.write(path, x, 8000, subtype="FLOAT")
    found = read_clip(Clip("x", path, 321), 8000, 100, None)
    assert found.dtype == np.float32
    assert np.max(np.abs(found - x[321:421].mean(1))) < 1e-6
    assert np.sqrt(np.mean(read_clip(Clip("x", path, 5), 8000, 900, -30.0) ** 2)) == pytest.approx(10**-1.5)
    whole = soxr.resample(x.mean(1).astype(float), 8000, 12_000, "VHQ")
    assert np.max(np.abs(read_clip(Clip("x", path, 321), 12_000, 100, None) - whole[321:421])) < 1e-5


@pytest.mark.parametrize("seed", [0, 1])
def test_the_sets_are_disjoint_or_matched(tmp_path, seed):
    a = folder_of(tmp_path, {f"n{k}": 100 for k in range(20)} | {"short": 99})
    same, others = a, folder_of(tmp_path, {f"m{k}": 100 for k in range(30)})
    some = folder_of(tmp_path, {f"n{k}": 100 for k in range(14)})

    reference, other, real = map(set, split(a, same, None, False, 100, seed))
    assert len(reference) == 10
    assert other == real == set(a.files) - reference - {"short"}
    reference, other, real = split(a, same, None, True, 100, seed)
    assert reference == other
    assert set(real) == set(a.files) - set(reference) - {"short"}
    reference, other, real = map(set, split(a, others, None, False, 100, seed))
    assert (len(reference), other, reference & real) == (10, set(others.files), set())
    reference, other, real = map(set, split(a, some, None, True, 100, seed))
    assert reference == other
    assert reference <= set(some.files)
    assert not reference & real
    reference, other, real = map(set, split(a, same, others, False, 100, seed))
    assert (len(reference), reference & other, real) == (10, set(), set(others.files))
    reference, other, real = map(set, split(a, others, some, False, 100, seed))
    assert (len(reference), other) == (20, set(others.files))
    assert real == set()  # all of them are in the reference
    assert split(a, same, None, False, 100, 2) != split(a, same, None, False, 100, seed)


# ------------------------------------------------------------------------------------------ ladder

RATE = 16_000
CLIPS = 100
WORDS = """the of river mountain quick yellow seven balloon garden whisper thunder people seldom answer every
question before breakfast ocean little street window machine doctor purple evening travel nothing"""


def vowels_and_hiss(speaker, samples, random):
    """Pulses through formants, hiss, and pauses, of 40 to 160 ms; a speaker is a pitch and a size."""
    pitch, size = speaker
    pieces = []
    while sum(map(len, pieces)) < samples:
        n = int(random.uniform(0.04, 0.16) * RATE)
        kind = random.uniform()
        if kind < 0.12:
            x = 1e-3 * random.standard_normal(n)
        elif kind < 0.3:
            edge = min(random.uniform(2000, 4500) * size, 6000)
            x = 0.1 * sosfilt(
                butter(2, [edge, 7500], "bandpass", fs=RATE, output="sos"), random.standard_normal(n)
            )
        else:
            frequency = pitch * np.linspace(*random.uniform(0.85, 1.15, 2), n)
            x = np.diff(np.floor(np.cumsum(frequency) / RATE), prepend=0) - frequency / RATE
            x += 0.01 * random.standard_normal(n)
            formants = random.uniform(280, 800), random.uniform(900, 2300), random.uniform(2400, 3000), 3600
            for centre, width in zip(formants, (70, 100, 150, 200), strict=True):
                radius = np.exp(-np.pi * width / RATE)
                poles = [1, -2 * radius * np.cos(2 * np.pi * centre * size / RATE), radius**2]
                x = lfilter([sum(poles)], poles, x)
        pieces.append(x * np.hanning(n) ** 0.3)
    return np.concatenate(pieces)[:samples]


def espeak(speaker, samples, random):
    text = " ".join(random.choice(WORDS.split(), samples * 6 // RATE))
    done = subprocess.run(
        ["espeak-ng", "-v", speaker, "--stdout", text], capture_output=True, check=True, timeout=60
    )
    x, rate = sf.read(io.BytesIO(done.stdout))
    return soxr.resample(x, rate, RATE)[:samples]


SPEECH = {
    "synthetic": (
        vowels_and_hiss,
        [(95, 1.0), (120, 0.95), (180, 1.1), (210, 1.15)],
        [(150, 0.8), (300, 1.35)],
    ),
    "espeak": (espeak, ["en+m1", "en+f2", "en+m3", "en-us"], ["en+f4", "en+m7"]),
}


def speech(say, speakers, clips, seed):
    """Clips of a second, (clips, RATE), in any order."""
    random = np.random.default_rng(seed)
    each = -(-clips // len(speakers))
    spoken = [at_level(say(speaker, each * RATE, random), -22).reshape(each, RATE) for speaker in speakers]
    return random.permutation(np.concatenate(spoken))[:clips]


def noisy(x, snr):
    return x + noise(*x.shape) * np.sqrt(np.mean(x**2, axis=1, keepdims=True)) * 10 ** (-snr / 20)


def quantised(x, bits):
    """In mu-law."""
    mu, steps = 2**bits - 1, 2 ** (bits - 1)
    y = np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)
    y = (np.floor(np.clip(y, -1, 1 - 1e-9) * steps) + 0.5) / steps
    return np.sign(y) * np.expm1(np.abs(y) * np.log1p(mu)) / mu


def shuffled(x, milliseconds):
    n = RATE * milliseconds // 1000
    random = np.random.default_rng(4)
    return np.stack([random.permutation(clip[: RATE // n * n].reshape(-1, n)).ravel() for clip in x])


def hum(x, level):
    t = np.arange(RATE) / RATE
    return x + 10 ** ((level - 22) / 20) * (np.sin(200 * np.pi * t) + np.sin(600 * np.pi * t))


LADDER = {  # from mild to harsh
    "white noise, SNR in dB": (noisy, (30, 20, 10, 0)),
    "clipping, of full scale": (lambda x, limit: np.clip(x, -limit, limit), (0.25, 0.1, 0.03)),
    "low-pass, Hz": (lambda x, hz: sosfilt(butter(8, hz, fs=RATE, output="sos"), x), (4000, 2000, 800)),
    "mu-law, bits": (quantised, (7, 5, 3)),
    "hum, dB": (hum, (-15, -5, 5)),
    "shuffled segments, ms": (shuffled, (60, 35, 20)),
}


@pytest.mark.parametrize("kind", SPEECH)
def test_what_sounds_worse_is_farther_away(tmp_path, kind):
    """Section 2.1 of the design: distances grow with each degradation, from above the floor."""
    if kind == "espeak" and shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    say, speakers, strangers = SPEECH[kind]
    net = Network(network(tmp_path / "net.onnx", RATE, 24, 12), RATE)
    reference, real, x = speech(say, speakers, 3 * CLIPS, 0).reshape(3, CLIPS, RATE)
    sets = {
        ("floor", 0): real,
        ("strangers", 0): speech(say, strangers, CLIPS, 5),
        ("as it was", 0): x,
        ("reversed", 0): x[:, ::-1],
    }
    sets |= {(name, level): worse(x, level) for name, (worse, levels) in LADDER.items() for level in levels}
    features = [net.features(at_level(y, -22).astype(np.float32)) for y in (reference, *sets.values())]
    first, *others = standardised(*features)
    files = np.arange(CLIPS)
    found = {
        key: estimates(Sample(first, files), Sample(y, CLIPS + files), 200, 0, silent)
        for key, y in zip(sets, others, strict=True)
    }
    for distance in ("Frechet, squared", "kernel"):
        floor = found["floor", 0][distance]
        for name, (_, levels) in LADDER.items():
            ladder = [found[name, level][distance] for level in levels]
            order = spearmanr(range(len(levels)), [each.value for each in ladder]).statistic
            assert order == pytest.approx(1), (distance, name, ladder)
            assert ladder[0].low > floor.high, (distance, name, ladder[0], floor)
        assert found["strangers", 0][distance].low > floor.high, distance
        # Pooling over time does not see its direction, which the module says.
        as_it_was = found["as it was", 0][distance]
        assert as_it_was.low < found["reversed", 0][distance].value < as_it_was.high, distance


# ------------------------------------------------------------------------------------------ command

SECOND = 8000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders of 24 files of a second at 8 kHz: real, more (real too), and noisy, which has other names;
    pairs has the names of real. And net.onnx with its card."""
    folder, random, t = tmp_path_factory.mktemp("made"), np.random.default_rng(0), np.arange(SECOND) / SECOND
    for name, prefix, level in (
        ("real", "a", 0.0),
        ("more", "b", 0.0),
        ("noisy", "c", 0.02),
        ("pairs", "a", 0.02),
    ):
        (folder / name).mkdir()
        for k in range(24):
            x = 0.1 * np.sin(2 * np.pi * random.uniform(100, 1000, 8).repeat(SECOND // 8) * t)
            x += (1e-3 + level) * random.standard_normal(SECOND)
            sf.write(folder / name / f"{prefix}{k}.wav", x, SECOND, subtype="FLOAT")
    network(folder / "net.onnx", card={})
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of them, where the command runs."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(*arguments):
    return main(["evaluate", "distances", *arguments])


QUICK = ("--features", "net.onnx", "--seconds", "1", "--resamples", "50")


def results(folder="out"):
    return {
        row["distance"]: row for row in json.loads((distances.Path(folder) / "distances.json").read_text())
    }


def test_everything_end_to_end(place, capsys, monkeypatch):
    line = ["real", "noisy", *QUICK, "--floor", "more", "-o", "out"]
    monkeypatch.setattr(sys, "argv", ["export", "evaluate", "distances", *line])
    assert evaluate(*line) == 0

    x, y, z = (
        literal_pooled(np.stack([sf.read(path)[0] for path in sorted((place / name).iterdir())]))
        for name in ("real", "noisy", "more")
    )
    mean, spread = x.mean(0), x.std(0, ddof=1)
    x, y, z = ((each - mean) / spread for each in (x, y, z))
    want = {
        "Frechet, squared": (by_sqrtm(x, y), by_sqrtm(x, z)),
        "kernel": tuple(literal_kernel(x, each, range(24), range(24, 48)) for each in (y, z)),
    }
    digest = hashlib.sha256((place / "net.onnx").read_bytes()).hexdigest()
    rows = results()
    assert list(rows) == list(want)
    for name, row in rows.items():
        assert [row["value"], row["floor"]] == pytest.approx(want[name], rel=1e-3, abs=1e-3)
        assert row["low"] < row["value"] < row["high"]
        assert row["floor_low"] < row["floor"] < row["floor_high"] < row["low"]
        facts = {
            "clips": 24,
            "seconds": 1.0,
            "rate": 8000,
            "features": 8,
            "pooling": "mean+std",
            "level": None,
        }
        facts |= {"sha256": digest, "network": "net.onnx", "resamples": 50, "seed": 0, "conditional": False}
        facts |= {"reference": "real", "other": "noisy", "floor_from": "more"}
        assert {key: row[key] for key in facts} == facts

    written = table_of(place / "out" / "distances.csv")
    assert written == [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in rows.values()
    ]
    text = (place / "out" / "table.md").read_text()
    assert text.startswith(f"    python -m export evaluate distances {' '.join(line)}\n")
    printed = capsys.readouterr().out
    for shown in (text, printed):
        for fact in (digest, "24 clips of 1 s", "mean+std", "more", "50 resamples"):
            assert fact in shown
        for row in rows.values():
            for key in ("value", "low", "high", "floor", "floor_low", "floor_high"):
                assert f"{row[key]:.4g}" in shown
    assert str(place) not in text
    assert sorted(path.name for path in (place / "out").iterdir()) == [
        "distances.csv",
        "distances.json",
        "table.md",
    ]


def test_the_same_again_and_another_seed(place):
    (place / "real" / "sub").mkdir()
    for k in range(4):
        shutil.copy(place / "more" / f"b{k}.wav", place / "real" / "sub" / f"a{k}.wav")
    for out, seed in (("one", "5"), ("two", "5"), ("three", "6")):
        assert evaluate("real", "noisy", *QUICK[:-2], "--resamples", "20", "--seed", seed, "-o", out) == 0
    assert results("one") == results("two")
    assert results("one")["kernel"]["value"] != results("three")["kernel"]["value"]
    assert results("one")["kernel"]["clips"] == 14  # half of real


def test_a_folder_to_itself_is_its_floor(place):
    assert evaluate("real", "real", *QUICK, "-o", "out") == 0
    for row in results().values():
        assert row["clips"] == 12
        assert row["value"] == pytest.approx(row["floor"], rel=1e-9)


def test_matched_pairs_are_cut_at_the_same_place(place):
    """Of B, the same sound under the same name, and longer by a tail."""
    for path in (place / "pairs").iterdir():
        x, _ = sf.read(place / "real" / path.name)
        sf.write(path, np.concatenate([x, noise(500)]), SECOND, subtype="FLOAT")
    line = (
        "real",
        "pairs",
        "--features",
        "net.onnx",
        "--seconds",
        "0.3",
        "--per-file",
        "2",
        "--resamples",
        "20",
    )
    assert evaluate(*line, "--conditional", "-o", "out") == 0
    for row in results().values():
        assert row["conditional"]
        assert row["clips"] == 24
        assert abs(row["value"]) < 1e-9
        assert abs(row["low"]) < 1e-9
        assert row["floor"] != 0
    assert evaluate(*line, "-o", "out") == 0
    assert results()["Frechet, squared"]["value"] > 0.01


def test_a_gain_counts_unless_levels_are_set(place):
    for path in (place / "noisy").iterdir():
        x, _ = sf.read(place / "more" / path.name.replace("c", "b"))
        sf.write(path, 0.1 * x, SECOND, subtype="FLOAT")
    sf.write(place / "noisy" / "c0.wav", np.zeros(SECOND), SECOND)
    sf.write(place / "more" / "b0.wav", np.zeros(SECOND), SECOND)  # silence stays silence
    line = ("real", "noisy", *QUICK, "--floor", "more", "-o", "out")
    assert evaluate(*line) == 0
    assert results()["Frechet, squared"]["low"] > 2 * results()["Frechet, squared"]["floor_high"]
    assert evaluate(*line, "--level", "-20") == 0
    for row in results().values():
        assert row["value"] == pytest.approx(row["floor"], rel=1e-3)
        assert row["level"] == -20


def test_mixed_rates_and_channels_are_brought_to_the_networks(place, capsys):
    for path in (place / "noisy").iterdir():
        x, _ = sf.read(place / "more" / path.name.replace("c", "b"))
        x = soxr.resample(sosfilt(butter(8, 3000, fs=SECOND, output="sos"), x), SECOND, 44_100)
        sf.write(path, np.stack([2 * x, 0 * x], 1), 44_100, subtype="FLOAT")
    for path in (place / "more").iterdir():
        x, _ = sf.read(path)
        sf.write(path, sosfilt(butter(8, 3000, fs=SECOND, output="sos"), x), SECOND, subtype="FLOAT")
    assert evaluate("real", "noisy", *QUICK, "--floor", "more", "-o", "out") == 0
    for row in results().values():
        assert row["value"] == pytest.approx(row["floor"], rel=0.05)
    note = "the files have 8000 Hz, 44100 Hz, resampled to 8000 Hz"
    assert note in capsys.readouterr().err
    assert note in (place / "out" / "table.md").read_text()


def test_short_files_and_few_clips_are_noted(place, capsys):
    for k in range(3):
        sf.write(place / "noisy" / f"c{k}.wav", np.ones(100), SECOND)
    network(place / "net.onnx", units=8, card={})
    assert evaluate("real", "noisy", *QUICK, "--clips", "11") == 0
    said = capsys.readouterr()
    assert "3 files of noisy are shorter than a clip and left out" in said.err
    assert "11 clips for 16 features: Frechet is mostly bias" in said.err
    assert "11 clips of 1 s" in said.out


def test_without_out_nothing_is_written(place):
    before = sorted(place.rglob("*"))
    assert evaluate("real", "noisy", *QUICK) == 0
    assert sorted(place.rglob("*")) == before


def test_ctrl_c_leaves_an_earlier_result(place, monkeypatch, capsys):
    assert evaluate("real", "noisy", *QUICK, "-o", "out") == 0
    before = {path: path.read_bytes() for path in (place / "out").iterdir()}
    plain = distances.kernel_distance

    def interrupted(*arguments):
        if len(arguments) > 4:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(distances, "kernel_distance", interrupted)
    assert evaluate("real", "noisy", *QUICK, "--seed", "1", "-o", "out") == 130
    assert {path: path.read_bytes() for path in (place / "out").iterdir()} == before
    assert capsys.readouterr().err.endswith("interrupted\n")


def identity(path, kind=1, given=("n", "t"), made=("n", "t"), operation="Identity"):
    """A network of one step."""
    helper = onnx.helper
    shapes = [helper.make_tensor_value_info(*each) for each in (("x", kind, given), ("y", kind, made))]
    save(path, [helper.make_node(operation, ["x"], ["y"])], *shapes)
    write_card(path, rate=8000)


def spoil(place, mistake):
    """Make a mistake in the folders or the network."""
    net, card = place / "net.onnx", place / "net.json"
    first = place / "real" / "a0.wav"
    match mistake:
        case "empty folder":
            (place / "empty").mkdir()
        case "few files":
            for k in range(6, 24):
                (place / "noisy" / f"c{k}.wav").unlink()
        case "not finite audio":
            for path in (place / "real").iterdir():
                x, _ = sf.read(path)
                x[77] = np.nan
                sf.write(path, x, SECOND, subtype="FLOAT")
        case "no audio":
            first.write_text("no audio")
        case "twice":
            sf.write(first.with_suffix(".flac"), np.zeros(10), SECOND)
        case "no network":
            net.unlink()
        case "no card":
            card.unlink()
        case "hash":
            card.write_text(card.read_text().replace('"sha256": "', '"sha256": "f'))
        case "card is no JSON":
            card.write_text("{")
        case "card of another kind":
            write_card(net, kind="enhancer", rate=8000)
        case "card is a list":
            card.write_text("[]")
        case "card without rate":
            write_card(net)
        case "card of another clip":
            network(net, samples=8000, card={"clip": 4000})
        case "card of another pooling":
            write_card(net, rate=8000, pooling="max")
        case "card of no clip":
            write_card(net, rate=8000, clip=True)
        case "not ONNX":
            net.write_text("no network")
            write_card(net, rate=8000)
        case "weights elsewhere":  # where the hash does not cover them
            model = onnx.load(net)
            onnx.save(model, net, save_as_external_data=True, location="weights", size_threshold=64)
            write_card(net, rate=8000)
        case "integers":
            identity(net, kind=onnx.TensorProto.INT64)
        case "input of 3":
            identity(net, given=("n", 1, "t"), made=("n", 1, "t"))
        case "two inputs":
            helper = onnx.helper
            x, y, z = (helper.make_tensor_value_info(name, 1, ["n", "t"]) for name in "xyz")
            graph = helper.make_graph([helper.make_node("Add", ["x", "y"], ["z"])], "two", [x, y], [z])
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
            net.write_bytes(model.SerializeToString())
            write_card(net, rate=8000)
        case "output of 1":
            save(
                net,
                [onnx.helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0)],
                onnx.helper.make_tensor_value_info("x", 1, ["n", "t"]),
                onnx.helper.make_tensor_value_info("y", 1, ["n"]),
            )
            write_card(net, rate=8000)
        case "one row for a batch":
            save(
                net,
                [onnx.helper.make_node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=1)],
                onnx.helper.make_tensor_value_info("x", 1, ["n", "t"]),
                onnx.helper.make_tensor_value_info("y", 1, ["m", "t"]),
            )
            write_card(net, rate=8000)
        case "batches of 8":
            network(net, batch=8, card={})
        case "fixed":
            network(net, samples=4000, card={})
        case "not finite features":
            identity(net, operation="Log")


MISTAKES = {
    "no folder": ("nowhere noisy", "nowhere is not a folder"),
    "a file": ("net.onnx noisy", "net.onnx is not a folder"),
    "empty folder": ("real empty", "no audio files in empty"),
    "few files": ("real noisy", "noisy has 6 clips of 1 s in 6 files for the comparison, under other"),
    "too long": ("real noisy --seconds 1.5", "real has 0 clips of 1.5 s in 0 files for the reference, want"),
    "too many clips": (
        "real noisy --clips 13",
        "real has 12 clips of 1 s in 12 files for the reference, want",
    ),
    "too few clips": ("real noisy --clips 5", "--clips 5 is too few, want 10 or more"),
    "no pairs": ("real noisy --conditional", "real has 0 clips of 1 s in 0 files for the reference"),
    "floor in the reference": ("real noisy --floor real", "real has 0 clips of 1 s in 0 files for the floor"),
    "not finite audio": ("real noisy", ".wav has samples that are not finite: leave it out"),
    "no audio": ("real noisy", "real/a0.wav"),
    "twice": ("real noisy", "real/a0.flac and real/a0.wav are both called a0: remove one"),
    "no network": ("real noisy", "net.onnx: cannot be read (No such file or directory): give an ONNX file"),
    "no card": ("real noisy", "net.onnx has no card net.json that tells its rate: give --rate"),
    "another rate": ("real noisy --rate 16000", "net.onnx is for 8000 Hz, not 16000 Hz: leave --rate out"),
    "hash": ("real noisy", "..., its card says f"),
    "card is no JSON": ("real noisy", "net.json: not a model card (Expecting"),
    "card is a list": ("real noisy", "net.json: a card of kind None, not 'features'"),
    "card of another kind": ("real noisy", "net.json: a card of kind 'enhancer', not 'features'"),
    "card without rate": ("real noisy", "net.json: rate is None, want a whole number above 0"),
    "card of another clip": ("real noisy", "net.onnx: takes 8000 samples, its card says 4000"),
    "card of another pooling": ("real noisy", "net.json: pooling is 'max', want mean or mean+std"),
    "card of no clip": ("real noisy", "net.json: clip is True, want a whole number above 0, or null"),
    "not ONNX": ("real noisy", "net.onnx: not a network that onnxruntime can run ("),
    "weights elsewhere": ("real noisy", "net.onnx: not a network that onnxruntime can run ("),
    "integers": ("real noisy", "net.onnx: takes x tensor(int64) ['n', 't'], want one input of float32"),
    "input of 3": ("real noisy", "net.onnx: takes x tensor(float) ['n', 1, 't'], want one input"),
    "two inputs": ("real noisy", "takes x tensor(float) ['n', 't'], y tensor(float) ['n', 't'], want one"),
    "output of 1": ("real noisy", "net.onnx: gives tensor(float) ['n'], want float32, ['batch', 'feat"),
    "one row for a batch": ("real noisy", "net.onnx: gives (1, 8000) for 12 clips: want features of each"),
    "batches of 8": ("real noisy", "net.onnx: takes x tensor(float) [8, 'samples'], want one input"),
    "fixed": ("real noisy", "--seconds 1 is 8000 samples, but net.onnx takes 4000 (0.5 s) only: leave"),
    "shorter than a window": ("real noisy --seconds 0.01", "net.onnx fails on clips of 80 samples ("),
    "not finite features": ("real noisy", "net.onnx gives features that are not finite for real/a"),
    "a file as output": ("real noisy -o net.onnx", "cannot make the folder net.onnx"),
    "level": ("real noisy --level loud", "'loud' is not a level in dB, from -100 to 100"),
    "infinite level": ("real noisy --level inf", "'inf' is not a level in dB"),
    "seed": ("real noisy --seed -1", "'-1' is not a whole number from 0"),
    "pooling": ("real noisy --pooling max", "invalid choice: 'max'"),
    "unknown option": ("real noisy --kernel", "unrecognized arguments"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(place, capsys, mistake):
    line, said = MISTAKES[mistake]
    spoil(place, mistake)
    arguments = [*line.split(), *QUICK]
    if "--seconds" in line:
        arguments = [*line.split(), "--features", "net.onnx"]
    before = sorted(place.rglob("*"))
    status = status_of("evaluate", "distances", *arguments)
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert said in err
    assert err.startswith("python -m export")
    assert sorted(place.rglob("*")) == before


def test_help_imports_no_onnxruntime():
    said = help_without("torch onnxruntime", "evaluate", "distances")
    assert re.search(r"95 %\s+bootstrap", said)
