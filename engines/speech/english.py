"""English as it is spoken: numbers, dates, money, units, abbreviations and symbols as plain words.

Words in Bengali letters are read by `engines.speech.bangla` and marked as Bangla.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

from engines.speech.bangla_words import LETTER as BENGALI
from engines.speech.english_numbers import (
    AMOUNT,
    CONTINENTAL,
    DASH,
    LONGEST,
    NUMBER,
    ONES,
    SUBSCRIPTS,
    SUPERSCRIPTS,
    VULGAR,
    amount,
    cardinal,
    continental,
    digits,
    fraction,
    full_year,
    ordinal,
    pairs,
    year,
)
from engines.speech.english_words import (
    ACRONYMS,
    ADDRESS,
    ALARMS,
    BEFORE_NAMES,
    BEFORE_NUMBERS,
    CODED,
    CODES,
    COUNTED,
    CURRENCIES,
    DATE_CUES,
    DOTTED,
    GREEK,
    INITIALISMS,
    JETS,
    KINGS,
    LETTERED,
    MAGNITUDES,
    MONTHS,
    NUMBERED,
    PAIRED,
    PERIODS,
    POINTS,
    SHORT_DAYS,
    SHORT_MONTHS,
    SHORT_WORDS,
    SHORTENED,
    SHOUTED,
    STARTERS,
    SYMBOLS,
    TIME_CUES,
    TITLES,
    UNITS,
    WHOLE,
)
from engines.speech.folding import canonical
from engines.speech.words import Drop, Mark, Reading, Rule, Scanner, Token, Word, join, sort_out

LETTER = r"A-Za-zÀ-ÖØ-öø-ɏḀ-ỿ"
MONTH_NAME = "|".join([*MONTHS, *sorted(SHORT_MONTHS, key=len, reverse=True)])
MONTH = rf"({MONTH_NAME})\b(?:(?:(?<=\b[A-Z][a-z]{{2}})(?<!May)|(?<=Sept))\.(?=,|\s*[{DASH}\da-z]))?"
"""The dot of a short name, unless a sentence may end there."""
SIGNS = r"US\$|[AC]\$|[$€£¥₹৳₩₽]"
MAGNITUDE = r"(?:\s?(thousand|million|billion|trillion|lakh|crore|bn|mn|tn|[kKmMbBT]))?(?![A-Za-z])"
CODE = "|".join(code for code in CODES if code.isupper() and code.isalpha())
UNIT = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
ARC = r"(\d{1,2}(?:\.\d+)?)"
COMPASS = {"N": "north", "S": "south", "E": "east", "W": "west"}
NO_LETTER = rf"(?![{LETTER}0-9])"
PRONOUNS = "I|it|its|he|she|they|we|you|i|my|our|his|her|their|this|these|there"
UNIT_STOP = (
    rf"(?:\.(?=\s+(?!(?:{PRONOUNS})\b)[a-z]|[,;:)])|(?:(?<=ft|lb|hr)|(?<=lbs|hrs|yrs|min))\.(?=\s\d))?"
)
"""The dot of a short unit, unless a sentence may end there, also of who begins them with small letters."""
PER = "|".join(
    sorted(
        {*PERIODS, *(unit for unit in UNITS if re.fullmatch("[a-zA-Z]+[²³23]?", unit)), "d"},
        key=len,
        reverse=True,
    )
)
"""Behind the stroke of a rate."""
DAY_CUES = {"on", "every", "next", "last", "this", "until", "by", "from", "and", "to"}
ONSETS = "BL|BR|CH|CL|CR|DR|FL|FR|GL|GR|PL|PR|SC|SH|SK|SL|SN|SP|ST|SW|TH|TR|TW|WH"
CODAS = "LL|DD|GG|SH|RT|RM|CT|ND|LD|SK|NT|RK|LM|NK|FF|SS|NN|LK|PT|SP|CH|TH"
CONSONANT = "[BCDFGHJKLMNPQRSTVWXZ]"
SHORT_SHAPE = re.compile(
    rf"{CONSONANT}[AEIOUY](?:{CONSONANT}|[AEIOUY])|(?:{ONSETS})[AEIOUY]|[AEIOU](?:{CODAS})"
    rf"|[AEIOU]{CONSONANT}[EY]|(?:OI|AI|OA|EA|OU){CONSONANT}|Y[AEO]{CONSONANT}"
)
"""Three letters that can be a word."""


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
    return rest[0].isspace() and following.split("'")[0] in STARTERS and match[0] not in TITLES


def _shouting(match: re.Match[str]) -> bool:
    """Whether most words around stand in capitals, and more than one is a word rather than initials."""
    at = match.start()
    near = (
        match.string[max(0, at - 60) : at].rpartition("\n")[2] + match.string[at : at + 60].partition("\n")[0]
    )
    words = re.findall(r"[A-Za-z]{2,}", near)
    capitals = [word for word in words if word.isupper()]
    if len(words) < 2 or len(capitals) <= 0.6 * len(words) or re.search("[\u0980-\u09ff]", near):
        return False
    return any(word in SHOUTED for word in capitals) or sum(map(_a_word, capitals)) > 1


def _a_word(word: str) -> bool:
    """Whether capitals look like a word: by the list, or by where their vowels are."""
    if word in SHOUTED:
        return True
    if word in ACRONYMS or word in INITIALISMS or len(word) < 3:
        return False
    return SHORT_SHAPE.fullmatch(word) is not None if len(word) == 3 else capitals(word) == word.lower()


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


def _hours_and_minutes(match: re.Match[str]) -> Reading:
    """14h30 is a time; 1h30 is how long something takes, but behind at and the like."""
    hours, minutes = int(match[1]), int(match[2])
    if hours > 24:
        return None
    timed = hours > 5 or match[1][0] == "0" or _before(match).lower() in TIME_CUES
    return _clock(hours, minutes, "") if timed else f"{_several(hours, 'hour')} {cardinal(minutes)}"


def _how_long(match: re.Match[str]) -> Reading:
    """1h30m, 2d 4h, 3m20s."""
    parts = zip(match.groups(), ("day", "hour", "minute", "second"), strict=True)
    said = [_several(int(number), name) for number, name in parts if number]
    return " ".join(said) if len(said) > 1 else None


def _military(match: re.Match[str]) -> Reading:
    """0800 hours, at 1630 hours, 1600 hrs; but 1600 hours of something are counted."""
    hours, minutes = match[1], int(match[2])
    before = _before(match).lower()
    timed = hours[0] == "0" or before in TIME_CUES or (match[3] == "hrs" and before not in COUNTED)
    if not timed or _after(match) == "of" or (hours == "24" and minutes):
        return None
    spoken = {"00": "zero"}.get(hours) or ("oh " if hours[0] == "0" else "") + cardinal(int(hours))
    if not minutes:
        return f"{spoken} hundred hours"
    return f"{spoken} {'oh ' if minutes < 10 else ''}{cardinal(minutes)} hours"


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
    return _date(first, second, str(full_year(match[4])), _before(match).lower() != "the")


def _day_of_month(match: re.Match[str]) -> Reading:
    """12/31 behind a word that wants a date; a half or a sixteenth of something is none."""
    first, second = int(match[1]), int(match[2])
    cue = re.search(r"([A-Za-z]+):?\s*$", match.string[max(0, match.start() - 30) : match.start()])
    before = cue[1].lower() if cue else ""
    if before not in DATE_CUES or (first > 12) == (second > 12):
        return None
    rest = match.string[match.end() : match.end() + 20]
    measured = (before == "by" and first == 1) or (second == 16 and before not in {"on", "due", "dated"})
    measured = measured or re.match(rf"\s*(?:to|and|[{DASH}])\s*\d{{1,2}}/{second}(?!\d)", rest) is not None
    if measured or _after(match) in {*UNITS, *POINTS, "of"}:
        return None
    day, month = (second, first) if second > 12 else (first, second)
    return f"{MONTHS[month - 1]} {ordinal(day)}" if second > 12 else _date(day, month, None)


def _dotted_date(match: re.Match[str]) -> Reading:
    before = _before(match)
    return None if before[:1].isupper() or before == "version" else _numeric_date(match)


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
    groups = [digits(group) or group for group in re.findall(r"\d+|X", match[0])]
    return ("plus " if match[0].startswith("+") else "") + ", ".join(groups)


def _short_phone(match: re.Match[str]) -> Reading:
    """555-1234; round ones are a range."""
    return None if match[1].endswith("0") and match[2].endswith("00") else _phone(match)


def _groups(match: re.Match[str]) -> Reading:
    """Of a card or an account, in fours; years in a row are none."""
    return None if all(1000 < int(group) < 2100 for group in match[0].split()) else _phone(match)


def _dialled(match: re.Match[str]) -> Reading:
    """*121#, as one keys it in."""
    return " ".join({"*": "star", "#": "hash"}.get(key) or digits(key) for key in match[0])


