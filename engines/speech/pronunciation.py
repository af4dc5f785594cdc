"""How Bangla words are said: a small network reads their letters and writes phones.

It was trained on Google's lexicon (``python -m export train pronouncer.toml``) and writes that lexicon's
phones. Every letter gets `SLOTS` places for phones; what is written there, without repetitions and blanks, is
the pronunciation (A. Graves et al., "Connectionist temporal classification", ICML 2006).
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.cards import SHIPPED, read_card, read_content
from engines.speech.folding import canonical
from rtaudio.errors import FileError

KIND = "pronunciation"
SLOTS = 2
"""Places for phones that a letter gets."""
BLANK = 0
"""Number of no phone; those of `PHONES` follow it."""
SHIPPED_MODEL = SHIPPED / "bangla.onnx"
LONGEST = 256
"""Letters that are read at once; no word of the language has a tenth as many."""
NASAL = "~"
"""Behind a nasal vowel; so espeak-ng writes it too."""
CHANDRABINDU = "\u0981"

LETTERS = "ঁংঃঅআইঈউঊঋএঐওঔকখগঘঙচছজঝঞটঠডঢণতথদধনপফবভমযরলশষসহ়ািীুূৃেৈোৌ্ৎ\u200c\u200d"
"""What a word is written with, in NFC: nukta letters are a letter and a nukta. Numbered from 1; 0 is none."""

IPA: Mapping[str, str] = {
    "a": "a", "e": "e", "E": "æ", "i": "i", "o": "o", "O": "ɔ", "u": "u",
    "e^": "e̯", "i^": "i̯", "o^": "o̯", "u^": "u̯",
    "k": "k", "kh": "kʰ", "g": "ɡ", "gh": "ɡʱ", "N": "ŋ",
    "c": "tʃ", "ch": "tʃʰ", "j": "dʒ", "jh": "dʒʱ",
    "T": "ʈ", "Th": "ʈʰ", "D": "ɖ", "Dh": "ɖʱ",
    "t": "t", "th": "tʰ", "d": "d", "dh": "dʱ", "n": "n",
    "p": "p", "f": "f", "b": "b", "bh": "bʱ", "m": "m",
    "r": "r", "l": "l", "s": "s", "sh": "ʃ", "h": "h",
}  # fmt: skip
"""The lexicon's phones, and what they are in IPA."""
PHONES = tuple(IPA)
ESPEAK: Mapping[str, str] = {
    "E": "&", "e^": "j", "i^": "j", "o^": "w", "u^": "w",
    "kh": "k#", "gh": "g#", "c": "tS", "ch": "tS#", "j": "dZ", "jh": "J#",
    "T": "t.", "Th": "t.#", "D": "d.", "Dh": "d.#", "th": "t#", "dh": "d#", "bh": "b#", "sh": "S",
}  # fmt: skip
"""Names of phones in espeak-ng's voice ``bn`` where they are not those of the lexicon."""
VOWELS = frozenset("aeEioOu")
WORD = re.compile(f"[{LETTERS}]+")
"""Letters of Bangla in a text in NFC."""
CONJUNCTS = (
    (re.compile("হ্ম(?!ে?দ)"), "ম্হ"),
    (re.compile("(?<=ি)হ্ব"), "উভ"),
    (re.compile("হ্ব"), "ওভ"),
    (re.compile("হ্ল"), "ল্হ"),
    (re.compile("হ্ণ"), "হ্ন"),
)
"""Conjuncts of হ that the lexicon has next to none of, spelled as they are said: ব্রাম্হণ, আওভান; not those of
names such as আহ্মেদ."""
NUKTA = {"\u09a1\u09bc": "\u09dc", "\u09a2\u09bc": "\u09dd", "\u09af\u09bc": "\u09df"}
"""Letters of two codepoints in NFC, and of one."""
INNER_NUKTA = re.compile(f"(?:{'|'.join(NUKTA)})(?=[{LETTERS}])")

_NUMBERS = {letter: number for number, letter in enumerate(LETTERS, 1)}


def letters_of(word: str) -> str | None:
    """A word in the one spelling that the network reads; None if anything in it is no letter of Bangla."""
    spelled = canonical(word)
    return spelled if WORD.fullmatch(spelled) else None


