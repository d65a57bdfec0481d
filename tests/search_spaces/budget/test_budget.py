"""Budgets, decided exactly: compared with every architecture of a small space, and by hand."""

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import search_spaces
from search_spaces import Budget, Costs, SearchSpace, UserError
from search_spaces.costs import Amounts, TableCosts


@pytest.fixture(scope="module")
def macro() -> SearchSpace:
    return search_spaces.load("nas-bench-macro")


@pytest.fixture(scope="module")
def macro_costs(macro: SearchSpace) -> dict[str, Amounts]:
    return macro.costs().cost([macro.architecture(indices) for indices in product(range(3), repeat=8)])


def refusal(costs: Costs, **budget: Any) -> str:
    with pytest.raises(UserError) as raised:
        Budget.model_validate(budget).check(costs)
    return str(raised.value)


def test_interval_and_forms_of_a_limit() -> None:
    budget = Budget.model_validate(
        {"macs": {"max": "300M"}, "params": {"target": 4e6, "tolerance": 0.05}, "latency_ms": {"min": 60, "max": "70"}}
    )
    assert [budget.root[name].interval() for name in ("macs", "params", "latency_ms")] == [
        (-np.inf, 300e6),
        (3.8e6, 4.2e6),
        (60, 70),
    ]
    assert Budget.model_validate({"macs": {"max": "1.5G"}}).root["macs"].max == 1.5e9
    assert Budget.model_validate({"macs": {"max": "300e6"}}).root["macs"].max == 300e6


