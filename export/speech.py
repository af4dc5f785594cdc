"""``python -m export data speech``: a corpus for voices (`export.corpus`), from folders as LJSpeech has them.

Sounds are made mono, resampled, and cut to what is said. Texts are normalised and phonemised by the front
ends that the voice will be fed by. What is of no use is left out, each with a line that says why.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import shlex
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from export.corpus import (
    CLIPS,
    CORPUS,
    FORMAT,
    HOP,
    RESERVED,
    StoredClip,
    StoredCorpus,
)
from export.output import appear, digest, progress, show
from export.sets import LJSPEECH, licence, parts, read_metadata, shown
from rtaudio.cli import one_line
from rtaudio.errors import FileError, UserError
from rtaudio.files import AudioReader, AudioWriter

if TYPE_CHECKING:
    from engines.speech.espeak import Espeak

FLOOR = 30.0
"""dB below the active level (ITU-T P.56) that is silence at the ends of a recording, in steps of `STEP`."""
STEP, KEPT = 0.01, 0.05
"""Seconds: of a step, and of silence that is kept before the first and after the last that is louder."""
SURPLUS = 60.0
"""Seconds that a recording may have more than a clip; longer ones are not read at all."""
FAR, FEW = 2.5, 10
"""Clips whose time per phoneme is further from their speaker's median than by this factor are taken to have
another text; speakers with fewer clips than `FEW` have no median to go by.
"""
CLIPPED = 0.999
"""Peaks from here on are counted as clipped."""

NO_PHONEMES, NO_SOUND, SILENT, LONG, SHORT, UNLIKE, UNNAMED = (
    "no phonemes",
    "unreadable",
    "silent",
    "too long",
    "too short",
    "unlike its text",
    "without text or audio",
)
"""Why clips are dropped."""


@dataclass(frozen=True)
class Prompt:
    """A recording that may become a clip, and what is said in it."""

    name: str
    path: Path
    speaker: str
    text: str


@dataclass(frozen=True)
class Said:
    """A text, read."""

    phonemes: tuple[str, ...]
    """Codepoints."""
    key: str
    """Its words in lower case: what clips of one text have in common."""
    notes: tuple[str, ...]


class Unusable(Exception):  # noqa: N818 - no error: the clip is left out
    """Why a recording becomes no clip: which of the reasons, and in words."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason


# ------------------------------------------------------------------------------------------ sources


def find_prompts(folders: Sequence[Path], speakers: bool) -> tuple[list[Prompt], list[str]]:
    """The recordings of LJSpeech folders, and what is wrong with these, in words.

    Parameters
    ----------
    folders
        As `export.sets` has them, or folders of such.
    speakers
        Whether lines of ``metadata.csv`` are ``id|speaker|text``; else the speaker is the folder's name.

    Raises
    ------
    FileError
        A folder is of another layout, or two would have clips of one name.
    """
    found: list[tuple[Path, list[Prompt]]] = []
    problems = []
    for folder in folders:
        for layout, part in parts(folder):
            if layout != LJSPEECH:
                raise FileError(f"{part} has no metadata.csv, but is {layout}: want metadata.csv of id|text")
            clips, wrong, without = read_metadata(part, speakers)
            problems += wrong
            problems += [f"{shown(part)}: audio {name!r} has no line in metadata.csv" for name in without]
            columns = "id|speaker|text|normalised text" if speakers else "id|text|normalised text"
            problems += [
                f"{shown(part)}: {clip.path.stem!r} has more columns than {columns} in metadata.csv"
                for clip in clips
                if clip.text is None
            ]
            prompts = [
                Prompt(clip.path.stem, clip.path, clip.speaker, clip.text)
                for clip in clips
                if clip.text is not None
            ]
            found.append((part, prompts))
    names = [part.resolve().name for part, _ in found]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise FileError(f"two folders are called {twice[0]}: give each once, or rename one")
    if len(found) == 1:
        return found[0][1], problems
    several = [
        Prompt(f"{name}_{prompt.name}", prompt.path, prompt.speaker, prompt.text)
        for name, (_, prompts) in zip(names, found, strict=True)
        for prompt in prompts
    ]
    counts = Counter(prompt.name for prompt in several)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise FileError(f"two clips would be called {twice[0]}: rename a folder")
    return several, problems


def few(lines: Sequence[str], count: int) -> str:
    """The first lines on one, and how many there are more."""
    more = [f"{len(lines) - count} more"] if len(lines) > count else []
    return "; ".join([*lines[:count], *more])


