"""The Gumbel-softmax, by hand."""

import numpy as np
import torch

from tuners.gumbel_softmax import gumbel_softmax, probabilities

KEPT = torch.tensor([[True, True, True], [True, False, True]])


def test_weights_are_the_softmax_of_noisy_logits_over_the_temperature() -> None:
    theta = torch.tensor([[0.0, 1.0, -1.0], [2.0, 9.0, 0.5]])
    noise = np.random.default_rng(4).gumbel(size=(2, 3))
    powers = np.exp((theta.numpy() + noise) / 0.7) * KEPT.numpy()
    weights = gumbel_softmax(theta, 0.7, KEPT, np.random.default_rng(4))
    np.testing.assert_allclose(weights.numpy(), powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)


def test_options_are_drawn_with_the_probabilities_of_theta_at_a_low_temperature() -> None:
    theta = torch.tensor([0.0, 1.0, -1.0]).repeat(20_000, 1)
    weights = gumbel_softmax(theta, 0.01, torch.ones(1, 3, dtype=torch.bool), np.random.default_rng(0))
    shares = torch.bincount(weights.argmax(dim=1), minlength=3) / 20_000
    torch.testing.assert_close(shares, probabilities(theta, 1.0, torch.tensor(True))[0], atol=0.01, rtol=0)
