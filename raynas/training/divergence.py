"""Divergence: a loss that is not finite or far above the loss of guessing stops a training before a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from search_spaces import Architecture

_EXPLODED = 1000
"""A loss above this many times the loss of guessing counts as exploded."""
_SHOWN_CHARACTERS = 200


class Divergence(ArithmeticError):
    """The loss or a weight is not finite, or the loss has exploded."""


class LossMonitor:
    """Keeps the latest losses on their device, so no training step waits for the one before."""

    def __init__(self, classes: int) -> None:
        self._limit = _EXPLODED * math.log(max(classes, 2))
        self._latest: list[tuple[str, Tensor, Sequence[Architecture]]] = []

    def add(self, metrics: Mapping[str, Tensor], paths: Sequence[Architecture]) -> None:
        """Add the losses of a training step, and its architectures."""
        self._latest += [(name, value.detach(), paths) for name, value in metrics.items() if name.endswith("loss")]

    def check(self, epoch: int) -> None:
        """Check the losses since the last check.

        Raises:
            Divergence: if a loss is not finite or has exploded; it names the epoch and the architectures.
        """
        latest, self._latest = self._latest, []
        if not latest:
            return
        values = torch.stack([value.float() for _, value, _ in latest]).tolist()
        for value, (name, _, paths) in zip(values, latest, strict=True):
            if not math.isfinite(value) or (name == "loss" and value > self._limit):
                raise Divergence(
                    f"The {name.replace('_', ' ')} was {value:.3g} in epoch {epoch + 1}; architectures: "
                    f"{shorten(', '.join(map(str, paths)), _SHOWN_CHARACTERS) or 'none'}"
                )


def check_weights_finite(parameters: Iterable[nn.Parameter], epoch: int) -> None:
    """Check that all weights are finite before a checkpoint.

    Raises:
        Divergence: if a weight is not.
    """
    if not bool(torch.stack([parameter.isfinite().all() for parameter in parameters]).all()):
        raise Divergence(f"A weight was not finite in epoch {epoch + 1}")
