"""PAD-NAS, unchanged, on spaces that it was not written for: other families, and a user's own files far from here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import raynas
from raynas.recipe.recipe import Recipe
from raynas.storage.run_folder import RunFolder
from raynas.study.run_plan import begin_run_folder, check_run_folder, default_folder, plan
from search_spaces import UserError, from_specification
from tests.faults.runs import Command

YAML = """
name: my-space
resolution: 32
num_classes: 10
stem: {channels: 32, stride: 2}
activation: relu
stages:
  - {name: early, channels: 32, repeats: 2, stride: 1, options: [k3e3, k5e3se, skip]}
  - {name: late, channels: 64, repeats: 2, stride: 2, first: [k3e3, k5e6], options: [k3e3, k5e6, skip]}
head_channels: 128
"""
PYTHON = """
from dataclasses import dataclass

from search_spaces.chain.space import ChainFamily, Stage


@dataclass(frozen=True)
class Options:
    first: tuple[str, ...] = ("k3e3", "k5e3")


def space(layers: int = 2, **settings):
    first = Options().first
    stages = [
        Stage(channels=channels, repeats=layers, stride=2, first=first, rest=(*first, "skip")) for channels in (32, 64)
    ]
    family = ChainFamily(
        name="mine", stages=tuple(stages), stem_channels=32, stem_stride=1, resolution=32, num_classes=2
    )
    return family(**settings)
