"""`raynas describe`: every space, every published architecture, files of user spaces, and misspelt names."""

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
from tests.support.published_cells import DARTS_V2

KEYS = ["space", "architecture", "resolution", "macs", "params", "latency_ms", "printed", "counted"]
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "own-space.md"
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
def describe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Describe:
    """A function that runs `raynas describe` in a folder with `my-space.yaml`.

    It returns the printed lines, or with `--json` the value.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-space.yaml").write_text(YAML)

    def run(*arguments: str) -> Any:
        with suppress(SystemExit):
            main(["describe", *arguments])
        captured = capsys.readouterr()
        assert captured.err == ""
        return json.loads(captured.out) if "--json" in arguments else captured.out.splitlines()

    return run


@pytest.mark.parametrize("name", search_spaces.names())
def test_every_space_is_described(describe: Describe, name: str) -> None:
    description, space = describe(name, "--json"), search_spaces.load(name)
    assert list(description)[: len(KEYS)] == KEYS
    assert [description[key] for key in ("space", "resolution", "latency_ms")] == [name, space.resolution, None]
    if space.size() == 1:
        assert str(space.parse(description["architecture"])) == description["architecture"]
    else:
        assert (description["architecture"], description["printed"], description["counted"]) == (None, None, None)
        assert description["size"] == str(space.size())
        assert list(description["choices"]) == [choice.name for choice in space.choices]
        assert description["macs"]["min"] < description["macs"]["max"]
        assert description["params"]["min"] < description["params"]["max"]
        drawn = str(space.sample(np.random.default_rng(0)))
        sampled = describe(drawn, "--json")
        assert (list(sampled), sampled["architecture"]) == (KEYS, drawn)
        for resource in ("macs", "params"):
            assert description[resource]["min"] <= sampled[resource] <= description[resource]["max"]
    assert len(describe(name)) > len(space.choices)


@pytest.mark.parametrize("name", search_spaces.names())
def test_every_space_is_described_with_a_latency_table(describe: Describe, name: str) -> None:
    """The latency of a block is the number of its row, in milliseconds."""
    space = search_spaces.load(name)
    table = LatencyTable({key: float(row) for row, key in enumerate(space.latency_blocks())}, "The table")
    table.write(Path("t.csv"))
    description = describe(name, "--latency", "t.csv", "--json")
    costs = space.costs(latency=table)
    low, high = costs.bounds()["latency_ms"]
    drawn = space.sample(np.random.default_rng(0))
    exact = costs.cost([drawn])["latency_ms"].item()
    assert low <= exact <= high
    assert description["latency_ms"] == ({"min": low, "max": high} if space.size() > 1 else exact)
    assert describe(str(drawn), "--latency", "t.csv")[0].endswith(f" M parameters, {exact:.3f} ms")


def test_latency_ranges_are_printed(describe: Describe) -> None:
    space = search_spaces.load("nas-bench-macro")
    LatencyTable(dict.fromkeys(space.latency_blocks(), 0.5), "The table").write(Path("t.csv"))
    # stem, three strided skips, head, classifier; or eight blocks in place of the skips
    assert describe("nas-bench-macro", "--latency", "t.csv")[1].endswith(" M parameters, 3.000 - 5.500 ms")


@pytest.mark.parametrize("name", search_spaces.published_names())
def test_every_published_architecture_is_described(describe: Describe, name: str) -> None:
    known, description = search_spaces.published(name), describe(name, "--json")
    assert list(description) == KEYS
    assert (description["space"], description["architecture"]) == (known.space.name, str(known.architecture))
    assert description["printed"] == {"macs_m": known.macs_m, "params_m": known.params_m}
    plain, counted = (known.space.costs(counting=way).cost([known.architecture]) for way in ("macs", "paper"))
    for resource in ("macs", "params"):
        assert description[resource] == plain[resource].item()
        assert description["counted"][resource] == counted[resource].item()
    assert describe(str(known.architecture), "--json") == description
    lines = describe(name)
    assert f"{known.macs_m:g} M multiply-adds, {known.params_m:g} M parameters printed" in lines[1]
    layers = [line.split() for line in lines[3:]]
    assert [(words[0], words[-1]) for words in layers] == [
        (choice.name, choice.write(value))
        for choice, value in zip(known.space.choices, known.architecture.indices, strict=True)
    ]
    assert [words[0] for words in layers if "vital" in words] == [choice.name for choice in known.space.vital()]


def test_other_resolutions_and_architectures_have_no_printed_figures(describe: Describe) -> None:
    smaller = describe("hournas-a", "--resolution", "192", "--json")
    assert (smaller["resolution"], smaller["printed"], smaller["counted"]) == (192, None, None)
    assert smaller["macs"] < describe("hournas-a", "--json")["macs"]
    other = describe("nas-bench-macro: skip k5e6 | skip k3e3 k5e6 | k3e3 skip skip", "--json")
    assert (other["printed"], other["counted"]) == (None, None)


def test_published_cells_are_described_in_both_forms(describe: Describe) -> None:
    """DARTS's code prints 3.349342 MB for DARTS_V2 at 20 cells of 36 channels."""
    size = ("--set", "cells=20", "--set", "channels=36", "--set", "affine=true")
    public = describe(f"darts: {DARTS_V2}", *size, "--json")
    assert public["params"] == 3_349_342
    assert describe(public["architecture"], *size, "--json") == public
    assert describe("darts", "--architecture", DARTS_V2, *size, "--json") == public
    assert describe(f"darts: {public['genotype']}", *size, "--json") == public
    assert public["genotype"] in describe(public["architecture"], *size)


