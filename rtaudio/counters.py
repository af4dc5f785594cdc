"""What a run counts, in one block of shared memory: xruns, misses, times, failures.

The block is one array of int64 words: a head for the run, then a section for every node. Each word has one
writer, a thread of the host, which only ever adds or sets; readers, in this process or another, map the block
read-only and look. A name in a section is written before the section counts as used.
"""

from __future__ import annotations

import mmap
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.errors import UserError
from rtaudio.native import compiled, int64_at, read_acquire, write_release

MAGIC = int.from_bytes(b"rtaudio2", "little")
"""First word of a block; its last letter is the version of the layout."""

# Words of the head.
(
    HEAD_MAGIC,
    PID,
    RATE,
    BLOCK,
    CHANNELS,
    PERIOD,  # samples per callback; 0: varies
    LATENCY,  # samples of the graph, worker lanes included
    DEVICE_LATENCY,  # samples that re-blocking to the device adds
    POSITION,  # samples since the start
    CALLBACKS,
    BLOCKS,
    INPUT_UNDERFLOWS,  # PortAudio's flags: callbacks that came with them
    INPUT_OVERFLOWS,
    OUTPUT_UNDERFLOWS,
    OUTPUT_OVERFLOWS,
    LATE,  # callbacks more than half a period after they were due
    UNFIT,  # output samples that were not there, since callbacks came in lengths not prepared for
    NON_FINITE,  # input samples replaced by 0
    OVER_FULL_SCALE,  # output samples beyond -1 to 1
    FILE_UNDERFLOWS,  # input samples that the file reader was too late for
    RECORD_OVERFLOWS,  # samples that the recorder was too late for
    DEVICE_MISSES,  # null device: blocks that were not done in time
    DEVICE_LATEST,  # null device: ns by which the latest missed
    LOSSES,  # of the device
    EDITS,
    LONGEST,  # callback, ns
    USED,  # sections that have been used
    TIMES,  # histogram of the callback's time: int64[TIME_BINS]
) = range(28)
TIME_BINS = 512
WAKES = TIMES + TIME_BINS
"""Null device: histogram of how late its thread woke."""
HEAD_WORDS = WAKES + TIME_BINS

# Words of a node's section.
NODE_NAME = 0
"""Eight words of UTF-8, zero-filled; empty: not in use."""
(
    NODE_LANE,  # 0 callback, 1 worker thread, 2 worker process
    NODE_AHEAD,  # blocks that its lane adds
    NODE_LATENCY,  # samples
    NODE_COST,  # worst ns of a block, measured before the start; 0: not measured
    NODE_FAILED,  # 1: bypassed since its kernel failed; of a worker: it hangs, or none works
    NODE_FAILURES,
    NODE_FAILED_AT,  # position of the last failure
    NODE_STATUS,  # of the kernel then; 0: its output was not finite
    NODE_MISSES,  # blocks that its worker was late for: its fallback was heard
    NODE_WORKER,  # number of the worker that runs it, whose misses are its own; 0: the callback
    NODE_RESTARTS,  # times that its worker process was replaced
    NODE_PID,  # number of the worker process
    NODE_LAPSES,  # times that its worker fell so far behind that it was reset
    NODE_TAKEOVERS,  # times that the CPU has taken over from a GPU
    NODE_LONGEST,  # ns
    NODE_TIMES,  # histogram of the node's time: int64[TIME_BINS]
) = range(8, 24)
NODE_WORDS = NODE_TIMES + TIME_BINS
NAME_BYTES = 64
SECTIONS = 256
WORDS = HEAD_WORDS + SECTIONS * NODE_WORDS

BINS_PER_OCTAVE = 8

FOLDER = Path("/dev/shm")  # noqa: S108 - the kernel's folder of shared memory; files are opened exclusively
PREFIX = "rtaudio-"


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
def count_time(counters: int, times: int, longest: int, ns: int) -> None:
    """Add a duration to the histogram at word ``times`` of the words at ``counters``."""
    words = int64_at(counters, times + TIME_BINS)
    words[times + time_bin(ns)] += 1
    words[longest] = max(words[longest], ns)


_BINS_NS = np.array([bin_ns(bin_) for bin_ in range(TIME_BINS)])


def spent_s(histogram: NDArray[np.int64]) -> float:
    """Sum of the durations in a histogram of `time_bin`, in seconds."""
    return float(histogram @ _BINS_NS) / 1e9


