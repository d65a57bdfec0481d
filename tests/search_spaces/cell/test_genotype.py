"""Genotypes: their text, their compact network, which equals the masked mixture, and text that does not parse."""

from __future__ import annotations

import pytest
import torch

from search_spaces.cell.genotype import Genotype
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from tests.support.small_spaces import cells


@pytest.fixture
def space() -> CellSpace:
    return cells("darts", {"cells": 3, "channels": 4, "resolution": 8, "num_classes": 3})


@pytest.fixture
def genotype(space: CellSpace) -> Genotype:
    generator = torch.Generator().manual_seed(0)
    operations, edges = torch.rand(14, 7, generator=generator), torch.rand(14, generator=generator)
    operations[torch.rand(14, 7, generator=generator) < 0.6] = 0
    operations[3] = 0
    edges[[0, 5]] = 0
    return Genotype.of(space, operations.tolist(), edges.tolist())


def test_an_edge_without_operations_or_weight_is_removed(genotype: Genotype) -> None:
    assert [place for place, value in enumerate(genotype.architecture.indices) if not value] == [0, 3, 5]
    assert [place for place, edge in enumerate(genotype.edges) if not edge] == [0, 3, 5]
    assert not any(genotype.operations[5])
    assert (genotype.weights != 0).sum() == sum(value.bit_count() for value in genotype.architecture.indices)


def test_the_text_parses_back_exactly(space: CellSpace, genotype: Genotype) -> None:
    assert Genotype.parse(space, str(genotype)) == genotype
    small = Genotype.of(space, [[1e-9] + [0.0] * 6] * 14, [1 / 3] * 14)
    assert Genotype.parse(space, str(small)) == small


def test_a_genotype_reads_like_a_sum() -> None:
    space = cells("darts", {"operations": ["skip_connect", "sep_conv_3x3"]})
    rest = "none " * 12
    text = f"darts: skip_connect*0.25+sep_conv_3x3*0.5@0.125 sep_conv_3x3*1@0.1 | {rest}"
    genotype = Genotype.parse(space, text)
    assert genotype.weights[:2].flatten().tolist() == pytest.approx([0.03125, 0.0625, 0, 0.1])
    assert str(genotype.architecture).startswith("darts: skip_connect+sep_conv_3x3 sep_conv_3x3 | none none none | ")


@pytest.mark.parametrize("training", [True, False])
def test_the_compact_network_gives_what_the_masked_mixture_gives(
    space: CellSpace, genotype: Genotype, training: bool
) -> None:
    torch.manual_seed(0)
    supernet = space.supernet()
    images = torch.randn(4, 3, 8, 8)
    for _ in range(3):
        supernet.mixed(images, genotype.weights)
    network = genotype.network()
    network.load_state_dict(space.network_state(genotype.architecture, supernet.state_dict()))
    assert len(network.state_dict()) < len(supernet.state_dict()) / 2
    supernet.train(training)
    network.train(training)
    torch.testing.assert_close(network(images), supernet.mixed(images, genotype.weights), rtol=1e-5, atol=1e-5)


def test_a_node_without_inputs_is_zero(space: CellSpace) -> None:
    edges = [0.0] * 5 + [1.0] * 9
    genotype = Genotype.of(space, [[0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]] * 14, edges)
    assert genotype.network()(torch.randn(2, 3, 8, 8)).shape == (2, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nats-bench: none", "not a genotype of darts"),
        ("darts: none none", "has 14 edges, not 2"),
        (f"darts: skip_connect {'none ' * 13}", r"node2.0 cannot be 'skip_connect': write max_pool_3x3\*0.5@0.25"),
        (f"darts: conv*1@1 {'none ' * 13}", "of the operations max_pool_3x3, avg_pool_3x3"),
        (f"darts: none skip_connect*0.5+skip_connect*0.5@1 {'none ' * 12}", "node2.1 cannot be"),
        (f"darts: skip_connect*1e999@1 {'none ' * 13}", "not a number"),
    ],
)
def test_text_that_does_not_parse(space: CellSpace, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Genotype.parse(space, text)


def test_a_space_whose_edges_take_one_operation_has_no_genotypes() -> None:
    space = cells("nats-bench", {})
    with pytest.raises(UserError, match=r"an edge of nats-bench takes one: set space\.subset=true"):
        Genotype.of(space, [[1.0] * 5] * 6, [1.0] * 6)
