"""A user's own spaces, in YAML and in Python, and their errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import search_spaces
from search_spaces import UserError
from search_spaces.chain.space import ChainFamily, Stage

YAML = """
name: my-space
resolution: 32
num_classes: 10
stem: {channels: 16, stride: 1}
activation: relu
stages:
  - {name: early, channels: 16, repeats: 2, stride: 1, options: [k3e3, k5e3se, skip]}
  - {name: late, channels: 32, repeats: 3, stride: 2, first: [k3e3, k5e6], options: [k3e3, k5e6, skip]}
head_channels: 256
"""
PYTHON = """
from search_spaces.chain.space import ChainFamily, Stage

BLOCKS = ("k3e3", "k3e6")


def space(layers=2, **settings):
    stage = Stage(channels=16, repeats=layers, stride=2, first=BLOCKS, rest=(*BLOCKS, "skip"))
    mine = ChainFamily(
        name="mine", stages=(stage,), stem_channels=8, stem_stride=1, head_channels=32, resolution=16, num_classes=10
    )
    return mine(**settings)
"""
LATE = {"name": "late", "channels": 32, "repeats": 3, "stride": 2, "options": ["k3e3", "k5e6", "skip"]}


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_yaml_file_is_the_family_that_it_spells(tmp_path: Path) -> None:
    space = search_spaces.load(write(tmp_path, "any.yaml", YAML))
    early = Stage(name="early", channels=16, repeats=2, stride=1, first=("k3e3", "k5e3se", "skip"))
    late = Stage(name="late", channels=32, repeats=3, stride=2, first=("k3e3", "k5e6"), rest=("k3e3", "k5e6", "skip"))
    by_hand = ChainFamily(
        name="my-space",
        stages=(early, late),
        stem_channels=16,
        stem_stride=1,
        head_channels=256,
        resolution=32,
        num_classes=10,
        activation="relu",
    )()
    assert space.choices == by_hand.choices
    assert [choice.name for choice in space.choices] == ["early.1", "early.2", "late.1", "late.2", "late.3"]
    assert space.size() == 3 * 3 * 2 * 3 * 3
    drawn = [space.sample(np.random.default_rng(seed)) for seed in range(20)]
    for resource, amounts in space.costs().cost(drawn).items():
        np.testing.assert_array_equal(amounts, by_hand.costs().cost(drawn)[resource])
    network = space.network(drawn[0])
    assert any(isinstance(module, torch.nn.ReLU) for module in network.modules())
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_settings_reach_a_yaml_space_as_any_other(tmp_path: Path) -> None:
    path = write(tmp_path, "any.yml", YAML)
    space = search_spaces.load(Path(path), width=0.5, resolution=16, num_classes=3)
    assert (space.resolution, space.num_classes) == (16, 3)
    assert space.network(space.sample(np.random.default_rng(0)))(torch.zeros(2, 3, 16, 16)).shape == (2, 3)
    with pytest.raises(UserError, match="has no setting 'widht'; the nearest is 'width'"):
        search_spaces.load(path, widht=0.5)


def test_optional_keys_of_a_yaml_space(tmp_path: Path) -> None:
    least = {"name": "least", "resolution": 8, "num_classes": 2, "stem": {"channels": 8}}
    stages = [{"channels": 8, "options": ["k3e3"]}, {"channels": 16, "options": ["skip"], "activation": "silu"}]
    space = search_spaces.load(write(tmp_path, "a.yaml", yaml.safe_dump({**least, "stages": stages})))
    assert [choice.name for choice in space.choices] == ["stage1.1", "stage2.1"]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"stages": [{**LATE, "options": ["k3e3", "k4e2"]}]}, ["stages.0.options.1", "'k4e2' is no block", "k3e6"]),
        ({"stages": [LATE, LATE]}, ["two stages called 'late'"]),
        ({"stages": [{**LATE, "options": []}]}, ["stages.0.options = []", "at least one block"]),
        ({"stages": [{**LATE, "first": []}]}, ["stages.0.first = []", "at least one block"]),
        ({"stages": [{**LATE, "options": ["skip", "skip"]}]}, ["late.1", "each once"]),
        ({"stages": []}, ["stages = []", "at least 1"]),
        ({"stages": [{**LATE, "stride": 64}]}, ["images of 32 pixels are too small", "[1, 64]"]),
        ({"stages": [{**LATE, "stride": 0}]}, ["stages.0.stride = 0"]),
        ({"stages": [{**LATE, "option": []}]}, ["'stages.0.option'", "the nearest is 'options'"]),
        ({"stages": [{**LATE, "name": "late 1"}]}, ["'late 1'", "letters"]),
        ({"stem": {"chanels": 16}}, ["'stem.chanels'", "the nearest is 'channels'"]),
        ({"colour": "red"}, ["has no key 'colour'", "resolution"]),
        ({"activation": "rellu"}, ["'rellu'", "the nearest is 'relu'"]),
        ({"squeeze": "out"}, ["'out'", "expanded"]),
        ({"resolution": None}, ["resolution = None"]),
        ({"name": "fbnet"}, ["'fbnet'", "the name of an installed space"]),
        ({"name": "my space"}, ["'my space'", "letters"]),
        ({"name": "../up"}, ["'../up'", "letters"]),
    ],
)
def test_errors_of_a_yaml_space(tmp_path: Path, changes: dict[str, object], parts: list[str]) -> None:
    content = {**yaml.safe_load(YAML), **changes}
    with pytest.raises(UserError) as refusal:
        search_spaces.load(write(tmp_path, "my.yaml", yaml.safe_dump(content)))
    sentence = str(refusal.value)
    assert "\n" not in sentence
    for part in parts:
        assert part in sentence


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is not a mapping of keys to values"),
        (b"just some words", "is not a mapping of keys to values"),
        (b"- a list", "is not a mapping of keys to values"),
        (b"{name: [", "YAML cannot read the space"),
        (b"\xff\xfe\x00", "is no text in UTF-8"),
        (b"name: x", "lacks 'resolution'"),
    ],
)
def test_other_files_are_no_yaml_spaces(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "my.yaml").write_bytes(text)
    with pytest.raises(UserError, match=message):
        search_spaces.load(tmp_path / "my.yaml")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no file nowhere/my\.yaml"):
        search_spaces.load("nowhere/my.yaml")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(UserError, match=r"folder\.py cannot be read: Is a directory"):
        search_spaces.load(tmp_path / "folder.py")


def test_a_python_file_gets_all_settings(tmp_path: Path) -> None:
    path = write(tmp_path, "my.py", PYTHON)
    assert search_spaces.load(path).size() == 2 * 3
    space = search_spaces.load(path, layers=4, width=2.0, num_classes=3)
    assert (space.name, space.size(), space.num_classes) == ("mine", 2 * 3**3, 3)
    assert space.settings == {"layers": 4, "width": 2.0, "num_classes": 3}


def test_equal_files_are_one_module(tmp_path: Path) -> None:
    counted = "import builtins\nbuiltins.raynas_test_count = getattr(builtins, 'raynas_test_count', 0) + 1\n" + PYTHON
    first, second = write(tmp_path, "a.py", counted), write(tmp_path, "b.py", counted)
    for path in (first, first, second):
        search_spaces.from_specification(search_spaces.load(path).specification())
    import builtins

    assert vars(builtins).pop("raynas_test_count") == 1


def test_an_error_names_the_line_in_the_second_of_equal_files(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        with pytest.raises(UserError, match=rf"{name}, line 2: ZeroDivisionError"):
            search_spaces.load(write(tmp_path, name, "def space(**settings):\n    1 / 0\n"))


OWN_CLASSES = """
from __future__ import annotations

