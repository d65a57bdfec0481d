"""The plain loops find networks within the budget, with raynas's accuracies; both sides of a search are timed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.speed.plain_ftso import edges_of_nodes
from benchmarks.speed.plain_loops import run_plainly
from benchmarks.speed.plain_search import Measured, best_of, prune, search_nsga2, train_supernet
from benchmarks.speed.plain_steps import MacsWindow, OneShotAccuracy, Task
from benchmarks.speed.whole_search import RECIPES, SearchRun, cells, run_plain_loop, run_with_raynas
from raynas.evaluation.evaluator import Evaluator
from raynas.recipe.recipe import Recipe
from raynas.results.pareto import non_domination_ranks
from search_spaces import Architecture
from tuners.pad_nas.pruning import operation_frequencies
from tuners.pad_nas.pruning import prune as prune_by_raynas

SMALL_DATA = ["data.fraction=0.2", "data.classes=3"]
FEW_IMAGES = ["evaluation.recalibration_images=64", "evaluation.recalibration_batch_size=32"]
SMALL_SPACE = ["space.width=0.125", "space.resolution=16", "budget.macs={min: 300k, max: 500k}"]
SMALL_SEARCH = [*SMALL_DATA, *FEW_IMAGES, *SMALL_SPACE, "search.population=4", "search.generations=2", "fit.epochs=1"]
SMALLER = {
    "pad-nas-digits": ["method.epochs=[1,1,1]", *SMALL_SEARCH],
    "spos-digits": ["training.epochs=1", *SMALL_SEARCH],
    "ftso-digits": ["method.topology_epochs=1", "space.cells=3", "space.resolution=8", "fit.epochs=1", *SMALL_DATA],
}


@pytest.fixture(scope="module")
def task(image_cache: Path) -> Task:
    return Task.of(Recipe.read("spos-digits", SMALLER["spos-digits"]), torch.contiguous_format)


def measured_by(task: Task, count: int) -> Measured:
    """Return architectures whose accuracy is that of their first choice."""
    generator, window = np.random.default_rng(0), MacsWindow(task)
    drawn = [task.space.sample(generator) for _ in range(count)]
    return {each: (float(each.indices[0]), window.macs([each])[0]) for each in drawn}


def test_every_recipe_is_compared() -> None:
    assert set(RECIPES) == set(SMALLER)


def test_a_row_has_seconds_their_ratio_and_accuracies() -> None:
    by_raynas = [SearchRun(10.0, 50.0, 90.0), SearchRun(12.0, 60.0, 92.0)]
    plain = [SearchRun(30.0, 52.0, 91.0), SearchRun(25.0, 52.0, 91.0)]
    accuracies = ["55.0 ± 5.0", "52.0 ± 0.0", "91.0 ± 1.0", "91.0 ± 0.0"]
    assert cells(by_raynas, plain) == ["10", "25", "2.50x", *accuracies]


@pytest.mark.parametrize("name", RECIPES)
def test_a_plain_loop_finds_a_network(name: str, image_cache: Path) -> None:
    recipe = Recipe.read(name, SMALLER[name])
    result = run_plainly(recipe, torch.contiguous_format)
    task = Task.of(recipe, torch.contiguous_format)
    architecture = task.space.parse(result["architecture"])
    assert 0 <= result["one_shot_top1"] <= 100
    is_trained = name == "ftso-digits"
    assert (result["test_top1"] is not None) == is_trained
    if not is_trained:
        assert MacsWindow(task).is_met(architecture)


def test_the_plain_accuracy_is_the_evaluators(task: Task) -> None:
    supernet = train_supernet(task, task.space, task.recipe.training, {})
    architectures = [task.space.sample(np.random.default_rng(seed)) for seed in range(3)]
    evaluator = Evaluator(task.space, task.images, task.recipe.evaluation, torch.device("cpu"))
    expected = [figures["top1"] for figures in evaluator.one_shot(supernet, architectures)]
    accuracy = OneShotAccuracy(task, supernet)
    assert [accuracy(architecture) for architecture in architectures] == pytest.approx(expected)


def test_the_plain_nsga2_measures_a_search_of_architectures_within_the_window(task: Task) -> None:
    def accuracy(architecture: Architecture) -> float:
        return float(sum(architecture.indices))

    measured = search_nsga2(task, task.space, accuracy, population=8, generations=5)
    window = MacsWindow(task)
    assert 40 <= len(measured) < 48
    assert all(window.is_met(architecture) for architecture in measured)
    best, top1 = best_of(measured)
    assert top1 == max(sum(architecture.indices) for architecture in measured) == sum(best.indices)


def test_plain_pruning_is_the_methods(task: Task) -> None:
    measured = measured_by(task, 40)
    ranks = non_domination_ranks(*zip(*measured.values(), strict=True))
    frequencies = operation_frequencies(task.space, list(measured), ranks, below_rank=3)
    expected = prune_by_raynas(task.space, frequencies, threshold=0.2)
    assert prune(task.space, measured, 0.2, below_rank=3).surviving == expected.surviving


def test_the_nodes_of_two_cells_have_two_to_five_edges(image_cache: Path) -> None:
    task = Task.of(Recipe.read("ftso-digits", SMALLER["ftso-digits"]), torch.contiguous_format)
    assert [len(edges) for edges in edges_of_nodes(task)] == [2, 3, 4, 5, 2, 3, 4, 5]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spos-digits", "ftso-digits"])
def test_both_sides_are_timed(name: str, tmp_path: Path) -> None:
    by_raynas = run_with_raynas(name, SMALLER[name], tmp_path / "run")
    plain = run_plain_loop(name, SMALLER[name], tmp_path / "plain.json", ["--channels-last"])
    for run in (by_raynas, plain):
        assert run.seconds > 0
        assert 0 <= run.one_shot_top1 <= 100
        assert 0 <= run.test_top1 <= 100
