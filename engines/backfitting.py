"""Separation by kernel additive modelling, streaming: Algorithm 1 of the paper for any proximity kernels.

D. FitzGerald, A. Liutkus, Z. Rafii, B. Pardo, L. Daudet, "Harmonic/percussive separation using kernel
additive modelling", ISSC 2014. A source is a proximity kernel, the set of neighbours of a bin whose values
are close to its own. An iteration estimates every source's spectrogram as the median over its kernel
(equation 10) of what the last iteration took for the source, and with the spectrograms filters the mixture
(equation 7).

Every iteration waits for the look-ahead, so the n-th works ``n * lookahead`` frames behind the input. Frames
before the first are silent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines import fusion, spatial
from engines.medians import (
    median_network,
    median_over_frequency,
    scratch,
    shift,
    slide_sorted_columns,
    sort_partly,
)
from rtaudio.errors import UserError
from rtaudio.kernel import channel, kernel, position
from rtaudio.native import (
    call_kernel,
    compiled,
    f32_cube,
    f32_matrix,
    f32_vector,
    f64_matrix,
    f64_vector,
    i64_matrix,
    i64_vector,
)
from rtaudio.processor import Parameter, Processor, Value
from rtaudio.stft import SIZES, check_sizes, fft_tables, inverse_real_fft, real_fft, windows

HOPS = ("64", "128", "256", "512", "1024", "2048")

# State arrays. A row of bins belongs to one frame; a ring of frames has the rows ``frame % depth``. A group
# is the channels that share a mask.
(
    WINDOWS,  # (2, n_fft): analysis, synthesis
    TURNS,
    SPLIT,
    WORK,
    FRAME,  # (n_fft,)
    HISTORY,  # (channels, 2 * samples kept): every sample twice, so that any window of it is one view
    STFT,  # (frames kept * 2 * channels, bins): ring, real parts of all channels, then imaginary parts
    ENERGY,  # (groups * frames kept, bins): rings, energy of the group's channels
    OBSERVED,  # rings z of every source, iteration and group (step 4c)
    COLUMNS,  # the values in the kernels that are lines along time, sorted per bin, before and after a frame
    SPECTROGRAMS,  # (sources + 1, bins): medians of the frame at hand (step 4d), and the rivals of one
    FILTERS,  # rings of masks, or of filtered spectra, that wait to be heard
    FILTERED,  # (2 * channels, bins)
    PADDED,
    ROWS,
    NETWORKS,  # (pairs, 2) int64
    OFFSETS,  # (offsets, 2) int64: bins, frames
    OVERLAP,  # (2, filtered outputs * channels, synthesis): overlap-added output, before and after a frame
    SOURCES,  # (sources, words) int64
    KERNELS,  # (kernels, words) int64
    WEIGHTS,  # (sources,) float32: what spectrograms are multiplied with
    MEDIAN,  # (bins,)
    SHAPE,  # int64: hop, lookahead, latency, ...
    SHARPNESS,  # float64: power, what a frame keeps of the spatial mean, margin of every source
    COVARIANCES,  # (models * channels ** 2, bins) float64 (steps 4a and 4b)
    SEEN,  # (models, bins) float64: weight of the frames in them
    WEIGHTED,  # (sources, bins): spectrograms as equation 7 weighs them
    MIXED,  # (channels ** 2, bins) float64: the mixture's covariance (equation 6)
    SOLVED,  # (2 * channels, bins) float64
    SMALL,
    LEARNED,  # memory, bins, work, weights, position: see `fusion.learned_mask`
    LEARNED_BINS,
    LEARNED_WORK,
    LEARNED_WEIGHTS,
    LEARNED_POSITION,
    LEARNED_STFT,  # (2 * channels + 1, bins): a frame and its mask, of as many bins as were learned
) = range(36)

HOP, LOOKAHEAD, LATENCY, ITERATIONS, GROUPS, HARD, SHARED, SPATIAL, ESTIMATE, PORTS, SHAPE_WORDS = range(11)
"""Words of SHAPE. SHARED: nothing is left to the residual; ESTIMATE: address of `learned_kernel`, or 0."""
FIRST, COUNT, BOUNDED, DEPTH, OBSERVED_AT, AFTER, FILTERS_AT, WAITING, SOURCE_WORDS = range(9)
"""Words of a source. FIRST, COUNT: its kernels; AFTER: iterations after which it is heard; WAITING: depth of
its ring in FILTERS."""
KIND, SIZE, AHEAD, COLUMNS_AT, OFFSETS_AT, NETWORK_AT, NETWORK, KERNEL_WORDS = range(8)
"""Words of a kernel."""
POWER, KEEP, MARGINS = range(3)
ALONG_TIME, ALONG_FREQUENCY, ANY_SET = range(3)
SPATIAL_MODELS = ("none", "uniform", "weighted")
WEIGHTED_MEAN = SPATIAL_MODELS.index("weighted")

LOUDEST = np.float32(1e12)
"""Analysis takes samples beyond this, +240 dBFS, and those that are not finite for silence, so that the
spectrogram and its sums stay finite."""
SILENT = np.float32(1e-37)
"""Below this sum of the medians a bin belongs to nobody."""
SPATIAL_MEMORY_S = 2.3
"""Of the mean of the spatial covariances: 100 frames at the paper's hop."""
SPATIAL_CHANNELS = 8
MOST_GIB = 1
"""Of the frames that are kept for the kernels."""


