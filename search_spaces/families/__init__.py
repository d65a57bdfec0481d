"""The published families of search spaces, one file for each."""
