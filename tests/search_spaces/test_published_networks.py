"""The papers' architectures: their layers, and their figures in the papers' own counting."""

import json
from pathlib import Path

import pytest

import search_spaces
from search_spaces import UserError

PARAMS_WITHIN, MACS_WITHIN = 0.015, 0.005

# printed figures in millions: parameters and multiply-adds
PRINTED = {
    "HourNAS-A": (4.8, 298),
    "HourNAS-B": (5.5, 406),
    "HourNAS-C": (4.8, 296),
    "HourNAS-D": (5.5, 394),
    "HourNAS-E": (3.8, 313),
    "HourNAS-F": (5.3, 383),
    "HourNAS-G": (4.7, 297),
    "HourNAS-H": (4.8, 299),
    "HourNAS-I": (4.8, 318),
    "FBNet-Max": (5.7, 583),
    "EfficientNet-Max": (5.8, 738),
    "MnasNet-A1": (3.9, 312),
}

# counted layer by layer without this code, in millions: multiply-adds; parameters and multiply-adds as in the papers
COUNTED = {
    "HourNAS-A": (288.2, 4.801, 298.0),
    "HourNAS-B": (399.1, 5.499, 407.6),
    "HourNAS-C": (291.2, 4.764, 296.1),
    "HourNAS-D": (387.4, 5.495, 394.0),
    "HourNAS-E": (313.2, 3.821, 313.2),
    "HourNAS-F": (382.9, 5.273, 382.9),
    "HourNAS-G": (288.0, 4.718, 296.7),
    "HourNAS-H": (294.4, 4.776, 299.1),
    "HourNAS-I": (312.4, 4.836, 317.5),
    "FBNet-Max": (572.6, 5.705, 583.2),
    "EfficientNet-Max": (724.0, 5.754, 737.6),
    "MnasNet-A1": (311.6, 3.887, 311.6),
    "MobileNetV2": (300.8, 3.505, 300.8),
}


@pytest.mark.parametrize("title", PRINTED)
def test_the_papers_counting_gives_the_printed_figures(title: str) -> None:
    network = search_spaces.published(title.lower())
    assert (network.title, (network.params_m, network.macs_m)) == (title, PRINTED[title])
    cost = network.space.costs(counting="paper").cost([network.architecture])
    assert cost["params"].item() / 1e6 == pytest.approx(network.params_m, rel=PARAMS_WITHIN)
    assert cost["macs"].item() / 1e6 == pytest.approx(network.macs_m, rel=MACS_WITHIN)


@pytest.mark.parametrize("title", COUNTED)
def test_both_countings_agree_with_a_count_by_hand(title: str) -> None:
    network = search_spaces.published(title.lower())
    plain, papers = (
        network.space.costs(counting=counting).cost([network.architecture]) for counting in ("macs", "paper")
    )
    counted = (
        round(plain["macs"].item() / 1e6, 1),
        round(papers["params"].item() / 1e6, 3),
        round(papers["macs"].item() / 1e6, 1),
    )
    assert counted == COUNTED[title]


def test_mobile_net_v2_is_the_authors_network() -> None:
    """HourNAS prints 3.4 million parameters; the authors' network has 3,504,872."""
    network = search_spaces.published("mobilenetv2")
    cost = network.space.costs().cost([network.architecture])
    assert (cost["macs"].item(), cost["params"].item()) == (300_774_272, 3_504_872)
    assert network.space.costs(counting="paper").cost([network.architecture]) == cost


def test_every_published_architecture_is_one_of_its_space() -> None:
    names = search_spaces.published_names()
    assert names == [*sorted(name for name in names if name.startswith("hournas")), *names[9:]]
    assert {search_spaces.published(name).title for name in names} == COUNTED.keys()
    for name in names:
        network = search_spaces.published(name)
        assert network.name == name
        assert network.architecture in network.space
        assert network.space.resolution == 224


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="No published architecture is called 'hournas_a'; the nearest is 'hournas-a'"):
        search_spaces.published("hournas_a")


def test_published_stays_the_function_after_an_import_of_its_module() -> None:
    import search_spaces.published_networks

    assert search_spaces.published is search_spaces.published_networks.published


def test_layers_and_figures_are_those_of_the_tables(shared: Path) -> None:
    hour_nas = json.loads((shared / "reference/published.json").read_text())["HourNAS"]
    figures = {(row["model"], row["table"]): row for row in hour_nas["reported"]["models"]}
    tables = {key: value for key, value in hour_nas["architectures"].items() if key.startswith("table")}
    seen = set()
    for number in (7, 9, 11, 13, 15):
        for title, rows in tables[f"table{number}"].items():
            network = search_spaces.published(title.lower())
            assert network.table == f"HourNAS table {number}"
            layers = [(row["layer"], row["out"], row["stride"], row["op"]) for row in rows if row["op"] != "skip"]
            if title == "MobileNetV2":
                layers[0] = ("1_1", 16, 1, "k3e1")
            assert built(network) == [
                (out, stride, op.replace("SepConv3x3", "sep3")) for _layer, out, stride, op in layers
            ]
            printed = [row for (model, _), row in figures.items() if model == title]
            assert {(row["params_m"], row["flops_m"]) for row in printed} == {(network.params_m, network.macs_m)}
            seen.add(title)
    assert seen == COUNTED.keys()


def built(network: search_spaces.PublishedNetwork) -> list[tuple[int, int, str]]:
    """Return channels, stride and block of every layer that is not skipped."""
    strides, channels = network.space.settings["stage_strides"], network.space.settings["stage_channels"]
    words = str(network.architecture).partition(": ")[2].replace("|", " ").split()
    layers = []
    for choice, word in zip(network.space.choices, words, strict=True):
        stage, layer = (int(number) for number in choice.name.removeprefix("stage").split("."))
        if word != "skip":
            layers.append((channels[stage - 1], strides[stage - 1] if layer == 1 else 1, word))
    return layers
