"""What is understood of speech: word error rates of a recogniser, PocketSphinx.

``python benchmarks/recognition.py SPEECH [--voice V ...] [--count N]`` has the recogniser listen to N of the
recordings of a folder with ``metadata.csv`` (``id|text``), and to voices that say the same texts. It knows
American English and a general language model, so that even real speech has many errors: what counts is the
difference. It needs ``pip install pocketsphinx``.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from pocketsphinx import Decoder

from engines.speech import english
from engines.speech.text import sentences
from engines.speech.voices import open_voice
from export.models.pronouncer import distance

RATE = 16_000


def words_of(text):
    """The words of a text as the recogniser writes them."""
    return re.sub(r"[^a-z' ]+", " ", english.normalise(text).lower().replace("-", " ")).split()


def recognised(decoder, samples, rate):
    """What the recogniser hears in samples (n,)."""
    heard = np.clip(soxr.resample(samples, rate, RATE), -1, 1)
    decoder.start_utt()
    decoder.process_raw((32767 * heard).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return re.sub(r"\(\d\)|<\w+>|\[\w+\]", "", found.hypstr).split() if found else []


def spoken(voice, text):
    """A text as a voice says it, (n,)."""
    return np.concatenate(
        [chunk.samples for sentence in sentences(text, "en") for chunk in voice.speak(sentence)]
    )


def recording(path):
    """A recording, (n,), and its rate."""
    samples, rate = sf.read(path, dtype="float32", always_2d=True)
    return samples.mean(1), rate


def error_rate(decoder, texts, sounds):
    """Edits for every word that was said."""
    edits = count = 0
    for text, (samples, rate) in zip(texts, sounds, strict=True):
        right = words_of(text)
        edits += distance(recognised(decoder, samples, rate), right)
        count += len(right)
    return edits / count, count


def main():
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speech", type=Path, metavar="SPEECH")
    parser.add_argument("--voice", action="append", default=[], metavar="V")
    parser.add_argument("--count", type=int, default=100, metavar="N")
    options = parser.parse_args()
    rows = [line.split("|") for line in (options.speech / "metadata.csv").read_text().splitlines()]
    rows = list({text: (name, text) for name, text in rows}.values())
    rows = rows[:: max(1, len(rows) // options.count)][: options.count]
    texts = [text for _, text in rows]
    files = {path.stem: path for path in options.speech.rglob("*.ogg")}
    decoder = Decoder(samprate=RATE, loglevel="FATAL")
    print("| | words | word error rate |\n| --- | --- | --- |")
    sounds = {"recordings": (recording(files[name]) for name, _ in rows)}
    for name in options.voice or ["espeak-en"]:
        voice = open_voice(name)
        sounds[name] = ((spoken(voice, text), voice.rate) for text in texts)
    for name, each in sounds.items():
        rate, count = error_rate(decoder, texts, each)
        print(f"| {name} | {count} | {100 * rate:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
