"""Latency tables: both forms, sums by hand, and missing rows."""

import csv
import gzip
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

import search_spaces
from search_spaces import Budget, LatencyTable, SearchSpace, UserError
from search_spaces.latency_table import LatencyKey

# nas-bench-macro with skips elsewhere, in round milliseconds
ROWS = """\
op, size, in_channels, out_channels, kernel, expansion, stride, se, latency_ms
stem, 32, 3, 32, 3, , 1, , 1
head, 4, 256, 1280, 1, , , , 2
classifier, 1, 1280, 10, , , , , 0.5
skip, 32, 32, 64, 1, , 2, false, 0.25
mbconv, 32, 32, 64, 3, 3, 2, false, 4
skip, 16, 64, 128, 1, , 2, , 0.125
skip, 8, 128, 256, 1, , 2, , 0.0625
mbconv, 4, 256, 256, 3, 3, 1, , 8
"""

PROXYLESS = "proxyless_mobile_trim"


FBNET_ROWS = """\
op,size,in_channels,out_channels,kernel,expansion,stride,groups,latency_ms
stem,32,3,16,3,0,1,1,{all_skip_ms}
head,4,352,1984,1,0,1,1,0
classifier,1,1984,100,1,0,1,1,0
"""


@pytest.fixture
def space() -> SearchSpace:
    """Leave two choices: the first layer and the last layer, each skip or k3e3."""
    space = search_spaces.load("nas-bench-macro")
    skips = {choice.name: ["skip"] for choice in space.choices}
    return space.restrict(skips | {"stage1.1": ["skip", "k3e3"], "stage3.3": ["skip", "k3e3"]})


@pytest.fixture
def table(tmp_path: Path) -> LatencyTable:
    path = tmp_path / "phone.csv"
    path.write_text(ROWS)
    return LatencyTable.read(path)


def test_latency_is_the_sum_over_blocks(space: SearchSpace, table: LatencyTable) -> None:
    costs = space.costs(latency=table)
    assert costs.resources == ("macs", "params", "latency_ms")
    architectures = [space.architecture(indices) for indices in product(*space.surviving)]
    latency_ms = costs.cost(architectures)["latency_ms"].tolist()
    assert latency_ms == [3.9375, 11.9375, 7.6875, 15.6875]
    assert costs.bounds()["latency_ms"] == (3.9375, 15.6875)


def test_a_latency_budget_includes_both_ends(space: SearchSpace, table: LatencyTable) -> None:
    costs = space.costs(latency=table)
    for low, high in ((3.9375, 3.9375), (7, 8), (0, 3.9375), (15.6875, 99)):
        Budget.model_validate({"latency_ms": {"min": low, "max": high}}).check(costs)
    with pytest.raises(UserError, match=r"can be 3\.9375 to 15\.6875, but nothing between 7\.6875 and 11\.9375\."):
        Budget.model_validate({"latency_ms": {"min": 8, "max": 11}}).check(costs)
    with pytest.raises(UserError, match="exclude each other"):
        Budget.model_validate({"latency_ms": {"max": 4}, "params": {"min": 400_000}}).check(costs)


def test_yaml_and_csv_give_the_same_table(tmp_path: Path, table: LatencyTable) -> None:
    rows = [{**key._asdict(), "latency_ms": latency_ms} for key, latency_ms in table.entries_ms.items()]
    path = tmp_path / "phone.yaml"
    path.write_text(yaml.safe_dump(rows))
    assert LatencyTable.read(path).entries_ms == table.entries_ms


def test_a_table_is_read_as_it_was_written(tmp_path: Path, table: LatencyTable) -> None:
    table.entries_ms[LatencyKey("Sep conv", 8, 16, 16, 3, 5.3333, 2, se=True, groups=2)] = 0.1 + 0.2
    table.entries_ms[LatencyKey("mbconv", 8, 16, 16, 3, 0.75, 1, se=True, splits=4, activation="swish")] = 0.5
    path = tmp_path / "written.csv"
    path.write_text("what was there before")
    table.write(path)
    assert LatencyTable.read(path).entries_ms == table.entries_ms
    assert list(tmp_path.glob("*written*")) == [path]


def test_expansions_are_told_apart_to_four_decimals(tmp_path: Path) -> None:
    path = tmp_path / "phone.csv"
    path.write_text("op,size,in_channels,out_channels,expansion,latency_ms\nmbconv,8,24,16,0.66666,1\n")
    assert list(LatencyTable.read(path).entries_ms) == [LatencyKey("mbconv", 8, 24, 16, 1, 0.6667, 1)]


