"""Elastic spaces: channels, kernels and expansions are slices of shared weights (FBNetV2, FP-NAS)."""
