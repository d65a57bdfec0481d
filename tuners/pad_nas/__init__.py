"""PAD-NAS (Xia et al.): prune the search space between rounds of training and search. Also its baselines."""
