"""Vocos: log mel spectra to sound by way of short-time spectra, as fast as vocoders are on a CPU.

H. Siuzdak, "Vocos: Closing the gap between time-domain and Fourier-based neural vocoders for high-quality
audio synthesis", ICLR 2024 (arXiv 2306.00814), section 3: blocks of ConvNeXt at the rate of frames,
magnitudes and phases at the end, and an inverse Fourier transform in place of layers that raise the rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.mel import FLOOR
from rtaudio.errors import UserError

KERNEL = 7
"""Frames of the first convolution, and of those of the blocks."""
WIDER = 3
"""Times the channels inside a block."""
LOUDEST = 1e2
"""What magnitudes are kept below, as the paper's program does."""


@dataclass(frozen=True)
class Shape:
    """The table ``[model]``: channels, and blocks. The paper's network has 512 and 8."""

    channels: int = 256
    blocks: int = 6

    def __post_init__(self) -> None:
        for name in ("channels", "blocks"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: want 1 or more")


class Block(nn.Module):
    """A convolution of each channel over frames, then two layers over channels, added to what comes in.

    Z. Liu et al., "A ConvNet for the 2020s", CVPR 2022, figure 4, in one dimension.
    """

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.over_frames = nn.Conv1d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.wide = nn.Linear(channels, WIDER * channels)
        self.narrow = nn.Linear(WIDER * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, frames) to the same."""
        y: Tensor = self.norm(self.over_frames(x).transpose(1, 2))
        y = self.scale * self.narrow(functional.gelu(self.wide(y)))
        return x + y.transpose(1, 2)


class InverseTransform(nn.Module):
    """Magnitudes and phases to sound: inverse Fourier transform, Hann window, overlap-add.

    All of it is one transposed convolution with fixed weights, which ONNX has. Frame k is centred on sample
    ``k hop + hop / 2``, as those of `export.spectra.Mel`. The squared windows overlap to a constant, which is
    divided by everywhere: near the ends, where windows are missing, the sound fades. An ONNX file has how the
    weights, of the size of all others together, are computed; that is done once, where it is loaded.
    """

    bins: Tensor
    at: Tensor
    basis: Tensor

    def __init__(self, fft: int, hop: int) -> None:
        super().__init__()
        if hop < 1 or fft % hop or fft // hop < 3 or (fft - hop) % 2:
            raise UserError(f"fft {fft} with hop {hop}: want a third of it or less, a divisor, both even")
        self.fft, self.hop = fft, hop
        # Part of the state, as weights are: with constants the exporter would compute at once.
        self.register_buffer("bins", torch.arange(fft // 2 + 1.0)[:, None])
        self.register_buffer("at", torch.arange(float(fft))[None])
        self.register_buffer("basis", self.weights(), persistent=False)

    def weights(self) -> Tensor:
        """(2 bins, 1, fft): for the real parts of a spectrum and the imaginary ones."""
        turns = torch.fmod(self.bins @ self.at, self.fft) * (2 * math.pi / self.fft)  # whole numbers before
        overlap = 3 / 8 * self.fft / self.hop  # the sum of the squared window over that of its steps
        window = (1 - turns[1:2].cos()) / (2 * self.fft * overlap)  # the angles of the first bin above 0
        sides = 2 - self.bins.eq(0).float() - self.bins.eq(self.fft / 2).float()
        return torch.cat([sides * window * turns.cos(), -sides * window * turns.sin()])[:, None]

    def forward(self, magnitude: Tensor, phase: Tensor) -> Tensor:
        """(batch, fft // 2 + 1, frames) each, phases in radians, to (batch, 1, frames * hop)."""
        bins = torch.cat([magnitude * phase.cos(), magnitude * phase.sin()], 1)
        basis = self.weights() if torch.onnx.is_in_onnx_export() else self.basis
        return functional.conv_transpose1d(bins, basis, stride=self.hop, padding=(self.fft - self.hop) // 2)


class Vocos(nn.Module):
    """Log mel spectra (batch, mels, frames) to sound (batch, 1, frames * hop).

    Spectra are scaled such that 0 is silence, which is what a network sees beyond the ends. The sound has
    nothing of 0 Hz, which mel spectra do not hear.
    """

    def __init__(self, mels: int, fft: int, hop: int, shape: Shape) -> None:
        super().__init__()
        channels = shape.channels
        self.hop = hop
        """Samples of a frame."""
        self.overlap = (1 + shape.blocks) * (KERNEL // 2) + math.ceil((fft - hop) / 2 / hop)
        """Frames to either side of a frame that its samples depend on."""
        self.edge = math.ceil((fft - hop) / 2 / hop)
        """Frames at either end whose sound lacks windows."""
        self.first = nn.Conv1d(mels, channels, KERNEL, padding=KERNEL // 2)
        self.first_norm = nn.LayerNorm(channels, eps=1e-6)
        self.blocks = nn.ModuleList(Block(channels, 1 / shape.blocks) for _ in range(shape.blocks))
        self.last_norm = nn.LayerNorm(channels, eps=1e-6)
        self.last = nn.Linear(channels, fft + 2)
        self.transform = InverseTransform(fft, hop)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv1d, nn.Linear)):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, mel: Tensor) -> Tensor:
        """See the class."""
        x = self.first(1 - mel / math.log(FLOOR))
        x = self.first_norm(x.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        x = self.last(self.last_norm(x.transpose(1, 2))).to(self.transform.basis)
        magnitude, phase = x.transpose(1, 2).chunk(2, 1)
        magnitude = functional.pad(magnitude[:, 1:].exp().clamp_max(LOUDEST), (0, 0, 1, 0))
        sound: Tensor = self.transform(magnitude, phase)
        return sound
