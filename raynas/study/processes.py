"""The Ray processes of a run: training workers, evaluators and search trials. They live on between its steps.

A process that holds a GPU ends with its step. So does a search trial whose metrics go to a tracker: there each step has
a log of its own. Before processes start, idle ones end if the cluster cannot hold both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

from raynas.cluster import ray_session
from raynas.cluster.devices import resources_per_process
from raynas.cluster.living_group import Successive
from raynas.study.tracking import search_callbacks
from search_spaces.errors import format_count

if TYPE_CHECKING:
    from raynas.cluster.living_group import LivingGroup
    from raynas.recipe.recipe import Recipe
    from raynas.recipe.settings import ProcessScale
    from raynas.search_trials.job import SearchJob
    from raynas.storage.progress import Reporter
    from raynas.storage.run_folder import RunFolder
    from raynas.training.job import TrainingJob

_FOLDER = "ray"
"""The folder in the run folder for the queues of living processes and for Ray's own files."""


class RunProcesses:
    """The processes of one attempt at a run.

    Args:
        cluster: joins or starts Ray at its first call.
        keep: whether processes may live on between steps.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        attempt: int,
        reporter: Reporter,
        cluster: Callable[[], ray_session.Cluster],
        keep: bool,
    ) -> None:
        self._scale, self._track, self._keep = recipe.scale, recipe.track, keep
        self._folder, self._attempt, self._reporter, self._cluster = folder, attempt, reporter, cluster
        self._evaluators: tuple[str, ...] = ()
        self._end_of_evaluators = ExitStack()
        self._evaluators_work = False
        self._workers, self._trials = Successive(self._start_workers), Successive(self._start_trials)
        self._groups = 0
        self._tracked_step = ""
        self._expected_islands = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        if kind is not None and self._groups:
            self._cluster().discard_errors()
        self.close(at_once=kind is not None)
        self._folder.delete(_FOLDER)

    def train(self, job: TrainingJob) -> list[dict[str, Any]]:
        """Let the training workers carry out a job; returns and raises as `launch`."""
        from raynas.training.launch import launch

        self._check_folder()
        history = launch(job, self._workers, self._scale, self._reporter, self._prepare_search)
        if not self._keeps(self._scale.train):
            self._workers.close()
        return history

    def search(self, job: SearchJob) -> list[dict[str, Any]]:
        """Let the search trials carry out a job; returns and raises as `raynas.search_trials.search.search`."""
        from raynas.search_trials.search import search

        self._tracked_step = job.step
        summaries = search(job, self._trials)
        if self._track or not self._keep:
            self._trials.close()
        return summaries

    @contextmanager
    def evaluators(self) -> Iterator[tuple[str, ...]]:
        """Start the evaluators if they do not live. Yields their names."""
        self._check_folder()
        self._start_evaluators()
        self._evaluators_work = True
        try:
            yield self._evaluators
        finally:
            self._evaluators_work = False
            if not self._keeps(self._scale.evaluate):
                self._end_evaluators()

    def expect_search(self, islands: int) -> None:
        """Let the processes of a search start beside the next training, and wait for it."""
        self._expected_islands = islands

    def make_room(self, workers: int) -> None:
        """End idle processes, and wait until the cluster can hold training workers of others."""
        self.close()
        self._check_folder()
        self._wait_for(self._scale.train, workers, lambda: None)

    def close(self, at_once: bool = False) -> None:
        """End all processes: after their work, or at once."""
        self._end_evaluators()
        self._workers.close(at_once)
        self._trials.close(at_once)

    def _keeps(self, scale: ProcessScale) -> bool:
        return self._keep and not scale.gpus

    def _check_folder(self) -> None:
        ray_session.check_folder_is_shared(self._cluster(), self._folder)

    def _prepare_search(self) -> None:
        """Start the processes of an expected search, if the cluster holds them beside a training."""
        evaluate = self._scale.evaluate
        keeps = self._keeps(evaluate) and not self._track
        if self._expected_islands and keeps and not self._lacks_free(evaluate, evaluate.actors):
            self._start_evaluators()
            self._trials.prepare(self._expected_islands)
            self._expected_islands = 0

    def _start_workers(self, workers: int, reports_to_tune: bool) -> LivingGroup:
        from raynas.training.launch import start_workers

        self._wait_for(self._scale.train, workers, self._end_evaluators)
        return start_workers(
            self._folder, self._attempt, self._new_queue("training"), self._scale, workers, reports_to_tune
        )

    def _start_trials(self, islands: int) -> LivingGroup:
        from raynas.search_trials.search import start_trials

        callbacks = search_callbacks(self._track, self._folder.uri, self._tracked_step)
        queue = self._new_queue("search")
        return start_trials(self._folder, self._attempt, queue, self._scale, islands, self._show_generation, callbacks)

    def _start_evaluators(self) -> None:
        from raynas.evaluation.actors import start_evaluators

        if not self._evaluators:
            self._wait_for(self._scale.evaluate, self._scale.evaluate.actors, self._workers.close)
            started = start_evaluators(self._folder.uri, self._new_name("evaluators"), self._attempt, self._scale)
            self._evaluators = self._end_of_evaluators.enter_context(started)

    def _end_evaluators(self) -> None:
        """End the evaluators, unless a training that is about to start needs them."""
        if not self._evaluators_work:
            self._end_of_evaluators.close()
            self._evaluators = ()

    def _wait_for(self, scale: ProcessScale, processes: int, end_idle: Callable[[], None]) -> None:
        """Wait until the cluster can hold new processes. If it cannot hold them beside idle ones, end those."""
        if self._lacks_free(scale, processes):
            end_idle()
        ray_session.wait_for_resources(self._cluster(), scale, processes, self._scale.wait_minutes, self._reporter.say)

    def _lacks_free(self, scale: ProcessScale, processes: int) -> bool:
        return ray_session.lacks_free_resources(self._cluster(), processes, resources_per_process(scale))

    def _new_queue(self, kind: str) -> str:
        """Return the folder of a new queue in the run folder."""
        return f"{_FOLDER}/attempt-{self._attempt:03d}/{self._new_name(kind)}"

    def _new_name(self, kind: str) -> str:
        self._groups += 1
        return f"{self._groups:02d}-{kind}"

    def _show_generation(self, report: dict[str, Any]) -> None:
        detail = f"generations, {format_count(report['evaluations'], 'architecture')}, best {report['best']:.2f} %"
        self._reporter.update(report["generations"], report["of"], detail)
