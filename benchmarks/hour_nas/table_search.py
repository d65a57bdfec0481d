"""HourNAS's searches on a table of accuracies: the method's own learner, with a table in the supernet's place."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.common.oracles import KnownOracle
from raynas.interfaces.objective import ARCHITECTURE, MicroBatch, TrainingStep
from search_spaces import Architecture, SearchSpace
from search_spaces.supernet import Segment, State, Supernet
from tuners.hour_nas.sampled_path import ProposalsLearner, SampledPath
from tuners.hour_nas.settings import Temperature

LAST_TEMPERATURE = 0.1
_MEMORY = 0.9
"""The share of the running mean of errors that remains after a network."""


class TableSupernet(Supernet):
    """A supernet whose loss on a path is the table's error of this network, as a share.

    The table has one figure for a network, so every gate of a path has the same gradient: the error of the network
    minus the running mean of earlier errors. This is a score-function estimate. It reaches theta as the gradient of a
    supernet's gates does, through the straight-through gradient of Gumbel-Max.
    """

    def __init__(self, oracle: KnownOracle) -> None:
        super().__init__()
        self._oracle = oracle
        self._mean_error: float | None = None

    def segments(self, architecture: Architecture, gates: Tensor | None = None) -> Sequence[Segment]:
        (top1,) = self._oracle.top1([architecture]).tolist()
        error = 1 - top1 / 100
        mean = error if self._mean_error is None else self._mean_error
        self._mean_error = _MEMORY * mean + (1 - _MEMORY) * error
        gate_sum = torch.zeros(()) if gates is None else (gates - gates.detach()).sum()

        def run(state: State) -> State:
            return (torch.full((len(state[0]), 1), error) + (error - mean) * gate_sum,)

        return [Segment(architecture, run, [])]

    def mixed(self, images: Tensor, weights: Tensor) -> Tensor:
        """Return the mean error of architectures whose options are drawn independently by these weights."""
        indices = list(itertools.product(*self._oracle.space.surviving))
        errors = 1 - self._oracle.top1([self._oracle.space.architecture(each) for each in indices]) / 100
        drawn = weights[torch.arange(len(indices[0])), torch.tensor(indices)].prod(dim=1)
        return (drawn * torch.from_numpy(errors).to(drawn)).sum().expand(len(images), 1)


class ShuffledOracle(KnownOracle):
    """The accuracies of another oracle, each moved to a random architecture."""

    def __init__(self, oracle: KnownOracle, architectures: Sequence[Architecture], seed: int) -> None:
        self.space = oracle.space
        shuffled = np.random.default_rng(seed).permutation(oracle.top1(architectures)).tolist()
        self._top1 = dict(zip((architecture.indices for architecture in architectures), shuffled, strict=True))

    def top1(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        return np.array([self._top1[architecture.indices] for architecture in architectures])


def learn(
    oracle: KnownOracle, space: SearchSpace, targets: Mapping[str, float], proposals: int, updates: int, seed: int
) -> ProposalsLearner:
    """Return a learner after `updates` updates of pi and Theta, with the paper's rate and first temperature.

    The temperature falls by an equal factor at each update, to 0.1.
    """
    objective = SampledPath(targets=dict(targets), proposals=proposals, temperature=Temperature(end=LAST_TEMPERATURE))
    learner = objective.begin(space, space.costs(), seed)
    assert isinstance(learner, ProposalsLearner)
    (update,) = learner.passes(0)[1]
    adam = learner.groups()[ARCHITECTURE]
    batch = [MicroBatch(torch.zeros(1, 3, 1, 1), torch.zeros(1, dtype=torch.int64), share=1.0)]
    generator = np.random.default_rng(seed)
    step = TrainingStep(space, TableSupernet(oracle), batch, generator, lambda logits, labels: logits.mean())
    for number in range(updates):
        update.accumulate(replace(step, progress=number / updates))
        adam.step()
        adam.zero_grad()
    return learner
