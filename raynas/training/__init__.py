"""Training of supernets and of single networks: Ray Train jobs, and the loop of every worker."""
