"""Flows: networks that can be run backwards, and the WaveNet inside of them.

What goes in and out is (batch, channels, time), with a mask (batch, 1, time) of 1 and 0: what lies where that
is 0 changes nothing elsewhere. ``forward`` goes from data to noise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

NARROWEST, FLATTEST = 1e-3, 1e-3
"""Least width or height of a bin of a spline, where all together are 1; least slope at its knots."""


class Norm(nn.LayerNorm):
    """Layer normalisation over the channels of (batch, channels, time)."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class WaveNet(nn.Module):
    """Gated convolutions with residuals, not causal, whose outputs are summed (arXiv 1609.03499; WaveGlow,
    arXiv 1811.00002, has them in flows).

    Parameters
    ----------
    channels
        In and out.
    kernel
        Of the convolutions, odd. They are not dilated, as in VITS.
    layers
        How many.
    condition
        Channels of what conditions them; 0 for nothing.
    """

    def __init__(self, channels: int, kernel: int, layers: int, condition: int = 0) -> None:
        super().__init__()
        self.gates = nn.ModuleList(
            weight_norm(nn.Conv1d(channels, 2 * channels, kernel, padding=kernel // 2)) for _ in range(layers)
        )
        # The last layer has nothing after it that a residual could go to.
        self.outputs = nn.ModuleList(
            weight_norm(nn.Conv1d(channels, channels * (1 + (layer < layers - 1)), 1))
            for layer in range(layers)
        )
        self.condition = weight_norm(nn.Conv1d(condition, 2 * channels * layers, 1)) if condition else None

    def forward(self, x: Tensor, mask: Tensor, g: Tensor | None = None) -> Tensor:
        """(batch, channels, time); ``g`` is (batch, condition, 1)."""
        channels = x.shape[1]
        given = None
        if self.condition is not None and g is not None:
            given = self.condition(g).split(2 * channels, 1)
        total = torch.zeros_like(x)
        for layer, (gate, output) in enumerate(zip(self.gates, self.outputs, strict=True)):
            a, b = (gate(x) if given is None else gate(x) + given[layer]).chunk(2, 1)
            y = output(torch.tanh(a) * torch.sigmoid(b))  # (batch, 2 * channels, time), or channels
            total = total + y[:, -channels:]
            if layer < len(self.outputs) - 1:
                x = (x + y[:, :channels]) * mask
        return total * mask


class Coupling(nn.Module):
    """One half of the channels is moved by what a WaveNet makes of the other (VITS, arXiv 2106.06103, 2.5.2).

    Nothing is scaled, so that the logarithm of the determinant is 0. The halves change places afterwards.
    """

    def __init__(self, channels: int, hidden: int, kernel: int, layers: int, condition: int = 0) -> None:
        super().__init__()
        self.before = nn.Conv1d(channels // 2, hidden, 1)
        self.network = WaveNet(hidden, kernel, layers, condition)
        self.after = nn.Conv1d(hidden, channels // 2, 1)
        nn.init.zeros_(self.after.weight)
        nn.init.zeros_(self.after.bias)  # type: ignore[arg-type]

    def _moved(self, x: Tensor, mask: Tensor, g: Tensor | None) -> Tensor:
        moved: Tensor = self.after(self.network(self.before(x) * mask, mask, g)) * mask
        return moved

    def forward(self, x: Tensor, mask: Tensor, g: Tensor | None = None) -> Tensor:
        """(batch, channels, time)."""
        a, b = x.chunk(2, 1)
        return torch.cat([a, b + self._moved(a, mask, g)], 1).flip(1)

    def inverse(self, y: Tensor, mask: Tensor, g: Tensor | None = None) -> Tensor:
        """What `forward` makes ``y`` of."""
        a, b = y.flip(1).chunk(2, 1)
        return torch.cat([a, b - self._moved(a, mask, g)], 1)


class Separable(nn.Module):
    """Residual dilated convolutions, first over time, then over channels (VITS, appendix B.1).

    Parameters
    ----------
    channels
        In and out.
    kernel, layers
        Of the convolutions over time; the dilation of layer ``i`` is ``kernel ** i``.
    dropout
        Chance of a value to drop out.
    """

    def __init__(self, channels: int, kernel: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()

        def block(dilation: int) -> nn.Sequential:
            over_time = nn.Conv1d(
                channels, channels, kernel, padding=kernel // 2 * dilation, dilation=dilation, groups=channels
            )
            over_channels = nn.Conv1d(channels, channels, 1)
            return nn.Sequential(
                over_time, Norm(channels), nn.GELU(), over_channels, Norm(channels), nn.GELU(),
                nn.Dropout(dropout),
            )  # fmt: skip

        self.blocks = nn.ModuleList(block(kernel**layer) for layer in range(layers))

    def forward(self, x: Tensor, mask: Tensor, g: Tensor | None = None) -> Tensor:
        """(batch, channels, time); ``g``, which is added, has that shape too."""
        if g is not None:
            x = x + g
        for block in self.blocks:
            x = x + block(x * mask)
        return x * mask


def spline(
    x: Tensor, widths: Tensor, heights: Tensor, slopes: Tensor, tail: float, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Monotone rational-quadratic splines (C. Durkan et al., "Neural spline flows", arXiv 1906.04032).

    Parameters
    ----------
    x
        Any shape.
    widths, heights
        Of the bins, (*x.shape, bins), before the softmax.
    slopes
        At the knots inside, (*x.shape, bins - 1), before the softplus; at the ends they are 1.
    tail
        The spline goes from (-tail, -tail) to (tail, tail); beyond, it is the identity.
    inverse
        Go from y to x.

    Returns
    -------
    y, and the logarithm of its derivative, both of the shape of ``x``; with ``inverse``, of the inverse.
    """
    bins = widths.shape[-1]

    def knots(sizes: Tensor) -> Tensor:
        shares = NARROWEST + (1 - NARROWEST * bins) * sizes.softmax(-1)
        inner = 2 * tail * shares.cumsum(-1)[..., :-1] - tail
        ends = torch.full_like(inner[..., :1], tail)
        return torch.cat([-ends, inner, ends], -1)  # (*x.shape, bins + 1)

    across, up = knots(widths), knots(heights)
    ones = torch.ones_like(x[..., None])
    slope = torch.cat([ones, FLATTEST + functional.softplus(slopes), ones], -1)
    inside = (x > -tail) & (x < tail)
    at = torch.where(inside, x, torch.zeros_like(x))
    place = (at[..., None] >= (up if inverse else across)[..., 1:-1]).long().sum(-1, keepdim=True)

    def here(values: Tensor, beside: int = 0) -> Tensor:
        return values.gather(-1, place + beside)[..., 0]

    left, low = here(across), here(up)
    width, height = here(across, 1) - left, here(up, 1) - low
    d0, d1 = here(slope), here(slope, 1)
    s = height / width
    bend = d0 + d1 - 2 * s
    if inverse:  # Equations 6 to 8
        above = at - low
        a = height * (s - d0) + above * bend
        b = height * d0 - above * bend
        c = -s * above
        xi = 2 * c / (-b - (b.square() - 4 * a * c).clamp_min(0).sqrt())
        y = left + xi * width
    else:
        xi = (at - left) / width
        y = low + height * (s * xi.square() + d0 * xi * (1 - xi)) / (s + bend * xi * (1 - xi))  # Equation 4
    # Equation 5
    rising = s.square() * (d1 * xi.square() + 2 * s * xi * (1 - xi) + d0 * (1 - xi).square())
    steepness = rising.log() - 2 * (s + bend * xi * (1 - xi)).log()
    zero = torch.zeros_like(steepness)
    return torch.where(inside, y, x), torch.where(inside, -steepness if inverse else steepness, zero)


class SplineCoupling(nn.Module):
    """Of two channels one is bent by splines, which depend on the other (VITS, appendix B.1)."""

    BINS, TAIL = 10, 5.0

    def __init__(self, hidden: int, kernel: int = 3, layers: int = 3) -> None:
        super().__init__()
        self.before = nn.Conv1d(1, hidden, 1)
        self.network = Separable(hidden, kernel, layers)
        self.after = nn.Conv1d(hidden, 3 * self.BINS - 1, 1)
        nn.init.zeros_(self.after.weight)
        nn.init.zeros_(self.after.bias)  # type: ignore[arg-type]

    def _bent(
        self, given: Tensor, x: Tensor, mask: Tensor, g: Tensor, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        found = self.after(self.network(self.before(given), mask, g))  # (batch, 3 * bins - 1, time)
        widths, heights, slopes = (
            found.transpose(1, 2)[:, None].float().split([self.BINS, self.BINS, self.BINS - 1], -1)
        )
        calmed = math.sqrt(self.before.out_channels)
        y, steepness = spline(x, widths / calmed, heights / calmed, slopes, self.TAIL, inverse)
        return y * mask, (steepness * mask).sum((1, 2))

    def forward(self, x: Tensor, mask: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 2, time), and the logarithm of the determinant, (batch,); ``g``: (batch, hidden, time)."""
        a, b = x.chunk(2, 1)
        y, steepness = self._bent(a, b, mask, g, False)
        return torch.cat([a, y], 1).flip(1), steepness

    def inverse(self, y: Tensor, mask: Tensor, g: Tensor) -> Tensor:
        """What `forward` makes ``y`` of."""
        a, b = y.flip(1).chunk(2, 1)
        return torch.cat([a, self._bent(a, b, mask, g, True)[0]], 1)


class Affine(nn.Module):
    """Each channel is scaled and moved."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean, self.log_scale = (nn.Parameter(torch.zeros(channels, 1)) for _ in range(2))

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, time), and the logarithm of the determinant, (batch,)."""
        return (self.mean + self.log_scale.exp() * x) * mask, (self.log_scale * mask).sum((1, 2))

    def inverse(self, y: Tensor, mask: Tensor) -> Tensor:
        """What `forward` makes ``y`` of."""
        return (y - self.mean) * (-self.log_scale).exp() * mask
