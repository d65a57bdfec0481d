"""Budgets: limits on costs, and whether an architecture can meet them."""
