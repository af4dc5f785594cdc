"""Harmonic/percussive separation by kernel additive modelling, one iteration, streaming.

D. FitzGerald, A. Liutkus, Z. Rafii, B. Pardo, L. Daudet, "Harmonic/percussive separation using kernel
additive modelling", ISSC 2014: Algorithm 1 with N = 1 and every spatial covariance R_j(f) = I. The proximity
kernels are equations 11 (percussive: neighbouring bins of a frame) and 12 (harmonic: neighbouring frames of a
bin); the spectrograms are medians over them (equation 10), the sources follow from the mixture by equation 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.medians import median_over_frequency, scratch, slide_sorted_columns
from rtaudio.errors import UserError
from rtaudio.kernel import channel, kernel, position
from rtaudio.native import compiled, f32_cube, f32_matrix, f32_vector, f64_vector, i64_vector
from rtaudio.processor import Parameter, Port, Processor, Value
from rtaudio.stft import SIZES, check_sizes, fft_tables, inverse_real_fft, real_fft, windows

HOPS = ("64", "128", "256", "512", "1024", "2048")

# State arrays.
(
    WINDOWS,  # (2, n_fft): analysis, synthesis
    TURNS,
    SPLIT,
    WORK,
    FRAME,  # (n_fft,)
    HISTORY,  # (channels, 2 * samples kept): every sample twice, so that any window of it is one view
    RE,  # (channels * frames kept, bins): spectra that wait for their look-ahead
    IM,
    ENERGY,  # (groups * harmonic kernel, bins): spectrogram of the frames in the time medians
    COLUMNS,  # (2 * groups * harmonic kernel, bins): the same values, sorted per bin
    ACROSS,  # (groups * frames kept, bins): frequency medians
    MASK,  # (bins,)
    MASKED,  # (2, bins): real and imaginary part
    PADDED,
    ROWS,
    OVERLAP,  # (2, channels * masked outputs, synthesis): overlap-added output, before and after a frame
    SHAPE,  # hop, look-ahead, latency, kernel sizes, linked, hard, residual
    SHARPNESS,  # power, margins
) = range(18)

LOUDEST = np.float32(1e12)
"""Analysis takes samples beyond this, +240 dBFS, and those that are not finite for silence, so that the
spectrogram and its sums stay finite."""
SILENT = np.float32(1e-37)
"""Below this sum of the medians a bin belongs to nobody."""


@compiled
def make_mask(own: Any, other: Any, mask: Any, power: float, margin: float, split: float, hard: bool) -> None:
    """Mask of a source by equation 7 with R = I: ``own**power / (own**power + (margin * other)**power)``.

    Parameters
    ----------
    own, other
        (bins,) float32, spectrograms of the source and of the other one, as energies; power and margin
        apply to their square roots.
    mask
        (bins,) float32; overwritten.
    power, margin
        Exponent, and what the other source is multiplied with.
    split
        The mask where both spectrograms vanish.
    hard
        All or nothing, to the larger.
    """
    weight, both_vanish = np.float32(margin**2), np.float32(split)
    one, nothing = np.float32(1), np.float32(0)
    if hard:
        for f in range(mask.shape[0]):
            mask[f] = one if own[f] > other[f] * weight else nothing
    elif power == 2.0:
        for f in range(mask.shape[0]):
            total = own[f] + other[f] * weight
            mask[f] = own[f] / total if total > SILENT else both_vanish
    else:
        for f in range(mask.shape[0]):
            weighted = other[f] * weight
            share = 1.0 / (1.0 + (np.float64(weighted) / np.float64(own[f])) ** (0.5 * power))
            mask[f] = np.float32(share) if own[f] + weighted > SILENT else both_vanish


@compiled
def _analyse(state: int, c: int, slot: int, at: int, x: Any) -> None:
    """Add a hop to a channel's history and write its spectrum to a slot."""
    history = f32_matrix(state, HISTORY)[c]
    frame, window = f32_vector(state, FRAME), f32_matrix(state, WINDOWS)[0]
    kept, hop = history.shape[0] // 2, x.shape[0]
    begin = at % kept
    end = begin + kept + hop
    once, again = history[begin : begin + hop], history[begin + kept : end]
    for i in range(hop):
        once[i] = x[i]
        again[i] = x[i]
    past = history[end - frame.shape[0] : end]
    for i in range(frame.shape[0]):
        frame[i] = past[i] * window[i] if abs(past[i]) <= LOUDEST else np.float32(0)
    re, im = f32_matrix(state, RE)[slot], f32_matrix(state, IM)[slot]
    work, turns, split = f32_matrix(state, WORK), f32_matrix(state, TURNS), f32_matrix(state, SPLIT)
    real_fft(frame, re, im, work, turns, split)


