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


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """The words that are understood of each text, by a recogniser that knows only digits."""
    grammar = tmp_path_factory.mktemp("recognition") / "digits.gram"
    grammar.write_text(f"#JSGF V1.0;\ngrammar digits;\npublic <digits> = ({' | '.join(DIGITS)})+;\n")
    decoder = pocketsphinx.Decoder(samprate=RATE, jsgf=str(grammar), lm=None, loglevel="FATAL")
    voice = open_voice("espeak-en")
    quiet = 1e-3 * np.random.default_rng(0).standard_normal(RATE // 2)
    found = []
    for text in TEXTS:
        (sentence,) = sentences(" ".join(text), "en")
        samples = np.concatenate([chunk.samples for chunk in voice.speak(sentence)])
        whole = np.concatenate([quiet, np.clip(soxr.resample(samples, voice.rate, RATE), -1, 1), quiet])
        decoder.start_utt()
        decoder.process_raw((32767 * whole).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        best = decoder.hyp()
        found.append(best.hypstr.split() if best else [])
    voice.close()
    return found


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
