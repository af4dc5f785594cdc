"""The device callback against a queue in Python: lengths, channels, files, fades, counts."""

import itertools
import time
from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stepped import above_15_khz, call, play_calls

from rtaudio import stream as stream_module
from rtaudio.counters import FILE_UNDERFLOWS, LATE, RECORD_OVERFLOWS, Counters
from rtaudio.graph import Graph, Node
from rtaudio.kernel import channel, kernel, position, power_of_two, ring_read, ring_write
from rtaudio.layout import CROSSFADE, DECLICK
from rtaudio.native import f32_matrix, i64_vector, write_release
from rtaudio.plan import Plan
from rtaudio.processor import Parameter, Port, Processor
from rtaudio.ring import Ring
from rtaudio.stream import (
    FILE,
    FILE_ENDED,
    FLAGGED,
    HISTORY_END,
    RAGGED,
    RECORD,
    RECORD_INPUT,
    Stream,
    reblocking,
)

RATE = 8_000
FADE, FALL = round(CROSSFADE * RATE), round(DECLICK * RATE)


@kernel
def lag_kernel(state, inputs, outputs, n, params, context):
    lines, at = f32_matrix(state, 0), position(context)
    for c in range(lines.shape[0]):
        ring_write(lines[c], at, channel(inputs, c, n), n)
        ring_read(lines[c], at - i64_vector(state, 1)[0], channel(outputs, c, n), n)
        for i in range(n):
            channel(outputs, c, n)[i] *= np.float32(0.5)
    return 0


class Lag(Processor):
    """Half of the input, some samples late."""

    id = "lag"
    parameters = (Parameter("samples", 3, 0, 500, scale="integer", automatable=False),)
    KERNEL = lag_kernel

    def allocate(self):
        self.latency = int(self.values["samples"])
        size = power_of_two(self.block + self.latency)
        return np.zeros((self.channels, size), np.float32), np.array([self.latency], np.int64)


@kernel
def sum_kernel(state, inputs, outputs, n, params, context):
    y = channel(outputs, 0, n)
    y[:] = np.float32(0)
    for c in range(i64_vector(state, 0)[0]):
        x = channel(inputs, c, n)
        for i in range(n):
            y[i] += x[i]
    return 0


class Sum(Processor):
    """All channels in one."""

    id = "sum"
    outputs = (Port("out", 1),)
    KERNEL = sum_kernel

    def allocate(self):
        return (np.array([self.channels], np.int64),)


LAG = 3


def lagging(channels=1, block=64, rate=RATE):
    return Plan(Graph([Node("lag", Lag)], ["in -> lag", "lag -> out"]), rate, block, channels)


def wire(channels=1, block=64, rate=RATE):
    return Plan(Graph([], ["in -> out"]), rate, block, channels)


def noise(samples, channels=1, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (samples, channels)).astype(np.float32)


def delayed(signal, samples):
    return np.concatenate([np.zeros((samples, signal.shape[1]), np.float32), signal])[: len(signal)]


class Queue:
    """What any host has to do that runs blocks of ``block``: samples wait until a block of them is there.

    ``wait`` zeros come first. ``short`` counts what was asked for and not there; it comes later then.
    """

    def __init__(self, block, wait):
        self.block, self.came, self.ready, self.short = block, [], [0.0] * wait, 0

    def call(self, samples):
        self.came += samples
        whole = len(self.came) // self.block * self.block
        self.ready += self.came[:whole]
        del self.came[:whole]
        self.short += max(0, len(samples) - len(self.ready))
        given, self.ready = self.ready[: len(samples)], self.ready[len(samples) :]
        return given


# Lengths


@pytest.mark.parametrize("block", range(1, 33))
def test_the_least_wait_is_b_minus_gcd(block):
    """Brute force: with it nothing is ever missing, and with one sample less something is."""
    for period in range(1, 65):
        least = reblocking(period, block)
        assert least == block - gcd(period, block)
        calls = block // gcd(period, block) + 1
        for wait, enough in ((least, True), (least - 1, False)):
            queue = Queue(block, max(wait, 0))
            for _ in range(calls if wait >= 0 else 0):
                queue.call([1.0] * period)
            assert wait < 0 or (queue.short == 0) == enough
    assert reblocking(0, block) == block - 1
    queue = Queue(block, max(0, block - 2))
    queue.call([1.0] * max(1, block - 1))
    assert queue.short == (1 if block > 1 else 0)


