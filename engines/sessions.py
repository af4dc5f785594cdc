"""Sessions of ONNX Runtime through its Python, for networks whose hash has been checked.

On the CPU, or on a GPU through ONNX Runtime's CUDA provider. What runs on the audio path of this process goes
through `rtaudio.inference` instead.
"""

from __future__ import annotations

import ctypes
import io
import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.errors import FileError, UserError
from rtaudio.inference import ADDRESS, FAILED, INSTALL, KEPT, NO_TELEMETRY, RELEASE, TYPES, WORDS, Tensor

CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"
CUDA_OPTIONS: Mapping[str, str] = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
"""TF32 rounds what is multiplied to 10 bits. The search that ONNX Runtime does by default tries all
algorithms at the first call of every shape, and may choose another one in every run."""
GPU_MEMORY = "cuda"
"""What ONNX Runtime calls the memory of a GPU."""
AUTO = "auto"
"""Where a network runs that nobody says it of: the CPU, see docs/networks.md."""


def gpu_of(compute: str) -> int | None:
    """Number of the GPU that ``compute`` asks for: ``cuda:1``, or ``cuda`` for the first one.

    None for ``cpu``, and for ``auto``, which is the CPU: see docs/networks.md. `UserError` for anything else.
    """
    if compute in (AUTO, "cpu"):
        return None
    kind, colon, number = compute.partition(":")
    if kind != "cuda" or (colon and not (number.isascii() and number.isdecimal() and len(number) < 4)):
        raise UserError(f"compute={compute!r}: want auto, cpu or cuda:N, such as cuda:0")
    return int(number or 0)


def has_cuda() -> bool:
    """Whether the ONNX Runtime that is installed has CUDA; whether that starts, only a session tells."""
    try:
        import onnxruntime
    except ImportError:
        return False
    return CUDA_PROVIDER in onnxruntime.get_available_providers()


