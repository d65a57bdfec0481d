"""Which blocks matter most (HourNAS appendix A and figure 4)? Each block of a network takes every operation in turn.

    python -m benchmarks.hour_nas.block_sensitivity [--epochs 6] [--supernet-epochs 60]
        [--backbones k3e6 k5e6] [--initial-gamma 1] [--shuffled]
        [--npz FILE]

The network is table 6's, at a quarter of the width and for images of 8 x 8. A backbone has one operation in all
blocks. One block takes each of the seven operations, and the other blocks keep theirs. Every network is trained
stand-alone, and also measured with the weights of one supernet. All six backbones have 12 x 7 x 6 = 504 networks, the
paper's number; 438 of them are distinct.

Prints the accuracies of every backbone and block, the mean standard deviations of vital and of other blocks, and a bar
plot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from benchmarks.common.arguments import add_npz, add_seed, command_parser
from benchmarks.common.plain_training import BATCH, data_name, measure_test_top1, read_images, shuffle_labels, train
from benchmarks.common.report import print_heading, print_table, save_figure, spread
from raynas.data import Images, training_batch
from raynas.evaluation.evaluator import Evaluator
from raynas.recipe.settings import EvaluationSettings
from raynas.training.epoch_schedule import epoch_batches
from search_spaces import Architecture, SearchSpace
from search_spaces.chain.space import ChainFamily, Stage
from search_spaces.layers.initialise import set_initial_gamma

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BACKBONES = tuple(f"k{kernel}e{expansion}" for kernel in (3, 5) for expansion in (1, 3, 6))
OPERATIONS = (*BACKBONES, "skip")
RATE = 0.1
RESOLUTION = 8

TABLE_6 = ChainFamily(
    name="sensitivity",
    paper="HourNAS (Yang et al.), table 6",
    stages=tuple(
        Stage(channels=channels, repeats=repeats, stride=stride, first=OPERATIONS)
        for channels, repeats, stride in (
            (16, 1, 1),
            (24, 2, 2),
            (32, 2, 2),
            (64, 2, 2),
            (112, 2, 1),
            (184, 2, 2),
            (352, 1, 1),
        )
    ),
    stem_channels=16,
    stem_stride=2,
    head_channels=1984,
    resolution=224,
    num_classes=100,
    keep_expand=True,
)

Accuracies = Mapping[tuple[str, str], Sequence[float]]
"""By (backbone, block): top-1 accuracies in per cent, one for each operation."""


def small_space(classes: int) -> SearchSpace:
    """Return the space of table 6's network for images of 8 x 8: the stem and the first stages have stride 1."""
    return TABLE_6(
        width=0.25, resolution=RESOLUTION, num_classes=classes, stem_stride=1, stage_strides=[1, 1, 2, 1, 1, 2, 1]
    )


def variants(space: SearchSpace, backbone: str) -> dict[str, list[Architecture]]:
    """Return for each block the backbone with each of the seven operations in this block."""
    base = [choice.options.index(backbone) for choice in space.choices]
    return {
        choice.name: [
            space.architecture([*base[:position], option, *base[position + 1 :]])
            for option in range(len(choice.options))
        ]
        for position, choice in enumerate(space.choices)
    }


def train_standalone(
    space: SearchSpace, architecture: Architecture, images: Images, epochs: int, gamma: float, seed: int
) -> float:
    """Train a network stand-alone. Returns its top-1 accuracy on the test images in per cent."""
    torch.manual_seed(seed)
    network = space.network(architecture).to(memory_format=torch.channels_last)
    set_initial_gamma(network, gamma)
    train(network, images, epochs, lambda done: RATE * (1 - done), seed)
    return measure_test_top1(network, images)


def measure_one_shot(
    space: SearchSpace, architectures: Sequence[Architecture], images: Images, epochs: int, gamma: float, seed: int
) -> list[float]:
    """Train a supernet, one uniform path in each training step. Returns one-shot accuracies in per cent."""
    torch.manual_seed(seed)
    supernet = space.supernet()
    set_initial_gamma(supernet, gamma)
    supernet.to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(supernet.parameters(), momentum=0.9, weight_decay=1e-4)
    for epoch in range(epochs):
        batches = epoch_batches(images.rows("all-training"), BATCH, [seed, epoch])
        for step, rows in enumerate(batches):
            for group in sgd.param_groups:
                group["lr"] = RATE * (1 - (epoch + step / len(batches)) / epochs)
            inputs, labels = training_batch(images, rows, seed, epoch, step)
            path = space.sample(np.random.default_rng([seed, epoch, step]))
            torch.autograd.backward(functional.cross_entropy(supernet.train()(inputs, path), labels))
            sgd.step()
            sgd.zero_grad()
    settings = EvaluationSettings(recalibration_images=256, recalibration_batch_size=128)
    evaluator = Evaluator(space, images, settings, torch.device("cpu"), part="test")
    return [figures["top1"] for figures in evaluator.one_shot(supernet, architectures)]


