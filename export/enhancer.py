"""Training of the paper's enhancers, the task ``enhancer``: Wasserstein or least squares, gates or PReLU.

The paper is named in `export.models.segan`; its section 3.1 has what a configuration sets here. It does not
say Adam's betas, the batch, or how many steps the critic takes for one of the generator: those are the
defaults of `Optimiser`, `export.training.Training` and `Loss`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export import losses, sets
from export.mixing import Mixer, Pair, Recipe
from export.models.segan import CHUNK, Discriminator, Generator, Model, rms
from export.networks import Exportable
from export.training import Arrays, Training, Update, Validation
from rtaudio.errors import UserError

RATE = 16_000
"""Hz of the paper's networks."""
UNSEEN = 1 << 40
"""Number of the first held-out pair: training never gets there, so that no noise is heard twice."""


@dataclass(frozen=True)
class Loss:
    """The table ``[loss]``: weights as in equations 1 and 2.

    Parameters
    ----------
    adversarial
        ``wasserstein`` or ``least-squares`` (SEGAN).
    penalty
        Weight of the gradient penalty, lambda 1 of the paper; of ``wasserstein`` only.
    similarity
        Weight of the mean absolute error, lambda 2.
    critic_steps
        Steps of the critic for one of the generator, on the same batch with other z.
    """

    adversarial: str = "wasserstein"
    penalty: float = 10.0
    similarity: float = 100.0
    critic_steps: int = 1

    def __post_init__(self) -> None:
        if self.adversarial not in ("wasserstein", "least-squares"):
            raise UserError(f"adversarial = {self.adversarial!r}: want wasserstein or least-squares")
        if self.critic_steps < 1:
            raise UserError(f"critic_steps = {self.critic_steps}: want 1 or more")
        for name in ("penalty", "similarity"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"{name} = {getattr(self, name)}: want 0 or more")


@dataclass(frozen=True)
class Optimiser:
    """The table ``[optimiser]``: Adam. The rates are the paper's."""

    generator: float = 5e-5
    critic: float = 2.5e-5
    betas: tuple[float, float] = (0.5, 0.9)

    def __post_init__(self) -> None:
        rates_fit = 0 < self.generator <= 1 and 0 < self.critic <= 1
        if not (rates_fit and all(0 <= beta < 1 for beta in self.betas)):
            raise UserError("want rates above 0 up to 1, and betas from 0 to below 1")


