"""Levels of a host's views, and how long its blocks take."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetrics,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
)
from PySide6.QtWidgets import QFrame, QLabel, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from gui.labels import ShowsFocus
from gui.link import Link
from rtaudio.errors import UserError
from rtaudio.observation import Meters as Levels
from rtaudio.observation import Observation

LOWEST = -60.0
"""dBFS at the left end of a meter; the right one is 0."""
TICKS = (-60, -50, -40, -30, -20, -10, -6, 0)
HOLD = 2.0
"""Seconds of sound that the highest peak is held for."""
FALL = 20.0
"""dB that it falls in a second then."""
TOLD = 0.2
"""Seconds between two readings in text, which is dear to draw."""
BAR, GAP, MARGIN = 7, 2, 4
"""Pixels of a channel's bar, between two, and around all."""
OCTAVES_BELOW, OCTAVES = 8, 9
"""Octaves of time that a histogram shows below the deadline, and in all."""
BARS = 8 * OCTAVES
HEIGHT = 74
"""Pixels of a histogram."""

NO_HOST = "no host"
HINT = "How long blocks take, both scales logarithmic; click, or Return, begins anew"

_Role = QPalette.ColorRole
_MIDDLE = Qt.AlignmentFlag.AlignVCenter
_LEFT, _RIGHT = Qt.AlignmentFlag.AlignLeft | _MIDDLE, Qt.AlignmentFlag.AlignRight | _MIDDLE
_RESET = (Qt.Key.Key_Delete, Qt.Key.Key_Return, Qt.Key.Key_Enter)


def level(magnitude: float) -> float:
    """DB of a magnitude; minus infinity for 0."""
    return float(20.0 * np.log10(magnitude)) if magnitude > 0.0 else -np.inf


def share(db: float) -> float:
    """Where on a meter a level is, from 0 at its left end to 1."""
    return min(max(1.0 - db / LOWEST, 0.0), 1.0)


def _told(db: float) -> str:
    return f"{db:.1f}" if db > -np.inf else "-∞"


class _Drawn(ShowsFocus):
    """What is drawn by itself, has the focus, and is reset by a click, Return or Delete."""

    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def reset(self) -> None:
        """Forget what is held."""
        raise NotImplementedError

    def small_font(self) -> QFont:
        """Of what matters less."""
        font = QFont(self.font())
        font.setPointSizeF(0.85 * font.pointSizeF())
        return font

    def colour(self, role: QPalette.ColorRole) -> QColor:
        """A colour of the theme."""
        return self.palette().color(role)

    def draw_focus(self, painter: QPainter) -> None:
        """Show where the focus is."""
        if self.hasFocus():
            painter.setPen(QPen(self.colour(_Role.Link), 2))
            painter.drawRect(self.rect().adjusted(1, 1, -1, -1))

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Reset."""
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        self.reset()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Reset by a key."""
        if event.key() in _RESET:
            self.reset()
        else:
            super().keyPressEvent(event)


