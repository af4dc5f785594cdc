"""Offline render: a file through a graph, aligned with the input and as long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

import numpy as np

from rtaudio.errors import FileError, UserError
from rtaudio.files import AudioReader, AudioWriter
from rtaudio.graph import Graph
from rtaudio.parts import graph_rate, offline_block
from rtaudio.plan import Plan

BLOCK = 1024
"""Samples per block offline, but for `Processor.offline_block`; blocks of any size give the same samples."""
REPORTED = 32 * BLOCK
"""Samples between two reports of the progress."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Job:
    """One file to render: where each of the graph's outputs goes, and how it is written."""

    source: Path
    targets: Mapping[str, Path]
    subtype: str | None = None
    dither: bool = True
    tail: bool = False


def check_targets(jobs: Sequence[Job]) -> None:
    """Refuse jobs that would overwrite an input, by a link too, or what another writes."""
    inputs = {_identity(job.source) for job in jobs}
    owners: dict[str, Path] = {}
    for job in jobs:
        for target in job.targets.values():
            if target.exists() and _identity(target) in inputs:
                raise UserError(f"{target} is an input: choose another output")
            owner = owners.setdefault(os.path.realpath(target), job.source)
            if owner != job.source:
                raise UserError(
                    f"{owner} and {job.source} would both be written to {target}: "
                    "name the folder that holds them, whose structure is kept, or rename one"
                )


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def render(graph: Graph, job: Job, progress: Progress | None = None) -> dict[str, Any]:
    """Render one file.

    Parameters
    ----------
    graph
        Runs at the file's rate; if an engine does not take that, at one that all engines take, with the input
        and the outputs resampled.
    job
        Its outputs are at the rate of the input and as long, or ``plan.tail`` longer with ``tail``.
    progress
        Called now and then with the samples done and to do.

    Returns
    -------
    What was done: rates, lengths, latency, speed, counters, notes.

    Raises
    ------
    UserError
        The file cannot be read, an output cannot be written, or the graph does not take the file. No output
        is left half-written.
    """
    with ExitStack() as stack:
        reader = stack.enter_context(AudioReader(job.source))
        rate = graph_rate(graph, reader.rate)
        if rate != reader.rate:
            reader = stack.enter_context(AudioReader(job.source, rate))
        block = offline_block(graph, BLOCK)
        plan = Plan(graph, rate, block, reader.channels, offline=True)
        stack.callback(plan.close)
        # At the file's rate, and at the graph's, to the end of the last sample.
        tail = plan.tail if job.tail else 0
        length = reader.info.samples + -(-tail * reader.info.rate // rate)
        span = -(-length * rate // reader.info.rate)
        writers = {}
        for name, target in job.targets.items():
            make_folder(target.parent)
            writers[name] = stack.enter_context(
                AudioWriter(
                    target,
                    rate,
                    len(plan.outputs[name]),
                    source=reader.info,
                    subtype=job.subtype,
                    dither=job.dither,
                    file_rate=reader.info.rate,
                    samples=length,
                )
            )
        started = time.perf_counter()
        _run(plan, reader, writers, span, progress)
    seconds = time.perf_counter() - started
    statistics = plan.statistics()
    notes = [note for writer in writers.values() if (note := writer.note)]
    if rate != reader.info.rate:
        notes.insert(0, f"processed at {rate} Hz, since an engine does not take {reader.info.rate} Hz")
    compute = plan.compute()
    notes += [f"{name} on {runs_on}" for name, runs_on in compute.items() if runs_on != "cpu"]
    return {
        "source": str(job.source),
        "outputs": {name: str(target) for name, target in job.targets.items()},
        "rate": rate,
        "file_rate": reader.info.rate,
        "block": block,
        "channels": reader.channels,
        "samples": length,
        "latency": statistics["latency"],
        "nodes": statistics["nodes"],
        "compute": compute,
        "non_finite_replaced": statistics["non_finite_replaced"],
        "clipped": sum(writer.clipped for writer in writers.values()),
        "seconds": round(seconds, 3),
        "speed": round(span / rate / seconds, 1),
        "notes": notes,
        "failures": [
            f"{name} failed at {node['failed_at'] / rate:.3f} s and was bypassed from there{why(plan, name)}"
            for name, node in statistics["nodes"].items()
            if node["failures"]
        ],
    }


def why(plan: Plan, name: str) -> str:
    """Why a node failed, to be put behind what says that it did."""
    reason = plan.reason(name)
    return f": {reason}" if reason else ""


def _run(
    plan: Plan,
    reader: AudioReader,
    writers: Mapping[str, AudioWriter],
    length: int,
    progress: Progress | None,
) -> None:
    """Pull the input through the plan; drop the first ``latency`` samples, flush as many at the end."""
    block = np.zeros((plan.channels, plan.block), np.float32)
    every = max(1, REPORTED // plan.block)
    for number, done in enumerate(range(-plan.latency, length, plan.block)):
        fresh = reader.read(plan.block)
        block[:, : fresh.shape[1]] = fresh
        block[:, fresh.shape[1] :] = 0.0
        outputs = plan.process(block)
        first, last = max(0, -done), min(plan.block, length - done)
        if first < last:
            for name, writer in writers.items():
                writer.write(outputs[name][:, first:last])
        if progress is not None and number % every == 0:
            progress(max(0, done), length)


def make_folder(folder: Path) -> None:
    """Make an output folder and those above it; `FileError` where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {folder}: {error.strerror}; choose another output") from None


# ---------------------------------------------------------------------------------------------- many files


def render_many(graph: Graph, jobs: Sequence[Job], processes: int) -> Generator[dict[str, Any], None, None]:
    """Render files in parallel processes, yielding each report when it is done.

    The report of a file that could not be rendered has only ``source`` and ``error``. Closing the generator
    stops the processes, which leave no half-written file.
    """
    waiting = list(reversed(jobs))
    workers: dict[Connection, tuple[subprocess.Popen[bytes], Job]] = {}
    try:
        while waiting or workers:
            while waiting and len(workers) < processes:
                connection, process = _start_worker()
                workers[connection] = process, waiting.pop()
                _send(connection, graph, workers[connection][1])
            ready = wait(list(workers))
            for connection in [connection for connection in workers if connection in ready]:
                process, job = workers[connection]
                try:
                    report = connection.recv()
                except (EOFError, ConnectionError):
                    report = _error(job, f"the process that rendered it ended with status {process.wait()}")
                if process.poll() is None and waiting:
                    workers[connection] = process, waiting.pop()
                    _send(connection, graph, workers[connection][1])
                else:
                    connection.close()
                    process.wait()
                    del workers[connection]
                yield report
    finally:
        for connection in workers:
            connection.close()
        for process, _ in workers.values():
            process.wait()


def _start_worker() -> tuple[Connection, subprocess.Popen[bytes]]:
    """Start `work` in a process that Ctrl-C does not reach: it ends when its connection does."""
    ours, theirs = Pipe()
    with theirs:
        code = f"from rtaudio.render import work; work({theirs.fileno()})"
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=2,  # what an engine prints is no report
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            process_group=0,
        )
    return ours, process


def _send(connection: Connection, graph: Graph, job: Job) -> None:
    with suppress(OSError):  # a worker that died is found out when its report is due
        connection.send((graph, job))


def work(descriptor: int) -> None:
    """Render the jobs that come through a connection, until it closes."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with Connection(descriptor) as connection, suppress(EOFError, ConnectionError):

        def leave_if_closed(done: int, total: int) -> None:
            if connection.poll():  # nothing is sent to a worker that works
                raise SystemExit

        while True:
            graph, job = connection.recv()
            connection.send(try_to_render(graph, job, leave_if_closed))


def try_to_render(graph: Graph, job: Job, progress: Progress | None = None) -> dict[str, Any]:
    """`render`, with a report of what prevents it."""
    try:
        return render(graph, job, progress)
    except UserError as error:
        return _error(job, str(error))
    except Exception as error:  # an engine's, say: no reason to stop the other files
        return _error(job, f"{type(error).__name__}: {error}")


def _error(job: Job, reason: str) -> dict[str, Any]:
    message = reason if str(job.source) in reason else f"{job.source}: {reason}"
    return {"source": str(job.source), "error": message}
