"""`engines.fusion` in plain numpy and double precision: what its tests compare with."""

import numpy as np
from scipy.ndimage import median_filter

SEGMENTS = ((0, 192, 1), (192, 384, 2), (384, 768, 4), (768, 2048, 8))
BANDS = ((0, 48), (48, 192), (192, 384), (384, 544))
TIME_SIZES, FREQUENCY_SIZES = (5, 9, 17, 33), (9, 17)


def pooled(bins):
    """Means over the units: (frames, 2049) to (frames, 544). The last bin, half the rate, is left out."""
    parts = [bins[:, a:b].reshape(len(bins), -1, width).mean(-1) for a, b, width in SEGMENTS]
    return np.concatenate(parts, 1)


def spread(values):
    """The value of its unit for every bin: (frames, 544) to (frames, 2049)."""
    widths = np.concatenate([np.full((b - a) // width, width) for a, b, width in SEGMENTS])
    widths[-1] += 1
    return np.repeat(values, widths, axis=1)


def features(spectra):
    """(channels, frames, 2049) complex to (frames, 12, 544)."""
    spectra = np.asarray(spectra, np.complex128)
    energy = np.mean(np.abs(spectra) ** 2, 0)
    turn = np.mean(spectra[:, :, 1:] * spectra[:, :, :-1].conj(), 0)
    turn = np.pad(turn, ((0, 0), (1, 0))) + np.pad(turn, ((0, 0), (0, 1)))
    beside = np.pad(energy, ((0, 0), (1, 1)))
    around = energy + 0.5 * (beside[:, :-2] + beside[:, 2:])
    units = pooled(energy)

    level, levels = 0.0, []
    for mean in units.mean(1):
        level = mean if level == 0 else level + 0.01 * (mean - level)
        levels.append(level)
    levels = np.array(levels)[:, None]
    floor = 1e-9 * levels + 1e-30

    def delayed(values, frames, before):
        past = np.full((frames, values.shape[1]), before)
        return np.concatenate([past, values])[: len(values)]

    def difference(a, b):
        return np.clip(a - b, -16, 16) / 4

    logs = np.log2(units + floor)
    medians = []
    for size in TIME_SIZES:
        past = np.pad(units, ((size - 1, 0), (0, 0)))
        medians.append(np.median(np.lib.stride_tricks.sliding_window_view(past, size, axis=0), -1))
    medians += [median_filter(units, (1, size), mode="reflect") for size in FREQUENCY_SIZES]
    found = [difference(np.log2(median + floor), logs) for median in medians]
    silence = np.log2(1e-30)
    rise = difference(logs, delayed(logs, 1, silence))
    found += [rise, difference(logs, delayed(logs, 4, silence)), difference(logs, np.log2(levels + 1e-30))]
    rises = np.pad(np.maximum(rise, 0), ((0, 0), (16, 15)))
    found.append(np.lib.stride_tricks.sliding_window_view(rises, 32, axis=1).mean(-1))
    turned = pooled(turn) / (pooled(around) + floor)
    found += [turned.real, turned.imag]
    return np.stack(found, 1)


def sigmoid(x):
    return (1 + x / np.sqrt(1 + x * x)) / 2


def relu(x):
    return np.maximum(x, 0)


def network(seen, tables, position):
    """(frames, 12, 544) to masks (frames, 544) of the frame before; ``tables``: name to (inputs, outputs)."""
    width = position.shape[0]
    state, broad, masks = np.zeros(position.shape), np.zeros(width), []
    before = np.zeros(seen.shape[1:])
    biases = tables["biases"]

    def taps(name, x, apart):
        wide = np.pad(x, ((0, 0), (apart, apart)))
        count = x.shape[1]
        parts = [
            tables[name][k * width : (k + 1) * width].T @ wide[:, k * apart :][:, :count] for k in range(3)
        ]
        return sum(parts)

    for x in seen:
        first = relu(position + tables["input"].T @ np.concatenate([x, before]))
        second = relu(taps("near", first, 1) + biases[0][:, None])
        gate = sigmoid(tables["gate"].T @ second + biases[1][:, None])
        candidate = tables["candidate"].T @ second + biases[2][:, None]
        state = state + gate * (candidate - state)
        means = np.concatenate([second[:, a:b].mean(1) for a, b in BANDS])
        gate = sigmoid(tables["broad_gate"].T @ means + biases[3])
        broad = broad + gate * (tables["broad_candidate"].T @ means + biases[4] - broad)
        last = taps("far", state, 4) + tables["across"].T @ second + biases[5][:, None]
        for k, (a, b) in enumerate(BANDS):
            last[:, a:b] += (tables["broad_out"][k * width : (k + 1) * width].T @ broad)[:, None]
        output, direct = tables["output"]
        values = output @ relu(last) + direct[: len(x)] @ x + biases[6, 0]
        masks.append(sigmoid(values))
        before = x
    return np.array(masks)


def masks(spectra, tables, position):
    """Masks (frames, 2049) of the frame before each; 0.5 where that frame is silent."""
    spectra = np.asarray(spectra, np.complex128)
    energy = pooled(np.mean(np.abs(spectra) ** 2, 0))
    silent = np.concatenate([np.zeros((1, energy.shape[1])), energy])[:-1] == 0
    return spread(np.where(silent, 0.5, network(features(spectra), tables, position)))
