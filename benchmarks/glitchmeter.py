"""Measure a JACK client sample by sample: what it loses, repeats, changes or delays, beside machine stalls.

``python benchmarks/glitchmeter.py TARGET`` feeds the ports of the client whose name begins with TARGET
(``self``: the meter's own), checks every sample that comes back and prints one line of JSON. The client must
be at unity gain. All its other connections are undone. The server is that of ``--server``, or
JACK_DEFAULT_SERVER.

Signals
-------
ramp
    Integers of 22 bits, which float32 holds exactly; each channel starts elsewhere. What returns tells its
    own delay, so that any sample that is lost, repeated, late, silent, from another channel or off by one
    unit in the last place is seen.
null
    Noise, or a sound file, compared with itself at the delay that a correlation finds, with a tolerance in
    dB of full scale; for clients whose output is the input up to rounding.

An event is the begin of something wrong: silence, a value that was never sent, or another delay than before
(in ``null``: an error above the tolerance after at least 64 samples without); a cycle that did not follow the
one before on the server's clock is one too. Going back to what was right is none. An event or xrun is excused
while a core stalls (`stalls.StallWatch`; a stall is a sleep that took a quarter of a period too long) and for
four periods and the client's latency afterwards: as long as JACK and the client need to hand what was hurt
back to the meter. Everything else is unexplained.

Keys of the JSON
----------------
mode, target, server, rate, period, channels
    What was measured; Hz and samples.
seconds, cycles, expected_cycles, late_cycles, longest_gap_us
    Time measured, cycles in it and those that fit; cycles that began more than half a period late.
events, events_unexplained
    Events of all channels and gaps.
channel_events, gaps
    Events of each channel; times that the server's clock did not go on by one period from one cycle to the
    next (the client was late for a cycle, or the server for all).
silent_samples, wrong_samples
    Samples of exactly 0; samples that were never sent or, in ``null``, are off by more than the tolerance.
latency, latency_min, latency_max, latency_changes, channel_latency
    What the client adds, in samples: last of the first channel, over all channels and time, of each channel
    at the end. None: nothing returned. 0 means within the same cycle, as with ``self``.
xruns, xruns_unexplained
    As JACK told them: one for each client that was late, at each time.
event_times, event_times_unexplained, xrun_times, xrun_times_unexplained, times_left_out
    Seconds since the begin, the first 200 of each; how many were counted without a time (and are taken as
    unexplained).
max_error_dbfs, null_dbfs
    ``null`` only: largest difference of all samples, and of those within the tolerance; None: no difference.
stalls, longest_stall_ms, excused_percent, excuse_ms
    Stalls; share of the time in which an event would be excused; how long after a stall.
watch_real_time, server_real_time
    Whether watch and server had real-time scheduling. Without the first, no excuse is worth anything.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jack
import llvmlite.binding
import numba
import numpy as np
import soundfile
from jackd import prefer_messages, threads
from numba import types
from numpy.typing import NDArray
from stalls import StallWatch, Times, inside, share, windows

from rtaudio.native import (
    compiled,
    float32_at,
    float64_at,
    int64_at,
    load_acquire,
    now_ns,
    read_acquire,
    store_release,
    write_release,
)

NAME = "glitchmeter"

FRAMES = 1 << 32
"""JACK's clock in samples begins anew after this; all that is sent repeats after a power of two below it."""

BITS = 22
NUMBERS = 1 << BITS
"""The ramp counts from 1 to this and begins anew."""
APART = 1_398_101
"""By how much the ramps of neighbouring channels differ: about a third, so that no delay explains a swap."""

PROGRAMME_SAMPLES = 1 << 20
"""Samples of a programme before it repeats."""
HISTORY = 1 << 15
"""Samples kept of what returned."""
WINDOW = 1 << 13
"""Samples compared to find a delay."""
LONGEST_DELAY = 1 << 17
"""Samples in which the delay is looked for."""
RECOVERED = 64
"""Samples within the tolerance that end an event."""
LISTED = 200
"""Times of each kind that are printed."""

