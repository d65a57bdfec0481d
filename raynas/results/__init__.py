"""The results of a run as pandas tables: evaluations, Pareto front, best network."""
