"""The interface of every supernet: run one path, or a mixture of all options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from search_spaces.architecture import Architecture


State = tuple[Tensor, ...]
"""The features between two segments of a path: first the images, then feature maps, at last the logits."""


class Segment(NamedTuple):
    """A part of a path that runs as a whole.

    Attributes:
        key: identifies the computation among all that other architectures have in this position. Two paths whose keys
            agree from the stem up to here have equal features here.
        run: computes the next state from the state that the segment before it left.
        modules: the modules that `run` uses.
    """

    key: Hashable
    run: Callable[[State], State]
    modules: Sequence[nn.Module]


class Supernet(nn.Module, ABC):
    """One network with the weights of every surviving option: images (N, 3, H, W) to logits (N, num_classes).

    Pruning does not change the names of parameters: those of a pruned supernet are a subset of its parent's.
    """

    @abstractmethod
    def segments(self, architecture: Architecture, gates: Tensor | None = None) -> Sequence[Segment]:
        """Return one path, from the images to the logits, as segments, so that paths can share their common segments.

        Args:
            gates: shape (choices,), none of them 0. The output of each choice is multiplied by its gate, so that
                gradients reach architecture parameters.

        Raises:
            UserError: if the architecture takes an option that this supernet was built without.
        """

    def forward(self, images: Tensor, architecture: Architecture, gates: Tensor | None = None) -> Tensor:
        """Run one path, with the memory and time of that one network. Arguments and errors: see `segments`."""
        state: State = (images,)
        for segment in self.segments(architecture, gates):
            state = segment.run(state)
        (logits,) = state
        return logits

    @abstractmethod
    def mixed(self, images: Tensor, weights: Tensor) -> Tensor:
        """Run the mixture: each choice's output is the sum of its surviving options' outputs times their weights.

        Args:
            weights: shape (choices, most options of a choice), indexed by the choice's full list of options.
        """

    def path_modules(self, architecture: Architecture) -> list[nn.Module]:
        """Return all modules of a path, in the order in which they run."""
        return [module for segment in self.segments(architecture) for module in segment.modules]

    def branches(self, architecture: Architecture) -> Sequence[nn.Module]:
        """Return the modules of a path whose output is added to their shortcut, in the order in which they run.

        Stochastic depth drops these. Networks of cells have none: they drop edges instead.
        """
        return []


class Mixed(nn.Module):
    """A supernet whose `forward` runs the mixture, for `torch.func.functional_call`."""

    def __init__(self, supernet: Supernet) -> None:
        super().__init__()
        self.supernet = supernet

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:
        return self.supernet.mixed(images, weights)


def run_module(module: nn.Module, state: State, gate: Tensor | None = None) -> State:
    """Run a module on a state of one feature map, and multiply the output by the gate, if there is one."""
    (features,) = state
    output = module(features)
    return (output if gate is None else apply_gate(output, gate),)


def apply_gate(features: Tensor, gate: Tensor) -> Tensor:
    """Return features times a gate, a scalar that is not 0.

    The product needs no extra activation memory: only its result is kept, which the next layer keeps anyway.
    """
    return cast(Tensor, _Gate.apply(features, gate))


class _Gate(torch.autograd.Function):
    """A product that keeps its result for the backward pass, which the next layer keeps too, and not its input."""

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
