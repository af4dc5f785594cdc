"""JACK, also as PipeWire offers it, by libjack itself.

Not through PortAudio: once the server has died, PortAudio waits ten minutes for it when a stream is closed.
Pa_Terminate, which alone leads to a new connection and also runs at the interpreter's end, then asserts that
jack_deactivate succeeded, and in Debian's build that aborts the process. With libjack the server's death is
an ordinary event. Besides, xruns, port names, connections and the period are the server's own.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rtaudio.errors import UserError
from rtaudio.native import call_word, compiled, float32_at, float64_at, int64_at, uint8_at
from rtaudio.ring import Ring, ring_pop, ring_push
from rtaudio.soundcard import (
    GATE_WORDS,
    SHUT,
    START_SECONDS,
    Attempt,
    DeviceInfo,
    Gate,
    SoundCard,
    Stream,
    call_through,
    check_channels,
    check_midi_port,
    find_device,
    find_midi_port,
    keep,
)

CLIENT_NAME = "rtaudio"
LONGEST = 8192
"""Frames that the callback gets at a time: the longest period of JACK and of PipeWire."""
SHUT_SECONDS = 0.5
"""How long a call in hand may take to return."""

# Words after the gate's.
(
    INPUTS,
    OUTPUTS,
    PORTS,
    GET_BUFFER,
    SOURCE,
    SINK,
    XRUNS,
    TOLD,
    DOWN,
    PERIOD,
    AT,  # position of the stream at the beginning of the period
    MIDI_IN,  # port, or 0
    MIDI_OUT,
    RECEIVED,  # ring of position and message of what came
    TO_SEND,  # ring of messages
    EVENT,  # room for libjack's description of an event: int64[3]
    MESSAGE,  # room for an element of a ring: float64[2]
    SKIPPED,  # messages that are none of a channel, or longer than three bytes
    LOST,  # messages that found no room in the ring
    UNSENT,  # messages that found no room in the port's buffer
    EVENT_COUNT,
    EVENT_GET,
    CLEAR_BUFFER,
    EVENT_RESERVE,
    WORDS,
) = range(GATE_WORDS, GATE_WORDS + 25)

_XRUN_FLAGS = 4
"""PortAudio's input overflow and output underflow: JACK does not say which."""
_NO_START_SERVER, _IS_INPUT, _IS_OUTPUT, _IS_PHYSICAL = 1, 1, 2, 4
_SERVER_FAILED = 0x10
_AUDIO, _MIDI = b"32 bit float mono audio", b"8 bit raw midi"

LONGEST_MESSAGE = 3
"""Bytes of a MIDI message of a channel, at most."""
MIDI_MESSAGES = 4096
"""Messages that wait for the control thread, or for the next period, at most."""


# ---------------------------------------------------------------------------------------------- callbacks


@intrinsic
def _port_buffer(typing_context: Any, function: Any, port: Any, frames: Any) -> Any:
    """Address of a port's samples, by jack_port_get_buffer at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word, ir.IntType(32)])
        frames_32 = builder.trunc(arguments[2], ir.IntType(32))
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [arguments[1], frames_32])

    return types.intp(types.intp, types.intp, types.int64), generate


@intrinsic
def _call_three(typing_context: Any, address: Any, a: Any, b: Any, c: Any) -> Any:
    """Call a C function of three words, which returns one, by its address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word] * 3)
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])

    return types.intp(types.intp, types.intp, types.intp, types.intp), generate


_LOWER_HALF = 0xFFFF_FFFF
"""Of a word: what a function that returns 32 bits has said."""


@compiled
def _receive(words: Any, frames: int) -> None:
    """Put the period's MIDI messages on their ring, each with its position in the stream."""
    buffer = _port_buffer(words[GET_BUFFER], words[MIDI_IN], frames)
    event, message = int64_at(words[EVENT], 3), float64_at(words[MESSAGE], 2)
    for i in range(call_word(words[EVENT_COUNT], buffer) & _LOWER_HALF):
        if _call_three(words[EVENT_GET], words[EVENT], buffer, i) & _LOWER_HALF != 0:
            continue
        length, data = event[1], uint8_at(event[2], LONGEST_MESSAGE)
        if not 1 <= length <= LONGEST_MESSAGE or data[0] >= 0xF0:
            words[SKIPPED] += 1
            continue
        packed = length
        for j in range(LONGEST_MESSAGE):
            packed = packed << 8 | (np.int64(data[j]) if j < length else 0)
        message[0], message[1] = words[AT] + (event[0] & _LOWER_HALF), packed
        words[LOST] += 0 if ring_push(words[RECEIVED], message, 2) else 1


