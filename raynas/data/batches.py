"""Batches of decoded images as tensors, with the augmentation of the recipe."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raynas.data import augmentation
from raynas.data.images import Images
from raynas.data.settings import PreparedData


def batch(images: Images, rows: NDArray[np.int64], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Return images without augmentation, and their labels.

    Returns:
        Normalised floats, channels-last, shape (N, 3, resolution, resolution); labels of shape (N,).
    """
    pixels, labels = _load_rows(images, rows, device)
    return _normalise(augmentation.centre_crop(pixels, images.prepared.resolution), images.prepared), labels


def training_batch(
    images: Images,
    rows: NDArray[np.int64],
    seed: int,
    epoch: int,
    step: int,
    share: slice = slice(None),
    device: torch.device | str = "cpu",
    cutout: int = 0,
    policy: str = "none",
    color_jitter: float = 0,
) -> tuple[Tensor, Tensor]:
    """Return images with the augmentation of the recipe, and their labels, in the form of `batch`.

    Args:
        rows: the global batch of this training step. Seed, epoch, step and an image's place in `rows` decide its
            augmentation.
        share: the part of the global batch to return.
        cutout: side in pixels of the square to blank in each image; 0 for none.
        policy, color_jitter: those of `augmentation.apply_policy`, which comes before the crop.
    """
    by_image = policy != "none" or color_jitter > 0
    drawn = augmentation.draw_uniform_numbers(len(rows), seed, epoch, step)[share]
    numbers = torch.from_numpy(drawn.astype(np.float32)).to(device)
    pixels, labels = _load_rows(images, rows[share], "cpu" if by_image else device)
    if by_image:
        seeds = augmentation.draw_policy_seeds(len(rows), seed, epoch, step)[share]
        pixels = augmentation.apply_policy(pixels, policy, color_jitter, seeds).to(device, non_blocking=True)
        labels = labels.to(device, non_blocking=True)
    match images.prepared.settings.augment:
        case "random-resized-crop":
            resolution = images.prepared.resolution
            inputs = augmentation.random_resized_crop(_normalise(pixels, images.prepared), numbers, resolution)
        case "none":
            inputs = _normalise(pixels, images.prepared)
        case augment:
            cropped = augmentation.crop(pixels, numbers, mirror=augment == "crop-flip")
            inputs = _normalise(cropped, images.prepared)
    return (augmentation.cutout(inputs, numbers, cutout) if cutout else inputs), labels


def _load_rows(images: Images, rows: NDArray[np.int64], device: torch.device | str) -> tuple[Tensor, Tensor]:
    pixels, labels = torch.from_numpy(images.pixels[rows]), torch.from_numpy(images.labels[rows])
    return pixels.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def _normalise(pixels: Tensor, prepared: PreparedData) -> Tensor:
    """Turn uint8 (N, H, W, 3) into floats (N, 3, H, W): a view, so that the memory order is channels-last."""
    mean, std = (torch.tensor(values, device=pixels.device) * 255 for values in (prepared.mean, prepared.std))
    return pixels.float().sub_(mean).div_(std).permute(0, 3, 1, 2)
