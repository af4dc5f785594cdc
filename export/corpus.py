"""Corpora of speech, which voices are trained on: clips, what is said in them, and the ids of that.

A folder has ``corpus.json`` and ``clips/NAME.flac``, 16 bits, mono, at one rate. ``python -m export data
speech`` makes it (`export.speech`). Ids are those of Piper's voices, ``^ _ p _ p _ ... $``: what
`engines.speech.config.ids_of` feeds a voice with that speaks the same text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from export.output import file_hash
from rtaudio.errors import FileError, UserError
from rtaudio.files import AudioReader

T = TypeVar("T")

CORPUS, CLIPS, DURATIONS = "corpus.json", "clips", "durations.json"
"""Files and folders of a corpus."""
FORMAT = 1
"""Of corpora and durations. Counted up when older ones can no longer be read."""
RESERVED = {"_": 0, "^": 1, "$": 2}
"""Ids that every corpus has: of the blank between phonemes, the beginning and the end."""
HOP = 256
"""Samples of a frame, which durations are counted in."""
SPREAD = 0.1
"""Part of its length by which a clip may be out of order in `alike`, so that batches differ every time."""


@dataclass(frozen=True)
class Clip:
    """A recording, and what is said in it."""

    name: str
    speaker: int
    """Index of `Corpus.speakers`."""
    text: str
    """As it is written."""
    ids: tuple[int, ...]
    samples: int
    path: Path
    held_out: bool
    """No step of training may see it, nor any other clip of the same text: all of these are held out."""


@dataclass(frozen=True)
class Corpus:
    """What a folder has."""

    rate: int
    """Hz"""
    language: str
    """espeak-ng's name of the voice that phonemised: ``en-us``; for letters, of the language."""
    phoneme_type: Literal["espeak", "text"]
    symbols: dict[str, int]
    """Piper's ``phoneme_id_map``: a codepoint each, with one id each."""
    speakers: tuple[str, ...]
    clips: tuple[Clip, ...]
    sources: dict[str, str]
    """Licences by what was recorded."""


class StoredClip(msgspec.Struct, frozen=True):
    """A clip in ``corpus.json``."""

    name: str
    speaker: int
    text: str
    ids: tuple[int, ...]
    samples: int
    held_out: bool


class StoredCorpus(msgspec.Struct, frozen=True, kw_only=True):
    """``corpus.json``."""

    format: int
    command: str
    versions: dict[str, str]
    rate: int
    language: str
    phoneme_type: Literal["espeak", "text"]
    symbols: dict[str, int]
    speakers: tuple[str, ...]
    sources: dict[str, str]
    clips: tuple[StoredClip, ...]


class StoredDurations(msgspec.Struct, frozen=True, kw_only=True):
    """``durations.json``."""

    format: int
    command: str
    run: dict[str, str | int]
    """Hash and step of the checkpoint that aligned."""
    corpus: str
    """SHA-256 of ``corpus.json``."""
    hop: int
    durations: dict[str, tuple[int, ...]]


def read_corpus(folder: Path) -> Corpus:
    """Read ``corpus.json``; the sounds are left where they are, see `read_sound`.

    Raises
    ------
    FileError
        There is none, or it says what cannot be.
    """
    path = folder / CORPUS
    said = _decoded(path, StoredCorpus, "is no corpus", "'python -m export data speech' makes a corpus")
    if said.format != FORMAT:
        raise FileError(f"{path} has format {said.format}, this version reads {FORMAT}: make it anew")
    if wrong := _wrong(said):
        raise FileError(f"{path} is no corpus: {wrong}")
    clips = tuple(
        Clip(
            clip.name,
            clip.speaker,
            clip.text,
            clip.ids,
            clip.samples,
            folder / CLIPS / f"{clip.name}.flac",
            clip.held_out,
        )
        for clip in said.clips
    )
    return Corpus(
        said.rate, said.language, said.phoneme_type, said.symbols, said.speakers, clips, said.sources
    )


def _decoded(path: Path, kind: type[T], wrong: str, maker: str) -> T:
    """A JSON file; `FileError` where it is of another kind, or not there, and says what makes it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}; {maker}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path} {wrong}: {error}") from None


def _wrong(said: StoredCorpus) -> str | None:
    """What cannot be in a corpus, in words."""
    known = set(said.symbols.values())
    if said.rate < 1:
        return f"its rate is {said.rate} Hz"
    if any(said.symbols.get(symbol) != number for symbol, number in RESERVED.items()):
        return f"its symbols have no {RESERVED}"
    if len(known) < len(said.symbols) or min(known) < 0:
        return "two of its symbols have one id, or one is below 0"
    if len({clip.name for clip in said.clips}) < len(said.clips):
        return "two of its clips have one name"
    for clip in said.clips:
        if not is_file_name(clip.name):
            return f"{clip.name!r} is no name of a file in {CLIPS}/"
        if not 0 <= clip.speaker < len(said.speakers):
            return f"{clip.name} is of speaker {clip.speaker}, of {len(said.speakers)}"
        if clip.samples // HOP < len(clip.ids) or not clip.ids:
            return f"{clip.name} has {clip.samples} samples for {len(clip.ids)} ids"
        if not known.issuperset(clip.ids):
            return f"{clip.name} has ids without a symbol"
    return None


def check_sizes(corpus: Corpus, folder: Path, symbols: int, speakers: int) -> None:
    """`UserError` where a network has no room for a corpus' symbols, or has not as many speakers."""
    if len(corpus.speakers) != speakers:
        raise UserError(
            f"{folder} has {len(corpus.speakers)} speakers, [model] has speakers = {speakers}: "
            "make them equal"
        )
    if (highest := max(corpus.symbols.values())) >= symbols:
        raise UserError(
            f"{folder} has symbols up to number {highest}, [model] has symbols = {symbols}: "
            f"want {highest + 1} or more"
        )