@compiled
def _synthesise(state: int, slot: int, row: int, parity: int, y: Any) -> None:
    """Overlap-add the masked spectrum of a slot and give out the first hop."""
    re, im = f32_matrix(state, RE)[slot], f32_matrix(state, IM)[slot]
    mask, masked = f32_vector(state, MASK), f32_matrix(state, MASKED)
    masked_re, masked_im = masked[0], masked[1]
    for f in range(mask.shape[0]):
        masked_re[f] = re[f] * mask[f]
        masked_im[f] = im[f] * mask[f]
    frame, overlap = f32_vector(state, FRAME), f32_cube(state, OVERLAP)
    work, turns, split = f32_matrix(state, WORK), f32_matrix(state, TURNS), f32_matrix(state, SPLIT)
    inverse_real_fft(masked_re, masked_im, frame, work, turns, split)
    hop, synthesis = y.shape[0], overlap.shape[2]
    begin = frame.shape[0] - synthesis
    last, window = frame[begin:], f32_matrix(state, WINDOWS)[1][begin:]
    before, after = overlap[1 - parity, row][hop:], overlap[parity, row]
    for i in range(synthesis - hop):
        after[i] = before[i] + last[i] * window[i]
    for i in range(synthesis - hop, synthesis):
        after[i] = last[i] * window[i]
    for i in range(hop):
        y[i] = after[i]


@compiled
def _complete(state: int, c: int, at: int, harmonic: Any, percussive: Any, rest: Any) -> None:
    """Write what the masked outputs lack to the delayed input of a channel."""
    history, shape = f32_matrix(state, HISTORY)[c], i64_vector(state, SHAPE)
    kept, hop, latency, residual = history.shape[0] // 2, shape[0], shape[2], shape[7]
    begin = at % kept + kept - latency
    x = history[begin : begin + hop]
    if residual:
        for i in range(hop):
            rest[i] = x[i] - (harmonic[i] + percussive[i])
    else:
        for i in range(hop):
            percussive[i] = x[i] - harmonic[i]
            rest[i] = np.float32(0)


