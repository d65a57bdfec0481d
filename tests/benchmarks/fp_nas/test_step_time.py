"""The table of the times of FP-NAS's training steps."""

import numpy as np
import pytest

from benchmarks.fp_nas.step_time import SAMPLES, rows


def test_the_busiest_worker_counts_and_the_first_round_does_not() -> None:
    seconds = np.ones((2, 3, len(SAMPLES), 2))
    seconds[:, 0] = 100.0
    seconds[1, 1:, :, :] = np.array(SAMPLES)[:, None]
    table = list(rows(seconds))
    assert table[0] == ["14", "1.000", "14.00 (1.000)", "14.00 (1.000)", "1.00"]
    assert table[-1][1:4] == ["0.071", "1.00 (0.071)", "1.00 (0.071)"]
    assert float(table[-1][4]) == pytest.approx(1.0)
