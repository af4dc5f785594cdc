"""Voices from a corpus to a folder that speaks: training, resuming, export, and other programs."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tone_corpus import HOP, RATE, SYMBOLS, ids_of, write_corpus

from engines.sessions import open_session
from engines.speech.cut import Halves
from engines.speech.piper import PiperVoice
from engines.speech.text import sentences
from engines.speech.voices import add_voice, open_voice, user_voices
from export import vits, voices
from export.__main__ import main
from export.config import typed
from export.corpus import read_corpus
from export.training import load_checkpoint, open_task, read_run
from export.vits import Settings, VitsTask
from rtaudio.errors import FileError, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

TEXT = "abc dea bed. cab"


def small(folder, steps=20, more="", speakers=1, name="small.toml", int8=0, **corpus):
    """A configuration of a network that trains in seconds."""
    if not (folder / "corpus").exists():
        write_corpus(folder / "corpus", speakers=speakers, **corpus)
    path = folder / name
    path.write_text(
        f'task = "vits"\nseed = 1\n[data]\ncorpus = "{folder / "corpus"}"\nsegment = 8\nvalidation = 2\n'
        f"[model]\nsymbols = 16\nspeakers = {speakers}\nhidden = 16\nfilter = 16\nlayers = 1\nlatent = 8\n"
        "posterior = 2\nflows = 1\nflow_layers = 1\nembedding = 8\n[model.decoder]\nchannels = 16\n"
        'rates = [8, 8, 4]\nkernels = [3]\ndilations = [[1]]\nkind = "2"\n'
        f"int8 = {int8}\n"
        "[discriminators]\nperiods = [2]\nscales = 0\nwidth = 0.125\n"
        "[optimiser]\ngenerator = 3e-3\ndiscriminators = 1e-3\n"
        f"[training]\nsteps = {steps}\nbatch = 4\nrise = 2\nvalidate = 10\nmean = 0.5\n{more}",
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="module", autouse=True)
def nothing_is_known_of_cuts(tmp_path_factory):
    """What is found out about networks stays in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def train(config, folder, *more):
    return main(["train", str(config), "-o", str(folder), "--compute", "cpu", *more])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small voice, trained by its command: the folder of configuration, corpus and run."""
    folder = tmp_path_factory.mktemp("vits")
    assert train(small(folder), folder / "run") == 0
    return folder


@pytest.fixture(scope="module")
def folders(trained):
    """The voice, exported whole and as a pair."""
    for name, more in (("whole", []), ("pair", ["--pair"])):
        assert (
            main(["voice", str(trained / "run"), "-o", str(trained / name), "--licence", "CC0", *more]) == 0
        )
    return trained / "whole", trained / "pair"


@pytest.fixture(scope="module")
def rounded(trained):
    """The voice, trained on with 8-bit integers, and exported: its folder."""
    config = small(trained, 12, name="int8.toml", int8=3)
    assert train(config, trained / "int8", "--from", str(trained / "run")) == 0
    assert main(["voice", str(trained / "int8"), "-o", str(trained / "rounded")]) == 0
    return trained / "rounded"


@pytest.fixture(scope="module")
def two_speakers(tmp_path_factory):
    """A voice of two speakers, of a few steps, exported at half precision."""
    folder = tmp_path_factory.mktemp("two")
    assert train(small(folder, steps=4, speakers=2), folder / "run") == 0
    assert main(["voice", str(folder / "run"), "-o", str(folder / "two"), "--weights", "float16"]) == 0
    return folder / "two"


def quiet(folder):
    """A copy of a voice that draws no noise."""
    target = folder.parent / f"{folder.name}-quiet"
    if not target.exists():
        shutil.copytree(folder, target)
        (card,) = target.glob("*.onnx.json")
        said = json.loads(card.read_text())
        said["inference"] = {"noise_scale": 0.0, "length_scale": 1.0, "noise_w": 0.0}
        card.write_text(json.dumps(said))
    return target


def spoken(voice, text, speaker=0):
    """The sound of every sentence."""
    return [
        np.concatenate([chunk.samples for chunk in voice.speak(sentence, speaker)])
        for sentence in sentences(text, "en")
    ]


def feed(text, speaker=None, scales=(0.0, 1.0, 0.0)):
    ids = np.array([ids_of(text)], np.int64)
    found = {"input": ids, "input_lengths": np.array([ids.shape[1]]), "scales": np.array(scales, np.float32)}
    return found if speaker is None else {**found, "sid": np.array([speaker])}


# ------------------------------------------------------------------------------------------- training


def test_held_out_loss_falls(trained):
    _, state = load_checkpoint(trained / "run")
    losses = [loss for _, _, loss in state["history"]]
    assert len(losses) == 2
    assert losses[1] < 0.97 * losses[0]
    assert state["skipped"] == 0


def test_a_run_that_was_killed_ends_as_one_that_was_not(trained, tmp_path, monkeypatch):
    config, run = small(trained, name="slow.toml", more="checkpoint = 0.01\n"), tmp_path / "run"
    step = VitsTask.train
    made = []

    def dying(*arguments):
        made.append(step(*arguments))
        if len(made) == 13:  # Its weights have moved, and nothing is written of that.
            raise MemoryError
        return made[-1]

    monkeypatch.setattr(VitsTask, "train", dying)
    with pytest.raises(MemoryError):
        train(config, run)
    assert load_checkpoint(run)[1]["step"] == 12
    assert train(config, run, "--resume") == 0
    ours, theirs = load_checkpoint(run)[0], load_checkpoint(trained / "run")[0]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_of_integers_that_was_killed_ends_as_one_that_was_not(rounded, trained, tmp_path, monkeypatch):
    config = small(trained, 12, name="slow8.toml", int8=3, more="checkpoint = 0.01\n")
    run = tmp_path / "run"
    start = ("--from", str(trained / "run"))
    step = VitsTask.train
    made = []

    def dying(*arguments):
        made.append(step(*arguments))
        if len(made) == 7:  # Its ranges and weights have moved, and nothing is written of that.
            raise MemoryError
        return made[-1]

    monkeypatch.setattr(VitsTask, "train", dying)
    with pytest.raises(MemoryError):
        train(config, run, *start)
    assert load_checkpoint(run)[1]["step"] == 6
    assert train(config, run, "--resume", *start) == 0
    ours, theirs = load_checkpoint(run)[0], load_checkpoint(trained / "int8")[0]
    assert ours.keys() == theirs.keys()
    assert sum(name.endswith("ends") for name in theirs) == 2 * 3 * 3  # a mean, too; taken, given, and of up
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("int8", [0, 3])
def test_half_precision_trains(trained, tmp_path, int8):
    config = small(trained, 3, name=f"half{int8}.toml", int8=int8, more='precision = "bfloat16"\n')
    assert train(config, tmp_path / "run") == 0
    _, state = load_checkpoint(tmp_path / "run")
    assert (state["step"], state["skipped"]) == (3, 0)


def opened(config):
    name, kind, tables = open_task(config)
    assert (name, kind) == ("vits", VitsTask)
    task = kind(typed(tables, Settings, str(config)))
    task.open_data()
    return task


def test_batches_have_every_clip_once_a_turn_and_depend_on_the_step_alone(tmp_path):
    task = opened(small(tmp_path, clips=14))
    known = {clip.ids for clip in task.clips}
    assert len(known) == len(task.clips) == 12

    def texts(step):
        ids, symbols, *_ = task.batch(range(4 * step, 4 * step + 4))
        return [tuple(int(number) for number in row[: int(n)]) for row, n in zip(ids, symbols, strict=True)]

    for turn in (0, 7):
        seen = [text for step in range(3 * turn, 3 * turn + 3) for text in texts(step)]
        assert len(seen) == 12
        assert set(seen) == known
    assert texts(5) == texts(5)
    elsewhere = copy.deepcopy(task).batch(range(20, 24))  # by its state, as a worker gets it
    assert all(np.array_equal(a, b) for a, b in zip(elsewhere, task.batch(range(20, 24)), strict=True))
    assert [texts(step) for step in range(3)] != [texts(step) for step in range(3, 6)]
    # Parts of a batch, as several processes take them.
    assert texts(1) == [
        tuple(int(number) for number in row[: int(n)])
        for place in (4, 6)
        for row, n in zip(*task.batch(range(place, place + 2))[:2], strict=True)
    ]


def test_spectra_of_padded_clips_are_those_of_the_clips(tmp_path, monkeypatch):
    task = opened(small(tmp_path))
    random = np.random.default_rng(0)
    monkeypatch.setattr(vits, "read_sound", lambda clip: random.standard_normal(clip.samples, np.float32))
    ids, symbols, sound, frames, _ = task._arrays(task.clips[:3])
    assert len(set(frames.tolist())) > 1
    together = task.mel.spectrum(torch.from_numpy(sound))
    for row, count in enumerate(frames.astype(int)):
        alone = task.mel.spectrum(torch.from_numpy(sound[row : row + 1, : count * HOP]))
        torch.testing.assert_close(together[row, :, :count], alone[0])
    assert ids.shape[1] == symbols.max()


def test_clips_that_are_too_short_are_named_and_left_out(tmp_path, capsys):
    write_corpus(tmp_path / "corpus")
    said = json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    clip = said["clips"][5]
    clip["samples"] = len(clip["ids"]) * HOP
    (tmp_path / "corpus" / "corpus.json").write_text(json.dumps(said))
    config = small(tmp_path)
    config.write_text(config.read_text().replace("segment = 8", f"segment = {len(clip['ids']) + 1}"))
    task = opened(config)
    assert clip["name"] not in [each.name for each in task.clips]
    assert f"{clip['name']} is left out: {len(clip['ids'])} frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("speakers = 1", "speakers = 2"), "has 1 speakers, [model] has speakers = 2: make them equal"),
        (("symbols = 16", "symbols = 8"), "symbols up to number 8, [model] has symbols = 8: want 9 or more"),
        (("segment = 8", "segment = 800"), "has no clip to train on that is long enough"),
        (("segment = 8", "segment = 0"), "segment = 0: want 1 or more"),
        (("int8 = 0", "int8 = 4"), "int8 = 4: want 0 to 3, the number of stages"),
        (("latent = 8", "latent = 9"), "latent = 9: want an even number"),
        (("generator = 3e-3", "generator = 0"), "want rates above 0 up to 1"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(tmp_path, capsys, change, message):
    config = small(tmp_path)
    config.write_text(config.read_text().replace(*change))
    assert train(config, tmp_path / "run") == 2
    said = capsys.readouterr().err.splitlines()
    assert message in said[-1]
    assert not (tmp_path / "run" / "checkpoint.json").exists()


def test_a_corpus_that_was_changed_is_not_gone_on_with(tmp_path, capsys):
    """Its texts, say, though sizes and symbols are as before."""
    config = small(tmp_path, steps=1)
    assert train(config, tmp_path / "run") == 0
    said = json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    clip = said["clips"][-1]
    clip["ids"] = [1, 0, *(number for each in reversed(clip["text"]) for number in (SYMBOLS[each], 0)), 2]
    (tmp_path / "corpus" / "corpus.json").write_text(json.dumps(said))
    assert train(small(tmp_path, steps=2), tmp_path / "run", "--resume") == 2
    assert "is a run with another data.content" in capsys.readouterr().err


def test_a_corpus_of_more_speakers_than_the_run_is_not_resumed(trained, capsys):
    config = small(trained, name="other.toml")
    config.write_text(config.read_text().replace("filter = 16", "filter = 8"))
    assert train(config, trained / "run", "--resume") == 2
    assert "settings.model.filter (16, now 8)" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------- export


def test_an_exported_voice_speaks_and_its_pieces_are_the_whole(folders):
    voice = open_voice(str(quiet(folders[0])))
    assert voice.networks.cut.channels == 16
    assert voice.rate == RATE
    session = onnxruntime.InferenceSession(folders[0] / "whole.onnx")
    sounds = spoken(voice, TEXT)
    assert len(sounds) == 2
    for text, sound in zip(("abc dea bed.", "cab"), sounds, strict=True):
        whole, frames = session.run(None, feed("".join(symbol for symbol in text if symbol in SYMBOLS)))
        assert len(sound) == HOP * frames.sum() == whole.shape[2]
        np.testing.assert_allclose(sound, whole.ravel(), rtol=0, atol=1e-5)
        assert np.any(sound)
    voice.close()


def test_a_pair_speaks_as_the_whole(folders):
    whole, pair = (open_voice(str(quiet(folder))) for folder in folders)
    assert pair.networks.cut == whole.networks.cut
    assert pair.networks.reach is not None
    for a, b in zip(spoken(whole, TEXT), spoken(pair, TEXT), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    assert sorted(path.name for path in folders[1].iterdir()) == [
        "MODEL_CARD", "dec.onnx", "pair.onnx.json", "rtaudio.json", "text.onnx", "tokens.txt",
    ]  # fmt: skip


def test_its_record_is_the_one_that_adding_it_writes(folders, tmp_path, monkeypatch):
    """But for the speed: so a folder may be put among the project's own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for folder in folders:
        added = user_voices() / add_voice(folder).name / "rtaudio.json"
        found, want = (json.loads(path.read_text()) for path in (folder / "rtaudio.json", added))
        assert found == {name: value for name, value in want.items() if name != "speed"}
        assert found["cut"]["channels"] == 16


