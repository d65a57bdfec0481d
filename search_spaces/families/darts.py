"""DARTS's cells, as HM-NAS (section 4.1) and FTSO (section 4) search them.

    A cell has seven nodes. Nodes 0 and 1 are the outputs of the last cell but one and of the last cell. Nodes 2 to 5
    are each the sum of the edges from all earlier nodes, 14 edges in all. The output is nodes 2 to 5, concatenated.

    | network        | `darts`: CIFAR-10         | `darts-imagenet`                  |
    | -------------- | ------------------------- | --------------------------------- |
    | stem           | 3x3 conv to 3 C           | 3x3 conv to C/2, to C, to C       |
    | its strides    | 1                         | 2, 2, 2                           |
    | cells          | 3, C = 36                 | 5, C = 24                         |
    | of stride 2    | L//3 and 2L//3 (from 0), where C doubles              ||
    | head           | global pooling, fully connected                       ||

    | operation                  | layers                                                         |
    | -------------------------- | -------------------------------------------------------------- |
    | sep_conv_3x3, sep_conv_5x5 | ReLU, depthwise, 1x1, batch norm, twice                        |
    | dil_conv_3x3, dil_conv_5x5 | ReLU, depthwise with dilation 2, 1x1, batch norm, once         |
    | max_pool_3x3, avg_pool_3x3 | pooling; in the search batch norm without scale and shift      |
    | skip_connect               | the identity; at stride 2 two shifted 1x1 convs, batch norm    |
    | none                       | none; it is the eighth operation                               |

HM-NAS takes any number of the seven operations on an edge, the same in all cells (`subset: true`, `cell_types: one`).
DARTS and FTSO take one of eight operations, and the two reduction cells have their own choices: `operations: 8`,
`subset: false`, `cell_types: two`. They search 8 cells of C = 16, and train 20 cells of C = 36 (`darts`) or 14 of
C = 48 (`darts-imagenet`) with `affine: true`, which leaves out the batch norm behind pooling, as DARTS's code does.
PC-DARTS and FTSO search with `partial: 4`. `parse` also reads the published form `Genotype(normal=[...], ...)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from search_spaces.architecture import NOTHING, Architecture, Choice
from search_spaces.cell.layout import CellLayout, Edge, NetworkLayout, PlacedOperation
from search_spaces.cell.operations import (
    Classifier,
    ConvNorm,
    FactorizedReduce,
    Operation,
    Pooling,
    SeparableConv,
    SkipConnect,
)
from search_spaces.cell.public_genotype import (
    SETTINGS_HINT,
    PublicGenotype,
    is_public_genotype,
    write_public_genotype,
)
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError, nearest
from search_spaces.family import Family
from search_spaces.layers.shapes import Place
from search_spaces.validation import Classes, Number, Width

OPERATIONS: dict[str, Operation] = {
    "max_pool_3x3": Pooling(greatest=True, norm=True),
    "avg_pool_3x3": Pooling(norm=True),
    "skip_connect": SkipConnect(),
    "sep_conv_3x3": SeparableConv(3, times=2),
    "sep_conv_5x5": SeparableConv(5, times=2),
    "dil_conv_3x3": SeparableConv(3, dilation=2),
    "dil_conv_5x5": SeparableConv(5, dilation=2),
}
TRAINED_OPERATIONS: dict[str, Operation] = {
    **OPERATIONS,
    "max_pool_3x3": Pooling(greatest=True),
    "avg_pool_3x3": Pooling(),
}
"""The operations of a network that is trained alone (`affine: true`): pooling has no batch norm."""
NODES = 6
"""The nodes of a cell without its output: two inputs, four sums."""
EDGES = NODES * (NODES - 1) // 2 - 1
"""The edges of a cell."""
SINGLE_OPERATIONS: dict[str, Any] = {"operations": 8, "subset": False, "cell_types": "two"}
"""The settings with which DARTS and FTSO search: one operation on an edge, two types of cells."""


def settings_of_text(text: str, name: str | None = None) -> dict[str, Any]:
    """Return the settings that the text of an architecture decides: `SINGLE_OPERATIONS`, or none.

    It decides them as a published `Genotype(...)`, or as the text of two types of cells without any `+`.

    Args:
        name: the name of the text's space, if the text does not begin with it.
    """
    own, _, body = text.rpartition(":")
    words = body.replace("|", " ").split()
    is_single = len(words) == 2 * EDGES and not {"+", "*"} & {*body}
    known = (name or own).strip() in ("darts", "darts-imagenet")
    return dict(SINGLE_OPERATIONS) if is_public_genotype(text) or (known and is_single) else {}


@dataclass(frozen=True, kw_only=True)
class DartsFamily(Family):
    """DARTS's cells for one data set. A call builds the space, with the caller's changes to the settings.

    Attributes:
        cells: how many cells.
        channels: C of the first cell.
        imagenet: whether the stem has ImageNet's three convolutions, and the auxiliary head no second batch norm.
    """

    cells: int
    channels: int
    imagenet: bool

    def __call__(
        self,
        *,
        cells: int | None = None,
        channels: int | None = None,
        operations: int | Sequence[str] = 7,
        cell_types: str = "one",
        subset: bool = True,
        affine: bool = False,
        partial: int = 1,
        width: float = 1.0,
        resolution: int | None = None,
        num_classes: int | None = None,
        stem_stride: int | None = None,
    ) -> DartsSpace:
        """Return the space; by default HM-NAS's.

        Args:
            cells: how many cells.
            channels: C of the first cell. The stem gives 3 C (`darts`), or C from its last two convolutions
                (`darts-imagenet`).
            operations: 7, 8 (with `none`), or a list of names.
            cell_types: `one` set of choices for all cells, or `two`: the second set is for the reduction cells.
            subset: whether an edge takes any number of its operations, or one operation.
            affine: whether batch norm within cells has a trainable scale and shift, and pooling none. DARTS trains its
                networks so, and searches with `affine: false`.
            partial: K of PC-DARTS: in the supernet an edge's operations run on one channel in K, and the other
                channels pass by. The network of an architecture, and its costs, have all channels.
            width: multiplies the channels; the product is rounded to an even number.
            resolution: the images' height and width in pixels.
            stem_stride: the stride of each convolution of the stem; 1 or 2 for `darts-imagenet`.

        Raises:
            UserError: if a setting cannot have its value, or the strides leave less than a pixel.
        """
        changes = {
            "cells": cells,
            "channels": channels,
            "operations": self._operation_names(operations),
            "cell_types": cell_types,
            "subset": subset,
            "affine": affine,
            "partial": partial,
            "width": width,
            "resolution": resolution,
            "num_classes": num_classes,
            "stem_stride": stem_stride,
        }
        return DartsSpace(self, self.complete_settings(DartsSettings, changes))

    def _operation_names(self, operations: object) -> list[str]:
        """Return the names of the operations, in the caller's order."""
        known = [NOTHING, *OPERATIONS]
        if operations in (7, 8):
            return known[8 - int(str(operations)) :]
        if not isinstance(operations, Sequence) or isinstance(operations, str) or not operations:
            raise UserError(f"{self.name}: operations cannot be {operations!r}; they are 7, 8, or a list of names.")
        for name in operations:
            if name not in known:
                raise UserError(f"{self.name} has no operation {name!r}; {nearest(str(name), known)}")
        if len(set(operations)) < len(operations):
            raise UserError(f"{self.name}: operations names one twice: {', '.join(operations)}.")
        return list(operations)


