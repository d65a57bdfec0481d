"""What a person reads: the HTML report, figures, comparisons, live progress of a run."""
