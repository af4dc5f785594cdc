"""The control socket: who gets in, what lines do and how they are answered, and clients that behave badly."""

import argparse
import fcntl
import json
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from contextlib import contextmanager, suppress
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st
from live_process import live

from rtaudio import ctl
from rtaudio import server as server_module
from rtaudio.chain import load_chain
from rtaudio.cli import main
from rtaudio.errors import UserError
from rtaudio.files import AudioReader, AudioWriter
from rtaudio.graph import parameters_of
from rtaudio.host import Host
from rtaudio.null import NullDevice
from rtaudio.plan import Plan
from rtaudio.registry import load_engine
from rtaudio.routing import bare
from rtaudio.server import (
    AT_ONCE,
    CLIENTS,
    DEAF,
    LONGEST_LINE,
    UNREAD,
    Lines,
    Server,
    connect,
    open_folder,
    text_of,
)
from rtaudio.state import state
from rtaudio.steering import Steering

pytestmark = pytest.mark.alone

RATE = 48_000
DEADLINE = 60.0
"""Seconds after which something that should have happened is taken not to."""


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    """A folder for sockets of each test's own; and turns are not cut short by how busy the machine is."""
    monkeypatch.setattr(server_module, "BUDGET", DEADLINE)
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


class Program:
    """A program that is connected to this process's host, and never waits."""

    def __init__(self):
        self.socket = connect(os.getpid())
        self.socket.setblocking(False)
        self.got = []
        """Answers and events, in their order."""
        self.ended = False
        self._begun = b""

    def send(self, *lines):
        self.socket.sendall("".join(f"{line}\n" for line in lines).encode())

    def read(self):
        """What has come by now."""
        with suppress(BlockingIOError):
            while not self.ended:
                try:
                    got = self.socket.recv(65_536)
                except ConnectionResetError:
                    got = b""
                *whole, self._begun = (self._begun + got).split(b"\n")
                self.got += [json.loads(line) for line in whole]
                self.ended = not got
        return self.got

    def take(self):
        """What has come since the last time."""
        found, self.got = self.read(), []
        return found


class Steered:
    """A host with its control thread, which takes a turn when the test says so."""

    def __init__(self, host, server):
        self.host, self.server, self.said = host, server, []
        self.steering = Steering(host, server, lambda text, answers: self.said.append(text))
        self._programs = []

    def program(self):
        self._programs.append(Program())
        return self._programs[-1]

    def until(self, happened):
        """Take turns until something has happened; what it returned."""
        limit = time.monotonic() + DEADLINE
        while not (found := happened()):
            assert time.monotonic() < limit
            self.steering.look()
            assert self.steering.serve(0.01)
        return found

    def ask(self, program, *lines):
        """The answers to lines."""
        program.send(*lines)
        self.until(lambda: len(program.read()) >= len(lines))
        return program.take()

    def close(self):
        for program in self._programs:
            program.socket.close()


@contextmanager
def steered(chain="gain", **options):
    with Host(Plan(load_chain(chain), RATE, 128, 2), NullDevice(), **options) as host, Server() as server:
        host.start()
        server.listen()
        made = Steered(host, server)
        yield made
        made.close()


@pytest.fixture
def steer():
    with steered("gain | strip: gain") as made:
        yield made


@pytest.fixture
def song(tmp_path):
    sf.write(tmp_path / "a.wav", np.full((10 * RATE, 2), 0.1, np.float32), RATE)
    return tmp_path / "a.wav"


def ok(answer, **facts):
    return {"ok": True, "answer": answer, **facts}


# Lines and answers


def test_every_line_is_answered_in_order(steer):
    answers = steer.ask(steer.program(), "set gain.gain -6", "get gain.gain", "", "sek 3", "mute strip")
    assert answers[:3] == [ok("gain.gain is -6"), ok("gain.gain is -6 dB", value=-6.0, unit="dB"), ok("")]
    assert answers[3]["ok"] is False
    assert answers[3]["error"].startswith("no command 'sek', did you mean 'seek'?")
    assert answers[4:] == [ok("strip is muted")]
    assert steer.host.plan.graph.nodes["strip"].mute


def test_two_at_once_get_their_own_answers(steer):
    first, second = steer.program(), steer.program()
    levels = [-1 - number / 10 for number in range(200)]
    first.send(*(line for level in levels for line in (f"set gain.gain {level}", "get strip.gain")))
    second.send(*(line for level in levels for line in (f"set strip.gain {level}", "get gain.mute")))
    steer.until(lambda: len(first.read()) == len(second.read()) == 400)
    assert [answer["answer"] for answer in first.got[::2]] == [f"gain.gain is {level}" for level in levels]
    assert [answer["answer"] for answer in second.got[::2]] == [f"strip.gain is {level}" for level in levels]
    assert {answer["unit"] for answer in first.got[1::2]} == {"dB"}
    assert {answer["value"] for answer in second.got[1::2]} == {0.0}


