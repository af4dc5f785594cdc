"""HiFi-GAN: sizes, what depends on what, weights with and without norms, discriminators, losses."""

import math

import pytest
import torch
from torch.nn import functional

from export.models.hifigan import (
    V1,
    V2,
    V3,
    Discriminators,
    Generator,
    Shape,
    discriminator_loss,
    feature_loss,
    folded,
    generator_loss,
)
from rtaudio.errors import UserError

SMALL = Shape(16, (4, 2), (3, 5), ((1, 2), (1, 3)), "2")


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def parameters(network):
    """Without the norms' own."""
    return sum(p.numel() for name, p in network.named_parameters() if not name.endswith("original0"))


@pytest.mark.parametrize(("shape", "millions"), [(V1, 13.93), (V2, 0.93), (V3, 1.46)])
def test_sizes_are_those_of_the_paper(shape, millions):
    with torch.device("meta"):
        network = Generator(80, shape)
    assert round(parameters(network) / 1e6, 2) == millions
    assert network.hop == 256


@pytest.mark.parametrize(("shape", "frames"), [(V1, 12.6), (V3, 10.1)])
def test_overlap_is_how_far_the_samples_of_a_frame_reach(shape, frames):
    """By the gradient, which is zero where there is no way; how many channels does not matter."""
    torch.manual_seed(1)
    network = folded(
        Generator(1, Shape(16, shape.rates, shape.kernels, shape.dilations, shape.kind)).double()
    )
    middle, count = 20, 41
    x = noise(1, 1, count, dtype=torch.float64).requires_grad_()
    samples = network(x)[0, 0, middle * network.hop : (middle + 1) * network.hop]
    (samples * noise(network.hop, seed=1, dtype=torch.float64)).sum().backward()
    reached = [abs(int(frame) - middle) for frame in x.grad[0, 0].nonzero()]
    assert network.overlap == max(reached) == math.ceil(frames)


def test_a_chunk_with_its_overlap_is_as_of_the_whole():
    torch.manual_seed(2)
    network = folded(Generator(3, SMALL).double())
    x, hop, around = noise(1, 3, 60, dtype=torch.float64), network.hop, network.overlap
    with torch.no_grad():
        whole, chunk = network(x), network(x[:, :, 20 - around : 30 + around])
        short = network(x[:, :, 20 - around + 1 : 30 + around])
    want = whole[:, :, 20 * hop : 30 * hop]
    torch.testing.assert_close(chunk[:, :, around * hop :][:, :, : 10 * hop], want, rtol=0, atol=1e-13)
    assert not torch.equal(short[:, :, (around - 1) * hop :][:, :, : 10 * hop], want)


@pytest.mark.parametrize("condition", [0, 4])
def test_folded_is_the_same_without_norms(condition):
    torch.manual_seed(3)
    network = Generator(5, SMALL, condition)
    for parameter in network.parameters():  # as training leaves them: no longer the norm of the weights
        parameter.data.mul_(1.2).add_(0.01)
    x, g = noise(2, 5, 11), noise(2, condition, 1, seed=1) if condition else None
    plain = folded(network)
    found = network(x, g)
    assert found.shape == (2, 1, 11 * 8)
    assert found.abs().max() <= 1
    torch.testing.assert_close(plain(x, g), found)
    assert parameters(plain) == parameters(network) == sum(p.numel() for p in plain.parameters())
    if condition:
        assert not torch.equal(network(x, g + 1), found)


def test_residual_branches_of_either_kind_have_as_many_convolutions_as_they_say():
    one, two = (Generator(1, Shape(8, (2,), (3,), ((1, 2, 4),), kind)) for kind in "12")
    assert parameters(one) - parameters(two) == 3 * (4 * 4 * 3 + 4)


