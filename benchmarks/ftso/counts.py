"""How much less does FTSO's topology search compute than DARTS? By section 3's formulas, and counted for whole steps.

    python -m benchmarks.ftso.counts

The formulas count the edges' operators alone, all of them as convolutions. A training step also has a stem, 1x1
convolutions before each cell, and reductions of skipped inputs. No topology search can leave these out.

Prints section 3's figures beside the paper's, and the multiply-adds of whole supernets and steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import search_spaces
from benchmarks.common.arguments import command_parser
from benchmarks.common.report import print_heading, print_table
from raynas.interfaces.objective import WEIGHTS, MicroBatch, TrainingStep
from raynas.training.update import apply_update
from search_spaces import SearchSpace
from tuners.darts.weighted_mixture import Mixture
from tuners.ftso.topologies import CellTopologies

PASSES = {1: 5, 2: 15}
"""The forward passes that cost as much as a training step, by its order; a gradient of inputs or of weights is one.

First order: the architecture takes a forward pass and gradients of the inputs. The weights take these and their own
gradients. Second order: gradients of both at the weights, at their next step, and twice for the finite difference; then
the weights. `torch.utils.flop_counter` cannot count it: it counts the weights' gradient of a depthwise convolution as
that of a dense convolution.
"""
DARTS: dict[str, Any] = {"cells": 8, "channels": 16, "operations": 8, "subset": False, "cell_types": "two"}


@dataclass(frozen=True)
class EdgeCounts:
    """Section 3: the operations that DARTS and FTSO keep on the edges of a cell.

    Attributes:
        nodes: n, the number of nodes with the output.
        operators: p, the number of operators.
    """

    nodes: int
    operators: int

    @property
    def edges(self) -> int:
        return self.nodes * (self.nodes - 3) // 2

    @property
    def darts(self) -> int:
        return self.edges * self.operators

    @property
    def topology_search(self) -> int:
        return self.edges

    @property
    def operator_search(self) -> int:
        return 2 * (self.nodes - 3) * self.operators

    def parameter_share(self, kernel: int, channels: int) -> float:
        """Return the parameters of FTSO (one for each edge) over those of DARTS ((k^2 C + 1) C for each operator)."""
        return self.topology_search / (self.darts * (kernel**2 * channels + 1) * channels)

    def flops_share(self, kernel: int, channels: int) -> float:
        """Return FTSO's H W C for each edge, its sum of tensors, over DARTS's H W C (k^2 C + 1) for each operator."""
        return self.topology_search / (self.darts * (kernel**2 * channels + 1))


@dataclass(frozen=True)
class CountedSearch:
    """A search space and the objective of its supernet."""

    title: str
    space: SearchSpace
    objective: Mixture


def searches() -> list[CountedSearch]:
    """Return DARTS, PC-DARTS and FTSO's topology search on `darts`, and without PC-DARTS on `nats-bench`."""
    darts = search_spaces.load("darts", **DARTS)
    partial = search_spaces.load("darts", **DARTS, partial=4)
    nats = search_spaces.load("nats-bench")
    return [
        CountedSearch("DARTS, first order", darts, Mixture()),
        CountedSearch("DARTS, second order", darts, Mixture(order=2)),
        CountedSearch("PC-DARTS", partial, Mixture(edges="softmax")),
        _ftso(partial),
        CountedSearch("DARTS, first order", nats, Mixture(inputs=None)),
        CountedSearch("DARTS, second order", nats, Mixture(inputs=None, order=2)),
        _ftso(nats),
    ]


def _ftso(space: SearchSpace) -> CountedSearch:
    topologies = CellTopologies(space, ["skip_connect"], None)
    return CountedSearch("FTSO's topology", topologies.simplest, Mixture.model_validate(dict(topologies.learns)))


@dataclass(frozen=True)
class StepCost:
    """The multiply-adds of a search for one image of each stream, and the parameters of its supernet.

    Attributes:
        forward: multiply-adds of one pass through the mixture, by `torch.utils.flop_counter`.
        step: multiply-adds of the updates of the architecture and of the weights.
    """

    forward: int
    step: int
    params: int


def step_cost(search: CountedSearch) -> StepCost:
    """Return the cost of a search's own supernet."""
    supernet = search.space.supernet()
    weights = search.objective.begin(search.space, search.space.costs(), 0).weights().detach()
    images = torch.randn(1, 3, search.space.resolution, search.space.resolution)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        supernet.mixed(images, weights)
    forward = int(counter.get_total_flops()) // 2
    params = sum(parameter.numel() for parameter in supernet.parameters())
    return StepCost(forward, PASSES[search.objective.order] * forward, params)


def counted_step(search: CountedSearch) -> int:
    """Count a training step by `torch.utils.flop_counter`. The count is right if no convolution is depthwise."""
    space, supernet = search.space, search.space.supernet()
    learner = search.objective.begin(space, space.costs(), 0)
    sgd = torch.optim.SGD(supernet.parameters(), lr=0.025, momentum=0.9)
    images = torch.randn(1, 3, space.resolution, space.resolution)
    batch = [MicroBatch(images, torch.zeros(1, dtype=torch.int64), 1.0)]
    step = TrainingStep(space, supernet, batch, np.random.default_rng(0), functional.cross_entropy, batch, sgd)
    (updates,) = learner.passes(0)
    with FlopCounterMode(display=False) as counter:
        for update in updates:
            apply_update(update, {WEIGHTS: sgd, **learner.groups()}, 0.025, step)
    return int(counter.get_total_flops()) // 2


def edge_macs(space: SearchSpace) -> int:
    """Return the multiply-adds of the edges' surviving operators alone, on all channels."""
    macs = space.costs().as_table().table["macs"]
    return int(sum(macs[choice, list(kept)].sum() for choice, kept in enumerate(space.surviving)))


def main(arguments: Sequence[str] | None = None) -> None:
    command_parser("ftso.counts", __doc__).parse_args(arguments)
    torch.set_num_threads(1)
    print_heading("The work of FTSO's topology search beside DARTS", "none; nothing is drawn")
    counts = EdgeCounts(nodes=7, operators=8)
    print("Section 3, n = 7 nodes and p = 8 operators; shares for k = 5 and C = 512:\n")
    print_table(
        ("", "printed", "counted"),
        [
            ("edges of a cell", "14", counts.edges),
            ("operations of DARTS", "112", counts.darts),
            ("operations of the topology search", "14", counts.topology_search),
            ("operations of the operator search", "2 (n - 3) p", counts.operator_search),
            ("share of the parameters", "1.9e-8", f"{counts.parameter_share(5, 512):.3e}"),
            ("share of the multiply-adds", "9.8e-6", f"{counts.flops_share(5, 512):.3e}"),
        ],
    )
    print("Whole supernets, in millions for one image; a training step is 5 forward passes, of the second order 15:\n")
    rows = []
    first: dict[str, StepCost] = {}
    for search in searches():
        cost = step_cost(search)
        darts = first.setdefault(search.space.name, cost)
        rows.append(
            (
                search.space.name,
                search.title,
                f"{cost.params / 1e6:.4f}",
                f"{edge_macs(search.space) / 1e6:.1f}",
                f"{cost.forward / 1e6:.1f}",
                f"{cost.step / 1e6:.1f}",
                f"1/{darts.step / cost.step:.1f}" if cost.step < darts.step else f"{cost.step / darts.step:.1f}",
            )
        )
    columns = ("space", "search", "parameters", "edges, all channels", "forward", "step", "beside DARTS's")
    print_table(columns, rows)


if __name__ == "__main__":
    main()
