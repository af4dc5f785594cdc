"""The view Speak on a host that really speaks: what is heard stands out, files are read and written."""

import json
from pathlib import Path

import pytest
import soundfile as sf
import tiny_voices
from hypothesis import given, settings
from hypothesis import strategies as st
from window import attached, host, own_folders, until

pytest.importorskip("onnxruntime", reason="runs networks")

from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QTextCursor
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QMessageBox,
    QPlainTextEdit,
    QWidget,
)

from engines.speech.voices import add_voice
from gui.application import application
from gui.link import Link
from gui.reader import PARAGRAPH, Reader
from gui.speak import NO_HOST, NO_TEXT, Speak

pytestmark = pytest.mark.alone

TEXT = "😀 a bad hat.\nhe fell and he fell!"


@pytest.fixture(autouse=True, scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speak")
    with pytest.MonkeyPatch.context() as patch:
        own_folders(folder, patch)
        add_voice(tiny_voices.telling(folder / "ada", frames=True, phoneme_type="text"), "ada")
        yield


@pytest.fixture(scope="module")
def talking(folders):
    """A host with a voice."""
    with host(chain="say") as started:
        yield started


@pytest.fixture
def alone():
    """A link without a host."""
    application()
    return Link()


@pytest.fixture
def shown(qtbot):
    """Shows the view of a link; its voice is one whose sound is known."""
    made = []

    def show(link):
        view = Speak(link)
        made.append(view)
        view.resize(900, 600)
        view.show()
        until(qtbot, lambda: view.voice.findText("ada", Qt.MatchFlag.MatchStartsWith) >= 0)
        view.voice.setCurrentIndex(view.voice.findText("ada", Qt.MatchFlag.MatchStartsWith))
        return view

    yield show
    for view in made:
        view.end()
        view.deleteLater()


@pytest.fixture
def speaking(qtbot, shown, talking):
    """The view on a host with a voice, which is silent."""
    with attached(qtbot, talking) as link:
        view = shown(link)
        yield view
        link.send("hush say")
        until(qtbot, lambda: not view._told["speaking"])


def told_by(link):
    """What the view says, as it says it."""
    said = []
    link.said.connect(lambda text, is_error: said.append((text, is_error)))
    return said


# The text


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_places_are_codepoints_of_what_was_taken(data):
    application()
    letters = st.sampled_from("ab \n😀𝄞আমি\u09cd\u200dé")
    text = data.draw(st.text(letters, min_size=1, max_size=30))
    box = Reader()
    box.setPlainText(text)
    taken = text
    if data.draw(st.booleans()):  # a part of it is selected
        units = [0]
        for letter in text:
            units.append(units[-1] + len(letter.encode("utf-16-le")) // 2)
        begin = data.draw(st.integers(0, len(text) - 1))
        end = data.draw(st.integers(begin + 1, len(text)))
        cursor = QTextCursor(box.document())
        cursor.setPosition(units[begin])
        cursor.setPosition(units[end], QTextCursor.MoveMode.KeepAnchor)
        box.setTextCursor(cursor)
        taken = text[begin:end]
    if box.textCursor().hasSelection():  # Qt never divides a cluster.
        taken = box.textCursor().selectedText().replace(PARAGRAPH, "\n")
    assert box.take() == taken
    begin = data.draw(st.integers(0, len(taken) - 1))
    end = data.draw(st.integers(begin + 1, len(taken)))
    word = begin, data.draw(st.integers(begin + 1, end))
    box.mark((begin, end), word)
    selections = box.extraSelections()
    wanted = [taken[begin:end], taken[slice(*word)]]
    marked = [selection.cursor.selectedText().replace(PARAGRAPH, "\n") for selection in selections]
    assert marked == wanted


def test_an_edit_ends_the_marks_until_it_is_taken_again(qtbot):
    application()
    box = Reader()
    box.setPlainText("one two")
    box.take()
    box.mark((0, 7), (4, 7))
    assert box.marked == ("one two", "two")
    box.insertPlainText("now ")
    assert box.marked == ("", "")
    box.mark((0, 7), (4, 7))
    assert box.marked == ("", "")
    box.take()
    box.mark((0, 11), (8, 11))
    assert box.marked == ("now one two", "two")


def test_what_is_heard_is_scrolled_into_sight_and_the_cursor_stays(qtbot):
    application()
    box = Reader()
    qtbot.addWidget(box)
    box.resize(300, 120)
    box.setPlainText("a line\n" * 500)
    box.show()
    box.take()
    at = 7 * 400
    box.mark((at, at + 6), (at, at + 1))
    place = QTextCursor(box.document())
    place.setPosition(at)
    assert box.viewport().rect().contains(box.cursorRect(place))
    assert box.textCursor().position() == 0


def test_files_are_dropped_and_text_is_pasted(qtbot, tmp_path):
    application()
    box, dropped = Reader(), []
    box.dropped.connect(dropped.append)
    for content in (QUrl.fromLocalFile(str(tmp_path / "a.txt")), None):
        mime = QMimeData()
        if content is not None:
            mime.setUrls([content])
        else:
            mime.setText("words")
        assert box.canInsertFromMimeData(mime)
        box.insertFromMimeData(mime)
    assert (dropped, box.toPlainText()) == ([str(tmp_path / "a.txt")], "words")


# Speaking


def test_a_text_is_spoken_and_what_is_heard_stands_out(qtbot, speaking):
    view, marked = speaking, []
    view.speed.setValue(0.25)
    view.text.setPlainText(TEXT)
    view.spans.clear()
    view.link.changed.connect(lambda event: marked.append(view.text.marked))
    qtbot.keyClick(view.text, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    until(qtbot, lambda: view._told["text"] == view._number > 0)
    until(qtbot, lambda: not view._told["speaking"])
    sentences = [sentence for sentence, _ in dict.fromkeys(marked) if sentence]
    assert list(dict.fromkeys(sentences)) == ["😀 a bad hat.", "he fell and he fell!"]
    assert {word for _, word in marked} <= {"", "a", "bad", "hat", "he", "fell", "and"}
    assert view.text.marked == ("", "")
    words = [name for _, name in view.spans.names("word")]
    assert words == ["a", "bad", "hat", "", "he", "fell", "and", "he", "fell", ""]
    assert "".join(name for _, name in view.spans.names("phone")) == "abadhathefellandhefell"
    assert "first sound after" in view.facts.text()
    assert not list(Path(view._folder.name).iterdir())


def test_pause_and_stop(qtbot, speaking):
    view = speaking
    assert not view.pause_button.isEnabled()
    assert not view.stop_button.isEnabled()
    view.text.setPlainText("a bad hat. " * 500)
    view.speak_button.click()
    until(qtbot, lambda: view.text.marked[0])
    view.pause_button.click()
    until(qtbot, lambda: view._told["paused"])
    assert view.progress.format().startswith("paused, ")
    assert view.pause_button.text() == "Res&ume"
    view.pause_button.click()
    until(qtbot, lambda: not view._told["paused"])
    qtbot.keyClick(view.text, Qt.Key.Key_Escape)
    until(qtbot, lambda: not view._told["speaking"])
    assert view.text.marked == ("", "")
    assert view.progress.value() == 0


def test_a_new_text_takes_the_place_of_the_one_that_is_spoken(qtbot, speaking):
    view = speaking
    for text in ("a bad hat. " * 500, "he fell."):
        view.text.setPlainText(text)
        view.speak()
        until(qtbot, lambda: view._told["text"] == view._number > 0)
    assert view._told["length"] == len("he fell.")
    until(qtbot, lambda: not view._told["speaking"])


def test_a_long_text_is_handed_on_whole(qtbot, speaking):
    view = speaking
    view.text.setPlainText("A bad hat.\n" * 95_000)
    view.speak()
    until(qtbot, lambda: view._told["text"] == view._number > 0)
    assert view._told["length"] == 11 * 95_000
    view.stop()
    until(qtbot, lambda: not view._told["speaking"])


def test_what_cannot_be_spoken_is_said(qtbot, speaking):
    view, said = speaking, told_by(speaking.link)
    view.text.setPlainText("qqqq.")
    view.speak()
    until(qtbot, lambda: any("left out 'qqqq.'" in text and wrong for text, wrong in said))


def test_why_nothing_is_spoken_is_said(qtbot, speaking, alone):
    said = told_by(speaking.link)
    speaking.text.setPlainText("  ")
    speaking.text.setFocus()
    qtbot.keyClick(speaking.text, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert said[-1] == (NO_TEXT, True)
    view, said = Speak(alone), told_by(alone)
    view.text.setPlainText("so")
    view.speak()
    assert said[-1] == (NO_HOST, True)
    view.end()


def test_a_speed_that_is_turned_is_the_host_s_at_once(qtbot, speaking):
    speaking.speed.setValue(2.0)
    until(qtbot, lambda: speaking._told["factor"] == 2.0)
    speaking.speed.setValue(1.0)
    until(qtbot, lambda: speaking._told["factor"] == 1.0)


def test_a_rack_without_a_voice_gets_one(qtbot, shown):
    with host(chain="gain") as started, attached(qtbot, started) as link:
        view = shown(link)
        view.text.setPlainText("so")
        assert view.banner.isVisible()
        assert not view.speak_button.isEnabled()
        view.insert_button.click()
        view.insert_button.click()
        until(qtbot, lambda: link.state["loading"])
        assert not view.insert_button.isEnabled()
        until(qtbot, view.speak_button.isEnabled)
        until(qtbot, lambda: not link.state["loading"])
        assert not view.banner.isVisible()
        assert set(link.state["edges"]) == {
            "in.main -> gain.in",
            "gain.out -> out.main",
            "say.out -> out.main",
        }


def test_without_a_host_one_is_asked_for_and_gets_a_voice(qtbot, shown):
    with host(chain="gain") as started, attached(qtbot, started) as link:
        link.detach("for now")
        view, asked = shown(link), []
        view.host_wanted.connect(lambda: asked.append(True))
        view.insert_button.click()
        assert asked == [True]
        link.attach(started.process.pid)
        until(qtbot, lambda: view._node == "say")
        link.detach("again")
        assert view._node == ""
        assert view.banner.isVisible()


# Files


def test_a_text_is_saved(qtbot, shown, alone, tmp_path):
    view, said = shown(alone), told_by(alone)
    view.text.setPlainText(TEXT[2:])
    view.save(str(tmp_path / "out.wav"))
    assert view.save_button.text() == "Cancel savin&g, 0 %"
    until(qtbot, lambda: "2 sentences, ada" in said[-1][0])
    assert sf.info(tmp_path / "out.wav").samplerate == tiny_voices.RATE
    view.save(str(tmp_path / "out.txt"))
    until(qtbot, lambda: said[-1][1])
    assert "out.txt" in said[-1][0]
    assert view.save_button.text() == "Save to &file..."
    view.text.setPlainText("a bad hat. " * 50_000)
    view.save(str(tmp_path / "long.wav"))
    until(qtbot, lambda: view.save_button.text() not in ("Save to &file...", "Cancel savin&g, 0 %"))
    view._save()
    until(qtbot, lambda: said[-1] == ("saving was cancelled", False))
    assert not (tmp_path / "long.wav").exists()


def test_closing_asks_where_a_text_is_saved(qtbot, shown, alone, tmp_path, monkeypatch):
    view = shown(alone)
    assert view.may_close()
    view.text.setPlainText("a bad hat. " * 50_000)
    view.save(str(tmp_path / "long.wav"))
    until(qtbot, view._saving.processId)
    buttons = QMessageBox.StandardButton
    answers = iter([buttons.No, buttons.Yes])
    monkeypatch.setattr(QMessageBox, "question", lambda *asked: next(answers))
    assert not view.may_close()
    assert view._saving.processId()
    assert view.may_close()
    assert not view._saving.processId()
    assert list(tmp_path.iterdir()) == []


def test_the_voice_of_english_is_chosen_at_first(qtbot, alone):
    view = Speak(alone)
    assert view._voice()["name"] == "kathleen"
    view.show()
    until(qtbot, lambda: view.voice.findText("ada", Qt.MatchFlag.MatchStartsWith) >= 0)
    assert view._voice()["name"] == "kathleen"
    view.end()
    view.deleteLater()


def test_the_voice_and_its_speed_are_remembered(qtbot, shown, alone):
    view = shown(alone)
    view.speed.setValue(1.5)
    kept = json.loads(json.dumps(view.kept()))
    assert (kept["voice"], kept["speed"]) == ("ada", 1.5)
    unknown = {"voice": "nobody", "speaker": 2, "speed": "fast"}
    for restored, voice, speed in ((kept, "ada", 1.5), (unknown, view.voice.itemData(0)["name"], 1.0)):
        other = Speak(alone)
        other.restore(restored)
        other.show()
        until(qtbot, lambda other=other: other.voice.findText("ada", Qt.MatchFlag.MatchStartsWith) >= 0)
        assert other.speed.value() == speed
        assert other._voice()["name"] == voice
        other.end()
        other.deleteLater()


def test_a_file_is_opened_and_one_that_is_no_text_leaves_what_is_there(shown, alone, tmp_path):
    view, said = shown(alone), told_by(alone)
    (tmp_path / "good.txt").write_text("আমি বাংলায় গান গাই।", encoding="utf-8-sig")
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9")
    view.open(str(tmp_path / "good.txt"))
    assert view.text.toPlainText() == "আমি বাংলায় গান গাই।"
    for name, why in (("bad.txt", "is no UTF-8 text"), ("no.txt", "no such file")):
        view.open(str(tmp_path / name))
        assert why in said[-1][0]
        assert said[-1][1]
    assert view.text.toPlainText() == "আমি বাংলায় গান গাই।"


def test_every_control_has_a_name_and_is_reached_by_tab(speaking):
    view = speaking
    view.text.setPlainText("so")
    kinds = QAbstractButton, QAbstractSpinBox, QComboBox, QPlainTextEdit
    controls = [
        each
        for each in view.findChildren(QWidget)
        if isinstance(each, kinds) and each.isVisible() and each.isEnabled()
    ]
    assert len(controls) >= 6
    for control in controls:
        assert control.accessibleName() or isinstance(control.parent(), QAbstractSpinBox), control
        assert control.focusPolicy() & Qt.FocusPolicy.TabFocus, control
