"""Slots between a callback and a worker, every sample checked on both sides, at full speed.

``python benchmarks/slots.py [--millions 500] [--block 64] [--json FILE]`` prints a table. The samples are a
ramp: their own positions. The worker compares every block that it takes with the block's number, the callback
every block that it gets back.

in-step           the callback waits for what it is to play, and for nothing else: none may be missed
lapped            it never waits: blocks may be left out only where a lapse is counted, and misses are silent
no-second-look    must fail: as lapped, but the worker does not look again whether a slot was left alone
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import types
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from stalls import watch

from rtaudio import executor, lanes
from rtaudio.graph import Graph, Node
from rtaudio.kernel import channel, kernel, position
from rtaudio.native import (
    compiled,
    float32_at,
    i64_vector,
    int64_at,
    load_acquire,
    now_ns,
    store_release,
)
from rtaudio.plan import Plan
from rtaudio.processor import Processor

RATE = 48_000
NUMBERS = 1 << 24
"""Samples are numbered modulo this: what float32 holds exactly."""
CONTROL_SECONDS = 20.0
"""In which the broken worker must be caught."""
PATIENCE_NS = 10_000_000_000
BAD, DONE, NEXT, JUMPS = range(4)
"""What the worker finds: wrong samples, samples, the position that it expects, how often it was another."""
HEARD_BAD, HEARD, MISSED, LOUD, HUNG = range(5)
"""What the callback finds: wrong samples, samples, missed blocks, samples in them, a wait in vain."""

give_way = numba.types.ExternalFunction("sched_yield", numba.types.int32())


@kernel
def check_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """Compare a block with its position."""
    found, at = i64_vector(state, 0), position(context)
    x, y = channel(inputs, 0, n), channel(outputs, 0, n)
    bad = 0
    for i in range(n):
        bad += 1 if x[i] != np.float32((at + i) & (NUMBERS - 1)) else 0
        y[i] = x[i]
    found[BAD] += bad
    found[JUMPS] += 1 if at != found[NEXT] else 0
    found[NEXT] = at + n
    store_release(found, DONE, found[DONE] + n)
    return 0


class Check(Processor):
    """Counts what is not the number of its position; a reset leaves the count alone."""

    id = "check"
    fallback = None
    KERNEL = check_kernel

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: the count."""
        return (np.zeros(4, np.int64),)

    def copies(self) -> list[tuple[int, int, int]]:
        """Nothing."""
        return []


@compiled
def drive(
    plan: Any,
    segment: Any,
    entry: Any,
    heard: Any,
    worker: Any,
    total: int,
    waits: bool,
    found: Any,
    stop: Any,
) -> None:
    """Play blocks until the worker has done ``total`` samples; look at what comes back."""
    context, n = int64_at(plan[executor.CONTEXT], 3), entry.shape[0]
    late = segment[lanes.AHEAD] * n
    while load_acquire(worker, DONE) < total and load_acquire(stop, 0) == 0:
        at = context[0]
        since, polls = now_ns(), 0
        while waits and at >= late and load_acquire(segment, lanes.DONE) <= (at - late) // n:
            polls += 1
            if polls % 256 == 0:
                give_way()
                if now_ns() - since > PATIENCE_NS:
                    found[HUNG] = 1
                    return
        for i in range(n):
            entry[i] = np.float32((at + i) & (NUMBERS - 1))
        executor.run_block(plan, n)
        if at < late:
            continue
        if segment[lanes.READY] != 0:
            bad = 0
            for i in range(n):
                bad += 1 if heard[i] != np.float32((at - late + i) & (NUMBERS - 1)) else 0
            found[HEARD_BAD] += bad
            found[HEARD] += n
        else:
            found[MISSED] += 1
            for i in range(1, n):  # The first holds the step.
                found[LOUD] += 1 if heard[i] != 0 else 0


@compiled
def careless_take(words: Any, k: int) -> bool:
    """Broken: as `lanes._take`, without a second look at the slot's number."""
    n = words[lanes.BLOCK]
    slot = k & (words[lanes.SLOTS] - 1)
    if load_acquire(int64_at(words[lanes.IN_NUMBERS], words[lanes.SLOTS]), slot) != k + 1:
        return False
    kept = float32_at(words[lanes.SLOT_INPUTS] + 4 * n * slot, n)
    x = float32_at(int64_at(words[lanes.IN], 1)[0], n)
    for i in range(n):
        x[i] = kept[i]
    return True


