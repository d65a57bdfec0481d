"""The scaling model by hand, and beside a short real search."""

from itertools import product

import numpy as np
import pytest

import search_spaces
from benchmarks.common.actor_oracles import FreeOracle, SleepingOracle
from benchmarks.common.timed_search import TimedNsga2
from benchmarks.scaling.__main__ import (
    ACTORS,
    ISLANDS,
    SECONDS,
    WORKERS,
    plot,
    search_generations,
    speed_rows,
    speeds,
    training_rows,
)
from benchmarks.scaling.check import search_for_real
from benchmarks.scaling.costs import LocalFreeOracle
from benchmarks.scaling.model import (
    Generation,
    GenerationWork,
    Overheads,
    Starts,
    TrainingCosts,
    all_reduce,
    fit_line,
    new_shares,
    simulate,
    stops_at,
)
from raynas.evaluation import prefix_tree

FREE = Overheads()


def test_one_evaluator_takes_the_sum() -> None:
    generations = [GenerationWork(3, [1 + 2 + 4]), GenerationWork(2, [8 + 16])]
    assert simulate([generations], 0.5, FREE) == pytest.approx(0.5 * 31)


def test_with_one_architecture_for_each_evaluator_the_slowest_counts() -> None:
    generations = [GenerationWork(3, [1, 4, 2]), GenerationWork(3, [3, 5, 0])]
    assert simulate([generations], 2.0, FREE) == pytest.approx(2 * (4 + 5))


def test_overheads_of_a_generation_by_hand() -> None:
    """The second evaluator gets its request at 1 + 2 + 3 * 4 + 2 * 5 = 25, and answers at 25.5."""
    overheads = Overheads(search=1, request=2, architecture=4, actor=5, write=6, report=7)
    assert simulate([[GenerationWork(3, [0.25, 0.5])]], 1.0, overheads) == pytest.approx(25.5 + 6 + 7)
    assert simulate([2 * [GenerationWork(3, [0, 0])]], 1.0, overheads) == pytest.approx(2 * (25 + 6 + 7))
    assert overheads.request_seconds(3, 2) == 24


def test_the_first_evaluator_may_be_the_last_to_answer() -> None:
    assert simulate([[GenerationWork(2, [9, 1])]], 1.0, Overheads(actor=5)) == pytest.approx(5 + 9)


def test_an_island_computes_while_another_writes() -> None:
    """The evaluator works from 0 to 4 without a break: on each island's first generation, then on each second."""
    islands = 2 * [2 * [GenerationWork(1, [1])]]
    assert simulate(islands, 1.0, Overheads(write=1)) == pytest.approx(4 + 1)
    assert simulate(islands[:1], 1.0, Overheads(write=1)) == pytest.approx(2 * (1 + 1))


def test_tune_takes_reports_one_after_another() -> None:
    assert simulate(3 * [[GenerationWork(1, [0])]], 1.0, Overheads(report=2)) == pytest.approx(6)


def test_an_island_that_begins_later_waits_for_the_evaluator() -> None:
    islands = 2 * [[GenerationWork(1, [4])]]
    assert simulate(islands, 1.0, FREE, begins=[0, 1]) == pytest.approx(8)
    assert simulate(islands, 1.0, FREE, begins=[0, 5]) == pytest.approx(9)


def test_islands_are_never_slower_than_one_after_another_nor_faster_than_their_work() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        number, actors, generations = generator.integers(1, 5, 3)
        islands = [
            [GenerationWork(4, generator.integers(0, 9, actors).tolist()) for _ in range(generations)]
            for _ in range(number)
        ]
        overheads = Overheads(*generator.integers(0, 3, 6).tolist())
        sequential = [simulate([island], 1.0, overheads) for island in islands]
        parallel = simulate(islands, 1.0, overheads)
        assert max(sequential) <= parallel <= sum(sequential)
        busiest = max(
            sum(generation.by_evaluator()[actor] for island in islands for generation in island)
            for actor in range(actors)
        )
        assert parallel >= busiest


def test_evaluators_on_their_own_cores_start_side_by_side() -> None:
    starts = Starts(first=5, further=3, create=0.5, weights=1)
    assert [starts.on_own_cores(actors) for actors in (1, 3)] == [6, 7]


def test_shared_prefixes_count_once() -> None:
    assert new_shares([("stem", 0, 1), ("stem", 0, 2), ("stem", 1, 1), ("stem", 0, 1)]) == [1, 1 / 3, 2 / 3, 0]


def test_shares_of_a_generation_by_hand() -> None:
    """Neighbours go to one evaluator, where half of the second's work is shared."""
    keys = [(0, 0), (0, 1), (1, 0), (1, 1)]
    generation = Generation(
        dict.fromkeys(keys, 10.0), {key: key for key in keys}, dict(zip(keys, range(1, 5), strict=True))
    )
    assert generation.assigned(1) == GenerationWork(4, [1 + 2 / 2 + 3 + 4 / 2])
    assert generation.assigned(2) == GenerationWork(4, [1 + 2 / 2, 3 + 4 / 2])
    spread = generation.assigned(8)
    assert len(spread.work) == 8
    assert sorted(spread.by_evaluator().values()) == [1, 2, 3, 4], "the other evaluators have no work"


