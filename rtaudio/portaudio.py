"""ALSA through PortAudio: the sound cards of a machine without JACK.

sounddevice calls PortAudio. What it keeps private and this needs is in `_PortAudio` and nowhere else: a
stream with a compiled callback is sounddevice's base class for library authors.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numba
import numpy as np

from rtaudio.errors import UserError
from rtaudio.native import CALLBACK, float32_at, int64_at
from rtaudio.soundcard import (
    GATE_WORDS,
    RATES,
    SHUT,
    START_SECONDS,
    Attempt,
    DeviceInfo,
    Gate,
    SoundCard,
    Stream,
    call_through,
    check_channels,
    find_device,
    keep,
)

SHUT_SECONDS = 0.5
"""How long a call in hand may take to return."""
PRIVATE = ("_StreamBase", "_ffi", "_initialize", "_terminate", "_initialized")
"""What is used of sounddevice beyond its documentation."""

OUTPUTS, WORDS = GATE_WORDS, GATE_WORDS + 1

_HIDE_JACK = {
    "JACK_DEFAULT_SERVER": "none-for-portaudio",
    "JACK_NO_START_SERVER": "1",
    "PIPEWIRE_NOJACK": "1",
}
"""Keeps PortAudio from becoming a JACK client, which would abort this process at its end if the server died
before: see `rtaudio.jack`."""

# PortAudio's error codes.
_CHANNELS, _RATE, _DEVICE, _UNAVAILABLE = -9998, -9997, -9996, -9985


def _gated(source: int, sink: int, frames: int, time: int, flags: int, user: int) -> int:
    """What PortAudio calls: the stream's callback behind the gate; silence and the end once it is shut."""
    words = int64_at(user, WORDS)
    n: Any = np.int64(frames)
    status = call_through(words, user, source, sink, n, time, flags)
    if status == SHUT:
        float32_at(sink, n * words[OUTPUTS])[:] = np.float32(0)
    return status


@cache
def _callback() -> int:
    function = numba.cfunc(CALLBACK, cache=True, nopython=True, error_model="numpy", _nrt=False)(_gated)
    keep(function)
    return int(function.address)


# ---------------------------------------------------------------------------------------------- library

_stderr = threading.Lock()


@contextmanager
def _quiet() -> Iterator[None]:
    """File descriptor 2 leads nowhere: ALSA and PortAudio print there. So do others meanwhile, unheard."""
    with _stderr:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:  # closed
            yield
            return
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextmanager
def _jack_hidden() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _HIDE_JACK}
    os.environ.update(_HIDE_JACK)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


class _PortAudio:
    """PortAudio by way of sounddevice; private names and the initialisation are used only here."""

    def __init__(self) -> None:
        try:
            with _quiet(), _jack_hidden():
                import sounddevice
        except (OSError, ImportError) as error:
            raise UserError(f"no PortAudio ({error}): apt-get install libportaudio2") from None
        missing = [name for name in PRIVATE if not hasattr(sounddevice, name)]
        if missing:
            raise UserError(
                f"sounddevice {sounddevice.__version__} has no {', '.join(missing)}: "
                "pip install 'sounddevice>=0.5.1,<0.6'"
            )
        self.api: Any = sounddevice
        self.error: type[Exception] = sounddevice.PortAudioError
        if any(str(host["name"]).startswith("JACK") for host in sounddevice.query_hostapis()):
            self.renew()  # Somebody imported sounddevice before.

    def renew(self) -> None:
        """Initialise again, which alone renews the list of devices. Kills all streams; may hang."""
        with _quiet(), _jack_hidden():
            while self.api._initialized:
                self.api._terminate()
            self.api._initialize()

    def forsake(self) -> None:
        """Do not terminate at the end of the interpreter: a stream hangs, and so would that."""
        self.api._initialized = 0

    def devices(self) -> list[DeviceInfo]:
        """ALSA's, without their rates."""
        host = next((host for host in self.api.query_hostapis() if host["name"] == "ALSA"), None)
        if host is None:
            raise UserError("this PortAudio was built without ALSA: apt-get install libportaudio2")
        found = []
        for index in host["devices"]:
            device = self.api.query_devices(index)
            found.append(
                DeviceInfo(
                    api="alsa",
                    index=index,
                    name=device["name"],
                    inputs=device["max_input_channels"],
                    outputs=device["max_output_channels"],
                    rate=round(device["default_samplerate"]),
                    rates=(),
                    default_input=index == host["default_input_device"],
                    default_output=index == host["default_output_device"],
                )
            )
        return found

    def refusal(
        self, source: DeviceInfo | None, sink: DeviceInfo, rate: int, inputs: int, outputs: int
    ) -> Exception | None:
        """Why the devices cannot be opened so, or None. Opens them for a moment; they may be busy."""
        try:
            with _quiet():
                if source is not None:
                    self.api.check_input_settings(source.index, inputs, "float32", samplerate=rate)
                self.api.check_output_settings(sink.index, outputs, "float32", samplerate=rate)
        except self.error as error:
            return error
        return None

    def accepts(self, info: DeviceInfo, rate: int) -> bool:
        """Whether a device accepts a rate."""
        direction = "output" if info.outputs else "input"
        check = getattr(self.api, f"check_{direction}_settings")
        try:
            with _quiet():
                check(info.index, None, "float32", samplerate=rate)
        except self.error:
            return False
        return True

    def open(self, gate: Gate, source: DeviceInfo | None, sink: DeviceInfo, device: SoundCard) -> Any:
        """A stream of 32-bit samples with periods as the card likes them, and the compiled callback."""
        ffi = self.api._ffi
        duplex = source is not None
        with _quiet():
            return self.api._StreamBase(
                kind="duplex" if duplex else "output",
                device=(source.index, sink.index) if source is not None else sink.index,
                channels=(device.inputs, device.outputs) if duplex else device.outputs,
                samplerate=device.rate,
                blocksize=0,
                dtype="float32",
                latency="low",
                clip_off=True,
                dither_off=True,
                callback=ffi.cast("PaStreamCallback *", _callback()),
                userdata=ffi.cast("void *", gate.address),
                wrap_callback=None,
            )