def test_a_line_ends_the_wait(steer):
    program = steer.program()
    assert steer.ask(program, "") == [ok("")]
    sender = threading.Timer(0.05, program.send, ["set gain.gain -3"])
    began = time.monotonic()
    sender.start()
    assert steer.steering.serve(DEADLINE)
    sender.join()
    assert time.monotonic() - began < DEADLINE
    assert program.take() == [ok("gain.gain is -3")]


def test_quit_is_answered(steer):
    program = steer.program()
    program.send("quit")
    while steer.steering.serve(0.01):
        pass
    assert program.take() == [ok("the host ends")]


def test_who_shuts_its_sending_side_is_answered(steer):
    program = steer.program()
    program.send(*["get gain.gain"] * 100)
    program.socket.sendall(b"set gain.gain -6")
    program.socket.shutdown(socket.SHUT_WR)
    steer.until(lambda: program.read() and program.ended)
    assert program.got == [ok("gain.gain is 0 dB", value=0.0, unit="dB")] * 100
    assert steer.host.plan.value("gain.gain") == 0.0  # What it had begun is no line.


# What happens


def test_programs_hear_of_each_others_changes(steer):
    first, second = steer.program(), steer.program()
    assert steer.ask(first, "watch") == [ok("watching")]
    steer.ask(second, "set gain.gain -6", "set strip.pan 0.5", "bypass strip", "solo gain", "sek")
    assert steer.until(lambda: len(first.read()) == 4)
    assert [{**event, "text": ""} for event in first.take()] == [
        {"event": "switch", "node": "gain", "switch": "solo", "on": True, "text": ""},
        {"event": "switch", "node": "strip", "switch": "bypass", "on": True, "text": ""},
        {"event": "set", "parameter": "gain.gain", "value": -6.0, "text": ""},
        {"event": "set", "parameter": "strip.pan", "value": 0.5, "text": ""},
    ]
    steer.ask(second, "watch")
    first.send("set gain.gain -7", "unsolo gain", "set gain.gain -9", "set gain.gain -8")
    steer.until(lambda: len(first.read()) == 6 and len(second.read()) == 2)
    assert [answer.get("ok") for answer in first.got] == [True] * 4 + [None] * 2
    assert second.take() == first.got[4:]
    assert [event["text"] for event in first.take()[4:]] == ["gain: solo off", "gain.gain is -8"]
    assert steer.ask(first, "watch off", "set gain.gain -1") == [ok("not watching"), ok("gain.gain is -1")]
    steer.until(lambda: len(second.read()) == 1)
    assert first.take() == []


def test_what_goes_with_its_node_is_told_as_an_edit():
    with steered("gain(gain=-6) | remix(preset=live)") as steer:
        program = steer.program()
        steer.ask(program, "set remix.percussive_gain -3", "set remix/harmonic.gain -4", "watch")
        for node in ("remix", "gain"):
            steer.ask(program, f"remove {node}")
            steer.until(lambda: [event for event in program.read() if event["event"] == "done"])
            assert {event["event"] for event in program.take()} == {"loading", "edit", "note", "done"}


def test_a_program_hears_of_what_comes_after_its_line(steer):
    program = steer.program()
    program.send("set gain.gain -1", "watch", "set gain.gain -2", "watch off", "set gain.gain -3", "help")
    steer.until(lambda: len(program.read()) == 7)
    assert [event["value"] for event in program.take() if "event" in event] == [-2.0]


def test_problems_and_notes_are_told(steer):
    program = steer.program()
    steer.ask(program, "watch")
    steer.host.problems.append("the disk\x1b[2J\nis full")
    steer.host.notes.append("the device is back")
    steer.until(lambda: len(program.read()) == 2)
    assert program.take() == [
        {"event": "problem", "text": "the disk?[2J is full"},
        {"event": "note", "text": "the device is back"},
    ]
    found = state(steer.host)
    assert found["problems"] == ["the disk\x1b[2J\nis full"]
    assert found["notes"] == ["the device is back"]


def test_an_edit_is_told_when_it_is_heard():
    with steered("remix(preset=live) | limiter") as steer:
        first, second = steer.program(), steer.program()
        steer.ask(first, "watch")
        steer.ask(second, "set limiter.lookahead 2", "set remix/percussive.gain -6")
        steer.until(lambda: [event for event in first.read() if event["event"] == "note"])
        steer.until(lambda: first.read()[-1].get("edits") == [])
        events = {event["event"]: event for event in first.got}
        assert list(events) == ["loading", "set", "edit", "note", "done"]
        assert events["done"] == {
            "event": "done",
            "edit": 1,
            "heard": True,
            "text": "limiter.lookahead 2 is heard",
        }
        assert [event["edits"] for event in first.got if event["event"] == "loading"] == [
            ["limiter.lookahead 2"],
            [],
        ]
        assert {event["parameter"]: event["value"] for event in first.got if event["event"] == "set"} == {
            "remix.percussive_gain": -6.0,  # That of the node in which the other is.
            "limiter.lookahead": 2.0,
        }
        assert state(steer.host)["latency"]["total"] == steer.host.plan.latency


