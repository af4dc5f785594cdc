"""The aligner: its likelihood and gradient, what it learns, and the boundaries that it finds."""

import csv
import json
import unicodedata
from itertools import combinations

import numpy as np
import pytest
import soundfile as sf
import torch
from workshop import status_of

from engines.speech import libespeak
from engines.speech.espeak import Espeak
from engines.speech.piper import STRESS, phonemes_of
from engines.speech.text import sentences
from export.__main__ import main
from export.corpus import HOP, read_corpus, read_durations
from export.models.aligner import (
    MELS,
    Aligner,
    AlignerTask,
    Data,
    Model,
    Settings,
    Utterance,
    likelihood,
    log_likelihoods,
    padded,
)
from export.training import Training, load_checkpoint
from rtaudio.errors import UserError

pytestmark = pytest.mark.usefixtures("one_thread")

RATE = 22_050
LETTERS = "aioubdm"
TINY = Model(symbols=32, channels=32, layers=1, heads=2, filter=48)
SMALL = {"symbols": 64, "channels": 32, "layers": 1, "filter": 64}


def speak(text, random):
    """A text of a language whose letters are noises, and the sample that each letter begins at."""
    colours = dict(zip(LETTERS, np.random.default_rng(1).uniform(-50, 0, (len(LETTERS), 12)), strict=True))
    pieces, starts = [np.zeros(round(0.2 * RATE))], []
    for letter in text:
        x = random.standard_normal(int(random.uniform(0.07, 0.18) * RATE))
        starts.append(sum(map(len, pieces)))
        spectrum = np.fft.rfft(x)
        if letter in colours:
            gains = np.interp(np.linspace(0, 11, len(spectrum)), np.arange(12), colours[letter])
            pieces.append(0.1 * np.fft.irfft(spectrum * 10 ** (gains / 20), len(x)))
        else:
            pieces.append(0 * x)
    whole = np.concatenate([*pieces, np.zeros(round(0.2 * RATE))])
    return (whole + 1e-4 * random.standard_normal(len(whole))).astype(np.float32), starts


def write_noises(folder, clips):
    """A folder as LJSpeech's, in that language; returns the starts of the letters of each clip."""
    random = np.random.default_rng(5)
    (folder / "wavs").mkdir(parents=True)
    lines, starts = [], {}
    for number in range(clips):
        words = ["".join(f"{random.choice([*'bdm'])}{random.choice([*'aiou'])}" for _ in "12") for _ in "123"]
        name = f"clip{number:03}"
        x, starts[name] = speak(" ".join(words), random)
        sf.write(folder / "wavs" / f"{name}.wav", x, RATE)
        lines.append(f"{name}|{' '.join(words)}\n")
    (folder / "metadata.csv").write_text("".join(lines))
    return starts


def configured(path, corpus, model, **training):
    tables = {"data": {"corpus": str(corpus)}, "model": model, "optimiser": {"rate": 3e-3}}
    tables["training"] = {"batch": 8, "rise": 5, "clip": 1.0, "mean": 0.95, **training}
    lines = ['task = "aligner"']
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def aligned(tmp_path_factory):
    """A corpus of noises, an aligner trained on it, its durations; by the commands."""
    folder = tmp_path_factory.mktemp("aligner")
    starts = write_noises(folder / "noises", 24)
    corpus, run = folder / "corpus", folder / "run"
    options = ["--phonemes", "text", "--language", "en", "--rate", str(RATE), "--held-out", "4"]
    assert main(["data", "speech", str(folder / "noises"), "-o", str(corpus), *options]) == 0
    config = configured(folder / "small.toml", corpus, SMALL, steps=90, validate=30)
    assert main(["train", str(config), "-o", str(run), "--compute", "cpu"]) == 0
    assert main(["align", str(run), str(corpus), "--figure", str(folder / "some.png")]) == 0
    return folder, starts


# ------------------------------------------------------------------------------------- the likelihood


