"""FP-NAS table 7's variants differ only in their splits, and so do their costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import load
from search_spaces.errors import UserError
from search_spaces.families.uniform_splits import with_uniform_splits


def test_attention_gets_the_splits_and_nothing_else_changes() -> None:
    space = load("fbnetv2-f")
    architecture = space.sample(np.random.default_rng(0))
    target, derived = with_uniform_splits(space, architecture, 4)
    assert target.name == "fbnetv2-f++"
    before, after = (str(text).partition(": ")[2].split() for text in (architecture, derived))
    changed = {(old, new) for old, new in zip(before, after, strict=True) if old != new}
    assert changed == {("se0", "s0"), ("se1", "s4")}
    assert with_uniform_splits(target, derived, 2)[1] == with_uniform_splits(space, architecture, 2)[1]


def test_the_splits_extra_multiply_adds_are_linear_as_in_table_7() -> None:
    """S1 has 7 M more with 2 splits and 21 M more with 4; one split is squeeze-and-excitation."""
    space = load("fbnetv2-f", resolution=128)
    generator = np.random.default_rng(1)
    for _ in range(5):
        architecture = space.sample(generator)
        macs = {0: float(space.costs().cost([architecture])["macs"].item())}
        for splits in (1, 2, 4):
            target, derived = with_uniform_splits(space, architecture, splits)
            macs[splits] = float(target.costs().cost([derived])["macs"].item())
        assert macs[1] == macs[0]
        assert macs[4] - macs[1] == pytest.approx(3 * (macs[2] - macs[1]), rel=0.02)


@pytest.mark.parametrize("splits", [2, 4])
def test_costs_are_those_of_the_network(splits: int) -> None:
    space = load("fbnetv2-f", resolution=32, width=0.5, num_classes=7)
    target, derived = with_uniform_splits(space, space.sample(np.random.default_rng(2)), splits)
    assert target.settings["resolution"] == 32
    network = target.network(derived).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        assert network(torch.randn(1, 3, 32, 32)).shape == (1, 7)
    assert counter.get_total_flops() // 2 == target.costs().cost([derived])["macs"].item()
    assert sum(weight.numel() for weight in network.parameters()) == target.costs().cost([derived])["params"].item()


def test_other_spaces_and_splits_are_refused() -> None:
    space = load("proxylessnas")
    architecture = space.sample(np.random.default_rng(0))
    with pytest.raises(UserError, match=r"fbnetv2-f and fbnetv2-f\+\+, .* proxylessnas is another space"):
        with_uniform_splits(space, architecture, 2)
    space = load("fbnetv2-f")
    with pytest.raises(UserError, match="of 1, 2, 4 splits, not of 3"):
        with_uniform_splits(space, space.sample(np.random.default_rng(0)), 3)
