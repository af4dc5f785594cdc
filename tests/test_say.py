"""The command ``say`` and the source ``say``, with a voice whose every sample is known."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
import tiny_voices
from tiny_voices import HOP, IDS, PER_ID, RATE

pytest.importorskip("onnxruntime", reason="runs networks")
pytest.importorskip("engines.speech.text")

from engines.speech import libespeak, player, say, source
from engines.speech.piper import PiperVoice
from engines.speech.reading import Reading
from engines.speech.resident import WANTED, connect
from engines.speech.source import Queue, Say, source_of
from engines.speech.text import sentences
from engines.speech.voice import Chunk, SpeechError
from rtaudio import cli
from rtaudio.chain import load_chain
from rtaudio.errors import UserError
from rtaudio.graph import MAIN, Graph, Node
from rtaudio.plan import Plan
from rtaudio.render import Job, render

TEXT = "a bad hat. he fell, and he said no! so be it."

COMMAND = """
import sys
from engines.speech import say
from rtaudio import cli
parser = cli.Parser(prog="rtaudio")
say.command(parser.add_subparsers(parser_class=cli.Parser))
options = parser.parse_args()
try:
    sys.exit(options.run(options))
except (cli.UserError, KeyboardInterrupt, OSError) as error:
    sys.exit(cli.failed(error))
"""
"""``rtaudio``, as if the command were registered."""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))


@pytest.fixture
def folder(tmp_path):
    """A voice of letters whose samples tell the ids, 1/256 each."""
    return tiny_voices.telling(tmp_path / "ada", phoneme_type="text")


@pytest.fixture
def voice(folder):
    made = PiperVoice(folder, "ada")
    yield made
    made.close()


def expected(text, rate=RATE, language="en"):
    """What the telling voice says of a text, made without it: ids of ``^ _ p _ p _ ... $``, and pauses."""
    pieces = []
    for sentence in sentences(text, language):
        if any(letter.isalnum() for letter in sentence.spoken):
            known = [IDS[letter][0] for letter in sentence.spoken if letter in IDS]
            ids = [1, 0, *(n for each in known for n in (each, 0)), 2]
            pieces.append(np.repeat(np.array(ids, np.float32) / 256, PER_ID * HOP))
        pieces.append(np.zeros(round(sentence.pause * rate), np.float32))
    return np.concatenate(pieces)


def run(*arguments):
    """The command ``say``; its exit status."""
    parser = cli.Parser(prog="rtaudio")
    say.command(parser.add_subparsers(parser_class=cli.Parser))
    try:
        options = parser.parse_args(["say", *map(str, arguments)])
        return options.run(options)
    except SystemExit as left:
        return left.code
    except (UserError, OSError) as error:
        return cli.failed(error)


def give(monkeypatch, content):
    """Put bytes on standard input."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


# ------------------------------------------------------------------------------------ files


def test_a_text_becomes_a_file(folder, tmp_path, capsys):
    out = tmp_path / "new" / "out.wav"
    assert run(TEXT, "--voice", folder, "-o", out) == 0
    samples, rate = sf.read(out, dtype="float32")
    assert rate == RATE
    np.testing.assert_array_equal(samples, expected(TEXT))
    said = capsys.readouterr().err
    assert "3 sentences" in said
    assert f"note: made the folder {tmp_path / 'new'}\n" in said
    assert run(TEXT, "--voice", folder, "-o", out) == 0
    assert "made the folder" not in capsys.readouterr().err
    assert "CPU s per s" in said
    assert run("a hat.", "--voice", folder, "-o", out) == 0
    assert " 1 sentence, " in capsys.readouterr().err
    assert "first sound after" in said


@pytest.mark.parametrize("how", ["--file", "stdin", "-", "bom"])
def test_texts_come_from_files_and_standard_input(folder, tmp_path, monkeypatch, how):
    out, content = tmp_path / "out.wav", TEXT.encode("utf-8-sig" if how == "bom" else "utf-8")
    give(monkeypatch, content)
    (tmp_path / "text.txt").write_bytes(content)
    arguments = {"--file": ["--file", tmp_path / "text.txt"], "-": ["-"]}.get(how, [])
    assert run(*arguments, "--voice", folder, "-o", out) == 0
    np.testing.assert_array_equal(sf.read(out, dtype="float32")[0], expected(TEXT))


