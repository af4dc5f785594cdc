"""Worker processes: the same samples as in the callback, and what is heard when one dies or hangs."""

import errno
import gc
import importlib
import json
import os
import re
import select
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import contract
import numpy as np
import pytest
import soundfile as sf
from python_engines import Costly, Different, Gainful, Leaky, Numbered, Returning, Threaded, Trouble, Wrong
from test_lanes import (
    BLOCK,
    RATE,
    await_,
    may_fifo,  # noqa: F401 - a fixture
    on,
    step,
    wait_for,
    with_misses,
)
from test_plan import Amp, Flip, Lag, Nest, chain, delayed, noise, play

from engines.gain import Gain
from rtaudio import control, processes, remote
from rtaudio.chain import load_chain
from rtaudio.errors import UserError
from rtaudio.files import AudioReader, AudioWriter
from rtaudio.graph import Graph, Node
from rtaudio.host import Host
from rtaudio.lanes import DONE, FOR_EVER, PULSE, READY
from rtaudio.layout import COMMANDS
from rtaudio.native import write_release
from rtaudio.null import NullDevice
from rtaudio.plan import Plan
from rtaudio.realtime import is_real_time
from rtaudio.render import Job, render

pytestmark = pytest.mark.alone

PERIOD_NS = 1e9 * BLOCK / RATE


@contextmanager
def planned(graph, channels=2, block=BLOCK, rate=RATE, lane=0, ready=True):
    """A plan, once its spares are there."""
    plan = Plan(graph, rate, block, channels, lane=lane)
    try:
        plan.start()
        for segment in plan.segments:
            if ready and segment.lane == 2:
                assert segment.ready.wait(60)
        yield plan
    finally:
        assert plan.close()


def offline(graph, signal, block=BLOCK, rate=RATE):
    plan = Plan(graph, rate, block, len(signal), offline=True)
    return play(plan, signal)["main"], plan.latency


def missed_in(plan):
    return int(plan.segments[0].words[READY]) == 0


def settle(plan):
    """Wait until the workers have done all that there is."""
    await_(lambda: all(done >= published for published, done in (s.progress for s in plan.segments)))


def told(plan, text, lines):
    """Wait for a line that says so; all lines go to ``lines``."""

    def looked():
        lines.extend(plan.said())
        return any(text in line for line in lines)

    await_(looked, text)


# ------------------------------------------------------------------------------------------- the same samples


def everywhere():
    """Nodes in all lanes, engines in Python and compiled, hops, delays, a composite, side paths."""
    nodes = [
        on(2, "a", Flip, hop=6),
        Node("b", Leaky, {"level": 0.5}),
        on(0, "c", Lag, samples=5),
        on(2, "d", Nest),
        on(1, "e", Flip, hop=10),
        on(2, "f", Amp, level=0.7),
        on(2, "g", Lag, samples=3),
    ]
    edges = ["in -> a", "a -> b", "b -> c", "c -> d", "d.out -> e", "e -> f", "d.side -> g", "in -> g"]
    return Graph(nodes, [*edges, "f -> out", "g -> out", "b -> out.side"])


def steer(plan):
    """Changes at positions, at once, and of switches."""
    plan.set("b.level", 1.5, at=100)
    plan.set("b.level", 0.25, at=300)
    plan.set("f.level", 0.1, at=211)
    plan.set("d.level", 0.9, at=77)
    plan.bypass("a", at=400)
    plan.mute("g", at=500)


@pytest.mark.parametrize("block", [BLOCK, pytest.param(45, marks=pytest.mark.slow)])
def test_a_graph_in_all_lanes_sounds_as_in_one_process(block):
    """Bit for bit, with changes at the sample where they are sent for."""
    x = noise(2, 900)
    plain = Plan(everywhere(), RATE, block, 2, offline=True)
    steer(plain)
    wanted = play(plain, x)
    with planned(everywhere(), block=block, ready=False) as plan:
        assert [segment.lane for segment in plan.segments] == [2, 2, 1, 2]
        steer(plan)
        played = play(plan, x)
        report = plan.statistics()
        assert report["misses"] == 0
        assert {name: report["nodes"][name]["lane"] for name in "abcdefg"} == dict(
            zip("abcdefg", [2, 2, 0, 2, 1, 2, 2], strict=True)
        )
        late = plan.latency - plain.latency
        assert late > 0
        for name, heard in played.items():
            np.testing.assert_array_equal(heard, delayed(wanted[name], late), err_msg=name)


def test_an_engine_in_python_is_the_same_in_any_blocks():
    x = noise(2, 700)
    whole, _ = offline(chain(Node("a", Leaky)), x, block=700)
    total, wanted = np.zeros(2, np.float32), np.zeros_like(x)
    for i in range(x.shape[1]):
        total = np.float32(-0.75) * total + x[:, i]
        wanted[:, i] = total
    np.testing.assert_array_equal(whole, wanted)
    for block in (1, 17, 64):
        np.testing.assert_array_equal(offline(chain(Node("a", Leaky)), x, block)[0], wanted)
    processor = Leaky(level=0.5)
    processor.prepare(RATE, 64, channels=2)
    out = np.zeros((2, 50), np.float32)
    processor.process(np.ascontiguousarray(x[:, :50]), out)
    np.testing.assert_array_equal(out, wanted[:, :50] * np.float32(0.5))
    processor.process(np.ascontiguousarray(x[:, 50:100]), out)
    assert processor.position == 50
    processor.reset()
    processor.process(np.ascontiguousarray(x[:, :50]), out)
    np.testing.assert_array_equal(out, wanted[:, :50] * np.float32(0.5))
    with pytest.raises(ValueError, match="want"):
        processor.process(x[:, :50].copy(), np.zeros((1, 50), np.float32))


