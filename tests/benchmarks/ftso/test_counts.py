"""The counts of FTSO's section 3, and the multiply-adds of whole training steps."""

import pytest
import torch

from benchmarks.ftso.counts import EdgeCounts, counted_step, edge_macs, searches, step_cost


def test_the_counts_are_those_of_section_3() -> None:
    counts = EdgeCounts(nodes=7, operators=8)
    assert (counts.edges, counts.darts, counts.topology_search, counts.operator_search) == (14, 112, 14, 64)
    assert f"{counts.parameter_share(kernel=5, channels=512):.1e}" == "1.9e-08"
    assert f"{counts.flops_share(kernel=5, channels=512):.1e}" == "9.8e-06"


def test_the_space_has_the_operations_of_section_3() -> None:
    darts, *_ = searches()
    assert sum(len(options) for options in darts.space.surviving) == 2 * 112


def test_whole_steps_have_the_printed_costs() -> None:
    """Reference, section 6: 300.3 M, 56.6 M and 20.7 M forward on darts; 1/14 and about 1/30 of DARTS."""
    torch.set_num_threads(1)
    first, _, partial, ftso, nats, second, nats_ftso = searches()
    costs = [step_cost(search) for search in (first, partial, ftso)]
    assert [round(cost.forward / 1e6, 1) for cost in costs] == [300.3, 56.6, 20.7]
    assert costs[0].params == 1_930_618
    assert round(costs[0].step / costs[2].step, 1) == 14.5
    assert round(step_cost(nats).step / step_cost(nats_ftso).step) == 31
    assert edge_macs(nats_ftso.space) == 0
    for search in (nats, second, nats_ftso):  # without a depthwise convolution the counter is right
        assert counted_step(search) == pytest.approx(step_cost(search).step, rel=0.05)
