"""Every architecture that the papers print: what it costs as counted here, beside the figures of print.

Plain counts are what `torch.utils.flop_counter` and `numel` say of the built network; the paper's counting is what fits
its figures, and stands with the space.
"""

from __future__ import annotations

from benchmarks.common.report import heading, table
from search_spaces import PublishedNetwork, published, published_names
from search_spaces.space import CountingMode


def main() -> None:
    heading("What the papers' architectures cost", "none; nothing is drawn")
    print("Millions of parameters and of multiply-adds at 224 x 224, and the error against print in per cent.\n")
    table(
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
    params_m, macs_m = int(cost["params"]) / 1e6, int(cost["macs"]) / 1e6
    errors = (100 * (params_m / network.params_m - 1), 100 * (macs_m / network.macs_m - 1))
    return f"{params_m:.3f} / {macs_m:.1f}", " / ".join(f"{error:+.2f}" for error in errors)


if __name__ == "__main__":
    main()
