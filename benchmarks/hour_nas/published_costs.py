"""Do the architectures that the papers print cost the printed figures?

    python -m benchmarks.hour_nas.published_costs

Plain counts are those of `torch.utils.flop_counter` and `numel` for the built network. The paper's counting was fitted
to its figures; the definition of the space has it.

Prints a table with printed figures, both counts, and their errors.
"""

from __future__ import annotations

from benchmarks.common.arguments import command_parser
from benchmarks.common.report import print_heading, print_table
from search_spaces import PublishedNetwork, published, published_names
from search_spaces.space import CountingMode


def main() -> None:
    command_parser("hour_nas.published_costs", __doc__).parse_args()
    print_heading("Costs of the papers' architectures", "none; nothing is drawn")
    print("Millions of parameters and of multiply-adds at 224 x 224, and the error of the counts in per cent.\n")
    print_table(
        ("architecture", "printed in", "printed", "plain", "error", "the paper's counting", "error"),
        [_row(published(name)) for name in published_names()],
    )
    print("The texts of HM-NAS, FP-NAS, FTSO and PAD-NAS print no architecture layer by layer.")


def _row(network: PublishedNetwork) -> tuple[str, ...]:
    return (
        network.title,
        network.table,
        f"{network.params_m:.1f} / {network.macs_m:.0f}",
        *_counted(network, "macs"),
        *_counted(network, "paper"),
    )


def _counted(network: PublishedNetwork, counting: CountingMode) -> tuple[str, str]:
    cost = network.space.costs(counting=counting).cost([network.architecture])
    params_m, macs_m = cost["params"].item() / 1e6, cost["macs"].item() / 1e6
    errors = (100 * (params_m / network.params_m - 1), 100 * (macs_m / network.macs_m - 1))
    return f"{params_m:.3f} / {macs_m:.1f}", " / ".join(f"{error:+.2f}" for error in errors)


if __name__ == "__main__":
    main()
