"""The acoustic model: its parts, its training, and the voice that it is with a vocoder."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tone_corpus import HOP, RATE, ids_of, tones, write_corpus
from workshop import status_of

from engines.sessions import open_session
from engines.speech.piper import PiperVoice
from engines.speech.text import sentences
from engines.speech.voices import open_voice
from export.acoustic import Example, means_of, normalised, octaves_of
from export.corpus import FORMAT
from export.models.acoustic import (
    PITCH_NOISE,
    TEMPO_NOISE,
    Acoustic,
    MelDiscriminator,
    Shape,
    owners,
    similarity,
    spread,
)
from export.output import file_hash
from export.training import load_checkpoint, read_run

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = Shape(12, 2, 8, 1, 2)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def made(shape=SMALL, seed=0, mels=5):
    """A network whose blocks do something."""
    torch.manual_seed(seed)
    network = Acoustic(mels, shape).eval()
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return network


# ------------------------------------------------------------------------------------------------- network


def test_size():
    with torch.device("meta"):
        found = sum(p.numel() for p in Acoustic(80, Shape()).parameters())
    c = 160
    block = (7 * c + c) + 2 * c + (3 * c * c + 3 * c) + (3 * c * c + c) + c
    predictor = 2 * (3 * c * c + c + 2 * c) + c + 1
    around = 256 * c + (2 * 3 * c + c) + (2 * c + c) + 2 * c + (80 * c + 80)
    assert found == 10 * block + 3 * predictor + around


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8).filter(any), st.integers(0, 3))
def test_owners_repeat_every_token(durations, beyond):
    found = owners(torch.tensor([durations]), sum(durations) + beyond)[0].tolist()
    want = np.repeat(np.arange(len(durations)), durations).tolist()
    assert found[: len(want)] == want
    assert found[len(want) :] == [len(durations) - 1] * beyond
    x = noise(1, len(durations), 3)
    assert torch.equal(spread(x, owners(torch.tensor([durations]), sum(durations)))[0], x[0, want])


def test_padding_changes_nothing():
    network = made()
    ids = torch.tensor([[3, 4, 5, 6, 7], [5, 4, 3, 0, 0]])
    durations = torch.tensor([[2, 3, 1, 4, 2], [3, 1, 2, 0, 0]])
    speaker = torch.tensor([0, 1])
    pitch, energy = noise(2, 5), noise(2, 5, seed=1)
    pitch[1, 3:] = energy[1, 3:] = 0
    both = network(ids, speaker, durations, pitch, energy, 12)
    alone = network(ids[1:, :3], speaker[1:], durations[1:, :3], pitch[1:, :3], energy[1:, :3], 6)
    assert both[0].shape == (2, 5, 12)
    torch.testing.assert_close(both[0][1:, :, :6], alone[0])
    for x, y in zip(both[1:], alone[1:], strict=True):
        torch.testing.assert_close(x[1:, :3], y)
        assert not x[1, 3:].any()
    other = network(ids, 1 - speaker, durations, pitch, energy, 12)
    assert not torch.allclose(other[0], both[0])


def test_speaking_is_what_training_does_with_what_was_predicted():
    network = made()
    text = torch.tensor([[1, 0, 5, 0, 6, 0, 7, 0, 2]])
    tokens = text[text != 0][None]
    mel, frames = network.speak(text, torch.tensor([0.0, 3.0, 0.0]), torch.tensor([1]), noise(1, 3, 1))
    assert frames.shape == text.shape
    assert (frames > 0).tolist() == (text != 0).tolist()
    assert mel.shape == (1, 5, int(frames.sum()))
    durations = frames[text != 0][None]
    mask = torch.ones(1, 5, 1)
    x = network.encode(tokens, mask, torch.tensor([1]))
    pitch, energy = network.pitch(x, mask), network.energy(x, mask)
    want, logarithms, *_ = network(tokens, torch.tensor([1]), durations, pitch, energy, mel.shape[2])
    torch.testing.assert_close(mel, want)
    assert torch.equal(durations, (3 * (logarithms.exp() - 1)).round().clamp(min=1).long())


def test_noise_moves_pitch_and_tempo_of_a_whole_sentence():
    network = made()
    with torch.no_grad():
        network.durations.last.bias.fill_(3.0)
    text, speaker = torch.tensor([[1, 0, 5, 0, 6, 0, 2]]), torch.tensor([0])
    heard = []
    network.variance.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    drawn = torch.tensor([[[1.0], [-2.0], [3.0]]])
    frames = [network.speak(text, torch.tensor(scales), speaker, drawn)[1]
              for scales in ([0.0, 1.0, 0.0], [0.5, 1.0, 0.0], [0.0, 1.0, 1.0])]  # fmt: skip
    moved = torch.tensor([0.5 * PITCH_NOISE, -1.0 * PITCH_NOISE])[None, :, None].expand(1, 2, 4)
    torch.testing.assert_close(heard[1] - heard[0], moved)
    assert torch.equal(frames[0], frames[1])
    assert torch.equal(heard[2], heard[0])
    ratio = frames[2].sum() / frames[0].sum()
    assert ratio.item() == pytest.approx(np.exp(3 * TEMPO_NOISE), rel=0.03)


def test_similarity_is_that_of_the_paper():
    a, b = noise(1, 20, 24).double().sigmoid(), noise(1, 20, 24, seed=1).double().sigmoid()
    mask = torch.ones(1, 1, 24).double()
    assert similarity(a, a, mask).item() == pytest.approx(1)
    x = np.arange(-5, 6)
    window = np.exp(-(x[:, None] ** 2 + x**2) / (2 * 1.5**2))
    window /= window.sum()
    padded = [np.pad(each[0].numpy(), 5) for each in (a, b)]
    values = []
    for row in range(20):
        for column in range(24):
            p, q = (each[row : row + 11, column : column + 11] for each in padded)
            mean_p, mean_q = (window * p).sum(), (window * q).sum()
            var_p, var_q = (window * p * p).sum() - mean_p**2, (window * q * q).sum() - mean_q**2
            both = (window * p * q).sum() - mean_p * mean_q
            values.append(
                (2 * mean_p * mean_q + 1e-4) * (2 * both + 9e-4)
                / ((mean_p**2 + mean_q**2 + 1e-4) * (var_p + var_q + 9e-4))
            )  # fmt: skip
    assert similarity(a, b, mask).item() == pytest.approx(np.mean(values), rel=1e-6)
    half = mask.clone()
    half[:, :, 12:] = 0
    other = b.clone()
    other[:, :, 12:] = 7.0
    assert similarity(a, other, half).item() == pytest.approx(similarity(a, b, half).item())


def test_discriminator_judges_patches():
    network = MelDiscriminator(4)
    ((score, features),) = network(noise(2, 80, 32))
    assert [tuple(x.shape[1:]) for x in features] == [(4, 40, 32), (8, 20, 16), (16, 10, 8)]
    assert score.shape == (2, 80)


# ------------------------------------------------------------------------------------- what is learned from


@given(st.lists(st.integers(0, 6), min_size=1, max_size=9), st.integers(0, 1000))
def test_means_over_tokens(lengths, seed):
    x = np.random.default_rng(seed).standard_normal(sum(lengths)).astype(np.float32)
    parts = np.split(x, np.cumsum(lengths)[:-1])
    want = [part.mean() if len(part) else 0.0 for part in parts]
    np.testing.assert_allclose(means_of(x, np.array(lengths)), want, atol=1e-6)


def test_pitch_goes_straight_where_there_is_none():
    found = octaves_of(np.array([0, 128, 0, 0, 0, 256, 0], np.float32))
    np.testing.assert_allclose(found, [7, 7, 7.25, 7.5, 7.75, 8, 8])
    assert np.isnan(octaves_of(np.zeros(4, np.float32))).all()


def test_pitch_and_energy_are_relative_to_the_speaker():
    random = np.random.default_rng(0)

    def example(speaker, centre, spread_):
        numbers = (centre + spread_ * random.standard_normal(50)).astype(np.float32)
        nothing = np.zeros(50, np.float32)
        return Example(speaker, nothing[:, None], nothing, nothing, numbers, 2 * numbers)

    train = [example(0, 7, 0.2), example(0, 7.2, 0.2), example(1, 8, 0.3)]
    found = normalised(train, train)
    for speaker in (0, 1):
        for name in ("pitch", "energy"):
            every = np.concatenate([getattr(each, name) for each in found if each.speaker == speaker])
            assert every.mean() == pytest.approx(0, abs=1e-4)
            assert every.std() == pytest.approx(1, abs=1e-4)
    (held,) = normalised([train[0]], train)
    assert np.array_equal(held.pitch, found[0].pitch)
    whispered = replace(train[0], pitch=np.full(50, np.nan, np.float32))
    *others, found_of_it = normalised([*train, whispered], [*train, whispered])
    assert not found_of_it.pitch.any()
    assert all(np.array_equal(a.pitch, b.pitch) for a, b in zip(others, found, strict=True))
    (alone,) = normalised([whispered], [whispered])
    assert not alone.pitch.any()


# ------------------------------------------------------------------------------------------------ training


def write_durations(folder, frames=4):
    """Those that the tones have: `tone_corpus.tones`."""
    said = json.loads((folder / "corpus.json").read_text())
    durations = {}
    for clip in said["clips"]:
        lasts = [frames, *(frames + 1 for _ in clip["text"]), frames]
        blanks = [0] * (len(lasts) - 1)
        durations[clip["name"]] = [x for both in zip(lasts, blanks, strict=False) for x in both] + [lasts[-1]]
    found = {
        "format": FORMAT, "command": "made by a test", "run": {}, "corpus": file_hash(folder / "corpus.json"),
        "hop": HOP, "durations": durations,
    }  # fmt: skip
    (folder / "durations.json").write_text(json.dumps(found))


def write(folder, name, task, **tables):
    """A configuration of ``task`` on the corpus beside it."""
    whole = {
        "data": {"corpus": str(folder / "corpus"), "validation": 2},
        "features": {"rate": RATE, "mels": 20, "high": 4000.0},
        "training": {"batch": 4, "steps": 60, "rise": 2, "mean": 0.8, "validate": 20, "checkpoint": 1000.0},
    }
    for table, values in tables.items():
        whole[table] = whole.get(table, {}) | values
    lines = [f'task = "{task}"', "seed = 1"]
    for table, values in whole.items():
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    path = folder / f"{name}.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def acoustic(folder, name="acoustic", speakers=1, **tables):
    model = {"symbols": 16, "speakers": speakers, "channels": 32, "encoder": 1, "decoder": 1}
    tables = {
        "model": model | {"dropout": 0.0},
        "adversary": {"start": 85, "frames": 16, "width": 4},
        "optimiser": {"acoustic": 1e-2},
        "training": {"steps": 100},
    } | tables
    return write(folder, name, "acoustic", **tables)


def train(path, folder, *more):
    return status_of("train", str(path), "-o", str(folder), "--compute", "cpu", *more)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An acoustic model and a vocoder of one corpus, both trained by their commands."""
    folder = tmp_path_factory.mktemp("voice")
    write_corpus(folder / "corpus")
    write_durations(folder / "corpus")
    assert train(acoustic(folder), folder / "acoustic") == 0
    vocoder = write(
        folder, "vocoder", "vocoder",
        data={"frames": 24}, model={"channels": 32, "blocks": 1}, optimiser={"vocoder": 1e-2},
        adversary={"start": 50, "frames": 8, "periods": [2]},
    )  # fmt: skip
    assert train(vocoder, folder / "vocoder") == 0
    return folder


