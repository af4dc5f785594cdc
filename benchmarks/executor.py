"""What a node costs: the compiled walk over a chain of gains against the same kernels called from Python.

``python benchmarks/executor.py`` prints medians of alternating runs, in microseconds of thread CPU time per
node and block of 128 stereo samples.
"""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np

from rtaudio.executor import run_block
from rtaudio.graph import Graph, Node
from rtaudio.plan import Plan
from rtaudio.registry import load_engine

BLOCK, CHANNELS, RATE = 128, 2, 48_000
NODES = (1, 8, 32)
REPEATS, ROUNDS = 500, 41


def main() -> None:
    """Measure and print."""
    gain = load_engine("gain")
    print("| nodes | walk, us a node | from Python, us a node | ratio |\n| --- | --- | --- | --- |")
    for count in NODES:
        names = [f"g{number}" for number in range(count)]
        ends = ["in", *names, "out"]
        graph = Graph(
            [Node(name, gain) for name in names],
            [f"{a} -> {b}" for a, b in pairwise(ends)],
        )
        plan = Plan(graph, RATE, BLOCK, CHANNELS)
        processors = [gain() for _ in names]
        for processor in processors:
            processor.prepare(RATE, BLOCK, True, CHANNELS)
        block, out = np.ones((2, CHANNELS, BLOCK), np.float32)
        walk, python = [], []
        for _ in range(ROUNDS):
            start = time.thread_time_ns()
            for _ in range(REPEATS):
                run_block(plan.words, BLOCK)
            walk.append(time.thread_time_ns() - start)
            start = time.thread_time_ns()
            for _ in range(REPEATS // 10):
                for processor in processors:
                    processor.process(block, out)
            python.append(10 * (time.thread_time_ns() - start))
        a, b = (float(np.median(times)) / REPEATS / count / 1e3 for times in (walk, python))
        print(f"| {count} | {a:.3f} | {b:.2f} | {b / a:.0f} |")


if __name__ == "__main__":
    main()
