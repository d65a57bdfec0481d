"""The formats of exported networks: each writes a file, and runs it to compare its logits with the network's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from raynas.data import batch, open_images
from raynas.data.decoding import to_rgb
from raynas.data.images import read_originals
from raynas.networks import onnx_file
from raynas.networks.preprocessing import Preprocessing
from raynas.networks.trained_network import TrainedNetwork
from raynas.storage.tensor_file import safetensors_content
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Run = Callable[["NDArray[Any]"], "NDArray[np.float32]"]
"""A function that runs a file: from normalised images to logits, or from pixels to probabilities."""
_IMAGES = 32
"""Images that the logits are compared on."""


def write_network(trained: TrainedNetwork, form: str, file: Path, facts: Mapping[str, Any]) -> float:
    """Write a network as `onnx`, `torch-export` or `safetensors`. An ONNX file has the facts as metadata.

    Returns:
        The largest difference between the logits of the file and of the network.
    """
    network, images = trained.network(), _test_images(trained)
    with torch.no_grad():
        expected = network(images).numpy()
    if form == "onnx":
        run = onnx_file.write(network, images, file, facts)
    elif form == "torch-export":
        run = _write_torch_export(network, images, file)
    else:
        run = _write_safetensors(network, file, trained)
    return float(np.abs(run(images.numpy()) - expected).max())


def write_network_with_preprocessing(trained: TrainedNetwork, file: Path, facts: Mapping[str, Any]) -> float:
    """Write a network as ONNX, from images of any size to probabilities.

    Returns:
        The largest difference between the probabilities of the file, and those of the network and `Preprocessing`.

    Raises:
        UserError: if a package is missing.
    """
    network, preprocessing = trained.network(), Preprocessing.of(trained.data)
    originals = [to_rgb(image, preprocessing.background) for image in _original_test_images(trained)]
    images = torch.from_numpy(np.stack([preprocessing.array(image) for image in originals]))
    with torch.no_grad():
        expected = network(images).softmax(dim=1).numpy()
    run = onnx_file.write(network, images, file, facts, preprocessing)
    probabilities = np.concatenate([run(np.asarray(image)[None]) for image in originals])
    return float(np.abs(probabilities - expected).max())


def _test_images(trained: TrainedNetwork) -> Tensor:
    """Return normalised test images of the run; noise if its data is no longer on this machine."""
    try:
        images = open_images(trained.data)
    except (UserError, OSError):
        generator, size = torch.Generator().manual_seed(0), trained.data.resolution
        return torch.randn(_IMAGES, 3, size, size, generator=generator)
    normalised, _ = batch(images, images.rows("test")[:_IMAGES])
    return normalised.contiguous()


def _original_test_images(trained: TrainedNetwork) -> list[Image.Image]:
    """Return test images of the run as they were read; noise if its data is no longer on this machine."""
    try:
        images = open_images(trained.data)
        return read_originals(images, images.rows("test")[:_IMAGES])
    except (UserError, OSError):
        generator, side = np.random.default_rng(0), 2 * trained.data.resolution
        noise = generator.integers(256, size=(_IMAGES, side, side, 3), dtype=np.uint8)
        return [Image.fromarray(pixels) for pixels in noise]


def _write_torch_export(network: nn.Module, images: Tensor, file: Path) -> Run:
    program = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, file)
    module = torch.export.load(file).module()
    return lambda images: module(torch.from_numpy(images)).detach().numpy()


def _write_safetensors(network: nn.Module, file: Path, trained: TrainedNetwork) -> Run:
    from safetensors.torch import load_file

    space = trained.space
    metadata = {"architecture": trained.text, "space": space.name, "num_classes": str(space.num_classes)}
    tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
    file.write_bytes(safetensors_content(tensors, metadata))
    loaded = trained.network()
    loaded.load_state_dict(load_file(file))

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            logits: NDArray[np.float32] = loaded(torch.from_numpy(images)).numpy()
        return logits

    return run
