"""FP-NAS's spaces agree with their tables and the printed figures."""

from math import log, log10, prod
from typing import Any

import numpy as np
import pytest
import torch

import search_spaces
from search_spaces import Architecture, SearchSpace, UserError

F = 12**10 * 6**9 * 2 * 3 * 3 * 4 * 4 * 5 * 5 * 6 * 10 * 10
FINE = 12**17 * 6**16 * 2 * 3 * 3**2 * 4 * 4**2 * 5 * 5**2 * 6**3 * 10 * 10**3


def rows(space: SearchSpace) -> list[list[int]]:
    """Return the numbers of options of each group."""
    counts = [len(choice.options) for choice in space.choices]
    return [counts[start : start + 5] for start in range(0, len(counts), 5)]


def largest(space: SearchSpace, attention: str) -> Architecture:
    words = [
        {"kernel": "k5", "activation": "relu", "attention": attention}.get(
            choice.name.rpartition(".")[2], choice.options[-1]
        )
        for choice in space.choices
    ]
    return space.parse(f"{space.name}: {' '.join(words)}")


def test_sizes_follow_from_the_tables() -> None:
    sizes = {name: search_spaces.load(name).size() for name in ("fbnetv2-f", "fbnetv2-f-fine", "fbnetv2-f++")}
    assert sizes == {"fbnetv2-f": F, "fbnetv2-f-fine": FINE, "fbnetv2-f++": F * 1024}
    assert f"{F:.2e} {FINE:.2e}" == "2.70e+24 5.84e+42"
    assert log(F) == pytest.approx(56.25, abs=0.005)  # the entropy of the uniform distribution, in nats


def test_parameters_of_joint_and_factorised_distributions() -> None:
    """FP-NAS section 3.3: 720 compared with 23 for a row; 3624 compared with 177 for the whole space."""
    options = rows(search_spaces.load("fbnetv2-f"))
    assert options[-1] == [3, 2, 2, 6, 10]
    assert (prod(options[-1]), sum(options[-1])) == (720, 23)
    assert (sum(map(prod, options)), sum(map(sum, options))) == (3624, 177)


@pytest.mark.parametrize(
    ("name", "blocks", "groups", "digits", "median_m"),
    [("fp-nas-l0", 27, 11, 32.30, 394), ("fp-nas-l1", 32, 12, 36.02, 909), ("fp-nas-l2", 32, 12, 36.02, 1071)],
)
def test_large_spaces_agree_with_table_3(name: str, blocks: int, groups: int, digits: float, median_m: float) -> None:
    space = search_spaces.load(name)
    assert len(rows(space)) == groups
    assert log10(space.size()) == pytest.approx(digits, abs=0.005)
    assert len({link.target.rpartition(".")[0] for link in space.links()} - {""}) == blocks
    assert median(space) == pytest.approx(median_m, rel=0.02)


def median(space: SearchSpace, **settings: Any) -> float:
    """Return the median of random architectures, in millions of multiply-adds."""
    counts = [len(choice.options) for choice in space.choices]
    indices = np.random.default_rng(0).integers(counts, size=(20_000, len(counts)))
    macs = space.costs(**settings).total(indices)["macs"]
    return float(np.quantile(macs, 0.5, method="lower")) / 1e6


def test_multiply_adds_of_the_largest_and_of_the_median_network() -> None:
    """FP-NAS section 4: "The largest model ... only use 122M FLOPS when input size is 128"."""
    space = search_spaces.load("fbnetv2-f")
    sizes = (128, 160, 192, 224, 256)
    most = [space.costs(resolution=size).cost([largest(space, "se1")])["macs"].item() for size in sizes]
    assert [round(macs / 1e6) for macs in most] == [122, 188, 270, 366, 476]
    assert [median(space, resolution=size) for size in sizes] == pytest.approx([37, 56, 80, 108, 140], rel=0.015)
    split = search_spaces.load("fbnetv2-f++", resolution=128)
    of_splits = split.costs().cost([largest(split, f"s{splits}") for splits in (1, 2, 4)])["macs"].tolist()
    assert [round(macs / 1e6, 1) for macs in of_splits] == [122.0, 141.9, 181.7]


def test_text_lists_the_choices_group_by_group() -> None:
    space = search_spaces.load("fbnetv2-f")
    text = (
        "fbnetv2-f: k3 relu se0 e1 c16 | k0 swish se1 e0.75 c20 | k5 relu se1 e4.5 c24 | k3 relu se0 e1.5 c16 | "
        "k3 relu se0 e0.75 c40 | k3 relu se0 e3 c48 | k3 relu se0 e0.75 c80 | k3 relu se0 e0.75 c72 | "
        "k3 relu se0 e0.75 c112 | k5 swish se1 e3.75 c184"
    )
    assert str(space.parse(text)) == text
    narrow = search_spaces.load("fbnetv2-f", width=0.25, resolution=32)
    assert str(narrow.parse(text)) == text
    assert [choice.name for choice in space.choices[10:15]] == [
        "row3.kernel",
        "row3.activation",
        "row3.attention",
        "row3.expansion",
        "row3.channels",
    ]
    assert search_spaces.load("fbnetv2-f-fine").choices[30].name == "block7.kernel"
    assert search_spaces.load("fbnetv2-f++").choices[2].options == ("s0", "s1", "s2", "s4")


def test_vital_choices_follow_from_the_surviving_shapes() -> None:
    space = search_spaces.load("fbnetv2-f")
    strided = ["row2", "row4", "row6", "row9"]
    assert [choice.name for choice in space.vital()] == [
        choice.name for choice in space.choices if choice.group in strided
    ]
    apart = space.restrict({"row7.channels": ["c48"], "row8.channels": ["c112"]})
    assert "row8" in {choice.group for choice in apart.vital()}


def test_settings_are_honoured_and_rebuilt() -> None:
    strides = [1, 1, 1, 2, 1, 1, 1, 1, 2, 1]
    space = search_spaces.load("fbnetv2-f-fine", width=0.5, resolution=32, stem_stride=1, stage_strides=strides)
    supernet = space.supernet(num_classes=3)
    architecture = space.architecture([len(choice.options) - 1 for choice in space.choices])
    assert supernet.state_dict()["stem.0.weight"].shape == (8, 3, 3, 3)
    assert supernet(torch.zeros(1, 3, 32, 32), architecture).shape == (1, 3)
    pruned = space.restrict({"block4.channels": ["c16", "c24"]})
    rebuilt = search_spaces.from_specification(pruned.specification())
    assert rebuilt.specification() == pruned.specification()
    assert rebuilt.costs().bounds() == pruned.costs().bounds()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "fbnetv2-f: width cannot be 0"),
        ({"stage_strides": [1, 2]}, "fbnetv2-f has 10 rows; stage_strides gives 2 numbers"),
        ({"resolution": 31}, "images of 31 pixels are too small for its strides; use at least 32 pixels"),
        ({"kernels": [3]}, "has no setting 'kernels'"),
    ],
)
def test_settings_that_make_no_space_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        search_spaces.load("fbnetv2-f", **settings)


@pytest.mark.parametrize("name", ["fbnetv2-f", "fp-nas-l2"])
def test_published_supernets_are_built(name: str) -> None:
    with torch.device("meta"):
        supernet = search_spaces.load(name).supernet()
    assert sum(p.numel() for p in supernet.parameters()) > 6_000_000
