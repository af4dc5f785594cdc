"""The compiled walk: one call runs every step of a plan, or of a part of it, on one block.

It needs neither the GIL nor the heap nor a lock.

A walk is a table of int64 rows, one per step, in the order they run. A step's kernel reads and writes
buffers at fixed addresses. A step that belongs to a node also has a stage, which bypasses (a crossfade into
the input, delayed by the node's latency), mutes, and takes over at once when the kernel fails.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numba
import numpy as np

from rtaudio.counters import (
    NODE_FAILED,
    NODE_FAILED_AT,
    NODE_FAILURES,
    NODE_INSIDE,
    NODE_LONGEST,
    NODE_STATUS,
    NODE_TIMES,
    NODE_WORDS,
)
from rtaudio.kernel import (
    ring_read,
    ring_write,
    settled,
    smoothstep,
    turn,
    value,
)
from rtaudio.native import (
    call_kernel,
    compiled,
    float32_at,
    flush_denormals,
    int32_at,
    int64_at,
    now_ns,
    restore_float_mode,
    store_release,
    this_thread,
    uint8_at,
)
from rtaudio.ring import Ring, ring_pop
from rtaudio.timing import count_time

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
    HOP,  # changes of parameters wait for a multiple of this position
    ORIGIN,  # position at which the node's own time begins: what re-blocking and worker lanes before it take
    STAGED,  # 1: belongs to a node, or plays what a worker made
    DRY,  # address of the dry input of each output channel, or 0 for silence: int64[N_OUTPUTS]
    DRY_LINES,  # delay lines of the dry inputs: float32[N_OUTPUTS, DRY_SIZE]
    DRY_SIZE,
    DRY_DELAY,
    DRY_BLOCK,  # scratch: float32[block]
    DRY_SHUT,  # 1: a muted node lies on the dry path of what a worker made: silence instead
    LAST,  # last sample played, its fallback, de-click offset of each output channel: float32[3, N_OUTPUTS]
    DECLICK_FROM,  # position at which the offset began to decay
    DECLICK,  # length of the decay in samples
    CROSSFADE,  # length of the fade back from a miss, in samples
    FAILED,  # 1 from a failure until control sends the event that re-arms it, 2 until that has effect; HELD
    MISSED,  # 1: the last block did not come from the worker in time
    COUNTERS,  # address of the node's section, see rtaudio.counters
    RESETS,  # what makes the processor new, where control cannot: int64[N_RESETS, 3], see `renew`
    N_RESETS,
    FOLLOWED,  # address of a row of another walk that runs in its place, or 0
    ROW_WORDS,
) = range(28)

GOES_ON = (
    ADDRESS,
    STATE,
    RAMPS,
    DRY_LINES,
    LAST,
    DECLICK_FROM,
    FAILED,
    MISSED,
    RESETS,
    N_RESETS,
)
"""Words by which a row goes on where another stopped, see `go_on`."""

# Words of a walk.
(
    ROWS,
    N_ROWS,
    CONTEXT,
    EVENTS,  # command ring, see rtaudio.ring
    PENDING,  # events that wait for their position: float64[PENDING_EVENTS, EVENT_WORDS]
    N_PENDING,
    WALK_WORDS,
) = range(7)

MISSING = 1 << 30
"""Status of a step whose worker was late: its fallback plays, and it is no failure."""

HELD = 3
"""FAILED of a node whose kernel is not run until control arms it, since it has crashed before."""

LOUDEST = np.float32(1e12)
"""Input samples beyond this, +240 dBFS, count as not finite: no sound, and too close to overflow."""

EVENT_WORDS = 7
AT, ROW, INDEX, TARGET, LENGTH, WAIT, REARM = range(EVENT_WORDS)
"""An event: position in the row's own time (-1: now), row, ramp, target in the kernel's unit, ramp length in
samples, samples from the event to the start of the ramp, 1 to re-arm a node, `RENEW` to make it new first."""
RENEW = 2
PENDING_EVENTS = 4096


@compiled
def _all_finite(address: int, n: int) -> bool:
    bits = int32_at(address, n)
    bad = np.int32(0)
    for i in range(n):
        bad |= np.int32((bits[i] & 0x7F800000) == 0x7F800000)
    return bad == 0


@compiled
def _well(row: Any, offset: int, n: int, status: int) -> bool:
    """Whether the kernel reported no failure and wrote finite samples only."""
    outputs = int64_at(row[OUTPUTS], row[N_OUTPUTS])
    well = status == 0
    for c in range(row[N_OUTPUTS]):
        well = well and _all_finite(outputs[c] + 4 * offset, n)
    return well


@compiled
def _keep_dry(row: Any, offset: int, n: int, at: int) -> None:
    """Write ``n`` samples from ``offset`` of the dry inputs to their delay lines."""
    dry_inputs, size = int64_at(row[DRY], row[N_OUTPUTS]), row[DRY_SIZE]
    for c in range(row[N_OUTPUTS] if row[DRY_DELAY] > 0 else 0):
        if dry_inputs[c] != 0:
            line = float32_at(row[DRY_LINES] + 4 * size * c, size)
            ring_write(line, at, float32_at(dry_inputs[c] + 4 * offset, n), n)


@compiled
def _play(row: Any, offset: int, n: int, at: int, status: int) -> None:
    """The stage: what a node plays of its wet outputs and dry inputs; ``n`` samples from ``offset``."""
    ramps, count = row[RAMPS], row[N_OUTPUTS]
    wet, audible = row[N_RAMPS] - 2, row[N_RAMPS] - 1
    just_missed = status == MISSING and row[MISSED] == 0
    just_failed = status != MISSING and row[FAILED] == 0 and not _well(row, offset, n, status)
    if just_missed or just_failed:
        turn(ramps, wet, at, 0.0, 0, 0.0)
        row[DECLICK_FROM] = at
    if just_failed:
        counters = int64_at(row[COUNTERS], NODE_WORDS)
        counters[NODE_STATUS], counters[NODE_FAILED_AT] = status, at
        counters[NODE_FAILURES] += 1
        counters[NODE_FAILED] = 1
        store_release(row, FAILED, 1)
    if row[MISSED] != 0 and status != MISSING:
        turn(ramps, wet, at, 1.0, 0, row[CROSSFADE])
    row[MISSED] = 1 if status == MISSING else 0
    wet_still, audible_still = settled(ramps, wet, at), settled(ramps, audible, at)
    wet_end, audible_end = value(ramps, wet, at), value(ramps, audible, at)
    # A failed node is all dry (see `_apply`): what the kernel left in its outputs may be anything.
    all_dry, all_wet = wet_still and wet_end == 0.0, wet_still and wet_end == 1.0
    declick = at - row[DECLICK_FROM] < row[DECLICK]

    outputs, dry_inputs = int64_at(row[OUTPUTS], count), int64_at(row[DRY], count)
    last = float32_at(row[LAST], 3 * count)
    delay, size = row[DRY_DELAY], row[DRY_SIZE]
    _keep_dry(row, offset, n, at)
    for c in range(count):
        y, dry = float32_at(outputs[c] + 4 * offset, n), float32_at(row[DRY_BLOCK], n)
        if dry_inputs[c] == 0 or row[DRY_SHUT] != 0:
            dry[:] = np.float32(0)
        elif delay == 0:
            dry = float32_at(dry_inputs[c] + 4 * offset, n)
        else:
            ring_read(float32_at(row[DRY_LINES] + 4 * size * c, size), at - delay, dry, n)
        if all_dry:
            for i in range(n):
                y[i] = dry[i]
        elif not all_wet:
            for i in range(n):
                share = value(ramps, wet, at + i)
                y[i] = y[i] if share == 1.0 else np.float32(dry[i] + share * (y[i] - dry[i]))
        if not audible_still:
            for i in range(n):
                y[i] *= np.float32(value(ramps, audible, at + i))
        elif audible_end != 1.0:
            for i in range(n):
                y[i] *= np.float32(audible_end)
        if just_missed or just_failed:
            last[2 * count + c] = last[c] - last[count + c]
        if declick:
            for i in range(n):
                progress = min(1.0, (at + i - row[DECLICK_FROM]) / row[DECLICK])
                y[i] += last[2 * count + c] * np.float32(1.0 - smoothstep(progress))
        last[c] = y[n - 1]
        last[count + c] = dry[n - 1] * np.float32(value(ramps, audible, at + n - 1))


@compiled
def _run(row: Any, context: Any, offset: int, n: int, at: int) -> int:
    """One kernel call, on ``n`` samples from ``offset`` of the block; returns the kernel's status."""
    inputs, outputs = row[INPUTS], row[OUTPUTS]
    input_count, output_count = row[N_INPUTS], row[N_OUTPUTS]
    whole_inputs, whole_outputs = int64_at(inputs, 2 * input_count), int64_at(outputs, 2 * output_count)
    if row[FAILED] != 0:
        _silence(row, offset, n)
        return 0
    if offset > 0:
        for c in range(input_count):
            whole_inputs[input_count + c] = whole_inputs[c] + 4 * offset
        for c in range(output_count):
            whole_outputs[output_count + c] = whole_outputs[c] + 4 * offset
        inputs, outputs = inputs + 8 * input_count, outputs + 8 * output_count
    context[0] = at
    counters = int64_at(row[COUNTERS], NODE_WORDS)
    counters[NODE_INSIDE] = this_thread()
    status = call_kernel(row[ADDRESS], row[STATE], inputs, outputs, n, row[RAMPS], context.ctypes.data)
    counters[NODE_INSIDE] = 0
    return status


