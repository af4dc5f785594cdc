"""What readers see of a run: columns and levels against SciPy, NumPy and pyloudnorm; edits, deaths, tears."""

import io
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager, suppress
from functools import lru_cache

import numpy as np
import pyloudnorm
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_process import DEADLINE, live
from observed import folder
from rich.console import Console
from scipy.fft import rfft
from scipy.signal import get_window
from stepped import Stepped, call

from engines.enhancer import Enhance
from rtaudio import counters as counters_module
from rtaudio import observation as observation_module
from rtaudio import status
from rtaudio.chain import parse_chain
from rtaudio.cli import main
from rtaudio.counters import PREFIX, Counters, ordered
from rtaudio.errors import UserError
from rtaudio.graph import Graph, Node
from rtaudio.host import Host
from rtaudio.observation import (
    COLUMNS,
    FLOOR,
    HIGHEST,
    LOWEST,
    METERED,
    OBSERVED,
    ROWS,
    VIEW,
    VIEWS,
    Observation,
    decibels,
    frequencies,
)
from rtaudio.observe import SIZE, TAP_BLOCK, Observer, weighting, window_of
from rtaudio.plan import Plan
from rtaudio.stream import Stream

pytestmark = pytest.mark.alone

__all__ = ["folder"]
"""Fixtures."""

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.fixture
def run(folder):
    """Plays signals through a chain, block by block, and looks after each; returns what a reader sees."""
    opened = []

    def start(chain, source, rate=48_000, block=128, lane=0, calls=None, looks=lambda number: True):
        counters = Counters(shared=True, room=OBSERVED.itemsize)
        plan = Plan(parse_chain(chain), rate, block, source.shape[1], lane=lane)
        opened.append(plan)
        plan.count_in(counters)
        stream = Stream(plan, period=block if calls is None else 0, counters=counters)
        observer = Observer(counters, plan, [])
        if plan.segments:
            plan.start(0)
        begin = number = 0
        while begin < len(source):
            n = block if calls is None else calls[number % len(calls)]
            while plan.segments and not all(
                segment.progress[0] == segment.progress[1] for segment in plan.segments
            ):
                time.sleep(0.0002)
            part = source[begin : begin + n]
            if len(part) == n:
                call(stream, part)
            if looks(number):
                observer.look()
            begin, number = begin + n, number + 1
        observer.look()
        seen = Observation(os.getpid())
        seen.plan, seen.observer, seen.stream = plan, observer, stream
        return seen

    yield start
    for plan in opened:
        plan.close()


def noise(seconds, rate=48_000, channels=2, level=0.1, seed=1):
    made = np.random.default_rng(seed).standard_normal((round(seconds * rate), channels))
    return (level * made).astype(np.float32)


def sine(frequency, seconds, amplitude=1.0, rate=48_000, channels=1, phase=0.0):
    at = np.arange(round(seconds * rate))
    one = amplitude * np.sin(2 * np.pi * frequency * at / rate + phase)
    return np.repeat(one[:, None], channels, axis=1).astype(np.float32)


@lru_cache
def bands(rate, window):
    """Frequency of every row in bins, and the edges of its band."""
    centres = np.geomspace(LOWEST, min(HIGHEST, rate / 2), ROWS) * window / rate
    ratio = (centres[1] / centres[0]) ** 0.5
    return centres, centres / ratio, centres * ratio


def reference(source, end, rate, window):
    """A column in dB, by SciPy: of the louder channel in every bin; the greatest of a row's band."""
    padded = np.concatenate([np.zeros((window, source.shape[1])), source[:end]])[-window:]
    hann = get_window("hann", window)
    power = (np.abs(rfft(padded * hann[:, None], axis=0)) * 2 / hann.sum()) ** 2
    power = power.max(axis=1)
    bins = np.arange(len(power))
    rows = [
        max([np.interp(centre, bins, power), *power[(bins >= low) & (bins < high)]])
        for centre, low, high in zip(*bands(rate, window), strict=True)
    ]
    return np.clip(10 * np.log10(np.array(rows) + 1e-30), FLOOR, 0)


# Columns


