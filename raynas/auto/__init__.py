"""`raynas auto`: plan a run for a folder of images, run it, train the best network and export it."""
