"""The training loop: the same weights after a kill, budgets, guards, checkpoints, several processes."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from toy_task import Settings, Toy
from workshop import config

from export import training
from export.__main__ import main
from export.config import typed
from export.enhancer import Enhancer, windows
from export.mixing import Pair
from export.training import Board, Place, Run, Training, Uniform, load_checkpoint, mean_weight, rate_factor
from rtaudio.errors import FileError, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}
CPU = Place(torch.device("cpu"))


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(training.TASKS, "toy", "toy_task:Toy")


def toy_run(folder, minutes=None, seed=0, place=CPU, poison=-1, nan_data=False, **settings):
    settings = {"steps": 40, "batch": 8, "rise": 4, "validate": 20, **settings}
    torch.manual_seed(0)
    task = Toy(Settings(seed, poison, nan_data, Training(**settings)))
    task.open_data()
    folder.mkdir(exist_ok=True)
    return Run(task, task.settings.training, folder, seed, place, minutes)


def go(run, stop_at=None):
    """Train; with ``stop_at``, Ctrl-C in the step after that."""

    def show(done, line):
        if run.progress.step == stop_at:
            signal.raise_signal(signal.SIGINT)

    return run.train(show, Board(None, 0))


def weights(run):
    return torch.cat([x.flatten() for _, x in sorted(training.pack(run.task, run.mean).items())])


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "export", *map(str, arguments)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def state_of(folder):
    tensors, state = load_checkpoint(folder)
    return tensors, state["step"]


def same(a, b):
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name


# ------------------------------------------------------------------------------------------ resuming


def test_killed_and_resumed_ends_with_the_same_weights(tmp_path):
    path = config(tmp_path)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with start("train", path, "-o", whole, "--compute", "cpu") as process:
        assert process.wait(600) == 0, process.stdout.read()
    with start("train", path, "-o", killed, "--compute", "cpu") as process:
        record = killed / "checkpoint.json"
        while not (record.exists() and json.loads(record.read_text())["step"] >= 3):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.005)
        process.kill()
    tensors, step = state_of(killed)
    assert 3 <= step < 8
    with start("train", path, "-o", killed, "--compute", "cpu", "--resume") as process:
        assert process.wait(600) == 0, process.stdout.read()
    same(state_of(whole)[0], state_of(killed)[0])
    assert state_of(killed)[1] == 8
    with pytest.raises(AssertionError):
        same(state_of(whole)[0], tensors)


def test_interrupted_and_resumed_ends_with_the_same_weights(tmp_path):
    whole = toy_run(tmp_path / "whole")
    assert go(whole) is True
    part = toy_run(tmp_path / "part")
    assert go(part, stop_at=17) is False
    assert part.progress.step == 18
    again = toy_run(tmp_path / "part")
    again.resume()
    assert go(again) is True
    assert torch.equal(weights(whole), weights(again))
    assert [row[0] for row in again.progress.history] == [20, 40]
    assert not torch.equal(weights(whole), weights(part))


def test_seed_changes_the_weights(tmp_path):
    first, second, other = (
        toy_run(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    for run in (first, second, other):
        go(run)
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_matter(tmp_path, workers):
    runs = [toy_run(tmp_path / str(n), workers=n) for n in (0, workers)]
    for run in runs:
        go(run)
    assert torch.equal(*(weights(run) for run in runs))


def test_two_processes_train_as_one(tmp_path):
    """torchrun with gloo: gradients of two halves of the batch average to those of the whole."""
    path = config(tmp_path, loss={"critic_steps": 2})
    for folder, processes in ((tmp_path / "one", 1), (tmp_path / "two", 2)):
        found = subprocess.run(
            [
                sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes),
                "--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0",
                "-m", "export", "train", path, "-o", folder, "--compute", "cpu",
            ],
            env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert found.returncode == 0, found.stderr
    one, two = (load_checkpoint(tmp_path / name)[0] for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        if not name.startswith("optimiser"):
            torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-5, msg=name)


ENDS = """
import os, signal, sys, torch
from export.training import find_place
end = torch.distributed.destroy_process_group
def hit():
    os.kill(os.getpid(), signal.SIGINT)
    end()
