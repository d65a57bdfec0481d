"""Contract checks for authors of spaces, searchers, objectives and methods. Each raises AssertionError with a reason.

def test_my_space():
    check_space(search_spaces.load("my-space", width=0.25, resolution=32))

def test_my_method(tmp_path):
    check_method({"method": "my-method", "space": "my-space", ...}, tmp_path)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from raynas.interfaces.objective import Learner, Objective
from raynas.interfaces.searcher import Evaluation, Searcher
from raynas.results.evaluation_table import COLUMNS
from raynas.storage.portable import Portable, Reference
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from raynas.study.run import run
from search_spaces import Architecture, Budget, Costs, SearchSpace, from_specification

_TIMES = {"seconds"}


def check_space(space: SearchSpace, architectures: int = 3, seed: int = 0) -> None:
    """Check what the engine relies on in a space.

    Architectures parse back from their text. The specification rebuilds the space as plain JSON. Costs lie within the
    bounds. A network has the counted parameters and multiply-adds, and takes its weights from the supernet.

    Args:
        architectures: the number of random architectures to check. Each one is built and run at the space's resolution.
    """
    generator = np.random.default_rng(seed)
    drawn = [space.sample(generator) for _ in range(architectures)]
    rebuilt = from_specification(json.loads(json.dumps(space.specification())))
    assert rebuilt.choices == space.choices, "the specification rebuilds the choices"
    assert rebuilt.surviving == space.surviving, "the specification rebuilds the surviving options"
    assert space.size() >= len(set(drawn)), "size() counts every architecture"
    bounds, costs = space.costs().bounds(), space.costs().cost(drawn)
    for architecture in drawn:
        assert architecture in space, f"{architecture} is in its space"
        assert space.parse(str(architecture)) == architecture, f"{architecture} parses back"
        assert rebuilt.parse(str(architecture)) == architecture, f"{architecture} parses in the rebuilt space"
        assert space.only(architecture).size() == 1, f"only({architecture}) holds one architecture"
    for resource, (least, most) in bounds.items():
        values = costs[resource].tolist()
        assert all(least <= value <= most for value in values), f"{resource} lies within its bounds"
    torch.manual_seed(seed)
    state = space.supernet().state_dict()
    for position, architecture in enumerate(drawn):
        network = space.network(architecture).eval()
        network.load_state_dict(space.network_state(architecture, state))
        params = sum(parameter.numel() for parameter in network.parameters())
        assert params == int(costs["params"][position]), f"the network of {architecture} has the counted parameters"
        images = torch.randn(1, 3, space.resolution, space.resolution)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            logits = network(images)
        assert logits.shape == (1, space.num_classes), f"the network of {architecture} returns logits"
        macs = counter.get_total_flops() // 2
        assert macs == int(costs["macs"][position]), f"the network of {architecture} has the counted multiply-adds"


def check_portable(settings: Portable) -> None:
    """Check that another process can rebuild the settings from plain JSON."""
    reference = Reference.model_validate(json.loads(json.dumps(settings.reference().model_dump(mode="json"))))
    assert Portable.restore(reference) == settings, "the settings rebuild from their reference"


def check_objective(objective: Objective, space: SearchSpace, seed: int = 0) -> None:
    """Check that learners begin equal on every worker, have updates to make, and restore from their state."""
    check_portable(objective)
    first, second = (_begin(objective, space, seed) for _ in range(2))
    assert _equal(first.state_dict(), second.state_dict()), "learners begin equal"
    second.load_state_dict(first.state_dict())
    passes = first.passes(0)
    assert passes, "the first epoch has passes"
    assert all(updates for updates in passes), "each pass has updates"


def _begin(objective: Objective, space: SearchSpace, seed: int) -> Learner:
    torch.manual_seed(seed)
    learner: Learner = objective.begin(space, space.costs(), seed)
    return learner


def _equal(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def check_searcher(searcher: Searcher, space: SearchSpace, budget: Budget, generations: int = 3) -> None:
    """Check that a search keeps to the budget, asks for no architecture twice, and goes on from its state as JSON."""
    check_portable(searcher)
    costs = space.costs()
    search = searcher.begin(space, costs, budget, 0)
    restored = searcher.begin(space, costs, budget, 0)
    proposed: set[Architecture] = set()
    for _ in range(generations):
        architectures = search.ask()
        assert restored.ask() == architectures, "a restored search asks for the same architectures"
        assert all(budget.met(costs.cost(architectures)).tolist()), "every architecture meets the budget"
        assert not set(architectures) & proposed, "the search proposes no architecture twice"
        proposed.update(architectures)
        search.tell([_evaluation(architecture, costs) for architecture in architectures])
        restored = searcher.begin(space, costs, budget, 0)
        restored.restore(json.loads(json.dumps(search.state())))


def _evaluation(architecture: Architecture, costs: Costs) -> Evaluation:
    """Return made-up figures, which follow from the options."""
    own = {resource: float(values[0]) for resource, values in costs.cost([architecture]).items()}
    return Evaluation(architecture, 50.0 + sum(architecture.indices) % 50, 100.0, 1.0, 100, own, 0.0)


def check_method(recipe: str | Path | dict[str, Any], folder: Path) -> None:
    """Run a recipe, and check its outcome. The same recipe in the same folder must read everything back.

    Args:
        recipe: a small recipe of the method.
        folder: an empty folder.
    """
    out = folder / "run"
    outcome = run(recipe, out)
    steps = records(RunFolder(out))
    names = [step["name"] for step in steps]
    assert len(set(names)) == len(names), "every step has a name of its own"
    assert all(step["state"] == "finished" for step in steps), "every step is finished"
    assert set(COLUMNS) <= set(outcome.table.columns), "the evaluation table has its columns"
    assert outcome.final in names, "the final step is a step of the run"
    assert outcome.best, "the run finds a network within the budget"
    assert outcome.best["architecture"] in set(outcome.evaluated["architecture"]), "the best network was evaluated"
    (out / "outcome.json").unlink()
    again = run(recipe, out)
    assert [step["attempt"] for step in records(RunFolder(out))] == [1] * len(steps), "no step runs twice"
    columns = [column for column in outcome.table.columns if column not in _TIMES]
    pd.testing.assert_frame_equal(again.table[columns], outcome.table[columns])
    assert again.best == outcome.best, "the second run reads the same best network back"
