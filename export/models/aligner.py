"""Training of the aligner, the task ``aligner``: which frames of a recording each of its phonemes has.

The text side and the mixture density network of AlignTTS (Z. Zeng, J. Wang, N. Cheng, T. Xia, J. Xiao,
"AlignTTS: Efficient feed-forward text-to-speech system without explicit alignment", arXiv 2003.01950): an
embedding, feed-forward Transformer blocks, and for each token the mean and the deviation of a diagonal
Gaussian over log mel spectra. What is trained is how likely a recording is over all alignments, the paper's
alignment loss (`export.monotonic.posteriors`); `export.alignment` writes the best one.

Departures from the paper: a token's score is the mean of the logarithms over the 80 bands, not their sum,
which makes alignments that are worse: what is not independent is not counted 80 times. The blanks that Piper
puts between phonemes are not aligned; spaces are. Deviations have a least value, since silence of one value
would be infinitely likely else. Spectra are those of `export.mel`, moved and scaled by constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export import monotonic
from export.config import check_optimiser
from export.corpus import (
    CORPUS,
    HOP,
    RESERVED,
    Clip,
    Corpus,
    alike,
    read_corpus,
    read_sound,
    record_of,
    sides_of,
)
from export.mel import logmel
from export.output import file_hash
from export.training import Arrays, Training, Update, Validation
from rtaudio.errors import UserError

MELS, WINDOW = 80, 1024
"""Bands, from 0 Hz to half the rate, and samples of a window."""
MIDDLE, SPREAD = -5.0, 2.0
"""What log mel spectra of speech are moved and scaled by: they are near 0 and 1 then."""
LEAST = 0.1
"""Deviation of a Gaussian, of spectra that are moved and scaled."""
BLANK = RESERVED["_"]
"""Of ids; not aligned, so that it stands for padding here."""
HEARD = 64
"""Clips that a held-out loss is made of at most."""


@dataclass(frozen=True)
class Model:
    """The table ``[model]``; what is left out is the paper's size.

    Parameters
    ----------
    symbols, speakers
        Rows of the embeddings: at least as many as the corpus has.
    channels, layers, heads, filter, kernel
        Of the Transformer blocks: channels, how many, heads of the attention, channels and taps between.
    dropout
        What drops out.
    """

    symbols: int = 256
    speakers: int = 1
    channels: int = 256
    layers: int = 6
    heads: int = 2
    filter: int = 1024
    kernel: int = 3
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("symbols", "speakers", "channels", "heads", "filter"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: give 1 or more")
        if self.layers < 0:
            raise UserError(f"layers = {self.layers}: give 0 or more")
        if self.channels % self.heads:
            raise UserError(f"channels = {self.channels} of {self.heads} heads: want a multiple")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise UserError(f"kernel = {self.kernel}: want an odd number")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout = {self.dropout}: want 0 or more, below 1")


@dataclass(frozen=True)
class Data:
    """The table ``[data]``: the folder of a corpus, as ``data speech`` makes it."""

    corpus: str


@dataclass(frozen=True)
class Optimiser:
    """The table ``[optimiser]``, of Adam; the paper's."""

    rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.998)
    decay: float = 1e-6

    def __post_init__(self) -> None:
        check_optimiser(self, "rate")


@dataclass(frozen=True)
class Settings:
    """A configuration of the task ``aligner``."""

    data: Data
    seed: int = 0
    model: Model = field(default_factory=Model)
    optimiser: Optimiser = field(default_factory=Optimiser)
    training: Training = field(default_factory=Training)


# ------------------------------------------------------------------------------------------------- network


