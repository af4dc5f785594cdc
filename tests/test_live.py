"""The live host on the null device: the same samples as offline, whatever happens around them."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from contextlib import suppress
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
from sound_files import RATE, read, sound, write
from stepped import Stepped

from engines.gain import Gain
from rtaudio import host as host_module
from rtaudio import registry
from rtaudio.chain import load_chain
from rtaudio.cli import main
from rtaudio.deck import Deck
from rtaudio.errors import FileError, UserError
from rtaudio.files import AudioReader, AudioWriter
from rtaudio.graph import Graph, Node
from rtaudio.host import RETRY_LONGEST, Host
from rtaudio.kernel import channel, kernel, position
from rtaudio.native import f64_vector, i64_vector, now_ns
from rtaudio.null import NullDevice, duration_ns
from rtaudio.plan import Plan
from rtaudio.processor import Parameter, Port, Processor
from rtaudio.rack import dump_rack, rack_of
from rtaudio.realtime import raise_priority
from rtaudio.stress import stress

pytestmark = pytest.mark.alone

DEADLINE = 60.0
"""Seconds after which a process that should have ended is taken to hang."""


# The same samples as offline


@pytest.mark.parametrize("chain", ["", "limiter", "remix(percussive_gain=-60)"])
def test_a_paced_run_is_the_same(tmp_path, capsys, chain):
    samples = RATE // 2
    source = write(tmp_path / "in.wav", sound(samples))
    arguments = ["--file", str(source), "--chain", chain, "--json", str(tmp_path / "live.json")]
    assert main(["live", *arguments, "--record", str(tmp_path / "live.wav")]) == 0
    assert main(["render", str(source), "-o", str(tmp_path / "r.wav"), "--chain", chain]) == 0
    told = json.loads((tmp_path / "live.json").read_text())
    assert told["file_underflows"] == told["record_overflows"] == 0  # the rings hold four seconds
    latency = told["latency"]["total"]
    recorded, rendered = read(tmp_path / "live.wav"), read(tmp_path / "r.wav")
    np.testing.assert_array_equal(recorded[latency : latency + samples], rendered)
    assert f"misses {told['misses']}, load" in capsys.readouterr().err
    assert told["load"] > 0
    for times in (told["callback_us"], *told["nodes"].values()):
        assert 0 < times["p50"] <= times["p99"] <= times["max"]


def test_latency_is_told_by_part_and_is_what_an_impulse_takes(tmp_path):
    samples = np.zeros((30_000, 1), np.float32)
    samples[1000] = 0.5
    source = write(tmp_path / "in.wav", samples)
    chain = "a: limiter(lookahead=2) | b: limiter(lookahead=3)"
    arguments = ["--file", str(source), "--chain", chain, "--json", str(tmp_path / "j")]
    assert main(["live", *arguments, "--freewheel", "--record", str(tmp_path / "r.wav")]) == 0
    told = json.loads((tmp_path / "j").read_text())["latency"]
    assert told == {"total": told["a"] + told["b"], "a": told["a"], "b": told["b"]}
    assert told["a"] < told["b"]
    np.testing.assert_array_equal(np.flatnonzero(read(tmp_path / "r.wav")), [1000 + told["total"]])


# The file as input


@pytest.mark.parametrize(("extension", "subtype"), [(".wav", "FLOAT"), (".flac", "PCM_24")])
@pytest.mark.parametrize("freewheel", [True, False])
def test_a_loop_has_no_seam(tmp_path, extension, subtype, freewheel):
    once = sound(4_999)
    source = write(tmp_path / f"in{extension}", once, subtype=subtype)
    once = read(source)
    arguments = ["--file", str(source), "--loop", "--seconds", "0.5", "--record", str(tmp_path / "r.wav")]
    assert main(["live", *arguments, *["--freewheel"] * freewheel]) == 0
    recorded = read(tmp_path / "r.wav")
    assert len(recorded) == -(-24_000 // 128) * 128
    np.testing.assert_array_equal(recorded, np.tile(once, (6, 1))[: len(recorded)])


@pytest.mark.parametrize("block", [1, 100, 65_536])
def test_seconds_beyond_the_file_let_it_ring_on(tmp_path, block):
    once = sound(3000, 1)
    source = write(tmp_path / "in.wav", once, 8000)
    arguments = ["--file", str(source), "--block", str(block), "--freewheel", "--seconds", "1.25"]
    chain = "delay(time=1000, feedback=0, mix=1)"
    assert main(["live", *arguments, "--chain", chain, "--record", str(tmp_path / "r.wav")]) == 0
    recorded = read(tmp_path / "r.wav")
    assert len(recorded) == -(-10_000 // block) * block
    want = np.zeros((max(len(recorded), 11_000), 1), np.float32)
    want[8000:11_000] = once
    np.testing.assert_array_equal(recorded, want[: len(recorded)])


def test_seconds_end_a_longer_file(tmp_path):
    once = sound(9000, 1)
    source = write(tmp_path / "in.wav", once, 8000)
    arguments = [
        "--file",
        str(source),
        "--freewheel",
        "--seconds",
        "0.5",
        "--record",
        str(tmp_path / "r.wav"),
    ]
    assert main(["live", *arguments, "--block", "100"]) == 0
    np.testing.assert_array_equal(read(tmp_path / "r.wav"), once[:4000])
    assert main(["live", *arguments[:3], "--seconds", "1e-9", *arguments[5:], "--block", "100"]) == 0
    np.testing.assert_array_equal(read(tmp_path / "r.wav"), once[:100])


def test_files_that_do_not_fit_the_plan_are_refused(tmp_path):
    plan = Plan(load_chain(""), RATE, 128, 2)
    for rate, channels in ((44_100, 2), (RATE, 1)):
        file = AudioReader(write(tmp_path / "in.wav", sound(100, channels), rate))
        with pytest.raises(ValueError, match="the file is at"):
            Host(plan, NullDevice(), file)
        file.close()
        record = AudioWriter(tmp_path / "r.wav", rate, channels)
        with pytest.raises(ValueError, match="the recording is at"):
            Host(plan, NullDevice(), record=record)
        record.abort()


def test_samples_that_were_not_there_in_time_are_told_and_the_exit_status(tmp_path, monkeypatch, capsys):
    """A file that is read only after ten blocks were played."""
    keep_full, start_device, go = Deck.run, NullDevice.start, threading.Event()

    def read_late(self, stop):
        assert go.wait(DEADLINE)
        keep_full(self, stop)

    def start_and_go(self, stream, end):
        start_device(self, stream, end)
        wait_for(lambda: stream.plan.position >= 1280)
        go.set()

    monkeypatch.setattr(Deck, "fill", lambda self: None)
    monkeypatch.setattr(Deck, "run", read_late)
    monkeypatch.setattr(NullDevice, "start", start_and_go)
    source = write(tmp_path / "in.wav", sound(4800))
    arguments = ["--file", str(source), "--seconds", "0.5", "--json", str(tmp_path / "j")]
    assert main(["live", *arguments]) == 1
    late = json.loads((tmp_path / "j").read_text())["file_underflows"]
    assert late >= 1280
    assert f"{late} input samples that the file reader was late for\n" in capsys.readouterr().err


def test_another_rate_than_the_files(tmp_path):
    at = np.arange(44_100) / 44_100
    source = write(tmp_path / "in.wav", (0.5 * np.sin(2 * np.pi * 1000 * at)).astype(np.float32), 44_100)
    arguments = ["--file", str(source), "--rate", "48000", "--freewheel", "--json", str(tmp_path / "j")]
    assert main(["live", *arguments, "--record", str(tmp_path / "r.wav")]) == 0
    recorded, rate = sf.read(tmp_path / "r.wav")
    assert rate == json.loads((tmp_path / "j").read_text())["rate"] == 48_000
    want = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(48_000) / 48_000)
    assert np.abs(recorded[500:47_500] - want[500:47_500]).max() < 1e-5


def test_a_file_that_ends_too_soon_is_silence_and_told(tmp_path, capsys):
    source = write(tmp_path / "in.flac", sound(40_000), subtype="PCM_24")
    full = read(source)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    arguments = ["--file", str(source), "--freewheel", "--record", str(tmp_path / "r.wav")]
    assert main(["live", *arguments]) == 1
    assert "truncated" in capsys.readouterr().err
    recorded = read(tmp_path / "r.wav")
    heard = np.flatnonzero(recorded.any(axis=1))[-1] + 1
    assert 16_000 <= heard <= 20_000
    np.testing.assert_array_equal(recorded[:heard], full[:heard])


def test_freewheeling_waits_for_both_files(tmp_path):
    """A reader or a recorder that is slower than the graph delays it; nothing is lost, nothing is counted."""
    rate, samples = 8000, 500_000  # three times what the rings hold
    once = sound(samples)
    reads, writes = threading.Semaphore(9), threading.Semaphore(0)

    class Slow(AudioReader):
        def read(self, n):
            assert reads.acquire(timeout=DEADLINE)
            return super().read(n)

    class SlowToo(AudioWriter):
        def write(self, block):
            assert writes.acquire(timeout=DEADLINE)
            super().write(block)

    plan = Plan(load_chain(""), rate, 128, 2)
    file = Slow(write(tmp_path / "in.wav", once, rate))
    record = SlowToo(tmp_path / "r.wav", rate, 2)
    with Host(plan, NullDevice(freewheel=True), file, record=record) as host:
        host.start()
        try:
            wait_for(lambda: plan.position >= 32_768)
            reads.release(1000)
            wait_for(lambda: plan.position >= 32_768 + 4096)
            assert host.running
        finally:
            reads.release(1000)
            writes.release(1000)
        wait_for(lambda: not host.running)
    told = host.statistics()
    assert told["file_underflows"] == told["record_overflows"] == 0
    np.testing.assert_array_equal(read(tmp_path / "r.wav")[:samples], once)


def wait_for(event):
    until = time.monotonic() + DEADLINE
    while not event():
        assert time.monotonic() < until
        time.sleep(0.01)


# The clock


class Stall(Processor):
    """Passes its input; at one block it takes three periods. Logs when every block begins and ends."""

    id = "stall"
    log = np.zeros(0)

    def allocate(self):
        type(self).log = np.zeros(3000)
        period = self.block * 1_000_000_000 // self.rate
        return np.array([self.channels, 10 * self.block, 3 * period], np.int64), Stall.log


@kernel
def stall_kernel(state, inputs, outputs, n, params, context):
    words, log = i64_vector(state, 0), f64_vector(state, 1)
    at, begin = position(context), now_ns()
    number = at // n
    if at == words[1]:
        while now_ns() < begin + words[2]:
            pass
    for c in range(words[0]):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        for i in range(n):
            y[i] = x[i]
    log[2 * number], log[2 * number + 1] = begin, now_ns()
    return 0


Stall.KERNEL = stall_kernel


def test_a_block_that_takes_too_long_is_a_miss_and_no_burst_follows(tmp_path):
    once = sound(RATE // 2)
    block, blocks = 480, RATE // 2 // 480
    period = block * 1e9 / RATE
    plan = Plan(Graph([Node("a", Stall)], ["in -> a", "a -> out"]), RATE, block, 2)
    record = AudioWriter(tmp_path / "r.wav", RATE, 2)
    with Host(plan, NullDevice(), AudioReader(write(tmp_path / "in.wav", once)), record=record) as host:
        host.start()
        wait_for(lambda: not host.running)
    told = host.statistics()
    np.testing.assert_array_equal(read(tmp_path / "r.wav"), once)
    begins, ends = Stall.log[: 2 * blocks].reshape(-1, 2).T
    assert ends[10] - begins[10] >= 3 * period
    assert told["misses"] >= 1
    assert told["latest_us"] >= 2 * period / 1e3 - 1
    # Whatever else the machine delays: after a miss the clock starts anew, a period later. The k-th block
    # after it is not due before k more periods, so it cannot begin before.
    for k in range(1, blocks - 10):
        assert begins[10 + k] >= ends[10] + k * period
    # And a block is a miss only if it was done more than a period after the one before it was.
    assert told["misses"] <= 1 + np.count_nonzero(np.diff(ends) > period)


def test_signals_do_not_hurry_the_clock():
    """One that reaches the device's thread ends its sleep, not the wait for the block."""
    handled = signal.signal(signal.SIGUSR1, lambda *_: None)
    block = 480
    plan, device = Plan(Graph([Node("a", Stall)], ["in -> a", "a -> out"]), RATE, block, 2), NullDevice()
    with Host(plan, device) as host:
        host.start()
        while plan.position < 40 * block:
            signal.pthread_kill(device._thread.ident, signal.SIGUSR1)
            time.sleep(0.001)
    signal.signal(signal.SIGUSR1, handled)
    begins = Stall.log[: 2 * 40 : 2]
    # The first may begin a period late; if it is later, that is a miss, and all are due later.
    assert begins[-1] - begins[0] >= 38 * block * 1e9 / RATE


