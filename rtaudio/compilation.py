"""Kernels compiled in another process, so that the interpreter of a host stays free while sound runs.

What is compiled there lies in the cache on disk, from which this process then loads it in milliseconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

from rtaudio.errors import UserError
from rtaudio.graph import Graph
from rtaudio.kernel import Kernel
from rtaudio.parts import Part, describe, open_graph, rebuild
from rtaudio.processes import environment
from rtaudio.routing import bare

LOOK = 0.02
"""Seconds between two looks whether to give up."""
LIMIT = 300.0
"""Seconds that compiling may take; after that, this process does it itself."""


def compile_apart(
    graph: Graph, rate: int, block: int, channels: int, given_up: Callable[[], bool] = lambda: False
) -> None:
    """Compile what a graph needs and this process has not loaded yet, in another process.

    Whatever goes wrong there goes wrong again, and is told, where the graph is prepared.

    Parameters
    ----------
    graph
        What is to be prepared, for a ``rate`` in Hz, blocks of ``block`` samples and ``channels``.
    given_up
        Asked now and then; True ends the other process.
    """
    cold = [part for part in open_graph(graph, rate) if _is_cold(part) and part.portable]
    if not cold:
        return
    work = {"parts": [describe(part) for part in cold], "rate": rate, "block": block, "channels": channels}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", "from rtaudio.compilation import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
        text=True,
    )
    try:
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        with suppress(OSError), process.stdin:
            json.dump(work, process.stdin)
        waited = 0.0
        while process.poll() is None and waited < LIMIT and not given_up():
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK)
            waited += LOOK
    finally:
        process.kill()
        process.wait()


def _is_cold(part: Part) -> bool:
    """Whether the part's kernel is compiled, and not loaded here."""
    kernel = getattr(bare(part.processor), "KERNEL", None)
    return isinstance(kernel, Kernel) and not kernel.loaded


def main() -> None:
    """Prepare the parts that standard input describes, which compiles them."""
    work = json.load(sys.stdin)
    for description in work["parts"]:
        with suppress(UserError):
            processor = rebuild(description, work["rate"]).processor
            processor.prepare(work["rate"], work["block"], True, work["channels"])
            processor.release()
