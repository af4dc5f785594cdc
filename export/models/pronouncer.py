"""Training of the network that says Bangla words (`engines.speech.pronunciation`), the task ``pronouncer``.

A bidirectional GRU over the letters, trained with the CTC loss on Google's lexicon. 2,000 words, chosen by
the hash of their spelling, are held out of training with all of their pronunciations, and no other step sees
them; 1,000 more choose among networks.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.speech.pronunciation import (
    BLANK,
    KIND,
    LETTERS,
    PHONES,
    SLOTS,
    letters_of,
    numbers_of,
    phones_of,
)
from export.networks import Exportable
from export.output import digest
from export.training import Arrays, Training, Update, Validation
from rtaudio.errors import FileError, UserError

HELD_OUT, VALIDATION = 2000, 1000
"""Words that only scores are made of, and words that training is watched with."""
SYLLABLE = "."
"""What the lexicon writes between syllables."""
LICENCE = 'CC BY 4.0, "Copyright 2015, 2016 Google Inc.", language-resources, bn/data/lexicon.tsv'

Lexicon = Mapping[str, Sequence[Sequence[str]]]
"""Pronunciations, as phones, by word."""


@dataclass(frozen=True)
class Model:
    """The table ``[model]``: channels of a letter and of a direction of a layer, layers, what drops out."""

    embedding: int = 64
    hidden: int = 160
    layers: int = 2
    dropout: float = 0.3

    def __post_init__(self) -> None:
        for name in ("embedding", "hidden", "layers"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: give 1 or more")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout = {self.dropout}: want 0 or more, below 1")


@dataclass(frozen=True)
class Data:
    """The table ``[data]``: the lexicon's file."""

    lexicon: str


@dataclass(frozen=True)
class Optimiser:
    """The table ``[optimiser]``, of AdamW."""

    rate: float = 2e-3
    decay: float = 0.01


@dataclass(frozen=True)
class Settings:
    """A configuration of the task ``pronouncer``."""

    data: Data
    seed: int = 0
    model: Model = field(default_factory=Model)
    optimiser: Optimiser = field(default_factory=Optimiser)
    training: Training = field(default_factory=Training)


# ------------------------------------------------------------------------------------------------- lexicon


def read_lexicon(path: Path) -> dict[str, list[list[str]]]:
    """The words of Bangla letters in a lexicon: lines of word and phones, a tab between, ``#`` for comments.

    Left out are words with other characters, and names of letters that have more phones than a letter has
    places.

    Returns
    -------
    All pronunciations by word, the word as `letters_of` spells it, phones without the syllables' marks.

    Raises
    ------
    FileError
        The file cannot be read, or has a phone that is not known.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is no lexicon: {error}") from None
    found: dict[str, list[list[str]]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.partition("\t")
        phones = [phone for phone in rest.partition("\t")[0].split() if phone != SYLLABLE]
        if not phones:
            raise FileError(f"{path}, line {number}: no phones: want the word, a tab, the phones")
        if unknown := set(phones) - set(PHONES):
            raise FileError(f"{path}, line {number}: unknown phone {min(unknown)!r}")
        letters = letters_of(word)
        if letters is not None and places_needed(phones) <= SLOTS * len(letters):
            pronunciations = found.setdefault(letters, [])
            if phones not in pronunciations:
                pronunciations.append(phones)
    return found


def places_needed(phones: Sequence[str]) -> int:
    """How many places phones need: one each, and a blank between two that are the same."""
    return len(phones) + sum(a == b for a, b in itertools.pairwise(phones))


def split(lexicon: Lexicon) -> tuple[list[str], list[str], list[str]]:
    """Words to train on, to validate with, and held out: by the SHA-256 of their spelling in UTF-8.

    The `HELD_OUT` words with the lowest hashes are held out, the next `VALIDATION` validate.
    """
    words = sorted(lexicon, key=lambda word: hashlib.sha256(word.encode()).digest())
    if len(words) <= HELD_OUT + VALIDATION:
        raise UserError(f"the lexicon has {len(words)} words: want more than {HELD_OUT + VALIDATION}")
    end = HELD_OUT + VALIDATION
    return sorted(words[end:]), words[HELD_OUT:end], words[:HELD_OUT]


@dataclass(frozen=True)
class Rates:
    """Of words: the part that has an error, and edits for every phone that should be."""

    words: float
    phones: float


def distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Fewest insertions, deletions and replacements that make one sequence of the other (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, one in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (one != other))
    return row[-1]


def rates(said: Iterable[tuple[Sequence[str], Sequence[Sequence[str]]]]) -> Rates:
    """Error rates of pronunciations, each beside those that are right; the nearest of these counts."""
    wrong = edits = count = phones = 0
    for found, right in said:
        distances = [distance(found, one) for one in right]
        least = min(distances)
        nearest = right[distances.index(least)]
        wrong, edits = wrong + (least > 0), edits + least
        count, phones = count + 1, phones + len(nearest)
    return Rates(wrong / max(1, count), edits / max(1, phones))


# ------------------------------------------------------------------------------------------------- network


class Network(nn.Module):
    """Letters (batch, n) int64 to logits (batch, n * SLOTS, 1 + phones), the first the blank's."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.embedding = nn.Embedding(1 + len(LETTERS), model.embedding)
        between = model.dropout if model.layers > 1 else 0.0
        self.recurrent = nn.GRU(
            model.embedding, model.hidden, model.layers, batch_first=True, dropout=between, bidirectional=True
        )
        self.dropout = nn.Dropout(model.dropout)
        self.output = nn.Linear(2 * model.hidden, SLOTS * (1 + len(PHONES)))

    def forward(self, letters: Tensor) -> Tensor:
        """See the class."""
        hidden, _ = self.recurrent(self.embedding(letters))  # (batch, n, 2 * hidden)
        scores: Tensor = self.output(self.dropout(hidden))  # (batch, n, SLOTS * (1 + phones))
        return scores.reshape(scores.shape[0], -1, 1 + len(PHONES))


