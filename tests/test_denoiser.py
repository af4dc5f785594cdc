"""The live denoiser: spectra there and back, its filters, what it may know, its training and its export."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from workshop import config, status_of

from engines.sessions import open_session
from export import denoiser
from export.bank import Bank
from export.denoiser import DenoiserTask, Loss, Settings
from export.models.denoiser import (
    BINS,
    FFT,
    HOP,
    LOW,
    TAPS,
    WINDOW,
    Critic,
    Denoiser,
    Shape,
    analysis,
    band_edges,
    band_gains,
    band_means,
    folded,
    synthesis,
)
from export.networks import differences, rounding, to_onnx
from export.training import load_checkpoint, open_task, read_run
from rtaudio.errors import UserError

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = Shape((3, 4, 4), 8)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def trained_like(seed=0):
    """A small network whose norms have seen something, as after training."""
    torch.manual_seed(seed)
    network = Denoiser(SMALL)
    for index in range(20):
        spectra = analysis(noise(2, 4800, seed=index))
        network(spectra.real, spectra.imag, *network.states(2).values())
    return network.eval()


def test_analysis_is_the_transform_of_every_window():
    x = noise(1, 3 * HOP)
    padded = np.pad(x[0].numpy().astype(np.float64), (WINDOW - HOP, 0))
    turn = np.sin(np.pi * np.arange(WINDOW) / WINDOW)  # the root of a periodic Hann window
    for frame in range(3):
        want = np.fft.rfft(padded[frame * HOP :][:WINDOW] * turn, FFT)
        assert np.allclose(analysis(x)[0, frame].numpy(), want, atol=1e-4)


def test_synthesis_gives_back_what_was_there_one_hop_late():
    x = noise(2, 20 * HOP)
    assert torch.allclose(synthesis(analysis(x))[:, WINDOW - HOP :], x[:, : HOP - WINDOW], atol=1e-5)


def test_bands_are_means_of_their_bins_and_gains_lie_on_lines_between():
    edges = band_edges()
    assert edges[0] == LOW
    assert edges[-1] == BINS
    assert all(a < b for a, b in pairwise(edges))
    power = noise(BINS - LOW).abs()
    want = [power[a - LOW : b - LOW].mean() for a, b in pairwise(edges)]
    assert torch.allclose(power @ band_means(), torch.stack(want), atol=1e-6)
    middles = [(a + b - 1) / 2 for a, b in pairwise(edges)]
    gains = noise(len(middles)).numpy()
    bins = np.interp(np.arange(LOW, BINS), middles, gains)
    assert np.allclose(gains @ band_gains().numpy(), bins, atol=1e-5)


def test_low_bins_pass_a_filter_over_five_frames():
    network = Denoiser(SMALL).eval()
    random = np.random.default_rng(1)
    taps = random.normal(size=(TAPS, 2)).astype(np.float32)
    with torch.no_grad():
        network.filter.weight.zero_()
        network.filter.bias[:TAPS] = torch.from_numpy(taps[:, 0])
        network.filter.bias[TAPS : 2 * TAPS] = torch.from_numpy(taps[:, 1])
        network.filter.bias[2 * TAPS] = 0.0
    spectra = analysis(noise(1, 9 * HOP))
    re, im = network(spectra.real, spectra.imag, *network.states().values())[:2]
    x = spectra[0, :, :LOW].detach().numpy()
    for frame in range(9):
        want = x[frame].astype(np.complex128)
        for tap in range(TAPS):
            past = frame - (TAPS - 1) + tap
            if past >= 0:
                want = want + (taps[tap, 0] + 1j * taps[tap, 1]) * x[past]
        found = (re + 1j * im)[0, frame, :LOW].detach().numpy()
        assert np.allclose(found, 0.5 * want, atol=1e-4)  # the gain of no logit is a half


def test_knows_nothing_of_what_follows():
    network = trained_like()
    x = noise(1, 12 * HOP)
    other = x.clone()
    other[:, 6 * HOP :] += noise(1, 6 * HOP, seed=1)
    found = []
    for sound in (x, other):
        spectra = analysis(sound)
        with torch.no_grad():
            found.append(network(spectra.real, spectra.imag, *network.states().values()))
    for a, b in zip(found[0][:3], found[1][:3], strict=True):
        assert torch.equal(a[:, :6], b[:, :6])
        assert not torch.equal(a[:, 6:], b[:, 6:])


def test_silence_stays_silent():
    network = trained_like()
    zeros = torch.zeros(1, 30, BINS)
    with torch.no_grad():
        re, im, _ = network(zeros, zeros, *network.states().values())[:3]
    assert not torch.any(re)
    assert not torch.any(im)


def test_norms_fold_into_convolutions():
    network = trained_like()
    spectra = analysis(noise(1, 20 * HOP, seed=5))
    with torch.no_grad():
        want = network(spectra.real, spectra.imag, *network.states().values())
        found = folded(network)(spectra.real, spectra.imag, *network.states().values())
    for a, b in zip(want, found, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("weights", ["float32", "float16", "int8"])
def test_exported_it_computes_the_same_frame_by_frame(weights):
    task = DenoiserTask(Settings(data=None, model=SMALL))
    exportable = task.exportable(trained_like())
    change = rounding(exportable, weights)
    assert (change > 0) == (weights != "float32")
    assert change < 1e-3
    found = differences(exportable, to_onnx(exportable, weights))
    assert set(found) == {"torch - onnx", "stream - offline"}
    assert max(found.values()) < 2e-5


def test_critic_scores_each_example_alone():
    torch.manual_seed(0)
    critic = Critic(8)
    a, b = noise(3, 40, 32), noise(3, 40, 32, seed=1)
    together = critic(a, b)
    assert together.shape == (3,)
    alone = torch.cat([critic(a[k : k + 1], b[k : k + 1]) for k in range(3)])
    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("channels", [(1, 2), (0, 2, 3), (8, 8, 300)])
def test_wrong_shapes_are_refused(channels):
    with pytest.raises(UserError, match="channels"):
        Shape(channels)


@pytest.mark.parametrize(("name", "value"), [("harm", -1.0), ("every", 0), ("phase", float("inf"))])
def test_wrong_weights_are_refused(name, value):
    with pytest.raises(UserError, match=name):
        Loss(**{name: value})


# ------------------------------------------------------------------------------------------ training


@pytest.fixture(scope="module", autouse=True)
def few_noises():
    """To be judged by, as to train with: 64 noises and 8 rooms would be most of the time of a run."""

    def few(clean, noise, synthetic, kinds, rooms, *rest):
        return Bank(clean, noise, min(synthetic, 4), kinds, min(rooms, 1), *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(denoiser, "Bank", few)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a few steps, through the command."""
    folder = tmp_path_factory.mktemp("denoiser")
    path = small(folder)
    assert status_of("train", str(path), "-o", str(folder / "run"), "--compute", "cpu") == 0
    return folder


