"""The howl guard in simulated rooms (`feedback_loop`), on programme without feedback, and its filters."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from feedback_loop import Room, decaying_noise, levels, music_like, shoebox, speech_like
from scipy import signal

from engines import howl
from engines.howl import AIM, BROAD, HOLDING, MOST, NOTCH, NOW, OUTSIDE, OVERLOAD, STATE, TARGET, Howl

RATE = 48_000
DATA = Path(__file__).parents[2] / "shared" / "data"


def guard(rate=RATE, channels=1, block=512, **values):
    processor = Howl(**values)
    processor.prepare(rate, block, channels=channels)
    return processor


def notches(processor):
    return processor._state[NOTCH]


def guarded(processor, x, block=512):
    """The output for a signal (channels, samples) without a loop, and the notches ever set."""
    y, found, before = np.empty_like(x), 0, notches(processor)[:, STATE].copy()
    for at in range(0, x.shape[1], block):
        piece = np.ascontiguousarray(x[:, at : at + block])
        out = np.empty_like(piece)
        processor.process(piece, out)
        y[:, at : at + block] = out
        found += int(((notches(processor)[:, STATE] > 0) & (before == 0)).sum())
        before = notches(processor)[:, STATE].copy()
    return y, found


def mono(x, level=None):
    x = np.asarray(x, np.float32)[None]
    return x if level is None else np.float32(10 ** (level / 20) / x.std()) * x


def burst(seconds, seed=0, rate=RATE):
    """50 ms of noise at -46 dB, then silence: what is heard after it is howl."""
    x, begin, n = np.zeros(round(seconds * rate)), rate // 10, rate // 20
    x[begin : begin + n] = 10 ** (-46 / 20) * np.random.default_rng(seed).standard_normal(n)
    return x


@lru_cache
def room(seed, rate=RATE):
    return Room(seed, rate, (decaying_noise, shoebox)[seed % 2])


# ------------------------------------------------------------------------------------------- in a closed loop


@pytest.mark.parametrize("seed", range(4))
def test_the_limit_of_stability_is_where_the_rooms_begin_to_howl(seed):
    for gain, grows in ((-0.5, False), (0.5, True)):
        late = levels(room(seed).play(burst(2.5), gain), RATE, 0.1)[5:]
        assert (late[-1] > late[0]) == grows


@pytest.mark.parametrize("seed", range(8))
def test_a_loop_10_db_above_the_limit_is_bounded(seed):
    """It has no other bound; without the guard it exceeds +100 dBFS."""
    x = speech_like(5, RATE, seed)
    assert np.abs(room(seed).play(x[: 2 * RATE], 10.0)).max() > 1e5
    processor = guard()
    y = room(seed).play(x, 10.0, processor)
    assert len(y) >= 5 * RATE - 128
    assert np.abs(y).max() <= OVERLOAD
    loudest = levels(x, RATE, 0.1).max()
    heard = levels(y, RATE, 0.1)
    assert (heard > loudest + 6).sum() <= 12  # tenths of a second
    assert heard[-20:].mean() < loudest + 3


@pytest.mark.parametrize("gain", [1.0, 3.0, 6.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_howl_in_a_quiet_room_is_down_before_it_is_loud(seed, gain):
    """From as loud as speech, -26 dB, to 20 dB less in 0.3 s; most never get that far."""
    processor = guard()
    heard = levels(room(seed).play(burst(4), gain, processor), RATE, 0.01)
    loud = np.flatnonzero(heard > -26)
    if len(loud):
        after = np.flatnonzero((np.arange(len(heard)) > heard.argmax()) & (heard < -46))
        assert len(after)
        assert 0.01 * (after[0] - loud[0]) <= 0.3
    assert heard[-50:].max() < -46
    assert (notches(processor)[:, STATE] == HOLDING).sum() >= 1


def test_notches_add_stable_gain():
    """4 dB above the limit, after a while, without the broadband cut: notches alone hold the loop."""
    stable = 0
    for seed in range(6):
        processor = guard(notches=24)
        room(seed).play(np.concatenate([burst(3, seed), burst(9, seed + 10)]), 4.0, processor)
        stable += processor._state[BROAD][AIM] == 1.0
    assert stable >= 5


def test_below_the_limit_nothing_is_touched():
    for seed in range(4):
        x = speech_like(4, RATE, seed)
        assert np.array_equal(room(seed).play(x, -3.0, guard()), room(seed).play(x, -3.0)), seed


@pytest.mark.parametrize("rate", [16_000, 96_000])
def test_it_works_at_other_rates(rate):
    x = speech_like(4, rate, 3)
    heard = levels(room(2, rate).play(x, 8.0, guard(rate)), rate, 0.1)
    assert (heard > levels(x, rate, 0.1).max() + 6).sum() <= 8


def test_a_howl_that_the_converter_limits_is_notched():
    """The guard starts in the middle of it: a steady tone at full scale."""

    class Late:
        def __init__(self):
            self.guard, self.at = guard(), 0

        def process(self, block, out):
            self.at += 128
            if self.at < 3 * RATE:
                out[:] = block
            else:
                self.guard.process(block, out)

    heard = levels(room(1).play(burst(8), 1.0, Late(), clip=1.0), RATE, 0.1)
    assert heard[25] > -4
    assert heard[-10:].max() < -60


def test_notches_open_again_after_the_release():
    processor = guard(release=1.0)
    y = room(1).play(burst(2), 1.0, processor)
    assert (notches(processor)[:, TARGET] < 1).any()
    x = np.zeros((1, 3 * RATE), np.float32)
    guarded(processor, x, 128)
    assert (notches(processor)[:, [TARGET, NOW]] == 1).all()
    assert (notches(processor)[:, STATE] == 0).all()
    assert levels(y, RATE)[-1] < -46
    x = mono(speech_like(1, RATE))
    assert np.array_equal(guarded(processor, x, 128)[0], x)


# ------------------------------------------------------------------------------------------- without feedback


@pytest.mark.parametrize("programme", [speech_like, music_like])
@pytest.mark.parametrize("seed", range(2))
def test_programme_passes_to_the_bit(programme, seed):
    x = mono(programme(20, RATE, seed))
    y, found = guarded(guard(), x)
    assert found == 0
    assert np.array_equal(y, x)


def tone(frequency, harmonics=(1.0,), vibrato=0.0, seconds=6.0, begin=0.3, length=5.0):
    """A note with a slow onset over faint noise; ``vibrato`` is relative, at 5.3 Hz."""
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * frequency * (t - vibrato / (2 * np.pi * 5.3) * np.cos(2 * np.pi * 5.3 * t))
    swell = np.clip((t - begin) / 0.06, 0, 1) * np.clip((begin + length - t) / 0.08, 0, 1)
    x = swell * sum(a * np.sin((h + 1) * phase) for h, a in enumerate(harmonics))
    return mono(0.2 * x + 1e-4 * np.random.default_rng(0).standard_normal(len(t)))


def sweeping(rate_of_change):
    t = np.arange(6 * RATE) / RATE
    return mono(0.2 * np.sin(2 * np.pi * (900 * t - 300 / rate_of_change * np.cos(rate_of_change * t))))


HARD = {
    "flute": tone(700, (1, 0.25, 0.1, 0.03), 0.004),
    "whistle": tone(1500, (1, 0.01), 0.006),
    "oboe": tone(520, (1, 0.8, 0.9, 0.5, 0.2)),
    "organ": sum(tone(f, (1, 0.8, 0.5, 0.4, 0.2)) for f in (150, 300, 450)) / 3,
    "siren": sweeping(2.0),
    "yelp": sweeping(18.0),
    "hum": tone(100, (1, 0.4, 0.2, 0.1)),
}


@pytest.mark.parametrize("name", HARD)
def test_tones_that_are_no_howls_pass_to_the_bit(name):
    y, found = guarded(guard(), HARD[name])
    assert found == 0
    assert np.array_equal(y, HARD[name])


@pytest.mark.parametrize("amplitude", [0.05, 0.2, 0.9])
def test_a_steady_sine_is_tried_and_let_be(amplitude):
    """It is one notch for less than a second in eight, no broadband cut, and the rest passes to the bit."""
    x = mono(amplitude * np.sin(2 * np.pi * 1000 * np.arange(8 * RATE) / RATE))
    processor = guard()
    y, found = guarded(processor, x)
    assert found == 1
    assert notches(processor)[0, STATE] == OUTSIDE
    assert processor._state[BROAD][AIM] == 1.0
    assert (y != x).mean() < 1 / 8


def load(paths, seconds):
    """Recordings end to end, at 48 kHz."""
    parts, wanted = [], seconds * RATE
    for path in paths:
        x, rate = soundfile.read(path, always_2d=True)
        parts.append(soxr.resample(x.mean(axis=1), rate, RATE))
        wanted -= len(parts[-1])
        if wanted <= 0:
            break
    return mono(np.concatenate(parts).clip(-1, 1))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "pattern", "seconds"),
    [("speech/librispeech-251", "*", 120), ("speech/kathleen/wavs", "*", 60), ("stems", "*", 130)],
)
def test_recordings_give_at_most_one_notch_a_minute(folder, pattern, seconds):
    paths = sorted((DATA / folder).glob(pattern)) if (DATA / folder).is_dir() else []
    paths = [path for path in paths if path.suffix in {".ogg", ".opus", ".flac", ".wav"}]
    if not paths:
        pytest.skip(f"{DATA / folder} is not there: real recordings are not part of the project")
    if folder == "stems":
        mixes = [load(pair, 60) for pair in zip(paths[::2], paths[1::2], strict=True)]
        x = np.concatenate(
            [sum(np.split(mix[:, : mix.shape[1] // 2 * 2], 2, axis=1)) for mix in mixes], axis=1
        )
    else:
        x = load(paths, seconds)
    processor = guard(release=5.0)
    _, found = guarded(processor, x)
    assert found <= max(1, x.shape[1] / RATE / 60)
    assert processor._state[BROAD][AIM] == 1.0


# ------------------------------------------------------------------------------------------------ its filters


def with_notch(depth, frequency=1000.0, channels=1, rate=RATE):
    """A guard that holds one notch."""
    processor = guard(rate, channels, depth=depth, cut=0.0)
    state = processor._state
    n_fft = len(state[howl.WINDOW])
    assert howl.set_notch(
        notch_state(processor),
        frequency * n_fft / rate,
        -20.0,
        60.0,
        0,
        float(rate),
        MOST,
        10 ** (depth / 20),
    )
    return processor


def notch_state(processor):
    return processor._table.ctypes.data


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
@pytest.mark.parametrize("depth", [-6.0, -18.0, -48.0])
def test_a_notch_is_as_deep_and_as_narrow_as_said(depth, rate):
    """Against the analogue (s**2 + g B s + w**2) / (s**2 + B s + w**2), bent by the bilinear map."""
    frequency = 1000.0
    processor = with_notch(depth, frequency, rate=rate)
    guarded(processor, np.zeros((1, rate // 10), np.float32), 128)  # The depth glides in.
    x = np.zeros((1, rate // 4), np.float32)
    x[0, 0] = 1.0
    y = guarded(processor, x, 128)[0][0].astype(float)
    at = np.array([200.0, 900.0, 970.0, 1000.0, 1050.0, 1300.0, 3000.0])
    got = 20 * np.log10(np.abs(signal.freqz(y, 1, at, fs=rate)[1]))
    w0, w = (np.tan(np.pi * f / rate) for f in (frequency, at))
    gain, band = 10 ** (depth / 20), w0 / 10
    want = 20 * np.log10(np.abs((w0**2 - w**2 + 1j * gain * band * w) / (w0**2 - w**2 + 1j * band * w)))
    assert got == pytest.approx(want, abs=0.1)


def test_a_notch_comes_and_goes_without_a_click():
    """A sine beside it leaves less than -80 dB above 6 kHz, full scale being 0 dB."""
    n = 32_768
    x = mono(0.9 * np.sin(2 * np.pi * 800 * np.arange(n) / RATE))
    processor = with_notch(-48.0, 1000.0)
    first = guarded(processor, x[:, : n // 2], 128)[0]
    notches(processor)[0, TARGET] = 1.0
    notches(processor)[0, STATE] = 0
    y = np.concatenate([first, guarded(processor, x[:, n // 2 :], 128)[0]], axis=1)[0]
    window = np.kaiser(n, 20)
    spectrum = np.abs(np.fft.rfft(y * window)) * 2 / window.sum()
    above = spectrum[np.fft.rfftfreq(n, 1 / RATE) > 6000]
    assert 20 * np.log10(np.sqrt((above**2).sum())) < -80
    assert np.array_equal(y[-1000:], x[0, -1000:])


def test_an_overload_is_cut_at_once_and_recovers():
    x = np.random.default_rng(1).standard_normal((2, 16 * RATE)).astype(np.float32)
    x[:, :4800] *= 100
    x[:, 4800:] *= np.float32(0.01)
    x[1] *= np.float32(0.5)
    y = guarded(guard(channels=2), x)[0]
    assert np.abs(y).max() <= OVERLOAD
    gain = [
        np.abs(y[:, at]).sum() / np.abs(x[:, at]).sum() for at in range(4800 + RATE // 4, 16 * RATE, RATE)
    ]
    assert gain[0] == pytest.approx(10 ** (-36 / 20), rel=1e-3)
    steps = 20 * np.log10(np.divide(gain[2:12], gain[1:11]))
    assert steps == pytest.approx(np.full(10, 3.0), abs=0.1)
    assert np.array_equal(y[:, -RATE:], x[:, -RATE:])
    off = guarded(guard(channels=2, cut=0.0, notches=0), x)[0]
    assert np.array_equal(off, x)


def rising(frequencies, slope, start=-60.0, seconds=1.0):
    """Tones that grow from a level (dBFS) by ``slope`` dB/s."""
    t = np.arange(round(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * f * t + f) for f in frequencies)
    return mono(10 ** ((start + slope * t) / 20) * tones)


@pytest.mark.parametrize(
    ("frequencies", "count", "cuts"),
    [((700,), 1, False), ((700, 1900), 1, True), ((700, 1900), 2, False), ((500, 900, 1700, 2900), 24, True)],
)
def test_the_broadband_cut_is_for_what_is_too_much_for_notches(frequencies, count, cuts):
    """More howls than notches, or many at once."""
    processor = guard(notches=count)
    guarded(processor, rising(frequencies, 50.0, seconds=0.6))
    assert (notches(processor)[:, STATE] == HOLDING).sum() == min(count, len(frequencies))
    assert (processor._state[BROAD][AIM] < 1.0) == cuts


def test_a_sound_that_runs_away_as_a_whole_is_cut():
    """So are many howls at once, before any single one stands out."""
    t = np.arange(round(0.5 * RATE)) / RATE
    x = mono(10 ** ((-50 + 100 * t) / 20) * np.random.default_rng(3).uniform(-1, 1, len(t)))
    processor = guard()
    guarded(processor, x)
    assert (notches(processor)[:, STATE] == 0).all()
    assert processor._state[BROAD][AIM] < 0.5


def test_channels_share_the_notches():
    """A howl in one channel of six, in a loop of its own; the other channels are filtered alike."""
    n = 2 * RATE
    rise = np.minimum(10 ** (60 * np.arange(n) / RATE / 20), 1e3) * 1e-3
    x = np.zeros((6, n), np.float32)
    x[4] = rise * np.sin(2 * np.pi * 2000 * np.arange(n) / RATE)
    x[0] = 1e-4 * np.random.default_rng(2).standard_normal(n)
    processor = guard(channels=6)
    y, found = guarded(processor, x)
    assert found >= 1
    assert not np.array_equal(y[0], x[0])
    assert not y[[1, 2, 3, 5]].any()


@pytest.mark.parametrize("block", [1, 17, 441, 8193])
def test_any_partition_gives_the_same_bits_while_it_howls(block):
    x = mono(room(3).play(burst(1.5), 6.0, clip=1.0).clip(-1, 1))
    want = guarded(guard(block=8192), x, 8192)[0]
    assert not np.array_equal(want, x)
    assert np.array_equal(guarded(guard(block=block), x, block)[0], want)
