"""The view Render: a process per file, what it says, and the rows that tell it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QMessageBox, QWidget
from sound_files import RATE, read, sound
from sound_files import write as write_file
from window import host

from gui.application import Settings
from gui.link import Link
from gui.process import HostProcess
from gui.render import PLAYING, RACK, TEXT, Render
from gui.rendering import CHAIN, OUTPUT, STATE, State, Way
from gui.window import Window

DEADLINE = 60_000
"""Milliseconds after which something that should have happened is taken not to."""
LONG, SLOW = np.zeros((60 * RATE, 1), np.float32), "remix | two: remix | three: remix | four: remix"
"""What takes many seconds to render."""


@pytest.fixture
def view(qtbot, tmp_path_factory, monkeypatch):
    for folder in ("CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{folder}_HOME", str(tmp_path_factory.mktemp("own")))
    link = Link()
    view = Render(link)
    view.said = []
    link.said.connect(lambda text, wrong: view.said.append((text, wrong)))
    qtbot.addWidget(view)
    view.show()
    yield view
    view.renderings.cancel_all()


def write(path, samples, subtype="FLOAT"):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_file(path, samples, subtype=subtype)


def choose(view, what, text=""):
    view.chain.setCurrentIndex(view.chain.findData(what))
    view.text.setText(text)


def rendered(qtbot, view):
    """Render all, and wait until everything has ended; the states."""
    view.render_files()
    qtbot.waitUntil(lambda: not view.renderings.busy, timeout=DEADLINE)
    return [rendering.state for rendering in view.renderings.rows]


def press_again(qtbot, view):
    """Press the keys that render the chosen files again, and let all keys go."""
    keys = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    qtbot.keyClick(view.table, Qt.Key.Key_R, keys)
    qtbot.keyClick(view.table, Qt.Key.Key_Shift)


def cell(view, row, column, role=Qt.ItemDataRole.DisplayRole):
    model = view.renderings
    return model.data(model.index(row, column), role)


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_of_three_files_one_is_broken(qtbot, view, tmp_path):
    inputs = tmp_path / "in"
    for name, subtype in (("one.wav", "PCM_16"), ("three.wav", "FLOAT")):
        write(inputs / name, sound(30_000, seed=len(name)), subtype=subtype)
    (inputs / "two.wav").write_bytes(b"RIFF, but nothing else")
    chain = "biquad(kind=highpass, frequency=300) | limiter(ceiling=-3)"
    view.add([inputs])
    assert view.said == [("3 files added", False)]
    choose(view, TEXT, chain)
    view.dither.setChecked(False)
    view.folder.setText(str(tmp_path / "out"))
    assert rendered(qtbot, view) == [State.DONE, State.DONE, State.FAILED]
    files = [inputs / "one.wav", inputs / "three.wav"]
    command = [
        sys.executable,
        "-m",
        "rtaudio",
        "render",
        *files,
        "-o",
        tmp_path / "by-hand",
        "--chain",
        chain,
    ]
    subprocess.run([*command, "--no-dither"], check=True, capture_output=True)
    assert tree(tmp_path / "out") == tree(tmp_path / "by-hand") == ["one.wav", "three.wav"]
    for name in tree(tmp_path / "out"):
        ours, theirs = tmp_path / "out" / name, tmp_path / "by-hand" / name
        assert sf.info(ours).subtype == sf.info(theirs).subtype
        np.testing.assert_array_equal(read(ours), read(theirs))
    broken = view.renderings.rows[2]
    assert "two.wav: not audio" in broken.text
    assert cell(view, 2, STATE, Qt.ItemDataRole.ToolTipRole) == f"failed: {broken.text}"
    view.table.selectRow(2)
    assert broken.text in view.details.toPlainText()
    assert (
        "--chain 'biquad(kind=highpass, frequency=300) | limiter(ceiling=-3)'" in view.details.toPlainText()
    )


def test_what_is_done_is_rendered_again_only_where_that_is_chosen(qtbot, view, tmp_path):
    view.add([write(tmp_path / "a.wav", sound(3000)), write(tmp_path / "b.wav", sound(2000))])
    choose(view, TEXT, "gain(gain=-6)")
    assert rendered(qtbot, view) == [State.DONE, State.DONE]
    before = (tmp_path / "b.rendered.wav").read_bytes()
    (tmp_path / "a.rendered.wav").unlink()
    choose(view, TEXT, "gain(gain=-12)")
    view.render_files()
    assert view.said[-1] == ("all done: add files, or choose Render again for the chosen rows", False)
    assert not view.renderings.busy
    view.render_again()
    assert view.said[-1] == ("choose the files that are to be rendered again", True)
    view.activateWindow()
    view.table.selectRow(0)
    view.table.setFocus()
    qtbot.waitUntil(view.table.hasFocus)
    press_again(qtbot, view)
    assert view.renderings.busy == 1
    qtbot.waitUntil(lambda: not view.renderings.busy, timeout=DEADLINE)
    quarter = 10 ** (-12 / 20)
    assert read(tmp_path / "a.rendered.wav") == pytest.approx(quarter * read(tmp_path / "a.wav"), abs=1e-6)
    assert (tmp_path / "b.rendered.wav").read_bytes() == before
    press_again(qtbot, view)
    qtbot.waitUntil(lambda: not view.renderings.busy, timeout=DEADLINE)
    assert view.renderings.rows[0].state is State.DONE  # What it has written itself is not asked for.
    again, cancel, remove, folder = view.table.actions()
    assert again.text() == "Render again"
    assert {action.text() for action in (cancel, remove, folder)} == {"Cancel", "Remove", "Open folder"}


def test_what_was_there_before_is_replaced_only_where_that_is_wanted(qtbot, view, tmp_path, monkeypatch):
    paths = [write(tmp_path / f"{name}.wav", sound(3000)) for name in "ab"]
    there = tmp_path / "a.rendered.wav"
    there.write_bytes(b"somebody's own")
    view.add(paths)
    choose(view, TEXT, "gain(gain=-6)")
    button, asked = QMessageBox.StandardButton, []
    answers = iter([button.Cancel, button.No, button.Yes])

    def question(parent, title, text, *buttons):
        asked.append(text)
        return next(answers)

    monkeypatch.setattr(QMessageBox, "question", question)
    view.render_files()
    assert str(there) in asked[0]
    assert not view.renderings.busy
    assert rendered(qtbot, view) == [State.ADDED, State.DONE]
    assert there.read_bytes() == b"somebody's own"
    assert rendered(qtbot, view) == [State.DONE, State.DONE]
    assert read(there) == pytest.approx(10 ** (-6 / 20) * read(paths[0]), abs=1e-6)
    assert len(asked) == 3


def test_cancelling_leaves_nothing(qtbot, view, tmp_path):
    for name in range(3):
        write(tmp_path / "in" / f"{name}.wav", LONG)
    view.add([tmp_path / "in"])
    view.jobs.setValue(1)
    choose(view, TEXT, SLOW)
    view.folder.setText(str(tmp_path / "out"))
    view.render_files()
    first, second, third = view.renderings.rows
    qtbot.waitUntil(lambda: first.part > 0, timeout=DEADLINE)
    assert first.state is State.RENDERING
    assert first.speed > 0
    assert (second.state, third.state) == (State.WAITING, State.WAITING)
    assert tree(tmp_path / "out")  # Under a hidden name.
    view.table.selectRow(0)
    view.cancel.click()
    assert first.state is State.CANCELLING
    qtbot.waitUntil(lambda: first.state is State.CANCELLED, timeout=DEADLINE)
    qtbot.waitUntil(lambda: second.part > 0, timeout=DEADLINE)
    view.table.clearSelection()
    view.cancel.click()
    qtbot.waitUntil(lambda: not view.renderings.busy, timeout=DEADLINE)
    assert {each.state for each in view.renderings.rows} == {State.CANCELLED}
    assert tree(tmp_path / "out") == []


def test_a_process_that_is_killed_says_so(qtbot, view, tmp_path):
    view.add([write(tmp_path / "a.wav", LONG)])
    choose(view, TEXT, SLOW)
    view.render_files()
    (rendering,) = view.renderings.rows
    qtbot.waitUntil(lambda: rendering.part > 0, timeout=DEADLINE)
    rendering._process.kill()
    qtbot.waitUntil(lambda: not view.renderings.busy, timeout=DEADLINE)
    assert (rendering.state, rendering.text) == (
        State.FAILED,
        "the process that rendered it was ended by SIGKILL",
    )


def test_nothing_is_written_over_an_input_nor_by_two(qtbot, view, tmp_path):
    one = write(tmp_path / "one.wav", sound(3000))
    other = write(tmp_path / "other" / "one.wav", sound(4000))
    before = one.read_bytes()
    choose(view, TEXT, "gain")
    view.add([one, other])
    view.folder.setText(str(tmp_path))
    assert rendered(qtbot, view) == [State.FAILED, State.FAILED]
    assert "is an input" in view.renderings.rows[0].text
    assert "is an input" in view.renderings.rows[1].text
    assert one.read_bytes() == before
    view.folder.setText(str(tmp_path / "out"))
    assert rendered(qtbot, view) == [State.DONE, State.FAILED]
    assert "would both be written" in view.renderings.rows[1].text
    assert sf.info(tmp_path / "out" / "one.wav").frames == 3000


def test_an_engine_that_fails_is_no_clean_success(qtbot, view, tmp_path):
    view.add([write(tmp_path / "a.wav", sound(3000))])
    choose(view, TEXT, "gain(gain=1000)")
    assert rendered(qtbot, view) == [State.FAILED]
    assert "out of range" in view.renderings.rows[0].text
    assert tree(tmp_path) == ["a.wav"]


def test_parts_of_a_file(qtbot, view, tmp_path):
    view.add([write(tmp_path / "a.flac", sound(20_000), subtype="PCM_16")])
    choose(view, "separate")
    assert cell(view, 0, OUTPUT) == "a.harmonic.wav, a.percussive.wav"
    view.subtype.setCurrentText("float")
    assert rendered(qtbot, view) == [State.DONE]
    parts = [read(tmp_path / f"a.{part}.wav") for part in ("harmonic", "percussive")]
    assert sum(parts) == pytest.approx(read(tmp_path / "a.flac"), abs=1e-6)


def test_a_rack_by_its_name_and_another_format(qtbot, view, tmp_path):
    view.add([write(tmp_path / "song.wav", sound(20_000))])
    choose(view, f"{RACK}drums-up")
    view.format.setCurrentIndex(view.format.findData(".flac"))
    view.subtype.setCurrentText("16")
    assert (cell(view, 0, CHAIN), cell(view, 0, OUTPUT)) == ("drums-up", "song.drums-up.flac")
    assert rendered(qtbot, view) == [State.DONE]
    assert sf.info(tmp_path / "song.drums-up.flac").subtype == "PCM_16"
    assert sf.info(tmp_path / "song.drums-up.flac").frames == 20_000


def test_the_rack_that_plays_needs_a_host(view, tmp_path):
    view.add([write(tmp_path / "a.wav", sound(3000))])
    view.render_files()
    assert view.said[-1] == ("no rack plays: choose another chain, or start a host", True)
    assert view.renderings.rows[0].state is State.ADDED


def test_the_rack_that_plays_as_it_is_set(qtbot, view, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    view.add([write(tmp_path / f"{name}.wav", sound(3000)) for name in "ab"])
    with host(chain="gain(gain=-6)") as started:
        view._link.attach(started.process.pid)
        qtbot.waitUntil(lambda: bool(view._link.state), timeout=DEADLINE)
        view._link.set("gain.gain", -12.0)
        view.render_files()
        first, second = view.renderings.rows
        qtbot.waitUntil(lambda: first.state is second.state is State.DONE, timeout=DEADLINE)
        expected = 10 ** (-12 / 20) * read(tmp_path / "a.wav")
        np.testing.assert_allclose(read(tmp_path / "a.rendered.wav"), expected, atol=1e-6)
        view.render_files()
        assert view.said[-1][0].startswith("all done")
        assert len(racks(view)) == 1
        for gain in (-6.0, -12.0):
            before = first.way
            view._link.set("gain.gain", gain)
            view.table.selectRow(0)
            view.render_again()
            qtbot.waitUntil(lambda: view.renderings.busy, timeout=DEADLINE)
            qtbot.waitUntil(lambda: first.state is State.DONE, timeout=DEADLINE)
            assert len(racks(view)) == 2
            assert first.way != before
        assert first.way == second.way  # The rack as it was the first time, from the same file.
        view._link.detach("over")


def test_what_is_only_for_listening_is_not_rendered(qtbot, view, tmp_path, monkeypatch):
    """Neither the guard, which takes a held note for a howl, nor a band alone; and the comparison goes on."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    view.add([write(tmp_path / "a.wav", sound(3000))])
    with host("--howl-guard", chain="gain(gain=-6)") as started:
        link = view._link
        link.attach(started.process.pid)
        qtbot.waitUntil(lambda: bool(link.state), timeout=DEADLINE)
        link.send("insert last band: band(low=1000, high=2000)")
        names = ["gain", "howl-guard", "band"]
        qtbot.waitUntil(lambda: [node["name"] for node in link.state["nodes"]] == names, timeout=DEADLINE)
        link.send("compare dry")
        view.render_files()
        qtbot.waitUntil(lambda: view.renderings.rows[0].state is State.DONE, timeout=DEADLINE)
        expected = 10 ** (-6 / 20) * read(tmp_path / "a.wav")
        np.testing.assert_allclose(read(tmp_path / "a.rendered.wav"), expected, atol=1e-6)
        assert link.state["compare"]["dry"]
        link.detach("over")


