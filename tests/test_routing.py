"""The host's own processors: what re-blocking costs, and that copies, sums and delays are exact."""

from math import gcd, lcm

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtaudio.kernel import channel, kernel, position, rate, value
from rtaudio.native import i64_vector, int64_at
from rtaudio.processor import Parameter, Port, Processor
from rtaudio.routing import Align, Reblock, Sum, Through

RATE = 48_000
SIZES = range(1, 49)
"""Host blocks and hops of the grid."""


@kernel
def hop_identity(state, inputs, outputs, n, params, context):
    """Copy a hop; fails unless it is called with whole hops in their places, at the right rate."""
    hop, channels = i64_vector(state, 0)
    if n != hop or position(context) % hop != 0 or rate(context) != 48_000:
        return 1
    for c in range(channels):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        for i in range(n):
            y[i] = x[i]
    return 0


class HopIdentity(Processor):
    id = "hop_identity"
    KERNEL = hop_identity

    def __init__(self, hop):
        super().__init__()
        self.hop = hop

    def allocate(self):
        return (np.array([self.hop, self.channels], np.int64),)


@kernel
def hop_stamp(state, inputs, outputs, n, params, context):
    """Write, per sample, the hop's position, a parameter there, the offline flag, and how often it ran."""
    calls = i64_vector(state, 0)
    calls[0] += 1
    at = position(context)
    for i in range(n):
        channel(outputs, 0, n)[i] = at
        channel(outputs, 1, n)[i] = value(params, 0, at + i)
        channel(outputs, 2, n)[i] = int64_at(context, 3)[2]
        channel(outputs, 3, n)[i] = calls[0]
    return 5 if at == 64 else 0


class HopStamp(Processor):
    id = "hop_stamp"
    inputs = ()
    outputs = (Port("out", 4),)
    parameters = (Parameter("level", 2.5, 0.0, 10.0),)
    version, summary, rates, lane = 3, "Writes what it sees", (RATE, 44_100), 1
    fallback, unity, tolerance = None, None, 0.25
    KERNEL = hop_stamp
    hop = 16

    def allocate(self):
        self.latency, self.tail = 7, 11
        return (np.zeros(1, np.int64),)


DECLARATIONS = (
    *("id", "version", "summary", "inputs", "outputs", "parameters"),
    *("rates", "lane", "fallback", "unity", "tolerance"),
)


def run(processor, signal, partition):
    """Feed a (channels, samples) signal in blocks of the given lengths."""
    out = np.full((processor.ports(processor.outputs), signal.shape[1]), np.nan, np.float32)
    begin = 0
    for n in partition:
        block = np.ascontiguousarray(signal[:, begin : begin + n])
        played = np.full((out.shape[0], block.shape[1]), np.nan, np.float32)
        processor.process(block, played)
        out[:, begin : begin + n] = played
        begin += n
    assert begin == signal.shape[1]
    return out


def numbered(channels, samples):
    """A signal in which no two samples are alike, and none is 0."""
    return np.arange(1, channels * samples + 1, dtype=np.float32).reshape(channels, samples)


def delayed(signal, samples):
    """A (channels, n) signal, later by a number of samples and as long."""
    return np.pad(signal, ((0, 0), (samples, 0)))[:, : signal.shape[1]]


# ------------------------------------------------------------------------------------------- re-blocking


