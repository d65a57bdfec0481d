"""One run: its plan, its durable steps, and the methods that use them."""
