"""The letter A as espeak-ng is to read it: by its name where it is a letter, and else as the article."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("engines.speech.text")

from engines.speech import libespeak
from engines.speech.espeak import Espeak, EspeakVoice
from engines.speech.letters import name_letters
from engines.speech.text import sentences
from engines.speech.voice import word_places

needs_espeak = pytest.mark.skipif(libespeak.load() is None, reason="needs espeak-ng")

LETTERS = [
    ("It is 8 AM.", "It is eight eh M."),
    ("F A Q", "F eh Q"),
    ("A B C", "eh B C"),
    ("U.S.A. is big", "U S eh is big"),
    ("AC/DC and A4 paper", "eh C D C and eh four paper"),
    ("Plan A is good.", "Plan eh is good."),
    ("Vitamin A, please", "Vitamin eh, please"),
    ("It is grade A.", "It is grade eh."),
]
ARTICLES = [
    "A plan.",
    "A or B?",
    "He said: A man came.",
    'He shouted "A man!"',
    "The story of A Man",
    "a plan, a map",
    "Anna's bananas",
]


def only(text):
    (found,) = sentences(text, "en")
    return found


@pytest.mark.parametrize(("text", "spoken"), LETTERS)
def test_letters_are_named(text, spoken):
    assert name_letters(only(text)).spoken == spoken


@pytest.mark.parametrize("text", ARTICLES)
def test_articles_stay(text):
    assert name_letters(only(text)) == only(text)


@given(
    st.lists(
        st.sampled_from(["A", "a", "AM", "B", "plan", "A4", "I", "The", ",", ":", '"', "5"]), max_size=12
    )
)
def test_words_are_where_they_were(pieces):
    for sentence in sentences(" ".join(pieces), "en"):
        named = name_letters(sentence)
        assert [word[:2] for word in named.words] == [word[:2] for word in sentence.words]
        assert [len(word.spoken.split()) for word in named.words] == [
            len(word.spoken.split()) for word in sentence.words
        ]
        for word, place in zip(named.words, word_places(named), strict=True):
            assert named.spoken[place:].startswith(word.spoken)
        assert named.spoken.replace("eh", "A") == sentence.spoken


@needs_espeak
@pytest.mark.parametrize("variety", ["en-us", "en"])
def test_espeak_reads_the_name_of_the_letter(variety):
    espeak = Espeak()
    for text, _ in LETTERS:
        sounds = "".join("".join(part) for part in espeak.phonemes(name_letters(only(text)).spoken, variety))
        assert "eɪ" in sounds.replace("pleɪs", "")
        assert not {"ɐ", "a"} & set(sounds.split())
    espeak.close()


@needs_espeak
def test_the_voice_reads_them_so():
    voice, plain = EspeakVoice("espeak-en", "en-us"), Espeak()
    chunks = list(voice.speak(only("A M, A M")))
    samples, _ = plain.synthesise("eh M, eh M", "en-us")
    assert sum(len(chunk.samples) for chunk in chunks) == len(samples)
    assert [word for chunk in chunks for word, _ in chunk.words] == [0, 1, 2, 3]
    voice.close()
    plain.close()
