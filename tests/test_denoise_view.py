"""The view Denoise: a real host whose noise is removed and seen to be, and pictures that are in step."""

import numpy as np
import pytest
from observed import block, folder, link_to_this_process, made
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from sound_files import write
from test_link import ask, state_of, value
from window import attached, host, own_folders, until

from gui.application import application
from gui.colours import DIVERGING, NO_DATA
from gui.denoise import BYPASSED, HINT, NO_VOICE, VOICE, Denoise
from gui.link import Link
from gui.spectrogram import STRIP, VALUES
from rtaudio.observation import LEVELS, METERED, PEAK, decibels

pytestmark = pytest.mark.alone

__all__ = ["block", "folder"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        own_folders(tmp_path_factory.mktemp("denoise"), patch)
        yield


@pytest.fixture
def show(qtbot):
    """Shows the view of a link."""

    def shown(link):
        view = Denoise(link)
        qtbot.addWidget(view)
        view.resize(700, 600)
        view.show()
        view.activateWindow()
        return view

    return shown


@pytest.fixture
def seen(block):
    """A link that sees the block of this process, of which no host takes lines."""
    application()
    link = Link()
    link.observation = link_to_this_process().observation
    return link


def pixels(picture):
    image = picture.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    found = np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), -1)
    room = picture.picture
    return found[room.top() : room.top() + room.height(), room.left() : room.left() + room.width()].copy()


def removed(view):
    """How many dB were removed in the last 200 ms, at the median of what is loud enough to be seen."""
    steps = {int(colour): (number - 128) * 30 / 127 for number, colour in enumerate(DIVERGING) if number}
    newest = pixels(view.pictures[2])[:, -20:].ravel()
    known = [steps[int(each)] for each in newest if each != NO_DATA]
    return float(np.median(known)) if known else np.nan


def read(view, choose):
    """What a number is that a view's picture tells, once it is refreshed."""
    view.refresh()
    return choose()


@pytest.fixture(scope="module")
def noisy(folders, tmp_path_factory):
    """A host that removes noise from noise."""
    noise = 0.05 * np.random.default_rng(1).standard_normal((96_000, 1)).astype(np.float32)
    file = write(tmp_path_factory.mktemp("noise") / "noise.wav", noise)
    with host("--file", str(file), "--loop", chain="enhance") as playing:
        yield playing


def test_noise_is_seen_to_be_removed_and_the_limit_says_by_how_much(qtbot, noisy, show):
    with attached(qtbot, noisy) as link:
        view = show(link)
        assert set(view.faders) == {"limit", "mix", "onset"}
        assert not view.add.isVisible()
        until(qtbot, lambda: read(view, lambda: removed(view) > 15))
        view.faders["limit"].fader.set_to(6.0)
        until(qtbot, lambda: value(state_of(noisy), "enhance.limit") == 6.0)
        until(qtbot, lambda: read(view, lambda: abs(removed(view) - 6) < 1.5))
        view.faders["mix"].fader.set_to(0.0)
        until(qtbot, lambda: read(view, lambda: abs(removed(view)) < 0.5))
        ask(noisy, "set enhance.mix 1", "set enhance.limit 30")
        until(qtbot, lambda: view.faders["limit"].fader.held == 30.0 and view.faders["mix"].fader.held == 1.0)


def test_pictures_of_the_host_can_be_chosen(qtbot, noisy, show):
    with attached(qtbot, noisy) as link:
        view = show(link)
        view.refresh()
        names = [view.after.itemText(number) for number in range(view.after.count())]
        assert names[:2] == ["in", "out"]
        assert "enhance.removed" in names
        qtbot.keyClicks(view.after, "enhance.removed")
        view.after.activated.emit(view.after.currentIndex())
        assert view.pictures[1].views == ("enhance.removed",)
        assert view.pictures[2].views == ("in", "enhance.removed")
        assert view.pictures[2].accessibleName() == "Spectrogram: in - enhance.removed"
        until(qtbot, lambda: read(view, lambda: abs(removed(view)) < 3))  # Nearly all of it is removed.


def test_a_file_that_is_dropped_is_to_be_heard(show):
    view, chosen = show(Link()), []
    view.chosen.connect(chosen.append)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile("/songs/one.wav"), QUrl.fromLocalFile("/songs/two.wav")])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    copy = Qt.DropAction.CopyAction
    QApplication.sendEvent(view, QDragEnterEvent(QPoint(1, 1), copy, data, buttons, keys))
    QApplication.sendEvent(view, QDropEvent(QPointF(1, 1), copy, data, buttons, keys))
    assert chosen == ["/songs/one.wav"]


