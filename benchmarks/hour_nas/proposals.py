"""What do architectures cost that are drawn from fitted space proposals, as the temperature falls (HourNAS figure 3)?

    python -m benchmarks.hour_nas.proposals [--draws 10000] [--seeds 3]

The space is `fbnet` with its vital blocks fixed to k5e6, as in the paper's tables 9 and 11. The targets are FBNet-B's.

Prints a table for the fit by raynas, for the fit by equation 7 alone and for no fit, and figure 3.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import search_spaces
from benchmarks.common.arguments import add_seed_count, command_parser
from benchmarks.common.report import print_heading, print_table, save_figure
from search_spaces.costs import TableCosts
from tuners.gumbel_softmax import probabilities
from tuners.hour_nas.proposals import Targets, entropy, fit, overlap, target_distance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TARGETS: Targets = {"params": 4.8e6, "macs": 300e6}
TOLERANCE = 0.03
PROPOSALS = 8
TEMPERATURES = (5.0, 1.0, 0.5, 0.1)
STEPS, RATE = 500, 0.05
"""Adam's, for equation 7 alone; the number of steps is that of `fit`."""


@dataclass(frozen=True)
class Draws:
    """Architectures drawn from m proposals at a temperature, the same number from each.

    Attributes:
        indices: the option indices, int64 of shape (m, draws, choices).
        cost: the costs by resource, each of shape (m, draws).
        entropies: the entropy of each proposal in nats, shape (m,).
        modes: the number of distinct most probable architectures.
    """

    indices: Tensor
    cost: Mapping[str, Tensor]
    entropies: Tensor
    modes: int

    def met(self, targets: Targets) -> Tensor:
        """Return the share of each proposal's draws that is within the tolerance of all targets, shape (m,)."""
        near = [(self.cost[name] - target).abs() <= TOLERANCE * target for name, target in targets.items()]
        return torch.stack(near).all(dim=0).double().mean(dim=1)

    def distinct(self) -> Tensor:
        """Return the number of distinct architectures among each proposal's draws, shape (m,)."""
        return torch.tensor([len(torch.unique(rows, dim=0)) for rows in self.indices])


def draw(costs: TableCosts, theta: Tensor, temperature: float, draws: int, seed: int) -> Draws:
    """Draw architectures from each of the m proposals; theta is (m, choices, options)."""
    generator = torch.Generator().manual_seed(seed)
    distributions = probabilities(theta, temperature, torch.from_numpy(costs.kept))
    rows = torch.multinomial(distributions.flatten(0, 1), draws, replacement=True, generator=generator)
    indices = rows.reshape(*distributions.shape[:2], draws).transpose(1, 2)
    totals = costs.total(indices.flatten(0, 1).numpy())
    cost = {name: torch.from_numpy(total).reshape(len(theta), draws) for name, total in totals.items()}
    return Draws(indices, cost, entropy(distributions), len(torch.unique(distributions.argmax(dim=-1), dim=0)))


def fit_by_expected_cost(costs: TableCosts, targets: Targets, number: int, seed: int) -> Tensor:
    """Fit by equation 7 alone: the distance of the expected cost and the overlap, at temperature 1."""
    kept = torch.from_numpy(costs.kept)
    theta = draw_unfitted(costs, targets, number, seed).requires_grad_()
    adam = torch.optim.Adam([theta], lr=RATE)
    for _ in range(STEPS):
        distance = target_distance(costs, probabilities(theta, 1.0, kept), targets).sum()
        adam.zero_grad()
        torch.autograd.backward(distance + overlap(theta, kept) / number**2)
        adam.step()
    return theta.detach()


def draw_unfitted(costs: TableCosts, targets: Targets, number: int, seed: int) -> Tensor:
    """Draw theta and fit nothing: the control, which knows no target."""
    generator = torch.Generator().manual_seed(seed)
    return 0.5 * torch.randn(number, *costs.kept.shape, generator=generator, dtype=torch.float64)


def fbnet_costs() -> TableCosts:
    """Return the costs of `fbnet` with k5e6 in its vital blocks."""
    space = search_spaces.load("fbnet")
    return space.restrict({choice.name: ["k5e6"] for choice in space.vital()}).costs().as_table()


def rows(costs: TableCosts, theta: Tensor, seed: int, draws: int) -> Iterator[list[str]]:
    """Yield the cells of each temperature."""
    for temperature in TEMPERATURES:
        drawn = draw(costs, theta, temperature, draws, seed)
        met, distinct = 100 * drawn.met(TARGETS), drawn.distinct()
        yield [
            str(temperature),
            f"{met.mean():.1f} ({met.min():.1f})",
            f"{distinct.double().mean():,.0f} ({distinct.min():,})",
            str(drawn.modes),
            " ".join(f"{nats:.1f}" for nats in drawn.entropies),
        ]


def plot(costs: TableCosts, theta: Tensor, seed: int, draws: int) -> Figure:
    """Draw figure 3: a panel for each temperature, a colour for each proposal, `draws` points in each panel."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 3.6), layout="constrained")
    panels = figure.subplots(1, len(TEMPERATURES), sharex=True, sharey=True)
    for panel, temperature in zip(panels, TEMPERATURES, strict=True):
        drawn = draw(costs, theta, temperature, draws // len(theta), seed)
        for params, macs in zip(drawn.cost["params"], drawn.cost["macs"], strict=True):
            panel.scatter(params / 1e6, macs / 1e6, s=3, linewidths=0, alpha=0.6)
        panel.axvline(TARGETS["params"] / 1e6, color="black", linewidth=0.6)
        panel.axhline(TARGETS["macs"] / 1e6, color="black", linewidth=0.6)
        panel.set(title=f"temperature {temperature}", xlabel="parameters (millions)")
    panels[0].set_ylabel("multiply-adds (millions)")
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("hour_nas.proposals", __doc__)
    parser.add_argument("--draws", type=int, default=10_000, help="architectures from each proposal (default: 10000)")
    add_seed_count(parser, 3)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    costs = fbnet_costs()
    print_heading("Costs of architectures drawn from fitted proposals", f"0 to {options.seeds - 1}")
    print(f"{PROPOSALS} proposals for 4.8 M parameters and 300 M multiply-adds, one thread. Each proposal gives")
    print(f"{options.draws:,} architectures at each temperature.\n")
    print("- `met`: per cent of them within 3 % of both targets, mean over the proposals (least)")
    print("- `distinct`: number of distinct architectures, mean over the proposals (least)")
    print("- `modes`: number of distinct most probable architectures of the proposals")
    print("- `entropy`: entropy of each proposal in nats\n")
    fits = {
        "Fitted by the cost of drawn architectures (raynas)": fit,
        "Fitted by the expected cost, temperature 1": fit_by_expected_cost,
        "The control, which is not fitted": draw_unfitted,
    }
    for name, fit_proposals in fits.items():
        lines, seconds = [], []
        for seed in range(options.seeds):
            start = time.perf_counter()
            theta = fit_proposals(costs, TARGETS, PROPOSALS, seed)
            seconds.append(f"{time.perf_counter() - start:.1f}")
            lines += [[str(seed), *line] for line in rows(costs, theta, seed, options.draws)]
        print(f"{name}, in {', '.join(seconds)} s:\n")
        print_table(("seed", "temperature", "met", "distinct", "modes", "entropy"), lines)
    figure = plot(costs, fit(costs, TARGETS, PROPOSALS, 0), 0, options.draws)
    title = "Figure 3: 10,000 architectures from 8 proposals, a colour for each proposal"
    save_figure(figure, "proposal_distribution", title)


if __name__ == "__main__":
    main()