@compiled
def _send(words: Any, frames: int) -> None:
    """Send the messages that wait, at the beginning of the period."""
    buffer, message = _port_buffer(words[GET_BUFFER], words[MIDI_OUT], frames), float64_at(words[MESSAGE], 2)
    call_word(words[CLEAR_BUFFER], buffer)
    while ring_pop(words[TO_SEND], message, 1) == 1:
        packed = np.int64(message[0])
        length = packed >> 24
        place = _call_three(words[EVENT_RESERVE], buffer, 0, length)
        if place == 0:
            words[UNSENT] += 1
            continue
        data = uint8_at(place, length)
        for j in range(length):
            data[j] = packed >> (16 - 8 * j) & 0xFF


def _process(frames: int, user: int) -> int:
    """What JACK calls: from ports to interleaved, through the stream's callback, and back to ports."""
    words = int64_at(user, WORDS)
    n: Any = np.int64(frames)
    inputs, outputs = words[INPUTS], words[OUTPUTS]
    ports = int64_at(words[PORTS], inputs + outputs)
    source = words[SOURCE] if inputs > 0 else 0
    if words[MIDI_IN] != 0:
        _receive(words, n)
        _send(words, n)
    xruns = words[XRUNS]
    flags = _XRUN_FLAGS if xruns != words[TOLD] else 0
    words[TOLD] = xruns
    at = 0
    while at < n:
        length = min(n - at, LONGEST)
        block = float32_at(words[SOURCE], length * inputs)
        for c in range(inputs):
            x = float32_at(_port_buffer(words[GET_BUFFER], ports[c], n) + 4 * at, length)
            for i in range(length):
                block[i * inputs + c] = x[i]
        status = call_through(words, user, source, words[SINK], length, 0, flags)
        block = float32_at(words[SINK], length * outputs)
        for c in range(outputs):
            y = float32_at(_port_buffer(words[GET_BUFFER], ports[inputs + c], n) + 4 * at, length)
            for i in range(length):
                y[i] = block[i * outputs + c] if status == 0 else np.float32(0)
        flags = 0
        at += length
        words[AT] += length if status != SHUT else 0
    return 0


def _xrun(user: int) -> int:
    int64_at(user, WORDS)[XRUNS] += 1
    return 0


def _shutdown(user: int) -> None:
    int64_at(user, WORDS)[DOWN] = 1


def _period_changed(frames: int, user: int) -> int:
    int64_at(user, WORDS)[PERIOD] = frames
    return 0


def _silence(message: int) -> None:
    """What libjack would print."""


@cache
def _callback(function: Callable[..., Any]) -> int:
    """Address of one of the above."""
    signatures = {
        _process: types.int32(types.uint32, types.intp),
        _xrun: types.int32(types.intp),
        _shutdown: types.void(types.intp),
        _period_changed: types.int32(types.uint32, types.intp),
        _silence: types.void(types.intp),
    }
    compiled_function = numba.cfunc(
        signatures[function], cache=True, nopython=True, error_model="numpy", _nrt=False
    )(function)
    keep(compiled_function)
    return int(compiled_function.address)


# ---------------------------------------------------------------------------------------------- libjack


PIPEWIRE_LIBRARY = "/usr/${LIB}/pipewire-0.3/jack/libjack.so.0"
"""PipeWire's libjack where another one has its place, as ``pw-jack`` finds it."""

_chosen = {"library": "libjack.so.0"}


def _is_pipewires(name: str) -> bool:
    """Whether a file is PipeWire's libjack; also False if it is not there."""
    with suppress(OSError, AttributeError):
        version = ctypes.CDLL(name).jack_get_version_string
        version.restype = ctypes.c_char_p
        return b"PipeWire" in version()
    return False


def pipewire_library() -> str:
    """File of PipeWire's libjack; empty: it is not installed."""
    return next(filter(_is_pipewires, ("libjack.so.0", PIPEWIRE_LIBRARY)), "")


def on_pipewire() -> bool:
    """Whether the JACK servers are PipeWire."""
    return _is_pipewires(_chosen["library"])


