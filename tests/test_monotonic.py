"""The alignment of tokens with frames, against all of its paths."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from export.monotonic import durations, posteriors
from rtaudio.errors import UserError

SCORES = st.one_of(
    st.floats(-30, 30, width=32), st.integers(-2, 2).map(float), st.sampled_from([-np.inf, -500.0, 500.0])
)


def paths(tokens, frames):
    """The token of each frame, of every path."""
    for moves in combinations(range(1, frames), tokens - 1):
        yield np.searchsorted(moves, np.arange(frames), side="right")


def weights(scores):
    """Paths, and the logarithm of how likely each is."""
    every = list(paths(*scores.shape))
    at = np.arange(scores.shape[1])
    return every, np.array([scores[path, at].astype(np.float64).sum() for path in every])


@st.composite
def lattices(draw):
    """Utterances of a batch, padded with what must not be looked at."""
    sizes = draw(
        st.lists(
            st.integers(1, 8).flatmap(lambda t: st.tuples(st.integers(1, min(5, t)), st.just(t))),
            min_size=1,
            max_size=3,
        )
    )
    tokens, frames = np.array(sizes).T
    scores = np.full((len(sizes), tokens.max() + 1, frames.max() + 2), np.nan, np.float32)
    for row, (n, length) in enumerate(sizes):
        values = draw(st.lists(SCORES, min_size=n * length, max_size=n * length))
        scores[row, :n, :length] = np.reshape(values, (n, length))
    return scores, tokens, frames


@settings(max_examples=60, deadline=None)
@given(lattices())
def test_the_best_path_is_the_best_of_all(batch):
    scores, tokens, frames = batch
    found = durations(scores, tokens, frames)
    assert found.shape == scores.shape[:2]
    for row, (n, length) in enumerate(zip(tokens, frames, strict=True)):
        assert found[row].sum() == length
        assert (found[row, :n] >= 1).all()
        assert not found[row, n:].any()
        _, likely = weights(scores[row, :n, :length])
        path = np.repeat(np.arange(n), found[row, :n])
        assert scores[row, path, np.arange(length)].astype(np.float64).sum() == pytest.approx(likely.max())


@settings(max_examples=60, deadline=None)
@given(lattices())
def test_posteriors_are_the_shares_of_all_paths(batch):
    scores, tokens, frames = batch
    likelihoods, found = posteriors(scores, tokens, frames)
    for row, (n, length) in enumerate(zip(tokens, frames, strict=True)):
        every, likely = weights(scores[row, :n, :length])
        whole = logsumexp(likely)
        assert likelihoods[row] == pytest.approx(whole, abs=1e-5)
        wanted = np.zeros(scores.shape[1:])
        if np.isfinite(whole):
            for path, weight in zip(every, np.exp(likely - whole), strict=True):
                wanted[path, np.arange(length)] += weight
            np.testing.assert_allclose(found[row, :n, :length].sum(0), 1, atol=1e-5)
        np.testing.assert_allclose(found[row], wanted, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, -np.inf, np.nan])
def test_of_equal_paths_the_one_that_stays_at_the_end_is_taken(value):
    scores = np.full((1, 3, 7), value, np.float32)
    assert durations(scores, np.array([3]), np.array([7])).tolist() == [[1, 1, 5]]


@pytest.mark.parametrize("value", [-np.inf, np.nan])
def test_no_path_leads_through_what_is_impossible(value):
    scores = np.zeros((1, 2, 4), np.float32)
    scores[0, 1, 2] = value
    assert durations(scores, np.array([2]), np.array([4])).tolist() == [[3, 1]]


def test_a_path_through_a_wall_is_told_as_impossible():
    scores = np.zeros((1, 2, 4), np.float32)
    scores[0, :, 2] = -np.inf
    likelihoods, found = posteriors(scores, np.array([2]), np.array([4]))
    assert likelihoods.tolist() == [-np.inf]
    assert not found.any()


def test_long_utterances_keep_their_precision():
    """One token can be at one place only: 1,000 frames, 300 tokens, sums in the hundred thousands."""
    random = np.random.default_rng(1)
    wanted = np.full(300, 1) + random.multinomial(700, np.full(300, 1 / 300))
    path = np.repeat(np.arange(300), wanted)
    scores = random.uniform(-500, -400, (1, 300, 1000)).astype(np.float32)
    scores[0, path, np.arange(1000)] = -300.0
    assert (durations(scores, np.array([300]), np.array([1000]))[0] == wanted).all()
    likelihoods, found = posteriors(scores, np.array([300]), np.array([1000]))
    assert likelihoods[0] == pytest.approx(-300_000.0)
    np.testing.assert_allclose(found[0, path, np.arange(1000)], 1)


@pytest.mark.parametrize("align", [durations, posteriors])
@pytest.mark.parametrize(
    ("tokens", "frames", "message"),
    [
        (4, 3, "utterance 0 has 4 tokens and 3 frames: each token needs a frame"),
        (0, 3, "0 tokens"),
        (6, 8, "scores of 5 and 8"),
        (5, 9, "scores of 5 and 8"),
    ],
)
def test_what_has_no_alignment_is_refused(align, tokens, frames, message):
    with pytest.raises(UserError, match=message):
        align(np.zeros((1, 5, 8), np.float32), np.array([tokens]), np.array([frames]))
