"""Test the choices for GPUs and memory from plain values; the machine needs no GPU."""

import pytest
import torch

from raynas.cluster.devices import autocast_dtype, describe_resources, gradient_backend, resources_per_process
from raynas.recipe.settings import ProcessScale


@pytest.mark.parametrize(
    ("scale", "resources"),
    [
        ({"cpus": 1}, {"CPU": 1}),
        ({}, {}),
        ({"gpus": 1, "cpus": 1}, {"CPU": 1, "GPU": 1}),
        ({"gpus": 0.25, "memory_gib": 1.5}, {"GPU": 0.25, "memory": 1_610_612_736}),
    ],
)
def test_a_process_reserves_its_settings_without_zeros(scale: dict[str, float], resources: dict[str, float]) -> None:
    assert resources_per_process(ProcessScale.model_validate(scale)) == resources


@pytest.mark.parametrize(("gpus", "backend"), [(0, "gloo"), (0.5, "gloo"), (1, "nccl"), (2, "nccl")])
def test_workers_with_whole_gpus_use_nccl(gpus: float, backend: str) -> None:
    assert gradient_backend(gpus) == backend


@pytest.mark.parametrize(
    ("device", "has_bfloat16", "dtype"),
    [("cuda", True, torch.bfloat16), ("cuda", False, None), ("cpu", True, None), ("cpu", False, None)],
)
def test_only_gpus_with_bfloat16_use_it(device: str, has_bfloat16: bool, dtype: torch.dtype | None) -> None:
    assert autocast_dtype(device, has_bfloat16) == dtype


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({}, "nothing"),
        ({"CPU": 1.0, "node:10.0.0.1": 1.0}, "1 CPU"),
        ({"memory": 4 * 2**30, "GPU": 0.5, "CPU": 2.0}, "2 CPUs, 0.5 GPUs, 4.0 GiB of memory"),
        ({"GPU": 1.0, "CPU": 0.0}, "0 CPUs, 1 GPU"),
    ],
)
def test_resources_are_described_in_words(resources: dict[str, float], words: str) -> None:
    assert describe_resources(resources) == words
