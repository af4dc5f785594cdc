"""What every sound card has in common: finding it, calling a compiled callback safely, noticing its loss.

`rtaudio.jack` speaks to a JACK server, `rtaudio.portaudio` to ALSA. A device that has died may hang for ever
in the call that closes it, and may come back to life after that. So whatever may hang is called on a
disposable thread (`Attempt`), and a `Gate` stands between the device and the callback: once it is shut, the
callback is not called any more, whatever becomes of the device.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rtaudio.errors import UserError, nearest
from rtaudio.native import call_callback, compiled
from rtaudio.realtime import (
    FIFO_PRIORITY,
    is_real_time,
    priority_of,
    raise_priority,
)

T = TypeVar("T")

APIS = ("jack", "alsa")
RATES = (44100, 48000, 88200, 96000, 176400, 192000)
START_SECONDS = 3.0
"""How long a device may take to answer, and to call for the first time."""
SILENT_SECONDS, SILENT_PERIODS = 0.5, 8
"""A device that does not call for so long is lost."""


class Stream(Protocol):
    """What a device calls."""

    @property
    def callback(self) -> int:
        """Address of a C function with PortAudio's signature; takes any number of frames."""

    @property
    def address(self) -> int:
        """Its user pointer."""

    @property
    def inputs(self) -> int:
        """Interleaved channels that it hears; 0: it is given none."""

    @property
    def outputs(self) -> int:
        """Interleaved channels that it plays."""

    @property
    def rate(self) -> int:
        """Hz."""

    @property
    def taken(self) -> int:
        """Position in the input of the next sample that it is given; to be asked while nothing calls."""


@dataclass(frozen=True)
class DeviceInfo:
    """A device as a host API offers it."""

    api: str
    index: int
    """What it can be chosen by, besides its name."""
    name: str
    inputs: int
    outputs: int
    rate: int
    """Hz, its own choice."""
    rates: tuple[int, ...]
    """Those of `RATES` that it accepts, and its own."""
    default_input: bool
    default_output: bool


def devices(api: str | None = None) -> list[DeviceInfo]:
    """The devices of a host API, or of all that are there.

    Besides `APIS` there is ``"pulse"``: the microphones that `rtaudio.virtual` can hear.
    """
    from rtaudio import jack, portaudio, virtual

    lists: dict[str, Callable[[], list[DeviceInfo]]] = {
        "jack": jack.devices,
        "alsa": portaudio.devices,
        "pulse": virtual.devices,
    }
    if api is not None:
        return lists[_known(api, tuple(lists))]()
    found: list[DeviceInfo] = []
    refusals = []
    for list_ in lists.values():
        try:
            found += list_()
        except UserError as refusal:
            refusals.append(refusal)
    if len(refusals) == len(lists):
        raise UserError("; ".join(map(str, refusals)))
    return found


def device_table(found: Sequence[DeviceInfo]) -> str:
    """The devices as text, one to a line; ``*`` marks the default input and output."""
    if not found:
        return "no devices\n"
    rows = [("api", "index", "name", "in", "out", "rates")]
    for info in found:
        channels_in = f"{info.inputs}{'*' if info.default_input else ''}"
        channels_out = f"{info.outputs}{'*' if info.default_output else ''}"
        rates = ", ".join(f"{rate / 1000:g}" for rate in info.rates) + " kHz" if info.rates else "busy?"
        rows.append((info.api, str(info.index), info.name, channels_in, channels_out, rates))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = []
    for row in rows:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[5]]))
    if any(info.api == "pulse" for info in found):
        lines.append("pulse: heard by 'rtaudio live --virtual-mic' only")
    return "\n".join(lines) + "\n"


def open_device(
    api: str,
    input: str | None,  # noqa: A002
    output: str | None,
    rate: int | None,
    inputs: int,
    outputs: int,
) -> SoundCard:
    """Open a sound card by its host API; the parameters are those of `rtaudio.jack.JackDevice`."""
    if _known(api, APIS) == "jack":
        from rtaudio.jack import JackDevice

        return JackDevice(input, output, rate, inputs, outputs)
    from rtaudio.portaudio import PortAudioDevice

    return PortAudioDevice(input, output, rate, inputs, outputs)