# Words of the meter.
(
    ARMED,
    SENDER,
    RECEIVER,
    CHANNELS,
    PROGRAMME,
    FRAME,
    CYCLES,
    GAPS,
    FIRST,
    LAST,
    LONGEST,
    LATE,
    PERIOD,
    XRUNS,
    CHANNEL_TABLE,
    EVENT_LOG,
    XRUN_LOG,
    WORDS,
) = range(18)

# Words of a channel.
(
    IN_PORT,
    OUT_PORT,
    OFFSET,
    STATE,
    DELAY,
    LOWEST,
    HIGHEST,
    CHANGES,
    EVENTS,
    SILENT,
    WRONG,
    CLEAN,
    TABLE,
    RETURNED,
    LEVELS,
    CHANNEL_WORDS,
) = range(16)

# STATE and DELAY of a channel: a delay in samples, or one of these.
UNKNOWN, SILENCE, NEVER_SENT, ASTRAY = -1, -2, -3, -4

# LEVELS of a channel, all linear: what is tolerated, the largest error, the largest that was tolerated.
TOLERANCE, LARGEST, TOLERATED, LEVEL_WORDS = range(4)

LOG_CAPACITY = 1 << 16
"""Times that a log keeps; more are counted."""


@compiled
def note(log: int, moment: int) -> None:
    """Count in the first word of a log, and keep the time behind it while there is room."""
    words = int64_at(log, 1 + LOG_CAPACITY)
    words[0] += 1
    if words[0] <= LOG_CAPACITY:
        words[words[0]] = moment


@compiled
def play_ramp(channel: Any, frame: int, sent: Any) -> None:
    """Fill a block, shape (samples,), with the ramp."""
    for i in range(sent.shape[0]):
        number = (frame + i + channel[OFFSET]) % NUMBERS + 1
        sent[i] = np.float32(number) / np.float32(NUMBERS)


@compiled
def check_ramp(channel: Any, frame: int, received: Any, log: int, moment: int) -> None:
    """Check a block, shape (samples,), of the cycle that begins at ``frame`` of the server's clock."""
    for i in range(received.shape[0]):
        scaled = received[i] * np.float32(NUMBERS)
        number = np.int64(scaled) if 0 <= scaled <= NUMBERS else 0
        if received[i] == 0:
            state = SILENCE
            channel[SILENT] += 1
        elif number == 0 or np.float32(number) != scaled:
            state = NEVER_SENT
            channel[WRONG] += 1
        else:
            state = (frame + i + channel[OFFSET] - (number - 1)) % NUMBERS
            channel[LOWEST] = min(channel[LOWEST], state)
            channel[HIGHEST] = max(channel[HIGHEST], state)
        if state != channel[STATE]:
            known = channel[DELAY] != UNKNOWN
            if state != channel[DELAY] and (known or state < 0):
                channel[EVENTS] += 1
                note(log, moment)
            if state >= 0:
                channel[CHANGES] += known and state != channel[DELAY]
                channel[DELAY] = state
            channel[STATE] = state


@compiled
def play_programme(channel: Any, frame: int, sent: Any) -> None:
    """Fill a block, shape (samples,), with the programme."""
    table = float32_at(channel[TABLE], PROGRAMME_SAMPLES)
    for i in range(sent.shape[0]):
        sent[i] = table[(frame + i) % PROGRAMME_SAMPLES]


@compiled
def check_programme(channel: Any, frame: int, received: Any, log: int, moment: int) -> None:
    """Compare a block, shape (samples,), with what was sent DELAY samples ago."""
    table = float32_at(channel[TABLE], PROGRAMME_SAMPLES)
    levels = float64_at(channel[LEVELS], LEVEL_WORDS)
    for i in range(received.shape[0]):
        error = abs(received[i] - table[(frame + i - channel[DELAY]) % PROGRAMME_SAMPLES])
        if received[i] == 0:
            channel[SILENT] += 1
        if error <= levels[TOLERANCE]:
            levels[TOLERATED] = max(levels[TOLERATED], error)
            channel[CLEAN] += 1
            if channel[CLEAN] == RECOVERED:
                channel[STATE] = channel[DELAY]
        else:  # NaN too
            channel[WRONG] += 1
            channel[CLEAN] = 0
            if channel[STATE] != ASTRAY:
                channel[STATE] = ASTRAY
                channel[EVENTS] += 1
                note(log, moment)
        if not error <= levels[LARGEST]:
            levels[LARGEST] = error


