"""The benchmark of FP-NAS's schedules: the first K in both spaces, and the table."""

import math

import pandas as pd
import pytest

from benchmarks.fp_nas.sample_schedules import FIRST, recipe, rows, schedules
from raynas.study.method import method_of_recipe
from raynas.study.run_plan import plan
from tuners.fp_nas.sample_size import FixedSampling
from tuners.fp_nas.sweep import FpNasSweep


@pytest.mark.parametrize("space", ["nas-bench-macro", "fbnetv2-f"])
def test_every_schedule_begins_with_the_number_of_samples_of_the_paper(
    space: str, request: pytest.FixtureRequest
) -> None:
    if space == "nas-bench-macro":
        request.getfixturevalue("shared")
    sweep = recipe(space, [0, 1], True, [])
    method = method_of_recipe(sweep)
    assert isinstance(method, FpNasSweep)
    nats = math.log(plan(sweep).space.size())
    first = {setting.name: setting.sample_size(nats) for setting in method.sweep if setting.sample_size}
    assert first == {
        "FS K=14": FIRST,
        "FS K=4": 4,
        "AS 1/4, joint": FIRST,
        "AS 1/4, mixed": FIRST,
        "AS 1/16, joint": 3,
        "AS 1/8, joint": 7,
        "AS 1/2, joint": 28,
        "AS 1/4, factorised": FIRST,
    }
    assert method.seeds == (0, 1)


def test_a_short_table_has_four_schedules_and_compares_them_with_the_first() -> None:
    names = [schedule["name"] for schedule in schedules(10.0, full=False)]
    assert len(names) == 4
    table = pd.DataFrame(
        {
            "schedule": [name for name in names for _ in range(2)],
            "total_samples": [100, 100, 50, 50, 40, 40, 30, 50],
            "seconds": [10.0, 10, 5, 5, 5, 5, 4, 4],
            "entropy": 1.0,
            "macs": 2e6,
            "top1": [50.0, 60] * 4,
            "true": [90.0, 92] * 4,
        }
    )
    cells = list(rows(table))
    assert cells[0] == ["FS K=14", "100 (+0 %)", "10 (1.00x)", "1.0", "2.00", "55.00 ± 5.00", "91.00 ± 1.00"]
    assert cells[3][1:3] == ["40 (-60 %)", "4 (2.50x)"]
    assert FixedSampling(fixed=FIRST)(0.0) == FIRST
