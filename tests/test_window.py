"""The window around the views: what it says of the host, and what its keys and menus do."""

import pytest
from window import host, own_folders, until, window


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    own_folders(tmp_path, monkeypatch)


def test_it_shows_what_plays(qtbot):
    with host() as started, window(qtbot, started) as shown:
        assert shown.plays.text() == "null device, 48 kHz, block 128, 0.0 ms"
        assert shown.windowTitle().startswith("gain - ")
        assert until(qtbot, shown.load.text).startswith("DSP ")
