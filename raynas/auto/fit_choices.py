"""The choices of `raynas fit ARCHITECTURE --data IMAGES`: the published training, scaled to the number of images.

The images decide the resolution and the number of classes. Values that the user sets stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from raynas.auto.choices import (
    ImageFolderSummary,
    choose_batch_size,
    choose_data_parts,
    choose_resolution,
    inspect_machine,
    inspect_source,
)
from raynas.networks.fit import fit_recipe
from raynas.recipe.recipe import Recipe
from raynas.recipe.settings import FitSettings
from raynas.study.automatic_scale import IMAGES_PER_WORKER
from search_spaces.errors import format_count
from search_spaces.loading import load

if TYPE_CHECKING:
    from search_spaces import SearchSpace

PUBLISHED_TRAININGS = {
    "fbnet": "hour-nas-fbnet-b",
    "fbnet-enlarged": "hour-nas-enlarged",
    "mnasnet": "hour-nas-mnasnet",
    "mnasnet-a1": "hour-nas-mnasnet",
    "mobilenetv2": "hour-nas-fbnet-b",
    "efficientnet": "hour-nas-efficientnet",
    "efficientnet-max": "hour-nas-efficientnet",
}
"""The recipe whose `fit` trains the networks of a space."""
_LEAST_SIDE = 4
"""The least height and width of the last feature map, in pixels."""


@dataclass(frozen=True)
class _Choices:
    """Values for the keys of a recipe that the user leaves open."""

    space: dict[str, Any]
    data: dict[str, Any]
    fit: dict[str, Any]
    note: str


def choose_fit_recipe(text: str, data: Mapping[str, Any], changes: Sequence[str]) -> Recipe:
    """Return the recipe that trains an architecture on images.

    Args:
        data: `name` and `path` of the images.
        changes: `KEY=VALUE` each, as for `fit_architecture`. They come before every choice.

    Raises:
        UserError: if the images or a change is not valid.
    """
    own = fit_recipe(text, None, changes, data)
    images = inspect_source(own.data, own.seed)
    space = load(**own.space)
    choices = _choose(own, space, images)
    content = own.model_dump(mode="json", exclude_unset=True)
    for group in ("space", "data", "fit"):
        content[group] = {**getattr(choices, group), **content.get(group, {})}
    if "scale" not in content and (gpus := inspect_machine().gpus):
        content["scale"] = choose_gpu_scale(gpus, content["fit"].get("batch_size", 1))
    return Recipe.read({**content, "notes": [*own.notes, choices.note]})


def _choose(own: Recipe, space: SearchSpace, images: ImageFolderSummary) -> _Choices:
    largest = choose_resolution(images.side, images.classes, limits={})
    resolution = own.space.get("resolution") or min(largest, space.resolution)
    chosen: dict[str, Any] = {"resolution": resolution}
    if not {"stem_stride", "stage_strides"} & own.space.keys():
        chosen |= choose_strides(space, resolution)
    fit, training = {}, "the recipe's `fit`"
    if space.name in PUBLISHED_TRAININGS:
        recipe = PUBLISHED_TRAININGS[space.name]
        fit, training = scale_training(Recipe.read(recipe).fit, own.fit, images.train), f"`fit` of {recipe}"
    final = {**fit, **own.fit.model_dump(exclude_unset=True)}
    shown = ", ".join(
        f"{key} {final[key]:.4g}" for key in ("epochs", "batch_size", "learning_rate") if final.get(key) is not None
    )
    note = (
        f"{resolution} pixels, {format_count(images.classes, 'class')}; {training}, for "
        f"{format_count(images.train, 'image')}: {shown}"
    )
    return _Choices(chosen, choose_data_parts(images, resolution), fit, note)


def choose_gpu_scale(gpus: int, batch: int) -> dict[str, dict[str, int]]:
    """Return a worker on each GPU, as far as each worker has enough images of a batch for its batch norm."""
    workers = max(1, min(gpus, batch // IMAGES_PER_WORKER))
    return {"train": {"workers": workers, "gpus": 1}, "evaluate": {"actors": workers, "gpus": 1}}


def choose_strides(space: SearchSpace, resolution: int) -> dict[str, Any]:
    """Return the strides with which the last feature map has at least four pixels a side; none if the published do.

    From the stem on, strides become 1: HourNAS's network for CIFAR-10 has them so.
    """
    if not {"stem_stride", "stage_strides"} <= space.settings.keys():
        return {}
    published = [space.settings["stem_stride"], *space.settings["stage_strides"]]
    strides = list(published)
    for index in range(len(strides)):
        if resolution >= _LEAST_SIDE * prod(strides):
            break
        strides[index] = 1
    return {} if strides == published else {"stem_stride": strides[0], "stage_strides": strides[1:]}


def scale_training(published: FitSettings, own: FitSettings, images: int) -> dict[str, Any]:
    """Return a published training for fewer images, or for the epochs and the batch size that the user sets.

    The learning rate is proportional to the batch size (Goyal et al., 2017). Over other epochs, the schedule has the
    same shape. A small batch needs no micro-batches.

    Args:
        own: the settings of the user; only those that are set count.
        images: the number of training images.
    """
    settings = published.model_dump(mode="json", exclude_unset=True)
    chosen = min(published.batch_size, choose_batch_size(images, 1), images)
    batch = own.batch_size if "batch_size" in own.model_fields_set else chosen
    epochs = own.epochs if "epochs" in own.model_fields_set else published.epochs
    share = epochs / published.epochs
    settings |= {
        "batch_size": batch,
        "learning_rate": published.learning_rate * batch / published.batch_size,
        "epochs": epochs,
        "warmup_epochs": published.warmup_epochs * share,
        "accumulate": max(1, published.accumulate * batch // published.batch_size),
    }
    if published.milestones:
        settings["milestones"] = [milestone * share for milestone in published.milestones]
    if published.rate_decay is not None:
        settings["rate_decay"] = published.rate_decay ** (1 / share)
    if "schedule" in own.model_fields_set and own.schedule != published.schedule:
        for key in ("milestones", "rate_decay"):
            settings.pop(key, None)
    return settings
