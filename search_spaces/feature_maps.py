"""A network without its classifier, for detection and segmentation heads: feature maps by name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from search_spaces.cell.supernet import CellNetwork
from search_spaces.errors import UserError

LAST = "out"
"""The deepest feature map, by the name that torchvision's segmentation heads expect."""


class FeatureMaps(nn.Module):
    """The last feature map of each size: images (N, 3, H, W) to maps by name, the largest first.

    `stride4` has a quarter of the images' height and width; the deepest map is `out`. The layers that classify, after
    the last block, are removed, and so are layers after the last map.

    Attributes:
        channels: the number of channels of each map, in the same order.
    """

    def __init__(self, network: nn.Module, resolution: int) -> None:
        """Remove the classifier from a network of a search space.

        Args:
            resolution: the images' height and width in pixels.

        Raises:
            UserError: if the network does not consist of blocks or cells.
        """
        super().__init__()
        if not isinstance(network, CellNetwork) and not {"stem", "blocks"} <= dict(network.named_children()).keys():
            raise UserError("Only networks of blocks or of cells have feature maps, and this network has neither.")
        self.network = network
        if isinstance(network, CellNetwork):
            network.head = nn.Identity()
        else:
            del network.head
        sizes = self._sizes(resolution)
        last = {size: place for place, (size, _) in enumerate(sizes)}
        deepest = len(sizes) - 1
        self._names = {
            place: LAST if place == deepest else f"stride{round(resolution / size)}" for size, place in last.items()
        }
        self.channels = OrderedDict((name, sizes[place][1]) for place, name in self._names.items())

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return OrderedDict(
            (self._names[place], features)
            for place, features in enumerate(self._outputs(images))
            if place in self._names
        )

    def _outputs(self, images: Tensor) -> Iterable[Tensor]:
        """Return the output of each cell, or of the stem and each block."""
        if isinstance(self.network, CellNetwork):
            cells: list[Tensor] = []
            self.network.run(images, self.network.run_edge, lambda number, features: cells.append(features))
            return cells
        blocks = self.network.get_submodule("blocks").children()
        return _run_in_turn(images, [self.network.get_submodule("stem"), *blocks])

    def _sizes(self, resolution: int) -> list[tuple[int, int]]:
        """Return height in pixels and channels of each output."""
        self.network.eval()
        with torch.no_grad():
            outputs = list(self._outputs(torch.zeros(1, 3, resolution, resolution)))
        self.network.train()
        return [(features.shape[2], features.shape[1]) for features in outputs]


def _run_in_turn(features: Tensor, modules: Iterable[nn.Module]) -> Iterator[Tensor]:
    for module in modules:
        features = module(features)
        yield features
