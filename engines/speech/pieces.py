"""The networks of a voice of Piper's kind, run piece by piece.

Ids go in, sound comes out. Where there are two networks, or one is cut into its halves, and where a flow is
cut from what is before it (`engines.speech.cut`), they are run on a part of the frames, with as many around
as they hear: so the first sound is there early, and the samples are the same. What can be run so is tried,
once (`engines.speech.cuts`).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.sessions import open_session, reason
from engines.speech.config import Config, ids_of
from engines.speech.cut import Flow, Halves, Uncut
from engines.speech.cuts import Cut, recall, remember
from engines.speech.inverse import Inverse
from engines.speech.voice import Samples, SpeechError
from rtaudio.errors import FileError, UserError

FIRST, STEP = 16, 96
"""Frames of the first piece of a sentence, and the most of those after it: none is longer than all before."""
AHEAD = 384
"""Frames that a flow makes at a time, at most; in the beginning twice what it has made, since that plays."""
FARTHEST, FLOWING = 40, 120
"""Frames that a decoder, and a flow, may hear on either side; else it is run on the whole sentence."""
SYMBOLS, FEW_SYMBOLS, FEW_SPEAKERS = 64, 24, 5
"""Of a trial of speed, and of halves."""
TOLERANCE, NEAR = 1e-5, 1e-6
"""Of pieces against the whole; and what is so near that no more is done about it."""
LEAST = 65
"""Frames from which on ONNX Runtime multiplies any number in the same order. Of 64 and fewer a convolution
may round otherwise, and some vocoders make more than `NEAR` of it."""
LONG = 4 * LEAST
"""Frames on which pieces are compared with the whole, at least."""
SPECTRA = 3
"""Tensors of a vocoder that leaves its inverse transform to us: magnitude, cosine, sine."""
INTEGERS, FLOATS = "tensor(int64)", "tensor(float)"


class Networks:
    """A voice's networks, ready to be run.

    Parameters
    ----------
    name
        Of the voice, for messages.
    paths
        Of the one network, or the two.
    config
        What its JSON says.
    contents
        The networks' bytes, if they have been read; they are else.
    cut
        How they are run, if that is known; else it is tried, once: see `engines.speech.cuts`.

    Raises
    ------
    UserError
        A file is missing or wrong, or ONNX Runtime is not installed.
    """

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        config: Config,
        contents: Sequence[bytes] | None = None,
        cut: Cut | None = None,
    ) -> None:
        self.name, self._paths, self.config = name, paths, config
        contents = contents or [_content(network) for network in paths]
        self.sha256 = tuple(hashlib.sha256(content).hexdigest() for content in contents)
        self.cut = self._opened(contents, cut or recall(contents))
        """How they are run."""

    def _opened(self, contents: Sequence[bytes], cut: Cut | None) -> Cut:
        """Open the networks as is known, or find out how they are run."""
        if cut is not None:
            with suppress(Uncut, UserError):  # What was known is of others than these then.
                self._take(contents, cut)
                return cut
        return self._tried(contents)

    def _take(self, contents: Sequence[bytes], cut: Cut, opened: dict[bytes, Any] | None = None) -> None:
        """Speak with the networks, cut so; ``opened``: sessions by their content, added to."""
        known = {} if opened is None else opened
        path, second = self._paths[0], self._paths[-1]

        def session(path: Path, content: bytes) -> Any:
            if content not in known:
                known[content] = open_session(path, content)
            return known[content]

        halves = Halves(contents[0]) if cut.channels and len(contents) == 1 else None
        first, *more = contents if halves is None else (halves.first, halves.second(cut.channels))
        flow = Flow(first) if cut.flow else None
        self._first = session(path, first if flow is None else flow.before)
        self._flow: Any = None
        if flow is not None:
            self._flow = session(path, flow.after([put.type for put in self._first.get_outputs()]))
        self._decoder = session(second, more[0]) if more else None
        self._roles = _roles(self._first, path, self.config)
        self._takes = [] if self._flow is None else [put.name for put in self._flow.get_inputs()]
        self.tells = len(self._first.get_outputs()) - len(self._takes[1:]) > 1
        """Whether the first network gives frames per id."""
        self.reach = cut.reach if cut.channels else None
        """Frames on either side that the second network hears; None: there is none, or it hears all."""
        self._flow_reach, self._moving, self._least = cut.flow, cut.moving, cut.least
        self.hop = 0
        """Samples per frame of a pair."""
        if self._decoder is not None:
            channels = _check_decoder(self._decoder, second, self._flow or self._first, path)
            self._decoded = self._decoder.get_inputs()[0].name
            self._inverse = _inverse_of(self._decoder, second)
            self.hop = cut.hop or _hop_of(self.decode, channels, second)

    def _tried(self, contents: Sequence[bytes]) -> Cut:
        """Find out how the networks can be run, open them so, and keep that unless others are at fault."""
        whole = cut = Cut(why="it has not been tried")
        opened: dict[bytes, Any] = {}
        self._take(contents, whole, opened)
        ids = self.trial(FEW_SYMBOLS)
        last = max(0, len(self.config.speakers) - 1)
        speakers = sorted({last * part // (FEW_SPEAKERS - 1) for part in range(FEW_SPEAKERS)})
        sounds: list[Samples] = []
        for further in (self._in_pieces, self._with_flow):
            try:
                sounds = sounds or [self.sound(ids, speaker) for speaker in speakers]
                found = further(contents, cut, ids, opened)
                for speaker, sound in zip(speakers, sounds, strict=True):
                    again = self.sound(ids, speaker)
                    if len(again) != len(sound) or np.abs(again - sound).max(initial=0.0) > TOLERANCE:
                        raise Uncut("its halves make another sound than the whole")
            except (Uncut, UserError) as error:
                cut = cut if cut.channels else Cut(why=str(error))
                self._take(contents, cut, opened)
                if isinstance(error, UserError):  # It is not the networks that are at fault.
                    return cut
                break
            cut = found
        remember(contents, cut)
        return cut

    def _in_pieces(
        self, contents: Sequence[bytes], cut: Cut, ids: list[int], opened: dict[bytes, Any]
    ) -> Cut:
        """Go on with a decoder of its own, piece by piece; `Uncut` or `UserError` where that cannot be."""
        halves = Halves(contents[0]) if len(contents) == 1 else None
        if halves is not None:
            first = halves.first
            self._first = opened[first] = open_session(self._paths[0], first)
        frames = self.drawn(ids)[0]
        if halves is not None:
            second = halves.second(frames.shape[1])
            opened[second] = open_session(self._paths[0], second)
        try:
            self._take(contents, replace(cut, channels=frames.shape[1]), opened)
        except FileError as error:  # The second half makes no whole number of samples of each frame.
            raise Uncut(str(error)) from None
        reach = measured_reach(self.decode, frames.shape[1], self.hop)
        if reach is None:
            raise Uncut("its decoder hears the whole sentence")
        self.reach = reach
        longer = np.tile(frames, (1, 1, math.ceil(LONG / frames.shape[2])))
        pieces = np.concatenate([piece for _, piece in self.decoded([longer])])
        if np.abs(pieces - self.decode(longer)).max() > NEAR:
            self._least = LEAST
        return Cut(frames.shape[1], reach, self.hop, least=self._least)

    def _with_flow(
        self, contents: Sequence[bytes], cut: Cut, ids: list[int], opened: dict[bytes, Any]
    ) -> Cut:
        """Go on with a flow of its own; `Uncut` or `UserError` where that cannot be."""
        self._take(contents, replace(cut, flow=FLOWING, moving=(0,)), opened)
        drawn, fewer = (self.drawn(some) for some in (ids, [*ids[: len(ids) // 2], ids[-1]]))
        total, less = drawn[0].shape[2], fewer[0].shape[2]
        moving = []
        for number, (x, y) in enumerate(zip(drawn, fewer, strict=True)):
            if x.shape != y.shape:
                if total == less or (x.shape[2:], y.shape[2:]) != ((total,), (less,)):
                    raise Uncut("its flow takes what is of another length than its frames")
                moving.append(number)

        def flow(frames: Samples) -> Samples:
            count = frames.shape[2]
            others = [
                np.repeat(x[:, :, :1], count, axis=2) if i in moving else x for i, x in enumerate(drawn)
            ]
            return self.flowed([frames, *others[1:]], 0, count)

        self._moving = tuple(moving)
        reach = measured_reach(flow, drawn[0].shape[1], 1, FLOWING)
        if reach is None:
            raise Uncut("its flow hears the whole sentence")
        self._flow_reach = reach
        return replace(cut, flow=reach, moving=self._moving)

    def drawn(self, ids: list[int]) -> list[Samples]:
        """What the decoder, or the flow, is given of some ids, without noise."""
        try:
            outputs = self._first.run(None, self._feeds(ids, 0, 1.0, False))
        except Exception as error:  # ONNX Runtime has no common one
            raise Uncut(f"its first half cannot run: {error}") from None
        if outputs[0].ndim != 3:
            raise Uncut(f"its frames have the shape {outputs[0].shape}")
        return self._passed_on(outputs)

    def _passed_on(self, outputs: Sequence[Samples]) -> list[Samples]:
        """Of the first network's outputs: frames, or what a flow takes."""
        return [outputs[0], *outputs[len(outputs) - len(self._takes[1:]) :]]

    def speed(self) -> float:
        """CPU seconds for a second of sound: of the symbols that it knows, in their order.

        Raises
        ------
        SpeechError
            It cannot speak them, or makes no sound of them.
        """
        ids = self.trial(SYMBOLS)
        started = time.thread_time()
        samples = sum(len(piece) for piece, _ in self.run(ids, 0, 1.0))
        if not samples:
            raise SpeechError(f"voice {self.name} makes no sound")
        return (time.thread_time() - started) * self.config.rate / samples

    def trial(self, count: int) -> list[int]:
        """Ids of the first symbols that it knows."""
        return ids_of([symbol for symbol in self.config.ids if symbol.isalpha()][:count], self.config)[0]

    def sound(self, ids: list[int], speaker: int) -> Samples:
        """The sound of some ids without noise."""
        return np.concatenate([piece for piece, _ in self.run(ids, speaker, 1.0, False)])

    def _feeds(
        self, ids: list[int], speaker: int, length_scale: float, noisy: bool = True
    ) -> dict[str, NDArray[Any]]:
        """What the first network is given."""
        noise, length, noise_w = self.config.scales
        scales = {"noise": noise * noisy, "length": length * length_scale, "noise_w": noise_w * noisy}
        return {name: _value(role, ids, speaker, scales, size) for name, (role, size) in self._roles.items()}

    def run(
        self, ids: list[int], speaker: int, length_scale: float, noisy: bool = True
    ) -> Iterator[tuple[Samples, NDArray[np.int64] | None]]:
        """The sound of some ids, piece by piece; with the first, the sample at which each id begins."""
        feeds = self._feeds(ids, speaker, length_scale, noisy)
        try:
            outputs = self._first.run(None, feeds)
        except Exception as error:  # onnxruntime's have no other base
            raise SpeechError(f"voice {self.name} cannot speak this ({reason(error)})") from None
        frames = np.ravel(outputs[1]).astype(np.float64) if self.tells else np.ones(0)
        frames = (
            frames if len(frames) == len(ids) and np.all(frames >= 0) and frames.any() else np.ones(len(ids))
        )
        starts = (np.cumsum(frames) - frames) / frames.sum()
        first = outputs[0]
        if self._decoder is None:
            sound = np.ravel(np.asarray(first, np.float32))
            yield self._checked(sound), (starts * len(sound)).astype(np.int64)
            return
        if first.ndim != 3 or len(first) != 1 or not first.shape[2]:
            raise SpeechError(f"voice {self.name}: {self._paths[0].name} gives the shape {first.shape}")
        places = (starts * first.shape[2] * self.hop).astype(np.int64)
        for begin, piece in self.decoded(self._passed_on(outputs)):
            yield self._checked(piece), places if begin == 0 else None

    def decoded(
        self, drawn: Sequence[Samples], first: int = FIRST, step: int = STEP
    ) -> Iterator[tuple[int, Samples]]:
        """The sound of frames (1, C, T), or of all that a flow makes them of, piece by piece.

        Yields
        ------
        Where it begins, in frames, and its samples.
        """
        total = drawn[0].shape[2]
        begin, size, reach = (0, total, 0) if self.reach is None else (0, first, self.reach)
        frames = drawn[0] if self._flow is None else self.flowed(drawn, 0, min(total, 2 * size + reach))
        while begin < total:
            end = min(total, begin + size)
            left, right = max(0, begin - reach), min(total, end + reach)
            right = min(total, max(right, left + self._least))
            left = max(0, min(left, right - self._least))
            known = frames.shape[2]
            if right > known:
                ahead = known + min(AHEAD, 2 * known)
                more = self.flowed(drawn, known, min(total, max(right, ahead)))
                frames = np.concatenate([frames, more], axis=2)
            piece = self.decode(frames[:, :, left:right])
            yield begin, piece[(begin - left) * self.hop : (end - left) * self.hop]
            begin, size = end, min(step, end)

    def flowed(self, drawn: Sequence[Samples], begin: int, end: int) -> Samples:
        """What the flow makes of a part: frames (1, C, end - begin)."""
        total = drawn[0].shape[2]
        left, right = max(0, begin - self._flow_reach), min(total, end + self._flow_reach)
        part = [
            np.ascontiguousarray(x[:, :, left:right]) if i in self._moving else x for i, x in enumerate(drawn)
        ]
        try:
            found = self._flow.run(None, dict(zip(self._takes, part, strict=True)))[0]
        except Exception as error:  # onnxruntime's have no other base
            raise SpeechError(f"voice {self.name} cannot speak this ({reason(error)})") from None
        return found[:, :, begin - left : end - left]  # type: ignore[no-any-return]

    def decode(self, frames: Samples) -> Samples:
        """The sound of frames (1, C, T): (T * hop,)."""
        assert self._decoder is not None  # noqa: S101 - for the type checker: only pairs come here
        try:
            found = self._decoder.run(None, {self._decoded: np.ascontiguousarray(frames)})
        except Exception as error:  # onnxruntime's have no other base
            raise SpeechError(f"voice {self.name} cannot speak this ({reason(error)})") from None
        if self._inverse is not None:
            return self._inverse(found)
        return np.ravel(np.asarray(found[0], np.float32))

    def _checked(self, samples: Samples) -> Samples:
        if not np.isfinite(samples).all():
            raise SpeechError(f"voice {self.name} gives samples that are no numbers")
        return samples


