"""A band of frequencies that is heard alone: chosen in pictures, put into the rack and taken out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget

from gui.bands import Band, told
from gui.labels import Elided
from gui.link import Link
from gui.spectrogram import Spectrogram

NODE = ENGINE = "band"
"""The node that is put at the end of the rack, and its engine."""
TIP = "Hear a band of frequencies alone: drag over a picture, or press S there; arrows move it"
ALL_TIP = "Hear all frequencies again (Escape, or a click on a picture)"


class BandSolo(QWidget):
    """Tells the band that is heard alone, and begins and ends it.

    While there is one, the host's rack has a node `NODE` at its end: so what is heard is what the host says,
    and a band outlives the window as anything else in the rack does. To undo does not touch it.

    Parameters
    ----------
    link
        The connection with the host.
    """

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link
        self._pictures: list[Spectrogram] = []
        self._pointed: Spectrogram | None = None
        """The picture that was pointed at last."""
        self._band: Band | None = None
        """What is drawn: the band that is heard, or is to be."""
        self._there = self._wanted = False
        """Whether the rack has the node, and whether it should."""
        self._edit, self._is_answered = "", False
        """The line of an edit of this that is on its way, and whether the host has it."""
        self._sent: dict[str, float] = {}
        """The node's values, as the host has them or is to have them."""
        self.words = Elided()
        self.words.setAccessibleName("The band that is heard alone")
        self.button = QPushButton()
        self.button.clicked.connect(self._press)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.words, 1)
        row.addWidget(self.button)
        link.stated.connect(self._on_stated)
        link.changed.connect(self._on_changed)
        link.detached.connect(self._on_detached)
        self._on_stated(link.state)

    def watch(self, pictures: Sequence[Spectrogram]) -> None:
        """Let these pictures, in place of others, choose the band and show it."""
        self._pictures, self._pointed = list(pictures), None
        for picture in pictures:
            picture.take_bands()
            picture.swept.connect(self.hear)
            picture.cleared.connect(self.hear_all)
            picture.hovered.connect(self._on_hovered)
            picture.set_band(self._band)

    @property
    def band(self) -> Band | None:
        """The band that is heard alone, or is to be; None: all is heard."""
        return self._band

    def hear(self, band: Band) -> None:
        """Have a band heard alone, or that one in place of another."""
        if not self._link.state:
            self._link.said.emit("no host runs: there is nothing to hear a band of", True)
            return
        self._wanted = True
        self._show(band)
        self._settle()

    def hear_all(self) -> None:
        """Have all frequencies heard again."""
        self._wanted = False
        self._show(None)
        self._settle()

    # -------------------------------------------------------------------------------- the host

    def _settle(self) -> None:
        """Bring the host nearer to what is wanted; one edit at a time."""
        band = self._band
        if self._edit:
            comes = self._edit.startswith("listen")
            if comes and not self._wanted and self._edit in self._link.state["loading"]:
                self._begin(f"remove {NODE}")  # It is given up.
        elif self._wanted and band is not None:
            if self._there:
                self._set_values(band)
            else:
                self._begin(f"listen {NODE}: {ENGINE}(low={band.low!r}, high={band.high!r})")
        elif self._there:
            self._link.send(f"set {NODE}.mix 0", self._say_error)  # All is heard before it has gone.
            self._begin(f"remove {NODE}")

    def _begin(self, line: str) -> None:
        self._edit, self._is_answered = line, False
        self._link.send(line, self._on_answer)

    def _on_answer(self, answer: dict[str, Any]) -> None:
        self._is_answered = True
        if not answer["ok"]:
            self._say_error(answer)
            self._edit = ""
            self._take_as_it_is()

    def _say_error(self, answer: dict[str, Any]) -> None:
        if not answer["ok"]:
            self._link.said.emit(answer["error"], True)

    def _set_values(self, band: Band) -> None:
        for name, value in {"low": band.low, "high": band.high, "mix": 1.0}.items():
            if self._sent.get(name) != value:
                self._sent[name] = value
                self._link.set(f"{NODE}.{name}", value)

    def _read_values(self) -> None:
        """Take the node's values from the host's state, but for those that are on their way."""
        node = next((each for each in self._link.state.get("nodes", ()) if _is_solo(each)), None)
        values = {} if node is None else {each["id"]: each["value"] for each in node["parameters"]}
        newer = {
            name: self._sent.get(name, value) for name, value in values.items() if self._is_setting(name)
        }
        self._sent = values | newer

    def _is_setting(self, name: str) -> bool:
        return self._link.is_setting(f"{NODE}.{name}")

    def _take_as_it_is(self) -> None:
        """Show what the host has, whoever has done it."""
        self._read_values()
        self._wanted = bool(self._sent.get("mix"))
        self._show(Band(self._sent["low"], self._sent["high"]) if self._wanted else None)

    def _on_stated(self, state: dict[str, Any]) -> None:
        self._there = any(map(_is_solo, state.get("nodes", ())))
        if self._edit and (not self._is_answered or self._edit in state.get("loading", ())):
            return
        is_done = self._there == self._edit.startswith("listen")
        edit, self._edit = self._edit, ""
        if edit and is_done and (self._wanted or self._there):
            self._read_values()
            self._settle()
        else:
            self._take_as_it_is()

    def _on_changed(self, event: dict[str, Any]) -> None:
        if event["event"] != "set" or not event["parameter"].startswith(f"{NODE}.") or self._edit:
            return
        name, value = event["parameter"].removeprefix(f"{NODE}."), event["value"]
        self._sent[name] = value
        if name == "mix":
            self._take_as_it_is()
        elif self._band is not None:
            self._show(self._band._replace(**{name: value}))

    def _on_detached(self, why: str) -> None:
        self._edit = ""
        self._on_stated({})

    # -------------------------------------------------------------------------------- what is shown

    def _show(self, band: Band | None) -> None:
        self._band = band
        for picture in self._pictures:
            picture.set_band(band)
        self.words.show_text("" if band is None else f"only {told(band)}")
        self.button.setText("Solo a band" if band is None else "All")
        self.button.setAccessibleName("Hear a band alone" if band is None else "Hear all frequencies")
        self.button.setToolTip(TIP if band is None else ALL_TIP)
        self.button.setEnabled(bool(self._link.state))

    def _on_hovered(self, text: str) -> None:
        picture = self.sender()
        if text and isinstance(picture, Spectrogram):
            self._pointed = picture

    def _press(self) -> None:
        picture = self._pointed or next(iter(self._pictures), None)
        if self._band is not None:
            self.hear_all()
        elif picture is not None:
            self.hear(picture.octave())


def _is_solo(node: dict[str, Any]) -> bool:
    return bool(node["name"] == NODE and node["engine"] == ENGINE)
