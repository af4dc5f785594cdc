"""Training of the live denoiser, the task ``denoiser``.

The recipe is the enhancement paper's (`export.enhancer`), L1 and a Wasserstein critic with gradient penalty,
adapted to short-time spectra: both work on magnitudes to the power 0.3, in which soft sounds count too.
Removed speech costs more than noise that is left, and being worse than what came in costs extra: what is
clean is to stay so.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from export import losses, sets
from export.bank import DRAWS, Bank, Batch, Chances
from export.config import check_least, check_optimiser, check_weights
from export.models.denoiser import (
    BINS,
    HOP,
    LOW,
    RATE,
    WINDOW,
    Critic,
    Denoiser,
    Shape,
    Sharpened,
    analysis,
    band_edges,
    band_means,
    folded,
    synthesis,
)
from export.networks import Exportable
from export.noises import NOISES
from export.perceptual import BEST, Disturbances
from export.training import Arrays, Training, Uniform, Update, Validation
from rtaudio.errors import UserError

POWER = 0.3
"""Of magnitudes, where they are compared."""
GROUP = 4
"""Steps whose batches are mixed at once."""
FINE = 2048
"""Samples of a longer window."""
HARM_FLOOR = 1e-3
"""Error relative to the speech below which nothing is harmed: -30 dB."""


@dataclass(frozen=True)
class Loss:
    """The table ``[loss]``: weights.

    Parameters
    ----------
    magnitude, phase
        Mean absolute error of squeezed magnitudes, and of squeezed spectra as complex numbers.
    fine
        The same of magnitudes in windows of 2048 samples.
    removed
        Of magnitude that is missing, on top.
    error
        Of the ratio of error to speech, per dB.
    harm
        Of the dB by which that ratio is worse than of what came in.
    noise
        Of what is left where there is no speech at all, per dB above -60.
    speech
        Cross entropy of the speech presence.
    perceptual
        Of what is missing to the best score of `export.perceptual`, where there is speech.
    adversarial
        Of the critic's score; 0 for no critic.
    penalty
        Of the critic's gradient.
    every
        Steps for one with the critic.
    """

    magnitude: float = 1.0
    phase: float = 0.5
    fine: float = 2.0
    removed: float = 0.5
    error: float = 0.01
    harm: float = 0.02
    noise: float = 0.002
    speech: float = 0.05
    perceptual: float = 0.0
    adversarial: float = 0.002
    penalty: float = 10.0
    every: int = 4

    def __post_init__(self) -> None:
        check_weights(self)
        check_least(self, 1, "every")


@dataclass(frozen=True)
class Optimiser:
    """The table ``[optimiser]``: Adam with decoupled weight decay, and Adam for the critic."""

    denoiser: float = 1e-3
    decay: float = 1e-3
    critic: float = 2e-4

    def __post_init__(self) -> None:
        check_optimiser(self, "denoiser", "critic")


@dataclass(frozen=True)
class Data:
    """The table ``[data]``.

    Parameters
    ----------
    clean, noise
        Folders, in any layout of `export.sets`.
    held_out
        Part of the speakers that validation hears, or their names.
    held_out_noise
        Folders of noise for validation; without, it hears noise of training.
    kinds
        Of synthetic noise; a name may be repeated.
    synthetic, rooms
        How many noises and rooms are made.
    seconds
        Of an example.
    validation
        Held-out examples.
    """

    clean: tuple[str, ...]
    noise: tuple[str, ...] = ()
    held_out: float | tuple[str, ...] = 0.1
    held_out_noise: tuple[str, ...] = ()
    kinds: tuple[str, ...] = tuple(NOISES)
    synthetic: int = 2_000
    rooms: int = 200
    seconds: float = 3.0
    validation: int = 32

    def __post_init__(self) -> None:
        check_least(self, 1, "synthetic", "rooms", "validation")
        if not 0.5 <= self.seconds <= 30:
            raise UserError(f"seconds = {self.seconds}: want 0.5 to 30")
        for name in self.kinds:
            if name not in NOISES:
                raise UserError(f"kinds has {name!r}: want {', '.join(NOISES)}")


@dataclass(frozen=True)
class Settings:
    """A configuration."""

    data: Data
    seed: int = 0
    model: Shape = field(default_factory=Shape)
    loss: Loss = field(default_factory=Loss)
    optimiser: Optimiser = field(default_factory=Optimiser)
    chances: Chances = field(default_factory=Chances)
    training: Training = field(default_factory=Training)


class DenoiserTask:
    """The denoiser and its critic."""

    settings_type = Settings
    averaged = "denoiser"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.denoiser, self.critic = Denoiser(settings.model), Critic()
        self.networks: Mapping[str, nn.Module] = {"denoiser": self.denoiser, "critic": self.critic}
        rates = settings.optimiser
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {
            "denoiser": torch.optim.AdamW(
                self.denoiser.parameters(), rates.denoiser, weight_decay=rates.decay
            ),
            "critic": torch.optim.Adam(self.critic.parameters(), rates.critic, (0.5, 0.9)),
        }
        self._group = -1
        weights = torch.ones(BINS)
        edges = band_edges()
        for begin, end in pairwise(edges):
            weights[begin:end] = 1 / (end - begin)
        self._weights = weights / weights.mean()
        self._to_bands = torch.block_diag(torch.eye(LOW), band_means())  # type: ignore[no-untyped-call]
        self._disturbances = Disturbances(RATE)

    def __getstate__(self) -> dict[str, Any]:
        """What processes need that number batches."""
        return {"settings": self.settings}

    def open_data(self) -> dict[str, Any]:
        """Read the clips, split the speakers, make noises and rooms, mix what is held out."""
        data, seed = self.settings.data, self.settings.seed
        folders = {
            name: [Path(folder) for folder in found]
            for name, found in (
                ("clean", data.clean),
                ("noise", data.noise),
                ("held-out noise", data.held_out_noise),
            )
        }
        train, held = sets.split(sets.find_clips(folders["clean"]), data.held_out, seed)
        if not held:
            raise UserError(
                f"held_out = {data.held_out}: nobody is left for validation; want a share, or names"
            )
        noise = sets.find_noise(folders["noise"])
        other = sets.find_noise(folders["held-out noise"]) or noise
        with ProcessPoolExecutor(cpu_count(), get_context("spawn")) as pool:
            self.bank = Bank(
                [clip.path for clip in train],
                noise,
                data.synthetic,
                data.kinds,
                data.rooms,
                RATE,
                data.seconds,
                seed,
                pool,
            )
            validation = Bank(
                [clip.path for clip in held], other, 64, data.kinds, 8, RATE, 4.0, seed + 1, pool
            )
        draws = torch.rand(data.validation, DRAWS, generator=torch.Generator().manual_seed(seed))
        self.held_out = validation.batch(draws, Chances(late=0, silent=0, clean=0.1, snr=(0, 20)))
        return {
            "sources": {
                sets.shown(folder): sets.licence(folder) for each in folders.values() for folder in each
            },
            "speakers": sorted({clip.speaker for clip in train}),
            "held out": sorted({clip.speaker for clip in held}),
            "clips": len(train),
            "minutes": round(float(self.bank.speech.lengths.sum()) / RATE / 60, 1),
        }

    def batch(self, examples: range) -> Arrays:
        """(len(examples), 1): the number of the step. The bank does the rest, where it is trained."""
        step = examples.start // self.settings.training.batch
        return (np.full((len(examples), 1), step, np.float32),)

    def train(self, batch: tuple[Tensor, ...], random: Uniform, update: Update) -> dict[str, float]:
        """A step of the denoiser, in some steps after one of the critic."""
        (steps,) = batch
        loss, device = self.settings.loss, steps.device
        mixed = self._mixed(int(steps[0]), len(steps), random, device)
        enhanced, speech, spectra = self._enhance(self.denoiser, mixed)
        total, found = self._losses(mixed, enhanced, speech, spectra)
        if loss.adversarial and int(steps[0]) % loss.every == 0:
            known = self._known(mixed.band)
            given, real, fake = (self._squeezed(x, known) for x in spectra)
            score = losses.wasserstein_critic(
                self.critic(real, given).float(), self.critic(fake.detach(), given).float()
            )
            at = random(len(steps), 1)[:, :, None]
            penalty = losses.gradient_penalty(self.critic, real, fake, given, at)
            found["distance"] = -score.detach()
            update("critic", score + loss.penalty * penalty)
            score = losses.wasserstein_generator(self.critic(fake, given).float())
            total = total + loss.adversarial * score
        update("denoiser", total)
        return dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True))

    def validate(self, network: nn.Module, device: torch.device) -> Validation:
        """The loss without the critic, and the signal-to-noise ratio before and after."""
        self._move(device)
        held = Batch(*(x.to(device) for x in (self.held_out.clean, self.held_out.noisy, self.held_out.band)))
        enhanced, speech, spectra = self._enhance(network, held)
        total, found = self._losses(held, enhanced, speech, spectra)
        sounds = {
            name: x[:4].flatten().cpu().numpy()
            for name, x in (("clean", held.clean), ("noisy", held.noisy), ("enhanced", enhanced))
        }
        return Validation(total.item(), {name: x.item() for name, x in found.items()}, RATE, sounds)

    def exportable(self, network: nn.Module) -> Exportable:
        """One frame: ``re``, ``im`` to ``clean_re``, ``clean_im``, ``speech``; and the states."""
        card = {
            "kind": "spectra",
            "rate": RATE,
            "window": WINDOW,
            "hop": HOP,
            "fft": 1024,
            "model": asdict(self.settings.model),
        }
        inputs = {"re": torch.zeros(1, 1, BINS), "im": torch.zeros(1, 1, BINS)}
        outputs = "clean_re", "clean_im", "speech"
        whole = Sharpened(folded(network))
        return Exportable(whole, inputs, outputs, card, self.denoiser.states(), batch=True)

    # -------------------------------------------------------------------------------------- losses

    def _mixed(self, step: int, size: int, random: Uniform, device: torch.device) -> Batch:
        """The batch of a step. Those of `GROUP` steps are mixed at once, which takes as long as one."""
        group, place = divmod(step, GROUP)
        if self._group != group:
            self._move(device)
            draws = random.of(-1 - group)(GROUP * size, DRAWS)
            self._batches = self.bank.batch(draws, self.settings.chances)
            self._group = group
        part = slice(place * size, (place + 1) * size)
        return Batch(self._batches.clean[part], self._batches.noisy[part], self._batches.band[part])

    def _move(self, device: torch.device) -> None:
        if self.bank.rooms.device != device:
            self.bank.to(device)
        self._weights, self._to_bands = self._weights.to(device), self._to_bands.to(device)
        self._disturbances.to(device)

    def _enhance(self, network: nn.Module, mixed: Batch) -> tuple[Tensor, Tensor, Spectra]:
        """Sound (batch, samples) aligned with the noisy one, speech presence (batch, frames), and spectra."""
        noisy = analysis(mixed.noisy)
        states = {name: x.to(noisy.device) for name, x in self.denoiser.states(len(noisy)).items()}
        re, im, speech = network(noisy.real, noisy.imag, *states.values())[:3]
        sound = synthesis(torch.complex(re.float(), im.float()))[:, WINDOW - HOP :]
        frames = noisy.shape[1] - 1
        clean = analysis(mixed.clean[:, : frames * HOP])
        return sound, speech.float()[:, :frames, 0], Spectra(noisy[:, :frames], clean, analysis(sound))

    def _known(self, band: Tensor) -> Tensor:
        """(batch, 1, BINS), 1 up to the frequency to which the clean speech is known."""
        frequency = torch.arange(BINS, device=band.device) * (RATE / 1024)
        return (frequency <= band[:, None]).float()[:, None]

    def _squeezed(self, spectra: Tensor, known: Tensor) -> Tensor:
        """Mean powers of bands to the power 0.15, (batch, frames, bands), for the critic."""
        bands = (powers(spectra) * known) @ self._to_bands
        squeezed: Tensor = (bands + 1e-5) ** (POWER / 2)
        return squeezed

    def _losses(
        self, mixed: Batch, enhanced: Tensor, speech: Tensor, spectra: Spectra
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum without the critic's part, and the figures to show.

        Spectra are those of the sound, not what the network gave: what overlaps is heard together.
        """
        loss = self.settings.loss
        noisy, clean, cleaned = spectra
        known = self._known(mixed.band)
        weights = self._weights * known
        power, wanted = powers(cleaned), powers(clean)
        a, b = (power + 1e-6) ** (POWER / 2), (wanted + 1e-6) ** (POWER / 2)
        magnitude = (weights * (a - b).abs()).mean()
        removed = (weights * functional.relu(b - a)).mean()
        # |X|^0.3 with the phase of X: what is left of X once it is divided by |X|^0.7.
        less, least = (power + 1e-6) ** ((POWER - 1) / 2), (wanted + 1e-6) ** ((POWER - 1) / 2)
        real = cleaned.real * less - clean.real * least
        imaginary = cleaned.imag * less - clean.imag * least
        phase = (weights * (real.square() + imaginary.square() + 1e-8).sqrt()).mean()
        fine = self._fine(enhanced, mixed)
        energy = wanted.sum((1, 2))
        has_speech = (energy > 1e-2).float()
        floor = HARM_FLOOR * energy + 1e-4
        error = 10 * torch.log10((powers(cleaned - clean) * known).sum((1, 2)) + floor)
        before = 10 * torch.log10((powers(noisy - clean) * known).sum((1, 2)) + floor)
        ratio = error - 10 * torch.log10(energy + 1e-4)
        ratio = (ratio * has_speech).sum() / has_speech.sum().clamp_min(1)
        harm = (functional.relu(error - before) * has_speech).mean()
        left = 10 * torch.log10(power.mean((1, 2)) + 1e-6)
        noise = ((left + 60).clamp_min(0) * (1 - has_speech)).mean()
        voiced = wanted[:, :, 4:LOW].mean(2)
        loudest = torch.quantile(voiced, 0.95, dim=1, keepdim=True)
        present = ((voiced > 0.003 * loudest) & (voiced > 1e-3)).float()
        likely = speech.clamp(1e-4, 1 - 1e-4)
        heard = -(present * likely.log() + (1 - present) * (1 - likely).log()).mean()
        unlike = torch.zeros_like(heard)
        if loss.perceptual:
            score = self._disturbances.score(mixed.clean[:, : enhanced.shape[1]], enhanced)
            unlike = ((BEST - score) * has_speech).sum() / has_speech.sum().clamp_min(1)
        total = (
            loss.magnitude * magnitude
            + loss.removed * removed
            + loss.phase * phase
            + loss.fine * fine
            + loss.error * ratio
            + loss.harm * harm
            + loss.noise * noise
            + loss.speech * heard
            + loss.perceptual * unlike
        )
        found = {
            "magnitude": magnitude, "phase": phase, "fine": fine, "error": ratio, "harm": harm,
            "noise": noise, "speech": heard, "perceptual": unlike,
        }  # fmt: skip
        return total, {name: value.detach() for name, value in found.items()}

    def _fine(self, enhanced: Tensor, mixed: Batch) -> Tensor:
        """Mean absolute error of squeezed magnitudes in windows of 2048 samples, which part harmonics."""
        window = torch.hann_window(FINE, device=enhanced.device)
        frequency = torch.fft.rfftfreq(FINE, 1 / RATE, device=enhanced.device)
        weights = (frequency <= mixed.band[:, None]).float() / (1 + (frequency / 4_000) ** 2)
        squeezed = [
            (powers(torch.fft.rfft(x.unfold(1, FINE, FINE // 4) * window)) + 1e-6) ** (POWER / 2)
            for x in (enhanced, mixed.clean[:, : enhanced.shape[1]])
        ]
        error: Tensor = (weights[:, None] * (squeezed[0] - squeezed[1]).abs()).mean()
        return error


def powers(spectra: Tensor) -> Tensor:
    """Squared magnitudes."""
    return spectra.real.square() + spectra.imag.square()


class Spectra(NamedTuple):
    """Of (batch, frames, BINS), all of the same time."""

    noisy: Tensor
    clean: Tensor
    cleaned: Tensor
