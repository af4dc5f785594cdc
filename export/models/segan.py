"""Networks that enhance speech as a waveform, in chunks of 16384 samples: SEGAN, and its Wasserstein sequel.

N. Adiga, Y. Pantazis, V. Tsiaras, Y. Stylianou, "Speech Enhancement for Noise-Robust Speech Synthesis using
Wasserstein GAN", Interspeech 2019, section 3 (the sizes) and equation 3 (the gate), after S. Pascual,
A. Bonafonte, J. Serra, "SEGAN: Speech Enhancement Generative Adversarial Network", Interspeech 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from rtaudio.errors import UserError

CHUNK = 16_384
"""Samples that the networks see at once: 1.024 s at 16 kHz."""
DEPTHS = (16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 1024)
"""Channels after each of the eleven layers of stride 2, at width 1."""
KERNEL = 31
OPEN = 1.0
"""Bias that gates begin with."""
STILL = 0.25
"""Weights that gates begin with, as a part of the others."""
GAIN = {"glu": 1 + math.exp(-OPEN), "prelu": math.sqrt(2 / (1 + 0.25**2)), "none": 1.0}
"""RMS of an activation's input over that of its output, as it begins: PReLU with a slope of 0.25."""
STEPS = CHUNK >> len(DEPTHS)
"""Time steps of the bottleneck: 8."""


@dataclass(frozen=True)
class Model:
    """What a configuration says of the networks.

    Parameters
    ----------
    width
        Factor on every depth: the paper's networks have 1.
    activation
        ``glu`` is the paper's gate, ``prelu`` is SEGAN's.
    residual
        The generator's output is subtracted from the noisy input instead of taken as the clean speech, and
        begins as zero, without tanh. Untrained, such a generator leaves speech as it is.
    normalise
        The generator works at an RMS of 1, so that no level is new to it: gates are linear at low ones.

    Neither paper has the last two.
    """

    width: float = 1.0
    activation: str = "glu"
    residual: bool = False
    normalise: bool = False

    def __post_init__(self) -> None:
        if not 1 / 16 <= self.width <= 1 or self.width * 16 != int(self.width * 16):
            raise UserError(f"model.width {self.width}: want a multiple of 0.0625 from 0.0625 to 1")
        if self.activation not in ("glu", "prelu"):
            raise UserError(f"model.activation {self.activation!r}: want glu or prelu")

    @property
    def depths(self) -> tuple[int, ...]:
        """Channels after each layer."""
        return tuple(int(depth * self.width) for depth in DEPTHS)


def rms(noisy: Tensor) -> Tensor:
    """(batch, 1) of (batch, samples), at least -80 dB: what is divided by to normalise."""
    return (noisy.square().mean(1, keepdim=True) + 1e-8).sqrt()


class Layer(nn.Module):
    """A convolution of width 31 that halves (or doubles) the time steps, and its activation.

    With ``glu`` it has twice the filters, of which one half gates the other: H W * sigmoid(H V), equation 3.
    Weights begin such that every layer hands on the variance that it gets: with smaller ones nothing comes
    through eleven layers, and the deep ones do not learn. Gates begin open and nearly still, which makes the
    networks nearly linear; they then learn several times as fast.
    """

    def __init__(self, channels: int, depth: int, activation: str, up: bool = False) -> None:
        super().__init__()
        filters = 2 * depth if activation == "glu" else depth
        self.convolution: nn.Module
        if up:
            self.convolution = nn.ConvTranspose1d(channels, filters, KERNEL, 2, KERNEL // 2, output_padding=1)
        else:
            self.convolution = nn.Conv1d(channels, filters, KERNEL, 2, KERNEL // 2)
        self.slope = nn.PReLU(depth) if activation == "prelu" else None
        self.gated = activation == "glu"
        taps = channels * (KERNEL // 2 if up else KERNEL)
        weight, bias = self.convolution.parameters()
        nn.init.normal_(weight, std=GAIN[activation] / math.sqrt(taps))
        nn.init.zeros_(bias)
        if self.gated:
            with torch.no_grad():
                weight.narrow(1 if up else 0, depth, depth).mul_(STILL)
                bias[depth:] = OPEN

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, steps) to (batch, depth, steps / 2 or * 2)."""
        y: Tensor = self.convolution(x)
        if self.gated:
            return F.glu(y, 1)
        return y if self.slope is None else self.slope(y)


class Generator(nn.Module):
    """Noisy speech to clean: an encoder, a latent, and a decoder that hears every layer of the encoder."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.residual, self.normalise = model.residual, model.normalise
        depths = model.depths
        self.encoder = nn.ModuleList(
            Layer(channels, depth, model.activation)
            for channels, depth in zip((1, *depths), depths, strict=False)
        )
        # Every decoder layer also takes what the encoder had at its length: the first one takes the latent.
        ups = (*depths[-2::-1], 1)
        activations = [model.activation] * (len(ups) - 1) + ["none"]
        self.decoder = nn.ModuleList(
            Layer(2 * channels, depth, activation, up=True)
            for channels, depth, activation in zip(depths[::-1], ups, activations, strict=True)
        )
        self.latent = (depths[-1], STEPS)
        """Shape of z."""
        if model.residual:
            for parameter in self.decoder[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, noisy: Tensor, z: Tensor) -> Tensor:
        """Enhance.

        Parameters
        ----------
        noisy
            (batch, CHUNK), full scale 1.
        z
            (batch, *latent), uniform from -1 to 1 in training.

        Returns
        -------
        (batch, CHUNK).
        """
        scale = rms(noisy) if self.normalise else 1.0
        x = (noisy / scale)[:, None]
        heard = []
        for layer in self.encoder:
            x = layer(x)
            heard.append(x)
        x = torch.cat([heard.pop(), z], 1)
        for layer in self.decoder:
            x = layer(x)
            if heard:
                x = torch.cat([x, heard.pop()], 1)
        return noisy - scale * x[:, 0] if self.residual else scale * torch.tanh(x[:, 0])


class Discriminator(nn.Module):
    """A score of (clean or enhanced, noisy): the generator's encoder on two channels, then one number."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        depths = model.depths
        self.encoder = nn.Sequential(
            *(
                Layer(channels, depth, model.activation)
                for channels, depth in zip((2, *depths), depths, strict=False)
            )
        )
        self.mix = nn.Conv1d(depths[-1], 1, 1)
        self.score = nn.Linear(STEPS, 1)

    def forward(self, speech: Tensor, noisy: Tensor) -> Tensor:
        """(batch, CHUNK) each, to (batch,)."""
        y = self.encoder(torch.stack([speech, noisy], 1))
        return self.score(self.mix(y)[:, 0])[:, 0]  # type: ignore[no-any-return]