def test_what_was_compared_is_remembered(seen, show):
    view, other = show(seen), show(Link())
    view._compare("in", "enhance.removed")
    other.restore(view.kept())
    assert other.pictures[2].views == ("in", "enhance.removed")
    assert (other.before.currentText(), other.after.currentText()) == ("in", "enhance.removed")
    other.restore({"before": 7, "after": None})
    assert other.pictures[2].views == ("in", "enhance.removed")


def test_without_enhance_it_is_offered(qtbot, folders, show):
    with host(chain="gain") as playing, attached(qtbot, playing) as link:
        view = show(link)
        said = []
        link.said.connect(lambda text, is_error: said.append((text, is_error)))
        assert view.add.isVisible()
        assert view._hint.text() == HINT
        qtbot.mouseClick(view.add, Qt.MouseButton.LeftButton)
        until(qtbot, lambda: view.faders)
        assert [node["name"] for node in state_of(playing)["nodes"]] == ["enhance", "gain"]
        assert not view.add.isVisible()
        assert not any(is_error for _, is_error in said)
        ask(playing, "remove enhance")
        until(qtbot, lambda: view.add.isVisible() and view.add.isEnabled())
        assert view.faders == {}
    assert not view.add.isEnabled()
    view.refresh()
    assert view.pictures[0].absent == "no host runs"


def test_views_that_are_late_are_shown_in_step(show, seen, block):
    view = show(seen)
    for picture in view.pictures:
        picture.setFixedHeight(160)
    QApplication.processEvents()  # Lays out.
    columns = made(range(1, 701))
    for end in range(10, 600, 23):
        block.add("in", range(1, end + 41), columns[: end + 40])
        block.add("out", range(1, end + 1), columns[:end])
        view.refresh()
        shown = [pixels(picture) for picture in view.pictures]
        np.testing.assert_array_equal(*(each[:, -end:] for each in shown[:2]))
        assert (shown[2][:, -end:] == DIVERGING[128]).all()
        assert (shown[2][:, :-end] == NO_DATA).all()


def test_a_voice_is_told_and_shown_below_the_input(show, seen, block):
    view = show(seen)
    block.show("enhance.activity", 1, control=1)
    columns, levels = made(range(1, 301)), np.zeros((300, METERED, LEVELS), np.float32)
    levels[100:150, 0, PEAK] = 0.9

    def play(begin, end, reached):
        for name in ("in", "out"):
            block.add(name, range(begin, end + 1), columns[begin - 1 : end])
        block.add("enhance.activity", range(begin, reached + 1), levels=levels[begin - 1 : reached])
        view.refresh()

    play(1, 60, 50)
    assert view.voice.text() == ""  # The rack has no enhance.
    node = {"name": "enhance", "engine": "enhance", "parameters": [], "inside": [], "bypass": False}
    seen.state = {"nodes": [node]}
    seen.stated.emit(seen.state)
    play(51, 100, 90)
    assert view.voice.text() == NO_VOICE
    play(91, 140, 130)
    assert view.voice.text() == VOICE
    wanted = np.where(np.arange(1, 131) > 100, VALUES[round(255 * 0.9)], VALUES[0])
    strip = pixels(view.pictures[0])[-STRIP:, -130:]  # In step with what is known of all.
    np.testing.assert_array_equal(strip, np.tile(wanted, (STRIP, 1)))
    play(131, 220, 200)
    assert view.voice.text() == NO_VOICE
    node["bypass"] = True
    seen.changed.emit({"event": "switch", "node": "enhance", "switch": "bypass", "on": True})
    play(201, 230, 230)
    assert view.voice.text() == BYPASSED
    assert [view.before.itemText(number) for number in range(view.before.count())] == ["in", "out"]


def test_a_host_that_removes_noise_tells_of_no_voice_in_noise(qtbot, noisy, show):
    with attached(qtbot, noisy) as link:
        view = show(link)
        until(qtbot, lambda: read(view, lambda: view.voice.text() == NO_VOICE))
        assert set(link.observation.values()) == {"enhance.activity"}
        ask(noisy, "bypass enhance")
        until(qtbot, lambda: read(view, lambda: view.voice.text() == BYPASSED))
        ask(noisy, "unbypass enhance")


