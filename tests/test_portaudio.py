import os
import subprocess
import sys
import textwrap
import threading
import time

import numba
import numpy as np
import pytest
from jackserver import jack_server
from sound_stream import FRAMES, HANG, INSIDE, OVERLAPS, STATUS, StandIn

from rtaudio import portaudio, soundcard
from rtaudio.errors import UserError
from rtaudio.portaudio import PortAudioDevice
from rtaudio.soundcard import Attempt, DeviceInfo, Gate, device_table, find_device

pytestmark = pytest.mark.alone

pytest.importorskip("sounddevice", exc_type=OSError, reason="no PortAudio: apt-get install libportaudio2")

NO_CARD = "pcm.unplugged { type hw card 30 }\n"
"""PortAudio 19.6 fails an assertion of its own where all devices of a file can be opened."""
NULL_CARDS = NO_CARD + "pcm.silence { type null }\npcm.silence_too { type null }\n"


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    """Two of ALSA's null devices instead of what this machine has. They are not paced."""
    file = tmp_path_factory.mktemp("alsa") / "asound.conf"
    file.write_text(NULL_CARDS)
    before = os.environ.get("ALSA_CONFIG_PATH")
    os.environ["ALSA_CONFIG_PATH"] = str(file)
    portaudio._portaudio().renew()
    yield file
    os.environ.pop("ALSA_CONFIG_PATH")
    if before is not None:
        os.environ["ALSA_CONFIG_PATH"] = before
    portaudio._portaudio().renew()


@pytest.fixture
def opened(cards):
    devices = []

    def opener(**settings):
        devices.append(PortAudioDevice(**{"output": "silence"} | settings))
        return devices[-1]

    yield opener
    for device in devices:
        device.stop()


def until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def no_calls_come(stream):
    before = stream.callbacks
    time.sleep(0.1)
    return stream.callbacks == before


def info(name, index=0, inputs=2, outputs=2, default=False):
    return DeviceInfo("alsa", index, name, inputs, outputs, 48000, (48000,), default, default)


CARDS = [
    info("HDA Intel: ALC (hw:0,0)", 0),
    info("HDA Intel: HDMI (hw:0,3)", 1, inputs=0),
    info("Scarlett 2i2", 2, default=True),
    info("7", 5),
]


# ---------------------------------------------------------------------------------------------- sounddevice


def test_what_is_private_in_sounddevice_is_there():
    """If this fails, sounddevice has changed: adapt `portaudio._PortAudio`, or narrow the version."""
    import sounddevice

    assert [name for name in portaudio.PRIVATE if not hasattr(sounddevice, name)] == []
    assert sounddevice._ffi.cast("PaStreamCallback *", 0) == sounddevice._ffi.NULL
    assert isinstance(sounddevice._initialized, int)
    names = sounddevice._StreamBase.__init__.__code__.co_varnames
    assert {"kind", "callback", "userdata", "wrap_callback", "clip_off", "dither_off"} <= set(names)


def test_a_sounddevice_without_it_is_named(monkeypatch):
    import sounddevice

    monkeypatch.delattr(sounddevice, "_StreamBase")
    with pytest.raises(UserError, match=r"sounddevice .* has no _StreamBase: pip install"):
        portaudio._PortAudio()


def test_no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(UserError, match=r"no PortAudio .*: apt-get install libportaudio2"):
        portaudio._PortAudio()


def test_nothing_is_imported_before_it_is_needed():
    code = "import sys, rtaudio.portaudio, rtaudio.jack; print('sounddevice' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_portaudio_is_never_a_client_of_jack(cards):
    with jack_server() as server:
        portaudio._portaudio().renew()
        hosts = [host["name"] for host in portaudio._portaudio().api.query_hostapis()]
        assert "ALSA" in hosts
        assert not any(host.startswith("JACK") for host in hosts)
        assert os.environ["JACK_DEFAULT_SERVER"] == server.name
        apis = {info.api for info in soundcard.devices()}
    assert apis - {"pulse"} == {"jack", "alsa"}


