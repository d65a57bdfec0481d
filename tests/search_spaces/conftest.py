"""Use one thread: other work on the machine must not slow these small networks down."""

import torch

torch.set_num_threads(1)
