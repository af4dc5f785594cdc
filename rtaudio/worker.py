"""What runs in a worker process (lane 2): the host's words in, a part of a graph out.

The host writes lines of JSON into a socket and gets a line back for each: ``prepare`` makes a part and
measures it, ``lay_out`` puts the parts into a walk over the memory that both processes map, ``start`` runs it
in a thread, `lanes.work`, ``priority`` gives that real-time scheduling, ``explain`` asks why a node failed,
``line`` lets a node do a line of its own, and ``told`` asks how that goes on.
The process ends with the socket, and with the host's thread that started it, however that ends.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio import executor
from rtaudio.counters import NODE_TAKEOVERS
from rtaudio.errors import UserError
from rtaudio.graph import End
from rtaudio.kernel import FROM, LENGTH, START, TO, addresses
from rtaudio.lanes import DONE, HEAD, SETTLING, THREAD, Memory, Segment, slots_for, warm_up
from rtaudio.layout import COMMANDS, Layout, Signal, Step, Walk
from rtaudio.native import read_acquire, write_release
from rtaudio.parts import Part, rebuild
from rtaudio.placement import block_costs_ns
from rtaudio.processor import Processor
from rtaudio.realtime import demote, limit_runaway, lock_memory, raise_priority
from rtaudio.routing import bare

PATIENCE = 0.5
"""Seconds that the thread is given to end by itself."""
LOOK = 0.0002
"""Seconds between two looks whether the thread runs."""
RUNAWAY = 0.5
"""Seconds of computing without a pause after which a thread loses its real-time priority."""
FIRST_VICTIM = "1000"
"""Score that lets the kernel take this process, before any other, when memory is short."""

_PR_SET_PDEATHSIG = 1


class Worker:
    """A part of a graph, as the host wants it.

    Parameters
    ----------
    file
        Descriptor of the memory that it shares with the host.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._parts: dict[str, Part] = {}
        self._walk: Walk
        self._steps: list[Step] = []
        self._segment: Segment | None = None
        self._resets: list[NDArray[np.int64]] = []

    def answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a message says; `UserError` where that is not possible."""
        if message["do"] == "prepare":
            return self._prepare(message)
        if message["do"] == "lay_out":
            return self._lay_out(message)
        if message["do"] == "start":
            return self._start(message)
        if message["do"] in ("explain", "line", "told"):
            return self._ask(bare(self._parts[message["name"]].processor), message)
        return self._raise_priority(message["priority"])

    def _ask(self, processor: Processor, message: Mapping[str, Any]) -> dict[str, Any]:
        """What a processor answers to what the host wants to know, or to have done."""
        if message["do"] == "line":
            return processor.take(message["word"], message["text"])
        if message["do"] == "told":
            return {"told": processor.told()}
        return {"reason": processor.error(message["status"])}

    def _prepare(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Make a part, prepare it and measure its worst block."""
        rate, block = message["rate"], message["block"]
        part = rebuild(message["part"], rate)
        known = self._parts.pop(part.name, None)
        if known is not None:
            known.processor.release()
        processor = part.processor
        processor.origin = message["origin"]
        processor.prepare(rate, block, True, message["channels"])
        self._parts[part.name] = part
        costs = block_costs_ns(processor)
        return {
            "latency": int(processor.latency),
            "tail": int(processor.tail),
            "waiting": int(processor.waiting),
            "cost": int(costs.max()),
            "mean": int(costs.mean()),
            "runs_on": bare(processor).runs_on,
        }

    def _lay_out(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Lay the named parts out, over the shared memory, as the host has; let go of others."""
        names, block, channels = message["names"], message["block"], message["channels"]
        for name in set(self._parts) - set(names):
            self._parts.pop(name).processor.release()
        parts = {name: self._parts[name] for name in names}
        layout = Layout(message["rate"], block, channels, False, parts)
        walk = self._walk = layout.walk
        walk.names = set(names)
        signals = {}
        for node, port, width, *times in message["signals"]:
            signals[End(node, port)] = Signal(np.zeros((width, block), np.float32), *times)
        for part in parts.values():
            layout.lay_out(part, signals, message["ahead"])
        steps = self._steps = list(layout.steps.values())
        inputs = [addresses(signal.buffer) for signal in walk.inputs.values()]
        outputs = [addresses(signals[End(*end)].buffer) for end in message["gives"]]
        ends, results = (np.concatenate([np.zeros(0, np.int64), *found]) for found in (inputs, outputs))
        counted = [step for step in steps if step.of_node]
        shape = slots_for(message["ahead"]), block, len(ends), len(results), len(counted) + 2
        memory = Memory(*shape, file=self._file, commands=COMMANDS)
        assert memory.events is not None  # noqa: S101 - it has a file
        walk.events = memory.events
        walk.finish()
        for step, section in zip(counted, memory.sections, strict=False):
            step.words[executor.COUNTERS] = section.ctypes.data
            bare(step.processor).takeovers = section[NODE_TAKEOVERS : NODE_TAKEOVERS + 1]
        for step in steps:
            copies = np.array(step.processor.copies(), np.int64).reshape(-1, 3)
            self._resets.append(copies)
            step.words[executor.RESETS], step.words[executor.N_RESETS] = copies.ctypes.data, len(copies)
        self._segment = Segment(
            walk.words,
            walk.context,
            walk.names,
            block,
            message["ahead"],
            ends,
            results,
            [copy for step in steps for copy in step.copies()],
            message["settling"],
            memory,
        )
        self._segment.count_in(memory.sections[-2], memory.sections[-1])
        self._keep = layout
        executor.warm_up()
        warm_up()
        read_acquire(memory.words, HEAD)
        lock_memory(array for step in layout.steps.values() for array in step.arrays() if array.nbytes)
        python = [part.processor for part in parts.values() if bare(part.processor).in_python]
        if python:  # A GPU's libraries, too, make much for every thread, at its first call.
            self._segment.call_first(lambda: [block_costs_ns(processor, 1) for processor in python])
        gc.collect()
        gc.freeze()  # What is there stays: a collection looks at what comes only.
        reads = [[end.node, end.port] for end in walk.inputs]
        return {"rows": len(walk.rows), "reads": reads}

    def _start(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Run the walk, from the host's first block or, where another worker was before, from the newest.

        Not from one that this other worker has published: it may be played at this moment. What is made first
        is never heard, so that a new state is entered through the fallback.
        """
        segment = self._segment
        assert segment is not None  # noqa: S101 - the host lays out first
        for step, targets in zip(self._steps, message["ramps"], strict=True):
            step.ramps[:, FROM] = step.ramps[:, TO] = targets
            step.ramps[:, [START, LENGTH]] = 0.0
        first, unsettled = message["first"], 0
        if message["again"]:
            head = read_acquire(segment.memory.words, HEAD)
            slot = (head - 1) & (len(segment.out_numbers) - 1)
            made = read_acquire(segment.out_numbers, slot) == head
            first = max(first, head if made else head - 1)
            write_release(segment.memory.words, DONE, first)  # What is missing before it never comes.
            unsettled = int(segment.words[SETTLING])
        segment.memory.words[THREAD] = 0
        segment.run(first, unsettled=max(unsettled, int(message["again"])))
        while segment.thread == 0:
            time.sleep(LOOK)
        if message["priority"]:
            self._raise_priority(message["priority"])
        return {"first": first}

    def _raise_priority(self, priority: int) -> dict[str, Any]:
        """Real-time scheduling for this thread, which lets another take over, and for the one that works."""
        limit_runaway(RUNAWAY)
        granted = raise_priority(threading.get_native_id(), priority)
        if self._segment is not None and self._segment.alive:
            granted = raise_priority(self._segment.thread, priority)
        return {"granted": granted}

    def stop(self) -> None:
        """Let the thread end, and release the processors if it does.

        Without a priority: what a process gives back when it ends takes its time, and others play.
        """
        demote(threading.get_native_id())
        if self._segment is None or self._segment.stop(PATIENCE):
            for part in self._parts.values():
                part.processor.release()


def _limit_memory(largest: int) -> None:
    """Let this process be the first that the kernel takes, and never have more than ``largest`` bytes."""
    import resource

    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_VICTIM, encoding="ascii")
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        largest = min(largest, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (largest, hard))


