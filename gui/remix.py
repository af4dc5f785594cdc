"""The view Remix: faders, switches and levels of the stems, their pictures, and the file that is remixed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

from PySide6.QtCore import QEvent, QObject, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QKeyEvent,
    QKeySequence,
    QPainter,
    QPaintEvent,
    QPalette,
    QShortcut,
)
from PySide6.QtWidgets import (
    QApplication,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSlider,
    QSplitter,
    QStackedWidget,
    QStyle,
    QVBoxLayout,
    QWidget,
)

from gui.choices import Choice
from gui.colours import LAYERS
from gui.deck import Deck
from gui.flow import Flow, together
from gui.labels import Elided
from gui.link import Link, insert_line
from gui.meters import level
from gui.parameters import Fader, Scale
from gui.pictures import PictureControls, PicturesView
from gui.solo import BandSolo
from gui.spectrogram import Spectrogram
from rtaudio.errors import UserError

ENGINE, NODE = "remix", "remix(preset=live)"
"""The engine, and what is inserted of it."""
LOWEST, HIGHEST = -60.0, 6.0
"""dB at the ends of a level."""
MARKS = (24, 12, -12, -24, 6, -6, -36, -48)
"""dB that are marked at a fader besides 0 and silence, as there is room: the first before the others."""
HOLD, FALL = 1.0, 30.0
"""Seconds that a peak is held, and dB a second that it falls then."""
WELL, MARK, PEAK, OVER = QColor("#15171c"), QColor("#6f7a87"), QColor("#e6e9ef"), QColor("#ff6b6b")
"""Of a level, in both themes: behind it, at full scale, its peak, and a peak beyond full scale."""
MODIFIERS = (Qt.Key.Key_Shift, Qt.Key.Key_Control, Qt.Key.Key_Alt, Qt.Key.Key_AltGr, Qt.Key.Key_Meta)
STRIP_WIDTH, PICTURE_WIDTH = 76, 160
"""Pixels that a stem's strip and the pictures have, at least."""
SWITCH_STYLE = "QPushButton:checked {{ background: {}; color: {}; font-weight: bold; }}"
MUTED, SOLOED = ("#a83232", "#ffffff"), ("#e0b93c", "#15171c")


