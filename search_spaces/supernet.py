"""What every supernet does: run one path, or a mixture of all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from search_spaces.architecture import Architecture


State = tuple[Tensor, ...]
"""What one stage of a path hands to the next: the images, then feature maps, in the end the logits."""


class Segment(NamedTuple):
    """A part of a path that runs as a whole.

    Attributes:
        key: tells what it does from what any other architecture does at this place. Two paths whose keys agree from the
            stem up to here have the same features here.
        run: what it makes of the state that the stage before it left.
        modules: those that it runs through.
    """

    key: Hashable
    run: Callable[[State], State]
    modules: Sequence[nn.Module]


class Supernet(nn.Module, ABC):
    """One network with the weights of every surviving option: images (N, 3, H, W) to logits (N, num_classes).

    Parameter names do not change when options are pruned, so that a pruned supernet's are a subset of its parent's.
    """

    @abstractmethod
    def segments(self, architecture: Architecture, gates: Tensor | None = None) -> Sequence[Segment]:
        """One path, from the images to the logits, stage by stage, so that paths can share what they have in common.

        Args:
            gates: shape (choices,), none of them 0; where given, what each choice decides is multiplied by its gate, so
                that gradients reach architecture parameters.

        Raises:
            UserError: if this supernet was built without an option that the architecture takes.
        """

    def forward(self, images: Tensor, architecture: Architecture, gates: Tensor | None = None) -> Tensor:
        """One path, at the memory and time of that one network; arguments and errors are those of `stages`."""
        state: State = (images,)
        for stage in self.segments(architecture, gates):
            state = stage.run(state)
        (logits,) = state
        return logits

    @abstractmethod
    def mixed(self, images: Tensor, weights: Tensor) -> Tensor:
        """The mixture: each choice's output is the sum of its surviving options' outputs times their weights.

        Args:
            weights: shape (choices, most options of a choice), indexed by the choice's full option list.
        """

    def path_modules(self, architecture: Architecture) -> list[nn.Module]:
        """All modules that a path runs through, in that order."""
        return [module for stage in self.segments(architecture) for module in stage.modules]

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


def through(module: nn.Module, state: State, gate: Tensor | None = None) -> State:
    """What a module makes of a state of one feature map, times its gate where it has one."""
    (features,) = state
    output = module(features)
    return (output if gate is None else gated(output, gate),)


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
