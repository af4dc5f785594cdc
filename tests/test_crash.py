"""A host that dies by a fault, and the next one, which knows in which node it was."""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from faulty_engines import Faulty

from rtaudio import counters, crash
from rtaudio.chain import parse_chain
from rtaudio.counters import (
    CRASH_SIGNAL,
    CRASH_THREAD,
    MEASURED,
    NODE_ENGINE,
    NODE_INSIDE,
    NODE_TIMES,
    WORDS,
    Counters,
    engine_word,
    name_words,
)
from rtaudio.graph import Graph, Node
from rtaudio.live import _start_safely
from rtaudio.native import this_thread
from rtaudio.plan import Plan
from rtaudio.registry import load_engine

pytestmark = pytest.mark.alone

ENGINES = Path(__file__).with_name("faulty_engines.py")
BLOCK = 128
SAID = "the last run crashed (signal 11) in 'x': it starts bypassed; 'unbypass x', or --no-safe-start"


@pytest.fixture
def live(tmp_path):
    """Runs ``rtaudio live`` on a file in a process of its own: exit status, what it said, what was heard."""
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (24_000, 2)).astype(np.float32)
    sf.write(tmp_path / "in.wav", sound, 48_000, "FLOAT")

    def run(chain, *arguments, lines="", **env):
        out = tmp_path / "out.wav"
        out.unlink(missing_ok=True)
        command = ["live", "--file", tmp_path / "in.wav", "--record", out, "--freewheel", "--chain", chain]
        done = subprocess.run(
            [sys.executable, ENGINES, tmp_path, *command, *arguments],
            input=lines,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=os.environ | env,
        )
        heard = sf.read(out, dtype="float32")[0] if out.exists() else None
        return done.returncode, done.stderr, heard

    run.sound = sound
    return run


def test_the_next_start_bypasses_the_node_in_the_callback(live):
    chain = "gain | x: faulty(at=9600)"
    status, said, _ = live(chain, "--lane", "0")
    assert status == -signal.SIGSEGV
    assert "last run" not in said
    status, said, heard = live(chain, "--lane", "0")
    assert status == 0
    assert said.splitlines()[0] == SAID
    assert said.splitlines()[-1] == "bypassed: x"
    np.testing.assert_array_equal(heard[: len(live.sound)], live.sound)
    status, said, _ = live(chain, "--lane", "0")
    assert status == -signal.SIGSEGV
    assert "last run" not in said


def test_the_next_start_bypasses_the_node_on_a_worker(live):
    chain = "gain | x: faulty(at=9600, lane=1)"
    assert live(chain)[0] == -signal.SIGSEGV
    status, said, heard = live(chain)
    assert (status, said.splitlines()[0]) == (0, SAID)
    np.testing.assert_array_equal(heard[BLOCK : BLOCK + len(live.sound)], live.sound)


def test_a_crash_while_it_is_measured_and_when_it_is_switched_on(live):
    chain = "x: faulty(at=0)"
    status, said, _ = live(chain, PYTHONFAULTHANDLER="1")
    assert status == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in said
    status, said, _ = live(chain, "--control", "--loop", "--seconds", "100000", lines="unbypass x\n")
    assert said.splitlines()[0] == SAID
    assert status == -signal.SIGSEGV  # It may be gone before it can answer.


@pytest.mark.parametrize("lane", [0, 1])
def test_a_held_node_is_not_run_until_it_is_switched_on(lane):
    node = Node("x", Faulty, bypass=True, lane=lane, held=True)
    plan = Plan(Graph([node], ["in -> x", "x -> out"]), 48_000, BLOCK, 2, lane=None)
    block = np.full((2, BLOCK), 0.5, np.float32)

    def heard(blocks):
        return np.concatenate([plan.process(block)["main"].copy() for _ in range(blocks)], axis=1)

    try:
        heard(4)
        np.testing.assert_array_equal(heard(4), 0.5)
        assert plan.failed() == []
        assert plan.statistics()["bypassed"] == ["x"]
        plan.bypass("x", on=False)
        assert not node.held
        heard(8)  # the crossfade
        np.testing.assert_array_equal(heard(4), -0.5)
        assert plan.statistics()["bypassed"] == []
        plan.bypass("x")
        heard(8)
        np.testing.assert_array_equal(heard(4), 0.5)
    finally:
        plan.close()


def test_what_holds_a_composite_holds_all_of_it():
    remix = load_engine("remix")
    node = Node("x", remix, {"percussive_insert": "delay"}, bypass=True, held=True)
    plan = Plan(Graph([node], ["in -> x", "x -> out"]), 48_000, BLOCK, 2)
    plan.process(np.zeros((2, BLOCK), np.float32))
    assert {"x", "x/hpss", "x/stems", "x/percussive/delay"} <= set(plan.statistics()["bypassed"])


# What a block says