PERIODS = [
    (64, 64),
    (128, 64),
    (640, 64),
    (32, 64),
    (1, 64),
    (63, 64),
    (65, 64),
    (100, 64),
    (441, 64),
    (48, 480),
]
PERIODS += [(1024, 441), (17, 1), (128, 1), (5, 7), (1, 1), (300, 128), (1000, 8192), (511, 512)]


@pytest.mark.parametrize(("period", "block"), PERIODS)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_device_of_any_period_hears_the_plan_later_by_the_least(period, block, channels):
    stream = Stream(lagging(channels, block), period)
    assert stream.latency == reblocking(period, block)
    calls = -(-3 * block // period) + 5
    signal = noise(calls * period, channels)
    heard = play_calls(stream, signal, [period] * calls)
    np.testing.assert_array_equal(heard, delayed(np.float32(0.5) * signal, LAG + stream.latency))
    told = stream.plan.statistics()
    assert told["unfit_samples"] == 0
    assert told["callbacks"] == calls
    assert told["blocks"] == calls * period // block
    assert (told["period"], told["block"]) == (period, block)
    assert told["latency"] == {"total": LAG + stream.latency, "lag": LAG} | (
        {"device": stream.latency} if stream.latency else {}
    )
    assert stream.plan.position == told["blocks"] * block == stream.words[HISTORY_END]
    assert told["seconds"] == round(stream.plan.position / RATE, 3)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 70), st.lists(st.integers(1, 200), min_size=1, max_size=30), st.integers(1, 2))
def test_a_device_of_varying_lengths_hears_it_b_minus_1_samples_later(block, lengths, channels):
    stream = Stream(lagging(channels, block), 0)
    assert stream.latency == block - 1
    signal = noise(sum(lengths), channels)
    heard = play_calls(stream, signal, lengths)
    np.testing.assert_array_equal(heard, delayed(np.float32(0.5) * signal, LAG + block - 1))
    assert stream.plan.statistics()["unfit_samples"] == 0
    assert not stream.words[FLAGGED] & RAGGED


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 100),
    st.lists(st.integers(1, 120), min_size=1, max_size=20),
)
def test_what_is_not_there_is_silence_and_counted(block, period, lengths):
    """Any lengths, prepared for another: every sample is where it should be, or 0 and counted."""
    stream = Stream(wire(1, block), period)
    signal = noise(sum(lengths)) + np.float32(2)
    heard = play_calls(stream, signal, lengths)[:, 0]
    meant = delayed(signal, stream.latency)[:, 0]
    missing, done, at = [], 0, 0
    for length in lengths:
        while length:
            take = min(length, block - at % block)
            at, length = at + take, length - take  # noqa: PLW2901
            done = at // block * block
            missing += [i for i in range(at - take, at) if i - stream.latency >= done]
    expected = meant.copy()
    expected[missing] = 0
    np.testing.assert_array_equal(heard, expected)
    assert stream.plan.statistics()["unfit_samples"] == len(missing)
    assert bool(stream.words[FLAGGED] & RAGGED) == bool(missing)


@pytest.mark.parametrize(
    ("before", "after", "block"), [(64, 48, 64), (64, 100, 64), (128, 64, 128), (64, 1, 64)]
)
def test_adapting_mends_a_length_that_was_not_prepared_for(before, after, block):
    stream = Stream(wire(1, block), before)
    signal = noise(20_000)
    play_calls(stream, signal[: 4 * before], [before] * 4)
    play_calls(stream, signal[4 * before :], [after] * 8)
    at = 4 * before + 8 * after
    assert stream.words[FLAGGED] & RAGGED
    missing = stream.plan.statistics()["unfit_samples"]
    assert missing > 0
    stream.adapt(after)
    stream.words[FLAGGED] = 0
    assert stream.latency == reblocking(after, block)
    heard = play_calls(stream, signal[at:], [after] * 40)
    assert stream.plan.statistics()["unfit_samples"] == missing
    assert stream.plan.statistics()["period"] == after
    whole = delayed(signal, stream.latency)[at : at + 40 * after]
    np.testing.assert_array_equal(heard, whole)


