"""Score pronunciations: ``python -m export evaluate pronunciation LEXICON``.

Words that are held out (see `export.models.pronouncer`) are read by the network and by espeak-ng, whose IPA
is written in the lexicon's phones first. What the two ways of writing do not share is not held against
espeak-ng: a vowel may be a semivowel, a nasal vowel is its vowel, and of a long consonant the first half has
no breath. So the network is scored twice: on the lexicon's own phones, and on what is left of them.
"""

from __future__ import annotations

import argparse
import itertools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engines.speech.espeak import Espeak
from engines.speech.pronunciation import SHIPPED_MODEL, VOWELS, Pronouncer
from export.models.pronouncer import Rates, rates, read_lexicon, split
from export.output import progress, show, write_json
from rtaudio.errors import FileError

ESPEAK: Mapping[str, tuple[str, ...]] = {
    "a": ("a",), "e": ("e",), "æ": ("E",), "i": ("i",), "o": ("o",), "ɔ": ("O",), "u": ("u",), "ʊ": ("u",),
    "j": ("i", "e"), "w": ("u", "o"),
    "k": ("k",), "kʰ": ("kh",), "ɡ": ("g",), "ɡʰ": ("gh",), "ŋ": ("N",),
    "tʃ": ("c",), "tʃʰ": ("ch",), "tʃh": ("ch",), "c": ("c",), "cʰ": ("ch",),
    "dʒ": ("j",), "dʒʰ": ("jh",), "ɟ": ("j",), "ɟʰ": ("jh",), "z": ("j",),
    "ʈ": ("T",), "ʈʰ": ("Th",), "ɖ": ("D",), "ɖʰ": ("Dh",),
    "t": ("t",), "tʰ": ("th",), "d": ("d",), "dʰ": ("dh",), "n": ("n",), "ɲ": ("n",),
    "p": ("p",), "pʰ": ("f",), "f": ("f",), "b": ("b",), "bʰ": ("bh",), "v": ("bh",), "m": ("m",),
    "ɾ": ("r",), "r": ("r",), "r.": ("r",), "hr.": ("r",), "l": ("l",),
    "s": ("s",), "ʃ": ("sh",), "h": ("h",),
}  # fmt: skip
"""espeak-ng's IPA of Bangla, and the lexicon's phones; of several, the one that is right counts."""
SOUND = re.compile("|".join(map(re.escape, sorted(ESPEAK, key=len, reverse=True))) + "|ː")


def written_alike(phones: Sequence[str]) -> list[str]:
    """Phones of the lexicon without what espeak-ng does not write: see the module."""
    vowels = [phone.removesuffix("^") for phone in phones]
    return [
        phone.removesuffix("h")
        if phone.endswith("h") and phone == after and phone not in ("h", "sh")
        else phone
        for phone, after in itertools.zip_longest(vowels, vowels[1:])
    ]


def from_espeak(ipa: str) -> list[list[str]]:
    """espeak-ng's IPA in the lexicon's phones, as `written_alike`: every way to write it.

    Stress and nasality are left out, a long consonant is two, a long vowel one.
    """
    found: list[tuple[str, ...]] = []
    for sound in SOUND.findall(re.sub("[ˈˌ\u0303 ]", "", unicodedata.normalize("NFD", ipa))):
        if sound != "ː":
            found.append(ESPEAK[sound])
        elif found and found[-1][0] not in VOWELS:
            found.append(found[-1])
    return [written_alike(phones) for phones in itertools.product(*found)]


def by_espeak(espeak: Espeak, word: str) -> list[list[str]]:
    """A word as espeak-ng says it, every way to write it."""
    return from_espeak("".join(itertools.chain(*espeak.phonemes(word, "bn"))))


def scores(
    lexicon: Mapping[str, Sequence[Sequence[str]]],
    words: Sequence[str],
    pronouncer: Pronouncer,
    espeak: Espeak,
) -> dict[str, Rates]:
    """Error rates of both by name: the network's also in the lexicon's own phones."""
    network, alike, other = [], [], []
    with progress(len(words)) as step:
        for word in words:
            step(word)
            said = pronouncer.read(word)
            right = lexicon[word]
            folded = [written_alike(phones) for phones in right]
            network.append((said, right))
            alike.append((written_alike(said), folded))
            ways = by_espeak(espeak, word)
            other.append((min(ways, key=lambda way: rates([(way, folded)]).phones), folded))
    return {
        "network": rates(network),
        "network, written alike": rates(alike),
        "espeak-ng, written alike": rates(other),
    }


def command(commands: Any) -> None:
    """Add ``pronunciation`` to a command line."""
    parser = commands.add_parser(
        "pronunciation",
        help="score how Bangla words are said",
        description="Error rates of the network and of espeak-ng on the words of LEXICON that are held out.",
    )
    parser.add_argument("lexicon", type=Path, metavar="LEXICON", help="text/bn/lexicon.tsv")
    parser.add_argument(
        "--model", type=Path, default=SHIPPED_MODEL, metavar="NAME.onnx", help="(default: the shipped one)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="F", help="write the rates, such as for the model's card"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Score, and show a table."""
    lexicon = read_lexicon(options.lexicon)
    _, _, words = split(lexicon)
    espeak = Espeak()
    try:
        found = scores(lexicon, words, Pronouncer(options.model), espeak)
    finally:
        espeak.close()
    cells = [[name, f"{100 * one.words:.1f}", f"{100 * one.phones:.2f}"] for name, one in found.items()]
    show(["", "words with an error, %", "phone errors, %"], cells, f"{len(words)} words that were held out")
    if options.json is not None:
        content = {
            name: {key: round(rate, 4) for key, rate in asdict(one).items()} for name, one in found.items()
        }
        try:
            write_json(options.json, {"words": len(words), **content})
        except OSError as error:
            raise FileError(f"{options.json}: {error.strerror}") from None
    return 0
