"""Text cut into sentences that a voice can speak, with where each of their words stands in the source."""

# ruff: noqa: SIM905 - words stand in rows

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import chain
from types import ModuleType

from engines.speech.folding import fold
from engines.speech.markup import Fixed, Piece, pieces
from engines.speech.words import ENDS, SPACE, Drop, Mark, Token, Word, join

__all__ = ["Sentence", "Word", "each_sentence", "sentences"]

FRONTS = {"en": "english", "bn": "bangla"}
"""Modules that read a language, `engines.speech.plain` any other; each is imported when a text needs it."""
BENGALI_WORD = re.compile("[\u0980-\u09f1\u09fc\u09fe\u200c\u200d]+")
"""Digits were folded."""
BENGALI_TOO = "as", "bpy"
"""Other languages in that script that espeak-ng speaks: Assamese, Bishnupriya Manipuri."""
OF_BANGLA = frozenset(
    """
    এর এ ও আর এবং থেকে তে কে টি টা না নেই আছে আছি ছিল হয় হবে হয়েছে করে করি করা করুন করেন করতে করবে দিয়ে দিন নিন
    দেখুন বলে জন্য কি কী কত কেন কোন যে এই সে সেই আমি আমার আমরা আমাদের তুমি আপনি আপনার আপনারা তিনি তারা
    """.split()
)
OF_ENGLISH = frozenset(
    """
    the is are was were am be been means and that this these it you he she we they my your his her their our
    has have had not do does did what how why which who will would can says said
    """.split()
)
"""Words that a sentence of the language has, and one that borrows nouns and phrases has not."""
LOOKED_AT = 4096
"""Characters that tell the language of a text."""
ASIDE = re.compile(r"<[^<>]*>|\w+://\S+|www\.\S+|\S+@\S+")
"""Tags and addresses, which do not."""
PAUSE = 0.35
"""Seconds after a sentence or a line."""
PARAGRAPH = 0.7
"""Seconds after a paragraph."""
LONG, LONGEST = 300, 600
"""Characters that are spoken: beyond `LONG` a sentence is cut at the next mark, at `LONGEST` at any word."""
FULL_STOPS = frozenset({".", "।"})
NAMED = 8
"""Of what is left out of a sentence, named at most."""
SHOWN = 40
"""Characters of it at most."""
CLOSING = re.compile(r"[\"'”’»)\]}]*")
BULLET = re.compile(r"(?:[-*•·–—]|\(?\d{1,3}[.)]|\(?[a-z]\)|#{1,6})\s")
LABEL = re.compile(r"\d+|[A-HJ-Z\u0985-\u09b9]")
"""Of an item of a list, before a full stop."""
PARAGRAPHS = re.compile(r"\n[^\S\n]*\n\s*")
NEWLINE = re.compile(r"\n\s*")
SHORT_LINE = 60
"""Characters: a shorter line, not of Bangla, is a line of its own, unless the next goes on in lower case."""


@dataclass(frozen=True)
class Sentence:
    """What a voice speaks in one go.

    Attributes
    ----------
    text : str
        As written, tags inside included.
    begin, end : int
        Codepoints of the source.
    spoken : str
        Plain words and punctuation; empty where there is only a pause, or only what nobody can read.
    pause : float
        Seconds of silence after it.
    rate, pitch : float
        Factors.
    gain_db : float
        dB.
    words : list of Word
        In order, apart from each other.
    notes : list of str
        What was read in another way than it is written.
    left_out : list of str
        What nobody reads, in words.
    """

    text: str
    begin: int
    end: int
    spoken: str
    pause: float
    rate: float = 1.0
    pitch: float = 1.0
    gain_db: float = 0.0
    words: list[Word] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def sentences(text: str, language: str) -> list[Sentence]:
    """Cut a text, plain or SSML, into sentences and normalise them.

    Parameters
    ----------
    text : str
        Any text.
    language : str
        Of the text: ``"en"``, ``"bn"``, or any other, whose words are left as they are written. English words
        inside of Bangla are marked.

    Returns
    -------
    list of Sentence
        In order, apart from each other; empty when there is nothing to say.

    No text raises.
    """
    return list(each_sentence(text, language))


