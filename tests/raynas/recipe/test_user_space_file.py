"""Test recipes whose space is a file of the user, and PAD-NAS on such spaces and on other families."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

import raynas
from raynas.recipe.recipe import Recipe
from raynas.storage.run_folder import RunFolder
from raynas.study.run_files import begin_run_folder, check_run_folder, default_folder
from raynas.study.run_plan import plan
from search_spaces import UserError, from_specification
from tests.faults.runs import Command
from tests.support.command import run_raynas

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
    "scale": {"evaluate": {"actors": 1}},
}


def recipe(space: dict[str, Any] | str) -> Recipe:
    return Recipe.read({**TINY, "space": space})


@pytest.fixture
def folder_of_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, which holds both space files."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def begin_run(recipe: Recipe, out: Path) -> RunFolder:
    """Create the folder of a run that has begun a step."""
    folder = RunFolder(out)
    begin_run_folder(folder, plan(recipe, out))
    folder.write_json("study.json", {"steps": [{"name": "supernet"}]})
    return folder


@pytest.mark.parametrize(("name", "space_name"), [("my-space.yaml", "my-space"), ("./my_space.py", "mine")])
def test_the_content_of_a_space_file_decides_a_run_and_its_path_does_not(
    folder_of_spaces: Path, name: str, space_name: str
) -> None:
    user_recipe = recipe({"name": name, "width": 0.5})
    planned = plan(user_recipe)
    assert (planned.space.name, planned.space.num_classes) == (space_name, 4)
    space = planned.recipe.space
    assert (space["name"], space["width"], space["file"]["path"]) == (space_name, 0.5, name)
    assert len(space["file"]["sha256"]) == 64
    assert default_folder(planned.recipe) == Path("runs") / f"pad-nas-{space_name}-{planned.recipe.identity()[:6]}"
    moved = (folder_of_spaces / name).rename(folder_of_spaces / f"moved{Path(name).suffix}")
    elsewhere = plan(recipe({"name": str(moved), "width": 0.5})).recipe
    assert elsewhere.identity() == planned.recipe.identity()
    moved.write_text(moved.read_text() + "\n# changed")
    changed = plan(recipe({"name": str(moved), "width": 0.5})).recipe
    assert changed.identity() != planned.recipe.identity()


@pytest.mark.parametrize("name", FILES)
def test_a_run_continues_with_its_copy_and_refuses_a_changed_file(folder_of_spaces: Path, name: str) -> None:
    user_recipe, out = recipe(name), folder_of_spaces / "out"
    folder = begin_run(user_recipe, out)
    check_run_folder(folder)
    copy = f"space{Path(name).suffix}"
    assert (out / copy).read_text() == FILES[name]
    run_recipe = Recipe.read(yaml.safe_load(folder.read("recipe.yaml")))

    (folder_of_spaces / name).unlink()
    for repeated in (user_recipe, run_recipe):
        planned = plan(repeated, out)
        begin_run_folder(folder, planned)
        assert planned.recipe == run_recipe
        assert from_specification(planned.space.specification()).choices == planned.space.choices
    with pytest.raises(UserError, match=rf"There is no file {name} in {folder_of_spaces}\."):
        plan(user_recipe, folder_of_spaces / "another")

    (folder_of_spaces / name).write_text(FILES[name] + "\n# changed")
    with pytest.raises(UserError, match=rf"{name} has changed since the run in {out} began: change it back"):
        begin_run_folder(folder, plan(user_recipe, out))
    begin_run_folder(folder, plan(run_recipe, out))
    (out / copy).write_text("changed")
    with pytest.raises(UserError, match=rf"{out}/{copy} is not what the run began with"):
        plan(run_recipe, out)
    with pytest.raises(UserError, match=rf"{name} is not what the run began with"):
        plan(run_recipe)


def test_a_folder_with_a_space_file_is_not_a_run_folder(folder_of_spaces: Path) -> None:
    (folder_of_spaces / "out").mkdir()
    (folder_of_spaces / "out" / "space.py").write_text(PYTHON)
    with pytest.raises(UserError, match="is not empty and is not the folder of a run"):
        check_run_folder(RunFolder(folder_of_spaces / "out"))


def test_a_space_function_must_take_the_number_of_classes(folder_of_spaces: Path) -> None:
    text = PYTHON.replace("family(**settings)", "family(width=settings.get('width', 1.0))")
    (folder_of_spaces / "my_space.py").write_text(text)
    with pytest.raises(UserError, match="mine has 2 classes, but the data has 4"):
        plan(recipe("my_space.py"))
    (folder_of_spaces / "my_space.py").write_text(
        text.replace("layers: int = 2, **settings", "layers: int = 2, settings={}")
    )
    with pytest.raises(UserError, match=r"my_space\.py has no setting 'num_classes'; there are layers, settings"):
        plan(recipe("my_space.py"))


def search_command(folder: Path, name: str) -> Command:
    """Return the command that searches a space with PAD-NAS."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**TINY, "space": {"name": name, "width": 0.25}}))
    return Command(folder / "recipe.yaml", folder / "out")


def check_outcome(out: Path, space: str) -> None:
    outcome = raynas.load(out)
    assert list(outcome.table["step"].unique()) == ["search-2", "final"]
    assert outcome.space["name"] == space
    assert str(from_specification(outcome.space).parse(outcome.best["architecture"])) == outcome.best["architecture"]
    assert len(outcome.front) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fbnet", "mnasnet"])
def test_pad_nas_on_another_family(tmp_path: Path, cluster: None, name: str) -> None:
    raynas.run(recipe({"name": name, "width": 0.25, "resolution": 32}), tmp_path / "out")
    check_outcome(tmp_path / "out", name)


@pytest.fixture
def joined_ray(cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands join the Ray of this process: a start of their own Ray takes seconds."""
    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)


@pytest.mark.slow
@pytest.mark.usefixtures("joined_ray")
def test_pad_nas_on_a_python_file_that_moves_away_while_it_runs(folder_of_spaces: Path) -> None:
    """The driver is killed in its search, the file is moved, and the same command continues the run."""
    command = search_command(folder_of_spaces, "my_space.py")
    command.kill_when(lambda out: any(out.glob("steps/*-search-2")))
    (folder_of_spaces / "my_space.py").rename(folder_of_spaces / "away.py")
    command.finish()
    check_outcome(folder_of_spaces / "out", "mine")


@pytest.mark.slow
@pytest.mark.usefixtures("joined_ray")
def test_pad_nas_on_a_yaml_file_that_moves_away_before_standalone_training(folder_of_spaces: Path) -> None:
    search_command(folder_of_spaces, "my-space.yaml").finish()
    (folder_of_spaces / "my-space.yaml").rename(folder_of_spaces / "away.yaml")
    check_outcome(folder_of_spaces / "out", "my-space")
    fitted = run_raynas(folder_of_spaces, "fit", "out", "--json")
    assert fitted.returncode == 0, fitted.stderr
    assert json.loads(fitted.stdout)["architecture"] == raynas.load(folder_of_spaces / "out").best["architecture"]
