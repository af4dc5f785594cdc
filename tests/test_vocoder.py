"""The small vocoder: its inverse transform, what depends on what, its training and its export."""

import json
import math

import numpy as np
import pytest
import tiny_speech
import torch
from workshop import status_of

from engines.sessions import open_session
from export.config import typed
from export.models.vocos import InverseTransform, Shape, Vocos
from export.spectra import Mel, Resolutions
from export.training import load_checkpoint, read_run
from export.vocoder import Settings, VocoderTask
from rtaudio.errors import UserError

pytestmark = pytest.mark.usefixtures("one_thread")


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------------------------------------- network


@pytest.mark.parametrize(("fft", "hop"), [(1024, 256), (96, 32), (64, 8)])
def test_inverse_transform_is_that_of_torch(fft, hop):
    """Apart from the ends, where torch divides by the windows that there are."""
    magnitude, phase = noise(2, fft // 2 + 1, 20).abs(), 3 * noise(2, fft // 2 + 1, 20, seed=1)
    phase[:, [0, -1]] = 0.0  # what is real in the spectrum of a sound
    found = InverseTransform(fft, hop)(magnitude, phase)
    assert found.shape == (2, 1, 20 * hop)
    want = torch.istft(torch.polar(magnitude, phase), fft, hop, window=torch.hann_window(fft))
    shift = fft // 2 - (fft - hop) // 2  # torch leaves out half a window, this all but a hop of it
    inner = slice(fft, 18 * hop - fft)
    torch.testing.assert_close(found[:, 0, shift:][:, inner], want[:, inner], atol=1e-5, rtol=1e-4)


def test_inverse_transform_undoes_the_spectra_that_training_takes():
    x = noise(1, 8192)
    mel = Mel(22_050)
    frames = torch.nn.functional.pad(x, (384, 384), mode="reflect").unfold(1, 1024, 256) * mel.hann
    bins = torch.fft.rfft(frames).mT
    torch.testing.assert_close(bins.abs(), mel.spectrum(x), atol=1e-4, rtol=1e-4)
    y = InverseTransform(1024, 256)(bins.abs(), bins.angle())[0, 0]
    torch.testing.assert_close(y[768:-768], x[0, 768:-768], atol=1e-5, rtol=0)
    assert not torch.allclose(y[:256], x[0, :256], atol=0.1)  # where windows are missing


@pytest.mark.parametrize("fft", [100, 128, 512])
def test_transforms_whose_windows_do_not_add_up_are_refused(fft):
    with pytest.raises(UserError, match=f"fft {fft} with hop 64" if fft != 512 else "hop 500"):
        InverseTransform(fft, 64 if fft != 512 else 500)


def test_size():
    with torch.device("meta"):
        network = Vocos(80, 1024, 256, Shape())
    c = 256
    block = (7 * c + c) + 2 * c + (3 * c * c + 3 * c) + (3 * c * c + c) + c
    want = (80 * 7 * c + c) + 2 * c + 6 * block + 2 * c + (c * 1026 + 1026)
    assert sum(p.numel() for p in network.parameters()) == want


@pytest.mark.parametrize(("fft", "hop"), [(64, 16), (48, 16)])
def test_overlap_is_how_far_the_samples_of_a_frame_reach(fft, hop):
    torch.manual_seed(0)
    network = Vocos(3, fft, hop, Shape(4, 2)).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = noise(1, 3, 61).double().requires_grad_()
    network(x)[0, 0, 30 * hop : 31 * hop].square().sum().backward()
    reached = [abs(int(frame) - 30) for frame in x.grad.abs().sum((0, 1)).nonzero()]
    assert max(reached) == network.overlap
    edge = network.edge * hop
    ones = torch.ones(1, fft // 2 + 1, 20), torch.zeros(1, fft // 2 + 1, 20)
    sound = InverseTransform(fft, hop)(*ones)[0, 0]
    whole = sound[edge:-edge].reshape(-1, hop)
    torch.testing.assert_close(whole, whole[:1].expand_as(whole), atol=1e-6, rtol=0)


def test_there_is_nothing_of_0_hz():
    """Whatever the last layer says of it."""
    torch.manual_seed(0)
    network = Vocos(3, 64, 16, Shape(4, 2))
    network.last.bias.data[0], network.last.bias.data[33] = 3.0, 0.0  # A loud first bin, of phase 0.
    spectra = []
    network.transform.register_forward_pre_hook(lambda _, inputs: spectra.append(inputs))
    network(noise(1, 3, 20))
    ((magnitude, _),) = spectra
    assert magnitude[:, 1:].min() > 0
    assert not magnitude[:, 0].any()


def test_silence_goes_on_beyond_the_ends():
    """To the first convolution, a frame of silence and none are the same."""
    network = Vocos(3, 64, 16, Shape(4, 1))
    mel = noise(1, 3, 9)
    silent = torch.full((1, 3, 5), math.log(1e-5))
    heard = []
    network.first_norm.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0].clone()))
    network(mel)
    network(torch.cat([silent, mel, silent], 2))
    torch.testing.assert_close(heard[1][:, 5:-5], heard[0])


