"""HM-NAS's benchmark: the changes of the recipe, random architectures, and the rows of the tables."""

from __future__ import annotations

from typing import Any

import search_spaces
from benchmarks.hm_nas.tables import RECIPE, STAGES, VARIANTS, importances, random_architecture, rival_rows, stage_rows
from raynas.recipe.recipe import Recipe
from raynas.study.method import method_of_recipe
from search_spaces.cell.genotype import Genotype
from tests.support.small_spaces import cells
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


def test_the_importance_of_a_nodes_edges() -> None:
    space = cells("darts", {"operations": ["skip_connect", "sep_conv_3x3"]})
    genotype = Genotype.of(space, [[1.0, 0.0]] * 14, [0.75, 0.25, *[0.5, 0.5, 0.0], *[0.25] * 4, *[0.2] * 5])
    first, second, *_ = importances([genotype, genotype])
    assert first == ["node2", "2", "0.500 ± 0.000", "1.50", "2 2"]
    assert second == ["node3", "3", "0.333 ± 0.000", "1.50", "2 2"]
