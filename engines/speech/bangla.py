"""Bangla as it is spoken: numbers, dates, money, units, abbreviations and symbols as plain words.

English words inside of Bangla text are read by `engines.speech.english` and marked as English.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from engines.speech import english
from engines.speech.bangla_words import (
    ABBREVIATIONS,
    ALL_MONTHS,
    BLESSINGS,
    COUNTED,
    CURRENCIES,
    DAY_PARTS,
    DAYS,
    DIALLED,
    HUNDREDS_OF,
    LETTER,
    LETTER_NAMES,
    MAGNITUDES,
    MONTHS,
    NUMBERS,
    ORDINALS,
    PER,
    PLAIN,
    SCALES,
    SCRIPTURES,
    SHORT_MONTHS,
    SHORT_WEEKDAYS,
    SHORTENED,
    SYMBOLS,
    TIME_CUES,
    UNITS,
    YEAR_CUES,
    YEARS_BEHIND,
)
from engines.speech.english_numbers import AMOUNT, DASH, LONGEST, NUMBER, SUPERSCRIPTS, VULGAR, full_year
from engines.speech.folding import canonical
from engines.speech.words import Drop, Mark, Reading, Rule, Scanner, Token, Word, join, sort_out

WORD = rf"[{LETTER}][{LETTER}\u200c\u200d]*"
END = rf"(?![{LETTER}\u200c\u200d])"


def _any(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


MONTH = rf"(?:(?:{_any(ALL_MONTHS)})(?:ের|র|ে|এ|তে|কে)?{END}|(?:{_any(SHORT_MONTHS)})[.ঃ])"
DAY_SIGN = "(?:[ -]?(?:শে|ই|লা|রা|ঠা))?"
CLOCK_TAIL = r"টায়|টার|টা|মিনিটের|মিনিটে|মিনিট|ঘটিকায়|ঘটিকার|ঘটিকা|-?এর|-?এ"
CODED = re.compile(rf"(?:{_any(DIALLED)})(?:\s?(?:নং|নম্বর|নাম্বার|হলো|হল|হচ্ছে))?[\s:ঃ.-]*$")
CALLED = re.compile(
    rf"(?:[ -]?(?:এ|তে){END}|\s?(?:নম্বরে|নাম্বারে){END})\s*(?:[{LETTER}]+\s){{0,2}}?"
    "(?:কল|ফোন|ডায়াল|যোগাযোগ|এসএমএস|মেসেজ)"
)
OF_DAY = re.compile(rf"(?<![{LETTER}])(?:{_any(DAY_PARTS)})(?:ে|ের|য়)?[:ঃ]?\s*$")
BORN = re.compile(rf"(?:{_any(YEARS_BEHIND)})\s?[:ঃ–-]?\s*$")
SCRIPTURE = re.compile(_any(SCRIPTURES))
NUMBERED = re.compile(rf"\s?(?:নম্বরে|নাম্বারে){END}")


# Numbers


def cardinal(number: int) -> str:
    """A whole number, zero or greater: 123456 -> ``"এক লাখ তেইশ হাজার চারশো ছাপ্পান্ন"``."""
    for scale, name in SCALES:
        if number >= scale:
            head, rest = divmod(number, scale)
            return f"{cardinal(head)} {name}" + (f" {cardinal(rest)}" if rest else "")
    if number < 100:
        return NUMBERS[number]
    hundreds, rest = divmod(number, 100)
    return f"{NUMBERS[hundreds]}শো" + (f" {NUMBERS[rest]}" if rest else "")


def ordinal(number: int) -> str:
    """Of a whole number, zero or greater: 3 -> ``"তৃতীয়"``, 50 -> ``"পঞ্চাশতম"``."""
    return ORDINALS[number] if 0 < number <= 10 else f"{cardinal(number)}তম"


def day(number: int) -> str:
    """Of a month, 1 to 31: 21 -> ``"একুশে"``."""
    return DAYS.get(number) or cardinal(number) + ("ই" if number < 19 else "ে")


def digits(text: str) -> str:
    """One by one, whatever stands between them."""
    return " ".join(NUMBERS[int(c)] for c in canonical(text) if "0" <= c <= "9")


def spell(word: str) -> str:
    """Letters and digits one by one."""
    return " ".join(NUMBERS[int(c)] if c.isdecimal() else c.upper() for c in canonical(word) if c.isalnum())


def year(number: int) -> str:
    """Of 1 to 9999: 1971 -> ``"উনিশশো একাত্তর"``."""
    century, rest = divmod(number, 100)
    if not 11 <= century <= 19:
        return cardinal(number)
    return f"{NUMBERS[century]}শো" + (f" {NUMBERS[rest]}" if rest else "")


def amount(text: str) -> str:
    """A number as written, with its groups and decimals: ``"1,234.5"``."""
    whole, _, decimals = text.partition(".")
    plain = re.sub(r"\D", "", whole)
    long = len(plain) > LONGEST or (len(plain) > 9 and len(plain) == len(whole))
    long = long or (len(plain) > 1 and plain[0] == "0")
    spoken = digits(plain) if long else cardinal(int(plain or "0"))
    return f"{spoken} দশমিক {digits(decimals)}" if decimals else spoken


def genitive(word: str) -> str:
    """The possessive: দশ -> দশের, দুই -> দুইয়ের, এগারো -> এগারোর."""
    if word.endswith("ই"):
        return word + "য়ের"
    return word + ("র" if word[-1] in "ািীুূেো" else "ের")


# Context


def _before(match: re.Match[str]) -> str:
    """The word before a match; a comma or a bracket may stand between."""
    near = match.string[max(0, match.start() - 30) : match.start()]
    found = re.search(rf"([{LETTER}]+)[\s,.(]*$", near)
    return found[1] if found else ""


def _near(match: re.Match[str]) -> str:
    """What stands before a match on its line, 40 characters at most."""
    return match.string[max(0, match.start() - 40) : match.start()].rpartition("\n")[2]


def _after(match: re.Match[str]) -> str:
    found = re.compile(rf"\s*([{LETTER}]{{1,30}})").match(match.string, match.end())
    return found[1] if found else ""


# Rules for digits


def _iso_date(match: re.Match[str]) -> Reading:
    return _date(int(match[3]), int(match[2]), int(match[1]))


def _numeric_date(match: re.Match[str]) -> Reading:
    first, second = int(match[1]), int(match[3])
    if second > 12 >= first:
        first, second = second, first
    return _date(first, second, full_year(match[4]))


def _dotted_date(match: re.Match[str]) -> Reading:
    versioned = re.search(r"[A-Za-z]\s*$", _near(match)) or _before(match) in {"সংস্করণ", "ভার্সন", "ভার্শন"}
    return None if versioned else _numeric_date(match)


def _date(day_of_month: int, month: int, of_year: int) -> str | None:
    if not (1 <= day_of_month <= 31 and 1 <= month <= 12):
        return None
    return date(day_of_month, month, of_year)


def _month_day(match: re.Match[str]) -> Reading:
    if not 1 <= int(match[2]) <= 31:
        return None
    return f"{day(int(match[2]))} {match[1]} {year(int(match[3]))}"


def _day(match: re.Match[str]) -> Reading:
    first, last = match[1], int(match[2])
    if not 1 <= last <= 31 or (first and not 1 <= int(first) <= 31):
        return None
    return f"{day(int(first))} থেকে {day(last)}" if first else day(last)


def _machine(match: re.Match[str]) -> Reading:
    return " ডট ".join(digits(part) for part in match[0].split("."))


def _version(match: re.Match[str]) -> Reading:
    return " দশমিক ".join(amount(part) for part in match[0].split("."))


def _phone(match: re.Match[str]) -> Reading:
    groups = [digits(group) for group in re.findall(r"\d+", match[0])]
    return ("প্লাস " if match[0].startswith("+") else "") + ", ".join(groups)


def _coded(match: re.Match[str]) -> Reading:
    """Digits that are no number: behind a telephone or a PIN, those one calls."""
    number, last, case = match[1], match[2], match[3] or ""
    rest = match.string[match.end(1) : match.end(1) + 40]
    counted = re.match(rf"\s?(?:টাকা|টি|টা|জন|{MAGNITUDES})", rest)
    a_year = len(number) == 4 and 1700 < int(number) < 2100
    coded = CODED.search(_near(match)) and not counted
    if last:
        return f"{digits(number)}, {digits(last)}" if coded and len(number) > 5 else None
    called = not a_year and (CALLED.match(rest) or (len(number) > 4 and NUMBERED.match(rest)))
    return digits(number) + case if coded or called else None


def _short_phone(match: re.Match[str]) -> Reading:
    """৫৫৫-১২৩৪; round ones and those of what is counted are a range."""
    rounded = match[1].endswith("0") and match[2].endswith("00")
    return None if rounded or _after(match).startswith(HUNDREDS_OF) else _phone(match)


def _plate(match: re.Match[str]) -> Reading:
    """Of a vehicle: ঢাকা মেট্রো-গ ১১-২২৩৩."""
    return _phone(match) if re.search(rf"(?:-|মেট্রো )[{LETTER}]{{1,3}}[\s-]+$", _near(match)) else None


def _postcode(match: re.Match[str]) -> Reading:
    """Of ঢাকা-১২০৭; a year stays one."""
    return None if 1700 < int(match[0]) < 2100 else digits(match[0])


def _clock(hours: int, minutes: int, tail: str) -> str:
    tail = tail.removeprefix("-")
    if tail.startswith("ঘটিকা") and not minutes:
        return f"{cardinal(hours or 12)} {tail}"
    hour = f"{cardinal(hours or 12)}টা"
    locative, possessive = tail.endswith(("টায়", "কায়", "টে", "এ")), tail.endswith("র")
    if minutes:
        return f"{hour} {cardinal(minutes)} মিনিট{'ে' if locative else 'ের' if possessive else ''}"
    return hour + ("য়" if locative else "র" if possessive else "")


def _time(match: re.Match[str]) -> Reading:
    hours, minutes, seconds, tail = int(match[1]), int(match[2]), match[3], match[4] or ""
    if minutes > 59 or hours > 24:
        return None
    if seconds is not None:
        return f"{cardinal(hours)} ঘণ্টা {cardinal(minutes)} মিনিট {cardinal(int(seconds))} সেকেন্ড"
    return _clock(hours, minutes, tail)


def _dotted_time(match: re.Match[str]) -> Reading:
    """The usual way of writing a time, where the words around it say that it is one: সকাল ১০.৩০টায়."""
    hours, minutes, tail = int(match[1]), int(match[2]), match[3] or ""
    if minutes > 59 or hours > 24:
        return None
    of_day = OF_DAY.search(_near(match))
    if not of_day and tail in {"", "মিনিট", "এর", "-এর"}:
        return None
    following = match.string[match.end() : match.end() + 30]
    measured = re.match(rf"\s?(?:[%°$]|টাকা|শতাংশ|কিলো|ডিগ্রি|মিলি|মিটার|{MAGNITUDES})", following)
    return None if measured and not tail else _clock(hours, minutes, tail)


def _verse(match: re.Match[str]) -> Reading:
    """Chapter and verse: সূরা বাকারা ২:২৫৫."""
    return f"{amount(match[1])}, {amount(match[2])}" if SCRIPTURE.search(_near(match)) else None


def _fraction(match: re.Match[str]) -> Reading:
    top, bottom = int(match[1]), int(match[2])
    if _after(match).startswith(("জন", "টি", "টা", "ঘণ্টা", "ঘন্টা", "দিন", "মাস", "বছর", "বার")):
        return Word(match.start(), match.start(2), cardinal(top), "bn")
    if match[0] in {"24/7", "9/11"}:
        return f"{cardinal(top)} {cardinal(bottom)}"
    return _parts(top, bottom) if 0 < top < bottom else f"{cardinal(top)} বাই {cardinal(bottom)}"


def _parts(top: int, bottom: int) -> str:
    return f"{cardinal(bottom)} ভাগের {cardinal(top)} ভাগ"


def _vulgar(match: re.Match[str]) -> Reading:
    whole, sign = int(match[1] or "0"), match[2]
    if sign == "½":
        return {0: "আধা", 1: "দেড়", 2: "আড়াই"}.get(whole) or f"সাড়ে {cardinal(whole)}"
    if sign == "¼":
        return f"সোয়া {cardinal(whole)}" if whole else "সিকি"
    if sign == "¾":
        return f"পৌনে {cardinal(whole + 1)}"
    parts = _parts(*VULGAR[sign])
    return f"{cardinal(whole)} পূর্ণ {parts}" if whole else parts


def _ordinal(match: re.Match[str]) -> Reading:
    number, sign, tail, dash = int(match[1]), match[2], match[3] or "", match[4]
    if sign == "তম" or not 0 < number < len(ORDINALS):
        spoken = f"{cardinal(number)}তম"
    elif sign in {"ই", "শে", "লা", "রা", "ঠা"}:
        return None
    else:
        spoken = ORDINALS[number]
    return spoken + tail + (" থেকে" if dash else "")


def _hundreds(match: re.Match[str]) -> Reading:
    """৫শ টাকা is five hundred; from ১০শ on a bare শ is that of an ordinal, but before what one counts."""
    number, apart, sign, case = int(match[1]), match[2], match[3], match[4] or ""
    counted = _after(match).startswith(HUNDREDS_OF)
    if sign == "শ" and 9 < number < len(ORDINALS) and not (apart or case or counted):
        return None
    spoken = f"{cardinal(number)}{'শত' if sign == 'শত' else 'শো'}"
    return f"{spoken} {case}" if case.startswith("জন") else spoken + ("র" if case == "এর" else case)


def _day_sign(match: re.Match[str]) -> Reading:
    number, apart, sign = int(match[1]), match[2], match[3]
    if not 1 <= number <= 31 or (apart and not _signed(number, sign)):
        return None
    return day(number)


def _signed(number: int, sign: str) -> bool:
    """Whether a sign is that of a day."""
    return sign == {1: "লা", 2: "রা", 3: "রা", 4: "ঠা"}.get(number, "ই" if number < 19 else "শে")


def _money(match: re.Match[str]) -> Reading:
    return money(*match.groups())


def _money_behind(match: re.Match[str]) -> Reading:
    return money(match[2], match[1])


def _negative(match: re.Match[str]) -> Reading:
    return f"মাইনাস {money(match[1], match[2])}"


def _taka_and_poisha(match: re.Match[str]) -> Reading:
    return money("৳", match[1]) + (match[2] or "")


def _taka(match: re.Match[str]) -> Reading:
    return money("৳", match[1])


def money(sign: str, low: str, high: str | None = None, magnitude: str | None = None) -> str:
    """An amount of money: ``"৳", "50.50"`` -> ``"পঞ্চাশ টাকা পঞ্চাশ পয়সা"``."""
    name, hundredth = CURRENCIES[sign]
    whole, _, decimals = low.partition(".")
    if len(decimals) == 2 and hundredth and not high and not magnitude:
        cents = f"{cardinal(int(decimals))} {hundredth}"
        if not int(re.sub(r"\D", "", whole) or "0") and int(decimals):
            return cents
        return f"{amount(whole)} {name}" + (f" {cents}" if int(decimals) else "")
    spoken = amount(low) + (f" থেকে {amount(high)}" if high else "")
    return f"{spoken} {magnitude} {name}" if magnitude else f"{spoken} {name}"


def _years(match: re.Match[str]) -> Reading:
    first, second = int(match[1]), match[2]
    last = int(second) if len(second) == 4 else int(match[1][:2] + second)
    after = _after(match)
    if not 1000 < first < 2100 or not (after.startswith(YEAR_CUES) or 1700 < first < last < 2100):
        return None
    if len(second) == 2:
        link = " " if after.startswith(("অর্থবছর", "শিক্ষাবর্ষ")) else " থেকে "
        return year(first) + link + cardinal(int(second))
    return f"{year(first)} থেকে {year(last)}"


def _year(match: re.Match[str]) -> Reading:
    number = int(match[0])
    if match[0][0] == "0":
        return None
    before, after = _before(match), _after(match)
    text, end = match.string, match.end()
    bracketed = text[match.start() - 1 : match.start()] == "(" and text[end : end + 1] == ")"
    suffix = re.compile(rf"([{DASH}'’ ]?)(এর|এ|র){END}").match(text, end)
    cued = (
        after.startswith(YEAR_CUES)
        or before.startswith(("খ্রি", "সাল", "সন", "হিজরি"))
        or before in SHORT_MONTHS
        or re.fullmatch(MONTH, before)
        or (1000 < number < 2100 and BORN.search(_near(match)))
    )
    cued = cued or re.compile(rf"\s+থেকে\s+\d{{4}}\s+(?:{_any(YEAR_CUES)})").match(text, end)
    if not (cued or (suffix and 1700 < number < 2100) or (bracketed and number < 2100)):
        return None
    if suffix and suffix[1] not in {"", " "}:
        return Word(match.start(), suffix.end(), _with_suffix(year(number), suffix[1], suffix[2]), "bn")
    return year(number)


def _with_suffix(spoken: str, joint: str, suffix: str) -> str:
    if suffix == "র":
        return genitive(spoken)
    return f"{spoken}-{spelling(suffix)}" if joint in DASH else spoken + spelling(suffix)


def _ratio(match: re.Match[str]) -> Reading:
    return " ইজ টু ".join(amount(part) for part in match[0].split(":"))


def _score(match: re.Match[str]) -> Reading:
    """A range goes up; a score may go down, to nothing, or stand before goals."""
    low, high = match[1], match[2]
    goals = re.compile(r"\s?(?:গোল|ব্যবধান|সমতা|সেট|ড্র)").match(match.string, match.end())
    return f"{amount(low)} {amount(high)}" if goals or int(low) >= int(high) else None


def _unit(match: re.Match[str]) -> Reading:
    number = match[1]
    cued = match[2] in {"ইং", "হিঃ", "হি."} and re.fullmatch(r"\d{4}", number) and number[0] != "0"
    case = {"র": "ের"}.get(match[3] or "", match[3] or "")
    minutes = match[2] == "মি." and _after(match).startswith(TIME_CUES)
    return f"{year(int(number)) if cued else amount(number)} {'মিনিট' if minutes else UNITS[match[2]]}{case}"


def _square(match: re.Match[str]) -> Reading:
    return f"{genitive(amount(match[1]))} {'বর্গ' if match[2] == '²' else 'ঘন'}"


def _counted(match: re.Match[str]) -> Reading:
    two = match[1] == "2" and re.match("টি|টা(?![যর])|টো", match[3])
    if two and not OF_DAY.search(_near(match)):
        return "দু" + spelling(match[3])
    if match[3] in SHORTENED:
        return f"{amount(match[1])} {SHORTENED[match[3]]}"
    if match[2]:
        return _with_suffix(amount(match[1]), match[2], match[3])
    return amount(match[1]) + spelling(match[3])


def _exponent(match: re.Match[str]) -> Reading:
    minus = "মাইনাস " if match[2] else ""
    return f"{genitive(amount(match[1]))} ঘাত {minus}{amount(match[3].translate(SUPERSCRIPTS))}"


def _angle(match: re.Match[str]) -> Reading:
    """Degrees, minutes and seconds of arc."""
    parts = zip(match.groups(), ("ডিগ্রি", "মিনিট", "সেকেন্ড"), strict=True)
    return " ".join(f"{amount(number)} {name}" for number, name in parts if number)


def _by(match: re.Match[str]) -> Reading:
    return f"{amount(match[1])} গুণ {amount(match[2])}"


def _feet(match: re.Match[str]) -> Reading:
    return f"{amount(match[1])} ফুট {amount(match[2])} ইঞ্চি"


def _power(match: re.Match[str]) -> Reading:
    return f"{genitive(amount(match[1]))} ঘাত {amount(match[2])}"


def _times(match: re.Match[str]) -> Reading:
    return f"{amount(match[1])} গুণ"


def _small(match: re.Match[str]) -> Reading:
    """০৫ মিনিট, ০২টি: the zero is not said before what is counted."""
    number, counted = match[1], match[2] or ""
    return ("দু" if number == "2" and counted.startswith("টি") else amount(number)) + spelling(counted)


def _number(match: re.Match[str]) -> Reading:
    return amount(match[0])


# Rules for letters


def spelling(word: str) -> str:
    """One spelling of a word: no stray joiners, আ for অা, the letters of Bangla for those of Assamese."""
    word = word.replace("\u09a4\u09cd\u200d", "ৎ").replace("অা", "আ").replace("ৰ", "র").replace("ৱ", "ব")
    kept = "(?<=\u09b0)\u200d(?=\u09cd)|(?<=\u09cd)[\u200c\u200d](?=[ক-হ])"
    word = re.sub(rf"({kept})|[\u200c\u200d]", r"\1", word)
    return unicodedata.normalize("NFC", word)


def _word(match: re.Match[str]) -> Reading:
    parts = re.split("([-‐‑])", match[0])
    return "".join(SHORTENED.get(part) or ("-" if part in "‐‑" else spelling(part)) for part in parts)


def _shortened(match: re.Match[str]) -> Reading:
    return SHORTENED[match[1]]


def _abbreviation(match: re.Match[str]) -> Reading:
    return ABBREVIATIONS[re.sub(r"[\s.:ঃ]", "", match[1])]


def _short_month(match: re.Match[str]) -> Reading:
    return SHORT_MONTHS[match[1]] + (" থেকে" if match[2] else "")


def _short_weekday(match: re.Match[str]) -> Reading:
    return f"{SHORT_WEEKDAYS[match[1]]}বার" + (" থেকে" if match[2] else "")


def _celsius(match: re.Match[str]) -> Reading:
    return "সেলসিয়াস" if _before(match) == "ডিগ্রি" else None


def _like(match: re.Match[str]) -> Reading:
    """মত behind a possessive is মতো, like; but before what one does with an opinion."""
    opinion = _after(match).startswith(("প্রকাশ", "পোষণ", "দে", "দি", "নে", "নি", "জানা", "বিনিময়", "ছিল"))
    return "মতো" if _before(match).endswith("র") and not opinion else None


def _blessing(match: re.Match[str]) -> Reading:
    return BLESSINGS[match[1]]


def _dotted_unit(match: re.Match[str]) -> Reading:
    return UNITS[match[0]]


def _initials(match: re.Match[str]) -> Reading:
    return " ".join(re.findall(WORD, match[0]))


def _foreign(rule: Rule) -> Rule:
    """A rule of English, whose words are marked as such."""

    def read_english(match: re.Match[str]) -> Reading:
        reading = rule.read(match)
        return (
            Word(match.start(), match.end(), reading, "en")
            if isinstance(reading, str) and reading
            else reading
        )

    return Rule(rule.pattern, read_english)


# Rules for the rest


def _mark(match: re.Match[str]) -> Mark:
    text = match[0]
    spoken = {"…": "...", "॥": "।", "|": "।", "¿": "", "¡": ""}.get(text, text)
    if spoken not in {",", ";", ":", ".", "।", "!", "?", "...", ""}:
        spoken = "..." if text.startswith("..") else ","
    return Mark(match.start(), match.end(), spoken)


def _to(match: re.Match[str]) -> Reading:
    following = match.string[match.end() :][:24]
    return "বিয়োগ" if re.match(r"\s?[\d.]+\s?=", following) else "থেকে"


def _dialled(match: re.Match[str]) -> Reading:
    """*১২১#, as one keys it in."""
    return " ".join({"*": "স্টার", "#": "হ্যাশ"}.get(key) or digits(key) for key in match[0])


