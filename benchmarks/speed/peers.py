"""One-shot evaluation in the libraries NNI and Once-for-All, beside a plain loop over the very same networks.

    python -m benchmarks.speed.peers --peer nni [--images 512] [--recalibration 512] [--architectures 6]

Both libraries have a ProxylessNAS space. Networks are drawn that it and `proxylessnas` have in common, and each is
evaluated in every way in turn: batch norm's statistics recalibrated, then top-1 measured, in torch's default layout, as
a user of the library would do it. The libraries are old, and no part of our environment: give one of its own to
`pip install nni pytorch-lightning`, or to `pip install ofa tqdm`, and to raynas.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median
from typing import Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import search_spaces
from benchmarks.common.report import heading, table
from search_spaces.errors import UserError
from search_spaces.supernet import Supernet

Peer = Literal["nni", "ofa"]
Stages = Sequence[Sequence[str]]
"""A network: the blocks of stages 2 to 7, such as `k3e6`. The first stage is `k3e1`."""
Classify = Callable[[Tensor], Tensor]
"""Images (N, 3, 32, 32) to logits (N, 10)."""
Way = Callable[[Stages], Classify]
"""Makes a network ready to be measured: chosen, its batch norm recalibrated, in evaluation mode."""

RESOLUTION, CLASSES = 32, 10
REPEATS = (4, 4, 4, 4, 4, 1)
OPTIONS = tuple(f"k{kernel}e{expansion}" for kernel in (3, 5, 7) for expansion in (3, 6))
INSTALL = {"nni": "nni pytorch-lightning", "ofa": "ofa tqdm"}
STAGE_CHANNELS = {"nni": (16, 32, 40, 80, 96, 192, 320), "ofa": (16, 24, 40, 80, 96, 192, 320)}
"""Of the peers' spaces; the first is as `proxylessnas` has them."""


@dataclass(frozen=True)
class Row:
    """One way of evaluating the networks.

    Attributes:
        seconds: what each network took: of processor time, in one thread.
        macs: the networks' mean multiply-adds for an image, counted by torch as they are run.
    """

    way: str
    seconds: Sequence[float]
    macs: float

    @property
    def per_second(self) -> float:
        """Evaluations a second."""
        return len(self.seconds) / sum(self.seconds)

    def ratio(self, other: Row) -> float:
        """How many times as fast this way is as another: the median over the networks."""
        return median(theirs / own for theirs, own in zip(other.seconds, self.seconds, strict=True))


def measure(
    name: Peer,
    images: Tensor,
    labels: Tensor,
    recalibration: Sequence[Tensor],
    batch_size: int,
    architectures: int,
    seed: int,
) -> list[Row]:
    """Evaluate the same networks in every way of a library, and, as the first row, in the plain loop over our supernet.

    The ways take turns, network by network, after one network that is not counted. One thread computes, and the
    processor's time is taken, so that other processes on the machine hardly matter.

    Args:
        images: normalised, shape (N, 3, 32, 32).
        labels: shape (N,), from 0 to 9.
        recalibration: batches of images, each of shape (B, 3, 32, 32).
        batch_size: of the images that top-1 is measured on.
        architectures: how many networks.

    Raises:
        UserError: if the library, or a package that it needs, is not installed.
    """
    try:
        peers = PEERS[name](recalibration)
    except ModuleNotFoundError as error:
        package = (error.name or name).partition(".")[0]
        raise UserError(f"{name} needs the package {package}: pip install {INSTALL[name]}.") from error
    ways = {"plain loop": plain_loop(name, recalibration), **peers}
    batches = list(zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True))
    generator = np.random.default_rng(seed)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    macs: dict[str, list[float]] = {way: [] for way in ways}
    with _one_thread(), torch.no_grad():
        for number in range(architectures + 1):
            stages = drawn(generator)
            for way in sorted(ways, reverse=number % 2 == 1):
                start = time.process_time()
                network = ways[way](stages)
                top1(network, batches)
                seconds[way].append(time.process_time() - start)
                macs[way].append(multiply_adds(network, batches[0][0]))
    return [Row(way, seconds[way][1:], float(np.mean(macs[way][1:]))) for way in ways]


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def drawn(generator: np.random.Generator) -> Stages:
    """One to four blocks in each stage but the last, which has one."""
    depths = [int(generator.integers(1, repeats + 1)) for repeats in REPEATS]
    return [[OPTIONS[option] for option in generator.integers(len(OPTIONS), size=depth)] for depth in depths]


def padded(stages: Stages, absent: str) -> list[str]:
    """The blocks of all stages in a row, `absent` for each that a stage could have and has not."""
    return [
        block
        for stage, repeats in zip(stages, REPEATS, strict=True)
        for block in [*stage, *[absent] * (repeats - len(stage))]
    ]


