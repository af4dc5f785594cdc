"""The gate against a reference that knows only when it opened and closed, and against its promises."""

import blocks
import numpy as np
import pytest
from blocks import BLOCKS, PARTITIONS, course, noise, run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from engines.gate import Gate
from rtaudio.chain import load_chain

RATE = 48_000
DEFAULTS = {parameter.id: parameter.default for parameter in Gate.parameters}


def gated(values, x, rate=RATE, sizes=(4096,), sidechain=None):
    """The output for blocks of these sizes, over and over, and the latency."""
    processor = Gate(**values)
    processor.connected = frozenset() if sidechain is None else frozenset({"sidechain"})
    rows = np.vstack([x, np.zeros_like(x) if sidechain is None else sidechain])
    return run(processor, rows, rate, sizes, len(x)), processor.latency


def played(values, x, block, events=()):
    return blocks.played(Gate, values, x, block, events)


def faded(samples, length):
    """Quintic fade from 0 to 1, so many samples after its beginning."""
    u = min(max(samples / length, 0.0), 1.0)
    return 6 * u**5 - 15 * u**4 + 10 * u**3


def gains(key, values, rate=RATE):
    """The gain at every sample, from the magnitudes of a key."""
    v = DEFAULTS | values
    opening, closing = 10 ** (v["threshold"] / 20), 10 ** ((v["threshold"] - v["hysteresis"]) / 20)
    attack, release = v["attack"] / 1e3 * rate, v["release"] / 1e3 * rate
    hold = v["hold"] / 1e3 * rate + round(v["lookahead"] / 1e3 * rate)
    lowest = 0.0 if v["range"] == -100 else 10 ** (v["range"] / 20)
    out, opened, closed, loud = np.zeros(len(key)), None, -1e9, 0
    for i, level in enumerate(key):
        if opened is None and level >= opening:
            opened = i
        if level >= closing:
            loud = i
        if opened is not None and i - loud > hold and i - opened >= np.ceil(attack - 1e-9):
            opened, closed = None, i
        left = 1 - faded(i - closed + 1, release)
        rise = 0.0 if opened is None else faded(i - opened + 1, attack)
        out[i] = lowest + (1 - lowest) * (left + (1 - left) * rise)
    return out


def reference(values, x, rate=RATE, sidechain=None):
    v = DEFAULTS | values
    key = (x if v["key"] == "in" or sidechain is None else sidechain).astype(float)
    if v["highpass"] > 20:
        key = signal.sosfilt(signal.butter(2, v["highpass"], "high", fs=rate, output="sos"), key, axis=1)
    key = np.abs(key)
    if v["link"] == "on":
        key = np.repeat(key.max(axis=0)[None], len(x), axis=0)
    late = round(v["lookahead"] / 1e3 * rate)
    sound = np.pad(x.astype(float), ((0, 0), (late, 0)))[:, : x.shape[1]]
    return sound * np.array([gains(k, values, rate) for k in key])


def bursts(samples, channels=2, seed=0):
    """Noise that is loud for a while, soft for a while, at other times in every channel."""
    n = np.arange(samples)
    loud = np.array([(n + 1700 * c) % (5000 + 300 * c) < 1200 for c in range(channels)])
    return (np.where(loud, 0.5, 0.004) * noise(samples, channels, seed)).astype(np.float32)


def sine(samples, hertz=1000, level=0.9, rate=RATE):
    return (level * np.sin(2 * np.pi * hertz * np.arange(samples) / rate)).astype(np.float32)[None]


CASES = [
    {"hold": 3.0},
    {"hold": 10.0, "release": 20.0, "attack": 5.0, "hysteresis": 0.0, "range": -20.0},
    {"hold": 2.0, "release": 300.0, "lookahead": 3.0},
    {"hold": 4.0, "link": "off", "release": 10.0},
    {"hold": 4.0, "key": "sidechain", "highpass": 800.0, "lookahead": 1.0, "link": "off"},
]


@pytest.mark.parametrize("rate", [44_100, 96_000])
@pytest.mark.parametrize("values", CASES, ids=str)
def test_matches_the_reference(values, rate):
    x, other = bursts(20_000), bursts(20_000, seed=1)[::-1]
    y, _ = gated(values, x, rate, sidechain=other)
    want = reference(values, x, rate, other)
    assert np.abs(y - want).max() <= 1e-6
    assert 0.02 < np.mean(np.abs(want) > 0.1) < 0.5


number = st.floats(0, 1)


@settings(max_examples=25, deadline=None)
@given(st.tuples(number, number, number, number, number), st.sampled_from([1, 2, 3]), st.integers(0, 9))
def test_matches_the_reference_anywhere(drawn, channels, seed):
    spans = {
        "threshold": (-60, 0),
        "hysteresis": (0, 20),
        "range": (-99, 0),
        "hold": (6, 30),
        "release": (1, 90),
    }
    values = {
        name: low + u * (high - low) for (name, (low, high)), u in zip(spans.items(), drawn, strict=True)
    }
    x = bursts(6000, channels, seed)
    y, _ = gated(values | {"attack": 4.3}, x)
    assert np.abs(y - reference(values | {"attack": 4.3}, x)).max() <= 1e-6


