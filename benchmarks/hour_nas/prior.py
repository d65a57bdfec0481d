"""What do vital blocks decide, and what does their prior gain? NAS-Bench-Macro's table decides (HourNAS tables 1, 4).

    python -m benchmarks.hour_nas.prior [--seeds 10] [--proposal-seeds 20] [--updates 200]

Nothing is trained. HourNAS's own learner searches with the table's error in the supernet's place. The target is 55 M
multiply-adds, with a tolerance of 3 %. With the prior, both stages have `--updates` updates of the architecture
parameters; without it the one stage has all of them. The controls are shuffled accuracies, random architectures within
the budget, and the costliest.

Prints how much each block decides (figure 4), what vital blocks of k5e6 are worth within the budget, the searches with
and without the prior (table 4), and the searches by the number of proposals (table 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

import search_spaces
from benchmarks.common.arguments import add_seed_count, command_parser
from benchmarks.common.oracles import KnownOracle, TableOracle
from benchmarks.common.report import print_heading, print_table, spread
from benchmarks.hour_nas.table_search import LAST_TEMPERATURE, ShuffledOracle, learn
from search_spaces import Architecture, Budget, SearchSpace
from tuners.hour_nas.method import count_changes
from tuners.hour_nas.vital_space import fix_vital_blocks, restrict_to_vital
from tuners.most_probable import most_probable_within

TARGETS = {"macs": 55e6}
BUDGET = Budget.model_validate({"macs": {"target": TARGETS["macs"], "tolerance": 0.03}})
PROPOSALS = 8
NUMBERS_OF_PROPOSALS = (1, 2, 4, 8, 16)
LARGE = "k5e6"


@dataclass(frozen=True)
class Found:
    """The result of a search: the most probable architecture (`raw`), and the most probable one within the budget."""

    raw: Architecture
    architecture: Architecture

    @property
    def changes(self) -> int:
        """The number of choices that differ."""
        return count_changes(self.raw, self.architecture)


def fix_vital(oracle: KnownOracle, space: SearchSpace, updates: int, seed: int) -> SearchSpace:
    """Search the vital blocks, and return the space with them fixed (lines 1 to 11 of algorithm 1)."""
    learner = learn(oracle, restrict_to_vital(space), {}, 1, updates, seed)
    return fix_vital_blocks(space, oracle.costs, BUDGET, learner.theta[0].detach())


def search_within(oracle: KnownOracle, space: SearchSpace, proposals: int, updates: int, seed: int) -> Found:
    """Search inside proposals (lines 12 to 22)."""
    learner = learn(oracle, space, TARGETS, proposals, updates, seed)
    theta = learner.theta[learner.pi.argmax()].detach()
    return Found(learner.most_probable(), most_probable_within(space, oracle.costs, BUDGET, theta))


def search(oracle: KnownOracle, with_prior: bool, updates: int, seed: int) -> Found:
    """Search with `updates` updates in each of the two stages, or without the prior all in one."""
    if with_prior:
        return search_within(oracle, fix_vital(oracle, oracle.space, updates, seed), PROPOSALS, updates, seed)
    return search_within(oracle, oracle.space, PROPOSALS, 2 * updates, seed)


def deviations(truth: TableOracle) -> Iterator[tuple[str, bool, float, float]]:
    """Yield each block: name, whether it is vital, and the accuracy's standard deviation over its options in points.

    The deviation is a mean over all settings of the other blocks: first with all options, then without skip.
    """
    shape = [len(choice.options) for choice in truth.space.choices]
    table = np.empty(shape)
    for indices, top1 in truth.accuracy.items():
        table[indices] = top1
    vital = truth.space.vital()
    for number, choice in enumerate(truth.space.choices):
        rows = np.moveaxis(table, number, 0)
        blocks = [index for index, option in enumerate(choice.options) if option != "skip"]
        yield choice.name, choice in vital, float(rows.std(axis=0).mean()), float(rows[blocks].std(axis=0).mean())


def vital_sets(truth: TableOracle, architectures: Sequence[Architecture]) -> dict[str, NDArray[np.bool_]]:
    """Return which architectures have large vital blocks, others without skip, or a skipped vital block."""
    vital = truth.space.vital()
    numbers = [number for number, choice in enumerate(truth.space.choices) if choice in vital]
    options = truth.space.choices[numbers[0]].options
    indices = np.array([architecture.indices for architecture in architectures])[:, numbers]
    large = (indices == options.index(LARGE)).all(axis=1)
    skipped = (indices == options.index("skip")).any(axis=1)
    return {
        "all": np.ones_like(large),
        f"all vital blocks {LARGE}": large,
        "other vital blocks, none skip": ~large & ~skipped,
        "a vital block is skip": skipped,
    }


def search_row(truth: TableOracle, found: Sequence[Found]) -> list[str]:
    """Return the cells of searches that differ in their seed."""
    chosen = truth.top1([each.architecture for each in found])
    raw = [each.raw for each in found]
    within = BUDGET.met(truth.costs.cost(raw))
    return [
        spread(chosen, 2),
        f"{chosen.min():.2f}",
        spread(truth.top1(raw), 2),
        f"{within.sum()} of {len(found)}",
        f"{np.mean([each.changes for each in found]):.1f}",
    ]


def searches(truth: TableOracle, seeds: range, updates: int) -> Iterator[list[str]]:
    """Yield the rows of table 4, with the table's accuracies and with shuffled ones."""
    for accuracies in ("true", "shuffled"):
        for with_prior in (True, False):
            found = [search(_oracle(truth, accuracies, seed), with_prior, updates, seed) for seed in seeds]
            yield [accuracies, "HourNAS" if with_prior else "without the prior", *search_row(truth, found)]


