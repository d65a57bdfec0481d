"""A network as an ONNX file, and onnxruntime to run it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from raynas.networks.preprocessing import Preprocessing


def write(
    network: nn.Module, images: Tensor, file: Path, facts: Mapping[str, Any], inside: Preprocessing | None = None
) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """Write a network as ONNX, with facts as metadata.

    Args:
        network: from normalised images to logits.
        images: normalised images, shape (N, 3, S, S).
        inside: the preprocessing that becomes a part of the graph (`onnx_preprocessing`); without it, `images` are the
            input and `logits` the output.

    Returns:
        A function that runs the file in onnxruntime.

    Raises:
        UserError: if a package is missing.
    """
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
    model = onnx.load(file)
    if inside is not None:
        from raynas.networks.onnx_preprocessing import put_inside

        model = put_inside(model, inside)
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in facts.items()})
    onnx.save(model, file)
    onnx.checker.check_model(file, full_check=True)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(values: NDArray[Any]) -> NDArray[np.float32]:
        (output,) = session.run(None, {name: values})
        return np.asarray(output)

    return run
