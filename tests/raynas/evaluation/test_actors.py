"""Supernet actors: each question is answered once, the same by however many, and the same after a death."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch

from raynas.data import DataSettings, open_images, prepare
from raynas.evaluation.actors import EvaluatorPool, start_evaluators
from raynas.evaluation.evaluator import Evaluator
from raynas.evaluation.one_shot import SupernetOracle
from raynas.evaluation.request import EvaluationRequest
from raynas.recipe.settings import EvaluateScale, EvaluationSettings, ScaleSettings
from raynas.runtime.process import NAMESPACE
from raynas.storage.run_folder import RunFolder
from search_spaces import Budget, load

SPACE = load("nas-bench-macro", width=0.125, resolution=16, num_classes=3)
SETTINGS = EvaluationSettings(recalibration_images=64, recalibration_batch_size=32)
DATA = DataSettings(classes=3)

pytestmark = pytest.mark.usefixtures("cluster")


@contextmanager
def pool(folder: Path, step: str, actors: int) -> Iterator[tuple[EvaluatorPool, list[Any]]]:
    """A pool of actors that hold one supernet's weights, and the actors."""
    torch.manual_seed(0)
    RunFolder(folder).write_tensors("w.safetensors", SPACE.supernet().state_dict(), {})
    oracle = SupernetOracle(
        run=str(folder),
        space=SPACE.specification(),
        data=prepare(DATA, 16, 0),
        evaluation=SETTINGS,
        part="validation",
        recalibrate=True,
    )
    request, scale = EvaluationRequest(oracle, "w.safetensors"), ScaleSettings(evaluate=EvaluateScale(actors=actors))
    with start_evaluators(str(folder), step, 1, request, scale) as names:
        yield EvaluatorPool(names, SPACE.costs(), Budget({})), [ray.get_actor(name, NAMESPACE) for name in names]


def test_each_question_is_answered_once_and_again_after_a_death(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    asked = [SPACE.sample(generator) for _ in range(6)]
    with pool(tmp_path, "two", 2) as (two, actors):
        answers = two.evaluate([*asked, *asked])
        assert answers[:6] == answers[6:], "down to the seconds"
        counts = ray.get([actor.measured.remote() for actor in actors])
        assert sum(counts) == len(set(asked))
        assert all(counts), "both have answered"
        ray.kill(actors[0], no_restart=False)
        again = two.evaluate(asked)
    with pool(tmp_path, "one", 1) as (one, _):
        alone = one.evaluate(asked)
    expected = Evaluator(SPACE, open_images(prepare(DATA, 16, 0)), SETTINGS, torch.device("cpu"))
    torch.manual_seed(0)
    supernet = SPACE.supernet()
    costs = SPACE.costs().cost(asked)
    for position, architecture in enumerate(asked):
        figures = [(each[position].top1, each[position].loss) for each in (answers, again, alone)]
        assert figures[0] == figures[1] == figures[2]
        assert figures[0][1] == pytest.approx(expected.one_shot(supernet, [architecture])[0]["loss"], rel=1e-3)
        assert answers[position].architecture == architecture
        assert answers[position].costs == {key: values[position].item() for key, values in costs.items()}
