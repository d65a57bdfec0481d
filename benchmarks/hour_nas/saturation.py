"""HourNAS equation 11 and figure 5: how soon each convolution of a ResNet-20 has come to its final weights.

    python -m benchmarks.hour_nas.saturation [--epochs 200] [--npz FILE] [--seed 0]

The network is the paper's at half the width, for images of 16 x 16, trained on digits or on the images of an .npz file.
The learning rate falls from 0.1 tenfold at 50, 75 and 90 % of the epochs: of 200 at 100, 150 and 180, as in the paper.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

import search_spaces
from benchmarks.common.plain_training import name_of, read_images, testing_images, top1, train
from benchmarks.common.report import heading, picture, table
from raynas.data import Images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATE, FALLS = 0.1, (0.5, 0.75, 0.9)
HALF = 0.5
EARLY = 0.1
"""The share of the epochs after which the table shows C, too."""

Curves = Mapping[str, Sequence[float]]
"""C_t of each layer, after 0, 1, ..., T epochs."""


def saturation(weights: Sequence[Tensor]) -> list[float]:
    """Equation 11: C_t = 1 - |w_t - w_T| / |w_0 - w_T|, by the Frobenius norm, of a layer's weights at t = 0 to T.

    Raises:
        ZeroDivisionError: if the weights end where they began.
    """
    distances = [torch.linalg.vector_norm(one - weights[-1]).item() for one in weights]
    return [1 - distance / distances[0] for distance in distances]


def epochs_to(level: float, curve: Sequence[float]) -> float:
    """When a curve first reaches a level, between epochs by a straight line; it ends at 1."""
    after = next(epoch for epoch, reached in enumerate(curve) if reached >= level)
    if after == 0:
        return 0.0
    before = curve[after - 1]
    return after - 1 + (level - before) / (curve[after] - before)


def resnet20_curves(images: Images, epochs: int, seed: int) -> tuple[Curves, float]:
    """Train a ResNet-20, and follow every convolution; with its top-1 accuracy on the test images, in per cent."""
    resolution, classes = images.prepared.resolution, len(images.prepared.classes)
    space = search_spaces.load("resnet20", width=0.5, resolution=resolution, num_classes=classes)
    torch.manual_seed(seed)
    network = space.network(space.sample(np.random.default_rng(seed))).to(memory_format=torch.channels_last)
    history: dict[str, list[Tensor]] = {
        name: [layer.weight.detach().clone()] for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)
    }

    def remember() -> None:
        for name, weights in history.items():
            weights.append(network.get_parameter(f"{name}.weight").detach().clone())

    train(network, images, epochs, lambda done: RATE * 0.1 ** sum(done >= fall for fall in FALLS), seed, remember)
    inputs, labels = testing_images(images)
    with torch.no_grad():
        reached = top1(network.eval()(inputs), labels)
    return {name: saturation(weights) for name, weights in history.items()}, reached


def stage_of(layer: str) -> str:
    """`stem`, or `block1` to `block3` as the paper says, of `blocks.stage1-2.first.0`."""
    return layer.partition(".")[0] if layer.startswith("stem") else f"block{layer.partition('stage')[2][0]}"


def is_downsampling(layer: str) -> bool:
    """Whether the layer is of a block that halves the images: the first of block2 and of block3."""
    return layer.startswith(("blocks.stage2-1.", "blocks.stage3-1."))


def rows(curves: Curves) -> Iterator[list[str]]:
    for layer, curve in curves.items():
        kind = "downsampling" if is_downsampling(layer) else "stem" if stage_of(layer) == "stem" else "other"
        early = round(EARLY * (len(curve) - 1))
        yield [_short(layer), kind, f"{epochs_to(HALF, curve):.1f}", f"{curve[early]:.2f}"]


def mean_rows(curves: Curves) -> Iterator[list[str]]:
    """The mean over the layers of each stage: of the downsampling block, and of the others."""
    for stage in ("block1", "block2", "block3"):
        for downsampling in (True, False):
            same = [
                curve
                for layer, curve in curves.items()
                if stage_of(layer) == stage and is_downsampling(layer) == downsampling
            ]
            if same:
                kind = "downsampling" if downsampling else "other"
                early = round(EARLY * (len(same[0]) - 1))
                half = np.mean([epochs_to(HALF, curve) for curve in same])
                yield [stage, kind, str(len(same)), f"{half:.1f}", f"{np.mean([curve[early] for curve in same]):.2f}"]


def _short(layer: str) -> str:
    return layer.removeprefix("blocks.").removesuffix(".0")


def plot(curves: Curves) -> Figure:
    """Figure 5: a panel for each stage, the downsampling block's layers in red."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    stages = ("block1", "block2", "block3")
    for panel, stage in zip(figure.subplots(1, 3, sharey=True), stages, strict=True):
        for layer, curve in curves.items():
            if stage_of(layer) == stage:
                block = int(layer.partition("-")[2][0])
                colour = "tab:red" if is_downsampling(layer) else ("tab:blue", "tab:green", "tab:gray")[block - 1]
                panel.plot(curve, label=_short(layer), color=colour, linestyle="--" if "second" in layer else "-")
        panel.set(title=stage, xlabel="epochs")
        panel.legend(fontsize="small")
    figure.axes[0].set_ylabel("C")
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hour_nas.saturation", description=__doc__)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--npz", type=Path, help="the images, instead of digits")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    images = read_images(given.npz, 16, given.seed)
    heading("How soon each layer comes to its final weights", str(given.seed))
    curves, reached = resnet20_curves(images, given.epochs, given.seed)
    name = name_of(images)
    print(
        f"ResNet-20, half as wide, on {name} at 16 x 16, {given.epochs} epochs: {reached:.1f} % top-1 on test images.\n"
    )
    table(("layer", "of a block that is", "epochs to C = 0.5", f"C after {EARLY:.0%} of the epochs"), rows(curves))
    table(("stage", "block", "layers", "epochs to C = 0.5", f"C after {EARLY:.0%} of the epochs"), mean_rows(curves))
    picture(plot(curves), f"saturation_{name}", "Figure 5: C of every layer over the epochs")


if __name__ == "__main__":
    main()