def test_held_out_losses_fall(trained):
    for name, part in (("acoustic", 0.5), ("vocoder", 0.85)):
        losses = [loss for _, _, loss in load_checkpoint(trained / name)[1]["history"]]
        assert losses[-1] < part * losses[0]


def test_resumed_is_as_never_stopped(trained):
    """Across the step at which the discriminator begins."""
    found = {}
    for name, steps in (("whole", [6]), ("parts", [2, 6])):
        for count in steps:
            path = acoustic(
                trained, "again", adversary={"start": 4, "frames": 16, "width": 4},
                training={"steps": count, "schedule": "constant"},
            )  # fmt: skip
            assert train(path, trained / name, "--resume") == 0
        found[name] = load_checkpoint(trained / name)[0]
    assert found["whole"].keys() == found["parts"].keys()
    assert all(torch.equal(found["whole"][key], found["parts"][key]) for key in found["whole"])


def voice(trained, to, *more):
    runs = str(trained / "acoustic"), "--vocoder", str(trained / "vocoder")
    return status_of("voice", *runs, "-o", str(to), *more)


def said(folder, text="abc dea bed. cab"):
    """The sound, and its pieces."""
    opened = open_voice(str(folder))
    try:
        return [chunk for sentence in sentences(text, "en") for chunk in opened.speak(sentence)]
    finally:
        opened.close()


