"""FP-NAS is killed while it learns, and gives back a worker: the same table, and nothing lost over the change."""

import numpy as np
import pandas as pd
import pytest

from tests.faults.runs import Result
from tests.faults.test_kills import Commands, killed_in, training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
SHORT = (
    "method.epochs=9",
    "method.warmup_epochs=2",
    "method.joint_from=5",
    "method.architecture_learning_rate=0.3",
    "method.sample_size={per_nat: 0.15}",
    "data.classes=4",
)


def test_it_goes_on_with_what_is_left_of_its_workers(command: Commands) -> None:
    undisturbed, killed = killed_in(
        command,
        "fp-nas-digits",
        SHORT,
        [training("distribution"), lambda out: any(out.glob("steps/*/workers.json"))],
    )
    expected = Result.of(undisturbed.out)
    Result.of(killed.out).must_equal(expected)

    rows = expected.table[expected.table["step"] == "distribution"]
    assert rows["iteration"].tolist() == list(range(9))
    learnt = rows[2:]
    assert learnt["workers"].iloc[0] == 2
    assert learnt["workers"].iloc[-1] == 1
    assert learnt["workers"].is_monotonic_decreasing
    assert learnt["distribution"].tolist() == ["factorised"] * 3 + ["joint"] * 4
    assert learnt["entropy"].iloc[-1] < learnt["entropy"].iloc[0]
    epochs = pd.read_csv(undisturbed.out / "epochs.csv")
    assert epochs["epoch"].tolist() == list(range(1, 10))
    saved = (2 - epochs["workers"]) * epochs["seconds"]
    assert np.allclose(epochs["worker_seconds_saved"], saved)
    assert saved.iloc[-1] > 0
