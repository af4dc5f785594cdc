"""SSML taken apart: the characters to be read, where each stands in the source, and how to say them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import accumulate

from engines.speech.english_numbers import full_year

LONGEST_BREAK = 10.0
"""Seconds; a longer ``<break>`` is cut to this."""
STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.2}
"""Of a ``<break>``: seconds."""
RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.6}
PITCHES = {"x-low": 0.7, "low": 0.85, "medium": 1.0, "default": 1.0, "high": 1.15, "x-high": 1.3}
VOLUMES = {
    "silent": -100.0,
    "x-soft": -12.0,
    "soft": -6.0,
    "medium": 0.0,
    "default": 0.0,
    "loud": 6.0,
    "x-loud": 12.0,
}
"""Of ``<prosody>``: dB."""
SPOKEN = {"characters", "spell-out", "verbatim", "digits", "telephone", "ordinal", "cardinal", "number"}
"""The kinds of ``<say-as>`` that change what is said, as a date with a format does; dates without one, times
and the like are read as they stand."""
DATE = re.compile(r"date(?:[:_](\w+))?")
FORMATS = frozenset({"mdy", "dmy", "ymd", "ydm", "md", "dm", "ym", "my", "d", "m", "y"})
"""Of a date: the order of day, month and year."""
WIDTHS = {"d": 2, "m": 2, "y": 4}
"""Digits, where nothing stands between them."""
ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
KNOWN = re.compile(
    r"</?(?:speak|break|prosody|p|s|sub|say-as|emphasis|voice|phoneme|audio|mark|lang|w|token)(?:\s[^<>]{0,500})?/?>"
)
DECLARATION = re.compile(r"<!(?i:DOCTYPE)(?:\s[^<>\[\]]{0,1000})?>")
"""Of a document, without anything declared in it."""
UNREAD = {"<!--": "-->", "<?": "?>"}
"""What is passed over, and how it ends."""
CDATA = "<![CDATA[", "]]>"
BARE = "an & that begins no entity is read as it stands: in SSML it is &amp;"
NAMED = re.compile(r"&#?\w{1,40};")
SHOWN = re.compile(r"<[^<>\n]{0,60}>|<[^<>\s]{0,60}")
"""Of what is no tag, in a message: all, or its first word."""
TAG = re.compile(
    r"<(/?)([A-Za-z][\w:.-]{0,60})((?:\s{1,9}[\w:.-]{1,60}\s?=\s?(?:\"[^\"<]{0,500}\"|'[^'<]{0,500}')){0,20})\s{0,9}(/?)>"
)
ATTRIBUTE = re.compile(r"([\w:.-]+)\s?=\s?(?:\"([^\"]*)\"|'([^']*)')")
ENTITY = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#(\d{1,7})|#x([0-9A-Fa-f]{1,6}));")
SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True)
class Style:
    """How to say something.

    Attributes
    ----------
    rate, pitch : float
        Factors, 0.25 to 4 and 0.5 to 2.
    gain_db : float
        dB, -100 to 12.
    """

    rate: float = 1.0
    pitch: float = 1.0
    gain_db: float = 0.0


@dataclass(frozen=True)
class Fixed:
    """A stretch of a piece whose reading the author gives: by an alias, or by a kind of ``<say-as>``."""

    begin: int
    end: int
    how: str
    alias: str = ""
    date: tuple[int, int, int, bool] | tuple[()] = ()
    """Day, month and year, each 0 where there is none, and whether the month comes before the day."""


@dataclass
class Piece:
    """Characters that are said in one style, with no break between them.

    Attributes
    ----------
    text : str
        What is to be read.
    begins, ends : sequence of int
        Of every character: the codepoints of the source that it stands for.
    fixed : list of Fixed
        In order, apart from each other.
    pause : float
        Seconds of silence that a ``<break>`` or a paragraph asks for behind it.
    closed : bool
        Whether a sentence ends with it.
    notes : list of str
        What was read through.
    """

    style: Style
    text: str = ""
    begins: Sequence[int] = ()
    ends: Sequence[int] = ()
    fixed: list[Fixed] = field(default_factory=list)
    pause: float = 0.0
    closed: bool = False
    notes: list[str] = field(default_factory=list)


class BrokenError(Exception):
    """The markup is not well-formed, or declares what is not read."""


def pieces(source: str, dated: bool = True) -> list[Piece]:
    """Take a text apart; text without tags of SSML is one piece.

    Broken markup is read as plain text in one style, without its tags, and noted; an ``&`` that begins no
    entity is itself, and noted. Nothing outside of the source is read, and no entities but XML's five and
    numbered characters are expanded. ``dated`` is whether dates can be said in words.
    """
    if not (KNOWN.search(source) or _has_element(source)):
        whole = Piece(Style(), source, range(len(source)), range(1, len(source) + 1), closed=True)
        return [whole]
    try:
        return _Reader(source, dated).read()
    except BrokenError as broken:
        reader = _Reader(source)
        reader.notes.append(f"broken SSML, read as plain text: {broken}")
        return [reader.plain()]


def _has_element(source: str) -> bool:
    """Whether there is a tag, of any name, and one behind it that closes it."""
    begun: set[str] = set()
    for match in TAG.finditer(source):
        if match[1] and match[2] in begun:
            return True
        if not match[1] and not match[4]:
            begun.add(match[2])
    return False


class _Reader:
    """One pass over a source."""

    def __init__(self, source: str, dated: bool = True) -> None:
        self.source, self.dated = source, dated
        self.characters: list[str] = []
        self.begins: list[int] = []
        self.ends: list[int] = []
        self.fixed: list[Fixed] = []
        self.notes: list[str] = []
        self.found: list[Piece] = []
        self.styles = [Style()]
        self.open: list[tuple[str, int, dict[str, str]]] = []
        self.closed_at = -1
        """Where the last element ends."""
        self.lasts = {closing: source.rfind(closing) for closing in UNREAD.values()}

    def read(self) -> list[Piece]:
        at = 0
        for match in re.finditer("[<&]", self.source):
            if match.start() < at:
                continue
            self._take(at, match.start())
            at = self._entity(match.start()) if match[0] == "&" else self._tag(match.start())
        self._take(at, len(self.source))
        if self.open:
            raise BrokenError(f"<{self.open[-1][0]}> is not closed")
        self._close(closed=True)
        return self.found

    def plain(self) -> Piece:
        at = 0
        for match in re.finditer("<", self.source):
            if match.start() < at:
                continue
            with suppress(BrokenError):
                tag = TAG.match(self.source, match.start())
                end = tag.end() if tag else self._passed_over(match.start())
                if end:
                    self._take(at, match.start())
                    at = end
        self._take(at, len(self.source))
        self._close(closed=True)
        return self.found[0]

    def _take(self, begin: int, end: int) -> None:
        self.characters += self.source[begin:end]
        self.begins += range(begin, end)
        self.ends += range(begin + 1, end + 1)

    def _close(self, pause: float = 0.0, closed: bool = False) -> None:
        """End the piece that is being read."""
        self.found.append(
            Piece(
                self.styles[-1],
                "".join(self.characters),
                self.begins,
                self.ends,
                self.fixed,
                pause,
                closed,
                self.notes,
            )
        )
        self.characters, self.begins, self.ends, self.fixed, self.notes = [], [], [], [], []

    def _entity(self, at: int) -> int:
        match = ENTITY.match(self.source, at)
        if match is None and (unknown := NAMED.match(self.source, at)):
            raise BrokenError(f"unknown entity {unknown[0]!r}")
        if match is None:
            self._take(at, at + 1)
            if BARE not in self.notes:
                self.notes.append(BARE)
            return at + 1
        number = int(match[2]) if match[2] else int(match[3], 16) if match[3] else ord(ENTITIES[match[1]])
        if number > 0x10FFFF or number in SURROGATES:
            raise BrokenError(f"no such character {match[0]!r}")
        self.characters.append(chr(number))
        self.begins.append(at)
        self.ends.append(match.end())
        return match.end()

    def _passed_over(self, at: int) -> int:
        """Where a comment, an instruction or a declaration ends that begins here; 0: there is none."""
        for opening, closing in UNREAD.items():
            if self.source.startswith(opening, at):
                if self.lasts[closing] < at:  # So that it is not looked for again and again.
                    raise BrokenError(f"{opening} is not closed")
                return self.source.index(closing, at) + len(closing)
        declared = DECLARATION.match(self.source, at)
        return declared.end() if declared else 0

    def _tag(self, at: int) -> int:
        passed = self._passed_over(at)
        if passed:
            return passed
        if self.source.startswith(CDATA[0], at):
            begin, end = at + len(CDATA[0]), self.source.find(CDATA[1], at)
            if end < 0:
                raise BrokenError(f"{CDATA[0]} is not closed")
            self._take(begin, end)
            return end + len(CDATA[1])
        match = TAG.match(self.source, at)
        if match is None:
            shown = SHOWN.match(self.source, at)
            raise BrokenError(f"{shown[0]!r} is not a tag that is read")  # type: ignore[index]
        name = match[2].rpartition(":")[2]
        if not match[1] and self.closed_at == at:  # Two elements in a row are two words.
            self.characters.append(" ")
            self.begins.append(at)
            self.ends.append(match.end())
        if not match[1]:
            values = {key: double or single for key, double, single in ATTRIBUTE.findall(match[3])}
            self._opened(name, values, empty=bool(match[4]))
        elif not self.open or self.open[-1][0] != name:
            raise BrokenError(f"</{name}> closes nothing")
        else:
            self._closed(*self.open.pop())
            self.closed_at = match.end()
        return match.end()

    def _opened(self, name: str, values: dict[str, str], empty: bool) -> None:
        if name == "break":
            self._close(self._break(values))
        elif name in {"p", "s"}:
            self._close(closed=True)
        elif name == "prosody":
            self._close()
            self.styles.append(self._prosody(values))
        elif name not in {"speak", "sub", "say-as"}:
            self.notes.append(f"<{name}> is read through")
        self.open.append((name, len(self.characters), values))
        if empty:
            self._closed(*self.open.pop())

    def _closed(self, name: str, begin: int, values: dict[str, str]) -> None:
        if name in {"p", "s"}:
            self._close(STRENGTHS["medium"] if name == "p" else 0.0, closed=True)
        elif name == "prosody":
            self._close()
            self.styles.pop()
        elif name in {"sub", "say-as"}:
            how = "alias" if name == "sub" else values.get("interpret-as", "")
            end = len(self.characters)
            dated = DATE.fullmatch(how)
            date = self._date(dated[1] or values.get("format", ""), begin) if dated else ()
            if "format" in values and not dated:
                self.notes.append(f"<say-as interpret-as={how!r}> has a format, which is not read")
            if begin == end or not (date or how in SPOKEN | {"alias"}):
                return
            while self.fixed and self.fixed[-1].begin >= begin:
                self.fixed.pop()
            self.fixed.append(Fixed(begin, end, how, values.get("alias", ""), date))

    def _date(self, order: str, begin: int) -> tuple[int, int, int, bool] | tuple[()]:
        """The date in what was read from ``begin`` on; empty, and noted, where it is not of that form."""
        written = "".join(self.characters[begin:]).strip()
        if not order or not written:
            return ()
        fields = re.sub(r"(.)\1+", r"\1", re.sub("[^dmy]", "", order.lower()))
        if not self.dated or fields not in FORMATS:
            why = "is no order of d, m and y" if self.dated else "is not read in this language"
            self.notes.append(f"<say-as format={order!r}> {why}: the date is read as it stands")
        if not self.dated or fields not in FORMATS or re.search(r"[^\W\d]", written):
            return ()
        parts, widths = re.findall(r"\d+", written), [WIDTHS[each] for each in fields]
        if len(parts) == 1 and len(parts[0]) == sum(widths):
            parts = [
                parts[0][end - width : end] for end, width in zip(accumulate(widths), widths, strict=True)
            ]
        found = dict(zip(fields, parts, strict=False))
        whole = len(parts) == len(fields) and max(map(len, parts)) <= 4
        day, month = (int(found[each]) if whole and each in found else 0 for each in "dm")
        if not whole or day > 31 or month > 12 or (not day and "d" in found) or (not month and "m" in found):
            self.notes.append(
                f"<say-as format={order!r}> does not fit {written[:20]!r}: it is read as it stands"
            )
            return ()
        return day, month, full_year(found["y"]) if "y" in found else 0, fields.startswith("md")

    def _break(self, values: dict[str, str]) -> float:
        time = values.get("time")
        if time is None:
            return STRENGTHS.get(values.get("strength", "medium"), STRENGTHS["medium"])
        match = re.fullmatch(r"\s*\+?(\d{0,9}\.?\d{1,9})(ms|s)\s*", time)
        if match is None:
            self.notes.append(f"<break time={time!r}> is no time such as 500ms or 1.5s")
            return STRENGTHS["medium"]
        seconds = float(match[1]) / (1000 if match[2] == "ms" else 1)
        if seconds > LONGEST_BREAK:
            self.notes.append(f"<break time={time!r}> is cut to {LONGEST_BREAK:g} s, the longest")
        return min(seconds, LONGEST_BREAK)

    def _prosody(self, values: dict[str, str]) -> Style:
        style = self.styles[-1]
        rate = self._factor("rate", values, RATES)
        pitch = self._factor("pitch", values, PITCHES)
        volume = values.get("volume", "medium")
        match = re.fullmatch(r"([+-]?\d{1,3}(?:\.\d{1,6})?)dB", volume)
        if match is None and volume not in VOLUMES:
            self.notes.append(f"<prosody volume={volume!r}> is not read")
        gain_db = style.gain_db + (float(match[1]) if match else VOLUMES.get(volume, 0.0))
        return replace(
            style,
            rate=min(max(style.rate * rate, 0.25), 4.0),
            pitch=min(max(style.pitch * pitch, 0.5), 2.0),
            gain_db=min(max(gain_db, -100.0), 12.0),
        )

    def _factor(self, key: str, values: dict[str, str], names: dict[str, float]) -> float:
        value = values.get(key, "medium").strip()
        if value in names:
            return names[value]
        match = re.fullmatch(r"([+-]?)(\d{1,4}(?:\.\d{1,6})?)(%|st|)", value)
        if match is not None and match[3] == "st" and key == "pitch":
            return math.pow(2, min(float(match[2]), 24) * (-1 if match[1] == "-" else 1) / 12)
        if match is not None and match[3] != "st":
            number = float(match[2]) / (100 if match[3] else 1)
            return {"+": 1 + number, "-": 1 - number}.get(match[1], number)
        self.notes.append(f"<prosody {key}={value!r}> is not read")
        return 1.0
