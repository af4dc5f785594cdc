"""What a run counts, in one block of shared memory: xruns, misses, times, failures.

The block is one array of int64 words: a head for the run, then a section for every node. Each word has one
writer, a thread of the host, which only ever adds or sets; readers, in this process or another, map the block
read-only and look. A name in a section is written before the section counts as used. After the words there
may be room for what is seen of the sound, see `rtaudio.observation`. Readers load no compiled code.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.errors import UserError

MAGIC = int.from_bytes(b"rtaudio3", "little")
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
    CRASH_SIGNAL,  # that ended the process, see rtaudio.crash; 0: none
    CRASH_THREAD,  # that it hit: pthread_self()
    LONGEST,  # callback, ns
    USED,  # sections that have been used
    TIMES,  # histogram of the callback's time: int64[TIME_BINS]
) = range(30)
TIME_BINS = 512
WAKES = TIMES + TIME_BINS
"""Null device: histogram of how late its thread woke."""
MEASURED = WAKES + TIME_BINS
"""Beginning of a section, up to its times, of the node that is being measured."""

# Words of a node's section.
NODE_NAME = 0
"""Eight words of UTF-8, zero-filled; empty: not in use."""
(
    NODE_LANE,  # 0 callback, 1 worker thread, 2 worker process
    NODE_AHEAD,  # blocks that its lane adds
    NODE_LATENCY,  # samples
    NODE_COST,  # worst ns of a block, measured before the start; 0: not measured
    NODE_ENGINE,  # of the graph's node that it is, or is part of: see `engine_word`
    NODE_INSIDE,  # pthread_self() of the thread that is in its kernel; 0: none
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
) = range(8, 26)
NODE_WORDS = NODE_TIMES + TIME_BINS
NAME_BYTES = 64
HEAD_WORDS = MEASURED + NODE_TIMES
SECTIONS = 256
WORDS = HEAD_WORDS + SECTIONS * NODE_WORDS

BINS_PER_OCTAVE = 8

FOLDER = Path("/dev/shm")  # noqa: S108 - the kernel's folder of shared memory; files are opened exclusively
PREFIX = "rtaudio-"


def bin_ns(bin_: int) -> float:
    """Middle of a bin of `rtaudio.timing.time_bin`, in nanoseconds."""
    exponent, eighth = divmod(bin_, BINS_PER_OCTAVE)
    return float(2.0 ** (exponent - 3) * (8 + eighth + 0.5))


_BINS_NS = np.array([bin_ns(bin_) for bin_ in range(TIME_BINS)])


def spent_s(histogram: NDArray[np.int64]) -> float:
    """Sum of the durations in a histogram of `time_bin`, in seconds."""
    return float(histogram @ _BINS_NS) / 1e9


def times_us(histogram: NDArray[np.int64], longest_ns: int) -> dict[str, float]:
    """Median, 99th percentile and maximum, in microseconds, of a histogram of `rtaudio.timing`."""
    total = int(histogram.sum())
    if total == 0:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    bins = np.searchsorted(np.cumsum(histogram), [0.5 * total, 0.99 * total])
    p50, p99 = (min(bin_ns(int(bin_)), longest_ns) / 1e3 for bin_ in bins)
    return {"p50": round(p50, 2), "p99": round(p99, 2), "max": round(longest_ns / 1e3, 2)}


def name_words(name: str) -> tuple[int, ...]:
    """A name as it is written: eight words of UTF-8, cut at a letter, zero-filled."""
    label = name.encode()[:NAME_BYTES].decode(errors="ignore").encode().ljust(NAME_BYTES, b"\0")
    return struct.unpack("8q", label)


def engine_word(engine: str) -> int:
    """A word that stands for an engine's id."""
    return int.from_bytes(hashlib.blake2b(engine.encode(), digest_size=8).digest(), "little", signed=True)


def ordered() -> None:
    """Let no load of this thread move across, on any machine: what was read before is older.

    NumPy reads with plain loads. A lock that is given back and taken again orders them: what comes before
    the one with release stays before, what comes after the other with acquire stays after, and both write the
    same word.
    """
    lock = threading.Lock()
    lock.acquire()
    lock.release()
    lock.acquire()


def acquired(words: NDArray[np.int64], index: int) -> int:
    """A word that is published by a release store: what is read after it is what was written before."""
    value = int(words[index])
    ordered()
    return value


