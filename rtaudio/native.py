"""What compiled audio code needs and Numba does not give: addresses, atomics, C calls, floating-point mode.

Everything here runs without the GIL, the interpreter or the heap. Importing this module fixes the folder of
Numba's cache, so it comes before any compiled function of the host or of an engine.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rtaudio.folders import cache_folder

Function = TypeVar("Function", bound=Callable[..., Any])

KEPT_CACHES = 4


def _kernel_sources() -> list[Path]:
    """Source files with compiled code, of the host and of every installed engine package."""
    packages = {"rtaudio"} | {
        entry.module.partition(".")[0] for entry in entry_points(group="rtaudio.engines")
    }
    files: set[Path] = set()
    for package in packages:
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            for folder in spec.submodule_search_locations:
                files.update(Path(folder).rglob("*.py"))
        elif spec is not None and spec.origin:
            files.add(Path(spec.origin))
    return [
        file for file in sorted(files) if b"@compiled" in (text := file.read_bytes()) or b"@kernel" in text
    ]


def _cache_folder() -> Path:
    """Folder of the compiled code, keyed by the sources it is made of.

    Numba notices a changed function but not a changed callee in another file; a key over all sources does.
    """
    key = hashlib.sha256(f"{sys.version}{numba.__version__}{np.__version__}".encode())
    for source in _kernel_sources():
        key.update(source.name.encode())
        key.update(source.read_bytes())
    base = cache_folder() / "kernels"
    folder = base / key.hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        for stale in sorted(base.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT_CACHES]:
            shutil.rmtree(stale, ignore_errors=True)
    except OSError:
        pass  # A read-only home costs a compilation per run, not the run.
    return folder


if "NUMBA_CACHE_DIR" not in os.environ:
    numba.config.CACHE_DIR = str(_cache_folder())


def compiled(function: Function) -> Function:
    """Compile a function for the audio path: no GIL, no exceptions, no reference counting, cached on disk."""
    njit: Callable[[Function], Function] = numba.njit(
        cache=True, nogil=True, error_model="numpy", boundscheck=False, _nrt=False
    )
    return njit(function)


def brief(function: Function) -> Function:
    """As `compiled`, for calls from Python of a few microseconds, which keep the GIL.

    To give it away is to wait for it afterwards: where another thread computes in Python, 5 ms.
    """
    njit: Callable[[Function], Function] = numba.njit(
        cache=True, error_model="numpy", boundscheck=False, _nrt=False
    )
    return njit(function)


# ---------------------------------------------------------------------------------------------- addresses


def _make_view(context, builder, array_type, address, dimensions):
    """A C-contiguous array over foreign memory, without a reference count."""
    from numba.np import arrayobj

    # An address is a sum, and LLVM may take either part for the pointer when it emits code. Numba inlines
    # what was emitted so, and where that part is the constant 0, all that is read there is "undefined".
    set.add(builder.function.attributes, "null_pointer_is_valid")  # llvmlite does not know it
    item = context.get_constant(types.intp, array_type.dtype.bitwidth // 8)
    strides = [item]
    for dimension in reversed(dimensions[1:]):
        strides.insert(0, builder.mul(strides[0], dimension))
    view = arrayobj.make_array(array_type)(context, builder)
    data = builder.inttoptr(address, context.get_data_type(array_type.dtype).as_pointer())
    arrayobj.populate_array(view, data, dimensions, strides, item, meminfo=None)
    return view._getvalue()


def _at(dtype: types.Type) -> Any:
    """An intrinsic: 1-D view of ``length`` values at ``address``."""

    @intrinsic
    def at(typing_context, address, length):
        array_type = types.Array(dtype, 1, "C")

        def generate(context, builder, signature, arguments):
            return _make_view(context, builder, array_type, arguments[0], [arguments[1]])

        return array_type(types.intp, types.intp), generate

    return at


DESCRIPTOR = 4
"""Words per state array in the table that a kernel's ``state`` points to: address, up to three dimensions."""


def _state_array(dtype: types.Type, dimensions: int) -> Any:
    """An intrinsic: the array number ``index`` of the table at ``state``."""

    @intrinsic
    def array(typing_context, state, index):
        array_type = types.Array(dtype, dimensions, "C")

        def generate(context, builder, signature, arguments):
            word = ir.IntType(64)
            table = builder.inttoptr(arguments[0], word.as_pointer())
            row = builder.mul(arguments[1], word(DESCRIPTOR))
            places = [builder.add(row, word(place)) for place in range(dimensions + 1)]
            words = [builder.load(builder.gep(table, [place])) for place in places]
            return _make_view(context, builder, array_type, words[0], words[1:])

        return array_type(types.intp, types.intp), generate

    return array


