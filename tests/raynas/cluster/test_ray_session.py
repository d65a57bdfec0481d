"""What a cluster cannot hold is refused before anything waits for it, or once it had time to grow."""

import pytest
from ray.util import placement_group_table

from raynas.cluster.ray_session import Cluster, wait_for_resources
from raynas.recipe.settings import EvaluateScale, TrainScale
from search_spaces.errors import UserError

pytestmark = pytest.mark.usefixtures("cluster")
WANTED = r"999 processes need 999 CPUs, and there are 1 node with \d+ CPUs?"


def test_on_one_machine_at_once() -> None:
    said: list[str] = []
    with pytest.raises(UserError, match=f"This machine is too small: {WANTED}; lower scale.train.workers"):
        wait_for_resources(Cluster(ours=True), TrainScale(), 999, 0.001, said.append)
    assert said == [], "it did not wait"


def test_on_a_cluster_that_may_grow_after_the_minutes_of_the_recipe() -> None:
    said: list[str] = []
    with pytest.raises(UserError, match=rf"The cluster stayed too small for 0\.001 minutes: {WANTED}\."):
        wait_for_resources(Cluster(ours=False), TrainScale(), 999, 0.001, said.append)
    (line,) = said
    assert line.startswith("Waiting for the cluster to grow: 999 processes need 999 CPUs")
    assert {one["state"] for one in placement_group_table().values()} <= {"REMOVED"}, "nothing stays asked for"


@pytest.mark.parametrize("ours", [True, False])
def test_what_fits_is_not_waited_for(ours: bool) -> None:
    said: list[str] = []
    wait_for_resources(Cluster(ours=ours), TrainScale(), 1, 10, said.append)
    wait_for_resources(Cluster(ours=ours), EvaluateScale(), 999, 10, said.append)
    assert said == []
