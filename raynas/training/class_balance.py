"""Classes of unequal size: weights in the loss, or a sampler that draws each class equally often."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from raynas.training.epoch_schedule import epoch_batches

if TYPE_CHECKING:
    from raynas.data.images import DataPart, Images
    from raynas.recipe.settings import TrainingSettings

Loss = Callable[[Tensor, Tensor], Tensor]
_CLASSES = 1
"""Last word of the seed of the drawn images: it separates them from the order of the epoch."""


def label_loss(
    settings: TrainingSettings, images: Images, parts: Collection[DataPart], device: torch.device | str = "cpu"
) -> Loss:
    """Return the loss of logits (N, classes) against labels (N,): a mean over the images, in nats.

    It is the cross-entropy with label smoothing. Class weights multiply an image's whole loss, the smoothed share too.
    The mean is over the images, not over their weights, so it does not depend on how a batch is divided.

    Args:
        parts: the parts of the images that the training reads. Their class counts decide the weights.
    """
    if settings.class_weights == "none":
        return nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
    labels = images.labels[np.concatenate([images.rows(part) for part in sorted(parts)])]
    weights = balanced_weights(labels, len(images.prepared.classes)).to(device)

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        losses = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=settings.label_smoothing)
        return (weights[labels] * losses).mean()

    return loss


def balanced_weights(labels: NDArray[np.int64], classes: int) -> Tensor:
    """Return the weight of each class, shape (classes,): images / (classes * images of the class).

    The mean of the images' weights is 1.
    """
    from sklearn.utils.class_weight import compute_class_weight  # takes a second, and few trainings need it

    weights = compute_class_weight("balanced", classes=np.arange(classes), y=labels)
    return torch.tensor(weights, dtype=torch.float32)


def draw_batches(settings: TrainingSettings, images: Images, part: DataPart, seed: Sequence[int]) -> NDArray[np.int64]:
    """Return the rows of an epoch's images, shape (steps, batch_size), as `epoch_batches`. The seed alone decides.

    The sampler `balanced` draws as many images as the part has.
    """
    rows = images.rows(part)
    if settings.sampler == "balanced":
        rows = draw_classes_equally(rows, images.labels[rows], [*seed, _CLASSES])
    return epoch_batches(rows, settings.batch_size, seed)


def draw_classes_equally(rows: NDArray[np.int64], labels: NDArray[np.int64], seed: Sequence[int]) -> NDArray[np.int64]:
    """Draw as many rows as there are: each class equally often (up to one), its rows uniformly and with replacement.

    Args:
        labels: the class of each row.
    """
    generator = np.random.default_rng(seed)
    classes = generator.permutation(np.unique(labels))
    counts = np.bincount(np.arange(len(rows)) % len(classes))
    members = [rows[labels == label] for label in classes]
    drawn = [generator.choice(own, count) for own, count in zip(members, counts, strict=True)]
    return np.concatenate(drawn)
