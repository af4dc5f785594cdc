"""What the folder of a voice of Piper's kind has: its networks, and what its JSON says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtaudio.errors import FileError
from rtaudio.processor import RATES

PAIRS = ("text.onnx", "dec.onnx"), ("acoustic.onnx", "vocoder.onnx")
PAD, BEGIN, END = "_^$"


@dataclass(frozen=True)
class Config:
    """What NAME.onnx.json says."""

    path: Path
    rate: int
    """Hz"""
    language: str
    espeak: str
    """espeak-ng's voice whose phonemes it reads; empty: it reads letters."""
    ids: Mapping[str, tuple[int, ...]]
    """Of the phonemes, codepoints each."""
    speakers: tuple[str, ...]
    """Their names, by number; empty if there is only one."""
    scales: tuple[float, float, float]
    """Noise, length, noise of the durations."""
    licence: str
    characters: bool
    """Whether it reads those of the paper, with ``|`` at the end of each sentence, not letters as written."""


def find_parts(path: Path) -> tuple[Path, tuple[Path, ...]]:
    """The JSON of a voice, and its one or two networks.

    Parameters
    ----------
    path
        A folder with one voice, or NAME.onnx.

    Raises
    ------
    FileError
        There is none, or there are several.
    """
    if path.suffix == ".onnx" and path.is_file():
        card = path.with_name(f"{path.name}.json")
        if not card.is_file():
            raise FileError(f"{path} has no {card.name} beside it: get that too")
        return card, (path,)
    if not path.is_dir():
        raise FileError(f"{path} is no folder of a voice, and no NAME.onnx")
    cards = sorted(path.glob("*.onnx.json"))
    if len(cards) != 1:
        found = f"{len(cards)} voices: give the path of one NAME.onnx" if cards else "no NAME.onnx.json"
        raise FileError(f"{path} has {found}")
    for pair in PAIRS:
        networks = tuple(path / name for name in pair)
        if all(network.is_file() for network in networks):
            return cards[0], networks
    network = cards[0].with_suffix("")
    if not network.is_file():
        raise FileError(f"{path} has {cards[0].name}, but no {network.name}")
    return cards[0], (network,)


def read_config(path: Path) -> Config:
    """Read NAME.onnx.json.

    Raises
    ------
    FileError
        It cannot be read, or what it says cannot be.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise FileError(f"{path} is not JSON") from None

    def get(*keys: str, otherwise: Any = None) -> Any:
        value = said
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return otherwise if value is None else value

    def wrong(what: str, value: object, want: str) -> FileError:
        text = repr(value)
        return FileError(f"{path} says {what} {text if len(text) < 60 else text[:56] + ' ...'}: want {want}")

    rate, kind = get("audio", "sample_rate"), get("phoneme_type", otherwise="espeak")
    if type(rate) is not int or not RATES[0] <= rate <= RATES[1]:
        raise wrong("audio.sample_rate", rate, f"a whole number from {RATES[0]} to {RATES[1]}")
    if kind not in ("espeak", "text", "characters"):
        raise wrong("phoneme_type", kind, "espeak, text or characters")
    espeak = get("espeak", "voice", otherwise="")
    if not isinstance(espeak, str) or (kind == "espeak" and not espeak):
        raise wrong("espeak.voice", espeak, "the name of a voice of espeak-ng")
    symbols, ids = get("num_symbols", otherwise=2**31), get("phoneme_id_map")
    if type(symbols) is not int or symbols < 1:
        raise wrong("num_symbols", symbols, "a whole number from 1")
    if not isinstance(ids, dict) or not {PAD, BEGIN, END} <= ids.keys():
        raise wrong("phoneme_id_map", ids, "a table of ids that has _, ^ and $")
    for symbol, numbers in ids.items():
        fits = isinstance(numbers, list) and all(type(n) is int and 0 <= n < symbols for n in numbers)
        if not fits or not numbers:
            raise wrong(f"in phoneme_id_map for {symbol!r}", numbers, f"a list of ids below {symbols}")
    count, names = get("num_speakers", otherwise=1), get("speaker_id_map", otherwise={})
    if type(count) is not int or not 1 <= count < 2**20:
        raise wrong("num_speakers", count, "a whole number from 1")
    if not isinstance(names, dict) or any(type(n) is not int or not 0 <= n < count for n in names.values()):
        raise wrong("speaker_id_map", names, f"a table of numbers below {count}")
    by_number = {number: name for name, number in names.items()}
    scales = tuple(
        get("inference", key, otherwise=usual)
        for key, usual in (("noise_scale", 0.667), ("length_scale", 1.0), ("noise_w", 0.8))
    )
    if not all(type(scale) in (int, float) and 0 <= scale < 100 for scale in scales) or scales[1] == 0:
        raise wrong(
            "inference", scales, "numbers from 0 for noise_scale and noise_w, above 0 for length_scale"
        )
    language = get("language", "code", otherwise="") or espeak
    return Config(
        path,
        rate,
        str(language).replace("_", "-").partition("-")[0],
        espeak if kind == "espeak" else "",
        {symbol: tuple(numbers) for symbol, numbers in ids.items()},
        tuple(by_number.get(n, str(n)) for n in range(count)) if count > 1 else (),
        scales,
        str(get("license", otherwise=get("licence", otherwise="not said"))),
        kind == "characters",
    )


Placed = tuple[list[str], list[tuple[int, int]]]
"""Phonemes; the number of each word that they say, and the index of its first phoneme, in order."""


def ids_of(phonemes: Sequence[str], config: Config) -> tuple[list[int], list[int]]:
    """What a network reads: ``^ _ p _ p _ ... $``.

    Returns
    -------
    The ids, and for each the index of the phoneme that it stands for or follows. Phonemes that the voice does
    not know are left out.
    """
    ids, owners = [*config.ids[BEGIN], *config.ids[PAD]], []
    owners += [0] * len(ids)
    for number, phoneme in enumerate(phonemes):
        if phoneme in config.ids:
            more = [*config.ids[phoneme], *config.ids[PAD]]
            ids += more
            owners += [number] * len(more)
    ids += config.ids[END]
    owners += [max(0, len(phonemes) - 1)] * len(config.ids[END])
    return ids, owners
