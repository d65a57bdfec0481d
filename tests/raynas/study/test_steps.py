"""A finished step is read back, an unfinished step runs again, and neither may change its identity."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from raynas.storage.errors import StepFailed
from raynas.storage.progress import Quiet
from raynas.storage.run_folder import DamagedFile, RunFolder, WriteFailed
from raynas.study.steps import Steps
from search_spaces.errors import UserError
from tests.support.full_disk import full_disk

IDENTITY = {"training": {"epochs": 3, "learning_rate": 0.1}, "seed": 1}


class RecordedWork:
    """Work that records the step folder of each call."""

    def __init__(self, result: dict[str, Any] | Exception) -> None:
        self.result, self.folders = result, list[str]()

    def __call__(self, folder: str) -> dict[str, Any]:
        self.folders.append(folder)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def open_steps(folder: Path, attempt: int = 1) -> Steps:
    return Steps(RunFolder(folder), attempt, Quiet())


def test_a_finished_step_is_read_back_by_a_later_attempt(tmp_path: Path) -> None:
    first, again = RecordedWork({"file": "w", "history": [0.1 + 0.2]}), RecordedWork({})
    result = open_steps(tmp_path).do("supernet", "training", "", IDENTITY, first)
    assert open_steps(tmp_path, 2).do("supernet", "training", "", IDENTITY, again) == result == first.result
    assert again.folders == []


def test_steps_are_numbered_in_the_order_of_their_first_call(tmp_path: Path) -> None:
    work, later = RecordedWork({}), RecordedWork({})
    run = open_steps(tmp_path)
    run.do("supernet", "training", "", IDENTITY, work)
    with pytest.raises(StepFailed):
        run.do("search-2", "training", "", IDENTITY, RecordedWork(StepFailed("a worker died")))
    run = open_steps(tmp_path, 2)
    run.do("supernet", "training", "", IDENTITY, later)
    run.do("search-2", "training", "", IDENTITY, later)
    assert work.folders == ["steps/01-supernet"]
    assert later.folders == ["steps/02-search-2"]


def test_a_failed_step_runs_again_and_its_times_add_up(tmp_path: Path) -> None:
    with pytest.raises(StepFailed):
        open_steps(tmp_path).do("supernet", "training", "", IDENTITY, RecordedWork(StepFailed("a worker died")), 3)
    before = open_steps(tmp_path).records[0]
    assert before["state"] == "begun"
    work = RecordedWork({"x": 1})
    assert open_steps(tmp_path, 2).do("supernet", "training", "", IDENTITY, work, 3) == {"x": 1}
    record = open_steps(tmp_path).records[0]
    assert (record["state"], record["attempt"]) == ("finished", 2)
    assert record["seconds"] > before["seconds"]
    assert record["worker_seconds"] == pytest.approx(3 * record["seconds"])


@pytest.mark.parametrize("finished", [True, False])
def test_another_identity_is_refused_and_the_error_names_the_field(tmp_path: Path, finished: bool) -> None:
    if finished:
        open_steps(tmp_path).do("supernet", "training", "", IDENTITY, RecordedWork({}))
    else:
        with pytest.raises(StepFailed):
            open_steps(tmp_path).do("supernet", "training", "", IDENTITY, RecordedWork(StepFailed("a worker died")))
    work = RecordedWork({})
    other = {**IDENTITY, "training": {"epochs": 4, "learning_rate": 0.1}}
    with pytest.raises(UserError, match=r"supernet .* training\.epochs = 3, not 4"):
        open_steps(tmp_path).do("supernet", "training", "", other, work)
    assert work.folders == []


def test_damaged_step_records_do_not_begin_the_run_anew(tmp_path: Path) -> None:
    open_steps(tmp_path).do("supernet", "training", "", IDENTITY, RecordedWork({}))
    before = open_steps(tmp_path).records
    (tmp_path / "study.json").write_text("{")
    assert open_steps(tmp_path).records == before, "the records are written twice"
    (tmp_path / "study-before.json").write_text("{")
    with pytest.raises(DamagedFile, match=r"study\.json"):
        open_steps(tmp_path)


def test_a_finished_step_with_a_damaged_or_missing_file_runs_again(tmp_path: Path) -> None:
    def work(folder: str) -> dict[str, Any]:
        RunFolder(tmp_path).write_json(f"{folder}/state.json", {"x": 1})
        folders.append(folder)
        return {"x": 1}

    folders: list[str] = []
    open_steps(tmp_path).do("search", "training", "", IDENTITY, work)
    open_steps(tmp_path, 2).do("search", "training", "", IDENTITY, work)
    assert len(folders) == 1
    (tmp_path / folders[0] / "state.json").write_text("{")
    assert open_steps(tmp_path, 3).do("search", "training", "", IDENTITY, work) == {"x": 1}
    assert len(folders) == 2
    (tmp_path / folders[0] / "state.json").unlink()
    open_steps(tmp_path, 4).do("search", "training", "", IDENTITY, work)
    assert len(folders) == 3


def test_the_record_of_a_step_is_written_before_its_work_begins(tmp_path: Path) -> None:
    """A killed step is then known by its identity."""

    def work(folder: str) -> dict[str, Any]:
        written.extend(open_steps(tmp_path, 2).records)
        return {}

    written: list[dict[str, Any]] = []
    open_steps(tmp_path).do("supernet", "training", "", IDENTITY, work)
    assert [(record["state"], record["attempt"], record["identity"]) for record in written] == [("begun", 1, IDENTITY)]


def test_checkpoints_stay_until_the_result_of_the_step_is_written(tmp_path: Path) -> None:
    with ExitStack() as stack:

        def work(folder: str) -> dict[str, Any]:
            RunFolder(tmp_path).write_json(f"{folder}/checkpoints/epoch-1.json", {})
            stack.enter_context(full_disk())
            return {}

        with pytest.raises(WriteFailed):
            open_steps(tmp_path).do("supernet", "training", "", IDENTITY, work)
    folder = RunFolder(tmp_path / "steps" / "01-supernet")
    assert folder.names("checkpoints") == ["epoch-1.json"]
    open_steps(tmp_path, 2).do("supernet", "training", "", IDENTITY, RecordedWork({}))
    assert not folder.exists("checkpoints")


def test_a_refused_step_may_begin_with_another_identity(tmp_path: Path) -> None:
    run = open_steps(tmp_path)
    with pytest.raises(UserError, match="too small"):
        run.do("supernet", "training", "", IDENTITY, RecordedWork(UserError("This machine is too small.")))
    assert run.do("supernet", "training", "", {**IDENTITY, "seed": 2}, RecordedWork({"x": 1})) == {"x": 1}


def test_the_record_of_a_step_that_had_begun_stays_after_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(StepFailed):
        open_steps(tmp_path).do("supernet", "training", "", IDENTITY, RecordedWork(StepFailed("a worker died")))
    with pytest.raises(UserError):
        open_steps(tmp_path, 2).do(
            "supernet", "training", "", IDENTITY, RecordedWork(UserError("This machine is too small."))
        )
    assert [record["name"] for record in open_steps(tmp_path).records] == ["supernet"]
