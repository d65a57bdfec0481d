"""One-shot accuracy: the evaluator (pure torch) and the supernet actors that share it out over a cluster."""
