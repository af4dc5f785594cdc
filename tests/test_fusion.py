"""Learned fusion: the compiled features and network against plain numpy, and the files of the model."""

import copy
import hashlib
import json
import shutil
from pathlib import Path

import fusion_reference
import numpy as np
import pytest

from engines import fusion
from rtaudio.errors import FileError
from rtaudio.stft import windows

BINS, UNITS = fusion.BINS, fusion.UNITS
STEMS = Path(__file__).parents[2] / "shared" / "data" / "stems"


@pytest.fixture(scope="module")
def model():
    return fusion.load()


def tables(model):
    """The weights by name, (inputs, outputs) each."""
    found, row = {}, 0
    for name, rows in fusion.SHAPES.items():
        found[name] = model.weights[row : row + rows].astype(np.float64)
        row += rows
    return found


def run(spectra, model, first=0):
    """Masks (frames, BINS) of (channels, frames, BINS) spectra."""
    memory, *scratch = fusion.allocate(1)
    out = np.full((spectra.shape[1], BINS), np.nan, np.float32)
    for t in range(spectra.shape[1]):
        re, im = (np.ascontiguousarray(part[:, t], np.float32) for part in (spectra.real, spectra.imag))
        fusion.learned_mask(first + t, re, im, out[t], memory[0], *scratch, *model)
    assert np.all(np.isfinite(memory))
    return out


def analysed(x):
    """Spectra (channels, frames, BINS) complex64 of (channels, samples), silence before."""
    analysis, _ = windows(fusion.N_FFT, fusion.HOP, fusion.SYNTHESIS)
    padded = np.pad(x, ((0, 0), (fusion.N_FFT - fusion.HOP, 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, fusion.N_FFT, axis=1)[:, :: fusion.HOP]
    return np.fft.rfft(frames * analysis, axis=-1).astype(np.complex64)


def clip(channels=2, seconds=0.7):
    """Tones that come and go, clicks and noise, (channels, samples)."""
    rng = np.random.default_rng(7)
    t = np.arange(int(seconds * 44_100)) / 44_100
    x = rng.normal(0, 0.003, (channels, len(t)))
    for begin, hertz in ((0.0, 220.0), (0.2, 331.0), (0.45, 1500.0), (0.5, 5200.0)):
        x += 0.2 * (t >= begin) * np.sin(2 * np.pi * hertz * t) * rng.uniform(0.2, 1, (channels, 1))
    for begin in (0.1, 0.3, 0.52):
        burst = rng.normal(0, 1, (channels, len(t))) * np.exp(-np.maximum(t - begin, 0) * 40) * (t >= begin)
        x += burst
    return x


def noise(frames=50, channels=2, level=1.0):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, channels, frames, BINS)) * rng.exponential(size=(frames, 1))
    return (level * (x[0] + 1j * x[1])).astype(np.complex64)


def features(spectra):
    memory, bins, work = fusion.allocate(1)
    found = []
    for t in range(spectra.shape[1]):
        re, im = (np.ascontiguousarray(part[:, t], np.float32) for part in (spectra.real, spectra.imag))
        fusion.measure(re, im, bins, work)
        fusion.update_features(t, memory[0], work)
        row = fusion.SEEN + (t & 1) * fusion.FEATURES
        found.append(memory[0][row : row + fusion.FEATURES, fusion.PAD : fusion.PAD + UNITS].copy())
    return np.array(found)


# ----------------------------------------------------------------------------------- against plain numpy


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_the_features_are_those_of_the_plain_reference(channels):
    spectra = analysed(clip(channels))
    np.testing.assert_allclose(features(spectra), fusion_reference.features(spectra), atol=2e-5)


SOUNDS = {"clip": lambda: analysed(clip()), "mono": lambda: analysed(clip(1)), "noise": noise}