def _per(match: re.Match[str]) -> Reading:
    """The stroke of ৫০ টাকা/কেজি."""
    measured = re.search(rf"\d\s?([{LETTER}.]{{1,12}})$", _near(match))
    return "প্রতি" if measured and measured[1] not in {"দিন", "মাস", "বছর", "সপ্তাহ"} else None


def _hash(match: re.Match[str]) -> Reading:
    following = match.string[match.end() : match.end() + 1]
    return "নম্বর" if following.isdecimal() else "হ্যাশট্যাগ" if following.isalpha() else "হ্যাশ"


def _symbol(match: re.Match[str]) -> Reading:
    return SYMBOLS.get(match[0])


def _say(spoken: str) -> Callable[[re.Match[str]], Reading]:
    return lambda match: spoken


def _rules(*rules: tuple[str, Callable[[re.Match[str]], Reading]]) -> list[Rule]:
    return [Rule(re.compile(pattern), read) for pattern, read in rules]


SIGN = _any(CURRENCIES)
VULGARS = "".join(VULGAR)
NUMERIC = _rules(
    (r"(\d{4})[-/](\d\d)[-/](\d\d)(?![\d-])", _iso_date),
    (r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})(?!\d)", _numeric_date),
    (r"(\d{1,2})([/-])(\d{1,2})\2(\d\d)(?![/-]?\d)", _numeric_date),
    (r"(\d\d)(\.)(\d\d)\.(\d\d)(?!\.?\d)", _dotted_date),
    (r"(\d{1,2})(\.)(\d{1,2})\.(\d\d)(?=\s*(?:তারিখ|ইং|খ্রি))", _dotted_date),
    (r"\d{1,3}(?:\.\d{1,3}){3}(?![\d.]?\d)", _machine),
    (r"\d{1,9}(?:\.\d{1,9}){2,6}(?!\d)", _version),
    (r"([1-9]\d\d)-(\d{4})(?!\d)", _short_phone),
    (r"0\d{1,5}(?:[ -]\d{3,8}){1,3}(?:-\d\d)?(?!\d)", _phone),
    (r"\d{1,12}(?:-\d{1,12}){2,6}(?![\d-])|\d{4}(?:[ -]\d{4}){2,4}(?![ -]?\d)", _phone),
    (r"\d\d-\d{4}(?!\d)", _plate),
    (rf"0(\d)(?:(?=\s(?:{_any(COUNTED)}))|((?:{_any(COUNTED)})[{LETTER}]*))", _small),
    (rf"(?<=[{LETTER}]-)\d{{4}}(?![\d,./:-]?\d)", _postcode),
    (rf"(\d{{3,12}})(?:-(\d{{1,2}}))?(?![\d,./:-]?\d)(-?(?:এ|তে){END})?", _coded),
    (rf"({NUMBER}\.\d\d)\s?টাকা(য়|র|তে)?{END}", _taka_and_poisha),
    (r"(\d{1,3}):(\d{1,3})(?![\d:])", _verse),
    (rf"(\d{{1,2}}):(\d\d)(?::(\d\d))?(?!\d)(?:\s?({CLOCK_TAIL}){END})?", _time),
    (rf"(\d{{1,2}})\.(\d\d)(?!\.?\d)(?:\s?({CLOCK_TAIL}){END})?", _dotted_time),
    (rf"(?:(\d{{1,2}}){DAY_SIGN}[{DASH}])?(\d{{1,2}}){DAY_SIGN}(?=\s+{MONTH})", _day),
    (rf"(\d{{1,2}})([ -]?)(শে|ই|লা|রা|ঠা){END}", _day_sign),
    (rf"(\d{{1,2}})([ '’]?)(শত|শো|শ)['’]?(টি|টা|জনের|জন|এর|র|তে)?{END}['’]?", _hundreds),
    (rf"(\d{{1,9}})(তম|ম|য়|র্থ|ষ্ঠ|শ)(বার|টি|টা)?{END}([{DASH}](?=\d{{1,2}}(?:ম|য়|র্থ|ষ্ঠ){END}))?", _ordinal),
    (r"(\d{1,3})/(\d{1,3})(?![\d/])", _fraction),
    (rf"(\d{{1,9}})\s?([{VULGARS}])", _vulgar),
    (rf"({AMOUNT})/[-=](?:\s*টাকা{END})?", _taka),
    (r"(\d{1,3})° ?(\d{1,2})['’′](?: ?(\d{1,2})(?:\"|''|”|″))?", _angle),
    (r"(\d)['’′] ?-? ?(\d{1,2})(?:\"|''|”|″)", _feet),
    (rf"({AMOUNT})\s?({SIGN})(?![A-Za-z])", _money_behind),
    (rf"(\d{{4}})[{DASH}](\d{{4}}|\d\d)(?!\d)", _years),
    (rf"(\d{{1,3}})[{DASH}](\d{{1,3}})(?!\s?=|[\d.,:/%]*\d)", _score),
    (rf"({AMOUNT})\s?({_any(UNITS)})(র|ের|ে|তে)?(?![A-Za-z]){END}", _unit),
    (rf"({AMOUNT}) ?[x×] ?({AMOUNT})(?![\dA-Za-z])", _by),
    (rf"({AMOUNT})([²³])(?![⁰¹²³⁴⁵⁶⁷⁸⁹])", _square),
    (rf"({AMOUNT})(⁻)?([⁰¹²³⁴⁵⁶⁷⁸⁹]{{1,9}})", _exponent),
    (r"\d{1,3}(?::\d{1,3}){1,3}(?![\d:])", _ratio),
    (r"\d{4}(?![\d,.]?\d)", _year),
    (rf"({AMOUNT})() (টায়|টার|টা|টির|টিকে|টিতে|টি){END}", _counted),
    (rf"({AMOUNT})([{DASH}'’]?)({WORD})", _counted),
    (rf"({AMOUNT})\^({AMOUNT})", _power),
    (rf"({AMOUNT})x(?![\dA-Za-z])", _times),
)
MONEY = _rules(
    (rf"({SIGN})\s?[{DASH}]({AMOUNT})(?![\d,.]*\d)", _negative),
    (rf"({SIGN})\s?({AMOUNT})(?:[{DASH}]({AMOUNT}))?(?:\s?({MAGNITUDES}){END})?", _money),
)
SIGNED = [
    *english.BRACKETS,
    *MONEY,
    *_rules(
        (rf"()([{VULGARS}])", _vulgar),
        (r"\+\d{1,15}(?:[ -]\d{2,8}){1,5}(?!\d)|\+\d{10,15}(?!\d)", _phone),
        (r"\.\d+", _number),
        (rf"(?<=[{LETTER}])\+(?![{LETTER}\d])", _say("প্লাস")),
        (r"(?<=[A-Za-z)])²", _say("স্কয়ার")),
        (r"(?<=[A-Za-z)])³", _say("কিউব")),
        (rf"(?<=[{LETTER}.])/(?=(?:{_any(PER)})(?:য়|তে|ে|র|ের)?{END})", _per),
        (r"[*#]{1,3}\d{1,12}(?:[*#]\d{1,12}){0,5}#", _dialled),
        (r"(?<=\d) ?\* ?(?=\d)", _say("গুণ")),
        (r"(?<!\.)\.(?=,)", _say("")),
        (r"(?<=[A-Za-z])\+", lambda match: Word(match.start(), match.end(), "plus", "en")),
        (rf"(?<=[\d%°])[{DASH}](?=\d|{SIGN})|(?<=টা)[{DASH}](?=\d)", _to),
        (
            rf"(?<=[{LETTER}])[{DASH}](?=\d{{1,2}}\s+{MONTH})|(?<=\d )[{DASH}](?= \d)",
            _to,
        ),
        (rf"(?<![\w){LETTER}])[{DASH}](?=\d|\.\d|{SIGN})", _say("মাইনাস")),
        (r"[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,9}", lambda match: digits(match[0].translate(SUPERSCRIPTS))),
        (r"~\s?(?=\d)", _say("প্রায়")),
        (r"#", _hash),
        (r"\.{2,}|[,;:.!?…()\[\]{}|—–।॥¿¡•·]", _mark),
        (r"(?<=\s)-(?=\s)", _mark),
        (r"[-‐‑/\"'“”‘’„«»‹›*_`^~′″™®\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufe0e\ufe0f]", _say("")),
        (r"(?s).", _symbol),
    ),
]

