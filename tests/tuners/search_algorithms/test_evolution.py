"""SPOS's evolution: offspring come from the best architectures evaluated so far."""

import numpy as np

import search_spaces
from raynas.interfaces.searcher import Evaluation
from search_spaces import Budget
from tuners.search_algorithms.evolution import SposEvolution


def test_offspring_come_from_the_best_architectures_evaluated_so_far() -> None:
    """The second generation is worse than the first, so that the third comes from the best of the first."""
    space = search_spaces.load("proxylessnas")
    costs = space.costs()
    budget = Budget.model_validate({"macs": {"max": 6e8}})
    search = SposEvolution(population=20, generations=3, top_k=4).begin(space, costs, budget, seed=0)

    def tell(generation: int) -> list[tuple[int, ...]]:
        architectures = search.ask()
        macs = costs.cost(architectures)["macs"].tolist()
        top1 = [50.0 - 20 * generation + i for i in range(len(architectures))]
        search.tell(
            [
                Evaluation(a, t, 100.0, 0.0, 1, {"macs": m}, 0.0)
                for a, t, m in zip(architectures, top1, macs, strict=True)
            ]
        )
        return [architecture.indices for architecture in architectures]

    first, _ = tell(0), tell(1)
    best = np.array(first[-4:])
    third = np.array([architecture.indices for architecture in search.ask()])
    from_a_parent = (third[:, None, :] == best).any(axis=1)
    assert from_a_parent[:10].all(), "every gene of a crossover comes from a parent"
    differing = (third[10:, None, :] != best).sum(axis=2).min(axis=1)
    assert 1 <= differing.mean() <= 22 * 0.1 * 2, "a mutation changes about 0.1 x 22 genes of a parent"
