"""Benchmarks of images that people bring."""
