"""The rack's panel: what its controls do to a real host, and what a host does to them."""

import math
import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PySide6.QtCore import QMimeData, QPointF, Qt
from PySide6.QtGui import QDragLeaveEvent, QDragMoveEvent, QDropEvent
from PySide6.QtWidgets import QApplication
from test_link import ask, state_of, value
from window import (
    folders,  # noqa: F401 - a fixture
    host,
    until,
    window,
)

from gui.parameters import Scale
from gui.rack import DRAGGED, NodePanel
from rtaudio.errors import UserError
from rtaudio.midi import place_of, value_of
from rtaudio.rack import MidiBinding
from rtaudio.registry import load_engines

CHAIN = "a: gain(gain=-6) | limiter | eq: biquad(frequency=100)"


@pytest.fixture(scope="module")
def started():
    with host(chain=CHAIN) as playing:
        yield playing


@pytest.fixture
def shown(qtbot, started):
    ask(started, "set a.gain -6", "set a.pan 0", "set eq.frequency 100", "unmute a", "unsolo a", "unbypass a")
    with window(qtbot, started) as made:
        made.activateWindow()
        until(qtbot, made.isActiveWindow)
        yield made


def control(shown, path):
    name, parameter = path.split(".")
    return shown.rack.panel(name).control(parameter)


def order(started):
    return [node["name"] for node in state_of(started)["nodes"]]


def drag(slider, qtbot, share):
    """Drag the handle of a fader with the mouse, to a share of its way."""
    from PySide6.QtWidgets import QStyle, QStyleOptionSlider

    option = QStyleOptionSlider()
    slider.initStyleOption(option)
    handle = slider.style().subControlRect(
        QStyle.ComplexControl.CC_Slider, option, QStyle.SubControl.SC_SliderHandle, slider
    )
    begin = handle.center()
    end = begin + (handle.center() - begin)
    end.setX(round(handle.width() / 2 + share * (slider.width() - handle.width())))
    qtbot.mousePress(slider, Qt.MouseButton.LeftButton, pos=begin)
    for step in range(1, 11):
        qtbot.mouseMove(slider, begin + (end - begin) * step / 10)
    return end


# Scales


DECLARED = [
    parameter
    for engine in load_engines().values()
    for parameter in engine.parameters
    if parameter.scale not in ("choice", "text") and parameter.maximum > parameter.minimum
]


def scale_of(parameter):
    return Scale(parameter.scale, parameter.minimum, parameter.maximum, parameter.unit, parameter.silence)


scales = st.sampled_from([scale_of(parameter) for parameter in DECLARED])


@given(scales, st.floats(0, 1), st.floats(0, 1))
def test_a_fader_goes_from_end_to_end_without_turning(scale, one, other):
    assert (scale.value(0.0), scale.value(1.0)) == (scale.minimum, scale.maximum)
    low, high = sorted((one, other))
    assert scale.minimum <= scale.value(low) <= scale.value(high) <= scale.maximum


@given(scales, st.floats(0, 1))
def test_where_a_value_is_it_is_found(scale, share):
    found = scale.value(share)
    assert scale.value(scale.share(found)) == pytest.approx(
        found, rel=0.006, abs=(scale.maximum - scale.minimum) / 200
    )
    if not scale.silence and scale.kind != "integer":
        assert scale.share(found) == pytest.approx(share, abs=0.006)


@pytest.mark.parametrize(
    "parameter",
    [each for each in DECLARED if each.scale != "integer" and not isinstance(each.default, bool)],
    ids=lambda parameter: parameter.id,
)
def test_a_fader_moves_a_value_as_a_controller_does(parameter):
    """Another implementation of the same laws."""
    binding = MidiBinding(parameter="a.b", channel=1, controller=1)
    exact = replace(scale_of(parameter))
    for place in range(100, 16383, 997):
        level = value_of(parameter, binding, place)
        assert exact.share(level) == pytest.approx(place / 16383, abs=2e-4) or level == parameter.minimum
        assert place_of(parameter, binding, level) == pytest.approx(exact.share(level) * 16383, abs=1.5)


@given(scales, st.floats(0, 1))
def test_what_is_shown_can_be_typed(scale, share):
    shown = scale.value(share)
    assert scale.parse(scale.text(shown)) == pytest.approx(shown, rel=1e-3, abs=1e-6)


