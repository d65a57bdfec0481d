"""Benchmarks of HM-NAS."""