from dataclasses import dataclass

from search_spaces.chain.space import ChainFamily, ChainSpace, Stage


@dataclass
class Note:
    text: str = "resolved by the module's name, which has to be known"


class Mine(ChainSpace):
    paper = "my thesis"


def space(num_classes: int = 5):
    print("printed during the build")
    stage = Stage(channels=8, repeats=1, stride=1, first=("k3e3", "skip"))
    family = ChainFamily(name="own", stages=(stage,), stem_channels=8, stem_stride=1, resolution=8, num_classes=5)
    return Mine(family, family(num_classes=num_classes)._settings)
"""


def test_a_python_file_may_hold_classes_and_print(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "my.py", OWN_CLASSES)
    space = search_spaces.load(path, num_classes=3)
    assert (type(space).__name__, space.num_classes) == ("Mine", 3)
    assert type(search_spaces.load(path)) is type(space)
    assert capsys.readouterr().out == "", "stdout is the commands' own"
    with pytest.raises(UserError, match="has no setting 'width'; there are num_classes"):
        search_spaces.load(path, width=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", r"my\.py has no function space: it needs `def space\(\*\*settings\)`"),
        ("space = 3\n", r"my\.py has no function space"),
        ("def space(:\n", r"my\.py, line 1: SyntaxError: "),
        ("x = 1\nx.y\n", r"my\.py, line 2: AttributeError: 'int' object has no attribute 'y'\."),
        ("import nothing_like_it\n", r"my\.py, line 1: ModuleNotFoundError"),
        ("\ndef space(**settings):\n    return 1 / 0\n", r"my\.py, line 3: ZeroDivisionError: division by zero\."),
        ("import json\ndef space(**settings):\n    json.loads('')\n", r"my\.py, line 3: JSONDecodeError: Expecting"),
        ("def space(**settings):\n    raise SystemExit\n", r"my\.py, line 2: SystemExit\."),
        ("\n\ndef space(**settings):\n    pass\n", r"space in .*my\.py, line 3, returns nothing: it has to be"),
        ("def space(**settings):\n    return {}\n", r"space in .*my\.py, line 1, returns a dict: it has to be"),
        (PYTHON.replace('"mine"', '"nats-bench"'), "'nats-bench', the name of an installed space"),
        (PYTHON.replace('"k3e6"', '"k3"'), "'k3' is no block"),
        ("x = '\0'\n", r"my\.py: ValueError|my\.py.*: SyntaxError"),
    ],
)
def test_errors_of_a_python_space(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, "my.py", text)
    for _ in range(2):  # a file that failed does not count as loaded
        with pytest.raises(UserError, match=message) as refusal:
            search_spaces.load(path)
        assert "\n" not in str(refusal.value)


def test_an_incomplete_space_is_refused(tmp_path: Path) -> None:
    text = PYTHON.replace(
        "return mine(**settings)", "result = mine(**settings)\n    del result.choices\n    return result"
    )
    with pytest.raises(UserError, match="returns a ChainSpace that has no choices"):
        search_spaces.load(write(tmp_path, "my.py", text))


@pytest.mark.parametrize(("name", "text"), [("my.yaml", YAML), ("my.py", PYTHON)])
def test_a_specification_rebuilds_the_space_without_the_file(tmp_path: Path, name: str, text: str) -> None:
    path = Path(write(tmp_path, name, text))
    whole = search_spaces.load(path, width=0.5)
    last = whole.choices[-1]
    space = whole.restrict({last.name: last.options[:1]})
    path.unlink()
    specification = json.loads(json.dumps(space.specification()))
    assert specification["file"] == {"suffix": path.suffix, "text": text}
    assert str(tmp_path) not in json.dumps(specification)
    again = search_spaces.from_specification(specification)
    assert (again.choices, again.surviving, again.specification()) == (
        space.choices,
        space.surviving,
        space.specification(),
    )
    script = "import json, sys, search_spaces; s = search_spaces.from_specification(json.load(sys.stdin)); "
    script += "print(json.dumps([s.name, s.size(), s.costs().bounds()]))"
    process = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(specification), capture_output=True, text=True, check=True
    )
    bounds = {key: list(ends) for key, ends in space.costs().bounds().items()}
    assert json.loads(process.stdout) == [space.name, space.size(), bounds]
