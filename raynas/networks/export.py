"""`raynas export`: a trained network as a file that needs no raynas, and its model card.

A file takes its name only after the library of its format has read it, and has given the logits of the network.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from raynas.data import batch, open_images
from raynas.networks.model_card import format_markdown, make_card
from raynas.networks.trained_network import TrainedNetwork, find_network, find_network_in_runs
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Format = Literal["onnx", "torch-export", "safetensors"]
Logits = Callable[["NDArray[np.float32]"], "NDArray[np.float32]"]
"""A function from normalised images to logits."""

_SUFFIXES: dict[str, str] = {"onnx": ".onnx", "torch-export": ".pt2", "safetensors": ".safetensors"}
_TOLERANCE = 1e-4
"""The largest difference of logits."""
_IMAGES = 32
"""Images that the logits are compared on."""


def export(source: str, architecture: str | None, form: str, out: str | None) -> dict[str, Any]:
    """Write a trained network, and beside it its model card: the file's name with `.json` and `.md` added.

    Args:
        source: a run folder, or the text of an architecture that a run in `runs/` has trained stand-alone.
        architecture: of the run; by default its most accurate network.
        form: `onnx`, `torch-export` or `safetensors`.
        out: the file; by default a file in `export/` of a local run folder.

    Returns:
        The model card, with the paths `file` and `card`, and `largest_difference`, between the logits of the file and
        of the network.

    Raises:
        UserError: if no such network was trained, the format is unknown, a package is missing, or the file cannot be
            written.
    """
    if form not in _SUFFIXES:
        raise UserError(f"--format is {', '.join(get_args(Format))}, not {form!r}.")
    trained = find_network_in_runs(source) if ": " in source else find_network(source, architecture)
    file = _choose_file(trained, form, out)
    network, images = trained.network(), _test_images(trained)
    with torch.no_grad():
        expected = network(images).numpy()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".export-") as folder:
            written = Path(folder) / file.name
            logits_of_file = _write(form, network, images, written, trained)
            difference = float(np.abs(logits_of_file(images.numpy()) - expected).max())
            if not difference <= _TOLERANCE:
                raise RuntimeError(f"the logits of {written.name} and of the network differ by {difference:.2g}")
            card = make_card(trained, written, form)
            os.replace(written, file)
        Path(f"{file}.json").write_text(f"{json.dumps(card, indent=2, ensure_ascii=False)}\n")
        Path(f"{file}.md").write_text(format_markdown(card, file.name))
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror or error}.") from error
    return {"file": str(file), "card": f"{file}.md", "largest_difference": difference, **card}


def _choose_file(trained: TrainedNetwork, form: str, out: str | None) -> Path:
    suffix = _SUFFIXES[form]
    if out is None:
        if not trained.run.is_local:
            raise UserError(f"{trained.run.uri} is not on this machine: give the file to write with --out.")
        return Path(trained.run.uri) / "export" / f"{trained.space.name}-{trained.name}{suffix}"
    if Path(out).suffix != suffix:
        raise UserError(f"A file of the format {form} ends in {suffix}: rename {out}, or change --format.")
    return Path(out)


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
        return _write_onnx(network, images, file)
    if form == "torch-export":
        return _write_torch_export(network, images, file)
    return _write_safetensors(network, file, trained)


def _write_onnx(network: nn.Module, images: Tensor, file: Path) -> Logits:
    try:
        import onnx
        import onnxruntime

        import_module("onnxscript")  # torch writes ONNX with it
    except ImportError as error:
        raise UserError(
            "Exporting to ONNX needs onnx, onnxruntime and onnxscript: pip install 'raynas[export]'."
        ) from error
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
    from safetensors.torch import load_file, save_file

    space = trained.space
    metadata = {"architecture": trained.text, "space": space.name, "num_classes": str(space.num_classes)}
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, file, metadata=metadata)
    loaded = trained.network()
    loaded.load_state_dict(load_file(file))

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            logits: NDArray[np.float32] = loaded(torch.from_numpy(images)).numpy()
        return logits

    return run
