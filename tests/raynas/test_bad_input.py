"""What a user gets wrong: one sentence on stderr, exit status 2, no traceback, and nothing trained."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from raynas.cli import main

RECIPE = {
    "method": {"name": "pad-nas", "stages": 2, "epochs": [1], "learning_rates": [0.1]},
    "space": {"name": "nas-bench-macro", "width": 0.125, "resolution": 16},
    "training": {"batch_size": 32},
    "search": {"population": 4, "generations": 2},
}
Refusal = Callable[..., str]


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Run a command in a folder with `recipe.yaml`; the one line that it says on stderr."""

    def refused(*arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
        with pytest.raises(SystemExit) as end:
            main(arguments)
        captured = capsys.readouterr()
        assert (end.value.code, captured.out) == (2, "")
        lines = captured.err.splitlines()
        assert len(lines) == 1, captured.err
        assert "Traceback" not in captured.err
        assert not list(tmp_path.glob("**/steps")), "something was trained"
        return lines[0]

    return refused


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["trainings.epochs=3"], ["no key 'trainings'", "'training'"]),
        (["training.epoch=3"], ["no key 'training.epoch'", "'epochs'"]),
        (["method.stage=3"], ["method pad-nas", "'stage'", "'stages'"]),
        (["search.generation=3"], ["'search.generation'", "'generations'"]),
        (["space.widht=1"], ["nas-bench-macro", "'widht'", "'width'"]),
        (["space.width=-1"], ["width"]),
        (["method=padnas"], ["'padnas'", "'pad-nas'"]),
        (["space=nasbench-macro"], ["'nasbench-macro'", "'nas-bench-macro'"]),
        (["data.name=digit"], ["'digit'", "'digits'"]),
        (["data.classes=11"], ["11 classes", "10"]),
        (["training.batch_size=100000"], ["100000", "training images"]),
        (["budget.mac.max=1M"], ["mac", "macs"]),
        (["search.cost=latency_ms"], ["latency_ms", "macs, params"]),
        (["budget.latency_ms.max=3"], ["latency"]),
        (["seed"], ["PATH=VALUE"]),
    ],
)
def test_an_unknown_key_or_name(refusal: Refusal, changes: list[str], said: list[str]) -> None:
    sentence = refusal("run", "recipe.yaml", "--out", "out", *(f"--set={change}" for change in changes))
    for part in said:
        assert part in sentence


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("method.samples={per_nat: 0}", "per_nat should be greater than 0"),
        ("method.samples={count: 0}", "count should be greater than or equal to 1"),
        ("method.samples={count: 1, per_nat: 2}", "either {count: K} or {per_nat: lambda}"),
        ("method.samples=14", "either {count: K} or {per_nat: lambda}"),
        ("method.joint_from=90", "the last of 90"),
        ("method.warmup_epochs=90", "none would be left"),
        ("budget.macs={max: 100k}", "macs can be 407,744 to 1,581,628"),
        ("budget.macs={min: 500k}", "give budget.macs a max or a target"),
        ("training.epochs=3", "method.epochs"),
    ],
)
def test_what_fp_nas_cannot_do(refusal: Refusal, change: str, said: str) -> None:
    assert said in refusal("run", "fp-nas-digits", "--out", "out", f"--set={change}")


@pytest.mark.parametrize("change", ["fit.auxiliary_weight=0.4", "fit.drop_path=0.2"])
def test_what_is_for_networks_of_cells_alone(refusal: Refusal, change: str) -> None:
    assert "for networks of cells, not of nas-bench-macro" in refusal("run", "recipe.yaml", f"--set={change}")
    text = "nas-bench-macro: k3e3 k3e3 | k3e3 k3e3 k3e3 | k3e3 k3e3 k3e3"
    assert "leave them out" in refusal("fit", text, "--out", "out", f"--set={change}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("budget.macs={max: 10M}", "the method hm-nas honours no budget in cells"),
        ("space={name: proxylessnas}", "proxylessnas has no cells with edges for the method hm-nas"),
        ("space={name: nats-bench}", "an edge of nats-bench takes one"),
        ("space.partial=4", "leave space.partial out"),
        ("method.threshold=0.02", "node2 and all other nodes would lose all inputs"),
        ("method.warm_epochs=10", "Of 10 epochs 10 cannot be warm-up"),
        ("method.levels=[]", "levels = []: tuple should have at least 1 item"),
        ("method.searched=.", "holds no network that hm-nas has searched"),
    ],
)
def test_what_hm_nas_cannot_do(refusal: Refusal, change: str, said: str) -> None:
    assert said.lower() in refusal("run", "hm-nas-digits", "--out", "out", f"--set={change}").lower()


@pytest.mark.parametrize(
    "arguments", [["run", "recipe.yaml", "--frobnicate"], ["run"], ["runs"], ["demo", "--log-format=xml"]]
)
def test_an_unknown_option_or_command(refusal: Refusal, arguments: list[str]) -> None:
    assert refusal(*arguments)


