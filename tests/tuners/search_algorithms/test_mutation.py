"""Polynomial mutation of genes against pymoo's operator."""

import numpy as np
import pytest
from pymoo.operators.mutation.pm import mut_pm

from tuners.search_algorithms.mutation import PolynomialMutation, mutation_probabilities


def pymoo_probabilities(options: int, eta: float, draws: int) -> np.ndarray:
    """Return the frequencies of moves among draws of pymoo's operator, rounded."""
    counted = np.zeros((options, options))
    for position in range(options):
        moved = mut_pm(
            np.full((draws, 1), float(position)),
            np.zeros(1),
            np.full(1, options - 1.0),
            np.full(draws, eta),
            np.ones(draws),
            at_least_once=False,
            random_state=np.random.default_rng(position),
        )
        counted[position] = np.bincount(np.rint(moved[:, 0]).astype(int), minlength=options) / draws
    return counted


@pytest.mark.parametrize("eta", [3.0, 20.0])
@pytest.mark.parametrize("options", [2, 3, 7, 19])
def test_probabilities_agree_with_pymoos_operator_rounded(options: int, eta: float) -> None:
    probabilities = mutation_probabilities(options, eta)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    np.testing.assert_allclose(probabilities, pymoo_probabilities(options, eta, draws=40_000), atol=0.01)


def test_the_usual_eta_hardly_changes_short_lists() -> None:
    """With eta = 20, 2 options never change, 3 options in 0.2 % of mutations, and 7 options in 13 %."""
    unchanged = {options: mutation_probabilities(options, 20.0).diagonal().mean() for options in (2, 3, 7)}
    assert unchanged[2] == pytest.approx(1.0, abs=1e-6)
    assert unchanged[3] == pytest.approx(0.998, abs=0.001)
    assert unchanged[7] == pytest.approx(0.87, abs=0.01)


@pytest.mark.parametrize("options", [2, 3, 7, 19])
def test_a_chosen_gene_always_changes(options: int) -> None:
    generator = np.random.default_rng(0)
    mutation = PolynomialMutation(np.full(4, options), eta=3.0, probability=1.0)
    genomes = generator.integers(options, size=(5_000, 4))
    mutated = mutation(genomes, generator)
    assert (mutated != genomes).all()
    assert mutated.min() == 0
    assert mutated.max() == options - 1


def test_other_options_keep_their_proportions() -> None:
    mutation = PolynomialMutation(np.array([7]), eta=3.0, probability=1.0)
    mutated = mutation(np.full((200_000, 1), 2), np.random.default_rng(1))
    others = mutation_probabilities(7, 3.0)[2]
    others[2] = 0.0
    counted = np.bincount(mutated[:, 0], minlength=7) / len(mutated)
    np.testing.assert_allclose(counted, others / others.sum(), atol=0.005)


def test_a_choice_with_one_survivor_never_mutates_and_other_choices_do_with_the_set_probability() -> None:
    generator = np.random.default_rng(2)
    mutation = PolynomialMutation(np.array([1, 2, 19]), eta=3.0, probability=0.25)
    genomes = np.zeros((40_000, 3), dtype=np.int64)
    changed = (mutation(genomes, generator) != genomes).mean(axis=0)
    np.testing.assert_allclose(changed, [0.0, 0.25, 0.25], atol=0.01)
    assert (genomes == 0).all()
