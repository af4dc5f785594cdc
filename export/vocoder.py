"""Training of vocoders, the task ``vocoder``: log mel spectra to sound.

The network is that of `export.models.vocos`. At first it learns from spectra alone, which is fast; then
discriminators of HiFi-GAN, narrow ones, judge it too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export import sets
from export.config import check_least, check_optimiser, check_weights
from export.corpus import CORPUS, read_corpus, read_sound, sides_of
from export.mixing import read_mono
from export.models.hifigan import Discriminators, discriminator_loss, feature_loss, generator_loss
from export.models.vocos import Shape, Vocos
from export.networks import Exportable
from export.output import digest, progress
from export.spectra import Features, Resolutions
from export.training import Arrays, Training, Uniform, Update, Validation
from rtaudio.cli import say
from rtaudio.errors import UserError

HELD_FRAMES = 172
"""Frames of each held-out clip, from its middle, with silence after a shorter one: 2 s at 22,050 Hz."""
FULL = 32_768
"""Full scale of 16 bits."""

Clips = list[NDArray[np.int16]]


@dataclass(frozen=True)
class Data:
    """The table ``[data]``.

    Parameters
    ----------
    corpus
        A folder that ``data speech`` wrote, which says what is held out; or
    clean
        folders in any layout of `export.sets`.
    held_out
        Clips of ``clean`` that validation hears: those whose names have the lowest SHA-256.
    frames
        Of an example.
    validation
        Held-out clips that are scored.
    """

    corpus: str = ""
    clean: tuple[str, ...] = ()
    held_out: int = 16
    frames: int = 48
    validation: int = 16

    def __post_init__(self) -> None:
        if bool(self.corpus) == bool(self.clean):
            raise UserError("want either corpus or clean")
        check_least(self, 1, "held_out", "validation")
        if not 16 <= self.frames <= 1024:
            raise UserError(f"frames = {self.frames}: want 16 to 1024")


@dataclass(frozen=True)
class Loss:
    """The table ``[loss]``: weights.

    Parameters
    ----------
    mel
        Mean absolute difference of log mel spectra, from 0 Hz to half the rate.
    spectra
        `export.spectra.Resolutions`, which hears what goes on between two frames.
    adversarial
        What the discriminators say. 0: there are none at any time.
    features
        Difference of what their layers put out; HiFi-GAN's weight of 2 comes on top.
    """

    mel: float = 45.0
    spectra: float = 10.0
    adversarial: float = 1.0
    features: float = 1.0

    def __post_init__(self) -> None:
        check_weights(self)


@dataclass(frozen=True)
class Adversary:
    """The table ``[adversary]``: the discriminators.

    Parameters
    ----------
    start
        The first step that has them.
    frames
        Of each example that they hear.
    periods, scales, width
        See `export.models.hifigan.Discriminators`. Those of scales cost the most on a CPU.
    """

    start: int = 10_000
    frames: int = 32
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    scales: int = 0
    width: float = 0.125

    def __post_init__(self) -> None:
        check_least(self, 0, "start")
        check_least(self, 1, "frames")


@dataclass(frozen=True)
class Optimiser:
    """The table ``[optimiser]``, AdamW: its rates, and b1 and b2 of both."""

    vocoder: float = 5e-4
    discriminators: float = 2e-4
    betas: tuple[float, float] = (0.8, 0.99)
    decay: float = 0.01

    def __post_init__(self) -> None:
        check_optimiser(self, "vocoder", "discriminators")


@dataclass(frozen=True)
class Settings:
    """A configuration."""

    data: Data
    seed: int = 0
    features: Features = field(default_factory=Features)
    model: Shape = field(default_factory=Shape)
    loss: Loss = field(default_factory=Loss)
    adversary: Adversary = field(default_factory=Adversary)
    optimiser: Optimiser = field(default_factory=Optimiser)
    training: Training = field(default_factory=Training)


class VocoderTask:
    """The vocoder, and its discriminators if it has any."""

    settings_type = Settings
    averaged = "vocoder"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        features, rates, adversary = settings.features, settings.optimiser, settings.adversary
        self.vocoder = Vocos(features.mels, features.fft, features.hop, settings.model)
        networks: dict[str, nn.Module] = {"vocoder": self.vocoder}
        if settings.loss.adversarial:
            networks["discriminators"] = Discriminators(adversary.periods, adversary.scales, adversary.width)
        self.networks: Mapping[str, nn.Module] = networks
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {
            name: torch.optim.AdamW(
                network.parameters(), getattr(rates, name), rates.betas, weight_decay=rates.decay
            )
            for name, network in networks.items()
        }
        if settings.data.frames <= 2 * self.vocoder.edge:
            raise UserError(f"frames = {settings.data.frames}: want more than {2 * self.vocoder.edge}")
        self._hears, self._judges = features.mel(), features.mel(whole=True)
        self._resolutions = Resolutions()

    def __getstate__(self) -> dict[str, Any]:
        """What processes need that cut examples."""
        return {
            "settings": self.settings,
            "vocoder": self.vocoder,
            "sound": self.sound,
            "starts": self.starts,
        }

    def open_data(self) -> dict[str, Any]:
        """Read all clips into memory, 16 bits a sample."""
        train, held, said = self._clips()
        need = self._samples(self.settings.data.frames)
        kept = [x for x in train if len(x) >= need]
        if not kept:
            raise UserError(f"no clip to train on has {need} samples: give longer ones, or fewer frames")
        self.sound = np.concatenate(kept)  # (samples,) int16
        ends = np.cumsum([len(x) for x in kept])
        begins = ends - [len(x) for x in kept]
        places = [
            np.arange(a, b, self.settings.features.hop) for a, b in zip(begins, ends - need + 1, strict=True)
        ]
        self.starts = np.concatenate(places)
        """Where an example may begin."""
        length = self._samples(HELD_FRAMES)
        cut = np.zeros((len(held), length), np.float32)
        for row, x in zip(cut, held, strict=True):
            middle = x[max(0, (len(x) - length) // 2) :][:length]
            row[: len(middle)] = middle / np.float32(FULL)
        self.held_out = torch.from_numpy(cut)
        return said | {"minutes": round(len(self.sound) / self.settings.features.rate / 60, 1)}

    def batch(self, examples: range) -> Arrays:
        """Sounds (examples, samples), and the number of the step (examples, 1)."""
        seed, size = self.settings.seed, self._samples(self.settings.data.frames)
        steps = np.full((len(examples), 1), examples.start // self.settings.training.batch, np.float32)
        at = [self.starts[np.random.default_rng([seed, n]).integers(len(self.starts))] for n in examples]
        sounds = np.stack([self.sound[begin : begin + size] for begin in at])
        return sounds.astype(np.float32) / np.float32(FULL), steps

    def train(self, batch: tuple[Tensor, ...], random: Uniform, update: Update) -> dict[str, float]:
        """A step of the vocoder, after one of the discriminators if they have begun."""
        sound, steps = batch
        loss, adversary = self.settings.loss, self.settings.adversary
        made, real, mel = self._make(self.vocoder, sound)
        found = {"mel": mel, "spectra": self._resolutions(real, made)}
        total = loss.mel * mel + loss.spectra * found["spectra"]
        if loss.adversarial and int(steps[0]) >= adversary.start:
            discriminators = self.networks["discriminators"]
            size = min(adversary.frames * self.settings.features.hop, real.shape[1])
            at = int(random(1).item() * (real.shape[1] - size + 1))
            heard, fake = (x[:, None, at : at + size] for x in (real, made))
            found["discriminators"] = discriminator_loss(discriminators(heard), discriminators(fake.detach()))
            update("discriminators", found["discriminators"])
            with torch.no_grad():
                judged = discriminators(heard)
            judged_fake = discriminators(fake)
            found["adversarial"] = generator_loss(judged_fake)
            found["features"] = feature_loss(judged, judged_fake)
            total = total + loss.adversarial * found["adversarial"] + loss.features * found["features"]
        update("vocoder", total)
        return {name: value.item() for name, value in found.items()}

    def validate(self, network: nn.Module, device: torch.device) -> Validation:
        """Distance in mel spectra, and in spectra of several resolutions."""
        made, real, mel = self._make(network, self.held_out.to(device))
        scalars = {"mel": mel.item(), "spectra": self._resolutions(real, made).item()}
        sounds = {name: x[:4].flatten().cpu().numpy() for name, x in (("clean", real), ("made", made))}
        return Validation(mel.item(), scalars, self.settings.features.rate, sounds)

    def exportable(self, network: nn.Module) -> Exportable:
        """``frames`` (1, mels, n) to ``output`` (1, 1, n * hop), cut off beyond full scale."""
        features = self.settings.features
        card = {
            "kind": "vocoder",
            **asdict(features),
            "overlap": self.vocoder.overlap,
            "model": asdict(self.settings.model),
        }
        example = torch.zeros(1, features.mels, 8)
        return Exportable(
            nn.Sequential(network, nn.Hardtanh()),
            {"frames": example},
            ("output",),
            card,
            time=2,
            sequence=True,
        )

    # ---------------------------------------------------------------------------------------- sound

    def _samples(self, frames: int) -> int:
        """What is cut out for an example: spectra of its first and last frames hear more than these."""
        return (frames + 2 * self.vocoder.edge) * self.settings.features.hop

    def _make(self, network: nn.Module, sound: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What a network makes of cuts of sound, and the same of the cuts, without the ends that lack
        windows: (batch, samples) each; and their distance in mel spectra.
        """
        for transform in (self._hears, self._judges, self._resolutions):
            transform.to(sound.device)
        edge, hop = self.vocoder.edge, self.settings.features.hop
        mel = self._hears(sound)[:, :, edge:-edge]
        made = network(mel)[:, 0, edge * hop : -edge * hop].float()
        real = sound[:, 2 * edge * hop :][:, : made.shape[1]]
        return made, real, functional.l1_loss(self._judges(made), self._judges(real))

    def _clips(self) -> tuple[Clips, Clips, dict[str, Any]]:
        """Clips to train on, clips to validate with, and what the record says of them."""
        data, rate = self.settings.data, self.settings.features.rate
        if data.corpus:
            corpus = read_corpus(Path(data.corpus))
            if corpus.rate != rate:
                raise UserError(
                    f"{data.corpus} has {corpus.rate} Hz, [features] rate = {rate}: make them alike"
                )
            train, held = sides_of(corpus, Path(data.corpus))
            held = held[: data.validation]
            said = {
                "sources": corpus.sources,
                "content": digest([Path(data.corpus) / CORPUS]),
                "held out": [clip.name for clip in held],
                "clips": len(train),
            }
            sounds = (_sixteen_bits(read_sound(clip)) for clip in (*held, *train))
            return *_parted(sounds, len(held), len(held) + len(train)), said
        folders = [Path(folder) for folder in data.clean]
        paths = sorted(
            (clip.path for clip in sets.find_clips(folders)),
            key=lambda path: hashlib.sha256(path.name.encode()).digest(),
        )
        if len(paths) <= data.held_out:
            raise UserError(
                f"{len(paths)} clips, of which {data.held_out} are held out: none is left to train on"
            )
        chosen = [*paths[: data.held_out][: data.validation], *paths[data.held_out :]]
        count = len(chosen) - len(paths) + data.held_out
        said = {
            "sources": {sets.shown(folder): sets.licence(folder) for folder in folders},
            "content": digest(sorted(chosen)),
            "held out": sorted(path.stem for path in paths[: data.held_out]),
            "clips": len(chosen) - count,
        }
        return *_parted((_read(path, rate) for path in chosen), count, len(chosen)), said


def _sixteen_bits(x: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.clip(np.rint(x * FULL), -FULL, FULL - 1).astype(np.int16)


def _read(path: Path, rate: int) -> NDArray[np.int16] | None:
    """A file; None, and a line that says why, where it cannot be used."""
    try:
        return _sixteen_bits(read_mono(path, rate))
    except UserError as error:
        say(f"left out: {error}")
        return None


def _parted(sounds: Iterator[NDArray[np.int16] | None], held: int, count: int) -> tuple[Clips, Clips]:
    """What is read, with a progress bar: clips to train on, and the first ones, which are held out."""
    found: tuple[Clips, Clips] = [], []
    with progress(count) as step:
        for number, sound in enumerate(sounds):
            step("reading")
            if sound is not None:
                found[number < held].append(sound)
    if not found[1]:
        raise UserError("no clip that is held out can be read")
    return found
