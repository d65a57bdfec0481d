"""Benchmarks of PAD-NAS and of its baselines."""
