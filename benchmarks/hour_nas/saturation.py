"""When does each convolution of a ResNet-20 reach its final weights (HourNAS equation 11 and figure 5)?

    python -m benchmarks.hour_nas.saturation [--epochs 200] [--npz FILE] [--seeds 0 1 2]

The network is the paper's at half the width, for images of 16 x 16, trained on the digits or on the images of an .npz
file. The learning rate begins at 0.1 and falls tenfold at 50, 75 and 90 % of the epochs: for 200 epochs at 100, 150 and
180, as in the paper.

Each seed trains on the true labels and on shuffled labels, where no layer learns features of digits. What shows on both
does not come from what the layers learn.

Prints the accuracies, a table of the layers, a table of the downsampling blocks against the other blocks of their
stage, and figure 5 of the first seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

import search_spaces
from benchmarks.common.arguments import add_npz, add_seeds, command_parser
from benchmarks.common.plain_training import data_name, measure_test_top1, read_images, shuffle_labels, train
from benchmarks.common.report import print_heading, print_table, save_figure, spread
from raynas.data import Images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATE, FALLS = 0.1, (0.5, 0.75, 0.9)
HALF = 0.5

Curves = Mapping[str, Sequence[float]]
"""C_t of each layer after 0, 1, ..., T epochs."""


def saturation(weights: Sequence[Tensor]) -> list[float]:
    """Return equation 11: C_t = 1 - |w_t - w_T| / |w_0 - w_T|, by the Frobenius norm, for t = 0 to T.

    Args:
        weights: a layer's weights at t = 0 to T.

    Raises:
        ZeroDivisionError: if the weights end where they began.
    """
    distances = [torch.linalg.vector_norm(tensor - weights[-1]).item() for tensor in weights]
    return [1 - distance / distances[0] for distance in distances]


def epochs_to(level: float, curve: Sequence[float]) -> float:
    """Return the epoch at which a curve first reaches a level, interpolated by a straight line. The curve ends at 1."""
    after = next(epoch for epoch, reached in enumerate(curve) if reached >= level)
    if after == 0:
        return 0.0
    before = curve[after - 1]
    return after - 1 + (level - before) / (curve[after] - before)


def train_resnet20(images: Images, epochs: int, seed: int) -> tuple[Curves, float]:
    """Train a ResNet-20. Returns the curve of every convolution, and top-1 on the test images in per cent."""
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
    accuracy = measure_test_top1(network, images)
    return {name: saturation(weights) for name, weights in history.items()}, accuracy


def stage_of(layer: str) -> str:
    """Return `stem`, or the paper's names `block1` to `block3`, for a layer such as `blocks.stage1-2.first.0`."""
    return layer.partition(".")[0] if layer.startswith("stem") else f"block{layer.partition('stage')[2][0]}"


def is_downsampling(layer: str) -> bool:
    """Return whether the layer belongs to a block that halves the images: the first of block2 and of block3."""
    return layer.startswith(("blocks.stage2-1.", "blocks.stage3-1."))


def layer_rows(true: Sequence[Curves], shuffled: Sequence[Curves]) -> Iterator[list[str]]:
    """Yield the cells of each layer: its kind, and the epochs to C = 0.5 over the seeds, on both labels."""
    for layer in true[0]:
        kind = "downsampling" if is_downsampling(layer) else "stem" if stage_of(layer) == "stem" else "other"
        halves = ([epochs_to(HALF, curves[layer]) for curves in of_labels] for of_labels in (true, shuffled))
        yield [_short(layer), kind, *(spread(half, 1) for half in halves)]


def lead_rows(true: Sequence[Curves], shuffled: Sequence[Curves]) -> Iterator[list[str]]:
    """Yield the epochs that a kind of layers is sooner half-way than the layers it is held against, on both labels."""
    for name, ahead, behind in LEADS:
        leads = [
            [_mean_half(curves, behind) - _mean_half(curves, ahead) for curves in of_labels]
            for of_labels in (true, shuffled)
        ]
        sooner = (f"{sum(lead > 0 for lead in of_labels)} of {len(of_labels)}" for of_labels in leads)
        cells = zip((spread(of_labels, 1) for of_labels in leads), sooner, strict=True)
        yield [name, *(cell for pair in cells for cell in pair)]


def _is_other_of(stage: str) -> Callable[[str], bool]:
    return lambda layer: stage_of(layer) == stage and not is_downsampling(layer)


def _is_downsampling_of(stage: str) -> Callable[[str], bool]:
    return lambda layer: stage_of(layer) == stage and is_downsampling(layer)


LEADS: Sequence[tuple[str, Callable[[str], bool], Callable[[str], bool]]] = (
    ("stem before all other layers", lambda layer: stage_of(layer) == "stem", lambda layer: stage_of(layer) != "stem"),
    *(
        (f"downsampling before other blocks of {stage}", _is_downsampling_of(stage), _is_other_of(stage))
        for stage in ("block2", "block3")
    ),
)


def _mean_half(curves: Curves, chosen: Callable[[str], bool]) -> float:
    return float(np.mean([epochs_to(HALF, curve) for layer, curve in curves.items() if chosen(layer)]))


def _short(layer: str) -> str:
    return layer.removeprefix("blocks.").removesuffix(".0")


def plot(curves: Curves) -> Figure:
    """Draw figure 5: a panel for each stage, the downsampling block's layers in red."""
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
    parser = command_parser("hour_nas.saturation", __doc__)
    parser.add_argument("--epochs", type=int, default=200, help="epochs of training (default: 200)")
    add_npz(parser)
    add_seeds(parser, (0, 1, 2))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print_heading("When each layer reaches its final weights", " ".join(map(str, options.seeds)))
    trained: dict[str, list[Curves]] = {"true": [], "shuffled": []}
    accuracies: dict[str, list[float]] = {"true": [], "shuffled": []}
    for seed in options.seeds:
        images = read_images(options.npz, 16, seed)
        for labels, shown in (("true", images), ("shuffled", shuffle_labels(images, seed))):
            curves, top1 = train_resnet20(shown, options.epochs, seed)
            trained[labels].append(curves)
            accuracies[labels].append(top1)
    name = data_name(images)
    print(f"ResNet-20 of half the width on {name} at 16 x 16, {options.epochs} epochs. Top-1 on test images:")
    print(", ".join(f"{spread(top1s, 1)} % with {labels} labels" for labels, top1s in accuracies.items()) + ".\n")
    print_table(("layer", "kind of block", "epochs to C = 0.5", "shuffled labels"), layer_rows(**trained))
    header = ("epochs ahead", "true labels", "seeds", "shuffled labels", "seeds")
    print_table(header, lead_rows(**trained))
    save_figure(plot(trained["true"][0]), f"saturation_{name}", "Figure 5: C of every layer over the epochs")


if __name__ == "__main__":
    main()