def test_the_report_tells_where_words_are(folder, tmp_path, capsys):
    assert run(TEXT, "--voice", folder, "-o", tmp_path / "out.wav", "--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["sentences"], report["left_out"], report["language"]) == (3, [], "en")
    assert report["seconds"] == round(len(expected(TEXT)) / RATE, 3)
    marks = report["marks"]
    begun = [TEXT[mark["begin"] : mark["end"]] for mark in marks if mark["kind"] == "word"]
    assert begun == ["a", "bad", "hat", "he", "fell", "and", "he", "said", "no", "so", "be", "it"]
    assert [mark["at"] for mark in marks] == sorted(mark["at"] for mark in marks)
    first = len(expected("a bad hat."))
    assert [mark["at"] for mark in marks if mark["kind"] == "sentence"][1] == round(first / RATE, 4)


def test_a_program_is_told_how_far_a_file_is(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli, "STEP", 0.0)
    assert run("so. " * 9, "--voice", folder, "-o", tmp_path / "out.wav", "--progress") == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {each["total"] for each in told} == {36}
    done = [each["done"] for each in told]
    assert done == sorted(done)
    assert set(range(3, 35, 4)) <= {*done}  # Ends of sentences.


def test_rate_factor_and_speaker(tmp_path):
    folder = tiny_voices.telling(tmp_path / "two", speakers=2, phoneme_type="text", factor=1 / 1024)
    out = tmp_path / "out.wav"
    assert run("ada", "--voice", folder, "-o", out, "--speaker", "speaker 1", "--rate-factor", "0.5") == 0
    pause = round(sentences("ada", "en")[0].pause * RATE)
    samples = sf.read(out, dtype="float32")[0]
    sound = samples[: len(samples) - pause]
    assert len(sound) == 2 * PER_ID * HOP * 9
    assert (sound >= 1).all()


def test_a_broken_sentence_is_left_out_and_named(folder, tmp_path, capsys):
    out = tmp_path / "out.wav"
    text = "a bad hat.\nqqqq.\nso be it."
    assert run(text, "--voice", folder, "-o", out, "--json", tmp_path / "report.json") == 1
    assert "left out 'qqqq.'" in capsys.readouterr().err
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["sentences"], len(report["left_out"])) == (2, 1)
    parts = [
        expected("a bad hat.\n"),
        np.zeros(round(sentences("qqqq.\n", "en")[0].pause * RATE), np.float32),
    ]
    np.testing.assert_array_equal(
        sf.read(out, dtype="float32")[0], np.concatenate([*parts, expected("so be it.")])
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a Привет hat", "left out 'Привет'"),
        ("I রহিম a", "left out 'র': voice ada has none"),
        ("a ♙ hat. be ♙ it", "left out '♙' (U+2659)"),
        ("a cat", "left out 'c': voice ada has none"),
    ],
)
def test_what_is_left_out_of_a_sentence_is_named_once(folder, tmp_path, capsys, text, named):
    assert run(text, "--voice", folder, "--lang", "en", "-o", tmp_path / "out.wav", "--json", "-") == 1
    said = capsys.readouterr()
    assert said.err.count(f"warning: {named}") == 1
    assert [each for each in json.loads(said.out)["left_out"] if each.startswith(named)] == [named]


def test_a_voice_of_another_language_is_noted(folder, tmp_path, capsys):
    """What nobody says is found by the script."""
    out = tmp_path / "out.wav"
    assert run("আকাশ", "--voice", folder, "-o", out, "--json", "-") == 1  # Of its letters two are known.
    said = capsys.readouterr()
    assert "note: voice ada speaks en; the text is read as bn\n" in said.err
    assert json.loads(said.out)["language"] == "bn"
    assert run("a", "--voice", folder, "--lang", "bn", "-o", out) == 0
    assert "note: voice ada speaks en; the text is read as bn\n" in capsys.readouterr().err
    assert run("a", "--voice", folder, "-o", out) == 0
    assert "the text is read" not in capsys.readouterr().err


