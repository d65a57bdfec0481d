"""HM-NAS's benchmark: the changes of the recipe, random architectures, and the rows of the tables."""

from __future__ import annotations

from typing import Any

import search_spaces
from benchmarks.common.plain_training import shuffle_labels
from benchmarks.hm_nas.equal_size import channels_for, random_architecture
from benchmarks.hm_nas.tables import (
    RECIPE,
    SIZE,
    STAGES,
    VARIANTS,
    control_rows,
    importances,
    rival_rows,
    stage_rows,
)
from raynas.data import DataSettings, open_images, prepare
from raynas.interfaces.costs import costs_of
from raynas.recipe.recipe import Recipe
from raynas.study.method import method_of_recipe
from tests.support.small_spaces import cells
from tuners.hm_nas.mask_schedule import MaskSchedule
from tuners.hm_nas.method import HmNas


def test_each_search_changes_only_the_setting_of_its_table() -> None:
    for changes in VARIANTS.values():
        method = method_of_recipe(Recipe.read(RECIPE, changes))
        assert isinstance(method, HmNas)
        assert (method.derive_by == "strongest") == bool(changes)


def test_a_random_architecture_has_two_inputs_for_each_node_with_one_operation() -> None:
    space = cells("darts", {"cells": 3, "channels": 4})
    drawn = space.parse(random_architecture(space, 3))
    bits = [value.bit_count() for value in drawn.indices]
    assert [sum(bits[first:last]) for first, last in ((0, 2), (2, 5), (5, 9), (9, 14))] == [2, 2, 2, 2]
    assert max(bits) == 1
    assert search_spaces.load("darts", cells=3, channels=4).parse(str(drawn)) == drawn


def test_a_network_gets_the_channels_for_a_number_of_parameters() -> None:
    space = Recipe.read(RECIPE).space
    settings = {key: value for key, value in space.items() if key != "name"}
    text = random_architecture(cells("darts", settings), 0)
    wider = cells("darts", {**settings, "channels": 20})
    params = float(costs_of(wider, None).cost([wider.parse(text)])["params"][0])
    assert channels_for(space, text, params) == 20
    assert channels_for(space, text, 1.05 * params) == 20
    assert channels_for(space, text, 0.5 * params) < 20


def test_tables_3_5_and_6() -> None:
    def stages(*top1: float) -> list[dict[Any, Any]]:
        kept = (100e3, 60e3, 60e3)
        return [
            {"accuracy_of": stage, "top1": value, "kept_params": params, "operations": 5.0, "edges": 3.0}
            for stage, value, params in zip(STAGES, top1, kept, strict=True)
        ]

    rows = list(stage_rows([stages(90, 88, 95), stages(92, 90, 97)]))
    assert rows[1] == ["searched", "11.00 ± 1.00", "12.00 10.00", "60.0", "40", "5 / 3, 5 / 3"]
    runs = [{"top1": 95.0, "params": 60e3, "epochs": 8}, {"top1": 97.0, "params": 50e3, "epochs": 8}]
    assert list(rival_rows({"HM-NAS": runs})) == [["HM-NAS", "4.00 ± 1.00", "5.00 3.00", "55.0", "8"]]


def test_the_importance_of_a_nodes_edges_is_that_of_beta_before_the_softmax() -> None:
    space = cells("darts", {"operations": ["skip_connect", "sep_conv_3x3"]})
    beta = [0.5, -0.25, *[0.3] * 3, *[0.0] * 9]
    first, second, *_ = importances(space, [beta, [2 * value for value in beta]])
    assert first == ["node2", "2", "0.188 ± 0.062", "+0.125 +0.250"]
    assert second == ["node3", "3", "0.450 ± 0.150", "+0.300 +0.600"]


def test_a_mask_needs_fifty_training_steps_to_the_threshold() -> None:
    method = method_of_recipe(Recipe.read(RECIPE, list(SIZE)))
    assert isinstance(method, HmNas)
    rates = method.mask_rates(MaskSchedule(method.mask_epochs, 29))
    assert all((method.initial_mask - method.threshold) / rate >= 50 * (1 - 1e-9) for rate in rates.values())


def test_the_control_shuffles_the_labels_of_training_images_alone() -> None:
    images = open_images(prepare(DataSettings(), 8, 0))
    shuffled = shuffle_labels(images, 0)
    rows, test = images.rows("all-training"), images.rows("test")
    assert sorted(shuffled.labels[rows]) == sorted(images.labels[rows])
    assert (shuffled.labels[rows] == images.labels[rows]).mean() < 0.2
    assert (shuffled.labels[test] == images.labels[test]).all()


def test_the_rows_of_the_control() -> None:
    runs = [{"fewer": 40.0, "top1": 90.0, "operations": 70, "edges": 14}] * 2
    assert list(control_rows({"true labels": runs})) == [
        ["true labels", "40.0 ± 0.0", "40.0 40.0", "10.00 ± 0.00", "70 / 14, 70 / 14"]
    ]
