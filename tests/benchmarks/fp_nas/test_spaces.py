"""The benchmark of FP-NAS's tables 4 and 7: the same search in three spaces."""

import math

import pytest

from benchmarks.fp_nas.spaces import recipe
from raynas.study.method import method_of_recipe
from raynas.study.run_plan import plan
from tuners.fp_nas.method import FpNas
from tuners.sweep import Sweep


def test_only_the_space_and_the_samples_differ() -> None:
    sweep = recipe([0, 1], [])
    method = method_of_recipe(sweep)
    assert isinstance(method, Sweep)
    first: dict[str, int] = {}
    for setting in method.settings:
        trial = method.recipe_of(setting, sweep, 0)
        search, planned = method_of_recipe(trial), plan(trial)
        assert isinstance(search, FpNas)
        search.check(planned)
        first[setting.name] = search.sample_size(math.log(planned.space.size()))
    assert first == {
        "fbnetv2-f, FS K=14": 14,
        "fbnetv2-f, AS 1/4": 14,
        "fbnetv2-f-fine, FS K=14": 14,
        "fbnetv2-f-fine, AS 1/4": 28,
        "fbnetv2-f++, AS 1/4": 15,
    }


@pytest.mark.parametrize("seeds", [[0], [3, 4]])
def test_every_setting_is_searched_with_every_seed(seeds: list[int]) -> None:
    assert recipe(seeds, []).method["seeds"] == seeds
