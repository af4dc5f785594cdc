"""The engine ``enhance``: against its networks called from Python, and what it does to odd input."""

from functools import cache
from itertools import pairwise
from pathlib import Path

import chunk_models
import contract
import numpy as np
import pytest
import soundfile as sf
import soxr
import streaming_models
import tiny_speech
from contract import Case
from onnx import TensorProto, helper, numpy_helper
from scipy.signal import welch

pytest.importorskip("onnxruntime", reason="runs networks")

from engines.chunks import ChunkModel, Sliding
from engines.enhance import MIX, MODELS
from engines.enhancer import FRAMES, PROTECTED, SLOW, Enhance, EnhanceChunks
from rtaudio.chain import load_chain
from rtaudio.cli import main
from rtaudio.errors import FileError, UserError
from rtaudio.graph import Graph, Node, engine_of
from rtaudio.plan import Plan
from rtaudio.routing import Reblock

RATE = 48_000
WINDOW, HOP, FFT = 960, 480, 1024
SHARED = Path(__file__).parents[2] / "shared" / "data"
CHECKS = ("partition", "events", "reset", "latency", "silence", "hostile", "largest", "tail")


# -------------------------------------------------------------------------------------- networks, and running


def spectra(
    path, re="re", im="im", speech=0.5, rate=RATE, fft=64, window=48, card=None, extra=(), rows="channels"
):
    """A network of kind spectra, small, without states: the clean spectrum is one of the inputs each."""
    bins = fft // 2 + 1
    nodes = [
        *extra,
        helper.make_node("Identity", [re], ["clean_re"]),
        helper.make_node("Identity", [im], ["clean_im"]),
    ]
    if isinstance(speech, str):
        nodes.append(helper.make_node("Identity", [speech], ["speech"]))
    else:
        said = numpy_helper.from_array(np.full(1, speech, np.float32))
        nodes += [
            helper.make_node("ReduceMax", ["re"], ["one"], axes=[2]),
            helper.make_node("Shape", ["one"], ["shape"]),
            helper.make_node("ConstantOfShape", ["shape"], ["speech"], value=said),
        ]
    inputs = [streaming_models.tensor(name, rows, 1, bins) for name in ("re", "im")]
    outputs = [streaming_models.tensor(name, rows, 1, bins) for name in ("clean_re", "clean_im")]
    outputs.append(streaming_models.tensor("speech", rows, 1, 1))
    content = streaming_models.content_of(nodes, inputs, outputs)
    said = {"kind": "spectra", "window": window, "hop": window // 2, "fft": fft, "states": {}}
    return streaming_models.write(path, content, said | {"rate": rate} | (card or {}))


def gain(value):
    """Nodes that make ``a`` and ``b`` of the spectrum, times a number."""
    return (
        chunk_models.constant("value", value),
        helper.make_node("Mul", ["re", "value"], ["a"]),
        helper.make_node("Mul", ["im", "value"], ["b"]),
    )


def present():
    """Nodes that make ``present``, 1 where the spectrum holds anything."""
    return (
        helper.make_node("Mul", ["re", "re"], ["power"]),
        helper.make_node("ReduceMax", ["power"], ["most"], axes=[2]),
        chunk_models.constant("little", 1e-6),
        helper.make_node("Greater", ["most", "little"], ["more"]),
        helper.make_node("Cast", ["more"], ["present"], to=TensorProto.FLOAT),
    )


def made(rate=RATE, channels=1, **values):
    """The processor as it takes hops, or blocks of up to 512 where a hop is none at this rate."""
    processor = engine_of(Enhance, values)(**values)
    processor.fit(rate)
    processor.prepare(rate, processor.hop or 512, processor.hop is not None, channels)
    return processor


def run(x, rate=RATE, **values):
    """Outputs for a signal (channels, samples), aligned with it: out, removed, activity if there is."""
    processor = made(rate, len(x), **values)
    late, n = processor.latency, x.shape[1]
    padded = np.pad(x, ((0, 0), (0, late + -(late + n) % processor.block)))
    out = contract.walk(
        processor, padded.astype(np.float32), contract.uniform(padded.shape[1], processor.block)
    )
    processor.release()
    out = out[:, late : late + n]
    return out[: len(x)], out[len(x) : 2 * len(x)], out[2 * len(x) :]


@cache
def session():
    import onnxruntime

    return onnxruntime.InferenceSession(MODELS["live"].read_bytes())


def offline(x):
    """What the shipped network makes of a signal (samples,) in one go, and the presence of every frame: the
    frames of numpy without their slow mean, the network called by ONNX Runtime's Python."""
    frames = -(-len(x) // HOP) + 1
    padded = np.pad(x, (WINDOW - HOP, frames * HOP - len(x)))
    window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW))
    shapes = {put.name: (1, *put.shape[1:]) for put in session().get_inputs()}
    states = {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if name not in ("re", "im")}
    names = [put.name for put in session().get_outputs()]
    y, presence, mean = np.zeros(frames * HOP + WINDOW), [], 0.0
    for k in range(frames):
        heard = padded[k * HOP : k * HOP + WINDOW]
        mean += (1 - np.exp(-HOP / (SLOW * RATE))) * (heard[HOP:].mean(dtype=float) - mean)
        spectrum = np.fft.rfft(window * (heard - mean), FFT).reshape(1, 1, -1)
        fed = {"re": spectrum.real.astype(np.float32), "im": spectrum.imag.astype(np.float32)}
        got = dict(zip(names, session().run(None, fed | states), strict=True))
        states = {name: got[f"new_{name}"] for name in states}
        frame = np.fft.irfft(got["clean_re"][0, 0] + 1j * got["clean_im"][0, 0], FFT)[:WINDOW]
        y[k * HOP : k * HOP + WINDOW] += window * frame
        presence.append(float(got["speech"].item()))
    return y[WINDOW - HOP :][: len(x)], np.array(presence)