def test_adapting_again_allows_for_calls_that_begin_anywhere_in_a_block():
    """64 and then 48 need a wait of 48 from the start of a block, but not from its third sample."""
    stream = Stream(wire(), 64)
    play_calls(stream, noise(67), [64, 3])
    stream.adapt(48)
    stream.words[FLAGGED] = 0
    assert stream.latency == 48
    play_calls(stream, noise(480), [48] * 10)
    assert stream.words[FLAGGED] & RAGGED
    stream.adapt(48)
    stream.words[FLAGGED] = 0
    assert stream.latency == 63
    missing = stream.plan.statistics()["unfit_samples"]
    play_calls(stream, noise(4800), [48] * 100)
    assert not stream.words[FLAGGED] & RAGGED
    assert stream.plan.statistics()["unfit_samples"] == missing


# Channels


MAPS = [
    # channels, inputs, outputs
    (1, [2], [0]),  # input 3 of a card
    (1, [7], [-1, -1, 0]),  # played on output 3 alone
    (2, [0, 0], [0, 1]),  # one microphone on both
    (2, [5, 1], [1, 0, -1, 0]),
    (3, [0, 1, 2], [2]),
    (1, [0], [0, 0]),
    (2, [0, 1], [-1, -1]),
    (2, None, None),
]


@pytest.mark.parametrize(("channels", "inputs", "outputs"), MAPS)
@pytest.mark.parametrize(("period", "block"), [(64, 64), (48, 64), (17, 5)])
def test_channels_go_where_the_maps_say(channels, inputs, outputs, period, block):
    stream = Stream(lagging(channels, block), period, inputs, outputs)
    places = list(range(channels)) if inputs is None else inputs
    played = list(range(channels)) if outputs is None else outputs
    assert (stream.inputs, stream.outputs) == (max(places) + 1, len(played))
    signal = noise(40 * period, stream.inputs)
    meant = delayed(np.float32(0.5) * signal[:, places], LAG + stream.latency)
    silence = np.zeros(len(signal), np.float32)
    expected = np.stack([silence if place < 0 else meant[:, place] for place in played], axis=1)
    np.testing.assert_array_equal(play_calls(stream, signal, [period] * 40), expected)


def test_a_graph_with_another_number_of_channels_out():
    plan = Plan(Graph([Node("sum", Sum)], ["in -> sum", "sum -> out"]), RATE, 64, 3)
    stream = Stream(plan, 48, outputs=[-1, 0, 0])
    signal = noise(480, 3)
    total = delayed((signal[:, :1] + signal[:, 1:2]) + signal[:, 2:], stream.latency)
    heard = play_calls(stream, signal, [48] * 10)
    assert not heard[:, 0].any()
    np.testing.assert_array_equal(heard[:, 1:], np.repeat(total, 2, axis=1))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 299), st.integers(0, 3), st.sampled_from([np.nan, np.inf, -np.inf, 3e38]))
    ),
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
)
def test_samples_that_are_no_sound_are_replaced_and_counted_once_for_each_channel(places, inputs):
    """Those on channels that nobody listens to are not looked at."""
    stream = Stream(wire(len(inputs), 32), 20, inputs)
    signal = noise(300, stream.inputs)
    for at, c, bad in places:
        if c < stream.inputs:
            signal[at, c] = bad
    sound = np.abs(signal[:, inputs]) <= 1
    clean = np.where(sound, signal[:, inputs], np.float32(0))
    heard = play_calls(stream, signal, [20] * 15)
    np.testing.assert_array_equal(heard, delayed(clean, stream.latency))
    assert stream.plan.statistics()["non_finite_replaced"] == np.count_nonzero(~sound)


# Files


@pytest.mark.parametrize(("period", "block"), [(48, 16), (32, 32), (20, 16), (5, 16)])
def test_a_file_is_heard_instead_of_the_device_and_what_is_missing_is_counted(period, block):
    stream = Stream(lagging(2, block), period)
    file, device = noise(320, 2), noise(640, 2, 1)
    ring = Ring(2048)
    stream.words[FILE] = ring.address
    ring.push(file[:100].ravel())
    calls = 320 // period
    first = play_calls(stream, device, [period] * calls)
    blocks = calls * period // block
    counted = int(stream.counters.words[FILE_UNDERFLOWS])
    assert counted == max(0, blocks * block - 100)
    padded = np.zeros((640, 2), np.float32)
    padded[:100] = file[:100]
    np.testing.assert_array_equal(
        first, delayed(np.float32(0.5) * padded, LAG + stream.latency)[: len(first)]
    )
    ring.push(file[100:130].ravel())
    write_release(stream.words, FILE_ENDED, 1)
    padded[blocks * block : blocks * block + 30] = file[100:130]
    second = play_calls(stream, device, [period] * calls)
    meant = delayed(np.float32(0.5) * padded, LAG + stream.latency)
    np.testing.assert_array_equal(second, meant[len(first) : 2 * len(first)])
    assert stream.counters.words[FILE_UNDERFLOWS] == counted


