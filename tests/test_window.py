"""The window around the views: what it says of the host, what its keys and menus do, hosts that it starts."""

import gc
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from live_process import DEADLINE
from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QColor, QFont, QPalette, QRawFont
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QApplication,
    QComboBox,
    QDialog,
    QLabel,
    QLineEdit,
    QMessageBox,
    QPlainTextEdit,
    QTableWidget,
)
from test_link import ask, state_of, value
from window import (
    PROGRAM,
    folders,  # noqa: F401 - a fixture
    host,
    own_folders,
    until,
    window,
)

from gui import command, link, messages
from gui.application import (
    BANGLA,
    FAINT,
    FONTS,
    OUTLINE,
    THEMES,
    Settings,
    application,
    palette,
    set_theme,
)
from gui.logs import left_hosts
from gui.messages import Lines
from gui.process import HostProcess
from gui.recovery import LAST, chain_of, deck_lines, options_again, options_for, options_of, with_file
from gui.render import Render
from gui.window import IDLE_MS, Window
from rtaudio.cli import Parser
from rtaudio.counters import lives
from rtaudio.errors import UserError
from rtaudio.folders import state_folder
from rtaudio.rack import load_rack
from rtaudio.racks import user_folder
from rtaudio.server import connect, hosts

pytestmark = pytest.mark.alone

CHAIN = "a: gain(gain=-6) | limiter | b: gain"


@pytest.fixture(scope="module")
def started():
    """A host for all that leave its nodes as they are."""
    with host(chain=CHAIN) as playing:
        yield playing


@pytest.fixture(scope="module")
def playing(tmp_path_factory):
    """A host that plays a tone 6 dB down."""
    file = tone(tmp_path_factory.mktemp("tone"))
    with host("--file", file, "--loop", chain="gain(gain=-6)") as made:
        yield made


@pytest.fixture
def shown(qtbot, started):
    with window(qtbot, started) as made:
        yield made


@pytest.fixture
def ends():
    """Processes to be killed in the end, by their numbers."""
    found = []
    yield found
    for pid in found:
        if lives(pid):
            os.kill(pid, signal.SIGKILL)


def tone(folder):
    """A file of a steady tone, RMS 0.1."""
    sound = np.sqrt(2) * 0.1 * np.sin(2 * np.pi * 1000 * np.arange(2 * 48_000) / 48_000)
    sf.write(folder / "tone.wav", np.column_stack([sound, sound]), 48_000, subtype="FLOAT")
    return folder / "tone.wav"


def bypassed(started):
    return {node["name"] for node in state_of(started)["nodes"] if node["bypass"]}


def press(qtbot, shown, key, modifier=Qt.KeyboardModifier.NoModifier):
    shown.activateWindow()
    until(qtbot, shown.isActiveWindow)
    qtbot.keyClick(shown, key, modifier)


# What it says


def test_it_says_what_plays(qtbot, started, shown):
    late = 1e3 * state_of(started)["latency"]["total"] / 48_000
    assert shown.plays.text() == f"null device, 48 kHz, block 128, {late:.1f} ms"
    assert shown.rate.text() == "48 kHz / 128"
    assert shown.late.text() == f"latency {late:.1f} ms"
    assert shown.windowTitle().startswith("a | limiter | b - ")
    until(qtbot, lambda: shown.load.text().startswith("DSP "))
    until(qtbot, lambda: shown.cost.text().startswith("window "))


def test_what_is_not_played_in_time_is_counted_and_told(qtbot, started, shown):
    until(qtbot, shown.load.text)
    before = shown.link.observation.counters()["misses"]
    os.kill(started.process.pid, signal.SIGSTOP)
    qtbot.wait(50)
    os.kill(started.process.pid, signal.SIGCONT)
    until(qtbot, lambda: shown.link.observation.counters()["misses"] > before)
    until(qtbot, lambda: "miss" in shown.xruns_button.text())
    qtbot.mouseClick(shown.xruns_button, Qt.MouseButton.LeftButton)
    (dialog,) = shown.findChildren(QDialog)
    (text,) = dialog.findChildren(QPlainTextEdit)
    assert "calls of the device that came too late" in text.toPlainText()
    for theme in ("dark", "light", "dark"):
        shown._set_theme(theme)
        warning = palette(theme).color(QPalette.ColorRole.BrightText)
        assert shown.xruns_button.palette().color(QPalette.ColorRole.ButtonText) == warning


def test_the_count_of_what_was_not_played_in_time_is_begun_anew(qtbot, shown):
    until(qtbot, shown.load.text)
    counted = shown.link.observation.counters()
    shown._timer.stop()
    shown._count(counted | {"xruns": 3, "misses": 2, "device_misses": counted["device_misses"] + 7})
    assert shown.xruns_button.text() == "3 xruns, 2 misses"
    shown._show_xruns()
    (listed,) = shown.findChildren(Lines)
    assert "7 calls of the device that came too late" in listed.text.toPlainText()
    next(each for each in listed.buttons.buttons() if each.text() == "&Begin anew").click()
    assert listed.text.toPlainText() == "Everything was played in time."
    assert shown.xruns_button.text() == "0 xruns"
    plain = shown.palette().color(QPalette.ColorRole.ButtonText)
    assert shown.xruns_button.palette().color(QPalette.ColorRole.ButtonText) == plain
    shown._count(counted | {"xruns": 4, "misses": 2, "device_misses": counted["device_misses"] + 8})
    assert shown.xruns_button.text() == "1 xrun"
    assert listed.text.toPlainText().endswith("  1 calls of the device that came too late")