_port_buffer = types.ExternalFunction("jack_port_get_buffer", types.intp(types.intp, types.uint32))
_cycle_frame = types.ExternalFunction("jack_last_frame_time", types.uint32(types.intp))


@compiled
def _channel(words: Any, number: int) -> int:
    """Address of a channel's words."""
    address: int = words[CHANNEL_TABLE] + 8 * CHANNEL_WORDS * number
    return address


def _send(samples: int, meter: int) -> int:
    """Process callback of the sending client."""
    words, block = int64_at(meter, WORDS), int(samples)
    frame = int(_cycle_frame(words[SENDER]))
    for number in range(words[CHANNELS]):
        channel = int64_at(_channel(words, number), CHANNEL_WORDS)
        sent = float32_at(_port_buffer(channel[OUT_PORT], samples), block)
        if words[PROGRAMME] == 0:
            play_ramp(channel, frame, sent)
        else:
            play_programme(channel, frame, sent)
    return 0


def _receive(samples: int, meter: int) -> int:
    """Process callback of the receiving client."""
    words, block, moment = int64_at(meter, WORDS), int(samples), now_ns()
    frame, armed = int(_cycle_frame(words[RECEIVER])), load_acquire(words, ARMED)
    if armed:
        gap = moment - words[LAST]
        if words[CYCLES] == 0:
            words[FIRST] = moment
        words[CYCLES] += 1
        words[LONGEST] = max(words[LONGEST], gap)
        words[LATE] += 2 * gap > 3 * words[PERIOD]
        if frame != words[FRAME]:
            words[GAPS] += 1
            note(words[EVENT_LOG], moment)
    words[LAST] = moment
    for number in range(words[CHANNELS]):
        channel = int64_at(_channel(words, number), CHANNEL_WORDS)
        received = float32_at(_port_buffer(channel[IN_PORT], samples), block)
        if words[PROGRAMME] == 0:
            if armed:
                check_ramp(channel, frame, received, words[EVENT_LOG], moment)
        else:
            returned = float32_at(channel[RETURNED], HISTORY)
            for i in range(block):
                returned[(frame + i) % HISTORY] = received[i]
            if armed:
                check_programme(channel, frame, received, words[EVENT_LOG], moment)
    store_release(words, FRAME, (frame + block) % FRAMES)
    return 0


def _xrun(meter: int) -> int:
    """Xrun callback of the receiving client."""
    words = int64_at(meter, WORDS)
    words[XRUNS] += 1
    note(words[XRUN_LOG], now_ns())
    return 0


def find_delay(returned: NDArray[np.float32], frame: int, programme: NDArray[np.float32]) -> int | None:
    """Delay in samples at which what returned matches best.

    Parameters
    ----------
    returned
        Ring of what returned, shape (HISTORY,); the newest sample stands before ``frame``.
    frame
        Time of the sample after the newest on the server's clock.
    programme
        What is sent over and over, shape (PROGRAMME_SAMPLES,).

    Returns
    -------
    int or None
        The delay; None where nothing matches.
    """
    heard = returned[np.arange(frame - WINDOW, frame) % HISTORY].astype(np.float64)
    begin = frame - WINDOW - LONGEST_DELAY
    sent = programme[np.arange(begin, frame) % PROGRAMME_SAMPLES].astype(np.float64)
    size = 2 * LONGEST_DELAY
    spectrum = np.fft.rfft(sent, size) * np.conj(np.fft.rfft(heard, size))
    correlation = np.fft.irfft(spectrum)[: LONGEST_DELAY + 1]
    energy = np.concatenate(([0.0], np.cumsum(sent**2)))
    local = energy[WINDOW:] - energy[:-WINDOW]
    likeness = correlation / np.sqrt(np.maximum(local * np.sum(heard**2), 1e-20))
    best = int(np.argmax(likeness))
    return LONGEST_DELAY - best if likeness[best] > 0.5 else None


