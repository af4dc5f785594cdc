"""The compressor against the paper's equations, written out again here in dB and sample by sample."""

import blocks
import numpy as np
import pytest
from blocks import BLOCKS, PARTITIONS, course, noise, run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from engines.compressor import Compressor
from engines.dynamics import exp2, log2
from rtaudio.chain import load_chain
from rtaudio.plan import Plan

DEFAULTS = {parameter.id: parameter.default for parameter in Compressor.parameters}
LIMIT = {"attack": 0.01, "knee": 0.0, "threshold": -40.0}
"""Quick enough to show the static curve within a few samples."""


def compressed(values, x, rate=48_000, sizes=(4096,), sidechain=None):
    """The output for blocks of these sizes, over and over, and the latency."""
    processor = Compressor(**values)
    processor.connected = frozenset() if sidechain is None else frozenset({"sidechain"})
    rows = np.vstack([x, np.zeros_like(x) if sidechain is None else sidechain])
    return run(processor, rows, rate, sizes, len(x)), processor.latency


def played(values, x, block, events=()):
    return blocks.played(Compressor, values, x, block, events)


def curve(level, threshold, ratio, knee):
    """Equation 4."""
    over = level - threshold
    if 2 * over < -knee:
        return level
    if 2 * over > knee:
        return threshold + over / ratio
    return level + (1 / ratio - 1) * (over + knee / 2) ** 2 / (2 * knee) if knee else level


def reduction(power, threshold, ratio, knee, attack, release, rate):
    """Equations 4 and 17: dB of reduction for the powers of a key; parameters per sample or constant."""
    moving = np.broadcast_arrays(power, threshold, ratio, knee, attack, release)
    held, now, out = 0.0, 0.0, np.zeros(len(power))
    for i, (p, t, r, w, a, b) in enumerate(np.array(moving, float).T):
        level = 10 * np.log10(max(p, 1e-60))
        wanted = level - curve(level, t, np.inf if r == 1000 else r, w)
        alpha_a, alpha_r = np.exp(-1000 / (a * rate)), np.exp(-1000 / (b * rate))
        held = max(wanted, alpha_r * held + (1 - alpha_r) * wanted)
        now = alpha_a * now + (1 - alpha_a) * held
        out[i] = now
    return out


def reference(values, x, rate=48_000, sidechain=None):
    """The output without the look-ahead's delay at its beginning: what is due after ``latency`` samples."""
    v = DEFAULTS | values
    key = (x if v["key"] == "in" or sidechain is None else sidechain).astype(float)
    if v["highpass"] > 20:
        key = signal.sosfilt(signal.butter(2, v["highpass"], "high", fs=rate, output="sos"), key, axis=1)
    power = key**2
    if v["detector"] == "rms":
        share = 1 - np.exp(-1000 / (v["average"] * rate))
        power = signal.lfilter([share], [1, share - 1], power, axis=1)
    if v["link"] == "on":
        power = np.repeat(power.max(axis=0)[None], len(x), axis=0)
    late = round(v["lookahead"] / 1000 * rate)
    sound = np.pad(x.astype(float), ((0, 0), (late, 0)))[:, : x.shape[1]]
    followed = [v[name] for name in ("threshold", "ratio", "knee", "attack", "release")]
    gain = 10 ** ((np.asarray(v["makeup"]) - np.array([reduction(p, *followed, rate) for p in power])) / 20)
    return (1 - v["mix"]) * sound + v["mix"] * sound * gain


def music(samples, channels=2, seed=0):
    """Noise whose level comes and goes, another in every channel."""
    n = np.arange(samples)
    swell = [10 ** (-1.5 + 1.5 * np.sin(2 * np.pi * n / (1500 + 700 * c))) for c in range(channels)]
    return (np.array(swell) * noise(samples, channels, seed)).astype(np.float32)


# ---------------------------------------------------------------------------------------------- arithmetic


def test_log2_is_within_2e_10():
    x = np.concatenate([np.geomspace(1e-60, 1e77, 20_001), np.linspace(0.5, 2, 20_001)])
    assert np.abs(np.array([log2(v) for v in x]) - np.log2(x)).max() <= 2.2e-10
    assert all(log2(2.0**k) == k for k in range(-200, 257))


