"""FTSO figures 3g and 3h: the largest eigenvalue of the Hessian of L_val in the architecture parameters, by epoch.

    python -m benchmarks.ftso_hessian [--epochs 30] [--seeds 0 1 2]

DARTS's alpha and FTSO's beta on NATS-Bench's cell, one a stage, 8 channels, 16 pixels, on 1,000 images of CIFAR-10
for the weights and 1,000 for the architecture. The steps are the engine's; the Hessian is exact, on 256 images.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import search_spaces
from benchmarks.nas_bench_macro import CIFAR10
from benchmarks.printing import heading, picture, table
from raynas.objective import WEIGHTS, MicroBatch, Step
from raynas.training.update import carry_out
from search_spaces import SearchSpace
from tuners.mixture import Mixture, MixtureLearner
from tuners.topologies import CellTopologies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from search_spaces.supernet import Supernet

BATCH, MEASURED = 64, 256


def images() -> dict[str, tuple[Tensor, Tensor]]:
    """1,000 images of each stream, 100 a class, at 16 pixels."""
    with np.load(CIFAR10) as data:
        pixels, labels = torch.from_numpy(data["x_train"]), torch.from_numpy(data["y_train"]).long()
    places = [torch.nonzero(labels == label).flatten()[:200] for label in range(10)]
    streams = {"train": torch.cat([own[:100] for own in places]), "search": torch.cat([own[100:] for own in places])}

    def prepared(rows: Tensor) -> Tensor:
        scaled = functional.avg_pool2d(pixels[rows].permute(0, 3, 1, 2).float() / 255, 2)
        return (scaled - scaled.mean((0, 2, 3), keepdim=True)) / scaled.std((0, 2, 3), keepdim=True)

    return {name: (prepared(rows), labels[rows]) for name, rows in streams.items()}


def largest_eigenvalue(supernet: Supernet, learner: MixtureLearner, batch: tuple[Tensor, Tensor]) -> float:
    """Of the Hessian of the loss in all architecture parameters that are learnt, batch norm in training mode."""
    learnt = [parameter for parameter in (learner.alpha, learner.beta) if parameter.requires_grad]
    buffers = {key: value.clone() for key, value in supernet.named_buffers()}
    logits = supernet.mixed(batch[0], learner.weights())
    loss = functional.cross_entropy(logits, batch[1])
    slope = torch.autograd.grad(loss, learnt, create_graph=True)
    flat = torch.cat([part.flatten() for part in slope])
    lines = []
    for entry in flat:
        line = torch.autograd.grad(entry, learnt, retain_graph=True, materialize_grads=True)
        lines.append(torch.cat([part.flatten() for part in line]))
    with torch.no_grad():
        for key, value in supernet.named_buffers():
            value.copy_(buffers[key])
    hessian = torch.stack(lines).double()
    return float(torch.linalg.eigvalsh((hessian + hessian.T) / 2)[-1])


def eigenvalues(space: SearchSpace, objective: Mixture, seed: int, epochs: int) -> Iterator[float]:
    """Before the first epoch and after each."""
    torch.manual_seed(seed)
    supernet, streams = space.supernet(), images()
    learner = objective.begin(space, space.costs(), seed)
    sgd = torch.optim.SGD(supernet.parameters(), lr=0.025, momentum=0.9, weight_decay=5e-4)
    optimizers = {WEIGHTS: sgd, **learner.groups()}
    measured = (streams["search"][0][:: 1000 // MEASURED], streams["search"][1][:: 1000 // MEASURED])
    yield largest_eigenvalue(supernet, learner, measured)
    for epoch in range(epochs):
        generator = np.random.default_rng([seed, epoch])
        orders = {name: generator.permutation(1000) for name in streams}
        (updates,) = learner.passes(epoch)
        for step in range(1000 // BATCH):
            for update in updates:
                rows = orders[update.stream][step * BATCH : (step + 1) * BATCH]
                pixels, labels = streams[update.stream]
                batch = [MicroBatch(pixels[rows], labels[rows], 1.0)]
                carry_out(
                    update,
                    optimizers,
                    0.025,
                    Step(space, supernet, batch, generator, functional.cross_entropy, weights=sgd),
                )
        yield largest_eigenvalue(supernet, learner, measured)


def searches() -> dict[str, tuple[SearchSpace, Mixture]]:
    space = search_spaces.load("nats-bench", cells=1, channels=8, resolution=16, affine=False)
    topologies = CellTopologies(space, ["skip_connect"], None)
    beta = Mixture.model_validate({**topologies.learns, "learning_rate": 6e-4})
    return {"DARTS's alpha": (space, Mixture(inputs=None)), "FTSO's beta": (topologies.simplest, beta)}


def plot(found: dict[str, np.ndarray]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    panel = figure.subplots()
    for name, values in found.items():
        panel.plot(values.mean(0), label=name)
        panel.fill_between(range(values.shape[1]), values.min(0), values.max(0), alpha=0.2)
    panel.set(xlabel="epoch", ylabel="largest eigenvalue")
    panel.legend()
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ftso_hessian", description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = {
        name: np.array([list(eigenvalues(space, objective, seed, given.epochs)) for seed in given.seeds])
        for name, (space, objective) in searches().items()
    }
    heading("The Hessian's largest eigenvalue as a search goes on", ", ".join(map(str, given.seeds)))
    print("In the architecture parameters, of the validation loss: mean over the seeds (least to greatest).\n")
    last = given.epochs
    shown = sorted({0, 1, *range(5, last, 5), last})
    rows = [
        [name, *(f"{values[:, e].mean():.1e} ({values[:, e].min():.1e} to {values[:, e].max():.1e})" for e in shown)]
        for name, values in found.items()
    ]
    table(("after epoch", *map(str, shown)), rows)
    picture(plot(found), "ftso_hessian", "Figures 3g and 3h: the largest eigenvalue by epoch")


if __name__ == "__main__":
    main()