def test_comparing_recording_and_new_nodes_are_told(tmp_path):
    with steered("gain") as steer:
        first, second = steer.program(), steer.program()
        steer.ask(first, "watch")
        path = tmp_path / "a.wav"
        for line, kind in (
            ("insert last strip: gain(gain=-3)", "done"),
            ("compare dry", "compare"),
            ("compare wet", "compare"),
            (f"record {path}", "record"),
        ):
            before = len(first.read())
            steer.ask(second, line)
            steer.until(lambda kind=kind, at=before: kind in [each["event"] for each in first.read()[at:]])
        told = {(event["event"], event["text"]) for event in first.got}
        assert ("compare", "the input is heard, +0.0 dB") in told
        assert ("compare", "the output is heard") in told
        assert ("record", f"recording {path}") in told
        assert {event["node"] for event in first.got if event["event"] == "switch"} == {"gain", "strip"}
        assert all(event["switch"] == "bypass" for event in first.got if event["event"] == "switch")
        found = state(steer.host)
        assert (found["compare"], found["recordings"]) == (
            {"dry": False, "gain": 0.0, "nodes": []},
            [str(path)],
        )


def test_the_deck_is_told(song):
    with steered(file=AudioReader(song)) as steer:
        first, second = steer.program(), steer.program()
        steer.ask(first, "watch")
        steer.ask(second, "pause", "seek 5", "loop 4 6", "cue set 3")
        (event,) = steer.until(first.take)
        assert event["event"] == "deck"
        deck = event["deck"]
        assert (deck["duration"], deck["playing"], deck["loop"], deck["cue"]) == (
            10.0,
            False,
            [4.0, 6.0],
            3.0,
        )
        assert 5.0 <= deck["position"] < 5.1  # It fades out first.


# The state


def test_the_state_has_what_a_window_draws(song, tmp_path):
    chain = "remix(preset=live, percussive_insert='delay(time=100)') | limiter(ceiling=-1) | gain"
    with (
        AudioWriter(tmp_path / "r.wav", RATE, 2) as record,
        steered(chain, file=AudioReader(song), loop=True, record=record) as steer,
    ):
        program = steer.program()
        steer.ask(program, "set gain.gain -6", "mute gain", "set remix/percussive/delay.mix 0.25", "pause")
        (answer,) = steer.ask(program, "state")
        found = answer["state"]
        assert answer["answer"].startswith("remix (remix), limiter (limiter), gain (gain), latency ")
        assert (found["pid"], found["rate"], found["block"], found["channels"]) == (os.getpid(), RATE, 128, 2)
        assert found["latency"]["total"] == steer.host.plan.latency
        assert found["device"]["api"] == "null"
        assert found["edges"] == [
            "in.main -> remix.in",
            "remix.out -> limiter.in",
            "limiter.out -> gain.in",
            "gain.out -> out.main",
        ]
        assert found["deck"]["duration"] == 10.0
        assert found["deck"]["loop"] == [0.0, 10.0]
        assert found["deck"]["playing"] is False
        assert found["recordings"] == [str(tmp_path / "r.wav")]
        assert found["loading"] == []
        nodes = {node["name"]: node for node in found["nodes"]}
        assert list(nodes) == ["remix", "limiter", "gain"]
        assert (nodes["gain"]["mute"], nodes["gain"]["solo"], nodes["gain"]["bypass"]) == (True, False, False)
        for name, node in nodes.items():
            engine = steer.host.plan.graph.nodes[name].engine
            declared = {each.id: each for each in parameters_of(engine)}
            assert [each["id"] for each in node["parameters"]] == list(declared)
            for each in node["parameters"]:
                parameter = declared[each["id"]]
                assert each["unit"] == parameter.unit
                assert each["scale"] == parameter.scale
                assert each["automatable"] == parameter.automatable
                assert parameter.checked(each["value"], name) == each["value"]
                if parameter.scale == "choice":
                    assert each["choices"] == list(parameter.choices)
                elif parameter.scale != "text":
                    assert (each["minimum"], each["maximum"]) == (parameter.minimum, parameter.maximum)
        assert values(nodes["gain"])["gain"] == -6.0
        assert values(nodes["limiter"])["ceiling"] == -1.0
        inside = {node["name"]: node for node in nodes["remix"]["inside"]}
        assert values(inside["remix/percussive/delay"])["mix"] == 0.25
        assert values(inside["remix/percussive/delay"])["time"] == 100.0
        json.dumps(found, allow_nan=False)


def values(node):
    return {each["id"]: each["value"] for each in node["parameters"]}


