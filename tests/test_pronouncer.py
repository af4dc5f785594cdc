"""Training of the network that says Bangla words: the lexicon, the split, the rates, the export."""

import hashlib
import json
import os
import signal
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engines.speech import libespeak
from engines.speech.pronunciation import LETTERS, PHONES, SLOTS, Pronouncer, letters_of, numbers_of, phones_of
from export import pronunciation as scoring
from export.__main__ import main
from export.config import typed
from export.models import pronouncer as training
from export.models.pronouncer import (
    HELD_OUT,
    VALIDATION,
    Settings,
    distance,
    places_needed,
    rates,
    read_lexicon,
    split,
)
from export.pronunciation import from_espeak, written_alike
from export.training import load_checkpoint, read_run
from rtaudio.errors import FileError, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

SHARED = Path(__file__).parents[2] / "shared" / "data"
CONSONANTS = {"ক": "k", "গ": "g", "ত": "t", "ন": "n", "প": "p", "ব": "b", "ম": "m", "ল": "l"}
SIGNS = {"া": "a", "ি": "i", "ু": "u", "ে": "e"}
PHONE = st.sampled_from(PHONES)


def write_lexicon(path, extra=""):
    """A language that is written as it is said: 4,096 words of three syllables."""
    syllables = [(c + v, f"{p} {q}") for (c, p), (v, q) in product(CONSONANTS.items(), SIGNS.items())]
    lines = ["# A lexicon", ""]
    for three in product(syllables[::2], syllables[1::2], syllables[::2]):
        words, phones = zip(*three, strict=True)
        lines.append(f"{''.join(words)}\t{' . '.join(phones)}")
    path.write_text("\n".join(lines) + "\n" + extra, encoding="utf-8")
    return path


def small(folder, steps=120):
    lexicon = write_lexicon(folder / "lexicon.tsv")
    path = folder / "small.toml"
    path.write_text(
        f'task = "pronouncer"\n[data]\nlexicon = "{lexicon}"\n'
        "[model]\ndropout = 0.1\nembedding = 16\nhidden = 24\nlayers = 1\n[optimiser]\nrate = 0.02\n"
        f"[training]\nsteps = {steps}\nbatch = 32\nrise = 5\nvalidate = {steps}\nmean = 0.9\n",
        encoding="utf-8",
    )
    return path, lexicon


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small network, trained and exported by the commands: its file, the run's folder, the lexicon."""
    folder = tmp_path_factory.mktemp("pronouncer")
    config, lexicon = small(folder)
    run, path = folder / "run", folder / "small.onnx"
    assert main(["train", str(config), "-o", str(run), "--compute", "cpu"]) == 0
    assert main(["onnx", str(run), "-o", str(path), "--licence", "CC0"]) == 0
    return path, run, lexicon


# ------------------------------------------------------------------------------------------- lexicon


def test_lexicon_is_read(tmp_path):
    path = tmp_path / "lexicon.tsv"
    path.write_text(
        "# words\n\nকাল\tk a l\nকাল\tk a . l o\nকাল\tk a l\tnoun\nbank\tb E N k\nই-মেইল\ti . m e i^ l\n"
        "বা\u09dcি\tb a . r i\nৎ\tkh O n . D o . t o\n",
        encoding="utf-8",
    )
    assert read_lexicon(path) == {
        "কাল": [["k", "a", "l"], ["k", "a", "l", "o"]],
        "বা\u09a1\u09bcি": [["b", "a", "r", "i"]],
    }


@pytest.mark.parametrize(
    ("line", "message"), [("কাল\tk a x", "line 1: unknown phone 'x'"), ("কাল", "line 1: no phones")]
)
def test_a_lexicon_that_is_none_is_refused(tmp_path, line, message):
    path = tmp_path / "lexicon.tsv"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(FileError, match=message):
        read_lexicon(path)
    with pytest.raises(FileError, match="is no lexicon"):
        read_lexicon(tmp_path / "none.tsv")


