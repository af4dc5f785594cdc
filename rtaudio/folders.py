"""Where a user's files lie: the folders of the XDG base directory specification, and ours in each."""

from __future__ import annotations

import os
from pathlib import Path


def _folder(variable: str, *default: str) -> Path:
    return Path(os.environ.get(variable) or Path.home().joinpath(*default)) / "rtaudio"


def data_folder() -> Path:
    """What users make and keep: racks, voices, models, recordings."""
    return _folder("XDG_DATA_HOME", ".local", "share")


def state_folder() -> Path:
    """What a program remembers of its last run: logs, racks to start again with."""
    return _folder("XDG_STATE_HOME", ".local", "state")


def settings_folder() -> Path:
    """Settings."""
    return _folder("XDG_CONFIG_HOME", ".config")


def cache_folder() -> Path:
    """What can be made again: compiled kernels, outlines of files."""
    return _folder("XDG_CACHE_HOME", ".cache")