def test_exp2_is_within_2e_9():
    x = np.concatenate([np.linspace(-150, 10, 20_001), np.linspace(-1, 1, 20_001)])
    assert np.abs(np.array([exp2(v) for v in x]) / np.exp2(x) - 1).max() <= 2.1e-9
    assert all(exp2(float(k)) == 2.0**k for k in range(-200, 20))


# ---------------------------------------------------------------------------------------------- the paper


@pytest.mark.parametrize("knee", [0.0, 6.0, 40.0])
@pytest.mark.parametrize("ratio", [1.0, 2.0, 20.0, 1000.0])
@pytest.mark.parametrize("threshold", [-50.0, -12.0])
def test_constant_levels_follow_the_static_curve(threshold, ratio, knee):
    levels = np.arange(-70.0, 1.0, 2.5)
    for level in levels:
        x = np.full((1, 3000), 10 ** (level / 20), np.float32)
        values = {"threshold": threshold, "ratio": ratio, "knee": knee, "attack": 1.0}
        y, _ = compressed(values, x)
        want = curve(level, threshold, np.inf if ratio == 1000 else ratio, knee)
        assert 20 * np.log10(y[0, -1]) == pytest.approx(want, abs=1e-5), level


@pytest.mark.parametrize("attack", [0.5, 10.0, 100.0])
def test_attack_is_the_time_constant(attack):
    """A step of 20 dB over the threshold: the reduction comes as 15 dB (1 - exp(-t / attack))."""
    rate = 48_000
    x = np.full((1, rate), 0.1, np.float32)
    y, _ = compressed({"threshold": -40.0, "knee": 0.0, "attack": attack}, x, rate)
    got = 20 * np.log10(x[0] / y[0].astype(float))
    t = (1 + np.arange(rate)) / rate
    assert np.abs(got - 15 * (1 - np.exp(-1e3 * t / attack))).max() <= 2e-6


@pytest.mark.parametrize(("attack", "release"), [(1.0, 50.0), (10.0, 20.0), (5.0, 500.0)])
def test_release_is_that_of_two_poles(attack, release):
    """After a long tone, held falls as r**n and the reduction is its convolution with the attack's pole."""
    rate, loud = 48_000, 48_000
    x = np.full((1, loud + rate), 1e-3, np.float32)
    x[:, :loud] = 0.1
    y, _ = compressed({"threshold": -40.0, "knee": 0.0, "attack": attack, "release": release}, x, rate)
    got = 20 * np.log10(x[0, loud:] / y[0, loud:].astype(float))
    a, r = np.exp(-1e3 / (np.array([attack, release]) * rate))
    n = 1 + np.arange(rate)
    want = 15 * (a**n + (1 - a) * r * (r**n - a**n) / (r - a))
    assert np.abs(got - want).max() <= 3e-6


CASES = [
    {},
    {"detector": "rms", "average": 3.0},
    {"ratio": 1000.0, "knee": 0.0, "attack": 0.05, "release": 5.0},
    {"link": "off", "mix": 0.4, "makeup": 9.0},
    {"highpass": 300.0, "lookahead": 3.0},
    {"highpass": 300.0, "detector": "rms", "key": "sidechain", "link": "off", "lookahead": 0.7},
    {"key": "sidechain", "ratio": 2.0, "knee": 40.0, "threshold": -60.0},
]


@pytest.mark.parametrize("rate", [44_100, 192_000])
@pytest.mark.parametrize("values", CASES, ids=str)
def test_matches_the_reference(values, rate):
    x, other = music(8000), music(8000, seed=1)[::-1]
    y, _ = compressed(values, x, rate, sidechain=other)
    assert np.abs(y - reference(values, x, rate, other)).max() <= Compressor.tolerance * 10


number = st.floats(0, 1)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(number, number, number, number, number), number, st.sampled_from([1, 2, 3]), st.integers(0, 9)
)
def test_matches_the_reference_anywhere(drawn, mix, channels, seed):
    spans = {
        "threshold": (-80, 0),
        "knee": (0, 40),
        "ratio": (1, 30),
        "attack": (0.01, 50),
        "release": (1, 500),
    }
    values = {
        name: low + u * (high - low) for (name, (low, high)), u in zip(spans.items(), drawn, strict=True)
    }
    x = music(1500, channels, seed)
    y, _ = compressed(values | {"mix": mix}, x)
    assert np.abs(y - reference(values | {"mix": mix}, x)).max() <= Compressor.tolerance


