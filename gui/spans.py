"""Words and phones under a picture of their sound, in step with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QFont, QFontMetrics, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QWidget

from gui.spectrogram import Spectrogram

KINDS = "phone", "word"
"""Rows, from the top."""
LONGEST = 35.0
"""Seconds that are kept: as many as a picture can show."""


class Spans(QWidget):
    """Two rows of bars with what was heard, each from where it begins to where the next one does.

    Parameters
    ----------
    picture
        What it lies under.
    """

    def __init__(self, picture: Spectrogram) -> None:
        super().__init__()
        self._picture = picture
        self._begun: dict[str, dict[int, str]] = {kind: {} for kind in KINDS}
        """Names by the position at which they begin, in order."""
        self._shown = (0, 0)
        self.setAccessibleName("Words and phones that were heard")
        self._row = QFontMetrics(self._small_font()).height() + 2
        self.setFixedHeight(self._row * len(KINDS))

    def _small_font(self) -> QFont:
        font = QFont(self.font())
        font.setPointSizeF(0.85 * font.pointSizeF())
        return font

    def take(self, begun: Mapping[str, Sequence[tuple[int, str]]]) -> None:
        """Add what has begun lately, by kind: positions of the host, and names; an empty one is silence."""
        for kind, known in self._begun.items():
            new = [(at, name) for at, name in begun.get(kind, ()) if at not in known]
            known.update(new)
            if new:
                self._forget(known, max(known))
                self.update()

    def clear(self) -> None:
        """Forget everything: another host counts anew."""
        for known in self._begun.values():
            known.clear()
        self.update()

    def names(self, kind: str) -> list[tuple[int, str]]:
        """What has been heard of a kind, ``word`` or ``phone``: since which position, and what."""
        return sorted(self._begun[kind].items())

    def refresh(self) -> None:
        """Follow the picture."""
        span = self._picture.span
        if span != self._shown:
            self._shown = span
            for known in self._begun.values():
                self._forget(known, span[1])
            self.update()

    def _forget(self, known: dict[int, str], newest: int) -> None:
        """Drop what is too old to be shown beside a position; what is shown, in a frozen picture, stays."""
        left, right = self._shown
        oldest = newest - LONGEST * self._picture.rate
        for at in [at for at in known if at < oldest and not left <= at <= right]:
            del known[at]

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw what lies in the picture's time."""
        left, right = self._shown
        if right <= left:
            return
        room, palette = self._picture.picture, self.palette()
        scale = room.width() / (right - left)
        with QPainter(self) as painter:
            painter.setFont(self._small_font())
            metrics = painter.fontMetrics()
            painter.setClipRect(room.left(), 0, room.width(), self.height())
            for row, kind in enumerate(KINDS):
                for (begin, name), (end, _) in pairwise([*self.names(kind), (right, "")]):
                    if not name or end <= left or begin >= right:
                        continue
                    bar = QRectF(
                        room.left() + (begin - left) * scale,
                        row * self._row,
                        (min(end, right) - begin) * scale - 1,
                        self._row - 1,
                    )
                    painter.fillRect(bar, palette.color(QPalette.ColorRole.Button))
                    if metrics.horizontalAdvance(name) <= bar.width() + 1:
                        painter.setPen(palette.color(QPalette.ColorRole.ButtonText))
                        painter.drawText(bar, Qt.AlignmentFlag.AlignCenter, name)