class Meter(_Drawn):
    """Levels of a view: RMS and peak of each channel as bars, the highest peak held, and whether it clipped.

    Parameters
    ----------
    view
        Its name.
    channels
        Those with levels.
    """

    def __init__(self, view: str, channels: int) -> None:
        super().__init__()
        self.view, self.channels = view, channels
        self.held = np.full(channels, -np.inf)
        """dBFS of the highest peak of each channel, held and then falling."""
        self.clipped = False
        """Whether a sample has reached full scale since the last reset."""
        self.text = ""
        """The levels in text."""
        self._rms = np.full(channels, -np.inf)
        self._peak = np.full(channels, -np.inf)
        self._loudness = -np.inf
        self._since = np.zeros(channels)
        """When the held peaks were reached, in seconds of sound."""
        self._now, self._told_at = 0.0, -np.inf
        self._drawn: tuple[int, ...] = ()
        self._count = self._counted = 0
        """Samples beyond full scale, now and at the last reset."""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(f"Levels of {view}")
        self.setToolTip(f"{view}: peak, RMS and loudness; click, or Return, resets what is held")
        self._place()

    @property
    def bars(self) -> QRect:
        """Where the bars are."""
        return self._bars

    def take(self, levels: Levels, seconds: float) -> None:
        """Show levels.

        Parameters
        ----------
        levels
            Their peaks are since the levels before.
        seconds
            Of sound, at their position.
        """
        passed, self._now = max(0.0, seconds - self._now), seconds
        self._peak = np.array([level(float(each)) for each in levels.peak])
        self._rms = np.array([level(float(each)) for each in levels.rms])
        self._loudness = levels.loudness
        late = seconds - self._since - HOLD
        self.held = np.where(
            late > 0.0, self.held - FALL * np.minimum(passed, np.maximum(late, 0.0)), self.held
        )
        higher = self._peak >= self.held
        self.held[higher], self._since[higher] = self._peak[higher], seconds
        self._count = int(levels.clipped.sum())
        clips = bool((levels.peak >= 1.0).any()) or self._count > self._counted
        if clips and not self.clipped:
            self.clipped = True
            self._told_at = -np.inf
        drawn = self._pixels()
        if drawn != self._drawn:
            self._drawn = drawn
            self.update(self._bars)
        if seconds - self._told_at >= TOLD or seconds < self._told_at:
            self._tell()

    def reset(self) -> None:
        """Forget the held peaks, and that it clipped."""
        self.held[:] = -np.inf
        self._drawn = self._pixels()
        self.clipped, self._counted = False, self._count
        self._tell()
        self.update()

    def _tell(self) -> None:
        self._told_at = self._now
        peak, rms = (float(each.max(initial=-np.inf)) for each in (self.held, self._rms))
        text = f"peak {_told(peak)}  RMS {_told(rms)} dBFS  {_told(self._loudness)} LUFS"
        said = f"{text}, clipped" if self.clipped else text
        if said != self.accessibleDescription():
            self.text = text
            self.setAccessibleDescription(said)
            self.update()

    def _pixels(self) -> tuple[int, ...]:
        """Lengths of the bars of RMS, then those of the peaks, then where peaks are held."""
        width = self._bars.width()
        return tuple(round(width * share(float(each))) for each in (*self._rms, *self._peak, *self.held))

    def _place(self) -> None:
        """Have the bars where there is room."""
        height = self.channels * (BAR + GAP) - GAP
        top = MARGIN + self.fontMetrics().height() + 1
        self._bars = QRect(MARGIN, top, self.width() - 2 * MARGIN, height)
        self._drawn = self._pixels()

    def resizeEvent(self, event: QEvent) -> None:  # noqa: N802
        """Fit the bars."""
        self._place()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        """Fit the bars to another font."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._place()

    def sizeHint(self) -> QSize:  # noqa: N802
        """What the text needs."""
        small = QFontMetrics(self.small_font())
        width = small.horizontalAdvance("peak -99.9  RMS -99.9 dBFS  -99.9 LUFS")
        return QSize(width + 2 * MARGIN + 2, self._bars.bottom() + 2 * small.height() + 3 + MARGIN)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """What the text needs, too."""
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw the bars, and the text only where that is wanted."""
        with QPainter(self) as painter:
            self._draw_bars(painter)
            if self._bars.contains(event.rect()):
                return
            metrics, bars = self.fontMetrics(), self._bars
            head = QRect(MARGIN, MARGIN, bars.width(), metrics.height())
            if self.clipped:
                width = metrics.horizontalAdvance("CLIP") + 8
                chip = QRect(head.right() - width, head.top(), width, head.height())
                painter.fillRect(chip, self.colour(_Role.BrightText))
                painter.setPen(self.colour(_Role.Base))
                painter.drawText(chip, Qt.AlignmentFlag.AlignCenter, "CLIP")
                head.setRight(chip.left() - 6)
            painter.setPen(self.colour(_Role.WindowText))
            cut = metrics.elidedText(self.view, Qt.TextElideMode.ElideMiddle, head.width())
            painter.drawText(head, _LEFT, cut)
            painter.setFont(self.small_font())
            self._draw_ticks(painter)
            metrics = painter.fontMetrics()
            foot = QRect(MARGIN, bars.bottom() + metrics.height() + 3, bars.width(), metrics.height())
            painter.setPen(self.colour(_Role.WindowText))
            cut = metrics.elidedText(self.text, Qt.TextElideMode.ElideRight, foot.width())
            painter.drawText(foot, _LEFT, cut)
            self.draw_focus(painter)

    def _draw_bars(self, painter: QPainter) -> None:
        bars, n = self._bars, self.channels
        pixels = self._drawn
        for channel in range(n):
            top = bars.top() + channel * (BAR + GAP)
            rms, peak, held = pixels[channel], pixels[n + channel], pixels[2 * n + channel]
            painter.fillRect(bars.left(), top, bars.width(), BAR, self.colour(_Role.Base))
            painter.fillRect(bars.left(), top + 2, peak, BAR - 4, self.colour(_Role.Link))
            painter.fillRect(bars.left(), top, rms, BAR, self.colour(_Role.Highlight))
            if held:
                painter.fillRect(bars.left() + held - 2, top, 2, BAR, self.colour(_Role.WindowText))

    def _draw_ticks(self, painter: QPainter) -> None:
        bars, metrics = self._bars, painter.fontMetrics()
        painter.setPen(self.colour(_Role.PlaceholderText))
        free = -1.0
        for db in TICKS:
            x = bars.left() + share(db) * (bars.width() - 1)
            painter.drawLine(QPointF(x, bars.bottom() + 1), QPointF(x, bars.bottom() + 3))
            width = metrics.horizontalAdvance(str(db))
            left = min(max(x - width / 2, float(bars.left())), float(bars.right() - width))
            room = QRectF(left, bars.bottom() + 3, width + 1, metrics.height())
            is_next_to_last = db == TICKS[-2] and bars.right() - 2 * width < left + width
            if left >= free and not is_next_to_last:
                painter.drawText(room, _LEFT, str(db))
                free = left + width + 5


