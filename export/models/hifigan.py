"""HiFi-GAN: a generator of sound from spectra or latents, its discriminators, and their losses.

J. Kong, J. Kim, J. Bae, "HiFi-GAN: Generative Adversarial Networks for Efficient and High Fidelity Speech
Synthesis", NeurIPS 2020 (arXiv 2010.05646): sections 2.2 and 2.3, appendix A (the sizes), equations 1 to 5.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from export.models import quantised
from rtaudio.errors import UserError

SLOPE = 0.1
"""Of all leaky ReLUs but the last, which has 0.01."""
FEATURES = 2.0
"""Weight of the features' loss, lambda_fm."""

Judged = list[tuple[Tensor, list[Tensor]]]
"""Of every discriminator the scores (batch, places) and what its layers put out."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a generator.

    Parameters
    ----------
    channels
        Before the first stage; every stage halves them.
    rates
        By how much each stage lengthens.
    kernels
        Taps of the residual branches, whose outputs a stage averages.
    dilations
        Of the convolutions of each branch.
    kind
        ``1``: every convolution of a branch is followed by one without dilation; ``2``: it is not.
    int8
        Stages, from the first on, that are of `export.models.quantised`: 8-bit integers in ONNX Runtime. What
        the last one rounds is heard as noise.
    """

    channels: int = 512
    rates: tuple[int, ...] = (8, 8, 2, 2)
    kernels: tuple[int, ...] = (3, 7, 11)
    dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    kind: str = "1"
    int8: int = 0

    def __post_init__(self) -> None:
        if not self.rates or any(rate < 2 or rate % 2 for rate in self.rates):
            raise UserError(f"rates = {list(self.rates)}: want even numbers")
        if self.channels < 1 << len(self.rates) or self.channels % (1 << len(self.rates)):
            raise UserError(f"channels = {self.channels}: want a multiple of {1 << len(self.rates)}")
        if not self.kernels or any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            raise UserError(f"kernels = {list(self.kernels)}: want odd numbers")
        if len(self.dilations) != len(self.kernels) or any(d < 1 for one in self.dilations for d in one):
            raise UserError(f"dilations = {self.dilations}: want a list of numbers from 1 on for each kernel")
        if self.kind not in ("1", "2"):
            raise UserError(f"kind = {self.kind!r}: want 1 or 2")
        if not 0 <= self.int8 <= len(self.rates):
            raise UserError(f"int8 = {self.int8}: want 0 to {len(self.rates)}, the number of stages")


V1 = Shape()
V2 = Shape(channels=128)
V3 = Shape(256, (8, 8, 4), (3, 5, 7), ((1, 2), (2, 6), (3, 12)), "2")


# ----------------------------------------------------------------------------------------------- generator


class Branch(nn.Module):
    """Convolutions, each added to what it gets."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int], kind: str, int8: bool) -> None:
        super().__init__()
        layer = quantised.Conv1d if int8 else nn.Conv1d

        def convolution(dilation: int) -> nn.Module:
            padding = dilation * (kernel - 1) // 2
            plain = layer(channels, channels, kernel, dilation=dilation, padding=padding)
            normed: nn.Module = weight_norm(plain)
            return normed

        self.dilated = nn.ModuleList(convolution(dilation) for dilation in dilations)
        self.plain = nn.ModuleList(convolution(1) for _ in dilations if kind == "1")
        self.reach = (kernel - 1) // 2 * sum(dilation + (kind == "1") for dilation in dilations)
        """Samples to either side that an output depends on."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, n) to the same."""
        for index, dilated in enumerate(self.dilated):
            y = dilated(functional.leaky_relu(x, SLOPE))
            if self.plain:
                y = self.plain[index](functional.leaky_relu(y, SLOPE))
            x = x + y
        return x