def _known(api: str, apis: Sequence[str]) -> str:
    if api not in apis:
        raise UserError(f"no host API {api!r}{nearest(api, apis)}; there are {' and '.join(apis)}")
    return api


def find_device(found: Sequence[DeviceInfo], wanted: str | None, direction: str) -> DeviceInfo:
    """The device that is meant: by number, exact name, or a part of the name that only it has.

    Parameters
    ----------
    found
        All of one host API.
    wanted
        None: the default.
    direction
        ``"input"`` or ``"output"``: only devices with such channels count.
    """
    usable = [info for info in found if getattr(info, f"{direction}s") > 0]
    api = found[0].api if found else ""
    if wanted is None:
        for info in usable:
            if getattr(info, f"default_{direction}"):
                return info
        if usable:
            return usable[0]
        raise UserError(f"there is no {direction} device; connect one, or use '--api null'")
    matches = [info for info in usable if info.name == wanted]
    if not matches and wanted.isdecimal():
        matches = [info for info in usable if info.index == int(wanted)]
    if not matches:
        matches = [info for info in usable if wanted and wanted.casefold() in info.name.casefold()]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(f"{info.index}: {info.name!r}" for info in matches)
        raise UserError(f"{direction} device {wanted!r} may be {names}; give the number or the whole name")
    known = [info.name for info in usable]
    hint = nearest(wanted, known) or f"; there are {', '.join(map(repr, known)) or 'none'}"
    other = next((info for info in found if info not in usable and info.name == wanted), None)
    if other is not None:
        raise UserError(f"device {wanted!r} has no {direction}s{hint}")
    raise UserError(f"no {direction} device {wanted!r}{hint} ('rtaudio devices --api {api}' lists them)")


def check_channels(info: DeviceInfo, direction: str, wanted: int) -> None:
    """Refuse more channels than a device has."""
    there = getattr(info, f"{direction}s")
    if wanted > there:
        raise UserError(
            f"{info.name!r} has {there} {direction} channels, not {wanted}: choose another device"
        )


def find_midi_port(names: Sequence[str], wanted: str) -> str:
    """The MIDI port of a name, or of a part of it that no other has; "" if there is none.

    `UserError` where several have it.
    """
    if wanted in names:
        return wanted
    matches = [name for name in names if wanted.casefold() in name.casefold()]
    if len(matches) > 1:
        raise UserError(f"MIDI port {wanted!r} may be {', '.join(map(repr, matches))}; give the whole name")
    return matches[0] if matches else ""


def check_midi_port(names: Sequence[str], wanted: str) -> None:
    """Refuse a MIDI port that is not there, or may be one of several."""
    if not find_midi_port(names, wanted):
        hint = nearest(wanted, names) or f"; there are {', '.join(map(repr, names)) or 'none'}"
        raise UserError(f"no MIDI port {wanted!r}{hint} ('rtaudio devices' lists them)")


# ---------------------------------------------------------------------------------------------- threads


class Attempt(Generic[T]):
    """A call that may hang, on a thread of its own, which does not keep the process from ending.

    Parameters
    ----------
    function
        What to call.
    discard
        What to do with a result that comes after `give_up`.
    """

    def __init__(self, function: Callable[[], T], discard: Callable[[T], object] | None = None) -> None:
        self._function, self._discard = function, discard
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._given_up = False
        self._results: list[T] = []
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="rtaudio-attempt", daemon=True).start()

    def _run(self) -> None:
        try:
            self._results.append(self._function())
        except BaseException as error:  # raised again by `result`
            self._error = error
        with self._lock:
            self._done.set()
            late = self._given_up
        if late and self._results and self._discard is not None:
            self._discard(self._results.pop())

    def wait(self, seconds: float) -> bool:
        """Whether it came back within a time."""
        return self._done.wait(seconds)

    def give_up(self) -> bool:
        """Want the result no more; False if it is there."""
        with self._lock:
            self._given_up = not self._done.is_set()
            return self._given_up

    def result(self) -> T:
        """What it returned, or raise what it raised, once it is back."""
        if self._error is not None:
            raise self._error
        return self._results[0]


