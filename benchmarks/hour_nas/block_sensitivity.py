"""HourNAS appendix A and figure 4: which blocks matter most? Each block of a network takes every operation in turn.

    python -m benchmarks.hour_nas.block_sensitivity [--epochs 6] [--supernet-epochs 60]
        [--backbones k3e6 k5e6] [--npz FILE]

The network is table 6's, at a quarter of the width and for images of 8 x 8. A backbone has one operation in all
blocks; a block then takes each of the seven operations while the others keep theirs, and every network so made is
trained alone. The same networks are measured with the weights of one supernet, too. All six backbones make 12 x 7 x 6 =
504 networks, the paper's number, of which 438 differ.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from benchmarks.common.plain_training import BATCH, name_of, read_images, testing_images, top1, train
from benchmarks.common.report import heading, picture, table
from raynas.data import Images, training_batch
from raynas.evaluation.evaluator import Evaluator
from raynas.recipe.settings import EvaluationSettings
from raynas.training.learning_rate import epoch_batches
from search_spaces import Architecture, SearchSpace
from search_spaces.chain.space import ChainFamily, Stage

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
"""Top-1 accuracies in per cent by (backbone, block), one an operation."""


def small(classes: int) -> SearchSpace:
    """Table 6's network for images of 8 x 8: strides of the stem and the first stages are 1."""
    return TABLE_6(
        width=0.25, resolution=RESOLUTION, num_classes=classes, stem_stride=1, stage_strides=[1, 1, 2, 1, 1, 2, 1]
    )


def variants(space: SearchSpace, backbone: str) -> dict[str, list[Architecture]]:
    """For each block the backbone with each of the seven operations there."""
    base = [choice.options.index(backbone) for choice in space.choices]
    return {
        choice.name: [
            space.architecture([*base[:position], option, *base[position + 1 :]])
            for option in range(len(choice.options))
        ]
        for position, choice in enumerate(space.choices)
    }


def alone(space: SearchSpace, architecture: Architecture, images: Images, epochs: int, seed: int) -> float:
    """The top-1 accuracy on the test images of a network trained alone, in per cent."""
    torch.manual_seed(seed)
    network = space.network(architecture).to(memory_format=torch.channels_last)
    train(network, images, epochs, lambda done: RATE * (1 - done), seed)
    inputs, labels = testing_images(images)
    with torch.no_grad():
        return top1(network.eval()(inputs), labels)


def one_shot(space: SearchSpace, asked: Sequence[Architecture], images: Images, epochs: int, seed: int) -> list[float]:
    """Top-1 accuracies in per cent with the weights of a supernet trained one uniform path a step."""
    torch.manual_seed(seed)
    supernet = space.supernet()
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
    return [answer["top1"] for answer in evaluator.one_shot(supernet, asked)]


def measure(space: SearchSpace, backbones: Sequence[str], images: Images, epochs: int, seed: int) -> Accuracies:
    """Train every network of these backbones alone, each that occurs several times once."""
    known: dict[Architecture, float] = {}
    found: dict[tuple[str, str], list[float]] = {}
    for backbone in backbones:
        for block, networks in variants(space, backbone).items():
            for one in networks:
                if one not in known:
                    known[one] = alone(space, one, images, epochs, seed)
            found[backbone, block] = [known[one] for one in networks]
    return found


def rows(space: SearchSpace, by_itself: Accuracies, shared: Accuracies) -> Iterator[list[str]]:
    """Mean and standard deviation over the seven operations."""
    vital = {choice.name for choice in space.vital()}
    for (backbone, block), values in by_itself.items():
        kind = "vital" if block in vital else ""
        yield [backbone, block, kind, spread(values), spread(shared[backbone, block])]


def mean_rows(space: SearchSpace, by_itself: Accuracies, shared: Accuracies) -> Iterator[list[str]]:
    """The mean standard deviation of vital and of other blocks, by backbone."""
    vital = {choice.name for choice in space.vital()}
    for backbone in dict.fromkeys(backbone for backbone, _ in by_itself):
        cells = [
            np.mean(
                [np.std(values) for (one, block), values in found.items() if (one, block in vital) == (backbone, kind)]
            )
            for found in (by_itself, shared)
            for kind in (True, False)
        ]
        yield [backbone, *(f"{cell:.2f}" for cell in cells)]


def spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f} ± {np.std(values):.2f}"


def plot(space: SearchSpace, found: Accuracies) -> Figure:
    """Figure 4: a panel for each backbone, mean and standard deviation of each block; vital blocks in red."""
    from matplotlib.figure import Figure

    vital = {choice.name for choice in space.vital()}
    backbones = list(dict.fromkeys(backbone for backbone, _ in found))
    columns = min(3, len(backbones))
    rows = -(-len(backbones) // columns)
    figure = Figure(figsize=(5 * columns, 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, backbone in zip(panels, backbones, strict=False):
        blocks = [choice.name for choice in space.choices]
        values = [found[backbone, block] for block in blocks]
        colours = ["tab:red" if block in vital else "tab:green" for block in blocks]
        panel.bar(blocks, [np.mean(one) for one in values], yerr=[np.std(one) for one in values], color=colours)
        panel.set(title=f"others {backbone}", ylabel="top-1 (per cent)")
        panel.tick_params(axis="x", rotation=60)
        low, high = (sign(np.mean(one) + side * np.std(one) for one in values) for sign, side in ((min, -1), (max, 1)))
        panel.set_ylim(low - 1, high + 1)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hour_nas.block_sensitivity", description=__doc__)
    parser.add_argument("--epochs", type=int, default=6, help="of each network alone")
    parser.add_argument("--supernet-epochs", type=int, default=60)
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--npz", type=Path, help="the images, instead of digits")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    images = read_images(given.npz, RESOLUTION, given.seed)
    space = small(len(images.prepared.classes))
    heading("Which blocks matter most", str(given.seed))
    by_itself = measure(space, given.backbones, images, given.epochs, given.seed)
    places = {(b, block): networks for b in given.backbones for block, networks in variants(space, b).items()}
    distinct = list(dict.fromkeys(one for networks in places.values() for one in networks))
    answers = one_shot(space, distinct, images, given.supernet_epochs, given.seed)
    known = dict(zip(distinct, answers, strict=True))
    shared = {place: [known[one] for one in networks] for place, networks in places.items()}
    name = name_of(images)
    print(
        f"{len(distinct)} networks on {name} at 8 x 8, each trained alone for {given.epochs} epochs; the supernet "
        f"for {given.supernet_epochs}. Top-1 on test images in per cent, mean ± standard deviation over 7 operations.\n"
    )
    table(("others", "block", "", "trained alone", "one-shot"), rows(space, by_itself, shared))
    columns = ("others", "alone: vital", "not vital", "one-shot: vital", "not vital")
    print("The mean standard deviation of both kinds of blocks:\n")
    table(columns, mean_rows(space, by_itself, shared))
    picture(plot(space, by_itself), f"block_sensitivity_{name}", "Figure 4: each block takes seven operations in turn")


if __name__ == "__main__":
    main()
