"""Pictures of a running host's views that roll: one, the difference of two, or several in one picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetrics,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QSizePolicy

from gui.bands import Band, between, moved, octave, widened
from gui.colours import DIVERGING, LAYERS, MAPS, NO_DATA, Colours, packed
from gui.labels import ShowsFocus
from gui.link import Link
from gui.roll import Levels, Roll
from gui.rulers import (
    frequency_at,
    frequency_labels,
    height_of,
    hertz,
    note,
    row_frequencies,
    time_labels,
)
from rtaudio.errors import UserError
from rtaudio.observation import FLOOR, ROWS, Observation, decibels

RANGE = (-90.0, -10.0)
"""dB at the ends of a map, at first."""
DIFFERENCE = 30.0
"""dB of difference at the ends of the diverging map."""
VIEWS_OF = {"one": (1, 1), "difference": (2, 2), "overlay": (1, len(LAYERS))}
"""Least and most views, by mode."""
FEWEST, LONGEST = 16, 3000
"""Columns that are seen, at least and at most: the host keeps a few more."""
READ_AGAIN = 0.2
"""Seconds between two readings under a cursor that rests."""
MARGIN, TICK, SCALE = 3, 4, 72
"""Pixels around all, where the focus is shown; of a tick; of the map in the heading."""
FINE, COARSE = 1, 10
"""Pixels that an arrow moves the cursor, and with Shift."""
ARROWS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}
DRAGGED = 4
"""Pixels of the layout after which a press of the mouse is no click."""
FIRST_BAND = 1000.0
"""Hz around which the first band lies where nothing has been pointed at."""
STRIP = 4
"""Pixels of the layout that a strip of values takes at the lower edge, below a line."""
DIM, EDGE = QColor(0, 0, 0, 150), QColor(255, 255, 255, 230)
"""What lies outside of a band, and its edges."""
DB_OF_BYTE = decibels(np.arange(256, dtype=np.uint8))
NOTHING: tuple[NDArray[np.int64], Levels] = np.zeros(0, np.int64), np.zeros((0, ROWS), np.uint8)
MIDDLE = Qt.AlignmentFlag.AlignVCenter
LEFT, RIGHT = Qt.AlignmentFlag.AlignLeft | MIDDLE, Qt.AlignmentFlag.AlignRight | MIDDLE

_share = np.arange(256)[:, None] / 255.0
VALUES = packed(np.rint((1.0 - _share) * (24, 26, 32) + _share * (120, 230, 140)).astype(np.int64))
"""Colours of a strip's values, from 0 to 1: dark to bright."""

Colouring = Callable[[Sequence[Levels]], Colours]
"""Colours of levels, those of each view."""


def _shares(low: float, high: float) -> NDArray[np.float32]:
    """Where in a range each level is, from 0 to 1."""
    shares: NDArray[np.float32] = np.clip((DB_OF_BYTE - low) / (high - low), 0.0, 1.0)
    return shares


def colouring(mode: str, count: int, name: str, low: float, high: float) -> Colouring:
    """How levels are coloured.

    Parameters
    ----------
    mode
        See `Spectrogram`.
    count
        Views.
    name
        Of the map of one view.
    low, high
        dB at the ends of the map; what a difference's levels are held to first.
    """
    if mode == "one":
        table = MAPS[name][np.rint(255 * _shares(low, high)).astype(np.int64)]
        return lambda levels: table[levels[0]]
    if mode == "difference":
        held = np.clip(DB_OF_BYTE, low, high)
        steps = np.rint((held[:, None] - held) * (127.0 / DIFFERENCE)).astype(np.int64)
        square = DIVERGING[np.clip(128 + steps, 1, 255)]
        return lambda levels: square[levels[0], levels[1]]
    light = _shares(low, high) ** 2  # Sums would be pale otherwise.
    parts = np.rint(light[:, None] * LAYERS[:count, None]).astype(np.int64)

    def added(levels: Sequence[Levels]) -> Colours:
        sums = np.sum([part[level] for part, level in zip(parts, levels, strict=True)], axis=0)
        return packed(np.minimum(sums, 255))

    return added


