"""Every command and every piece of Python in the documentation runs, and the architecture page names what exists."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import ray
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from tests.faults.runs import RECIPE as PAD_NAS
from tests.support.finished_runs import RECIPES, SMALL

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md"))]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(sh|python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# (\S+\.(?:py|yaml))\n")
FINISHED = {
    "README.md": {"runs/one": "spos-seed-1"},
    "docs/how-to/faults.md": {"runs/one": "spos"},
    "docs/how-to/results.md": {"runs/one": "spos", "runs/two": "spos-seed-1"},
    "docs/methods/baselines.md": {"runs/spos": "spos"},
    **{f"docs/methods/{name}.md": {f"runs/{name}": name} for name in RECIPES if not name.startswith("spos")},
}
"""By page: the run folders that are copies of finished runs. The command of the page reads the run back."""
SMALLER = {
    **{f"run {recipe}": changes for recipe, changes in RECIPES.values() if isinstance(recipe, str)},
    "run pad-nas-digits": [f"{group}={json.dumps(value)}" for group, value in PAD_NAS.items()],
    "run flowers.yaml": ["training.epochs=2", "search.population=8", "search.generations=2", "fit.epochs=2"],
}
"""Changes to the recipes that take minutes. `make demo` runs one of them whole."""


def with_smaller_run(command: str) -> str:
    """Return a command with the changes of its recipe, if it carries out a recipe that takes minutes."""
    changes = SMALLER.get(" ".join(command.split()[1:3]), [])
    return " ".join([command, *(f"--set '{change}'" for change in changes)])


def write_images(folder: Path) -> None:
    """Write the digits as JPEG files of 500x375 pixels, in folders as the pages show them."""
    images, labels = load_digits(return_X_y=True)
    generator = np.random.default_rng(0)
    drawn = generator.permutation(len(images))[:300]
    for number, (pixels, label) in enumerate(zip(images[drawn], labels[drawn], strict=True)):
        name = {0: "daisy", 1: "rose"}.get(int(label), f"flower-{label}")
        part = folder / ("val" if number % 5 == 0 else "train") / name
        part.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((pixels.reshape(8, 8) * (255 / 16)).astype(np.uint8))
        picture.resize((500, 375), Image.Resampling.BILINEAR).save(part / f"{number:03d}.jpg", quality=95)
    (folder / "val" / "daisy" / "101.jpg").write_bytes(next((folder / "val" / "daisy").glob("*.jpg")).read_bytes())


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", PAGES)
def test_commands_and_python_of_a_page_run(page: str, tmp_path: Path, finished_run: Callable[[str], Path]) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for folder, name in FINISHED.get(page, {}).items():
        shutil.copytree(finished_run(name), tmp_path / folder)
    if "flowers" in text:
        write_images(tmp_path / "flowers")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(SMALL))
    for language, block in BLOCK.findall(text):
        if file_name := FILE_NAME.match(block):
            (tmp_path / file_name[1]).write_text(block)
            continue
        assert language != "yaml", f"{page} shows a YAML file whose first line is not its name:\n{block}"
        command = [sys.executable, "-c", block]
        if language == "sh":
            command = ["bash", "-euc", "\n".join(with_smaller_run(line) for line in block.splitlines())]
        run_in_shared_ray(command, tmp_path)


def run_in_shared_ray(command: list[str], folder: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command[-1]}\n{result.stdout}\n{result.stderr}"


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_lead_to_files(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8")):
        assert target.startswith("http") or ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_lines_are_short(page: str) -> None:
    """Lines have at most 120 characters. Rows of tables may be longer, except in the README."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    long = [line for line in lines if len(line) > 120 and (page == "README.md" or not line.startswith("|"))]
    assert not long
    assert page != "README.md" or len(lines) <= 180


def definitions(file: Path) -> set[str]:
    """Return the names that a module defines: functions, classes, `Class.method` and constants."""
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{member.name}" for member in node.body if isinstance(member, ast.FunctionDef)}
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_architecture_page_names_files_and_functions_that_exist() -> None:
    for file in re.findall(r"`((?:raynas|search_spaces|tuners|tests|benchmarks)/[\w/.]*)`", ARCHITECTURE):
        assert (ROOT / file).exists(), file
    rows = re.findall(r"^\| .* \| `([\w/]+\.py)` \| (`.*`) \|$", ARCHITECTURE, re.MULTILINE)
    assert len(rows) > 100
    for file, cell in rows:
        missing = set(re.findall(r"`([\w.]+)`", cell)) - definitions(ROOT / file)
        assert not missing, f"{file} defines no {missing}"


def test_architecture_page_lists_every_module() -> None:
    listed: set[str] = set()
    for folder, section in re.findall(r"^### `([\w/]+/)`(.*?)(?=^###|\Z)", ARCHITECTURE, re.MULTILINE | re.DOTALL):
        rows = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
        listed |= {folder + name for row in rows for name in re.findall(r"`([\w/.]+\.py)`", row)}
    modules = {
        module.relative_to(ROOT).as_posix()
        for package in ("raynas", "search_spaces", "tuners")
        for module in (ROOT / package).rglob("*.py")
        if module.name != "__init__.py"
    }
    assert listed - {"raynas/__init__.py"} == modules