def top1(network: Classify, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """In per cent."""
    hits = [network(images).argmax(dim=1) == labels for images, labels in batches]
    return 100 * float(torch.cat(hits).double().mean())


def multiply_adds(network: Classify, images: Tensor) -> float:
    """What one image costs in a batch of these, shape (N, 3, 32, 32)."""
    with FlopCounterMode(display=False) as counter:
        network(images)
    return float(counter.get_total_flops()) / 2 / len(images)


def recalibrate(network: Classify, modules: Iterable[nn.Module], batches: Iterable[Tensor]) -> None:
    """Give all batch norm among the modules the mean statistics of the batches, in a plain loop."""
    norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for images in batches:
        network(images)
    for norm in norms:
        norm.eval()


def plain_loop(name: Peer, recalibration: Sequence[Tensor]) -> Way:
    """Our supernet, one path after the other; stages of as many channels as the peer's."""
    space = search_spaces.load(
        "proxylessnas",
        resolution=RESOLUTION,
        stem_stride=1,
        num_classes=CLASSES,
        stage_channels=STAGE_CHANNELS[name],
    )
    supernet: Supernet = space.supernet().eval()

    def way(stages: Stages) -> Classify:
        blocks = ["k3e1", *padded(stages, "skip")]
        architecture = space.architecture(
            [choice.options.index(block) for choice, block in zip(space.choices, blocks, strict=True)]
        )

        def classify(images: Tensor) -> Tensor:
            return cast(Tensor, supernet(images, architecture))

        parts = [module for part in supernet.path_modules(architecture) for module in part.modules()]
        recalibrate(classify, parts, recalibration)
        return classify

    return way


def nni_ways(recalibration: Sequence[Tensor]) -> dict[str, Way]:
    """A supernet of NNI's hub with its path set, and the network that the hub's space freezes to.

    NNI does not recalibrate. Nor does its `freeze` take a hub's supernet (it gives convolutions a bias that they do not
    have), so the space that it freezes is not the supernet, but holds every option's weights as that does.
    """
    from nni.nas.hub.pytorch import ProxylessNAS
    from nni.nas.hub.pytorch.proxylessnas import ConvBNReLU
    from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
    from nni.nas.strategy import RandomOneShot

    def hub_space() -> ProxylessNAS:
        space = ProxylessNAS(num_labels=CLASSES)
        space.stem = ConvBNReLU(3, 32, stride=1)
        return space.eval()

    space = hub_space()
    supernet: nn.Module = RandomOneShot().mutate_model(hub_space())

    def sample(stages: Stages) -> dict[str, str | int]:
        chosen: dict[str, str | int] = {}
        for stage, blocks in enumerate(stages, start=2):
            chosen[f"s{stage}_depth"] = len(blocks)
            chosen |= {f"s{stage}_i{layer}": block for layer, block in enumerate(blocks)}
        return chosen

    def in_place(stages: Stages) -> Classify:
        memo = sample(stages)
        for module in supernet.modules():
            if isinstance(module, BaseSuperNetModule):
                module.resample(memo=memo)
        recalibrate(supernet, supernet.modules(), recalibration)
        return supernet

    def frozen(stages: Stages) -> Classify:
        network: nn.Module = space.freeze(sample(stages))
        recalibrate(network, network.modules(), recalibration)
        return network

    return {"nni, path set in place": in_place, "nni, freeze": frozen}


def ofa_ways(recalibration: Sequence[Tensor]) -> dict[str, Way]:
    """Once-for-All's supernet with a sub-network set, and the sub-network taken out of it, both recalibrated by it."""
    from ofa.imagenet_classification.elastic_nn.networks import OFAProxylessNASNets
    from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics

    supernet = OFAProxylessNASNets(
        n_classes=CLASSES, dropout_rate=0, ks_list=[3, 5, 7], expand_ratio_list=[3, 6], depth_list=[1, 2, 3, 4]
    ).eval()
    supernet.first_conv.conv.stride = (1, 1)
    batches = [(images, None) for images in recalibration]

    def set_subnet(stages: Stages) -> None:
        blocks = padded(stages, OPTIONS[0])
        supernet.set_active_subnet(
            ks=[int(block[1]) for block in blocks],
            e=[int(block[3]) for block in blocks],
            d=[len(stage) for stage in stages],
        )

    def in_place(stages: Stages) -> Classify:
        set_subnet(stages)
        set_running_statistics(supernet, batches)
        return cast(nn.Module, supernet)

    def taken_out(stages: Stages) -> Classify:
        set_subnet(stages)
        network: nn.Module = supernet.get_active_subnet().eval()
        set_running_statistics(network, batches)
        return network

    return {"ofa, set_active_subnet": in_place, "ofa, get_active_subnet": taken_out}


PEERS: dict[Peer, Callable[[Sequence[Tensor]], dict[str, Way]]] = {"nni": nni_ways, "ofa": ofa_ways}


def tell(rows: Sequence[Row]) -> None:
    """Print the table of what `measure` gave."""
    print(f"{len(rows[0].seconds)} networks, each the same in every way; one thread, processor time, default layout.")
    print("`ratio`: evaluations a second to the plain loop's, the median over the networks.\n")
    table(
        ["way", "evaluations a second", "ratio", "M multiply-adds"],
        [[row.way, f"{row.per_second:.3f}", f"{row.ratio(rows[0]):.2f}", f"{row.macs / 1e6:.2f}"] for row in rows],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=get_args(Peer), required=True)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--recalibration", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--architectures", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.manual_seed(asked.seed)
    images = torch.randn(asked.images, 3, RESOLUTION, RESOLUTION)
    labels = torch.randint(CLASSES, (asked.images,))
    recalibration = torch.split(torch.randn(asked.recalibration, 3, RESOLUTION, RESOLUTION), asked.batch_size)
    try:
        rows = measure(asked.peer, images, labels, recalibration, asked.batch_size, asked.architectures, asked.seed)
    except UserError as error:
        sys.exit(str(error))
    heading(f"One-shot evaluation in {asked.peer} {version(asked.peer)}", str(asked.seed))
    print(
        f"{asked.recalibration} images of 32 x 32 for batch norm, {asked.images} for top-1, {asked.batch_size} at once."
    )
    tell(rows)


if __name__ == "__main__":
    main()