def test_what_is_exported_is_what_torch_says(folders, trained):
    task, network, _ = read_run(trained / "run")
    assert isinstance(task, VitsTask)
    session = onnxruntime.InferenceSession(folders[0] / "whole.onnx")
    for text in ("a", "abcde" * 8):
        asked = feed(text)
        tensors = [torch.from_numpy(asked[name]) for name in ("input", "input_lengths", "scales")]
        with torch.no_grad():
            sound, frames = network.speak(*tensors, None, torch.randn_like)
        by_onnx = session.run(None, asked)
        np.testing.assert_array_equal(by_onnx[1], frames)
        np.testing.assert_allclose(by_onnx[0], sound, rtol=0, atol=1e-5)


def test_integers_begin_with_a_floating_points_weights_but_not_the_other_way(
    rounded, trained, tmp_path, capsys
):
    before, after = (load_checkpoint(trained / name)[0] for name in ("run", "int8"))
    assert before.keys() < after.keys()
    assert {name.rpartition(".")[2] for name in after.keys() - before.keys()} == {"ends", "seen"}
    assert train(small(trained), tmp_path / "run", "--from", str(trained / "int8")) == 2
    assert "is of other networks than the configuration" in capsys.readouterr().err
    config = small(trained, name="both.toml", int8=3)
    assert train(config, tmp_path / "run", "--from", str(trained / "int8"), str(trained / "run")) == 2
    assert "are of other networks than each other: their weights have no mean" in capsys.readouterr().err