@compiled
def _silence(row: Any, offset: int, n: int) -> None:
    """Zeros on ``n`` samples from ``offset`` of a step's outputs."""
    outputs = int64_at(row[OUTPUTS], row[N_OUTPUTS])
    for c in range(row[N_OUTPUTS]):
        float32_at(outputs[c] + 4 * offset, n)[:] = np.float32(0)


@compiled
def renew(copies: int, count: int) -> None:
    """Make state what it was at the start.

    ``copies`` is int64[count, 3]: address, address of the first content or 0 for zeros, bytes.
    """
    for number in range(count):
        copy = int64_at(copies + 24 * number, 3)
        state, fresh = uint8_at(copy[0], copy[2]), uint8_at(copy[1], copy[2])
        for i in range(copy[2]):
            state[i] = fresh[i] if copy[1] != 0 else np.uint8(0)


@compiled
def _apply(event: Any, row: Any, at: int) -> None:
    """Let an event take effect: start a ramp where the last one has come to."""
    index = int(event[INDEX])
    if event[REARM] != 0.0:
        if event[REARM] == RENEW:
            renew(row[RESETS], row[N_RESETS])
        int64_at(row[COUNTERS], NODE_WORDS)[NODE_FAILED] = 0
        store_release(row, FAILED, 0)
    elif row[FAILED] != 0 and index == row[N_RAMPS] - 2:
        return  # A failed node stays dry; re-arming it fades to where it should be.
    turn(row[RAMPS], index, at, event[TARGET], int(event[WAIT]), event[LENGTH])