@pytest.fixture(scope="module")
def exported(trained):
    assert voice(trained, trained / "one") == 0
    assert voice(trained, trained / "two", "--pair") == 0
    return trained


def test_a_voice_of_one_file_and_one_of_two_say_the_same(exported):
    names = {path.name for path in (exported / "two").iterdir()}
    assert names == {
        "acoustic.onnx", "vocoder.onnx", "two.onnx.json", "tokens.txt", "MODEL_CARD", "rtaudio.json",
    }  # fmt: skip
    one, two = said(exported / "one"), said(exported / "two")
    assert len(one) == len(two) > 2
    whole = [np.concatenate([chunk.samples for chunk in chunks]) for chunks in (one, two)]
    assert whole[0].shape == whole[1].shape
    np.testing.assert_allclose(whole[0], whole[1], atol=1e-5)
    card = (exported / "two" / "MODEL_CARD").read_text()
    assert "pieces - whole" in card
    assert card.count("* Training: ") == 2
    table = json.loads((exported / "two" / "two.onnx.json").read_text())
    assert [run["task"] for run in table["training"]] == ["acoustic", "vocoder"]
    assert [run["steps"] for run in table["training"]] == [100, 60]
    assert table["sha256"] == {
        name: file_hash(exported / "two" / name) for name in ("acoustic.onnx", "vocoder.onnx")
    }