def _coded(match: re.Match[str]) -> Reading:
    """Digits that are no number: behind PIN or code, those one dials, those of a call for help."""
    near = match.string[max(0, match.start() - 40) : match.start()]
    if re.search(CODED, near):
        return digits(match[0])
    before, after = _before(match).lower(), _after(match)
    dialled = before.startswith("dial")
    called = before in {"call", "calls", "called", "calling", "phone", "ring", "text"} and after[-1:] != "s"
    helped = match[0] in ALARMS and (called or after in {"call", "caller", "operator", "dispatcher"})
    return digits(match[0]) if dialled or helped else None


def _paired(match: re.Match[str]) -> Reading:
    """Three digits as one says those of a road or an aircraft: 747-400."""
    jet = match[1][0] + match[1][2] == "77" and (match[2] or _after(match) in JETS)
    if not jet and _before(match) not in PAIRED:
        return None
    return f"{pairs(match[1])} {pairs(match[2])}" if match[2] else pairs(match[1])


def _screen(match: re.Match[str]) -> Reading:
    return f"{pairs(match[1])} {match[2].upper()}" + (f" {cardinal(int(match[3]))}" if match[3] else "")


def _odds(match: re.Match[str]) -> Reading:
    return f"{amount(match[1])}{match[2].replace('-', ' ')} {amount(match[3])}"


def _machine(match: re.Match[str]) -> Reading:
    spoken = " dot ".join(digits(part) for part in match[1].split("."))
    return spoken + (f" port {digits(match[2])}" if match[2] else "")


def _version(match: re.Match[str]) -> Reading:
    return " point ".join(amount(part) for part in match[1].split("."))


def _release(match: re.Match[str]) -> Reading:
    return f"version {_version(match)}"


