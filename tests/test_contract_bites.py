"""The contract's checks against processors that are sound, and ones that are broken in one way each."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import ClassVar

import contract
import numba
import numpy as np
import pytest
from contract import Case
from numba import types

from rtaudio import executor
from rtaudio.errors import UserError
from rtaudio.graph import Composite, Mapped, parameters_of
from rtaudio.kernel import Kernel, channel, kernel, position, power_of_two, ring_read, ring_write, value
from rtaudio.native import KERNEL, compiled, f32_matrix, f64_vector, i64_vector
from rtaudio.processor import Parameter, Port, Processor

# ------------------------------------------------------------------------------------------- sound processors

GAIN, MIX = 0, 1
LATE = 5
(
    NONE,
    COEFFICIENT_OF_N,
    GAIN_OF_THE_BLOCK,
    RAMP_FROM_THE_BLOCK,
    READS_ITS_LAST_OUTPUT,
    ONE_LATER,
    TURNED,
    UNEVEN,
    WRAPS,
    HUMS,
    ZERO_BY_ZERO,
    DIVIDES_TINY,
    GIVES_UP_WHEN_LOUD,
    INFINITE_WHEN_LOUD,
    GIVES_UP_ON_ZERO_RUNS,
) = range(15)


@kernel
def filter_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """A delayed one-pole low-pass, mixed with its input; wrong in the way that its state says."""
    lines, lows, words = f32_matrix(state, 0), f64_vector(state, 1), i64_vector(state, 2)
    late, bug = words[0], words[1]
    at = position(context)
    share = 0.3
    if bug == COEFFICIENT_OF_N:
        share = 0.3 * (1.0 - 1e-4 * n)
    for c in range(lines.shape[0]):
        x, y, low = channel(inputs, c, n), channel(outputs, c, n), lows[c]
        first = y[0]
        ring_write(lines[c], at, x, n)
        ring_read(lines[c], at - late - (1 if bug == ONE_LATER else 0), y, n)
        if bug == GIVES_UP_ON_ZERO_RUNS and n > 1 and x[0] == 0.0 and x[n - 1] == 0.0:
            return 1
        for i in range(n):
            gain = value(params, GAIN, at if bug == GAIN_OF_THE_BLOCK else at + i)
            mix = value(params, MIX, at + n if bug == RAMP_FROM_THE_BLOCK else at + i)
            sample = y[i]
            low += share * (sample - low)
            out = gain * ((1.0 - mix) * sample + mix * low)
            if bug == READS_ITS_LAST_OUTPUT and i == 0:
                out += 1e-3 * first if abs(first) < 10.0 else 0.0
            elif bug == TURNED:
                out = -out
            elif bug == UNEVEN and (at + i) % 1000 == 999:
                out *= 1.00001
            elif bug == WRAPS and at > 2**31:
                out = 0.0
            elif bug == HUMS:
                out += 1e-12
            elif bug == ZERO_BY_ZERO:
                out *= low / low
            elif bug == DIVIDES_TINY and x[i] != 0.0:
                tiny = x[i] * np.float32(1e-30)
                out += 0.0 * (tiny / tiny)
            elif bug == GIVES_UP_WHEN_LOUD and abs(x[i]) >= 1.0:
                return 1
            elif bug == INFINITE_WHEN_LOUD and abs(x[i]) >= 1.0:
                out = np.inf
            y[i] = np.float32(out)
        lows[c] = low
    return 0


class Sound(Processor):
    """A processor without faults."""

    id = "sound"
    summary = "Delayed low-pass"
    parameters = (
        Parameter("gain", 0.0, -100.0, 12.0, "dB", "dB", silence=True),
        Parameter("mix", 0.5),
        Parameter("spare", 0.5, automatable=False),
        Parameter("kind", "a", scale="choice", choices=("a", "b"), automatable=False),
    )
    unity: ClassVar = {"mix": 0.0}
    tolerance = 1e-6
    KERNEL = filter_kernel
    bug = NONE

    def allocate(self):
        self.latency = LATE
        self.tail = 64
        return (
            np.zeros((self.channels, power_of_two(LATE + 1 + self.block)), np.float32),
            np.zeros(self.channels),
            np.array([LATE, self.bug], np.int64),
        )


class SoundHop(Sound):
    """The same in hops."""

    id = "sound-hop"
    hop = 96


class SoundComposite(Composite):
    """Two of them in a row."""

    id = "sound-composite"
    summary = "Two low-passes"
    nodes: ClassVar = {"first": Sound, "second": SoundHop}
    edges = ("in -> first", "first -> second", "second -> out")
    mapped = (Mapped("gain", "first", "gain"), Mapped("mix", "first", "mix"), Mapped("mix2", "second", "mix"))
    unity: ClassVar = {"mix": 0.0, "mix2": 0.0}
    tolerance = 1e-6


@kernel
def wide_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    channels = i64_vector(state, 0)[0]
    side = channel(inputs, channels, n)
    for c in range(channels):
        x, low, high = channel(inputs, c, n), channel(outputs, c, n), channel(outputs, channels + c, n)
        for i in range(n):
            low[i] = np.float32(0.25) * x[i] + side[i]
            high[i] = np.float32(0.75) * x[i] - side[i]
    return 0


class SoundWide(Processor):
    """Two inputs, one of them mono, and two outputs."""

    id = "sound-wide"
    summary = "Splits"
    inputs = (Port("in"), Port("side", 1, optional=True))
    outputs = (Port("low"), Port("high"))
    fallback = "low"
    KERNEL = wide_kernel

    def allocate(self):
        return (np.array([self.channels], np.int64),)


@kernel
def source_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    words = i64_vector(state, 0)
    for c in range(words[0]):
        y = channel(outputs, c, n)
        seed = words[1 + c]
        for i in range(n):
            seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
            y[i] = np.float32(seed) / np.float32(2**31) - np.float32(0.5)
        words[1 + c] = seed
    return 0


class SoundSource(Processor):
    """Noise, always the same."""

    id = "sound-source"
    summary = "Noise"
    inputs = ()
    unity = None
    KERNEL = source_kernel

    def allocate(self):
        return (np.arange(self.channels, 2 * self.channels + 1, dtype=np.int64),)


ALL_SOUND = (Sound, SoundHop, SoundComposite, SoundWide, SoundSource)


def on_case(check):
    """A check as a function of an engine, in stereo at its defaults and at unity."""

    def run(engine):
        check(Case(engine), 2)
        if engine.unity:
            check(Case(engine, engine.unity, "unity"), 2)

    return run


def declarations(engine):
    contract.check_declarations(
        Sound.id if issubclass(engine, Sound) and not engine.hop else engine.id, engine
    )


CHECKS = {
    "partition": on_case(contract.check_partition),
    "events": on_case(contract.check_events),
    "reset": on_case(contract.check_reset),
    "latency": on_case(contract.check_latency),
    "silence": on_case(contract.check_silence),
    "hostile": on_case(contract.check_hostile),
    "memory": on_case(contract.check_memory),
    "llvm": lambda engine: contract.check_llvm(Case(engine)),
    "declarations": declarations,
    "tail": on_case(contract.check_tail),
}


@pytest.mark.parametrize(
    ("check", "engine"),
    [
        (check, engine)
        for check in CHECKS
        for engine in ALL_SOUND
        if check != "events" or parameters_of(engine)
    ],
    ids=lambda value: value if isinstance(value, str) else value.id,
)
def test_the_sound_ones_pass(check, engine):
    CHECKS[check](engine)


@pytest.mark.parametrize("engine", ALL_SOUND, ids=lambda engine: engine.id)
def test_the_sound_ones_pass_in_all_settings(engine):
    found = contract.cases(engine)
    assert len({str(case) for case in found}) == len(found)
    for case in found:
        contract.check_partition(case, 1)
        contract.check_latency(case, 1)


def test_settings_are_representative():
    labels = [case.label for case in contract.cases(Sound)]
    assert labels == ["defaults", "unity", "kind=b", "random0", "random1", "random2"]
    assert [case.at_unity for case in contract.cases(Sound)] == [False, True, *[False] * 4]


# ------------------------------------------------------------------------------------------ broken processors


def broken(base, name, **attributes):
    return type(f"{base.__name__}_{name}", (base,), attributes)


def with_bug(bug, base=Sound):
    return broken(base, f"bug{bug}", bug=bug)


def composite_of(engine, second=SoundHop):
    return broken(SoundComposite, "broken", nodes={"first": engine, "second": second})


class ForgetsOneArray(Sound):
    """Its reset leaves the memory of the filter."""

    def reset(self):
        kept = self._state[1].copy()
        super().reset()
        self._state[1][...] = kept


class ForgetsThePosition(Sound):
    """Its state is new, but it does not start again."""

    bug = UNEVEN

    def reset(self):
        at = int(self._context[0])
        super().reset()
        self._context[0] = at


class PreparesOnce(Sound):
    """A second preparation finds the memory of the first run."""

    def allocate(self):
        found = super().allocate()
        self.first = getattr(self, "first", found[1])
        return found[0], self.first, found[2]


class EarlierThanDeclared(Sound):
    """Declares one sample too many."""

    def allocate(self):
        found = super().allocate()
        self.latency += 1
        return found


class LaterThanDeclared(Sound):
    """Declares one sample too few."""

    def allocate(self):
        found = super().allocate()
        self.latency -= 1
        return found


class ShortTail(Sound):
    """Rings on for longer than it says."""

    def allocate(self):
        found = super().allocate()
        self.tail = 10
        return found


class RestartsElsewhere(SoundSource):
    """A source that goes on after a reset."""

    def reset(self):
        kept = self._state[0].copy()
        super().reset()
        self._state[0][...] = kept


class LeaksInPython(Sound):
    """Keeps something of every call."""

    kept: ClassVar[list[bytes]] = []

    def process(self, block, out):
        super().process(block, out)
        self.kept.append(bytes(64))


_malloc = types.ExternalFunction("malloc", types.intp(types.intp))


@kernel
def leaking_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    lost = _malloc(64 + (n & 1))
    for c in range(f32_matrix(state, 0).shape[0]):
        y = channel(outputs, c, n)
        for i in range(n):
            y[i] = np.float32(0) if lost else np.float32(1)
    return 0


class CountingKernel(Kernel):
    """Compiled with what the host's kernels do without: reference counts, and the allocator."""

    @cached_property
    def compiled(self):
        return numba.cfunc(KERNEL, cache=True, nopython=True, error_model="numpy")(self.function)