def language_of(text: str, spoken: str = "") -> str:
    """The language that a text is to be read in where nobody says: Bangla or that of the voice.

    Among its first `LOOKED_AT` characters, tags and addresses aside, most letters are Bengali, or there are
    words `OF_BANGLA` and none `OF_ENGLISH` and the voice speaks one of these: then it is Bangla.

    Parameters
    ----------
    text : str
        Any text.
    spoken : str
        What the voice speaks; empty: it is chosen by the answer, which is English then.
    """
    seen = fold(ASIDE.sub("", text[:LOOKED_AT]))[0]
    words = BENGALI_WORD.findall(seen)
    if not words or spoken in BENGALI_TOO:
        return spoken or "en"
    most = 2 * sum(map(str.isalpha, "".join(words))) > sum(map(str.isalpha, seen))
    latin = [word.lower() for word in re.findall("[A-Za-z]+", seen) if not word.isupper()]
    built = not OF_BANGLA.isdisjoint(words) and OF_ENGLISH.isdisjoint(latin)
    return "bn" if most or (built and spoken in {"", *FRONTS}) else spoken or "en"


def each_sentence(text: str, language: str) -> Iterator[Sentence]:
    """The same as `sentences`, one by one: the first of a long text is there at once."""
    last: Sentence | None = None
    """Held back: a pause may follow it."""
    end = 0
    for piece in pieces(text, language in FRONTS):
        end = piece.ends[-1] if len(piece.ends) else end
        cut = _sentences(text, piece, language)
        if piece.notes:
            first = next(cut, None) or Sentence("", end, end, "", 0.0)
            first.notes[:0] = piece.notes
            cut = chain([first], cut)
        for sentence in cut:
            if last is not None:
                yield last
            last = sentence
        if piece.pause and last is not None:
            last = replace(last, pause=last.pause + piece.pause)
        elif piece.pause:
            last = Sentence("", end, end, "", piece.pause)
    if last is not None:
        yield last


def _sentences(source: str, piece: Piece, language: str) -> Iterator[Sentence]:
    text, begins, ends = fold(piece.text, wide=language in FRONTS)
    fixed = _within(piece.fixed, begins)

    def place(begin: int, end: int) -> tuple[int, int]:
        return piece.begins[begins[begin]], piece.ends[ends[end - 1] - 1]

    for begin, end, pause in _blocks(text, language):
        block = text[begin:end]  # What stands before and behind it does not count.
        within = [
            replace(f, begin=f.begin - begin, end=f.end - begin)
            for f in fixed
            if begin <= f.begin and f.end <= end
        ]
        last = pause if piece.closed or end < len(text) else 0.0
        for part, dropped, left, right, silence in _cut(block, _read(block, within, language), last):
            words = [token for token in part if isinstance(token, Word)]
            if not words and not dropped:
                continue
            start, stop = place(begin + left, begin + right)
            yield Sentence(
                source[start:stop],
                start,
                stop,
                join(part) if words else "",
                silence if words else 0.0,
                piece.style.rate,
                piece.style.pitch,
                piece.style.gain_db,
                [
                    Word(*place(begin + word.begin, begin + word.end), word.spoken, word.language)
                    for word in words
                ],
                left_out=_named(dropped),
            )


def _within(fixed: list[Fixed], begins: Sequence[int]) -> list[Fixed]:
    """The same stretches in folded text."""
    moved = [replace(f, begin=bisect_left(begins, f.begin), end=bisect_left(begins, f.end)) for f in fixed]
    return [f for f in moved if f.begin < f.end]


def _blocks(text: str, language: str) -> Iterator[tuple[int, int, float]]:
    """Begin, end and the pause behind each stretch that no sentence goes beyond: a paragraph, a line."""
    at = 0
    for separator in [*PARAGRAPHS.finditer(text), None]:
        end = separator.start() if separator else len(text)
        yield from _lines(text, at, end, language)
        at = separator.end() if separator else end


def _lines(text: str, begin: int, end: int, language: str) -> Iterator[tuple[int, int, float]]:
    line = begin
    for match in NEWLINE.finditer(text, begin, end):
        following = text[match.end() : match.end() + 1]
        goes_on = match.start() - line > SHORT_LINE or following.islower()
        if language != "bn" and goes_on and not BULLET.match(text, match.end()):
            continue
        yield begin, match.start(), PAUSE
        begin = line = match.end()
    yield begin, end, PAUSE if end == len(text) else PARAGRAPH


