"""The formats of exported networks: each writes a file, and runs it to compare its logits with the network's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from raynas.data import batch, open_images
from raynas.networks.model_card import facts_of
from raynas.networks.trained_network import TrainedNetwork
from raynas.storage.tensor_file import safetensors_content
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Logits = Callable[["NDArray[np.float32]"], "NDArray[np.float32]"]
"""A function from normalised images to logits."""
_IMAGES = 32
"""Images that the logits are compared on."""


def write_network(trained: TrainedNetwork, form: str, file: Path) -> float:
    """Write a network as `onnx`, `torch-export` or `safetensors`.

    Returns:
        The largest difference between the logits of the file and of the network.
    """
    network, images = trained.network(), _test_images(trained)
    with torch.no_grad():
        expected = network(images).numpy()
    logits_of_file = _write(form, network, images, file, trained)
    return float(np.abs(logits_of_file(images.numpy()) - expected).max())


def _test_images(trained: TrainedNetwork) -> Tensor:
    """Return normalised test images of the run; noise if its data is no longer on this machine."""
    try:
        images = open_images(trained.data)
    except (UserError, OSError):
        generator, size = torch.Generator().manual_seed(0), trained.data.resolution
        return torch.randn(_IMAGES, 3, size, size, generator=generator)
    normalised, _ = batch(images, images.rows("test")[:_IMAGES])
    return normalised.contiguous()


def _write(form: str, network: nn.Module, images: Tensor, file: Path, trained: TrainedNetwork) -> Logits:
    """Write the network; return a function that runs the file."""
    if form == "onnx":
        return _write_onnx(network, images, file, facts_of(trained))
    if form == "torch-export":
        return _write_torch_export(network, images, file)
    return _write_safetensors(network, file, trained)


def _write_onnx(network: nn.Module, images: Tensor, file: Path, facts: Mapping[str, Any]) -> Logits:
    import onnx
    import onnxruntime

    program = torch.onnx.export(
        network,
        (images,),
        dynamo=True,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    program.save(file, external_data=False)
    model = onnx.load(file)
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in facts.items()})
    onnx.save(model, file)
    onnx.checker.check_model(file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        (logits,) = session.run(["logits"], {"images": images})
        return np.asarray(logits)

    return run


def _write_torch_export(network: nn.Module, images: Tensor, file: Path) -> Logits:
    program = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, file)
    module = torch.export.load(file).module()
    return lambda images: module(torch.from_numpy(images)).detach().numpy()


def _write_safetensors(network: nn.Module, file: Path, trained: TrainedNetwork) -> Logits:
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
