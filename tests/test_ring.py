"""The ring against a deque, and under two threads that share no lock."""

import threading
from collections import deque

import numba
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rtaudio.native import compiled, float64_at, int64_at, load_acquire, store_release
from rtaudio.ring import CAPACITY, DATA, HEAD, RING_WORDS, TAIL, Ring, ring_pop, ring_push

TYPES = (np.float32, np.float64)

NUMBERS = 1 << 24
"""Elements are numbered modulo this: what float32 holds exactly."""
PATIENCE = 1 << 32
"""Polls without progress after which a loop gives up, so that a broken ring fails instead of hanging."""
give_way = numba.types.ExternalFunction("sched_yield", numba.types.int32())


class RingMachine(RuleBasedStateMachine):
    """Any sequence of pushes and pops does what a deque of bounded length does."""

    dtype: type = np.float32

    @initialize(capacity=st.integers(1, 40))
    def make(self, capacity):
        self.ring = Ring(capacity, self.dtype)
        self.model = deque()
        self.next = 0
        assert capacity <= self.ring.capacity < 2 * capacity

    @rule(n=st.integers(0, 70))
    def push(self, n):
        elements = np.arange(self.next, self.next + n).astype(self.dtype)
        fits = len(self.model) + n <= self.ring.capacity
        assert self.ring.push(elements) is fits
        if fits:
            self.model.extend(elements)
            self.next += n

    @rule(n=st.integers(0, 70))
    def pop(self, n):
        wanted = [self.model.popleft() for _ in range(min(n, len(self.model)))]
        got = self.ring.pop(n)
        assert got.dtype == self.dtype
        assert got.tolist() == wanted

    @invariant()
    def counts(self):
        assert self.ring.readable == len(self.model)
        assert self.ring.writable == self.ring.capacity - len(self.model)


class DoubleRingMachine(RingMachine):
    dtype = np.float64


TestFloat32 = RingMachine.TestCase
TestFloat64 = DoubleRingMachine.TestCase
TestFloat32.settings = TestFloat64.settings = settings(max_examples=150, deadline=None)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_push_that_does_not_fit_changes_nothing(dtype):
    ring = Ring(8, dtype)
    assert ring.push(np.arange(5, dtype=dtype))
    assert not ring.push(np.arange(100, 104, dtype=dtype))
    assert ring.readable == 5
    assert ring.push(np.arange(5, 8, dtype=dtype))
    assert ring.writable == 0
    assert ring.pop(100).tolist() == list(range(8))


# ------------------------------------------------------------------------------------------- two threads


@compiled
def random_next(seed):
    return (seed * 1103515245 + 12345) & 0x7FFFFFFF


@compiled
def poll(waited):
    """Count a poll in vain; now and then let the other thread have the core, if there is only one."""
    if waited % 256 == 255:
        give_way()
    return waited + 1


@compiled
def produce(ring, chunk, total, seed):
    """Write numbered elements in chunks of random length; returns how many were written."""
    sent, waited = 0, 0
    while sent < total and waited < PATIENCE:
        seed = random_next(seed)
        n = min(1 + (seed >> 8) % chunk.shape[0], total - sent)
        for i in range(n):
            chunk[i] = (sent + i) & (NUMBERS - 1)
        waited = 0
        while not ring_push(ring, chunk, n) and waited < PATIENCE:
            waited = poll(waited)
        sent += n
    return sent


@compiled
def produce_head_first(ring, chunk, total, seed):
    """As `produce`, but wrong: the head is published, and may be acted upon, before the data is written."""
    control = int64_at(ring, RING_WORDS)
    capacity = control[CAPACITY]
    data = float64_at(ring + control[DATA], capacity)
    sent, waited = 0, 0
    while sent < total and waited < PATIENCE:
        seed = random_next(seed)
        n = min(1 + (seed >> 8) % chunk.shape[0], total - sent)
        waited = 0
        while sent + n - load_acquire(control, TAIL) > capacity and waited < PATIENCE:
            waited = poll(waited)
        store_release(control, HEAD, sent + n)
        # On a busy machine the reader may not run between the two stores: wait until it does.
        while load_acquire(control, TAIL) <= sent and waited < PATIENCE:
            waited = poll(waited)
        for i in range(n):
            data[(sent + i) & (capacity - 1)] = (sent + i) & (NUMBERS - 1)
        sent += n
    return sent


@compiled
def consume(ring, chunk, total, seed):
    """Read ``total`` elements in chunks of random length; returns how many came, and how many were wrong."""
    got, bad, waited = 0, 0, 0
    while got < total and waited < PATIENCE:
        seed = random_next(seed)
        n = ring_pop(ring, chunk, min(1 + (seed >> 8) % chunk.shape[0], total - got))
        for i in range(n):
            bad += 1 if chunk[i] != (got + i) & (NUMBERS - 1) else 0
        got += n
        waited = 0 if n > 0 else poll(waited)
    return got, bad


def transfer(producer, dtype, capacity, total, longest):
    """Elements sent, elements received, and wrong ones among them."""
    ring = Ring(capacity, dtype)
    results = {}

    def run(name, loop, seed):
        results[name] = loop(ring.address, np.zeros(longest, dtype), total, seed)

    writer = threading.Thread(target=run, args=("sent", producer, 1))
    reader = threading.Thread(target=run, args=("received", consume, 2))
    reader.start()
    writer.start()
    writer.join()
    reader.join()
    return results["sent"], *results["received"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("capacity", "longest", "total"),
    [(1 << 16, 4096, 30_000_000), (1 << 13, 8192, 5_000_000), (1 << 10, 7, 5_000_000), (16, 16, 50_000)],
)
def test_two_threads_pass_every_element_in_order(dtype, capacity, longest, total):
    sent, received, bad = transfer(produce, dtype, capacity, total, longest)
    assert (sent, received, bad) == (total, total, 0)


def test_a_head_published_before_its_data_is_noticed():
    """Negative control: the stress test above sees the mistake that the release store prevents."""
    total = 200_000
    sent, received, bad = transfer(produce_head_first, np.float64, 1 << 10, total, 100)
    assert (sent, received) == (total, total)
    assert bad > total // 100


def test_head_and_tail_are_atomic_and_ordered():
    """x86 orders plain stores and so hides a missing release: look for it in the code."""
    ring = Ring(8)
    for function in (ring_push, ring_pop):
        fresh = numba.njit(function.py_func)  # What comes from the cache keeps no LLVM.
        fresh(ring.address, np.zeros(1, np.float32), 1)
        (text,) = fresh.inspect_llvm().values()
        lines = text.splitlines()
        assert sum("store atomic i64" in line and "release" in line for line in lines) == 1
        assert sum("load atomic i64" in line and "acquire" in line for line in lines) == 1


def test_head_and_tail_have_cache_lines_of_their_own():
    assert abs(HEAD - TAIL) * 8 >= 64
    assert min(abs(HEAD - DATA), abs(TAIL - DATA)) * 8 >= 64