@pytest.mark.parametrize(
    "wrong",
    [{"rates": (3,)}, {"channels": 24}, {"kernels": (4,)}, {"dilations": ((1,),)}, {"kind": "3"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_shapes_that_cannot_be_are_refused(wrong):
    with pytest.raises(UserError, match=f"^{next(iter(wrong))} = "):
        Shape(**wrong)


# ------------------------------------------------------------------------------------------ discriminators


def layers(judged):
    return [[tuple(feature.shape[1:]) for feature in features] for _, features in judged]


def test_discriminators_have_the_layers_of_the_paper():
    with torch.device("meta"):
        network = Discriminators()
        judged = network(torch.empty(2, 1, 8192))
    assert len(judged) == 8
    for period, found in zip((2, 3, 5, 7, 11), layers(judged), strict=False):
        rows = [-(-8192 // period)]
        for stride in (3, 3, 3, 3, 1, 1):
            rows.append(-(-rows[-1] // stride))
        channels = (32, 128, 512, 1024, 1024, 1)
        assert found == [(count, n, period) for count, n in zip(channels, rows[1:], strict=True)]
    for samples, found in zip((8192, 4097, 2049), layers(judged)[5:], strict=True):  # 4 taps, 2 zeros around
        lengths = [samples]
        for stride in (1, 2, 2, 4, 4, 1, 1, 1):
            lengths.append(-(-lengths[-1] // stride))
        channels = (128, 128, 256, 512, 1024, 1024, 1024, 1)
        assert found == list(zip(channels, lengths[1:], strict=True))
    assert all(score.dim() == 2 for score, _ in judged)
    # The programs of the paper's authors have 70.7 million: 41.1 by period, 29.6 by scale.
    assert round(parameters(network.periods) / 1e6, 1) == 41.1
    assert round(parameters(network.scales) / 1e6, 1) == 29.6


def test_narrow_discriminators_have_a_part_of_the_channels():
    network = Discriminators((2, 3), 1, 0.125)
    assert [features[-2].shape[1] for _, features in network(noise(1, 1, 600))] == [128, 128, 128]
    assert not any("_u" in name for name, _ in network.named_buffers())
    assert any("_u" in name for name, _ in Discriminators((), 2, 0.125).named_buffers())


def test_a_period_is_judged_on_its_own():
    """What one of ``period`` interleaved signals is changes its own column only."""
    (network,) = Discriminators((3,), 0, 0.125).periods
    x = noise(1, 1, 300)
    y = x.clone()
    y[0, 0, 1::3] += 1.0
    changed = [
        (a != b).any(dim=(0, 1, 2)).tolist() for a, b in zip(network(x)[1], network(y)[1], strict=True)
    ]
    assert changed == [[False, True, False]] * 6


def test_wrong_widths_are_refused():
    for wrong in (0.1, 0.0, 8.0):
        with pytest.raises(UserError, match="width"):
            Discriminators(width=wrong)
    with pytest.raises(UserError, match="one discriminator"):
        Discriminators((), 0)


# -------------------------------------------------------------------------------------------------- losses


def judged(*scores):
    return [(torch.full((2, 3), score), [torch.full((2, 4, 5), score), torch.ones(2, 1)]) for score in scores]


def test_losses_in_closed_form():
    real, fake = judged(0.5, 1.0), judged(0.25, -1.0)
    assert discriminator_loss(real, fake).item() == pytest.approx(0.5**2 + 0.25**2 + 0 + 1)
    assert generator_loss(fake).item() == pytest.approx(0.75**2 + 2**2)
    assert feature_loss(real, fake).item() == pytest.approx(2 * (0.25 + 2.0))
    assert discriminator_loss(judged(1.0), judged(0.0)).item() == 0
    assert generator_loss(judged(1.0)).item() == 0


def test_features_pull_only_what_is_made():
    real, made = noise(2, 3).requires_grad_(), noise(2, 3, seed=1).requires_grad_()
    feature_loss([(real, [real])], [(made, [made])]).backward()
    assert real.grad is None
    torch.testing.assert_close(made.grad, 2 * torch.sign(made - real).detach() / 6)


def test_generator_learns_a_tone_from_its_losses():
    """A few steps of the game on one sound: finite, and the generator comes nearer."""
    torch.manual_seed(4)
    network, critics = Generator(2, SMALL), Discriminators((2,), 1, 0.125)
    x, target = noise(1, 2, 64), torch.sin(torch.arange(512) * 0.2)[None, None]
    adam = [torch.optim.AdamW(part.parameters(), 5e-3, (0.8, 0.99)) for part in (network, critics)]
    errors = []
    for _ in range(30):
        made = network(x)
        adam[1].zero_grad()
        discriminator_loss(critics(target), critics(made.detach())).backward()
        adam[1].step()
        fake = critics(made)
        error = functional.l1_loss(made, target)
        adam[0].zero_grad()
        (generator_loss(fake) + feature_loss(critics(target), fake) + 45 * error).backward()
        adam[0].step()
        errors.append(error.item())
    assert all(map(math.isfinite, errors))
    assert errors[-1] < 0.8 * errors[0]
