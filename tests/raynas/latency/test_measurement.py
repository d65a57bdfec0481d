"""Latency tables are measured, written, read back and checked. No test depends on the speed of the machine."""

import csv
import json
import math
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

import search_spaces
from raynas.cli.main import main
from raynas.latency import measurement
from raynas.latency.measurement import compare_times
from raynas.storage.progress import Quiet
from search_spaces import LatencyTable, SearchSpace, UserError
from search_spaces.latency_table import LatencyKey, TimedBlock

SPACE = ["nas-bench-macro", "--resolution", "16", "--set", "width=0.25"]

WORDS = ["4", "measured", "summed", "Pearson", "bias:", "error:", "error"]

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def raynas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """A function that runs `raynas latency ...` in an empty folder, and returns status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str, str]:
        try:
            main(["latency", *arguments])
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return command


@pytest.fixture
def space() -> SearchSpace:
    return search_spaces.load("nas-bench-macro", resolution=16, width=0.25)


def test_every_block_of_the_space_is_written_once(raynas: Command, space: SearchSpace) -> None:
    status, out, err = raynas("measure", *SPACE, "--repeats", "2", "--json")
    assert (status, err) == (0, "")
    result = json.loads(out)
    assert list(result) == ["table", "rows", "device", "seconds"]
    assert result["table"] == "nas-bench-macro-cpu.csv"
    # stem, head, classifier; three strided skips; at three places k3e3 and k5e6 with and without the stage's stride
    assert result["rows"] == 3 + 3 + 3 * 4
    table = LatencyTable.read(result["table"])
    assert len(table.entries_ms) == result["rows"]
    space.costs(latency=table)
    for key in table.entries_ms:
        rest = LatencyTable({other: ms for other, ms in table.entries_ms.items() if other != key}, "The rest")
        with pytest.raises(UserError, match="has no latency for"):
            space.costs(latency=rest)


def test_the_table_sums_and_has_its_conditions(raynas: Command, space: SearchSpace) -> None:
    status, out, err = raynas("measure", *SPACE, "--out", "new/here.csv", "--repeats", "1", "--batch-size", "2")
    assert status == 0
    assert out.splitlines()[-1] == "new/here.csv"
    assert "18 blocks on" in err
    rows = list(csv.DictReader(Path("new/here.csv").read_text().splitlines()))
    by_hand = sum(float(row["latency_ms"]) for row in rows if row["op"] != "mbconv")
    all_skips = space.architecture([0] * 8)
    assert space.costs(latency=LatencyTable.read("new/here.csv")).cost([all_skips])["latency_ms"].item() == (
        pytest.approx(by_hand)
    )
    conditions = yaml.safe_load(Path("new/here.about.yaml").read_text())
    assert [conditions[key] for key in ("space", "device", "threads", "batch_size", "rounds")] == [
        space.specification(),
        "cpu",
        1,
        2,
        1,
    ]
    assert {"device_name", "torch", "date", "spread_percent"} <= set(conditions)


def test_check_compares_sums_with_whole_networks(raynas: Command, space: SearchSpace) -> None:
    raynas("measure", *SPACE, "--out", "t.csv", "--repeats", "2")
    status, out, err = raynas("check", *SPACE[:1], "t.csv", *SPACE[1:], "--architectures", "4", "--repeats", "2", "-q")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == WORDS
    status, out, err = raynas("check", *SPACE[:1], "t.csv", *SPACE[1:], "--architectures", "4", "--seed", "3", "--json")
    assert (status, err) == (0, "")
    result: dict[str, Any] = json.loads(out)
    networks = result.pop("networks")
    assert len({row["architecture"] for row in networks}) == 4
    costs = space.costs(latency=LatencyTable.read("t.csv"))
    summed = costs.cost([space.parse(row["architecture"]) for row in networks])["latency_ms"].tolist()
    assert [row["summed_ms"] for row in networks] == summed
    assert all(row["measured_ms"] > 0 for row in networks)
    assert all(math.isfinite(result[figure]) for figure in result if figure not in ("table", "device"))
    assert all(-1 <= result[figure] <= 1 for figure in ("pearson", "spearman", "kendall"))


def test_agreement_equals_a_calculation_by_hand() -> None:
    agreement = compare_times([1, 2, 4], [2, 3, 4])
    assert (agreement.pearson, agreement.spearman, agreement.kendall) == pytest.approx((3 / math.sqrt(28 / 3), 1, 1))
    assert (agreement.bias_ms, agreement.rms_error_ms) == pytest.approx((-2 / 3, math.sqrt(2 / 3)))
    assert (agreement.bias_percent, agreement.mean_error_percent) == pytest.approx((-250 / 9, 250 / 9))
    # without the bias the errors are -1/3, -1/3 and 2/3
    assert agreement.unbiased_rms_error_ms == pytest.approx(math.sqrt(2) / 3)
    assert agreement.unbiased_mean_error_percent == pytest.approx(100 * (1 / 6 + 1 / 9 + 1 / 6) / 3)
    assert compare_times([2, 2], [1, 3]).kendall is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["measure", "nas-bench-makro"], "No search space is called 'nas-bench-makro'"),
        (
            ["measure", *SPACE, "--device", "tpu"],
            "The device is 'tpu'; it must be cpu, cuda, or one GPU such as cuda:1.",
        ),
        (["measure", *SPACE, "--device", "cuda:99"], "The device cuda:99 is not on this machine"),
        (["measure", *SPACE, "--set", "width"], "--set takes KEY=VALUE, such as width=0.5, not 'width'."),
        (["measure", *SPACE, "--set", "width=["], "YAML cannot read the value of width"),
        (["measure", *SPACE, "--set", "width=-1"], "width cannot be -1"),
        (["measure", *SPACE, "--set", "depth=2"], "nas-bench-macro has no setting 'depth'"),
        (["measure", "nas-bench-macro", "--resolution", "4"], "images of 4 pixels are too small"),
        (["measure", *SPACE, "--threads", "0"], "--threads"),
        (["measure", *SPACE, "--out", "here.txt"], "here.txt is no CSV file"),
        (["measure", *SPACE, "--out", "taken.csv"], "taken.csv exists already"),
        (["measure", *SPACE, "--out", "taken.csv/t.csv"], "taken.csv/t.csv cannot be written"),
        (["check", *SPACE, "none.csv"], "The latency table none.csv cannot be read"),
        (["check", *SPACE, "taken.csv"], "has no latency for skip, input 16x16, channels 8 to 16, kernel 1"),
        (["check", *SPACE, "taken.csv", "--table", "pixel"], "is one table; it has no table 'pixel'"),
        (["check", *SPACE, "taken.csv", "--architectures", "1"], "--architectures"),
    ],
)
def test_errors_are_one_sentence(raynas: Command, arguments: list[str], message: str) -> None:
    Path("taken.csv").write_text("op,size,in_channels,out_channels,latency_ms\nskip,16,8,16,1\n")
    status, out, err = raynas(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert [path.name for path in Path().iterdir()] == ["taken.csv"]


SLICED = """
from search_spaces.elastic.space import Row, ElasticFamily

