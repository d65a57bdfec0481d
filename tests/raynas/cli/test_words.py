"""Errors in the words of who reads them: options for who types options, keys for who writes a recipe."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import raynas
from raynas.cli.main import main
from raynas.cli.words import AUTO, FIT, FIT_TEXT, TRAINED, CommandWords, recipe_keys
from search_spaces.errors import UserError
from tests.raynas.cli.bad_input.case import Setup, images, write_recipe

KEY = re.compile(r"\b(?:budget|data|evaluation|fit|latency|scale|training)\.[a-z_]+(?:\.[a-z_]+)*\b")
BUDGET_KEYS = {"budget.counting", "budget.macs"}


def refuse(capsys: pytest.CaptureFixture[str], *command: str) -> list[str]:
    with pytest.raises(SystemExit) as end:
        main(command)
    captured = capsys.readouterr()
    assert end.value.code == 2, captured.err
    return captured.err.splitlines()


@pytest.mark.parametrize(
    ("options", "recipe", "words", "setup"),
    [
        (["nowhere", "--max-macs=1M"], "data={name: folder, path: nowhere}", "path", None),
        (["images", "--max-macs=50MB"], "budget.macs.max=50MB", "bytes", images("a", "b")),
        (["images", "--max-params=much"], "budget.params.max=much", "no amount", images("a", "b")),
        (["images", "--max-latency-ms=20ms"], "budget.latency_ms.max=20ms", "milliseconds", images("a", "b")),
        (["images", "--max-macs=1"], "budget.macs.max=1", "no architecture", images("a", "b")),
        (
            ["images/train", "--max-macs=1M", "--test=0.02"],
            "data.test=0.02",
            "without a test image",
            images("a", "b"),
        ),
    ],
)
def test_auto_names_options_and_a_recipe_its_keys(
    options: list[str],
    recipe: str,
    words: str,
    setup: Setup | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path)
    if setup is not None:
        setup(tmp_path)
    (line,) = refuse(capsys, "auto", *options)
    assert words in line or words == "path"
    assert not KEY.search(line), f"an option, not a key: {line}"
    option = options[-1].partition("=")[0] if len(options) > 2 or words != "path" else "FOLDER"
    assert option in line
    own = ["data={name: folder, path: images/train}"] if "test=" in recipe else []
    (line,) = refuse(capsys, "run", "recipe.yaml", *(f"--set={change}" for change in [*own, recipe]))
    assert words in line
    key = "data.path" if words == "path" else recipe.partition("=")[0]
    assert key in line
    assert "--max" not in line


def test_all_problems_of_a_command_are_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = refuse(capsys, "auto", "nowhere", "--max-macs=5MB", "--max-params=much")
    assert [line.split(":")[0][:40] for line in lines] == [
        "In the limits, --max-macs = '5MB'",
        "In the limits, --max-params = 'much'",
        f"There is nothing at {tmp_path}/nowhere. Set"[:40],
    ]


@pytest.mark.parametrize("command", ["compare", "report"])
def test_all_folders_that_hold_no_run_are_named(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = refuse(capsys, command, "one", "two")
    assert len(lines) == 2
    assert all(name in line for name, line in zip(("one", "two"), lines, strict=True))


def test_all_problems_of_a_recipe_are_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path)
    sets = ["training.epochs=-1", "training.epoch=3", "fit.ema=2", "budget.macs.max=5MB", "seed=x"]
    lines = refuse(capsys, "run", "recipe.yaml", *(f"--set={change}" for change in sets))
    assert len(lines) == len(sets)
    assert "no key 'training.epoch'" in lines[0], "unknown keys come first"
    sets = ["budget={macs: {min: 5, max: 10}, params: {max: 1M}}", "data={name: folder, path: nowhere}"]
    lines = refuse(capsys, "run", "recipe.yaml", *(f"--set={change}" for change in sets))
    assert ["nowhere" in lines[0], "Change budget.macs.max." in lines[1]] == [True, True]
    sets = ["method.stages=1", "space.width=-1", "data={name: folder, path: nowhere}", "latency.path=none.csv"]
    lines = refuse(capsys, "run", "recipe.yaml", *(f"--set={change}" for change in sets))
    for word, line in zip(("stages", "none.csv", "width", "nowhere"), lines, strict=True):
        assert word in line


def test_missing_packages_are_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The end of `auto` writes ONNX and a page: without their packages it would end after minutes."""
    monkeypatch.chdir(tmp_path)
    for package in ("onnxscript", "plotly"):
        monkeypatch.setitem(sys.modules, package, None)  # Python then finds no such package
    images("a", "b")(tmp_path)
    lines = refuse(capsys, "auto", "images", "--max-macs=1M")
    assert "onnxscript: pip install 'raynas[export]'" in lines[0]
    assert "pip install 'raynas[report]'" in lines[1]
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize(
    ("words", "sentence", "said"),
    [
        (CommandWords(AUTO), "Set data.path to a folder.", "Set FOLDER to a folder."),
        (CommandWords(AUTO), "Change budget.macs.max or budget.latency_ms.", "Change --max-macs or --max-latency-ms."),
        (
            CommandWords(AUTO, "in runs/a.yaml"),
            "Set data.unreadable to skip; data.unreadable=refuse refuses.",
            "Set data.unreadable (in runs/a.yaml) to skip; data.unreadable=refuse refuses.",
        ),
        (
            CommandWords(AUTO, "in a.yaml"),
            "Start with training.on_divergence=lower-lr.",
            "Start with training.on_divergence=lower-lr (in a.yaml).",
        ),
        (CommandWords(AUTO, "in a.yaml"), "x/data.path, data.zip, data.path/y and data.csv", "the same"),
        (FIT, "fit.epochs has no default: set it.", "--set epochs has no default: set it."),
        (FIT, "Raise data.fraction.", "the same"),
        (FIT_TEXT, "Set data.path or fit.teacher.weights.", "Set --set data.path or --set teacher.weights."),
        (TRAINED, "raise fit.epochs", "raise fit.epochs (--set epochs of raynas fit)"),
    ],
)
def test_keys_are_said_in_the_words_of_a_command(words: CommandWords, sentence: str, said: str) -> None:
    assert words.say(sentence) == (sentence if said == "the same" else said)
    with pytest.raises(UserError) as error, words.errors():
        raise UserError(sentence, "Another.")
    assert error.value.sentences == (words.say(sentence), "Another.")


def texts_of_messages() -> Iterator[tuple[str, str]]:
    """Yield the file and the text of every literal of raynas that is part of a raised error."""
    for file in sorted(Path(raynas.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and node.exc is not None:
                for part in ast.walk(node.exc):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield file.name, part.value


def test_every_key_in_a_message_is_a_key_of_a_recipe() -> None:
    """Otherwise no command could turn it into its option."""
    named = {(file, key) for file, text in texts_of_messages() for key in KEY.findall(text)}
    assert len(named) > 20
    assert {(file, key) for file, key in named if key not in recipe_keys() | BUDGET_KEYS} == set()
