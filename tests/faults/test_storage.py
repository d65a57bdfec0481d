"""Files are damaged, the disk is full, the clock is set back: the table is the same in the end."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import raynas
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from tests.faults.runs import Result
from tests.faults.test_kills import Commands, searching, training
from tests.raynas.training.test_checkpoints import of_another_version, with_a_bit_flipped
from tests.support.absent import absent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
CLOCK = """
import time
_time, _start = time.time, time.monotonic()
time.time = lambda: _time() - (3600.0 if time.monotonic() - _start > 12 else 0.0)
"""


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def newest(run: Path, pattern: str) -> Path:
    return max(run.glob(pattern), key=lambda file: file.stat().st_mtime_ns)


def test_damaged_files_are_passed_over_or_made_again(command: Commands, undisturbed: Result) -> None:
    run = command("damaged")
    checkpoints = "steps/*/checkpoints/*"
    run.kill_when(lambda out: len(list(out.glob(checkpoints))) == 2)
    run.wait_until_gone()
    of_another_version(newest(run.out, checkpoints))
    with_a_bit_flipped(run.out / "lock.json")
    truncated(run.out / "recipe.yaml")
    run.kill_when(training("supernet-2"))
    run.wait_until_gone()
    truncated(newest(run.out, "evaluations/*"))
    emptied(run.out / "study.json")
    with_a_bit_flipped(run.out / "steps/01-supernet/weights.safetensors")
    with_a_bit_flipped(newest(run.out, "steps/02-search-2/trial-0.json"))
    emptied(run.out / "versions.json")
    run.finish()
    Result.of(run.out).must_equal(undisturbed)
    log = (run.out / "log.jsonl").read_text()
    assert "cannot be read: training goes on from" in log
    assert "weights.safetensors is damaged or gone: supernet is done again" in log


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "raynas", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        absent("the superuser, who alone can mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_ends_the_run_with_a_sentence_and_loses_nothing(
    command: Commands, undisturbed: Result, small_disk: Path
) -> None:
    run = command("disk/run")
    process = run.start()
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out) == (1, "")
    assert len(err.splitlines()) == 1, err
    assert "No space left on device" in err
    assert not list(run.out.rglob("*.aside"))
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    run.finish()
    Result.of(run.out).must_equal(undisturbed)


def test_a_clock_that_is_set_back_changes_nothing(
    command: Commands, undisturbed: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an hour, in every process, twelve seconds after it began."""
    folder = tmp_path.parent / f"{tmp_path.name}-clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CLOCK)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
    run = command("clock")
    run.kill_when(searching("search-2"))
    run.finish()
    Result.of(run.out).must_equal(undisturbed)
    assert all(step["seconds"] >= 0 for step in records(RunFolder(run.out))), "no clock that can be set back was asked"
    assert (raynas.load(run.out).table["seconds"] >= 0).all()
    shutil.rmtree(folder)
