"""The parts of the pictures of cells."""

from __future__ import annotations

from matplotlib.text import Text

from raynas.reporting.cells import DrawnEdge, draw_cells, drawn_edges
from search_spaces.cell.genotype import Genotype
from tests.support.small_spaces import cells


def test_edges_show_operations_and_weights_of_a_genotype() -> None:
    space = cells("darts", {})
    kept = ["skip_connect*0.5+sep_conv_3x3*0.5@0.75", "sep_conv_5x5*1@0.25", *["none"] * 12]
    genotype = Genotype.parse(space, f"darts: {' '.join(kept)}")
    (edges,) = drawn_edges(space, genotype.architecture, genotype.edges)
    assert edges == [DrawnEdge(0, 2, ["skip_connect", "sep_conv_3x3"], 0.75), DrawnEdge(1, 2, ["sep_conv_5x5"], 0.25)]
    figure = draw_cells(space, genotype.architecture, genotype.edges)
    (panel,) = figure.axes
    assert {text.get_text() for text in panel.texts} == {"before", "last", "2", "3", "4", "5", "out", "0.75", "0.25"}
    assert sum(line.get_marker() == "o" for line in panel.lines) == 3
    legend: list[Text] = figure.legends[0].get_texts()
    assert [text.get_text() for text in legend] == ["skip_connect", "sep_conv_3x3", "sep_conv_5x5"]


def test_cells_of_two_kinds_are_two_panels() -> None:
    space = cells("darts", {"cell_types": "two", "subset": False, "operations": 8, "cells": 8, "channels": 4})
    words = [["none"] * 13 + ["skip_connect"], ["sep_conv_3x3"] * 14]
    architecture = space.parse(f"darts: {' '.join(words[0] + words[1])}")
    normal, reduction = drawn_edges(space, architecture)
    assert normal == [DrawnEdge(4, 5, ["skip_connect"], None)]
    assert len(reduction) == 14
    assert len(draw_cells(space, architecture).axes) == 2


def test_the_output_of_cells_with_one_input_is_their_last_node() -> None:
    space = cells("nats-bench", {})
    architecture = space.parse("|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|none~1|none~2|")
    (edges,) = drawn_edges(space, architecture)
    assert [(edge.source, edge.target) for edge in edges] == [(0, 1), (1, 2), (0, 3)]
    (panel,) = draw_cells(space, architecture).axes
    assert {text.get_text() for text in panel.texts} == {"last", "1", "2", "3", "out"}
