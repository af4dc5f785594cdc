"""Bands as they are chosen: properties of every change of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gui.bands import SEMITONE, Band, between, moved, octave, told, widened
from gui.rulers import frequency_at, height_of
from rtaudio.observation import HIGHEST, LOWEST

HEARD = st.floats(LOWEST, HIGHEST)
ANY = st.floats(1.0, 1e5)
BANDS = st.builds(between, HEARD, HEARD)
STEPS = st.floats(-60.0, 60.0)


def assert_fits(band):
    assert LOWEST * (1 - 1e-9) <= band.low < band.high <= HIGHEST * (1 + 1e-9)
    assert band.high / band.low >= SEMITONE * (1 - 1e-9)


@given(one=ANY, other=ANY)
def test_a_band_is_between_two_frequencies_in_either_order(one, other):
    band = between(one, other)
    assert_fits(band)
    assert band == between(other, one)
    low, high = sorted((one, other))
    if low >= LOWEST and high <= HIGHEST and high >= SEMITONE * low:
        assert band == (low, high)


@given(band=BANDS, steps=STEPS)
def test_a_band_that_is_moved_stays_as_wide(band, steps):
    found = moved(band, steps)
    assert_fits(found)
    assert found.high / found.low == pytest.approx(band.high / band.low)
    if band.low * SEMITONE**steps >= LOWEST and band.high * SEMITONE**steps <= HIGHEST:
        assert found.low == pytest.approx(band.low * SEMITONE**steps)


@given(band=BANDS, steps=STEPS)
def test_a_band_is_widened_on_both_sides(band, steps):
    found = widened(band, steps)
    assert_fits(found)
    wanted = band.low / SEMITONE**steps, band.high * SEMITONE**steps
    if wanted[0] >= LOWEST and wanted[1] <= HIGHEST and wanted[1] / wanted[0] >= SEMITONE:
        assert found == pytest.approx(wanted)
    if steps >= 0:
        assert found.low <= band.low * (1 + 1e-9)
        assert found.high >= band.high * (1 - 1e-9)


def test_an_octave_lies_around_its_middle_and_is_told():
    band = octave(440.0 * 2**0.5)
    assert band == pytest.approx((440.0, 880.0))
    assert told(band) == "440 Hz to 880 Hz"
    assert isinstance(band, Band)


@given(frequency=HEARD, rate=st.sampled_from([8000, 44_100, 48_000, 192_000]))
def test_a_frequency_lies_where_it_is_read(frequency, rate):
    wanted = min(frequency, rate / 2)
    assert frequency_at(height_of(wanted, rate), rate) == pytest.approx(wanted)


@given(height=st.floats(-1.0, 2.0), rate=st.sampled_from([8000, 48_000]))
def test_what_is_read_beside_the_picture_is_its_end(height, rate):
    assert LOWEST * (1 - 1e-9) <= frequency_at(height, rate) <= min(HIGHEST, rate / 2) * (1 + 1e-9)