def test_a_worker_that_is_late_all_the_time_does_not_hang():
    """Blocks come faster than they can be done."""
    with planned(chain(Node("a", Gainful))) as plan:
        (segment,) = plan.segments
        segment.hurry(0)
        before = int(segment.memory.words[PULSE])
        for _ in range(10 * RATE // BLOCK):
            step(plan, np.zeros((2, BLOCK), np.float32))
        settle(plan)
        assert segment.memory.words[PULSE] > before + 100, "no sign of life"
        assert plan.statistics()["misses"] > 100
        assert segment.restarts == 0
        assert plan.said() == []


def test_ten_seconds_of_overload_change_nothing_after():
    """The worker stands still while ten seconds of sound pass; then an impulse takes as long as before."""
    blocks = 10 * RATE // BLOCK
    with planned(chain(Node("a", Gainful))) as plan:
        (segment,) = plan.segments
        os.kill(segment.pid, signal.SIGSTOP)
        status = Path(f"/proc/{segment.pid}/task/{segment.thread}/stat")
        await_(lambda: status.read_text().rpartition(")")[2].split()[0] == "T")
        for _ in range(blocks):
            step(plan, np.zeros((2, BLOCK), np.float32))
        os.kill(segment.pid, signal.SIGCONT)
        settle(plan)
        report = plan.statistics()
        assert report["misses"] >= blocks - 2
        assert report["nodes"]["worker 1"]["lapses"] == 1
        assert segment.restarts == 0
        impulse = np.zeros((2, 40 * BLOCK), np.float32)
        impulse[:, 0] = 1
        heard = play(plan, impulse)["main"]
        assert np.flatnonzero(heard[0])[0] == plan.latency == BLOCK


@pytest.mark.usefixtures("may_fifo")
def test_a_worker_that_computes_more_than_it_can_is_late_and_no_more():
    """Its thread loses its priority and gets it back; nobody dies, and the latency is what it was."""
    rate, block = 48_000, 128
    plan = Plan(chain(Node("a", Costly)), rate, block, 2, lane=None)
    device = NullDevice(rate=rate)
    with Host(plan, device, seconds=60) as run:
        run.start()
        (segment,) = plan.segments
        device_thread, pid, latency = run.stream.thread, segment.pid, plan.latency
        assert is_real_time(segment.thread)
        run.set("a.ms", 4.0)
        wait_for(run, lambda: not is_real_time(segment.thread))
        wait_for(run, lambda: any("has more work than time" in line for line in run.problems))
        assert is_real_time(device_thread)
        run.set("a.ms", 0.0)
        wait_for(run, lambda: is_real_time(segment.thread))
        assert (segment.pid, segment.restarts, plan.latency) == (pid, 0, latency)
        assert run.problems == [
            "the worker of a has more work than time: it has no priority until it has caught up"
        ]
        assert run.notes == ["the worker of a has caught up, and has its priority back"]


def tremolo():
    """The engine of the example, as an installed package gives it."""
    path = Path(__file__).resolve().parents[1] / "examples" / "tremolo"
    if str(path) not in sys.path:
        sys.path.append(str(path))
    return importlib.import_module("tremolo").Tremolo


CHECKS = [contract.check_partition, contract.check_events, contract.check_reset]
MORE = [contract.check_latency, contract.check_silence, contract.check_hostile, contract.check_largest]
MORE += [contract.check_memory, contract.check_tail]


@pytest.mark.parametrize(
    ("engine", "check"),
    [*((Leaky, check) for check in CHECKS), *((tremolo(), check) for check in CHECKS + MORE)],
    ids=lambda value: getattr(value, "id", None) or value.__name__,
)
def test_engines_in_python_keep_the_contract(engine, check):
    check(contract.Case(engine), 2)


def test_the_example_declares_what_it_is():
    contract.check_declarations("tremolo", tremolo())
    contract.check_llvm(contract.Case(tremolo()))


def test_an_engine_in_python_that_raises_offline_is_bypassed(tmp_path):
    (tmp_path / "go").write_text("raise")
    x = noise(2, 160)
    plan = Plan(chain(Node("a", Trouble, {"file": str(tmp_path / "go")})), RATE, 16, 2, offline=True)
    np.testing.assert_array_equal(play(plan, x)["main"], x)
    assert plan.failed() == ["a"]
    assert plan.reason("a") == "ValueError: no such luck"
    processor = Trouble(file=str(tmp_path / "go"))
    processor.prepare(RATE, 64, channels=2)
    (tmp_path / "go").write_text("raise")
    with pytest.raises(RuntimeError, match="trouble: ValueError: no such luck"):
        processor.process(x[:, :16].copy(), np.zeros((2, 16), np.float32))


def test_where_it_may_run():
    with pytest.raises(
        UserError, match="a: leaky is written in Python and runs in lane 2 only; leave lane=1 out"
    ):
        Plan(chain(Node("a", Leaky, lane=1)), RATE, BLOCK, 2)

    class Local(Amp):
        id = "local"

    with pytest.raises(UserError, match=r"a: local cannot run in a worker process: .* move it into a module"):
        Plan(chain(Node("a", Local, lane=2)), RATE, BLOCK, 2)
    assert load_chain("gain(lane=2)").nodes["gain"].lane == 2
    with pytest.raises(UserError, match=r"lane=3 is none of 0 .*, 1 .* or 2"):
        load_chain("gain(lane=3)")


def test_what_lies_between_two_processes_goes_along():
    nodes = [on(2, "a", Gain), Node("b", Gain), on(2, "c", Gain)]
    with planned(chain(*nodes), lane=None, ready=False) as plan:
        plan._parts["a"].mean = 0
        plan.check_pace()  # It measures nothing that runs elsewhere.
        assert [segment.lane for segment in plan.segments] == [2]
        assert plan.latency == plan.segments[0].ahead * BLOCK


# ------------------------------------------------------------------------------------------- death


def kill_in_step(graph, channels=2, blocks=120, at=40, settled=0):
    """Step a plan, kill its worker with SIGKILL in the middle; what is heard, and which blocks were missed.

    Until it is killed, and from its replacement on, the worker is waited for.
    """
    x = noise(channels, blocks * BLOCK)
    lines, heard, missed = [], [], []
    with planned(graph, channels) as plan:
        (segment,) = plan.segments
        for k in range(blocks):
            if k == at:
                os.kill(segment.pid, signal.SIGKILL)
            if k == at + 20:
                told(plan, "has taken over", lines)
            if k < at or k >= at + 20:
                settle(plan)
            heard.append(step(plan, x[:, k * BLOCK : (k + 1) * BLOCK])["main"])
            missed.append(missed_in(plan) and k >= segment.ahead)
        latency, report = plan.latency, plan.statistics()
        lines.extend(plan.said())
    return x, np.hstack(heard), missed, latency, report, lines


def test_a_worker_that_is_killed_is_replaced_and_only_its_fallback_is_heard():
    """Bit for bit, from the block on in which it died; then the settings as they were."""
    graph = chain(Node("a", Gainful, {"level": 0.25}))
    x, heard, missed, latency, report, lines = kill_in_step(graph)
    wet = delayed(x * np.float32(0.25), latency)
    np.testing.assert_array_equal(heard, with_misses(wet, delayed(x, latency), missed))
    assert not any(missed[:40])
    assert any(missed[40:60])
    assert not any(missed[62:])
    assert latency == BLOCK
    assert report["nodes"]["worker 1"]["restarts"] == 1
    assert report["nodes"]["a"]["misses"] == sum(missed) == report["misses"]
    assert len(lines) == 2
    killed = "killed by signal 9 (Killed)"
    assert lines[0] == f"the worker process of a was {killed}: bypassed until it is replaced"
    assert lines[1].startswith("a: another worker process has taken over after ")


def test_what_was_published_by_one_that_died_before_it_said_so_is_not_waited_for():
    with planned(chain(Node("a", Gainful))) as plan:
        (segment,) = plan.segments
        play(plan, noise(2, BLOCK))
        settle(plan)
        published, done = segment.progress
        assert published == done == 1
        write_release(segment.memory.words, DONE, 0)
        os.kill(segment.pid, signal.SIGKILL)
        told(plan, "has taken over", [])
        settle(plan)


def test_a_new_state_is_not_heard_before_it_has_settled():
    """Behind a delay of 40 samples, the first blocks of the next worker would be silent."""
    graph = chain(Node("a", Gainful, {"level": 0.25}), on(2, "b", Lag, samples=40))
    x, heard, missed, latency, _, _ = kill_in_step(graph)
    wet = delayed(x * np.float32(0.25), latency)
    np.testing.assert_array_equal(heard, with_misses(wet, delayed(x, latency), missed))
    assert latency == BLOCK + 40
    assert not any(missed[66:])


def test_changes_reach_the_next_worker():
    """What was set before, what was sent while there was none, and what waits for its position."""
    lines, x = [], noise(2, 100 * BLOCK)
    with planned(chain(Node("a", Gainful))) as plan:
        (segment,) = plan.segments
        plan.set("a.level", 0.5)
        plan.set("a.level", 2.0, at=60 * BLOCK + 3)
        play(plan, x[:, : 20 * BLOCK])
        os.kill(segment.pid, signal.SIGKILL)
        await_(lambda: segment._process.over or segment.restarts)
        plan.bypass("a")
        told(plan, "has taken over", lines)
        plan.bypass("a", False)
        heard = play(plan, x[:, 20 * BLOCK :])["main"]
        settled = slice(20 * BLOCK, 38 * BLOCK)
        wanted = delayed(x, plan.latency)[:, 20 * BLOCK :]
        np.testing.assert_array_equal(heard[:, settled], (wanted * np.float32(0.5))[:, settled])
        after = slice(46 * BLOCK + plan.latency, None)
        np.testing.assert_array_equal(heard[:, after], (wanted * np.float32(2.0))[:, after])


def test_of_several_changes_the_last_in_time_reaches_the_next_worker():
    """Not the last that was sent."""
    lines, x = [], noise(2, 60 * BLOCK)
    with planned(chain(Node("a", Gainful))) as plan:
        (segment,) = plan.segments
        plan.set("a.level", 2.0, at=20 * BLOCK)
        plan.set("a.level", 0.5, at=10 * BLOCK)
        play(plan, x)
        settle(plan)
        os.kill(segment.pid, signal.SIGKILL)
        told(plan, "has taken over", lines)
        heard = play(plan, x)["main"][:, 20 * BLOCK :]
        np.testing.assert_array_equal(heard, 2 * delayed(x, BLOCK)[:, 20 * BLOCK :])


def test_a_worker_is_sent_no_more_than_the_next_one_takes():
    with planned(chain(Node("a", Gainful)), ready=False) as plan:
        for number in range(COMMANDS):
            plan.set("a.level", 0.5 + number / 8192, at=10_000 + number)
        with pytest.raises(UserError, match=f"more than {COMMANDS} changes wait"):
            plan.set("a.level", 1.0)


def test_a_block_that_is_published_is_not_made_again():
    """It was made by one that remembered what was before; the next one does not."""
    lines, x = [], noise(2, 40 * BLOCK)
    wanted = delayed(offline(chain(Node("a", Leaky)), x)[0], BLOCK)
    with planned(chain(Node("a", Leaky))) as plan:
        (segment,) = plan.segments
        heard = play(plan, x[:, : 20 * BLOCK])["main"]
        settle(plan)
        os.kill(segment.pid, signal.SIGKILL)
        told(plan, "has taken over", lines)
        block = step(plan, x[:, 20 * BLOCK : 21 * BLOCK])["main"]
        np.testing.assert_array_equal(np.hstack([heard, block]), wanted[:, : 21 * BLOCK])
        settle(plan)
        step(plan, x[:, 21 * BLOCK : 22 * BLOCK])
        assert missed_in(plan), "the new state is entered without a fade"


@pytest.mark.parametrize(
    "call",
    [
        "os.pidfd_open",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("subprocess.Popen", "socket.socketpair")),
    ],
)
def test_where_no_process_can_be_started_the_sound_goes_on(call, monkeypatch):
    """No descriptors are left, say: the watch lives, and starts a spare when there are some again."""
    lines, x = [], noise(2, 40 * BLOCK)
    with planned(chain(Node("a", Gainful, {"level": 0.5}))) as plan:
        (segment,) = plan.segments

        def refuse(*_, **__):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        files = len(os.listdir("/proc/self/fd"))
        with monkeypatch.context() as patch:
            patch.setattr(f"rtaudio.processes.{call}", refuse)
            os.kill(segment.pid, signal.SIGKILL)
            told(plan, "a: cannot start a worker process: Too many open files: no spare for now", lines)
            told(plan, "has taken over", lines)
            play(plan, x)
            heard = play(plan, x)["main"]
            np.testing.assert_array_equal(heard[:, BLOCK:], x[:, :-BLOCK] * np.float32(0.5))
            assert len(os.listdir("/proc/self/fd")) < files
        assert segment.ready.wait(60)
        assert sum("no spare for now" in line for line in [*lines, *plan.said()]) == 1


