"""What a device calls: blocks of the device's length in and out of a plan's blocks, without the GIL.

The callback spreads the device's interleaved samples over the graph's input channels until a block is full,
runs the plan on it, and gives out what was finished. Where the device's length is a multiple of the block, a
block is finished when it is asked for; else the output is later by as little as possible (`reblocking`).

While an edit is under way (`rtaudio.host`), a second plan takes over at the start of a block, in a crossfade.
"""

from __future__ import annotations

from functools import cached_property
from math import gcd
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from rtaudio.counters import (
    BLOCKS,
    CALLBACKS,
    DEVICE_LATENCY,
    FILE_UNDERFLOWS,
    HEAD_WORDS,
    INPUT_OVERFLOWS,
    INPUT_UNDERFLOWS,
    LATE,
    LONGEST,
    NON_FINITE,
    OUTPUT_OVERFLOWS,
    OUTPUT_UNDERFLOWS,
    OVER_FULL_SCALE,
    PERIOD,
    POSITION,
    RECORD_OVERFLOWS,
    TIMES,
    UNFIT,
    Counters,
)
from rtaudio.deck import current_tape, deck_arrays, read_tape
from rtaudio.executor import CONTEXT, enter, follow, go_on, run_block
from rtaudio.kernel import (
    RAMP_WORDS,
    TO,
    channel,
    power_of_two,
    resting,
    ring_read,
    ring_write,
    settled,
    smoothstep,
    value,
)
from rtaudio.kernel import turn as turn_ramp
from rtaudio.layout import CROSSFADE, DECLICK
from rtaudio.native import (
    CALLBACK,
    compiled,
    exchange,
    f32_matrix,
    f64_vector,
    float32_at,
    int64_at,
    load_acquire,
    now_ns,
    read_acquire,
    store_release,
    thread_id,
)
from rtaudio.observe import copy_taps
from rtaudio.plan import (
    IN,
    KEPT,
    KEPT_SEGMENTS,
    N_KEPT,
    N_KEPT_SEGMENTS,
    N_SEGMENTS,
    OUT_CHANNELS,
    PLAN_WORDS,
    SEGMENTS,
    Plan,
)
from rtaudio.processor import state_table
from rtaudio.ring import ring_push
from rtaudio.timing import count_time

# Words of a stream.
(
    PLAN,  # address of the words of the plan that is heard
    NEXT,  # of the one that takes over
    NEXT_AT,  # position of the block at which it can
    NEXT_AFTER,  # samples from there on until the crossfade: it follows what goes on, and is not heard yet
    TURN,  # how far that has come, see below
    BLOCK,
    GRAPH_INPUTS,  # channels of the graph
    GRAPH_OUTPUTS,
    INPUTS,  # channels of the device
    OUTPUTS,
    INPUT_MAP,  # device channel of each graph channel: int64[GRAPH_INPUTS]
    OUTPUT_MAP,  # graph channel of each device channel, -1 for silence: int64[OUTPUTS]
    FILLED,  # samples of the block in hand
    AT,  # samples that the device has taken
    WAIT,  # samples by which re-blocking delays the output
    FINISHED,  # samples of output so far
    MEMORY,  # table of the arrays, see below
    FILE,  # input from a file: ring of interleaved samples, or 0
    FILE_ENDED,  # 1: the ring holds all that is left
    DECK,  # table of the arrays of `rtaudio.deck`, which may put another ring in its place
    RECORD,  # ring of the interleaved output, or 0
    RECORD_INPUT,  # ring of the device's interleaved input, as mapped, or 0
    FADE_AT,  # device position from which input and output fade in
    FADE,  # length of a fade in samples
    DECLICK_AFTER,  # length of the fade of an input that is gone
    GONE,  # samples since the input went
    LAST_CALL,  # ns
    TAKEN,  # samples of the last call
    RATE,
    THREAD,  # number of the thread that calls; 0 before the first call
    FLAGGED,  # a callback came that is not prepared for: RAGGED, LONGER or both
    LONGEST_CALL,  # samples that the workers' blocks allow for at once, or more if more have come
    COUNTERS,
    HISTORY_END,  # position after the newest sample of the history
    STREAM_WORDS,
) = range(35)

