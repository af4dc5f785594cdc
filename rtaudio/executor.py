"""The compiled walk: one call runs every step of a plan on one block, without the GIL, the heap or a lock.

A plan is a table of int64 rows, one per step, in the order they run. A step's kernel reads and writes buffers at fixed
addresses. A step that belongs to a node also has a stage, which bypasses (a crossfade into the input, delayed by the
node's latency), mutes, and takes over at once when the kernel fails.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numba
import numpy as np

from rtaudio.kernel import RAMP_WORDS, channel, ring_read, ring_write, settled, smoothstep, value
from rtaudio.native import (
    CALLBACK,
    call_kernel,
    compiled,
    float32_at,
    float64_at,
    flush_denormals,
    int32_at,
    int64_at,
    load_acquire,
    now_ns,
    restore_float_mode,
    store_release,
)
from rtaudio.ring import ring_pop, ring_push, ring_readable

# Words of a step's row.
(
    ADDRESS,  # of the kernel
    STATE,
    INPUTS,  # addresses of the input channels: int64[N_INPUTS], then as many for blocks that are split
    N_INPUTS,
    OUTPUTS,
    N_OUTPUTS,
    RAMPS,  # float64[N_RAMPS, RAMP_WORDS]; a node's last two are WET and AUDIBLE
    N_RAMPS,
    HOP,  # events wait for a multiple of this position
    STAGED,  # 1: belongs to a node
    DRY,  # address of the dry input of each output channel, or 0 for silence: int64[N_OUTPUTS]
    DRY_LINES,  # delay lines of the dry inputs: float32[N_OUTPUTS, DRY_SIZE]
    DRY_SIZE,
    DRY_DELAY,
    DRY_BLOCK,  # scratch: float32[block]
    LAST,  # last sample played and de-click offset of each output channel: float32[2, N_OUTPUTS]
    DECLICK_FROM,  # position at which the offset began to decay
    DECLICK,  # length of the decay in samples
    FAILED,  # 1 from a failure until the control thread re-arms the node
    FAILURES,
    FAILED_AT,
    STATUS,
    TIMES,  # histogram of the step's time: int64[TIME_BINS]
    LONGEST,  # ns
    ROW_WORDS,
) = range(25)

# Words of the stream that a device callback's user pointer leads to.
(
    ROWS,
    N_ROWS,
    CONTEXT,
    BLOCK,
    IN,  # addresses of the graph's input channels
    IN_CHANNELS,
    OUT,  # addresses of the channels that are heard
    OUT_CHANNELS,
    EVENTS,  # command ring, see rtaudio.ring
    PENDING,  # events that wait for their position: float64[PENDING_EVENTS, EVENT_WORDS]
    N_PENDING,
    FILE,  # input from a file: ring of interleaved samples, or 0
    FILE_ENDED,  # 1: the ring holds all that is left
    RECORD,  # ring of the interleaved output, or 0
    IN_BLOCK,  # scratch: float32[block * max(IN_CHANNELS, OUT_CHANNELS)]
    CALLBACKS,
    NON_FINITE,  # input samples replaced by 0
    OVER_FULL_SCALE,  # output samples beyond -1 to 1
    FILE_UNDERFLOWS,  # input samples that the file reader was too late for
    RECORD_OVERFLOWS,  # output samples that the recorder was too late for
    CALLBACK_TIMES,
    CALLBACK_LONGEST,
    STREAM_WORDS,
) = range(23)

EVENT_WORDS = 6
AT, ROW, INDEX, TARGET, LENGTH, REARM = range(EVENT_WORDS)
"""An event: position (-1: now), row, ramp, target in the kernel's unit, ramp length in samples, 1 to re-arm a node."""
PENDING_EVENTS = 4096

TIME_BINS = 512
BINS_PER_OCTAVE = 8


@compiled
def time_bin(ns: int) -> int:
    """Bin of a duration, eight to an octave: the leading bit and the three after it."""
    ns = max(ns, 8)
    exponent = 3
    while ns >> (exponent + 1):
        exponent += 1
    return exponent * BINS_PER_OCTAVE + ((ns >> (exponent - 3)) & 7)


def bin_ns(bin_: int) -> float:
    """Middle of a bin of `time_bin`, in nanoseconds."""
    exponent, eighth = divmod(bin_, BINS_PER_OCTAVE)
    return float(2.0 ** (exponent - 3) * (8 + eighth + 0.5))


@compiled
def _all_finite(address: int, n: int) -> bool:
    bits = int32_at(address, n)
    bad = np.int32(0)
    for i in range(n):
        bad |= np.int32((bits[i] & 0x7F800000) == 0x7F800000)
    return bad == 0


