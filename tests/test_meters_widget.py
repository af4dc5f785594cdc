"""Meters and the histogram of a window: levels of known sound, what is held, what latches, what is told."""

import os

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given
from hypothesis import strategies as st

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)

from observed import HZ, Block, block, folder, heard, link_to_this_process
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage, QPalette
from PySide6.QtWidgets import QApplication

from gui.meters import BARS, FALL, HOLD, OCTAVES, OCTAVES_BELOW, Deadlines, Meters, place_of, pooled, share
from rtaudio.counters import BLOCK, PERIOD, TIMES, bin_ns
from rtaudio.observation import LEVELS, METERED, PEAK, SQUARE, TRUE_PEAK, WEIGHTED

__all__ = ["block", "folder"]


@pytest.fixture
def show(qtbot):
    """Shows a widget."""

    def shown(widget, width=260, height=500):
        qtbot.addWidget(widget)
        widget.resize(width, height)
        widget.show()
        if isinstance(widget, Meters):
            widget.refresh()
        QApplication.processEvents()  # Lays out.
        return widget

    return shown


def levels(peaks, rms=0.0):
    """Levels of columns with these peaks: float32[n, METERED, LEVELS]."""
    made = np.zeros((len(peaks), METERED, LEVELS), np.float32)
    made[..., PEAK] = made[..., TRUE_PEAK] = np.asarray(peaks, np.float32).reshape(len(peaks), -1)
    made[..., SQUARE] = made[..., WEIGHTED] = rms**2
    return made


def bar(meter, colour):
    """Pixels of a colour in the middle line of the first channel's bar."""
    image = meter.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    wanted = meter.palette().color(colour).rgb()
    room = meter.bars
    y = room.top() + 3
    return [x - room.left() for x in range(room.left(), room.right() + 1) if image.pixel(x, y) == wanted]


def test_a_sine_has_its_levels_and_loudness(show, folder):
    at = np.arange(HZ) / HZ
    source = (0.25 * np.sin(2 * np.pi * 997 * at))[:, None].astype(np.float32)
    kept = heard("gain(gain=-6)", source)
    meters = show(Meters(link_to_this_process()))
    meters.refresh()
    assert list(meters.meters) == ["in", "out"]
    for view, gain in (("in", 0.0), ("out", -6.0)):
        meter = meters.meters[view]
        _, peak, _, rms, _, loudness, _ = meter.text.split()
        assert float(peak) == pytest.approx(20 * np.log10(0.25) + gain, abs=0.1)
        assert float(rms) == pytest.approx(20 * np.log10(0.25) - 3.01 + gain, abs=0.1)
        wanted = pyloudnorm.Meter(HZ).integrated_loudness(source[:, 0].astype(float)) + gain
        assert float(loudness) == pytest.approx(wanted, abs=0.2)
        width = meter.bars.width()
        filled = bar(meter, QPalette.ColorRole.Highlight)
        assert len(filled) == pytest.approx(width * (1 + float(rms) / 60), abs=1.5)
    kept.counters.close()


def test_the_highest_peak_is_held_and_falls_then(show, block):
    meters = show(Meters(link_to_this_process()))
    block.add("in", range(1, 11), levels=levels([0.5] * 10))
    meters.refresh()
    meter = meters.meters["in"]
    held, hold = [], round(100 * HOLD)
    for number in range(11, 11 + 2 * hold):
        block.add("in", [number], levels=levels([0.01]))
        meters.refresh()
        held.append(float(meter.held[0]))
    top = 20 * np.log10(0.5)
    assert held[:hold] == pytest.approx([top] * hold)
    for after in (10, 50, 100):
        assert held[hold + after - 1] == pytest.approx(top - FALL * after / 100, abs=0.3)
    assert min(held) >= -40.001
    block.add("in", [3000], levels=levels([0.1]))
    meters.refresh()
    assert meter.held[0] == pytest.approx(-20.0, abs=1e-4)
    assert bar(meter, QPalette.ColorRole.WindowText)[-1] == pytest.approx(meter.bars.width() * 2 / 3, abs=2)