"""
FILES = {"my-space.yaml": YAML, "my_space.py": PYTHON}
TINY: dict[str, Any] = {
    "method": {"name": "pad-nas", "stages": 3, "epochs": [1, 1], "learning_rates": [0.01, 0.005]},
    "data": {"name": "digits", "classes": 4, "fraction": 0.4},
    "training": {"batch_size": 32, "optimizer": "rmsprop"},
    "search": {"population": 4, "generations": 2},
    "evaluation": {"recalibration_images": 64, "recalibration_batch_size": 32},
    "fit": {"epochs": 1, "batch_size": 32, "learning_rate": 0.01},
    "scale": {"evaluate": {"actors": 2}},
}


def recipe(space: dict[str, Any] | str) -> Recipe:
    return Recipe.read({**TINY, "space": space})


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with both files."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def begun(recipe: Recipe, out: Path) -> RunFolder:
    """The folder of a run that has begun a step."""
    folder = RunFolder(out)
    begin_run_folder(folder, plan(recipe, out))
    folder.write_json("study.json", {"steps": [{"name": "supernet"}]})
    return folder


@pytest.mark.parametrize(("name", "called"), [("my-space.yaml", "my-space"), ("./my_space.py", "mine")])
def test_a_recipe_that_runs_knows_what_the_file_held_and_not_where_it_lay(own: Path, name: str, called: str) -> None:
    given = recipe({"name": name, "width": 0.5})
    planned = plan(given)
    assert (planned.space.name, planned.space.num_classes) == (called, 4)
    kept = planned.recipe.space
    assert (kept["name"], kept["width"], kept["file"]["path"], len(kept["file"]["sha256"])) == (called, 0.5, name, 64)
    assert default_folder(planned.recipe) == Path("runs") / f"pad-nas-{called}-{planned.recipe.identity()[:6]}"
    moved = (own / name).rename(own / f"moved{Path(name).suffix}")
    elsewhere = plan(recipe({"name": str(moved), "width": 0.5})).recipe
    assert elsewhere.identity() == planned.recipe.identity()
    moved.write_text(moved.read_text() + "\n# changed")
    changed = plan(recipe({"name": str(moved), "width": 0.5})).recipe
    assert changed.identity() != planned.recipe.identity()


@pytest.mark.parametrize("name", FILES)
def test_a_run_goes_on_from_its_copy_and_refuses_a_changed_file(own: Path, name: str) -> None:
    given, out = recipe(name), own / "out"
    folder = begun(given, out)
    check_run_folder(folder)
    copy = f"space{Path(name).suffix}"
    assert (out / copy).read_text() == FILES[name]
    kept = Recipe.read(yaml.safe_load(folder.read("recipe.yaml")))

    (own / name).unlink()
    for again in (given, kept):
        planned = plan(again, out)
        begin_run_folder(folder, planned)
        assert planned.recipe == kept
        assert from_specification(planned.space.specification()).choices == planned.space.choices
    with pytest.raises(UserError, match=rf"There is no file {name} in {own}\."):
        plan(given, own / "another")

    (own / name).write_text(FILES[name] + "\n# changed")
    with pytest.raises(UserError, match=rf"{name} has changed since the run in {out} began: change it back"):
        begin_run_folder(folder, plan(given, out))
    begin_run_folder(folder, plan(kept, out))
    (out / copy).write_text("changed")
    with pytest.raises(UserError, match=rf"{out}/{copy} is not what the run began with"):
        plan(kept, out)
    with pytest.raises(UserError, match=rf"{name} is not what the run began with"):
        plan(kept)


def test_a_folder_with_a_users_own_file_is_not_taken_for_a_run(own: Path) -> None:
    (own / "out").mkdir()
    (own / "out" / "space.py").write_text(PYTHON)
    with pytest.raises(UserError, match="is not empty and is not the folder of a run"):
        check_run_folder(RunFolder(own / "out"))


def test_a_function_that_does_not_take_the_number_of_classes(own: Path) -> None:
    text = PYTHON.replace("family(**settings)", "family(width=settings.get('width', 1.0))")
    (own / "my_space.py").write_text(text)
    with pytest.raises(UserError, match="mine has 2 classes whatever it is asked for, and the data has 4"):
        plan(recipe("my_space.py"))
    (own / "my_space.py").write_text(text.replace("layers: int = 2, **settings", "layers: int = 2, settings={}"))
    with pytest.raises(UserError, match=r"my_space\.py has no setting 'num_classes'; there are layers, settings"):
        plan(recipe("my_space.py"))


def ended(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "raynas"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=400)


def searched(folder: Path, name: str) -> Command:
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**TINY, "space": {"name": name, "width": 0.25}}))
    return Command(folder / "recipe.yaml", folder / "out")


def must_be_whole(out: Path, space: str) -> None:
    outcome = raynas.load(out)
    assert list(outcome.table["step"].unique()) == ["search-2", "final"]
    assert outcome.space["name"] == space
    assert str(from_specification(outcome.space).parse(outcome.best["architecture"])) == outcome.best["architecture"]
    assert len(outcome.front) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fbnet", "mnasnet"])
def test_pad_nas_on_another_family(tmp_path: Path, cluster: None, name: str) -> None:
    raynas.run(recipe({"name": name, "width": 0.25, "resolution": 32}), tmp_path / "out")
    must_be_whole(tmp_path / "out", name)


@pytest.mark.slow
def test_pad_nas_on_a_python_file_that_moves_away_while_it_runs(own: Path) -> None:
    """The driver is killed in its search, the file goes, and the same command goes on."""
    command = searched(own, "my_space.py")
    command.kill_when(lambda out: any(out.glob("steps/*-search-2")))
    (own / "my_space.py").rename(own / "away.py")
    command.finish()
    must_be_whole(own / "out", "mine")


@pytest.mark.slow
def test_pad_nas_on_a_yaml_file_that_moves_away_before_its_best_is_trained(own: Path) -> None:
    searched(own, "my-space.yaml").finish()
    (own / "my-space.yaml").rename(own / "away.yaml")
    must_be_whole(own / "out", "my-space")
    fitted = ended(own, "fit", "out", "--json")
    assert fitted.returncode == 0, fitted.stderr
    assert json.loads(fitted.stdout)["architecture"] == raynas.load(own / "out").best["architecture"]