class Meters(QScrollArea):
    """A `Meter` for every view of a host: its input, its outputs, and stems."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link
        self._seen: Observation | None = None
        self._meters: dict[tuple[str, int], Meter] = {}
        self._since: dict[str, int] = {}
        """Position up to which a view's levels were shown."""
        inside = QWidget()
        self._column = QVBoxLayout(inside)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        self.nothing = QLabel(NO_HOST)
        """What is shown in place of meters."""
        self.nothing.setForegroundRole(_Role.PlaceholderText)
        self.nothing.setMargin(MARGIN)
        self._column.addWidget(self.nothing)
        self._column.addStretch(1)
        self.setWidget(inside)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("Levels")

    @property
    def meters(self) -> dict[str, Meter]:
        """The meters by view."""
        return {view: meter for (view, _), meter in self._meters.items()}

    def refresh(self) -> None:
        """Show the newest levels; without a host, that there is none."""
        seen = self._link.observation
        if not self.isVisible():
            return
        if seen is not self._seen:
            self._seen = seen
            self._since.clear()
            self._fit({})
        if seen is None:
            return
        try:
            views = seen.views()
            found = {name: seen.meters(name, self._since.get(name)) for name in views}
        except UserError:  # An edit has just taken a view away.
            return
        self._fit({(name, len(levels.peak)): None for name, levels in found.items()})
        for name, levels in found.items():
            if levels.position != self._since.get(name):
                self._since[name] = levels.position
                self._meters[name, len(levels.peak)].take(levels, levels.position / seen.rate)

    def _fit(self, wanted: dict[tuple[str, int], None]) -> None:
        """Have meters of these views and widths, in this order."""
        if list(wanted) == list(self._meters):
            return
        for key in self._meters.keys() - wanted.keys():
            gone = self._meters.pop(key)
            self._since.pop(key[0], None)
            gone.hide()
            gone.deleteLater()
        self.nothing.setVisible(not wanted)
        kept = self._meters
        self._meters = {key: kept.get(key) or Meter(*key) for key in wanted}
        for place, meter in enumerate(self._meters.values()):
            self._column.insertWidget(place, meter)
        self.updateGeometry()

    def sizeHint(self) -> QSize:  # noqa: N802
        """All of them, without scrolling."""
        inside, bar = self._column.sizeHint(), self.verticalScrollBar().sizeHint()
        return QSize(inside.width() + bar.width(), inside.height() + 2)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Some of them, each as wide as its text."""
        return QSize(self.sizeHint().width(), 90)


class Deadlines(_Drawn):
    """How long blocks take, against the time there is for one: a histogram, since the last reset.

    Both scales are logarithmic: time, up to twice the deadline, and counts. What is shorter or longer is
    counted at the ends.
    """

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link
        self._seen: Observation | None = None
        self._before: NDArray[np.int64] = np.zeros(0, np.int64)
        """Counts at the last reset."""
        self._deadline = 0.0
        self._bars = np.zeros(BARS, np.int64)
        self._marks: tuple[float, ...] = ()
        """p50 and p99, in ns."""
        self._told_at = 0.0
        self.text = NO_HOST
        """The histogram in text."""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Times of blocks")
        self.setToolTip(HINT)
        self.setAccessibleDescription(self.text)

    def refresh(self) -> None:
        """Show what is new, a few times a second."""
        now = time.monotonic()
        if self.isVisible() and now - self._told_at >= TOLD:
            self._told_at = now
            self._count()

    def reset(self) -> None:
        """Begin anew."""
        if self._seen is not None:
            self._before = self._seen.histogram()[1]
            self._count()

    def _count(self) -> None:
        seen = self._link.observation
        if seen is None:
            self._seen, self._deadline, self._marks = None, 0.0, ()
            self._bars = np.zeros(BARS, np.int64)
            self._show(NO_HOST)
            return
        durations, counts = seen.histogram()
        if seen is not self._seen:
            self._seen, self._before = seen, np.zeros_like(counts)
        counted = seen.counters()
        samples = counted["period"] or counted["block"]
        self._deadline = 1e9 * samples / seen.rate
        new = counts - self._before
        self._bars = pooled(durations, new, self._deadline)
        total = int(new.sum())
        text = "no blocks yet"
        self._marks = ()
        if total:
            ends = np.searchsorted(np.cumsum(new), [0.5 * total, 0.99 * total, total])
            p50, p99, most = (float(durations[end]) for end in ends)
            late = int(new[durations > self._deadline].sum())
            self._marks = p50, p99
            p50_ms, p99_ms, most_ms, deadline_ms = (
                f"{each / 1e6:.2g}" for each in (p50, p99, most, self._deadline)
            )
            text = f"p50 {p50_ms}  p99 {p99_ms}  most {most_ms} of {deadline_ms} ms, {late} late"
        self._show(text)

    def _show(self, text: str) -> None:
        """Draw, and tell in text."""
        if text != self.text:
            self.text = text
            self.setAccessibleDescription(text)
            self.setToolTip(f"{text}\n{HINT}")
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802
        """What the text needs."""
        small = QFontMetrics(self.small_font())
        width = small.horizontalAdvance("p50 0.999  p99 0.999  most 0.99 of 9.9 ms, 0 late")
        return QSize(width + 2 * MARGIN + 2, HEIGHT + 3 * small.height() + 2 * MARGIN)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """What the text needs, too."""
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw all of it."""
        with QPainter(self) as painter:
            painter.setFont(self.small_font())
            metrics = painter.fontMetrics()
            line = metrics.height()
            room = QRect(MARGIN, MARGIN + line, self.width() - 2 * MARGIN, HEIGHT)
            painter.fillRect(room, self.colour(_Role.Base))
            self._draw_counts(painter, room)
            if self._deadline:
                self._draw_marks(painter, room)
            painter.setPen(self.colour(_Role.WindowText))
            foot = QRect(MARGIN, room.bottom() + line + 2, room.width(), line)
            painter.drawText(
                foot, _LEFT, metrics.elidedText(self.text, Qt.TextElideMode.ElideRight, foot.width())
            )
            self.draw_focus(painter)

    def _draw_counts(self, painter: QPainter, room: QRect) -> None:
        """Bars of the counts, in another colour right of the deadline."""
        most = float(np.log1p(self._bars.max(initial=0))) or 1.0
        width = room.width() / BARS
        for bar, count in enumerate(self._bars.tolist()):
            if count:
                height = max(2.0, (room.height() - 2) * float(np.log1p(count)) / most)
                place = QRectF(
                    room.left() + bar * width, room.bottom() + 1 - height, max(1.0, width - 1), height
                )
                is_late = bar >= 8 * OCTAVES_BELOW
                painter.fillRect(place, self.colour(_Role.BrightText if is_late else _Role.Link))

    def _draw_marks(self, painter: QPainter, room: QRect) -> None:
        """Lines at the percentiles and the deadline, with their names, and times below."""
        metrics = painter.fontMetrics()
        named = list(zip(("p50", "p99"), self._marks, strict=False))
        free = float(room.left())
        for name, ns in [*named, ("deadline", self._deadline)]:
            x = room.left() + room.width() * place_of(ns, self._deadline)
            painter.setPen(QPen(self.colour(_Role.WindowText), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(x, room.top()), QPointF(x, room.bottom()))
            width = metrics.horizontalAdvance(name)
            left = min(max(x - width / 2, free), float(room.right() - width))
            painter.drawText(QRectF(left, MARGIN, width + 2, metrics.height()), _LEFT, name)
            free = left + width + 5
        painter.setPen(self.colour(_Role.PlaceholderText))
        for text, part in (("1 %", 0.01), ("10 %", 0.1), ("100 %", 1.0)):
            x = room.left() + room.width() * place_of(part * self._deadline, self._deadline)
            width = metrics.horizontalAdvance(text)
            left = min(max(x - width / 2, float(room.left())), float(room.right() - width))
            painter.drawText(QRectF(left, room.bottom() + 1, width + 2, metrics.height()), _LEFT, text)


def place_of(ns: float, deadline: float) -> float:
    """Where a duration is in a histogram, from 0 to 1."""
    return float(min(max((np.log2(ns / deadline) + OCTAVES_BELOW) / OCTAVES, 0.0), 1.0))


def pooled(durations: NDArray[np.float64], counts: NDArray[np.int64], deadline: float) -> NDArray[np.int64]:
    """Counts in `BARS` bars, eight to an octave, from the lowest time that is shown to twice the deadline.

    Those beyond the deadline are in bars of their own.
    """
    bars = np.ceil(8 * (np.log2(durations / deadline) + OCTAVES_BELOW)).astype(np.int64) - 1
    return np.bincount(np.clip(bars, 0, BARS - 1), counts, BARS).astype(np.int64)
