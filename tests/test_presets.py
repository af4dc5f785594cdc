"""Presets of every engine, and the racks that come with the project: what they hold, and what they claim."""

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soxr
from tiny_speech import RATE, voice

import engines
from rtaudio.chain import parse_chain
from rtaudio.cli import main
from rtaudio.errors import UserError
from rtaudio.graph import Graph, Node, engine_of, parameters_of, preset_values
from rtaudio.plan import Plan
from rtaudio.rack import dump_rack, graph_of, load_rack, parse_rack
from rtaudio.registry import engine_names, load_engine, load_engines

RACKS = {file.stem: file for file in sorted(Path(engines.__path__[0]).glob("racks/*.toml"))}
ENGINES = load_engines()
PRESETS = [(name, preset) for name, engine in ENGINES.items() for preset in engine.presets]
NETWORKS = {"enhance", "denoise", "speech-clean-up"}


def needs_networks(name):
    if name in NETWORKS and find_spec("onnxruntime") is None:
        pytest.skip("needs ONNX Runtime: pip install '.[cpu]'")


def play(graph, x, rate=48_000, block=512):
    """The main output of a graph, aligned with the input (channels, samples) and as long."""
    plan = Plan(graph, rate, block, len(x), offline=True)
    padded = np.pad(x, ((0, 0), (0, plan.latency + -(x.shape[1] + plan.latency) % block)))
    blocks = [padded[:, at : at + block].copy() for at in range(0, padded.shape[1], block)]
    y = np.concatenate([plan.process(part)["main"].copy() for part in blocks], axis=1)
    plan.close()
    return y[:, plan.latency : plan.latency + x.shape[1]]


def level(x):
    """dB of the mean square."""
    return 10 * np.log10(np.mean(np.square(x, dtype=np.float64)) + 1e-20)


# Presets


def test_engines_have_presets_where_they_are_looked_for():
    with_presets = {name for name, _ in PRESETS}
    assert {"biquad", "compressor", "gate", "limiter", "delay", "enhance", "remix", "hpss"} <= with_presets


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_a_preset_fits_its_engine(name, preset):
    needs_networks(name)
    values = preset_values(ENGINES[name], preset)
    assert values
    assert re.fullmatch(r"[^\W\d][\w-]*", preset)  # a word of a chain
    declared = {parameter.id: parameter for parameter in parameters_of(engine_of(ENGINES[name], values))}
    for parameter, value in values.items():
        assert declared[parameter].checked(value, name) == value
    assert any(value != declared[parameter].default for parameter, value in values.items())
    node = Node("x", ENGINES[name], values)
    outputs = [port.name for port in node.engine.outputs if not port.control]
    graph = Graph([node], ["in -> x.in", *(f"x.{port} -> out" for port in outputs)])
    noise = np.random.default_rng(0).uniform(-1, 1, (2, 20_000)).astype(np.float32)
    heard = play(graph, noise)
    assert np.isfinite(heard).all()
    assert np.abs(heard).max() > 0.01


def test_a_name_that_is_none():
    with pytest.raises(UserError, match=r"^compressor: no preset 'vioce', did you mean 'voice'\? \(voice, "):
        preset_values(load_engine("compressor"), "vioce")
    with pytest.raises(UserError, match=r"^gain: no preset 'loud' \(it has none\)$"):
        preset_values(load_engine("gain"), "loud")


def test_a_preset_is_a_copy():
    preset_values(load_engine("compressor"), "voice")["ratio"] = 20.0
    assert preset_values(load_engine("compressor"), "voice")["ratio"] == 3.0


def test_a_node_takes_one_and_adds_to_it():
    node = parse_chain("compressor(use=voice, makeup=3)").nodes["compressor"]
    assert node.values == {**load_engine("compressor").presets["voice"], "makeup": 3}
    strip = parse_chain("remix(use=drums-down, percussive_insert='compressor(use=drums)')").nodes["remix"]
    assert strip.values["percussive_gain"] == -6.0
    inner = strip.make().graph.nodes["percussive"].make().graph.nodes["compressor"]
    assert inner.values == load_engine("compressor").presets["drums"]


def test_an_engine_lists_its_own(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["engines", "biquad"]) == 0
    out = capsys.readouterr().out
    assert "values; biquad(use=PRESET)" in out
    assert re.search(r"^rumble +kind = highpass, frequency = 80$", out, re.MULTILINE)
    assert main(["engines", "gain"]) == 0
    assert "PRESET" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("preset", "gains"),
    [
        ("rumble", {80: -3.01, 20: -24.1, 1000: 0.0}),
        ("telephone", {300: -3.0, 1010: 0.0, 3400: -3.0}),
        ("presence", {3500: 3.0, 100: 0.0}),
        ("mud", {300: -3.0, 5000: 0.0}),
        ("warmth", {20: 3.0, 150: 1.5, 5000: 0.0}),
        ("air", {10_000: 1.5, 200: 0.0}),
        ("hum-50", {100: -0.05, 1000: 0.0}),
        ("hum-60", {120: -0.05, 1000: 0.0}),
    ],
)
def test_filters_do_what_their_names_say(preset, gains):
    """At 192 kHz, where the bilinear transform leaves such frequencies alone."""
    rate = 192_000
    impulse = np.zeros((1, 2 * rate), np.float32)
    impulse[0, 0] = 1.0
    response = play(parse_chain(f"biquad(use={preset})"), impulse, rate)[0].astype(np.float64)
    for frequency, gain in gains.items():
        at = np.exp(-2j * np.pi * frequency / rate * np.arange(len(response)))
        assert 20 * np.log10(abs(response @ at)) == pytest.approx(gain, abs=0.15)
    if preset.startswith("hum"):
        hum = int(preset[-2:])
        assert abs(response @ np.exp(-2j * np.pi * hum / rate * np.arange(len(response)))) < 1e-3


