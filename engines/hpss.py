"""Harmonic/percussive separation by kernel additive modelling, one iteration, streaming.

D. FitzGerald, A. Liutkus, Z. Rafii, B. Pardo, L. Daudet, "Harmonic/percussive separation using kernel additive
modelling", ISSC 2014: Algorithm 1 with N = 1 and every spatial covariance R_j(f) = I. The proximity kernels are
equations 11 (percussive: neighbouring bins of a frame) and 12 (harmonic: neighbouring frames of a bin); the
spectrograms are medians over them (equation 10), the sources follow from the mixture by equation 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.medians import median_over_frequency, scratch, slide_sorted_columns
from rtaudio.errors import UserError
from rtaudio.kernel import channel, kernel, position, power_of_two, ring_read, ring_write
from rtaudio.native import compiled, f32_matrix, f32_vector, f64_vector, i64_vector
from rtaudio.processor import Parameter, Port, Processor, Value
from rtaudio.stft import SIZES, check_sizes, fft_tables, inverse_real_fft, real_fft, windows

HARMONIC, PERCUSSIVE = 0, 1

# State arrays.
(
    WINDOWS,  # (2, n_fft): analysis, synthesis
    TURNS,
    SPLIT,
    WORK,
    FRAME,  # (n_fft,)
    HISTORY,  # (channels, n_fft): the last input samples
    RE,  # (channels * frames kept, bins): spectra that wait for their look-ahead
    IM,
    ENERGY,  # (groups * harmonic kernel, bins): spectrogram of the frames in the time medians
    COLUMNS,  # (2 * groups * harmonic kernel, bins): the same values, sorted per bin
    ACROSS,  # (groups * frames kept, bins): frequency medians
    MASKS,  # (2, bins)
    MASKED,  # (2, bins): real and imaginary part
    PADDED,
    ROWS,
    OVERLAP,  # (2 * channels, n_fft): overlap-added harmonic and percussive output
    DELAYED,  # (channels, power of two): input on its way to the outputs
    SHAPE,  # hop, synthesis, look-ahead, kernel sizes, linked, hard, residual
    SHARPNESS,  # power, margins
) = range(19)

LOUDEST = np.float32(1e15)
"""Analysis clamps samples here, +300 dBFS, so that no finite input overflows the spectrogram."""
SILENT = np.float32(1e-37)
"""Below this sum of the medians a bin belongs to nobody."""


@compiled
def make_masks(along: Any, across: Any, masks: Any, power: float, harmonic_margin: float, percussive_margin: float, hard: bool) -> None:
    """Masks of equation 7 with R = I, from medians of the energy along time and across frequency.

    ``mask = own**p / (own**p + (margin * other)**p)`` on magnitudes. Where both medians vanish the bin is split evenly,
    or left to the residual if there is a margin. ``hard`` gives the bin to whichever is larger.
    """
    harmonic, percussive = masks[HARMONIC], masks[PERCUSSIVE]
    # The medians are of energies, the square of magnitudes.
    harmonic_weight, percussive_weight = np.float32(harmonic_margin**2), np.float32(percussive_margin**2)
    split = np.float32(0.5) if harmonic_margin == 1.0 and percussive_margin == 1.0 else np.float32(0.0)
    one, nothing = np.float32(1), np.float32(0)
    for f in range(along.shape[0]):
        h, p = along[f], across[f]
        if hard:
            harmonic[f] = one if h > p * harmonic_weight else nothing
            percussive[f] = one if p > h * percussive_weight else nothing
            if split > nothing:
                percussive[f] = one - harmonic[f]
        elif power == 2.0:
            total_h, total_p = h + p * harmonic_weight, p + h * percussive_weight
            harmonic[f] = h / total_h if total_h > SILENT else split
            percussive[f] = p / total_p if total_p > SILENT else split
        else:
            exponent = 0.5 * power
            own_h, own_p = h**exponent, p**exponent
            other_h, other_p = (h * percussive_weight) ** exponent, (p * harmonic_weight) ** exponent
            harmonic[f] = np.float32(own_h / (own_h + other_p)) if h + p > SILENT else split
            percussive[f] = np.float32(own_p / (own_p + other_h)) if h + p > SILENT else split


@compiled
def _analyse(state: int, c: int, slot: int, x: Any) -> None:
    """Shift a hop into a channel's history and write its spectrum to a slot."""
    history = f32_matrix(state, HISTORY)[c]
    frame, window = f32_vector(state, FRAME), f32_matrix(state, WINDOWS)[0]
    hop, n_fft = x.shape[0], frame.shape[0]
    for i in range(n_fft - hop):
        history[i] = history[i + hop]
    for i in range(hop):
        history[n_fft - hop + i] = min(max(x[i], -LOUDEST), LOUDEST)
    for i in range(n_fft):
        frame[i] = history[i] * window[i]
    real_fft(
        frame,
        f32_matrix(state, RE)[slot],
        f32_matrix(state, IM)[slot],
        f32_matrix(state, WORK),
        f32_matrix(state, TURNS),
        f32_matrix(state, SPLIT),
    )