def test_a_voice_of_integers_speaks_and_its_pieces_are_the_whole(rounded):
    content = (rounded / "rounded.onnx").read_bytes()
    session = open_session(rounded / "rounded.onnx", content)
    assert [each.name for each in session.get_inputs()] == ["input", "input_lengths", "scales"]
    voice = open_voice(str(quiet(rounded)))
    assert voice.networks.cut.channels == 16
    for text, sound in zip(("abc dea bed.", "cab"), spoken(voice, TEXT), strict=True):
        whole, frames = session.run(None, feed("".join(symbol for symbol in text if symbol in SYMBOLS)))
        assert len(sound) == HOP * frames.sum() == whole.shape[2]
        np.testing.assert_array_equal(sound, whole.ravel())
        assert np.any(sound)
    voice.close()
    halves = Halves(content)
    frames, _ = open_session(rounded, halves.first).run(None, feed("abcde"))
    assert np.any(frames != np.round(frames))  # It is cut before they are integers.
    decoder = open_session(rounded, halves.second(16))
    [sound] = decoder.run(None, {decoder.get_inputs()[0].name: frames})
    np.testing.assert_array_equal(sound, session.run(None, feed("abcde"))[0])


def test_integers_that_onnx_computes_otherwise_are_not_exported(rounded, trained, monkeypatch):
    def another(*arguments):
        model = onnx.load_from_string(traced(*arguments))
        [weights] = [each for each in model.graph.initializer if each.dims == [8, 8, 3]]
        integers = onnx.numpy_helper.to_array(weights).copy()
        integers[3, 4, 1] += 9
        weights.CopyFrom(onnx.numpy_helper.from_array(integers, weights.name))
        return model.SerializeToString()

    traced = voices.traced
    task, network, record = read_run(trained / "int8")
    assert max(task.voice(network, record).differences.values()) < 1e-5
    monkeypatch.setattr(voices, "traced", another)
    assert max(task.voice(network, record).differences.values()) > 1e-4