# ---------------------------------------------------------------------------------------------- gate

# Words that a device's callback and control share; a device adds its own after them.
GATE, CALLBACK, USER, CALLS, THREAD, ENDED, GATE_WORDS = range(7)
_INSIDE, _SHUT = 1, 2
SHUT = 2
"""Status of a call that the gate stopped: PortAudio's paAbort."""


def _atomic(operation: str) -> Any:
    """An intrinsic: change the word at an address in one step; returns what it was."""

    @intrinsic
    def change(typing_context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
            return builder.atomic_rmw(operation, place, arguments[1], "seq_cst")

        return types.int64(types.intp, types.int64), generate

    return change


_atomic_or, _atomic_and = _atomic("or"), _atomic("and")


_gettid = types.ExternalFunction("gettid", types.int32())


@compiled
def call_through(words: Any, address: int, source: int, sink: int, frames: int, time: int, flags: int) -> int:
    """Call the stream's callback if the gate is open; returns its status, `SHUT` if it was not called."""
    before: int = _atomic_or(address, _INSIDE)
    status = SHUT
    if before & _SHUT == 0 and words[ENDED] == 0:
        if words[THREAD] == 0:
            words[THREAD] = _gettid()
        status = call_callback(words[CALLBACK], source, sink, frames, time, flags, words[USER])
        words[CALLS] += 1
        if status != 0:
            words[ENDED] = 1
    _atomic_and(address, ~_INSIDE)
    return status


@compiled
def _shut_gate(address: int) -> int:
    before: int = _atomic_or(address, _SHUT)
    return before


class Gate:
    """The words behind a device callback's user pointer, and the door in front of the stream's callback.

    One device thread calls at a time. Never freed once a device has been given the address and may still
    use it: see `keep`.
    """

    def __init__(self, words: int) -> None:
        self.words = np.zeros(words, np.int64)
        self.words[GATE] = _SHUT
        _shut_gate(self.address)  # Compiles.

    @property
    def address(self) -> int:
        """User pointer of the device's callback."""
        return int(self.words.ctypes.data)

    def open(self, stream: Stream) -> None:
        """Let calls through to a stream. No device calls yet."""
        self.words[CALLBACK], self.words[USER] = stream.callback, stream.address
        self.words[CALLS] = self.words[THREAD] = self.words[ENDED] = 0
        self.words[GATE] = 0

    def shut(self, seconds: float) -> bool:
        """Let no call through any more; returns whether the last one came back within a time."""
        _shut_gate(self.address)
        deadline = time.monotonic() + seconds
        while self.words[GATE] & _INSIDE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.0005)
        return True


_kept: list[object] = []


def keep(*memory: object) -> None:
    """Keep what a dead device might still touch until the process ends; some 100 KB for each death."""
    _kept.extend(memory)


# ---------------------------------------------------------------------------------------------- device


