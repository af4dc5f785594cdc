"""Short-time Fourier transform for kernels: a real FFT that allocates nothing, windows that reconstruct.

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
    """Twiddle factors of `real_fft` for a size: of the radix-4 passes, and of the split of the spectrum.

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


# A loop is vectorised only if the compiler sees the sign of every index (a negative one counts from the end):
# hence slices rather than offsets, sizes from shapes, and `x[-k]` rather than `x[n - k]`. The transform is
# two to three times as fast with it.


@compiled
def _butterfly(
    ar: float, br: float, cr: float, dr: float, ai: float, bi: float, ci: float, di: float,
    c1: float, s1: float, c2: float, s2: float, c3: float, s3: float,
) -> tuple[float, ...]:  # fmt: skip
    """DFT of four values, the last three results turned: four real parts, then four imaginary parts."""
    sum_ac_r, sum_ac_i, diff_ac_r, diff_ac_i = ar + cr, ai + ci, ar - cr, ai - ci
    sum_bd_r, sum_bd_i, turned_bd_r, turned_bd_i = br + dr, bi + di, di - bi, br - dr
    r1, i1 = diff_ac_r - turned_bd_r, diff_ac_i - turned_bd_i
    r2, i2 = sum_ac_r - sum_bd_r, sum_ac_i - sum_bd_i
    r3, i3 = diff_ac_r + turned_bd_r, diff_ac_i + turned_bd_i
    return (
        sum_ac_r + sum_bd_r, r1 * c1 - i1 * s1, r2 * c2 - i2 * s2, r3 * c3 - i3 * s3,
        sum_ac_i + sum_bd_i, r1 * s1 + i1 * c1, r2 * s2 + i2 * c2, r3 * s3 + i3 * c3,
    )  # fmt: skip


@compiled
def _first_pass(xr: Any, xi: Any, yr: Any, yi: Any, cosines: Any, sines: Any) -> None:
    """Radix-4 pass of stride 1, vectorised over the butterflies: contiguous loads, interleaved stores."""
    quarter = xr.shape[0] // 4
    for p in range(quarter):
        b, c, d = p + quarter, p + 2 * quarter, p + 3 * quarter
        (
            yr[4 * p], yr[4 * p + 1], yr[4 * p + 2], yr[4 * p + 3],
            yi[4 * p], yi[4 * p + 1], yi[4 * p + 2], yi[4 * p + 3],
        ) = _butterfly(
            xr[p], xr[b], xr[c], xr[d], xi[p], xi[b], xi[c], xi[d],
            cosines[p], sines[p], cosines[b], sines[b], cosines[c], sines[c],
        )  # fmt: skip


@compiled
def _pass(xr: Any, xi: Any, yr: Any, yi: Any, stride: int, cosines: Any, sines: Any) -> None:
    """Radix-4 pass, vectorised over the stride."""
    step = xr.shape[0] // 4
    quarter = step // stride
    for p in range(quarter):
        a, o = stride * p, 4 * stride * p
        b, c, d = a + step, a + 2 * step, a + 3 * step
        ar, br, cr, dr = xr[a : a + stride], xr[b : b + stride], xr[c : c + stride], xr[d : d + stride]
        ai, bi, ci, di = xi[a : a + stride], xi[b : b + stride], xi[c : c + stride], xi[d : d + stride]
        b, c, d, end = o + stride, o + 2 * stride, o + 3 * stride, o + 4 * stride
        r0, r1, r2, r3 = yr[o:b], yr[b:c], yr[c:d], yr[d:end]
        i0, i1, i2, i3 = yi[o:b], yi[b:c], yi[c:d], yi[d:end]
        c1, c2, c3 = cosines[p], cosines[p + quarter], cosines[p + 2 * quarter]
        s1, s2, s3 = sines[p], sines[p + quarter], sines[p + 2 * quarter]
        for q in range(stride):
            r0[q], r1[q], r2[q], r3[q], i0[q], i1[q], i2[q], i3[q] = _butterfly(
                ar[q], br[q], cr[q], dr[q], ai[q], bi[q], ci[q], di[q], c1, s1, c2, s2, c3, s3
            )


@compiled
def _last_pass(x: Any, y: Any) -> None:
    """Radix-2 pass: sums and differences of the halves."""
    half = x.shape[0] // 2
    a, b, total, difference = x[:half], x[half:], y[:half], y[half:]
    for q in range(half):
        total[q], difference[q] = a[q] + b[q], a[q] - b[q]


@compiled
def _deal(x: Any, y: Any) -> None:
    """Deal out ``x`` to the four quarters of ``y`` in turn."""
    quarter = x.shape[0] // 4
    for p in range(quarter):
        b, c, d = p + quarter, p + 2 * quarter, p + 3 * quarter
        y[p], y[b], y[c], y[d] = x[4 * p], x[4 * p + 1], x[4 * p + 2], x[4 * p + 3]


@compiled
def _riffle(x: Any, y: Any) -> None:
    """Undo `_deal`."""
    quarter = x.shape[0] // 4
    for p in range(quarter):
        b, c, d = p + quarter, p + 2 * quarter, p + 3 * quarter
        y[4 * p], y[4 * p + 1], y[4 * p + 2], y[4 * p + 3] = x[p], x[b], x[c], x[d]


@compiled
def _complex_fft(work: Any, n: int, turns: Any) -> int:
    """Forward complex FFT (Stockham, radix 4 with a last radix 2) of rows 0 and 1 of ``work`` (4, n).

    Returns the row of the result's real part, 0 or 2; the imaginary part is in the next.
    """
    cosines, sines = turns[0], turns[1]
    _first_pass(work[0], work[1], work[2], work[3], cosines, sines)
    # The pass of stride 4, too short to be vectorised, as four passes of stride 1.
    quarter = n // 4
    cosines, sines = cosines[3 * quarter :], sines[3 * quarter :]
    for row in range(2):
        _deal(work[2 + row], work[row])
    for begin in (0, quarter, 2 * quarter, 3 * quarter):
        end = begin + quarter
        _first_pass(
            work[0, begin:end], work[1, begin:end], work[2, begin:end], work[3, begin:end], cosines, sines
        )
    for row in range(2):
        _riffle(work[2 + row], work[row])
    source, target = 0, 2
    length, stride = n // 16, 16
    cosines, sines = cosines[3 * length :], sines[3 * length :]
    while length >= 4:
        _pass(work[source], work[source + 1], work[target], work[target + 1], stride, cosines, sines)
        length, stride = length // 4, 4 * stride
        cosines, sines = cosines[3 * length :], sines[3 * length :]
        source, target = target, source
    if length == 2:
        for row in range(2):
            _last_pass(work[source + row], work[target + row])
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
        a, b, c, d = zr[k], zi[k], zr[-k], zi[-k]
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
        a, b, c, d = re[k], im[k], re[-1 - k], im[-1 - k]
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


def windows(
    n_fft: int, hop: int, synthesis: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Analysis and synthesis windows whose overlap-added product is 1.

    Parameters
    ----------
    n_fft
        Length of the analysis window, in samples.
    hop
        In samples; divides both lengths, at most half of ``synthesis``.
    synthesis
        Length of the synthesis window. None gives the symmetric pair, square-root Hann of ``n_fft``. Less
        than ``n_fft`` gives the asymmetric pair of Mauler and Martin (2007): a long analysis window for
        resolution whose end, and the short synthesis window with it, spans the last ``synthesis`` samples, so
        that the latency is that of the short one; their product is a Hann window.

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