def noise(channels: int) -> NDArray[np.float32]:
    """White noise 12 dB below full scale, shape (channels, PROGRAMME_SAMPLES)."""
    generator = np.random.default_rng(7)
    return generator.uniform(-0.25, 0.25, (channels, PROGRAMME_SAMPLES)).astype(np.float32)


def sound(path: Path, channels: int) -> NDArray[np.float32]:
    """A file's samples, whatever its rate, over and over, shape (channels, PROGRAMME_SAMPLES)."""
    data, _ = soundfile.read(path, dtype="float32", always_2d=True, frames=PROGRAMME_SAMPLES)
    if not np.any(data):
        raise MeterError(f"{path} is silent")
    return np.stack([np.resize(data[:, c % data.shape[1]], PROGRAMME_SAMPLES) for c in range(channels)])


def decibels(level: float) -> float | None:
    """Level relative to 1.0; None for silence."""
    return round(20 * float(np.log10(level)), 1) if level > 0 else None


class MeterError(Exception):
    """Nothing can be measured; the message says why."""


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    target: str
    seconds: float = 10.0
    channels: int = 2
    mode: str = "ramp"
    programme: Path | None = None
    tolerance_db: float = -120.0
    settle: float = 1.0
    """Seconds between connecting and measuring."""
    server: str | None = None


