"""The view Remix with a host that plays: what faders and keys do to the stems, as their meters measure it."""

import json
import math
from contextlib import ExitStack

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QMimeData, QObject, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QKeyEvent
from PySide6.QtWidgets import QApplication, QMessageBox, QWidget
from sound_files import RATE, write
from window import attached, folders, host, until, window

from gui.link import Link
from gui.recovery import options_for
from gui.remix import Remix

__all__ = ["folders"]


@pytest.fixture(scope="module")
def tone(folders):
    """A sine whose end goes on with its start: it is harmonic, and as loud at any time."""
    at = np.arange(4 * RATE)
    return write(folders / "tone.wav", (0.25 * np.sin(at * 2 * np.pi * 440 / RATE)).astype(np.float32))


@pytest.fixture(scope="module")
def playing(tone):
    """A host that plays for all tests here."""
    with host("--file", tone, "--loop", chain="remix(preset=live)") as started:
        yield started


@pytest.fixture
def view(qtbot, playing):
    with attached(qtbot, playing) as link:
        view = shown(qtbot, link)
        settled(qtbot, view, FULL)
        yield view
        until(qtbot, lambda: not link._values)
        for name in ("harmonic_gain", "harmonic_kill", "percussive_gain", "percussive_kill", "crossfade"):
            link.send(f"set remix.{name} 0")
        until(qtbot, lambda: not link._asked)


def shown(qtbot, link):
    view = Remix(link)
    view.link = link
    qtbot.addWidget(view)
    view.resize(900, 640)
    view.show()
    view.activateWindow()
    qtbot.waitUntil(view.isActiveWindow)
    return view


def level(view, stem="harmonic"):
    """dB of a stem's view in the last 300 ms."""
    view.refresh()
    rms = float(view.link.observation.meters(f"remix/{stem}").rms.max())
    return 20 * math.log10(max(rms, 1e-9))


def settled(qtbot, view, expected, stem="harmonic"):
    """Wait until a stem has a level."""
    until(qtbot, lambda: abs(level(view, stem) - expected) < 0.05)


def value(qtbot, view, path):
    answers = []
    view.link.send(f"get {path}", answers.append)
    until(qtbot, lambda: answers)
    return answers[0]["value"]


FULL = 20 * math.log10(0.25 / math.sqrt(2))


def test_a_fader_moves_the_stem_by_as_many_db(qtbot, view):
    harmonic = view.strips[0]
    harmonic.fader.setFocus()
    for _ in range(24):
        qtbot.keyClick(harmonic.fader, Qt.Key.Key_Down)
    assert harmonic.value.text() == "−12.0 dB"
    settled(qtbot, view, FULL - 12)
    assert value(qtbot, view, "remix.harmonic_gain") == -12
    qtbot.keyClick(harmonic.fader, Qt.Key.Key_Up)
    settled(qtbot, view, FULL - 11.5)
    qtbot.keyClick(harmonic.fader, Qt.Key.Key_Home)
    qtbot.keyClick(harmonic.fader, Qt.Key.Key_End)
    qtbot.keyClick(harmonic.fader, Qt.Key.Key_Home)
    qtbot.keyClick(harmonic.fader, Qt.Key.Key_Delete)
    settled(qtbot, view, FULL)


def test_the_lower_end_is_silence(qtbot, view):
    view.strips[0].fader.setValue(view.strips[0].fader.minimum())
    assert view.strips[0].value.text() == "−∞ dB"
    settled(qtbot, view, -180)
    assert value(qtbot, view, "remix.harmonic_gain") == -100


def test_a_kill_key_kills_while_it_is_held(qtbot, view):
    qtbot.keyPress(view, Qt.Key.Key_1)
    assert view.strips[0].kill.isChecked()
    settled(qtbot, view, -180)
    qtbot.keyRelease(view, Qt.Key.Key_1)
    assert not view.strips[0].kill.isChecked()
    settled(qtbot, view, FULL)
    view.strips[0].kill.click()
    settled(qtbot, view, -180)
    assert value(qtbot, view, "remix.harmonic_kill")
    qtbot.keyClick(view, Qt.Key.Key_1)
    settled(qtbot, view, FULL)


def test_a_kill_key_that_is_another_key_when_it_is_let_go(qtbot, view):
    """Where digits are shifted, and Shift is let go first: its scan code tells, which P has not."""

    def send(kind, key, code, text=""):
        event = QKeyEvent(kind, key, Qt.KeyboardModifier.NoModifier, code, 0, 0, text)
        QApplication.sendEvent(view, event)

    pressed, released = QEvent.Type.KeyPress, QEvent.Type.KeyRelease
    qtbot.keyPress(view, Qt.Key.Key_1)
    assert view.strips[0].kill.isChecked()
    settled(qtbot, view, -180)
    send(pressed, Qt.Key.Key_X, 53, "x")
    send(released, Qt.Key.Key_X, 53)
    send(released, Qt.Key.Key_Shift, 50)
    assert view.strips[0].kill.isChecked()
    send(QEvent.Type.ShortcutOverride, Qt.Key.Key_2, 11, "2")
    view._press(1)
    send(released, Qt.Key.Key_Eacute, 11)
    assert [strip.kill.isChecked() for strip in view.strips[:2]] == [True, False]
    send(released, Qt.Key.Key_Ampersand, 10)
    assert not view.strips[0].kill.isChecked()
    settled(qtbot, view, FULL)


