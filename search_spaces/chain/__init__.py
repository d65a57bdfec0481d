"""Layer-by-layer (chain) spaces: a network is a sequence of blocks, and each block has one choice."""