def read_text(text: str, language: str, voice: str, espeak: Espeak) -> Said:
    """Normalise and phonemise what a clip says.

    A voice is fed sentence by sentence; a clip of several has them one after the other, a space between.

    Parameters
    ----------
    text
        As it is written.
    language
        ``en`` or ``bn``.
    voice
        espeak-ng's; empty: the phonemes are letters.
    espeak
        What phonemises.

    Raises
    ------
    Unusable
        It has no phonemes.
    """
    from engines.speech.piper import phonemes_of
    from engines.speech.text import sentences
    from engines.speech.voice import SpeechError

    phonemes: list[str] = []
    spoken, notes = [], []
    for sentence in sentences(text, language):
        notes += [*sentence.notes, *sentence.left_out]
        spoken.append(sentence.spoken)
        try:
            found = phonemes_of(sentence, voice, espeak)[1]
        except SpeechError as error:
            raise Unusable(NO_PHONEMES, str(error)) from None
        for part, _ in found:
            phonemes += [" ", *part] if phonemes else part
    if not any(map(str.isalpha, phonemes)):
        raise Unusable(NO_PHONEMES, f"{text[:40]!r} has no phonemes")
    letters = "".join(
        letter if unicodedata.category(letter)[0] in "LMN" else " " for letter in " ".join(spoken)
    )
    return Said(tuple(phonemes), " ".join(letters.lower().split()), tuple(notes))


# ------------------------------------------------------------------------------------------ sounds


def trimmed(x: NDArray[np.float32], rate: int) -> tuple[int, int]:
    """Where what is said begins and ends: samples (samples,) at a rate in Hz, which are not silent.

    All but 50 ms before the first and after the last 10 ms that are less than 30 dB below the active level of
    speech (ITU-T P.56) is silence.
    """
    from export.levels import active_level

    step = round(STEP * rate)
    threshold = 10 ** ((active_level(x, rate)[0] - FLOOR) / 10)
    padded = np.pad(x, (0, -len(x) % step)).astype(np.float64)
    loud = np.flatnonzero(np.square(padded).reshape(-1, step).mean(1) >= threshold)
    kept = round(KEPT * rate)
    return max(0, int(loud[0]) * step - kept), min(len(x), (int(loud[-1]) + 1) * step + kept)


def read_recording(path: Path, rate: int, seconds: float) -> tuple[NDArray[np.float32], int]:
    """What is said in a recording, (samples,) at a rate in Hz, and the sample at which it begins.

    Raises
    ------
    Unusable
        It cannot be read, has nothing, or is longer than ``seconds``.
    """
    try:
        with AudioReader(path, rate) as reader:
            if reader.samples > (seconds + SURPLUS) * rate:
                raise Unusable(LONG, f"{reader.samples / rate:.1f} s, want {seconds:g} s or less")
            x: NDArray[np.float32] = reader.read(reader.samples).mean(axis=0, dtype=np.float32)
    except FileError as error:
        raise Unusable(NO_SOUND, str(error).removeprefix(f"cannot read {path}: ")) from None
    if not np.all(np.isfinite(x)):
        raise Unusable(NO_SOUND, "it has samples that are not finite")
    if not np.any(x):
        raise Unusable(SILENT, "it is silent")
    begin, end = trimmed(x, rate)
    if end - begin > seconds * rate:
        raise Unusable(LONG, f"{(end - begin) / rate:.1f} s, want {seconds:g} s or less")
    return x[begin:end], begin


def cut(prompt: Prompt, ids: int, path: Path, rate: int, seconds: float) -> dict[str, Any]:
    """Write the clip of a recording.

    Parameters
    ----------
    prompt
        The recording.
    ids
        How many its text has: each needs a frame of its own.
    path
        Of the clip.
    rate
        Hz.
    seconds
        That it may have.

    Returns
    -------
    The row of ``clips.csv``: the clip's name, the sample it begins at, its samples, how many are clipped.

    Raises
    ------
    Unusable
        There is nothing to write.
    """
    x, begin = read_recording(prompt.path, rate, seconds)
    if len(x) // HOP < ids:
        raise Unusable(SHORT, f"{len(x) / rate:.2f} s are {len(x) // HOP} frames for {ids} ids")
    with AudioWriter(path, rate, 1, subtype="16", samples=len(x)) as writer:
        writer.write(x[None])
    clipped = int(np.count_nonzero(np.abs(x) >= CLIPPED))
    return {"name": prompt.name, "begin": begin, "samples": len(x), "clipped": clipped}


# ------------------------------------------------------------------------------------------ choice


def unlike(times: Mapping[str, float], speakers: Mapping[str, str]) -> dict[str, float]:
    """Clips whose text is probably another, with the ratio to their speaker's median: see `FAR`.

    Parameters
    ----------
    times
        Per phoneme, by clip.
    speakers
        By clip.
    """
    found: dict[str, float] = {}
    for speaker in sorted(set(speakers.values())):
        own = {name: time for name, time in times.items() if speakers[name] == speaker}
        if len(own) >= FEW:
            ratios = {name: time / median(own.values()) for name, time in own.items()}
            found |= {name: ratio for name, ratio in ratios.items() if not 1 / FAR <= ratio <= FAR}
    return found


