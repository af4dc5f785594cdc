"""Text of any other language, cut into words and marks, and left to the voice as it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engines.speech.words import STRENGTH, Drop, Mark, Token, Word, join, sort_out

MARKS = ".,;:!?…\u0964。！？、，；：؟۔،؛"
LIKE = dict(zip("。！？、，；：؟۔،؛…", [*".!?,,;:?.,;", "..."], strict=True))
"""Marks of other scripts, and those here that mean the same."""
AROUND = "\"'“”‘’«»‹›„()[]{}*_<>|~`¿¡「」『』（）"
"""What stands around words, and is not said."""
SPACE = re.compile(rf"[\s{re.escape(AROUND)}]+")
MARK = re.compile(rf"[{re.escape(MARKS)}]+|[-–—]+(?=\s)")
WORD = re.compile(
    rf"(?:[^\s{re.escape(MARKS + AROUND)}]|(?<=\w)[.,:'’_](?=[^\s{re.escape(MARKS + AROUND)}]))+|(?s:.)"
)
SHORTENED = re.compile(r"[^\W\d_]|\d{1,2}")
"""A letter, or a day, whose full stop ends no sentence: ``z. B.``, ``3. Mai``."""
GOES_ON = re.compile(r"\.\s+(\S)")


def stream(text: str, begin: int = 0, end: int | None = None) -> Iterator[Token | Drop]:
    """Words, as they are written, and marks of ``text[begin:end]``, one by one; nothing is left out."""
    end = len(text) if end is None else end
    mark: Mark | None = None
    at = begin
    while at < end:
        if space := SPACE.match(text, at, end):
            at = space.end()
            continue
        if found := MARK.match(text, at, end):
            said = [LIKE.get(each, each) for each in found[0] if each in MARKS]
            strongest = max(said or [","], key=STRENGTH.index)
            spoken = "..." if found[0].startswith("..") else strongest
            mark = Mark(at if mark is None else mark.begin, found.end(), spoken)
            at = found.end()
            continue
        if mark is not None:
            yield mark
            mark = None
        word = WORD.match(text, at, end)
        assert word is not None  # noqa: S101 - any character is one
        stop = word.end()
        following = GOES_ON.match(text, stop, end)
        if following and (following[1].islower() or SHORTENED.fullmatch(text, at, stop)):
            stop += 1  # The full stop is a part of it.
        yield Word(at, stop, text[at:stop], "")
        at = stop
    if mark is not None:
        yield mark


def normalise(text: str) -> str:
    """Words and marks with single spaces."""
    return join(sort_out(stream(text))[0])


def digits(text: str) -> str:
    """Digits one by one."""
    return " ".join(filter(str.isdecimal, text))


def cardinal(number: int) -> str:
    """A number, in digits."""
    return str(number)


def ordinal(number: int) -> str:
    """The same: each language has its own way to write one."""
    return str(number)


def spell(word: str) -> str:
    """Letters and digits one by one."""
    return " ".join(filter(str.isalnum, word))
