"""Evaluators measure each architecture once, with the same figures for any number of evaluators and after a restart."""

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
def start_pool(folder: Path, step: str, actors: int) -> Iterator[tuple[EvaluatorPool, list[Any]]]:
    """Start evaluators with the weights of one supernet. Yields their pool and the actors."""
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
    with start_evaluators(str(folder), step, 1, scale) as names:
        handles = [ray.get_actor(name, NAMESPACE) for name in names]
        yield EvaluatorPool(request.to(names, step), SPACE.costs(), Budget({})), handles


def test_each_architecture_is_measured_once_and_again_after_a_restart(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    architectures = [SPACE.sample(generator) for _ in range(6)]
    with start_pool(tmp_path, "two", 2) as (two, actors):
        evaluations = two.evaluate([*architectures, *architectures])
        assert evaluations[:6] == evaluations[6:], "even the seconds are equal"
        counts = ray.get([actor.measured.remote() for actor in actors])
        assert sum(counts) == len(set(architectures))
        assert all(counts), "both evaluators have measured"
        ray.kill(actors[0], no_restart=False)
        again = two.evaluate(architectures)
    with start_pool(tmp_path, "one", 1) as (pool, _):
        alone = pool.evaluate(architectures)
    expected = Evaluator(SPACE, open_images(prepare(DATA, 16, 0)), SETTINGS, torch.device("cpu"))
    torch.manual_seed(0)
    supernet = SPACE.supernet()
    costs = SPACE.costs().cost(architectures)
    for position, architecture in enumerate(architectures):
        figures = [(each[position].top1, each[position].loss) for each in (evaluations, again, alone)]
        assert figures[0] == figures[1] == figures[2]
        assert figures[0][1] == pytest.approx(expected.one_shot(supernet, [architecture])[0]["loss"], rel=1e-3)
        assert evaluations[position].architecture == architecture
        assert evaluations[position].costs == {key: values[position].item() for key, values in costs.items()}
