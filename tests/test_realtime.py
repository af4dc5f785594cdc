import ctypes
import mmap
import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from rtaudio import realtime
from rtaudio.realtime import (
    demote,
    lock_memory,
    priority_of,
    raise_priority,
    trim_memory,
    unlock_memory,
)

pytestmark = pytest.mark.alone

PAGE = os.sysconf("SC_PAGESIZE")
NOBODY = 65534


class Waiting:
    """A thread that waits, to be raised and demoted."""

    def __enter__(self):
        self.end = threading.Event()
        self.thread = threading.Thread(target=self.end.wait, daemon=True)
        self.thread.start()
        return self.thread.native_id

    def __exit__(self, *exception):
        self.end.set()
        self.thread.join()


def python(code, **environment):
    """Run code in a process of its own, since limits cannot be taken back; what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def locked_bytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmLck"))


@pytest.fixture
def may_fifo():
    with Waiting() as thread:
        if raise_priority(thread, 1) != "fifo":
            pytest.skip("this user may not raise priorities: " + realtime.PRIORITY_REMEDY)


@pytest.mark.usefixtures("may_fifo")
def test_priority_is_raised_and_taken_back():
    with Waiting() as thread:
        assert priority_of(thread) == ("other", 0)
        assert raise_priority(thread, 40) == "fifo"
        assert priority_of(thread) == ("fifo", 40)
        assert os.sched_getscheduler(thread) & os.SCHED_RESET_ON_FORK
        assert realtime.is_real_time(thread)
        assert demote(thread)
        assert priority_of(thread) == ("other", 0)
    while os.path.exists(f"/proc/self/task/{thread}"):
        time.sleep(0.001)
    assert priority_of(thread) == ("", 0)
    assert not demote(thread)


REFUSED = """
    import os, resource, sys
    def refuse(*arguments):
        raise PermissionError("no")
    os.sched_setscheduler = refuse
    from rtaudio.realtime import raise_priority
    print(raise_priority({thread}, 70) or "nobody", *resource.getrlimit(resource.RLIMIT_RTTIME), os.getpid())
    os.kill(os.getpid(), 24)  # SIGXCPU: the limit must not be the end of the process