def _mixed(match: re.Match[str]) -> Reading:
    top, bottom = int(match[2]), int(match[3])
    if not 0 < top < bottom <= 20 or (match[0][len(match[1])] == "-" and bottom not in {2, 3, 4, 8, 16}):
        return None
    unit = f" {UNITS[match[4]][1]}" if match[4] else ""
    return f"{amount(match[1])} and {_part(top, bottom)}{unit}"


def _part(top: int, bottom: int) -> str:
    return f"a {fraction(1, bottom).split(' ', 1)[1]}" if top == 1 else fraction(top, bottom)


def _fraction(match: re.Match[str]) -> Reading:
    if 1900 <= int(match[1]) < 2100 and len(match[2]) == 2:
        return f"{year(int(match[1]))} {cardinal(int(match[2]))}"
    known = {"24/7": "twenty-four seven", "9/11": "nine eleven"}
    top, bottom, after = int(match[1]), int(match[2]), _after(match)
    best = top > 1 and bottom in {10, 100} and after not in {"of", *POINTS}
    marked = after in {"star", "stars"} or _before(match) in {"rated", "scored", "rating", "score"}
    if marked or best or (top == bottom == 5):
        return f"{cardinal(top)} out of {cardinal(bottom)}"
    if top == bottom:
        return f"{amount(match[1])} {amount(match[2])}"
    return known.get(match[0]) or fraction(top, bottom)


def _mark_of(match: re.Match[str]) -> Reading:
    return f"{amount(match[1])} out of {amount(match[2])}"


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
    return money(match[2], match[1], None, None, match[3], _adjective(match))


def _continental_money(match: re.Match[str]) -> Reading:
    return money(match["sign"], continental(match["low"]))


def _money_in_words(match: re.Match[str]) -> Reading:
    """3,50 euros, 3.50 dollars: as it is said of signs."""
    low = match[1] if "," not in match[1] else continental(match[1])
    return money({"e": "€", "d": "$"}[match[2][0]], low)


def _negative(match: re.Match[str]) -> Reading:
    return f"minus {money(match[1], match[2])}"


def _continental(match: re.Match[str]) -> Reading:
    return amount(continental(match[0]))


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


def _unit_with_comma(match: re.Match[str]) -> Reading:
    """As it is written on the continent: 1,5 kg."""
    spoken = amount(match[1].replace(",", "."))
    return f"{spoken} {UNITS[match[2]][1]}" if match[2] else spoken


def _rate(match: re.Match[str]) -> Reading:
    """3 GB/day, 5 mg/kg/day."""
    one, several = UNITS[match[2]]
    spoken = amount(match[1])
    parts = ["day" if part == "d" else UNITS.get(part, (part,))[0] for part in match[3][1:].split("/")]
    return " per ".join([f"{spoken} {one if spoken == 'one' or _adjective(match) else several}", *parts])


def _unit_before(match: re.Match[str]) -> Reading:
    """A quantity bound to its noun: a 20-lb. bag."""
    return f"{amount(match[1])} {UNITS[match[2]][0]}"


def _volts_and_amperes(match: re.Match[str]) -> Reading:
    volts, amperes = ("volt", "volts"), ("ampere", "amperes")
    one, other = (amount(match[i]) for i in (1, 3))
    return f"{one} {volts[one != 'one']}{match[2]}{other} {amperes[other != 'one']}"


def _angle(match: re.Match[str]) -> Reading:
    """Degrees, minutes and seconds of arc: 40° 26′ 46″ N."""
    parts = zip(match.groups()[:3], ("degree", "minute", "second"), strict=True)
    spoken = [f"{amount(n)} {one}{'' if amount(n) == 'one' else 's'}" for n, one in parts if n]
    return ", ".join(spoken) + (f" {COMPASS[match[4]]}" if match[4] else "")


def _by(match: re.Match[str]) -> Reading:
    return f"{amount(match[1])} by"


def _times_as(match: re.Match[str]) -> Reading:
    """Ten times as fast; but the x of a sum is a letter."""
    summed = re.compile(r"\s?[-+−=^/)]\s?[\dA-Za-z(]").match(match.string, match.end())
    return None if summed else _times(match)


def _times(match: re.Match[str]) -> Reading:
    return f"{amount(match[1])} times"


def _exponent(match: re.Match[str]) -> Reading:
    minus = "minus " if match[2] == "-" else ""
    unit = f" {UNITS[match[4]][1]}" if match[4] else ""
    return f"{amount(match[1])} times ten to the power of {minus}{amount(match[3])}{unit}"


def _power(match: re.Match[str]) -> Reading:
    unit = f" {UNITS[match[3]][1]}" if match[3] else ""
    return f"{amount(match[1])} {_raised(match[2])}{unit}"


def _raised(exponent: str) -> str:
    """``"2"`` -> ``"squared"``; a sign may stand before, a letter instead."""
    if exponent in {"2", "3"}:
        return {"2": "squared", "3": "cubed"}[exponent]
    sign, number = re.fullmatch(r"([-+]?)(.*)", exponent).groups()  # type: ignore[union-attr]
    minus = "minus " if sign == "-" else ""
    return f"to the power of {minus}{number if number.isalpha() else amount(number)}"


def _caret(match: re.Match[str]) -> Reading:
    return _raised(match[1])


def _superscript(match: re.Match[str]) -> Reading:
    return _raised(match[0].translate(SUPERSCRIPTS))


def _subscript(match: re.Match[str]) -> Reading:
    return amount(match[0].translate(SUBSCRIPTS))


