"""Distillation: a torchvision network whose answers another learns beside the labels (Hinton et al., 2015)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.errors import UserError, nearest

if TYPE_CHECKING:
    from raynas.recipe.settings import TeacherSettings

Loss = Callable[[Tensor, Tensor], Tensor]


class Teacher:
    """A network that is only asked: its weights stand still, and no checkpoint holds them."""

    def __init__(
        self, settings: TeacherSettings, num_classes: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        """`mean` and `std` are those that the student's images were normalised with.

        Raises:
            UserError: if there is no such model, or its weights cannot be read or have other shapes.
        """
        self._settings = settings
        self._network = (
            _loaded(settings, num_classes).eval().requires_grad_(False).to(memory_format=torch.channels_last)
        )
        ours, theirs = (torch.tensor([mean, std]), torch.tensor([settings.mean, settings.std]))
        self._factor = (ours[1] / theirs[1])[:, None, None]
        self._shift = ((ours[0] - theirs[0]) / theirs[1])[:, None, None]

    @staticmethod
    def refuse_unfit(settings: TeacherSettings, num_classes: int) -> None:
        """Raises UserError where the teacher cannot be had, before anything is trained; nothing is downloaded."""
        if settings.weights != "DEFAULT":
            _loaded(settings, num_classes)
            return
        from torchvision import models

        _check_model_name(settings.model)
        known = len(models.get_model_weights(settings.model).DEFAULT.meta["categories"])
        if known != num_classes:
            raise UserError(
                f"torchvision's weights of {settings.model} know {known} classes, and the data has {num_classes}: give "
                "fit.teacher.weights a file of your own, or leave fit.teacher out."
            )

    def loss(self, images: Tensor, labelled: Loss) -> Loss:
        """The loss of a student on these images: the teacher's share of its answers, and the rest of the labels.

        The cross-entropy between the answers at a temperature is multiplied by its square, so that its gradients weigh
        the same at any temperature.
        """
        share, temperature = self._settings.share, self._settings.temperature
        self._network.to(images.device)
        factor, shift = self._factor.to(images.device), self._shift.to(images.device)
        with torch.no_grad():
            answers = F.softmax(self._network(images * factor + shift) / temperature, dim=1)

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            taught = F.cross_entropy(logits / temperature, answers) * temperature**2
            return (1 - share) * labelled(logits, labels) + share * taught

        return loss


def _check_model_name(model: str) -> None:
    from torchvision import models

    known = models.list_models(module=models)
    if model not in known:
        raise UserError(f"torchvision has no classification model {model!r}; {nearest(model, known)}")


def _loaded(settings: TeacherSettings, num_classes: int) -> nn.Module:
    from torchvision import models

    _check_model_name(settings.model)
    if settings.weights == "DEFAULT":
        pretrained: nn.Module = models.get_model(settings.model, weights="DEFAULT")
        return pretrained
    network: nn.Module = models.get_model(settings.model, num_classes=num_classes)
    try:
        network.load_state_dict(_state(Path(settings.weights).expanduser()))
    except (RuntimeError, TypeError, AttributeError) as error:  # the latter where it is no mapping of names
        raise UserError(
            f"fit.teacher.weights = {settings.weights} are not those of a {settings.model} of {num_classes} classes."
        ) from error
    return network


def _state(file: Path) -> dict[str, Tensor]:
    """The tensors in a file; whatever else it would execute is not."""
    from safetensors.torch import load_file

    if not file.is_file():
        raise UserError(f"fit.teacher.weights = {file} cannot be read: there is no such file.")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        with warnings.catch_warnings(action="ignore"):
            state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load has no error of its own for what is no checkpoint
        raise UserError(
            f"fit.teacher.weights = {file} cannot be read: it has to be a .safetensors or .pth file of tensors alone."
        ) from error
    return state