@compiled
def _next_stop(
    row: Any, number: int, stage: bool, begin: int, at: int, end: int, pending: Any, count: int
) -> int:
    """Let events of a row's kernel, or of its stage, take effect that are due; returns where the next does.

    None does before ``begin``. Those of the kernel, which re-arming is one of, wait for the start of a hop
    where it has hops.
    """
    stop = end
    hop = 1 if stage else row[HOP]
    for e in range(count):
        event = pending[e]
        of_stage = event[INDEX] >= row[N_RAMPS] - 2 and event[REARM] == 0.0
        if event[ROW] == number and of_stage == stage:
            due = (max(int(event[AT]), begin) + hop - 1) // hop * hop
            if due <= at:
                _apply(event, row, at)
                event[ROW] = -1.0
            elif due < stop:
                stop = due
    return stop


@compiled
def _run_in_pieces(row: Any, number: int, context: Any, n: int, start: int, pending: Any, count: int) -> None:
    """A step on a block with events or with the beginning of the step's time, before which it is silent."""
    begin, end = min(max(start, 0), start + n), start + n
    _silence(row, 0, begin - start)
    _keep_dry(row, 0, begin - start, start)
    status = 0
    at = begin
    while at < end:
        stop = _next_stop(row, number, False, begin, at, end, pending, count)
        status |= _run(row, context, at - start, stop - at, at)
        at = stop
    at = begin
    while at < end and row[STAGED] != 0:
        stop = _next_stop(row, number, True, begin, at, end, pending, count)
        _play(row, at - start, stop - at, at, status)
        at = stop


@compiled
def _collect_events(walk: Any, pending: Any) -> int:
    """Move commands from the ring to the events that wait; returns how many wait."""
    count = walk[N_PENDING]
    while count < PENDING_EVENTS and ring_pop(walk[EVENTS], pending[count], EVENT_WORDS) == EVENT_WORDS:
        count += 1
    walk[N_PENDING] = count
    return count


@compiled
def _any_due(pending: Any, count: int, end: int) -> bool:
    """Whether an event may take effect before a position."""
    due = False
    for e in range(count):
        due = due or pending[e, AT] < end
    return due


@compiled
def _drop_done(walk: Any, pending: Any, count: int) -> None:
    kept = 0
    for e in range(count):
        if pending[e, ROW] >= 0.0:
            for word in range(EVENT_WORDS):
                pending[kept, word] = pending[e, word]
            kept += 1
    walk[N_PENDING] = kept


