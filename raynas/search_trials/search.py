"""A search as a Ray Tune run: each trial steps a search one generation an iteration, with evaluators that all share.

Tune keeps the trials alive. A trial keeps its own state as JSON in the run folder. The evaluations of a generation are
written before the state that follows them, so a generation whose state was lost is read back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ray import tune

from raynas.evaluation.actors import EvaluatorPool
from raynas.interfaces.costs import costs_of
from raynas.interfaces.searcher import Search, Searcher
from raynas.recipe.settings import ScaleSettings
from raynas.results.evaluation_table import EvaluationTable
from raynas.runtime.process import prepare_process
from raynas.search_trials.job import SearchJob
from raynas.search_trials.trials import run_trials
from raynas.storage import lock
from raynas.storage.errors import StepFailed
from raynas.storage.run_folder import DamagedFile, RunFolder
from raynas.storage.step_records import table_file
from search_spaces import from_specification

_BEGINNING: dict[str, Any] = {"generations": 0, "evaluations": 0, "best": 0.0, "note": None, "ended": False}


def search(
    job: SearchJob,
    scale: ScaleSettings,
    progress: Callable[[dict[str, Any]], None],
    callbacks: Sequence[tune.Callback] = (),
) -> list[dict[str, Any]]:
    """Run one trial for each seed to its end.

    Args:
        progress: called with the report of each generation of each trial.
        callbacks: Ray Tune's.

    Returns:
        The summary of each trial: `generations`, `evaluations`, `best`, `note`, `ended`.

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
    """Run one trial in its own process: ask for architectures, measure them, write the figures, tell the search."""
    job, trial = SearchJob.model_validate(config["job"]), int(config["trial"])
    prepare_process(job.threads, deterministic=False)
    run = RunFolder(job.run)
    lock.note_process(run, job.attempt)
    space = from_specification(job.space)
    costs = costs_of(space, job.latency)
    search = Searcher.restore(job.searcher).begin(space, costs, job.budget, job.seeds[trial])
    state, summary = _resume(run, job, trial, search)
    if summary["ended"]:
        return
    pool = EvaluatorPool(job.actors, costs, job.budget)
    table = EvaluationTable(run)
    shared = {**job.shared_columns, "seed": job.seeds[trial]}
    while architectures := search.ask():
        generation = summary["generations"]
        evaluations = table.read_iteration(job.step, trial, generation, architectures)
        if evaluations is None:
            evaluations = pool.measure(architectures) if job.race is None else job.race.run(pool, architectures, search)
            table.write(job.step, trial, generation, evaluations, shared)
        search.tell(evaluations)
        summary = {
            "generations": generation + 1,
            "evaluations": summary["evaluations"] + len(evaluations),
            "best": max([summary["best"], *(evaluation.top1 for evaluation in evaluations)]),
            "note": None,
            "ended": False,
        }
        state = search.state()
        _write(run / job.folder, trial, state, summary)
        tune.report({**summary, "trial": trial, "of": search.generations})
    _write(run / job.folder, trial, state, {**summary, "note": search.note, "ended": True})


def _state_file(trial: int) -> str:
    return f"trial-{trial}.json"


def _write(folder: RunFolder, trial: int, state: dict[str, Any] | None, summary: dict[str, Any]) -> None:
    folder.write_json(_state_file(trial), {"summary": summary, "state": state})


def _resume(run: RunFolder, job: SearchJob, trial: int, search: Search) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Restore the search from the trial's last state. Returns that state, and the summary of the trial so far.

    If the state or an earlier generation of the table is damaged, the search begins anew. It then reads the whole
    generations back from the table.
    """
    try:
        written = (run / job.folder).read_json(_state_file(trial))
    except (FileNotFoundError, DamagedFile):
        return None, _BEGINNING
    generations = range(written["summary"]["generations"])
    if not all(run.is_whole(table_file(job.step, trial, generation)) for generation in generations):
        return None, _BEGINNING
    if written["state"] is not None:
        search.restore(written["state"])
    return written["state"], written["summary"]
