"""Rolling pictures, pixel by pixel: against a plain redraw, and sines of known pixel, note and level."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)

from observed import HZ, block, folder, heard, link_to_this_process, made
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QImage, QMouseEvent
from PySide6.QtTest import QTest

from gui.bands import Band, moved, octave
from gui.colours import DIVERGING, LAYERS, MAPS, NO_DATA
from gui.roll import Roll
from gui.rulers import frequency_at, frequency_labels, height_of, hertz, note, time_labels
from gui.spectrogram import DIFFERENCE, LONGEST, RANGE, STRIP, VALUES, Spectrogram
from rtaudio.observation import COLUMNS, FLOOR, LEVELS, METERED, PEAK, ROWS, decibels, frequencies

__all__ = ["block", "folder"]


@pytest.fixture
def show(qtbot):
    """Shows a picture of a size in pixels."""

    def shown(link, views=("in",), mode="one", width=300, height=200, seconds=0, **options):
        widget = Spectrogram(link, views, mode, **options)
        qtbot.addWidget(widget)
        widget.set_seconds(seconds)
        widget.show()
        resize(widget, width, height)
        return widget

    return shown


def resize(widget, width, height):
    around = widget.size() - widget.picture.size()
    widget.resize(around.width() + width, around.height() + height)
    assert (widget.picture.width(), widget.picture.height()) == (width, height)


def drawn(widget):
    """The picture as it is on the screen: uint32[height, width]."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    pixels = np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), -1)[:, : image.width()]
    ratio = image.devicePixelRatio()
    room = widget.picture
    left, top = round(room.left() * ratio), round(room.top() * ratio)
    return pixels[top : top + round(room.height() * ratio), left : left + round(room.width() * ratio)].copy()


