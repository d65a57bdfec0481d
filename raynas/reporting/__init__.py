"""Reports for people: the HTML page, figures, comparisons, the progress of a run."""