@cache
def _portaudio() -> _PortAudio:
    return _PortAudio()


def devices() -> list[DeviceInfo]:
    """ALSA's devices, each with the rates that it accepts now (none, if something else uses it)."""
    library = _portaudio()
    found = library.devices()
    return [
        replace(info, rates=tuple(r for r in sorted({*RATES, info.rate}) if library.accepts(info, r)))
        for info in found
    ]


def _words(error: Exception) -> str:
    """What ALSA or PortAudio says, without sounddevice's introduction."""
    text, *rest = error.args
    if len(rest) == 2 and rest[1]:
        return str(rest[1][-1])
    return str(text).rpartition(": ")[2]


def _user_error(
    error: Exception, source: DeviceInfo | None, sink: DeviceInfo, rate: int, inputs: int, outputs: int
) -> UserError:
    """A PortAudio error, with what was wrong and what to do."""
    names = repr(sink.name) if source is None else f"{source.name!r} and {sink.name!r}"
    code = error.args[1] if len(error.args) > 1 else 0
    said = _words(error)
    if code == _UNAVAILABLE or "busy" in said.casefold():
        return UserError(f"{names} is busy: close what uses it (fuser -v /dev/snd/*), or go through JACK")
    if code == _RATE:
        return UserError(f"{names} does not run at {rate} Hz: choose a rate that 'rtaudio devices' shows")
    if code == _CHANNELS:
        wanted = f"{outputs} out" if source is None else f"{inputs} in and {outputs} out"
        return UserError(f"{names} does not do {wanted}: choose another device or another channel count")
    if code == _DEVICE or "No such" in said:
        return UserError(f"{names} is gone ({said}): connect it again; 'rtaudio devices' lists what is there")
    return UserError(f"{names} cannot be opened at {rate} Hz: {said}; try 'rtaudio devices' for others")


# ---------------------------------------------------------------------------------------------- device


