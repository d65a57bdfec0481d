"""One run: a method, carried out as durable steps in a run folder.

Running the same recipe in the same folder again replays what is finished and goes on from the last checkpoint of what
is not: that is the whole of resuming, after any crash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raynas.cluster import ray_session
from raynas.recipe.recipe import Recipe
from raynas.results.outcome import Outcome, load
from raynas.storage import lock
from raynas.storage.progress import Logged, Quiet, Reporter
from raynas.storage.run_folder import Damaged, RunFolder
from raynas.study.method import of_recipe
from raynas.study.run_plan import Plan, begin_folder, default_folder, plan, refuse_strangers
from raynas.study.study import Study

if TYPE_CHECKING:
    from raynas.training.early_stop import Judge


def run(
    recipe: str | Path | dict[str, Any] | Recipe,
    out: str | Path | None = None,
    changes: Iterable[str] = (),
    reporter: Reporter | None = None,
    verbose: bool = False,
) -> Outcome:
    """Carry out a recipe, or go on with it where `out` holds its unfinished run.

    Args:
        recipe: a file, the name of a recipe that ships with raynas, or the recipe itself.
        out: the run folder, a path or a URI; by default a folder under runs/ that follows from the recipe.
        changes: `PATH=VALUE` each, applied to the recipe first.

    Raises:
        UserError: for what the user can mend, before anything is trained.
        StepFailed: for what cannot go on; what was finished is kept.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.read(recipe, changes)
    method = of_recipe(recipe)
    planned = plan(recipe, out)
    method.check(planned)
    folder = RunFolder(out or default_folder(planned.recipe))
    with opened(planned, folder, reporter, verbose) as study:
        if folder.is_whole("outcome.json"):
            try:
                return load(folder.uri)
            except Damaged as fault:
                study.say(f"{fault} What it belongs to is done again.")
        for note in recipe.notes:
            study.say(note)
        outcome = method.run(study)
        outcome.write()
        return outcome


@contextmanager
def opened(
    planned: Plan,
    folder: RunFolder,
    reporter: Reporter | None = None,
    verbose: bool = False,
    judge: Judge | None = None,
) -> Iterator[Study]:
    """Hold a run folder and the study in it; Ray is joined or started when a step first needs it.

    Args:
        judge: who says, in a trial of a sweep, whether a training that chooses an architecture may end.
    """
    refuse_strangers(folder)
    with lock.held(folder) as attempt, ExitStack() as stack:
        begin_folder(folder, planned)
        cluster = lru_cache(maxsize=1)(lambda: stack.enter_context(ray_session.connected(verbose)))
        yield Study(planned, folder, attempt, Logged(reporter or Quiet(), folder), cluster, judge)