@pytest.mark.parametrize("lane", [0, 2])
def test_values_are_those_that_the_nodes_have(lane):
    """What a preset sets, what is set by either name of a composite's parameter, what nobody has set."""
    plan = Plan(load_chain("hpss(preset=live).percussive | remix(preset=live)"), RATE, 128, 2, lane=lane)
    with Host(plan, NullDevice()) as host:
        for name in ("hpss", "remix/hpss"):
            for parameter, value in bare(plan._steps[name].processor).values.items():
                assert plan.value(f"{name}.{parameter}") == value
            assert plan.engines()[name] is load_engine("hpss")
        assert plan.value("hpss.estimate") == plan.value("remix.estimate")
        host.start()
        host.set("remix.harmonic_gain", -3.0)
        assert plan.value("remix/harmonic.gain") == plan.value("remix/harmonic/fader.gain") == -3.0
        host.set("remix/harmonic/fader.gain", -4.0)
        assert plan.value("remix/harmonic.gain") == plan.value("remix.harmonic_gain") == -4.0
        host.set("remix.harmonic_gain", -5.0)
        assert plan.value("remix/harmonic.gain") == plan.value("remix/harmonic/fader.gain") == -5.0


# Clients that behave badly


@given(st.data())
def test_lines_are_the_same_however_they_come(data):
    text = data.draw(st.lists(st.sampled_from([b"\n", b"a\xff", b"\r", b"x" * 3000]), max_size=12))
    whole = b"".join(text)
    places = data.draw(st.lists(st.integers(0, len(whole)), max_size=8))
    cuts = [0, *sorted(places), len(whole)]
    lines = Lines()
    found = [line for begin, end in pairwise(cuts) for line in lines.feed(whole[begin:end])]
    *complete, begun = whole.split(b"\n")
    assert found == [line[: LONGEST_LINE + 1] for line in complete]
    assert lines.begun == begun[: LONGEST_LINE + 1]
    for line, kept in zip(complete, found, strict=True):
        if len(line) > LONGEST_LINE:
            with pytest.raises(UserError, match="a line of more than 4096 bytes"):
                text_of(kept)
        else:
            assert text_of(kept) == line.decode(errors="replace")


def test_who_sends_without_pause_keeps_nobody_waiting(steer):
    """A turn takes so many lines and no more, and everybody has a part in it."""
    flooding, other = steer.program(), steer.program()
    steer.ask(other, "get gain.gain")
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += flooding.socket.send(b"set gain.gain -3\n" * 1000)
    calls = steer.host.stream.callbacks
    for number in range(50):
        other.send(f"set strip.gain {-number}")
        assert steer.steering.serve(DEADLINE)
        assert other.take() == [ok(f"strip.gain is {-number}")]
        assert 0 < len(flooding.take()) <= AT_ONCE
    steer.until(lambda: steer.host.stream.callbacks > calls)
    steer.until(lambda: len(flooding.read()) == 0 and not flooding.take())
    assert steer.host.plan.value("gain.gain") == -3.0


def test_who_sends_no_line_but_much_has_to_wait(steer, monkeypatch):
    """Or reading it would be all that there is time for."""
    monkeypatch.setattr(server_module, "PAUSE", DEADLINE)
    flooding, other = steer.program(), steer.program()
    steer.ask(other, "")
    flooding.socket.sendall(b"x" * 3 * LONGEST_LINE)
    for _ in range(3):
        assert steer.ask(other, "") == [ok("")]
        (client,) = [each for each in steer.server._clients if each.rests_until]
        assert unread(client.file) == 2 * LONGEST_LINE
    client.rests_until = 0.0
    assert steer.ask(other, "") == [ok("")]
    assert unread(client.file) == LONGEST_LINE


def unread(file):
    return struct.unpack("i", fcntl.ioctl(file, termios.FIONREAD, b"1234"))[0]


def test_a_turn_ends_when_its_lines_take_long(steer, monkeypatch):
    slow, other = steer.program(), steer.program()
    assert steer.ask(slow, "") == steer.ask(other, "")
    monkeypatch.setattr(server_module, "BUDGET", 0.0)
    slow.send(*["state"] * 10)
    other.send(*["get gain.gain"] * 2)
    for number in range(1, 3):
        assert steer.steering.serve(DEADLINE)
        assert (len(slow.read()), len(other.read())) == (number, number)
    steer.until(lambda: len(slow.read()) == 10)


@pytest.mark.parametrize("more", [1, 1_000_000])
def test_a_line_that_is_too_long_is_refused_and_the_next_one_done(steer, more):
    program = steer.program()
    longest = "set gain.gain -2".ljust(LONGEST_LINE)
    assert steer.ask(program, longest) == [ok("gain.gain is -2")]
    line = "set gain.gain -3".ljust(LONGEST_LINE + more).encode() + b"\n"
    while line:
        with suppress(BlockingIOError):
            line = line[program.socket.send(line) :]
        steer.steering.serve(0.0)
    steer.until(program.read)
    assert program.take() == [{"ok": False, "error": "a line of more than 4096 bytes: nothing is done"}]
    assert steer.ask(program, "get gain.gain")[0]["value"] == -2.0


