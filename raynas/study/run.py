"""One run: a method, carried out as durable steps in a run folder.

The same recipe in the same folder reads back the finished steps, and goes on from the last checkpoint of an unfinished
step. Resuming after a crash is nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raynas.cluster import ray_session
from raynas.interfaces.searcher import Searcher
from raynas.recipe.recipe import Recipe
from raynas.results.outcome import Outcome, is_finished, load
from raynas.storage import lock
from raynas.storage.progress import Logged, Quiet, Reporter
from raynas.storage.run_folder import DamagedFile, RunFolder
from raynas.study.automatic_scale import cores_of_own_ray, with_automatic_scale
from raynas.study.method import Method, method_of_recipe
from raynas.study.processes import RunProcesses
from raynas.study.run_context import RunContext
from raynas.study.run_files import begin_run_folder, check_run_folder, default_folder
from raynas.study.run_plan import Plan, check_fit, plan
from raynas.study.study import Study
from search_spaces.errors import Problems

if TYPE_CHECKING:
    from raynas.training.early_stop import EarlyStopClient


def run(
    recipe: str | Path | dict[str, Any] | Recipe,
    out: str | Path | None = None,
    changes: Iterable[str] = (),
    reporter: Reporter | None = None,
    verbose: bool = False,
) -> Outcome:
    """Carry out a recipe, or go on with its unfinished run in `out`.

    Args:
        recipe: a file, the name of a recipe that ships with raynas, or the recipe itself.
        out: the run folder, a path or a URI; by default a folder under runs/ that follows from the recipe.
        changes: `PATH=VALUE` each, applied to the recipe first.

    Raises:
        UserError: if the recipe, the data or the machine is wrong; before anything is trained.
        StepFailed: if a step cannot finish; finished steps are kept.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.read(recipe, changes)
    with carried_out(recipe, out, reporter, verbose) as (_, outcome):
        return outcome


@contextmanager
def carried_out(
    recipe: Recipe, out: str | Path | None, reporter: Reporter | None, verbose: bool, fits: bool = False
) -> Iterator[tuple[Study, Outcome]]:
    """Carry out a recipe. Yields its study, whose processes live on for further steps, and the outcome.

    Arguments and errors: as for `run`.

    Args:
        fits: whether the caller trains a network by the recipe's `fit` afterwards. The settings are checked first.
    """
    problems = Problems()
    with problems.collect():
        method = method_of_recipe(recipe)
    planned = plan(recipe, out, problems)
    with problems.collect():
        method.check(planned)
    if fits:
        with problems.collect():
            check_fit(planned)
    problems.check()
    folder = RunFolder(out or default_folder(planned.recipe))
    with open_study(with_automatic_scale(planned, folder, cores_of_own_ray()), folder, reporter, verbose) as study:
        yield study, _finished_outcome(study) or _run_method(method, study)


def _finished_outcome(study: Study) -> Outcome | None:
    """Return the outcome of a finished run; None if the run is not finished, or if a file of it is damaged."""
    if is_finished(study.folder):
        try:
            return load(study.folder.uri)
        except DamagedFile as fault:
            study.say(f"{fault} Its step runs again.")
    return None


def _run_method(method: Method, study: Study) -> Outcome:
    for note in study.recipe.notes:
        study.say(note)
    searcher = getattr(method, "search", None)
    if isinstance(searcher, Searcher):
        study.context.processes.expect_search(searcher.islands)
    outcome = method.run(study)
    outcome.write()
    return outcome


@contextmanager
def open_study(
    plan: Plan,
    folder: RunFolder,
    reporter: Reporter | None = None,
    verbose: bool = False,
    early_stop: EarlyStopClient | None = None,
    keep: bool = True,
) -> Iterator[Study]:
    """Lock a run folder and yield its study. Ray is joined or started when a step first needs it.

    Args:
        early_stop: in a trial of a sweep that stops trainings early, where the decisions are.
        keep: whether processes live on between steps. Beside trials that need the same resources they must not.
    """
    check_run_folder(folder)
    with lock.hold(folder) as attempt, ExitStack() as stack:
        begin_run_folder(folder, plan)
        cluster = lru_cache(maxsize=1)(lambda: stack.enter_context(ray_session.connect(verbose)))
        lines = Logged(reporter or Quiet(), folder)
        for remark in plan.data.remarks:
            lines.say(remark)
        with RunProcesses(plan.recipe, folder, attempt, lines, cluster, keep) as processes:
            yield Study(RunContext(plan, folder, attempt, lines, processes, early_stop))
