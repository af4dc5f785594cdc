"""The file deck: the outline of the file that a host plays, where it is, and what moves it."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QAction,
    QColor,
    QEnterEvent,
    QImage,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPolygonF,
    QWheelEvent,
)
from PySide6.QtWidgets import QFileDialog, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from gui.flow import Flow
from gui.labels import Elided
from gui.link import Link, playhead
from gui.peaks import GREATEST, LEAST, RMS, Peaks
from rtaudio.files import EXTENSIONS

STEP, FINE_STEP = 5.0, 0.1
"""Seconds that an arrow key seeks, and with Shift."""
SHORTEST = 0.02
"""Seconds of a loop, at least: a host refuses less than 0.01."""
BEFORE_END = 0.002
"""Seconds before the end of the file up to which one may seek."""
GRIP = 5
"""Pixels around an edge, and from where a drag is one."""
TICKS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Seconds between two marks of the ruler."""
TICK_PIXELS = 70
NARROWEST = 1.0
"""Seconds that are shown, at least."""
ZOOM, NOTCH = 2.0, 1.25
"""How many times larger a key shows the waveform, and a notch of the wheel."""
SCROLL = 0.1
"""Share of what is shown by which a notch of the wheel moves it, with Shift."""
NAME_LETTERS = 8
"""Letters of a file's name that there is room for, at least."""
ON_STYLE = "QPushButton:checked { background: palette(highlight); color: palette(highlighted-text); }"


def clock(seconds: float) -> str:
    """``m:ss.t``."""
    minutes, tenths = divmod(int(10 * seconds), 600)
    return f"{minutes}:{tenths // 10:02}.{tenths % 10}"


