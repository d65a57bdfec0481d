"""FP-NAS is killed while it learns and after it gave back a worker; the table stays the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.faults.runs import Result
from tests.faults.test_kills import Commands, run_with_kills, training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_fp_nas_continues_with_fewer_workers(command: Commands, finished_run: Callable[[str], Path]) -> None:
    undisturbed = finished_run("fp-nas")
    killed = run_with_kills(
        command, "fp-nas", [training("distribution"), lambda out: any(out.glob("steps/*/workers.json"))]
    )
    expected = Result.read(undisturbed)
    Result.read(killed.out).assert_equal(expected)

    rows = expected.table[expected.table["step"] == "distribution"]
    assert rows["iteration"].tolist() == list(range(9))
    learned = rows[2:]
    assert learned["workers"].iloc[0] == 2
    assert learned["workers"].iloc[-1] == 1
    assert learned["workers"].is_monotonic_decreasing
    assert learned["distribution"].tolist() == ["factorised"] * 3 + ["joint"] * 4
    assert learned["entropy"].iloc[-1] < learned["entropy"].iloc[0]
    epochs = pd.read_csv(undisturbed / "epochs.csv")
    assert epochs["epoch"].tolist() == list(range(1, 10))
    saved = (2 - epochs["workers"]) * epochs["seconds"]
    assert np.allclose(epochs["worker_seconds_saved"], saved)
    assert saved.iloc[-1] > 0
