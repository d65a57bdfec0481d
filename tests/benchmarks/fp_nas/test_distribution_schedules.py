"""FP-NAS's schedules on known losses: their settings, the controls, and what a repeated command computes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fp_nas.distribution_schedules import CONTROLS, SCHEDULES, rows, searches, settings_of
from benchmarks.fp_nas.known_losses import SPREAD, Landscape, SyntheticLandscape


@pytest.fixture(scope="module")
def landscape() -> Landscape:
    return SyntheticLandscape()


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_every_schedule_begins_with_fourteen_samples(schedule: str) -> None:
    for nats in (8.79, 56.25):
        assert settings_of(schedule, nats, 1.0).sample_size(nats) == 14


def test_better_architectures_have_lower_losses_of_the_same_spread(landscape: Landscape) -> None:
    drawn = landscape.draw(1000, 5)
    quality, losses = landscape.quality(drawn), landscape.losses(drawn).numpy()
    assert np.corrcoef(quality, losses)[0, 1] == pytest.approx(-1)
    assert losses.std() == pytest.approx(SPREAD, rel=0.1)
    assert np.corrcoef(quality, np.log(landscape.macs(drawn)))[0, 1] > 0.5


def test_the_controls_could_be_beaten_and_a_repeated_command_reads_its_files(
    landscape: Landscape, tmp_path: Path
) -> None:
    results = searches(landscape, [0], 60, 20.0, tmp_path)
    assert searches(landscape, [0], 60, 20.0, tmp_path) == results
    file = tmp_path / "0-0.json"
    file.write_text(json.dumps({**results[0], "quality": -math.pi}))
    assert searches(landscape, [0], 60, 20.0, tmp_path)[0]["quality"] == -math.pi
    table = list(rows(landscape, results, 60))
    assert [row[0] for row in table] == [*SCHEDULES, *CONTROLS]
    assert [float(table[0][column]) for column in (1, 2)] == pytest.approx([60 * 14 / 1e3, 70 * 14 / 1e3], abs=0.1)
    learned, random = (float(table[place][6].split()[0]) for place in (0, len(SCHEDULES)))
    assert learned > random
    assert all(result["macs"] <= 60e6 for result in results)
    assert float(table[-1][5]) > float(table[-2][5]), "the costliest cost more than the others"