class Pronouncer:
    """The network, and batches of words of one length, so that nothing is padded."""

    settings_type = Settings
    averaged = "pronouncer"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.network = Network(settings.model)
        self.networks: Mapping[str, nn.Module] = {"pronouncer": self.network}
        adam = settings.optimiser
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {
            "pronouncer": torch.optim.AdamW(self.network.parameters(), adam.rate, weight_decay=adam.decay)
        }

    def __getstate__(self) -> dict[str, Any]:
        """What processes need that make batches."""
        return {"settings": self.settings, "lengths": self.lengths, "shares": self.shares}

    def open_data(self) -> dict[str, Any]:
        """Read the lexicon."""
        path = Path(self.settings.data.lexicon)
        self.lexicon = read_lexicon(path)
        words, self.validation, self.held_out = split(self.lexicon)
        self.lengths: dict[int, list[tuple[str, list[str]]]] = {}
        """What is trained on, word and phones, by the number of letters."""
        for word in words:
            self.lengths.setdefault(len(word), []).extend((word, phones) for phones in self.lexicon[word])
        examples = {length: len(found) for length, found in sorted(self.lengths.items())}
        self.shares = {length: count / sum(examples.values()) for length, count in examples.items()}
        return {
            "sources": {path.name: LICENCE},
            "content": digest([path]),
            "words": {"training": len(words), "validation": VALIDATION, "held out": HELD_OUT},
            "held out": f"the {HELD_OUT} words with the lowest SHA-256 of their spelling (NFC, UTF-8), "
            f"then {VALIDATION} that validate",
        }

    def batch(self, examples: range) -> Arrays:
        """Letters (examples, n) and phones (examples, m), 0 where there are fewer; n is of the step."""
        step = examples.start // self.settings.training.batch
        lengths = list(self.shares)
        length = int(
            np.random.default_rng([self.settings.seed, step]).choice(lengths, p=list(self.shares.values()))
        )
        known = self.lengths[length]
        random = np.random.default_rng([self.settings.seed, 1, examples.start])
        chosen = [known[index] for index in random.integers(len(known), size=len(examples))]
        letters = np.stack([numbers_of(word) for word, _ in chosen]).astype(np.float32)
        phones = np.zeros((len(chosen), max(len(said) for _, said in chosen)), np.float32)
        for row, (_, said) in zip(phones, chosen, strict=True):
            row[: len(said)] = [1 + PHONES.index(phone) for phone in said]
        return letters, phones

    def train(
        self, batch: tuple[Tensor, ...], random: Callable[..., Tensor], update: Update
    ) -> dict[str, float]:
        """One step of AdamW."""
        torch.manual_seed(int(2**24 * random(1).item()))  # what drops out follows from the step
        letters, phones = batch[0].long(), batch[1].long()
        logits = self.network(letters).float()  # (batch, places, 1 + phones)
        places = torch.full((len(letters),), logits.shape[1], dtype=torch.long)
        loss = functional.ctc_loss(
            logits.log_softmax(-1).transpose(0, 1), phones, places, (phones > 0).sum(1), blank=BLANK
        )
        update("pronouncer", loss)
        return {"loss": loss.item()}

    def validate(self, network: nn.Module, device: torch.device) -> Validation:
        """Error rates of the validation words; the one of phones should fall."""
        found = self.score(network, device, self.validation)
        return Validation(found.phones, {"phone errors": found.phones, "word errors": found.words})

    def exportable(self, network: nn.Module) -> Exportable:
        """The network as ONNX wants it, for one word."""
        return Exportable(
            network,
            {"letters": torch.arange(1, 1 + len(LETTERS))[None]},
            ("scores",),
            {"kind": KIND, "language": "bn", "letters": LETTERS, "phones": list(PHONES), "slots": SLOTS},
            sequence=True,
        )

    def score(self, network: nn.Module, device: torch.device, words: Sequence[str]) -> Rates:
        """Error rates of words of the lexicon."""
        pairs = []
        by_length: dict[int, list[str]] = {}
        for word in words:
            by_length.setdefault(len(word), []).append(word)
        for same in by_length.values():
            letters = torch.from_numpy(np.stack([numbers_of(word) for word in same])).to(device)
            best = network(letters).argmax(-1).cpu().numpy()
            pairs += [(phones_of(row), self.lexicon[word]) for row, word in zip(best, same, strict=True)]
        return rates(pairs)
