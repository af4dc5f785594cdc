"""Resampling to a model's rate and back: whole delays, flat response, what is stopped, any blocks."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest

from rtaudio.kernel import power_of_two
from rtaudio.resample import edge, mirror, pair, polyphase

HOSTS, MODELS = (22_050, 32_000, 44_100, 48_000, 96_000), (16_000, 24_000, 48_000)
HOPS, LATE = (147, 160, 256), (0, 7)


def convert(conversion, x, n, blocks=None):
    """The first ``n`` output samples of a whole signal; in blocks of the given sizes, or in one."""
    ring = np.zeros(2 * power_of_two(len(x) + conversion.taps), np.float32)
    mirror(ring, 0, x.astype(np.float32), len(x))
    out, at = np.full(n, np.nan, np.float32), 0
    for size in blocks or [n]:
        polyphase(ring, conversion.table, conversion.starts, conversion.step, at, out[at:], min(size, n - at))
        at += size
    return out


def tone(frequency, rate, n):
    return np.sin(2 * np.pi * frequency / rate * np.arange(n))


def pairs(rate, inner):
    for hop in HOPS:
        whole = hop * rate % inner == 0
        for late in LATE:
            for blocks in (False, True)[: 1 + whole]:
                yield hop, late, pair(rate, inner, hop, late, blocks)


@pytest.mark.parametrize("inner", MODELS)
@pytest.mark.parametrize("rate", HOSTS)
def test_there_and_back_is_late_by_what_is_reported(rate, inner):
    """Of tones up to 0.8 of half the lower rate, a delay of ``latency`` leaves less than -70 dB; of the
    highest, a hundredth of a sample more would leave -50 dB."""
    n, half = rate // 5, min(rate, inner) / 2
    for hop, late, both in pairs(rate, inner):
        for part in (0.02, 0.4, 0.8):
            x = tone(part * half, rate, n)
            heard = convert(both.down, x, n * inner // rate)
            made = np.concatenate([np.zeros(late, np.float32), heard])[: len(heard)]
            y = convert(both.up, made, n)
            begin, end = both.latency + 1000, n - 200
            left = np.abs(y[begin:end] - x[begin - both.latency : end - both.latency]).max()
            assert left < 10 ** (-70 / 20), (hop, late, part, both.latency)


@pytest.mark.parametrize("inner", MODELS)
@pytest.mark.parametrize("rate", HOSTS)
def test_no_sample_is_needed_before_it_is_there_and_none_waits(rate, inner):
    """Counted sample by sample: hops are made when their input is whole, and what an output sample is made of
    has been made. One sample less of latency, and some output would need what is not there."""
    for hop, late, both in pairs(rate, inner):
        span = Fraction(hop * rate, inner)
        assert both.hop == span
        # The last sample of the host that a hop is made of.
        for k in range(span.denominator):
            m = (k + 1) * hop - 1
            last = m // len(both.down.table) * both.down.step + both.down.starts[m % len(both.down.table)]
            assert last + both.down.taps <= ceil((k + 1) * span)
        n = np.arange(4 * span.numerator)
        phases = len(both.up.table)
        needed = n // phases * both.up.step + both.up.starts[n % phases] + both.up.taps
        hops = (n + 1) * span.denominator // span.numerator
        if late_whole(hop, both, rate, inner):  # the output of a block that is a hop is made of that hop too
            hops = n // int(span) + 1
        assert (needed <= hops * hop).all(), (hop, late)
        early = n[:-1]
        assert (needed[early + 1] > hops[early] * hop).any(), (hop, late)


def late_whole(hop, both, rate, inner):
    """Whether a pair is one for blocks of whole hops: its latency has no wait for them."""
    span = Fraction(hop * rate, inner)
    return span.denominator == 1 and both.latency < pair(rate, inner, hop).latency


@pytest.mark.parametrize("hop", [1, 37, 480])
def test_at_one_rate_samples_stay_as_they_are(hop):
    x = np.random.default_rng(0).standard_normal(2000).astype(np.float32)
    for late in LATE:
        for blocks, wait in ((True, 0), (False, hop - 1)):
            both = pair(48_000, 48_000, hop, late, blocks)
            assert both.latency == late + wait
            heard = convert(both.down, x, 2000)
            assert np.array_equal(heard, x)
            y = convert(both.up, np.concatenate([np.zeros(late, np.float32), heard]), 2000)
            assert np.array_equal(y[both.latency :], x[: 2000 - both.latency])


@pytest.mark.parametrize(
    ("rate", "inner"), [(44_100, 48_000), (48_000, 16_000), (44_100, 16_000), (22_050, 48_000)]
)
def test_the_response_is_flat_and_then_stops(rate, inner):
    """Up to 0.81 of half the lower rate within 0.005 dB, from 1.03 of it on below -80 dB, on the way to the
    lower rate; what a tone leaves at other frequencies on the way to the higher is below -80 dB."""
    both = pair(rate, inner, 160)
    lower, higher = sorted((rate, inner))
    falls, rises = (both.down, both.up) if rate > inner else (both.up, both.down)
    n = higher // 2
    for part in (0.01, 0.3, 0.6, 0.81):
        for conversion, source, target in ((falls, higher, lower), (rises, lower, higher)):
            y = convert(conversion, tone(part * lower / 2, source, n), (n - 500) * target // source)[2000:]
            turns = 2 * np.pi * part * lower / 2 / target * np.arange(len(y))
            waves = np.stack([np.cos(turns), np.sin(turns)], axis=1)
            found = np.linalg.lstsq(waves, y.astype(float), rcond=None)[0]
            assert abs(20 * np.log10(np.hypot(*found))) < 0.005, part
            assert np.abs(y - waves @ found).max() < 10 ** (-80 / 20), part
    for part in (1.03, 1.1, 1.4, 1.9):
        if part * lower < higher:
            y = convert(falls, tone(part * lower / 2, higher, n), (n - 500) * lower // higher)[500:]
            assert np.abs(y).max() < 10 ** (-80 / 20), part


MIRRORED = [(8_000, 16_000), (16_000, 48_000), (22_050, 48_000), (32_000, 48_000)]


@pytest.mark.parametrize(("rate", "inner"), MIRRORED)
def test_where_a_filter_may_hear_a_mirror_all_of_the_band_comes_back(rate, inner):
    """Tones up to 0.99 of half the host's rate come back as they were, within -75 dB, late by ``latency``;
    without the mirror less than half of the highest does."""
    n, half = rate // 2, rate / 2
    for mirrored, parts in ((True, (0.02, 0.4, 0.75, 0.9, 0.97, 0.99)), (False, (0.02, 0.4, 0.75))):
        for hop, late, blocks in ((480, 0, False), (160, 7, False), (480, 160, 480 * rate % inner == 0)):
            both = pair(rate, inner, hop, late, blocks, mirrored)
            assert both.latency == pair(rate, inner, hop, late, blocks).latency
            for part in parts:
                x = tone(part * half, rate, n)
                made = convert(both.down, x, n * inner // rate - late)
                y = convert(both.up, np.concatenate([np.zeros(late, np.float32), made]), n)
                begin, end = both.latency + 1000, n - 200
                left = np.abs(y[begin:end] - x[begin - both.latency : end - both.latency]).max()
                assert left < 10 ** (-75 / 20), (mirrored, hop, part)
    both = pair(rate, inner, 480)
    x = tone(0.97 * half, rate, n)
    y = convert(both.up, convert(both.down, x, n * inner // rate), n)
    assert np.abs(y[2000:-200]).max() < 0.5


@pytest.mark.parametrize(("rate", "inner"), MIRRORED)
def test_a_mirror_has_the_amplitudes_of_the_edge(rate, inner):
    """A tone is heard where it is and mirrored at half the host's rate, as loud as `edge` says; elsewhere it
    is below -65 dB. Squares on both sides of 1 add up to 1, and from 1.25 on there is nothing."""
    assert edge(np.array([0.0, 0.75, 1.25, 1.9])) == pytest.approx([1, 1, 0, 0], abs=1e-7)
    assert edge(np.array(1.0)) == pytest.approx(np.sqrt(0.5), abs=1e-6)
    away = np.linspace(0, 1, 300)
    assert edge(1 - away) ** 2 + edge(1 + away) ** 2 == pytest.approx(np.ones(300), abs=1e-6)
    assert (np.diff(edge(np.linspace(0, 2, 500))) <= 0).all()
    conversion, half, n = pair(rate, inner, 480, mirrored=True).down, rate / 2, inner // 2
    for part in (0.1, 0.6, 0.8, 0.95, 0.99):
        y = convert(conversion, tone(part * half, rate, rate), n + 2000)[2000:]
        turns = 2 * np.pi * np.array([part, 2 - part])[:, None] * half / inner * np.arange(n)
        waves = np.concatenate([np.cos(turns), np.sin(turns)]).T
        found = np.linalg.lstsq(waves, y.astype(float), rcond=None)[0]
        heights = np.hypot(found[:2], found[2:])
        np.testing.assert_allclose(heights, edge(np.array([part, 2 - part])), atol=10 ** (-65 / 20))
        assert np.abs(y - waves @ found).max() < 10 ** (-65 / 20), part


def test_a_rate_that_is_little_higher_has_no_room_for_a_mirror():
    for rate, inner in ((44_100, 48_000), (48_000, 48_000), (48_000, 16_000)):
        plain, mirrored = pair(rate, inner, 480), pair(rate, inner, 480, mirrored=True)
        assert np.array_equal(plain.down.table, mirrored.down.table)
        assert np.array_equal(plain.up.table, mirrored.up.table)


def test_blocks_make_no_difference():
    x = np.random.default_rng(1).standard_normal(6000).astype(np.float32)
    both = pair(44_100, 16_000, 160)
    rng = np.random.default_rng(2)
    for conversion, n in ((both.down, 2000), (both.up, 9000)):
        whole = convert(conversion, x, n)
        sizes = [int(size) for size in rng.integers(1, 400, 200)]
        for blocks in ([1] * n, [441] * 30, sizes):
            assert np.array_equal(convert(conversion, x, n, blocks), whole)


def test_a_ring_that_has_come_round_gives_the_same():
    x = np.random.default_rng(3).standard_normal(5000).astype(np.float32)
    conversion = pair(48_000, 16_000, 160).down
    whole = convert(conversion, x, 1600)
    ring = np.zeros(2 * power_of_two(160 + conversion.taps), np.float32)
    out = np.zeros(1600, np.float32)
    for at in range(0, 4800, 160):
        mirror(ring, at, x[at:], 160)
        first, end = -(-at // 3), -(-(at + 160) // 3)
        # The last of these hears up to two samples that are not there yet: its weights put it later.
        polyphase(
            ring, conversion.table, conversion.starts - 3, conversion.step, first, out[first:], end - first
        )
    shifted = convert(type(conversion)(conversion.table, conversion.starts - 3, conversion.step), x, 1600)
    assert np.array_equal(out, shifted)
    assert np.array_equal(shifted[1:], whole[:-1])


def test_a_hop_that_is_no_whole_number_of_samples_is_no_block():
    with pytest.raises(ValueError, match=r"256 at 16000 Hz is 705\.6 samples at 44100 Hz"):
        pair(44_100, 16_000, 256, blocks=True)
