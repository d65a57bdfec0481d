"""A recipe is read as it is written; what it may not hold is named, with what was probably meant."""

import re
from importlib import resources
from pathlib import Path

import pytest

from raynas.recipe.recipe import FREE_KEYS, Recipe, shipped_recipes
from raynas.storage.difference import difference
from raynas.study.method import method_of_recipe
from search_spaces import load
from search_spaces.errors import UserError

LEAST = {"method": "pad-nas", "space": "proxylessnas"}


def test_a_name_alone_is_a_method_or_a_space_without_settings() -> None:
    read = Recipe.read(LEAST)
    assert read.method == {"name": "pad-nas"}
    assert read.space == {"name": "proxylessnas"}
    assert read == Recipe.read({"method": {"name": "pad-nas"}, "space": {"name": "proxylessnas"}})


@pytest.mark.parametrize(
    ("wrong", "key", "meant"),
    [
        ({"trainig": {}}, "'trainig'", "'training'"),
        ({"training": {"learning_rat": 1}}, "'training.learning_rat'", "'learning_rate'"),
        ({"scale": {"evaluat": {}}}, "'scale.evaluat'", "'evaluate'"),
        ({"data": {"clases": 3}}, "'data.clases'", "'classes'"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(wrong: dict[str, object], key: str, meant: str) -> None:
    with pytest.raises(UserError) as refusal:
        Recipe.read({**LEAST, **wrong})
    assert f"no key {key}" in str(refusal.value)
    assert f"nearest is {meant}" in str(refusal.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"training": {"epochs": 0}}, "training.epochs = 0"),
        ({"training": {"schedule": "steps"}}, "the schedule steps and its milestones go together"),
        ({"fit": {"milestones": [30]}}, "the schedule steps and its milestones go together"),
        ({"training": {"schedule": "stairs"}}, "training.schedule = 'stairs'"),
        ({"space": {"width": 1}}, "needs a name"),
        ({"seed": "x"}, "seed = 'x'"),
        ({"budget": {"macs": {"max": "many"}}}, "budget.macs.max = 'many'"),
    ],
)
def test_a_wrong_value_is_named(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        Recipe.read({**LEAST, **wrong})


def test_a_recipe_without_a_method_lacks_one() -> None:
    with pytest.raises(UserError, match="lacks 'method'"):
        Recipe.read({"space": "proxylessnas"})


def test_changes_reach_any_depth_and_are_read_as_yaml() -> None:
    changes = ["method.stages=3", "method.epochs=[4, 2]", "budget.macs.max=2M", "data.path=null", "seed=7"]
    read = Recipe.read(LEAST, changes)
    assert read.method == {"name": "pad-nas", "stages": 3, "epochs": [4, 2]}
    assert read.budget.root["macs"].max == 2e6
    assert read.seed == 7


def test_changes_leave_the_mapping_that_was_given_alone() -> None:
    given = {**LEAST, "training": {"epochs": 1}}
    Recipe.read(given, ["training.epochs=2"])
    assert given["training"] == {"epochs": 1}


@pytest.mark.parametrize("change", ["seed", "=3"])
def test_a_change_without_a_path_or_a_value_is_refused(change: str) -> None:
    with pytest.raises(UserError, match="PATH=VALUE"):
        Recipe.read(LEAST, [change])


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    for text, said in (("- a\n- b", "not a mapping"), ("a: [", "YAML cannot read")):
        (tmp_path / "r.yaml").write_text(text)
        with pytest.raises(UserError, match=said):
            Recipe.read(tmp_path / "r.yaml")


def test_an_unknown_recipe_is_answered_with_those_that_ship() -> None:
    with pytest.raises(UserError, match=re.escape(", ".join(shipped_recipes()))):
        Recipe.read("pad-nas-digit")


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_one(name: str) -> None:
    """Down to its method's, its search's and its space's own settings."""
    read = Recipe.read(name)
    method_of_recipe(read)
    settings = {key: value for key, value in read.space.items() if key != "name"}
    space = load(read.space["name"], **settings, num_classes=10 if read.data.name == "digits" else 1000)
    assert space.size() > {"ftso-nats-bench": 1e4, "fp-nas-digits": 1e7}.get(name, 1e16)
    if read.latency is None:
        read.budget.check(space.costs())


def test_the_published_recipes_say_what_the_paper_says() -> None:
    read = Recipe.read("pad-nas-imagenet")
    assert read.method == {
        "name": "pad-nas",
        "stages": 4,
        "epochs": [120, 80, 40],
        "learning_rates": [0.5, 0.1, 0.1],
        "prune_below": 0.01,
    }
    assert (read.training.batch_size, read.training.momentum, read.training.weight_decay) == (1024, 0.9, 4e-5)
    assert (read.search["population"], read.search["generations"]) == (64, 40)
    assert Recipe.read("pad-nas-imagenet-large").space["name"] == "proxylessnas-large"


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [("fbnet-b", 4.8e6, 300e6), ("fbnet-c", 5.5e6, 375e6), ("mnasnet", 3.9e6, 312e6), ("efficientnet", 5.3e6, 390e6)],
)
def test_hournas_recipes_aim_at_what_the_paper_aims_at(name: str, params: float, macs: float) -> None:
    """HourNAS section 4.2: what FBNet-B and -C, MnasNet-A1 and EfficientNet-B0 cost, within 3 %."""
    budget = Recipe.read(f"hour-nas-{name}").budget
    low, high = budget.root["params"].interval()
    assert (low, high) == pytest.approx((0.97 * params, 1.03 * params))
    assert budget.root["macs"].interval() == pytest.approx((0.97 * macs, 1.03 * macs))


