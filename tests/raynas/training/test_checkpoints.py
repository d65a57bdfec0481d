"""A checkpoint brings back training bit for bit; a damaged one is passed over for the one before it."""

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
from tests.support.full_disk import full_disk

SPACE = load("nas-bench-macro", width=0.125, resolution=16, num_classes=3)
LEARNER = UniformPath().begin(SPACE, SPACE.costs(), 0)
Optimizer = type[torch.optim.SGD] | type[torch.optim.RMSprop]


class Training:
    """Supernet and optimizer, as a worker holds them."""

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
        about = {"history": [{"loss": 0.1 + 0.2}], "means": {}}
        checkpoints.save(folder, file, self.supernet, self.optimizers, LEARNER, about)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.RMSprop])
def test_training_goes_on_bit_for_bit(tmp_path: Path, kind: Optimizer) -> None:
    folder = RunFolder(tmp_path)
    file = checkpoints.name(1, 0, 1)
    unbroken = Training(kind, 0)
    unbroken.steps(0, 4)
    unbroken.save(folder, file)
    unbroken.steps(4, 9)

    resumed = Training(kind, 1)
    resumed.steps(20, 22)
    about = checkpoints.restore(folder, file, resumed.supernet, resumed.optimizers, LEARNER)
    assert about["history"] == [{"loss": 0.1 + 0.2}]
    resumed.steps(4, 9)
    for name, tensor in unbroken.supernet.state_dict().items():
        assert torch.equal(tensor, resumed.supernet.state_dict()[name]), name
    states = [training.optimizers["weights"].state_dict()["state"] for training in (unbroken, resumed)]
    assert states[0].keys() == states[1].keys()
    for number, state in states[0].items():
        for entry, value in state.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(states[1][number][entry])), (number, entry)


def test_two_are_kept_and_the_newest_counts(tmp_path: Path) -> None:
    folder, training = RunFolder(tmp_path), Training(torch.optim.SGD, 0)
    files = [checkpoints.name(*at, 1) for at in ((0, 5), (1, 0), (2, 0), (10, 0))]
    assert checkpoints.newest(folder) == (None, [])
    for file in files:
        training.save(folder, file)
    assert folder.names("checkpoints") == files[-2:]
    assert checkpoints.newest(folder) == (files[-1], [])
    assert checkpoints.written_at(files[-1])[:2] == (10, 0)


def test_the_newest_is_the_furthest_whatever_the_clock_says(tmp_path: Path) -> None:
    """The first was written before the clock was set back by an hour, and so seems to be the youngest."""
    folder, training = RunFolder(tmp_path), Training(torch.optim.SGD, 0)
    files = [checkpoints.name(epoch, 0, 1) for epoch in (1, 2, 3)]
    training.save(folder, files[0])
    written = tmp_path / checkpoints.path(files[0])
    os.utime(written, (written.stat().st_atime + 3600, written.stat().st_mtime + 3600))
    training.save(folder, files[1])
    assert checkpoints.newest(folder) == (files[1], [])
    training.save(folder, files[2])
    assert folder.names("checkpoints") == files[1:]


def test_none_is_removed_before_the_one_in_its_place_is_safe(tmp_path: Path) -> None:
    folder, training = RunFolder(tmp_path), Training(torch.optim.SGD, 0)
    files = [checkpoints.name(epoch, 0, 1) for epoch in (1, 2)]
    for file in files:
        training.save(folder, file)
    with full_disk(), pytest.raises(WriteFailed):
        training.save(folder, checkpoints.name(3, 0, 1))
    assert folder.names("checkpoints") == files
    assert checkpoints.newest(folder) == (files[1], [])


def test_the_end_of_an_epoch_is_kept_to_go_back_to(tmp_path: Path) -> None:
    folder, training = RunFolder(tmp_path), Training(torch.optim.SGD, 0)
    files = [checkpoints.name(*at, 1) for at in ((0, 5), (1, 0), (1, 5), (1, 10), (1, 15))]
    for file in files:
        training.save(folder, file)
    assert folder.names("checkpoints") == [files[1], *files[-2:]]
    checkpoints.return_to_end_of_epoch(folder)
    assert folder.names("checkpoints") == [files[1]]


def of_another_version(file: Path) -> None:
    """Whole, and laid out as another raynas would have it."""
    folder = RunFolder(file.parent)
    tensors, about = folder.read_tensors(file.name)
    folder.write_tensors(file.name, {f"later/{key}": value for key, value in tensors.items()}, {**about, "format": 2})


def with_a_bit_flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


HARMS: dict[str, Callable[[Path], object]] = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "emptied": lambda file: file.write_bytes(b""),
    "with a bit flipped": with_a_bit_flipped,
    "of another version": of_another_version,
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_one_is_passed_over(tmp_path: Path, harm: str) -> None:
    folder, training = RunFolder(tmp_path), Training(torch.optim.SGD, 0)
    files = [checkpoints.name(epoch, 0, 1) for epoch in (1, 2)]
    for file in files:
        training.save(folder, file)
    HARMS[harm](tmp_path / "checkpoints" / files[1])
    assert checkpoints.newest(folder) == (files[0], [files[1]])
