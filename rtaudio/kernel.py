"""The inside of a processor: its compiled kernel and what a kernel reads.

A kernel is a plain Python function, compiled to ``int32 kernel(state, in**, out**, n, params, context)``:

- ``state`` leads to the arrays that `Processor.allocate` returned, in that order: ``f32_matrix(state, 0)``.
- ``inputs`` and ``outputs`` hold one address per channel, ports in declared order: ``channel(inputs, 0, n)``.
- ``params`` holds one ramp per declared parameter: ``value(params, 0, position(context) + i)``.
- ``context`` holds the absolute position of the first sample, the rate in Hz and whether the run is offline.

It returns 0; any other status bypasses the node. It may not allocate, raise, or call the interpreter.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numba
import numpy as np
from numba.core import event

from rtaudio.native import (
    KERNEL,
    call_kernel,
    compiled,
    float64_at,
    flush_denormals,
    int64_at,
    restore_float_mode,
)

__all__ = [
    "CONTEXT_WORDS",
    "RAMP_WORDS",
    "Kernel",
    "call",
    "channel",
    "kernel",
    "position",
    "rate",
    "ring_read",
    "ring_write",
    "settled",
    "smoothstep",
    "value",
]

CONTEXT_WORDS = 3
"""int64 words of the context: position, rate, offline."""

RAMP_WORDS = 4
"""float64 words of one parameter: from, to, start (absolute position), length (samples)."""


class Kernel:
    """A processor's inner function, compiled when its address is first asked for and cached on disk."""

    def __init__(self, function: Callable[..., int]) -> None:
        self.function = function
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__

    @cached_property
    def compiled(self) -> Any:
        """The `numba` C function; must stay referenced while anything can call its address."""
        return numba.cfunc(KERNEL, cache=True, nopython=True, error_model="numpy", _nrt=False)(self.function)

    @property
    def address(self) -> int:
        """Address of the compiled C function."""
        return int(self.compiled.address)


class _CompileListener(event.Listener):  # type: ignore[misc]
    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def on_start(self, event: Any) -> None:
        self._tell(event.data["dispatcher"].py_func.__name__.strip("_"))

    def on_end(self, event: Any) -> None:
        pass


@contextmanager
def on_compile(tell: Callable[[str], None]) -> Iterator[None]:
    """Call ``tell`` with the name of every function that is compiled, rather than loaded, meanwhile."""
    with event.install_listener("numba:compile", _CompileListener(tell)):
        yield


def kernel(function: Callable[..., int]) -> Kernel:
    """Declare the inner function of a processor (see this module's text for what it may do)."""
    return Kernel(function)


@compiled
def position(context: int) -> int:
    """Absolute position of the block's first sample, counted from the start of the run."""
    word: int = int64_at(context, 1)[0]
    return word


@compiled
def rate(context: int) -> int:
    """Rate of the graph in Hz."""
    word: int = int64_at(context, 2)[1]
    return word


@numba.extending.intrinsic
def channel(typing_context, pointers, index, n):
    """Samples of one channel: a view of ``n`` float32 values at the address ``pointers[index]``."""
    from llvmlite import ir
    from numba import types

    from rtaudio.native import _make_view

    array_type = types.Array(types.float32, 1, "C")

    def generate(context, builder, signature, arguments):
        table = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        address = builder.load(builder.gep(table, [arguments[1]]))
        return _make_view(context, builder, array_type, address, [arguments[2]])

    return array_type(types.intp, types.intp, types.intp), generate


@compiled
def smoothstep(u: float) -> float:
    """Quintic ramp from 0 to 1 with zero slope and curvature at both ends.

    A polynomial, so that any vectorisation of it gives the same bits.
    """
    return u * u * u * (u * (u * 6.0 - 15.0) + 10.0)


@compiled
def value(params: int, index: int, at: int) -> float:
    """Value of a parameter at an absolute position, in the kernel's unit (`Parameter.to_kernel`)."""
    ramp = float64_at(params + 8 * RAMP_WORDS * index, RAMP_WORDS)
    elapsed = at - ramp[2]
    if elapsed >= ramp[3]:
        end: float = ramp[1]
        return end
    if elapsed <= 0.0:
        start: float = ramp[0]
        return start
    between: float = ramp[0] + (ramp[1] - ramp[0]) * smoothstep(elapsed / ramp[3])
    return between


@compiled
def settled(params: int, index: int, at: int) -> bool:
    """Whether a parameter has reached its target at an absolute position, and stays until the next event."""
    ramp = float64_at(params + 8 * RAMP_WORDS * index, RAMP_WORDS)
    return at - ramp[2] >= ramp[3]


@compiled
def ring_write(ring: Any, at: int, samples: Any, n: int) -> None:
    """Write ``n`` samples into a ring (length a power of two) at an absolute position."""
    size = ring.shape[0]
    begin = at & (size - 1)
    head = min(n, size - begin)
    end, rest = ring[begin:], samples[head:]
    for i in range(head):
        end[i] = samples[i]
    for i in range(n - head):
        ring[i] = rest[i]


@compiled
def ring_read(ring: Any, at: int, samples: Any, n: int) -> None:
    """Read ``n`` samples from a ring (length a power of two) at an absolute position."""
    size = ring.shape[0]
    begin = at & (size - 1)
    head = min(n, size - begin)
    end, rest = ring[begin:], samples[head:]
    for i in range(head):
        samples[i] = end[i]
    for i in range(n - head):
        rest[i] = ring[i]


@compiled
def call(address: int, state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """Run a compiled kernel once, from Python, with denormals flushed as in a plan."""
    mode = flush_denormals()
    status: int = call_kernel(address, state, inputs, outputs, n, params, context)
    restore_float_mode(mode)
    return status


def addresses(block: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """One address per row of a C-contiguous (channels, samples) block, as a kernel takes them."""
    base, step = block.ctypes.data, block.strides[0]
    return np.array([base + step * row for row in range(block.shape[0])], np.int64)


def power_of_two(minimum: int) -> int:
    """The smallest power of two that is at least ``minimum``."""
    return 1 << max(0, int(minimum) - 1).bit_length()


if ctypes.sizeof(ctypes.c_void_p) != 8:
    raise ImportError("rtaudio needs a 64-bit machine")
