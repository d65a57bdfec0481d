"""The budgets of the experiments on PAD-NAS: a window, and its upper limit alone."""

from __future__ import annotations

from search_spaces import Budget

LEAST_SHARE = 6 / 7
"""The lower limit as a share of the upper one: 60 of 70 ms in the paper's basic space."""


def budgets(most: float, least_share: float = LEAST_SHARE) -> dict[str, Budget]:
    """Return a window of multiply-adds (equation 2), and its upper limit alone."""
    limits = {"window": {"min": least_share * most, "max": most}, "max alone": {"max": most}}
    return {name: Budget.model_validate({"macs": limit}) for name, limit in limits.items()}
