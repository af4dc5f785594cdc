"""The link of the window with a host: answers, events, and hosts that go; against real hosts."""

import json
import os
import signal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from window import (
    attached,
    folders,  # noqa: F401 - a fixture
    host,
    until,
)

from gui import link as link_module
from gui.application import application
from gui.link import ASK_AFTER, PATIENCE, Link
from rtaudio.errors import UserError
from rtaudio.server import connect, hosts

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def started():
    """A host for all that leave it as it is, but for values."""
    with host(chain="gain | limiter | b: gain") as playing:
        yield playing


@pytest.fixture
def link(qtbot, started):
    ask(started, "set gain.gain 0", "set gain.pan 0")
    with attached(qtbot, started) as made:
        yield made


def ask(started, *lines):
    """The answers to lines of another program, which knows nothing of the link."""
    with connect(started.process.pid) as connection, connection.makefile("rb") as answers:
        connection.sendall("".join(f"{line}\n" for line in lines).encode())
        return [json.loads(answers.readline()) for _ in lines]


def state_of(started):
    return ask(started, "state")[0]["state"]


def value(state, path):
    name, parameter = path.rsplit(".", 1)
    nodes = {node["name"]: node for node in state["nodes"]}
    return next(each["value"] for each in nodes[name]["parameters"] if each["id"] == parameter)


def test_it_has_what_the_host_tells(started, link):
    assert {**link.state, "position": 0} == {**state_of(started), "position": 0}
    assert link.pid == started.process.pid == link.observation.pid
    assert link.observation.alive


def test_attached_comes_with_all_that_is_there(qtbot, started):
    application()
    link, told = Link(), []
    link.attached.connect(lambda pid: told.append((pid, link.state["pid"], link.observation.pid)))
    link.stated.connect(lambda state: told.append(state is link.state))
    link.attach(started.process.pid)
    until(qtbot, lambda: len(told) == 2)
    assert told == [(started.process.pid,) * 3, True]
    link.detach("the test ends")


def test_answers_come_to_who_has_asked(qtbot, link):
    answers = []
    for number in range(200):
        link.send(f"set gain.gain -{number / 10}", lambda got, n=number: answers.append((n, got)))
        link.send("get gain.gain", lambda got, n=number: answers.append((n, got["value"])))
    until(qtbot, lambda: len(answers) == 400)
    assert [n for n, _ in answers] == [n for n in range(200) for _ in range(2)]
    assert [got for _, got in answers[1::2]] == [-n / 10 for n in range(200)]


def test_what_is_wrong_is_said(qtbot, started, link):
    said = []
    link.said.connect(lambda text, wrong: said.append((text, wrong)))
    link.send("bypas gain")
    link.send("get gain.gain")
    link.send("x" * 5000)
    link.send("get gain.gain\nquit")
    until(qtbot, lambda: len(said) == 4)
    said.sort()
    assert [wrong for _, wrong in said] == [True, True, False, True]
    assert said[0][0].startswith("'get gain.gain\\nquit'")
    assert said[2] == ("gain.gain is 0 dB", False)
    assert started.process.poll() is None


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.sampled_from(["set", "bypass", "mute", "undo"]), st.integers(-20, 12)), max_size=30)
)
def test_what_others_do_is_in_the_state(qtbot, started, changes):
    """Whatever it is, and in whatever order; the last is told last."""
    with attached(qtbot, started) as link:
        lines = []
        for number, (word, level) in enumerate(changes):
            node = ("gain", "b")[number % 2]
            lines.append({"set": f"set {node}.gain {level}", "undo": "undo"}.get(word, f"{word} {node}"))
            lines += [f"un{word} {node}"] * (level > 0 and word in ("bypass", "mute"))
        last = value(state_of(started), "b.pan") != 0.5
        ask(started, *lines, f"set b.pan {0.5 * last}")
        until(qtbot, lambda: value(link.state, "b.pan") == 0.5 * last)
        assert link.state["nodes"] == state_of(started)["nodes"]


def test_an_edit_brings_a_whole_state(qtbot):
    with host() as started, attached(qtbot, started) as link:
        ended, loading = [], []
        link.changed.connect(lambda event: event["event"] == "loading" and loading.append(event["edits"]))
        link.changed.connect(lambda event: event["event"] == "done" and ended.append(event["heard"]))
        link.send("insert last limiter(ceiling=-3)")
        until(qtbot, lambda: ended and link.state["latency"]["total"])
        assert ended == [True]
        assert loading == [["insert last limiter(ceiling=-3)"], []]
        assert link.state["nodes"] == state_of(started)["nodes"]
        assert link.state["latency"]["total"] == state_of(started)["latency"]["total"] > 0