# ---------------------------------------------------------------------------------------------- landmarks


def impulse(level, at=1000, samples=12_000):
    """A click in what is otherwise soft."""
    x = np.full((1, samples), 1e-4, np.float32)
    x[0, at] = level
    return x


def test_opens_at_the_threshold_and_not_below():
    threshold = np.float32(10 ** (-40 / 20))
    below, above = np.nextafter(threshold, np.float32(0)), np.nextafter(threshold, np.float32(1))
    assert not gated({}, impulse(below))[0].any()
    assert gated({}, impulse(above))[0].any()


@pytest.mark.parametrize("lookahead", [0.0, 5.0])
def test_opening_holding_and_closing_take_the_time_they_should(lookahead):
    """A click at 1000: open after the attack, held from when it is heard, closed after the release."""
    values = {"attack": 2.0, "hold": 20.0, "release": 50.0, "lookahead": lookahead}
    y, late = gated(values, impulse(0.5))
    gain = y[0, late:].astype(float) / impulse(0.5)[0, : 12_000 - late]
    begun, full = 1000 - late, 1000 - late + 95
    assert not gain[: max(0, begun)].any()
    assert gain[begun] == pytest.approx(faded(1, 96), rel=1e-6)
    assert gain[full - 1] < 1
    assert (gain[full : 1000 + 960 + 1] == 1).all()
    middle = 1000 + 960 + 1200
    assert gain[middle] == pytest.approx(0.5, abs=1e-6)
    assert gain[1000 + 960 + 2399] > 0
    assert not gain[1000 + 960 + 2400 :].any()


@pytest.mark.parametrize("hysteresis", [0.0, 6.0, 20.0])
def test_hysteresis_keeps_open_what_would_not_open(hysteresis):
    """A click, then a level between the two thresholds, or just below the lower."""
    for offset, stays in ((-hysteresis + 0.1, True), (-hysteresis - 0.1, False)):
        x = np.full((1, 9000), 10 ** ((-40 + offset) / 20), np.float32)
        x[0, :2000] = 0
        x[0, 2000] = 1.0
        y, _ = gated({"hysteresis": hysteresis, "hold": 5.0, "release": 10.0}, x)
        assert (y[0, -1] == x[0, -1]) == stays


def test_the_range_is_what_is_left():
    x = np.full((1, 2000), 1e-3, np.float32)
    assert gated({"range": -30.0}, x)[0] == pytest.approx(x * 10**-1.5, rel=1e-6)
    assert not gated({"range": -100.0}, x)[0].any()
    assert not gated({"range": float("-inf")}, x)[0].any()


@pytest.mark.parametrize("lookahead", [2.0, 7.0])
def test_lookahead_leaves_onsets_whole(lookahead):
    x = noise(20_000, 2) * 1e-4
    x[:, 9000:12_000] += noise(3000, 2, 1)
    y, late = gated({"attack": 2.0, "lookahead": lookahead, "threshold": -20.0}, x)
    first = 9000 + int(np.flatnonzero(np.abs(x[:, 9000:]).max(axis=0) >= 0.1)[0])
    assert np.array_equal(y[:, first + late : first + late + 3000], x[:, first : first + 3000])
    assert not y[:, : first - 1].any()


def test_an_opening_is_completed():
    """A click is over long before a slow attack; the gate opens all the way before it closes."""
    y, _ = gated({"attack": 100.0, "hold": 0.0, "release": 10.0}, impulse(0.5))
    gain = y[0].astype(float) / impulse(0.5)[0]
    assert gain[1000 + 4799] == 1
    assert (np.diff(gain[1000:5800]) >= 0).all()
    assert not gain[1000 + 4800 + 480 :].any()


def above_10_khz(y, rate=RATE):
    """What there is above 10 kHz in dB, full scale being 0 dB."""
    window = np.kaiser(len(y), 20)
    spectrum = np.abs(np.fft.rfft(y * window)) * 2 / window.sum()
    return 20 * np.log10(np.sqrt((spectrum[np.fft.rfftfreq(len(y), 1 / rate) > 10_000] ** 2).sum()))


@pytest.mark.parametrize("attack", [1.0, 10.0])
@pytest.mark.parametrize("again", [1, 1200, 3000, 6000])
def test_fades_leave_nothing_above_10_khz(attack, again):
    """Open, close, and open again while it closes (or has closed): a sine under a key of its own."""
    x, key = sine(16_384), np.zeros((1, 16_384), np.float32)
    key[0, 4000] = key[0, 4000 + 480 + again] = 1.0
    values = {"key": "sidechain", "attack": attack, "hold": 10.0, "release": 100.0}
    y, _ = gated(values, x, sidechain=key)
    assert 0.05 < np.abs(y[0, 4000:9000]).max() <= 0.9
    assert above_10_khz(y[0]) < -110
    cut = np.where(np.arange(16_384) > 8000, x[0], 0)
    assert above_10_khz(cut) > -60


