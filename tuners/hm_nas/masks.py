"""HM-NAS's hierarchical masks (section 3.3): what of a trained supernet's operations, edges and weights is needed.

A mask is a real number for each operation, edge and weight; where it is at least the threshold (equation 4) what it
masks stays, else it is multiplied by 0. The masks alone learn (equation 3), by the gradients of their binary values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from raynas.interfaces.objective import WEIGHTS, Gradients, Learner, Objective, TrainingStep, Update, add_gradients
from search_spaces.cell.genotype import Genotype
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from search_spaces.supernet import Mixed
from tuners.darts.weighted_mixture import nodes, operations, run_mixture

if TYPE_CHECKING:
    from search_spaces import Architecture, Costs, SearchSpace

Level = Literal["operations", "edges", "weights"]
LEVELS: tuple[Level, ...] = ("operations", "edges", "weights")
MASKS = "masks"
"""The group of parameters that an update of the masks moves."""


class Masking(Objective):
    """The masks learn on the stream `train`; everything else stands still but batch norm's running statistics.

    Attributes:
        operations: alpha* after its softmax, shape (choices, options) (equation 1).
        edges: beta* after its softmax, shape (choices,) (equation 2).
        levels: whose masks learn; the others stay.
        initial: what all masks begin with.
        threshold: tau of equation 4.
        rate, weight_rate: Adam's, of the operations' and edges' masks, and of the weights'.
        decay_epoch: from which epoch on, counted from 0, the rates are a tenth.
    """

    operations: tuple[tuple[float, ...], ...]
    edges: tuple[float, ...]
    levels: tuple[Level, ...] = LEVELS
    initial: float = 1e-2
    threshold: float = 5e-3
    rate: float = Field(default=1e-5, gt=0)
    weight_rate: float = Field(default=1e-4, gt=0)
    decay_epoch: int = Field(default=10, ge=1)

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> MaskingLearner:
        return MaskingLearner(self, space)


class MaskingLearner(Learner):
    """The masks.

    Attributes:
        operations: shape (choices, options).
        edges: shape (choices,).
        weights: of each tensor of weights in its shape, by its name with `/` for `.`.
    """

    def __init__(self, settings: Masking, space: SearchSpace) -> None:
        super().__init__()
        self._settings = settings
        self.register_buffer("alpha", torch.tensor(settings.operations), persistent=False)
        self.register_buffer("beta", torch.tensor(settings.edges), persistent=False)
        with torch.device("meta"):
            supernet = space.supernet()
        shapes = {key.replace(".", "/"): tensor.shape for key, tensor in supernet.named_parameters() if masked(tensor)}
        self.operations = self._mask("operations", self.get_buffer("alpha").shape)
        self.edges = self._mask("edges", self.get_buffer("beta").shape)
        self.weights = nn.ParameterDict({key: self._mask("weights", shape) for key, shape in shapes.items()})
        of_level = {"operations": [self.operations], "edges": [self.edges], "weights": list(self.weights.values())}
        rates = {"operations": settings.rate, "edges": settings.rate, "weights": settings.weight_rate}
        self._adam = torch.optim.Adam(
            [{"params": of_level[level], "lr": rates[level], "initial_lr": rates[level]} for level in settings.levels]
        )

    def _mask(self, level: Level, shape: Sequence[int]) -> nn.Parameter:
        return nn.Parameter(torch.full(tuple(shape), self._settings.initial), level in self._settings.levels)

    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        for group in self._adam.param_groups:
            group["lr"] = group["initial_lr"] * (0.1 if epoch >= self._settings.decay_epoch else 1)
        return [[Update(MASKS, "train", self._move_masks)]]

    def groups(self) -> dict[str, torch.optim.Optimizer]:
        return {MASKS: self._adam}

    def mixture(self) -> Tensor:
        """What each operation's output is multiplied by, masked, shape (choices, options)."""
        operations, edges = self.masked_mixture()
        return operations * edges[:, None]

    def masked_mixture(self) -> tuple[Tensor, Tensor]:
        """P(alpha*) and P(beta*) of equation 3: not normalised again, so that what is masked takes from no other."""
        kept = self._kept(self.operations), self._kept(self.edges)
        return self.get_buffer("alpha") * kept[0], self.get_buffer("beta") * kept[1]

    def masked_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """P(w*) of equation 3: those of the weights that have masks, by their names."""
        masks = {key.replace("/", "."): mask for key, mask in self.weights.items()}
        return {key: weights[key] * self._kept(mask) for key, mask in masks.items() if key in weights}

    def _kept(self, mask: Tensor) -> Tensor:
        return binary(mask, self._settings.threshold)

    def _move_masks(self, step: TrainingStep) -> Gradients:
        mixed, weights = Mixed(step.supernet), dict(step.supernet.named_parameters())

        def logits_of(images: Tensor) -> Tensor:
            masked = {f"supernet.{key}": value for key, value in self.masked_weights(weights).items()}
            return cast(Tensor, functional_call(mixed, masked, (images, self.mixture())))

        return Gradients([], add_gradients(step, logits_of))


class Tuning(Objective):
    """The weights of a masked mixture learn; those that a mask has set to 0 stay 0 (algorithm 1, fine-tuning).

    Attributes:
        mixture: what each operation's output is multiplied by, shape (choices, options).
    """

    mixture: tuple[tuple[float, ...], ...]

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> Learner:
        return _TuningLearner(torch.tensor(self.mixture))


class _TuningLearner(Learner):
    def __init__(self, mixture: Tensor) -> None:
        super().__init__()
        self.register_buffer("mixture", mixture)

    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        return [[Update(WEIGHTS, "train", self._move_weights)]]

    def _move_weights(self, step: TrainingStep) -> Gradients:
        metrics = run_mixture(step, step.micro_batches, self.get_buffer("mixture"))
        for weight in step.supernet.parameters():
            if weight.grad is not None and masked(weight):
                weight.grad *= weight.detach() != 0  # neither momentum nor decay moves a 0 without it
        return Gradients([], metrics)


class _Binary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mask: Tensor, threshold: float) -> Tensor:
        return (mask >= threshold).to(mask.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def binary(mask: Tensor, threshold: float) -> Tensor:
    """Equation 4: H(mask - threshold), with H(0) = 1; its gradient goes to the mask as it is (straight-through)."""
    return cast(Tensor, _Binary.apply(mask, threshold))


def masked(weights: Tensor) -> bool:
    """Whether these weights have masks: those of convolutions and the classifier, not biases and batch norm."""
    return weights.dim() > 1


def genotype_of(space: CellSpace, learner: MaskingLearner) -> Genotype:
    """What the masks leave of operations and edges.

    Raises:
        UserError: if every node of the cells has lost all its inputs.
    """
    with torch.no_grad():
        alpha, beta = learner.masked_mixture()
    genotype = Genotype.of(space, (alpha * operations(space)).tolist(), beta.tolist())
    lost = lost_nodes(space, genotype.architecture)
    if len(lost) == len(nodes(space)):
        raise UserError(
            f"The masks have left nothing: {', '.join(lost)} lost all inputs. Lower method.threshold or method.reach."
        )
    return genotype


def lost_nodes(space: SearchSpace, architecture: Architecture) -> list[str]:
    """The nodes of the cells at which nothing arrives."""
    return [space.choices[edges[0]].group for edges in nodes(space) if not any(architecture.indices[e] for e in edges)]