@pytest.mark.parametrize(
    ("budget", "possible"),
    [
        ("macs.max=10", "85,568 to 817,344"),
        ("macs.min=1G", "85,568 to 817,344"),
        ("macs={min: 300k, max: 200k}", "macs can be"),
        ("macs={}", "limits nothing"),
        ("macs={target: 300k}", "tolerance"),
    ],
)
def test_an_infeasible_or_empty_budget_is_answered_with_what_is_possible(
    refusal: Refusal, budget: str, possible: str
) -> None:
    assert possible in refusal("run", "recipe.yaml", "--out", "out", f"--set=budget.{budget}")


def test_a_contradictory_budget(refusal: Refusal) -> None:
    sentence = refusal(
        "run", "recipe.yaml", "--out", "out", "--set=budget.macs.max=100k", "--set=budget.params.min=60k"
    )
    assert "exclude each other" in sentence
    assert "params can be" in sentence


def test_a_corrected_budget_may_use_the_folder_of_the_refused_one(refusal: Refusal) -> None:
    refusal("run", "recipe.yaml", "--out", "out", "--set=budget.macs.max=10")
    assert "params at most 10" in refusal("run", "recipe.yaml", "--out", "out", "--set=budget.params.max=10")


def test_an_architecture_of_another_space(refusal: Refusal) -> None:
    assert "nas-bench-macro" in refusal("describe", "nas-bench-macro: k3e3 k3e3")
    assert "cannot be 'k7e6'" in refusal("describe", "nas-bench-macro: k7e6 k3e3 | k3e3 k3e3 k3e3 | k3e3 k3e3 k3e3")
    assert "'nas-bench-macroo'" in refusal("describe", "nas-bench-macroo: k3e3")
    assert "cannot be 'k7e6'" in refusal("fit", "nas-bench-macro: k7e6 k3e3 | k3e3 k3e3 k3e3 | k3e3 k3e3 k3e3")


@pytest.mark.parametrize("command", ["table", "fit"])
def test_a_folder_that_holds_no_run(refusal: Refusal, tmp_path: Path, command: str) -> None:
    (tmp_path / "empty").mkdir()
    assert "recipe.yaml" in refusal(command, "empty")


def test_images_are_missing(refusal: Refusal, tmp_path: Path) -> None:
    folder = ("run", "recipe.yaml", "--out", "out", "--set=data.name=folder", f"--set=data.path={tmp_path / 'images'}")
    assert str(tmp_path / "images") in refusal(*folder)
    for kind in ("cat", "dog"):
        for part in ("train", "val"):
            (tmp_path / "images" / part / kind).mkdir(parents=True)
    assert "no images" in refusal(*folder)
    pixels = Image.fromarray(np.zeros((16, 16, 3), np.uint8))
    for number in range(40):
        pixels.save(tmp_path / "images" / "train" / "cat" / f"{number}.png")
    for kind in ("cat", "dog"):
        pixels.save(tmp_path / "images" / "val" / kind / "0.png")
    assert "dog" in refusal(*folder)


def test_the_imagenet_recipes_need_their_latency_table(refusal: Refusal) -> None:
    for name in ("pad-nas-imagenet", "pad-nas-imagenet-large"):
        assert "pixel3-latency.csv" in refusal("run", name, "--out", "out")


def test_a_folder_of_something_else(refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    assert "not empty" in refusal("run", "recipe.yaml", "--out", "out")
    assert "not empty" in refusal("run", "recipe.yaml", "--out", "."), "whose recipe.yaml no run has written"


@pytest.mark.slow
def test_more_workers_than_processors_and_then_another_recipe_in_its_folder(tmp_path: Path) -> None:
    """By the command itself, as it starts a Ray of its own; once the run has begun a step, its recipe stands."""
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    command = [str(Path(sys.executable).parent / "raynas"), "run", "recipe.yaml", "--out", "out"]

    def run(*changes: str) -> subprocess.CompletedProcess[str]:
        arguments = [*command, "--quiet", *(f"--set={change}" for change in changes)]
        return subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)

    refused = run("training.batch_size=999", "scale.train_workers=999")
    assert (refused.returncode, refused.stdout) == (2, "")
    (sentence,) = refused.stderr.splitlines()
    assert "999 processes need 999 CPUs" in sentence
    assert "lower scale.train_workers" in sentence
    assert not list(tmp_path.glob("out/steps/*/weights.safetensors"))

    assert run().returncode == 0, "the same folder takes the corrected recipe"
    other = run("training.momentum=0.5")
    assert (other.returncode, other.stdout) == (2, "")
    (sentence,) = other.stderr.splitlines()
    assert "training.momentum = 0.9, not 0.5" in sentence
