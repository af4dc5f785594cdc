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
from rtaudio.native import call_kernel, f32_cube, f32_matrix, i64_vector, int64_at
from rtaudio.processor import Port, Processor


@kernel
def through_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    for c in range(i64_vector(state, 0)[0]):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        for i in range(n):
            y[i] = x[i]
    return 0


@kernel
def sum_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    channels, terms = i64_vector(state, 0)
    for c in range(channels):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        for i in range(n):
            y[i] = x[i]
        for term in range(1, terms):
            x = channel(inputs, term * channels + c, n)
            for i in range(n):
                y[i] += x[i]
    return 0


@kernel
def align_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    lines = f32_matrix(state, 0)
    samples = i64_vector(state, 1)[0]
    at = position(context)
    for c in range(lines.shape[0]):
        ring_write(lines[c], at, channel(inputs, c, n), n)
        ring_read(lines[c], at - samples, channel(outputs, c, n), n)
    return 0


@kernel
def reblock_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    collected, finished = f32_matrix(state, 0), f32_cube(state, 1)
    hop_inputs, hop_outputs = i64_vector(state, 2), i64_vector(state, 3)
    inner, inner_state, samples = i64_vector(state, 4)
    hop_context = i64_vector(state, 5)
    hop = collected.shape[1]
    at = position(context)
    status = 0
    done = 0
    while done < n:
        fill = (at + done) % hop
        take = min(n - done, hop - fill)
        for c in range(collected.shape[0]):
            x = channel(inputs, c, n)
            for i in range(take):
                collected[c, fill + i] = x[done + i]
        if fill + take == hop:
            begin = at + done - fill
            hop_context[0] = begin
            hop_context[1] = rate(context)
            hop_context[2] = int64_at(context, 3)[2]
            slot = (begin // hop) % 2
            for c in range(finished.shape[0]):
                hop_outputs[c] = finished[c, slot].ctypes.data
            status |= call_kernel(
                inner, inner_state, hop_inputs.ctypes.data, hop_outputs.ctypes.data, hop, params, hop_context.ctypes.data
            )
        for c in range(finished.shape[0]):
            y = channel(outputs, c, n)
            for i in range(take):
                wanted = at + done + i - samples
                y[done + i] = finished[c, (wanted // hop) % 2, wanted % hop] if wanted >= 0 else np.float32(0)
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
        self.latency = self.samples
        width = self.ports(self.outputs)
        return (
            np.zeros((width, power_of_two(self.samples + self.block)), np.float32),
            np.array([self.samples], np.int64),
        )


class Reblock(Processor):
    """Runs a processor of a fixed hop M on any blocks.

    Blocks that are always B samples cost ``M - gcd(B, M)`` samples of latency, blocks that vary ``M - 1``: the least
    that is possible (an input sample waits for its hop to fill, and output has to be at hand at every block border).
    Parameters, ports and declarations are those of the inner processor.
    """

    KERNEL = reblock_kernel

    def __init__(self, inner: Processor) -> None:
        assert inner.hop is not None
        self.inner = inner
        self.id = inner.id  # type: ignore[misc]
        self.inputs, self.outputs = inner.inputs, inner.outputs  # type: ignore[misc]
        self.parameters = inner.parameters  # type: ignore[misc]
        self.rates, self.fallback, self.unity = inner.rates, inner.fallback, inner.unity  # type: ignore[misc]
        super().__init__(**inner.values)

    def allocate(self) -> Sequence[NDArray[Any]]:
        hop = self.inner.hop
        assert hop is not None
        self.inner.prepare(self.rate, hop, True, self.channels)
        address, table = self.inner.kernel()
        waiting = hop - gcd(self.block, hop) if self.fixed else hop - 1
        self.latency = self.inner.latency + waiting
        self.tail = self.inner.tail
        collected = np.zeros((self.ports(self.inputs), hop), np.float32)
        finished = np.zeros((self.ports(self.outputs), 2, hop), np.float32)
        return (
            collected,
            finished,
            addresses(collected),
            np.zeros(finished.shape[0], np.int64),
            np.array([address, table.ctypes.data, waiting], np.int64),
            np.zeros(3, np.int64),
        )

    def reset(self) -> None:
        super().reset()
        self.inner.reset()

    def release(self) -> None:
        super().release()
        self.inner.release()
