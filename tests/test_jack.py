import os
import signal
import subprocess
import sys
import textwrap
import time

import numba
import numpy as np
import pytest
from jackserver import jack_server
from sound_stream import CALLS, FLAGS, FRAMES, HANG, HEARD, INSIDE, LONGEST, OVERLAPS, STATUS, StandIn, sample

from rtaudio import jack, soundcard
from rtaudio.errors import UserError
from rtaudio.jack import JackDevice
from rtaudio.soundcard import Gate, open_device

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def shared_server():
    with jack_server() as server:
        yield server


@pytest.fixture
def server():
    """One that may be killed."""
    with jack_server() as server:
        yield server


@pytest.fixture
def opened():
    """Opens devices, and stops them."""
    devices = []

    def opener(**settings):
        devices.append(JackDevice(**settings))
        return devices[-1]

    yield opener
    for device in devices:
        device.stop()


def until(condition, seconds=5.0):
    """Whether a condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def calls_come(stream):
    before = stream.callbacks
    return until(lambda: stream.callbacks > before)


def no_calls_come(stream, seconds=0.1):
    before = stream.callbacks
    time.sleep(seconds)
    return stream.callbacks == before


def test_the_server_is_listed(shared_server):
    (system,) = soundcard.devices("jack")
    assert (system.name, system.inputs, system.outputs, system.rates) == ("system", 2, 2, (48000,))
    assert system.default_input
    assert system.default_output
    assert shared_server.ports() == [f"system:{kind}_{c}" for kind in ("capture", "playback") for c in (1, 2)]


def test_it_calls_and_is_connected_with_the_physical_ports(shared_server, opened):
    device, stream = opened(inputs=1), StandIn(inputs=1)
    assert (device.rate, device.period, device.input_name) == (48000, 128, "system")
    assert not device.running
    device.start(stream)
    assert calls_come(stream)
    assert device.running
    assert not device.lost
    assert stream.words[LONGEST] == 128
    assert shared_server.connections("rtaudio:in_1") == ["system:capture_1"]
    assert shared_server.connections("rtaudio:out_2") == ["system:playback_2"]
    report = device.statistics()
    assert (report["api"], report["output"], report["period"]) == ("jack", "system", 128)
    assert report["realtime_priority"] == device.realtime == (report["priority"] > 0)
    device.stop()
    assert no_calls_come(stream)
    assert not device.running
    assert not any(port.startswith("rtaudio") for port in shared_server.ports())
    device.stop()


@pytest.mark.parametrize("channels", [1, 2])
def test_every_sample_arrives_in_its_channel(shared_server, opened, channels):
    device, stream = opened(inputs=channels, outputs=channels), StandIn(channels, channels)
    device.start(stream)
    device.connect_loopback()
    assert shared_server.connections("rtaudio:in_1") == ["rtaudio:out_1"]
    assert shared_server.connections("system:playback_1") == []
    time.sleep(0.05)
    calls, heard = stream.words[CALLS], stream.words[HEARD]
    assert until(lambda: stream.words[CALLS] >= calls + 20)
    assert stream.words[HEARD] - heard >= 20


def test_it_can_leave_the_connections_to_others(shared_server, opened):
    device, stream = opened(input="", output="", inputs=1), StandIn(inputs=1)
    device.start(stream)
    assert shared_server.connections("rtaudio:in_1") == []
    assert shared_server.connections("rtaudio:out_1") == []
    assert calls_come(stream)


def test_it_starts_again_after_a_stop(shared_server, opened):
    device, stream = opened(), StandIn()
    for _ in range(2):
        device.start(stream)
        assert device.running
        device.stop()
    assert no_calls_come(stream)


def test_a_callback_that_has_ended_is_not_a_lost_device(shared_server, opened):
    device, stream = opened(), StandIn()
    device.start(stream)
    stream.words[STATUS] = 1
    assert until(lambda: not device.running)
    assert no_calls_come(stream)
    assert not device.lost


def test_a_call_that_does_not_return_is_admitted(shared_server, opened):
    """The stream's memory must then stay; the gate keeps further calls out."""
    device, stream = opened(), StandIn()
    device.start(stream)
    stream.words[HANG] = 1
    assert until(lambda: stream.words[INSIDE])
    begin = time.monotonic()
    assert not device.abandon()
    assert time.monotonic() - begin < 2
    stream.words[HANG] = 0
    assert until(lambda: not stream.words[INSIDE])
    assert no_calls_come(stream)