class Spectrogram(ShowsFocus):
    """A picture that rolls: log frequency upwards, time to the right, newest at the right edge.

    Parameters
    ----------
    link
        The connection with the host.
    views
        Names of views, see `rtaudio.observation`.
    mode
        ``one``: one view; ``difference``: the first less the second, in dB; ``overlay``: up to four, a colour
        each.
    title
        What is written above it; if empty, the names of the views.

    Raises
    ------
    ValueError
        More views than the mode shows, or fewer.
    """

    hovered = Signal(str)
    """What is at the cursor, as ``"1.24 kHz  D#6 -6 ct  -32 dB  2.1 s ago"``; empty when it has left."""
    swept = Signal(object)
    """A `Band` that the mouse is dragged over, or that a key has begun, moved or widened."""
    cleared = Signal()
    """A click, or Escape, while there is a band: it is to go."""

    def __init__(self, link: Link, views: Sequence[str], mode: str = "one", title: str = "") -> None:
        super().__init__()
        self._link, self._mode, self._title = link, mode, title
        self._map, self._range, self._seconds = "viridis", RANGE, 0.0
        self._seen: Observation | None = None
        self._kept: dict[str, tuple[NDArray[np.int64], Levels]] | None = None
        """The columns of a frozen picture, by view; None: it rolls."""
        self._edge = 0
        """Number of the newest column that is drawn; 0: none yet."""
        self._stale = True
        """Whether all of the ring is to be written again."""
        self._absent = ""
        """Why nothing new is drawn."""
        self._cursor: tuple[int, int] | None = None
        """Pixel of the picture, from its top left."""
        self._told, self._told_at = "", 0.0
        self._band: Band | None = None
        self._takes_bands = False
        self._pressed: int | None = None
        """Pixel from the top at which the mouse was pressed."""
        self._dragged = False
        self._pointed = FIRST_BAND
        """Hz that was pointed at last."""
        self._strip = ""
        """The view whose values are shown at the lower edge."""
        self._kept_strip: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None
        self._roll = Roll(FEWEST, FEWEST, FEWEST)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleDescription(
            "Frequency upwards, time to the right, newest at the right edge. "
            "The arrows move a cursor that reads frequency, note, level and time; Escape takes it away."
        )
        self._fit()
        self.set_views(views)

    # -------------------------------------------------------------------------------- settings

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the views."""
        return self._views

    @property
    def frozen(self) -> bool:
        """Whether the picture stands."""
        return self._kept is not None

    @property
    def absent(self) -> str:
        """Why nothing new is drawn; empty if there is no reason."""
        return self._absent

    @property
    def picture(self) -> QRect:
        """Where in the widget the picture is, in pixels of the layout."""
        return self._picture

    @property
    def rate(self) -> int:
        """That of the host, in Hz."""
        return self._rate()

    @property
    def span(self) -> tuple[int, int]:
        """Positions of the host at the left and the right edge of the picture."""
        hop = 0 if self._seen is None else self._seen.hop
        return (self._edge - self._roll.columns) * hop, self._edge * hop

    def set_views(self, views: Sequence[str], title: str = "") -> None:
        """Show other views, with another title if there is one; see `Spectrogram`."""
        least, most = VIEWS_OF[self._mode]
        if not least <= len(views) <= most:
            raise ValueError(f"{len(views)} views in mode {self._mode!r}: want {least} to {most}")
        self._views, self._title = tuple(views), title or self._title
        between = " - " if self._mode == "difference" else ", "
        self._heading = self._title or between.join(views)
        self.setAccessibleName(f"Spectrogram: {self._heading}")
        if self._kept is not None:
            self._keep()
        self._colour()

    def set_map(self, name: str) -> None:
        """Colour one view by another of `gui.colours.MAPS`; nothing to a difference or an overlay."""
        self._map = name
        self._colour()

    def set_range(self, low_db: float, high_db: float) -> None:
        """Set the levels at the ends of the map; of a difference, those that levels are held to first.

        Raises
        ------
        ValueError
            Not in this order, or below what columns hold.
        """
        if not FLOOR <= low_db < high_db:
            raise ValueError(f"range {low_db} to {high_db} dB: want {FLOOR} <= low < high")
        self._range = low_db, high_db
        self._colour()

    def set_seconds(self, seconds: float) -> None:
        """Show so many seconds; 0: as many as there are with a column on every pixel of the layout."""
        self._seconds = seconds
        self._fit()
        self.update()

    def set_strip(self, view: str) -> None:
        """Show the values of a view of `Observation.values` at the lower edge; empty: of none."""
        if view != self._strip:
            self._strip = view
            if self._kept is not None:
                self._kept_strip = self._read_strip(1)
            self._stale = True
            self.update()

    def take_bands(self) -> None:
        """Let the mouse and keys choose bands, see `swept` and `cleared`."""
        self._takes_bands = True
        self.setAccessibleDescription(
            f"{self.accessibleDescription()} S marks an octave, Up and Down move it, with Shift they widen "
            "and narrow it; Escape takes it away."
        )

    def set_band(self, band: Band | None) -> None:
        """Draw a band, or none."""
        if band != self._band:
            self._band = band
            self.update(self._picture)

    def octave(self) -> Band:
        """The octave around what was pointed at last."""
        return octave(self._pointed)

    def freeze(self, on: bool) -> None:
        """Have the picture stand, or roll again; the sound goes on."""
        if on == self.frozen:
            return
        if on:
            self._keep()
        else:
            self._kept = None
            self._stale = True
        self.update()

    def _keep(self) -> None:
        """Copy what the host has of the views."""
        self._kept = {}
        for view in self._views:
            with suppress(UserError):  # It has gone: nothing is known of it.
                self._kept[view] = self._read_live(view, 1)
        self._kept_strip = self._read_strip(1)

    def _colour(self) -> None:
        """Draw all again, since it looks different."""
        self._colours = colouring(self._mode, len(self._views), self._map, *self._range)
        self._stale = True
        self.update()

    # -------------------------------------------------------------------------------- columns

    def refresh(self, end: int | None = None) -> None:
        """Draw what is new, if this is visible and not frozen.

        Parameters
        ----------
        end
            Number of the column at the right edge, for pictures that keep step; None: the newest that all
            the views have.
        """
        if not self.isVisible():
            return
        seen = self._link.observation
        if self._kept is None:
            if seen is not None and seen is not self._seen:
                self._seen, self._edge, self._stale = seen, 0, True
                self._fit()
                self.update()
            if self._advance(end):
                self.update(self._picture)
        if self._cursor is not None and time.monotonic() - self._told_at >= READ_AGAIN:
            self._tell()

    def _advance(self, end: int | None) -> bool:
        """Bring the ring up to date; whether the picture looks different then."""
        before = self._absent
        gone = self._link.observation is None and self._kept is None
        self._absent = "no host runs" if gone else ""
        try:
            written = self._write(end)
        except UserError as error:
            self._absent, written = str(error), False
        return written or self._absent != before

    def _write(self, end: int | None) -> bool:
        """Write what is new to the ring, or all if it is stale; whether anything was written."""
        roll = self._roll
        if end is not None and end < self._edge:
            self._stale = True
        stale = self._stale
        numbers, columns = self._read(1 if stale else roll.first_column(roll.begin(self._edge)))
        newest = int(numbers[-1]) if len(numbers) else 0
        if self._kept is not None:
            edge = self._edge
        elif end is not None:
            edge = end
        else:
            edge = newest if stale else max(newest, self._edge)
        if not stale and edge == self._edge:
            return False
        if stale:
            roll.clear()
        drawn, self._edge, self._stale = self._edge, edge, False
        if edge > 0:
            pixels = roll.due(drawn, edge)
            shown = int(np.searchsorted(numbers, edge, side="right"))
            known, levels = roll.pool(numbers[:shown], [each[:shown] for each in columns], pixels)
            colours = np.full((len(pixels), roll.height), NO_DATA, np.uint32)
            if levels:
                colours[known] = self._colours(levels)
            if self._strip:
                self._write_strip(colours, pixels, edge)
            roll.write(pixels.start, colours)
        return True

    def _write_strip(self, colours: Colours, pixels: range, edge: int) -> None:
        """Write the strip into the colours of adjacent pixels, up to a column."""
        kept = None if self._kept is None else self._kept_strip
        numbers, values = kept or self._read_strip(self._roll.first_column(pixels.start))
        shown = int(np.searchsorted(numbers, edge, side="right"))
        known, values = self._roll.greatest(numbers[:shown], values[:shown], pixels)
        tall = max(2, round(STRIP * self._ratio))
        colours[:, -tall - 1 :] = NO_DATA
        colours[known, -tall - 1 :] = VALUES[0]
        colours[known, -tall:] = VALUES[np.rint(255 * np.clip(values, 0.0, 1.0)).astype(np.int64), None]

    def _read_strip(self, first: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The strip's values from a column on: their numbers, and they."""
        if self._seen is not None and self._strip:
            with suppress(UserError):  # It has gone: the rest of the picture goes on.
                positions, values = self._seen.peaks(self._strip, (first - 1) * self._seen.hop)
                return positions // self._seen.hop, values
        return NOTHING[0], np.zeros(0, np.float32)

    def _read(self, first: int) -> tuple[NDArray[np.int64], list[Levels]]:
        """The columns from a number on that all the views have: their numbers, and those of each view."""
        if self._kept is None:
            found = [self._read_live(view, first) for view in self._views]
        else:
            found = [self._kept.get(view, NOTHING) for view in self._views]
        numbers = found[0][0]
        for others, _ in found[1:]:
            if not np.array_equal(numbers, others):
                numbers = np.intersect1d(numbers, others, assume_unique=True)
        columns = [
            each if len(own) == len(numbers) else each[np.searchsorted(own, numbers)] for own, each in found
        ]
        return numbers, columns

    def _read_live(self, view: str, first: int) -> tuple[NDArray[np.int64], Levels]:
        if self._seen is None:
            return NOTHING
        positions, columns = self._seen.columns(view, (first - 1) * self._seen.hop)
        return positions // self._seen.hop, columns

    def _pace(self) -> float:
        """Columns in a second."""
        return 100.0 if self._seen is None else self._seen.rate / self._seen.hop

    def _rate(self) -> int:
        return 48_000 if self._seen is None else self._seen.rate

    # -------------------------------------------------------------------------------- pixels

    def _fit(self) -> None:
        """Have a ring of as many pixels as there are."""
        ratio = self.devicePixelRatioF()
        small = QFontMetrics(self._small_font())
        left = MARGIN + small.horizontalAdvance("20 kHz") + TICK + 2
        top = MARGIN + self.fontMetrics().height() + 2
        below = MARGIN + small.height() + TICK
        self._picture = QRect(left, top, self.width() - left - MARGIN, self.height() - top - below)
        x, y = ceil(left * ratio), ceil(top * ratio)
        width = max(FEWEST, int((left + self._picture.width()) * ratio) - x)
        height = max(FEWEST, int((top + self._picture.height()) * ratio) - y)
        wanted = round(self._seconds * self._pace()) if self._seconds else round(width / ratio)
        columns = min(max(wanted, FEWEST), LONGEST)
        self._corner, self._ratio = (x, y), ratio
        roll = self._roll
        if (roll.width, roll.height, roll.columns) != (width, height, columns):
            self._roll = roll = Roll(width, height, columns)
            self._stale, self._cursor = True, None
            self._image = QImage(roll.pixels.data, width, height, 4 * width, QImage.Format.Format_RGB32)

    def _small_font(self) -> QFont:
        font = QFont(self.font())
        font.setPointSizeF(0.85 * font.pointSizeF())
        return font

    def sizeHint(self) -> QSize:  # noqa: N802
        """Some seconds, and half of the rows a pixel."""
        return QSize(800, 256)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """What can just be read."""
        return QSize(200, 90)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Fit the ring; what it shows is read again when it is drawn."""
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        """Fit the ring to another font."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._fit()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw the picture, and what is around it only where that is wanted."""
        if self.devicePixelRatioF() != self._ratio:
            self._fit()
        if self._stale:
            self._advance(self._edge or None)
        with QPainter(self) as painter:
            if not self._picture.contains(event.rect()):
                painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Window))
                self._draw_heading(painter)
                self._draw_rulers(painter)
                if self.hasFocus():
                    painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Link), 2))
                    painter.drawRect(self.rect().adjusted(1, 1, -1, -1))
            painter.save()
            painter.scale(1.0 / self._ratio, 1.0 / self._ratio)  # In device pixels nothing is resampled.
            self._draw_picture(painter)
            painter.restore()
            if self._band is not None:
                self._draw_band(painter, self._band)
            if self._absent:
                self._draw_absent(painter)

    def _draw_picture(self, painter: QPainter) -> None:
        roll, (x, y) = self._roll, self._corner
        seam = roll.seam
        painter.drawImage(x, y, self._image, seam, 0, roll.width - seam, roll.height)
        if seam:
            painter.drawImage(x + roll.width - seam, y, self._image, 0, 0, seam, roll.height)
        if self._cursor is not None:
            across, down = self._cursor
            for colour, off in ((QColor(0, 0, 0, 160), 1), (QColor(255, 255, 255, 220), 0)):
                painter.fillRect(x + across + off, y, 1, roll.height, colour)
                painter.fillRect(x, y + down + off, roll.width, 1, colour)

    def _draw_band(self, painter: QPainter, band: Band) -> None:
        """Dim what lies outside of a band, and write its edges beside them."""
        picture, rate = self._picture, self._rate()
        bottom, top = (
            picture.top() + round(picture.height() * (1.0 - min(max(height_of(edge, rate), 0.0), 1.0)))
            for edge in band
        )
        painter.fillRect(picture.left(), picture.top(), picture.width(), top - picture.top(), DIM)
        end = picture.bottom() + 1 - (STRIP + 1 if self._strip else 0)
        painter.fillRect(picture.left(), bottom, picture.width(), max(0, end - bottom), DIM)
        painter.setFont(self._small_font())
        metrics = painter.fontMetrics()
        height = metrics.height()
        for edge, y, above in ((band.low, bottom, False), (band.high, top, True)):
            painter.fillRect(picture.left(), min(y, picture.bottom()), picture.width(), 1, EDGE)
            text = f"{hertz(edge)}  {note(edge)}"
            room = QRect(picture.left() + 4, 0, metrics.horizontalAdvance(text) + 8, height)
            room.moveTop(y - height - 1 if above else y + 2)
            if room.top() < picture.top() or room.bottom() > picture.bottom():
                room.moveTop(y + 2 if above else y - height - 1)
            painter.fillRect(room, QColor(0, 0, 0, 200))
            painter.setPen(EDGE)
            painter.drawText(room, Qt.AlignmentFlag.AlignCenter, text)

    def _draw_absent(self, painter: QPainter) -> None:
        """Say why nothing new is drawn."""
        metrics = self.fontMetrics()
        text = metrics.elidedText(self._absent, Qt.TextElideMode.ElideRight, self._picture.width() - 24)
        room = QRect(0, 0, metrics.horizontalAdvance(text) + 16, metrics.height() + 8)
        room.moveCenter(self._picture.center())
        painter.fillRect(room, self.palette().color(QPalette.ColorRole.Window))
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawText(room, Qt.AlignmentFlag.AlignCenter, text)

    def _draw_heading(self, painter: QPainter) -> None:
        """The title, or the colours of the views, the map, and whether the picture stands."""
        metrics = self.fontMetrics()
        room = QRect(self._picture.left(), MARGIN, self._picture.width(), metrics.height())
        room.setRight(room.right() - self._draw_scale(painter, room))
        self._is_cut = False
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        if self.frozen:
            painter.drawText(room, RIGHT, "FROZEN")
            room.setRight(room.right() - metrics.horizontalAdvance("FROZEN") - 14)
        if self._mode != "overlay" or self._title:
            self._draw_words(painter, room, self._heading)
        if self._mode == "overlay":
            side = metrics.ascent() - 2
            for layer, view in zip(LAYERS, self._views, strict=False):
                colour = QColor(*(int(each) for each in layer))
                painter.fillRect(room.left(), room.top() + 3, side, side, colour)
                room.setLeft(room.left() + side + 5)
                self._draw_words(painter, room, view)
        tip = self._heading if self._is_cut else ""
        if tip != self.toolTip():
            self.setToolTip(tip)

    def _draw_words(self, painter: QPainter, room: QRect, text: str) -> None:
        """Draw what fits of a text; the room that is left is what lies right of it."""
        metrics = self.fontMetrics()
        cut = metrics.elidedText(text, Qt.TextElideMode.ElideRight, room.width())
        painter.drawText(room, LEFT, cut)
        self._is_cut |= cut != text
        room.setLeft(room.left() + metrics.horizontalAdvance(cut) + 14)

    def _draw_scale(self, painter: QPainter, room: QRect) -> int:
        """Draw the map with the levels at its ends, at the right; the width that it takes."""
        if self._mode == "overlay":
            return 0
        is_one = self._mode == "one"
        table = MAPS[self._map] if is_one else DIVERGING
        low, high = (
            (f"{each:g}" for each in self._range) if is_one else (f"-{DIFFERENCE:g}", f"+{DIFFERENCE:g}")
        )
        high += " dB"
        painter.save()
        painter.setFont(self._small_font())
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        metrics = painter.fontMetrics()
        bar = QRect(0, room.top() + 3, SCALE, room.height() - 6)
        bar.moveRight(room.right() - metrics.horizontalAdvance(high) - 5)
        width = room.right() - bar.left() + metrics.horizontalAdvance(low) + 5
        if 2 * width < room.width():
            line = QImage(table.data, len(table), 1, 4 * len(table), QImage.Format.Format_RGB32)
            painter.drawImage(bar, line)
            painter.drawText(room, RIGHT, high)
            painter.drawText(
                QRect(room.left(), room.top(), bar.left() - 5 - room.left(), room.height()), RIGHT, low
            )
        painter.restore()
        return width + 14 if 2 * width < room.width() else 0

    def _draw_rulers(self, painter: QPainter) -> None:
        """Hz at the left, seconds before the edge below."""
        picture = QRectF(self._picture)
        painter.save()
        painter.setFont(self._small_font())
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        metrics = painter.fontMetrics()
        height = metrics.height()
        for hz, down in frequency_labels(self._rate(), picture.height(), height):
            y = picture.top() + down
            painter.drawLine(QPointF(picture.left() - TICK, y), QPointF(picture.left() - 1, y))
            text = f"{hz // 1000} kHz" if hz >= 1000 else f"{hz} Hz"
            painter.drawText(QRectF(0.0, y - height / 2, picture.left() - TICK - 2, height), RIGHT, text)
        second = picture.width() * self._pace() / self._roll.columns
        for ago, text in time_labels(picture.width(), second):
            x, width = picture.right() - ago * second, metrics.horizontalAdvance(text)
            painter.drawLine(QPointF(x, picture.bottom()), QPointF(x, picture.bottom() + TICK - 1))
            left = min(max(x - width / 2, picture.left()), picture.right() - width)
            painter.drawText(QRectF(left, picture.bottom() + TICK, width + 2, height), LEFT, text)
        painter.restore()

    # -------------------------------------------------------------------------------- the cursor

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Begin a click, or a band."""
        super().mousePressEvent(event)
        x, y = self._pixel(event)
        if self._takes_bands and event.button() == Qt.MouseButton.LeftButton and self._holds(x, y):
            self._pressed, self._dragged = y, False

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Read what is under the pointer, and drag a band."""
        x, y = self._pixel(event)
        self._point((x, y) if self._holds(x, y) else None)
        if not event.buttons() & Qt.MouseButton.LeftButton:
            self._pressed = None  # It was let go where nobody told.
        if self._pressed is not None:
            self._dragged |= abs(y - self._pressed) >= DRAGGED * self._ratio
            if self._dragged:
                self.swept.emit(between(self._frequency(self._pressed), self._frequency(y)))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """End a click, or a band."""
        super().mouseReleaseEvent(event)
        if event.button() == Qt.MouseButton.LeftButton and self._pressed is not None:
            self._pressed = None
            if not self._dragged and self._band is not None:
                self.cleared.emit()

    def _pixel(self, event: QMouseEvent) -> tuple[int, int]:
        """The pixel of the picture under the pointer, from its top left; it may lie outside."""
        at = event.position() * self._ratio
        return int(at.x()) - self._corner[0], int(at.y()) - self._corner[1]

    def _holds(self, x: int, y: int) -> bool:
        return 0 <= x < self._roll.width and 0 <= y < self._roll.height

    def _frequency(self, y: int) -> float:
        """Hz on a pixel from the top."""
        return frequency_at(1.0 - (y + 0.5) / self._roll.height, self._rate())

    def leaveEvent(self, event: QEvent) -> None:  # noqa: N802
        """Read no more."""
        super().leaveEvent(event)
        self._point(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Move the cursor, or the band, by arrows."""
        roll, key = self._roll, Qt.Key(event.key())
        if self._takes_bands and self._take_band_key(key, event.modifiers()):
            return
        if key in ARROWS:
            step = COARSE if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else FINE
            x, y = self._cursor or (roll.width - 1, roll.height // 2)
            across, down = ARROWS[key]
            x = min(max(x + step * across, 0), roll.width - 1)
            y = min(max(y + step * down, 0), roll.height - 1)
            self._point((x, y))
        elif key == Qt.Key.Key_Escape and self._cursor is not None:
            self._point(None)
        else:
            super().keyPressEvent(event)

    def _take_band_key(self, key: Qt.Key, modifiers: Qt.KeyboardModifier) -> bool:
        """Begin, move, widen or end the band by a key; whether it is one for that."""
        band, is_shifted = self._band, modifiers == Qt.KeyboardModifier.ShiftModifier
        plain = modifiers in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        if key == Qt.Key.Key_S and plain:
            self.swept.emit(self.octave())
        elif band is None or not (plain or is_shifted):
            return False
        elif key in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            change = widened if is_shifted else moved
            self.swept.emit(change(band, 1.0 if key == Qt.Key.Key_Up else -1.0))
        elif key == Qt.Key.Key_Escape:
            self.cleared.emit()
        else:
            return False
        return True

    def _point(self, cursor: tuple[int, int] | None) -> None:
        if cursor is not None:
            self._pointed = self._frequency(cursor[1])
        if cursor != self._cursor:
            self._cursor = cursor
            self.update(self._picture)
            self._tell()

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        text = self.reading()
        if text != self._told:
            self._told = text
            self.hovered.emit(text)

    def reading(self) -> str:
        """What is at the cursor, see `hovered`."""
        if self._cursor is None:
            return ""
        roll, (x, y) = self._roll, self._cursor
        pixel = roll.newest - (roll.width - 1 - x)
        first, last = roll.first_column(pixel), min(roll.last_column(pixel), self._edge)
        try:
            numbers, columns = self._read(first)
        except UserError:
            numbers, columns = NOTHING[0], []
        begin, end = np.searchsorted(numbers, (first, last + 1))
        rows = roll.rows(y)
        if begin < end:
            levels = [each[begin:end, rows].max(axis=0) for each in columns]
            row = rows.start + int(levels[0].argmax())
            loudest = [float(DB_OF_BYTE[each.max()]) for each in levels]
        else:
            row, loudest = (rows.start + rows.stop - 1) // 2, []
        hz = float(row_frequencies(self._rate())[row])
        ago = (self._edge - last) / self._pace()
        return "  ".join([hertz(hz), note(hz), self._levels_told(loudest), f"{ago:.1f} s ago"])

    def _levels_told(self, loudest: list[float]) -> str:
        if not loudest:
            return "no data"
        told = [f"{each:.0f} dB" if each > FLOOR else f"below {FLOOR:.0f} dB" for each in loudest]
        if self._mode == "one":
            return told[0]
        named = [f"{view} {each}" for view, each in zip(self._views, told, strict=True)]
        if self._mode == "difference":
            named.append(f"difference {loudest[0] - loudest[1]:+.0f} dB")
        return "  ".join(named)
