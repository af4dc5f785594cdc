"""A live run without a clock: the samples that render writes, of every engine, in blocks of any size."""

import json

import numpy as np
import pytest
from contract import load
from sound_files import read, sound, write

from rtaudio.cli import main
from rtaudio.graph import Graph, Node
from rtaudio.rack import dump_rack, rack_of
from rtaudio.registry import engine_names
from rtaudio.render import Job, render


def whole(engine, port):
    """A graph of one engine, everything connected; what one of its outputs gives is heard."""
    edges = [f"in -> a.{declared.name}" for declared in engine.inputs] + [f"a.{port} -> out"]
    return Graph([Node("a", engine)], edges)


CASES = [
    # Of further outputs one channel is left to the slow tests.
    pytest.param(name, port.name, channels, marks=[pytest.mark.slow] if number and channels == 1 else [])
    for name in engine_names()
    for number, port in enumerate(load(name).outputs)
    for channels in (1, 2)
    if load(name).inputs
]


@pytest.mark.parametrize(("name", "port", "channels"), CASES)
def test_freewheeling_records_what_render_writes(tmp_path, name, port, channels):
    samples = 20_011
    source = write(tmp_path / "in.wav", sound(samples, channels))
    graph = whole(load(name), port)
    (tmp_path / "rack.toml").write_text(dump_rack(rack_of(graph)), encoding="utf-8")
    report = render(graph, Job(source, {"main": tmp_path / "rendered.wav"}))
    rendered = read(tmp_path / "rendered.wav")
    width = next(each.channels for each in load(name).outputs if each.name == port)
    assert rendered.shape == (samples, width or channels)
    assert report["latency"].get("a", 0) >= 0
    for block in (17, 64, 128, 441, 1024, 8193):
        arguments = ["live", "--api", "null", "--freewheel", "--block", block, "--file", source]
        arguments += ["--chain", tmp_path / "rack.toml"]
        arguments += ["--record", tmp_path / "live.wav", "--json", tmp_path / "live.json"]
        assert main([str(argument) for argument in arguments]) == 0
        told = json.loads((tmp_path / "live.json").read_text())
        latency, recorded = told["latency"]["total"], read(tmp_path / "live.wav")
        assert told["block"] == block
        assert len(recorded) == told["callbacks"] * block >= latency + samples
        assert told["callbacks"] == -(-(latency + samples) // block)
        np.testing.assert_array_equal(recorded[latency : latency + samples], rendered)
        counted = [
            told[key] for key in ("file_underflows", "record_overflows", "misses", "non_finite_replaced")
        ]
        assert counted == [0, 0, 0, 0]
