"""Prepare a process so that its results do not depend on the machine, and recognise a lack of memory."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

NAMESPACE = "raynas"
"""The Ray namespace of the named actors of a run."""

# The numbers of the options of glibc's `mallopt`.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def prepare_process(threads: int, deterministic: bool) -> None:
    """Fix the number of torch threads and the kernels of this process, and let it keep freed memory.

    Without this, Ray sets the number of threads from the CPU share, and the results of batch norm depend on it.
    """
    import torch  # takes a second; a process that only checks a recipe does not need it

    keep_freed_memory()
    torch.set_num_threads(threads)
    if deterministic and torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for its next allocations.

    By default glibc gets each large block from the kernel and returns it when the block is freed. The kernel hands out
    empty pages one by one, which takes longer than most layers compute: up to nine tenths of the time of an elementwise
    operation on a large feature map. Without glibc this function changes nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
        mallopt(_ARENA_MAX, 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether a GPU or a CPU ran out of memory. On a CPU only torch's message tells this."""
    import torch

    in_message = any(text in str(error) for text in ("can't allocate memory", "Cannot allocate memory"))
    return in_message or is_onednn_failure(error) or isinstance(error, torch.OutOfMemoryError | MemoryError)


def is_onednn_failure(error: BaseException) -> bool:
    """Return whether oneDNN, which computes convolutions on a CPU, had no memory to create an object."""
    return str(error).startswith("could not create a ")


def cpu_model() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()
