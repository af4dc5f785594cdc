"""English as it is spoken: numbers, dates, money, units, abbreviations and symbols as plain words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

from engines.speech.english_numbers import (
    AMOUNT,
    DASH,
    LONGEST,
    NUMBER,
    ONES,
    SUPERSCRIPTS,
    VULGAR,
    amount,
    cardinal,
    digits,
    fraction,
    ordinal,
    year,
)
from engines.speech.english_words import (
    ACRONYMS,
    ADDRESS,
    BEFORE_NAMES,
    BEFORE_NUMBERS,
    CODES,
    CURRENCIES,
    DOTTED,
    GREEK,
    INITIALISMS,
    KINGS,
    LETTERED,
    MAGNITUDES,
    MONTHS,
    NUMBERED,
    SHORT_DAYS,
    SHORT_MONTHS,
    SHORT_WORDS,
    SHOUTED,
    STARTERS,
    SYMBOLS,
    TITLES,
    UNITS,
)
from engines.speech.words import Drop, Mark, Reading, Rule, Scanner, Token, Word, canonical, join, sort_out

LETTER = r"A-Za-zÀ-ÖØ-öø-ɏḀ-ỿ"
MONTH_NAME = "|".join([*MONTHS, *sorted(SHORT_MONTHS, key=len, reverse=True)])
MONTH = rf"({MONTH_NAME})\b(?:(?:(?<=\b[A-Z][a-z]{{2}})(?<!May)|(?<=Sept))\.(?=,|\s*[{DASH}\da-z]))?"
"""The dot of a short name, unless a sentence may end there."""
SIGNS = r"US\$|[AC]\$|[$€£¥₹৳₩₽]"
MAGNITUDE = r"(?:\s?(thousand|million|billion|trillion|lakh|crore|bn|mn|tn|[kKmMbBT]))?(?![A-Za-z])"
CODE = "|".join(code for code in CODES if code.isupper() and code.isalpha())
UNIT = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
NO_LETTER = rf"(?![{LETTER}0-9])"


# Context


def _before(match: re.Match[str]) -> str:
    """The word before a match, ``""`` at the start."""
    near = match.string[max(0, match.start() - 30) : match.start()]
    found = re.search(rf"([{LETTER}']+)\.?[\s(]*$", near)
    return found[1] if found else ""


def _after(match: re.Match[str], end: int | None = None) -> str:
    """The word after a match, ``""`` where something else follows."""
    found = re.compile(rf"\s*([{LETTER}']{{1,30}})").match(match.string, match.end() if end is None else end)
    return found[1] if found else ""


def _ends_sentence(match: re.Match[str], stop: int) -> bool:
    """Whether the full stop of an abbreviation, at `stop`, also ends a sentence."""
    rest = match.string[stop + 1 : stop + 40]
    following = _after(match, stop + 1)
    if not rest.strip(" \t\n\"'”’)"):
        return True
    return rest[0].isspace() and following in STARTERS and match[0] not in TITLES


def _shouting(match: re.Match[str]) -> bool:
    """Whether most words around stand in capitals."""
    at = match.start()
    near = (
        match.string[max(0, at - 60) : at].rpartition("\n")[2] + match.string[at : at + 60].partition("\n")[0]
    )
    words = re.findall(r"[A-Za-z]{2,}", near)
    capitals = [word for word in words if word.isupper()]
    return len(words) > 1 and len(capitals) > 0.6 * len(words) and any(word in SHOUTED for word in capitals)


def _adjective(match: re.Match[str]) -> bool:
    """Whether a quantity stands before its noun: "a 5 km run"."""
    following = _after(match)
    return _before(match) in {"a", "an", "A", "An"} and following.islower()


def _is_year(match: re.Match[str], text: str) -> bool:
    number = int(text)
    before, after = _before(match), _after(match)
    if not 1000 < number < 2100:
        return False
    cues = {
        "in",
        "since",
        "by",
        "from",
        "until",
        "till",
        "of",
        "to",
        "circa",
        "c",
        "ca",
        "year",
        "before",
        "after",
    }
    cues |= {"spring", "summer", "autumn", "winter", "early", "late", "mid", "copyright", "between", "during"}
    if before.lower() in cues or before in MONTHS or before in SHORT_MONTHS:
        return not (after in UNITS or after in {"people", "words", "men", "women", "percent", "million"})
    if number < 1700:
        return False
    several = (
        after.endswith("s") and after.islower() and after not in {"was", "is", "has", "as", "its", "does"}
    )
    return not (
        (several and before not in {"the", "The"}) or after in UNITS or after in {"people", "men", "women"}
    )


def spell(word: str) -> str:
    """Letters and digits one by one: ``"B2B"`` -> ``"B two B"``."""
    return " ".join(ONES[int(c)] if c.isdigit() else c.upper() for c in canonical(word) if c.isalnum())


def capitals(word: str) -> str:
    """A word in capitals: spelled, or read where it is known to be a word."""
    if word in ACRONYMS or len(word) == 1:
        return word
    if word in TITLES:
        return TITLES[word]
    if word in SHORT_WORDS:
        return word.lower()
    spelled = len(word) <= 3 or word in INITIALISMS or not re.search("[AEIOUYÀ-Ý]", word)
    if spelled or re.search("[BCDFGHJKLMNPQRSTVWXZ]{5}", word):
        return " ".join(word)
    return word.lower()


# Rules for digits


def _clock(hours: int, minutes: int, half: str) -> str:
    if half:
        half = f" {half[0].upper()} M"
    if minutes == 0:
        if half:
            return cardinal(hours) + half
        return f"{cardinal(hours)} o'clock" if 0 < hours <= 12 else f"{cardinal(hours)} hundred"
    return f"{cardinal(hours)} {'oh ' if minutes < 10 else ''}{cardinal(minutes)}{half}"


def _several(number: int, one: str) -> str:
    return f"{cardinal(number)} {one}{'' if number == 1 else 's'}"


def _time(match: re.Match[str]) -> Reading:
    hours, minutes, seconds = int(match[1]), int(match[2]), match[3]
    if minutes > 59 or hours > 24:
        return None
    return _clock(hours, minutes, "") if seconds is None else _duration(hours, minutes, int(seconds))


def _half_day(match: re.Match[str]) -> Reading:
    hours, minutes = int(match[1]), int(match[2])
    return _without_stop(match, _clock(hours, minutes, match[3])) if minutes < 60 and hours <= 24 else None


def _duration(hours: int, minutes: int, seconds: int) -> str:
    return f"{_several(hours, 'hour')}, {_several(minutes, 'minute')} and {_several(seconds, 'second')}"


def _hour(match: re.Match[str]) -> Reading:
    return _without_stop(match, _clock(int(match[1]), 0, match[2])) if int(match[1]) <= 24 else None


def _without_stop(match: re.Match[str], spoken: str) -> Word | str:
    """Leave the last full stop to the sentence where it ends one."""
    stop = match.end() - 1
    if match[0].endswith(".") and _ends_sentence(match, stop):
        return Word(match.start(), stop, spoken, "en")
    return spoken


def _date(day: int, month: int, written_year: str | None, the: bool = True) -> str | None:
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return None
    spoken = f"{'the ' if the else ''}{ordinal(day)} of {MONTHS[month - 1]}"
    return f"{spoken} {year(int(written_year))}" if written_year and int(written_year) else spoken


def _iso_date(match: re.Match[str]) -> Reading:
    spoken = _date(int(match[3]), int(match[2]), match[1], _before(match).lower() != "the")
    if spoken and match[4]:
        spoken += f", {_duration(int(match[4]), int(match[5]), int(match[6] or 0))}"
    return spoken


def _numeric_date(match: re.Match[str]) -> Reading:
    first, second = int(match[1]), int(match[3])
    if second > 12 >= first:
        first, second = second, first
    return _date(first, second, match[4], _before(match).lower() != "the")


def _month_number(name: str) -> int:
    return MONTHS.index(SHORT_MONTHS.get(name, name)) + 1


def _day_month(match: re.Match[str]) -> Reading:
    first, day, month, written_year = match[1], int(match[2]), _month_number(match[3]), match[4]
    spoken = _date(day, month, written_year, _before(match).lower() != "the")
    if spoken and first:
        spoken = f"the {ordinal(int(first))} to {spoken}"
    return spoken


def _month_day(match: re.Match[str]) -> Reading:
    first, last, written_year = int(match[2]), match[3], match[4]
    if not 1 <= first <= 31 or (last and not 1 <= int(last) <= 31):
        return None
    spoken = f"{MONTHS[_month_number(match[1]) - 1]} {ordinal(first)}"
    if last:
        spoken += f" to {ordinal(int(last))}"
    return f"{spoken}, {year(int(written_year))}" if written_year and int(written_year) else spoken


def _months(match: re.Match[str]) -> Reading:
    return f"{MONTHS[_month_number(match[1]) - 1]} to {MONTHS[_month_number(match[2]) - 1]}"


def _month_year(match: re.Match[str]) -> Reading:
    month = MONTHS[_month_number(match[1]) - 1]
    return Word(match.start(), match.end(1) + (match[0][len(match[1]) :].startswith(".")), month, "en")


def _phone(match: re.Match[str]) -> Reading:
    groups = [digits(group) for group in re.findall(r"\d+", match[0])]
    return ("plus " if match[0].startswith("+") else "") + ", ".join(groups)


def _machine(match: re.Match[str]) -> Reading:
    spoken = " dot ".join(digits(part) for part in match[1].split("."))
    return spoken + (f" port {digits(match[2])}" if match[2] else "")


def _version(match: re.Match[str]) -> Reading:
    return " point ".join(amount(part) for part in match[1].split("."))


def _release(match: re.Match[str]) -> Reading:
    return f"version {_version(match)}"


def _mixed(match: re.Match[str]) -> Reading:
    top, bottom = int(match[2]), int(match[3])
    if not 0 < top < bottom <= 20:
        return None
    unit = f" {UNITS[match[4]][1]}" if match[4] else ""
    return f"{amount(match[1])} and {_part(top, bottom)}{unit}"


def _part(top: int, bottom: int) -> str:
    return f"a {fraction(1, bottom).split(' ', 1)[1]}" if top == 1 else fraction(top, bottom)


def _fraction(match: re.Match[str]) -> Reading:
    if 1900 <= int(match[1]) < 2100 and len(match[2]) == 2:
        return f"{year(int(match[1]))} {cardinal(int(match[2]))}"
    known = {"24/7": "twenty-four seven", "9/11": "nine eleven"}
    if match[1] == match[2]:
        return f"{amount(match[1])} {amount(match[2])}"
    return known.get(match[0]) or fraction(int(match[1]), int(match[2]))


def _vulgar(match: re.Match[str]) -> Reading:
    top, bottom = VULGAR[match[2]]
    one, several = UNITS.get(match[3] or "", ("", ""))
    if match[1]:
        return f"{amount(match[1])} and {_part(top, bottom)} {several}".rstrip()
    return f"{fraction(top, bottom)} {one}".rstrip()


def _ordinal(match: re.Match[str]) -> Reading:
    number = re.sub(r"\D", "", match[1])
    return ordinal(int(number)) + _tail(match[2]) if len(number) <= LONGEST else digits(number)


def _tail(compound: str | None) -> str:
    """Of "21st-century" and "5-year-old"."""
    return compound.lower() if compound else ""


def _compound(match: re.Match[str]) -> Reading:
    return amount(match[1]) + _tail(match[2])


def _round(match: re.Match[str]) -> Reading:
    return {"10": "tens", "100": "hundreds", "1000": "thousands"}[match[1]]


def _decade(match: re.Match[str]) -> Reading:
    number = int(match[1])
    spoken = cardinal(number) if number < 100 else year(number)
    if not spoken.endswith("y"):
        return f"{spoken}s"
    return f"{spoken[:-1]}ies"


def _money(match: re.Match[str]) -> Reading:
    sign, low, high, magnitude, per = match.groups()
    return money(sign, low, high, magnitude, per, _adjective(match))


def _money_behind(match: re.Match[str]) -> Reading:
    return money(match[2], match[1], None, None, None, _adjective(match))


def money(
    sign: str,
    low: str,
    high: str | None = None,
    magnitude: str | None = None,
    per: str | None = None,
    adjective: bool = False,
) -> str:
    """An amount of money: ``"$", "5.99"`` -> ``"five dollars and ninety-nine cents"``."""
    whose, sign = CODES.get(sign, ("", sign))
    one, several, hundredth, hundredths = CURRENCIES[sign]
    spoken = amount(low)
    if high:
        spoken += f" to {amount(high)}"
    whole, _, decimals = low.partition(".")
    rest = f" per {UNITS.get(per, (per,))[0]}" if per else ""
    if magnitude:
        return f"{spoken} {MAGNITUDES[magnitude]} {whose}{one if adjective else several}{rest}"
    if len(decimals) == 2 and not high and hundredth:
        cents = f"{cardinal(int(decimals))} {hundredth if int(decimals) == 1 else hundredths}"
        if not int(re.sub(r"\D", "", whole) or "0"):
            return (cents if int(decimals) else f"zero {whose}{several}") + rest
        spoken = f"{amount(whole)} {whose}{one if amount(whole) == 'one' else several}"
        return spoken + (f" and {cents}" if int(decimals) else "") + rest
    return f"{spoken} {whose}{one if spoken == 'one' or adjective else several}{rest}"


def _feet(match: re.Match[str]) -> Reading:
    return f"{amount(match[1])} foot {amount(match[2])}"


def _inches(match: re.Match[str]) -> Reading:
    return f"{amount(match[1])} {'inch' if match[1] == '1' else 'inches'}"


def _unit(match: re.Match[str]) -> Reading:
    one, several = UNITS[match[2]]
    spoken = amount(match[1])
    return f"{spoken} {one if spoken in {'one', 'minus one'} or _adjective(match) else several}"


def _volts_and_amperes(match: re.Match[str]) -> Reading:
    volts, amperes = ("volt", "volts"), ("ampere", "amperes")
    one, other = (amount(match[i]) for i in (1, 3))
    return f"{one} {volts[one != 'one']}{match[2]}{other} {amperes[other != 'one']}"


def _by(match: re.Match[str]) -> Reading:
    return f"{amount(match[1])} by"


def _times(match: re.Match[str]) -> Reading:
    return f"{amount(match[1])} times"


def _exponent(match: re.Match[str]) -> Reading:
    minus = "minus " if match[2] == "-" else ""
    return f"{amount(match[1])} times ten to the power of {minus}{amount(match[3])}"


def _power(match: re.Match[str]) -> Reading:
    minus = "minus " if match[2] else ""
    return f"{amount(match[1])} to the power of {minus}{amount(match[3])}"


def _raised(exponent: str) -> str:
    number = exponent.translate(SUPERSCRIPTS)
    return {"2": "squared", "3": "cubed"}.get(number) or f"to the power of {amount(number)}"


def _superscript(match: re.Match[str]) -> Reading:
    return _raised(match[0])


def _four_digits(match: re.Match[str]) -> Reading:
    if match[0][0] == "0":
        return digits(match[0])
    return year(int(match[0])) if _is_year(match, match[0]) else None


def _years(match: re.Match[str]) -> Reading:
    first, second = match[1], match[2]
    if not 1000 < int(first) < 2100 or (len(second) == 4 and not int(first) < int(second) < 2100):
        return None
    last = year(int(second)) if len(second) == 4 else cardinal(int(second))
    return f"{year(int(first))} to {last}"


def _short_year(match: re.Match[str]) -> Reading:
    number = int(match[1])
    return f"oh {cardinal(number)}" if number < 10 else cardinal(number)


def _short_decade(match: re.Match[str]) -> Reading:
    spoken = cardinal(int(match[1]))
    return f"{spoken[:-1]}ies" if spoken.endswith("y") else f"{spoken}s"


def _score(match: re.Match[str]) -> Reading:
    low, high = match[1], match[2]
    return f"{amount(low)}-{amount(high)}" if low == high and int(low) < 100 else None


def _colons(match: re.Match[str]) -> Reading:
    verse = _before(match)[:1].isupper()
    return f"{amount(match[1])} {'' if verse else 'to '}{amount(match[2])}"


def _number_letters(match: re.Match[str]) -> Reading:
    return f"{amount(match[1])} {_code(match[2])}"


def _magnitude(match: re.Match[str]) -> Reading:
    return f"{amount(match[1])} {MAGNITUDES[match[2]]}"


def _digits(match: re.Match[str]) -> Reading:
    return digits(match[0])


def _number(match: re.Match[str]) -> Reading:
    return amount(match[0])


# Rules for letters


def _code(text: str) -> str:
    """Letters and digits mixed: ``"MP3"`` -> ``"M P three"``."""
    spoken = []
    for part in re.findall(rf"\d+|[{LETTER}]+", text):
        if part.isdigit():
            if len(part) == 4 and 1900 <= int(part) < 2100:
                spoken.append(year(int(part)))
            else:
                spoken.append(digits(part) if len(part) > 3 or part[0] == "0" else cardinal(int(part)))
        elif part.isupper() and part not in ACRONYMS:
            spoken.append(" ".join(part) if len(part) < 5 else capitals(part))
        else:
            spoken.append(TITLES.get(part, part))
    return " ".join(spoken)


def _mixed_code(match: re.Match[str]) -> Reading:
    return _code(match[0])


def _prefixed(match: re.Match[str]) -> Reading:
    number = match[2]
    if match[3]:
        spoken = _decade(re.fullmatch(r"(\d+)", number))  # type: ignore[arg-type]
    elif len(number) == 4 and 1000 < int(number) < 2100:
        spoken = year(int(number))
    else:
        spoken = amount(number)
    return f"{match[1]}-{spoken}"


def _address(match: re.Match[str]) -> Reading:
    whole = re.split(rf"[^\W\d_{LETTER}]", match[0], maxsplit=1)[0]  # Other letters are read by others.
    text = re.sub(r"^[a-z]+://", "", whole).rstrip(".,;:!?'\")]}/")
    if not text:
        return None
    shown = whole[: whole.rindex(text) + len(text)]
    spoken = []
    for part in re.findall(rf"\d+|[{LETTER}]+|.", text):
        if part.isdecimal():
            spoken.append(amount(part))
        elif part.lower() == "www":
            spoken.append("W W W")
        elif part.isupper() and len(part) > 1:
            spoken.append(capitals(part))
        elif part.isalpha():
            spoken.append(TITLES.get(part, part) if re.fullmatch(f"[{LETTER}]+", part) else "")
        else:
            spoken.append(ADDRESS.get(part, " "))
    slash = whole.endswith("/") and len(shown) + 1 == len(whole)
    return Word(match.start(), match.start() + len(shown) + slash, " ".join(" ".join(spoken).split()), "en")


def _day_range(match: re.Match[str]) -> Reading:
    return f"{SHORT_DAYS.get(match[1], match[1])} to {SHORT_DAYS.get(match[2], match[2])}"


def _day(match: re.Match[str]) -> Reading:
    return SHORT_DAYS[match[1]]


def _roman(match: re.Match[str]) -> Reading:
    text = match[1]
    number = _roman_value(text)
    before = _before(match)
    dotted = match.string[match.end() : match.end() + 1] == "."
    if number is None or (len(text) == 1 and dotted and before not in KINGS | NUMBERED):
        return None
    if match[2]:
        return f"the {ordinal(number)}'s" if before in KINGS else None
    if _after(match).lower() in {"century", "centuries", "congress", "olympiad"}:
        return ordinal(number)
    broken = re.search(r"[^\w\s]\s*$", match.string[max(0, match.start() - 3) : match.start()])
    if not before[:1].isupper() or (broken and before not in NUMBERED):
        return None
    if before in NUMBERED:
        return cardinal(number)
    first = re.match(
        r"\s*(?:$|[.,;:!?)]|(?:and|of|in|was|is|had|died|ruled|reigned|became)\b)",
        match.string[match.end() :][:12],
    )
    if before in KINGS and number <= 30 and (len(text) > 1 or text == "V" or (text == "I" and first)):
        return f"the {ordinal(number)}"
    return cardinal(number) if len(text) > 1 and set(text) <= set("IVX") and not _shouting(match) else None


def _roman_value(text: str) -> int | None:
    if not re.fullmatch(r"M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})", text):
        return None
    values = [{"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}[letter] for letter in text]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))


def _before_number(match: re.Match[str]) -> Reading:
    word = match[1] or match[2]
    spoken = BEFORE_NUMBERS.get(word.lower())
    roman = not match.string[match.end()].isdecimal()
    if spoken is None or (roman and word.lower() not in {"vol", "ch", "sec", "fig"}):
        return None
    return spoken.capitalize() if word[0].isupper() and word.lower() not in {"no", "nos"} else spoken


def _dotted(match: re.Match[str]) -> Reading:
    spoken = DOTTED.get(match[0]) or DOTTED.get(match[0].lower()) or DOTTED.get(f"{match[0]}.")
    return None if spoken is None else _without_stop(match, spoken)


def _initials(match: re.Match[str]) -> Reading:
    return _without_stop(match, " ".join(re.findall(r"[A-Za-z]", match[0])).upper())


def _initials_own(match: re.Match[str]) -> Reading:
    return " ".join(match[1].replace(".", "")).upper() + "'s"


def _abbreviation(match: re.Match[str]) -> Reading:
    word = match[1]
    if word == "St":
        saint = _after(match)[:1].isupper() and _after(match) not in STARTERS
        spoken = "Saint" if saint else "Street"
    elif word == "Dr":
        road = _before(match)[:1].isupper() and not _after(match)[:1].isupper()
        spoken = "Drive" if road else "Doctor"
        if not road and _after(match):
            return spoken
    elif word in TITLES:
        spoken = TITLES[word]
        if word in {"Mr", "Mrs", "Ms", "Prof", "Mt"} and _after(match):
            return spoken
    elif word in BEFORE_NAMES and re.compile(r"\s+[A-Z][a-z]").match(match.string, match.end()):
        return BEFORE_NAMES[word]
    else:
        return None
    return _without_stop(match, spoken)


def _capitals(match: re.Match[str]) -> Reading:
    word, tail = match[1], match[2] or ""
    beside = (
        match.string[max(0, match.start() - 1) : match.start()] + match.string[match.end() : match.end() + 1]
    )
    if "&" in beside and len(word) < 4:
        return " ".join(word)
    if word in SHOUTED and _shouting(match) and not tail:
        return word.lower()
    spoken = capitals(word)
    if tail and " " in spoken:
        return f"{spoken}'s"
    return spoken + tail.replace("’", "'")


def _word(match: re.Match[str]) -> Reading:
    parts = re.split("([-‐‑])", match[0].replace("’", "'"))
    spoken = [TITLES.get(p) or (capitals(p) if p.isalpha() and p.isupper() else p) for p in parts]
    spelled = any(part.isupper() and " " in said for part, said in zip(parts, spoken, strict=True))
    return "".join(" " if p in "-‐‑" and spelled else "-" if p in "‐‑" else p for p in spoken)


# Rules for the rest


def _mark(match: re.Match[str]) -> Mark:
    text = match[0]
    spoken = {"…": "...", "।": ".", "॥": ".", "¿": "", "¡": ""}.get(text, text)
    if spoken not in {",", ";", ":", ".", "!", "?", "...", ""}:
        spoken = "..." if text.startswith("..") else ","
    return Mark(match.start(), match.end(), spoken)


def _to(match: re.Match[str]) -> Reading:
    following = match.string[match.end() :][:24]
    return "minus" if re.match(r"\s?[\d.]+\s?=", following) else "to"


def _slash(match: re.Match[str]) -> Reading:
    before, after = _before(match), _after(match)
    if not before and not after and match[0] != "/":
        return "divided by"
    if after in {"hour", "minute", "second", "day", "night", "week", "month", "year", "person"}:
        return "per"
    if (before, after) == ("and", "or") or (before.isupper() and after.isupper()):
        return ""
    return "slash"


def _say(spoken: str) -> Callable[[re.Match[str]], Reading]:
    return lambda match: spoken


def _hash(match: re.Match[str]) -> Reading:
    before = match.string[match.start() - 1 : match.start()]
    if before in {"C", "F"}:
        return "sharp"
    following = match.string[match.end() : match.end() + 1]
    if following.isdecimal():
        return "number"
    return "hashtag" if following.isalpha() else SYMBOLS["#"]


def _symbol(match: re.Match[str]) -> Reading:
    return SYMBOLS.get(match[0])


def _greek(match: re.Match[str]) -> Reading:
    return GREEK.get(match[0])


def _rule(pattern: str, read: Callable[[re.Match[str]], Reading]) -> Rule:
    return Rule(re.compile(pattern), read)


def _rules(*rules: tuple[str, Callable[[re.Match[str]], Reading]] | Rule) -> list[Rule]:
    return [rule if isinstance(rule, Rule) else _rule(*rule) for rule in rules]


ADDRESSES = _rules(
    (r"(?:https?|ftp)://[^\s<>\"“”]{1,2000}|www\.[^\s<>\"“”]{1,2000}", _address),
    (r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}", _address),
    (
        r"(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,5}(?:com|org|net|edu|gov|io|co|uk|bd|info|dev|app|de|fr|eu)"
        r"(?![A-Za-z0-9-])(?:[/?#][^\s<>\"“”]{0,2000})?",
        _address,
    ),
)
CLOCK = _rules(
    (r"(\d{1,2}):(\d\d)\s?([ap]\.?m\b\.?|[AP]\.?M\b\.?)", _half_day),
    (r"(\d{1,2})\s?([ap]\.?m\b\.?|[AP]\.?M\b\.?)", _hour),
)
DAY_MONTH = _rule(
    rf"(?:(\d{{1,2}})[{DASH}])?(\d{{1,2}})(?:st|nd|rd|th)?(?:\s+of)?\s+{MONTH}(?:,?\s+(\d{{4}})(?!\d))?",
    _day_month,
)
NUMBER_LETTERS = _rule(rf"(\d{{1,9}})([A-Z]{{1,3}}\d*){NO_LETTER}", _number_letters)
DIGITS = _rules(
    (
        r"(\d{4})[-/](\d\d)[-/](\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?Z?)?(?![\d-])",
        _iso_date,
    ),
    (r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})(?!\d)", _numeric_date),
    (r"(\d{1,3}(?:\.\d{1,3}){3})(?::(\d{1,5}))?(?![\d.]?\d)", _machine),
    (r"(\d{1,9}(?:\.\d{1,9}){2,6})(?!\d)", _version),
    (r"(?:1-)?\d{3}-\d{3}-\d{4}(?!\d)|\d{3}-\d{4}(?!\d)|\d{3} \d{3} \d{4}(?!\d)", _phone),
    (r"0\d{1,5}(?:[ -]\d{3,8}){1,3}(?!\d)", _phone),
    *CLOCK,
    (r"(\d{1,2}):(\d\d)(?::(\d\d))?(?!\d)", _time),
    DAY_MONTH,
    (rf"(\d{{1,9}})\s+(\d{{1,2}})/(\d{{1,2}})(?!\d)(?:\s?({UNIT}){NO_LETTER})?", _mixed),
    (r"(\d{1,4})/(\d{1,4})(?![\d/])(?:rds|ths|th)?", _fraction),
    (rf"(\d{{1,9}})\s?([{''.join(VULGAR)}])(?:\s?({UNIT}){NO_LETTER})?", _vulgar),
    (rf"({NUMBER})(?:st|nd|rd|th)((?:-[A-Za-z]+)+)?{NO_LETTER}", _ordinal),
    (r"(10{1,3})s(?= of\b)", _round),
    (rf"([2-9]0|\d\d\d0)['’]?s{NO_LETTER}", _decade),
    (
        rf"({AMOUNT})\s?({SIGNS}|¢|p(?!\.?[A-Za-z])|(?:{CODE})\b)",
        _money_behind,
    ),
    (r"(\d)['’′] ?(\d{1,2})(?:\"|''|”|″)", _feet),
    (r"(\d) ?(?:ft|foot|feet)\.? (\d{1,2}) ?in(?![A-Za-z])\.?", _feet),
    (r"(\d{1,3})(?:″|(?:(?<=[x×]\d)|(?<=[x×] \d)|(?<=[x×]\d\d)|(?<=[x×] \d\d))\")", _inches),
    (rf"(\d{{4}})[{DASH}](\d{{4}}|\d\d)(?!\d)(?!-\d)", _years),
    (rf"(\d{{1,3}})[{DASH}](\d{{1,3}})(?!\d)", _score),
    (rf"({AMOUNT})\s?V( and | at |, )({AMOUNT})\s?A{NO_LETTER}", _volts_and_amperes),
    (
        rf"({AMOUNT})[\s\u00a0\u202f]?({UNIT}){NO_LETTER}"
        r"(?![²³/^])",
        _unit,
    ),
    (rf"({AMOUNT})[\"″]? ?[x×](?= ?{AMOUNT}(?!\s*=|[\d.,]))", _by),
    (rf"({AMOUNT})x{NO_LETTER}", _times),
    (rf"({AMOUNT})[eE]([+-]?)(\d{{1,4}}){NO_LETTER}", _exponent),
    (rf"({AMOUNT})\^(-?)({AMOUNT})", _power),
    (r"\d{4}(?![\d,.]?\d)", _four_digits),
    (r"(\d{1,3}):(\d{1,3})(?![\d:])", _colons),
    (rf"({NUMBER})((?:-[a-zA-Z]{{2,30}})+){NO_LETTER}", _compound),
    (rf"({AMOUNT})(k|bn|mn|tn|M|(?<=\d\d)K|(?<=\.\d)[KBT]|B(?= [a-z])){NO_LETTER}", _magnitude),
    (r"(?<=\b[A-Z]{2} )\d{5}(?!\d)", _digits),
    NUMBER_LETTERS,
    (AMOUNT, _number),
)
SIGNED = _rules(
    (rf"({SIGNS})\s?({AMOUNT})(?:[{DASH}]({AMOUNT}))?{MAGNITUDE}(?:/([a-z]{{1,20}}))?", _money),
    (r"['’](\d0)s(?![A-Za-z])", _short_decade),
    (r"['’](\d\d)(?![\d\w])", _short_year),
    (rf"()([{''.join(VULGAR)}])(?:\s?({UNIT}){NO_LETTER})?", _vulgar),
    (r"\+\d{1,15}(?:[ -]\d{1,8}){1,5}(?!\d)|\+\d{10,15}(?!\d)", _phone),
    (r"\(\d{3,5}\) ?\d{3,4}[ -]\d{3,4}(?!\d)", _phone),
    (r"\.\d+", _number),
    (rf"(?<=[\d%°ap.])[{DASH}](?=\d|[$€£¥₹৳]\s?\d)|(?<=[mM])[{DASH}](?=\d)", _to),
    (rf"(?<=\d )[{DASH}](?= \d)", _to),
    (rf"(?<![\w)])[{DASH}](?=[\d.]*\d|{SIGNS})", _say("minus")),
    (r"(?<=\d)( ?)/ ?(?=\d)", _slash),
    (r" ?/ ?", _slash),
    (r"[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,9}", _superscript),
    (r"\+\+", _say("plus plus")),
    (r"~\s?(?=\d)", _say("about")),
    (r"\*(?=\s?\d)(?<=\d\s\*|\d\d\*|.\d\*)", _say("times")),
    (r"(?m)^#{1,6}(?=\s)", _say("")),
    (r"#", _hash),
    (r"(?<![A-Z.])\.(?=[a-z])", _say("dot")),
    (r"[-=]{1,3}>|<[-=]{2,3}|<-(?!\d)", lambda match: Mark(match.start(), match.end(), ",")),
    (r"<=", _say(SYMBOLS["≤"])),
    (r">=", _say(SYMBOLS["≥"])),
    (r"!=", _say(SYMBOLS["≠"])),
    (r"==", _say(SYMBOLS["="])),
    (r"\.{2,}|[,;:.!?…()\[\]{}|—–।॥¿¡•·]", _mark),
    (r"[-‐‑](?!\w)|(?<!\w)[-‐‑]", _mark),
    (r"[-‐‑\"'“”‘’„«»‹›*_`^~′″™®\u200b-\u200f\u2060\ufeff\ufe0e\ufe0f\u00ad]", _say("")),
    (r"(?s).", _symbol),
    (r"(?s).", _greek),
)
NAMES = _rules(
    (
        rf"((?:Mon|Tues?|Wed|Thur?s?|Fri|Sat|Sun)(?:day)?)[{DASH}]((?:Mon|Tues?|Wed|Thur?s?|Fri|Sat|Sun)(?:day)?)\b",
        _day_range,
    ),
    (
        r"(Mon|Tues?|Wed|Thurs?|Fri|Sat|Sun)\b\.?(?=,?\s+(?:\d{1,2}(?:st|nd|rd|th)?\s+)?(?:"
        rf"{MONTH_NAME})\b)",
        _day,
    ),
    (rf"{MONTH}[{DASH}]{MONTH}(?![\w-])", _months),
    (
        rf"{MONTH}\s+(\d{{1,2}})(?:st|nd|rd|th)?(?:[{DASH}](\d{{1,2}})(?:st|nd|rd|th)?)?(?!\d|:)"
        r"(?:,?\s+(\d{4})(?!\d))?",
        _month_day,
    ),
    (rf"{MONTH}(?=\s+\d{{4}}(?!\d))", _month_year),
    (r"([IVXLCDM]{1,8})(['’]s)?(?![\w'’]|-\w)", _roman),
)
CODES_AND_MONEY = _rules(
    (r"v(\d{1,9}(?:\.\d{1,9}){0,6})(?!\w)", _release),
    (
        rf"(US\$|[AC]\$|Rs\.?|Tk\.?|{CODE})\s?({AMOUNT})(?:[{DASH}]({AMOUNT}))?{MAGNITUDE}(?:/-)?(?:/([a-z]{{1,20}}))?",
        _money,
    ),
    (r"[A-Za-z]+\d[A-Za-z0-9]*(?:-[A-Za-z]+\d[A-Za-z0-9]*)?", _mixed_code),
)
LETTERS = _rules(
    (r"et al\.|w/o\b|w/(?=\s)|Ph\.D\.|Co\.", _dotted),
    (r"((?:[A-Za-z]\.){2,8})['’]s(?!\w)", _initials_own),
    (r"(?:[A-Za-z]\.){2,8}(?!\w)|(?:a\.k\.a|e\.g|i\.e)(?![\w.])", _dotted),
    (r"(?:[A-Z]\. ?){1,8}[A-Z]\.(?!\w)|(?:[A-Za-z]\.){1,8}[A-Za-z](?![\w.])", _initials),
    (r"([A-Za-z]{1,4})\.\s?(?=\d|[IVXLC]{1,8}(?!\w))|(Nos?|pp)\s(?=\d)", _before_number),
    (r"([A-Z][a-z]{1,4}|[a-z]{2,6}|PhD|OK)(?![\w'’]|-[A-Za-z])\.?", _abbreviation),
    (r"(mid|pre|post|non|Mid|Pre|Post)-(\d{1,9})(s?)(?!\w)", _prefixed),
    (rf"[{LETTER}]{{1,40}}-\d+[A-Za-z]?{NO_LETTER}", _mixed_code),
    (rf"([A-ZÀ-ÖØ-Þ]{{2,40}})(['’]?s)?(?![{LETTER}'’]|-[{LETTER}])", _capitals),
    (rf"[{LETTER}]+(?:['’‐‑-][{LETTER}]+)*(?:(?<=s)['’](?=\s|$))?", _word),
)
SHORT = "|".join([word for word in [*TITLES, *BEFORE_NUMBERS] if word.islower() and len(word) > 1])
SCANNER = Scanner(
    "en",
    re.compile(rf"\s*(?!(?:{SHORT}|et|mid|pre|post|non)\b)([a-z]++)(?=[ ,;!?\n]|$)"),
    lambda c: "0" if c.isdecimal() else "a" if c.isalpha() and c not in GREEK else " ",
    {"0": [*ADDRESSES, *DIGITS], "a": [*ADDRESSES, *NAMES, *CODES_AND_MONEY, *LETTERS], " ": SIGNED},
)


def read(text: str, begin: int = 0, end: int | None = None) -> tuple[list[Token], list[Drop]]:
    """Words and marks of ``text[begin:end]``, which must be `canonical`; and what nobody reads."""
    return sort_out(stream(text, begin, end))


def stream(text: str, begin: int = 0, end: int | None = None) -> Iterator[Token | Drop]:
    """The same as `read`, one by one; see `Scanner.stream`."""
    near: list[Token] = []
    """The last three, and the one that follows."""
    for token in SCANNER.stream(text, begin, end):
        if isinstance(token, Drop):
            yield token
            continue
        near.append(token)
        if len(near) > 1 and not _initial(near, len(near) - 2):
            yield near[-2]
        del near[:-3]
    yield from near[-1:]


def _initial(tokens: list[Token], i: int) -> bool:
    """Whether a full stop follows an initial: "George W. Bush"."""
    if tokens[i].spoken != "." or not 0 < i < len(tokens) - 1:
        return False
    letter, following = tokens[i - 1].spoken, tokens[i + 1].spoken
    spelled = i > 1 and isinstance(tokens[i - 2], Word) and re.search(r"\b[A-Z]$", tokens[i - 2].spoken)
    named = isinstance(tokens[i - 2], Word) and re.split("[ -]", tokens[i - 2].spoken)[-1] if i > 1 else ""
    alone = len(letter) == 1 and letter.isupper() and letter != "I" and not spelled and named not in LETTERED
    return alone and following[0].isupper() and following.split()[0] not in STARTERS


def normalise(text: str) -> str:
    """Plain words and punctuation for a text.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        Words with single spaces, each with at most one mark of ``, ; : ... . ! ?`` behind it; no digits, no
        symbols. What is not English is left out. Normalised text is returned as it is.
    """
    return join(read(canonical(text))[0])


def characters(text: str) -> list[str]:
    """Characters of the normalised text, in lower case; ``"|"`` closes each sentence.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    list of str
        Letters, spaces, apostrophes, hyphens, marks inside of sentences, and ``"|"``.
    """
    spoken = normalise(text).lower()
    return list(unicodedata.normalize("NFC", re.sub(r"(?:\.\.\.|[.!?])\s*|(?<=[^.!?])$", "|", spoken)))
