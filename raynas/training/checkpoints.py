"""Checkpoints of a training step: weights, optimizers and learner in one verified safetensors file each.

The newest readable one counts; one that is damaged is passed over for the one before it. Two are kept, and the newest
of the end of an epoch, which is where a training that diverged goes back to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from raynas.interfaces.objective import Learner
from raynas.storage.run_folder import DamagedFile, RunFolder
from raynas.storage.weights import SUPERNET_PREFIX, tensors_under

_FOLDER = "checkpoints"
_KEPT = 2
_FORMAT = 1
_LEARNER = "learner/"
_AVERAGE = "average/"


def name(epoch: int, step: int, attempt: int) -> str:
    """The file of the state before step `step` of epoch `epoch`, as written by one attempt."""
    return f"epoch-{epoch:05d}-step-{step:07d}-attempt-{attempt:03d}.safetensors"


def path(file: str) -> str:
    """Where a checkpoint lies in the step's folder."""
    return f"{_FOLDER}/{file}"


def save(
    folder: RunFolder,
    file: str,
    supernet: nn.Module,
    optimizers: Mapping[str, torch.optim.Optimizer],
    learner: Learner,
    about: Mapping[str, Any],
    average: nn.Module | None = None,
) -> None:
    """Write a checkpoint, then remove those that it and the one before it replace.

    Args:
        average: the moving average of the supernet's weights, where there is one.
    """
    tensors = {f"{SUPERNET_PREFIX}{key}": value for key, value in supernet.state_dict().items()}
    tensors |= {f"{_LEARNER}{key}": value for key, value in learner.state_dict().items()}
    if average is not None:
        tensors |= {f"{_AVERAGE}{key}": value for key, value in average.state_dict().items()}
    names: dict[Tensor, str] = {parameter: key for key, parameter in _parameters(supernet, learner).items()}
    for group, optimizer in optimizers.items():
        for parameter, state in optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{group}/{names[parameter]}/{key}"] = value
    folder.write_tensors(path(file), tensors, {"format": _FORMAT, **about})
    files = folder.names(_FOLDER)
    for old in {*files[:-_KEPT]} - {*_ends_of_epochs(files)[-1:]}:
        folder.delete(path(old))


def newest(folder: RunFolder) -> tuple[str | None, list[str]]:
    """The file of the newest checkpoint that can be read, if there is one, and the newer ones that cannot."""
    damaged: list[str] = []
    for file in reversed(folder.names(_FOLDER)):
        if _is_readable(folder, file):
            return file, damaged
        damaged.append(file)
    return None, damaged


def _is_readable(folder: RunFolder, file: str) -> bool:
    """Whether a checkpoint is whole and laid out as this version of raynas lays it out."""
    try:
        _, about = folder.read_tensors(path(file))
    except DamagedFile:
        return False
    return about.get("format") == _FORMAT


def return_to_end_of_epoch(folder: RunFolder) -> None:
    """Remove the checkpoints that are newer than the newest of the end of an epoch."""
    files = folder.names(_FOLDER)
    last = _ends_of_epochs(files)[-1:]
    for file in files[files.index(last[0]) + 1 :] if last else files:
        folder.delete(path(file))


def _ends_of_epochs(files: list[str]) -> list[str]:
    return [file for file in files if written_at(file)[1] == 0]


def restore(
    folder: RunFolder,
    file: str,
    supernet: nn.Module,
    optimizers: Mapping[str, torch.optim.Optimizer],
    learner: Learner,
    average: nn.Module | None = None,
) -> dict[str, Any]:
    """Load a checkpoint in place and return its `about`."""
    tensors, about = folder.read_tensors(path(file))
    supernet.load_state_dict(tensors_under(SUPERNET_PREFIX, tensors))
    learner.load_state_dict(tensors_under(_LEARNER, tensors))
    if average is not None:
        average.load_state_dict(tensors_under(_AVERAGE, tensors))
    parameters = _parameters(supernet, learner)
    for group, optimizer in optimizers.items():
        optimizer.state.clear()
        for key, value in tensors_under(f"optimizer/{group}/", tensors).items():
            parameter, _, entry = key.rpartition("/")
            owner = parameters[parameter]
            optimizer.state[owner][entry] = _as(owner, value)
    return about


def written_at(file: str) -> tuple[int, int, int]:
    """The epoch and the step that a checkpoint's training goes on with, and the attempt that wrote it."""
    epoch, step, attempt = re.findall(r"\d+", file)
    return int(epoch), int(step), int(attempt)


def _parameters(supernet: nn.Module, learner: Learner) -> dict[str, nn.Parameter]:
    """All parameters by a name that tells the supernet's from the learner's."""
    own = {f"{_LEARNER}{key}": parameter for key, parameter in learner.named_parameters()}
    return {**dict(supernet.named_parameters()), **own}


def _as(owner: Tensor, value: Tensor) -> Tensor:
    """An entry of the parameter's shape lies where and as the parameter does; a count of steps stays as it was."""
    return torch.empty_like(owner, dtype=value.dtype).copy_(value) if value.shape == owner.shape else value
