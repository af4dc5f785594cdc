"""The view Denoise: what comes in, what goes out, and what was removed on the way, in step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from gui.choices import Choice
from gui.flow import Flow, together
from gui.labels import Elided
from gui.link import Link, nodes_of
from gui.parameters import ParameterControl
from gui.pictures import PictureControls, PicturesView
from gui.solo import BandSolo
from gui.spectrogram import Spectrogram
from rtaudio.errors import UserError
from rtaudio.observation import Observation

ENGINE = "enhance"
PARAMETERS = ("limit", "mix", "onset")
"""Those of the engine that are below the pictures, where it has them."""
FIRST = ("in", "out")
"""Views that are compared at first, and listed first."""
ACTIVITY = "activity"
"""The engine's output that says how likely there is speech, from 0 to 1."""
VOICED, LATELY = 0.5, 0.2
"""How likely it has to have been within the last seconds to be told."""
VOICE, NO_VOICE, BYPASSED = "● voice", "○ no voice", "bypassed"
ADD = f"insert first {ENGINE}"
HINT = "Nothing in the rack removes noise."


class Denoise(PicturesView):
    """Three pictures above one another, of two views and of their difference, and the faders of `enhance`.

    Parameters
    ----------
    link
        The connection with the host.
    """

    title = "Denoise"

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link
        before, after = FIRST
        self.pictures = (
            Spectrogram(link, [before], title="Input"),
            Spectrogram(link, [after], title="Output"),
            Spectrogram(link, [before, after], "difference", title="Removed"),
        )
        self.before, self.after = self._choice("Upper picture"), self._choice("Lower picture")
        self.controls = PictureControls(self.pictures)
        self._listed: tuple[str, ...] = ()
        self._shown: tuple[Any, ...] = ()
        """What the controls of the node are made of."""
        self._node, self._is_bypassed = "", False
        self.faders: dict[str, ParameterControl] = {}
        """The controls by parameter."""
        self._panel = QWidget()
        self.reading = Elided()
        self.reading.setAccessibleName("What is at the cursor")
        self.reading.setFixedHeight(self.reading.fontMetrics().height() + 2)  # Whether or not it has text.
        self.voice = Elided()
        self.voice.setAccessibleName("Voice activity")
        self.voice.set_tip("Whether the network hears speech in the input; below its picture, since when")
        self.voice.setFixedWidth(self.voice.fontMetrics().horizontalAdvance(f"{NO_VOICE}  "))
        self.band = BandSolo(link)
        self.band.watch(self.pictures)
        self.add = QPushButton("Add e&nhance")
        self.add.setToolTip("Have noise removed first, before the other nodes")
        self.add.clicked.connect(self._add_node)
        self._hint = Elided(HINT)
        self._lay_out()
        link.attached.connect(self._on_attached)
        link.detached.connect(self._on_detached)
        link.stated.connect(self._on_stated)
        link.changed.connect(self._on_changed)
        self._list_views(FIRST)
        self._show_node()

    def _choice(self, name: str) -> Choice:
        choice = Choice()
        choice.setAccessibleName(name)
        choice.setToolTip("The input, an output, or a stem of the rack")
        choice.setSizeAdjustPolicy(Choice.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        choice.setMinimumContentsLength(4)
        choice.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        choice.activated.connect(self._choose)
        return choice

    def _lay_out(self) -> None:
        top = Flow()
        top.addWidget(together(QLabel("Compare"), self.before))
        top.addWidget(together(QLabel("with"), self.after))
        top.addWidget(self.controls)
        splitter = QSplitter(Qt.Orientation.Vertical)
        splitter.setChildrenCollapsible(False)
        splitter.setHandleWidth(6)
        for picture in self.pictures:
            picture.hovered.connect(self.reading.show_text)
            splitter.addWidget(picture)
        splitter.setSizes([100, 100, 100])
        self._below = QVBoxLayout()
        row = QHBoxLayout()
        row.addWidget(self._hint, 1)
        row.addWidget(self.add)
        told = QHBoxLayout()
        told.addWidget(self.reading, 1)
        told.addWidget(self.voice)
        told.addWidget(self.band, 1)
        self._below.addLayout(told)
        self._below.addLayout(row)
        self._below.addWidget(self._panel)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 6, 4, 4)
        column.addLayout(top)
        column.addWidget(splitter, 1)
        column.addLayout(self._below)

    # -------------------------------------------------------------------------------- pictures

    def refresh(self) -> None:
        """Draw what is new: up to where all the views that are there have come."""
        seen = self._link.observation
        if seen is None:
            self.voice.show_text("")
            for picture in self.pictures:
                picture.refresh()
            return
        views = seen.views()
        self._list_views(tuple(views))
        reached = [views[name].position for name in self.pictures[2].views if name in views]
        reached += self._show_activity(seen)
        ends = [position // seen.hop for position in reached if position]
        for picture in self.pictures:
            picture.refresh(min(ends, default=None))

    def _show_activity(self, seen: Observation) -> list[int]:
        """Tell whether there is speech; up to which position that is known, if it is."""
        view = f"{self._node}.{ACTIVITY}"
        found = seen.values().get(view)
        self.pictures[0].set_strip(view if found else "")
        if found is None:
            self.voice.show_text("")
            return []
        try:
            _, likely = seen.peaks(view, found.position - round(LATELY * seen.rate))
        except UserError:  # An edit has just taken it away.
            return []
        is_voice = bool(likely.max(initial=0.0) >= VOICED)
        self.voice.show_text(BYPASSED if self._is_bypassed else VOICE if is_voice else NO_VOICE)
        return [found.position]

    def set_map(self, name: str) -> None:
        """Use another of `gui.colours.MAPS`; differences keep theirs."""
        for picture in self.pictures:
            picture.set_map(name)

    def kept(self) -> dict[str, Any]:
        """What is remembered of it."""
        before, after = self.pictures[2].views
        return super().kept() | {"before": before, "after": after}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Be as it was; views that are not there are waited for."""
        super().restore(kept)
        before, after = kept.get("before"), kept.get("after")
        if isinstance(before, str) and isinstance(after, str) and before and after:
            self._compare(before, after)
            listed, self._listed = self._listed, ()
            self._list_views(listed)

    def _list_views(self, views: tuple[str, ...]) -> None:
        """List the views, and what is chosen, which may be gone for a while."""
        if views == self._listed:
            return
        chosen = self.pictures[2].views
        self._listed = views
        names = [*FIRST, *sorted({*views, *chosen} - {*FIRST})]
        for choice, view in zip((self.before, self.after), chosen, strict=True):
            choice.clear()
            choice.addItems(names)
            choice.setCurrentText(view)

    def _choose(self) -> None:
        """Show the chosen views."""
        self._compare(self.before.currentText(), self.after.currentText())

    def _compare(self, before: str, after: str) -> None:
        titles = {"in": "Input", "out": "Output"}
        self.pictures[0].set_views([before], titles.get(before, before))
        self.pictures[1].set_views([after], titles.get(after, after))
        is_first = (before, after) == FIRST
        self.pictures[2].set_views([before, after], "Removed" if is_first else f"{before} - {after}")

    # -------------------------------------------------------------------------------- the node

    def _on_attached(self, pid: int) -> None:
        self._show_node()

    def _on_detached(self, why: str) -> None:
        self._show_node()

    def _on_stated(self, state: dict[str, Any]) -> None:
        self._show_node()

    def _on_changed(self, event: dict[str, Any]) -> None:
        if event["event"] == "set":
            node, _, parameter = event["parameter"].rpartition(".")
            if node == self._node and parameter in self.faders:
                self.faders[parameter].show_value(event["value"])
        elif event["event"] in ("loading", "done", "switch"):
            self._show_node()

    def _show_node(self) -> None:
        """Have controls of the first `enhance` in the rack, or say that there is none."""
        state = self._link.state
        node = next((each for each in nodes_of(state) if each["engine"] == ENGINE), None)
        declared = [each for each in node["parameters"] if each["id"] in PARAMETERS] if node else []
        self._node = node["name"] if node else ""
        self._is_bypassed = bool(node and (node.get("bypass") or node.get("failed")))
        shown = (self._node, *(each["id"] for each in declared))
        if shown != self._shown:
            self._shown = shown
            self._make_faders(declared)
        for each in declared:
            self.faders[each["id"]].show_value(each["value"])
        self._panel.setVisible(bool(declared))
        self._hint.setVisible(not declared)
        self.add.setVisible(node is None)
        loads = any(edit.startswith(ADD) for edit in state.get("loading", ()))
        self.add.setEnabled(bool(state) and not loads)
        if node is not None:
            self._hint.show_text(f"{self._node} has none of these: {', '.join(PARAMETERS)}")
        else:
            self._hint.show_text("No host runs." if not state else f"{ENGINE} loads ..." if loads else HINT)

    def _make_faders(self, declared: list[dict[str, Any]]) -> None:
        """Make new controls, in place of those that were there."""
        old, self._panel = self._panel, QWidget()
        self._below.replaceWidget(old, self._panel)
        old.hide()
        old.deleteLater()
        self.faders = {}
        row = Flow(self._panel)
        row.setSpacing(18)
        row.addWidget(QLabel(self._node))
        for each in declared:
            place = QWidget()
            place.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            grid = QGridLayout(place)
            grid.setContentsMargins(0, 0, 0, 0)
            grid.setColumnStretch(1, 1)
            control = ParameterControl(each, self._node, grid, 0)
            control.chosen.connect(self._set)
            control.refused.connect(self._refuse)
            row.addWidget(place)
            self.faders[each["id"]] = control

    def _set(self, value: float | str) -> None:
        control = self.sender()
        if isinstance(control, ParameterControl):
            self._link.set(f"{self._node}.{control.id}", value)

    def _refuse(self, why: str) -> None:
        self._link.said.emit(why, True)

    def _add_node(self) -> None:
        self.add.setEnabled(False)
        self._link.send(ADD, self._on_added)

    def _on_added(self, answer: dict[str, Any]) -> None:
        self._link.said.emit(answer.get("answer", answer.get("error", "")), not answer["ok"])
        if not answer["ok"]:
            self._show_node()
