"""The contract checks of `raynas.testing`: every built-in space, searcher and method passes, a broken one fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import raynas
import search_spaces
from raynas.interfaces.objective import Objective, UniformPath
from raynas.interfaces.searcher import Searcher
from raynas.study import method
from raynas.testing import check_method, check_objective, check_searcher, check_space
from search_spaces import Budget
from search_spaces.chain.space import ChainSpace
from tuners.darts.weighted_mixture import Mixture
from tuners.dmasking.masked_mixture import MaskedMixture
from tuners.fp_nas.drawn_paths import DrawnPaths
from tuners.hour_nas.sampled_path import SampledPath
from tuners.search_algorithms.evolution import SposEvolution
from tuners.search_algorithms.nsga2 import ConstrainedNsga2
from tuners.search_algorithms.random_search import RandomSearch

MACRO: dict[str, Any] = {"name": "nas-bench-macro", "width": 0.25, "resolution": 16}
STRIDES = {"stem_stride": 1, "stage_strides": [1] * 7}
CHAIN: dict[str, Any] = {"name": "proxylessnas", "width": 0.125, "resolution": 16, **STRIDES}
CELLS: dict[str, Any] = {"name": "nats-bench", "cells": 1, "channels": 4, "resolution": 16}
DARTS: dict[str, Any] = {"name": "darts", "cells": 3, "channels": 4, "resolution": 16}
COMMON: dict[str, Any] = {
    "data": {"name": "digits", "fraction": 0.3},
    "training": {"batch_size": 64, "learning_rate": 0.05},
    "evaluation": {"recalibration_images": 64, "recalibration_batch_size": 64},
    "fit": {"epochs": 1, "batch_size": 64, "learning_rate": 0.05},
    "scale": {"evaluate": {"actors": 1}},
}
SEARCH = {"population": 6, "generations": 2}
WINDOW = {"macs": {"min": "400k", "max": "1.2M"}}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", search_spaces.names())
def test_every_space_keeps_its_contract(name: str) -> None:
    check_space(search_spaces.load(name, width=0.25, resolution=32, num_classes=5), architectures=2)


class UncountedBlock(ChainSpace):
    """A chain space whose costs leave something out."""

    def costs(self, *args: Any, **kwargs: Any) -> Any:
        costs = super().costs(*args, **kwargs)
        return replace(costs, fixed={**costs.fixed, "macs": costs.fixed["macs"] - 1})


def test_a_space_with_wrong_costs_is_refused() -> None:
    space = search_spaces.load(**MACRO)
    space.__class__ = UncountedBlock
    with pytest.raises(AssertionError, match="has the counted multiply-adds"):
        check_space(space, architectures=1)


@pytest.mark.parametrize("searcher", [ConstrainedNsga2, SposEvolution, RandomSearch])
def test_every_searcher_keeps_its_contract(searcher: type[Searcher]) -> None:
    space = search_spaces.load(**MACRO)
    check_searcher(searcher.model_validate(SEARCH | {"generations": 4}), space, Budget.model_validate(WINDOW))


def test_a_searcher_that_leaves_the_budget_is_refused() -> None:
    class Careless(RandomSearch):
        def begin(self, space: Any, costs: Any, budget: Budget, seed: int) -> Any:
            return super().begin(space, costs, Budget({}), seed)

    budget = Budget.model_validate({"macs": {"max": "150k"}})
    with pytest.raises(AssertionError, match="meets the budget"):
        check_searcher(Careless(population=32), search_spaces.load(**MACRO), budget)


@pytest.mark.parametrize(
    ("objective", "space"),
    [
        (UniformPath(), MACRO),
        (DrawnPaths(warmup_epochs=0, joint_from=0), MACRO),
        (SampledPath(targets={}, proposals=1), CHAIN),
        (MaskedMixture(warmup_epochs=0), CHAIN),
        (Mixture(edges="softmax"), DARTS),
        (Mixture(edges="raw"), DARTS),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_objective_keeps_its_contract(objective: Objective, space: dict[str, Any]) -> None:
    check_objective(objective, search_spaces.load(**space))


RECIPES: dict[str, dict[str, Any]] = {
    "i-supernet": {"method": {"epochs": [1], "learning_rates": [0.1]}, "space": MACRO},
    "p-supernet": {"method": {"epochs": [1, 1], "learning_rates": [0.1, 0.05]}, "space": MACRO},
    "random": {"training": {"epochs": 1}, "space": MACRO},
    "parsec": {"method": {"epochs": 2, "warmup_epochs": 1, "sample_size": {"fixed": 2}}, "space": MACRO},
    "darts": {"training": {"epochs": 1}, "space": CELLS, "method": {"inputs": None}},
    "pc-darts": {"training": {"epochs": 1}, "method": {"warmup_epochs": 0}, "space": {**DARTS, "partial": 4}},
}
WITHOUT_BUDGET = {"darts", "pc-darts"}
WITH_SEARCH = {"i-supernet", "p-supernet", "random"}
FINISHED = {"pad-nas", "spos", "hour-nas", "fp-nas", "dmasking", "hm-nas", "ftso"}
"""Methods with a finished run that other tests read. The contract is checked where the run is made."""
SWEEPS = {"sweep", "hour-nas-sweep", "fp-nas-sweep"}


def recipe_of(name: str) -> dict[str, Any]:
    recipe = RECIPES[name]
    whole = {**COMMON, **recipe, "method": {"name": name, **recipe.get("method", {})}}
    whole["training"] = {**COMMON["training"], **recipe.get("training", {})}
    if "learning_rates" in whole["method"]:
        del whole["training"]["learning_rate"]
    if name not in WITHOUT_BUDGET:
        whole.setdefault("budget", WINDOW)
    if name in WITH_SEARCH:
        whole.setdefault("search", SEARCH)
    return whole


def test_every_method_has_a_recipe_here() -> None:
    assert set(RECIPES) | FINISHED | SWEEPS == set(method.method_names())


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("name", RECIPES)
def test_every_method_keeps_its_contract(name: str, tmp_path: Path) -> None:
    check_method(recipe_of(name), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FINISHED))
def test_every_method_with_a_finished_run_keeps_its_contract(name: str, finished_run: Callable[[str], Path]) -> None:
    assert raynas.load(finished_run(name)).method == name