RAGGED, LONGER = 1, 2
"""Its length is no multiple of what re-blocking allows for; it asks for more than workers allow for."""

NO_TURN, OFFERED, TAKEN_OVER, DONE = range(4)
"""An edit: a plan is offered by control, taken over by the callback, and the fade is done."""

PLAYED, ROOM, HISTORY, LAST_INPUT, LEVEL = range(5)
"""Arrays: ring of the past output, two interleaved blocks, ring of the past input, its last sample; ramp of
the output's level, and the level that is asked for."""

HISTORY_SECONDS, HISTORY_BYTES = 10.0, 64 << 20
"""Past input that is kept for a plan that takes over, and past output that is kept with it."""


def reblocking(period: int, block: int) -> int:
    """Samples by which blocks of ``block`` are later than the device's; ``period`` 0 varies."""
    return block - gcd(period, block) if period else block - 1


@compiled
def _follow(coming: Any, leaving: Any) -> None:
    """Let a plan that takes over hear what goes on of the one that leaves, see `rtaudio.succession`."""
    follow(coming, leaving, int64_at(coming[KEPT], 2 * coming[N_KEPT]))
    segments = int64_at(coming[SEGMENTS], coming[N_SEGMENTS])
    kept = int64_at(coming[KEPT_SEGMENTS], 2 * coming[N_KEPT_SEGMENTS])
    for pair in range(coming[N_KEPT_SEGMENTS]):
        segments[kept[2 * pair]] = kept[2 * pair + 1]


@compiled
def _play_blocks(words: Any, stream: Any, memory: int, counters: Any) -> None:
    """Run a full block, through a second plan too while that takes over, and keep the result."""
    n, inputs, outputs = stream[BLOCK], stream[GRAPH_INPUTS], stream[GRAPH_OUTPUTS]
    played, room = f32_matrix(memory, PLAYED), f32_matrix(memory, ROOM)[0]
    history = f32_matrix(memory, HISTORY)
    at = int64_at(words[CONTEXT], 1)[0]
    if stream[FILE] != 0:
        ended = load_acquire(stream, FILE_ENDED)
        stream[FILE] = current_tape(stream[DECK], stream[FILE], at)
        missing = read_tape(stream[DECK], stream[FILE], at, room, f32_matrix(memory, ROOM)[1], n, inputs)
        counters[FILE_UNDERFLOWS] += missing if ended == 0 else 0
    recording = load_acquire(stream, RECORD_INPUT)
    if recording != 0:
        heard = f32_matrix(memory, ROOM)[1]
        for c in range(inputs):
            x = channel(words[IN], c, n)
            for i in range(n):
                heard[i * inputs + c] = x[i]
        if not ring_push(recording, heard, n * inputs):
            counters[RECORD_OVERFLOWS] += n
    for c in range(inputs):
        x = channel(words[IN], c, n)
        if stream[FILE] != 0:
            counters[NON_FINITE] += enter(room[c:], x, n, inputs)
        ring_write(history[c], at, x, n)
    store_release(stream, HISTORY_END, at + n)

    turn, begins = load_acquire(stream, TURN), False
    if turn == OFFERED and stream[NEXT_AT] == at and exchange(stream, TURN, OFFERED, TAKEN_OVER):
        turn, begins = TAKEN_OVER, True
    if turn == TAKEN_OVER:
        coming = int64_at(stream[NEXT], PLAN_WORDS)
        for c in range(inputs):
            x, same = channel(words[IN], c, n), channel(coming[IN], c, n)
            for i in range(n):
                same[i] = x[i]
        if begins:
            _follow(coming, words)
    run_block(words, n)
    heard_at = stream[NEXT_AT] + stream[NEXT_AFTER]
    level = f64_vector(memory, LEVEL)
    ramp, wanted = level.ctypes.data, level[RAMP_WORDS]
    if wanted != level[TO]:
        turn_ramp(ramp, 0, at, wanted, 0, float(stream[FADE]))
    as_it_is = level[TO] == 1.0 and settled(ramp, 0, at)
    if turn == TAKEN_OVER:
        run_block(int64_at(stream[NEXT], PLAN_WORDS), n)
    for c in range(outputs):
        y = channel(words[OUT_CHANNELS], c, n)
        if turn == TAKEN_OVER:
            new = channel(int64_at(stream[NEXT], PLAN_WORDS)[OUT_CHANNELS], c, n)
            for i in range(n):
                share = smoothstep(min(max(at + i - heard_at, 0) / stream[FADE], 1.0))
                y[i] = new[i] if share == 1.0 else np.float32(y[i] + share * (new[i] - y[i]))
        if not as_it_is:
            levelled = f32_matrix(memory, ROOM)[1]
            for i in range(n):
                levelled[i] = np.float32(value(ramp, 0, at + i) * y[i])
            y = levelled
        over = 0
        for i in range(n):
            over += 1 if abs(y[i]) > np.float32(1) else 0
            room[i * outputs + c] = y[i]
        counters[OVER_FULL_SCALE] += over
        ring_write(played[c], stream[FINISHED], y, n)
    copy_taps(words, at, n)
    stream[FINISHED] += n
    if turn == TAKEN_OVER and at + n - heard_at >= stream[FADE]:
        coming = int64_at(stream[NEXT], PLAN_WORDS)
        go_on(coming, words, int64_at(coming[KEPT], 2 * coming[N_KEPT]))
        stream[PLAN] = stream[NEXT]
        store_release(stream, TURN, DONE)
    recording = load_acquire(stream, RECORD)
    if recording != 0 and not ring_push(recording, room, n * outputs):
        counters[RECORD_OVERFLOWS] += n
    counters[BLOCKS] += 1
    counters[POSITION] = at + n


