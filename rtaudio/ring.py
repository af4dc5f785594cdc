"""A ring between two threads: one writer, one reader, no lock.

Head and tail count the elements ever written and read; each is written by one side with a release store and
read by the other with an acquire load, on cache lines of their own. Plain loads would not do: the compiler
hoists them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.kernel import power_of_two, ring_read, ring_write
from rtaudio.native import brief, compiled, float32_at, float64_at, int64_at, load_acquire, store_release

HEAD, TAIL, DATA, CAPACITY, WIDTH = 0, 16, 32, 33, 34
"""Words of a ring. ``DATA`` is how far its elements are from them, in bytes: the same in every process."""
RING_WORDS = 48


@compiled
def ring_readable(ring: int) -> int:
    """Elements that can be read now."""
    control = int64_at(ring, RING_WORDS)
    return load_acquire(control, HEAD) - load_acquire(control, TAIL)  # type: ignore[no-any-return]


@compiled
def ring_writable(ring: int) -> int:
    """Elements that can be written now."""
    return int64_at(ring, RING_WORDS)[CAPACITY] - ring_readable(ring)  # type: ignore[no-any-return]


@compiled
def ring_push(ring: int, elements: Any, n: int) -> bool:
    """Write ``n`` elements, all or none; False when there is no room."""
    control = int64_at(ring, RING_WORDS)
    head, tail = control[HEAD], load_acquire(control, TAIL)
    if head - tail + n > control[CAPACITY]:
        return False
    if control[WIDTH] == 8:
        ring_write(float64_at(ring + control[DATA], control[CAPACITY]), head, elements, n)
    else:
        ring_write(float32_at(ring + control[DATA], control[CAPACITY]), head, elements, n)
    store_release(control, HEAD, head + n)
    return True


@compiled
def ring_pop(ring: int, elements: Any, n: int) -> int:
    """Read up to ``n`` elements; returns how many there were."""
    control = int64_at(ring, RING_WORDS)
    tail = control[TAIL]
    n = min(n, load_acquire(control, HEAD) - tail)
    if control[WIDTH] == 8:
        ring_read(float64_at(ring + control[DATA], control[CAPACITY]), tail, elements, n)
    else:
        ring_read(float32_at(ring + control[DATA], control[CAPACITY]), tail, elements, n)
    store_release(control, TAIL, tail + n)
    return n


@compiled
def ring_taken(ring: int) -> int:
    """Elements ever read."""
    return load_acquire(int64_at(ring, RING_WORDS), TAIL)  # type: ignore[no-any-return]


@compiled
def ring_skip(ring: int, n: int) -> None:
    """Pass over the next ``n`` elements, or all that there are; for the reader."""
    control = int64_at(ring, RING_WORDS)
    tail = control[TAIL]
    store_release(control, TAIL, tail + min(n, load_acquire(control, HEAD) - tail))


@brief
def _push(ring: int, elements: Any, n: int) -> bool:
    return ring_push(ring, elements, n)


@brief
def _pop(ring: int, elements: Any, n: int) -> int:
    return ring_pop(ring, elements, n)


class Ring:
    """One-writer, one-reader ring of float32 or float64 elements.

    Parameters
    ----------
    capacity
        Elements it holds at least; rounded up to a power of two.
    dtype
        `numpy.float32` or `numpy.float64`.
    words, elements
        Memory for it, in place of its own: int64[RING_WORDS], and ``capacity`` elements.
    """

    def __init__(
        self,
        capacity: int,
        dtype: type[np.float32] | type[np.float64] = np.float32,
        words: NDArray[np.int64] | None = None,
        elements: NDArray[Any] | None = None,
    ) -> None:
        self._data = np.zeros(power_of_two(capacity), dtype) if elements is None else elements
        self._control = np.zeros(RING_WORDS, np.int64) if words is None else words
        self._control[DATA] = self._data.ctypes.data - self._control.ctypes.data
        self._control[CAPACITY] = self._data.size
        self._control[WIDTH] = self._data.itemsize
        self.dtype = self._data.dtype
        self.address = int(self._control.ctypes.data)

    @property
    def capacity(self) -> int:
        """Elements it holds."""
        return self._data.size

    @property
    def readable(self) -> int:
        """Elements that can be read now."""
        return int(ring_readable(self.address))

    @property
    def writable(self) -> int:
        """Elements that can be written now."""
        return self.capacity - self.readable

    @property
    def taken(self) -> int:
        """Elements ever read."""
        return int(ring_taken(self.address))

    def push(self, elements: NDArray[Any]) -> bool:
        """Write a 1-D contiguous array of the ring's dtype, all or nothing; False when there is no room."""
        return bool(_push(self.address, elements, elements.size))

    def pop(self, n: int) -> NDArray[Any]:
        """Up to ``n`` elements, as a new array."""
        elements = np.empty(n, self.dtype)
        return elements[: _pop(self.address, elements, n)]
