"""Benchmarks of HourNAS."""