@given(scales, st.floats(0, 1), st.integers(1, 30))
def test_steps_lead_up_and_down(scale, share, steps):
    begin = scale.value(share)
    assume(scale.minimum < begin < scale.maximum)
    up, down = scale.moved(begin, steps), scale.moved(begin, -steps)
    assert scale.minimum <= down < begin < up <= scale.maximum


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("-6", -6.0),
        (" -6.5 dB ", -6.5),
        ("−3", -3.0),
        ("1,5db", 1.5),
        ("-inf", -100.0),
        ("-inf dB", -100.0),
        (".5", 0.5),
    ],
)
def test_levels_are_typed_in_many_ways(text, found):
    assert Scale("dB", -100.0, 24.0, "dB", silence=True).parse(text) == found


@pytest.mark.parametrize("text", ["", "dB", "loud", "25", "-6 Hz", "6 6", "nan", "1e3"])
def test_what_is_no_level_is_refused(text):
    with pytest.raises(UserError, match=r"value|range"):
        Scale("dB", -100.0, 24.0, "dB", silence=True).parse(text)


def test_frequencies_are_typed_in_khz():
    scale = Scale("log", 10.0, 20_000.0, "Hz")
    assert [scale.parse(text) for text in ("1k", "1.5 kHz", "200", "200hz")] == [1000.0, 1500.0, 200.0, 200.0]
    assert (scale.text(1500.0), scale.text(80.0)) == ("1.5 kHz", "80 Hz")
    assert scale.share(scale.value(0.5)) == pytest.approx(0.5, abs=1e-3)
    assert scale.value(0.5) == pytest.approx(math.sqrt(10.0 * 20_000.0), rel=0.005)


# Controls


def test_it_shows_the_nodes_as_they_are(started, shown):
    assert shown.rack.names == ["a", "limiter", "eq"]
    for node in state_of(started)["nodes"]:
        for each in node["parameters"]:
            made = control(shown, f"{node['name']}.{each['id']}")
            if made.scale is not None:
                assert made.fader.held == each["value"]
                assert made.typed.text() == made.scale.text(each["value"])
            elif made.choice is not None:
                assert made.choice.currentText() == each["value"]


@pytest.mark.alone
def test_a_fader_is_moved_by_keys(qtbot, started, shown):
    fader = control(shown, "a.gain").fader
    fader.setFocus()
    for key, expected in (
        (Qt.Key.Key_Up, -5.5),
        (Qt.Key.Key_PageDown, -10.5),
        (Qt.Key.Key_Left, -11.0),
        (Qt.Key.Key_Home, -100.0),
        (Qt.Key.Key_End, 24.0),
        (Qt.Key.Key_Delete, 0.0),
    ):
        qtbot.keyClick(fader, key)
        until(qtbot, lambda expected=expected: value(state_of(started), "a.gain") == expected)
    assert control(shown, "a.gain").typed.text() == "0 dB"
    assert order(started) == ["a", "limiter", "eq"]


@pytest.mark.alone
def test_a_fader_is_moved_by_the_mouse(qtbot, started, shown):
    fader = control(shown, "a.pan").fader
    shown.rack.setMinimumWidth(400)  # A pixel of a short fader is much.
    until(qtbot, lambda: fader.width() > 80)
    end = drag(fader, qtbot, 0.75)
    until(qtbot, lambda: value(state_of(started), "a.pan") == pytest.approx(0.5, abs=0.05))
    ask(started, "set a.pan -1")
    until(qtbot, lambda: value(shown.link.state, "a.pan") == -1.0)
    assert fader.held == pytest.approx(0.5, abs=0.05)  # Who holds it decides where it is.
    qtbot.mouseRelease(fader, Qt.MouseButton.LeftButton, pos=end)
    qtbot.mouseDClick(fader, Qt.MouseButton.LeftButton, pos=end)
    until(qtbot, lambda: value(state_of(started), "a.pan") == 0.0)