@pytest.mark.parametrize("sound", SOUNDS)
def test_the_masks_are_those_of_the_plain_reference(sound, model):
    spectra = SOUNDS[sound]()
    expected = fusion_reference.masks(spectra, tables(model), model.position.astype(np.float64))
    assert expected.std() > 0.05  # it says something
    np.testing.assert_allclose(run(spectra, model), expected, atol=1e-5)


def test_any_weights_not_only_the_trained_ones():
    rng = np.random.default_rng(5)
    weights = rng.normal(0, 0.2, (fusion.WEIGHT_ROWS, fusion.WIDTH)).astype(np.float32)
    made = fusion.Model(weights, rng.normal(size=(fusion.WIDTH, UNITS)).astype(np.float32))
    spectra = analysed(clip())
    expected = fusion_reference.masks(spectra, tables(made), made.position.astype(np.float64))
    np.testing.assert_allclose(run(spectra, made), expected, atol=1e-5)


def test_logarithms_over_all_floats():
    x = np.exp(np.linspace(np.log(1.2e-38), np.log(3.4e38), 20_001)).astype(np.float32)
    found = np.array([fusion.log2(value) for value in x])
    np.testing.assert_allclose(found, np.log2(x.astype(np.float64)), atol=2e-6, rtol=1e-6)


def test_a_tone_is_harmonic_and_a_click_is_not(model):
    t = np.arange(44_100) / 44_100
    tone = 0.3 * np.sin(2 * np.pi * 660 * t)[None]
    clicks = np.zeros((1, 44_100))
    clicks[0, 22_050::11_025] = 1.0
    peak = round(660 / 44_100 * fusion.N_FFT)
    assert run(analysed(tone), model)[80:, peak].min() > 0.8
    hits = run(analysed(clicks), model)
    begin = 22_050 // fusion.HOP + fusion.LOOKAHEAD
    assert hits[begin : begin + 3, 50:1000].mean() < 0.3


# -------------------------------------------------------------------------------------------- odd input


@pytest.mark.parametrize(
    "spectra",
    [
        np.zeros((2, 20, BINS), np.complex64),
        analysed(np.eye(1, 9000, 3000)),
        analysed(np.ones((2, 9000))),
        analysed(np.random.default_rng(0).uniform(-1, 1, (2, 20_000))),
        noise(level=1e-39),
        noise(level=1e-21),
        noise(level=1e14),
        np.concatenate([noise(20), np.zeros((2, 60, BINS), np.complex64), noise(20)], axis=1),
    ],
    ids=["silence", "impulse", "DC", "full scale", "denormal", "faint", "huge", "silence after music"],
)
def test_masks_stay_finite_and_within_0_and_1(spectra, model):
    masks = run(spectra.astype(np.complex64), model)
    assert np.all((masks >= 0) & (masks <= 1))


def test_silence_is_split_in_halves(model):
    assert np.all(run(np.zeros((1, 5, BINS), np.complex64), model) == 0.5)


@pytest.mark.parametrize("gain", [2.0**-20, 2.0**30, 1e-6, 1e6])
def test_the_mask_does_not_depend_on_the_level(gain, model):
    spectra = analysed(clip(seconds=0.4))
    np.testing.assert_allclose(run((spectra * np.float32(gain)), model), run(spectra, model), atol=2e-5)


def test_it_forgets_the_level_of_what_it_heard_first(model):
    """The state follows what is heard: half a second later, the past is nearly gone."""
    spectra = analysed(clip(seconds=1.5))
    whole, late = run(spectra, model), run(spectra[:, 100:], model)
    assert np.mean(np.abs(whole[-20:] - late[-20:])) < 0.02


def test_it_may_begin_at_any_frame_number(model):
    """Of a memory of zeros, any frame may be the first."""
    spectra = analysed(clip(seconds=0.3))
    np.testing.assert_array_equal(run(spectra, model, first=12_345), run(spectra, model))


