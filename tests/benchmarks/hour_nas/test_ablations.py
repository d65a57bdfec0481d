"""HourNAS's ablations: the changes of the recipe, and the rows of the tables."""

import pandas as pd

from benchmarks.hour_nas.ablations import RECIPE, rows, sweep_rows, variants
from raynas.recipe.recipe import Recipe
from raynas.study.method import method_of_recipe
from tuners.hour_nas.method import HourNas


def test_each_search_changes_only_the_setting_of_its_table() -> None:
    recipe = Recipe.read(RECIPE)
    original = method_of_recipe(recipe)
    assert isinstance(original, HourNas)
    changed = {}
    for name, method in variants(recipe).items():
        variant = method_of_recipe(Recipe.read(RECIPE, [f"method.{key}={value}" for key, value in method.items()]))
        assert isinstance(variant, HourNas)
        changed[name] = {key for key, value in original if value != getattr(variant, key)}
        stages = [variant.epochs, variant.vital_epochs] if variant.vital_first else [variant.epochs]
        assert sum(stages) == original.vital_epochs + original.epochs
    assert changed == {
        "HourNAS": set(),
        "without the prior (table 4)": {"vital_first", "epochs"},
        "Gumbel-softmax (table 5)": {"sampling"},
    }


def test_rows_are_means_over_the_seeds() -> None:
    runs = [
        {"seconds": s, "macs": 3e6, "params": 80e3, "top1": t, "standalone": t + 1}
        for s, t in ((10.0, 50.0), (20.0, 60.0))
    ]
    assert list(rows({"HourNAS": runs})) == [["HourNAS", "15", "3.00", "80.0", "55.0 ± 5.0", "56.0 ± 5.0"]]


def test_random_networks_have_no_one_shot_accuracy() -> None:
    run = {"seconds": 0, "macs": 3e6, "params": 80e3, "top1": None, "standalone": 90.0}
    assert list(rows({"random": [run, run]})) == [["random", "0", "3.00", "80.0", "-", "90.0 ± 0.0"]]


def test_all_trials_of_one_number_of_proposals_are_one_row() -> None:
    trials = pd.DataFrame(
        {
            "m": [1, 8, 1, 8],
            "top1": [50.0, 60, 52, 60],
            "standalone_top1": [90.0, 91, 92, 91],
            **{f"{key}_off_{t}": share for key in ("macs", "params") for t, share in ((5.0, 0.1), (0.1, 0.01))},
            "met_0.1": [0.8, 1.0, 1.0, 1.0],
        }
    )
    assert list(sweep_rows(trials)) == [
        ["1", "51.0 ± 1.0", "91.0 ± 1.0", "10.0", "1.0", "10.0", "1.0", "90"],
        ["8", "60.0 ± 0.0", "91.0 ± 0.0", "10.0", "1.0", "10.0", "1.0", "100"],
    ]
