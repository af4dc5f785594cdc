"""The controls of a node's parameters, by their declared kind: faders with units, choices, text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QMouseEvent, QPalette, QWheelEvent
from PySide6.QtWidgets import QCheckBox, QGridLayout, QLineEdit, QSizePolicy, QSlider, QWidget

from gui.choices import Choice
from gui.labels import Elided
from rtaudio.errors import UserError

PLACES = 1000
"""Places of a fader."""
STEP, PAGE = 0.01, 10
"""Share of a fader's way that an arrow key moves it by, and how many of those a page key."""
DB_STEP, DB_STEPS_ABOVE = 0.5, -30.0
"""dB that an arrow key moves a level by, above so many dB."""
FADER_LAW = 80.0
"""A level that ends in silence is this many dB times the logarithm of the share below its upper end, as MIDI
controllers move it: amplitude goes with the fourth power of the way."""
VALUE_WIDTH = 9
"""Digits for which a value has room."""
_NUMBER = re.compile(r"([-+−]?(?:\d+[.,]?\d*|[.,]\d+)(?:e[-+]?\d+)?|[-+−]?inf)\s*(k?)\s*(.*)", re.IGNORECASE)


@dataclass(frozen=True)
class Scale:
    """How the value of a parameter that is a number is moved and read.

    Attributes
    ----------
    kind
        "linear", "integer", "log" or "dB", see `rtaudio.processor.Parameter`.
    minimum, maximum
        In ``unit``.
    silence
        For dB: the minimum is silence.
    """

    kind: str
    minimum: float
    maximum: float
    unit: str = ""
    silence: bool = False

    def share(self, value: float) -> float:
        """Share of the way, 0 to 1, at which a value is."""
        if self.maximum <= self.minimum:
            return 0.0
        if self.kind == "log":
            share = math.log(value / self.minimum) / math.log(self.maximum / self.minimum)
        elif self.silence:
            share = 0.0 if value <= self.minimum else 10.0 ** ((value - self.maximum) / FADER_LAW)
        else:
            share = (value - self.minimum) / (self.maximum - self.minimum)
        return min(1.0, max(0.0, share))

    def value(self, share: float) -> float:
        """The value at a share of the way, rounded as `text` shows it."""
        if share <= 0.0:
            return self.minimum
        if share >= 1.0:
            return self.maximum
        if self.kind == "log":
            found = self.minimum * (self.maximum / self.minimum) ** share
        elif self.silence:
            found = self.maximum + FADER_LAW * math.log10(share)
        else:
            found = self.minimum + share * (self.maximum - self.minimum)
        return self.rounded(found)

    def rounded(self, value: float) -> float:
        """The nearest value that is within the range and has no more digits than matter."""
        digits = 0
        if self.kind == "log":
            digits = 2 - math.floor(math.log10(abs(value))) if value else 0
        elif self.kind != "integer":
            digits = 2 - math.floor(math.log10(self.maximum - self.minimum))
            digits = max(digits, 1) if self.kind == "dB" else digits
        return min(self.maximum, max(self.minimum, round(value, digits)))

    def moved(self, value: float, steps: int) -> float:
        """The value that so many steps of an arrow key lead to."""
        if self.kind == "integer":
            return min(self.maximum, max(self.minimum, value + steps))
        if self.kind == "dB" and value > DB_STEPS_ABOVE:
            return self.rounded(value + DB_STEP * steps)
        return self.value(self.share(value) + STEP * steps)

    def text(self, value: float) -> str:
        """A value with its unit."""
        if self.silence and value <= self.minimum:
            return f"-inf {self.unit}".rstrip()
        if self.unit == "Hz" and abs(value) >= 1000.0:
            return f"{value / 1000.0:.4g} kHz"
        return f"{value:{'.0f' if self.kind == 'integer' else '.6g'}} {self.unit}".rstrip()

    def parse(self, text: str) -> float:
        """The value that a text means: a number, with or without the unit.

        Raises
        ------
        UserError
            It is none, or is out of range.
        """
        match = _NUMBER.fullmatch(text.strip())
        number, thousand, unit = match.groups() if match else ("", "", "")
        if not number or unit.lower() not in ("", self.unit.lower()):
            raise UserError(f"{text!r} is no value: write a number{f' in {self.unit}' * bool(self.unit)}")
        value = float(number.replace(",", ".").replace("−", "-")) * (1000.0 if thousand else 1.0)
        if self.silence and value == -math.inf:
            value = self.minimum
        if self.kind == "integer" and not value.is_integer():
            raise UserError(f"{text!r} is not a whole number")
        if not self.minimum <= value <= self.maximum:
            raise UserError(
                f"{text!r} is out of range ({self.text(self.minimum)} to {self.text(self.maximum)})"
            )
        return value