def test_what_goes_wrong_in_the_watch_does_not_end_it(monkeypatch):
    lines, x = [], noise(2, 20 * BLOCK)
    with planned(chain(Node("a", Gainful))) as plan:
        (segment,) = plan.segments
        with monkeypatch.context() as patch:
            patch.setattr(segment, "has_died", lambda process: 1 / 0)
            os.kill(segment.pid, signal.SIGKILL)
            told(plan, "the watch over worker processes: ZeroDivisionError: division by zero", lines)
        told(plan, "has taken over", lines)
        np.testing.assert_array_equal(play(plan, x)["main"], delayed(x, BLOCK))


def test_a_spare_that_differs_does_not_take_over(tmp_path):
    lines = []
    graph = chain(Node("a", Different, {"file": str(tmp_path / "go")}))
    plan = Plan(graph, RATE, BLOCK, 2)
    (tmp_path / "go").touch()
    plan.start()
    told(plan, "could not prepare it again: a has a latency of 5 samples there, not 0; another is", lines)
    assert not plan.segments[0].ready.is_set()
    (tmp_path / "go").unlink()
    assert plan.segments[0].ready.wait(60)
    assert plan.close()


def test_a_spare_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    lines, values = [], {"file": str(tmp_path / "go"), "prepare": "sleep"}
    plan = Plan(chain(Node("a", Trouble, values)), RATE, BLOCK, 2)
    (tmp_path / "go.prepare").touch()
    with monkeypatch.context() as patch:
        patch.setattr(remote, "PREPARE_LIMIT", 0.5)
        plan.start()
        told(plan, "the worker process of a did not prepare it again within 0.5 s; another is tried", lines)
    assert plan.close()