@pytest.mark.parametrize(
    "limit",
    [
        {"max": "many"},
        {"max": -1},
        {"most": 1},
        {"target": 1e6},
        {"target": 1e6, "tolerance": 0.1, "max": 2e6},
        {"max": "M"},
    ],
)
def test_malformed_limits_are_refused(limit: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Budget.model_validate({"macs": limit})


def test_met_includes_both_ends_to_the_unit() -> None:
    budget = Budget.model_validate({"macs": {"min": 300_000_001, "max": 300_000_003}})
    macs = np.array([300_000_000, 300_000_001, 300_000_003, 300_000_004])
    assert budget.met({"macs": macs}).tolist() == [False, True, True, False]
    assert Budget.model_validate({}).met({"macs": macs}).all()


def test_check_agrees_with_all_6561_architectures(macro: SearchSpace, macro_costs: dict[str, Amounts]) -> None:
    generator = np.random.default_rng(0)
    costs = macro.costs()
    verdicts = []
    for _ in range(16):
        some = generator.integers(6561)
        windows = {}
        for resource in ("macs", "params"):
            centre = macro_costs[resource][some].item() * (1 + 0.02 * generator.normal())
            share = 10.0 ** -generator.uniform(1.5, 3)
            windows[resource] = {"min": centre * (1 - share), "max": centre * (1 + share)}
        budget = Budget.model_validate(windows)
        possible = bool(budget.met(macro_costs).any())
        verdicts.append(possible)
        if possible:
            budget.check(costs)
            example = budget.example(macro, costs, generator)
            assert example is not None
            assert budget.met(costs.cost([example])).all()
        else:
            refusal(costs, **windows)
            assert budget.example(macro, costs, generator) is None
    assert 3 < sum(verdicts) < 13


def test_check_agrees_with_all_latencies(macro: SearchSpace) -> None:
    generator = np.random.default_rng(5)
    counted = macro.costs().as_table()
    every = np.array(list(product(range(3), repeat=8)))
    verdicts = []
    for _ in range(10):
        latency_ms = generator.gamma(1.0, 5.0, (8, 3))
        costs = TableCosts(
            macro.name,
            counted.surviving,
            {**counted.table, "latency_ms": latency_ms},
            {**counted.fixed, "latency_ms": generator.random()},
        )
        low = costs.total(every)["latency_ms"][generator.integers(6561)].item()
        share = 10.0 ** -generator.uniform(3, 6)
        for window in ({"min": low, "max": low}, {"min": low * (1 + share / 9), "max": low * (1 + share)}):
            budget = Budget.model_validate({"latency_ms": window})
            verdicts.append(bool(budget.met(costs.total(every)).any()))
            if verdicts[-1]:
                budget.check(costs)
            else:
                assert "is met by no architecture" in refusal(costs, latency_ms=window)
    assert 10 < sum(verdicts) < 20


def test_a_window_that_misses_an_architecture_by_one_is_refused(
    macro: SearchSpace, macro_costs: dict[str, Amounts]
) -> None:
    costs = macro.costs()
    ordered = sorted(set(macro_costs["macs"].tolist()))
    for low, high in pairwise(ordered[1000:1006]):
        Budget.model_validate({"macs": {"min": low, "max": low}}).check(costs)
        message = refusal(costs, macs={"min": low + 1, "max": high - 1})
        assert message == (
            f"macs from {low + 1:,} to {high - 1:,} is met by no architecture; in nas-bench-macro, macs can be "
            f"7,713,280 to 105,660,928, but nothing between {low:,} and {high:,}. "
            "Change budget.macs."
        )


def test_a_limit_out_of_range_prints_the_range_of_the_surviving_options(macro: SearchSpace) -> None:
    assert refusal(macro.costs(), macs={"max": "1M"}) == (
        "macs at most 1,000,000 is met by no architecture; in nas-bench-macro, macs can be 7,713,280 to 105,660,928. "
        "Change budget.macs.max."
    )
    deep = macro.restrict({choice.name: ["k5e6"] for choice in macro.choices})
    assert "macs can be 105,660,928 to 105,660,928" in refusal(deep.costs(), macs={"max": "100M"})


def test_limits_that_exclude_each_other_print_the_remaining_range(
    macro: SearchSpace, macro_costs: dict[str, Amounts]
) -> None:
    params = macro_costs["params"][macro_costs["macs"] <= 20_000_000]
    assert refusal(macro.costs(), macs={"max": "20M"}, params={"min": "2.5M"}) == (
        "macs at most 20,000,000 and params at least 2,500,000 exclude each other; with macs at most 20,000,000, "
        f"params can be {params.min():,} to {params.max():,}. Change budget.macs.max or budget.params.min."
    )


def test_budgets_of_the_papers_spaces_are_decided() -> None:
    space = search_spaces.load("proxylessnas-large")
    costs = space.costs()
    Budget.model_validate(
        {"macs": {"min": "299M", "max": "300M"}, "params": {"target": "4M", "tolerance": 0.01}}
    ).check(costs)
    assert "params can be 1,792,616 to 3,958,568" in refusal(costs, macs={"max": "150M"}, params={"min": "5M"})


def test_a_gap_among_6e17_architectures_is_found() -> None:
    """Compare with the set of all sums, one bit for each sum, built layer by layer."""
    costs = search_spaces.load("proxylessnas").costs().as_table()
    unit = 1568
    sums = 1
    for row, kept in zip(costs.table["macs"].astype(np.int64).tolist(), costs.surviving, strict=True):
        assert all(row[option] % unit == 0 for option in kept)
        sums = np.bitwise_or.reduce(np.array([sums << row[option] // unit for option in kept], dtype=object))
    fixed = int(costs.fixed["macs"])
    reached = [bit * unit + fixed for bit in range(259_000, 261_000) if sums >> bit & 1]
    below, above = next((a, b) for a, b in pairwise(reached) if b - a > unit)
    message = refusal(costs, macs={"min": below + 1, "max": above - 1})
    assert message.endswith(f"but nothing between {below:,} and {above:,}. Change budget.macs.")


def test_empty_and_unknown_limits() -> None:
    costs = search_spaces.load("nas-bench-macro").costs()
    Budget.model_validate({}).check(costs)
    assert "allows nothing: it is macs from 9 to 8; in nas-bench-macro, macs can be" in refusal(
        costs, macs={"min": 9, "max": 8}
    )
    assert "limits nothing; in nas-bench-macro, macs can be" in refusal(costs, macs={})
    assert "no latency table" in refusal(costs, latency_ms={"max": 70})
    assert "'mac', which is no cost of an architecture; the nearest is 'macs'" in refusal(costs, mac={"max": 70})


def test_examples_vary_and_follow_the_generator() -> None:
    space = search_spaces.load("proxylessnas")
    costs = space.costs()
    budget = Budget.model_validate({"macs": {"min": "290M", "max": "300M"}})
    drawn, again = (
        [budget.example(space, costs, generator) for generator in [np.random.default_rng(3)] for _ in range(16)]
        for _ in range(2)
    )
    assert drawn == again
    examples = [architecture for architecture in drawn if architecture is not None]
    assert len(set(examples)) == 16
    assert budget.met(costs.cost(examples)).all()
    differing = [sum(a != b for a, b in zip(x.indices, examples[0].indices, strict=True)) for x in examples[1:]]
    assert np.mean(differing) > 10


def test_a_check_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    space = search_spaces.load("proxylessnas")
    Budget.model_validate({"params": {"target": "4M", "tolerance": 0}}).check(space.costs())
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def elastic_space() -> SearchSpace:
    """Load a space whose costs are no table."""
    return search_spaces.load("fbnetv2-f", width=0.25, resolution=32)


def test_without_a_table_limits_beyond_the_bounds_are_refused(elastic_space: SearchSpace) -> None:
    costs = elastic_space.costs()
    least, greatest = costs.bounds()["macs"]
    for limit in ({"max": least - 1}, {"min": greatest + 1}):
        message = refusal(costs, macs=limit)
        assert message.endswith(
            f"is met by no architecture; in fbnetv2-f, macs can be {least:,.0f} to {greatest:,.0f}. "
            f"Change budget.macs.{next(iter(limit))}."
        )
    assert "allows nothing: it is macs from 9 to 8; in fbnetv2-f, macs can be" in refusal(
        costs, macs={"min": 9, "max": 8}
    )


def test_without_a_table_architectures_are_found_up_to_the_bounds(elastic_space: SearchSpace) -> None:
    """The search goes beyond the costs of random architectures."""
    costs = elastic_space.costs()
    generator = np.random.default_rng(0)
    for resource, (least, greatest) in costs.bounds().items():
        for share in (0.0, 0.02, 0.3, 0.9, 0.98, 1.0):
            cost = least + share * (greatest - least)
            window = {"min": max(cost * 0.99, least), "max": min(cost * 1.01, greatest)}
            budget = Budget.model_validate({resource: window})
            budget.check(costs)
            example = budget.example(elastic_space, costs, generator)
            assert example is not None
            assert example in elastic_space
            assert budget.met(costs.cost([example])).all()


@pytest.mark.parametrize("name", ["fbnetv2-f-fine", "fp-nas-l1"])
def test_without_a_table_the_bounds_themselves_can_be_met(name: str) -> None:
    """Here skipping costs more than it saves, so that changes of single choices end before the bounds."""
    space = search_spaces.load(name)
    costs = space.costs()
    for resource, (least, greatest) in costs.bounds().items():
        for limit in ({"max": least}, {"min": greatest}):
            budget = Budget.model_validate({resource: limit})
            budget.check(costs)
            example = budget.example(space, costs, np.random.default_rng(0))
            assert example is not None
            assert costs.cost([example])[resource].item() == (least if "max" in limit else greatest)


def test_without_a_table_an_error_names_the_number_of_samples(elastic_space: SearchSpace) -> None:
    costs = elastic_space.costs()
    (least, _), (_, most) = costs.bounds()["macs"], costs.bounds()["params"]
    message = refusal(costs, macs={"max": least * 1.05}, params={"min": most * 0.95})
    assert "are met by none of 10,000 random architectures, nor by a search from the nearest of them" in message
    assert (
        Budget.model_validate({"macs": {"max": least * 1.05}, "params": {"min": most * 0.95}}).example(
            elastic_space, costs, np.random.default_rng(0)
        )
        is None
    )
    pruned = elastic_space.restrict(
        {choice.name: [choice.options[-1]] for choice in elastic_space.choices[:-5]}
    ).costs()
    low, high = pruned.bounds()["macs"]
    inside = refusal(pruned, macs={"min": low + 1, "max": low + 2})
    assert "is met by none of 10,000 random architectures" in inside
    assert f"in fbnetv2-f, macs can be {low:,.0f} to {high:,.0f}" in inside


def test_without_a_table_examples_vary_and_follow_the_generator(elastic_space: SearchSpace) -> None:
    costs = elastic_space.costs()
    least, greatest = costs.bounds()["macs"]
    budget = Budget.model_validate({"macs": {"max": least + 0.1 * (greatest - least)}})
    drawn, again = (
        [budget.example(elastic_space, costs, generator) for generator in [np.random.default_rng(3)] for _ in range(8)]
        for _ in range(2)
    )
    assert drawn == again
    examples = [architecture for architecture in drawn if architecture is not None]
    assert len(set(examples)) == 8
    assert budget.met(costs.cost(examples)).all()


def test_the_papers_counting_decides_which_networks_of_a_paper_are_within_its_targets() -> None:
    """HourNAS-D, 5.5 M parameters and 394 M multiply-adds: 387.4 M counted plainly, 394.0 M as the paper counts."""
    network = search_spaces.published("hournas-d")
    costs = network.space.costs().cost([network.architecture])
    limits = {
        "params": {"target": "5.5M", "tolerance": 0.01},
        "macs": {"target": "394M", "tolerance": 0.01},
    }
    met = {
        counting: Budget.model_validate({"counting": counting, **limits}).met(costs).tolist()
        for counting in ("plain", "paper")
    }
    assert met == {"plain": [False], "paper": [True]}


def test_a_budget_in_the_papers_counting_is_written_by_its_resources_and_read_again() -> None:
    budget = Budget.model_validate({"counting": "paper", "macs": {"max": "300M"}, "latency_ms": {"max": 20}})
    assert list(budget.root) == ["paper_macs", "latency_ms"]
    assert Budget.model_validate(budget.model_dump()) == budget
    assert budget.front_resource() == "macs"


def test_the_papers_counting_is_refused_where_the_paper_counts_plainly_and_other_countings_everywhere() -> None:
    budget = Budget.model_validate({"counting": "paper", "macs": {"max": "300M"}})
    with pytest.raises(UserError, match=r"paper of proxylessnas, which counts plainly: remove budget\.counting"):
        budget.check(search_spaces.load("proxylessnas").costs())
    with pytest.raises(ValueError, match="counting is plain or paper, not 'torch'"):
        Budget.model_validate({"counting": "torch", "macs": {"max": "300M"}})
