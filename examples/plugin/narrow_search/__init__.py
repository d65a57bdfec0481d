"""A search space and a method for raynas, which finds both by their entry points."""