def voice(seconds=4.0, seed=3):
    """Speech made here, at 48 kHz."""
    return soxr.resample(tiny_speech.voice(seconds, seed), tiny_speech.RATE, RATE).astype(np.float32)


def noise(seconds, level=0.02, seed=0):
    x = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (level * x).astype(np.float32)


def decibels(x):
    return 10 * np.log10(np.mean(np.square(x, dtype=np.float64)) + 1e-30)


def si_sdr(clean, got):
    scaled = np.dot(clean, got) / np.dot(clean, clean) * clean
    return decibels(scaled) - decibels(got - scaled)


# ----------------------------------------------------------------------------------------------- the contract


def at(rate, **values):
    """The engine as one that takes a rate only, and its values."""
    base = engine_of(Enhance, values)
    name = {"rates": (rate,), "defaults": lambda self, given: values}
    return type("Enhance", (base,), {"__doc__": base.__doc__, **name})


@pytest.mark.parametrize(
    ("rate", "check"),
    [(rate, check) for rate in (16_000, 44_100, 96_000) for check in CHECKS if check != "hostile"]
    + [(22_050, "partition"), (22_050, "latency")],
)
def test_the_contract_holds_at_other_rates(rate, check):
    blocks = [(17, 512)] if check in ("partition", "events") else []
    getattr(contract, f"check_{check}")(Case(at(rate)), 2, *blocks)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_the_contract_holds_with_chunks(check, rate, tmp_path):
    path = chunk_models.write(tmp_path / "net.onnx", chunk_models.gain(0.3), 1024)
    case = Case(at(rate, model=str(path), hop=200, lookahead=100, mix=1.0))
    blocks = [(17, 512)] if check in ("partition", "events") else []
    getattr(contract, f"check_{check}")(case, 2, *blocks)


