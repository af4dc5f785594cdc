"""Spatial covariances of the multichannel local Gaussian model, streaming.

D. FitzGerald, A. Liutkus, Z. Rafii, B. Pardo, L. Daudet, "Harmonic/percussive separation using kernel
additive modelling", ISSC 2014: equations 5 to 7, Algorithm 1 steps 3 and 4a to 4c.

A covariance R(f) of I channels is Hermitian with trace I. It is stored as (I * I, bins) float64: the
diagonal, then real and imaginary part of every entry above it, row by row. An STFT of I channels is
(2 * I, bins) float32: the real parts of all channels, then the imaginary parts.

The paper's mean over all frames (step 4b) cannot be known while they come in: here it is the mean so far,
which forgets exponentially. As printed, every frame has the weight 1 in it. Then C / tr C does not depend on
the mask that made s from the mixture, all sources keep the same R, and the model tells none from another.
Weighted by energy, as the maximum likelihood of the model has it (N. Duong, E. Vincent, R. Gribonval,
"Under-determined reverberant audio source separation using a full-rank spatial covariance model", IEEE TASLP
2010), it does. Both are offered.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rtaudio.native import compiled

DIFFUSE = 0.05
"""Share of the identity in every covariance that is inverted (as in `norbert`'s regularisation)."""
FLOOR = 1e-6
"""Energy, relative to the loudest bin of the frame, at which a bin counts half as the identity: what is 60 dB
below tells rounding errors rather than places."""
SILENT = 1e-37


@compiled
def learn(stft: Any, covariance: Any, seen: Any, keep: float, weighted: bool, energy: Any, gain: Any) -> None:
    """Steps 4a and 4b for a new frame: C = s s*, R <- mean of I C / tr C.

    Parameters
    ----------
    stft
        (2 * channels, bins) float32, the frame.
    covariance
        (channels ** 2, bins) float64; updated.
    seen
        (bins,) float64: weight of all frames in the mean; updated.
    keep
        What is kept of it from frame to frame, up to 1.
    weighted
        Whether a frame has the weight of its energy, or 1.
    energy, gain
        (bins,) float64 scratch.
    """
    channels, bins = stft.shape[0] // 2, energy.shape[0]
    for f in range(bins):
        energy[f] = 0.0
    for row in range(2 * channels):
        part = stft[row]
        for f in range(bins):
            energy[f] += np.float64(part[f]) * np.float64(part[f])
    loudest = 0.0
    for f in range(bins):
        loudest = max(loudest, energy[f])
    if loudest <= SILENT:
        return
    floor = FLOOR * loudest
    for f in range(bins):
        weight = energy[f] + floor if weighted else 1.0
        seen[f] = keep * seen[f] + weight
        gain[f] = weight / seen[f]
        energy[f] = channels / (energy[f] + floor)
    row = channels
    for a in range(channels):
        re, im, mean = stft[a], stft[channels + a], covariance[a]
        for f in range(bins):
            x, y = np.float64(re[f]), np.float64(im[f])
            mean[f] += gain[f] * ((x * x + y * y + floor / channels) * energy[f] - mean[f])
        for b in range(a + 1, channels):
            other_re, other_im = stft[b], stft[channels + b]
            mean_re, mean_im = covariance[row], covariance[row + 1]
            row += 2
            for f in range(bins):
                x, y = np.float64(re[f]), np.float64(im[f])
                u, v = np.float64(other_re[f]), np.float64(other_im[f])
                mean_re[f] += gain[f] * ((x * u + y * v) * energy[f] - mean_re[f])
                mean_im[f] += gain[f] * ((y * u - x * v) * energy[f] - mean_im[f])


@compiled
def clear(total: Any) -> None:
    """Set (rows, bins) float64 to 0."""
    for row in range(total.shape[0]):
        part = total[row]
        for f in range(part.shape[0]):
            part[f] = 0.0


@compiled
def add_model(total: Any, covariance: Any, spectrogram: Any, channels: int) -> None:
    """Add a source's s(f, t) R(f), equation 6, to ``total`` (channels ** 2, bins) float64."""
    bins = total.shape[1]
    for row in range(channels * channels):
        diagonal = DIFFUSE if row < channels else 0.0
        part, mean = total[row], covariance[row]
        for f in range(bins):
            part[f] += np.float64(spectrogram[f]) * ((1.0 - DIFFUSE) * mean[f] + diagonal)


@compiled
def solve(model: Any, stft: Any, solved: Any, small: Any) -> None:
    """``model ** -1 stft`` per bin.

    Parameters
    ----------
    model
        (channels ** 2, bins) float64, positive definite or 0; where it is 0 the result is 0.
    stft
        (2 * channels, bins) float32.
    solved
        (2 * channels, bins) float64; overwritten.
    small
        (2 * channels + 2, channels) float64 scratch.
    """
    channels, bins = stft.shape[0] // 2, model.shape[1]
    if channels == 2:
        p, q, u, v = model[0], model[1], model[2], model[3]
        ar, br, ai, bi = stft[0], stft[1], stft[2], stft[3]
        cr, dr, ci, di = solved[0], solved[1], solved[2], solved[3]
        for f in range(bins):
            scale = p[f] + q[f]
            # Entries relative to the trace: their product cannot underflow.
            over = 1.0 / scale if scale > SILENT else 0.0
            pp, qq, uu, vv = p[f] * over, q[f] * over, u[f] * over, v[f] * over
            determinant = pp * qq - uu * uu - vv * vv
            over = over / determinant if determinant > 0.0 else 0.0
            x, y = np.float64(ar[f]), np.float64(ai[f])
            z, w = np.float64(br[f]), np.float64(bi[f])
            cr[f] = (qq * x - uu * z + vv * w) * over
            ci[f] = (qq * y - uu * w - vv * z) * over
            dr[f] = (pp * z - uu * x - vv * y) * over
            di[f] = (pp * w - uu * y + vv * x) * over
        return
    for f in range(bins):
        _solve_bin(model, stft, solved, small, f, channels)


@compiled
def _solve_bin(model: Any, stft: Any, solved: Any, small: Any, f: int, channels: int) -> None:
    """Gauss elimination of a Hermitian positive definite matrix, which needs no pivoting."""
    scale = 0.0
    for a in range(channels):
        scale += model[a, f]
    over = 1.0 / scale if scale > SILENT else 0.0
    row = channels
    for a in range(channels):
        small[a, a], small[channels + a, a] = model[a, f] * over, 0.0
        small[2 * channels, a], small[2 * channels + 1, a] = stft[a, f], stft[channels + a, f]
        for b in range(a + 1, channels):
            re, im = model[row, f] * over, model[row + 1, f] * over
            small[a, b], small[channels + a, b] = re, im
            small[b, a], small[channels + b, a] = re, -im
            row += 2
    for a in range(channels):
        pivot = small[a, a]
        for b in range(a + 1, channels):
            re = small[b, a] / pivot if pivot > 0.0 else 0.0
            im = small[channels + b, a] / pivot if pivot > 0.0 else 0.0
            for c in range(a, channels):
                x, y = small[a, c], small[channels + a, c]
                small[b, c] -= re * x - im * y
                small[channels + b, c] -= re * y + im * x
            x, y = small[2 * channels, a], small[2 * channels + 1, a]
            small[2 * channels, b] -= re * x - im * y
            small[2 * channels + 1, b] -= re * y + im * x
    for a in range(channels - 1, -1, -1):
        x, y = small[2 * channels, a], small[2 * channels + 1, a]
        for c in range(a + 1, channels):
            re, im = small[a, c], small[channels + a, c]
            u, v = small[2 * channels, c], small[2 * channels + 1, c]
            x -= re * u - im * v
            y -= re * v + im * u
        pivot = small[a, a]
        x, y = (x / pivot, y / pivot) if pivot > 0.0 else (0.0, 0.0)
        small[2 * channels, a], small[2 * channels + 1, a] = x, y
        solved[a, f], solved[channels + a, f] = x * over, y * over


@compiled
def apply_model(covariance: Any, spectrogram: Any, solved: Any, out: Any) -> None:
    """``s R solved`` per bin, the left part of equation 7, into ``out`` (2 * channels, bins) float32."""
    channels, bins = out.shape[0] // 2, out.shape[1]
    for a in range(channels):
        re, im = out[a], out[channels + a]
        for f in range(bins):
            re[f] = im[f] = np.float32(0)
        for b in range(channels):
            x, y = solved[b], solved[channels + b]
            if a == b:
                mean = covariance[a]
                for f in range(bins):
                    share = np.float64(spectrogram[f]) * ((1.0 - DIFFUSE) * mean[f] + DIFFUSE)
                    re[f] += np.float32(share * x[f])
                    im[f] += np.float32(share * y[f])
            else:
                low, high = min(a, b), max(a, b)
                row = channels + low * (2 * channels - low - 1) + 2 * (high - low - 1)
                sign = 1.0 if a < b else -1.0
                mean_re, mean_im = covariance[row], covariance[row + 1]
                for f in range(bins):
                    weight = np.float64(spectrogram[f]) * (1.0 - DIFFUSE)
                    u, v = weight * mean_re[f], weight * mean_im[f] * sign
                    re[f] += np.float32(u * x[f] - v * y[f])
                    im[f] += np.float32(u * y[f] + v * x[f])


@compiled
def project(stft: Any, solved: Any, z: Any) -> None:
    """Step 4c, ``z = tr(R ** -1 C) / I``, which is ``s* R ** -1 s / I``, given ``solved = R ** -1 s``.

    ``stft`` and ``solved`` as in `solve`; ``z`` (bins,) float32 is overwritten.
    """
    channels, bins = stft.shape[0] // 2, z.shape[0]
    for f in range(bins):
        z[f] = np.float32(0)
    over = 1.0 / channels
    for row in range(2 * channels):
        part, other = stft[row], solved[row]
        for f in range(bins):
            z[f] += np.float32(over * np.float64(part[f]) * other[f])
    for f in range(bins):
        z[f] = max(z[f], np.float32(0))
