"""A box of choices in which letters look for an entry."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QComboBox

_PLAIN = Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.KeypadModifier


class Choice(QComboBox):
    """A box of choices; letters that are typed in it are its own, not the window's shortcuts."""

    def event(self, event: QEvent) -> bool:
        """Keep letters from being shortcuts."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            is_plain = not event.modifiers() & ~_PLAIN
            if is_plain and event.text() and event.text().isprintable():
                event.accept()
                return True
        return super().event(event)