# ---------------------------------------------------------------------------------------------- parts


def test_an_infinite_ratio_holds_the_threshold():
    x = np.full((1, 4000), 1.0, np.float32)
    assert compressed(LIMIT | {"ratio": 1000.0}, x)[0][0, -1] == pytest.approx(0.01, rel=1e-6)
    assert compressed(LIMIT | {"ratio": 999.0}, x)[0][0, -1] > 0.01 * (1 + 1e-3)


@pytest.mark.parametrize("values", [*CASES, {"lookahead": 20.0}], ids=str)
def test_unity_is_exact(values):
    x = 2 * noise(5000)
    y, latency = compressed(values | Compressor.unity | {"makeup": 0.0}, x, sidechain=music(5000))
    assert latency == round(values.get("lookahead", 0.0) * 48)
    assert np.array_equal(y[:, latency:], x[:, : 5000 - latency])
    assert not y[:, :latency].any()


def test_below_the_knee_nothing_happens_and_later_nothing_is_left():
    x = np.concatenate([noise(5000), np.zeros((2, 200_000), np.float32), 0.05 * noise(5000)], axis=1)
    y, _ = compressed({"release": 50.0, "knee": 2.0}, x)
    assert not np.array_equal(y[:, :5000], x[:, :5000])
    assert np.array_equal(y[:, -5000:], x[:, -5000:])


@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_mix_adds_the_aligned_dry_sound(mix):
    x = music(6000)
    values = {"makeup": 6.0, "lookahead": 2.0, "threshold": -30.0}
    wet, latency = compressed(values, x)
    dry = np.pad(x, ((0, 0), (latency, 0)))[:, :6000]
    y, _ = compressed(values | {"mix": mix}, x)
    assert np.abs(y - ((1 - mix) * dry + mix * wet.astype(float))).max() <= 2e-7


def test_linked_channels_share_the_gain_of_the_loudest():
    x = np.full((3, 4000), 1e-3, np.float32)
    x[2] = 1.0
    y, _ = compressed(LIMIT, x)
    assert np.array_equal(y[0] / x[0], y[1] / x[1])
    assert y[0, -1] / x[0, -1] == pytest.approx(y[2, -1], rel=1e-6)
    assert y[2, -1] == pytest.approx(10 ** (-30 / 20), rel=1e-6)
    apart, _ = compressed(LIMIT | {"link": "off"}, x)
    assert np.array_equal(apart[:2], x[:2])
    assert np.array_equal(apart[2], y[2])


@pytest.mark.parametrize("link", ["on", "off"])
def test_channels_keep_their_order(link):
    """Each channel's sound and key are its own, in a side chain too."""
    x, key = noise(3000, 4), music(3000, 4)
    values = {"key": "sidechain", "link": link, "detector": "rms", "highpass": 50.0}
    y, _ = compressed(values, x, sidechain=key)
    for c in range(4):
        alone = key if link == "on" else np.repeat(key[c : c + 1], 4, axis=0)
        want, _ = compressed(values, np.repeat(x[c : c + 1], 4, axis=0), sidechain=alone)
        assert np.array_equal(y[c], want[c])


def test_the_high_pass_keeps_the_bass_from_compressing():
    n = np.arange(20_000)
    bass, middle = (0.9 * np.sin(2 * np.pi * f * n / 48_000).astype(np.float32)[None] for f in (40, 2000))
    values = {"threshold": -20.0, "knee": 0.0, "attack": 1.0, "highpass": 500.0}
    assert np.array_equal(compressed(values, bass)[0][:, 5000:], bass[:, 5000:])
    heard, without = (compressed(values | {"highpass": f}, middle)[0] for f in (500.0, 20.0))
    assert np.abs(heard[:, 5000:]).max() == pytest.approx(np.abs(without[:, 5000:]).max(), rel=0.01)