LETTERS = _rules(
    (rf"(?<=\()({_any(BLESSINGS)})[ঃ:.](?=\))", _blessing),
    (r"(?<=[ঃ.] )আ[ঃ.](?=\s)", _say("আব্দুল")),
    (r"আ\.\s?(?=লীগ)", _say("আওয়ামী")),
    (r"(খ্রি\.\s?পূ)\.", _abbreviation),
    (r"(বি[ঃ:.]\s?দ্র)[ঃ:.]", _abbreviation),
    (rf"({_any(ABBREVIATIONS)})(?:ঃ{END}|[^{LETTER}A-Za-z0-9।!?]{{0,4}}[.:])", _abbreviation),
    (
        rf"({_any(SHORT_MONTHS)})(?:[.ঃ](?![{LETTER}])|(?=[{DASH}](?:{_any([*ALL_MONTHS, *SHORT_MONTHS])})))"
        rf"([{DASH}](?=[{LETTER}]))?",
        _short_month,
    ),
    (
        rf"({_any(SHORT_WEEKDAYS)})(?:ঃ(?:বার)?(?![{LETTER}])|(?<=বৃহ)\.|\.(?=,|\s*(?:ও|এবং|থেকে){END}))"
        rf"([{DASH}](?=[{LETTER}]))?",
        _short_weekday,
    ),
    (r"সে\.", _celsius),
    (r"মে[.ঃ]\s?(?=টন)", _say("মেট্রিক")),
    (r"মে[.ঃ]\s?ওয়াট", _say("মেগাওয়াট")),
    (rf"({_any(SHORTENED)})\.(?=,|\s*[{LETTER}\d(])", _shortened),
    (rf"[{LETTER}]{{1,3}}\. বি\.", _initials),
    (rf"মত{END}", _like),
    (rf"টাকা:?\s({NUMBER}\.\d\d)(?!\d)", _taka),
    (
        "|".join(
            re.escape(unit)
            for unit in sorted(UNITS, key=len, reverse=True)
            if "." in unit[:-1] and "°" not in unit
        ),
        _dotted_unit,
    ),
    (
        rf"(?:(?:{_any(LETTER_NAMES)})\. ?){{2,8}}"
        rf"|(?:(?:{_any(LETTER_NAMES)})\.){{1,7}}(?:{_any(LETTER_NAMES)}){END}",
        _initials,
    ),
    (
        rf"(?:[{LETTER}]{{1,4}}\.){{2,6}}|(?:[{LETTER}]{{1,2}}\.){{1,6}}[{LETTER}]{{1,2}}{END}(?!\.)",
        _initials,
    ),
    (rf"({_any(ALL_MONTHS)})\s+(\d{{1,2}}),?\s+(\d{{4}})(?!\d)", _month_day),
    (rf"{WORD}(?:[-‐‑]{WORD})*", _word),
)
LATIN = [_foreign(rule) for rule in [*english.ADDRESSES, *english.CODES_AND_MONEY, *english.LETTERS]]
SHORT = "|".join([*SHORTENED, *ABBREVIATIONS])