def test_one_that_is_given_up_stays_so_until_it_is_due(monkeypatch):
    """Though its spare would be ready a moment later."""
    monkeypatch.setattr(remote, "DEATHS", 1)
    lines, x = [], noise(2, 20 * BLOCK)
    with planned(chain(Node("a", Gainful)), ready=False) as plan:
        (segment,) = plan.segments
        os.kill(segment.pid, signal.SIGKILL)
        told(plan, "given up", lines)
        assert plan.statistics()["bypassed"] == ["a"]
        await_(lambda: segment._spare is None, "the spare's end")
        assert segment.due < FOR_EVER
        play(plan, x)
        assert segment.restarts == 0
        assert segment.progress[1] == remote.NEVER
        assert sum("given up" in line for line in [*lines, *plan.said()]) == 1
    assert plan.statistics()["bypassed"] == ["a"]  # So it was at the end.


def test_numbers_of_numpy_are_numbers():
    """On both sides of the line."""

    class Wide(Lag):
        def allocate(self):
            arrays = super().allocate()
            self.latency = np.int64(self.latency)
            return arrays

    with planned(chain(on(0, "w", Wide, samples=3), Node("a", Numbered)), ready=False) as plan:
        assert (plan.latency, plan.tail) == (3 + BLOCK, 7)


