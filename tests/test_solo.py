"""A band that is heard alone: dragged over a picture of a real host, by keys, and where hosts are slow."""

import os
from importlib.metadata import entry_points

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from sound_files import write
from test_link import ask, state_of, value
from window import attached, host, own_folders, until

from gui.application import application
from gui.bands import Band, octave
from gui.denoise import Denoise
from gui.link import Link
from gui.solo import NODE, BandSolo
from gui.spectrogram import Spectrogram
from rtaudio.observation import decibels, frequencies

pytestmark = pytest.mark.alone

AVERAGED = 0.3
"""Seconds of what is heard, for its levels."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of their own; and the engine of this checkout, where an older one is installed."""
    with pytest.MonkeyPatch.context() as patch:
        own_folders(tmp_path_factory.mktemp("solo"), patch)
        if not entry_points(group="rtaudio.engines", name="band"):
            packages = tmp_path_factory.mktemp("packages")
            info = packages / "band-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: band\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text("[rtaudio.engines]\nband = engines.band:Band\n")
            paths = [str(packages), *filter(None, [os.environ.get("PYTHONPATH")])]
            patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        yield


@pytest.fixture(scope="module")
def noisy(folders, tmp_path_factory):
    """A host that plays noise."""
    noise = 0.1 * np.random.default_rng(1).standard_normal((96_000, 1)).astype(np.float32)
    file = write(tmp_path_factory.mktemp("noise") / "noise.wav", noise)
    with host("--file", str(file), "--loop", chain="gain") as playing:
        yield playing


@pytest.fixture
def view(qtbot, noisy):
    with attached(qtbot, noisy) as link:
        yield shown(qtbot, link)
        if NODE in names(noisy):
            ask(noisy, f"remove {NODE}")
            until(qtbot, lambda: NODE not in names(noisy))


def shown(qtbot, link):
    made = Denoise(link)
    qtbot.addWidget(made)
    made.resize(800, 600)
    made.show()
    made.activateWindow()
    made.refresh()
    return made


def names(playing):
    return [each["name"] for each in state_of(playing)["nodes"]]


def edges(playing):
    state = state_of(playing)
    return value(state, f"{NODE}.low"), value(state, f"{NODE}.high")


def place(picture, hz):
    """Where in a picture a frequency is."""
    room = picture.picture
    below = np.log(hz / 20) / np.log(1000)
    return QPoint(room.center().x(), round(room.top() + room.height() * (1 - below)))


def levels(link, low, high):
    """Mean level in dB of what is heard now, well within a band and well beyond it."""
    seen, rows = link.observation, frequencies(48_000)
    _, columns = seen.columns("out", seen.views()["out"].position - round(AVERAGED * seen.rate))
    spectrum = decibels(columns).mean(axis=0)
    inside = (rows > 1.2 * low) & (rows < high / 1.2)
    outside = ((rows < low / 4) & (rows > 30)) | ((rows > 4 * high) & (rows < 15_000))
    return spectrum[inside].mean(), spectrum[outside].mean()


def test_a_band_that_the_mouse_is_dragged_over_is_heard_alone_until_a_click(qtbot, noisy, view):
    picture = view.pictures[1]
    until(qtbot, lambda: view._link.observation.views()["out"].position > 48_000)
    inside, outside = levels(view._link, 500, 2000)
    assert abs(inside - outside) < 20
    QTest.mousePress(picture, Qt.MouseButton.LeftButton, pos=place(picture, 500))
    QTest.mouseMove(picture, place(picture, 1500))
    until(qtbot, lambda: view.band._there)
    assert names(noisy) == ["gain", NODE]
    assert edges(noisy) == pytest.approx((500, 1500), rel=0.08)
    for hz in (1600, 1700, 1800, 1900, 2000):
        QTest.mouseMove(picture, place(picture, hz))
    QTest.mouseRelease(picture, Qt.MouseButton.LeftButton, pos=place(picture, 2000))
    until(qtbot, lambda: edges(noisy)[1] == pytest.approx(2000, rel=0.08))
    until(qtbot, lambda: np.subtract(*levels(view._link, 500, 2000)) > 40)
    assert levels(view._link, 500, 2000)[0] == pytest.approx(inside, abs=3)
    assert all(each._band == view.band.band for each in view.pictures)
    QTest.mouseClick(picture, Qt.MouseButton.LeftButton, pos=place(picture, 100))
    assert view.band.band is None
    until(qtbot, lambda: NODE not in names(noisy))
    until(qtbot, lambda: abs(np.subtract(*levels(view._link, 500, 2000))) < 20)


