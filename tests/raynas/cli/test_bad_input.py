"""Errors of the user: one sentence on stderr, exit status 2, no traceback, and no training.

After the last case a table with all cases and their sentences is printed.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import shorten

import pytest
import yaml

from raynas.cli.main import main
from raynas.reporting.terminal import plain_table, wide_console
from tests.raynas.cli.bad_input import data, recipes, runs, spaces
from tests.raynas.cli.bad_input.case import EXECUTED, RECIPE, Case, finished, write_recipe
from tests.support.command import run_raynas

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
    """The working directory, with `recipe.yaml`. A command that would train finds no Ray."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    write_recipe(tmp_path)
    return tmp_path


@pytest.fixture
def refusal(workplace: Path, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """A function that runs a command, and returns its lines on stderr: a sentence each."""

    def refused(*arguments: str, status: int = 2) -> str:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        captured = capsys.readouterr()
        assert (end.value.code, captured.out) == (status, ""), captured.err
        # Lines of the images come before the sentence.
        lines = [line for line in captured.err.splitlines() if not line.startswith("  data: ")]
        assert 1 <= len(lines) <= 2, captured.err
        assert not any(line.endswith("..") for line in lines), captured.err
        assert "Traceback" not in captured.err
        assert not list(workplace.glob("**/steps")), "a training ran"
        assert not (workplace / EXECUTED).exists(), "code of the input ran"
        return " ".join(lines).replace(f"{workplace}/", "")

    return refused


@pytest.fixture(scope="module")
def answers(request: pytest.FixtureRequest) -> Iterator[list[list[str]]]:
    """One row for each case that has run; they are printed as a table at the end."""
    rows: list[list[str]] = []
    yield rows
    title = f"{len(rows)} bad inputs, each with a sentence for each problem and exit status 2"
    table = plain_table(["kind", "fault", "sentence"], rows, title)
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        console = wide_console()
        console.print()
        console.print(table)


@pytest.mark.parametrize(
    ("kind", "case"),
    [pytest.param(kind, case, id=f"{kind}-{case.fault}") for kind, cases in CASES.items() for case in cases],
)
def test_bad_input_is_refused(
    kind: str, case: Case, workplace: Path, refusal: Refusal, answers: list[list[str]]
) -> None:
    if case.setup is not None:
        case.setup(workplace)
    sentence = refusal(*case.command)
    for part in case.parts:
        assert part in sentence
    answers.append([kind, case.fault, shorten(sentence, 240, placeholder=" ...")])


def test_cases_are_many_and_have_distinct_names() -> None:
    names = [(kind, case.fault) for kind, cases in CASES.items() for case in cases]
    assert len(names) == len(set(names)) >= 60


def test_a_corrected_budget_can_use_the_folder_of_the_refused_run(refusal: Refusal) -> None:
    refusal("run", "recipe.yaml", "--out", "out", "--set=budget.macs.max=10")
    assert "params at most 10" in refusal("run", "recipe.yaml", "--out", "out", "--set=budget.params.max=10")


def test_a_run_folder_that_cannot_be_written_is_refused(refusal: Refusal) -> None:
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
def test_a_damaged_file_of_raynas_is_no_error_of_the_user(
    workplace: Path, refusal: Refusal, damaged: str, command: list[str]
) -> None:
    finished(workplace)
    file = workplace / "run" / damaged
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    sentence = refusal(*command, status=1)
    assert f"{damaged} in run" in sentence
    assert any(words in sentence for words in ("cannot be read", "cannot read", "is not what was written"))


@pytest.mark.slow
def test_too_many_workers_and_another_recipe_are_refused(tmp_path: Path) -> None:
    """In a process of its own, because the command starts Ray. The recipe can change until a step has begun."""
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))

    def run(*changes: str) -> subprocess.CompletedProcess[str]:
        options = ["--out", "out", "--quiet", *(f"--set={change}" for change in changes)]
        return run_raynas(tmp_path, "run", "recipe.yaml", *options)

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