@pytest.mark.alone
def test_a_value_is_typed(qtbot, started, shown):
    typed = control(shown, "eq.frequency").typed
    typed.setFocus()
    typed.selectAll()
    qtbot.keyClicks(typed, "1.25 kHz")
    qtbot.keyClick(typed, Qt.Key.Key_Return)
    until(qtbot, lambda: value(state_of(started), "eq.frequency") == 1250.0)
    typed.selectAll()
    qtbot.keyClicks(typed, "high")
    qtbot.keyClick(typed, Qt.Key.Key_Return)
    assert typed.text() == "1.25 kHz"
    assert shown.message.text() == "⚠ frequency: 'high' is no value: write a number in Hz"
    assert value(state_of(started), "eq.frequency") == 1250.0


@pytest.mark.alone
def test_others_move_the_controls(qtbot, started, shown):
    ask(started, "set a.gain -12", "mute a", "solo a", "bypass a")
    panel = shown.rack.panel("a")
    until(qtbot, lambda: not panel.on_box.isChecked())
    assert control(shown, "a.gain").fader.held == -12.0
    assert control(shown, "a.gain").typed.text() == "-12 dB"
    assert panel.mute_button.isChecked()
    assert panel.solo_button.isChecked()


@pytest.mark.alone
def test_switches(qtbot, started, shown):
    panel = shown.rack.panel("a")
    for button, switch in (
        (panel.mute_button, "mute"),
        (panel.solo_button, "solo"),
        (panel.on_box, "bypass"),
    ):
        for on in (True, False):
            button.click()
            until(qtbot, lambda switch=switch, on=on: state_of(started)["nodes"][0][switch] is on)


