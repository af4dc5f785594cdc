"""A real window on a display, a real mouse and keyboard, what is seen on the screen and what is heard."""

import os
import signal
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from display import SIZE, display, until
from PySide6.QtGui import QImage, QPalette
from test_link import ask, state_of, value
from window import (
    folders,  # noqa: F401 - a fixture
    host,
    own_folders,
    running,
)

from gui.application import COLOURS, Settings
from gui.window import IDLE_MS, views
from rtaudio.counters import lives
from rtaudio.observation import HIGHEST, LOWEST, Observation
from rtaudio.server import hosts

pytestmark = pytest.mark.alone

RATE = 48_000
LOW, HIGH = 400, 3000
"""Hz of the two tones."""
HANDLE, PAPER = (COLOURS["dark"][role] for role in (QPalette.ColorRole.Link, QPalette.ColorRole.Base))
LETTERS = "কখগঘচছজট"
PICTURES = {"Denoise": "Input", "Remix": "Stems", "Speak": "Output"}
"""A picture of each view that has some."""


def tone(folder, frequency):
    """A file of two seconds of a steady tone, RMS 0.1, in faint noise, which makes pictures of it move."""
    sound = np.sqrt(2) * 0.1 * np.sin(2 * np.pi * frequency * np.arange(2 * RATE) / RATE)
    sound += 0.005 * np.random.default_rng(1).standard_normal(len(sound))
    sf.write(folder / f"{frequency}.wav", np.column_stack([sound, sound]), RATE, subtype="FLOAT")
    return folder / f"{frequency}.wav"


def level(seen, view):
    """RMS of a view, in dBFS."""
    return float(20 * np.log10(max(1e-9, seen.meters(view).rms.max())))


