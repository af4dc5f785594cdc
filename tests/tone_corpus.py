"""A small corpus for the tests of voices: letters are tones."""

import json

import numpy as np
import soundfile as sf

from export.corpus import FORMAT

RATE, HOP = 8_000, 256
SYMBOLS = {symbol: number for number, symbol in enumerate("_^$ abcde")}


def ids_of(text):
    """``^ _ p _ p _ ... $``."""
    inner = [number for symbol in text for number in (SYMBOLS[symbol], SYMBOLS["_"])]
    return [SYMBOLS["^"], SYMBOLS["_"], *inner, SYMBOLS["$"]]


def tones(text, speaker=0, frames=4):
    """Each letter a tone of ``frames`` frames, after one of silence; a speaker's are higher by a half."""
    t = np.arange(frames * HOP) / RATE
    gap, ends = np.zeros(HOP), np.zeros(4 * HOP)
    parts = [ends]
    for symbol in text:
        pitch = 0 if symbol == " " else (150 + 60 * SYMBOLS[symbol]) * 1.5**speaker
        parts += [0.3 * np.hanning(len(t)) * np.sin(2 * np.pi * pitch * t), gap]
    return np.concatenate([*parts, ends]).astype(np.float32)


def write_corpus(folder, clips=12, speakers=1, held_out=2, letters=(4, 8), **said):
    """Clips of some letters each, the first of them held out."""
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    listed = []
    for number in range(clips):
        text = "".join(random.choice(list("abcde"), random.integers(*letters)))
        speaker = number % speakers
        x = tones(text, speaker)
        sf.write(folder / "clips" / f"clip{number}.flac", x, RATE, subtype="PCM_16")
        listed.append(
            {
                "name": f"clip{number}",
                "speaker": speaker,
                "text": text,
                "ids": ids_of(text),
                "samples": len(x),
                "held_out": number < held_out,
            }
        )
    found = {
        "format": FORMAT,
        "command": "made by a test",
        "versions": {},
        "rate": RATE,
        "language": "en",
        "phoneme_type": "text",
        "symbols": SYMBOLS,
        "speakers": [f"speaker{number}" for number in range(speakers)],
        "sources": {"tones": "CC0"},
        "clips": listed,
    } | said
    (folder / "corpus.json").write_text(json.dumps(found), encoding="utf-8")
    return folder
