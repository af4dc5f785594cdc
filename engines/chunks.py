"""Networks that enhance speech in chunks of fixed length, run over a signal.

The Wasserstein enhancer (its paper: `export.models.segan`) sees 16384 samples at once. The paper butts its
chunks together; overlapping them removes the seams; a window that slides by less is early enough for live
sound.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from engines.enhance import MODES
from engines.sessions import open_session
from rtaudio.errors import FileError, UserError

KIND = "chunks"

Signal = NDArray[np.float32]


class ChunkModel:
    """An ONNX model of kind ``chunks``, on one thread of the CPU.

    Parameters
    ----------
    path
        NAME.onnx; its card NAME.json lies beside it.

    Attributes
    ----------
    card : dict
        What the card says.
    rate, chunk : int
        Hz; samples.
    speakers : frozenset of str
        Whom it was trained on, where the card says so.

    Raises
    ------
    FileError
        A file is missing, the model is not the card's (hash, shapes), or not of this kind.
    """

    def __init__(self, path: Path) -> None:
        self.card = _card(path)
        self.speakers = frozenset(self.card.get("data", {}).get("speakers", ()))
        try:
            content = path.read_bytes()
        except OSError as error:
            raise FileError(f"{path}: {error.strerror}") from None
        if hashlib.sha256(content).hexdigest() != self.card["sha256"]:
            raise FileError(f"{path} is not the model of its card: the hash differs; get both anew")
        self._session = open_session(path, content)
        shapes = {put.name: list(put.shape) for put in self._session.get_inputs()}
        self.rate, self.chunk = self.card["rate"], self.card["chunk"]
        outputs = [put.name for put in self._session.get_outputs()]
        if outputs != ["enhanced"]:
            raise FileError(f"{path} gives {', '.join(outputs)}, want one output, enhanced")
        latent = self.card["inputs"].get("z")
        want = {"noisy": ["batch", self.chunk], "z": ["batch", *(latent or [])[1:]]}
        if shapes != want:
            raise FileError(f"{path} takes {shapes}, but its card says {want}")
        self._latent = tuple(latent[1:])

    def __call__(self, chunks: Signal) -> Signal:
        """(batch, chunk) noisy to enhanced, with z = 0. What is silent stays silent."""
        z = np.zeros((len(chunks), *self._latent), np.float32)
        (enhanced,) = self._session.run(["enhanced"], {"noisy": chunks, "z": z})
        heard = np.any(chunks, axis=1, keepdims=True)
        return np.where(heard, enhanced, np.float32(0))


def _card(path: Path) -> dict[str, Any]:
    """The card beside a model, checked."""
    card = path.with_suffix(".json")
    try:
        found = json.loads(card.read_text(encoding="utf-8"))
        if found["kind"] != KIND:
            raise FileError(f"{path} is a model of kind {found['kind']!r}, not {KIND!r}")
        missing = [key for key in ("rate", "chunk", "inputs", "sha256") if key not in found]
    except OSError as error:
        raise FileError(f"{card}: {error.strerror}; a model has its card beside it") from None
    except (ValueError, KeyError, TypeError):
        raise FileError(f"{card} is not the card of a model") from None
    if missing:
        raise FileError(f"{card} does not say {', '.join(missing)}")
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
    return found  # type: ignore[no-any-return]


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

    def __init__(self, model: ChunkModel, hop: int = 1024, lookahead: int = 512, fade: int = 128) -> None:
        if hop < 1 or lookahead < 0 or not 0 <= fade <= hop or hop + lookahead + fade > model.chunk:
            raise UserError(
                f"hop {hop}, lookahead {lookahead}, fade {fade}: want a hop from 1, a fade up to the hop, "
                f"and no more than {model.chunk} samples together"
            )
        self.model, self.hop, self.lookahead, self.fade = model, hop, lookahead, fade
        self.latency = hop + lookahead + fade
        self._heard = np.zeros(model.chunk, np.float32)
        self._rise = np.sin(np.pi / 2 * (np.arange(fade) + 0.5) / max(fade, 1)).astype(np.float32) ** 2
        self._fading = np.zeros(fade, np.float32)

    @classmethod
    def of_mode(cls, model: ChunkModel, mode: str, hop: int = 1024, lookahead: int = 512) -> Self:
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
        """Take ``hop`` samples and return as many, which came in ``latency`` samples before the next ones."""
        self._heard[: -self.hop] = self._heard[self.hop :].copy()
        self._heard[-self.hop :] = x
        end = self.model.chunk - self.lookahead
        piece = self.model(self._heard[None])[0, end - self.hop - self.fade : end]
        piece[: self.fade] = self._rise * piece[: self.fade] + (1 - self._rise) * self._fading
        self._fading = piece[self.hop :].copy()
        return piece[: self.hop]


def enhance(
    model: ChunkModel, x: Signal, mode: str = "overlap", hop: int = 1024, lookahead: int = 512
) -> Signal:
    """Enhance a whole signal, as `Sliding.of_mode` does hop by hop.

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
    pieces = [window.push(part) for part in padded.reshape(-1, window.hop)]
    return np.concatenate([np.zeros(0, np.float32), *pieces])[late : late + len(x)]