def _read(block: str, fixed: list[Fixed], language: str) -> Iterator[Token | Drop]:
    """Words and marks of a block, one by one; what the author has fixed is spoken as he says."""
    front = import_module(f"engines.speech.{FRONTS.get(language, 'plain')}")
    begin = 0
    for part in [*fixed, None]:
        yield from front.stream(block, begin, part.begin if part else None)
        if part is None:
            break
        spoken = _fixed(part, block[part.begin : part.end], front)
        if spoken:
            yield Word(part.begin, part.end, spoken, language)
        begin = part.end


def _fixed(part: Fixed, written: str, front: ModuleType) -> str:
    number = re.fullmatch(r"\s*(\d{1,9})\D*", written)
    if part.how == "alias":
        return str(front.normalise(part.alias))
    if part.date:
        return str(front.date(*part.date))
    if part.how in {"digits", "telephone"}:
        return str(front.digits(written))
    if part.how == "ordinal" and number:
        return str(front.ordinal(int(number[1])))
    if part.how in {"cardinal", "number"} and number:
        return str(front.cardinal(int(number[1])))
    spelled = part.how in {"characters", "spell-out", "verbatim"}
    return str(front.spell(written) if spelled else front.normalise(written))


def _cut(
    text: str, found: Iterator[Token | Drop], pause: float
) -> Iterator[tuple[list[Token], list[Drop], int, int, float]]:
    """Tokens, what nobody reads, begin, end and pause of each sentence of a block, as soon as it is read."""
    part: list[Token] = []
    dropped: list[Drop] = []
    spoken = 0
    begin = _skip(text, 0, len(text))
    for following in found:
        if isinstance(following, Drop):
            dropped.append(following)
            continue
        if not part:
            part = [following]
            spoken = len(following.spoken) + 1
            continue
        token = part[-1]
        mark = isinstance(token, Mark)
        ended = mark and token.spoken in ENDS and not _goes_on(text, part, following)
        if mark and not ended and token.spoken in FULL_STOPS:
            part[-1] = token._replace(spoken=",")
        if ended or (mark and spoken > LONG) or (spoken > LONGEST and not isinstance(following, Mark)):
            right = max(token.end, CLOSING.match(text, token.end, following.begin).end())  # type: ignore[union-attr]
            before = [drop for drop in dropped if drop.begin < right]
            yield part, before, begin, right, PAUSE if ended else 0.0
            begin = _skip(text, right, following.begin)
            part, spoken = [], 0
            del dropped[: len(before)]
        part.append(following)
        spoken += len(following.spoken) + 1
    right = len(text.rstrip())
    if begin < right:
        ended = bool(part) and part[-1].spoken in ENDS
        yield part, dropped, begin, right, max(pause, PAUSE) if ended else pause


def _skip(text: str, begin: int, end: int) -> int:
    """Where the space that begins at `begin` ends."""
    space = SPACE.match(text, begin, end)
    return space.end() if space else begin


def _goes_on(text: str, part: list[Token], following: Token) -> bool:
    """Whether a sentence goes on behind its last mark.

    "Stop!" he said; well... fine; 1. in a list; the full stop of an abbreviation, before a small letter. Who
    begins sentences with small letters ends them all the same, and names such as iPhone begin some.
    """
    mark = part[-1]
    label = len(part) == 2 and LABEL.fullmatch(text, part[0].begin, part[0].end)
    if label and mark.spoken in FULL_STOPS and "\n" not in text[mark.end : following.begin]:
        return True
    if mark.spoken == "." and text[following.begin].islower():
        name = any(c.isupper() for c in text[following.begin : following.end])
        return not (name or text[part[0].begin].islower())
    quoted = any(quote in text[mark.end - 1 : following.begin] for quote in "\"'”’»")
    return (mark.spoken == "..." or (quoted and mark.spoken in "!?")) and not text[following.begin].isupper()


def _named(dropped: Iterable[Drop]) -> list[str]:
    """What is left out, neighbours together."""
    runs: list[str] = []
    end = -1
    for drop in dropped:
        if drop.begin == end:
            runs[-1] += drop.character
        else:
            runs.append(drop.character)
        end = drop.begin + 1
    runs = list(dict.fromkeys(runs))
    named = [f"left out {run[:SHOWN]!r}" + _code(run) for run in runs[:NAMED]]
    if len(runs) > NAMED:
        named.append(f"left out {len(runs) - NAMED} more")
    return named


def _code(run: str) -> str:
    """What follows a character's name, or the beginning of a longer run."""
    return f" (U+{ord(run):04X})" if len(run) == 1 else " ..." if len(run) > SHOWN else ""
