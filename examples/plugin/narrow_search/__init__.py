"""A search space and a method for raynas, found through their entry points."""
