"""Weights in a run folder: their files, and the names of their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS_FILE, LEARNER_FILE = "weights.safetensors", "learner.safetensors"
"""The files that a finished training leaves in its step's folder."""
SUPERNET_PREFIX, AVERAGE_PREFIX = "supernet/", "average/"


@dataclass(frozen=True)
class Weights:
    """A supernet's weights in the run folder.

    Attributes:
        file: a safetensors file, by its name in the run folder.
        version: the step that trained the weights, and its number of epochs.
        history: one row of training metrics an epoch.
    """

    file: str
    version: str
    history: list[dict[str, Any]]

    @property
    def learner_file(self) -> str:
        """The file with the last state of the objective's learner."""
        return f"{self.file.rpartition('/')[0]}/{LEARNER_FILE}"


def supernet_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the supernet's weights by their names, from a checkpoint or from the file of a finished training.

    If a checkpoint has the moving average of the weights, it is returned, as the finished training has it.
    """
    average = tensors_under(f"{AVERAGE_PREFIX}module.", tensors)
    return average or tensors_under(SUPERNET_PREFIX, tensors) or dict(tensors)


def tensors_under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without the prefix."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
