"""What a text front end makes of a text: words and marks, found by a table of rules tried in order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

STRENGTH = ("", ",", ";", ":", "...", ".", "।", "!", "?")
"""Marks, the weakest first: of neighbours the strongest is kept."""
ENDS = frozenset({"...", ".", "।", "!", "?"})
"""Marks that can end a sentence."""
SPACE = re.compile(r"\s+")


class Word(NamedTuple):
    """A stretch of the source, and what is spoken for it.

    Attributes
    ----------
    begin, end : int
        Codepoints of the source.
    spoken : str
        Plain words, never empty; a number read in groups has commas inside.
    language : str
        ``"en"`` or ``"bn"``: the voice that can speak it; empty: of the text's language, which is another.
    """

    begin: int
    end: int
    spoken: str
    language: str


class Mark(NamedTuple):
    """Punctuation between words; ``spoken`` is one of `STRENGTH`."""

    begin: int
    end: int
    spoken: str


class Drop(NamedTuple):
    """A character that nobody reads, and where it stands."""

    begin: int
    character: str


Token = Word | Mark
Reading = str | Word | Mark | None
"""What a rule says: the words of its whole match, a token, ``""`` for silence, or None: it does not apply."""


class Rule(NamedTuple):
    """A pattern, and what to say where it matches."""

    pattern: re.Pattern[str]
    read: Callable[[re.Match[str]], Reading]


class Scanner(NamedTuple):
    """The rules of a language.

    Attributes
    ----------
    language : str
        Of the words that rules read as plain strings.
    plain : re.Pattern
        A word that no rule is needed for, as group 1; space may precede it.
    kind : callable
        Sorts a character into a key of `rules`.
    rules : mapping
        Kind of the first character -> rules, tried in order.
    """

    language: str
    plain: re.Pattern[str]
    kind: Callable[[str], str]
    rules: Mapping[str, Sequence[Rule]]

    def stream(self, text: str, begin: int = 0, end: int | None = None) -> Iterator[Token | Drop]:
        """Read ``text[begin:end]``; patterns may look behind `begin`, never beyond `end`.

        Yields
        ------
        Words and marks, in order, never two marks in a row, as soon as they are read; and, before the next
        word, what no rule reads.
        """
        end = len(text) if end is None else end
        mark: Mark | None = None
        """The last token, if it is one: what follows may be a part of it."""
        at = begin
        while at < end:
            match = self.plain.match(text, at, end)
            if match:
                if mark is not None:
                    yield mark
                mark = None
                yield Word(match.start(1), match.end(1), match[1], self.language)
                at = match.end()
                continue
            match = SPACE.match(text, at, end)
            if match:
                at = match.end()
                continue
            for pattern, read in self.rules[self.kind(text[at])]:
                match = pattern.match(text, at, end)
                reading = None if match is None else read(match)
                if match is None or reading is None:
                    continue
                if isinstance(reading, str) and not reading:
                    at = match.end()
                    break
                if isinstance(reading, str):
                    reading = Word(at, match.end(), reading, self.language)
                at = reading.end
                if isinstance(reading, Mark):
                    mark = reading if mark is None else _both(mark, reading)
                    break
                if mark is not None:
                    yield mark
                mark = None
                yield reading
                break
            else:
                yield Drop(at, text[at])
                at += 1
        if mark is not None:
            yield mark


def _both(first: Mark, second: Mark) -> Mark:
    return Mark(first.begin, second.end, max(first.spoken, second.spoken, key=STRENGTH.index))


def sort_out(stream: Iterable[Token | Drop]) -> tuple[list[Token], list[Drop]]:
    """Words and marks of a stream; and what nobody reads."""
    tokens: list[Token] = []
    dropped: list[Drop] = []
    for each in stream:
        if isinstance(each, Drop):
            dropped.append(each)
        else:
            tokens.append(each)
    return tokens, dropped


def join(tokens: Iterable[Token]) -> str:
    """What is spoken for tokens: words with single spaces, a mark only after a word, no comma at the end."""
    pieces: list[str] = []
    for token in tokens:
        if isinstance(token, Mark):
            if pieces:
                pieces.append(token.spoken)
        else:
            if pieces:
                pieces.append(" ")
            pieces.append(token.spoken)
    return "".join(pieces).rstrip(",")
