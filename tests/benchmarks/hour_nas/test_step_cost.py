"""The timed updates: the same network in every turn, one path by Gumbel-Max, all options by Gumbel-softmax."""

import pytest
import torch

import search_spaces
from benchmarks.common.step_timing import TimedSetting
from benchmarks.hour_nas.step_cost import KINDS, Measurement, SecondStage, mean_cost, measure, rows
from raynas.interfaces.objective import ARCHITECTURE, WEIGHTS

SPACE = search_spaces.load("nas-bench-macro", width=0.125, resolution=16)


def second_stage() -> SecondStage:
    torch.manual_seed(0)
    return SecondStage(SPACE, torch.randn(4, 3, 16, 16), torch.arange(4), "gumbel-max")


def test_a_seed_draws_the_same_network_after_any_update() -> None:
    stage = second_stage()
    drawn = [stage.network(seed) for seed in range(4)]
    assert len(set(drawn)) > 1
    for update in (WEIGHTS, ARCHITECTURE):
        stage.update(update, 0)
    assert [stage.network(seed) for seed in range(4)] == drawn


def test_an_update_changes_only_weights_of_the_sampled_network() -> None:
    stage = second_stage()
    path = stage.network(1)
    before = {name: tensor.clone() for name, tensor in stage.supernet.state_dict().items()}
    stage.update(WEIGHTS, 1)
    on_path = SPACE.network_state(path, stage.supernet.state_dict())
    changed = {name for name, tensor in stage.supernet.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert len(changed) <= len(on_path)


def test_the_targets_are_the_mean_cost_of_all_architectures() -> None:
    costs = search_spaces.load("nas-bench-macro").costs().as_table()
    expected = costs.fixed["macs"] + costs.table["macs"].mean(axis=1).sum().item()
    assert mean_cost(search_spaces.load("nas-bench-macro"))["macs"] == pytest.approx(expected)


def test_gumbel_max_keeps_activations_of_one_network_and_gumbel_softmax_of_all() -> None:
    (measured,) = measure(TimedSetting("tiny", SPACE, batch_size=4, architectures=1))
    alone, weights, _, mixed_weights, mixed_architecture = measured.saved_bytes
    assert weights == alone > 0
    assert mixed_weights > 1.5 * alone
    assert mixed_architecture > 1.5 * alone


def test_ratios_are_against_the_network_alone() -> None:
    seconds = [[0.1, 0.11, 0.08, 0.9, 0.7], [0.2, 0.22, 0.16, 1.8, 1.4]]
    saved = [[1_000_000, 1_000_000, 900_000, 9_000_000, 8_000_000]] * 2
    cells = list(rows([Measurement(times, kept) for times, kept in zip(seconds, saved, strict=True)]))
    assert [row[0] for row in cells] == KINDS
    assert cells[1][1:] == ["165.0", "1.10 (1.10 to 1.10)", "1.00", "1.000 (at most 1.000)"]
    assert cells[3][2:] == ["9.00 (9.00 to 9.00)", "9.00", "9.000 (at most 9.000)"]
