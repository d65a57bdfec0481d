"""HourNAS figure 2: the accuracy that a trained network keeps when the output of one of its blocks is masked.

    python -m benchmarks.hour_nas.block_importance [--epochs 20] [--npz FILE] [--draws 10] [--seed 0]
    python -m benchmarks.hour_nas.block_importance --fitted RUN

The network is a MobileNetV2 of half the width for images of 16 x 16, trained here on digits or on the images of an
.npz file; or one that `raynas fit` has trained into the run folder RUN, on the images of that run.

Each channel of what a block computes is reset to zero with probability p, for all test images alike. What a block
computes is F(x): of a residual block the branch, to which the input is still added. Blocks that compute nothing are
left out.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
import yaml
from torch import Tensor, nn

import search_spaces
from benchmarks.common.plain_training import name_of, read_images, testing_images, top1, train
from benchmarks.common.report import heading, picture, table
from raynas.data import Images, open_images
from raynas.recipe.recipe import Recipe
from raynas.results.fit_result import read_networks
from raynas.storage.run_folder import RunFolder
from raynas.study.run_plan import plan
from search_spaces import SearchSpace, UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROBABILITIES = (0.3, 0.6, 1.0)
RATE = 0.1


@dataclass(frozen=True)
class Masked:
    """One block: for each probability the accuracy in per cent that was left, of every draw of its mask."""

    name: str
    vital: bool
    left: dict[float, list[float]]

    def mean(self, probability: float) -> float:
        return float(np.mean(self.left[probability]))


@torch.no_grad()
def mask_blocks(
    space: SearchSpace, network: nn.Module, images: Tensor, labels: Tensor, draws: int, seed: int
) -> list[Masked]:
    """Mask one block after the other.

    Args:
        space: of layers, with this network as its one architecture.
        network: what `space.network` built: `stem`, `blocks` and `head` in sequence.
        draws: of a mask at each probability below 1.
    """
    network.eval()
    generator = torch.Generator().manual_seed(seed)
    vital = {choice.name for choice in space.vital()}
    stem, among, head = cast(nn.Sequential, network)
    blocks = list(among.children())
    features, measured = stem(images), []
    for position, (choice, block) in enumerate(zip(space.choices, blocks, strict=True)):
        onward = nn.Sequential(*blocks[position:], head)
        norms = [part for part in block.modules() if isinstance(part, nn.BatchNorm2d)]
        if norms:
            left = {
                p: [
                    top1(_with_mask(onward, norms[-1], features, p, generator), labels)
                    for _ in range(draws if p < 1 else 1)
                ]
                for p in PROBABILITIES
            }
            measured.append(Masked(choice.name, choice.name in vital, left))
        features = block(features)
    return measured


def _with_mask(
    onward: nn.Module, last: nn.BatchNorm2d, features: Tensor, probability: float, generator: torch.Generator
) -> Tensor:
    """Logits when channels of the block's last batch norm are zero: it stands before the input is added."""
    kept = torch.rand(last.num_features, generator=generator) >= probability
    hook = last.register_forward_hook(lambda _module, _inputs, output: output * kept[:, None, None])
    try:
        return cast(Tensor, onward(features))
    finally:
        hook.remove()


def trained_here(npz: Path | None, epochs: int, seed: int) -> tuple[SearchSpace, nn.Module, Images]:
    images = read_images(npz, 16, seed)
    classes = len(images.prepared.classes)
    strides = (1, 1, 2, 2, 1, 2, 1)
    space = search_spaces.load(
        "mobilenetv2", width=0.5, resolution=16, stem_stride=1, stage_strides=strides, num_classes=classes
    )
    torch.manual_seed(seed)
    network = space.network(space.sample(np.random.default_rng(seed))).to(memory_format=torch.channels_last)
    train(network, images, epochs, lambda done: RATE * (1 + math.cos(math.pi * done)) / 2, seed)
    return space, network, images


def fitted(run: str) -> tuple[SearchSpace, nn.Module, Images]:
    """The network that `raynas fit` trained in this run folder.

    Raises:
        UserError: if it trained none there, or several.
    """
    folder = RunFolder(run)
    networks = read_networks(folder)
    if len(networks) != 1:
        raise UserError(f"{run} holds {len(networks)} networks trained by `raynas fit`; give a folder that holds one.")
    planned = plan(Recipe.read(yaml.safe_load(folder.read("recipe.yaml"))), run)
    (fit,) = networks
    architecture = planned.space.parse(fit["architecture"])
    space = planned.space.only(architecture)
    network = space.network(architecture)
    network.load_state_dict(space.network_state(architecture, folder.read_tensors(fit["weights"])[0]))
    return space, network, open_images(planned.data)


def rows(measured: Sequence[Masked]) -> Iterator[list[str]]:
    """A row for each block, then the mean over the blocks of each kind."""
    for one in measured:
        figures = [f"{one.mean(p):.1f} ({min(one.left[p]):.1f})" for p in PROBABILITIES]
        yield [one.name, _kind(one.vital), *figures]
    for vital in (True, False):
        same = [one for one in measured if one.vital == vital]
        yield [
            f"mean of {len(same)}",
            _kind(vital),
            *(f"{np.mean([one.mean(p) for one in same]):.1f}" for p in PROBABILITIES),
        ]


def _kind(vital: bool) -> str:
    return "vital" if vital else "non-vital"


def plot(measured: Sequence[Masked], intact: float) -> Figure:
    """Figure 2: three bars for each block, vital blocks in red."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    panel = figure.subplots()
    for number, p in enumerate(PROBABILITIES):
        for vital, colour in ((True, "tab:red"), (False, "tab:blue")):
            places = [place + 0.27 * (number - 1) for place, one in enumerate(measured) if one.vital == vital]
            heights = [one.mean(p) for one in measured if one.vital == vital]
            panel.bar(places, heights, 0.25, color=colour, alpha=0.4 + 0.3 * number, label=f"{_kind(vital)}, p = {p}")
    panel.axhline(intact, color="black", linewidth=0.6)
    panel.set_xticks(range(len(measured)), [one.name for one in measured], rotation=60)
    panel.set(ylabel="top-1 (per cent)", ylim=(0, 100))
    panel.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hour_nas.block_importance", description=__doc__)
    parser.add_argument("--epochs", type=int, default=20, help="of training the network here")
    parser.add_argument("--npz", type=Path, help="the images to train it on, instead of digits")
    parser.add_argument("--fitted", metavar="RUN", help="a run folder of `raynas fit`, instead of training here")
    parser.add_argument("--draws", type=int, default=10, help="masks for each block and probability below 1")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    space, network, images = fitted(given.fitted) if given.fitted else trained_here(given.npz, given.epochs, given.seed)
    inputs, labels = testing_images(images)
    with torch.no_grad():
        intact = top1(network.eval()(inputs), labels)
    heading("What a network keeps when one of its blocks is masked", str(given.seed))
    name = name_of(images)
    print(f"{space.name} on {name}, {len(labels):,} test images: {intact:.1f} % as trained. Top-1 in per cent that is")
    print(
        "left when each channel of one block's F(x) is reset to zero with probability p, and the input is still added"
    )
    print(f"where there is a shortcut: mean of {given.draws} masks (least).\n")
    measured = mask_blocks(space, network, inputs, labels, given.draws, given.seed)
    table(("block", "kind", *(f"p = {p}" for p in PROBABILITIES)), rows(measured))
    picture(plot(measured, intact), f"block_importance_{name}", "Figure 2: the accuracy left, block by block")


if __name__ == "__main__":
    main()
