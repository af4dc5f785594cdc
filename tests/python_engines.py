"""Engines for the tests of worker processes: they are imported there, too."""

import os
import re
import signal
import sys
import threading
import time
from typing import ClassVar

import numpy as np

from rtaudio.processor import Parameter, Processor


class Leaky(Processor):
    """A leaky sum in Python: single precision, sample after sample, with a level."""

    id = "leaky"
    parameters: ClassVar = (Parameter("level", 1.0, 0.0, 2.0),)

    def allocate(self):
        self.sums = np.zeros((self.channels, 1), np.float32)
        return (self.sums,)

    def process(self, block, out):
        level, total = self.curve("level").astype(np.float32), self.sums[:, 0]
        for i in range(block.shape[1]):
            total = np.float32(-0.75) * total + block[:, i]
            out[:, i] = total * level[i]
        self.sums[:, 0] = total


class Gainful(Processor):
    """A gain, without a memory."""

    id = "gainful"
    parameters: ClassVar = (Parameter("level", 1.0, 0.0, 2.0),)

    def process(self, block, out):
        out[:] = block * self.curve("level").astype(np.float32)


class Costly(Processor):
    """Copies its input, and computes for so long."""

    id = "costly"
    parameters: ClassVar = (Parameter("ms", 0.0, 0.0, 100.0, "ms", smoothing=0.0),)

    def process(self, block, out):
        until = time.perf_counter() + self.curve("ms")[-1] / 1e3
        while time.perf_counter() < until:
            pass
        out[:] = block


class Numbered(Gainful):
    """Its tail is a number of numpy's."""

    id = "numbered"

    def allocate(self):
        self.tail = np.int64(7)
        return ()


class Different(Gainful):
    """Has another latency as soon as a file is there."""

    id = "different"
    parameters: ClassVar = (*Gainful.parameters, Parameter("file", "", scale="text", automatable=False))

    def allocate(self):
        self.latency = 5 if os.path.exists(str(self.values["file"])) else 0
        return ()


class Trouble(Processor):
    """Copies its input until a file says what to do instead: ``trouble`` is its name."""

    id = "trouble"
    parameters: ClassVar = (
        Parameter("file", "", scale="text", automatable=False),
        Parameter("prepare", "", scale="text", automatable=False),
    )

    def allocate(self):
        self.latency = 0
        if os.path.exists(str(self.values["file"]) + ".prepare"):
            act(str(self.values["prepare"]))
        return ()

    def process(self, block, out):
        out[:] = block
        path = str(self.values["file"])
        try:
            with open(path, encoding="ascii") as file:
                what = file.read()
            os.unlink(path)
        except OSError:
            return
        if what == "nan":
            out[:] = np.nan
        act(what)


class Threaded(Processor):
    """Tells of every block whether its thread has called before."""

    id = "threaded"
    unity = None

    def allocate(self):
        self.called = set()
        return ()

    def process(self, block, out):
        out[:] = threading.get_native_id() in self.called
        self.called.add(threading.get_native_id())


class Wrong(Processor):
    """Raises whatever it gets."""

    id = "wrong"
    says = "ValueError: could not broadcast input array from shape (7,3) into shape (2,16)"

    def process(self, block, out):
        out[:] = np.zeros((7, 3))


class Returning(Processor):
    """Returns what it should have written."""

    id = "returning"
    says = "TypeError: process(block, out) writes into out and returns nothing"

    def process(self, block, out):
        return block / 2


HELD = []


def act(what):
    """Do what a bad engine does."""
    if what == "raise":
        raise ValueError("no such luck\nand more")
    if what == "exit":
        sys.exit(3)
    if what == "die":
        os._exit(7)
    if what == "abort":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "sleep":
        time.sleep(1000)
    if what == "spin":
        while True:
            pass
    if what == "hold":
        re.match("(a+)+b", "a" * 100)  # It never gives the interpreter away.
    if what == "print":
        sys.stderr.write("hello\nto you\n")
    if what == "interrupt":
        raise KeyboardInterrupt
    if what == "repeat":
        sys.stderr.write(100 * "again\n" + "something else\n")
    if what == "flood":
        for number in range(200_000):
            sys.stdout.write(f"line {number} of very many\n")
        sys.stdout.flush()
    if what == "unfinished":
        os.write(1, b"no end of a line")
    if what == "close":
        os.write(1, b"a\nb\nc\nd\ne\n")
        os.close(1)
        os.close(2)
    if what == "shrink":
        for number in os.listdir("/proc/self/fd"):
            if "memfd:rtaudio" in os.readlink(f"/proc/self/fd/{number}"):
                os.ftruncate(int(number), 0)
    if what == "allocate":
        while True:
            HELD.append(np.ones(1 << 22))
