"""What the host plays through: a dialog that lists devices as they come and go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QComboBox, QDialog, QDialogButtonBox, QFormLayout, QLabel, QVBoxLayout, QWidget

from gui.catalogue import Inquiry

LOOK_MS = 2000
"""Milliseconds from one list of devices to the next question: to ask ALSA takes long."""
APIS = {"": "the best there is", "jack": "JACK", "alsa": "ALSA", "null": "no device, at the clock's pace"}
BLOCKS = ("", "32", "64", "128", "256", "512", "1024")
RATES = ("", "44100", "48000", "96000", "192000")
OWN = "the device's own"


class Devices(QDialog):
    """Asks for the device, the block and the rate.

    Parameters
    ----------
    now
        What the host runs with, by the options of ``rtaudio live`` without their dashes: ``api``, ``input``,
        ``output``, ``block``, ``rate``; what is not said is missing.
    parent
        The window.
    """

    chosen = Signal(dict)
    """What is wanted, in the same way."""

    def __init__(self, now: Mapping[str, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Devices")
        self._found: list[dict[str, Any]] = []
        self._inquiry = Inquiry("devices", parent=self)
        self._inquiry.answered.connect(self._take)
        self.api, self.input, self.output, self.block, self.rate = (QComboBox() for _ in range(5))
        for word, text in APIS.items():
            self.api.addItem(text, word)
        for block in BLOCKS:
            self.block.addItem(f"{block} samples" if block else OWN, block)
        for rate in RATES:
            self.rate.addItem(f"{int(rate) / 1000:g} kHz" if rate else OWN, rate)
        form = QFormLayout()
        rows = {"api": "&Through", "input": "&Input", "output": "&Output", "block": "&Block", "rate": "&Rate"}
        for name, label in rows.items():
            box: QComboBox = getattr(self, name)
            box.setAccessibleName(label.replace("&", ""))
            form.addRow(label, box)
            _choose(box, now.get(name, ""))
        self.note = QLabel("looking for devices ...")
        self.note.setWordWrap(True)
        self.note.setAccessibleName("What was found")
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.button(QDialogButtonBox.StandardButton.Ok).setText("Play through it")
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(self.note)
        column.addWidget(buttons)
        self.resize(460, 0)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self._inquiry.ask)
        self.api.currentIndexChanged.connect(self._list)
        self.accepted.connect(self._tell)
        self.finished.connect(self._end)
        self._list()
        self._inquiry.ask()

    def wanted(self) -> dict[str, str]:
        """What is chosen."""
        boxes = ("api", "input", "output", "block", "rate")
        found = {name: str(getattr(self, name).currentData() or "") for name in boxes}
        if found["api"] == "null":
            found["input"] = found["output"] = ""
        return {name: value for name, value in found.items() if value}

    def _tell(self) -> None:
        self.chosen.emit(self.wanted())

    def _take(self, answer: list[dict[str, Any]] | None) -> None:
        """Take a list of devices and MIDI ports, and ask for the next one after a while."""
        if answer is None:
            self.note.setText(self._inquiry.said or "the devices cannot be listed")
        else:
            self._found = [each for each in answer if "default_input" in each]
            count = len(self._found)
            self.note.setText(f"{count or 'no'} device{'s' * (count != 1)} here; what comes or goes is seen")
        self._list()
        self._timer.start()

    def _list(self) -> None:
        """Show the devices of the chosen interface; what was chosen stays, though it may be gone."""
        api = self.api.currentData()
        for box, side in (self.input, "inputs"), (self.output, "outputs"):
            if box.view().isVisible():
                continue  # Somebody is choosing.
            before = str(box.currentData() or "")
            names = [each["name"] for each in self._found if each[side] and api in ("", each["api"])]
            box.clear()
            for name in ("", *dict.fromkeys(names)):
                box.addItem(name or "the default", name)
            _choose(box, before)
            box.setEnabled(api != "null")

    def _end(self) -> None:
        self._timer.stop()
        self._inquiry.end()


def _choose(box: QComboBox, value: str) -> None:
    """Choose an entry; one that is not there is added, and said not to be there."""
    at = box.findData(value)
    if at < 0:
        box.addItem(f"{value} (not here)", value)
        at = box.count() - 1
    box.setCurrentIndex(at)