def test_a_file_with_numbers_that_are_no_sound():
    stream, file = Stream(wire(1, 16)), noise(64)
    file[[3, 40], 0] = np.nan, np.inf
    ring = Ring(64)
    stream.words[FILE] = ring.address
    ring.push(file.ravel())
    heard = play_calls(stream, np.zeros((64, 1), np.float32), [16] * 4)
    file[[3, 40]] = 0
    np.testing.assert_array_equal(heard, file)
    assert stream.plan.statistics()["non_finite_replaced"] == 2


@pytest.mark.parametrize(("period", "block"), [(48, 16), (20, 16), (5, 64)])
def test_both_recordings_are_whole_blocks_of_what_came_and_what_was_played(period, block):
    stream = Stream(lagging(2, block), period, inputs=[2, 0], outputs=[-1, 0])
    played, came = Ring(4096), Ring(4096)
    stream.words[RECORD], stream.words[RECORD_INPUT] = played.address, came.address
    signal = noise(20 * period, 3)
    play_calls(stream, signal, [period] * 20)
    whole = 20 * period // block * block
    np.testing.assert_array_equal(came.pop(9999).reshape(-1, 2), signal[:whole, [2, 0]])
    expected = delayed(np.float32(0.5) * signal[:, [2, 0]], LAG)[:whole]
    np.testing.assert_array_equal(played.pop(9999).reshape(-1, 2), expected)
    assert stream.counters.words[RECORD_OVERFLOWS] == 0


def test_the_input_is_recorded_beside_a_file():
    stream = Stream(wire(1, 16))
    file, came = Ring(256), Ring(256)
    stream.words[FILE], stream.words[RECORD_INPUT] = file.address, came.address
    file.push(noise(64, seed=1).ravel())
    heard = play_calls(stream, noise(64), [16] * 4)
    np.testing.assert_array_equal(heard, noise(64, seed=1))
    np.testing.assert_array_equal(came.pop(999), noise(64).ravel())


@pytest.mark.parametrize("word", [RECORD, RECORD_INPUT])
def test_a_recorder_that_is_late_loses_whole_blocks_and_they_are_counted(word):
    stream, ring = Stream(wire(2, 16)), Ring(128)  # 4 blocks
    stream.words[word] = ring.address
    heard = play_calls(stream, noise(160, 2), [32] * 5)
    np.testing.assert_array_equal(heard, noise(160, 2))
    np.testing.assert_array_equal(ring.pop(999).reshape(-1, 2), noise(160, 2)[:64])
    assert stream.counters.words[RECORD_OVERFLOWS] == 96


# Fades


def rise(samples, begin=0):
    u = np.clip((np.arange(samples) - begin) / FADE, 0.0, 1.0)
    return (u * u * u * (u * (u * 6.0 - 15.0) + 10.0))[:, None].astype(np.float32)


