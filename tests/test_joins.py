"""Words that espeak-ng says as one, and where each of them begins."""

import itertools

import pytest
import tiny_voices
from hypothesis import given
from hypothesis import strategies as st
from tiny_voices import HOP, IDS, PER_ID

from engines.speech import libespeak
from engines.speech.espeak import Espeak
from engines.speech.joins import split_joined
from engines.speech.piper import PiperVoice
from engines.speech.text import sentences

needs_espeak = pytest.mark.skipif(libespeak.load() is None, reason="needs espeak-ng")

JOINED = "He was one of the best in the world, and it would have been the end of a story. Get out of it!"
SPOKEN = "hiː wʌz wˈʌn ʌv ðə bˈɛst ɪn ðə wˈɜːld, ænd ɪt wʊd hɐv bˌɪn ðɪ ˈɛnd əv ə stˈoːɹi. ɡˈɛt ˌaʊɾ əv ɪt!"
SAID = SPOKEN.split()
"""Of each word, as espeak-ng 1.51 says it there, told apart by ear."""


def test_of_words_said_as_one():
    assert split_joined("ʌvðə", ["ʌv", "ðə"]) == [0, 2]
    assert split_joined("əvə", ["ʌv", "ˈeɪ"]) == [0, 2]
    assert split_joined("ˌaʊɾˈəv", ["ˈaʊt", "ʌv"]) == [0, 4]
    assert split_joined("ab", ["ab"]) == [0]
    assert split_joined("", ["ab", "c"]) == [0, 0]
    assert split_joined("ab", []) == []


@given(st.lists(st.text(alphabet="abcdef", min_size=1, max_size=4), min_size=1, max_size=6))
def test_words_that_are_said_as_alone_are_found(words):
    begins = [0, *itertools.accumulate(map(len, words))][: len(words)]
    assert split_joined("".join(words), words) == begins


@needs_espeak
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (JOINED, SAID),
        # So long that espeak-ng divides it where no mark is.
        ("wonderful things happen " * 40, ["wˈʌndɚfəl", "θˈɪŋz", "hˈæpən"] * 40),
    ],
)
def test_every_word_has_its_phonemes(text, said):
    library = Espeak()
    found = library.placed_phonemes(text, "en-us")
    assert [part for part, _ in found] == library.phonemes(text, "en-us")
    library.close()
    heard = [
        "".join(part[begin:end]).strip()
        for part, placed in found
        for begin, end in itertools.pairwise([*(at for _, at in placed), len(part)])
    ]
    assert [number for _, placed in found for number, _ in placed] == list(range(len(said)))
    assert [word.replace("ɾ", "t") for word in heard] == [word.replace("ɾ", "t") for word in said]


@needs_espeak
def test_a_voice_that_tells_frames_has_words_where_they_sound(tmp_path):
    """The frames of the voice are as long for every id; its samples tell which id sounds."""
    voice = PiperVoice(tiny_voices.telling(tmp_path, frames=True), "told")
    (sentence,) = sentences(JOINED.partition(".")[0] + ".", "en")
    marks = [mark for chunk in voice.speak(sentence) for mark in chunk.words]
    voice.close()
    assert [index for index, _ in marks] == list(range(len(sentence.words)))
    known, at = [], 2
    for word in SAID[: len(marks)]:
        known.append(at)
        at += 2 * sum(letter in IDS for letter in word)
        following = known[-1:] and len(known) < len(marks)
        joined = following and (word, SAID[len(known)]) in {
            ("ʌv", "ðə"), ("ɪn", "ðə"), ("wʊd", "hɐv"), ("əv", "ə"),
        }  # fmt: skip
        at += 0 if joined else 2
    assert [round(at / (PER_ID * HOP)) for _, at in marks] == [0, *known[1:]]


@needs_espeak
def test_bangla_words_have_their_place_too(tmp_path):
    library = Espeak()
    text = "বাড়ি যায় না, hello আমি বাংলায় গান গাই।"
    ((part, placed),) = library.placed_phonemes(text, "bn")
    library.close()
    begins = [at for _, at in placed]
    assert [number for number, _ in placed] == list(range(len(text.split())))
    words = ["".join(part[begin:end]).strip(" ,") for begin, end in itertools.pairwise([*begins, len(part)])]
    assert words[3] == "həlˈəʊ"
    assert [word.strip("ˈˌ")[0] for word in words] == list("bdnhabɡɡ")
