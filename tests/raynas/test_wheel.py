"""The wheel holds three packages and the recipes, and runs the demo outside the checkout."""

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
TINY = (
    "method.stages=2",
    "method.epochs=[1]",
    "method.learning_rates=[0.1]",
    "search.population=4",
    "search.generations=2",
    "data.classes=3",
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)]
    subprocess.run(build, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_three_packages_with_types_and_the_recipes(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == {"raynas", "search_spaces", "tuners"}
    assert {f"{package}/py.typed" for package in packages} <= set(names)
    recipes = {name for name in names if name.startswith("raynas/recipe/shipped/")}
    assert recipes == {
        f"raynas/recipe/shipped/{file.name}" for file in (CHECKOUT / "raynas" / "recipe" / "shipped").glob("*.yaml")
    }
    assert "raynas/recipe/shipped/pad-nas-digits.yaml" in recipes


def test_the_wheel_runs_the_demo_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """The environment sees the installed packages, but not the checkout."""
    venv.create(tmp_path / "venv", with_pip=False)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "installed.pth").write_text(sysconfig.get_path("purelib"))
    python = tmp_path / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*install, "--ignore-installed"], check=True, capture_output=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def run(*command: str) -> str:
        process = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False, timeout=400)
        assert process.returncode == 0, process.stderr
        return process.stdout

    paths = run(str(python), "-c", "import raynas, search_spaces, tuners; print(raynas.__file__, tuners.__file__)")
    assert all(path.startswith(str(packages)) for path in paths.split())
    changes = [part for change in TINY for part in ("--set", change)]
    outcome = json.loads(run(str(tmp_path / "venv" / "bin" / "raynas"), "demo", "--json", *changes))
    assert outcome["run"] == str(elsewhere / "runs" / "demo")
    assert outcome["front"]