def test_a_failed_node_is_armed_again_in_its_worker(tmp_path):
    with planned(chain(Node("a", Trouble, {"file": str(tmp_path / "go")}), Node("b", Leaky))) as plan:
        x = noise(2, 30 * BLOCK)
        (tmp_path / "go").write_text("raise")
        play(plan, x)
        assert plan.failed() == ["a"]
        assert plan.statistics()["nodes"]["a"]["failures"] == 1
        plan.rearm("a")
        plan.rearm("a")  # The second does nothing.
        assert plan.failed() == []
        play(plan, x)
        assert plan.statistics()["nodes"]["a"]["failures"] == 1
        (tmp_path / "go").write_text("raise")
        play(plan, x)
        assert plan.failed() == ["a"]
        assert plan.reason("a") == "ValueError: no such luck"


def test_one_that_dies_again_and_again_is_given_up(monkeypatch):
    """Until it is tried again; what was set meanwhile, more than the ring holds, is heard then."""
    monkeypatch.setattr(remote, "REST_FIRST", 1000.0)
    monkeypatch.setattr(remote, "REST_LONGEST", 2000.0)
    lines, x = [], noise(2, 8 * BLOCK)
    with planned(chain(Node("a", Gainful, {"level": 0.5}))) as plan:
        (segment,) = plan.segments
        for number in range(remote.DEATHS):
            assert segment.ready.wait(60)
            play(plan, x)
            os.kill(segment.pid, signal.SIGKILL)
            await_(lambda number=number: segment.restarts > number or segment.progress[1] == remote.NEVER)
        told(plan, "given up", lines)
        heard = play(plan, np.tile(x, 5))["main"]  # It waits for nobody.
        np.testing.assert_array_equal(heard[:, -BLOCK:], delayed(np.tile(x, 5), BLOCK)[:, -BLOCK:])
        for number in range(COMMANDS + 10):
            plan.set("a.level", number / COMMANDS)
        plan.set("a.level", 0.25)
        segment._pool.do(segment.is_due)
        told(plan, "another worker process has taken over", [])
        assert plan.statistics()["bypassed"] == []
        heard = play(plan, np.tile(x, 5))["main"]
        wanted = delayed(np.tile(x, 5), BLOCK) * np.float32(0.25)
        np.testing.assert_array_equal(heard[:, -8 * BLOCK :], wanted[:, -8 * BLOCK :])
        assert segment.ready.wait(60)
        os.kill(segment.pid, signal.SIGKILL)  # So soon, one is enough.
        told(plan, "another is started in 2000 s", lines)
    given_up = [line for line in lines if "given up" in line]
    killed = "the worker process of a was killed by signal 9 (Killed)"
    assert given_up == [
        f"{killed}; 3 have ended in 10 s: given up, and bypassed; another is started in 1000 s",
        f"{killed}; given up, and bypassed; another is started in 2000 s",
    ]


def test_a_spare_that_hangs_while_it_takes_over_is_no_death_of_the_worker(monkeypatch):
    """Twice: with the workers' own ends these would be four in ten seconds."""
    monkeypatch.setattr(remote, "TAKE_OVER_NS", 200_000_000)
    lines = []
    with planned(chain(Node("a", Gainful))) as plan:
        (segment,) = plan.segments
        segment.hurry(0)
        for number in range(2):
            assert segment.ready.wait(60)
            spare, restarts = segment._spare, segment.restarts
            status = Path(f"/proc/{spare.pid}/stat")
            os.kill(spare.pid, signal.SIGSTOP)
            await_(lambda status=status: status.read_text().rpartition(")")[2].split()[0] == "T")
            os.kill(segment.pid, signal.SIGKILL)
            await_(lambda restarts=restarts: segment.restarts == restarts + 1)
            step(plan, np.zeros((2, BLOCK), np.float32))  # For the watch: there is work.
            told(plan, "has taken over", lines)
            assert len(segment._deaths) == number + 1
            lines.clear()
        assert segment.restarts == 4


# ------------------------------------------------------------------------------------------- bad engines