def numbers_of(letters: str) -> NDArray[np.int64]:
    """The numbers (n,) of letters, as the network takes them."""
    return np.array([_NUMBERS[letter] for letter in letters], np.int64)


def phones_of(best: Iterable[int]) -> list[str]:
    """The phones that the best number in every place stands for: repetitions are one, blanks are none."""
    return [phone for _, phone in placed_phones(best)]


def placed_phones(best: Iterable[int]) -> list[tuple[int, str]]:
    """The same, each with the place where it begins."""
    found, before = [], BLANK
    for place, number in enumerate(best):
        if number not in (before, BLANK):
            found.append((place, PHONES[number - 1]))
        before = number
    return found


def nasal_phones(letters: str, best: Iterable[int]) -> list[str]:
    """The same, with `NASAL` behind the vowel that is nearest to every chandrabindu: the lexicon has none."""
    placed = placed_phones(best)
    phones = [phone for _, phone in placed]
    vowels = [index for index, phone in enumerate(phones) if phone in VOWELS]
    for at, letter in enumerate(letters):
        if letter == CHANDRABINDU and vowels:
            index = min(vowels, key=lambda index: abs(placed[index][0] - SLOTS * at))
            phones[index] = phones[index].removesuffix(NASAL) + NASAL
    return phones


def find_pronouncer(language: str) -> Pronouncer | None:
    """The network that is shipped for a language; None if there is none, or no ONNX Runtime to run it."""
    return Pronouncer() if language == "bn" and importlib.util.find_spec("onnxruntime") else None


class Pronouncer:
    """The network, ready to read words.

    Parameters
    ----------
    path
        NAME.onnx, with its card NAME.json beside it.

    Raises
    ------
    FileError
        It is not the network of its card, or one of other letters or phones.
    UserError
        ONNX Runtime is not installed.
    """

    def __init__(self, path: Path = SHIPPED_MODEL) -> None:
        from engines.sessions import open_session

        card = read_card(path, KIND, ("letters", "phones", "slots", "sha256"))
        if (card["letters"], card["phones"], card["slots"]) != (LETTERS, list(PHONES), SLOTS):
            raise FileError(f"{path} has other letters or phones than this version: export it anew")
        self._session: Any = open_session(path, read_content(path, card["sha256"]))

    def read(self, word: str, nasal: bool = False) -> list[str]:
        """The phones of a word.

        Parameters
        ----------
        word
            Of Bangla letters, in any Unicode spelling. What is none of them is not said.
        nasal
            Whether nasal vowels are told by a `NASAL` behind them, which the lexicon does not.

        Returns
        -------
        Phones of the lexicon, keys of `IPA`; empty if there is nothing to say.
        """
        letters = "".join(letter for letter in canonical(word) if letter in _NUMBERS)
        for conjunct, spelled in CONJUNCTS:
            letters = conjunct.sub(spelled, letters)
        found: list[str] = []
        for begin in range(0, len(letters), LONGEST):
            part = letters[begin : begin + LONGEST]
            (scores,) = self._session.run(None, {"letters": numbers_of(part)[None]})
            best = np.argmax(scores[0], axis=-1).tolist()
            found += nasal_phones(part, best) if nasal else phones_of(best)
        return found


def for_espeak(text: str) -> str:
    """A text in NFC as espeak-ng's voice ``bn`` reads it best.

    It leaves out what follows a letter of `NUKTA` of two codepoints; but behind one that is one codepoint
    it says an o at the end of a word.
    """
    return INNER_NUKTA.sub(lambda match: NUKTA[match[0]], text)


def to_espeak(phones: Sequence[str]) -> str:
    """Phones of the lexicon for espeak-ng's voice ``bn``, ``[[b|'a|N|l|a]]``: the first vowel is stressed."""
    names = []
    stress = "'"
    for phone in phones:
        bare = phone.removesuffix(NASAL)
        vowel = bare in VOWELS
        names.append(stress * vowel + ESPEAK.get(bare, bare) + NASAL * (bare != phone))
        stress = "" if vowel else stress
    return f"[[{'|'.join(names)}]]"


def to_ipa(phones: Sequence[str]) -> str:
    """Phones of the lexicon in IPA."""
    return "".join(IPA[phone.removesuffix(NASAL)] + "\u0303" * phone.endswith(NASAL) for phone in phones)