class Marks(QWidget):
    """The dB beside a vertical fader."""

    def __init__(self, fader: Fader) -> None:
        super().__init__()
        self._fader = fader
        self.setFixedWidth(self.fontMetrics().horizontalAdvance("−48") + 8)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw those of `MARKS` that there is room for, and one for silence."""
        fader, painter = self._fader, QPainter(self)
        handle = fader.style().pixelMetric(QStyle.PixelMetric.PM_SliderLength, None, fader)
        height = self.fontMetrics().height()
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        drawn: list[int] = []
        for mark in (0, round(fader.scale.minimum), *MARKS):
            place = round(fader.scale.share(mark) * fader.maximum())
            above = QStyle.sliderPositionFromValue(0, fader.maximum(), place, fader.height() - handle, True)
            y = above + handle // 2
            if mark > fader.scale.maximum or any(abs(y - other) < height for other in drawn):
                continue
            drawn.append(y)
            painter.drawLine(self.width() - 4, y, self.width(), y)
            text = "−∞" if mark <= fader.scale.minimum else f"{mark:+d}".replace("+0", "0")
            room = QRectF(0, y - height / 2, self.width() - 6, height)
            flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(room, flags, text.replace("-", "−"))
        painter.end()


class Level(QWidget):
    """Level of a view: a bar for the RMS, a line for the peak, which is held."""

    def __init__(self, colour: QColor, name: str) -> None:
        super().__init__()
        self._colour = colour
        self._rms = self._peak = LOWEST
        self._held_at = 0
        self._shown = (0, 0)
        self.setAccessibleName(name)
        self.setFixedWidth(14)

    def show_level(self, peak: float, rms: float, position: int, rate: int) -> None:
        """Show amplitudes at a position of the input."""
        now = level(peak)
        fallen = self._peak - FALL * max(0.0, (position - self._held_at) / rate - HOLD)
        if now >= fallen:
            self._peak, self._held_at = now, position
            fallen = now
        self._rms = level(rms)
        shown = round(self._y(self._rms)), round(self._y(fallen))
        if shown != self._shown:
            self._shown = shown
            self.update()

    def clear(self) -> None:
        """Show silence."""
        self._peak, self._held_at = LOWEST, 0
        self.show_level(0.0, 0.0, 0, 1)

    def _y(self, db: float) -> float:
        return self.height() * (HIGHEST - min(max(db, LOWEST), HIGHEST)) / (HIGHEST - LOWEST)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw the bar, the peak, and a mark at full scale."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), WELL)
        bar, peak = self._shown
        painter.fillRect(2, bar, self.width() - 4, self.height() - bar, self._colour)
        full = round(self._y(0.0))
        if peak < self.height():
            colour = OVER if peak < full else PEAK
            painter.fillRect(1, max(0, peak - 1), self.width() - 2, 2, colour)
        painter.fillRect(0, full, self.width(), 1, MARK)
        painter.end()


class Strip(QFrame):
    """A stem: its fader, level, mute, solo and kill."""

    turned = Signal(str, float)
    """A parameter of the node, without the node's name, and its value."""

    def __init__(self, stem: str, number: int, gain: dict[str, Any]) -> None:
        super().__init__()
        self.stem = stem
        self._since: int | None = None
        self._switches: dict[str, QPushButton] = {}
        self._sent = dict.fromkeys(("mute", "solo", "kill"), False)
        title, colour = stem.capitalize(), QColor(*LAYERS[number % len(LAYERS)].tolist())
        scale = Scale("dB", gain["minimum"], gain["maximum"], gain["unit"], gain["silence"])
        self.fader = Fader(scale, gain["value"], gain["default"], Qt.Orientation.Vertical)
        self.fader.setAccessibleName(f"{title} gain")
        self.fader.setMinimumHeight(120)
        self.fader.moved.connect(self._turn_gain)
        self.level = Level(colour, f"{title} level")
        self.value = QLabel()
        self.value.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.mute = self._switch("M", "mute", f"Mute {stem}", MUTED)
        self.solo = self._switch("S", "solo", f"Solo {stem}", SOLOED)
        self.kill = self._switch(f"Kill  {number + 1}", "kill", f"Kill {stem}", MUTED)
        self.kill.setToolTip(f"Kill {stem}; the key {number + 1} does so while it is held")
        name = QLabel(title)
        name.setAlignment(Qt.AlignmentFlag.AlignCenter)
        band = QFrame()
        band.setFixedHeight(3)
        band.setStyleSheet(f"background: {colour.name()};")
        grid = QGridLayout(self)
        grid.setContentsMargins(4, 4, 4, 4)
        grid.setHorizontalSpacing(2)
        grid.addWidget(name, 0, 0, 1, 4)
        grid.addWidget(band, 1, 0, 1, 4)
        grid.addWidget(Marks(self.fader), 2, 0)
        grid.addWidget(self.fader, 2, 1, 1, 2)
        grid.addWidget(self.level, 2, 3)
        grid.addWidget(self.value, 3, 0, 1, 4)
        switches = QHBoxLayout()
        switches.setSpacing(4)
        switches.addWidget(self.mute)
        switches.addWidget(self.solo)
        grid.addLayout(switches, 4, 0, 1, 4)
        grid.addWidget(self.kill, 5, 0, 1, 4)
        grid.setRowStretch(2, 1)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Expanding)
        self.setFixedWidth(max(STRIP_WIDTH, name.sizeHint().width() + 12))

    def _switch(self, text: str, parameter: str, name: str, colours: tuple[str, str]) -> QPushButton:
        button = QPushButton(text)
        button.setCheckable(True)
        button.setAccessibleName(name)
        button.setToolTip(name)
        button.setMinimumWidth(20)
        button.setStyleSheet(SWITCH_STYLE.format(*colours))
        button.clicked.connect(self._switch_over)
        self._switches[parameter] = button
        return button

    def _switch_over(self) -> None:
        """Send what a click has changed."""
        for name, button in self._switches.items():
            if button.isChecked() != self._sent[name]:
                self._sent[name] = button.isChecked()
                self.turned.emit(f"{self.stem}_{name}", float(button.isChecked()))

    def _turn_gain(self, gain: float) -> None:
        self.turned.emit(f"{self.stem}_gain", gain)
        self._show_gain(gain)

    def _show_gain(self, gain: float) -> None:
        shown = f"{gain:+.1f} dB".replace("-", "−").replace("+0.0", "0.0").replace("−0.0", "0.0")
        self.value.setText(shown if gain > self.fader.scale.minimum else "−∞ dB")

    def set_kill(self, on: bool) -> None:
        """Kill the stem, or let it live, as a click would."""
        if self.kill.isChecked() != on:
            self.kill.setChecked(on)
            self._switch_over()

    def show_value(self, control: str, value: float) -> None:
        """Show what ``gain``, ``mute``, ``solo`` or ``kill`` is now."""
        if control == "gain":
            self.fader.show_value(value)
            self._show_gain(self.fader.held)
        elif control in self._switches:
            self._sent[control] = value >= 0.5
            self._switches[control].setChecked(value >= 0.5)

    def refresh(self, link: Link, view: str) -> None:
        """Show the level as it is now."""
        observation = link.observation
        if observation is None:
            return
        try:
            meters = observation.meters(view, self._since)
        except UserError:  # Not seen yet, or not any more.
            self.level.clear()
            self._since = None
            return
        self._since = meters.position
        self.level.show_level(
            float(meters.peak.max()), float(meters.rms.max()), meters.position, observation.rate
        )


