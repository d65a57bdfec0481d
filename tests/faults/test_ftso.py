"""FTSO is killed while it searches the topology and while the network that it found is trained: the same table.

That network has an auxiliary head, operations that drop out and clipped gradients.
"""

import pytest

from tests.faults.runs import Result
from tests.faults.studies import STUDIES
from tests.faults.test_kills import Commands, attempts, killed_in, training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
RECIPE, SMALL = STUDIES["ftso"]
SHORT = [*SMALL, "fit.auxiliary_weight=0.4", "fit.drop_path=0.3", "fit.clip_norm=1"]


def test_it_goes_on_in_either_training(command: Commands) -> None:
    undisturbed, killed = killed_in(command, RECIPE, SHORT, [training("topology"), training("network")])
    assert attempts(killed.out) == {"topology": 2, "topology-accuracy": 2, "network": 3, "network-test": 3}
    expected = Result.of(undisturbed.out)
    Result.of(killed.out).must_equal(expected)

    of_step = dict(list(expected.table.groupby("step")))
    assert of_step["topology"]["iteration"].tolist() == [0, 1, 2, 3]
    assert of_step["topology"]["skip_share"].tolist() == [1.0] * 4
    assert of_step["topology-accuracy"]["accuracy_of"].tolist() == ["topology"]
    (found,) = of_step["network-test"].to_dict("records")
    assert found["accuracy_of"] == "network"
    words = found["architecture"].removeprefix("darts: ").replace("|", "").split()
    assert sorted(words) == ["none"] * 12 + ["sep_conv_3x3"] * 16
