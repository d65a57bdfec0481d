"""What accuracy does a trained network keep if the output of one of its blocks is masked (HourNAS figure 2)?

    python -m benchmarks.hour_nas.block_importance [--epochs 20] [--npz FILE] [--draws 10] [--seeds 3]
    python -m benchmarks.hour_nas.block_importance --standalone RUN

The networks are MobileNetV2 of half the width for images of 16 x 16, trained by this command on the digits or on the
images of an .npz file. The last batch norm of each residual branch begins with a scale of 0, as in raynas, or of 1.
With 0 a branch begins as nothing, and may stay so. With `--standalone` it is the network that `raynas fit` trained in
the run folder RUN.

A mask resets each channel of the block's F(x) to zero with probability p, the same channels for all test images. F(x)
of a residual block is its branch; the input is still added. Blocks without a computation are left out.

Prints for each initial scale the accuracies block by block, with a bar plot, and at last both side by side.
"""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
import yaml
from torch import Tensor, nn

import search_spaces
from benchmarks.common.arguments import add_npz, add_seed_count, command_parser
from benchmarks.common.plain_training import data_name, measure_test_top1, read_images, read_test_images, top1, train
from benchmarks.common.report import print_heading, print_table, save_figure, spread
from raynas.data import Images, open_images
from raynas.recipe.recipe import Recipe
from raynas.results.fit_result import read_networks
from raynas.storage.run_folder import RunFolder
from raynas.study.run_plan import plan
from search_spaces import SearchSpace, UserError
from search_spaces.layers.initialise import set_initial_gamma

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAMMAS = (0.0, 1.0)
PROBABILITIES = (0.3, 0.6, 1.0)
RATE = 0.1


@dataclass(frozen=True)
class MaskedBlock:
    """One block; for each probability the accuracies in per cent, one for every mask."""

    name: str
    vital: bool
    top1: dict[float, list[float]]

    def mean(self, probability: float) -> float:
        return float(np.mean(self.top1[probability]))


@torch.no_grad()
def mask_blocks(
    space: SearchSpace, network: nn.Module, images: Tensor, labels: Tensor, draws: int, seed: int
) -> list[MaskedBlock]:
    """Mask one block after the other and measure the network.

    Args:
        space: a chain space with this network as its one architecture.
        network: the sequence of `stem`, `blocks` and `head` that `space.network` builds.
        draws: the number of masks for each probability below 1.
    """
    network.eval()
    generator = torch.Generator().manual_seed(seed)
    vital = {choice.name for choice in space.vital()}
    stem, block_sequence, head = cast(nn.Sequential, network)
    blocks = list(block_sequence.children())
    features, measured = stem(images), []
    for position, (choice, block) in enumerate(zip(space.choices, blocks, strict=True)):
        remainder = nn.Sequential(*blocks[position:], head)
        norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
        if norms:
            accuracies = {
                p: [
                    top1(_masked_logits(remainder, norms[-1], features, p, generator), labels)
                    for _ in range(draws if p < 1 else 1)
                ]
                for p in PROBABILITIES
            }
            measured.append(MaskedBlock(choice.name, choice.name in vital, accuracies))
        features = block(features)
    return measured


def _masked_logits(
    remainder: nn.Module, last: nn.BatchNorm2d, features: Tensor, probability: float, generator: torch.Generator
) -> Tensor:
    """Return the logits with some channels of the block's last batch norm at zero. It stands before the addition."""
    kept = torch.rand(last.num_features, generator=generator) >= probability
    hook = last.register_forward_hook(lambda _module, _inputs, output: output * kept[:, None, None])
    try:
        return cast(Tensor, remainder(features))
    finally:
        hook.remove()


def train_network(npz: Path | None, epochs: int, gamma: float, seed: int) -> tuple[SearchSpace, nn.Module, Images]:
    """Train a MobileNetV2 from an initial scale of its residual branches.

    Returns:
        Its space, which has no other architecture, the network and the images.
    """
    images = read_images(npz, 16, seed)
    classes = len(images.prepared.classes)
    strides = (1, 1, 2, 2, 1, 2, 1)
    space = search_spaces.load(
        "mobilenetv2", width=0.5, resolution=16, stem_stride=1, stage_strides=strides, num_classes=classes
    )
    torch.manual_seed(seed)
    network = space.network(space.sample(np.random.default_rng(seed))).to(memory_format=torch.channels_last)
    set_initial_gamma(network, gamma)
    train(network, images, epochs, lambda done: RATE * (1 + math.cos(math.pi * done)) / 2, seed)
    return space, network, images


def read_standalone(run: str) -> tuple[SearchSpace, nn.Module, Images]:
    """Read the network that `raynas fit` trained in a run folder.

    Raises:
        UserError: if the folder does not hold exactly one network.
    """
    folder = RunFolder(run)
    networks = read_networks(folder)
    if len(networks) != 1:
        raise UserError(f"{run} holds {len(networks)} networks trained by `raynas fit`; give a folder that holds one.")
    planned = plan(Recipe.read(yaml.safe_load(folder.read("recipe.yaml"))), run)
    figures = networks[0]
    architecture = planned.space.parse(figures["architecture"])
    space = planned.space.only(architecture)
    network = space.network(architecture)
    network.load_state_dict(space.network_state(architecture, folder.read_tensors(figures["weights"])[0]))
    return space, network, open_images(planned.data)