@compiled
def run_block(walk: Any, n: int) -> None:
    """Run a walk on the ``n`` samples that its input buffers hold."""
    mode = flush_denormals()
    context = int64_at(walk[CONTEXT], 3)
    pending = _events_view(walk[PENDING])
    begin = context[0]
    count = _collect_events(walk, pending)
    due = _any_due(pending, count, begin + n)
    before = now_ns()
    for number in range(walk[N_ROWS]):
        row = int64_at(walk[ROWS] + 8 * ROW_WORDS * number, ROW_WORDS)
        at = begin - row[ORIGIN]
        if row[FOLLOWED] != 0:
            _play_followed(row, n)
            before = now_ns()
            continue
        if due or at < 0:
            _run_in_pieces(row, number, context, n, at, pending, count)
        else:
            status = _run(row, context, 0, n, at)
            if row[STAGED] != 0:
                _play(row, 0, n, at, status)
        after = now_ns()
        count_time(row[COUNTERS], NODE_TIMES, NODE_LONGEST, after - before)
        before = after
    if due:
        _drop_done(walk, pending, count)
    context[0] = begin + n
    restore_float_mode(mode)


@compiled
def follow(walk: Any, other: Any, pairs: Any) -> None:
    """Let steps of a walk play what those of another make, which runs first.

    ``pairs`` has the number of a row of ``other`` and that of the row of ``walk`` that follows it, in turn.
    """
    for pair in range(pairs.shape[0] // 2):
        row = int64_at(walk[ROWS] + 8 * ROW_WORDS * pairs[2 * pair + 1], ROW_WORDS)
        row[FOLLOWED] = other[ROWS] + 8 * ROW_WORDS * pairs[2 * pair]


@compiled
def go_on(walk: Any, other: Any, pairs: Any) -> None:
    """Let the steps that follow those of another walk, which does not run any more, go on in their place.

    They have the state of the others from then on, and the changes that wait there for their position.
    """
    theirs, own = _events_view(other[PENDING]), _events_view(walk[PENDING])
    for pair in range(pairs.shape[0] // 2):
        row = int64_at(walk[ROWS] + 8 * ROW_WORDS * pairs[2 * pair + 1], ROW_WORDS)
        left = int64_at(row[FOLLOWED], ROW_WORDS)
        for word in GOES_ON:
            row[word] = left[word]
        row[FOLLOWED] = 0
        for e in range(other[N_PENDING]):
            if theirs[e, ROW] == pairs[2 * pair] and walk[N_PENDING] < PENDING_EVENTS:
                for word in range(EVENT_WORDS):
                    own[walk[N_PENDING], word] = theirs[e, word]
                own[walk[N_PENDING], ROW] = pairs[2 * pair + 1]
                walk[N_PENDING] += 1


@compiled
def _play_followed(row: Any, n: int) -> None:
    """Copy what the row that runs in its place has made."""
    followed = int64_at(row[FOLLOWED], ROW_WORDS)
    count = row[N_OUTPUTS]
    made, outputs = int64_at(followed[OUTPUTS], count), int64_at(row[OUTPUTS], count)
    for c in range(count):
        x, y = float32_at(made[c], n), float32_at(outputs[c], n)
        for i in range(n):
            y[i] = x[i]


@numba.extending.intrinsic
def _events_view(typing_context, address):
    """The table of waiting events: float64[PENDING_EVENTS, EVENT_WORDS]."""
    from numba import types

    from rtaudio.native import _make_view

    array_type = types.Array(types.float64, 2, "C")

    def generate(context, builder, signature, arguments):
        shape = [
            context.get_constant(types.intp, PENDING_EVENTS),
            context.get_constant(types.intp, EVENT_WORDS),
        ]
        return _make_view(context, builder, array_type, arguments[0], shape)

    return array_type(types.intp), generate


@compiled
def enter(source: Any, buffer: Any, n: int, step: int) -> int:
    """Copy every ``step``-th sample of ``source``, 0 for those that are no sound; returns how many."""
    replaced = 0
    for i in range(n):
        sample = source[i * step]
        sound = abs(sample) <= LOUDEST
        buffer[i] = sample if sound else np.float32(0)
        replaced += 0 if sound else 1
    return replaced


@lru_cache
def warm_up() -> None:
    """Compile, or load from the cache, everything that runs blocks, by running a walk without steps."""
    context, events = np.zeros(3, np.int64), Ring(EVENT_WORDS, np.float64)
    walk = np.zeros(WALK_WORDS, np.int64)
    walk[CONTEXT], walk[EVENTS] = context.ctypes.data, events.address
    events.push(np.zeros(0))
    run_block(walk, 1)
    enter(np.zeros(1, np.float32), np.zeros(1, np.float32), 1, 1)
