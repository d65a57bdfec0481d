"""Two processes in one gloo group, as the workers of a Ray Train job are."""

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
    """What `work(rank)`, a function of a module, returns in each of them: tensors and what JSON knows."""
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        list(pool.map(partial(_one, work, folder), range(WORKERS)))
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORKERS)]


def _one(work: Callable[[int], dict[str, Any]], folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=WORKERS)
    try:
        torch.save(work(rank), folder / f"{rank}.pt")
    finally:
        distributed.destroy_process_group()