# -------------------------------------------------------------------------------------------------- losses


def test_resolutions_in_closed_form():
    x = noise(2, 6000)
    assert Resolutions()(x, x).item() == 0
    for gain in (0.5, 2.0):
        assert Resolutions()(x, gain * x).item() == pytest.approx(abs(gain - 1) + math.log(2), rel=1e-4)


# ------------------------------------------------------------------------------------------------ training


def write(folder, steps=24, start=16, clean=None, **tables):
    """A configuration of a small vocoder on speech made here."""
    if clean is None:
        clean = tiny_speech.write_speech(folder / "speech", 4, 2, 1.0)
    whole = {
        "data": {"clean": [str(clean)], "held_out": 2, "validation": 2, "frames": 24},
        "features": {"rate": 16_000, "fft": 256, "hop": 64, "mels": 20, "high": 7000.0},
        "model": {"channels": 24, "blocks": 1},
        "adversary": {"start": start, "frames": 16, "periods": [2, 3]},
        "optimiser": {"vocoder": 4e-3},
        "training": {
            "batch": 4,
            "steps": steps,
            "rise": 2,
            "mean": 0.9,
            "validate": 16,
            "checkpoint": 1000.0,
        },
    }
    for name, table in tables.items():
        whole[name] |= table
    lines = ['task = "vocoder"']
    for name, table in whole.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path = folder / "small.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocoder")
    path = write(folder, 112, 84)
    assert status_of("train", str(path), "-o", str(folder / "run"), "--compute", "cpu") == 0
    return folder


def test_training_brings_held_out_speech_nearer(trained):
    losses = [loss for _, _, loss in load_checkpoint(trained / "run")[1]["history"]]
    assert len(losses) == 7
    assert losses[-1] < 0.75 * losses[0]
    record = json.loads((trained / "run" / "run.json").read_text())
    assert record["data"]["clips"] == 6
    assert len(record["data"]["held out"]) == 2


def test_resumed_is_as_never_stopped(trained):
    """Across the step at which the discriminators begin."""
    small = trained / "small.toml"
    short = trained / "short.toml"
    text = small.read_text()
    runs = {}
    for name, steps in (("whole", [8]), ("parts", [3, 8])):
        for count in steps:
            changed = text.replace("steps = 112", f"steps = {count}").replace("start = 84", "start = 5")
            short.write_text(changed + 'schedule = "constant"\n')
            arguments = ["train", str(short), "-o", str(trained / name), "--compute", "cpu"]
            assert status_of(*arguments, "--resume") == 0
        runs[name] = load_checkpoint(trained / name)[0]
    assert runs["whole"].keys() == runs["parts"].keys()
    assert all(torch.equal(runs["whole"][key], runs["parts"][key]) for key in runs["whole"])


