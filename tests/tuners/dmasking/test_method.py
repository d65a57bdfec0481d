"""DMaskingNAS from end to end, and the recipes that it refuses."""

from pathlib import Path

import pytest

from benchmarks.speed.in_process import run_in_process
from raynas.recipe.recipe import Recipe
from raynas.study.method import method_of_recipe
from raynas.study.run_plan import plan
from search_spaces import Budget, UserError
from tuners.dmasking.method import DMasking

SHORT = ["method.epochs=2", "method.warmup_epochs=1", "training.steps=3", "method.architecture_learning_rate=0.5"]


def test_the_search_ends_within_a_budget_that_its_most_probable_architecture_exceeds(tmp_path: Path) -> None:
    """Almost no architecture meets this budget. Equal seeds find equal architectures."""
    recipe = Recipe.read("dmasking-digits", [*SHORT, "budget.macs.max=410k"])
    outcomes = [run_in_process(recipe, tmp_path / name, threads=1) for name in ("one", "two")]
    for outcome in outcomes:
        most_probable = outcome.table[outcome.table["step"] == "supernet"].iloc[-1]
        (chosen,) = outcome.evaluated.to_dict("records")
        assert not most_probable["feasible"]
        assert chosen["feasible"]
        assert chosen["temperature"] == pytest.approx(5.0 * 0.91)
    assert outcomes[0].best == outcomes[1].best


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["method.warmup_epochs=40"], r"method\.warmup_epochs is 40; it must be below method\.epochs"),
        (["space={name: nats-bench, cells: 1, channels: 4, resolution: 16}", "budget={}"], "nats-bench has cells"),
        (["training.epochs=3"], r"training\.epochs has no effect on dmasking: set method\.epochs"),
    ],
)
def test_what_the_search_cannot_do_is_refused(changes: list[str], message: str) -> None:
    recipe = Recipe.read("dmasking-digits", changes)
    with pytest.raises(UserError, match=message):
        method_of_recipe(recipe).check(plan(recipe))


def test_the_first_resource_of_the_budget_is_the_cost_of_the_loss() -> None:
    assert DMasking().objective(Budget({})).resource == "macs"
    limits = {"params": {"max": "1M"}, "macs": {"max": "60M"}}
    assert DMasking().objective(Budget.model_validate(limits)).resource == "params"
