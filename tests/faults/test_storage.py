"""After damaged files and a full disk, the table is the same."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.runs import Result
from tests.faults.test_kills import Commands, training
from tests.support.damage import empty, flip_bit, truncate, write_as_other_version
from tests.support.full_disk import small_disk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def newest(run: Path, pattern: str) -> Path:
    return max(run.glob(pattern), key=lambda file: file.stat().st_mtime_ns)


def test_damaged_files_are_skipped_or_written_again(command: Commands, undisturbed: Result) -> None:
    run = command("damaged", "scale.evaluate.actors=1")
    checkpoints = "steps/*/checkpoints/*"
    run.kill_when(lambda out: len(list(out.glob(checkpoints))) == 2)
    run.wait_for_processes()
    write_as_other_version(newest(run.out, checkpoints))
    flip_bit(run.out / "lock.json")
    truncate(run.out / "recipe.yaml")
    run.kill_when(training("supernet-2"))
    run.wait_for_processes()
    truncate(newest(run.out, "evaluations/*"))
    empty(run.out / "study.json")
    flip_bit(run.out / "steps/01-supernet/weights.safetensors")
    flip_bit(newest(run.out, "steps/02-search-2/trial-0.json"))
    empty(run.out / "versions.json")
    run.finish()
    Result.read(run.out).assert_equal(undisturbed)
    log = (run.out / "log.jsonl").read_text()
    assert "cannot be read: training goes on from" in log
    assert "weights.safetensors is damaged or missing: the step supernet runs again" in log


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "1m") as folder:
        yield folder


def test_a_full_disk_ends_the_run_with_one_sentence_and_loses_no_finished_step(
    command: Commands, undisturbed: Result, disk: Path
) -> None:
    run = command("disk/run", "scale.evaluate.actors=1")
    process = run.start()
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out) == (1, "")
    assert len(err.splitlines()) == 1, err
    assert "No space left on device" in err
    assert not list(run.out.rglob("*.aside"))
    subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
    run.finish()
    Result.read(run.out).assert_equal(undisturbed)
