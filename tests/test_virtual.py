"""The virtual microphone on real sound servers: its sound, its end whatever ends the host, mistakes."""

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import live_process
import numpy as np
import pytest
from jackserver import jack_server
from live_process import DEADLINE
from soundserver import RATE, PipeWire, PulseAudio
from stepped import Stepped, call

from rtaudio import doctor, jack, pulse, virtual
from rtaudio.chain import load_chain
from rtaudio.cli import main
from rtaudio.errors import UserError
from rtaudio.graph import Graph
from rtaudio.host import Host
from rtaudio.live import _Hush, _where_to_look
from rtaudio.plan import Plan
from rtaudio.soundcard import DeviceInfo, device_table
from rtaudio.virtual import Microphone, Server, Source, check_name

pytestmark = pytest.mark.alone

NOWHERE = {"PULSE_SERVER": "unix:/nonexistent", "JACK_DEFAULT_SERVER": "rtaudio-none"}


@pytest.fixture(scope="module", params=[PulseAudio, PipeWire], ids=["pulseaudio", "pipewire"])
def server(request):
    started = request.param()
    try:
        started.start()
        yield started
    finally:
        started.close()


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    yield
    if "server" in request.fixturenames:
        started = request.getfixturevalue("server")
        assert started.modules() == started.before


def live(server, *arguments):
    return live_process.live("--virtual-mic", *arguments, env=server.env)


def run(server, *arguments):
    """Exit status, stdout and stderr of a command that ends by itself."""
    command = [sys.executable, "-m", "rtaudio", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=DEADLINE, check=False, env=os.environ | server.env
    )
    return done.returncode, done.stdout, done.stderr.strip()


def noise(seconds):
    mono = 0.2 * np.random.default_rng(0).standard_normal((round(seconds * RATE), 1))
    return np.repeat(mono, 2, axis=1).astype(np.float32)


def place(part, whole):
    """Where a part is found in the whole, by correlation."""
    size = len(whole) + len(part)
    spectrum = np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size))
    return int(np.argmax(np.fft.irfft(spectrum, size)))


