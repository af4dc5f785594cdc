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
COPIED = ("rtaudio", "engines", "tests", "examples", "pyproject.toml")
LIMIT = 120.0
"""Seconds for a test, most of which it compiles."""
FAILED = 1
"""Exit status of pytest when tests ran, and some failed."""
LANES, LIVE, REALTIME = "tests/test_lanes.py::", "tests/test_live.py::", "tests/test_realtime.py::"
INFERENCE, NETWORK, RESAMPLE = (f"tests/test_{name}.py::" for name in ("inference", "network", "resample"))
PROCESSES = "tests/test_processes.py::"
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
        slow=True,
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
        slow=True,
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
        "            renew(words[RESETS], words[N_RESETS])\n",
        "",
        f"{LAPPED}[2-delayed paths that meet in a state]",
        slow=True,
    ),
    "delayed paths are not reset": Mutation(
        "rtaudio/executor.py",
        "fresh[i] if copy[1] != 0 else np.uint8(0)",
        "fresh[i] if copy[1] != 0 else state[i]",
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
        "rtaudio/layout.py",
        "processor.origin != waited:",
        "processor.waiting < 0:",
        LANES + "test_composed_graphs_sound_the_same_on_workers",
        slow=True,
    ),
    "nothing is measured": Mutation(
        "rtaudio/plan.py",
        "part.cost, part.mean = int(costs.max()), int(costs.mean())",
        "part.cost = 0",
        LANES + "test_what_takes_too_much_of_a_block_goes_to_a_worker",
        slow=True,
    ),
    "the clock of the null device is not anchored anew": Mutation(
        "rtaudio/null.py",
        "                anchor, since = done + period, 0\n",
        "",
        LIVE + "test_a_block_that_takes_too_long_is_a_miss_and_no_burst_follows",
        slow=True,
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
        "raise_priority(segment.thread, level)",
        "True",
        LANES + "test_workers_run_just_below_the_device",
        slow=True,
    ),
    "a worker that hangs keeps its priority": Mutation(
        "rtaudio/host.py",
        "            demote(segment.thread)\n",
        "",
        LANES + "test_a_worker_that_hangs_is_bypassed_and_loses_its_priority_and_the_sound_goes_on",
        slow=True,
    ),
    "what a hanging worker uses is freed": Mutation(
        "rtaudio/lanes.py",
        "args=(self.words, self)",
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
    "a network's states do not turn": Mutation(
        "rtaudio/inference.py",
        "words[TURN] = 1 - turn",
        "words[TURN] = turn",
        INFERENCE + "test_the_same_bits_as_in_python[gru]",
        slow=True,
    ),
    "failures of a network pile up": Mutation(
        "rtaudio/inference.py",
        "        call_word(words[RELEASE], status)\n",
        "        pass\n",
        INFERENCE + "test_failures_leave_nothing_behind",
        slow=True,
    ),
    "a network's failure is not kept": Mutation(
        "rtaudio/inference.py",
        "if not exchange(int64_at(words[KEPT], 1), 0, 0, status):",
        "if status != 0:",
        INFERENCE + "test_a_call_that_fails_says_so_and_the_next_one_runs",
        slow=True,
    ),
    "weights of a network in other files": Mutation(
        "rtaudio/inference.py",
        '("session.model_external_initializers_file_folder_path", source)',
        '("session.model_external_initializers_file_folder_path", ".")',
        INFERENCE + "test_weights_in_other_files_are_refused",
        slow=True,
    ),
    "a record of what networks are used for": Mutation(
        "rtaudio/inference.py",
        '    os.environ.setdefault(NO_TELEMETRY, "1")\n',
        "",
        INFERENCE + "test_it_prints_nothing_starts_no_thread_and_keeps_no_record",
        slow=True,
    ),
    "a network that gives no numbers": Mutation(
        "engines/network.py",
        "                return NOT_FINITE\n",
        "                pass\n",
        NETWORK + "test_a_network_that_fails_gives_way_and_comes_back",
        slow=True,
    ),
    "any model for a card": Mutation(
        "engines/cards.py",
        "if hashlib.sha256(content).hexdigest() != sha256:",
        "if not sha256:",
        NETWORK + "test_a_card_and_a_model_that_disagree_are_one_line",
        slow=True,
    ),
    "a network measured in blocks that do nothing": Mutation(
        "engines/network.py",
        "        self.stretch = ceil(ends) - 1, ceil(MEASURED * both.hop)\n",
        "",
        NETWORK + "test_what_it_costs_is_measured_where_it_has_most_to_do",
        slow=True,
    ),
    "a parameter read before its hop has ended": Mutation(
        "engines/network.py",
        "last = -(-(k + 1) * shape[SPAN] // shape[PER_SPAN]) - 1",
        "last = k * shape[SPAN] // shape[PER_SPAN]",
        NETWORK + "test_parameters_are_read_once_a_hop",
        slow=True,
    ),
    "filters that hear the future": Mutation(
        "rtaudio/resample.py",
        "starts[phase] = ceil(middle + reach) - taps",
        "starts[phase] = ceil(middle + reach) - taps + 1",
        RESAMPLE + "test_no_sample_is_needed_before_it_is_there_and_none_waits",
        slow=True,
    ),
    "a latency between samples": Mutation(
        "rtaudio/resample.py",
        "back = late - (latency + first) / ratio",
        "back = late - least / ratio",
        RESAMPLE + "test_there_and_back_is_late_by_what_is_reported",
        slow=True,
    ),
    "workers outlive their host": Mutation(
        "rtaudio/worker.py",
        "    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)\n",
        "",
        PROCESSES + "test_workers_end_with_their_host_even_if_they_hang",
        slow=True,
    ),
    "a worker that hangs is left alone": Mutation(
        "rtaudio/remote.py",
        'self._process.kill(f"hung for',
        'dict(x=f"hung for',
        PROCESSES + "test_a_worker_that_hangs_is_killed_and_replaced[sleep]",
        slow=True,
    ),
    "a worker gives no sign of life": Mutation(
        "rtaudio/lanes.py",
        "        store_release(shared, PULSE, shared[PULSE] + 1)\n",
        "",
        PROCESSES + "test_a_worker_that_is_late_all_the_time_does_not_hang",
        slow=True,
    ),
    "one spare and no other": Mutation(
        "rtaudio/remote.py",
        "        if self._spare is None and not self._resting:\n            self.start_spare()\n",
        "",
        PROCESSES + "test_one_that_dies_again_and_again_is_given_up",
        slow=True,
    ),
    "a spare forgets what was sent": Mutation(
        "rtaudio/remote.py",
        "                kept.append((end, due, event))\n",
        "                pass\n",
        PROCESSES + "test_changes_reach_the_next_worker",
        slow=True,
    ),
    "a spare forgets what was set": Mutation(
        "rtaudio/remote.py",
        "                step.ramps[int(event[INDEX]), [FROM, TO]] = event[TARGET]\n",
        "                pass\n",
        PROCESSES + "test_changes_reach_the_next_worker",
        slow=True,
    ),
    "a spare is heard before it has settled": Mutation(
        "rtaudio/worker.py",
        "unsettled = int(segment.words[SETTLING])",
        "unsettled = 0",
        PROCESSES + "test_a_new_state_is_not_heard_before_it_has_settled",
        slow=True,
    ),
    "a spare does not say what the dead one has done": Mutation(
        "rtaudio/worker.py",
        "            write_release(segment.memory.words, DONE, first)",
        "            pass",
        PROCESSES + "test_what_was_published_by_one_that_died_before_it_said_so_is_not_waited_for",
        slow=True,
    ),
    "a semaphore of one process": Mutation(
        "rtaudio/lanes.py",
        "sem_init(place, int(self.shared), 0)",
        "sem_init(place, 0, 0)",
        PROCESSES + "test_a_worker_that_is_killed_is_replaced_and_only_its_fallback_is_heard",
        hangs=True,
        slow=True,
    ),
    "an overload is the end of a worker": Mutation(
        "rtaudio/worker.py",
        "        limit_runaway(RUNAWAY)\n",
        "",
        PROCESSES + "test_a_worker_that_computes_more_than_it_can_is_late_and_no_more",
        slow=True,
    ),
    "who was late stays without priority": Mutation(
        "rtaudio/host.py",
        "            segment.restore_priority()\n",
        "",
        LANES + "test_a_worker_that_computes_more_than_it_can_alone_loses_its_priority",
        slow=True,
    ),
    "the brake does not brake": Mutation(
        "rtaudio/native.py",
        "    _set_scheduler(0, ORDINARY, parameter)\n",
        "",
        REALTIME + "test_a_real_time_thread_that_hangs_is_demoted_and_no_other",
        slow=True,
    ),
    "a spare that fails is a worker's death": Mutation(
        "rtaudio/remote.py",
        "if process is self._process and not self._taking_over:",
        "if process is self._process:",
        PROCESSES + "test_a_spare_that_hangs_while_it_takes_over_is_no_death_of_the_worker",
        slow=True,
    ),
    "the first call of a thread is a live one": Mutation(
        "rtaudio/worker.py",
        "        if python:",
        "        if False:",
        PROCESSES + "test_what_the_first_call_in_a_thread_makes_is_made_before_it_plays",
        slow=True,
    ),
    "no limit to a worker's memory": Mutation(
        "rtaudio/worker.py",
        "    resource.setrlimit(resource.RLIMIT_DATA, (largest, hard))\n",
        "    pass\n",
        PROCESSES + "test_the_memory_of_a_worker_is_limited",
        slow=True,
    ),
}
NEED_PRIORITY = {
    "no priority for the device",
    "no priority for workers",
    "a worker that hangs keeps its priority",
    "children inherit the priority",
    "an overload is the end of a worker",
    "who was late stays without priority",
    "the brake does not brake",
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