def test_letters_in_a_box_of_choices_look_for_an_entry(qtbot, view):
    view.layers.setFocus()
    qtbot.keyClick(view.layers, Qt.Key.Key_S)
    assert view.layers.currentText() == "stacked"
    qtbot.keyPress(view.layers, Qt.Key.Key_1)
    assert not view._held
    qtbot.keyRelease(view.layers, Qt.Key.Key_1)
    view.layers.setCurrentIndex(0)


def drop(widget, path):
    """Drop a file in the middle of a widget: what takes it is asked first, then what that lies in."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    while widget is not None and not widget.acceptDrops():
        widget = widget.parentWidget()
    event = QDragEnterEvent(QPoint(1, 1), Qt.DropAction.CopyAction, data, buttons, keys)
    QApplication.sendEvent(widget, event)
    assert event.isAccepted()
    QApplication.sendEvent(widget, QDropEvent(QPointF(1, 1), Qt.DropAction.CopyAction, data, buttons, keys))


@pytest.mark.parametrize("where", ["deck", "crossfader"])
def test_a_file_is_dropped_anywhere(qtbot, view, tone, folders, where):
    other = write(folders / f"{where}.wav", np.zeros(RATE, np.float32))
    for path in (other, tone):
        drop(getattr(view, where), path)
        until(qtbot, lambda path=path: view.link.state["deck"]["file"] == str(path))


def test_how_it_was_is_remembered(view):
    view.layers.setCurrentIndex(1)
    view.controls.low.setValue(-70)
    view.controls.seconds.setCurrentIndex(2)
    view.deck.folder = "/songs"
    other = Remix(Link())
    other.restore(json.loads(json.dumps(view.kept())))
    assert (other.layers.currentText(), other.deck.folder) == ("stacked", "/songs")
    assert other.controls.kept() == view.controls.kept()
    before = other.kept()
    other.restore({"low": "loud", "seconds": None, "layers": "none", "folder": "/songs"})
    assert other.kept() == before | {"seconds": 0}
    view.layers.setCurrentIndex(0)


def test_a_key_that_is_held_while_the_window_loses_the_focus_is_let_go(qtbot, view):
    other = QWidget()
    qtbot.addWidget(other)
    qtbot.keyPress(view, Qt.Key.Key_2)
    assert view.strips[1].kill.isChecked()
    other.show()
    other.activateWindow()
    until(qtbot, lambda: not view.strips[1].kill.isChecked())
    until(qtbot, lambda: not value(qtbot, view, "remix.percussive_kill"))


def test_mute_solo_and_crossfader(qtbot, view):
    view.strips[0].mute.click()
    settled(qtbot, view, -180)
    view.strips[0].mute.click()
    settled(qtbot, view, FULL)
    view.strips[1].solo.click()
    settled(qtbot, view, -180)
    view.strips[1].solo.click()
    settled(qtbot, view, FULL)
    view.crossfader.setFocus()
    qtbot.keyClick(view.crossfader, Qt.Key.Key_End)
    settled(qtbot, view, -180)
    assert value(qtbot, view, "remix.crossfade") == 1.0
    qtbot.keyClick(view.crossfader, Qt.Key.Key_Delete)
    settled(qtbot, view, FULL)


def test_what_others_set_is_shown(qtbot, view):
    percussive = view.strips[1]
    view.link.send("set remix.percussive_gain -20.5")
    view.link.send("set remix.percussive_mute 1")
    view.link.send("set remix.crossfade -0.25")
    until(qtbot, lambda: percussive.fader.held == -20.5 and percussive.mute.isChecked())
    assert percussive.value.text() == "−20.5 dB"
    until(qtbot, lambda: view.crossfader.held == -0.25)
    view.link.send("undo")
    until(qtbot, lambda: view.crossfader.held == 0)
    assert value(qtbot, view, "remix.percussive_gain") == -20.5
    percussive.mute.click()
    until(qtbot, lambda: value(qtbot, view, "remix.percussive_mute") == 0)


def test_levels_are_drawn_as_they_are(qtbot, view):
    view.refresh()
    bar = view.strips[0].level
    assert bar._rms == pytest.approx(FULL, abs=0.05)
    assert bar._peak == pytest.approx(20 * math.log10(0.25), abs=0.5)
    image = bar.grab().toImage()
    top = next(y for y in range(image.height() // 4, image.height()) if image.pixelColor(7, y).blue() > 200)
    drawn = 6 - top * 66 / image.height()
    assert drawn == pytest.approx(20 * math.log10(0.25), abs=1.0)  # The peak's line, then the bar.


def test_a_rack_without_remix_can_be_given_one(qtbot, tone):
    """Before the limiter, and once, however often the button is pressed while it loads."""
    chain = "gain | limiter"
    with host("--file", tone, "--loop", chain=chain) as started, attached(qtbot, started) as link:
        view = shown(qtbot, link)
        assert view.stack.currentIndex() == 0
        assert view.insert.isEnabled()
        view.insert.click()
        view.insert.click()
        until(qtbot, lambda: link.state["loading"])
        assert not view.insert.isEnabled()
        until(qtbot, lambda: view.stack.currentIndex() == 1)
        until(qtbot, lambda: not link.state["loading"])
        assert [node["name"] for node in link.state["nodes"]] == ["gain", "remix", "limiter"]
        assert [strip.stem for strip in view.strips] == ["harmonic", "percussive", "residual"]
        settled(qtbot, view, FULL)
        link.send("remove remix")
        until(qtbot, lambda: view.stack.currentIndex() == 0)
        qtbot.keyClick(view, Qt.Key.Key_1)
        link.detach("over")
        assert not view.insert.isEnabled()
        assert view.words.text().startswith("No host runs.")


def test_pictures_overlaid_and_stacked(qtbot, view):
    over, *stacked = view._pictures
    assert over.views == ("remix/harmonic", "remix/percussive")
    stems = ("harmonic", "percussive", "residual")
    assert [picture.views for picture in stacked] == [(f"remix/{stem}",) for stem in stems]
    assert over.isVisible()
    view.layers.setCurrentIndex(1)
    assert not over.isVisible()
    assert all(picture.isVisible() for picture in stacked)
    view.setFocus()
    qtbot.keyClick(view, Qt.Key.Key_Space)
    assert all(picture.frozen for picture in view._pictures)
    view.freeze(False)
    assert not any(picture.frozen for picture in view._pictures)


@pytest.mark.parametrize("own", [True, False])
def test_a_file_that_no_deck_is_there_for(qtbot, tone, own):
    """Another host takes the place of the one that runs, whoever has started that."""
    with ExitStack() as stack:
        started = None if own else stack.enter_context(host(chain="gain"))
        shown = stack.enter_context(window(qtbot, started, ["--api=null", "--chain=gain"]))
        if own:
            shown.start()
        first = until(qtbot, lambda: shown.link.state and shown.link.pid)
        remix = next(child for child in shown.findChildren(Remix))
        assert not remix.deck.play.isEnabled()
        remix.deck.open_file(str(tone))
        if not own:
            (asked,) = shown.findChildren(QMessageBox)
            next(each for each in asked.buttons() if each.text() == "&End it").click()
        until(qtbot, lambda: shown.link.state.get("deck"))
        assert shown.link.pid not in (0, first)
        assert shown.link.state["deck"]["file"] == str(tone)
        assert shown.link.state["deck"]["loop"] == [0.0, 4.0]
        until(qtbot, lambda: remix.strips and remix.deck.play.isEnabled())
        assert started is None or started.process.wait(60) == 0


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ([], []),
        (["--api", "null", "--howl-guard", "--file=x", "--block=64"], ["--api", "null", "--block=64"]),
        (["--lane=1", "--input", "3", "--output", "2"], ["--lane=1", "--output", "2"]),
    ],
)
def test_options_of_the_device_are_kept(options, kept):
    assert options_for("a b.wav", options) == [
        *kept,
        "--file=a b.wav",
        "--loop",
        "--chain=remix(preset=live) | limiter",
    ]


def test_what_rolls_on_disturbs_neither_the_layout_nor_the_ruler(qtbot, view, monkeypatch):
    """Both are dear: the whole window is laid out again, and text is drawn."""
    seen, rulers, waveform = Layouts(), [], view.deck.waveform
    monkeypatch.setattr(waveform, "_draw_ruler", lambda painter: rulers.append(1))
    texts, at = set(), set()

    def rolls_on():
        view.refresh()
        texts.add(view.deck.time.text())
        at.add(round(waveform._x(waveform.position)))
        return len(texts) > 5 and len(at) > 20

    until(qtbot, rolls_on)  # What was not yet laid out is now.
    for known in (texts, at, rulers):
        known.clear()
    view.installEventFilter(seen)
    until(qtbot, rolls_on)
    view.removeEventFilter(seen)
    assert seen.count == 0
    assert rulers == []
    waveform.repaint()
    assert rulers == [1]


class Layouts(QObject):
    """Counts how often a window is to be laid out again."""

    count = 0

    def eventFilter(self, watched, event):  # noqa: N802
        self.count += event.type() == QEvent.Type.LayoutRequest
        return False


def test_every_control_has_a_name(view):
    controls = [
        child
        for child in view.findChildren(QWidget)
        if child.focusPolicy() & Qt.FocusPolicy.TabFocus and child.isVisibleTo(view)
    ]
    assert len(controls) >= 3 * 4 + 1 + 1 + 6 + 4
    inner = [child for child in controls if child.parent() in controls]  # The line of a spin box.
    assert [child for child in controls if not child.accessibleName() and child not in inner] == []