def plainly(columns, edge, width, height, seen, colour):
    """A picture pixel by pixel: of columns by number, with one at the right edge, so many of them seen."""
    newest = max(edge * width // seen, (edge + 1) * width // seen - 1)
    wanted = np.full((height, width), NO_DATA, np.uint32)
    for x in range(width):
        pixel = newest - (width - 1) + x
        on_it = [
            number
            for number in range(pixel * seen // width - 1, (pixel + 1) * seen // width + 2)
            if number * width // seen == pixel
            or number * width // seen < pixel < (number + 1) * width // seen
        ]
        there = [columns[number] for number in on_it if number in columns and number <= edge]
        if not there:
            continue
        loudest = np.max(there, axis=0)
        for y in range(height):
            up = height - 1 - y
            rows = list(range(up * ROWS // height, (up + 1) * ROWS // height))
            wanted[y, x] = colour(loudest[rows or [up * ROWS // height]].max())
    return wanted


def viridis(level):
    share = (decibels(np.uint8(level)) - RANGE[0]) / (RANGE[1] - RANGE[0])
    return MAPS["viridis"][int(np.rint(255 * np.clip(share, 0, 1)))]


# Where columns lie


def test_a_column_is_a_pixel_and_the_newest_is_at_the_right_edge(show, block):
    widget = show(link_to_this_process(), width=200, height=ROWS)
    block.add("in", range(1, 51), made(range(1, 51)))
    widget.refresh()
    pixels = drawn(widget)
    assert (pixels[:, :150] == NO_DATA).all()
    for number in (1, 2, 49, 50):
        wanted = [viridis(level) for level in made([number])[0][::-1]]
        np.testing.assert_array_equal(pixels[:, 149 + number], wanted)


SIZES = st.tuples(st.integers(20, 90), st.sampled_from([30, 57, 100, 512, 600]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("columns"), st.integers(1, 12)),
        st.tuples(st.just("columns"), st.integers(1, 400)),
        st.tuples(st.just("gap"), st.integers(1, 150)),
        st.tuples(st.just("size"), SIZES),
        st.tuples(st.just("seconds"), st.sampled_from([0.0, 0.2, 0.33, 1.0, 2.5])),
        st.tuples(st.just("freeze"), st.booleans()),
        st.tuples(st.just("hide"), st.just(0)),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=SIZES, steps=STEPS, start=st.integers(0, 2 * COLUMNS))
def test_what_was_written_piece_by_piece_is_what_is_drawn_at_once(show, block, size, steps, start):
    block.views["in"]["numbers"][:] = 0
    block.views["in"]["newest"] = 0
    widget = show(link_to_this_process(), width=size[0], height=size[1])
    columns, newest, edge, seconds, seen = {}, start, 0, 0.0, {}
    for what, amount in steps:
        if what == "columns":
            numbers = range(newest + 1, newest + amount + 1)
            block.add("in", numbers, made(numbers))
            columns |= dict(zip(numbers, made(numbers), strict=True))
            newest += amount
        elif what == "gap":
            newest += amount
        elif what == "size":
            size = amount
            resize(widget, *size)
        elif what == "seconds":
            seconds = amount
            widget.set_seconds(seconds)
        elif what == "freeze":
            widget.freeze(amount)
        else:
            widget.hide()
            widget.refresh()
            widget.show()
        widget.refresh()
        if not widget.frozen:
            edge = max(columns, default=0)
        count = round(100 * seconds) if seconds else size[0]
        seen = {number: columns[number] for number in range(edge - count - 20, edge + 1) if number in columns}
        pixels = drawn(widget)
        wanted = plainly(seen, edge, *size, max(16, count), viridis)
        np.testing.assert_array_equal(pixels, wanted if edge else NO_DATA)
    widget.close()
    widget.deleteLater()


@given(width=st.integers(1, 400), seen=st.integers(1, 400), column=st.integers(0, 10**9))
def test_columns_lie_on_adjacent_pixels_without_gap_or_overlap(width, seen, column):
    roll = Roll(width, 20, seen)
    last = roll.last_pixel(column)
    assert roll.first_column(last) <= column <= roll.last_column(last)
    following = roll.last_pixel(column + 1)
    assert following in (last, last + 1) if width <= seen else following > last
    assert roll.last_column(last - 1) + 1 in (roll.first_column(last), roll.last_column(last) + 1)


def test_history_is_there_when_it_becomes_visible_and_after_a_resize(show, block):
    numbers = range(1, 2001)
    block.add("in", numbers, made(numbers))
    widget = show(link_to_this_process(), width=64, height=ROWS)
    widget.refresh()
    resize(widget, 640, ROWS)
    pixels = drawn(widget)
    wanted = MAPS["viridis"][
        [
            int(np.rint(255 * np.clip((each - RANGE[0]) / (RANGE[1] - RANGE[0]), 0, 1)))
            for each in decibels(np.arange(256, dtype=np.uint8))
        ]
    ][made(range(1361, 2001))]
    np.testing.assert_array_equal(pixels, wanted[:, ::-1].T)


def test_only_as_much_is_shown_as_the_host_keeps(show, block):
    widget = show(link_to_this_process(), width=200, seconds=30)
    block.add("in", [1], made([1]))
    widget.refresh()
    widget.set_seconds(100)
    widget.set_seconds(0)
    assert LONGEST < COLUMNS


def test_a_screen_of_twice_the_pixels_shows_a_column_on_two_of_them():
    script = """
        import numpy as np, sys
        sys.path.insert(0, "tests")
        from PySide6.QtWidgets import QApplication
        application = QApplication([])
        import test_spectrogram_widget as t
        from observed import Block, link_to_this_process, made
        block = Block()
        widget = t.Spectrogram(link_to_this_process(), ["in"])
        widget.show()
        t.resize(widget, 200, 300)
        for first in (1, 40, 41, 150):
            numbers = range(first, first + 37)
            block.add("in", numbers, made(numbers))
            widget.refresh()
        pixels = t.drawn(widget)
        assert pixels.shape == (600, 400), pixels.shape
        assert (pixels[:, 0::2] == pixels[:, 1::2]).all()
        columns = dict(zip(range(150, 187), made(range(150, 187)), strict=True))
        rows = np.arange(600)[::-1] * 512 // 600
        for number in range(150, 187):
            wanted = [t.viridis(level) for level in columns[number][rows]]
            assert (pixels[:, 399 - 2 * (186 - number)] == wanted).all()
        assert (pixels[:, : 400 - 2 * 37] != t.NO_DATA).any()
        block.counters.close()
        print("exact at", widget.devicePixelRatioF())
    """
    environment = os.environ | {"QT_SCALE_FACTOR": "2", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "exact at 2.0", done.stderr


# Colours


def test_nothing_known_is_in_no_map(show, block):
    shades = np.concatenate([*MAPS.values(), DIVERGING]).view(np.uint8).reshape(-1, 4)[:, :3].astype(int)
    nothing = np.array([NO_DATA]).view(np.uint8)[:3].astype(int)
    assert np.abs(shades - nothing).sum(axis=1).min() > 25
    assert all(len(table) == 256 and (table >> 24 == 255).all() for table in MAPS.values())


def test_maps_are_those_that_their_authors_have_published():
    colormap = pytest.importorskip("pyqtgraph").colormap
    for name, table in MAPS.items():
        published = colormap.get(name).getLookupTable(nPts=256).astype(int)
        own = np.stack([table >> 16 & 255, table >> 8 & 255, table & 255], axis=1).astype(int)
        assert np.abs(own - published).max() <= 1


@pytest.mark.parametrize("name", list(MAPS))
def test_silence_is_the_lowest_colour_and_full_scale_the_highest(show, block, name):
    widget = show(link_to_this_process(), width=100, height=80)
    widget.set_map(name)
    block.add("in", range(1, 101), np.repeat([[0], [255]], 50, axis=0) * np.ones(ROWS, np.uint8))
    widget.refresh()
    pixels = drawn(widget)
    assert (pixels[:, :50] == MAPS[name][0]).all()
    assert (pixels[:, 50:] == MAPS[name][255]).all()


def test_the_range_says_which_levels_are_the_ends_of_the_map(show, block):
    widget = show(link_to_this_process(), width=256, height=80)
    block.add("in", range(1, 257), np.arange(256, dtype=np.uint8)[:, None] * np.ones(ROWS, np.uint8))
    widget.refresh()
    widget.set_range(-60, -40)
    pixels = drawn(widget)[0]
    levels = decibels(np.arange(256, dtype=np.uint8))
    assert (pixels[levels <= -60] == MAPS["viridis"][0]).all()
    assert (pixels[levels >= -40] == MAPS["viridis"][255]).all()
    between = [
        int(np.flatnonzero(MAPS["viridis"] == each)[0]) for each in pixels[(levels > -60) & (levels < -40)]
    ]
    wanted = 255 * (levels[(levels > -60) & (levels < -40)] + 60) / 20
    np.testing.assert_allclose(between, wanted, atol=0.5001)
    for low, high in ((-40, -60), (-40, -40), (-130, 0)):
        with pytest.raises(ValueError, match="dB"):
            widget.set_range(low, high)


def test_equal_views_have_no_difference_and_others_theirs(show, block):
    widget = show(link_to_this_process(), ("in", "out"), "difference", width=60, height=60)
    levels = np.full((60, ROWS), 150, np.uint8)
    block.add("in", range(1, 61), levels)
    levels[20:40] = 120  # 14 dB less
    levels[40:] = 170
    block.add("out", range(1, 61), levels)
    widget.refresh()
    pixels = drawn(widget)
    assert (pixels[:, :20] == DIVERGING[128]).all()
    step = -FLOOR / 255
    assert (pixels[:, 20:40] == DIVERGING[128 + round(30 * step * 127 / DIFFERENCE)]).all()
    assert (pixels[:, 40:] == DIVERGING[128 - round(20 * step * 127 / DIFFERENCE)]).all()
    assert int(DIVERGING[255]) >> 16 & 255 > int(DIVERGING[255]) & 255  # More is orange.
    assert int(DIVERGING[1]) >> 16 & 255 < int(DIVERGING[1]) & 255


def test_a_difference_below_the_range_is_none(show, block):
    widget = show(link_to_this_process(), ("in", "out"), "difference", width=60, height=60)
    widget.set_range(-60, 0)
    block.add("in", range(1, 61), np.full((60, ROWS), 100, np.uint8))  # -73 dB
    block.add("out", range(1, 61), np.zeros((60, ROWS), np.uint8))
    widget.refresh()
    assert (drawn(widget) == DIVERGING[128]).all()


def test_views_in_one_picture_have_a_colour_each_that_add_up(show, block):
    widget = show(link_to_this_process(), ("in", "out"), "overlay", width=60, height=60)
    loud, silent = np.full((20, ROWS), 255, np.uint8), np.zeros((20, ROWS), np.uint8)
    block.add("in", range(1, 61), np.concatenate([loud, silent, loud]))
    block.add("out", range(1, 61), np.concatenate([silent, loud, loud]))
    widget.refresh()
    pixels = drawn(widget)[0]
    told = [[int(each) >> shift & 255 for shift in (16, 8, 0)] for each in pixels[[0, 20, 40]]]
    assert told == [[*LAYERS[0]], [*LAYERS[1]], [*np.minimum(LAYERS[0] + LAYERS[1], 255)]]
    assert LAYERS[0][2] > LAYERS[0][0]  # The first is blue,
    assert LAYERS[1][0] > LAYERS[1][2]  # the second orange.


def test_what_only_one_of_two_views_has_is_not_known(show, block):
    widget = show(link_to_this_process(), ("in", "out"), "difference", width=60, height=60)
    block.add("in", range(1, 61), made(range(1, 61)))
    block.add("out", [*range(1, 21), *range(31, 51)], made([*range(1, 21), *range(31, 51)]))
    widget.refresh()
    pixels = drawn(widget)
    assert (pixels[:, 60 - 50 : 60 - 30] == DIVERGING[128]).all()
    assert (pixels[:, 60 - 30 : 60 - 20] == NO_DATA).all()
    assert (pixels[:, 60 - 20 :] == DIVERGING[128]).all()
    block.add("out", range(51, 61), made(range(51, 61)))
    widget.refresh()
    pixels = drawn(widget)
    assert (pixels[:, 60 - 40 : 60 - 30] == NO_DATA).all()
    assert (pixels[:, 60 - 30 :] == DIVERGING[128]).all()


def test_pictures_that_keep_step_end_at_the_same_column(show, block):
    link = link_to_this_process()
    ahead, behind = show(link, ["in"], width=60, height=60), show(link, ["out"], width=60, height=60)
    block.add("in", range(1, 6), made(range(1, 6)))
    for end in range(1, 80, 7):
        block.add("in", range(end + 5, end + 12), made(range(end + 5, end + 12)))
        block.add("out", range(end, end + 7), made(range(end, end + 7)))
        for widget in (ahead, behind):
            widget.refresh(end + 6)
        np.testing.assert_array_equal(drawn(ahead), drawn(behind))


def test_the_edge_goes_back_where_one_that_is_later_is_to_be_kept_step_with(show, block):
    widget = show(link_to_this_process(), width=60, height=40)
    columns = dict(zip(range(1, 101), made(range(1, 101)), strict=True))
    block.add("in", range(1, 101), made(range(1, 101)))
    for end in (100, 93, 96):
        widget.refresh(end)
        np.testing.assert_array_equal(drawn(widget), plainly(columns, end, 60, 40, 60, viridis))


# Sound


def sine(frequency, amplitude, seconds=0.4):
    at = np.arange(round(seconds * HZ)) / HZ
    return (amplitude * np.sin(2 * np.pi * frequency * at))[:, None].astype(np.float32)


@pytest.mark.parametrize(("frequency", "amplitude"), [(1242.1875, 0.1), (445.3125, 0.5), (9000.0, 0.02)])
@pytest.mark.parametrize("height", [170, 512, 700])
def test_a_sine_is_the_brightest_pixel_and_read_by_its_name(show, folder, frequency, amplitude, height):
    kept = heard("gain", sine(frequency, amplitude))
    widget = show(link_to_this_process(), ["out"], width=60, height=height)
    widget.refresh()
    column = drawn(widget)[:, -1]
    brightest = [int(np.flatnonzero(MAPS["viridis"] == each)[0]) for each in column]
    lowest, highest = frequencies(HZ)[[0, -1]]
    share = (511 * np.log(frequency / lowest) / np.log(highest / lowest) + 0.5) / ROWS
    wanted = height * (1 - share)
    loudest = np.flatnonzero(np.array(brightest) == max(brightest))
    assert np.abs(loudest + 0.5 - wanted).min() <= max(1.0, height / ROWS)
    assert np.ptp(loudest) <= 3 * max(1.0, height / ROWS) + 25 * 1000 / frequency
    told = []
    widget.hovered.connect(told.append)
    at = QPoint(widget.picture.right(), widget.picture.top() + int(wanted))
    QTest.mouseMove(widget, at)
    hz, name, level, ago = told[-1].split("  ")
    value, unit = hz.split()
    assert float(value) * {"Hz": 1, "kHz": 1000}[unit] == pytest.approx(frequency, rel=0.02)
    assert level.endswith(" dB")
    assert float(level.split()[0]) == pytest.approx(20 * np.log10(amplitude), abs=1.0)
    assert ago == "0.0 s ago"
    letter, cents, ct = name.split()
    nearest = 69 + 12 * np.log2(frequency / 440)
    assert letter == note(440 * 2 ** ((round(nearest) - 69) / 12)).split()[0]
    assert abs(int(cents) / 100 - (nearest - round(nearest))) < 0.3
    assert ct == "ct"
    kept.counters.close()


def test_silence_is_not_what_nothing_known_is(show, folder):
    kept = heard("gain", np.zeros((round(0.3 * HZ), 1), np.float32))
    widget = show(link_to_this_process(), ["out"], width=60, height=80)
    widget.refresh()
    pixels = drawn(widget)
    assert (pixels[:, -25:] == MAPS["viridis"][0]).all()
    assert (pixels[:, :20] == NO_DATA).all()
    kept.counters.close()


# The cursor


def test_the_cursor_tells_how_long_ago_and_every_level(show, block):
    widget = show(link_to_this_process(), ("in", "out"), "difference", width=200, height=ROWS)
    levels = np.zeros((200, ROWS), np.uint8)
    levels[49], levels[50] = 170, 255
    block.add("in", range(1, 201), levels)
    block.add("out", range(1, 201), levels // 2)
    widget.refresh()
    told = []
    widget.hovered.connect(told.append)
    corner = widget.picture.topLeft()
    QTest.mouseMove(widget, corner + QPoint(49, 100))
    assert told[-1].endswith("in -40 dB  out -80 dB  difference +40 dB  1.5 s ago")
    QTest.mouseMove(widget, corner + QPoint(48, 100))
    assert told[-1].endswith("in below -120 dB  out below -120 dB  difference +0 dB  1.5 s ago")
    QTest.mouseMove(widget, QPoint(1, 1))
    assert told[-1] == ""


def test_a_frozen_picture_is_read_on_when_the_host_has_gone(show, block):
    link = link_to_this_process()
    widget = show(link, width=100, height=ROWS)
    block.add("in", range(1, 101), np.full((100, ROWS), 170, np.uint8))
    widget.refresh()
    before = drawn(widget)
    widget.freeze(True)
    for first in range(101, 5001, 700):
        numbers = range(first, first + 700)
        block.add("in", numbers, made(numbers))
        widget.refresh()
    np.testing.assert_array_equal(drawn(widget), before)
    link.observation = None
    resize(widget, 90, ROWS)
    np.testing.assert_array_equal(drawn(widget), before[:, 10:])
    QTest.mouseMove(widget, widget.picture.topLeft() + QPoint(49, 200))
    assert " -40 dB  0.4 s ago" in widget.reading()


def test_arrows_move_the_cursor_and_escape_takes_it_away(show, block, qtbot):
    widget = show(link_to_this_process(), width=200, height=ROWS)
    block.add("in", range(1, 201), made(range(1, 201)))
    widget.refresh()
    told = []
    widget.hovered.connect(told.append)
    for key, modifier in (
        (Qt.Key.Key_Left, Qt.KeyboardModifier.ShiftModifier),
        (Qt.Key.Key_Down, Qt.NoModifier),
    ):
        qtbot.keyClick(widget, key, modifier)
    level = decibels(made([190])[0, ROWS - 1 - (ROWS // 2 + 1)])
    assert f"  {level:.0f} dB  0.1 s ago" in told[-1]
    assert (drawn(widget)[:, 189] != drawn(widget)[:, 188]).all()
    qtbot.keyClick(widget, Qt.Key.Key_Escape)
    assert told[-1] == ""


# What is said


def test_a_view_that_is_gone_is_told_and_goes_on_when_it_is_there_again(show, block):
    link = link_to_this_process()
    widget = show(link, ["out"], width=300, height=120)
    block.add("out", range(1, 51), made(range(1, 51)))
    widget.refresh()
    before = drawn(widget)
    block.drop("out")
    widget.refresh()
    assert "no view 'out'" in widget.absent
    assert (drawn(widget) != before).any()
    block.show("out")
    block.add("out", range(81, 101), made(range(81, 101)))
    widget.refresh()
    assert widget.absent == ""
    pixels = drawn(widget)
    np.testing.assert_array_equal(pixels[:, 200:250], before[:, 250:])
    assert (pixels[:, 250:280] == NO_DATA).all()
    assert (pixels[:, 280:] != NO_DATA).any()
    link.observation = None
    widget.refresh()
    assert widget.absent == "no host runs"


def test_another_host_begins_another_picture(show, block):
    link = link_to_this_process()
    widget = show(link, width=60, height=60)
    block.add("in", range(1, 61), made(range(1, 61)))
    widget.refresh()
    block.views["in"]["numbers"][:] = 0
    block.add("in", range(1, 11), made(range(1, 11)))
    link.observation = link_to_this_process().observation
    widget.refresh()
    pixels = drawn(widget)
    assert (pixels[:, :50] == NO_DATA).all()
    assert (pixels[:, 50:] != NO_DATA).any()


def test_views_are_as_many_as_the_mode_shows(show, block):
    for mode, views in (("one", ()), ("difference", ("in",)), ("overlay", ("in",) * 5)):
        with pytest.raises(ValueError, match=mode):
            Spectrogram(link_to_this_process(), views, mode)


def test_it_has_a_name_and_the_focus_by_tab(show, block, qtbot):
    widget = show(link_to_this_process(), ("in", "out"), "difference", title="Removed")
    assert widget.accessibleName() == "Spectrogram: Removed"
    assert widget.accessibleDescription()
    assert widget.focusPolicy() & Qt.FocusPolicy.TabFocus
    widget.set_views(("out", "in"), "Added")
    assert widget.accessibleName() == "Spectrogram: Added"


def test_a_heading_that_does_not_fit_is_told_whole(show, block):
    title = "a stem of a rack with a long name that somebody chose"
    widget = show(link_to_this_process(), width=800, title=title)
    drawn(widget)
    assert widget.toolTip() == ""
    resize(widget, 150, 100)
    drawn(widget)
    assert widget.toolTip() == title


# Bands and strips


def test_what_lies_outside_of_a_band_is_dim_and_its_edges_are_marked(show, block):
    widget = show(link_to_this_process(), width=300, height=400)
    block.add("in", range(1, 301), np.full((300, ROWS), 200, np.uint8))
    widget.refresh()
    before = drawn(widget)
    widget.set_band(Band(200.0, 2000.0))
    after = drawn(widget)[:, 250:]  # Right of what is written.
    bottom, top = (round(400 * (1 - height_of(hz, HZ))) for hz in (200.0, 2000.0))
    np.testing.assert_array_equal(after[top + 2 : bottom - 1], before[top + 2 : bottom - 1, 250:])
    assert (after[: top - 1] < before[: top - 1, 250:]).all()
    assert (after[bottom + 2 :] < before[bottom + 2 :, 250:]).all()
    for edge in (top, bottom):
        assert (after[edge - 1 : edge + 2] & 0xFF).max() > 220
    widget.set_band(None)
    np.testing.assert_array_equal(drawn(widget), before)


def test_bands_are_swept_by_the_mouse_where_they_are_taken(show, block):
    widget = show(link_to_this_process(), width=300, height=400)
    block.add("in", range(1, 301), made(range(1, 301)))
    widget.refresh()
    swept, cleared = [], []
    widget.swept.connect(swept.append)
    widget.cleared.connect(lambda: cleared.append(widget.octave()))
    room = widget.picture

    def drag(*heights):
        places = [QPoint(room.left() + 100, room.top() + height) for height in heights]
        QTest.mousePress(widget, Qt.MouseButton.LeftButton, pos=places[0])
        for place in places[1:]:
            QTest.mouseMove(widget, place)
        QTest.mouseRelease(widget, Qt.MouseButton.LeftButton, pos=places[-1])

    drag(100, 200)
    QTest.keyClick(widget, Qt.Key.Key_S)
    assert not swept
    widget.take_bands()
    drag(100, 102)
    assert not swept
    drag(200, 150, 250, 1000)
    at = [frequency_at(1 - (y + 0.5) / 400, HZ) for y in (200, 150, 250)]
    assert swept[-3:-1] == [pytest.approx((at[0], at[1])), pytest.approx((at[2], at[0]))]
    assert swept[-1] == pytest.approx((20.0, at[0]))  # Below the picture is its end.
    assert not cleared
    widget.set_band(swept[-1])
    drag(100, 101)
    assert len(cleared) == 1


def test_arrows_read_on_where_there_is_no_band(show, block):
    widget = show(link_to_this_process(), width=300, height=400)
    widget.take_bands()
    block.add("in", range(1, 301), made(range(1, 301)))
    widget.refresh()
    swept, told = [], []
    widget.swept.connect(swept.append)
    widget.hovered.connect(told.append)
    QTest.keyClick(widget, Qt.Key.Key_Up)
    QTest.keyClick(widget, Qt.Key.Key_Up, Qt.KeyboardModifier.ShiftModifier)
    assert len(told) == 2
    assert not swept
    QTest.keyClick(widget, Qt.Key.Key_S)
    assert swept == [octave(frequency_at(1 - (200 - 11 + 0.5) / 400, HZ))]
    widget.set_band(swept[0])
    QTest.keyClick(widget, Qt.Key.Key_Left)
    assert len(told) == 3
    QTest.keyClick(widget, Qt.Key.Key_Down)
    assert swept[1:] == [moved(swept[0], -1)]
    assert len(told) == 3


@pytest.mark.parametrize(("width", "seconds"), [(200, 0), (200, 5), (200, 0.7)])
def test_a_strip_shows_the_greatest_value_on_every_pixel(show, block, width, seconds):
    block.show("voice", 1, control=1)
    widget = show(link_to_this_process(), width=width, height=100, seconds=seconds)
    plain = show(link_to_this_process(), width=width, height=100, seconds=seconds)
    widget.set_strip("voice")
    values = np.random.default_rng(1).random(600).astype(np.float32)
    levels = np.zeros((600, METERED, LEVELS), np.float32)
    levels[:, 0, PEAK] = values
    for begin, end in ((1, 150), (150, 151), (151, 400), (420, 600)):  # Some are left out.
        numbers = range(begin, end)
        block.add("in", numbers, made(numbers))
        block.add("voice", numbers, levels=levels[begin:end])
        widget.refresh()
        plain.refresh()
    shown, without = drawn(widget), drawn(plain)
    np.testing.assert_array_equal(shown[: 100 - STRIP - 1], without[: 100 - STRIP - 1])
    roll, last = widget._roll, 599
    newest = roll.last_pixel(last)
    for x in range(width):
        pixel = newest - (width - 1 - x)
        on_it = range(max(1, roll.first_column(pixel)), min(last, roll.last_column(pixel)) + 1)
        there = [values[number] for number in on_it if not 400 <= number < 420]
        wanted = VALUES[round(255 * float(max(there)))] if there else NO_DATA
        assert (shown[100 - STRIP :, x] == wanted).all(), x
        assert shown[100 - STRIP - 1, x] == (VALUES[0] if there else NO_DATA)
    widget.freeze(True)
    block.drop("voice")
    resize(widget, width, 120)
    np.testing.assert_array_equal(drawn(widget)[120 - STRIP :], shown[100 - STRIP :])
    widget.freeze(False)
    widget.refresh()
    assert widget.absent == ""
    assert (drawn(widget)[-STRIP:] == NO_DATA).all()


def test_a_frozen_picture_stays_where_another_strip_is_shown(show, block):
    """Though the host has none of its columns any more."""
    block.show("voice", 1, control=1)
    widget = show(link_to_this_process(), width=200, height=100)
    block.add("in", range(1, 301), made(range(1, 301)))
    widget.refresh()
    widget.freeze(True)
    before = drawn(widget)
    late = range(301, 301 + COLUMNS)
    block.add("in", late, made(late))
    widget.set_strip("voice")
    np.testing.assert_array_equal(drawn(widget)[: 100 - STRIP - 1], before[: 100 - STRIP - 1])


def test_a_button_that_was_let_go_elsewhere_sweeps_no_band(show, block):
    widget = show(link_to_this_process(), width=300, height=400)
    widget.take_bands()
    block.add("in", range(1, 301), made(range(1, 301)))
    widget.refresh()
    swept, room = [], widget.picture
    widget.swept.connect(swept.append)
    QTest.mousePress(widget, Qt.MouseButton.LeftButton, pos=QPoint(room.left() + 100, room.top() + 100))
    for down in (150, 200):
        at = QPointF(room.left() + 100, room.top() + down)
        none = Qt.MouseButton.NoButton
        move = QMouseEvent(QEvent.Type.MouseMove, at, at, none, none, Qt.KeyboardModifier.NoModifier)
        widget.mouseMoveEvent(move)
    assert not swept


# Rulers


@pytest.mark.parametrize(
    ("frequency", "told"),
    [
        (440, "A4 +0 ct"),
        (261.6256, "C4 +0 ct"),
        (1240, "D#6 -6 ct"),
        (27.5, "A0 +0 ct"),
        (452.893, "A#4 -50 ct"),
    ],
)
def test_notes(frequency, told):
    assert note(frequency) == told or (told.endswith("-50 ct") and note(frequency) == "A4 +50 ct")


def test_frequencies_have_three_digits():
    assert [hertz(each) for each in (20, 440.4, 999.4, 999.6, 1242, 12_345)] == [
        "20 Hz",
        "440 Hz",
        "999 Hz",
        "1 kHz",
        "1.24 kHz",
        "12.3 kHz",
    ]


@pytest.mark.parametrize("height", [80, 150, 300, 900])
@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
def test_labels_have_room_and_lie_where_their_row_is(height, rate):
    labels = frequency_labels(rate, height, 14)
    places = sorted(down for _, down in labels)
    assert len(labels) >= min(7, height // 30)
    assert np.diff(places).min() >= 14
    rows = frequencies(rate)
    for hz, down in labels:
        row = np.abs(np.log(rows / hz)).argmin()
        assert abs(down - height * (1 - (row + 0.5) / ROWS)) <= height / ROWS
    if height >= 300 and rate > 40_000:
        assert {50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000} <= {hz for hz, _ in labels}


def test_labels_of_time_have_room():
    for width, second in ((1000, 100), (1000, 33.3), (300, 60), (600, 20)):
        labels = time_labels(width, second)
        assert labels[0] == (0.0, "0 s")
        assert len(labels) >= 3
        assert np.diff([ago * second for ago, _ in labels]).min() >= 50
        assert labels[-1][0] * second <= width
