"""Latency on this machine: measure the blocks of a space and compare their sums with whole networks."""