@pytest.mark.parametrize("kind", ["none", "gil", "gc", "cpu"])
def test_a_stress_runs_meanwhile_and_ends(tmp_path, capsys, kind):
    """However busy the interpreter is, what is played is the same; its threads are gone afterwards."""
    once = sound(RATE // 4)
    source = write(tmp_path / "in.wav", once)
    before = threading.active_count()
    arguments = ["--file", str(source), "--stress", kind, "--record", str(tmp_path / "r.wav"), "--json", "-"]
    assert main(["live", "--api", "null", *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    assert threading.active_count() == before
    assert told["blocks"] == -(-RATE // 4 // 128)
    np.testing.assert_array_equal(read(tmp_path / "r.wav")[: len(once)], once)


@pytest.mark.parametrize(("kind", "count"), [("none", 0), ("gil", 1), ("gc", 1), ("cpu", 2 * os.cpu_count())])
def test_a_stress_is_as_many_threads_that_work(kind, count):
    def spent(threads):
        return [time.clock_gettime(time.pthread_getcpuclockid(thread.ident)) for thread in threads]

    before = set(threading.enumerate())
    with stress(kind):
        threads = set(threading.enumerate()) - before
        assert len(threads) == count
        first = spent(threads)
        wait_for(lambda: all(b > a for a, b in zip(first, spent(threads), strict=True)))
    assert set(threading.enumerate()) == before
    with pytest.raises(ZeroDivisionError), stress(kind):
        1 / 0  # noqa: B018
    assert set(threading.enumerate()) == before


def test_the_clock_is_exact_for_years():
    for rate in (8000, 44_100, 384_000):
        for samples in (0, 1, rate - 1, rate, 2**33, 10**13 + 7):
            assert duration_ns(samples, rate) == samples * 10**9 // rate


def test_a_system_without_the_clock_is_told(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert main(["live", "--seconds", "1"]) == 2
    assert capsys.readouterr().err == "rtaudio: live needs Linux (clock_nanosleep): use render here\n"


@pytest.mark.parametrize("granted", [True, False])
def test_real_time_priority_is_told_as_it_is(monkeypatch, capsys, granted):
    if granted:
        probe = []
        thread = threading.Thread(
            target=lambda: probe.append(bool(raise_priority(threading.get_native_id(), 10)))
        )
        thread.start()
        thread.join()
        granted = probe[0]
    else:

        def refuse(*_):
            raise PermissionError

        monkeypatch.setattr(os, "sched_setscheduler", refuse)
    device = NullDevice()
    plan = Plan(load_chain(""), RATE, 64, 1)
    with Host(plan, device, seconds=3600) as host:
        host.start()
        policy = os.sched_getscheduler(device._thread.native_id) & ~os.SCHED_RESET_ON_FORK
        assert (policy == os.SCHED_FIFO) == granted == host.statistics()["realtime_priority"]
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
    assert main(["live", "--seconds", "0.01"]) == 0
    assert ("no real-time priority" in capsys.readouterr().err) == (not granted)
    assert main(["live", "--seconds", "0.01", "--freewheel"]) == 0
    assert "real-time" not in capsys.readouterr().err


def test_without_file_or_end_it_runs_until_closed():
    device = NullDevice()
    with Host(Plan(load_chain(""), RATE, 64, 2), device) as host:
        host.start()
        wait_for(lambda: host.plan.position >= 64 * 20)
        assert host.running
    assert not host.running
    calls = host.statistics()["callbacks"]
    host.close()
    assert host.statistics()["callbacks"] == calls >= 20


# Outputs


class Mono(Processor):
    """The sum of the channels."""

    id = "mono"
    outputs = (Port("out", 1),)

    def allocate(self):
        return (np.array([self.channels], np.int64),)


@kernel
def mono_kernel(state, inputs, outputs, n, params, context):
    y = channel(outputs, 0, n)
    for i in range(n):
        y[i] = np.float32(0)
    for c in range(i64_vector(state, 0)[0]):
        x = channel(inputs, c, n)
        for i in range(n):
            y[i] += x[i]
    return 0


Mono.KERNEL = mono_kernel


class Failing(Processor):
    """Passes its input, but for two stretches in which it fails, with a status or with NaN."""

    id = "failing"
    parameters = (
        Parameter("begin", 0.0, 0.0, 1e9, automatable=False),
        Parameter("end", 1e9, 0.0, 1e9, automatable=False),
        Parameter("nan", 0.0, automatable=False),
    )

    def allocate(self):
        return (np.array([self.channels, *map(float, self.values.values())]),)


@kernel
def failing_kernel(state, inputs, outputs, n, params, context):
    words, at = f64_vector(state, 0), position(context)
    fails = words[1] <= at < words[2]
    for c in range(int(words[0])):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        for i in range(n):
            y[i] = -x[i]
        if fails and words[3] > 0.0:
            y[n - 1] = np.float32(np.nan)
    return 7 if fails and words[3] == 0.0 else 0


Failing.KERNEL = failing_kernel


@pytest.fixture
def own_engines(monkeypatch):
    """Makes this module's engines known to the command line."""
    module = sys.modules[__name__]
    own = [
        EntryPoint(cls.id, f"{__name__}:{cls.__name__}", "rtaudio.engines") for cls in (Mono, Failing, Stall)
    ]
    assert all(hasattr(module, entry.attr) for entry in own)

    def with_own(group, **match):
        return EntryPoints([*entry_points(group=group), *own]).select(group=group, **match)

    monkeypatch.setattr(registry, "entry_points", with_own)


@pytest.mark.usefixtures("own_engines")
def test_fewer_channels_out_than_in(tmp_path, capsys):
    once = sound(5000, 3)
    source = write(tmp_path / "in.wav", once)
    arguments = ["--file", str(source), "--freewheel", "--chain", "mono", "--record", str(tmp_path / "r.wav")]
    assert main(["live", *arguments]) == 0
    recorded = read(tmp_path / "r.wav")
    assert recorded.shape[1] == 1
    np.testing.assert_array_equal(recorded[:5000, 0], once[:, 0] + once[:, 1] + once[:, 2])
    assert "3 channels in, 1 out" in capsys.readouterr().err


def test_a_graph_without_a_main_output_is_not_live(tmp_path, capsys):
    graph = Graph([Node("a", Gain)], ["in -> a", "a -> out.x", "a -> out.y"])
    with pytest.raises(UserError, match=r"only out\.x, out\.y is connected; add an edge '\.\.\. -> out'"):
        Host(Plan(graph, RATE, 64, 2), NullDevice())
    (tmp_path / "rack.toml").write_text(dump_rack(rack_of(graph)))
    arguments = [
        "--chain",
        str(tmp_path / "rack.toml"),
        "--seconds",
        "1",
        "--record",
        str(tmp_path / "r.wav"),
    ]
    assert main(["live", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert os.listdir(tmp_path) == ["rack.toml"]


def test_outputs_beside_the_main_one_are_not_recorded(tmp_path):
    once = sound(1000, 1)
    write(tmp_path / "in.wav", once)
    graph = Graph([Node("a", Gain, {"gain": -6.0})], ["in -> a", "a -> out.aside", "in -> out"])
    (tmp_path / "rack.toml").write_text(dump_rack(rack_of(graph)))
    arguments = ["--file", str(tmp_path / "in.wav"), "--chain", str(tmp_path / "rack.toml"), "--freewheel"]
    assert main(["live", *arguments, "--record", str(tmp_path / "r.wav")]) == 0
    np.testing.assert_array_equal(read(tmp_path / "r.wav")[:1000], once)


# The recording


FULL_DISK = """
import resource, sys
from rtaudio import counters
from rtaudio.cli import main
from rtaudio.deck import Deck

arguments = ["live", "--freewheel", "--file", sys.argv[1], "--json", sys.argv[3], "--record"]
assert main([*arguments, sys.argv[2] + "/first.wav"]) == 0  # compiles what is not yet
limit, hard, create = int(sys.argv[4]), resource.getrlimit(resource.RLIMIT_FSIZE)[1], counters._created

def create_without_limit(*arguments):  # shared memory is not on the disk that is full
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    words = create(*arguments)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    return words

counters._created = create_without_limit
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
sys.exit(main([*arguments, sys.argv[2] + "/full" + sys.argv[5]]))
"""


@pytest.mark.parametrize("limit", [100_001, 1])
@pytest.mark.parametrize("extension", [".wav", ".flac"])
def test_a_full_disk_ends_the_recording_not_the_sound(tmp_path, limit, extension):
    once = sound(60_000).clip(-0.999, 0.999)
    write(tmp_path / "in.wav", once)
    (tmp_path / "full.py").write_text(FULL_DISK)
    folder = tmp_path / "out"
    folder.mkdir()
    arguments = [tmp_path / "in.wav", folder, "/dev/stdout", limit, extension]
    done = run([sys.executable, tmp_path / "full.py", *arguments])
    assert "Traceback" not in done.stderr
    if limit == 1:  # not even a header, which is found before the sound starts where it is written at once
        assert done.returncode == (2 if extension == ".wav" else 1)
        assert done.stderr.count("file too large") == 1
        assert os.listdir(folder) == ["first.wav"]
        return
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout[done.stdout.rindex('{\n  "pid"') :])
    assert told["callbacks"] == -(-60_000 // 128)
    assert told["record_overflows"] == 0
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning")]
    assert len(warnings) == 1
    assert "the recording ended: cannot write" in warnings[0]
    assert "file too large" in warnings[0]
    assert sorted(os.listdir(folder)) == ["first.wav", f"full{extension}"]
    with AudioReader(folder / f"full{extension}") as reader:  # such a FLAC does not tell its length
        kept = reader.read(60_000).T
    assert 0 < len(kept) < 60_000
    np.testing.assert_allclose(kept, once[: len(kept)], atol=0 if extension == ".wav" else 2**-23)


def run(command, **options):
    """Run a program to its end, as text."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        list(map(str, command)),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
        **options,
    )


@pytest.mark.parametrize("where", ["write", "close"])
def test_a_recorder_that_fails_is_told_once_and_the_sound_goes_on(tmp_path, where):
    class Broken(AudioWriter):
        def write(self, block):
            super().write(block)
            if where == "write":
                raise FileError("cannot write r.wav: the disk burns")

        def close(self):
            self.abort()
            raise FileError("cannot write r.wav: the disk burns")

    source = AudioReader(write(tmp_path / "in.wav", sound(60_000)))
    record = Broken(tmp_path / "r.wav", RATE, 2)
    plan = Plan(load_chain(""), RATE, 128, 2)
    with Host(plan, NullDevice(freewheel=True), source, record=record) as host:
        host.start()
        wait_for(lambda: not host.running)
    assert host.problems == [
        f"{'the recording ended: ' * (where == 'write')}cannot write r.wav: the disk burns"
    ]
    assert plan.position >= 60_000
    assert host.statistics()["problems"] == host.problems
    assert os.listdir(tmp_path) == ["in.wav"]
    host.close()


def test_nothing_recorded_is_told_and_leaves_nothing(tmp_path):
    host = Host(
        Plan(load_chain(""), RATE, 128, 2), Stepped(), record=AudioWriter(tmp_path / "r.wav", RATE, 2)
    )
    with host:
        host.start()
    assert len(host.problems) == 1
    assert "no samples" in host.problems[0]
    assert os.listdir(tmp_path) == []


# The watch over the nodes


@pytest.mark.parametrize("nan", [0.0, 1.0])
def test_a_failed_node_is_bypassed_and_tried_again(monkeypatch, nan):
    clock = [100.0]
    monkeypatch.setattr(host_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    block = 64
    failing = Node("bad", Failing, {"begin": 10.0 * block, "end": 40.0 * block, "nan": nan})
    graph = Graph(
        [failing, Node("good", Gain, {"gain": -20.0})],
        ["in -> bad", "in -> good", "good -> out", "bad -> out.other"],
    )
    plan, device = Plan(graph, RATE, block, 1), Stepped()
    once = sound(80 * block, 1)
    tenth = np.float32(0.1)
    others = []
    rearmed_at = {21, 31, 52}
    with Host(plan, device) as host:
        host.start()
        for number in range(80):
            played = device.step(once[number * block : (number + 1) * block])
            # The other branch never notices.
            np.testing.assert_array_equal(played, once[number * block : (number + 1) * block] * tenth)
            others.append(plan.outputs["other"][0].copy())
            host.poll()
            host.poll()
            if number + 1 in rearmed_at:
                clock[0] += {21: 1.0, 31: 2.0, 52: 4.0}[number + 1]
                host.poll()
                host.poll()
    other = np.concatenate(others)
    waits = [problem.rpartition(" again in ")[2] for problem in host.problems]
    assert waits == ["1 s", "2 s", "4 s"]
    assert host.statistics()["nodes"]["bad"]["failures"] == 3
    assert host.statistics()["nodes"]["good"]["failures"] == 0
    wet, dry = -once[:, 0], once[:, 0]
    np.testing.assert_array_equal(other[: 10 * block], wet[: 10 * block])
    declicked = 10 * block + round(0.005 * RATE)
    np.testing.assert_array_equal(other[declicked : 20 * block], dry[declicked : 20 * block])
    faded = 53 * block + round(0.010 * RATE)
    np.testing.assert_array_equal(other[faded:], wet[faded:])
    assert np.isfinite(other).all()


def test_the_wait_doubles_up_to_a_minute_and_starts_over_after_a_good_one(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(host_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    failing = Node("bad", Failing, {"end": 17.0})
    plan, device = Plan(Graph([failing], ["in -> bad", "bad -> out"]), RATE, 1, 1), Stepped()
    plan._parts["bad"].mean = 1  # Not to be measured: it would be refused.
    waits, tries = [], []
    rearm = plan.rearm
    monkeypatch.setattr(plan, "rearm", lambda name: tries.append(name) or rearm(name))
    with Host(plan, device) as host:
        host.start()
        for _ in range(9):
            device.step(0.5)
            host.poll()
            waits.append(float(host.problems[-1].split()[-2]))
            clock[0] += waits[-1] - 0.01
            host.poll()
            assert plan.failed() == ["bad"]
            clock[0] += 0.01
            host.poll()
            host.poll()
            assert len(tries) == len(waits)  # once: the node may run from now on
            device.step(0.5)
        assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        assert len(host.problems) == 9
        assert plan.failed() == []  # position 17: well again
        clock[0] += RETRY_LONGEST + 1
        host.poll()
        plan._steps["bad"].processor._state[0][2] = 1e9  # and ill once more
        device.step(0.5)
        host.poll()
        assert host.problems[-1].endswith("1 s")


def test_a_full_command_ring_is_no_reason_to_stop(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(host_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    failing = Node("bad", Failing, {"end": 1.0})
    plan, device = Plan(Graph([failing], ["in -> bad", "bad -> out"]), RATE, 1, 1), Stepped()
    with Host(plan, device) as host:
        host.start()
        device.step(0.5)
        host.poll()
        with suppress(UserError):
            while True:
                plan.bypass("bad", False)
        clock[0] += 1.0
        host.poll()
        assert plan.failed() == ["bad"]
        device.step(0.5)
        host.poll()
        device.step(0.5)
        assert plan.failed() == []
        assert len(host.problems) == 1


@pytest.mark.usefixtures("own_engines")
def test_a_failure_is_counted_told_and_the_exit_status(tmp_path, capsys):
    arguments = [
        "--chain",
        "failing(begin=1000, end=2000) | gain",
        "--seconds",
        "0.2",
        "--json",
        str(tmp_path / "j"),
    ]
    assert main(["live", *arguments]) == 1
    told = json.loads((tmp_path / "j").read_text())
    assert told["nodes"]["failing"]["failures"] == 1
    assert told["nodes"]["failing"]["failed_at"] == 1024
    assert told["callbacks"] == 75
    err = capsys.readouterr().err
    assert "warning: failing failed and is bypassed; tried again in 1 s\n" in err
    assert "1 failures of failing\n" in err


def test_non_finite_input_is_replaced_and_counted(tmp_path, capsys):
    once = sound(1000)
    bad = once.copy()
    bad[[3, 500, 999], 0] = np.nan, np.inf, -np.inf
    source = write(tmp_path / "in.wav", bad)
    arguments = ["--file", str(source), "--freewheel", "--record", str(tmp_path / "r.wav")]
    assert main(["live", *arguments, "--json", str(tmp_path / "j")]) == 0
    once[[3, 500, 999], 0] = 0
    np.testing.assert_array_equal(read(tmp_path / "r.wav")[:1000], once)
    assert json.loads((tmp_path / "j").read_text())["non_finite_replaced"] == 3
    assert "3 non-finite input samples replaced by 0\n" in capsys.readouterr().err


# Signals and terminals


def recorded_bytes(folder):
    return sum(path.stat().st_size for path in folder.glob(".*.part"))


def at_default():
    """In a new process: signals as a terminal leaves them, whatever `nohup` or a background job ignores."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def start_live(tmp_path):
    """Starts `rtaudio live` in a process of its own, on a loop; returns when some of it has been recorded."""
    processes = []

    def start(*more, **options):
        once = sound(4_999)
        write(tmp_path / "in.wav", once)
        out = tmp_path / "out"
        out.mkdir()
        command = [sys.executable, "-m", "rtaudio", "live", "--loop", "--file", tmp_path / "in.wav"]
        command += ["--record", out / "r.wav", "--json", tmp_path / "j", *more]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        options = {"preexec_fn": at_default, **options}
        process = subprocess.Popen(list(map(str, command)), env=environment, **options)
        processes.append(process)
        until = time.monotonic() + DEADLINE
        while recorded_bytes(out) < 100_000:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        return process, once

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(tmp_path, start_live, number):
    process, once = start_live(stderr=subprocess.PIPE, text=True)
    process.send_signal(number)
    err = process.communicate(timeout=DEADLINE)[1]
    assert process.returncode == 0, err
    lines = err.splitlines()
    assert "READY null device, 48000 Hz, 2 channels, block 128" in err
    assert [line for line in lines if line.startswith("xruns ") and " misses " in line]
    assert "Traceback" not in err
    assert "\r" not in err
    assert "\x1b" not in err
    assert os.listdir(tmp_path / "out") == ["r.wav"]
    recorded = read(tmp_path / "out" / "r.wav")
    told = json.loads((tmp_path / "j").read_text())
    assert told["file_underflows"] == told["record_overflows"] == 0
    assert len(recorded) == told["callbacks"] * 128
    np.testing.assert_array_equal(recorded, np.tile(once, (len(recorded) // 4999 + 1, 1))[: len(recorded)])


def test_a_terminal_that_goes_away_ends_it_cleanly(tmp_path, start_live):
    """Its end is a SIGHUP, and nothing can be written to it any more."""
    ours, theirs = pty.openpty()
    process, once = start_live(stdin=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    assert process.wait(DEADLINE) == 0
    recorded = read(tmp_path / "out" / "r.wav")
    assert len(recorded) == json.loads((tmp_path / "j").read_text())["callbacks"] * 128
    np.testing.assert_array_equal(recorded[:4999], once)


def test_a_signal_that_is_ignored_stays_so(tmp_path, start_live):
    process, _ = start_live(
        *("--seconds", "1.5"),
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=DEADLINE)
    assert json.loads((tmp_path / "j").read_text())["callbacks"] == -(-72_000 // 128)


@pytest.mark.parametrize("columns", [40, 0])
def test_the_status_line_on_a_terminal(start_live, columns):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process, _ = start_live(stdin=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    process.send_signal(signal.SIGINT)
    shown = b""
    while True:
        try:
            more = os.read(ours, 4096)
        except OSError:  # Linux's way to say that the other side is closed
            more = b""
        if not more:
            break
        shown += more
    os.close(ours)
    assert process.wait(DEADLINE) == 0
    lines = shown.decode().replace("\r\n", "\n").split("\n")
    drawn = [part for line in lines for part in line.split("\r\x1b[K")[1:]]
    status = [part for part in drawn if " s   load " in part]
    assert len(status) >= 2
    assert all(len(part) == 39 if columns else part.endswith("Ctrl-C ends") for part in status)
    assert any(line.startswith("READY") for line in lines)
    assert any("misses" in line and "p99" in line for line in lines)
    assert "\x1b" not in shown.decode().replace("\x1b[K", "")