def test_one_file_is_cut_where_two_are(exported):
    """Before the vocoder, not before the inverse transform at its end."""
    one, two = (PiperVoice(exported / name, name) for name in ("one", "two"))
    assert one.networks.cut == two.networks.cut
    assert one.networks.cut.channels == 20
    for each in (one, two):
        each.close()


def test_the_sound_is_what_torch_makes_of_the_runs(exported):
    _, network, _ = read_run(exported / "acoustic")
    task, vocoder, _ = read_run(exported / "vocoder")
    ids = torch.tensor([ids_of("abcde")])
    with torch.no_grad():
        mel, frames = network.speak(ids, torch.tensor([0.0, 1.0, 0.0]), None, torch.zeros(1, 3, 1))
        want = task.exportable(vocoder).network(mel)
    session = open_session(exported / "one", (exported / "one" / "one.onnx").read_bytes())
    assert [put.name for put in session.get_inputs()] == ["input", "input_lengths", "scales"]
    feed = {"input": ids.numpy(), "input_lengths": np.array([ids.shape[1]])}
    sound, lasts = session.run(None, feed | {"scales": np.array([0, 1, 0], np.float32)})
    assert sound.shape == (1, 1, int(frames.sum()) * HOP)
    np.testing.assert_allclose(sound, want.numpy(), atol=1e-4)
    assert np.array_equal(lasts, frames.numpy())
    noisy = [session.run(None, feed | {"scales": np.array([1, 1, 0], np.float32)})[0] for _ in range(2)]
    assert noisy[0].shape == sound.shape
    assert not np.array_equal(*noisy)


def test_learned_durations_and_tones_are_heard(exported):
    """Of a text that was not in training: 5 frames a letter, and each letter's tone."""
    pair = PiperVoice(exported / "two", "two")
    pieces = list(pair.networks.run(ids_of("eaae"), 0, 1.0))
    pair.close()
    starts = pieces[0][1]
    lasts = np.diff(starts[2::2]) / HOP
    assert np.all(np.abs(lasts[:4] - 5) <= 1)
    task, network, _ = read_run(exported / "acoustic")
    ids = torch.tensor([ids_of("eaae")])
    with torch.no_grad():
        mel, frames = network.speak(ids, torch.tensor([0.0, 1.0, 0.0]), None, torch.zeros(1, 3, 1))
    begins = (frames[0].cumsum(0) - frames[0])[2:-1:2]
    transform = task.settings.features.mel()
    known = {letter: transform(torch.from_numpy(tones(letter))[None])[0, :, 5:8] for letter in "ae"}
    said_ = [
        min(known, key=lambda letter: (known[letter] - mel[0, :, begin + 1 : begin + 4]).abs().mean().item())
        for begin in begins.tolist()
    ]
    assert "".join(said_) == "eaae"