class FastKernel(Kernel):
    """Compiled for numbers that are always finite."""

    @cached_property
    def compiled(self):
        return numba.cfunc(KERNEL, cache=True, nopython=True, error_model="numpy", _nrt=False, fastmath=True)(
            self.function
        )


class CheckedKernel(Kernel):
    """Compiled with Python's error model: a division by zero raises."""

    @cached_property
    def compiled(self):
        return numba.cfunc(KERNEL, cache=True, nopython=True, error_model="python", _nrt=False)(self.function)


@CountingKernel
def allocating_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    scratch = np.zeros(n, np.float32)
    for c in range(f32_matrix(state, 0).shape[0]):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        for i in range(n):
            scratch[i] = x[n - 1 - i]
        for i in range(n):
            y[i] = scratch[i]
    return 0


@CountingKernel
def listing_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    seen = [0.0]
    for i in range(n):
        seen.append(float(i))  # noqa: PERF401
    return int(seen[0])


@kernel
def raising_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    if n > 1_000_000:
        raise ValueError("too long")
    return 0


@compiled
def _refuses(n: int) -> int:
    if n > 1_000_000:
        raise ValueError("too long")
    return n


@kernel
def calling_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    return 0 if _refuses(n) else 1


@kernel
def unpacking_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    late, bug = i64_vector(state, 2)
    return 0 if late + bug else 1


