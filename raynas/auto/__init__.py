"""`raynas auto`: from a folder of images to an exported network."""
