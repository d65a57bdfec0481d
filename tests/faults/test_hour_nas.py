"""HourNAS is killed in both passes; the table stays the same, and the architecture meets its targets."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.runs import Result
from tests.faults.test_kills import Commands, attempts, run_with_kills, training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_hour_nas_continues_in_both_passes_and_meets_its_targets(
    command: Commands, finished_run: Callable[[str], Path]
) -> None:
    undisturbed = finished_run("hour-nas")
    killed = run_with_kills(command, "hour-nas", [training("vital"), training("non-vital")])
    assert attempts(killed.out) == {"vital": 2, "non-vital": 3, "final": 3}
    expected = Result.read(undisturbed)
    Result.read(killed.out).assert_equal(expected)

    rows_of = dict(list(expected.table.groupby("step")))
    for step in ("vital", "non-vital"):
        assert rows_of[step]["iteration"].tolist() == [0, 1, 2]
        assert rows_of[step]["temperature"].is_monotonic_decreasing
    assert rows_of["non-vital"]["proposal"].isin([0, 1]).all()
    final = rows_of["final"].iloc[0]
    assert abs(final["macs"] / 2.5e6 - 1) <= 0.03
    assert abs(final["params"] / 110e3 - 1) <= 0.03
