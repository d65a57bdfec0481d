"""The distribution P(A | alpha) over the architectures of a space (FP-NAS sections 3.1 to 3.3).

A distribution is a product of independent factors (equation 2). A factor covers some choices, and has a table of logits
over all combinations of their values. In a factorised distribution every choice is a factor of its own (equation 5). In
a joint distribution the choices of a layer form one factor. Both share their mathematics; only the partition of the
choices differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from tuners.fp_nas.layers import joint_layers

if TYPE_CHECKING:
    from search_spaces import Architecture, SearchSpace
    from tuners.fp_nas.settings import Schedule

Kind = Literal["joint", "factorised"]
_KINDS: dict[Schedule, tuple[Kind, ...]] = {
    "joint": ("joint",),
    "factorised": ("factorised",),
    "mixed": ("factorised", "joint"),
}


class Distribution(nn.Module):
    """P(A | alpha) with its schedule.

    Attributes:
        logits: alpha for each kind of the schedule; one kind is in use.
        is_joint: whether the joint kind is in use.
    """

    is_joint: Tensor

    def __init__(self, space: SearchSpace, schedule: Schedule) -> None:
        super().__init__()
        self._space = space
        kinds = _KINDS[schedule]
        self._factors = nn.ModuleDict({kind: partition(space, kind) for kind in kinds})
        self.logits = nn.ParameterDict({kind: nn.Parameter(self._factors_of(kind).uniform()) for kind in kinds})
        self.register_buffer("is_joint", torch.tensor(kinds[0] == "joint"))

    @property
    def kind(self) -> Kind:
        """The kind in use."""
        return "joint" if self.is_joint else "factorised"

    @property
    def factors(self) -> Factors:
        """The factors of the kind in use."""
        return self._factors_of(self.kind)

    @property
    def alpha(self) -> nn.Parameter:
        """The logits of the kind in use."""
        return cast(nn.Parameter, self.logits[self.kind])

    def sample(self, count: int, generator: np.random.Generator) -> Tensor:
        """Return K = `count` architectures, drawn independently, as option indices (architectures, choices)."""
        return self.factors.sample(self.alpha, count, generator)

    def log_probability(self, indices: Tensor) -> Tensor:
        """Return log P(A | alpha) of each architecture, shape (architectures,)."""
        return self.factors.log_probability(self.alpha, indices)

    def entropy(self) -> float:
        """Return H(P) in nats."""
        with torch.no_grad():
            return float(self.factors.entropy(self.alpha))

    def marginals(self) -> Tensor:
        """Return the probability of each option of each choice, shape (choices, greatest option + 1)."""
        return self.factors.marginals(self.alpha.detach())

    def most_probable(self) -> Architecture:
        """Return the mode of the distribution."""
        return self._space.architecture(self.factors.mode(self.alpha).tolist())

    def become_joint(self) -> None:
        """Change from the factorised to the joint kind, and change no probability (section 3.3).

        Adam begins anew with the joint logits, because they are other parameters.
        """
        with torch.no_grad():
            factorised = self.logits["factorised"]
            joint = join_logits(factorised, self._factors_of("factorised"), self._factors_of("joint"))
            self.logits["joint"].copy_(joint)
        self.is_joint.fill_(True)

    def _factors_of(self, kind: Kind) -> Factors:
        return cast(Factors, self._factors[kind])


def partition(space: SearchSpace, kind: Kind) -> Factors:
    """Return the factors of a distribution over the surviving architectures of a space.

    A layer is a group of choices: a row or a block of FP-NAS's spaces, a stage of other spaces.

    Raises:
        UserError: if the choices of a layer have too many combinations for a table.
    """
    if kind == "factorised":
        return Factors(space.values(), [(position,) for position in range(len(space.choices))])
    return Factors(space.values(), joint_layers(space))


class Factors(nn.Module):
    """A partition of a space's choices into factors, and functions of distributions over these factors.

    A distribution is a tensor of logits, shape (factors, most combinations of a factor). Entries beyond a factor's
    combinations do not count. Architectures are option indices, shape (architectures, choices).

    Attributes:
        sizes: the number of combinations of each factor; their sum is the number of parameters.
        values: the surviving values of each choice, padded with 0, shape (choices, most values).
        place_of_value: the position of a value among its choice's surviving values, shape (choices, values).
        strides: how much a choice's position counts in the number of its factor's combination, shape (choices,).
        factor: the factor of each choice, shape (choices,).
        counts: the number of surviving values of each choice, shape (choices,).
        is_combination: which entries of the logits count, bool of shape (factors, most combinations).
    """

    values: Tensor
    place_of_value: Tensor
    strides: Tensor
    factor: Tensor
    counts: Tensor
    is_combination: Tensor

    def __init__(self, values: Sequence[Sequence[int]], parts: Sequence[Sequence[int]]) -> None:
        """Build the tables.

        Args:
            values: the surviving values of each choice.
            parts: the positions of each factor's choices.
        """
        super().__init__()
        counts = torch.tensor([len(surviving) for surviving in values])
        padded = torch.zeros(len(values), int(counts.max()), dtype=torch.int64)
        place_of_value = torch.zeros(len(values), 1 + max(map(max, values)), dtype=torch.int64)
        for choice, surviving in enumerate(values):
            padded[choice, : len(surviving)] = torch.tensor(surviving)
            place_of_value[choice, list(surviving)] = torch.arange(len(surviving))
        strides = torch.ones(len(values), dtype=torch.int64)
        factor = torch.zeros(len(values), dtype=torch.int64)
        for number, part in enumerate(parts):
            for position, choice in enumerate(part):
                strides[choice] = prod(int(counts[later]) for later in part[position + 1 :])
                factor[choice] = number
        self.sizes = tuple(prod(int(counts[choice]) for choice in part) for part in parts)
        is_combination = torch.arange(max(self.sizes)) < torch.tensor(self.sizes)[:, None]
        tensors = {
            "values": padded,
            "place_of_value": place_of_value,
            "strides": strides,
            "factor": factor,
            "counts": counts,
            "is_combination": is_combination,
        }
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)

    def uniform(self) -> Tensor:
        """Return the logits of the uniform distribution."""
        return torch.zeros(self.is_combination.shape, device=self.is_combination.device)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Return the log-probability of each combination, shape (factors, most combinations), with -inf beyond."""
        return torch.log_softmax(logits.masked_fill(~self.is_combination, -torch.inf), dim=1)

    def log_probability(self, logits: Tensor, indices: Tensor) -> Tensor:
        """Return log P(A) of each architecture (equations 2 and 5), shape (architectures,)."""
        factors = torch.arange(len(self.sizes), device=logits.device)
        by_factor: Tensor = self.log_probabilities(logits)[factors, self.combinations(indices)]
        return by_factor.sum(dim=1)

    def sample(self, logits: Tensor, count: int, generator: np.random.Generator) -> Tensor:
        """Return `count` architectures, drawn independently."""
        uniform = torch.from_numpy(generator.random((count, len(self.sizes)))).to(logits.device)
        cumulative = self.log_probabilities(logits.detach().double()).exp().cumsum(dim=1)
        combinations = torch.searchsorted(cumulative, uniform.T.contiguous(), right=True).T
        return self.indices(combinations.clamp(max=torch.tensor(self.sizes, device=combinations.device) - 1))

    def entropy(self, logits: Tensor) -> Tensor:
        """Return H(P) in nats: the sum of the factors' entropies."""
        entropy: Tensor = torch.special.entr(self.log_probabilities(logits).exp())
        return entropy.sum()

    def marginals(self, logits: Tensor) -> Tensor:
        """Return the probability of each option of each choice, shape (choices, greatest option + 1)."""
        shares = self.log_probabilities(logits).exp()[self.factor]
        combinations = torch.arange(shares.shape[1], device=logits.device)
        places = combinations // self.strides[:, None] % self.counts[:, None]
        options = self.values.gather(1, places)
        zeros = torch.zeros(len(options), int(self.values.max()) + 1, device=logits.device)
        return zeros.scatter_add(1, options, shares)

    def mode(self, logits: Tensor) -> Tensor:
        """Return the most probable architecture, shape (choices,)."""
        return self.indices(self.log_probabilities(logits).argmax(dim=1)[None])[0]

    def combinations(self, indices: Tensor) -> Tensor:
        """Return the number of each factor's combination, shape (architectures, factors)."""
        places = self.place_of_value[torch.arange(indices.shape[1], device=indices.device), indices]
        numbers = torch.zeros(len(indices), len(self.sizes), dtype=torch.int64, device=indices.device)
        return numbers.index_add(1, self.factor, places * self.strides)

    def indices(self, combinations: Tensor) -> Tensor:
        """Return the architectures with these combinations, shape (architectures, choices)."""
        places = combinations[:, self.factor] // self.strides % self.counts
        indices: Tensor = self.values[torch.arange(places.shape[1], device=places.device), places]
        return indices


def join_logits(logits: Tensor, fine: Factors, coarse: Factors) -> Tensor:
    """Return logits over `coarse` of the distribution that `logits` describes over `fine`.

    No architecture's probability changes. Every factor of `fine` must lie within one factor of `coarse`.
    """
    numbers = torch.arange(max(coarse.sizes), device=logits.device)[:, None]
    combinations = fine.combinations(coarse.indices(numbers.expand(-1, len(coarse.sizes))))
    fine_factors = torch.arange(len(fine.sizes), device=logits.device)
    shares = fine.log_probabilities(logits)[fine_factors, combinations]
    coarse_factor = torch.zeros(len(fine.sizes), dtype=torch.int64, device=logits.device)
    coarse_factor[fine.factor] = coarse.factor
    joint = torch.zeros(len(numbers), len(coarse.sizes), dtype=shares.dtype, device=logits.device)
    return joint.index_add(1, coarse_factor, shares).T.contiguous()
