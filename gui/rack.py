"""The rack's panel: the nodes in their order, what is set of them, and how they keep up."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

from PySide6.QtCore import QMimeData, QPoint, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QDrag,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QShortcut,
)
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from gui.catalogue import Catalogue
from gui.labels import Elided
from gui.link import Link
from gui.parameters import ParameterControl

DRAGGED = "application/x-rtaudio-node"
"""Type of what is dragged: the name of a node."""
TOLD = 0.25
"""Seconds between two readings of the nodes' times."""
ASK_MS = 1500
"""Milliseconds after which the engines are found out: the window is shown, and the host plays."""
WIDTH, NARROWEST = 360, 280
"""Pixels that the panel has, and needs for its faders to be of use."""
NAME_LETTERS, FADER_WIDTH = 13, 40
"""Room for the name of a parameter, and pixels for its fader, at least."""
LANES = {1: "on a worker thread", 2: "in a worker process"}
TIMES_TIP = (
    "How much of the time for a block it takes, but for one block in a hundred; "
    "the median (p50) and the 99th percentile (p99) of that in ms; the latency that it adds"
)
FIXED = "settings that reload it"
EDGE, SCROLL_MS, SCROLL_STEP = 36, 30, 12
"""Pixels from the upper or lower end within which what is dragged scrolls the nodes, milliseconds from one
step of that to the next, and its pixels."""
_FAINT = QPalette.ColorRole.PlaceholderText


