"""The dialog of devices: what is listed, what stays chosen as devices come and go, what is handed on."""

from dataclasses import asdict

import pytest
from window import until, window

from gui.application import application
from gui.devices import Devices
from gui.recovery import device_of, options_through
from rtaudio.soundcard import DeviceInfo

pytestmark = pytest.mark.alone


@pytest.fixture
def dialog(qtbot):
    application()
    made = Devices({"api": "alsa", "input": "USB", "block": "64"})
    qtbot.addWidget(made)
    yield made
    made.reject()


def device(name, api="alsa", inputs=2, outputs=2):
    return asdict(DeviceInfo(api, 0, name, inputs, outputs, 48_000, (48_000,), False, False))


def entries(box):
    return [box.itemText(at) for at in range(box.count())]


def test_what_the_host_has_is_chosen(dialog):
    assert dialog.wanted() == {"api": "alsa", "input": "USB", "block": "64"}
    assert entries(dialog.input) == ["the default", "USB (not here)"]


def test_the_devices_of_this_machine_are_asked_for(qtbot, dialog):
    until(qtbot, lambda: "here; what comes or goes" in dialog.note.text())


def test_devices_come_and_go_and_the_choice_stays(dialog):
    dialog._found = [device("USB"), device("Speaker", inputs=0), device("system", "jack")]
    dialog._list()
    assert entries(dialog.input) == ["the default", "USB"]
    assert entries(dialog.output) == ["the default", "USB", "Speaker"]
    dialog.output.setCurrentIndex(2)
    dialog._found = [device("Other")]
    dialog._list()
    assert entries(dialog.output) == ["the default", "Other", "Speaker (not here)"]
    assert dialog.wanted() == {"api": "alsa", "input": "USB", "output": "Speaker", "block": "64"}
    dialog._found = [device("Other"), device("Speaker")]
    dialog._list()
    assert entries(dialog.output) == ["the default", "Other", "Speaker"]
    assert dialog.wanted()["output"] == "Speaker"


def test_without_a_device_none_is_handed_on(dialog):
    dialog.api.setCurrentIndex(dialog.api.findData("null"))
    assert dialog.wanted() == {"api": "null", "block": "64"}
    assert not dialog.input.isEnabled()


def test_options_of_a_device_take_the_place_of_others():
    options = ["--api=jack", "--input", "a b", "--file", "x.wav", "--loop", "--map=in=1", "--rate", "44100"]
    assert device_of(options) == {"api": "jack", "input": "a b", "rate": "44100"}
    kept = options_through({"api": "null", "block": "256"}, options)
    assert kept == ["--file", "x.wav", "--loop", "--api=null", "--block=256"]


def test_another_device_plays_the_rack_as_it_was(qtbot, tmp_path, monkeypatch):
    for name in ("RUNTIME_DIR", "CONFIG_HOME", "STATE_HOME", "DATA_HOME"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"XDG_{name}", str(tmp_path / name))
    with window(qtbot, options=["--api=null", "--chain=gain"]) as shown:
        shown.start()
        until(qtbot, lambda: shown.link.state)
        first = shown.link.pid
        shown.link.set("gain.gain", -6.0)
        until(qtbot, lambda: shown.link.state["nodes"][0]["parameters"][0]["value"] == -6.0)
        shown.devices_action.trigger()
        (dialog,) = shown.findChildren(Devices)
        assert dialog.wanted() == {"api": "null"}
        dialog.block.setCurrentIndex(dialog.block.findData("256"))
        dialog.accept()
        until(qtbot, lambda: shown.link.pid not in (0, first) and shown.link.state)
        assert shown.link.state["block"] == 256
        assert shown.link.state["nodes"][0]["parameters"][0]["value"] == -6.0
