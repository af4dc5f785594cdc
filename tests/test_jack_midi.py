"""MIDI on a real JACK server: places to the sample, what is sent back, ports that come and go."""

import sys
import time
from collections import deque
from contextlib import contextmanager
from itertools import chain

import numpy as np
import pytest
import soundfile as sf
from jackserver import jack_server
from live_process import Live
from test_midi import binding, numbers

from rtaudio import midi, midiport
from rtaudio.chain import load_chain
from rtaudio.cli import main
from rtaudio.errors import UserError
from rtaudio.files import AudioWriter
from rtaudio.host import Host
from rtaudio.jack import JackDevice
from rtaudio.midi import Midi
from rtaudio.midiport import RtMidiPort
from rtaudio.null import NullDevice
from rtaudio.plan import Plan

pytestmark = pytest.mark.alone

jack = pytest.importorskip("jack", reason="needs JACK-Client", exc_type=ImportError)
pytest.importorskip("mido", reason="controllers need mido", exc_type=ImportError)

PERIOD, RATE = 256, 48_000
DELAY = 0.050
"""Seconds: what the threads of a test may stall."""
PATIENCE = 10.0


@pytest.fixture(scope="module")
def shared_server():
    with jack_server(PERIOD, synchronous=True) as server:
        yield server


@pytest.fixture
def server():
    """One that may be killed."""
    with jack_server(PERIOD, synchronous=True) as server:
        yield server


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Knobs:
    """A client that sends MIDI at frames of a period, with a 1 in its sound at each, and hears MIDI.

    Within the period, so that whoever hears both knows where each message came.
    """

    def __init__(self, name="knobs"):
        self.client = jack.Client(name, no_start_server=True)
        self.midi = self.client.midi_outports.register("out")
        self.motor = self.client.midi_inports.register("motor")
        self.marks = self.client.outports.register("marks")
        self.periods, self.heard, self.done = deque(), [], 0
        self.client.set_process_callback(self._process)
        self.client.activate()

    def _process(self, frames):
        self.done += 1
        self.midi.clear_buffer()
        marks = self.marks.get_array()
        marks[:] = 0
        for frame, message in self.periods.popleft() if self.periods else ():
            self.midi.write_midi_event(frame, message)
            marks[frame] = 1
        self.heard += [bytes(data) for _, data in self.motor.incoming_midi_events()]

    def connect(self):
        """Connect with the host's input, and wait until that holds."""
        self.client.connect(self.midi, "rtaudio:midi_in")
        self.client.connect(self.marks, "rtaudio:in_1")
        self.settle()

    def settle(self):
        """Wait until new connections hold: the server takes some periods."""
        end = self.done + 8
        until(lambda: self.done >= end)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.client.deactivate()
        self.client.close()


class Desk:
    """A host on JACK, with controllers; records what it hears and plays."""

    def __init__(self, folder, graph, *bindings, name="", channels=1, record=True):
        graph = load_chain(graph) if isinstance(graph, str) else graph
        self.device = JackDevice(input="", output="", inputs=channels, outputs=channels)
        self.port = self.device.open_midi(name)
        self.files = folder / "input.wav", folder / "output.wav"
        recordings = [AudioWriter(path, RATE, channels) if record else None for path in self.files]
        plan = Plan(graph, RATE, PERIOD, channels)
        self.host = Host(plan, self.device, record_input=recordings[0], record=recordings[1])
        self.midi = self.host.midi = Midi(self.host, self.port, DELAY, bindings)
        self.host.start()

    def poll(self):
        self.host.poll()
        self.midi.poll()
        time.sleep(0.003)

    def until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (self.midi.statistics(), self.host.notes)
            self.poll()

    def after(self, seconds):
        """Poll for so much sound."""
        end = self.host.plan.position + seconds * RATE
        self.until(lambda: self.host.plan.position > end)

    def ended(self):
        """What was heard and played, (samples,) each."""
        self.host.close()
        return [sf.read(path, dtype="float32", always_2d=True)[0][:, 0] for path in self.files]


@contextmanager
def desk(*arguments, **options):
    made = Desk(*arguments, **options)
    try:
        yield made
    finally:
        made.host.close()


def control(value, controller=7):
    return 0xB0, controller, value