def test_nonsense_is_answered_line_by_line(steer):
    program = steer.program()
    nonsense = np.random.default_rng(0).integers(0, 256, 20_000, np.uint8).tobytes()
    program.socket.sendall(nonsense + b"\0\n\xe2\x80\xa8\n\n")
    steer.until(lambda: len(program.read()) == nonsense.count(b"\n") + 3)
    answers = program.take()
    assert all("\n" not in answer.get("error", "") for answer in answers)
    assert (
        sum(answer["ok"] for answer in answers)
        == sum(not line.decode(errors="replace").strip() for line in nonsense.split(b"\n")[:-1]) + 2
    )
    assert steer.ask(program, "get gain.gain")[0]["value"] == 0.0


def test_a_line_in_pieces(steer):
    program = steer.program()
    for piece in (b"set gain", b".gain", b" -6", b"\nget gain.g"):
        program.socket.sendall(piece)
        steer.steering.serve(0.01)
    assert steer.until(program.take) == [ok("gain.gain is -6")]
    program.socket.sendall(b"ain\n")
    assert steer.until(program.take)[0]["value"] == -6.0


def test_who_goes_in_the_middle_of_a_line_has_not_said_it(steer):
    program, other = steer.program(), steer.program()
    program.socket.sendall(b"set strip.gain -3\nset gain.gain -6")
    program.socket.close()
    assert steer.ask(other, "get gain.gain")[0]["value"] == 0.0
    assert steer.host.plan.value("strip.gain") == -3.0


def test_what_somebody_has_said_before_going_counts(steer):
    program, other = steer.program(), steer.program()
    program.send(*(f"set gain.gain {-number}" for number in range(80)))
    program.socket.close()
    steer.until(lambda: steer.host.plan.value("gain.gain") == -79.0)
    assert steer.ask(other, "get gain.gain")[0]["ok"]


def test_a_fault_of_a_command_does_not_end_the_sound(steer, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(steer.host, "mute", fail)
    program = steer.program()
    answers = steer.ask(program, "mute gain", "get gain.gain")
    assert answers[0] == {"ok": False, "error": "ZeroDivisionError: division by zero"}
    assert answers[1]["ok"]
    steer.until(lambda: steer.said)
    assert steer.said == ["warning: 'mute gain' failed: ZeroDivisionError: division by zero"]


def test_a_fault_of_the_watch_is_told_once_and_the_sound_goes_on(steer, monkeypatch):
    def fail():
        raise ZeroDivisionError("division by zero")

    program = steer.program()
    steer.ask(program, "watch")
    monkeypatch.setattr(steer.host, "poll", fail)
    for _ in range(3):
        steer.steering.look()
    text = "watching over the host failed: ZeroDivisionError: division by zero"
    assert steer.said == [f"warning: {text}"]
    assert steer.until(program.take) == [{"event": "problem", "text": text}]
    assert steer.ask(program, "get gain.gain")[0]["ok"]
    monkeypatch.setattr(steer.steering._changes, "events", fail)
    for _ in range(3):
        assert steer.steering.serve(0.0)
        steer.steering.look()
    text = "telling what has changed failed: ZeroDivisionError: division by zero"
    assert steer.said[1:] == [f"warning: {text}"]
    assert steer.host.running


def test_who_goes_before_its_answers_is_forgotten(steer):
    other = steer.program()
    for _ in range(3 * CLIENTS):
        program = steer.program()
        program.send("watch", *["help"] * 100)
        program.socket.close()
        assert steer.ask(other, "") == [ok("")]
    steer.until(lambda: not steer.server.watched)
    assert steer.host.running


def test_who_does_not_read_is_let_go_and_told_of_once(steer):
    other = steer.program()
    steer.ask(other, "watch")
    for _ in range(2):
        program = steer.program()
        with suppress(BrokenPipeError, ConnectionResetError):
            while True:
                with suppress(BlockingIOError):
                    program.socket.send(b"help\n" * 1000)
                steer.steering.serve(0.0)
                assert sum(len(client.unread) for client in steer.server._clients) < 2 * UNREAD
    told = f"process {os.getpid()} does not read what it is told: it was let go"
    assert steer.until(other.take) == [{"event": "note", "text": told}]
    assert steer.said == [told]
    assert steer.ask(other, "get gain.gain")[0]["ok"]


def test_who_is_let_go_by_anothers_line_has_no_more_turn(steer):
    """The other one's line tells it more than may wait for it; it has sent lines of its own."""
    first, second = steer.program(), steer.program()
    steer.ask(first, "")
    steer.ask(second, "watch")
    steer.host.set("gain.gain", -6.0)
    first.send("watch", "get gain.gain")
    second.send("help")
    (deaf,) = [client for client in steer.server._clients if client.watches]
    deaf.unread += b" " * 8 * UNREAD
    assert steer.steering.serve(DEADLINE)
    assert [answer["answer"] for answer in first.take()] == ["watching", "gain.gain is -6 dB"]
    assert deaf.gone
    assert steer.ask(steer.program(), "") == [ok("")]


def test_more_programs_than_there_is_room_for(steer):
    programs = [steer.program() for _ in range(CLIENTS)]
    for program in programs:
        assert steer.ask(program, "")[0]["ok"]
    one_more = steer.program()
    one_more.send("set gain.gain -6")
    steer.until(lambda: one_more.read() and one_more.ended)
    assert one_more.take() == [
        {"ok": False, "error": "32 programs are connected already: end one of them"},
    ]
    programs.pop().socket.close()
    assert steer.ask(programs[0], "")[0]["ok"]
    assert steer.ask(steer.program(), "get gain.gain")[0]["value"] == 0.0


def test_without_descriptors_the_rest_goes_on(steer):
    other, late = steer.program(), None
    steer.ask(other, "")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    late = steer.program()
    late.send("get gain.gain")
    highest = max(map(int, os.listdir("/proc/self/fd")))
    filling = [os.open("/", os.O_RDONLY) for _ in range(highest)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(filling) + 1, hard))
        with suppress(OSError):
            while True:
                filling.append(os.open("/", os.O_RDONLY))
        assert steer.ask(other, "set gain.gain -3")[0]["ok"]
        assert late.read() == []
        assert steer.server._deaf_until > time.monotonic() - DEAF
    finally:
        for file in filling:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert steer.until(late.take)[0]["value"] == -3.0


