"""`--training` changes the recipe of a command, and each training has run folders of its own."""

from pathlib import Path

import pytest
import yaml

from benchmarks.common.arguments import add_run_options, command_parser, parse_run_options
from raynas.recipe.recipe import Recipe


def test_a_training_has_its_settings_and_its_own_run_folders(tmp_path: Path) -> None:
    file = tmp_path / "soft.yaml"
    file.write_text(yaml.safe_dump({"label_smoothing": 0.1, "no_decay": ["norm"], "clip_norm": None}))
    parser = command_parser("hm_nas.tables", "")
    add_run_options(parser, "runs/hm-nas")
    of_paper = parse_run_options(parser, ["--set", "seed=3"])
    changed = parse_run_options(parser, ["--training", str(file), "--set", "training.label_smoothing=0.2"])
    assert (of_paper.out, changed.out) == (Path("runs/hm-nas"), Path("runs/hm-nas/soft"))
    assert of_paper.changes == ["seed=3"]
    training = Recipe.read("hm-nas-digits", changed.changes).training
    assert (training.label_smoothing, training.no_decay, training.clip_norm) == (0.2, ("norm",), None)


def test_a_training_needs_a_file(tmp_path: Path) -> None:
    parser = command_parser("hm_nas.tables", "")
    add_run_options(parser, "runs/hm-nas")
    with pytest.raises(SystemExit) as end:
        parse_run_options(parser, ["--training", str(tmp_path / "absent.yaml")])
    assert end.value.code == 2
