"""A group carries out one job after the other. A group that dies is replaced, unless it died at its first job."""

from __future__ import annotations

from pathlib import Path

import pytest

from raynas.cluster.living_group import GroupEnded, LivingGroup, Successive
from raynas.storage.job_queue import JobQueue
from raynas.storage.run_folder import RunFolder


class Groups:
    """Starts groups whose process is a thread. It takes jobs until one names it among those that it must die at."""

    def __init__(self, folder: Path) -> None:
        self._folder = RunFolder(folder)
        self.started: list[int] = []
        self.done: list[tuple[int, str]] = []

    def start(self, members: int) -> LivingGroup:
        self.started.append(members)
        group, queue = len(self.started), self._folder / str(len(self.started))

        def serve() -> None:
            jobs, number = JobQueue(queue), 0
            while (job := jobs.wait(number)) is not None:
                if group in job["fatal_for"]:
                    raise MemoryError(f"group {group} has no memory for {job['name']}")
                self.done.append((group, job["name"]))
                for member in range(members):
                    jobs.finish(number, member)
                number += 1

        return LivingGroup(serve, queue, members)


def job(name: str, *fatal_for: int) -> dict[str, object]:
    """Return a job, and the numbers of the groups that die at it."""
    return {"name": name, "fatal_for": fatal_for}


def test_one_group_carries_out_all_jobs(tmp_path: Path) -> None:
    groups = Groups(tmp_path)
    successive, looks = Successive(groups.start), []
    for name in ("a", "b", "c"):
        successive.carry_out(job(name), lambda: looks.append(1), 2)
    successive.close()
    assert (groups.started, groups.done) == ([2], [(1, "a"), (1, "b"), (1, "c")])
    assert looks


def test_a_group_of_other_members_replaces_the_group(tmp_path: Path) -> None:
    groups = Groups(tmp_path)
    successive = Successive(groups.start)
    for members in (2, 1, 1):
        successive.carry_out(job(str(members)), lambda: None, members)
    successive.close()
    assert (groups.started, groups.done) == ([2, 1], [(1, "2"), (2, "1"), (2, "1")])


def test_the_job_at_which_an_old_group_dies_goes_to_a_new_group(tmp_path: Path) -> None:
    groups = Groups(tmp_path)
    successive = Successive(groups.start)
    successive.carry_out(job("a"), lambda: None, 1)
    successive.carry_out(job("b", 1), lambda: None, 1)
    with pytest.raises(GroupEnded) as end:
        successive.carry_out(job("c", 2, 3), lambda: None, 1)
    assert str(end.value.__cause__) == "group 3 has no memory for c"
    assert (groups.started, groups.done) == ([1, 1, 1], [(1, "a"), (2, "b")])
    successive.close()
