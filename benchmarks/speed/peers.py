"""How fast is one-shot evaluation in NNI and in Once-for-All, beside a plain loop over the same networks?

    python -m benchmarks.speed.peers --peer nni [--images 512] [--recalibration 512] [--architectures 6]

Both libraries have a ProxylessNAS space. The command draws networks that this space and `proxylessnas` share. Each way
evaluates each network in turn, as a user of the library would: it recalibrates batch norm, then measures top-1, in
torch's default layout. The libraries are old and not in our environment. Create an environment of its own with
raynas and `pip install nni pytorch-lightning`, or with raynas and `pip install ofa tqdm`.

Prints a table of evaluations a second.
"""

from __future__ import annotations

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
from benchmarks.common.arguments import add_seed, command_parser
from benchmarks.common.report import print_heading, print_table
from benchmarks.speed.plain_recalibration import recalibrate
from search_spaces.errors import UserError
from search_spaces.supernet import Supernet

Peer = Literal["nni", "ofa"]
Stages = Sequence[Sequence[str]]
"""A network: the blocks of stages 2 to 7, such as `k3e6`. The first stage is `k3e1`."""
Classify = Callable[[Tensor], Tensor]
"""From images (N, 3, 32, 32) to logits (N, 10)."""
Way = Callable[[Stages], Classify]
"""Prepares a network for the measurement: recalibrated batch norm, evaluation mode."""

RESOLUTION, CLASSES = 32, 10
REPEATS = (4, 4, 4, 4, 4, 1)
OPTIONS = tuple(f"k{kernel}e{expansion}" for kernel in (3, 5, 7) for expansion in (3, 6))
INSTALL = {"nni": "nni pytorch-lightning", "ofa": "ofa tqdm"}
STAGE_CHANNELS = {"nni": (16, 32, 40, 80, 96, 192, 320), "ofa": (16, 24, 40, 80, 96, 192, 320)}
"""The channels of the peers' spaces; NNI's are those of `proxylessnas`."""


@dataclass(frozen=True)
class WayRow:
    """One way of evaluating the networks.

    Attributes:
        seconds: the processor time of each network, in one thread.
        macs: the networks' mean multiply-adds for an image, counted by torch while they run.
    """

    way: str
    seconds: Sequence[float]
    macs: float

    @property
    def per_second(self) -> float:
        """Evaluations a second."""
        return len(self.seconds) / sum(self.seconds)

    def ratio(self, other: WayRow) -> float:
        """Return the speed of this way over another way's: the median over the networks."""
        return median(theirs / own for theirs, own in zip(other.seconds, self.seconds, strict=True))


def measure(
    name: Peer,
    images: Tensor,
    labels: Tensor,
    recalibration: Sequence[Tensor],
    batch_size: int,
    architectures: int,
    seed: int,
) -> list[WayRow]:
    """Evaluate the same networks in every way of a library, and in the plain loop over our supernet (the first row).

    The ways take turns, network by network; the first network does not count. One thread computes. The seconds are
    processor time, so other processes on the machine hardly matter.

    Args:
        images: normalised, shape (N, 3, 32, 32).
        labels: shape (N,), from 0 to 9.
        recalibration: batches of images, each of shape (B, 3, 32, 32).
        batch_size: the batch size of the measurement.
        architectures: the number of networks.

    Raises:
        UserError: if the library, or a package of its requirements, is not installed.
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
            stages = draw_network(generator)
            for way in sorted(ways, reverse=number % 2 == 1):
                start = time.process_time()
                network = ways[way](stages)
                measure_top1(network, batches)
                seconds[way].append(time.process_time() - start)
                macs[way].append(multiply_adds(network, batches[0][0]))
    return [WayRow(way, seconds[way][1:], float(np.mean(macs[way][1:]))) for way in ways]


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def draw_network(generator: np.random.Generator) -> Stages:
    """Draw a network: one to four blocks in each stage, one block in the last stage."""
    depths = [int(generator.integers(1, repeats + 1)) for repeats in REPEATS]
    return [[OPTIONS[option] for option in generator.integers(len(OPTIONS), size=depth)] for depth in depths]


def pad(stages: Stages, absent: str) -> list[str]:
    """Return the blocks of all stages in a row, with `absent` for each missing block of a stage."""
    return [
        block
        for stage, repeats in zip(stages, REPEATS, strict=True)
        for block in [*stage, *[absent] * (repeats - len(stage))]
    ]


def measure_top1(network: Classify, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return the accuracy in per cent."""
    hits = [network(images).argmax(dim=1) == labels for images, labels in batches]
    return 100 * float(torch.cat(hits).double().mean())