def measured_reach(decode: Any, channels: int, hop: int, farthest: int = FARTHEST) -> int | None:
    """Frames on either side of a frame that its sound depends on, found by changing one.

    Parameters
    ----------
    decode
        Frames (1, channels, T) to (..., T * hop): samples, or other frames with a hop of 1.

    Returns
    -------
    None if that is more than ``farthest``, or if pieces do not make what the whole does, to `TOLERANCE`.
    """
    random = np.random.default_rng(0)
    middle, total = farthest + 1, 2 * farthest + 3
    reach = 0
    for size in (1.0, 10.0):
        frames = random.normal(0.0, 0.5, (1, channels, total)).astype(np.float32)
        whole = decode(frames)
        frames[:, :, middle] += size
        changed = np.flatnonzero((decode(frames) != whole).reshape(-1, whole.shape[-1]).any(axis=0))
        if len(changed):
            before, after = middle * hop - changed[0], changed[-1] + 1 - (middle + 1) * hop
            reach = max(reach, math.ceil(before / hop), math.ceil(after / hop))
    reach += 1
    if reach > farthest:
        return None
    begin, end = middle, total
    part = decode(frames[:, :, begin - reach : end])[..., reach * hop :]
    whole = decode(frames)[..., begin * hop :]
    return reach if np.abs(part - whole).max() <= TOLERANCE * max(1.0, np.abs(whole).max()) else None