def test_a_voice_of_integers_with_speakers_at_half_precision(tmp_path):
    config = small(tmp_path, steps=4, speakers=2, int8=3)
    assert train(config, tmp_path / "run") == 0
    assert (
        main(["voice", str(tmp_path / "run"), "-o", str(tmp_path / "two"), "--weights", "float16", "--pair"])
        == 0
    )
    voice = open_voice(str(quiet(tmp_path / "two")))
    assert voice.networks.reach is not None
    sounds = [spoken(voice, "cab", speaker)[0] for speaker in (0, 1)]
    assert len(sounds[0]) != len(sounds[1]) or np.abs(sounds[0] - sounds[1]).max() > 1e-6


def test_integers_that_have_seen_nothing_are_not_exported(trained):
    task = opened(small(trained, name="unseen.toml", int8=3))
    with pytest.raises(UserError, match=r"decoder\.stages\.0\.up has not been trained with int8"):
        task.voice(task.generator, {"data": task.open_data()})


def test_the_networks_contract(folders):
    model = onnx.load(folders[0] / "whole.onnx")
    assert [each.name for each in model.graph.input] == ["input", "input_lengths", "scales"]
    assert [each.name for each in model.graph.output] == ["output", "frames"]
    assert model.opset_import[0].version in (15, 16, 17)
    assert sum(node.op_type == "Ceil" for node in model.graph.node) == 1
    said = {each.key: each.value for each in model.metadata_props}
    assert said["model_type"] == "vits"
    assert (said["comment"], said["frontend"], said["sample_rate"]) == ("coqui", "characters", str(RATE))
    assert (said["n_speakers"], said["blank_id"], said["bos_id"], said["eos_id"]) == ("1", "0", "1", "2")
    tokens = dict(
        line.rsplit(" ", 1) for line in (folders[0] / "tokens.txt").read_text(encoding="utf-8").splitlines()
    )
    assert {symbol: int(number) for symbol, number in tokens.items()} == SYMBOLS
    card = json.loads((folders[0] / "whole.onnx.json").read_text())
    assert card["phoneme_id_map"] == {symbol: [number] for symbol, number in SYMBOLS.items()}
    assert (card["hop_length"], card["audio"]["sample_rate"], card["license"]) == (HOP, RATE, "CC0")
    assert "tones: CC0" in (folders[0] / "MODEL_CARD").read_text()


