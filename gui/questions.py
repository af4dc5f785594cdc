"""Questions that wait for their answer."""

from __future__ import annotations

from PySide6.QtWidgets import QMessageBox, QWidget


def agreed(parent: QWidget, title: str, text: str) -> bool:
    """Ask, yes or no, and wait; no is the answer of who just presses Return or Escape."""
    yes, no = QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.No
    return QMessageBox.question(parent, title, text, yes | no, no) == yes