def _kind(character: str) -> str:
    if character.isdecimal():
        return "0"
    if re.match(f"[{LETTER}]", character):
        return "ক"
    return "a" if re.match(f"[{english.LETTER}]", character) else " "


SCANNER = Scanner(
    "bn",
    re.compile(
        rf"\s*(?!অা|(?:মত|{SHORT}){END}|(?:{_any(SHORT_WEEKDAYS)})ঃ)([{PLAIN}]++)(?<!ঃ)(?=[ ,;!?।\n]|$)(?! \d)"
    ),
    _kind,
    {
        "0": [
            *map(_foreign, [*english.CLOCK, english.CLAUSE]),
            _foreign(english.DAY_MONTH),
            *NUMERIC,
            _foreign(english.NUMBER_LETTERS),
            *_rules((AMOUNT, _number)),
        ],
        "ক": LETTERS,
        "a": [*MONEY, *LATIN],
        " ": SIGNED,
    },
)


def read(text: str, begin: int = 0, end: int | None = None) -> tuple[list[Token], list[Drop]]:
    """Words and marks of ``text[begin:end]``, which must be `canonical`; and what nobody reads."""
    return sort_out(stream(text, begin, end))


def stream(text: str, begin: int = 0, end: int | None = None) -> Iterator[Token | Drop]:
    """The same as `read`, one by one; see `Scanner.stream`."""
    return SCANNER.stream(text, begin, end)


