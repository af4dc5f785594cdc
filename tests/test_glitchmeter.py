"""The meter of the benchmarks finds every fault, and none where there is none."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.alone

try:
    import jack
except (ImportError, OSError) as error:
    pytest.skip(f"needs JACK-Client and JACK's library: {error}", allow_module_level=True)

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
BLOCK, CHANNELS, CYCLES, DELAY = 64, 2, 400, 192
FAULT = 150
"""Cycle in which a fault happens, or from which on."""


def load(name):
    """A module of the benchmarks, which are no package."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


jackd, stalls = load("jackd"), load("stalls")
meter = load("glitchmeter")

# ------------------------------------------------------------------------------------------- the checks alone


class Line:
    """One channel of the meter around a line that delays and has a fault."""

    def __init__(self, mode, number=0):
        self.ramp = mode == "ramp"
        self.channel = np.zeros(meter.CHANNEL_WORDS, np.int64)
        self.log = np.zeros(1 + meter.LOG_CAPACITY, np.int64)
        self.levels = np.zeros(meter.LEVEL_WORDS)
        self.levels[meter.TOLERANCE] = 1e-6
        self.programme = meter.noise(CHANNELS)[number]
        self.channel[meter.TABLE] = self.programme.ctypes.data
        self.channel[meter.LEVELS] = self.levels.ctypes.data
        self.channel[meter.OFFSET] = number * meter.APART
        self.channel[[meter.STATE, meter.DELAY]] = meter.UNKNOWN if self.ramp else DELAY
        self.channel[meter.LOWEST] = np.iinfo(np.int64).max

    def sent(self, first=0):
        """All that is sent, from a time of the server's clock on."""
        play = meter.play_ramp if self.ramp else meter.play_programme
        blocks = np.zeros((CYCLES, BLOCK), np.float32)
        for cycle, block in enumerate(blocks):
            play(self.channel, first + cycle * BLOCK, block)
        return blocks.ravel()

    def check(self, returned, first=0):
        """Events, in cycles."""
        check = meter.check_ramp if self.ramp else meter.check_programme
        for cycle, block in enumerate(returned.reshape(CYCLES, BLOCK)):
            check(self.channel, first + cycle * BLOCK, block, self.log.ctypes.data, cycle)
        assert self.log[0] == self.channel[meter.EVENTS]
        return self.log[1 : 1 + self.log[0]].tolist()


def delayed(sent, samples=DELAY):
    """As if it had been sent for ever."""
    return np.roll(sent, samples)


def drop_one(x, at):
    return np.concatenate([x[:at], x[at + 1 :], x[-1:] + np.float32(1 / meter.NUMBERS)])


def delay_one(x, at):
    return np.concatenate([x[: at + 1], x[at:-1]])


def repeat_block(x, at):
    x[at : at + BLOCK] = x[at - BLOCK : at]
    return x


def next_float(x, at):
    x[at] = np.nextafter(x[at], np.float32(2))
    return x


def silence(x, at):
    x[at : at + 10] = 0
    return x


def not_a_number(x, at):
    x[at] = np.nan
    return x


def infinite(x, at):
    x[at] = -np.inf
    return x


FAULTS = [drop_one, delay_one, repeat_block, next_float, silence, not_a_number, infinite]


@pytest.mark.parametrize("mode", ["ramp", "null"])
@pytest.mark.parametrize("first", [0, 7 * BLOCK, meter.NUMBERS - 100 * BLOCK, meter.FRAMES - 200 * BLOCK])
def test_a_good_line_has_no_event(mode, first):
    line = Line(mode, number=1)
    history = Line(mode, number=1).sent(first - CYCLES * BLOCK)
    returned = np.concatenate([history, line.sent(first)])[-DELAY - CYCLES * BLOCK : -DELAY]
    assert line.check(returned, first) == []
    assert line.channel[meter.DELAY] == DELAY
    assert line.channel[meter.WRONG] == line.channel[meter.SILENT] == line.channel[meter.CHANGES] == 0


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("at", [FAULT * BLOCK, FAULT * BLOCK + 17])
def test_the_ramp_shows_a_fault(fault, at):
    line = Line("ramp")
    history = Line("ramp").sent(-CYCLES * BLOCK)
    returned = np.concatenate([history, line.sent()])[-DELAY - CYCLES * BLOCK : -DELAY]
    events = line.check(fault(returned, at))
    assert events[0] == FAULT
    assert len(events) == (2 if fault is repeat_block else 1)
    shift = {"drop_one": -1, "delay_one": 1}.get(fault.__name__, 0)
    assert line.channel[meter.DELAY] == DELAY + shift
    assert line.channel[meter.SILENT] == (10 if fault is silence else 0)
    assert line.channel[meter.WRONG] == (1 if fault in {next_float, not_a_number, infinite} else 0)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault is not next_float])
def test_the_null_shows_a_fault(fault):
    line = Line("null")
    returned = fault(delayed(line.sent()), FAULT * BLOCK)
    returned[:DELAY] = line.programme[-DELAY:]
    assert line.check(returned) == [FAULT]
    assert line.channel[meter.WRONG] > 0


def test_the_null_tolerates_rounding_and_says_how_much():
    line = Line("null")
    returned = delayed(line.sent())
    returned[:DELAY] = line.programme[-DELAY:]
    returned[5000] += np.float32(5e-7)
    assert line.check(returned) == []
    assert meter.decibels(line.levels[meter.TOLERATED]) == pytest.approx(-126, abs=0.3)
    assert line.levels[meter.LARGEST] == line.levels[meter.TOLERATED]


