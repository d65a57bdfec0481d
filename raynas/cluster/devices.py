"""What is decided about devices: what each process asks of a cluster, how workers talk, in which numbers they compute.

All of it is decided from plain values, and so tested on machines that have no such device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raynas.recipe.recipe import ScaleSettings

_GIB = 2**30


def bundle(scale: ScaleSettings, cpus: float) -> dict[str, float]:
    """What one process asks of a node: `CPU`, `GPU`, and `memory` in bytes, as far as it asks for any."""
    asked = {"CPU": cpus, "GPU": scale.gpus, "memory": scale.memory_gib * _GIB}
    return {key: float(value) for key, value in asked.items() if value}


def backend(gpus: float) -> Literal["nccl", "gloo"]:
    """How workers add up gradients; two workers that share a GPU cannot do so by NCCL."""
    return "nccl" if gpus >= 1 else "gloo"


def autocast_dtype(device: str, has_bfloat16: bool) -> torch.dtype | None:
    """The type of a training's arithmetic; None for that of its weights, as float16 would need its loss scaled."""
    return torch.bfloat16 if device == "cuda" and has_bfloat16 else None


def in_words(resources: Mapping[str, float]) -> str:
    """What a node or a cluster has, or a study needs: `2 CPUs, 1 GPU, 4.0 GiB of memory`."""
    counts = [f"{resources[key]:g} {key}{'s' * (resources[key] != 1)}" for key in ("CPU", "GPU") if key in resources]
    memory = [f"{resources['memory'] / _GIB:.1f} GiB of memory"] if "memory" in resources else []
    return ", ".join([*counts, *memory]) or "nothing"
