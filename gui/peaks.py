"""The outline of a file of sound: what is least and greatest in each of many equal parts, and how loud it is.

It is made in a thread, from the start of the file on, and kept for the next time in the user's cache folder,
by path, size and time of the file.
"""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtaudio.errors import UserError
from rtaudio.files import AudioReader
from rtaudio.folders import cache_folder

PARTS = 1 << 15
"""Parts of a file: many times what a screen has columns, so that a part of it can be shown larger."""
AT_ONCE = 1 << 16
"""Samples that are read at once, about: few, since an allocator keeps what a thread gives back."""
KEPT = 100
"""Outlines in the cache folder."""
LEAST, GREATEST, RMS = range(3)


class Peaks:
    """The outline of a file.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    outline : float32[3, parts]
        Least and greatest sample of every part, of all channels; and the root of their mean square. Samples
        that are not finite count as 0.
    known : int
        Parts that are there; it grows while the thread works.
    problem : str
        Why the others will not come; empty: they will, or have.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outline: NDArray[np.float32] = np.zeros((3, 0), np.float32)
        self.known = 0
        self.problem = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._make, name="peaks", daemon=True)
        self._thread.start()

    @property
    def parts(self) -> int:
        """Parts of the file; 0: it has not been opened yet."""
        return int(self.outline.shape[1])

    @property
    def working(self) -> bool:
        """Whether more of it is being made, or it is being kept."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Make no more of it; the thread ends with what it reads just now."""
        self._stop.set()

    def _make(self) -> None:
        try:
            kept = _place(self.path)
            outline = _load(kept)
            if outline is not None:
                self.outline = outline
                self.known = self.parts
                return
            with AudioReader(self.path) as reader:
                self._read(reader)
            if self.known == self.parts:
                _save(kept, self.outline)
        except (UserError, OSError) as error:
            self.problem = str(error)

    def _read(self, reader: AudioReader) -> None:
        parts = min(PARTS, reader.samples)
        edges = np.arange(parts + 1) * reader.samples // parts
        self.outline = np.zeros((3, parts), np.float32)
        step = max(1, AT_ONCE * parts // reader.samples)
        for first in range(0, parts, step):
            if self._stop.is_set():
                return
            last = min(first + step, parts)
            block = np.nan_to_num(reader.read(int(edges[last] - edges[first])), posinf=0.0, neginf=0.0)
            starts = edges[first:last] - edges[first]
            square = np.square(block, dtype=np.float64).mean(axis=0)
            self.outline[LEAST, first:last] = np.minimum.reduceat(block.min(axis=0), starts)
            self.outline[GREATEST, first:last] = np.maximum.reduceat(block.max(axis=0), starts)
            means = np.add.reduceat(square, starts) / np.diff(edges[first : last + 1])
            self.outline[RMS, first:last] = np.sqrt(means)
            self.known = last


def outlines() -> Path:
    """Where they are kept."""
    return cache_folder() / "outlines"


def _place(path: Path) -> Path:
    """Where the outline of a file, as it is now, is kept."""
    found = path.stat()
    name = f"{PARTS}\0{os.path.realpath(path)}\0{found.st_size}\0{found.st_mtime_ns}"
    return outlines() / f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.npy"


def _load(kept: Path) -> NDArray[np.float32] | None:
    """The outline that is kept there; None: there is none."""
    try:
        outline = np.load(kept, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if outline.ndim != 2 or outline.shape[0] != 3 or outline.dtype != np.float32:
        return None
    with suppress(OSError):
        os.utime(kept)
    return np.asarray(outline, np.float32)


def _save(kept: Path, outline: NDArray[np.float32]) -> None:
    """Keep an outline, and as many others; where that is not possible it is made again the next time."""
    part = kept.with_name(f".{kept.stem}.{os.getpid()}.npy")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(part, outline, allow_pickle=False)
        part.replace(kept)
        files = sorted(kept.parent.glob("*.npy"), key=lambda file: file.stat().st_mtime)
        for file in files[:-KEPT]:
            file.unlink(missing_ok=True)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
