"""The scaling model by hand, and beside real searches for a moment."""

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
    asked_for,
    plot,
    speed_rows,
    speeds,
    training_rows,
)
from benchmarks.scaling.check import searched
from benchmarks.scaling.costs import FreeAnswers
from benchmarks.scaling.model import (
    Asked,
    Generation,
    Overheads,
    Starts,
    TrainingCosts,
    added,
    all_reduce,
    line,
    simulate,
    stops_at,
)
from raynas.cluster import ray_session
from raynas.evaluation import prefix_tree

FREE = Overheads()


def test_one_actor_takes_the_sum() -> None:
    generations = [Generation(3, [1 + 2 + 4]), Generation(2, [8 + 16])]
    assert simulate([generations], 0.5, FREE) == pytest.approx(0.5 * 31)


def test_an_actor_an_architecture_takes_the_maximum_of_each_generation() -> None:
    generations = [Generation(3, [1, 4, 2]), Generation(3, [3, 5, 0])]
    assert simulate([generations], 2.0, FREE) == pytest.approx(2 * (4 + 5))


def test_what_a_generation_takes_besides_by_hand() -> None:
    """The second actor is asked at 1 + 2 + 3 * 4 + 2 * 5 = 25, and answers at 25.5."""
    overheads = Overheads(search=1, question=2, architecture=4, actor=5, write=6, report=7)
    assert simulate([[Generation(3, [0.25, 0.5])]], 1.0, overheads) == pytest.approx(25.5 + 6 + 7)
    assert simulate([2 * [Generation(3, [0, 0])]], 1.0, overheads) == pytest.approx(2 * (25 + 6 + 7))
    assert overheads.asking(3, 2) == 24


def test_the_first_actor_may_be_the_last_to_answer() -> None:
    assert simulate([[Generation(2, [9, 1])]], 1.0, Overheads(actor=5)) == pytest.approx(5 + 9)


def test_an_island_computes_while_another_writes() -> None:
    """The actor works from 0 to 4 without a break: on the first island's, the second's, and both once more."""
    islands = 2 * [2 * [Generation(1, [1])]]
    assert simulate(islands, 1.0, Overheads(write=1)) == pytest.approx(4 + 1)
    assert simulate(islands[:1], 1.0, Overheads(write=1)) == pytest.approx(2 * (1 + 1))


def test_tune_takes_reports_one_after_another() -> None:
    assert simulate(3 * [[Generation(1, [0])]], 1.0, Overheads(report=2)) == pytest.approx(6)


def test_an_island_that_begins_later_finds_the_actor_taken() -> None:
    islands = 2 * [[Generation(1, [4])]]
    assert simulate(islands, 1.0, FREE, begins=[0, 1]) == pytest.approx(8)
    assert simulate(islands, 1.0, FREE, begins=[0, 5]) == pytest.approx(9)


def test_islands_are_never_slower_than_one_after_another_nor_faster_than_their_work() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        number, actors, generations = generator.integers(1, 5, 3)
        islands = [
            [Generation(4, generator.integers(0, 9, actors).tolist()) for _ in range(generations)]
            for _ in range(number)
        ]
        overheads = Overheads(*generator.integers(0, 3, 6).tolist())
        alone = [simulate([island], 1.0, overheads) for island in islands]
        together = simulate(islands, 1.0, overheads)
        assert max(alone) <= together <= sum(alone)
        busiest = max(sum(one.asked()[actor] for island in islands for one in island) for actor in range(actors))
        assert together >= busiest


def test_actors_apart_start_side_by_side() -> None:
    starts = Starts(first=5, further=3, create=0.5, weights=1)
    assert [starts.apart(actors) for actors in (1, 3)] == [6, 7]


def test_what_paths_have_in_common_is_counted_once() -> None:
    assert added([("stem", 0, 1), ("stem", 0, 2), ("stem", 1, 1), ("stem", 0, 1)]) == [1, 1 / 3, 2 / 3, 0]


def test_shares_of_a_generation_by_hand() -> None:
    """Neighbours go to one actor, where half of what the second takes is shared."""
    asked = [(0, 0), (0, 1), (1, 0), (1, 1)]
    generation = Asked(
        dict.fromkeys(asked, 10.0), {one: one for one in asked}, dict(zip(asked, range(1, 5), strict=True))
    )
    assert generation.on(1) == Generation(4, [1 + 2 / 2 + 3 + 4 / 2])
    assert generation.on(2) == Generation(4, [1 + 2 / 2, 3 + 4 / 2])
    spread = generation.on(8)
    assert len(spread.work) == 8
    assert sorted(spread.asked().values()) == [1, 2, 3, 4], "the others are not asked"


