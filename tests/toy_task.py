"""A task that trains in no time: a line through points, and a network with a state to export."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from export.training import Training, Validation


@dataclass(frozen=True)
class Settings:
    seed: int = 0
    poison: int = -1
    """The step from which the gradient is not finite."""
    nan_data: bool = False
    training: Training = field(default_factory=Training)


class Toy:
    settings_type = Settings
    averaged = "line"

    def __init__(self, settings):
        self.settings = settings
        self.networks = {"line": nn.Linear(3, 1)}
        self.optimisers = {"line": torch.optim.Adam(self.networks["line"].parameters(), 0.05)}
        self.steps = 0

    def open_data(self):
        return {"sources": {"points": "CC0"}}

    def batch(self, examples):
        x = np.stack([np.random.default_rng([self.settings.seed, i]).standard_normal(3) for i in examples])
        if self.settings.nan_data:
            x[0, 0] = np.nan
        return x.astype(np.float32), (x @ [[1.0], [-2.0], [0.5]]).astype(np.float32)

    def train(self, batch, random, update):
        x, y = batch
        y = y + 0.1 * random(len(x), 1)
        loss = (self.networks["line"](x) - y).square().mean()
        if 0 <= self.settings.poison <= self.steps:
            loss = loss * torch.tensor(float("nan"))
        self.steps += 1
        update("line", loss)
        return {"error": loss.item()}

    def validate(self, network, device):
        x, y = (torch.from_numpy(part).to(device) for part in self.batch(range(1000, 1064)))
        error = (network(x) - y).square().mean().item()
        tone = np.sin(np.arange(4_000) / 5).astype(np.float32)
        return Validation(error, {"error": error}, 8_000, {"tone": tone})
