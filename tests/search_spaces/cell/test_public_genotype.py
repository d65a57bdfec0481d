"""Published cells: texts of DARTS, PC-DARTS, P-DARTS give networks of the printed size; wrong texts are refused."""

from __future__ import annotations

from typing import Any

import pytest

from search_spaces.cell.public_genotype import PublicGenotype
from search_spaces.errors import UserError
from search_spaces.families.darts import SINGLE_OPERATIONS, DartsSpace, settings_of_text
from tests.support.published_cells import DARTS_V2, PC_DARTS, PDARTS
from tests.support.small_spaces import cells


def space(name: str = "darts", **settings: Any) -> DartsSpace:
    loaded = cells(name, {**SINGLE_OPERATIONS, "affine": True, **settings})
    assert isinstance(loaded, DartsSpace)
    return loaded


@pytest.mark.parametrize(
    ("text", "params", "printed"),
    [(DARTS_V2, 3_349_342, 3.3), (PC_DARTS, 3_634_678, 3.6), (PDARTS, 3_433_798, 3.4)],
)
def test_published_texts_have_the_printed_parameters(text: str, params: int, printed: float) -> None:
    """20 cells of 36 channels; DARTS's code prints 3.349342 MB."""
    evaluation = space(cells=20, channels=36)
    (counted,) = evaluation.costs().cost([evaluation.parse(text)])["params"].tolist()
    assert counted == params
    assert abs(counted / 1e6 - printed) < 0.05


@pytest.mark.parametrize("text", [DARTS_V2, PC_DARTS, PDARTS])
def test_the_written_form_parses_back(text: str) -> None:
    searched = space()
    architecture = searched.parse(text)
    written = str(searched.public_genotype(architecture))
    assert searched.parse(written) == searched.parse(f"darts: {written}") == architecture
    for kind, nodes in PublicGenotype.parse(text, 6).cells.items():
        assert [sorted(pairs) for pairs in nodes] == [
            sorted(pairs) for pairs in PublicGenotype.parse(written, 6).cells[kind]
        ]


def test_one_edge_can_take_two_operations_where_the_space_allows_it() -> None:
    twice = DARTS_V2.replace("('sep_conv_3x3', 0), ('sep_conv_3x3', 1)", "('sep_conv_3x3', 0), ('sep_conv_5x5', 0)", 1)
    flexible = space(operations=7, subset=True)
    architecture = flexible.parse(twice)
    assert str(architecture).startswith("darts: sep_conv_3x3+sep_conv_5x5 none | ")
    assert flexible.parse(str(flexible.public_genotype(architecture))) == architecture
    with pytest.raises(UserError, match=r"has sep_conv_3x3\+sep_conv_5x5 on the edge from node 0 to node 2"):
        space().parse(twice)


def test_an_architecture_with_another_number_of_inputs_has_no_published_form() -> None:
    searched = space()
    assert searched.public_genotype(searched.architecture([1] * 28)) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Genotype(normal=[", "no Genotype that can be read"),
        ("Genotype(normal=[], reduce=[])", "has the four fields normal, normal_concat, reduce, reduce_concat"),
        ("darts-imagenet: " + PC_DARTS, "begins with 'darts-imagenet:'"),
        (
            PC_DARTS.replace("'avg_pool_3x3', 0), ", "'avg_pool_3x3', 0, 1), "),
            "normal of the Genotype is no list of pairs",
        ),
        (PC_DARTS.replace("('avg_pool_3x3', 0), ", ""), "normal of the Genotype has 7 pairs; it needs 8"),
        (PC_DARTS.replace("('sep_conv_3x3', 3)", "('sep_conv_3x3', 4)"), r"into node 4; the source .* from 0 to 3"),
        (PC_DARTS.replace("avg_pool_3x3", "conv"), "normal of the Genotype has conv on the edge from node 0 to node 5"),
        (PC_DARTS.replace("normal_concat=range(2, 6)", "normal_concat=[4, 5]"), r"normal_concat .* is \[4, 5\]"),
        (PC_DARTS.replace("range(2, 6)", "range(0, 10000000000000)", 1), "normal_concat of the Genotype is"),
        (PC_DARTS.replace("range(2, 6)", "exit()", 1), r"normal_concat of the Genotype is exit\(\)"),
        (PC_DARTS.replace("('avg_pool_3x3', 0)", "exit()"), "normal of the Genotype is no list of pairs"),
    ],
)
def test_wrong_texts_are_refused_and_never_run(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        space().parse(text)


def test_spaces_of_other_settings_name_the_settings() -> None:
    with pytest.raises(UserError, match="two types of cells: set operations=8, subset=false and cell_types=two"):
        space(cell_types="one").parse(PC_DARTS)
    with pytest.raises(UserError, match="set operations=8, subset=false and cell_types=two"):
        space(operations=7).parse(PC_DARTS)


def test_a_text_decides_the_settings_of_its_space() -> None:
    text = str(space().parse(PC_DARTS))
    assert settings_of_text(text) == settings_of_text(PC_DARTS) == SINGLE_OPERATIONS
    assert settings_of_text(text.partition(":")[2], "darts-imagenet") == SINGLE_OPERATIONS
    assert settings_of_text(text.partition(":")[2], "fbnet") == {}
    assert settings_of_text(text.replace("dil_conv_3x3", "dil_conv_3x3+skip_connect")) == {}
    assert settings_of_text(str(cells("darts", {}).architecture([1] * 14))) == {}
