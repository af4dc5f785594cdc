"""The engine ``enhance``: speech without its noise, by a network that a card describes.

What a network finds to be noise is taken out of the input, at the input's rate: so ``mix`` 0 leaves the input
as it is, whatever lies above the network's band is kept, and what was taken out can be heard by itself.

Networks are of two kinds. ``spectra`` clean one short-time spectrum after the other: frames of ``window``
samples under the root of a Hann window, half a window apart and followed by zeros to ``fft`` samples; they
say how likely there is speech, too. ``chunks`` see a long piece of waveform again and again
(`engines.chunks.Sliding`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from importlib.util import find_spec
from math import ceil, exp, lcm
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from engines import chunks
from engines.cards import find_model, read_card, read_content, read_kind
from engines.dynamics import exp2
from engines.enhance import MIX, MODELS
from engines.network import COMPUTE, MEASURED, MOST_CHANNELS, NOT_FINITE, said_by
from engines.sessions import AUTO, InterpretedInference, InterpretedSession, gpu_of
from rtaudio.errors import FileError, UserError
from rtaudio.inference import WORDS, Inference, Session, Tensor, available, run
from rtaudio.kernel import addresses, channel, kernel, position, power_of_two, settled, value
from rtaudio.native import (
    compiled,
    f32_matrix,
    f32_vector,
    f64_matrix,
    f64_vector,
    i64_vector,
    int64_at,
)
from rtaudio.processor import NO_NUMBER, RATES, Block, Parameter, Port, Processor, Value
from rtaudio.resample import mirror, pair, polyphase
from rtaudio.stft import SIZES, fft_tables, inverse_real_fft, real_fft

SPECTRA = "spectra"
"""Kind of the networks that clean spectra; `engines.chunks.KIND` is the other."""
LIMIT = 30.0
"""Most attenuation in dB by default. PESQ of speech at 10 and 20 dB is best there; STOI grows the less is
removed (docs/enhancement.md)."""
ONSET = 0.1
"""Protection of onsets by default, for 0.015 of PESQ at 0 dB and 0.01 at 10 dB (docs/enhancement.md)."""
PROTECTED = 0.05
"""Seconds in which the protection of an onset fades to 1 / e."""
SLOW = 0.16
"""Seconds of the mean that is taken for an offset: of 50 Hz 2 % are in it."""
FRAMES = 16
"""Frames, at most, of which a network of kind spectra makes a frame: after as many silent ones all is silent.
What it remembers for longer may only change gains."""
OCTAVE = 20.0 * float(np.log10(2.0))
"""dB of a doubled amplitude."""
LEAST = 1e-30
"""Power of the channels below which a bin counts as empty."""

# Parameters, in the order of the kernels' ramps; chunks have no onset.
(LIMIT_AT, MIX_AT, ONSET_AT) = range(1, 4)

# State arrays: what both kernels have,
(SHAPE, DOWN, DOWN_STARTS, UP, UP_STARTS, HEARD, LOW, MADE, FRESH, GAINS, COMMON) = range(11)
# the words of the network's call; then what spectra have,
CALL = COMMON
(
    RE, IM, CLEAN_RE, CLEAN_IM, SPEECH, WINDOW, TURNS, SPLIT, WORK, FRAME, OVERLAP, PRESENCE, RISES, MEANS,
    KEEP,
) = range(CALL + 1, CALL + 16)  # fmt: skip
# and chunks.
(NOISY, ENHANCED, FADING, RISE) = range(CALL + 1, CALL + 5)
# Words of the first: samples of a hop at the network's rate; those of the host in which a whole number of
# hops ends, and that number; steps of the conversions; latencies of the host and of the network; in which hop
# an output sample n lies, (n * PER + OFFSET) // UNITS; the look-ahead; and whether channels are linked.
(
    HOP, SPAN, PER_SPAN, DOWN_STEP, UP_STEP, LATENCY, LATE, PER, OFFSET, UNITS, LOOKAHEAD, LINKED,
    SHAPE_WORDS,
) = range(13)  # fmt: skip
# Columns of RISES, a row for every channel: recent presence, rise at the end of the last hop, of this one.
(RECENT, BEFORE, NOW, RISE_WORDS) = range(4)
# Columns of MEANS, a row for every channel: of the last frame and of this one.
(OLD, NEW, MEAN_WORDS) = range(3)
# Of KEEP: what is kept in a hop of a mean, and of the recent presence.
(MEAN, LATELY) = range(2)


@compiled
def take_in(state: int, inputs: int, at: int, n: int) -> None:
    """Keep a block of the input."""
    heard = f32_matrix(state, HEARD)
    for c in range(heard.shape[0]):
        mirror(heard[c], at, channel(inputs, c, n), n)


@compiled
def lower(state: int, k: int) -> None:
    """Hop ``k`` of all channels, at the network's rate."""
    shape, heard, low, fresh = (
        i64_vector(state, SHAPE),
        f32_matrix(state, HEARD),
        f32_matrix(state, LOW),
        f32_vector(state, FRESH),
    )
    down, starts, hop = f32_matrix(state, DOWN), i64_vector(state, DOWN_STARTS), shape[HOP]
    for c in range(heard.shape[0]):
        polyphase(heard[c], down, starts, shape[DOWN_STEP], k * hop, fresh, hop)
        mirror(low[c], k * hop, fresh, hop)


