"""Test that a run too large for the machine is refused at once, and too large for a cluster after a wait."""

import pytest
from ray.util import placement_group_table

from raynas.cluster.ray_session import Cluster, wait_for_resources
from raynas.recipe.settings import EvaluateScale, TrainScale
from search_spaces.errors import UserError

pytestmark = pytest.mark.usefixtures("cluster")
SHORTAGE = r"999 processes need 999 CPUs, and Ray has 1 node with \d+ CPUs?"


def test_a_machine_too_small_is_refused_at_once() -> None:
    lines: list[str] = []
    with pytest.raises(UserError, match=f"This machine is too small: {SHORTAGE}; lower scale.train.workers"):
        wait_for_resources(Cluster(is_own=True), TrainScale(), 999, 0.001, lines.append)
    assert lines == [], "there was no wait"


def test_a_cluster_too_small_is_refused_after_the_minutes_of_the_recipe() -> None:
    lines: list[str] = []
    with pytest.raises(UserError, match=rf"The cluster stayed too small for 0\.001 minutes: {SHORTAGE}\."):
        wait_for_resources(Cluster(is_own=False), TrainScale(), 999, 0.001, lines.append)
    (line,) = lines
    assert line.startswith("Waiting for the cluster to grow: 999 processes need 999 CPUs")
    assert {group["state"] for group in placement_group_table().values()} <= {"REMOVED"}, "no request is left"


@pytest.mark.parametrize("is_own", [True, False])
def test_processes_that_fit_need_no_wait(is_own: bool) -> None:
    lines: list[str] = []
    wait_for_resources(Cluster(is_own=is_own), TrainScale(), 1, 10, lines.append)
    wait_for_resources(Cluster(is_own=is_own), EvaluateScale(), 999, 10, lines.append)
    assert lines == []
