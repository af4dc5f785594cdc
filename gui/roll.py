"""A picture that rolls: a ring of device pixels into which only what is new is written.

Columns of a view are numbered from the host's start, and so are pixels. With ``columns`` of them on ``width``
pixels, column k lies on pixel ``k * width // columns`` and, where columns are wider than a pixel, on those up
to the next column's. A pixel that several columns, or rows, lie on shows the loudest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gui.colours import NO_DATA, Colours
from rtaudio.observation import ROWS

Levels = NDArray[np.uint8]


class Roll:
    """The last columns of a view, in pixels.

    Parameters
    ----------
    width, height
        Pixels.
    columns
        How many columns are seen.

    Attributes
    ----------
    pixels : uint32[height, width]
        The picture, as a ring: pixel p of all time is at ``p % width``.
    newest
        The pixel at the right edge; -1: none yet.
    """

    def __init__(self, width: int, height: int, columns: int) -> None:
        self.width, self.height, self.columns = width, height, columns
        self.pixels: Colours = np.full((height, width), NO_DATA, np.uint32)
        self.newest = -1
        self._rows = np.arange(height) * ROWS // height

    @property
    def seam(self) -> int:
        """Where in the ring the left edge of the picture is."""
        return (self.newest + 1) % self.width

    def clear(self) -> None:
        """Forget what was written."""
        self.pixels[:] = NO_DATA
        self.newest = -1

    def last_column(self, pixel: int) -> int:
        """The last column that lies on a pixel."""
        return ((pixel + 1) * self.columns - 1) // self.width

    def first_column(self, pixel: int) -> int:
        """The first column that lies on a pixel."""
        return min(self.last_column(pixel), self.last_column(pixel - 1) + 1)

    def last_pixel(self, column: int) -> int:
        """The last pixel that a column lies on."""
        first, following = (each * self.width // self.columns for each in (column, column + 1))
        return max(first, following - 1)

    def begin(self, drawn: int) -> int:
        """The first pixel that is not whole when all is written up to a column."""
        return self.newest + 1 if self.last_column(self.newest) <= drawn else self.newest

    def due(self, drawn: int, column: int) -> range:
        """The pixels to be written for a column to be at the right edge, after one that was, 0 for none."""
        following = self.last_pixel(column) + 1
        oldest = following - self.width
        return range(max(self.begin(drawn), oldest) if self.newest >= 0 else oldest, following)

    def rows(self, y: int) -> slice:
        """The rows of a column that lie on a pixel, counted from the top."""
        up = self.height - 1 - y
        first = int(self._rows[up])
        following = int(self._rows[up + 1]) if y else ROWS
        return slice(first, max(first + 1, following))

    def pool(
        self, numbers: NDArray[np.int64], columns: list[Levels], pixels: range
    ) -> tuple[NDArray[np.bool_], list[Levels]]:
        """What is seen of columns on adjacent pixels.

        Parameters
        ----------
        numbers : int64[n]
            Of the columns, growing; none is beyond the last of the pixels.
        columns : list of uint8[n, ROWS]
            The columns, of each view.
        pixels
            The pixels.

        Returns
        -------
        known : bool[pixels]
            Whether there is a column on a pixel.
        levels : list of uint8[known, height]
            Of those where there is, from the top, of each view.
        """
        known, begins = self._begins(numbers, pixels)
        if not known.any():
            return known, []
        loudest = (np.maximum.reduceat(each, begins, axis=0) for each in columns)
        return known, [np.maximum.reduceat(each, self._rows, axis=1)[:, ::-1] for each in loudest]

    def greatest(
        self, numbers: NDArray[np.int64], values: NDArray[np.float32], pixels: range
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """The greatest of the values that columns have, on adjacent pixels: as `pool`."""
        known, begins = self._begins(numbers, pixels)
        return known, np.maximum.reduceat(values, begins) if known.any() else values[:0]

    def _begins(
        self, numbers: NDArray[np.int64], pixels: range
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Whether there is a column on a pixel, and where those that there are begin."""
        ends = np.arange(pixels.start, pixels.stop + 1) * self.columns - 1
        last = ends // self.width
        first = np.minimum(last[1:], last[:-1] + 1)
        begins = np.searchsorted(numbers, first)
        known = begins < np.searchsorted(numbers, last[1:], side="right")
        return known, begins[known]

    def write(self, begin: int, colours: Colours) -> None:
        """Write adjacent pixels, the last of which is then at the right edge.

        Parameters
        ----------
        begin
            The first of them.
        colours : uint32[m, height]
            At most `width` of them, each from the top.
        """
        slot, n = begin % self.width, len(colours)
        fits = min(n, self.width - slot)
        self.pixels[:, slot : slot + fits] = colours[:fits].T
        self.pixels[:, : n - fits] = colours[fits:].T
        self.newest = begin + n - 1
