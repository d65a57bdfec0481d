"""Ray itself: start or join it, check that a step fits, name the devices of each process."""
