"""Divergence: a loss that is no number any more, or far above that of guessing, ends a training before it is kept."""

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
"""How many times the loss of guessing is taken for an explosion."""
_SHOWN_CHARACTERS = 200


class Divergence(ArithmeticError):
    """The loss or a weight is not a number any more, or the loss has exploded."""


class LossMonitor:
    """Keeps the losses of the latest steps on their device, so that no step waits for the one before."""

    def __init__(self, classes: int) -> None:
        self._limit = _EXPLODED * math.log(max(classes, 2))
        self._latest: list[tuple[str, Tensor, Sequence[Architecture]]] = []

    def add(self, metrics: Mapping[str, Tensor], paths: Sequence[Architecture]) -> None:
        """Take down a step's losses and the architectures that they are of."""
        self._latest += [(name, value.detach(), paths) for name, value in metrics.items() if name.endswith("loss")]

    def look(self, epoch: int) -> None:
        """See that all losses since the last look are numbers, and none has exploded.

        Raises:
            Divergence: if one is not; it names the epoch and the architecture.
        """
        latest, self._latest = self._latest, []
        if not latest:
            return
        values = torch.stack([value.float() for _, value, _ in latest]).tolist()
        for value, (name, _, paths) in zip(values, latest, strict=True):
            if not math.isfinite(value) or (name == "loss" and value > self._limit):
                raise Divergence(
                    f"The {name.replace('_', ' ')} was {value:.3g} in epoch {epoch + 1}, of "
                    f"{shorten(', '.join(map(str, paths)), _SHOWN_CHARACTERS) or 'no architecture'}"
                )


def check_weights_finite(parameters: Iterable[nn.Parameter], epoch: int) -> None:
    """See that all weights are numbers before they are kept.

    Raises:
        Divergence: if one is not.
    """
    if not bool(torch.stack([parameter.isfinite().all() for parameter in parameters]).all()):
        raise Divergence(f"A weight was not a number in epoch {epoch + 1}")
