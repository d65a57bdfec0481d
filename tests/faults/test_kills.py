"""If any process is killed, or the number of evaluators changes, the same command ends with the same table."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import raynas
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from tests.faults.recipes import RECIPES
from tests.faults.runs import Command, Condition, Result, command_processes, ended, kill_living, read_proc, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
Commands = Callable[..., Command]
CLOCK = """
import time
_time, _start = time.time, time.monotonic()
time.time = lambda: _time() - (3600.0 if time.monotonic() - _start > 12 else 0.0)
"""
"""Sets the clock of a process back by an hour, twelve seconds after the start of the process."""


def training(step: str) -> Condition:
    """Return the condition that a training has a checkpoint and has not finished."""
    return lambda out: any(out.glob(f"steps/*-{step}/checkpoints/epoch-*.safetensors"))


def searching(step: str) -> Condition:
    """Return the condition that a search has written a generation."""
    return lambda out: any(out.glob(f"steps/*-{step}/trial-0.json"))


def attempts(out: Path) -> dict[str, int]:
    """Return the number of the attempt that finished each step."""
    return {record["name"]: record["attempt"] for record in records(RunFolder(out))}


def run_with_kills(command: Commands, method: str, conditions: Sequence[Condition]) -> Command:
    """Finish a run of a method. Its driver is killed at each condition."""
    recipe, changes = RECIPES[method]
    killed = command("killed", *changes, recipe=recipe)
    for condition in conditions:
        killed.kill_when(condition)
    killed.finish()
    return killed


def test_a_killed_driver_continues_a_training_a_search_and_a_fine_tuning(
    command: Commands, undisturbed: Result, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has one evaluator instead of two. In every process the clock goes back by an hour."""
    folder = tmp_path_factory.mktemp("clock")
    (folder / "sitecustomize.py").write_text(CLOCK)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
    run = command("killed", "scale.evaluate.actors=1")
    for condition in (training("supernet"), searching("search-2"), training("supernet-2")):
        run.kill_when(condition)
    run.finish()
    assert attempts(run.out) == {"supernet": 2, "search-2": 3, "supernet-2": 4, "final": 4}
    Result.read(run.out).assert_equal(undisturbed)
    seconds = [record["seconds"] for record in records(RunFolder(run.out))]
    assert all(value >= 0 for value in seconds), "times of steps come from a monotonic clock"
    assert (raynas.load(run.out).table["seconds"] >= 0).all()


def kill_process(title: str, condition: Condition, run: Command, process: subprocess.Popen[str]) -> None:
    """Once the condition holds, kill a process of the run with SIGKILL, and wait for its replacement."""
    wait_until(lambda: condition(run.out) and bool(command_processes(run.out, title)), process)
    before = command_processes(run.out, title)
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: not set(command_processes(run.out, title)) <= set(before), process)


def test_killed_processes_are_replaced_and_a_second_run_in_the_folder_is_refused(
    command: Commands, undisturbed: Result
) -> None:
    """A worker, an evaluator, the raylet and a trial are killed. Only without its raylet does the driver end."""
    run = command("killed")
    process = run.start()
    with ended(process):
        kill_process("TrainWorker", training("supernet"), run, process)
        second = run.start()
        with ended(second):
            out, err = second.communicate(timeout=120)
        assert (second.returncode, out, len(err.splitlines())) == (2, "", 1)
        assert f"in use by process {process.pid}" in err
        kill_process("EvaluatorActor", searching("search-2"), run, process)
        wait_until(lambda: training("supernet-2")(run.out), process)
        pids, workers = command_processes(run.out), command_processes(run.out, "TrainWorker")
        (raylet,) = [pid for pid in pids if read_proc(pid, "cmdline").partition(" ")[0].endswith("raylet/raylet")]
        for worker in workers:  # the processes that live on could end the run before the driver misses the raylet
            os.kill(worker, signal.SIGSTOP)
        os.kill(raylet, signal.SIGKILL)
        process.communicate(timeout=300)
        kill_living(workers)
    assert process.returncode == 1
    run.wait_for_processes()
    process = run.start()
    with ended(process):
        kill_process("ImplicitFunc", searching("final"), run, process)
        output = process.communicate(timeout=900)
    assert process.returncode == 0, output
    finished_by = attempts(run.out)
    assert (finished_by["supernet"], finished_by["search-2"]) == (1, 1), "finished steps do not run again"
    assert finished_by["final"] == 2, "only the raylet's end was an end of the driver"
    Result.read(run.out).assert_equal(undisturbed)
