"""Convolutions of 8-bit integers: what they will round is rounded while they are trained, and ONNX Runtime
computes them as integers.

R. Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", arXiv 1806.08342: affine
numbers for what goes through a layer (2.1), symmetric ones for each output channel of its weights (2.2, 2.4),
rounding that gradients pass straight through (2.5), running ranges (3.2).

What a layer takes and gives is of 0 to 255. Weights are of -63 to 63, 7 bits: processors without VNNI add two
products in 16 bits, which larger weights overflow, and nobody is told. All sums are exact, so the sound of
given frames does not depend on how many there are at a time, nor on what computes it.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn import functional

from rtaudio.errors import UserError

HIGHEST, WEIGHT = 255, 63
"""Of the integers that go through a layer, and of its weights, which are as low below 0."""
EXACT = 2.0**23
"""Half of the integers that float32 has exactly."""
PAST = 0.99
"""Weight of the past in the running ranges, once there is one."""
LEAST = 2.0**-60
"""Smallest step."""


# ------------------------------------------------------------------------------------------- in training


class Range(nn.Module):
    """Rounds to 256 steps between the lowest and the highest value that it has seen, 0 among them.

    These are running means over batches. Gradients go through what is inside, as if it were not rounded; no
    gradient goes to what is outside. Before it has seen anything it only looks.
    """

    ends: Tensor
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ends", torch.zeros(2))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to float32 of the same."""
        if self.training:
            self._see(x.detach())
        elif not self.seen:
            return x
        scale, zero = self.steps()
        return torch.fake_quantize_per_tensor_affine(x.float(), scale, zero, 0, HIGHEST)

    def steps(self) -> tuple[Tensor, Tensor]:
        """The size of a step, float32 (), and the integer that stands for 0, int32 ()."""
        scale = ((self.ends[1] - self.ends[0]) / HIGHEST).clamp_min(LEAST)
        return scale, (-self.ends[0] / scale).round().clamp(0, HIGHEST).int()

    def _see(self, x: Tensor) -> None:
        low, high = x.aminmax()
        outer = torch.stack([-low, high]).float().clamp_min(0)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(outer, torch.distributed.ReduceOp.MAX)
        ends = outer * outer.new_tensor([-1, 1])
        past = (self.seen / (self.seen + 1)).clamp_max(PAST)
        # Of a step that is not finite, which moves no weights either, nothing is learned.
        self.ends.lerp_(torch.where(ends.isfinite(), ends, self.ends), 1 - past)
        self.seen += 1

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *more: Any) -> None:
        """As any module; but weights of a network without ranges are welcome: they begin anew."""
        if any(name.startswith(prefix) for name in state_dict):
            super()._load_from_state_dict(state_dict, prefix, *more)


def rounded(weight: Tensor, scales: Tensor, axis: int) -> Tensor:
    """Weights as multiples of a scale for each place on an axis, for the gradient as if not rounded."""
    zeros = torch.zeros_like(scales, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight.float(), scales, zeros, axis, -WEIGHT, WEIGHT)


class Conv1d(nn.Conv1d):
    """A convolution, of one group, that takes, gives and multiplies with integers of 8 bits."""

    def __init__(self, *sizes: Any, **more: Any) -> None:
        super().__init__(*sizes, **more)
        self.taken, self.given = Range(), Range()

    def scales(self, weight: Tensor) -> Tensor:
        """Steps of the weights of each output channel, (outputs,)."""
        return weight.detach().float().abs().amax((1, 2)).clamp_min(LEAST) / WEIGHT

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, n) to (batch, outputs, n), float32."""
        weight = self.weight  # What is normalised is computed each time that it is asked for.
        y = self._conv_forward(self.taken(x), rounded(weight, self.scales(weight), 0), self.bias)
        found: Tensor = self.given(y)
        return found


class ConvTranspose1d(nn.ConvTranspose1d):
    """A transposed convolution that takes and multiplies with integers, and gives any number.

    ONNX Runtime has none of integers. It computes this one in floating point, of integers that are small
    enough for every sum to be exact, in whichever order it adds. The kernel is a multiple of the stride.
    """

    def __init__(self, *sizes: Any, **more: Any) -> None:
        super().__init__(*sizes, **more)
        self.taken = Range()

    def scales(self, weight: Tensor) -> Tensor:
        """Steps of the weights of each output channel, (outputs,): larger where sums could be inexact."""
        size = weight.detach().float().abs()
        each = size.view(*size.shape[:2], -1, self.stride[0])  # (inputs, outputs, taps of a sample, samples)
        added = each.sum((0, 2)).amax(1) * (HIGHEST / EXACT)
        return torch.maximum(size.amax((0, 2)) / WEIGHT, added).clamp_min(LEAST)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(batch, inputs, n) to (batch, outputs, n * stride)."""
        weight = self.weight
        weight = rounded(weight, self.scales(weight), 1)
        padding = cast("tuple[int, ...]", self.padding)
        return functional.conv_transpose1d(self.taken(x), weight, self.bias, self.stride, padding)


# ---------------------------------------------------------------------------------------------- exported


