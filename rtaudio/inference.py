"""Networks on the audio path: ONNX Runtime's C API, called without the interpreter.

The library that ONNX Runtime's wheel brings exports one symbol, `OrtGetApiBase`, which leads to a table of
C functions. Control opens a session and lays its tensors over numpy arrays; after that one compiled function,
`run`, makes a call: without the GIL, and nothing is copied. The states of a network are inputs and outputs of
it. They have two sets of memory each, which change places with every call, so that what one call put out is
what the next takes in.
"""

from __future__ import annotations

import ctypes
import os
import sys
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.errors import FileError, UserError
from rtaudio.native import call_eight_words, call_word, compiled, exchange, int64_at

API_VERSION = 20
"""Of the table of functions: that of ONNX Runtime 1.20, the oldest that the project takes."""
INSTALL = "pip install 'rtaudio[cpu]'"
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
"""Environment variable, to be set before ONNX Runtime starts: from 1.32 on it otherwise keeps a record of
what it is used for and sends that to its maker, from a thread of its own."""

TYPES: Mapping[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    6: np.dtype(np.int32),
    7: np.dtype(np.int64),
    9: np.dtype(np.bool_),
    10: np.dtype(np.float16),
    11: np.dtype(np.float64),
}
"""Element types by their number in `ONNXTensorElementDataType`."""

# Places in the table, `struct OrtApi` of onnxruntime_c_api.h. Functions are only ever added at its end.
_GET_ERROR_MESSAGE = 2
_CREATE_ENV = 3
_DISABLE_TELEMETRY_EVENTS = 6
_CREATE_SESSION_FROM_ARRAY = 8
_RUN = 9
_CREATE_SESSION_OPTIONS = 10
_SET_SESSION_EXECUTION_MODE = 13
_SET_SESSION_LOG_SEVERITY_LEVEL = 22
_SET_INTRA_OP_NUM_THREADS = 24
_SET_INTER_OP_NUM_THREADS = 25
_SESSION_GET_INPUT_COUNT = 30
_SESSION_GET_OUTPUT_COUNT = 31
_SESSION_GET_INPUT_TYPE_INFO = 33
_SESSION_GET_OUTPUT_TYPE_INFO = 34
_SESSION_GET_INPUT_NAME = 36
_SESSION_GET_OUTPUT_NAME = 37
_CREATE_TENSOR_WITH_DATA_AS_ORT_VALUE = 49
_CAST_TYPE_INFO_TO_TENSOR_INFO = 55
_GET_TENSOR_ELEMENT_TYPE = 60
_GET_DIMENSIONS_COUNT = 61
_GET_DIMENSIONS = 62
_CREATE_CPU_MEMORY_INFO = 69
_ALLOCATOR_FREE = 76
_GET_ALLOCATOR_WITH_DEFAULT_OPTIONS = 78
_RELEASE_STATUS = 93
_RELEASE_MEMORY_INFO = 94
_RELEASE_SESSION = 95
_RELEASE_VALUE = 96
_RELEASE_TYPE_INFO = 98
_RELEASE_SESSION_OPTIONS = 100
_ADD_SESSION_CONFIG_ENTRY = 130

_SEQUENTIAL, _FATAL, _ARENA, _DEFAULT_MEMORY = 0, 4, 1, 0
"""Of the enumerations ExecutionMode, OrtLoggingLevel, OrtAllocatorType and OrtMemType."""
_LIBRARIES = {"linux": "libonnxruntime.so*", "darwin": "libonnxruntime*.dylib", "win32": "onnxruntime.dll"}

_Word = ctypes.c_void_p

# Words of an inference.
(
    ADDRESS,  # of OrtApi::Run
    RELEASE,  # of OrtApi::ReleaseStatus
    SESSION,
    INPUT_NAMES,
    N_INPUTS,
    OUTPUT_NAMES,
    N_OUTPUTS,
    INPUTS,  # addresses of the values taken in, where the first sets of states are what is taken in
    INPUTS_TURNED,  # where the second ones are
    OUTPUTS,
    OUTPUTS_TURNED,
    TURN,  # 1: the second sets of states are what the next call takes in
    KEPT,  # address of the status of the first call that failed, until control fetches it
    WORDS,
) = range(14)

FAILED = 1
"""What `run` returns for a call that failed; `Inference.error` says why."""


