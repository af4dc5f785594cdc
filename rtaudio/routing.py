"""The host's own processors: what a plan puts between the nodes of a graph.

`Through` copies, `Sum` adds the edges that meet in a port, `Align` delays a path to the longest (latency
compensation), `Reblock` feeds a processor that wants a fixed hop.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.kernel import (
    addresses,
    channel,
    kernel,
    position,
    power_of_two,
    rate,
    ring_read,
    ring_write,
)
from rtaudio.native import call_kernel, f32_matrix, i64_vector, int64_at
from rtaudio.processor import Port, Processor

LARGEST = np.float32(3.4028235e38)
"""The largest float32: sums are held to it, so that finite inputs give finite outputs."""


@kernel
def through_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Through`."""
    for c in range(i64_vector(state, 0)[0]):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        for i in range(n):
            y[i] = x[i]
    return 0


@kernel
def sum_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Sum`."""
    # By index: unpacking an array raises when its length is another.
    widths = i64_vector(state, 0)
    channels, terms = widths[0], widths[1]
    for c in range(channels):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        for i in range(n):
            y[i] = x[i]
        for term in range(1, terms):
            x = channel(inputs, term * channels + c, n)
            for i in range(n):
                y[i] += x[i]
        for i in range(n):
            y[i] = min(max(y[i], -LARGEST), LARGEST)
    return 0


@kernel
def align_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Align`."""
    lines = f32_matrix(state, 0)
    samples = i64_vector(state, 1)[0]
    at = position(context)
    for c in range(lines.shape[0]):
        ring_write(lines[c], at, channel(inputs, c, n), n)
        ring_read(lines[c], at - samples, channel(outputs, c, n), n)
    return 0


@kernel
def reblock_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Reblock`."""
    collected, finished = f32_matrix(state, 0), f32_matrix(state, 1)
    hop_inputs, hop_outputs = i64_vector(state, 2), i64_vector(state, 3)
    # By index: unpacking an array raises when its length is another.
    words = i64_vector(state, 4)
    inner, inner_state, samples = words[0], words[1], words[2]
    hop_context = i64_vector(state, 5)
    hop = collected.shape[1]
    at = position(context)
    status = 0
    done = 0
    while done < n:
        fill = (at + done) % hop
        take = min(n - done, hop - fill)
        for c in range(collected.shape[0]):
            x, part = channel(inputs, c, n)[done : done + take], collected[c, fill : fill + take]
            for i in range(take):
                part[i] = x[i]
        if fill + take == hop:
            begin = at + done - fill
            hop_context[0] = begin
            hop_context[1] = rate(context)
            hop_context[2] = int64_at(context, 3)[2]
            slot = begin % (2 * hop)
            for c in range(finished.shape[0]):
                hop_outputs[c] = finished[c, slot:].ctypes.data
            status |= call_kernel(
                inner,
                inner_state,
                hop_inputs.ctypes.data,
                hop_outputs.ctypes.data,
                hop,
                params,
                hop_context.ctypes.data,
            )
        # Positions before the first are in the half that is not written yet: silence.
        wanted = (at + done - samples) % (2 * hop)
        head = min(take, 2 * hop - wanted)
        for c in range(finished.shape[0]):
            y, first, second = channel(outputs, c, n)[done : done + take], finished[c, wanted:], finished[c]
            for i in range(head):
                y[i] = first[i]
            rest = y[head:]
            for i in range(take - head):
                rest[i] = second[i]
        done += take
    return status


class Through(Processor):
    """Copies every input channel to the output channel of the same number."""

    id = "through"
    KERNEL = through_kernel

    def __init__(self, ports: Sequence[Port] = (Port("out"),), fallback: str | None = None) -> None:
        super().__init__()
        self.inputs = self.outputs = tuple(ports)  # type: ignore[misc]
        self.fallback = fallback  # type: ignore[misc]

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: the number of channels."""
        return (np.array([self.ports(self.outputs)], np.int64),)


class Sum(Processor):
    """Adds ``terms`` groups of ``width`` channels, in order."""

    id = "sum"
    KERNEL = sum_kernel

    def __init__(self, width: int, terms: int) -> None:
        super().__init__()
        self.inputs = tuple(Port(f"in{term}", width) for term in range(terms))  # type: ignore[misc]
        self.outputs = (Port("out", width),)  # type: ignore[misc]

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: the number of channels of a term, and of terms."""
        return (np.array([self.ports(self.outputs), len(self.inputs)], np.int64),)


class Align(Processor):
    """Delays ``width`` channels by a whole number of samples."""

    id = "align"
    KERNEL = align_kernel

    def __init__(self, width: int, samples: int) -> None:
        super().__init__()
        self.inputs, self.outputs = (Port("in", width),), (Port("out", width),)  # type: ignore[misc]
        self.samples = samples

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: a delay line per channel; the delay in samples."""
        self.latency = self.samples
        width = self.ports(self.outputs)
        return (
            np.zeros((width, power_of_two(self.samples + self.block)), np.float32),
            np.array([self.samples], np.int64),
        )


class Reblock(Processor):
    """Runs a processor of a fixed hop M on any blocks.

    Blocks that are always B samples cost ``M - gcd(B, M)`` samples of latency, blocks that vary ``M - 1``:
    the least that is possible (input waits for its hop to fill, output is due at every block's end). Ports,
    parameters and other declarations are those of the inner processor.
    """

    KERNEL = reblock_kernel

    def __init__(self, inner: Processor) -> None:
        if inner.hop is None:
            raise ValueError(f"{inner.id} takes blocks of any size")
        self.inner, self._hop = inner, inner.hop
        self.grid = inner.hop
        for declared in ("id", "version", "summary", "inputs", "outputs", "parameters"):
            setattr(self, declared, getattr(inner, declared))
        for declared in ("rates", "lane", "fallback", "unity", "tolerance"):
            setattr(self, declared, getattr(inner, declared))
        super().__init__(**inner.values)

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: the input of the hop under way, the output of the last two; the inner kernel's arguments."""
        hop = self._hop
        self.inner.prepare(self.rate, hop, True, self.channels)
        address, table = self.inner.kernel()
        step = gcd(self.block, hop)
        self.waiting = hop - step + -self.origin % step if self.fixed else hop - 1
        self.latency = self.inner.latency + self.waiting
        self.tail = self.inner.tail
        collected = np.zeros((self.ports(self.inputs), hop), np.float32)
        finished = np.zeros((self.ports(self.outputs), 2 * hop), np.float32)
        return (
            collected,
            finished,
            addresses(collected),
            np.zeros(finished.shape[0], np.int64),
            np.array([address, table.ctypes.data, self.waiting], np.int64),
            np.zeros(3, np.int64),
        )

    def reset(self) -> None:
        """Make the state, the inner processor's too, what `prepare` made it."""
        super().reset()
        self.inner.reset()

    def memory(self) -> list[NDArray[Any]]:
        """The state arrays, the inner processor's too."""
        return super().memory() + self.inner.memory()

    def copies(self) -> list[tuple[int, int, int]]:
        """What `reset` copies, the inner processor's state too."""
        return super().copies() + self.inner.copies()

    def release(self) -> None:
        """Free the state, the inner processor's too."""
        super().release()
        self.inner.release()


def bare(processor: Processor) -> Processor:
    """The processor itself, where it is re-blocked."""
    return processor.inner if isinstance(processor, Reblock) else processor