class _Rounding:
    """The steps of a range, which do not change any more."""

    def __init__(self, range_: Range, name: str) -> None:
        if not range_.seen:
            raise UserError(f"the layer {name} has not been trained with int8 yet: train it")
        scale, zero = range_.steps()
        self.scale, self.zero = scale.detach().clone(), int(zero)

    def integers(self, x: Tensor) -> Tensor:
        """0 to `HIGHEST`, float32."""
        return ((x / self.scale).round() + self.zero).clamp(0, HIGHEST)

    def constants(self, g: Any) -> tuple[Any, Any]:
        """Scale and zero in a graph."""
        zero = torch.tensor(self.zero, dtype=torch.uint8)
        return g.op("Constant", value_t=self.scale), g.op("Constant", value_t=zero)


def _constant(g: Any, value: Tensor) -> Any:
    return g.op("Constant", value_t=value)


class _Convolution(torch.autograd.Function):
    """A convolution as ONNX Runtime computes it: sums of integers, scaled once and rounded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, layer: Any) -> Tensor:
        q = layer.taken.integers(x) - layer.taken.zero
        sums = functional.conv1d(
            q.double(), weight.double(), bias.double(), layer.stride, layer.padding, layer.dilation
        )
        given = layer.given
        y = (sums.float() * (layer.steps / given.scale)[:, None]).round() + given.zero
        return (y.clamp(0, HIGHEST) - given.zero) * given.scale  # type: ignore[no-any-return]

    @staticmethod
    def symbolic(g: Any, x: Any, weight: Any, bias: Any, layer: Any) -> Any:
        """Conv between DequantizeLinear and QuantizeLinear, which ONNX Runtime makes one QLinearConv of."""
        taken, given = layer.taken.constants(g), layer.given.constants(g)
        x = g.op("DequantizeLinear", g.op("QuantizeLinear", x, *taken), *taken)
        zeros = torch.zeros(len(layer.scales), dtype=torch.int32)
        w = g.op("DequantizeLinear", weight, _constant(g, layer.scales), _constant(g, zeros.char()), axis_i=0)
        b = g.op("DequantizeLinear", bias, _constant(g, layer.steps), _constant(g, zeros), axis_i=0)
        y = g.op(
            "Conv", x, w, b, dilations_i=layer.dilation, kernel_shape_i=weight.type().sizes()[2:],
            pads_i=2 * layer.padding, strides_i=layer.stride,
        )  # fmt: skip
        return g.op("DequantizeLinear", g.op("QuantizeLinear", y, *given), *given)


class _Transposed(torch.autograd.Function):
    """A transposed convolution of integers in floating point, scaled once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, layer: Any) -> Tensor:
        q = layer.taken.integers(x) - layer.taken.zero
        sums = functional.conv_transpose1d(q, weight.float(), bias.float(), layer.stride, layer.padding)
        return sums * layer.steps[:, None]  # type: ignore[no-any-return]

    @staticmethod
    def symbolic(g: Any, x: Any, weight: Any, bias: Any, layer: Any) -> Any:
        """ConvTranspose behind QuantizeLinear and a DequantizeLinear of scale 1."""
        scale, zero = layer.taken.constants(g)
        x = g.op(
            "DequantizeLinear", g.op("QuantizeLinear", x, scale, zero), _constant(g, torch.ones(())), zero
        )
        # Without Identity torch would compute Cast at once: four times the size.
        w, b = (g.op("Cast", g.op("Identity", each), to_i=1) for each in (weight, bias))
        sums = g.op(
            "ConvTranspose", x, w, b, kernel_shape_i=weight.type().sizes()[2:], pads_i=2 * layer.padding,
            strides_i=layer.stride,
        )  # fmt: skip
        return g.op("Mul", sums, _constant(g, layer.steps[:, None]))


class Frozen(nn.Module):
    """A `Conv1d` or `ConvTranspose1d` that learns no more: integers, and the steps that they are of.

    torch computes exactly what ONNX Runtime does.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: Conv1d | ConvTranspose1d, name: str) -> None:
        super().__init__()
        self.stride, self.padding, self.dilation = layer.stride, layer.padding, layer.dilation
        self.taken = _Rounding(layer.taken, name)
        self.given = _Rounding(layer.given, name) if isinstance(layer, Conv1d) else None
        self.scales = layer.scales(layer.weight)
        self.steps = self.taken.scale * self.scales
        """Of the sums, for each output channel."""
        shape = (-1, 1, 1) if isinstance(layer, Conv1d) else (-1, 1)
        integers = (layer.weight.detach().float() / self.scales.view(shape)).round().clamp(-WEIGHT, WEIGHT)
        self.register_buffer("weight", integers.char())
        bias = layer.weight.new_zeros(len(self.scales)) if layer.bias is None else layer.bias.detach()
        most = EXACT if self.given is None else 2.0**30
        self.register_buffer("bias", (bias.float() / self.steps).round().clamp(-most, most).int())

    def forward(self, x: Tensor) -> Tensor:
        """See the layers."""
        kind = _Transposed if self.given is None else _Convolution
        found: Tensor = kind.apply(x, self.weight, self.bias, self)  # type: ignore[no-untyped-call]
        return found


def frozen(network: nn.Module) -> nn.Module:
    """A copy whose layers of integers learn no more: for export.

    Parameters
    ----------
    network
        Without normalised weights, see `export.models.hifigan.folded`; on the CPU.

    Raises
    ------
    UserError
        Such a layer has not seen a batch.
    """
    network = copy.deepcopy(network)
    layers = {name: x for name, x in network.named_modules() if isinstance(x, (Conv1d, ConvTranspose1d))}
    for name, layer in layers.items():
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, Frozen(layer, name))
    return network
