"""The processor contract: what an engine declares, and the calls that the host makes.

| call | thread | may allocate or compile | when |
| --- | --- | --- | --- |
| fit(rate) | control | no | before `prepare`, if the host knows the rate |
| prepare(rate, block, fixed, channels) | control | yes | stopped |
| kernel() -> (address, state table) | control | yes | prepared |
| process(block, out), the same kernel from Python | any one thread | no | prepared |
| reset() | control, between blocks | no | prepared |
| latency, tail (samples) | any | no | constant after prepare |
| error(status), why the kernel failed | control | yes | prepared |
| take(word, text), told(): lines of its own | control | yes, for a moment | prepared |
| release() | control | yes | stopped |

An engine is a subclass of `Processor` with its declarations as class attributes, an `allocate` that returns
its state arrays, and a `KERNEL` (see `rtaudio.kernel`). One that defines `process` instead of a ``KERNEL``
is written in Python: live, it runs in a worker process and only there, where no sound waits for the
interpreter but its own. Its `process` gets blocks of any length up to ``block``, since the host divides them
where parameters change, finds their place in ``position`` and what is set in `curve`, and keeps what it
remembers in the arrays of `allocate`, or overrides `reset` too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from rtaudio.errors import UserError, nearest

if TYPE_CHECKING:
    from rtaudio.kernel import Kernel, PythonKernel

Value = float | str | bool
Block = NDArray[np.float32]

MAXIMUM_CHANNELS = 64
NO_NUMBER = "it put out what is no number"
RATES = (8_000, 384_000)
"""Lowest and highest rate of a graph, in Hz."""


@dataclass(frozen=True)
class Port:
    """An input or output of a processor.

    Parameters
    ----------
    name
        What edges say: ``node.name``.
    channels
        Number of channels, or None for the channel count of the stream.
    optional
        An input that may stay unconnected (a side chain); it is then silent.
    control
        An output that is not sound, but a value at every sample: left out where outputs are summed.
    """

    name: str
    channels: int | None = None
    optional: bool = False
    control: bool = False


@dataclass(frozen=True)
class Parameter:
    """A value that a user sets.

    Parameters
    ----------
    id
        What users say.
    default, minimum, maximum
        In ``unit``; for a choice the default is one of ``choices``.
    unit
        "dB", "Hz", "s", "ms", "" ...
    scale
        "linear", "integer", "log", "dB", "choice" or "text". Kernels see dB as an amplitude, a choice as its
        number; text is read by `Processor.allocate`, a kernel sees 0, and it is never automatable.
    smoothing
        Seconds that a change takes; the host ramps it.
    automatable
        Whether it can change while sound runs. What cannot is fixed by `prepare`.
    silence
        For dB: the minimum means amplitude 0.
    """

    id: str
    default: Value
    minimum: float = 0.0
    maximum: float = 1.0
    unit: str = ""
    scale: str = "linear"
    smoothing: float = 0.01
    automatable: bool = True
    choices: tuple[str, ...] = ()
    silence: bool = False
    doc: str = ""

    def checked(self, value: Value, owner: str) -> Value:
        """The value as this parameter's type, or `UserError` saying what it may be."""
        if self.scale == "choice":
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if isinstance(value, float) and value.is_integer():
                text = str(int(value))
            if text not in self.choices:
                meant = nearest(text, self.choices)
                raise UserError(f"{owner}: {self.id}={text!r} is not one of {', '.join(self.choices)}{meant}")
            return text
        if self.scale == "text":
            if not isinstance(value, str):
                raise UserError(f"{owner}: {self.id}={value!r} is not text: write {self.id}='...'")
            return value
        if isinstance(value, str) or (isinstance(value, bool) and (self.minimum, self.maximum) != (0.0, 1.0)):
            raise UserError(f"{owner}: {self.id}={value!r} is not a number ({self.range})")
        number = float(value)
        if self.silence and number == -math.inf:
            number = self.minimum
        if self.scale == "integer" and not number.is_integer():
            raise UserError(f"{owner}: {self.id}={number:g} is not a whole number ({self.range})")
        if not self.minimum <= number <= self.maximum:
            raise UserError(f"{owner}: {self.id}={number:g} is out of range ({self.range})")
        return number

    @property
    def range(self) -> str:
        """The accepted values, in words."""
        if self.scale == "choice":
            return " | ".join(self.choices)
        if self.scale == "text":
            return "text"
        unit = f" {self.unit}" if self.unit else ""
        lowest = "-inf, or " if self.silence else ""
        form = ".0f" if self.scale == "integer" else "g"
        return f"{lowest}{self.minimum:{form}} to {self.maximum:{form}}{unit}"

    def to_kernel(self, value: Value) -> float:
        """What the kernel reads: linear amplitude for dB, the number of a choice, else the value itself."""
        if self.scale == "choice":
            return float(self.choices.index(str(value)))
        if self.scale == "text":
            return 0.0
        number = float(value)
        if self.scale == "dB":
            return 0.0 if self.silence and number <= self.minimum else float(10.0 ** (number / 20.0))
        return number

    def from_kernel(self, number: float) -> Value:
        """The value of which `to_kernel` makes a number."""
        if self.scale == "choice":
            return self.choices[round(number)]
        if self.scale == "dB":
            return round(20.0 * math.log10(number), 9) if number > 0.0 else self.minimum
        return number


