"""The run folder: the only room that reads and writes the files of a run."""
