"""From architecture parameters to an architecture, or a mixture of them: A of HourNAS equation 4."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from tuners.hour_nas.proposals import probabilities

Sampling = Literal["gumbel-max", "gumbel-softmax", "softmax"]


def sample(theta: Tensor, temperature: float, kept: Tensor, how: Sampling, generator: np.random.Generator) -> Tensor:
    """Rows that sum to 1, from which a gradient flows back to theta.

    Gumbel-Max gives one-hot rows, drawn with the probabilities softmax(theta / temperature); their gradient is that of
    the Gumbel-softmax with the same noise (straight-through). Softmax draws nothing.

    Args:
        theta: shape (..., choices, options).
        kept: which options survive, bool of shape (choices, options).
        generator: the same on every worker, so that all draw the same.

    Returns:
        theta's shape.
    """
    if how == "softmax":
        return probabilities(theta, temperature, kept)
    noise = torch.from_numpy(generator.gumbel(size=tuple(theta.shape))).to(theta)
    soft = probabilities(theta + temperature * noise, temperature, kept)
    if how == "gumbel-softmax":
        return soft
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
    return hard + soft - soft.detach()
