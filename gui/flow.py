"""A layout for rows of controls that may be wider than the window."""

from __future__ import annotations

from itertools import pairwise

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QLayout, QLayoutItem, QSizePolicy, QSpacerItem, QWidget

Line = list[tuple[QLayoutItem, int]]
"""Items beside each other, and the width of each."""


class Flow(QLayout):
    """A row that goes on in the next line where there is no room: as words do.

    What is left of a line is shared by those of its items that may expand, stretches among them.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._items: list[QLayoutItem] = []
        self._height = 0
        """Of the lines there are; 0: it has not been placed yet."""
        self.setContentsMargins(0, 0, 0, 0)

    def addItem(self, item: QLayoutItem) -> None:  # noqa: N802
        """Add an item at the end."""
        self._items.append(item)

    def add_stretch(self) -> None:
        """Have what follows at the right end, where there is room."""
        self.addItem(QSpacerItem(0, 0, QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum))
        self.invalidate()

    def count(self) -> int:
        """Number of items."""
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:  # noqa: N802
        """An item; None where there is none."""
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:  # noqa: N802
        """Take an item out; None where there is none."""
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:  # noqa: N802
        """It takes the width there is, if one of its items does."""
        return Qt.Orientation(0) if not any(map(_expands, self._items)) else Qt.Orientation.Horizontal

    def hasHeightForWidth(self) -> bool:  # noqa: N802
        """The narrower, the higher."""
        return True

    def heightForWidth(self, width: int) -> int:  # noqa: N802
        """The height of its lines."""
        margins = self.contentsMargins()
        lines = self._lines(width - margins.left() - margins.right())
        heights = sum(map(_height, lines)) + self._gap() * (len(lines) - 1)
        return heights + margins.top() + margins.bottom()

    def sizeHint(self) -> QSize:  # noqa: N802
        """All in one line."""
        seen = self._seen()
        width = sum(item.sizeHint().width() for item in seen) + self._gap() * max(0, len(seen) - 1)
        height = max((item.sizeHint().height() for item in seen), default=0)
        return QSize(width, height).grownBy(self.contentsMargins())

    def minimumSize(self) -> QSize:  # noqa: N802
        """The widest item, as narrow as it can be, and the height of the lines that there are.

        A splitter, or a window, asks for no height for a width.
        """
        margins = self.contentsMargins()
        width = max((item.minimumSize().width() for item in self._seen()), default=0)
        return QSize(width + margins.left() + margins.right(), self._height or self.sizeHint().height())

    def setGeometry(self, rect: QRect) -> None:  # noqa: N802
        """Place the items."""
        super().setGeometry(rect)
        height = self.heightForWidth(rect.width())
        if height != self._height:
            self._height = height
            self.update()
        room = rect.marginsRemoved(self.contentsMargins())
        top = room.top()
        for line in self._lines(room.width()):
            height, left = _height(line), room.left()
            for item, width in self._stretched(line, room.width()):
                item.setGeometry(QRect(left, top, width, height))
                left += width + self._gap()
            top += height + self._gap()

    def _gap(self) -> int:
        return max(0, self.spacing())

    def _seen(self) -> list[QLayoutItem]:
        return [item for item in self._items if item.spacerItem() is not None or not item.isEmpty()]

    def _lines(self, room: int) -> list[Line]:
        lines: list[Line] = [[]]
        left = room
        for item in self._seen():
            least = item.minimumSize().width()
            width = max(least, min(item.sizeHint().width(), room))
            if lines[-1] and width > left:
                lines.append([])
                left = room
            lines[-1].append((item, width))
            left -= width + self._gap()
        return lines

    def _stretched(self, line: Line, room: int) -> Line:
        """A line whose items share what is left of the room."""
        growing = [item for item, _ in line if _expands(item)]
        if not growing:
            return line
        left = room - sum(width for _, width in line) - self._gap() * (len(line) - 1)
        edges = [max(0, left) * part // len(growing) for part in range(len(growing) + 1)]
        more = dict(zip(map(id, growing), (end - begin for begin, end in pairwise(edges)), strict=True))
        return [(item, width + more.get(id(item), 0)) for item, width in line]


def _expands(item: QLayoutItem) -> bool:
    widget = item.widget()
    if widget is not None and widget.sizePolicy().horizontalPolicy() == QSizePolicy.Policy.Ignored:
        return True
    return bool(item.expandingDirections() & Qt.Orientation.Horizontal)


def _height(line: Line) -> int:
    return max(
        (
            item.heightForWidth(width) if item.hasHeightForWidth() else item.sizeHint().height()
            for item, width in line
        ),
        default=0,
    )


def together(*widgets: QWidget) -> QWidget:
    """Widgets that stay beside each other, as a control after what it is called."""
    if isinstance(widgets[0], QLabel):
        widgets[0].setBuddy(widgets[1])
    box = QWidget()
    row = QHBoxLayout(box)
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        row.addWidget(widget)
    grows = any(each.sizePolicy().expandingDirections() & Qt.Orientation.Horizontal for each in widgets)
    policy = QSizePolicy.Policy
    box.setSizePolicy(policy.Expanding if grows else policy.Preferred, policy.Fixed)
    return box
