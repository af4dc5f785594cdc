"""Pairs of clean and noisy speech to score enhancement on: as recorded, or mixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.metrics import RATE
from export.mixing import Mixer, Recipe, mix, read_mono
from export.output import digest
from export.sets import Clip
from export.systems import Audio
from rtaudio.errors import FileError


@dataclass(frozen=True)
class Pair:
    """Clean speech, and the same with noise, by SNR in dB; by None where nobody knows it."""

    file: str
    noise: str
    clean: Audio
    noisy: Mapping[float | None, Audio]
    rate: int = RATE
    """Hz."""


Load = Callable[[int], Pair]
"""The pair of a number; `UserError` if there is none to score."""


@dataclass(frozen=True)
class Recorded:
    """Pairs of files, (clean, noisy)."""

    pairs: tuple[tuple[Path, Path], ...]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def snrs(self) -> tuple[float | None, ...]:
        """Levels of every pair."""
        return (None,)

    def settings(self) -> dict[str, Any]:
        """What decides the pairs, without where they lie."""
        clean, noisy = zip(*self.pairs, strict=True)
        return {"clean": digest(clean), "noisy": digest(noisy)}

    def open(self) -> Load:
        """The function that reads pairs."""
        return self._load

    def _load(self, number: int) -> Pair:
        from rtaudio.files import AudioReader

        paths = self.pairs[number]
        shapes = []
        for path in paths:
            with AudioReader(path) as reader:
                shapes.append((reader.rate, reader.samples))
                if reader.channels != 1:
                    raise FileError(f"{path} has {reader.channels} channels: mono is scored, mix it down")
        for unit, of_clean, of_noisy in zip(("Hz", "samples"), *shapes, strict=True):
            if of_clean != of_noisy:
                raise FileError(
                    f"{paths[1]} has {of_noisy} {unit}, but {paths[0]} has {of_clean}: they must be alike"
                )
        clean, noisy = (read_mono(path, RATE) for path in paths)
        return Pair(paths[0].stem, "", clean, {None: noisy})


@dataclass(frozen=True)
class Mixed:
    """Clean clips and noise files, mixed by `export.mixing`: the same recordings at every SNR, in dB."""

    clean: tuple[Clip, ...]
    noise: tuple[Path, ...]
    snrs: tuple[float, ...]
    count: int
    seed: int
    rate: int = RATE
    """Hz. Systems have to work at it too."""

    def __len__(self) -> int:
        return self.count

    def settings(self) -> dict[str, Any]:
        """What decides the pairs, without where the files lie."""
        clean = [clip.path for clip in self.clean]
        files = {"clean": digest(clean), "noise": digest(self.noise)}
        own = {} if self.rate == RATE else {"rate": self.rate}
        return files | {"snr": list(self.snrs), "count": self.count, "seed": self.seed} | own

    def open(self) -> Load:
        """The function that mixes pairs; it keeps decoded files in memory."""
        clean, speakers = [clip.path for clip in self.clean], [clip.speaker for clip in self.clean]
        mixer = Mixer(clean, self.noise, Recipe(rate=self.rate, snr=self.snrs[:1]), self.seed, speakers)

        def load(number: int) -> Pair:
            pair = mixer.pair(number)
            noisy: dict[float | None, Audio] = {
                snr: mix(pair.clean, pair.noise, snr, self.rate)[0] for snr in self.snrs
            }
            return Pair(pair.name, str(pair.details["noise"]), pair.clean, noisy, self.rate)

        return load


Material = Recorded | Mixed