def main() -> None:
    """Answer the host until its socket closes.

    Arguments are the descriptors of the socket and the memory, the host's process, the bytes it may have.
    """
    control, file, host = map(int, sys.argv[1:4])
    for inherited in (control, file):
        os.set_inheritable(inherited, False)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != host:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory(int(sys.argv[4]))
    status = 1
    try:
        _serve(Worker(file), control)
        status = 0
    except BaseException as error:  # as it would end without the line below
        with suppress(OSError):
            os.write(2, f"{_in_a_line(error)}\n".encode())
    finally:
        os._exit(status)  # A thread that hangs, or an engine's own, holds nothing up.


def _serve(worker: Worker, control: int) -> None:
    """Answer line after line, then stop."""
    with socket.socket(fileno=control) as ours, ours.makefile("r", encoding="utf-8") as lines:
        for line in lines:
            try:
                answer = json.dumps(worker.answer(json.loads(line)))
            except UserError as error:
                answer = json.dumps({"error": str(error)})
            except (Exception, SystemExit) as error:  # an engine's
                answer = json.dumps({"error": _in_a_line(error)})
            with suppress(OSError):  # the host is gone
                ours.sendall(f"{answer}\n".encode())
        worker.stop()


def _in_a_line(error: BaseException) -> str:
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
