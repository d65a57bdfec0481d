"""Oracles in this process whose accuracies are known, so that a search can be compared with the truth."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from benchmarks.common.shared_data import NAS_BENCH_MACRO
from raynas.interfaces.searcher import Evaluation, Search
from search_spaces import Architecture, Costs, SearchSpace


class KnownOracle(ABC):
    """An oracle that measures as the evaluators do, at once and in this process."""

    space: SearchSpace

    @cached_property
    def costs(self) -> Costs:
        return self.space.costs()

    @abstractmethod
    def top1(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        """Return the accuracy of each architecture in per cent, shape (architectures,)."""

    def evaluate(self, architectures: Sequence[Architecture]) -> list[Evaluation]:
        """Return one evaluation for each architecture, in order."""
        costs = self.costs.cost(architectures)
        rows = zip(*(values.tolist() for values in costs.values()), strict=True)
        return [
            Evaluation(
                architecture=architecture,
                top1=top1,
                top5=100.0,
                loss=0.0,
                images=1,
                costs=dict(zip(costs, row, strict=True)),
                seconds=0.0,
            )
            for architecture, top1, row in zip(architectures, self.top1(architectures).tolist(), rows, strict=True)
        ]


def run_search(search: Search, oracle: KnownOracle) -> list[Evaluation]:
    """Run a search to its end. Returns all evaluations in their order."""
    evaluations: list[Evaluation] = []
    while architectures := search.ask():
        generation = oracle.evaluate(architectures)
        search.tell(generation)
        evaluations += generation
    return evaluations


class TableOracle(KnownOracle):
    """NAS-Bench-Macro: the mean test accuracy of three trainings of each of the 6,561 architectures of its space.

    They are 3,969 networks: isomorphic architectures (`SearchSpace.canonical`) have the same figures in the table.

    Raises:
        FileNotFoundError: if `table`, the public JSON file, does not exist.
    """

    def __init__(self, space: SearchSpace, table: Path = NAS_BENCH_MACRO) -> None:
        self.space = space
        rows = json.loads(table.read_text())
        self.accuracy = {tuple(map(int, key)): row["mean_acc"] for key, row in rows.items()}

    def top1(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        return np.array([self.accuracy[architecture.indices] for architecture in architectures])

    def architectures(self) -> list[Architecture]:
        """Return every architecture of the space."""
        return [self.space.architecture(indices) for indices in self.accuracy]


class NeighbourOracle(KnownOracle):
    """A landscape over any chain of choices: each operation and each pair of neighbouring operations adds an amount.

    The amounts are fixed, independent and normal: each operation has a standard deviation of `OPERATION` points, each
    pair of `PAIR` points, on top of `MEAN`. The amount of an operation depends on its neighbours, so no choice can be
    decided alone. It depends on nothing else, so the best architecture can be computed.

    Attributes:
        noise: the standard deviation, in points, of the deviation from the truth. Each architecture has its own fixed
            deviation, because a supernet misjudges each architecture in its own way.
    """

    MEAN = 70.0
    OPERATION = 0.5
    PAIR = 0.25

    def __init__(self, space: SearchSpace, seed: int, noise: float = 0.0) -> None:
        self.space = space
        self.seed = seed
        self.noise = noise
        generator = np.random.default_rng([seed, len(space.choices)])
        lengths = [len(choice.options) for choice in space.choices]
        self.operation = [generator.normal(0.0, self.OPERATION, length) for length in lengths]
        self.pair = [generator.normal(0.0, self.PAIR, shape) for shape in pairwise(lengths)]

    def top1(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        truth = self.truth(architectures)
        if not self.noise:
            return truth
        return truth + [np.random.default_rng([self.seed, *a.indices]).normal(0.0, self.noise) for a in architectures]

    def truth(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        """Return the accuracies without noise, in per cent, shape (architectures,)."""
        indices = np.array([architecture.indices for architecture in architectures]).T
        own = sum(points[index] for points, index in zip(self.operation, indices, strict=True))
        joint = sum(
            points[first, second] for points, first, second in zip(self.pair, indices[:-1], indices[1:], strict=True)
        )
        return np.asarray(self.MEAN + own + joint)

    def best(self) -> Architecture:
        """Return the most accurate architecture at any cost, by dynamic programming over the chain (Viterbi)."""
        score = self._surviving_points(0)
        predecessors = []
        for choice in range(1, len(self.operation)):
            sums = score[:, None] + self.pair[choice - 1] + self._surviving_points(choice)[None, :]
            predecessors.append(sums.argmax(axis=0))
            score = sums.max(axis=0)
        indices = [int(score.argmax())]
        for previous in reversed(predecessors):
            indices.append(int(previous[indices[-1]]))
        return self.space.architecture(indices[::-1])

    def _surviving_points(self, choice: int) -> NDArray[np.float64]:
        points = np.full_like(self.operation[choice], -np.inf)
        surviving = list(self.space.surviving[choice])
        points[surviving] = self.operation[choice][surviving]
        return points

    def best_within(self, most: float, least: float = 0.0) -> Architecture:
        """Return the most accurate architecture of `least` to `most` multiply-adds, by an integer program.

        Each pair of neighbouring options has one binary variable. The chosen pairs must form a path through the chain.
        The unit of costs is their greatest common divisor, so the solver's tolerance cannot admit too costly a path.

        Raises:
            ValueError: if no architecture is within the limits.
        """
        costs = self.costs.as_table()
        table, fixed = costs.table["macs"], costs.fixed["macs"]
        gain, cost, ends = [], [], []
        for choice, points in enumerate(self.pair):
            last = choice == len(self.pair) - 1
            for first in self.space.surviving[choice]:
                for second in self.space.surviving[choice + 1]:
                    gain.append(
                        self.operation[choice][first]
                        + points[first, second]
                        + (self.operation[choice + 1][second] if last else 0.0)
                    )
                    cost.append(table[choice, first] + (table[choice + 1, second] if last else 0.0))
                    ends.append((choice, first, second))
        flow, balance = self._path(ends)
        unit = math.gcd(*map(int, cost))
        solution = milp(
            -np.array(gain),
            constraints=[
                LinearConstraint(flow, balance, balance),
                LinearConstraint(
                    np.array([cost]) / unit,
                    np.ceil((least - fixed) / unit) - 0.5,
                    np.floor((most - fixed) / unit) + 0.5,
                ),
            ],
            bounds=Bounds(0, 1),
            integrality=np.ones(len(gain), dtype=np.int64),
            options={"mip_rel_gap": 0.0},
        )
        if not solution.success:
            raise ValueError(f"No architecture of {self.space.name} costs {least:,.0f} to {most:,.0f} multiply-adds.")
        chosen = [ends[variable] for variable in np.flatnonzero(solution.x > 0.5)]
        return self.space.architecture([chosen[0][1], *(second for _, _, second in chosen)])

    def _path(self, ends: list[tuple[int, int, int]]) -> tuple[coo_array, NDArray[np.float64]]:
        """Return the constraints of one path: one pair starts it, and a path that enters an option also leaves it."""
        inner = [(choice, option) for choice in range(1, len(self.pair)) for option in self.space.surviving[choice]]
        row_of = {node: row for row, node in enumerate(inner, start=1)}
        entries = []
        for variable, (choice, first, second) in enumerate(ends):
            entries.append((row_of[choice, first] if choice else 0, variable, 1.0))
            if (choice + 1, second) in row_of:
                entries.append((row_of[choice + 1, second], variable, -1.0))
        rows, columns, values = zip(*entries, strict=True)
        balance = np.zeros(len(inner) + 1)
        balance[0] = 1.0
        return coo_array((values, (rows, columns)), shape=(len(balance), len(ends))), balance
