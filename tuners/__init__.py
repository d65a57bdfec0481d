"""The methods and the baselines. A method's file reads like the algorithm of its paper, from top to bottom."""