@compiled
def _play(row: Any, offset: int, n: int, at: int, status: int) -> None:
    """The stage: outputs of a node from its wet outputs and its dry inputs, for ``n`` samples from ``offset``."""
    ramps, count = row[RAMPS], row[N_OUTPUTS]
    wet_index = row[N_RAMPS] - 2
    outputs, dry_inputs = int64_at(row[OUTPUTS], count), int64_at(row[DRY], count)
    just_failed = False
    if row[FAILED] == 0:
        well = status == 0
        for c in range(count):
            well = well and _all_finite(outputs[c] + 4 * offset, n)
        if not well:
            just_failed = True
            wet = float64_at(ramps + 8 * RAMP_WORDS * wet_index, RAMP_WORDS)
            wet[:] = 0.0
            row[STATUS], row[FAILED_AT] = status, at
            row[FAILURES] += 1
            row[DECLICK_FROM] = at
            store_release(row, FAILED, 1)
    declick = at - row[DECLICK_FROM] < row[DECLICK]
    still = settled(ramps, wet_index, at) and settled(ramps, wet_index + 1, at)
    wet_end, audible_end = value(ramps, wet_index, at), value(ramps, wet_index + 1, at)
    plain = still and wet_end == 1.0 and audible_end == 1.0 and not declick

    last = float32_at(row[LAST], 2 * count)
    delay, size = row[DRY_DELAY], row[DRY_SIZE]
    for c in range(count):
        y = float32_at(outputs[c] + 4 * offset, n)
        if dry_inputs[c] != 0 and delay > 0:
            line = float32_at(row[DRY_LINES] + 4 * size * c, size)
            ring_write(line, at, float32_at(dry_inputs[c] + 4 * offset, n), n)
        if plain:
            last[c] = y[n - 1]
            continue
        dry = float32_at(row[DRY_BLOCK], n)
        if dry_inputs[c] == 0:
            dry[:] = np.float32(0)
        elif delay > 0:
            ring_read(float32_at(row[DRY_LINES] + 4 * size * c, size), at - delay, dry, n)
        else:
            dry = float32_at(dry_inputs[c] + 4 * offset, n)
        if still and wet_end == 0.0:
            for i in range(n):
                y[i] = dry[i] * np.float32(audible_end)
        else:
            for i in range(n):
                wet_gain = value(ramps, wet_index, at + i)
                mixed = y[i] if wet_gain == 1.0 else np.float32(dry[i] + wet_gain * (y[i] - dry[i]))
                y[i] = mixed * np.float32(value(ramps, wet_index + 1, at + i))
        if just_failed:
            last[count + c] = last[c] - y[0]
        if declick:
            for i in range(n):
                progress = min(1.0, (at + i - row[DECLICK_FROM]) / row[DECLICK])
                y[i] += last[count + c] * np.float32(1.0 - smoothstep(progress))
        last[c] = y[n - 1]


@compiled
def _run(row: Any, context: Any, offset: int, n: int, at: int) -> None:
    """One kernel call and its stage, on ``n`` samples from ``offset`` of the block."""
    inputs, outputs = row[INPUTS], row[OUTPUTS]
    if offset > 0:
        shifted_inputs, shifted_outputs = row[N_INPUTS], row[N_OUTPUTS]
        whole_inputs, whole_outputs = int64_at(inputs, 2 * shifted_inputs), int64_at(outputs, 2 * shifted_outputs)
        for c in range(shifted_inputs):
            whole_inputs[shifted_inputs + c] = whole_inputs[c] + 4 * offset
        for c in range(shifted_outputs):
            whole_outputs[shifted_outputs + c] = whole_outputs[c] + 4 * offset
        inputs, outputs = inputs + 8 * shifted_inputs, outputs + 8 * shifted_outputs
    status = 0
    if row[FAILED] == 0:
        context[0] = at
        status = call_kernel(row[ADDRESS], row[STATE], inputs, outputs, n, row[RAMPS], context.ctypes.data)
    if row[STAGED] != 0:
        _play(row, offset, n, at, status)


@compiled
def _effective(event: Any, row: Any, begin: int) -> int:
    """Position at which an event takes effect: not before this block, and at a hop's start where there is a hop."""
    at = max(int(event[AT]), begin)
    hop = row[HOP]
    return at if hop <= 1 else (at + hop - 1) // hop * hop


@compiled
def _run_with_events(row: Any, number: int, context: Any, n: int, begin: int, pending: Any, count: int) -> None:
    """`_run`, the block split where this row's events take effect."""
    at, end = begin, begin + n
    while at < end:
        stop = end
        for e in range(count):
            event = pending[e]
            if event[ROW] == number:
                due = _effective(event, row, begin)
                if due <= at:
                    index = int(event[INDEX])
                    ramp = float64_at(row[RAMPS] + 8 * RAMP_WORDS * index, RAMP_WORDS)
                    now = value(row[RAMPS], index, at)
                    ramp[0], ramp[1], ramp[2], ramp[3] = now, event[TARGET], at, event[LENGTH]
                    if event[REARM] != 0.0:
                        store_release(row, FAILED, 0)
                    event[ROW] = -1.0
                elif due < stop:
                    stop = due
        _run(row, context, at - begin, stop - at, at)
        at = stop


@compiled
def _collect_events(stream: Any, pending: Any) -> int:
    """Move commands from the ring to the events that wait; returns how many wait."""
    count = stream[N_PENDING]
    while count < PENDING_EVENTS and ring_pop(stream[EVENTS], pending[count], EVENT_WORDS) == EVENT_WORDS:
        count += 1
    stream[N_PENDING] = count
    return count  # type: ignore[no-any-return]


