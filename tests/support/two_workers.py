"""Two processes in one gloo group, like the workers of a Ray Train job. All tests of a process share them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import distributed

WORKERS = 2


@lru_cache(maxsize=1)
def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn"))


def run(work: Callable[[int], dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Return the result of `work(rank)` in each process: tensors and JSON values. `work` is a function of a module."""
    try:
        list(_pool().map(partial(_work_in_group, work, folder), range(WORKERS)))
    except BrokenProcessPool:
        _pool.cache_clear()
        raise
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORKERS)]


def _work_in_group(work: Callable[[int], dict[str, Any]], folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=WORKERS)
    try:
        torch.save(work(rank), folder / f"{rank}.pt")
    finally:
        distributed.destroy_process_group()