def test_groups_share_nothing(model):
    left, right = analysed(clip(2, 0.2))[:, None]
    memory, *scratch = fusion.allocate(2)
    out = np.zeros((2, left.shape[1], BINS), np.float32)
    for t in range(left.shape[1]):
        for group, spectra in enumerate((left, right)):
            re, im = (np.ascontiguousarray(part[:, t], np.float32) for part in (spectra.real, spectra.imag))
            fusion.learned_mask(t, re, im, out[group, t], memory[group], *scratch, *model)
    np.testing.assert_array_equal(out[0], run(left, model))
    np.testing.assert_array_equal(out[1], run(right, model))


# ---------------------------------------------------------------------------------------------- files


def copied(folder):
    for suffix in (".safetensors", ".json"):
        shutil.copy(fusion.MODEL.with_suffix(suffix), folder / f"fusion{suffix}")
    return folder / "fusion.safetensors"


def test_the_card_is_that_of_the_weights(model):
    card = json.loads(fusion.MODEL.with_suffix(".json").read_text())
    assert card["sha256"] == hashlib.sha256(fusion.MODEL.read_bytes()).hexdigest()
    assert (card["n_fft"], card["hop"], card["synthesis"]) == (fusion.N_FFT, fusion.HOP, fusion.SYNTHESIS)
    assert card["lookahead"] == fusion.LOOKAHEAD
    assert card["latency"] <= 0.012 * card["rate"]
    assert len(card["features"]) == fusion.FEATURES
    assert card["licence"]
    assert card["data"]
    assert card["scores"]


def test_a_changed_byte_is_refused(tmp_path):
    path = copied(tmp_path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"SHA-256"):
        fusion.load(path)