def test_a_user_space_is_described(describe: Describe) -> None:
    description = describe("my-space.yaml", "--json")
    assert (description["space"], description["size"], description["vital"]) == ("my-space", "4", ["only.1"])
    text = "my-space: k3e3 k5e6 k3e3"
    whole = describe("my-space.yaml", "--architecture", text, "--json")
    assert (list(whole), whole["architecture"], whole["resolution"]) == (KEYS, text, 32)
    assert describe("my-space.yaml", "--architecture", "k3e3 k5e6 k3e3", "--json") == whole
    assert describe("my-space.yaml", "--architecture", text, "--resolution", "64", "--json")["macs"] > whole["macs"]
    assert describe("nas-bench-macro", "--architecture", "skip skip | skip skip skip | skip skip skip", "--json")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["hournas-aa"], "No search space and no published architecture is called 'hournas-aa'; the nearest is 'hourn"),
        (["fbnet-maximal"], "the nearest is 'fbnet-max', and there are darts"),
        ([DARTS_V2], "Name the space of this Genotype: begin the text with 'darts:' or 'darts-imagenet:'"),
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
def test_unknown_names_and_wrong_options_are_refused(
    describe: Describe,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    part: str,
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["describe", *arguments])
    captured = capsys.readouterr()
    assert (end.value.code, captured.out, len(captured.err.splitlines())) == (2, "", 1)
    assert part in captured.err


def test_the_spaces_of_the_page_are_described(describe: Describe, tmp_path: Path) -> None:
    """The YAML file and the Python file of the page on own spaces, and its commands."""
    text = PAGE.read_text()
    blocks = dict(re.findall(r"```(?:yaml|python)\n# (my.space\.(?:yaml|py))\n(.*?)```", text, re.DOTALL))
    assert set(blocks) == {"my-space.yaml", "my_space.py"}
    for name, block in blocks.items():
        (tmp_path / name).write_text(block)
        assert int(describe(name, "--json")["size"]) > 1
    commands = re.findall(r"^raynas describe ([^\n#]*?)\s*(?:#.*)?$", text, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        arguments = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', command)]
        assert len(describe(*arguments)) > 3


def test_cells_are_described_at_the_size_of_their_evaluation_network(describe: Describe) -> None:
    """DARTS table 1: 3.3 M parameters in 20 cells of 36 channels."""
    cell = f"darts: {'sep_conv_3x3 ' * 5}none {'none ' * 22}"
    settings = {"cells": 20, "channels": 36, "operations": 8, "subset": "false", "cell_types": "two", "affine": "true"}
    value = describe(cell, *(f"--set={key}={setting}" for key, setting in settings.items()), "--json")
    assert describe(cell, *(f"--set=space.{key}={setting}" for key, setting in settings.items()), "--json") == value
    space = search_spaces.load(
        "darts", cells=20, channels=36, operations=8, subset=False, cell_types="two", affine=True
    )
    assert value["params"] == space.costs().cost([space.parse(cell)])["params"].item()


def test_a_genotype_is_described_by_its_operations(describe: Describe) -> None:
    genotype = describe(f"darts: skip_connect*0.5+sep_conv_3x3*0.5@0.25 {'none ' * 13}", "--json")
    assert genotype == describe(f"darts: skip_connect+sep_conv_3x3 {'none ' * 13}", "--json")


def test_uniform_splits_are_described(describe: Describe) -> None:
    space = search_spaces.load("fbnetv2-f")
    text = str(space.sample(np.random.default_rng(0)))
    value = describe(text, "--splits", "4", "--json")
    assert value["space"] == "fbnetv2-f++"
    assert value["architecture"] == text.replace("fbnetv2-f:", "fbnetv2-f++:").replace("se1", "s4").replace("se0", "s0")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["darts", "--set=cell=20"], "no setting 'cell'"),
        (["darts: " + "none " * 28, "--set=cell_types=one"], "has cells of two types: set cell_types: two."),
        (["darts: " + "none " * 14, "--set=cell_types=two"], "has cells of one type: set cell_types: one."),
        (["hournas-a", "--set=width=0.5"], "published in the settings of its space"),
        (["darts: skip_connect*x@1 " + "none " * 13], "node2.0 cannot be"),
        (["fbnetv2-f", "--splits=2"], "is for an architecture"),
    ],
)
def test_wrong_settings_are_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], part: str) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(["describe", *arguments])
    assert refusal.value.code == 2
    assert part in capsys.readouterr().err
