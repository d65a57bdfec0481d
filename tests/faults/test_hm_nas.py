"""HM-NAS is killed in each of its trainings: the same table and the same genotype."""

import pytest

from search_spaces.errors import UserError
from tests.faults.runs import Result
from tests.faults.studies import STUDIES
from tests.faults.test_kills import Commands, attempts, killed_in, training
from tests.support.small_spaces import cells
from tuners.hm_nas.found_network import read_searched_network

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
RECIPE, SHORT = STUDIES["hm-nas"]


def test_it_goes_on_in_each_training(command: Commands) -> None:
    undisturbed, killed = killed_in(
        command, RECIPE, SHORT, [training("supernet"), training("masks"), training("tuned")]
    )
    assert list(attempts(killed.out).values()) == [2, 2, 3, 3, 3, 4, 4]
    expected = Result.of(undisturbed.out)
    Result.of(killed.out).must_equal(expected)
    genotype = (undisturbed.out / "genotype.txt").read_text()
    assert (killed.out / "genotype.txt").read_text() == genotype

    of_step = dict(list(expected.table.groupby("step")))
    assert of_step["supernet"]["iteration"].tolist() == [0, 1, 2, 3]
    stages = [of_step[f"{stage}-test"].iloc[0] for stage in ("supernet", "searched", "tuned")]
    assert [stage["accuracy_of"] for stage in stages] == ["supernet", "searched", "tuned"]
    supernet, searched, tuned = (stage["kept_params"] for stage in stages)
    assert supernet > searched == tuned

    settings = {"cells": 3, "channels": 4, "operations": ["skip_connect", "sep_conv_3x3", "max_pool_3x3"]}
    there, _ = read_searched_network(str(undisturbed.out), cells("darts", {**settings, "num_classes": 7}))
    assert str(there) == genotype.strip()
    with pytest.raises(UserError, match=r"searched with space\.cells = 3, not 5"):
        read_searched_network(str(undisturbed.out), cells("darts", {**settings, "cells": 5}))