@compiled
def make_mask(own: Any, rival: Any, mask: Any, power: float, margin: float, split: float, hard: bool) -> None:
    """Mask of a source by equation 7 with R = I: ``own**power / (own**power + (margin * rival)**power)``.

    Parameters
    ----------
    own, rival
        (bins,) float32, spectrograms of the source and of the others together, as energies; power and margin
        apply to their square roots.
    mask
        (bins,) float32; overwritten.
    power, margin
        Exponent, and what the rival is multiplied with.
    split
        The soft mask where both spectrograms vanish.
    hard
        All or nothing, to the larger.
    """
    weight, both_vanish = np.float32(margin**2), np.float32(split)
    one, nothing = np.float32(1), np.float32(0)
    if hard:
        for f in range(mask.shape[0]):
            mask[f] = one if own[f] > rival[f] * weight else nothing
    elif power == 2.0:
        for f in range(mask.shape[0]):
            total = own[f] + rival[f] * weight
            mask[f] = own[f] / total if total > SILENT else both_vanish
    else:
        for f in range(mask.shape[0]):
            weighted = rival[f] * weight
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
    stft, channels = f32_matrix(state, STFT), f32_matrix(state, HISTORY).shape[0]
    re, im = stft[2 * slot * channels + c], stft[(2 * slot + 1) * channels + c]
    work, turns, split = f32_matrix(state, WORK), f32_matrix(state, TURNS), f32_matrix(state, SPLIT)
    real_fft(frame, re, im, work, turns, split)


@compiled
def _add_energies(state: int, group: int, frame: int) -> None:
    """Energy of a group's channels, tr C of the mixture."""
    energies, stft = f32_matrix(state, ENERGY), f32_matrix(state, STFT)
    groups, channels = i64_vector(state, SHAPE)[GROUPS], f32_matrix(state, HISTORY).shape[0]
    kept = energies.shape[0] // groups
    energy = energies[group * kept + frame % kept]
    bins = energy.shape[0]
    for f in range(bins):
        energy[f] = np.float32(0)
    first = frame % kept * 2 * channels
    for c in range(first + group, first + (channels if groups == 1 else group + 1)):
        x, y = stft[c], stft[channels + c]
        for f in range(bins):
            energy[f] += x[f] * x[f] + y[f] * y[f]


@compiled
def _observed_row(source: Any, iteration: int, group: int, groups: int, frame: int) -> int:
    """Row of OBSERVED that has z of a source as an iteration observes it."""
    row: int = source[OBSERVED_AT] + (iteration * groups + group) * source[DEPTH] + frame % source[DEPTH]
    return row


@compiled
def _estimate(state: int, iteration: int, group: int, newest: int, parity: int) -> None:
    """Step 4d: every source's spectrogram, look-ahead frames before the newest, as medians of z."""
    sources, shape = i64_matrix(state, SOURCES), i64_vector(state, SHAPE)
    observed, spectrograms = f32_matrix(state, OBSERVED), f32_matrix(state, SPECTROGRAMS)
    bins = spectrograms.shape[1]
    centre = newest - shape[LOOKAHEAD]
    if iteration == 0 and shape[ESTIMATE]:
        call_kernel(shape[ESTIMATE], state, group, 0, newest, 0, 0)
        return
    for j in range(sources.shape[0]):
        source, out = sources[j], spectrograms[j]
        for k in range(source[COUNT]):
            median = out if k == 0 else f32_vector(state, MEDIAN)
            _median(state, source, k, iteration, group, centre, parity, median)
            # Of 2 ** m kernels the geometric mean: the product of the roots, m times square.
            roots = source[COUNT]
            while roots > 1:
                for f in range(bins):
                    median[f] = np.sqrt(median[f])
                roots //= 2
            if k > 0:
                for f in range(bins):
                    out[f] *= median[f]
        if source[BOUNDED]:
            z = observed[_observed_row(source, iteration, group, shape[GROUPS], centre)]
            weight = f32_vector(state, WEIGHTS)[j]
            for f in range(bins):
                out[f] = weight * min(out[f], z[f])


