"""Kept mutations: every safeguard of the real-time parts taken away, one at a time; a test must notice.

``python tests/mutations.py [NAME ...]`` applies all, or those, and prints a table. Each is a change of text
in a copy of the sources, in which one test is run by a process of its own, with its own compiled code.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("rtaudio", "engines", "tests", "pyproject.toml")
LIMIT = 120.0
"""Seconds for a test, most of which it compiles."""
FAILED = 1
"""Exit status of pytest when tests ran, and some failed."""
LANES, LIVE, REALTIME = "tests/test_lanes.py::", "tests/test_live.py::", "tests/test_realtime.py::"
LATENESS = LANES + "test_any_lateness_is_heard_as_the_fallback_and_leaves_nothing_behind"
LAPPED = LANES + "test_a_worker_that_was_lapped_starts_anew"


@dataclass(frozen=True)
class Mutation:
    """A safeguard that is taken away."""

    file: str
    before: str
    """Stands in the file exactly once."""
    after: str
    test: str
    """Must fail then."""
    hangs: bool = False
    """Whether a test that never ends has noticed, too."""
    crashes: bool = False
    """Whether one that crashes has."""
    slow: bool = False
    """Not in CI, where another test of the same kind runs."""


MUTATIONS = {
    "plain loads": Mutation(
        "rtaudio/native.py",
        'return builder.load_atomic(place, "acquire", 8)',
        "return builder.load(place)",
        LANES + "test_a_word_that_another_thread_writes_is_seen",
        hangs=True,
    ),
    "plain stores": Mutation(
        "rtaudio/native.py",
        'builder.store_atomic(arguments[2], place, "release", 8)',
        "builder.store(arguments[2], place)",
        LANES + "test_numbers_and_words_are_published_and_read_as_they_must_be",
    ),
    "no fallback on a miss": Mutation(
        "rtaudio/lanes.py",
        "    if words[READY] == 0:\n        return MISSING\n",
        "",
        LATENESS,
    ),
    "no de-click": Mutation(
        "rtaudio/executor.py",
        "last[2 * count + c] = last[c] - last[count + c]",
        "last[2 * count + c] = np.float32(0)",
        LANES + "test_entering_a_fallback_makes_no_step",
    ),
    "no crossfade back": Mutation(
        "rtaudio/executor.py",
        "turn(ramps, wet, at, 1.0, 0, row[CROSSFADE])",
        "turn(ramps, wet, at, 1.0, 0, 0.0)",
        LANES + "test_leaving_a_fallback_is_a_crossfade",
    ),
    "the dry path of a muted node is open": Mutation(
        "rtaudio/executor.py",
        " or row[DRY_SHUT] != 0",
        "",
        LANES + "test_what_is_muted_is_not_heard_through_a_fallback",
    ),
    "no second look at a slot": Mutation(
        "rtaudio/lanes.py",
        "return load_acquire(numbers, slot) == k + 1  # type",
        "return True  # type",
        LANES + "test_a_torn_slot_is_never_processed",
        slow=True,
    ),
    "a slot is not marked while it is written": Mutation(
        "rtaudio/lanes.py",
        "    store_release(numbers, slot, 0)\n",
        "",
        LANES + "test_a_torn_slot_is_never_processed",
        slow=True,
    ),
    "no reset after a lapse": Mutation(
        "rtaudio/lanes.py",
        "            _reset(words)\n",
        "",
        f"{LAPPED}[2-delayed paths that meet in a state]",
    ),
    "delayed paths are not reset": Mutation(
        "rtaudio/lanes.py",
        "fresh[i] if reset[1] != 0 else np.uint8(0)",
        "fresh[i] if reset[1] != 0 else state[i]",
        f"{LAPPED}[2-bypassed]",
        slow=True,
    ),
    "heard before it has settled": Mutation(
        "rtaudio/lanes.py",
        "_give(words, k, settling == 0)",
        "_give(words, k, True)",
        f"{LAPPED}[2-latency]",
        slow=True,
    ),
    "a late block is skipped": Mutation(
        "rtaudio/lanes.py",
        "        started = now_ns()\n",
        "        started = now_ns()\n        k = head - 1\n        context[0] = k * n\n",
        LATENESS,
        slow=True,
    ),
    "the newest block is played": Mutation(
        "rtaudio/lanes.py",
        "slot = (position(context) // n) & (words[SLOTS] - 1)",
        "slot = (words[DONE] - 1) & (words[SLOTS] - 1)",
        LATENESS,
    ),
    "too few slots": Mutation(
        "rtaudio/lanes.py",
        "max(SMALLEST_SLOTS, power_of_two(2 * ahead))",
        "power_of_two(2 * ahead)",
        LATENESS,
        slow=True,
    ),
    "a hop behind workers keeps its phase": Mutation(
        "rtaudio/plan.py",
        "processor.origin != waited:",
        "processor.waiting < 0:",
        LANES + "test_composed_graphs_sound_the_same_on_workers",
        slow=True,
    ),
    "nothing is measured": Mutation(
        "rtaudio/plan.py",
        "part.cost = worst_block_ns(processor)",
        "part.cost = 0",
        LANES + "test_what_takes_too_much_of_a_block_goes_to_a_worker",
        slow=True,
    ),
    "the clock of the null device is not anchored anew": Mutation(
        "rtaudio/null.py",
        "                anchor, since = done + period, 0\n",
        "",
        LIVE + "test_a_block_that_takes_too_long_is_a_miss_and_no_burst_follows",
    ),
    "no priority for the device": Mutation(
        "rtaudio/null.py",
        "bool(raise_priority(threading.get_native_id(), FIFO_PRIORITY))",
        "False",
        LANES + "test_workers_run_just_below_the_device",
        slow=True,
    ),
    "no priority for workers": Mutation(
        "rtaudio/host.py",
        "raise_priority(segment.thread, below)",
        "True",
        LANES + "test_workers_run_just_below_the_device",
    ),
    "a worker that hangs keeps its priority": Mutation(
        "rtaudio/host.py",
        "                demote(segment.thread)\n",
        "",
        LANES + "test_a_worker_that_hangs_is_bypassed_and_loses_its_priority_and_the_sound_goes_on",
        slow=True,
    ),
    "what a hanging worker uses is freed": Mutation(
        "rtaudio/lanes.py",
        "args=(self.words, (self, keep))",
        "args=(self.words, ())",
        LANES + "test_what_a_worker_uses_lives_as_long_as_it_does",
        crashes=True,
        slow=True,
    ),
    "children inherit the priority": Mutation(
        "rtaudio/realtime.py",
        "policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK",
        "policy = os.SCHED_FIFO",
        REALTIME + "test_priority_is_raised_and_taken_back",
    ),
}
NEED_PRIORITY = {
    "no priority for the device",
    "no priority for workers",
    "a worker that hangs keeps its priority",
    "children inherit the priority",
}
"""Nothing to notice for a user who may not raise priorities."""


def mutate(folder: Path, mutation: Mutation) -> None:
    """Change the text in a copy of the sources; `ValueError` where it is not there exactly once."""
    file = folder / mutation.file
    text = file.read_text(encoding="utf-8")
    if text.count(mutation.before) != 1:
        found = f"stands {text.count(mutation.before)} times in {mutation.file}"
        raise ValueError(f"{mutation.before!r} {found}: bring the mutation up to date")
    file.write_text(text.replace(mutation.before, mutation.after), encoding="utf-8")


def survives(mutation: Mutation | None, tests: list[str], limit: float = LIMIT) -> str:
    """What pytest says in a copy of the sources where the tests pass; empty if one of them fails.

    Raises
    ------
    RuntimeError
        The tests did neither pass nor fail.
    """
    with tempfile.TemporaryDirectory(prefix="rtaudio-mutation-") as name:
        folder = Path(name)
        for copied in COPIED:
            if (ROOT / copied).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / copied, folder / copied, ignore=ignored)
            else:
                shutil.copy(ROOT / copied, folder / copied)
        if mutation is not None:
            mutate(folder, mutation)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA")}
        environment |= {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= {"HOME": str(folder), "PYTEST_ADDOPTS": ""}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=line", *tests]
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if mutation is not None and mutation.hangs:
                return ""
            raise RuntimeError(f"{' '.join(tests)} did not end in {limit:.0f} s") from None
        if process.returncode < 0 and mutation is not None and mutation.crashes:
            return ""
        if process.returncode not in (0, FAILED):
            raise RuntimeError(f"pytest ended with {process.returncode}: {said[-2000:]}")
        return "" if process.returncode == FAILED else said


def main() -> int:
    """Apply the mutations that are named, or all; fail if a test has not noticed one."""
    names, unnoticed = sys.argv[1:] or list(MUTATIONS), 0
    width = max(map(len, names))
    for name in names:
        begin = time.monotonic()
        survived = survives(MUTATIONS[name], [MUTATIONS[name].test])
        unnoticed += bool(survived)
        verdict = f"NOT NOTICED: {survived.strip().splitlines()[-1]}" if survived else "noticed"
        print(f"{name:{width}}  {time.monotonic() - begin:5.1f} s  {verdict}", flush=True)  # noqa: T201
    return int(unnoticed > 0)


if __name__ == "__main__":
    sys.exit(main())
