"""The run folder: the only package that reads and writes the files of a run."""