def test_metadata_of_a_voice_that_espeak_phonemises(folders):
    corpus = read_corpus(folders[0].parent / "corpus")
    other = type(corpus)(**{**vars(corpus), "phoneme_type": "espeak", "language": "en-us"})
    content = voices.with_metadata((folders[0] / "whole.onnx").read_bytes(), other)
    said = {each.key: each.value for each in onnx.load_from_string(content).metadata_props}
    assert said == {
        "model_type": "vits", "comment": "piper", "language": "en-us", "voice": "en-us", "has_espeak": "1",
        "version": "1", "n_speakers": "1", "sample_rate": str(RATE),
    }  # fmt: skip
    card = voices.voice_card("x", other, HOP, "CC0")
    assert (card["espeak"], card["phoneme_type"]) == ({"voice": "en-us"}, "espeak")


def test_symbols_that_a_corpus_lacks_are_those_nearest(folders):
    """Where espeak-ng writes them; and none is changed that the corpus has."""
    corpus = read_corpus(folders[0].parent / "corpus")
    known = {"_": 0, "^": 1, "$": 2, ".": 3, "k": 4, "r": 5, "ɹ": 6}
    other = type(corpus)(**{**vars(corpus), "phoneme_type": "espeak", "symbols": known})
    assert voices.symbols_of(other) == known | {"?": 3, "!": 3, "x": 4}
    letters = type(corpus)(**{**vars(corpus), "phoneme_type": "text", "symbols": known})
    assert voices.symbols_of(letters) == known


