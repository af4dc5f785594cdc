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
    # By hand.
    "42": "forty two",
    "318": "three hundred and eighteen",
    "5,290": "five thousand two hundred and ninety",
    "$75": "seventy five dollars",
    "$16.40": "sixteen dollars and forty cents",
    "60%": "sixty percent",
    "7:30": "seven thirty",
    "9.25": "nine point two five",
    "12th": "twelfth",
    "Room 805": "room eight hundred and five",
}
WORDS = [
    *DIGITS,
    *"ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty".split(),
    *"forty fifty sixty seventy eighty ninety hundred thousand and point dollars cents percent".split(),
    *"first second third fifth twelfth room".split(),
]


@pytest.fixture(scope="module")
def listen(tmp_path_factory):
    """The words that are understood of a text, by a recogniser that knows only some."""
    folder = tmp_path_factory.mktemp("recognition")
    voice = open_voice("espeak-en")
    decoders = {}

    def understood(text, words):
        if tuple(words) not in decoders:
            grammar = folder / f"{len(decoders)}.gram"
            grammar.write_text(f"#JSGF V1.0;\ngrammar some;\npublic <some> = ({' | '.join(words)})+;\n")
            decoders[tuple(words)] = pocketsphinx.Decoder(
                samprate=RATE, jsgf=str(grammar), lm=None, loglevel="FATAL"
            )
        decoder = decoders[tuple(words)]
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
    return [listen(" ".join(text), DIGITS) for text in TEXTS]


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
    """Of money, times and the like: more of what is said than of what a neighbour says."""
    heard = [listen(text, WORDS) for text in NUMBERS]
    said = [words.split() for words in NUMBERS.values()]

    def wrong(found, truth):
        return sum(map(distance, found, truth)) / sum(map(len, truth))

    print(heard, wrong(heard, said))
    assert wrong(heard, said) <= 0.5
    assert wrong(heard, said[1:] + said[:1]) >= 0.8
