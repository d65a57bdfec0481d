"""The methods and the baselines: each is one file that reads like its paper's algorithm."""
