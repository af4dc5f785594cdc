"""PulseAudio as the device: one of its sources, and a pipe that a virtual microphone of its reads.

libpulse-simple gives a period of the source, the callback is called, and what it plays is put into the pipe.
There is one clock, the source's, since the server passes on what it finds in the pipe as it comes. (Through
ALSA's plug-in for PulseAudio PortAudio stalls; PipeWire reads pipes by a clock of its own, and has its JACK.)
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rtaudio.errors import UserError
from rtaudio.native import compiled, float32_at, load_acquire, now_ns, sleep_until_ns, write_release
from rtaudio.null import duration_ns
from rtaudio.soundcard import GATE_WORDS, START_SECONDS, Attempt, Gate, SoundCard, Stream, call_through, keep

if TYPE_CHECKING:
    from rtaudio.virtual import Microphone, Source

SHUT_SECONDS = 0.5
"""How long a call in hand may take to return."""
PIPE_BYTES = 4096
"""Longest period: what a pipe takes whole or not at all."""
PIPE_SECONDS = 0.08
"""What the pipe should hold: how long a server without real-time priority may stall."""

# Words after the gate's.
(
    HANDLE,
    READ,
    FRAMES,
    PAUSE,
    CHANNELS,
    INPUTS,
    OUTPUTS,
    SOURCE,
    SINK,
    PIPE,
    WASTE,
    WASTE_BYTES,
    STOP,
    DOWN,
    ERROR,
    WORDS,
) = range(GATE_WORDS, GATE_WORDS + 16)

_RECORD, _FLOAT32 = 2, 5 if np.little_endian else 6
_DEFAULT = 2**32 - 1


@intrinsic
def _read(typing_context: Any, function: Any, handle: Any, data: Any, size: Any, error: Any) -> Any:
    """pa_simple_read at an address: wait for so many bytes; below 0: failed."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [ir.IntType(64)] * 4)
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])

    return types.int32(*[types.intp] * 5), generate


_write = types.ExternalFunction("write", types.intp(types.int32, types.intp, types.intp))
_read_file = types.ExternalFunction("read", types.intp(types.int32, types.intp, types.intp))


@compiled
def _pump(words: Any, address: int) -> None:
    """Call the callback for each period of the source, until ``STOP`` is set or the server is gone.

    A server without real-time priority may stall, and then gives several periods at once: calls are a pause
    apart, half a period, so that workers get through with them.
    """
    n, channels, inputs = words[FRAMES], words[CHANNELS], words[INPUTS]
    x, due = float32_at(words[SOURCE], n * channels), now_ns()
    while load_acquire(words, STOP) == 0:
        size, error = 4 * n * channels, address + 8 * ERROR
        if _read(words[READ], words[HANDLE], words[SOURCE], size, error) < 0:
            words[DOWN] = 1
            break
        if now_ns() < due:
            sleep_until_ns(due)
        due = now_ns() + words[PAUSE]
        if inputs < channels:
            for i in range(n):
                for c in range(inputs):
                    x[i * inputs + c] = x[i * channels + c]
        if call_through(words, address, words[SOURCE], words[SINK], n, 0, 0) == 0:
            pipe, size = np.int32(words[PIPE]), 4 * n * words[OUTPUTS]
            if (
                _write(pipe, words[SINK], size) < 0
            ):  # Full: nobody listens. What begins to will hear the newest.
                _read_file(pipe, words[WASTE], words[WASTE_BYTES])
                _write(pipe, words[SINK], size)


class _Spec(ctypes.Structure):
    _fields_ = [("format", ctypes.c_int), ("rate", ctypes.c_uint32), ("channels", ctypes.c_uint8)]


class _Map(ctypes.Structure):
    _fields_ = [("channels", ctypes.c_uint8), ("map", ctypes.c_int * 32)]


class _Buffer(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("maxlength", "tlength", "prebuf", "minreq", "fragsize")]


