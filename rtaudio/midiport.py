"""MIDI ports outside of JACK, by RtMidi: the ALSA sequencer's. And the list of all ports there are."""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rtaudio.errors import UserError
from rtaudio.midi import INSTALL
from rtaudio.soundcard import check_midi_port, find_midi_port
from rtaudio.stream import AT, LAST_CALL, TAKEN

if TYPE_CHECKING:
    from rtaudio.stream import Stream

SEQUENCER = "/dev/snd/seq"
WAITING = 4096
"""Messages that wait for the control thread, at most."""


def _rtmidi() -> Any:
    try:
        import rtmidi
    except ImportError:
        raise UserError(INSTALL) from None
    return rtmidi


def position_now(stream: Stream) -> int:
    """Position in the input that is taken at this moment, as the time since the device's last call tells."""
    words = stream.words
    elapsed = (time.monotonic_ns() - int(words[LAST_CALL])) * stream.rate // 1_000_000_000
    return int(words[AT]) + min(max(elapsed, 0), int(words[TAKEN]))


class RtMidiPort:
    """A MIDI input, and the output of the same name if there is one; a `rtaudio.midi.Port`.

    Messages get the position of the input at which they arrive, as exact as a thread of the interpreter is
    on time. System messages are not listened to.

    Parameters
    ----------
    name
        Of the port, or a part of it that no other input has.
    stream
        What the positions are of.
    api
        RtMidi's number of a MIDI system; None: the ALSA sequencer.

    Raises
    ------
    UserError
        RtMidi is not installed, there is no sequencer, or no such input.
    """

    def __init__(self, name: str, stream: Stream, api: int | None = None) -> None:
        rtmidi = _rtmidi()
        self._wanted, self._stream = name, stream
        if api is None:
            if not os.path.exists(SEQUENCER):
                raise UserError(f"no ALSA sequencer ({SEQUENCER}): load the kernel module snd-seq")
            api = rtmidi.API_LINUX_ALSA
        try:
            self._input, self._output = rtmidi.MidiIn(api, "rtaudio"), rtmidi.MidiOut(api, "rtaudio")
        except rtmidi.RtMidiError as error:
            raise UserError(f"MIDI does not open: {str(error).strip()}") from None
        self._errors = rtmidi.RtMidiError
        self._arrived: deque[tuple[int, bytes]] = deque()
        self._last, self._lost = 0, 0
        self._open, self._missing = "", False
        check_midi_port(self._input.get_ports(), name)
        self._connect()
        self.name = self._open

    def _receive(self, event: tuple[list[int], float], _: object) -> None:
        """What RtMidi's thread calls."""
        if len(self._arrived) >= WAITING:
            self._lost += 1
            return
        self._last = max(self._last, position_now(self._stream))
        self._arrived.append((self._last, bytes(event[0])))

    def _connect(self) -> None:
        """Open the ports if they are there."""
        sources, sinks = self._input.get_ports(), self._output.get_ports()
        source = find_midi_port(sources, self._wanted)
        if not source:
            return
        self._input.set_callback(self._receive)
        self._input.open_port(sources.index(source), "midi_in")
        self._open = source
        with suppress(UserError):
            sink = find_midi_port(sinks, source) or find_midi_port(sinks, self._wanted)
            if sink:
                self._output.open_port(sinks.index(sink), "midi_out")

    def read(self, most: int) -> list[tuple[int, bytes]]:
        """Messages that have come, at most so many, each with its position in the input."""
        return [self._arrived.popleft() for _ in range(min(most, len(self._arrived)))]

    def write(self, message: bytes) -> bool:
        """Send a message; True also where nobody listens."""
        if self._output.is_port_open():
            try:
                self._output.send_message(message)
            except self._errors:
                return False
        return True

    def look(self) -> str:
        """Close the ports of a controller that is gone, and open them when it is back."""
        if self._open:
            if self._open in self._input.get_ports():
                return ""
            self._input.cancel_callback()
            self._input.close_port()
            self._output.close_port()
            self._open, gone = "", self._open
            return f"MIDI port {gone!r} is gone; looked for again"
        with suppress(UserError, self._errors):
            self._connect()
        return f"MIDI port {self._open!r} is connected" if self._open else ""

    def statistics(self) -> dict[str, int]:
        """Messages lost for want of room."""
        return {"lost": self._lost}

    def close(self) -> None:
        """Close both."""
        self._input.cancel_callback()
        for port in (self._input, self._output):
            port.close_port()
            port.delete()


@dataclass(frozen=True)
class MidiPortInfo:
    """A MIDI port as a system offers it."""

    api: str
    """``"jack midi"`` or ``"alsa midi"``."""
    name: str
    sends: bool
    receives: bool


def midi_ports() -> list[MidiPortInfo]:
    """The MIDI ports of a JACK server and of the ALSA sequencer, as far as they are there."""
    from rtaudio import jack

    found = []
    with suppress(UserError):
        found.append(("jack midi", jack.midi_ports()))
    with suppress(UserError):
        rtmidi = _rtmidi()
        if os.path.exists(SEQUENCER):
            with suppress(rtmidi.RtMidiError):
                ends = [kind(rtmidi.API_LINUX_ALSA, "rtaudio") for kind in (rtmidi.MidiIn, rtmidi.MidiOut)]
                found.append(("alsa midi", tuple(end.get_ports() for end in ends)))
                for end in ends:
                    end.delete()
    return [
        MidiPortInfo(api, name, name in sources, name in sinks)
        for api, (sources, sinks) in found
        for name in dict.fromkeys([*sources, *sinks])
    ]


def port_table(found: list[MidiPortInfo]) -> str:
    """The ports as text, one to a line."""
    width = max((len(info.name) for info in found), default=0)
    ways = {(True, False): "sends", (False, True): "receives", (True, True): "sends and receives"}
    return "".join(
        f"{info.api}  {info.name.ljust(width)}  {ways[info.sends, info.receives]}\n" for info in found
    )