@kernel
def printing_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    if n > 1_000_000:
        print(n)  # noqa: T201
    return 0


@CheckedKernel
def dividing_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    return n // i64_vector(state, 2)[0] - n // i64_vector(state, 2)[0]


@FastKernel
def hoping_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    for c in range(f32_matrix(state, 0).shape[0]):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        for i in range(n):
            y[i] = x[i] * np.float32(0.3) + np.float32(1)
    return 0


BAD_CODE = {
    "allocates": allocating_kernel,
    "grows a list": listing_kernel,
    "allocates in C": leaking_kernel,
    "raises": raising_kernel,
    "calls what raises": calling_kernel,
    "unpacks an array": unpacking_kernel,
    "prints": printing_kernel,
    "divides as Python does": dividing_kernel,
    "assumes finite numbers": hoping_kernel,
}


def replaced(number, **changes):
    """`Sound` with one parameter declared otherwise."""
    parameters = list(Sound.parameters)
    parameters[number] = dataclasses.replace(parameters[number], **changes)
    return {"parameters": tuple(parameters)}


class AcceptsAnything(Sound):
    """Takes unknown parameters."""

    def __init__(self, **values):
        super().__init__(**{name: given for name, given in values.items() if name != "no_such_parameter"})


class RefusesAChoice(Sound):
    """Declares a choice that it never takes."""

    def __init__(self, **values):
        super().__init__(**values)
        if self.values["kind"] == "b":
            raise UserError("not b")