def test_the_places_of_messages_are_kept_to_the_sample(shared_server, tmp_path):
    """Two in a period, on its first and its last frame, and two at one: what was sent last counts."""
    last = PERIOD - 1
    periods = [
        [(0, control(5))],
        [(last, control(6))],
        [(0, control(7)), (last, control(8))],
        [(100, control(9)), (101, control(10))],
        [(30, control(11)), (30, control(12))],
        [],
        [(17, control(13))],
    ] * 4
    with Knobs() as knobs, desk(tmp_path, numbers(), binding("number.number")) as host:
        knobs.connect()
        knobs.periods.extend(periods)
        sent = sum(map(len, periods))
        host.until(lambda: host.midi.statistics()["set"] == sent)
        host.after(2 * DELAY)
        counts = host.midi.statistics()
        heard, played = host.ended()
    assert (counts["messages"], counts["late"], counts["lost"], counts["skipped"]) == (sent, 0, 0, 0)
    changes = [value for _, (_, _, value) in chain.from_iterable(periods) if value != 11]
    marks = np.flatnonzero(heard)
    assert len(marks) == len(changes)
    expected = np.zeros(len(played))
    for at, value in zip(marks, changes, strict=True):
        expected[at + round(DELAY * RATE) :] = value
    np.testing.assert_array_equal(played, expected)


def test_a_mixer_of_stems_follows_faders_as_if_it_were_rendered(shared_server, tmp_path):
    """Crossfader, gain and kill of `remix`, from the places at which they were moved, bit for bit."""
    knobs_of = [
        binding("remix.crossfade", 1),
        binding("remix.percussive_gain", 2, wide=True),
        binding("remix.harmonic_kill", 3, toggle=True),
    ]
    periods = [
        [(0, control(127, 1)), (200, control(90, 2)), (200, control(5, 34))],
        [(255, control(127, 3))],
        [],
        [(10, control(0, 3)), (90, control(64, 1))],
        [(1, control(40, 2)), (2, control(77, 34)), (3, control(20, 1))],
        *[[]] * 40,  # A press is not to come while its light may come back.
        [(250, control(127, 3))],
    ]
    with Knobs() as knobs, desk(tmp_path, "remix(preset=live)", *knobs_of) as host:
        moved = []
        setting = host.host.set

        def record(path, value, at):
            moved.append((path, value, at))
            setting(path, value, at)

        host.host.set = record
        knobs.connect()
        knobs.periods.extend(periods)
        host.until(lambda: host.midi.statistics()["messages"] == 10)
        host.after(0.2)
        counts = host.midi.statistics()
        heard, played = host.ended()
    assert counts["late"] == 0
    marks = np.flatnonzero(heard)
    assert len(marks) == 9
    parameters = [each.parameter for each in knobs_of]
    moves = [(0, 0), (1, 1), (2, 2), (4, 0), (6, 1), (7, 0), (8, 2)]
    delay = round(DELAY * RATE)
    assert {(at, path) for path, _, at in moved} == {(marks[i] + delay, parameters[k]) for i, k in moves}
    with_events = Plan(load_chain("remix(preset=live)"), RATE, PERIOD, 1)
    for path, value, at in moved:
        with_events.set(path, value, at)
    blocks = [heard[None, at : at + PERIOD].copy() for at in range(0, len(heard), PERIOD)]
    rendered = np.concatenate([with_events.process(block)["main"][0].copy() for block in blocks])
    with_events.close()
    np.testing.assert_array_equal(played, rendered)