def test_lookahead_turns_down_before_the_sound_arrives():
    x = np.full((1, 6000), 0.001, np.float32)
    x[:, 3000:] = 1.0
    values = {"threshold": -40.0, "ratio": 1000.0, "knee": 0.0, "attack": 0.5}
    late, latency = compressed(values | {"lookahead": 5.0}, x)
    assert latency == 240
    assert late[0, 3239] < 1e-3 * 0.02
    assert late[0, 3240] == pytest.approx(0.01, rel=1e-3)
    assert compressed(values, x)[0][0, 3000] > 0.5


# ---------------------------------------------------------------------------------------------- partitions


@pytest.mark.parametrize("values", CASES, ids=str)
def test_any_partition_gives_the_same_bits(values):
    x, other = music(20_000), music(20_000, seed=1)
    want, _ = compressed(values, x, sizes=(20_000,), sidechain=other)
    for sizes in PARTITIONS:
        assert np.array_equal(compressed(values, x, sizes=sizes, sidechain=other)[0], want), sizes


EVENTS = (
    ("threshold", -50.0, 1000),
    ("ratio", 20.0, 1203),
    ("attack", 0.1, 1203),
    ("knee", 0.0, 1300),
    ("threshold", -10.0, 1390),
    ("makeup", 12.0, 5000),
    ("release", 3.0, 7000),
    ("mix", 0.2, 7001),
)


@pytest.mark.parametrize("link", ["on", "off"])
def test_any_partition_gives_the_same_bits_while_parameters_move(link):
    x = music(12_000)
    want = played({"link": link}, x, 12_000, EVENTS)
    for block in BLOCKS:
        assert np.array_equal(played({"link": link}, x, block, EVENTS), want), block


def ramped(name, samples):
    """The course of a parameter through `EVENTS`, in ramps of 10 ms; makeup's are of the amplitude."""
    amplitudes = name == "makeup"
    start, *targets = (
        10 ** (value / 20) if amplitudes else value
        for value in [DEFAULTS[name], *(value for moved, value, _ in EVENTS if moved == name)]
    )
    at = [at for moved, _, at in EVENTS if moved == name]
    values = course(start, zip(targets, at, strict=True), samples)
    return 20 * np.log10(values) if amplitudes else values


def test_moving_parameters_follow_their_ramps():
    x = music(9000)
    values = {name: ramped(name, 9000) for name in ("threshold", "ratio", "knee", "attack", "release")}
    values |= {"makeup": ramped("makeup", 9000), "mix": ramped("mix", 9000)}
    assert np.abs(played({}, x, 128, EVENTS) - reference(values, x)).max() <= 4 * Compressor.tolerance


def test_extreme_input_stays_finite_and_silence_silent():
    for level in (1e-40, 1e-20, 1.0, 3.4e38):
        x = (level * np.where(np.arange(4000) % 50 < 25, 1.0, -1.0)).astype(np.float32)[None]
        for detector in ("peak", "rms"):
            assert np.isfinite(compressed({"detector": detector, "highpass": 100.0}, x)[0]).all()
    assert not compressed({"makeup": 40.0}, np.zeros((2, 1000), np.float32))[0].any()


# ---------------------------------------------------------------------------------------------- in a rack

DUCKING = """
version = 1
edges = ["in -> low", "in -> duck", "low -> duck.sidechain", "duck -> out"]

[nodes.low]
engine = "biquad"
kind = "lowpass"
frequency = 200

[nodes.duck]
engine = "compressor"
key = "sidechain"
lookahead = 1
"""


def test_a_rack_connects_the_side_chain(tmp_path):
    path = tmp_path / "ducking.toml"
    path.write_text(DUCKING)
    x = music(6000)
    y = blocks.play(load_chain(str(path)), x, 128)
    low = signal.sosfilt(signal.butter(2, 200, "low", fs=48_000, output="sos"), x.astype(float), axis=1)
    want = reference({"key": "sidechain", "lookahead": 1.0}, x, sidechain=low)
    assert np.abs(y - want).max() <= 1e-5
    assert np.abs(y[:, 48:] - x[:, :-48]).max() > 0.1


def test_without_a_side_chain_nothing_is_compressed():
    x = noise(2000)
    plan = Plan(load_chain("compressor(key=sidechain)"), 48_000, 2000, 2)
    assert np.array_equal(plan.process(x)["main"], x)
    plan.close()
    assert not np.array_equal(blocks.play(load_chain("compressor"), x, 128), x)