@pytest.mark.parametrize(
    "name",
    [
        *("darts", "darts-imagenet", "fbnet", "mnasnet", "mobilenetv3", "nas-bench-macro", "nats-bench"),
        *("proxylessnas", "resnet20"),
    ],
)
def test_measured_blocks_are_those_of_the_networks(name: str) -> None:
    """The multiply-adds of the single blocks add up to those of the whole network."""
    space = search_spaces.load(name, width=0.25, resolution=64)
    macs = {}
    for key, (build, input_shape) in space.latency_blocks().items():
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            build().eval()(torch.zeros(1, *input_shape))
        macs[key] = counter.get_total_flops() / 2
    costs = space.costs(latency=LatencyTable(macs, "Multiply-adds as if they were milliseconds"))
    generator = np.random.default_rng(0)
    sums = costs.cost([space.sample(generator) for _ in range(20)])
    assert sums["latency_ms"].tolist() == sums["macs"].tolist()


def test_a_missing_block_is_named(table: LatencyTable) -> None:
    with pytest.raises(
        UserError, match="no latency for mbconv, input 32x32, channels 32 to 64, kernel 5, expansion 6, str"
    ):
        search_spaces.load("nas-bench-macro").costs(latency=table)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "op,size\n", "holds no rows"),
        ("t.yaml", "just text", "holds no rows"),
        ("t.yaml", "[1, 2", "YAML cannot read the latency table"),
        ("t.csv", ROWS + "mbconv, 4, 256, 256, 3, 3, 1, , 9\n", "row 9: there already is a row for mbconv, input 4x4"),
        ("t.csv", ROWS + ", 4, 256, 256, 3, 3, 1, , 9\n", "row 9: op: Field required"),
        ("t.csv", ROWS.replace("stride", "strides"), "row 1: strides: Extra inputs"),
        ("t.csv", ROWS + "mbconv, 4, 256, 256, 3, 3, 1, , fast\n", "row 9: latency_ms"),
        ("t.csv", ROWS + "mbconv, 4, 256, 256, 3, 3, 1, , 1, 2\n", "row 9"),
    ],
)
def test_unreadable_tables_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        LatencyTable.read(tmp_path / name)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        LatencyTable.read(tmp_path / "none.csv")


@pytest.fixture
def measured(shared: Path) -> Path:
    return shared / "data/mobile_block_latency.csv"


def test_proxyless_mobile_summed_from_the_measured_table(measured: Path) -> None:
    """The table covers the basic space with 24 channels in its second stage. Its milliseconds were copied by hand."""
    space = search_spaces.load("proxylessnas", stage_channels=[16, 24, 40, 80, 96, 192, 320])
    costs = space.costs(latency=LatencyTable.read(measured, PROXYLESS))
    proxyless_mobile = space.parse(
        "proxylessnas: k3e1 | k5e3 k3e3 skip skip | k7e3 k3e3 k5e3 k5e3 | k7e6 k5e3 k5e3 k5e3 | "
        "k5e6 k5e3 k5e3 k5e3 | k7e6 k7e6 k7e3 k7e3 | k7e6"
    )
    by_hand = [
        *(4.083755600814664, 3.8821352201257864),  # stem, stage 1
        *(7.519106918238994, 6.273091549295775),
        *(5.026178343949045, 2.8568403990024933, 3.48371186440678, 3.48371186440678),
        *(4.252204819277108, 2.126525798525799, 2.126525798525799, 2.126525798525799),
        *(4.288940397350994, 2.791579326923077, 2.791579326923077, 2.791579326923077),
        *(3.7876918918918916, 4.692726368159204, 2.4565533333333334, 2.4565533333333334),
        *(5.8280783132530125, 3.088623217922607, 0.3096415478615071),  # stage 7, head, classifier
    ]
    assert costs.cost([proxyless_mobile])["latency_ms"].item() == pytest.approx(sum(by_hand))
    assert sum(by_hand) == pytest.approx(82.5239, abs=1e-4)