def choose_pipewire() -> bool:
    """Look for servers with PipeWire's libjack from now on; False if there is none, and nothing changes."""
    name = pipewire_library()
    if name and name != _chosen["library"]:
        _chosen["library"] = name
        _library.cache_clear()
    return bool(name)


@cache
def _library() -> ctypes.CDLL:
    """libjack, silenced; without starting a server."""
    try:
        library = ctypes.CDLL(_chosen["library"])
    except OSError:
        raise UserError(
            "no libjack.so.0: apt-get install libjack-jackd2-0 (or pipewire-jack, and run under pw-jack)"
        ) from None
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32
    strings = ctypes.POINTER(ctypes.c_char_p)
    for name, result, arguments in (
        ("jack_client_open", pointer, [text, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]),
        ("jack_client_close", ctypes.c_int, [pointer]),
        ("jack_get_client_name", text, [pointer]),
        ("jack_get_sample_rate", number, [pointer]),
        ("jack_get_buffer_size", number, [pointer]),
        ("jack_cpu_load", ctypes.c_float, [pointer]),
        ("jack_port_register", pointer, [pointer, text, text, ctypes.c_ulong, ctypes.c_ulong]),
        ("jack_port_name", text, [pointer]),
        ("jack_port_connected", ctypes.c_int, [pointer]),
        ("jack_port_connected_to", ctypes.c_int, [pointer, text]),
        ("jack_port_disconnect", ctypes.c_int, [pointer, pointer]),
        ("jack_get_ports", strings, [pointer, text, text, ctypes.c_ulong]),
        ("jack_connect", ctypes.c_int, [pointer, text, text]),
        ("jack_free", None, [pointer]),
        ("jack_set_process_callback", ctypes.c_int, [pointer, pointer, pointer]),
        ("jack_set_xrun_callback", ctypes.c_int, [pointer, pointer, pointer]),
        ("jack_set_buffer_size_callback", ctypes.c_int, [pointer, pointer, pointer]),
        ("jack_on_shutdown", None, [pointer, pointer, pointer]),
        ("jack_activate", ctypes.c_int, [pointer]),
        ("jack_set_error_function", None, [pointer]),
        ("jack_set_info_function", None, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.jack_set_error_function(_callback(_silence))
    library.jack_set_info_function(_callback(_silence))
    return library


_clients: set[_Client] = set()
_clients_lock = threading.Lock()
"""Held while a client is opened or closed: jack_client_open frees the clients of a server that has died, and
crashes if one of them is being closed, or is closed afterwards."""


class _Client:
    """One connection to a server, with ports. What libjack does with it may hang if the server does."""

    def __init__(self, inputs: int = 0, outputs: int = 0, midi: bool = False) -> None:
        library = self._library = _library()
        self.gate = Gate(WORDS)
        self.unwanted = self._closed = False
        status = ctypes.c_int()
        with _clients_lock:
            for other in [other for other in _clients if other.unwanted or other.down]:
                other._close()
            self._pointer = library.jack_client_open(
                CLIENT_NAME.encode(), _NO_START_SERVER, ctypes.byref(status)
            )
            for other in [other for other in _clients if other.down]:
                other._give_up()  # Died meanwhile: freed, perhaps.
            if not self._pointer:
                raise _refusal(status.value)
            _clients.add(self)
        self.name = library.jack_get_client_name(self._pointer).decode()
        self.rate = int(library.jack_get_sample_rate(self._pointer))
        self.inputs = [self._port(f"in_{c + 1}", _IS_INPUT) for c in range(inputs)]
        self.outputs = [self._port(f"out_{c + 1}", _IS_OUTPUT) for c in range(outputs)]
        self._ports = np.array([*self.inputs, *self.outputs, 0], np.int64)
        self._source = np.zeros(LONGEST * max(inputs, 1), np.float32)
        self._sink = np.zeros(LONGEST * max(outputs, 1), np.float32)
        words = self.gate.words
        words[INPUTS], words[OUTPUTS], words[PORTS] = inputs, outputs, self._ports.ctypes.data
        words[GET_BUFFER] = ctypes.cast(library.jack_port_get_buffer, ctypes.c_void_p).value or 0
        words[SOURCE], words[SINK] = self._source.ctypes.data, self._sink.ctypes.data
        words[PERIOD] = library.jack_get_buffer_size(self._pointer)
        user = self.gate.address
        library.jack_set_process_callback(self._pointer, _callback(_process), user)
        library.jack_set_xrun_callback(self._pointer, _callback(_xrun), user)
        library.jack_set_buffer_size_callback(self._pointer, _callback(_period_changed), user)
        library.jack_on_shutdown(self._pointer, _callback(_shutdown), user)
        if midi:
            self.add_midi()

    def _port(self, name: str, flags: int, kind: bytes = _AUDIO) -> int:
        port = self._library.jack_port_register(self._pointer, name.encode(), kind, flags, 0)
        if not port:
            self.close()
            raise UserError(f"JACK refuses the port {name!r}: too many ports; ask for fewer channels")
        return int(port)

    def add_midi(self) -> None:
        """Add the MIDI ports. Only while nothing calls."""
        words, library = self.gate.words, self._library
        self.received, self.to_send = Ring(2 * MIDI_MESSAGES, np.float64), Ring(MIDI_MESSAGES, np.float64)
        self._event, self._message = np.zeros(3, np.int64), np.zeros(2)
        words[RECEIVED], words[TO_SEND] = self.received.address, self.to_send.address
        words[EVENT], words[MESSAGE] = self._event.ctypes.data, self._message.ctypes.data
        for word, name in (
            (EVENT_COUNT, "jack_midi_get_event_count"),
            (EVENT_GET, "jack_midi_event_get"),
            (CLEAR_BUFFER, "jack_midi_clear_buffer"),
            (EVENT_RESERVE, "jack_midi_event_reserve"),
        ):
            words[word] = ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
        words[MIDI_OUT] = self._port("midi_out", _IS_OUTPUT, _MIDI)
        words[MIDI_IN] = self._port("midi_in", _IS_INPUT, _MIDI)

    def hears(self, source: str) -> bool:
        """Whether a port is connected to the MIDI input."""
        if self.down or self._closed:
            return False
        port = int(self.gate.words[MIDI_IN])
        return bool(self._library.jack_port_connected_to(port, source.encode()))

    def shown_to(self) -> int:
        """How many ports the MIDI output is connected with."""
        if self.down or self._closed:
            return 0
        return int(self._library.jack_port_connected(int(self.gate.words[MIDI_OUT])))

    def connect_midi(self, name: str) -> str:
        """Connect the MIDI ports with those of a name, or a part of it; returns the input's, "" if none is.

        Raises
        ------
        UserError
            Several inputs have it.
        """
        own = f"{self.name}:"
        midi_in, midi_out = self.port_names([int(self.gate.words[word]) for word in (MIDI_IN, MIDI_OUT)])
        sources = [port for port in self.ports(_IS_OUTPUT, _MIDI) if not port.startswith(own)]
        sinks = [port for port in self.ports(_IS_INPUT, _MIDI) if not port.startswith(own)]
        source = find_midi_port(sources, name)
        if source:
            self.connect([source], [midi_in])
            with suppress(UserError):
                sink = find_midi_port(sinks, source) or find_midi_port(sinks, name)
                sink = sink or find_midi_port(sinks, f"{_client_of(source)}:")
                self.connect([midi_out] if sink else [], [sink])
        return source

    @property
    def down(self) -> bool:
        """Whether the server has gone, or has thrown this client out."""
        return bool(self.gate.words[DOWN])

    @property
    def period(self) -> int:
        """The server's; changes when the server's does."""
        return int(self.gate.words[PERIOD])

    @property
    def xruns(self) -> int:
        """Counted by the server since the client was opened."""
        return int(self.gate.words[XRUNS])

    @property
    def load(self) -> float:
        """Share of the period that all clients take, as the server sees it."""
        return 0.0 if self.down or self._closed else float(self._library.jack_cpu_load(self._pointer)) / 100

    def devices(self) -> list[DeviceInfo]:
        """Clients with audio ports; those with physical ones can be the default."""
        capture, playback = self.ports(_IS_OUTPUT), self.ports(_IS_INPUT)
        default_input = _first_client(self.ports(_IS_OUTPUT | _IS_PHYSICAL))
        default_output = _first_client(self.ports(_IS_INPUT | _IS_PHYSICAL))
        names = dict.fromkeys(_client_of(port) for port in [*capture, *playback])
        return [
            DeviceInfo(
                api="jack",
                index=index,
                name=name,
                inputs=sum(_client_of(port) == name for port in capture),
                outputs=sum(_client_of(port) == name for port in playback),
                rate=self.rate,
                rates=(self.rate,),
                default_input=name == default_input,
                default_output=name == default_output,
            )
            for index, name in enumerate(name for name in names if name != self.name)
        ]

    def ports(self, flags: int, kind: bytes = _AUDIO) -> list[str]:
        """Names of a kind's ports of all clients; what can be heard is an output of its client."""
        found = self._library.jack_get_ports(self._pointer, None, kind, flags)
        names: list[str] = []
        if found:
            while found[len(names)] is not None:
                names.append(found[len(names)].decode())
            self._library.jack_free(found)
        return names

    def activate(self) -> None:
        """Begin to be called."""
        if self._library.jack_activate(self._pointer) != 0:
            raise UserError("JACK does not start the client: the server has gone; start it again")

    def connect(self, sources: Sequence[str], sinks: Sequence[str]) -> None:
        """Connect ports in pairs; a connection that is there already is as well."""
        for source, sink in zip(sources, sinks, strict=False):
            self._library.jack_connect(self._pointer, source.encode(), sink.encode())

    def disconnect(self) -> None:
        """Take all connections off the ports."""
        for port in [*self.inputs, *self.outputs]:
            self._library.jack_port_disconnect(self._pointer, port)

    def port_names(self, ports: Sequence[int]) -> list[str]:
        """Full names."""
        return [self._library.jack_port_name(port).decode() for port in ports]

    def close(self) -> None:
        """Close; after a normal close the server does not call any more."""
        self.unwanted = True
        with _clients_lock:
            self._close()

    def _close(self) -> None:
        if not self._closed:
            self._give_up()
            self._library.jack_client_close(self._pointer)

    def _give_up(self) -> None:
        self._closed = True
        _clients.discard(self)
        if self.down:
            keep(self)  # Its thread may be left, in libjack.


def _client_of(port: str) -> str:
    return port.partition(":")[0]


def _first_client(ports: Sequence[str]) -> str:
    return _client_of(ports[0]) if ports else ""


def _refusal(status: int) -> UserError:
    server = os.environ.get("JACK_DEFAULT_SERVER")
    named = f" named {server!r}" if server else ""
    if status & _SERVER_FAILED or status <= 1:
        return UserError(
            f"no JACK server{named} is running: start one (jackd -d alsa -r 48000 -p 128; with PipeWire run "
            "under pw-jack), as the same user"
        )
    return UserError(f"the JACK server{named} refuses a client (status {status:#x}): see its messages")


@cache
def _compile() -> None:
    """Compile what a client needs: its time to answer is not for that."""
    for function in (_process, _xrun, _shutdown, _period_changed):
        _callback(function)
    ring = Ring(2, np.float64)
    ring.push(ring.pop(2))


def _open(inputs: int, outputs: int, midi: bool = False) -> _Client:
    """A client, or the reason why not, in bounded time."""
    _compile()
    attempt = Attempt(partial(_Client, inputs, outputs, midi), discard=_Client.close)
    if not attempt.wait(START_SECONDS) and attempt.give_up():
        raise UserError(f"the JACK server does not answer within {START_SECONDS:g} s: restart it")
    return attempt.result()


def devices() -> list[DeviceInfo]:
    """The clients of the server that can be heard or played to."""
    client = _open(0, 0)
    try:
        return client.devices()
    finally:
        Attempt(client.close).wait(START_SECONDS)


def midi_ports() -> tuple[list[str], list[str]]:
    """Names of the server's MIDI ports: those that send, and those that receive."""
    client = _open(0, 0)
    try:
        return client.ports(_IS_OUTPUT, _MIDI), client.ports(_IS_INPUT, _MIDI)
    finally:
        Attempt(client.close).wait(START_SECONDS)


# ---------------------------------------------------------------------------------------------- device


class JackDevice(SoundCard):
    """A JACK server as the device.

    Parameters
    ----------
    input, output
        Clients to connect to: name, part of it, or number in `devices`. None: the first with physical ports.
        ``""``: connect to nothing; others may.
    rate
        Hz, to be sure; the server's is taken.
    inputs, outputs
        Channels; port ``rtaudio:in_1`` and on, ``rtaudio:out_1`` and on.

    Raises
    ------
    UserError
        No server, another rate, an unknown client or one with fewer ports.
    """

    name = "jack"

    def __init__(
        self,
        input: str | None = None,  # noqa: A002
        output: str | None = None,
        rate: int | None = None,
        inputs: int = 0,
        outputs: int = 2,
    ) -> None:
        super().__init__(inputs, outputs)
        self._client: _Client | None = None
        self._attempt: Attempt[_Client] | None = None
        self._midi: JackMidi | None = None
        self._period, self._closed_xruns = 0, 0
        client = _open(inputs, outputs)
        try:
            if rate is not None and rate != client.rate:
                raise UserError(
                    f"the JACK server runs at {client.rate} Hz, not {rate}: leave the rate out, or restart it"
                )
            self.rate = client.rate
            found = client.devices()
            if inputs and input != "":
                source = find_device(found, input, "input")
                check_channels(source, "input", inputs)
                self.input_name = source.name
            if output != "":
                sink = find_device(found, output, "output")
                check_channels(sink, "output", outputs)
                self.output_name = sink.name
        except UserError:
            Attempt(client.close)
            raise
        self._take(client)

    def _take(self, client: _Client) -> None:
        self._client, self._period = client, client.period
        self._started = False

    @property
    def period(self) -> int:
        """The server's; watch it, the user may change it while sound runs."""
        if self._client is not None:
            self._period = self._client.period
        return self._period

    def _gate(self) -> Gate | None:
        return self._client.gate if self._client is not None and self._started else None

    def _dead(self) -> bool:
        return self._client is not None and self._client.down

    def start(self, stream: Stream, end: int = -1) -> None:
        """Begin to be called, and connect."""
        self._check(stream)
        client = self._client or _open(self.inputs, self.outputs, self._midi is not None)
        self._take(client)
        client.gate.words[AT] = stream.taken
        client.gate.open(stream)
        self._started = True
        attempt = Attempt(partial(self._activate, client))
        if not (attempt.wait(START_SECONDS) or not attempt.give_up()):
            self.stop()
            raise UserError("the JACK server does not answer: restart it")
        try:
            attempt.result()
        except UserError:
            self.stop()
            raise
        if not self._await_calls():
            self.stop()
            raise UserError("the JACK server does not call: it has gone or hangs; restart it")

    def _activate(self, client: _Client) -> None:
        client.activate()
        if self.input_name:
            heard = [port for port in client.ports(_IS_OUTPUT) if _client_of(port) == self.input_name]
            client.connect(heard, client.port_names(client.inputs))
        if self.output_name:
            played = [port for port in client.ports(_IS_INPUT) if _client_of(port) == self.output_name]
            client.connect(client.port_names(client.outputs), played)

    def connect_loopback(self) -> None:
        """Connect the outputs with the inputs and with nothing else, to measure the latency."""
        client = self._client
        if client is None or not self._started:
            raise ValueError("not started")
        client.disconnect()
        client.connect(client.port_names(client.outputs), client.port_names(client.inputs))

    def open_midi(self, name: str = "") -> JackMidi:
        """Add MIDI ports ``rtaudio:midi_in`` and ``rtaudio:midi_out``; before `start`.

        Parameters
        ----------
        name
            Of a port, or a part of it, to connect with, in both directions if there is such. ``""``: others
            connect.

        Raises
        ------
        UserError
            There is no such port, or several.
        """
        client = self._client
        if client is None or self._started or self._midi is not None:
            raise ValueError("only once, and before the start")
        if name:
            check_midi_port(client.ports(_IS_OUTPUT, _MIDI), name)
        attempt = Attempt(client.add_midi)
        if not attempt.wait(START_SECONDS):
            raise UserError(f"the JACK server does not answer within {START_SECONDS:g} s: restart it")
        attempt.result()
        self._midi = JackMidi(self, name)
        return self._midi

    def client(self) -> _Client | None:
        """The connection while the device runs; None otherwise."""
        return self._client if self._started else None

    def stop(self) -> bool:
        """Stop and close."""
        if self._attempt is not None:
            attempt, self._attempt = self._attempt, None
            if not attempt.give_up():
                with suppress(UserError):
                    Attempt(attempt.result().close)
        return self._leave(START_SECONDS)

    def abandon(self) -> bool:
        """Leave a dead or hanging server to itself."""
        return self._leave(0.0)

    def _leave(self, seconds: float) -> bool:
        """Shut the gate and close, in a time; returns whether no call is in hand."""
        client, self._client = self._client, None
        if client is None:
            return True
        self._closed_xruns += client.xruns
        if self._midi is not None:
            self._midi.leave(client)
        quiet = client.gate.shut(SHUT_SECONDS)
        self._forget()
        client.unwanted = True
        if not Attempt(client.close).wait(seconds):
            keep(client)
        return quiet

    def reopen(self, stream: Stream | None = None) -> bool:
        """Look for the server again, with ports to connect to."""
        if self._client is None:
            if self._attempt is None:
                self._attempt = Attempt(
                    partial(_Client, self.inputs, self.outputs, self._midi is not None), discard=_Client.close
                )
            if not self._attempt.wait(START_SECONDS):
                return False  # Hangs still: one attempt at a time.
            attempt, self._attempt = self._attempt, None
            try:
                client = attempt.result()
            except UserError:
                return False
            if not self._same(client):
                Attempt(client.close)
                return False
            self._take(client)
        return self._restarted(stream)

    def _same(self, client: _Client) -> bool:
        """Whether a new server has what the old one had."""
        if client.down:
            return False
        if client.rate != self.rate:
            rate = client.rate
            Attempt(client.close)
            raise UserError(f"the JACK server is back at {rate} Hz, not {self.rate}: stop and start again")
        found = {info.name: info for info in client.devices()}
        for name, direction, channels in (
            (self.input_name, "inputs", self.inputs),
            (self.output_name, "outputs", self.outputs),
        ):
            if name and (name not in found or getattr(found[name], direction) < channels):
                return False
        return True

    def statistics(self) -> dict[str, Any]:
        """Also the server's xruns, and its load: the share of the period that all clients together take."""
        client = self._client
        return super().statistics() | {
            "server_xruns": self._closed_xruns + (client.xruns if client is not None else 0),
            "cpu_load": round(client.load, 4) if client is not None else 0.0,
        }


# ---------------------------------------------------------------------------------------------- MIDI


class JackMidi:
    """The MIDI ports of a `JackDevice`, a `rtaudio.midi.Port`. What comes in is exact to the sample.

    Everything here is for the device's control thread.
    """

    def __init__(self, device: JackDevice, name: str) -> None:
        self.name = name or "JACK"
        self._device, self._wanted = device, name
        self._attempt: Attempt[str] | None = None
        self._source, self._missing, self._shown_to = "", False, 0
        self._left = np.zeros(3, np.int64)

    def read(self, most: int) -> list[tuple[int, bytes]]:
        """Messages that have come, at most so many, each with the position in the input at which it did."""
        client = self._device.client()
        if client is None:
            return []
        pairs = client.received.pop(2 * most).astype(np.int64).reshape(-1, 2)
        return [(at, packed.to_bytes(4, "big")[1 : 1 + (packed >> 24)]) for at, packed in pairs.tolist()]

    def write(self, message: bytes) -> bool:
        """Send a message with the next period; False where there is no room, or the device is gone."""
        client = self._device.client()
        packed = int.from_bytes(bytes([len(message)]) + message.ljust(LONGEST_MESSAGE, b"\0"), "big")
        return client is not None and client.to_send.push(np.array([packed], np.float64))

    def look(self) -> str:
        """Connect with the wanted port if that is not so, or see that somebody has connected one; what there
        is to tell, or "".
        """
        client = self._device.client()
        if client is None:
            return ""
        if not self._wanted:
            before, self._shown_to = self._shown_to, client.shown_to()
            return "a port is connected with the MIDI output" if self._shown_to > before else ""
        if self._source and client.hears(self._source):
            return ""
        if self._attempt is None:
            self._attempt = Attempt(partial(client.connect_midi, self._wanted))
        if not self._attempt.wait(0.0):
            return ""
        attempt, self._attempt, self._source = self._attempt, None, ""
        with suppress(UserError):
            self._source = attempt.result()
        told, self._missing = self._missing, not self._source
        if self._source:
            return f"MIDI port {self._source!r} is connected"
        return "" if told else f"MIDI port {self._wanted!r} is gone; looked for again"

    def leave(self, client: _Client) -> None:
        """Keep the counts of a client that goes."""
        self._left += client.gate.words[[SKIPPED, LOST, UNSENT]]

    def statistics(self) -> dict[str, int]:
        """What was not taken: messages of no channel or too long, lost for want of room, and not sent."""
        client = self._device.client()
        counts = self._left + (0 if client is None else client.gate.words[[SKIPPED, LOST, UNSENT]])
        return dict(zip(("skipped", "lost", "unsent"), counts.tolist(), strict=True))

    def close(self) -> None:
        """The ports go with the device."""
