"""A host on a stepped device whose graph is edited while it plays a sine, and what should be heard then."""

import threading
import time
from contextlib import contextmanager

import numpy as np
from stepped import Stepped

from rtaudio.executor import CONTEXT
from rtaudio.graph import Graph, Node
from rtaudio.host import Host
from rtaudio.lanes import slots_ready
from rtaudio.layout import CROSSFADE
from rtaudio.native import compiled, int64_at, load_acquire
from rtaudio.plan import N_SEGMENTS, PLAN_WORDS, SEGMENTS, Plan
from rtaudio.registry import load_engine
from rtaudio.stream import NEXT, NEXT_AFTER, NEXT_AT, PLAN, TAKEN_OVER, TURN

RATE, BLOCK = 48_000, 64
FADE = round(CROSSFADE * RATE)
SECOND = 48_000 // BLOCK
"""Blocks."""


def node(name, engine=None, **values):
    return Node(name, load_engine(engine or name), values)


def chain(*nodes):
    sources = ["in", *(f"{each.name}.{each.engine.outputs[0].name}" for each in nodes)]
    targets = [*(each.name for each in nodes), "out"]
    return Graph(list(nodes), [f"{a} -> {b}" for a, b in zip(sources, targets, strict=True)])


def wire():
    return Graph([], ["in -> out"])


@compiled
def _plan_ready(words):
    plan = int64_at(words, PLAN_WORDS)
    position = int64_at(plan[CONTEXT], 1)[0]
    return slots_ready(int64_at(plan[SEGMENTS], plan[N_SEGMENTS]), position)


@compiled
def ready(stream):
    """Whether no worker is behind: those of the plan that is heard, and of the one that takes over."""
    return _plan_ready(stream[PLAN]) and (
        load_acquire(stream, TURN) != TAKEN_OVER or _plan_ready(stream[NEXT])
    )


class Sound:
    """A host on a stepped device that plays a sine, on a thread of its own while it is edited."""

    def __init__(self, graph, lane=0, channels=2, frequency=220.0, block=BLOCK, device=None):
        self.device, self.block = device or Stepped(), block
        self.before_step = lambda words: None
        self.host = Host(Plan(graph, RATE, block, channels, lane=lane), self.device)
        self.host.start()
        self.heard, self.turns, self.channels, self.frequency = [], [], channels, frequency

    def signal(self, begin, samples):
        at = np.arange(begin, begin + samples)[:, None]
        lag = np.arange(self.channels)
        return (0.5 * np.sin(2 * np.pi * self.frequency * at / RATE + lag)).astype(np.float32)

    def step(self, blocks=1):
        for _ in range(blocks):
            while not ready(self.host.stream.words):
                time.sleep(0.0001)
            self.before_step(self.host.stream.words)
            at = len(self.heard) * self.block
            self.heard.append(self.device.step(self.signal(at, self.block)))

    @contextmanager
    def running(self):
        """Sound runs meanwhile, about as fast as on a card."""
        stop = threading.Event()

        def run():
            while not stop.is_set():
                self.step()
                time.sleep(self.block / RATE)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def edit(self, graph, **options):
        with self.running():
            self.host.edit(graph, **options)
            self.turns.append(int(self.host.stream.words[NEXT_AT] + self.host.stream.words[NEXT_AFTER]))

    def change(self, path, value, until=lambda edit: edit.done):
        """Change a parameter while sound runs, as control does."""
        with self.running():
            edit = self.host.change(path, value)
            await_(lambda: until(edit), self.host.poll)
            self.turns.append(int(self.host.stream.words[NEXT_AT] + self.host.stream.words[NEXT_AFTER]))
        return edit

    def result(self):
        """What was heard, (channels, samples)."""
        self.host.close()
        return np.concatenate(self.heard).T

    def offline(self, graph, events=(), lane=0):
        """What a graph makes of the same signal, with changes (block, function of the plan)."""
        plan, events = Plan(graph, RATE, self.block, self.channels, lane=lane), dict(events)
        played = []
        for number in range(len(self.heard)):
            events.get(number, lambda plan: None)(plan)
            block = np.ascontiguousarray(self.signal(number * self.block, self.block).T)
            played.append(plan.process(block)["main"].copy())
        plan.close()
        return np.concatenate(played, axis=1)


def await_(condition, meanwhile=lambda: None):
    until = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < until
        meanwhile()
        time.sleep(0.001)


def crossfaded(old, new, at):
    """``old`` before a position, ``new`` from 10 ms after it on."""
    u = np.clip((np.arange(old.shape[1]) - at) / FADE, 0.0, 1.0)
    share = u * u * u * (u * (u * 6.0 - 15.0) + 10.0)
    return np.where(share == 1.0, new, (old + share * (new - old)).astype(np.float32))