def test_a_voice_of_a_language_that_is_not_read_here_gets_what_is_written(tmp_path, capsys):
    folder = tiny_voices.telling(tmp_path / "jan", phoneme_type="text", language={"code": "de_DE"})
    assert run("ab. 3, a bad", "--voice", folder, "-o", tmp_path / "out.wav", "--json", "-") == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["language"], report["notes"]) == ("de", [])
    assert any(each.startswith("left out '3'") for each in report["left_out"])  # Not "three".


@pytest.mark.skipif(libespeak.load() is None, reason="needs espeak-ng")
def test_any_language_of_espeak(tmp_path, capsys):
    for voice, text, words in (
        ("espeak-ru", "Привет. Как дела?", ["Привет", "Как", "дела"]),
        ("espeak-fr", "J'ai 12 pommes à 5€ ici", ["J'ai", "12", "pommes", "à", "5€", "ici"]),
        ("", "আমি ভালো", ["আমি", "ভালো"]),
    ):
        options = ["--voice", voice] if voice else []
        assert run(text, *options, "-o", tmp_path / "out.wav", "--json", "-") == 0
        report = json.loads(capsys.readouterr().out)
        assert report["language"] == (voice or "espeak-bn").removeprefix("espeak-")
        marks = [mark for mark in report["marks"] if mark["kind"] == "word"]
        assert [text[mark["begin"] : mark["end"]] for mark in marks] == words


