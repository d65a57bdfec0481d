"""What every process of a run sets before it computes, so that results do not depend on where they are computed."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

import torch


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


NAMESPACE = "raynas"


_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""glibc's names of what `mallopt` sets."""


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether memory was what was missing, on a GPU or on a CPU, where torch says so in words alone."""
    words = any(text in str(error) for text in ("can't allocate memory", "Cannot allocate memory"))
    return words or is_onednn_failure(error) or isinstance(error, torch.OutOfMemoryError | MemoryError)


def is_onednn_failure(error: BaseException) -> bool:
    """Whether oneDNN, which computes convolutions on a CPU, could not create what it had no memory for."""
    return str(error).startswith("could not create a ")


def keep_freed_memory() -> None:
    """From now on this process keeps the memory that it frees, for what it allocates next.

    By default glibc takes every large block from the kernel and gives it back when it is freed. The kernel hands out
    empty pages one by one, which takes longer than most layers compute: up to nine tenths of the time of an elementwise
    operation on a large feature map. Where there is no glibc nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
        mallopt(_ARENA_MAX, 1)