@pytest.mark.parametrize(
    ("rate", "block"), [(48_000, 64), (44_100, 128), (48_000, 1024), (96_000, 480), (8_000, 100)]
)
def test_a_column_is_the_spectrum_of_the_window_before_its_position(run, rate, block):
    source = noise(0.4, rate)
    seen = run("gain(gain=-6)", source, rate, block)
    assert (seen.rate, seen.hop, seen.window) == (rate, rate // 100, window_of(rate))
    for view, heard in (("in", source), ("out", source * np.float32(10 ** (-6 / 20)))):
        positions, columns = seen.columns(view)
        last = len(source) // block * block // seen.hop
        np.testing.assert_array_equal(positions, seen.hop * np.arange(1, last + 1))
        assert columns.shape == (last, ROWS)
        for number in (0, 1, last // 2, last - 1):
            wanted = reference(heard, positions[number], rate, seen.window)
            assert np.abs(decibels(columns[number]) - wanted).max() < 0.25


def test_windows_are_as_long_at_every_rate():
    for rate in (8_000, 16_000, 44_100, 48_000, 96_000, 192_000, 384_000):
        assert 0.7 < window_of(rate) / rate / (2048 / 48_000) < 1.5
    assert window_of(48_000) == 2048


@pytest.mark.parametrize("level", [0.0, -1.0, -20.0, -60.0, -100.0])
@pytest.mark.parametrize("bin_", [4, 43, 300, 800])
def test_a_sine_has_its_level_in_its_row(run, level, bin_):
    frequency = bin_ * 48_000 / 2048
    seen = run("gain", sine(frequency, 0.1, 10 ** (level / 20)))
    column = decibels(seen.columns("out")[1][-1])
    row = np.argmin(np.abs(np.log(frequencies(48_000) / frequency)))
    assert column[row] == pytest.approx(level, abs=0.35)
    assert column.max() <= max(column[row], level + 0.25)
    far = np.abs(np.log2(frequencies(48_000) / frequency)) > 1.5
    assert column[far].max() < level - 45 or column[far].max() == FLOOR


def test_silence_is_at_the_floor_and_channels_do_not_cancel(run):
    source = sine(1500.0, 0.2, 0.5, channels=2)
    source[:, 1] *= -1
    one = run("gain", source[:, :1]).columns("out")[1]
    np.testing.assert_array_equal(run("gain", source).columns("out")[1], one)
    assert not run("gain", 0 * source).columns("out")[1].any()


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.integers(1, 700), min_size=1, max_size=6), every=st.integers(1, 9))
def test_columns_and_levels_do_not_depend_on_how_often_one_looks_or_calls(run, calls, every):
    source = noise(0.3)
    seen = run("gain", source, block=64, calls=calls, looks=lambda number: number % every == 0)
    same = run("gain", source, block=64)
    for view in ("in", "out"):
        for what in ("columns", "levels"):
            (numbers, copies), (others, wanted) = (each._copied(view, 0, what) for each in (seen, same))
            n = min(len(numbers), len(others))
            assert n > 20
            np.testing.assert_array_equal(numbers[:n], others[:n])
            np.testing.assert_array_equal(copies[:n], wanted[:n])


def test_views_that_are_late_show_the_same_input_at_the_same_position(run):
    source = noise(0.5, level=0.02)
    seen = run("limiter(lookahead=7)", source)
    latency = seen.views()["out"].latency
    assert latency == seen.plan.latency > 0
    heard, given_ = seen.columns("out"), seen.columns("in")
    assert seen.views()["in"].position - seen.views()["out"].position == pytest.approx(latency, abs=seen.hop)
    np.testing.assert_array_equal(heard[0], given_[0][: len(heard[0])])
    step = np.abs(heard[1].astype(int) - given_[1][: len(heard[0])])
    assert step.max() <= 1  # A gain of one is not one to the last bit.


def test_only_what_is_new_is_asked_for_and_history_is_there_at_once(run):
    seen = run("gain", noise(1.0))
    positions, columns = seen.columns("out")
    assert positions[0] == seen.hop
    later, rest = seen.columns("out", since=int(positions[-4]))
    np.testing.assert_array_equal(later, positions[-3:])
    np.testing.assert_array_equal(rest, columns[-3:])
    assert len(seen.columns("out", since=int(positions[-1]))[0]) == 0
    assert len(seen.columns("out", since=10**12)[0]) == 0
    np.testing.assert_array_equal(seen.columns("out", since=-5)[0], positions)


