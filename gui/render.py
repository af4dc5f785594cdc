"""The view Render: files and folders that are rendered through a chain."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QItemSelection, QModelIndex, QPersistentModelIndex, Qt, QTemporaryDir, QUrl
from PySide6.QtGui import (
    QAction,
    QDesktopServices,
    QDragEnterEvent,
    QDropEvent,
    QKeySequence,
    QPainter,
    QPaintEvent,
    QPalette,
    QShowEvent,
)
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QFileDialog,
    QHeaderView,
    QLabel,
    QLineEdit,
    QMessageBox,
    QPlainTextEdit,
    QPushButton,
    QSpinBox,
    QSplitter,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionProgressBar,
    QStyleOptionViewItem,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from gui.choices import Choice
from gui.flow import Flow, together
from gui.kept import keep_for_files
from gui.link import Link
from gui.questions import agreed
from gui.rendering import (
    CHAIN,
    FILE,
    OUTPUT,
    PROGRESS,
    RENDERED,
    RUNNING,
    SPEED,
    STATE,
    Rendering,
    Renderings,
    State,
    Way,
)
from rtaudio.errors import UserError
from rtaudio.files import EXTENSIONS
from rtaudio.racks import rack_files

EXTENSIONS_WRITTEN = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff")
SUBTYPES = ("16", "24", "32", "float")
PLAYING, TEXT, SEPARATE, ENHANCE = "playing", "text", "separate", "enhance"
"""What files are rendered through, besides racks, which go by their names."""
RACK = "rack "
EMPTY = "Drop files and folders of sound here,\nor add them with Ctrl+O"
ALL_DONE = "all done: add files, or choose Render again for the chosen rows"
LISTED = 5
"""Files that are named where it is asked whether they may be replaced."""


class _Bar(QStyledItemDelegate):
    """Draws the progress of a file."""

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        """Draw a bar, with its per cent as text."""
        rendering: Rendering = index.data(Qt.ItemDataRole.UserRole)
        super().paint(painter, option, QModelIndex())
        if rendering.part == 0.0 and rendering.state not in RUNNING:
            return
        bar = QStyleOptionProgressBar()
        bar.rect = option.rect.adjusted(4, 3, -4, -3)
        bar.palette = option.palette
        bar.fontMetrics = option.fontMetrics
        bar.state = QStyle.StateFlag.State_Enabled | QStyle.StateFlag.State_Horizontal
        bar.minimum, bar.maximum, bar.progress = 0, 1000, round(1000 * rendering.part)
        bar.text, bar.textVisible = index.data(), True
        bar.textAlignment = Qt.AlignmentFlag.AlignCenter
        QApplication.style().drawControl(QStyle.ControlElement.CE_ProgressBar, bar, painter)


class _Table(QTableView):
    """The files; where there are none, what to do."""

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw the rows, or the invitation."""
        super().paintEvent(event)
        if self.model().rowCount() == 0:
            painter = QPainter(self.viewport())
            painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
            painter.drawText(self.viewport().rect(), Qt.AlignmentFlag.AlignCenter, EMPTY)
            painter.end()


