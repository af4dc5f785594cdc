"""Characters that are written in several ways, as one of them; and where in the text each of them stands."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

NOTHING = "\u00ad\u2060-\u2064\ufeff"
"""Hints for who sets a text, such as a soft hyphen, and a byte order mark."""
UNSEEN = "\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""A place where a line may end, which ends words in some scripts, and the direction of what follows."""
JOINERS = "\u200c\u200d"
"""Between letters that have several forms; between others they mean nothing."""
LIKE = str.maketrans("ˢᵗⁿᵈʳʰ\u02bc￠￡￥￦", "stndrh’¢£¥₩") | {
    0xFEE0 + code: code for code in range(0x21, 0x7F)
}
"""Raised letters of ordinals, an apostrophe, wide characters of ASCII and money."""
LETTERS = re.compile("[A-Za-zÀ-ɏ]+|[Α-Ωα-ω]")
ODD = re.compile(
    rf"\u00ad[^\S\n]*\n[^\S\n]*(?=[^\W\d_])|(?<=[!-\u058f])[{NOTHING}{UNSEEN}{JOINERS}]+"
    rf"|(?<=[\u0980-\u09ff{JOINERS}])[{NOTHING}{UNSEEN}]+|[{NOTHING}]+"
    r"|(?<=\d)(?:ˢᵗ|ⁿᵈ|ʳᵈ|ᵗʰ)(?![ʰ-˿ᴬ-ᶿⁿ])"
    r"|[\u0132\u0133\u017f\u01c4-\u01cc\u01f1-\u01f3\u02bc\ufb00-\ufb06\U0001d400-\U0001d7cb]"
    r"|[\u2100-\u2115\u2117-\u211f\u2121\u2123-\u2138\u213a-\u214f\u2160-\u217f\u3371-\u33ff\uff01-\uff5e\uffe0-\uffe6]"
)
"""What may be written in another way; №, ™, ℠ and ℹ are none."""
LONGEST_CLUSTER = 64
"""Codepoints that are composed together at most."""


def canonical(text: str) -> str:
    """A text as the front ends read it; see `fold`."""
    return fold(text)[0]


def fold(text: str, wide: bool = True) -> tuple[str, Sequence[int], Sequence[int]]:
    """A text in NFC, with decimal digits of any script as 0 to 9, and letters as those of the alphabet.

    Ligatures, letters of mathematics, Roman numbers and units of one character are letters; soft hyphens and
    the like are nothing, and so are joiners behind other letters than those of scripts that need them. What
    has a meaning of its own, such as ², ½, ℃ and №, stays.

    Parameters
    ----------
    text : str
        Any text.
    wide : bool
        Whether to fold wide characters, too, which are those of Chinese and Japanese.

    Returns
    -------
    The folded text, and of each of its characters the begin and the end of what stands for it in ``text``.
    """
    if text.isascii():
        return text, range(len(text)), range(1, len(text) + 1)
    folded, begins, ends = _replaced(text, wide)
    if not unicodedata.is_normalized("NFC", folded):
        folded, first, last = _composed(folded)
        begins, ends = [begins[at] for at in first], [ends[at - 1] for at in last]
    digits = {ord(c): str(unicodedata.digit(c)) for c in set(folded) if c.isdecimal() and c > "9"}
    return folded.translate(digits), begins, ends


def _replaced(text: str, wide: bool) -> tuple[str, Sequence[int], Sequence[int]]:
    """A text with what is `ODD` in it as it is written otherwise, and the places of its characters."""
    pieces: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    at = 0
    for match in ODD.finditer(text):
        begin, end = match.span()
        plain = _plain(match[0], wide)
        if plain != match[0]:
            pieces += text[at:begin], plain
            begins += [*range(at, begin), *[begin] * len(plain)]
            ends += [*range(at + 1, begin + 1), *[end] * len(plain)]
            at = end
    if not pieces:
        return text, range(len(text)), range(1, len(text) + 1)
    begins += range(at, len(text))
    ends += range(at + 1, len(text) + 1)
    return "".join([*pieces, text[at:]]), begins, ends


@lru_cache(4096)
def _plain(odd: str, wide: bool) -> str:
    """What is written otherwise; itself where nothing is."""
    if unicodedata.category(odd[0]) == "Cf":
        return ""
    if not wide and unicodedata.east_asian_width(odd[0]) in "FW":
        return odd
    if ord(odd[0]) in LIKE:
        return odd.translate(LIKE)
    _, *codes = unicodedata.decomposition(odd).split() or [""]
    plain = "".join(chr(int(code, 16)) for code in codes).replace("ſ", "s")
    return plain if LETTERS.fullmatch(plain) else odd


def _composed(text: str) -> tuple[str, list[int], list[int]]:
    """A text in NFC, and the codepoints of it that each character stands for."""
    begins: list[int] = []
    ends: list[int] = []
    composed: list[str] = []
    start = 0
    for at in range(1, len(text) + 1):
        cluster = _apart(text[start:at], text[at : at + 1])
        if cluster is not None:
            composed.append(cluster)
            begins += [start] * len(cluster)
            ends += [at] * len(cluster)
            start = at
    return "".join(composed), begins, ends


def _apart(cluster: str, following: str) -> str | None:
    """`cluster` in NFC when what follows does not compose with it; a very long one is closed in any case."""
    if following and unicodedata.combining(following) and len(cluster) < LONGEST_CLUSTER:
        return None
    composed = unicodedata.normalize("NFC", cluster)
    whole = unicodedata.normalize("NFC", cluster + following)
    if whole == composed + unicodedata.normalize("NFC", following) or len(cluster) >= LONGEST_CLUSTER:
        return composed
    return None
