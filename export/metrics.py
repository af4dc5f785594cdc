"""How close enhanced speech is to the clean speech: PESQ, STOI, SNRs and composite ratings.

- PESQ: ITU-T P.862.2 (wideband), by the package ``pesq``: MOS-LQO from 1.0 to 4.64.
- STOI and ESTOI, by ``pystoi``: C. H. Taal et al., "An algorithm for intelligibility prediction of
  time-frequency weighted noisy speech", IEEE TASLP 19 (7), 2011; J. Jensen and C. H. Taal, "An algorithm for
  predicting the intelligibility of speech masked by modulated noise maskers", IEEE TASLP 24 (11), 2016.
- SI-SDR: J. Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019.
- SSNR (segmental SNR) and CSIG, CBAK, COVL (predicted ratings of the signal, the background and the whole, 1
  to 5): Y. Hu and P. C. Loizou, "Evaluation of objective quality measures for speech enhancement", IEEE TASLP
  16 (1), 2008; their ``composite.m`` decides what the paper leaves open.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.fft
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.signal import correlate

from export.separation import decibels
from rtaudio.errors import UserError

Audio = NDArray[Any]
"""(samples,)."""

METRICS = ("PESQ", "STOI", "ESTOI", "SI-SDR", "SSNR", "SNR", "CSIG", "CBAK", "COVL")
RATE = 16_000
"""Hz. What is scored has this rate."""
SHORTEST = 0.4
"""Seconds of speech that STOI needs: 30 frames of 256 samples, every 128, at 10 kHz."""
WORST_PESQ = 1.0
"""Of silence, for which PESQ has no value: the end of its scale. White noise has 1.02."""


def score(clean: Audio, enhanced: Audio, rate: int) -> dict[str, float]:
    """Score enhanced speech.

    The signals are compared as they are, sample by sample. ``lag`` is found but not taken out: PESQ aligns by
    itself, and all else that a system with ``lag != 0`` scores says no more than that it is late. Mend its
    latency and score again.

    Parameters
    ----------
    clean, enhanced
        (samples,) each, mono, full scale 1.0: the absolute floors of SSNR and of the composite ratings are
        those of ``composite.m``.
    rate
        Of both, in Hz. From any other than 16 kHz both are resampled to it (soxr, HQ). From a lower one, the
        band that stays empty decides LLR, and with it CSIG and COVL.

    Returns
    -------
    dict
        `METRICS`, all finite: SI-SDR and SNR in dB from -100 to 100, SSNR in dB from -10 to 35. Further
        ``lag``, in samples at ``rate``, positive where ``enhanced`` is later: the peak of the
        cross-correlation's magnitude; and ``polarity``, 1 or -1, its sign there.

        Silence for ``enhanced`` has scores too, since a system must not gain by leaving out what it ruined:
        PESQ 1.0, STOI and ESTOI 0, SI-SDR -100 dB, SNR 0 dB, and the rest by their definitions.

    Raises
    ------
    UserError
        The signals are not mono, of different lengths, shorter than 0.4 s or not finite, or the clean one is
        silent or has less than 0.4 s of speech or no utterance for PESQ. Nothing is scored NaN: who scores
        many files counts those that are refused, and shows where it was an enhanced one that is not finite.
    """
    clean, enhanced = np.asarray(clean, np.float64), np.asarray(enhanced, np.float64)
    _check(clean, enhanced, rate)
    lag, polarity = alignment(clean, enhanced)
    if rate != RATE:
        clean, enhanced = (soxr.resample(x, rate, RATE) for x in (clean, enhanced))
    energy = float(np.sum(clean**2))
    if energy == 0.0:
        raise UserError("the clean signal is silent, for which no score is defined: leave it out")
    pesq = _pesq(clean, enhanced)
    stoi, estoi = (_stoi(clean, enhanced, extended) for extended in (False, True))
    gain = float(np.vdot(clean, enhanced)) / energy
    ssnr = segmental_snr(clean, enhanced)
    power = _power(clean), _power(enhanced)
    llr, wss = trimmed_mean(llr_of(*power)), trimmed_mean(wss_of(*power))
    return {
        "PESQ": pesq,
        "STOI": stoi,
        "ESTOI": estoi,
        "SI-SDR": decibels(gain**2 * energy, float(np.sum((enhanced - gain * clean) ** 2))),
        "SSNR": ssnr,
        "SNR": decibels(energy, float(np.sum((clean - enhanced) ** 2))),
        **composite(pesq, llr, wss, ssnr),
        "lag": float(lag),
        "polarity": float(polarity),
    }


def _check(clean: Audio, enhanced: Audio, rate: int) -> None:
    if rate <= 0:
        raise UserError(f"a rate of {rate} Hz is not one: want it above 0")
    for name, x in (("clean", clean), ("enhanced", enhanced)):
        if x.ndim != 1:
            raise UserError(
                f"the {name} signal has the shape {x.shape}, want mono, (samples,): score channels apart"
            )
    if len(clean) != len(enhanced):
        raise UserError(
            f"the clean signal has {len(clean)} samples, the enhanced one {len(enhanced)}: they must be alike"
        )
    if len(clean) < SHORTEST * rate:
        raise UserError(f"{len(clean) / rate:.3f} s are too short to score, want {SHORTEST} s or more")
    for name, x in (("clean", clean), ("enhanced", enhanced)):
        if not np.all(np.isfinite(x)):
            raise UserError(
                f"the {name} signal has samples that are not finite: nothing can be compared with it"
            )


def alignment(clean: Audio, enhanced: Audio) -> tuple[int, int]:
    """Samples by which ``enhanced`` is later than ``clean``, and its polarity; (0, 1) if it is silent."""
    if not np.any(enhanced):
        return 0, 1
    correlation = correlate(enhanced, clean, method="fft")
    peak = int(np.argmax(np.abs(correlation)))
    return peak - (len(clean) - 1), -1 if correlation[peak] < 0 else 1


def _pesq(clean: Audio, enhanced: Audio) -> float:
    from pesq import NoUtterancesError, pesq

    if not np.any(enhanced):
        return WORST_PESQ
    # PESQ takes the levels out, but in single precision, in which one signal may vanish beside the other.
    clean, enhanced = (x / np.max(np.abs(x)) for x in (clean, enhanced))
    try:
        return float(pesq(RATE, clean, enhanced, "wb"))
    except NoUtterancesError:
        raise UserError("PESQ finds no utterance in the clean signal: leave it out") from None


def _stoi(clean: Audio, enhanced: Audio, extended: bool) -> float:
    from pystoi import stoi

    # ESTOI of a silent stretch is that of noise of the global generator, which is put back.
    state = np.random.get_state()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Not enough STFT frames")
        try:
            np.random.seed(0)
            value = float(stoi(clean, enhanced, RATE, extended))
        except RuntimeWarning:
            raise UserError(
                f"the clean signal has less than the {SHORTEST} s of speech that STOI needs"
            ) from None
        finally:
            np.random.set_state(state)
    return value if np.any(enhanced) else 0.0


# ------------------------------------------------------------------------------------------ frames

WINDOW = 480
"""Samples: 30 ms."""
HOP = 120
"""Samples: frames overlap by 75 %."""
FFT = 1024
ORDER = 16
"""Of the linear prediction, for rates from 10 kHz."""
TRIM = 0.95
"""Share of the frames, from the best, that LLR and WSS are the mean of."""
EPS = float(np.finfo(np.float64).eps)
FLOOR = 1e-18
"""Added to power spectra: white noise at -200 dB, so that LLR sees digital silence as a flat spectrum.
``composite.m`` adds a constant of 2e-16 to the signals instead, whose rounding decides LLR there."""

# Centres and bandwidths of the critical bands in Hz, as in composite.m: 25 up to 4 kHz, whatever the rate.
CENTRES = np.array((
    50, 120, 190, 260, 330, 400, 470, 540, 617.372, 703.378, 798.717, 904.128, 1020.38, 1148.30, 1288.72,
    1442.54, 1610.70, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17, 3597.63,
))  # fmt: skip
WIDTHS = np.array((
    70, 70, 70, 70, 70, 70, 70, 77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423, 153.823,
    168.154, 183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136,
))  # fmt: skip


def _frames(x: Audio) -> Audio:
    """Windowed frames, (frames, 480). ``composite.m`` leaves out the last that would fit; so does this."""
    count = (len(x) - WINDOW) // HOP
    window: Audio = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, WINDOW + 1) / (WINDOW + 1))
    return sliding_window_view(x, WINDOW)[: count * HOP : HOP] * window


def _power(x: Audio) -> Audio:
    """Power spectra of the frames, (frames, 513)."""
    return np.abs(scipy.fft.rfft(_frames(x), FFT)) ** 2 + FLOOR  # type: ignore[no-any-return]


def segmental_snr(clean: Audio, enhanced: Audio) -> float:
    """SSNR in dB: the mean over frames of their SNR, each limited to -10 to 35 dB.

    Neither signal is scaled and no pause is left out. A frame in which the clean signal is digital silence
    counts as -10 dB, even where the enhanced one is silent too.
    """
    signal = np.sum(_frames(clean) ** 2, axis=1)
    noise = np.sum(_frames(clean - enhanced) ** 2, axis=1)
    return float(np.mean(np.clip(10 * np.log10(signal / (noise + EPS) + EPS), -10.0, 35.0)))


def llr_of(clean: Audio, enhanced: Audio) -> Audio:
    """Log-likelihood ratio of each frame: how much worse the enhanced predictor does on the clean frame.

    ``log(a_e' R_c a_e / a_c' R_c a_c)``, of the predictors a of the enhanced and the clean frame and the
    clean one's autocorrelation R. Both products are written as a sum over frequency, sum |A|^2 P, which no
    rounding makes negative.

    Parameters
    ----------
    clean, enhanced
        Power spectra, (frames, 513).
    """
    weight = np.full(clean.shape[1], 2.0)
    weight[[0, -1]] = 1.0
    of_enhanced, of_clean = (
        np.sum(weight * clean * np.abs(scipy.fft.rfft(_predictors(power), FFT)) ** 2, axis=1)
        for power in (enhanced, clean)
    )
    return np.log(of_enhanced / of_clean)  # type: ignore[no-any-return]


def _predictors(power: Audio) -> Audio:
    """Prediction-error filters ``1, a_1 ... a_16`` by Levinson and Durbin, (frames, 17)."""
    r: Audio = scipy.fft.irfft(power, FFT)[:, : ORDER + 1]
    a = np.zeros_like(r)
    a[:, 0] = 1.0
    error = r[:, 0].copy()
    for i in range(1, ORDER + 1):
        # Exact reflections are below 1; where a frame is all but predictable, rounded ones may not be.
        reflection = np.clip(-np.sum(a[:, :i] * r[:, i:0:-1], axis=1) / error, EPS - 1, 1 - EPS)
        a[:, 1 : i + 1] += reflection[:, None] * a[:, i - 1 :: -1][:, :i]
        error *= 1 - reflection**2
    return a


def wss_of(clean: Audio, enhanced: Audio) -> Audio:
    """Weighted spectral slope distance of each frame.

    The squared difference of the slopes between neighbouring critical bands in dB, averaged with Klatt's
    weights, which are large near the nearest peak and the highest one: D. H. Klatt, "Prediction of perceived
    phonetic distance from critical-band spectra: a first step", ICASSP 1982.

    Parameters
    ----------
    clean, enhanced
        Power spectra, (frames, 513).
    """
    centres, widths = np.floor(CENTRES / RATE * FFT)[:, None], (WIDTHS / RATE * FFT)[:, None]
    bands = np.exp(-11.0 * ((np.arange(FFT // 2) - centres) / widths) ** 2) * (WIDTHS[0] / WIDTHS[:, None])
    bands[bands <= math.exp(-30.0 / (2.0 * 2.303))] = 0.0  # -30 dB
    levels = [10 * np.log10(np.maximum(power[:, : FFT // 2] @ bands.T, 1e-10)) for power in (clean, enhanced)]
    weight = sum(_klatt(level) for level in levels)
    slopes = [np.diff(level, axis=1) for level in levels]
    return np.sum(weight * (slopes[0] - slopes[1]) ** 2, axis=1) / np.sum(weight, axis=1)  # type: ignore[no-any-return]


def _klatt(level: Audio) -> Audio:
    """Weights of the slopes of band levels in dB, (frames, bands) to (frames, bands - 1).

    Where the level rises the peak is sought to the right, else to the left. As in ``composite.m``, the band
    before the peak on the right stands for it.
    """
    rising = np.diff(level, axis=1) > 0
    slope = np.arange(rising.shape[1])
    right = np.minimum.accumulate(np.where(rising, len(slope), slope)[:, ::-1], axis=1)[:, ::-1] - 1
    left = np.maximum.accumulate(np.where(rising, slope, -1), axis=1) + 1
    peak = np.take_along_axis(level, np.where(rising, right, left), axis=1)
    here = level[:, :-1]
    return 20.0 / (20.0 + level.max(axis=1, keepdims=True) - here) / (1.0 + peak - here)  # type: ignore[no-any-return]


def trimmed_mean(distances: Audio) -> float:
    """Mean of the lowest 95 %, the number of frames rounded half up."""
    return float(np.mean(np.sort(distances)[: math.floor(TRIM * len(distances) + 0.5)]))


def composite(pesq: float, llr: float, wss: float, ssnr: float) -> dict[str, float]:
    """CSIG, CBAK and COVL, the regressions of Hu and Loizou, limited to 1 to 5.

    They were fitted to narrowband PESQ of speech at 8 kHz. As is usual for speech at 16 kHz, ``pesq`` is the
    wideband MOS-LQO.
    """
    ratings = {
        "CSIG": 3.093 - 1.029 * llr + 0.603 * pesq - 0.009 * wss,
        "CBAK": 1.634 + 0.478 * pesq - 0.007 * wss + 0.063 * ssnr,
        "COVL": 1.594 + 0.805 * pesq - 0.512 * llr - 0.007 * wss,
    }
    return {name: min(max(rating, 1.0), 5.0) for name, rating in ratings.items()}


# ------------------------------------------------------------------------------------------ several files


def standard_error(values: Sequence[float] | Audio) -> float:
    """Standard error of the mean, ``s / sqrt(n)`` with ``n - 1`` in s; NaN for fewer than two values."""
    x = np.asarray(values, np.float64)
    return float(np.std(x, ddof=1) / math.sqrt(len(x))) if len(x) > 1 else math.nan


BATCH = 2_000_000
"""Draws that are in memory at once."""


def bootstrap(
    differences: Sequence[float] | Audio, seed: int = 0, resamples: int = 10_000, level: float = 0.95
) -> tuple[Any, Any]:
    """Percentile bootstrap intervals of means, of paired differences: B. Efron, R. J. Tibshirani, "An
    Introduction to the Bootstrap", 1993, chapter 13.

    Two systems, scored on the same files, differ where the interval leaves out 0. Every file counts as drawn
    by itself: with few speakers or rooms the interval is too narrow.

    Parameters
    ----------
    differences
        (files, ...): of two systems' scores, NaN where there is none. Each column has its interval; those
        that have the same files are drawn together.
    seed, resamples, level
        Of the random generator; how many means are drawn; the interval's coverage, between 0 and 1.

    Returns
    -------
    tuple
        Low and high ends, (...) each; NaN for fewer than two differences.
    """
    x = np.asarray(differences, np.float64)
    columns = x.reshape(len(x), math.prod(x.shape[1:]))
    there = np.isfinite(columns)
    ends = np.full((2, columns.shape[1]), math.nan)
    for files in np.unique(there, axis=1).T:
        if np.count_nonzero(files) > 1:
            alike = np.all(there == files[:, None], axis=0)
            means = _resampled(columns[np.ix_(files, alike)], seed, resamples)
            ends[:, alike] = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    low, high = ends.reshape(2, *x.shape[1:])
    return low, high


def _resampled(x: Audio, seed: int, resamples: int) -> Audio:
    """Means of (files, columns) over files that are drawn with replacement: (resamples, columns)."""
    random, files = np.random.default_rng(seed), len(x)
    batch = max(1, BATCH // files)
    counts = (
        random.multinomial(files, np.full(files, 1 / files), min(batch, resamples - begin))
        for begin in range(0, resamples, batch)
    )
    return np.concatenate([count @ x for count in counts]) / files
