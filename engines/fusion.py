"""Learned fusion of causal kernels: the harmonic mask of the live preset, from a small recurrent network.

Kernel additive modelling (FitzGerald et al., ISSC 2014, equations 7 and 10-12) makes the mask of one median
over time and one over frequency. Here a network sees medians of several lengths, all causal, what rises in
the frame and where in the window its energy lies, and keeps a state per frequency and one for the whole band.
The 2049 bins are averaged in 544 units, narrow at low frequencies and wide at high ones; the mask is made per
unit.

`export.models.fusion` trains it and holds the same network for torch; ``models/fusion.json`` says on what it
was trained, and how well it does.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from engines.medians import NETWORK_ROWS, median_over_frequency, slide_sorted_columns
from rtaudio.errors import FileError
from rtaudio.native import compiled

KIND = "hpss-fusion"
MODEL = Path(__file__).with_name("models") / "fusion.safetensors"

N_FFT, HOP, SYNTHESIS = 4096, 256, 512
"""Analysis window, hop and synthesis window that the network was trained for, in samples."""
LOOKAHEAD = 1
"""Frames by which the mask lags the newest spectrum."""
PERCUSSIVE = np.float32(0.7)
"""Weight of what is percussive, as in the medians over several times: neither gain nor loss on validation,
and better where the network does worst."""
BINS = N_FFT // 2 + 1

SEGMENTS = ((0, 192, 1), (192, 384, 2), (384, 768, 4), (768, 2048, 8))
"""First bin, end, and bins per unit. The last bin, half the rate, takes the mask of the last unit."""
UNITS = sum((end - begin) // width for begin, end, width in SEGMENTS)
BANDS = ((0, 48), (48, 192), (192, 384), (384, 544))
"""Units whose means the broadband state sees: at 44.1 kHz to 0.5, 2, 8 and 22 kHz."""

TIME_SIZES = (5, 9, 17, 33)
"""Frames of the medians over time."""
FREQUENCY_SIZES = (9, 17)
"""Units of the medians over frequency."""
FEATURES = len(TIME_SIZES) + len(FREQUENCY_SIZES) + 6
WIDTH = 24
"""Values per unit of every layer and of the state, and values of the broadband state; a multiple of 4, as
`FEATURES` is."""
DILATION = 4
"""Units between the taps of the second layer over frequency."""

LEVEL_RATE = np.float32(0.01)
"""Smoothing of the level per frame: over half a second."""
FLOOR = np.float32(1e-9)
"""Energy that is added to every unit, as a share of the level."""
TINY = np.float32(1e-30)
"""Added as well. Logarithms are relative to it, so that a memory of zeros is one of silence."""
LOG_TINY = np.float32(np.log2(1e-30))
SPAN, SCALE = 16.0, 4.0
"""Differences of logarithms are clipped at 16 octaves of energy, 48 dB, and divided by 4."""
RISE_UNITS = 32
"""Neighbours whose rise is averaged, a power of two."""

# Rows of memory and scratch: the units between zeros, since layers over frequency look beyond both ends.
PAD = 16
END = PAD + UNITS
ROW = END + PAD

# Rows of a group's memory.
LOG_FRAMES = 8
ENERGIES = 0  # of the last frames, by frame number modulo their count
COLUMNS = (
    ENERGIES + TIME_SIZES[-1]
)  # for every median the energies sorted, before and after a frame by its parity
LOGS = COLUMNS + 2 * sum(TIME_SIZES)  # of the last frames
SEEN = LOGS + LOG_FRAMES  # features of this frame and the last, by parity
STATE = SEEN + 2 * FEATURES
BROAD = STATE + WIDTH  # one row: the broadband state, then the level
MEMORY_ROWS = BROAD + 1

# Rows of scratch.
POOLED, AROUND, TURN_RE, TURN_IM, CENTRE, OTHER, RISES, BROAD_GATE, BROAD_CANDIDATE = range(9)
FIRST, SECOND, GATE, CANDIDATE, LAST, NETWORK = (9 + n * WIDTH for n in range(6))
WORK_ROWS = NETWORK + NETWORK_ROWS
BIN_ROWS = 4

SHAPES = {
    "input": 2 * FEATURES,  # this frame's, the last one's
    "near": 3 * WIDTH,
    "gate": WIDTH,
    "candidate": WIDTH,
    "broad_gate": len(BANDS) * WIDTH,
    "broad_candidate": len(BANDS) * WIDTH,
    "broad_out": len(BANDS) * WIDTH,
    "far": 3 * WIDTH,
    "across": WIDTH,
    "biases": 7,  # of near, gate, candidate, broad_gate, broad_candidate, far, and of the output
    "output": 2,  # from the last layer, and from the features
}
"""Rows of each part of the weights, in this order: matrices as (inputs, WIDTH), taps and bands in turn."""
_ENDS = [sum(list(SHAPES.values())[:n]) for n in range(len(SHAPES) + 1)]
INPUT, NEAR, GATES, CANDIDATES, BROAD_GATES, BROAD_CANDIDATES, BROAD_OUT, FAR, ACROSS, BIASES, OUTPUT = _ENDS[
    :-1
]
WEIGHT_ROWS = _ENDS[-1]
LANES = 16
"""Units that a mean is summed over at once; the bands are multiples of it."""

# In kernels, arrays: an index into a tuple raises where it is too large.
_SEGMENTS, _BANDS = np.array(SEGMENTS), np.array(BANDS)
_TIME_SIZES, _FREQUENCY_SIZES = np.array(TIME_SIZES), np.array(FREQUENCY_SIZES)

contracted = numba.njit(
    cache=True, nogil=True, error_model="numpy", boundscheck=False, _nrt=False, fastmath={"contract"}
)
"""As `rtaudio.native.compiled`, products and sums fused: the layers take half the time."""


@intrinsic
def bits_of(typing_context, number):  # type: ignore[no-untyped-def]
    """The bits of a float32, as int32."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic
