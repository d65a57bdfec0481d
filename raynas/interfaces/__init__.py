"""What the engine and a method agree on: objectives, learners, searchers and costs."""