def test_speakers_differ(tmp_path):
    write_corpus(tmp_path / "corpus", speakers=2)
    write_durations(tmp_path / "corpus")
    path = acoustic(tmp_path, speakers=2, training={"steps": 4})
    assert train(path, tmp_path / "acoustic") == 0
    path = write(
        tmp_path, "vocoder", "vocoder", data={"frames": 20}, model={"channels": 16, "blocks": 1},
        training={"steps": 2},
    )  # fmt: skip
    assert train(path, tmp_path / "vocoder") == 0
    assert voice(tmp_path, tmp_path / "both", "--pair") == 0
    opened = PiperVoice(tmp_path / "both", "both")
    first, second = (opened.networks.sound(ids_of("abcde"), speaker) for speaker in (0, 1))
    opened.close()
    assert opened.speakers == ("speaker0", "speaker1")
    assert first.shape != second.shape or not np.allclose(first, second)


# ----------------------------------------------------------------------------------------------- bad input


def refused(capsys, *arguments):
    """The one line that a refused command says."""
    assert status_of(*map(str, arguments)) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    return said[0]


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ({"model": {"speakers": 2}}, "speakers = 2"),
        ({"model": {"symbols": 5}}, "symbols = 5"),
        ({"model": {"dropout": 1.0}}, "dropout = 1.0"),
        ({"features": {"rate": 16_000}}, "rate = 16000"),
        ({"features": {"hop": 128}}, "hop = 128"),
        ({"data": {"corpus": "nowhere"}}, "nowhere"),
        ({"data": {"durations": "nowhere.json"}}, "export align"),
        ({"data": {"validation": 0}}, "validation = 0"),
        ({"loss": {"pitch": -1.0}}, "pitch = -1.0"),
        ({"adversary": {"frames": 2}}, "frames = 2"),
        ({"optimiser": {"acoustic": 0.0}}, "above 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes_are_said_in_one_line(trained, tmp_path, capsys, tables, problem):
    path = tmp_path / "wrong.toml"
    source = acoustic(trained, "wrong", **tables)
    path.write_text(source.read_text())
    assert problem in refused(capsys, "train", path, "-o", tmp_path / "run", "--compute", "cpu")
    assert not (tmp_path / "run").exists()


def test_durations_that_blanks_have_are_refused(trained, tmp_path, capsys):
    folder = tmp_path / "corpus"
    write_corpus(folder)
    write_durations(folder)
    said = json.loads((folder / "durations.json").read_text())
    first = said["durations"]["clip0"]
    first[0], first[1] = first[0] - 1, 1
    (folder / "durations.json").write_text(json.dumps(said))
    problem = refused(capsys, "train", acoustic(tmp_path), "-o", tmp_path / "run", "--compute", "cpu")
    assert "clip0: blanks take time" in problem


def test_parts_that_do_not_fit_are_no_voice(trained, tmp_path, capsys):
    out = tmp_path / "voice"
    run, vocoder = trained / "acoustic", trained / "vocoder"
    assert "--vocoder" in refused(capsys, "voice", run, "-o", out)
    assert "want one of the task vocoder" in refused(capsys, "voice", run, "--vocoder", run, "-o", out)
    assert "is no voice" in refused(capsys, "voice", vocoder, "-o", out)
    other = write(
        trained, "other", "vocoder", data={"frames": 20}, model={"channels": 16, "blocks": 1},
        features={"mels": 18}, training={"steps": 1},
    )  # fmt: skip
    assert train(other, tmp_path / "other") == 0
    capsys.readouterr()
    problem = refused(capsys, "voice", run, "--vocoder", tmp_path / "other", "-o", out)
    assert "features.mels (18, now 20)" in problem
    assert not out.exists()


@pytest.mark.parametrize("form", [[], ["--pair"]])
def test_a_voice_is_louder_by_its_gain_and_never_beyond_full_scale(exported, tmp_path, form):
    def sound(folder):
        return np.concatenate([chunk.samples for chunk in said(folder, "abc dea bed.")])

    quiet = sound(exported / "one")
    assert 0.01 < np.abs(quiet).max() < 0.5
    for gain in (-6, 6, 40):
        folder = tmp_path / str(gain)
        assert voice(exported, folder, f"--gain={gain}", *form) == 0
        want = np.clip(10 ** (gain / 20) * quiet, -1, 1)
        np.testing.assert_allclose(sound(folder), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("gain", ["41", "-41", "nan", "loud"])
def test_gains_out_of_range_are_refused(trained, tmp_path, capsys, gain):
    problem = refused(capsys, "voice", trained / "acoustic", "-o", tmp_path / "no", f"--gain={gain}")
    assert f"{gain!r} is not a number from -40 to 40" in problem


MEANS = {"mel": 0.5, "pitch, cents": None, "voicing": 0.125, "tempo": 0.9, "borders": 7, "clicks": 0}


def scores_of(folder, **more):
    """As ``evaluate voice --json`` writes them."""
    return {
        "texts": 2,
        "words": 10,
        "recogniser": "pocketsphinx 5.0.0, en-us",
        "word error rates": {"recordings": 0.25, "./one": 0.275},
        "voices": {"./one": MEANS},
        "networks": {"./one": [file_hash(folder / "one.onnx")]},
        **more,
    }


def test_scores_are_in_the_card(exported, tmp_path):
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(scores_of(exported / "one")))
    assert voice(exported, tmp_path / "one", "--scores", str(path)) == 0
    assert file_hash(tmp_path / "one" / "one.onnx") == file_hash(exported / "one" / "one.onnx")
    found = json.loads((tmp_path / "one" / "one.onnx.json").read_text())["scores"]
    assert (found["voices"], found["word error rates"]["one"]) == ({"one": MEANS}, 0.275)
    told = (tmp_path / "one" / "MODEL_CARD").read_text()
    assert "2 texts of 10 words that were held out; pocketsphinx 5.0.0, en-us listens" in told
    assert "* recordings: 25.0 % word errors\n* one: 27.5 % word errors\n" in told
    means = "mel 0.500; pitch, cents -; voicing 12.5%; tempo 0.90; borders 7; clicks 0"
    assert f"* one, beside the recordings: {means}\n" in told


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("{", "evaluate voice --json"),
        ("[]", "evaluate voice --json"),
        ("3", "evaluate voice --json"),
        ({"word error rates": {"./one": "low"}}, "evaluate voice --json"),
        ({"word error rates": {"./one": float("nan")}}, "NaN is no score"),
        ({"texts": "many"}, "evaluate voice --json"),
        ({"voices": {"./one": {}}}, "evaluate voice --json"),
        ({"networks": {"./one": ["0" * 64]}}, "is of other networks"),
    ],
)
def test_what_are_no_scores_of_it_are_refused(exported, tmp_path, capsys, change, why):
    path = tmp_path / "scores.json"
    path.write_text(change if isinstance(change, str) else json.dumps(scores_of(exported / "one", **change)))
    more = "-o", tmp_path / "one", "--vocoder", exported / "vocoder", "--scores", path
    assert why in refused(capsys, "voice", exported / "acoustic", *more)
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize(("weights", "part"), [("float16", 0.7), ("int8", 0.6)])
def test_rounded_weights_make_small_files(exported, weights, part):
    assert voice(exported, exported / weights, "--pair", "--weights", weights) == 0
    for name in ("acoustic.onnx", "vocoder.onnx"):
        small, large = ((exported / folder / name).stat().st_size for folder in (weights, "two"))
        assert small < part * large
    opened = PiperVoice(exported / weights, weights), PiperVoice(exported / "two", "two")
    halved, whole = (each.networks.sound(ids_of("abcde"), 0) for each in opened)
    for each in opened:
        each.close()
    assert halved.shape == whole.shape
    assert 0 < np.abs(halved - whole).max() < 0.1 * np.abs(whole).max()