@dataclass(frozen=True)
class Data:
    """The table ``[data]``.

    Parameters
    ----------
    clean, noise
        Folders, in any layout of `export.sets`. Without noise the recipe has to make it.
    held_out
        Part of the speakers that validation hears, or their names.
    held_out_noise
        Folders of noise for validation; without, it hears noise of training.
    hop
        Samples between the windows of an utterance: the paper's half a second is half a window.
    windows
        Windows taken of every utterance that is mixed.
    validation
        Held-out pairs.
    """

    clean: tuple[str, ...]
    noise: tuple[str, ...] = ()
    held_out: float | tuple[str, ...] = 0.1
    held_out_noise: tuple[str, ...] = ()
    hop: int = CHUNK // 2
    windows: int = 4
    validation: int = 12

    def __post_init__(self) -> None:
        for name in ("hop", "windows", "validation"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: want 1 or more")


@dataclass(frozen=True)
class Settings:
    """A configuration."""

    data: Data
    seed: int = 0
    model: Model = field(default_factory=Model)
    loss: Loss = field(default_factory=Loss)
    optimiser: Optimiser = field(default_factory=Optimiser)
    mix: Recipe = field(default_factory=Recipe)
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        if self.mix.rate != RATE:
            raise UserError(f"mix.rate = {self.mix.rate}: these networks want {RATE}")
        if self.training.batch % self.data.windows:
            raise UserError(
                f"training.batch = {self.training.batch}: want a multiple of windows = {self.data.windows}"
            )


class Enhancer:
    """The generator and its critic."""

    settings_type = Settings
    averaged = "generator"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.generator, self.critic = Generator(settings.model), Discriminator(settings.model)
        self.networks: Mapping[str, nn.Module] = {"generator": self.generator, "critic": self.critic}
        rates = settings.optimiser
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {
            "generator": torch.optim.Adam(self.generator.parameters(), rates.generator, rates.betas),
            "critic": torch.optim.Adam(self.critic.parameters(), rates.critic, rates.betas),
        }

    def __getstate__(self) -> dict[str, Any]:
        """What processes need that make batches."""
        return {"settings": self.settings, "mixer": self.mixer}

    def open_data(self) -> dict[str, Any]:
        """Find the clips, split the speakers, mix what is held out."""
        data, seed = self.settings.data, self.settings.seed
        recipe = self.settings.mix
        folders = {
            name: [Path(folder) for folder in found]
            for name, found in (
                ("clean", data.clean),
                ("noise", data.noise),
                ("held-out noise", data.held_out_noise),
                ("rooms", recipe.rooms if recipe.room else ()),
            )
        }
        train, held = sets.split(sets.find_clips(folders["clean"]), data.held_out, seed)
        if not held:
            raise UserError(
                f"held_out = {data.held_out}: nobody is left for validation; want a share, or names"
            )
        noise = sets.find_noise(folders["noise"])
        other = sets.find_noise(folders["held-out noise"]) or noise
        if rooms := sets.find_rooms(folders["rooms"]):
            recipe = replace(recipe, rooms=tuple(map(str, rooms)))
        self.mixer = mixer_of(train, noise, recipe, seed)
        validation = mixer_of(held, other, recipe, seed)
        chunks = [
            windows(validation.pair(UNSEEN + index), data.hop, 2, random=None)
            for index in range(data.validation)
        ]
        self.held_out: Arrays = tuple(np.concatenate(parts) for parts in zip(*chunks, strict=True))
        return {
            "sources": {
                sets.shown(folder): sets.licence(folder) for each in folders.values() for folder in each
            },
            "speakers": sorted({clip.speaker for clip in train}),
            "held out": sorted({clip.speaker for clip in held}),
            "clips": len(train),
        }

    def batch(self, examples: range) -> Arrays:
        """(clean, noisy), (len(examples), CHUNK) each: `Data.windows` of every utterance."""
        each = self.settings.data.windows
        if examples.start % each or len(examples) % each:
            raise UserError(
                f"{len(examples)} examples from {examples.start}: want whole utterances of {each} windows"
            )
        parts = []
        for index in range(examples.start // each, examples.stop // each):
            random = np.random.default_rng([self.settings.seed, index, 1])
            parts.append(windows(self.mixer.pair(index), self.settings.data.hop, each, random))
        clean, noisy = (np.concatenate(part) for part in zip(*parts, strict=True))
        if self.settings.model.normalise:  # the critic and the losses too work at the generator's level
            scale = rms(torch.from_numpy(noisy)).numpy()
            clean, noisy = clean / scale, noisy / scale
        return clean, noisy

    def train(
        self, batch: tuple[Tensor, ...], random: Callable[..., Tensor], update: Update
    ) -> dict[str, float]:
        """Steps of the critic (equation 1, its sign mended), then one of the generator (equation 2)."""
        clean, noisy = batch
        loss, generator, critic = self.settings.loss, self.generator, self.critic
        wasserstein = loss.adversarial == "wasserstein"
        found = {}

        def enhance() -> Tensor:
            z: Tensor = 2 * random(len(noisy), *generator.latent) - 1
            return generator(noisy, z).float()  # type: ignore[no-any-return]

        for _ in range(loss.critic_steps):
            with torch.no_grad():
                enhanced = enhance()
            real, fake = critic(clean, noisy).float(), critic(enhanced, noisy).float()
            if wasserstein:
                value = losses.wasserstein_critic(real, fake)
                found["distance"] = -value.item()
                penalty = losses.gradient_penalty(critic, clean, enhanced, noisy, random(len(noisy), 1))
                value = value + loss.penalty * penalty
            else:
                value = losses.least_squares_critic(real, fake)
            found["critic"] = value.item()
            update("critic", value)

        enhanced = enhance()
        fake = critic(enhanced, noisy).float()
        adversarial = (
            losses.wasserstein_generator(fake) if wasserstein else losses.least_squares_generator(fake)
        )
        error = (enhanced - clean).abs().mean()
        found["error"] = error.item()
        update("generator", adversarial + loss.similarity * error)
        return found

    def validate(self, network: nn.Module, device: torch.device) -> Validation:
        """Mean absolute error and signal-to-noise ratio of the held-out windows, with z = 0."""
        clean, noisy = (torch.from_numpy(part).to(device) for part in self.held_out)
        latent = torch.zeros(len(noisy), *self.generator.latent, device=device)
        enhanced = torch.cat(
            [
                network(x, z).float()
                for x, z in zip(torch.split(noisy, 16), torch.split(latent, 16), strict=True)
            ]
        )
        scale = rms(noisy) if self.settings.model.normalise else 1.0
        error = ((enhanced - clean) / scale).abs().mean().item()
        scalars = {"error": error, "SNR": snr(clean, enhanced), "SNR of the noisy speech": snr(clean, noisy)}
        sounds = {"clean": clean, "noisy": noisy, "enhanced": enhanced}
        return Validation(
            error, scalars, RATE, {name: x[:4].flatten().cpu().numpy() for name, x in sounds.items()}
        )

    def exportable(self, network: nn.Module) -> Exportable:
        """``noisy`` (batch, CHUNK) and ``z`` to ``enhanced``. No states: chunks know of no other."""
        z = torch.zeros(2, *self.generator.latent)
        card = {
            "kind": "chunks",
            "rate": RATE,
            "chunk": CHUNK,
            "latent": "z: zeros, or uniform from -1 to 1",
            "model": asdict(self.settings.model),
        }
        inputs = {"noisy": torch.zeros(2, CHUNK), "z": z}
        return Exportable(network, inputs, ("enhanced",), card, batch=True)


def mixer_of(clips: Sequence[sets.Clip], noise: Sequence[Path], recipe: Recipe, seed: int) -> Mixer:
    """A mixer of clips, which knows their speakers."""
    return Mixer([clip.path for clip in clips], noise, recipe, seed, [clip.speaker for clip in clips])


def snr(clean: Tensor, enhanced: Tensor) -> float:
    """Mean over (batch, samples) of the ratio of speech to error, in dB; windows without speech left out."""
    speech, error = clean.square().sum(1), (clean - enhanced).square().sum(1)
    ratio = 10 * torch.log10(speech / (error + 1e-12))
    return float(ratio[speech > 1e-3].mean())


def windows(
    pair: Pair, hop: int, count: int, random: np.random.Generator | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Windows of clean and noisy speech, (count, CHUNK) each.

    Windows begin every ``hop`` samples; ``count`` of them are drawn, none twice before all were taken once,
    or with None taken evenly. Speech shorter than a window is followed by zeros.
    """
    samples = max(len(pair.clean), CHUNK)
    starts = np.arange(0, samples - CHUNK + 1, hop)
    if random is None:
        chosen = starts[np.linspace(0, len(starts) - 1, count).round().astype(int)]
    else:
        rounds = -(-count // len(starts))
        chosen = np.concatenate([random.permutation(starts) for _ in range(rounds)])[:count]
    parts = []
    for x in (pair.clean, pair.noisy):
        padded = np.pad(x, (0, samples - len(x)))
        parts.append(np.stack([padded[start : start + CHUNK] for start in chosen]))
    return parts[0], parts[1]
