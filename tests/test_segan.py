"""The paper's networks: sizes, shapes, gates, and the losses they are trained with."""

import numpy as np
import pytest
import torch
from torch import nn

from export import losses
from export.models.segan import CHUNK, DEPTHS, STEPS, Discriminator, Generator, Layer, Model
from rtaudio.errors import UserError


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def counted(model):
    """Parameters of generator and critic, summed by hand from the paper's section 3."""
    gates = 2 if model.activation == "glu" else 1
    slopes = 0 if model.activation == "glu" else 1
    depths = [int(depth * model.width) for depth in DEPTHS]

    def encoder(channels):
        return sum(
            (31 * i + 1) * gates * o + slopes * o
            for i, o in zip([channels, *depths[:-1]], depths, strict=True)
        )

    decoder = sum(
        (31 * 2 * i + 1) * gates * o + slopes * o for i, o in zip(depths[:0:-1], depths[-2::-1], strict=True)
    )
    last = 31 * 2 * depths[0] + 1
    return encoder(1) + decoder + last, encoder(2) + depths[-1] + 1 + STEPS + 1


@pytest.mark.parametrize("activation", ["glu", "prelu"])
@pytest.mark.parametrize("width", [1 / 16, 1 / 4, 1 / 2, 1])
def test_sizes(width, activation):
    model = Model(width, activation)
    with torch.device("meta"):
        found = parameters(Generator(model)), parameters(Discriminator(model))
    assert found == counted(model)
    if width == 1:  # as the design has them, in millions
        assert [round(count / 1e6) for count in found] == ([146, 49] if activation == "glu" else [73, 24])


def test_bottleneck_is_eight_steps_of_1024():
    assert (CHUNK, STEPS) == (16_384, 8)
    with torch.device("meta"):
        assert Generator(Model()).latent == (1024, 8)


@pytest.mark.parametrize("activation", ["glu", "prelu"])
def test_shapes(activation):
    model = Model(1 / 16, activation)
    generator, critic = Generator(model), Discriminator(model)
    noisy = torch.randn(3, CHUNK)
    enhanced = generator(noisy, torch.rand(3, *generator.latent))
    assert enhanced.shape == noisy.shape
    assert critic(enhanced, noisy).shape == (3,)


def test_layer_is_equation_3():
    layer = Layer(2, 5, "glu")
    x = torch.randn(1, 2, 64)
    weight, bias = layer.convolution.weight, layer.convolution.bias
    w, v = (
        nn.functional.conv1d(x, weight[half], bias[half], 2, 15) for half in (slice(None, 5), slice(5, None))
    )
    torch.testing.assert_close(layer(x), w * torch.sigmoid(v))


def test_decoder_hears_the_encoder_and_the_latent():
    """What the output depends on: the latent, and the input by way of the first layer alone."""
    generator = Generator(Model(1 / 16))
    noisy, z = torch.randn(1, CHUNK), torch.rand(1, *generator.latent)
    before = generator(noisy, z)
    assert not torch.equal(generator(noisy, z + 0.5), before)
    with torch.no_grad():
        for parameter in generator.encoder[1:].parameters():
            parameter.zero_()
    cut = generator(noisy, z)
    noisy[0, 8000] += 1.0
    moved = (generator(noisy, z) - cut).abs().nonzero()[:, 1]
    # Down by two in one layer of width 31 and up again: an input sample reaches 30 samples to each side.
    assert 7_970 <= moved.min() < moved.max() <= 8_030


def test_residual_generator_begins_as_nothing():
    generator = Generator(Model(1 / 16, residual=True))
    noisy = torch.randn(2, CHUNK)
    torch.testing.assert_close(generator(noisy, torch.rand(2, *generator.latent)), noisy)


@pytest.mark.parametrize(("width", "activation"), [(0.3, "glu"), (2.0, "glu"), (0.25, "relu")])
def test_wrong_models_are_refused(width, activation):
    with pytest.raises(UserError, match="model"):
        Model(width, activation)


# ------------------------------------------------------------------------------------------ losses


def test_critic_and_generator_pull_apart():
    """The sign that the paper's equation 1 has wrong: the critic's loss falls where the generator's rises."""
    real, fake = torch.tensor([0.3, 0.9]), torch.tensor([0.2, -0.4], requires_grad=True)
    losses.wasserstein_critic(real, fake).backward()
    of_critic = fake.grad.clone()
    fake.grad = None
    losses.wasserstein_generator(fake).backward()
    assert torch.all(of_critic > 0)
    torch.testing.assert_close(fake.grad, -of_critic)
    assert losses.wasserstein_critic(real, fake).item() == pytest.approx(-0.1 - 0.6)


def test_least_squares():
    real, fake = torch.tensor([0.5, 1.0]), torch.tensor([0.0, 2.0])
    assert losses.least_squares_critic(real, fake).item() == pytest.approx(0.5 * (0.125 + 2.0))
    assert losses.least_squares_generator(fake).item() == pytest.approx(0.5 * 1.0)


def test_penalty_in_closed_form():
    """D(x, n) = a.x + b.n^2: the slope along the speech is a anywhere, whatever the noisy channel has."""
    a = torch.randn(10, dtype=torch.float64)

    def critic(speech, noisy):
        return speech @ a + (noisy**2).sum(1) * 7.0

    clean, enhanced, noisy = torch.randn(3, 4, 10, dtype=torch.float64)
    found = losses.gradient_penalty(critic, clean, enhanced, noisy, torch.rand(4, 1, dtype=torch.float64))
    assert found.item() == pytest.approx((a.norm().item() - 1) ** 2)


def test_penalty_is_taken_between_clean_and_enhanced():
    """D(x) = |x|^2 / 2 has the slope x, so the penalty tells where it was taken."""
    clean, enhanced = torch.randn(2, 4, 10, dtype=torch.float64)
    at = torch.tensor([[0.0], [0.25], [0.5], [1.0]], dtype=torch.float64)

    def critic(speech, _):
        return 0.5 * (speech**2).sum(1)

    found = losses.gradient_penalty(critic, clean, enhanced, clean, at)
    points = at * clean + (1 - at) * enhanced
    assert found.item() == pytest.approx(np.mean([(p.norm().item() - 1) ** 2 for p in points]))


def test_penalty_trains_the_critic_alone():
    weight = torch.randn(10, requires_grad=True)
    enhanced = torch.randn(4, 10, requires_grad=True)
    losses.gradient_penalty(
        lambda x, _: x @ weight, torch.randn(4, 10), enhanced, enhanced, torch.rand(4, 1)
    ).backward()
    expected = 2 * (weight.norm() - 1) * weight / weight.norm()
    torch.testing.assert_close(weight.grad, expected)
    assert enhanced.grad is None