class Remix(PicturesView):
    """The node ``remix`` of the host's rack, and its deck.

    While 1, 2 or 3 is held the stem of that number is killed. A file that is dropped is played.
    """

    title = "Remix"

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link
        self._node = ""
        self.strips: list[Strip] = []
        self._pictures: list[Spectrogram] = []
        self._pages: list[QWidget] = []
        self._map = ""
        self._held: dict[int, tuple[Strip, int | None]] = {}
        """Stems that a key kills, by the key, with its scan code; None: the code is not known."""
        self._pressed: list[int] = []
        """Scan codes of keys that were pressed since, the last one last."""
        self.deck = Deck(link)
        self.deck.chosen.connect(self.chosen)
        self.hover = Elided(role=QPalette.ColorRole.PlaceholderText)
        self.hover.setAccessibleName("Under the pointer")
        self.band = BandSolo(link)
        self.layers = Choice()
        self.layers.addItems(["overlaid", "stacked"])
        self.layers.setAccessibleName("Pictures of the stems")
        self.layers.currentIndexChanged.connect(self._show_layers)
        self.controls = PictureControls([])
        self.pictures = QStackedWidget()
        self._strips_row = QHBoxLayout()
        self._strips_row.setSpacing(4)
        self.crossfader = Fader(Scale("linear", -1.0, 1.0), 0.0, 0.0)
        self.crossfader.setAccessibleName("Crossfader")
        self.crossfader.setTickPosition(QSlider.TickPosition.TicksBelow)
        self.crossfader.setTickInterval(self.crossfader.maximum() // 2)
        self.crossfader.setToolTip("−1: harmonic alone; 0: both; 1: percussive alone")
        self.crossfader.moved.connect(self._turn_crossfader)
        self.sides = QLabel(), QLabel()
        self.stack = QStackedWidget()
        self.stack.addWidget(self._make_nothing())
        self.stack.addWidget(self._make_mixer())
        layout = QVBoxLayout(self)
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.addWidget(self.deck)
        split.addWidget(self.stack)
        split.setStretchFactor(0, 1)
        split.setStretchFactor(1, 4)
        layout.addWidget(split)
        for number in range(9):
            keys = QShortcut(QKeySequence(str(number + 1)), self)
            keys.setAutoRepeat(False)
            keys.activated.connect(partial(self._press, number))
            if number == 0:
                keys.setWhatsThis("Kill a stem while the key of its number is held")
        link.stated.connect(self._take_state)
        link.changed.connect(self._take_event)
        link.detached.connect(self._lose)
        self._take_state(link.state)

    # ------------------------------------------------------------------------------------ what it is made of

    def _make_nothing(self) -> QWidget:
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.words.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.insert = QPushButton("Add remi&x to the rack")
        self.insert.clicked.connect(self._insert)
        self.play = QPushButton("Play a &file through remix…")
        self.play.clicked.connect(self.deck.ask_for_file)
        page = QWidget()
        column = QVBoxLayout(page)
        column.addStretch(1)
        column.addWidget(self.words)
        for button in (self.insert, self.play):
            button.setAccessibleName(button.text().replace("&", "").rstrip("…"))
            column.addWidget(button, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(2)
        return page

    def _make_mixer(self) -> QWidget:
        mixer = QVBoxLayout()
        mixer.addLayout(self._strips_row, 1)
        mixer.addWidget(self.crossfader)
        sides = QHBoxLayout()
        sides.addWidget(self.sides[0])
        sides.addStretch(1)
        sides.addWidget(self.sides[1])
        mixer.addLayout(sides)
        choice = Flow()
        choice.addWidget(together(QLabel("Stems"), self.layers))
        choice.add_stretch()
        choice.addWidget(self.controls)
        shown = QVBoxLayout()
        shown.addWidget(self.pictures, 1)
        told = QHBoxLayout()
        told.addWidget(self.hover, 1)
        told.addWidget(self.band, 1)
        shown.addLayout(told)
        row = QHBoxLayout()
        row.addLayout(shown, 1)
        row.addLayout(mixer)
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(choice)
        column.addLayout(row, 1)
        return page

    def _make_strips(self, stems: list[str], parameters: dict[str, dict[str, Any]]) -> None:
        for strip in self.strips:
            self._strips_row.removeWidget(strip)
            strip.deleteLater()
        self.strips = [Strip(stem, number, parameters[f"{stem}_gain"]) for number, stem in enumerate(stems)]
        for strip in self.strips:
            strip.turned.connect(self._turn)
            self._strips_row.addWidget(strip)

    def _make_pictures(self) -> None:
        """Pictures of the stems, laid over each other and one for each; what is not seen costs nothing."""
        for page in self._pages:
            self.pictures.removeWidget(page)
            page.deleteLater()
        views = self._views()
        # What is left over is nothing at the defaults.
        over = Spectrogram(self._link, views[:2], "overlay", "Stems")
        stack = QSplitter(Qt.Orientation.Vertical)
        stack.setChildrenCollapsible(False)
        self._pictures = [over]
        for view, strip in zip(views, self.strips, strict=True):
            picture = Spectrogram(self._link, [view], title=strip.stem.capitalize())
            stack.addWidget(picture)
            self._pictures.append(picture)
        for picture in self._pictures:
            picture.setMinimumWidth(PICTURE_WIDTH)
            picture.hovered.connect(self.hover.show_text)
        self.band.watch(self._pictures)
        self._pages = [over, stack]
        for page in self._pages:
            self.pictures.addWidget(page)
        self.pictures.setCurrentIndex(self.layers.currentIndex())
        strips = [each for strip in self.strips for each in (strip.fader, strip.mute, strip.solo, strip.kill)]
        shown = [self.controls.freeze, *self._pictures, self.band.button]
        for before, after in pairwise([*shown, *strips, self.crossfader]):
            QWidget.setTabOrder(before, after)
        self.controls.control(self._pictures)
        if self._map:
            self.set_map(self._map)

    def _show_layers(self, layers: int) -> None:
        self.pictures.setCurrentIndex(layers)

    def _views(self) -> list[str]:
        return [f"{self._node}/{strip.stem}" for strip in self.strips]

    # ------------------------------------------------------------------------------------ what is done

    def _insert(self) -> None:
        self.insert.setEnabled(False)
        self._link.send(insert_line(self._link.state, NODE), self._on_inserted)

    def _on_inserted(self, answer: dict[str, Any]) -> None:
        self._link.said.emit(answer.get("answer", answer.get("error", "")), not answer["ok"])
        if not answer["ok"]:
            self._take_state(self._link.state)

    def open_file(self, path: str) -> None:
        """Play a file by the deck, or, where there is none, by a host that is started for it."""
        self.deck.open_file(path)

    def kept(self) -> dict[str, Any]:
        """What is remembered of it."""
        return super().kept() | {"layers": self.layers.currentText(), "folder": self.deck.folder}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Be as it was."""
        super().restore(kept)
        self.layers.setCurrentText(str(kept.get("layers", "")))
        self.deck.folder = str(kept.get("folder", ""))

    def _turn(self, parameter: str, value: float) -> None:
        self._link.set(f"{self._node}.{parameter}", value)

    def _turn_crossfader(self, value: float) -> None:
        self._turn("crossfade", value)

    def _press(self, number: int) -> None:
        """Kill a stem as long as a key is held; one that is killed already, let live."""
        if number >= len(self.strips):
            return
        strip = self.strips[number]
        if strip.kill.isChecked():
            strip.set_kill(False)
            return
        strip.set_kill(True)
        code = self._pressed[-1] if self._held and self._pressed else None
        if not self._held:
            self._pressed = []
            QApplication.instance().installEventFilter(self)  # type: ignore[union-attr]
        self._held[Qt.Key.Key_1 + number] = strip, code

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """While a kill key is held: let the stem live when it is not any more."""
        if isinstance(event, QKeyEvent) and not event.isAutoRepeat():
            code = event.nativeScanCode()
            if event.type() != QEvent.Type.KeyRelease:
                if code not in self._pressed[-1:]:
                    self._pressed.append(code)
            elif event.key() not in MODIFIERS:
                self._release(self._held_by(event.key(), code))
        elif event.type() in (QEvent.Type.ApplicationDeactivate, QEvent.Type.WindowDeactivate):
            self._release_all()
        return False

    def _held_by(self, key: int, code: int) -> int:
        """The kill key that is let go; where digits are shifted it may be another key by then."""
        wanted = code if code in self._pressed else None
        return (
            key
            if key in self._held
            else next((held for held, (_, its) in self._held.items() if its == wanted), key)
        )

    def _release(self, key: int) -> None:
        strip, _ = self._held.pop(key, (None, None))
        if strip is not None:
            strip.set_kill(False)
            if not self._held:
                QApplication.instance().removeEventFilter(self)  # type: ignore[union-attr]

    def _release_all(self) -> None:
        for key in list(self._held):
            self._release(key)

    # ------------------------------------------------------------------------------------ what is told

    def _take_state(self, state: dict[str, Any]) -> None:
        """Show the first node of the engine, or how to come by one."""
        node = next((each for each in state.get("nodes", ()) if each["engine"] == ENGINE), None)
        if node is None:
            self._release_all()
            self._node = ""
            self._show_nothing(state)
            return
        parameters = {parameter["id"]: parameter for parameter in node["parameters"]}
        stems = [name.removesuffix("_gain") for name in parameters if name.endswith("_gain")]
        if stems != [strip.stem for strip in self.strips] or node["name"] != self._node:
            self._release_all()
            self._node = node["name"]
            self._make_strips(stems, parameters)
            self._make_pictures()
            for label, stem in zip(self.sides, stems, strict=False):
                label.setText(stem)
        for parameter in node["parameters"]:
            self._show_value(parameter["id"], parameter["value"])
        self.stack.setCurrentIndex(1)

    def _show_nothing(self, state: dict[str, Any]) -> None:
        loads = any(edit.endswith(f" {NODE}") for edit in state.get("loading", ()))
        words = "The rack that plays has no remix." if state else "No host runs."
        words = "remix loads ..." if loads else words
        self.words.setText(
            f"{words}\nIt separates music into what sounds on and what strikes, and mixes these anew."
        )
        self.insert.setEnabled(bool(state) and not loads)
        self.stack.setCurrentIndex(0)

    def _take_event(self, event: dict[str, Any]) -> None:
        if event["event"] == "set":
            node, _, parameter = event["parameter"].rpartition(".")
            if node == self._node:
                self._show_value(parameter, event["value"])
        elif event["event"] in ("loading", "done") and not self._node:
            self._show_nothing(self._link.state)

    def _show_value(self, parameter: str, value: Any) -> None:
        if parameter == "crossfade":
            self.crossfader.show_value(value)
            return
        stem, _, control = parameter.rpartition("_")
        for strip in self.strips:
            if strip.stem == stem and not isinstance(value, str):
                strip.show_value(control, value)

    def _lose(self, why: str) -> None:
        self._take_state({})

    # ------------------------------------------------------------------------------------ pictures

    def set_map(self, name: str) -> None:
        """Draw with another colour map."""
        self._map = name
        for picture in self._pictures:
            picture.set_map(name)

    def refresh(self) -> None:
        """Draw what is new."""
        self.deck.refresh()
        if self._node:
            for strip, view in zip(self.strips, self._views(), strict=True):
                strip.refresh(self._link, view)
            seen = self._link.observation
            views = {} if seen is None else seen.views()
            ends = [views[name].position for name in self._views() if name in views]
            end = min(ends) // seen.hop if seen is not None and ends else None
            for picture in self._pictures:
                picture.refresh(end)
