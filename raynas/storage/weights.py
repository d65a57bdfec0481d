"""What a study's steps give a method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Weights:
    """A supernet's weights in the run folder.

    Attributes:
        file: a safetensors file, by its name in the run folder.
        version: the step that trained them and the epochs that it took.
        history: one row of training metrics an epoch.
    """

    file: str
    version: str
    history: list[dict[str, Any]]

    @property
    def learnt(self) -> str:
        """The file of what the objective's learner held at the end."""
        return f"{self.file.rpartition('/')[0]}/learner.safetensors"


@dataclass(frozen=True)
class Trial:
    """One trial of a sweep: its setting, what its function returned, and its run folder within this one."""

    setting: Mapping[str, Any]
    result: dict[str, Any]
    folder: str


@dataclass(frozen=True)
class Fitted:
    """One network, trained alone.

    Attributes:
        top1, top5: on the test images, in per cent.
        latency_ms: by the run's latency table, where it has one.
        weights: its weights, under the names that they have in a supernet.
    """

    architecture: str
    top1: float
    top5: float
    loss: float
    macs: int
    params: int
    latency_ms: float | None
    weights: str
