"""Load spaces by name, and import nothing heavy for it."""

import json
import subprocess
import sys
from typing import Any

import pytest

import search_spaces
from search_spaces import UserError
from search_spaces.registry import is_space_file


def test_the_families_are_found_by_name() -> None:
    assert {"nas-bench-macro", "proxylessnas", "proxylessnas-large"} <= set(search_spaces.names())


def test_importing_the_package_loads_no_torch() -> None:
    script = (
        "import sys, search_spaces; search_spaces.names(); print({'torch', 'numpy', 'pydantic'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_every_public_name_exists() -> None:
    for name in search_spaces.__all__:
        assert getattr(search_spaces, name) is not None
    unknown = "nothing"
    with pytest.raises(AttributeError):
        getattr(search_spaces, unknown)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("proxylesnas", {}, "No search space is called 'proxylesnas'; the nearest is 'proxylessnas'"),
        (
            "proxylessnas",
            {"widht": 1},
            "has no setting 'widht'; the nearest is 'width', and there are width, resolution",
        ),
        ("proxylessnas", {"width": 0}, "width cannot be 0"),
        ("proxylessnas", {"width": float("nan")}, "width cannot be nan"),
        ("proxylessnas", {"num_classes": 0}, "num_classes cannot be 0"),
        ("proxylessnas", {"resolution": 16}, "images of 16 pixels are too small .* at least 32 pixels"),
        ("proxylessnas", {"stage_strides": [2, 2]}, "has 7 stages; stage_strides gives 2 numbers"),
        ("nas-bench-macro", {"stage_strides": [2, 0, 2]}, r"stage_strides\.1 cannot be 0"),
        ("nas-bench-macro", {"stage_channels": "wide"}, "stage_channels cannot be 'wide'"),
    ],
)
def test_bad_names_and_settings_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        search_spaces.load(name, **settings)


def test_costs_refuse_images_that_are_too_small() -> None:
    with pytest.raises(UserError, match="images of 4 pixels"):
        search_spaces.load("nas-bench-macro").costs(resolution=4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mine.yaml", True), ("a/b.yml", True), ("../mine.py", True), ("fbnet", False), ("fbnetv2-f++", False)],
)
def test_a_suffix_marks_a_file(name: str, expected: bool) -> None:
    assert is_space_file(name) is expected


@pytest.mark.parametrize("name", search_spaces.names())
def test_every_space_is_rebuilt_from_its_specification(name: str) -> None:
    space = search_spaces.load(name)
    specification = json.loads(json.dumps(space.specification()))
    again = search_spaces.from_specification(specification)
    assert again.specification() == specification
    assert (again.choices, again.size()) == (space.choices, space.size())
