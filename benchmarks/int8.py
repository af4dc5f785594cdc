"""Decoders of VITS with 8-bit integers against the same weights in floating point.

``python benchmarks/int8.py [--rounds 8]`` prints CPU seconds for a second of sound at 22,050 Hz, on one
thread, medians of calls of both, one after the other, in one process. Weights are those that a network begins
with, ranges those of one batch of noise: speed does not depend on them. Goals: 2 times as fast with the
decoder of HiFi-GAN V1, 1.7 times with that of V3.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from engines.sessions import open_session
from export.models.hifigan import V1, V3, Generator, Shape, folded
from export.models.quantised import frozen
from export.networks import Exportable, to_onnx

RATE, LATENT = 22_050, 192
CASES = [("V1", V1, 3, 2.0), ("V1", V1, 4, 2.0), ("V3", V3, 2, 1.7), ("V3", V3, 3, 1.7)]
"""Decoders, stages that are of integers, and goals."""


def contents(shape: Shape, stages: int) -> tuple[bytes, bytes]:
    """A decoder's ONNX file, and that of its integers."""
    torch.manual_seed(0)
    plain, rounded = Generator(LATENT, shape), Generator(LATENT, replace(shape, int8=stages))
    rounded.load_state_dict(plain.state_dict())
    with torch.no_grad():
        rounded(torch.randn(2, LATENT, 32))
    plain_onnx, rounded_onnx = (
        to_onnx(
            Exportable(network, {"frames": torch.zeros(1, LATENT, 8)}, ("sound",), {}, time=2, sequence=True),
        )
        for network in (folded(plain), frozen(folded(rounded)))
    )
    return plain_onnx, rounded_onnx


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=8)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    table = Table("decoder", "stages", "float32", "MB", "int8", "MB", "times as fast", "goal")
    for name, shape, stages, goal in CASES:
        both = contents(shape, stages)
        sessions = [open_session(Path(name), content) for content in both]
        hop = int(np.prod(shape.rates))
        frames = np.random.default_rng(0).standard_normal((1, LATENT, RATE // hop)).astype(np.float32)
        spent: list[list[float]] = [[], []]
        for _ in range(rounds + 1):  # The first call is not counted.
            for session, found in zip(sessions, spent, strict=True):
                begin = time.thread_time()
                session.run(None, {"frames": frames})
                found.append(time.thread_time() - begin)
        slow, fast = (float(np.median(each[1:])) * RATE / (frames.shape[2] * hop) for each in spent)
        sizes = [f"{len(content) / 1e6:.1f}" for content in both]
        table.add_row(
            name,
            str(stages),
            f"{slow:.3f}",
            sizes[0],
            f"{fast:.3f}",
            sizes[1],
            f"{slow / fast:.2f}",
            f"{goal:g}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
