"""Lines that let a running source speak: what is heard, where it is, and what watchers are told."""

import json
import math
import os
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
import tiny_voices
from stepped import Stepped
from tiny_voices import HOP, IDS, PER_ID, RATE

pytest.importorskip("onnxruntime", reason="runs networks")

from engines.speech import bangla, english, voices
from engines.speech.source import FADE_SECONDS, READY_SECONDS, Say
from engines.speech.speaker import Speaker
from engines.speech.text import each_sentence, sentences
from engines.speech.voice import Chunk
from rtaudio.chain import load_chain
from rtaudio.control import apply
from rtaudio.errors import UserError
from rtaudio.host import Host
from rtaudio.null import NullDevice
from rtaudio.plan import Plan
from rtaudio.server import Server, connect
from rtaudio.state import state
from rtaudio.steering import Steering

BLOCK = 128
DEADLINE = 60.0
TEXT = "a bad hat. he fell!"
FADE = round(FADE_SECONDS * RATE)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A voice of letters whose samples tell the ids, 1/256 each, and where each begins."""
    return tiny_voices.telling(tmp_path_factory.mktemp("voices") / "ada", frames=True, phoneme_type="text")


class Slow(Stepped):
    """Calls when the test says so, at the voice's rate."""

    rate = RATE


@contextmanager
def playing(chain, device=None):
    with Host(Plan(load_chain(chain), RATE, BLOCK, 1), device or Slow()) as made:
        made.start()
        yield made


@pytest.fixture
def host(folder):
    with playing(f"say(voice='{folder}')") as made:
        yield made


def said(text):
    """What the telling voice says of a text: ids of ``^ _ p _ p _ ... $``, then the pause."""
    pieces = []
    for sentence in sentences(text, "en"):
        known = [IDS[letter][0] for letter in sentence.spoken if letter in IDS]
        ids = [1, 0, *(n for each in known for n in (each, 0)), 2]
        pieces.append(np.repeat(np.array(ids, np.float32) / 256, PER_ID * HOP))
        pieces.append(np.zeros(round(sentence.pause * RATE), np.float32))
    return np.concatenate(pieces)


def words_at(text):
    """Where every word and sentence of a text begins, in samples: counted from the ids, of which the first
    word has those before it, too.
    """
    found, start = [], 0
    for sentence in sentences(text, "en"):
        found.append((start, "sentence", [sentence.begin, sentence.end]))
        at = 0
        for word in sentence.words:
            at = sentence.spoken.index(word.spoken, at)
            before = sum(letter in IDS for letter in sentence.spoken[:at])
            ids = 2 + 2 * before if before else 0
            found.append((start + ids * PER_ID * HOP, "word", [word.begin, word.end]))
            at += len(word.spoken)
        start += len(said(sentence.text)) if sentence.end < len(text) else 0
    return found


def until(happened, host=None):
    limit = time.monotonic() + DEADLINE
    while not (found := happened()):
        assert time.monotonic() < limit
        if host is not None:
            host.poll()
        time.sleep(0.002)
    return found


def told(host, name="say"):
    return json.loads(json.dumps(host.plan.told()[name]))


def spoken(host):
    """Wait until all texts are in the ring."""
    until(lambda: told(host)["waiting"] == 0)


def step(host, blocks=1):
    return np.concatenate([host.device.step(0)[:, 0] for _ in range(blocks)])


# What is heard


