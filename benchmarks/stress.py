"""The ring under two threads and two processes, every sample checked, and broken rings that must be caught.

``python benchmarks/stress.py [--millions 500] [--cases NAME ...] [--json FILE]`` prints a table. A writer
pushes and a reader pops numbered samples in pieces of random length, without a lock, as fast as they can.

ring-threads      `rtaudio.ring` between two threads
ring-processes    the same between two processes, over memory that they share
plain-loads       must fail: polls with a plain load, which the compiler takes out of the loop
early-head        must fail: publishes the head before it writes the samples, and makes way in between
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from stalls import watch

from rtaudio.kernel import ring_write
from rtaudio.native import compiled, float32_at, int64_at, load_acquire, now_ns, store_release
from rtaudio.ring import CAPACITY, DATA, HEAD, RING_WORDS, TAIL, WIDTH, ring_pop, ring_push

SAMPLES = 4096
"""Capacity of the ring."""
LONGEST = 700
"""Samples of a piece, at most; pieces wrap around the end at every place."""
NUMBERS = 1 << 24
"""Samples are numbered modulo this: what float32 holds exactly."""
PATIENCE_NS = 5_000_000_000
"""Nanoseconds without progress after which a side gives up."""
PLACE = 0x1000_0000_0000
"""Address of shared memory in both processes: a ring holds the address of its samples."""
CONTROL_MILLIONS = 5
"""Millions of samples in which a broken ring must be caught."""

give_way = types.ExternalFunction("sched_yield", types.int32())


@dataclass
class Result:
    """What a case showed."""

    samples: int
    """Read and checked."""
    bad: int
    """Wrong among them."""
    seconds: float
    hung: bool = False
    """Whether a side waited in vain."""

    @property
    def faulty(self) -> bool:
        """Whether something was wrong."""
        return self.hung or self.bad > 0


# ---------------------------------------------------------------------------------------------- two sides


@compiled
def piece(seed: int) -> int:
    """Next state of a small random generator; its upper bits choose a length."""
    state: int = (seed * 1_103_515_245 + 12_345) & 0x7FFFFFFF
    return state


@compiled
def early_push(ring: int, elements: Any, n: int) -> bool:
    """Broken: as `ring_push`, but the head is published before the samples are there.

    Making way stands for what happens by itself sooner or later: the writer is interrupted there.
    """
    control = int64_at(ring, RING_WORDS)
    head = control[HEAD]
    if head - load_acquire(control, TAIL) + n > control[CAPACITY]:
        return False
    store_release(control, HEAD, head + n)
    give_way()
    ring_write(float32_at(ring + control[DATA], control[CAPACITY]), head, elements, n)
    return True


@compiled
def write(ring: int, total: int, early: bool, elements: Any) -> int:
    """Push ``total`` numbered samples; how many went in before patience ended."""
    written, seed, since = 0, 12, 0
    while written < total:
        seed = piece(seed)
        n = min(1 + (seed >> 8) % LONGEST, total - written)
        for i in range(n):
            elements[i] = (written + i) % NUMBERS
        refused = 0
        while not (early_push(ring, elements, n) if early else ring_push(ring, elements, n)):
            since = now_ns() if refused == 0 else since
            refused += 1
            if refused % 256 == 0:
                give_way()
                if now_ns() - since > PATIENCE_NS:
                    return written
        written += n
    return written


@compiled
def read(ring: int, total: int, elements: Any, found: Any) -> int:
    """Pop and check ``total`` samples; ``found`` becomes the number of wrong ones, as they are found."""
    done, seed, since = 0, 99, 0
    while done < total:
        seed = piece(seed)
        n, empty = 0, 0
        while n == 0:
            n = ring_pop(ring, elements, min(1 + (seed >> 8) % LONGEST, total - done))
            if n == 0:
                since = now_ns() if empty == 0 else since
                empty += 1
                if empty % 256 == 0:
                    give_way()
                    if now_ns() - since > PATIENCE_NS:
                        return done
        for i in range(n):
            found[0] += elements[i] != np.float32((done + i) % NUMBERS)
        done += n
    return done


@compiled
def wait_plainly(control: Any) -> None:
    """Broken: wait for a head with a plain load."""
    while control[HEAD] == 0:
        pass


@compiled
def wait_acquiring(control: Any) -> None:
    """The same as it should be."""
    while load_acquire(control, HEAD) == 0:
        pass


def make_ring(memory: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The words of a ring in memory that begins with them and holds its samples from byte 4096 on."""
    control = memory[: 8 * RING_WORDS].view(np.int64)
    control[DATA] = 4096
    control[CAPACITY], control[WIDTH] = SAMPLES, 4
    return control


MEMORY = 4096 + 4 * SAMPLES
"""Bytes of a ring and its samples."""


def compile_sides() -> None:
    """Compile writer and reader, or load them."""
    control = make_ring(np.zeros(MEMORY, np.uint8))
    elements = np.zeros(LONGEST, np.float32)
    write(control.ctypes.data, 10, False, elements)
    read(control.ctypes.data, 10, elements, np.zeros(1, np.int64))


