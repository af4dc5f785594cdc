"""What is asked of the command line in a process of its own: to import what answers takes long."""

from __future__ import annotations

import json
import sys
from typing import Any

from PySide6.QtCore import QObject, QProcess, Signal


class Inquiry(QObject):
    """Asks ``rtaudio WORDS --json -``, once at a time."""

    answered = Signal(object)
    """What the JSON says; None: there was none."""

    def __init__(self, *words: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._words = words
        self._process: QProcess | None = None
        self.said = ""
        """What the process has said besides, the last line."""

    def ask(self) -> None:
        """Ask, unless the answer is on its way."""
        if self._process is None:
            self._process = QProcess(self)
            self._process.finished.connect(self._on_finished)
            self._process.start(sys.executable, ["-P", "-m", "rtaudio", *self._words, "--json", "-"])

    def _on_finished(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        said = bytes(process.readAllStandardError().data()).decode(errors="replace").split("\n")
        self.said = next((line for line in reversed(said) if line), "")
        try:
            answer = json.loads(bytes(process.readAllStandardOutput().data()))
        except ValueError:
            answer = None
        process.deleteLater()
        self.answered.emit(answer)

    def end(self) -> None:
        """Wait for no answer any more."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.waitForFinished()


class Catalogue(QObject):
    """The engines: names, summaries, ports.

    Attributes
    ----------
    engines : list of dict
        See ``rtaudio engines --json``; empty until they are known.
    """

    known = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.engines: list[dict[str, Any]] = []
        self._inquiry = Inquiry("engines", parent=self)
        self._inquiry.answered.connect(self._take)

    @property
    def inserts(self) -> list[dict[str, Any]]:
        """Those that sound can pass through."""
        return [engine for engine in self.engines if engine["inputs"] and engine["outputs"]]

    def ask(self) -> None:
        """Find them out, if they are not known."""
        if not self.engines:
            self._inquiry.ask()

    def end(self) -> None:
        """Wait for no answer any more."""
        self._inquiry.end()

    def _take(self, engines: list[dict[str, Any]] | None) -> None:
        self.engines = engines or []  # The next one who asks may have more luck.
        self.known.emit()
