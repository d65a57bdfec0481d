"""The benchmark of the start of steps reads the seconds of every step."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.speed.starts import step_seconds


@pytest.mark.slow
def test_the_seconds_of_every_step_are_read(tmp_path: Path) -> None:
    seconds = step_seconds(tmp_path, keep=True)
    assert list(seconds) == ["supernet", "search-2", "supernet-2", "search-3", "supernet-3", "final"]
    assert all(each > 0 for each in seconds.values())
    assert max(seconds, key=lambda step: seconds[step]) == "supernet", "the first step starts Ray and the workers"
