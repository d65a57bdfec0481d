"""The checks that DARTS, HM-NAS and FTSO share."""

from typing import Any

import pytest

import search_spaces
from search_spaces import Budget, UserError
from tuners.darts.checks import (
    check_edges_can_be_removed,
    check_no_budget,
    check_partial_channels,
    check_space_has_cells,
)


@pytest.mark.parametrize("settings", [{}, {"operations": 8, "subset": False}, {"subset": False}])
def test_edges_that_cannot_be_removed_are_refused(settings: dict[str, Any]) -> None:
    space = search_spaces.load("darts", cells=3, channels=2, resolution=8, **settings)
    if settings == {"subset": False}:
        with pytest.raises(UserError, match=r"node3\.0 of darts cannot be left out: put none among its operations"):
            check_edges_can_be_removed(space, 2)
        check_edges_can_be_removed(space, None)
    else:
        check_edges_can_be_removed(space, 2)


def test_spaces_without_cells_and_budgets_are_refused() -> None:
    with pytest.raises(UserError, match="nas-bench-macro has no cells with edges for the method darts"):
        check_space_has_cells(search_spaces.load("nas-bench-macro"), "darts")
    check_space_has_cells(search_spaces.load("nats-bench"), "darts")
    with pytest.raises(UserError, match="The method pc-darts accepts no budget"):
        check_no_budget(Budget.model_validate({"macs": {"max": 1}}), "pc-darts")
    check_no_budget(Budget({}), "pc-darts")


def test_pc_darts_needs_a_part_of_the_channels() -> None:
    everywhere: list[tuple[str, dict[str, Any]]] = [("darts", {}), ("darts", {"partial": 1}), ("nats-bench", {})]
    for name, settings in everywhere:
        with pytest.raises(UserError, match=f"space.partial of {name} is 1: set space.partial=4"):
            check_partial_channels(search_spaces.load(name, **settings))
    check_partial_channels(search_spaces.load("darts", channels=16, partial=4))