def held_out(keys: Iterable[str], count: int) -> set[str]:
    """The texts that are held out: those with the lowest SHA-256 of their words in UTF-8.

    Raises
    ------
    UserError
        No text would be left to train on.
    """
    different = set(keys)
    if count >= len(different):
        raise UserError(
            f"--held-out {count}: there are {len(different)} different texts, and none would be left to "
            "train on: hold out fewer"
        )
    return set(sorted(different, key=lambda key: hashlib.sha256(key.encode()).digest())[:count])


def symbols_of(texts: Iterable[Sequence[str]]) -> dict[str, int]:
    """Ids of the phonemes of texts, in the order of their codepoints, behind those that are reserved."""
    found = sorted({phoneme for phonemes in texts for phoneme in phonemes} - RESERVED.keys())
    return RESERVED | {symbol: number for number, symbol in enumerate(found, len(RESERVED))}


def ids_of(phonemes: Sequence[str], symbols: Mapping[str, int]) -> tuple[int, ...]:
    """What a voice with these symbols is fed."""
    from engines.speech import config

    ids = {symbol: (number,) for symbol, number in symbols.items()}
    known = config.Config(Path(), 0, "", "", ids, (), (0.0, 1.0, 0.0), "", characters=False)
    return tuple(config.ids_of(phonemes, known)[0])


# ------------------------------------------------------------------------------------------ the command