def test_space_freezes_all_three_and_they_are_read_on(qtbot, show, seen, block):
    view = show(seen)
    columns = made(range(1, 901))
    for name in ("in", "out"):
        block.add(name, range(1, 301), columns[:300])
    view.refresh()
    before = [pixels(picture) for picture in view.pictures]
    qtbot.keyClick(view.pictures[1], Qt.Key.Key_Space)
    for name in ("in", "out"):
        block.add(name, range(301, 901), columns[300:])
    view.refresh()
    for picture, still in zip(view.pictures, before, strict=True):
        assert picture.frozen
        np.testing.assert_array_equal(pixels(picture), still)
    corner = view.pictures[0].picture.topRight()
    QTest.mouseMove(view.pictures[0], corner + QPoint(-10, 5))
    QApplication.processEvents()
    assert pixels(view.pictures[0]).shape == before[0].shape  # The reading has had its room before.
    assert (pixels(view.pictures[0]) != before[0]).any()
    level = decibels(columns[289].max())
    assert view.reading.text().endswith(" dB  0.1 s ago")
    assert float(view.reading.text().split("  ")[2].split()[0]) <= level + 0.5
    qtbot.keyClick(view.pictures[1], Qt.Key.Key_Space)
    view.refresh()
    assert not view.pictures[0].frozen
    assert (pixels(view.pictures[0]) != before[0]).any()


def test_a_view_that_is_gone_stays_chosen_and_is_told(show, seen, block):
    view = show(seen)
    block.show("stem")
    for name in ("in", "out", "stem"):
        block.add(name, range(1, 101), made(range(1, 101)))
    view.refresh()
    view.after.setCurrentText("stem")
    view.after.activated.emit(view.after.currentIndex())
    view.refresh()
    block.drop("stem")
    block.add("in", range(101, 131), made(range(101, 131)))
    view.refresh()
    assert "no view 'stem'" in view.pictures[1].absent
    assert view.pictures[0].absent == ""
    assert view.after.currentText() == "stem"


def test_levels_and_time_of_all_pictures(qtbot, show, seen, block):
    view = show(seen)
    for name in ("in", "out"):
        block.add(name, range(1, 2001), made(range(1, 2001)))
    controls = view.controls
    controls.low.setValue(-60)
    controls.high.setValue(-65)
    assert (controls.low.value(), controls.high.value()) == (-75, -65)
    controls.low.setValue(-50)
    assert (controls.low.value(), controls.high.value()) == (-50, -40)
    controls.low.setValue(-90)
    controls.high.setValue(0)
    view.refresh()
    before = pixels(view.pictures[0])
    controls.seconds.setCurrentText("20 s")
    view.refresh()
    after = pixels(view.pictures[0])
    assert (before != NO_DATA).all()
    assert (after != NO_DATA).all()
    assert (after != before).any()
    controls.seconds.setCurrentText("30 s")
    view.refresh()
    blank = (pixels(view.pictures[0]) == NO_DATA).all(axis=0).mean()
    assert blank == pytest.approx(1 / 3, abs=0.01)


def test_maps_are_for_levels_and_not_for_differences(show, seen, block):
    view = show(seen)
    for name in ("in", "out"):
        block.add(name, range(1, 101), made(range(1, 101)))
    view.refresh()
    before = [pixels(picture) for picture in view.pictures]
    view.set_map("cividis")
    after = [pixels(picture) for picture in view.pictures]
    assert [bool((old != new).any()) for old, new in zip(before, after, strict=True)] == [True, True, False]


def test_everything_has_a_name_and_is_reached_by_tab(qtbot, noisy, show):
    with attached(qtbot, noisy) as link:
        view = show(link)
        view.before.setFocus()
        until(qtbot, lambda: QApplication.focusWidget() is view.before)
        names = []
        while QApplication.focusWidget().accessibleName() not in names:
            names.append(QApplication.focusWidget().accessibleName())
            qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
        assert all(names)
        wanted = {
            "Upper picture",
            "Lower picture",
            "Freeze the pictures",
            "Seconds that the pictures show",
            "Spectrogram: Input",
            "Spectrogram: Output",
            "Spectrogram: Removed",
            "limit of enhance",
            "mix of enhance",
            "onset of enhance",
            "Lowest level of the pictures",
            "Highest level of the pictures",
        }
        assert wanted <= set(names)
