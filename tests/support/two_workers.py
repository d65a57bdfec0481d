"""Two processes in one gloo group, like the workers of a Ray Train job."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import distributed

WORKERS = 2


def run(work: Callable[[int], dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Return the result of `work(rank)` in each process: tensors and JSON values. `work` is a function of a module."""
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        list(pool.map(partial(_work_in_group, work, folder), range(WORKERS)))
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORKERS)]


def _work_in_group(work: Callable[[int], dict[str, Any]], folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=WORKERS)
    try:
        torch.save(work(rank), folder / f"{rank}.pt")
    finally:
        distributed.destroy_process_group()