class DartsSettings(BaseModel):
    """The settings of the space, complete and within their ranges."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    cells: Number
    channels: Annotated[int, Field(ge=2, le=10_000)]
    operations: tuple[str, ...]
    cell_types: Literal["one", "two"]
    subset: bool
    affine: bool
    partial: Number
    width: Width
    resolution: Number
    num_classes: Classes
    stem_stride: Number


class DartsSpace(CellSpace):
    """Choices are named by the nodes of an edge: `node3.1`, or with two types of cells `normal3.1` and `reduce3.1`."""

    def __init__(self, family: DartsFamily, settings: DartsSettings) -> None:
        """Raises UserError if the settings contradict each other."""
        self.name = family.name
        self.paper = family.paper
        self.settings = settings.model_dump(mode="json")
        self.resolution = settings.resolution
        self.num_classes = settings.num_classes
        self.affine = settings.affine
        self.operations = TRAINED_OPERATIONS if settings.affine else OPERATIONS
        self.partial = settings.partial
        self.auxiliary_norm = not family.imagenet
        self._settings = settings
        self._imagenet = family.imagenet
        self._check_settings()
        self._edges = [(source, target) for target in range(2, NODES) for source in range(target)]
        self.choices = tuple(
            Choice(f"{kind}{target}.{source}", settings.operations, settings.subset)
            for kind in (["node"] if settings.cell_types == "one" else ["normal", "reduce"])
            for source, target in self._edges
        )
        self.surviving = (tuple(range(len(settings.operations))),) * len(self.choices)
        channels = self.layout().cells[0].edges[0].place.in_channels
        if channels % self.partial:
            raise UserError(
                f"{self.name}: {channels} channels have no part of one in {self.partial}: use a multiple of "
                f"{self.partial} channels, or another partial."
            )

    def _check_settings(self) -> None:
        settings = self._settings
        if settings.subset and NOTHING in settings.operations:
            raise UserError(
                f"{self.name}: operations has {NOTHING!r}, which edges with any number of operations do not need; "
                "leave it out, or set subset: false for edges with one operation."
            )
        if settings.cell_types == "two" and settings.cells < 3:
            raise UserError(f"{self.name}: {settings.cells} cells are of one type; use 3 or more, or cell_types: one.")
        if self._imagenet and settings.stem_stride > 2:
            raise UserError(
                f"{self.name}: stem_stride cannot be {settings.stem_stride}: the first cell can only halve the larger "
                "of its two inputs; use 1 or 2."
            )

    def only(self, architecture: Architecture) -> Self:
        """Return the space whose only architecture is this one. Its stand-alone network has all channels."""
        fixed = super().only(architecture)
        fixed.partial = 1
        fixed.settings = {**self.settings, "partial": 1}
        return fixed

    def parse(self, text: str) -> Architecture:
        """Return the architecture that `str()` wrote, or of a published `Genotype(...)`.

        Raises:
            UserError: as `SearchSpace.parse`; also if the text has another number of types of cells than the space.
        """
        if is_public_genotype(text):
            return self._parse_public(text)
        types = {len(self._edges): "one", 2 * len(self._edges): "two"}
        number = types.get(len(text.partition(":")[2].replace("|", " ").split()), self._settings.cell_types)
        if number != self._settings.cell_types:
            noun = "types" if number == "two" else "type"
            raise UserError(f"This text has cells of {number} {noun}: set cell_types: {number}.")
        return super().parse(text)

    def _parse_public(self, text: str) -> Architecture:
        name, colon, _ = text.partition("Genotype")[0].partition(":")
        if colon and name.strip() != self.name:
            raise UserError(f"This is not an architecture of {self.name}: the text begins with '{name.strip()}:'.")
        genotype = PublicGenotype.parse(text, NODES)
        kinds = ("normal", "reduce")[: 2 if self._settings.cell_types == "two" else 1]
        if len(kinds) == 1 and genotype.cells["normal"] != genotype.cells["reduce"]:
            raise UserError(f"This Genotype has two types of cells: {SETTINGS_HINT}.")
        places = [(kind, target, source) for kind in kinds for source, target in self._edges]
        values = [genotype.value(*place, choice) for place, choice in zip(places, self.choices, strict=True)]
        return self.architecture(values)

    def public_genotype(self, architecture: Architecture) -> PublicGenotype | None:
        """Return the architecture in its published form; None if a node does not have two operations as inputs."""
        return write_public_genotype(self.choices, self._edges, architecture)

    def _build_layout(self, resolution: int, num_classes: int) -> NetworkLayout:
        settings = self._settings
        channels = (
            max(2, 2 * round(settings.channels * settings.width / 2)) if settings.width != 1 else settings.channels
        )
        stem = self._stem(resolution, channels)
        before, last = [part.place for part in (stem[0], *stem)][-2:]
        reductions = {settings.cells // 3, 2 * settings.cells // 3}
        cells = []
        for number in range(settings.cells):
            reduced = number in reductions
            channels *= 2 if reduced else 1
            cells.append(self._cell(before, last, channels, reduced))
            size, stride = last.out_size, 2 if reduced else 1
            before, last = last, Place(channels, (NODES - 2) * channels, stride, size)
        classifier = PlacedOperation(Classifier(), Place(last.out_channels, num_classes, 1, last.out_size))
        return NetworkLayout(tuple(stem), tuple(cells), classifier)

    def _stem(self, resolution: int, channels: int) -> list[PlacedOperation]:
        stride = self._settings.stem_stride
        if not self._imagenet:
            return [PlacedOperation(ConvNorm(3, activation=False), Place(3, 3 * channels, stride, resolution))]
        first = Place(3, channels // 2, stride, resolution)
        second = Place(channels // 2, channels, stride, first.out_size)
        third = Place(channels, channels, stride, second.out_size)
        return [
            PlacedOperation(ConvNorm(3, activation=False), first),
            PlacedOperation(ConvNorm(3), second),
            PlacedOperation(ConvNorm(3), third),
        ]

    def _cell(self, before: Place, last: Place, channels: int, reduced: bool) -> CellLayout:
        """Return the layout of a cell after these two outputs.

        The outputs differ in size after a reduction; the larger is then halved.
        """
        larger = before.out_size > last.out_size
        inputs = (
            PlacedOperation(
                FactorizedReduce() if larger else ConvNorm(1),
                Place(before.out_channels, channels, 2 if larger else 1, before.out_size),
                self.affine,
            ),
            PlacedOperation(ConvNorm(1), Place(last.out_channels, channels, 1, last.out_size), self.affine),
        )
        stride = 2 if reduced else 1
        at_input = Place(channels, channels, stride, last.out_size)
        within = Place(channels, channels, 1, at_input.out_size)
        own_choices = len(self._edges) if reduced and self._settings.cell_types == "two" else 0
        edges = [
            Edge(own_choices + number, source, target, at_input if source < 2 else within)
            for number, (source, target) in enumerate(self._edges)
        ]
        return CellLayout(inputs, tuple(edges), NODES, stride, joined=True)


darts = DartsFamily(
    name="darts",
    paper="HM-NAS (Yan et al.), section 4.1: CIFAR-10",
    cells=3,
    channels=36,
    resolution=32,
    num_classes=10,
    stem_stride=1,
    imagenet=False,
)

darts_imagenet = DartsFamily(
    name="darts-imagenet",
    paper="HM-NAS (Yan et al.), section 4.1: ImageNet",
    cells=5,
    channels=24,
    resolution=224,
    num_classes=1000,
    stem_stride=2,
    imagenet=True,
)
