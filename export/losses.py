"""Losses of adversarial training: Wasserstein with gradient penalty, and least squares."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Critic = Callable[[Tensor, Tensor], Tensor]
"""Scores (batch,) of (clean or enhanced, noisy)."""


def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """Loss of the critic from its scores (batch,): E[D(fake)] - E[D(real)].

    M. Arjovsky, S. Chintala, L. Bottou, "Wasserstein GAN", 2017. The enhancement paper prints the opposite
    sign in its equation 1, with which the critic would help the generator of its equation 2.
    """
    return fake.mean() - real.mean()


def wasserstein_generator(fake: Tensor) -> Tensor:
    """Loss of the generator: -E[D(fake)], the first term of the paper's equation 2."""
    return -fake.mean()


def least_squares_critic(real: Tensor, fake: Tensor) -> Tensor:
    """(E[(D(real) - 1)^2] + E[D(fake)^2]) / 2: SEGAN's equation 4."""
    return 0.5 * ((real - 1).square().mean() + fake.square().mean())


def least_squares_generator(fake: Tensor) -> Tensor:
    """E[(D(fake) - 1)^2] / 2: the first term of SEGAN's equation 5."""
    return 0.5 * (fake - 1).square().mean()


def gradient_penalty(critic: Critic, clean: Tensor, enhanced: Tensor, noisy: Tensor, at: Tensor) -> Tensor:
    """E[(|grad D| - 1)^2] on lines between clean and enhanced speech, the last term of equation 1.

    I. Gulrajani et al., "Improved Training of Wasserstein GANs", NIPS 2017, equation 3. Only the speech
    channel is interpolated and differentiated: the noisy one is the condition and stays.

    Parameters
    ----------
    critic
        D.
    clean, enhanced, noisy
        (batch, samples); no gradient flows into enhanced.
    at
        (batch, 1), from 0 (enhanced) to 1 (clean): where on the line.
    """
    between = (at * clean + (1 - at) * enhanced.detach()).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(between, noisy).sum(), between, create_graph=True)
    penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return penalty