def times_us(histogram: NDArray[np.int64], longest_ns: int) -> dict[str, float]:
    """Median, 99th percentile and maximum, in microseconds, of a histogram of `time_bin`."""
    total = int(histogram.sum())
    if total == 0:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    bins = np.searchsorted(np.cumsum(histogram), [0.5 * total, 0.99 * total])
    p50, p99 = (min(bin_ns(int(bin_)), longest_ns) / 1e3 for bin_ in bins)
    return {"p50": round(p50, 2), "p99": round(p99, 2), "max": round(longest_ns / 1e3, 2)}


class Counters:
    """The words, in memory of this process alone, or in a block that other processes can map.

    Parameters
    ----------
    shared
        Make a file in shared memory, named by this process's number, that only this user can read.
    """

    def __init__(self, shared: bool = False) -> None:
        self._path: Path | None = None
        if shared:
            sweep()
            self._path = FOLDER / f"{PREFIX}{os.getpid()}"
            self.words = _created(self._path)
        else:
            self.words = np.zeros(WORDS, np.int64)
        self.words[PID] = os.getpid()
        write_release(self.words, HEAD_MAGIC, MAGIC)

    @property
    def address(self) -> int:
        """Address of the head."""
        return int(self.words.ctypes.data)

    def section(self, name: str) -> NDArray[np.int64]:
        """The section of a node, which goes on if there is one of that name."""
        label = name.encode()[:NAME_BYTES].decode(errors="ignore").encode().ljust(NAME_BYTES, b"\0")
        letters = struct.unpack("8q", label)
        used = int(self.words[USED])
        free = None
        for number in range(used):
            section = self._section(number)
            if tuple(section[:8]) == letters:
                return section
            if section[NODE_NAME] == 0:
                free = section
        if free is None:
            if used == SECTIONS:
                raise UserError(f"more than {SECTIONS} nodes: divide the graph")
            free = self._section(used)
        free[8:] = 0
        free[1:8] = letters[1:]
        write_release(free, NODE_NAME, letters[0])
        write_release(self.words, USED, max(used, self._number(free) + 1))
        return free

    def drop(self, name: str) -> None:
        """Free a node's section. Only when nothing counts in it any more."""
        write_release(self.section(name), NODE_NAME, 0)

    def _section(self, number: int) -> NDArray[np.int64]:
        begin = HEAD_WORDS + number * NODE_WORDS
        return self.words[begin : begin + NODE_WORDS]

    def _number(self, section: NDArray[np.int64]) -> int:
        return (int(section.ctypes.data) - self.address - 8 * HEAD_WORDS) // (8 * NODE_WORDS)

    def close(self) -> None:
        """Remove the block's name; the words stay as long as something refers to them."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None


def _created(path: Path) -> NDArray[np.int64]:
    try:
        path.unlink(missing_ok=True)  # of a dead process that had this number
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, 8 * WORDS)  # now: a write that finds no room would be fatal
            return np.frombuffer(mmap.mmap(file, 8 * WORDS), np.int64)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(file)
    except OSError as error:
        raise UserError(f"cannot make {path}: {error.strerror}; see 'df {FOLDER}'") from None


def running() -> list[int]:
    """Process numbers of the hosts of this user whose blocks are there."""
    found = []
    for path in FOLDER.glob(f"{PREFIX}*"):
        number = path.name.removeprefix(PREFIX)
        with suppress(OSError):  # It has just ended.
            if number.isdigit() and path.stat().st_uid == os.getuid() and Path(f"/proc/{number}").exists():
                found.append(int(number))
    return sorted(found)


def sweep() -> None:
    """Remove the blocks of this user whose processes are dead."""
    for path in FOLDER.glob(f"{PREFIX}*"):
        number = path.name.removeprefix(PREFIX)
        try:
            dead = number.isdigit() and not Path(f"/proc/{number}").exists()
            if dead and path.stat().st_uid == os.getuid():
                path.unlink()
        except OSError:
            continue


def attach(pid: int) -> NDArray[np.int64]:
    """The words of a running host, read-only; they go on being read when it ends.

    Raises
    ------
    UserError
        No such host, or its block has another layout.
    """
    none = f"process {pid} runs no live host of yours"
    if not Path(f"/proc/{pid}").exists():
        raise UserError(none)
    try:
        file = os.open(FOLDER / f"{PREFIX}{pid}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        raise UserError(none) from None
    try:
        if os.fstat(file).st_size != 8 * WORDS:
            raise UserError(f"process {pid} is a host of another version")
        words = np.frombuffer(mmap.mmap(file, 8 * WORDS, prot=mmap.PROT_READ), np.int64)
    finally:
        os.close(file)
    if read_acquire(words, HEAD_MAGIC) != MAGIC:
        raise UserError(f"process {pid} is a host of another version")
    return words


def sections(words: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """The sections in use, by name."""
    found = {}
    for number in range(read_acquire(words, USED)):
        begin = HEAD_WORDS + number * NODE_WORDS
        section = words[begin : begin + NODE_WORDS]
        if read_acquire(section, NODE_NAME) != 0:
            name = section[:8].tobytes().rstrip(b"\0").decode(errors="replace")
            found[name] = section
    return found


def report(words: NDArray[np.int64]) -> dict[str, Any]:
    """What the words say, by names, times in microseconds, latencies in samples."""
    nodes, bypassed = {}, []
    latency = {"total": int(words[LATENCY] + words[DEVICE_LATENCY])}
    used = sections(words)
    for name, section in used.items():
        nodes[name] = times_us(section[NODE_TIMES:], int(section[NODE_LONGEST]))
        worker = used.get(f"worker {section[NODE_WORKER]}") if section[NODE_WORKER] else None
        nodes[name] |= {
            "lane": int(section[NODE_LANE]),
            "blocks_ahead": int(section[NODE_AHEAD]),
            "measured_us": round(int(section[NODE_COST]) / 1e3, 2),
            "failures": int(section[NODE_FAILURES]),
            "misses": int((section if worker is None else worker)[NODE_MISSES]),
            "lapses": int(section[NODE_LAPSES]),
        }
        if section[NODE_FAILURES]:
            nodes[name]["failed_at"] = int(section[NODE_FAILED_AT])
            nodes[name]["status"] = int(section[NODE_STATUS])
        if section[NODE_TAKEOVERS]:
            nodes[name]["takeovers"] = int(section[NODE_TAKEOVERS])
        if section[NODE_PID]:
            nodes[name] |= {"pid": int(section[NODE_PID]), "restarts": int(section[NODE_RESTARTS])}
        is_worker = section[NODE_LANE] and not section[NODE_WORKER]
        if not is_worker and (section[NODE_FAILED] or (worker is not None and worker[NODE_FAILED])):
            bypassed.append(name)
        if section[NODE_LATENCY]:
            latency[name] = int(section[NODE_LATENCY])
    if words[DEVICE_LATENCY]:
        latency["device"] = int(words[DEVICE_LATENCY])
    histogram = words[TIMES : TIMES + TIME_BINS]
    spent = spent_s(histogram)
    seconds = int(words[POSITION]) / max(1, int(words[RATE]))
    wakes = times_us(words[WAKES : WAKES + TIME_BINS], 2**62)
    flags = {
        "input_underflows": int(words[INPUT_UNDERFLOWS]),
        "input_overflows": int(words[INPUT_OVERFLOWS]),
        "output_underflows": int(words[OUTPUT_UNDERFLOWS]),
        "output_overflows": int(words[OUTPUT_OVERFLOWS]),
    }
    return {
        "pid": int(words[PID]),
        "rate": int(words[RATE]),
        "block": int(words[BLOCK]),
        "channels": int(words[CHANNELS]),
        "period": int(words[PERIOD]),
        "latency": latency,
        "seconds": round(seconds, 3),
        "callbacks": int(words[CALLBACKS]),
        "blocks": int(words[BLOCKS]),
        "callback_us": times_us(histogram, int(words[LONGEST])),
        "load": round(spent / seconds, 5) if seconds else 0.0,
        "xruns": sum(flags.values()),
        **flags,
        "bypassed": bypassed,
        "late_callbacks": int(words[LATE]),
        "misses": int(words[DEVICE_MISSES]) + sum(int(section[NODE_MISSES]) for section in used.values()),
        "device_misses": int(words[DEVICE_MISSES]),
        "latest_us": round(int(words[DEVICE_LATEST]) / 1e3, 1),
        "wake_us": {"p50": wakes["p50"], "p99": wakes["p99"]},
        "device_losses": int(words[LOSSES]),
        "edits": int(words[EDITS]),
        "unfit_samples": int(words[UNFIT]),
        "non_finite_replaced": int(words[NON_FINITE]),
        "over_full_scale": int(words[OVER_FULL_SCALE]),
        "file_underflows": int(words[FILE_UNDERFLOWS]),
        "record_overflows": int(words[RECORD_OVERFLOWS]),
        "nodes": nodes,
    }