def _content(network: Path) -> bytes:
    try:
        return network.read_bytes()
    except OSError as error:
        raise FileError(f"{network}: {error.strerror}") from None


def _roles(session: Any, network: Path, config: Config) -> dict[str, tuple[str, int]]:
    """What each input of the first network is: its role, and its length where it is a list of scales."""
    roles: dict[str, tuple[str, int]] = {}
    for tensor in session.get_inputs():
        rank, kind = len(tensor.shape), tensor.type
        known = {
            "sid": ("sid", INTEGERS, 1),
            "scales": ("scales", FLOATS, 1),
            "noise_scale": ("noise", FLOATS, 1),
            "length_scale": ("length", FLOATS, 1),
            "noise_scale_w": ("noise_w", FLOATS, 1),
        }.get(tensor.name)
        if known is None and kind == INTEGERS:
            known = ("ids", INTEGERS, 2) if rank == 2 else ("lengths", INTEGERS, 1)
        if known is None or (kind, rank) != known[1:]:
            raise FileError(
                f"{network} has an input {tensor.name} of {kind} {tensor.shape}, which no voice has: "
                "want input, input_lengths, scales, and sid for several speakers"
            )
        size = tensor.shape[0] if rank == 1 and isinstance(tensor.shape[0], int) else 3
        roles[tensor.name] = known[0], size
    found = [role for role, _ in roles.values()]
    for role, name in (("ids", "input"), ("lengths", "input_lengths")):
        if found.count(role) != 1:
            raise FileError(f"{network} has no input {name}: it is not the network of a voice")
    if not {"scales", "length"} & set(found):
        raise FileError(f"{network} has no input scales: it is not the network of a voice")
    if ("sid" in found) != bool(config.speakers):
        has = "an input sid" if "sid" in found else "no input sid"
        says = f"{max(1, len(config.speakers))} speaker{'s' * bool(config.speakers)}"
        raise FileError(f"{network} has {has}, but {config.path.name} says {says}")
    return roles


