"""Running out of memory, on a GPU or on a CPU, told from every other error."""

from __future__ import annotations

import torch


def ran_out(error: BaseException) -> bool:
    """Whether memory was what was missing; on a CPU torch says so in words alone."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
