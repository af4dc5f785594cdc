"""The rack's panel."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from gui.link import Link


class Rack(QWidget):
    """The nodes, in their order."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.link = link

    def refresh(self) -> None:
        """Draw what is new."""
