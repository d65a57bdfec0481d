"""The parts of a search's time, and the free oracle."""

import pytest

from benchmarks.common.actor_oracles import FreeOracle
from benchmarks.common.timed_search import TimedNsga2
from benchmarks.scaling.ray_share import time_searches


def test_the_oracle_repeats_its_figures() -> None:
    first, second = FreeOracle().evaluate([(0, 3, 6), (0, 3, 6)], None)
    assert first == second
    assert 50.0 < first["top1"] < 100.0


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_the_parts_add_up_to_the_whole() -> None:
    (timing,) = time_searches(1, TimedNsga2(population=4, generations=3))
    assert 0.0 < timing.search < timing.generations < timing.whole
    assert timing.whole == pytest.approx(timing.start + timing.generations + timing.end)
