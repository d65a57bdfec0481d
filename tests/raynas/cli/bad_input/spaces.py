"""Wrong spaces, files of user spaces, architectures and latency tables."""

from __future__ import annotations

from tests.raynas.cli.bad_input.case import NETWORK, Case, Setup, case, changed, file

_YAML = """
name: my-space
resolution: 32
num_classes: 10
stem: {channels: 32, stride: 2}
activation: relu
stages:
  - {name: early, channels: 32, repeats: 2, stride: 1, options: [k3e3, k5e3se, skip]}
  - {name: late, channels: 64, repeats: 2, stride: 2, options: [k3e3, k5e6, skip]}
"""


def _table(fault: str, before: str, after: str, *parts: str) -> Case:
    assert before in _YAML
    return case(fault, ["describe", "own.yaml"], *parts, setup=file("own.yaml", _YAML.replace(before, after)))


def _module(fault: str, text: str | bytes, *parts: str) -> Case:
    return case(fault, ["describe", "own.py"], *parts, setup=file("own.py", text))


def _setting(fault: str, setting: str, *parts: str, space: str = "nas-bench-macro") -> Case:
    return case(fault, ["describe", space, "--set", setting], *parts)


SETTINGS = [
    changed("an unknown space", "space=nasbench-macro", "'nasbench-macro'", "'nas-bench-macro'"),
    changed("a space without a name", "space={width: 1}", "needs a name"),
    changed("an unknown setting of a space", "space.widht=1", "nas-bench-macro", "'widht'", "'width'"),
    changed("a negative width", "space.width=-1", "width cannot be -1"),
    changed("the number of classes", "space.num_classes=3", "leave space.num_classes out"),
    _setting("no width", "width=0", "width cannot be 0"),
    _setting("not a number for a width", "width=.nan", "width cannot be nan"),
    _setting("a word for a width", "width=wide", "width cannot be 'wide'"),
    _setting("no pixels", "resolution=0", "resolution cannot be 0"),
    _setting("too few pixels for the strides", "resolution=4", "images of 4 pixels are too small", "at least 8"),
    _setting("no cells", "cells=0", "cells cannot be 0", space="darts"),
    _setting("no classes to tell apart", "num_classes=0", "num_classes cannot be 0"),
    _setting("strides of two stages", "stage_strides=[1, 2]", "has 3 stages; stage_strides gives 2 numbers"),
    _setting("a number for a list", "stage_strides=3", "it has to be a list"),
    _setting("channels that have no such part", "partial=7", "36 channels have no part of one in 7", space="darts"),
    _setting("a name for a setting", "name=fbnet", "not its name"),
    _setting("a setting without a value", "width", "--set takes KEY=VALUE", "'width'"),
    _setting("settings of a published network", "width=1", "in the settings of its space", space="hournas-a"),
]