@compiled
def _take_input(words: Any, stream: Any, memory: int, counters: Any, source: int, done: int, n: int) -> None:
    """Spread ``n`` of the device's samples over the graph's inputs; fade out what is no longer given."""
    filled, inputs = stream[FILLED], stream[INPUTS]
    last = f32_matrix(memory, LAST_INPUT)[0]
    places = int64_at(stream[INPUT_MAP], stream[GRAPH_INPUTS])
    fade = stream[AT] + done - stream[FADE_AT]
    for c in range(stream[GRAPH_INPUTS]):
        x = channel(words[IN], c, stream[BLOCK])[filled:]
        if source != 0 and inputs > 0:
            first = float32_at(source + 4 * (done * inputs + places[c]), (n - 1) * inputs + 1)
            counters[NON_FINITE] += enter(first, x, n, inputs)
            if fade < stream[FADE]:
                for i in range(n):
                    x[i] *= np.float32(smoothstep(min(1.0, (fade + i) / stream[FADE])))
            last[c] = x[n - 1]
        else:
            for i in range(n):
                gone = min(1.0, (stream[GONE] + 1 + i) / stream[DECLICK_AFTER])
                x[i] = last[c] * np.float32(1.0 - smoothstep(gone))
    stream[GONE] = 0 if source != 0 and inputs > 0 else stream[GONE] + n


@compiled
def _give_output(stream: Any, memory: int, counters: Any, sink: int, done: int, n: int) -> None:
    """Interleave ``n`` finished samples into the device's buffer; silence where there are none."""
    played, y = f32_matrix(memory, PLAYED), f32_matrix(memory, ROOM)[1]
    outputs = stream[OUTPUTS]
    sound = float32_at(sink + 4 * done * outputs, n * outputs)
    places = int64_at(stream[OUTPUT_MAP], outputs)
    begin = stream[AT] + done - stream[WAIT]
    there = min(max(stream[FINISHED] - begin, 0), n)
    fade = stream[AT] + done - stream[FADE_AT]
    for d in range(outputs):
        if places[d] < 0:
            for i in range(n):
                sound[i * outputs + d] = np.float32(0)
        else:
            ring_read(played[places[d]], begin, y, there)
            for i in range(there):
                sound[i * outputs + d] = y[i]
            for i in range(there, n):
                sound[i * outputs + d] = np.float32(0)
    if fade < stream[FADE]:
        for i in range(n):
            level = np.float32(smoothstep(min(1.0, (fade + i) / stream[FADE])))
            for d in range(outputs):
                sound[i * outputs + d] *= level
    if there < n:
        counters[UNFIT] += n - there
        stream[FLAGGED] |= RAGGED