# Factory racks


def test_no_rack_hides_behind_an_engine():
    assert RACKS.keys() >= {"denoise", "dj-remix", "speech-clean-up"}
    assert not set(engine_names()) & RACKS.keys()
    for file in RACKS.values():
        rack = load_rack(file)
        assert rack.name
        assert rack.description
        assert parse_rack(dump_rack(rack)) == rack


@pytest.fixture(scope="module", params=[44_100, 48_000])
def talk(request):
    """Speech in noise, then the noise alone for 1.5 s; at 44.1 and 48 kHz, (1, samples)."""
    rate = request.param
    clean = soxr.resample(np.concatenate([voice(3.0, 4), np.zeros(3 * RATE // 2, np.float32)]), RATE, rate)
    noise = np.random.default_rng(0).standard_normal(clean.shape).astype(np.float32)
    return rate, clean.astype(np.float32)[None], noise[None]


def parts(y, rate):
    """Levels of the speech, and of the last second."""
    return level(y[:, rate // 2 : 3 * rate]), level(y[:, -rate:])


@pytest.mark.parametrize(("name", "down", "ratio"), [("denoise", 8.0, 8.0), ("speech-clean-up", 5.0, 4.0)])
def test_noise_goes_down_by_more_than_speech(name, down, ratio, talk):
    needs_networks(name)
    rate, clean, noise = talk
    x = clean + 0.01 * noise
    y = play(graph_of(load_rack(RACKS[name])), x, rate)
    (speech, pause), (speech_after, pause_after) = parts(x, rate), parts(y, rate)
    assert np.isfinite(y).all()
    assert pause - pause_after > down
    assert (speech_after - pause_after) - (speech - pause) > ratio


@pytest.mark.parametrize("name", RACKS)
def test_loud_input_does_not_clip(name, talk):
    needs_networks(name)
    rate, clean, noise = talk
    y = play(graph_of(load_rack(RACKS[name])), np.repeat(30 * clean + 0.3 * noise, 2, axis=0), rate)
    assert y.shape[0] == 2
    assert 0.3 < np.abs(y).max() <= 10 ** (-1 / 20)


@pytest.mark.parametrize("name", ["denoise", "speech-clean-up", "podcast"])
def test_rumble_goes_down(name, talk):
    needs_networks(name)
    rate, clean, _ = talk
    rumble = 0.03 * np.sin(2 * np.pi * 30 / rate * np.arange(clean.shape[1], dtype=np.float32))[None]
    y = play(graph_of(load_rack(RACKS[name])), rumble, rate)
    assert level(rumble[:, rate:]) - level(y[:, rate:]) > 10.0


@pytest.mark.parametrize("name", ["speech-clean-up", "podcast"])
def test_the_level_is_evened(name, talk):
    """20 dB between two voices become less."""
    needs_networks(name)
    rate, clean, _ = talk
    loud, soft = (
        parts(play(graph_of(load_rack(RACKS[name])), x, rate), rate)[0] for x in (clean, 0.1 * clean)
    )
    assert loud - soft < 18.0


def test_a_podcast_holds_the_room_back(talk):
    rate, clean, noise = talk
    x = clean + 0.001 * noise
    y = play(graph_of(load_rack(RACKS["podcast"])), x, rate)
    (speech, room), (speech_after, room_after) = parts(x, rate), parts(y, rate)
    assert (speech_after - room_after) - (speech - room) > 6.0


@pytest.fixture(scope="module", params=[44_100, 48_000])
def song(request):
    """A tone, and noise bursts four times a second, (2, samples) each."""
    rate = request.param
    tone = 0.1 * np.sin(2 * np.pi * 440 / rate * np.arange(3 * rate))
    drums, random = np.zeros(3 * rate), np.random.default_rng(1)
    burst = np.exp(-np.arange(2000) / 300)
    for at in range(0, len(drums) - 2000, rate // 4):
        drums[at : at + 2000] += 0.08 * random.standard_normal(2000) * burst
    return rate, *(np.stack([each, each]).astype(np.float32) for each in (tone, drums))


@pytest.mark.parametrize(("name", "wanted"), [("drums-up", 6.0), ("drums-out", -np.inf), ("dj-remix", 0.0)])
def test_drums_alone_are_moved(name, wanted, song):
    rate, tone, drums = song
    y = play(graph_of(load_rack(RACKS[name])), tone + drums, rate)[:, rate:]

    def gain_of(source):
        source = source[:, rate:].astype(np.float64)
        return 20 * np.log10(abs(np.sum(y * source) / np.sum(source * source)))

    assert gain_of(tone) == pytest.approx(0.0, abs=0.5)
    if np.isfinite(wanted):
        assert gain_of(drums) == pytest.approx(wanted, abs=1.5)
    else:
        assert gain_of(drums) < -20.0
