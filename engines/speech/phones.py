"""``rtaudio say --phones``: how the words of a text are said, by the project's network and by espeak-ng."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import chain

from engines.speech.espeak import Espeak
from engines.speech.pronunciation import WORD, find_pronouncer, to_ipa
from engines.speech.text import sentences
from engines.speech.voices import VARIETIES

MARKS = ",;:.!?।"


@dataclass(frozen=True)
class Said:
    """A word as it is spoken, and its phones in IPA: of the network, of espeak-ng."""

    word: str
    network: str
    """Empty where there is none for the word."""
    espeak: str


def said(text: str, language: str) -> list[Said]:
    """How every word of a text is said, after normalisation.

    Parameters
    ----------
    text
        Any text.
    language
        ``en`` or ``bn``.

    Raises
    ------
    UserError
        espeak-ng is not installed.
    """
    spoken = " ".join(sentence.spoken for sentence in sentences(text, language))
    words = [word for each in spoken.split() if (word := each.strip(MARKS))]
    pronouncer, espeak = find_pronouncer(language), Espeak()

    def by_network(word: str) -> str:
        if pronouncer is None or not WORD.search(word):
            return ""
        return WORD.sub(lambda match: to_ipa(pronouncer.read(match[0], nasal=True)), word)

    found: dict[str, Said] = {}
    try:
        espeak.start()
        for word in dict.fromkeys(words):
            phonemes = chain.from_iterable(espeak.phonemes(word, VARIETIES[language]))
            found[word] = Said(word, by_network(word), "".join(phonemes))
    finally:
        espeak.close()
    return [found[word] for word in words]


def show(text: str, language: str, report: str | None) -> int:
    """Print how a text is said; write it to ``report`` as JSON, ``-`` for standard output. Returns 0."""
    from rich.console import Console
    from rich.table import Table

    from rtaudio import cli

    found = said(text, language)
    if report != "-":
        table = Table(box=None, pad_edge=False)
        for head in ("word", "network", "espeak-ng"):
            table.add_column(head, overflow="fold")
        for word in found:
            table.add_row(word.word, word.network, word.espeak)
        Console(markup=False, highlight=False, emoji=False).print(table)
    cli.write_report(report, {"words": [asdict(word) for word in found]})
    return 0