OWN = [
    case("no such YAML file", ["describe", "own.yaml"], "There is no file own.yaml"),
    case("no such Python file", ["describe", "own.py"], "There is no file own.py"),
    changed("no such file in a recipe", "space=own.yaml", "There is no file own.yaml"),
    case("YAML that is no text", ["describe", "own.yaml"], "no text in UTF-8", setup=file("own.yaml", b"\xff\xfe")),
    case("an empty YAML file", ["describe", "own.yaml"], "not a mapping of keys", setup=file("own.yaml", "")),
    _table("a space of broken YAML", "resolution: 32", "resolution: [", "YAML cannot read the space own.yaml"),
    _table("a space that executes", "32", "!!python/object/apply:os.mkdir [EXECUTED]", "could not determine"),
    _table("a key of a space twice", "resolution: 32", "resolution: 32\nresolution: 64", "'resolution' is there twice"),
    _table("an unknown key of a space", "activation", "activatoin", "'activatoin'", "'activation'"),
    _table("a stage without channels", "channels: 64, ", "", "lacks 'stages.1.channels'"),
    _table("a billion layers", "repeats: 2", "repeats: 1000000000", "at most 1000"),
    _table("two stages of one name", "late", "early", "two stages called 'early'"),
    _table("no options", "[k3e3, k5e3se, skip]", "[]", "give at least one block"),
    _table("an option twice", "k5e3se", "k3e3", "chooses among k3e3, k3e3, skip"),
    _table("an unknown operation", "k5e3se", "k5x3", "'k5x3' is no block"),
    _table("an even kernel", "k5e3se", "k4e3", "odd kernel"),
    _table("an unknown activation", "relu", "relu7", "'relu7'; the nearest is 'relu'"),
    _table("an installed space's name", "my-space", "fbnet", "the name of an installed space"),
    _table("a name of two words", "my-space", "my space", "made of letters, digits"),
    _table("more strides than pixels", "stride: 2, options", "stride: 64, options", "too small for the strides"),
    _module("a syntax error", "def space(:", "own.py, line 1: SyntaxError"),
    _module("an error at import", "\nraise ValueError('not yet')", "own.py, line 2: ValueError: not yet"),
    _module("an exit at import", "raise SystemExit(0)", "own.py, line 1: SystemExit: 0"),
    _module("an import that is not there", "import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
    _module("no space in it", "def spaces(): ...", "own.py has no function space"),
    _module("a space that is none", "def space(**settings):\n    return 3", "returns a int"),
    _module("a space that fails", "def space(**settings):\n    return 1 / 0", "line 2: ZeroDivisionError"),
    _module("Python that is no text", b"\xff\xfe", "no text in UTF-8"),
]


def _network(fault: str, text: str, *parts: str) -> Case:
    return case(fault, ["describe", text], *parts)


ARCHITECTURES = [
    _network("an empty text", "", "No search space and no published architecture is called ''"),
    _network("a misspelt network", "hournas-z", "'hournas-z'", "hournas-a"),
    _network("no choice", "nas-bench-macro: ", "has 8 choices, not 0"),
    _network("too few choices", "nas-bench-macro: k3e3 k3e3", "has 8 choices, not 2"),
    _network("5,000 choices", "nas-bench-macro: " + "k3e3 " * 5000, "has 8 choices, not 5000"),
    _network("an unknown option", NETWORK.replace(": k3e3", ": k7e6"), "cannot be 'k7e6'; it can be skip, k3e3, k5e6"),
    _network("an architecture of another space", NETWORK.replace("nas-bench-macro", "fbnet"), "has 22 choices, not 8"),
    _network("an architecture of no space", NETWORK.replace("macro", "macroo"), "'nas-bench-macroo'"),
    _network("weights of too few edges", "darts: sep_conv_3x3*nan", "has 14 edges, not 1"),
    case("an empty architecture", ["describe", "fbnet", "--architecture", ""], "has 22 choices, not 0"),
    case("to train an unknown option", ["fit", NETWORK.replace("k3e3 |", "k7e6 |")], "cannot be 'k7e6'"),
    case("splits without attention", ["describe", NETWORK, "--splits", "2"], "nas-bench-macro is another space"),
    case("splits of a space", ["describe", "fbnetv2-f", "--splits", "2"], "also give its text"),
]

_HEADER = "op,size,in_channels,out_channels,latency_ms\n"
_MANY = "table,op,in_h,in_c,out_h,out_c,expand,kernel,stride,se,mean_ms\n"


def _latency(fault: str, setup: Setup | None, *parts: str, name: str = "table.csv") -> Case:
    return changed(fault, [f"latency.path={name}", "budget.latency_ms.max=3"], *parts, setup=setup)


def _rows(fault: str, rows: str, *parts: str, header: str = _HEADER) -> Case:
    return _latency(fault, file("table.csv", header + rows), *parts)


LATENCY = [
    _latency("no table", None, "table.csv cannot be read"),
    _latency("a folder for a table", None, "cannot be read", "Is a directory", name="."),
    _latency("a table that is no text", file("table.csv", bytes(range(256))), "cannot be read"),
    _latency("an empty table", file("table.csv", ""), "holds no rows"),
    _latency("a mapping for a table", file("table.yaml", "op: skip"), "holds no rows", name="table.yaml"),
    _latency("a table of broken YAML", file("table.yaml", "- ["), "YAML cannot read the latency", name="table.yaml"),
    _rows("a header alone", "", "holds no rows"),
    _rows("not a number of milliseconds", "skip,16,8,16,nan\n", "row 1: latency_ms", "finite number"),
    _rows("negative milliseconds", "skip,16,8,16,-1\n", "row 1: latency_ms", "at least 0"),
    _rows("a word for milliseconds", "skip,16,8,16,fast\n", "row 1: latency_ms", "has to be a number"),
    _rows("a row cut short", "skip,16\n", "row 1: in_channels"),
    _rows("a row too long", "skip,16,8,16,1,2\n", "row 1 has more cells than the header"),
    _rows("a block twice", "skip,16,8,16,1\nskip,16,8,16,2\n", "row 2: there already is a row"),
    _rows("blocks that are lacking", "skip,16,8,16,1\n", "has no latency for", "add that row"),
    _rows("several tables", "a,Conv,32,3,16,8,,,,,1\nb,Conv,32,3,16,8,,,,,1\n", "there are a, b", header=_MANY),
    _rows("a stem without an output", "a,Conv,32,3,0,8,,,,,1\n", "greater than 0", header=_MANY),
    changed(
        "an unknown table",
        ["latency.path=table.csv", "latency.table=pixel"],
        "it has no table 'pixel'",
        setup=file("table.csv", f"{_HEADER}skip,16,8,16,1\n"),
    ),
    *(
        changed(f"{name} without its table", [], "pixel3-latency.csv", recipe=name)
        for name in ("pad-nas-imagenet", "pad-nas-imagenet-large")
    ),
]