def test_errors_are_marked(qtbot, shown):
    shown.link.send("bypas a")
    until(qtbot, lambda: shown.message.text().startswith("⚠ no command 'bypas'"))
    shown.link.send("get a.pan")
    until(qtbot, lambda: shown.message.text() == "a.pan is 0")


def test_what_was_said_is_listed_and_can_be_copied(qtbot, shown):
    for number in range(250):
        shown.say(f"message {number}", is_error=number == 249)
    shown.message.setFocus()
    qtbot.keyClick(shown.message, Qt.Key.Key_Return)
    (listed,) = shown.findChildren(Lines)
    lines = listed.text.toPlainText().split("\n")
    assert len(lines) == 200
    assert re.fullmatch(r"\d\d:\d\d:\d\d  message 50", lines[0])
    assert lines[-1].endswith("  ⚠ message 249")
    shown.link.send("get a.pan")
    until(qtbot, lambda: listed.text.toPlainText().endswith("  a.pan is 0"))
    next(each for each in listed.buttons.buttons() if each.text() == "&Copy all").click()
    assert QApplication.clipboard().text() == listed.text.toPlainText()
    listed.close()
    until(qtbot, lambda: not shown.findChildren(Lines))
    qtbot.mouseClick(shown.message, Qt.MouseButton.LeftButton)
    assert shown.findChildren(Lines)


def test_what_a_host_had_said_before_is_listed(qtbot):
    with host() as own, window(qtbot) as shown:
        ask(own, "insert last limiter")
        until(qtbot, lambda: not state_of(own)["loading"])
        notes = state_of(own)["notes"]
        assert notes[-1].startswith("insert last limiter")
        shown.attach(own.process.pid)
        until(qtbot, lambda: shown.link.state)
        shown.messages_action.trigger()
        (listed,) = shown.findChildren(Lines)
        *earlier, attached = listed.text.toPlainText().split("\n")
        assert earlier[: len(notes)] == [f"earlier   {note}" for note in notes]
        assert f"  attached to the host in process {own.process.pid}" in attached