@compiled
def _count_call(stream: Any, counters: Any, frames: Any, flags: Any, now: int) -> None:
    """Count the device's flags, and calls that come more than half a period late."""
    if stream[THREAD] == 0:
        stream[THREAD] = thread_id()
    if stream[LAST_CALL] != 0:
        due = stream[TAKEN] * 1_000_000_000 // stream[RATE]
        counters[LATE] += 1 if 2 * (now - stream[LAST_CALL]) > 3 * due else 0
    stream[LAST_CALL], stream[TAKEN] = now, frames
    if frames > stream[LONGEST_CALL]:
        stream[LONGEST_CALL] = frames
        stream[FLAGGED] |= LONGER
    counters[INPUT_UNDERFLOWS] += flags & 1
    counters[INPUT_OVERFLOWS] += flags >> 1 & 1
    counters[OUTPUT_UNDERFLOWS] += flags >> 2 & 1
    counters[OUTPUT_OVERFLOWS] += flags >> 3 & 1
    counters[CALLBACKS] += 1


def _callback(source: int, sink: int, frames: int, time: int, flags: int, user: int) -> int:
    """PortAudio's callback: ``frames`` interleaved samples in and out."""
    start = now_ns()
    stream = int64_at(user, STREAM_WORDS)
    memory = stream[MEMORY]
    counters = int64_at(stream[COUNTERS], HEAD_WORDS)
    length, n = np.int64(frames), stream[BLOCK]
    _count_call(stream, counters, length, np.int64(flags), start)
    done = 0
    while done < length:
        words = int64_at(stream[PLAN], PLAN_WORDS)
        take = min(length - done, n - stream[FILLED])
        _take_input(words, stream, memory, counters, source, done, take)
        stream[FILLED] += take
        if stream[FILLED] == n:
            _play_blocks(words, stream, memory, counters)
            stream[FILLED] = 0
        _give_output(stream, memory, counters, sink, done, take)
        done += take
    stream[AT] += length
    count_time(stream[COUNTERS], TIMES, LONGEST, now_ns() - start)
    return 0


class _Compiled:
    """The device callback, compiled when its address is first asked for."""

    @cached_property
    def callback(self) -> Any:
        return numba.cfunc(CALLBACK, cache=True, nopython=True, error_model="numpy", _nrt=False)(_callback)


_compiled = _Compiled()


def callback_address() -> int:
    """Address of the compiled device callback."""
    return int(_compiled.callback.address)