def test_the_wheel_scrolls_and_moves_nothing(qtbot, started, shown):
    from PySide6.QtCore import QPoint
    from PySide6.QtGui import QWheelEvent

    fader = control(shown, "a.gain").fader
    event = QWheelEvent(
        QPointF(5, 5),
        QPointF(fader.mapToGlobal(QPoint(5, 5))),
        QPoint(),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(fader, event)
    assert fader.held == -6.0


def test_times_and_latency_are_shown(qtbot, shown):
    times = shown.rack.panel("limiter").times
    until(qtbot, times.text)
    words = re.fullmatch(
        r"(\d+) % of a block, p50 ([\d.]+) p99 ([\d.]+) ms, latency 1\.5 ms", times.text()
    ).groups()
    share, p50, p99 = map(float, words)
    assert p50 <= p99
    assert share == pytest.approx(100 * p99 / (1000 * 128 / 48_000), abs=1)
    assert shown.rack.panel("limiter").watchdog.text() == ""


def test_what_the_watchdog_does_is_told(shown):
    """Of what a host counts (`rtaudio.counters.report`) and what it tells when a node has failed."""
    counted = shown.link.observation.counters()
    counted["nodes"]["eq"] |= {"failures": 2, "misses": 1}
    panel = shown.rack.panel("eq")
    panel.show_times(counted | {"bypassed": ["eq"]}, ["a failed", "eq failed (it put out what is no number)"])
    assert panel.watchdog.text() == (
        "⚠ bypassed by the watchdog, 2 failures, 1 miss: blocks that came late; "
        "eq failed (it put out what is no number)"
    )
    assert not panel.watchdog.isHidden()
    counted["nodes"]["eq"] |= {"failures": 0, "misses": 0}
    panel.show_times(counted | {"bypassed": []}, [])
    assert panel.watchdog.isHidden()


def test_a_node_is_folded_by_a_click_and_by_keys_and_stays_so(qtbot, started, shown):
    panel, gain = shown.rack.panel("a"), control(shown, "a.gain")
    assert gain.fader.isVisible()
    qtbot.mouseClick(panel.fold_button, Qt.MouseButton.LeftButton)
    assert not gain.fader.isVisible()
    assert panel.times.isVisible()
    panel.setFocus()
    qtbot.keyClick(panel, Qt.Key.Key_Right)
    assert gain.fader.isVisible()
    qtbot.keyClick(panel, Qt.Key.Key_Left)
    assert not gain.fader.isVisible()
    ask(started, "replace a delay")
    until(qtbot, lambda: shown.rack.panel("a") is not panel)
    assert shown.rack.panel("a").fold_button.isChecked()
    assert not control(shown, "a.mix").fader.isVisible()
    ask(started, "undo")
    until(qtbot, lambda: shown.link.state["nodes"][0]["engine"] == "gain")
    until(qtbot, lambda: not shown.link.state["loading"])
    shown.rack.panel("a").fold_button.click()
    assert control(shown, "a.gain").fader.isVisible()


def test_what_is_dragged_to_the_edge_scrolls_the_nodes(qtbot, shown):
    rack = shown.rack
    rack.area.setFixedHeight(150)
    bar = rack.area.verticalScrollBar()
    until(qtbot, bar.maximum)
    move = QPointF(20, rack.area.viewport().height() - 5)
    data = QMimeData()
    data.setData(DRAGGED, b"a")
    action, button = Qt.DropAction.MoveAction, Qt.MouseButton.LeftButton
    rack.nodes.dragMoveEvent(
        QDragMoveEvent(move.toPoint(), action, data, button, Qt.KeyboardModifier.NoModifier)
    )
    until(qtbot, lambda: bar.value() == bar.maximum())
    assert rack.nodes._place == len(rack.names)
    rack.nodes.dragLeaveEvent(QDragLeaveEvent())
    assert not rack._scroll.isActive()


# Edits


@pytest.mark.alone
def test_nodes_are_added_moved_replaced_and_removed(qtbot):
    with host(chain="a: gain | b: limiter") as started, window(qtbot, started) as shown:
        rack = shown.rack
        shown.activateWindow()
        until(qtbot, shown.isActiveWindow)
        rack.catalogue.ask()
        until(qtbot, lambda: rack.catalogue.engines)
        names = [engine["name"] for engine in rack.catalogue.inserts]
        assert {"limiter", "remix", "enhance"} <= set(names)
        assert "tone" not in names  # Nothing goes in there.
        rack.panel("a").setFocus()
        rack._list_engines()
        entry = next(each for each in rack._add_menu.actions() if each.text().startswith("biquad:  "))
        assert entry.data() == "insert after a biquad"
        entry.trigger()
        until(qtbot, lambda: rack.names == ["a", "biquad", "b"])
        assert order(started) == rack.names
        assert rack.focused == "a"
        qtbot.keyClick(rack.panel("a"), Qt.Key.Key_Down, Qt.KeyboardModifier.ControlModifier)
        until(qtbot, lambda: rack.names == ["biquad", "a", "b"])
        assert rack.focused == "a"
        rack.panel("a").solo_button.setFocus()  # A button would go to its neighbour by this key.
        qtbot.keyClick(rack.panel("a").solo_button, Qt.Key.Key_Up, Qt.KeyboardModifier.ControlModifier)
        until(qtbot, lambda: rack.names == ["a", "biquad", "b"])
        assert rack.panel("a").solo_button.hasFocus()
        qtbot.keyClick(rack.panel("a"), Qt.Key.Key_Down, Qt.KeyboardModifier.ControlModifier)
        until(qtbot, lambda: rack.names == ["biquad", "a", "b"])
        drop(rack, "b", 0)
        until(qtbot, lambda: rack.names == ["b", "biquad", "a"])
        rack.panel("biquad").setFocus()
        qtbot.keyClick(rack.panel("biquad"), Qt.Key.Key_Delete)
        until(qtbot, lambda: rack.names == ["b", "a"])
        entry = next(
            each for each in rack.panel("b").more_button.menu().actions() if each.text() == "preset: loud"
        )
        entry.trigger()
        loud = load_engines()["limiter"].presets["loud"]
        until(
            qtbot, lambda: all(value(shown.link.state, f"b.{each}") == level for each, level in loud.items())
        )
        shown.undo_action.trigger()
        until(qtbot, lambda: value(shown.link.state, "b.gain") == 0.0)
        rack.panel("a").replace_menu.aboutToShow.emit()
        entries = rack.panel("a").replace_menu.actions()
        next(entry for entry in entries if entry.text().startswith("gate:  ")).trigger()
        until(qtbot, lambda: [node["engine"] for node in shown.link.state["nodes"]] == ["limiter", "gate"])
        assert order(started) == rack.names == ["b", "a"]


def drop(rack, name, place):
    """Drop a node above another one."""
    data = QMimeData()
    data.setData(DRAGGED, name.encode())
    panels = rack.nodes.findChildren(NodePanel)
    top = sorted(panel.geometry().top() for panel in panels)[place]
    at, action, button = QPointF(20, top - 2), Qt.DropAction.MoveAction, Qt.MouseButton.LeftButton
    rack.nodes.dropEvent(QDropEvent(at, action, data, button, Qt.KeyboardModifier.NoModifier))