def test_a_thousand_messages_a_second_cost_no_sample(shared_server, tmp_path):
    """What is played is right at every sample, with the numbers that were sent."""
    periods = [
        [(frame, control((5 * number + frame // 48) % 128)) for frame in range(0, PERIOD, 48)]
        for number in range(375)
    ]
    with Knobs() as knobs, desk(tmp_path, numbers(), binding("number.number")) as host:
        knobs.connect()
        knobs.periods.extend(periods)
        sent = sum(map(len, periods))
        host.until(lambda: host.midi.statistics()["messages"] == sent)
        host.after(2 * DELAY)
        counts, report = host.midi.statistics(), host.host.statistics()
        heard, played = host.ended()
    assert [counts[what] for what in ("lost", "refused", "skipped", "unsent")] == [0] * 4
    assert report["unfit_samples"] == report["record_overflows"] == 0
    if counts["late"]:
        pytest.skip(f"the machine stalled: {counts['late']} of {sent} messages came late")
    expected = np.zeros(len(played))
    changes = [value for _, (_, _, value) in chain.from_iterable(periods)]
    for at, value in zip(np.flatnonzero(heard), changes, strict=True):
        expected[at + round(DELAY * RATE) :] = value
    np.testing.assert_array_equal(played, expected)


def test_what_others_set_is_sent_to_the_port_that_is_named(shared_server, tmp_path):
    with Knobs() as knobs, desk(tmp_path, "gain", binding("gain.pan", 2), name="KNOBS", record=False) as host:
        assert "knobs:motor" in host.port._device.client().ports(1, b"8 bit raw midi")
        host.until(lambda: (0xB0, 2, 64) in map(tuple, knobs.heard))
        host.host.set("gain.pan", 1.0)
        host.until(lambda: (0xB0, 2, 127) in map(tuple, knobs.heard))
        knobs.periods.append([(0, control(0, 2))])
        host.until(lambda: host.midi.statistics()["set"] == 1)
        host.after(0.1)
        assert list(map(tuple, knobs.heard))[-1] == (0xB0, 2, 127)


def test_a_port_that_somebody_connects_later_is_sent_what_is_set(shared_server, tmp_path):
    with desk(tmp_path, "gain", binding("gain.pan", 2), record=False) as host:
        host.host.set("gain.pan", 1.0)
        host.after(0.1)
        with Knobs() as knobs:
            knobs.client.connect("rtaudio:midi_out", "knobs:motor")
            host.until(lambda: (0xB0, 2, 127) in map(tuple, knobs.heard))
        assert "a port is connected with the MIDI output" in host.host.notes


def test_what_is_no_message_of_a_channel_is_skipped_and_counted(shared_server, tmp_path):
    odd = [(0, (0xF0, 1, 2, 3, 0xF7)), (1, (0xFE,)), (2, (0xF8,)), (3, (0x90, 60, 1)), (4, control(9))]
    with Knobs() as knobs, desk(tmp_path, numbers(), binding("number.number"), record=False) as host:
        knobs.connect()
        knobs.periods.extend([odd] * 10)
        host.until(lambda: host.midi.statistics()["set"] + host.midi.statistics()["ignored"] == 11)
        counts = host.midi.statistics()
    assert (counts["skipped"], counts["messages"], counts["ignored"], counts["lost"]) == (30, 20, 10, 0)


def test_a_flood_that_nobody_looks_at_is_lost_and_counted(shared_server, tmp_path):
    with Knobs() as knobs, desk(tmp_path, numbers(), binding("number.number"), record=False) as host:
        knobs.connect()
        knobs.periods.extend([[(frame, control(frame % 128)) for frame in range(PERIOD)]] * 20)
        deadline = time.monotonic() + PATIENCE
        while knobs.periods or host.port.statistics()["lost"] == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        counts = host.midi.statistics
        host.until(lambda: counts()["lost"] + counts()["messages"] == 20 * PERIOD)
        before = counts()["set"]
        knobs.periods.append([(0, control(126))])
        host.until(lambda: host.midi.statistics()["set"] > before)


def test_more_is_sent_than_a_period_takes(shared_server, tmp_path):
    """JACK's buffer holds some hundred messages: the rest is counted, and what comes later arrives."""
    with Knobs() as knobs, desk(tmp_path, "gain", name="knobs", record=False) as host:
        host.until(lambda: host.port.write(bytes(control(1, 9))) and host.after(0.02) is None and knobs.heard)
        host.device.client().to_send.push(np.full(4096, 0x03B00902, np.float64))
        host.until(
            lambda: (
                host.port.write(bytes(control(3, 9)))
                and host.after(0.02) is None
                and tuple(knobs.heard[-1]) == control(3, 9)
            )
        )
        assert host.port.statistics()["unsent"] > 0


def test_a_port_that_goes_is_told_once_and_connected_when_it_is_back(shared_server, tmp_path, monkeypatch):
    monkeypatch.setattr(midi, "LOOK", 0.1)
    with Knobs() as knobs:
        host = Desk(tmp_path, "gain", binding("gain.pan", 2), name="knobs:out", record=False)
        host.until(lambda: host.host.notes == ["MIDI port 'knobs:out' is connected"])
    try:
        host.host.notes.clear()
        host.until(lambda: host.host.notes)
        host.after(0.5)
        assert host.host.notes == ["MIDI port 'knobs:out' is gone; looked for again"]
        host.host.notes.clear()
        with Knobs() as knobs:
            host.until(lambda: host.host.notes)
            assert host.host.notes == ["MIDI port 'knobs:out' is connected"]
            knobs.settle()
            knobs.periods.append([(0, control(0, 2))])
            host.until(lambda: host.midi.statistics()["set"] == 1)
    finally:
        host.host.close()


def test_the_ports_are_there_again_after_the_server_was(server, tmp_path):
    with desk(tmp_path, numbers(), binding("number.number"), record=False) as host:
        server.kill()
        host.until(lambda: any("is gone" in problem for problem in host.host.problems))
        host.after(0.2)
        server.start()
        host.until(lambda: "the device is back" in host.host.notes)
        begun = host.host.plan.position
        with Knobs() as knobs:
            knobs.connect()
            knobs.periods.append([(0, control(77))])
            host.until(lambda: host.midi.statistics()["set"] == 1)
        assert host.midi.statistics()["late"] == 0
        assert host.host.plan.position > begun


@pytest.mark.parametrize(
    ("name", "message"),
    [("nosuch", "there are 'one:out', 'two:out'"), ("out", "may be 'one:out', 'two:out'")],
)
def test_a_name_of_no_port_or_of_two_is_refused(shared_server, name, message):
    with Knobs("one"), Knobs("two"):
        device = JackDevice(input="", output="")
        try:
            with pytest.raises(UserError, match=message):
                device.open_midi(name)
        finally:
            device.stop()


def test_devices_lists_ports(shared_server, capsys):
    with Knobs():
        assert main(["devices", "--api", "jack"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[-2:]] == [
        ["jack", "midi", "knobs:out", "sends"],
        ["jack", "midi", "knobs:motor", "receives"],
    ]


def test_live_learns_a_controller(shared_server):
    with Knobs() as knobs:
        host = Live("--api", "jack", "--chain", "gain", "--midi", "knobs:out", "--control", stdin=True)
        try:
            host.line("READY")
            host.write("midi learn gain.pan")
            host.line("move a controller for gain.pan")
            host.line("is connected")
            knobs.settle()
            knobs.periods.append([(0, control(3, 21))])
            host.line("controller 21 of channel 1 moves gain.pan")
            knobs.periods.append([(0, control(0, 21))])
            host.write("midi list")
            host.line("gain.pan: controller 21 of channel 1")
            assert host.end() == 0
        finally:
            host.process.kill()


# RtMidi, by its JACK side: there is no ALSA sequencer where this is tested


@pytest.fixture
def rtmidi():
    return pytest.importorskip("rtmidi", reason="needs python-rtmidi", exc_type=ImportError)


@pytest.fixture
def clocked():
    """A host on a clock; RtMidi has a libjack of its own, which is not to meet another one's client."""
    with Host(Plan(load_chain("gain"), RATE, PERIOD, 1), NullDevice(rate=RATE)) as made:
        made.start()
        yield made


def test_rtmidi_hears_and_sends(shared_server, rtmidi, clocked):
    with Knobs() as knobs:
        port = RtMidiPort("knobs", clocked.stream, rtmidi.API_UNIX_JACK)
        controllers = Midi(clocked, port, DELAY, [binding("gain.pan", 2)])
        try:
            knobs.settle()
            before = clocked.plan.position
            knobs.periods.append([(10, control(0, 2)), (20, control(127, 2))])
            until(lambda: controllers.poll() or controllers.statistics()["set"] == 2)
            assert before <= port._last <= clocked.plan.position + PERIOD
            clocked.set("gain.pan", 0.0)
            until(lambda: controllers.poll() or control(64, 2) in map(tuple, knobs.heard))
        finally:
            controllers.close()


def test_rtmidi_notices_a_controller_that_goes_and_returns(shared_server, rtmidi, clocked):
    with Knobs():
        port = RtMidiPort("knobs", clocked.stream, rtmidi.API_UNIX_JACK)
        assert port.look() == ""
    try:
        assert port.look() == "MIDI port 'knobs:out' is gone; looked for again"
        assert port.look() == ""
        assert port.write(bytes(control(1)))
        with Knobs() as knobs:
            assert port.look() == "MIDI port 'knobs:out' is connected"
            knobs.settle()
            knobs.periods.append([(0, control(5))])
            until(lambda: port.read(10))
    finally:
        port.close()


def test_rtmidi_counts_what_it_has_no_room_for(shared_server, rtmidi, clocked, monkeypatch):
    monkeypatch.setattr(midiport, "WAITING", 2)
    with Knobs() as knobs:
        port = RtMidiPort("knobs", clocked.stream, rtmidi.API_UNIX_JACK)
        try:
            knobs.settle()
            knobs.periods.append([(frame, control(frame)) for frame in range(5)])
            until(lambda: port.statistics()["lost"] == 3)
            assert [message for _, message in port.read(9)] == [bytes(control(0)), bytes(control(1))]
        finally:
            port.close()


def test_rtmidi_without_the_port_or_the_package_is_one_line(shared_server, rtmidi, clocked, monkeypatch):
    with pytest.raises(UserError, match="no MIDI port 'nosuch'"):
        RtMidiPort("nosuch", clocked.stream, rtmidi.API_UNIX_JACK)
    monkeypatch.setitem(sys.modules, "rtmidi", None)
    with pytest.raises(UserError, match=r"pip install 'rtaudio\[midi\]'"):
        RtMidiPort("nosuch", clocked.stream)
