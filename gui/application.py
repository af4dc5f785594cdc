"""The application around the window: its look, dark or light, its fonts, and what it remembers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray, QSettings
from PySide6.QtGui import QColor, QFont, QFontDatabase, QIcon, QPalette
from PySide6.QtWidgets import QApplication

from rtaudio.folders import settings_folder, state_folder

FONTS, ICONS = (Path(__file__).with_name(folder) for folder in ("fonts", "icons"))
BANGLA = "Noto Sans Bengali"
"""The family that the window brings, for text that the system's fonts may lack."""
THEMES = ("dark", "light")
FRAME_RATES = (15, 30, 60)
COLOUR_MAPS = ("magma", "viridis", "cividis")
RECENT = 8
"""Rack files that are remembered."""

_Role = QPalette.ColorRole
COLOURS: dict[str, dict[QPalette.ColorRole, str]] = {
    "dark": {
        _Role.Window: "#1b1e24",
        _Role.WindowText: "#e6e9ef",
        _Role.Base: "#15171c",
        _Role.AlternateBase: "#20242c",
        _Role.Text: "#e6e9ef",
        _Role.Button: "#2a2f39",
        _Role.ButtonText: "#e6e9ef",
        _Role.BrightText: "#ff9d8a",
        _Role.Highlight: "#2a788e",
        _Role.HighlightedText: "#ffffff",
        _Role.ToolTipBase: "#20242c",
        _Role.ToolTipText: "#e6e9ef",
        _Role.PlaceholderText: "#9fb3c8",
        _Role.Link: "#6cb6ff",
        _Role.Light: "#5f6b80",
        _Role.Midlight: "#3d4554",
        _Role.Mid: "#343a46",
        _Role.Dark: "#0d0f12",
        _Role.Shadow: "#000000",
    },
    "light": {
        _Role.Window: "#eceff3",
        _Role.WindowText: "#1b1e24",
        _Role.Base: "#fbfcfd",
        _Role.AlternateBase: "#e2e6ec",
        _Role.Text: "#1b1e24",
        _Role.Button: "#dde2e9",
        _Role.ButtonText: "#1b1e24",
        _Role.BrightText: "#a3200d",
        _Role.Highlight: "#1f6b82",
        _Role.HighlightedText: "#ffffff",
        _Role.ToolTipBase: "#fbfcfd",
        _Role.ToolTipText: "#1b1e24",
        _Role.PlaceholderText: "#4d5b6b",
        _Role.Link: "#0b5cad",
        _Role.Light: "#ffffff",
        _Role.Midlight: "#c7ced8",
        _Role.Mid: "#aab3bf",
        _Role.Dark: "#6f7a87",
        _Role.Shadow: "#4d5b6b",
    },
}
"""BrightText is for what is wrong, PlaceholderText for what matters less."""
FAINT = {"dark": "#8792a2", "light": "#5d6875"}
"""Text of what cannot be used now."""
OUTLINE = {"dark": "#728096", "light": "#6f7a87"}
"""Around what can be typed in or ticked."""
_ACCENTS = """
QToolTip {{ border: 1px solid {Mid}; padding: 3px; }}
QToolButton:checked {{ background: {Highlight}; color: {HighlightedText}; border-radius: 3px; }}
QToolBar {{ border: 0; spacing: 6px; padding: 4px; }}
QStatusBar::item {{ border: 0; }}
QCheckBox::indicator {{ width: 14px; height: 14px; border: 1px solid {outline}; border-radius: 3px;
    background: {Base}; }}
QCheckBox::indicator:checked {{ background: {Highlight}; image: url({icons}/check.svg); }}
QCheckBox::indicator:focus {{ border: 2px solid {Link}; }}
QLineEdit {{ border: 1px solid {outline}; border-radius: 3px; background: {Base}; padding: 2px 4px; }}
QLineEdit:focus {{ border: 2px solid {Link}; padding: 1px 3px; }}
QSlider::groove:horizontal {{ height: 4px; background: {outline}; border-radius: 2px; }}
QSlider::groove:vertical {{ width: 4px; background: {outline}; border-radius: 2px; }}
QSlider::sub-page:horizontal, QSlider::add-page:vertical {{ background: {Highlight}; border-radius: 2px; }}
QSlider::handle {{ background: {Link}; border: 2px solid {AlternateBase}; border-radius: 7px; }}
QSlider::handle:focus {{ border: 2px solid {WindowText}; }}
QSlider::handle:disabled, QSlider::sub-page:disabled, QSlider::add-page:disabled {{ background: {outline}; }}
QSlider::handle:horizontal {{ width: 11px; margin: -6px 0; }}
QSlider::handle:vertical {{ height: 11px; margin: 0 -6px; }}
QPlainTextEdit:focus, QTableView:focus, QPushButton[flat="true"]:focus {{ border: 1px solid {Link}; }}
QFrame#node {{ background: {AlternateBase}; border: 1px solid {Midlight}; border-radius: 6px; }}
QFrame#node:focus {{ border: 2px solid {Link}; }}
QFrame#banner {{ background: {Highlight}; border-radius: 4px; }}
QFrame#banner QLabel {{ color: {HighlightedText}; }}
"""
"""Style sheet over Fusion."""