def test_discriminators_learn_from_their_step_on_only(trained, tmp_path):
    text = (trained / "small.toml").read_text().replace("steps = 112", "steps = 4")
    weights = {}
    for start in (4, 2):
        path = tmp_path / f"{start}.toml"
        path.write_text(text.replace("start = 84", f"start = {start}"))
        assert status_of("train", str(path), "-o", str(tmp_path / str(start)), "--compute", "cpu") == 0
        weights[start] = load_checkpoint(tmp_path / str(start))[0]
    name = "network.discriminators.periods.0.last.parametrizations.weight.original1"
    settings = typed(read_run(tmp_path / "4")[2]["settings"], Settings, "here")
    torch.manual_seed(0)
    untouched = VocoderTask(settings).networks["discriminators"].state_dict()
    assert torch.equal(weights[4][name], untouched[name.removeprefix("network.discriminators.")])
    assert not torch.equal(weights[2][name], weights[4][name])


def test_exported_is_the_network_and_pieces_are_the_whole(trained, tmp_path):
    path = tmp_path / "vocoder.onnx"
    assert status_of("onnx", str(trained / "run"), "-o", str(path), "--weights", "float32") == 0
    card = json.loads(path.with_suffix(".json").read_text())
    assert (card["kind"], card["hop"], card["mels"]) == ("vocoder", 64, 20)
    _, network, _ = read_run(trained / "run")
    session = open_session(path, path.read_bytes())
    frames = (noise(1, 20, 50) - 4).numpy()
    (whole,) = session.run(None, {"frames": frames})
    with torch.no_grad():
        want = network(torch.from_numpy(frames)).clamp(-1, 1).numpy()
    assert whole.shape == (1, 1, 50 * 64)
    np.testing.assert_allclose(whole, want, atol=1e-5)
    around = card["overlap"]
    (piece,) = session.run(None, {"frames": frames[:, :, 20 - around : 30 + around]})
    np.testing.assert_allclose(
        piece[0, 0, around * 64 :][: 10 * 64], whole[0, 0, 20 * 64 : 30 * 64], atol=1e-5
    )
    (loud,) = session.run(None, {"frames": np.full((1, 20, 9), 30, np.float32)})
    assert np.abs(loud).max() <= 1


# ----------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ({"data": {"corpus": "x"}}, "want either corpus or clean"),
        ({"data": {"held_out": 8}}, "8 clips, of which 8 are held out"),
        ({"data": {"frames": 1000}}, "no clip to train on has"),
        ({"data": {"frames": 3}}, "want 16 to 1024"),
        ({"features": {"hop": 100}}, "fft 256 with hop 100"),
        ({"features": {"high": 9000.0}}, "mel bands from 0 to 9000 Hz"),
        ({"features": {"mels": 200}}, "too many"),
        ({"model": {"blocks": 0}}, "blocks = 0"),
        ({"loss": {"mel": -1.0}}, "mel = -1.0"),
        ({"adversary": {"width": 0.3}}, "width = 0.3"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes_are_said_in_one_line(trained, tmp_path, capsys, tables, problem):
    tables = {"loss": {}, **tables} if "loss" in tables else tables
    path = tmp_path / "wrong.toml"
    text = write(
        tmp_path, clean=trained / "speech", **{k: v for k, v in tables.items() if k != "loss"}
    ).read_text()
    if "loss" in tables:
        text += "[loss]\n" + "".join(f"{key} = {value}\n" for key, value in tables["loss"].items())
    path.write_text(text)
    assert status_of("train", str(path), "-o", str(tmp_path / "run"), "--compute", "cpu") == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert problem in said[0]
    assert not (tmp_path / "run").exists()


def test_a_clip_that_cannot_be_read_is_named_and_left_out(tmp_path, capsys):
    path = write(tmp_path, 2, 1)
    broken = tmp_path / "speech" / "100-1-0000.wav"
    broken.write_bytes(b"RIFF nothing")
    assert status_of("train", str(path), "-o", str(tmp_path / "run"), "--compute", "cpu") == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert len(said) == 1
    assert "100-1-0000.wav" in said[0]
