"""PAD-NAS's operation pruning: non-domination ranks, frequencies of operations, and pruned spaces."""

import numpy as np
import pytest

import search_spaces
from raynas.results.pareto import non_domination_ranks
from search_spaces import SearchSpace
from tuners.pad_nas.pruning import operation_frequencies, prune


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return search_spaces.load("nas-bench-macro")


def test_ranks_by_hand() -> None:
    """Two architectures are on the front, two are dominated by the front alone, and one is behind them.

    Equal architectures share a rank.
    """
    top1 = [90.0, 80.0, 85.0, 80.0, 70.0, 90.0]
    macs = [9, 5, 9, 6, 9, 9]
    assert non_domination_ranks(top1, macs).tolist() == [1, 1, 2, 2, 3, 1]


def test_a_rank_is_the_length_of_the_longest_chain_of_domination() -> None:
    generator = np.random.default_rng(0)
    top1, macs = generator.integers(0, 12, size=(2, 150))
    better = (top1[:, None] >= top1) & (macs[:, None] <= macs) & ((top1[:, None] > top1) | (macs[:, None] < macs))
    ranks = np.ones(150, dtype=int)
    for _ in range(150):
        ranks = np.where(better, ranks[:, None] + 1, 1).max(axis=0)
    assert non_domination_ranks(top1, macs).tolist() == ranks.tolist()


def test_frequencies_count_distinct_architectures_of_low_rank(space: SearchSpace) -> None:
    rows = [(0, 0, 0, 0, 0, 0, 0, 0), (0, 1, 0, 0, 0, 0, 0, 0), (1, 1, 0, 0, 0, 0, 0, 2), (2,) * 8, (0,) * 8]
    architectures = [space.architecture(row) for row in rows]
    frequencies = operation_frequencies(space, architectures, ranks=[1, 4, 9, 10, 1])
    assert frequencies.shape == (8, 3)
    np.testing.assert_allclose(frequencies[0], [2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(frequencies[1], [1 / 3, 2 / 3, 0])
    np.testing.assert_allclose(frequencies[7], [2 / 3, 0, 1 / 3])
    np.testing.assert_allclose(frequencies.sum(axis=1), 1.0)


def test_frequencies_without_an_architecture_are_refused(space: SearchSpace) -> None:
    with pytest.raises(ValueError, match="rank below 3"):
        operation_frequencies(space, [space.architecture((0,) * 8)], ranks=[3], below_rank=3)


def test_pruning_removes_options_at_or_below_the_threshold(space: SearchSpace) -> None:
    frequencies = np.tile([0.01, 0.011, 0.979], (8, 1))
    frequencies[7] = [0.0, 1.0, 0.0]
    pruned = prune(space, frequencies, threshold=0.01)
    assert pruned.surviving == ((1, 2),) * 7 + ((1,),)
    assert pruned.size() == 2**7
    assert space.size() == 3**8


def test_pruning_keeps_the_most_frequent_option_whatever_its_frequency(space: SearchSpace) -> None:
    frequencies = np.tile([0.3, 0.4, 0.3], (8, 1))
    assert prune(space, frequencies, threshold=1.0).surviving == ((1,),) * 8


def test_pruning_twice_does_not_restore_options(space: SearchSpace) -> None:
    once = prune(space, np.tile([0.5, 0.0, 0.5], (8, 1)))
    twice = prune(once, np.tile([0.0, 0.0, 1.0], (8, 1)))
    assert once.surviving == ((0, 2),) * 8
    assert twice.surviving == ((2,),) * 8


@pytest.fixture(scope="module")
def cells() -> SearchSpace:
    return search_spaces.load("darts", operations=["skip_connect", "sep_conv_3x3", "max_pool_3x3"])


def test_frequencies_of_subsets_count_every_taken_option(cells: SearchSpace) -> None:
    rows = [(0b011, *[0b000] * 13), (0b001, *[0b111] * 13), (0b101, *[0b100] * 13)]
    frequencies = operation_frequencies(cells, [cells.architecture(row) for row in rows], ranks=[1, 2, 3])
    np.testing.assert_allclose(frequencies[0], [1, 1 / 3, 1 / 3])
    np.testing.assert_allclose(frequencies[1], [1 / 3, 1 / 3, 2 / 3])


def test_pruning_removes_options_of_subsets(cells: SearchSpace) -> None:
    frequencies = np.tile([0.5, 0.01, 0.9], (14, 1))
    frequencies[13] = 0.0
    pruned = prune(cells, frequencies)
    assert pruned.surviving == ((0, 2),) * 13 + ((0,),)
    assert pruned.size() == 4**13 * 2


def test_an_empty_subset_stays_empty(cells: SearchSpace) -> None:
    none_left = cells.restrict({"node2.1": []})
    assert prune(none_left, np.ones((14, 3))).surviving == none_left.surviving
