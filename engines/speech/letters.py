"""The letter A, for espeak-ng, which takes any that stands alone for the article."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from engines.speech.voice import word_places

if TYPE_CHECKING:
    from engines.speech.text import Sentence

NAME = "eh"
"""What espeak-ng's English voices read as the letter's name."""
ALONE = re.compile(r"(?<![\w'])A(?![\w'])")


def name_letters(sentence: Sentence) -> Sentence:
    """A sentence of English with `NAME` for every A that is a letter's name: that of A M, A four, Plan A.

    One is that is spelled with others in one word, stands beside another capital, or behind a word of the
    same clause without a capitalised word to follow: "the story of A Man" is a title, "A plan" begins a
    sentence.
    """
    if not ALONE.search(sentence.spoken):
        return sentence
    words, places = sentence.words, word_places(sentence)
    spoken, made, end = "", [], 0
    for number, (word, place) in enumerate(zip(words, places, strict=True)):
        said = word.spoken
        if " " in said or (said == "A" and _is_letter(sentence, number)):
            said = ALONE.sub(NAME, said)
        spoken += sentence.spoken[end:place] + said
        end = place + len(word.spoken)
        made.append(word._replace(spoken=said))
    return replace(sentence, spoken=spoken + sentence.spoken[end:], words=made)


def _is_letter(sentence: Sentence, number: int) -> bool:
    """Whether the word of that number, which is an A, is no article."""
    words = sentence.words
    before = words[number - 1].spoken.split() if number else []
    after = words[number + 1].spoken.split() if number + 1 < len(words) else []
    if any(len(each) == 1 and each.isupper() and each != "I" for each in before[-1:] + after[:1]):
        return True
    return number > 0 and _touch(sentence, number) and not (after and after[0][0].isupper())


def _touch(sentence: Sentence, number: int) -> bool:
    """Whether nothing but space stands between a word and the one before it."""
    left, right = list(pairwise(sentence.words))[number - 1]
    between = sentence.text[left.end - sentence.begin : right.begin - sentence.begin]
    return between.isspace()
