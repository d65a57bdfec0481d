"""The masks of an HM-NAS run, learnt again in this process on the true and on shuffled labels: table 3's control.

If masks remove as many weights where the labels say nothing, the share of removed weights is no finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.common.plain_training import measure_test_top1, shuffle_labels
from raynas.data import Images, open_images, prepare, training_batch
from raynas.interfaces.objective import WEIGHTS, MicroBatch, TrainingStep
from raynas.recipe.recipe import Recipe, read_run_recipe
from raynas.results.outcome import load
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from raynas.storage.weights import Weights, supernet_weights
from raynas.study.method import method_of_recipe
from raynas.training.epoch_schedule import epoch_batches
from raynas.training.update import apply_update
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from tuners.darts.weighted_mixture import MixtureLearner
from tuners.hm_nas.found_network import count_kept, derive_searched_weights
from tuners.hm_nas.mask_schedule import MaskSchedule
from tuners.hm_nas.masks import MaskingLearner, derive_genotype
from tuners.hm_nas.method import HmNas, supernet_genotype


@dataclass(frozen=True)
class TrainedSupernet:
    """The supernet of a finished run, with the run's settings.

    Attributes:
        weights: the weights of the supernet, by name.
        mixture: the learner that holds alpha and beta.
    """

    recipe: Recipe
    method: HmNas
    space: CellSpace
    weights: Mapping[str, Tensor]
    mixture: MixtureLearner

    @classmethod
    def read(cls, run: Path) -> TrainedSupernet:
        """Read the supernet of a run folder."""
        folder = RunFolder(run)
        recipe, space = Recipe.read(read_run_recipe(folder)), load(run).whole_space
        method = method_of_recipe(recipe)
        assert isinstance(space, CellSpace)
        assert isinstance(method, HmNas)
        step = next(record for record in records(folder) if record["name"] == "supernet")
        file = Weights(step["result"]["file"], "supernet", [])
        tensors, learner = folder.read_tensors(file.file)[0], folder.read_tensors(file.learner_file)[0]
        mixture = method.objective(recipe.training.epochs).restore_learner(space, space.costs(), learner)
        return cls(recipe, method, space, supernet_weights(tensors), mixture)


def relearn_masks(run: Path, shuffled: bool = False, threshold: float | None = None) -> dict[str, Any]:
    """Learn the masks of a run's supernet.

    Args:
        shuffled: whether the training images have shuffled labels; the test images keep theirs.
        threshold: in place of the run's threshold.

    Returns:
        `fewer`, the removed weights in per cent; `top1` of the masked network on the test images in per cent;
        `operations` and `edges` that are left. Masks that leave nothing remove 100 %, and the accuracy is a guess's.
    """
    trained = TrainedSupernet.read(run)
    images = open_images(prepare(trained.recipe.data, trained.space.resolution, trained.recipe.seed))
    learnt_on = shuffle_labels(images, trained.recipe.seed) if shuffled else images
    schedule = MaskSchedule.of(images.prepared, trained.recipe.training, trained.method.mask_epochs)
    objective = trained.method.masking(supernet_genotype(trained.space, trained.mixture), schedule)
    if threshold is not None:
        objective = objective.model_copy(update={"threshold": threshold})
    learner = objective.begin(trained.space, trained.space.costs(), trained.recipe.seed)
    weights = _train(trained, learner, learnt_on, schedule)
    try:
        genotype = derive_genotype(trained.space, learner)
    except UserError:  # the masks have left nothing
        classes = len(images.prepared.classes)
        return {"operations": 0, "edges": 0, "kept_params": 0, "fewer": 100.0, "top1": 100 / classes}
    masked = derive_searched_weights(genotype, learner, None, weights)
    network = genotype.network()
    network.load_state_dict(masked)
    kept = count_kept(trained.space.costs(), genotype, masked)
    whole = sum(parameter.numel() for parameter in trained.space.supernet().parameters())
    return {**kept, "fewer": 100 * (1 - kept["kept_params"] / whole), "top1": measure_test_top1(network, images)}


def _train(
    trained: TrainedSupernet, learner: MaskingLearner, images: Images, schedule: MaskSchedule
) -> dict[str, Tensor]:
    """Move the masks for all epochs. Returns the supernet's weights; only statistics of batch norm have changed."""
    supernet, seed = trained.space.supernet(), trained.recipe.seed
    supernet.load_state_dict(dict(trained.weights))
    supernet.to(memory_format=torch.channels_last).train()
    sgd = torch.optim.SGD(supernet.parameters(), lr=0.0)
    optimizers = {WEIGHTS: sgd, **learner.groups()}
    for epoch in range(schedule.epochs):
        ((update,),) = learner.passes(epoch)
        batches = epoch_batches(images.rows("all-training"), trained.recipe.training.batch_size, [seed, epoch])
        for number, rows in enumerate(batches[: schedule.steps]):
            inputs, labels = training_batch(images, rows, seed, epoch, number)
            generator = np.random.default_rng([seed, epoch, number])
            step = TrainingStep(
                trained.space, supernet, [MicroBatch(inputs, labels, 1.0)], generator, functional.cross_entropy
            )
            apply_update(update, optimizers, 0.0, step)
    return dict(supernet.state_dict())