def test_the_likelihood_is_that_of_all_paths():
    scores = torch.randn(1, 4, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    every = []
    for moves in combinations(range(1, 7), 3):
        path = np.searchsorted(moves, np.arange(7), side="right")
        every.append(scores[0, path, torch.arange(7)].sum())
    found = likelihood(scores, torch.tensor([4]), torch.tensor([7]))
    torch.testing.assert_close(found, torch.logsumexp(torch.stack(every), 0)[None], rtol=0, atol=1e-9)


def test_its_gradient_is_where_the_tokens_are():
    scores = torch.randn(3, 5, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    scores.requires_grad_(True)
    tokens, frames = torch.tensor([5, 2, 1]), torch.tensor([9, 6, 9])
    assert torch.autograd.gradcheck(lambda x: likelihood(x, tokens, frames), scores, atol=1e-6)
    likelihood(scores, tokens, frames).sum().backward()
    for row, (n, length) in enumerate(zip(tokens, frames, strict=True)):
        sums = scores.grad[row].sum(0)
        torch.testing.assert_close(sums[:length], torch.ones(length, dtype=torch.float64), atol=1e-6, rtol=0)
        assert not scores.grad[row, n:].any()
        assert not sums[length:].any()


def test_scores_are_means_of_normal_densities():
    random = torch.Generator().manual_seed(3)
    means, spectra = (torch.randn(2, n, MELS, generator=random) for n in (4, 6))
    deviations = 0.1 + torch.rand(2, 4, MELS, generator=random)
    normal = torch.distributions.Normal(means[:, :, None].double(), deviations[:, :, None].double())
    wanted = normal.log_prob(spectra[:, None].double()).mean(-1)
    found = log_likelihoods(means, deviations, spectra)
    assert found.shape == (2, 4, 6)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(log_likelihoods(means, deviations, spectra), found, rtol=0, atol=0)


def test_too_few_frames_are_told():
    with pytest.raises(UserError, match="3 tokens and 2 frames"):
        likelihood(torch.zeros(1, 3, 4), torch.tensor([3]), torch.tensor([2]))


# ------------------------------------------------------------------------------------- the network


def test_the_paper_size_has_as_many_parameters_as_its_layers():
    width, wide, symbols = 256, 1024, 67
    attention = 4 * (width * width + width)
    filters = 2 * 3 * width * wide + wide + width
    gaussians = (width * width + width) + 2 * width + (width + 1) * 160
    wanted = 6 * (attention + filters + 4 * width) + gaussians + (symbols + 1) * width
    assert sum(p.numel() for p in Aligner(Model(symbols=symbols)).parameters()) == wanted


def test_padding_changes_nothing():
    torch.manual_seed(0)
    network = Aligner(TINY).eval()
    short, long = torch.tensor([[1, 5, 7, 2]]), torch.tensor([[1, 9, 8, 7, 6, 5, 4, 3, 2]])
    both = torch.zeros(2, 9, dtype=torch.long)
    both[0, :4], both[1] = short[0], long[0]
    alone = network(short, torch.tensor([0]))
    batched = network(both, torch.tensor([0, 0]))
    for one, several in zip(alone, batched, strict=True):
        torch.testing.assert_close(several[:1, :4], one)
    assert (batched[1] > 0).all()


def test_speakers_have_gaussians_of_their_own():
    network = Aligner(Model(symbols=8, speakers=2, channels=8, layers=0, filter=8)).eval()
    tokens = torch.tensor([[1, 3, 2]])
    one, other = (network(tokens, torch.tensor([speaker]))[0] for speaker in (0, 1))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"channels": 0}, "channels = 0: give 1 or more"),
        ({"layers": -1}, "layers = -1"),
        ({"channels": 9}, "channels = 9 of 2 heads: want a multiple"),
        ({"kernel": 4}, "kernel = 4: want an odd number"),
        ({"dropout": 1.0}, "dropout = 1.0"),
    ],
)
def test_models_that_cannot_be_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        Model(**values)


# ------------------------------------------------------------------------------------- batches


def task_of(utterances, batch):
    task = AlignerTask(Settings(Data(""), model=TINY, training=Training(batch=batch)))
    task.known = utterances
    return task


def test_batches_are_of_one_length_about_and_the_same_for_any_number_of_processes():
    known = [Utterance(np.ones(2, np.int64), np.zeros((n, MELS), np.float32), 0) for n in range(10, 210)]
    task = task_of(known, 8)
    for step in range(20):
        whole = task.batch(range(8 * step, 8 * step + 8))
        halves = [task.batch(range(begin, begin + 4)) for begin in (8 * step, 8 * step + 4)]
        assert np.array_equal(whole[2], np.concatenate([half[2] for half in halves]))
        assert np.array_equal(whole[2], task.batch(range(8 * step, 8 * step + 8))[2])
        assert len(set(whole[2])) == 8
        assert whole[2].max() < 1.3 * whole[2].min() + 8
    assert not np.array_equal(task.batch(range(8))[2], task.batch(range(8, 16))[2])
    few = task_of(known[:3], 8)
    assert few.batch(range(8))[0].shape[0] == 8