def _value(role: str, ids: list[int], speaker: int, scales: Mapping[str, float], size: int) -> NDArray[Any]:
    if role == "ids":
        return np.array([ids], np.int64)
    if role == "lengths":
        return np.array([len(ids)], np.int64)
    if role == "sid":
        return np.array([speaker], np.int64)
    if role == "scales":
        return np.array(list(scales.values())[:size], np.float32)
    return np.array([scales[role]], np.float32)


def _check_decoder(decoder: Any, path: Path, first: Any, first_path: Path) -> int:
    """Number of channels of the frames between two networks; `FileError` if they do not fit together."""
    inputs, outputs = decoder.get_inputs(), decoder.get_outputs()
    if len(inputs) != 1 or inputs[0].type != FLOATS or len(inputs[0].shape) != 3:
        raise FileError(f"{path} takes something else than frames, float32 [1, C, T]")
    if len(outputs) not in (1, SPECTRA):
        raise FileError(f"{path} gives {len(outputs)} tensors: want the sound alone, or three of spectra")
    channels, given = inputs[0].shape[1], first.get_outputs()[0].shape
    if not isinstance(channels, int):
        channels = given[1] if len(given) == 3 else None
    if not isinstance(channels, int):
        raise FileError(f"{path} does not say how many channels its frames have")
    if len(given) != 3 or (isinstance(given[1], int) and given[1] != channels):
        raise FileError(f"{first_path} gives {given}, {path.name} takes {channels} channels of frames")
    return channels


def _inverse_of(decoder: Any, path: Path) -> Inverse | None:
    """What makes sound of a vocoder's spectra, None where it gives sound; `FileError` if it says no way."""
    outputs = decoder.get_outputs()
    if len(outputs) < SPECTRA:
        return None
    try:
        inverse = Inverse(decoder.get_modelmeta().custom_metadata_map)
    except ValueError as error:
        raise FileError(f"{path} gives spectra, but its metadata says no transform: {error}") from None
    bins = inverse.size // 2 + 1
    for put in outputs:
        shape = put.shape
        if put.type != FLOATS or len(shape) != 3 or (isinstance(shape[1], int) and shape[1] != bins):
            raise FileError(f"{path} gives {put.name} of {put.type} {shape}: want float32 [1, {bins}, T]")
    return inverse


def _hop_of(decode: Any, channels: int, path: Path) -> int:
    lengths = [len(decode(np.zeros((1, channels, frames), np.float32))) for frames in (FIRST, 2 * FIRST)]
    hop, rest = divmod(lengths[0], FIRST)
    if rest or not hop or lengths[1] != 2 * lengths[0]:
        raise FileError(f"{path} makes {lengths[0]} samples of {FIRST} frames: want a whole number for each")
    return hop