def test_a_flood_of_values_is_thinned_and_the_last_one_holds(qtbot, started, link, monkeypatch):
    sent = []
    before = link._ask
    monkeypatch.setattr(link, "_ask", lambda line, *rest: (sent.append(line), before(line, *rest)))
    levels = [-number / 100 for number in range(1000)]
    for level in levels:
        link.set("gain.gain", level)
    link.set("gain.pan", 0.25)
    until(qtbot, lambda: len(sent) >= 3 and value(state_of(started), "gain.pan") == 0.25)
    assert sent == ["set gain.gain 0.0", "set gain.gain -9.99", "set gain.pan 0.25"]
    assert value(state_of(started), "gain.gain") == -9.99
    until(qtbot, lambda: value(link.state, "gain.gain") == -9.99)


def test_what_is_older_than_what_is_on_its_way_is_not_told(qtbot, link):
    """Or a fader that is being dragged would jump back."""
    newest, told = [0.0], []
    link.changed.connect(lambda event: event["event"] == "set" and told.append((event["value"], newest[0])))
    for number in range(300):
        newest[0] = -float(number % 40)
        link.set("gain.gain", newest[0])
        qtbot.wait(1)
    until(qtbot, lambda: told and told[-1][0] == -19.0)
    assert all(value == wanted for value, wanted in told)


def test_a_refused_value_is_taken_back(qtbot, link):
    told, said = [], []
    link.changed.connect(told.append)
    link.said.connect(lambda text, wrong: said.append((text, wrong)))
    link.set("gain.gain", 1000.0)
    until(qtbot, lambda: told and said)
    assert (told[0]["parameter"], told[0]["value"]) == ("gain.gain", 0.0)
    assert said[0][1]
    assert "out of range" in said[0][0]


def test_text_is_set_as_it_is(qtbot):
    with host(chain="remix(preset=live)") as started, attached(qtbot, started) as link:
        link.set("remix.percussive_insert", "delay(time=200) | gain")
        until(qtbot, lambda: value(link.state, "remix.percussive_insert") == "delay(time=200) | gain")


@pytest.mark.parametrize("size", [7, 4096])
def test_lines_may_come_in_pieces(qtbot, started, monkeypatch, size):
    monkeypatch.setattr(link_module, "AT_ONCE", size)
    with attached(qtbot, started) as link:
        assert link.state["nodes"] == state_of(started)["nodes"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_host_that_goes_is_told(qtbot, number):
    with host() as started, attached(qtbot, started) as link:
        told, said, answers = [], [], []
        link.detached.connect(told.append)
        started.end(number)
        until(qtbot, lambda: told)
        assert told == ["the host has ended"]
        assert (link.state, link.observation, link.pid) == ({}, None, 0)
        link.said.connect(lambda text, wrong: said.append(wrong))
        link.send("undo", answers.append)
        link.set("gain.gain", -3.0)
        assert said == [True, True]
        assert answers == []


def test_a_host_is_asked_for_a_word_once_a_second_at_most_and_has_three_to_answer(qtbot, link, monkeypatch):
    link._watch.stop()
    asked, told, before = [], [], link._ask
    monkeypatch.setattr(link, "_ask", lambda line, *rest: (asked.append(line), before(line, *rest)))
    link.hung.connect(told.append)
    until(qtbot, lambda: not link._asked)
    for _ in range(5):
        for _ in range(2 * ASK_AFTER):  # It is asked after a second, and takes another one to answer.
            link._look()
        assert len(link._asked) == 1
        until(qtbot, lambda: not link._asked)
    assert asked == [""] * 5
    assert (told, link.hangs) == ([], False)
    for _ in range(PATIENCE):
        link._look()
    assert (told, link.hangs, len(asked)) == ([True], True, 6)
    link._look()
    until(qtbot, lambda: not link._asked)
    assert (told, link.hangs, len(asked)) == ([True, False], False, 6)


@pytest.mark.parametrize("number", [signal.SIGSTOP, None])
def test_it_tells_whether_the_sound_stands_still_too(qtbot, monkeypatch, number):
    """That of a host whose answers alone do not come goes on."""
    monkeypatch.setattr(link_module, "LOOK_MS", 40)
    with host() as started, attached(qtbot, started) as link:
        told = []
        link.hung.connect(lambda hangs: told.append((hangs, link.sounds)))
        if number is None:
            link._readable.setEnabled(False)
        else:
            os.kill(started.process.pid, number)
        until(qtbot, lambda: told)
        assert told == [(True, number is None)]
        link.kill()
        if number is None:
            link._readable.setEnabled(True)
        until(qtbot, lambda: not link.pid)
        assert started.process.wait(60) == -signal.SIGKILL


def test_another_host_takes_its_place(qtbot, started, link):
    with host(chain="limiter") as second:
        assert hosts() == sorted([started.process.pid, second.process.pid])
        link.attach(second.process.pid)
        until(qtbot, lambda: link.state)
        assert link.state["nodes"][0]["name"] == "limiter"


def test_where_there_is_no_host_it_is_refused(qtbot):
    application()
    link = Link()
    with pytest.raises(UserError, match=f"process {os.getpid()} runs no live host of yours"):
        link.attach(os.getpid())
    assert os.getpid() not in hosts()
    assert link.state == {}