def heard(server, source, seconds):
    """Noise, and what a source gives while it is played in the room, from its first to its last sample.

    The silence around it is for the server, which may cut both ends of a stream.
    """
    played, recording = noise(seconds), server.record(source)
    server.play(np.pad(played, ((RATE, RATE // 4), (0, 0))))
    found = recording.end()
    begin = place(played[: RATE // 2, 0], found[:, 0])
    return played, found[begin : begin + len(played)]


def test_a_call_hears_the_processed_microphone_whole(server):
    with live(server, "--input", server.microphone, "--chain", "gain(gain=-6)") as host:
        ready = host.line("READY")
        assert ready.endswith("microphone 'rtaudio microphone' for your call program")
        status, table, _ = run(server, "devices", "--api", "pulse", "--json", "-")
        assert status == 0
        listed = [info for info in json.loads(table) if info["name"] == "rtaudio microphone"]
        assert [(info["inputs"], info["outputs"], info["rate"]) for info in listed] == [(2, 0, RATE)]
        sources = server.pactl("list", "sources").split("Source #")
        own = next(each for each in sources if "Description: rtaudio microphone" in each)
        assert "Monitor of Sink: n/a" in own, "browsers do not list monitors"

        played, found = heard(server, "rtaudio.rtaudio_microphone", 3.0)
        np.testing.assert_allclose(found, played * np.float32(10 ** (-6 / 20)), atol=1e-6)

        status, _, said = run(server, "live", "--virtual-mic", "--input", server.microphone)
        assert status == 2
        assert f"already, of process {host.process.pid}: give another name" in said
        arguments = "--virtual-mic", "another one", "--input", server.microphone, "--seconds", 0.1
        assert run(server, "live", *arguments)[0] == 0
        assert "rtaudio.rtaudio_microphone" in server.pactl("list", "short", "sources")
        assert host.end() == 0


def test_nothing_comes_from_the_speakers_but_with_monitor(server):
    begin = "--input", server.microphone, "--chain", "gain"
    for extra, sounds in ((), False), (("--monitor",), True):
        with live(server, *begin, *extra) as host:
            if sounds:
                host.line("--howl-guard")
            host.line("READY")
            recording = server.record("speakers.monitor")
            server.play(noise(1.0))
            assert recording.end().any() == sounds
            assert host.end(signal.SIGTERM) == 0


def test_what_a_killed_host_leaves_goes_with_the_next_and_silence_is_told(server):
    with live(server, "--input", server.microphone) as host:
        host.line("READY")
        assert "the microphone muted" in host.line("nothing but digital silence comes from")
        host.end(signal.SIGKILL)
    assert "rtaudio.rtaudio_microphone" in server.pactl("list", "short", "sources")
    assert run(server, "live", "--virtual-mic", "--input", server.microphone, "--seconds", 0.1)[0] == 0


def test_what_a_killed_host_leaves_is_not_the_default_microphone(server):
    desk = server.pactl(
        "load-module", "module-remap-source", "master=room.monitor", "source_name=desk"
    ).strip()
    with live(server, "--input", server.microphone) as host:
        host.line("READY")
        server.pactl("set-default-source", "rtaudio.rtaudio_microphone")
        host.end(signal.SIGKILL)
    status, _, said = run(server, "live", "--virtual-mic", "another one", "--seconds", 0.1)
    server.pactl("unload-module", desk)
    assert status == 0, said


def test_an_error_or_a_signal_while_it_starts_leaves_nothing(server, tmp_path):
    begin = "--input", server.microphone
    status, _, said = run(server, "live", "--virtual-mic", *begin, "--record", tmp_path / "none" / "f.wav")
    assert status == 2
    assert str(tmp_path) in said
    with live(server, *begin, "--chain", "remix") as host:
        deadline = time.monotonic() + DEADLINE
        while "rtaudio_microphone" not in server.pactl("list", "short", "sources"):
            assert time.monotonic() < deadline
        assert host.end(signal.SIGTERM) in (0, 128 + signal.SIGTERM)


def test_a_monitor_is_not_taken_for_a_microphone(server):
    status, _, said = run(server, "live", "--virtual-mic")
    assert (status, said.count("\n")) == (2, 0)
    assert "no microphone" in said


@pytest.mark.slow
def test_it_is_made_again_when_the_server_was_restarted(server):
    with live(server, "--input", server.microphone, "--chain", "gain") as host:
        host.line("READY")
        server.kill()
        host.line("the device is gone")
        server.start()
        host.line("the device is back")
        played, found = heard(server, "rtaudio.rtaudio_microphone", 2.0)
        np.testing.assert_allclose(found, played, atol=1e-6)
        assert host.end() == 1


@pytest.mark.slow
def test_nothing_is_lost_in_twenty_seconds(server):
    with live(server, "--input", server.microphone, "--chain", "gain", "--stress", "gil") as host:
        host.line("READY")
        played, found = heard(server, "rtaudio.rtaudio_microphone", 20.0)
        np.testing.assert_allclose(found, played, atol=1e-6)
        assert host.end() == 0


# Without a sound server

PULSEAUDIO = """Source #1
	State: IDLE
	Name: room.monitor
	Description: Monitor of Room
	Driver: module-null-sink.c
	Sample Specification: float32le 2ch 48000Hz
	Channel Map: front-left,front-right
	Monitor of Sink: room
	Properties:
		device.description = "Monitor of Room"

Source #5
	State: RUNNING
	Name: rtaudio.desk
	Description: Source #2 of Name: Eve
	Driver: module-pipe-source.c
	Sample Specification: float32le 1ch 44100Hz
	Channel Map: mono
	Monitor of Sink: n/a
	Properties:
		device.description = "Source #2 of Name: Eve"
		Name: another
		rtaudio.owner = "41-7-0c"
"""
MODULES = (
    "1\tlibpipewire-module-rt\t{\n            nice.level    = -11\n        }\t\n"
    "20\tmodule-null-sink\tsink_name=of_another\t\n"
    '21\tmodule-pipe-source\tsource_name=a source_properties="rtaudio.owner={mine}-{world}"\t\n'
    '22\tmodule-pipe-source\tsource_name=b source_properties="rtaudio.owner={number}-1-{world}"\t\n'
    '23\tmodule-loopback\tsource=b sink_input_properties="rtaudio.owner={number}-1-{world}"\t\n'
    '24\tmodule-pipe-source\tsource_name=c source_properties="rtaudio.owner={number}-1-0123abcd"\t\n'
)


def answer(monkeypatch, answers):
    """Let ``pactl`` answer so; returns what it is asked."""
    asked = []

    def pactl(*arguments):
        asked.append(arguments)
        return answers.get(arguments, "")

    monkeypatch.setattr(virtual, "_pactl", pactl)
    return asked


def test_sources_are_read(monkeypatch):
    answer(monkeypatch, {("list", "sources"): PULSEAUDIO})
    assert virtual.sources() == [
        Source(1, "room.monitor", "Monitor of Room", 2, "front-left,front-right", 48_000, True, 0),
        Source(5, "rtaudio.desk", "Source #2 of Name: Eve", 1, "mono", 44_100, False, 41),
    ]


def test_only_modules_of_the_dead_are_removed_the_last_first(monkeypatch):
    """This process lives, but was not started at tick 1; what has its number elsewhere is not known."""
    number = os.getpid()
    since = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    modules = MODULES.replace("{mine}", f"{number}-{since}").replace("{number}", str(number))
    modules = modules.replace("{world}", virtual._world())
    asked = answer(monkeypatch, {("list", "short", "modules"): modules})
    assert virtual.sweep()
    assert asked[1:] == [("unload-module", "23"), ("unload-module", "22")]
    answer(monkeypatch, {})
    assert not virtual.sweep()


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("pulseaudio", "16.1", ("PulseAudio 16.1", False)),
        ("PulseAudio (on PipeWire 1.4.2)", "15.0.0", ("PipeWire 1.4.2", True)),
    ],
)
def test_servers_are_told_apart(monkeypatch, name, version, expected):
    info = f"Server Name: {name}\nServer Version: {version}\nDefault Sink: a.b\nDefault Source: c.d\n"
    answer(monkeypatch, {("info",): info})
    monkeypatch.setattr(virtual.shutil, "which", lambda program: f"/usr/bin/{program}")
    assert virtual.sound_server() == Server(*expected, source="c.d", sink="a.b")


def test_a_server_that_hangs_is_not_taken_for_none(monkeypatch, tmp_path, capsys):
    program = tmp_path / "pactl"
    program.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(virtual, "ANSWER_SECONDS", 0.1)
    expected = "the sound server does not answer within 0.1 s: restart it"
    for command in "live --virtual-mic", "devices --api pulse":
        assert main(command.split()) == 2
        assert capsys.readouterr().err == f"rtaudio: {expected}\n"
    assert doctor._virtual_microphone().detail == expected
    program.write_text("#!/bin/sh\necho 'Connection failure: Access denied' >&2; exit 1\n")
    with pytest.raises(UserError, match="Access denied"):
        virtual.sound_server()
    program.write_text("#!/bin/sh\necho 'Connection failure: Connection refused' >&2; exit 1\n")
    assert virtual.sound_server() is None


def loaded(monkeypatch, sink):
    """The arguments of the modules of a microphone, as a shell reads them."""
    modules = []

    def pactl(*arguments):
        if arguments[0] == "load-module":
            modules.append(dict(part.split("=", 1) for part in shlex.split(" ".join(arguments[2:]))))
            if "file" in modules[-1]:
                os.mkfifo(modules[-1]["file"])
        return "7"

    monkeypatch.setattr(virtual, "_pactl", pactl)
    microphone = Microphone("Desk", 1, RATE, Server("PulseAudio", False, "", sink), 256, True)
    try:
        microphone._make()
    finally:
        microphone.close()
    return modules


@pytest.mark.parametrize("runtime", ["it's a folder", "nowhere"])
def test_paths_and_names_with_spaces_are_one_argument(monkeypatch, tmp_path, runtime):
    for folder in "it's a folder", "temporary":
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / runtime))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    source, loop = loaded(monkeypatch, "Eve's loud speakers")
    used = tmp_path / (runtime if runtime != "nowhere" else "temporary")
    assert Path(source["file"]).parent.parent == used
    assert loop["sink"] == "Eve's loud speakers"
    with pytest.raises(UserError, match="rename it"):
        loaded(monkeypatch, 'a "sink"')
    assert not any(used.iterdir())


def test_the_time_comes_from_the_default_outputs_monitor(monkeypatch):
    def source(name, monitor, owner=0):
        return Source(0, name, name, 2, "", RATE, monitor, owner)

    found = [
        source("rtaudio.desk", False, 41),
        source("headset", False),
        source("hdmi.monitor", True),
        source("speakers.monitor", True),
    ]
    server = Server("PulseAudio", False, "headset", "speakers")
    for expected in "speakers.monitor", "hdmi.monitor", "headset":
        monkeypatch.setattr(virtual, "sources", found.copy)
        assert virtual.any_source(server).name == expected
        found.pop()
    monkeypatch.setattr(virtual, "sources", found.copy)
    with pytest.raises(UserError, match="neither microphone nor output"):
        virtual.any_source(server)


def test_a_pipe_as_large_as_the_system_permits_will_do(monkeypatch, tmp_path):
    control = fcntl.fcntl

    def refuse(file, command, *value):
        if command == fcntl.F_SETPIPE_SZ:
            raise PermissionError
        return control(file, command, *value)

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    os.mkfifo(tmp_path / "microphone")
    file = pulse.open_pipe(str(tmp_path / "microphone"), 8 * RATE)
    assert os.write(file, b"sound") == 5
    os.close(file)


def test_all_is_compiled_before_the_source_records(monkeypatch):
    """Else the server keeps what comes meanwhile, and the call hears it late."""
    done = []

    def connect(*arguments):
        done.append("connected")
        raise UserError("enough")

    class Compiling:
        inputs = outputs = 2
        rate, address = RATE, 0

        @property
        def callback(self):
            done.append("callback")
            return 0

    monkeypatch.setattr(pulse, "_pump", lambda *arguments: done.append("pump"))
    monkeypatch.setattr(pulse._Recording, "__init__", connect)
    source = Source(0, "desk", "Desk", 2, "", RATE, False, 0)
    device = pulse.PulseDevice(source, SimpleNamespace(label="m", pipe=-1), RATE, 256, 2, 2)
    with pytest.raises(UserError, match="enough"):
        device.start(Compiling())
    assert done == ["pump", "callback", "connected"]


def test_the_table_says_what_a_sound_servers_microphones_are_for():
    row = DeviceInfo("pulse", 3, "Desk", 2, 0, RATE, (RATE,), True, False)
    assert device_table([row]).splitlines()[1:] == [
        "pulse  3      Desk  2*  0    48 kHz",
        "pulse: heard by 'rtaudio live --virtual-mic' only",
    ]


def test_jacks_ports_stay_as_they_are():
    with jack_server() as server:
        everything = SimpleNamespace(env=server.env | {"PULSE_SERVER": "unix:/nonexistent"})
        for extra, played in ((), []), (("--monitor",), ["system:playback_1"]):
            with live(everything, "--chain", "gain", *extra) as host:
                assert "'rtaudio:out_1'" in host.line("JACK has no virtual microphones")
                assert "for your call program" not in host.line("READY")
                assert server.connections("rtaudio:out_1") == played
                assert server.connections("rtaudio:in_1") == ["system:capture_1"]
                assert host.end() == 0


def test_without_any_server_it_is_said_what_to_install(monkeypatch, capsys):
    for name, value in (NOWHERE | {"JACK_NO_START_SERVER": "1"}).items():
        monkeypatch.setenv(name, value)
    assert main(["live", "--virtual-mic"]) == 2
    said = capsys.readouterr().err.strip()
    assert "needs PipeWire or PulseAudio" in said
    assert "apt-get install" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--monitor", "--monitor goes with --virtual-mic"),
        ("--virtual-mic --output speakers", "--virtual-mic is the output"),
        ("--virtual-mic --map out=1,2", "--virtual-mic is the output"),
        ("--virtual-mic --api null", "leave --api null out"),
        ("--virtual-mic --freewheel --seconds 1", "leave --freewheel out"),
    ],
)
def test_mistakes_are_one_line_and_status_2(capsys, arguments, message):
    assert main(["live", *arguments.split()]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said


@pytest.mark.parametrize("name", ["", "  ", "a'b", 'a"b', "a\\b", "a\nb", "a{b}", "x" * 61])
def test_names_that_would_need_quoting_are_refused(name):
    with pytest.raises(UserError, match="no name for a microphone"):
        check_name(name)


def test_names_may_be_of_any_language():
    assert check_name(" Büro-Mikrofon 2 ") == "Büro-Mikrofon 2"


def test_silence_is_told_once_and_after_three_seconds_of_nothing_but_zeros():
    host = Host(Plan(load_chain("gain"), RATE, 480, 2), Stepped())
    with host:
        host.start()
        hush, told = _Hush(host, "Desk Microphone"), []
        blocks = [0.0] * 250 + [1e-30, 1e-8] + [0.0] * 700
        for number, level in enumerate(blocks):
            host.device.step(level)
            if hint := hush.look():
                told.append((number, hint))
        assert [number for number, _ in told] == [251 + 300]
        assert "'Desk Microphone'" in told[0][1]


@pytest.mark.parametrize(
    ("api", "pipewire", "see"),
    [
        ("alsa", False, "'alsamixer'"),
        ("pulse", False, "'pactl list sources'"),
        ("jack", True, "'pactl list sources'"),
        ("jack", False, "'jack_lsp -c'"),
    ],
)
def test_silence_is_told_with_where_to_look(monkeypatch, api, pipewire, see):
    monkeypatch.setattr(jack, "on_pipewire", lambda: pipewire)
    assert f"See {see}" in _where_to_look(api)


def test_silence_is_what_a_plain_look_finds():
    random = np.random.default_rng(1)
    plan = Plan(Graph([], ["in -> out"]), RATE, 64, 2)
    with Host(plan, Stepped()) as host:
        host.start()
        stream, given = host.stream, np.zeros((0, 2), np.float32)
        for _ in range(400):
            block = np.zeros((64, 2), np.float32)
            if random.random() < 0.1:
                block[random.integers(64), random.integers(2)] = 1e-6
            call(stream, block)
            given = np.concatenate([given, block])
            begin = int(random.integers(len(given)))
            assert stream.silent_since(begin) == (not given[begin:].any())