def _formula(match: re.Match[str]) -> Reading:
    """H₂O, letter by letter; x₁."""
    spelled = match[0] != match[0].lower()
    parts = re.findall(r"\d+(?:\.\d+)?|[A-Za-z]+", match[0].translate(SUBSCRIPTS))
    return " ".join(amount(p) if p[0].isdecimal() else " ".join(p.upper()) if spelled else p for p in parts)


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


def _clause(match: re.Match[str]) -> Reading:
    """Of a law: 401(k), 501(c)(3)."""
    number, letter, part, several = match.groups()
    spoken = f"{pairs(number) if len(number) == 3 else amount(number)} {letter.upper()}"
    return spoken + (f" {amount(part)}" if part else "") + ("'s" if several else "")


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
        elif part == "s" and spoken and not spoken[-1].isupper():
            spoken[-1] = spoken[-1][:-1] + "ies" if spoken[-1].endswith("y") else f"{spoken[-1]}s"
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


def _short_day(match: re.Match[str]) -> Reading:
    return _without_stop(match, SHORT_DAYS[match[1]])


def _dotted_day(match: re.Match[str]) -> Reading:
    """Of those that are words as well: "He sat in the Sun." is no Sunday."""
    ends = _ends_sentence(match, match.end() - 1) or _after(match)[:1].isupper()
    return None if ends and _before(match) not in DAY_CUES else _short_day(match)


def _short_month(match: re.Match[str]) -> Reading:
    return _without_stop(match, SHORT_MONTHS[match[1]])


def _roman(match: re.Match[str]) -> Reading:
    text = match[1]
    number = _roman_value(text)
    before = _before(match)
    before = before.capitalize() if before.isupper() and len(before) > 1 else before
    dotted = match.string[match.end() : match.end() + 1] == "."
    if number is None or (len(text) == 1 and dotted and before not in KINGS | NUMBERED):
        return None
    if match[2]:
        return f"the {ordinal(number)}'s" if before in KINGS else None
    if _after(match).lower() in {"century", "centuries", "congress", "olympiad"}:
        return ordinal(number)
    plain = len(text) > 3 or (len(text) == 3 and set(text) <= set("IVX") and text != "XXX")
    if plain and before not in KINGS:
        return year(number) if 1000 < number < 2100 else cardinal(number)
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
    roman = not re.compile(r"#?\d").match(match.string, match.end())
    if spoken is None or word == "L" or (roman and word.lower() not in {"vol", "ch", "sec", "fig"}):
        return None
    if word.lower() in {"no", "nos"}:
        return Word(match.start(), match.end() + match.string.startswith("#", match.end()), spoken, "en")
    return spoken.capitalize() if word[0].isupper() else spoken


def _bracketed(match: re.Match[str]) -> Reading:
    spoken = BEFORE_NUMBERS[match[1].lower()]
    return f"{spoken.capitalize() if match[1][0].isupper() else spoken} {amount(match[2])}"


def _dotted(match: re.Match[str]) -> Reading:
    spoken = DOTTED.get(match[0]) or DOTTED.get(match[0].lower()) or DOTTED.get(f"{match[0]}.")
    return None if spoken is None else _without_stop(match, spoken)


def _initials(match: re.Match[str]) -> Reading:
    return _without_stop(match, " ".join(re.findall(r"[A-Za-z]", match[0])).upper())


def _initials_own(match: re.Match[str]) -> Reading:
    return " ".join(match[1].replace(".", "")).upper() + "'s"


def _abbreviation(match: re.Match[str]) -> Reading:
    word = match[1]
    if match[2]:
        return f"{TITLES[word]}'s" if word in TITLES else None
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
    elif word in SHORTENED and match[0].endswith("."):
        if word in WHOLE and _ends_sentence(match, match.end() - 1):
            return None
        spoken = SHORTENED[word]
    elif word in BEFORE_NAMES and re.compile(r"\s+[A-Z][a-z]").match(match.string, match.end()):
        return BEFORE_NAMES[word]
    else:
        return None
    return _without_stop(match, spoken)


def _initials_here(match: re.Match[str]) -> bool:
    """Whether a word that is initials as well is those: the US, the IT people; US at the start."""
    before = _before(match)
    return match[1] in {"IT", "US", "WHO"} and (before == "THE" or (before == "" and match[1] == "US"))


def _capitals(match: re.Match[str]) -> Reading:
    word, tail = match[1], match[2] or ""
    beside = (
        match.string[max(0, match.start() - 1) : match.start()] + match.string[match.end() : match.end() + 1]
    )
    if word == "AM" and _before(match) == "I":
        return "am"
    if "&" in beside and len(word) < 4:
        return " ".join(word)
    if not tail and _a_word(word) and not _initials_here(match) and _shouting(match):
        return word.lower()
    spoken = capitals(word)
    if tail and " " in spoken:
        return f"{spoken}'s"
    return spoken + tail.replace("’", "'").lower()


def _article(match: re.Match[str]) -> Reading:
    """The A of a text in capitals, but where it is a letter's name."""
    return "a" if _before(match).lower() not in LETTERED and _shouting(match) else None


def _shouted_title(match: re.Match[str]) -> Reading:
    return _without_stop(match, {"DR": "doctor"}.get(match[1]) or TITLES[match[1].capitalize()].lower())


def _pair(match: re.Match[str]) -> Reading:
    return f"{match[1]} and {match[2]}" + ("'s" if match[3] else "")


