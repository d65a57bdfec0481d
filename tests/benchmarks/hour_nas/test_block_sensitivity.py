"""Table 6's network, the networks of appendix A, and a tiny run of the benchmark."""

import torch

from benchmarks.common.plain_training import read_images
from benchmarks.hour_nas.block_sensitivity import (
    BACKBONES,
    RESOLUTION,
    TABLE_6,
    mean_rows,
    measure_one_shot,
    small_space,
    train_standalone,
    variants,
)


def test_the_network_is_table_6s() -> None:
    space = TABLE_6()
    vital = [choice.name for choice in space.vital()]
    assert vital == ["stage2.1", "stage3.1", "stage4.1", "stage5.1", "stage6.1", "stage7.1"]
    assert len(space.choices) == 12


def test_438_of_504_networks_are_distinct() -> None:
    space = small_space(10)
    networks = [
        architecture
        for backbone in BACKBONES
        for architectures in variants(space, backbone).values()
        for architecture in architectures
    ]
    assert len(networks) == 504
    assert len(set(networks)) == 6 + 6 * 12 * 6


def test_means_of_standard_deviations_by_hand() -> None:
    space = small_space(10)
    vital = {choice.name for choice in space.vital()}
    accuracies = {("k3e6", c.name): [0.0, 4.0] if c.name in vital else [1.0, 2.0] for c in space.choices}
    (row,) = mean_rows(space, accuracies, accuracies)
    assert row == ["k3e6", "2.00", "0.50", "2.00", "0.50"]


def test_a_network_is_measured_standalone_and_in_the_supernet() -> None:
    torch.set_num_threads(1)
    images = read_images(None, RESOLUTION, 0)
    space = small_space(10)
    architecture = variants(space, "k3e1")["stage1.1"][-1]
    assert 10 < train_standalone(space, architecture, images, 6, 0.0, 0) <= 100
    pruned = space.only(architecture)
    assert 10 < measure_one_shot(pruned, [architecture], images, 6, 0.0, 0)[0] <= 100
