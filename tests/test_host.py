"""What the host does when something around the sound goes wrong: it says so, goes on, and always returns."""

import threading
import time
from typing import ClassVar

import numpy as np
import pytest
import soundfile as sf
from stepped import Stepped, call

from engines.compressor import Compressor
from engines.gain import Gain
from engines.noise import Noise
from rtaudio import host as host_module
from rtaudio.cli import main
from rtaudio.errors import UserError
from rtaudio.graph import Graph, Node
from rtaudio.host import Host, burst_of
from rtaudio.kernel import channel, kernel, position
from rtaudio.native import i64_vector, load_acquire, write_release
from rtaudio.null import NullDevice
from rtaudio.plan import Plan
from rtaudio.processor import Processor
from rtaudio.realtime import priority_of
from rtaudio.stream import FADE, TAKEN_OVER, TURN

pytestmark = pytest.mark.alone

SAMPLES = 5 * 48_000
DEADLINE = 30.0
"""Seconds after which something that should have happened is taken not to."""


@kernel
def stuck_kernel(state, inputs, outputs, n, params, context):
    """Copy, and from a position on do not return before a word is set."""
    words = i64_vector(state, 0)
    while position(context) >= words[1] and load_acquire(words, 0) == 0:
        pass
    for c in range(words[2]):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        for i in range(n):
            y[i] = x[i]
    return 0


class Stuck(Processor):
    """Hangs from position ``FROM`` on, until `free` is called."""

    id = "stuck"
    KERNEL = stuck_kernel
    FROM = 9600
    made: ClassVar[list] = []

    def allocate(self):
        words = np.array([0, self.FROM, self.channels], np.int64)
        self.made.append(words)
        return (words,)

    @classmethod
    def free(cls):
        for words in cls.made:
            write_release(words, 0, 1)
        cls.made.clear()


@pytest.fixture(autouse=True)
def freed():
    yield
    Stuck.free()


def until(condition, poll=lambda: None):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        poll()
        time.sleep(0.01)


def in_thread(action):
    """What an action raised, or None, once it is over; fails if it does not return."""
    raised = []

    def run():
        try:
            action()
            raised.append(None)
        except UserError as error:
            raised.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert raised, "it does not return"
    return raised[0]


def gained(*more):
    return Graph([Node("g", Gain), *more], ["in -> g", "g -> out"])


def test_a_callback_that_hangs_ends_the_run_and_says_so():
    graph = Graph([Node("stuck", Stuck)], ["in -> stuck", "stuck -> out"])
    with Host(Plan(graph, 48_000, 128, 2), NullDevice()) as host:
        host.start()
        until(lambda: not host.running, host.poll)
        assert any("does not return" in problem for problem in host.problems)
        assert priority_of(host.stream.thread)[0] == "other"
        began = time.monotonic()
    assert time.monotonic() - began < DEADLINE


def test_an_edit_needs_sound():
    host = Host(Plan(gained(), 48_000, 128, 2), NullDevice(), seconds=0.05)
    host.start()
    until(lambda: not host.running)
    assert in_thread(lambda: host.edit(gained())) == "no sound runs: there is nothing to edit"
    host.close()


def test_an_edit_whose_new_worker_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(host_module, "EDIT_LIMIT", 1.0)
    graph = gained()
    with Host(Plan(graph, 48_000, 128, 2, lane=None), NullDevice()) as host:
        host.start()
        until(lambda: host.plan.position > 2 * Stuck.FROM)
        edited = graph.insert(Node("stuck", Stuck, lane=1), "g -> out")
        assert "cannot catch up" in in_thread(lambda: host.edit(edited))
        assert host.running
        before = host.plan.position
        until(lambda: host.plan.position > before + 4800)


def test_an_edit_amid_whose_fade_the_sound_ends_is_given_up():
    graph = gained()
    host = Host(Plan(graph, 48_000, 128, 2), NullDevice())
    host.start()
    host.stream.words[FADE] = 48_000 * 1000
    edited = graph.insert(Node("g2", Gain), "g -> out")

    def stop():
        until(lambda: host.stream.words[TURN] == TAKEN_OVER)
        host.device.stop()

    threading.Thread(target=stop, daemon=True).start()
    assert "the sound ended" in in_thread(lambda: host.edit(edited))
    host.close()