def _oracle(truth: TableOracle, accuracies: str, seed: int) -> KnownOracle:
    return truth if accuracies == "true" else ShuffledOracle(truth, truth.architectures(), seed)


def print_analysis(truth: TableOracle) -> None:
    """Print how much each block decides, and the accuracies within the budget."""
    blocks = list(deviations(truth))
    print(
        "Standard deviation of the true accuracy over the options of a block, mean over all other settings, in points"
    )
    print("(figure 4 without noise):\n")
    rows = [
        [name, "vital" if vital else "", f"{full:.2f}", f"{blocks_alone:.2f}"]
        for name, vital, full, blocks_alone in blocks
    ]
    for kind, is_vital in (("vital", True), ("not vital", False)):
        means = np.mean([row[2:] for row in blocks if row[1] == is_vital], axis=0)
        rows.append(["mean", kind, *(f"{mean:.2f}" for mean in means)])
    print_table(("block", "kind", "all options", "without skip"), rows)
    architectures = truth.architectures()
    costs = truth.costs.cost(architectures)
    within, top1 = BUDGET.met(costs), truth.top1(architectures)
    costliest = top1[within][costs["macs"][within].argmax()]
    print(f"True top-1 in % of all architectures within the budget; the costliest has {costliest:.2f} %:\n")
    sets = {name: top1[within & members] for name, members in vital_sets(truth, architectures).items()}
    rows = [[name, str(len(members)), spread(members, 2), f"{members.max():.2f}"] for name, members in sets.items()]
    print_table(("vital blocks", "architectures", "mean (random choice)", "best"), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("hour_nas.prior", __doc__)
    add_seed_count(parser, 10, of=" of table 4")
    parser.add_argument("--proposal-seeds", type=int, default=20, help="number of seeds of table 1 (default: 20)")
    parser.add_argument("--updates", type=int, default=200, help="updates of a stage (default: 200)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    truth = TableOracle(search_spaces.load("nas-bench-macro"))
    print_heading(
        "The prior of vital blocks", f"0 to {options.seeds - 1}; of table 1: 0 to {options.proposal_seeds - 1}"
    )
    print_analysis(truth)
    print(f"{PROPOSALS} proposals, {options.updates} updates of a stage, temperature 5 to {LAST_TEMPERATURE}.\n")
    print("- `found`: true top-1 in % of the most probable architecture within the budget; `least` of the seeds")
    print("- `raw mode`: of the most probable architecture, at any cost; `within`: how many of these meet the budget")
    print("- `changed`: choices of the raw mode that the integer program changed, of 8, mean\n")
    columns = ("found", "least", "raw mode", "within", "changed")
    print_table(("accuracies", "search", *columns), searches(truth, range(options.seeds), options.updates))
    space = fix_vital(truth, truth.space, options.updates, 0)
    seeds = range(options.proposal_seeds)
    found = {m: [search_within(truth, space, m, options.updates, seed) for seed in seeds] for m in NUMBERS_OF_PROPOSALS}
    print("The second stage by the number of proposals m, after the first stage of seed 0 (table 1):\n")
    print_table(("m", *columns), ([str(m), *search_row(truth, each)] for m, each in found.items()))


if __name__ == "__main__":
    main()
