"""Stand-alone training of one network in a plain loop in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from raynas.data import DataSettings, Images, batch, open_images, prepare, training_batch
from raynas.training.epoch_schedule import epoch_batches

BATCH, MOMENTUM, WEIGHT_DECAY = 64, 0.9, 1e-4


def read_images(npz: Path | None, resolution: int, seed: int) -> Images:
    """Open an .npz data set, or, without a file, the digits of scikit-learn."""
    settings = DataSettings() if npz is None else DataSettings(name="npz", path=npz, augment="crop-flip")
    return open_images(prepare(settings, resolution, seed))


def shuffle_labels(images: Images, seed: int) -> Images:
    """Return the images with the labels of the training images in another order."""
    labels, rows = images.labels.copy(), images.rows("all-training")
    labels[rows] = np.random.default_rng(seed).permutation(labels[rows])
    return replace(images, labels=labels)


def data_name(images: Images) -> str:
    """Return `digits`, or the name of the .npz file without its ending."""
    settings = images.prepared.settings
    return settings.name if settings.path is None else settings.path.stem


def train(
    network: nn.Module,
    images: Images,
    epochs: int,
    rate: Callable[[float], float],
    seed: int,
    after_epoch: Callable[[], None] = lambda: None,
) -> None:
    """Train by SGD with Nesterov's momentum on all training images, augmented.

    Args:
        rate: the learning rate, from the share of the training steps that are done.
    """
    network.train()
    sgd = torch.optim.SGD(network.parameters(), momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)
    for epoch in range(epochs):
        batches = epoch_batches(images.rows("all-training"), BATCH, [seed, epoch])
        for step, rows in enumerate(batches):
            for group in sgd.param_groups:
                group["lr"] = rate((epoch + step / len(batches)) / epochs)
            inputs, labels = training_batch(images, rows, seed, epoch, step)
            sgd.zero_grad()
            torch.autograd.backward(functional.cross_entropy(network(inputs), labels))
            sgd.step()
        after_epoch()


def read_test_images(images: Images) -> tuple[Tensor, Tensor]:
    """Return all test images, shape (N, 3, H, W), and their labels."""
    return batch(images, images.rows("test"))


def top1(logits: Tensor, labels: Tensor) -> float:
    """Return the accuracy in per cent."""
    return 100 * (logits.argmax(dim=1) == labels).double().mean().item()


@torch.no_grad()
def measure_test_top1(network: nn.Module, images: Images) -> float:
    """Return the accuracy of a network on the test images in per cent, in evaluation mode."""
    inputs, labels = read_test_images(images)
    return top1(network.eval()(inputs), labels)
