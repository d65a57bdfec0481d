"""A finished step is replayed, an unfinished one done again, and neither with other arguments."""

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

ARGUMENTS = {"training": {"epochs": 3, "learning_rate": 0.1}, "seed": 1}


class Counted:
    """Work that counts how often it is done, in which folder."""

    def __init__(self, result: dict[str, Any] | Exception) -> None:
        self.result, self.folders = result, list[str]()

    def __call__(self, folder: str) -> dict[str, Any]:
        self.folders.append(folder)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def steps(folder: Path, attempt: int = 1) -> Steps:
    return Steps(RunFolder(folder), attempt, Quiet())


def test_a_finished_step_is_read_back_by_a_later_attempt(tmp_path: Path) -> None:
    first, again = Counted({"file": "w", "history": [0.1 + 0.2]}), Counted({})
    result = steps(tmp_path).do("supernet", "training", "", ARGUMENTS, first)
    assert steps(tmp_path, 2).do("supernet", "training", "", ARGUMENTS, again) == result == first.result
    assert again.folders == []


def test_steps_are_numbered_in_the_order_in_which_they_were_first_asked_for(tmp_path: Path) -> None:
    work, later = Counted({}), Counted({})
    run = steps(tmp_path)
    run.do("supernet", "training", "", ARGUMENTS, work)
    with pytest.raises(StepFailed):
        run.do("search-2", "training", "", ARGUMENTS, Counted(StepFailed("died")))
    run = steps(tmp_path, 2)
    run.do("supernet", "training", "", ARGUMENTS, later)
    run.do("search-2", "training", "", ARGUMENTS, later)
    assert work.folders == ["steps/01-supernet"]
    assert later.folders == ["steps/02-search-2"]


def test_a_step_that_failed_is_done_again_and_its_time_adds_up(tmp_path: Path) -> None:
    with pytest.raises(StepFailed):
        steps(tmp_path).do("supernet", "training", "", ARGUMENTS, Counted(StepFailed("died")), 3)
    before = steps(tmp_path).records[0]
    assert before["state"] == "begun"
    work = Counted({"x": 1})
    assert steps(tmp_path, 2).do("supernet", "training", "", ARGUMENTS, work, 3) == {"x": 1}
    record = steps(tmp_path).records[0]
    assert (record["state"], record["attempt"]) == ("finished", 2)
    assert record["seconds"] > before["seconds"]
    assert record["worker_seconds"] == pytest.approx(3 * record["seconds"])


@pytest.mark.parametrize("finished", [True, False])
def test_other_arguments_are_refused_by_the_name_of_the_field(tmp_path: Path, finished: bool) -> None:
    if finished:
        steps(tmp_path).do("supernet", "training", "", ARGUMENTS, Counted({}))
    else:
        with pytest.raises(StepFailed):
            steps(tmp_path).do("supernet", "training", "", ARGUMENTS, Counted(StepFailed("died")))
    work = Counted({})
    other = {**ARGUMENTS, "training": {"epochs": 4, "learning_rate": 0.1}}
    with pytest.raises(UserError, match=r"supernet .* training\.epochs = 3, not 4"):
        steps(tmp_path).do("supernet", "training", "", other, work)
    assert work.folders == []


def test_a_damaged_study_is_not_begun_anew_in_silence(tmp_path: Path) -> None:
    steps(tmp_path).do("supernet", "training", "", ARGUMENTS, Counted({}))
    before = steps(tmp_path).records
    (tmp_path / "study.json").write_text("{")
    assert steps(tmp_path).records == before, "it is written twice"
    (tmp_path / "study-before.json").write_text("{")
    with pytest.raises(DamagedFile, match=r"study\.json"):
        steps(tmp_path)


def test_a_finished_step_whose_files_are_damaged_is_done_again(tmp_path: Path) -> None:
    def work(folder: str) -> dict[str, Any]:
        RunFolder(tmp_path).write_json(f"{folder}/found.json", {"x": 1})
        again.append(folder)
        return {"x": 1}

    again: list[str] = []
    steps(tmp_path).do("search", "training", "", ARGUMENTS, work)
    steps(tmp_path, 2).do("search", "training", "", ARGUMENTS, work)
    assert len(again) == 1
    (tmp_path / again[0] / "found.json").write_text("{")
    assert steps(tmp_path, 3).do("search", "training", "", ARGUMENTS, work) == {"x": 1}
    assert len(again) == 2
    (tmp_path / again[0] / "found.json").unlink()
    steps(tmp_path, 4).do("search", "training", "", ARGUMENTS, work)
    assert len(again) == 3


def test_a_step_is_written_down_before_it_begins(tmp_path: Path) -> None:
    """So that one that is killed is known by its arguments."""

    def work(folder: str) -> dict[str, Any]:
        noted.extend(steps(tmp_path, 2).records)
        return {}

    noted: list[dict[str, Any]] = []
    steps(tmp_path).do("supernet", "training", "", ARGUMENTS, work)
    assert [(one["state"], one["attempt"], one["identity"]) for one in noted] == [("begun", 1, ARGUMENTS)]


def test_what_a_step_goes_on_from_stays_until_its_result_is_written_down(tmp_path: Path) -> None:
    with ExitStack() as stack:

        def work(folder: str) -> dict[str, Any]:
            RunFolder(tmp_path).write_json(f"{folder}/checkpoints/epoch-1.json", {})
            stack.enter_context(full_disk())
            return {}

        with pytest.raises(WriteFailed):
            steps(tmp_path).do("supernet", "training", "", ARGUMENTS, work)
    folder = RunFolder(tmp_path / "steps" / "01-supernet")
    assert folder.names("checkpoints") == ["epoch-1.json"]
    steps(tmp_path, 2).do("supernet", "training", "", ARGUMENTS, Counted({}))
    assert not folder.exists("checkpoints")


def test_a_step_that_was_refused_may_be_asked_for_otherwise(tmp_path: Path) -> None:
    run = steps(tmp_path)
    with pytest.raises(UserError, match="too small"):
        run.do("supernet", "training", "", ARGUMENTS, Counted(UserError("This machine is too small.")))
    assert run.do("supernet", "training", "", {**ARGUMENTS, "seed": 2}, Counted({"x": 1})) == {"x": 1}


def test_a_step_that_had_begun_stays_though_it_is_refused_later(tmp_path: Path) -> None:
    with pytest.raises(StepFailed):
        steps(tmp_path).do("supernet", "training", "", ARGUMENTS, Counted(StepFailed("died")))
    with pytest.raises(UserError):
        steps(tmp_path, 2).do("supernet", "training", "", ARGUMENTS, Counted(UserError("This machine is too small.")))
    assert [record["name"] for record in steps(tmp_path).records] == ["supernet"]
