"""Numbers as they are written, and as English says them."""

# ruff: noqa: SIM905 - words stand in rows

from __future__ import annotations

import re

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
SCALES = (
    (10**15, "quadrillion"),
    (10**12, "trillion"),
    (10**9, "billion"),
    (10**6, "million"),
    (1000, "thousand"),
)
INDIAN_SCALES = ((10**7, "crore"), (10**5, "lakh"), (1000, "thousand"))
LONGEST = 18
"""Digits of the longest number read as one. A longer one is read digit by digit, and so is one of ten digits
and more that is not written in groups."""
IRREGULAR = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
VULGAR = {
    "½": (1, 2),
    "⅓": (1, 3),
    "⅔": (2, 3),
    "¼": (1, 4),
    "¾": (3, 4),
    "⅕": (1, 5),
    "⅖": (2, 5),
    "⅗": (3, 5),
    "⅘": (4, 5),
    "⅙": (1, 6),
    "⅚": (5, 6),
    "⅛": (1, 8),
    "⅜": (3, 8),
    "⅝": (5, 8),
    "⅞": (7, 8),
}
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
NUMBER = (
    r"(?:\d{1,2}(?:,\d\d){1,7},\d{3}(?!\d)|\d{1,3}(?:,\d{3}){1,5}(?!\d)|\d{1,3}(?:[\u00a0\u202f\u2009]\d{3}){1,5}(?!\d)"
    r"|\d{1,3}(?: \d{3}){2,5}(?![ \d]?\d)|\d{1,3} 000(?![ \d]?\d)|\d+)"
)
AMOUNT = rf"(?:{NUMBER}(?:\.\d+)?|\.\d+)"
"""Whole numbers with their groups, Western or Indian; and with decimals."""
CONTINENTAL = r"\d{1,3}(?:\.\d{3}){1,5},\d{1,2}"
"""With full stops between the groups, and a comma before the decimals."""
DASH = "-‐‑–−"


def cardinal(number: int, indian: bool = False) -> str:
    """A whole number, zero or greater, in thousands and millions, or in lakhs and crores if `indian`."""
    for scale, name in INDIAN_SCALES if indian else SCALES:
        if number >= scale:
            head, rest = divmod(number, scale)
            spoken = f"{cardinal(head, indian)} {name}"
            if rest == 0:
                return spoken
            return f"{spoken} {'and ' if rest < 100 else ''}{cardinal(rest, indian)}"
    if number < 20:
        return ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return TENS[tens] + (f"-{ONES[ones]}" if ones else "")
    hundreds, rest = divmod(number, 100)
    return f"{ONES[hundreds]} hundred" + (f" and {cardinal(rest)}" if rest else "")


def ordinal(number: int) -> str:
    """Of a whole number, zero or greater: 21 -> ``"twenty-first"``."""
    head, last = re.fullmatch(r"(.*?)([a-z]+)", cardinal(number)).groups()  # type: ignore[union-attr]
    if last in IRREGULAR:
        return head + IRREGULAR[last]
    return head + (last[:-1] + "ieth" if last.endswith("y") else last + "th")


def digits(text: str) -> str:
    """One by one, whatever stands between them: ``"007"`` -> ``"zero zero seven"``."""
    return " ".join(ONES[int(c)] for c in text if "0" <= c <= "9")


def year(number: int) -> str:
    """Of 1 to 9999: 1905 -> ``"nineteen oh five"``."""
    century, rest = divmod(number, 100)
    if century < 10 or 2000 <= number < 2010 or (rest == 0 and century % 10 == 0):
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def full_year(text: str) -> int:
    """Of a year as dates have it: two digits are of this century to 49, of the last one from 50 on."""
    return int(text) + (0 if len(text) > 2 else 2000 if int(text) < 50 else 1900)


def pairs(text: str) -> str:
    """Three or four digits in two: ``"747"`` -> ``"seven forty-seven"``."""
    head, rest = divmod(int(text), 100)
    if rest == 0:
        return f"{cardinal(head)} hundred" if head else "zero"
    return f"{cardinal(head)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def continental(text: str) -> str:
    """A number written ``"1.234,56"`` as English writes it."""
    return text.translate(str.maketrans(".,", ",."))


def amount(text: str) -> str:
    """A number as written, with its groups and decimals: ``"1,234.5"``."""
    whole, _, decimals = text.partition(".")
    plain = re.sub(r"\D", "", whole)
    grouped = len(plain) < len(whole)
    if len(plain) > LONGEST or (len(plain) > 9 and not grouped) or (len(plain) > 1 and plain[0] == "0"):
        spoken = digits(plain)
    elif plain:
        spoken = cardinal(int(plain), re.search(r",\d\d,", whole) is not None)
    else:
        spoken = ""
    if decimals:
        spoken = f"{spoken} point {digits(decimals)}".lstrip()
    return spoken


def fraction(top: int, bottom: int) -> str:
    """``3, 4`` -> ``"three quarters"``; odd ones are read with "over"."""
    if not 0 < top < bottom or not (bottom <= 20 or bottom in {32, 64, 100, 1000}):
        return f"{cardinal(top)} over {cardinal(bottom)}"
    one = {2: "half", 4: "quarter"}.get(bottom) or ordinal(bottom)
    several = {2: "halves", 4: "quarters"}.get(bottom) or f"{one}s"
    return f"{cardinal(top)} {one if top == 1 else several}"