def float_of(typing_context, bits):  # type: ignore[no-untyped-def]
    """The float32 of some bits."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@compiled
def log2(x: Any) -> Any:
    """Logarithm to base 2 of a positive normal float32, within 1e-6 and a rounding; vectorises."""
    bits = bits_of(np.float32(x)) - np.int32(0x3F3504F3)
    exponent = bits >> np.int32(23)
    mantissa = float_of((bits & np.int32(0x7FFFFF)) + np.int32(0x3F3504F3))
    s = (mantissa - np.float32(1)) / (mantissa + np.float32(1))
    q = s * s
    series = np.float32(2.8853901) + q * (
        np.float32(0.96179669) + q * (np.float32(0.57707802) + q * np.float32(0.41219859))
    )
    return np.float32(exponent) + s * series


@compiled
def sigmoid(x: Any) -> Any:
    """A sigmoid without an exponential, from 0 to 1: ``(1 + x / sqrt(1 + x**2)) / 2``."""
    return np.float32(0.5) + np.float32(0.5) * (x / np.sqrt(np.float32(1) + x * x))


@compiled
def pool(bins: Any, units: Any) -> None:
    """Mean over the bins of every unit: ``bins`` (BINS,) float32 to ``units`` (UNITS,) float32."""
    first = 0
    for k in range(_SEGMENTS.shape[0]):
        begin, end, width = _SEGMENTS[k, 0], _SEGMENTS[k, 1], _SEGMENTS[k, 2]
        count = (end - begin) // width
        part, out, share = bins[begin:end], units[first : first + count], np.float32(1) / np.float32(width)
        for u in range(count):
            out[u] = share * part[u * width]
        for i in range(1, width):
            for u in range(count):
                out[u] += share * part[u * width + i]
        first += count


@compiled
def spread(units: Any, bins: Any) -> None:
    """Give every bin the value of its unit: ``units`` (UNITS,) to ``bins`` (BINS,)."""
    first = 0
    for k in range(_SEGMENTS.shape[0]):
        begin, end, width = _SEGMENTS[k, 0], _SEGMENTS[k, 1], _SEGMENTS[k, 2]
        count = (end - begin) // width
        values, out = units[first : first + count], bins[begin:end]
        for u in range(count):
            for i in range(width):
                out[u * width + i] = values[u]
        first += count
    bins[BINS - 1] = units[UNITS - 1]


@compiled
def measure(re: Any, im: Any, bins: Any, work: Any) -> None:
    """Energy per unit, and where in the window it lies, to rows POOLED, AROUND, TURN_RE, TURN_IM of ``work``.

    The product of a bin and the conjugate of the one below turns by a whole turn as a pulse moves through the
    window (its group delay). It is summed over the unit and its neighbours, as is the energy around them.

    Parameters
    ----------
    re, im
        (channels, BINS) float32, spectra that share a mask.
    bins
        (BIN_ROWS, BINS + 2) float32 scratch, its first and last column 0.
    work
        (WORK_ROWS, ROW) float32 scratch.
    """
    channels = re.shape[0]
    share = np.float32(1) / np.float32(channels)
    energy, turn_re, turn_im = bins[0][1:], bins[1][1:], bins[2][1:]
    for f in range(BINS):
        energy[f] = np.float32(0)
        turn_re[f] = np.float32(0)
        turn_im[f] = np.float32(0)
    for c in range(channels):
        x, y, above_x, above_y = re[c], im[c], re[c][1:], im[c][1:]
        for f in range(BINS):
            energy[f] += share * (x[f] * x[f] + y[f] * y[f])
        for f in range(BINS - 1):
            turn_re[f] += share * (above_x[f] * x[f] + above_y[f] * y[f])
            turn_im[f] += share * (above_y[f] * x[f] - above_x[f] * y[f])
    pool(energy, work[POOLED][PAD:END])
    below, above, sums = bins[0], bins[0][2:], bins[3]
    for f in range(BINS):
        sums[f] = energy[f] + np.float32(0.5) * (below[f] + above[f])
    pool(sums, work[AROUND])
    below = bins[1]
    for f in range(BINS):
        sums[f] = turn_re[f] + below[f]
    pool(sums, work[TURN_RE])
    below = bins[2]
    for f in range(BINS):
        sums[f] = turn_im[f] + below[f]
    pool(sums, work[TURN_IM])


@compiled
def _logs(values: Any, floor: Any, out: Any) -> None:
    for u in range(UNITS):
        out[u] = log2(values[u] + floor) - LOG_TINY


@compiled
def _add_feature(values: Any, reference: Any, feature: Any) -> None:
    """Difference of two rows of logarithms, clipped and scaled."""
    most, scale = np.float32(SPAN), np.float32(1 / SCALE)
    for u in range(UNITS):
        difference = values[u] - reference[u]
        difference = difference if difference < most else most
        feature[u] = scale * (difference if difference > -most else -most)


@compiled
def update_features(frame_number: int, memory: Any, work: Any) -> None:
    """Take what `measure` found in a frame into the memory, and write the frame's features to it.

    In this order: differences between the logarithms of the medians over time and over frequency and that of
    the unit; between its logarithm and those one and four frames ago, and that of the level; the mean rise of
    the neighbourhood; cosine and sine of where in the window the energy lies.

    Parameters
    ----------
    frame_number
        Absolute, from 0.
    memory
        (MEMORY_ROWS, ROW) float32; zero before the first frame.
    work
        (WORK_ROWS, ROW) float32 scratch.
    """
    parity = frame_number & 1
    entering = work[POOLED]
    energy, now, other = entering[PAD:END], work[CENTRE][PAD:END], work[OTHER][PAD:END]
    total = np.float32(0)
    for u in range(UNITS):
        total += energy[u]
    level, mean = memory[BROAD, WIDTH], total * np.float32(1 / UNITS)
    level = mean if level == np.float32(0) else level + LEVEL_RATE * (mean - level)
    memory[BROAD, WIDTH] = level
    floor = FLOOR * level + TINY
    _logs(energy, floor, now)
    feature, row = SEEN + parity * FEATURES, COLUMNS
    for k in range(len(TIME_SIZES)):
        size = _TIME_SIZES[k]
        leaving = memory[ENERGIES + (frame_number - size) % TIME_SIZES[-1]]
        before, after = row + (1 - parity) * size, row + parity * size
        slide_sorted_columns(memory[before : before + size], memory[after : after + size], leaving, entering)
        _logs(memory[after + size // 2][PAD:END], floor, other)
        _add_feature(other, now, memory[feature][PAD:END])
        row += 2 * size
        feature += 1
    kept = memory[ENERGIES + frame_number % TIME_SIZES[-1]]
    for u in range(ROW):
        kept[u] = entering[u]
    for k in range(len(FREQUENCY_SIZES)):
        rows = work[NETWORK : NETWORK + NETWORK_ROWS]
        median_over_frequency(energy, other, _FREQUENCY_SIZES[k], work[RISES], rows)
        _logs(other, floor, other)
        _add_feature(other, now, memory[feature][PAD:END])
        feature += 1

    rise = memory[feature][PAD:END]
    _add_feature(now, memory[LOGS + (frame_number - 1) % LOG_FRAMES][PAD:END], rise)
    _add_feature(now, memory[LOGS + (frame_number - 4) % LOG_FRAMES][PAD:END], memory[feature + 1][PAD:END])
    for u in range(UNITS):
        other[u] = log2(level + TINY) - LOG_TINY
    _add_feature(now, other, memory[feature + 2][PAD:END])
    _rise_around(rise, memory[feature + 3][PAD:END], work[RISES], work[OTHER])
    cosine, sine = memory[feature + 4][PAD:END], memory[feature + 5][PAD:END]
    around, turn_re, turn_im = work[AROUND], work[TURN_RE], work[TURN_IM]
    for u in range(UNITS):
        inverse = np.float32(1) / (around[u] + floor)
        cosine[u], sine[u] = turn_re[u] * inverse, turn_im[u] * inverse
    last = memory[LOGS + frame_number % LOG_FRAMES][PAD:END]
    for u in range(UNITS):
        last[u] = now[u]


@compiled
def _rise_around(rise: Any, mean: Any, a: Any, b: Any) -> None:
    """Mean of what is positive over RISE_UNITS neighbours, summed by doubling in two rows of scratch."""
    for u in range(ROW):
        a[u] = np.float32(0)
    positive = a[PAD:END]
    for u in range(UNITS):
        positive[u] = rise[u] if rise[u] > np.float32(0) else np.float32(0)
    apart = 1
    while apart < RISE_UNITS:
        beyond = a[apart:]
        for u in range(ROW - apart):
            b[u] = a[u] + beyond[u]
        for u in range(ROW - apart, ROW):
            b[u] = a[u]
        a, b = b, a
        apart *= 2
    for u in range(UNITS):
        mean[u] = np.float32(1 / RISE_UNITS) * a[u]


@contracted
def _accumulate(weights: Any, inputs: Any, begin: int, out: Any) -> None:
    """Add ``weights.T @ inputs`` to ``out``: weights (n, WIDTH), inputs n rows or more, from ``begin`` on."""
    end = begin + UNITS
    for j in range(0, WIDTH, 2):
        y, z = out[j][PAD:END], out[j + 1][PAD:END]
        for i in range(0, weights.shape[0], 4):
            a, b = inputs[i][begin:end], inputs[i + 1][begin:end]
            c, d = inputs[i + 2][begin:end], inputs[i + 3][begin:end]
            ya, yb, yc, yd = weights[i, j], weights[i + 1, j], weights[i + 2, j], weights[i + 3, j]
            k = j + 1
            za, zb, zc, zd = weights[i, k], weights[i + 1, k], weights[i + 2, k], weights[i + 3, k]
            for u in range(UNITS):
                y[u] = (y[u] + ya * a[u] + yb * b[u]) + (yc * c[u] + yd * d[u])
                z[u] = (z[u] + za * a[u] + zb * b[u]) + (zc * c[u] + zd * d[u])


@compiled
def _fill(bias: Any, out: Any) -> None:
    for j in range(WIDTH):
        y = out[j][PAD:END]
        for u in range(UNITS):
            y[u] = bias[j]


@compiled
def _rectify(out: Any) -> None:
    for j in range(WIDTH):
        y = out[j][PAD:END]
        for u in range(UNITS):
            y[u] = y[u] if y[u] > np.float32(0) else np.float32(0)


@contracted
def _move(state: Any, gate: Any, candidate: Any) -> None:
    """Let the state go towards the candidate as far as the gate says: a recurrence without a matrix."""
    for j in range(WIDTH):
        h, g, c = state[j][PAD:END], gate[j][PAD:END], candidate[j][PAD:END]
        for u in range(UNITS):
            h[u] += sigmoid(g[u]) * (c[u] - h[u])


@contracted
def _mean(units: Any, lanes: Any) -> Any:
    for lane in range(LANES):
        lanes[lane] = np.float32(0)
    for u in range(0, units.shape[0], LANES):
        block = units[u : u + LANES]
        for lane in range(LANES):
            lanes[lane] += block[lane]
    total = np.float32(0)
    for lane in range(LANES):
        total += lanes[lane]
    return total / np.float32(units.shape[0])


@contracted
def _move_broad(weights: Any, layer: Any, state: Any, gate: Any, candidate: Any, lanes: Any) -> None:
    """Move the broadband state by the means of a layer over the bands."""
    for j in range(WIDTH):
        gate[j], candidate[j] = weights[BIASES + 3, j], weights[BIASES + 4, j]
    for band in range(len(BANDS)):
        begin, end = _BANDS[band, 0], _BANDS[band, 1]
        for i in range(WIDTH):
            mean = _mean(layer[i][PAD + begin : PAD + end], lanes)
            row = band * WIDTH + i
            to_gate, to_candidate = weights[BROAD_GATES + row], weights[BROAD_CANDIDATES + row]
            for j in range(WIDTH):
                gate[j] += to_gate[j] * mean
                candidate[j] += to_candidate[j] * mean
    for j in range(WIDTH):
        state[j] += sigmoid(gate[j]) * (candidate[j] - state[j])


@contracted
def fuse(frame_number: int, memory: Any, work: Any, weights: Any, position: Any, values: Any) -> None:
    """Run the network on the features in the memory: the mask of the frame before, per unit, to values."""
    parity = frame_number & 1
    seen = memory[SEEN + parity * FEATURES :][:FEATURES]
    before = memory[SEEN + (1 - parity) * FEATURES :][:FEATURES]
    state, broad = memory[STATE : STATE + WIDTH], memory[BROAD]
    first, second, last = work[FIRST:SECOND], work[SECOND:GATE], work[LAST:NETWORK]
    gate, candidate = work[GATE:CANDIDATE], work[CANDIDATE:LAST]
    biases = weights[BIASES:OUTPUT]

    for j in range(WIDTH):
        y, at = first[j][PAD:END], position[j]
        for u in range(UNITS):
            y[u] = at[u]
    _accumulate(weights[INPUT:][:FEATURES], seen, PAD, first)
    _accumulate(weights[INPUT + FEATURES :][:FEATURES], before, PAD, first)
    _rectify(first)

    _fill(biases[0], second)
    for tap in range(3):
        _accumulate(weights[NEAR + tap * WIDTH :][:WIDTH], first, PAD + tap - 1, second)
    _rectify(second)

    _fill(biases[1], gate)
    _accumulate(weights[GATES:CANDIDATES], second, PAD, gate)
    _fill(biases[2], candidate)
    _accumulate(weights[CANDIDATES:BROAD_GATES], second, PAD, candidate)
    _move(state, gate, candidate)
    _move_broad(weights, second, broad, work[BROAD_GATE], work[BROAD_CANDIDATE], work[OTHER])

    for band in range(len(BANDS)):
        begin, end = _BANDS[band, 0], _BANDS[band, 1]
        for j in range(WIDTH):
            told, y = biases[5, j], last[j][PAD + begin : PAD + end]
            for i in range(WIDTH):
                told += weights[BROAD_OUT + band * WIDTH + i, j] * broad[i]
            for u in range(end - begin):
                y[u] = told
    for tap in range(3):
        _accumulate(weights[FAR + tap * WIDTH :][:WIDTH], state, PAD + (tap - 1) * DILATION, last)
    _accumulate(weights[ACROSS:BIASES], second, PAD, last)
    _rectify(last)

    for u in range(UNITS):
        values[u] = biases[6, 0]
    for j in range(WIDTH):
        y, weight = last[j][PAD:END], weights[OUTPUT, j]
        for u in range(UNITS):
            values[u] += weight * y[u]
    for i in range(FEATURES):
        x, weight = seen[i][PAD:END], weights[OUTPUT + 1, i]
        for u in range(UNITS):
            values[u] += weight * x[u]
    masked = memory[ENERGIES + (frame_number - LOOKAHEAD) % TIME_SIZES[-1]][PAD:END]
    for u in range(UNITS):
        values[u] = sigmoid(values[u]) if masked[u] > np.float32(0) else np.float32(0.5)


@compiled
def learned_mask(
    frame_number: int, re: Any, im: Any, mask: Any,
    memory: Any, bins: Any, work: Any, weights: Any, position: Any,
) -> None:  # fmt: skip
    """Take the newest frame and write the harmonic mask of the frame `LOOKAHEAD` before it.

    Parameters
    ----------
    frame_number
        Absolute, from 0, one more at every call.
    re, im
        (channels, BINS) float32, spectra that share the mask, finite, at most 1e15.
    mask
        (BINS,) float32, 0 to 1; overwritten. 0.5 where the masked frame is silent.
    memory
        (MEMORY_ROWS, ROW) float32, one group's part of what `allocate` gave.
    bins, work, weights, position
        As `allocate` and `load` gave them.
    """
    measure(re, im, bins, work)
    update_features(frame_number, memory, work)
    values = work[GATE][PAD:END]
    fuse(frame_number, memory, work, weights, position, values)
    spread(values, mask)


class Model(NamedTuple):
    """A trained network: ``weights`` (WEIGHT_ROWS, WIDTH) and ``position`` (WIDTH, UNITS), float32."""

    weights: NDArray[np.float32]
    position: NDArray[np.float32]


def load(path: Path = MODEL) -> Model:
    """Read a trained network and check it against its card, the JSON file beside it.

    Raises
    ------
    FileError
        A file is missing or unreadable, the weights are not those of the card, or the network is another one.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as load_tensors

    card_path = path.with_suffix(".json")
    try:
        card, content = json.loads(card_path.read_text(encoding="utf-8")), path.read_bytes()
    except OSError as error:
        raise FileError(
            f"{error.filename}: cannot be read ({error.strerror}): reinstall the model"
        ) from error
    except ValueError as error:
        raise FileError(f"{card_path}: not a model card ({error}): reinstall the model") from error
    kind = card.get("kind") if isinstance(card, dict) else None
    if kind != KIND:
        raise FileError(f"{card_path}: a card of kind {kind!r}, not {KIND!r}: give another model")
    found = hashlib.sha256(content).hexdigest()
    if found != card.get("sha256"):
        said = str(card.get("sha256"))
        raise FileError(
            f"{path}: its SHA-256 is {found[:12]}..., its card says {said[:12]}...: reinstall the model"
        )
    try:
        tensors = load_tensors(content)
    except SafetensorError as error:
        raise FileError(f"{path}: not a safetensors file ({error}): reinstall the model") from error
    expected = {"weights": (WEIGHT_ROWS, WIDTH), "position": (WIDTH, UNITS)}
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    if shapes != expected:
        raise FileError(f"{path}: tensors {shapes}, want {expected}: give a model of this version")
    if not all(np.all(np.isfinite(tensor)) for tensor in tensors.values()):
        raise FileError(f"{path}: weights that are not finite: reinstall the model")
    return Model(*(np.ascontiguousarray(tensors[name], np.float32) for name in expected))


class Memory(NamedTuple):
    """State and scratch of `learned_mask`, float32 zeros.

    ``memory`` is the state, (groups, MEMORY_ROWS, ROW); ``bins`` (BIN_ROWS, BINS + 2) and ``work``
    (WORK_ROWS, ROW) are scratch that all groups share.
    """

    memory: NDArray[np.float32]
    bins: NDArray[np.float32]
    work: NDArray[np.float32]


def allocate(groups: int) -> Memory:
    """What `learned_mask` works on, for as many masks as there are groups of channels."""
    shapes = (groups, MEMORY_ROWS, ROW), (BIN_ROWS, BINS + 2), (WORK_ROWS, ROW)
    return Memory(*(np.zeros(shape, np.float32) for shape in shapes))