class TakesAnyRate(Sound):
    """Does not look at the rate."""

    def prepare(self, rate, block, fixed=False, channels=2):
        super().prepare(48_000, block, fixed, channels)


class TakesNoChannel(Sound):
    """Does not look at the channel count."""

    def prepare(self, rate, block, fixed=False, channels=2):
        super().prepare(rate, block, fixed, max(1, min(channels, 64)))


class ChangesItsLatency(Sound):
    """Its latency is another after a reset."""

    def reset(self):
        super().reset()
        self.latency += 1


DECLARATIONS = {
    "another id": {"id": "other"},
    "no summary": {"summary": " "},
    "version 0": {"version": 0},
    "two outputs of one name": {"outputs": (Port("out"), Port("out"))},
    "two inputs of one name": {"inputs": (Port("in"), Port("in"))},
    "a port name with a dot": {"outputs": (Port("a.b"),), "fallback": "a.b"},
    "no outputs": {"outputs": (), "fallback": None},
    "too many channels": {"inputs": (Port("in", 65),)},
    "an optional first input": {"inputs": (Port("in", optional=True),)},
    "a fallback that is no output": {"fallback": "in"},
    "unity of an unknown parameter": {"unity": {"dry": 1.0}},
    "unity out of range": {"unity": {"mix": -1.0}},
    "a source with unity": {"inputs": ()},
    "two parameters of one name": {"parameters": (*Sound.parameters, Sound.parameters[0])},
    "a default out of range": replaced(1, default=2.0),
    "a default that is no choice": replaced(3, default="c"),
    "a choice twice": replaced(3, choices=("a", "a")),
    "no choices": replaced(3, choices=()),
    "an empty range": replaced(1, minimum=0.5, maximum=0.5),
    "a range upside down": replaced(1, minimum=1.0, maximum=0.0),
    "an infinite range": replaced(1, maximum=float("inf")),
    "a range of nan": replaced(1, minimum=float("nan")),
    "a log scale from 0": replaced(1, scale="log"),
    "half integers": replaced(1, scale="integer", maximum=1.5, default=1.0),
    "an unknown scale": replaced(1, scale="square"),
    "silence without dB": replaced(1, silence=True),
    "negative smoothing": replaced(1, smoothing=-1.0),
    "a parameter name with a dot": replaced(1, id="a.b"),
    "no rates": {"rates": ()},
    "a rate that the host has not": {"rates": (1000,)},
    "an unknown lane": {"lane": 3},
    "a hop of 0": {"hop": 0},
    "a tolerance of 1": {"tolerance": 1.0},
}