def multiply_adds(network: Classify, images: Tensor) -> float:
    """Count the multiply-adds for one image; `images` has shape (N, 3, 32, 32)."""
    with FlopCounterMode(display=False) as counter:
        network(images)
    return float(counter.get_total_flops()) / 2 / len(images)


def plain_loop(name: Peer, recalibration: Sequence[Tensor]) -> Way:
    """Return the plain loop over our supernet, with the channels of the peer's stages."""
    space = search_spaces.load(
        "proxylessnas",
        resolution=RESOLUTION,
        stem_stride=1,
        num_classes=CLASSES,
        stage_channels=STAGE_CHANNELS[name],
    )
    supernet: Supernet = space.supernet().eval()

    def way(stages: Stages) -> Classify:
        blocks = ["k3e1", *pad(stages, "skip")]
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
    """Return NNI's ways: a supernet of its hub with its path set, and the network of the hub space's `freeze`.

    NNI does not recalibrate. Its `freeze` cannot take a hub's supernet, because it gives convolutions a bias that they
    do not have. So it freezes the hub's space, which holds every option's weights like the supernet.
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
    """Return Once-for-All's ways: a sub-network set in the supernet, or taken out of it. It recalibrates both."""
    from ofa.imagenet_classification.elastic_nn.networks import OFAProxylessNASNets
    from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics

    supernet = OFAProxylessNASNets(
        n_classes=CLASSES, dropout_rate=0, ks_list=[3, 5, 7], expand_ratio_list=[3, 6], depth_list=[1, 2, 3, 4]
    ).eval()
    supernet.first_conv.conv.stride = (1, 1)
    batches = [(images, None) for images in recalibration]

    def set_subnet(stages: Stages) -> None:
        blocks = pad(stages, OPTIONS[0])
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


def print_rows(rows: Sequence[WayRow]) -> None:
    """Print the rows that `measure` returns."""
    print(f"{len(rows[0].seconds)} networks, the same in every way; one thread, processor time, default layout.")
    print("`ratio`: evaluations a second over the plain loop's, median over the networks.\n")
    print_table(
        ["way", "evaluations a second", "ratio", "M multiply-adds"],
        [[row.way, f"{row.per_second:.3f}", f"{row.ratio(rows[0]):.2f}", f"{row.macs / 1e6:.2f}"] for row in rows],
    )


def main() -> None:
    parser = command_parser("speed.peers", __doc__)
    parser.add_argument("--peer", choices=get_args(Peer), required=True, help="library")
    parser.add_argument("--images", type=int, default=512, help="images for top-1 (default: 512)")
    parser.add_argument("--recalibration", type=int, default=512, help="images for batch norm (default: 512)")
    parser.add_argument("--batch-size", type=int, default=128, help="images of a batch (default: 128)")
    parser.add_argument("--architectures", type=int, default=6, help="number of networks (default: 6)")
    add_seed(parser)
    options = parser.parse_args()
    peer, batch_size = options.peer, options.batch_size
    torch.manual_seed(options.seed)
    images = torch.randn(options.images, 3, RESOLUTION, RESOLUTION)
    labels = torch.randint(CLASSES, (options.images,))
    recalibration = torch.split(torch.randn(options.recalibration, 3, RESOLUTION, RESOLUTION), batch_size)
    try:
        rows = measure(peer, images, labels, recalibration, batch_size, options.architectures, options.seed)
    except UserError as error:
        sys.exit(str(error))
    print_heading(f"One-shot evaluation in {peer} {version(peer)}", str(options.seed))
    print(
        f"{options.recalibration} images of 32 x 32 for batch norm, {options.images} for top-1, "
        f"batches of {batch_size}."
    )
    print_rows(rows)


if __name__ == "__main__":
    main()
