"""Networks that enhance speech in chunks of fixed length, run over a signal.

The Wasserstein enhancer (its paper: `export.models.segan`) sees 16384 samples at once. The paper butts its
chunks together; overlapping them removes the seams; a window that slides by less is early enough for live
sound.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from engines.cards import read_card, read_content
from engines.enhance import MODES
from engines.sessions import AUTO, gpu_of, open_session, provider_of, reason
from rtaudio.errors import FileError, UserError

KIND = "chunks"
HOP, LOOKAHEAD, FADE = 1024, 512, 128
"""Of a window that slides, in samples: see `Sliding`."""
GPU_BATCH = 32
"""Chunks that a GPU takes at once."""

Signal = NDArray[np.float32]


@dataclass(frozen=True)
class ChunkCard:
    """The card of a model of kind ``chunks``."""

    path: Path
    """Of the card."""
    rate: int
    """Hz"""
    chunk: int
    """Samples that the model sees at once."""
    latent: tuple[int, ...]
    """Shape of z, without the batch."""
    speakers: frozenset[str]
    """Whom it was trained on, where the card says so."""
    sha256: str

    def inputs(self) -> dict[str, tuple[int | None, ...]]:
        """Shapes of what the model takes, None for the batch."""
        return {"noisy": (None, self.chunk), "z": (None, *self.latent)}


def read_chunk_card(path: Path) -> ChunkCard:
    """The card beside a model NAME.onnx.

    Raises
    ------
    FileError
        There is none, or what it says cannot be.
    """
    card = path.with_suffix(".json")
    found = read_card(path, KIND, ("rate", "chunk", "inputs", "sha256"))
    for key, multiple in (("rate", 1), ("chunk", 2)):  # chunks overlap by half
        if not isinstance(found[key], int) or found[key] < 1 or found[key] % multiple:
            raise FileError(f"{card} says {key} {found[key]!r}: want a whole multiple of {multiple} above 0")
    shapes = found["inputs"]
    if not isinstance(shapes, dict) or not all(isinstance(shape, list) for shape in shapes.values()):
        raise FileError(f"{card} says inputs {shapes!r}: want a table of shapes by name")
    data = found.get("data", {})
    speakers = data.get("speakers", []) if isinstance(data, dict) else None
    if not isinstance(speakers, list) or not all(isinstance(speaker, str) for speaker in speakers):
        raise FileError(f"{card} says data {data!r}: want a table whose speakers are a list of names")
    latent = tuple(shapes.get("z", [])[1:])
    return ChunkCard(card, found["rate"], found["chunk"], latent, frozenset(speakers), found["sha256"])


class ChunkModel:
    """An ONNX model of kind ``chunks``, on one thread of the CPU or on a GPU.

    Parameters
    ----------
    path
        NAME.onnx; its card NAME.json lies beside it.
    compute
        Where it runs: ``cpu``, ``cuda:N``, or ``auto``, the CPU.

    Attributes
    ----------
    card : ChunkCard
    runs_on : str
        What it got: ``cpu`` or ``cuda:N``.
    batch : int
        Chunks that it takes at once where there are many.
    rate, chunk : int
        Hz; samples.
    speakers : frozenset of str
        Whom it was trained on, where the card says so.

    Raises
    ------
    UserError
        A file is missing, the model is not the card's (hash, shapes), or not of this kind; or ONNX Runtime
        does not get the GPU.
    """

    def __init__(self, path: Path, compute: str = AUTO) -> None:
        self.card, self._path, self._most = read_chunk_card(path), path, 0
        self.rate, self.chunk, self.speakers = self.card.rate, self.card.chunk, self.card.speakers
        gpu = gpu_of(compute)
        self._session = open_session(path, read_content(path, self.card.sha256), gpu)
        self.runs_on = provider_of(self._session, gpu)
        self.batch = 1 if self.runs_on == "cpu" else GPU_BATCH
        shapes = {put.name: list(put.shape) for put in self._session.get_inputs()}
        outputs = [put.name for put in self._session.get_outputs()]
        if outputs != ["enhanced"]:
            raise FileError(f"{path} gives {', '.join(outputs)}, want one output, enhanced")
        want = {name: ["batch", *shape[1:]] for name, shape in self.card.inputs().items()}
        if shapes != want:
            raise FileError(f"{path} takes {shapes}, but its card says {want}")

    def __call__(self, chunks: Signal) -> Signal:
        """(batch, chunk) noisy to enhanced, with z = 0. What is silent stays silent.

        Where a GPU cannot take them at once, it gets them in halves; where it takes not even one, the CPU
        takes over, which is said on standard error. `UserError` where that fails too.
        """
        if self._most and len(chunks) > self._most:
            places = range(self._most, len(chunks), self._most)
            return np.concatenate([self(part) for part in np.split(chunks, places)])
        z = np.zeros((len(chunks), *self.card.latent), np.float32)
        try:
            (enhanced,) = self._session.run(["enhanced"], {"noisy": chunks, "z": z})
        except Exception as error:  # onnxruntime's have no other base
            self._take_less(len(chunks), reason(error))
            return self(chunks)
        heard = np.any(chunks, axis=1, keepdims=True)
        return np.where(heard, enhanced, np.float32(0))

    def _take_less(self, count: int, failure: str) -> None:
        """After a failure with so many chunks: half of them, or the CPU."""
        if self.batch == 1:
            raise UserError(f"{self._path} failed on {self.runs_on} ({failure})")
        if count > 1:
            self._most = count // 2
            return
        self._session = open_session(self._path, read_content(self._path, self.card.sha256))
        sys.stderr.write(f"{self._path}: {self.runs_on} failed ({failure}): the CPU takes over\n")
        self.runs_on, self.batch = f"cpu (took over from {self.runs_on})", 1


def rise(fade: int) -> Signal:
    """(fade,), half of a Hann window: by which pieces come in."""
    return np.sin(np.pi / 2 * (np.arange(fade) + 0.5) / max(fade, 1)).astype(np.float32) ** 2


class Sliding:
    """A window that moves by a hop.

    Whenever ``hop`` more samples are there, the network sees the last ``chunk`` of them. Of what it returns,
    the last ``lookahead`` samples are not used, since it knows too little of what follows them; the
    ``hop + fade`` before those are, and successive ones crossfade over ``fade``, in halves of a Hann window.

    Parameters
    ----------
    model
        The network.
    hop, lookahead, fade
        Samples, at the model's rate. ``hop + lookahead + fade`` is the latency: 64 + 32 + 8 ms as given here.

    Raises
    ------
    UserError
        The network's chunk does not hold them.
    """

    def __init__(
        self, model: ChunkModel, hop: int = HOP, lookahead: int = LOOKAHEAD, fade: int = FADE
    ) -> None:
        if hop < 1 or lookahead < 0 or not 0 <= fade <= hop or hop + lookahead + fade > model.chunk:
            raise UserError(
                f"hop {hop}, lookahead {lookahead}, fade {fade}: want a hop from 1, a fade up to the hop, "
                f"and no more than {model.chunk} samples together"
            )
        self.model, self.hop, self.lookahead, self.fade = model, hop, lookahead, fade
        self.latency = hop + lookahead + fade
        self._heard = np.zeros(model.chunk, np.float32)
        self._rise = rise(fade)
        self._fading = np.zeros(fade, np.float32)

    @classmethod
    def of_mode(cls, model: ChunkModel, mode: str, hop: int = HOP, lookahead: int = LOOKAHEAD) -> Self:
        """A window that moves as a mode has it.

        Parameters
        ----------
        model
            The network.
        mode
            ``butt``: chunks one after the other, as the paper has it. ``overlap``: Hann windows that overlap
            by half. ``sliding``: with the hop and the look-ahead given.

        Raises
        ------
        UserError
            There is no such mode.
        """
        if mode not in MODES:
            raise UserError(f"mode {mode!r}: want one of {', '.join(MODES)}")
        if mode == "sliding":
            return cls(model, hop, lookahead)
        half = model.chunk // 2
        return cls(model, model.chunk, 0, 0) if mode == "butt" else cls(model, half, 0, half)

    def push(self, x: Signal) -> Signal:
        """Take ``hop`` samples and return as many, which came in ``latency`` samples before the next ones.

        Or a whole number of hops: the network then sees all of their windows in one call.
        """
        heard = np.concatenate([self._heard[self.hop :], x])
        windows = np.ascontiguousarray(sliding_window_view(heard, self.model.chunk)[:: self.hop])
        end = self.model.chunk - self.lookahead
        pieces = self.model(windows)[:, end - self.hop - self.fade : end]
        fading = np.concatenate([self._fading[None], pieces[:-1, self.hop :]])
        pieces[:, : self.fade] = self._rise * pieces[:, : self.fade] + (1 - self._rise) * fading
        self._heard, self._fading = heard[-self.model.chunk :], pieces[-1, self.hop :].copy()
        return pieces[:, : self.hop].reshape(-1)


def enhance(
    model: ChunkModel, x: Signal, mode: str = "overlap", hop: int = HOP, lookahead: int = LOOKAHEAD
) -> Signal:
    """Enhance a whole signal, as `Sliding.of_mode` does hop by hop; on a GPU, many hops in one call.

    Parameters
    ----------
    model
        The network.
    x
        (samples,) at the model's rate.
    mode, hop, lookahead
        See there.

    Returns
    -------
    (samples,), aligned with the input.
    """
    window = Sliding.of_mode(model, mode, hop, lookahead)
    late = window.latency - window.hop
    padded = np.pad(x, (0, late + -(len(x) + late) % window.hop))
    step = window.hop * model.batch
    pieces = [window.push(padded[at : at + step]) for at in range(0, len(padded), step)]
    return np.concatenate([np.zeros(0, np.float32), *pieces])[late : late + len(x)]
