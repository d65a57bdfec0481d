"""Speed of training, evaluation and search, against the plain loop and against other systems."""