@compiled
def place(rings: Any, at: int) -> int:
    """Where an absolute position lies in `mirror` rings."""
    found: int = at & (rings.shape[1] // 2 - 1)
    return found


@compiled
def hand_out(state: int, outputs: int, n: int, params: int, at: int) -> None:
    """The input without what is removed, and that, of ``n`` samples."""
    shape, heard, made = i64_vector(state, SHAPE), f32_matrix(state, HEARD), f32_matrix(state, MADE)
    up, starts, gains = f32_matrix(state, UP), i64_vector(state, UP_STARTS), f32_vector(state, GAINS)
    still = settled(params, LIMIT_AT, at) and settled(params, MIX_AT, at)
    for i in range(1 if still else n):
        most = 1.0 - exp2(-value(params, LIMIT_AT, at + i) / OCTAVE)
        gains[i] = np.float32(value(params, MIX_AT, at + i) * most)
    if still:
        for i in range(1, n):
            gains[i] = gains[0]
    channels = heard.shape[0]
    for c in range(channels):
        out, removed = channel(outputs, c, n), channel(outputs, channels + c, n)
        polyphase(made[c], up, starts, shape[UP_STEP], at, removed, n)
        dry = heard[c, place(heard, at - shape[LATENCY]) :]
        for i in range(n):
            part = gains[i] * removed[i]
            removed[i] = part
            out[i] = dry[i] - part


@kernel
def spectra_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Enhance`."""
    shape, at = i64_vector(state, SHAPE), position(context)
    take_in(state, inputs, at, n)
    # The hops whose last sample lies in this block.
    for k in range(at * shape[PER_SPAN] // shape[SPAN], (at + n) * shape[PER_SPAN] // shape[SPAN]):
        last = -(-(k + 1) * shape[SPAN] // shape[PER_SPAN]) - 1
        lower(state, k)
        status = clean(state, k)
        if status != 0:
            return status
        if shape[LINKED] == 1:
            link(state)
        follow(state, k)
        remove(state, k, value(params, ONSET_AT, last))
    hand_out(state, outputs, n, params, at)
    presence, likely = f32_vector(state, PRESENCE), channel(outputs, 2 * f32_matrix(state, HEARD).shape[0], n)
    for i in range(n):
        hop = ((at + i) * shape[PER] + shape[OFFSET]) // shape[UNITS]
        likely[i] = presence[hop & (presence.shape[0] - 1)]
    return 0


@compiled
def clean(state: int, k: int) -> int:
    """Spectra of all channels, of the frame that ends with hop ``k``, and what the network makes of them.

    It hears them without their offset, a slow mean, which is removed with the noise.
    """
    low, window, frame = f32_matrix(state, LOW), f32_vector(state, WINDOW), f32_vector(state, FRAME)
    re, im, speech = f32_matrix(state, RE), f32_matrix(state, IM), f32_vector(state, SPEECH)
    work, turns, split = f32_matrix(state, WORK), f32_matrix(state, TURNS), f32_matrix(state, SPLIT)
    clean_re, clean_im = f32_matrix(state, CLEAN_RE), f32_matrix(state, CLEAN_IM)
    means, keep = f64_matrix(state, MEANS), f64_vector(state, KEEP)
    length, hop = window.shape[0], window.shape[0] // 2
    for c in range(low.shape[0]):
        x = low[c, place(low, (k + 1) * hop - length) :]
        silent, newest = True, x[hop:]
        for i in range(length):
            silent = silent and x[i] == 0
        total = 0.0
        for i in range(hop):
            total += newest[i]
        means[c, OLD] = means[c, NEW]
        means[c, NEW] = 0.0 if silent else total / hop + keep[MEAN] * (means[c, NEW] - total / hop)
        offset = np.float32(means[c, NEW])
        for i in range(length):
            frame[i] = window[i] * (x[i] - offset)
        for i in range(length, frame.shape[0]):
            frame[i] = np.float32(0)
        real_fft(frame, re[c], im[c], work, turns, split)
    status = run(int64_at(i64_vector(state, CALL)[0], WORDS))
    if status != 0:
        return status
    finite = True
    for c in range(low.shape[0]):
        finite = finite and np.isfinite(speech[c])
        for f in range(clean_re.shape[1]):
            finite = finite and np.isfinite(clean_re[c, f]) and np.isfinite(clean_im[c, f])
    return 0 if finite else NOT_FINITE


@compiled
def link(state: int) -> None:
    """Give all channels one complex gain a bin, that which is nearest to what the network made of them: the
    sum of Y conj(X) by the sum of |X|^2. Levels and delays between them stay.
    """
    re, im = f32_matrix(state, RE), f32_matrix(state, IM)
    clean_re, clean_im = f32_matrix(state, CLEAN_RE), f32_matrix(state, CLEAN_IM)
    for f in range(re.shape[1]):
        power, gain_re, gain_im = np.float32(0), np.float32(0), np.float32(0)
        for c in range(re.shape[0]):
            power += re[c, f] * re[c, f] + im[c, f] * im[c, f]
            gain_re += clean_re[c, f] * re[c, f] + clean_im[c, f] * im[c, f]
            gain_im += clean_im[c, f] * re[c, f] - clean_re[c, f] * im[c, f]
        share = np.float32(0) if power < LEAST else np.float32(1) / power
        gain_re, gain_im = gain_re * share, gain_im * share
        for c in range(re.shape[0]):
            clean_re[c, f] = gain_re * re[c, f] - gain_im * im[c, f]
            clean_im[c, f] = gain_re * im[c, f] + gain_im * re[c, f]


@compiled
def follow(state: int, k: int) -> None:
    """Presence of speech in hop ``k``, and how much more there is than there was lately, by its square: what
    is doubtful counts little.
    """
    speech, presence, rises = f32_vector(state, SPEECH), f32_vector(state, PRESENCE), f64_matrix(state, RISES)
    re, im, keep = f32_matrix(state, RE), f32_matrix(state, IM), f64_vector(state, KEEP)
    most = np.float32(0)
    for c in range(speech.shape[0]):
        silent = True
        for f in range(re.shape[1]):
            silent = silent and re[c, f] == 0 and im[c, f] == 0
        speech[c] = np.float32(0) if silent else min(max(speech[c], np.float32(0)), np.float32(1))
        most = max(most, speech[c])
    presence[k & (presence.shape[0] - 1)] = most
    linked = i64_vector(state, SHAPE)[LINKED] == 1
    for c in range(speech.shape[0]):
        sure = float(most if linked else speech[c]) ** 2
        rise = rises[c]
        rise[BEFORE] = rise[NOW]
        rise[NOW] = max(sure - rise[RECENT], 0.0)
        rise[RECENT] = sure + keep[LATELY] * (rise[RECENT] - sure)


@compiled
def remove(state: int, k: int, onset: float) -> None:
    """What is to be removed from hop ``k`` and was found in it and the frame before."""
    shape, low, made, fresh = (
        i64_vector(state, SHAPE),
        f32_matrix(state, LOW),
        f32_matrix(state, MADE),
        f32_vector(state, FRESH),
    )
    window, frame, overlap = f32_vector(state, WINDOW), f32_vector(state, FRAME), f32_matrix(state, OVERLAP)
    clean_re, clean_im = f32_matrix(state, CLEAN_RE), f32_matrix(state, CLEAN_IM)
    means, rises = f64_matrix(state, MEANS), f64_matrix(state, RISES)
    work, turns, split = f32_matrix(state, WORK), f32_matrix(state, TURNS), f32_matrix(state, SPLIT)
    hop, last = shape[HOP], clean_re.shape[1] - 1
    for c in range(low.shape[0]):
        # A real frame has none there, whatever the network says.
        clean_im[c, 0] = clean_im[c, last] = np.float32(0)
        inverse_real_fft(clean_re[c], clean_im[c], frame, work, turns, split)
        rest, second, after = overlap[c], window[hop:], frame[hop:]
        dry = low[c, place(low, (k - 1) * hop) :]
        rise, more = rises[c, BEFORE], (rises[c, NOW] - rises[c, BEFORE]) / hop
        old, new = np.float32(means[c, OLD]), np.float32(means[c, NEW])
        for i in range(hop):
            wet = rest[i] + window[i] * frame[i]
            rest[i] = second[i] * after[i]
            offset = second[i] * second[i] * old + window[i] * window[i] * new
            kept = np.float32(1.0 - onset * (rise + more * (i + 1)))
            fresh[i] = kept * (dry[i] - offset - wet) + offset
        mirror(made[c], k * hop, fresh, hop)


@compiled
def hear(state: int, k: int, noisy: Any) -> None:
    """What the network sees after hop ``k``, of all channels."""
    low, hop, chunk = f32_matrix(state, LOW), i64_vector(state, SHAPE)[HOP], noisy.shape[1]
    for c in range(low.shape[0]):
        x = low[c, place(low, (k + 1) * hop - chunk) :]
        for i in range(chunk):
            noisy[c, i] = x[i]


@compiled
def cross(state: int, k: int, noisy: Any, enhanced: Any) -> int:
    """What is to be removed of hop ``k``, and crossfades from the last one, of all channels; 0 is well."""
    shape, made, fresh = i64_vector(state, SHAPE), f32_matrix(state, MADE), f32_vector(state, FRESH)
    fading, rise = f32_matrix(state, FADING), f32_vector(state, RISE)
    hop, late, fade, chunk = shape[HOP], shape[LATE], rise.shape[0], noisy.shape[1]
    for c in range(noisy.shape[0]):
        silent = True
        for i in range(chunk):
            silent = silent and noisy[c, i] == 0
        wet = enhanced[c, chunk - shape[LOOKAHEAD] - hop - fade :]
        finite = True
        for i in range(hop + fade):
            if silent:
                wet[i] = np.float32(0)
            finite = finite and np.isfinite(wet[i])
        if not finite:
            return NOT_FINITE
        rest, dry = fading[c], noisy[c, chunk - hop - late :]
        for i in range(fade):
            wet[i] = rise[i] * wet[i] + (np.float32(1) - rise[i]) * rest[i]
        after = wet[hop:]
        for i in range(fade):
            rest[i] = after[i]
        for i in range(hop):
            fresh[i] = dry[i] - wet[i]
        mirror(made[c], k * hop, fresh, hop)
    return 0


@kernel
def chunks_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `EnhanceChunks`."""
    shape, at = i64_vector(state, SHAPE), position(context)
    noisy, enhanced = f32_matrix(state, NOISY), f32_matrix(state, ENHANCED)
    take_in(state, inputs, at, n)
    for k in range(at * shape[PER_SPAN] // shape[SPAN], (at + n) * shape[PER_SPAN] // shape[SPAN]):
        lower(state, k)
        hear(state, k, noisy)
        status = run(int64_at(i64_vector(state, CALL)[0], WORDS))
        if status != 0:
            return status
        status = cross(state, k, noisy, enhanced)
        if status != 0:
            return status
    hand_out(state, outputs, n, params, at)
    return 0


@dataclass(frozen=True)
class SpectraCard:
    """The card of a model of kind ``spectra``."""

    path: Path
    """Of the card."""
    rate: int
    """Hz"""
    window: int
    """Samples of a frame; a hop is half of it."""
    fft: int
    """Samples of a frame with the zeros after it."""
    states: Mapping[str, tuple[int, ...]]
    """Shapes of what the network remembers, by the name of its input; the output is new_NAME."""
    sha256: str

    @property
    def bins(self) -> int:
        """Of a spectrum."""
        return self.fft // 2 + 1

    def inputs(self) -> dict[str, tuple[int | None, ...]]:
        """Shapes of what the network takes, by name; None for how many channels."""
        spectrum = None, 1, self.bins
        return {"re": spectrum, "im": spectrum} | {
            name: (None, *shape[1:]) for name, shape in self.states.items()
        }

    def outputs(self) -> dict[str, tuple[int | None, ...]]:
        """Shapes of what it gives."""
        spectrum = None, 1, self.bins
        states = {f"new_{name}": shape for name, shape in self.inputs().items() if name in self.states}
        return {"clean_re": spectrum, "clean_im": spectrum, "speech": (None, 1, 1)} | states


def read_spectra_card(path: Path) -> SpectraCard:
    """The card beside a model NAME.onnx.

    Raises
    ------
    FileError
        There is none, or what it says cannot be.
    """
    card = path.with_suffix(".json")
    found = read_card(path, SPECTRA, ("rate", "window", "hop", "fft", "states", "sha256"))
    rate, window, hop, fft, states = (found[key] for key in ("rate", "window", "hop", "fft", "states"))
    for key in ("rate", "window", "hop", "fft"):
        if type(found[key]) is not int or found[key] < 1:
            raise FileError(f"{card} says {key} {found[key]!r}: want a whole number above 0")
    if not RATES[0] <= rate <= RATES[1]:
        raise FileError(f"{card} says rate {rate}: want {RATES[0]} to {RATES[1]} Hz")
    if fft not in SIZES or window > fft or 2 * hop != window:
        sizes = ", ".join(map(str, SIZES))
        raise FileError(
            f"{card} says window {window}, hop {hop}, fft {fft}: want a hop of half a window, "
            f"and an fft that holds it, {sizes}"
        )
    lengths = states.values() if isinstance(states, dict) else [None]
    if not all(isinstance(each, list) and all(type(n) is int and n > 0 for n in each) for each in lengths):
        raise FileError(f"{card} says states {states!r}: want a table of shapes by name")
    return SpectraCard(
        card, rate, window, fft, {name: tuple(each) for name, each in states.items()}, str(found["sha256"])
    )


class Enhance(Processor):
    """Speech without its noise.

    ``out`` and ``removed`` sum to the input, ``latency`` samples late. ``activity`` is how likely there is
    speech, 0 to 1, aligned with them and held for a hop: no sound.

    ``limit`` is by how many dB noise is lowered at most; ``mix`` how much of it is removed at all; with
    ``onset`` less is removed where speech has just begun, for some 50 ms. The network hears every channel by
    itself. With ``stereo=linked`` all get one gain a bin, the nearest to what it makes of them, so that their
    levels and delays stay. Networks that see chunks (``model=paper``) have ``hop`` and ``lookahead`` instead
    of ``onset``, ``stereo`` and ``activity``: see `EnhanceChunks`.

    Raises
    ------
    UserError
        There is no such model, it is not as its card says, or ONNX Runtime is missing.
    """

    id = "enhance"
    summary = "Speech without its noise, by a network"
    outputs: ClassVar[tuple[Port, ...]] = (
        Port("out"),
        Port("removed"),
        Port("activity", 1, control=True),
    )
    MODEL = Parameter(
        "model",
        "live",
        scale="text",
        automatable=False,
        doc="live, paper, the name of a model that is installed, or NAME.onnx, its card NAME.json beside it",
    )
    LIMIT = Parameter("limit", LIMIT, 0.0, 100.0, "dB", doc="by how much noise is lowered at most")
    MIX = Parameter("mix", 1.0, doc="how much is removed of what the network finds")
    parameters: ClassVar[tuple[Parameter, ...]] = (
        MODEL,
        LIMIT,
        MIX,
        Parameter("onset", ONSET, doc="how much less is removed where speech has just begun"),
        Parameter(
            "stereo",
            "each",
            scale="choice",
            automatable=False,
            choices=("each", "linked"),
            doc="clean each channel by itself, or all by common gains, which keep where sounds stand",
        ),
    )
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "gentle": {"limit": 12.0},
        "strong": {"limit": 100.0},
    }
    lane = 1
    tolerance = 1e-6
    KERNEL = spectra_kernel
    path: ClassVar[Path] = MODELS["live"]
    others: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("hop", "lookahead", "compute"), "sees chunks, such as paper"
    )
    """Parameters of the other kind, and what a network has to do for them."""

    def __init__(self, /, **values: Value) -> None:
        for name, does in self.others.items():
            if name in values:
                given = values.get("model", self.parameters[0].default)
                raise UserError(f"{self.id}: {name} is for a network that {does}: {given} does not")
        super().__init__(**values)
        self.card = self.read()
        self.hop = self.frames
        without = available()
        self.calls_python = bool(without and find_spec("onnxruntime"))
        if self.calls_python:
            self.runs_on = f"cpu (from Python: {without})"
        self._session: Session | InterpretedSession | None = None
        self._inferences: list[Inference | InterpretedInference] = []

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> type[Self]:
        """The engine with the ports and parameters that go with the kind of the model."""
        default = cls.parameters[0].default
        model = values.get("model", default)
        if not isinstance(model, str) or model == default:
            return cls
        path, compute = path_of(model), str(values.get("compute", AUTO))
        return _engine(model, path, kind_of(path), compute)  # type: ignore[return-value]

    @classmethod
    def model_files(cls, values: Mapping[str, Value]) -> Mapping[str, Path]:
        """The file of ``model``."""
        return {"model": path_of(str(values["model"]))} if "model" in values else {}

    def read(self) -> Any:
        """The model's card."""
        return read_spectra_card(self.path)

    @property
    def frames(self) -> int:
        """Samples of a hop, at the network's rate."""
        return int(self.card.window) // 2

    def fit(self, rate: int) -> None:
        """Take whole hops where a hop is a whole number of samples at this rate."""
        hop = Fraction(self.frames * rate, self.card.rate)
        self.hop = int(hop) if hop.denominator == 1 else None

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: conversions and rings, what the transform needs, where tensors lie, and their memory."""
        card = self.card
        hop, channels = self.frames, self.channels
        shapes = {name: (channels, *shape[1:]) for name, shape in (card.inputs() | card.outputs()).items()}
        session = self._open()
        inference = infer(session, {name: f"new_{name}" for name in card.states}, shapes)
        self._inferences = [inference]
        tensors = [inference.inputs[name] for name in ("re", "im")]
        tensors += [inference.outputs[name] for name in ("clean_re", "clean_im", "speech")]
        common = self._common(hop, card.window, FRAMES * hop)
        common[SHAPE][LINKED] = self.values["stereo"] == "linked"
        ratio = Fraction(self.rate, card.rate)
        hops = power_of_two(ceil((self.block + self.latency) / (hop * ratio)) + 4)
        return (
            *common,
            np.array([inference.words.ctypes.data], np.int64),
            *(tensor.reshape(channels, -1) for tensor in tensors[:-1]),
            tensors[-1].reshape(-1),
            np.sin(np.pi * np.arange(card.window) / card.window).astype(np.float32),
            *fft_tables(card.fft),
            np.zeros((4, card.fft // 2), np.float32),
            np.zeros(card.fft, np.float32),
            np.zeros((channels, hop), np.float32),
            np.zeros(hops, np.float32),
            np.zeros((channels, RISE_WORDS)),
            np.zeros((channels, MEAN_WORDS)),
            np.array([exp(-hop / (seconds * card.rate)) for seconds in (SLOW, PROTECTED)]),
            *_others(inference, tensors),
        )

    def _common(self, late: int, behind: int, ringing: int) -> list[NDArray[Any]]:
        """The state arrays that both kinds have; sets ``latency``, ``tail`` and ``stretch``.

        The network is ``late`` samples late, hears ``behind`` samples, and rings on for ``ringing``.
        """
        card, hop = self.card, self.frames
        ratio = Fraction(self.rate, card.rate)
        both = pair(self.rate, card.rate, hop, late, self.hop == hop * ratio, mirrored=True)
        down, up = both.down, both.up
        self.latency = both.latency
        self.tail = ceil((behind + ringing) * ratio) + down.taps + ceil(up.taps * ratio)
        # Of all the hops that end in a sample, the one that ends first in it: most lie behind it in a block.
        ends = both.hop * (pow(both.hop.numerator, -1, both.hop.denominator) or 1)
        self.stretch = ceil(ends) - 1, ceil(MEASURED * both.hop)
        per, offset = 1 / both.hop, both.back / hop
        units = lcm(per.denominator, offset.denominator)
        shape = np.zeros(SHAPE_WORDS, np.int64)
        shape[HOP], shape[SPAN], shape[PER_SPAN] = hop, both.hop.numerator, both.hop.denominator
        shape[DOWN_STEP], shape[UP_STEP] = down.step, up.step
        shape[LATENCY], shape[LATE] = both.latency, late
        shape[PER], shape[OFFSET], shape[UNITS] = int(per * units), int(offset * units), units
        rings = (
            self.block + ceil(both.hop) + down.taps + both.latency + 1,
            max(behind, late + hop),
            ceil((self.block + both.latency) / ratio) + hop + 2 * up.taps,
        )
        return [
            shape,
            down.table,
            down.starts,
            up.table,
            up.starts,
            *(np.zeros((self.channels, 2 * power_of_two(length)), np.float32) for length in rings),
            np.zeros(hop, np.float32),
            np.zeros(self.block, np.float32),
        ]

    def _open(self) -> Session | InterpretedSession:
        if self._session is None:
            content = read_content(self.path, self.card.sha256)
            session: Session | InterpretedSession
            if self.calls_python:
                session = InterpretedSession(self.path, content)
            else:
                session = Session(content, str(self.path))
            self.check(session)
            self._session = session
        return self._session

    def check(self, session: Session | InterpretedSession) -> None:
        """`FileError` if the network is not as its card says."""
        _check(self.path, "takes", session.inputs, self.card.inputs())
        _check(self.path, "gives", session.outputs, self.card.outputs())

    def error(self, status: int) -> str:
        """What ONNX Runtime said, or that the network put out what is no number."""
        return super().error(0 if status == NOT_FINITE else status) or said_by(self._inferences)

    def release(self) -> None:
        """Free the state, and the network."""
        super().release()
        for inference in self._inferences:
            inference.close()
        if self._session is not None:
            self._session.close()
        self._inferences, self._session = [], None


class EnhanceChunks(Enhance):
    """`Enhance` with a network that sees chunks, such as ``paper``, on the CPU.

    Every ``hop`` samples, at the network's rate, it sees the last of them that it can; it is used up to
    ``lookahead`` samples before the end of that, and crossfades over `engines.chunks.FADE`. Channels are
    heard one by one. See `engines.chunks.Sliding`, whose result this is.
    """

    outputs = (Port("out"), Port("removed"))
    parameters = (
        Enhance.MODEL,
        replace(Enhance.LIMIT, default=100.0),
        replace(Enhance.MIX, default=MIX),
        Parameter(
            "hop", chunks.HOP, chunks.FADE, 16_384, "samples", "integer", automatable=False,
            doc="after as many, at the network's rate, it is called again",
        ),
        Parameter(
            "lookahead", chunks.LOOKAHEAD, 0, 16_384, "samples", "integer", automatable=False,
            doc="as many it hears after what it is used for",
        ),
        COMPUTE,
    )  # fmt: skip
    KERNEL = chunks_kernel
    path = MODELS["paper"]
    others: ClassVar[Mapping[str, str]] = {
        "onset": "says where speech is, such as live",
        "stereo": "cleans spectra, such as live",
    }

    def __init__(self, /, **values: Value) -> None:
        super().__init__(**values)
        self.runs_on = self.runs_on or "cpu"
        hop, ahead = self.frames, int(self.values["lookahead"])
        if hop + ahead + chunks.FADE > self.card.chunk:
            raise UserError(
                f"{self.id}: hop={hop}, lookahead={ahead} and a crossfade of {chunks.FADE} are more than the "
                f"{self.card.chunk} samples that {self.values['model']} sees: make them less"
            )

    def read(self) -> Any:
        """The model's card."""
        return chunks.read_chunk_card(self.path)

    @property
    def frames(self) -> int:
        """Samples of a hop, at the network's rate."""
        return int(self.values["hop"])

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: conversions and rings, the network's memory, and what crossfades."""
        if self.channels > MOST_CHANNELS:
            raise UserError(
                f"{self.id}: {self.channels} channels are not supported with {self.values['model']} "
                f"(up to {MOST_CHANNELS})"
            )
        lookahead, chunk = int(self.values["lookahead"]), self.card.chunk
        shapes = {name: (self.channels, *shape[1:]) for name, shape in self.card.inputs().items()}
        session = self._open()
        inference = infer(session, None, shapes | {"enhanced": (self.channels, chunk)})
        self._inferences = [inference]
        noisy, enhanced = inference.inputs["noisy"], inference.outputs["enhanced"]
        common = self._common(lookahead + chunks.FADE, chunk, 0)
        common[SHAPE][LOOKAHEAD] = lookahead
        return (
            *common,
            np.array([inference.words.ctypes.data], np.int64),
            noisy,
            enhanced,
            np.zeros((self.channels, chunks.FADE), np.float32),
            chunks.rise(chunks.FADE),
            *_others(inference, (noisy, enhanced)),
        )

    def check(self, session: Session | InterpretedSession) -> None:
        """`FileError` if the network is not as its card says."""
        _check(self.path, "takes", session.inputs, self.card.inputs())
        _check(self.path, "gives", session.outputs, {"enhanced": (None, self.card.chunk)})


class EnhanceChunksOnGpu(EnhanceChunks):
    """`EnhanceChunks` on a GPU, which sees all chunks of a block at once; see `engines.chunks.ChunkModel`.

    Raises
    ------
    UserError
        As of `EnhanceChunks`; or ONNX Runtime does not get the GPU.
    """

    in_python = True
    offline_block = 65_536

    def __init__(self, /, **values: Value) -> None:
        super().__init__(**values)
        self.calls_python, self.runs_on = False, ""
        self._model: chunks.ChunkModel | None = None

    def fit(self, rate: int) -> None:
        """Take blocks of any size: large ones hold many hops."""
        self.hop = None

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: conversions and rings, and what crossfades. Opens the network."""
        self.runs_on = self.model().runs_on
        lookahead = int(self.values["lookahead"])
        common = self._common(lookahead + chunks.FADE, self.card.chunk, 0)
        common[SHAPE][LOOKAHEAD] = lookahead
        nothing = np.zeros((0, 0), np.float32)  # where the compiled kernel has tensors
        fading = np.zeros((self.channels, chunks.FADE), np.float32)
        return *common, np.zeros(0, np.int64), nothing, nothing, fading, chunks.rise(chunks.FADE)

    def model(self) -> chunks.ChunkModel:
        """The network, which is opened once."""
        if self._model is None:
            self._model = chunks.ChunkModel(self.path, str(self.values["compute"]))
        return self._model

    def process(self, block: Block, out: Block) -> None:
        """As `chunks_kernel`, with one call of the network."""
        state, at, n = self._table.ctypes.data, self.position, out.shape[1]
        shape = self._state[SHAPE]
        inputs, outputs = addresses(block), addresses(out)
        take_in(state, inputs.ctypes.data, at, n)
        per_span, span = int(shape[PER_SPAN]), int(shape[SPAN])
        hops = range(at * per_span // span, (at + n) * per_span // span)
        noisy = np.zeros((len(hops), self.channels, self.card.chunk), np.float32)
        for k, heard in zip(hops, noisy, strict=True):
            lower(state, k)
            hear(state, k, heard)
        if hops:
            enhanced = self._call(noisy.reshape(-1, self.card.chunk)).reshape(noisy.shape)
            for k, heard, wet in zip(hops, noisy, enhanced, strict=True):
                if cross(state, k, heard, wet):
                    raise ArithmeticError(NO_NUMBER)
        hand_out(state, outputs.ctypes.data, n, self._parameters, at)

    def _call(self, noisy: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network makes of chunks; if the CPU takes over, that is counted."""
        model = self.model()
        enhanced = model(noisy)
        if model.runs_on != self.runs_on:
            self.runs_on = model.runs_on
            self.takeovers[0] += 1
        return enhanced

    def release(self) -> None:
        """Free the state, and the network."""
        super().release()
        self._model = None


def infer(
    session: Session | InterpretedSession,
    states: Mapping[str, str] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Inference | InterpretedInference:
    """An inference of a session, see `rtaudio.inference.Inference`."""
    if isinstance(session, Session):
        return Inference(session, states, shapes)
    return InterpretedInference(session, states, shapes)


def _others(
    inference: Inference | InterpretedInference, tensors: Sequence[NDArray[Any]]
) -> Iterator[NDArray[Any]]:
    """The inference's memory, flat, without some of its tensors."""
    for array in inference.memory():
        if not any(array is tensor for tensor in tensors):
            yield array.reshape(-1)


KINDS: Mapping[str, type[Enhance]] = {SPECTRA: Enhance, chunks.KIND: EnhanceChunks}
ON_GPU: Mapping[str, type[Enhance]] = {chunks.KIND: EnhanceChunksOnGpu}


def path_of(model: str) -> Path:
    """The file of a model that is named as the engine's parameter has it; `FileError` if there is none."""
    return MODELS.get(model) or find_model(model, KINDS, MODELS)


def kind_of(path: Path) -> str:
    """Kind of a model that the engine takes.

    Raises
    ------
    FileError
        It has no card, or is of another kind.
    """
    kind = read_kind(path)
    if kind not in KINDS:
        raise FileError(f"{path} is a model of kind {kind!r}: enhance takes {' or '.join(KINDS)}")
    return kind


@lru_cache
def _engine(model: str, path: Path, kind: str, compute: str) -> type[Enhance]:
    """The engine with a model; the same for the same, so that nodes of it are of one engine."""
    base = KINDS[kind] if gpu_of(compute) is None else ON_GPU.get(kind, KINDS[kind])
    defaults = {"model": model, "compute": compute}
    return type(
        Enhance.__name__,
        (base,),
        {
            "__doc__": base.__doc__,
            "__module__": Enhance.__module__,
            "given": {"model": model} | ({} if compute == AUTO else {"compute": compute}),
            "path": path,
            "parameters": tuple(
                replace(each, default=defaults.get(each.id, each.default)) for each in base.parameters
            ),
        },
    )


def _check(
    path: Path, does: str, tensors: Mapping[str, Tensor], want: Mapping[str, tuple[int | None, ...]]
) -> None:
    """`FileError` unless these are the tensors, all of float32."""
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != want:
        name = next(name for name in (*want, *found) if found.get(name) != want.get(name))
        raise FileError(f"{path} {does} {_shown(name, found)}, but its card says {_shown(name, want)}")
    for name, tensor in tensors.items():
        if tensor.dtype != np.float32:
            raise FileError(f"{path} {does} {name} of {tensor.dtype}: want float32")


def _shown(name: str, shapes: Mapping[str, tuple[int | None, ...]]) -> str:
    if name not in shapes:
        return f"no {name}"
    return f"{name} of ({', '.join('batch' if n is None else str(n) for n in shapes[name])})"