class Stream:
    """The state of a device callback.

    Parameters
    ----------
    plan
        What is heard.
    period
        Samples that the device asks for at once; 0: it varies, None: the plan's block.
    inputs
        The device's input channel, from 0, of each of the graph's; None: the first ones, in order.
    outputs
        The graph's output channel of each of the device's, -1 for silence; None: all, in order.
    counters
        Where the run is counted.
    """

    def __init__(
        self,
        plan: Plan,
        period: int | None = None,
        inputs: list[int] | None = None,
        outputs: list[int] | None = None,
        counters: Counters | None = None,
    ) -> None:
        places = list(range(plan.channels)) if inputs is None else inputs
        played = list(range(len(plan.heard))) if outputs is None else outputs
        self.rate, self.block = plan.rate, plan.block
        self.inputs, self.outputs = max(places, default=-1) + 1, len(played)
        self.counters = plan.counters if counters is None else counters
        self._input_map, self._output_map = np.array(places, np.int64), np.array(played, np.int64)
        longest = HISTORY_BYTES // (4 * plan.channels)
        history = power_of_two(int(min(HISTORY_SECONDS * plan.rate, longest)))
        self.history = np.zeros((plan.channels, max(history, 4 * power_of_two(plan.block))), np.float32)
        widest = max(plan.channels, len(plan.heard))
        self.level = np.append(resting([1.0])[0], 1.0)
        """Ramp of the level of what is heard, as an amplitude; the last word is that which is asked for."""
        self.played = np.zeros((len(plan.heard), self.history.shape[1]), np.float32)
        self._memory = (
            self.played,
            np.zeros((2, plan.block * widest), np.float32),
            self.history,
            np.zeros((1, plan.channels), np.float32),
            self.level,
        )
        self._table = state_table(self._memory)
        self.deck = deck_arrays(plan.channels)
        """Arrays of `rtaudio.deck`, whose `Deck` writes them."""
        self._deck_table = state_table(self.deck)
        self.words = words = np.zeros(STREAM_WORDS, np.int64)
        self.plan = plan
        words[PLAN], words[BLOCK], words[RATE] = plan.words.ctypes.data, plan.block, plan.rate
        words[GRAPH_INPUTS], words[GRAPH_OUTPUTS] = plan.channels, len(plan.heard)
        words[INPUTS], words[OUTPUTS] = self.inputs, self.outputs
        words[INPUT_MAP], words[OUTPUT_MAP] = self._input_map.ctypes.data, self._output_map.ctypes.data
        words[MEMORY] = self._table.ctypes.data
        words[COUNTERS], words[DECK] = self.counters.address, self._deck_table.ctypes.data
        words[FADE], words[DECLICK_AFTER] = (max(1, round(s * plan.rate)) for s in (CROSSFADE, DECLICK))
        words[FADE_AT] = -words[FADE]
        words[GONE] = words[DECLICK_AFTER]
        words[LONGEST_CALL] = plan.burst * plan.block
        words[HISTORY_END] = plan.position
        self.adapt(period)

    @property
    def callback(self) -> int:
        """Address of the C function."""
        return callback_address()

    @property
    def address(self) -> int:
        """What the C function's user pointer is."""
        return int(self.words.ctypes.data)

    @property
    def taken(self) -> int:
        """Samples that the device has given: the position of its next one in the input."""
        return int(self.words[AT])

    @property
    def callbacks(self) -> int:
        """Calls so far."""
        return int(self.counters.words[CALLBACKS])

    @property
    def thread(self) -> int:
        """Number of the thread that calls; 0 before its first call."""
        return int(self.words[THREAD])

    def begin(self, fade: bool) -> None:
        """Get ready for a device's first call. Only while nothing calls."""
        for word in (THREAD, LAST_CALL, FLAGGED, FILLED):
            self.words[word] = 0
        self.words[AT] = self.words[FINISHED]
        if fade:
            self.words[FADE_AT] = self.words[AT]

    def silent_since(self, begin: int) -> bool:
        """Whether the input from a position on, at most `HISTORY_SECONDS` ago, was exactly zero."""
        end, length = int(read_acquire(self.words, HISTORY_END)), self.history.shape[1]
        if not 0 <= begin <= end < begin + length - self.block:
            return False
        first, last = begin % length, begin % length + end - begin
        return not (self.history[:, first:last].any() or self.history[:, : max(0, last - length)].any())

    def past(self, seconds: float, late: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What was heard last, and the input that it was made of, ``late`` samples before.

        Returns
        -------
        Input (channels, samples) and output (channels, samples), as long as asked for if that is kept.
        """
        room = self.history.shape[1] - late - 2 * self.block - self.rate // 4  # that of the copy's time
        end = int(read_acquire(self.words, HISTORY_END)) - self.block
        n = max(0, min(round(seconds * self.rate), room, end - late))
        places = (np.arange(end - n, end) % self.history.shape[1] for end in (end - late, end))
        heard, played = (ring[:, at] for ring, at in zip((self.history, self.played), places, strict=True))
        return heard, played

    def adapt(self, period: int | None) -> None:
        """Re-block for a device that from now on asks for ``period`` samples at once.

        While calls come, a call may begin in the middle of a block: adapting again allows for that.
        """
        period = self.block if period is None else period
        least = reblocking(period, self.block)
        again = self.words[FLAGGED] & RAGGED and self.words[WAIT] == least
        self.latency = self.block - 1 if again else least
        self.words[WAIT] = self.latency
        self.counters.words[PERIOD], self.counters.words[DEVICE_LATENCY] = period, self.latency

    def arrays(self) -> list[NDArray[Any]]:
        """All memory that calls touch, for `realtime.lock_memory`."""
        return [*self._memory, *self.deck, self.words]