def test_a_peak_between_two_pictures_is_not_lost(show, block):
    meters = show(Meters(link_to_this_process()))
    block.add("in", [1], levels=levels([0.001]))
    meters.refresh()
    block.add("in", range(2, 9), levels=levels([0.001, 0.001, 0.7, 0.001, 0.001, 0.001, 0.001]))
    meters.refresh()
    assert meters.meters["in"].held[0] == pytest.approx(20 * np.log10(0.7))


@pytest.mark.parametrize("how", ["full scale", "counted"])
def test_clipping_latches_until_it_is_reset(show, block, qtbot, how):
    meters = show(Meters(link_to_this_process()))
    block.add("in", [1], levels=levels([0.999]))
    block.add("out", [1], levels=levels([0.999]))
    meters.refresh()
    meter = meters.meters["in"]
    assert not meter.clipped
    before = meter.grab().toImage()
    if how == "full scale":
        block.add("in", [2], levels=levels([1.0]))
    else:  # Longer ago than columns are kept.
        block.views["in"]["clipped"][1] = 3
        block.add("in", [9000], levels=levels([0.1]))
    meters.refresh()
    for number in range(9001, 9400, 50):
        block.add("in", [number], levels=levels([0.0]))
        meters.refresh()
    assert meter.clipped
    assert meter.accessibleDescription().endswith(", clipped")
    assert not meters.meters["out"].clipped
    chip = meter.grab().toImage()
    colour = meter.palette().color(QPalette.ColorRole.BrightText).rgb()
    assert any(chip.pixel(x, 6) == colour != before.pixel(x, 6) for x in range(meter.width()))
    if how == "counted":
        qtbot.mouseClick(meter, Qt.MouseButton.LeftButton)
    else:
        qtbot.keyClick(meter, Qt.Key.Key_Return)
    assert not meter.clipped
    block.add("in", [9500], levels=levels([0.5]))
    meters.refresh()
    assert not meter.clipped
    assert "clipped" not in meter.accessibleDescription()
    assert meter.held[0] == pytest.approx(20 * np.log10(0.5))


def test_silence_is_told_and_empty(show, block):
    meters = show(Meters(link_to_this_process()))
    block.add("in", [1], levels=levels([0.0]))
    meters.refresh()
    meter = meters.meters["in"]
    assert meter.text == "peak -∞  RMS -∞ dBFS  -∞ LUFS"
    assert bar(meter, QPalette.ColorRole.Highlight) == []
    assert [share(each) for each in (-np.inf, -60, -30, 0, 6)] == [0, 0, 0.5, 1, 1]


def test_views_come_and_go_with_edits_and_hosts(show, block):
    link = link_to_this_process()
    meters = show(Meters(link))
    meters.refresh()
    first = meters.meters["in"]
    block.show("remix/harmonic", 1)
    meters.refresh()
    assert list(meters.meters) == ["in", "out", "remix/harmonic"]
    assert [meter.channels for meter in meters.meters.values()] == [2, 2, 1]
    assert meters.meters["in"] is first
    block.drop("out")
    meters.refresh()
    assert list(meters.meters) == ["in", "remix/harmonic"]
    assert not meters.nothing.isVisible()
    link.observation = None
    meters.refresh()
    assert list(meters.meters) == []
    assert meters.nothing.isVisible()
    assert meters.nothing.text() == "no host"
    block.counters.close()
    other = Block(["in"], channels=1)
    link.observation = link_to_this_process().observation
    meters.refresh()
    assert [meter.channels for meter in meters.meters.values()] == [1]
    assert meters.meters["in"] is not first
    other.counters.close()


def test_meters_are_reached_by_tab_and_have_names(show, block, qtbot):
    meters = show(Meters(link_to_this_process()))
    meters.refresh()
    meters.activateWindow()
    names = []
    meters.meters["in"].setFocus()
    for _ in range(2):
        qtbot.waitUntil(lambda: QApplication.focusWidget() is not None)
        names.append(QApplication.focusWidget().accessibleName())
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
    assert names == ["Levels of in", "Levels of out"]


