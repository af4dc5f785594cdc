"""Networks to ONNX: parity, states, hashes, and what is refused."""

import hashlib
import json
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from workshop import config

from engines.chunks import ChunkModel
from export import networks, training
from export.__main__ import main
from export.models.segan import CHUNK, Generator, Model
from export.networks import Exportable, differences, to_onnx, write_network
from rtaudio.errors import UserError


class Streaming(nn.Module):
    """A causal convolution over frames and a gated recurrence: two states."""

    def __init__(self, leak=0.0):
        super().__init__()
        self.convolution, self.recurrence = nn.Conv1d(5, 8, 3), nn.GRU(8, 8, batch_first=True)
        self.leak = leak

    def forward(self, x, past, hidden):
        """(1, frames, 5) to (1, frames, 8)."""
        x = torch.cat([past, x], 1)
        y, hidden = self.recurrence(self.convolution(x.transpose(1, 2)).transpose(1, 2), hidden)
        return y + self.leak * x.mean(), x[:, -2:], hidden


def streaming(leak=0.0):
    torch.manual_seed(0)
    states = {"past": torch.zeros(1, 2, 5), "hidden": torch.zeros(1, 1, 8)}
    return Exportable(
        Streaming(leak).eval(), {"x": torch.zeros(1, 1, 5)}, ("y",), {"kind": "frames"}, states, time=1
    )


def generator(**model):
    torch.manual_seed(0)
    network = Generator(Model(1 / 16, **model)).eval()
    with torch.no_grad():
        for parameter in network.decoder[-1].parameters():
            parameter.normal_(std=0.05)
    inputs = {"noisy": torch.zeros(2, CHUNK), "z": torch.zeros(2, *network.latent)}
    return Exportable(
        network, inputs, ("enhanced",), {"kind": "chunks", "rate": 16_000, "chunk": CHUNK}, batch=True
    )


@pytest.mark.parametrize("weights", get_args(networks.Weights))
@pytest.mark.parametrize(
    "model",
    [{}, {"activation": "prelu"}, {"residual": True, "normalise": True}],
    ids=["paper", "segan", "own"],
)
def test_onnx_equals_torch(model, weights):
    exportable = generator(**model)
    networks.round_weights(exportable.network, weights)
    content = to_onnx(exportable, weights)
    assert differences(exportable, content)["torch - onnx"] <= 1e-5
    noisy = np.random.default_rng(0).standard_normal((3, CHUNK)).astype(np.float32)  # another batch
    z = np.zeros((3, *exportable.network.latent), np.float32)
    (found,) = onnxruntime.InferenceSession(content).run(None, {"noisy": noisy, "z": z})
    with torch.no_grad():
        expected = exportable.network(torch.from_numpy(noisy), torch.from_numpy(z)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_float16_halves_the_file_and_is_what_torch_rounded():
    exportable = generator()
    whole = to_onnx(exportable)
    networks.round_weights(exportable.network, "float16")
    small = to_onnx(exportable, "float16")
    assert len(small) < 0.52 * len(whole)
    stored = {x.name: x for x in onnx.load_from_string(small).graph.initializer}
    weight = exportable.network.encoder[3].convolution.weight.detach().numpy()
    assert any(
        array.shape == weight.shape and array.dtype == np.float16 and np.array_equal(array, weight)
        for array in map(onnx.numpy_helper.to_array, stored.values())
    )


def test_int8_quarters_the_file_and_is_what_torch_rounded():
    exportable = generator()
    whole = to_onnx(exportable)
    before = {name: x.clone() for name, x in exportable.network.state_dict().items()}
    networks.round_weights(exportable.network, "int8")
    small = to_onnx(exportable, "int8")
    assert len(small) < 0.28 * len(whole)
    stored = {x.name: onnx.numpy_helper.to_array(x) for x in onnx.load_from_string(small).graph.initializer}
    large = [name for name, x in before.items() if x.numel() >= networks.SHARED * len(x)]
    integers = [x for x in stored.values() if x.dtype == np.int8]
    assert len(integers) == len(large)
    assert all(np.abs(x).max() == 127 for x in integers)
    after = exportable.network.state_dict()
    for name, x in before.items():
        # Half a step of a scale, or of float16, at the most.
        rows = x.flatten(1).abs().amax(1) / 127 if name in large else x.abs().max() * 2**-10
        assert torch.all((after[name] - x).flatten(1 if name in large else 0).abs().amax(-1) <= 0.5001 * rows)


def test_what_is_no_integers_is_stored_as_float16():
    exportable = generator()
    stored = onnx.load_from_string(to_onnx(exportable, "int8")).graph.initializer
    assert {onnx.numpy_helper.to_array(x).dtype.name for x in stored} <= {"float16", "float32", "int64"}


def test_rows_without_weights_have_integers():
    exportable = generator()
    with torch.no_grad():
        exportable.network.encoder[3].convolution.weight[::2] = 0
    networks.round_weights(exportable.network, "int8")
    found = differences(exportable, to_onnx(exportable, "int8"))
    assert found["torch - onnx"] <= 1e-5


def test_states_stream_as_the_whole():
    exportable = streaming()
    found = differences(exportable, to_onnx(exportable))
    assert found["torch - onnx"] <= 1e-6
    assert found["stream - offline"] <= 1e-5


def test_a_network_that_looks_ahead_is_refused(tmp_path):
    """Its frames depend on what comes later, so streaming differs."""
    exportable = streaming(leak=1.0)
    with pytest.raises(
        UserError, match=r"stream - offline: they differ by .* more than 0.0001: not exported"
    ):
        write_network(exportable, tmp_path / "x.onnx", {}, "float32")
    assert not list(tmp_path.iterdir())


def test_a_network_that_onnx_computes_otherwise_is_refused(tmp_path, monkeypatch):
    exportable = streaming()
    other = to_onnx(exportable)
    with torch.no_grad():
        exportable.network.convolution.bias += 1e-2
    monkeypatch.setattr(networks, "to_onnx", lambda *_: other)
    with pytest.raises(UserError, match="torch - onnx"):
        write_network(exportable, tmp_path / "x.onnx", {}, "float32")
    assert not list(tmp_path.iterdir())


def test_not_finite_is_refused(tmp_path):
    exportable = streaming()
    with torch.no_grad():
        exportable.network.convolution.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="differ by nan"):
        write_network(exportable, tmp_path / "x.onnx", {}, "float32")