def test_half_a_minute_is_kept(run):
    seen = run("gain", np.zeros((48_000 * 34, 1), np.float32), block=480)
    positions, _ = seen.columns("out")
    assert len(positions) == COLUMNS
    assert COLUMNS * seen.hop >= 30 * seen.rate
    assert positions[-1] == seen.views()["out"].position == 34 * 48_000
    assert (np.diff(positions) == seen.hop).all()


def test_what_is_no_number_or_huge_leaves_columns_and_the_sound(run):
    source = noise(0.4)
    source[3000:3005, 0] = [np.nan, np.inf, -np.inf, 1e30, 1e11]
    seen = run("gain", source)
    for view in ("in", "out"):
        positions, columns = seen.columns(view)
        np.testing.assert_array_equal(np.diff(positions), seen.hop)
        quiet = decibels(columns[-1])
        assert np.abs(quiet - reference(source[6000:], positions[-1] - 6000, 48_000, 2048)).max() < 0.25
        assert columns.max() == 255
        meters = seen.meters(view)
        assert np.isfinite(meters.rms).all()
        assert meters.clipped[0] >= 1


def test_what_is_as_large_as_a_float_can_be_is_forgotten_again(run):
    """Nodes may give any finite sample; squares of it, and what a filter remembers, must stay finite."""
    source = noise(1.0)
    seen = run("gain", source[:4_736])
    seen.observer._tapped["out", 2].ring[:, 4_700:4_736] = 3e38
    for begin in range(4_736, 48_000 - 128, 128):
        call(seen.stream, source[begin : begin + 128])
        seen.observer.look()
    positions, columns = seen.columns("out")
    wanted = reference(source, positions[-1], 48_000, 2048)
    assert np.abs(decibels(columns[-1]) - wanted).max() < 0.25
    assert columns[9].max() == 255
    assert np.isfinite(seen._copied("out", 0, "levels")[1]).all()
    ends = positions[-1] - 19_200, positions[-1]
    assert seen.meters("out").loudness == pytest.approx(
        10 * np.log10((source[ends[0] : ends[1]].astype(float) ** 2).mean(axis=0).sum()), abs=5.0
    )


# Stems


@pytest.mark.parametrize(
    ("chain", "views"),
    [
        ("gain", []),
        ("hpss.harmonic", ["hpss.harmonic", "hpss.percussive", "hpss.residual"]),
        ("remix", ["remix/harmonic", "remix/percussive", "remix/residual"]),
        ("gain | remix | limiter", ["remix/harmonic", "remix/percussive", "remix/residual"]),
    ],
)
@pytest.mark.parametrize("lane", [0, 1])
def test_stems_are_views_wherever_they_are_made(run, chain, views, lane):
    seen = run(chain, noise(0.1), lane=lane)
    assert list(seen.views()) == ["in", "out", *views]


@pytest.mark.parametrize("lane", [0, 1])
def test_what_a_node_says_of_the_sound_is_another_kind_of_view_in_step_with_the_input(run, lane):
    source = noise(0.6, level=0.2) * np.linspace(0, 1, 28_800, dtype=np.float32)[:, None]
    seen = run("enhance", source, lane=lane)
    assert list(seen.views()) == ["in", "out", "enhance", "enhance.removed"]
    assert list(seen.values()) == ["enhance.activity"]
    late = seen.values()["enhance.activity"].latency
    assert late == seen.views()["enhance"].latency > 0
    positions, peaks = seen.peaks("enhance.activity")
    plan = Plan(Graph([Node("e", Enhance)], ["in -> e", "e.activity -> out"]), 48_000, 128, 2, lane=0)
    blocks = [np.ascontiguousarray(source[at : at + 128].T) for at in range(0, 28_800, 128)]
    alone = np.concatenate([plan.process(block)["main"][0].copy() for block in blocks])
    begins = positions - seen.hop + plan.latency
    wanted = [alone[begin : begin + seen.hop].max() for begin in begins]
    plan.close()
    assert len(positions) > 40
    assert peaks.max() > 0.0
    np.testing.assert_array_equal(peaks, wanted)
    _, latest = seen.peaks("enhance.activity", positions[-3])
    np.testing.assert_array_equal(latest, peaks[-2:])
    with pytest.raises(UserError, match=r"no view 'enhance\.voice'"):
        seen.peaks("enhance.voice")


