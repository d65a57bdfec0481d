"""Latency on this machine: time the blocks of a space, and compare their sums with whole networks."""
