"""The plain loop evaluates the drawn network; a missing library is an error of one sentence."""

import numpy as np
import pytest
import torch

import search_spaces
from benchmarks.speed.peers import Peer, draw_network, measure, multiply_adds, pad, plain_loop
from search_spaces.errors import UserError


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nni", "nni needs the package nni: pip install nni pytorch-lightning."),
        ("ofa", "ofa needs the package ofa: pip install ofa tqdm."),
    ],
)
def test_a_missing_library_is_an_error(name: Peer, sentence: str) -> None:
    images, labels = torch.zeros(2, 3, 32, 32), torch.zeros(2, dtype=torch.long)
    with pytest.raises(UserError) as raised:
        measure(name, images, labels, [images], batch_size=2, architectures=1, seed=0)
    assert str(raised.value) == sentence


def test_missing_blocks_come_last_in_a_stage() -> None:
    stages = [["k3e3"], ["k5e6", "k7e3"], ["k3e3"] * 4, ["k3e6"] * 3, ["k7e6"], ["k5e3"]]
    assert pad(stages, "-") == [
        *("k3e3", "-", "-", "-"),
        *("k5e6", "k7e3", "-", "-"),
        *["k3e3"] * 4,
        *("k3e6", "k3e6", "k3e6", "-"),
        *("k7e6", "-", "-", "-"),
        "k5e3",
    ]


def test_the_plain_loop_has_the_multiply_adds_of_the_space() -> None:
    stages = draw_network(np.random.default_rng(0))
    space = search_spaces.load("proxylessnas", resolution=32, stem_stride=1, num_classes=10)
    blocks = ["k3e1", *pad(stages, "skip")]
    indices = [choice.options.index(block) for choice, block in zip(space.choices, blocks, strict=True)]
    with torch.no_grad():
        images = torch.randn(4, 3, 32, 32)
        classify = plain_loop("nni", [images])(stages)
        assert classify(images).shape == (4, 10)
        assert multiply_adds(classify, images) == space.costs().cost([space.architecture(indices)])["macs"].item()