@compiled
def _synthesise(state: int, slot: int, source: int, overlap: Any, synthesis: int) -> None:
    """Overlap-add the masked spectrum of a slot."""
    re, im = f32_matrix(state, RE)[slot], f32_matrix(state, IM)[slot]
    mask, masked = f32_matrix(state, MASKS)[source], f32_matrix(state, MASKED)
    masked_re, masked_im = masked[0], masked[1]
    for f in range(mask.shape[0]):
        masked_re[f] = re[f] * mask[f]
        masked_im[f] = im[f] * mask[f]
    frame, window = f32_vector(state, FRAME), f32_matrix(state, WINDOWS)[1]
    inverse_real_fft(
        masked_re, masked_im, frame, f32_matrix(state, WORK), f32_matrix(state, TURNS), f32_matrix(state, SPLIT)
    )
    begin = frame.shape[0] - synthesis
    for i in range(synthesis):
        overlap[i] += frame[begin + i] * window[begin + i]


@compiled
def _emit(overlap: Any, y: Any, synthesis: int) -> None:
    """Give out the first hop of an overlap-add buffer and shift it."""
    hop = y.shape[0]
    for i in range(hop):
        y[i] = overlap[i]
    for i in range(synthesis - hop):
        overlap[i] = overlap[i + hop]
    for i in range(synthesis - hop, synthesis):
        overlap[i] = np.float32(0)


