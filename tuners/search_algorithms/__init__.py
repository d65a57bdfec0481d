"""Search algorithms that methods share: NSGA-II, evolution and random search."""