def test_split_is_by_the_hash_of_the_word():
    words = {f"{a}{b}{c}": [["a"]] for a, b, c in product(LETTERS[4:20], repeat=3)}
    train, validation, held_out = split(words)
    assert (len(validation), len(held_out)) == (VALIDATION, HELD_OUT)
    assert sorted([*train, *validation, *held_out]) == sorted(words)
    highest = max(hashlib.sha256(word.encode()).hexdigest() for word in held_out)
    assert all(hashlib.sha256(word.encode()).hexdigest() > highest for word in [*train, *validation])
    assert split(dict(reversed(words.items())))[2] == held_out
    with pytest.raises(UserError, match="want more than 3000"):
        split({word: words[word] for word in held_out})


def test_nothing_held_out_is_trained_on(tmp_path):
    _, lexicon = small(tmp_path)
    tables = {"data": {"lexicon": str(lexicon)}, "training": {"batch": 64}}
    task = training.Pronouncer(typed(tables, Settings, ""))
    data = task.open_data()
    assert data["words"] == {"training": 4096 - 3000, "validation": VALIDATION, "held out": HELD_OUT}
    _, validation, held_out = split(read_lexicon(lexicon))
    seen = set()
    for step in range(100):
        letters, phones = task.batch(range(64 * step, 64 * step + 64))
        for row, said in zip(letters.astype(int), phones.astype(int), strict=True):
            word = "".join(LETTERS[number - 1] for number in row)
            assert [PHONES[number - 1] for number in said if number] in task.lexicon[word]
            seen.add(word)
    assert len(seen) > 1000
    assert not seen & {*validation, *held_out}


