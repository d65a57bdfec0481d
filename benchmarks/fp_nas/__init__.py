"""Benchmarks of FP-NAS."""