def like(pixels, colour):
    """Where pixels have a colour, or nearly."""
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return (np.abs(pixels.astype(int) - wanted) < 24).all(axis=2)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Files of the two tones."""
    folder = tmp_path_factory.mktemp("sounds")
    return {frequency: tone(folder, frequency) for frequency in (LOW, HIGH)}


@pytest.fixture(scope="module")
def playing(sounds):
    """A host that plays a tone, for all that leave its rack as it is."""
    with host("--file", sounds[LOW], "--loop", chain="gain | remix(preset=live)") as started:
        yield started


@pytest.fixture(scope="module")
def seen(playing):
    return Observation(playing.process.pid)


@pytest.fixture(scope="module")
def screen():
    with display() as made:
        yield made


@pytest.fixture(scope="module")
def shown(screen, playing):
    """A window that is attached to it."""
    Settings().match_loudness = False
    with running(screen, "--pid", playing.process.pid) as window:
        until(lambda: window.told()["active"])
        yield window


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The folder of the screenshots."""
    folder = Path(os.environ.get("RTAUDIO_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_another_input_is_seen(shown, playing, sounds):
    """A tone is where its frequency is on the screen, and another one where that is."""
    shown.view(1)

    def loudest():
        picture = shown.picture("Input")
        at = picture[:, -3:].sum(axis=(1, 2), dtype=int).argmax()
        return LOWEST * (HIGHEST / LOWEST) ** (1 - (at + 0.5) / len(picture))

    until(lambda: loudest() == pytest.approx(LOW, rel=0.05))
    ask(playing, f"load {sounds[HIGH]}")
    until(lambda: loudest() == pytest.approx(HIGH, rel=0.05))
    ask(playing, f"load {sounds[LOW]}")
    until(lambda: loudest() == pytest.approx(LOW, rel=0.05))


def test_a_fader_that_is_dragged_is_heard(shown, playing, seen):
    until(lambda: abs(level(seen, "out") + 20) < 0.1)
    x, y, *size = shown.find("gain of gain")
    down, across = (
        int(np.median(each)) for each in np.nonzero(like(shown.screen.pixels((x, y, *size)), HANDLE))
    )
    shown.screen.do("mousemove", x + across, y + down, "mousedown", 1)
    for step in range(1, 9):
        shown.screen.do("mousemove", x + across - step, y + down)
    shown.screen.do("mouseup", 1)
    gain = until(lambda: min(0.0, value(state_of(playing), "gain.gain") + 3))
    until(lambda: abs(level(seen, "out") - level(seen, "in") - value(state_of(playing), "gain.gain")) < 0.1)
    assert gain < 0
    assert level(seen, "in") == pytest.approx(-20, abs=0.1)
    shown.press("b")
    until(lambda: abs(level(seen, "out") + 20) < 0.1)
    assert state_of(playing)["compare"]["dry"]
    shown.press("b")
    until(lambda: level(seen, "out") < -23)
    shown.press("ctrl+z")
    until(lambda: abs(level(seen, "out") + 20) < 0.1)


def test_kill_and_mute_are_heard(shown, seen):
    """A tone is harmonic: without that stem little is left."""
    shown.view(2)
    until(lambda: abs(level(seen, "out") + 20) < 0.1)
    shown.screen.do("keydown", "1")
    until(lambda: level(seen, "out") < -35)
    shown.screen.do("keyup", "1")
    until(lambda: abs(level(seen, "out") + 20) < 0.1)
    shown.click("Mute harmonic")
    until(lambda: level(seen, "out") < -35)
    shown.click("Mute harmonic")
    until(lambda: abs(level(seen, "out") + 20) < 0.1)


def look(shown, kept, scale):
    """Every view by its key, with a text in Bangla: its screenshot is kept, and is all drawn, in the dark."""
    for number in range(1, 1 + len(views())):
        title = shown.view(number)
        if title in PICTURES:
            shown.rolls(PICTURES[title])
        if title == "Speak":
            read_letters(shown)
        told = shown.told()
        pixels = np.ascontiguousarray(shown.screen.pixels(told["place"]))
        height, width, _ = pixels.shape
        file = kept / f"{title.lower()}-{scale}x.png"
        assert QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888).save(str(file))
        assert len(np.unique(pixels[::3, ::3].astype(int) @ [1, 1 << 8, 1 << 16])) > 50, title
        for each in told["widgets"]:
            if each["name"].startswith("Spectrogram"):  # Silence may be black there.
                (left, top), (x, y, width, height) = told["place"][:2], each["place"]
                pixels[y - top : y - top + height, x - left : x - left + width] = 1
        for unpainted in (0, 255):  # As Qt leaves what nobody draws, and as the display is.
            assert (pixels == unpainted).all(axis=2).mean() < 0.005, title
        assert like(pixels[::3, ::3], "#ffffff").mean() < 0.02, title


def read_letters(shown):
    """Paste a text into Speak: its letters are drawn, and not as boxes, which would all be the same."""
    shown.told(copied="\n" + (8 * " ").join(LETTERS))
    shown.click("Text to speak")
    shown.press("ctrl+a", "ctrl+v")
    until(lambda: shown.reads(LETTERS[0]))
    shown.screen.do("mousemove", 0, 0)
    scale = round(shown.told()["ratio"])
    x, y, width, height = shown.find("Text to speak")
    edge = 4 * scale
    text = shown.screen.pixels((x + edge, y + edge, width - 2 * edge, height - 2 * edge))
    ink = ~like(text, PAPER)
    line = parts(ink.any(axis=1), 1)[-1]
    letters = [ink[line, part] for part in parts(ink[line].any(axis=0), 8 * scale)]
    assert len(letters) == len(LETTERS)
    for one, other in combinations(letters, 2):
        assert one.shape != other.shape or (one != other).mean() > 0.02


def parts(drawn, gap):
    """Slices of what is drawn, with at least so many pixels between them."""
    at = np.flatnonzero(drawn)
    breaks = np.flatnonzero(np.diff(at) > gap)
    begins, ends = at[np.r_[0, breaks + 1]], at[np.r_[breaks, len(at) - 1]]
    return [slice(begin, end + 1) for begin, end in zip(begins, ends, strict=True)]


def test_every_view_is_drawn(shown, kept):
    assert shown.told()["ratio"] == 1.0
    look(shown, kept, 1)


def test_it_rests_while_it_is_minimised(shown):
    shown.view(1)
    window = shown.screen.do("getactivewindow")
    shown.screen.do("windowminimize", window)
    until(lambda: shown.told()["minimised"])
    assert shown.told()["interval"] == IDLE_MS >= 1000
    shown.screen.do("windowactivate", window)
    until(lambda: shown.told()["interval"] == round(1000 / 30))
    assert shown.rolls("Input")


def test_every_view_is_drawn_at_twice_the_size(playing, kept):
    """And the window manager's key closes the window; the host of somebody else plays on."""
    size = tuple(2 * each for each in SIZE)
    with (
        display(size) as screen,
        running(screen, "--pid", playing.process.pid, env={"QT_SCALE_FACTOR": "2"}) as window,
    ):
        until(lambda: window.told()["active"])
        assert window.told()["ratio"] == 2.0
        look(window, kept, 2)
        window.press("alt+F4")
        until(lambda: window.process.poll() is not None)
        assert window.process.returncode == 0
    assert playing.process.poll() is None


def test_a_host_that_is_killed_is_said_and_started_again(screen, sounds, tmp_path, monkeypatch):
    """And all ends in order when the window is told to."""
    own_folders(tmp_path, monkeypatch)
    folder = {name: text for name, text in os.environ.items() if name.startswith("XDG_")}
    words = ["--api", "null", "--file", sounds[LOW], "--loop", "--chain", "gain"]
    with running(screen, *words, env=folder) as window:
        (first,) = until(hosts)
        window.view(1)
        window.rolls("Input")
        os.kill(first, signal.SIGKILL)
        until(lambda: window.reads("nothing is heard") and window.can("Start"))
        window.press("F5")
        (second,) = until(hosts)
        assert second != first
        until(lambda: not window.reads("nothing is heard"))
        window.rolls("Input")
        window.process.send_signal(signal.SIGTERM)
        until(lambda: window.process.poll() is not None)
        assert window.process.returncode == 0
    until(lambda: not lives(second))
    assert hosts() == []