def _small(word: str) -> str:
    """A short form in capitals: DON'T, I'M."""
    return re.sub(r"^i\b", "I", word.lower())


def _word(match: re.Match[str]) -> Reading:
    parts = re.split("([-‐‑])", match[0].replace("’", "'"))
    parts = [_small(part) if "'" in part and part.isupper() else part for part in parts]
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


def _to_measure(match: re.Match[str]) -> Reading:
    """Between two measures: 5 kg-10 kg."""
    near = match.string[max(0, match.start() - 20) : match.start()]
    return "to" if re.search(rf"\d\s?(?:{UNIT})$", near) else None


def _slash(match: re.Match[str]) -> Reading:
    before, after = _before(match), _after(match)
    if not before and not after and match[0] != "/":
        return _mark_at(match) if DAY_MONTH.pattern.match(match.string, match.end()) else "divided by"
    if after in {"hour", "minute", "second", "day", "night", "week", "month", "year", "person"}:
        return "per"
    if (before, after) == ("and", "or") or (before.isupper() and after.isupper()):
        return ""
    return "slash"


def _mark_at(match: re.Match[str]) -> Mark:
    return Mark(match.start(), match.end(), ",")


def _closing(match: re.Match[str]) -> Reading:
    """The bracket behind an address: <tom@example.com>."""
    near = match.string[max(0, match.start() - 400) : match.start()]
    return _mark_at(match) if re.search(r"<(?:[^\s<>]*@|(?:https?|ftp)://)[^\s<>]+$", near) else None


def _compared(match: re.Match[str]) -> Reading:
    """<10 items: less than so many; but x <10 is a sentence."""
    if re.search(
        r"(?:(?<![A-Za-z'’])[A-Za-z]|[\d)°%])\s$", match.string[max(0, match.start() - 3) : match.start()]
    ):
        return None
    return {
        "<": "less than",
        ">": "more than",
        "≤": "at most",
        "<=": "at most",
        "≥": "at least",
        ">=": "at least",
    }.get(match[1])


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