def test_memory_and_compiled_code_with_chunks(tmp_path):
    path = chunk_models.write(tmp_path / "net.onnx", chunk_models.gain(0.3), 512)
    case = Case(at(RATE, model=str(path), hop=200, lookahead=100))
    contract.check_memory(case, 1)
    contract.check_llvm(case)


@pytest.mark.parametrize("model", ["live", "paper"])
@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000, 384_000])
def test_without_mix_or_limit_the_input_comes_out_to_the_bit(rate, model):
    x = contract.sound(2, rate // 10)
    for values in ({"mix": 0.0}, {"limit": 0.0}):
        out, removed, *_ = run(x, rate, model=model, **values)
        assert np.array_equal(out, x)
        assert not removed.any()


# ------------------------------------------------------------------------------------ the network from Python


def test_what_comes_out_is_what_the_network_gives_offline():
    x = voice(seed=4) + noise(4.0)
    want, presence = offline(x)
    out, removed, activity = run(x[None], limit=100.0, onset=0.0)
    assert np.abs(want - x).max() > 0.01
    assert np.abs(out[0] - want).max() < 2e-5  # a limit of 100 dB leaves 1e-5 of what is removed
    assert np.abs(removed[0] + out[0] - x).max() < 1e-6
    # Presence of frame k is that of the hop that is its first half.
    assert np.abs(activity[0] - np.repeat(presence[1:], HOP)[: len(x)]).max() < 1e-4
    assert presence.max() > 0.9


@pytest.mark.parametrize("rate", [16_000, 44_100, 96_000])
def test_at_other_rates_it_is_the_same_to_the_resampling(rate):
    """Of what all rates hold: below 6 kHz."""
    x = soxr.resample(voice() + noise(4.0), RATE, 12_000)
    want = run(soxr.resample(x, 12_000, RATE)[None])[0][0]
    got = run(soxr.resample(x, 12_000, rate)[None], rate)[0][0]
    # Resampling to and from the network's rate and that of a test differ a little, and so do gains then.
    assert si_sdr(soxr.resample(want, RATE, 12_000)[:47_000], soxr.resample(got, rate, 12_000)[:47_000]) > 28


def test_chunks_are_those_of_a_sliding_window(tmp_path):
    """A network whose gain grows along the chunk, so that every place in it shows."""
    path = chunk_models.write(tmp_path / "net.onnx", chunk_models.gain(np.linspace(0.0, 1.0, 2048)), 2048)
    x = np.random.default_rng(0).standard_normal((2, 10_000)).astype(np.float32)
    out = run(x, 16_000, model=str(path), hop=300, lookahead=200, mix=1.0)[0]
    for channel, got in zip(x, out, strict=True):
        window = Sliding(ChunkModel(path), 300, 200)
        pushed = np.concatenate([window.push(part) for part in np.pad(channel, (0, 800)).reshape(-1, 300)])
        want = pushed[window.latency - 300 :][:10_000]
        assert np.abs(got - want).max() < 2e-5


def test_the_papers_network_runs_live():
    """As `Sliding` runs it over the same sound, up to what onnxruntime's Python differs by."""
    x = tiny_speech.voice(1.5, 5) + 0.01 * np.random.default_rng(0).standard_normal(24_000).astype(np.float32)
    out, _ = run(x[None], 16_000, model="paper", mix=1.0)[:2]
    window = Sliding(ChunkModel(MODELS["paper"]))
    padded = np.pad(x, (0, -len(x) % 1024 + 1024))
    want = np.concatenate([window.push(part) for part in padded.reshape(-1, 1024)])[512 + 128 :]
    n = min(len(x), len(want))
    assert np.abs(out[0][:n] - want[:n]).max() < 2e-5
    assert engine_of(Enhance, {"model": "paper"})().values["mix"] == MIX


# -------------------------------------------------------------------------------------------------- controls


@pytest.mark.parametrize("limit", [6.0, 12.0, 30.0])
def test_limit_is_the_most_that_is_taken_out(limit, tmp_path):
    path = spectra(tmp_path / "net.onnx", "a", "b", fft=256, window=240, extra=gain(0.0))
    x = noise(0.2, 0.1)
    out, removed, _ = run(x[None], model=str(path), limit=limit, onset=0.0)
    np.testing.assert_allclose(removed[0], (1 - 10 ** (-limit / 20)) * x, atol=1e-6)
    np.testing.assert_allclose(out[0], x - removed[0], atol=1e-7)


@pytest.mark.parametrize("rate", [8_000, 16_000, 32_000])
def test_at_low_rates_noise_is_taken_out_up_to_the_end_of_the_band(rate, tmp_path):
    path = spectra(tmp_path / "net.onnx", "a", "b", fft=1024, window=960, extra=gain(0.0))
    x = np.random.default_rng(0).normal(0, 0.1, 2 * rate).astype(np.float32)
    out = run(x[None], rate, model=str(path), limit=60.0, onset=0.0)[0][0]
    left, came = (welch(y[rate // 10 : -rate // 10], rate, nperseg=256)[1][2:] for y in (out, x))
    assert 10 * np.log10(left / came).max() < -55


def test_a_speech_presence_that_rises_protects_the_onset_for_50_ms(tmp_path):
    """By the definition, in plain Python, on a network that takes all away and says 1 where sound is."""
    path = spectra(
        tmp_path / "net.onnx", "a", "b", "present", fft=512, window=480, extra=(*gain(0.0), *present())
    )
    hop, onset = 240, 0.8
    # Heard in the first frame that holds some of it, which ends with hop 40 (and whose first half is hop 39).
    x = np.zeros(100 * hop, np.float32)
    x[40 * hop :] = 0.3 * np.sin(2 * np.pi * 1_000 * np.arange(60 * hop) / RATE + 1)
    out, _, activity = run(x[None], model=str(path), limit=100.0, onset=onset)
    decay, recent, rises = np.exp(-hop / (PROTECTED * RATE)), 0.0, []
    for speech in [0.0] * 40 + [1.0] * 61:
        rises.append(max(speech - recent, 0.0))
        recent = speech + decay * (recent - speech)
    # The rise of a frame is reached at the end of the hop that is its first half.
    lines = [a + (b - a) * (np.arange(hop) + 1) / hop for a, b in pairwise(rises)]
    np.testing.assert_allclose(out[0], onset * np.concatenate(lines) * x, atol=1e-4)
    assert activity[0].tolist() == [0.0] * (39 * hop) + [1.0] * (61 * hop)
    # From the first sample on, and 1 / e of it 50 ms later.
    levels = [
        np.abs(out[0, begin : begin + 48]).max() for begin in (40 * hop, 40 * hop + round(PROTECTED * RATE))
    ]
    assert levels[0] == pytest.approx(0.3 * onset, rel=0.05)
    assert levels[1] == pytest.approx(0.3 * onset / np.e, rel=0.1)


def test_real_spectrum_parts_are_real(tmp_path):
    """Whatever a network says of the imaginary parts of the first and the last bin, a real frame has none."""
    edges = np.zeros((1, 1, 129))
    edges[..., [0, -1]] = 5.0
    extra = (
        *gain(0.0),
        chunk_models.constant("edges", edges),
        helper.make_node("Add", ["b", "edges"], ["c"]),
    )
    path = spectra(tmp_path / "net.onnx", "a", "c", fft=256, window=240, extra=extra)
    x = noise(0.2, 0.1)
    out = run(x[None], model=str(path), limit=100.0, onset=0.0)[0]
    np.testing.assert_allclose(out[0], 1e-5 * x, atol=1e-7)


def test_alike_channels_come_out_alike_and_as_mono():
    x = voice(2.0) + noise(2.0)
    mono = run(x[None])
    for want, got in zip(mono, run(np.stack([x, x])), strict=True):
        assert np.array_equal(got, np.repeat(want, len(got), 0))
    for want, got in zip(mono, run(np.stack([x, x]), stereo="linked"), strict=True):
        assert np.array_equal(got[0], got[-1])
        np.testing.assert_allclose(got[0], want[0], atol=1e-6)


def test_linked_channels_share_what_is_found_and_keep_their_places():
    """The same speech on both sides, quieter, a millisecond later and upside down on one: both better, and as
    far apart."""
    x = voice(4.0, 4)
    later = -0.5 * np.roll(x, 48)
    sides = np.stack([x, later]) + np.stack([noise(4.0, 0.02, 1), noise(4.0, 0.01, 2)])
    out = run(sides.astype(np.float32), stereo="linked")[0]
    for clean, before, after in zip((x, later), sides, out, strict=True):
        assert si_sdr(clean, after) > si_sdr(clean, before) + 6
        assert np.dot(clean, after) / np.dot(clean, clean) == pytest.approx(1.0, abs=0.1)


def test_linked_is_the_formula(tmp_path):
    """On a network that gives Y = |Re X| + i Im X, against numpy: X sum(Y conj(X)) / sum(|X|^2)."""
    path = spectra(
        tmp_path / "net.onnx", "a", fft=256, window=240, extra=[helper.make_node("Abs", ["re"], ["a"])]
    )
    x = np.random.default_rng(0).standard_normal((3, 4_800)).astype(np.float32)
    out = run(x, model=str(path), limit=100.0, onset=0.0, stereo="linked")[0]
    window = np.sin(np.pi * np.arange(240) / 240)
    padded = np.pad(x, ((0, 0), (120, 240)))
    want, mean = np.zeros((3, padded.shape[1])), np.zeros((3, 1))
    for start in range(0, 4_800 + 120, 120):
        heard = padded[:, start : start + 240]
        mean += (1 - np.exp(-120 / (SLOW * RATE))) * (heard[:, 120:].mean(1, keepdims=True) - mean)
        s = np.fft.rfft(window * (heard - mean), 256)
        y = s * np.sum((np.abs(s.real) + 1j * s.imag) * np.conj(s), 0) / np.sum(np.abs(s) ** 2, 0)
        want[:, start : start + 240] += window * np.fft.irfft(y, 256)[:, :240]
    np.testing.assert_allclose(out, want[:, 120:][:, :4_800], atol=1e-4)
    assert np.abs(out - x).max() > 0.1


def test_each_channel_has_a_network_of_its_own():
    a, b = voice(2.0, 1) + noise(2.0, seed=1), voice(2.0, 2) + noise(2.0, seed=2)
    both, removed, activity = run(np.stack([a, b]), stereo="each")
    for side, row in ((a, 0), (b, 1)):
        alone = run(side[None])
        assert np.array_equal(both[row], alone[0][0])
        assert np.array_equal(removed[row], alone[1][0])
    assert np.array_equal(activity[0], np.maximum(run(a[None])[2][0], run(b[None])[2][0]))


@pytest.mark.parametrize(
    ("rate", "model", "frequency"), [(96_000, "live", 30_000), (48_000, "paper", 12_000)]
)
def test_what_lies_above_the_network_is_kept(rate, model, frequency):
    tone = 0.1 * np.sin(2 * np.pi * frequency * np.arange(rate) / rate)
    out, removed, *_ = run(tone[None].astype(np.float32), rate, model=model, mix=1.0, limit=100.0)
    middle = slice(rate // 4, -rate // 4)
    assert decibels(removed[0, middle]) < decibels(tone) - 60
    assert np.abs(out[0] - tone)[middle].max() < 2e-4


# ------------------------------------------------------------------------------------- latency and the stream


@pytest.mark.parametrize(("rate", "late"), [(48_000, 480), (96_000, 960)])
def test_the_latency_is_the_least_there_is(rate, late):
    """Half a frame where nothing, or next to nothing, is resampled."""
    processor = made(rate)
    assert processor.latency >= late
    assert processor.latency - late <= (0 if rate == RATE else 48 * rate // RATE)
    whole = Reblock(processor)
    whole.prepare(rate, 128, True, 1)
    hop = processor.hop
    assert whole.latency == processor.latency + hop - np.gcd(hop, 128)


def test_a_chain_is_the_engine_and_passes_the_sound_on():
    chain = load_chain("enhance(model=paper, hop=512, lookahead=0)")
    (node,) = chain.nodes.values()
    assert issubclass(node.engine, EnhanceChunks)
    assert [port.name for port in node.engine.outputs] == ["out", "removed"]
    plan = Plan(Graph([Node("enhance", Enhance)], ["in -> enhance", "enhance.out -> out"]), RATE, 480, 1)
    x = voice(1.0)
    got = np.concatenate(
        [plan.process(np.ascontiguousarray(part[None]))["main"][0].copy() for part in x.reshape(-1, 480)]
    )
    late = plan.latency
    plan.close()
    assert np.array_equal(got[late:], run(x[None])[0][0][: len(x) - late])


# ------------------------------------------------------------------------------------------------- odd input


def test_silence_stays_silence_and_comes_back_after_sound():
    x = np.zeros(3 * RATE, np.float32)
    x[:RATE] = voice(1.0) + noise(1.0)
    for model in ("live", "paper"):
        out, removed, *more = run(x[None], model=model)
        left = RATE + (WINDOW + FRAMES * HOP if model == "live" else 16_384 * 3 + 200)
        for rows in (out, removed, *more):
            assert not rows[:, left:].any()


def test_clipped_speech_is_left_as_it_is():
    x = np.clip(8 * voice(), -0.5, 0.5)
    assert si_sdr(x, run(x[None])[0][0]) > 10


def test_an_offset_does_not_matter():
    """A second after it came it makes next to no difference, and is gone, but for what the limit leaves."""
    clean = voice(4.0, 4)
    x = clean + noise(4.0)
    settled = slice(RATE, None)
    plain, moved = run(x[None])[0][0, settled], run((x + np.float32(0.05))[None])[0][0, settled]
    assert moved.mean() == pytest.approx(0.05 * 10 ** (-30 / 20), abs=1e-3)
    assert si_sdr(clean[settled], moved - moved.mean()) > si_sdr(clean[settled], plain) - 0.5
    assert si_sdr(clean[settled], plain) > si_sdr(clean[settled], x[settled]) + 6


def test_quiet_speech_is_speech():
    """40 dB below full scale, in noise 10 dB below that."""
    clean = voice(4.0, 4)
    clean *= 10 ** ((-40 - decibels(clean)) / 20)
    x = clean + noise(4.0, 10 ** (-50 / 20))
    out, _, activity = run(x[None])
    assert si_sdr(clean, out[0]) > si_sdr(clean, x) + 6
    assert activity.max() > 0.9


def test_white_noise_settles_in_300_ms():
    x = noise(3.0, 0.03)
    out = run(x[None])[0][0]
    early, late = decibels(out[round(0.3 * RATE) : RATE]), decibels(out[RATE:])
    assert late < decibels(x) - 20
    assert early < decibels(x) - 20
    assert early < late + 6


@pytest.mark.parametrize("kind", ["white", "pink", "hum", "clicks"])
def test_noise_is_never_louder_than_it_came(kind):
    x = noise(3.0, 0.05)
    t = np.arange(len(x)) / RATE
    if kind == "pink":
        spectrum = np.fft.rfft(x)
        x = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 20) / 400), len(x))
    elif kind == "hum":
        x = sum(0.1 / k * np.sin(2 * np.pi * 50 * k * t + k) for k in range(1, 12))
    elif kind == "clicks":
        x = 0.3 * (np.arange(len(x)) % 9_600 < 20) * np.sign(x) + 0.02 * x
    x = x.astype(np.float32)
    out = run(x[None])[0][0]
    assert decibels(out) < decibels(x)
    hops = [decibels(part) for part in out[: len(out) // 4_800 * 4_800].reshape(-1, 4_800)]
    came = [decibels(part) for part in x[: len(x) // 4_800 * 4_800].reshape(-1, 4_800)]
    assert np.max(np.subtract(hops, came)) < 0.5


@pytest.mark.parametrize("pitch", [50, 180, 350, 500])
def test_steady_tones_are_no_voices(pitch):
    t = np.arange(4 * RATE) / RATE
    x = sum(0.1 / k * np.sin(2 * np.pi * pitch * k * t + k) for k in range(1, 30)).astype(np.float32)
    out = run(x[None])[0][0]
    assert decibels(out[RATE:]) < decibels(x[RATE:]) - 20


def test_clean_speech_is_kept():
    """Of six voices made here one may be no voice to the network: it is kept, too, but less well."""
    found = sorted(si_sdr(x, run(x[None])[0][0]) for x in (voice(3.0, seed) for seed in range(3, 9)))
    assert found[0] >= 12
    assert found[1] >= 25


@pytest.mark.shared
@pytest.mark.parametrize("reader", ["1088", "1355", "163", "1963"])
@pytest.mark.parametrize("host", [RATE, 16_000])
def test_clean_speech_of_readers_it_never_heard_is_kept(host, reader):
    found = sorted(SHARED.glob(f"speech/librispeech-251/**/{reader}-*"))
    if not found:
        pytest.skip(f"there are no recordings of reader {reader} in {SHARED}")
    x, rate = sf.read(found[0], dtype="float32")
    x = soxr.resample(x[: 10 * rate], rate, host).astype(np.float32)
    assert si_sdr(x, run(x[None], host)[0][0]) >= 25


def test_music_is_lowered_by_the_limit_at_most():
    t = np.arange(4 * RATE) / RATE
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * 0.7 * t)
    chord = sum(0.06 * np.sin(2 * np.pi * f * t + f) for f in (220.0, 277.2, 329.6, 659.3))
    x = (0.15 * np.sin(2 * np.pi * 440 * t) + swell * chord).astype(np.float32)
    out = run(x[None], limit=12.0)[0][0]
    for begin in range(0, len(x), RATE // 4):
        part = slice(begin, begin + RATE // 4)
        assert decibels(out[part]) > decibels(x[part]) - 12.05


# -------------------------------------------------------------------------------------------------- mistakes


def refused(error=UserError, **values):
    with pytest.raises(error) as caught:
        made(RATE, **values)
    (line,) = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"hop": 512}, "enhance: hop is for a network that sees chunks, such as paper: live does not"),
        ({"lookahead": 0}, "enhance: lookahead is for a network that sees chunks, such as paper"),
        (
            {"model": "paper", "onset": 0.5},
            "enhance: onset is for a network that says where speech is, such as live: paper does not",
        ),
        ({"model": "paper", "stereo": "each"}, "enhance: stereo is for a network that cleans spectra"),
        (
            {"model": "paper", "hop": 16_000.0},
            "enhance: hop=16000, lookahead=512 and a crossfade of 128 are more than the 16384 samples that "
            "paper sees",
        ),
        ({"model": "paper", "hop": 100.0}, "hop=100 is out of range (128 to 16384 samples)"),
        ({"limit": -1.0}, "enhance: limit=-1 is out of range (0 to 100 dB)"),
        ({"mix": 1.5}, "enhance: mix=1.5 is out of range"),
        ({"model": "lvie"}, "no model 'lvie', did you mean 'live'? here, in "),
        ({"model": "lvie"}, "or among the project's own (live, paper, wgan): give the path of NAME.onnx"),
        ({"model": "none.onnx"}, "no model 'none.onnx'"),
        ({"model": 3.0}, "enhance: model=3.0 is not text"),
    ],
)
def test_mistakes_are_said_in_a_line(values, said):
    assert said in refused(**values)


def test_activity_is_no_sound_and_not_played(capsys):
    assert main(["live", "--api", "jack", "--chain", "enhance.activity"]) == 2
    assert "enhance.activity is no sound and is not played" in capsys.readouterr().err


def test_channels_that_are_too_many():
    with pytest.raises(UserError, match=r"9 channels are not supported .*8"):
        made(RATE, 9, model="paper")
    for stereo in ("each", "linked"):
        assert made(RATE, 64, stereo=stereo).channels == 64


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"kind": "stream"}, "is a model of kind 'stream': enhance takes spectra or chunks"),
        ({"kind": None}, "is not the card of a model"),
        ({"sha256": "0" * 64}, "is not the model of its card: the hash differs"),
        ({"states": None}, "does not say states"),
        ({"rate": 400_000}, "says rate 400000: want 8000 to 384000 Hz"),
        ({"rate": "48k"}, "says rate '48k': want a whole number above 0"),
        ({"hop": 48}, "says window 240, hop 48, fft 256: want a hop of half a window"),
        ({"fft": 300}, "want a hop of half a window, and an fft that holds it, 256, 512"),
        ({"window": 600, "hop": 300}, "want a hop of half a window, and an fft that holds it"),
        ({"fft": 512}, "takes re of (batch, 1, 129), but its card says re of (batch, 1, 257)"),
        ({"states": {"memory": [1, 4]}}, "takes no memory, but its card says memory of (batch, 4)"),
        ({"states": {"memory": ["x"]}}, "want a table of shapes by name"),
        ({"states": [1]}, "want a table of shapes by name"),
    ],
)
def test_a_card_that_is_not_the_models_is_refused(tmp_path, card, said):
    path = spectra(tmp_path / "net.onnx", fft=256, window=240, card=card)
    assert said in refused(FileError, model=str(path))