# Who gets in


def test_only_the_user_gets_in(steer, runtime):
    folder = runtime / "rtaudio"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / f"{os.getpid()}.sock").stat().st_mode) == 0o600


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_somebody_else_is_refused_whatever_the_modes_are(monkeypatch):
    code = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); os.setuid(65534)\n"
        "s.settimeout(30)\n"
        "s.connect(sys.argv[1]); print(s.recv(999).decode())"
    )
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        with steered() as steer:
            address = Path(folder, "rtaudio", f"{os.getpid()}.sock")
            for path, mode in ((folder, 0o755), (address.parent, 0o755), (address, 0o666)):
                os.chmod(path, mode)
            command = [sys.executable, "-c", code, str(address)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
                steer.until(lambda: other.poll() is not None)
                told = other.stdout.read()
    assert json.loads(told) == {"ok": False, "error": "this host is another user's"}


def path_of(folder):
    path = os.readlink(f"/proc/self/fd/{folder}")
    os.close(folder)
    return path


def test_the_folder(runtime, monkeypatch):
    with pytest.raises(FileNotFoundError):
        open_folder()
    (runtime / "rtaudio").mkdir(mode=0o755)
    assert path_of(open_folder(make=True)) == str(runtime / "rtaudio")
    assert stat.S_IMODE((runtime / "rtaudio").stat().st_mode) == 0o700
    for useless in ("", "run"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", useless)
        assert path_of(open_folder(make=True)) == f"/tmp/rtaudio-{os.getuid()}"


def test_a_folder_that_is_a_link_is_refused(runtime, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (runtime / "rtaudio").symlink_to(tmp_path / "elsewhere")
    for make in (False, True):
        with pytest.raises(
            UserError, match="rtaudio is a link or no folder: remove it, or set XDG_RUNTIME_DIR"
        ):
            open_folder(make)
    (runtime / "rtaudio").unlink()
    (runtime / "rtaudio").write_text("")
    with pytest.raises(UserError, match="is a link or no folder"):
        open_folder(make=True)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make what is somebody else's")
def test_a_folder_of_somebody_else_is_refused(runtime):
    (runtime / "rtaudio").mkdir()
    os.chown(runtime / "rtaudio", 65534, 65534)
    for make in (False, True):
        with pytest.raises(UserError, match="rtaudio is another user's: set XDG_RUNTIME_DIR"):
            open_folder(make)
    assert stat.S_IMODE((runtime / "rtaudio").stat().st_mode) == 0o755


def test_a_path_longer_than_an_address(tmp_path, monkeypatch):
    deep = tmp_path / "d" / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    with Server() as server:
        server.listen()
        connect(os.getpid()).close()
    assert os.listdir(deep / "rtaudio") == []


LISTEN = "from rtaudio.server import Server; s = Server(); s.listen(); print(flush=True); input()"


def test_sockets_of_dead_processes_are_removed(runtime):
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as killed:
        killed.stdout.readline()
        connect(killed.pid).close()
        assert os.listdir(runtime / "rtaudio") == [f"{killed.pid}.sock"]
        killed.kill()
    with pytest.raises(UserError, match=r"^hosts that run live: none$"):
        connect()
    (runtime / "rtaudio" / f"{os.getppid()}.sock").touch()  # of a process that lives, as far as can be told
    (runtime / "rtaudio" / "other").touch()
    with Server() as server:
        server.listen()
        names = {f"{os.getpid()}.sock", f"{os.getppid()}.sock", "other"}
        assert set(os.listdir(runtime / "rtaudio")) == names
        connect().close()
        with pytest.raises(UserError, match=f"^process {os.getppid()} runs no live host of yours$"):
            connect(os.getppid())


def test_one_of_several_hosts(runtime):
    with (
        subprocess.Popen(
            [sys.executable, "-c", LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as another,
        Server() as server,
    ):
        another.stdout.readline()
        server.listen()
        listed = ", ".join(map(str, sorted([os.getpid(), another.pid])))
        with pytest.raises(UserError, match=f"^hosts that run live: {listed}: say which$"):
            connect()
        connect(another.pid).close()
        another.stdin.write(b"\n")


# The command


@pytest.fixture
def served(steer):
    """A host whose control thread runs."""
    stop = threading.Event()

    def run():
        while not stop.is_set() and steer.steering.serve(0.02):
            steer.steering.look()
        steer.server.close()

    thread = threading.Thread(target=run)
    thread.start()
    yield steer
    stop.set()
    thread.join()


def test_words_are_a_line(served, capsys):
    assert ctl.main(["set", "gain.gain", "-inf"]) == 0
    assert ctl.main(["get", "gain.gain"]) == 0
    assert main(["ctl", "--pid", str(os.getpid()), "set", "gain.gain", "-3"]) == 0
    assert main(["ctl", "--json", "get", "gain.gain"]) == 0
    assert ctl.main([""]) == 2
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "gain.gain is -inf",
        "gain.gain is -100 dB",
        "gain.gain is -3",
        '{"ok": true, "answer": "gain.gain is -3 dB", "value": -3.0, "unit": "dB"}',
    ]
    assert told.err.startswith("rtaudio: no command \"''\"")


def test_waiting_for_what_a_line_loads(served, capsys, monkeypatch):
    other = served.program()
    assert ctl.main(["insert", "last", "remix"], wait=True) == 0
    assert "remix" in served.host.plan.graph.nodes
    assert main(["ctl", "--wait", "set", "remix.residual_insert", "gian"]) == 2
    assert ctl.main(["set", "gain.gain", "-3"], wait=True) == 0
    assert ctl.main(["set", "gain.gain", "99"], wait=True) == 2
    lines = b"remove strip\nget strip.gain\nset gain.gain -6\n"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=BytesIO(lines)))
    assert ctl.main([], as_json=True, wait=True) == 2
    told = capsys.readouterr()
    words, messages = told.out.splitlines()[:4], [json.loads(line) for line in told.out.splitlines()[4:]]
    assert words == [
        "loading insert last remix",
        "insert last remix is heard",
        "loading remix.residual_insert gian",
        "gain.gain is -3",
    ]
    refused, mistake = told.err.splitlines()
    assert refused.startswith("rtaudio: remix.residual_insert gian: ")
    assert mistake.startswith("rtaudio: gain: gain=99 is out of range")
    assert messages[:2] == [
        ok("loading remove strip", edit=3),
        {"event": "done", "edit": 3, "heard": True, "text": "remove strip is heard"},
    ]
    assert messages[2]["error"].startswith("no node 'strip'")
    assert messages[3:] == [ok("gain.gain is -6")]
    assert other.read() == []  # It does not watch.


def test_an_edit_that_is_given_up_is_over(steer):
    program = steer.program()
    steer.ask(program, "watch")
    program.send("insert last a: gain", "insert last b: gain", "undo")
    steer.until(lambda: len([each for each in program.read() if each.get("event") == "done"]) == 2)
    numbers = [answer["edit"] for answer in program.got if answer.get("ok") and "edit" in answer]
    ended = {event["edit"]: event for event in program.got if event.get("event") == "done"}
    assert {number: ended[number]["heard"] for number in numbers} == {1: True, 2: False}
    assert ended[2]["text"] == "insert last b: gain: the edit was given up"


def test_a_refusal_is_told_in_a_line(served, capsys):
    assert ctl.main(["set", "gian.gain", "3"]) == 2
    assert main(["ctl", "--json", "set", "gain.gain", "99"]) == 2
    assert ctl.main(["play", "\n"]) == 2
    told = capsys.readouterr()
    assert told.err.splitlines() == [
        "rtaudio: no node 'gian', did you mean 'gain'? (gain, strip)",
        "rtaudio: the words are more than one line: give lines on standard input",
    ]
    assert json.loads(told.out)["error"].startswith("gain: gain=99 is out of range")


def test_lines_of_standard_input(served, capsys, monkeypatch):
    lines = b"set gain.gain -6\n\nsek\n\xff\nwatch\nset strip.gain -3\nget gain.gain"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=BytesIO(lines)))
    assert ctl.main([]) == 2
    told = capsys.readouterr()
    answers = [line for line in told.out.splitlines() if line != "strip.gain is -3"]
    assert answers == ["gain.gain is -6", "watching", "gain.gain is -6 dB"]
    assert "strip.gain is -3" in told.out
    assert [line.partition(" (")[0] for line in told.err.splitlines()] == [
        "rtaudio: no command 'sek', did you mean 'seek'?",
        "rtaudio: no command '\ufffd'",
    ]