def test_stems_in_a_worker_show_what_they_do_in_the_callback(run):
    source = noise(0.6) + sine(400.0, 0.6, 0.3, channels=2)
    here, away = (run("remix", source, lane=lane) for lane in (0, 1))
    for view in ("remix/harmonic", "remix/percussive", "out"):
        late = away.views()[view].latency - here.views()[view].latency
        assert late == 128
        a, b = here.columns(view), away.columns(view)
        n = min(len(a[0]), len(b[0]))
        assert n > 40
        np.testing.assert_array_equal(a[1][:n], b[1][:n])


def test_a_stem_shows_its_part_after_its_strip(run):
    source = sine(1500.0, 1.0, 0.5, channels=2)
    row = np.argmin(np.abs(frequencies(48_000) - 1500.0))

    def level(chain, view):
        return float(decibels(run(chain, source).columns(view)[1][-1])[row])

    assert level("remix", "remix/harmonic") == pytest.approx(-6.0, abs=1.5)
    assert level("remix", "remix/percussive") < -20
    quieter = level("remix(harmonic_gain=-12)", "remix/harmonic")
    assert quieter == pytest.approx(level("remix", "remix/harmonic") - 12, abs=0.5)


def test_more_views_than_there_is_room_for_are_told(folder):
    counters = Counters(shared=True, room=OBSERVED.itemsize)
    plan, notes = Plan(parse_chain("gain"), 48_000, 128, 1), []
    for number in range(VIEWS + 1):
        plan.views[f"view {number}"] = plan.views["in"]
    observer = Observer(counters, plan, notes)
    assert len(Observation(os.getpid()).views()) == VIEWS
    assert len(notes) == len(plan.views) - VIEWS
    assert notes[0].endswith(f"cannot be looked at: there are {VIEWS} others")
    observer.close()
    plan.close()


@pytest.mark.parametrize(("there", "shown"), [(0, []), (VIEW.itemsize, ["in"])])
def test_where_there_is_no_memory_the_sound_goes_on(folder, monkeypatch, there, shown):
    def full(file, begin, count):
        if begin >= 8 * counters_module.WORDS + there:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    counters = Counters(shared=True, room=OBSERVED.itemsize)
    plan, notes = Plan(parse_chain("gain"), 48_000, 128, 1), []
    stream = Stream(plan, counters=counters)
    observer = Observer(counters, plan, notes)
    call(stream, noise(0.1, channels=1)[:128])
    observer.start()
    observer.close()
    assert list(Observation(os.getpid()).views()) == shown
    assert len(notes) == 1
    what = "out cannot" if shown else "nothing can"
    assert notes[0].startswith(f"{what} be looked at: no room in ")
    assert "No space left on device" in notes[0]
    plan.close()


def test_memory_is_taken_for_what_there_is_only(run, folder):
    run("gain", noise(0.1))
    used = 512 * (folder / f"{PREFIX}{os.getpid()}").stat().st_blocks
    assert used < 8 * counters_module.WORDS + 2 * VIEW.itemsize + 64 * 1024 < OBSERVED.itemsize / 2


# Levels


@pytest.mark.parametrize("rate", [48_000, 44_100])
def test_peaks_mean_squares_and_clipping_are_those_of_numpy(run, rate):
    source = noise(0.7, rate, level=0.4)
    seen = run("gain", source, rate, 64)
    meters = seen.meters("in")
    position, hop = meters.position, seen.hop
    newest = source[position - hop : position]
    np.testing.assert_array_equal(meters.peak, np.abs(newest).max(axis=0))
    rms = np.sqrt((source[position - 30 * hop : position].astype(float) ** 2).mean(axis=0))
    np.testing.assert_allclose(meters.rms, rms, rtol=1e-5)
    np.testing.assert_array_equal(meters.clipped, (np.abs(source[:position]) > 1).sum(axis=0))
    assert meters.clipped.min() > 0
    held = seen.meters("in", since=position - 20 * hop)
    np.testing.assert_array_equal(held.peak, np.abs(source[position - 20 * hop : position]).max(axis=0))
    np.testing.assert_array_equal(held.rms, meters.rms)