def test_stages_are_counted_as_the_tree_grows_them() -> None:
    space = search_spaces.load("proxylessnas", width=0.25, resolution=32, num_classes=10)
    supernet = space.supernet()
    generations = asked_for(space, supernet, TimedNsga2(population=8, generations=3), seed=0)
    assert [len(one.macs) for one in generations] == [8, 8, 8]
    assert np.mean([one.work[key] for one in generations for key in one.macs]) == pytest.approx(1, rel=0.2)
    for one in generations:
        architectures = [space.architecture(indices) for indices in sorted(one.macs)]
        nodes = sum(1 for _ in prefix_tree.grow(supernet, architectures)) - 1
        paths = [one.paths[architecture.indices] for architecture in architectures]
        assert sum(share * len(path) for share, path in zip(added(paths), paths, strict=True)) == pytest.approx(nodes)


def test_answers_without_actors_are_the_free_oracles() -> None:
    space = search_spaces.load("proxylessnas", width=0.25, resolution=32, num_classes=10)
    architecture = space.sample(np.random.default_rng(0))
    (answer,) = FreeOracle().evaluate([architecture.indices], None)
    assert FreeAnswers(space).evaluate([architecture])[0].top1 == answer["top1"]
    assert SleepingOracle(seconds=0.0).evaluate([architecture.indices], None) == [answer]


def test_scaling_stops_where_doubling_gains_less_than_a_tenth() -> None:
    assert stops_at({1: 1.0, 2: 1.9, 4: 2.2, 8: 2.3, 16: 9.0}) == 4
    assert stops_at({1: 1.0, 2: 1.1}) is None


def test_a_ring_by_hand() -> None:
    """Of 4 workers each sends 6 messages of a quarter: 6 * (0.5 + 100 / 4 / 50) = 6."""
    assert all_reduce(1, 100, 0.5, 50) == 0
    assert all_reduce(2, 100, 0.5, 50) == pytest.approx(2 * 0.5 + 100 / 50)
    assert all_reduce(4, 100, 0.5, 50) == pytest.approx(6)


def test_a_training_step_by_hand() -> None:
    """3 workers share 10 images: the fullest share has 4."""
    costs = TrainingCosts(step=1, image=2, latency=0.5, bandwidth=10, starts=[7, 9])
    assert costs.step_seconds(1, 10, 30) == 1 + 20
    assert costs.step_seconds(3, 10, 30) == pytest.approx(1 + 8 + 4 * (0.5 + 1))
    assert [costs.start(workers) for workers in (1, 2, 256)] == [7, 9, 9]


def test_a_line_through_what_lies_on_one_and_no_negative_costs() -> None:
    points = [(x, y, 3 + 2 * x + 0.5 * y) for x, y in product((1, 16, 64), (1, 2, 1024))]
    assert line(points) == pytest.approx([3, 2, 0.5])
    assert line([(1, 5.0), (2, 4.0), (3, 3.0)])[1] == 0


def test_every_number_of_actors_and_workers_is_drawn() -> None:
    one = (0, 1)
    generations = 2 * [Asked({one: 10.0}, {one: one}, {one: 1.0})]
    found, walls = speeds(ISLANDS[-1] * [generations], Overheads(search=0.1))
    assert walls == {key: pytest.approx(2 * (0.1 + key[0])) for key in product(SECONDS, ACTORS)}
    assert found[10.0, 1] == {actors: pytest.approx(1) for actors in ACTORS}
    rows = list(speed_rows(10.0, found, walls, Starts(first=5, further=0, create=0, weights=0)))
    assert [row[0] for row in rows] == [str(actors) for actors in ACTORS]
    costs = TrainingCosts(0.01, 0.001, 1e-4, 1e9, [1.0, 2.0])
    assert [row[0] for row in training_rows(costs, 1e6)] == [str(workers) for workers in WORKERS]
    *panels, last = plot(found, costs, 1e6).axes
    assert [len(panel.lines) for panel in panels] == 2 * [len(ISLANDS) + 1]
    assert np.asarray(last.lines[0].get_xdata()).tolist() == WORKERS


@pytest.mark.slow
def test_a_real_search_sleeps_where_it_is_simulated_to() -> None:
    """Every architecture is slept for on the actor that it is simulated on, before its generation is over."""
    with ray_session.connect():
        real = searched(2, 2, TimedNsga2(population=4, generations=3), 0.01)
    assert [len(island) for island in real.generations] == [3, 3]
    generations = [one for island in real.generations for one in island]
    assert all(len(one.work) == 2 and sum(one.asked().values()) == one.architectures == 4 for one in generations)
    assert min(real.begins) == 0
    assert real.wall >= max(simulate([island], 0.01, FREE) for island in real.generations)
    assert real.wall >= 0.01 * max(sum(one.asked().get(actor, 0) for one in generations) for actor in range(2))
