"""Bars of words and phones under a picture: in step with it, pixel by pixel."""

import pytest
from observed import HOP, block, folder, link_to_this_process, made
from PySide6.QtGui import QPalette

from gui.application import application
from gui.spans import LONGEST, Spans
from gui.spectrogram import Spectrogram

__all__ = ["block", "folder"]


@pytest.fixture
def bars(qtbot, block):
    """Bars under a picture of 300 columns, a pixel each; the newest column is 600."""
    application()
    picture = Spectrogram(link_to_this_process(), ["out"])
    bars = Spans(picture)
    for widget in (picture, bars):
        qtbot.addWidget(widget)
        widget.show()
    around = picture.size() - picture.picture.size()
    picture.resize(around.width() + 300, around.height() + 100)
    bars.resize(picture.width(), bars.height())
    block.add("out", range(1, 601), made(range(1, 601)))
    picture.refresh()
    bars.refresh()
    bars.picture = picture
    return bars


def filled(bars, row):
    """Which pixels of the picture's width have a bar: of the first line of a row, above what is written."""
    image = bars.grab().toImage()
    colour = bars.palette().color(QPalette.ColorRole.Button)
    left, y = bars.picture.picture.left(), row * bars.height() // 2
    return [x for x in range(300) if image.pixelColor(left + x, y) == colour]


def test_a_bar_lies_below_its_columns(bars):
    bars.take({"phone": [(400 * HOP, "ɪ"), (430 * HOP, ""), (500 * HOP, "t"), (520 * HOP, "")]})
    bars.take({"word": [(390 * HOP, "it"), (545 * HOP, "is")]})
    assert filled(bars, 0) == pytest.approx([*range(100, 129), *range(200, 219)], abs=1)
    words = filled(bars, 1)
    assert (words[0], words[-1]) == (90, 298)  # The last goes on.
    assert 244 not in words


def test_bars_move_with_the_picture(bars, block):
    bars.take({"phone": [(500 * HOP, "ɪ"), (520 * HOP, "")]})
    before = filled(bars, 0)
    block.add("out", range(601, 651), made(range(601, 651)))
    bars.picture.refresh()
    bars.refresh()
    assert filled(bars, 0) == [x - 50 for x in before]


def test_what_is_told_again_is_no_other_and_what_is_old_goes(bars, block):
    phones = [(number * HOP, "t") for number in range(100, 600, 10)]
    bars.take({"phone": phones[:30]})
    bars.take({"phone": phones[20:]})
    assert bars.names("phone") == phones
    bars.take({"word": [(600 * HOP + round(LONGEST * 48_000), "far")]})
    assert bars.names("phone") == phones  # They are shown.
    late = 601 + round(LONGEST * 100)
    block.add("out", [late], made([late]))
    bars.picture.refresh()
    bars.refresh()
    assert bars.names("phone") == []
    bars.take({"phone": phones})
    bars.clear()
    assert bars.names("phone") == []