class Waveform(QWidget):
    """The outline of a file with a ruler, playhead, cue point and loop.

    A click seeks, a drag makes a loop, and the edges of a loop can be dragged; the arrow keys seek by 5 s,
    with Shift by 0.1 s. The wheel zooms, with Shift it scrolls; a part that is shown follows the playhead.
    """

    sought = Signal(float)
    """Seconds to seek to."""
    looped = Signal(float, float)
    """Begin and end of a loop, in seconds."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.duration = 0.0
        self.position = 0.0
        self.cue = 0.0
        self.loop: tuple[float, float] | None = None
        """The loop, or what a drag makes one."""
        self.repeats = False
        """Whether the loop is on."""
        self._peaks: Peaks | None = None
        self._drawn: tuple[object, ...] = ()
        self._pixels: NDArray[np.uint32] = np.zeros((1, 1), np.uint32)
        self._image = QImage()
        self._pressed: float | None = None
        self._fixed: float | None = None
        """The edge of a loop that stays while the other is dragged, in seconds."""
        self._pointer: float | None = None
        self._zoom, self._first = 1.0, 0.0
        """How many times larger than the whole it is, and from which second on."""
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(90)
        self.setAccessibleName("Waveform of the file")
        self.setToolTip(
            "Click: seek; drag: loop; wheel: zoom, with Shift scroll; "
            "arrow keys: 5 s, with Shift 0.1 s, back and on; Home: start"
        )

    def sizeHint(self) -> QSize:  # noqa: N802
        """As wide as there is room, and lower than pictures of spectra."""
        return QSize(600, 130)

    def show_file(self, peaks: Peaks | None) -> None:
        """Show another file, or none."""
        self._peaks = peaks
        self._drawn = ()
        self._zoom, self._first = 1.0, 0.0
        self.update()

    @property
    def shown(self) -> tuple[float, float]:
        """The seconds of the file that are shown: from, to."""
        return self._first, self._first + self.duration / self._zoom

    def zoom(self, factor: float, at: float | None = None) -> None:
        """Show it so many times larger, about a second; by default about the playhead, if that is seen."""
        if self.duration <= 0.0:
            return
        first, last = self.shown
        if at is None:
            at = self.position if first <= self.position <= last else (first + last) / 2
        before = self._zoom
        self._zoom = min(max(1.0, factor * before), max(1.0, self.duration / NARROWEST))
        self._scroll(at - (at - first) * before / self._zoom)

    def _scroll(self, first: float) -> None:
        self._first = min(max(0.0, first), self.duration - self.duration / self._zoom)
        self.update()

    def show_deck(self, duration: float, cue: float, loop: tuple[float, float] | None, repeats: bool) -> None:
        """Show what is set."""
        self.duration = duration
        if self._fixed is None:
            self.loop = loop
        self.cue, self.repeats = cue, repeats
        words = f"cue point at {clock(cue)}"
        if loop is not None and repeats:
            words += f", loop from {clock(loop[0])} to {clock(loop[1])}"
        self.setAccessibleDescription(words)
        self.update()

    def show_position(self, seconds: float) -> None:
        """Move the playhead: what it leaves and comes to is drawn anew, and new parts of the outline."""
        if self._peaks is not None and self._state() != self._drawn:
            self.update()
        first, last = self.shown
        if first <= self.position <= last and not first <= seconds <= last:
            self._scroll(seconds)
        before, now = round(self._x(self.position)), round(self._x(seconds))
        self.position = seconds
        if now != before:
            ruler = self._ruler()  # Its text is dear to draw, and stays.
            for x in (before, now):
                self.update(QRect(x - 2, ruler, 4, self.height() - ruler))

    # ------------------------------------------------------------------------------------ drawing

    def _ruler(self) -> int:
        return self.fontMetrics().height() + 4

    def _x(self, seconds: float) -> float:
        if self.duration <= 0.0:
            return 0.0
        return self.width() * self._zoom * (seconds - self._first) / self.duration

    def _seconds(self, x: float) -> float:
        at = self._first + self.duration * x / (max(1, self.width()) * self._zoom)
        return min(max(0.0, at), self.duration)

    def _state(self) -> tuple[object, ...]:
        """What the picture of the outline depends on."""
        palette = self.palette()
        known = 0 if self._peaks is None else self._peaks.known
        colours = (palette.color(role).rgb() for role in (QPalette.ColorRole.Base, QPalette.ColorRole.Link))
        size = self.width(), self.height(), self.devicePixelRatio()
        return (*size, self._zoom, self._first, known, *colours)

    def _draw_outline(self) -> None:
        """Draw the picture of the outline, in device pixels, into the image that is shown."""
        self._drawn = self._state()
        ratio = self.devicePixelRatio()
        width = max(1, round(self.width() * ratio))
        height = max(1, round((self.height() - self._ruler()) * ratio))
        if self._pixels.shape != (height, width):
            self._pixels = np.empty((height, width), np.uint32)
            self._image = QImage(self._pixels.data, width, height, 4 * width, QImage.Format.Format_RGB32)
            self._image.setDevicePixelRatio(ratio)
        palette = self.palette()
        self._pixels[:] = palette.color(QPalette.ColorRole.Base).rgb()
        peaks = self._peaks
        if peaks is None or peaks.known == 0:
            return
        begin, end, left, whole = self._part(peaks.parts, width)
        known = min(max(0, peaks.known - begin), end - begin)
        outline, columns = columns_of(peaks.outline[:, begin:end], known, whole)
        outline, columns = outline[:, left : left + width], min(max(0, columns - left), width)
        shown = self._pixels[:, :columns]
        # Row 0 is +1, the last one -1; what is silent is a line in the middle.
        level = (1.0 - 2.0 * (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height) * 1.03
        line = np.float32(1.0 / height)
        full = palette.color(QPalette.ColorRole.Link)
        shown[(level <= outline[GREATEST] + line) & (level >= outline[LEAST] - line)] = _mixed(
            full, palette.color(QPalette.ColorRole.Base), 0.55
        ).rgb()
        shown[np.abs(level) <= outline[RMS]] = full.rgb()

    def _part(self, parts: int, width: int) -> tuple[int, int, int, int]:
        """Parts of the outline that are seen, from, to; columns of these to leave out, and of all of them."""
        if self._zoom == 1.0:
            return 0, parts, 0, width
        first, last = (parts * at / self.duration for at in self.shown)
        begin, end = int(first), min(parts, math.ceil(last))
        scale = width / (last - first)
        left = round((first - begin) * scale)
        return begin, end, left, max(left + width, round((end - begin) * scale))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw the outline, then what lies over it."""
        if self._state() != self._drawn:
            self._draw_outline()
        palette, ruler = self.palette(), self._ruler()
        painter = QPainter(self)
        painter.fillRect(event.rect(), palette.color(QPalette.ColorRole.Window))
        painter.drawImage(QPointF(0, ruler), self._image)
        if self._peaks is None or self._peaks.known == 0:
            self._draw_words(painter)
        if self.duration > 0.0:
            self._draw_loop(painter)
            if event.rect().top() < ruler:
                self._draw_ruler(painter)
            self._draw_cue(painter)
            self._draw_playhead(painter)
        if self.hasFocus():
            painter.setPen(palette.color(QPalette.ColorRole.Link))
            painter.drawRect(QRectF(0.5, ruler + 0.5, self.width() - 1, self.height() - ruler - 1))
        painter.end()

    def _draw_words(self, painter: QPainter) -> None:
        problem = "" if self._peaks is None else self._peaks.problem
        words = problem or ("No file plays" if self._peaks is None else "Reading the file")
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        room = self.rect().adjusted(8, self._ruler(), -8, 0)
        words = self.fontMetrics().elidedText(words, Qt.TextElideMode.ElideMiddle, room.width())
        painter.drawText(room, Qt.AlignmentFlag.AlignCenter, words)

    def _draw_ruler(self, painter: QPainter) -> None:
        ruler, palette = self._ruler(), self.palette()
        first, last = self.shown
        wanted = TICK_PIXELS * (last - first) / max(1, self.width())
        step = next((each for each in TICKS if each >= wanted), TICKS[-1])
        painter.setPen(palette.color(QPalette.ColorRole.PlaceholderText))
        for tick in range(int(first / step), int(last / step) + 1):
            x = self._x(tick * step)
            painter.drawLine(QPointF(x, ruler - 5), QPointF(x, ruler))
            text = clock(tick * step) if step < 1.0 else clock(tick * step)[:-2]
            if x + self.fontMetrics().horizontalAdvance(text) + 3 < self.width():
                painter.drawText(QPointF(x + 3, ruler - 4), text)

    def _draw_loop(self, painter: QPainter) -> None:
        if self.loop is None:
            return
        ruler = self._ruler()
        left, right = (self._x(edge) for edge in self.loop)
        colour = self.palette().color(QPalette.ColorRole.Highlight)
        colour.setAlpha(90 if self.repeats else 40)
        painter.fillRect(QRectF(left, ruler, right - left, self.height() - ruler), colour)
        colour.setAlpha(255)
        style = Qt.PenStyle.SolidLine if self.repeats else Qt.PenStyle.DashLine
        pen = painter.pen()
        pen.setColor(self.palette().color(QPalette.ColorRole.WindowText))
        pen.setStyle(style)
        painter.setPen(pen)
        for x in (left, right):
            painter.drawLine(QPointF(x, ruler), QPointF(x, self.height()))
        pen.setStyle(Qt.PenStyle.SolidLine)
        painter.setPen(pen)
        label = "loop" if self.repeats else "loop off"
        if self.fontMetrics().horizontalAdvance(label) + 8 < right - left:
            painter.drawText(QPointF(max(0.0, left) + 4, self.height() - 5), label)

    def _draw_cue(self, painter: QPainter) -> None:
        x, ruler = self._x(self.cue), self._ruler()
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.palette().color(QPalette.ColorRole.BrightText))
        painter.drawPolygon(
            QPolygonF([QPointF(x - 5, ruler - 1), QPointF(x + 5, ruler - 1), QPointF(x, ruler + 8)])
        )
        painter.setBrush(Qt.BrushStyle.NoBrush)

    def _draw_playhead(self, painter: QPainter) -> None:
        palette, ruler = self.palette(), self._ruler()
        x = round(self._x(self.position))
        painter.fillRect(QRectF(x - 1, ruler, 2, self.height()), palette.color(QPalette.ColorRole.WindowText))
        if self._pointer is not None:
            text = clock(self._seconds(self._pointer))
            width = self.fontMetrics().horizontalAdvance(text) + 8
            left = min(max(0.0, self._pointer - width / 2), self.width() - width)
            room = QRectF(left, 0, width, ruler)
            painter.fillRect(room, palette.color(QPalette.ColorRole.ToolTipBase))
            painter.setPen(palette.color(QPalette.ColorRole.ToolTipText))
            painter.drawText(room, Qt.AlignmentFlag.AlignCenter, text)

    # ------------------------------------------------------------------------------------ mouse and keys

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Begin a click, or a drag of an edge."""
        if event.button() != Qt.MouseButton.LeftButton or self.duration <= 0.0:
            return
        x = event.position().x()
        self._pressed = x
        if self.loop is not None:
            begin, end = self.loop
            if abs(x - self._x(end)) <= GRIP:
                self._fixed = begin
            elif abs(x - self._x(begin)) <= GRIP:
                self._fixed = end

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Show the time under the pointer, and the loop that is dragged."""
        x = event.position().x()
        self._pointer = x if self.duration > 0.0 else None
        edges = () if self.loop is None else self.loop
        near = any(abs(x - self._x(edge)) <= GRIP for edge in edges)
        self.setCursor(Qt.CursorShape.SizeHorCursor if near else Qt.CursorShape.ArrowCursor)
        self._drag(x)
        self.update()

    def _drag(self, x: float) -> None:
        """Let the loop reach to where the mouse is, if it has been moved since it was pressed."""
        if self._pressed is None:
            return
        if self._fixed is None and abs(x - self._pressed) > GRIP:
            self._fixed = self._seconds(self._pressed)
        if self._fixed is not None:
            begin, end = sorted((self._fixed, self._seconds(x)))
            self.loop = begin, end

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Seek, or loop what was dragged."""
        if event.button() != Qt.MouseButton.LeftButton or self._pressed is None:
            return
        self._drag(event.position().x())
        dragged, self._pressed, self._fixed = self._fixed is not None, None, None
        if not dragged:
            self.sought.emit(self._seconds(event.position().x()))
        elif self.loop is not None:
            begin, end = self.loop
            if end - begin < SHORTEST:
                end = min(begin + SHORTEST, self.duration)
                begin = max(0.0, end - SHORTEST)
            self.looped.emit(begin, end)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Zoom about the pointer; with Shift, or sideways, scroll."""
        across, along = event.angleDelta().x() / 120, event.angleDelta().y() / 120
        if across or event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            first, last = self.shown
            self._scroll(first - (across or along) * SCROLL * (last - first))
        else:
            self.zoom(NOTCH**along, self._seconds(event.position().x()))
        event.accept()

    def enterEvent(self, event: QEnterEvent) -> None:  # noqa: N802
        """Show the time under the pointer."""
        self._pointer = event.position().x() if self.duration > 0.0 else None
        self.update()

    def leaveEvent(self, event: Any) -> None:  # noqa: N802
        """Show no time any more."""
        self._pointer = None
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Seek by arrow keys."""
        step = FINE_STEP if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else STEP
        to = {
            Qt.Key.Key_Left: self.position - step,
            Qt.Key.Key_Right: self.position + step,
            Qt.Key.Key_Home: 0.0,
        }.get(Qt.Key(event.key()))
        if to is None or self.duration <= 0.0:
            super().keyPressEvent(event)
        else:
            self.sought.emit(min(max(0.0, to), self.duration))


def columns_of(outline: NDArray[np.float32], known: int, width: int) -> tuple[NDArray[np.float32], int]:
    """An outline in columns of a picture: (3, columns), and how many of ``width`` those parts are."""
    parts = outline.shape[1]
    if width >= parts:
        columns = width * known // parts
        return outline[:, np.arange(columns) * parts // width], columns
    edges = np.arange(width + 1) * parts // width
    columns = int(np.searchsorted(edges, known, side="right")) - 1
    starts, end = edges[:columns], edges[columns]
    if columns <= 0:
        return outline[:, :0], 0
    part = outline[:, :end]
    means = np.add.reduceat(np.square(part[RMS]), starts) / np.diff(edges[: columns + 1])
    least, greatest = np.minimum.reduceat(part[LEAST], starts), np.maximum.reduceat(part[GREATEST], starts)
    return np.stack([least, greatest, np.sqrt(means)]).astype(np.float32), columns


def _mixed(colour: QColor, other: QColor, share: float) -> QColor:
    """A colour with as much of another as is left."""
    left = 1.0 - share
    return QColor.fromRgbF(
        share * colour.redF() + left * other.redF(),
        share * colour.greenF() + left * other.greenF(),
        share * colour.blueF() + left * other.blueF(),
    )


class Deck(QWidget):
    """The deck of the host that a link is attached to; keys C, I, L, O, P, Ctrl++, Ctrl+- while seen."""

    chosen = Signal(str)
    """A file is to be played, and the host has no deck for it."""

    def __init__(self, link: Link, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._link = link
        self._deck: dict[str, Any] | None = None
        self._blocks = 0
        self._remembered: tuple[float, float] | None = None
        """The loop that the button sets, while there is none."""
        self._peaks: Peaks | None = None
        self.folder = ""
        """Where a file was chosen last."""
        self.waveform = Waveform()
        self.waveform.sought.connect(self.seek)
        self.waveform.looped.connect(self.loop_over)
        self.name = Elided()
        self.name.setAccessibleName("File")
        self.name.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.name.setMinimumWidth(NAME_LETTERS * self.name.fontMetrics().averageCharWidth())
        self.time = QLabel()
        self.time.setAccessibleName("Position and length")
        font = self.time.font()
        font.setPointSizeF(1.2 * font.pointSizeF())
        self.time.setFont(font)
        self.open = self._button("&Open…", "Ctrl+O", "Play another file", self.ask_for_file)
        self.play = self._button("▶ Play", "P", "Play, or pause", self.play_or_pause)
        self.cue = self._button("Cue", "C", "Go to the cue point", self.go_to_cue)
        self.set_cue = self._button("Set cue", "Shift+C", "Set the cue point here", self.set_cue_here)
        self.loop = self._button("Loop", "L", "Repeat the part that was dragged, or all", self.loop_or_not)
        self.loop.setCheckable(True)
        self.loop.setStyleSheet(ON_STYLE)
        self.play.setFixedWidth(self.play.fontMetrics().horizontalAdvance("⏸ Pause") + 28)
        self._key("I", "Begin the loop here", self.begin_loop_here)
        self._key("O", "End the loop here", self.end_loop_here)
        self._key("Ctrl++", "Show the waveform larger", lambda: self.waveform.zoom(ZOOM), "Ctrl+=")
        self._key("Ctrl+-", "Show the waveform smaller", lambda: self.waveform.zoom(1 / ZOOM))
        row = Flow()
        for widget in (self.play, self.cue, self.set_cue, self.loop, self.time, self.name, self.open):
            row.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.waveform, 1)
        layout.addLayout(row)
        link.stated.connect(self._take_state)
        link.changed.connect(self._take_event)
        link.detached.connect(self._lose)
        self._show(link.state.get("deck"))

    def _button(self, text: str, keys: str, tip: str, run: Any) -> QPushButton:
        button = QPushButton(text)
        button.setAccessibleName(tip)
        button.setToolTip(f"{tip} ({keys})")
        button.clicked.connect(run)
        self._key(keys, tip, run)
        return button

    def _key(self, keys: str, tip: str, run: Any, *others: str) -> None:
        action = QAction(tip, self)
        action.setShortcuts([QKeySequence(each) for each in (keys, *others)])
        action.triggered.connect(run)
        self.addAction(action)

    # ------------------------------------------------------------------------------------ what is done

    def seek(self, seconds: float) -> None:
        """Go on from another place of the file."""
        if self._deck is not None:
            self._link.send(f"seek {min(seconds, max(0.0, self._deck['duration'] - BEFORE_END)):.6f}")

    def loop_over(self, begin: float, end: float) -> None:
        """Repeat a part of the file."""
        if self._deck is not None:
            self._link.send(f"loop {begin:.6f} {end:.6f}")

    def loop_or_not(self) -> None:
        """Repeat the part that was repeated last, or all; or play on."""
        if self._deck is None:
            return
        if self._deck["loop"] is not None:
            self._link.send("loop off")
        elif self._remembered is not None:
            self.loop_over(*self._remembered)
        else:
            self._link.send("loop")

    def begin_loop_here(self) -> None:
        """Repeat from here up to where the loop ended, or to the end of the file."""
        if self._deck is not None:
            at, duration = self.position(), self._deck["duration"]
            end = self._remembered[1] if self._remembered else duration
            self.loop_over(at, end if end - at >= SHORTEST else duration)

    def end_loop_here(self) -> None:
        """Repeat from where the loop began, or from the start of the file, up to here."""
        if self._deck is not None:
            at = self.position()
            begin = self._remembered[0] if self._remembered else 0.0
            self.loop_over(begin if at - begin >= SHORTEST else 0.0, at)

    def go_to_cue(self) -> None:
        """Go to the cue point."""
        self._link.send("cue")

    def set_cue_here(self) -> None:
        """Set the cue point to the position."""
        self._link.send("cue set")

    def play_or_pause(self) -> None:
        """Pause what plays, or play on."""
        if self._deck is not None:
            self._link.send("pause" if self._deck["playing"] else "play")

    def ask_for_file(self) -> None:
        """Ask for a file, and play it."""
        patterns = " ".join(f"*{extension}" for extension in sorted(EXTENSIONS))
        kinds = f"Sound ({patterns});;All files (*)"
        file, _ = QFileDialog.getOpenFileName(self, "Play a file", self.folder, kinds)
        if file:
            self.folder = os.path.dirname(file)
            self.open_file(file)

    def open_file(self, file: str) -> None:
        """Play a file in place of the one that plays, or let a host be started that does."""
        if self._deck is None:
            self.chosen.emit(file)
        else:
            self._link.send(f"load {file}")

    # ------------------------------------------------------------------------------------ what is told

    def _take_state(self, state: dict[str, Any]) -> None:
        self._show(state["deck"])

    def _take_event(self, event: dict[str, Any]) -> None:
        if event["event"] == "deck":
            self._show(event["deck"])

    def _lose(self, why: str) -> None:
        self._show(None)

    def _show(self, deck: dict[str, Any] | None) -> None:
        """Show a deck as it is now."""
        self._deck = deck
        if self._link.observation is not None:
            self._blocks = self._link.observation.blocks
        file = None if deck is None else Path(deck["file"])
        if file != (None if self._peaks is None else self._peaks.path):
            self._close_peaks()
            self._peaks = None if file is None else Peaks(file)
            self._remembered = None
            self.waveform.show_file(self._peaks)
            self.name.show_text("" if file is None else str(file))
        for button in (self.play, self.cue, self.set_cue, self.loop):
            button.setEnabled(deck is not None)
        playing = deck is not None and deck["playing"]
        self.play.setText("⏸ Pause" if playing else "▶ Play")
        loop = None if deck is None or deck["loop"] is None else (deck["loop"][0], deck["loop"][1])
        self._remembered = loop or self._remembered
        self.loop.setChecked(loop is not None)
        duration, cue = (0.0, 0.0) if deck is None else (deck["duration"], deck["cue"])
        self._fit_time(duration)
        self.waveform.show_deck(duration, cue, self._remembered, loop is not None)
        self.refresh()

    def _fit_time(self, duration: float) -> None:
        """Have room for the longest time of a file: a label that keeps its size disturbs no layout."""
        metrics, longest = self.time.fontMetrics(), f"{clock(duration)} / {clock(duration)}"
        digits = max("0123456789", key=metrics.horizontalAdvance)
        widest = re.sub(r"\d", digits, longest)
        self.time.setFixedSize(metrics.horizontalAdvance(widest) + 2, metrics.height() + 2)

    def position(self) -> float:
        """Where the deck is, in seconds of the file; by what has been heard since it last told."""
        if self._deck is None:
            return 0.0
        observation, state = self._link.observation, self._link.state
        if observation is None or not state:
            return float(self._deck["position"])
        blocks = max(0, observation.blocks - self._blocks)
        return playhead(self._deck, blocks * state["block"] / state["rate"])

    def refresh(self) -> None:
        """Move the playhead and the time."""
        at = self.position()
        self.waveform.show_position(at)
        text = "" if self._deck is None else f"{clock(at)} / {clock(self._deck['duration'])}"
        if text != self.time.text():
            self.time.setText(text)

    def _close_peaks(self) -> None:
        if self._peaks is not None:
            self._peaks.close()
            self._peaks = None
