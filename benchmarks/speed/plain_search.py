"""PAD-NAS and SPOS written plainly: PyTorch and pymoo in one process, one architecture after the other."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.evaluator import Evaluator
from pymoo.core.problem import Problem
from pymoo.operators.crossover.pntx import TwoPointCrossover
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.problems.static import StaticProblem
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting
from torch import Tensor

from benchmarks.speed.plain_steps import MacsWindow, OneShotAccuracy, Task, train
from raynas.recipe.settings import TrainingSettings
from raynas.study.method import method_of_recipe
from search_spaces import Architecture, SearchSpace
from search_spaces.supernet import Supernet
from tuners.pad_nas.baselines import Spos
from tuners.pad_nas.method import PadNas

Accuracy = Callable[[Architecture], float]
Measured = dict[Architecture, tuple[float, float]]
"""The one-shot accuracy in per cent and the multiply-adds of each architecture."""
_MAX_TRIES = 10_000


def pad_nas(task: Task) -> tuple[Architecture, float]:
    """Train, search, prune and tune in turn. Returns the best architecture and its one-shot accuracy."""
    method = method_of_recipe(task.recipe)
    assert isinstance(method, PadNas)
    space, weights, measured = task.space, dict[str, Tensor](), Measured()
    for stage, (epochs, rate) in enumerate(zip(method.epochs, method.learning_rates, strict=True)):
        if stage:
            space = prune(space, measured, method.prune_below, method.below_rank)
        settings = task.recipe.training.changed(epochs=epochs, learning_rate=rate)
        supernet = train_supernet(task, space, settings, weights)
        weights = {key: value.clone() for key, value in supernet.state_dict().items()}
        accuracy = OneShotAccuracy(task, supernet)
        measured = search_nsga2(task, space, accuracy, method.search.population, method.search.generations)
    return best_of(measured)


def spos(task: Task) -> tuple[Architecture, float]:
    """Train a supernet and search it by evolution. Returns the best architecture and its one-shot accuracy."""
    method = method_of_recipe(task.recipe)
    assert isinstance(method, Spos)
    accuracy = OneShotAccuracy(task, train_supernet(task, task.space, task.recipe.training, {}))
    random, window, space, search = np.random.default_rng(task.recipe.seed), MacsWindow(task), task.space, method.search

    def cross(parents: Sequence[Architecture]) -> Architecture:
        pairs = zip(*(parents[int(random.integers(len(parents)))].indices for _ in range(2)), strict=True)
        return space.architecture([pair[random.integers(2)] for pair in pairs])

    def mutate(parents: Sequence[Architecture]) -> Architecture:
        parent, other = parents[int(random.integers(len(parents)))].indices, space.sample(random).indices
        redrawn = random.random(len(parent)) < search.mutation_probability
        return space.architecture(
            [new if is_new else old for old, new, is_new in zip(parent, other, redrawn, strict=True)]
        )

    measured: Measured = {}
    generation = draw_feasible(window, search.population, lambda: space.sample(random), measured)
    for _ in range(search.generations):
        measured |= {each: (accuracy(each), window.macs([each])[0]) for each in generation}
        parents = sorted(measured, key=lambda each: -measured[each][0])[: search.top_k]
        half = search.population // 2
        crossed = draw_feasible(window, half, partial(cross, parents), measured)
        known = {*measured, *crossed}
        rest = search.population - len(crossed)
        generation = [*crossed, *draw_feasible(window, rest, partial(mutate, parents), known)]
    return best_of(measured)


def train_supernet(task: Task, space: SearchSpace, settings: TrainingSettings, weights: dict[str, Tensor]) -> Supernet:
    """Train a supernet by uniform paths, from new weights or from inherited weights."""
    torch.manual_seed(task.recipe.seed)
    random = np.random.default_rng(task.recipe.seed)
    supernet = space.supernet()
    supernet.load_state_dict({key: weights.get(key, value) for key, value in supernet.state_dict().items()})
    train(task, supernet, lambda images: supernet(images, space.sample(random)), task.images.rows("train"), settings)
    return supernet


def search_nsga2(task: Task, space: SearchSpace, accuracy: Accuracy, population: int, generations: int) -> Measured:
    """Search by pymoo's NSGA-II, until as many architectures are measured as the recipe says."""
    random, window = np.random.default_rng(task.recipe.seed), MacsWindow(task)
    most = [len(options) - 1 for options in space.surviving]
    problem = Problem(len(most), n_obj=2, n_ieq_constr=1, xl=np.zeros(len(most)), xu=np.array(most), vtype=int)
    measured: Measured = {}
    first = draw_feasible(window, population, lambda: space.sample(random), ())
    genes = [[list(s).index(v) for s, v in zip(space.surviving, each.indices, strict=True)] for each in first]
    algorithm = NSGA2(
        pop_size=population,
        sampling=np.array(genes),
        crossover=TwoPointCrossover(repair=RoundingRepair()),
        mutation=PM(prob_var=1 / len(space.choices), eta=3, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    algorithm.setup(problem, termination=("n_gen", 20 * generations), seed=task.recipe.seed, verbose=False)
    while algorithm.has_next() and len(measured) < population * generations:
        offspring = algorithm.ask()
        objectives, excess = measure_genes(offspring.get("X"), space, window, accuracy, measured)
        Evaluator().eval(StaticProblem(problem, F=objectives, G=excess), offspring)
        algorithm.tell(infills=offspring)
    return measured


def measure_genes(
    genes: NDArray[np.float64], space: SearchSpace, window: MacsWindow, accuracy: Accuracy, measured: Measured
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure the architectures within the window that were not measured before.

    Returns:
        The objectives to minimise, shape (architectures, 2): the negative accuracy and the multiply-adds; and the
        multiply-adds outside the window, shape (architectures, 1).
    """
    rows = [zip(space.surviving, row.astype(int), strict=True) for row in genes]
    architectures = [space.architecture([options[gene] for options, gene in row]) for row in rows]
    macs = window.macs(architectures)
    excess = window.excess(macs)
    for architecture, cost, outside in zip(architectures, macs, excess, strict=True):
        if outside <= 0 and architecture not in measured:
            measured[architecture] = (accuracy(architecture), cost)
    top1 = [measured.get(architecture, (0.0, 0.0))[0] for architecture in architectures]
    return np.column_stack([-np.array(top1), macs]), excess[:, None]


def prune(space: SearchSpace, measured: Measured, threshold: float, below_rank: int) -> SearchSpace:
    """Drop the operations that the first non-dominated fronts hardly use."""
    objectives = np.array(list(measured.values())) * [-1.0, 1.0]
    fronts = NonDominatedSorting().do(objectives)[: below_rank - 1]
    counted = [list(measured)[place] for front in fronts for place in front]
    kept = {}
    for number, (choice, options) in enumerate(zip(space.choices, space.surviving, strict=True)):
        taken = [architecture.indices[number] for architecture in counted]
        share = {option: taken.count(option) / len(taken) for option in options}
        most = max(share, key=lambda option: share[option])
        kept[choice.name] = [choice.options[o] for o in options if share[o] > threshold or o == most]
    return space.restrict(kept)


def draw_feasible(
    window: MacsWindow,
    count: int,
    propose: Callable[[], Architecture],
    known: Container[Architecture],
) -> list[Architecture]:
    """Return up to `count` new architectures within the window; fewer after 10,000 proposals."""
    new: dict[Architecture, None] = {}
    for _ in range(_MAX_TRIES):
        architecture = propose()
        if architecture not in known and window.is_met(architecture):
            new[architecture] = None
        if len(new) == count:
            break
    return list(new)


def best_of(measured: Measured) -> tuple[Architecture, float]:
    """Return the most accurate architecture, at equal accuracy the cheapest, and its accuracy."""
    best = max(measured, key=lambda each: (measured[each][0], -measured[each][1]))
    return best, measured[best][0]
