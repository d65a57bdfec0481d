"""HM-NAS is killed in each of its trainings; the table and the genotype stay the same."""

from collections.abc import Callable
from pathlib import Path

import pytest

from search_spaces.errors import UserError
from tests.faults.runs import Result
from tests.faults.test_kills import Commands, attempts, run_with_kills, training
from tests.support.small_spaces import cells
from tuners.hm_nas.searched_run import read_searched_network

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_hm_nas_continues_in_each_training(command: Commands, finished_run: Callable[[str], Path]) -> None:
    undisturbed = finished_run("hm-nas")
    killed = run_with_kills(command, "hm-nas", [training("supernet"), training("masks"), training("tuned")])
    assert attempts(killed.out) == {
        "supernet": 2,
        "supernet-test": 2,
        "masks": 3,
        "searched": 3,
        "searched-test": 3,
        "tuned": 4,
        "tuned-test": 4,
    }
    expected = Result.read(undisturbed)
    Result.read(killed.out).assert_equal(expected)
    genotype = (undisturbed / "genotype.txt").read_text()
    assert (killed.out / "genotype.txt").read_text() == genotype

    rows_of = dict(list(expected.table.groupby("step")))
    assert rows_of["supernet"]["iteration"].tolist() == [0, 1, 2, 3]
    mixtures = [rows_of[f"{name}-test"].iloc[0] for name in ("supernet", "searched", "tuned")]
    assert [mixture["accuracy_of"] for mixture in mixtures] == ["supernet", "searched", "tuned"]
    in_supernet, in_searched, in_tuned = (mixture["kept_params"] for mixture in mixtures)
    assert in_supernet > in_searched == in_tuned

    settings = {"cells": 3, "channels": 4, "operations": ["skip_connect", "sep_conv_3x3", "max_pool_3x3"]}
    searched, _ = read_searched_network(str(undisturbed), cells("darts", {**settings, "num_classes": 7}))
    assert str(searched) == genotype.strip()
    with pytest.raises(UserError, match=r"was searched with space\.cells=3, but this recipe has 5"):
        read_searched_network(str(undisturbed), cells("darts", {**settings, "cells": 5}))