def write(folder, tensors):
    from safetensors.numpy import save

    path = copied(folder)
    path.write_bytes(save(tensors))
    card = json.loads(path.with_suffix(".json").read_text())
    card["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def test_other_shapes_are_refused(tmp_path, model):
    with pytest.raises(FileError, match="tensors"):
        fusion.load(write(tmp_path, {"weights": model.weights[:-1], "position": model.position}))
    with pytest.raises(FileError, match="tensors"):
        fusion.load(write(tmp_path, {"weights": model.weights}))


def test_weights_that_are_not_finite_are_refused(tmp_path, model):
    weights = model.weights.copy()
    weights[0, 0] = np.nan
    with pytest.raises(FileError, match="not finite"):
        fusion.load(write(tmp_path, {"weights": weights, "position": model.position}))


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(FileError, match="cannot be read"):
        fusion.load(tmp_path / "none.safetensors")
    path = copied(tmp_path)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(FileError, match="not a model card"):
        fusion.load(path)
    path.with_suffix(".json").write_text('{"kind": "voice"}')
    with pytest.raises(FileError, match="'voice'"):
        fusion.load(path)


# --------------------------------------------------------------------------------------- torch, quality


def test_torch_and_the_compiled_network_agree():
    torch = pytest.importorskip("torch", reason="torch is needed to train only")
    from export.models.fusion import WIDTHS, Fusion, features_of

    torch.manual_seed(0)
    network, spectra = Fusion(), analysed(clip())
    with torch.no_grad():
        expected = network(torch.from_numpy(features_of(spectra)[None]))[0].numpy()
    first = np.concatenate([[0], np.cumsum(WIDTHS.numpy())[:-1]])
    found = run(spectra, fusion.Model(**network.arrays()))[:, first]
    np.testing.assert_allclose(found[1:], expected[1:], atol=1e-5)


def test_the_error_in_training_is_that_of_the_rendered_part():
    """With a mask of 1 the harmonic part is the mixture: the error is then that of the mixture."""
    torch = pytest.importorskip("torch", reason="torch is needed to train only")
    from export.models import fusion as training

    x = np.pad(clip(), ((0, 0), (0, 8192))).astype(np.float32)
    target = 0.3 * x[:, ::-1]
    analysis, synthesis = windows(fusion.N_FFT, fusion.HOP, fusion.SYNTHESIS)
    spectra = training.spectra(x, analysis)[None]
    hops = spectra.shape[2]
    last = x.shape[1] - (x.shape[1] - fusion.N_FFT) % fusion.HOP
    kept = np.ascontiguousarray(target[None, :, last - hops * fusion.HOP : last])
    found = training.errors(
        torch.ones(1, hops, UNITS), torch.from_numpy(spectra), torch.from_numpy(kept), torch.tensor(synthesis)
    )
    begin, end = last - (hops - training.SETTLING) * fusion.HOP, last - fusion.HOP
    expected = np.sum((x - target)[:, begin:end].astype(np.float64) ** 2)
    assert found.item() == pytest.approx(expected, rel=1e-4)


@pytest.fixture
def songs(tmp_path):
    """A folder with a song that is longer than a chunk."""
    import soundfile as sf

    folder, whole = tmp_path / "songs", clip(seconds=1.5)
    folder.mkdir()
    for part, sound in (("drums", whole), ("pitched", whole[:, ::-1])):
        sf.write(folder / f"song0.{part}.flac", 0.2 * np.clip(sound.T, -4, 4), 44_100)
    return folder


def task_of(songs, held_out=(), seed=0, **training):
    pytest.importorskip("torch", reason="torch is needed to train only")
    from export.models.fusion import Data, FusionTask, Settings
    from export.training import Training

    settings = {"batch": 6, "steps": 3, "rise": 0, "precision": "bfloat16", "validate": 100, **training}
    task = FusionTask(Settings(Data(str(songs), tuple(map(str, held_out))), Training(**settings), seed))
    task.open_data()
    return task


def config(folder, songs, **training):
    lines = [f"{name} = {value!r}" for name, value in {"batch": 3, "rise": 0, "clip": 5, **training}.items()]
    path = folder / "small.toml"
    path.write_text(
        "\n".join(
            [
                'task = "fusion"',
                "[data]",
                f"songs = '{songs}'",
                f"held_out = ['{songs}']",
                "[training]",
                *lines,
            ]
        )
    )
    return path


def test_a_run_trains_and_writes_a_model_that_loads(tmp_path, songs, capsys):
    torch = pytest.importorskip("torch", reason="torch is needed to train only")
    from export.__main__ import main
    from export.training import load_checkpoint

    out, configuration = tmp_path / "run", config(tmp_path, songs, steps=2, validate=2)
    assert main(["train", str(configuration), "-o", str(out), "--compute", "cpu"]) == 0
    path = tmp_path / "out" / "small.safetensors"
    assert main(["fusion", str(out), "-o", str(path), "--score", str(songs)]) == 0
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["command"] == "python -m export train small.toml"
    assert (card["steps"], card["seed"], card["settings"]["training"]["clip"]) == (2, 0, 5)
    assert set(card["scores"]["songs"]) == {"learned", "two medians"}
    assert f"songs: SDR {card['scores']['songs']['learned']['SDR']} dB" in capsys.readouterr().out

    tensors, state = load_checkpoint(out)
    found = fusion.load(path)
    position = tensors["mean.where"].T @ tensors["mean.position.weight"].T
    np.testing.assert_allclose(found.position, position.T.numpy(), rtol=1e-5, atol=1e-6)
    assert not torch.equal(tensors["mean.position.weight"], tensors["network.fusion.position.weight"])

    def ratio(source, estimate):
        return 10 * np.log10(np.sum(source**2) / np.sum((source - estimate) ** 2))

    from export.models.fusion import pairs, separate

    [(pitched, drums)] = pairs(songs)
    harmonic = separate(pitched + drums, found)
    expected = (ratio(pitched, harmonic) + ratio(drums, pitched + drums - harmonic)) / 2
    assert -state["history"][-1][2] == pytest.approx(expected, abs=0.01)


def test_stopped_and_resumed_ends_with_the_same_weights(tmp_path, songs):
    torch = pytest.importorskip("torch", reason="torch is needed to train only")
    import signal

    from export.training import Board, Place, Run, pack

    def run_in(name):
        torch.manual_seed(0)
        task = task_of(songs, [songs], batch=3)
        (tmp_path / name).mkdir(exist_ok=True)
        return Run(task, task.settings.training, tmp_path / name, 0, Place(torch.device("cpu")), None)

    def go(run, stop_at=None):
        def show(done, line):
            if run.progress.step == stop_at:
                signal.raise_signal(signal.SIGINT)

        return run.train(show, Board(None, 0))

    whole, part, again = run_in("whole"), run_in("part"), run_in("part")
    assert go(whole) is True
    assert go(part, stop_at=1) is False
    assert part.progress.step == 2
    again.resume()
    assert go(again) is True
    expected, found, stopped = (pack(run.task, run.mean) for run in (whole, again, part))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not torch.equal(expected["mean.output.weight"], stopped["mean.output.weight"])


def test_a_batch_depends_on_its_number_and_the_seed_only(songs):
    first = task_of(songs)
    for step in range(5):
        whole = first.batch(range(6 * step, 6 * step + 6))
    other = task_of(songs)  # as after a kill, and in two processes
    halves = [copy.deepcopy(other).batch(range(begin, begin + 3)) for begin in (24, 27)]  # as for workers
    for array, parts in zip(whole, zip(*halves, strict=True), strict=True):
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, np.concatenate(parts))
    assert not np.array_equal(whole[0][:3], whole[0][3:])
    for different in (other.batch(range(18, 24)), task_of(songs, seed=1).batch(range(24, 30))):
        assert not np.array_equal(whole[0], different[0])