@compiled
def _median(
    state: int, source: Any, k: int, iteration: int, group: int, centre: int, parity: int, out: Any
) -> None:
    """Equation 10 for a frame and one of a source's kernels, into ``out`` (bins,)."""
    shape, kernel = i64_vector(state, SHAPE), i64_matrix(state, KERNELS)[source[FIRST] + k]
    observed, rows = f32_matrix(state, OBSERVED), f32_matrix(state, ROWS)
    groups, size, bins = shape[GROUPS], kernel[SIZE], out.shape[0]
    if kernel[KIND] == ALONG_TIME:
        entering, columns = centre + kernel[AHEAD], f32_matrix(state, COLUMNS)
        before = ((1 - parity) * shape[ITERATIONS] + iteration) * groups + group
        after = (parity * shape[ITERATIONS] + iteration) * groups + group
        before, after = kernel[COLUMNS_AT] + before * size, kernel[COLUMNS_AT] + after * size
        moved = columns[after : after + size]
        slide_sorted_columns(
            columns[before : before + size],
            moved,
            observed[_observed_row(source, iteration, group, groups, entering - size)],
            observed[_observed_row(source, iteration, group, groups, entering)],
        )
        middle = moved[size // 2]
        for f in range(bins):
            out[f] = middle[f]
    elif kernel[KIND] == ALONG_FREQUENCY:
        z = observed[_observed_row(source, iteration, group, groups, centre)]
        median_over_frequency(z, out, size, f32_vector(state, PADDED), rows)
    else:
        offsets, networks = i64_matrix(state, OFFSETS), i64_matrix(state, NETWORKS)
        for i in range(size):
            offset = offsets[kernel[OFFSETS_AT] + i]
            row = _observed_row(source, iteration, group, groups, centre + offset[1])
            shift(observed[row], bins, offset[0], rows[i])
        sort_partly(rows, networks[kernel[NETWORK_AT] : kernel[NETWORK_AT] + kernel[NETWORK]], bins)
        lower, upper = rows[(size - 1) // 2], rows[size // 2]
        for f in range(bins):
            out[f] = np.float32(0.5) * (lower[f] + upper[f])


@kernel
def learned_kernel(state: int, group: int, _outputs: int, newest: int, _params: int, _context: int) -> int:
    """The learned mask and what it lacks to 1, weighed, in place of the spectrograms of two sources.

    A function of its own, called by its address: only who uses it compiles it, and it is not compiled once
    more with every caller.
    """
    shape, stft = i64_vector(state, SHAPE), f32_matrix(state, STFT)
    spectrograms, channels = f32_matrix(state, SPECTROGRAMS), f32_matrix(state, HISTORY).shape[0]
    kept = shape[LOOKAHEAD] * shape[ITERATIONS] + 1
    first = newest % kept * 2 * channels + group
    last = first + (channels if shape[GROUPS] == 1 else 1)
    mask, rest = spectrograms[0], spectrograms[1]
    bins, learned = mask.shape[0], mask
    if bins != fusion.BINS:
        copied, both = f32_matrix(state, LEARNED_STFT), min(bins, fusion.BINS)
        for row in range(2 * channels):
            source, target = stft[newest % kept * 2 * channels + row], copied[row]
            for f in range(both):
                target[f] = source[f]
        stft, learned = copied, copied[2 * channels]
        first, last = group, group + last - first
    fusion.learned_mask(
        newest,
        stft[first:last],
        stft[first + channels : last + channels],
        learned,
        f32_cube(state, LEARNED)[group],
        f32_matrix(state, LEARNED_BINS),
        f32_matrix(state, LEARNED_WORK),
        f32_matrix(state, LEARNED_WEIGHTS),
        f32_matrix(state, LEARNED_POSITION),
    )
    if bins != fusion.BINS:
        for f in range(bins):
            mask[f] = learned[min(f, fusion.BINS - 1)]
    for f in range(bins):
        rest[f] = fusion.PERCUSSIVE * (np.float32(1) - mask[f])
    return 0


@compiled
def _gather_rivals(state: int, j: int, power: float, hard: bool) -> int:
    """Row of SPECTROGRAMS with what competes with a source: the other one, or all others together, so that
    the mask of the two is the mask among all.
    """
    spectrograms = f32_matrix(state, SPECTROGRAMS)
    sources, bins = spectrograms.shape[0] - 1, spectrograms.shape[1]
    if sources == 2:
        return 1 - j
    last: int = sources
    rivals = spectrograms[last]
    for f in range(bins):
        rivals[f] = np.float32(0)
    for k in range(sources):
        other = spectrograms[k]
        if k == j:
            continue
        if hard:
            for f in range(bins):
                rivals[f] = max(rivals[f], other[f])
        elif power == 2.0:
            for f in range(bins):
                rivals[f] += other[f]
        else:
            for f in range(bins):
                low, high = min(rivals[f], other[f]), max(rivals[f], other[f])
                ratio = np.float64(low) / np.float64(high) if high > SILENT else 0.0
                rivals[f] = np.float32(np.float64(high) * (1.0 + ratio ** (0.5 * power)) ** (2.0 / power))
    return last


@compiled
def _weigh(state: int, j: int, power: float, margin: float, split: float, hard: bool) -> None:
    """Spectrograms as equation 7 weighs them for a source, relative to the largest: to the power, and the
    others' with the margin. Where all are silent they are equal, or the source has none: with a hard mask, or
    if ``split`` is 0.
    """
    spectrograms, weighted = f32_matrix(state, SPECTROGRAMS), f32_matrix(state, WEIGHTED)
    sources, bins = weighted.shape[0], weighted.shape[1]
    for f in range(bins):
        largest = np.float32(0)
        for k in range(sources):
            largest = max(largest, spectrograms[k, f])
        own, rival = spectrograms[j, f], np.float32(0)
        for k in range(sources):
            if k != j:
                rival = max(rival, spectrograms[k, f])
        for k in range(sources):
            if largest <= SILENT:
                weight = 1.0 if k != j or (split > 0.0 and not hard) else 0.0
            elif hard:
                weight = 1.0 if (own > rival * margin**2) == (k == j) else 0.0
            else:
                weight = (np.float64(spectrograms[k, f]) / np.float64(largest)) ** (0.5 * power)
                if k != j:
                    weight *= margin**power
            weighted[k, f] = np.float32(weight)


@compiled
def _filter(state: int, iteration: int, j: int, slot: int, out: Any) -> None:
    """Equation 7: a source's STFT (2 * channels, bins) from the mixture's in a slot, with WEIGHTED."""
    stft, weighted = f32_matrix(state, STFT), f32_matrix(state, WEIGHTED)
    covariances, mixed = f64_matrix(state, COVARIANCES), f64_matrix(state, MIXED)
    entries, sources, channels = mixed.shape[0], weighted.shape[0], out.shape[0] // 2
    spatial.clear(mixed)
    for k in range(sources):
        model = _model(iteration, k, sources) * entries
        spatial.add_model(mixed, covariances[model : model + entries], weighted[k], channels)
    solved = f64_matrix(state, SOLVED)
    spectrum = stft[2 * slot * channels : 2 * (slot + 1) * channels]
    spatial.solve(mixed, spectrum, solved, f64_matrix(state, SMALL))
    model = _model(iteration, j, sources) * entries
    spatial.apply_model(covariances[model : model + entries], weighted[j], solved, out)


@compiled
def _model(iteration: int, j: int, sources: int) -> int:
    """Number of a source's covariance; at the first iteration all sources are the mixture's share."""
    return 0 if iteration == 0 else 1 + (iteration - 1) * sources + j


@compiled
def _learn(state: int, iteration: int, j: int, stft: Any, z: Any) -> None:
    """Steps 4a to 4c: learn a source's covariance from its STFT, and write its z."""
    covariances, mixed = f64_matrix(state, COVARIANCES), f64_matrix(state, MIXED)
    solved, ones = f64_matrix(state, SOLVED), f32_matrix(state, WEIGHTED)[0]
    entries, channels = mixed.shape[0], stft.shape[0] // 2
    number = _model(iteration, j, i64_matrix(state, SOURCES).shape[0])
    covariance = covariances[number * entries : (number + 1) * entries]
    keep, weighted = f64_vector(state, SHARPNESS)[KEEP], i64_vector(state, SHAPE)[SPATIAL] == WEIGHTED_MEAN
    seen = f64_matrix(state, SEEN)[number]
    spatial.learn(stft, covariance, seen, keep, weighted, solved[0], solved[1])
    for f in range(ones.shape[0]):
        ones[f] = np.float32(1)
    spatial.clear(mixed)
    spatial.add_model(mixed, covariance, ones, channels)
    spatial.solve(mixed, stft, solved, f64_matrix(state, SMALL))
    spatial.project(stft, solved, z)


@compiled
def _observe(state: int, iteration: int, group: int, frame: int) -> None:
    """What an iteration takes for the sources of a frame: steps 3 and 4a to 4c, with the spectrograms of the
    iteration before; at first the mixture, less a factor common to all sources, which cancels.
    """
    sources, shape = i64_matrix(state, SOURCES), i64_vector(state, SHAPE)
    observed, spectrograms = f32_matrix(state, OBSERVED), f32_matrix(state, SPECTROGRAMS)
    filtered, groups = f32_matrix(state, FILTERED), shape[GROUPS]
    kept, count = shape[LOOKAHEAD] * shape[ITERATIONS] + 1, sources.shape[0]
    energy = f32_matrix(state, ENERGY)[group * kept + frame % kept]
    for j in range(count):
        z = observed[_observed_row(sources[j], iteration, group, groups, frame)]
        if iteration == 0 and j > 0:
            same = observed[_observed_row(sources[0], iteration, group, groups, frame)]
            for f in range(z.shape[0]):
                z[f] = same[f]
        elif shape[SPATIAL]:
            stft, rows = f32_matrix(state, STFT), filtered.shape[0]
            slot = frame % kept
            if iteration == 0:
                _learn(state, iteration, j, stft[slot * rows : (slot + 1) * rows], z)
            else:
                _weigh(state, j, 2.0, 1.0, 1.0, False)
                _filter(state, iteration - 1, j, slot, filtered)
                _learn(state, iteration, j, filtered, z)
        elif iteration == 0:
            for f in range(z.shape[0]):
                z[f] = energy[f]
        else:
            mask, rivals = filtered[0], spectrograms[_gather_rivals(state, j, 2.0, False)]
            make_mask(spectrograms[j], rivals, mask, 2.0, 1.0, 1.0 / count, False)
            for f in range(z.shape[0]):
                z[f] = mask[f] * mask[f] * energy[f]


@compiled
def _finish(state: int, iteration: int, group: int, frame: int) -> None:
    """Filters of the sources that are heard after this iteration (step 6)."""
    sources, shape = i64_matrix(state, SOURCES), i64_vector(state, SHAPE)
    sharpness, filters = f64_vector(state, SHARPNESS), f32_matrix(state, FILTERS)
    spectrograms, filtered = f32_matrix(state, SPECTROGRAMS), f32_matrix(state, FILTERED)
    power, hard, count = sharpness[POWER], shape[HARD] != 0, sources.shape[0]
    split = 1.0 / count if shape[SHARED] else 0.0
    for j in range(count):
        source = sources[j]
        if source[AFTER] != iteration + 1:
            continue
        margin, waiting = sharpness[MARGINS + j], source[WAITING]
        if shape[SPATIAL]:
            kept, rows = shape[LOOKAHEAD] * shape[ITERATIONS] + 1, filtered.shape[0]
            _weigh(state, j, power, margin, split, hard)
            row = source[FILTERS_AT] + frame % waiting * rows
            _filter(state, iteration, j, frame % kept, filters[row : row + rows])
        else:
            mask = filters[source[FILTERS_AT] + group * waiting + frame % waiting]
            rivals = spectrograms[_gather_rivals(state, j, power, hard)]
            make_mask(spectrograms[j], rivals, mask, power, margin, split, hard)


@compiled
def _synthesise(state: int, c: int, j: int, frame: int, parity: int, y: Any) -> None:
    """Overlap-add a source's filtered spectrum of a channel and give out the first hop."""
    source, shape = i64_matrix(state, SOURCES)[j], i64_vector(state, SHAPE)
    filters, filtered = f32_matrix(state, FILTERS), f32_matrix(state, FILTERED)
    channels = filtered.shape[0] // 2
    waiting = source[WAITING]
    if shape[SPATIAL]:
        row = source[FILTERS_AT] + frame % waiting * 2 * channels + c
        re, im = filters[row], filters[row + channels]
    else:
        group = 0 if shape[GROUPS] == 1 else c
        mask = filters[source[FILTERS_AT] + group * waiting + frame % waiting]
        kept = shape[LOOKAHEAD] * shape[ITERATIONS] + 1
        row = frame % kept * 2 * channels + c
        mixture_re, mixture_im = f32_matrix(state, STFT)[row], f32_matrix(state, STFT)[row + channels]
        re, im = filtered[0], filtered[1]
        for f in range(mask.shape[0]):
            re[f] = mixture_re[f] * mask[f]
            im[f] = mixture_im[f] * mask[f]
    last, overlap = f32_vector(state, FRAME), f32_cube(state, OVERLAP)
    work, turns, split = f32_matrix(state, WORK), f32_matrix(state, TURNS), f32_matrix(state, SPLIT)
    inverse_real_fft(re, im, last, work, turns, split)
    hop, synthesis = y.shape[0], overlap.shape[2]
    begin = last.shape[0] - synthesis
    last, window = last[begin:], f32_matrix(state, WINDOWS)[1][begin:]
    before, after = overlap[1 - parity, j * channels + c][hop:], overlap[parity, j * channels + c]
    for i in range(synthesis - hop):
        after[i] = before[i] + last[i] * window[i]
    for i in range(synthesis - hop, synthesis):
        after[i] = last[i] * window[i]
    for i in range(hop):
        y[i] = after[i]


@compiled
def _complete(state: int, c: int, at: int, outputs: int, n: int) -> None:
    """Write what a channel's synthesised sources lack to its delayed input: into the last source where all is
    shared out, else into the residual. Other outputs are silent.
    """
    history, shape = f32_matrix(state, HISTORY)[c], i64_vector(state, SHAPE)
    channels, sources = f32_matrix(state, HISTORY).shape[0], i64_matrix(state, SOURCES).shape[0]
    kept, ports = history.shape[0] // 2, shape[PORTS]
    begin = at % kept + kept - shape[LATENCY]
    x = history[begin : begin + n]
    synthesised = sources - 1 if shape[SHARED] else sources
    rest = synthesised if shape[SHARED] else ports - 1
    total = channel(outputs, rest * channels + c, n)
    first = channel(outputs, c, n)
    for i in range(n):
        total[i] = first[i]
    for j in range(1, synthesised):
        part = channel(outputs, j * channels + c, n)
        for i in range(n):
            total[i] += part[i]
    for i in range(n):
        total[i] = x[i] - total[i]
    for port in range(synthesised, ports):
        if port != rest:
            silent = channel(outputs, port * channels + c, n)
            for i in range(n):
                silent[i] = np.float32(0)


@kernel
def kam_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The kernel of `Separator`: one hop."""
    shape, sources = i64_vector(state, SHAPE), i64_matrix(state, SOURCES)
    lookahead, iterations, groups = shape[LOOKAHEAD], shape[ITERATIONS], shape[GROUPS]
    channels, kept = f32_matrix(state, HISTORY).shape[0], lookahead * iterations + 1
    at = position(context)
    frame = at // shape[HOP]
    parity = frame & 1
    for c in range(channels):
        _analyse(state, c, frame % kept, at, channel(inputs, c, n))
    for group in range(groups):
        _add_energies(state, group, frame)
        for iteration in range(iterations):
            newest = frame - iteration * lookahead
            _observe(state, iteration, group, newest)
            _estimate(state, iteration, group, newest, parity)
            _finish(state, iteration, group, newest - lookahead)
    heard = frame - iterations * lookahead
    for j in range(sources.shape[0] - (1 if shape[SHARED] else 0)):
        for c in range(channels):
            _synthesise(state, c, j, heard, parity, channel(outputs, j * channels + c, n))
    for c in range(channels):
        _complete(state, c, at, outputs, n)
    return 0


Offset = tuple[int, int]
"""A neighbour: bins above, frames after."""


@dataclass(frozen=True)
class Source:
    """What a separator takes for a source.

    Parameters
    ----------
    kernels
        The proximity kernel; or 2, 4 or 8, whose medians' geometric mean is the spectrogram.
    iterations
        After which the source is heard, from 1.
    margin
        What the others are multiplied with in the source's mask.
    weight
        If not None, the spectrogram is nowhere more than what is there, and then multiplied with this.
    """

    kernels: tuple[tuple[Offset, ...], ...]
    iterations: int = 1
    margin: float = 1.0
    weight: float | None = None


def along_time(size: int, lookahead: int) -> tuple[Offset, ...]:
    """Equation 12, ``p = -k ... k`` frames with ``size = 2 k + 1``; less look-ahead shifts it back."""
    ahead = min(lookahead, size // 2)
    return tuple((0, p) for p in range(ahead - size + 1, ahead + 1))


def along_frequency(size: int) -> tuple[Offset, ...]:
    """Equation 11, ``p = -l ... l`` bins with ``size = 2 l + 1``."""
    return tuple((p, 0) for p in range(-(size // 2), size // 2 + 1))


def _kind(offsets: Sequence[Offset]) -> int:
    """Which of the faster medians fits a kernel."""
    bins, frames = sorted({df for df, _ in offsets}), sorted({dt for _, dt in offsets})
    size = len(offsets)
    if size >= 3 and size % 2 and bins == [0] and frames == list(range(frames[0], frames[-1] + 1)):
        return ALONG_TIME
    if size >= 3 and frames == [0] and bins == list(range(-(size // 2), size // 2 + 1)):
        return ALONG_FREQUENCY
    return ANY_SET


number = partial(Parameter, automatable=False)
choice = partial(Parameter, scale="choice", automatable=False)


def framing(hop: int, synthesis: int, lookahead: int) -> tuple[Parameter, ...]:
    """Parameters of the STFT, with their defaults."""
    return (
        choice("n_fft", "4096", unit="samples", choices=tuple(map(str, SIZES)), doc="analysis window"),
        choice("hop", str(hop), unit="samples", choices=HOPS, doc="between frames"),
        choice(
            "synthesis",
            str(synthesis),
            unit="samples",
            choices=("128", *map(str, SIZES)),
            doc="synthesis window; shorter than n_fft gives the asymmetric pair",
        ),
        number("lookahead", lookahead, 0, 32, "frames", "integer", doc="of every iteration"),
    )


MASKS = (
    choice("channels", "linked", choices=("linked", "independent"), doc="one mask for all, or one each"),
    choice(
        "spatial",
        "none",
        choices=SPATIAL_MODELS,
        doc="covariance of the channels per source, mean over frames as printed (uniform) or by their energy",
    ),
    choice("mask", "soft", choices=("soft", "hard"), doc="Wiener mask, or all or nothing"),
    number("power", 2.0, 0.5, 8.0, doc="exponent of the magnitudes in the soft mask"),
)
MOST_ITERATIONS = 10


class Separator(Processor):
    """Base of the separators: a port per source, in the order of `sources`, and last the residual.

    All outputs sum to the input, delayed by ``synthesis - hop + iterations * lookahead * hop`` samples. The
    residual is silent unless a source has a margin or sources differ in iterations. With one channel the
    spatial model has nothing to learn and is left out.
    """

    fallback = "harmonic"
    tolerance = 1e-6
    KERNEL = kam_kernel

    learned = False
    """Whether a network estimates the spectrograms of the first iteration."""

    def __init__(self, **values: Value) -> None:
        super().__init__(**values)
        self.n_fft, self.hop = int(self.values["n_fft"]), int(self.values["hop"])
        self.synthesis = int(self.values["synthesis"])
        self.lookahead = int(self.values["lookahead"])
        for problem in check_sizes(self.n_fft, self.hop, self.synthesis):
            raise UserError(f"{self.id}: {problem}")
        if self.values["spatial"] != "none" and self.values["channels"] == "independent":
            model = self.values["spatial"]
            raise UserError(f"{self.id}: spatial={model} models the channels together: use channels=linked")

    def fit(self, rate: int) -> None:
        """Lengths for the rate: as many samples as there are parameters for at 44.1 and 48 kHz, elsewhere the
        power of two times as many that lasts about as long.
        """
        factor = max(2.0 ** round(math.log2(rate / 44_100)), SIZES[0] / int(self.values["n_fft"]))
        self.n_fft, self.hop, self.synthesis = (
            int(int(self.values[name]) * factor) for name in ("n_fft", "hop", "synthesis")
        )

    def sources(self) -> Sequence[Source]:
        """The sources, two or three. Engines implement it; ``rate`` is known."""
        raise NotImplementedError

    def allocate(self) -> Sequence[NDArray[Any]]:
        """State: see the names of the arrays at the top of this module."""
        values, channels, lookahead = self.values, self.channels, self.lookahead
        hop = self.hop or 0
        model = SPATIAL_MODELS.index(str(values["spatial"])) if channels > 1 else 0
        with_space = model != 0
        if with_space and channels > SPATIAL_CHANNELS:
            most = f"up to {SPATIAL_CHANNELS} channels, not {channels}"
            raise UserError(f"{self.id}: spatial={values['spatial']} takes {most}: use spatial=none")
        told = self.sources()
        count, bins = len(told), self.n_fft // 2 + 1
        iterations = max(source.iterations for source in told)
        shared = all(source.margin == 1.0 and source.iterations == iterations for source in told)
        groups = 1 if values["channels"] == "linked" else channels
        kept = iterations * lookahead + 1
        self.latency = self.synthesis - hop + iterations * lookahead * hop
        self.tail = self.n_fft - 1  # The last frame that holds the last sample may begin with it.

        sources = np.zeros((count, SOURCE_WORDS), np.int64)
        kernels: list[NDArray[np.int64]] = []
        offsets: list[Offset] = []
        networks = [np.zeros((0, 2), np.int64)]
        observed = sorted_rows = filters = 0
        for j, (words, source) in enumerate(zip(sources, told, strict=True)):
            words[FIRST], words[COUNT], words[BOUNDED] = (
                len(kernels),
                len(source.kernels),
                source.weight is not None,
            )
            earliest = 0
            for near in source.kernels:
                row, size = np.zeros(KERNEL_WORDS, np.int64), len(near)
                row[KIND], row[SIZE], row[AHEAD] = _kind(near), size, max(dt for _, dt in near)
                row[COLUMNS_AT] = sorted_rows
                along_time = row[KIND] == ALONG_TIME
                # Sorted columns let go of the frame before the first in the kernel.
                earliest = min(earliest, *(dt for _, dt in near), row[AHEAD] - size if along_time else 0)
                if along_time:
                    sorted_rows += 2 * iterations * groups * size
                elif row[KIND] == ANY_SET:
                    network = median_network(size)
                    row[OFFSETS_AT], row[NETWORK_AT] = len(offsets), sum(map(len, networks))
                    row[NETWORK] = len(network)
                    offsets += near
                    networks.append(network)
                kernels.append(row)
            words[DEPTH], words[OBSERVED_AT] = lookahead + 1 - earliest, observed
            observed += iterations * groups * words[DEPTH]
            if j < count - 1 or not shared:
                words[AFTER], words[FILTERS_AT] = source.iterations, filters
                words[WAITING] = (iterations - source.iterations) * lookahead + 1
                filters += words[WAITING] * (2 * channels if with_space else groups)

        kept_gib = 4 * observed * bins / 2**30
        if kept_gib > MOST_GIB:
            raise UserError(
                f"{self.id}: these kernels and iterations keep {kept_gib:.1f} GiB of frames, at most "
                f"{MOST_GIB}: use fewer iterations, a longer hop or a nearer kernel"
            )

        models = 1 + (iterations - 1) * count if with_space else 0
        zeros = {
            WORK: (4, self.n_fft // 2),
            FRAME: (self.n_fft,),
            HISTORY: (channels, 2 * max(self.n_fft, self.latency + hop)),
            STFT: (2 * channels * kept, bins),
            ENERGY: (groups * kept, bins),
            OBSERVED: (observed, bins),
            COLUMNS: (sorted_rows, bins),
            SPECTROGRAMS: (count + 1, bins),
            FILTERS: (filters, bins),
            FILTERED: (2 * channels, bins),
            OVERLAP: (2, channels * (count - 1 if shared else count), self.synthesis),
            WEIGHTED: (count, bins),
            MEDIAN: (bins,),
        }
        arrays: dict[int, NDArray[Any]] = {
            place: np.zeros(shape, np.float32) for place, shape in zeros.items()
        }
        arrays[WINDOWS] = np.stack(windows(self.n_fft, hop, self.synthesis))
        arrays[TURNS], arrays[SPLIT] = fft_tables(self.n_fft)
        arrays[KERNELS] = np.stack(kernels)
        arrays[WEIGHTS] = np.array([source.weight or 1.0 for source in told], np.float32)
        arrays[PADDED], arrays[ROWS] = scratch(bins, int(arrays[KERNELS][:, SIZE].max()))
        arrays[NETWORKS] = np.concatenate(networks)
        arrays[OFFSETS] = np.array(offsets, np.int64).reshape(-1, 2)
        arrays[SOURCES] = sources
        shape = np.zeros(SHAPE_WORDS, np.int64)
        shape[[HOP, LOOKAHEAD, LATENCY, ITERATIONS, GROUPS]] = (
            hop,
            lookahead,
            self.latency,
            iterations,
            groups,
        )
        shape[ESTIMATE] = learned_kernel.address if self.learned else 0
        shape[[HARD, SHARED, SPATIAL]] = values["mask"] == "hard", shared, model
        shape[PORTS] = len(self.outputs)
        arrays[SHAPE] = shape
        keep = 1.0 - hop / (SPATIAL_MEMORY_S * self.rate)
        arrays[SHARPNESS] = np.array([values["power"], keep, *(source.margin for source in told)], float)
        arrays[COVARIANCES] = np.zeros((models * channels**2, bins))
        for first in range(0, models * channels**2, channels**2):
            arrays[COVARIANCES][first : first + channels] = 1.0
        arrays[SEEN] = np.full((models, bins), 0.0 if model == WEIGHTED_MEAN else 1.0)
        arrays[MIXED] = np.zeros((channels**2 if with_space else 0, bins))
        arrays[SOLVED] = np.zeros((2 * channels if with_space else 0, bins))
        arrays[SMALL] = np.zeros((2 * channels + 2, channels))
        arrays |= self._allocate_learned(groups, bins)
        return [arrays[place] for place in range(len(arrays))]

    def _allocate_learned(self, groups: int, bins: int) -> dict[int, NDArray[Any]]:
        if not self.learned:
            empty = np.zeros((0, 0), np.float32)
            return {LEARNED: empty[None], **dict.fromkeys(range(LEARNED_BINS, LEARNED_STFT + 1), empty)}
        model, state = fusion.load(), fusion.allocate(groups)
        return {
            LEARNED: state.memory,
            LEARNED_BINS: state.bins,
            LEARNED_WORK: state.work,
            LEARNED_WEIGHTS: model.weights,
            LEARNED_POSITION: model.position,
            LEARNED_STFT: np.zeros(
                (0 if bins == fusion.BINS else 2 * self.channels + 1, fusion.BINS), np.float32
            ),
        }