def test_segments_are_counted_like_the_nodes_of_the_tree() -> None:
    space = search_spaces.load("proxylessnas", width=0.25, resolution=32, num_classes=10)
    supernet = space.supernet()
    generations = search_generations(space, supernet, TimedNsga2(population=8, generations=3), seed=0)
    assert [len(generation.macs) for generation in generations] == [8, 8, 8]
    assert np.mean([generation.work[key] for generation in generations for key in generation.macs]) == pytest.approx(
        1, rel=0.2
    )
    for generation in generations:
        architectures = [space.architecture(indices) for indices in sorted(generation.macs)]
        nodes = sum(1 for _ in prefix_tree.grow(supernet, architectures)) - 1
        paths = [generation.paths[architecture.indices] for architecture in architectures]
        assert sum(share * len(path) for share, path in zip(new_shares(paths), paths, strict=True)) == pytest.approx(
            nodes
        )


def test_the_local_free_oracle_has_the_figures_of_the_free_oracle() -> None:
    space = search_spaces.load("proxylessnas", width=0.25, resolution=32, num_classes=10)
    architecture = space.sample(np.random.default_rng(0))
    (figures,) = FreeOracle().evaluate([architecture.indices], None)
    assert LocalFreeOracle(space).evaluate([architecture])[0].top1 == figures["top1"]
    assert SleepingOracle(seconds=0.0).evaluate([architecture.indices], None) == [figures]


def test_scaling_stops_if_doubling_gains_less_than_a_tenth() -> None:
    assert stops_at({1: 1.0, 2: 1.9, 4: 2.2, 8: 2.3, 16: 9.0}) == 4
    assert stops_at({1: 1.0, 2: 1.1}) is None


def test_a_ring_by_hand() -> None:
    """Each of 4 workers sends 6 messages of a quarter: 6 * (0.5 + 100 / 4 / 50) = 6."""
    assert all_reduce(1, 100, 0.5, 50) == 0
    assert all_reduce(2, 100, 0.5, 50) == pytest.approx(2 * 0.5 + 100 / 50)
    assert all_reduce(4, 100, 0.5, 50) == pytest.approx(6)


def test_a_training_step_by_hand() -> None:
    """3 workers share 10 images: the largest share has 4."""
    costs = TrainingCosts(step=1, image=2, latency=0.5, bandwidth=10, starts=[7, 9])
    assert costs.step_seconds(1, 10, 30) == 1 + 20
    assert costs.step_seconds(3, 10, 30) == pytest.approx(1 + 8 + 4 * (0.5 + 1))
    assert [costs.start(workers) for workers in (1, 2, 256)] == [7, 9, 9]


def test_a_fit_reproduces_a_line_and_has_no_negative_costs() -> None:
    points = [(x, y, 3 + 2 * x + 0.5 * y) for x, y in product((1, 16, 64), (1, 2, 1024))]
    assert fit_line(points) == pytest.approx([3, 2, 0.5])
    assert fit_line([(1, 5.0), (2, 4.0), (3, 3.0)])[1] == 0


def test_rows_and_plot_have_every_number_of_evaluators_and_workers() -> None:
    key = (0, 1)
    generations = 2 * [Generation({key: 10.0}, {key: key}, {key: 1.0})]
    by_islands, walls = speeds(ISLANDS[-1] * [generations], Overheads(search=0.1))
    assert walls == {(s, actors): pytest.approx(2 * (0.1 + s)) for s, actors in product(SECONDS, ACTORS)}
    assert by_islands[10.0, 1] == {actors: pytest.approx(1) for actors in ACTORS}
    rows = list(speed_rows(10.0, by_islands, walls, Starts(first=5, further=0, create=0, weights=0)))
    assert [row[0] for row in rows] == [str(actors) for actors in ACTORS]
    costs = TrainingCosts(0.01, 0.001, 1e-4, 1e9, [1.0, 2.0])
    assert [row[0] for row in training_rows(costs, 1e6)] == [str(workers) for workers in WORKERS]
    *panels, last = plot(by_islands, costs, 1e6).axes
    assert [len(panel.lines) for panel in panels] == 2 * [len(ISLANDS) + 1]
    assert np.asarray(last.lines[0].get_xdata()).tolist() == WORKERS


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_real_search_has_the_assignments_of_its_simulation() -> None:
    """Each evaluator sleeps for its simulated architectures, before the generation is over."""
    real = search_for_real(2, 2, TimedNsga2(population=4, generations=3), 0.01)
    assert [len(island) for island in real.generations] == [3, 3]
    generations = [generation for island in real.generations for generation in island]
    for generation in generations:
        assert len(generation.work) == 2
        assert sum(generation.by_evaluator().values()) == generation.architectures == 4
    assert min(real.begins) == 0
    assert real.wall >= max(simulate([island], 0.01, FREE) for island in real.generations)
    assert real.wall >= 0.01 * max(
        sum(generation.by_evaluator().get(actor, 0) for generation in generations) for actor in range(2)
    )
