"""What the harmonic/percussive separator costs, beside librosa and in every preset, and whether memory grows.

``python benchmarks/hpss.py [--seconds S] [--rounds N]`` prints tables in Markdown. All times are CPU time of
one thread; the engine runs inside a plan, as it does live. Librosa and the engine take turns on the same
signal and give the same outputs: the harmonic and the percussive part.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import librosa
import numpy as np
from numpy.typing import NDArray
from stalls import watch
from threadpoolctl import threadpool_limits

from engines.hpss import Hpss
from rtaudio.executor import run_block
from rtaudio.graph import Graph, Node
from rtaudio.kernel import channel
from rtaudio.native import compiled
from rtaudio.plan import IN, Plan
from rtaudio.processor import Value

RATE = 44_100
PARTS = ("harmonic", "percussive")
OFFLINE, LIVE = 1024, 128
"""Samples per block: those of a render, and live."""
GOAL_RATIOS, GOAL_FRAME_US, GOAL_LIVE_PERCENT = (25, 12), 100, (2, 5)

TWO: dict[str, Value] = {"harmonic_iterations": 2, "percussive_iterations": 2}
SPATIAL: dict[str, Value] = {"spatial": "weighted"}
ITERATIONS: dict[str, dict[str, Value]] = {
    "one iteration": {},
    "two iterations": TWO,
    "two iterations, spatial model": TWO | SPATIAL,
}
LIVE_MEDIANS: dict[str, Value] = {"preset": "live", "estimate": "scales"}
SETTINGS: dict[str, dict[str, Value]] = {
    "live, medians alone": LIVE_MEDIANS,
    "live, medians alone, independent channels": LIVE_MEDIANS | {"channels": "independent"},
    "live, medians alone, spatial model": LIVE_MEDIANS | SPATIAL,
    "live, one median each": {"preset": "live", "estimate": "medians"},
    "live, learned fusion": {"preset": "live"},
    "balanced": {"preset": "balanced"},
    "quality": {"preset": "quality"},
    "quality, two iterations": {"preset": "quality"} | TWO,
    "quality, two iterations, spatial model": {"preset": "quality"} | TWO | SPATIAL,
}

Audio = NDArray[np.float32]


@compiled
def play(words: Any, x: Any, first: Any, second: Any, parts: Any, block: int) -> None:
    """Run a plan over a signal, two of its outputs into ``parts`` (2, channels, samples)."""
    for begin in range(0, x.shape[1] - block + 1, block):
        for c in range(x.shape[0]):
            entry, fresh = channel(words[IN], c, block), x[c, begin : begin + block]
            for i in range(block):
                entry[i] = fresh[i]
        run_block(words, block)
        for c in range(x.shape[0]):
            one, two = parts[0, c, begin : begin + block], parts[1, c, begin : begin + block]
            for i in range(block):
                one[i] = first[c, i]
                two[i] = second[c, i]


class Engine:
    """The separator in a plan."""

    def __init__(self, x: Audio, block: int, **values: Value) -> None:
        edges = ["in -> hpss", *(f"hpss.{part} -> out.{part}" for part in PARTS)]
        self.plan = Plan(Graph([Node("hpss", Hpss, values)], edges), RATE, block, len(x))
        self.x, self.block = x, block
        self.parts = np.zeros((2, *x.shape), np.float32)
        hop = Hpss(**values).hop
        assert hop is not None  # noqa: S101
        self.frames, self.blocks = x.shape[1] / hop, x.shape[1] / block

    def __call__(self) -> None:
        """Process the signal, from where the state is."""
        first, second = (self.plan.outputs[part] for part in PARTS)
        play(self.plan.words, self.x, first, second, self.parts, self.block)


def with_librosa(x: Audio) -> list[Audio]:
    """The same by librosa, with the paper's parameters, as the quality preset has them."""
    spectrum = librosa.stft(x, n_fft=4096, hop_length=1024)
    masked = librosa.decompose.hpss(spectrum, kernel_size=17)
    return [librosa.istft(part, hop_length=1024, length=x.shape[1]) for part in masked]


def cpu_seconds(function: Callable[[], object]) -> float:
    """CPU time of all threads of this process."""
    start = time.process_time()
    function()
    return time.process_time() - start