def test_the_period_is_followed(server, opened):
    device, stream = opened(), StandIn()
    device.start(stream)
    server.run("jack_bufsize", "512")
    assert until(lambda: device.period == 512)
    assert until(lambda: stream.words[LONGEST] == 512)


def test_ten_deaths_in_a_row(server, opened):
    """Each server has another period; killed, or told to end. No stream is called between two of them."""
    device, stream = opened(inputs=2), StandIn(inputs=2)
    device.start(stream)
    for death in range(10):
        server.kill(signal.SIGTERM if death % 2 else signal.SIGKILL)
        assert until(lambda: device.lost)
        assert not device.running
        assert device.abandon()
        calls = stream.callbacks
        assert not device.reopen(stream)
        server.start(period=(64, 128, 256)[death % 3])
        assert until(device.reopen)
        assert device.period == server.period
        assert not device.lost
        assert stream.callbacks == calls
        device.start(stream)
        assert calls_come(stream)
        assert device.running
        assert server.connections("rtaudio:out_2") == ["system:playback_2"]
    assert stream.words[OVERLAPS] == 0
    assert len(os.listdir("/proc/self/task")) < 20


def test_a_server_that_stalls_and_comes_back_to_life_calls_nobody(server, opened, monkeypatch):
    """The dangerous case: the old client is still there, and would call beside the new one."""
    monkeypatch.setattr(jack, "START_SECONDS", 0.2)
    device, stream = opened(), StandIn()
    device.start(stream)
    assert calls_come(stream)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        assert until(lambda: device.lost)
        assert time.monotonic() - begin > soundcard.SILENT_SECONDS / 2
        assert device.abandon()
        begin = time.monotonic()
        assert not device.reopen()
        assert not device.reopen()
        assert time.monotonic() - begin < 1
        with pytest.raises(UserError, match=r"does not answer"):
            JackDevice()
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert no_calls_come(stream)
    assert until(device.reopen)
    assert no_calls_come(stream)
    device.start(stream)
    assert calls_come(stream)
    assert until(lambda: len([port for port in server.ports() if port.startswith("rtaudio")]) == 2)
    assert stream.words[OVERLAPS] == 0


def test_this_process_standing_still_is_no_loss(shared_server, opened, monkeypatch):
    device, stream = opened(), StandIn()
    device.start(stream)
    assert not device.lost
    device._client.gate.shut(1.0)  # No calls from now on.
    assert not device.lost
    device._silent = 0.0
    clock = [time.monotonic()]
    monkeypatch.setattr(soundcard.time, "monotonic", lambda: clock[0])
    for look in range(3):
        clock[0] += 3600
        assert device.lost == (look == 2)


def test_another_rate_after_a_death_is_said(server, opened):
    device, stream = opened(), StandIn()
    device.start(stream)
    server.kill()
    assert until(lambda: device.lost)
    device.abandon()
    server.start(rate=44100)
    with pytest.raises(UserError, match=r"back at 44100 Hz, not 48000"):
        device.reopen()


def test_a_server_with_fewer_channels_is_not_yet_the_old_one(server, opened):
    device, stream = opened(), StandIn()
    device.start(stream)
    server.kill()
    device.abandon()
    server.channels = 1
    server.start()
    assert not device.reopen(stream)
    server.kill()
    server.channels = 2
    server.start()
    assert device.reopen(stream)
    assert calls_come(stream)


