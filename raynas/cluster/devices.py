"""Choose the resources of a process, the backend of workers and the number type of a training.

The functions take plain values, so that tests need no such device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from raynas.recipe.settings import ProcessScale

_GIB = 2**30


def resources_per_process(scale: ProcessScale) -> dict[str, float]:
    """Return what one process reserves on a node: `CPU`, `GPU` and `memory` in bytes, without zeros."""
    resources = {"CPU": scale.cpus, "GPU": scale.gpus, "memory": scale.memory_gib * _GIB}
    return {key: float(value) for key, value in resources.items() if value}


def gradient_backend(gpus: float) -> Literal["nccl", "gloo"]:
    """Return the backend that sums gradients over workers. NCCL does not work if two workers share a GPU."""
    return "nccl" if gpus >= 1 else "gloo"


def autocast_dtype(device: str, has_bfloat16: bool) -> torch.dtype | None:
    """Return the number type of a training's arithmetic; None for the type of its weights.

    float16 is never chosen, because it would need loss scaling.
    """
    import torch

    return torch.bfloat16 if device == "cuda" and has_bfloat16 else None


def describe_resources(resources: Mapping[str, float]) -> str:
    """Return resources in words, such as `2 CPUs, 1 GPU, 4.0 GiB of memory`."""
    counts = [f"{resources[key]:g} {key}{'s' * (resources[key] != 1)}" for key in ("CPU", "GPU") if key in resources]
    memory = [f"{resources['memory'] / _GIB:.1f} GiB of memory"] if "memory" in resources else []
    return ", ".join([*counts, *memory]) or "nothing"
