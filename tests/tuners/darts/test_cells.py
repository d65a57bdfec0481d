"""The discrete cell of a weighted mixture."""

import torch

import search_spaces
from tuners.darts.cells import discretise, edges_by_node, strongest_operation_weights
from tuners.darts.weighted_mixture import Mixture

SKIP, CONV = 1, 3
"""Positions among the options none, skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3."""


def test_a_node_keeps_its_two_strongest_inputs_and_each_edge_its_strongest_operation() -> None:
    space = search_spaces.load("nats-bench")
    weights = torch.full((6, 5), 0.1)
    weights[:, 0] = 0.9  # `none` is no operation, so that its weight keeps no edge.
    weights[0, CONV], weights[1, SKIP], weights[2, CONV] = 0.2, 0.3, 0.2
    weights[3, CONV], weights[4, SKIP], weights[5, 4] = 0.5, 0.3, 0.4
    assert str(discretise(space, weights, strongest_operation_weights(space, weights), inputs=2)) == (
        "nats-bench: |nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|+|nor_conv_3x3~0|none~1|avg_pool_3x3~2|"
    )
    by_edge = torch.tensor([0, 0, 0, 0.1, 0.2, 0.3])
    assert str(discretise(space, weights, by_edge, inputs=1)) == (
        "nats-bench: |nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|avg_pool_3x3~2|"
    )
    weights[1:5, 0] = 0
    assert str(discretise(space, weights, by_edge, inputs=None)) == (
        "nats-bench: |none~0|+|skip_connect~0|nor_conv_3x3~1|+|nor_conv_3x3~0|skip_connect~1|none~2|"
    )


def test_a_node_keeps_two_inputs_if_edges_take_subsets() -> None:
    space = search_spaces.load("darts", cells=3, channels=2, resolution=8)
    learner = Mixture(edges="softmax").begin(space, space.costs(), 3)
    options_taken = [
        choice.taken(value) for choice, value in zip(space.choices, learner.most_probable().indices, strict=True)
    ]
    assert [sum(len(options_taken[edge]) for edge in edges) for edges in edges_by_node(space)] == [2, 2, 2, 2]
    assert {len(options) for options in options_taken} == {0, 1}
