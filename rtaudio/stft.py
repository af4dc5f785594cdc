"""Short-time Fourier transform for kernels: a real FFT that allocates nothing, and windows that reconstruct perfectly.

Spectra are split: one float32 array of real and one of imaginary parts, ``n_fft // 2 + 1`` bins each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtaudio.native import compiled

SIZES = (256, 512, 1024, 2048, 4096, 8192, 16384)
"""Supported FFT sizes."""


def fft_tables(n_fft: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Twiddle factors of `real_fft` for a size: those of the radix-4 passes, and those that split the real spectrum.

    Returns
    -------
    Two float32 arrays: (2, n) cosines and sines of the passes, and (2, n_fft // 2 + 1) of the split.
    """
    passes: list[NDArray[np.complex128]] = []
    length = n_fft // 2
    while length >= 4:
        root = np.exp(-2j * np.pi * np.arange(length // 4) / length)
        passes += [root, root**2, root**3]
        length //= 4
    turns = np.concatenate(passes)
    split = np.exp(-2j * np.pi * np.arange(n_fft // 2 + 1) / n_fft)
    as_rows = [np.ascontiguousarray([part.real, part.imag], np.float32) for part in (turns, split)]
    return as_rows[0], as_rows[1]


@compiled
def _first_pass(xr: Any, xi: Any, yr: Any, yi: Any, quarter: int, turns: Any) -> None:
    """Radix-4 pass of stride 1, vectorised over the butterflies: contiguous loads, interleaved stores."""
    cosines, sines = turns[0], turns[1]
    for p in range(quarter):
        ar, br, cr, dr = xr[p], xr[p + quarter], xr[p + 2 * quarter], xr[p + 3 * quarter]
        ai, bi, ci, di = xi[p], xi[p + quarter], xi[p + 2 * quarter], xi[p + 3 * quarter]
        sum_ac_r, sum_ac_i, diff_ac_r, diff_ac_i = ar + cr, ai + ci, ar - cr, ai - ci
        sum_bd_r, sum_bd_i = br + dr, bi + di
        turn_r, turn_i = di - bi, br - dr
        yr[4 * p], yi[4 * p] = sum_ac_r + sum_bd_r, sum_ac_i + sum_bd_i
        c1, s1 = cosines[p], sines[p]
        c2, s2 = cosines[quarter + p], sines[quarter + p]
        c3, s3 = cosines[2 * quarter + p], sines[2 * quarter + p]
        r, i = diff_ac_r - turn_r, diff_ac_i - turn_i
        yr[4 * p + 1], yi[4 * p + 1] = r * c1 - i * s1, r * s1 + i * c1
        r, i = sum_ac_r - sum_bd_r, sum_ac_i - sum_bd_i
        yr[4 * p + 2], yi[4 * p + 2] = r * c2 - i * s2, r * s2 + i * c2
        r, i = diff_ac_r + turn_r, diff_ac_i + turn_i
        yr[4 * p + 3], yi[4 * p + 3] = r * c3 - i * s3, r * s3 + i * c3


@compiled
def _pass(xr: Any, xi: Any, yr: Any, yi: Any, quarter: int, stride: int, turns: Any, first: int) -> None:
    """Radix-4 pass, vectorised over the stride."""
    for p in range(quarter):
        c1, s1 = turns[0, first + p], turns[1, first + p]
        c2, s2 = turns[0, first + quarter + p], turns[1, first + quarter + p]
        c3, s3 = turns[0, first + 2 * quarter + p], turns[1, first + 2 * quarter + p]
        a, step = stride * p, stride * quarter
        o = 4 * stride * p
        for q in range(stride):
            ar, br, cr, dr = xr[a + q], xr[a + step + q], xr[a + 2 * step + q], xr[a + 3 * step + q]
            ai, bi, ci, di = xi[a + q], xi[a + step + q], xi[a + 2 * step + q], xi[a + 3 * step + q]
            sum_ac_r, sum_ac_i, diff_ac_r, diff_ac_i = ar + cr, ai + ci, ar - cr, ai - ci
            sum_bd_r, sum_bd_i = br + dr, bi + di
            turn_r, turn_i = di - bi, br - dr
            yr[o + q], yi[o + q] = sum_ac_r + sum_bd_r, sum_ac_i + sum_bd_i
            r, i = diff_ac_r - turn_r, diff_ac_i - turn_i
            yr[o + stride + q], yi[o + stride + q] = r * c1 - i * s1, r * s1 + i * c1
            r, i = sum_ac_r - sum_bd_r, sum_ac_i - sum_bd_i
            yr[o + 2 * stride + q], yi[o + 2 * stride + q] = r * c2 - i * s2, r * s2 + i * c2
            r, i = diff_ac_r + turn_r, diff_ac_i + turn_i
            yr[o + 3 * stride + q], yi[o + 3 * stride + q] = r * c3 - i * s3, r * s3 + i * c3


@compiled
def _complex_fft(work: Any, n: int, turns: Any) -> int:
    """Forward complex FFT (Stockham, radix 4 with a last radix 2) of rows 0 and 1 of ``work`` (4, n).

    Returns the row of the result's real part, 0 or 2; the imaginary part is in the next.
    """
    source, target = 0, 2
    _first_pass(work[0], work[1], work[2], work[3], n // 4, turns)
    source, target = 2, 0
    first, length, stride = 3 * (n // 4), n // 4, 4
    while length >= 4:
        quarter = length // 4
        if stride == 4:
            _pass(work[source], work[source + 1], work[target], work[target + 1], quarter, 4, turns, first)
        elif stride == 16:
            _pass(work[source], work[source + 1], work[target], work[target + 1], quarter, 16, turns, first)
        else:
            _pass(work[source], work[source + 1], work[target], work[target + 1], quarter, stride, turns, first)
        first, length, stride = first + 3 * quarter, quarter, 4 * stride
        source, target = target, source
    if length == 2:
        for row in range(2):
            x, y = work[source + row], work[target + row]
            for q in range(stride):
                a, b = x[q], x[q + stride]
                y[q], y[q + stride] = a + b, a - b
        source = target
    return source


@compiled
def real_fft(frame: Any, re: Any, im: Any, work: Any, turns: Any, split: Any) -> None:
    """Spectrum of a real frame.

    Parameters
    ----------
    frame
        (n_fft,) float32.
    re, im
        (n_fft // 2 + 1,) float32; overwritten.
    work
        (4, n_fft // 2) float32 scratch.
    turns, split
        `fft_tables` of the size.
    """
    n = frame.shape[0] // 2
    for i in range(n):
        work[0, i] = frame[2 * i]
        work[1, i] = frame[2 * i + 1]
    row = _complex_fft(work, n, turns)
    zr, zi = work[row], work[row + 1]
    re[0], im[0] = zr[0] + zi[0], np.float32(0)
    re[n], im[n] = zr[0] - zi[0], np.float32(0)
    half = np.float32(0.5)
    cosines, sines = split[0], split[1]
    for k in range(1, n):
        a, b, c, d = zr[k], zi[k], zr[n - k], zi[n - k]
        even_r, even_i = half * (a + c), half * (b - d)
        odd_r, odd_i = half * (b + d), half * (c - a)
        re[k] = even_r + odd_r * cosines[k] - odd_i * sines[k]
        im[k] = even_i + odd_r * sines[k] + odd_i * cosines[k]


@compiled
def inverse_real_fft(re: Any, im: Any, frame: Any, work: Any, turns: Any, split: Any) -> None:
    """Real frame of a spectrum, scaled by 1 / n_fft; parameters as those of `real_fft`."""
    n = frame.shape[0] // 2
    half, scale = np.float32(0.5), np.float32(1.0) / np.float32(n)
    cosines, sines = split[0], split[1]
    for k in range(n):
        a, b, c, d = re[k], im[k], re[n - k], im[n - k]
        even_r, even_i = half * (a + c), half * (b - d)
        turned_r, turned_i = half * (a - c), half * (b + d)
        odd_r = turned_r * cosines[k] + turned_i * sines[k]
        odd_i = turned_i * cosines[k] - turned_r * sines[k]
        work[0, k], work[1, k] = even_r - odd_i, -(even_i + odd_r)
    row = _complex_fft(work, n, turns)
    zr, zi = work[row], work[row + 1]
    for i in range(n):
        frame[2 * i] = zr[i] * scale
        frame[2 * i + 1] = -zi[i] * scale


def windows(n_fft: int, hop: int, synthesis: int | None = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Analysis and synthesis windows whose overlap-added product is 1.

    Parameters
    ----------
    n_fft
        Length of the analysis window, in samples.
    hop
        In samples; divides both lengths, at most half of ``synthesis``.
    synthesis
        Length of the synthesis window. None gives the symmetric pair, square-root Hann of ``n_fft``. Less than
        ``n_fft`` gives the asymmetric pair of Mauler and Martin (2007): a long analysis window for resolution whose
        end, and the short synthesis window with it, spans the last ``synthesis`` samples, so that the latency is that
        of the short one; their product is a Hann window.

    Returns
    -------
    Two float32 arrays of ``n_fft``; the synthesis window is 0 before its last ``synthesis`` samples.
    """
    if synthesis is None or synthesis == n_fft:
        analysis = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft))
        product = analysis**2
    else:
        half = synthesis // 2
        rising, falling = n_fft - half, half
        analysis = np.concatenate(
            [
                np.sin(np.pi / 2 * (np.arange(rising) + 0.5) / rising),
                np.cos(np.pi / 2 * (np.arange(falling) + 0.5) / falling),
            ]
        )
        product = np.zeros(n_fft)
        product[-synthesis:] = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(synthesis) + 0.5) / synthesis)
    total = np.tile(product.reshape(-1, hop).sum(axis=0), n_fft // hop)
    back = np.where(product > 0, product / np.maximum(analysis, 1e-12) / total, 0.0)
    return analysis.astype(np.float32), back.astype(np.float32)


def check_sizes(n_fft: int, hop: int, synthesis: int) -> Sequence[str]:
    """What is wrong with a combination of lengths, in words; empty if nothing is."""
    problems = []
    if synthesis > n_fft:
        problems.append(f"a synthesis window of {synthesis} is longer than n_fft {n_fft}")
    if hop * 2 > synthesis:
        problems.append(f"a hop of {hop} is more than half of the synthesis window {synthesis}")
    return problems