def rows(measured: Sequence[MaskedBlock]) -> Iterator[list[str]]:
    """Yield a row for each block, then the mean over the blocks of each kind."""
    for block in measured:
        figures = [f"{block.mean(p):.1f} ({min(block.top1[p]):.1f})" for p in PROBABILITIES]
        yield [block.name, _kind(block.vital), *figures]
    for vital in (True, False):
        blocks = [block for block in measured if block.vital == vital]
        yield [
            f"mean of {len(blocks)}",
            _kind(vital),
            *(f"{np.mean([block.mean(p) for block in blocks]):.1f}" for p in PROBABILITIES),
        ]


def _kind(vital: bool) -> str:
    return "vital" if vital else "non-vital"


def plot(measured: Sequence[MaskedBlock], intact: float) -> Figure:
    """Draw figure 2: three bars for each block, vital blocks in red."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    panel = figure.subplots()
    for number, p in enumerate(PROBABILITIES):
        for vital, colour in ((True, "tab:red"), (False, "tab:blue")):
            places = [place + 0.27 * (number - 1) for place, block in enumerate(measured) if block.vital == vital]
            heights = [block.mean(p) for block in measured if block.vital == vital]
            panel.bar(places, heights, 0.25, color=colour, alpha=0.4 + 0.3 * number, label=f"{_kind(vital)}, p = {p}")
    panel.axhline(intact, color="black", linewidth=0.6)
    panel.set_xticks(range(len(measured)), [block.name for block in measured], rotation=60)
    panel.set(ylabel="top-1 (per cent)", ylim=(0, 100))
    panel.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def pool(networks: Sequence[Sequence[MaskedBlock]]) -> list[MaskedBlock]:
    """Return the blocks of networks of one architecture, with the accuracies of all networks."""
    return [
        MaskedBlock(
            same[0].name,
            same[0].vital,
            {p: [accuracy for block in same for accuracy in block.top1[p]] for p in same[0].top1},
        )
        for same in zip(*networks, strict=True)
    ]


def print_blocks(measured: Sequence[MaskedBlock], intact: float, name: str, figure: str) -> None:
    """Print the accuracies block by block, and draw them."""
    print_table(("block", "kind", *(f"p = {p}" for p in PROBABILITIES)), rows(measured))
    save_figure(plot(measured, intact), figure, f"Figure 2: accuracy with one masked block, {name}")


def compare_gammas(options: Namespace) -> None:
    """Train and mask networks of both initial scales, and print them."""
    summary = []
    for gamma in GAMMAS:
        networks, intact = [], []
        for seed in range(options.seeds):
            space, network, images = train_network(options.npz, options.epochs, gamma, seed)
            networks.append(mask_blocks(space, network, *read_test_images(images), options.draws, seed))
            intact.append(measure_test_top1(network, images))
        measured, name = pool(networks), data_name(images)
        print(f"### Initial scale {gamma:g}\n\n{space.name} on {name}: {spread(intact, 1)} % without a mask.\n")
        print_blocks(measured, float(np.mean(intact)), name, f"block_importance_{name}_{gamma:g}")
        vital, others = ([block.mean(1.0) for block in measured if block.vital == kind] for kind in (True, False))
        means = [f"{np.mean(vital):.1f}", f"{np.mean(others):.1f}", f"{min(others):.1f}"]
        summary.append([f"{gamma:g}", spread(intact, 1), *means])
    print("### Both, with a whole block masked\n")
    print_table(("initial scale", "without a mask", "vital", "non-vital", "worst non-vital"), summary)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("hour_nas.block_importance", __doc__)
    parser.add_argument("--epochs", type=int, default=20, help="epochs of training a network (default: 20)")
    add_npz(parser)
    parser.add_argument("--standalone", metavar="RUN", help="run folder of `raynas fit` with the network to mask")
    parser.add_argument("--draws", type=int, default=10, help="masks for each block and p below 1 (default: 10)")
    add_seed_count(parser, 3)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print_heading("Accuracy of a network with one masked block", f"0 to {options.seeds - 1}")
    print("A mask resets each channel of one block's F(x) to zero with probability p. A shortcut still adds the input.")
    print(f"Top-1 on the test images in per cent: mean of {options.draws} masks of each network (least).\n")
    if options.standalone:
        space, network, images = read_standalone(options.standalone)
        measured = mask_blocks(space, network, *read_test_images(images), options.draws, 0)
        print_blocks(measured, measure_test_top1(network, images), data_name(images), "block_importance_standalone")
    else:
        compare_gammas(options)


if __name__ == "__main__":
    main()