def careless_work() -> Any:
    """The worker's loop with `careless_take`."""
    plain = lanes.work.py_func  # type: ignore[attr-defined]
    code = types.FunctionType(plain.__code__, {**plain.__globals__, "_take": careless_take})
    return numba.njit(nogil=True, error_model="numpy", boundscheck=False, _nrt=False)(code)


@dataclass
class Result:
    """What a case showed."""

    samples: int
    """That the worker checked."""
    heard: int
    """That the callback got back and checked."""
    bad: int
    """Wrong among both."""
    missed: int
    lapses: int
    jumps: int
    """Blocks that the worker took up out of turn."""
    seconds: float
    hung: bool

    def faulty(self, waits: bool) -> bool:
        """Whether something was wrong."""
        out_of_turn = self.jumps > self.lapses
        return self.hung or self.bad > 0 or out_of_turn or (waits and self.missed + self.lapses > 0)


def run(samples: int, block: int, waits: bool, limit: float = 1e9) -> Result:
    """Callback and worker as fast as they can, until the worker has checked so many samples."""
    plan = Plan(Graph([Node("check", Check)], ["in -> check", "check -> out"]), RATE, block, 1, lane=1)
    (segment,) = plan.segments
    for row in plan._main.rows:  # What was missed is silent at once, and what was not is heard at once.
        row[executor.CROSSFADE], row[executor.DECLICK] = 0, 1
    worker = plan._steps["check"].processor._state[0]
    found, stop = np.zeros(5, np.int64), np.zeros(1, np.int64)
    arguments = plan.words, segment.words, plan.entry[0], plan.heard[0], worker
    drive(*arguments, 0, waits, found, stop)  # Compiles.
    plan.start()
    callback = threading.Thread(target=drive, args=(*arguments, samples, waits, found, stop))
    begin = time.perf_counter()
    callback.start()
    while callback.is_alive():
        callback.join(0.05)
        if worker[BAD] > 0 or time.perf_counter() - begin > limit:
            stop[0] = 1
    seconds = time.perf_counter() - begin
    plan.close()
    lapses = plan.statistics()["nodes"]["worker 1"]["lapses"]
    return Result(
        int(worker[DONE]),
        int(found[HEARD]),
        int(worker[BAD] + found[HEARD_BAD] + found[LOUD]),
        int(found[MISSED]),
        lapses,
        int(worker[JUMPS]),
        seconds,
        bool(found[HUNG]),
    )


def main() -> int:
    """Run, print, and fail where the good slots are bad or the bad ones good."""
    parser = argparse.ArgumentParser(description="Slots under stress, every sample checked.")
    parser.add_argument("--millions", type=float, default=500.0, help="of samples a case (default: 500)")
    parser.add_argument("--block", type=int, default=64, help="samples (default: 64)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    samples = round(1e6 * options.millions)
    columns = "millions", "heard", "bad", "missed blocks", "lapses", "millions a second", "verdict"
    table = Table("case", *columns)
    report, failed = {}, False
    with watch() as stalls:
        for name in ("in-step", "lapped", "no-second-look"):
            broken, waits, good_work = name == "no-second-look", name == "in-step", lanes.work
            if broken:
                lanes.work = careless_work()
            try:
                # Torn slots are the more frequent, the longer it takes to copy one.
                blocks = (1024, 8192, options.block) if broken else (options.block,)
                for block in blocks:
                    result = run(samples, block, waits, CONTROL_SECONDS / 3 if broken else 1e9)
                    if result.faulty(waits):
                        break
            finally:
                lanes.work = good_work
            good = result.faulty(waits) == broken
            failed |= not good
            verdict = ("caught" if good else "NOT CAUGHT") if broken else ("pass" if good else "FAIL")
            table.add_row(
                name,
                f"{result.samples / 1e6:.0f}",
                f"{result.heard / 1e6:.0f}",
                "hangs" if result.hung else str(result.bad),
                str(result.missed),
                str(result.lapses),
                f"{result.samples / result.seconds / 1e6:.0f}",
                verdict,
            )
            report[name] = asdict(result) | {"verdict": verdict}
    Console().print(table)
    print(f"The machine meanwhile: {stalls}.")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