@pytest.mark.parametrize(
    ("name", "rate", "beta_rate", "cells", "channels", "drop_path"),
    [("ftso-cifar10", 0.025, 6e-4, 20, 36, 0.3), ("ftso-imagenet", 0.5, 6e-3, 14, 48, 0.0)],
)
def test_the_ftso_recipes_say_what_its_table_4_says(
    name: str, rate: float, beta_rate: float, cells: int, channels: int, drop_path: float
) -> None:
    read = Recipe.read(name)
    assert [read.space[key] for key in ("cells", "channels", "partial", "operations")] == [8, 16, 4, 8]
    assert (read.training.learning_rate, read.method["architecture_learning_rate"]) == (rate, beta_rate)
    assert (read.training.optimizer, read.training.momentum) == ("sgd", 0.9)
    text = (resources.files("raynas.recipe") / "shipped" / f"{name}.yaml").read_text()
    evaluation = Recipe.read({"method": "fit", "space": read.space["name"]}, _changes(text))
    assert (evaluation.space["cells"], evaluation.space["channels"]) == (cells, channels)
    assert load(**evaluation.space).size() == 8**28
    fit = evaluation.fit
    assert (fit.learning_rate, fit.auxiliary_weight, fit.drop_path, fit.clip_norm) == (rate, 0.4, drop_path, 5)
    assert (read.fit.auxiliary_weight, read.fit.drop_path, read.training.clip_norm) == (0.4, drop_path, 5)


def _changes(text: str) -> list[str]:
    """Those of the command in a recipe's first comment, with the paths that `raynas fit` gives them."""
    changes = re.findall(r"--set (\S+)", text)
    return [change if "." in change.partition("=")[0] else f"fit.{change}" for change in changes]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": {"name": "pad-nas", "stages": 3}}, "3 stages need 2 epochs"),
        ({"method": {"name": "pad-nas", "stage": 3}}, "'stage'; the nearest is 'stages'"),
        ({"method": "pad-nass"}, "No method is called 'pad-nass'; the nearest is 'pad-nas'"),
        ({"search": {"populations": 3}}, "'search.populations'; the nearest is 'population'"),
        ({"method": {"name": "pad-nas", "search": {}}}, "recipe's own key search"),
        ({"method": "i-supernet", "search": {"population": 1}}, "search.population = 1"),
    ],
)
def test_a_methods_settings_are_checked_by_the_method(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as refusal:
        method_of_recipe(Recipe.read({**LEAST, **settings}))
    assert said in str(refusal.value)


def test_what_cannot_change_results_is_not_part_of_a_recipes_identity() -> None:
    read = Recipe.read(LEAST)
    free = [
        "scale.evaluate.actors=5",
        "scale.max_failures=9",
        "data.path=null",
        "training.checkpoint_minutes=2",
        "notes=[a]",
    ]
    assert Recipe.read(LEAST, free).identity() == read.identity()
    assert list(difference(read.json_value(), Recipe.read(LEAST, free).json_value(), FREE_KEYS)) == []
    for decisive in ("seed=1", "scale.train.workers=2", "training.batch_size=8", "method.stages=4", "scale.train.threads=2"):
        assert Recipe.read(LEAST, [decisive]).identity() != read.identity()


def test_the_field_that_differs_is_named() -> None:
    before, now = (Recipe.read(LEAST, changes).json_value() for changes in ([], ["training.momentum=0.5"]))
    assert list(difference(before, now, FREE_KEYS)) == [("training.momentum", 0.9, 0.5)]
