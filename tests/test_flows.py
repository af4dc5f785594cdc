"""Flows: inverses, determinants against numerical ones, monotone splines, masks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from export.models.flows import Affine, Coupling, Separable, SplineCoupling, WaveNet, spline

TAIL = 5.0


def shaken(network, seed=0):
    """With other weights than those it begins with, some of which are 0."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=random))
    return network.double().eval()


def flows():
    g = torch.randn(1, 6, 5, dtype=torch.float64)
    return [
        (shaken(Coupling(4, 6, 3, 2)), 4, ()),
        (shaken(Coupling(4, 6, 3, 2, condition=6)), 4, (g[..., :1],)),
        (shaken(SplineCoupling(6)), 2, (g,)),
        (shaken(Affine(2)), 2, ()),
    ]


@pytest.mark.parametrize("which", range(4))
def test_flows_invert_and_know_their_determinant(which):
    torch.manual_seed(1)
    flow, channels, more = flows()[which]
    x, mask = 1.5 * torch.randn(1, channels, 5, dtype=torch.float64), torch.ones(1, 1, 5, dtype=torch.float64)

    def outcome(flat):
        found = flow(flat.view(x.shape), mask, *more)
        return found if isinstance(found, tuple) else (found, torch.zeros(1))

    y, told = outcome(x.flatten())
    assert not torch.allclose(y, x)
    torch.testing.assert_close(flow.inverse(y, mask, *more), x, rtol=0, atol=1e-5)
    jacobian = torch.autograd.functional.jacobian(lambda flat: outcome(flat)[0].flatten(), x.flatten())
    assert told.item() == pytest.approx(np.linalg.slogdet(jacobian.numpy())[1], abs=1e-5)


@pytest.mark.parametrize("which", range(4))
def test_flows_leave_alone_what_is_masked(which):
    flow, channels, more = flows()[which]
    x = torch.randn(1, channels, 5, dtype=torch.float64)
    mask = torch.tensor([[[1.0, 1, 1, 0, 0]]], dtype=torch.float64)
    short = [g[..., :3] for g in more]
    alone = flow(x[..., :3], mask[..., :3], *short)
    other = torch.where(mask > 0, x, torch.full_like(x, 7.0)) * mask
    together = flow(other, mask, *more)
    if isinstance(alone, tuple):
        torch.testing.assert_close(together[1], alone[1])
        alone, together = alone[0], together[0]
    torch.testing.assert_close(together[..., :3], alone)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12), st.floats(0.1, 4.0))
def test_splines_rise_and_invert(seed, bins, size):
    random = torch.Generator().manual_seed(seed)
    widths, heights, slopes = (
        size * torch.randn(1, count, generator=random, dtype=torch.float64)
        for count in (bins, bins, bins - 1)
    )
    x = torch.linspace(-6, 6, 601, dtype=torch.float64)
    wide = [part.expand(len(x), -1) for part in (widths, heights, slopes)]
    y, steepness = spline(x, *wide, TAIL)
    assert torch.all(y.diff() > 0)
    assert torch.all(steepness.exp() > 0)
    beyond = x.abs() >= TAIL
    torch.testing.assert_close(y[beyond], x[beyond])
    assert torch.all(steepness[beyond] == 0)
    back, other = spline(y, *wide, TAIL, inverse=True)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-6)
    torch.testing.assert_close(other, -steepness, rtol=0, atol=1e-4)


def test_slope_of_splines_is_their_derivative():
    torch.manual_seed(0)
    parts = [torch.randn(200, count, dtype=torch.float64) for count in (10, 10, 9)]
    x = (10 * torch.rand(200, dtype=torch.float64) - 5).requires_grad_()
    y, steepness = spline(x, *parts, TAIL)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(steepness.exp(), slope)


def test_the_spline_that_all_zeros_make_is_the_identity_at_its_knots():
    x = torch.linspace(-5, 5, 11, dtype=torch.float64)
    y, _ = spline(x, *(torch.zeros(11, count, dtype=torch.float64) for count in (10, 10, 9)), TAIL)
    torch.testing.assert_close(y, x)


def test_wavenet_against_its_definition():
    torch.manual_seed(2)
    network = WaveNet(3, 5, 2, condition=2).double()
    x, g = torch.randn(1, 3, 9, dtype=torch.float64), torch.randn(1, 2, 1, dtype=torch.float64)
    given = network.condition(g)
    total, inner = 0, x
    for layer in range(2):
        h = network.gates[layer](inner) + given[:, 6 * layer : 6 * layer + 6]
        y = network.outputs[layer](torch.tanh(h[:, :3]) * torch.sigmoid(h[:, 3:]))
        if layer == 0:
            inner, total = inner + y[:, :3], total + y[:, 3:]
        else:
            total = total + y
    torch.testing.assert_close(network(x, torch.ones(1, 1, 9, dtype=torch.float64), g), total)


def test_separable_convolutions_reach_as_far_as_their_dilations_say():
    network = Separable(4, 3, 3).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.5)
    x, mask = torch.randn(1, 4, 61), torch.ones(1, 1, 61)
    other = x.clone()
    other[:, :, 30] += 1
    changed = (network(x, mask) != network(other, mask)).any(1)[0].nonzero().flatten()
    assert (changed.min(), changed.max()) == (30 - 13, 30 + 13)  # 1 + 3 + 9


def test_a_coupling_begins_as_a_flip():
    flow = Coupling(6, 4, 3, 2)
    x = torch.randn(2, 6, 5)
    torch.testing.assert_close(flow(x, torch.ones(2, 1, 5)), x.flip(1))
    assert isinstance(flow.after, nn.Conv1d)