def test_batches_follow_from_the_step(tmp_path):
    _, lexicon = small(tmp_path)
    settings = typed({"data": {"lexicon": str(lexicon)}}, Settings, "")
    one, other = training.Pronouncer(settings), training.Pronouncer(settings)
    for task in (one, other):
        task.open_data()
    one.batch(range(16))
    for a, b in zip(one.batch(range(16, 32)), other.batch(range(16, 32)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_that_was_interrupted_ends_with_the_same_weights(tmp_path, monkeypatch):
    config, _ = small(tmp_path, steps=12)
    command = ["train", str(config), "--compute", "cpu", "-o"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    monkeypatch.setattr(training.Pronouncer, "train", interrupted_at(7))
    assert main([*command, str(tmp_path / "parts")]) == 130
    monkeypatch.undo()
    torch.rand(3)
    assert main([*command, str(tmp_path / "parts"), "--resume"]) == 0
    one, other = (load_checkpoint(tmp_path / name)[0] for name in ("whole", "parts"))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def interrupted_at(step):
    """A step of training that at one step sends the process what Ctrl-C does."""
    train = training.Pronouncer.train
    seen = []

    def counted(*arguments):
        seen.append(1)
        if len(seen) == step:
            os.kill(os.getpid(), signal.SIGINT)
        return train(*arguments)

    return counted


# ------------------------------------------------------------------------------------------- rates


@given(st.lists(st.sampled_from("ab"), max_size=5), st.lists(st.sampled_from("ab"), max_size=5))
def test_distance_is_that_of_its_definition(a, b):
    @lru_cache(None)
    def edits(i, j):
        if not i or not j:
            return i + j
        replaced = edits(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        return min(edits(i - 1, j) + 1, edits(i, j - 1) + 1, replaced)

    assert distance(a, b) == edits(len(a), len(b))


def test_rates_count_words_and_phones():
    found = rates([("ka", ["ka"]), ("kala", ["kal", "kalo"]), ("", ["no"])])
    assert (found.words, found.phones) == (2 / 3, (0 + 1 + 2) / (2 + 3 + 2))
    assert rates([]) == training.Rates(0.0, 0.0)


@pytest.mark.parametrize(("phones", "places"), [("a", 1), ("aa", 3), ("aba", 3), ("", 0), ("aaa", 5)])
def test_places(phones, places):
    assert places_needed(list(phones)) == places


@pytest.mark.parametrize(
    ("ipa", "ways"),
    [
        ("bˈaŋlaj", ["b a N l a i", "b a N l a e"]),
        ("tʃˈãd", ["c a d"]),
        ("tʃhˈel", ["ch e l"]),
        ("ˈojkːɔ", ["o i k k O", "o e k k O"]),
        ("dukʰkʰˈo", ["d u k kh o"]),
        ("ʃˈɔhhɔ", ["sh O h h O"]),
        ("ˈaʃahr.ˌer", ["a sh a r e r"]),
        ("dʒˈaoː", ["j a o"]),
    ],
)
def test_espeak_in_the_phones_of_the_lexicon(ipa, ways):
    assert from_espeak(ipa) == [way.split() for way in ways]


@given(st.lists(PHONE))
def test_written_alike_is_written_once(phones):
    once = written_alike(phones)
    assert written_alike(once) == once
    assert len(once) == len(phones)


# ------------------------------------------------------------------------------------------- network


def test_a_language_written_as_it_is_said_is_learnt(exported):
    path, _, lexicon = exported
    found = Pronouncer(path)
    words = read_lexicon(lexicon)
    _, _, held_out = split(words)
    assert rates((found.read(word), words[word]) for word in held_out[:200]).phones < 0.02
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert (card["kind"], card["licence"], card["steps"]) == ("pronunciation", "CC0", 120)
    assert card["data"]["sources"] == {"lexicon.tsv": training.LICENCE}
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_onnx_is_torch_for_words_of_any_length(exported):
    path, run, _ = exported
    _, network, _ = read_run(run)
    with torch.no_grad():  # what the file holds
        for tensor in network.state_dict().values():
            tensor.copy_(tensor.half())
    session = Pronouncer(path)._session
    random = np.random.default_rng(0)
    for length in (1, 2, 3, 17, 64):
        letters = random.integers(1, 1 + len(LETTERS), (1, length))
        (scores,) = session.run(None, {"letters": letters})
        with torch.no_grad():
            wanted = network(torch.from_numpy(letters)).numpy()
        assert scores.shape == (1, SLOTS * length, 1 + len(PHONES))
        np.testing.assert_allclose(scores, wanted, atol=1e-4)


@pytest.mark.skipif(libespeak.load() is None, reason="needs espeak-ng")
def test_both_are_scored(exported, tmp_path, capsys, monkeypatch):
    path, _, lexicon = exported
    monkeypatch.setattr(training, "HELD_OUT", 60)
    report = tmp_path / "scores.json"
    arguments = ["evaluate", "pronunciation", str(lexicon), "--model", str(path), "--json", str(report)]
    assert main(arguments) == 0
    found = json.loads(report.read_text(encoding="utf-8"))
    assert found["words"] == 60
    assert set(found) == {"words", "network", "network, written alike", "espeak-ng, written alike"}
    assert found["network"]["phones"] < 0.05
    # It has no vowels but those that are written, and espeak-ng reads them.
    assert found["espeak-ng, written alike"]["phones"] < 0.05
    assert "60 words that were held out" in capsys.readouterr().out


@pytest.mark.shared
def test_shipped_network_scores_what_its_card_says():
    lexicon = SHARED / "text" / "bn" / "lexicon.tsv"
    if not lexicon.is_file():
        pytest.skip(f"the lexicon is not part of the project: {lexicon}")
    words = read_lexicon(lexicon)
    _, _, held_out = split(words)
    network = Pronouncer()
    found = rates((network.read(word), words[word]) for word in held_out)
    card = json.loads(scoring.SHIPPED_MODEL.with_suffix(".json").read_text(encoding="utf-8"))
    assert found.words == pytest.approx(card["scores"]["network"]["words"], abs=1e-3)
    assert found.phones == pytest.approx(card["scores"]["network"]["phones"], abs=1e-4)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"model": {"hidden": 0}}, "hidden = 0: give 1 or more"),
        ({"model": {"dropout": 1.0}}, "dropout = 1.0: want 0 or more, below 1"),
    ],
)
def test_settings_are_checked(table, message):
    with pytest.raises(UserError, match=message):
        typed({"data": {"lexicon": "x"}, **table}, Settings, "x.toml")


def test_words_are_read_as_they_are_spelled():
    assert phones_of([0, 1, 1, 0, 1]) == ["a", "a"]
    assert numbers_of(letters_of("কা")).tolist() == [1 + LETTERS.index("ক"), 1 + LETTERS.index("া")]
