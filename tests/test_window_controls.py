"""The controls of the whole window: room for them on a small screen, and the keys that reach them."""

import pytest
from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QAccessible, QKeySequence
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QLabel,
    QScrollArea,
    QToolBar,
    QWidget,
)
from sound_files import sound, write
from window import folders, host, until, window

from gui.remix import Remix
from gui.render import TEXT

__all__ = ["folders"]

pytestmark = pytest.mark.alone

WIDTH, HEIGHT = 960, 700
"""Of the smallest screen."""
TITLES = ("Denoise", "Remix", "Speak", "Render")


@pytest.fixture(scope="module")
def playing(folders):
    """A host whose rack has a node for every view."""
    song = write(folders / "a song with a name that is longer than there is room for.wav", sound(200_000))
    with host("--file", song, "--loop", chain="enhance | remix(preset=live)") as started:
        yield started


@pytest.fixture
def shown(qtbot, playing):
    with window(qtbot, playing) as made:
        until(qtbot, lambda: made.findChild(Remix).strips)
        made.resize(WIDTH, HEIGHT)
        made.activateWindow()
        until(qtbot, made.isActiveWindow)
        yield made


def controls(within):
    """What takes the focus."""
    return [
        child
        for child in within.findChildren(QWidget)
        if child.focusPolicy() & Qt.FocusPolicy.TabFocus
        and child.focusProxy() is None
        and child.isVisible()
        and child.isEnabled()
    ]


def scrolls(widget):
    while widget is not None:
        if isinstance(widget, QScrollArea):
            return True
        widget = widget.parentWidget()
    return False


def name_of(widget):
    """What a screen reader calls it; a box of choices by its relation to what says its name."""
    found = QAccessible.queryAccessibleInterface(widget).text(QAccessible.Text.Name)
    return widget.accessibleName() if isinstance(widget, QComboBox) else found


def show(qtbot, shown, title):
    shown._show_view(title)
    until(qtbot, shown.tabs.currentWidget().isVisible)
    QApplication.processEvents()
    return shown.tabs.currentWidget()


def walked(qtbot, shown, begin):
    """Controls in the order of the key Tab, from one on, each with whether it shows that it has the focus."""
    begin.setFocus()
    found = {}
    while (at := QApplication.focusWidget()) not in found:
        qtbot.keyClick(at, Qt.Key.Key_Backtab)  # So that the focus comes by a key.
        unfocused = at.grab().toImage()
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
        assert QApplication.focusWidget() is at, name_of(at)
        found[at] = at.grab().toImage() != unfocused
        qtbot.keyClick(at, Qt.Key.Key_Tab)
    assert at is begin, f"Tab never comes back from {name_of(at)}"
    return found


def order(qtbot, shown, view):
    """The names of a view's controls, in the order of the key Tab."""
    found = list(walked(qtbot, shown, shown.tabs.tabBar()))
    inside = [view.isAncestorOf(each) for each in found]
    assert inside.count(True) == [*inside[inside.index(True) :], False].index(False), "Tab leaves it between"
    return [name_of(each) for each, inner in zip(found, inside, strict=True) if inner]


@pytest.mark.parametrize("title", TITLES)
def test_all_of_it_fits_a_small_screen(qtbot, shown, title):
    view = show(qtbot, shown, title)
    assert shown.minimumSizeHint().width() <= WIDTH
    assert shown.width() == WIDTH
    cut = {
        name_of(each): (each.visibleRegion().boundingRect(), each.rect())
        for each in controls(shown)
        if not scrolls(each) and each.visibleRegion().boundingRect() != each.rect()
    }
    assert cut == {}
    boxes = [QRect(each.mapTo(view, each.rect().topLeft()), each.size()) for each in controls(view)]
    inner = {each: [other for other in controls(view) if each.isAncestorOf(other)] for each in controls(view)}
    for place, (each, box) in enumerate(zip(controls(view), boxes, strict=True)):
        for other, across in list(zip(controls(view), boxes, strict=True))[place + 1 :]:
            if other not in inner[each] and each not in inner[other]:
                assert not box.intersects(across), (name_of(each), name_of(other))


def test_long_names_push_no_button_out_of_the_bar(qtbot, shown):
    shown.plays.show_text("JACK: a card with a long name → another such card, 44.1 kHz, block 128, 40.1 ms")
    QApplication.processEvents()
    bar = shown.findChild(QToolBar)
    before = [bar.widgetForAction(action).geometry() for action in bar.actions()]
    shown.bypass_action.setText("A/B: the input, -12.3 dB")
    shown.record_action.setText("● Recording")
    QApplication.processEvents()
    assert [bar.widgetForAction(action).geometry() for action in bar.actions()] == before
    buttons = [bar.widgetForAction(action) for action in bar.actions() if not action.isSeparator()]
    assert [button for button in buttons if not button.isVisible()] == []
    assert shown.width() == WIDTH


