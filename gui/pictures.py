"""How pictures of sound are shown: levels at the ends of their maps, how much time, whether they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QKeyEvent
from PySide6.QtWidgets import QLabel, QPushButton, QSpinBox, QWidget

from gui.choices import Choice
from gui.flow import Flow, together
from gui.spectrogram import RANGE, Spectrogram
from rtaudio.observation import FLOOR

SECONDS = (0, 5, 10, 20, 30)
"""What can be chosen; 0: as many as there is room for."""
NARROWEST = 10
"""dB between the ends of a map, at least."""


class PictureControls(QWidget):
    """A row of controls of some pictures.

    Parameters
    ----------
    pictures
        The pictures.
    """

    froze = Signal(bool)
    """The pictures stand, or roll again."""

    def __init__(self, pictures: Sequence[Spectrogram]) -> None:
        super().__init__()
        self._pictures = pictures
        self.low = self._spin("Lowest level of the pictures", round(FLOOR), -NARROWEST, RANGE[0])
        self.high = self._spin("Highest level of the pictures", round(FLOOR) + NARROWEST, 0, RANGE[1])
        self.seconds = Choice()
        self.seconds.setAccessibleName("Seconds that the pictures show")
        self.seconds.setToolTip("How much time the pictures show")
        for seconds in SECONDS:
            self.seconds.addItem(f"{seconds} s" if seconds else "by width", seconds)
        self.seconds.currentIndexChanged.connect(self._set_seconds)
        self.freeze = QPushButton("Freeze")
        self.freeze.setCheckable(True)
        self.freeze.setToolTip("The pictures stand, the sound goes on (Space)")
        self.freeze.setAccessibleName("Freeze the pictures")
        self.freeze.toggled.connect(self._freeze)
        row = Flow(self)
        for words, widget in (("Levels", self.low), ("to", self.high), ("Time", self.seconds)):
            row.addWidget(together(QLabel(words), widget))
        row.addWidget(self.freeze)

    def control(self, pictures: Sequence[Spectrogram]) -> None:
        """Control other pictures, which become as it is set."""
        self._pictures = pictures
        self._set_range()
        self._set_seconds()
        self._freeze(self.freeze.isChecked())

    def kept(self) -> dict[str, Any]:
        """What is remembered of it."""
        return {"low": self.low.value(), "high": self.high.value(), "seconds": self.seconds.currentData()}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Be as it was; what is no such value is passed over."""
        for spin, name in ((self.high, "high"), (self.low, "low")):
            if isinstance(kept.get(name), int):
                spin.setValue(kept[name])
        self.seconds.setCurrentIndex(max(0, self.seconds.findData(kept.get("seconds"))))

    def _spin(self, name: str, least: int, most: int, value: float) -> QSpinBox:
        spin = QSpinBox()
        spin.setRange(least, most)
        spin.setSingleStep(5)
        spin.setSuffix(" dB")
        spin.setValue(round(value))
        spin.setAccessibleName(name)
        spin.setToolTip(name)
        spin.setKeyboardTracking(False)
        spin.valueChanged.connect(self._set_range)
        return spin

    def _set_range(self) -> None:
        """Set the range; the end that was not moved gives way."""
        low, high = self.low.value(), self.high.value()
        if high - low < NARROWEST:
            if self.sender() is self.low:
                self.high.setValue(low + NARROWEST)
            else:
                self.low.setValue(high - NARROWEST)
            return  # It has been called again by that.
        for picture in self._pictures:
            picture.set_range(low, high)

    def _set_seconds(self) -> None:
        for picture in self._pictures:
            picture.set_seconds(float(self.seconds.currentData()))

    def _freeze(self, on: bool) -> None:
        self.freeze.setText("Frozen" if on else "Freeze")
        for picture in self._pictures:
            picture.freeze(on)
        self.froze.emit(on)


class PicturesView(QWidget):
    """A view with pictures, which Space freezes; a file of sound that is dropped is heard."""

    controls: PictureControls

    chosen = Signal(str)
    """A file is to be played, by another host where the one that runs plays none."""

    def __init__(self) -> None:
        super().__init__()
        self.setAcceptDrops(True)

    def open_file(self, path: str) -> None:
        """Have a file played."""
        self.chosen.emit(path)

    def kept(self) -> dict[str, Any]:
        """What is remembered of it."""
        return self.controls.kept()

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Be as it was."""
        self.controls.restore(kept)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802
        """Take a file."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        """Have the file played that is dropped, the first of several."""
        files = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        self.open_file(files[0])
        event.acceptProposedAction()

    def freeze(self, on: bool) -> None:
        """Have the pictures stand, or roll again; the sound goes on."""
        self.controls.freeze.setChecked(on)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Space freezes."""
        if event.key() == Qt.Key.Key_Space and not event.isAutoRepeat():
            self.controls.freeze.toggle()
        else:
            super().keyPressEvent(event)
