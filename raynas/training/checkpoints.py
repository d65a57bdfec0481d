"""Checkpoints of a training: weights, optimizers and learner in one verified safetensors file each.

The newest readable checkpoint counts: damaged checkpoints are skipped. The two newest are kept, and the newest of the
end of an epoch, to which a diverged training returns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from raynas.interfaces.objective import Learner
from raynas.storage.run_folder import DamagedFile, RunFolder
from raynas.storage.weights import AVERAGE_PREFIX, SUPERNET_PREFIX, tensors_under

_FOLDER = "checkpoints"
_KEPT = 2
_FORMAT = 1
_LEARNER = "learner/"


def name(epoch: int, step: int, attempt: int) -> str:
    """Return the file of the state before training step `step` of epoch `epoch`, written by one attempt."""
    return f"epoch-{epoch:05d}-step-{step:07d}-attempt-{attempt:03d}.safetensors"


def path(file: str) -> str:
    """Return the place of a checkpoint in the step's folder."""
    return f"{_FOLDER}/{file}"


def save(
    folder: RunFolder,
    file: str,
    supernet: nn.Module,
    optimizers: Mapping[str, torch.optim.Optimizer],
    learner: Learner,
    state: Mapping[str, Any],
    average: nn.Module | None = None,
) -> None:
    """Write a checkpoint, then delete the checkpoints that are no longer needed.

    Args:
        state: plain JSON, for the file's header.
        average: the moving average of the supernet's weights, if there is one.
    """
    tensors = {f"{SUPERNET_PREFIX}{key}": value for key, value in supernet.state_dict().items()}
    tensors |= {f"{_LEARNER}{key}": value for key, value in learner.state_dict().items()}
    if average is not None:
        tensors |= {f"{AVERAGE_PREFIX}{key}": value for key, value in average.state_dict().items()}
    names: dict[Tensor, str] = {parameter: key for key, parameter in _parameters(supernet, learner).items()}
    for group, optimizer in optimizers.items():
        for parameter, entries in optimizer.state.items():
            for key, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{group}/{names[parameter]}/{key}"] = value
    folder.write_tensors(path(file), tensors, {"format": _FORMAT, **state})
    files = folder.names(_FOLDER)
    for old in {*files[:-_KEPT]} - {*_ends_of_epochs(files)[-1:]}:
        folder.delete(path(old))


def newest(folder: RunFolder) -> tuple[str | None, list[str]]:
    """Return the newest checkpoint that can be read, or None; and the newer checkpoints that cannot."""
    unreadable: list[str] = []
    for file in reversed(folder.names(_FOLDER)):
        if _is_readable(folder, file):
            return file, unreadable
        unreadable.append(file)
    return None, unreadable


def _is_readable(folder: RunFolder, file: str) -> bool:
    """Return whether a checkpoint is whole and has the format of this version of raynas."""
    try:
        _, header = folder.read_tensors(path(file))
    except DamagedFile:
        return False
    return header.get("format") == _FORMAT


def return_to_end_of_epoch(folder: RunFolder) -> None:
    """Delete the checkpoints that are newer than the last end of an epoch."""
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
    """Load a checkpoint in place. Returns its state."""
    tensors, state = folder.read_tensors(path(file))
    supernet.load_state_dict(tensors_under(SUPERNET_PREFIX, tensors))
    learner.load_state_dict(tensors_under(_LEARNER, tensors))
    if average is not None:
        average.load_state_dict(tensors_under(AVERAGE_PREFIX, tensors))
    parameters = _parameters(supernet, learner)
    for group, optimizer in optimizers.items():
        optimizer.state.clear()
        for key, value in tensors_under(f"optimizer/{group}/", tensors).items():
            parameter, _, entry = key.rpartition("/")
            owner = parameters[parameter]
            optimizer.state[owner][entry] = _on_device_of(owner, value)
    return state


def written_at(file: str) -> tuple[int, int, int]:
    """Return the epoch and training step that follow a checkpoint, and the attempt that wrote it."""
    epoch, step, attempt = re.findall(r"\d+", file)
    return int(epoch), int(step), int(attempt)


def _parameters(supernet: nn.Module, learner: Learner) -> dict[str, nn.Parameter]:
    """Return all parameters by name. The names of the learner's parameters have a prefix."""
    own = {f"{_LEARNER}{key}": parameter for key, parameter in learner.named_parameters()}
    return {**dict(supernet.named_parameters()), **own}


def _on_device_of(owner: Tensor, value: Tensor) -> Tensor:
    """Copy an entry of the parameter's shape to its device and memory format. A count of steps stays as it is."""
    return torch.empty_like(owner, dtype=value.dtype).copy_(value) if value.shape == owner.shape else value