def test_who_imported_sounddevice_first_does_not_make_it_one():
    code = """
        import sounddevice
        from rtaudio import portaudio
        def jacks():
            return sum("JACK" in host["name"] for host in sounddevice.query_hostapis())
        before = jacks()
        portaudio._portaudio()
        print(before, jacks())
    """
    with jack_server():
        command = [sys.executable, "-c", textwrap.dedent(code)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "1 0\n"


def test_the_library_is_silent_and_stderr_comes_back(capfd):
    with portaudio._quiet():
        os.write(2, b"noise\n")
    os.write(2, b"signal\n")
    assert capfd.readouterr().err == "signal\n"
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyError), portaudio._quiet():
        raise KeyError
    assert len(os.listdir("/proc/self/fd")) == descriptors
    os.write(2, b"signal\n")
    assert capfd.readouterr().err == "signal\n"


# ---------------------------------------------------------------------------------------------- devices


def test_the_devices_are_listed_with_their_rates(cards):
    found = soundcard.devices("alsa")
    assert [info.name for info in found] == ["silence", "silence_too"]
    assert set(found[0].rates) >= set(soundcard.RATES)
    assert found[0].inputs > 0
    assert "silence_too" in device_table(found)


def test_the_table():
    assert device_table(CARDS[1:3]).splitlines() == [
        "api   index  name                      in  out  rates",
        "alsa  1      HDA Intel: HDMI (hw:0,3)  0   2    48 kHz",
        "alsa  2      Scarlett 2i2              2*  2*   48 kHz",
    ]
    assert device_table([]) == "no devices\n"


@pytest.mark.parametrize(
    ("wanted", "direction", "index"),
    [
        (None, "output", 2),
        ("scarlett", "input", 2),
        ("1", "output", 1),
        ("7", "output", 5),  # a name before a number
        ("HDA Intel: HDMI (hw:0,3)", "output", 1),
        ("intel", "input", 0),  # the other one has no inputs
    ],
)
def test_a_device_is_found(wanted, direction, index):
    assert find_device(CARDS, wanted, direction).index == index


@pytest.mark.parametrize(
    ("wanted", "direction", "message"),
    [
        ("intel", "output", r"may be 0: 'HDA.*', 1: 'HDA.*; give the number"),
        ("Scarlet 2i4", "output", r"did you mean 'Scarlett 2i2'"),
        ("9", "output", r"no output device '9'; there are 'HDA"),
        ("", "output", r"no output device ''"),
        ("1", "input", r"no input device '1'"),
        ("HDA Intel: HDMI (hw:0,3)", "input", r"has no inputs"),
    ],
)
def test_a_device_that_is_not_clear_is_refused(wanted, direction, message):
    with pytest.raises(UserError, match=message):
        find_device(CARDS, wanted, direction)


def test_no_device_at_all():
    with pytest.raises(UserError, match=r"there is no output device"):
        find_device([], None, "output")
    with pytest.raises(UserError, match=r"no host API 'jakc', did you mean 'jack'\?"):
        soundcard.devices("jakc")


# ---------------------------------------------------------------------------------------------- streams


def test_it_calls_until_it_is_stopped(opened):
    device, stream = opened(rate=48000), StandIn()
    assert not device.running
    device.start(stream)
    assert until(lambda: stream.words[FRAMES] > 48000)
    assert device.running
    assert not device.lost
    assert device.latency > 0
    assert device._stream.blocksize == 0  # Another would cost a period.
    report = device.statistics()
    assert (report["api"], report["input"], report["output"], report["rate"]) == (
        "alsa",
        "",
        "silence",
        48000,
    )
    assert report["realtime_priority"] == device.realtime == (report["priority_from"] == "fifo")
    device.stop()
    assert not device.running
    assert no_calls_come(stream)
    device.start(stream)
    assert device.running


def test_input_and_output(opened):
    device, stream = opened(input="silence_too", rate=44100, inputs=1, outputs=1), StandIn(1, 1, 44100)
    device.start(stream)
    assert until(lambda: stream.words[FRAMES] > 48000)
    assert device.input_name == "silence_too"


def test_a_lost_card_is_abandoned_and_found_again(opened, cards):
    device, stream = opened(rate=48000), StandIn()
    device.start(stream)
    device._stream.abort()  # As PortAudio's thread ends when the card has gone.
    assert device.lost
    assert device.abandon()
    calls = stream.callbacks
    cards.write_text(NO_CARD)
    assert not device.reopen(stream)
    cards.write_text(NULL_CARDS)
    assert device.reopen()
    assert stream.callbacks == calls
    device.start(stream)
    assert until(lambda: stream.callbacks > calls)
    assert stream.words[OVERLAPS] == 0


