"""What it costs to be looked at: the callback's copies, and the thread that makes columns and levels.

``python benchmarks/observe.py`` prints, for blocks of 128 stereo samples at 48 kHz: medians of alternating
runs of the callback with and without taps, in microseconds of thread CPU time a tap and block; then, of a
host on the null device that plays `remix` (views: in, out, three stems), the CPU time of the thread as a
share of a core, the columns left out, and how old the newest column is that a reader finds.
"""

from __future__ import annotations

import time

import numpy as np

from rtaudio.chain import parse_chain
from rtaudio.counters import POSITION, Counters
from rtaudio.host import Host
from rtaudio.native import call_callback, compiled
from rtaudio.null import NullDevice
from rtaudio.observation import OBSERVED, Observation
from rtaudio.observe import Observer
from rtaudio.plan import N_TAPS, Plan
from rtaudio.stream import Stream

BLOCK, CHANNELS, RATE = 128, 2, 48_000
CALLS, ROUNDS = 500, 101
SECONDS = 30.0


@compiled
def _calls(callback: int, source: int, sink: int, n: int, user: int, count: int) -> None:
    for _ in range(count):
        call_callback(callback, source, sink, n, 0, 0, user)


def taps() -> None:
    """The callback's copies."""
    counters = Counters(room=OBSERVED.itemsize)
    plan = Plan(parse_chain("remix"), RATE, BLOCK, CHANNELS)
    stream, _ = Stream(plan, counters=counters), Observer(counters, plan, [])
    source = np.random.default_rng(1).standard_normal((2, BLOCK, CHANNELS)).astype(np.float32)
    call = stream.callback, source[0].ctypes.data, source[1].ctypes.data, BLOCK, stream.address
    count, times = int(plan.words[N_TAPS]), {}
    for round_ in range(2 * ROUNDS):
        plan.words[N_TAPS] = count * (round_ % 2)
        start = time.thread_time_ns()
        _calls(*call, CALLS)
        times.setdefault(round_ % 2, []).append((time.thread_time_ns() - start) / CALLS / 1e3)
    without, with_ = (float(np.median(times[each])) for each in (0, 1))
    each = (with_ - without) / count
    print(f"callback {without:.2f} us, with {count} stereo taps {with_:.2f} us: {each:.3f} us a tap")


def thread() -> None:
    """The thread, and what a reader finds."""
    counters = Counters(shared=True, room=OBSERVED.itemsize)
    plan = Plan(parse_chain("noise | remix"), RATE, BLOCK, CHANNELS)
    with Host(plan, NullDevice(rate=RATE), counters=counters) as host:
        host.start()
        running = host.observer.thread
        assert running is not None  # noqa: S101 - there is room
        clock = time.pthread_getcpuclockid(running.ident)
        seen, ages = Observation(int(counters.words[1])), []
        time.sleep(1.0)
        begin, start = time.clock_gettime_ns(clock), time.monotonic_ns()
        while time.monotonic_ns() - start < SECONDS * 1e9:
            time.sleep(0.0017)
            ages.append(int(counters.words[POSITION]) - seen.views()["in"].position)
        spent = (time.clock_gettime_ns(clock) - begin) / (time.monotonic_ns() - start)
        views = seen.views()
        print(f"thread, {len(views)} views: {100 * spent:.2f} % of a core over {SECONDS:g} s")
        print(f"left out: {sum(view.skipped for view in views.values())} of {100 * len(views) * SECONDS:g}")
        ms = np.percentile(ages, [50, 99, 100]) / RATE * 1e3
        print(f"age of the newest column: median {ms[0]:.1f} ms, 99 % {ms[1]:.1f} ms, most {ms[2]:.1f} ms")


if __name__ == "__main__":
    taps()
    thread()
