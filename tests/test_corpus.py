"""Corpora for voices: made of folders with gaps and faults, and read."""

import hashlib
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf
from tiny_speech import RATE, voice
from workshop import ENVIRONMENT, table_of

from engines.speech import libespeak, piper
from engines.speech.espeak import Espeak
from engines.speech.text import sentences
from export.__main__ import main
from export.corpus import HOP, read_corpus, read_durations, read_sound
from export.speech import held_out, ids_of, symbols_of, trimmed, unlike
from rtaudio.errors import FileError, UserError

TEXTS = [
    f"{one} {two}." for one in ("red", "blue", "green", "old") for two in ("house", "door", "bell", "tree")
]
OUT_HELD = 3


def put(folder, texts=TEXTS, wavs="wavs", extension=".wav", seconds=1.2, seed=0):
    """A folder as LJSpeech's: silence, a voice, silence."""
    place = folder / wavs
    place.mkdir(parents=True)
    gap = np.zeros(round(0.3 * RATE), np.float32)
    for number, _ in enumerate(texts):
        x = np.concatenate([gap, voice(seconds, seed + number), gap])
        sf.write(place / f"clip{number:02}{extension}", x, RATE)
    lines = [f"clip{number:02}|{text}\n" for number, text in enumerate(texts)]
    (folder / "metadata.csv").write_text("".join(lines), encoding="utf-8")
    return folder


def add(folder, name, samples, text, subtype="FLOAT"):
    """One clip more."""
    sf.write(folder / "wavs" / f"{name}.wav", np.asarray(samples, np.float32), RATE, subtype)
    with (folder / "metadata.csv").open("a", encoding="utf-8") as file:
        file.write(f"{name}|{text}\n")


def make(*folders, to, options=()):
    chosen = ["--phonemes", "text", "--language", "en", "--rate", str(RATE), "--held-out", str(OUT_HELD)]
    return main(["data", "speech", *map(str, folders), "-o", str(to), *chosen, *options])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    put(folder / "anna")
    assert make(folder / "anna", to=folder / "out") == 0
    return folder / "out"


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


# --------------------------------------------------------------------------------------- what is there


def test_a_corpus_has_every_clip_with_the_ids_of_its_text(made):
    corpus = read_corpus(made)
    assert (corpus.rate, corpus.language, corpus.phoneme_type) == (RATE, "en", "text")
    assert (corpus.speakers, corpus.sources) == (("anna",), {f"{made.parent.name}/anna": "not stated"})
    assert [clip.text for clip in corpus.clips] == TEXTS
    letters = sorted(set("".join(TEXTS)))
    assert list(corpus.symbols) == ["_", "^", "$", *letters]
    assert list(corpus.symbols.values()) == list(range(3 + len(letters)))
    for clip in corpus.clips:
        between = [corpus.symbols[letter] for letter in clip.text]
        assert list(clip.ids) == [1, 0, *(id_ for each in between for id_ in (each, 0)), 2]
        assert clip.path == made / "clips" / f"{clip.name}.flac"


def test_sounds_are_cut_to_what_is_said_and_kept_to_16_bits(made):
    corpus = read_corpus(made)
    for number, clip in enumerate(corpus.clips):
        x = read_sound(clip)
        assert (x.dtype, x.shape) == (np.float32, (clip.samples,))
        assert sf.info(clip.path).subtype == "PCM_16"
        source = voice(1.2, number)
        row = table_of(made / "clips.csv")[number]
        begin = int(row["begin"]) - round(0.3 * RATE)
        loud = np.flatnonzero(np.abs(source) > 0.03)
        assert begin <= loud[0]
        assert begin + clip.samples >= loud[-1]
        padded = np.pad(source, RATE)[RATE + begin :][: clip.samples]
        np.testing.assert_allclose(x, padded, atol=2 / 32768)
        assert np.array_equal(read_sound(clip), x)
    assert sum(clip.samples for clip in corpus.clips) < 1.45 * RATE * len(TEXTS)