def least_delay(block, hop):
    """The least delay with which hops of a stream in fixed blocks can be played, by trying every one.

    When the block that holds sample t is played, the host has the input up to the block's end. Sample t plays
    what the hop of sample t - delay gave, which is known from the end of that hop on.
    """
    t = np.arange(3 * lcm(block, hop))
    known = (t // block + 1) * block
    for delay in range(2 * hop):
        played = t[t >= delay] - delay
        if np.all((played // hop + 1) * hop <= known[t >= delay]):
            return delay
    raise AssertionError


@pytest.mark.parametrize("hop", SIZES)
def test_fixed_blocks_cost_the_least_that_is_possible(hop):
    for block in SIZES:
        reblock = Reblock(HopIdentity(hop))
        reblock.prepare(RATE, block, True, 1)
        assert reblock.latency == hop - gcd(block, hop) == least_delay(block, hop)
        signal = numbered(1, 2 * lcm(block, hop) + block)
        out = run(reblock, signal, [block] * (signal.shape[1] // block))
        np.testing.assert_array_equal(out, delayed(signal, reblock.latency))


@pytest.mark.parametrize("hop", SIZES)
def test_varying_blocks_cost_one_sample_less_than_the_hop(hop):
    reblock = Reblock(HopIdentity(hop))
    reblock.prepare(RATE, 48, False, 1)
    # Blocks of one sample are a partition too, and the worst.
    assert reblock.latency == hop - 1 == least_delay(1, hop)
    for block in SIZES:
        reblock.reset()
        signal = numbered(1, 5 * block + 2 * hop)
        partition = [block] * (signal.shape[1] // block)
        partition.append(signal.shape[1] - sum(partition))
        np.testing.assert_array_equal(run(reblock, signal, partition), delayed(signal, hop - 1))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 48), st.lists(st.integers(0, 100), min_size=1, max_size=30))
def test_any_partition_gives_the_same(hop, partition):
    reblock = Reblock(HopIdentity(hop))
    reblock.prepare(RATE, 100, False, 2)
    signal = numbered(2, sum(partition))
    np.testing.assert_array_equal(run(reblock, signal, partition), delayed(signal, reblock.latency))


def test_the_inner_processor_sees_its_hops_positions_and_parameters():
    reblock = Reblock(HopStamp())
    reblock.prepare(RATE, 24, True, 2)
    assert reblock.latency == 7 + 16 - 8
    assert reblock.tail == 11
    out = np.zeros((4, 24), np.float32)
    played = []
    for _ in range(2):
        reblock.process(np.zeros((0, 24), np.float32), out)
        played.append(out.copy())
    position_played, level, offline, calls = np.hstack(played)
    wanted = np.arange(48) - 8
    np.testing.assert_array_equal(position_played, np.where(wanted < 0, 0, wanted // 16 * 16))
    np.testing.assert_array_equal(level, np.where(wanted < 0, 0, np.float32(2.5)))
    np.testing.assert_array_equal(calls, np.where(wanted < 0, 0, wanted // 16 + 1))
    assert not offline.any()
    reblock.process(np.zeros((0, 24), np.float32), out)
    with pytest.raises(RuntimeError, match="status 5"):  # The hop at 64 is complete in this block.
        reblock.process(np.zeros((0, 24), np.float32), out)


def test_a_reset_gives_the_first_run_again():
    reblock = Reblock(HopIdentity(12))
    reblock.prepare(RATE, 32, True, 2)
    signal = numbered(2, 320)
    first = run(reblock, signal, [32] * 10)
    reblock.reset()
    np.testing.assert_array_equal(run(reblock, signal, [32] * 10), first)


def test_reblocking_keeps_what_the_inner_processor_declares():
    inner = HopStamp(level=4.0)
    reblock = Reblock(inner)
    for name in DECLARATIONS:
        assert getattr(reblock, name) == getattr(inner, name), name
    assert reblock.values == {"level": 4.0}
    assert reblock.hop is None


# ------------------------------------------------------------------------------------- copies, sums, delays


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 200), st.integers(1, 3), st.lists(st.integers(1, 64), min_size=1, max_size=20))
def test_align_delays(samples, width, partition):
    align = Align(width, samples)
    align.prepare(RATE, 64, False, 2)
    assert align.latency == samples
    signal = numbered(width, sum(partition))
    np.testing.assert_array_equal(run(align, signal, partition), delayed(signal, samples))


@pytest.mark.parametrize("terms", [1, 2, 3, 7])
@pytest.mark.parametrize("width", [1, 2, 5])
def test_sum_adds_in_order(width, terms):
    total = Sum(width, terms)
    total.prepare(RATE, 50, False, 2)
    signal = np.random.default_rng(terms).standard_normal((terms * width, 150)).astype(np.float32)
    expected = signal[:width].copy()
    for term in range(1, terms):
        expected += signal[term * width : (term + 1) * width]
    np.testing.assert_array_equal(run(total, signal, [50, 1, 49, 50]), expected)


def test_through_copies_every_port():
    through = Through((Port("a"), Port("b", 1), Port("c", 3)))
    through.prepare(RATE, 40, False, 2)
    signal = numbered(6, 120)
    np.testing.assert_array_equal(run(through, signal, [40, 40, 17, 23]), signal)
    assert through.latency == 0
