"""The durable steps that a method is written in: each is done once, and replayed when the run goes on."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from raynas.cluster import ray_session
from raynas.evaluation.racing_evaluation import Race
from raynas.interfaces.objective import Objective
from raynas.interfaces.searcher import Evaluation, Searcher
from raynas.recipe.recipe import FitSettings, TrainingSettings
from raynas.results.outcome import TESTED, EvaluationTable, Found, Outcome
from raynas.storage.progress import Reporter
from raynas.storage.run_folder import RunFolder
from raynas.storage.weights import Fitted, Trial, Weights
from raynas.study.curves import write_curves
from raynas.study.run_plan import Plan, costs_of
from raynas.study.steps import Steps
from raynas.study.tracking import search_callbacks, track_training
from raynas.training.standalone_settings import stand_alone
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from raynas.data.images import Part
    from raynas.evaluation.evaluator import Question
    from raynas.training.early_stop import Judge
    from search_spaces import Architecture, Costs, SearchSpace

_TRAIN: Mapping[str, Part] = {"train": "train"}
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Study:
    """The durable steps that a method is written in, and what they share.

    Attributes:
        folder: the run folder.
        recipe: the run's recipe.
        space: the search space, unrestricted.
        data: what is known of the images.
        costs: of the space's architectures, with latency where the recipe has a table.
        budget: the recipe's.
    """

    def __init__(
        self,
        planned: Plan,
        folder: RunFolder,
        attempt: int,
        reporter: Reporter,
        cluster: Callable[[], ray_session.Cluster],
        judge: Judge | None,
    ) -> None:
        self.folder, self.recipe, self.budget = folder, planned.recipe, planned.recipe.budget
        self.space, self.data, self.costs = planned.space, planned.data, planned.costs
        self._latency, self._attempt = planned.latency, attempt
        self._reporter, self._cluster, self._judge = reporter, cluster, judge
        self._steps = Steps(folder, attempt, planned.recipe.scale.gpus, reporter)

    def say(self, text: str) -> None:
        """Tell whoever watches the run."""
        self._reporter.say(text)

    def costs_within(self, space: SearchSpace) -> Costs:
        """The costs of this run's space, or of what has been left of it."""
        return costs_of(space, self._latency)

    def train(
        self,
        name: str,
        space: SearchSpace,
        objective: Objective,
        settings: TrainingSettings,
        start: Weights | None = None,
        streams: Mapping[str, Part] = _TRAIN,
    ) -> Weights:
        """Train the supernet of `space` as a Ray Train job; from scratch, or from what `start` has of its weights.

        After each epoch the supernet actors are asked for the one-shot accuracy of the architecture that the objective
        would choose, if it would choose one.

        Args:
            streams: the part of the images that each stream of the objective reads.
        """
        scale = self.recipe.scale
        for part in streams.values():
            images = sum(self.data.counts[key] for key in ("train", "validation") if part in (key, "all-training"))
            if images < settings.batch_size:
                raise UserError(
                    f"A batch of {settings.batch_size} is more than the {images} "
                    f"{'validation' if part == 'validation' else 'training'} images of the step {name}."
                )
        job = {
            "space": space.specification(),
            "objective": objective.reference(),
            "latency": self._latency,
            "training": FitSettings(**settings.json_value()).json_value(),
            "evaluation": self.recipe.evaluation.json_value(),
            "parts": dict(streams),
            "start": start.file if start else None,
            "seed": self.seed_of(name),
            "threads": scale.threads,
            "deterministic": scale.deterministic,
        }

        def work(folder: str) -> dict[str, Any]:
            self._make_room(scale.train_workers, cpus=1)
            from raynas.training.launch import launch
            from raynas.training.trainer import TrainingJob

            here = {"run": self.folder.uri, "step": folder, "name": name, "attempt": self._attempt}
            about = {"budget": self.budget, "about": self._about(), "data": self.data.model_dump(mode="json")}
            with self._advisers(name, space, objective) as actors:
                judge = self._judge if objective.chooses else None
                full = TrainingJob.model_validate({**job, **here, **about, "actors": actors, "judge": judge})
                history = launch(full, scale, self._reporter)
            write_curves(self.folder, name, history)
            track_training(self.recipe.track, self.folder.uri, name, history)
            last = history[-1]
            self.say(f"training loss {last['loss']:.3f}, top-1 {last['top1']:.1f} % in the last epoch")
            return {"file": f"{folder}/weights.safetensors", "version": f"{name}:{last['epoch']}", "history": history}

        trained = f"{space.size():.3g} architectures" if space.size() > 1 else "one architecture"
        what = f"training {trained} for {settings.epochs} epoch{'s' * (settings.epochs > 1)}"
        arguments = {**job, "data": self._data_identity(), "train_workers": scale.train_workers}
        return Weights(**self._steps.do(name, what, arguments, scale.train_workers, work))

    def learnt(self, weights: Weights) -> dict[str, Tensor]:
        """What the learner of the training that gave these weights held at its end."""
        tensors, _ = self.folder.read_tensors(weights.learnt)
        return tensors

    def search(
        self,
        name: str,
        space: SearchSpace,
        weights: Weights,
        searcher: Searcher,
        question: Question | None = None,
    ) -> Found:
        """Search `space` as a Ray Tune run: each trial steps a search of its own seed and asks the supernet actors.

        Args:
            question: who answers, where it is not the supernet with these weights.
        """
        scale = self.recipe.scale
        asked = question or self._question(space, weights, "validation", recalibrate=True)
        race = None if question else Race.of(self.recipe.evaluation, self.data.counts["validation"])
        job = {
            "step": name,
            "space": space.specification(),
            "latency": self._latency,
            "searcher": searcher.reference(),
            "budget": self.budget.model_dump(mode="json"),
            "seeds": [self.seed_of(name, trial) for trial in range(searcher.islands)],
            "threads": scale.threads,
            "race": race and race.json_value(),
        }

        def work(folder: str) -> dict[str, Any]:
            self._make_room(scale.evaluators, cpus=0)
            from raynas.evaluation.actors import evaluators
            from raynas.search_trials.search import SearchJob, search

            about = {**self._about(), "weights": weights.version}
            with evaluators(self.folder.uri, name, self._attempt, asked, scale) as actors:
                here = {"run": self.folder.uri, "folder": folder, "attempt": self._attempt, "actors": actors}
                callbacks = search_callbacks(self.recipe.track, self.folder.uri, name)
                full = SearchJob.model_validate({**job, **here, "about": about})
                summaries = search(full, scale, self._generation, callbacks)
            for summary in summaries:
                if summary["note"]:
                    self.say(summary["note"])
            return {"trials": summaries}

        arguments = {**job, **self._identity_of(asked)}
        self._steps.do(name, f"searching {space.size():.3g} architectures", arguments, scale.evaluators, work)
        return Found.read(self.folder, name, space)

    def evaluate(
        self,
        name: str,
        space: SearchSpace,
        architectures: Sequence[Architecture],
        weights: Weights,
        notes: Mapping[str, Any] = _NOTHING,
        part: Part = "validation",
        mixture: Tensor | None = None,
    ) -> Found:
        """Ask the supernet actors for these architectures' one-shot accuracy.

        Args:
            notes: columns of the method's own for the evaluation table.
            part: the images; of `test` in a step whose name ends in `TESTED`.
            mixture: weights of all options, where it is their mixture that is measured, with its own statistics.
        """
        asked = self._question(space, weights, part, recalibrate=mixture is None, mixture=mixture)

        def work(folder: str) -> dict[str, Any]:
            about = {**self._about(), "weights": weights.version, "seed": self.recipe.seed, **notes}
            evaluations = self._ask(name, asked, space, architectures)
            EvaluationTable(self.folder).write(name, 0, 0, evaluations, about)
            return {"evaluations": len(evaluations)}

        what = f"evaluating {len(architectures)} architecture{'s' * (len(architectures) > 1)}"
        arguments = {**self._identity_of(asked), "architectures": [str(one) for one in architectures]}
        self._steps.do(name, what, arguments, self.recipe.scale.evaluators, work)
        return Found.read(self.folder, name, space)

    def sweep(
        self,
        name: str,
        trainable: str,
        settings: Sequence[Mapping[str, Any]],
        needs: Mapping[str, Any] = _NOTHING,
        scheduler: Mapping[str, Any] | None = None,
    ) -> list[Trial]:
        """Carry out `trainable(study, setting, run)` for each setting, as the trials of one Ray Tune run.

        Each trial has a study of its own, in a folder of its own, on this run's recipe, in which what the setting has
        under `recipe` (`seed`, `budget`) is replaced. The rows of its last step become rows of this run's evaluation
        table, under this step's name.

        Args:
            trainable: the import path of a `raynas.study.sweep.Trainable`.
            needs: what else decides the results, as plain JSON.
            scheduler: the import path of a `raynas.training.early_stop.JudgingScheduler` (`path`) and its settings.
        """
        job = {
            "recipe": self.recipe.json_value(),
            "trainable": trainable,
            "settings": [dict(one) for one in settings],
            "scheduler": scheduler and dict(scheduler),
        }

        def work(folder: str) -> dict[str, Any]:
            self._make_room(self.recipe.scale.train_workers, cpus=1)
            from raynas.study.sweep import SweepJob, sweep, trial_folder

            here = {"run": self.folder.uri, "folder": folder, "attempt": self._attempt}
            done = []

            def progress(report: dict[str, Any]) -> None:
                if "epoch" not in report:
                    done.append(report["trial"])
                    self._reporter.update(len(set(done)), len(settings), "trials")

            callbacks = search_callbacks(self.recipe.track, self.folder.uri, name)
            results = sweep(SweepJob.model_validate({**job, **here}), self.recipe.scale, progress, callbacks)
            folders = [f"{folder}/{trial_folder(trial)}" for trial in range(len(settings))]
            for trial, there in enumerate(folders):
                EvaluationTable(self.folder).adopt(self.folder / there, name, trial)
            return {"folders": folders, "results": results}

        identity = {**needs, **job, "recipe": self.recipe.identity()}
        found = self._steps.do(
            name, f"sweeping {len(settings)} settings", identity, self.recipe.scale.train_workers, work
        )
        return [Trial(*one) for one in zip(settings, found["results"], found["folders"], strict=True)]

    def keep(
        self,
        name: str,
        weights: Weights,
        run: RunFolder | None = None,
        change: Callable[[dict[str, Tensor]], Mapping[str, Tensor]] = dict,
        needs: Mapping[str, Any] = _NOTHING,
    ) -> Weights:
        """Write down what a change makes of weights, of another run such as the one that a trial's sweep belongs to.

        Args:
            run: where they lie, if not in this one.
            change: a pure function of the tensors by their names.
            needs: what else decides the change, as plain JSON.
        """

        def work(folder: str) -> dict[str, Any]:
            tensors, about = (run or self.folder).read_tensors(weights.file)
            self.folder.write_tensors(f"{folder}/weights.safetensors", change(tensors), about)
            return {"file": f"{folder}/weights.safetensors", "version": weights.version, "history": weights.history}

        arguments = {"file": weights.file, "version": weights.version, **needs}
        return Weights(**self._steps.do(name, f"taking the weights {weights.version}", arguments, 0, work))

    def fit(
        self,
        name: str,
        architecture: Architecture,
        settings: FitSettings,
        start: Weights | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> Fitted:
        """Train one network alone on all training images; its accuracy is that on the test images, read only here.

        With `notes`, columns of the method's own, it is a row of the evaluation table, of a step that ends in `TESTED`.
        """
        space = self.space.only(architecture)
        weights = self.train(name, space, stand_alone(settings, self.data), settings, start, {"train": "all-training"})
        asked = self._question(space, weights, "test", recalibrate=False)

        def work(folder: str) -> dict[str, Any]:
            (tested,) = self._ask(f"{name}{TESTED}", asked, space, [architecture])
            if notes is not None:
                about = {**self._about(), "weights": weights.version, "seed": self.recipe.seed, **notes}
                EvaluationTable(self.folder).write(f"{name}{TESTED}", 0, 0, [tested], about)
            return {"top1": tested.top1, "top5": tested.top5, "loss": tested.loss, "latency_ms": None, **tested.costs}

        arguments = {**self._identity_of(asked), "architectures": [str(architecture)]}
        figures = self._steps.do(f"{name}{TESTED}", "measuring it on the test images", arguments, 1, work)
        measured = {key: figures[key] for key in ("top1", "top5", "loss", "macs", "params", "latency_ms")}
        return Fitted(architecture=str(architecture), **measured, weights=weights.file)

    def _ask(
        self, step: str, asked: Question, space: SearchSpace, architectures: Sequence[Architecture]
    ) -> list[Evaluation]:
        self._make_room(self.recipe.scale.evaluators, cpus=0)
        from raynas.evaluation.actors import Pool, evaluators

        with evaluators(self.folder.uri, step, self._attempt, asked, self.recipe.scale) as actors:
            return Pool(actors, self.costs_within(space), self.budget).measure(architectures)

    def _make_room(self, processes: int, cpus: float) -> None:
        """Wait until the cluster can hold so many processes, and see that they can all write into the run folder."""
        ray_session.await_room(self._cluster(), self.recipe.scale, processes, cpus, self.say)
        ray_session.refuse_unshared(self._cluster(), self.folder)

    def outcome(self, step: str, space: SearchSpace, cost: str, weights: Weights) -> Outcome:
        """What the run comes to, its front taken from one step."""
        return Outcome(
            run=self.folder.uri,
            method=self.recipe.method["name"],
            space=space.specification(),
            table=EvaluationTable(self.folder).read(),
            final=step,
            cost=cost,
            weights=weights.file,
        )

    def seed_of(self, step: str, trial: int = 0) -> int:
        """The seed of a step's trial: it follows from the recipe's seed and the step's name."""
        return int(np.random.SeedSequence([self.recipe.seed, zlib.crc32(step.encode()), trial]).generate_state(1)[0])

    @contextmanager
    def _advisers(self, step: str, space: SearchSpace, objective: Objective) -> Iterator[list[str]]:
        """The names of supernet actors that a training asks, if its objective chooses architectures."""
        if not objective.chooses:
            yield []
            return
        from raynas.evaluation.actors import evaluators

        asked = self._question(space, None, "validation", recalibrate=True)
        with evaluators(self.folder.uri, step, self._attempt, asked, self.recipe.scale) as names:
            yield names

    def _question(
        self,
        space: SearchSpace,
        weights: Weights | None,
        part: Part,
        recalibrate: bool,
        mixture: Tensor | None = None,
    ) -> Question:
        from raynas.evaluation.evaluator import Question

        arguments = {
            "run": self.folder.uri,
            "space": space.specification(),
            "data": self.data.model_dump(mode="json"),
            "settings": self.recipe.evaluation.json_value(),
            "part": part,
            "recalibrate": recalibrate,
            "mixture": None if mixture is None else mixture.tolist(),
        }
        answers = "raynas.evaluation.evaluator:SupernetAnswers"
        return Question(answers=answers, arguments=arguments, weights=weights.file if weights else None)

    def _generation(self, report: dict[str, Any]) -> None:
        detail = f"generations, {report['evaluations']} architectures, best {report['best']:.2f} %"
        self._reporter.update(report["generations"], report["of"], detail)

    def _about(self) -> dict[str, Any]:
        """The columns that all rows of the run share."""
        reproducible = self.recipe.scale.gpus == 0 or self.recipe.scale.deterministic
        return {"study": self.recipe.identity(), "reproducible": reproducible}

    def _identity_of(self, question: Question) -> dict[str, Any]:
        """What decides the answers, wherever the run folder and the images lie."""
        asked = {key: value for key, value in question.arguments.items() if key not in ("run", "data")}
        return {**question.json_value(), "arguments": asked, "data": self._data_identity()}

    def _data_identity(self) -> dict[str, str]:
        return {"fingerprint": self.data.fingerprint, "selection": self.data.selection, "split": self.data.split}
