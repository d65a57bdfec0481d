"""HM-NAS's hierarchical masks (section 3.3): they learn which operations, edges and weights of a supernet are needed.

Each operation, edge and weight has a real-valued mask. If the mask is at least the threshold (equation 4), the masked
value stays; otherwise it is multiplied by 0. Only the masks learn (equation 3), by gradients of their binary values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from raynas.interfaces.objective import WEIGHTS, Gradients, Learner, Objective, TrainingStep, Update, add_gradients
from search_spaces.cell.genotype import Genotype
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from search_spaces.supernet import Mixed
from tuners.darts.cells import edges_by_node, is_operation
from tuners.darts.weighted_mixture import run_mixture
from tuners.hm_nas.settings import LEVELS, Level

if TYPE_CHECKING:
    from search_spaces import Architecture, Costs, SearchSpace

MASKS = "masks"
"""The name of the masks' group of parameters."""


class Masking(Objective):
    """Train the masks on the stream `train`; besides them, only batch norm's running statistics move.

    Attributes:
        operations: alpha* after its softmax, shape (choices, options) (equation 1).
        edges: beta* after its softmax, shape (choices,) (equation 2).
        levels: the levels whose masks learn; the other masks stay.
        initial_mask: the first value of all masks.
        threshold: tau of equation 4.
        learning_rate: Adam's learning rate for the masks of operations and edges.
        weight_mask_learning_rate: Adam's learning rate for the masks of weights.
        decay_epoch: the epoch, counted from 0, from which on both learning rates are a tenth.
    """

    operations: tuple[tuple[float, ...], ...]
    edges: tuple[float, ...]
    levels: tuple[Level, ...] = LEVELS
    initial_mask: float = 1e-2
    threshold: float = 5e-3
    learning_rate: float = Field(default=1e-5, gt=0)
    weight_mask_learning_rate: float = Field(default=1e-4, gt=0)
    decay_epoch: int = Field(default=10, ge=1)

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> MaskingLearner:
        return MaskingLearner(self, space)


class MaskingLearner(Learner):
    """The real-valued masks M^r.

    Attributes:
        operations: M_alpha^r, shape (choices, options).
        edges: M_beta^r, shape (choices,).
        weights: M_w^r: a mask for each tensor of weights, of the tensor's shape, by the tensor's name with `/` for `.`.
    """

    def __init__(self, settings: Masking, space: SearchSpace) -> None:
        super().__init__()
        self._settings = settings
        self.register_buffer("alpha", torch.tensor(settings.operations), persistent=False)
        self.register_buffer("beta", torch.tensor(settings.edges), persistent=False)
        with torch.device("meta"):
            supernet = space.supernet()
        shapes = {
            key.replace(".", "/"): tensor.shape for key, tensor in supernet.named_parameters() if has_mask(tensor)
        }
        self.operations = self._mask("operations", self.get_buffer("alpha").shape)
        self.edges = self._mask("edges", self.get_buffer("beta").shape)
        self.weights = nn.ParameterDict({key: self._mask("weights", shape) for key, shape in shapes.items()})
        masks = {"operations": [self.operations], "edges": [self.edges], "weights": list(self.weights.values())}
        rates = dict.fromkeys(masks, settings.learning_rate) | {"weights": settings.weight_mask_learning_rate}
        self._adam = torch.optim.Adam(
            [{"params": masks[level], "lr": rates[level], "initial_lr": rates[level]} for level in settings.levels]
        )

    def _mask(self, level: Level, shape: Sequence[int]) -> nn.Parameter:
        return nn.Parameter(torch.full(tuple(shape), self._settings.initial_mask), level in self._settings.levels)

    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        for group in self._adam.param_groups:
            group["lr"] = group["initial_lr"] * (0.1 if epoch >= self._settings.decay_epoch else 1)
        return [[Update(MASKS, "train", self._move_masks)]]

    def groups(self) -> dict[str, torch.optim.Optimizer]:
        return {MASKS: self._adam}

    def mixture(self) -> Tensor:
        """Return the masked factor of each operation's output, shape (choices, options)."""
        operations, edges = self.masked_mixture()
        return operations * edges[:, None]

    def masked_mixture(self) -> tuple[Tensor, Tensor]:
        """Return P(alpha*) and P(beta*) of equation 3.

        They are not normalised again, so that a mask changes nothing but the masked value.
        """
        alpha, beta = self.get_buffer("alpha"), self.get_buffer("beta")
        return alpha * self._binary(self.operations), beta * self._binary(self.edges)

    def masked_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return P(w*) of equation 3: the masked values of all weights that have masks, by their names."""
        masks = {key.replace("/", "."): mask for key, mask in self.weights.items()}
        return {key: weights[key] * self._binary(mask) for key, mask in masks.items() if key in weights}

    def _binary(self, mask: Tensor) -> Tensor:
        return binarise(mask, self._settings.threshold)

    def _move_masks(self, step: TrainingStep) -> Gradients:
        mixed, weights = Mixed(step.supernet), dict(step.supernet.named_parameters())

        def logits_of(images: Tensor) -> Tensor:
            masked = {f"supernet.{key}": value for key, value in self.masked_weights(weights).items()}
            return cast(Tensor, functional_call(mixed, masked, (images, self.mixture())))

        return Gradients([], add_gradients(step, logits_of))


class Tuning(Objective):
    """Train the unmasked weights of the searched network; masked weights stay 0 (algorithm 1, fine-tuning).

    Attributes:
        mixture: the factor of each operation's output, shape (choices, options).
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
            if weight.grad is not None and has_mask(weight):
                # A weight of 0 has neither decay nor, without gradients, momentum: it stays 0.
                weight.grad *= weight.detach() != 0
        return Gradients([], metrics)


class _Binariser(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mask: Tensor, threshold: float) -> Tensor:
        return (mask >= threshold).to(mask.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def binarise(mask: Tensor, threshold: float) -> Tensor:
    """Return H(mask - threshold) (equation 4), with H(0) = 1.

    The gradient of the binary mask goes to the real-valued mask unchanged (straight-through).
    """
    return cast(Tensor, _Binariser.apply(mask, threshold))


def has_mask(weights: Tensor) -> bool:
    """Return whether a tensor of weights has masks: convolutions and the classifier, but no biases or batch norm."""
    return weights.dim() > 1


def derive_genotype(space: CellSpace, learner: MaskingLearner) -> Genotype:
    """Return the cell with the operations and edges that the masks leave, and their weights.

    Raises:
        UserError: if every node of the cells has lost all its inputs.
    """
    with torch.no_grad():
        alpha, beta = learner.masked_mixture()
    genotype = Genotype.of(space, (alpha * is_operation(space)).tolist(), beta.tolist())
    without_inputs = nodes_without_inputs(space, genotype.architecture)
    if len(without_inputs) == len(edges_by_node(space)):
        raise UserError(
            f"The masks have left nothing: {', '.join(without_inputs)} lost all inputs. Lower method.threshold, "
            "or method.mask_rate or method.max_mask_change."
        )
    return genotype


def nodes_without_inputs(space: SearchSpace, architecture: Architecture) -> list[str]:
    """Return the names of the cells' nodes without inputs."""
    return [
        space.choices[edges[0]].group
        for edges in edges_by_node(space)
        if not any(architecture.indices[edge] for edge in edges)
    ]