int64_at, float32_at, float64_at = _at(types.int64), _at(types.float32), _at(types.float64)
int32_at, uint8_at = _at(types.int32), _at(types.uint8)
i64_vector, i64_matrix = _state_array(types.int64, 1), _state_array(types.int64, 2)
f64_vector, f64_matrix = _state_array(types.float64, 1), _state_array(types.float64, 2)
f32_vector, f32_matrix = _state_array(types.float32, 1), _state_array(types.float32, 2)
f32_cube = _state_array(types.float32, 3)


# ---------------------------------------------------------------------------------------------- atomics


def _element(context, builder, array_type, array, index):
    from numba.np import arrayobj

    view = arrayobj.make_array(array_type)(context, builder, array)
    return builder.gep(view.data, [index])


@intrinsic
def load_acquire(typing_context, array, index):
    """Atomic load of ``array[index]`` (int64, 1-D, contiguous); sees what the publisher wrote before."""

    def generate(context, builder, signature, arguments):
        place = _element(context, builder, signature.args[0], arguments[0], arguments[1])
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(array, types.int64), generate


@intrinsic
def store_release(typing_context, array, index, value):
    """Atomic store to ``array[index]`` (int64, 1-D, contiguous): publishes all that was written before."""

    def generate(context, builder, signature, arguments):
        place = _element(context, builder, signature.args[0], arguments[0], arguments[1])
        builder.store_atomic(arguments[2], place, "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), generate


@intrinsic
def exchange(typing_context, array, index, expected, value):
    """Put ``value`` into ``array[index]`` if it is ``expected``, in one step; returns whether it was."""

    def generate(context, builder, signature, arguments):
        place = _element(context, builder, signature.args[0], arguments[0], arguments[1])
        pair = builder.cmpxchg(place, arguments[2], arguments[3], "acq_rel", "acquire")
        return builder.extract_value(pair, 1)

    return types.boolean(array, types.int64, types.int64, types.int64), generate


@intrinsic
def fence(typing_context):
    """No load or store moves across, in either direction."""

    def generate(context, builder, signature, arguments):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@brief
def read_acquire(array: Any, index: int) -> int:
    """`load_acquire` for callers in Python."""
    value: int = load_acquire(array, index)
    return value


@brief
def write_release(array: Any, index: int, value: int) -> None:
    """`store_release` for callers in Python."""
    store_release(array, index, value)


# ---------------------------------------------------------------------------------------------- C calls

KERNEL = types.int32(types.intp, types.intp, types.intp, types.int64, types.intp, types.intp)
"""``int32 kernel(state, in**, out**, n, params, context)``: addresses as intp, status 0 means well."""

CALLBACK = types.int32(types.intp, types.intp, types.uint64, types.intp, types.uint64, types.intp)
"""PortAudio's ``int callback(in*, out*, frames, time*, flags, user*)``."""


def _caller(signature):
    """An intrinsic that calls a C function of the given signature by its address."""

    @intrinsic
    def call(typing_context, address, a, b, c, d, e, f):
        def generate(context, builder, call_signature, arguments):
            word, status = ir.IntType(64), ir.IntType(32)
            function = ir.FunctionType(status, [word] * 6)
            return builder.call(builder.inttoptr(arguments[0], function.as_pointer()), arguments[1:])

        return types.int32(types.intp, *signature.args), generate

    return call


call_kernel = _caller(KERNEL)
call_callback = _caller(CALLBACK)


def _word_caller(count):
    """An intrinsic that calls a C function of ``count`` pointers or sizes, which returns one, by address."""

    def generate(context, builder, signature, arguments):
        word = ir.IntType(64)
        function = ir.FunctionType(word, [word] * count)
        return builder.call(builder.inttoptr(arguments[0], function.as_pointer()), arguments[1:])

    def call_one(typing_context, address, a):
        return types.intp(*[types.intp] * 2), generate

    def call_eight(typing_context, address, a, b, c, d, e, f, g, h):
        return types.intp(*[types.intp] * 9), generate

    return intrinsic({1: call_one, 8: call_eight}[count])


call_word, call_eight_words = _word_caller(1), _word_caller(8)

_clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.intp))
_clock_nanosleep = types.ExternalFunction(
    "clock_nanosleep", types.int32(types.int32, types.int32, types.intp, types.intp)
)
_CLOCK_MONOTONIC = 1
_TIMER_ABSTIME = 1


