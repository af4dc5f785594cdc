"""The window: what plays, the rack and the meters beside the views, and a line of what is to be known."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO, ClassVar, Protocol

import numpy as np
from PySide6.QtCore import QEvent, Qt, QTimer, Signal
from PySide6.QtGui import (
    QAction,
    QActionGroup,
    QCloseEvent,
    QHideEvent,
    QKeyEvent,
    QKeySequence,
    QPalette,
    QShortcut,
    QShowEvent,
)
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QDockWidget,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QMainWindow,
    QMessageBox,
    QPushButton,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from gui.application import COLOUR_MAPS, FRAME_RATES, THEMES, Settings, set_theme
from gui.labels import Elided, Tabs
from gui.link import Link, insert_line
from gui.logs import is_shared, left_hosts, share
from gui.messages import Lines, Messages
from gui.process import HostProcess
from gui.questions import agreed
from gui.recovery import (
    deck_lines,
    device_of,
    options_again,
    options_for,
    options_of,
    options_through,
    told_device,
    with_file,
)
from rtaudio.errors import UserError
from rtaudio.folders import data_folder
from rtaudio.racks import rack_files, user_folder

IDLE_MS = 1000
"""Milliseconds between two pictures of a window that nobody sees."""
TOLD = 0.25
"""Seconds between two readings of what the status line tells: text is dear to draw."""
FIRST_SIZE, TITLE_BAR = (1280, 800), 40
"""Width and height of a window that was never shown, where the screen has room, and what its title takes."""
NO_HOST = "no host"
STEMS = "remix"
"""The engine that is put into a rack that has to have stems."""
KEPT = 1000
"""Lines about xruns and misses that are kept: the last ones."""
XRUNS = {
    "input_underflows": "input underflows",
    "input_overflows": "input overflows",
    "output_underflows": "output underflows",
    "output_overflows": "output overflows",
    "late_callbacks": "callbacks that took longer than their block",
    "device_misses": "calls of the device that came too late",
    "device_losses": "losses of the device",
}
"""What the host counts that is heard as a gap, in words."""
RECORDING, LONGEST_BYPASS = "● Recording", "A/B: the input, +20.0 dB"
"""Texts of actions that have others, too: the longest ones."""


class Panel(Protocol):
    """What the window draws beside its views, or, as a view, in a tab.

    A view has a ``title`` too, and takes the link as its only argument. It may have a ``set_map(name)``, if
    it draws with a colour map; signals ``chosen``, of a file that a host is to play, and ``host_wanted``; a
    ``may_close()``, which asks, if its work ends with the window; and ``kept()`` and ``restore(kept)`` for
    what is remembered of it, see `Settings.of_view`.
    """

    def refresh(self) -> None:
        """Draw what is new; the window calls it while this is visible."""


class Window(QMainWindow):
    """The window.

    Parameters
    ----------
    link
        The connection with the host.
    process
        Starts hosts.
    settings
        What is remembered.
    options
        Of ``rtaudio live``, for the host that is to be started.
    """

    closed = Signal()
    left = ""
    """What goes on without the window, in a line; known once it is closed."""

    def __init__(
        self, link: Link, process: HostProcess, settings: Settings, options: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.link, self.process, self.settings = link, process, settings
        self._options, self._folder = list(options), ""
        self._last: dict[str, Any] = {}
        """The state of the host that was heard last."""
        self._stopping = self._follows = False
        """A host is to end; another is to follow it."""
        self._before: tuple[list[str], dict[str, Any], bool] | None = None
        """Options and last state of the host whose place another is to take, until that runs, and whether it
        ran."""
        self._fell_back = ""
        """Why what played before is started again."""
        self._how = ""
        """What is said of the host that is being attached to."""
        self._stems_wanted = False
        """The rack of the host that is being started is to have stems."""
        self._deck: dict[str, Any] | None = None
        """The deck of the host that was heard last, as it was then."""
        self._deck_to_be: dict[str, Any] | None = None
        """As the deck of the host that is being started is to be."""
        self._shown: BinaryIO | None = None
        """Tells other windows that this one shows the host, see `gui.logs`."""
        self._has_looked = False
        """Whether recordings that were never ended have been looked for."""
        self._recent: dict[int, str] = {}
        """Rack files that are being loaded, by the numbers of their edits."""
        self._panels: list[tuple[QDockWidget, Panel]] = []
        self._seen_frames, self._seen_cpu, self._seen_at = 0, time.process_time(), 0.0
        self._spent: tuple[float, float] | None = None
        self._counted: dict[str, int] = {}
        self._xruns: list[str] = []
        self._xruns_list: Lines | None = None
        self._totals = self._totals_before = 0, 0
        """xruns and misses of the host, and those from before the count was begun anew."""
        self._are_wrong = False
        """Whether the count of xruns is one of something."""
        self._asks = True
        """Whether what ends with the window is asked about."""
        self.setWindowTitle("rtaudio")
        self.setDockOptions(QMainWindow.DockOption.AnimatedDocks | QMainWindow.DockOption.AllowNestedDocks)
        self._make_actions()
        self._make_middle()
        self._make_bar()
        self._make_status()
        self._make_menus()
        room = self.screen().availableSize()
        self.resize(min(FIRST_SIZE[0], room.width()), min(FIRST_SIZE[1], room.height() - TITLE_BAR))
        self.restoreGeometry(settings.geometry("window"))
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        link.attached.connect(self._on_attached)
        link.detached.connect(self._on_detached)
        link.stated.connect(self._on_stated)
        link.changed.connect(self._on_changed)
        link.said.connect(self.say)
        link.hinted.connect(self.message.hint)
        link.hung.connect(self._on_hung)
        process.said.connect(self._on_line)
        process.ready.connect(self.attach)
        process.ended.connect(self._on_ended)
        self._show_host()

    # -------------------------------------------------------------------------------- parts

    def _action(self, text: str, keys: str, done: Any, tip: str = "") -> QAction:
        action = QAction(text, self)
        action.setShortcut(QKeySequence(keys))
        action.setToolTip(f"{tip or text.replace('&', '')} ({keys})")
        action.triggered.connect(done)
        self.addAction(action)
        return action

    def _make_actions(self) -> None:
        self.start_action = self._action(
            "&Start", "F5", self.start, "Start the host, with the rack as it was"
        )
        self.stop_action = self._action("S&top", "Shift+F5", self.stop, "End the host")
        self.bypass_action = self._action(
            "A/B bypass", "B", self._compare, "Hear the input as it came, delayed as the output is"
        )
        self.bypass_action.setCheckable(True)
        self.record_action = self._action("Record", "R", self._record, "Record what is heard, to a file")
        self.record_action.setCheckable(True)
        self.mark_action = self._action(
            "&Mark", "Ctrl+M", self._mark, "Keep the last ten seconds, input and output, and the rack"
        )
        self.devices_action = self._action(
            "&Device...", "Ctrl+D", self._choose_device, "Choose what the host plays through"
        )
        self.undo_action = self._action("&Undo", "Ctrl+Z", lambda: self.link.send("undo"))
        self.redo_action = self._action("&Redo", "Ctrl+Shift+Z", lambda: self.link.send("redo"))
        self.open_action = self._action("&Open rack...", "Ctrl+Shift+O", self._open_rack)
        self.save_action = self._action("&Save rack...", "Ctrl+S", self._save_rack)
        self.keys_action = self._action("&Keys", "F1", self._show_keys)
        self.messages_action = self._action(
            "&Messages",
            "Ctrl+L",
            self._show_messages,
            "The last messages, to be read and copied",
        )
        self.quit_action = self._action("&Quit", "Ctrl+Q", self.close)

    def _make_middle(self) -> None:
        self.banner = QFrame()
        self.banner.setObjectName("banner")
        self._banner_text = Elided()
        self._banner_button = QPushButton("Start again (F5)")
        self._banner_button.clicked.connect(self.start)
        self._end_button = QPushButton("End it (Shift+F5)")
        self._end_button.clicked.connect(self.stop)
        row = QHBoxLayout(self.banner)
        row.setContentsMargins(10, 4, 6, 4)
        row.addWidget(self._banner_text, 1)
        row.addWidget(self._banner_button)
        row.addWidget(self._end_button)
        self.banner.hide()
        self.tabs = QTabWidget()
        self.tabs.setTabBar(Tabs())
        self.tabs.setDocumentMode(True)
        self.tabs.setAccessibleName("Views")
        self.tabs.currentChanged.connect(self._tick)
        middle = QWidget()
        column = QVBoxLayout(middle)
        column.setContentsMargins(4, 4, 4, 0)
        column.addWidget(self.banner)
        column.addWidget(self.tabs, 1)
        self.setCentralWidget(middle)
        for number in range(1, 10):
            keys = QShortcut(QKeySequence(f"Ctrl+{number}"), self)
            keys.activated.connect(lambda at=number - 1: self.tabs.setCurrentIndex(at))
            if number == 1:
                keys.setWhatsThis("The views, by their number")

    def _make_bar(self) -> None:
        bar = self.addToolBar("What plays")
        bar.setObjectName("bar")
        bar.setMovable(False)
        for action in (self.start_action, self.stop_action, self.devices_action):
            bar.addAction(action)
        bar.addSeparator()
        bar.addAction(self.bypass_action)
        self.match_box = QCheckBox("match loudness")
        self.match_box.setToolTip("Bypass is as loud as what the nodes make")
        self.match_box.setChecked(self.settings.match_loudness)
        self.match_box.toggled.connect(self._match_loudness)
        bar.addWidget(self.match_box)
        bar.addSeparator()
        for action in (self.record_action, self.mark_action):
            bar.addAction(action)
        bar.addSeparator()
        for action in (self.undo_action, self.redo_action):
            bar.addAction(action)
        bar.addSeparator()
        self.plays = Elided()
        self.plays.setAccessibleName("What plays")
        self.plays.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.plays.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        bar.addWidget(self.plays)
        for action in bar.actions():
            button = bar.widgetForAction(action)
            if button is not None and action.text():
                button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        for action, longest in ((self.bypass_action, LONGEST_BYPASS), (self.record_action, RECORDING)):
            text, button = action.text(), bar.widgetForAction(action)
            button.ensurePolished()
            action.setText(longest)  # So that what is beside it does not move when its text does.
            button.setFixedWidth(button.sizeHint().width())
            action.setText(text)

    def _make_status(self) -> None:
        line = self.statusBar()
        self.message = Messages()
        self.message.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        line.addWidget(self.message, 1)
        self.load, self.late, self.rate, self.cost = (QLabel() for _ in range(4))
        tips = (
            (self.load, "Share of the time between blocks that the callback computes"),
            (self.late, "From input to output, the device without its own"),
            (self.rate, "Rate and samples in a block"),
            (self.cost, "What a picture costs this window, in milliseconds of one core"),
        )
        for label, tip in tips:
            label.setToolTip(tip)
            label.setAccessibleDescription(tip)
        self.xruns_button = QPushButton(NO_HOST)
        self.xruns_button.setFlat(True)
        self.xruns_button.setToolTip("What was not played in time")
        self.xruns_button.clicked.connect(self._show_xruns)
        for widget in (self.load, self.late, self.xruns_button, self.rate, self.cost):
            line.addPermanentWidget(widget)

    def _make_menus(self) -> None:
        host = self.menuBar().addMenu("&Host")
        host.addActions([self.start_action, self.stop_action, self.devices_action])
        host.addSeparator()
        host.addActions([self.bypass_action, self.record_action, self.mark_action])
        host.addSeparator()
        keep = host.addAction("&Keep playing when the window is closed")
        keep.setCheckable(True)
        keep.setChecked(self.settings.keep_playing)
        keep.toggled.connect(self._keep_playing)
        host.addSeparator()
        host.addAction(self.quit_action)
        rack = self.menuBar().addMenu("&Rack")
        rack.addActions([self.open_action, self.save_action])
        self._racks = rack.addMenu("&Load")
        self._racks.setToolTipsVisible(True)
        self._racks.aboutToShow.connect(self._list_racks)
        rack.addSeparator()
        rack.addActions([self.undo_action, self.redo_action])
        self._view_menu = self.menuBar().addMenu("&View")
        self._choice("&Theme", [(each, each) for each in THEMES], self.settings.theme, self._set_theme)
        rates = [(f"{each} pictures a second", each) for each in FRAME_RATES]
        self._choice("&Frame rate", rates, self.settings.frame_rate, self._set_frame_rate)
        maps = [(each, each) for each in COLOUR_MAPS]
        self._choice("&Colour map", maps, self.settings.colour_map, self._set_map)
        self._view_menu.addSeparator()
        self.menuBar().addMenu("H&elp").addActions([self.keys_action, self.messages_action])

    def _choice(self, title: str, entries: Sequence[tuple[str, Any]], now: Any, chosen: Any) -> None:
        """A menu of which one entry holds."""
        menu = self._view_menu.addMenu(title)
        group = QActionGroup(menu)
        for text, value in entries:
            action = menu.addAction(text)
            action.setCheckable(True)
            action.setChecked(value == now)
            action.setData(value)
            group.addAction(action)
        group.triggered.connect(lambda action: chosen(action.data()))

    def add_view(self, view: Any) -> None:
        """Show a view in a tab, after those that are there."""
        number = self.tabs.count() + 1
        self.tabs.addTab(view, view.title)
        self.tabs.setTabToolTip(number - 1, f"Ctrl+{number}")
        if view.title == self.settings.tab:
            self.tabs.setCurrentIndex(number - 1)
        self._set_map(self.settings.colour_map)
        if hasattr(view, "restore"):
            view.restore(self.settings.of_view(view.title))
        if hasattr(view, "chosen"):
            view.chosen.connect(partial(self.play_file, with_stems=view.title == "Remix"))
        if hasattr(view, "host_wanted"):
            view.host_wanted.connect(self.start)

    def _show_view(self, title: str) -> None:
        for number in range(self.tabs.count()):
            if self.tabs.tabText(number) == title:
                self.tabs.setCurrentIndex(number)

    def add_panel(self, title: str, panel: Any, area: Qt.DockWidgetArea) -> None:
        """Show a panel at a side, below those that are there."""
        dock = QDockWidget(title, self)
        dock.setObjectName(title)
        dock.setFeatures(
            QDockWidget.DockWidgetFeature.DockWidgetMovable | QDockWidget.DockWidgetFeature.DockWidgetClosable
        )
        dock.setWidget(panel)
        self.addDockWidget(area, dock)
        self._view_menu.addAction(dock.toggleViewAction())
        self._panels.append((dock, panel))

    def fill(self) -> None:
        """Add the panels and the views, whose libraries take their time: when the window is shown."""
        from gui.meters import Deadlines, Meters
        from gui.rack import Rack

        left, right = Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea
        self.rack = Rack(self.link)
        self.add_panel("Rack", self.rack, left)
        self.add_panel("Meters", Meters(self.link), right)
        self.add_panel("Deadlines", Deadlines(self.link), right)
        for view in views():
            self.add_view(view(self.link))
        self.restoreState(self.settings.geometry("docks"))

    # -------------------------------------------------------------------------------- the host

    def attach(self, pid: int, how: str = "") -> None:
        """Show a host that runs, and say so where that is not possible.

        One that a window has left is this window's from now on.

        Parameters
        ----------
        pid
            Its process number.
        how
            What is said once it is shown, if not just that.
        """
        try:
            options, folder = options_of(pid)
            self.link.attach(pid)
            self._options, self._folder = options, folder
        except UserError as error:
            self._show_banner(str(error), can_start=True)
            return
        self._how, self._shown = how, share(pid)
        self.process.take_over(pid)

    def start(self) -> None:
        """Start the host, with the rack as it last was; where one runs, do nothing."""
        if self.link.pid or self.process.pid:
            return
        try:
            last = self._rack_as_it_was()
            self.process.start(options_again(self._options, last, self._folder), self._folder)
        except (UserError, OSError) as error:
            self._show_banner(f"the host cannot be started: {error}", can_start=True)
            return
        self._stopping, self._deck_to_be = False, last.get("deck")
        self._show_banner("the host starts ...", can_start=False)
        self._show_host()

    def play_file(self, path: str, with_stems: bool = False) -> None:
        """Have a file played, in a loop, through the rack that there is.

        That is by the deck of the host, or, where it has none, by a host that takes its place, with the rack
        as it was. One that is no sound is said to be none, and all stays as it is.

        Parameters
        ----------
        path
            Of the file.
        with_stems
            Whether remix is put into a rack that has no stems, by an edit.
        """
        from rtaudio.files import AudioReader

        try:
            with AudioReader(path) as file:
                seconds = file.samples / file.rate
        except UserError as error:
            self.say(str(error), True)
            return
        if self.link.state.get("deck") is not None:
            self.link.send(f"load {path}")
            if with_stems:
                self._add_stems()
            return

        def play() -> None:
            self._stems_wanted = with_stems
            last = with_file(self._last, path, seconds) if self._last else {}
            self._take_place(options_for(path, self._options), last)

        self._ask_to_end(play)

    def _add_stems(self) -> None:
        """Put remix into a rack that has no stems: last, but before a limiter."""
        nodes = self.link.state["nodes"]
        if not any(node["engine"] == STEMS or len(node["outputs"]) > 1 for node in nodes):
            self.link.send(insert_line(self.link.state, f"{STEMS}(preset=live)"))

    def _choose_device(self) -> None:
        from gui.devices import Devices

        dialog = Devices(device_of(self._options), self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.chosen.connect(self.play_through)
        dialog.open()

    def play_through(self, device: Mapping[str, str]) -> None:
        """Have the rack played through another device, by a host that takes the place of the one that runs.

        Parameters
        ----------
        device
            See `gui.devices.Devices`.
        """

        def play() -> None:
            self._take_place(options_through(device, self._options), self._last)

        self._ask_to_end(play)

    def _ask_to_end(self, done: Callable[[], None]) -> None:
        """Do what ends the host; ask before where that is not this window's alone, or records."""
        recordings, pid = self.link.state.get("recordings", []), self.link.pid
        reasons = []
        if pid and not self.process.take_over(pid):
            reasons.append("was not started by this window")
        elif self._is_shown_elsewhere:
            reasons.append("is shown by another window, too")
        if recordings:
            reasons.append(f"records to {', '.join(recordings)}")
        if not reasons:
            done()
            return
        text = f"The host in process {pid} {' and '.join(reasons)}. Is it to be ended, and another started?"
        self._ask("Another host", text, "&End it", done)

    @property
    def _is_shown_elsewhere(self) -> bool:
        return self._shown is not None and is_shared(self._shown)

    def _ask(self, title: str, text: str, button: str, done: Callable[[], None]) -> None:
        """Ask whether something is to be done; nothing waits for the answer."""
        cancel = QMessageBox.StandardButton.Cancel
        question = QMessageBox(QMessageBox.Icon.Question, title, text, cancel, self)
        question.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        question.setDefaultButton(cancel)
        question.addButton(button, QMessageBox.ButtonRole.AcceptRole).clicked.connect(done)
        question.open()

    def _take_place(self, options: list[str], last: dict[str, Any]) -> None:
        """Let a host take the place of the one that runs; if it does not start, that is started again."""
        runs = bool(self.link.pid or self.process.pid)
        self._before = self._options, self._last, runs
        self._options, self._last, self._follows = options, last, True
        if runs:
            self.stop()
        self._follow()

    def _follow(self) -> None:
        """Start the host that is to follow, once the one before it has ended."""
        if self._follows and not (self.link.pid or self.process.pid):
            self._follows = False
            self.start()

    def _rack_as_it_was(self) -> dict[str, Any]:
        """The last state; that the input was heard instead of the output is over with the host."""
        compared = self._last["compare"]["nodes"] if self._last else ()
        nodes = [
            node | {"bypass": node["bypass"] and node["name"] not in compared}
            for node in self._last.get("nodes", ())
        ]
        return self._last | {"nodes": nodes, "deck": self._deck_as_it_was()} if self._last else {}

    def _deck_as_it_was(self) -> dict[str, Any] | None:
        """The deck of the last state, where it was when it was heard last; or one that is yet to play."""
        deck: dict[str, Any] | None = self._last["deck"]
        heard = self._deck
        if deck is None or heard is None or heard["file"] != deck["file"] or "cue" not in deck:
            return deck
        return heard

    def stop(self) -> None:
        """End the host; one that does not answer is killed."""
        self._stopping = True
        self._deck = self.link.deck or self._deck
        if self.link.hangs:
            self.link.kill()
        elif self.link.pid:
            self.link.send("quit", lambda answer: None)
        else:
            self.process.end()
            self.banner.hide()
            self._show_host()

    def _on_attached(self, pid: int) -> None:
        self._stopping, self._before = False, None
        if not self.settings.tab and any(node["engine"] == "remix" for node in self.link.state["nodes"]):
            self._show_view("Remix")
        self.banner.hide()
        self._spent, self._counted, self._recent = None, {}, {}
        self._xruns, self._totals_before = [], (0, 0)
        beside = [
            f"process {other} plays on without a window: 'rtaudio gui --pid {other}' shows it, "
            f"'rtaudio ctl --pid {other} quit' ends it"
            for other in left_hosts()
            if other != pid
        ]
        beside += self._left_recordings()
        self.message.recall(self.link.state["notes"], self.link.state["problems"])
        why, self._fell_back = self._fell_back, ""
        first = why or self._how or f"attached to the host in process {pid}"
        self.say("; ".join([first, *beside]), bool(why))
        self._show_host()
        wanted, self._deck_to_be, self._deck = self._deck_to_be, None, self.link.state["deck"]
        if wanted is not None and self._deck is not None:
            for line in deck_lines(wanted, self._deck):
                self.link.send(line, lambda answer: None)
        if self._stems_wanted:
            self._stems_wanted = False
            self._add_stems()

    def _left_recordings(self) -> list[str]:
        """What is to be said, once, of the user's recordings that were never ended."""
        from rtaudio.files import left_recordings

        if self._has_looked:
            return []
        self._has_looked = True
        return left_recordings(data_folder() / "recordings")

    def _on_detached(self, why: str) -> None:
        if self._shown is not None:
            self._shown.close()
            self._shown = None
        if self._stopping:
            self._show_banner("stopped", can_start=True)
            self.say("the host has ended", False)
        else:
            self._show_banner(f"{why}: nothing is heard", can_start=True)
            self.say(why, True)
        self._show_host()
        self._follow()

    def _on_hung(self, hangs: bool) -> None:
        """The host has not answered for a while, or answers again."""
        if hangs:
            text = f"the host (process {self.link.pid}) has not answered for 3 s"
            heard = "the sound goes on" if self.link.sounds else "nothing is heard"
            self._show_banner(f"{text}: {heard}", can_start=False, can_end=True)
            self.say(text, True)
        else:
            self.banner.hide()
            self.say("the host answers again", False)
        self._show_host()

    def _on_ended(self, why: str) -> None:
        seen = self.link.observation
        if seen is not None and not seen.alive:  # That the connection is closed is still to be read.
            self.link.detach(why)
            return
        if not (self.link.pid or self._stopping):
            self._fell_back = ""
            if self._before is not None:
                wanted = told_device(self._options)
                (self._options, self._last, self._follows), self._before = self._before, None
                self._stems_wanted = False
                why = f"{wanted}: {why}" if wanted != told_device(self._options) else why
                self._fell_back = f"{why}; what played before plays again" if self._follows else ""
            self._show_banner(f"{why}: nothing is heard" if self._last else why, can_start=True)
            self.say(why, True)
        self._show_host()
        self._follow()

    def _on_line(self, line: str) -> None:
        """A line that the host has written; what it says when it ends is for its log."""
        if self.process.starting:
            self._show_banner(line, can_start=False)
        if line.startswith("warning:"):
            self.say(line, True)

    def _on_stated(self, state: dict[str, Any]) -> None:
        if not self._follows:
            self._last = state
        self._show_host()

    def _on_changed(self, event: dict[str, Any]) -> None:
        if event["event"] in ("compare", "record"):
            self._show_switches()
        elif event["event"] == "done":
            path = self._recent.pop(event["edit"], "")
            if path and event["heard"]:
                self.settings.add_recent(path)

    def _show_banner(self, text: str, can_start: bool, can_end: bool = False) -> None:
        self._banner_text.show_text(text)
        self._banner_button.setVisible(can_start)
        self._end_button.setVisible(can_end)
        self.banner.show()

    def _show_host(self) -> None:
        """Show which host there is, and what it allows."""
        state, runs = self.link.state, bool(self.link.pid)
        self.start_action.setEnabled(not (runs or self.process.pid))
        self.stop_action.setEnabled(runs or bool(self.process.pid))
        for each in (
            self.bypass_action,
            self.record_action,
            self.mark_action,
            self.undo_action,
            self.redo_action,
            self.save_action,
            self.open_action,
            self._racks,
        ):
            each.setEnabled(runs)
        if state:
            chain = " | ".join(node["name"] for node in state["nodes"]) or "the input, as it is"
            self.setWindowTitle(f"{chain} - rtaudio")
            rate, late = state["rate"], state["latency"]["total"]
            self.plays.show_text(_what_plays(state))
            self.rate.setText(f"{rate / 1e3:g} kHz / {state['block']}")
            self.late.setText(f"latency {1e3 * late / rate:.1f} ms")
        else:
            self.setWindowTitle("rtaudio")
            waits = "the host starts" if self.process.starting else "no host runs"
            self.plays.show_text("the host has not answered yet" if runs else waits)
            for label in (self.rate, self.late, self.load):
                label.setText("")
            self._tell_xruns(NO_HOST, False)
        self._show_switches()

    # -------------------------------------------------------------------------------- comparison, recording

    def _compare(self, dry: bool) -> None:
        """Let the input be heard, at the output's loudness if that is wanted and known; or the output."""
        if dry and self.match_box.isChecked():
            self.link.send("compare dry matched", self._on_matched)
        else:
            self.link.send(f"compare {'dry' if dry else 'wet'}")
        self._show_switches()

    def _on_matched(self, answer: dict[str, Any]) -> None:
        self._say_answer(answer)
        if not answer["ok"]:
            self.link.send("compare dry", lambda other: None)

    def _match_loudness(self, on: bool) -> None:
        self.settings.match_loudness = on
        if self.link.state.get("compare", {}).get("dry"):
            self._compare(True)

    def _record(self, on: bool) -> None:
        self.link.send("record" if on else "record off")
        self._show_switches()

    def _mark(self) -> None:
        self.link.send("mark")

    def _show_switches(self) -> None:
        """Show what is heard, and whether it is recorded: what the host says, not what was pressed."""
        compared = self.link.state.get("compare", {"dry": False, "gain": 0.0})
        self.bypass_action.setChecked(compared["dry"])
        gain = f", {compared['gain']:+.1f} dB" if compared["gain"] else ""
        self.bypass_action.setText(f"A/B: the input{gain}" if compared["dry"] else "A/B bypass")
        recordings = self.link.state.get("recordings", [])
        self.record_action.setChecked(bool(recordings))
        self.record_action.setText(RECORDING if recordings else "Record")
        self.record_action.setToolTip("\n".join(recordings) or "Record what is heard, to a file (R)")

    # -------------------------------------------------------------------------------- racks

    def _list_racks(self) -> None:
        """Fill the menu of racks that go by a name, and of files that were opened."""
        menu, own = self._racks, user_folder()
        menu.clear()
        files = rack_files()
        groups: dict[str, list[tuple[str, str, object]]] = {
            "Yours": [(name, name, file) for name, file in files.items() if file.parent == own],
            "Factory": [(name, name, file) for name, file in files.items() if file.parent != own],
            "Recent files": [(path, path, path) for path in self.settings.recent],
        }
        for title, racks in groups.items():
            if racks:
                menu.addSection(title)
            for text, chain, file in racks:
                action = menu.addAction(text.replace("&", "&&"))
                action.setToolTip(str(file))
                action.setData(chain)
                action.triggered.connect(self._load_rack)
        if menu.isEmpty():
            menu.addAction("there are none yet").setEnabled(False)

    def _load_rack(self) -> None:
        action = self.sender()
        if isinstance(action, QAction):
            self.open_rack(action.data())

    def _open_rack(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a rack", str(user_folder()), "Rack files (*.toml)")
        if path:
            self.open_rack(path)

    def open_rack(self, rack: str) -> None:
        """Load a rack that goes by a name, or a rack file, which is remembered once it is heard."""
        self.link.send(f"chain {rack}", partial(self._on_loading, rack))

    def _on_loading(self, rack: str, answer: dict[str, Any]) -> None:
        self._say_answer(answer)
        if "edit" in answer and _is_file(rack):
            self._recent[answer["edit"]] = rack

    def _save_rack(self) -> None:
        name, wanted = QInputDialog.getText(
            self, "Save the rack", "Name, as in 'rtaudio rack list', or the path of a .toml file:"
        )
        if wanted and name.strip():
            self.save_rack(name.strip())

    def save_rack(self, name: str) -> None:
        """Save the rack under a name, or in a ``.toml`` file; ask before one that is there is replaced."""
        if _is_file(name):
            name = file = os.path.abspath(os.path.join(self._folder, os.path.expanduser(name)))
        else:
            file = str(user_folder() / f"{name}.toml")
        if not os.path.lexists(file):
            self._save(name)
            return
        text = f"There is a rack in {file} already. Is it to be replaced?"
        self._ask("Save the rack", text, "&Replace", lambda: self._save(name))

    def _save(self, name: str) -> None:
        self.link.send(f"save {name}", partial(self._on_saved, name))

    def _on_saved(self, name: str, answer: dict[str, Any]) -> None:
        self._say_answer(answer)
        if not answer["ok"]:
            return
        from gui.kept import keep_all_frequencies

        try:
            keep_all_frequencies(name if _is_file(name) else user_folder() / f"{name}.toml")
        except UserError as error:
            self.say(str(error), True)
        if _is_file(name):
            self.settings.add_recent(name)

    # -------------------------------------------------------------------------------- settings

    def _keep_playing(self, on: bool) -> None:
        self.settings.keep_playing = on

    def _set_theme(self, theme: str) -> None:
        self.settings.theme = theme
        set_theme(theme)
        self._colour_xruns()

    def _set_frame_rate(self, rate: int) -> None:
        self.settings.frame_rate = rate
        self._set_pace()

    def _set_map(self, name: str) -> None:
        self.settings.colour_map = name
        for number in range(self.tabs.count()):
            view: Any = self.tabs.widget(number)
            if hasattr(view, "set_map"):
                view.set_map(name)

    # -------------------------------------------------------------------------------- pictures

    @property
    def is_seen(self) -> bool:
        """Whether anybody can see it."""
        return self.isVisible() and not self.isMinimized()

    def _set_pace(self) -> None:
        self._timer.start(round(1000 / self.settings.frame_rate) if self.is_seen else IDLE_MS)

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """Draw again."""
        super().showEvent(event)
        self._set_pace()

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802
        """Draw no more."""
        super().hideEvent(event)
        self._set_pace()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        """Draw less while minimised."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.WindowStateChange:
            self._set_pace()

    def _tick(self) -> None:
        self._seen_frames += 1
        if self.is_seen:
            view: Any = self.tabs.currentWidget()
            if view is not None:
                view.refresh()
            for dock, panel in self._panels:
                if dock.isVisible():
                    panel.refresh()
        if time.monotonic() - self._seen_at >= TOLD:
            self._tell()

    def _tell(self) -> None:
        """Read what the status line tells."""
        now, cpu = time.monotonic(), time.process_time()
        frames, self._seen_frames = self._seen_frames, 0
        if self._seen_at:
            self.cost.setText(f"window {1e3 * (cpu - self._seen_cpu) / max(1, frames):.1f} ms")
        self._seen_at, self._seen_cpu = now, cpu
        seen = self.link.observation
        if seen is None or not self.link.state:
            return
        durations, counts = seen.histogram()
        spent = float(np.dot(durations, counts)) / 1e9
        if self._spent is not None and now > self._spent[0]:
            self.load.setText(f"DSP {100 * (spent - self._spent[1]) / (now - self._spent[0]):.0f} %")
        self._spent = now, spent
        self._deck = self.link.deck
        self._count(seen.counters())

    def _count(self, counted: dict[str, Any]) -> None:
        """Note what is new of xruns and misses."""
        found = {name: counted[name] for name in XRUNS}
        found |= {name: node["misses"] for name, node in counted["nodes"].items() if node["misses"]}
        new = {name: count - self._counted.get(name, 0) for name, count in found.items()}
        when = time.strftime("%H:%M:%S") if self._counted else "before this window looked"
        self._xruns += [
            f"{when}  {count} {XRUNS.get(name, f'blocks of {name} that came late and were bypassed')}"
            for name, count in new.items()
            if count > 0
        ]
        del self._xruns[:-KEPT]
        self._counted = found
        self._totals = counted["xruns"], counted["misses"]
        self._show_count()

    def _show_count(self) -> None:
        """Show how many xruns and misses there are, and what is listed of them."""
        xruns, misses = (now - then for now, then in zip(self._totals, self._totals_before, strict=True))
        parts = [f"{xruns} xrun{'s' * (xruns != 1)}"]
        parts += [f"{misses} miss{'es' * (misses != 1)}"] if misses else []
        self._tell_xruns(", ".join(parts), bool(xruns or misses))
        if self._xruns_list is not None:
            self._xruns_list.show_lines(self._xruns or ["Everything was played in time."])

    def _count_anew(self) -> None:
        """Count xruns and misses from now on."""
        self._xruns, self._totals_before = [], self._totals
        self._show_count()

    def _tell_xruns(self, text: str, is_wrong: bool) -> None:
        if text != self.xruns_button.text():
            self.xruns_button.setText(text)
            self.xruns_button.setAccessibleName(text)
            self._are_wrong = is_wrong
            self._colour_xruns()

    def _colour_xruns(self) -> None:
        """Give the count the colour that it has in this theme."""
        role = QPalette.ColorRole.BrightText if self._are_wrong else QPalette.ColorRole.ButtonText
        colours = QPalette()
        colours.setColor(QPalette.ColorRole.ButtonText, self.palette().color(role))
        self.xruns_button.setPalette(colours)

    # -------------------------------------------------------------------------------- what is said

    def say(self, text: str, is_error: bool) -> None:
        """Show a line; what is wrong is marked by a sign and a colour."""
        self.message.say(text, is_error)

    def _show_messages(self) -> None:
        self.message.show_list()

    def _say_answer(self, answer: dict[str, Any]) -> None:
        self.say(answer.get("answer", answer.get("error", "")), not answer["ok"])

    def _show_xruns(self) -> None:
        if self._xruns_list is None:
            shown = self._xruns_list = Lines(self, "xruns and misses")
            anew = shown.buttons.addButton("&Begin anew", QDialogButtonBox.ButtonRole.ResetRole)
            anew.setToolTip("Count from now on")
            anew.clicked.connect(self._count_anew)
            shown.finished.connect(self._forget_xruns_list)
            shown.show()
        self._xruns_list.show_lines(self._xruns or ["Everything was played in time."])
        self._xruns_list.raise_()

    def _forget_xruns_list(self) -> None:
        self._xruns_list = None

    def keys(self) -> list[tuple[str, str]]:
        """The keys, and what they do."""
        found: dict[str, str] = {}
        for action in self.findChildren(QAction):
            for sequence in action.shortcuts():
                found.setdefault(sequence.toString(), action.text().replace("&", "").rstrip("."))
        for shortcut in self.findChildren(QShortcut):
            if shortcut.whatsThis():
                found.setdefault(shortcut.key().toString(), shortcut.whatsThis())
        found |= self.KEYS
        return sorted(found.items(), key=lambda each: (len(each[0]), each[0]))

    KEYS: ClassVar[dict[str, str]] = {
        "Arrows, Page": "Move a fader by one step, by ten",
        "Delete": "Set a fader to its default; remove a node of the rack",
        "Ctrl+Up, Ctrl+Down": "Move a node of the rack",
        "Left, Right": "Fold a node of the rack that has the focus, unfold it",
        "Tab": "To the next control",
        "Space": "Freeze the pictures, where the focus is in no button or text",
        "S": "Hear an octave alone, in a picture; arrows move it, Shift+Up and Down widen and narrow it",
    }
    """Keys of the controls."""

    def _show_keys(self) -> None:
        dialog = _dialog(self, "Keys")
        keys = self.keys()
        table = QTableWidget(len(keys), 2, dialog)
        table.setAccessibleName("Keys")
        table.setHorizontalHeaderLabels(["Key", "What it does"])
        table.verticalHeader().hide()
        table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        for row, words in enumerate(keys):
            for column, text in enumerate(words):
                table.setItem(row, column, QTableWidgetItem(text))
        table.resizeColumnsToContents()
        table.horizontalHeader().setStretchLastSection(True)
        _fill_dialog(dialog, table)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """What no control has used goes to the view, wherever the focus is."""
        view: Any = self.tabs.currentWidget()
        if event.key() == Qt.Key.Key_Space and hasattr(view, "freeze"):
            view.keyPressEvent(event)
        else:
            super().keyPressEvent(event)

    def leave(self) -> None:
        """Close without a question: nobody may be there to answer it."""
        self._asks = False
        self.close()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """Remember how it was, and end the host that it has started, if that is wanted."""
        found: list[Any] = [self.tabs.widget(number) for number in range(self.tabs.count())]
        if self._asks and not all(view.may_close() for view in found if hasattr(view, "may_close")):
            event.ignore()
            return
        self._timer.stop()
        self.settings.set_geometry("window", self.saveGeometry())
        self.settings.set_geometry("docks", self.saveState())
        for each in found:
            if hasattr(each, "kept"):
                self.settings.set_of_view(each.title, each.kept())
        view: Any = self.tabs.currentWidget()
        if view is not None:
            self.settings.tab = view.title
        self._stopping = True
        is_wanted = self._is_shown_elsewhere and not self._may_end_it()
        if self.link.pid:
            self.left = self._left_playing(self.link.pid, is_wanted)
            if self.link.hangs and not self.left:
                self.link.kill()
        self.link.detach("the window is closed")
        if self.settings.keep_playing or is_wanted:
            self.process.let_go()
        else:
            self.hide()
            self.process.end()
        super().closeEvent(event)
        self.closed.emit()

    def _may_end_it(self) -> bool:
        """Whether a host that another window shows ends with this one: ask, if it is this one's to end."""
        if self.settings.keep_playing or not self.process.take_over(self.link.pid):
            return True
        text = f"Another window shows the host in process {self.link.pid}, too. Is its sound to end?"
        return self._asks and agreed(self, "Another window", text)

    def _left_playing(self, pid: int, is_wanted: bool) -> str:
        """What is to be said of the host when the window is closed; empty: it ends with the window."""
        if not self.process.take_over(pid):
            how = "since this window has not started it"
        elif self.settings.keep_playing:
            how = "as the menu Host has it"
        elif is_wanted:
            how = "in another window"
        else:
            return ""
        return f"the host in process {pid} plays on, {how}: 'rtaudio ctl --pid {pid} quit' ends it"


def _is_file(rack: str) -> bool:
    return rack.lower().endswith(".toml")


def views() -> list[Any]:
    """The classes of the views, in the order of their tabs."""
    from gui.denoise import Denoise
    from gui.remix import Remix
    from gui.render import Render
    from gui.speak import Speak

    return [Denoise, Remix, Speak, Render]


def _what_plays(state: dict[str, Any]) -> str:
    """The device, in a line."""
    device = state["device"]
    cards = " → ".join(dict.fromkeys(filter(None, (device.get("input"), device.get("output")))))
    rate = state["rate"]
    words = [
        f"{device['api']}{f': {cards}' if cards else ' device'}",
        f"{rate / 1e3:g} kHz",
        f"block {state['block']}",
        f"{1e3 * state['latency']['total'] / rate:.1f} ms",
    ]
    return ", ".join(words)


def _dialog(window: QWidget, title: str) -> QDialog:
    dialog = QDialog(window)
    dialog.setWindowTitle(title)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.resize(520, 380)
    return dialog


def _fill_dialog(dialog: QDialog, content: QWidget) -> None:
    """Show a dialog, of which nothing waits."""
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
    buttons.rejected.connect(dialog.reject)
    column = QVBoxLayout(dialog)
    column.addWidget(content)
    column.addWidget(buttons)
    dialog.show()