class PortAudioDevice(SoundCard):
    """One or two ALSA devices.

    The latency is PortAudio's estimate; `rtaudio measure latency` measures.

    Parameters
    ----------
    input, output
        Name, part of it, or number in `devices`; None: ALSA's default. The input is not opened without
        ``inputs``.
    rate
        Hz; None: the output's own.
    inputs, outputs
        Channels.

    Raises
    ------
    UserError
        No PortAudio, an unknown device, or one that refuses the rate or the channels or is busy.
    """

    name = "alsa"

    def __init__(
        self,
        input: str | None = None,  # noqa: A002
        output: str | None = None,
        rate: int | None = None,
        inputs: int = 0,
        outputs: int = 2,
    ) -> None:
        super().__init__(inputs, outputs)
        self._library = _portaudio()
        self._stream: Any = None
        self._open_gate: Gate | None = None
        self._closing: Attempt[None] | None = None
        self._renewal: Attempt[None] | None = None
        found = self._library.devices()
        self._source = find_device(found, input, "input") if inputs else None
        self._sink = find_device(found, output, "output")
        if self._source is not None:
            check_channels(self._source, "input", inputs)
            self.input_name = self._source.name
        check_channels(self._sink, "output", outputs)
        self.output_name = self._sink.name
        self.rate = rate or self._sink.rate
        refusal = self._library.refusal(self._source, self._sink, self.rate, inputs, outputs)
        if refusal is not None:
            raise self._user_error(refusal)

    def _user_error(self, error: Exception) -> UserError:
        return _user_error(error, self._source, self._sink, self.rate, self.inputs, self.outputs)

    @property
    def period(self) -> int:
        """0: PortAudio's ALSA calls with what there is."""
        return 0

    def _gate(self) -> Gate | None:
        return self._open_gate

    def _dead(self) -> bool:
        return self._stream is not None and not self._stream.active

    def start(self, stream: Stream, end: int = -1) -> None:
        """Open, and begin to be called."""
        self._check(stream)
        gate = Gate(WORDS)
        gate.words[OUTPUTS] = self.outputs
        attempt = Attempt(partial(self._open, gate, stream), discard=_close)
        if not attempt.wait(START_SECONDS) and attempt.give_up():
            gate.shut(SHUT_SECONDS)
            keep(gate)
            raise UserError(f"{self.output_name!r} does not start: connect it again, or choose another")
        try:
            self._stream = attempt.result()
        except self._library.error as error:
            raise self._user_error(error) from None
        self._open_gate = gate
        if not self._await_calls():
            self.stop()
            raise UserError(f"{self.output_name!r} does not call: connect it again, or choose another")
        seconds = self._stream.latency
        total = sum(seconds) if isinstance(seconds, tuple) else seconds
        self.latency = max(0, round(total * self.rate))

    def _open(self, gate: Gate, stream: Stream) -> Any:
        opened = self._library.open(gate, self._source, self._sink, self)
        gate.open(stream)
        try:
            with _quiet():
                opened.start()
        except self._library.error:
            opened.close()
            raise
        return opened

    def stop(self) -> bool:
        """Stop and close."""
        return self._leave(START_SECONDS)

    def abandon(self) -> bool:
        """Leave a dead device to itself; it is closed in the background."""
        return self._leave(0.0)

    def _leave(self, seconds: float) -> bool:
        """Shut the gate and close, in a time; returns whether no call is in hand."""
        stream, self._stream = self._stream, None
        gate, self._open_gate = self._open_gate, None
        if stream is None or gate is None:
            return True
        quiet = gate.shut(SHUT_SECONDS)
        self._forget()
        self._closing = Attempt(partial(_close, stream))
        if not self._closing.wait(seconds):
            keep(gate, stream)
        return quiet

    def reopen(self, stream: Stream | None = None) -> bool:
        """Look for the devices again. Renews PortAudio's list, which no other stream survives."""
        if self._closing is not None and not self._closing.wait(START_SECONDS):
            self._library.forsake()
            return False  # PortAudio would wait for it.
        if self._renewal is None:
            self._renewal = Attempt(self._library.renew)
        if not self._renewal.wait(START_SECONDS):
            self._library.forsake()
            return False
        renewal, self._renewal = self._renewal, None
        try:
            renewal.result()
        except self._library.error:
            return False
        found = {info.name: info for info in self._library.devices()}
        sink = found.get(self.output_name)
        source = found.get(self.input_name) if self._source is not None else None
        if sink is None or (self._source is not None and source is None):
            return False
        if self._library.refusal(source, sink, self.rate, self.inputs, self.outputs) is not None:
            return False
        self._source, self._sink = source, sink
        return self._restarted(stream)

    def statistics(self) -> dict[str, Any]:
        """Also PortAudio's estimates: the latency, and the share of the time that the callback takes."""
        stream = self._stream
        return super().statistics() | {
            "latency_estimate": self.latency,
            "cpu_load": round(stream.cpu_load, 4) if stream is not None else 0.0,
        }


def _close(stream: Any) -> None:
    """Abort and close; may hang if the card does."""
    with suppress(Exception):
        stream.abort(ignore_errors=True)
        stream.close(ignore_errors=True)
