"""The file deck of the window: outlines against plain NumPy, and what moves the deck of a real host."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication
from sound_files import RATE, sound, write
from window import attached, host, own_folders, until

from gui import peaks as module
from gui.application import application
from gui.deck import STEP, Deck, Waveform, clock, columns_of, playhead
from gui.peaks import GREATEST, LEAST, PARTS, RMS, Peaks, outlines


@pytest.fixture(scope="module", autouse=True)
def folders(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        own_folders(tmp_path_factory.mktemp("folders"), patch)
        yield


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# Outlines


def made(qtbot, path):
    """The outline of a file, when it is whole."""
    peaks = Peaks(path)
    until(qtbot, lambda: not peaks.working)
    assert peaks.problem or peaks.known == peaks.parts
    return peaks


@pytest.mark.parametrize("samples", [1, PARTS - 1, PARTS, 3 * PARTS + 7, 2_000_003])
def test_an_outline_is_what_numpy_says(qtbot, tmp_path, samples):
    x = sound(samples, 2)
    peaks = made(qtbot, write(tmp_path / "a.wav", x))
    parts = min(PARTS, samples)
    edges = [part * samples // parts for part in range(parts + 1)]
    for part in range(0, parts, 37):
        inside = x[edges[part] : edges[part + 1]].astype(np.float64)
        expected = inside.min(), inside.max(), np.sqrt(np.mean(inside**2))
        np.testing.assert_allclose(peaks.outline[[LEAST, GREATEST, RMS], part], expected, rtol=1e-6)


def test_what_is_not_finite_counts_as_silence(qtbot, tmp_path):
    x = np.full((PARTS, 1), 0.5, np.float32)
    x[10], x[20], x[30] = np.nan, np.inf, -np.inf
    outline = made(qtbot, write(tmp_path / "a.wav", x)).outline
    assert np.isfinite(outline).all()
    assert (outline[GREATEST, [9, 10, 20, 30]] == [0.5, 0, 0, 0]).all()


def test_an_outline_is_kept_until_the_file_changes(qtbot, tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", np.full((50_000, 1), 0.5, np.float32))
    first = made(qtbot, path).outline
    assert (first == 0.5).all()
    reads = []

    class Reader(module.AudioReader):
        def __init__(self, path):
            reads.append(path)
            super().__init__(path)

    monkeypatch.setattr(module, "AudioReader", Reader)
    np.testing.assert_array_equal(made(qtbot, path).outline, first)
    assert reads == []
    write(path, np.full((50_001, 1), 0.25, np.float32))
    assert (made(qtbot, path).outline == 0.25).all()
    assert reads == [path]
    for kept in outlines().iterdir():
        kept.write_bytes(b"no outline")
    assert (made(qtbot, path).outline == 0.25).all()
    assert reads == [path, path]


def test_no_more_are_kept_than_so_many(qtbot, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 3)
    for name in range(5):
        made(qtbot, write(tmp_path / f"{name}.wav", sound(500 + name)))
    assert len(list(outlines().iterdir())) == 3


def test_without_a_cache_folder_it_is_made_each_time(qtbot, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert made(qtbot, write(tmp_path / "a.wav", sound(5000))).problem == ""


def test_a_file_that_cannot_be_read_says_why(qtbot, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no sound")
    assert "not audio" in made(qtbot, tmp_path / "a.wav").problem
    assert "No such file" in made(qtbot, tmp_path / "b.wav").problem


@given(st.data())
def test_columns_of_a_picture_hold_their_parts(data):
    parts = data.draw(st.integers(1, 60))
    width, known = data.draw(st.integers(1, 90)), data.draw(st.integers(0, parts))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    outline = random.standard_normal((3, parts)).astype(np.float32)
    outline[RMS] = np.abs(outline[RMS])
    columns, count = columns_of(outline, known, width)
    assert columns.shape == (3, count)
    assert count <= width
    assert (count == width) == (known == parts) or known == 0 or width > parts
    for column in range(count):
        begin, end = column * parts // width, max((column + 1) * parts // width, column * parts // width + 1)
        assert end <= max(known, 1)
        inside = outline[:, begin:end].astype(np.float64)
        expected = inside[LEAST].min(), inside[GREATEST].max(), np.sqrt(np.mean(inside[RMS] ** 2))
        np.testing.assert_allclose(columns[:, column], expected, rtol=1e-5)


# Time


@given(st.integers(0, 99), st.integers(0, 300), st.tuples(st.integers(0, 99), st.integers(0, 99)) | st.none())
def test_a_playhead_goes_as_a_deck_does(begin, elapsed, edges):
    loop = None if edges is None or edges[0] == edges[1] else sorted(edges)
    at = begin
    for _ in range(elapsed):  # Second by second, as the deck's tape is written.
        at = min(at + 1, 100)
        if loop is not None and at == loop[1]:
            at = loop[0]
    deck = {"position": float(begin), "playing": True, "loop": loop, "duration": 100.0}
    if loop is not None and begin >= loop[1]:
        at = min(begin + elapsed, 100)
    assert playhead(deck, float(elapsed)) == at
    assert playhead(deck | {"playing": False}, float(elapsed)) == begin


def test_clock():
    assert [clock(s) for s in (0.0, 9.96, 59.99, 60.0, 3723.25)] == [
        "0:00.0",
        "0:09.9",
        "0:59.9",
        "1:00.0",
        "62:03.2",
    ]


# A deck that plays

SECONDS = 20


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    path = tmp_path_factory.mktemp("deck") / "song one.wav"
    return write(path, sound(SECONDS * RATE), subtype="PCM_16")


@pytest.fixture(scope="module")
def playing(song):
    """A host that plays for all tests here."""
    with host("--file", song, chain="gain") as started:
        yield started
        assert started.process.poll() is None


@pytest.fixture
def deck(qtbot, song, playing):
    with attached(qtbot, playing) as link:
        deck = Deck(link)
        deck.path = song
        link.send(f"load {song}")
        until(qtbot, lambda: link.state["deck"]["file"] == str(song))
        link.send("loop")
        link.send("play")
        until(qtbot, lambda: link.state["deck"]["loop"] == [0.0, SECONDS] and link.state["deck"]["playing"])
        qtbot.addWidget(deck)
        deck.resize(1000, 200)
        deck.show()
        deck.activateWindow()
        qtbot.waitUntil(deck.isActiveWindow)
        yield deck
        deck.close()


def paused(qtbot, deck):
    """Pause, and wait until the deck stands still, which takes a ramp."""
    deck.play_or_pause()
    until(qtbot, lambda: not deck._link.state["deck"]["playing"])
    before = [-1.0]

    def stands():
        before[:] = [*before[-1:], state_of(qtbot, deck)["position"]]
        return before[0] == before[1]

    until(qtbot, stands)


def state_of(qtbot, deck):
    """What the host says of its deck."""
    answers = []
    deck._link.send("state", answers.append)
    until(qtbot, lambda: answers)
    return answers[0]["state"]["deck"]


def x_of(deck, seconds):
    return QPoint(round(deck.waveform.width() * seconds / SECONDS), 60)


def test_a_click_seeks(qtbot, deck):
    paused(qtbot, deck)
    qtbot.mouseClick(deck.waveform, Qt.MouseButton.LeftButton, pos=x_of(deck, 12.0))
    until(qtbot, lambda: deck._link.state["deck"]["position"] >= 11)
    found = state_of(qtbot, deck)["position"]
    assert found == pytest.approx(12.0, abs=SECONDS / deck.waveform.width())
    assert deck.position() == found
    deck.refresh()
    assert deck.time.text() == f"{clock(found)} / 0:20.0"


def test_arrow_keys_seek(qtbot, deck):
    paused(qtbot, deck)
    deck.seek(8.0)
    until(qtbot, lambda: deck.position() == 8.0)
    deck.refresh()
    deck.waveform.setFocus()
    qtbot.keyClick(deck.waveform, Qt.Key.Key_Right)
    until(qtbot, lambda: deck.position() == 8.0 + STEP)
    deck.refresh()
    qtbot.keyClick(deck.waveform, Qt.Key.Key_Left)
    until(qtbot, lambda: deck.position() == 8.0)
    deck.refresh()
    qtbot.keyClick(deck.waveform, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    until(qtbot, lambda: deck.position() == pytest.approx(8.1, abs=1 / RATE))
    qtbot.keyClick(deck.waveform, Qt.Key.Key_Home)
    until(qtbot, lambda: deck.position() == 0.0)
    deck.seek(1000.0)
    until(qtbot, lambda: deck.position() > 19.9)


def test_the_playhead_follows_what_is_played(qtbot, deck):
    until(qtbot, lambda: deck.position() > 0.3)
    before = deck.position()
    found = state_of(qtbot, deck)["position"]
    block = deck._link.state["block"] / deck._link.state["rate"]
    assert before <= found + 2 * block
    until(qtbot, lambda: deck.position() >= found)


def test_a_drag_loops_and_keys_switch_the_loop(qtbot, deck):
    begin, end = x_of(deck, 5.0), x_of(deck, 10.0)
    qtbot.mousePress(deck.waveform, Qt.MouseButton.LeftButton, pos=begin)
    qtbot.mouseRelease(deck.waveform, Qt.MouseButton.LeftButton, pos=end)
    until(qtbot, lambda: deck._link.state["deck"]["loop"] != [0.0, SECONDS])
    pixel = SECONDS / deck.waveform.width()
    loop = state_of(qtbot, deck)["loop"]
    assert loop == pytest.approx([5.0, 10.0], abs=pixel)
    assert deck.loop.isChecked()
    qtbot.keyClick(deck, Qt.Key.Key_L)
    until(qtbot, lambda: deck._link.state["deck"]["loop"] is None)
    assert not deck.loop.isChecked()
    qtbot.keyClick(deck, Qt.Key.Key_L)
    until(qtbot, lambda: deck._link.state["deck"]["loop"] == loop)
    edge, further = x_of(deck, loop[1]), x_of(deck, 15.0)  # Its end alone is dragged.
    qtbot.mousePress(deck.waveform, Qt.MouseButton.LeftButton, pos=edge)
    qtbot.mouseRelease(deck.waveform, Qt.MouseButton.LeftButton, pos=further)
    until(qtbot, lambda: deck._link.state["deck"]["loop"] != loop)
    assert state_of(qtbot, deck)["loop"] == pytest.approx([loop[0], 15.0], abs=pixel)


def test_keys_set_the_edges_of_the_loop(qtbot, deck):
    paused(qtbot, deck)
    for at, key, loop in ((8.0, Qt.Key.Key_O, [0.0, 8.0]), (5.0, Qt.Key.Key_I, [5.0, 8.0])):
        deck.seek(at)
        until(qtbot, lambda at=at: deck.position() == at)
        qtbot.keyClick(deck, key)
        until(qtbot, lambda loop=loop: deck._link.state["deck"]["loop"] == loop)
    for at, key, loop in ((9.0, Qt.Key.Key_I, [9.0, SECONDS]), (4.0, Qt.Key.Key_O, [0.0, 4.0])):
        deck.seek(at)  # Beyond the other edge.
        until(qtbot, lambda at=at: deck.position() == at)
        qtbot.keyClick(deck, key)
        until(qtbot, lambda loop=loop: deck._link.state["deck"]["loop"] == loop)
    assert state_of(qtbot, deck)["loop"] == [0.0, 4.0]


def test_cue_and_pause(qtbot, deck):
    qtbot.keyClick(deck, Qt.Key.Key_P)
    until(qtbot, lambda: not deck._link.state["deck"]["playing"])
    assert "Play" in deck.play.text()
    deck.play_or_pause()
    until(qtbot, lambda: deck._link.state["deck"]["playing"])
    paused(qtbot, deck)
    deck.seek(3.0)
    until(qtbot, lambda: deck.position() == 3.0)
    qtbot.keyClick(deck, Qt.Key.Key_C, Qt.KeyboardModifier.ShiftModifier)
    until(qtbot, lambda: deck._link.state["deck"]["cue"] == 3.0)
    assert deck.waveform.cue == 3.0
    deck.seek(9.0)
    until(qtbot, lambda: deck.position() == 9.0)
    qtbot.keyClick(deck, Qt.Key.Key_C)
    until(qtbot, lambda: deck.position() == 3.0)
    qtbot.keyClick(deck, Qt.Key.Key_P)
    until(qtbot, lambda: deck.position() > 3.0)
    assert "Pause" in deck.play.text()


def test_another_file_in_the_deck(qtbot, deck, tmp_path):
    said = []
    deck._link.said.connect(lambda *line: said.append(line))
    deck.open_file(str(tmp_path / "none.wav"))
    until(qtbot, lambda: said)
    assert "none.wav" in said[-1][0]
    assert said[-1][1]
    assert deck.name.text() == str(deck.path)
    other = write(tmp_path / "song two.flac", sound(5 * RATE, 1), subtype="PCM_16")
    deck.open_file(str(other))
    until(qtbot, lambda: deck.name.text() == str(other))
    until(qtbot, lambda: deck._link.state["deck"]["loop"] == [0.0, 5.0] and deck.waveform.duration == 5.0)
    assert deck.loop.isChecked()
    until(qtbot, lambda: deck._peaks.parts and deck._peaks.known == deck._peaks.parts)


def test_the_picture_shows_where_it_is_loud(qtbot, tmp_path):
    """Silence, then a sine of half of full scale: columns as high as they are to be, in device pixels."""
    x = np.zeros((40_000, 1), np.float32)
    x[20_000:, 0] = 0.5 * np.sin(np.arange(20_000))
    waveform = Waveform()
    qtbot.addWidget(waveform)
    waveform.resize(400, 220)
    waveform.show_file(made(qtbot, write(tmp_path / "a.wav", x)))
    waveform.show_deck(40_000 / RATE, 0.0, None, False)
    waveform.show()
    waveform.grab()
    inked = waveform._pixels != waveform._pixels[0, 0]
    height = len(inked)
    assert inked[:, :199].sum(axis=0).max() <= 4
    drawn = inked[:, 201:].sum(axis=0) / height
    assert drawn == pytest.approx(0.5 / 1.03, abs=0.02)


def shows(waveform, begin, end):
    """Whether a part of the file fills the waveform."""
    return waveform.shown == pytest.approx((begin, end), abs=1e-9)


def test_the_wheel_and_keys_zoom(qtbot, deck):
    paused(qtbot, deck)
    waveform = deck.waveform
    deck.seek(6.0)
    until(qtbot, lambda: deck.position() == 6.0)
    deck.refresh()
    qtbot.keyClick(deck, Qt.Key.Key_Plus, Qt.KeyboardModifier.ControlModifier)
    assert shows(waveform, 3.0, 13.0)
    wheel(waveform, waveform.width() / 4, 120)
    assert shows(waveform, 5.5 - 2.0, 5.5 + 6.0)
    wheel(waveform, 0, -120, Qt.KeyboardModifier.ShiftModifier)
    assert shows(waveform, 4.3, 12.3)
    qtbot.mouseClick(waveform, Qt.MouseButton.LeftButton, pos=QPoint(waveform.width() // 2, 60))
    until(qtbot, lambda: deck._link.state["deck"]["position"] == pytest.approx(8.3, abs=0.02))
    deck.seek(15.0)
    until(qtbot, lambda: deck.position() == 15.0)
    deck.refresh()  # What is shown follows, up to the end.
    assert shows(waveform, 12.0, 20.0)
    for _ in range(20):
        wheel(waveform, 3, 120)
    assert np.diff(waveform.shown) == pytest.approx(1.0)
    for _ in range(6):
        qtbot.keyClick(deck, Qt.Key.Key_Minus, Qt.KeyboardModifier.ControlModifier)
    assert shows(waveform, 0.0, SECONDS)


def wheel(widget, x, angle, modifiers=Qt.KeyboardModifier.NoModifier):
    at, none = QPointF(x, 60), Qt.MouseButton.NoButton
    phase = Qt.ScrollPhase.NoScrollPhase
    event = QWheelEvent(at, widget.mapToGlobal(at), QPoint(), QPoint(0, angle), none, modifiers, phase, False)
    QApplication.sendEvent(widget, event)


@given(st.integers(200, 5000), st.floats(1, 300), st.floats(0, 1), st.integers(50, 900))
def test_a_part_of_an_outline_is_drawn_where_the_ruler_has_it(parts, zoom, place, width):
    """What every column shows is of the time that a click there seeks, to a part or a column."""
    application()
    waveform = Waveform()
    waveform.resize(width, 100)
    waveform.show_deck(100.0, 0.0, None, False)
    waveform.zoom(zoom, 100.0 * place)
    begin, end, left, whole = waveform._part(parts, width)
    assert 0 <= begin < end <= parts
    assert 0 <= left <= whole - width
    outline = np.tile(np.arange(begin, end, dtype=np.float32), (3, 1))
    columns, _ = columns_of(outline, end - begin, whole)
    shown = columns[GREATEST, left : left + width]
    times = np.array([waveform._seconds(x + 0.5) for x in range(width)])
    step = parts / (width * waveform._zoom)  # Parts a column.
    assert np.abs(shown + 0.5 - parts * times / 100.0).max() <= 1.5 + 2 * step


def test_a_file_that_the_host_finds_from_where_it_is(qtbot, deck, playing):
    """Its path is whole, since the window may be elsewhere."""
    relative = os.path.relpath(deck.path, os.readlink(f"/proc/{playing.process.pid}/cwd"))
    deck._link.send(f"load {relative}")
    until(qtbot, lambda: deck.name.text() != str(deck.path))
    assert os.path.isabs(deck.name.text())
    assert os.path.samefile(deck.name.text(), deck.path)


def test_another_host_another_file(qtbot, deck):
    assert deck.name.text() == str(deck.path)
    deck._link.detach("over")
    assert deck.name.text() == ""
    assert not deck.play.isEnabled()
    asked = []
    deck.chosen.connect(asked.append)
    deck.open_file("other.wav")
    assert asked == ["other.wav"]