@pytest.mark.parametrize("rate", [48_000, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_momentary_loudness_is_that_of_pyloudnorm(run, rate, channels):
    """Of exactly the first 400 ms, so that both filters begin at rest."""
    source = (
        noise(0.4, rate, channels)
        + sine(60.0, 0.4, 0.3, rate, channels)
        + sine(3e3, 0.4, 0.1, rate, channels)
    )
    seen = run("gain", source, rate, rate // 100)
    wanted = pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(source.astype(float))
    for view in ("in", "out"):
        assert seen.meters(view).loudness == pytest.approx(wanted, abs=0.002)


def test_the_weighting_is_the_standards_at_48_khz():
    """ITU-R BS.1770-4, tables 1 and 2."""
    np.testing.assert_allclose(
        weighting(48_000),
        [
            [1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585],
            [1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621],
        ],
        atol=1e-9,
    )


def test_silence_has_no_loudness(run):
    meters = run("gain", np.zeros((4800, 2), np.float32)).meters("out")
    assert meters.loudness == -np.inf
    assert not meters.peak.any()


@pytest.mark.parametrize("frequency", [997.0, 6_000.0, 12_000.0, 16_000.0])
@pytest.mark.parametrize("phase", [0.0, np.pi / 4])
def test_true_peaks_lie_between_the_samples(run, frequency, phase):
    seen = run("gain", sine(frequency, 0.2, 0.5, phase=phase))
    meters = seen.meters("out", since=4800)
    assert meters.true_peak[0] >= meters.peak[0]
    assert 20 * np.log10(meters.true_peak[0] / 0.5) == pytest.approx(0.0, abs=0.35)


def test_the_first_channels_are_metered_and_all_are_seen(run):
    source = np.zeros((9600, METERED + 2), np.float32)
    source[:, -1:] = sine(1500.0, 0.2, 0.5)
    seen = run("gain", source)
    assert seen.meters("in").peak.shape == (METERED,)
    assert not seen.meters("in").peak.any()
    assert decibels(seen.columns("in")[1][-1]).max() == pytest.approx(-6.0, abs=0.5)


# Late, torn


def test_who_is_late_goes_on_with_the_newest_and_counts(run):
    source = noise(3.0)
    looked = {0, 100, 1000}
    seen = run("gain", source, looks=lambda number: number in looked)
    for view in ("in", "out"):
        positions, columns = seen.columns(view)
        skipped = seen.views()[view].skipped
        assert skipped > 100
        assert len(positions) + skipped == positions[-1] // seen.hop
        at = positions[-1]
        assert np.abs(decibels(columns[-1]) - reference(source, at, 48_000, 2048)).max() < 0.25


def test_what_was_overwritten_while_it_was_analysed_is_not_shown(run):
    source = noise(0.3)
    seen = run("gain", source)
    before = seen.views()["out"]
    tap = seen.observer._tapped["out", 2].tap
    tap[TAP_BLOCK] = tap[SIZE]  # As if the callback were about to write all over the ring.
    for begin in range(0, 1280, 128):
        call(seen.stream, source[begin : begin + 128])
    seen.observer.look()
    after = seen.views()
    assert after["in"].position > before.position
    assert after["out"].position == before.position
    assert after["out"].skipped == (after["in"].position - before.position) // seen.hop


def test_a_torn_column_is_told(run, monkeypatch):
    """What is written over a column while it is copied, as the host does it, is not returned."""
    seen = run("gain", noise(0.5))
    positions, columns = seen.columns("out")
    words = seen.observer._tapped["out", 2]
    written = words._arrays[3]
    place = VIEW.fields["columns"][1]
    room = seen.observer._counters.room
    begin = OBSERVED.itemsize - VIEWS * VIEW.itemsize + VIEW.itemsize + place
    target = room[begin : begin + COLUMNS * ROWS].reshape(COLUMNS, ROWS)
    torn = 7, 8, 30
    orders = []

    def overwritten():
        """The first order is asked for between the numbers and the columns, or before them."""
        ordered()
        orders.append(1)
        if len(orders) == whole_orders - 1:
            for number in torn:
                written[number] = 0
                target[number] = 99
            written[torn[0]] = torn[0] + COLUMNS

    whole_orders = 0
    monkeypatch.setattr(observation_module, "ordered", lambda: orders.append(1))
    seen.columns("out")
    whole_orders, orders = len(orders), []
    monkeypatch.setattr(observation_module, "ordered", overwritten)
    kept, copies = seen.columns("out")
    assert len(orders) == whole_orders
    assert (target[list(torn)] == 99).all()
    untorn = ~np.isin(positions // seen.hop, torn)
    np.testing.assert_array_equal(kept, positions[untorn])
    np.testing.assert_array_equal(copies, columns[untorn])


def test_a_view_that_goes_while_it_is_read_is_told(run, monkeypatch):
    seen = run("hpss.harmonic", noise(0.2))
    bare = Plan(parse_chain("gain"), 48_000, 128, 2)

    def gone():
        ordered()
        seen.observer.keep(bare)

    monkeypatch.setattr(observation_module, "ordered", gone)
    with pytest.raises(UserError, match=r"the view 'hpss.harmonic' has just gone"):
        seen.columns("hpss.harmonic")
    monkeypatch.undo()
    bare.close()


def test_an_unknown_view_is_told(run):
    seen = run("hpss.harmonic", noise(0.1))
    with pytest.raises(UserError, match=r"no view 'hpss.harmonc', did you mean 'hpss.harmonic'\?"):
        seen.columns("hpss.harmonc")
    with pytest.raises(UserError, match="no view 'x'"):
        seen.meters("x")


# Edits


class Edited:
    """A host that is stepped on a thread of its own, and looks after every step."""

    def __init__(self, graph):
        self.counters = Counters(shared=True, room=OBSERVED.itemsize)
        self.device = Stepped()
        self.host = Host(Plan(graph, 48_000, 64, 2), self.device, counters=self.counters)
        self.host.start()
        self.source, self.played = noise(60.0, seed=3), 0
        self.seen = Observation(os.getpid())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._stop.is_set():
            self.device.step(self.source[self.played : self.played + 64])
            self.played += 64
            self.host.observer.look()
            time.sleep(0.0005)

    def play(self, until):
        """Let sound run until a position has been seen of every view."""
        end = time.monotonic() + DEADLINE
        while min(view.position for view in self.seen.views().values()) < until:
            assert time.monotonic() < end
            time.sleep(0.001)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join()
        self.host.close()


def test_an_edit_keeps_the_views_that_both_have_without_a_gap(folder):
    before, after = parse_chain("gain(gain=-6)"), parse_chain("limiter(lookahead=5) | remix")
    with Edited(before) as sound:
        sound.play(9_600)
        assert list(sound.seen.views()) == ["in", "out"]
        sound.host.edit(after)
        latency = sound.host.plan.latency
        assert latency > 900
        turned = sound.host.plan.position
        sound.play(turned + 24_000)
        views = sound.seen.views()
        assert list(views) == ["in", "out", "remix/harmonic", "remix/percussive", "remix/residual"]
        assert [views[name].latency for name in ("in", "out")] == [0, latency]
        parts = sound.seen.columns("remix/harmonic")[0]
        assert (np.diff(parts) == sound.seen.hop).all()
        assert 0 < parts[0] <= turned
        sound.host.edit(before)
        turned_back = sound.host.plan.position
        sound.play(turned_back + 24_000)
        assert list(sound.seen.views()) == ["in", "out"]
        assert sound.seen.views()["out"].latency == 0
        for view in ("in", "out"):
            positions, columns = sound.seen.columns(view)
            assert sound.seen.views()[view].skipped == 0
            np.testing.assert_array_equal(positions, sound.seen.hop * np.arange(1, len(positions) + 1))
        # Long after each edit the columns are again those of the input at their positions.
        given_, (positions, columns) = sound.seen.columns("in")[1], sound.seen.columns("out")
        late, end = positions > turned + 9_600, positions > turned_back + 9_600
        both = (late & (positions < turned_back - 9_600)) | end
        heard = decibels(columns[both]) - decibels(given_[: len(columns)][both])
        assert np.abs(heard[positions[both] < turned_back]).mean() < 0.5
        assert heard[positions[both] > turned_back].mean() == pytest.approx(-6.0, abs=0.5)
    assert not (folder / f"{PREFIX}{os.getpid()}").exists()
    assert not sound.seen.alive


def test_a_failed_edit_leaves_the_views(folder):
    with Edited(parse_chain("gain")) as sound:
        sound.play(960)
        kept = Plan(parse_chain("remix"), 48_000, 64, 2)
        sound.host.observer.watch(kept)
        assert len(sound.seen.views()) == 5
        with pytest.raises(UserError, match="nothing to hear"):
            sound.host.edit(Graph([], ["in -> out.aside"]))
        assert list(sound.seen.views()) == ["in", "out"]
        sound.play(sound.played + 4_800)
        kept.close()


def test_without_room_nothing_is_shown(folder):
    counters = Counters(shared=True)
    host = Host(Plan(parse_chain("remix"), 48_000, 64, 2), Stepped(), counters=counters)
    host.start()
    host.device.step(0.5)
    assert "rtaudio-observe" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(UserError, match=f"process {os.getpid()} is a host of another version"):
        Observation(os.getpid())
    host.close()


# Processes


def await_(condition):
    until = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


READER = """
    import os, signal, sys, time
    from rtaudio.observation import Observation
    assert "numba" not in sys.modules
    seen, since = Observation(int(sys.argv[1])), 0
    while True:
        positions, columns = seen.columns("out", since)
        if len(positions):
            since = int(positions[-1])
            print(len(positions), positions[0], since, flush=True)
        seen.meters("remix/harmonic", since)
        time.sleep(0.005)
"""


@contextmanager
def reader(pid):
    command = [sys.executable, "-c", textwrap.dedent(READER), str(pid)]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_reader_that_is_killed_disturbs_nothing_and_its_successor_sees_all_at_once():
    with live("--api", "null", "--chain", "remix", "--block", 64) as host:
        host.line("READY")
        pid = host.process.pid
        with reader(pid) as first:
            for _ in range(5):
                last = int(first.stdout.readline().split()[2])
            first.send_signal(signal.SIGKILL)
            assert first.wait(DEADLINE) == -signal.SIGKILL
        with reader(pid) as second:
            count, begin, end = map(int, second.stdout.readline().split())
            assert begin <= last < end
            assert count > (last - begin) // 480 * 0.5
            later = int(second.stdout.readline().split()[2])
            assert later > end
            second.kill()
        seen = Observation(pid)
        assert seen.alive
        positions, columns = seen.columns("in")
        assert len(positions) + seen.views()["in"].skipped >= positions[-1] // seen.hop
        assert not columns.any()  # The null device gives silence.
        durations, counts = seen.histogram()
        assert durations.shape == counts.shape
        assert counts.sum() == pytest.approx(seen.counters()["callbacks"], abs=100)
        assert host.end() == 0
    assert not seen.alive
    assert len(seen.columns("in")[0]) >= len(positions)


def test_a_host_that_takes_anothers_place_is_found():
    remix = "--api", "null", "--chain", "remix"
    other = Counters(shared=True, room=OBSERVED.itemsize)  # The test's own process, without such views.
    with live(*remix) as first, live(*remix) as next_:
        first.line("READY")
        next_.line("READY")
        seen = Observation(first.process.pid)
        with pytest.raises(UserError, match=r"hosts that run live: .*, .*: say which"):
            Observation()
        await_(lambda: seen.views()["out"].position > 0)
        assert seen.again() is seen
        first.process.kill()
        await_(lambda: not seen.alive)  # It has not been waited for: a process that has ended is none.
        found = seen.again()
        assert found.pid == next_.process.pid
        since = found.views()["out"].position
        await_(lambda: len(found.columns("out", since)[0]))
        assert next_.end() == 0
        with pytest.raises(UserError, match="has ended, and no host with its views has come"):
            found.again(0.01)
    other.close()


def test_reading_loads_no_compiler():
    code = "import sys, rtaudio.observation; sys.exit('numba' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=False).returncode == 0


# status


def test_status_shows_a_spectrum(run, folder, capsys):
    seen = run("gain", sine(1_000.0, 0.2, 0.5))
    assert main(["status", "--spectrum", "out"]) == 0
    line = capsys.readouterr().out
    assert line.startswith("out: 20 Hz ")
    assert line.endswith(" 20000 Hz\n")
    cells = line[len("out: 20 Hz ") : -len(" 20000 Hz\n")]
    assert len(cells) == status.SPECTRUM_CELLS
    loudest = max(range(len(cells)), key=lambda cell: status.STEPS.index(cells[cell]))
    assert loudest == pytest.approx(np.log(1_000 / LOWEST) / np.log(HIGHEST / LOWEST) * len(cells), abs=2)
    assert cells[:10] == 10 * " "
    assert main(["status", str(seen.pid), "--spectrum", "cue"]) == 2
    assert capsys.readouterr().err == "rtaudio: no view 'cue' (in, out)\n"
    assert main(["status", "--spectrum", "out", "--json", "-"]) == 2
    assert "leave --watch and --spectrum out" in capsys.readouterr().err


def test_status_has_a_meter_for_every_channel(run):
    source = sine(1_000.0, 0.5, 0.5, channels=2)
    source[:, 1] *= 3
    seen, since = run("gain", source), {}
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(status.picture(seen, since, "in"))
    text = console.export_text()
    assert since == dict.fromkeys(["in", "out"], seen.views()["out"].position)
    row = next(line for line in text.splitlines() if line.startswith("in "))
    assert row.split()[-5:] == ["-6.0", "-6.0", "-9.0", f"{seen.meters('in').loudness:.1f}", "0"]
    assert f"host {seen.pid}: 48000 Hz, blocks of 128" in text
    assert "xruns 0" in text
    assert status.meter(1.0, 1.0).plain == "━" * (status.METER_CELLS - 1) + "┃"
    assert status.meter(0.0, 0.0).plain == " " * status.METER_CELLS
    assert status.meter(10 ** (-30 / 20), 0.0).plain.count("━") == status.METER_CELLS // 2


def test_status_watch_shows_a_host_until_ctrl_c_or_its_end():
    """On a terminal of its own; this process stands for the host."""
    counters = Counters(shared=True, room=OBSERVED.itemsize)
    plan = Plan(parse_chain("gain"), 48_000, 128, 2)
    plan.count_in(counters)
    observer = Observer(counters, plan, [])
    for end in ("ctrl-c", "close"):
        master, terminal = os.openpty()
        command = [sys.executable, "-m", "rtaudio", "status", str(os.getpid()), "--watch"]
        process = subprocess.Popen(
            command, env=ENVIRONMENT, stdin=terminal, stdout=terminal, stderr=subprocess.PIPE, text=True
        )
        os.close(terminal)
        shown = b""
        while shown.count(b"xruns 0") < 3:
            assert select.select([master], [], [], DEADLINE)[0]
            shown += os.read(master, 65_536)
            assert len(shown) < 1_000_000, shown[-2000:]
        assert b"LUFS" in shown
        if end == "close":
            counters.close()
        else:
            process.send_signal(signal.SIGINT)
        rest = threading.Thread(target=_drain, args=(master,))
        rest.start()
        said = process.communicate(timeout=DEADLINE)[1]
        rest.join()
        os.close(master)
        if end == "close":
            assert process.returncode == 2
            assert said == f"rtaudio: process {os.getpid()} has ended, and no host with its views has come\n"
        else:
            assert (process.returncode, said) == (0, "")
    observer.close()
    plan.close()


def _drain(master):
    with suppress(OSError):  # Its other end is closed.
        while os.read(master, 65_536):
            pass


def test_status_watch_wants_a_terminal(run, capsys):
    run("gain", noise(0.1))
    assert main(["status", "--watch"]) == 2
    assert capsys.readouterr().err == "rtaudio: --watch draws on a terminal: leave it out here\n"
