"""The line of messages, and a list of lines that can be read again and copied."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette, QTextCursor
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QPlainTextEdit, QVBoxLayout, QWidget

from gui.labels import Elided

KEPT = 200
"""Messages that are kept: the last ones."""
HOLD = 5.0
"""Seconds for which what is under the pointer does not take the place of an error."""
EARLIER = "earlier "
TIP = "A click, Return or Space shows the last messages"


class Lines(QDialog):
    """A dialog of lines that are read, selected and copied; it shows new ones as they come.

    Parameters
    ----------
    parent
        The window.
    title
        Of the dialog, and of the lines for a screen reader.
    """

    def __init__(self, parent: QWidget, title: str) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(640, 380)
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setTabChangesFocus(True)
        self.text.setAccessibleName(title)
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.buttons.rejected.connect(self.reject)
        copy = self.buttons.addButton("&Copy all", QDialogButtonBox.ButtonRole.ActionRole)
        copy.clicked.connect(self._copy)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addWidget(self.buttons)

    def show_lines(self, lines: Sequence[str]) -> None:
        """Show lines, the newest last and in sight; the same again leave what is selected."""
        text = "\n".join(lines)
        if text != self.text.toPlainText():
            self.text.setPlainText(text)
            self.text.moveCursor(QTextCursor.MoveOperation.End)

    def _copy(self) -> None:
        self.text.selectAll()
        self.text.copy()


class Messages(Elided):
    """The line of the window that says what has happened; it keeps what it has said."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: deque[str] = deque(maxlen=KEPT)
        self._last, self._last_is_error, self._said_at = "", False, 0.0
        self._list: Lines | None = None
        self.setAccessibleName("Messages")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.set_tip(TIP)

    def say(self, text: str, is_error: bool) -> None:
        """Show a message, and keep it; what is wrong is marked by a sign and a colour."""
        self._last = f"⚠ {text}" if is_error else text
        self._last_is_error, self._said_at = is_error, time.monotonic()
        if text:
            self._kept.append(f"{time.strftime('%H:%M:%S')}  {self._last}")
        self._show_last()
        if self._list is not None:
            self._list.show_lines(self._kept)

    def recall(self, notes: Sequence[str], problems: Sequence[str]) -> None:
        """Keep what a host had said before anybody listened."""
        self._kept.extend(f"{EARLIER}  {text}" for text in (*notes, *(f"⚠ {each}" for each in problems)))

    def hint(self, text: str) -> None:
        """Show for a while what is under the pointer, unless an error has just been said; empty: no more."""
        if self._last_is_error and time.monotonic() - self._said_at < HOLD:
            return
        if text:
            self.setForegroundRole(QPalette.ColorRole.WindowText)
            self.show_text(text)
        else:
            self._show_last()

    def _show_last(self) -> None:
        role = QPalette.ColorRole.BrightText if self._last_is_error else QPalette.ColorRole.WindowText
        self.setForegroundRole(role)
        self.show_text(self._last)

    def show_list(self) -> None:
        """Show what was said, with when."""
        if self._list is None:
            self._list = Lines(self.window(), "Messages")
            self._list.finished.connect(self._forget_list)
            self._list.show()
        self._list.show_lines(self._kept or ["nothing has been said yet"])
        self._list.raise_()

    def _forget_list(self) -> None:
        self._list = None

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """A click shows what was said."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.show_list()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Return and Space show it, too."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.show_list()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw what fits, and the focus."""
        super().paintEvent(event)
        if self.hasFocus():
            with QPainter(self) as painter:
                painter.setPen(self.palette().link().color())
                painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