def test_noise_is_heard_where_the_scales_say_so(folders):
    session = onnxruntime.InferenceSession(folders[0] / "whole.onnx")
    still = [session.run(None, feed("abcde"))[0] for _ in range(2)]
    np.testing.assert_array_equal(*still)
    noisy = [session.run(None, feed("abcde", scales=(0.7, 1.0, 0.0)))[0] for _ in range(2)]
    assert noisy[0].shape == noisy[1].shape == still[0].shape
    assert np.abs(noisy[0] - noisy[1]).max() > 0
    longer = session.run(None, feed("abcde", scales=(0.0, 3.0, 0.0)))[1]
    assert longer.sum() > 2 * session.run(None, feed("abcde"))[1].sum()


def test_speakers(two_speakers):
    voice = open_voice(str(quiet(two_speakers)))
    assert list(voice.speakers) == ["speaker0", "speaker1"]
    session = onnxruntime.InferenceSession(two_speakers / "two.onnx")
    assert [each.name for each in session.get_inputs()] == ["input", "input_lengths", "scales", "sid"]
    sounds = [spoken(voice, "cab", speaker)[0] for speaker in (0, 1)]
    assert len(sounds[0]) != len(sounds[1]) or np.abs(sounds[0] - sounds[1]).max() > 1e-6
    kinds = {each.data_type for each in onnx.load(two_speakers / "two.onnx").graph.initializer if each.dims}
    assert onnx.TensorProto.FLOAT16 in kinds
    for speaker, sound in enumerate(sounds):
        whole = session.run(None, feed("cab", speaker))[0].ravel()
        np.testing.assert_allclose(sound, whole, rtol=0, atol=1e-5)


def test_a_network_that_onnx_computes_otherwise_is_not_exported(trained, tmp_path, monkeypatch, capsys):
    def drifting(*arguments):
        content = traced(*arguments)
        model = onnx.load_from_string(content)
        for node in model.graph.node:
            if node.op_type == "Tanh" and "output" in node.output:
                node.op_type = "Sin"
        return model.SerializeToString()

    traced = voices.traced
    monkeypatch.setattr(voices, "traced", drifting)
    with torch.no_grad():
        task, network, record = read_run(trained / "run")
        network.decoder.last.bias.fill_(1.0)
    found = task.voice(network, record)
    assert max(found.differences.values()) > 1e-2
    monkeypatch.setattr(VitsTask, "voice", lambda self, network, record, weights: found)
    assert main(["voice", str(trained / "run"), "-o", str(tmp_path / "no")]) == 2
    assert "they differ by" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_network_whose_pieces_are_not_the_whole_is_not_exported(
    folders, trained, tmp_path, monkeypatch, capsys
):
    content = (folders[0] / "whole.onnx").read_bytes()
    found = voices.Speaking(read_corpus(trained / "corpus"), content, HOP, {})
    assert max(voices.halves_of(found)[1].values()) <= 1e-5
    monkeypatch.setattr(VitsTask, "voice", lambda self, network, record, weights: found)
    monkeypatch.setattr(voices, "measured_reach", lambda *about: 0)
    assert main(["voice", str(trained / "run"), "-o", str(tmp_path / "no")]) == 2
    assert "pieces - whole: they differ by" in capsys.readouterr().err
    monkeypatch.setattr(voices, "measured_reach", lambda *about: None)
    assert main(["voice", str(trained / "run"), "-o", str(tmp_path / "no")]) == 2
    assert "the decoder hears more than 40 frames on either side" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_stays_as_it_is(folders, trained, capsys):
    before = {path: path.read_bytes() for path in folders[0].iterdir()}
    assert main(["voice", str(trained / "run"), "-o", str(folders[0])]) == 2
    assert "is there already: name another folder with -o" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folders[0].iterdir()} == before


@pytest.mark.parametrize("name", ["a/b", ".."])
def test_names_that_lead_elsewhere_are_refused(trained, tmp_path, capsys, name):
    assert main(["voice", str(trained / "run"), "-o", str(tmp_path / "x"), f"--name={name}"]) == 2
    assert "want the name of a file" in capsys.readouterr().err


