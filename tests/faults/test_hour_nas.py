"""HourNAS is killed in either stage, and the same command ends with the same table, within its targets."""

import pytest

from tests.faults.runs import Result
from tests.faults.studies import STUDIES
from tests.faults.test_kills import Commands, attempts, killed_in, training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
RECIPE, SHORT = STUDIES["hour-nas"]


def test_it_goes_on_in_either_stage_and_meets_its_targets(command: Commands) -> None:
    undisturbed, killed = killed_in(command, RECIPE, SHORT, [training("vital"), training("non-vital")])
    assert attempts(killed.out) == {"vital": 2, "non-vital": 3, "final": 3}
    expected = Result.of(undisturbed.out)
    Result.of(killed.out).must_equal(expected)

    of_step = dict(list(expected.table.groupby("step")))
    for stage in ("vital", "non-vital"):
        assert of_step[stage]["iteration"].tolist() == [0, 1, 2]
        assert of_step[stage]["temperature"].is_monotonic_decreasing
    assert of_step["non-vital"]["proposal"].isin([0, 1]).all()
    final = of_step["final"].iloc[0]
    assert abs(final["macs"] / 3e6 - 1) <= 0.03
    assert abs(final["params"] / 80e3 - 1) <= 0.03
