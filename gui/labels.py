"""What widgets here have in common: text that is cut where it does not fit, a focus that is drawn."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QFocusEvent, QPainter, QPaintEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import QLabel, QTabBar, QWidget


class ShowsFocus(QWidget):
    """A widget that draws itself otherwise while it has the focus."""

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        """Show the focus."""
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        """Show it no more."""
        super().focusOutEvent(event)
        self.update()


class Tabs(QTabBar):
    """Tabs that show which of them the keyboard is at: the style does not."""

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw a line under the tab that has the focus."""
        super().paintEvent(event)
        if self.hasFocus():
            tab = self.tabRect(self.currentIndex())
            with QPainter(self) as painter:
                painter.fillRect(
                    tab.left() + 4, tab.bottom() - 3, tab.width() - 8, 2, self.palette().link().color()
                )


class Elided(QLabel):
    """A label of one line that takes the room there is; never more.

    Parameters
    ----------
    role
        Colour of the text, of the palette.
    """

    def __init__(
        self,
        text: str = "",
        parent: QWidget | None = None,
        role: QPalette.ColorRole = QPalette.ColorRole.WindowText,
    ) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setForegroundRole(role)
        self._tip = ""
        self.show_text(text)

    def set_tip(self, tip: str) -> None:
        """A tool tip that is shown whether or not the text is cut."""
        self._tip = tip
        self._tell()

    def show_text(self, text: str) -> None:
        """Show a text; the same again costs nothing."""
        if text != self.text():
            self.setText(text)
            self._tell()

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """As narrow as need be."""
        return QSize(0, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """What is cut is told whole by the tool tip."""
        super().resizeEvent(event)
        self._tell()

    def _tell(self) -> None:
        fits = self.fontMetrics().horizontalAdvance(self.text()) <= self.contentsRect().width()
        self.setToolTip("\n".join(filter(None, ("" if fits else self.text(), self._tip))))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw what fits."""
        room = self.contentsRect()
        cut = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, room.width())
        with QPainter(self) as painter:
            painter.setPen(self.palette().color(self.foregroundRole()))
            painter.drawText(room, int(self.alignment()) | Qt.TextFlag.TextSingleLine, cut)
