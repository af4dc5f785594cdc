"""Harmonic/percussive separation as the paper writes it: offline, float64, nothing but numpy.

D. FitzGerald, A. Liutkus, Z. Rafii, B. Pardo, L. Daudet, "Harmonic/percussive separation using kernel
additive modelling", ISSC 2014. Equation numbers and the steps of Algorithm 1 are the paper's; N = 1 and
R_j(f) = I. Tensors are N_f x N_t x I, as there. What streaming adds is said where it is added: frames before
the first are silent, and the time median looks ahead as far as it is told to.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

SILENT = 1e-37
"""Spectrograms whose sum is below are nobody's."""


def hann(n, shift=0.0):
    return 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + shift) / n)


def windows(n_fft, hop, synthesis):
    """Analysis and synthesis window; their product, overlapped every ``hop``, is 1.

    Symmetric: both are square-root Hann. Asymmetric (D. Mauler, R. Martin, "A low delay, variable resolution,
    perfect reconstruction spectral analysis-synthesis system for speech enhancement", EUSIPCO 2007): analysis
    rises like the first half of a long square-root Hann and falls like the last half of a short one;
    synthesis is what makes the product the short Hann.
    """
    if synthesis == n_fft:
        analysis, product = np.sqrt(hann(n_fft)), hann(n_fft)
    else:
        rise, fall = n_fft - synthesis // 2, synthesis // 2
        analysis = np.concatenate([np.sqrt(hann(2 * rise, 0.5))[:rise], np.sqrt(hann(2 * fall, 0.5))[fall:]])
        product = np.concatenate([np.zeros(n_fft - synthesis), hann(synthesis, 0.5)])
    back = np.divide(product, analysis, out=np.zeros(n_fft), where=product > 0)
    return analysis, back / (product.sum() / hop)


def stft(x, analysis, hop):
    """STFT of (I, samples): frame t has the samples up to (t + 1) hop, zeros before the first."""
    n_fft = len(analysis)
    padded = np.pad(x, ((0, 0), (n_fft - hop, 0)))
    frames = sliding_window_view(padded, n_fft, axis=1)[:, ::hop]
    return np.fft.rfft(frames * analysis).transpose(2, 1, 0)


def istft(X, back, hop):
    """Samples (I, N_t hop) of an STFT, overlap-added: frame t ends with sample (t + 1) hop - 1."""
    n_fft = len(back)
    frames = np.fft.irfft(X.transpose(2, 1, 0), n_fft) * back
    out = np.zeros((X.shape[2], n_fft - hop + X.shape[1] * hop))
    for t in range(X.shape[1]):
        out[:, t * hop : t * hop + n_fft] += frames[:, t]
    return out[:, n_fft - hop :]


def median_over_time(z, size, lookahead):
    """Equation 10 over I_H, equation 12: {(f, t + p) | p = -k ... k}, size = 2k + 1, for z (N_f, N_t).

    With a look-ahead of less than k frames the kernel is p = lookahead - 2k ... lookahead.
    """
    padded = np.pad(z, ((0, 0), (size - 1 - lookahead, lookahead)))
    return np.median(sliding_window_view(padded, size, axis=1), axis=-1)


def median_over_frequency(z, size):
    """Equation 10 over I_P, equation 11: {(f + p, t) | p = -l ... l}, size = 2l + 1, for z (N_f, N_t).

    The spectrum is mirrored at its ends.
    """
    padded = np.pad(z, ((size // 2, size // 2), (0, 0)), mode="symmetric")
    return np.median(sliding_window_view(padded, size, axis=0), axis=-1)


def wiener(own, other, power, margin, split):
    """Equation 7 with R_j = I, s_j / sum of s_j', as `librosa.util.softmask` generalises it.

    On magnitudes, as there: the spectrograms are energies, so the power is halved and the margin squared.
    Where both are silent the mask is ``split``.
    """
    weighted = other * margin**2
    silent = own + weighted < SILENT
    a, b = own ** (power / 2), weighted ** (power / 2)
    return np.where(silent, split, a / np.where(silent, 1.0, a + b))


def masks(z, harmonic_kernel, percussive_kernel, lookahead, power=2.0, margins=(1.0, 1.0), hard=False):
    """Masks of the harmonic and the percussive source from the spectrogram z (N_f, N_t)."""
    # Step 4d
    s_h = median_over_time(z, harmonic_kernel, lookahead)
    s_p = median_over_frequency(z, percussive_kernel)
    shared = max(margins) == 1
    if hard:
        # The limit of large powers. Without margins all is shared out, and what is equal is percussive: both
        # medians can be the same bin.
        harmonic = s_h > s_p * margins[0] ** 2
        percussive = ~harmonic if shared else s_p > s_h * margins[1] ** 2
        return harmonic.astype(float), percussive.astype(float)
    split = 0.5 if shared else 0.0
    return wiener(s_h, s_p, power, margins[0], split), wiener(s_p, s_h, power, margins[1], split)


def kam(X, **how):
    """Algorithm 1 with N = 1 for the STFT X (N_f, N_t, I) of the mixture: STFTs of the sources.

    ``how`` as for `masks`.
    """
    channels, sources = X.shape[2], 2
    # Step 2, R_j(f) = I: every source's spectrogram is x* x / (I J); step 3, equation 7, gives all the same.
    s = X / sources
    # Step 4a: C = s s*. 4b is left out, R_j stays I. 4c: z = tr(R^-1 C) / I.
    z = np.sum(np.abs(s) ** 2, axis=2) / channels
    # Steps 4d and 6, equation 7.
    return [mask[:, :, None] * X for mask in masks(z, **how)]


def separate(x, n_fft, hop, synthesis, linked=True, **how):
    """Harmonic, percussive and residual part (I, samples) of the mixture x, equation 4.

    ``how`` as for `masks`.
    """
    samples = x.shape[1]
    frames = -(-(samples + n_fft) // hop) + how["lookahead"]
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, frames * hop - samples)))
    analysis, back = windows(n_fft, hop, synthesis)
    X = stft(padded, analysis, hop)
    if linked:
        sources = kam(X, **how)
    else:
        # Every channel a mixture of its own, I = 1.
        each = [kam(X[:, :, c : c + 1], **how) for c in range(X.shape[2])]
        sources = [np.concatenate(channels, axis=2) for channels in zip(*each, strict=True)]
    harmonic, percussive = (istft(source, back, hop)[:, :samples] for source in sources)
    return harmonic, percussive, x - harmonic - percussive
