"""Distillation: a torchvision network whose answers another network learns beside the labels (Hinton et al., 2015)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.errors import UserError, format_count, nearest

if TYPE_CHECKING:
    from raynas.recipe.settings import TeacherSettings

Loss = Callable[[Tensor, Tensor], Tensor]


def check_teacher(settings: TeacherSettings, num_classes: int) -> None:
    """Check a teacher before anything is trained. Nothing is downloaded.

    Raises:
        UserError: if there is no such model, its weights cannot be read, or it has other classes than the data.
    """
    if settings.weights != "DEFAULT":
        _load(settings, num_classes)
        return
    from torchvision import models

    _check_model_name(settings.model)
    classes = len(models.get_model_weights(settings.model).DEFAULT.meta["categories"])
    if classes != num_classes:
        raise UserError(
            f"torchvision's weights of {settings.model} have {format_count(classes, 'class')}, but the data has "
            f"{num_classes}: train on its classes (data.classes), give fit.teacher.weights a file of "
            "your own, or leave fit.teacher "
            "out."
        )


class Teacher:
    """A network that only answers: its weights do not change, and no checkpoint holds them."""

    def __init__(
        self, settings: TeacherSettings, num_classes: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        """Load the teacher. `mean` and `std` are the normalisation of the student's images.

        Raises:
            UserError: if there is no such model, or its weights cannot be read or have other shapes.
        """
        self._settings = settings
        network = _load(settings, num_classes).eval().requires_grad_(False)
        self._network = network.to(memory_format=torch.channels_last)
        ours, theirs = (torch.tensor([mean, std]), torch.tensor([settings.mean, settings.std]))
        self._factor = (ours[1] / theirs[1])[:, None, None]
        self._shift = ((ours[0] - theirs[0]) / theirs[1])[:, None, None]

    def loss(self, images: Tensor, label_loss: Loss) -> Loss:
        """Return the loss of a student on these images: the share of the teacher's answers, and the rest of the labels.

        The cross-entropy between the answers at a temperature is multiplied by the square of the temperature, so its
        gradients weigh the same at every temperature.
        """
        share, temperature = self._settings.share, self._settings.temperature
        self._network.to(images.device)
        factor, shift = self._factor.to(images.device), self._shift.to(images.device)
        with torch.no_grad():
            answers = functional.softmax(self._network(images * factor + shift) / temperature, dim=1)

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            distillation = functional.cross_entropy(logits / temperature, answers) * temperature**2
            return (1 - share) * label_loss(logits, labels) + share * distillation

        return loss


def _check_model_name(model: str) -> None:
    from torchvision import models

    known = models.list_models(module=models)
    if model not in known:
        raise UserError(f"torchvision has no classification model {model!r}; {nearest(model, known)}")


def _load(settings: TeacherSettings, num_classes: int) -> nn.Module:
    from torchvision import models

    _check_model_name(settings.model)
    if settings.weights == "DEFAULT":
        pretrained: nn.Module = models.get_model(settings.model, weights="DEFAULT")
        return pretrained
    network: nn.Module = models.get_model(settings.model, num_classes=num_classes)
    try:
        network.load_state_dict(_read_state(Path(settings.weights).expanduser()))
    except (RuntimeError, TypeError, AttributeError) as error:  # AttributeError: the file holds no mapping
        raise UserError(
            f"fit.teacher.weights = {settings.weights} are not the weights of a {settings.model} with "
            f"{format_count(num_classes, 'class')}: give the file of that network."
        ) from error
    return network


def _read_state(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a file. Nothing in the file is executed."""
    from safetensors.torch import load_file

    if not file.is_file():
        raise UserError(f"fit.teacher.weights = {file} cannot be read: there is no such file.")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        with warnings.catch_warnings(action="ignore"):
            state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load has no error class of its own for a file that is no checkpoint
        raise UserError(
            f"fit.teacher.weights = {file} cannot be read: it must be a .safetensors or .pth file of tensors alone."
        ) from error
    return state