def test_swapped_channels_are_another_delay():
    left, right = Line("ramp"), Line("ramp", number=1)
    left.check(right.sent())
    assert left.channel[meter.DELAY] != 0


def test_a_full_log_still_counts():
    log = np.zeros(1 + meter.LOG_CAPACITY, np.int64)
    log[0] = meter.LOG_CAPACITY - 1
    for moment in (5, 6, 7):
        meter.note(log.ctypes.data, moment)
    assert log[0] == meter.LOG_CAPACITY + 2
    assert log[-1] == 5


@pytest.mark.parametrize("delay", [0, 1, 4095, 100_000])
@pytest.mark.parametrize("frame", [250_000, meter.FRAMES - 11])
def test_the_delay_is_found(delay, frame):
    programme = meter.noise(1)[0]
    returned = np.zeros(meter.HISTORY, np.float32)
    times = np.arange(frame - meter.HISTORY, frame)
    returned[times % meter.HISTORY] = 0.9 * programme[(times - delay) % meter.PROGRAMME_SAMPLES]
    assert meter.find_delay(returned, frame, programme) == delay
    assert meter.find_delay(np.zeros_like(returned), frame, programme) is None


# ------------------------------------------------------------------------------------------- excuses


def test_windows_are_drawn_out_and_merged():
    spans = np.array([[100, 200], [150, 180], [230, 260], [1000, 1100]])
    excused = stalls.windows(spans, 50)
    assert excused.tolist() == [[100, 310], [1000, 1150]]
    times = np.array([99, 100, 310, 311, 999, 1150, 1151])
    assert stalls.inside(times, excused).tolist() == [False, True, True, False, False, True, False]
    assert stalls.share(excused, 0, 2000) == pytest.approx(0.18)
    assert stalls.share(excused, 200, 1050) == pytest.approx((110 + 50) / 850)


def test_without_stalls_nothing_is_excused():
    excused = stalls.windows(np.zeros((0, 2), np.int64), 50)
    assert not stalls.inside(np.array([1, 2]), excused).any()
    assert stalls.share(excused, 0, 10) == 0


# ------------------------------------------------------------------------------------------- with a server

needs_server = pytest.mark.skipif(jackd.absent() is not None, reason=str(jackd.absent()))


@pytest.fixture(scope="module")
def server():
    with jackd.JackServer(256) as running:
        yield running


def measure(server, target, *options, seconds=1.5):
    """The meter's report, by its command line."""
    command = [sys.executable, BENCHMARKS / "glitchmeter.py", target, "--seconds", str(seconds), *options]
    answer = subprocess.run(
        [*command, "--server", server.name], capture_output=True, text=True, timeout=90, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


class FaultyClient:
    """Copies with a delay of two periods; twice a second something befalls what it has in store."""

    def __init__(self, server, fault):
        self.client = jack.Client("faulty", no_start_server=True, servername=server.name)
        self.ports = [
            (self.client.inports.register(f"in_{c}"), self.client.outports.register(f"out_{c}"))
            for c in range(CHANNELS)
        ]
        self.store = [np.zeros(2 * server.period, np.float32) for _ in range(CHANNELS)]
        self.fault, self.every, self.cycle = fault, server.rate // server.period // 2, 0
        self.client.set_process_callback(self.process)

    def process(self, frames):
        self.cycle += 1
        for c, (source, sink) in enumerate(self.ports):
            store = np.concatenate([self.store[c], source.get_array()])
            if self.cycle % self.every == 0:
                store = self.fault(store, frames)
            sink.get_array()[:] = store[:frames]
            self.store[c] = store[frames:]

    def __enter__(self):
        self.client.activate()

    def __exit__(self, *_):
        self.client.deactivate()
        self.client.close()


def late(x, at):
    time.sleep(0.02)
    return x


@needs_server
@pytest.mark.parametrize("mode", ["ramp", "null"])
def test_the_meter_patched_to_itself(server, mode):
    report = measure(server, "self", "--mode", mode)
    assert report["period"] == 256
    assert report["channels"] == 2
    assert report["latency"] == report["latency_min"] == report["latency_max"] == 0
    assert report["channel_latency"] == [0, 0]
    assert report["cycles"] == pytest.approx(1.5 * 48_000 / 256, rel=0.2)
    if report["watch_real_time"] and report["server_real_time"]:
        assert report["events_unexplained"] == 0


@needs_server
@pytest.mark.parametrize("fault", [drop_one, delay_one, repeat_block, next_float, late])
def test_the_meter_finds_what_a_client_does_wrong(server, fault):
    with FaultyClient(server, fault):
        report = measure(server, "faulty", "--settle", "0.3")
    assert report["events"] >= 2
    assert len(report["event_times"]) == report["events"]
    if fault is late:
        assert report["gaps"] >= 1
        assert report["xruns"] >= 1
        return
    assert min(report["channel_events"]) >= 1
    assert report["silent_samples"] == 0
    if fault is next_float:
        assert report["wrong_samples"] >= 2
        assert report["latency_changes"] == 0 or report["gaps"]
    else:
        assert report["latency_changes"] >= 2


@needs_server
def test_the_meter_says_what_is_missing(server):
    command = [sys.executable, BENCHMARKS / "glitchmeter.py", "nobody"]
    for name, message in (
        (server.name, "client 'nobody' has 0 inputs"),
        ("rtaudio-no-server", "no JACK server"),
    ):
        answer = subprocess.run(
            [*command, "--server", name], capture_output=True, text=True, timeout=90, check=False
        )
        assert answer.returncode == 2
        assert message in answer.stderr
        assert "Traceback" not in answer.stderr