class Processor:
    """Base of every engine. See the module's text for the calls and their threads.

    Parameters
    ----------
    **values
        Parameters by id, in their units.

    Raises
    ------
    UserError
        Unknown parameter, or a value out of range.
    """

    id: ClassVar[str] = ""
    version: ClassVar[int] = 1
    summary: ClassVar[str] = ""
    inputs: ClassVar[tuple[Port, ...]] = (Port("in"),)
    outputs: ClassVar[tuple[Port, ...]] = (Port("out"),)
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    rates: ClassVar[tuple[int, ...] | None] = None
    """Accepted rates in Hz; None accepts every rate of the host."""
    lane: ClassVar[int] = 0
    fallback: ClassVar[str | None] = "out"
    """The output that plays the first input, delayed, on bypass; the others, and sources, are silent."""
    unity: ClassVar[Mapping[str, Value] | None] = {}
    """Settings at which the outputs sum to the delayed input; None where there are none (a source)."""
    given: ClassVar[Mapping[str, Value]] = {}
    """The values that `of` made this engine of: every node of it has them."""
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {}
    """Settings for a use each, by name: values by parameter, in their units; others keep their defaults."""
    limits: ClassVar[bool] = False
    """Whether it is there so that what is heard does not exceed full scale: sources are put before it."""
    lines: ClassVar[Mapping[str, str]] = {}
    """Lines of its own that a running node takes, see `take`: what follows the node's name, for help, by the
    line's first word: ``{"say": "TEXT"}`` takes ``say NODE TEXT``."""
    tolerance: ClassVar[float] = 0.0
    """Largest difference from the independent reference of the tests; 0 is bit for bit."""
    KERNEL: ClassVar[Kernel | PythonKernel]
    in_python: ClassVar[bool] = False
    """Whether a `process` of its own takes the place of the ``KERNEL``; who inherits one has to say so."""

    connected: frozenset[str] = frozenset()
    """Inputs that something is connected to; the host says it before `prepare`."""
    hop: int | None = None
    """Block rule: None takes any size; a number, exactly that many samples a call (the host re-blocks)."""
    grid: int = 1
    """Changes of parameters wait for a multiple of this position: the hop of what is re-blocked."""
    offline_block: ClassVar[int] = 0
    """Samples that it gains from having at once when rendered: a network that takes many chunks at once."""
    stretch: tuple[int, int] | None = None
    """For one that keeps hops itself, where its work is measured: a position from which on a block of any
    size has most to do, and samples from there in which there is as much to do as always. Constant after
    `prepare`."""
    origin: int = 0
    """Samples by which the blocks begin before the processor's own time, modulo the hop; the host says it."""
    waiting: int = 0
    """Samples of the latency that are due to re-blocking; constant after `prepare`."""
    calls_python: bool = False
    """Whether its kernel calls the interpreter: then it runs in a worker process only, as one in Python."""
    runs_on: str = ""
    """What does its work, where there is a choice, in words for reports; known after `prepare`."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Take the `process` of an engine in Python for what its kernel calls."""
        super().__init_subclass__(**arguments)
        if "KERNEL" in vars(cls):
            cls.in_python = False
        elif "process" in vars(cls) and (cls.in_python or not hasattr(cls, "KERNEL")):
            cls.in_python = True
            cls._process = vars(cls)["process"]  # type: ignore[method-assign]
            cls.process = Processor.process  # type: ignore[method-assign]

    def __init__(self, /, **values: Value) -> None:
        self.values = check_values(self.id, self.parameters, values, self.defaults(values))
        self.rate = 0
        self.block = 0
        self.channels = 0
        self.latency = 0
        self.tail = 0
        self.takeovers = np.zeros(1, np.int64)
        """Times that something else took over from what it runs on; a plan puts a word of its own here."""
        self._state: tuple[NDArray[Any], ...] = ()
        self._fresh: tuple[NDArray[Any], ...] = ()
        self._table = np.zeros((0, 4), np.int64)
        self._ramps = np.zeros((0, 0))
        self._context = np.zeros(3, np.int64)
        self._position, self._parameters, self._samples = 0, 0, 0

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> type[Self]:
        """The engine as it declares itself with these values: an engine whose ports or parameters depend on
        some of them, such as a model, gives a subclass in which these are the defaults.

        `UserError` if there is none such.
        """
        return cls

    @classmethod
    def model_files(cls, values: Mapping[str, Value]) -> Mapping[str, Path]:
        """The files of the models that values name, by parameter.

        A rack file keeps their hashes, so that another model under the same name is noticed.
        """
        return {}

    def defaults(self, values: Mapping[str, Value]) -> Mapping[str, Value]:
        """Defaults that depend on other values, such as those of a preset."""
        return {}

    def fit(self, rate: int) -> None:
        """Settle what depends on the rate (Hz) and has to be known before `prepare`, such as ``hop``."""

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State arrays (at most three dimensions, C-contiguous) for ``rate``, ``block`` and ``channels``.

        Also sets ``latency`` and ``tail``. Called by `prepare`; engines implement it. One in Python that
        remembers nothing need not.
        """
        if not self.in_python:
            raise NotImplementedError
        return ()

    def prepare(self, rate: int, block: int, fixed: bool = False, channels: int = 2) -> None:
        """Allocate and compile for a rate (Hz), a block and a number of channels.

        Blocks have at most ``block`` samples; exactly, if ``fixed``.

        Raises
        ------
        UserError
            The rate or the channel count is not supported.
        """
        if not RATES[0] <= rate <= RATES[1] or (self.rates is not None and rate not in self.rates):
            accepted = f"{RATES[0]} to {RATES[1]}" if self.rates is None else ", ".join(map(str, self.rates))
            raise UserError(f"{self.id}: a rate of {rate} Hz is not supported ({accepted} Hz)")
        if not 1 <= channels <= MAXIMUM_CHANNELS:
            raise UserError(f"{self.id}: {channels} channels are not supported (1 to {MAXIMUM_CHANNELS})")
        self.rate, self.block, self.fixed, self.channels = rate, block, fixed, channels
        self.latency = self.tail = 0
        self._state = tuple(self.allocate())
        self._fresh = tuple(array.copy() for array in self._state)
        self._table = state_table(self._state)
        self._ramps = self.ramps()
        self._context = np.array([0, rate, 0], np.int64)
        if self.in_python:
            from rtaudio.kernel import PythonKernel

            self.KERNEL = PythonKernel(self)  # type: ignore[misc]
        self.KERNEL.address  # noqa: B018 - compiles

    def targets(self) -> dict[str, float]:
        """Every parameter's value as the kernel reads it."""
        return {parameter.id: parameter.to_kernel(self.values[parameter.id]) for parameter in self.parameters}

    def ramps(self) -> NDArray[np.float64]:
        """Ramps of the parameters, at rest: float64[parameters, RAMP_WORDS]."""
        from rtaudio.kernel import HIGHEST, LOWEST, resting

        ramps = resting(list(self.targets().values()))
        for ramp, parameter in zip(ramps, self.parameters, strict=True):
            if parameter.scale == "log" or (parameter.scale == "dB" and not parameter.silence):
                ramp[LOWEST] = parameter.to_kernel(parameter.minimum)
                ramp[HIGHEST] = parameter.to_kernel(parameter.maximum)
        return ramps

    def kernel(self) -> tuple[int, NDArray[np.int64]]:
        """Address of the kernel, and the table of its state arrays (kept alive by this object)."""
        return self.KERNEL.address, self._table

    def ports(self, which: Sequence[Port]) -> int:
        """Number of channels of some ports together, for the prepared stream."""
        return sum(self.channels if port.channels is None else port.channels for port in which)

    def process(self, block: Block, out: Block) -> None:
        """Run the kernel once, outside any graph.

        Parameters
        ----------
        block
            (input channels of all ports, samples) float32, C-contiguous.
        out
            (output channels of all ports, samples) float32, C-contiguous; overwritten.

        Raises
        ------
        ValueError
            The shapes are not those of the prepared ports, or the length is not the hop.
        RuntimeError
            The kernel reported a failure.
        """
        from rtaudio import kernel

        expected = self.ports(self.inputs), self.ports(self.outputs)
        n = out.shape[1]
        if (block.shape[0], out.shape[0]) != expected or (block.shape[0] and block.shape[1] != n):
            shapes = f"{block.shape} and {out.shape}"
            raise ValueError(f"{self.id}: blocks of {shapes}, want {expected} channels, equal lengths")
        if n > self.block or (self.hop is not None and n != self.hop):
            raise ValueError(f"{self.id}: {n} samples, want {self.hop or f'at most {self.block}'}")
        inputs, outputs = kernel.addresses(block), kernel.addresses(out)
        status = kernel.call(
            self.KERNEL.address,
            self._table.ctypes.data,
            inputs.ctypes.data,
            outputs.ctypes.data,
            n,
            self._ramps.ctypes.data,
            self._context.ctypes.data,
        )
        self._context[0] += n
        if status:
            reason = self.error(status) or f"the kernel failed with status {status}"
            raise RuntimeError(f"{self.id}: {reason}")

    def _process(self, block: Block, out: Block) -> None:
        """The `process` of an engine in Python."""
        raise NotImplementedError

    def error(self, status: int) -> str:
        """Why the kernel last failed, in a line; empty where that is not known.

        Parameters
        ----------
        status
            What it returned; 0: its output was not finite.
        """
        if status == 0:
            return NO_NUMBER
        return self.KERNEL.raised if self.in_python else ""  # type: ignore[union-attr]

    def take(self, word: str, text: str) -> dict[str, Any]:
        """Do a line that begins with a word of `lines`, at once: what takes long is left to a thread.

        Parameters
        ----------
        word
            Of `lines`.
        text
            What follows the node's name; empty where nothing does.

        Returns
        -------
        ``answer``, in words, and what else programs may want to know, in what JSON has.

        Raises
        ------
        UserError
            The line is wrong: nothing has changed.
        """
        raise NotImplementedError

    def told(self) -> dict[str, Any]:
        """How what its `lines` have begun goes on, in what JSON has: ``words``, and the same for programs.

        Asked for several times a second while somebody watches; who watches is told when it has changed.
        """
        return {}

    def run_python(self, block: Block, out: Block, position: int, parameters: int) -> None:
        """Let an engine in Python process a block at a position, with the ramps at an address."""
        self._position, self._parameters, self._samples = position, parameters, out.shape[1]
        returned: object = self._process(block, out)  # type: ignore[func-returns-value]
        if returned is not None:
            raise TypeError("process(block, out) writes into out and returns nothing")

    @property
    def position(self) -> int:
        """In `process` of an engine in Python: absolute position of the block's first sample."""
        return self._position

    def curve(self, parameter: str) -> NDArray[np.float64]:
        """In `process` of an engine in Python: a parameter's value at every sample of the block, (samples,).

        In the kernel's unit: dB as an amplitude, a choice as its number.
        """
        from rtaudio.kernel import curve

        index = [declared.id for declared in self.parameters].index(parameter)
        found = np.empty(self._samples)
        curve(self._parameters, index, self._position, found)
        return found

    def reset(self) -> None:
        """Make the state what `prepare` made it."""
        for array, fresh in zip(self._state, self._fresh, strict=True):
            array[...] = fresh
        self._context[0] = 0

    def memory(self) -> list[NDArray[Any]]:
        """The state arrays: what `realtime.lock_memory` locks."""
        return list(self._state)

    def copies(self) -> list[tuple[int, int, int]]:
        """What `reset` copies, for compiled code: address of a state array, of its first content, bytes."""
        pairs = zip(self._state, self._fresh, strict=True)
        return [
            (array.ctypes.data, fresh.ctypes.data, array.nbytes) for array, fresh in pairs if array.nbytes
        ] + (self.KERNEL.copies() if self.in_python else [])  # type: ignore[union-attr]

    def release(self) -> None:
        """Free the state. Only when nothing can run the kernel any more."""
        self._state = self._fresh = ()
        self._table = np.zeros((0, 4), np.int64)


def check_values(
    owner: str, parameters: Sequence[Parameter], values: Mapping[str, Value], defaults: Mapping[str, Value]
) -> dict[str, Value]:
    """Every parameter's value: the given one, else that of ``defaults``, else its own.

    `UserError` for an unknown name or a value that does not fit.
    """
    known = {parameter.id: parameter for parameter in parameters}
    for name in values:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise UserError(f"{owner}: no parameter {name!r}{nearest(name, known)} ({listed})")
    return {
        name: parameter.checked(values.get(name, defaults.get(name, parameter.default)), owner)
        for name, parameter in known.items()
    }


def state_table(arrays: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """The table that a kernel's ``state`` points to: per array its address and up to three dimensions."""
    table = np.zeros((len(arrays), 4), np.int64)
    for row, array in zip(table, arrays, strict=True):
        if not array.flags.c_contiguous or array.ndim > 3:
            raise ValueError(f"a state array must be C-contiguous, with at most 3 dimensions: {array.shape}")
        row[0] = array.ctypes.data
        row[1 : 1 + array.ndim] = array.shape
    return table
