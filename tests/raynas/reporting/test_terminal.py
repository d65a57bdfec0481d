"""The progress of a step where no line can move: lines of its own, at most every 30 seconds."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from raynas.cli.main import main
from raynas.reporting.terminal import Live
from tests.raynas.cli.bad_input.case import begun


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_without_a_terminal_progress_is_a_line_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    reporter, printed = Live(clock), []
    reporter.begin("supernet", "training")
    for step in range(1000):
        clock.seconds = 20.0 + step  # the processes start in 20 seconds, then a training step takes one
        reporter.update(step + 1, 1000, "training steps")
        if lines := capsys.readouterr().err.splitlines()[-1:]:
            printed.append((clock.seconds, lines[0]))
    times = [seconds for seconds, line in printed if "training steps" in line]
    assert len(times) > 25
    assert all(30 <= later - earlier <= 31 for earlier, later in pairwise(times))
    assert printed[1][1] == "  11 of 1,000 training steps, about 16 min left"
    assert re.fullmatch(r"  9\d\d of 1,000 training steps, about \d+ s left", printed[-1][1])


def test_a_run_without_evaluations_has_no_empty_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun(tmp_path)
    main(["table", str(tmp_path / "run")])
    assert capsys.readouterr().out == "No architecture of this run has been evaluated yet.\n"