class Counters:
    """The words, in memory of this process alone, or in a block that other processes can map.

    Parameters
    ----------
    shared
        Make a file in shared memory, named by this process's number, that only this user can read.
    room
        Bytes after the words; in shared memory they take up none before `reserve`.

    Attributes
    ----------
    words : int64[WORDS]
    room : uint8[room]
    """

    def __init__(self, shared: bool = False, room: int = 0) -> None:
        self._path: Path | None = None
        if shared:
            sweep()
            self._path = FOLDER / f"{PREFIX}{os.getpid()}"
            block = _created(self._path, 8 * WORDS + room)
        else:
            block = np.zeros(8 * WORDS + room, np.uint8)
        self.words, self.room = block[: 8 * WORDS].view(np.int64), block[8 * WORDS :]
        self.words[PID] = os.getpid()
        from rtaudio.native import write_release  # Readers do without.

        self._publish: Callable[[NDArray[np.int64], int, int], None] = write_release
        self._publish(self.words, HEAD_MAGIC, MAGIC)

    def reserve(self, begin: int, count: int) -> None:
        """Take memory for bytes of the room, before they are written. `UserError` if there is none."""
        if self._path is not None:
            _reserve(self._path, 8 * WORDS + begin, count)

    @property
    def address(self) -> int:
        """Address of the head."""
        return int(self.words.ctypes.data)

    def section(self, name: str) -> NDArray[np.int64]:
        """The section of a node, which goes on if there is one of that name."""
        letters = name_words(name)
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
        self._publish(free, NODE_NAME, letters[0])
        self._publish(self.words, USED, max(used, self._number(free) + 1))
        return free

    def drop(self, name: str) -> None:
        """Free a node's section. Only when nothing counts in it any more."""
        self._publish(self.section(name), NODE_NAME, 0)

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


def _created(path: Path, size: int) -> NDArray[np.uint8]:
    try:
        path.unlink(missing_ok=True)  # of a dead process that had this number
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, 8 * WORDS)  # now: a write that finds no room would be fatal
            os.truncate(file, size)
            return np.frombuffer(mmap.mmap(file, size), np.uint8)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(file)
    except OSError as error:
        raise UserError(f"cannot make {path}: {error.strerror}; see 'df {FOLDER}'") from None


def _reserve(path: Path, begin: int, count: int) -> None:
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.posix_fallocate(file, begin, count)
        finally:
            os.close(file)
    except OSError as error:
        raise UserError(f"no room in {path}: {error.strerror}; see 'df {FOLDER}'") from None


def lives(number: int) -> bool:
    """Whether there is a process of this number that has not ended; one that waits to be reaped has."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def running() -> list[int]:
    """Process numbers of the hosts of this user whose blocks are there."""
    found = []
    for path in FOLDER.glob(f"{PREFIX}*"):
        number = path.name.removeprefix(PREFIX)
        with suppress(OSError):  # It has just ended.
            if number.isdigit() and path.stat().st_uid == os.getuid() and lives(int(number)):
                found.append(int(number))
    return sorted(found)


def sweep() -> None:
    """Remove the blocks of this user whose processes are dead."""
    for path in _dead():
        with suppress(OSError):
            path.unlink()


def left() -> list[NDArray[np.int64]]:
    """The words of this user's hosts that are dead and have left their blocks behind, read-only."""
    found = []
    for path in _dead():
        with suppress(OSError, ValueError):
            block, _ = _mapped(path)
            words = block[: 8 * WORDS].view(np.int64)
            if len(words) == WORDS and words[HEAD_MAGIC] == MAGIC:
                found.append(words)
    return found


def _dead() -> list[Path]:
    """The blocks of this user whose processes are dead."""
    found = []
    for path in FOLDER.glob(f"{PREFIX}*"):
        number = path.name.removeprefix(PREFIX)
        with suppress(OSError):  # It has just been removed.
            dead = number.isdigit() and not lives(int(number))
            if dead and path.lstat().st_uid == os.getuid():
                found.append(path)
    return found


def _mapped(path: Path) -> tuple[NDArray[np.uint8], int]:
    """A whole block, read-only, which goes on being read when its process ends; the number of its file."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(file)
        block = mmap.mmap(file, found.st_size, prot=mmap.PROT_READ)
        return np.frombuffer(block, np.uint8), found.st_ino
    finally:
        os.close(file)


def attach(pid: int) -> NDArray[np.int64]:
    """The words of a running host, read-only; they go on being read when it ends.

    Raises
    ------
    UserError
        No such host, or its block has another layout.
    """
    return mapped(pid)[0][: 8 * WORDS].view(np.int64)


def mapped(pid: int) -> tuple[NDArray[np.uint8], int]:
    """The whole block of a running host, as `attach`, and the number of its file (inode)."""
    none = f"process {pid} runs no live host of yours"
    if not lives(pid):
        raise UserError(none)
    other = f"process {pid} is a host of another version"
    try:
        block, inode = _mapped(FOLDER / f"{PREFIX}{pid}")
    except OSError:
        raise UserError(none) from None
    except ValueError:
        raise UserError(other) from None
    if len(block) < 8 * WORDS or acquired(block[: 8 * WORDS].view(np.int64), HEAD_MAGIC) != MAGIC:
        raise UserError(other)
    return block, inode


def sections(words: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """The sections in use, by name."""
    found = {}
    for number in range(acquired(words, USED)):
        begin = HEAD_WORDS + number * NODE_WORDS
        section = words[begin : begin + NODE_WORDS]
        if acquired(section, NODE_NAME) != 0:
            found[section_name(section)] = section
    return found


def section_name(section: NDArray[np.int64]) -> str:
    """The name in a section."""
    return section[:8].tobytes().rstrip(b"\0").decode(errors="replace")


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