def test_keys_begin_move_widen_and_end_it(qtbot, noisy, view):
    picture = view.pictures[2]
    picture.setFocus()
    qtbot.keyClick(picture, Qt.Key.Key_S)
    assert view.band.band == octave(1000.0)
    until(qtbot, lambda: NODE in names(noisy))
    assert view.band.words.text() == "only 707 Hz to 1.41 kHz"
    qtbot.keyClick(picture, Qt.Key.Key_Up)
    semitone = 2 ** (1 / 12)
    until(qtbot, lambda: edges(noisy) == pytest.approx((707.1 * semitone, 1414.2 * semitone), abs=0.2))
    qtbot.keyClick(picture, Qt.Key.Key_Up, Qt.KeyboardModifier.ShiftModifier)
    until(qtbot, lambda: edges(noisy) == pytest.approx((707.1, 1414.2 * semitone**2), abs=0.2))
    qtbot.keyClick(picture, Qt.Key.Key_Down)
    qtbot.keyClick(picture, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    until(qtbot, lambda: edges(noisy) == pytest.approx((707.1, 1414.2), abs=0.2))
    qtbot.keyClick(picture, Qt.Key.Key_Escape)
    assert view.band.band is None
    until(qtbot, lambda: NODE not in names(noisy))


def test_another_window_shows_the_band_and_its_button_ends_it(qtbot, noisy, view):
    ask(noisy, f"insert last {NODE}(low=200, high=400)")
    until(qtbot, lambda: view.band.band == (200.0, 400.0))
    with attached(qtbot, noisy) as other:
        second = shown(qtbot, other)
        assert second.band.band == (200.0, 400.0)
        assert second.band.button.text() == "All"
        ask(noisy, f"set {NODE}.high 300")
        until(qtbot, lambda: view.band.band == second.band.band == (200.0, 300.0))
        qtbot.mouseClick(second.band.button, Qt.MouseButton.LeftButton)
        until(qtbot, lambda: NODE not in names(noisy))
        until(qtbot, lambda: view.band.band is None)


def test_one_that_is_ended_while_it_loads_is_given_up(qtbot, noisy, view):
    picture = view.pictures[0]
    picture.setFocus()
    qtbot.keyClick(picture, Qt.Key.Key_S)
    until(qtbot, lambda: view._link.state["loading"])
    qtbot.keyClick(picture, Qt.Key.Key_Escape)
    until(qtbot, lambda: not state_of(noisy)["loading"] and NODE not in names(noisy))
    until(qtbot, lambda: not view._link.state["loading"])
    assert view.band.band is None


def test_to_undo_does_not_touch_it(qtbot, noisy, view):
    ask(noisy, "set gain.gain -3")
    view.band.hear(Band(500.0, 2000.0))
    until(qtbot, lambda: NODE in names(noisy))
    view.band.hear(Band(600.0, 2000.0))
    until(qtbot, lambda: edges(noisy)[0] == 600.0)
    ask(noisy, "undo")
    until(qtbot, lambda: value(state_of(noisy), "gain.gain") == 0.0)
    assert names(noisy) == ["gain", NODE]
    view.band.hear_all()
    until(qtbot, lambda: NODE not in names(noisy))
    ask(noisy, "redo")
    until(qtbot, lambda: value(state_of(noisy), "gain.gain") == -3.0)
    ask(noisy, "set gain.gain 0")


# What the host answers late, or not as wanted


class Told(Link):
    """A link whose host is the test: it keeps the lines, and answers when it is told to."""

    def __init__(self):
        super().__init__()
        self.asked, self.lines, self.said_to_user = [], [], []
        self.said.connect(lambda text, is_error: self.said_to_user.append(text))

    def send(self, line, done=None):
        self.lines.append(line)
        self.asked.append(done)

    def set(self, path, value):
        self.lines.append(f"set {path} {value:.0f}")

    def answer(self, ok=True):
        self.asked.pop(0)({"ok": ok, "answer": "", "error": "" if ok else "it cannot be"})

    def tell(self, *loading, band=None, mix=1.0):
        node = {"name": NODE, "engine": "band", "inside": []}
        values = () if band is None else (("low", band[0]), ("high", band[1]), ("mix", mix))
        node["parameters"] = [{"id": name, "value": value} for name, value in values]
        self.state = {"nodes": [] if band is None else [node], "loading": list(loading)}
        self.stated.emit(self.state)


LISTEN = f"listen {NODE}: band(low=100.0, high=200.0)"


@pytest.fixture
def told(qtbot):
    application()
    link = Told()
    link.tell()
    link.solo = BandSolo(link)
    qtbot.addWidget(link.solo)
    return link


def test_what_is_dragged_while_it_loads_is_set_when_it_is_there(told):
    told.solo.hear(Band(100.0, 200.0))
    told.solo.hear(Band(100.0, 300.0))
    told.tell()  # Asked for before.
    assert told.lines == [LISTEN]
    told.answer()
    told.tell(LISTEN)
    told.solo.hear(Band(100.0, 400.0))
    assert told.lines == [LISTEN]
    told.tell(band=(100.0, 200.0))
    assert told.lines == [LISTEN, f"set {NODE}.high 400"]
    assert told.solo.band == (100.0, 400.0)


def test_one_that_is_refused_is_said_and_not_tried_again(told):
    told.solo.hear(Band(100.0, 200.0))
    told.answer(ok=False)
    told.tell()
    assert told.said_to_user == ["it cannot be"]
    assert told.solo.band is None
    assert told.lines == [LISTEN]


def test_one_that_could_not_be_made_is_not_tried_again(told):
    told.solo.hear(Band(100.0, 200.0))
    told.answer()
    told.tell(LISTEN)
    told.tell()
    assert told.solo.band is None
    assert told.lines == [LISTEN]


def test_one_that_is_ended_before_the_host_knows_of_it_is_taken_out(told):
    told.solo.hear(Band(100.0, 200.0))
    told.solo.hear_all()
    told.answer()
    told.tell(band=(100.0, 200.0))
    assert told.lines == [LISTEN, f"set {NODE}.mix 0", f"remove {NODE}"]
    assert told.solo.band is None


def test_one_that_is_ended_while_the_host_loads_it_is_given_up_at_once(told):
    told.solo.hear(Band(100.0, 200.0))
    told.answer()
    told.tell(LISTEN)
    told.solo.hear_all()
    assert told.lines == [LISTEN, f"remove {NODE}"]
    told.answer()
    told.tell()
    assert told.lines == [LISTEN, f"remove {NODE}"]
    assert told.solo.band is None


def test_one_that_is_wanted_while_another_goes_comes_after_it(told):
    told.tell(band=(100.0, 200.0))
    assert told.solo.band == (100.0, 200.0)
    told.solo.hear_all()
    told.answer()
    told.answer()
    told.tell(f"remove {NODE}", band=(100.0, 200.0), mix=0.0)
    told.solo.hear(Band(100.0, 200.0))
    assert told.lines == [f"set {NODE}.mix 0", f"remove {NODE}"]
    told.tell()
    assert told.lines[2:] == [LISTEN]
    assert told.solo.band == (100.0, 200.0)


def test_a_state_that_is_older_than_what_is_on_its_way_moves_nothing(told):
    told.tell(band=(100.0, 200.0))
    told.solo.hear(Band(100.0, 300.0))
    told.is_setting = lambda path: path == f"{NODE}.high"
    told.tell(band=(100.0, 200.0))
    assert told.solo.band == (100.0, 300.0)
    told.is_setting = lambda path: False
    told.tell(band=(100.0, 250.0))
    assert told.solo.band == (100.0, 250.0)


def test_a_band_at_rest_is_none_until_it_is_wanted(told):
    told.tell(band=(100.0, 200.0), mix=0.0)
    assert told.solo.band is None
    told.solo.hear(Band(100.0, 400.0))
    assert told.lines == [f"set {NODE}.high 400", f"set {NODE}.mix 1"]


def test_without_a_host_there_is_nothing_to_hear(qtbot, told):
    told.state = {}
    told.detached.emit("it has ended")
    assert not told.solo.button.isEnabled()
    told.solo.hear(Band(100.0, 200.0))
    assert told.said_to_user == ["no host runs: there is nothing to hear a band of"]
    assert told.solo.band is None


def test_the_button_marks_an_octave_around_what_was_pointed_at(qtbot, told):
    pictures = [Spectrogram(told, ["in"]), Spectrogram(told, ["out"])]
    for picture in pictures:
        qtbot.addWidget(picture)
        picture.resize(300, 200)
        picture.show()
    told.solo.watch(pictures)
    QTest.mouseMove(pictures[1], place(pictures[1], 200))
    qtbot.mouseClick(told.solo.button, Qt.MouseButton.LeftButton)
    assert told.solo.band == pytest.approx(tuple(octave(200.0)), rel=0.05)
    assert told.solo.button.accessibleName() == "Hear all frequencies"