class Block(nn.Module):
    """A feed-forward Transformer block (Y. Ren et al., FastSpeech, arXiv 1905.09263, section 3.1).

    (batch, n, channels) to the same; ``there`` (batch, n) is False where there is padding, which is 0.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        channels = model.channels
        self.attention = nn.MultiheadAttention(channels, model.heads, model.dropout, batch_first=True)
        self.after_attention = nn.LayerNorm(channels)
        self.wide = nn.Conv1d(channels, model.filter, model.kernel, padding="same")
        self.narrow = nn.Conv1d(model.filter, channels, model.kernel, padding="same")
        self.after_filter = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(model.dropout)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """See the class."""
        heard, _ = self.attention(x, x, x, key_padding_mask=~there, need_weights=False)
        x = self.after_attention(x + self.dropout(heard)) * there[:, :, None]
        wide = functional.relu(self.wide(x.transpose(1, 2))) * there[:, None]  # (batch, filter, n)
        narrow = self.narrow(wide).transpose(1, 2)  # (batch, n, channels)
        kept: Tensor = self.after_filter(x + self.dropout(narrow)) * there[:, :, None]
        return kept


class Aligner(nn.Module):
    """Tokens to Gaussians.

    ``tokens`` (batch, n) int64 without blanks, 0 for padding, and ``speakers`` (batch,) int64 to means and
    deviations (batch, n, 80).
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        channels = model.channels
        self.tokens = nn.Embedding(model.symbols, channels)
        self.speakers = nn.Embedding(model.speakers, channels)
        self.blocks = nn.ModuleList(Block(model) for _ in range(model.layers))
        self.hidden = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(model.dropout)
        self.gaussians = nn.Linear(channels, 2 * MELS)

    def forward(self, tokens: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        there = tokens != BLANK
        x = (self.tokens(tokens) + self.speakers(speakers)[:, None]) * there[:, :, None]
        for block in self.blocks:
            x = block(x, there)
        x = self.dropout(functional.relu(self.norm(self.hidden(x))))
        means, deviations = self.gaussians(x).float().chunk(2, -1)
        return means, LEAST + functional.softplus(deviations)


def log_likelihoods(means: Tensor, deviations: Tensor, spectra: Tensor) -> Tensor:
    """How likely each frame is of each token: the mean over the bands of log N(frame; token).

    Parameters
    ----------
    means, deviations
        (batch, n, bands).
    spectra
        (batch, frames, bands).

    Returns
    -------
    (batch, n, frames). The paper has the sum over the bands.
    """
    precision = deviations.square().reciprocal()
    with torch.autocast(spectra.device.type, enabled=False):  # which are sums of squares, nearly equal
        squares = precision @ spectra.square().transpose(1, 2)
        products = (means * precision) @ spectra.transpose(1, 2)
    constant = (means.square() * precision + 2 * deviations.log()).sum(-1, keepdim=True)
    bands = spectra.shape[-1]
    whole: Tensor = -0.5 * ((squares - 2 * products + constant) / bands + math.log(2 * math.pi))
    return whole


class _Likelihood(torch.autograd.Function):
    """The forward algorithm; its derivative are the posteriors, which the backward algorithm finds."""

    @staticmethod
    def forward(context: Any, scores: Tensor, tokens: Tensor, frames: Tensor) -> Tensor:
        arrays = (x.detach().cpu().numpy() for x in (scores, tokens, frames))
        likelihoods, posteriors = monotonic.posteriors(*arrays)
        context.save_for_backward(torch.from_numpy(posteriors).to(scores))
        return torch.from_numpy(likelihoods).to(scores)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (posteriors,) = context.saved_tensors
        return gradient[:, None, None] * posteriors, None, None


def likelihood(scores: Tensor, tokens: Tensor, frames: Tensor) -> Tensor:
    """How likely utterances are over all alignments, (batch,), logarithms: minus AlignTTS' alignment loss.

    Parameters
    ----------
    scores
        (batch, n, frames) logarithms.
    tokens, frames
        (batch,), how many each has.

    Raises
    ------
    UserError
        An utterance has fewer frames than tokens.
    """
    found: Tensor = _Likelihood.apply(scores, tokens, frames)  # type: ignore[no-untyped-call]
    return found


# ------------------------------------------------------------------------------------------------- task


@dataclass(frozen=True)
class Utterance:
    """What is aligned: tokens (n,) without blanks, spectra (frames, 80) moved and scaled, the speaker."""

    tokens: NDArray[np.int64]
    spectra: NDArray[np.float32]
    speaker: int


def read_utterance(clip: Clip, rate: int) -> Utterance:
    """A clip as the network wants it; `FileError` if it cannot be read."""
    spectra = logmel(read_sound(clip)[None], rate, MELS, HOP, WINDOW)[0]
    tokens = np.array([number for number in clip.ids if number != BLANK])
    return Utterance(tokens, (spectra - MIDDLE) / SPREAD, clip.speaker)


def padded(utterances: Sequence[Utterance]) -> tuple[NDArray[np.float32], ...]:
    """A batch: spectra (batch, frames, 80), tokens (batch, n), frames (batch,), speakers (batch,).

    What is behind an utterance's frames and tokens is 0.
    """
    frames = np.array([len(each.spectra) for each in utterances], np.float32)
    spectra = np.zeros((len(utterances), int(frames.max()), MELS), np.float32)
    tokens = np.zeros((len(utterances), max(len(each.tokens) for each in utterances)), np.float32)
    for row, each in enumerate(utterances):
        spectra[row, : len(each.spectra)] = each.spectra
        tokens[row, : len(each.tokens)] = each.tokens
    return spectra, tokens, frames, np.array([each.speaker for each in utterances], np.float32)


def check_fits(corpus: Corpus, model: Model, folder: Path) -> None:
    """`UserError` if a corpus has more symbols or speakers than a network."""
    for name, count in (("symbols", max(corpus.symbols.values()) + 1), ("speakers", len(corpus.speakers))):
        if count > getattr(model, name):
            raise UserError(
                f"{folder} has {count} {name}, [model] {name} = {getattr(model, name)}: raise that"
            )


class AlignerTask:
    """The aligner, and batches of utterances of about one length."""

    settings_type = Settings
    averaged = "aligner"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.network = Aligner(settings.model)
        self.networks: Mapping[str, nn.Module] = {"aligner": self.network}
        adam = settings.optimiser
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {
            "aligner": torch.optim.Adam(
                self.network.parameters(), adam.rate, adam.betas, weight_decay=adam.decay
            )
        }

    def __getstate__(self) -> dict[str, Any]:
        """What processes need that make batches."""
        return {"settings": self.settings, "known": self.known}

    def open_data(self) -> dict[str, Any]:
        """Read the corpus, spectra and all."""
        folder = Path(self.settings.data.corpus)
        corpus = read_corpus(folder)
        check_fits(corpus, self.settings.model, folder)
        train, held = sides_of(corpus, folder)
        self.known = [read_utterance(clip, corpus.rate) for clip in train]
        self.held_out = [read_utterance(clip, corpus.rate) for clip in held[:HEARD]]
        return record_of(corpus, train) | {"content": file_hash(folder / CORPUS)}

    def batch(self, examples: range) -> Arrays:
        """Utterances as `export.corpus.alike` chooses them, `padded`."""
        lengths = [len(each.spectra) for each in self.known]
        chosen = alike(lengths, self.settings.training.batch, self.settings.seed, examples)
        return padded([self.known[index] for index in chosen])

    def train(
        self, batch: tuple[Tensor, ...], random: Callable[..., Tensor], update: Update
    ) -> dict[str, float]:
        """One step of Adam."""
        torch.manual_seed(int(2**24 * random(1).item()))  # what drops out follows from the step
        loss = self._loss(self.network, batch)
        update("aligner", loss)
        return {"loss": loss.item()}

    def validate(self, network: nn.Module, device: torch.device) -> Validation:
        """The loss of clips that are held out."""
        size, losses = self.settings.training.batch, []
        for begin in range(0, len(self.held_out), size):
            some = self.held_out[begin : begin + size]
            batch = tuple(torch.from_numpy(array).to(device) for array in padded(some))
            losses += [self._loss(network, batch).item()] * len(some)
        loss = float(np.mean(losses))
        return Validation(loss, {"loss": loss})

    def _loss(self, network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        """Of a frame, a band: the mean over the utterances."""
        spectra, tokens, frames, speakers = batch[0], *(x.long() for x in batch[1:])
        means, deviations = network(tokens, speakers)
        scores = log_likelihoods(means, deviations, spectra)
        return -(likelihood(scores, (tokens != BLANK).sum(1), frames) / frames).mean()

    def durations(self, network: nn.Module, utterances: Sequence[Utterance]) -> list[NDArray[np.int64]]:
        """Frames of every token of utterances by the most likely alignment: (n,) each, they add up to all."""
        spectra, tokens, frames, speakers = (torch.from_numpy(array) for array in padded(utterances))
        with torch.no_grad():
            means, deviations = network(tokens.long(), speakers.long())
            scores = log_likelihoods(means, deviations, spectra)
        lengths = (tokens != BLANK).sum(1).numpy()
        found = monotonic.durations(scores.numpy(), lengths, frames.long().numpy())
        return [row[:n] for row, n in zip(found, lengths, strict=True)]