def sides_of(corpus: Corpus, folder: Path) -> tuple[list[Clip], list[Clip]]:
    """Clips to train on, and those that are held out; `UserError` where there are none of either."""
    sides = [[clip for clip in corpus.clips if clip.held_out == held] for held in (False, True)]
    if not all(sides):
        raise UserError(
            f"{folder} has no clip that is {'held out' if sides[0] else 'trained on'}: make it with another "
            "--held-out"
        )
    return sides[0], sides[1]


def record_of(corpus: Corpus, clips: Sequence[Clip]) -> dict[str, Any]:
    """What the record of a run says of its corpus, of which it is trained on some clips."""
    return {
        "sources": corpus.sources,
        "rate": corpus.rate,
        "language": corpus.language,
        "phoneme_type": corpus.phoneme_type,
        "symbols": corpus.symbols,
        "speakers": list(corpus.speakers),
        "held out": f"{sum(clip.held_out for clip in corpus.clips)} clips",
        "clips": len(clips),
        "minutes": round(sum(clip.samples for clip in clips) / corpus.rate / 60, 1),
    }


def corpus_of(record: Mapping[str, Any]) -> Corpus:
    """The corpus that `record_of` tells of, without its clips."""
    return Corpus(
        record["rate"],
        record["language"],
        record["phoneme_type"],
        record["symbols"],
        tuple(record["speakers"]),
        (),
        record["sources"],
    )


def alike(lengths: Sequence[int], size: int, seed: int, examples: range) -> list[int]:
    """Which clips a batch has: of about one length, every clip once before any comes again.

    Parameters
    ----------
    lengths
        Of all clips.
    size
        Of a batch. What is missing to the last one, which has the longest clips, is of the shortest.
    seed
        Of the order, which is another every time.
    examples
        Numbers of examples, of one batch; batch n has those from n ``size`` on.

    Returns
    -------
    Indices of clips.
    """
    step, place = divmod(examples.start, size)
    count = -(-len(lengths) // size)
    turn, number = divmod(step, count)
    random = np.random.default_rng([seed, turn])
    spread = random.uniform(1 - SPREAD, 1 + SPREAD, len(lengths))
    order = np.argsort(np.array(lengths) * spread, kind="stable")
    begin = random.permutation(count)[number] * size + place
    return [int(order[(begin + n) % len(order)]) for n in range(len(examples))]


def is_file_name(name: str) -> bool:
    """Whether a name is one of a file, and leads to no other folder."""
    return name not in ("", ".", "..") and not any(letter in name for letter in "/\\\0")


def read_sound(clip: Clip) -> NDArray[np.float32]:
    """The sound of a clip, (samples,), at the rate of its corpus.

    Raises
    ------
    FileError
        It cannot be read, or is not what the corpus says.
    """
    with AudioReader(clip.path) as reader:
        x: NDArray[np.float32] = reader.read(reader.samples)
    if x.shape != (1, clip.samples):
        raise FileError(
            f"{clip.path} has {x.shape[1]} samples of {len(x)} channels, {CORPUS} says {clip.samples} of 1: "
            "make the corpus anew"
        )
    return x.reshape(-1)


def read_durations(folder: Path, corpus: Corpus, path: Path | None = None) -> dict[str, tuple[int, ...]]:
    """Frames of every id of every clip, by the clip's name, as ``python -m export align`` has written them.

    Parameters
    ----------
    folder
        Of the corpus.
    corpus
        What `read_corpus` has read there.
    path
        The file, where it is not ``durations.json`` in that folder.

    Returns
    -------
    One number per id, which add up to ``samples // HOP``. The blanks between phonemes have 0.

    Raises
    ------
    FileError
        There are none, or they are not of this corpus.
    """
    path = path or folder / DURATIONS
    said = _decoded(path, StoredDurations, "has no durations", "'python -m export align' makes them")
    again = "align the corpus again"
    if said.format != FORMAT or said.hop != HOP:
        raise FileError(
            f"{path} has format {said.format} and hops of {said.hop}, this version reads {FORMAT} and {HOP}: "
            f"{again}"
        )
    if said.corpus != file_hash(folder / CORPUS):
        raise FileError(f"{path} is of another corpus than {folder / CORPUS}: {again}")
    for clip in corpus.clips:
        found = said.durations.get(clip.name, ())
        if len(found) != len(clip.ids) or min(found) < 0 or sum(found) != clip.samples // HOP:
            raise FileError(f"{path} has wrong durations of {clip.name}: {again}")
    return said.durations
