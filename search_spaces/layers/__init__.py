"""Layers that several kinds of spaces share, and their costs."""
