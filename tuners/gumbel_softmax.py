"""The Gumbel-softmax: relaxed draws of options, from which a gradient flows back to the logits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np


def probabilities(theta: Tensor, temperature: float, surviving: Tensor) -> Tensor:
    """Return each choice's softmax(theta / temperature); pruned options have 0.

    Args:
        theta: shape (..., choices, options).
        surviving: which options survive, bool of shape (choices, options).
    """
    return torch.softmax((theta / temperature).masked_fill(~surviving, -math.inf), dim=-1)


def gumbel_noise(theta: Tensor, generator: np.random.Generator) -> Tensor:
    """Return standard Gumbel noise of theta's shape, type and device.

    Args:
        generator: in the same state on every worker, so that all workers draw equal noise.
    """
    return torch.from_numpy(generator.gumbel(size=tuple(theta.shape))).to(theta)


def gumbel_softmax(theta: Tensor, temperature: float, surviving: Tensor, generator: np.random.Generator) -> Tensor:
    """Return softmax((theta + Gumbel noise) / temperature); arguments as of `probabilities` and `gumbel_noise`.

    A falling temperature turns mixtures into single options, drawn with the probabilities softmax(theta).
    """
    return probabilities(theta + gumbel_noise(theta, generator), temperature, surviving)
