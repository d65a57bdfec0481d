"""`raynas describe`: every space, every published architecture, a file of one's own, and names nearly right."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import search_spaces
from raynas.cli.main import main
from search_spaces import LatencyTable

KEYS = ["space", "architecture", "resolution", "macs", "params", "latency_ms", "printed", "counted"]
README = Path(__file__).parents[3] / "README.md"
YAML = """
name: my-space
resolution: 32
num_classes: 10
stem: {channels: 8}
stages:
  - {name: only, channels: 16, repeats: 3, stride: 2, options: [k3e3, k5e6], first: [k3e3]}
"""
Describe = Callable[..., Any]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Describe:
    """What `raynas describe` prints in a folder with `my-space.yaml`: the lines, or with `--json` the value."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-space.yaml").write_text(YAML)

    def describe(*arguments: str) -> Any:
        with suppress(SystemExit):
            main(["describe", *arguments])
        captured = capsys.readouterr()
        assert captured.err == ""
        return json.loads(captured.out) if "--json" in arguments else captured.out.splitlines()

    return describe


@pytest.mark.parametrize("name", search_spaces.names())
def test_every_space(told: Describe, name: str) -> None:
    about, space = told(name, "--json"), search_spaces.load(name)
    assert list(about)[: len(KEYS)] == KEYS
    assert (about["space"], about["resolution"], about["latency_ms"]) == (name, space.resolution, None)
    if space.size() == 1:
        assert str(space.parse(about["architecture"])) == about["architecture"]
    else:
        assert (about["architecture"], about["printed"], about["counted"]) == (None, None, None)
        assert (about["size"], list(about["choices"])) == (str(space.size()), [one.name for one in space.choices])
        assert about["macs"]["min"] < about["macs"]["max"]
        assert about["params"]["min"] < about["params"]["max"]
        drawn = str(space.sample(np.random.default_rng(0)))
        described = told(drawn, "--json")
        assert (list(described), described["architecture"]) == (KEYS, drawn)
        for resource in ("macs", "params"):
            assert about[resource]["min"] <= described[resource] <= about[resource]["max"]
    assert len(told(name)) > len(space.choices)


@pytest.mark.parametrize("name", search_spaces.names())
def test_every_space_with_a_latency_table(told: Describe, name: str) -> None:
    """A table in which every block takes as many milliseconds as it has rows before it."""
    space = search_spaces.load(name)
    table = LatencyTable({key: float(row) for row, key in enumerate(space.latency_blocks())}, "The table")
    table.write(Path("t.csv"))
    about = told(name, "--latency", "t.csv", "--json")
    costs = space.costs(latency=table)
    low, high = costs.bounds()["latency_ms"]
    drawn = space.sample(np.random.default_rng(0))
    exact = costs.cost([drawn])["latency_ms"].item()
    assert low <= exact <= high
    assert about["latency_ms"] == ({"min": low, "max": high} if space.size() > 1 else exact)
    assert told(str(drawn), "--latency", "t.csv")[0].endswith(f" M parameters, {exact:.3f} ms")


def test_ranges_of_latency_are_printed(told: Describe) -> None:
    space = search_spaces.load("nas-bench-macro")
    LatencyTable(dict.fromkeys(space.latency_blocks(), 0.5), "The table").write(Path("t.csv"))
    # stem, three strided skips, head, classifier; or eight blocks in place of the skips
    assert told("nas-bench-macro", "--latency", "t.csv")[1].endswith(" M parameters, 3.000 - 5.500 ms")


@pytest.mark.parametrize("name", search_spaces.published_names())
def test_every_published_architecture(told: Describe, name: str) -> None:
    known, about = search_spaces.published(name), told(name, "--json")
    assert list(about) == KEYS
    assert (about["space"], about["architecture"]) == (known.space.name, str(known.architecture))
    assert about["printed"] == {"macs_m": known.macs_m, "params_m": known.params_m}
    plain, counted = (known.space.costs(counting=way).cost([known.architecture]) for way in ("macs", "paper"))
    for resource in ("macs", "params"):
        assert about[resource] == int(plain[resource])
        assert about["counted"][resource] == int(counted[resource])
    assert told(str(known.architecture), "--json") == about
    lines = told(name)
    assert f"{known.macs_m:g} M multiply-adds, {known.params_m:g} M parameters printed" in lines[1]
    layers = [line.split() for line in lines[3:]]
    assert [(words[0], words[-1]) for words in layers] == [
        (choice.name, choice.write(value))
        for choice, value in zip(known.space.choices, known.architecture.indices, strict=True)
    ]
    assert [words[0] for words in layers if "vital" in words] == [choice.name for choice in known.space.vital()]


def test_papers_print_nothing_of_other_resolutions_and_other_architectures(told: Describe) -> None:
    smaller = told("hournas-a", "--resolution", "192", "--json")
    assert (smaller["resolution"], smaller["printed"], smaller["counted"]) == (192, None, None)
    assert smaller["macs"] < told("hournas-a", "--json")["macs"]
    other = told("nas-bench-macro: skip k5e6 | skip k3e3 k5e6 | k3e3 skip skip", "--json")
    assert (other["printed"], other["counted"]) == (None, None)