def test_a_run_that_is_no_voice_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(voices, "read_run", lambda folder: (object(), None, {"task": "denoiser"}))
    options = type("Options", (), {"output": tmp_path / "v", "name": "v", "run_folder": Path("runs/x")})
    with pytest.raises(UserError, match="a network of the task denoiser is no voice"):
        voices.run(options)


def test_symbols_of_several_codepoints_are_refused(folders, tmp_path):
    corpus = read_corpus(folders[0].parent / "corpus")
    other = type(corpus)(**{**vars(corpus), "symbols": {**corpus.symbols, "ab": 9}})
    with pytest.raises(UserError, match="symbol 'ab' has 2 codepoints"):
        voices.write_voice(tmp_path / "v", "v", other, {}, HOP, "CC0", [])
    assert not (tmp_path / "v").exists()


def test_nothing_is_left_where_it_cannot_be_written(folders, tmp_path):
    corpus = read_corpus(folders[0].parent / "corpus")
    with pytest.raises(FileError, match="name another folder with -o"):
        voices.write_voice(tmp_path / "v", "v", corpus, {"a/v.onnx": b""}, HOP, "CC0", [])
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------- other programs


def espeaking(folder, target):
    """A voice whose symbols are letters as espeak-ng's phonemes, in sherpa-onnx's and Piper's form."""
    corpus = read_corpus(folder.parent / "corpus")
    other = type(corpus)(**{**vars(corpus), "phoneme_type": "espeak", "language": "en-us"})
    content = voices.with_metadata((folder / f"{folder.name}.onnx").read_bytes(), other)
    voices.write_voice(target, "v", other, {"v.onnx": content}, HOP, "CC0", [])
    return target


@pytest.mark.parametrize("int8", [False, True])
def test_piper_says_it_with_as_many_samples(folders, rounded, tmp_path, int8):
    piper = pytest.importorskip("piper", reason="piper-tts is not installed")
    folder = espeaking(rounded if int8 else folders[0], tmp_path / "v")
    voice = piper.PiperVoice.load(folder / "v.onnx")
    config = piper.SynthesisConfig(
        noise_scale=0.0, noise_w_scale=0.0, length_scale=1.0, normalize_audio=False
    )
    ids = ids_of("abcde")
    assert voice.phonemes_to_ids(list("abcde")) == ids
    sound = voice.phoneme_ids_to_audio(ids, config)
    sound = sound[0] if isinstance(sound, tuple) else sound
    mine = PiperVoice(folder, "v")
    assert mine.networks.cut.channels > 0
    assert mine.networks.cut.flow > 0
    np.testing.assert_allclose(sound, mine.networks.sound(ids, 0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("int8", [False, True])
def test_sherpa_says_it_with_as_many_samples(folders, rounded, tmp_path, int8):
    sherpa = pytest.importorskip("sherpa_onnx", reason="sherpa-onnx is not installed")
    folder = rounded if int8 else folders[0]
    phonemes = espeaking(folder, tmp_path / "v")
    mine = PiperVoice(phonemes, "v").networks.sound(ids_of("abcde"), 0)
    for network in (phonemes / "v.onnx", folder / f"{folder.name}.onnx"):
        said = sherpa.OfflineTtsVitsModelConfig(
            model=str(network), tokens=str(network.parent / "tokens.txt"), lexicon="",
            noise_scale=0.0, noise_scale_w=0.0, length_scale=1.0,
        )  # fmt: skip
        model = sherpa.OfflineTtsModelConfig(vits=said, num_threads=1, provider="cpu")
        config = sherpa.GenerationConfig()
        if network.parent == phonemes:  # It has no espeak-ng of its own; letters it reads itself.
            config.phoneme_codepoints = [[ord(symbol) for symbol in "abcde"]]
        found = sherpa.OfflineTts(sherpa.OfflineTtsConfig(model=model)).generate("abcde", config)
        assert found.sample_rate == RATE
        assert len(found.samples) == len(mine)
        np.testing.assert_allclose(found.samples, mine, rtol=0, atol=1e-5)