def test_clips_are_seen_equally_often_whatever_their_length():
    known = [Utterance(np.ones(2, np.int64), np.zeros((n, MELS), np.float32), 0) for n in range(10, 60)]
    task = task_of(known, 10)
    seen = [int(n) for step in range(100) for n in task.batch(range(10 * step, 10 * step + 10))[2]]
    assert np.bincount(seen)[10:].tolist() == [20] * 50


def test_a_batch_is_padded_with_nothing():
    one, other = (Utterance(np.arange(1, n + 1), np.ones((2 * n, MELS), np.float32), n) for n in (3, 5))
    spectra, tokens, frames, speakers = padded([one, other])
    assert spectra.shape == (2, 10, MELS)
    assert (frames.tolist(), speakers.tolist()) == ([6, 10], [3, 5])
    assert tokens.tolist() == [[1, 2, 3, 0, 0], [1, 2, 3, 4, 5]]
    assert not spectra[0, 6:].any()


# ------------------------------------------------------------------------------------- the commands


def errors_of(corpus_folder, starts, durations):
    """Seconds between where letters begin and where they were found to, over all clips."""
    corpus = read_corpus(corpus_folder)
    names = {number: symbol for symbol, number in corpus.symbols.items()}
    with (corpus_folder / "clips.csv").open(newline="") as file:
        begins = {row["name"]: int(row["begin"]) for row in csv.DictReader(file)}
    found = []
    for clip in corpus.clips:
        frames = durations[clip.name]
        at = np.cumsum((0, *frames[:-1])) * HOP + begins[clip.name]
        letters = [place for number, place in zip(clip.ids, at, strict=True) if names[number] not in "_^$"]
        found += [one - other for one, other in zip(letters, starts[clip.name], strict=True)]
    return np.array(found) / corpus.rate


def test_known_boundaries_are_found(aligned):
    folder, starts = aligned
    corpus = read_corpus(folder / "corpus")
    found = errors_of(folder / "corpus", starts, read_durations(folder / "corpus", corpus))
    assert np.median(np.abs(found)) < 0.012
    assert np.mean(np.abs(found) < 0.025) > 0.9


def test_the_held_out_loss_falls(aligned):
    history = [loss for _, _, loss in load_checkpoint(aligned[0] / "run")[1]["history"]]
    assert len(history) == 3
    assert history[2] < history[1] < history[0]


def test_durations_are_of_every_id_and_name_their_run(aligned):
    folder, _ = aligned
    corpus = read_corpus(folder / "corpus")
    durations = read_durations(folder / "corpus", corpus)
    assert list(durations) == [clip.name for clip in corpus.clips]
    for clip in corpus.clips:
        for number, frames in zip(clip.ids, durations[clip.name], strict=True):
            assert (frames == 0) == (number == 0)
    said = json.loads((folder / "corpus" / "durations.json").read_text())
    state = load_checkpoint(folder / "run")[1]
    assert said["run"] == {"sha256": state["sha256"], "step": 90}
    assert (folder / "some.png").read_bytes()[:4] == b"\x89PNG"


def test_aligned_again_durations_are_the_same(aligned, tmp_path):
    folder, _ = aligned
    path = tmp_path / "again.json"
    assert main(["align", str(folder / "run"), str(folder / "corpus"), "-o", str(path)]) == 0
    said, before = (json.loads(p.read_text()) for p in (path, folder / "corpus" / "durations.json"))
    assert said == before


