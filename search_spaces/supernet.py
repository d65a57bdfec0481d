"""What every supernet does: run one path, or a mixture of all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from search_spaces.space import Architecture


class Supernet(nn.Module, ABC):
    """One network with the weights of every surviving option: images (N, 3, H, W) to logits (N, num_classes).

    Parameter names do not change when options are pruned, so that a pruned supernet's are a subset of its parent's.
    """

    @abstractmethod
    def forward(self, images: Tensor, architecture: Architecture, gates: Tensor | None = None) -> Tensor:
        """One path, at the memory and time of that one network.

        Args:
            gates: shape (choices,), none of them 0; where given, what each choice decides is multiplied by its gate, so
                that gradients reach architecture parameters.
        """

    @abstractmethod
    def mixed(self, images: Tensor, weights: Tensor) -> Tensor:
        """The mixture: each choice's output is the sum of its surviving options' outputs times their weights.

        Args:
            weights: shape (choices, most options of a choice), indexed by the choice's full option list.
        """

    @abstractmethod
    def path_modules(self, architecture: Architecture) -> Sequence[nn.Module]:
        """All modules that a path runs through."""

    def branches(self, architecture: Architecture) -> Sequence[nn.Module]:
        """The modules of a path whose output is added to what went past them, in the order of the images.

        Stochastic depth leaves them out; networks of cells have none, and drop edges instead.
        """
        return []


class Mixed(nn.Module):
    """A supernet whose `forward` is the mixture, for `torch.func.functional_call`."""

    def __init__(self, supernet: Supernet) -> None:
        super().__init__()
        self.supernet = supernet

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:
        return self.supernet.mixed(images, weights)


def gated(features: Tensor, gate: Tensor) -> Tensor:
    """Features times a gate, a scalar that is not 0, at no activation memory beside what follows keeps anyway."""
    return cast(Tensor, _Gate.apply(features, gate))


class _Gate(torch.autograd.Function):
    """A product that keeps its result, which the next layer keeps too, and not what went into it."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, gate: Tensor) -> Tensor:
        result = features * gate
        ctx.save_for_backward(result, gate)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        result, gate = ctx.saved_tensors
        (gradient,) = gradients
        return gradient * gate, ((gradient * result).sum() / gate).to(gate)
