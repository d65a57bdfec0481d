"""Oracles: accuracies that are known at once, so that a search can be measured against the truth."""

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

from raynas.interfaces.searcher import Evaluation, Search
from search_spaces import Architecture, Costs, SearchSpace

MACRO_TABLE = Path(__file__).parents[3] / "shared" / "data" / "nas-bench-macro_cifar10.json"


class Oracle(ABC):
    """Answers as the supernet actors do, at once and without noise."""

    space: SearchSpace

    @cached_property
    def costs(self) -> Costs:
        return self.space.costs()

    @abstractmethod
    def top1(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        """The accuracy of each architecture in per cent, shape (architectures,)."""

    def evaluate(self, architectures: Sequence[Architecture]) -> list[Evaluation]:
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


def drive(search: Search, oracle: Oracle) -> list[Evaluation]:
    """Run a search to its end; every evaluation in the order asked."""
    evaluations: list[Evaluation] = []
    while asked := search.ask():
        answers = oracle.evaluate(asked)
        search.tell(answers)
        evaluations += answers
    return evaluations


class TableOracle(Oracle):
    """NAS-Bench-Macro: the mean test accuracy of three trainings of each of the 6,561 architectures of its space.

    They are 3,969 networks: the table gives isomorphic ones (`SearchSpace.canonical`) the same figures.

    Raises:
        FileNotFoundError: if the public table is not at `table`.
    """

    def __init__(self, space: SearchSpace, table: Path = MACRO_TABLE) -> None:
        self.space = space
        rows = json.loads(table.read_text())
        self.accuracy = {tuple(map(int, key)): row["mean_acc"] for key, row in rows.items()}

    def top1(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        return np.array([self.accuracy[architecture.indices] for architecture in architectures])

    def architectures(self) -> list[Architecture]:
        """Every architecture of the space."""
        return [self.space.architecture(indices) for indices in self.accuracy]


class NeighbourOracle(Oracle):
    """A landscape over any chain of choices: each operation and each pair of neighbouring operations adds an amount.

    The amounts are normal, independent and fixed: per operation `OPERATION` and per pair `PAIR` points of standard
    deviation, on top of `MEAN`. As an operation's worth depends on its neighbours, no choice can be settled alone; as
    it depends on nothing further, the best architecture can be computed.

    `noise` is how far, in points of standard deviation, what is answered strays from that truth: by a fixed amount an
    architecture, as a supernet misjudges each in its own way.
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
        """The accuracies without noise, in per cent, shape (architectures,)."""
        indices = np.array([architecture.indices for architecture in architectures]).T
        own = sum(worth[index] for worth, index in zip(self.operation, indices, strict=True))
        joint = sum(
            worth[first, second] for worth, first, second in zip(self.pair, indices[:-1], indices[1:], strict=True)
        )
        return np.asarray(self.MEAN + own + joint)

    def best(self) -> Architecture:
        """The most accurate architecture whatever it costs, by dynamic programming over the chain (Viterbi)."""
        score = self._restricted(0)
        came_from = []
        for choice in range(1, len(self.operation)):
            reached = score[:, None] + self.pair[choice - 1] + self._restricted(choice)[None, :]
            came_from.append(reached.argmax(axis=0))
            score = reached.max(axis=0)
        indices = [int(score.argmax())]
        for previous in reversed(came_from):
            indices.append(int(previous[indices[-1]]))
        return self.space.architecture(indices[::-1])

    def _restricted(self, choice: int) -> NDArray[np.float64]:
        worth = np.full_like(self.operation[choice], -np.inf)
        surviving = list(self.space.surviving[choice])
        worth[surviving] = self.operation[choice][surviving]
        return worth

    def best_within(self, macs: float) -> Architecture:
        """The most accurate architecture of at most `macs` multiply-adds, by an integer programme solved to optimality.

        One binary variable a pair of neighbouring options; the pairs chosen must form a path through the chain. Costs
        are counted in their greatest common divisor, so that the solver's tolerance cannot let too dear a path through.

        Raises:
            ValueError: if there is none.
        """
        costs = self.costs.as_table()
        table, fixed = costs.table["macs"].numpy(), costs.fixed["macs"]
        gain, cost, ends = [], [], []
        for choice, worth in enumerate(self.pair):
            last = choice == len(self.pair) - 1
            for first in self.space.surviving[choice]:
                for second in self.space.surviving[choice + 1]:
                    gain.append(
                        self.operation[choice][first]
                        + worth[first, second]
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
                LinearConstraint(np.array([cost]) / unit, -np.inf, math.floor((macs - fixed) / unit) + 0.5),
            ],
            bounds=Bounds(0, 1),
            integrality=np.ones(len(gain), dtype=np.int64),
            options={"mip_rel_gap": 0.0},
        )
        if not solution.success:
            raise ValueError(f"No architecture of {self.space.name} costs at most {macs:,.0f} multiply-adds.")
        chosen = [ends[variable] for variable in np.flatnonzero(solution.x > 0.5)]
        return self.space.architecture([chosen[0][1], *(second for _, _, second in chosen)])

    def _path(self, ends: list[tuple[int, int, int]]) -> tuple[coo_array, NDArray[np.float64]]:
        """Rows that hold where the pairs chosen form one path: one starts, and each option entered is left."""
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