torch.distributed.destroy_process_group = hit
with find_place("cpu") as place:
    assert place.largest(place.rank) == [1.0]
    if place.first:
        sys.stdin.read()
os.kill(os.getpid(), signal.SIGINT)
sys.exit(130)
"""


def test_ctrl_c_that_comes_twice_does_not_cut_an_end_short():
    """In the first process to end, and in the other, which is there until then."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    group = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": "2",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }  # fmt: skip
    first, second = (
        subprocess.Popen(
            [sys.executable, "-c", ENDS],
            env={**ENVIRONMENT, **group, "RANK": rank, "LOCAL_RANK": rank},
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    )
    for process in (second, first):
        _, said = process.communicate(timeout=120)
        assert (process.returncode, said) == (130, "")


def test_a_process_whose_partner_is_gone_says_so_in_a_line(monkeypatch):
    def gone(*arguments):
        raise RuntimeError("[pair.cc:553] Connection closed by peer")

    monkeypatch.setattr(torch.distributed, "all_reduce", gone)
    place, line = Place(torch.device("cpu"), 0, 2), nn.Linear(1, 1)
    line(torch.ones(1)).backward()
    for call in (lambda: place.largest(1.0), lambda: place.average_gradients(line)):
        with pytest.raises(UserError, match=r"another process stopped: see its message .*Connection closed"):
            call()


def test_uniform_numbers_are_shared_out():
    whole = Uniform(3, 7, CPU)
    halves = [Uniform(3, 7, Place(torch.device("cpu"), rank, 2)) for rank in (0, 1)]
    for _ in range(2):
        assert torch.equal(whole(6, 4), torch.cat([half(3, 4) for half in halves]))
    assert not torch.equal(Uniform(3, 8, CPU)(6, 4), Uniform(3, 7, CPU)(6, 4))


# ------------------------------------------------------------------------------------------ learning


@pytest.mark.parametrize(
    ("model", "rates", "factor"),
    [
        ({"residual": False}, {"generator": 3e-3, "critic": 1e-4}, 0.8),
        ({"residual": True, "normalise": True}, {"generator": 1e-3, "critic": 1e-3}, 0.99),
    ],
    ids=["the paper's", "residual"],
)
def test_training_lowers_the_held_out_loss(tmp_path, model, rates, factor):
    """On a held-out batch that is the same every time, by the command."""
    path = config(
        tmp_path,
        model=model,
        loss={"similarity": 1000.0},
        optimiser=rates,
        training={"steps": 60, "validate": 10, "checkpoint": 60},
    )
    assert main(["train", str(path), "-o", str(tmp_path / "run"), "--compute", "cpu"]) == 0
    history = load_checkpoint(tmp_path / "run")[1]["history"]
    begin = Enhancer(typed_settings(path))
    begin.open_data()
    with torch.no_grad():
        before = begin.validate(begin.generator, torch.device("cpu")).loss
    assert [row[0] for row in history] == [10, 20, 30, 40, 50, 60]
    assert history[-1][2] < factor * before
    assert history[-1][2] < history[0][2]


def typed_settings(path):
    _, kind, tables = training.open_task(path)
    return typed(tables, kind.settings_type, str(path))


@pytest.mark.parametrize(
    ("adversarial", "activation", "precision"),
    [
        ("wasserstein", "glu", "float32"),
        ("least-squares", "prelu", "float32"),
        ("wasserstein", "prelu", "float32"),
        ("wasserstein", "glu", "bfloat16"),
    ],
)
def test_every_kind_of_enhancer_trains(tmp_path, adversarial, activation, precision):
    path = config(
        tmp_path,
        loss={"adversarial": adversarial},
        model={"activation": activation},
        training={"precision": precision, "steps": 3},
    )
    settings = typed_settings(path)
    torch.manual_seed(0)
    task = Enhancer(settings)
    task.open_data()
    run = Run(task, settings.training, tmp_path, 0, CPU, None)
    before = {name: [p.clone() for p in network.parameters()] for name, network in task.networks.items()}
    assert go(run) is True
    assert run.progress.skipped == 0
    for name, network in task.networks.items():
        moved = [not torch.equal(p, q) for p, q in zip(network.parameters(), before[name], strict=True)]
        assert any(moved), name
        assert all(torch.all(torch.isfinite(p)) for p in network.parameters())


def test_readers_are_on_one_side_only(tmp_path):
    task = Enhancer(typed_settings(config(tmp_path)))
    found = task.open_data()
    assert len(found["speakers"]) == 5
    assert len(found["held out"]) == 1
    assert not {*found["speakers"]} & {*found["held out"]}
    assert found["sources"] == {f"{tmp_path.name}/{name}": "not stated" for name in ("speech", "noise")}


def test_windows_of_an_utterance():
    pair = Pair("x", 16_000, *(np.arange(70_000, dtype=np.float32) * k for k in (1, 2, 3)), 20.0, {})
    clean, noisy = windows(pair, 8_192, 4, np.random.default_rng(0))
    assert clean.shape == noisy.shape == (4, 16_384)
    starts = clean[:, 0]
    assert len({*starts}) == 4
    assert np.all(starts % 8_192 == 0)
    np.testing.assert_array_equal(clean, starts[:, None] + np.arange(16_384))
    np.testing.assert_array_equal(noisy, 2 * clean)
    short = Pair("x", 16_000, *(np.ones(100, np.float32) for _ in range(3)), 20.0, {})
    clean, _ = windows(short, 8_192, 2, None)
    np.testing.assert_array_equal(clean[1], np.r_[np.ones(100), np.zeros(16_284)])


def test_mean_of_weights_in_closed_form(tmp_path):
    run = toy_run(tmp_path, mean=0.6)
    seen = [run.task.networks["line"].weight.detach().clone()]
    run._average = lambda keep=run._average: (
        seen.append(run.task.networks["line"].weight.detach().clone()), keep()
    )  # fmt: skip
    go(run)
    mean = seen[0]
    for step, weight in enumerate(seen[1:]):
        past = min(0.6, (1 + step) / (10 + step))
        mean = past * mean + (1 - past) * weight
    torch.testing.assert_close(run.mean.weight, mean)
    assert mean_weight(Training(mean=0.999), 0) == pytest.approx(0.1)


def test_learning_rate_in_closed_form():
    cosine, constant = Training(rise=9, last=0.1), Training(rise=9, schedule="constant")
    assert [rate_factor(constant, step, 0.5) for step in (0, 4, 9, 500)] == pytest.approx([0.1, 0.5, 1, 1])
    assert rate_factor(cosine, 100, 0.0) == pytest.approx(1)
    assert rate_factor(cosine, 100, 0.5) == pytest.approx(0.1 + 0.9 / 2)
    assert rate_factor(cosine, 100, 1.0) == rate_factor(cosine, 100, 1.2) == pytest.approx(0.1)


def test_minutes_end_the_learning_rate_too(tmp_path, monkeypatch):
    """With a clock that moves a second at every look, 30 seconds are soon over."""
    clock = iter(range(10_000))
    monkeypatch.setattr(training.time, "monotonic", lambda: float(next(clock)))
    run = toy_run(tmp_path, minutes=0.5, rise=0, schedule="cosine", steps=3)
    assert go(run) is True
    assert 30 <= run.progress.seconds <= 33
    assert run.task.optimisers["line"].param_groups[0]["lr"] < 0.1 * 0.05


# ------------------------------------------------------------------------------------------ guards


def test_steps_that_are_not_finite_are_left_out(tmp_path):
    run = toy_run(tmp_path, poison=30)
    at_30 = {}
    run._average = lambda keep=run._average: (keep(), at_30.setdefault(run.progress.step, weights_of(run)))
    assert go(run) is True
    assert run.progress.skipped == 10
    assert torch.equal(weights_of(run), at_30[29])
    assert torch.all(torch.isfinite(weights(run)))


def weights_of(run):
    return torch.cat([p.detach().flatten().clone() for p in run.task.networks["line"].parameters()])


def test_a_loss_that_is_not_finite_once_is_not_all_that_is_shown(tmp_path):
    run = toy_run(tmp_path, steps=12)
    values = iter([4.0, *[math.nan] * 2, *[2.0] * 9])
    run.task.train = lambda batch, random, update: {"error": next(values)}
    shown = []
    run.train(lambda done, line: shown.append(line), Board(None, 0))
    assert shown[2] == "step 3: error 4"
    assert shown[3] == "step 4: error 3.9"


def test_gives_up_when_no_step_is_finite(tmp_path):
    run = toy_run(tmp_path, poison=5, steps=200)
    with pytest.raises(UserError, match=r"50 updates in a row .* lower its rate"):
        go(run)
    assert run.progress.step == 54


def test_gives_up_on_one_network_though_the_other_learns(tmp_path):
    run = toy_run(tmp_path, steps=200)
    run.task.networks = {**run.task.networks, "other": nn.Linear(3, 1)}
    run.task.optimisers = {
        **run.task.optimisers,
        "other": torch.optim.SGD(run.task.networks["other"].parameters()),
    }
    run.rates["other"] = 0.1

    def both(batch, random, update):
        update("line", run.task.networks["line"](batch[0]).square().mean())
        update("other", run.task.networks["other"](batch[0]).mean() * float("nan"))
        return {}

    run.task.train = both
    with pytest.raises(UserError, match="gradient of the other"):
        go(run)
    assert run.progress.step == 49


def test_a_held_out_loss_that_is_not_finite_ends_training(tmp_path):
    run = toy_run(tmp_path)
    run.task.validate = lambda network, device: training.Validation(math.nan, {})
    with pytest.raises(UserError, match="held-out loss is nan at step 20: lower the rates"):
        go(run)


def test_data_that_is_not_finite_ends_training_with_a_line(tmp_path):
    with pytest.raises(UserError, match=r"step 0 has values that are not finite"):
        go(toy_run(tmp_path, nan_data=True))


def test_mixed_precision_sees_every_update(tmp_path):
    """A second forward in a step is through the weights that the first update moved."""
    run = toy_run(tmp_path, precision="bfloat16", steps=1)
    line, seen = run.task.networks["line"], []

    def twice(batch, random, update):
        for _ in range(2):
            seen.append(line(batch[0]).float())
            update("line", seen[-1].square().mean())
        return {}

    run.task.train = twice
    go(run)
    assert not torch.equal(*seen)


def test_clip_bounds_the_gradient(tmp_path):
    run = toy_run(tmp_path, clip=1e-3)
    run._update("line", 100 * run.task.networks["line"](torch.ones(1, 3)).sum())
    norm = torch.cat([p.grad.flatten() for p in run.task.networks["line"].parameters()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)


def test_out_of_memory_says_what_to_lower():
    with pytest.raises(UserError, match="batch = 16: lower that"), training.out_of_memory(Training()):
        torch.empty(1 << 50)
    with pytest.raises(UserError, match="batch = 16: lower that"), training.out_of_memory(Training()):
        raise torch.OutOfMemoryError("of a GPU")
    with pytest.raises(RuntimeError, match="shape"), training.out_of_memory(Training()):
        raise RuntimeError("shape")


# ------------------------------------------------------------------------------------------ checkpoints


@contextmanager
def full_disk(limit):
    """No file may grow beyond ``limit`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_leaves_the_old_checkpoint_whole(tmp_path):
    old = {"x": torch.arange(1_000.0)}
    training.save_checkpoint(tmp_path, old, {"step": 1})
    with full_disk(2_000), pytest.raises(FileError, match="File too large"):
        training.save_checkpoint(tmp_path, {"x": torch.ones(1_000)}, {"step": 2})
    tensors, state = load_checkpoint(tmp_path)
    assert torch.equal(tensors["x"], old["x"])
    assert state["step"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.json", "step-1.safetensors"]


def test_no_room_for_the_record_leaves_the_old_checkpoint_whole(tmp_path):
    training.save_checkpoint(tmp_path, {"x": torch.zeros(1)}, {"step": 1, "history": []})
    with full_disk(2_000), pytest.raises(FileError, match="File too large"):
        training.save_checkpoint(
            tmp_path, {"x": torch.ones(1)}, {"step": 2, "history": [[1.0, 2.0, 3.0]] * 300}
        )
    tensors, state = load_checkpoint(tmp_path)
    assert (tensors["x"].item(), state["step"]) == (0.0, 1)


def test_only_the_newest_tensors_are_kept(tmp_path):
    for step in (1, 2, 3):
        training.save_checkpoint(tmp_path, {"x": torch.full((1,), float(step))}, {"step": step})
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["step-3.safetensors"]
    assert load_checkpoint(tmp_path)[0]["x"].item() == 3.0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "checkpoint.json").unlink(), "holds no checkpoint"),
        (lambda f: next(f.glob("*.safetensors")).unlink(), "holds no checkpoint"),
        (lambda f: (f / "checkpoint.json").write_text("{"), "is no checkpoint"),
        (lambda f: (f / "checkpoint.json").write_text("[]"), "is no checkpoint"),
        (lambda f: next(f.glob("*.safetensors")).write_bytes(b"x"), "changed or cut short"),
        (
            lambda f: (f / "checkpoint.json").write_text(
                (f / "checkpoint.json").read_text().replace('"format": 1', '"format": 7')
            ),
            "format 7, this version reads 1",
        ),
    ],
)
def test_broken_checkpoints_are_refused(tmp_path, spoil, message):
    training.save_checkpoint(tmp_path, {"x": torch.zeros(3)}, {"step": 1})
    spoil(tmp_path)
    with pytest.raises(FileError, match=message):
        load_checkpoint(tmp_path)


def test_checkpoint_of_another_network_is_refused(tmp_path):
    run = toy_run(tmp_path)
    run.save()
    run.task.networks["line"] = nn.Linear(4, 1)
    with pytest.raises(FileError, match="of other networks"):
        run.resume()


def test_checkpoint_names_no_file_outside_the_run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    training.save_checkpoint(folder, {"x": torch.zeros(3)}, {"step": 1})
    (folder / "step-1.safetensors").rename(tmp_path / "step-1.safetensors")
    record = folder / "checkpoint.json"
    record.write_text(record.read_text().replace("step-1.", "../step-1."))
    with pytest.raises(FileError, match="holds no checkpoint"):
        load_checkpoint(folder)


# ------------------------------------------------------------------------------------------ the command


def toy_config(folder, **training_):
    path = folder / "toy.toml"
    lines = [
        f"{key} = {value}" for key, value in {"steps": 20, "batch": 4, "validate": 10, **training_}.items()
    ]
    path.write_text('task = "toy"\nseed = 3\n[training]\n' + "\n".join(lines) + "\n")
    return path


def test_curves_sounds_and_pictures_for_tensorboard(tmp_path, toy):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert main(["train", str(toy_config(tmp_path)), "-o", str(tmp_path / "run"), "--compute", "cpu"]) == 0
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    assert [point.step for point in events.Scalars("held out/error")] == [10, 20]
    assert [point.step for point in events.Scalars("train/error")] == [10, 20]
    assert events.Audio("tone")[0].sample_rate == 8_000
    assert (events.Images("tone")[0].height, len(events.Images("tone"))) == (257, 2)


def test_a_run_is_gone_on_with_only_when_asked(tmp_path, toy, capsys):
    path, out = toy_config(tmp_path), str(tmp_path / "run")
    arguments = ["train", str(path), "-o", out, "--compute", "cpu"]
    assert main([*arguments, "--resume"]) == 0  # nothing there yet: begins
    assert main(arguments) == 2
    assert "holds a run: go on with --resume" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    assert "step 20, 0.0 min of training" in capsys.readouterr().err
    toy_config(tmp_path, steps=30)
    assert main([*arguments, "--resume"]) == 0
    assert load_checkpoint(tmp_path / "run")[1]["step"] == 30
    toy_config(tmp_path, batch=2)
    assert main([*arguments, "--resume"]) == 2
    assert "a run with another settings.training.batch (4, now 2)" in capsys.readouterr().err


def test_a_run_from_before_a_setting_is_gone_on_with(tmp_path, toy, capsys):
    arguments = ["train", str(toy_config(tmp_path)), "-o", str(tmp_path / "run"), "--compute", "cpu"]
    assert main(arguments) == 0
    path = tmp_path / "run" / "run.json"
    record = json.loads(path.read_text())
    assert record["settings"]["training"].pop("clip") == 0
    path.write_text(json.dumps(record))
    assert main([*arguments, "--resume"]) == 0
    path.write_text("{}")
    assert main([*arguments, "--resume"]) == 2
    assert "run.json is not the record of a run: KeyError: 'settings'" in capsys.readouterr().err


X = 'task = "enhancer"\n[data]\nclean = ["x"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "task = None: want one of enhancer"),
        ('task = "enhancr"', "did you mean 'enhancer'?"),
        ('task = "enhancer"\n[data]\nclean = 3', "clean = 3: expected array, got int"),
        (X + '[modell]\nwidth = 1', "unknown key 'modell', did you mean 'model'?"),
        (X + '[model]\nwidth = "1"', "[model]: width = '1': expected float, got str"),
        (X + '[model]\nwidth = 0.3', "model.width 0.3: want a multiple"),
        ('task = "enhancer"\nmodel = 3', "model is a table: write [model]"),
        ('task = "enhancer"', "wrong.toml: data is missing"),
        ('task = "enhancer"\n[data]\nclean = ["nowhere"]', "nowhere"),
        (X + '[loss]\nadversarial = "hinge"', "want wasserstein or least-squares"),
        (X + '[training]\nbatch = 6', "want a multiple of windows = 4"),
        (X + '[training]\nsteps = 0', "steps = 0: give a positive number"),
        (X + '[mix]\nrate = 48000', "these networks want 16000"),
        (X + '[optimiser]\nbetas = [0.5, 1.0]', "betas from 0 to below 1"),
        (f"seed = -1\n{X}", "seed = -1: want 0 or more"),
        ("task = ", "is not TOML"),
    ],
)  # fmt: skip
def test_wrong_configurations_are_one_line(tmp_path, capsys, text, message):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    assert main(["train", str(path), "-o", str(tmp_path / "run"), "--compute", "cpu"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", "0"], "--minutes 0.0: give a positive number"),
        (["--minutes", "nan"], "give a positive number"),
        (["--compute", "cuda"], "--compute cuda: torch finds no CUDA device"),
    ],
)
def test_wrong_options_are_one_line(tmp_path, toy, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["train", str(toy_config(tmp_path)), "-o", str(tmp_path / "run"), *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_missing_configuration_and_unwritable_folder(tmp_path, toy, capsys):
    assert main(["train", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: No such file" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    path = toy_config(tmp_path)
    assert main(["train", str(path), "-o", str(tmp_path / "file" / "run"), "--compute", "cpu"]) == 2
    assert "Not a directory" in capsys.readouterr().err


def test_batch_must_divide_among_processes(tmp_path):
    with pytest.raises(UserError, match="batch = 8 over 3 processes"):
        toy_run(tmp_path, place=Place(torch.device("cpu"), 0, 3))


def test_history_is_of_numbers(tmp_path):
    run = toy_run(tmp_path)
    go(run)
    run.save()
    for row in load_checkpoint(tmp_path)[1]["history"]:
        assert len(row) == 3
        assert all(math.isfinite(value) for value in row)
    assert load_file(next(Path(tmp_path).glob("*.safetensors")))