@kernel
def hpss_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Hpss`: one hop."""
    # By index: unpacking an array raises when its length is another.
    shape, sharpness = i64_vector(state, SHAPE), f64_vector(state, SHARPNESS)
    hop, lookahead, along_size, across_size = shape[0], shape[1], shape[3], shape[4]
    linked, hard, residual = shape[5] != 0, shape[6] != 0, shape[7] != 0
    power, harmonic_margin, percussive_margin = sharpness[0], sharpness[1], sharpness[2]
    split = 0.0 if residual else 0.5
    channels = f32_matrix(state, HISTORY).shape[0]
    groups = 1 if linked else channels
    energies, columns = f32_matrix(state, ENERGY), f32_matrix(state, COLUMNS)
    re, im, acrosses = f32_matrix(state, RE), f32_matrix(state, IM), f32_matrix(state, ACROSS)
    padded, rows = f32_vector(state, PADDED), f32_matrix(state, ROWS)
    mask, entering = f32_vector(state, MASK), f32_matrix(state, MASKED)[0]
    bins = mask.shape[0]
    at = position(context)
    frame_number = at // hop
    now, then = frame_number % (lookahead + 1), (frame_number + 1) % (lookahead + 1)
    place = frame_number % along_size
    parity = frame_number & 1

    for c in range(channels):
        _analyse(state, c, now * channels + c, at, channel(inputs, c, n))
    for group in range(groups):
        # Step 4c with R = I: z = tr(C) / I, the mean energy of the channels that share a mask, in which 1 / I
        # cancels.
        first, last = (0, channels) if linked else (group, group + 1)
        for f in range(bins):
            entering[f] = np.float32(0)
        for c in range(first, last):
            x, y = re[now * channels + c], im[now * channels + c]
            for f in range(bins):
                entering[f] += x[f] * x[f] + y[f] * y[f]
        # Step 4d: the medians of z over the kernels.
        energy = energies[group * along_size + place]
        before, after = ((1 - parity) * groups + group) * along_size, (parity * groups + group) * along_size
        moved = columns[after : after + along_size]
        slide_sorted_columns(columns[before : before + along_size], moved, energy, entering)
        for f in range(bins):
            energy[f] = entering[f]
        median_over_frequency(energy, acrosses[now * groups + group], across_size, padded, rows)
        # Step 3: the sources of the frame that has had its look-ahead.
        along, across = moved[along_size // 2], acrosses[then * groups + group]
        make_mask(along, across, mask, power, harmonic_margin, split, hard)
        for c in range(first, last):
            _synthesise(state, then * channels + c, c, parity, channel(outputs, c, n))
        if residual:
            make_mask(across, along, mask, power, percussive_margin, split, hard)
            for c in range(first, last):
                row = channels + c
                _synthesise(state, then * channels + c, row, parity, channel(outputs, row, n))
    for c in range(channels):
        harmonic, percussive = channel(outputs, c, n), channel(outputs, channels + c, n)
        _complete(state, c, at, harmonic, percussive, channel(outputs, 2 * channels + c, n))
    return 0


PRESETS: dict[str, dict[str, Value]] = {
    "live": {"n_fft": "4096", "hop": "256", "synthesis": "512", "lookahead": 0},
    "balanced": {
        "n_fft": "4096",
        "hop": "1024",
        "synthesis": "2048",
        "lookahead": 4,
        "harmonic_kernel": 9,
        "percussive_kernel": 9,
    },
    "quality": {"n_fft": "4096", "hop": "1024", "synthesis": "4096", "lookahead": 8},
}
"""At 44.1 kHz 5.8, 116 and 255 ms late. ``quality`` is the paper's evaluation (section IV)."""

_number = partial(Parameter, automatable=False)
_choice = partial(Parameter, scale="choice", automatable=False)


class Hpss(Processor):
    """Harmonic, percussive and residual parts of the input.

    The three outputs sum to the input, delayed by ``synthesis - hop + lookahead * hop`` samples. Without
    margins the residual is silent. ``channels=linked`` gives all channels one mask (Algorithm 1 with R = I),
    ``independent`` one each. With a hard mask what is equally harmonic and percussive is percussive.

    Raises
    ------
    UserError
        Kernel sizes that are even, or lengths that do not fit together.
    """

    id = "hpss"
    summary = "Harmonic/percussive separation (kernel additive modelling)"
    outputs = (Port("harmonic"), Port("percussive"), Port("residual"))
    fallback = "harmonic"
    tolerance = 1e-6
    parameters = (
        _choice("preset", "live", choices=tuple(PRESETS), doc="sets the defaults of lengths and kernels"),
        _choice("channels", "linked", choices=("linked", "independent"), doc="one mask for all, or one each"),
        _choice("n_fft", "4096", unit="samples", choices=tuple(map(str, SIZES)), doc="analysis window"),
        _choice("hop", "256", unit="samples", choices=HOPS, doc="between frames"),
        _choice(
            "synthesis",
            "512",
            unit="samples",
            choices=("128", *map(str, SIZES)),
            doc="synthesis window; shorter than n_fft gives the asymmetric pair",
        ),
        _number("lookahead", 0, 0, 32, "frames", "integer", doc="after the present one in the time median"),
        _number("harmonic_kernel", 17, 3, 65, "frames", "integer", doc="time median, odd (equation 12)"),
        _number(
            "percussive_kernel", 17, 3, 129, "bins", "integer", doc="frequency median, odd (equation 11)"
        ),
        _choice("mask", "soft", choices=("soft", "hard"), doc="Wiener mask, or all or nothing"),
        _number("power", 2.0, 0.5, 8.0, doc="exponent of the magnitudes in the soft mask"),
        _number(
            "harmonic_margin",
            1.0,
            1.0,
            16.0,
            doc="above 1 leaves what is not clearly harmonic to the residual",
        ),
        _number(
            "percussive_margin",
            1.0,
            1.0,
            16.0,
            doc="above 1 leaves what is not clearly percussive to the residual",
        ),
    )
    KERNEL = hpss_kernel

    def __init__(self, **values: Value) -> None:
        super().__init__(**values)
        self.n_fft, self.hop = int(self.values["n_fft"]), int(self.values["hop"])
        self.synthesis = int(self.values["synthesis"])
        self.lookahead = int(self.values["lookahead"])
        sizes = int(self.values["harmonic_kernel"]), int(self.values["percussive_kernel"])
        for name, size in zip(("harmonic_kernel", "percussive_kernel"), sizes, strict=True):
            if size % 2 == 0:
                raise UserError(
                    f"hpss: {name}={size} is even: the median needs an odd size, such as {size + 1}"
                )
        if self.lookahead > sizes[0] // 2:
            raise UserError(
                f"hpss: lookahead={self.lookahead} is more than half of harmonic_kernel={sizes[0]}: "
                f"use {sizes[0] // 2} or less"
            )
        for problem in check_sizes(self.n_fft, self.hop, self.synthesis):
            raise UserError(f"hpss: {problem}")
        self.sizes = sizes

    def defaults(self, values: Mapping[str, Value]) -> Mapping[str, Value]:
        """Lengths and kernels of the preset."""
        return PRESETS.get(str(values.get("preset", "live")), {})

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: see the names of the arrays at the top of this module."""
        n_fft, hop = self.n_fft, int(self.values["hop"])
        synthesis, lookahead = self.synthesis, self.lookahead
        bins, kept = n_fft // 2 + 1, lookahead + 1
        linked = self.values["channels"] == "linked"
        groups = 1 if linked else self.channels
        margins = float(self.values["harmonic_margin"]), float(self.values["percussive_margin"])
        residual = max(margins) > 1.0
        self.latency = synthesis - hop + lookahead * hop
        self.tail = n_fft - 1  # The last frame that holds the last sample may begin with it.
        zeros = {
            WORK: (4, n_fft // 2),
            FRAME: (n_fft,),
            HISTORY: (self.channels, 2 * max(n_fft, self.latency + hop)),
            RE: (self.channels * kept, bins),
            IM: (self.channels * kept, bins),
            ENERGY: (groups * self.sizes[0], bins),
            COLUMNS: (2 * groups * self.sizes[0], bins),
            ACROSS: (groups * kept, bins),
            MASK: (bins,),
            MASKED: (2, bins),
            OVERLAP: (2, self.channels * (2 if residual else 1), synthesis),
        }
        arrays: dict[int, NDArray[Any]] = {
            place: np.zeros(shape, np.float32) for place, shape in zeros.items()
        }
        arrays[WINDOWS] = np.stack(windows(n_fft, hop, synthesis))
        arrays[TURNS], arrays[SPLIT] = fft_tables(n_fft)
        arrays[PADDED], arrays[ROWS] = scratch(bins, self.sizes[1])
        hard = self.values["mask"] == "hard"
        shape = [hop, lookahead, self.latency, *self.sizes, linked, hard, residual]
        arrays[SHAPE] = np.array(shape, np.int64)
        arrays[SHARPNESS] = np.array([float(self.values["power"]), *margins])
        return [arrays[place] for place in range(len(arrays))]