def test_text_is_not_drawn_for_every_picture(show, block, monkeypatch):
    meters = show(Meters(link_to_this_process()))
    told = []
    block.add("in", [1], levels=levels([0.5]))
    meters.refresh()
    meter = meters.meters["in"]
    monkeypatch.setattr(meter, "setAccessibleDescription", told.append)
    for number in range(2, 102):  # a second
        block.add("in", [number], levels=levels([0.5 - number / 300], rms=0.3 - number / 400))
        meters.refresh()
    assert 3 <= len(told) <= 5


# Times of blocks


def times(block, durations_ms):
    """Count callbacks as the host does."""
    for each in durations_ms:
        middles = np.array([bin_ns(number) for number in range(512)])
        block.counters.words[TIMES + np.abs(np.log(middles / (1e6 * each))).argmin()] += 1


def test_the_histogram_tells_percentiles_and_what_was_late(show, block, qtbot):
    block.counters.words[BLOCK], block.counters.words[PERIOD] = 128, 256
    deadlines = show(Deadlines(link_to_this_process()), height=150)
    assert deadlines.text == "no host"
    qtbot.waitUntil(lambda: deadlines.refresh() or deadlines.text == "no blocks yet")
    times(block, [0.5] * 950 + [2.0] * 49 + [7.0])
    qtbot.waitUntil(lambda: deadlines.refresh() or deadlines.text != "no blocks yet")
    words = deadlines.text.split()
    assert float(words[1]) == pytest.approx(0.5, rel=0.1)
    assert float(words[3]) == pytest.approx(2.0, rel=0.1)
    assert float(words[5]) == pytest.approx(7.0, rel=0.1)
    assert deadlines.text.endswith("of 5.3 ms, 1 late")
    assert deadlines.accessibleDescription() == deadlines.text
    before = deadlines.grab().toImage()
    qtbot.keyClick(deadlines, Qt.Key.Key_Delete)
    assert deadlines.text == "no blocks yet"
    assert deadlines.grab().toImage() != before
    times(block, [1.0] * 10)
    qtbot.waitUntil(lambda: deadlines.refresh() or deadlines.text.endswith(" 0 late"))


def test_the_histogram_of_a_host_that_has_gone_is_empty(show, block, qtbot):
    block.counters.words[BLOCK] = 128
    link = link_to_this_process()
    deadlines = show(Deadlines(link), height=150)
    before = deadlines.grab().toImage()
    times(block, [0.5] * 100 + [4.0])
    qtbot.waitUntil(lambda: deadlines.refresh() or deadlines.text.endswith(", 1 late"))
    assert deadlines.grab().toImage() != before
    link.observation = None
    qtbot.waitUntil(lambda: deadlines.refresh() or deadlines.text == "no host")
    assert deadlines.accessibleDescription() == "no host"
    assert deadlines.grab().toImage() == before
    deadlines.reset()
    assert deadlines.text == "no host"


@given(
    durations=st.lists(st.floats(100.0, 1e11), min_size=1, max_size=50),
    deadline=st.floats(1e5, 1e8),
)
def test_every_block_is_in_one_bar_and_the_late_are_right_of_the_deadline(durations, deadline):
    durations = np.array(durations)
    bars = pooled(durations, np.arange(1, len(durations) + 1), deadline)
    assert bars.sum() == sum(range(1, len(durations) + 1))
    late = np.arange(1, len(durations) + 1)[durations > deadline]
    assert bars[8 * OCTAVES_BELOW :].sum() == late.sum()
    assert len(bars) == BARS


def test_the_deadline_is_where_its_mark_is():
    assert place_of(2.67e6, 2.67e6) == pytest.approx(OCTAVES_BELOW / OCTAVES)
    assert place_of(1.0, 2.67e6) == 0
    assert place_of(1e12, 2.67e6) == 1
