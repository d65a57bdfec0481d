"""Augmentation of whole batches on their device.

All randomness comes from one row of uniform numbers for each image. The numbers depend on (seed, epoch, training step)
and on the image's place in the global batch. The number of workers and micro-batches therefore changes nothing.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_PAD_PIXELS = 4
_SCALE = (0.08, 1.0)
_LOG_RATIO = (math.log(3 / 4), math.log(4 / 3))
_STREAM, _POLICY_STREAM = 2**31 + 4, 2**31 + 5
_TOP, _LEFT, _MIRROR, _CUT_Y, _CUT_X, _AREA, _RATIO, NUMBERS = range(8)


def draw_uniform_numbers(images: int, seed: int, epoch: int, step: int) -> NDArray[np.float64]:
    """Draw the randomness of one global batch: shape (images, NUMBERS), uniform in [0, 1)."""
    return np.random.default_rng([seed, epoch, step, _STREAM]).random((images, NUMBERS))


def draw_policy_seeds(images: int, seed: int, epoch: int, step: int) -> NDArray[np.int64]:
    """Draw the seed of each image's policy for one global batch: shape (images,)."""
    return np.random.default_rng([seed, epoch, step, _POLICY_STREAM]).integers(2**62, size=images)


def apply_policy(images: Tensor, policy: str, color_jitter: float, seeds: NDArray[np.int64]) -> Tensor:
    """Augment each image by a torchvision policy, and change its colours.

    Args:
        images: uint8, shape (N, S, S, 3), on the CPU.
        policy: `randaugment`, `autoaugment`, `autoaugment-cifar10` or `none`.
        color_jitter: the greatest change of brightness, contrast and saturation, as a share.
        seeds: shape (N,); the seed of each image's random draws.
    """
    from torchvision.transforms import v2

    policies = {
        "randaugment": v2.RandAugment,
        "autoaugment": v2.AutoAugment,
        "autoaugment-cifar10": lambda: v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
        "none": v2.Identity,
    }
    augment = v2.Compose([policies[policy](), v2.ColorJitter(*[color_jitter] * 3)])
    augmented = torch.empty_like(images)
    with torch.random.fork_rng(devices=[]):
        for index, seed in enumerate(seeds.tolist()):
            torch.manual_seed(seed)
            augmented[index] = augment(images[index].permute(2, 0, 1)).permute(1, 2, 0)
    return augmented


def centre_crop(images: Tensor, side: int) -> Tensor:
    """Cut the middle out of square images: shape (N, H, H, 3) to (N, side, side, 3)."""
    edge = (images.shape[1] - side) // 2
    return images[:, edge : edge + side, edge : edge + side]


def crop(images: Tensor, numbers: Tensor, mirror: bool) -> Tensor:
    """Pad each side with 4 black pixels and cut out a random window of the original size.

    Args:
        images: uint8, shape (N, S, S, 3).
        numbers: shape (N, NUMBERS).
        mirror: mirror each image with a probability of one half.
    """
    side = images.shape[1]
    padded = functional.pad(images, (0, 0, *[_PAD_PIXELS] * 4))
    offsets = (numbers[:, [_TOP, _LEFT]] * (2 * _PAD_PIXELS + 1)).long()
    pixels = torch.arange(side, device=images.device)
    rows = offsets[:, :1] + pixels
    columns = offsets[:, 1:] + pixels
    if mirror:
        columns = torch.where(numbers[:, _MIRROR, None] < 0.5, columns.flip(1), columns)
    indices = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[indices, rows[:, :, None], columns[:, None, :]]


def random_resized_crop(images: Tensor, numbers: Tensor, side: int) -> Tensor:
    """Cut a random box out of each image and resize the box bilinearly.

    A box has 8 to 100 % of the area and a ratio of width to height of 3/4 to 4/3. Each image is mirrored with a
    probability of one half.

    Args:
        images: floats, shape (N, 3, H, H).
        numbers: shape (N, NUMBERS).

    Returns:
        Shape (N, 3, side, side), channels-last.
    """
    area = _SCALE[0] + numbers[:, _AREA] * (_SCALE[1] - _SCALE[0])
    ratio = torch.exp(_LOG_RATIO[0] + numbers[:, _RATIO] * (_LOG_RATIO[1] - _LOG_RATIO[0]))
    width = (area * ratio).sqrt().clamp(max=1)
    height = (area / ratio).sqrt().clamp(max=1)
    # Coordinates of grid_sample run from -1 to 1 over the image. The centre of a box of size s is within +-(1 - s).
    centre_x = (2 * numbers[:, _LEFT] - 1) * (1 - width)
    centre_y = (2 * numbers[:, _TOP] - 1) * (1 - height)
    direction = torch.where(numbers[:, _MIRROR] < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(width)
    transforms = torch.stack([direction * width, zero, centre_x, zero, height, centre_y], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(transforms.to(images.dtype), [len(images), 3, side, side], align_corners=False)
    cropped = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return cropped.contiguous(memory_format=torch.channels_last)


def cutout(images: Tensor, numbers: Tensor, side: int) -> Tensor:
    """Blank a square of `side` pixels around a random pixel, clipped at the edges (DeVries and Taylor).

    Args:
        images: normalised floats, shape (N, 3, S, S); zero is the mean colour.
        numbers: shape (N, NUMBERS).
    """
    pixels = torch.arange(images.shape[2], device=images.device)
    starts = (numbers[:, [_CUT_Y, _CUT_X]] * images.shape[2]).long() - side // 2
    rows, columns = ((starts[:, axis, None] <= pixels) & (pixels < starts[:, axis, None] + side) for axis in (0, 1))
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)
