"""English as it is spoken: the cases written from usage, and what must hold for any text."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_cases import cases, texts_of

from engines.speech import english, english_numbers
from engines.speech.bangla_words import LETTER as BENGALI
from engines.speech.folding import canonical
from engines.speech.words import Mark

CASES = cases("english")
WRITTEN = texts_of(CASES)


def test_there_are_cases_enough():
    assert len(CASES) >= 300


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_case(written, spoken):
    assert english.normalise(written) == spoken


@pytest.mark.parametrize("spoken", [spoken for _, spoken in CASES])
def test_what_is_spoken_stays(spoken):
    assert english.normalise(spoken) == spoken


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=60) | WRITTEN)
def test_any_text_becomes_words_and_marks(text):
    spoken = english.normalise(text)
    assert not any(c.isnumeric() for c in spoken)
    others = re.sub(rf"[{BENGALI}][{BENGALI}\u200c\u200d]*", "", spoken)
    assert all(c.isalpha() or c in " ,;:.!?'-" for c in others), spoken
    assert spoken == " ".join(spoken.split())


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(st.characters(codec="ascii"), max_size=40) | st.text(max_size=40))
def test_normalised_text_is_normal(text):
    once = english.normalise(text)
    assert english.normalise(once) == once


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=60) | WRITTEN)
def test_tokens_stand_in_order_and_leave_out_no_letter(text):
    text = canonical(text)
    tokens, dropped = english.read(text)
    at = 0
    read = set()
    for token in tokens:
        assert at <= token.begin < token.end <= len(text)
        assert token.spoken or isinstance(token, Mark)
        at = token.end
        read |= set(range(token.begin, token.end))
    read |= {drop.begin for drop in dropped}
    assert all(i in read for i, c in enumerate(text) if c.isascii() and c.isalnum())


@pytest.mark.parametrize(
    "number", [0, 7, 13, 20, 21, 99, 100, 101, 999, 1000, 1001, 12_345, 10**6, 10**9 + 5]
)
def test_cardinals_add_up(number):
    assert value(english_numbers.cardinal(number)) == number


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 10**18 - 1), st.booleans())
def test_cardinals_are_read_back(number, indian):
    assert value(english_numbers.cardinal(number, indian)) == number


def value(spoken):
    """The number that words stand for: an independent reader."""
    scales = {"thousand": 10**3, "lakh": 10**5, "million": 10**6, "crore": 10**7}
    scales |= {"billion": 10**9, "trillion": 10**12, "quadrillion": 10**15}
    stack = [0]
    for word in spoken.replace("-", " ").split():
        if word == "and":
            continue
        if word in english_numbers.ONES:
            stack.append(english_numbers.ONES.index(word))
        elif word in english_numbers.TENS:
            stack.append(10 * english_numbers.TENS.index(word))
        elif word == "hundred":
            stack.append(100 * stack.pop())
        elif word == "crore":
            stack = [sum(stack) * scales[word]]
        else:
            below = 0
            while len(stack) > 1 and stack[-1] < scales[word]:
                below += stack.pop()
            stack.append(below * scales[word])
    return sum(stack)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 25_000,
        "1" * 25_000,
        "1," * 12_000,
        "1.1." * 6_000,
        "a." * 12_000,
        "A. " * 7_000,
        "a-" * 12_000,
        "a@" * 12_000,
        "http://" * 5_000,
        "(" * 25_000,
        "." * 25_000,
        " " * 25_000,
        "\n" * 25_000,
        "'" * 25_000,
        "e\u0301\u0301" * 7_000,
        "ABC " * 6_000,
        "1/2 " * 6_000,
        "<" * 25_000,
        "ü1" * 12_000,
        "1-" * 12_000,
        "1x" * 12_000,
        "A " * 12_000,
        "THE FOX " * 3_000,
        "1111 " * 5_000,
        "x₂" * 12_000,
        "1.111" * 5_000,
        "9*" * 12_000,
        "1-a-" * 6_000,
    ],
    ids=repr,
)
def test_odd_long_texts_are_read_to_the_end(text):
    tokens, _ = english.read(canonical(text))
    assert not tokens or tokens[-1].end >= len(canonical(text).rstrip()) - 1


def test_characters_close_sentences_with_a_bar():
    assert "".join(english.characters("Hello, Dr. Smith. It's 5!")) == "hello, doctor smith|it's five|"
    assert "".join(english.characters("no end")) == "no end|"
    assert english.characters("") == []