class Render(QWidget):
    """Renders files with the commands ``rtaudio render``, ``separate`` and ``enhance``.

    Every file has a process of its own, so that each can be cancelled. Processes that run are ended by
    `may_close`, which the window asks before it closes.
    """

    title = "Render"

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link
        self._racks = QTemporaryDir()
        self._saved = 0
        self._from = ""
        """The folder where files were chosen last."""
        self._files: dict[bytes, str] = {}
        """Racks that have played, by their content."""
        self._actions: dict[QPushButton, QAction] = {}
        """What the buttons do, for keys and the table's menu."""
        self.setAcceptDrops(True)
        self.renderings = Renderings(os.cpu_count() or 1, self)
        self.renderings.told.connect(self._show_counts)
        self.table = self._make_table()
        self.details = QPlainTextEdit(readOnly=True, placeholderText="What the chosen file's command says")
        self.details.setAccessibleName("Details of the chosen file")
        self.details.setTabChangesFocus(True)
        self.counts = QLabel()
        self.counts.setAccessibleName("Files rendered")
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(self.table)
        split.addWidget(self.details)
        split.setStretchFactor(0, 4)
        split.setStretchFactor(1, 1)
        layout = QVBoxLayout(self)
        layout.addLayout(self._make_buttons())
        layout.addLayout(self._make_settings())
        layout.addWidget(split, 1)
        layout.addWidget(self.counts)
        self._fill_chains()
        self._show_way()
        self._show_counts()
        link.attached.connect(self._show_way)
        link.detached.connect(self._show_way)

    def kept(self) -> dict[str, Any]:
        """What is remembered of it: how files are rendered, and where they were looked for."""
        return {
            "chain": self.chain.currentData(),
            "text": self.text.text(),
            "folder": self.folder.text(),
            "format": self.format.currentData(),
            "subtype": self.subtype.currentText(),
            "dither": self.dither.isChecked(),
            "tail": self.tail.isChecked(),
            "from": self._from,
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Be as it was; what is not there any more is passed over."""
        for choice, name in ((self.chain, "chain"), (self.format, "format")):
            choice.setCurrentIndex(max(0, choice.findData(kept.get(name))))
        for line, name in ((self.text, "text"), (self.folder, "folder")):
            line.setText(str(kept.get(name, "")))
        self.subtype.setCurrentText(str(kept.get("subtype", self.subtype.itemText(0))))
        self.dither.setChecked(kept.get("dither") is not False)
        self.tail.setChecked(kept.get("tail") is True)
        self._from = str(kept.get("from", ""))

    def refresh(self) -> None:
        """Nothing moves here but what processes say."""

    # ------------------------------------------------------------------------------------ what it is made of

    def _make_table(self) -> _Table:
        table = _Table()
        table.setModel(self.renderings)
        table.setItemDelegateForColumn(PROGRESS, _Bar(table))
        table.setAccessibleName("Files to render")
        table.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        table.setTabKeyNavigation(False)
        table.setShowGrid(False)
        table.setAlternatingRowColors(True)
        table.setWordWrap(False)
        table.setTextElideMode(Qt.TextElideMode.ElideRight)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + 10)
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        letter = table.fontMetrics().averageCharWidth()
        for column, letters in {FILE: 15, CHAIN: 14, OUTPUT: 15, PROGRESS: 9, SPEED: 7}.items():
            header.resizeSection(column, letters * letter)
        header.setSectionResizeMode(STATE, QHeaderView.ResizeMode.Stretch)
        table.selectionModel().selectionChanged.connect(self._chosen)
        self.renderings.dataChanged.connect(self._show_details)
        return table

    def _make_buttons(self) -> Flow:
        row = Flow()
        self.add_files = self._button("Add &files…", "Ctrl+O", "Add files of sound", self._ask_for_files)
        self.add_folder = self._button("Add f&older…", "Ctrl+Shift+A", "Add a folder", self._ask_for_folder)
        self.remove = self._button("Re&move", "Del", "Take the chosen files out of the table", self._remove)
        self.open_folder = self._button("O&pen folder", "", "Open the outputs' folder", self._open_folder)
        self.cancel = self._button("&Cancel", "", "Cancel the chosen files, or all if none is", self._cancel)
        self.again = self._button(
            "Render a&gain",
            "Ctrl+Shift+R",
            "Render the chosen files once more, and replace what became of them",
            self.render_again,
        )
        self.render_all = self._button("Re&nder", "Ctrl+R", "Render all that is not done", self.render_files)
        for button in (self.add_files, self.add_folder, self.remove):
            row.addWidget(button)
        row.add_stretch()
        for button in (self.open_folder, self.cancel, self.again, self.render_all):
            row.addWidget(button)
        for button in (self.again, self.cancel, self.remove, self.open_folder):
            self.table.addAction(self._actions[button])
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        return row

    def _button(self, text: str, keys: str, tip: str, run: Any) -> QPushButton:
        button = QPushButton(text)
        button.setAccessibleName(text.replace("&", "").rstrip("…"))
        button.setToolTip(f"{tip} ({keys})" if keys else tip)
        button.clicked.connect(run)
        action = self._actions[button] = QAction(button.accessibleName(), self)
        action.setShortcut(QKeySequence(keys))
        action.triggered.connect(run)
        if keys == "Del":  # Elsewhere it is another key's.
            action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        else:
            self.addAction(action)
        return button

    def _make_settings(self) -> QVBoxLayout:
        self.chain = Choice()
        self.text = QLineEdit(placeholderText="biquad(kind=highpass, frequency=80) | limiter")
        self.folder = QLineEdit(placeholderText="beside each file")
        self.folder.setClearButtonEnabled(True)
        choose = QPushButton("Choo&se…")
        choose.setAccessibleName("Choose the output folder")
        choose.clicked.connect(self._ask_for_output)
        self.format = Choice()
        self.format.addItem("as the file", "")
        for extension in EXTENSIONS_WRITTEN:
            self.format.addItem(extension[1:].upper(), extension)
        self.subtype = Choice(editable=True)
        for choice in (self.chain, self.format, self.subtype):
            choice.setSizeAdjustPolicy(Choice.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            choice.setMinimumContentsLength(8)
        self.chain.setMinimumContentsLength(16)
        self.subtype.addItem("as the file")
        self.subtype.addItems(SUBTYPES)
        self.dither = QCheckBox("&Dither 16 bits")
        self.dither.setChecked(True)
        self.tail = QCheckBox("&Keep the tail")
        self.dither.setAccessibleName("Dither 16 bits")
        self.tail.setAccessibleName("Keep the tail")
        self.tail.setToolTip("Keep what rings on after the end")
        self.jobs = QSpinBox(minimum=1, maximum=256, value=self.renderings.jobs)
        self.jobs.setToolTip("Files that are rendered at once")
        self.text.setAccessibleName("Chain as text")
        through, written = Flow(), Flow()
        through.addWidget(self._named("Thro&ugh", self.chain))
        through.addWidget(self.text)
        through.addWidget(self._named("Output fo&lder", self.folder, choose))
        written.addWidget(self._named("Forma&t", self.format))
        written.addWidget(self._named("Subt&ype", self.subtype))
        written.addWidget(self.dither)
        written.addWidget(self.tail)
        written.add_stretch()
        written.addWidget(self._named("&Jobs", self.jobs))
        rows = QVBoxLayout()
        rows.addLayout(through)
        rows.addLayout(written)
        for signal in (
            self.chain.currentIndexChanged,
            self.text.textChanged,
            self.folder.textChanged,
            self.format.currentIndexChanged,
            self.subtype.currentTextChanged,
            self.dither.toggled,
            self.tail.toggled,
        ):
            signal.connect(self._show_way)
        self.jobs.valueChanged.connect(self._set_jobs)
        return rows

    def _named(self, text: str, widget: QWidget, *others: QWidget) -> QWidget:
        """A control after what it is called, and others behind it."""
        widget.setAccessibleName(text.replace("&", ""))
        return together(QLabel(text), widget, *others)

    def _fill_chains(self) -> None:
        """The racks as they are now; the choice stays."""
        chosen = self.chain.currentData()
        items = [("The rack that plays", PLAYING), ("A chain as text", TEXT)]
        items += [("Separate into parts", SEPARATE), ("Take noise out of speech", ENHANCE)]
        items += [(f"Rack {name}", RACK + name) for name in rack_files()]
        if items == [(self.chain.itemText(i), self.chain.itemData(i)) for i in range(self.chain.count())]:
            return
        self.chain.clear()
        for text, data in items:
            self.chain.addItem(text, data)
        self.chain.setCurrentIndex(max(0, self.chain.findData(chosen)))

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """Racks may have been saved meanwhile."""
        super().showEvent(event)
        self._fill_chains()

    # ------------------------------------------------------------------------------------ what is rendered

    def add(self, paths: Iterable[Path]) -> None:
        """Add files and folders, and say what was not."""
        folder = self.folder.text().strip()
        try:
            added, before = self.renderings.add(paths, Path(folder) if folder else None)
        except UserError as error:
            self._link.said.emit(str(error), True)
            return
        words = f"{added} file{'s' * (added != 1)} added"
        if before:
            words += f", {before} {'was' if before == 1 else 'were'} there already"
        self._link.said.emit(words, False)

    def way(self, rack: str = "") -> Way:
        """What the settings say; ``rack``: a file with the rack that plays."""
        what = self.chain.currentData()
        subtype = self.subtype.currentText().strip()
        options = [] if subtype in ("", self.subtype.itemText(0)) else ["--subtype", subtype]
        options += ["--no-dither"] * (not self.dither.isChecked()) + ["--tail"] * self.tail.isChecked()
        title, command, mark = self.chain.currentText(), "render", "rendered"
        if what == PLAYING:
            options += ["--chain", rack]
        elif what == TEXT:
            title = self.text.text().strip()
            options += ["--chain", title]
        elif what == SEPARATE:
            title = command = SEPARATE
        elif what == ENHANCE:
            title = command = ENHANCE
            mark = "enhanced"
        else:
            title = mark = what.removeprefix(RACK)
            options += ["--chain", title]
        folder = self.folder.text().strip()
        return Way(
            title,
            command,
            tuple(options),
            Path(folder).expanduser().absolute() if folder else None,
            mark,
            self.format.currentData(),
        )

    def render_files(self) -> None:
        """Render all that is not done."""
        rows = self.renderings.rows
        due = [rendering for rendering in rows if rendering.state not in RENDERED]
        if due:
            self._render(due)
        else:
            self._link.said.emit(ALL_DONE if rows else "nothing to render: add files", not rows)

    def render_again(self) -> None:
        """Render the chosen files once more, as it is set now, and replace what became of them."""
        if rows := self._chosen_rows():
            self._render(rows)
        else:
            self._link.said.emit("choose the files that are to be rendered again", True)

    def _render(self, rows: list[Rendering]) -> None:
        """Render files; where the rack that plays is the way, once it has been written to a file."""
        if self.chain.currentData() != PLAYING:
            self._render_by(self.way(), rows)
        elif self._link.state:
            self._saved += 1
            file = self._racks.filePath(f"{self._saved}.toml")
            self._link.send(f"save {file}", partial(self._rack_saved, file, rows))
        else:
            self._link.said.emit("no rack plays: choose another chain, or start a host", True)

    def _rack_saved(self, file: str, rows: list[Rendering], answer: dict[str, Any]) -> None:
        if not answer["ok"]:
            self._link.said.emit(str(answer["error"]), True)
            return
        try:
            keep_for_files(file)
        except UserError as error:
            self._link.said.emit(str(error), True)
            return
        kept = self._files.setdefault(Path(file).read_bytes(), file)
        if kept != file:
            Path(file).unlink()
        self._render_by(self.way(kept), rows)

    def _render_by(self, way: Way, rows: list[Rendering]) -> None:
        """Render those of the rows that are still in the table, if what they would replace may be."""
        rows = [rendering for rendering in self.renderings.rows if rendering in rows]
        there = self.renderings.in_the_way(way, rows)
        if there:
            answer = self._ask_to_replace([path for paths in there.values() for path in paths])
            if answer == QMessageBox.StandardButton.Cancel:
                return
            if answer == QMessageBox.StandardButton.No:
                rows = [rendering for rendering in rows if rendering not in there]
        if self.renderings.render(way, rows) == 0 and not self.renderings.busy:
            failed = any(each.state is State.FAILED for each in rows)
            self._link.said.emit(
                "nothing was rendered: see the table" if failed else "nothing was rendered", failed
            )

    def _ask_to_replace(self, files: list[Path]) -> QMessageBox.StandardButton:
        """Ask whether files that were there before may be replaced."""
        named = [os.fspath(file) for file in files[:LISTED]]
        named += [f"and {len(files) - LISTED} more"] * (len(files) > LISTED)
        exist = "This file is" if len(files) == 1 else f"These {len(files)} files are"
        buttons = QMessageBox.StandardButton
        return QMessageBox.question(
            self,
            "Replace files",
            "\n".join([f"{exist} there already. Replace?", *named, "", "No: render only the others."]),
            buttons.Yes | buttons.No | buttons.Cancel,
            buttons.Cancel,
        )

    def _set_jobs(self, jobs: int) -> None:
        self.renderings.jobs = jobs

    def _show_way(self, *_: object) -> None:
        """Show what the settings mean for the files that have only been added."""
        what = self.chain.currentData()
        self.text.setVisible(what == TEXT)
        self.format.setEnabled(what != SEPARATE)
        self.renderings.show_way(self.way())

    def _chosen_rows(self) -> list[Rendering]:
        return [self.renderings.rows[index.row()] for index in self.table.selectionModel().selectedRows()]

    def _remove(self) -> None:
        rows = self._chosen_rows()
        if any(rendering.state in RUNNING for rendering in rows):
            self._link.said.emit("what is at work stays: cancel it first", True)
        self.renderings.remove(rows)

    def _cancel(self) -> None:
        self.renderings.cancel(self._chosen_rows() or self.renderings.rows)

    def _open_folder(self) -> None:
        rows = [each for each in self._chosen_rows() or self.renderings.rows if each.outputs]
        if not rows:
            self._link.said.emit("no output has been written yet", True)
            return
        folder = rows[-1].outputs[0].parent
        if not QDesktopServices.openUrl(QUrl.fromLocalFile(os.fspath(folder))):
            self._link.said.emit(f"no program here opens folders: the outputs are in {folder}", True)

    # ------------------------------------------------------------------------------------ what is shown

    def _chosen(self, chosen: QItemSelection, before: QItemSelection) -> None:
        self._show_details()
        self._show_counts()

    def _show_details(self, *_: object) -> None:
        rows = self._chosen_rows()
        shown = "\n\n".join(map(_described, rows))
        if shown != self.details.toPlainText():
            self.details.setPlainText(shown)

    def _show_counts(self) -> None:
        rows = self.renderings.rows
        counts = Counter(str(rendering.state) for rendering in rows)
        words = [f"{counts[state]} {state}" for state in State if counts[state]]
        self.counts.setText(f"{len(rows)} file{'s' * (len(rows) != 1)}: {', '.join(words)}" if rows else "")
        chosen = bool(self.table.selectionModel().selectedRows())
        self.cancel.setEnabled(self.renderings.busy > 0)
        self.render_all.setEnabled(bool(rows))
        self.again.setEnabled(chosen)
        self.remove.setEnabled(chosen)
        self.open_folder.setEnabled(any(rendering.outputs for rendering in rows))

    # ------------------------------------------------------------------------------------ files and folders

    def _ask_for_files(self) -> None:
        patterns = " ".join(f"*{extension}" for extension in sorted(EXTENSIONS))
        kinds = f"Sound ({patterns});;All files (*)"
        files, _ = QFileDialog.getOpenFileNames(self, "Add files", self._from, kinds)
        if files:
            self._from = os.path.dirname(files[0])
            self.add(map(Path, files))

    def _ask_for_folder(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, "Add a folder", self._from):
            self._from = os.path.dirname(folder)
            self.add([Path(folder)])

    def _ask_for_output(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, "Output folder", self.folder.text()):
            self.folder.setText(folder)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802
        """Take files and folders."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        """Add what is dropped."""
        self.add(Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile())
        event.acceptProposedAction()

    # ------------------------------------------------------------------------------------ the end

    def may_close(self) -> bool:
        """Ask, where files are being rendered, whether they may be cancelled, and cancel them."""
        busy = self.renderings.busy
        if busy:
            files = f"{busy} file{'s are' if busy > 1 else ' is'} being rendered."
            if not agreed(self, "Renders run", f"{files} Cancel and close?"):
                return False
            self.renderings.cancel_all()
        return True


def _described(rendering: Rendering) -> str:
    """All that is known of a file, to be read and copied."""
    lines = [os.fspath(rendering.source), f"{rendering.state}: {rendering.text}".rstrip(": ")]
    if rendering.command:
        lines.append(rendering.command)
    if rendering.said and rendering.said != f"rtaudio: {rendering.text}":
        lines.append(rendering.said)
    return "\n".join(lines)
