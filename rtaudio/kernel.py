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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba.core import event
from numpy.typing import NDArray

from rtaudio.native import (
    KERNEL,
    call_kernel,
    compiled,
    float64_at,
    flush_denormals,
    int64_at,
    restore_float_mode,
)

if TYPE_CHECKING:
    from rtaudio.processor import Processor

__all__ = [
    "CONTEXT_WORDS",
    "RAMP_WORDS",
    "Kernel",
    "PythonKernel",
    "call",
    "channel",
    "curve",
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

FROM, TO, START, LENGTH, SLOPE, CURVATURE, LOWEST, HIGHEST, RAMP_WORDS = range(9)
"""float64 words of one parameter's ramp: values, absolute position and length in samples, slope (per length)
and curvature (per length squared) with which it begins, bounds."""


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
    def loaded(self) -> bool:
        """Whether it is compiled, and in this process."""
        return "compiled" in vars(self)

    @property
    def address(self) -> int:
        """Address of the compiled C function."""
        return int(self.compiled.address)


PYTHON_FAILED = 1
"""Status of a processor in Python that raised."""
SIGNALLED = 128
"""Exit statuses above are those of signals."""
_ended: list[BaseException] = []
_SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_int64] * 6)


class PythonKernel:
    """What a processor in Python has for a kernel: the same C function, which takes the GIL and calls it.

    It gets blocks of its own, so that it can write outside of none, and what it raises is a status: the first
    line of that is in ``raised``.
    """

    def __init__(self, processor: Processor) -> None:
        self.__name__ = type(processor).__name__
        self._processor = processor
        self.raised = ""
        """What it raised last, in a line."""
        self._rows = processor.ports(processor.inputs), processor.ports(processor.outputs)
        # Copied by compiled code that starts the state anew: see `copies`.
        self._reset, self._wanted = np.zeros(1, np.int64), np.ones(1, np.int64)
        self._function = _SIGNATURE(self._call)

    @property
    def address(self) -> int:
        """Address of the C function."""
        return int(ctypes.cast(self._function, ctypes.c_void_p).value or 0)

    def copies(self) -> list[tuple[int, int, int]]:
        """See `Processor.copies`: lets the processor be reset before its next block."""
        return [(self._reset.ctypes.data, self._wanted.ctypes.data, self._reset.nbytes)]

    def _call(self, state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
        try:
            if self._reset[0]:
                self._reset[0] = 0
                self._processor.reset()
            block, out = np.empty((self._rows[0], n), np.float32), np.zeros((self._rows[1], n), np.float32)
            _read_channels(inputs, block)
            self._processor.run_python(block, out, position(context), params)
            _write_channels(outputs, out)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            code = error.code if isinstance(error, SystemExit) else None
            if isinstance(error, KeyboardInterrupt) or (isinstance(code, int) and code > SIGNALLED):
                _ended.append(error)
            said = str(error).partition("\n")[0]
            self.raised = f"{type(error).__name__}{': ' if said else ''}{said}"
            return PYTHON_FAILED
        return 0


def raise_ended() -> None:
    """Raise what was to end the program while a processor in Python ran: Ctrl-C, or the exit after a signal.

    No exception passes the compiled code in between.
    """
    if _ended:
        raise _ended.pop()


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
    elapsed = at - ramp[START]
    if elapsed >= ramp[LENGTH]:
        end: float = ramp[TO]
        return end
    if elapsed <= 0.0:
        start: float = ramp[FROM]
        return start
    u = elapsed / ramp[LENGTH]
    # The quintic from the value, slope and curvature at which the last ramp was left to rest at the target.
    carried = ramp[SLOPE] * u * (1.0 + u * u * (u * (8.0 - 3.0 * u) - 6.0))
    carried += ramp[CURVATURE] * u * u * (0.5 + u * (u * (1.5 - 0.5 * u) - 1.5))
    between = ramp[FROM] + (ramp[TO] - ramp[FROM]) * smoothstep(u) + carried
    bounded: float = min(max(between, ramp[LOWEST]), ramp[HIGHEST])
    return bounded


@compiled
def turn(params: int, index: int, at: int, target: float, wait: int, length: float) -> None:
    """Start a ramp to a target from where the last one has come to, without a step in slope or curvature.

    A fader that moves on every few milliseconds then stays as smooth as a single change. It may swing past
    the value it turns at by a few per cent; `LOWEST` and `HIGHEST` bound that where a kernel needs it.
    """
    ramp = float64_at(params + 8 * RAMP_WORDS * index, RAMP_WORDS)
    now, slope, curvature = value(params, index, at), 0.0, 0.0
    elapsed = at - ramp[START]
    if wait == 0 and 0.0 <= elapsed < ramp[LENGTH] and ramp[LOWEST] < now < ramp[HIGHEST]:
        u, step = elapsed / ramp[LENGTH], ramp[TO] - ramp[FROM]
        slope = step * 30.0 * u * u * (1.0 - u) * (1.0 - u)
        slope += ramp[SLOPE] * (1.0 + u * u * (u * (32.0 - 15.0 * u) - 18.0))
        slope += ramp[CURVATURE] * u * (1.0 + u * (u * (6.0 - 2.5 * u) - 4.5))
        curvature = step * 60.0 * u * (1.0 - u) * (1.0 - 2.0 * u)
        curvature += ramp[SLOPE] * u * (u * (96.0 - 60.0 * u) - 36.0)
        curvature += ramp[CURVATURE] * (1.0 + u * (u * (18.0 - 10.0 * u) - 9.0))
        slope *= length / ramp[LENGTH]
        curvature *= (length / ramp[LENGTH]) ** 2
    ramp[FROM], ramp[TO], ramp[START], ramp[LENGTH] = now, target, at + wait, length
    ramp[SLOPE], ramp[CURVATURE] = slope, curvature


@compiled
def curve(params: int, index: int, at: int, values: Any) -> None:
    """Write a parameter's values from an absolute position on."""
    for i in range(values.shape[0]):
        values[i] = value(params, index, at + i)


@compiled
def settled(params: int, index: int, at: int) -> bool:
    """Whether a parameter has reached its target at an absolute position, and stays until the next event."""
    ramp = float64_at(params + 8 * RAMP_WORDS * index, RAMP_WORDS)
    return at - ramp[START] >= ramp[LENGTH]


def resting(values: Sequence[float]) -> NDArray[np.float64]:
    """Ramps that rest at the given values, without bounds: float64[len(values), RAMP_WORDS]."""
    ramps = np.zeros((len(values), RAMP_WORDS))
    ramps[:, FROM] = ramps[:, TO] = values
    ramps[:, LOWEST], ramps[:, HIGHEST] = -np.inf, np.inf
    return ramps


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
def _read_channels(inputs: int, block: Any) -> None:
    n = block.shape[1]
    for c in range(block.shape[0]):
        x = channel(inputs, c, n)
        for i in range(n):
            block[c, i] = x[i]


@compiled
def _write_channels(outputs: int, out: Any) -> None:
    n = out.shape[1]
    for c in range(out.shape[0]):
        y = channel(outputs, c, n)
        for i in range(n):
            y[i] = out[c, i]


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