def test_watch_tells_until_the_host_ends(served, capsys):
    def happen():
        served.until_watched.wait(DEADLINE)
        ctl.main(["bypass", "strip"])
        ctl.main(["quit"])

    served.until_watched = threading.Event()
    watches = served.steering._watch

    def watch(client, arguments):
        served.until_watched.set()
        return watches(client, arguments)

    served.steering._watch = watch
    other = threading.Thread(target=happen)
    other.start()
    assert ctl.main(["watch"]) == 2
    other.join()
    told = capsys.readouterr()
    assert "strip: bypass on" in told.out.splitlines()
    assert told.err == "rtaudio: the host has ended\n"


def test_without_a_host(capsys):
    for words in (["help"], ["watch"]):
        assert ctl.main(words) == 2
        assert capsys.readouterr().err == "rtaudio: hosts that run live: none\n"
    assert main(["ctl", "--pid", "1", "help"]) == 2
    assert capsys.readouterr().err == "rtaudio: process 1 runs no live host of yours\n"


@pytest.mark.parametrize("options", [[], ["--json"], ["--pid", "{pid}"], ["--pid={pid}", "--json"]])
def test_the_command_imports_little(served, options):
    """Or it would be slower than the fader it moves."""
    code = (
        "import sys; sys.argv[0] = 'rtaudio'; from rtaudio.__main__ import main\n"
        "status = main()\n"
        "print(status, [name for name in ('numpy', 'numba', 'argparse', 'pathlib', 'typing', 'rtaudio.cli')"
        " if name in sys.modules])"
    )
    words = [option.format(pid=os.getpid()) for option in options]
    command = [sys.executable, "-c", code, "ctl", *words, "set", "gain.gain", "-3"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=DEADLINE)
    answer = json.dumps(ok("gain.gain is -3")) if "--json" in options else "gain.gain is -3"
    assert done.stdout == f"{answer}\n0 []\n"


