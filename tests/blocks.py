"""How the tests of single engines run them: in blocks of given sizes, without a host and in a plan."""

import itertools

import numpy as np
from scipy.interpolate import BPoly

from rtaudio.graph import Graph, Node
from rtaudio.plan import Plan

BLOCKS = (1, 17, 64, 128, 441, 480, 512, 1024, 8193)
PARTITIONS = (*((size,) for size in BLOCKS), (1, 128, 3, 500), (7, 8193, 2))


def noise(samples, channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (channels, samples)).astype(np.float32)


def run(processor, x, rate=48_000, sizes=(4096,), channels=None):
    """The output for blocks of these sizes, over and over.

    ``x`` has the channels of all inputs; for a source, which takes only its length, any.
    """
    channels = channels or len(x)
    processor.prepare(rate, max(sizes), channels=channels)
    y = np.empty((processor.ports(processor.outputs), x.shape[1]), np.float32)
    rows, at, turns = processor.ports(processor.inputs), 0, itertools.cycle(sizes)
    while at < x.shape[1]:
        end = min(x.shape[1], at + next(turns))
        out = np.empty((len(y), end - at), np.float32)
        processor.process(np.ascontiguousarray(x[:rows, at:end]), out)
        y[:, at:end], at = out, end
    return y


def play(graph, x, block, events=(), rate=48_000):
    """The main output of a plan with events (path, value, position), as it runs live."""
    plan = Plan(graph, rate, block, len(x))
    for path, value, at in events:
        plan.set(path, value, at)
    padded = np.pad(x, ((0, 0), (0, -x.shape[1] % block)))
    blocks = [padded[:, at : at + block].copy() for at in range(0, padded.shape[1], block)]
    y = np.concatenate([plan.process(part)["main"].copy() for part in blocks], axis=1)[:, : x.shape[1]]
    plan.close()
    return y


def played(engine, values, x, block, events=(), rate=48_000):
    """As `play`, with one node of an engine and events (parameter, value, position)."""
    edges = ["in -> f", "f -> out"] if engine.inputs else ["f -> out"]
    graph = Graph([Node("f", engine, values)], edges)
    return play(graph, x, block, [(f"f.{name}", value, at) for name, value, at in events], rate)


def course(start, changes, samples, length=480, low=-np.inf, high=np.inf):
    """A parameter's value at every sample, as kernels see it, with changes (target, position).

    Each change is a quintic to rest at its target, and begins with value, slope and curvature of the last.
    """
    values, last = np.full(samples, float(start)), None
    for target, at in changes:
        begin = [values[at], 0.0, 0.0]
        if last is not None and at < last.x[-1]:
            begin = [float(last(at, order)) for order in range(3)]
        last = BPoly.from_derivatives([at, at + length], [begin, [target, 0.0, 0.0]])
        values[at:] = last(np.minimum(np.arange(at, samples), at + length)).clip(low, high)
    return values