"""


def fake_busctl(folder, highest, status):
    """A busctl that answers like RealtimeKit and writes down what it was asked for."""
    program = folder / "busctl"
    program.write_text(
        textwrap.dedent(f"""\
        #!/bin/sh
        echo "$@" >> {folder}/asked
        case "$*" in
        *get-property*) echo "x 200000"; echo "i {highest}";;
        *) exit {status};;
        esac
        """)
    )
    program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_rtkit_is_asked_where_the_system_refuses(tmp_path):
    who, soft, hard, process = python(REFUSED.format(thread=1234), **fake_busctl(tmp_path, 20, 0))
    assert who == "rtkit"
    assert int(soft) < int(hard) == 200_000
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0].endswith("RealtimeKit1 RTTimeUSecMax MaxRealtimePriority")
    assert asked[1].endswith(f"RealtimeKit1 MakeThreadRealtimeWithPID ttu {process} 1234 20")


def test_nobody_grants_it_where_rtkit_refuses_or_is_missing(tmp_path):
    assert python(REFUSED.format(thread=0), **fake_busctl(tmp_path, 20, 1))[0] == "nobody"
    unlimited = REFUSED.partition("    os.kill")[0]
    assert python(unlimited.format(thread=0), PATH=str(tmp_path / "nothing"))[:3] == ["nobody", "-1", "-1"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_an_ordinary_user_is_refused(tmp_path):
    code = f"""
        import os, resource
        from rtaudio.realtime import raise_priority, priority_of
        resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
        os.setuid({NOBODY})
        print(raise_priority(0, 70) or "nobody", *priority_of(0))
    """
    assert python(code, PATH=str(tmp_path)) == ["nobody", "other", "0"]


def resident():
    """Bytes."""
    with open("/proc/self/statm") as file:
        return PAGE * int(file.read().split()[1])


def test_what_other_threads_have_freed_goes_back_to_the_system():
    """They allocate from arenas of their own, which stay as large as they were."""
    c = ctypes.CDLL(None)
    if not hasattr(c, "malloc_trim"):
        pytest.skip("not glibc")
    c.malloc.restype, c.malloc.argtypes, c.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    size, count = 8_000, 10_000

    def work():
        blocks = [c.malloc(size) for _ in range(count)]
        for block in blocks:
            ctypes.memset(block, 1, size)
        for block in blocks[:-1]:  # The last one keeps the arena from shrinking by itself.
            c.free(block)

    before = resident()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert resident() > before + size * count // 2
    trim_memory()
    assert resident() < before + size * count // 4


def test_pages_are_locked_once_and_released_with_the_last_array():
    memory = np.frombuffer(mmap.mmap(-1, 4 * PAGE), np.uint8)  # the heap may hold pages that others locked
    first, second = memory[: 2 * PAGE + 100], memory[2 * PAGE + 200 :]
    before = locked_bytes()
    assert lock_memory([first, second]) == (4 * PAGE, 4 * PAGE)
    assert locked_bytes() - before == 4 * PAGE
    unlock_memory([second])
    assert locked_bytes() - before == 3 * PAGE
    unlock_memory([first])
    assert locked_bytes() == before
    unlock_memory([first])
    assert lock_memory([np.zeros(0)]) == (0, 0)


def test_arrays_far_apart_do_not_lock_what_lies_between():
    memory = np.frombuffer(mmap.mmap(-1, 100 * PAGE), np.uint8)
    before = locked_bytes()
    ends = [memory[:1], memory[-1:]]
    assert lock_memory(ends) == (2 * PAGE, 2 * PAGE)
    assert locked_bytes() - before == 2 * PAGE
    unlock_memory(ends)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_the_limit_on_locked_memory_is_reported_not_exceeded():
    code = f"""
        import os, resource
        import numpy as np
        from rtaudio.realtime import lock_memory
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (10 * {PAGE}, 10 * {PAGE}))
        os.setuid({NOBODY})
        memory = np.zeros(60 * {PAGE}, np.uint8)
        memory = memory[-memory.ctypes.data % {PAGE}:]
        print(*lock_memory([memory[: 4 * {PAGE}], memory[8 * {PAGE} : 38 * {PAGE}]]))
        print(np.zeros(10**8).size)
    """
    assert [int(word) for word in python(code)] == [4 * PAGE, 34 * PAGE, 10**8]


@pytest.mark.usefixtures("may_fifo")
def test_a_real_time_thread_that_hangs_is_demoted_and_no_other():
    """While the main thread sleeps; and again, as soon, once it has got its priority back."""
    code = """
        import os, threading, time
        import numpy as np
        from rtaudio import realtime
        from rtaudio.native import load_acquire
        import numba

        @numba.njit(nogil=True)
        def hang(words):
            while load_acquire(words, 0) == 0:
                pass

        words = np.ones(2, np.int64)
        hang(words)  # compiles
        words[0] = 0
        assert realtime.limit_runaway(0.2)
        raised = threading.Event()
        def run():
            realtime.raise_priority(0, 5)
            raised.set()
            hang(words)
        def wait():
            realtime.raise_priority(0, 6)
            time.sleep(1000)
        threads = [threading.Thread(target=target, daemon=True) for target in (run, wait)]
        for thread in threads:
            thread.start()
        raised.wait()
        for _ in range(2):
            while realtime.is_real_time(threads[0].native_id):
                time.sleep(0.01)
            spent = [time.clock_gettime((~thread.native_id << 3) | 6) for thread in threads]
            print(*(word for thread in threads for word in realtime.priority_of(thread.native_id)))
            realtime.limit_runaway(0.2)
            realtime.raise_priority(threads[0].native_id, 5)
        print(spent[0] < 1.2, flush=True)  # The kernel itself would wait a second longer every time.
        os._exit(0)
    """
    assert python(code) == ["other", "0", "fifo", "6"] * 2 + ["True"]


def test_the_limit_can_be_lifted():
    code = """
        import resource
        from rtaudio.realtime import lift_limit, limit_runaway
        limit_runaway(0.5)
        print(resource.getrlimit(resource.RLIMIT_RTTIME)[0])
        lift_limit()
        print(*resource.getrlimit(resource.RLIMIT_RTTIME))
    """
    limited, soft, hard = python(code)
    assert limited == "500000"
    assert soft == hard