def read_at(text: str, begin: int, end: int) -> Word | None:
    """The word, or number, that begins there inside of another language; None where no rule reads it."""
    for pattern, read in SCANNER.rules[_kind(text[begin])]:
        match = pattern.match(text, begin, end)
        reading = None if match is None else read(match)
        if isinstance(reading, Word):
            return reading
        if match is not None and isinstance(reading, str) and reading:
            return Word(begin, match.end(), reading, "bn")
    return None


def date(day_of_month: int, month: int, of_year: int, month_first: bool = False) -> str:
    """A date of which each part may be 0, which is none: ``3, 5, 0`` -> ``"তেসরা মে"``."""
    parts = [
        day(day_of_month) if day_of_month else "",
        MONTHS[month - 1] if month else "",
        year(of_year) if of_year else "",
    ]
    return " ".join(filter(None, parts))


def normalise(text: str) -> str:
    """Plain words and punctuation for a text.

    Parameters
    ----------
    text : str
        Any text, Bangla and English.

    Returns
    -------
    str
        Words with single spaces, each with at most one mark of ``, ; : ... . । ! ?`` behind it; no digits, no
        symbols, NFC. Normalised text is returned as it is.
    """
    return join(read(canonical(text))[0])


def characters(text: str) -> list[str]:
    """Characters of the normalised text; ``"|"`` closes each sentence.

    Parameters
    ----------
    text : str
        Any text; of its English words only the letters are given.

    Returns
    -------
    list of str
        Codepoints in NFC (a letter with nukta is two), spaces, marks inside of sentences, and ``"|"``.
    """
    return list(re.sub(r"(?:\.\.\.|[.।!?])\s*|(?<=[^.।!?])$", "|", normalise(text)))