@pytest.mark.parametrize(
    ("what", "says", "replaced"),
    [
        ("die", "ended with status 7", True),
        ("abort", "was killed by signal 11", True),
        ("print", "says: to you", False),
        ("flood", "says: line 2 of very many", False),
    ],
)
def test_a_bad_engine_is_told_and_the_sound_goes_on(what, says, replaced, tmp_path):
    lines, x = [], noise(2, 40 * BLOCK)
    graph = chain(Node("a", Trouble, {"file": str(tmp_path / "go")}))
    with planned(graph, ready=replaced) as plan:
        (segment,) = plan.segments
        (tmp_path / "go").write_text(what)
        heard = play(plan, x)["main"]
        told(plan, "has taken over" if replaced else says, lines)
        again = play(plan, x)["main"]
        assert any(says in line for line in lines)
        assert segment.restarts == replaced
    # It copies, and so does its fallback: nothing is to be heard of it.
    np.testing.assert_array_equal(np.hstack([heard, again]), delayed(np.hstack([x, x]), BLOCK))
    assert sum("says" in line for line in lines) <= processes.TOLD_LINES
    if what == "flood":
        assert any("more bytes, not shown" in line for line in [*lines, *plan.said()])


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("raise", "ValueError: no such luck"),
        ("exit", "SystemExit: 3"),
        ("interrupt", "KeyboardInterrupt"),
        ("shrink", "PermissionError: [Errno 1] Operation not permitted"),
        ("nan", "it put out what is no number"),
    ],
)
def test_why_an_engine_in_python_has_failed_is_told(what, reason, tmp_path):
    lines, x = [], noise(2, 40 * BLOCK)
    with planned(chain(Node("a", Trouble, {"file": str(tmp_path / "go")})), ready=False) as plan:
        (tmp_path / "go").write_text(what)
        heard = play(plan, x)["main"]
        assert plan.failed() == ["a"]
        assert plan.reason("a") == reason
        lines += plan.said()
    np.testing.assert_array_equal(heard, delayed(x, BLOCK))
    assert not any("says" in line for line in lines)


@pytest.mark.parametrize("engine", [Wrong, Returning])
def test_an_engine_that_fails_in_every_block_is_refused(engine):
    with pytest.raises(UserError) as error:
        Plan(chain(Node("a", engine)), RATE, BLOCK, 2)
    assert str(error.value) == f"a: {engine.id} fails in every block: {engine.says}"


def test_what_the_first_call_in_a_thread_makes_is_made_before_it_plays():
    x = np.zeros((2, 8 * BLOCK), np.float32)
    with planned(chain(Node("a", Threaded))) as plan:
        heard = play(plan, x)["main"]
        assert (heard[:, BLOCK:] == 1).all()


def test_lines_that_a_worker_repeats_are_told_once(tmp_path):
    lines = []
    with planned(chain(Node("a", Trouble, {"file": str(tmp_path / "go")})), ready=False) as plan:
        (tmp_path / "go").write_text("repeat")
        play(plan, noise(2, 40 * BLOCK))
        told(plan, "the worker of a says: something else", lines)
    assert [line for line in lines if "says" in line] == [
        "the worker of a says: again",
        "the worker of a says: something else",
    ]


def test_the_last_line_of_one_that_dies_is_told_though_it_has_no_end(tmp_path):
    lines = []
    with planned(chain(Node("a", Trouble, {"file": str(tmp_path / "go")}))) as plan:
        (tmp_path / "go").write_text("unfinished")
        play(plan, noise(2, 4 * BLOCK))
        settle(plan)
        os.kill(plan.segments[0].pid, signal.SIGKILL)
        told(plan, "the worker of a says: no end of a line", lines)


def test_a_worker_that_closes_its_output_is_not_looked_at_for_ever(tmp_path):
    lines, x = [], noise(2, 20 * BLOCK)
    graph = chain(Node("a", Trouble, {"file": str(tmp_path / "go")}))
    with planned(graph, ready=False) as plan:
        (segment,) = plan.segments
        (tmp_path / "go").write_text("close")
        play(plan, x)
        told(plan, "the worker of a prints more, which is not shown", lines)
        await_(lambda: segment._process.closed, "the end of what it prints")
        np.testing.assert_array_equal(play(plan, x)["main"][:, BLOCK:], x[:, :-BLOCK])