class Fader(QSlider):
    """A slider over a `Scale`, that keeps its value exactly.

    Arrow keys move it by one step, page keys by ten; Delete and a double click set it to its default. The
    wheel moves it only while it has the focus, so that scrolling past it changes nothing.
    """

    moved = Signal(float)
    """Somebody has moved it: the value. What `show_value` shows is not told."""
    settled = Signal(float)
    """As `moved`, but not while the mouse still holds it."""

    def __init__(
        self,
        scale: Scale,
        value: float,
        default: float,
        orientation: Qt.Orientation = Qt.Orientation.Horizontal,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(orientation, parent)
        self.scale, self.held, self.default = scale, value, default
        self._shows = False
        self.setRange(0, PLACES)
        self.setSingleStep(round(STEP * PLACES))
        self.setPageStep(round(STEP * PAGE * PLACES))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.show_value(value)
        self.valueChanged.connect(self._on_place)
        self.sliderReleased.connect(self._on_release)

    def show_value(self, value: float) -> None:
        """Move to a value that somebody else has set; not while the mouse holds it."""
        if self.isSliderDown():
            return
        self.held, self._shows = value, True
        self.setValue(round(self.scale.share(value) * PLACES))
        self._shows = False
        self.setAccessibleDescription(self.scale.text(value))

    def set_to(self, value: float) -> None:
        """Move to a value, and tell."""
        self.show_value(value)
        self.moved.emit(value)
        self.settled.emit(value)

    def _on_place(self, place: int) -> None:
        if self._shows:
            return
        self.held = self.scale.value(place / PLACES)
        self.setAccessibleDescription(self.scale.text(self.held))
        self.moved.emit(self.held)
        if not self.isSliderDown():
            self.settled.emit(self.held)

    def _on_release(self) -> None:
        self.settled.emit(self.held)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Steps, and the default."""
        key = event.key()
        steps = _STEPS.get(Qt.Key(key), 0)
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            event.ignore()
        elif steps:
            self.set_to(self.scale.moved(self.held, steps))
        elif key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.set_to(self.default)
        else:
            super().keyPressEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """The default."""
        self.setSliderDown(False)
        self.set_to(self.default)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Only with the focus."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


_STEPS = {
    Qt.Key.Key_Up: 1,
    Qt.Key.Key_Right: 1,
    Qt.Key.Key_Down: -1,
    Qt.Key.Key_Left: -1,
    Qt.Key.Key_PageUp: PAGE,
    Qt.Key.Key_PageDown: -PAGE,
}


class Typed(QLineEdit):
    """A line that tells its text when it has been changed and is done; Escape sets it back."""

    typed = Signal(str)

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown = text
        self.setText(text)
        self.editingFinished.connect(self._done)

    def show_text(self, text: str) -> None:
        """Show a text that somebody else has set; not over what is being typed."""
        self._shown = text
        if not (self.hasFocus() and self.isModified()):
            self.setText(text)

    def take_back(self) -> None:
        """Show again what holds."""
        self.setModified(False)
        self.setText(self._shown)

    def _done(self) -> None:
        if self.isModified():
            self.setModified(False)
            self.typed.emit(self.text())

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Escape."""
        if event.key() == Qt.Key.Key_Escape and self.isModified():
            self.take_back()
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        """All of it is selected, to be typed over."""
        super().focusInEvent(event)
        if event.reason() != Qt.FocusReason.MouseFocusReason:
            self.selectAll()


class ParameterControl(QObject):
    """The control of one parameter, a row of a grid: its name, what moves it, its value.

    Parameters
    ----------
    declared
        What the host's state says of the parameter.
    owner
        What it belongs to, for who does not see where it stands.
    grid, row
        Where to put it.
    """

    chosen = Signal(object)
    """The value that somebody wants: a number or text."""
    refused = Signal(str)
    """Why what was typed is no value."""

    def __init__(self, declared: dict[str, Any], owner: str, grid: QGridLayout, row: int) -> None:
        super().__init__(grid.parentWidget())
        self.id, self.kind, self._default = declared["id"], declared["scale"], declared["default"]
        self.is_fixed = not declared["automatable"]
        """It is loaded beside the sound, which takes a while, not moved."""
        self.scale: Scale | None = None
        self.fader: Fader | None = None
        self.choice: _Choice | None = None
        self.switch: QCheckBox | None = None
        self.typed: Typed | None = None
        words = self.id.replace("_", " ")
        tip = f"{declared['doc']}{'; loaded beside the sound' * self.is_fixed}".lstrip("; ")
        label = Elided(words, role=QPalette.ColorRole.PlaceholderText if self.is_fixed else _TEXT)
        label.set_tip(tip)
        grid.addWidget(label, row, 0)
        name = f"{words} of {owner}"
        if self.kind == "choice":
            self.choice = _Choice(declared["choices"], str(self._default))
            self.choice.activated.connect(self._on_choice)
            self._add(self.choice, name, tip, grid, row, 2)
        elif declared.get("switch"):
            self.switch = QCheckBox()
            self.switch.clicked.connect(self._on_switch)
            self._add(self.switch, name, tip, grid, row, 2)
        elif self.kind == "text":
            self.typed = Typed("")
            self.typed.typed.connect(self._choose)
            self._add(self.typed, name, tip, grid, row, 2)
        else:
            ends = float(declared["minimum"]), float(declared["maximum"])
            self.scale = Scale(self.kind, *ends, declared["unit"], declared["silence"])
            self.fader = Fader(self.scale, float(declared["value"]), float(self._default))
            (self.fader.settled if self.is_fixed else self.fader.moved).connect(self._choose)
            self.fader.moved.connect(self._show_moved)
            self._add(self.fader, name, tip, grid, row, 1)
            self.typed = Typed("")
            self.typed.setAlignment(Qt.AlignmentFlag.AlignRight)
            self.typed.setFixedWidth(self.typed.fontMetrics().averageCharWidth() * VALUE_WIDTH)
            self.typed.typed.connect(self._on_number)
            self._add(self.typed, f"{name}, typed", f"{tip}\n{_range(self.scale)}".strip(), grid, row, 1, 2)
        self.show_value(declared["value"])

    def _add(
        self, widget: QWidget, name: str, tip: str, grid: QGridLayout, row: int, columns: int, at: int = 1
    ) -> None:
        widget.setAccessibleName(name)
        widget.setToolTip(tip)
        grid.addWidget(widget, row, at, 1, columns)

    def show_value(self, value: Any) -> None:
        """Show a value that somebody has set."""
        if self.choice is not None:
            self.choice.setCurrentText(str(value))
        elif self.switch is not None:
            self.switch.setChecked(float(value) >= 0.5)
        elif self.fader is not None and self.scale is not None and self.typed is not None:
            self.fader.show_value(float(value))
            if not self.fader.isSliderDown():
                self.typed.show_text(self.scale.text(float(value)))
        elif self.typed is not None:
            self.typed.show_text(str(value))

    def _choose(self, value: Any) -> None:
        self.chosen.emit(value)

    def _show_moved(self, value: float) -> None:
        if self.scale is not None and self.typed is not None:
            self.typed.show_text(self.scale.text(value))

    def _on_choice(self) -> None:
        if self.choice is not None:
            self.chosen.emit(self.choice.currentText())

    def _on_switch(self, on: bool) -> None:
        self.chosen.emit(1.0 if on else 0.0)

    def _on_number(self, text: str) -> None:
        if self.scale is None or self.fader is None or self.typed is None:
            return
        try:
            value = self.scale.parse(text)
        except UserError as error:
            self.typed.take_back()
            self.refused.emit(f"{self.id}: {error}")
            return
        self.fader.show_value(value)
        self.typed.show_text(self.scale.text(value))
        self.chosen.emit(value)


_TEXT = QPalette.ColorRole.WindowText


class _Choice(Choice):
    """A choice; Delete sets the default, and the wheel moves it only while it has the focus."""

    def __init__(self, choices: list[str], default: str) -> None:
        super().__init__()
        self._default = default
        self.addItems(choices)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """The default."""
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.setCurrentText(self._default)
            self.activated.emit(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Only with the focus."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


def _range(scale: Scale) -> str:
    return f"{scale.text(scale.minimum)} to {scale.text(scale.maximum)}"