BROKEN = [
    ("partition", with_bug(COEFFICIENT_OF_N)),
    ("partition", with_bug(READS_ITS_LAST_OUTPUT)),
    ("partition", composite_of(with_bug(COEFFICIENT_OF_N))),
    ("events", with_bug(GAIN_OF_THE_BLOCK)),
    ("events", with_bug(RAMP_FROM_THE_BLOCK)),
    ("events", composite_of(with_bug(GAIN_OF_THE_BLOCK))),
    ("reset", ForgetsOneArray),
    ("reset", ForgetsThePosition),
    ("reset", PreparesOnce),
    ("reset", RestartsElsewhere),
    ("reset", composite_of(ForgetsOneArray)),
    ("latency", EarlierThanDeclared),
    ("latency", LaterThanDeclared),
    ("latency", broken(LaterThanDeclared, "hop", hop=96)),
    ("latency", with_bug(ONE_LATER)),
    ("latency", with_bug(TURNED)),
    ("latency", with_bug(UNEVEN)),
    ("latency", with_bug(WRAPS)),
    ("latency", broken(Sound, "unity", unity={})),
    ("latency", composite_of(LaterThanDeclared)),
    ("silence", with_bug(HUMS)),
    ("silence", with_bug(ZERO_BY_ZERO)),
    ("silence", composite_of(with_bug(HUMS))),
    ("silence", with_bug(GIVES_UP_ON_ZERO_RUNS)),
    ("hostile", with_bug(DIVIDES_TINY)),
    ("hostile", with_bug(GIVES_UP_WHEN_LOUD)),
    ("hostile", with_bug(INFINITE_WHEN_LOUD)),
    ("hostile", composite_of(with_bug(INFINITE_WHEN_LOUD))),
    ("memory", LeaksInPython),
    ("memory", broken(Sound, "leaks", KERNEL=leaking_kernel)),
    ("memory", broken(Sound, "allocates", KERNEL=allocating_kernel)),
    *(("llvm", broken(Sound, name.replace(" ", "_"), KERNEL=code)) for name, code in BAD_CODE.items()),
    ("llvm", composite_of(broken(Sound, "raises", KERNEL=raising_kernel))),
    *(
        ("declarations", broken(Sound, name.replace(" ", "_"), **changes))
        for name, changes in DECLARATIONS.items()
    ),
    ("declarations", AcceptsAnything),
    ("declarations", RefusesAChoice),
    ("declarations", TakesAnyRate),
    ("declarations", TakesNoChannel),
    ("declarations", ChangesItsLatency),
    ("tail", ShortTail),
    ("tail", composite_of(ShortTail, ShortTail)),
]


@pytest.mark.parametrize(
    ("check", "engine"), [pytest.param(*pair, id=f"{pair[0]}-{pair[1].__name__}") for pair in BROKEN]
)
def test_the_broken_ones_fail(check, engine):
    with pytest.raises(AssertionError):
        CHECKS[check](engine)


def test_a_wrong_delay_shows_at_other_settings_too():
    other = {"mix": 0.0, "spare": 1.0}
    contract.check_latency(Case(Sound, other, "other"), 2)
    assert not Case(Sound, other).at_unity
    with pytest.raises(AssertionError, match="declared"):
        contract.check_latency(Case(LaterThanDeclared, other, "other"), 2)


@pytest.mark.parametrize("wrong", ["miscounts", "lets through", "puts in ones"])
def test_an_entry_that_is_not_exact_fails(monkeypatch, wrong):
    """The host's part: what replaces and counts samples that are not finite."""
    replacement = np.float32(1 if wrong == "puts in ones" else 0)

    def enter(source, buffer, n, step):
        samples = source[: n * step : step]
        bad = ~np.isfinite(samples)
        buffer[:n] = samples if wrong == "lets through" else np.where(bad, replacement, samples)
        return int(bad.sum()) - (1 if wrong == "miscounts" and bad.any() else 0)

    monkeypatch.setattr(executor, "enter", enter)
    with pytest.raises(AssertionError):
        contract.check_hostile(Case(Sound), 2)


def test_an_engine_that_does_not_import_fails(monkeypatch):
    monkeypatch.setattr(contract, "registered", lambda: {"gone": "engines.no_such_module:Gone"})
    assert not contract.importable("gone")
    with pytest.raises(ImportError):
        contract.check_declarations("gone", contract.load("gone"))


def test_what_bad_code_leaves_in_the_llvm():
    """Every kind of bad code is told apart by the names it leaves, so none is found for another's reason."""
    found = {
        name: " ".join(contract.llvm_problems(contract.llvm_of(code))) for name, code in BAD_CODE.items()
    }
    for name in ("allocates", "grows a list"):
        assert "NRT_" in found[name]
    assert "malloc" in found["allocates in C"]
    for name in ("raises", "calls what raises", "unpacks an array", "divides as Python does"):
        assert "raises" in found[name], name
        assert "NRT_" not in found[name]
    assert "ValueError" in found["raises"]
    assert "_refuses" in found["calls what raises"]
    assert "unpacking_kernel" in found["unpacks an array"]
    assert "PySys" in found["prints"] or "PyLong" in found["prints"]
    assert "finite" in found["assumes finite numbers"]
    assert contract.llvm_problems(contract.llvm_of(filter_kernel)) == []