def test_a_shut_gate_ends_the_stream(opened):
    """What becomes of a device that comes back to life after it was abandoned."""
    device, stream = opened(), StandIn(rate=opened().rate)
    device.start(stream)
    assert device._open_gate.shut(1.0)
    assert no_calls_come(stream)
    assert until(lambda: not device._stream.active)


def test_a_shut_gate_is_silent():
    gate, stream = Gate(portaudio.WORDS), StandIn()
    gate.words[portaudio.OUTPUTS] = 2
    sink = np.ones(128, np.float32)
    gate.open(stream)
    gate.shut(1.0)
    assert numba.njit(portaudio._gated)(0, sink.ctypes.data, 64, 0, 0, gate.address) == soundcard.SHUT
    assert not sink.any()
    assert stream.callbacks == 0


def test_a_card_that_hangs_when_closed_does_not_hang_us(opened, monkeypatch):
    device, stream = opened(rate=48000), StandIn()
    device.start(stream)
    release = threading.Event()
    close = portaudio._close
    monkeypatch.setattr(portaudio, "_close", lambda opened: release.wait() and close(opened))
    monkeypatch.setattr(portaudio, "START_SECONDS", 0.1)
    initialised = portaudio._portaudio().api._initialized
    begin = time.monotonic()
    assert device.abandon()
    assert not device.reopen()
    assert time.monotonic() - begin < 2
    assert portaudio._portaudio().api._initialized == 0  # else the end of the interpreter would hang
    release.set()
    assert device._closing.wait(5)
    portaudio._portaudio().api._initialized = initialised
    monkeypatch.undo()
    assert device.reopen(stream)


def test_a_call_in_hand_is_admitted(opened):
    device, stream = opened(rate=48000), StandIn()
    device.start(stream)
    stream.words[HANG] = 1
    assert until(lambda: stream.words[INSIDE])
    assert not device.abandon()
    stream.words[HANG] = 0
    assert device._closing.wait(5)
    assert no_calls_come(stream)


def test_an_ended_callback_is_no_loss(opened):
    device, stream = opened(rate=48000), StandIn()
    stream.words[STATUS] = 1
    device.start(stream)
    assert until(lambda: not device.running)
    assert not device.lost
    assert stream.callbacks == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output": "silense_too"}, r"no output device 'silense_too', did you mean 'silence_too'\?"),
        ({"outputs": 1000}, r"'silence' has \d+ output channels, not 1000"),
        ({"input": "nothing", "inputs": 1}, r"no input device 'nothing'; there are 'silence', 'silence_too'"),
        ({"rate": 1}, r"'silence' does not run at 1 Hz"),
    ],
)
def test_what_is_refused(opened, settings, message, capfd):
    with pytest.raises(UserError, match=message):
        opened(**settings)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("code", "host", "message"),
    [
        (-9985, (), r"^'out' is busy: close what uses it"),
        (-9999, ("ALSA", -16, "Device or resource busy"), r"^'out' is busy: close"),
        (-9999, ("ALSA", -19, "No such device"), r"^'out' is gone \(No such device\): connect it again"),
        (-9997, (), r"^'out' does not run at 48000 Hz"),
        (-9998, (), r"^'out' does not do 2 out"),
        (-9999, ("ALSA", -5, "Input/output error"), r"cannot be opened at 48000 Hz: Input/output error; try"),
    ],
)
def test_what_portaudio_says_becomes_one_line(code, host, message):
    import sounddevice

    error = sounddevice.PortAudioError("Error opening stream: something", code, *([host] if host else []))
    refusal = str(portaudio._user_error(error, None, info("out"), 48000, 0, 2))
    assert "\n" not in refusal
    with pytest.raises(UserError, match=message):
        raise UserError(refusal)


def test_a_late_result_is_thrown_away_once():
    release, discarded = threading.Event(), []
    attempt = Attempt(lambda: release.wait() and 7, discard=discarded.append)
    assert not attempt.wait(0.01)
    assert attempt.give_up()
    release.set()
    assert until(lambda: discarded == [7])
    prompt = Attempt(lambda: 8, discard=discarded.append)
    assert prompt.wait(5)
    assert not prompt.give_up()
    assert prompt.result() == 8
    assert discarded == [7]
