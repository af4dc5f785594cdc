"""The Fourier transform, the windows and the sliding medians against numpy, scipy and their definitions."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import median_filter

from engines.medians import NETWORK_SIZE, median_over_frequency, scratch, slide_sorted_columns
from rtaudio.stft import SIZES, check_sizes, fft_tables, inverse_real_fft, real_fft, windows

EPSILON = float(np.finfo(np.float32).eps)
HOPS = (64, 128, 256, 512, 1024, 2048)
SYNTHESIS = (128, *SIZES)


def spectrum(frame):
    """`real_fft`, as complex numbers."""
    n_fft = frame.shape[0]
    re, im = np.full((2, n_fft // 2 + 1), np.nan, np.float32)
    real_fft(frame, re, im, np.full((4, n_fft // 2), np.nan, np.float32), *fft_tables(n_fft))
    return re + 1j * im.astype(np.float64)


def back(bins):
    """`inverse_real_fft` of complex bins."""
    n_fft = 2 * (bins.shape[0] - 1)
    re, im = np.ascontiguousarray([bins.real, bins.imag], np.float32)
    frame = np.full(n_fft, np.nan, np.float32)
    inverse_real_fft(re, im, frame, np.full((4, n_fft // 2), np.nan, np.float32), *fft_tables(n_fft))
    return frame


def error(got, true):
    """Root mean square error, relative to the true values."""
    return np.linalg.norm(got - true) / np.linalg.norm(true)


@pytest.mark.parametrize("n_fft", SIZES)
class TestRealFft:
    def test_noise_gives_numpys_spectrum(self, n_fft):
        frame = np.random.default_rng(n_fft).standard_normal(n_fft).astype(np.float32)
        true = np.fft.rfft(frame.astype(np.float64))
        got = spectrum(frame)
        assert error(got, true) < 2 * EPSILON
        assert np.max(np.abs(got - true)) < 12 * EPSILON * np.max(np.abs(true))

    def test_the_inverse_gives_numpys_frame(self, n_fft):
        rng = np.random.default_rng(n_fft)
        bins = rng.standard_normal(n_fft // 2 + 1) + 1j * rng.standard_normal(n_fft // 2 + 1)
        bins[[0, -1]] = bins[[0, -1]].real
        bins = bins.astype(np.complex64)
        assert error(back(bins), np.fft.irfft(bins.astype(np.complex128))) < 2 * EPSILON

    def test_there_and_back_is_the_same(self, n_fft):
        frame = np.random.default_rng(n_fft).standard_normal(n_fft).astype(np.float32)
        assert error(back(spectrum(frame)), frame) < 3 * EPSILON

    def test_impulses_and_tones_are_in_their_places(self, n_fft):
        for place in (0, 1, n_fft // 2, n_fft - 1):
            frame = np.zeros(n_fft, np.float32)
            frame[place] = 1
            true = np.exp(-2j * np.pi * place * np.arange(n_fft // 2 + 1) / n_fft)
            assert np.max(np.abs(spectrum(frame) - true)) < 4 * EPSILON
        for k in (0, 1, 7, n_fft // 4, n_fft // 2 - 1, n_fft // 2):
            frame = np.cos(2 * np.pi * k * np.arange(n_fft) / n_fft).astype(np.float32)
            true = np.zeros(n_fft // 2 + 1)
            true[k] = n_fft if k in (0, n_fft // 2) else n_fft / 2
            assert error(spectrum(frame), true) < 2 * EPSILON

    def test_a_quiet_frame_has_the_same_relative_error(self, n_fft):
        frame = np.random.default_rng(n_fft).standard_normal(n_fft).astype(np.float32) * np.float32(1e-20)
        assert error(spectrum(frame), np.fft.rfft(frame.astype(np.float64))) < 2 * EPSILON


def test_only_the_ends_of_the_spectrum_are_exactly_real():
    bins = spectrum(np.random.default_rng(0).standard_normal(256).astype(np.float32))
    assert bins.imag[0] == bins.imag[-1] == 0
    assert np.all(bins.imag[1:-1] != 0)


# ------------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize("n_fft", SIZES)
def test_windows_reconstruct(n_fft):
    """Overlap-added products of analysis and synthesis window are 1, for every combination that is taken."""
    for synthesis, hop in product(SYNTHESIS, HOPS):
        if check_sizes(n_fft, hop, synthesis):
            continue
        analysis, synthesising = windows(n_fft, hop, synthesis)
        assert analysis.shape == synthesising.shape == (n_fft,)
        assert analysis.dtype == synthesising.dtype == np.float32
        assert not synthesising[: n_fft - synthesis].any()
        overlapped = np.zeros(3 * n_fft)
        for begin in range(0, 2 * n_fft + 1, hop):
            overlapped[begin : begin + n_fft] += analysis.astype(np.float64) * synthesising
        inner = overlapped[n_fft : 2 * n_fft]
        assert np.max(np.abs(inner - 1)) < 4 * EPSILON, (hop, synthesis)


@pytest.mark.parametrize("n_fft", SIZES)
def test_the_default_pair_is_the_square_root_of_hann(n_fft):
    analysis, synthesising = windows(n_fft, n_fft // 4)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    np.testing.assert_allclose(analysis, np.sqrt(hann), atol=EPSILON)
    np.testing.assert_allclose(synthesising, np.sqrt(hann) / 2, atol=EPSILON)


def test_the_short_pair_multiplies_to_hann():
    analysis, synthesising = windows(4096, 256, 512)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(512) + 0.5) / 512)
    np.testing.assert_allclose((analysis * synthesising)[-512:], hann, atol=4 * EPSILON)
    assert np.argmax(analysis) in (4096 - 257, 4096 - 256)
    assert np.all(analysis > 0)


def test_lengths_that_do_not_fit_are_named():
    assert check_sizes(1024, 256, 512) == []
    assert check_sizes(512, 256, 1024) == ["a synthesis window of 1024 is longer than n_fft 512"]
    assert check_sizes(1024, 512, 512) == ["a hop of 512 is more than half of the synthesis window 512"]


# ------------------------------------------------------------------------------------------- medians


def over_frequency(values, size):
    out = np.full_like(values, np.nan)
    median_over_frequency(values, out, size, *scratch(values.shape[0], size))
    return out


@pytest.mark.parametrize("size", range(3, 131, 2))
def test_the_median_over_frequency_is_scipys(size):
    rng = np.random.default_rng(size)
    for bins in (129, 513, 2049):
        noise = rng.standard_normal(bins).astype(np.float32)
        falling = np.arange(bins, 0, -1).astype(np.float32)
        for values in (noise**2, np.round(noise), falling, np.zeros_like(noise), np.full_like(noise, 3.5)):
            np.testing.assert_array_equal(
                over_frequency(values, size), median_filter(values, size, mode="reflect")
            )


finite = st.floats(-(2.0**100), 2.0**100, width=32)
few = st.sampled_from([-1.0, -0.0, 0.0, 0.0, 1.0, 2.0])


@settings(max_examples=200, deadline=None)
@given(
    arrays(np.float32, st.integers(70, 200), elements=finite | few),
    st.integers(1, 64).map(lambda half: 2 * half + 1) | st.just(NETWORK_SIZE),
)
def test_the_median_over_frequency_of_anything(values, size):
    np.testing.assert_array_equal(over_frequency(values, size), median_filter(values, size, mode="reflect"))


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from([3, 5, 7, 17, 33]), st.integers(1, 5), st.integers(1, 40))
def test_sliding_sorted_columns_hold_the_last_values(data, size, bins, steps):
    """After every step each column is its last ``size`` values in order, so its middle is their median."""
    shape = (size + steps, bins)
    history = data.draw(arrays(np.float32, shape, elements=data.draw(st.sampled_from([finite, few]))))
    history[:size] = 0
    columns, moved = np.zeros((size, bins), np.float32), np.full((size, bins), np.nan, np.float32)
    for step in range(size, size + steps):
        slide_sorted_columns(columns, moved, history[step - size], history[step])
        columns, moved = moved, columns
        window = history[step - size + 1 : step + 1]
        np.testing.assert_array_equal(columns, np.sort(window, axis=0))
        np.testing.assert_array_equal(columns[size // 2], np.median(window, axis=0))


@pytest.mark.parametrize("size", [3, 17, 65])
def test_sliding_sorted_columns_of_long_noise(size):
    history = np.random.default_rng(size).standard_normal((size + 300, 700)).astype(np.float32) ** 2
    columns, moved = np.sort(history[:size], axis=0), np.zeros((size, 700), np.float32)
    for step in range(size, len(history)):
        slide_sorted_columns(columns, moved, history[step - size], history[step])
        columns, moved = moved, columns
        if step % 29 == 0:
            middle = np.median(history[step - size + 1 : step + 1], axis=0)
            np.testing.assert_array_equal(columns[size // 2], middle)
