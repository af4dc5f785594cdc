"""What espeak-ng's voice says is understood by a recogniser that knows nothing of this project."""

import numpy as np
import pytest
import soxr

from engines.speech import libespeak
from engines.speech.text import sentences
from engines.speech.voices import open_voice
from export.models.pronouncer import distance

pocketsphinx = pytest.importorskip("pocketsphinx", reason="listens with PocketSphinx")
pytestmark = pytest.mark.skipif(libespeak.load() is None, reason="needs espeak-ng")

RATE = 16_000
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEXTS = ["".join(map(str, row)) for row in np.random.default_rng(0).integers(10, size=(12, 7))]


NUMBERS = {
    # By hand: what is said, and how it could be misread.
    "42": ("forty two", "four two"),
    "318": ("three hundred and eighteen", "three one eight"),
    "5,290": ("five thousand two hundred and ninety", "five two hundred and ninety"),
    "$75": ("seventy five dollars", "dollar seventy five"),
    "$16.40": ("sixteen dollars and forty cents", "sixteen point four zero dollars"),
    "60%": ("sixty percent", "sixty"),
    "7:30": ("seven thirty", "seven to thirty"),
    "9.25": ("nine point two five", "nine twenty five"),
    "12th": ("twelfth", "twelve"),
    "-8": ("minus eight", "eight"),
    "1984 was": ("nineteen eighty four was", "one thousand nine hundred and eighty four was"),
    "3 km": ("three kilometers", "three k m"),
}


@pytest.fixture(scope="module")
def listen(tmp_path_factory):
    """The words that are understood of a text, by a recogniser that knows only what it may be."""
    folder = tmp_path_factory.mktemp("recognition")
    voice = open_voice("espeak-en")
    decoders = {}

    def understood(text, choices, times=""):
        if choices not in decoders:
            grammar = folder / f"{len(decoders)}.gram"
            grammar.write_text(
                f"#JSGF V1.0;\ngrammar some;\npublic <some> = ({' | '.join(choices)}){times};\n"
            )
            decoders[choices] = pocketsphinx.Decoder(
                samprate=RATE, jsgf=str(grammar), lm=None, loglevel="FATAL"
            )
        decoder = decoders[choices]
        quiet = 1e-3 * np.random.default_rng(0).standard_normal(RATE // 2)
        (sentence,) = sentences(text, "en")
        samples = np.concatenate([chunk.samples for chunk in voice.speak(sentence)])
        whole = np.concatenate([quiet, np.clip(soxr.resample(samples, voice.rate, RATE), -1, 1), quiet])
        decoder.start_utt()
        decoder.process_raw((32767 * whole).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        best = decoder.hyp()
        return best.hypstr.split() if best else []

    yield understood
    voice.close()


@pytest.fixture(scope="module")
def heard(listen):
    """What is understood of each row of digits."""
    return [listen(" ".join(text), tuple(DIGITS), "+") for text in TEXTS]


def error_rate(heard, texts):
    """Edits for every digit that was said."""
    edits = sum(
        distance(words, [DIGITS[int(digit)] for digit in text])
        for words, text in zip(heard, texts, strict=True)
    )
    return edits / sum(map(len, texts))


def test_digits_are_understood(heard):
    assert error_rate(heard, TEXTS) <= 0.35


def test_the_recogniser_listens(heard):
    assert error_rate(heard, TEXTS[1:] + TEXTS[:1]) >= 0.6


def test_numbers_are_understood(listen):
    """Of all readings, right and wrong ones, it hears the right one, with room for its own faults."""
    choices = tuple(reading for pair in NUMBERS.values() for reading in pair)
    heard = [" ".join(listen(text, choices)) for text in NUMBERS]
    right = [said == choices[2 * number] for number, said in enumerate(heard)]
    assert sum(right) >= 0.75 * len(right)
