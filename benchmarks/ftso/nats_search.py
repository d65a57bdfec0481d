"""DARTS's and FTSO's searches on a reduced NATS-Bench supernet, step by step in this process, without Ray.

The supernet has one cell for each stage, 8 channels and 16 pixels. 1,000 images of CIFAR-10 train the weights, 1,000
other images the architecture.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import search_spaces
from benchmarks.common.arguments import add_seed_count, command_parser
from benchmarks.common.shared_data import CIFAR10
from raynas.interfaces.objective import WEIGHTS, MicroBatch, TrainingStep
from raynas.training.update import apply_update
from search_spaces import SearchSpace
from search_spaces.supernet import Supernet
from tuners.darts.weighted_mixture import Mixture, MixtureLearner
from tuners.ftso.topologies import CellTopologies, EdgeWeights

BATCH, IMAGES, MEASURED = 64, 1000, 256
RATE = 0.025


def read_options(name: str, doc: str | None, darts_seeds: int, arguments: Sequence[str] | None) -> Namespace:
    """Read the options of a command whose searches run on one thread.

    Args:
        darts_seeds: the default of `--darts-seeds`.
    """
    parser = command_parser(name, doc)
    add_seed_count(parser, 20, " of FTSO")
    explained = f"number of seeds of DARTS, from 0 (default: {darts_seeds})"
    parser.add_argument("--darts-seeds", type=int, default=darts_seeds, help=explained)
    parser.add_argument("--epochs", type=int, default=50, help="epochs of DARTS (default: 50)")
    torch.set_num_threads(1)
    return parser.parse_args(arguments)


@dataclass(frozen=True)
class NatsSearch:
    """A search space and the objective of its supernet."""

    space: SearchSpace
    objective: Mixture


def searches() -> dict[str, NatsSearch]:
    """Return FTSO's topology search, with the softmax of beta and with raw beta, and DARTS.

    DARTS keeps every edge's strongest option on this space.
    """
    space = search_spaces.load("nats-bench", cells=1, channels=8, resolution=16, affine=False)
    return {
        "FTSO": _topology_search(space, "softmax"),
        "FTSO, raw beta": _topology_search(space, "raw"),
        "DARTS, first order": NatsSearch(space, Mixture(inputs=None)),
        "DARTS, second order": NatsSearch(space, Mixture(inputs=None, order=2)),
    }


def _topology_search(space: SearchSpace, edge_weights: EdgeWeights) -> NatsSearch:
    topologies = CellTopologies(space, ["skip_connect"], None, edge_weights)
    return NatsSearch(topologies.simplest, Mixture.model_validate({**topologies.learns, "learning_rate": 6e-4}))


@cache
def streams() -> dict[str, tuple[Tensor, Tensor]]:
    """Return images (n, 3, 16, 16) and labels (n,) of both streams, 100 of each class."""
    with np.load(CIFAR10) as data:
        pixels, labels = torch.from_numpy(data["x_train"]), torch.from_numpy(data["y_train"]).long()
    classes = [torch.nonzero(labels == label).flatten() for label in range(10)]
    rows = {
        "train": torch.cat([indices[:100] for indices in classes]),
        "search": torch.cat([indices[100:200] for indices in classes]),
    }
    scaled = functional.avg_pool2d(pixels.permute(0, 3, 1, 2).float() / 255, 2)
    normal = (scaled - scaled.mean((0, 2, 3), keepdim=True)) / scaled.std((0, 2, 3), keepdim=True)
    return {name: (normal[indices], labels[indices]) for name, indices in rows.items()}


def shuffled_streams(seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the images of `streams` with their labels in another order."""
    generator = np.random.default_rng([seed, 1])
    return {name: (images, labels[generator.permutation(len(labels))]) for name, (images, labels) in streams().items()}


def states(
    search: NatsSearch, seed: int, epochs: int, steps: int | None = None, shuffled: bool = False
) -> Iterator[tuple[Supernet, MixtureLearner]]:
    """Yield the supernet and the learner before the first epoch, and after each epoch.

    The weights' rate stays at 0.025.

    Args:
        steps: the most training steps of an epoch.
        shuffled: whether the labels of both streams are in an order drawn by the seed, so that they say nothing.
    """
    torch.manual_seed(seed)
    space, images = search.space, shuffled_streams(seed) if shuffled else streams()
    supernet = space.supernet()
    learner = search.objective.begin(space, space.costs(), seed)
    sgd = torch.optim.SGD(supernet.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)
    optimizers = {WEIGHTS: sgd, **learner.groups()}
    yield supernet, learner
    for epoch in range(epochs):
        generator = np.random.default_rng([seed, epoch])
        orders = {name: generator.permutation(IMAGES) for name in images}
        (updates,) = learner.passes(epoch)
        for number in range(min(IMAGES // BATCH, steps or IMAGES)):
            batches = {}
            for name, (pixels, labels) in images.items():
                rows = orders[name][number * BATCH : (number + 1) * BATCH]
                batches[name] = [MicroBatch(pixels[rows], labels[rows], 1.0)]
            for update in updates:
                second_batch = batches[update.beside] if update.beside else ()
                step = TrainingStep(
                    space, supernet, batches[update.stream], generator, functional.cross_entropy, second_batch, sgd
                )
                apply_update(update, optimizers, RATE, step)
        yield supernet, learner


def largest_eigenvalue(supernet: Supernet, learner: MixtureLearner, batch: tuple[Tensor, Tensor]) -> float:
    """Return that of the loss's Hessian in the learnt architecture parameters, batch norm in training mode."""
    learnt = [parameter for parameter in (learner.alpha, learner.beta) if parameter.requires_grad]
    buffers = {key: value.clone() for key, value in supernet.named_buffers()}
    loss = functional.cross_entropy(supernet.mixed(batch[0], learner.weights()), batch[1])
    gradient = torch.autograd.grad(loss, learnt, create_graph=True)
    lines = []
    for entry in torch.cat([part.flatten() for part in gradient]):
        line = torch.autograd.grad(entry, learnt, retain_graph=True, materialize_grads=True)
        lines.append(torch.cat([part.flatten() for part in line]))
    with torch.no_grad():
        for key, value in supernet.named_buffers():
            value.copy_(buffers[key])
    hessian = torch.stack(lines).double()
    return float(torch.linalg.eigvalsh((hessian + hessian.T) / 2)[-1])


def measured_images() -> tuple[Tensor, Tensor]:
    """Return images of all classes from the architecture's stream, and their labels."""
    images, labels = streams()["search"]
    return images[:: IMAGES // MEASURED][:MEASURED], labels[:: IMAGES // MEASURED][:MEASURED]
