"""Sound that is seen in shared memory: a real observer's, or columns and levels that a test writes."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
from stepped import call

from rtaudio import counters as counters_module
from rtaudio import observation as observation_module
from rtaudio.chain import parse_chain
from rtaudio.counters import RATE, Counters, name_words
from rtaudio.observation import COLUMNS, OBSERVED, ROWS, VIEW, Observation
from rtaudio.observe import HEAD_BYTES, Observer
from rtaudio.plan import Plan
from rtaudio.stream import Stream

HZ, HOP = 48_000, 480


class Block:
    """Views in shared memory, written as a host does."""

    def __init__(self, names=("in", "out"), channels=2):
        self.counters = Counters(shared=True, room=OBSERVED.itemsize)
        self.counters.words[RATE] = HZ
        self.counters.reserve(0, HEAD_BYTES)
        self.observed = self.counters.room.view(OBSERVED)[0]
        self.observed["hop"], self.observed["window"] = HOP, 2048
        self.views = {}
        for name in names:
            self.show(name, channels)

    def show(self, name, channels=2, control=0):
        """Give a view a place."""
        place = next(at for at, view in enumerate(self.observed["views"]) if not view["name"][0])
        self.counters.reserve(HEAD_BYTES + place * VIEW.itemsize, VIEW.itemsize)
        view = self.observed["views"][place]
        view["channels"], view["newest"], view["control"] = channels, 0, control
        view["numbers"][:] = 0
        view["clipped"][:] = 0
        view["name"] = name_words(name)
        self.views[name] = view

    def drop(self, name):
        """Take a view away."""
        self.views.pop(name)["name"][0] = 0

    def add(self, name, numbers, columns=None, levels=None):
        """Write columns of these numbers; the last is the newest."""
        view, numbers = self.views[name], np.asarray(numbers)
        slots = numbers % COLUMNS
        if columns is not None:
            view["columns"][slots] = columns
        if levels is not None:
            view["levels"][slots] = levels
        view["numbers"][slots] = numbers
        view["newest"] = numbers[-1]


def made(numbers, seed=0):
    """A column for every number, always the same: uint8[n, ROWS]."""
    numbers = np.asarray(numbers)[:, None].astype(np.uint64)
    rows = np.arange(ROWS, dtype=np.uint64)
    mixed = (numbers * np.uint64(2654435761) + rows * np.uint64(40503) + np.uint64(seed * 977)) >> np.uint64(
        7
    )
    return (mixed % np.uint64(256)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of shared memory of this test's own."""
    monkeypatch.setattr(counters_module, "FOLDER", tmp_path)
    monkeypatch.setattr(observation_module, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture
def block(folder):
    """A `Block` with the views in and out."""
    opened = Block()
    yield opened
    opened.counters.close()


def link_to_this_process():
    """What a widget reads of a link that is attached to the host in this process."""
    return SimpleNamespace(observation=Observation(os.getpid()), state={})


def heard(chain, source, rate=HZ, size=128):
    """Play a (samples, channels) signal through a chain, seen in shared memory; what keeps it there."""
    counters = Counters(shared=True, room=OBSERVED.itemsize)
    plan = Plan(parse_chain(chain), rate, size, source.shape[1], lane=0)
    plan.count_in(counters)
    stream = Stream(plan, period=size, counters=counters)
    observer = Observer(counters, plan, [])
    for begin in range(0, len(source) - size + 1, size):
        call(stream, source[begin : begin + size])
        observer.look()
    return SimpleNamespace(counters=counters, plan=plan, stream=stream, observer=observer)