class Meter:
    """Two JACK clients: one sends, one checks and counts.

    With one client, JACK would have to cut a circle, and would run the meter after a client that is late:
    both would stop together, and nothing be missed. As it is, the sender goes on, and the receiver sees the
    gap.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        before = threads(os.getpid())
        try:
            self.sender, self.receiver = (
                jack.Client(f"{NAME}-{role}", no_start_server=True, servername=settings.server)
                for role in ("sends", "receives")
            )
        except jack.JackError as error:
            raise MeterError(f"no JACK server to connect to: {error}") from error
        prefer_messages(os.getpid(), before)
        self.rate, self.period = self.receiver.samplerate, self.receiver.blocksize
        channels = settings.channels
        self.words = np.zeros(WORDS, np.int64)
        self.channels = np.zeros((channels, CHANNEL_WORDS), np.int64)
        self.levels = np.zeros((channels, LEVEL_WORDS))
        self.levels[:, TOLERANCE] = 10 ** (settings.tolerance_db / 20)
        self.returned = np.zeros((channels, HISTORY), np.float32)
        self.logs = np.zeros((2, 1 + LOG_CAPACITY), np.int64)
        self.programme = sound(settings.programme, channels) if settings.programme else noise(channels)
        self.inputs, self.outputs = [], []
        for number, channel in enumerate(self.channels):
            self.inputs.append(self.receiver.inports.register(f"in_{number}"))
            self.outputs.append(self.sender.outports.register(f"out_{number}"))
            channel[IN_PORT], channel[OUT_PORT] = map(_address, (self.inputs[-1], self.outputs[-1]))
            channel[OFFSET] = number * APART
            channel[STATE] = channel[DELAY] = UNKNOWN
            channel[LOWEST], channel[HIGHEST] = np.iinfo(np.int64).max, UNKNOWN
            channel[TABLE] = self.programme[number].ctypes.data
            channel[RETURNED] = self.returned[number].ctypes.data
            channel[LEVELS] = self.levels[number].ctypes.data
        self.words[SENDER], self.words[RECEIVER] = map(_address, (self.sender, self.receiver))
        self.words[CHANNELS] = channels
        self.words[PROGRAMME] = settings.mode == "null"
        self.words[PERIOD] = round(1e9 * self.period / self.rate)
        self.words[CHANNEL_TABLE] = self.channels.ctypes.data
        self.words[EVENT_LOG], self.words[XRUN_LOG] = (log.ctypes.data for log in self.logs)
        self._attach()
        self.sender.activate()
        self.receiver.activate()

    def _attach(self) -> None:
        """Hand the compiled callbacks to JACK: JACK-Client itself takes Python functions only."""
        library, cast = jack._lib, jack._ffi.cast
        for name in ("jack_port_get_buffer", "jack_last_frame_time"):
            address = cast("intptr_t", jack._ffi.addressof(library, name))
            llvmlite.binding.add_symbol(name, int(address))
        process, xrun = types.int32(types.uint32, types.intp), types.int32(types.intp)
        options: dict[str, Any] = {"cache": True, "nopython": True, "error_model": "numpy", "_nrt": False}
        self._callbacks = [
            numba.cfunc(signature, **options)(function)
            for signature, function in ((process, _send), (process, _receive), (xrun, _xrun))
        ]
        send, receive, note_xrun = (callback.address for callback in self._callbacks)
        meter = cast("void *", self.words.ctypes.data)
        for client, function in ((self.sender, send), (self.receiver, receive)):
            library.jack_set_process_callback(client._ptr, cast("JackProcessCallback", function), meter)
        library.jack_set_xrun_callback(self.receiver._ptr, cast("JackXRunCallback", note_xrun), meter)

    def connect(self) -> None:
        """Undo all connections of the target and put the meter around it."""
        target, client = self.settings.target, self.receiver
        if target == "self":
            for out, back in zip(self.outputs, self.inputs, strict=True):
                client.connect(out, back)
            return
        pattern = f"^{target}.*:"
        feeds = sorted(client.get_ports(pattern, is_audio=True, is_input=True), key=_port_order)
        returns = sorted(client.get_ports(pattern, is_audio=True, is_output=True), key=_port_order)
        count = self.settings.channels
        if min(len(feeds), len(returns)) < count:
            have = f"{len(feeds)} inputs and {len(returns)} outputs"
            raise MeterError(f"client {target!r} has {have}, {count} of each are needed")
        for port in feeds:
            for other in client.get_all_connections(port):
                client.disconnect(other, port)
        for port in returns:
            for other in client.get_all_connections(port):
                client.disconnect(port, other)
        for number in range(count):
            client.connect(self.outputs[number], feeds[number])
            client.connect(returns[number], self.inputs[number])

    def _find_delays(self) -> None:
        """Take up new delays of the programme."""
        frame = int(read_acquire(self.words, FRAME))
        for channel, returned, programme in zip(self.channels, self.returned, self.programme, strict=True):
            delay = find_delay(returned, frame, programme)
            if delay is None:
                continue
            channel[CHANGES] += channel[DELAY] not in {UNKNOWN, delay}
            channel[DELAY] = delay
            channel[LOWEST] = min(channel[LOWEST], delay)
            channel[HIGHEST] = max(channel[HIGHEST], delay)

    def measure(self) -> dict[str, Any]:
        """Send, check and count for the set time; the keys are described above."""
        self.connect()
        time.sleep(self.settings.settle)
        programme = self.settings.mode == "null"
        if programme:
            self._find_delays()
            if np.any(self.channels[:, DELAY] == UNKNOWN):
                raise MeterError(f"{self.settings.target!r} returns nothing that resembles what is sent")
        watch = StallWatch(int(self.words[PERIOD]) // 4)
        watch.start()
        self.words[XRUNS] = 0
        self.logs[:, 0] = 0
        write_release(self.words, ARMED, 1)
        due, events = time.monotonic() + self.settings.seconds, 0
        while (left := due - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))
            if programme and events != (now := int(self.channels[:, EVENTS].sum())):
                events = now
                self._find_delays()
        last = int(self.words[LAST])
        write_release(self.words, ARMED, 0)
        time.sleep(4 * self.period / self.rate)
        return self._report(last, watch)

    def _report(self, end: int, watch: StallWatch) -> dict[str, Any]:
        spans = watch.stop()
        words, channels = self.words, self.channels
        if not words[CYCLES]:
            raise MeterError("the server stands still")
        begin = int(words[FIRST])
        delays = [int(delay) if delay >= 0 else None for delay in channels[:, DELAY]]
        trip = max((delay for delay in delays if delay is not None), default=0)
        excuse_ns = round(1e9 * (4 * self.period + trip) / self.rate)
        excused = windows(spans, excuse_ns)
        seconds = (end - begin) / 1e9
        times: dict[str, Any] = {"times_left_out": 0}
        counts: dict[str, int] = {}
        for kind, log in zip(("event", "xrun"), self.logs, strict=True):
            moments: Times = log[1 : 1 + min(int(log[0]), LOG_CAPACITY)]
            left_out = int(log[0]) - len(moments)
            unexplained = moments[~inside(moments, excused)]
            counts[f"{kind}s"] = int(log[0])
            counts[f"{kind}s_unexplained"] = len(unexplained) + left_out
            times[f"{kind}_times"] = _seconds(moments, begin)
            times[f"{kind}_times_unexplained"] = _seconds(unexplained, begin)
            times["times_left_out"] += left_out
        levels = [decibels(float(self.levels[:, word].max())) for word in (LARGEST, TOLERATED)]
        heard = channels[:, HIGHEST] >= 0
        return {
            "mode": self.settings.mode,
            "target": self.settings.target,
            "server": self.settings.server or os.environ.get("JACK_DEFAULT_SERVER", "default"),
            "rate": self.rate,
            "period": self.period,
            "channels": len(channels),
            "seconds": round(seconds, 2),
            "cycles": int(words[CYCLES]),
            "expected_cycles": 1 + round(seconds * self.rate / self.period),
            "late_cycles": int(words[LATE]),
            "longest_gap_us": int(words[LONGEST]) // 1000,
            **counts,
            "channel_events": channels[:, EVENTS].tolist(),
            "gaps": int(words[GAPS]),
            "silent_samples": int(channels[:, SILENT].sum()),
            "wrong_samples": int(channels[:, WRONG].sum()),
            "latency": delays[0],
            "latency_min": int(channels[heard, LOWEST].min()) if heard.any() else None,
            "latency_max": int(channels[heard, HIGHEST].max()) if heard.any() else None,
            "latency_changes": int(channels[:, CHANGES].sum()),
            "channel_latency": delays,
            **dict(
                zip(
                    ("max_error_dbfs", "null_dbfs"), levels if words[PROGRAMME] else (None, None), strict=True
                )
            ),
            "stalls": len(spans) + watch.overflow,
            "longest_stall_ms": round(float(np.diff(spans).max(initial=0)) / 1e6, 2),
            "excused_percent": round(100 * share(excused, begin, end), 2),
            "excuse_ms": round(excuse_ns / 1e6, 2),
            "watch_real_time": watch.real_time and not watch.overflow,
            "server_real_time": bool(self.receiver.realtime),
            **times,
        }

    def close(self) -> None:
        """Leave the server."""
        for client in (self.receiver, self.sender):
            client.deactivate()
            client.close()


def _address(thing: Any) -> int:
    """Of a client or port."""
    return int(jack._ffi.cast("intptr_t", thing._ptr))


def _port_order(port: Any) -> tuple[int, str]:
    """Names in order, with in_10 after in_9."""
    return len(port.name), port.name


def _seconds(moments: Times, begin: int) -> list[float]:
    return [round((int(moment) - begin) / 1e9, 4) for moment in moments[:LISTED]]


def main() -> int:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(description="Check a JACK client sample by sample.")
    parser.add_argument("target", help="regular expression for the begin of the client's name, or 'self'")
    parser.add_argument("--seconds", type=float, default=Settings.seconds, help="to measure (default: 10)")
    parser.add_argument("--channels", type=int, default=Settings.channels, help="default: 2")
    parser.add_argument("--mode", choices=("ramp", "null"), default=Settings.mode, help="default: ramp")
    parser.add_argument("--programme", type=Path, help="sound file for --mode null (default: noise)")
    parser.add_argument(
        "--tolerance-db",
        type=float,
        default=Settings.tolerance_db,
        help="for --mode null, dBFS (default: -120)",
    )
    parser.add_argument("--settle", type=float, default=Settings.settle, help="seconds before (default: 1)")
    parser.add_argument("--server", help="name of the JACK server (default: JACK_DEFAULT_SERVER)")
    settings = Settings(**vars(parser.parse_args()))
    try:
        meter = Meter(settings)
        try:
            report = meter.measure()
        finally:
            meter.close()
    except MeterError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