def _bangla(match: re.Match[str]) -> Reading:
    """What is in Bengali letters."""
    from engines.speech import bangla

    return bangla.read_at(match.string, match.start(), match.endpos)


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
    (r"(\d{1,2})[:.](\d\d)\s?([ap]\.?m\b\.?|[AP]\.?M\b\.?)", _half_day),
    (r"(\d{1,2})\s?([ap]\.?m\b\.?|[AP]\.?M\b\.?)", _hour),
)
DAY_MONTH = _rule(
    rf"(?:(\d{{1,2}})[{DASH}])?(\d{{1,2}})(?:st|nd|rd|th)?(?:\s+of)?\s+{MONTH}(?:,?\s+(\d{{4}})(?!\d))?",
    _day_month,
)
BRACKETS = _rules(
    (r"<(?=[^\s<>]{1,200}@[^\s<>]{1,200}>|(?:https?|ftp)://[^\s<>]{1,2000}>)", _mark_at),
    (r">", _closing),
)
CLAUSE = _rule(r"(\d{1,3})\(([a-z])\)(?:\((\d{1,2})\))?(s(?![A-Za-z]))?", _clause)
NUMBER_LETTERS = _rule(rf"(\d{{1,9}})([A-Z]{{1,3}}\d*){NO_LETTER}", _number_letters)
DIGITS = _rules(
    (rf"(?=\d[\d.,:/-]{{0,30}}(?<=\d)[{BENGALI}])", _bangla),
    (
        r"(\d{4})[-/.](\d\d)[-/.](\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?Z?)?(?![\d-])",
        _iso_date,
    ),
    (r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})(?!\d)", _numeric_date),
    (r"(\d{1,2})([/-])(\d{1,2})\2(\d\d)(?![/-]?\d)", _numeric_date),
    (r"(\d\d)(\.)(\d\d)\.(\d\d)(?!\.?\d)", _dotted_date),
    (rf"(?P<low>{CONTINENTAL}|\d{{1,3}},\d\d)\s?(?P<sign>{SIGNS}|EUR\b)", _continental_money),
    (rf"({CONTINENTAL}|\d{{1,3}},\d\d|{NUMBER}\.\d\d)\s(euros?|dollars?)\b", _money_in_words),
    (rf"{CONTINENTAL}(?!\d)", _continental),
    (r"(\d{1,3}(?:\.\d{1,3}){3})(?::(\d{1,5}))?(?![\d.]?\d)", _machine),
    (r"(\d{1,9}(?:\.\d{1,9}){2,6})(?!\d)", _version),
    (r"([1-9]\d\d)-(\d{4})(?!\d)", _short_phone),
    (r"(?:1-)?\d{3}-\d{3}-\d{4}(?!\d)|0\d\d-\d{4}(?!\d)|\d{3} \d{3} \d{4}(?!\d)", _phone),
    (r"0\d{1,5}(?:[ -]\d{3,8}){1,3}(?!\d)", _phone),
    (r"\d{1,12}(?:-\d{1,12}){2,6}(?:-X)?(?![\w-])|1-\d{3}-(?=[A-Z]{3,20}(?!\w))", _phone),
    (r"\d{4}(?: \d{4}){2,5}(?: \d{1,3})?(?! ?\d)", _groups),
    (r"\d{3,12}(?![\d,.:/-]?\d)", _coded),
    (r"(\d{3})(?:-(\d{3}))?(?![\d,.]?\d)", _paired),
    (r"(360|480|720|1080|1440|2160|4320)([pi])(\d{2,3})?" + NO_LETTER, _screen),
    *CLOCK,
    (r"(\d{1,2}):(\d\d)(?::(\d\d))?(?!\d)", _time),
    (rf"(\d{{1,2}})h([0-5]\d){NO_LETTER}", _hours_and_minutes),
    (
        r"(?:(\d{1,3}) ?d ?)?(?:(\d{1,3}) ?h(?:rs?)? ?)?(?:(\d{1,3}) ?m(?:ins?)? ?)?"
        rf"(?:(\d{{1,3}}) ?s(?:ecs?)?)?(?<=[a-z]){NO_LETTER}",
        _how_long,
    ),
    (r"([01]\d|2[0-4])([0-5]\d)\s?(hrs|hours)\b", _military),
    DAY_MONTH,
    (rf"(\d{{1,9}})(?:\s+|-)(\d{{1,2}})/(\d{{1,2}})(?![\d/])(?:\s?({UNIT}){NO_LETTER})?", _mixed),
    (r"(\d{1,2})/(\d{1,2})(?![\d/])", _day_of_month),
    (r"(\d{1,3}\.\d{1,2})/(\d{1,3}(?:\.\d)?)(?![\d/])", _mark_of),
    (r"(\d{1,4})/(\d{1,4})(?![\d/])(?:rds|ths|th)?", _fraction),
    (rf"(\d{{1,9}})\s?([{''.join(VULGAR)}])(?:\s?({UNIT}){NO_LETTER})?", _vulgar),
    (rf"({NUMBER})(?:st|nd|rd|th)((?:-[A-Za-z]+)+)?{NO_LETTER}", _ordinal),
    (r"(10{1,3})s(?= of\b)", _round),
    (rf"([2-9]0|\d\d\d0)['’]?s{NO_LETTER}", _decade),
    (
        rf"({AMOUNT})\s?({SIGNS}|¢|p(?!\.?[A-Za-z])|(?:{CODE})\b)(?:/({PER}){NO_LETTER})?",
        _money_behind,
    ),
    (
        r"(\d{1,3}(?:\.\d+)?)° ?"
        rf"(?:{ARC}['’′] ?)?(?:{ARC}(?:\"|''|”|″) ?)?([NSEW]){NO_LETTER}",
        _angle,
    ),
    (rf"(\d{{1,3}})° ?{ARC}['’′](?: ?{ARC}(?:\"|''|”|″))?()", _angle),
    (r"(\d)['’′] ?(\d{1,2})(?:\"|''|”|″)", _feet),
    (r"(\d) ?(?:ft|foot|feet)\.? (\d{1,2}) ?in(?![A-Za-z])\.?", _feet),
    (r"(\d{1,3})(?:″|(?:(?<=[x×]\d)|(?<=[x×] \d)|(?<=[x×]\d\d)|(?<=[x×] \d\d))\")", _inches),
    (rf"(\d{{4}})[{DASH}](\d{{4}}|\d\d)(?!\d)(?!-\d)", _years),
    (rf"(\d{{1,3}})[{DASH}](\d{{1,3}})(?!\d)", _score),
    (rf"({AMOUNT})\s?V( and | at |, )({AMOUNT})\s?A{NO_LETTER}", _volts_and_amperes),
    (
        rf"(\d{{1,3}},\d{{1,2}})(?:[\s\u00a0\u202f]?({UNIT}){NO_LETTER}(?![²³/^]){UNIT_STOP}"
        r"|(?=\s?%| percent\b))",
        _unit_with_comma,
    ),
    (
        rf"({AMOUNT})[\s\u00a0\u202f]?({UNIT}){NO_LETTER}"
        rf"(?![²³^]|/\s?[^\W\d]){UNIT_STOP}",
        _unit,
    ),
    (rf"({AMOUNT})[\s\u00a0\u202f]?({UNIT})((?:/(?:{PER})){{1,2}}){NO_LETTER}(?![²³/^])", _rate),
    (rf"({AMOUNT}) ?[x×](?= ?{AMOUNT}(?: ?[x×] ?{AMOUNT}){{0,3}}\s*=)", _times),
    (rf"({AMOUNT})[\"″]? ?[x×](?= ?{AMOUNT}(?!\s*=|[\d.,]))", _by),
    (rf"({AMOUNT})x{NO_LETTER}", _times_as),
    (rf"({AMOUNT})[eE]([+-]?)(\d{{1,4}}){NO_LETTER}(?:\s?({UNIT}){NO_LETTER})?", _exponent),
    (rf"({AMOUNT})\^(-?{AMOUNT})(?:\s?({UNIT}){NO_LETTER})?", _power),
    (r"\d{4}(?![\d,.]?\d)", _four_digits),
    CLAUSE,
    (r"(\d{1,3}):(\d{1,3})(?![\d:])", _colons),
    (rf"({AMOUNT})-({UNIT}){NO_LETTER}\.?", _unit_before),
    (rf"(\d{{1,9}})((?:-[a-z]{{2,5}}){{1,2}})-((?:{NUMBER}))(?![\w-])", _odds),
    (rf"({NUMBER})((?:-(?:[a-zA-Z]{{2,30}}|a(?=-)))+){NO_LETTER}", _compound),
    (rf"({AMOUNT})(k|bn|mn|tn|M|(?<=\d\d)K|(?<=\.\d)[KBT]|B(?= [a-z])){NO_LETTER}", _magnitude),
    (r"(?<=\b[A-Z]{2} )\d{5}(?!\d)", _digits),
    NUMBER_LETTERS,
    (AMOUNT, _number),
)
SIGNED = _rules(
    (rf"({SIGNS})\s?[{DASH}]({AMOUNT})(?![\d,.]*\d)", _negative),
    (rf"(?P<sign>{SIGNS})\s?(?P<low>{CONTINENTAL}|\d{{1,3}},\d\d)(?!,?\d)", _continental_money),
    (rf"({SIGNS})\s?({AMOUNT})(?:[{DASH}]({AMOUNT}))?{MAGNITUDE}(?:/([a-z]{{1,20}}))?", _money),
    (rf"(?<=[{BENGALI}])(?:['’]s(?!\w)|[-‐‑](?=\w))", _say("")),
    (r"['’](\d0)s(?![A-Za-z])", _short_decade),
    (r"['’](\d\d)(?![\d\w])", _short_year),
    (rf"()([{''.join(VULGAR)}])(?:\s?({UNIT}){NO_LETTER})?", _vulgar),
    (r"\+\d{1,15}(?:[ -]\d{1,8}){1,5}(?!\d)|\+\d{10,15}(?!\d)", _phone),
    (r"\(\d{3,5}\) ?\d{3,4}[ -]\d{3,4}(?!\d)", _phone),
    (r"\.\d+", _number),
    (rf"(?<=[\d%°ap.])[{DASH}](?=\d|[$€£¥₹৳]\s?\d)|(?<=[mM])[{DASH}](?=\d)", _to),
    (
        rf"(?<=\d[kKmMbBT])[{DASH}](?=[$€£¥₹৳]\s?\d|\d[\d.,]*[kKmMbBT])"
        rf"|(?<=lion|sand|lakh|rore)[{DASH}](?=[$€£¥₹৳]\s?\d)|(?<=\d[$€£])[{DASH}](?=\d)",
        _to,
    ),
    (rf"(?<=\d )[{DASH}](?= \d)", _to),
    (rf"(?<=(?<![A-Za-z'’])[a-z] )[{DASH}](?= \d)", _say("minus")),
    (rf"(?<![\w)])[{DASH}](?=[\d.]*\d|{SIGNS})", _say("minus")),
    (r"(?<=\d)( ?)/ ?(?=\d)", _slash),
    (rf"(?<=[A-Za-z²³])[{DASH}](?={AMOUNT}\s?(?:{UNIT}){NO_LETTER})", _to_measure),
    (rf"(?<=[a-z])/(min|sec|hr|h){NO_LETTER}", lambda match: f"per {UNITS[match[1]][0]}"),
    (rf"\s?/\s?(?=100\s?(?:{UNIT}){NO_LETTER})", _say("per")),
    (rf"(?<=[A-Za-z])\s?/\s?(?={AMOUNT}\s?(?:{UNIT}){NO_LETTER})", _mark_at),
    *BRACKETS,
    (rf"(?<![^\s(\[])([<>≤≥]=?)(?=(?:{SIGNS})?\.?\d)", _compared),
    (r"&{2,3}", _say("and")),
    (r" ?/ ?", _slash),
    (r"[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,9}", _superscript),
    (r"[₀-₉]{1,9}", _subscript),
    (r"(?<=[\w)])\^(-?\d{1,9}|[a-z](?![a-z]))", _caret),
    (r"\+\+", _say("plus plus")),
    (rf"~\s?(?=\d|{SIGNS})", _say("about")),
    (r"[*#]{1,3}\d{1,12}(?:[*#]\d{1,12}){0,5}#", _dialled),
    (r"\*(?=\s?\d)(?<=\d\s\*|\d\d\*|.\d\*)", _say("times")),
    (r"(?m)^#{1,6}(?=\s)", _say("")),
    (r"#", _hash),
    (r"(?<!\.)(?<!(?<![A-Za-z])[A-Z])\.(?=[a-z])", _say("dot")),
    (r"(?<![\w.])\.(?=[A-Z]{2,5}(?!\w))|(?<=[A-Z])\.(?=NET(?!\w))", _say("dot")),
    (r"(?<=[a-z])\.(?=[A-Z]{2,4}(?!\w))", _say("dot")),
    (r"(?<!\.)\.(?=,)|(?<=[A-Z]\.)-(?=[a-z])", _say("")),
    (r"[-=]{1,3}>|<[-=]{2,3}|<-(?!\d)", lambda match: Mark(match.start(), match.end(), ",")),
    (r"<=", _say(SYMBOLS["≤"])),
    (r">=", _say(SYMBOLS["≥"])),
    (r"!=", _say(SYMBOLS["≠"])),
    (r"==", _say(SYMBOLS["="])),
    (r"\.{2,}|[,;:.!?…()\[\]{}|—–।॥¿¡•·]", _mark),
    (r"[-‐‑](?!\w)|(?<!\w)[-‐‑]", _mark),
    (r"[-‐‑\"'“”‘’„«»‹›*_`^~′″™®\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufe0e\ufe0f]", _say("")),
    (r"(?s).", _symbol),
    (r"(?s).", _greek),
)
NAMES = _rules(
    (
        rf"((?:Mon|Tues?|Wed|Thur?s?|Fri|Sat|Sun)(?:day)?)\.?[{DASH}]((?:Mon|Tues?|Wed|Thur?s?|Fri|Sat|Sun)(?:day)?)\b",
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
    (r"(Tues?|Thu(?:rs?)?|Fri)(?![\w'’])\.?", _short_day),
    (r"(Mon|Wed|Sat|Sun)(?=\s+\d{1,2}(?::\d\d)?\s?[ap]\.?m)", _day),
    (r"(Mon|Wed|Sat|Sun)\.", _dotted_day),
    (r"(Feb|Aug|Sept?|Oct|Nov|Dec)(?![\w'’])\.?", _short_month),
    (r"(Jan|Mar|Apr|Jun|Jul)\.", _short_month),
    (r"([IVXLCDM]{1,15})(['’]s)?(?![\w'’]|-\w)", _roman),
)
CODES_AND_MONEY = _rules(
    (r"v(\d{1,9}(?:\.\d{1,9}){0,6})(?!\w)", _release),
    (
        rf"(US\$|[AC]\$|Rs\.?|Tk\.?|{CODE})\s?({AMOUNT})(?:[{DASH}]({AMOUNT}))?{MAGNITUDE}(?:/-)?(?:/([a-z]{{1,20}}))?",
        _money,
    ),
    (r"[A-Za-z]{1,20}[₀-₉][A-Za-z₀-₉]*(?:\.[₀-₉]{1,9})?", _formula),
    (r"[A-Za-z]+\d[A-Za-z0-9]*(?:-[A-Za-z]+\d[A-Za-z0-9]*|-\d{3,4}(?![\w-]))?", _mixed_code),
)
LETTERS = _rules(
    (r"et al\.|w/o\b|w/(?=\s|\d)|Ph\.D\.|Co\.", _dotted),
    (r"((?:[A-Za-z]\.){2,8})['’]s(?!\w)", _initials_own),
    (r"(?:[A-Za-z]\.){2,8}(?!\w)|(?:a\.k\.a|e\.g|i\.e)(?![\w.])", _dotted),
    (r"(?:[A-Z]\. ?){1,8}[A-Z]\.(?!\w)|(?:[A-Za-z]\.){1,8}[A-Za-z](?![\w.])", _initials),
    (r"([Ee]qs?|[Ff]igs?)\.?\s?\((\d{1,4})\)", _bracketed),
    (r"[Nn]o\.(?=\s+of\b)", _say("number")),
    (r"b\.\s?(?=(?:1\d|20)\d\d(?!\d))", _say("born")),
    (r"d\.\s?(?=(?:1\d|20)\d\d(?!\d))", _say("died")),
    (r"([A-Za-z]{1,4})\.\s?(?=#?\d|[IVXLC]{1,8}(?!\w))|(Nos?|pp|[Aa]pt)\s(?=#?\d)", _before_number),
    (r"[Nn][º°]\.?\s?(?=\d)", _say("number")),
    (r"([A-Z][a-z]{1,5}|[a-z]{2,6}|PhD|OK)(?![\w'’]|-[A-Za-z])\.?((?<=\.)['’]s(?!\w))?", _abbreviation),
    (r"(mid|pre|post|non|Mid|Pre|Post)-(\d{1,9})(s?)(?!\w)", _prefixed),
    (rf"[{LETTER}]{{1,40}}-\d+[A-Za-z]?{NO_LETTER}", _mixed_code),
    (r"([A-Z])&([A-Z])(['’]?s)?(?![A-Za-z])", _pair),
    (r"A(?![\w'’.&+-])", _article),
    (r"(MRS?|MS|DR|PROF|JR|SR|INC|LTD|CORP|AVE|RD|BLVD|DEPT)\.", _shouted_title),
    (rf"([A-ZÀ-ÖØ-Þ]{{2,40}})(['’]?s|['’]S)?(?![{LETTER}'’]|-[{LETTER}])", _capitals),
    (rf"[{LETTER}]+(?:['’‐‑-][{LETTER}]+)*(?:(?<=s)['’](?=\s|$))?", _word),
)
SHORT = "|".join([word for word in [*TITLES, *BEFORE_NUMBERS] if word.islower() and len(word) > 1])
BENGALI_LETTER = re.compile(f"[{BENGALI}]")


def _kind(character: str) -> str:
    if character.isdecimal():
        return "0"
    if BENGALI_LETTER.match(character):
        return "ক"
    return "a" if character.isalpha() and character not in GREEK else " "


SCANNER = Scanner(
    "en",
    re.compile(rf"\s*(?!(?:{SHORT}|et|mid|pre|post|non)\b)([a-z]++)(?=[ ,;!?\n]|$)"),
    _kind,
    {
        "0": [*ADDRESSES, *DIGITS],
        "a": [*ADDRESSES, *NAMES, *CODES_AND_MONEY, *LETTERS],
        "ক": _rules(("", _bangla)),
        " ": SIGNED,
    },
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


def date(day: int, month: int, of_year: int, month_first: bool = False) -> str:
    """A date of which each part may be 0, which is none: ``3, 5, 0`` -> ``"the third of May"``."""
    spoken = f"the {ordinal(day)}" if day else ""
    if day and month:
        spoken = f"{MONTHS[month - 1]} {ordinal(day)}" if month_first else f"{spoken} of {MONTHS[month - 1]}"
    elif month:
        spoken = MONTHS[month - 1]
    if not of_year:
        return spoken
    return f"{spoken}{',' if month_first else ''} {year(of_year)}".lstrip()


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
        symbols. What is in Bengali letters is Bangla, what is in others is left out. Normalised text is
        returned as it is.
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
