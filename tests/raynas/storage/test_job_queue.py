"""Jobs are taken in order, each once, and a process that is started anew finds its first unfinished job."""

from __future__ import annotations

from pathlib import Path

from raynas.storage.job_queue import JobQueue
from raynas.storage.run_folder import RunFolder


def test_a_process_that_is_started_anew_finds_its_first_unfinished_job(tmp_path: Path) -> None:
    driver, member = JobQueue(RunFolder(tmp_path)), JobQueue(RunFolder(tmp_path))
    assert member.first_unfinished() == 0
    for number in range(3):
        driver.put(number, {"text": f"job {number}"})
    assert member.wait(0) == {"text": "job 0"}
    member.finish(0)
    member.finish(0, member=1)
    member.finish(1, member=1)
    assert (member.first_unfinished(), member.first_unfinished(member=1)) == (1, 2)
    assert [driver.is_finished(number) for number in range(3)] == [True, False, False]
    assert JobQueue(RunFolder(tmp_path)).wait(1) == {"text": "job 1"}


def test_a_closed_queue_has_no_further_job(tmp_path: Path) -> None:
    queue = JobQueue(RunFolder(tmp_path))
    queue.put(0, {})
    queue.close()
    assert (queue.wait(0), queue.wait(1)) == ({}, None), "a job that was put before the end is carried out"
    assert (queue.is_closed(), queue.must_end_at_once()) == (True, False)
    queue.close(at_once=True)
    assert (queue.must_end_at_once(), queue.wait(0)) == (True, None)
