"""What a user gets wrong: one sentence on stderr, exit status 2, no traceback, and nothing trained.

All cases, with the sentences that answer them, are printed as a table when the last of them has run.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import shorten

import pytest
import yaml

from raynas.cli.main import main
from raynas.reporting.terminal import plain_table, wide_console
from tests.raynas.cli.bad_input import data, recipes, runs, spaces
from tests.raynas.cli.bad_input.case import EXECUTED, RECIPE, Case, finished, write_recipe

CASES: dict[str, list[Case]] = {
    "recipe": [*recipes.FILES, *recipes.KEYS, *recipes.VALUES],
    "budget": recipes.BUDGETS,
    "method": recipes.METHODS,
    "data": [*data.SETTINGS, *data.FOLDERS, *data.ARRAYS],
    "space": [*spaces.SETTINGS, *spaces.OWN],
    "architecture": spaces.ARCHITECTURES,
    "latency table": spaces.LATENCY,
    "run folder": runs.RUNS,
    "weights": runs.WEIGHTS,
    "command line": runs.COMMANDS,
}
Refusal = Callable[..., str]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with `recipe.yaml`, where what would train finds no Ray."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    write_recipe(tmp_path)
    return tmp_path


@pytest.fixture
def refusal(workplace: Path, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Run a command; the one line that it says on stderr."""

    def refused(*arguments: str, status: int = 2) -> str:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        captured = capsys.readouterr()
        assert (end.value.code, captured.out) == (status, ""), captured.err
        lines = captured.err.splitlines()
        assert len(lines) == 1, captured.err
        assert "Traceback" not in captured.err
        assert not list(workplace.glob("**/steps")), "something was trained"
        assert not (workplace / EXECUTED).exists(), "something was executed"
        return lines[0].replace(f"{workplace}/", "")

    return refused


@pytest.fixture(scope="module")
def answers(request: pytest.FixtureRequest) -> Iterator[list[list[str]]]:
    """A row each case that has been answered; they are printed as a table at the end."""
    rows: list[list[str]] = []
    yield rows
    title = f"{len(rows)} bad inputs, each answered by one sentence and exit status 2"
    table = plain_table(["kind", "what is wrong", "the sentence"], rows, title)
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        console = wide_console()
        console.print()
        console.print(table)


@pytest.mark.parametrize(
    ("kind", "case"),
    [pytest.param(kind, case, id=f"{kind}-{case.wrong}") for kind, cases in CASES.items() for case in cases],
)
def test_it_is_refused(kind: str, case: Case, workplace: Path, refusal: Refusal, answers: list[list[str]]) -> None:
    if case.given is not None:
        case.given(workplace)
    sentence = refusal(*case.command)
    for part in case.said:
        assert part in sentence
    answers.append([kind, case.wrong, shorten(sentence, 240, placeholder=" ...")])


def test_there_are_enough_and_no_two_of_one_name() -> None:
    named = [(kind, case.wrong) for kind, cases in CASES.items() for case in cases]
    assert len(named) == len(set(named)) >= 60


def test_a_corrected_budget_may_use_the_folder_of_the_refused_one(refusal: Refusal) -> None:
    refusal("run", "recipe.yaml", "--out", "out", "--set=budget.macs.max=10")
    assert "params at most 10" in refusal("run", "recipe.yaml", "--out", "out", "--set=budget.params.max=10")


def test_a_folder_that_cannot_be_written(refusal: Refusal) -> None:
    assert "/proc/out" in refusal("run", "recipe.yaml", "--out", "/proc/out")


@pytest.mark.parametrize(
    ("damaged", "command"),
    [
        ("outcome.json", ["fit", "run"]),
        ("study.json", ["table", "run"]),
        ("study.json", ["watch", "run"]),
        ("versions.json", ["report", "run"]),
        ("recipe.yaml", ["compare", "run"]),
        ("evaluations/final.trial-000.iteration-00000.parquet", ["compare", "run"]),
    ],
)
def test_what_raynas_wrote_and_is_damaged_is_no_fault_of_the_user(
    workplace: Path, refusal: Refusal, damaged: str, command: list[str]
) -> None:
    finished(workplace)
    file = workplace / "run" / damaged
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    sentence = refusal(*command, status=1)
    assert f"{damaged} in run" in sentence
    assert any(words in sentence for words in ("cannot be read", "cannot read", "is not what was written"))


@pytest.mark.slow
def test_more_workers_than_processors_and_then_another_recipe_in_its_folder(tmp_path: Path) -> None:
    """By the command itself, as it starts a Ray of its own; once the run has begun a step, its recipe stands."""
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    command = [str(Path(sys.executable).parent / "raynas"), "run", "recipe.yaml", "--out", "out"]

    def run(*changes: str) -> subprocess.CompletedProcess[str]:
        arguments = [*command, "--quiet", *(f"--set={change}" for change in changes)]
        return subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)

    refused = run("training.batch_size=999", "scale.train.workers=999")
    assert (refused.returncode, refused.stdout) == (2, "")
    (sentence,) = refused.stderr.splitlines()
    assert "999 processes need 999 CPUs" in sentence
    assert "lower scale.train.workers" in sentence
    assert not list(tmp_path.glob("out/steps/*/weights.safetensors"))

    assert run().returncode == 0, "the same folder takes the corrected recipe"
    other = run("training.momentum=0.5")
    assert (other.returncode, other.stdout) == (2, "")
    (sentence,) = other.stderr.splitlines()
    assert "training.momentum = 0.9, not 0.5" in sentence
