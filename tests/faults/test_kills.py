"""If any process is killed, or the number of evaluators changes, the same command ends with the same table."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from tests.faults.runs import Command, Condition, Result, command_processes, ended, read_proc, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
Commands = Callable[..., Command]


def training(step: str) -> Condition:
    """Return the condition that a training has a checkpoint and has not finished."""
    return lambda out: any(out.glob(f"steps/*-{step}/checkpoints/epoch-*.safetensors"))


def searching(step: str) -> Condition:
    """Return the condition that a search has written a generation."""
    return lambda out: any(out.glob(f"steps/*-{step}/trial-0.json"))


def attempts(out: Path) -> dict[str, int]:
    """Return the number of the attempt that finished each step."""
    return {record["name"]: record["attempt"] for record in records(RunFolder(out))}


def run_with_kills(
    command: Commands, recipe: str | None, changes: Sequence[str], conditions: Sequence[Condition]
) -> tuple[Command, Command]:
    """Finish two runs of a recipe: one undisturbed, and one whose driver is killed at each condition."""
    undisturbed, killed = (command(name, *changes, recipe=recipe) for name in ("undisturbed", "killed"))
    with undisturbed.run_beside():
        for condition in conditions:
            killed.kill_when(condition)
        killed.finish()
    return undisturbed, killed


def test_a_killed_driver_continues_a_training_a_search_and_a_fine_tuning(
    command: Commands, undisturbed: Result
) -> None:
    run = command("killed")
    for condition in (training("supernet"), searching("search-2"), training("supernet-2")):
        run.kill_when(condition)
    run.finish()
    assert attempts(run.out) == {"supernet": 2, "search-2": 3, "supernet-2": 4, "final": 4}
    Result.read(run.out).assert_equal(undisturbed)


def kill_process(title: str, condition: Condition, run: Command, process: subprocess.Popen[str]) -> None:
    """Once the condition holds, kill a process of the run with SIGKILL, and wait for its replacement."""
    wait_until(lambda: condition(run.out) and bool(command_processes(run.out, title)), process)
    before = command_processes(run.out, title)
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: not set(command_processes(run.out, title)) <= set(before), process)


def test_a_killed_evaluator_training_worker_and_trial_are_replaced(command: Commands, undisturbed: Result) -> None:
    run = command("killed")
    process = run.start()
    with ended(process):
        kill_process("EvaluatorActor", searching("search-2"), run, process)
        kill_process("TrainWorker", training("supernet-2"), run, process)
        kill_process("ImplicitFunc", searching("final"), run, process)
        output = process.communicate(timeout=900)
    assert process.returncode == 0, output
    assert set(attempts(run.out).values()) == {1}
    Result.read(run.out).assert_equal(undisturbed)


def test_a_run_continues_after_its_raylet_was_killed(command: Commands, undisturbed: Result) -> None:
    run = command("killed")
    process = run.start()
    with ended(process):
        wait_until(lambda: training("supernet-2")(run.out), process)
        pids = command_processes(run.out)
        (raylet,) = [pid for pid in pids if read_proc(pid, "cmdline").partition(" ")[0].endswith("raylet/raylet")]
        os.kill(raylet, signal.SIGKILL)
        process.communicate(timeout=300)
    assert process.returncode == 1
    run.wait_for_processes()
    run.finish()
    finished_by = attempts(run.out)
    assert (finished_by["supernet"], finished_by["search-2"]) == (1, 1), "finished steps do not run again"
    Result.read(run.out).assert_equal(undisturbed)


def test_one_evaluator_gives_the_result_of_two_and_a_second_run_in_the_folder_is_refused(
    command: Commands, undisturbed: Result
) -> None:
    run = command("alone", "scale.evaluate.actors=1")
    process = run.start()
    with ended(process):
        wait_until(lambda: training("supernet")(run.out), process)
        second = run.start()
        with ended(second):
            out, err = second.communicate(timeout=120)
        assert (second.returncode, out, len(err.splitlines())) == (2, "", 1)
        assert f"in use by process {process.pid}" in err
        output = process.communicate(timeout=900)
    assert process.returncode == 0, output
    Result.read(run.out).assert_equal(undisturbed)