@pytest.fixture
def without_processes(monkeypatch):
    """They have made noises for `trained`, and take seconds to start."""
    monkeypatch.setattr(denoiser, "ProcessPoolExecutor", lambda jobs, context: ThreadPoolExecutor(1))


def small(folder, **training):
    return config(
        folder,
        "denoiser",
        model={"channels": [3, 4, 4], "hidden": 16, "width": None, "residual": None},
        optimiser={"denoiser": 5e-3, "generator": None, "critic": 1e-3},
        data={"windows": None, "synthetic": 4, "rooms": 1, "seconds": 1.0, "validation": 4},
        training={"steps": 30, "validate": 10, "batch": 4, **training},
    )


def test_training_lowers_the_held_out_loss(trained):
    history = json.loads((trained / "run" / "checkpoint.json").read_text())["history"]
    assert [step for step, _, _ in history] == [10, 20, 30]
    assert history[-1][2] < history[0][2] - 0.02


@pytest.mark.usefixtures("without_processes")
def test_interrupted_within_a_group_of_batches_it_ends_with_the_same_weights(trained):
    path = small(trained, steps=6, schedule="constant", rise=0)
    for steps, run, more in ((6, "whole", ()), (3, "parts", ()), (6, "parts", ("--resume",))):
        other = trained / f"steps{steps}.toml"
        other.write_text(path.read_text().replace("steps = 6", f"steps = {steps}"))
        folder = str(trained / run)
        assert status_of("train", str(other), "-o", folder, "--compute", "cpu", *more) == 0
    whole, parts = (load_checkpoint(trained / name)[0] for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name


@pytest.mark.usefixtures("without_processes")
def test_a_run_begins_with_the_weights_of_another(trained):
    path = small(trained, steps=1, rise=0)
    text = path.read_text().replace("denoiser = 0.005", "denoiser = 1e-9")
    path.write_text(text)
    begun = str(trained / "begun")
    assert status_of("train", str(path), "-o", begun, "--from", str(trained / "run"), "--compute", "cpu") == 0
    before, _ = load_checkpoint(trained / "run")
    after, _ = load_checkpoint(trained / "begun")
    name = "inner.weight"
    assert torch.allclose(before[f"mean.{name}"], after[f"network.denoiser.{name}"], atol=1e-6)
    record = json.loads((trained / "begun" / "run.json").read_text())
    (start,) = record["start"]
    assert start["step"] == 30
    assert start["command"] == json.loads((trained / "run" / "run.json").read_text())["command"]
    assert record["command"].endswith("--from run")


def test_a_start_of_other_networks_is_refused(trained, capsys):
    path = small(trained)
    other = trained / "wider.toml"
    other.write_text(path.read_text().replace("hidden = 16", "hidden = 24"))
    run = str(trained / "run")
    assert status_of("train", str(other), "-o", str(trained / "no"), "--from", run) == 2
    assert "is of other networks than the configuration" in capsys.readouterr().err
    assert not (trained / "no").exists()


def test_exported_by_the_command(trained, capsys):
    path = trained / "small.onnx"
    assert status_of("onnx", str(trained / "run"), "-o", str(path)) == 0
    card = json.loads(path.with_suffix(".json").read_text())
    assert (card["kind"], card["rate"], card["hop"], card["fft"]) == ("spectra", 48_000, HOP, FFT)
    assert card["states"]["memory_1"] == [1, 16]
    session = open_session(path, path.read_bytes())
    assert [put.name for put in session.get_inputs()][:2] == ["re", "im"]
    _, network, record = read_run(trained / "run")
    assert record["task"] == "denoiser"
    assert "start" not in card
    assert not network.training


@pytest.mark.usefixtures("without_processes")
def test_the_mean_of_two_runs_is_exported(trained):
    path = small(trained, steps=2)
    begun = trained / "second"
    assert status_of("train", str(path), "-o", str(begun), "--from", str(trained / "run")) == 0
    names = ("run", "second")
    wanted = [read_run(trained / name)[1].state_dict()["speech.weight"] for name in names]
    other = trained / "mean.onnx"
    arguments = (
        "onnx",
        str(trained / "run"),
        "-o",
        str(other),
        "--average",
        str(begun),
        "--weights",
        "float32",
    )
    assert status_of(*arguments) == 0
    stored = [numpy_helper.to_array(x) for x in onnx.load(other).graph.initializer]
    mean = ((wanted[0] + wanted[1]) / 2).numpy().ravel()
    assert any(x.size == mean.size and np.allclose(x.ravel(), mean, atol=1e-7) for x in stored)
    assert not np.allclose(wanted[0], wanted[1], atol=1e-7)
    card = json.loads(other.with_suffix(".json").read_text())
    assert [run["step"] for run in card["averaged with"]] == [2]
    assert [run["step"] for run in card["averaged with"][0]["start"]] == [30]

    arguments = (*arguments[:5], str(begun), str(trained / "run"), "--weights", "float32")
    assert status_of(*arguments) == 0
    stored = [numpy_helper.to_array(x) for x in onnx.load(other).graph.initializer]
    quarter = (0.75 * wanted[0] + 0.25 * wanted[1]).numpy().ravel()
    assert any(x.size == quarter.size and np.allclose(x.ravel(), quarter, atol=1e-7) for x in stored)

    still = small(trained, steps=1, rise=0)
    still.write_text(still.read_text().replace("denoiser = 0.005", "denoiser = 1e-9"))
    runs = [str(trained / name) for name in names]
    assert status_of("train", str(still), "-o", str(trained / "third"), "--from", *runs) == 0
    after, _ = load_checkpoint(trained / "third")
    assert np.allclose(after["network.denoiser.speech.weight"].numpy().ravel(), mean, atol=1e-6)
    record = json.loads((trained / "third" / "run.json").read_text())
    assert [run["step"] for run in record["start"]] == [30, 2]
    assert [run["step"] for run in record["start"][1]["start"]] == [30]
    assert record["command"].endswith("--from run second")


@pytest.mark.usefixtures("without_processes")
def test_runs_of_different_networks_have_no_mean(trained, capsys):
    path = small(trained, steps=1)
    text = path.read_text().replace("hidden = 16", "hidden = 8")
    path.write_text(text)
    assert status_of("train", str(path), "-o", str(trained / "narrow")) == 0
    target = trained / "none.onnx"
    arguments = ("onnx", str(trained / "run"), "-o", str(target), "--average", str(trained / "narrow"))
    assert status_of(*arguments) == 2
    assert "is of another network" in capsys.readouterr().err
    assert not target.exists()


def test_settings_are_those_of_the_file(trained):
    name, kind, _ = open_task(trained / "small.toml")
    assert (name, kind) == ("denoiser", DenoiserTask)