def run_reader(ring: int, samples: int, begin: float) -> Result:
    """Read here what is written elsewhere."""
    found = np.zeros(1, np.int64)
    done = read(ring, samples, np.zeros(LONGEST, np.float32), found)
    return Result(int(done), int(found[0]), time.perf_counter() - begin, done < samples)


def threads(samples: int, early: bool = False) -> Result:
    """Writer and reader as threads of this process."""
    memory = np.zeros(MEMORY, np.uint8)
    ring = make_ring(memory).ctypes.data
    compile_sides()
    elements = np.zeros(LONGEST, np.float32)
    writer = threading.Thread(target=write, args=(ring, samples, early, elements))
    begin = time.perf_counter()
    writer.start()
    result = run_reader(ring, samples, begin)
    writer.join()
    return result


def processes(samples: int) -> Result:
    """Reader here, writer in another process, over a memory file without a name."""
    file = os.memfd_create("rtaudio-stress")
    os.ftruncate(file, MEMORY)
    ring = make_ring(shared(file)).ctypes.data
    compile_sides()
    begin = time.perf_counter()
    command = [sys.executable, __file__, "--write", str(file), "--millions", str(samples / 1e6)]
    writer = subprocess.Popen(command, pass_fds=(file,), stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None  # noqa: S101
        writer.stdout.readline()  # It has compiled.
        begin = time.perf_counter()
        return run_reader(ring, samples, begin)
    finally:
        writer.wait(2 * PATIENCE_NS / 1e9)


def shared(file: int) -> NDArray[np.uint8]:
    """A memory file at the same address in every process."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    fixed = 0x100000  # MAP_FIXED_NOREPLACE
    flags, access = mmap.MAP_SHARED | fixed, mmap.PROT_READ | mmap.PROT_WRITE
    if libc.mmap(PLACE, MEMORY, access, flags, file, 0) != PLACE:
        raise OSError(ctypes.get_errno(), f"no memory at {PLACE:#x}")
    return np.ctypeslib.as_array((ctypes.c_uint8 * MEMORY).from_address(PLACE))


def write_here(file: int, samples: int) -> None:
    """The writing process."""
    compile_sides()
    print("ready", flush=True)
    ring = shared(file).ctypes.data
    write(ring, samples, False, np.zeros(LONGEST, np.float32))


# ---------------------------------------------------------------------------------------------- cases


def plain_loads(samples: int) -> Result:
    """Wait for a head with plain loads, in a process of its own that can be ended."""
    begin = time.perf_counter()
    hung = [_waits_in_vain(wait) for wait in ("plain", "acquiring")]
    if hung[1]:
        raise RuntimeError("the acquiring load hangs too: the control proves nothing")
    return Result(0, 0, time.perf_counter() - begin, hung[0])


def _waits_in_vain(kind: str) -> bool:
    command = [sys.executable, __file__, "--wait", kind]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # noqa: S101
    process.stdout.readline()  # It has compiled, and begins to wait.
    try:
        process.wait(PATIENCE_NS / 1e9)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def wait_here(kind: str) -> None:
    """The process that waits for a head, which another thread of it writes."""
    wait = {"plain": wait_plainly, "acquiring": wait_acquiring}[kind]
    control = np.ones(RING_WORDS, np.int64)
    wait(control)  # Compiles, and returns at once.
    control[HEAD] = 0

    def publish() -> None:
        time.sleep(0.5)
        control[HEAD] = 1

    threading.Thread(target=publish, daemon=True).start()
    print("ready", flush=True)
    wait(control)


@dataclass(frozen=True)
class Case:
    """A stress test; ``broken`` ones must show a fault, the others must not."""

    run: Callable[[int], Result]
    """Gets the samples to pass."""
    broken: bool = False


CASES = {
    "ring-threads": Case(threads),
    "ring-processes": Case(processes),
    "plain-loads": Case(plain_loads, broken=True),
    "early-head": Case(lambda samples: threads(samples, early=True), broken=True),
}


def main() -> int:
    """Run, print, and fail where a good ring is bad or a bad one good."""
    parser = argparse.ArgumentParser(description="Lock-free exchange under stress, every sample checked.")
    parser.add_argument("--millions", type=float, default=500.0, help="of samples a case (default: 500)")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--write", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--wait", help=argparse.SUPPRESS)
    options = parser.parse_args()
    samples = round(1e6 * options.millions)
    if options.write is not None:
        write_here(options.write, samples)
        return 0
    if options.wait:
        wait_here(options.wait)
        return 0
    table = Table("case", "millions", "bad", "millions a second", "verdict")
    report, failed = {}, False
    with watch() as stalls:
        for name in options.cases:
            case = CASES[name]
            result = case.run(min(samples, CONTROL_MILLIONS * 1_000_000) if case.broken else samples)
            good = result.faulty == case.broken
            failed |= not good
            verdict = ("caught" if good else "NOT CAUGHT") if case.broken else ("pass" if good else "FAIL")
            speed = "-" if not result.samples else f"{result.samples / result.seconds / 1e6:.0f}"
            bad = "hangs" if result.hung else str(result.bad)
            table.add_row(name, f"{result.samples / 1e6:.0f}", bad, speed, verdict)
            report[name] = asdict(result) | {"verdict": verdict}
    Console().print(table)
    print(f"The machine meanwhile: {stalls}.")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