def test_a_network_that_says_no_number_gives_way(tmp_path):
    """Its node is bypassed, and no other sound than the input's is heard."""
    path = spectra(tmp_path / "net.onnx", "a", "b", fft=256, window=240, extra=gain(np.nan))
    graph = Graph([Node("n", Enhance, {"model": str(path)})], ["in -> n", "n.out -> out"])
    plan = Plan(graph, RATE, 120, 1)
    x = noise(0.5)
    got = np.concatenate([plan.process(part[None].copy())["main"][0].copy() for part in x.reshape(-1, 120)])
    late, failed = plan.latency, plan.failed()
    plan.close()
    assert list(failed) == ["n"]
    assert np.isfinite(got).all()
    assert np.array_equal(got[4_800:], x[4_800 - late : len(x) - late])


def test_a_network_of_one_channel_is_refused(tmp_path):
    path = spectra(tmp_path / "net.onnx", fft=256, window=240, rows=1)
    with pytest.raises(FileError, match=r"takes re of \(1, 1, 129\), but its card says re of \(batch, "):
        made(model=str(path))


@pytest.mark.parametrize("kind", ["spectra", "chunks"])
def test_the_kernel_itself_says_so(tmp_path, kind):
    path = tmp_path / "net.onnx"
    if kind == "spectra":
        spectra(path, "a", "b", fft=256, window=240, extra=gain(np.nan))
    else:
        chunk_models.write(path, chunk_models.gain(np.nan), 512)
    sizes = {"hop": 128.0, "lookahead": 0.0} if kind == "chunks" else {}
    processor = made(16_000 if kind == "chunks" else RATE, model=str(path), **sizes)
    x = noise(1.0)[: processor.block]
    with pytest.raises(RuntimeError, match="enhance: it put out what is no number"):
        processor.process(x[None].copy(), np.zeros((3 if kind == "spectra" else 2, len(x)), np.float32))


def test_a_model_of_chunks_that_is_not_its_cards(tmp_path):
    path = chunk_models.write(tmp_path / "net.onnx", chunk_models.gain(1.0), 1024, card={"chunk": 2048})
    assert "takes noisy of (batch, 1024), but its card says noisy of (batch, 2048)" in refused(
        FileError, model=str(path)
    )
