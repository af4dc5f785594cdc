"""The view Speak: a text is read aloud by the host's voice, and followed while it is heard."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PySide6.QtCore import QCoreApplication, QProcess, Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut, QShowEvent, QStandardItemModel
from PySide6.QtWidgets import (
    QDoubleSpinBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from engines.speech.voices import VARIETIES, default_voice
from engines.speech.written import read_text
from gui.choices import Choice
from gui.flow import Flow, together
from gui.labels import Elided
from gui.link import Link, nodes_of
from gui.questions import agreed
from gui.reader import Reader, Span
from gui.spans import Spans
from gui.spectrogram import Spectrogram
from rtaudio.errors import UserError

SLOWEST, FASTEST = 0.25, 4.0
SEEN = 5.0
"""Seconds of the picture: phones are wide enough to be read."""
ENDING = 10_000
"""Milliseconds that a process may take to end."""
STEPS = 1000
"""Of the progress."""
INSERT = "insert last say"
"""Puts a voice beside what the rack plays."""
NO_VOICE = "The rack has no voice: texts cannot be spoken yet"
NO_HOST = "No host runs: texts can be saved to a file, and are heard once one does"
NO_TEXT = "There is nothing to speak: type a text, paste one, or open a file"
SOUNDS = "Sound files (*.wav *.flac *.ogg *.mp3)"
TEXTS = "Texts (*.txt *.md *.ssml *.xml);;All files (*)"


class Speak(QWidget):
    """Reads a text through the node that takes ``say`` in the host's rack, and into files by itself.

    Parameters
    ----------
    link
        The connection with the host.
    """

    title = "Speak"
    host_wanted = Signal()
    """A host is to be started: the voice is put into its rack once it is there."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.link = link
        self._node = ""
        """The one that speaks; empty: there is none."""
        self._told: dict[str, Any] = {}
        self._number = 0
        """Of the text that is followed, as the host counts them; 0: none."""
        self._insert_soon = False
        self._wanted: tuple[str, int] | None = None
        """A voice and its speaker that are remembered, and not listed yet."""
        self._place = ""
        """The folder where a file was chosen last."""
        self._folder: TemporaryDirectory[str] | None = None
        self._files = 0
        self._listing = QProcess(self)
        self._listing.finished.connect(self._list_voices)
        self._saving = QProcess(self)
        self._saving.finished.connect(self._on_saved)
        self._saving.errorOccurred.connect(self._on_no_program)
        self._saving.readyReadStandardOutput.connect(self._on_progress)
        self._target, self._cancelled, self._saved = "", False, 0.0
        self._make_banner()
        self._make_controls()
        self._lay_out()
        self._make_keys()
        link.stated.connect(self._on_state)
        link.changed.connect(self._on_event)
        link.detached.connect(self._on_detached)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.end)
        self._on_state(link.state)

    # -------------------------------------------------------------------------------- parts

    def _make_banner(self) -> None:
        self.banner = QFrame()
        self.banner.setObjectName("banner")
        self._banner_text = Elided()
        self.insert_button = QPushButton()
        self.insert_button.clicked.connect(self._insert)
        row = QHBoxLayout(self.banner)
        row.setContentsMargins(10, 4, 6, 4)
        row.addWidget(self._banner_text, 1)
        row.addWidget(self.insert_button)

    def _make_controls(self) -> None:
        self.text = Reader()
        self.text.textChanged.connect(self._show_buttons)
        self.text.dropped.connect(self.open)
        self.voice = Choice()
        self.voice.setAccessibleName("Voice")
        self.voice.setMinimumContentsLength(14)
        self.voice.setSizeAdjustPolicy(Choice.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        for language in VARIETIES:
            self._add_voice({"name": default_voice(language), "language": language, "speakers": 1})
        self.voice.currentIndexChanged.connect(self._on_voice)
        self.speaker = QSpinBox()
        self.speaker.setAccessibleName("Speaker of the voice")
        self.speaker.setPrefix("speaker ")
        self.speed = QDoubleSpinBox()
        self.speed.setAccessibleName("Speed")
        self.speed.setToolTip(
            "How much faster than the voice speaks by itself; while it speaks, from the next sentence on"
        )
        self.speed.setRange(SLOWEST, FASTEST)
        self.speed.setSingleStep(0.05)
        self.speed.setSuffix(" x")
        self.speed.setValue(1.0)
        self.speed.setKeyboardTracking(False)
        self.speed.valueChanged.connect(self._on_speed)
        self.speak_button = self._button(
            "&Speak", "Speak the text, or what is selected (Ctrl+Enter)", self.speak
        )
        self.pause_button = self._button("&Pause", "Stand still, and go on", self._pause)
        self.pause_button.setCheckable(True)
        self.stop_button = self._button("S&top", "Be silent at once (Esc)", self.stop)
        self.open_button = self._button("&Open...", "Open a file of text", self._ask_for_text)
        self.save_button = self._button("Save to &file...", "Speak into a file of sound", self._save)
        self.progress = QProgressBar()
        self.progress.setAccessibleName("How much of the text has been heard")
        self.progress.setRange(0, STEPS)
        self.facts = Elided()
        self.facts.setAccessibleName("What speaking costs")
        self.spectrogram = Spectrogram(self.link, ["out"], title="Output")
        self.spectrogram.set_seconds(SEEN)
        self.spectrogram.hovered.connect(self.link.hinted)
        self.spans = Spans(self.spectrogram)

    def _button(self, text: str, tip: str, done: Any) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        button.setAccessibleName(text.replace("&", "").rstrip("."))
        button.clicked.connect(done)
        return button

    def _lay_out(self) -> None:
        voice, speed = QLabel("Vo&ice"), QLabel("Spee&d")
        voice.setBuddy(self.voice)
        speed.setBuddy(self.speed)
        row = Flow()
        for widget in (together(voice, self.voice), self.speaker, together(speed, self.speed)):
            row.addWidget(widget)
        row.add_stretch()
        for button in (self.speak_button, self.pause_button, self.stop_button):
            row.addWidget(button)
        below = QHBoxLayout()
        below.addWidget(self.progress, 1)
        below.addWidget(self.facts, 1)
        for button in (self.open_button, self.save_button):
            below.addWidget(button)
        above = QWidget()
        column = QVBoxLayout(above)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.banner)
        column.addWidget(self.text, 1)
        column.addLayout(row)
        column.addLayout(below)
        parts = QSplitter(Qt.Orientation.Vertical)
        parts.setChildrenCollapsible(False)
        parts.addWidget(above)
        seen = QWidget()
        under = QVBoxLayout(seen)
        under.setContentsMargins(0, 0, 0, 0)
        under.setSpacing(0)
        under.addWidget(self.spectrogram, 1)
        under.addWidget(self.spans)
        parts.addWidget(seen)
        parts.setStretchFactor(0, 3)
        parts.setStretchFactor(1, 2)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(4, 4, 4, 4)
        whole.addWidget(parts)
        self._show_speakers()

    def _make_keys(self) -> None:
        for keys, done, what in (
            ("Ctrl+Return", self.speak, "Speak the text, or what is selected"),
            ("Ctrl+Enter", self.speak, ""),
            ("Esc", self.stop, "Stop speaking"),
        ):
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.setWhatsThis(what)
            shortcut.activated.connect(done)

    def refresh(self) -> None:
        """Draw what is new of the sound."""
        self.spectrogram.refresh()
        self.spans.refresh()

    def set_map(self, name: str) -> None:
        """Draw the spectrogram in another colour map."""
        self.spectrogram.set_map(name)

    def kept(self) -> dict[str, Any]:
        """What is remembered of it."""
        voice, speaker = self._wanted or self._chosen()
        return {"voice": voice, "speaker": speaker, "speed": self.speed.value(), "folder": self._place}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Be as it was; a voice that is not there any more is passed over."""
        self._place = str(kept.get("folder", ""))
        voice, speaker, speed = (kept.get(name) for name in ("voice", "speaker", "speed"))
        if isinstance(voice, str) and isinstance(speaker, int):
            self._wanted = voice, speaker
        if isinstance(speed, int | float):
            self.speed.setValue(speed)

    # -------------------------------------------------------------------------------- voices

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """The voices are those that are there when this is shown."""
        super().showEvent(event)
        if self._listing.state() == QProcess.ProcessState.NotRunning:
            self._listing.start(*_program("voices", "--json"))
        self._prepare()

    def _list_voices(self) -> None:
        """Show the voices that were found; where none were, those that are there stay."""
        try:
            found = json.loads(bytes(self._listing.readAllStandardOutput().data()))
        except ValueError:
            return
        before = self._chosen()
        (chosen, speaker), self._wanted = self._wanted or before, None
        self.voice.blockSignals(True)
        self.voice.clear()
        for voice in found:
            self._add_voice(voice)
        self.voice.setCurrentIndex(max(0, self._place_of(chosen)))
        self.voice.blockSignals(False)
        self._show_speakers()
        self.speaker.setValue(speaker)
        if self._chosen() != before:
            self._prepare()

    def _add_voice(self, voice: dict[str, Any]) -> None:
        self.voice.addItem(f"{voice['name']}  ({voice['language'] or 'cannot be used'})", voice)
        at, trouble = self.voice.count() - 1, voice.get("trouble", "")
        speed = voice.get("speed")
        facts = [voice.get("kind", ""), voice.get("licence", "")]
        facts += [f"{speed:.3f} CPU s per s of sound"] if speed is not None else []
        self.voice.setItemData(at, trouble or ", ".join(filter(None, facts)), Qt.ItemDataRole.ToolTipRole)
        model = self.voice.model()
        if trouble and isinstance(model, QStandardItemModel):
            model.item(at).setEnabled(False)

    def _place_of(self, name: str) -> int:
        names = [self.voice.itemData(at)["name"] for at in range(self.voice.count())]
        return names.index(name) if name in names else -1

    def _voice(self) -> dict[str, Any]:
        found: dict[str, Any] = self.voice.currentData() or {"name": "", "language": "en", "speakers": 1}
        return found

    def _chosen(self) -> tuple[str, int]:
        return self._voice()["name"], self.speaker.value()

    def _show_speakers(self) -> None:
        count = self._voice()["speakers"]
        self.speaker.setRange(0, max(0, count - 1))
        self.speaker.setVisible(count > 1)

    def _on_voice(self) -> None:
        self._wanted = None
        self._show_speakers()
        self._prepare()

    def _prepare(self) -> None:
        """Let the voice be opened, so that it speaks at once when it is asked to."""
        if self._node and self.isVisible():
            for name, value in self._settings().items():
                self._send(f"use {self._node} {name} {value or repr('')}")

    def _on_speed(self, factor: float) -> None:
        """Let what is spoken go on at another speed, from its next sentence."""
        if self._node:
            self._send(f"use {self._node} factor {factor:g}")

    def _settings(self) -> dict[str, str]:
        """How a text is to be spoken, in the words of lines and options."""
        voice = self._voice()
        return {
            "voice": voice["name"],
            "lang": "auto",
            "speaker": str(self.speaker.value()) if voice["speakers"] > 1 else "",
            "factor": f"{self.speed.value():g}",
        }

    # -------------------------------------------------------------------------------- speaking

    def speak(self) -> None:
        """Speak what is selected, or all, in place of what is spoken."""
        text = self.text.take()
        if not self._node:
            self.link.said.emit(NO_VOICE if self.link.state else NO_HOST, True)
            return
        if not text.strip():
            self.link.said.emit(NO_TEXT, True)
            return
        path = self._write(text)
        if path is None:
            return
        self._prepare()
        self._send(f"hush {self._node}")
        self._number = 0
        self.link.send(f"read {self._node} {path}", lambda answer: self._on_begun(path, answer))

    def _on_begun(self, path: Path, answer: dict[str, Any]) -> None:
        path.unlink(missing_ok=True)
        if answer["ok"]:
            self._number = answer["text"]
        else:
            self.link.said.emit(answer["error"], True)

    def stop(self) -> None:
        """Be silent at once."""
        if self._node:
            self._send(f"hush {self._node}")

    def _pause(self) -> None:
        on = self.pause_button.isChecked()
        self._send(f"{'pause' if on else 'resume'} {self._node}")

    def _send(self, line: str) -> None:
        """Send a line, of which only what is wrong is said."""
        self.link.send(line, self._say_error)

    def _say_error(self, answer: dict[str, Any]) -> None:
        if not answer["ok"]:
            self.link.said.emit(answer["error"], True)

    def _write(self, text: str) -> Path | None:
        """A file of the text, for another process; None where there is no room for it."""
        try:
            if self._folder is None:
                self._folder = TemporaryDirectory(prefix="rtaudio-")
            self._files += 1
            path = Path(self._folder.name, f"{self._files}.txt")
            path.write_bytes(text.encode("utf-8-sig", "replace"))
        except OSError as error:
            self.link.said.emit(f"the text cannot be handed on: {error.strerror}", True)
            return None
        return path

    # -------------------------------------------------------------------------------- what the host tells

    def _on_state(self, state: dict[str, Any]) -> None:
        speaks = [node for node in nodes_of(state) if "say" in node.get("lines", ())]
        node = speaks[0]["name"] if speaks else ""
        if node != self._node:
            self._node, self._number = node, 0
            self._prepare()
        self._on_told(speaks[0]["told"] if speaks else {})
        self.banner.setVisible(not speaks)
        self._banner_text.show_text(NO_VOICE if state else NO_HOST)
        self.insert_button.setText("Add a voice" if state else "Start a host with a voice")
        self._show_insert()
        if speaks:
            self._insert_soon = False
        elif state and self._insert_soon:
            self._insert_soon = False
            self._insert()

    def _on_detached(self, why: str) -> None:
        self._on_state({})
        self.spans.clear()

    def _insert(self) -> None:
        if self.link.state:
            self.insert_button.setEnabled(False)
            self.link.send(INSERT, self._on_inserted)
        else:
            self._insert_soon = True
            self.host_wanted.emit()

    def _on_inserted(self, answer: dict[str, Any]) -> None:
        self.link.said.emit(answer.get("answer", answer.get("error", "")), not answer["ok"])
        if not answer["ok"]:
            self._show_insert()

    def _show_insert(self) -> None:
        """Let no voice be added while one loads."""
        self.insert_button.setEnabled(INSERT not in self.link.state.get("loading", ()))

    def _on_event(self, event: dict[str, Any]) -> None:
        if event["event"] == "told" and event["node"] == self._node:
            self._on_told(event["told"])
        elif event["event"] in ("loading", "done"):
            self._show_insert()

    def _on_told(self, told: dict[str, Any]) -> None:
        """Show how the speech goes on; {} where nothing can speak."""
        before, self._told = self._told, told
        self.spans.take(told.get("begun", {}))
        problems = told.get("problems", [])
        if problems and problems != before.get("problems", problems):
            self.link.said.emit(problems[-1], True)
        mine = bool(self._number) and told.get("text") == self._number
        self.text.mark(*(_span(told[part]) if mine else None for part in ("sentence", "word")))
        self._show_progress(told)
        paused = bool(told.get("paused"))
        self.pause_button.setChecked(paused)
        self.pause_button.setText("Res&ume" if paused else "&Pause")
        self._show_buttons()

    def _show_progress(self, told: dict[str, Any]) -> None:
        length = told.get("length", 0)
        place = told["word"] or told["sentence"] if length else None
        done = place[1] / length if place else 0.0
        words = (
            f"{100 * done:.0f} %" if place else "waiting for the voice" if told.get("speaking") else "silent"
        )
        if told.get("paused"):
            words = f"paused, {words}"
        self.progress.setFormat(words)
        self.progress.setValue(round(STEPS * done))
        facts = []
        if told.get("first_sound_ms") is not None:
            facts.append(f"first sound after {told['first_sound_ms']:.0f} ms")
        if told.get("cpu_per_second") is not None:
            facts.append(f"{told['cpu_per_second']:.3f} CPU s per s of sound")
        if told.get("underflows"):
            facts.append(f"{told['underflows']} gaps: the voice is too slow")
        if facts or not told:
            self.facts.show_text(", ".join(facts))

    def _show_buttons(self) -> None:
        some, speaking = not self.text.document().isEmpty(), bool(self._told.get("speaking"))
        saving = self._saving.state() != QProcess.ProcessState.NotRunning
        self.speak_button.setEnabled(bool(self._node) and some)
        self.pause_button.setEnabled(bool(self._node) and (speaking or bool(self._told.get("paused"))))
        self.stop_button.setEnabled(speaking)
        self.save_button.setEnabled(some or saving)
        self.save_button.setText(
            f"Cancel savin&g, {100 * self._saved:.0f} %" if saving else "Save to &file..."
        )

    # -------------------------------------------------------------------------------- files

    def open(self, path: str) -> None:
        """Show the text of a file, in place of the one that is there."""
        try:
            self.text.setPlainText(read_text(Path(path)))
        except UserError as error:
            self.link.said.emit(str(error), True)

    def _ask_for_text(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a text", self._place, TEXTS)
        if path:
            self._place = os.path.dirname(path)
            self.open(path)

    def _save(self) -> None:
        if self._saving.state() != QProcess.ProcessState.NotRunning:
            self._cancelled = True
            self._saving.terminate()
            return
        wanted = os.path.join(self._place, "speech.wav")
        path, _ = QFileDialog.getSaveFileName(self, "Speak into a file", wanted, SOUNDS)
        if path:
            self._place = os.path.dirname(path)
            self.save(path)

    def save(self, path: str) -> None:
        """Speak what is selected, or all, into a file, in a process of its own."""
        text = self._write(self.text.take())
        if text is None:
            return
        options = self._settings()
        options["rate-factor"] = options.pop("factor")
        said = [f"--{name}={value}" for name, value in options.items() if value]
        self._target, self._cancelled, self._saved = path, False, 0.0
        self._saving.start(*_program("say", f"--file={text}", f"--output={path}", "--progress", *said))
        self.link.said.emit(f"speaking into {path} ...", False)
        self._show_buttons()

    def _on_progress(self) -> None:
        """Show how much of the text is in the file: the last line that has come counts."""
        while self._saving.canReadLine():
            with suppress(ValueError, KeyError, TypeError):  # What an engine prints.
                told = json.loads(bytes(self._saving.readLine().data()))
                self._saved = told["done"] / told["total"]
        self._show_buttons()

    def _on_saved(self, status: int, how: QProcess.ExitStatus) -> None:
        lines = bytes(self._saving.readAllStandardError().data()).decode(errors="replace").splitlines()
        told = [line for line in lines if not line.startswith("note: ")]  # What was left out, too.
        said = "; ".join(told) or f"{self._target} was not written"
        if self._cancelled:
            self.link.said.emit("saving was cancelled", False)
        else:
            self.link.said.emit(said, status != 0 or how == QProcess.ExitStatus.CrashExit)
        self._show_buttons()

    def _on_no_program(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self.link.said.emit(f"cannot speak into a file: {self._saving.errorString()}", True)
            self._show_buttons()

    def may_close(self) -> bool:
        """Ask, where a text is being saved, whether that may be cancelled, and cancel it."""
        if self._saving.state() == QProcess.ProcessState.NotRunning:
            return True
        if not agreed(self, "A text is being saved", f"{self._target} is being written. Cancel and close?"):
            return False
        self._cancelled = True
        self._saving.terminate()
        self._saving.waitForFinished(ENDING)
        return True

    def end(self) -> None:
        """End what runs in other processes, and remove what was written for them."""
        for process in (self._listing, self._saving):
            if process.state() != QProcess.ProcessState.NotRunning:
                process.kill()
                process.waitForFinished()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _span(span: Sequence[int] | None) -> Span | None:
    return None if span is None else (span[0], span[1])


def _program(*arguments: str) -> tuple[str, list[str]]:
    """What runs this program in another process."""
    return sys.executable, ["-P", "-m", "rtaudio", *arguments]