def signal(seconds: float) -> Audio:
    """The demonstration clip, repeated."""
    path = Path(__file__).parents[1] / "examples" / "make_clip.py"
    spec = importlib.util.spec_from_file_location("make_clip", path)
    assert spec is not None and spec.loader is not None  # noqa: PT018, S101
    make_clip = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_clip)
    clip: Audio = make_clip.pitched(RATE) + make_clip.drums(RATE)
    samples = round(seconds * RATE) // OFFLINE * OFFLINE
    return np.ascontiguousarray(np.tile(clip, -(-samples // clip.shape[1]))[:, :samples])


def spread(values: Sequence[float], form: str) -> str:
    """Median (lowest to highest)."""
    numbers = (float(np.median(values)), min(values), max(values))
    middle, low, high = (format(number, form) for number in numbers)
    return f"{middle} ({low} to {high})"


def against_librosa(x: Audio, rounds: int) -> None:
    """Take turns, print the ratios."""
    engines = {name: Engine(x, OFFLINE, preset="quality", **values) for name, values in ITERATIONS.items()}
    for engine in engines.values():
        engine()
    with_librosa(x[:, :RATE])
    times: dict[str, list[float]] = {name: [] for name in engines}
    theirs = []
    with watch() as stalls:
        for _ in range(rounds):
            for name, engine in engines.items():
                times[name].append(cpu_seconds(engine))
            theirs.append(cpu_seconds(lambda: with_librosa(x)))
    seconds, frames = x.shape[1] / RATE, next(iter(engines.values())).frames
    print("Quality preset (4096/1024, kernels 17), stereo, both outputs,")
    print(f"{seconds:.1f} s of sound, {rounds} turns:\n")
    print("| | us of CPU a frame | % of one core | librosa / this |")
    print("| --- | --- | --- | --- |")
    for name, each in (*times.items(), (f"librosa {librosa.__version__}, one iteration", theirs)):
        frame, share = (spread([scale * t for t in each], form) for scale, form in _scales(frames, seconds))
        ratio = "" if each is theirs else spread([b / a for a, b in zip(each, theirs, strict=True)], ".1f")
        print(f"| {name} | {frame} | {share} | {ratio} |")
    one, two = GOAL_RATIOS
    print(
        f"\nGoals: one iteration {one} times less than librosa or better, {GOAL_FRAME_US} us a frame or less;"
    )
    print(f"two {two} times less. The machine meanwhile: {stalls}.\n")


def _scales(frames: float, seconds: float) -> list[tuple[float, str]]:
    """Factors and formats from CPU seconds to us a frame and % of a core."""
    return [(1e6 / frames, ".1f"), (100 / seconds, ".2f")]


def settings(x: Audio, rounds: int) -> None:
    """Print what presets and their variants cost in live blocks, and whether memory grows."""
    engines = {name: Engine(x, LIVE, **values) for name, values in SETTINGS.items()}
    times: dict[str, list[float]] = {name: [] for name in engines}
    with watch() as stalls:
        for number in range(rounds + 1):
            if number == 1:
                before = peak_memory()
            for name, engine in engines.items():
                taken = cpu_seconds(engine)
                if number:
                    times[name].append(taken)
        grown = peak_memory() - before
    print(f"Live, stereo, blocks of {LIVE}; latency with re-blocking:\n")
    print("| settings | latency, ms | us a frame | us a block, mean | % of one core | state, MiB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, engine in engines.items():
        each = np.array(times[name])
        latency = 1e3 * engine.plan.latency / RATE
        frame, block = spread(1e6 * each / engine.frames, ".1f"), np.median(1e6 * each / engine.blocks)
        share = np.median(100 * each * RATE / x.shape[1])
        state = sum(array.nbytes for array in engine.plan.arrays()) / 2**20
        print(f"| {name} | {latency:.1f} | {frame} | {block:.1f} | {share:.2f} | {state:.1f} |")
    alone, fused = GOAL_LIVE_PERCENT
    heard = rounds * len(engines) * x.shape[1] / RATE
    print(f"\nGoals: live {alone} % of a core or less with medians alone, {fused} % with fusion. Peak memory")
    print(f"grew by {grown} KiB in {heard:.0f} s of sound; goal: 0. The machine meanwhile: {stalls}.")


def peak_memory() -> int:
    """Most memory that this process has had so far, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CPU time of the harmonic/percussive separator.")
    parser.add_argument("--seconds", type=float, default=20.0, help="of sound (default: 20)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of everything (default: 7)")
    options = parser.parse_args()
    x = signal(options.seconds)
    with threadpool_limits(1):
        against_librosa(x, options.rounds)
        settings(x, options.rounds)


if __name__ == "__main__":
    main()
