"""Distributions over the architectures of a space: joint, factorised, and the exact step from the one to the other.

A distribution is a product of independent factors (FP-NAS equation 2), each a table of logits over all that its choices
can be together. Where every choice is a factor of its own the distribution is factorised (equation 5), where the
choices of a layer make one factor it is joint: both are the same mathematics over another partition of the choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import prod
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces.errors import UserError

if TYPE_CHECKING:
    from search_spaces import SearchSpace

Kind = Literal["joint", "factorised"]
MOST_COMBINATIONS = 1_000_000
"""Of one factor: what its choices can be together."""


def factors_of(space: SearchSpace, kind: Kind) -> Factors:
    """The factors of a distribution over what is left of a space; a layer is a group of choices.

    That is a row or a block of FP-NAS's spaces and a stage of others.

    Raises:
        UserError: if the choices of a layer can be too much together for a table.
    """
    positions = range(len(space.choices))
    if kind == "factorised":
        return Factors(space.values(), [(position,) for position in positions])
    layers = [tuple(layer) for _, layer in groupby(positions, lambda position: space.choices[position].group)]
    values = space.values()
    for layer in layers:
        if prod(len(values[position]) for position in layer) > MOST_COMBINATIONS:
            group = space.choices[layer[0]].group
            raise UserError(
                f"A joint distribution over the choices of {group} of {space.name} has too many parameters: use a "
                "factorised one."
            )
    return Factors(values, layers)


class Factors(nn.Module):
    """A partition of a space's choices into factors, and distributions over it, each given by its logits.

    Logits have the shape (factors, most combinations of a factor); beyond a factor's combinations they do not count.
    Architectures are option indices (architectures, choices).

    Attributes:
        sizes: how many combinations each factor has; their sum is the number of parameters.
    """

    kept: Tensor
    places: Tensor
    strides: Tensor
    factor: Tensor
    counts: Tensor
    real: Tensor

    def __init__(self, values: Sequence[Sequence[int]], parts: Sequence[Sequence[int]]) -> None:
        """`values` is what each choice can be; `parts` are the positions of each factor's choices."""
        super().__init__()
        counts = torch.tensor([len(each) for each in values])
        kept = torch.zeros(len(values), int(counts.max()), dtype=torch.int64)
        places = torch.zeros(len(values), 1 + max(map(max, values)), dtype=torch.int64)
        for choice, each in enumerate(values):
            kept[choice, : len(each)] = torch.tensor(each)
            places[choice, list(each)] = torch.arange(len(each))
        strides = torch.ones(len(values), dtype=torch.int64)
        factor = torch.zeros(len(values), dtype=torch.int64)
        for number, part in enumerate(parts):
            for position, choice in enumerate(part):
                strides[choice] = prod(int(counts[later]) for later in part[position + 1 :])
                factor[choice] = number
        self.sizes = tuple(prod(int(counts[choice]) for choice in part) for part in parts)
        real = torch.arange(max(self.sizes)) < torch.tensor(self.sizes)[:, None]
        tensors = {"kept": kept, "places": places, "strides": strides, "factor": factor, "counts": counts, "real": real}
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)

    def uniform(self) -> Tensor:
        """The logits of the distribution that favours nothing."""
        return torch.zeros(self.real.shape, device=self.real.device)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Of each factor's combinations, shape (factors, most combinations); -inf beyond them."""
        return torch.log_softmax(logits.masked_fill(~self.real, -torch.inf), dim=1)

    def log_probability(self, logits: Tensor, indices: Tensor) -> Tensor:
        """log P(A) of each architecture (equations 2 and 5), shape (architectures,)."""
        factors = torch.arange(len(self.sizes), device=logits.device)
        each: Tensor = self.log_probabilities(logits)[factors, self.combinations(indices)]
        return each.sum(dim=1)

    def sample(self, logits: Tensor, count: int, generator: np.random.Generator) -> Tensor:
        """`count` architectures, drawn independently."""
        uniform = torch.from_numpy(generator.random((count, len(self.sizes)))).to(logits.device)
        below = self.log_probabilities(logits.detach().double()).exp().cumsum(dim=1)
        drawn = torch.searchsorted(below, uniform.T.contiguous(), right=True).T
        return self.indices(drawn.clamp(max=torch.tensor(self.sizes, device=drawn.device) - 1))

    def entropy(self, logits: Tensor) -> Tensor:
        """H(P) in nats: the sum of the factors' entropies."""
        entropy: Tensor = torch.special.entr(self.log_probabilities(logits).exp())
        return entropy.sum()

    def marginals(self, logits: Tensor) -> Tensor:
        """The probability of each option of each choice, shape (choices, greatest option + 1)."""
        shares = self.log_probabilities(logits).exp()[self.factor]
        combinations = torch.arange(shares.shape[1], device=logits.device)
        places = combinations // self.strides[:, None] % self.counts[:, None]
        options = self.kept.gather(1, places)
        return torch.zeros(len(options), int(self.kept.max()) + 1, device=logits.device).scatter_add(1, options, shares)

    def mode(self, logits: Tensor) -> Tensor:
        """The most probable architecture, shape (choices,)."""
        return self.indices(self.log_probabilities(logits).argmax(dim=1)[None])[0]

    def combinations(self, indices: Tensor) -> Tensor:
        """Which combination each factor is, shape (architectures, factors)."""
        places = self.places[torch.arange(indices.shape[1], device=indices.device), indices]
        numbers = torch.zeros(len(indices), len(self.sizes), dtype=torch.int64, device=indices.device)
        return numbers.index_add(1, self.factor, places * self.strides)

    def indices(self, combinations: Tensor) -> Tensor:
        """The architectures that are these combinations, shape (architectures, choices)."""
        places = combinations[:, self.factor] // self.strides % self.counts
        found: Tensor = self.kept[torch.arange(places.shape[1], device=places.device), places]
        return found


def joined(logits: Tensor, fine: Factors, coarse: Factors) -> Tensor:
    """The logits over `coarse` of the same distribution over `fine`: no architecture's probability changes.

    Every factor of `fine` lies within one of `coarse`.
    """
    most = torch.arange(max(coarse.sizes), device=logits.device)[:, None]
    combinations = fine.combinations(coarse.indices(most.expand(-1, len(coarse.sizes))))
    shares = fine.log_probabilities(logits)[torch.arange(len(fine.sizes), device=logits.device), combinations]
    home = torch.zeros(len(fine.sizes), dtype=torch.int64, device=logits.device)
    home[fine.factor] = coarse.factor
    joint = torch.zeros(len(most), len(coarse.sizes), dtype=shares.dtype, device=logits.device)
    return joint.index_add(1, home, shares).T.contiguous()