@compiled
def run(words: Any) -> int:
    """Call a network once, on what its inputs hold: 0, or `FAILED`.

    Parameters
    ----------
    words
        `Inference.words`, int64[WORDS].
    """
    turn = words[TURN]
    status = call_eight_words(
        words[ADDRESS],
        words[SESSION],
        0,
        words[INPUT_NAMES],
        words[INPUTS + turn],
        words[N_INPUTS],
        words[OUTPUT_NAMES],
        words[N_OUTPUTS],
        words[OUTPUTS + turn],
    )
    if status == 0:
        words[TURN] = 1 - turn
        return 0
    if not exchange(int64_at(words[KEPT], 1), 0, 0, status):
        call_word(words[RELEASE], status)
    return FAILED


@compiled
def _take_status(kept: Any) -> int:
    status: int = kept[0]
    return status if status != 0 and exchange(kept, 0, status, 0) else 0


class _Api:
    """The table of functions of the library that is loaded."""

    def __init__(self, library: ctypes.CDLL, table: int) -> None:
        self._library = library
        self._table = ctypes.cast(table, ctypes.POINTER(_Word))

    def address(self, place: int) -> int:
        return int(self._table[place] or 0)

    def call(self, place: int, *arguments: Any) -> None:
        """Call a function that returns a status; `OrtError` with its message if that is an error."""
        function = ctypes.CFUNCTYPE(_Word, *[_Word] * len(arguments))(self.address(place))
        status = function(*arguments)
        if status:
            raise OrtError(self.message(status))

    def get(self, place: int, *arguments: Any) -> int:
        """As `call`; what the function puts where its last argument, which is added, points to."""
        found = ctypes.c_uint64(0)
        self.call(place, *arguments, ctypes.addressof(found))
        return found.value

    def release(self, place: int, address: int) -> None:
        ctypes.CFUNCTYPE(None, _Word)(self.address(place))(address)

    def message(self, status: int) -> str:
        """What a status says, in one line; it is released."""
        text = ctypes.CFUNCTYPE(ctypes.c_char_p, _Word)(self.address(_GET_ERROR_MESSAGE))(status)
        said = " ".join((text or b"").decode(errors="replace").split())
        self.release(_RELEASE_STATUS, status)
        return said


class OrtError(Exception):
    """What ONNX Runtime says of a call that failed."""


@cache
def _open_library() -> _Api | str:
    """The table of functions, or why there is none."""
    package = find_spec("onnxruntime")
    if package is None:
        return f"ONNX Runtime is not installed: {INSTALL}; after 'make run', .venv/bin/pip install '.[cpu]'"
    pattern = _LIBRARIES.get(sys.platform, _LIBRARIES["linux"])
    places = [Path(place) / "capi" for place in package.submodule_search_locations or ()]
    found = sorted(path for place in places for path in place.glob(pattern))
    if not found:
        return f"the installed ONNX Runtime has no library ({pattern}): {INSTALL}"
    try:
        library = ctypes.CDLL(str(found[0]))
        base = library.OrtGetApiBase
    except (OSError, AttributeError):
        return f"{found[0]} does not load, or has no OrtGetApiBase: {INSTALL}"
    base.restype = ctypes.POINTER(_Word)
    get_api, get_version = base()[:2]
    version = (ctypes.CFUNCTYPE(ctypes.c_char_p)(get_version)() or b"").decode(errors="replace")
    numbers = version.split(".")
    # Asked for a version that it has not, the library says so on stderr.
    new = len(numbers) > 1 and all(map(str.isdecimal, numbers[:2])) and numbers[0] == "1"
    table = new and int(numbers[1]) >= API_VERSION and _get_table(get_api)
    if not table:
        return f"ONNX Runtime {version} has no C API of version {API_VERSION}: {INSTALL} --upgrade"
    return _Api(library, table)


def _get_table(get_api: int) -> int:
    return ctypes.CFUNCTYPE(_Word, ctypes.c_uint32)(get_api)(API_VERSION) or 0


def available() -> str | None:
    """Why networks cannot run on the audio path here; None if they can."""
    opened = _open_library()
    return opened if isinstance(opened, str) else None


def _api() -> _Api:
    opened = _open_library()
    if isinstance(opened, str):
        raise UserError(f"networks cannot run: {opened}")
    return opened


@cache
def _environment() -> int:
    """The environment of this process: silent, since errors come as statuses. It is never released."""
    api = _api()
    os.environ.setdefault(NO_TELEMETRY, "1")
    environment = api.get(_CREATE_ENV, _FATAL, b"rtaudio")
    api.call(_DISABLE_TELEMETRY_EVENTS, environment)
    return environment


