"""Training of acoustic models, the task ``acoustic``: phonemes to log mel spectra.

The network is that of `export.models.acoustic`. It learns from a corpus whose durations are known
(``python -m export align``), from the pitch of its sounds (`export.pitch`) and the energy of their spectra.
Spectra that are learned by their mean difference alone are blurred; so their structure is compared too, and
later a discriminator judges them. With a vocoder that hears the same features it is a voice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.config import check_least, check_optimiser, check_weights
from export.corpus import (
    CORPUS,
    DURATIONS,
    HOP,
    Clip,
    check_sizes,
    corpus_of,
    read_corpus,
    read_durations,
    read_sound,
    record_of,
    sides_of,
)
from export.mel import FLOOR
from export.models.acoustic import PAD, Acoustic, MelDiscriminator, Shape, similarity
from export.models.hifigan import discriminator_loss, feature_loss, generator_loss
from export.networks import Weights, differences, to_onnx
from export.output import digest, progress
from export.pitch import pitch_of
from export.spectra import Features
from export.training import Arrays, Training, Uniform, Update, Validation, difference
from export.voices import Noise, Speaking, speaking
from rtaudio.errors import UserError

QUIET = 0.0, 1.0, 0.0
"""Scales of a voice unless who speaks says others: without noise it says a text the same way every time."""
TOGETHER = 8
"""Batches whose clips are sorted by length together, so that little of a batch is padding."""


@dataclass(frozen=True)
class Data:
    """The table ``[data]``.

    Parameters
    ----------
    corpus
        A folder that ``data speech`` wrote, with durations.
    durations
        Their file, if it is not ``durations.json`` there.
    validation
        Held-out clips that are scored.
    """

    corpus: str
    durations: str = ""
    validation: int = 32

    def __post_init__(self) -> None:
        check_least(self, 1, "validation")


@dataclass(frozen=True)
class Loss:
    """The table ``[loss]``: weights.

    Parameters
    ----------
    mel
        Mean absolute difference of log mel spectra.
    structure
        What is missing to a `export.models.acoustic.similarity` of 1.
    durations, pitch, energy
        Mean squares: of the logarithm of 1 + frames, and of what has a variance of 1.
    adversarial
        What the discriminator says. 0: there is none at any time.
    features
        Difference of what its layers put out; HiFi-GAN's weight of 2 comes on top.
    """

    mel: float = 1.0
    structure: float = 1.0
    durations: float = 0.1
    pitch: float = 0.1
    energy: float = 0.1
    adversarial: float = 0.05
    features: float = 0.1

    def __post_init__(self) -> None:
        check_weights(self)


@dataclass(frozen=True)
class Adversary:
    """The table ``[adversary]``: its first step, the frames of each clip that it hears, channels of its first
    layer.
    """

    start: int = 5_000
    frames: int = 96
    width: int = 16

    def __post_init__(self) -> None:
        check_least(self, 0, "start")
        check_least(self, 16, "frames")
        check_least(self, 1, "width")


@dataclass(frozen=True)
class Optimiser:
    """The table ``[optimiser]``, AdamW: its rates, and the decay."""

    acoustic: float = 1e-3
    discriminator: float = 2e-4
    decay: float = 0.01

    def __post_init__(self) -> None:
        check_optimiser(self, "acoustic", "discriminator")


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

    def __post_init__(self) -> None:
        if self.features.hop != HOP:
            raise UserError(f"[features] hop = {self.features.hop}: durations are counted in {HOP}")


@dataclass(frozen=True)
class Example:
    """A clip: its log mel spectra (mels, frames), and what is known of each phoneme."""

    speaker: int
    mel: NDArray[np.float32]
    ids: NDArray[np.float32]
    durations: NDArray[np.float32]
    pitch: NDArray[np.float32]
    energy: NDArray[np.float32]


class AcousticTask:
    """The acoustic model, and its discriminator if it has one."""

    settings_type = Settings
    averaged = "acoustic"
    wants_vocoder = True
    """It is a voice with one only."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        rates = settings.optimiser
        self.acoustic = Acoustic(settings.features.mels, settings.model)
        networks: dict[str, nn.Module] = {"acoustic": self.acoustic}
        betas = {"acoustic": (0.9, 0.98), "discriminator": (0.5, 0.9)}
        if settings.loss.adversarial:
            networks["discriminator"] = MelDiscriminator(settings.adversary.width)
        self.networks: Mapping[str, nn.Module] = networks
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {
            name: torch.optim.AdamW(
                network.parameters(), getattr(rates, name), betas[name], weight_decay=rates.decay
            )
            for name, network in networks.items()
        }

    def __getstate__(self) -> dict[str, Any]:
        """What processes need that make batches."""
        return {"settings": self.settings, "examples": self.examples}

    def open_data(self) -> dict[str, Any]:
        """Read all clips: spectra, pitch and energy."""
        data, model, features = self.settings.data, self.settings.model, self.settings.features
        folder = Path(data.corpus)
        corpus = read_corpus(folder)
        if corpus.rate != features.rate:
            raise UserError(
                f"{folder} has {corpus.rate} Hz, [features] rate = {features.rate}: make them alike"
            )
        check_sizes(corpus, folder, model.symbols, model.speakers)
        path = Path(data.durations) if data.durations else None
        durations = read_durations(folder, corpus, path)
        train, held = sides_of(corpus, folder)
        held = held[: data.validation]
        examples = self._read([*held, *train], durations)
        self.held_out, self.examples = (
            normalised(each, examples[len(held) :]) for each in (examples[: len(held)], examples[len(held) :])
        )
        return record_of(corpus, train) | {"content": digest([folder / CORPUS, path or folder / DURATIONS])}

    def _read(self, clips: Sequence[Clip], durations: Mapping[str, tuple[int, ...]]) -> list[Example]:
        """Examples: pitch in octaves, energy as it is."""
        features = self.settings.features
        transform = features.mel()
        found = []
        with progress(len(clips)) as step:
            for clip in clips:
                step(f"reading {clip.name}")
                x = read_sound(clip)
                mel = transform(torch.from_numpy(x)[None])[0].numpy()
                spoken = np.array(clip.ids) != PAD
                ids, lengths = np.array(clip.ids)[spoken], np.array(durations[clip.name])[spoken]
                if lengths.sum() != mel.shape[1]:
                    raise UserError(f"{clip.name}: blanks take time in its durations: align the corpus again")
                pitch = means_of(octaves_of(pitch_of(x, features.rate, features.hop)), lengths)
                known = (y.astype(np.float32) for y in (ids, lengths, pitch, means_of(mel.mean(0), lengths)))
                found.append(Example(clip.speaker, mel, *known))
        return found

    def batch(self, examples: range) -> Arrays:
        """Clips of about the same length: see `_arrays`; and the number of the step (examples, 1)."""
        size = self.settings.training.batch
        step, place = divmod(examples.start, size)
        group, number = divmod(step, TOGETHER)
        random = np.random.default_rng([self.settings.seed, group])
        drawn = random.integers(len(self.examples), size=TOGETHER * size)
        drawn = drawn[np.argsort([self.examples[n].mel.shape[1] for n in drawn], kind="stable")]
        begin = random.permutation(TOGETHER)[number] * size + place
        chosen = [self.examples[n] for n in drawn[begin : begin + len(examples)]]
        return *_arrays(chosen), np.full((len(examples), 1), step, np.float32)

    def train(self, batch: tuple[Tensor, ...], random: Uniform, update: Update) -> dict[str, float]:
        """A step of the acoustic model, after one of the discriminator if that has begun."""
        torch.manual_seed(int(2**24 * random(1).item()))  # what drops out follows from the step
        *arrays, steps = batch
        loss, adversary = self.settings.loss, self.settings.adversary
        total, found, made = self._losses(self.acoustic, arrays)
        if loss.adversarial and int(steps[0]) >= adversary.start:
            discriminator = self.networks["discriminator"]
            shortest = int(arrays[1].sum(1).min())
            size = min(adversary.frames, shortest)
            at = int(random(1).item() * (shortest - size + 1))
            real, fake = (x[:, :, at : at + size] for x in (arrays[5], made))
            found["discriminator"] = discriminator_loss(discriminator(real), discriminator(fake.detach()))
            update("discriminator", found["discriminator"])
            with torch.no_grad():
                judged = discriminator(real)
            judged_fake = discriminator(fake)
            found["adversarial"] = generator_loss(judged_fake)
            found["features"] = feature_loss(judged, judged_fake)
            total = total + loss.adversarial * found["adversarial"] + loss.features * found["features"]
        update("acoustic", total)
        return {name: value.item() for name, value in found.items()}

    def validate(self, network: nn.Module, device: torch.device) -> Validation:
        """The loss without the discriminator's part, with the durations, pitch and energy of the clips."""
        sums: dict[str, float] = {}
        size = self.settings.training.batch
        for begin in range(0, len(self.held_out), size):
            some = self.held_out[begin : begin + size]
            total, found, _ = self._losses(network, [torch.from_numpy(x).to(device) for x in _arrays(some)])
            for name, value in {"loss": total, **found}.items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(some) / len(self.held_out)
        return Validation(sums["loss"], sums, self.settings.features.rate)

    def voice(
        self,
        network: Acoustic,
        record: Mapping[str, Any],
        vocoder: tuple[Any, nn.Module, Mapping[str, Any]],
        weights: Weights = "float32",
    ) -> Speaking:
        """The network and a vocoder as a voice, compared with torch; see `export.voices`.

        Parameters
        ----------
        network, record
            Of this task's run.
        vocoder
            Task, network and record of the vocoder's run.
        weights
            How they are rounded and stored.

        Raises
        ------
        UserError
            It is no vocoder, or hears other features.
        """
        task, second, other = vocoder
        if other["task"] != "vocoder":
            raise UserError(f"--vocoder is a run of the task {other['task']}: want one of the task vocoder")
        if change := difference(asdict(task.settings.features), asdict(self.settings.features), "features"):
            raise UserError(f"the vocoder hears other features than the acoustic model makes: {change}")
        corpus = corpus_of(record["data"])
        exportable = task.exportable(second)
        both = Both(network, exportable.network)
        spectra, whole = (speaking(f, both, corpus, HOP, weights) for f in (both.spectra, both.speak))
        content = to_onnx(exportable, weights)
        found = {f"acoustic, {name}": x for name, x in spectra.differences.items()}
        found |= {f"vocoder, {name}": x for name, x in differences(exportable, content).items()}
        return replace(
            whole,
            differences={**whole.differences, **found},
            pair=(spectra.content, content),
            scales=QUIET,
        )

    def _losses(
        self, network: nn.Module, arrays: Sequence[Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The weighted sum without the discriminator's part, the parts, and the spectra that were made."""
        ids, durations, pitch, energy, speaker, real = arrays
        made, *said = network(
            ids.long(), speaker[:, 0].long(), durations.long(), pitch, energy, real.shape[2]
        )
        made = made.float()
        inside = (torch.arange(real.shape[2], device=real.device) < durations.sum(1, keepdim=True)).float()[
            :, None
        ]
        tokens = (ids != PAD).float()
        pictures = [1 - x / np.log(FLOOR) for x in (made, real)]
        wanted = {"durations": durations.log1p(), "pitch": pitch, "energy": energy}
        found = {
            "mel": ((made - real).abs() * inside).sum() / (inside.sum() * real.shape[1]),
            "structure": 1 - similarity(pictures[0], pictures[1], inside),
        }
        for (name, want), x in zip(wanted.items(), said, strict=True):
            found[name] = ((x.float() - want).square() * tokens).sum() / tokens.sum()
        total = torch.stack(
            [getattr(self.settings.loss, name) * value for name, value in found.items()]
        ).sum()
        return total, found, made


class Both(nn.Module):
    """An acoustic model with a vocoder: what a voice is asked for, see `export.voices.Speak`."""

    def __init__(self, acoustic: Acoustic, vocoder: nn.Module) -> None:
        super().__init__()
        self.acoustic, self.vocoder = acoustic, vocoder

    def spectra(
        self, ids: Tensor, symbols: Tensor, scales: Tensor, speaker: Tensor | None, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """Log mel spectra (1, mels, T), and the frames of each id (1, P)."""
        drawn = noise(torch.zeros(1, 3, 1))
        return self.acoustic.speak(ids[:, : symbols[0]], scales, speaker, drawn)

    def speak(
        self, ids: Tensor, symbols: Tensor, scales: Tensor, speaker: Tensor | None, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """Sound (1, 1, T * hop), and the frames of each id (1, P)."""
        mel, frames = self.spectra(ids, symbols, scales, speaker, noise)
        return self.vocoder(mel), frames


def normalised(examples: Sequence[Example], like: Sequence[Example]) -> list[Example]:
    """Examples with pitch and energy such that those of other ones, of the same speaker, have mean 0 and
    variance 1 over all phonemes. Clips without pitch (NaN) have the mean, and no part in it.
    """
    known = {}
    for speaker in {example.speaker for example in examples}:
        own = [example for example in like if example.speaker == speaker] or like
        for name in ("pitch", "energy"):
            every = np.concatenate([getattr(example, name) for example in own])
            every = every[np.isfinite(every)]
            some = every if len(every) else np.zeros(1, np.float32)
            known[speaker, name] = some.mean(), max(np.float32(1e-3), some.std())
    found = []
    for example in examples:
        pitch, energy = (
            (getattr(example, name) - known[example.speaker, name][0]) / known[example.speaker, name][1]
            for name in ("pitch", "energy")
        )
        found.append(replace(example, pitch=np.nan_to_num(pitch), energy=energy))
    return found


def octaves_of(pitch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logarithms to base 2 of frequencies in Hz, straight lines where there is none (0); NaN if there is none
    anywhere.

    FastSpeech 2, section 2.3.
    """
    voiced = np.flatnonzero(pitch)
    if not len(voiced):
        return np.full(len(pitch), np.nan, np.float32)
    return np.interp(np.arange(len(pitch)), voiced, np.log2(pitch[voiced])).astype(np.float32)


def means_of(x: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Means (tokens,) of frames (frames,) over tokens of some frames each; 0 for none."""
    sums = np.concatenate([[0.0], np.cumsum(x, dtype=np.float64)])
    ends = np.cumsum(lengths)
    return (sums[ends] - sums[ends - lengths]) / np.maximum(1, lengths)  # type: ignore[no-any-return]


def _arrays(examples: Sequence[Example]) -> Arrays:
    """Ids, durations, pitch and energy (examples, tokens), speakers (examples, 1), and log mel spectra
    (examples, mels, frames): 0 behind what a clip has, and silence.
    """
    tokens, frames = max(len(x.ids) for x in examples), max(x.mel.shape[1] for x in examples)
    padded = np.zeros((4, len(examples), tokens), np.float32)
    mel = np.full((len(examples), len(examples[0].mel), frames), np.log(FLOOR), np.float32)
    for row, x in enumerate(examples):
        padded[:, row, : len(x.ids)] = x.ids, x.durations, x.pitch, x.energy
        mel[row, :, : x.mel.shape[1]] = x.mel
    speakers = np.array([[x.speaker] for x in examples], np.float32)
    return *padded, speakers, mel
