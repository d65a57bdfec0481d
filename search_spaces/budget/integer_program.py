"""Find an architecture within limits on costs, by an integer program on the table of costs.

Layers with the same options at the same costs form a group: a variable counts how many of them take an option. This
removes the symmetry that branch and bound would otherwise explore. Each choice takes one option. A subset takes any
number of its options, and nothing else constrains its variables.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from search_spaces.costs import TableCosts
from search_spaces.errors import UserError

Window = tuple[float, float]
Floats = NDArray[np.float64]

NODES = 50_000  # branch and bound gives up here; unlike a time limit, at the same point on every machine
SLACK = 1e-5  # ten times the solver's tolerance of a constraint


def find_architecture(
    costs: TableCosts,
    windows: Mapping[str, Window],
    objective: Floats,
    gap: float = 0.0,
    grouped: bool = True,
) -> tuple[int, ...] | None:
    """Return the option indices of an architecture whose exact costs lie in all windows; None if there is none.

    Args:
        costs: the table, and the options that survive.
        windows: for each resource the least and the greatest cost allowed; -inf and inf mean no limit.
        objective: shape (choices, most options of a choice). The result has the least sum over the options that it
            takes.
        gap: by what share the result's sum may exceed the least sum. At 0.3 the solver is much faster.
        grouped: whether equal layers are counted together. A group uses the objective of its first layer, so this must
            be False if the objective differs between equal layers.

    Raises:
        UserError: if branch and bound gives up. This takes several windows of a few parts in 100,000.
    """
    groups = _groups(costs) if grouped else [[choice] for choice in range(len(costs.surviving))]
    indices = _solve(costs, windows, objective, groups, gap, widen=+1)
    if indices is None or _within(costs, windows, indices):
        return indices
    indices = _solve(costs, windows, objective, groups, gap, widen=-1)
    if indices is None or not _within(costs, windows, indices):
        raise _undecided(windows)
    return indices


def _groups(costs: TableCosts) -> list[list[int]]:
    """Group the choices with the same surviving options at the same costs, up to a constant."""
    groups: dict[object, list[int]] = {}
    for choice, kept in enumerate(costs.surviving):
        above = [tuple(_options(costs, resource, choice)[1].tolist()) for resource in costs.table]
        groups.setdefault((choice in costs.subsets, kept, *above), []).append(choice)
    return list(groups.values())


def _options(costs: TableCosts, resource: str, choice: int) -> tuple[float, Floats]:
    """Return the least cost of the choice, and the cost of each surviving option above it."""
    row = costs.table[resource][choice, list(costs.surviving[choice])]
    least = 0.0 if choice in costs.subsets else float(row.min())
    return least, row - least


def _solve(
    costs: TableCosts,
    windows: Mapping[str, Window],
    objective: Floats,
    groups: list[list[int]],
    gap: float,
    widen: int,
) -> tuple[int, ...] | None:
    """Do `find_architecture` up to the solver's tolerance.

    Args:
        widen: +1 widens the windows by slightly more than the tolerance, -1 narrows them.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # takes a third of a second; actors do not need it

    kept = [list(costs.surviving[group[0]]) for group in groups]
    layers = np.array([len(group) for group in groups])
    lengths = [len(options) for options in kept]
    options_taken = np.repeat(np.eye(len(kept)), lengths, axis=1)
    least = [0 if group[0] in costs.subsets else len(group) for group in groups]
    most = [len(group) * (len(kept[i]) if group[0] in costs.subsets else 1) for i, group in enumerate(groups)]
    constraints = [LinearConstraint(options_taken, least, most)]
    for resource, window in windows.items():
        row, low, high = _constraint(costs, resource, window, groups, widen)
        if low > high:
            return None
        constraints.append(LinearConstraint(row[np.newaxis], low, high))
    weights = np.concatenate([objective[group[0], options] for group, options in zip(groups, kept, strict=True)])
    with _silent_stdout():
        solution = milp(
            weights,
            integrality=np.ones(len(weights), dtype=np.int64),
            bounds=Bounds(0, np.repeat(layers, lengths)),
            constraints=constraints,
            options={"node_limit": NODES, "mip_rel_gap": gap},
        )
    if solution.x is None:
        if solution.status == 2:  # the program has no solution
            return None
        raise _undecided(windows)
    indices = [0] * len(costs.surviving)
    for group, options, counts in zip(groups, kept, np.split(solution.x, np.cumsum(lengths)[:-1]), strict=True):
        if group[0] in costs.subsets:
            for option, count in zip(options, np.rint(counts).astype(int), strict=True):
                for choice in group[:count]:
                    indices[choice] |= 1 << option
        else:
            taken = np.repeat(options, np.rint(counts).astype(int))
            for choice, option in zip(group, taken, strict=True):
                indices[choice] = int(option)
    return tuple(indices)


@contextmanager
def _silent_stdout() -> Iterator[None]:
    """Discard standard output. HiGHS prints its repairs there despite all settings; programs read our output."""
    stdout = os.dup(1)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def _constraint(
    costs: TableCosts, resource: str, window: Window, groups: list[list[int]], widen: int
) -> tuple[Floats, float, float]:
    """Return a window as a row over the variables, scaled to the solver's resolution.

    Multiply-adds and parameters are counted in their greatest common divisor. A unit then separates allowed from
    forbidden costs, and widening by a quarter of it only allows for the solver's tolerance. Latency has no unit: it is
    resolved to a hundred-millionth of the slowest option.
    """
    options = [_options(costs, resource, choice) for choice in range(len(costs.surviving))]
    least = sum(lowest for lowest, _ in options) + costs.fixed[resource]
    above = np.concatenate([options[group[0]][1] for group in groups])
    low, high = window[0] - least, window[1] - least
    if resource == "latency_ms":
        scale = max(above.max(), 1e-9) / 1000
        slack = widen * SLACK
        return above / scale, low / scale - slack, high / scale + slack
    unit = max(np.gcd.reduce(above.astype(np.int64)), 1)
    low, high = np.ceil(low / unit), np.floor(high / unit)
    if low > high:
        return above, low, high
    scale = max(above.max() / unit / 1e6, 1.0)
    return above / unit / scale, (low - 0.25 * widen) / scale, (high + 0.25 * widen) / scale


def _within(costs: TableCosts, windows: Mapping[str, Window], indices: tuple[int, ...]) -> bool:
    exact = costs.total(np.array([indices]))
    return all(low <= exact[resource].item() <= high for resource, (low, high) in windows.items())


def _undecided(windows: Mapping[str, Window]) -> UserError:
    return UserError(
        f"The search for an architecture within the limits on {' and '.join(windows)} was given up; widen them."
    )