def test_the_process_ends_well_after_a_death(server):
    """With PortAudio loaded beside it, which as a JACK client would abort here."""
    code = f"""
        import sys, time
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from sound_stream import StandIn
        from rtaudio import portaudio
        from rtaudio.soundcard import open_device
        try:
            portaudio.devices()
        except portaudio.UserError:
            pass
        device = open_device("jack", None, None, None, 0, 2)
        device.start(StandIn())
        print("started", flush=True)
        while not device.lost:
            time.sleep(0.01)
        print("lost", flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        assert client.stdout.readline() == "started\n"
        server.kill()
        out, errors = client.communicate(timeout=20)
    assert (out, errors, client.returncode) == ("lost\n", "", 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 44100}, r"runs at 48000 Hz, not 44100"),
        ({"outputs": 3}, r"'system' has 2 output channels, not 3"),
        ({"inputs": 3}, r"'system' has 2 input channels, not 3"),
        ({"output": "sistem"}, r"no output device 'sistem', did you mean 'system'"),
        ({"output": "loudspeaker"}, r"no output device 'loudspeaker'; there are 'system'"),
    ],
)
def test_what_is_refused(shared_server, settings, message):
    with pytest.raises(UserError, match=message):
        JackDevice(**settings)
    assert until(lambda: not any(port.startswith("rtaudio") for port in shared_server.ports()))


def test_no_server(monkeypatch, capfd):
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "rtaudio-test-nobody")
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    with pytest.raises(UserError, match=r"no JACK server named 'rtaudio-test-nobody' is running: start one"):
        open_device("jack", None, None, None, 0, 2)
    assert capfd.readouterr() == ("", "")


def test_a_stream_that_does_not_fit_is_a_mistake_of_the_program(shared_server, opened):
    with pytest.raises(ValueError, match=r"the stream has"):
        opened(inputs=1).start(StandIn(inputs=2))


# A JACK that calls by hand.


@numba.cfunc("intp(intp, uint32)")
def _get_buffer(port, frames):
    return port  # its address


def process(stream, frames, calls=1, xruns=0):
    """What the ports hold after calls of JACK's callback for a stream."""
    inputs, outputs = stream.inputs, stream.outputs
    ports = np.zeros((inputs + outputs, frames), np.float32)
    for c in range(inputs):
        ports[c] = [sample(c, i % jack.LONGEST) for i in range(frames)]
    table = np.array([row.ctypes.data for row in ports], np.int64)
    source, sink = np.zeros(jack.LONGEST * 4, np.float32), np.zeros(jack.LONGEST * 4, np.float32)
    gate = Gate(jack.WORDS)
    words = gate.words
    words[jack.INPUTS], words[jack.OUTPUTS], words[jack.PORTS] = inputs, outputs, table.ctypes.data
    words[jack.GET_BUFFER], words[jack.XRUNS] = _get_buffer.address, xruns
    words[jack.SOURCE], words[jack.SINK] = source.ctypes.data, sink.ctypes.data
    gate.open(stream)
    callback = numba.njit(jack._process)
    for _ in range(calls):
        callback(frames, gate.address)
    return ports


def test_a_period_longer_than_the_buffers_comes_in_pieces():
    stream = StandIn(2, 2)
    ports = process(stream, 20000)
    assert stream.words[FRAMES] == 20000
    assert stream.words[LONGEST] == jack.LONGEST
    assert stream.words[HEARD] == stream.words[CALLS] == 3
    assert ports[3, 9000] == sample(1, 9000 - jack.LONGEST)


def test_xruns_are_flagged_once():
    stream = StandIn()
    process(stream, 20000, calls=2, xruns=3)
    assert stream.words[FLAGS] == 4
    stream = StandIn()
    process(stream, 64)
    assert stream.words[FLAGS] == 0


def test_a_callback_that_fails_is_silent():
    stream = StandIn()
    stream.words[STATUS] = 2
    assert not process(stream, 64, calls=2).any()
    assert stream.callbacks == 1
