"""What every process of a run sets before it computes, so that results do not depend on where they are computed."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from raynas.runtime.memory import keep_freed_memory


def prepare_process(threads: int, deterministic: bool) -> None:
    """Fix the number of torch threads (Ray sets it from CPU shares, and batch norm differs with it) and the kernels.

    What the process allocates it keeps, so that it computes rather than waits for the kernel.
    """
    keep_freed_memory()
    torch.set_num_threads(threads)
    if deterministic and torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


def cpu_model() -> str:
    """The processor's name, as the machine tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()