@pytest.fixture
def left_by(tmp_path, monkeypatch):
    """Makes the block of a host that is dead."""
    monkeypatch.setattr(counters, "FOLDER", tmp_path)

    def make(number=2**22 + 1):
        block = Counters()
        path = tmp_path / f"rtaudio-{number}"
        block.words = np.memmap(path, np.int64, "w+", shape=WORDS)
        block.words[0] = counters.MAGIC
        return block

    return make


def crashed(block, thread=7):
    block.words[CRASH_SIGNAL], block.words[CRASH_THREAD] = signal.SIGFPE, thread


def inside(block, name, engine, thread=7):
    section = block.section(name)
    section[NODE_ENGINE], section[NODE_INSIDE] = engine_word(engine), thread


def test_a_block_without_a_signal_says_nothing(left_by):
    inside(left_by(), "x", "gain")
    assert crash.crashes() == []


def test_the_thread_of_the_fault_says_which_node(left_by):
    block = left_by()
    inside(block, "other", "gain", 8)
    inside(block, "remix/hpss", "remix")
    crashed(block)
    (found,) = crash.crashes()
    assert found == crash.Crash(signal.SIGFPE, "remix/hpss", engine_word("remix"))
    assert found.hit("remix", "remix")
    assert not found.hit("remix", "hpss")
    assert not found.hit("hpss", "remix")
    counters.sweep()
    assert crash.crashes() == []


@pytest.mark.parametrize(("chain", "held"), [("x: gain", True), ("x: limiter", False), ("y: gain", False)])
def test_an_engine_of_another_name_is_not_bypassed(chain, held, left_by, capsys):
    block = left_by()
    inside(block, "x", "gain")
    crashed(block)
    graph = parse_chain(chain)
    _start_safely(graph)
    (node,) = graph.nodes.values()
    assert (node.bypass, node.held) == (held, held)
    assert ("in 'x': it starts bypassed" in capsys.readouterr().err) == held


def test_a_fault_outside_of_every_kernel_is_nobodys(left_by):
    block = left_by()
    inside(block, "x", "gain", 0)
    inside(block, "y", "gain", 8)
    crashed(block)
    assert crash.crashes() == []


def test_blocks_that_are_none_or_belong_to_a_running_host(left_by, tmp_path):
    for number, content in ((2**22 + 2, b""), (2**22 + 3, b"x" * 13), (2**22 + 4, bytes(8 * WORDS))):
        (tmp_path / f"rtaudio-{number}").write_bytes(content)
    (tmp_path / f"rtaudio-{2**22 + 5}").symlink_to("/etc/passwd")
    block = left_by(os.getpid())
    inside(block, "x", "gain")
    crashed(block)
    assert crash.crashes() == []


# What the handlers do


def handlers():
    """Addresses of what handles the signals of faults, as the C library knows them."""
    found = []
    for number in crash.FAULTS:
        action = (ctypes.c_uint64 * 32)()
        assert ctypes.CDLL(None).sigaction(int(number), None, action) == 0
        found.append(action[0])
    return found


def test_handlers_are_put_back():
    before = handlers()
    with crash.told_in(Counters()):
        assert len(set(handlers())) == 1
        assert not set(handlers()) & set(before)
    assert handlers() == before


DIE = """
import os, signal, sys
from pathlib import Path
from rtaudio import counters, crash
counters.FOLDER = Path(sys.argv[1])
block = counters.Counters(shared=True)
with crash.told_in(block):
    with crash.measuring("x", "gain"):
        pass
    os.kill(os.getpid(), int(sys.argv[2]))
    while True:
        signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGKILL])
def test_a_signal_from_outside_ends_it_as_ever_and_is_no_nodes(number, tmp_path, monkeypatch):
    monkeypatch.setattr(counters, "FOLDER", tmp_path)
    done = subprocess.run([sys.executable, "-c", DIE, tmp_path, str(int(number))], timeout=120, check=False)
    assert done.returncode == -number
    (words,) = counters.left()
    assert words[CRASH_SIGNAL] == (number if number != signal.SIGKILL else 0)
    assert crash.crashes() == []


def test_a_plan_marks_the_thread_that_is_in_a_kernel():
    seen = []
    gain = load_engine("gain")
    plan = Plan(Graph([Node("x", gain)], ["in -> x", "x -> out"]), 48_000, 64, 2)
    section = plan.counters.section("x")
    assert section[NODE_ENGINE] == engine_word("gain")
    plan.process(np.zeros((2, 64), np.float32))
    assert section[NODE_INSIDE] == 0
    block = Counters()
    measured = block.words[MEASURED : MEASURED + NODE_TIMES]
    with crash.told_in(block):
        with crash.measuring("x", "gain"):
            seen = [measured[:8].tolist(), measured[NODE_ENGINE], measured[NODE_INSIDE]]
        assert measured[NODE_INSIDE] == 0
    assert seen == [list(name_words("x")), engine_word("gain"), this_thread()]