class SoundCard:
    """A device that calls a stream; the base of the JACK and the ALSA one.

    Everything here is for one control thread, the gate's words apart.
    """

    name = ""
    """Host API."""
    input_name = output_name = ""
    """As the host API calls them; empty where there is none."""
    rate = 0
    """Hz."""
    latency = 0
    """Samples that the device adds, as far as it is known."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.realtime = False
        """Whether its thread has real-time priority."""
        self._granted, self._scheduling = "", ("", 0)
        self._thread = 0
        self._calls, self._looked, self._silent = 0, 0.0, 0.0

    @property
    def period(self) -> int:
        """Samples per call; 0: it varies."""
        raise NotImplementedError

    def _gate(self) -> Gate | None:
        """The gate in use; None when stopped."""
        raise NotImplementedError

    def _dead(self) -> bool:
        """Whether the device itself says that it is gone."""
        raise NotImplementedError

    def _check(self, stream: Stream) -> None:
        mine, its = (self.inputs, self.outputs, self.rate), (stream.inputs, stream.outputs, stream.rate)
        if mine != its:
            raise ValueError(f"opened with inputs, outputs, rate {mine}; the stream has {its}")

    def _await_calls(self) -> bool:
        """Wait for the first call, and see to the priority of the thread that it came on."""
        deadline = time.monotonic() + START_SECONDS
        gate = self._gate()
        if gate is None:
            return False
        while not gate.words[CALLS]:
            if time.monotonic() > deadline or self._dead():
                return False
            time.sleep(0.002)
        self._thread = int(gate.words[THREAD])
        self._granted = (
            "device" if is_real_time(self._thread) else raise_priority(self._thread, FIFO_PRIORITY)
        )
        self.realtime, self._scheduling = bool(self._granted), priority_of(self._thread)
        self._calls, self._looked, self._silent = 0, time.monotonic(), 0.0
        return True

    def _forget(self) -> None:
        self._thread = 0

    @property
    def running(self) -> bool:
        """Whether calls come."""
        gate = self._gate()
        return gate is not None and not gate.words[ENDED] and not self.lost

    @property
    def lost(self) -> bool:
        """Whether a started device has died or fallen silent. Poll it.

        The time between two looks counts for half the limit at most, so that nobody is lost while this
        process itself, or the machine, was stopped.
        """
        gate = self._gate()
        if gate is None or gate.words[ENDED]:
            return False
        now, calls = time.monotonic(), int(gate.words[CALLS])
        limit = max(SILENT_SECONDS, SILENT_PERIODS * self.period / self.rate)
        if calls != self._calls:
            self._calls, self._silent = calls, 0.0
        else:
            self._silent += min(now - self._looked, limit / 2)
        self._looked = now
        return self._dead() or self._silent > limit

    def start(self, stream: Stream, end: int = -1) -> None:
        """Begin to call. ``end`` is left to the callback.

        Raises
        ------
        UserError
            The device refuses, is gone, or does not call.
        """
        raise NotImplementedError

    def stop(self) -> bool:
        """Stop; no call comes after that. Stopping again does nothing.

        Returns False if a call has not returned, as `abandon`.
        """
        raise NotImplementedError

    def abandon(self) -> bool:
        """Leave a lost device to itself; returns in half a second at the latest.

        Returns
        -------
        bool
            True: the stream is not called any more, even if the device comes back to life. False: a call
            has not returned, a kernel hangs; what it uses has to stay in memory for ever.
        """
        raise NotImplementedError

    def reopen(self, stream: Stream | None = None) -> bool:
        """Look for the lost device by its names, and open it; with a stream, start it too.

        Returns in `START_SECONDS` or little more. `period` may be another than before.

        Returns
        -------
        bool
            False: not there yet, or not answering; try again in a second. So it is if `start` refuses after
            that: a server may go again at once.

        Raises
        ------
        UserError
            It is there, but at another rate.
        """
        raise NotImplementedError

    def _restarted(self, stream: Stream | None) -> bool:
        """Start with a stream, if there is one; False where that is refused."""
        try:
            if stream is not None:
                self.start(stream)
        except UserError:
            return False
        return True

    def statistics(self) -> dict[str, Any]:
        """What was opened, and how its thread runs."""
        if self._thread:
            self._scheduling = priority_of(self._thread)
        policy, priority = self._scheduling
        return {
            "api": self.name,
            "input": self.input_name,
            "output": self.output_name,
            "rate": self.rate,
            "period": self.period,
            "realtime_priority": policy in ("fifo", "rr"),
            "priority": priority,
            "priority_from": self._granted,
        }