ROWS = (
    Row(channels=(4, 8, 4), repeats=1, stride=1, expansion=(1, 1, 1)),
    Row(channels=(8, 24, 4), repeats=2, stride=2),
)
space = ElasticFamily(name="few", paper="", rows=ROWS, attention=("s0", "s1", "s2"), resolution=16, num_classes=3)
"""


@pytest.mark.parametrize(
    ("name", "settings", "rows"),
    [
        # stem, cells' inputs, head; in two cells seven operations at stride 2, and at stride 1 all but the identity
        ("darts", ["resolution=8", "channels=4", "cells=2"], 1 + 3 + 1 + 2 * (7 + 6)),
        ("darts-imagenet", ["resolution=32", "channels=4", "cells=2", "num_classes=10"], 3 + 4 + 1 + 2 * (7 + 6)),
        ("nats-bench", ["resolution=8", "channels=4", "cells=1"], 1 + 2 + 1 + 3 * 3),
        # stem, classifier, heads; skips; kernels x activations x splits, by channels in and out and by expansions
        ("few.py", [], 1 + 1 + 5 + 2 + 2 * 3 + 2 * 2 * 3 * (2 + 2 * 3 * 3 + 3 * 3)),
    ],
)
def test_cells_and_elastic_spaces_are_measured(raynas: Command, name: str, settings: list[str], rows: int) -> None:
    Path("few.py").write_text(SLICED)
    changed = [word for setting in settings for word in ("--set", setting)]
    status, out, _ = raynas("measure", name, *changed, "--out", "t.csv", "--repeats", "2", "--json")
    assert (status, json.loads(out)["rows"]) == (0, rows)
    status, out, err = raynas("check", name, "t.csv", *changed, "--architectures", "4", "--repeats", "2", "-q")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == WORDS


@pytest.mark.slow
def test_the_largest_space_is_measured_in_groups(raynas: Command) -> None:
    tiny = ["--set", "width=0.1", "--resolution", "32", "--set", "num_classes=2"]
    status, out, err = raynas("measure", "fp-nas-l2", *tiny, "--repeats", "1", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["rows"] > 1000
    status, out, _ = raynas("check", "fp-nas-l2", "fp-nas-l2-cpu.csv", *tiny, "--architectures", "2", "--json")
    assert (status, len(json.loads(out)["networks"])) == (0, 2)


def test_every_block_is_timed_once_a_round_and_has_its_own_row() -> None:
    """Five blocks in groups of two. Each block sleeps four times as long as the block before."""
    called: Counter[int] = Counter()

    class Sleeps(nn.Module):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            called[self.number] += 1
            time.sleep(0.5e-3 * 4**self.number)
            return images

    blocks = {LatencyKey("op", 1, n, 1, 1, 0, 1): TimedBlock(partial(Sleeps, n), (n,)) for n in (3, 1, 5, 2, 4)}
    table, _ = measurement.measure_blocks(blocks, measurement.TimingSettings(rounds=3, group_size=2), Quiet())
    assert set(called.values()) == {5}, "three rounds after two warm-up rounds"
    slowest_last = sorted(table.entries_ms, key=table.entries_ms.__getitem__)
    assert [key.in_channels for key in slowest_last] == [1, 2, 3, 4, 5]


def test_a_space_without_latency_blocks_is_refused(space: SearchSpace) -> None:
    with pytest.raises(UserError, match=r"nas-bench-macro does not define the blocks .* add the method latency_blocks"):
        SearchSpace.latency_blocks(space)


def test_more_architectures_than_the_space_has_are_refused(space: SearchSpace) -> None:
    table = LatencyTable(dict.fromkeys(space.latency_blocks(), 1.0), "The table")
    fixed = space.only(space.architecture([0] * 8))
    with pytest.raises(UserError, match="has only 1 architecture: --architectures cannot be 2"):
        measurement.time_networks(fixed, table, 2, 0, measurement.TimingSettings(), reporter=Quiet())
