"""A search as a Ray Tune run: a trial steps a search one generation an iteration and asks the shared supernet actors.

Tune keeps the trials alive and side by side; what a trial knows is its own, as JSON in the run folder. A generation's
evaluations are written before the state that follows them, so that a generation whose state was lost is read back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ray import tune

from raynas.evaluation.actors import Pool
from raynas.evaluation.racing_evaluation import Race
from raynas.interfaces.searcher import Search, Searcher
from raynas.recipe.recipe import ScaleSettings
from raynas.results.outcome import EvaluationTable
from raynas.runtime.process import prepare_process
from raynas.search_trials.trials import TuneJob, run_trials
from raynas.storage import lock
from raynas.storage.run_folder import Damaged, RunFolder
from raynas.study.run_plan import costs_of
from raynas.study.steps import StepFailed, table_file
from search_spaces import from_specification
from search_spaces.budget.budget import Budget


class SearchJob(TuneJob):
    """All that a trial needs, as plain JSON.

    Attributes:
        step: the step's name.
        searcher: a reference to the `Searcher`.
        latency: the rows of the latency table, where the run has one.
        actors: the names of the supernet actors.
        seeds: one a trial.
        race: the rounds in which a generation is measured, where it is not measured on all images at once.
        about: columns that every row of the evaluation table repeats.
    """

    step: str
    space: dict[str, Any]
    latency: list[list[Any]] | None
    searcher: dict[str, Any]
    budget: Budget
    seeds: list[int]
    actors: list[str]
    race: Race | None
    about: dict[str, Any]
    threads: int


def search(
    job: SearchJob,
    scale: ScaleSettings,
    progress: Callable[[dict[str, Any]], None],
    callbacks: Sequence[tune.Callback] = (),
) -> list[dict[str, Any]]:
    """Run one trial a seed to its end; returns each trial's last state: generations done, evaluations, note.

    Args:
        progress: called after each generation of each trial with what the trial reported.
        callbacks: Ray Tune's, that hear of it, too.

    Raises:
        StepFailed: if a trial died more often than `scale.max_failures`.
    """
    run_trials(_trial, job, len(job.seeds), scale, progress, callbacks=callbacks)
    folder = RunFolder(job.run) / job.folder
    summaries = [folder.read_json(_state_file(trial))["summary"] for trial in range(len(job.seeds))]
    if not all(summary["ended"] for summary in summaries):
        raise StepFailed(f"The search {job.step} was stopped before its end.")
    return summaries


def _trial(config: dict[str, Any]) -> None:
    """One trial, in a process of its own: ask, evaluate, write down, tell, and again."""
    job, trial = SearchJob.model_validate(config["job"]), int(config["trial"])
    prepare_process(job.threads, deterministic=False)
    run = RunFolder(job.run)
    lock.note_process(run, job.attempt)
    space = from_specification(job.space)
    costs = costs_of(space, job.latency)
    searcher = Searcher.revive(job.searcher)
    searching = searcher.begin(space, costs, job.budget, job.seeds[trial])
    state, done = _resume(run, job, trial, searching)
    if done["ended"]:
        return
    pool = Pool(job.actors, costs, job.budget)
    table = EvaluationTable(run)
    while architectures := searching.ask():
        evaluations = table.written(job.step, trial, done["generations"], architectures)
        if evaluations is None:
            evaluations = (
                pool.measure(architectures) if job.race is None else job.race.run(pool, architectures, searching)
            )
            table.write(job.step, trial, done["generations"], evaluations, {**job.about, "seed": job.seeds[trial]})
        searching.tell(evaluations)
        done = {
            "generations": done["generations"] + 1,
            "evaluations": done["evaluations"] + len(evaluations),
            "best": max([done["best"], *(one.top1 for one in evaluations)]),
            "note": None,
            "ended": False,
        }
        state = searching.state()
        _write(run / job.folder, trial, state, done)
        tune.report({**done, "trial": trial, "of": searching.generations})
    _write(run / job.folder, trial, state, {**done, "note": searching.note, "ended": True})


def _state_file(trial: int) -> str:
    return f"trial-{trial}.json"


def _write(folder: RunFolder, trial: int, state: dict[str, Any] | None, done: dict[str, Any]) -> None:
    folder.write_json(_state_file(trial), {"summary": done, "state": state})


def _resume(
    run: RunFolder, job: SearchJob, trial: int, searching: Search
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The state to go on from, already restored, and what has been done.

    Where the state, or the table of a generation before it, is damaged, the search begins anew, and what the table has
    answers for the actors.
    """
    anew = {"generations": 0, "evaluations": 0, "best": 0.0, "note": None, "ended": False}
    try:
        written = (run / job.folder).read_json(_state_file(trial))
    except (FileNotFoundError, Damaged):
        return None, anew
    if not all(run.is_whole(table_file(job.step, trial, one)) for one in range(written["summary"]["generations"])):
        return None, anew
    if written["state"] is not None:
        searching.restore(written["state"])
    return written["state"], written["summary"]