def test_silence_is_what_lies_far_below_the_speech():
    """A tone of 0.5 s between noises at -40 and a blip at -20 dB relative to it."""
    random = np.random.default_rng(1)
    x = np.sin(2 * np.pi * 300 * np.arange(RATE // 2) / RATE)
    noise = random.standard_normal(RATE) * 0.007
    blip = 0.1 * np.sin(2 * np.pi * 300 * np.arange(RATE // 50) / RATE)
    whole = np.concatenate([noise, x, noise[: RATE // 10], blip, noise]).astype(np.float32)
    begin, end = trimmed(whole, RATE)
    kept = round(0.05 * RATE)
    assert begin == pytest.approx(RATE - kept, abs=RATE // 100)
    assert end == pytest.approx(RATE + RATE // 2 + RATE // 10 + RATE // 50 + kept, abs=RATE // 100)


def test_folders_are_speakers_and_files_may_lie_beside_the_table(tmp_path):
    put(tmp_path / "anna")
    put(tmp_path / "bert", TEXTS[:6], wavs=".", extension=".flac", seed=50)
    (tmp_path / "anna" / "LICENSE").write_text("CC0 1.0\n")
    assert make(tmp_path / "bert", tmp_path / "anna", to=tmp_path / "out") == 0
    corpus = read_corpus(tmp_path / "out")
    assert corpus.speakers == ("anna", "bert")
    assert corpus.sources == {f"{tmp_path.name}/anna": "CC0 1.0", f"{tmp_path.name}/bert": "not stated"}
    by_name = {clip.name: clip for clip in corpus.clips}
    assert [by_name[f"{name}_clip02"].speaker for name in corpus.speakers] == [0, 1]
    assert by_name["anna_clip02"].held_out == by_name["bert_clip02"].held_out


def test_speakers_may_stand_in_the_table(tmp_path):
    folder = put(tmp_path / "many")
    lines = [f"clip{n:02}|{'xy'[n % 2]}|{text}\n" for n, text in enumerate(TEXTS)]
    (folder / "metadata.csv").write_text("".join(lines))
    assert make(folder, to=tmp_path / "out", options=["--speakers"]) == 0
    corpus = read_corpus(tmp_path / "out")
    assert corpus.speakers == ("x", "y")
    assert [clip.speaker for clip in corpus.clips] == [0, 1] * 8
    assert [clip.text for clip in corpus.clips] == TEXTS


# --------------------------------------------------------------------------------------- held out


def test_texts_are_held_out_by_their_hash_with_all_of_their_clips(tmp_path):
    again = [text.upper().replace(".", " !") for text in reversed(TEXTS)]
    folder = put(tmp_path / "anna", [*TEXTS, *again])
    assert make(folder, to=tmp_path / "out") == 0
    corpus = read_corpus(tmp_path / "out")

    def key(clip):
        return clip.text.lower().strip(" .!")

    out = {key(clip) for clip in corpus.clips if clip.held_out}
    words = sorted((text.strip(".") for text in TEXTS), key=lambda w: hashlib.sha256(w.encode()).digest())
    assert out == set(words[:OUT_HELD])
    assert out.isdisjoint(key(clip) for clip in corpus.clips if not clip.held_out)
    assert sum(clip.held_out for clip in corpus.clips) == 2 * OUT_HELD


def test_symbols_are_those_of_what_is_trained_on(tmp_path):
    odd = next(
        text
        for text in ("zoo door", "zany man", "fuzz ball", "jazz band")
        if held_out([text, "red door"], 1) == {text}
    )
    folder = put(tmp_path / "anna", [*(["red door"] * 9), odd])
    assert make(folder, to=tmp_path / "out", options=["--held-out", "1"]) == 0
    corpus = read_corpus(tmp_path / "out")
    assert "z" not in corpus.symbols
    assert [clip.held_out for clip in corpus.clips] == [False] * 9 + [True]


def test_something_is_left_to_train_on():
    assert held_out(["a", "b", "a"], 0) == set()
    with pytest.raises(UserError, match="--held-out 2: there are 2 different texts"):
        held_out(["a", "b", "a"], 2)


def test_unlike_texts_are_those_far_from_their_speakers_median():
    times = {
        f"{who}{number}": pace + 0.01 * number
        for who, pace in (("a", 1.0), ("b", 4.0))
        for number in range(20)
    }
    odd = {"a fast": 0.4, "a slow": 3.0, "b fast": 1.0, "c one": 100.0}
    speakers = {name: name[0] for name in [*times, *odd]}
    assert unlike(times, speakers) == {}
    found = unlike(times | odd, speakers)
    assert set(found) == {"a fast", "a slow", "b fast"}
    assert found["a slow"] == pytest.approx(
        3.0 / np.median([time for name, time in (times | odd).items() if name[0] == "a"])
    )


# --------------------------------------------------------------------------------------- faults


def test_each_fault_is_told_in_a_line_and_the_rest_goes_on(tmp_path, capsys):
    folder = put(tmp_path / "anna")
    speech = voice(1.0, 99)
    broken = speech.copy()
    broken[500] = np.nan
    add(folder, "nan", broken, "not finite")
    add(folder, "quiet", np.zeros(RATE), "silent")
    add(folder, "empty", [], "empty")
    add(folder, "long", np.tile(speech, 5), "longer than it may be, which is four seconds here")
    add(folder, "short", speech[3000:6000], "far too many letters for so little sound as there is here")
    add(folder, "other", np.tile(speech, 3)[: 3 * RATE], "hi")
    add(folder, "mute", speech, "...")
    add(folder, "loud", np.clip(50 * speech, -1, 1), "loud clip.")
    (folder / "wavs" / "noise.wav").write_bytes(b"no audio")
    with (folder / "metadata.csv").open("a") as file:
        file.write("noise|no audio\ngone|not there\nno bar\nclip00|twice\nright|a|b|c\n")
    sf.write(folder / "wavs" / "right.wav", speech, RATE)
    sf.write(folder / "wavs" / "left.wav", speech, RATE)
    assert make(folder, to=tmp_path / "out", options=["--seconds", "4"]) == 0
    out, err = capsys.readouterr()
    lines = err.splitlines()
    wanted = {
        "wavs/nan.wav": "dropped, unreadable: it has samples that are not finite",
        "wavs/quiet.wav": "dropped, silent: it is silent",
        "wavs/empty.wav": "dropped, unreadable: it holds no audio",
        "wavs/long.wav": "dropped, too long: ",
        "wavs/short.wav": "dropped, too short: 0.19 s are 11 frames for 117 ids",
        "wavs/mute.wav": "dropped, no phonemes: '...' has no phonemes",
        "wavs/noise.wav": "dropped, unreadable: ",
        "other": "dropped, unlike its text: ",
        "anna/metadata.csv, line 26": "no audio 'gone' in wavs/",
        "anna/metadata.csv, line 27": "no '|', want id|text",
        "anna/metadata.csv, line 28": "'clip00' is there twice",
    }
    for where, what in wanted.items():
        assert sum(line.startswith(f"{where}: {what}") for line in lines) == 1, (where, err)
    assert any(line.endswith("audio 'left' has no line in metadata.csv") for line in lines)
    assert any(
        line.endswith("anna: 'right' has more columns than id|text|normalised text in metadata.csv")
        for line in lines
    )
    assert len(lines) == len(wanted) + 2
    assert "5 dropped: without text or audio" in out
    assert "3 dropped: unreadable" in out
    assert "1 clips reach full scale" in out
    corpus = read_corpus(tmp_path / "out")
    assert [clip.text for clip in corpus.clips] == [*TEXTS, "loud clip."]
    rows = {row["name"]: row["dropped"] for row in table_of(tmp_path / "out" / "clips.csv")}
    assert (rows["mute"], rows["other"], rows["loud"]) == ("no phonemes", "unlike its text", "")
    before = tree(tmp_path / "out")
    assert make(folder, to=tmp_path / "out", options=["--seconds", "4"]) == 0
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rate", "5"], "--rate 5: want"),
        (["--seconds", "nan"], "--seconds nan: give a positive number"),
        (["--seconds", "0"], "--seconds 0: give"),
        (["--held-out", "400"], "--held-out 400: there are 16 different texts"),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path, capsys, options, message):
    put(tmp_path / "anna", seconds=0.9)
    assert make(tmp_path / "anna", to=tmp_path / "out", options=options) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out" / "corpus.json").exists()


def test_a_table_of_which_nothing_is_of_use_says_why(tmp_path, capsys):
    folder = put(tmp_path / "anna", TEXTS[:5])
    lines = "".join(f"clip{number:02};{text}\n" for number, text in enumerate(TEXTS[:5]))
    (folder / "metadata.csv").write_text(lines)
    assert make(folder, to=tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "no recording has a text: anna/metadata.csv, line 1: no '|', want id|text; " in said
    assert said.endswith("; 7 more\n")
    assert said.count("\n") == 1
    (folder / "metadata.csv").write_text("clip00|...\nclip01|?!\n")
    assert make(folder, to=tmp_path / "again", options=["--held-out", "0"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].endswith(
        "no recording is of use: 3 without text or audio, 2 no phonemes; mend what the lines above say"
    )
    assert not (tmp_path / "again" / "corpus.json").exists()


def test_folders_that_are_no_corpora_are_refused(tmp_path, capsys):
    put(tmp_path / "a" / "anna", TEXTS[:2])
    put(tmp_path / "b" / "anna", TEXTS[:2])
    (tmp_path / "plain").mkdir()
    sf.write(tmp_path / "plain" / "x.wav", voice(1, 1), RATE)
    for folders, message in (
        ([tmp_path / "plain"], "has no metadata.csv, but is plain"),
        ([tmp_path / "none"], "is not a folder"),
        ([tmp_path / "a" / "anna", tmp_path / "b" / "anna"], "two folders are called anna"),
    ):
        assert make(*folders, to=tmp_path / "out") == 2
        assert message in capsys.readouterr().err
    assert make(tmp_path / "a", to=tmp_path / "a" / "out") == 2
    assert "is inside of" in capsys.readouterr().err
    put(tmp_path / "a_b", TEXTS[:2])
    put(tmp_path / "c" / "a", TEXTS[:2])
    for path in (tmp_path / "c" / "a" / "wavs").iterdir():
        path.rename(path.with_name(f"b_{path.name}"))
    table = tmp_path / "c" / "a" / "metadata.csv"
    table.write_text(table.read_text().replace("clip", "b_clip"))
    assert make(tmp_path / "a_b", tmp_path / "c", to=tmp_path / "out") == 2
    assert "two clips would be called a_b_clip00" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --------------------------------------------------------------------------------------- stops


def test_made_again_it_is_the_same_and_with_other_settings_it_is_refused(made, capsys):
    before = tree(made)
    assert make(made.parent / "anna", to=made) == 0
    assert tree(made) == before
    capsys.readouterr()
    assert make(made.parent / "anna", to=made, options=["--seconds", "9"]) == 2
    assert "has a set with another 'command'" in capsys.readouterr().err
    assert tree(made) == before


def test_stopped_it_goes_on_where_it_was(made, tmp_path):
    """Killed when the third clip is there: no table, no half file; then as if nothing had been."""
    code = (
        "import os, signal, sys\nfrom export import speech\nfrom export.__main__ import main\n"
        "cut, done = speech.cut, []\n"
        "def stopping(*arguments):\n"
        "    done.append(1)\n"
        "    if len(done) == 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return cut(*arguments)\n"
        "speech.cut = stopping\nmain(sys.argv[1:])\n"
    )
    command = ["data", "speech", str(made.parent / "anna"), "-o", str(tmp_path / "out")]
    command += ["--phonemes", "text", "--language", "en", "--rate", str(RATE), "--held-out", str(OUT_HELD)]
    killed = subprocess.run([sys.executable, "-c", code, *command], env=ENVIRONMENT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "out" / "clips").iterdir())) == 3
    assert not (tmp_path / "out" / "corpus.json").exists()
    times = {path: os.stat(path).st_mtime_ns for path in (tmp_path / "out" / "clips").iterdir()}
    assert main(command) == 0
    assert {path: os.stat(path).st_mtime_ns for path in times} == times
    assert tree(tmp_path / "out") == tree(made)


# --------------------------------------------------------------------------------------- reading


def changed(made, to, **values):
    """A corpus whose JSON says something else; a value may be of the first clip."""
    said = json.loads((made / "corpus.json").read_text())
    for key, value in values.items():
        (said if key in said else said["clips"][0])[key] = value
    to.mkdir(exist_ok=True)
    (to / "corpus.json").write_text(json.dumps(said))
    return to


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", "/etc/passwd", "a\\b", "a\0b"])
def test_no_clip_lies_elsewhere(made, tmp_path, name):
    with pytest.raises(FileError, match=r"is no name of a file in clips/"):
        read_corpus(changed(made, tmp_path, name=name))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": 9}, "has format 9, this version reads 1"),
        ({"rate": "fast"}, r"is no corpus: .*\$\.rate"),
        ({"rate": 0}, "its rate is 0 Hz"),
        ({"speaker": 1}, "is of speaker 1, of 1"),
        ({"samples": 100}, "has 100 samples for 23 ids"),
        ({"ids": [1, 0, 77, 0, 2]}, "ids without a symbol"),
        ({"ids": []}, "for 0 ids"),
        ({"symbols": {"_": 0, "^": 1}}, "its symbols have no"),
        ({"symbols": {"_": 0, "^": 1, "$": 2, "a": 2}}, "two of its symbols have one id"),
        ({"name": "clip01"}, "two of its clips have one name"),
    ],
)
def test_a_corpus_that_cannot_be_is_refused(made, tmp_path, values, message):
    with pytest.raises(FileError, match=message):
        read_corpus(changed(made, tmp_path, **values))


def test_what_is_no_corpus_is_refused(tmp_path):
    with pytest.raises(FileError, match="'python -m export data speech' makes a corpus"):
        read_corpus(tmp_path)
    (tmp_path / "corpus.json").write_text("{")
    with pytest.raises(FileError, match="is no corpus"):
        read_corpus(tmp_path)


def test_a_sound_that_was_changed_is_refused(made, tmp_path):
    corpus = read_corpus(changed(made, tmp_path))
    clip = corpus.clips[0]
    with pytest.raises(FileError, match=r"clip00\.flac"):
        read_sound(clip)
    clip.path.parent.mkdir()
    sf.write(clip.path, np.zeros(clip.samples - 1), RATE)
    with pytest.raises(FileError, match=f"corpus.json says {clip.samples} of 1"):
        read_sound(clip)


def test_durations_are_those_of_the_corpus(made, tmp_path):
    folder = changed(made, tmp_path)
    corpus = read_corpus(folder)
    whole = {
        clip.name: [clip.samples // HOP - len(clip.ids) + 1] + [1] * (len(clip.ids) - 1)
        for clip in corpus.clips
    }
    said = {
        "format": 1, "command": "", "run": {}, "hop": HOP, "durations": whole,
        "corpus": hashlib.sha256((folder / "corpus.json").read_bytes()).hexdigest(),
    }  # fmt: skip
    path = folder / "durations.json"

    def write(**values):
        path.write_text(json.dumps(said | values))

    write()
    assert read_durations(folder, corpus) == {name: tuple(found) for name, found in whole.items()}
    for values, message in (
        ({"corpus": "0"}, "is of another corpus"),
        ({"hop": 200}, "hops of 200"),
        ({"durations": whole | {"clip00": [1, 2]}}, "wrong durations of clip00"),
        ({"durations": {}}, "wrong durations of clip00"),
        ({"durations": 3}, "has no durations"),
    ):
        write(**values)
        with pytest.raises(FileError, match=message):
            read_durations(folder, corpus)
    path.unlink()
    with pytest.raises(FileError, match="'python -m export align' makes them"):
        read_durations(folder, corpus)


# --------------------------------------------------------------------------------------- espeak-ng


@pytest.mark.skipif(libespeak.load() is None, reason="needs espeak-ng")
def test_ids_are_those_that_a_voice_is_fed_with(tmp_path):
    texts = [*TEXTS, "Plan A costs $5.", "He came. She left!"]
    folder = put(tmp_path / "anna", texts)
    options = ["--held-out", "1", "--rate", str(RATE)]
    assert main(["data", "speech", str(folder), "-o", str(tmp_path / "out"), *options]) == 0
    corpus = read_corpus(tmp_path / "out")
    assert corpus.language == "en-us"
    fed = {}
    espeak = Espeak()
    try:
        for text in texts:
            found = [piper.phonemes_of(each, "en-us", espeak)[1] for each in sentences(text, "en")]
            fed[text] = [part for each in found for part, _ in each]
    finally:
        espeak.close()
    for clip in corpus.clips:
        one, *more = fed[clip.text]
        whole = [*one, *(symbol for part in more for symbol in (" ", *part))]
        assert clip.ids == ids_of(whole, corpus.symbols)
    assert len(fed["He came. She left!"]) == 2
    assert "eɪ" in "".join(fed["Plan A costs $5."][0])
    trained = [clip.text for clip in corpus.clips if not clip.held_out]
    assert corpus.symbols == symbols_of(part for text in trained for part in [*fed[text], " "])