@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "-h",
        "--json --help",
        "--pid",
        "--pid 0",
        f"--pid={'9' * 5000}",
        "--jsn",
        "--json=1",
        "-- help",
    ],
)
def test_what_is_not_plain_is_left_to_the_whole_command_line(arguments):
    assert ctl.parse(arguments.split()) is None


@given(
    st.lists(st.text("-abj", max_size=3)),
    st.integers(1, 2**31 - 1),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_options_are_read_as_the_whole_command_line_reads_them(words, pid, as_json, wait, joined):
    parser = argparse.ArgumentParser(exit_on_error=False)
    ctl.add_command(parser.add_subparsers())
    options = [f"--pid={pid}"] if joined else ["--pid", str(pid)]
    arguments = [*options, *["--json"] * as_json, *["--wait"] * wait, "set", *words]
    expected = parser.parse_args(["ctl", *arguments])
    assert ctl.parse(arguments) == (expected.words, expected.pid, expected.json, expected.wait)


# A host in a process of its own


def ask(*words):
    command = [sys.executable, "-m", "rtaudio", "ctl", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)


def test_a_running_host(runtime):
    with live("--api", "null", "--chain", "gain") as host:
        host.line("READY")
        assert ask("set", "gain.gain", "-6").stdout == "gain.gain is -6\n"
        assert ask("get", "gain.gain").stdout == "gain.gain is -6 dB\n"
        refused = ask("get", "gain.gian")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith("rtaudio: gain: no parameter 'gian', did you mean 'gain'?")
        assert host.end(signal.SIGTERM) == 0
    assert os.listdir(runtime / "rtaudio") == []
    gone = ask("help")
    assert (gone.returncode, gone.stderr) == (2, "rtaudio: hosts that run live: none\n")


def test_sound_runs_without_a_socket_too(capsys, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    before = sys.getswitchinterval()
    assert main(["live", "--api", "null", "--seconds", "0.1"]) == 0
    told = capsys.readouterr().err.splitlines()
    why = "cannot use /nowhere/rtaudio: No such file or directory; set XDG_RUNTIME_DIR to a folder of yours"
    assert f"warning: 'rtaudio ctl' does not reach this host: {why}" in told
    assert sys.getswitchinterval() == before
