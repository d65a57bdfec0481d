"""One-shot accuracy: the evaluator in plain torch, and the Ray actors that share the work over a cluster."""
