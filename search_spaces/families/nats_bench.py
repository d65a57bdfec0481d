"""NATS-Bench's topology space (Dong et al.), which is NAS-Bench-201's: 15,625 cells, all of them trained.

    | input        | block                         | channels | repeat | stride |
    | ------------ | ----------------------------- | -------- | ------ | ------ |
    | 32 x 32 x 3  | 3x3 conv, batch norm          | 16       | 1      | 1      |
    | 32 x 32      | cell                          | 16       | 5      | 1      |
    | 32 x 32      | residual block                | 32       | 1      | 2      |
    | 16 x 16      | cell                          | 32       | 5      | 1      |
    | 16 x 16      | residual block                | 64       | 1      | 2      |
    | 8 x 8        | cell                          | 64       | 5      | 1      |
    | 8 x 8        | batch norm, global pooling    | -        | 1      | -      |
    | 64           | fully connected               | 10       | 1      | -      |

A cell has four nodes. Node 0 is its input, nodes 1 to 3 are each the sum of the edges from all earlier nodes, and node
3 is its output. Each of the six edges, the same in all cells, takes one of five operations: 5^6 cells. Convolutions
stand between a ReLU and a batch norm; `avg_pool_3x3` has no batch norm.

Text has the benchmark's form, node by node, each operation with its source node:
`nats-bench: |nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from search_spaces.architecture import NOTHING, Architecture, Choice
from search_spaces.cell.layout import CellLayout, Edge, NetworkLayout, PlacedOperation
from search_spaces.cell.operations import Classifier, ConvNorm, Operation, Pooling, ResidualReduction, SkipConnect
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from search_spaces.layers.cost import CountingRules
from search_spaces.layers.shapes import Place
from search_spaces.validation import Classes, Number, Width, validate_settings

OPERATIONS: dict[str, Operation] = {
    "skip_connect": SkipConnect(),
    "nor_conv_1x1": ConvNorm(1),
    "nor_conv_3x3": ConvNorm(3),
    "avg_pool_3x3": Pooling(),
}
NODES = 4
STAGES = 3


def nats_bench(
    *,
    cells: int = 5,
    channels: int = 16,
    affine: bool = True,
    width: float = 1.0,
    resolution: int = 32,
    num_classes: int = 10,
    stem_stride: int = 1,
) -> NatsBenchSpace:
    """Build the space, by default as in the benchmark's table.

    Args:
        cells: in each of the three stages.
        channels: of the first stage. Each following stage has twice as many.
        affine: whether batch norm within cells has a trainable scale and shift. Searches often do without.
        width: multiplies the channels; the product is rounded to a whole number.
        resolution: the images' height and width in pixels.
        stem_stride: the stem's stride.

    Raises:
        UserError: if a setting cannot have its value, or the strides leave less than a pixel.
    """
    return NatsBenchSpace(
        {
            "cells": cells,
            "channels": channels,
            "affine": affine,
            "width": width,
            "resolution": resolution,
            "num_classes": num_classes,
            "stem_stride": stem_stride,
        }
    )


class NatsBenchSettings(BaseModel):
    """The settings of the space, complete and within their ranges."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    cells: Number
    channels: Number
    affine: bool
    width: Width
    resolution: Number
    num_classes: Classes
    stem_stride: Number


class NatsBenchSpace(CellSpace):
    """Choices are named by the nodes of an edge: `node3.1`."""

    name = "nats-bench"
    paper = "NATS-Bench (Dong et al.), topology space; FTSO section 4.3"
    operations = OPERATIONS
    paper_counting = CountingRules(biases=True)

    def __init__(self, values: dict[str, object]) -> None:
        settings = validate_settings(NatsBenchSettings, values, self.name)
        self.settings = settings.model_dump(mode="json")
        self.resolution = settings.resolution
        self.num_classes = settings.num_classes
        self.affine = settings.affine
        self._settings = settings
        self._edges = [(source, target) for target in range(1, NODES) for source in range(target)]
        options = (NOTHING, *OPERATIONS)
        self.choices = tuple(Choice(f"node{target}.{source}", options) for source, target in self._edges)
        self.surviving = (tuple(range(len(options))),) * len(self.choices)
        self.layout()

    def _text(self, indices: Sequence[int]) -> str:
        nodes = []
        for target in range(1, NODES):
            edges = zip(self.choices, indices, self._edges, strict=True)
            words = [f"{choice.write(index)}~{source}" for choice, index, (source, node) in edges if node == target]
            nodes.append(f"|{'|'.join(words)}|")
        return f"{self.name}: {'+'.join(nodes)}"

    def parse(self, text: str) -> Architecture:
        """Return the architecture of a text in the benchmark's form, with or without the space's name before it.

        Raises:
            UserError: if the text has another form, or names an unknown operation.
        """
        name, colon, body = text.partition(":")
        nodes = ("".join(rf"(\w+)~{source}\|" for source in range(target)) for target in range(1, NODES))
        cell = re.fullmatch(r"\+".join(rf"\|{edges}" for edges in nodes), (body if colon else text).strip())
        if cell is None or (colon and name.strip() != self.name):
            example = self._text([0] * len(self.choices))
            raise UserError(f"This is not an architecture of {self.name}: {text!r}; it would read {example!r}.")
        return super().parse(f"{self.name}: {' '.join(cell.groups())}")

    def _build_layout(self, resolution: int, num_classes: int) -> NetworkLayout:
        channels = max(1, round(self._settings.channels * self._settings.width))
        stem = PlacedOperation(
            ConvNorm(3, activation=False), Place(3, channels, self._settings.stem_stride, resolution)
        )
        size = stem.place.out_size
        cells = []
        for stage in range(STAGES):
            for number in range(self._settings.cells):
                source = PlacedOperation(SkipConnect(), Place(channels, channels, 1, size))
                if stage > 0 and number == 0:
                    source = PlacedOperation(ResidualReduction(), Place(channels, 2 * channels, 2, size))
                channels, size = source.place.out_channels, source.place.out_size
                place = Place(channels, channels, 1, size)
                edges = [Edge(i, source, target, place) for i, (source, target) in enumerate(self._edges)]
                cells.append(CellLayout((source,), tuple(edges), NODES, 1, joined=False))
        return NetworkLayout(
            (stem,), tuple(cells), PlacedOperation(Classifier(norm=True), Place(channels, num_classes, 1, size))
        )
