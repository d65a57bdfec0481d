"""A checkpoint restores a training bit for bit. Instead of a damaged checkpoint, the checkpoint before it counts."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from raynas.interfaces.objective import UniformPath
from raynas.storage.run_folder import RunFolder, WriteFailed
from raynas.training import checkpoints
from search_spaces import load
from search_spaces.supernet import Supernet
from tests.support.damage import empty, flip_bit, truncate, write_as_other_version
from tests.support.full_disk import full_disk

SPACE = load("nas-bench-macro", width=0.125, resolution=16, num_classes=3)
LEARNER = UniformPath().begin(SPACE, SPACE.costs(), 0)
Optimizer = type[torch.optim.SGD] | type[torch.optim.RMSprop]


class Training:
    """The supernet and the optimizer of a worker."""

    def __init__(self, kind: Optimizer, seed: int) -> None:
        torch.manual_seed(seed)
        self.supernet: Supernet = SPACE.supernet()
        self.supernet.to(memory_format=torch.channels_last)
        self.optimizers = {"weights": kind(self.supernet.parameters(), lr=0.05, momentum=0.9, foreach=True)}

    def steps(self, first: int, last: int) -> None:
        for step in range(first, last):
            generator = torch.Generator().manual_seed(step)
            images = torch.randn(8, 3, 16, 16, generator=generator).contiguous(memory_format=torch.channels_last)
            labels = torch.randint(3, (8,), generator=generator)
            logits = self.supernet(images, SPACE.sample(np.random.default_rng(step)))
            torch.autograd.backward(nn.functional.cross_entropy(logits, labels))
            self.optimizers["weights"].step()
            self.optimizers["weights"].zero_grad(set_to_none=True)

    def save(self, folder: RunFolder, file: str) -> None:
        header = {"history": [{"loss": 0.1 + 0.2}], "means": {}}
        checkpoints.save(folder, file, self.supernet, self.optimizers, LEARNER, header)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.RMSprop])
def test_a_restored_training_continues_bit_for_bit(tmp_path: Path, kind: Optimizer) -> None:
    folder = RunFolder(tmp_path)
    file = checkpoints.name(1, 0, 1)
    unbroken = Training(kind, 0)
    unbroken.steps(0, 4)
    unbroken.save(folder, file)
    unbroken.steps(4, 9)

    resumed = Training(kind, 1)
    resumed.steps(20, 22)
    header = checkpoints.restore(folder, file, resumed.supernet, resumed.optimizers, LEARNER)
    assert header["history"] == [{"loss": 0.1 + 0.2}]
    resumed.steps(4, 9)
    for name, tensor in unbroken.supernet.state_dict().items():
        assert torch.equal(tensor, resumed.supernet.state_dict()[name]), name
    states = [training.optimizers["weights"].state_dict()["state"] for training in (unbroken, resumed)]
    assert states[0].keys() == states[1].keys()
    for number, state in states[0].items():
        for entry, value in state.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(states[1][number][entry])), (number, entry)


def test_two_checkpoints_are_kept_and_the_newest_counts(tmp_path: Path) -> None:
    folder, training = RunFolder(tmp_path), Training(torch.optim.SGD, 0)
    files = [checkpoints.name(*moment, 1) for moment in ((0, 5), (1, 0), (2, 0), (10, 0))]
    assert checkpoints.newest(folder) == (None, [])
    for file in files:
        training.save(folder, file)
    assert folder.names("checkpoints") == files[-2:]
    assert checkpoints.newest(folder) == (files[-1], [])
    assert checkpoints.written_at(files[-1])[:2] == (10, 0)


def test_the_newest_checkpoint_is_the_furthest_even_if_the_clock_was_set_back(tmp_path: Path) -> None:
    """The clock is set back by an hour after the first checkpoint, so that its file seems to be the newest."""
    folder, training = RunFolder(tmp_path), Training(torch.optim.SGD, 0)
    files = [checkpoints.name(epoch, 0, 1) for epoch in (1, 2, 3)]
    training.save(folder, files[0])
    written = tmp_path / checkpoints.path(files[0])
    os.utime(written, (written.stat().st_atime + 3600, written.stat().st_mtime + 3600))
    training.save(folder, files[1])
    assert checkpoints.newest(folder) == (files[1], [])
    training.save(folder, files[2])
    assert folder.names("checkpoints") == files[1:]


def test_no_checkpoint_is_removed_before_a_newer_one_is_written(tmp_path: Path) -> None:
    folder, training = RunFolder(tmp_path), Training(torch.optim.SGD, 0)
    files = [checkpoints.name(epoch, 0, 1) for epoch in (1, 2)]
    for file in files:
        training.save(folder, file)
    with full_disk(), pytest.raises(WriteFailed):
        training.save(folder, checkpoints.name(3, 0, 1))
    assert folder.names("checkpoints") == files
    assert checkpoints.newest(folder) == (files[1], [])


def test_the_last_end_of_an_epoch_is_kept(tmp_path: Path) -> None:
    folder, training = RunFolder(tmp_path), Training(torch.optim.SGD, 0)
    files = [checkpoints.name(*moment, 1) for moment in ((0, 5), (1, 0), (1, 5), (1, 10), (1, 15))]
    for file in files:
        training.save(folder, file)
    assert folder.names("checkpoints") == [files[1], *files[-2:]]
    checkpoints.return_to_end_of_epoch(folder)
    assert folder.names("checkpoints") == [files[1]]


@pytest.mark.parametrize("damage", [truncate, empty, flip_bit, write_as_other_version])
def test_a_damaged_checkpoint_is_skipped(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder, training = RunFolder(tmp_path), Training(torch.optim.SGD, 0)
    files = [checkpoints.name(epoch, 0, 1) for epoch in (1, 2)]
    for file in files:
        training.save(folder, file)
    damage(tmp_path / "checkpoints" / files[1])
    assert checkpoints.newest(folder) == (files[0], [files[1]])