@dataclass(frozen=True, eq=False)
class Tensor:
    """An input or output of a network."""

    name: str
    dtype: np.dtype[Any] | None
    """None for a type that has no array, such as text."""
    shape: tuple[int | None, ...]
    """None for an axis whose length is not fixed."""


class Session:
    """A network that is loaded, for one thread of the CPU at a time.

    Parameters
    ----------
    content
        Of an ONNX file: all of the network, weights too. Weights in other files are not read.
    source
        What errors say it is from.

    Attributes
    ----------
    inputs, outputs : dict of str to Tensor
        By name, in the network's order.

    Raises
    ------
    UserError
        ONNX Runtime is not there, or cannot load the content.
    """

    def __init__(self, content: bytes, source: str = "this network") -> None:
        api = _api()
        options = api.get(_CREATE_SESSION_OPTIONS)
        try:
            api.call(_SET_SESSION_EXECUTION_MODE, options, _SEQUENTIAL)
            api.call(_SET_SESSION_LOG_SEVERITY_LEVEL, options, _FATAL)
            api.call(_SET_INTRA_OP_NUM_THREADS, options, 1)
            api.call(_SET_INTER_OP_NUM_THREADS, options, 1)
            for key, value in (
                ("session.intra_op.allow_spinning", "0"),
                ("session.inter_op.allow_spinning", "0"),
                # The folder of weights in other files is one that cannot be: the file itself.
                ("session.model_external_initializers_file_folder_path", source),
            ):
                api.call(_ADD_SESSION_CONFIG_ENTRY, options, key.encode(), value.encode())
            self.address = api.get(_CREATE_SESSION_FROM_ARRAY, _environment(), content, len(content), options)
        except OrtError as error:
            raise FileError(f"{source}: not a network that ONNX Runtime can run ({error})") from None
        finally:
            api.release(_RELEASE_SESSION_OPTIONS, options)
        self.close = weakref.finalize(self, api.release, _RELEASE_SESSION, self.address)
        """Release it. Only when no inference of it can run any more."""
        self.close.atexit = False  # a thread may still run it
        self.inputs = self._tensors(
            _SESSION_GET_INPUT_COUNT, _SESSION_GET_INPUT_NAME, _SESSION_GET_INPUT_TYPE_INFO
        )
        self.outputs = self._tensors(
            _SESSION_GET_OUTPUT_COUNT, _SESSION_GET_OUTPUT_NAME, _SESSION_GET_OUTPUT_TYPE_INFO
        )

    def _tensors(self, count: int, name: int, info: int) -> dict[str, Tensor]:
        api = _api()
        allocator = api.get(_GET_ALLOCATOR_WITH_DEFAULT_OPTIONS)
        found = {}
        for number in range(api.get(count, self.address)):
            text = api.get(name, self.address, number, allocator)
            said = ctypes.string_at(text).decode()
            api.call(_ALLOCATOR_FREE, allocator, text)
            type_info = api.get(info, self.address, number)
            found[said] = _tensor(api, said, type_info)
            api.release(_RELEASE_TYPE_INFO, type_info)
        return found


def _tensor(api: _Api, name: str, type_info: int) -> Tensor:
    tensor = api.get(_CAST_TYPE_INFO_TO_TENSOR_INFO, type_info)
    if not tensor:  # A sequence or a map.
        return Tensor(name, None, ())
    count = api.get(_GET_DIMENSIONS_COUNT, tensor)
    lengths = np.zeros(count, np.int64)
    api.call(_GET_DIMENSIONS, tensor, lengths.ctypes.data, count)
    shape = tuple(int(length) if length >= 0 else None for length in lengths)
    return Tensor(name, TYPES.get(api.get(_GET_TENSOR_ELEMENT_TYPE, tensor)), shape)


