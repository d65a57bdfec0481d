"""One thread: other work on the machine must not stretch these small networks."""

import torch

torch.set_num_threads(1)