def open_session(path: Path, content: bytes, gpu: int | None = None) -> Any:
    """Open a network, on one thread of the CPU or on a GPU.

    Parameters
    ----------
    path
        Where the content is from.
    content
        Of an ONNX file: all of the network, weights too. Weights in other files are refused, since the hash
        of the content says nothing about them.
    gpu
        Number of a GPU; None for the CPU.

    Returns
    -------
    An `onnxruntime.InferenceSession`.

    Raises
    ------
    UserError
        ONNX Runtime is not installed, cannot load the content, or does not get the GPU.
    """
    os.environ.setdefault(NO_TELEMETRY, "1")
    try:
        import onnxruntime
    except ImportError:  # there is none, or one that cannot be loaded
        raise UserError(f"networks need ONNX Runtime: {INSTALL}") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised too
    # The folder of other files is one that cannot be: a file.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path))
    providers: list[Any] = [CPU_PROVIDER]
    if gpu is not None:
        _check_cuda(gpu)
        providers.insert(0, (CUDA_PROVIDER, {"device_id": str(gpu), **CUDA_OPTIONS}))
    try:
        session = onnxruntime.InferenceSession(content, options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime's have no other base
        if gpu is not None:
            raise UserError(f"{path} cannot run on cuda:{gpu} ({reason(error)}); take compute=cpu") from error
        raise FileError(f"{path}: not a network that onnxruntime can run ({reason(error)})") from error
    if gpu is not None and session.get_providers()[0] != CUDA_PROVIDER:
        has = f"ONNX Runtime {onnxruntime.__version__} has CUDA, but it does not start here"
        needs = "it needs a driver, CUDA and cuDNN (pip install 'onnxruntime-gpu[cuda,cudnn]')"
        raise UserError(f"cuda:{gpu} cannot be used: {has}; {needs}")
    return session


def _check_cuda(gpu: int) -> None:
    """Refuse a GPU where ONNX Runtime has no CUDA, and load what it needs where that is there."""
    import onnxruntime

    if not has_cuda():
        has = ", ".join(
            each.removesuffix("ExecutionProvider") for each in onnxruntime.get_available_providers()
        )
        raise UserError(
            f"cuda:{gpu} cannot be used: ONNX Runtime {onnxruntime.__version__} is installed, with {has}; "
            "pip uninstall onnxruntime, then pip install 'rtaudio[gpu]'"
        )
    if hasattr(onnxruntime, "preload_dlls"):  # from 1.21 on
        with redirect_stdout(io.StringIO()):  # it prints what it does not find
            onnxruntime.preload_dlls()


def provider_of(session: Any, gpu: int | None) -> str:
    """Where a session really runs, in the words of ``compute``."""
    return f"cuda:{gpu}" if session.get_providers()[0] == CUDA_PROVIDER else "cpu"


def reason(error: Exception) -> str:
    """The first line of what was raised."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def tensors_of(puts: Sequence[Any]) -> dict[str, Tensor]:
    """A session's inputs or outputs by name, as those of `rtaudio.inference.Session`."""
    types = {f"tensor({name})": np.dtype(kind) for name, kind in _NAMES.items()}
    types |= {f"tensor({kind.name})": kind for kind in TYPES.values()}
    return {
        put.name: Tensor(
            put.name,
            types.get(put.type),
            tuple(axis if isinstance(axis, int) else None for axis in put.shape),
        )
        for put in puts
    }


_NAMES = {"float": np.float32, "double": np.float64}
"""Types that ONNX Runtime calls by names of its own."""

Arrays = dict[str, NDArray[Any]]


class Bound:
    """A session with its tensors bound: sound in arrays of the host, states where the session runs.

    A state has two places, which change with every call, so that states are not copied. Several of one
    session have states of their own.

    Parameters
    ----------
    session
        An `onnxruntime.InferenceSession`.
    gpu
        Number of the GPU that it runs on; None for the CPU.
    inputs, outputs
        Arrays of the network's types and shapes: what a call reads, and writes.
    states
        Zeros of the type and shape of every state, by name.
    following
        Name of the output that is a state's next value, by name of the state.
    """

    def __init__(
        self,
        session: Any,
        gpu: int | None,
        inputs: Arrays,
        outputs: Arrays,
        states: Arrays,
        following: Mapping[str, str],
    ) -> None:
        from onnxruntime import OrtValue

        self._session, self._binding = session, session.io_binding()
        # On the CPU these are the arrays' own memory.
        self._inputs = {name: OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
        for name, array in outputs.items():
            self._binding.bind_ortvalue_output(name, OrtValue.ortvalue_from_numpy(array))
        self._kept = inputs, outputs
        place = ("cpu", 0) if gpu is None else (GPU_MEMORY, gpu)
        self._states = {
            name: [OrtValue.ortvalue_from_shape_and_type(zeros.shape, zeros.dtype.type, *place) for _ in "ab"]
            for name, zeros in states.items()
        }
        self._zeros, self._following = states, following
        self._turn = 0
        self.put(states)

    def run(self) -> None:
        """Call the network once; what ONNX Runtime raises leaves the states as they were."""
        # Anew every time: a GPU's copy of an array is made here.
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, values in self._states.items():
            self._binding.bind_ortvalue_input(name, values[self._turn])
            self._binding.bind_ortvalue_output(self._following[name], values[1 - self._turn])
        self._session.run_with_iobinding(self._binding)
        self._turn = 1 - self._turn

    def states(self) -> Arrays:
        """Copies of the states, by name."""
        return {name: values[self._turn].numpy().copy() for name, values in self._states.items()}

    def put(self, states: Arrays) -> None:
        """Set the states."""
        for name, array in states.items():
            self._states[name][self._turn].update_inplace(array)

    def reset(self) -> None:
        """Set the states to zeros."""
        self.put(self._zeros)


class InterpretedSession:
    """A network on the CPU whose inferences Python makes, as `rtaudio.inference.Session` is for the C API.

    Parameters
    ----------
    path, content
        See `open_session`.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        self.session = open_session(path, content)
        self.inputs, self.outputs = map(tensors_of, (self.session.get_inputs(), self.session.get_outputs()))

    def close(self) -> None:
        """Nothing has to be released by hand."""


_RUN = ctypes.CFUNCTYPE(ctypes.c_ssize_t, *[ctypes.c_void_p] * 8)
_RELEASE = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p)


class InterpretedInference:
    """As `rtaudio.inference.Inference`, for compiled code that cannot have the C API: `run` calls Python.

    Parameters
    ----------
    session
        The network.
    states
        Name of every input that is a state, with that of the output that is its next value.
    shapes
        Shapes of the tensors that have an axis of no fixed length.
    """

    def __init__(
        self,
        session: InterpretedSession,
        states: Mapping[str, str] | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        states = states or {}

        def zeros(tensors: Mapping[str, Tensor]) -> Arrays:
            known: dict[str, Any] = {name: each.shape for name, each in tensors.items()}
            known |= shapes or {}
            return {name: np.zeros(known[name], each.dtype or float) for name, each in tensors.items()}

        taken, given = zeros(session.inputs), zeros(session.outputs)
        self.inputs = {name: array for name, array in taken.items() if name not in states}
        self.outputs = {name: array for name, array in given.items() if name not in states.values()}
        remembered = {name: taken[name] for name in states}
        self._bound = Bound(session.session, None, self.inputs, self.outputs, remembered, states)
        self._said = ""
        self._anew, self._kept = np.ones(1, np.int64), np.zeros(1, np.int64)
        self._functions = _RUN(self._run), _RELEASE(lambda status: 0)
        self.words = np.zeros(WORDS, np.int64)
        for word, function in zip((ADDRESS, RELEASE), self._functions, strict=True):
            self.words[word] = ctypes.cast(function, ctypes.c_void_p).value or 0
        self.words[KEPT] = self._kept.ctypes.data

    def _run(self, *arguments: int) -> int:
        try:
            if self._anew[0]:
                self._anew[0] = 0
                self._bound.reset()
            self._bound.run()
        except Exception as error:  # onnxruntime's have no other base
            self._said = reason(error)
            return FAILED
        return 0

    def memory(self) -> list[NDArray[Any]]:
        """What it is at first, put back, makes the network new."""
        return [self.words, self._anew, *self.inputs.values(), *self.outputs.values()]

    def error(self) -> str | None:
        """What ONNX Runtime said of the last call that failed; None if none did."""
        return self._said or None

    def close(self) -> None:
        """Nothing has to be released by hand."""