def test_an_architecture_is_the_sum_of_the_files_own_rows(measured: Path) -> None:
    """The csv module looks up rows by their `key` text; the reader takes no part."""
    with measured.open(newline="") as file:
        rows = {row["key"]: float(row["mean_ms"]) for row in csv.DictReader(file) if row["table"] == PROXYLESS}
    space = search_spaces.load("proxylessnas", stage_channels=[16, 24, 40, 80, 96, 192, 320])
    layers = [(112, 32, 16, 1)]
    for size, before, channels, stride in (
        *((112, 16, 24, 2), (56, 24, 40, 2), (28, 40, 80, 2)),
        *((14, 80, 96, 1), (14, 96, 192, 2)),
    ):
        layers += [(size, before, channels, stride), *[(size // stride, channels, channels, 1)] * 3]
    layers.append((7, 192, 320, 1))
    always = ("Conv-input:224x224x3-output:112x112x32", "Conv_1-input:7x7x320-output:7x7x1280")
    generator = np.random.default_rng(0)
    architectures = [space.sample(generator) for _ in range(50)]
    by_hand = []
    for architecture in architectures:
        total = sum(rows[key] for key in (*always, "Logits-input:7x7x1280-output:1000"))
        words = str(architecture).partition(": ")[2].replace("|", " ").split()
        for word, (size, before, channels, stride) in zip(words, layers, strict=True):
            if word != "skip":
                total += rows[
                    f"expanded_conv-input:{size}x{size}x{before}-output:{size // stride}x{size // stride}x{channels}-"
                    f"expand:{word[3]}-kernel:{word[1]}-stride:{stride}-idskip:{int(before == channels)}"
                ]
        by_hand.append(total)
    costs = space.costs(latency=LatencyTable.read(measured, PROXYLESS))
    assert costs.cost(architectures)["latency_ms"].tolist() == pytest.approx(by_hand, rel=1e-12)


# The totals of two devices are printed with nine digits: up to 99.9999999 ms, they are rounded by up to 5e-8.
@pytest.mark.parametrize(
    ("device", "tolerance"), [("eyeriss", 1e-9), ("fpga", 1e-9), ("pixel3", 5.1e-8), ("raspi4", 5.1e-8)]
)
def test_fbnet_networks_have_the_measured_latency(shared: Path, tmp_path: Path, device: str, tolerance: float) -> None:
    """Sum 5,000 networks from a table of blocks by their shapes alone, which layers of one shape share.

    The table was derived from totals: it has only the additional latency of a block over a skip. Skips are thus 0, and
    the stem's row holds the latency of the network of skips, stem and head included.
    """
    derived = json.loads((shared / "data/fbnet_space_lut_derived.json").read_text())
    per_stage, channels = derived["layers"]["per_stage"], derived["layers"]["channels"]
    strides = derived["layers"]["strides_first_in_stage"]
    latencies = derived["devices"][device]
    file = FBNET_ROWS.format(all_skip_ms=latencies["all_skip_ms"])
    table: dict[str, float] = {}
    layers = iter(latencies["delta_vs_skip_ms"])
    size, before = 32, 16
    for repeats, after, stage_stride in zip(per_stage, channels, strides, strict=True):
        for layer in range(repeats):
            stride = stage_stride if layer == 0 else 1
            for op, latency_ms in zip(derived["ops"], next(layers), strict=True):
                shape = f"{size},{before},{after}"
                if op == "skip" and stride == 1 and before == after:
                    continue
                if op == "skip":
                    row = f"skip,{shape},1,0,{stride},1"
                else:
                    kernel, expansion = int(op[1]), int(op[4])
                    groups = 2 if op.endswith("g2") else 1
                    kind = "mbconv-expand" if expansion == 1 else "mbconv"
                    row = f"{kind},{shape},{kernel},{expansion},{stride},{groups}"
                assert table.setdefault(row, latency_ms) == pytest.approx(latency_ms, abs=1e-12)
            size, before = size // stride, after
    path = tmp_path / "device.csv"
    path.write_text(file + "".join(f"{row},{latency_ms!r}\n" for row, latency_ms in table.items()))
    space = search_spaces.load("fbnet", resolution=32, num_classes=100, stem_stride=1, stage_strides=strides)
    with gzip.open(shared / "data/fbnet_space_latency.csv.gz", "rt", newline="") as packed:
        networks = list(csv.DictReader(packed))
    words = [op.replace("_e1_g2", "g2").replace("_", "") for op in derived["ops"]]
    architectures = [
        space.parse("fbnet: " + " ".join(words[int(op)] for op in network["op_idx"].split("-"))) for network in networks
    ]
    assert len(architectures) == 5000
    summed = space.costs(latency=LatencyTable.read(path)).cost(architectures)["latency_ms"]
    assert np.abs(summed - [float(network[device]) for network in networks]).max() < tolerance


def test_tables_of_one_file_are_told_apart_and_hidden_channels_become_ratios(measured: Path) -> None:
    with pytest.raises(UserError, match="say which table is meant; there are itouchz_pixel_trim, ofa_note10_160"):
        LatencyTable.read(measured)
    with pytest.raises(UserError, match="there is no table 'ofa_note10_100'; the nearest is 'ofa_note10_1"):
        LatencyTable.read(measured, "ofa_note10_100")
    note10 = LatencyTable.read(measured, "ofa_note10_160")
    key = LatencyKey("mbconv", 10, 136, 136, kernel=3, expansion=4, stride=1, se=True)
    assert note10.latency_ms(key) == 1.1835826086956518