def palette(theme: str) -> QPalette:
    """The colours of a theme."""
    made = QPalette()
    for role, colour in COLOURS[theme].items():
        made.setColor(role, QColor(colour))
    for role in (_Role.WindowText, _Role.Text, _Role.ButtonText):
        made.setColor(QPalette.ColorGroup.Disabled, role, QColor(FAINT[theme]))
    made.setColor(QPalette.ColorGroup.Disabled, _Role.Highlight, QColor(COLOURS[theme][_Role.Midlight]))
    return made


def set_theme(theme: str) -> None:
    """Give every widget the colours of a theme."""
    made = application()
    made.setPalette(palette(theme))
    colours = {role.name: colour for role, colour in COLOURS[theme].items()}
    made.setStyleSheet(_ACCENTS.format(**colours, outline=OUTLINE[theme], icons=ICONS.as_posix()))


def application() -> QApplication:
    """The application of this process, made at the first call, dark.

    Where no display can be reached Qt ends the process: see that there is one.
    """
    made = QApplication.instance()
    if isinstance(made, QApplication) and made.applicationName() == "rtaudio":
        return made
    if not isinstance(made, QApplication):
        made = QApplication(["rtaudio"])
    made.setApplicationName("rtaudio")
    made.setApplicationDisplayName("rtaudio")
    made.setDesktopFileName("rtaudio")
    made.setWindowIcon(QIcon(str(ICONS / "rtaudio.svg")))
    made.setStyle("Fusion")
    QFontDatabase.addApplicationFont(str(FONTS / "NotoSansBengali-Regular.ttf"))
    font = made.font()
    font.setFamilies([*dict.fromkeys([font.family(), BANGLA])])
    font.setStyleStrategy(QFont.StyleStrategy.PreferAntialias)
    made.setFont(font)
    set_theme(THEMES[0])
    return made


def made_state_folder() -> Path:
    """Where logs of hosts and the rack that was heard last are kept; made if need be. `OSError` if not."""
    folder = state_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


class Settings:
    """What the window remembers, in a file in the user's configuration folder.

    What is not there, or is no such value (any more), is the default.
    """

    def __init__(self) -> None:
        self._kept = QSettings(str(settings_folder() / "window.ini"), QSettings.Format.IniFormat)

    def _text(self, name: str, default: str, known: tuple[str, ...]) -> str:
        found = str(self._kept.value(name, default))
        return found if found in known else default

    @property
    def theme(self) -> str:
        """One of `THEMES`."""
        return self._text("theme", "dark", THEMES)

    @theme.setter
    def theme(self, theme: str) -> None:
        self._kept.setValue("theme", theme)

    @property
    def frame_rate(self) -> int:
        """Pictures a second, one of `FRAME_RATES`."""
        return int(self._text("frame_rate", "30", tuple(map(str, FRAME_RATES))))

    @frame_rate.setter
    def frame_rate(self, rate: int) -> None:
        self._kept.setValue("frame_rate", str(rate))

    @property
    def colour_map(self) -> str:
        """One of `COLOUR_MAPS`."""
        return self._text("colour_map", "magma", COLOUR_MAPS)

    @colour_map.setter
    def colour_map(self, name: str) -> None:
        self._kept.setValue("colour_map", name)

    @property
    def keep_playing(self) -> bool:
        """Whether the host that the window has started goes on when the window is closed."""
        return self._text("keep_playing", "no", ("no", "yes")) == "yes"

    @keep_playing.setter
    def keep_playing(self, on: bool) -> None:
        self._kept.setValue("keep_playing", "yes" if on else "no")

    @property
    def match_loudness(self) -> bool:
        """Whether the bypass of all nodes is as loud as they are."""
        return self._text("match_loudness", "yes", ("no", "yes")) == "yes"

    @match_loudness.setter
    def match_loudness(self, on: bool) -> None:
        self._kept.setValue("match_loudness", "yes" if on else "no")

    @property
    def tab(self) -> str:
        """Title of the view that was shown last."""
        return str(self._kept.value("tab", ""))

    @tab.setter
    def tab(self, title: str) -> None:
        self._kept.setValue("tab", title)

    def of_view(self, title: str) -> dict[str, Any]:
        """What a view remembers, as it gave it to `set_of_view`; {} if it is not known."""
        try:
            found = json.loads(str(self._kept.value(f"view_{title}", "{}")))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def set_of_view(self, title: str, kept: Mapping[str, Any]) -> None:
        """Remember texts, numbers and switches of a view by their names."""
        self._kept.setValue(f"view_{title}", json.dumps(kept))

    @property
    def recent(self) -> list[str]:
        """Rack files, the newest first."""
        found = self._kept.value("recent", [])
        return [str(each) for each in (found if isinstance(found, list) else [found])]

    def add_recent(self, path: str) -> None:
        """Remember a rack file."""
        self._kept.setValue("recent", [path, *(each for each in self.recent if each != path)][:RECENT])

    def geometry(self, name: str) -> QByteArray:
        """What Qt calls the geometry, or the state, of a window; empty if it is not known."""
        found = self._kept.value(name)
        return found if isinstance(found, QByteArray) else QByteArray()

    def set_geometry(self, name: str, value: QByteArray) -> None:
        """Remember a geometry."""
        self._kept.setValue(name, value)
