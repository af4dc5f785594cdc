from window import *  # noqa
import pytest, shutil


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    own_folders(tmp_path, monkeypatch)


def test_first(qtbot):
    with (
        host(
            "--file",
            "examples/clip.flac",
            "--loop",
            chain="biquad(frequency=80) | remix(preset=live) | limiter | gain",
        ) as h,
        window(qtbot, h) as w,
    ):
        until(qtbot, lambda: w.load.text())
        r = w._panels[0][1]
        r.panel("biquad")._open_button.click()
        r.panel("biquad").mute_button.click()
        w.bypass_action.trigger()
        qtbot.wait(1000)
        w.grab().save("/tmp/pictures/w1/rack.png")
        w._set_theme("light")
        qtbot.wait(300)
        w.grab().save("/tmp/pictures/w1/light.png")
        w._set_theme("dark")
