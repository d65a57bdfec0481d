"""Searches as a Ray Tune run: each trial steps a search one generation an iteration, with evaluators that all share.

Tune keeps the trials alive, from one search of a run to the next. A trial keeps its own state as JSON in the run
folder. The evaluations of a generation are written before the state that follows them, so a generation whose state was
lost is read back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ray import tune

from raynas.cluster.living_group import GroupEnded, LivingGroup
from raynas.evaluation.actors import EvaluatorPool
from raynas.interfaces.costs import costs_of
from raynas.interfaces.searcher import Search, Searcher
from raynas.recipe.settings import ScaleSettings
from raynas.results.evaluation_table import EvaluationTable
from raynas.runtime.process import prepare_process
from raynas.search_trials.job import SearchJob, TuneJob
from raynas.search_trials.trials import Report, run_trials
from raynas.storage import lock
from raynas.storage.errors import StepFailed
from raynas.storage.job_queue import JobQueue
from raynas.storage.run_folder import DamagedFile, RunFolder
from raynas.storage.step_records import table_file
from search_spaces import from_specification

if TYPE_CHECKING:
    from raynas.cluster.living_group import Successive

_BEGINNING: dict[str, Any] = {"generations": 0, "evaluations": 0, "best": 0.0, "note": None, "ended": False}


def start_trials(
    run: RunFolder,
    attempt: int,
    queue: str,
    scale: ScaleSettings,
    islands: int,
    progress: Report,
    callbacks: Sequence[tune.Callback] = (),
) -> LivingGroup:
    """Start the search trials of a run, one for each island. They wait for their first search.

    Args:
        attempt: the number of the driver's attempt.
        queue: the folder of their searches in the run folder.
        progress: called with the report of each generation of each trial.
        callbacks: Ray Tune's.
    """
    job = TuneJob(run=run.uri, folder=queue, attempt=attempt)

    def run_processes() -> None:
        run_trials(_serve_searches, job, islands, scale, progress, callbacks=callbacks)

    return LivingGroup(run_processes, run / queue, islands)


def search(job: SearchJob, trials: Successive) -> list[dict[str, Any]]:
    """Let the trials of a run carry out a search, one trial for each seed.

    Args:
        trials: the trials, which live on between searches (`start_trials`).

    Returns:
        The summary of each trial: `generations`, `evaluations`, `best`, `note`, `ended`.

    Raises:
        StepFailed: if a trial died more often than `scale.max_failures`.
    """
    islands = len(job.seeds)
    try:
        trials.carry_out(job.json_value(), lambda: None, islands)
    except GroupEnded as end:
        raise StepFailed(f"{job.folder} stopped: {end.__cause__}") from end
    folder = RunFolder(job.run) / job.folder
    summaries = [folder.read_json(_state_file(trial))["summary"] for trial in range(islands)]
    if not all(summary["ended"] for summary in summaries):
        raise StepFailed(f"The search {job.step} was stopped before its end.")
    return summaries


def _serve_searches(config: dict[str, Any]) -> None:
    """Carry out the searches of a queue until it is closed, in a trial's own process."""
    job, trial = TuneJob.model_validate(config["job"]), int(config["trial"])
    run = RunFolder(job.run)
    lock.note_process(run, job.attempt)
    queue = JobQueue(run / job.folder)
    number = queue.first_unfinished(trial)
    while (search := queue.wait(number)) is not None:
        _search(SearchJob.model_validate(search), trial, queue)
        queue.finish(number, trial)
        number += 1


def _search(job: SearchJob, trial: int, queue: JobQueue) -> None:
    """Ask for architectures, measure them, write the figures, tell the search."""
    prepare_process(job.threads, deterministic=False)
    assert job.evaluators is not None
    run = RunFolder(job.run)
    space = from_specification(job.space)
    costs = costs_of(space, job.latency)
    search = Searcher.restore(job.searcher).begin(space, costs, job.budget, job.seeds[trial])
    state, summary = _resume(run, job, trial, search)
    if summary["ended"]:
        return
    pool = EvaluatorPool(job.evaluators, costs, job.budget)
    table = EvaluationTable(run)
    shared = {**job.shared_columns, "seed": job.seeds[trial]}
    while not queue.is_closed() and (architectures := search.ask()):
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
    _write(run / job.folder, trial, state, {**summary, "note": search.note, "ended": not queue.is_closed()})


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
