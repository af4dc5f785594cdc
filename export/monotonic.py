"""Alignment of tokens with frames: monotonic, without skips, from both beginnings to both ends.

Token i scores s[i, t] at frame t. A path gives every frame a token: the first frame the first token, the last
frame the last one, and every other frame the token of the frame before or the next one. So a token has one
frame or more. The likelihood of a path is the exponential of the sum of its scores.

`durations` finds the best path, by the Viterbi algorithm, which is the monotonic alignment search of VITS
(J. Kim, J. Kong, J. Son, arXiv 2106.06103, section 2.2.1; first in Glow-TTS, arXiv 2005.11129, algorithm 1):
Q[i, t] = max(Q[i - 1, t - 1], Q[i, t - 1]) + s[i, t]. `posteriors` sums over all paths, by the forward
algorithm, as AlignTTS does (Z. Zeng et al., arXiv 2003.01950), and its mirror image, the backward one (L.
Rabiner, Proceedings of the IEEE 77 (2), 1989, equations 19 to 27), in logarithms.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from rtaudio.errors import UserError

NOTHING = 40.0
"""Difference of logarithms from which a sum of two is the larger one, to float64's precision."""

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


def durations(
    scores: NDArray[np.floating], tokens: NDArray[np.int64], frames: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The most likely alignment of each utterance.

    Parameters
    ----------
    scores
        (batch, tokens, frames), logarithms of likelihoods, ``-inf`` where a token cannot be. What is beyond
        an utterance's tokens and frames is not looked at. NaN counts as ``-inf``.
    tokens, frames
        (batch,), how many each utterance has.

    Returns
    -------
    (batch, tokens): frames of each token, from 1, 0 beyond an utterance's tokens; their sum is the
    utterance's frames. Of paths that are equally likely, the one that leaves each token the latest, from the
    end on; so there is a path even where all are impossible.

    Raises
    ------
    UserError
        An utterance has no token, more tokens than frames, or more of either than ``scores`` has.
    """
    lattices = _checked(scores, tokens, frames)
    found = np.zeros(scores.shape[:2], np.int64)
    moved = np.zeros(scores.shape[1:], np.uint8)
    for row, (n, length) in enumerate(zip(tokens, frames, strict=True)):
        _viterbi(lattices[row], int(n), int(length), moved, found[row])
    return found


def posteriors(
    scores: NDArray[np.floating], tokens: NDArray[np.int64], frames: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """How likely each utterance is over all of its alignments, and where its tokens are.

    Parameters
    ----------
    scores, tokens, frames
        As `durations` takes them; NaN makes the likelihood NaN.

    Returns
    -------
    likelihoods
        (batch,), logarithms; ``-inf`` where no path is possible.
    posteriors
        (batch, tokens, frames), the probability of each token at each frame, which sums to 1 over the tokens
        of a frame. It is the derivative of the likelihood after the scores. 0 where no path is possible.

    Raises
    ------
    UserError
        As `durations`.
    """
    lattices = _checked(scores, tokens, frames)
    likelihoods = np.empty(len(scores))
    found = np.zeros(scores.shape, np.float32)
    alpha = np.empty(scores.shape[1:])
    for row, (n, length) in enumerate(zip(tokens, frames, strict=True)):
        likelihoods[row] = _forward_backward(lattices[row], int(n), int(length), alpha, found[row])
    return likelihoods, found


def _checked(scores: NDArray[np.floating], tokens: NDArray[Any], frames: NDArray[Any]) -> NDArray[np.float64]:
    """Scores as the kernels take them, after utterances that have no alignment are refused."""
    for row, (n, length) in enumerate(zip(tokens, frames, strict=True)):
        if not 1 <= n <= length:
            raise UserError(
                f"utterance {row} has {n} tokens and {length} frames: each token needs a frame or more"
            )
        if n > scores.shape[1] or length > scores.shape[2]:
            raise UserError(
                f"utterance {row} has {n} tokens and {length} frames, but scores of {scores.shape[1]} and "
                f"{scores.shape[2]}: give the numbers of each utterance before padding"
            )
    return np.ascontiguousarray(scores, np.float64)


@_compiled
def _viterbi(scores: Any, tokens: int, frames: int, moved: Any, durations: Any) -> None:
    """Frames of each token of the best path; ``moved`` (tokens, frames) is room to work in."""
    best = np.full(frames, -np.inf)  # of the token before, by frame
    for i in range(tokens):
        before = -np.inf
        # Frames at which the tokens before and behind have a frame each.
        begin, end = i, frames - tokens + i + 1
        diagonal = best[begin - 1] if i else 0.0
        for t in range(begin, end):
            move = diagonal if i or t == 0 else -np.inf
            diagonal = best[t]
            score = scores[i, t]
            moved[i, t] = move > before or t == begin
            before = max(move, before) + (score if score == score else -np.inf)  # noqa: PLR0124 - not NaN
            best[t] = before
    i = tokens - 1
    for t in range(frames - 1, -1, -1):
        durations[i] += 1
        i -= moved[i, t]


@_compiled
def _log_sum(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    high, low = (a, b) if a > b else (b, a)
    if low == -np.inf or high - low > NOTHING:
        return high
    return high + math.log1p(math.exp(low - high))


@_compiled
def _forward_backward(scores: Any, tokens: int, frames: int, alpha: Any, found: Any) -> float:
    """The likelihood; ``found`` gets the posteriors, ``alpha`` (tokens, frames) is room to work in."""
    for i in range(tokens):
        before = -np.inf
        begin, end = i, frames - tokens + i + 1
        for t in range(begin, end):
            move = (0.0 if t == 0 else -np.inf) if i == 0 else alpha[i - 1, t - 1]
            before = _log_sum(before, move) + scores[i, t]
            alpha[i, t] = before
    likelihood: float = alpha[tokens - 1, frames - 1]
    if likelihood == -np.inf:
        return likelihood
    beta = np.full(frames + 1, -np.inf)  # of the token behind, with its score, by frame
    for i in range(tokens - 1, -1, -1):
        after = -np.inf
        begin, end = i, frames - tokens + i + 1
        diagonal = beta[end]
        for t in range(end - 1, begin - 1, -1):
            move = (0.0 if t == frames - 1 else -np.inf) if i == tokens - 1 else diagonal
            diagonal = beta[t]
            after = _log_sum(after, move)
            found[i, t] = math.exp(alpha[i, t] + after - likelihood)
            after += scores[i, t]
            beta[t] = after
    return likelihood