def test_an_edit_that_adds_latency_does_not_cut_the_end_of_a_file(tmp_path):
    from engines.limiter import Limiter
    from rtaudio.files import AudioReader, AudioWriter

    signal = np.zeros((SAMPLES, 2), np.float32)
    signal[-1] = 0.5
    sf.write(tmp_path / "in.wav", signal, 48_000, subtype="FLOAT")
    graph = gained()
    longer = graph.insert(Node("l", Limiter, {"lookahead": 20.0}), "g -> out")
    Plan(longer, 48_000, 128, 2).close()  # Compiles.
    plan = Plan(graph, 48_000, 128, 2)
    record = AudioWriter(tmp_path / "out.wav", 48_000, 2, subtype="float")
    with Host(plan, NullDevice(), AudioReader(tmp_path / "in.wav"), record=record) as host:
        host.start()
        host.edit(longer)
        until(lambda: not host.running, host.poll)
    heard = sf.read(tmp_path / "out.wav")[0]
    assert np.flatnonzero(np.abs(heard[:, 0]) > 0.4).tolist() == [SAMPLES - 1 + 960]


def test_the_workers_follow_the_longest_call_of_a_device_that_varies():
    device = Stepped()
    device.period = 0
    plan = Plan(gained(), 48_000, 128, 2, lane=1, burst=burst_of(0, 128))
    with Host(plan, device) as host:
        host.start()
        assert host.plan.latency == 2 * 128
        signal = np.ones((512, 2), np.float32)

        def calls():
            while not done.is_set():
                call(host.stream, signal)
                time.sleep(0.002)

        done = threading.Event()
        thread = threading.Thread(target=calls, daemon=True)
        thread.start()
        until(lambda: host.plan.burst == burst_of(0, 128, 512), host.poll)
        missed = host.statistics()["misses"]
        blocks = host.statistics()["blocks"]
        until(lambda: host.statistics()["blocks"] > blocks + 200)
        done.set()
        thread.join()
        assert host.statistics()["misses"] <= missed + 8, "but for those that a busy machine makes"


@pytest.mark.parametrize(
    ("period", "longest", "blocks"),
    [(None, 0, 1), (128, 0, 1), (256, 0, 2), (192, 0, 2), (0, 0, 2), (0, 512, 5), (0, 100, 2)],
)
def test_blocks_that_a_device_may_ask_for_at_once(period, longest, blocks):
    assert burst_of(period, 128, longest) == blocks


def test_freewheeling_waits_for_the_recorder_of_the_input(tmp_path):
    arguments = ["live", "--api", "null", "--freewheel", "--seconds", "60"]
    assert main([*arguments, "--record-input", str(tmp_path / "in.wav")]) == 0
    assert sf.info(tmp_path / "in.wav").frames == 60 * 48_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["live", "--file", "x.wav", "--input", "a"], "--file is heard instead"),
        (["live", "--file", "x.wav", "--map", "in=1"], "--file is heard instead"),
        (["live", "--map", "out=1,1"], "plays two channels on one output"),
        (["measure", "latency", "--api", "jack", "--map", "in=1"], "--map needs --cable"),
        (["measure", "latency", "--api", "jack", "--input", "a"], "--input needs --cable"),
    ],
)
def test_what_would_be_ignored_is_refused(capsys, arguments, message):
    try:
        status = main(arguments)
    except SystemExit as left:
        status = left.code
    assert status == 2
    assert message in capsys.readouterr().err


def test_a_side_chain_is_heard_where_one_is_connected():
    squash = Node("c", Compressor, {"threshold": -40.0, "ratio": 20.0})
    nodes = [squash, Node("n", Noise, {"level": -3.0})]
    both = Graph(nodes, ["in -> c.in", "n -> c.sidechain", "c -> out"])
    alone = Graph(nodes[:1], ["in -> c.in", "c -> out"])
    quiet = np.full((2, 4800), 1e-3, np.float32)
    heard = [Plan(graph, 48_000, 4800, 2).process(quiet)["main"].copy() for graph in (both, alone)]
    np.testing.assert_array_equal(heard[1], quiet)
    assert np.abs(heard[0][:, -100:]).max() < 1e-4


def test_a_measurement_that_fits_in_several_places_is_no_measurement():
    from rtaudio.measure import _find

    tone = np.sin(np.arange(24_000) * 2 * np.pi / 48)[None].astype(np.float32)
    noise = np.random.default_rng(0).normal(0.0, 0.1, (1, 24_000)).astype(np.float32)
    padded = [np.pad(each, ((0, 0), (333, 48_000))) for each in (noise, tone)]
    assert _find(noise, padded[0], 333).found == 333
    with pytest.raises(UserError, match="several places"):
        _find(tone, padded[1], 333)
    with pytest.raises(UserError, match="did not come back"):
        _find(noise, np.zeros((1, 48_000), np.float32), 333)
    with pytest.raises(UserError, match="2 blocks were not made in time"):
        _find(noise, np.zeros((1, 48_000), np.float32), 333, missed=2)
