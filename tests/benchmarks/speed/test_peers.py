"""The peers' plain loop evaluates the network that was drawn; a peer that is absent is asked for in one sentence."""

import numpy as np
import pytest
import torch

import search_spaces
from benchmarks.speed.peers import Peer, drawn, measure, multiply_adds, padded, plain_loop
from search_spaces.errors import UserError


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nni", "nni needs the package nni: pip install nni pytorch-lightning."),
        ("ofa", "ofa needs the package ofa: pip install ofa tqdm."),
    ],
)
def test_an_absent_peer_is_asked_for(name: Peer, sentence: str) -> None:
    images, labels = torch.zeros(2, 3, 32, 32), torch.zeros(2, dtype=torch.long)
    with pytest.raises(UserError) as raised:
        measure(name, images, labels, [images], batch_size=2, architectures=1, seed=0)
    assert str(raised.value) == sentence


def test_absent_blocks_fill_a_stage_from_behind() -> None:
    stages = [["k3e3"], ["k5e6", "k7e3"], ["k3e3"] * 4, ["k3e6"] * 3, ["k7e6"], ["k5e3"]]
    assert padded(stages, "-") == [
        *("k3e3", "-", "-", "-"),
        *("k5e6", "k7e3", "-", "-"),
        *["k3e3"] * 4,
        *("k3e6", "k3e6", "k3e6", "-"),
        *("k7e6", "-", "-", "-"),
        "k5e3",
    ]


def test_the_plain_loop_runs_what_the_space_counts() -> None:
    stages = drawn(np.random.default_rng(0))
    space = search_spaces.load("proxylessnas", resolution=32, stem_stride=1, num_classes=10)
    blocks = ["k3e1", *padded(stages, "skip")]
    indices = [choice.options.index(block) for choice, block in zip(space.choices, blocks, strict=True)]
    with torch.no_grad():
        images = torch.randn(4, 3, 32, 32)
        classify = plain_loop("nni", [images])(stages)
        assert classify(images).shape == (4, 10)
        assert multiply_adds(classify, images) == space.costs().cost([space.architecture(indices)])["macs"].item()