class Rack(QWidget):
    """The nodes of the host's graph."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link
        self._told_at = 0.0
        self._nodes: dict[str, NodePanel] = {}
        self._open: dict[str, bool] = {}
        """Whether what is fixed of a node is shown."""
        self._folded: set[str] = set()
        """Nodes of which only the head is shown."""
        self.catalogue = Catalogue(self)
        self.add_button = QPushButton("+ &Add")
        self.add_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # A click leaves the focus where it is.
        self.add_button.setToolTip("Insert a processor after the node that has the focus, else at the end")
        self._add_menu = QMenu(self.add_button)
        self._add_menu.setToolTipsVisible(True)
        self._add_menu.aboutToShow.connect(self._list_engines)
        self.add_button.setMenu(self._add_menu)
        self.catalogue.known.connect(self._list_engines)
        self._loading = Elided(role=_FAINT)
        self._loading.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        head = QHBoxLayout()
        head.addWidget(self.add_button)
        head.addWidget(self._loading, 1)
        self.nodes = _Nodes()
        self.nodes.dropped.connect(self._move_to)
        self.nodes.reached.connect(self._scroll_towards)
        self.area = area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidget(self.nodes)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 4, 2, 4)
        column.addLayout(head)
        column.addWidget(area, 1)
        self.setMinimumWidth(NARROWEST)
        link.stated.connect(self._on_stated)
        link.changed.connect(self._on_changed)
        link.attached.connect(self._on_attached)
        link.detached.connect(self._on_detached)
        if link.state:
            self._on_stated(link.state)
        self.setEnabled(bool(link.state))
        self._dragged_to: int | None = None
        """Height in the column at which something is dragged."""
        self._scroll = QTimer(self)
        self._scroll.setInterval(SCROLL_MS)
        self._scroll.timeout.connect(self._scroll_on)
        self._ask = QTimer(self)
        self._ask.setSingleShot(True)
        self._ask.setInterval(ASK_MS)
        self._ask.timeout.connect(self.catalogue.ask)
        self._ask.start()
        self.destroyed.connect(self.catalogue.end)

    def sizeHint(self) -> QSize:  # noqa: N802
        """As wide as a node needs."""
        return QSize(WIDTH, 400)

    def refresh(self) -> None:
        """Read how the nodes keep up."""
        now = time.monotonic()
        seen = self._link.observation
        if now - self._told_at < TOLD or seen is None or not self._link.state:
            return
        self._told_at = now
        counted = seen.counters()
        problems = self._link.state["problems"]
        for panel in self._nodes.values():
            panel.show_times(counted, problems)

    # -------------------------------------------------------------------------------- what the host tells

    def _on_attached(self, pid: int) -> None:
        self.setEnabled(True)

    def _on_detached(self, why: str) -> None:
        self._loading.show_text("")
        self.setEnabled(False)

    def _on_stated(self, state: dict[str, Any]) -> None:
        """Show the nodes of a state: those that are as they were keep their panels, and the focus."""
        found = {}
        for node in state["nodes"]:
            panel = self._nodes.get(node["name"])
            if panel is None or panel.shape != _shape(node):
                panel = self._made(node)
            else:
                panel.show_node(node)
            found[node["name"]] = panel
        focus = self.focused
        for name, panel in self._nodes.items():
            if found.get(name) is not panel:
                panel.setParent(None)
                panel.deleteLater()
        if list(found.items()) != list(self._nodes.items()):
            self.nodes.show_panels(list(found.values()))
            stops = [stop for panel in found.values() for stop in panel.stops]
            for before, after in pairwise([self.add_button, *stops]):
                self.setTabOrder(before, after)
        self._nodes = found
        if focus in found and self.focused is None:
            found[focus].setFocus()
        self._show_loading(state["loading"])
        self._told_at = 0.0

    def _made(self, node: dict[str, Any]) -> NodePanel:
        panel = NodePanel(node, self._open.get(node["name"], False), node["name"] in self._folded)
        panel.wanted.connect(self._link.send)
        panel.valued.connect(self._link.set)
        panel.refused.connect(self._say_refused)
        panel.opened.connect(self._remember_open)
        panel.folded.connect(self._remember_folded)
        panel.step.connect(self._move_by)
        panel.replace_menu.aboutToShow.connect(self._list_replacements)
        return panel

    def _say_refused(self, why: str) -> None:
        self._link.said.emit(why, True)

    def _remember_open(self, name: str, is_open: bool) -> None:
        self._open[name] = is_open

    def _remember_folded(self, name: str, is_folded: bool) -> None:
        (self._folded.add if is_folded else self._folded.discard)(name)

    def _scroll_towards(self, height: int) -> None:
        """Scroll as long as something is dragged near an end; -1: it is no more."""
        self._dragged_to = height if height >= 0 else None
        if self._dragged_to is None:
            self._scroll.stop()
        elif not self._scroll.isActive():
            self._scroll.start()

    def _scroll_on(self) -> None:
        """Scroll by a step; where that moves the nodes under the pointer it is farther along them."""
        if self._dragged_to is None:
            return
        bar = self.area.verticalScrollBar()
        before, seen = bar.value(), self._dragged_to - bar.value()
        if seen < EDGE:
            bar.setValue(before - SCROLL_STEP)
        elif seen > self.area.viewport().height() - EDGE:
            bar.setValue(before + SCROLL_STEP)
        self._dragged_to += bar.value() - before
        self.nodes.show_place(self._dragged_to)

    def _on_changed(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "set":
            name, _, parameter = event["parameter"].rpartition(".")
            if name in self._nodes:
                self._nodes[name].show_value(parameter, event["value"])
        elif kind == "switch" and event["node"] in self._nodes:
            self._nodes[event["node"]].show_switch(event["switch"], event["on"])
        elif kind == "loading":
            self._show_loading(event["edits"])

    def _show_loading(self, edits: list[str]) -> None:
        self._loading.show_text(f"loading {', '.join(edits)} ..." if edits else "")

    # -------------------------------------------------------------------------------- what is wanted

    @property
    def names(self) -> list[str]:
        """The nodes, in their order."""
        return list(self._nodes)

    @property
    def focused(self) -> str | None:
        """The node in which the focus is."""
        widget = QApplication.focusWidget()
        panels = {panel: name for name, panel in self._nodes.items()}
        while widget is not None:
            if isinstance(widget, NodePanel) and widget in panels:
                return panels[widget]
            widget = widget.parentWidget()
        return None

    def panel(self, name: str) -> NodePanel:
        """The panel of a node."""
        return self._nodes[name]

    def _list_engines(self) -> None:
        place = f"after {self.focused}" if self.focused else "last"
        self._fill(self._add_menu, f"insert {place} {{}}")

    def _list_replacements(self) -> None:
        menu = self.sender()
        if isinstance(menu, QMenu):
            self._fill(menu, f"replace {menu.property('node')} {{}}")

    def _fill(self, menu: QMenu, line: str) -> None:
        """Fill a menu with the engines that sound can pass through."""
        menu.clear()
        for engine in self.catalogue.inserts:
            action = menu.addAction(f"{engine['name']}:  {engine['summary']}".replace("&", "&&"))
            action.setData(line.format(engine["name"]))
            action.triggered.connect(self._send_chosen)
        if menu.isEmpty():
            menu.addAction("the engines are being looked for ...").setEnabled(False)
            self.catalogue.ask()

    def _send_chosen(self) -> None:
        action = self.sender()
        self._link.send(str(action.data()))  # type: ignore[attr-defined]

    def _move_by(self, name: str, step: int) -> None:
        """Move a node past its neighbour."""
        names = self.names
        at = names.index(name) + step
        if 0 <= at < len(names):
            self._link.send(f"move {name} {'before' if step < 0 else 'after'} {names[at]}")

    def _move_to(self, name: str, place: int) -> None:
        """Move a node before that at a place."""
        names = self.names
        if name not in names or place in (names.index(name), names.index(name) + 1):
            return
        where = f"before {names[place]}" if place < len(names) else f"after {names[-1]}"
        self._link.send(f"move {name} {where}")


class _Nodes(QWidget):
    """The column of panels, on which one can be dropped."""

    dropped = Signal(str, int)
    """Name of a node, and the place before which it is to be."""
    reached = Signal(int)
    """The height at which one is dragged; -1: none is."""

    def __init__(self) -> None:
        super().__init__()
        self.setAcceptDrops(True)
        self._place = -1
        self._panels: list[NodePanel] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 4, 6, 4)
        self._column.setSpacing(8)
        self._empty = QLabel("No nodes: what comes in goes out.")
        self._empty.setForegroundRole(_FAINT)
        self._column.addWidget(self._empty)
        self._column.addStretch(1)

    def show_panels(self, panels: list[NodePanel]) -> None:
        """Show panels in an order."""
        self._panels = panels
        for place, panel in enumerate(panels):
            if self._column.indexOf(panel) != place:
                self._column.insertWidget(place, panel)
        self._empty.setVisible(not panels)

    def place_at(self, height: float) -> int:
        """The place before which something is that is dropped at a height."""
        return sum(panel.geometry().center().y() < height for panel in self._panels)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802
        """Take nodes."""
        if event.mimeData().hasFormat(DRAGGED):
            event.acceptProposedAction()

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:  # noqa: N802
        """Show where it would be."""
        self.show_place(event.position().y())
        self.reached.emit(round(event.position().y()))
        event.acceptProposedAction()

    def show_place(self, height: float) -> None:
        """Show where something would be that is dropped at a height."""
        self._place = self.place_at(height)
        self.update()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:  # noqa: N802
        """Show it no more."""
        self._place = -1
        self.update()
        self.reached.emit(-1)

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        """Move it there."""
        place, self._place = self.place_at(event.position().y()), -1
        self.update()
        event.acceptProposedAction()
        self.reached.emit(-1)
        self.dropped.emit(bytes(event.mimeData().data(DRAGGED).data()).decode(), place)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """A line where what is dragged would be."""
        super().paintEvent(event)
        if self._place < 0 or not self._panels:
            return
        last = self._panels[-1].geometry().bottom() + 5
        height = last if self._place == len(self._panels) else self._panels[self._place].geometry().top() - 5
        with QPainter(self) as painter:
            painter.fillRect(4, height, self.width() - 8, 3, self.palette().color(QPalette.ColorRole.Link))


class NodePanel(QFrame):
    """A node: on or off, mute, solo, its parameters and its times."""

    wanted = Signal(str)
    """A control line."""
    valued = Signal(str, object)
    """A parameter's path, and a value for it."""
    refused = Signal(str)
    """Why what was typed is no value."""
    opened = Signal(str, bool)
    """Name, and whether what is fixed is shown."""
    folded = Signal(str, bool)
    """Name, and whether its parameters are hidden."""
    step = Signal(str, int)
    """Name, and which way it is to be moved: -1 or 1."""

    def __init__(self, node: dict[str, Any], is_open: bool, is_folded: bool) -> None:
        super().__init__()
        self.name, self.shape = node["name"], _shape(node)
        self._parts = [node["name"], *(inner["name"] for inner in node["inside"])]
        self._pressed: QPoint | None = None
        self.setObjectName("node")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(f"node {self.name}")
        self._make_head(node)
        self.times = Elided(role=_FAINT)
        self.times.set_tip(TIMES_TIP)
        self.watchdog = QLabel()
        self.watchdog.setWordWrap(True)
        self.watchdog.setForegroundRole(QPalette.ColorRole.BrightText)
        self.watchdog.setTextFormat(Qt.TextFormat.PlainText)
        self.watchdog.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(7, 6, 7, 8)
        column.setSpacing(4)
        column.addLayout(self._head)
        column.addWidget(self.times)
        column.addWidget(self.watchdog)
        self.stops: list[QWidget] = [
            self,
            self.fold_button,
            self.on_box,
            self.mute_button,
            self.solo_button,
            self.more_button,
        ]
        """What the key Tab goes through, in this order."""
        self._controls: dict[str, ParameterControl] = {}
        moved = [each for each in node["parameters"] if each["automatable"]]
        fixed = [each for each in node["parameters"] if not each["automatable"]]
        self._body = QWidget()
        body = QVBoxLayout(self._body)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(4)
        column.addWidget(self._body)
        body.addWidget(self._grid(moved))
        if fixed and moved:
            self._open_button = QToolButton()
            self.stops.append(self._open_button)
            self._open_button.setCheckable(True)
            self._open_button.setChecked(is_open)
            self._open_button.setAutoRaise(True)
            self._open_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            self._open_button.setText(FIXED)
            self._open_button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            self._open_button.setAccessibleName(f"more parameters of {self.name}")
            self._open_button.toggled.connect(self._open)
            body.addWidget(self._open_button)
        self._fixed = self._grid(fixed)
        body.addWidget(self._fixed)
        if fixed and moved:
            self._open(is_open)
        self.fold_button.toggled.connect(self._fold)
        self.fold_button.setVisible(bool(node["parameters"]))
        self.fold_button.setChecked(is_folded)
        for keys, move in (("Ctrl+Up", self._move_up), ("Ctrl+Down", self._move_down)):
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(move)
        self.show_node(node)

    def _make_head(self, node: dict[str, Any]) -> None:
        self.fold_button = QToolButton()
        self.fold_button.setCheckable(True)
        self.fold_button.setAutoRaise(True)
        self.fold_button.setArrowType(Qt.ArrowType.DownArrow)
        self.fold_button.setToolTip("Hide the parameters, or show them (Left, Right)")
        self.fold_button.setAccessibleName(f"fold {self.name}")
        self.fold_button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.on_box = QCheckBox(self.name.replace("&", "&&"))
        self.on_box.setToolTip("Heard; off: bypassed")
        self.on_box.setAccessibleName(f"{self.name} on")
        font = self.on_box.font()
        font.setBold(True)
        self.on_box.setFont(font)
        self.on_box.clicked.connect(self._on_box_clicked)
        engine = Elided(node["engine"] if node["engine"] != self.name else "", role=_FAINT)
        engine.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.mute_button = self._switch("M", "mute")
        self.solo_button = self._switch("S", "solo")
        self.more_button = QToolButton()
        self.more_button.setText("...")
        self.more_button.setToolTip("Presets, place, remove")
        self.more_button.setAccessibleName(f"more of {self.name}")
        self.more_button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.more_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more_button.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        menu = QMenu(self.more_button)
        for preset in node["presets"]:
            self._entry(menu, f"preset: {preset}", f"preset {self.name} {preset}")
        menu.addSeparator()
        up, down = menu.addAction("Move &up\tCtrl+Up"), menu.addAction("Move &down\tCtrl+Down")
        up.triggered.connect(self._move_up)
        down.triggered.connect(self._move_down)
        self.replace_menu = menu.addMenu("Re&place by")
        self.replace_menu.setProperty("node", self.name)
        self._entry(menu, "&Remove\tDel", f"remove {self.name}")
        self.more_button.setMenu(menu)
        self._head = QHBoxLayout()
        self._head.setSpacing(4)
        self._head.addWidget(self.fold_button)
        self._head.addWidget(self.on_box)
        self._head.addWidget(engine, 1)
        for button in (self.mute_button, self.solo_button, self.more_button):
            self._head.addWidget(button)

    def _switch(self, text: str, switch: str) -> QToolButton:
        button = QToolButton()
        button.setText(text)
        button.setCheckable(True)
        button.setToolTip(switch.capitalize())
        button.setAccessibleName(f"{switch} {self.name}")
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.setProperty("switch", switch)
        button.clicked.connect(self._on_switch_clicked)
        return button

    def _entry(self, menu: QMenu, text: str, line: str) -> None:
        action = menu.addAction(text)
        action.setData(line)
        action.triggered.connect(self._on_entry)

    def _grid(self, parameters: list[dict[str, Any]]) -> QWidget:
        """A grid of controls."""
        box = QWidget(self)  # Without a parent it would be shown as a window.
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(3)
        grid.setColumnMinimumWidth(0, NAME_LETTERS * box.fontMetrics().averageCharWidth())
        grid.setColumnMinimumWidth(1, FADER_WIDTH)
        grid.setColumnStretch(1, 1)
        for row, declared in enumerate(parameters):
            control = ParameterControl(declared, self.name, grid, row)
            control.setObjectName(declared["id"])
            control.chosen.connect(self._on_chosen)
            control.refused.connect(self.refused)
            self._controls[declared["id"]] = control
            widgets = control.fader, control.typed, control.choice, control.switch
            self.stops += [widget for widget in widgets if widget is not None]
        box.setVisible(bool(parameters))
        return box

    def control(self, parameter: str) -> ParameterControl:
        """The control of a parameter."""
        return self._controls[parameter]

    # -------------------------------------------------------------------------------- what is shown

    def show_node(self, node: dict[str, Any]) -> None:
        """Show what a state says of it."""
        for switch in ("bypass", "mute", "solo"):
            self.show_switch(switch, node[switch])
        for each in node["parameters"]:
            self._controls[each["id"]].show_value(each["value"])

    def show_value(self, parameter: str, value: Any) -> None:
        """Show what somebody has set."""
        if parameter in self._controls:
            self._controls[parameter].show_value(value)

    def show_switch(self, switch: str, on: bool) -> None:
        """Show a switch as it is."""
        if switch == "bypass":
            self.on_box.setChecked(not on)
        else:
            (self.mute_button if switch == "mute" else self.solo_button).setChecked(on)

    def show_times(self, counted: dict[str, Any], problems: list[str]) -> None:
        """Show how long it takes, how late it is, and what the watchdog does.

        Parameters
        ----------
        counted
            See `rtaudio.counters.report`.
        problems
            Those of the host, the newest last.
        """
        nodes = [counted["nodes"][part] for part in self._parts if part in counted["nodes"]]
        typical, longest = (sum(node[which] for node in nodes) / 1e3 for which in ("p50", "p99"))
        block = 1e3 * counted["block"] / max(1, counted["rate"])
        late = sum(counted["latency"].get(part, 0) for part in self._parts)
        share = 100 * longest / block if block else 0.0
        words = [f"{share:.0f} % of a block", f"p50 {typical:.2f} p99 {longest:.2f} ms"]
        if late:
            words.append(f"latency {1e3 * late / max(1, counted['rate']):.1f} ms")
        lane = max((node["lane"] for node in nodes), default=0)
        if lane:
            words.append(LANES[lane])
        self.times.show_text(", ".join(words))
        text = self._watched(nodes, counted["bypassed"], problems)
        if text != self.watchdog.text():
            self.watchdog.setText(text)
            self.watchdog.setVisible(bool(text))

    def _watched(self, nodes: list[dict[str, Any]], bypassed: list[str], problems: list[str]) -> str:
        """What the watchdog has to say; empty: nothing."""
        failures, misses = (sum(node[what] for node in nodes) for what in ("failures", "misses"))
        words = []
        if any(part in bypassed for part in self._parts):
            words.append("⚠ bypassed by the watchdog")
        if failures:
            words.append(f"{failures} failure{'s' * (failures > 1)}")
        if misses:
            words.append(f"{misses} miss{'es' * (misses > 1)}: blocks that came late")
        told = (problem for problem in reversed(problems) if problem.split(" ", 1)[0] in self._parts)
        why = next(told, "") if failures else ""
        return "; ".join(filter(None, [", ".join(words), why]))

    # -------------------------------------------------------------------------------- what is done

    def _open(self, is_open: bool) -> None:
        self._fixed.setVisible(is_open)
        arrow = Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow
        self._open_button.setArrowType(arrow)
        self.opened.emit(self.name, is_open)

    def _fold(self, is_folded: bool) -> None:
        self._body.setVisible(not is_folded)
        arrow = Qt.ArrowType.RightArrow if is_folded else Qt.ArrowType.DownArrow
        self.fold_button.setArrowType(arrow)
        self.folded.emit(self.name, is_folded)

    def _on_box_clicked(self, on: bool) -> None:
        self.wanted.emit(f"{'unbypass' if on else 'bypass'} {self.name}")

    def _on_switch_clicked(self, on: bool) -> None:
        button = self.sender()
        switch = button.property("switch") if button is not None else ""
        self.wanted.emit(f"{'' if on else 'un'}{switch} {self.name}")

    def _on_entry(self) -> None:
        action: Any = self.sender()
        self.wanted.emit(action.data())

    def _on_chosen(self, value: Any) -> None:
        control = self.sender()
        if control is not None:
            self.valued.emit(f"{self.name}.{control.objectName()}", value)

    def _move_up(self) -> None:
        self.step.emit(self.name, -1)

    def _move_down(self) -> None:
        self.step.emit(self.name, 1)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Delete removes it, Space switches it on or off, Left and Right fold and unfold it."""
        if event.key() == Qt.Key.Key_Delete and self.hasFocus():
            self.wanted.emit(f"remove {self.name}")
        elif event.key() == Qt.Key.Key_Space and self.hasFocus():
            self.on_box.click()
        elif event.key() in (Qt.Key.Key_Left, Qt.Key.Key_Right) and self.hasFocus():
            self.fold_button.setChecked(event.key() == Qt.Key.Key_Left)
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Where it is taken hold of."""
        self._pressed = event.position().toPoint()
        super().mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Drag it, once the mouse has gone far enough."""
        begin = self._pressed
        if begin is None or not event.buttons() & Qt.MouseButton.LeftButton:
            return
        if (event.position().toPoint() - begin).manhattanLength() < QApplication.startDragDistance():
            return
        self._pressed = None
        data = QMimeData()
        data.setData(DRAGGED, self.name.encode())
        drag = QDrag(self)
        drag.setMimeData(data)
        picture = self.grab()
        with QPainter(picture) as painter:
            painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_DestinationIn)
            painter.fillRect(picture.rect(), QColor(0, 0, 0, 150))
        drag.setPixmap(picture)
        drag.setHotSpot(begin)
        drag.exec(Qt.DropAction.MoveAction)


def _shape(node: dict[str, Any]) -> tuple[Any, ...]:
    """What makes a panel another one: not values."""
    declared = [
        tuple((key, str(value)) for key, value in each.items() if key != "value")
        for each in node["parameters"]
    ]
    return node["engine"], *declared, *(inner["name"] for inner in node["inside"]), *node["presets"]