def test_a_key_that_hovers_does_not_click():
    """The threshold in the middle of a level that trembles, with no hold to help."""
    key = (0.01 * (1 + 0.5 * noise(16_384, 1))).astype(np.float32)
    values = {"key": "sidechain", "attack": 2.0, "hold": 0.0, "release": 5.0, "hysteresis": 0.0}
    y, _ = gated(values, sine(16_384), sidechain=key)
    assert above_10_khz(y[0]) < -100


def test_linked_channels_open_together():
    x = np.full((3, 3000), 1e-3, np.float32)
    x[1, 1000:] = 0.5
    y, _ = gated({}, x)
    assert np.array_equal(y[0], y[2])
    assert y[0, -1] == x[0, -1]
    apart, _ = gated({"link": "off"}, x)
    assert np.array_equal(apart[1], y[1])
    assert not apart[[0, 2]].any()


def test_the_high_pass_keeps_rumble_from_opening():
    x = sine(20_000, 40, 0.3)
    assert np.abs(gated({"highpass": 1000.0}, x)[0]).max() == 0
    assert np.abs(gated({}, x)[0]).max() > 0.2


@pytest.mark.parametrize("lookahead", [0.0, 20.0])
def test_unity_is_exact(lookahead):
    x = bursts(9000)
    y, late = gated(Gate.unity | {"lookahead": lookahead}, x)
    assert late == round(48 * lookahead)
    assert np.array_equal(y[:, late:], x[:, : 9000 - late])
    assert not y[:, :late].any()


# ---------------------------------------------------------------------------------------------- partitions


@pytest.mark.parametrize("values", CASES, ids=str)
def test_any_partition_gives_the_same_bits(values):
    x, other = bursts(20_000), bursts(20_000, seed=1)
    want, _ = gated(values, x, sizes=(20_000,), sidechain=other)
    for sizes in PARTITIONS:
        assert np.array_equal(gated(values, x, sizes=sizes, sidechain=other)[0], want), sizes


EVENTS = (
    ("threshold", -10.0, 1000),
    ("range", -6.0, 1203),
    ("attack", 30.0, 1203),
    ("threshold", -50.0, 1390),
    ("hold", 0.0, 5000),
    ("release", 3.0, 5100),
    ("hysteresis", 20.0, 7000),
)


@pytest.mark.parametrize("link", ["on", "off"])
def test_any_partition_gives_the_same_bits_while_parameters_move(link):
    x = bursts(12_000)
    want = played({"link": link, "hold": 3.0}, x, 12_000, EVENTS)
    for block in BLOCKS:
        assert np.array_equal(played({"link": link, "hold": 3.0}, x, block, EVENTS), want), block


def test_a_moving_threshold_and_range_follow_their_ramps():
    """A constant level opens when the threshold, on its way down, meets it; closed, its gain is the range."""
    x = np.full((1, 4000), 0.1, np.float32)
    opens = int(np.flatnonzero(course(1.0, [(0.01, 1000)], 4000) <= np.float64(x[0, 0]))[0])
    y = played({"threshold": 0.0, "attack": 2.0}, x, 128, [("threshold", -40.0, 1000)])[0]
    assert np.flatnonzero(y)[0] == opens
    y = played({"threshold": 0.0, "range": -40.0}, x, 128, [("range", -6.0, 1000)])[0]
    want = course(0.01, [(10 ** (-6 / 20), 1000)], 4000)
    assert y / x[0] == pytest.approx(want, abs=1e-6)


def test_silence_stays_silent_and_extremes_finite():
    assert not gated({"range": 0.0}, np.zeros((2, 1000), np.float32))[0].any()
    for level in (1e-40, 3.4e38):
        x = (level * np.where(np.arange(4000) % 50 < 25, 1.0, -1.0)).astype(np.float32)[None]
        assert np.isfinite(gated({"highpass": 100.0}, x)[0]).all()


# ---------------------------------------------------------------------------------------------- in a rack

KEYED = """
version = 1
edges = ["hiss -> door", "in -> door.sidechain", "door -> out"]

[nodes.hiss]
engine = "noise"

[nodes.door]
engine = "gate"
key = "sidechain"
lookahead = 2
hold = 5
"""


def test_a_rack_connects_the_side_chain(tmp_path):
    path = tmp_path / "keyed.toml"
    path.write_text(KEYED)
    x = bursts(12_000)
    hiss = blocks.play(load_chain("noise"), x, 500)
    want = reference({"key": "sidechain", "lookahead": 2.0, "hold": 5.0}, hiss, sidechain=x)
    assert np.abs(blocks.play(load_chain(str(path)), x, 128) - want).max() <= 1e-6
    assert np.abs(want).max() > 0.01


def test_without_a_side_chain_it_stays_closed():
    x = bursts(4000)
    assert not blocks.play(load_chain("gate(key=sidechain)"), x, 128).any()
    assert blocks.play(load_chain("gate"), x, 128).any()