def test_card_names_states_and_hash(tmp_path):
    path = tmp_path / "models" / "x.onnx"
    write_network(streaming(), path, {"licence": "MIT"}, "float16")
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card["states"] == {"past": [1, 2, 5], "hidden": [1, 1, 8]}
    assert (card["kind"], card["licence"], card["weights"]) == ("frames", "MIT", "float16")
    assert card["parameters"] == 5 * 8 * 3 + 8 + 2 * (8 * 24) + 2 * 24
    assert sorted(file.name for file in path.parent.iterdir()) == ["x.json", "x.onnx"]
    names = [put.name for put in onnxruntime.InferenceSession(path).get_outputs()]
    assert names == ["y", "new_past", "new_hidden"]


# ------------------------------------------------------------------------------------------ the command


def test_train_then_export_then_enhance(tmp_path, capsys):
    """A run's averaged weights are what the file computes."""
    path = config(tmp_path, training={"steps": 3, "checkpoint": 60})
    run, model = tmp_path / "run", tmp_path / "small.onnx"
    assert main(["train", str(path), "-o", str(run), "--compute", "cpu"]) == 0
    (tmp_path / "scores.json").write_text('{"PESQ": 2.5}')
    scores = ["--scores", str(tmp_path / "scores.json")]
    assert main(["onnx", str(run), "-o", str(model), "--notes", "of a test", *scores]) == 0
    card = json.loads(model.with_suffix(".json").read_text())
    assert (card["steps"], card["notes"], card["task"], card["states"]) == (3, "of a test", "enhancer", {})
    assert card["settings"]["model"]["width"] == 0.0625
    assert (card["scores"], card["command"]) == ({"PESQ": 2.5}, "python -m export train small.toml")
    assert len(card["data"]["speakers"]) == 5
    noisy = 0.1 * np.random.default_rng(0).standard_normal((2, CHUNK)).astype(np.float32)
    found = ChunkModel(model)(noisy)
    tensors, _ = training.load_checkpoint(run)
    network = Generator(Model(1 / 16, residual=True)).eval()
    network.load_state_dict(
        {
            name.removeprefix("mean."): x.half().float()
            for name, x in tensors.items()
            if name.startswith("mean.")
        }
    )
    with torch.no_grad():
        expected = network(torch.from_numpy(noisy), torch.zeros(2, *network.latent)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not np.allclose(found, noisy, atol=1e-6)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (None, "is no run: it has no run.json"),
        ("{", "is not the record of a run"),
        ('{"task": "other"}', "is not the record of a run"),
    ],
)
def test_wrong_runs_are_one_line(tmp_path, capsys, spoil, message):
    if spoil is not None:
        (tmp_path / "run.json").write_text(spoil)
    assert main(["onnx", str(tmp_path), "-o", str(tmp_path / "x.onnx")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_wrong_names_are_one_line(tmp_path, capsys):
    assert main(["onnx", str(tmp_path), "-o", str(tmp_path / "x.bin")]) == 2
    assert "want a name that ends with .onnx" in capsys.readouterr().err


def test_scores_that_are_no_json_are_refused(tmp_path, capsys):
    path, run = config(tmp_path, training={"steps": 1}), tmp_path / "run"
    assert main(["train", str(path), "-o", str(run), "--compute", "cpu"]) == 0
    assert main(["onnx", str(run), "-o", str(tmp_path / "x.onnx"), "--scores", str(path)]) == 2
    assert "--scores" in capsys.readouterr().err
    assert not (tmp_path / "x.onnx").exists()


def test_a_task_without_onnx_form_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(training.TASKS, "toy", "toy_task:Toy")
    path = tmp_path / "toy.toml"
    path.write_text('task = "toy"\n[training]\nsteps = 2\n')
    assert main(["train", str(path), "-o", str(tmp_path / "run"), "--compute", "cpu"]) == 0
    assert main(["onnx", str(tmp_path / "run"), "-o", str(tmp_path / "x.onnx")]) == 2
    assert "has no form for ONNX" in capsys.readouterr().err