@pytest.mark.parametrize("how", ["sleep", "spin"])
def test_a_worker_that_hangs_is_killed_and_replaced(how, tmp_path):
    lines, x = [], noise(2, 40 * BLOCK)
    with planned(chain(Node("a", Trouble, {"file": str(tmp_path / "go")}))) as plan:
        (segment,) = plan.segments
        play(plan, x)
        pid = segment.pid
        assert int(segment.watched[processes.WATCH_LIMIT]) == remote.HANG_PATIENT * 1e9
        segment.hurry(0)
        whole = 8 * PERIOD_NS
        polls = 2e6 * processes.poll_ms(int(whole))
        assert int(segment.watched[processes.WATCH_LIMIT]) == whole - polls
        settle(plan)
        (tmp_path / "go").write_text(how)
        step(plan, x[:, :BLOCK])
        told(plan, "a: another worker process has taken over", lines)
        assert re.search(r"the worker process of a hung for \d+ ms and was killed", " ".join(lines))
        assert not os.path.exists(f"/proc/{pid}")
        heard = play(plan, x)["main"]
        np.testing.assert_array_equal(heard[:, BLOCK:], x[:, :-BLOCK])


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="needs Linux")
def test_who_wants_to_run_and_may_not_does_not_hang():
    """A process without rights on a processor that another one takes, and one that only sleeps."""

    def look(pid):
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return remote.look(pid, stat.fileno())

    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    loops.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]))
    try:
        os.sched_setscheduler(loops[0].pid, os.SCHED_IDLE, os.sched_param(0))
        for loop in loops[:2]:
            os.sched_setaffinity(loop.pid, {min(os.sched_getaffinity(0))})
        await_(lambda: look(loops[1].pid).spent > 0.3)
        before = [look(loop.pid) for loop in loops]
        begin = before[1].spent
        await_(lambda: look(loops[1].pid).spent > begin + 0.3)
        after = [look(loop.pid) for loop in loops]
        assert [each.runnable for each in before] == [True, True, False]
        assert remote.starved(before[0], after[0])
        assert not remote.starved(before[2], after[2])
        assert not remote.starved(remote.Look(before[1].at, -1e9, True), after[1])  # It has had its time.
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def test_the_memory_of_a_worker_is_limited():
    """In `/proc`, where nothing has to be filled: without a limit the next test would fill the machine."""
    with planned(chain(Node("a", Gainful)), ready=False) as plan:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        limits = Path(f"/proc/{plan.segments[0].pid}/limits").read_text()
        (data,) = (line for line in limits.splitlines() if line.startswith("Max data size"))
        assert int(data.split()[3]) == round(0.75 * total)


def test_one_that_allocates_without_end_is_held_to_its_limit(tmp_path, monkeypatch):
    pool = processes.Pool
    monkeypatch.setattr("rtaudio.plan.Pool", lambda: pool(700 << 20))
    x = noise(2, 40 * BLOCK)
    with planned(chain(Node("a", Trouble, {"file": str(tmp_path / "go")}))) as plan:
        (tmp_path / "go").write_text("allocate")
        assert Path(f"/proc/{plan.segments[0].pid}/oom_score_adj").read_text().strip() == "1000"
        heard = play(plan, x)["main"]
        assert "MemoryError" in plan.reason("a")
        np.testing.assert_array_equal(heard, delayed(x, BLOCK))


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("raise", "a: ValueError: no such luck"),
        ("die", "a: its worker process ended with status 7"),
        ("exit", "a: SystemExit: 3"),
        ("sleep", "a: its worker process did not answer for 3 s: it was killed"),
    ],
)
def test_a_bad_engine_in_prepare_is_an_error_before_the_sound(what, says, tmp_path, monkeypatch):
    if what == "sleep":
        monkeypatch.setattr(processes, "PREPARE_LIMIT", 3.0)
    (tmp_path / "go.prepare").touch()
    with pytest.raises(UserError) as error:
        Plan(chain(Node("a", Trouble, {"file": str(tmp_path / "go"), "prepare": what})), RATE, BLOCK, 2)
    assert str(error.value) == says


def test_a_spare_that_cannot_prepare_is_no_harm(tmp_path):
    values = {"file": str(tmp_path / "go"), "prepare": "raise"}
    lines, x = [], noise(2, 40 * BLOCK)
    plan = Plan(chain(Node("a", Trouble, values)), RATE, BLOCK, 2)
    (tmp_path / "go.prepare").touch()
    plan.start()
    told(plan, f"{remote.DEATHS} have ended", lines)
    heard = play(plan, x)["main"]
    np.testing.assert_array_equal(heard, delayed(x, BLOCK))
    assert sum("could not prepare it again: ValueError: no such luck; another" in line for line in lines) == 1
    (tmp_path / "go.prepare").unlink()
    (segment,) = plan.segments
    plan._pool.do(segment.is_due)
    assert segment.ready.wait(60)
    os.kill(segment.pid, signal.SIGKILL)  # The first: it is replaced as ever.
    told(plan, "has taken over", lines)
    assert plan.close()


def test_a_worker_that_dies_when_no_more_are_started_is_given_up(tmp_path):
    lines, x = [], noise(2, 40 * BLOCK)
    plan = Plan(chain(Node("a", Trouble, {"file": str(tmp_path / "go"), "prepare": "raise"})), RATE, BLOCK, 2)
    (tmp_path / "go.prepare").touch()
    plan.start()
    told(plan, "another is started in 10 s", lines)
    os.kill(plan.segments[0].pid, signal.SIGKILL)
    told(plan, "bypassed until another is started", lines)
    np.testing.assert_array_equal(play(plan, x)["main"], delayed(x, BLOCK))
    assert plan.close()


def test_a_module_that_does_not_import_in_the_worker_is_told(monkeypatch):
    class Elsewhere(Gainful):
        id = "elsewhere"

    Elsewhere.__module__, Elsewhere.__qualname__ = "rtaudio.no_such_module", "Elsewhere"
    module = type(sys)("rtaudio.no_such_module")
    module.Elsewhere = Elsewhere
    monkeypatch.setitem(sys.modules, "rtaudio.no_such_module", module)
    with pytest.raises(UserError, match=r"a: rtaudio.no_such_module cannot be imported: ModuleNotFoundError"):
        Plan(chain(Node("a", Elsewhere)), RATE, BLOCK, 2)


# ------------------------------------------------------------------------------------------- the host's end