@kernel
def hpss_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    hop, synthesis, lookahead, along_size, across_size, linked, hard, residual = i64_vector(state, SHAPE)
    power, harmonic_margin, percussive_margin = f64_vector(state, SHARPNESS)
    channels = f32_matrix(state, HISTORY).shape[0]
    groups = 1 if linked else channels
    energies, columns, across = f32_matrix(state, ENERGY), f32_matrix(state, COLUMNS), f32_matrix(state, ACROSS)
    masks = f32_matrix(state, MASKS)
    re, im = f32_matrix(state, RE), f32_matrix(state, IM)
    bins = masks.shape[1]
    at = position(context)
    frame_number = at // hop
    kept = lookahead + 1
    now, then = frame_number % kept, (frame_number + 1) % kept
    place = frame_number % along_size
    sorted_now = frame_number & 1
    entering = f32_matrix(state, MASKED)[0]
    latency = synthesis - hop + lookahead * hop

    for c in range(channels):
        _analyse(state, c, now * channels + c, channel(inputs, c, n))
    for group in range(groups):
        # Step 4c with R = I: z = tr(C) / I, the mean energy over the channels that share a mask.
        first, last = (0, channels) if linked else (group, group + 1)
        for f in range(bins):
            entering[f] = np.float32(0)
        for c in range(first, last):
            x, y = re[now * channels + c], im[now * channels + c]
            for f in range(bins):
                entering[f] += x[f] * x[f] + y[f] * y[f]
        oldest = energies[group * along_size + place]
        begin_now = (sorted_now * groups + group) * along_size
        begin_next = ((1 - sorted_now) * groups + group) * along_size
        slide_sorted_columns(
            columns[begin_now : begin_now + along_size],
            columns[begin_next : begin_next + along_size],
            oldest,
            entering,
        )
        for f in range(bins):
            oldest[f] = entering[f]
        median_over_frequency(
            oldest, across[now * groups + group], across_size, f32_vector(state, PADDED), f32_matrix(state, ROWS)
        )
        make_masks(
            columns[begin_next + along_size // 2],
            across[then * groups + group],
            masks,
            power,
            harmonic_margin,
            percussive_margin,
            hard != 0,
        )
        for c in range(first, last):
            harmonic, percussive, rest = (
                channel(outputs, c, n),
                channel(outputs, channels + c, n),
                channel(outputs, 2 * channels + c, n),
            )
            overlap = f32_matrix(state, OVERLAP)
            _synthesise(state, then * channels + c, HARMONIC, overlap[c], synthesis)
            _emit(overlap[c], harmonic, synthesis)
            delayed = f32_matrix(state, DELAYED)[c]
            ring_write(delayed, at, channel(inputs, c, n), n)
            ring_read(delayed, at - latency, rest, n)
            if residual:
                _synthesise(state, then * channels + c, PERCUSSIVE, overlap[channels + c], synthesis)
                _emit(overlap[channels + c], percussive, synthesis)
                for i in range(n):
                    rest[i] -= harmonic[i] + percussive[i]
            else:
                for i in range(n):
                    percussive[i] = rest[i] - harmonic[i]
                    rest[i] = np.float32(0)
    return 0


PRESETS: dict[str, dict[str, Value]] = {
    "live": {"n_fft": "4096", "hop": "256", "synthesis": "512", "lookahead": 0},
    "balanced": {"n_fft": "4096", "hop": "512", "synthesis": "1024", "lookahead": 8},
    "quality": {"n_fft": "4096", "hop": "1024", "synthesis": "4096", "lookahead": 8},
}


class Hpss(Processor):
    """Harmonic, percussive and residual parts of the input.

    The three outputs sum to the input, delayed by ``synthesis - hop + lookahead * hop`` samples. Without margins the
    residual is silent. ``channels=linked`` gives all channels one mask (Algorithm 1 with R = I), ``independent`` one
    each.

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
        Parameter("preset", "live", scale="choice", choices=tuple(PRESETS), automatable=False, doc="sets the defaults of the lengths and the look-ahead"),
        Parameter("channels", "linked", scale="choice", choices=("linked", "independent"), automatable=False, doc="one mask for all channels, or one each"),
        Parameter("n_fft", "4096", unit="samples", scale="choice", choices=tuple(map(str, SIZES)), automatable=False, doc="analysis window"),
        Parameter("hop", "256", unit="samples", scale="choice", choices=("64", "128", "256", "512", "1024", "2048"), automatable=False, doc="samples between frames"),
        Parameter("synthesis", "512", unit="samples", scale="choice", choices=("128", *map(str, SIZES)), automatable=False, doc="synthesis window; shorter than n_fft gives the asymmetric pair"),
        Parameter("lookahead", 0, 0, 32, "frames", "integer", automatable=False, doc="frames after the present one in the time median"),
        Parameter("harmonic_kernel", 17, 3, 65, "frames", "integer", automatable=False, doc="time median, odd (equation 12)"),
        Parameter("percussive_kernel", 17, 3, 129, "bins", "integer", automatable=False, doc="frequency median, odd (equation 11)"),
        Parameter("mask", "soft", scale="choice", choices=("soft", "hard"), automatable=False, doc="Wiener mask, or all or nothing"),
        Parameter("power", 2.0, 0.5, 8.0, automatable=False, doc="exponent of the magnitudes in the soft mask"),
        Parameter("harmonic_margin", 1.0, 1.0, 16.0, automatable=False, doc="above 1 leaves what is not clearly harmonic to the residual"),
        Parameter("percussive_margin", 1.0, 1.0, 16.0, automatable=False, doc="above 1 leaves what is not clearly percussive to the residual"),
    )  # fmt: skip
    KERNEL = hpss_kernel

    def __init__(self, **values: Value) -> None:
        super().__init__(**values)
        self.n_fft, self.hop = int(self.values["n_fft"]), int(self.values["hop"])
        self.synthesis = int(self.values["synthesis"])
        self.lookahead = int(self.values["lookahead"])
        sizes = int(self.values["harmonic_kernel"]), int(self.values["percussive_kernel"])
        for name, size in zip(("harmonic_kernel", "percussive_kernel"), sizes, strict=True):
            if size % 2 == 0:
                raise UserError(f"hpss: {name}={size} is even: the median needs an odd size, such as {size + 1}")
        if self.lookahead > sizes[0] // 2:
            raise UserError(
                f"hpss: lookahead={self.lookahead} is more than half of harmonic_kernel={sizes[0]}: use {sizes[0] // 2} or less"
            )
        for problem in check_sizes(self.n_fft, self.hop, self.synthesis):
            raise UserError(f"hpss: {problem}")
        self.sizes = sizes

    def defaults(self, values: Mapping[str, Value]) -> Mapping[str, Value]:
        """Lengths and look-ahead of the preset."""
        return PRESETS.get(str(values.get("preset", "live")), {})

    def allocate(self) -> Sequence[NDArray[Any]]:
        n_fft, bins, kept = self.n_fft, self.n_fft // 2 + 1, self.lookahead + 1
        hop = int(self.values["hop"])
        linked = self.values["channels"] == "linked"
        groups = 1 if linked else self.channels
        margins = float(self.values["harmonic_margin"]), float(self.values["percussive_margin"])
        symmetric = self.synthesis == n_fft
        analysis, synthesis = windows(n_fft, hop, None if symmetric else self.synthesis)
        self.latency = self.synthesis - hop + self.lookahead * hop
        self.tail = n_fft - self.latency if n_fft > self.latency else 0
        padded, rows = scratch(bins, self.sizes[1])
        zeros = [(self.channels * kept, bins)] * 2 + [(groups * self.sizes[0], bins), (2 * groups * self.sizes[0], bins)]
        zeros += [(groups * kept, bins), (2, bins), (2, bins)]
        re, im, energy, columns, across, masks, masked = (np.zeros(shape, np.float32) for shape in zeros)
        return (
            np.stack([analysis, synthesis]),
            *fft_tables(n_fft),
            np.zeros((4, n_fft // 2), np.float32),
            np.zeros(n_fft, np.float32),
            np.zeros((self.channels, n_fft), np.float32),
            re,
            im,
            energy,
            columns,
            across,
            masks,
            masked,
            padded,
            rows,
            np.zeros((2 * self.channels, n_fft), np.float32),
            np.zeros((self.channels, power_of_two(self.latency + hop)), np.float32),
            np.array(
                [
                    hop,
                    self.synthesis,
                    self.lookahead,
                    *self.sizes,
                    linked,
                    self.values["mask"] == "hard",
                    max(margins) > 1.0,
                ],
                np.int64,
            ),
            np.array([float(self.values["power"]), *margins]),
        )