def measure_standalone(
    space: SearchSpace, backbones: Sequence[str], images: Images, epochs: int, gamma: float, seed: int
) -> Accuracies:
    """Train every network of these backbones stand-alone, equal architectures once."""
    known: dict[Architecture, float] = {}
    accuracies: dict[tuple[str, str], list[float]] = {}
    for backbone in backbones:
        for block, architectures in variants(space, backbone).items():
            for architecture in architectures:
                if architecture not in known:
                    known[architecture] = train_standalone(space, architecture, images, epochs, gamma, seed)
            accuracies[backbone, block] = [known[architecture] for architecture in architectures]
    return accuracies


def rows(space: SearchSpace, standalone: Accuracies, one_shot: Accuracies) -> Iterator[list[str]]:
    """Yield mean and standard deviation over the seven operations, for each backbone and block."""
    vital = {choice.name for choice in space.vital()}
    for (backbone, block), values in standalone.items():
        kind = "vital" if block in vital else ""
        yield [backbone, block, kind, spread(values, 2), spread(one_shot[backbone, block], 2)]


def mean_rows(space: SearchSpace, standalone: Accuracies, one_shot: Accuracies) -> Iterator[list[str]]:
    """Yield the mean standard deviations of vital and of other blocks, for each backbone."""
    vital = {choice.name for choice in space.vital()}
    for backbone in dict.fromkeys(backbone for backbone, _ in standalone):
        cells = [
            np.mean(
                [
                    np.std(values)
                    for (other, block), values in accuracies.items()
                    if (other, block in vital) == (backbone, kind)
                ]
            )
            for accuracies in (standalone, one_shot)
            for kind in (True, False)
        ]
        yield [backbone, *(f"{cell:.2f}" for cell in cells)]


def plot(space: SearchSpace, accuracies: Accuracies) -> Figure:
    """Draw figure 4: a panel for each backbone, mean and standard deviation of each block; vital blocks in red."""
    from matplotlib.figure import Figure

    vital = {choice.name for choice in space.vital()}
    backbones = list(dict.fromkeys(backbone for backbone, _ in accuracies))
    columns = min(3, len(backbones))
    rows = -(-len(backbones) // columns)
    figure = Figure(figsize=(5 * columns, 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, backbone in zip(panels, backbones, strict=False):
        blocks = [choice.name for choice in space.choices]
        values = [accuracies[backbone, block] for block in blocks]
        colours = ["tab:red" if block in vital else "tab:green" for block in blocks]
        means, deviations = [np.mean(tops) for tops in values], [np.std(tops) for tops in values]
        panel.bar(blocks, means, yerr=deviations, color=colours)
        panel.set(title=f"others {backbone}", ylabel="top-1 (per cent)")
        panel.tick_params(axis="x", rotation=60)
        low = min(mean - deviation for mean, deviation in zip(means, deviations, strict=True))
        high = max(mean + deviation for mean, deviation in zip(means, deviations, strict=True))
        panel.set_ylim(low - 1, high + 1)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("hour_nas.block_sensitivity", __doc__)
    parser.add_argument("--epochs", type=int, default=6, help="epochs of each stand-alone training (default: 6)")
    parser.add_argument("--supernet-epochs", type=int, default=60, help="epochs of the supernet (default: 60)")
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES), help="default: all six")
    text = "scale with which the last batch norm of each residual branch begins (default: 0)"
    parser.add_argument("--initial-gamma", type=float, default=0.0, help=text)
    text = "train on shuffled labels: the control, which has nothing to learn"
    parser.add_argument("--shuffled", action="store_true", help=text)
    add_npz(parser)
    add_seed(parser)
    options = parser.parse_args(arguments)
    gamma = options.initial_gamma
    torch.set_num_threads(1)
    images = read_images(options.npz, RESOLUTION, options.seed)
    images = shuffle_labels(images, options.seed) if options.shuffled else images
    space = small_space(len(images.prepared.classes))
    print_heading("The blocks that matter most", str(options.seed))
    standalone = measure_standalone(space, options.backbones, images, options.epochs, gamma, options.seed)
    networks = {
        (backbone, block): architectures
        for backbone in options.backbones
        for block, architectures in variants(space, backbone).items()
    }
    distinct = list(dict.fromkeys(architecture for group in networks.values() for architecture in group))
    accuracies = measure_one_shot(space, distinct, images, options.supernet_epochs, gamma, options.seed)
    known = dict(zip(distinct, accuracies, strict=True))
    one_shot = {place: [known[architecture] for architecture in group] for place, group in networks.items()}
    name = data_name(images)
    name += "_shuffled" if options.shuffled else ""
    print(f"{len(distinct)} networks on {name} at 8 x 8, residual branches that begin at {gamma:g}.")
    print(f"{options.epochs} epochs stand-alone, {options.supernet_epochs} of the supernet.")
    print("Top-1 on test images in per cent, mean ± standard deviation over 7 operations.\n")
    print_table(("others", "block", "", "stand-alone", "one-shot"), rows(space, standalone, one_shot))
    columns = ("others", "stand-alone: vital", "not vital", "one-shot: vital", "not vital")
    print("The mean standard deviation of both kinds of blocks:\n")
    print_table(columns, mean_rows(space, standalone, one_shot))
    title = "Figure 4: each block takes seven operations in turn"
    save_figure(plot(space, standalone), f"block_sensitivity_{name}_{gamma:g}", title)


if __name__ == "__main__":
    main()
