"""Networks that work in chunks, against networks whose output is known: where pieces come from, and when."""

import hashlib
import json

import chunk_models
import numpy as np
import onnx
import pytest

pytest.importorskip("onnxruntime", reason="runs networks")

from engines.chunks import ChunkModel, Sliding, enhance
from engines.enhance import MODES
from rtaudio.errors import FileError, UserError

CHUNK = 1024
SIZES = {"hop": 256, "lookahead": 64}
LENGTHS = (0, 1, 7, 1_023, 1_024, 1_025, 5_000)


def signal(samples, seed=0):
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


@pytest.fixture
def make(tmp_path):
    """Make a network of given nodes."""
    return lambda nodes: ChunkModel(chunk_models.write(tmp_path / "net.onnx", nodes, CHUNK))


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("mode", MODES)
def test_a_network_that_does_nothing_gives_the_input(make, mode, samples):
    x = signal(samples)
    y = enhance(make(chunk_models.gain(1.0)), x, mode, **SIZES)
    assert y.shape == x.shape
    assert y.dtype == np.float32
    assert np.max(np.abs(y - x), initial=0.0) <= (0.0 if mode == "butt" else 1e-6)


@pytest.mark.parametrize(("hop", "lookahead"), [(256, 0), (200, 77), (128, 768), (500, 396)])
def test_sliding_is_aligned_at_any_sizes(make, hop, lookahead):
    x = signal(3_000)
    y = enhance(make(chunk_models.gain(1.0)), x, "sliding", hop, lookahead)
    assert np.max(np.abs(y - x)) <= 1e-6


def test_butted_chunks_come_whole_one_after_the_other(make):
    y = enhance(make(chunk_models.ramp(CHUNK)), np.ones(2_500, np.float32), "butt")
    assert y.tolist() == [t % CHUNK for t in range(2_500)]


def test_overlapped_chunks_are_hann_windows_half_a_chunk_apart(make):
    y = enhance(make(chunk_models.ramp(CHUNK)), np.ones(5_000, np.float32), "overlap")
    half = CHUNK // 2
    early = (
        np.arange(5_000) % half
    )  # its place in the chunk that began last; half a chunk on in the one before
    rising = 0.5 - 0.5 * np.cos(2 * np.pi * (early + 0.5) / CHUNK)
    assert np.max(np.abs(y - (rising * early + (1 - rising) * (early + half)))) <= 1e-3


@pytest.mark.parametrize(("hop", "lookahead", "fade"), [(8, 4, 3), (8, 0, 0), (5, 20, 5), (1000, 10, 14)])
def test_sliding_takes_the_samples_before_the_lookahead(make, hop, lookahead, fade):
    sliding = Sliding(make(chunk_models.ramp(CHUNK)), hop, lookahead, fade)
    pushed = [sliding.push(np.ones(hop, np.float32)) for _ in range(5)]
    first = CHUNK - lookahead - fade - hop
    want = first + np.arange(hop, dtype=float)
    # The piece before went on for `fade` samples more.
    rising = np.sin((np.arange(fade) + 0.5) / max(fade, 1) * np.pi / 2) ** 2
    want[:fade] = rising * want[:fade] + (1 - rising) * (want[:fade] + hop)
    for piece in pushed[1:]:
        assert np.max(np.abs(piece - want)) <= 1e-3


@pytest.mark.parametrize(("hop", "lookahead", "fade"), [(8, 4, 3), (16, 0, 0), (7, 20, 5)])
def test_the_latency_is_that_of_a_click(make, hop, lookahead, fade):
    sliding = Sliding(make(chunk_models.gain(1.0)), hop, lookahead, fade)
    at = hop * 5  # the first of a hop, which waits longest
    x = np.zeros(hop * 20, np.float32)
    x[at] = 1.0
    y = np.concatenate([sliding.push(part) for part in x.reshape(-1, hop)])
    # What is pushed with a hop is there a hop later at the earliest: a stream plays it from then on.
    assert int(np.argmax(y)) + hop - at == sliding.latency == hop + lookahead + fade
    assert y[np.argmax(y)] == pytest.approx(1.0, abs=1e-6)


def test_streaming_in_hops_is_what_enhance_gives(make):
    model = make(chunk_models.gain(np.linspace(-1.0, 1.0, CHUNK)))
    x, (hop, lookahead, fade) = signal(4_000), (250, 64, 128)
    sliding = Sliding(model, hop, lookahead, fade)
    streamed = np.concatenate([sliding.push(part) for part in np.pad(x, (0, 500)).reshape(-1, hop)])
    whole = enhance(model, x, "sliding", hop, lookahead)
    assert np.array_equal(streamed[lookahead + fade :][:4_000], whole)
    assert np.max(np.abs(whole - x)) > 0.5


@pytest.mark.parametrize("mode", MODES)
def test_silence_stays_silence(make, mode):
    model = make(chunk_models.ramp(CHUNK))
    assert not np.any(enhance(model, np.zeros(3_000, np.float32), mode, **SIZES))
    x = np.zeros(6_000, np.float32)
    x[:100] = 1.0
    assert not np.any(enhance(model, x, mode, **SIZES)[100 + CHUNK :])