@compiled
def _drop_done(stream: Any, pending: Any, count: int) -> None:
    kept = 0
    for e in range(count):
        if pending[e, ROW] >= 0.0:
            for word in range(EVENT_WORDS):
                pending[kept, word] = pending[e, word]
            kept += 1
    stream[N_PENDING] = kept


@compiled
def _count_time(times: int, longest: Any, place: int, ns: int) -> None:
    int64_at(times, TIME_BINS)[time_bin(ns)] += 1
    if ns > longest[place]:
        longest[place] = ns


@compiled
def run_block(stream: Any, n: int) -> None:
    """Run the plan on the ``n`` samples that the graph's input buffers hold."""
    mode = flush_denormals()
    context = int64_at(stream[CONTEXT], 3)
    pending = _events_view(stream[PENDING])
    begin = context[0]
    count = _collect_events(stream, pending)
    before = now_ns()
    for number in range(stream[N_ROWS]):
        row = int64_at(stream[ROWS] + 8 * ROW_WORDS * number, ROW_WORDS)
        if count == 0:
            _run(row, context, 0, n, begin)
        else:
            _run_with_events(row, number, context, n, begin, pending, count)
        after = now_ns()
        _count_time(row[TIMES], row, LONGEST, after - before)
        before = after
    if count > 0:
        _drop_done(stream, pending, count)
    context[0] = begin + n
    restore_float_mode(mode)


@numba.extending.intrinsic
def _events_view(typing_context, address):  # type: ignore[no-untyped-def]
    """The table of waiting events: float64[PENDING_EVENTS, EVENT_WORDS]."""
    from numba import types

    from rtaudio.native import _make_view

    array_type = types.Array(types.float64, 2, "C")

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        shape = [context.get_constant(types.intp, PENDING_EVENTS), context.get_constant(types.intp, EVENT_WORDS)]
        return _make_view(context, builder, array_type, arguments[0], shape)

    return array_type(types.intp), generate


@compiled
def enter(source: Any, buffer: Any, n: int, step: int) -> int:
    """Copy every ``step``-th sample of ``source`` to a buffer, zeros for non-finite ones; returns how many those were."""
    replaced = 0
    for i in range(n):
        sample = source[i * step]
        finite = abs(sample) <= np.float32(3.4028235e38)
        buffer[i] = sample if finite else np.float32(0)
        replaced += 0 if finite else 1
    return replaced


@compiled
def run_planar(stream: Any, inputs: int, outputs: int, heard: int, n: int) -> None:
    """`run_block` for callers with planar blocks: tables of addresses of the input channels, of the output channels,
    and of the graph's buffers that those outputs are copied from (all with as many entries as the stream says)."""
    for c in range(stream[IN_CHANNELS]):
        stream[NON_FINITE] += enter(channel(inputs, c, n), channel(stream[IN], c, n), n, 1)
    run_block(stream, n)
    for c in range(stream[OUT_CHANNELS]):
        x, y = channel(heard, c, n), channel(outputs, c, n)
        for i in range(n):
            y[i] = x[i]
    stream[CALLBACKS] += 1


def _callback(source: int, sink: int, frames: int, time: int, flags: int, user: int) -> int:
    """What a device calls: ``frames`` interleaved samples in and out, in blocks of the plan's size."""
    stream = int64_at(user, STREAM_WORDS)
    start = now_ns()
    channels_in, channels_out = stream[IN_CHANNELS], stream[OUT_CHANNELS]
    n = stream[BLOCK]
    for first in range(0, np.int64(frames), n):
        block_in = float32_at(source + 4 * first * channels_in, n * channels_in)
        if stream[FILE] != 0:
            block_in = float32_at(stream[IN_BLOCK], n * channels_in)
            ended = load_acquire(stream, FILE_ENDED)
            got = ring_pop(stream[FILE], block_in, n * channels_in)
            if got < n * channels_in:
                for i in range(got, n * channels_in):
                    block_in[i] = np.float32(0)
                if ended == 0:
                    stream[FILE_UNDERFLOWS] += (n * channels_in - got) // channels_in
        for c in range(channels_in):
            stream[NON_FINITE] += enter(block_in[c:], channel(stream[IN], c, n), n, channels_in)
        run_block(stream, n)
        block_out = float32_at(sink + 4 * first * channels_out, n * channels_out)
        over = 0
        for c in range(channels_out):
            y = channel(stream[OUT], c, n)
            for i in range(n):
                over += 1 if abs(y[i]) > np.float32(1) else 0
                block_out[i * channels_out + c] = y[i]
        stream[OVER_FULL_SCALE] += over
        if stream[RECORD] != 0 and not ring_push(stream[RECORD], block_out, n * channels_out):
            stream[RECORD_OVERFLOWS] += n
    _count_time(stream[CALLBACK_TIMES], stream, CALLBACK_LONGEST, now_ns() - start)
    stream[CALLBACKS] += 1
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


__all__ = ["bin_ns", "callback_address", "enter", "ring_readable", "run_block", "run_planar", "time_bin"]