def test_a_line_is_spoken(host):
    assert not step(host, 3).any()
    answer = apply(host, f"say say {TEXT}")
    assert (str(answer), answer.facts) == ("text 1", {"text": 1})
    spoken(host)
    truth = said(TEXT)
    heard = step(host, -(-len(truth) // BLOCK) + 3)
    np.testing.assert_array_equal(heard[: len(truth)], truth)
    assert not heard[len(truth) :].any()
    assert told(host)["underflows"] == 0


class Gated:
    """A voice that says 0.5, 1000 samples at a time, when it may."""

    name, language, rate, speakers, cpu, note = "gated", "en", RATE, (), 0.0, ""

    def __init__(self):
        self.pieces = threading.Semaphore(0)

    def speak(self, sentence, speaker=0, length_scale=1.0):
        for _ in sentence.text:
            assert self.pieces.acquire(timeout=10.0)
            yield Chunk(np.full(1000, 0.5, np.float32))

    def close(self):
        pass


def test_a_text_begun_by_a_line_is_heard_when_it_has_its_reserve(monkeypatch):
    """And not with its first piece, after which there would be a gap."""
    voice, reserve = Gated(), math.ceil(READY_SECONDS * RATE / 1000)
    monkeypatch.setattr(voices, "open_voice", lambda *wanted: voice)
    with playing("say") as host:
        apply(host, f"say say {'a' * 20}")
        [(_, node)] = host.plan._takers()
        queue = node._speech
        for made in range(1, reserve):
            voice.pieces.release()
            until(lambda made=made: queue.written == 1000 * made)
            assert not step(host).any()
        voice.pieces.release()
        until(lambda: queue.written == 1000 * reserve)
        assert (step(host, 1000 * reserve // BLOCK) == 0.5).all()
        assert told(host)["underflows"] == 0
        voice.pieces.release(20 - reserve)
        spoken(host)


@pytest.mark.parametrize("lane", [1, 2])
def test_a_line_is_spoken_in_a_worker(folder, lane, tmp_path):
    with playing(f"say(voice='{folder}', lane={lane})", NullDevice(freewheel=False, rate=RATE)) as host:
        assert apply(host, f"say say {TEXT}").facts == {"text": 1}
        until(lambda: told(host).get("word"), host)
        assert apply(host, "hush say") == "silent"
        until(lambda: told(host)["words"] == "silent", host)
        with pytest.raises(UserError, match="'read' takes a file"):
            apply(host, "read say")


def test_a_line_is_spoken_where_nothing_keeps_time(folder):
    with playing(f"say(voice='{folder}')", NullDevice(freewheel=True)) as host:
        apply(host, f"say say {TEXT}")
        until(lambda: not told(host)["speaking"])


def test_words_and_sentences_are_told_when_they_are_heard(host):
    apply(host, f"say say {TEXT}")
    spoken(host)
    truth = words_at(TEXT)
    assert [kind for _, kind, _ in truth].count("sentence") == 2
    for block in range(1, len(said(TEXT)) // BLOCK):
        step(host)
        begun = [(kind, span) for at, kind, span in truth if at < block * BLOCK]
        sentence, word = (
            [span for kind, span in begun if kind == wanted][-1] for wanted in ("sentence", "word")
        )
        now = told(host)
        assert (now["text"], now["sentence"], now["word"]) == (1, sentence, word)
    step(host, 3)
    now = told(host)
    assert (now["text"], now["sentence"], now["word"], now["words"]) == (0, None, None, "silent")


def test_words_and_phones_are_told_with_the_place_at_which_they_were_heard(host):
    heard = [step(host, 3)]
    apply(host, f"say say {TEXT}")
    spoken(host)
    blocks, paused = len(said(TEXT)) // BLOCK + 3, 0
    for block in range(blocks):
        if block == blocks // 3:
            apply(host, "pause say")
            paused = len(heard) * BLOCK + 2 * BLOCK
            heard.append(step(host, 9))
            told(host)
            apply(host, "resume say")
        heard.append(step(host))
        now = told(host)["begun"]
    sound, resumed = np.concatenate(heard), paused + 9 * BLOCK + FADE
    words, first = words_at(TEXT), 3 * BLOCK
    wanted = [(first + at, TEXT[slice(*span)]) for at, kind, span in words if kind == "word"]
    late = [(at + 9 * BLOCK - FADE, word) for at, word in wanted]
    found = [(at, word) for at, word in now["word"] if word]
    assert [word for _, word in found] == [word for _, word in wanted]
    for at, before, after in zip(found, wanted, late, strict=True):
        assert at in (before, after)
    assert "".join(name for _, name in now["phone"]) == "abadhathefell"
    clear = [(at, name) for at, name in now["phone"] if name and not paused - FADE <= at <= resumed]
    assert len(clear) > 8
    for at, name in clear:
        assert round(256 * float(sound[at])) == IDS[name][0]
        assert round(256 * float(sound[at - 1])) != IDS[name][0]
    assert now["word"][-1][1] == now["phone"][-1][1] == ""  # The end.


def test_what_nobody_asked_for_meanwhile_is_told_where_it_was(host):
    step(host, 3)
    apply(host, f"say say {TEXT}")
    [(_, node)] = host.plan._takers()
    until(lambda: node._speech.waiting == 0)
    step(host, len(said(TEXT)) // BLOCK + 200)
    wanted = [[3 * BLOCK + at, TEXT[slice(*span)]] for at, kind, span in words_at(TEXT) if kind == "word"]
    found = told(host)["begun"]["word"]
    assert [entry for entry in found if entry[1]] == wanted
    assert found[-1][1] == ""


def test_what_is_hushed_is_told_no_more(host):
    apply(host, f"say say {TEXT}")
    spoken(host)
    step(host, 8)
    begun = told(host)["begun"]
    apply(host, "hush say")
    step(host, 3)
    now = told(host)["begun"]
    for kind, before in begun.items():
        assert now[kind][: len(before)] == before
        assert [name for _, name in now[kind][len(before) :]] == [""]


def test_at_another_rate_words_are_where_they_are_heard(folder):
    with Host(Plan(load_chain(f"say(voice='{folder}')"), 44_100, BLOCK, 1), Stepped()) as host:
        host.start()
        apply(host, f"say say {TEXT}")
        spoken(host)
        second = [at for at, kind, _ in words_at(TEXT) if kind == "sentence"][1]
        step(host, 2 * second // BLOCK)
        assert told(host)["sentence"] == [0, len("a bad hat.")]
        step(host, 2)
        assert told(host)["sentence"] == [len("a bad hat. "), len(TEXT)]


def test_hush_is_heard_within_a_block_and_the_next_text_follows(host):
    apply(host, "say say a bad hat a bad hat a bad hat")
    apply(host, "say say he fell")
    spoken(host)
    assert step(host, 10).any()
    assert apply(host, "hush say") == "silent"
    assert told(host)["words"] == "silent"
    after = step(host, 4)
    assert not after[FADE:].any()
    assert apply(host, "say say so").facts == {"text": 3}
    spoken(host)
    truth = said("so")
    heard = step(host, len(truth) // BLOCK)
    np.testing.assert_array_equal(heard, truth[: len(heard)])
    assert told(host)["text"] == 3


def test_a_pause_stands_still_and_hush_ends_it(host):
    apply(host, "say say a bad hat" + " a bad hat" * 40)
    spoken(host)
    step(host, 20)
    assert apply(host, "pause say") == "paused"
    step(host, 2)
    before = told(host)
    assert before["paused"]
    assert before["words"].startswith("paused, text 1, '")
    assert not step(host, 40).any()
    assert told(host) == before
    assert apply(host, "resume say") == "goes on"
    assert step(host, 40).any()
    apply(host, "pause say")
    apply(host, "hush say")
    assert not told(host)["paused"]
    step(host, 2)
    apply(host, "say say so")
    spoken(host)
    assert step(host, 10).any()


def test_texts_wait_for_each_other(host):
    answers = [str(apply(host, f"say say {text}")) for text in ("a bad hat " * 40, "so", "be it")]
    assert answers[0] == "text 1"
    assert answers[1].startswith("text 2")
    heard = []
    while told(host)["speaking"]:
        step(host)
        heard.append(told(host)["text"])
    numbers = [number for number in heard if number]
    assert sorted(numbers) == numbers
    assert set(numbers) == {1, 2, 3}


def test_use_sets_how_the_next_texts_are_spoken(host, folder):
    apply(host, "say say so")
    apply(host, "use say factor 0.5")
    apply(host, "say say so")
    spoken(host)
    one, two = said("so"), np.repeat(said("so")[: 7 * PER_ID * HOP], 2)
    heard = step(host, (len(one) + len(two)) // BLOCK)
    np.testing.assert_array_equal(heard[: len(one)], one)
    n = min(len(two), len(heard) - len(one))
    np.testing.assert_array_equal(heard[len(one) :][:n], two[:n])
    assert told(host)["factor"] == 0.5
    assert (told(host)["voice"], told(host)["lang"]) == (str(folder), "auto")


class Begun:
    """A queue of which the test makes the sound."""

    def add(self, make):
        self.reading = make()
        return 1

    waiting = 1

    def close(self):
        """Nothing runs."""


def test_a_factor_is_that_of_the_sentences_that_follow(folder):
    queue = Begun()
    values = {"voice": str(folder), "lang": "en", "speaker": "", "factor": 1.0}
    speaker = Speaker(queue, Say.parameters, values)
    text = "so. so. so."
    speaker.take("say", text)
    speaker.take("use", "factor 2")  # No sentence of it has begun: it is as the text came.
    sound = iter(queue.reading)
    heard = [next(sound)]
    assert str(speaker.take("use", "factor 0.5")["answer"]) == "factor 0.5 from the next sentence on"
    heard = np.concatenate([*heard, *sound])
    speaker.close()
    one = said(text)
    second = next(at for at, kind, span in words_at(text) if kind == "sentence" and span[0] > 0)
    voiced = np.flatnonzero(one[:second])[-1] + 1
    slow = np.concatenate([np.repeat(one[:voiced], 2), one[voiced:second]])
    np.testing.assert_array_equal(
        heard[: second + 2 * len(slow)], np.concatenate([one[:second], slow, slow])[: len(heard)]
    )


def test_a_voice_is_opened_when_it_is_chosen_and_once(host, monkeypatch):
    opened, open_voice = [], voices.open_voice
    monkeypatch.setattr(voices, "open_voice", lambda *wanted: opened.append(wanted) or open_voice(*wanted))
    folder = told(host)["voice"]
    apply(host, f"use say voice {folder}")
    until(lambda: opened)
    assert opened == [(folder, "en")]
    assert not told(host)["speaking"]
    for _ in range(2):
        apply(host, "say say so")
    spoken(host)
    assert len(opened) == 1


def test_a_long_text_is_cut_as_it_is_read(monkeypatch):
    found = []
    read = english.stream
    monkeypatch.setattr(english, "stream", lambda *arguments: found.append(arguments) or read(*arguments))
    text = "He fell.\n" * 1_000
    cut = each_sentence(text, "en")
    assert next(cut).text == "He fell."
    assert len(found) < 5
    assert [next(cut).begin for _ in range(3)] == [9, 18, 27]
    assert len(list(cut)) == 996
    assert len(found) > 1_000


@pytest.mark.parametrize("language", ["en", "bn"])
def test_a_long_paragraph_is_cut_as_it_is_read(monkeypatch, language):
    """Also where it is one line: its end is not looked at before its beginning sounds."""
    front = {"en": english, "bn": bangla}[language]
    plain, places = front.SCANNER.plain, []

    class Watched:
        def match(self, text, at, end):
            places.append(at)
            return plain.match(text, at, end)

    monkeypatch.setattr(front, "SCANNER", front.SCANNER._replace(plain=Watched()))
    text = {"en": "He fell, and rose. ", "bn": "আমি যাই, তুমি থাকো। "}[language] * 5_000
    cut = each_sentence(text, language)
    found = [next(cut) for _ in range(3)]
    assert [sentence.text for sentence in found] == [text[: len(text) // 5_000].strip()] * 3
    assert max(places) < 200
    assert sum(1 for _ in cut) == 4_997
    assert max(places) > len(text) - 10


def test_a_file_is_read(host, tmp_path):
    path = tmp_path / "a long text.txt"
    path.write_text("a bad hat.\n" * 90_000, encoding="utf-8-sig")
    assert apply(host, f"read say {path}").facts == {"text": 1}
    until(lambda: step(host).any())
    now = told(host)
    assert (now["text"], now["length"], now["sentence"]) == (1, 990_000, [0, 10])
    assert now["made"] < 100_000
    assert now["first_sound_ms"] > 0
    apply(host, "hush say")
    until(lambda: told(host)["waiting"] == 0)


def test_what_cannot_be_spoken_is_told_and_the_next_is_spoken(host, folder, tmp_path):
    with pytest.raises(UserError, match="no voice 'nobody'"):  # At once.
        apply(host, "use say voice nobody")
    for line in ("say say ?!", "say say a. qqqq. so.", f"use say voice {tmp_path}/nobody", "say say a"):
        apply(host, line)
    apply(host, f"use say voice {folder}")
    apply(host, "say say be it")
    heard = []
    while told(host)["speaking"]:
        step(host)
        heard.append(told(host)["text"])
    assert set(heard) - {0} == {2, 4}
    problems = told(host)["problems"]
    told_of = ("has no words", "left out 'qqqq.'", *["nobody is no folder of a voice"] * 2)
    for part, problem in zip(told_of, problems, strict=True):
        assert part in problem


def test_notes_and_characters_are_told(host):
    apply(host, "say say <emphasis>a</emphasis> ♙ bad hat")
    spoken(host)
    assert told(host)["notes"] == ["<emphasis> is read through"]
    assert told(host)["problems"] == ["left out '♙' (U+2659)"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("say", "'say' needs a node (say)"),
        ("say sya hello", "'sya' takes no 'say', did you mean 'say'? (say)"),
        ("say say", "'say' takes a text"),
        ("hush say now", "'hush' takes nothing more"),
        ("pause say now", "'pause' takes nothing more"),
        ("pause gain", "'gain' takes no 'pause' (say)"),
        ("pause", "no file plays: start with --file"),
        ("read say no.txt", "cannot read no.txt: no such file"),
        ("read say .", "cannot read .: not a file"),
        ("read say pipe", "cannot read pipe: not a file"),
        ("read say bad.txt", "bad.txt is no UTF-8 text (byte 3): convert it, such as by iconv"),
        ("use say", "'use' takes one of voice, lang, speaker, factor"),
        ("use say fator 2", "no 'fator', did you mean 'factor'? (voice, lang, speaker, factor)"),
        ("use say factor", "factor '' is not a number (0.25 to 4)"),
        ("use say factor nan", "use: factor=nan is out of range (0.25 to 4)"),
        ("use say lang fr", "use: lang='fr' is not one of auto, en, bn"),
    ],
)
def test_mistakes_are_told_in_a_line_and_change_nothing(folder, tmp_path, monkeypatch, line, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9")
    os.mkfifo(tmp_path / "pipe")
    with playing(f"say(voice='{folder}') | gain") as host:
        before = told(host)
        with pytest.raises(UserError) as refused:
            apply(host, line)
        assert str(refused.value) == message
        assert told(host) == before


def test_the_text_of_the_chain_is_told_too_and_its_mistakes_refuse_the_chain(folder):
    with playing(f"say(voice='{folder}', text='{TEXT}')") as host:
        heard = step(host, 20)
        np.testing.assert_array_equal(heard, said(TEXT)[: len(heard)])
        assert told(host)["text"] == 1
    with pytest.raises(UserError, match="no voice 'nobody'"):
        Plan(load_chain("say(voice=nobody, text=a)"), RATE, BLOCK, 1)


# Edits and readers


def test_an_edit_beside_it_lets_it_go_on(folder):
    with playing(f"say(voice='{folder}')", NullDevice(rate=RATE)) as host:
        apply(host, "say say " + "a bad hat. " * 40)
        until(lambda: told(host)["word"], host)
        apply(host, "insert last gain")
        until(lambda: not host.edits, host)
        assert list(host.plan.graph.nodes) == ["say", "gain"]
        first = told(host)
        assert first["text"] == 1
        until(lambda: told(host)["sentence"] != first["sentence"], host)
        apply(host, "hush say")
        assert told(host)["words"] == "silent"


def test_help_and_the_state_have_the_lines(host):
    help_ = apply(host, "help")
    assert help_.endswith(
        "quit | say say TEXT | read say FILE | hush say | pause say | resume say | use say SETTING VALUE"
    )
    node = json.loads(json.dumps(state(host)))["nodes"][0]
    assert node["lines"]["read"] == "FILE"
    assert node["told"] == told(host)
    with playing("gain") as other:
        assert "lines" not in state(other)["nodes"][0]


def test_who_watches_is_told_every_word(host):
    with Server() as server:
        server.listen()
        steering = Steering(host, server, lambda text, answers: None)
        with connect(os.getpid()) as program:
            program.setblocking(False)
            program.sendall(f"watch\nsay say {TEXT}\n".encode())
            got = b""
            while b'"text": 1' not in got and b'"text":1' not in got:
                steering.serve(0.01)
                got += _taken(program)
            spoken(host)
            for _ in range(len(said(TEXT)) // BLOCK + 3):
                step(host)
                steering.serve(0)
                got += _taken(program)
            got += _taken(program)
    events = [json.loads(line) for line in got.splitlines()]
    events = [event for event in events if event.get("event") == "told"]
    assert {event["node"] for event in events} == {"say"}
    words = [TEXT[slice(*event["told"]["word"])] for event in events if event["told"]["word"]]
    assert [word for word, before in zip(words, ["", *words], strict=False) if word != before] == [
        *("a", "bad", "hat", "he", "fell")
    ]
    assert "say: text 1, 'bad'" in [event["text"] for event in events]
    assert events[-1]["text"] == "say: silent"


def _taken(program):
    try:
        return program.recv(1 << 20)
    except BlockingIOError:
        return b""
