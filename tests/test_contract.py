"""The processor contract, on every registered engine, and what the host promises when a processor fails."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import ClassVar

import contract
import numpy as np
import pytest
from contract import Case, cases, graph_of, load, sound, supports

from rtaudio import stream
from rtaudio.graph import Composite, Graph, Node, parameters_of
from rtaudio.kernel import channel, kernel, position, power_of_two, ring_read, ring_write
from rtaudio.native import f32_matrix, i64_vector
from rtaudio.plan import Plan
from rtaudio.processor import Parameter, Port, Processor
from rtaudio.routing import Align, Reblock, Sum, Through

NAMES = contract.engine_names()
ENGINES = [load(name) for name in NAMES if contract.importable(name)]
CASES = [case for engine in ENGINES for case in cases(engine)]
"""Every engine in every representative setting."""
PLAIN = [case for case in CASES if case.label in ("defaults", "unity")]
MOVING = [
    case
    for case in CASES
    if ("=" not in case.label or not issubclass(case.engine, Composite))
    and any(parameter.automatable for parameter in parameters_of(case.engine))
]


def channels_of(case: Case) -> tuple[int, ...]:
    """Mono and stereo; one of them for the settings that only change one choice."""
    if "=" in case.label:
        return (1 + sum(map(ord, case.label)) % 2,)
    return (1, 2)


def with_channels(selected: list[Case]) -> list[object]:
    return [
        pytest.param(case, channels, id=f"{case}-{channels}ch")
        for case in selected
        for channels in channels_of(case)
    ]


def apply(check: Callable[..., None], case: Case, channels: int, *more: object) -> None:
    if not supports(case, channels):
        pytest.skip(f"takes no {channels} channels")
    check(case, channels, *more)


def blocks_of(case: Case) -> tuple[int, ...]:
    """All block sizes; some for settings that only change one choice, and most of the random ones."""
    return contract.BLOCKS if case.label in ("defaults", "unity", "random0") else contract.FEW_BLOCKS


def test_there_are_engines():
    assert NAMES


@pytest.mark.parametrize("name", NAMES)
def test_declarations(name):
    contract.check_declarations(name, load(name))


@pytest.mark.parametrize(("case", "channels"), with_channels(CASES))
def test_partition(case, channels):
    apply(contract.check_partition, case, channels, blocks_of(case))


@pytest.mark.parametrize(("case", "channels"), with_channels(MOVING))
def test_partition_while_parameters_move(case, channels):
    apply(contract.check_events, case, channels, blocks_of(case))


@pytest.mark.parametrize(("case", "channels"), with_channels(CASES))
def test_reset_makes_it_new(case, channels):
    apply(contract.check_reset, case, channels)


@pytest.mark.parametrize(("case", "channels"), with_channels(CASES))
def test_latency_is_as_declared(case, channels):
    apply(contract.check_latency, case, channels)


@pytest.mark.parametrize(("case", "channels"), with_channels(CASES))
def test_silence_stays_silent(case, channels):
    apply(contract.check_silence, case, channels)


@pytest.mark.parametrize(("case", "channels"), with_channels(CASES))
def test_any_input_gives_finite_output(case, channels):
    apply(contract.check_hostile, case, channels)


@pytest.mark.parametrize(("case", "channels"), with_channels(CASES))
def test_the_largest_numbers_give_finite_output(case, channels):
    apply(contract.check_largest, case, channels)


@pytest.mark.parametrize(
    ("case", "channels"),
    [pytest.param(case, 1 if case.label == "unity" else 2, id=str(case)) for case in PLAIN],
)
def test_memory_does_not_grow(case, channels):
    apply(contract.check_memory, case, channels)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.id)
def test_compiled_code_is_fit_for_the_callback(engine):
    contract.check_llvm(Case(engine))


@pytest.mark.parametrize("made", [Through(), Sum(2, 2), Align(2, 5)], ids=lambda made: made.id)
def test_compiled_code_of_the_host_is_fit_for_the_callback(made):
    assert contract.llvm_problems(contract.llvm_of(made.KERNEL)) == []


def test_the_callback_itself_is_fit_for_the_callback():
    text = contract.llvm_without_cache(lambda: stream._Compiled().callback)
    assert contract.llvm_problems(text) == []


@pytest.mark.parametrize(("case", "channels"), with_channels(PLAIN))
def test_tail_is_as_declared(case, channels):
    apply(contract.check_tail, case, channels)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.id)
def test_six_channels(engine):
    for check in (
        contract.check_partition,
        contract.check_silence,
        contract.check_latency,
        contract.check_hostile,
    ):
        apply(check, Case(engine), 6)


# ------------------------------------------------------------------------------------------ a node that fails

LATE = 37
"""Latency of the processors that fail."""
STATUS, NAN, INFINITE, NAN_IN_SECOND = range(4)


@kernel
def failing_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """Half the input, delayed and turned; in blocks that touch a stretch of positions it fails."""
    lines, words = f32_matrix(state, 0), i64_vector(state, 1)
    at = position(context)
    channels = lines.shape[0]
    for c in range(channels):
        wet, copy = channel(outputs, c, n), channel(outputs, channels + c, n)
        ring_write(lines[c], at, channel(inputs, c, n), n)
        ring_read(lines[c], at - words[3], wet, n)
        for i in range(n):
            wet[i] *= np.float32(-0.5)
            copy[i] = wet[i]
    if at + n <= words[0] or at >= words[1]:
        return 0
    if words[2] == STATUS:
        for c in range(2 * channels):
            y = channel(outputs, c, n)
            for i in range(n):
                y[i] = np.float32(1e6)  # What a kernel leaves behind when it gives up is not to be heard.
        return 3
    place = n // 2
    bad = np.float32(np.inf) if words[2] == INFINITE else np.float32(np.nan)
    channel(outputs, channels if words[2] == NAN_IN_SECOND else 0, n)[place] = bad
    return 0


class Failing(Processor):
    id = "failing"
    summary = "Fails in a stretch of positions"
    outputs = (Port("out"), Port("copy"))
    unity = None
    parameters = (
        Parameter("begin", 1e9, 0, 1e9, "samples", "integer", automatable=False),
        Parameter("end", 1e9, 0, 1e9, "samples", "integer", automatable=False),
        Parameter("how", 0, 0, 3, "", "integer", automatable=False),
    )
    KERNEL = failing_kernel

    def allocate(self):
        self.latency = LATE
        words = [int(self.values[name]) for name in ("begin", "end", "how")]
        return (
            np.zeros((self.channels, power_of_two(LATE + self.block)), np.float32),
            np.array([*words, LATE], np.int64),
        )


class FailingHop(Failing):
    """The same, in hops."""

    id = "failing-hop"
    hop = 96


class FailingPair(Composite):
    id = "failing-pair"
    nodes: ClassVar = {"bad": Failing, "other": Failing}
    edges = ("in -> bad", "bad.out -> other", "other.out -> out")
    mapped = ()
    unity = None


@kernel
def ramp_source_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """A ramp that rises with the position and fails from one on."""
    words = i64_vector(state, 0)
    at = position(context)
    for c in range(words[0]):
        y = channel(outputs, c, n)
        for i in range(n):
            y[i] = np.float32((at + i) % 1024) / np.float32(1024)
    return 1 if at + n > words[1] else 0


class FailingSource(Processor):
    id = "failing-source"
    inputs = ()
    unity = None
    KERNEL = ramp_source_kernel

    def allocate(self):
        return (np.array([self.channels, 5000], np.int64),)


def smooth(n, channels=2):
    """A low tone, so that any click shows."""
    t = np.arange(n) / contract.RATE
    return np.array([0.8 * np.cos(2 * np.pi * (60 + 13 * c) * t) for c in range(channels)], np.float32)


def two_branches(engine, values):
    nodes = [Node("bad", engine, values), Node("good", Failing)]
    edges = ["bad.out -> out.bad", "in -> good", "good.out -> out.good"]
    if engine.inputs:
        edges.append("in -> bad")
    if len(engine.outputs) > 1:
        edges.append("bad.copy -> out.copy")
    return Graph(nodes, edges)


def run_graph(graph, signal, block, control=None):
    """Outputs by name, failures and statistics of a run; ``control`` is called before every block."""
    plan = Plan(graph, contract.RATE, block, len(signal))
    pieces = {}
    for at in range(0, signal.shape[1] // block * block, block):
        if control is not None:
            control(plan, at)
        for name, out in plan.process(np.ascontiguousarray(signal[:, at : at + block])).items():
            pieces.setdefault(name, []).append(out.copy())
    outputs = {name: np.concatenate(parts, axis=1) for name, parts in pieces.items()}
    result = SimpleNamespace(
        outputs=outputs, failed=plan.failed(), nodes=plan.statistics()["nodes"], latency=plan.latency
    )
    plan.close()
    return result


def delayed(signal, samples):
    late = np.concatenate([np.zeros((len(signal), samples)), signal.astype(float)], axis=1)
    return late[:, : signal.shape[1]]


@pytest.mark.parametrize("block", [64, 441, 1024])
@pytest.mark.parametrize("engine", [Failing, FailingHop], ids=lambda engine: engine.id)
@pytest.mark.parametrize("how", [STATUS, NAN, INFINITE, NAN_IN_SECOND])
def test_a_failing_node_gives_way_to_its_delayed_input(engine, how, block):
    signal, begin = smooth(16_384), 7001
    run = run_graph(two_branches(engine, {"begin": begin, "how": how}), signal, block)
    n = run.outputs["bad"].shape[1]
    assert run.failed == ["bad"]
    assert run.nodes["bad"]["failures"] == 1
    failed_at = run.nodes["bad"]["failed_at"]
    assert failed_at % block == 0
    assert failed_at <= begin + 96
    assert begin < failed_at + block + 96
    dry = delayed(signal, run.latency)[:, :n]
    contract.assert_gives_way(run.outputs["bad"], -0.5 * dry, dry, failed_at, contract.RATE)
    # The step is there, and cannot be heard; the tone itself starts with one, which does not count.
    cut = np.where(np.arange(n) < failed_at, -0.5 * dry, dry)
    assert np.abs(np.diff(cut[:, 1000:], axis=1)).max() > 0.1
    assert np.abs(np.diff(run.outputs["bad"][:, 1000:], axis=1)).max() < 0.03
    # The other output has no dry input: it falls silent.
    contract.assert_gives_way(run.outputs["copy"], -0.5 * dry, 0 * dry, failed_at, contract.RATE)
    # The other branch does not notice.
    well = run_graph(two_branches(engine, {}), signal, block)
    assert not well.failed
    assert np.array_equal(run.outputs["good"], well.outputs["good"])
    assert np.array_equal(run.outputs["bad"][:, :failed_at], well.outputs["bad"][:, :failed_at])


@pytest.mark.parametrize("how", [STATUS, NAN])
def test_a_failed_node_is_rearmed(how):
    signal, block = smooth(24_576), 256
    begin, again = 6_000, 12_288

    def control(plan, at):
        if at == again:
            assert plan.failed() == ["bad"]
            plan.rearm("bad")

    values = {"begin": begin, "end": begin + 10, "how": how}
    run = run_graph(two_branches(Failing, values), signal, block, control)
    assert not run.failed
    assert run.nodes["bad"]["failures"] == 1
    n = run.outputs["bad"].shape[1]
    dry = delayed(signal, LATE)[:, :n]
    failed_at = run.nodes["bad"]["failed_at"]
    before = run.outputs["bad"][:, :again], -0.5 * dry[:, :again], dry[:, :again]
    contract.assert_gives_way(*before, failed_at, contract.RATE)
    # Its state is new, what it heard before is gone: it fades in when what it plays is right again.
    since = np.arange(n) - (again + LATE)
    gain = contract.smoothstep(since / round(0.010 * contract.RATE))
    want = dry + gain * (-0.5 * dry - dry)
    assert np.abs(run.outputs["bad"] - want)[:, again:].max() < 1e-6
    well = run_graph(two_branches(Failing, {}), signal, block)
    assert np.array_equal(run.outputs["good"], well.outputs["good"])
    after = again + round(0.010 * contract.RATE) + LATE
    assert np.array_equal(run.outputs["bad"][:, after:], well.outputs["bad"][:, after:])


def test_a_node_that_fails_again_is_bypassed_again():
    signal, block = smooth(24_576), 256

    def control(plan, at):
        if at in (10_240, 15_360):
            plan.rearm("bad")

    run = run_graph(two_branches(Failing, {"begin": 5_000}), signal, block, control)
    assert run.failed == ["bad"]
    assert run.nodes["bad"]["failures"] == 3
    assert run.nodes["bad"]["failed_at"] == 15_360
    assert all(np.isfinite(out).all() for out in run.outputs.values())
    assert np.abs(run.outputs["bad"]).max() <= 1.5


def test_a_bypassed_node_that_fails_is_not_heard():
    signal = smooth(8192)
    graph = Graph([Node("bad", Failing, {"begin": 3_000}, bypass=True)], ["in -> bad", "bad.out -> out"])
    run = run_graph(graph, signal, 128)
    assert run.failed == ["bad"]
    assert np.array_equal(run.outputs["main"], delayed(signal, LATE).astype(np.float32))


def test_a_failing_node_in_a_chain_leaves_the_rest_alive():
    signal = smooth(16_384)
    nodes = [Node("a", Failing), Node("bad", Failing, {"begin": 6_000, "how": NAN}), Node("c", Failing)]
    run = run_graph(Graph(nodes, ["in -> a", "a.out -> bad", "bad.out -> c", "c.out -> out"]), signal, 512)
    assert run.failed == ["bad"]
    assert [run.nodes[name]["failures"] for name in "abc" if name in run.nodes] == [0, 0]
    n = run.outputs["main"].shape[1]
    dry = -0.5 * delayed(signal, 2 * LATE)[:, :n]
    heard = run.outputs["main"][:, LATE:] / -0.5  # What ``bad`` gave to the last node.
    want = -0.5 * dry[:, :-LATE], dry[:, :-LATE]
    contract.assert_gives_way(heard, *want, run.nodes["bad"]["failed_at"], contract.RATE)


def test_a_failing_node_inside_a_composite():
    class Pair(FailingPair):
        def __init__(self, **values):
            super().__init__(**values)
            self.graph = Graph([Node("bad", Failing, {"begin": 6_000}), Node("other", Failing)], self.edges)

    signal = smooth(16_384)
    run = run_graph(Graph([Node("pair", Pair)], ["in -> pair", "pair -> out"]), signal, 512)
    assert run.failed == ["pair/bad"]
    n = run.outputs["main"].shape[1]
    dry = delayed(signal, LATE)[:, :n]
    heard = run.outputs["main"][:, LATE:] / -0.5  # What ``bad`` gave to the other.
    want = -0.5 * dry[:, :-LATE], dry[:, :-LATE]
    contract.assert_gives_way(heard, *want, run.nodes["pair/bad"]["failed_at"], contract.RATE)


def test_a_failing_source_falls_silent():
    signal, block = smooth(16_384), 256
    run = run_graph(two_branches(FailingSource, {}), signal, block)
    assert run.failed == ["bad"]
    failed_at = run.nodes["bad"]["failed_at"]
    assert failed_at == 5000 // block * block
    n = run.outputs["bad"].shape[1]
    ramp = np.array([np.arange(n) % 1024 / 1024] * 2)
    # The other branch is later, so this one waits for it.
    assert not run.outputs["bad"][:, :LATE].any()
    heard, silence = run.outputs["bad"][:, LATE:], np.zeros((2, n - LATE))
    contract.assert_gives_way(heard, ramp[:, :-LATE], silence, failed_at, contract.RATE)


def test_failing_from_the_first_block():
    signal = smooth(4096)
    run = run_graph(two_branches(Failing, {"begin": 0}), signal, 64)
    assert run.failed == ["bad"]
    dry = delayed(signal, LATE)
    contract.assert_gives_way(run.outputs["bad"], 0 * dry, dry, 0, contract.RATE)


def test_rearming_a_hop_processor_between_hops():
    signal, block = smooth(24_576), 64

    def control(plan, at):
        if at == 12_800:
            plan.rearm("bad")

    run = run_graph(two_branches(FailingHop, {"begin": 6_000, "end": 6_001}), signal, block, control)
    well = run_graph(two_branches(FailingHop, {}), signal, block)
    assert not run.failed
    assert np.isfinite(run.outputs["bad"]).all()
    after = 12_800 + round(0.010 * contract.RATE) + run.latency + 2 * FailingHop.hop
    assert np.array_equal(run.outputs["bad"][:, after:], well.outputs["bad"][:, after:])
    assert np.array_equal(run.outputs["good"], well.outputs["good"])


def test_the_processors_that_fail_are_sound_otherwise():
    for engine in (Failing, FailingHop):
        case = Case(engine)
        contract.check_partition(case, 2)
        contract.check_reset(case, 2)
        contract.check_llvm(case)
    assert isinstance(contract.any_size(Case(FailingHop)), Reblock)
    assert len(graph_of(Case(Failing), 2).edges) == 3
    assert sound(2, 10).shape == (2, 10)
