"""The whole host on a real JACK server: every sample, every lane, the latency, a server that dies."""

import json
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import live_process
import pytest
from jackserver import jack_server
from live_process import DEADLINE

from rtaudio.cli import main

pytestmark = pytest.mark.alone

METER = Path(__file__).parents[1] / "benchmarks" / "glitchmeter.py"
EXCUSABLE = 5.0
"""Per cent of the time that the machine may have stalled; beyond it, nothing is proven."""


@pytest.fixture
def server():
    with jack_server() as started:
        yield started


@contextmanager
def live(*arguments):
    """A host that is ready, with the latency that it says."""
    with live_process.live("--api", "jack", *arguments) as host:
        host.latency = int(re.search(r"latency (\d+) samples", host.line("READY"))[1])
        yield host


def measure(*arguments):
    """What the meter of the benchmarks found."""
    command = [sys.executable, METER, "rtaudio", "--seconds", "4", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if found["excused_percent"] > EXCUSABLE:
        pytest.skip(f"the machine stalled for {found['excused_percent']:.1f} % of the time")
    return found


LANES = [
    ("gain", 0, 0, "ramp"),
    ("gain", 1, 128, "ramp"),
    ("remix(preset=live)", 0, 640, "null"),
    ("remix(preset=live)", 1, 768, "null"),
]


@pytest.mark.parametrize(("chain", "lane", "latency", "mode"), LANES)
def test_every_sample_comes_back_as_late_as_declared_while_the_interpreter_is_held(
    server, chain, lane, latency, mode
):
    pytest.importorskip("jack", reason="the meter needs JACK-Client", exc_type=ImportError)
    with live("--chain", chain, "--lane", lane, "--stress", "gil") as host:
        assert host.latency == latency
        found = measure("--mode", mode)
        assert found["latency"] == latency, found
        if found["xruns"] == found["events"] == 0:  # JACK's own late by a period too.
            assert found["latency_min"] == found["latency_max"] == latency, found
        if server.realtime:
            assert found["events_unexplained"] == found["xruns_unexplained"] == 0, found
        if mode == "null" and found["events"] == 0:
            assert found["max_error_dbfs"] is None or found["max_error_dbfs"] <= -120.0
        host.end()


@pytest.mark.parametrize("lane", [0, 1])
@pytest.mark.parametrize(("block", "waiting"), [(128, 0), (64, 0), (96, 64), (512, 384)])
def test_the_measured_latency_is_the_declared_one(server, capsys, tmp_path, lane, block, waiting):
    report = tmp_path / "latency.json"
    chain = "gain(gain=-3) | biquad(kind=highpass)"
    arguments = ["measure", "latency", "--api", "jack", "--chain", chain, "--json", str(report)]
    assert main([*arguments, "--lane", str(lane), "--block", str(block)]) == 0
    told = json.loads(report.read_text())
    ahead = -(-128 // block) * block if lane else 0
    assert told["declared"] == told["measured"] == waiting + ahead
    assert told["device"] == 128, "JACK gives what is played back a period later"
    assert "graph, as measured" in capsys.readouterr().out


def test_a_server_that_dies_and_returns_with_another_period(server):
    with live("--chain", "remix(preset=live)", "--lane", 1) as host:
        server.kill()
        host.line("the device is gone")
        server.start(period=256)
        host.line("latency is 896 samples")
        host.line("the device is back")
        assert host.end() == 1
        assert host.line("losses of the device").startswith("1 ")


def test_the_servers_period_may_change_while_sound_runs(server):
    with live("--chain", "gain", "--lane", 1) as host:
        server.run("jack_bufsize", "512")
        assert "latency is 512 samples" in host.line("the device now calls in blocks of 512")
        assert host.end() == 1


def test_channels_are_mapped(server):
    with live("--map", "in=2/out=2", "--channels", 1):
        ports = [port for port in server.ports() if port.startswith("rtaudio")]
        assert len([port for port in ports if ":in_" in port]) == 2
        assert len([port for port in ports if ":out_" in port]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate", "44100"], "48000"),
        (["--input", "nosuch"], "nosuch"),
        (["--map", "in=9"], "2 input channels"),
        (["--freewheel", "--seconds", "1"], "--api null"),
    ],
)
def test_mistakes_are_one_line_and_status_2(server, capsys, arguments, message):
    assert main(["live", "--api", "jack", *arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said


def test_no_server_is_one_line_and_status_2(monkeypatch, capsys):
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "rtaudio-none")
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    for command in (["live", "--api", "jack"], ["measure", "latency", "--api", "jack"]):
        assert main(command) == 2
        assert "JACK server" in capsys.readouterr().err
