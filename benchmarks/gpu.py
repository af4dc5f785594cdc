"""Networks on the CPU against a GPU, through ONNX Runtime's CUDA provider.

``python benchmarks/gpu.py [--gpu 0] [--calls 2000] [--seconds 10] [--json FILE]`` prints three tables:

- calls of streaming networks, a hop each, with states that stay where the network runs (`sessions.Bound`);
- the shipped network of kind ``chunks``, whose chunks are independent, by the number of them in a call;
- the streaming networks live in the graph, paced by the null device: on a worker thread by compiled code, in
  a worker process on the GPU, with what that adds to the latency and how many blocks came too late.

CPU and GPU take turns in one run. Where they differ by more than 1e-3, it fails. Where ONNX Runtime has no
CUDA, or it does not start, it says so, measures the CPU, and fails.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from inference import RATE, network, write_network
from rich.console import Console
from rich.table import Table

from engines.chunks import ChunkModel
from engines.enhance import MODELS
from engines.sessions import Bound, open_session, tensors_of
from rtaudio.errors import UserError

GOAL = 1e-3
"""Largest difference between CPU and GPU."""
HOPS, BATCHES = (256, 1024), (1, 4, 16, 32, 64)
TURNS = 4
WARM = 20
"""Calls before those that count."""


def bound(content: bytes, states: dict[str, str], gpu: int | None) -> tuple[Bound, Any, Any]:
    """A network with its tensors bound; what it takes, and gives."""
    session = open_session(Path("this network"), content, gpu)
    made = {
        tensor.name: np.zeros([int(length or 1) for length in tensor.shape], tensor.dtype)
        for puts in (session.get_inputs(), session.get_outputs())
        for tensor in tensors_of(puts).values()
    }
    kept = {name: made[name] for name in states}
    return Bound(session, gpu, {"x": made["x"]}, {"y": made["y"]}, kept, states), made["x"], made["y"]


def timed(call: Callable[[], Any], times: int) -> list[float]:
    """Microseconds of every call."""
    taken = []
    for _ in range(times):
        before = time.perf_counter_ns()
        call()
        taken.append((time.perf_counter_ns() - before) / 1e3)
    return taken


def measure_calls(kind: str, hop: int, places: list[int | None], calls: int) -> list[dict[str, Any]]:
    """Calls of a streaming network, in turns; and how far what they give is apart."""
    content, states = network(kind, hop)
    sound = np.random.default_rng(1).normal(0, 0.1, (WARM, 1, 1, hop)).astype(np.float32)
    made, heard = {}, {}
    for gpu in places:
        made[gpu] = bound(content, states, gpu)
        run, x, y = made[gpu]
        found = []
        for part in sound:
            x[...] = part
            run.run()
            found.append(y.copy())
        heard[gpu] = np.concatenate(found, axis=2)
    taken: dict[int | None, list[float]] = {gpu: [] for gpu in places}
    for _ in range(TURNS):
        for gpu in places:
            taken[gpu] += timed(made[gpu][0].run, calls // TURNS)
    return [
        {
            "network": kind,
            "hop": hop,
            "runs on": named(gpu),
            "p50_us": round(float(np.percentile(taken[gpu], 50)), 1),
            "p99_us": round(float(np.percentile(taken[gpu], 99)), 1),
            "difference": float(np.abs(heard[gpu] - heard[None]).max()),
        }
        for gpu in places
    ]


def measure_batches(places: list[int | None], calls: int) -> list[dict[str, Any]]:
    """The network of chunks, some in a call, in turns."""
    models = {gpu: ChunkModel(MODELS["paper"], named(gpu)) for gpu in places}
    rng = np.random.default_rng(2)
    found = []
    for batch in BATCHES:
        chunks = rng.normal(0, 0.1, (batch, models[None].chunk)).astype(np.float32)
        heard = {gpu: model(chunks) for gpu, model in models.items()}
        taken: dict[int | None, list[float]] = {gpu: [] for gpu in places}
        for _ in range(TURNS):
            for gpu, model in models.items():
                times = max(2, calls // (100 * TURNS * (1 if gpu is not None else batch)))
                taken[gpu] += timed(lambda model=model, chunks=chunks: model(chunks), times)
        found += [
            {
                "network": "wgan",
                "chunks": batch,
                "runs on": models[gpu].runs_on,
                "ms a chunk": round(float(np.median(taken[gpu])) / 1e3 / batch, 3),
                "difference": float(np.abs(heard[gpu] - heard[None]).max()),
            }
            for gpu in places
        ]
    return found


def measure_live(kind: str, hop: int, gpu: int | None, seconds: float, folder: Path) -> dict[str, Any]:
    """The network as a node, live in blocks of a hop, by the null device's clock."""
    path = write_network(folder, kind, hop)
    command = [sys.executable, "-m", "rtaudio", "live", "--api", "null", "--channels", "1", "--json", "-"]
    command += ["--block", str(hop), "--rate", str(RATE), "--seconds", str(seconds)]
    command += ["--chain", f"network(model='{path}')", "--compute", named(gpu)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if not answer.stdout:
        raise UserError(answer.stderr.strip().splitlines()[-1])
    report = json.loads(answer.stdout)
    node = report["nodes"]["network"]
    return {
        "network": kind,
        "hop": hop,
        "runs on": report["compute"]["network"],
        "lane": node["lane"],
        "latency": report["latency"]["total"],
        "p50_us": node["p50"],
        "p99_us": node["p99"],
        "blocks": report["blocks"],
        "late": report["misses"],
    }


def named(gpu: int | None) -> str:
    """As ``--compute`` has it."""
    return "cpu" if gpu is None else f"cuda:{gpu}"


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """A table of what was measured."""
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name, justify="left" if name in {"network", "runs on"} else "right")
    for row in rows:
        table.add_row(*(f"{each:.1e}" if name == "difference" else str(each) for name, each in row.items()))
    Console(width=120).print(table)


def main() -> int:
    """Measure, print, and fail where there is no GPU or it differs."""
    parser = argparse.ArgumentParser(description="Networks on the CPU against a GPU.")
    parser.add_argument("--gpu", type=int, default=0, metavar="N", help="(default: 0)")
    parser.add_argument("--calls", type=int, default=2000, help="of a streaming network (default: 2000)")
    parser.add_argument("--seconds", type=float, default=10.0, help="live, each (default: 10)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    places: list[int | None] = [None, options.gpu]
    content, states = network("gru", HOPS[0])
    try:
        bound(content, states, options.gpu)
    except UserError as error:
        print(f"no GPU is measured: {error}")
        places = [None]
    kinds = [(kind, hop) for kind in ("convolutions", "gru") for hop in HOPS]
    calls = [row for each in kinds for row in measure_calls(*each, places, options.calls)]
    show("A call of a streaming network, from Python with bound tensors, microseconds", calls)
    batches = measure_batches(places, options.calls)
    show("Chunks of 16384 samples in one call", batches)
    with tempfile.TemporaryDirectory() as folder:
        live = [measure_live(*each, gpu, options.seconds, Path(folder)) for each in kinds for gpu in places]
    show("Live, in blocks of a hop: latency in samples, the node's time in microseconds", live)
    if options.json:
        options.json.write_text(
            json.dumps({"calls": calls, "batches": batches, "live": live}, indent=1) + "\n"
        )
    apart = max(row["difference"] for row in [*calls, *batches])
    if apart > GOAL:
        print(f"CPU and GPU differ by {apart:.1e}: want at most {GOAL:g}")
    return int(apart > GOAL or len(places) == 1)


if __name__ == "__main__":
    sys.exit(main())
