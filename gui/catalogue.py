"""The engines, asked of ``rtaudio engines`` in a process of its own, since to import them takes long."""

from __future__ import annotations

import json
import sys
from typing import Any

from PySide6.QtCore import QObject, QProcess, Signal


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
        self._process: QProcess | None = None

    @property
    def inserts(self) -> list[dict[str, Any]]:
        """Those that sound can pass through."""
        return [engine for engine in self.engines if engine["inputs"] and engine["outputs"]]

    def ask(self) -> None:
        """Find them out, if they are not known."""
        if self._process is None and not self.engines:
            self._process = QProcess(self)
            self._process.finished.connect(self._on_finished)
            self._process.start(sys.executable, ["-P", "-m", "rtaudio", "engines", "--json", "-"])

    def _on_finished(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            self.engines = json.loads(bytes(process.readAllStandardOutput().data()))
        except ValueError:  # It was ended; the next one who asks may have more luck.
            self.engines = []
        process.deleteLater()
        self.known.emit()

    def end(self) -> None:
        """Wait for no answer any more."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.waitForFinished()
