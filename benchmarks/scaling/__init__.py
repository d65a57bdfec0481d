"""Scaling: a cluster simulated from measured costs, and Ray's own share of the time."""