@pytest.mark.parametrize("title", TITLES)
def test_tab_reaches_every_control_and_the_focus_is_seen(qtbot, shown, title):
    show(qtbot, shown, title)
    found = walked(qtbot, shown, shown.tabs.tabBar())
    inner = [each for each in controls(shown) if each.parent() in controls(shown)]  # The line of a spin box.
    assert [name_of(each) for each in controls(shown) if each not in inner and each not in found] == []
    assert [name_of(each) for each, is_seen in found.items() if not is_seen] == []


def test_tab_goes_through_remix_as_it_is_read(qtbot, shown):
    stems = [
        f"{switch} {stem}" if switch else f"{stem.capitalize()} gain"
        for stem in ("harmonic", "percussive", "residual")
        for switch in ("", "Mute", "Solo", "Kill")
    ]
    assert order(qtbot, shown, show(qtbot, shown, "Remix")) == [
        "Waveform of the file",
        "Play, or pause",
        "Go to the cue point",
        "Set the cue point here",
        "Repeat the part that was dragged, or all",
        "Play another file",
        "Pictures of the stems",
        "Lowest level of the pictures",
        "Highest level of the pictures",
        "Seconds that the pictures show",
        "Freeze the pictures",
        "Spectrogram: Stems",
        "Hear a band alone",
        *stems,
        "Crossfader",
    ]


def test_tab_goes_through_render_as_it_is_read(qtbot, shown, tmp_path):
    view = show(qtbot, shown, "Render")
    view.chain.setCurrentIndex(view.chain.findData(TEXT))
    view.add([write(tmp_path / "a.wav", sound(300))])
    view.table.selectRow(0)
    assert order(qtbot, shown, view) == [
        "Add files",
        "Add folder",
        "Remove",
        "Render again",
        "Render",
        "Through",
        "Chain as text",
        "Output folder",
        "Choose the output folder",
        "Format",
        "Subtype",
        "Dither 16 bits",
        "Keep the tail",
        "Jobs",
        "Files to render",
        "Details of the chosen file",
    ]


def test_tab_goes_through_the_rack_from_node_to_node(qtbot, shown):
    shown.link.send("move remix before enhance")
    until(qtbot, lambda: shown.rack.names == ["remix", "enhance"])
    names = order(qtbot, shown, shown.rack)
    shown.link.send("undo")
    until(qtbot, lambda: shown.rack.names == ["enhance", "remix"])
    assert names[0] == "+ Add"
    edge = names.index("node enhance")
    assert names[1] == "node remix"
    assert [name for name in names[2:edge] if "remix" not in name] == []
    assert [name for name in names[edge:] if "enhance" not in name] == []
    for name, own in (("remix", names[1:edge]), ("enhance", names[edge:])):
        head = [f"node {name}", f"fold {name}", f"{name} on"]
        head += [f"mute {name}", f"solo {name}", f"more of {name}"]
        assert own[:6] == head


def access_keys(shown):
    """The texts of what is seen, by their access keys."""
    named = [each for each in shown.findChildren(QAbstractButton) if each.isVisible()]
    named += [each for each in shown.findChildren(QLabel) if each.isVisible() and each.buddy() is not None]
    found = {}
    for each in [*shown.menuBar().actions(), *named]:
        if keys := QKeySequence.mnemonic(each.text()).toString():
            found.setdefault(keys, []).append(each.text())
    return found


@pytest.mark.parametrize("title", TITLES)
def test_access_keys_are_distinct(qtbot, shown, title):
    show(qtbot, shown, title)
    found = access_keys(shown)
    assert {"Alt+H", "Alt+R", "Alt+V", "Alt+E"} < {*found}
    assert {keys: texts for keys, texts in found.items() if len(texts) > 1} == {}


def test_access_keys_are_distinct_where_nodes_and_a_voice_are_offered(qtbot, shown):
    shown.link.detach("for now")
    for title in TITLES[:3]:
        show(qtbot, shown, title)
        assert {keys: texts for keys, texts in access_keys(shown).items() if len(texts) > 1} == {}


def test_every_control_has_a_name(qtbot, shown):
    for title in TITLES:
        show(qtbot, shown, title)
        unnamed = [
            each for each in controls(shown) if not name_of(each) and each.parent() not in controls(shown)
        ]
        assert unnamed == []
