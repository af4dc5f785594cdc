"""The benchmark of the live denoiser: which noises it hears, how it judges, and speech at 48 kHz."""

import argparse
import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny_speech

from export.enhancement import score_pair
from export.levels import active_level, level
from export.material import Mixed
from export.sets import find_clips, find_noise
from export.systems import NOISY, System, from_chain, unchanged
from rtaudio.errors import UserError

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def load(name):
    """A module of the benchmarks, which are no package."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


load("stalls"), load("foil")
benchmark = load("enhancement")

# ------------------------------------------------------------------------------------------ noises, speakers


@pytest.fixture
def options(tmp_path):
    """Two readers, and three noises, one of them of a sealed name."""
    tiny_speech.write_speech(tmp_path / "speech", readers=2)
    tiny_speech.write_noise(tmp_path / "noise")
    sealed = min(benchmark.SEALED)
    sf.write(tmp_path / "noise" / f"{sealed}.wav", np.full(16_000, 0.1), 16_000)
    return argparse.Namespace(
        clean=[tmp_path / "speech"], noise=[tmp_path / "noise"], voice=None, sealed=False
    )


def test_sealed_noises_are_heard_only_when_asked_for(options):
    names = {path.stem for path in benchmark.find_sounds(options, frozenset()).noise}
    assert names == {"noise0", "noise1"}
    options.sealed = True
    names = {path.stem for path in benchmark.find_sounds(options, frozenset()).noise}
    assert names == {min(benchmark.SEALED)}
    assert len(benchmark.SEALED) == 12


def test_without_a_sealed_noise_there_is_nothing_for_the_switch(options):
    options.sealed = True
    (options.noise[0] / f"{min(benchmark.SEALED)}.wav").unlink()
    with pytest.raises(UserError, match="is sealed"):
        benchmark.find_sounds(options, frozenset())


def test_speakers_of_the_training_are_left_out(options):
    found = benchmark.find_sounds(options, frozenset({"100"}))
    assert {clip.speaker for clip in found.readers} == {"101"}
    with pytest.raises(UserError, match="trained on all of these speakers"):
        benchmark.find_sounds(options, frozenset({"100", "101"}))


# ------------------------------------------------------------------------------------------ verdicts


def test_a_goal_is_compared_with_the_mean_and_a_difference_is_paired():
    goals = [benchmark.Goal("PESQ", 0.0, 1.5), benchmark.Goal("SI-SDR", 15.0, 0.0, over_noisy=True)]
    values = {
        ("enhance", "PESQ", 0.0): np.array([1.2, 1.6, math.nan]),
        ("enhance", "SI-SDR", 15.0): np.array([16.0, 18.0, math.nan]),
        (NOISY, "SI-SDR", 15.0): np.array([15.0, 15.0, 3.0]),  # the third has no partner
    }
    missed, met = benchmark.judge(goals, values)
    assert (missed.found, missed.goal, missed.met, missed.by) == ("1.40", ">= 1.50", False, "-0.10")
    assert missed.interval == "1.20 to 1.60"  # two values: the ends of their mean's bootstrap
    assert (met.found, met.goal, met.met, met.by) == ("+2.00", ">= noisy +0.00", True, "+2.00")


def test_levels_without_scores_are_not_judged():
    values = {("enhance", "PESQ", 0.0): np.array([2.0]), (NOISY, "PESQ", 0.0): np.array([1.0])}
    found = benchmark.judge(benchmark.GOALS, values)
    assert [(each.what, each.rank, each.met) for each in found] == [
        ("PESQ, 0 dB", "first", True),
        ("PESQ, 0 dB", "then, GTCRN's", True),
    ]


def test_what_is_to_be_small():
    assert not benchmark.at_most("x", 0.02, 0.021, ".3f").met
    found = benchmark.at_most("x", -20.0, -25.0, ".1f")
    assert (found.met, found.goal, found.by) == (True, "<= -20.0", "+5.0")


@pytest.mark.parametrize("loud", [0, 7, 20])
def test_noise_has_settled_when_it_is_as_soft_as_at_the_end(loud):
    x = np.random.default_rng(loud).standard_normal(4 * 16_000)
    x[: loud * 800] *= 10.0  # windows of 50 ms, 20 dB louder
    assert benchmark.settling(x, 16_000) == pytest.approx(loud * 0.05)


@pytest.mark.parametrize(("stalled", "valid"), [(5, True), (6, False)])
def test_hops_are_reported_of_all_turns(stalled, valid):
    turns = [
        {"taken_us": list(range(1, 96)), "stalled": stalled, "real_time": True},
        {"taken_us": [20_000.0] * 5, "stalled": 0, "real_time": True},
    ]
    found = benchmark.hop_report(turns)
    taken = sorted([*range(1, 96), *[20_000.0] * 5])
    assert (found["hops"], found["max_us"], found["late"]) == (100, 20_000.0, 5.0)
    assert found["p50_us"] == (taken[49] + taken[50]) / 2
    assert found["valid"] is valid


def test_hops_without_real_time_are_not_valid():
    assert not benchmark.hop_report([{"taken_us": [1.0] * 9, "stalled": 0, "real_time": False}])["valid"]


# ------------------------------------------------------------------------------------------ 48 kHz


def test_speech_at_48_khz_is_mixed_and_scored_at_its_rate(tmp_path):
    tiny_speech.write_speech(tmp_path / "speech", readers=1)
    tiny_speech.write_noise(tmp_path / "noise", files=1)
    clips, noise = find_clips([tmp_path / "speech"]), find_noise([tmp_path / "noise"])
    material = Mixed(tuple(clips), tuple(noise), (10.0, math.inf), 1, 0, 48_000)
    pair = material.open()(0)
    assert len(pair.clean) == round(2.5 * 48_000)
    added = pair.noisy[10.0].astype(np.float64) - pair.clean
    assert active_level(pair.clean, 48_000)[0] - level(added) == pytest.approx(10.0, abs=1e-3)
    assert np.array_equal(pair.noisy[math.inf], pair.clean)
    systems = [System(NOISY, "", unchanged, ""), System("late", "", unchanged, "", peer=True)]
    delay = 480

    def late(x):
        return np.pad(x, (delay, 0))[: len(x)]

    (noisy, delayed) = score_pair(material.open(), systems, [unchanged(), late], (0, [(10.0, 0), (10.0, 1)]))
    assert noisy["problem"] == delayed["problem"] == ""
    assert delayed["latency"] == pytest.approx(1e3 * delay / 48_000)  # 10 ms
    assert delayed["SI-SDR"] == pytest.approx(noisy["SI-SDR"])


def test_a_chain_hears_speech_at_48_khz_as_it_is():
    x = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)  # noise up to 24 kHz
    y = from_chain("gain(gain=-6)", 48_000)(x)
    assert np.max(np.abs(y - 10 ** (-6 / 20) * x)) <= 1e-6
