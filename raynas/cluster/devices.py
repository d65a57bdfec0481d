"""What is decided about devices: what each process asks of a cluster, how workers talk, in which numbers they compute.

All of it is decided from plain values, and so tested on machines that have no such device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raynas.recipe.settings import ProcessScale

_GIB = 2**30


def resources_per_process(scale: ProcessScale) -> dict[str, float]:
    """Return what one process reserves on a node: `CPU`, `GPU` and `memory` in bytes, without zeros."""
    resources = {"CPU": scale.cpus, "GPU": scale.gpus, "memory": scale.memory_gib * _GIB}
    return {key: float(value) for key, value in resources.items() if value}


def gradient_backend(gpus: float) -> Literal["nccl", "gloo"]:
    """How workers add up gradients; two workers that share a GPU cannot do so by NCCL."""
    return "nccl" if gpus >= 1 else "gloo"


def autocast_dtype(device: str, has_bfloat16: bool) -> torch.dtype | None:
    """The type of a training's arithmetic; None for that of its weights, as float16 would need its loss scaled."""
    return torch.bfloat16 if device == "cuda" and has_bfloat16 else None


def describe_resources(resources: Mapping[str, float]) -> str:
    """What a node or a cluster has, or a study needs: `2 CPUs, 1 GPU, 4.0 GiB of memory`."""
    counts = [f"{resources[key]:g} {key}{'s' * (resources[key] != 1)}" for key in ("CPU", "GPU") if key in resources]
    memory = [f"{resources['memory'] / _GIB:.1f} GiB of memory"] if "memory" in resources else []
    return ", ".join([*counts, *memory]) or "nothing"
