"""Training of voices that go from text to sound at once, the task ``vits`` (arXiv 2106.06103).

What is trained is `export.models.vits.Vits`, the generator, against the discriminators of HiFi-GAN: those of
periods, and one of the sound as it is. Batches have clips of about the same length; the last ones of them are
padded and masked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.config import check_least, check_optimiser, check_weights
from export.corpus import (
    CORPUS,
    Clip,
    alike,
    check_sizes,
    corpus_of,
    read_corpus,
    read_sound,
    record_of,
    sides_of,
)
from export.models.hifigan import Discriminators, discriminator_loss, feature_loss, folded, generator_loss
from export.models.quantised import frozen
from export.models.vits import Model, Vits, cut
from export.networks import Weights
from export.output import file_hash
from export.spectra import Mel
from export.training import Arrays, Training, Update, Validation
from export.voices import Speaking, speaking
from rtaudio.cli import say
from rtaudio.errors import UserError

HEARD = 4
"""Held-out clips whose sounds are shown."""


@dataclass(frozen=True)
class Data:
    """The table ``[data]``.

    Parameters
    ----------
    corpus
        A folder that ``python -m export data speech`` has written.
    segment
        Frames of each clip that the decoder makes sound of in a step.
    validation
        Held-out clips that the losses are watched on, at the most.
    """

    corpus: str
    segment: int = 32
    validation: int = 16

    def __post_init__(self) -> None:
        check_least(self, 1, "segment", "validation")


@dataclass(frozen=True)
class Loss:
    """The table ``[loss]``: weights, beside 1 for what the discriminators say.

    Parameters
    ----------
    mel
        Mean absolute error of log mel spectra.
    divergence
        Of posterior and prior.
    duration
        How unlikely the durations are.
    features
        Of the discriminators' layers; HiFi-GAN's weight of 2 comes on top.
    adversarial
        Of the discriminators' scores.
    """

    mel: float = 45.0
    divergence: float = 1.0
    duration: float = 1.0
    features: float = 1.0
    adversarial: float = 1.0

    def __post_init__(self) -> None:
        check_weights(self)


@dataclass(frozen=True)
class Critics:
    """The table ``[discriminators]``: see `export.models.hifigan.Discriminators`."""

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    scales: int = 1
    width: float = 1.0


@dataclass(frozen=True)
class Optimiser:
    """The table ``[optimiser]``: AdamW for both. The paper prints betas of 0.8 and 0.9; its program has 0.99
    for the second, as HiFi-GAN has, and that is what is known to work.
    """

    generator: float = 2e-4
    discriminators: float = 2e-4
    betas: tuple[float, float] = (0.8, 0.99)
    epsilon: float = 1e-9
    decay: float = 0.01

    def __post_init__(self) -> None:
        check_optimiser(self, "generator", "discriminators")
        if not 0 < self.epsilon < 1:
            raise UserError(f"epsilon = {self.epsilon}: want more than 0, below 1")


@dataclass(frozen=True)
class Settings:
    """A configuration."""

    data: Data
    seed: int = 0
    model: Model = field(default_factory=Model)
    loss: Loss = field(default_factory=Loss)
    discriminators: Critics = field(default_factory=Critics)
    optimiser: Optimiser = field(default_factory=Optimiser)
    training: Training = field(default_factory=Training)


class VitsTask:
    """The generator and its discriminators."""

    settings_type = Settings
    averaged = "generator"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        critics, adam = settings.discriminators, settings.optimiser
        self.generator = Vits(settings.model)
        self.discriminators = Discriminators(critics.periods, critics.scales, critics.width)
        self.networks: Mapping[str, nn.Module] = {
            "generator": self.generator,
            "discriminators": self.discriminators,
        }
        rates = {"generator": adam.generator, "discriminators": adam.discriminators}
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {
            name: torch.optim.AdamW(network.parameters(), rates[name], adam.betas, adam.epsilon, adam.decay)
            for name, network in self.networks.items()
        }
        self.hop = self.generator.decoder.hop

    def __getstate__(self) -> dict[str, Any]:
        """What processes need that make batches."""
        names = ("settings", "hop", "clips", "before")
        return {name: getattr(self, name) for name in names}

    def open_data(self) -> dict[str, Any]:
        """Read the list of clips; those that are too short for their text, or for a segment, are left out."""
        data, model = self.settings.data, self.settings.model
        corpus = read_corpus(Path(data.corpus))
        check_sizes(corpus, Path(data.corpus), model.symbols, model.speakers)
        self.clips, held_out = (
            [clip for clip in side if self._fits(clip)] for side in sides_of(corpus, Path(data.corpus))
        )
        self.held_out = held_out[: data.validation]
        for name, found in (("to train on", self.clips), ("held out", self.held_out)):
            if not found:
                raise UserError(f"{data.corpus} has no clip {name} that is long enough for its text")
        self.mel = Mel(corpus.rate, model.fft, self.hop, model.fft)
        self.rate = corpus.rate
        self.before = (model.fft - self.hop) // 2
        return record_of(corpus, self.clips) | {"content": file_hash(Path(data.corpus) / CORPUS)}

    def _fits(self, clip: Clip) -> bool:
        frames, least = clip.samples // self.hop, max(len(clip.ids), self.settings.data.segment)
        if frames < least:
            say(f"{clip.name} is left out: {frames} frames, its text and a segment need {least}")
        return frames >= least

    def batch(self, examples: range) -> Arrays:
        """Clips as `export.corpus.alike` chooses them.

        Returns
        -------
        Ids (batch, P) and how many, (batch,); sound (batch, N), and frames, (batch,); speakers, (batch,).
        """
        lengths = [clip.samples for clip in self.clips]
        chosen = alike(lengths, self.settings.training.batch, self.settings.seed, examples)
        return self._arrays([self.clips[index] for index in chosen])

    def _arrays(self, clips: list[Clip]) -> Arrays:
        """See `batch`. Behind a clip its end is reflected, as it would be if it were alone."""
        frames = np.array([clip.samples // self.hop for clip in clips])
        ids = np.zeros((len(clips), max(len(clip.ids) for clip in clips)), np.float32)
        sound = np.zeros((len(clips), self.hop * max(frames)), np.float32)
        for row, (clip, count) in enumerate(zip(clips, frames, strict=True)):
            ids[row, : len(clip.ids)] = clip.ids
            x = read_sound(clip)[: count * self.hop]
            x = np.concatenate([x, x[-2 : -2 - self.before : -1]])[: sound.shape[1]]
            sound[row, : len(x)] = x
        numbers = ([len(clip.ids) for clip in clips], frames, [clip.speaker for clip in clips])
        symbols, counts, speakers = (np.array(each, np.float32) for each in numbers)
        return ids, symbols, sound, counts, speakers

    def train(
        self, batch: tuple[Tensor, ...], random: Callable[..., Tensor], update: Update
    ) -> dict[str, float]:
        """A step of the discriminators, and one of the generator."""
        torch.manual_seed(int(2**24 * random(1).item()))  # noise and what drops out follow from the step
        weights, segment = self.settings.loss, self.settings.data.segment
        heard, real, wanted, made = self._heard(self.generator, batch, segment)
        fake = heard.sound.float()
        judged = _plain(self.discriminators(real)), _plain(self.discriminators(fake.detach()))
        critics = discriminator_loss(*judged)
        update("discriminators", critics)
        with torch.no_grad():
            known = self.discriminators(real)
        judged = _plain(known), _plain(self.discriminators(fake))
        found = {
            "mel": (wanted - made).abs().mean(),
            "divergence": heard.divergence,
            "duration": heard.duration,
            "features": feature_loss(*judged),
            "adversarial": generator_loss(judged[1]),
        }
        update("generator", torch.stack([getattr(weights, name) * x for name, x in found.items()]).sum())
        found["discriminators"] = critics
        return dict(zip(found, torch.stack([x.detach() for x in found.values()]).tolist(), strict=True))

    def _heard(self, network: nn.Module, batch: tuple[Tensor, ...], segment: int) -> Any:
        """What the network makes of a batch; the real sound; log mel spectra of that, and of what is made."""
        ids, symbols, sound, frames, speakers = batch
        self.mel.to(sound.device)
        symbols, frames = symbols.long(), frames.long()
        with torch.autocast(sound.device.type, enabled=False):
            spectra = self.mel.spectrum(sound)
        heard = network(ids.long(), symbols, spectra, frames, speakers.long(), segment)
        real = sound[:, None]
        if segment:
            real = cut(real, heard.begins * self.hop, segment * self.hop)
        with torch.autocast(sound.device.type, enabled=False):
            wanted, made = self.mel(real[:, 0]), self.mel(heard.sound[:, 0].float())
        return heard, real, wanted, made

    def validate(self, network: nn.Module, device: torch.device) -> Validation:
        """Losses of whole held-out clips that go through posterior and decoder, but the discriminators'."""
        totals: dict[str, list[float]] = {"mel": [], "divergence": [], "duration": []}
        sounds: dict[str, list[NDArray[np.float32]]] = {"real": [], "decoded": [], "spoken": []}
        for number, clip in enumerate(self.held_out):
            torch.manual_seed(number)
            batch = tuple(torch.from_numpy(x).to(device) for x in self._arrays([clip]))
            heard, real, wanted, made = self._heard(network, batch, 0)
            values = (wanted - made).abs().mean(), heard.divergence, heard.duration
            for name, value in zip(totals, values, strict=True):
                totals[name].append(value.item())
            if number < HEARD:
                scales = torch.tensor([0.667, 1.0, 0.8], device=device)
                ids, symbols, speaker = (batch[n].long() for n in (0, 1, 4))
                spoken, _ = network.speak(ids, symbols, scales, speaker, torch.randn_like)  # type: ignore[operator]
                for name, x in zip(sounds, (real, heard.sound, spoken), strict=True):
                    sounds[name].append(x.flatten().float().cpu().numpy())
        weights, means = self.settings.loss, {name: float(np.mean(x)) for name, x in totals.items()}
        total = sum(getattr(weights, name) * x for name, x in means.items())
        audio = {name: np.concatenate(each) for name, each in sounds.items()}
        return Validation(total, {**means, "total": total}, self.rate, audio)

    def voice(self, network: Vits, record: Mapping[str, Any], weights: Weights = "float32") -> Speaking:
        """The network as a voice, compared with torch; see `export.voices`."""
        plain = cast(Vits, frozen(folded(network)))
        boundary = plain.decoder.stages[0].up if self.settings.model.decoder.int8 else None
        return speaking(
            plain.speak,
            plain,
            corpus_of(record["data"]),
            self.hop,
            weights,
            cast("nn.Module | None", boundary),
        )


def _plain(judged: list[tuple[Tensor, list[Tensor]]]) -> list[tuple[Tensor, list[Tensor]]]:
    """What discriminators say, at full precision."""
    return [(score.float(), [x.float() for x in features]) for score, features in judged]