def test_what_is_under_the_pointer_takes_no_error_away(qtbot, shown, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(messages.time, "monotonic", lambda: now[0])
    shown.say("wrong", is_error=True)
    shown.link.hinted.emit("440 Hz")
    shown.link.hinted.emit("")
    assert shown.message.text() == "⚠ wrong"
    now[0] += messages.HOLD
    shown.link.hinted.emit("440 Hz")
    assert shown.message.text() == "440 Hz"
    shown.link.hinted.emit("")
    assert shown.message.text() == "⚠ wrong"


def test_text_that_does_not_fit_is_told_whole(qtbot, shown):
    text = "a line that is far too long for it " * 20
    shown.say(text, is_error=False)
    qtbot.wait(1)
    assert shown.message.toolTip().split("\n")[0] == text
    shown.say("short", is_error=False)
    assert shown.message.toolTip() == messages.TIP
    panel = shown.rack.panel("limiter")
    before = panel.minimumSizeHint().width()
    panel.times.show_text(text)
    assert panel.minimumSizeHint().width() == before


# Keys and menus


def test_b_bypasses_and_brings_back_what_was_heard(qtbot, started, shown):
    """Silence has no loudness to match: then it is heard as it is, and that is said."""
    ask(started, "bypass b")
    until(qtbot, lambda: shown.link.state["nodes"][2]["bypass"])
    press(qtbot, shown, Qt.Key.Key_B)
    until(qtbot, shown.bypass_action.isChecked)
    assert bypassed(started) == {"a", "limiter", "b"}
    assert shown.bypass_action.text() == "A/B: the input"
    assert "no loudness to match" in shown.message.text()
    assert [node["bypass"] for node in shown._rack_as_it_was()["nodes"]] == [False, False, True]
    press(qtbot, shown, Qt.Key.Key_B)
    until(qtbot, lambda: not shown.bypass_action.isChecked())
    assert bypassed(started) == {"b"}
    ask(started, "unbypass b")


def test_the_input_is_heard_as_loud_as_the_output(qtbot, playing):
    with window(qtbot, playing) as shown:
        until(qtbot, lambda: shown.link.observation.views()["out"].position > 2 * 48_000)
        press(qtbot, shown, Qt.Key.Key_B)
        until(qtbot, shown.bypass_action.isChecked)
        assert shown.bypass_action.text() == "A/B: the input, -6.0 dB"
        shown.match_box.click()
        nodes = [node["name"] for node in shown.link.state["nodes"]]
        unmatched = {"dry": True, "gain": 0.0, "nodes": nodes}
        until(qtbot, lambda: shown.link.state["compare"] == unmatched)
        until(qtbot, lambda: shown.bypass_action.text() == "A/B: the input")
        shown.match_box.click()
        until(qtbot, lambda: shown.bypass_action.text() == "A/B: the input, -6.0 dB")
        assert shown._rack_as_it_was()["nodes"][0]["bypass"] is False
        press(qtbot, shown, Qt.Key.Key_B)
        until(qtbot, lambda: not shown.link.state["compare"]["dry"])


def test_what_is_heard_is_recorded(qtbot, playing):
    folder = Path(os.environ["XDG_DATA_HOME"]) / "rtaudio"
    with window(qtbot, playing) as shown:
        press(qtbot, shown, Qt.Key.Key_R)
        until(qtbot, shown.record_action.isChecked)
        (path,) = shown.link.state["recordings"]
        assert shown.record_action.toolTip() == path
        at = shown.link.observation.views()["out"].position
        until(qtbot, lambda: shown.link.observation.views()["out"].position > at + 48_000)
        press(qtbot, shown, Qt.Key.Key_R)
        until(qtbot, lambda: not shown.record_action.isChecked())
        press(qtbot, shown, Qt.Key.Key_M, Qt.KeyboardModifier.ControlModifier)
        until(qtbot, lambda: list(folder.glob("moments/*/rack.toml")))
    recorded, _ = sf.read(path)
    assert len(recorded) > 40_000
    assert np.sqrt(np.mean(recorded[20_000:40_000] ** 2)) == pytest.approx(0.1 * 10 ** (-6 / 20), rel=0.01)
    assert path == str(next(folder.glob("recordings/*.wav")))


def test_b_is_a_letter_where_text_is_typed(qtbot, started, shown):
    typed = shown.rack.panel("a").control("gain").typed
    shown.activateWindow()
    until(qtbot, shown.isActiveWindow)
    typed.setFocus()
    typed.selectAll()
    qtbot.keyClicks(typed, "b")
    assert typed.text() == "b"
    qtbot.keyClick(typed, Qt.Key.Key_Escape)
    assert typed.text() == "-6 dB"
    assert bypassed(started) == set()


def test_undo_and_redo(qtbot, started, shown):
    ask(started, "set a.pan 0.75")
    press(qtbot, shown, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    until(qtbot, lambda: value(state_of(started), "a.pan") == 0.0)
    both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    press(qtbot, shown, Qt.Key.Key_Z, both)
    until(qtbot, lambda: value(state_of(started), "a.pan") == 0.75)
    ask(started, "set a.pan 0")


def test_racks_are_saved_and_offered(qtbot, shown, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "of mine.toml"
    shown.save_rack("mine")
    shown.save_rack("~/of mine.toml")
    until(qtbot, lambda: str(file) in shown.settings.recent)
    assert load_rack(file).nodes["a"].parameters["gain"] == -6.0
    shown._list_racks()
    offered = [action.data() for action in shown._racks.actions() if action.data()]
    assert {"mine", "dj-remix", str(file)} <= set(offered)
    assert offered.index("mine") < offered.index("dj-remix") < offered.index(str(file))


def test_a_band_that_is_heard_alone_is_not_saved(qtbot, tmp_path):
    with host(chain="gain") as own, window(qtbot, own) as shown:
        ask(own, "insert last band: band")
        until(qtbot, lambda: len(shown.link.state["nodes"]) == 2)
        for name, file in (
            ("all", user_folder() / "all.toml"),
            (str(tmp_path / "a.toml"), tmp_path / "a.toml"),
        ):
            shown.save_rack(name)
            until(qtbot, lambda file=file: file.exists() and "band" not in load_rack(file).nodes)
            assert load_rack(file).edges == ["in -> gain", "gain -> out"]


def test_a_rack_is_not_replaced_unasked(qtbot, shown, tmp_path):
    file = tmp_path / "old.toml"
    file.write_text("old")
    for button in ("Cancel", "Replace"):
        assert file.read_text() == "old"
        shown.save_rack(str(file))
        (question,) = until(qtbot, lambda: shown.findChildren(QMessageBox))
        assert str(file) in question.text()
        (pressed,) = [each for each in question.buttons() if each.text().replace("&", "") == button]
        qtbot.mouseClick(pressed, Qt.MouseButton.LeftButton)
        until(qtbot, lambda: not shown.findChildren(QMessageBox))
    until(qtbot, lambda: shown.message.text() == f"replaced {file}")
    assert "a" in load_rack(file).nodes


def test_a_file_that_was_not_loaded_or_saved_is_not_remembered(qtbot, shown, tmp_path):
    before, broken = shown.settings.recent, tmp_path / "broken.toml"
    broken.write_text("version = 99\n")
    for act, path in ((shown.open_rack, broken), (shown.save_rack, tmp_path / "nowhere" / "a.toml")):
        shown.say("", False)
        act(str(path))
        until(qtbot, lambda: shown.message.text().startswith("⚠ "))
    assert shown.settings.recent == before


def test_a_rack_is_loaded_from_the_menu(qtbot, tmp_path):
    file = tmp_path / "two.toml"
    file.write_text('version = 2\n[nodes.only]\nengine = "gain"\n')
    with host() as own, window(qtbot, own) as shown:
        shown.settings.add_recent(str(file))
        shown.settings.add_recent("other.toml")
        shown._list_racks()
        action = next(action for action in shown._racks.actions() if action.data() == str(file))
        action.trigger()
        until(qtbot, lambda: [node["name"] for node in shown.link.state["nodes"]] == ["only"])
        until(qtbot, lambda: list(shown.rack.names) == ["only"])
        until(qtbot, lambda: shown.settings.recent[:2] == [str(file), "other.toml"])


def test_f1_lists_every_key(qtbot, shown):
    press(qtbot, shown, Qt.Key.Key_F1)
    (dialog,) = shown.findChildren(QDialog)
    (table,) = dialog.findChildren(QTableWidget)
    listed = {table.item(row, 0).text() for row in range(table.rowCount())}
    actions = {action.shortcut().toString() for action in shown.findChildren(QAction)}
    assert actions - {""} <= listed
    assert {"B", "F1", "F5", "Ctrl+S", "Ctrl+Z", "Ctrl+Shift+Z", "Ctrl+1", "Delete"} <= {
        key for keys in listed for key in keys.replace(";", ",").split(", ")
    }
    dialog.close()


# What it remembers


def test_settings_are_remembered(qtbot, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with window(qtbot) as first:
        first._set_frame_rate(60)
        first._set_theme("light")
        first._set_map("cividis")
        first._keep_playing(True)
        first.findChild(Render).tail.setChecked(True)
        first.resize(790, 640)
        size = first.size()
        set_theme("dark")
    found = Settings()
    assert (found.frame_rate, found.theme, found.colour_map, found.keep_playing) == (
        60,
        "light",
        "cividis",
        True,
    )
    with window(qtbot) as second:
        assert second.size() == size
        assert second.findChild(Render).tail.isChecked()
        assert second._timer.interval() == round(1000 / 60)


def test_what_is_not_known_is_the_default(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "rtaudio" / "window.ini"
    file.parent.mkdir()
    file.write_text(
        "[General]\ntheme=pink\nframe_rate=1e9\ncolour_map=@Invalid()\nwindow=7\nrecent=one\n"
        "view_Remix=[1]\nview_Render={\n"
    )
    found = Settings()
    assert found.of_view("Remix") == found.of_view("Render") == found.of_view("Speak") == {}
    assert (found.theme, found.frame_rate, found.colour_map) == ("dark", 30, "magma")
    assert found.recent == ["one"]
    assert found.geometry("window").isEmpty()


def test_it_rests_while_nobody_sees_it(qtbot, shown):
    assert shown._timer.interval() == round(1000 / 30)
    shown.showMinimized()
    until(qtbot, lambda: shown._timer.interval() == IDLE_MS)
    shown.showNormal()
    until(qtbot, lambda: shown._timer.interval() == round(1000 / 30))
    shown.hide()
    assert shown._timer.interval() == IDLE_MS
    shown.show()
    assert shown._timer.interval() == round(1000 / 30)


# Hosts that it starts


def test_it_starts_a_host_and_ends_it(qtbot, ends):
    with window(qtbot, options=["--api=null", "--chain=limiter(ceiling=-3)"]) as shown:
        shown.start()
        assert shown.banner.isVisible()
        pid = shown.process.pid
        ends.append(pid)
        until(qtbot, lambda: shown.link.state)
        assert shown.link.pid == pid in hosts()
        assert os.getsid(pid) == pid  # What ends the terminal's programs does not end it.
        assert not shown.banner.isVisible()
        assert value(shown.link.state, "limiter.ceiling") == -3.0
        assert (state_folder() / "live.log").read_text().startswith("READY")
    assert not lives(pid)
    assert pid not in hosts()


def test_a_host_that_is_to_keep_playing_does(qtbot, started, ends):
    with window(qtbot, options=["--api=null", "--chain=gain"]) as shown:
        shown.settings.keep_playing = True
        shown.start()
        pid = shown.process.pid
        ends.append(pid)
        until(qtbot, lambda: shown.link.state)
    Settings().keep_playing = False
    assert shown.left.startswith(f"the host in process {pid} plays on, as the menu Host has it: ")
    assert lives(pid)
    assert pid in hosts()
    assert left_hosts() == [pid]
    with window(qtbot, started) as other:
        until(qtbot, lambda: f"process {pid} plays on without a window: 'rtaudio gui" in other.message.text())
        with window(qtbot) as second:
            second.attach(pid)
            until(qtbot, lambda: second.link.state)
            assert left_hosts() == []
            with window(qtbot) as third:
                third.attach(pid)
                until(qtbot, lambda: third.link.state)
            assert lives(pid)
        assert not lives(pid)


def test_one_that_was_there_before_is_left_alone_and_that_is_said(qtbot, started, capsys, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    watch = QTimer()
    pid = started.process.pid

    @watch.timeout.connect
    def close_it():
        for each in QApplication.topLevelWidgets():
            if isinstance(each, Window) and each.isVisible() and each.link.state:
                each.close()

    watch.start(20)
    assert command.run(parsed("--pid", str(pid))) == 0
    watch.stop()
    how = f"plays on, since this window has not started it: 'rtaudio ctl --pid {pid} quit' ends it"
    assert capsys.readouterr().err == f"the host in process {pid} {how}\n"
    assert started.process.poll() is None
    assert state_of(started)["pid"] == pid


def test_why_a_host_does_not_start_is_said(qtbot):
    with window(qtbot, options=["--api=null", "--chain=limitr"]) as shown:
        shown.start()
        until(qtbot, shown._banner_button.isVisible)
        assert "did you mean 'limiter'" in shown._banner_text.text()
        assert shown.start_action.isEnabled()


def test_a_host_that_is_killed_is_said_and_started_again_as_it_was(qtbot, ends):
    with window(qtbot, options=["--api=null", "--chain=gain(gain=-6) | limiter"]) as shown:
        shown.start()
        ends.append(shown.process.pid)
        until(qtbot, lambda: shown.link.state)
        first = shown.link.pid
        for line in ("set gain.pan -0.5", "mute limiter", "move limiter before gain"):
            shown.link.send(line)
        until(qtbot, lambda: [node["name"] for node in shown.link.state["nodes"]] == ["limiter", "gain"])
        until(qtbot, lambda: shown.link.state["nodes"][0]["mute"])
        before = shown.link.state
        until(qtbot, lambda: "xrun" in shown.xruns_button.text())
        os.kill(first, signal.SIGKILL)
        until(qtbot, shown.banner.isVisible)
        assert shown.xruns_button.text() == "no host"
        assert shown.message.text().startswith("⚠ the host ")
        until(qtbot, shown.start_action.isEnabled)
        assert shown._banner_text.text() == "the host was ended by SIGKILL: nothing is heard"
        qtbot.mouseClick(shown._banner_button, Qt.MouseButton.LeftButton)
        until(qtbot, lambda: shown.link.state)
        ends.append(shown.link.pid)
        assert shown.link.pid != first
        assert shown.link.state["nodes"] == before["nodes"]
        assert shown.link.state["edges"] == before["edges"]
        assert not shown.banner.isVisible()
        shown.link._readable.setEnabled(False)  # The end of the process is noticed first.
        os.kill(shown.link.pid, signal.SIGKILL)
        until(qtbot, shown.banner.isVisible)
        assert shown._banner_text.text() == "the host was ended by SIGKILL: nothing is heard"
        assert not shown.link.pid


def test_a_host_that_hangs_is_said_and_can_be_ended_and_started_as_it_was(qtbot, ends, monkeypatch):
    monkeypatch.setattr(link, "LOOK_MS", 50)
    with window(qtbot, options=["--api=null", "--chain=gain(gain=-6)"]) as shown:
        shown.start()
        ends.append(shown.process.pid)
        until(qtbot, lambda: shown.link.state)
        first = shown.link.pid
        shown.link.send("set gain.pan -0.5")
        until(qtbot, lambda: value(shown.link.state, "gain.pan") == -0.5)
        os.kill(first, signal.SIGSTOP)
        until(qtbot, shown._end_button.isVisible)
        hangs = f"the host (process {first}) has not answered for 3 s"
        assert shown._banner_text.text() == f"{hangs}: nothing is heard"
        assert not shown._banner_button.isVisible()
        os.kill(first, signal.SIGCONT)
        until(qtbot, lambda: not shown.banner.isVisible())
        assert shown.message.text() == "the host answers again"
        os.kill(first, signal.SIGSTOP)
        until(qtbot, shown._end_button.isVisible)
        qtbot.mouseClick(shown._end_button, Qt.MouseButton.LeftButton)
        until(qtbot, lambda: not lives(first) and shown.start_action.isEnabled())
        assert shown._banner_text.text() == "stopped"
        assert value(shown._rack_as_it_was(), "gain.pan") == -0.5


def test_a_file_is_played_through_the_rack_that_there_is(qtbot, ends, tmp_path):
    file = tone(tmp_path)
    with window(qtbot, options=["--api=null", "--chain=gain(gain=-6) | limiter"]) as shown:
        shown.start()
        ends.append(shown.process.pid)
        first = until(qtbot, lambda: shown.link.state and shown.link.pid)
        shown.link.send("set gain.pan -0.5")
        until(qtbot, lambda: value(shown.link.state, "gain.pan") == -0.5)
        shown.play_file(str(file), with_stems=True)
        until(qtbot, lambda: shown.link.state.get("deck"))
        second = shown.link.pid
        ends.append(second)
        assert second != first
        deck = shown.link.state["deck"]
        assert (deck["file"], deck["loop"]) == (str(file), [0.0, 2.0])
        until(qtbot, lambda: list(shown.rack.names) == ["gain", "remix", "limiter"])
        assert value(shown.link.state, "gain.gain") == -6.0
        assert value(shown.link.state, "gain.pan") == -0.5
        shown.link.send("undo")
        until(qtbot, lambda: list(shown.rack.names) == ["gain", "limiter"])
        other = tmp_path / "other.wav"
        other.write_bytes(file.read_bytes())
        shown.play_file(str(other))
        until(qtbot, lambda: shown.link.state["deck"]["file"] == str(other))
        assert shown.link.pid == second
        assert list(shown.rack.names) == ["gain", "limiter"]
        shown.play_file(str(tmp_path))
        assert shown.message.text().startswith("⚠ ")
        assert shown.link.pid == second
        # Where the host that is to follow does not start, the one before is started again.
        shown.play_through({"api": "alsa", "output": "no such card"})
        until(qtbot, lambda: not shown.link.pid)
        until(qtbot, lambda: shown.link.state)
        ends.append(shown.link.pid)
        assert shown.link.pid != second
        assert shown.message.text().startswith("⚠ alsa no such card: ")
        assert "; what played before plays again" in shown.message.text()
        assert shown.link.state["device"]["api"] == "null"
        assert shown.link.state["deck"]["file"] == str(other)
        assert value(shown.link.state, "gain.gain") == -6.0


def test_another_device_goes_on_where_the_deck_was(qtbot, ends, tmp_path):
    options = ["--api=null", "--chain=gain", f"--file={tone(tmp_path)}", "--loop"]
    with window(qtbot, options=options) as shown:
        shown.start()
        ends.append(shown.process.pid)
        first = until(qtbot, lambda: shown.link.state and shown.link.pid)
        for line in ("cue set 0.5", "pause", "seek 1.25"):
            shown.link.send(line)
        until(qtbot, lambda: shown.link.deck["position"] == pytest.approx(1.25, abs=0.05))
        shown.play_through({"api": "null", "block": "64"})
        until(qtbot, lambda: shown.link.pid not in (0, first) and shown.link.state)
        ends.append(shown.link.pid)
        until(qtbot, lambda: not shown.link.state["deck"]["playing"])
        until(qtbot, lambda: shown.link.state["deck"]["position"] == pytest.approx(1.25, abs=0.05))
        assert shown.link.state["deck"]["cue"] == 0.5
        assert shown.link.state["block"] == 64


def question(qtbot, shown):
    """What is asked, and what its button and Cancel are."""
    (asked,) = until(qtbot, lambda: shown.findChildren(QMessageBox))
    return asked, {each.text().replace("&", ""): each for each in asked.buttons()}


def test_it_asks_before_it_ends_a_host_that_is_not_its_own(qtbot, started, shown):
    pid = started.process.pid
    shown.play_through({"api": "null", "block": "64"})
    asked, buttons = question(qtbot, shown)
    assert asked.text().startswith(f"The host in process {pid} was not started by this window. ")
    buttons["Cancel"].click()
    until(qtbot, lambda: not shown.findChildren(QMessageBox))
    assert shown.link.pid == pid
    assert started.process.poll() is None


def test_it_asks_before_it_ends_a_recording_or_what_another_window_shows(qtbot, ends, monkeypatch, tmp_path):
    with window(qtbot, options=["--api=null", "--chain=gain"]) as first:
        first.start()
        pid = first.process.pid
        ends.append(pid)
        until(qtbot, lambda: first.link.state)
        first.link.send(f"record {tmp_path / 'a.wav'}")
        until(qtbot, first.record_action.isChecked)
        first.play_through({"api": "null", "block": "64"})
        asked, buttons = question(qtbot, first)
        assert f"process {pid} records to {tmp_path / 'a.wav'}. " in asked.text()
        buttons["Cancel"].click()
        until(qtbot, lambda: not first.findChildren(QMessageBox))
        with window(qtbot) as second:
            second.attach(pid)
            until(qtbot, lambda: second.link.state)
            asked = []
            no = QMessageBox.StandardButton.No
            monkeypatch.setattr(QMessageBox, "question", lambda *words: asked.append(words[2]) or no)
            first.close()
            assert asked == [f"Another window shows the host in process {pid}, too. Is its sound to end?"]
            assert first.left.startswith(f"the host in process {pid} plays on, in another window: ")
            assert lives(pid)
        assert len(asked) == 1
        assert not lives(pid)


def test_one_that_has_to_go_asks_nothing_and_leaves_the_host_to_another_window(qtbot, ends, monkeypatch):
    monkeypatch.setattr(QMessageBox, "question", lambda *words: pytest.fail("it asks"))
    with window(qtbot, options=["--api=null", "--chain=gain"]) as first:
        first.start()
        pid = first.process.pid
        ends.append(pid)
        until(qtbot, lambda: first.link.state)
        with window(qtbot) as second:
            second.attach(pid)
            until(qtbot, lambda: second.link.state)
            first.leave()
            assert not first.isVisible()
            assert lives(pid)
    assert not lives(pid)


def test_stop_and_start(qtbot, ends):
    with window(qtbot, options=["--api=null", "--chain=gain"]) as shown:
        shown.start()
        pid = shown.process.pid
        ends.append(pid)
        until(qtbot, lambda: shown.link.state)
        shown.stop()
        until(qtbot, lambda: not shown.link.pid)
        assert shown._banner_text.text() == "stopped"
        until(qtbot, lambda: not lives(pid) and shown.start_action.isEnabled())
        assert shown._banner_text.text() == "stopped"
        press(qtbot, shown, Qt.Key.Key_F5)
        ends.append(shown.process.pid)
        assert ends[1]


def test_the_sound_goes_on_when_the_window_is_killed(qtbot, ends, monkeypatch, tmp_path):
    own_folders(tmp_path, monkeypatch)
    program = subprocess.Popen([*PROGRAM, "--api", "null", "--chain", "gain"], stderr=subprocess.DEVNULL)
    ends.append(program.pid)
    (pid,) = until(qtbot, hosts)
    ends.append(pid)
    program.kill()
    program.wait()
    assert command._host(None, []) == pid
    assert command._started_with(["--chain", "gain", "--api=null", command.STAY]) == pid
    assert command._started_with(["--api=null", "--chain=gain(gain=-1)", command.STAY]) is None
    with monkeypatch.context() as elsewhere:
        elsewhere.chdir(tmp_path)
        assert command._started_with(["--api=null", "--chain=gain", command.STAY]) is None
    assert left_hosts() == [pid]
    left = tmp_path / "data_home" / "rtaudio" / "recordings" / ".a.wav.0123abcd.part"
    left.parent.mkdir(parents=True)
    left.touch()
    os.utime(left, (0, 0))
    with window(qtbot) as shown:
        shown.attach(pid, "it was there")
        until(qtbot, lambda: shown.link.state)
        assert shown.message.text().startswith(f"it was there; {left} was begun and never ended: ")
        assert left_hosts() == []
        blocks = shown.link.observation.blocks
        until(qtbot, lambda: shown.link.observation.blocks > blocks)
        assert sorted(shown._options) == ["--api=null", "--chain=gain", command.STAY]
    assert not lives(pid)
    assert shown.left == ""


def test_logs_of_hosts_do_not_mix(qtbot, ends):
    application()
    first, second = HostProcess(), HostProcess()
    for process in (first, second):
        process.start(["--api=null", "--chain=gain"])
        ends.append(process.pid)
    files = sorted(state_folder().glob("live*.log"))
    assert [os.readlink(f"/proc/{process.pid}/fd/2") for process in (first, second)] == [
        str(state_folder() / name) for name in ("live.log", "live-1.log")
    ]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    first.end()
    second.end()
    assert not lives(ends[0])


# The rack as it last was


def test_options_of_a_host(started):
    assert options_of(started.process.pid) == (["--api", "null", "--chain", CHAIN], os.getcwd())
    assert chain_of(["--chain", "a", "--chain=b | c"]) == "b | c"
    with pytest.raises(UserError, match="process 0 runs no live host"):
        options_of(0)


@pytest.mark.parametrize(
    ("loop", "wanted"),
    [
        ([0.0, 9.0], ["--loop", "--start=4.000"]),
        ([2.0, 3.5], ["--loop=2.0:3.5"]),
        ([2.0, 6.0], ["--loop=2.0:6.0", "--start=4.000"]),
        (None, ["--start=4.000"]),
    ],
)
def test_what_the_deck_played_last_is_played_again(started, tmp_path, loop, wanted):
    deck = {"file": "/b c.wav", "position": 4.0, "duration": 9.0, "playing": True, "loop": loop, "cue": 0.0}
    given = ["--file", "a.wav", "--loop", "1:2", "--start=3", "--block", "64"]
    found = options_again(given, state_of(started) | {"deck": deck}, str(tmp_path))
    assert found[:-1] == ["--block", "64", "--file=/b c.wav", *wanted]


def test_a_deck_goes_on_as_another_did():
    before = {"file": "/a.wav", "position": 4.0, "playing": False, "cue": 1.5}
    assert deck_lines(before, {"file": "/a.wav"}) == ["cue set 1.500", "pause", "seek 4.000"]
    assert deck_lines(before | {"playing": True}, {"file": "/a.wav"}) == ["cue set 1.500"]
    assert deck_lines(before, {"file": "/b.wav"}) == []


def test_what_is_set_inside_of_a_composite_comes_back(tmp_path):
    with host(chain="remix(percussive_insert='delay(time=100)')") as started:
        with connect(started.process.pid) as connection, connection.makefile("rb") as answers:
            connection.sendall(b"set remix/percussive/delay.mix 0.6\n")
            assert json.loads(answers.readline())["ok"]
        options_again([], state_of(started), str(tmp_path))
    assert load_rack(state_folder() / LAST).nodes["remix"].inside["percussive/delay.mix"] == 0.6


def test_options_again(started, tmp_path):
    state = state_of(started)
    given = [
        "--api",
        "null",
        "--record",
        "a.wav",
        "--chain",
        "x",
        "--howl-guard",
        "--record-input=b.wav",
        "--loop",
    ]
    assert options_again(given, {}, "") == given
    chain = f"--chain={state_folder() / LAST}"
    assert options_again(given, state, str(tmp_path)) == ["--api", "null", "--loop", chain]
    rack = load_rack(state_folder() / LAST)
    assert list(rack.nodes) == ["a", "limiter", "b"]
    assert rack.nodes["a"].parameters == {"gain": -6.0}


def test_a_file_takes_the_place_of_the_input_and_the_rest_stays():
    given = [
        "--api",
        "null",
        "--input",
        "3",
        "--map=in=1",
        "--midi",
        "--howl-guard",
        "--chain",
        "x",
        "--channels",
        "2",
    ]
    kept = ["--api", "null", "--midi", "--chain", "x"]
    assert options_for("/a b.wav", given) == [*kept, "--file=/a b.wav", "--loop"]
    assert options_for("/a.wav", ["--file", "/b.wav", "--start=2", "--loop", "1:2"])[:2] == [
        "--file=/a.wav",
        "--loop",
    ]


def test_without_a_microphone_its_guard_is_bypassed(started):
    state = state_of(started)
    state["nodes"][1] |= {"engine": "howl"}
    heard = with_file(state, "/a.wav", 2.5)
    assert [node["bypass"] for node in heard["nodes"]] == [False, True, False]
    assert state["nodes"][1]["bypass"] is False
    assert options_again([], heard, "")[:2] == ["--file=/a.wav", "--loop"]


def test_a_rack_keeps_what_it_has_besides_nodes(started, tmp_path):
    file = tmp_path / "named.toml"
    file.write_text('version = 2\nname = "Of mine"\n[device]\nblock = 64\n[nodes.x]\nengine = "gain"\n')
    options_again(["--chain", "named.toml"], state_of(started), str(tmp_path))
    rack = load_rack(state_folder() / LAST)
    assert (rack.name, rack.device.block, list(rack.nodes)) == ("Of mine", 64, ["a", "limiter", "b"])


# The command


def parsed(*words):
    parser = Parser(prog="rtaudio")
    command.command(parser.add_subparsers(parser_class=Parser))
    return parser.parse_args(["gui", *words])


def test_options_are_handed_on():
    words = [
        "--api=null",
        "--file=a b.wav",
        "--loop",
        "--chain=x | y",
        "--howl-guard",
        "--midi=nano",
        "--block=64",
    ]
    assert sorted(command.live_options(parsed(*words))) == sorted(words)
    assert command.live_options(parsed()) == []


def test_which_host_it_shows(started, playing):
    with pytest.raises(UserError, match=f"{playing.process.pid}.*say which with --pid"):
        command._host(None, [])
    assert command._host(started.process.pid, []) == started.process.pid
    assert command._host(None, ["--api=null"]) is None
    with pytest.raises(UserError, match="--pid shows a host that runs: leave --api=null out"):
        command._host(started.process.pid, ["--api=null"])
    with pytest.raises(UserError, match="process 1 runs no live host"):
        command._host(1, [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--block", "x"], "rtaudio live: argument --block: 'x' is not a whole number above 0"),
        (["--api", "oss"], "rtaudio live: argument --api: invalid choice: 'oss'"),
        (["--file", "nowhere.wav"], "rtaudio: nowhere.wav: no such file"),
        (["--pid", "1"], "rtaudio: process 1 runs no live host of yours"),
        (["--api", "null"], "rtaudio: there is no display: 'rtaudio live' plays without a window"),
    ],
)
def test_mistakes_are_said_in_a_line(words, said):
    env = {key: text for key, text in os.environ.items() if "DISPLAY" not in key and key != "QT_QPA_PLATFORM"}
    done = subprocess.run(
        [*PROGRAM, *words], env=env, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_display_that_does_not_answer_is_said():
    env = {key: text for key, text in os.environ.items() if "DISPLAY" not in key and key != "QT_QPA_PLATFORM"}
    done = subprocess.run(
        [*PROGRAM, "--api", "null"],
        env=env | {"DISPLAY": ":9999"},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("rtaudio: the display cannot be used: DISPLAY=:9999")


# For everybody


def luminance(colour):
    """Relative luminance (WCAG 2.1)."""
    parts = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.getRgbF()[:3]
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrast(one, other):
    bright, dark = sorted((luminance(QColor(one)), luminance(QColor(other))), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_contrast(theme):
    role, colours = QPalette.ColorRole, palette(theme)
    grounds = [colours.color(each) for each in (role.Window, role.Base, role.AlternateBase)]
    for text in (
        role.WindowText,
        role.Text,
        role.ButtonText,
        role.PlaceholderText,
        role.BrightText,
        role.Link,
    ):
        for ground in grounds:
            assert contrast(colours.color(text), ground) >= 4.5, text
    assert contrast(colours.color(role.ButtonText), colours.color(role.Button)) >= 4.5
    assert contrast(colours.color(role.HighlightedText), colours.color(role.Highlight)) >= 4.5
    assert contrast(colours.color(role.ToolTipText), colours.color(role.ToolTipBase)) >= 4.5
    for ground in grounds:
        assert contrast(OUTLINE[theme], ground) >= 3.0
        assert contrast(FAINT[theme], ground) >= 3.0


def test_nothing_is_white_in_the_dark(qtbot, shown):
    picture = shown.grab().toImage()
    points = [(x, y) for x in range(0, picture.width(), 3) for y in range(0, picture.height(), 3)]
    bright = sum(luminance(picture.pixelColor(x, y)) > 0.5 for x, y in points)
    assert bright < 0.03 * len(points)


def test_the_window_has_its_icon(qtbot, shown):
    """At every size that a title bar or a task bar asks for; neither empty nor of one colour."""
    for size in (16, 48, 256):
        drawn = shown.windowIcon().pixmap(size).toImage()
        assert drawn.width() >= size
        colours = {drawn.pixelColor(x, size // 2).name() for x in range(size)}
        assert len(colours) > 3


def test_the_font_of_bangla_has_its_letters():
    application()
    raw = QRawFont(str(FONTS / "NotoSansBengali-Regular.ttf"), 16.0)
    assert raw.familyName() == BANGLA == QRawFont.fromFont(QFont(BANGLA)).familyName()
    text = "আমি বাংলায় গান গাই। ক্ষ জ্ঞ হৃদয় ০১২৩৪৫৬৭৮৯ ৳ ড় ঢ় য় ৎ ং ঃ ঁ"
    missing = [letter for letter in text if not letter.isspace() and not raw.supportsCharacter(ord(letter))]
    assert missing == []
    assert BANGLA in QApplication.font().families()
    assert "SIL OPEN FONT LICENSE" in (FONTS / "OFL.txt").read_text()


def test_everything_has_a_name_and_is_reached_by_tab(qtbot, shown):
    kinds = (QAbstractButton, QAbstractSlider, QComboBox, QLineEdit)
    controls = [
        each
        for kind in kinds
        for each in shown.findChildren(kind)
        if each.isVisible() and each.isEnabled() and not each.objectName().startswith("qt_")
    ]
    controls = [each for each in controls if type(each).__module__.startswith("gui") or each.focusPolicy()]
    assert len(controls) > 20
    nameless = [each for each in controls if not (each.accessibleName() or getattr(each, "text", str)())]
    assert nameless == []
    reached, widget = set(), shown
    while widget not in reached:
        reached.add(widget)
        widget = widget.nextInFocusChain()
    assert [each for each in controls if each not in reached] == []
    assert [each for each in controls if not each.focusPolicy() & Qt.FocusPolicy.TabFocus] == []


def test_it_opens_and_closes_twenty_times(qtbot, started):
    """Without anything left over; what tests before it have left may go meanwhile."""
    counts, files = [], []
    for _ in range(20):
        with window(qtbot, started):
            pass
        files.append(len(os.listdir("/proc/self/fd")))
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        gc.collect()
        counts.append(len(QApplication.allWidgets()))
    assert counts[-1] <= counts[2]
    assert files[-1] <= files[2]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="from 3.12 on these objects are not counted")
def test_qt_keeps_references(qtbot):
    """PySide6 6.12.0 lost one of None, or of True, with every call of these kinds, until Python crashed."""

    class Source(QObject):
        plain, flag = Signal(), Signal(bool)

    application()
    source, label = Source(), QLabel()
    source.plain.connect(lambda: None)
    source.flag.connect(lambda on: None)
    before = [sys.getrefcount(each) for each in (None, True, False)]
    for _ in range(500):
        source.plain.emit()
        source.flag.emit(True)
        label.update()
        label.isVisible()
        label.parent()
    after = [sys.getrefcount(each) for each in (None, True, False)]
    assert all(abs(now - then) < 100 for then, now in zip(before, after, strict=True))