def test_a_text_that_is_too_long(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("engines.speech.written.LONGEST", 1 << 20)
    (tmp_path / "text.txt").write_bytes(b"so. " * (1 << 18) + b"a")
    assert run("--file", tmp_path / "text.txt", "--voice", folder, "-o", tmp_path / "out.wav") == 2
    assert "text.txt is too long: a text has at most 1 MiB, divide it" in capsys.readouterr().err


def test_notes_are_printed_and_are_no_mistakes(folder, tmp_path, capsys):
    text = "<speak><emphasis>a</emphasis> bad <break time='soon'/> hat <emphasis>a</emphasis></speak>"
    assert run(text, "--voice", folder, "-o", tmp_path / "out.wav") == 0
    said = capsys.readouterr().err
    assert said.count("note: <emphasis> is read through\n") == 1
    assert "note: <break time='soon'> is no time" in said
    assert run("<speak>a bad hat", "--voice", folder, "-o", tmp_path / "out.wav") == 0
    assert "note: broken SSML, read as plain text: <speak> is not closed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([""], "the text is empty"),
        (["  \n "], "the text is empty"),
        (["?! ..."], "has no words"),
        (["qqqq"], "nothing could be spoken"),
        (["a", "--file", "x.txt"], "leave one out"),
        (["--file", "no.txt"], "cannot read no.txt"),
        (["a", "--speaker", "ann"], "has no speaker"),
        (["a", "--rate-factor", "0"], "0.25 to 4"),
        (["a", "--rate-factor", "nan"], "0.25 to 4"),
        (["a", "--lang", "fr"], "fr"),
        (["a", "--subtype", "11"], "11"),
        (["a", "--block", "64"], "leave --device and --block out"),
        (["a", "--progress", "--json", "-"], "give -o FILE, and --json a file"),
        (["a", "--phones"], "leave -o and --serve out"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(folder, tmp_path, monkeypatch, capsys, arguments, why):
    monkeypatch.chdir(tmp_path)
    give(monkeypatch, b"")
    assert run(*arguments, "--voice", folder, "-o", "out.wav") == 2
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1
    assert {each.name for each in tmp_path.iterdir()} <= {"ada", "data"}


@pytest.mark.parametrize("more", [["--voice", "nope"], ["--speaker", "9"]])
def test_phones_have_no_voice(capsys, more):
    assert run("a", "--phones", *more) == 2
    assert "leave --voice and --speaker out" in capsys.readouterr().err


def test_what_was_written_before_stays(folder, tmp_path):
    out = tmp_path / "out.wav"
    sf.write(out, np.zeros(10), RATE)
    before = out.read_bytes()
    assert run("qqqq", "--voice", folder, "-o", out) == 2
    assert out.read_bytes() == before


def test_no_text_at_all(folder, tmp_path, monkeypatch, capsys):
    give(monkeypatch, b"caf\xe9")
    assert run("--voice", folder, "-o", tmp_path / "out.wav") == 2
    assert "no UTF-8 text (byte 3)" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", None)
    assert run("--voice", folder) == 2
    assert "there is no text" in capsys.readouterr().err


def test_an_unknown_voice(capsys):
    assert run("a", "--voice", "nobody") == 2
    assert "no voice 'nobody'" in capsys.readouterr().err


def test_what_is_wrong_with_the_voice_is_told_before_what_is_with_the_device(folder, monkeypatch, capsys):
    def missing(*arguments):
        raise UserError("no such device")

    closed, close = [], PiperVoice.close
    monkeypatch.setattr("engines.speech.player.Player", missing)
    monkeypatch.setattr(PiperVoice, "close", lambda voice: closed.append(voice.name) or close(voice))
    for arguments, why in (
        (["a", "--voice", "nobody"], "no voice 'nobody'"),
        (["...", "--voice", folder], "has no words"),
        (["a", "--voice", folder], "no such device"),
    ):
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert why in error
        assert error.count("\n") == 1
    assert closed == ["ada", "ada"]


def test_long_texts_are_read_as_they_go(voice):
    reading = Reading("\n".join([TEXT] * 2_000), voice, "en")
    pieces = iter(reading)
    whole = np.concatenate([next(pieces) for _ in range(6)])
    np.testing.assert_array_equal(whole, expected(f"{TEXT}\n{TEXT}")[: len(whole)])
    assert 0 < reading.done < 2 * len(TEXT)


@pytest.mark.skipif(libespeak.load() is None, reason="needs espeak-ng")
@pytest.mark.parametrize(("lang", "text"), [("en", "Hello there."), ("bn", "আমি বাংলায় গান গাই।")])
def test_espeak_speaks_without_any_voice(tmp_path, lang, text):
    out = tmp_path / "out.flac"
    assert run(text, "--lang", lang, "-o", out) == 0
    samples, rate = sf.read(out)
    assert rate == 22_050
    assert 0.3 < len(samples) / rate < 5
    assert 0.05 < np.abs(samples).max() <= 1


# ------------------------------------------------------------------------------------ the source


def played(text, folder, block, n, rate=RATE, channels=1, **values):
    """Samples (channels, n) of a chain that is only the source, offline, in blocks."""
    node = Node("say", Say, {"text": text, "voice": str(folder), **values})
    plan = Plan(Graph([node], ["say -> out"]), rate, block, channels, offline=True)
    empty = np.zeros((channels, block), np.float32)
    heard = [plan.process(empty)[MAIN].copy() for _ in range(-(-n // block))]
    plan.close()
    return np.concatenate(heard, axis=1)[:, :n]


@pytest.mark.parametrize("block", [1, 17, 64, 441, 1024, 8193])
def test_the_source_says_the_text_whatever_the_blocks(folder, block):
    text = "he fell." if block == 1 else TEXT
    truth = expected(text)
    n = len(truth) + 2000
    heard = played(text, folder, block, n, channels=2)
    np.testing.assert_array_equal(heard[0], np.pad(truth, (0, 2000)))
    np.testing.assert_array_equal(heard[1], heard[0])


def test_the_source_waits_offline_for_texts_longer_than_its_ring(folder):
    text = "\n".join([TEXT] * 10)
    truth = expected(text)
    assert len(truth) > 2 * source.RING_SECONDS * RATE
    np.testing.assert_array_equal(played(text, folder, 4096, len(truth))[0], truth)


def test_at_another_rate_it_is_resampled(folder):
    truth = soxr.resample(expected(TEXT), RATE, 48_000, quality="HQ")
    heard = played(TEXT, folder, 512, len(truth) + 4800, 48_000)[0]
    np.testing.assert_allclose(heard[: len(truth)], truth, atol=2e-3)
    assert not heard[len(truth) + 1 :].any()


def test_level_and_reset(folder):
    node = Say(text=TEXT, voice=str(folder), level=-6.0)
    node.prepare(RATE, 512, channels=1)
    out, truth = np.zeros((1, 512), np.float32), expected(TEXT)[:512] * np.float32(10 ** (-6 / 20))
    for _ in range(2):
        node.process(np.zeros((0, 512), np.float32), out)
        np.testing.assert_allclose(out[0], truth, rtol=1e-6)
        node.reset()
    node.release()


def test_render_through_a_chain(folder, tmp_path):
    truth = expected(TEXT)
    sf.write(tmp_path / "in.wav", np.zeros(len(truth) + 100), RATE, subtype="FLOAT")
    graph = Graph([Node("say", Say, {"text": TEXT, "voice": str(folder)})], ["say -> out"])
    render(graph, Job(tmp_path / "in.wav", {MAIN: tmp_path / "out.wav"}))
    np.testing.assert_array_equal(sf.read(tmp_path / "out.wav", dtype="float32")[0], np.pad(truth, (0, 100)))


def test_a_source_without_text_is_silent_and_a_wrong_one_refused(folder):
    assert not played("", folder, 64, 1000).any()
    for wrong in ({"text": "...", "voice": str(folder)}, {"text": "a", "voice": "nobody"}):
        with pytest.raises(UserError):
            played(wrong["text"], wrong["voice"], 64, 64)


class Even:
    """A voice that says 0.5 for as many samples as its text has letters times 1000, piece by piece, when it
    may."""

    name, language, rate, speakers, cpu = "even", "en", 48_000, (), 0.0

    def __init__(self, value=0.5, pieces=None):
        self.value = value
        self.pieces = pieces
        """A semaphore: how many pieces it may make."""

    def speak(self, sentence, speaker=0, length_scale=1.0):
        for _ in sentence.text:
            if self.pieces is not None:
                assert self.pieces.acquire(timeout=10.0)
            if sentence.text.startswith("x"):
                raise SpeechError("it does not")
            yield Chunk(np.full(1000, self.value, np.float32))

    def close(self):
        pass


@pytest.fixture
def queue():
    made = Queue()
    made.open(48_000)
    yield made
    made.close()


@pytest.fixture
def block_of(queue):
    """Plays the queue, a block at a time, as a device would."""
    node = source_of(queue)()
    node.prepare(48_000, 1024, channels=1)

    def play(n=128):
        out = np.zeros((1, n), np.float32)
        node.process(np.zeros((0, n), np.float32), out)
        return out[0].copy()

    yield play
    node.release()


FADE = round(source.FADE_SECONDS * 48_000)


def test_cancel_is_heard_within_a_block(queue, block_of):
    queue.add(Reading("a" * 60, Even(), "en"))
    queue.wait_ready()
    for _ in range(10):
        assert (block_of() == 0.5).all()
    queue.cancel()
    heard = np.concatenate([block_of() for _ in range(8)])
    assert (np.diff(heard[: FADE + 1]) <= 0).all()
    assert heard[0] > 0.49
    assert np.abs(np.diff(np.concatenate([[0.5], heard]))).max() < 2 * 0.5 * 1.9 / FADE
    assert not heard[FADE:].any()
    assert queue.played
    assert queue.underflows == 0


def test_after_a_cancel_the_next_text_is_heard(queue, block_of):
    queue.add(Reading("a" * 60, Even(), "en"))
    queue.wait_ready()
    block_of()
    queue.cancel()
    queue.add(Reading("bb", Even(0.25), "en"))
    queue.wait_ready()
    heard = np.concatenate([block_of() for _ in range(24)])
    first = 256  # the fade ends in the second block, and the third begins with the new text
    assert (heard[first : first + 2000] == 0.25).all()
    assert not heard[first + 2000 :].any()


def test_pause_stands_still_and_play_goes_on(queue, block_of):
    queue.add(Reading("aaaa", Even(), "en"))
    queue.wait_ready()
    block_of()
    queue.pause()
    faded = np.concatenate([block_of() for _ in range(6)])
    assert not faded[FADE:].any()
    taken = queue.taken
    assert taken == 128 + FADE
    assert not block_of().any()
    assert queue.taken == taken
    queue.play()
    heard = np.concatenate([block_of() for _ in range(40)])
    assert (np.diff(heard[:FADE]) >= 0).all()
    assert (heard[FADE : 4000 - taken] == 0.5).all()
    assert not heard[4000 - taken :].any()


def test_texts_follow_each_other(queue, block_of):
    for value, text in ((0.5, "aa"), (0.25, "b"), (0.125, "ccc")):
        queue.add(Reading(text, Even(value), "en"))
    while queue.waiting:
        queue.wait_ready(seconds=10.0)
    heard = np.concatenate([block_of(1000) for _ in range(60)])
    assert [value for value in (0.5, 0.25, 0.125) if (heard == value).sum()] == [0.5, 0.25, 0.125]
    assert [(heard == value).sum() for value in (0.5, 0.25, 0.125)] == [2000, 1000, 3000]
    assert queue.played


def test_a_voice_that_is_too_slow_is_counted(queue, block_of):
    pieces = threading.Semaphore(20)
    queue.add(Reading("a" * 40, Even(pieces=pieces), "en"))
    queue.wait_ready()
    while queue.written < 20_000:
        queue.wait_ready(seconds=0.01)
    heard = np.concatenate([block_of(1000) for _ in range(23)])
    assert (heard[:20_000] == 0.5).all()
    assert not heard[20_000:].any()
    assert queue.underflows == 3
    pieces.release(100)


def test_a_text_begins_when_as_much_is_there_as_the_next_piece_takes(queue, block_of):
    """However early the first piece is there: else there is a gap after it."""
    pieces, reserve = threading.Semaphore(0), round(source.READY_SECONDS * 48_000)
    for round_ in range(2):  # the second text is begun when the first has ended
        begun = queue.written
        queue.add(Reading("a" * 40, Even(pieces=pieces), "en"))
        for made in range(1000, reserve, 1000):
            pieces.release()
            while queue.written < begun + made:
                queue.wait_ready(seconds=0.01)
            assert not block_of().any()
        assert queue.underflows == round_
        pieces.release()
        while queue.written < begun + reserve:
            queue.wait_ready(seconds=0.01)
        heard = np.concatenate([block_of(500) for _ in range(reserve // 500)])
        assert (heard[FADE:] == 0.5).all()
        assert not block_of().any()
        assert queue.underflows == round_ + 1
        pieces.release(40 - reserve // 1000)
        while queue.waiting:
            queue.wait_ready(seconds=10.0)
        while not queue.played:
            block_of(1000)


def test_what_waits_for_its_reserve_is_cancelled_too(queue, block_of):
    pieces = threading.Semaphore(3)
    queue.add(Reading("a" * 40, Even(pieces=pieces), "en"))
    while queue.written < 3000:
        queue.wait_ready(seconds=0.01)
    queue.cancel()
    pieces.release(100)
    assert not np.concatenate([block_of() for _ in range(4)]).any()
    assert queue.played
    queue.add(Reading("b", Even(0.25), "en"))
    while queue.waiting:
        queue.wait_ready(seconds=10.0)
    heard = np.concatenate([block_of() for _ in range(10)])
    assert (heard == 0.25).sum() >= 1000 - FADE
    assert not heard[1000:].any()


def test_a_voice_that_fails_does_not_stop_the_queue(queue, block_of):
    class Broken(Even):
        def speak(self, *arguments, **more):
            raise RuntimeError("out of order")

    broken, refused = Reading("aa", Broken(), "en"), Reading("xx", Even(), "en")
    for reading in (broken, refused, Reading("b", Even(0.25), "en")):
        queue.add(reading)
    while queue.waiting:
        queue.wait_ready(seconds=10.0)
    assert any("out of order" in problem for problem in broken.problems)
    assert any("it does not" in problem for problem in refused.problems)
    heard = np.concatenate([block_of(1000) for _ in range(60)])
    assert (heard == 0.25).sum() == 1000


def test_a_chain_says_a_text(folder):
    graph = load_chain(f"say(text='ada', voice='{folder}') | gain(gain=0)")
    plan = Plan(graph, RATE, 1024, 1, offline=True)
    assert plan.process(np.zeros((1, 1024), np.float32))[MAIN].any()
    plan.close()


# ------------------------------------------------------------------------------------ live


def started(*arguments, runtime=""):
    root = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "say", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root), "XDG_RUNTIME_DIR": str(runtime)},
    )


def await_ready(process):
    for line in process.stderr:
        if line.startswith("READY"):
            return
    raise AssertionError("it has ended")


@pytest.mark.alone
def test_it_is_played(folder):
    process = started("a bad hat.", "--voice", folder, "--api", "null", "--json", "-")
    out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    report = json.loads(out)
    assert report["underflows"] == 0
    assert report["seconds"] == pytest.approx(len(expected("a bad hat.")) / RATE, abs=0.001)
    assert "READY null" in said


@pytest.mark.alone
def test_ctrl_c_ends_it_cleanly(folder):
    process = started(TEXT * 500, "--voice", folder, "--api", "null")  # Of ten minutes.
    await_ready(process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip() == "interrupted"


@pytest.mark.alone
def test_ctrl_c_fades_out_before_the_device_closes(folder, monkeypatch):
    """The source passes over what lies in its ring when its fade has come to silence, and not before."""
    ended = []

    class Watched(player.Player):
        def watch(self):
            if self.queue.taken > RATE // 4 and not ended:
                ended.append(self.queue.taken)
                os.kill(os.getpid(), signal.SIGINT)
            return super().watch()

        def close(self):
            ended.append((self.queue.written, self.queue.taken))
            super().close()

    def leave(number, frame):
        raise KeyboardInterrupt

    monkeypatch.setattr(player, "Player", Watched)
    monkeypatch.setattr(cli, "leave", leave)  # Which has signals ignored from then on.
    with pytest.raises(KeyboardInterrupt):
        run(TEXT * 50, "--voice", folder, "--api", "null")
    begun, (written, taken) = ended
    assert 0 < begun < written == taken


@pytest.fixture
def resident(folder, tmp_path, monkeypatch):
    """A resident player with the telling voice."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    process = started("--serve", "--voice", folder, "--api", "null", runtime=tmp_path / "run")
    await_ready(process)
    yield process
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.strip()) == (130, "interrupted")
    assert not list((tmp_path / "run" / "rtaudio").iterdir())


@pytest.mark.alone
def test_a_resident_player_speaks_for_later_calls(resident, folder, tmp_path, monkeypatch, capsys):
    socket = tmp_path / "run" / "rtaudio" / "say.sock"
    assert socket.stat().st_mode & 0o777 == 0o600
    monkeypatch.chdir(tmp_path)
    assert run("a bad hat.", "--voice", folder.name, "--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["seconds"] == pytest.approx(len(expected("a bad hat.")) / RATE, abs=0.001)
    assert (report["voice"], report["underflows"]) == ("ada", 0)
    # Mistakes are told to who made them, and the player goes on.
    assert run("...", "--voice", folder) == 2
    assert run("a", "--voice", "nobody") == 2
    assert run("a", "--voice", folder, "--speaker", "ann") == 2
    assert run("qqqq", "--voice", folder) == 2
    assert run("a.\nqqqq.", "--voice", folder) == 1
    said = capsys.readouterr().err
    for why in (
        "has no words",
        "no voice 'nobody'",
        "no speaker 'ann'",
        "nothing could be",
        "left out 'qqqq.'",
    ):
        assert why in said


@pytest.mark.alone
def test_who_leaves_is_not_spoken_for(resident, folder, monkeypatch):
    request = {"text": TEXT * 50, "voice": str(folder), "lang": "", "speaker": "", "factor": 1.0}
    gone = connect()
    gone.sendall(json.dumps(request).encode() + b"\n")
    waiting = connect()
    waiting.sendall(json.dumps(request | {"text": "ada"}).encode() + b"\n")
    gone.close()
    with waiting, waiting.makefile("rb") as answers:
        assert json.loads(answers.readline())["report"]["sentences"] == 1


@pytest.mark.alone
def test_the_resident_player_survives_what_is_no_request(resident):
    for request in (b"\n", b"{}\n", b"[" * 100_000 + b"\n", b'{"text": "a"}\n', b"\xff\n"):
        connection = connect()
        connection.sendall(request)
        with connection, connection.makefile("rb") as answers:
            assert json.loads(answers.readline()) == {"error": WANTED}


@pytest.mark.alone
def test_there_is_one_resident_player(resident, folder, tmp_path):
    second = started("--serve", "--voice", folder, "--api", "null", runtime=tmp_path / "run")
    _, said = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "runs already" in said


def test_serving_takes_no_text(capsys):
    assert run("a", "--serve") == 2
    assert "leave TEXT" in capsys.readouterr().err
