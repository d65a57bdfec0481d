"""Supernet and stand-alone training: the loop that each Ray Train worker runs, and its launch."""