def test_how_files_are_rendered_is_remembered(view, tmp_path):
    choose(view, TEXT, "gain(gain=-3)")
    view.folder.setText(str(tmp_path))
    view.format.setCurrentIndex(view.format.findData(".flac"))
    view.subtype.setCurrentText("24")
    view.tail.setChecked(True)
    way, other = view.way(), Render(Link())
    other.restore(json.loads(json.dumps(view.kept())))
    assert other.way() == way
    other.restore({"chain": "rack gone", "format": 3, "dither": 7, "subtype": "16"})
    assert other.chain.currentData() == PLAYING
    assert other.dither.isChecked()


def racks(view):
    """Files of racks that have been written for renderings."""
    return list(Path(view._racks.path()).iterdir())


def drop(view, *paths):
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    view.dropEvent(QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, buttons, keys))


def test_dropping(view, tmp_path):
    inside = write(tmp_path / "songs" / "live" / "b.wav", sound(300))
    drop(view, inside, tmp_path / "songs")
    assert view.said[-1] == ("1 file added, 1 was there already", False)
    drop(view, inside)
    assert view.said[-1] == ("0 files added, 1 was there already", False)
    (tmp_path / "empty").mkdir()
    drop(view, tmp_path / "empty", write(tmp_path / "c.wav", sound(300)), tmp_path / "gone.wav")
    assert view.said[-1] == (
        f"no audio files in {tmp_path}/empty; no such file or folder: {tmp_path}/gone.wav",
        True,
    )
    assert [rendering.source.name for rendering in view.renderings.rows] == ["b.wav", "c.wav"]
    view.table.selectRow(0)
    view.remove.click()
    assert [rendering.source.name for rendering in view.renderings.rows] == ["c.wav"]


