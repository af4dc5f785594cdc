"""Counters in shared memory: the layout, who may see them, what a dead host leaves; ``rtaudio status``."""

import ctypes
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from rtaudio import counters as counters_module
from rtaudio.cli import main
from rtaudio.counters import (
    BLOCK,
    BLOCKS,
    FOLDER,
    HEAD_MAGIC,
    HEAD_WORDS,
    MAGIC,
    MEASURED,
    NODE_NAME,
    NODE_TIMES,
    NODE_WORDS,
    PID,
    PREFIX,
    RATE,
    SECTIONS,
    TIME_BINS,
    TIMES,
    USED,
    WAKES,
    WORDS,
    Counters,
    attach,
    running,
    sections,
    sweep,
)
from rtaudio.errors import UserError
from rtaudio.graph import Graph, Node
from rtaudio.plan import Plan
from rtaudio.registry import load_engine

pytestmark = pytest.mark.alone

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
DEADLINE = 60.0


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of shared memory of this test's own."""
    monkeypatch.setattr(counters_module, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture
def shared():
    made = Counters(shared=True)
    yield made
    made.close()


# Layout


def test_the_layout_has_no_overlap():
    assert TIMES + TIME_BINS == WAKES
    assert WAKES + TIME_BINS == MEASURED
    assert MEASURED + NODE_TIMES == HEAD_WORDS
    assert NODE_TIMES + TIME_BINS == NODE_WORDS
    assert HEAD_WORDS + SECTIONS * NODE_WORDS == WORDS
    counters = Counters()
    taken = np.zeros(WORDS, np.int64)
    taken[:HEAD_WORDS] += 1
    for number in range(SECTIONS):
        section = counters.section(f"node {number}")
        begin = (section.ctypes.data - counters.address) // 8
        taken[begin : begin + len(section)] += 1
    assert (taken == 1).all()


def test_the_first_words_say_what_it_is():
    counters = Counters()
    assert counters.words[HEAD_MAGIC].tobytes() == b"rtaudio3"
    assert counters.words[HEAD_MAGIC] == MAGIC
    assert counters.words[PID] == os.getpid()


@pytest.mark.parametrize("name", ["a", "eight888", "nest/pair/amp", "Ärger", "x" * 64])
def test_a_section_is_found_by_its_name_and_goes_on(name):
    counters = Counters()
    other = counters.section("other")
    section = counters.section(name)
    section[NODE_TIMES] = 7
    other[NODE_TIMES] = 3
    assert counters.section(name).ctypes.data == section.ctypes.data
    assert counters.section(name)[NODE_TIMES] == 7
    assert list(sections(counters.words)) == ["other", name]
    assert counters.words[USED] == 2


def test_a_name_of_more_than_64_bytes_is_cut_at_a_letter():
    counters = Counters()
    counters.section("ä" * 40)
    counters.section("x" + "ä" * 40)
    assert list(sections(counters.words)) == ["ä" * 32, "x" + "ä" * 31]


def test_a_dropped_section_is_gone_and_its_place_is_used_again_from_zero():
    counters = Counters()
    first, second = counters.section("first"), counters.section("second")
    first[8:], second[NODE_TIMES] = 9, 5
    counters.drop("first")
    assert list(sections(counters.words)) == ["second"]
    assert first[NODE_NAME] == 0
    third = counters.section("third")
    assert third.ctypes.data == first.ctypes.data
    assert not third[8:].any()
    assert counters.section("second")[NODE_TIMES] == 5
    assert counters.words[USED] == 2


def test_more_than_256_nodes_are_refused_and_dropping_makes_room():
    counters = Counters()
    for number in range(SECTIONS):
        counters.section(f"n{number}")
    with pytest.raises(UserError, match="more than 256 nodes: divide the graph"):
        counters.section("one more")
    assert len(sections(counters.words)) == SECTIONS
    counters.drop("n7")
    counters.section("one more")
    plan = Plan(Graph([Node("gain", load_engine("gain"))], ["in -> gain", "gain -> out"]), 48_000, 16, 1)
    with pytest.raises(UserError, match="more than 256 nodes"):
        plan.count_in(counters)


# The file


def test_only_this_user_can_read_the_block_and_it_is_removed(folder):
    for mask in (0, 0o077):
        before = os.umask(mask)
        try:
            counters = Counters(shared=True)
        finally:
            os.umask(before)
        path = folder / f"{PREFIX}{os.getpid()}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_size == 8 * WORDS
        assert path.stat().st_blocks * 512 >= 8 * WORDS  # all there: no write to it can fail any more
        counters.close()
        counters.close()
        assert not path.exists()
        counters.words[BLOCKS] = 1  # the memory stays


def test_it_lies_in_the_kernels_folder(shared):
    assert (FOLDER / f"{PREFIX}{os.getpid()}").exists()
    assert str(FOLDER) == "/dev/shm"


def test_a_link_in_its_place_is_not_followed(folder, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (folder / f"{PREFIX}{os.getpid()}").symlink_to(victim)
    counters = Counters(shared=True)
    assert victim.read_text() == "precious"
    assert not (folder / f"{PREFIX}{os.getpid()}").is_symlink()
    counters.close()


def test_no_room_is_one_line(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match=r"cannot make .*: No space left on device; see 'df .*'"):
        Counters(shared=True)
    assert list(folder.iterdir()) == []


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_blocks_of_dead_processes_are_swept_and_others_are_not(folder):
    dead, alive = folder / f"{PREFIX}{dead_process()}", folder / f"{PREFIX}{os.getppid()}"
    others = [folder / name for name in (f"{PREFIX}x", "another-1", f"{PREFIX}", f"{PREFIX}1x")]
    for path in (dead, alive, *others):
        path.write_bytes(b"")
    sweep()
    assert sorted(folder.iterdir()) == sorted([alive, *others])
    dead.write_bytes(b"")
    counters = Counters(shared=True)
    assert not dead.exists()
    counters.close()


# Readers


def test_a_reader_sees_what_is_counted_and_cannot_write(shared):
    shared.words[BLOCKS] = 12
    shared.section("a")[NODE_TIMES] = 4
    words = attach(os.getpid())
    assert words[BLOCKS] == 12
    assert sections(words)["a"][NODE_TIMES] == 4
    shared.words[BLOCKS] += 1
    assert words[BLOCKS] == 13
    assert not words.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        words[BLOCKS] = 0
    code = """
        import sys, ctypes
        from rtaudio.counters import attach
        words = attach(int(sys.argv[1]))
        ctypes.memset(words.ctypes.data, 0, 8)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(os.getpid())], env=ENVIRONMENT, check=False
    )
    assert done.returncode == -signal.SIGSEGV
    assert shared.words[HEAD_MAGIC] == MAGIC


def test_a_reader_keeps_what_it_attached_to(folder):
    counters = Counters(shared=True)
    words = attach(os.getpid())
    counters.close()
    counters.words[BLOCKS] = 5
    assert words[BLOCKS] == 5
    with pytest.raises(UserError, match=f"process {os.getpid()} runs no live host of yours"):
        attach(os.getpid())


def test_another_layout_is_told(folder):
    path = folder / f"{PREFIX}{os.getpid()}"
    for content in (b"", b"\0" * (8 * WORDS), b"rtaudio9".ljust(8 * WORDS, b"\0")):
        path.write_bytes(content)
        with pytest.raises(UserError, match="is a host of another version"):
            attach(os.getpid())


def test_a_block_that_a_dead_host_left_is_no_host(folder):
    pid = dead_process()
    (folder / f"{PREFIX}{pid}").write_bytes(b"rtaudio3".ljust(8 * WORDS, b"\0"))
    assert running() == []
    with pytest.raises(UserError, match=f"process {pid} runs no live host of yours"):
        attach(pid)


# A host in another process


@pytest.fixture
def live():
    """Starts `rtaudio live` in a process of its own; returns when it runs."""
    processes = []

    def start(*more):
        command = [sys.executable, "-m", "rtaudio", "live", "--api", "null", *more]
        process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        for line in process.stderr:
            if line.startswith("READY"):
                break
        assert process.poll() is None
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()
    sweep()


def test_the_counts_of_a_running_host_are_seen_from_outside(live, capsys):
    process = live("--chain", "gain | limiter", "--block", "64")
    assert process.pid in running()
    words = attach(process.pid)
    first = int(words[BLOCKS])
    until = time.monotonic() + DEADLINE
    while int(words[BLOCKS]) < first + 100:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert main(["status", str(process.pid), "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["pid"], told["rate"], told["block"], told["channels"]) == (process.pid, 48_000, 64, 2)
    assert told["blocks"] >= first + 100
    assert told["callbacks"] == pytest.approx(told["blocks"], abs=50)
    assert set(told["nodes"]) == {"gain", "limiter"}
    assert told["latency"] == {"total": told["latency"]["limiter"], "limiter": told["latency"]["limiter"]}
    assert main(["status", str(process.pid)]) == 0
    text = capsys.readouterr()
    assert "blocks of 64 at 48000 Hz" in text.err
    assert text.err.splitlines()[1].startswith("xruns ")
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE) == 0
    assert not (FOLDER / f"{PREFIX}{process.pid}").exists()


def test_a_killed_host_leaves_a_block_that_the_next_one_sweeps(live, capsys):
    process = live()
    block = FOLDER / f"{PREFIX}{process.pid}"
    assert stat.S_IMODE(block.stat().st_mode) == 0o600
    process.kill()
    process.wait()
    assert block.exists()
    assert process.pid not in running()
    assert main(["status", str(process.pid)]) == 2
    assert capsys.readouterr().err == f"rtaudio: process {process.pid} runs no live host of yours\n"
    assert main(["live", "--api", "null", "--freewheel", "--seconds", "0.01"]) == 0
    assert not block.exists()


# status


def test_status_without_a_host(folder, capsys):
    assert main(["status"]) == 2
    assert capsys.readouterr().err == "rtaudio: hosts that run live: none\n"


def test_status_of_the_only_host(folder, capsys, tmp_path):
    counters = Counters(shared=True)
    assert main(["status"]) == 2
    assert capsys.readouterr().err == f"rtaudio: process {os.getpid()} is only starting: ask again\n"
    counters.words[[RATE, BLOCK, BLOCKS]] = 48_000, 64, 17
    assert main(["status"]) == 0
    assert "17 blocks" in capsys.readouterr().err
    assert main(["status", "--json", "-"]) == 0
    out = capsys.readouterr()
    assert json.loads(out.out)["blocks"] == 17
    assert out.err == ""
    assert main(["status", "--json", str(tmp_path / "s.json")]) == 0
    assert json.loads((tmp_path / "s.json").read_text())["pid"] == os.getpid()
    assert "17 blocks" in capsys.readouterr().err
    counters.close()


def test_status_of_several_hosts_asks_which(folder, capsys):
    counters = Counters(shared=True)
    counters.words[RATE] = 48_000
    (folder / f"{PREFIX}{os.getppid()}").write_bytes(b"")
    both = ", ".join(map(str, sorted([os.getpid(), os.getppid()])))
    assert main(["status"]) == 2
    assert capsys.readouterr().err == f"rtaudio: hosts that run live: {both}: say which\n"
    assert main(["status", str(os.getpid())]) == 0
    capsys.readouterr()
    assert main(["status", str(os.getppid())]) == 2
    assert "another version" in capsys.readouterr().err
    counters.close()


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("4194305", "process 4194305 runs no live host of yours"),
        ("x", "'x' is not a whole"),
        ("0", "'0' is not"),
    ],
)
def test_status_of_a_wrong_process(folder, capsys, argument, said):
    try:
        status = main(["status", argument])
    except SystemExit as left:
        status = left.code
    assert status == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err


def test_status_refuses_a_report_that_cannot_be_written_before_it_looks(folder, capsys):
    assert main(["status", "--json", "/proc/j"]) == 2
    assert "cannot write /proc/j" in capsys.readouterr().err


def test_a_plan_that_counts_elsewhere_goes_on_there():
    """What a kept node has counted stays, when another plan counts under its name."""
    gain = load_engine("gain")
    counters, block = Counters(), np.zeros((1, 16), np.float32)
    for runs in (3, 4):
        plan = Plan(Graph([Node("a", gain)], ["in -> a", "a -> out"]), 48_000, 16, 1)
        plan.count_in(counters)
        for _ in range(runs):
            plan.process(block)
        plan.close()
    assert counters.section("a")[NODE_TIMES:].sum() == 7
    assert counters.words[BLOCKS] == 7
    assert ctypes.sizeof(ctypes.c_int64) * WORDS == counters.words.nbytes
