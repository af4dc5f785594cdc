"""Kernel additive modelling as the paper writes it: offline, float64, nothing but numpy.

D. FitzGerald, A. Liutkus, Z. Rafii, B. Pardo, L. Daudet, "Harmonic/percussive separation using kernel
additive modelling", ISSC 2014. Equation numbers and the steps of Algorithm 1 are the paper's. Tensors are
N_f x N_t x I, as there. What streaming adds is said where it is added: frames before the first are silent,
the medians look ahead as far as they are told to, and the spatial covariances are means so far.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

SILENT = 1e-37
"""Spectrograms whose sum is below are nobody's."""
DIFFUSE, FLOOR = 0.05, 1e-6
"""Regularisation: share of the identity in what is inverted; energy of it that every bin has, relative to the
loudest bin of the frame."""


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


# ------------------------------------------------------------------------------------------ proximity kernels


def frequencies(size):
    """I_P, equation 11: {(f + p, t) | p = -l ... l}, size = 2l + 1, as offsets (bins, frames)."""
    return [(p, 0) for p in range(-(size // 2), size // 2 + 1)]


def times(size, lookahead):
    """I_H, equation 12: {(f, t + p) | p = -k ... k}, size = 2k + 1, as offsets (bins, frames).

    With a look-ahead of less than k frames the kernel is p = lookahead - 2k ... lookahead.
    """
    last = min(size // 2, lookahead)
    return [(0, p) for p in range(last - size + 1, last + 1)]


def median(z, offsets):
    """Equation 10: the median of z (N_f, N_t) over a proximity kernel. The spectrum is mirrored at its ends,
    frames before the first and after the last are silent."""
    high, early = max(abs(df) for df, _ in offsets), max(abs(dt) for _, dt in offsets)
    padded = np.pad(np.pad(z, ((high, high), (0, 0)), mode="symmetric"), ((0, 0), (early, early)))
    f, t = z.shape
    neighbours = [padded[high + df : high + df + f, early + dt : early + dt + t] for df, dt in offsets]
    return np.median(neighbours, axis=0)


def spectrogram(z, kernel):
    """Step 4d for a kernel, a set of offsets; or, for (kernels, weight), which is not the paper's, the
    geometric mean of the medians over several, nowhere more than z itself, times the weight."""
    if isinstance(kernel, list):
        return median(z, kernel)
    kernels, weight = kernel
    mean = np.prod([median(z, each) ** (1 / len(kernels)) for each in kernels], axis=0)
    return weight * np.minimum(mean, z)


# ------------------------------------------------------------------------------------------ equation 7


def share(s, j, power=2.0, margin=1.0, hard=False, silent=1.0):
    """s_j and the other sources' spectrograms (J, N_f, N_t) as equation 7 weighs them for source j.

    With power 2 and margin 1 that is s itself. As in `librosa.util.softmask`, power and margin are those of
    magnitudes (s are energies) and the margin multiplies the others. Hard is the limit of large powers. Where
    all are silent source j has the weight ``silent``, hard 0, and the others 1.
    """
    largest = s.max(axis=0)
    if hard:
        wins = s[j] > margin**2 * np.delete(s, j, axis=0).max(axis=0)
        weights = np.where(np.arange(len(s))[:, None, None] == j, wins, ~wins).astype(float)
    else:
        weights = (s / np.where(largest > SILENT, largest, 1.0)) ** (power / 2)
        weights *= np.where(np.arange(len(s)) == j, 1.0, margin**power)[:, None, None]
    own = np.where(np.arange(len(s)) == j, 0.0 if hard else silent, 1.0)[:, None, None]
    return np.where(largest > SILENT, weights, own)


def filtered(X, weights, R, j):
    """Equation 7: s_j R_j [sum of s_j' R_j']^-1 x for X (N_f, N_t, I), R (J, N_f, N_t, I, I)."""
    if R is None:
        return (weights[j] / weights.sum(axis=0))[:, :, None] * X
    eye = np.eye(X.shape[2])
    R = (1 - DIFFUSE) * R + DIFFUSE * eye
    model = weights[..., None, None] * R
    mixture = model.sum(axis=0)
    trace = np.trace(mixture, axis1=2, axis2=3).real[..., None, None]
    nothing = trace <= SILENT
    inverse = np.linalg.inv(np.where(nothing, eye, mixture))
    return np.where(nothing[..., 0], 0.0, (model[j] @ inverse @ X[..., None])[..., 0])


# ------------------------------------------------------------------------------------------ Algorithm 1


def spatial_covariance(s, model, keep):
    """Steps 4a and 4b: C = s s* and R, (N_f, N_t, I, I), the mean of I C / tr(C), in which a frame has the
    weight 1 (model "uniform", as printed) or of its energy ("weighted").

    ``keep`` None is the paper's mean over all frames, the same R for all t. A number up to 1 makes it the
    mean of the frames up to t that are not silent, in which every frame multiplies the weights of those
    before it with ``keep``. The uniform mean begins with the identity as its first frame. A little of the
    identity is in every C.
    """
    N_f, N_t, channels = s.shape
    eye = np.eye(channels)
    C = s[..., :, None] * s[..., None, :].conj()
    trace = np.trace(C, axis1=2, axis2=3).real
    loudest = trace.max(axis=0)
    floor = FLOOR * np.where(loudest > SILENT, loudest, 1.0)
    each = channels * (C + (floor / channels)[:, None, None] * eye) / (trace + floor)[..., None, None]
    weights = trace + floor if model == "weighted" else np.ones_like(trace)
    R = np.zeros((N_f, N_t, channels, channels), complex)
    seen, mean = np.full(N_f, 0.0 if model == "weighted" else 1.0), np.broadcast_to(eye, R[:, 0].shape)
    for t in range(N_t):
        if loudest[t] > SILENT:
            seen = seen * (keep or 1.0) + weights[:, t]
            mean = mean + (weights[:, t] / seen)[:, None, None] * (each[:, t] - mean)
        R[:, t] = mean
    if keep is None:
        R[:] = mean[:, None]
    return C, R


def observe(s, spatial, keep):
    """Steps 4a to 4c: z = tr(R^-1 C) / I for the estimate s (N_f, N_t, I) of a source; and R."""
    if spatial == "none":
        return np.sum(np.abs(s) ** 2, axis=2) / s.shape[2], None
    C, R = spatial_covariance(s, spatial, keep)
    regular = (1 - DIFFUSE) * R + DIFFUSE * np.eye(s.shape[2])
    return np.trace(np.linalg.inv(regular) @ C, axis1=2, axis2=3).real / s.shape[2], R


def kam(X, kernels, iterations, spatial="none", keep=None, lookahead=0):
    """Algorithm 1 for the STFT X (N_f, N_t, I) of the mixture and proximity kernels I_j, sets of offsets.

    Yields per iteration the sources' spectrograms s (J, N_f, N_t) and spatial covariances R
    (J, N_f, N_t, I, I), or None for R_j = I. In a stream equation 7 knows R as of ``lookahead`` frames later.
    """
    J = len(kernels)
    # Step 2: s_j = x* x / (I J), R_j = I; so step 3, equation 7, gives every source the same.
    estimates = [X / J] * J
    for _ in range(iterations):
        z, R = zip(*(observe(estimate, spatial, keep) for estimate in estimates), strict=True)
        s = np.array([spectrogram(z_j, kernel) for z_j, kernel in zip(z, kernels, strict=True)])  # step 4d
        R = np.array([later(R_j, lookahead) for R_j in R]) if spatial != "none" else None
        yield s, R
        estimates = [filtered(X, share(s, j), R, j) for j in range(J)]  # step 3


def later(R, lookahead):
    """R as of ``lookahead`` frames later; what comes after the last frame is silent and changes nothing."""
    return np.concatenate([R[:, lookahead:], np.repeat(R[:, -1:], lookahead, axis=1)], axis=1)


def separate(x, n_fft, hop, synthesis, iterations, linked=True, **how):
    """Sources (J, I, samples) of the mixture x (I, samples), equation 4, and the residual.

    ``iterations`` says after how many each source is heard; ``how`` as for `filtered_sources`. Not linked,
    every channel is a mixture of its own, I = 1.
    """
    if not linked:
        each = [separate(channel[None], n_fft, hop, synthesis, iterations, **how) for channel in x]
        return np.concatenate(each, axis=1)
    samples = x.shape[1]
    frames = -(-(samples + n_fft) // hop) + how["lookahead"] * max(iterations)
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, frames * hop - samples)))
    analysis, back = windows(n_fft, hop, synthesis)
    X = stft(padded, analysis, hop)
    sources = [istft(s, back, hop)[:, :samples] for s in filtered_sources(X, iterations, **how)]
    if max(how["margins"]) == 1 and len(set(iterations)) == 1:
        # All is shared out: what rounding leaves goes to the last.
        sources[-1] = x - sum(sources[:-1])
    return np.array([*sources, x - sum(sources)])


def filtered_sources(X, iterations, kernels, margins, lookahead, spatial, keep, power=2.0, hard=False):
    """STFTs of the sources, each filtered with the spectrograms of its own iteration.

    Margins above 1, or iterations that differ, leave something to the residual, silent bins too.
    """
    shared = max(margins) == 1 and len(set(iterations)) == 1
    found = [None] * len(kernels)
    passes = kam(X, kernels, max(iterations), spatial if X.shape[2] > 1 else "none", keep, lookahead)
    for n, (s, R) in enumerate(passes, start=1):
        for j in range(len(kernels)):
            if iterations[j] == n:
                weights = share(s, j, power, margins[j], hard, 1.0 if shared else 0.0)
                found[j] = filtered(X, weights, R, j)
    return found
