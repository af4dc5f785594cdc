"""The text box of what is read aloud, in which the sentence and the word that are heard stand out."""

from __future__ import annotations

from bisect import bisect_left

from PySide6.QtCore import QMimeData, Signal
from PySide6.QtGui import QPalette, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QPlainTextEdit, QTextEdit, QWidget

Span = tuple[int, int]
"""Begin and end, in codepoints."""

PARAGRAPH = "\u2029"
"""Qt's end of a paragraph in what is selected."""


class Reader(QPlainTextEdit):
    """A text, to be edited and to be followed.

    Places are counted in codepoints of what `take` returned last, as the speech front end counts; Qt counts
    in units of UTF-16.
    """

    dropped = Signal(str)
    """The path of a file that was dropped, or pasted."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Text to speak")
        self.setPlaceholderText("Text to speak, or SSML: write or paste it, open a file, or drop one here")
        self.setTabChangesFocus(True)
        self._begin = 0
        """Where what was taken begins, in Qt's units."""
        self._wide: list[int] = []
        """Codepoints of it that are two units."""
        self._follows = False
        self._marked: tuple[Span | None, Span | None] = (None, None)
        self.textChanged.connect(self._on_changed)

    def take(self) -> str:
        """What is to be spoken: what is selected, or all. `mark` is about it from now on."""
        cursor = self.textCursor()
        if cursor.hasSelection():
            text, self._begin = cursor.selectedText().replace(PARAGRAPH, "\n"), cursor.selectionStart()
        else:
            text, self._begin = self.toPlainText(), 0
        self._wide = [] if text.isascii() else [at for at, letter in enumerate(text) if letter > "\uffff"]
        self._follows = True
        return text

    def mark(self, sentence: Span | None, word: Span | None) -> None:
        """Let a sentence and a word of it stand out, and keep the word in sight; None: nothing.

        Once the text has been edited nothing does, until it is taken again.
        """
        wanted = (sentence, word) if self._follows else (None, None)
        if wanted == self._marked:
            return
        self._marked = wanted
        colours, formats = self.palette(), (QTextCharFormat(), QTextCharFormat())
        formats[0].setBackground(colours.brush(QPalette.ColorRole.Midlight))
        formats[1].setBackground(colours.brush(QPalette.ColorRole.Highlight))
        formats[1].setForeground(colours.brush(QPalette.ColorRole.HighlightedText))
        formats[1].setFontUnderline(True)
        shown = []
        for span, how in zip(wanted, formats, strict=True):
            if span is not None:
                selection = QTextEdit.ExtraSelection()
                selection.cursor = self._cursor(span)
                selection.format = how
                shown.append(selection)
        self.setExtraSelections(shown)
        if shown:
            self._keep_in_sight(shown[-1].cursor)

    @property
    def marked(self) -> tuple[str, str]:
        """The sentence and the word that stand out."""
        found = ["" if span is None else self._cursor(span).selectedText() for span in self._marked]
        return found[0], found[1]

    def _cursor(self, span: Span) -> QTextCursor:
        begin, end = (self._begin + at + bisect_left(self._wide, at) for at in span)
        last = self.document().characterCount() - 1
        cursor = QTextCursor(self.document())
        cursor.setPosition(min(begin, last))
        cursor.setPosition(min(end, last), QTextCursor.MoveMode.KeepAnchor)
        return cursor

    def _keep_in_sight(self, cursor: QTextCursor) -> None:
        """Scroll to where a cursor is, if it cannot be seen; the user's own cursor stays."""
        if self.viewport().rect().contains(self.cursorRect(cursor)):
            return
        block = cursor.block()
        line = block.layout().lineForTextPosition(cursor.positionInBlock())
        inside = line.lineNumber() if line.isValid() else 0
        self.verticalScrollBar().setValue(block.firstLineNumber() + inside - 1)

    def _on_changed(self) -> None:
        self._follows = False
        if self._marked != (None, None):
            self.mark(None, None)

    def canInsertFromMimeData(self, source: QMimeData) -> bool:  # noqa: N802
        """Files, too."""
        return _file(source) != "" or super().canInsertFromMimeData(source)

    def insertFromMimeData(self, source: QMimeData) -> None:  # noqa: N802
        """A file is `dropped`; text is plain text."""
        path = _file(source)
        if path:
            self.dropped.emit(path)
        else:
            super().insertFromMimeData(source)


def _file(source: QMimeData) -> str:
    """The path of the first file in what is dropped; empty: there is none."""
    return next((url.toLocalFile() for url in source.urls() if url.isLocalFile()), "")
