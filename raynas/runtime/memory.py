"""The memory of a process that computes: told when it ran out, and kept once it was taken."""

from __future__ import annotations

import ctypes

import torch

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""glibc's names of what `mallopt` sets."""


def ran_out(error: BaseException) -> bool:
    """Whether memory was what was missing, on a GPU or on a CPU, where torch says so in words alone."""
    words = any(text in str(error) for text in ("can't allocate memory", "Cannot allocate memory"))
    return words or of_onednn(error) or isinstance(error, torch.OutOfMemoryError | MemoryError)


def of_onednn(error: BaseException) -> bool:
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