def test_every_chunk_is_treated_alike(make):
    model = make(chunk_models.gain(np.linspace(0.0, 1.0, CHUNK)))
    x = signal(CHUNK * 21)
    assert np.allclose(enhance(model, x, "butt"), x * np.tile(np.linspace(0.0, 1.0, CHUNK), 21), atol=1e-6)


# ------------------------------------------------------------------------------------------ refusals


def refused(path):
    with pytest.raises(FileError) as caught:
        ChunkModel(path)
    (line,) = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"kind": "features"}, "is a model of kind 'features', not 'chunks'"),
        ({"sha256": "0" * 64}, "is not the model of its card: the hash differs"),
        ({"chunk": 32, "inputs": {"noisy": ["batch", 32], "z": ["batch", 4, 2]}}, "but its card says"),
        ({"inputs": {"noisy": ["batch", CHUNK]}}, "but its card says"),
        ({"inputs": {"noisy": ["batch", CHUNK], "z": ["batch", 9]}}, "but its card says"),
        ({"rate": None, "sha256": None}, "does not say rate, sha256"),
        ({"kind": None}, "is not the card of a model"),
        ({"rate": "16k"}, "says rate '16k': want a whole multiple of 1 above 0"),
        ({"rate": 0}, "says rate 0"),
        ({"chunk": 1023}, "says chunk 1023: want a whole multiple of 2 above 0"),
        ({"inputs": ["noisy", "z"]}, "want a table of shapes by name"),
        ({"inputs": {"noisy": ["batch", CHUNK], "z": 5}}, "want a table of shapes by name"),
        ({"data": ["anna"]}, "want a table whose speakers are a list of names"),
        ({"data": {"speakers": "anna"}}, "want a table whose speakers are a list of names"),
        ({"data": {"speakers": [103]}}, "want a table whose speakers are a list of names"),
    ],
)
def test_a_card_that_is_not_the_models_is_refused(tmp_path, card, said):
    path = chunk_models.write(tmp_path / "net.onnx", chunk_models.gain(1.0), CHUNK, card=card)
    assert said in refused(path)


def test_files_that_are_missing_or_damaged_are_refused(tmp_path):
    path = tmp_path / "net.onnx"
    assert "a model has its card beside it" in refused(path)
    chunk_models.write(path, chunk_models.gain(1.0), CHUNK)
    for text in ("[1]", "{", "null"):
        path.with_suffix(".json").write_text(text)
        assert "is not the card of a model" in refused(path)
    chunk_models.write(path, chunk_models.gain(1.0), CHUNK)
    card = json.loads(path.with_suffix(".json").read_text())
    path.write_bytes(b"no network")
    assert "the hash differs" in refused(path)
    card["sha256"] = hashlib.sha256(b"no network").hexdigest()
    path.with_suffix(".json").write_text(json.dumps(card))
    assert "net.onnx: not a network that onnxruntime can run (" in refused(path)
    path.unlink()
    assert "No such file" in refused(path)


@pytest.mark.parametrize("location", ["weights", "../net/weights", "{folder}/weights"])
def test_weights_that_the_hash_does_not_cover_are_refused(tmp_path, monkeypatch, location):
    """From the folder that they are in, too, which is where the runtime looks by itself."""
    folder = tmp_path / "net"
    folder.mkdir()
    monkeypatch.chdir(folder)
    path = chunk_models.write(folder / "net.onnx", chunk_models.gain(1.0), CHUNK)
    np.ones(CHUNK, np.float32).tofile(folder / "weights")
    model = onnx.load(path)
    gain = model.graph.initializer.add(name="gain", data_type=onnx.TensorProto.FLOAT, dims=[CHUNK])
    gain.data_location = onnx.TensorProto.EXTERNAL
    gain.external_data.add(key="location", value=location.format(folder=folder))
    del model.graph.node[0]  # the gain's
    path.write_bytes(model.SerializeToString())
    card = json.loads(path.with_suffix(".json").read_text())
    card["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(card))
    assert "net.onnx: not a network that onnxruntime can run (" in refused(path)


def test_another_output_is_refused(tmp_path):
    nodes = [*chunk_models.gain(1.0), chunk_models.helper.make_node("Identity", ["enhanced"], ["mask"])]
    path = chunk_models.write(tmp_path / "net.onnx", nodes, CHUNK, output="mask")
    assert "gives mask, want one output, enhanced" in refused(path)


@pytest.mark.parametrize("sizes", [(0, 4, 0), (8, -1, 0), (8, 4, 9), (8, 4, -1), (900, 100, 25)])
def test_sizes_that_no_chunk_holds_are_refused(make, sizes):
    with pytest.raises(UserError, match="no more than 1024 samples together"):
        Sliding(make(chunk_models.gain(1.0)), *sizes)


def test_an_unknown_mode_is_refused(make):
    with pytest.raises(UserError, match="mode 'fast': want one of butt, overlap, sliding"):
        enhance(make(chunk_models.gain(1.0)), signal(10), "fast")
