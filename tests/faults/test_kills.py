"""Whatever is killed, and however many evaluators there are: the same command ends with the same table."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from raynas.storage.run_folder import RunFolder
from tests.faults.runs import Command, Result, marked, reaped, told, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
Commands = Callable[..., Command]


def training(step: str) -> Callable[[Path], bool]:
    """An epoch of the step is safe, and the last is not."""
    return lambda out: any(out.glob(f"steps/*-{step}/checkpoints/epoch-*.safetensors"))


def searching(step: str) -> Callable[[Path], bool]:
    """A generation of the step is safe, and the last is not."""
    return lambda out: any(out.glob(f"steps/*-{step}/trial-0.json"))


def attempts(out: Path) -> dict[str, int]:
    """Which attempt ended each step."""
    return {step["name"]: step["attempt"] for step in RunFolder(out).read_json("study.json")["steps"]}


def killed_in(
    command: Commands, recipe: str | None, short: Sequence[str], moments: Sequence[Callable[[Path], bool]]
) -> tuple[Command, Command]:
    """A recipe's run that nothing happens to, and one whose driver is killed at each moment; both ended."""
    undisturbed, killed = (command(name, *short, recipe=recipe) for name in ("undisturbed", "killed"))
    with undisturbed.beside():
        for moment in moments:
            killed.kill_when(moment)
        killed.finish()
    return undisturbed, killed


def test_the_driver_is_killed_while_training_searching_and_fine_tuning(command: Commands, undisturbed: Result) -> None:
    run = command("killed")
    for moment in (training("supernet"), searching("search-2"), training("supernet-2")):
        run.kill_when(moment)
    run.finish()
    assert attempts(run.out) == {"supernet": 2, "search-2": 3, "supernet-2": 4, "final": 4}
    Result.of(run.out).must_equal(undisturbed)


def kill_one(title: str, moment: Callable[[Path], bool], run: Command, process: subprocess.Popen[str]) -> None:
    """At a moment, kill -9 a worker of the run, and wait until there is another in its place."""
    wait_until(lambda: moment(run.out) and bool(marked(run.out, title)), process)
    before = marked(run.out, title)
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: not set(marked(run.out, title)) <= set(before), process)


def test_a_supernet_actor_a_training_worker_and_a_search_are_killed(command: Commands, undisturbed: Result) -> None:
    run = command("killed")
    process = run.start()
    with reaped(process):
        kill_one("SupernetActor", searching("search-2"), run, process)
        kill_one("TrainWorker", training("supernet-2"), run, process)
        kill_one("ImplicitFunc", searching("final"), run, process)
        said = process.communicate(timeout=900)
    assert process.returncode == 0, said
    assert set(attempts(run.out).values()) == {1}
    Result.of(run.out).must_equal(undisturbed)


def test_ray_itself_is_killed(command: Commands, undisturbed: Result) -> None:
    run = command("killed")
    process = run.start()
    with reaped(process):
        wait_until(lambda: training("supernet-2")(run.out), process)
        (raylet,) = [one for one in marked(run.out) if told(one, "cmdline").split()[0].endswith("raylet/raylet")]
        os.kill(raylet, signal.SIGKILL)
        process.communicate(timeout=300)
    assert process.returncode == 1
    run.wait_until_gone()
    run.finish()
    done = attempts(run.out)
    assert (done["supernet"], done["search-2"]) == (1, 1), "what was finished is not done again"
    Result.of(run.out).must_equal(undisturbed)


def test_one_evaluator_does_as_two_and_a_second_run_on_its_folder_is_refused(
    command: Commands, undisturbed: Result
) -> None:
    run = command("alone", "scale.evaluate.actors=1")
    process = run.start()
    with reaped(process):
        wait_until(lambda: training("supernet")(run.out), process)
        second = run.start()
        with reaped(second):
            out, err = second.communicate(timeout=120)
        assert (second.returncode, out, len(err.splitlines())) == (2, "", 1)
        assert f"in use by process {process.pid}" in err
        said = process.communicate(timeout=900)
    assert process.returncode == 0, said
    Result.of(run.out).must_equal(undisturbed)