def test_mistakes_are_told_in_a_line(aligned, tmp_path, capsys):
    folder, _ = aligned
    whole = json.loads((folder / "corpus" / "corpus.json").read_text())

    def corpus_with(name, **values):
        place = tmp_path / name
        place.mkdir()
        (place / "corpus.json").write_text(json.dumps(whole | values))
        (place / "clips").symlink_to(folder / "corpus" / "clips")
        return place

    def rates(name, **values):
        path = configured(tmp_path / name, folder / "corpus", SMALL)
        lines = "".join(f"{key} = {value}\n" for key, value in values.items())
        path.write_text(path.read_text().replace("rate = 0.003\n", lines))
        return path

    many = corpus_with("many", symbols=whole["symbols"] | {"z": 64})
    swapped = dict(zip(whole["symbols"], (0, 1, 2, *reversed(range(3, len(whole["symbols"])))), strict=True))
    other = corpus_with("other", symbols=swapped)
    slow = corpus_with("slow", rate=16_000)
    none = corpus_with("none", clips=[clip | {"held_out": False} for clip in whole["clips"]])
    run, corpus = str(folder / "run"), str(folder / "corpus")
    for command, message in (
        (["align", run, str(many)], "has 65 symbols, [model] symbols = 64: raise that"),
        (["align", run, str(other)], "has other symbols than"),
        (["align", run, str(slow)], "has other rate than"),
        (["align", str(tmp_path), corpus], "is no run"),
        (["align", run, str(tmp_path)], "makes a corpus"),
        (["align", run, corpus, "-o", str(tmp_path / "no" / "x.json")], "No such file or directory"),
        (["train", str(configured(tmp_path / "a.toml", none, SMALL))], "has no clip that is held out"),
        (["train", str(configured(tmp_path / "b.toml", many, SMALL))], "has 65 symbols"),
        (["train", str(rates("d.toml", rate=0.0))], "rate = 0.0: want rates above 0 up to 1"),
        (["train", str(rates("e.toml", betas=[0.9, 1.0]))], "betas = [0.9, 1.0]: want 0 or more, below 1"),
        (["train", str(rates("f.toml", decay=-1.0))], "decay = -1.0: want 0 to 1"),
        (["train", str(configured(tmp_path / "c.toml", tmp_path, SMALL))], "makes a corpus"),
    ):
        capsys.readouterr()
        more = ["-o", str(tmp_path / "run")] if command[0] == "train" else []
        assert status_of(*command, *more) == 2, command
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1, err


# ------------------------------------------------------------------------------------- espeak-ng


WORDS = """the morning river found seven quiet children walking under heavy golden leaves while many teachers
carried paper boxes through narrow streets above a frozen harbour where people never talked about
weather or money because every visitor already knew which bridge would open before evening"""


def say_words(folder, count):
    """A folder of what espeak-ng says, and when each of its phones begins, by its own events."""
    (folder / "wavs").mkdir(parents=True)
    random, lines, events = np.random.default_rng(7), [], {}
    espeak = Espeak()
    try:
        for number in range(count):
            text = " ".join(random.choice(WORDS.split(), random.integers(5, 11))).capitalize() + "."
            (sentence,) = sentences(text, "en")
            spoken = phonemes_of(sentence, "en-us", espeak)[0].spoken
            x, found = espeak.synthesise(spoken, "en-us")
            name = f"clip{number:03}"
            sf.write(folder / "wavs" / f"{name}.wav", x, espeak.rate)
            events[name] = [(e.name, e.sample) for e in found if e.kind == "phoneme" and e.name]
            lines.append(f"{name}|{text}\n")
    finally:
        espeak.close()
    (folder / "metadata.csv").write_text("".join(lines))
    return events


@pytest.mark.slow
@pytest.mark.skipif(libespeak.load() is None, reason="needs espeak-ng")
def test_boundaries_of_speech_are_found_within_25_ms(tmp_path):
    """A phone begins with the mark of its stress."""
    events = say_words(tmp_path / "said", 120)
    command = ["data", "speech", str(tmp_path / "said"), "-o", str(tmp_path / "corpus"), "--held-out", "10"]
    assert main(command) == 0
    model = {"symbols": 64, "channels": 96, "layers": 2, "filter": 192}
    config = configured(tmp_path / "some.toml", tmp_path / "corpus", model, steps=300, batch=8)
    assert main(["train", str(config), "-o", str(tmp_path / "run"), "--compute", "cpu"]) == 0
    assert main(["align", str(tmp_path / "run"), str(tmp_path / "corpus")]) == 0
    corpus = read_corpus(tmp_path / "corpus")
    durations = read_durations(tmp_path / "corpus", corpus)
    names = {number: symbol for symbol, number in corpus.symbols.items()}
    with (tmp_path / "corpus" / "clips.csv").open(newline="") as file:
        begins = {row["name"]: int(row["begin"]) for row in csv.DictReader(file)}
    found = []
    for clip in corpus.clips:
        at = np.cumsum((0, *durations[clip.name][:-1])) * HOP + begins[clip.name]
        letters, marked = [], None
        for number, place in zip(clip.ids, at, strict=True):
            symbol = names[number]
            if symbol in STRESS:
                marked = place
            elif symbol not in "_^$ .":
                letters.append((symbol, place if marked is None else marked))
                marked = None
        said = [(unicodedata.normalize("NFD", name), sample) for name, sample in events[clip.name]]
        assert "".join(name for name, _ in said) == "".join(symbol for symbol, _ in letters)
        number = 0
        for name, sample in said:
            found.append(letters[number][1] - sample)
            number += len(name)
    assert np.median(np.abs(found)) / corpus.rate < 0.025
