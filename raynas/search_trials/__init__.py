"""A search as a Ray Tune run: its trials and the loop of each trial."""