def command(commands: Any) -> None:
    """Add ``speech`` to the command line of ``data``."""
    from rtaudio.cli import file_path, from_zero, whole

    parser = commands.add_parser(
        "speech",
        help="make a corpus to train voices on",
        description="Write a corpus to train voices on, from folders with metadata.csv (id|text, or id|text|"
        "normalised text) and audio, one speaker each. Called again, it goes on where it was.",
    )
    parser.add_argument("folders", nargs="+", type=file_path, metavar="FOLDER", help="as LJSpeech has it")
    parser.add_argument(
        "-o", "--output", type=file_path, required=True, metavar="OUT",
        help=f"a folder for {CORPUS}, {CLIPS}/ and clips.csv",
    )  # fmt: skip
    parser.add_argument("--rate", type=whole, default=22_050, metavar="HZ", help="(default: 22050)")
    parser.add_argument(
        "--language", default="en-us", metavar="L",
        help="espeak-ng's name of the voice that phonemises (default: en-us)",
    )  # fmt: skip
    parser.add_argument(
        "--phonemes", choices=("espeak", "text"), default="espeak", help="IPA (default), or letters"
    )
    parser.add_argument(
        "--held-out", type=from_zero, default=120, metavar="N",
        help="texts that are never trained on (default: 120)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=16.0, metavar="S", help="drop what is longer (default: 16)"
    )
    parser.add_argument("--speakers", action="store_true", help="lines of metadata.csv are id|speaker|text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """``data speech``."""
    from engines.speech.espeak import Espeak
    from export.data import making, refuse_inside
    from rtaudio.cli import say
    from rtaudio.processor import RATES
    from rtaudio.render import make_folder

    if not RATES[0] <= options.rate <= RATES[1]:
        raise UserError(f"--rate {options.rate}: want {RATES[0]} to {RATES[1]}")
    if not 0 < options.seconds < math.inf:
        raise UserError(f"--seconds {options.seconds:g}: give a positive number")
    refuse_inside(options.output, options.folders)
    prompts, problems = find_prompts(options.folders, options.speakers)
    if not prompts:
        raise UserError(f"no recording has a text: {few(problems, 3) or 'want metadata.csv of id|text'}")
    settings = _settings(options, prompts)
    language, clips = options.language.partition("-")[0], options.output / CLIPS
    voice = options.language if options.phonemes == "espeak" else ""
    for problem in problems:
        say(one_line(problem))
    dropped = Counter([UNNAMED] * len(problems))
    said: dict[str, Said] = {}
    files = {prompt.name: [clips / f"{prompt.name}.flac"] for prompt in prompts}
    with closing(Espeak()) as espeak:
        try:
            read_text("no", language, voice, espeak)
        except Unusable as error:
            raise UserError(f"--language {options.language}: {error}") from None
        with (
            making(options.output, settings, "clips.csv", files) as (rows, keep),
            progress(len(prompts)) as advance,
        ):
            make_folder(clips)
            for prompt in prompts:
                advance(prompt.name)
                try:
                    found = read_text(prompt.text, language, voice, espeak)
                    if prompt.name not in rows:
                        ids = len(ids_of(found.phonemes, symbols_of([found.phonemes])))
                        keep(cut(prompt, ids, files[prompt.name][0], options.rate, options.seconds))
                except Unusable as error:
                    say(one_line(f"{shown(prompt.path)}: dropped, {error.reason}: {error}"))
                    dropped[error.reason] += 1
                    keep({"name": prompt.name, "dropped": error.reason})
                    continue
                for note in found.notes:
                    say(one_line(f"{shown(prompt.path)}: {note}"))
                said[prompt.name] = found
            times = {name: int(rows[name]["samples"]) / len(text.phonemes) for name, text in said.items()}
            for name, ratio in unlike(times, {prompt.name: prompt.speaker for prompt in prompts}).items():
                say(one_line(f"{name}: dropped, {UNLIKE}: {ratio:.2f} times its speaker's time a phoneme"))
                dropped[UNLIKE] += 1
                keep({**rows[name], "dropped": UNLIKE})
                del said[name]
    if not said:
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
        raise UserError(f"no recording is of use: {reasons}; mend what the lines above say")
    samples = {name: int(rows[name]["samples"]) for name in said}
    corpus = _corpus([prompt for prompt in prompts if prompt.name in said], said, samples, options, settings)
    # A clip a line; a quote inside of a text has a backslash before it.
    text = msgspec.json.encode(corpus).decode().replace('{"name"', '\n{"name"')
    appear(options.output / CORPUS, lambda hidden: hidden.write_text(f"{text}\n", encoding="utf-8"))
    _show(corpus, dropped, sum(int(rows[clip.name]["clipped"]) > 0 for clip in corpus.clips))
    return 0


def _settings(options: argparse.Namespace, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """What ``set.json`` says."""
    from export.data import versions

    folders = " ".join(shlex.quote(shown(folder)) for folder in options.folders)
    values = {
        "rate": options.rate,
        "language": shlex.quote(options.language),
        "phonemes": options.phonemes,
        "held-out": options.held_out,
        "seconds": f"{options.seconds:g}",
    }
    given = " ".join(f"--{name} {value}" for name, value in values.items())
    tables = [part / "metadata.csv" for folder in options.folders for _, part in parts(folder)]
    return {
        "made by": "data speech",
        "command": f"python -m export data speech {folders} {given}{' --speakers' * options.speakers}",
        "versions": versions(),
        "licences": [{"folder": shown(folder), "licence": licence(folder)} for folder in options.folders],
        "sources": digest([*tables, *(prompt.path for prompt in prompts)]),
    }


def _corpus(
    prompts: Sequence[Prompt],
    said: Mapping[str, Said],
    samples: Mapping[str, int],
    options: argparse.Namespace,
    settings: Mapping[str, Any],
) -> StoredCorpus:
    """The corpus of recordings that are kept, with the symbols of those that are trained on."""
    out = held_out((said[prompt.name].key for prompt in prompts), options.held_out)
    speakers = sorted({prompt.speaker for prompt in prompts})
    symbols = symbols_of(text.phonemes for text in said.values() if text.key not in out)
    clips = [
        StoredClip(
            prompt.name,
            speakers.index(prompt.speaker),
            prompt.text,
            ids_of(said[prompt.name].phonemes, symbols),
            samples[prompt.name],
            said[prompt.name].key in out,
        )
        for prompt in prompts
    ]
    return StoredCorpus(
        format=FORMAT,
        command=settings["command"],
        versions=settings["versions"],
        rate=options.rate,
        language=options.language,
        phoneme_type=options.phonemes,
        symbols=symbols,
        speakers=tuple(speakers),
        sources={each["folder"]: each["licence"] for each in settings["licences"]},
        clips=tuple(clips),
    )


def _show(corpus: StoredCorpus, dropped: Counter[str], clipped: int) -> None:
    """Say what there is now, and what is not."""
    cells = []
    for number, speaker in enumerate(corpus.speakers):
        sides = [
            [clip for clip in corpus.clips if clip.speaker == number and clip.held_out == held]
            for held in (False, True)
        ]
        minutes = [f"{sum(clip.samples for clip in side) / corpus.rate / 60:.1f}" for side in sides]
        cells.append([speaker, str(len(sides[0])), minutes[0], str(len(sides[1])), minutes[1]])
    show(["speaker", "clips", "minutes", "held out", "minutes"], cells)
    lines = [f"{len(corpus.symbols)} symbols: {' '.join(list(corpus.symbols)[len(RESERVED) :])}"]
    lines += [f"{count} dropped: {reason}" for reason, count in dropped.most_common()]
    lines += [f"{clipped} clips reach full scale"] if clipped else []
    lines += [f"licence of {folder}: {told}" for folder, told in corpus.sources.items()]
    sys.stdout.write("".join(f"{one_line(line)}\n" for line in lines))
