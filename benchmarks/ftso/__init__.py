"""Benchmarks of FTSO."""