@cache
def _library() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    """libpulse-simple and libpulse."""
    try:
        simple, whole = ctypes.CDLL("libpulse-simple.so.0"), ctypes.CDLL("libpulse.so.0")
    except OSError:
        raise UserError("no libpulse-simple.so.0: apt-get install libpulse0") from None
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for library, name, result, arguments in (
        (simple, "pa_simple_new", pointer, [text, text, ctypes.c_int, text, text, *[pointer] * 4]),
        (simple, "pa_simple_free", None, [pointer]),
        (whole, "pa_channel_map_parse", pointer, [pointer, text]),
        (whole, "pa_strerror", text, [ctypes.c_int]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return simple, whole


class _Recording:
    """One connection to the server. Whatever is done with it may hang if the server does."""

    def __init__(self, source: Source, rate: int, frames: int) -> None:
        simple, whole = _library()
        spec, places = _Spec(_FLOAT32, rate, source.channels), _Map()
        whole.pa_channel_map_parse(ctypes.byref(places), source.map.encode())
        buffer = _Buffer(*[_DEFAULT] * 4, 4 * source.channels * frames)
        error = ctypes.c_int()
        self._free = simple.pa_simple_free
        self.handle = simple.pa_simple_new(
            None,
            b"rtaudio",
            _RECORD,
            source.name.encode(),
            b"input",
            ctypes.byref(spec),
            ctypes.byref(places) if places.channels == source.channels else None,
            ctypes.byref(buffer),
            ctypes.byref(error),
        )
        if not self.handle:
            said = whole.pa_strerror(error.value).decode(errors="replace")
            raise UserError(f"{source.label!r} cannot be recorded: {said}; see 'pactl list sources'")

    def close(self) -> None:
        """Disconnect."""
        self._free(self.handle)


class PulseDevice(SoundCard):
    """A source of a sound server, and a virtual microphone's pipe.

    Parameters
    ----------
    source
        What is heard, all its channels; without ``inputs`` it is only the clock.
    microphone
        What is played to.
    rate
        Hz, which the server converts to.
    period
        Samples per call, `PIPE_BYTES` of output at most.
    inputs, outputs
        Channels: of the source 1 to ``inputs``, of the microphone.
    """

    name = "pulse"

    def __init__(
        self, source: Source, microphone: Microphone, rate: int, period: int, inputs: int, outputs: int
    ) -> None:
        super().__init__(inputs, outputs)
        self._origin, self._microphone = source, microphone
        self.input_name, self.output_name = source.label if inputs else "", microphone.label
        self.rate, self._period = rate, period
        self._recording: _Recording | None = None
        self._open_gate: Gate | None = None
        self._runner: threading.Thread | None = None

    @property
    def period(self) -> int:
        """Samples per call."""
        return self._period

    def _gate(self) -> Gate | None:
        return self._open_gate

    def _dead(self) -> bool:
        return self._open_gate is not None and bool(self._open_gate.words[DOWN])

    def start(self, stream: Stream, end: int = -1) -> None:
        """Connect, and begin to call."""
        self._check(stream)
        gate = Gate(WORDS)
        words = gate.words
        words[STOP] = 1
        _pump(words, gate.address)  # Compiles, and returns at once.
        words[STOP] = 0
        words[PAUSE] = duration_ns(self._period, self.rate) // 2
        gate.open(stream)  # Compiles too. What is recorded meanwhile would wait: only now connect.
        attempt = Attempt(
            partial(_Recording, self._origin, self.rate, self._period), discard=_Recording.close
        )
        if not attempt.wait(START_SECONDS) and attempt.give_up():
            raise UserError(f"{self._origin.label!r} does not start: see 'pactl list sources'")
        recording = attempt.result()
        widths = self._origin.channels, self.outputs
        memory = [np.zeros(width * self._period, np.float32) for width in widths]
        memory.append(np.zeros(fcntl.fcntl(self._microphone.pipe, fcntl.F_GETPIPE_SZ) // 4, np.float32))
        words[HANDLE], words[READ] = recording.handle, _address(_library()[0].pa_simple_read)
        words[FRAMES], words[CHANNELS], words[INPUTS] = self._period, self._origin.channels, self.inputs
        words[SOURCE], words[SINK], words[WASTE] = (each.ctypes.data for each in memory)
        words[WASTE_BYTES] = memory[2].nbytes
        words[OUTPUTS], words[PIPE] = self.outputs, self._microphone.pipe
        self._recording, self._open_gate, self._memory = recording, gate, memory
        self._runner = threading.Thread(
            target=_pump, args=(words, gate.address), name="rtaudio-pulse", daemon=True
        )
        self._runner.start()
        if not self._await_calls():
            self.stop()
            raise UserError(f"{self._origin.label!r} gives no sound: see 'pactl list sources'")

    def stop(self) -> bool:
        """Stop and disconnect."""
        return self._leave(START_SECONDS)

    def abandon(self) -> bool:
        """Leave a dead or hanging server to itself."""
        return self._leave(SHUT_SECONDS)

    def _leave(self, seconds: float) -> bool:
        """Shut the gate and disconnect, in a time; returns whether no call is in hand."""
        recording, self._recording = self._recording, None
        gate, self._open_gate = self._open_gate, None
        if recording is None or gate is None or self._runner is None:
            return True
        write_release(gate.words, STOP, 1)
        quiet = gate.shut(SHUT_SECONDS)
        self._forget()
        self._runner.join(seconds)
        if self._runner.is_alive() or not Attempt(recording.close).wait(seconds):
            keep(gate, recording, self._memory)
        return quiet

    def reopen(self, stream: Stream | None = None) -> bool:
        """Look for the server, the source and the microphone, which is made again."""
        if not self._microphone.restore(self._origin.name):
            return False
        return self._restarted(stream)


def _address(function: Callable[..., Any]) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]


def open_pipe(path: str, bytes_per_second: int) -> int:
    """A microphone's pipe, open so that neither end blocks and what is not heard can be taken out again.

    Its size is a wish: the system refuses it to users whose pipes are large already.
    """
    file = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    with suppress(OSError):
        fcntl.fcntl(file, fcntl.F_SETPIPE_SZ, max(PIPE_BYTES, round(PIPE_SECONDS * bytes_per_second)))
    return file
