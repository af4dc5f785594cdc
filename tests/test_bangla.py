"""Bangla as it is spoken: the cases written from usage, and what must hold for any text."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_cases import cases, texts_of

from engines.speech import bangla
from engines.speech.bangla_words import NUMBERS
from engines.speech.folding import canonical
from engines.speech.words import Mark

CASES = cases("bangla")
BANGLA = st.text(
    st.characters(min_codepoint=0x0980, max_codepoint=0x09FF) | st.sampled_from(" -,.:/।\u200c\u200dA5")
)
WRITTEN = texts_of(CASES)


def test_there_are_cases_enough():
    assert len(CASES) >= 300


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_case(written, spoken):
    assert bangla.normalise(written) == unicodedata.normalize("NFC", spoken)


@pytest.mark.parametrize("written", [written for written, _ in CASES])
def test_the_way_of_encoding_does_not_matter(written):
    assert bangla.normalise(unicodedata.normalize("NFD", written)) == bangla.normalise(written)


@pytest.mark.parametrize("spoken", [spoken for _, spoken in CASES])
def test_what_is_spoken_stays(spoken):
    assert bangla.normalise(spoken) == unicodedata.normalize("NFC", spoken)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=60) | BANGLA | WRITTEN)
def test_any_text_becomes_words_and_marks(text):
    spoken = bangla.normalise(text)
    assert not any(c.isnumeric() for c in spoken)
    kinds = {unicodedata.category(c) for c in spoken if c not in " ,;:.।!?'-\u200c\u200d"}
    assert kinds <= {"Lo", "Mn", "Mc", "Lu", "Ll"}, spoken
    assert spoken == " ".join(spoken.split())
    assert unicodedata.is_normalized("NFC", spoken)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=40) | BANGLA)
def test_normalised_text_is_normal(text):
    once = bangla.normalise(text)
    assert bangla.normalise(once) == once


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=60) | BANGLA | WRITTEN)
def test_tokens_stand_in_order_and_leave_out_no_letter(text):
    text = canonical(text)
    tokens, dropped = bangla.read(text)
    at = 0
    read = set()
    for token in tokens:
        assert at <= token.begin < token.end <= len(text)
        assert token.spoken or isinstance(token, Mark)
        at = token.end
        read |= set(range(token.begin, token.end))
    read |= {drop.begin for drop in dropped}
    assert all(
        i in read for i, c in enumerate(text) if "\u0985" <= c <= "\u09b9" or (c.isascii() and c.isalnum())
    )


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 10**18 - 1))
def test_cardinals_are_read_back(number):
    assert value(bangla.cardinal(number)) == number


def value(spoken):
    """The number that words stand for: an independent reader."""
    scales = {"হাজার": 10**3, "লাখ": 10**5, "কোটি": 10**7}
    stack = [0]
    for word in spoken.split():
        if word in NUMBERS:
            stack.append(NUMBERS.index(word))
        elif word.endswith("শো"):
            stack.append(100 * NUMBERS.index(word.removesuffix("শো")))
        elif word == "কোটি":
            stack = [sum(stack) * scales[word]]
        else:
            below = 0
            while len(stack) > 1 and stack[-1] < scales[word]:
                below += stack.pop()
            stack.append(below * scales[word])
    return sum(stack)


def test_english_words_are_marked():
    tokens, _ = bangla.read("আমি Facebook আর BBC দেখি, ১৬GB")
    assert [(token.spoken, token.language) for token in tokens if not isinstance(token, Mark)] == [
        ("আমি", "bn"),
        ("Facebook", "en"),
        ("আর", "bn"),
        ("B B C", "en"),
        ("দেখি", "bn"),
        ("ষোলো গিগাবাইট", "bn"),
    ]


def test_joiners_stay_where_they_mean_something():
    ra_ya = "\u09b0\u200d\u09cd\u09af\u09be\u09ac"
    assert bangla.normalise(ra_ya) == ra_ya
    assert bangla.normalise("\u0995\u200d\u09be\u09b2") == "\u0995\u09be\u09b2"
    assert bangla.normalise("\u09b9\u09a0\u09be\u09a4\u09cd\u200d") == "\u09b9\u09a0\u09be\u09ce"


@pytest.mark.parametrize(
    "text",
    [
        "ক" * 25_000,
        "ক-" * 12_000,
        "এ." * 12_000,
        "১" * 25_000,
        "১," * 12_000,
        "১ম-" * 7_000,
        "ড." * 12_000,
        "ক\u200d" * 12_000,
        "৳" * 25_000,
        "\u09bc" * 25_000,
        "১-" * 12_000,
        "১.৩০ " * 5_000,
        "৫শ " * 8_000,
        "৯৯৯ এ " * 4_000,
        "ক/" * 12_000,
        "জা." * 8_000,
        "১১১১ " * 5_000,
    ],
    ids=repr,
)
def test_odd_long_texts_are_read_to_the_end(text):
    tokens, dropped = bangla.read(canonical(text))
    last = max([token.end for token in tokens[-1:]] + [drop.begin + 1 for drop in dropped[-1:]])
    assert last >= len(canonical(text)) - 1


def test_characters_close_sentences_with_a_bar():
    nfc = unicodedata.normalize("NFC", "কেমন আছেন|পাঁচটি হাঁড়ি, ভালো|")
    assert "".join(bangla.characters("কেমন আছেন? ৫টি হাঁড়ি, ভালো।")) == nfc
    assert "\u09dc" not in nfc
    assert bangla.characters("") == []