class Inference:
    """A session's tensors, laid over memory, and what `run` needs to call it.

    Several inferences of one session have states of their own.

    Parameters
    ----------
    session
        The network.
    states
        Name of every input that is a state, with that of the output that is its next value. Both have the
        same type and shape.
    shapes
        Shapes of the tensors that have an axis of no fixed length.

    Attributes
    ----------
    words : (WORDS,) int64
        What `run` takes.
    inputs, outputs : dict of str to array
        By name, in the network's types and shapes; not the states.

    Raises
    ------
    ValueError
        The states or shapes do not go with the session.
    """

    def __init__(
        self,
        session: Session,
        states: Mapping[str, str] | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        states, shapes = states or {}, shapes or {}
        api, self._session = _api(), session
        made = {
            tensor: _zeros(tensor, shapes.get(tensor.name))
            for tensor in (*session.inputs.values(), *session.outputs.values())
        }
        following = {session.inputs[state]: session.outputs[result] for state, result in states.items()}
        for state, result in following.items():
            if made[state].dtype != made[result].dtype or made[state].shape != made[result].shape:
                raise ValueError(f"state {state.name} and {result.name} differ: {state}, {result}")
        self.inputs = {
            name: made[tensor] for name, tensor in session.inputs.items() if tensor not in following
        }
        self.outputs = {
            name: made[tensor] for name, tensor in session.outputs.items() if name not in states.values()
        }
        self._arrays = list(made.values())
        self._kept = np.zeros(1, np.int64)
        memory = api.get(_CREATE_CPU_MEMORY_INFO, _ARENA, _DEFAULT_MEMORY)
        try:
            value = {tensor: _value(api, memory, array) for tensor, array in made.items()}
        finally:
            api.release(_RELEASE_MEMORY_INFO, memory)
        values = list(value.values())
        turned = value | {state: value[result] for state, result in following.items()}
        turned |= {result: value[state] for state, result in following.items()}
        tables = [
            np.array([which[tensor] for tensor in tensors.values()], np.int64)
            for tensors in (session.inputs, session.outputs)
            for which in (value, turned)
        ]
        names = [
            (ctypes.c_char_p * len(tensors))(*(name.encode() for name in tensors))
            for tensors in (session.inputs, session.outputs)
        ]
        words = self.words = np.zeros(WORDS, np.int64)
        words[ADDRESS], words[RELEASE] = api.address(_RUN), api.address(_RELEASE_STATUS)
        words[SESSION] = session.address
        words[INPUT_NAMES], words[OUTPUT_NAMES] = map(ctypes.addressof, names)
        words[N_INPUTS], words[N_OUTPUTS] = len(session.inputs), len(session.outputs)
        words[[INPUTS, INPUTS_TURNED, OUTPUTS, OUTPUTS_TURNED]] = [table.ctypes.data for table in tables]
        words[KEPT] = self._kept.ctypes.data
        self._keep = tables, names
        self.close = weakref.finalize(self, _release, api, values, self._kept)
        """Release the tensors. Only when nothing can run the inference any more."""
        self.close.atexit = False  # a thread may still run it

    def memory(self) -> list[NDArray[Any]]:
        """All that `run` writes, and the words: what it is at first, put back, makes the network new."""
        return [self.words, *self._arrays]

    def reset(self) -> None:
        """Set inputs, states and outputs to zeros, as they are at first."""
        for array in self._arrays:
            array[...] = 0
        self.words[TURN] = 0

    def error(self) -> str | None:
        """What ONNX Runtime says of the first call that failed since this was asked; None if none did."""
        status = _take_status(self._kept)
        return _api().message(status) if status else None


def _zeros(tensor: Tensor, shape: Sequence[int] | None) -> NDArray[Any]:
    lengths = [length for length in (tensor.shape if shape is None else shape) if length is not None]
    fits = len(lengths) == len(tensor.shape) and all(
        want in (None, length) for length, want in zip(lengths, tensor.shape, strict=True)
    )
    if tensor.dtype is None or not fits:
        raise ValueError(f"no array of {shape} for {tensor}")
    return np.zeros(lengths, tensor.dtype)


def _value(api: _Api, memory: int, array: NDArray[Any]) -> int:
    """An OrtValue over an array's memory."""
    shape = np.array(array.shape, np.int64)
    number = next(number for number, dtype in TYPES.items() if dtype == array.dtype)
    return api.get(
        _CREATE_TENSOR_WITH_DATA_AS_ORT_VALUE,
        memory,
        array.ctypes.data,
        array.nbytes,
        shape.ctypes.data,
        array.ndim,
        number,
    )


def _release(api: _Api, values: Sequence[int], kept: NDArray[np.int64]) -> None:
    for value in values:
        api.release(_RELEASE_VALUE, value)
    status = _take_status(kept)
    if status:
        api.release(_RELEASE_STATUS, status)