def test_every_mix_is_new_once_and_drawn_for_a_while(songs, monkeypatch):
    """Of 200 steps of two mixes, from 16 that move on by one a step."""
    task = task_of(songs)
    made, drawn = [], []
    monkeypatch.setattr(task, "mix", lambda number: made.append(number) or (number,))
    monkeypatch.setattr(
        "export.models.fusion.chunks_of", lambda number, random: drawn.append(number) or (np.zeros(3),)
    )
    for step in range(200):
        task.batch(range(6 * step, 6 * step + 6))
    assert len(made) == len({*made})
    assert len(task.mixes) <= 16
    age = np.array(drawn).reshape(200, 2) - np.arange(200)[:, None]
    assert np.all(age[:, 0] != age[:, 1])
    assert {*age.ravel()} == {*range(16)}
    assert abs(np.mean(age) - 7.5) < 3 * 4.6 / np.sqrt(400)


def test_without_songs_held_out_the_loss_is_that_of_mixes_never_trained_on(songs, monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is needed to train only")
    task = task_of(songs)
    numbers, mix = [], task.mix
    monkeypatch.setattr("export.models.fusion.UNSEEN_MIXES", 1)
    monkeypatch.setattr(task, "mix", lambda number: numbers.append(number) or mix(number))
    with torch.no_grad():
        first, again = (task.validate(task.network, torch.device("cpu")) for _ in range(2))
        task.network.output.bias += 3
        other = task.validate(task.network, torch.device("cpu"))
    assert first.loss == again.loss != other.loss
    assert min(numbers) >= 1 << 40  # training has no more steps


def test_voices_are_scored_over_kits_equally_loud(songs):
    pytest.importorskip("torch", reason="the scoring is that of training")
    import soundfile as sf

    from export.models.fusion import pairs

    sf.write(songs / "voice0.pitched.flac", clip().T / 8, 44_100)
    sf.write(songs / "kit0.drums.flac", clip().T[:20_000] / 16, 44_100)
    (pitched, drums), (voice, kit) = pairs(songs)
    assert pitched.shape == drums.shape == clip(seconds=1.5).shape
    assert voice.shape == kit.shape == (2, 20_000)
    assert np.sqrt(np.mean(voice**2)) == pytest.approx(0.1, rel=1e-4)
    assert np.sqrt(np.mean(kit**2)) == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nbatch = 8", "training.batch = 8: want a multiple of 3"),
        ("[training]\nbatch = 51", "up to 48"),
        ("seed = -1\n[training]\nbatch = 6", "seed = -1: want 0 or more"),
        ("[optimiser]\nrate = 0\n[training]\nbatch = 6", "want a rate above 0"),
        ("[training]\nbatch = 6", "no *.drums.flac and *.pitched.flac"),
        ("", "training is missing"),
    ],
)
def test_wrong_configurations_are_one_line(tmp_path, capsys, text, message):
    pytest.importorskip("torch", reason="torch is needed to train only")
    from export.__main__ import main

    path = tmp_path / "wrong.toml"
    path.write_text(f'task = "fusion"\ndata = {{songs = "{tmp_path}"}}\n{text}\n')
    assert main(["train", str(path), "-o", str(tmp_path / "run"), "--compute", "cpu"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_processes_share_whole_mixes(songs):
    from rtaudio.errors import UserError

    task = task_of(songs)
    for examples in (range(2), range(2, 5)):
        with pytest.raises(UserError, match="want whole mixes of 3 chunks"):
            task.batch(examples)


def test_songs_that_cannot_be_used_are_refused(tmp_path, songs):
    pytest.importorskip("torch", reason="torch is needed to train only")
    import soundfile as sf

    from export.models.fusion import Recordings, excerpts, pairs

    (songs / "song0.drums.flac").rename(songs / "other.drums.flac")
    with pytest.raises(FileError, match="no song with both parts"):
        next(pairs(songs))
    sf.write(songs / "song0.drums.flac", np.zeros((30_000, 2)), 44_100)
    with pytest.raises(FileError, match="a part is silent"):
        excerpts(songs)
    sf.write(songs / "song0.drums.flac", np.zeros(30_000), 44_100)
    with pytest.raises(FileError, match="its channels are 1: want stereo"):
        Recordings(songs).read("song0.drums")


def test_a_run_of_another_task_and_other_names_are_refused(tmp_path, songs, monkeypatch, capsys):
    pytest.importorskip("torch", reason="torch is needed to train only")
    from export import training
    from export.__main__ import main

    out = tmp_path / "fusion.safetensors"
    assert main(["fusion", str(tmp_path), "-o", str(tmp_path / "fusion.onnx")]) == 2
    assert "want a name that ends with .safetensors" in capsys.readouterr().err
    assert main(["fusion", str(tmp_path), "-o", str(out)]) == 2
    assert "is no run" in capsys.readouterr().err
    assert main(["fusion", str(tmp_path), "-o", str(out), "--score", str(tmp_path / "none")]) == 2
    assert "none: no *.drums.flac" in capsys.readouterr().err
    monkeypatch.setitem(training.TASKS, "toy", "toy_task:Toy")
    path = tmp_path / "toy.toml"
    path.write_text('task = "toy"\n[training]\nsteps = 1\n')
    assert main(["train", str(path), "-o", str(tmp_path / "toy"), "--compute", "cpu"]) == 0
    capsys.readouterr()
    assert main(["fusion", str(tmp_path / "toy"), "-o", str(out)]) == 2
    assert "is a run of the task toy: want one of fusion" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.shared
def test_it_separates_better_than_two_medians(model):
    if not STEMS.is_dir():
        pytest.skip("the stems are not part of the project: ../shared/data/stems")
    pytest.importorskip("torch", reason="the scoring is that of training")
    from export.models.fusion import pairs, score

    assert score(model, pairs(STEMS))["SDR"] > score(None, pairs(STEMS))["SDR"] + 1.4
