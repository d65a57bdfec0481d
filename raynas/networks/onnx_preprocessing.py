"""ONNX files that take images of any size and give probabilities: preprocessing and softmax as part of the graph.

`Resize` is Pillow's resize to one grey level: antialiased, and with `exclude_outside`, as Pillow gives no weight to
what lies beyond an edge. Antialiasing came with opset 18.
"""

from __future__ import annotations

import onnx
from onnx.compose import add_prefix, merge_models

from raynas.networks.preprocessing import Preprocessing

_BEFORE = """
<ir_version: {ir_version}, opset_import: ["" : {opset}]>
preprocessing (uint8[batch, height, width, 3] pixels) => (float[batch, 3, {crop}, {crop}] input)
<int64[2] axes = {{1, 2}}, int64[3] resized = {{3, {resize}, {resize}}}, int64[1] two = {{2}},
 int64[2] inner_start = {{{start}, {start}}}, int64[2] inner_end = {{{end}, {end}}}, int64[2] sides = {{2, 3}},
 float[1, 3, 1, 1] mean = {{{mean}}}, float[1, 3, 1, 1] std = {{{std}}}>
{{
    size = Shape <start = 1, end = 3> (pixels)
    edge = ReduceMin <keepdims = 1> (size)
    margin = Sub (size, edge)
    begin = Div (margin, two)
    finish = Add (begin, edge)
    square = Slice (pixels, begin, finish, axes)
    planes = Transpose <perm = [0, 3, 1, 2]> (square)
    batch = Shape <start = 0, end = 1> (pixels)
    shape = Concat <axis = 0> (batch, resized)
    small = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel", antialias = 1, exclude_outside = 1>
        (planes, , , shape)
    inner = Slice (small, inner_start, inner_end, sides)
    levels = Cast <to = 1> (inner)
    centred = Sub (levels, mean)
    input = Div (centred, std)
}}
"""

_AFTER = """
<ir_version: {ir_version}, opset_import: ["" : {opset}]>
softmax (float[batch, classes] values) => (float[batch, classes] probabilities)
{{
    probabilities = Softmax <axis = 1> (values)
}}
"""


def put_inside(network: onnx.ModelProto, preprocessing: Preprocessing) -> onnx.ModelProto:
    """Return a network with its preprocessing.

    Args:
        network: from `images`, normalised, to `logits`; opset 18 or later.

    Returns:
        From `pixels`, uint8 RGB of shape (batch, height, width, 3), to `probabilities` of shape (batch, classes).
    """
    edge = (preprocessing.resize - preprocessing.crop) // 2
    mean, std = (", ".join(str(value * 255) for value in values) for values in (preprocessing.mean, preprocessing.std))
    version = {"ir_version": network.ir_version, "opset": network.opset_import[0].version}
    before = onnx.parser.parse_model(
        _BEFORE.format(
            **version,
            resize=preprocessing.resize,
            crop=preprocessing.crop,
            start=edge,
            end=edge + preprocessing.crop,
            mean=mean,
            std=std,
        )
    )
    after = onnx.parser.parse_model(_AFTER.format(**version))
    before = add_prefix(before, "preprocessing.", rename_inputs=False)
    model = merge_models(before, network, io_map=[("preprocessing.input", "images")])
    return merge_models(model, after, io_map=[("logits", "values")])
