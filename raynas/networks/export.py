"""`raynas export`: a trained network in a file that needs no raynas, and its model card.

What was written is read back by what will read it, and gives the network's own logits, before it takes its name.
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
from raynas.networks.model_card import card_of, markdown
from raynas.networks.trained_network import TrainedNetwork, find_trained, find_trained_in_runs
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Format = Literal["onnx", "torch-export", "safetensors"]
Runner = Callable[["NDArray[np.float32]"], "NDArray[np.float32]"]

_SUFFIXES: dict[str, str] = {"onnx": ".onnx", "torch-export": ".pt2", "safetensors": ".safetensors"}
_TOLERANCE = 1e-4
_IMAGES = 32


def export(what: str, architecture: str | None, form: str, out: str | None) -> dict[str, Any]:
    """Write a trained network and, beside it, its model card: its name with .json and .md behind.

    Args:
        what: a run folder, or the text of an architecture that a run under `runs/` has trained alone.
        architecture: which of the run's networks; its most accurate where none is given.
        form: `onnx`, `torch-export` or `safetensors`.
        out: the file to write; by default one in `export/` of a local run's folder.

    Returns:
        The model card, with `file`, `card` (paths) and `largest_difference` from the network's logits.

    Raises:
        UserError: if nothing of the kind was trained, the format is not known, a package is missing, or the file cannot
            be written.
    """
    if form not in _SUFFIXES:
        raise UserError(f"--format is {', '.join(get_args(Format))}, not {form!r}.")
    found = find_trained_in_runs(what) if ": " in what else find_trained(what, architecture)
    file = _file(found, form, out)
    network, images = found.network(), _images(found)
    with torch.no_grad():
        expected = network(images).numpy()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".export-") as aside:
            written = Path(aside) / file.name
            runner = _write(form, network, images, written, found)
            difference = float(np.abs(runner(images.numpy()) - expected).max())
            if not difference <= _TOLERANCE:
                raise RuntimeError(f"{written.name} gives logits that differ by {difference:.2g} from the network's")
            card = card_of(found, written, form)
            os.replace(written, file)
        Path(f"{file}.json").write_text(f"{json.dumps(card, indent=2, ensure_ascii=False)}\n")
        Path(f"{file}.md").write_text(markdown(card, file.name))
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror or error}.") from error
    told = {"file": str(file), "card": f"{file}.md", "largest_difference": difference}
    return {**told, **card}


def _file(found: TrainedNetwork, form: str, out: str | None) -> Path:
    suffix = _SUFFIXES[form]
    if out is None:
        if not found.run.is_local:
            raise UserError(f"{found.run.uri} is not on this machine: say where the file goes with --out.")
        return Path(found.run.uri) / "export" / f"{found.space.name}-{found.name}{suffix}"
    if Path(out).suffix != suffix:
        raise UserError(f"A file of {form} ends in {suffix}, and {out} does not.")
    return Path(out)


def _images(found: TrainedNetwork) -> Tensor:
    """Some of the run's test images, normalised; noise in their place where the data is not here any more."""
    try:
        images = open_images(found.data)
    except (UserError, OSError):
        generator = torch.Generator().manual_seed(0)
        return torch.randn(_IMAGES, 3, found.data.resolution, found.data.resolution, generator=generator)
    normalised, _ = batch(images, images.rows("test")[:_IMAGES])
    return normalised.contiguous()


def _write(form: str, network: nn.Module, images: Tensor, file: Path, found: TrainedNetwork) -> Runner:
    """Write the network; returns what runs the file."""
    if form == "onnx":
        return _write_onnx(network, images, file)
    if form == "torch-export":
        return _write_torch_export(network, images, file)
    return _write_safetensors(network, file, found)


def _write_onnx(network: nn.Module, images: Tensor, file: Path) -> Runner:
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

    def run(given: NDArray[np.float32]) -> NDArray[np.float32]:
        (logits,) = session.run(["logits"], {"images": given})
        return np.asarray(logits)

    return run


def _write_torch_export(network: nn.Module, images: Tensor, file: Path) -> Runner:
    program = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, file)
    read = torch.export.load(file).module()
    return lambda given: read(torch.from_numpy(given)).detach().numpy()


def _write_safetensors(network: nn.Module, file: Path, found: TrainedNetwork) -> Runner:
    from safetensors.torch import load_file, save_file

    about = {"architecture": found.text, "space": found.space.name, "num_classes": str(found.space.num_classes)}
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, file, metadata=about)
    read = found.network()
    read.load_state_dict(load_file(file))

    def run(given: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            logits: NDArray[np.float32] = read(torch.from_numpy(given)).numpy()
        return logits

    return run
