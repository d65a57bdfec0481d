"""The results of a run as pandas tables: the evaluation table, Pareto fronts, the outcome, stand-alone networks."""
