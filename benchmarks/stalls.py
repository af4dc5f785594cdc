"""What the machine took from a measurement: a slow number beside many stalls says little."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Stalls:
    """What happened meanwhile, filled in at the end of `watch`."""

    wall: float = 0.0
    """Seconds that passed."""
    cpu: float = 0.0
    """Seconds that this process ran."""
    waited: float | None = None
    """Seconds that this thread was ready to run and did not; None where the system does not say."""
    preempted: int = 0
    """Times that it had to make way."""
    stolen: float | None = None
    """Seconds that the hypervisor took from all cores; None where the system does not say."""

    def __str__(self) -> str:
        said = [f"{self.wall:.1f} s on the clock, {self.cpu:.1f} s of CPU"]
        if self.waited is not None:
            said.append(f"{self.waited:.2f} s waiting for a core")
        said.append(f"preempted {self.preempted} times")
        if self.stolen is not None:
            said.append(f"{self.stolen:.2f} s stolen by the hypervisor")
        return ", ".join(said)


@contextmanager
def watch() -> Iterator[Stalls]:
    """Measure what this thread misses while the block runs."""
    stalls = Stalls()
    wall, cpu, waited, preempted, stolen = _now()
    yield stalls
    after = _now()
    stalls.wall, stalls.cpu, stalls.preempted = after[0] - wall, after[1] - cpu, after[3] - preempted
    stalls.waited = None if waited is None or after[2] is None else after[2] - waited
    stalls.stolen = None if stolen is None or after[4] is None else after[4] - stolen


def _now() -> tuple[float, float, float | None, int, float | None]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), time.process_time(), _waited(), usage.ru_nivcsw, _stolen()


def _waited() -> float | None:
    """Second number of Linux' schedstat: nanoseconds on a run queue."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None


def _stolen() -> float | None:
    """Eighth number of Linux' /proc/stat: ticks in which a virtual core had work and no real core."""
    try:
        words = Path("/proc/stat").read_text().split(maxsplit=9)
        return int(words[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None