class Stage(nn.Module):
    """A transposed convolution that lengthens, and the mean of some branches (multi-receptive field fusion).

    The transposed convolution has two taps for each input, 2 ``rate`` taps in all.
    """

    def __init__(self, channels: int, rate: int, shape: Shape, int8: bool) -> None:
        super().__init__()
        self.rate = rate
        layer = quantised.ConvTranspose1d if int8 else nn.ConvTranspose1d
        self.up = weight_norm(layer(channels, channels // 2, 2 * rate, rate, rate // 2))
        branches = [
            Branch(channels // 2, kernel, dilations, shape.kind, int8)
            for kernel, dilations in zip(shape.kernels, shape.dilations, strict=True)
        ]
        self.branches = nn.ModuleList(branches)
        self.reach = max(branch.reach for branch in branches)
        """Samples to either side that an output of the branches depends on."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, n) to (batch, channels / 2, n * rate)."""
        x = self.up(functional.leaky_relu(x, SLOPE))
        y: Tensor = sum(branch(x) for branch in self.branches) / len(self.branches)
        return y

    def inputs(self, first: int, last: int) -> tuple[int, int]:
        """The first and last input that the outputs ``first`` to ``last`` depend on."""
        half, taps, reach = self.rate // 2, 2 * self.rate, self.reach
        return -((taps - 1 - half - (first - reach)) // self.rate), (last + reach + half) // self.rate


class Generator(nn.Module):
    """Frames to sound.

    Weights are normalised in training (T. Salimans, D. P. Kingma, "Weight Normalization", NIPS 2016);
    `folded` makes plain convolutions of them.

    Parameters
    ----------
    inputs
        Channels of a frame: mel bands, or a latent's.
    shape
        `V1`, `V2`, `V3` or another.
    condition
        Channels of what stays the same over a sound, a speaker's say; 0 for nothing.
    """

    def __init__(self, inputs: int, shape: Shape, condition: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self.hop = prod(shape.rates)
        """Samples of a frame."""
        channels = [shape.channels >> stage for stage in range(len(shape.rates) + 1)]
        self.first = weight_norm(nn.Conv1d(inputs, channels[0], 7, padding=3))
        self.condition = nn.Conv1d(condition, channels[0], 1) if condition else None
        self.stages = nn.ModuleList(
            Stage(before, rate, shape, number < shape.int8)
            for number, (before, rate) in enumerate(zip(channels[:-1], shape.rates, strict=True))
        )
        self.last = weight_norm(nn.Conv1d(channels[-1], 1, 7, padding=3))

    @property
    def overlap(self) -> int:
        """Frames to either side of a frame that its samples depend on: derived from the layers."""
        first, last = -3, self.hop - 1 + 3
        for stage in reversed(self.stages):
            first, last = stage.inputs(first, last)  # type: ignore[operator]
        return max(3 - first, last + 3)

    def forward(self, x: Tensor, g: Tensor | None = None) -> Tensor:
        """Make sound.

        Parameters
        ----------
        x
            (batch, inputs, frames).
        g
            (batch, condition, 1), where the generator has a condition.

        Returns
        -------
        (batch, 1, frames * hop), -1 to 1.
        """
        x = self.first(x)
        if self.condition is not None and g is not None:
            x = x + self.condition(g)
        for stage in self.stages:
            x = stage(x)
        return torch.tanh(self.last(functional.leaky_relu(x)))


def folded(network: nn.Module) -> nn.Module:
    """A copy whose normalised weights are plain ones: for inference and export.

    torch's ``remove_parametrizations`` would take the weights' property from the class, which a copy shares
    with its original.
    """
    network = copy.deepcopy(network).eval()
    for layer in network.modules():
        if parametrize.is_parametrized(layer, "weight"):
            weight = layer.weight.detach().clone()  # type: ignore[operator]
            del layer.parametrizations
            layer.__class__ = parametrize.type_before_parametrizations(layer)
            layer.weight = nn.Parameter(weight)
    return network


# ------------------------------------------------------------------------------------------ discriminators


def _scaled(channels: int, width: float) -> int:
    return round(channels * width)


class PeriodDiscriminator(nn.Module):
    """Judges every ``period``-th sample together: two-dimensional convolutions of one sample's width."""

    def __init__(self, period: int, width: float) -> None:
        super().__init__()
        self.period = period
        channels = [1, *(_scaled(count, width) for count in (32, 128, 512, 1024, 1024))]
        strides = (3, 3, 3, 3, 1)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(inputs, outputs, (5, 1), (stride, 1), (2, 0)))
            for (inputs, outputs), stride in zip(pairwise(channels), strides, strict=True)
        )
        self.last = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores and features of (batch, 1, samples); what is missing to whole periods is reflected."""
        batch, _, samples = x.shape
        x = functional.pad(x, (0, -samples % self.period), mode="reflect")
        return _judge(x.reshape(batch, 1, -1, self.period), self.layers, self.last)


class ScaleDiscriminator(nn.Module):
    """Judges sound as it is, with grouped convolutions of 41 taps.

    Layers have a spectral norm (T. Miyato et al., ICLR 2018) with ``spectral``, else a weight norm.
    """

    def __init__(self, width: float, spectral: bool) -> None:
        super().__init__()
        norm = spectral_norm if spectral else weight_norm
        channels = [1, *(_scaled(count, width) for count in (128, 128, 256, 512, 1024, 1024, 1024))]
        kernels, strides, groups = (
            (15, 41, 41, 41, 41, 41, 5),
            (1, 2, 2, 4, 4, 1, 1),
            (1, 4, 16, 16, 16, 16, 1),
        )
        self.layers = nn.ModuleList(
            norm(nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, groups=group))
            for (inputs, outputs), kernel, stride, group in zip(
                pairwise(channels), kernels, strides, groups, strict=True
            )
        )
        self.last = norm(nn.Conv1d(channels[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores and features of (batch, 1, samples)."""
        return _judge(x, self.layers, self.last)


def _judge(x: Tensor, layers: nn.ModuleList, last: nn.Module) -> tuple[Tensor, list[Tensor]]:
    features = []
    for layer in layers:
        x = functional.leaky_relu(layer(x), SLOPE)
        features.append(x)
    x = last(x)
    features.append(x)
    return x.flatten(1), features


class Discriminators(nn.Module):
    """Those of several periods, and those of several scales, each of half the rate of the one before.

    Parameters
    ----------
    periods
        Samples.
    scales
        How many. With more than one the first has a spectral norm, as HiFi-GAN has it; a single one has a
        weight norm, as VITS has it. 0 for none.
    width
        Factor on all channels: HiFi-GAN has 1. A multiple of 1/8.
    """

    def __init__(
        self, periods: Sequence[int] = (2, 3, 5, 7, 11), scales: int = 3, width: float = 1.0
    ) -> None:
        super().__init__()
        if not (0 < width <= 4 and 8 * width == int(8 * width)):
            raise UserError(f"width = {width}: want a multiple of 0.125 up to 4")
        if any(period < 1 for period in periods) or scales < 0 or not (periods or scales):
            raise UserError(f"periods = {list(periods)}, scales = {scales}: want one discriminator or more")
        self.periods = nn.ModuleList(PeriodDiscriminator(period, width) for period in periods)
        self.scales = nn.ModuleList(ScaleDiscriminator(width, scales > 1 and not n) for n in range(scales))

    def forward(self, x: Tensor) -> Judged:
        """Judge sound (batch, 1, samples): by period, then by scale."""
        found = [discriminator(x) for discriminator in self.periods]
        for index, discriminator in enumerate(self.scales):
            if index:
                x = functional.avg_pool1d(x, 4, 2, 2)
            found.append(discriminator(x))
        return found


# -------------------------------------------------------------------------------------------------- losses


def discriminator_loss(real: Judged, fake: Judged) -> Tensor:
    """Sum over discriminators of E[(D(real) - 1)^2] + E[D(fake)^2]: equation 1."""
    return torch.stack(
        [
            (a.float() - 1).square().mean() + b.float().square().mean()
            for (a, _), (b, _) in zip(real, fake, strict=True)
        ]
    ).sum()


def generator_loss(fake: Judged) -> Tensor:
    """Sum over discriminators of E[(D(fake) - 1)^2]: equation 2."""
    return torch.stack([(score.float() - 1).square().mean() for score, _ in fake]).sum()


def feature_loss(real: Judged, fake: Judged) -> Tensor:
    """Mean absolute differences of all layers' outputs, summed, times `FEATURES`: equation 4.

    No gradient flows to what is real.
    """
    pairs = [
        (a.detach().float(), b.float())
        for (_, x), (_, y) in zip(real, fake, strict=True)
        for a, b in zip(x, y, strict=True)
    ]
    return FEATURES * torch.stack([functional.l1_loss(b, a) for a, b in pairs]).sum()