def test_a_folder_keeps_its_structure_and_what_was_written_is_no_input(view, tmp_path):
    write(tmp_path / "songs" / "live" / "b.wav", sound(300))
    write(tmp_path / "songs" / "out" / "old.wav", sound(300))
    view.folder.setText(str(tmp_path / "songs" / "out"))
    view.add([tmp_path / "songs"])
    (rendering,) = view.renderings.rows
    way = view.way()
    assert way.targets(rendering.source, rendering.place) == [tmp_path / "songs" / "out" / "live" / "b.wav"]


def test_names_beside_an_input():
    way = Way("denoise", "render", mark="denoise")
    assert way.targets(Path("/a/x.wav"), Path("x.wav")) == [Path("/a/x.denoise.wav")]
    assert way.targets(Path("/a/x.caf"), Path("x.caf")) == [Path("/a/x.denoise.wav")]
    assert way.words(Path("-x.wav"), Path("-x.wav"))[-2:] == ["--", "-x.wav"]


def test_closing_asks_where_files_are_rendered(qtbot, view, tmp_path, monkeypatch):
    assert view.may_close()
    view.add([write(tmp_path / "a.wav", LONG)])
    choose(view, TEXT, SLOW)
    view.render_files()
    (rendering,) = view.renderings.rows
    qtbot.waitUntil(lambda: rendering.part > 0, timeout=DEADLINE)
    answers, asked = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes], []

    def question(parent, title, text, *buttons):
        asked.append(text)
        return answers[len(asked) - 1]

    monkeypatch.setattr(QMessageBox, "question", question)
    window = Window(view._link, HostProcess(), Settings())
    window.add_view(view)
    assert not window.close()
    assert rendering.state is State.RENDERING
    assert window.close()
    assert asked == 2 * ["1 file is being rendered. Cancel and close?"]
    assert rendering.state is State.CANCELLED
    assert tree(tmp_path) == ["a.wav"]


def test_every_control_has_a_name_and_takes_the_focus(view):
    interactive = [
        child
        for child in view.findChildren(QWidget)
        if child.focusPolicy() & Qt.FocusPolicy.TabFocus
        and child.isVisibleTo(view)
        and not child.objectName()
    ]
    named = [child for child in interactive if child.accessibleName() or child.parent() in interactive]
    assert len(interactive) > 10
    assert named == interactive
