"""espeak-ng in a process of its own, against the command espeak-ng."""

import os
import signal
import subprocess
import threading

import numpy as np
import pytest
import soundfile as sf

pytest.importorskip("engines.speech.text")

from engines.speech import espeak, libespeak
from engines.speech.espeak import Espeak, EspeakVoice
from engines.speech.text import Sentence, Word, sentences
from engines.speech.voice import SpeechError
from rtaudio.errors import UserError

pytestmark = pytest.mark.skipif(libespeak.load() is None, reason="needs espeak-ng")

ENGLISH = "Hello there, my friend. It costs three dollars!"
BANGLA = "আমি বাংলায় গান গাই"


@pytest.fixture(scope="module")
def library():
    made = Espeak()
    yield made
    made.close()


@pytest.fixture
def fresh():
    """A new process at every call: what espeak-ng says depends a little on what it has said before."""
    made = []

    def start():
        made.append(Espeak())
        return made[-1]

    yield start
    for each in made:
        each.close()


def commanded(tmp_path, text, voice, *options):
    """What the command espeak-ng says."""
    path = tmp_path / "said.wav"
    subprocess.run(["espeak-ng", "-v", voice, "-z", "-w", path, *options, "--", text], check=True)
    return sf.read(path, dtype="float32")


def running(process):
    """Whether a process is there and no zombie."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("text", "voice"), [(ENGLISH, "en-us"), (BANGLA, "bn")])
def test_samples_are_those_of_the_command(fresh, tmp_path, text, voice):
    library = fresh()
    expected, rate = commanded(tmp_path, text, voice)
    samples, _ = library.synthesise(text, voice)
    assert (library.rate, samples.dtype) == (rate, np.float32)
    np.testing.assert_array_equal(samples, expected)


def test_rate_and_pitch_are_those_of_the_command(fresh, tmp_path):
    expected, _ = commanded(tmp_path, ENGLISH, "en-us", "-s", "300", "-p", "80")
    np.testing.assert_array_equal(fresh().synthesise(ENGLISH, "en-us", 300, 80)[0], expected)


def test_rate_and_pitch_last_for_one_text(fresh):
    library = fresh()
    length = [
        len(library.synthesise(ENGLISH, "en-us", rate)[0]) for rate in (175, 350, 175, 10**6, 450, 1, 80)
    ]
    np.testing.assert_allclose(length[0], length[2], rtol=0.02)
    assert length[1] < 0.7 * length[0]
    np.testing.assert_allclose(length[3], length[4], rtol=0.02)
    np.testing.assert_allclose(length[5], length[6], rtol=0.02)


@pytest.mark.parametrize("time", ["first", "second"])
def test_words_and_phonemes_are_told(library, time):
    if time == "second":
        library.synthesise(ENGLISH, "en-us", 300)
    samples, events = library.synthesise(ENGLISH, "en-us")
    words = [event for event in events if event.kind == "word"]
    assert [ENGLISH[word.begin :].split(maxsplit=1)[0] for word in words] == ENGLISH.split()
    places = [word.sample for word in words]
    assert places == sorted(places)
    assert 0 <= places[0] < places[-1] < len(samples)
    phonemes = "".join(event.name for event in events if event.kind == "phoneme")
    assert phonemes == "həloʊðɛɹmaɪfɹɛndɪtkɔstsθɹiːdɑːlɚz"


def test_words_are_counted_in_codepoints(library):
    _, events = library.synthesise(BANGLA, "bn")
    assert [
        BANGLA[event.begin :].split(maxsplit=1)[0] for event in events if event.kind == "word"
    ] == BANGLA.split()


@pytest.mark.parametrize(
    ("text", "voice", "sentences"),
    [
        # From piper-tts 1.8.0, whose espeak-ng is newer.
        (
            "Hello there, my friend. It costs three dollars! (Really?) yes",
            "en-us",
            ["həlˈoʊ ðˈɛɹ, maɪ fɹˈɛnd.", "ɪt kˈɔsts θɹˈiː dˈɑːlɚz!", "ɹˈiəli?", "jˈɛs"],
        ),
        ("আমি বাংলায় গান গাই।", "bn", ["ˌami bˈaŋlaj ɡˈan ɡˈai"]),
        ("no end", "en-us", ["nˈoʊ ˈɛnd"]),
        ("line one\nline two", "en-us", ["lˈaɪn wˈʌn lˈaɪn tˈuː"]),
        ('He said "stop!" and left.', "en-us", ["hiː sˈɛd stˈɑːp!", "ænd lˈɛft."]),
        # Marks of another language are left out.
        ("তুমি hello কোথায়?", "bn", ["tˌumi həlˈəʊ kˈotʰaj?"]),
        ("", "en-us", []),
        ("...", "en-us", []),
    ],
)
def test_phonemes_are_those_that_piper_is_fed_with(library, text, voice, sentences):
    found = library.phonemes(text, voice)
    assert ["".join(each) for each in found] == sentences
    assert all(len(phoneme) == 1 for each in found for phoneme in each)


def test_a_voice_that_is_not_there(library):
    with pytest.raises(SpeechError, match="no voice 'xx-yy'"):
        library.phonemes("a", "xx-yy")
    with pytest.raises(UserError, match="no voice 'xx-yy'"):
        EspeakVoice("espeak-xx-yy", "xx-yy")
    assert library.phonemes("ok", "en-us")


@pytest.mark.parametrize(
    "text", ["", " ", "\0", "a\0b", "\ud800", "[[x", "<b>", "\x1b[0m", "a" * 3000, "🎵 é 語"]
)
def test_any_text_is_spoken(library, text):
    samples, _ = library.synthesise(text, "en-us")
    assert np.isfinite(samples).all()
    assert np.abs(samples).max(initial=0.0) <= 1.0
    library.phonemes(text, "en-us")


@pytest.mark.parametrize("seen", [0, 1, 3])
def test_what_is_given_up_does_not_disturb_the_next(library, seen):
    _, expected = library.synthesise(ENGLISH, "en-us")
    pieces = library.stream(ENGLISH * 3, "en-us")
    for _ in range(seen):
        next(pieces)
    pieces.close()
    _, events = library.synthesise(ENGLISH, "en-us")
    assert [(each.kind, each.begin, each.name) for each in events] == [
        (each.kind, each.begin, each.name) for each in expected
    ]


def test_a_new_process_says_the_same_again(fresh):
    first, second = fresh(), fresh()
    for _ in range(3):
        texts = [(ENGLISH, "en-us"), (BANGLA, "bn")]
        for text, voice in texts:
            np.testing.assert_array_equal(first.synthesise(text, voice)[0], second.synthesise(text, voice)[0])


def test_a_crash_costs_a_sentence(library):
    library.start()
    pieces = library.stream(ENGLISH * 200, "en-us")
    next(pieces)
    os.kill(library._process.pid, signal.SIGKILL)
    with pytest.raises(SpeechError, match="crashed"):
        list(pieces)
    assert len(library.synthesise(ENGLISH, "en-us")[0])


def test_a_death_between_sentences_costs_nothing(library):
    library.start()
    process = library._process
    process.kill()
    process.wait()
    assert len(library.synthesise(ENGLISH, "en-us")[0])


def test_it_can_be_closed_while_it_speaks(fresh):
    library = fresh()
    pieces = library.stream(ENGLISH * 50, "en-us")
    next(pieces)
    process = library._process.pid
    closing = threading.Thread(target=library.close, daemon=True)
    closing.start()
    closing.join(10.0)
    assert not closing.is_alive()
    assert not running(process)
    with pytest.raises(SpeechError):
        list(pieces)
    assert library.phonemes("ok", "en-us")


def test_the_process_ends_with_it():
    made = Espeak()
    made.start()
    process = made._process.pid
    assert running(process)
    made.close()
    made.close()
    assert not running(process)


def test_without_the_library(monkeypatch):
    monkeypatch.setattr(espeak.sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="espeak-ng"):
        Espeak().start()
    # In the process itself:
    monkeypatch.setattr(libespeak, "NAMES", ("libnothing.so.1",))
    with pytest.raises(RuntimeError, match="apt-get install"):
        libespeak.Synthesiser(lambda events, samples: None)


def test_the_voice_tells_the_words_of_a_sentence(fresh):
    voice = EspeakVoice("espeak-en", "en-us")
    spoken = "hello there, my friend."
    words = [Word(3 * n, 3 * n + 2, word, "en") for n, word in enumerate(("hello", "there", "my", "friend"))]
    sentence = Sentence(spoken, 0, len(spoken), spoken, 0.0, 1.0, 1.0, 0.0, words, [])
    chunks = list(voice.speak(sentence))
    marks = [mark for chunk in chunks for mark in chunk.words]
    assert [index for index, _ in marks] == [0, 1, 2, 3]
    whole, events = fresh().synthesise(spoken, "en-us")
    assert [at for _, at in marks] == [event.sample for event in events if event.kind == "word"]
    phones = [phone for chunk in chunks for phone in chunk.phones]
    assert "".join(name for name, _ in phones) == "həloʊðɛɹmaɪfɹɛnd"
    assert [at for _, at in phones] == [event.sample for event in events if event.kind == "phoneme"]
    np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in chunks]), whole)
    slower = sum(len(chunk.samples) for chunk in voice.speak(sentence, length_scale=1.5))
    assert 1.3 < slower / len(whole) < 1.7
    assert voice.cpu > 0
    voice.close()


def quiet(samples, rate):
    """Where, in seconds, no sample is above -40 dB for more than 60 ms: begin and length."""
    width = rate // 100
    still = np.abs(samples[: len(samples) // width * width].reshape(-1, width)).max(axis=1) < 0.01
    edges = np.flatnonzero(np.diff(np.concatenate([[0], still, [0]])))
    return [
        (begin / 100, (end - begin) / 100)
        for begin, end in edges.reshape(-1, 2)
        if end - begin > 6 and begin > 0 and end < len(still)
    ]


def test_bangla_in_english_is_said_as_bangla():
    """Its phones are those of espeak-ng's Bangla, in its place."""
    text = "The word বাংলাদেশ means a country."
    voice, library = EspeakVoice("espeak-en", "en-us"), Espeak()
    (sentence,) = sentences(text, "en")
    chunks = list(voice.speak(sentence))
    starts = [at for chunk in chunks for _, at in chunk.words]
    phones = [phone for chunk in chunks for phone in chunk.phones]
    voice.close()
    _, events = library.synthesise("বাংলাদেশ", "bn")
    library.close()
    assert len(starts) == len(sentence.words) == 6
    heard = [name for name, at in phones if starts[2] <= at < starts[3] and name]
    assert heard == [event.name for event in events if event.kind == "phoneme" and event.name.strip()]
    assert text[sentence.words[2].begin : sentence.words[2].end] == "বাংলাদেশ"


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("আমি আজ computer কিনি।", ["computer"]),
        ("আমি the weather report দেখি।", ["the", "weather", "report"]),
        ("আমার Plan A ভালো, আর WHO বলে।", ["Plan", "A", "WHO"]),
    ],
)
def test_english_in_bangla_is_said_as_english(text, english):
    """Its phones are those of espeak-ng's English, in the sentence, without a gap, each word in its place."""
    voice = EspeakVoice("espeak-bn", "bn")
    (sentence,) = sentences(text, "bn")
    chunks = list(voice.speak(sentence))
    words = [word for chunk in chunks for word in chunk.words]
    phones = [phone for chunk in chunks for phone in chunk.phones]
    samples = np.concatenate([chunk.samples for chunk in chunks])
    rate = voice.rate
    voice.close()
    assert [index for index, _ in words] == list(range(len(sentence.words)))
    library, heard, alone = Espeak(), "", ""
    for (index, begin), (_, end) in zip(words, [*words[1:], (0, len(samples))], strict=True):
        word = sentence.words[index]
        assert (word.language == "en") == (text[word.begin : word.end] in english)
        if word.language == "en":
            heard += "".join(name for name, at in phones if begin <= at < end)
            _, events = library.synthesise({"A": "eh"}.get(word.spoken, word.spoken), "en")
            alone += "".join(event.name for event in events if event.kind == "phoneme")
    assert heard.replace("ɹ", "") == alone.replace("ɹ", "")  # One links words.
    library.close()
    assert quiet(samples, rate) == [each for each in quiet(samples, rate) if "," in text]