HOLDER = """
import sys
sys.path[:0] = {paths!r}
import numpy as np, os, time
from test_plan import chain
from python_engines import Trouble
from rtaudio.graph import Node
from rtaudio.plan import Plan
plan = Plan(chain(Node("a", Trouble, {{"file": {file!r}}})), 8000, 16, 2)
plan.start()
segment = plan.segments[0]
segment.ready.wait(60)
open({file!r}, "w").write("hold")
plan.entry[:] = 0
from rtaudio import executor
executor.run_block(plan.words, 16)
while os.path.exists({file!r}):
    time.sleep(0.01)
print(segment.pid, segment._spare.pid, flush=True)
time.sleep(1000)
"""


def test_workers_end_with_their_host_even_if_they_hang(tmp_path):
    """The host is killed with SIGKILL while a worker holds its interpreter for ever."""
    code = HOLDER.format(paths=[entry for entry in sys.path if entry], file=str(tmp_path / "go"))
    host = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pids = [int(word) for word in host.stdout.readline().split()]
    assert len(pids) == 2
    lives = [os.pidfd_open(pid) for pid in pids]
    host.kill()
    host.wait()
    for life in lives:
        assert select.select([life], [], [], 20)[0], "a worker has outlived its host"
        os.close(life)


def test_closing_ends_the_workers_and_leaves_no_file_open():
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    with planned(chain(Node("a", Gainful), on(1, "b", Gain), on(2, "c", Gain))) as plan:
        pids = [segment.pid for segment in plan.segments if segment.lane == 2]
        assert len(pids) == 2
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    del plan  # and what it had mapped
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_plan_that_is_forgotten_ends_its_workers():
    plan = Plan(chain(Node("a", Gainful)), RATE, BLOCK, 2)
    plan.start()
    life = os.pidfd_open(plan.segments[0].pid)
    del plan
    gc.collect()
    assert select.select([life], [], [], 20)[0]
    os.close(life)


# ------------------------------------------------------------------------------------------- live


@pytest.mark.slow
def test_live_with_kills_is_what_is_rendered(tmp_path):
    """The engine copies, and so does its fallback: through every kill, bit for bit the delayed input."""
    rate = 48_000
    x = noise(2, 4 * rate)
    sf.write(tmp_path / "in.wav", x.T, rate, subtype="FLOAT")
    plan = Plan(chain(Node("a", Gainful)), rate, 128, 2, lane=None)
    record = AudioWriter(tmp_path / "out.wav", rate, 2, subtype="float")
    with Host(plan, NullDevice(rate=rate), AudioReader(tmp_path / "in.wav"), record=record) as run:
        run.start()
        (segment,) = plan.segments
        latency = plan.latency
        for kills in range(2):
            wait_for(run, lambda: segment.ready.is_set() or not run.running)
            os.kill(segment.pid, signal.SIGKILL)
            wait_for(run, lambda kills=kills: segment.restarts > kills)
        wait_for(run, lambda: not run.running)
        report = run.statistics()
    played = sf.read(tmp_path / "out.wav", dtype="float32", always_2d=True)[0].T
    if report["device_misses"]:
        pytest.skip("the machine stood still")
    np.testing.assert_array_equal(played[:, latency:][:, : x.shape[1]], x[:, : played.shape[1] - latency])
    assert latency == plan.latency == 128
    assert report["nodes"]["worker 1"]["restarts"] == 2
    assert sum("has taken over" in problem for problem in run.problems) == 2


@pytest.mark.slow
def test_the_command_runs_any_engine_in_a_process(tmp_path):
    x = noise(2, 30_000)
    sf.write(tmp_path / "in.wav", x.T, 48_000, subtype="FLOAT")
    chain_ = "gain(gain=-6) | biquad | compressor"
    render(load_chain(chain_), Job(tmp_path / "in.wav", {"main": tmp_path / "off.wav"}, "float"))
    command = [sys.executable, "-m", "rtaudio", "live", "--chain", chain_, "--api", "null", "--freewheel"]
    command += ["--file", str(tmp_path / "in.wav"), "--record", str(tmp_path / "on.wav"), "--lane", "2"]
    done = subprocess.run([*command, "--json", "-"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["nodes"]["worker 1"]["lane"] == 2
    latency = report["latency"]["total"]
    off = sf.read(tmp_path / "off.wav", dtype="float32")[0]
    played = sf.read(tmp_path / "on.wav", dtype="float32")[0]
    np.testing.assert_array_equal(played[latency : latency + len(off)], off)


def test_an_edit_leaves_no_memory_behind():
    """What a worker process shared with the plan before is given back, not kept until Python collects."""

    def shared():
        found = []
        for file in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                found.append(os.readlink(f"/proc/self/fd/{file}").startswith("/memfd:"))
        return sum(found)

    graph = load_chain("a: gain(lane=2) | b: gain")
    with Host(Plan(graph, 48_000, 128, 2, lane=None), NullDevice()) as host:
        host.start()
        counts = []
        for line in ("insert last c: gain", "remove c") * 2:
            control.apply(host, line)
            wait_for(host, lambda: not host.edits)
            counts.append(shared())
        assert counts[0] > 0
        assert counts == [counts[0]] * 4
        assert not host.problems
