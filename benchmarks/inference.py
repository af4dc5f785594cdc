"""Calls of a network: from compiled code (`rtaudio.inference`), and from Python (`InferenceSession.run`).

``python benchmarks/inference.py [--seconds 20] [--rounds 4] [--period 256] [--json FILE]`` prints a table.
Each way calls once a period, from a thread with a worker's real-time priority, at rest and beside a thread of
the same process that holds the GIL. Measured is from when a call is due to when its output is there. Each
cell is a process, and they take turns, so that what the machine does meanwhile meets them all. Calls in which
a core of the machine stalled (`stalls.StallWatch`) are left out and counted; more than 5 % of them, and the
cell is invalid. Goal: p99 beside the GIL hog at most twice that at rest. The Python call is the foil: it
has no goal.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from foil import load
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table
from stalls import StallWatch, met, real_time, windows

from rtaudio.inference import Inference, Session, run
from rtaudio.native import compiled, now_ns, sleep_until_ns

RATE = 48_000
GOAL = 2.0
WORKER = 60
"""Real-time priority."""
STALL_NS = 100_000
"""Nanoseconds by which the watch must oversleep."""
LEFT_OUT = 0.05
"""Part of the calls that may be left out."""
WARM = 20
"""Calls before those that count."""
NETWORKS, WAYS, LOADS = ("convolutions", "gru"), ("compiled", "python"), ("none", "gil")


def network(kind: str, hop: int) -> tuple[bytes, dict[str, str]]:
    """A network's content and states: four convolutions of 48 channels, or 128 gated recurrent units."""
    rng = np.random.default_rng(0)
    nodes, constants = [], []

    def weights(name: str, *shape: int) -> str:
        constants.append(numpy_helper.from_array(rng.normal(0, 0.1, shape).astype(np.float32), name))
        return name

    def tensor(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs, outputs = [tensor("x", 1, 1, hop)], [tensor("y", 1, 1, hop)]
    states = {}
    if kind == "convolutions":
        last, width = "x", 1
        for layer, channels in enumerate((48, 48, 48, 1)):
            filters = weights(f"w{layer}", channels, width, 9)
            nodes.append(helper.make_node("Conv", [last, filters], [f"c{layer}"], pads=[4, 4]))
            last, width = "y" if layer == 3 else f"t{layer}", channels
            nodes.append(helper.make_node("Tanh", [f"c{layer}"], [last]))
    else:
        units, part = 128, hop // 8
        constants += [
            numpy_helper.from_array(np.array([8, 1, part]), "steps"),
            numpy_helper.from_array(np.array([1, 1, hop]), "hop"),
            numpy_helper.from_array(np.array([1]), "one"),
        ]
        names = ["parts", weights("w", 1, 3 * units, part), weights("r", 1, 3 * units, units), "", "", "h"]
        nodes += [
            helper.make_node("Reshape", ["x", "steps"], ["parts"]),
            helper.make_node("GRU", names, ["seen", "h_next"], hidden_size=units),
            helper.make_node("Squeeze", ["seen", "one"], ["rows"]),
            helper.make_node("MatMul", ["rows", weights("o", units, part)], ["sums"]),
            helper.make_node("Reshape", ["sums", "hop"], ["y"]),
        ]
        inputs.append(tensor("h", 1, 1, units))
        outputs.append(tensor("h_next", 1, 1, units))
        states = {"h": "h_next"}
    graph = helper.make_graph(nodes, kind, inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model.SerializeToString(), states


def write_network(folder: Path, kind: str, hop: int) -> Path:
    """A network's file, with its card beside it."""
    content, states = network(kind, hop)
    path = folder / f"{kind}-{hop}.onnx"
    path.write_bytes(content)
    shapes = {
        put.name: [size.dim_value for size in put.type.tensor_type.shape.dim]
        for put in onnx.load_from_string(content).graph.input
    }
    card = {
        "kind": "stream",
        "rate": RATE,
        "hop": hop,
        "latency": 0,
        "inputs": [{"name": "x", "channels": 1}],
        "outputs": [{"name": "y", "channels": 1}],
        "states": {name: {"next": following, "shape": shapes[name]} for name, following in states.items()},
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


@compiled
def call_paced(words: Any, due: Any, done: Any, period: int) -> int:
    """Call once a period, and write down when each call was due and done; returns 0, or what failed."""
    status, at = 0, now_ns()
    for number in range(due.shape[0]):
        at += period
        sleep_until_ns(at)
        status |= run(words)
        due[number], done[number] = at, now_ns()
        at = max(at, done[number] - period)
    return status


def call_python(content: bytes, states: dict[str, str], x: Any, due: Any, done: Any, period: int) -> None:
    """The same by ONNX Runtime's Python, with the same options."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = ["y", *states.values()]
    kept = {put.name: np.zeros(put.shape, np.float32) for put in session.get_inputs() if put.name in states}
    for _ in range(WARM):
        session.run(names, {"x": x} | kept)
    at = time.monotonic_ns()
    for number in range(len(due)):
        at += period
        wait = at - time.monotonic_ns()
        if wait > 0:
            time.sleep(wait / 1e9)
        _, *following = session.run(names, {"x": x} | kept)
        kept = dict(zip(kept, following, strict=True))
        due[number], done[number] = at, time.monotonic_ns()
        at = max(at, int(done[number]) - period)


def measure(kind: str, way: str, beside: str, seconds: float, hop: int) -> dict[str, Any]:
    """One turn of a cell, in this process: microseconds of the calls that no stall met, and how many did."""
    content, states = network(kind, hop)
    period = round(1e9 * hop / RATE)
    due, done = np.zeros((2, max(100, round(seconds * 1e9 / period))), np.int64)
    x = np.random.default_rng(1).normal(0, 0.1, (1, 1, hop)).astype(np.float32)
    made = Inference(Session(content), states)
    made.inputs["x"][...] = x
    call_paced(made.words, due[:WARM], done[:WARM], 0)  # Compiles.
    granted: list[bool] = []

    def work() -> None:
        granted.append(real_time(WORKER))
        if way == "compiled":
            call_paced(made.words, due, done, period)
        else:
            call_python(content, states, x, due, done, period)

    watch = StallWatch(STALL_NS)
    watch.start()
    thread = threading.Thread(target=work)
    with load(beside):
        thread.start()
        thread.join()
    stalled = met(due, done, windows(watch.stop(), 0))
    taken = (done - due) / 1e3
    return {
        "taken_us": taken[~stalled].round(1).tolist(),
        "stalled": int(stalled.sum()),
        "real_time": all(granted),
        "watch_real_time": watch.real_time,
    }


def main() -> int:
    """Let the cells take turns, print, and fail where the goal is missed."""
    parser = argparse.ArgumentParser(description="Calls of a network from compiled code, and from Python.")
    parser.add_argument("--seconds", type=float, default=20.0, help="a cell (default: 20)")
    parser.add_argument("--rounds", type=int, default=4, help="turns of a cell (default: 4)")
    parser.add_argument("--period", type=int, default=256, help=f"samples at {RATE} Hz (default: 256)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--cell", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        print(json.dumps(measure(*options.cell, options.seconds, options.period)))
        return 0
    cells = [(kind, way, beside) for kind in NETWORKS for way in WAYS for beside in LOADS]
    turns: dict[tuple[str, str, str], list[dict[str, Any]]] = {cell: [] for cell in cells}
    arguments = ["--seconds", str(options.seconds / options.rounds), "--period", str(options.period)]
    for _ in range(options.rounds):
        for cell in cells:
            command = [sys.executable, __file__, "--cell", *cell, *arguments]
            answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            turns[cell].append(json.loads(answer.stdout))
    reports = [report(cell, turns[cell], options.period) for cell in cells]
    judge(reports)
    table = Table(title=f"Due to done, in microseconds; a period is {1e6 * options.period / RATE:.0f}")
    columns = (
        "network",
        "called from",
        "load",
        "calls",
        "p50",
        "p99",
        "max",
        "late, %",
        "left out",
        "verdict",
    )
    for name in columns:
        table.add_column(name, justify="left" if name in {"network", "called from", "load"} else "right")
    for each in reports:
        keys = ("network", "way", "load", "calls", "p50_us", "p99_us", "max_us", "late", "stalled", "verdict")
        table.add_row(*(str(each[key]) for key in keys))
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(reports, indent=1) + "\n")
    return int(any(each["verdict"] == "FAIL" for each in reports))


def report(cell: tuple[str, str, str], turns: list[dict[str, Any]], hop: int) -> dict[str, Any]:
    """The figures of a cell's turns together."""
    taken = np.concatenate([np.array(turn["taken_us"]) for turn in turns])
    stalled = sum(turn["stalled"] for turn in turns)
    valid = all(turn["real_time"] and turn["watch_real_time"] for turn in turns)
    return {
        "network": cell[0],
        "way": cell[1],
        "load": cell[2],
        "calls": len(taken),
        "p50_us": round(float(np.percentile(taken, 50)), 1),
        "p99_us": round(float(np.percentile(taken, 99)), 1),
        "max_us": round(float(taken.max()), 1),
        "late": round(100 * float(np.mean(taken > 1e6 * hop / RATE)), 1),
        "stalled": stalled,
        "valid": valid and stalled <= LEFT_OUT * (len(taken) + stalled),
    }


def judge(reports: list[dict[str, Any]]) -> None:
    """Give every cell its verdict."""
    idle = {each["network"]: each for each in reports if (each["way"], each["load"]) == ("compiled", "none")}
    for each in reports:
        valid = each["valid"] and idle[each["network"]]["valid"]
        met = each["p99_us"] <= GOAL * idle[each["network"]]["p99_us"]
        if each["way"] == "python":
            each["verdict"] = "foil" if each["valid"] else "foil, invalid"
        else:
            each["verdict"] = "invalid" if not valid else "pass" if met else "FAIL"


if __name__ == "__main__":
    sys.exit(main())
