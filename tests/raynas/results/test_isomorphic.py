"""Isomorphic architectures have a row of the table each, but are one network in stand-alone training."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from raynas.interfaces.searcher import Evaluation
from raynas.networks.export import export
from raynas.networks.fit import fit_architecture, fit_recipe, fit_run
from raynas.networks.trained_network import find_network
from raynas.results.evaluation_table import EvaluationTable
from raynas.results.fit_result import correlations, read_networks, standalone_rows, with_standalone
from raynas.results.outcome import Outcome, load
from raynas.storage.progress import Quiet
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import step_names
from raynas.study.steps import Steps
from search_spaces import Architecture, UserError
from search_spaces import load as load_space

SPACE = load_space("nas-bench-macro")
COSTS = SPACE.costs()
FIRST, MOVED = (f"nas-bench-macro: k5e6 k3e3 | k3e3 {ending} | k5e6 skip skip" for ending in ("k5e6 skip", "skip k5e6"))
OTHER, THIRD = "nas-bench-macro: k5e6 skip | skip skip skip | skip skip skip", str(SPACE.architecture([1] * 8))


def outcome(folder: Path, top1: dict[str, float]) -> Outcome:
    """Return the outcome of a run that has evaluated these architectures, with their true costs."""
    Steps(RunFolder(folder), 1, Quiet()).do("final", "evaluation", "", {}, lambda _: {})
    rows = []
    for text, accuracy in top1.items():
        architecture = SPACE.parse(text)
        costs = {key: float(amounts[0]) for key, amounts in COSTS.cost([architecture]).items()}
        rows.append(Evaluation(architecture, accuracy, 99.0, 0.5, 100, costs, 0.01))
    table = EvaluationTable(RunFolder(folder))
    shared = {"recipe_hash": "abc", "part": "validation", "weights_version": "supernet:3", "seed": 5}
    table.write("final", 0, 0, rows, shared)
    return Outcome(str(folder), "spos", SPACE.specification(), table.read(), "final", "macs", None)


def isomorphic_to(text: str) -> list[Architecture]:
    """Return the other architectures of the same network."""
    own = SPACE.parse(text)
    others = (other for other in map(SPACE.architecture, product(*SPACE.values())) if other != own)
    return [other for other in others if SPACE.canonical(other) == SPACE.canonical(own)]


def test_the_most_accurate_are_different_networks(tmp_path: Path) -> None:
    result = outcome(tmp_path, {MOVED: 80.0, FIRST: 81.0, OTHER: 60.0, THIRD: 70.0})
    assert len(result.table) == 4
    assert result.most_accurate(2) == [FIRST, THIRD]
    assert result.most_accurate(9) == [FIRST, THIRD, OTHER]


def test_the_front_has_each_network_once_at_equal_accuracy(tmp_path: Path) -> None:
    result = outcome(tmp_path, {MOVED: 81.0, FIRST: 81.0, OTHER: 60.0})
    assert result.front["architecture"].tolist() == [OTHER, min(FIRST, MOVED)]
    assert result.best["architecture"] == min(FIRST, MOVED)
    worse = outcome(tmp_path, {MOVED: 81.5, FIRST: 81.0, OTHER: 60.0})
    assert worse.front["architecture"].tolist() == [OTHER, MOVED]
    assert worse.evaluated["architecture"].tolist() == [MOVED, FIRST, OTHER]


def test_isomorphic_rows_share_the_standalone_figures() -> None:
    """Two trainings of one network (a and b): the better stand-alone and the better one-shot accuracy count."""
    table = pd.DataFrame({"architecture": list("abcde"), "top1": [20.0, 10.0, 30.0, 40.0, 50.0]})
    networks = [
        {"architecture": "b", "isomorphic": ["a"], "top1": 90.0, "top5": 99.0, "balanced_top1": 89.0},
        {"architecture": "c", "isomorphic": [], "top1": 80.0, "top5": 98.0, "balanced_top1": 88.0},
        {"architecture": "a", "isomorphic": ["b"], "top1": 70.0, "top5": 97.0, "balanced_top1": 87.0},
        {"architecture": "d", "isomorphic": ["elsewhere"], "top1": 60.0, "top5": 96.0, "balanced_top1": 86.0},
    ]
    table = with_standalone(table, networks)
    assert table["standalone_top1"].fillna(0).tolist() == [90, 90, 80, 60, 0]
    assert table["standalone_top5"].fillna(0).tolist() == [99, 99, 98, 96, 0]
    assert table["standalone_balanced_top1"].fillna(0).tolist() == [89, 89, 88, 86, 0]
    rows = standalone_rows(table, networks)
    assert rows["architecture"].tolist() == ["a", "c", "d"]
    result = correlations(rows)
    assert result is not None
    assert result["networks"] == 3
    assert result["kendall_tau"] == pytest.approx(-1)


@pytest.mark.slow
def test_a_network_is_trained_once_for_all_its_architectures(standalone_run: Path, tmp_path: Path) -> None:
    """An evaluated network is trained as one of its isomorphic architectures."""
    run = tmp_path / "run"
    shutil.copytree(standalone_run, run)
    pairs = ((text, str(other)) for text in load(run).table["architecture"] for other in isomorphic_to(text))
    evaluated, written = next(pairs)
    (first,) = fit_run(str(run), [written], ["epochs=1"], Quiet())
    steps = step_names(RunFolder(run))
    (again,) = fit_run(str(run), [evaluated, written], ["epochs=1"], Quiet())
    assert again == first
    assert first["architecture"] == written
    assert step_names(RunFolder(run)) == steps
    assert load(run).table.set_index("architecture")["standalone_top1"][evaluated].max() >= first["top1"]
    isomorphic = {network["architecture"]: network["isomorphic"] for network in read_networks(RunFolder(run))}
    assert evaluated in isomorphic[written]
    assert find_network(run, evaluated).figures["top1"] == find_network(run, written).figures["top1"] >= first["top1"]
    card = export(str(run), evaluated, "safetensors", str(tmp_path / "net.safetensors"))
    assert SPACE.canonical(SPACE.parse(card["architecture"])) == SPACE.canonical(SPACE.parse(evaluated))
    with pytest.raises(UserError, match="holds no network of"):
        find_network(run, FIRST)


@pytest.mark.slow
def test_isomorphic_architectures_share_a_run_folder(
    tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["space.width=0.25", "space.resolution=16", "data.name=digits", "data.fraction=0.2", "epochs=1"]
    small += ["batch_size=32", "learning_rate=0.1"]
    first, second = (fit_architecture(text, None, fit_recipe(text, None, small), Quiet()) for text in (MOVED, FIRST))
    assert first == second
    assert first["architecture"] == MOVED
    assert len(list((tmp_path / "runs").iterdir())) == 1
