"""FTSO is killed in the topology search and in the stand-alone training; the table stays the same.

The stand-alone training has an auxiliary head, drop-path and clipped gradients.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.runs import Result
from tests.faults.test_kills import Commands, attempts, run_with_kills, training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_ftso_continues_in_both_trainings(command: Commands, finished_run: Callable[[str], Path]) -> None:
    undisturbed = finished_run("ftso")
    killed = run_with_kills(command, "ftso", [training("topology"), training("network")])
    assert attempts(killed.out) == {"topology": 2, "topology-accuracy": 2, "network": 3, "network-test": 3}
    expected = Result.read(undisturbed)
    Result.read(killed.out).assert_equal(expected)

    rows_of = dict(list(expected.table.groupby("step")))
    assert rows_of["topology"]["iteration"].tolist() == [0, 1, 2, 3]
    assert rows_of["topology"]["skip_share"].tolist() == [1.0] * 4
    assert rows_of["topology-accuracy"]["accuracy_of"].tolist() == ["topology"]
    (network,) = rows_of["network-test"].to_dict("records")
    assert network["accuracy_of"] == "network"
    assert network["part"] == "test"
    words = network["architecture"].removeprefix("darts: ").replace("|", "").split()
    assert sorted(words) == ["none"] * 12 + ["sep_conv_3x3"] * 16
