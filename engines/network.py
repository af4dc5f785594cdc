"""Any streaming network as a node: an ONNX file and its card, docs/networks.md says what that holds."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from importlib.util import find_spec
from math import ceil, prod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from engines.cards import STREAM, Audio, StreamCard, find_model, read_content, read_stream_card
from engines.sessions import (
    AUTO,
    Arrays,
    Bound,
    InterpretedInference,
    gpu_of,
    open_session,
    provider_of,
    reason,
    tensors_of,
)
from rtaudio.errors import FileError, UserError
from rtaudio.inference import WORDS, Inference, Session, Tensor, available, run
from rtaudio.kernel import channel, kernel, position, power_of_two, value
from rtaudio.native import f32_matrix, float32_at, i64_matrix, i64_vector, int64_at
from rtaudio.processor import NO_NUMBER, Block, Parameter, Processor, Value
from rtaudio.resample import mirror, pair, polyphase

MOST_CHANNELS = 8
"""Of a stream, for a network that takes one channel at a time."""
MEASURED = 4
"""Hops whose cost is measured together."""
STATE_TYPES = (np.float32, np.float64, np.int64, np.int32)

COMPUTE = Parameter(
    "compute", AUTO, scale="text", automatable=False, doc="what it runs on: cpu, cuda:N, or auto: the CPU"
)

NOT_FINITE = 2
"""Status of a network that put out something that is no number; `inference.FAILED` is 1."""

# State arrays.
SHAPE, DOWN, DOWN_STARTS, UP, UP_STARTS, HEARD, MADE, CALLS, INPUTS, OUTPUTS, PARAMETERS = range(11)
# Words of the first.
HOP, SPAN, PER_SPAN, DOWN_STEP, UP_STEP, SHAPE_WORDS = range(6)
"""Samples of a hop, at the model's rate; the samples of the host in which a whole number of hops ends, and
that number."""


@kernel
def network_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Network`."""
    shape, heard, made = i64_vector(state, SHAPE), f32_matrix(state, HEARD), f32_matrix(state, MADE)
    calls, parameters = i64_vector(state, CALLS), i64_matrix(state, PARAMETERS)
    sources, results = i64_vector(state, INPUTS), i64_vector(state, OUTPUTS)
    down, down_starts = f32_matrix(state, DOWN), i64_vector(state, DOWN_STARTS)
    up, up_starts = f32_matrix(state, UP), i64_vector(state, UP_STARTS)
    hop, at = shape[HOP], position(context)
    for c in range(heard.shape[0]):
        mirror(heard[c], at, channel(inputs, c, n), n)
    # The hops whose last sample lies in this block.
    for k in range(at * shape[PER_SPAN] // shape[SPAN], (at + n) * shape[PER_SPAN] // shape[SPAN]):
        last = -(-(k + 1) * shape[SPAN] // shape[PER_SPAN]) - 1
        for c in range(heard.shape[0]):
            polyphase(
                heard[c], down, down_starts, shape[DOWN_STEP], k * hop, float32_at(sources[c], hop), hop
            )
        for call in range(calls.shape[0]):
            for p in range(parameters.shape[1]):
                float32_at(parameters[call, p], 1)[0] = np.float32(value(params, p + 1, last))
            status = run(int64_at(calls[call], WORDS))
            if status != 0:
                return status
        for c in range(made.shape[0]):
            y = float32_at(results[c], hop)
            finite = True
            for i in range(hop):
                finite = finite and np.isfinite(y[i])
            if not finite:
                return NOT_FINITE
            mirror(made[c], k * hop, y, hop)
    for c in range(made.shape[0]):
        polyphase(made[c], up, up_starts, shape[UP_STEP], at, channel(outputs, c, n), n)
    return 0


class Streaming(Processor):
    """What both engines of a streaming network have in common: its card, rings and conversions."""

    id = "network"
    summary = "A streaming ONNX network, with its card"
    parameters = (
        Parameter(
            "model",
            "",
            scale="text",
            automatable=False,
            doc="NAME.onnx, its card NAME.json beside it; or the name of a model that is installed",
        ),
        COMPUTE,
    )
    lane = 1
    unity: ClassVar[Mapping[str, Value] | None] = None
    tolerance = 1e-6
    card: ClassVar[StreamCard | None] = None
    model: ClassVar[Path] = Path()

    def __init__(self, /, **values: Value) -> None:
        super().__init__(**values)
        self.hop = self.card.hop if self.card is not None else None

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> type[Self]:
        """The engine with the ports and parameters of the network that ``model`` names."""
        values = {**cls.given, **values}
        model, compute = values.get("model", ""), values.get("compute", AUTO)
        runner = cls.runner(str(compute))
        if not isinstance(model, str) or not model:
            return runner  # type: ignore[return-value]
        path = find_model(model, [STREAM])
        card = read_stream_card(path)
        return _engine(runner, model, str(compute), path, card)  # type: ignore[return-value, arg-type]

    @classmethod
    def model_files(cls, values: Mapping[str, Value]) -> Mapping[str, Path]:
        """The file of ``model``."""
        model = values.get("model", "")
        return {"model": find_model(str(model), [STREAM])} if model else {}

    @classmethod
    def runner(cls, compute: str) -> type[Streaming]:
        """The engine that runs a network where ``compute`` says: by compiled code, or by Python."""
        if gpu_of(compute) is not None or (available() and find_spec("onnxruntime")):
            return NetworkInPython
        return Network

    def fit(self, rate: int) -> None:
        """Take whole hops where a hop is a whole number of samples at this rate."""
        if self.card is not None:
            hop = Fraction(self.card.hop * rate, self.card.rate)
            self.hop = int(hop) if hop.denominator == 1 else None

    def error(self, status: int) -> str:
        """See `Processor.error`."""
        return super().error(0 if status == NOT_FINITE else status)

    def check(self) -> tuple[StreamCard, int]:
        """The card, and how many copies of the network there are: of one for one channel, one for each.

        `UserError` where there is no model, or too many channels.
        """
        if self.card is None:
            raise UserError("network: no model: say which, such as network(model='NAME.onnx')")
        copies = self.channels if self.card.mono else 1
        if copies > MOST_CHANNELS:
            most = f"{self.card.path}: up to {MOST_CHANNELS}"
            raise UserError(f"network: {self.channels} channels are not supported ({most})")
        return self.card, copies

    def lay_out(self, card: StreamCard) -> Sequence[NDArray[Any]]:
        """State: what is constant, conversions, rings of what came in and of what was made.

        Also sets ``latency``, ``tail`` and ``stretch``.
        """
        ratio = Fraction(self.rate, card.rate)
        both = pair(self.rate, card.rate, card.hop, card.latency, self.hop == card.hop * ratio)
        self.latency = both.latency
        self.tail = ceil(card.tail * ratio) + both.down.taps + ceil(both.up.taps * ratio)
        inputs, outputs = self.ports(self.inputs), self.ports(self.outputs)
        heard = self.block + ceil(both.hop) + both.down.taps + 1
        made = ceil((self.block + both.latency) / ratio) + card.hop + 2 * both.up.taps
        shape = np.zeros(SHAPE_WORDS, np.int64)
        shape[HOP], shape[SPAN], shape[PER_SPAN] = card.hop, both.hop.numerator, both.hop.denominator
        shape[DOWN_STEP], shape[UP_STEP] = both.down.step, both.up.step
        # Of all the hops that end in a sample, the one that ends first in it: most lie behind it in a block.
        ends = both.hop * (pow(both.hop.numerator, -1, both.hop.denominator) or 1)
        self.stretch = ceil(ends) - 1, ceil(MEASURED * both.hop)
        return (
            shape,
            both.down.table,
            both.down.starts,
            both.up.table,
            both.up.starts,
            np.zeros((inputs, 2 * power_of_two(heard)), np.float32),
            np.zeros((outputs, 2 * power_of_two(made)), np.float32),
        )


class Network(Streaming):
    """A streaming network: its inputs and outputs are ports, its parameters those of the engine.

    It runs at its own rate. Where that is another than the graph's, the sound is resampled to it and back,
    and what lies above its half is lost. A network of one channel runs for every channel of the stream, with
    states of their own.

    Raises
    ------
    UserError
        There is no model, its card says what cannot be, the model is not as its card says, or ONNX Runtime
        is missing.
    """

    KERNEL = network_kernel
    runs_on = "cpu"

    def __init__(self, /, **values: Value) -> None:
        super().__init__(**values)
        self._session: Session | None = None
        self._inferences: list[Inference] = []

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: that of `lay_out`, where tensors lie, their memory."""
        card, copies = self.check()
        session = self._open(card)
        shapes = _shapes(session, card)
        states = {state.name: state.following for state in card.states}
        self._inferences = [Inference(session, states, shapes) for _ in range(copies)]
        return (
            *self.lay_out(card),
            np.array([inference.words.ctypes.data for inference in self._inferences], np.int64),
            _places(card.inputs, card.hop, [inference.inputs for inference in self._inferences]),
            _places(card.outputs, card.hop, [inference.outputs for inference in self._inferences]),
            np.array(
                [[each.inputs[name].ctypes.data for name in card.tensors] for each in self._inferences],
                np.int64,
            ).reshape(copies, len(card.tensors)),
            *(array.reshape(-1) for inference in self._inferences for array in inference.memory()),
        )

    def _open(self, card: StreamCard) -> Session:
        if self._session is None:
            session = Session(read_content(self.model, card.sha256), str(self.model))
            _check(session, card)
            self._session = session
        return self._session

    def error(self, status: int) -> str:
        """What ONNX Runtime said, or that the network put out what is no number."""
        return super().error(status) or said_by(self._inferences)

    def release(self) -> None:
        """Free the state, and the network."""
        super().release()
        for inference in self._inferences:
            inference.close()
        if self._session is not None:
            self._session.close()
        self._inferences, self._session = [], None


def said_by(inferences: Iterable[Inference | InterpretedInference]) -> str:
    """What ONNX Runtime said of the first of these that failed since this was last asked."""
    return next((said for each in inferences if (said := each.error())), "")


class NetworkInPython(Streaming):
    """A `Network` that Python runs: on a GPU, or where the C API of ONNX Runtime cannot be called.

    On a GPU, states stay there. When it fails, the CPU takes over in the same hop, with the states as they
    were if they can still be read, and keeps the work.

    Raises
    ------
    UserError
        As of `Network`; or ONNX Runtime does not get the GPU.
    """

    def __init__(self, /, **values: Value) -> None:
        super().__init__(**values)
        self._gpu = gpu_of(str(self.values["compute"]))
        self._bound: list[Bound] = []
        self._spares: list[Bound] = []
        self._inputs: list[NDArray[np.float32]] = []
        self._outputs: list[NDArray[np.float32]] = []
        self._settings: list[list[NDArray[np.float32]]] = []
        self._rings: Sequence[NDArray[Any]] = ()

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: that of `lay_out`. Opens the network, on a GPU a second time on the CPU."""
        card, copies = self.check()
        content = read_content(self.model, card.sha256)
        session = self.open(content, self._gpu)
        tensors = Tensors(tensors_of(session.get_inputs()), tensors_of(session.get_outputs()))
        _check(tensors, card)
        shapes = _shapes(tensors, card)
        made = {each.name: each.dtype for each in (*tensors.inputs.values(), *tensors.outputs.values())}
        following = {state.name: state.following for state in card.states}

        def arrays(names: Iterable[str]) -> Arrays:
            return {name: np.zeros(shapes[name], made[name]) for name in names}

        sounds = [each.name for each in card.inputs]
        inputs = [arrays([*sounds, *card.tensors]) for _ in range(copies)]
        outputs = [arrays(each.name for each in card.outputs) for _ in range(copies)]
        states = arrays(following)

        def bind(session: Any, gpu: int | None) -> list[Bound]:
            both = zip(inputs, outputs, strict=True)
            try:
                return [Bound(session, gpu, *sounding, states, following) for sounding in both]
            except Exception as error:  # onnxruntime's have no other base
                on = provider_of(session, gpu)
                advice = "" if gpu is None else "; take compute=cpu"
                raise UserError(f"{self.model} cannot run on {on} ({reason(error)}){advice}") from error

        self._bound, self._spares = bind(session, self._gpu), []
        self.runs_on = provider_of(session, self._gpu)
        if self._gpu is None:
            self.runs_on += f" (from Python: {available()})" if available() else " (from Python)"
        else:
            self._spares = bind(self.open(content, None), None)
        self._inputs = _rows(card.inputs, card.hop, inputs)
        self._outputs = _rows(card.outputs, card.hop, outputs)
        self._settings = [[each[name].reshape(-1) for name in card.tensors] for each in inputs]
        self._rings = self.lay_out(card)
        return self._rings

    def open(self, content: bytes, gpu: int | None) -> Any:
        """A session of the network, on a GPU or, None, on the CPU: see `open_session`."""
        return open_session(self.model, content, gpu)

    def process(self, block: Block, out: Block) -> None:
        """As `network_kernel`."""
        shape, down, down_starts, up, up_starts, heard, made = self._rings
        hop, at, n = int(shape[HOP]), self.position, out.shape[1]
        span, per_span = int(shape[SPAN]), int(shape[PER_SPAN])
        declared: Sequence[Parameter] = self.parameters[1:-1]
        curves = [self.curve(parameter.id) for parameter in declared]
        for ring, x in zip(heard, block, strict=True):
            mirror(ring, at, x, n)
        for k in range(at * per_span // span, (at + n) * per_span // span):
            last = -(-(k + 1) * span // per_span) - 1
            for ring, row in zip(heard, self._inputs, strict=True):
                polyphase(ring, down, down_starts, shape[DOWN_STEP], k * hop, row, hop)
            for settings in self._settings:
                for setting, curve in zip(settings, curves, strict=True):
                    setting[0] = curve[last - at]
            self._call()
            if not all(np.isfinite(y).all() for y in self._outputs):
                raise ArithmeticError(NO_NUMBER)
            for ring, y in zip(made, self._outputs, strict=True):
                mirror(ring, k * hop, y, hop)
        for ring, y in zip(made, out, strict=True):
            polyphase(ring, up, up_starts, shape[UP_STEP], at, y, n)

    def _call(self) -> None:
        """Run every copy; where a GPU fails, the CPU runs that copy and all that follow."""
        for number in range(len(self._bound)):
            try:
                self._bound[number].run()
            except Exception as error:  # onnxruntime's have no other base
                if not self._spares:
                    raise
                self._take_over(reason(error))
                self._bound[number].run()

    def _take_over(self, failure: str) -> None:
        """Go on with the CPU, with the states of the GPU where they can be read."""
        kept = "its states are kept"
        try:
            states = [each.states() for each in self._bound]
        except Exception:  # the GPU is gone
            states, kept = [], "its states are lost"
        for spare in self._spares:
            spare.reset()
        for spare, found in zip(self._spares, states, strict=False):
            spare.put(found)
        self._bound, self._spares = self._spares, []
        self.takeovers[0] += 1
        sys.stderr.write(f"{self.id}: {self.runs_on} failed ({failure}): the CPU takes over, {kept}\n")
        self.runs_on = f"cpu (took over from {self.runs_on})"

    def reset(self) -> None:
        """Make the state, and those of the network, what `prepare` made them."""
        super().reset()
        for each in self._bound:
            each.reset()

    def release(self) -> None:
        """Free the state, and the network."""
        super().release()
        self._bound, self._spares, self._rings = [], [], ()


@lru_cache
def _engine(
    runner: type[Streaming], model: str, compute: str, path: Path, card: StreamCard
) -> type[Streaming]:
    """The engine of one network; the same for the same card, so that nodes of it are of one engine."""
    which, where = Streaming.parameters
    outputs = card.ports(card.outputs)
    return type(
        runner.__name__,
        (runner,),
        {
            "__doc__": runner.__doc__,
            "__module__": runner.__module__,
            "given": {"model": model} | ({} if compute == AUTO else {"compute": compute}),
            "card": card,
            "model": path,
            "inputs": card.ports(card.inputs),
            "outputs": outputs,
            "parameters": (replace(which, default=model), *card.parameters, replace(where, default=compute)),
            "unity": card.unity,
            "fallback": outputs[0].name,
        },
    )


def _places(
    audio: Sequence[Audio], hop: int, tensors: Sequence[Mapping[str, NDArray[Any]]]
) -> NDArray[np.int64]:
    """Address of every channel of the ports: of a port, all copies of a network of one channel."""
    return np.array(
        [
            arrays[each.name].ctypes.data + 4 * hop * number
            for each in audio
            for arrays in tensors
            for number in range(each.channels)
        ],
        np.int64,
    )


def _rows(audio: Sequence[Audio], hop: int, arrays: Sequence[Arrays]) -> list[NDArray[np.float32]]:
    """Every channel of the ports, (hop,), in the order of `_places`."""
    return [row for each in audio for copy in arrays for row in copy[each.name].reshape(each.channels, hop)]


# ------------------------------------------------------------------------------------- the model and its card


@dataclass(frozen=True)
class Tensors:
    """What a network takes and gives, by name, in its order; a `rtaudio.inference.Session` has it too."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


def _shapes(session: Session | Tensors, card: StreamCard) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors: those of states are the card's, else an axis of no fixed length is a batch."""
    tensors = (*session.inputs.values(), *session.outputs.values())
    shapes = {
        tensor.name: tuple(1 if length is None else length for length in tensor.shape) for tensor in tensors
    }
    for state in card.states:
        shapes[state.name] = shapes[state.following] = state.shape
    return shapes


def _check(session: Session | Tensors, card: StreamCard) -> None:
    """`FileError` for the first thing in which the model is not as its card says."""
    audio = (card.inputs, session.inputs, "takes"), (card.outputs, session.outputs, "gives")
    for entries, tensors, does in audio:
        for each in entries:
            _check_audio(card, each, _tensor(card, each.name, tensors, does))
    for state in card.states:
        first = _tensor(card, state.name, session.inputs, "takes")
        following = _tensor(card, state.following, session.outputs, "gives")
        for tensor in (first, following):
            if not _fits(tensor.shape, state.shape):
                raise _differs(card, f"state {state.name} has the shape {_shown(state.shape)}", tensor)
        if first.dtype not in STATE_TYPES or first.dtype != following.dtype:
            types = f"{_type(first)}, and its next value {state.following} {_type(following)}"
            raise FileError(
                f"{card.path}: state {state.name} is {types} in the model: want one type, {_known()}"
            )
    for parameter, name in zip(card.parameters, card.tensors, strict=True):
        tensor = _tensor(card, name, session.inputs, "takes")
        if (
            tensor.dtype != np.float32
            or prod(length or 1 for length in tensor.shape) != 1
            or None in tensor.shape[1:]
        ):
            raise _differs(card, f"parameter {parameter.id} is one float32 number", tensor)
    taken = {each.name for each in card.inputs} | {state.name for state in card.states} | {*card.tensors}
    given = {each.name for each in card.outputs} | {state.following for state in card.states}
    _check_all_named(card, session.inputs, taken, "takes")
    _check_all_named(card, session.outputs, given, "gives")


def _check_audio(card: StreamCard, audio: Audio, tensor: Tensor) -> None:
    *lead, length = tensor.shape or (None,)
    shape = f"(1, {audio.channels}, {card.hop})"
    fits = length == card.hop and None not in lead[1:] and prod(each or 1 for each in lead) == audio.channels
    if tensor.dtype != np.float32 or not fits:
        raise _differs(card, f"{audio.name} is float32 of the shape {shape}", tensor)


def _fits(shape: Sequence[int | None], want: Sequence[int]) -> bool:
    """Whether a tensor has a shape; an axis of no fixed length is a batch of 1."""
    return len(shape) == len(want) and all(
        length == (1 if got is None else got) for got, length in zip(shape, want, strict=True)
    )


def _tensor(card: StreamCard, name: str, tensors: Mapping[str, Tensor], does: str) -> Tensor:
    if name not in tensors:
        raise FileError(f"{card.path} names {name!r}, but the model {does} {', '.join(tensors)}")
    return tensors[name]


def _check_all_named(card: StreamCard, tensors: Iterable[str], named: set[str], does: str) -> None:
    for name in tensors:
        if name not in named:
            raise FileError(f"{card.path} does not name {name!r}, which the model {does}")


def _differs(card: StreamCard, said: str, tensor: Tensor) -> FileError:
    free = "; an axis of no fixed length (?) may only be a batch" if None in tensor.shape else ""
    found = f"{tensor.name} is {_type(tensor)} of the shape {_shown(tensor.shape)}"
    return FileError(f"{card.path} says that {said}, in the model {found}{free}")


def _type(tensor: Tensor) -> str:
    return "of a type without numbers" if tensor.dtype is None else str(tensor.dtype)


def _shown(shape: Sequence[int | None]) -> str:
    return f"({', '.join('?' if length is None else str(length) for length in shape)})"


def _known() -> str:
    return ", ".join(np.dtype(each).name for each in STATE_TYPES)
