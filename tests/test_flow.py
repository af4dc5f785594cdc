"""The layout that goes on in the next line: where its widgets are, for any widths."""

import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)

from PySide6.QtCore import QRect
from PySide6.QtWidgets import QApplication, QLabel, QLineEdit, QSizePolicy, QSplitter, QVBoxLayout, QWidget

from gui.application import application
from gui.flow import Flow, together

GAP, HEIGHT = 6, 10


def flow_of(widths, stretch=None):
    """A flow of widgets of these widths, with a stretch before one of them."""
    application()
    box = QWidget()
    flow = Flow(box)
    flow.setSpacing(GAP)
    widgets = []
    for place, width in enumerate(widths):
        if place == stretch:
            flow.add_stretch()
        widget = QWidget()
        widget.setFixedSize(width, HEIGHT)
        flow.addWidget(widget)
        widgets.append(widget)
    return box, flow, widgets


def lines_of(widths, room):
    """How words are broken into lines: the first that does not fit begins the next one."""
    lines, used = [[]], 0
    for width in widths:
        wanted = used + GAP * bool(lines[-1]) + width
        if lines[-1] and wanted > room:
            lines.append([])
            wanted = width
        lines[-1].append(width)
        used = wanted
    return lines


@given(st.lists(st.integers(1, 300), min_size=1, max_size=12), st.integers(300, 900))
def test_it_breaks_lines_as_words_are_broken(widths, room):
    box, flow, widgets = flow_of(widths)
    flow.setGeometry(QRect(0, 0, room, 1000))
    places = [widget.geometry() for widget in widgets]
    expected, top = [], 0
    for line in lines_of(widths, room):
        left = 0
        for width in line:
            expected.append(QRect(left, top, width, HEIGHT))
            left += width + GAP
        top += HEIGHT + GAP
    assert places == expected
    assert flow.heightForWidth(room) == flow.minimumSize().height() == top - GAP
    assert flow.minimumSize().width() == max(widths)
    assert flow.sizeHint().width() == sum(widths) + GAP * (len(widths) - 1)
    box.deleteLater()


@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.integers(400, 900), st.data())
def test_a_stretch_takes_what_is_left(widths, room, data):
    stretch = data.draw(st.integers(1, len(widths) - 1))
    box, flow, widgets = flow_of(widths, stretch)
    flow.setGeometry(QRect(0, 0, room, 1000))
    assert widgets[0].geometry().left() == 0
    assert widgets[-1].geometry().right() == room - 1
    places = [widget.geometry() for widget in widgets]
    gaps = [after.left() - before.right() - 1 for before, after in pairwise(places)]
    assert [gap for place, gap in enumerate(gaps, 1) if place != stretch] == [GAP] * (len(widths) - 2)
    box.deleteLater()


def test_what_is_hidden_takes_no_room():
    box, flow, widgets = flow_of([50, 60, 70])
    widgets[1].hide()
    flow.setGeometry(QRect(0, 0, 130, 100))
    assert widgets[2].geometry() == QRect(56, 0, 70, HEIGHT)
    box.deleteLater()


def test_what_may_expand_does(qtbot):
    box, flow, _ = flow_of([50])
    line, elided = QLineEdit(), QLabel("a text")
    elided.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    pair = together(QLabel("Name"), line)
    flow.addWidget(pair)
    flow.addWidget(elided)
    qtbot.addWidget(box)
    box.resize(900, 60)
    box.show()
    assert elided.geometry().right() == 899
    assert pair.width() > pair.sizeHint().width()
    assert pair.findChild(QLabel).buddy() is line


def test_the_height_of_its_lines_is_kept_where_nobody_asks_for_it(qtbot):
    """In a splitter, which knows nothing of heights for widths."""
    inner, _, widgets = flow_of([100] * 6)
    page, split = QWidget(), QSplitter()
    column = QVBoxLayout(page)
    column.setContentsMargins(0, 0, 0, 0)
    fixed = QWidget()
    fixed.setMinimumHeight(50)
    column.addWidget(fixed, 1)
    column.addWidget(inner)
    split.addWidget(page)
    qtbot.addWidget(split)
    split.resize(650, 10)
    split.show()
    QApplication.processEvents()
    assert page.minimumSizeHint().height() == 50 + HEIGHT + column.spacing()
    split.resize(320, 10)
    qtbot.waitUntil(lambda: page.height() >= 50 + 2 * HEIGHT + GAP)
    QApplication.processEvents()
    boxes = [QRect(each.mapTo(page, each.rect().topLeft()), each.size()) for each in (fixed, *widgets)]
    assert not any(box.intersects(other) for at, box in enumerate(boxes) for other in boxes[at + 1 :])