_sem_post = types.ExternalFunction("sem_post", types.int32(types.intp))
_sem_wait = types.ExternalFunction("sem_wait", types.int32(types.intp))
_gettid = types.ExternalFunction("gettid", types.int32())
_set_scheduler = types.ExternalFunction(
    "sched_setscheduler", types.int32(types.int32, types.int32, types.intp)
)
_errno_location = types.ExternalFunction("__errno_location", types.intp())
ORDINARY = 0x40000000
"""Linux' SCHED_OTHER | SCHED_RESET_ON_FORK."""


@compiled
def post(semaphore: int) -> None:
    """Count a POSIX semaphore (``sem_t`` at an address) up and wake who waits for it."""
    _sem_post(semaphore)


@compiled
def wait(semaphore: int) -> None:
    """Wait until a POSIX semaphore is above zero, and count it down. A signal may end it early."""
    _sem_wait(semaphore)


@compiled
def thread_id() -> int:
    """Number of this thread, as the kernel knows it."""
    number: int = _gettid()
    return number


_pthread_self = types.ExternalFunction("pthread_self", types.intp())


@compiled
def this_thread() -> int:
    """What C calls this thread; no other of this process has the same meanwhile. No system call."""
    number: int = _pthread_self()
    return number


@intrinsic
def _stack_words(typing_context):
    """Address of two int64 on the stack, for a C timespec."""

    def generate(context, builder, signature, arguments):
        from numba.core import cgutils

        place = cgutils.alloca_once(builder, ir.ArrayType(ir.IntType(64), 2))
        return builder.ptrtoint(place, ir.IntType(64))

    return types.intp(), generate


@compiled
def now_ns() -> int:
    """The monotonic clock, in nanoseconds. No system call on Linux (vDSO)."""
    time = _stack_words()
    _clock_gettime(_CLOCK_MONOTONIC, time)
    words = int64_at(time, 2)
    value: int = words[0] * 1_000_000_000 + words[1]
    return value


@compiled
def demote_this_thread() -> None:
    """Take real-time priority from the calling thread. Fit for a signal's handler: errno stays as it is."""
    error, parameter = int32_at(_errno_location(), 1), _stack_words()
    kept = error[0]
    int64_at(parameter, 1)[0] = 0
    _set_scheduler(0, ORDINARY, parameter)
    error[0] = kept


@compiled
def sleep_until_ns(due: int) -> None:
    """Sleep until the monotonic clock reads ``due`` nanoseconds; absolute, so errors do not add up."""
    time = _stack_words()
    words = int64_at(time, 2)
    words[0] = due // 1_000_000_000
    words[1] = due % 1_000_000_000
    _clock_nanosleep(_CLOCK_MONOTONIC, _TIMER_ABSTIME, time, 0)


# ---------------------------------------------------------------------------------------------- denormals

_X86 = platform.machine().lower() in ("x86_64", "amd64")
_FLUSH = 0x8040 if _X86 else 1 << 24
"""FTZ and DAZ in MXCSR, or FZ in FPCR."""


@intrinsic
def _float_mode(typing_context):
    """The floating-point control register: MXCSR on x86-64, FPCR on AArch64."""

    def generate(context, builder, signature, arguments):
        word = ir.IntType(64)
        if not _X86:
            read = ir.InlineAsm(ir.FunctionType(word, []), "mrs $0, fpcr", "=r", side_effect=True)
            return builder.call(read, [])
        place = builder.alloca(ir.IntType(32))
        byte = ir.IntType(8).as_pointer()
        store = builder.module.declare_intrinsic(
            "llvm.x86.sse.stmxcsr", (), ir.FunctionType(ir.VoidType(), [byte])
        )
        builder.call(store, [builder.bitcast(place, byte)])
        return builder.zext(builder.load(place), word)

    return types.int64(), generate


@intrinsic
def _set_float_mode(typing_context, mode):
    def generate(context, builder, signature, arguments):
        word, none = ir.IntType(64), ir.VoidType()
        if not _X86:
            write = ir.InlineAsm(ir.FunctionType(none, [word]), "msr fpcr, $0", "r", side_effect=True)
            builder.call(write, [arguments[0]])
            return context.get_dummy_value()
        place = builder.alloca(ir.IntType(32))
        byte = ir.IntType(8).as_pointer()
        builder.store(builder.trunc(arguments[0], ir.IntType(32)), place)
        load = builder.module.declare_intrinsic("llvm.x86.sse.ldmxcsr", (), ir.FunctionType(none, [byte]))
        builder.call(load, [builder.bitcast(place, byte)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@compiled
def flush_denormals() -> int:
    """Flush denormals to zero, in results and operands, on this thread; returns the mode to restore."""
    mode: int = _float_mode()
    _set_float_mode(mode | _FLUSH)
    return mode


@compiled
def restore_float_mode(mode: int) -> None:
    """Put back what `flush_denormals` returned."""
    _set_float_mode(mode)