def test_a_file_of_ones_own(told: Describe) -> None:
    about = told("my-space.yaml", "--json")
    assert (about["space"], about["size"], about["vital"]) == ("my-space", "4", ["only.1"])
    text = "my-space: k3e3 k5e6 k3e3"
    whole = told("my-space.yaml", "--architecture", text, "--json")
    assert (list(whole), whole["architecture"], whole["resolution"]) == (KEYS, text, 32)
    assert told("my-space.yaml", "--architecture", "k3e3 k5e6 k3e3", "--json") == whole
    assert told("my-space.yaml", "--architecture", text, "--resolution", "64", "--json")["macs"] > whole["macs"]
    assert told("nas-bench-macro", "--architecture", "skip skip | skip skip skip | skip skip skip", "--json")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hournas-aa"], "No search space and no published architecture is called 'hournas-aa'; the nearest is 'hourn"),
        (["fbnet-maximal"], "the nearest is 'fbnet-max', and there are darts"),
        (["fbnetz"], "the nearest is 'fbnet', and there are darts"),
        (["nowhere.yaml"], "There is no file nowhere.yaml in "),
        (["my-space.yaml", "--architecture", "k3e3 k5e6"], "has 3 choices, not 2"),
        (["my-space.yaml", "--architecture", "k5e6 k5e6 k5e6"], "only.1 of my-space cannot be 'k5e6'; it can be k3e3."),
        (["my-space.yaml", "--resolution", "1"], "images of 1 pixels are too small"),
        (["my-space.yaml", "--resolution", "0"], "'--resolution'"),
        (["my-space.yaml", "--latency", "none.csv"], "The latency table none.csv cannot be read"),
        (["my-space.yaml", "--latency", "my-space.yaml"], "The latency table my-space.yaml holds no rows"),
        (["my-space.yaml", "--table", "pixel"], "--table pixel names a table of a file"),
    ],
)
def test_what_there_is_not(
    told: Describe,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["describe", *arguments])
    captured = capsys.readouterr()
    assert (end.value.code, captured.out, len(captured.err.splitlines())) == (2, "", 1)
    assert said in captured.err


def test_the_spaces_in_the_readme(told: Describe, tmp_path: Path) -> None:
    """Both forms are described as they stand there, and so is what the README asks of them."""
    text = README.read_text()
    blocks = dict(re.findall(r"```(?:yaml|python)\n# (my.space\.(?:yaml|py))\n(.*?)```", text, re.DOTALL))
    assert set(blocks) == {"my-space.yaml", "my_space.py"}
    for name, block in blocks.items():
        (tmp_path / name).write_text(block)
        assert int(told(name, "--json")["size"]) > 1
    commands = re.findall(r"^raynas describe ([^\n#]*?)\s*(?:#.*)?$", text, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        arguments = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', command)]
        assert len(told(*arguments)) > 3


def test_cells_are_described_at_the_size_of_their_evaluation_network(told: Describe) -> None:
    """DARTS table 1: 3.3 M parameters in 20 cells of 36 channels."""
    cell = f"darts: {'sep_conv_3x3 ' * 5}none {'none ' * 22}"
    settings = {"cells": 20, "channels": 36, "operations": 8, "subset": "false", "cell_types": "two", "affine": "true"}
    value = told(cell, *(f"--set={key}={setting}" for key, setting in settings.items()), "--json")
    assert told(cell, *(f"--set=space.{key}={setting}" for key, setting in settings.items()), "--json") == value
    space = search_spaces.load(
        "darts", cells=20, channels=36, operations=8, subset=False, cell_types="two", affine=True
    )
    assert value["params"] == int(space.costs().cost([space.parse(cell)])["params"])


def test_a_genotype_is_described_by_what_is_left(told: Describe) -> None:
    weighed = told(f"darts: skip_connect*0.5+sep_conv_3x3*0.5@0.25 {'none ' * 13}", "--json")
    assert weighed == told(f"darts: skip_connect+sep_conv_3x3 {'none ' * 13}", "--json")


def test_uniform_splits_are_described(told: Describe) -> None:
    space = search_spaces.load("fbnetv2-f")
    text = str(space.sample(np.random.default_rng(0)))
    value = told(text, "--splits", "4", "--json")
    assert value["space"] == "fbnetv2-f++"
    assert value["architecture"] == text.replace("fbnetv2-f:", "fbnetv2-f++:").replace("se1", "s4").replace("se0", "s0")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["darts", "--set=cell=20"], "no setting 'cell'"),
        (["darts: " + "none " * 28], "has cells of two types: set cell_types: two."),
        (["darts: " + "none " * 14, "--set=cell_types=two"], "has cells of one type: set cell_types: one."),
        (["hournas-a", "--set=width=0.5"], "published in the settings of its space"),
        (["darts: skip_connect*x@1 " + "none " * 13], "node2.0 cannot be"),
        (["fbnetv2-f", "--splits=2"], "is for an architecture"),
    ],
)
def test_settings_that_do_not_fit(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(["describe", *arguments])
    assert refusal.value.code == 2
    assert said in capsys.readouterr().err