@pytest.mark.parametrize(("period", "block"), [(16, 16), (20, 16), (5, 64), (300, 64)])
def test_input_and_output_fade_in_where_a_card_begins(period, block):
    stream = Stream(lagging(2, block), period)
    signal = noise(4 * FADE // period * period, 2)
    calls = [period] * (len(signal) // period)
    stream.begin(fade=True)
    heard = play_calls(stream, signal, calls)
    meant = delayed(np.float32(0.5) * (signal * rise(len(signal))), LAG + stream.latency)
    np.testing.assert_array_equal(heard, meant * rise(len(signal)))
    again = play_calls(stream, signal, calls)
    late = LAG + stream.latency
    np.testing.assert_array_equal(again[late:], np.float32(0.5) * signal[: len(signal) - late])
    stream.begin(fade=True)
    after = play_calls(stream, signal, calls)
    assert not after[0].any()
    np.testing.assert_array_equal(after[FADE + late :], np.float32(0.5) * signal[FADE : len(signal) - late])


def test_without_a_fade_the_first_sample_is_heard_as_it_is():
    stream = Stream(wire(1, 16))
    stream.begin(fade=False)
    np.testing.assert_array_equal(play_calls(stream, noise(64), [16] * 4), noise(64))


@pytest.mark.parametrize("block", [16, 7, 100])
def test_an_input_that_goes_away_decays(block):
    stream = Stream(wire(2, block), 0)
    signal = noise(100, 2)
    play_calls(stream, signal, [100])
    heard = np.concatenate([call(stream, None, length) for length in (1, 30, 100, 200)])
    u = np.minimum(1.0, np.arange(1, 332) / FALL)
    fall = (1.0 - u * u * u * (u * (u * 6.0 - 15.0) + 10.0)).astype(np.float32)
    decayed = signal[-1] * fall[:, None]
    late = block - 1
    np.testing.assert_array_equal(heard[late:], decayed[: len(heard) - late])
    assert not heard[late + FALL :].any()
    back = play_calls(stream, signal, [100])
    np.testing.assert_array_equal(back[late:], signal[: 100 - late])


def test_an_input_of_little_slope_that_goes_away_leaves_no_step():
    """A step of a tenth is at -68 dB; the decay of it is not to be seen."""
    rate = 48_000
    stream = Stream(wire(1, 64, rate))
    level = np.full((4096, 1), 0.5, np.float32)
    before = play_calls(stream, level, [64] * 64)
    after = np.concatenate([call(stream, None, 64) for _ in range(64)])
    assert above_15_khz(np.concatenate([before, after])[:, 0].astype(float)) <= -110
    assert above_15_khz(np.concatenate([level[:, 0], np.full(4096, 0.4)])) > -70


# Counts


def test_the_devices_flags_are_counted_one_by_one():
    names = ("input_underflows", "input_overflows", "output_underflows", "output_overflows")
    stream, meant = Stream(wire(1, 16)), [0, 0, 0, 0]
    for flags in [*range(16), 16, 15, 8, 4, 4, 0]:  # 16 is paPrimingOutput
        call(stream, np.zeros((16, 1)), flags=flags)
        meant = [count + (flags >> bit & 1) for bit, count in enumerate(meant)]
    told = stream.plan.statistics()
    assert [told[name] for name in names] == meant
    assert told["xruns"] == sum(meant)


def test_calls_that_come_late_are_counted():
    stream = Stream(wire(1, RATE))
    for _ in range(3):
        call(stream, np.zeros((RATE, 1)))  # due a second later
    assert stream.counters.words[LATE] == 0
    assert stream.callbacks == 3
    stream = Stream(wire(1, 8))
    for _ in range(4):
        call(stream, np.zeros((8, 1)))  # due a millisecond later
        time.sleep(0.003)
    assert stream.counters.words[LATE] == 3
    stream.begin(fade=False)
    call(stream, np.zeros((8, 1)))
    assert stream.counters.words[LATE] == 3


def test_samples_over_full_scale_are_counted_as_they_are_played():
    stream = Stream(wire(2, 16), 20)
    signal = 1.5 * noise(320, 2)
    play_calls(stream, signal, [20] * 16)
    assert stream.plan.statistics()["over_full_scale"] == np.count_nonzero(np.abs(signal) > 1)


def test_it_counts_where_it_is_told_and_knows_its_thread():
    import threading

    counters = Counters()
    stream = Stream(wire(1, 16), counters=counters)
    assert stream.thread == 0
    call(stream, np.zeros((16, 1)))
    assert counters.words is stream.counters.words
    assert stream.callbacks == 1
    assert stream.thread == threading.get_native_id()
    stream.begin(fade=False)
    assert stream.thread == 0


def test_past_input_is_kept_for_an_edit():
    stream = Stream(wire(2, 64), 48)
    assert stream.history.shape[1] >= 5 * RATE
    signal = noise(4800, 2)
    play_calls(stream, signal, [48] * 100)
    end = int(stream.words[HISTORY_END])
    assert end == 4800
    np.testing.assert_array_equal(stream.history[:, :end], signal[:end].T)


def test_the_history_of_many_channels_stays_within_its_bytes():
    plan = wire(64, 64, 384_000)
    assert Stream(plan).history.nbytes <= stream_module.HISTORY_BYTES
    assert Stream(wire(1, 65_536, 8_000)).history.shape[1] >= 4 * 65_536


def test_calls_of_any_order_of_lengths_give_the_same_sound():
    """The order of lengths moves nothing: what is heard is a function of the input alone."""
    signal, first = noise(600), play_calls(Stream(lagging(), 0), noise(600), [600])
    for lengths in itertools.permutations([1, 64, 100, 435]):
        np.testing.assert_array_equal(play_calls(Stream(lagging(), 0), signal, lengths), first)
