"""Test that valid recipes are read, and that an error names the wrong key or value and the nearest valid one."""

import re
from pathlib import Path

import pytest

import search_spaces
from raynas.recipe.recipe import FREE_KEYS, Recipe, shipped_recipes
from raynas.storage.difference import difference
from raynas.study.method import method_of_recipe
from raynas.training.learning_rate import learning_rate
from search_spaces import load
from search_spaces.errors import UserError
from tests.support.printed_fits import printed_fits, shipped_text

MINIMAL = {"method": "pad-nas", "space": "proxylessnas"}


def test_a_name_is_a_method_or_a_space_without_settings() -> None:
    recipe = Recipe.read(MINIMAL)
    assert recipe.method == {"name": "pad-nas"}
    assert recipe.space == {"name": "proxylessnas"}
    assert recipe == Recipe.read({"method": {"name": "pad-nas"}, "space": {"name": "proxylessnas"}})


@pytest.mark.parametrize(
    ("change", "key", "nearest"),
    [
        ({"trainig": {}}, "'trainig'", "'training'"),
        ({"training": {"learning_rat": 1}}, "'training.learning_rat'", "'learning_rate'"),
        ({"scale": {"evaluat": {}}}, "'scale.evaluat'", "'evaluate'"),
        ({"data": {"clases": 3}}, "'data.clases'", "'classes'"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(change: dict[str, object], key: str, nearest: str) -> None:
    with pytest.raises(UserError) as error:
        Recipe.read({**MINIMAL, **change})
    assert f"no key {key}" in str(error.value)
    assert f"nearest is {nearest}" in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
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
def test_a_wrong_value_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        Recipe.read({**MINIMAL, **change})


def test_a_recipe_needs_a_method() -> None:
    with pytest.raises(UserError, match="lacks 'method'"):
        Recipe.read({"space": "proxylessnas"})


def test_changes_reach_any_depth_and_are_read_as_yaml() -> None:
    changes = ["method.stages=3", "method.epochs=[4, 2]", "budget.macs.max=2M", "data.path=null", "seed=7"]
    recipe = Recipe.read(MINIMAL, changes)
    assert recipe.method == {"name": "pad-nas", "stages": 3, "epochs": [4, 2]}
    assert recipe.budget.root["macs"].max == 2e6
    assert recipe.seed == 7


def test_changes_leave_the_original_mapping_as_it_was() -> None:
    mapping = {**MINIMAL, "training": {"epochs": 1}}
    Recipe.read(mapping, ["training.epochs=2"])
    assert mapping["training"] == {"epochs": 1}


@pytest.mark.parametrize("change", ["seed", "=3"])
def test_a_change_without_a_path_or_a_value_is_refused(change: str) -> None:
    with pytest.raises(UserError, match="PATH=VALUE"):
        Recipe.read(MINIMAL, [change])


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    for text, message in (("- a\n- b", "not a mapping"), ("a: [", "YAML cannot read")):
        (tmp_path / "r.yaml").write_text(text)
        with pytest.raises(UserError, match=message):
            Recipe.read(tmp_path / "r.yaml")


def test_the_error_of_an_unknown_recipe_lists_the_shipped_recipes() -> None:
    with pytest.raises(UserError, match=re.escape(", ".join(shipped_recipes()))):
        Recipe.read("pad-nas-digit")


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_valid(name: str) -> None:
    """The settings of its method, its search and its space are valid, too."""
    recipe = Recipe.read(name)
    method_of_recipe(recipe)
    settings = {key: value for key, value in recipe.space.items() if key != "name"}
    space = load(recipe.space["name"], **settings, num_classes=10 if recipe.data.name == "digits" else 1000)
    assert space.size() > {"ftso-nats-bench": 1e4, "fp-nas-digits": 1e7, "dmasking-digits": 1e7}.get(name, 1e16)
    if recipe.latency is None:
        recipe.budget.check(space.costs())


def test_the_recipes_of_pad_nas_have_the_settings_of_its_paper() -> None:
    recipe = Recipe.read("pad-nas-imagenet")
    assert recipe.method == {
        "name": "pad-nas",
        "stages": 4,
        "epochs": [120, 80, 40],
        "learning_rates": [0.5, 0.1, 0.1],
        "prune_below": 0.01,
    }
    assert (recipe.training.batch_size, recipe.training.momentum, recipe.training.weight_decay) == (1024, 0.9, 4e-5)
    assert (recipe.search["population"], recipe.search["generations"]) == (64, 40)
    assert Recipe.read("pad-nas-imagenet-large").space["name"] == "proxylessnas-large"


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("pad-nas-imagenet", (310, 315, 347)),
        ("pad-nas-imagenet-large", (271, 334, 385, 401, 444)),
        ("pad-nas-mobilenetv3", (182, 222, 266)),
    ],
)
def test_the_windows_of_pad_nas_admit_the_printed_networks(name: str, printed: tuple[int, ...]) -> None:
    """The printed millions of multiply-adds are those of tables 3 and 4. Some recipes have the window as a comment."""
    text = shipped_text(name)
    (window,) = re.findall(r"macs: \{min: (\d+)M, max: (\d+)M\}", text)
    assert int(window[0]) <= min(printed) <= max(printed) <= int(window[1])
    training, fit = Recipe.read(name).training, Recipe.read(name).fit
    for settings in (training, fit):
        assert (settings.label_smoothing, settings.color_jitter, settings.no_decay) == (0.1, 0.4, ("norm", "bias"))


@pytest.mark.parametrize(
    ("network", "name", "changes"),
    [
        ("hournas-a", "fbnet-b", []),
        ("hournas-b", "fbnet-c", []),
        ("hournas-c", "enlarged", []),
        ("hournas-d", "enlarged", ["budget.params.target=5.5M", "budget.macs.target=394M"]),
        ("hournas-e", "mnasnet", []),
        ("hournas-f", "efficientnet", []),
        ("hournas-g", "fbnet-b", ["method.vital_first=false", "method.epochs=3"]),
    ],
)
def test_a_published_network_of_hournas_meets_the_budget_of_its_recipe(
    network: str, name: str, changes: list[str]
) -> None:
    recipe, printed = Recipe.read(f"hour-nas-{name}", changes), search_spaces.published(network)
    settings = dict(recipe.space)
    space = search_spaces.load(settings.pop("name"), **settings)
    assert space.name == printed.space.name
    architecture = space.architecture(printed.architecture.indices)
    assert recipe.budget.met(space.costs().cost([architecture])).all()
    targets = [limit.target for limit in recipe.budget.root.values()]
    if network != "hournas-g":
        assert targets == [printed.params_m * 1e6, printed.macs_m * 1e6]


@pytest.mark.parametrize(
    ("name", "rate", "beta_rate", "cells", "channels", "drop_path"),
    [("ftso-cifar10", 0.025, 6e-4, 20, 36, 0.3), ("ftso-imagenet", 0.5, 6e-3, 14, 48, 0.0)],
)
def test_the_recipes_of_ftso_have_the_settings_of_table_4(
    name: str, rate: float, beta_rate: float, cells: int, channels: int, drop_path: float
) -> None:
    recipe = Recipe.read(name)
    assert [recipe.space[key] for key in ("cells", "channels", "partial", "operations")] == [8, 16, 4, 8]
    assert (recipe.training.learning_rate, recipe.method["architecture_learning_rate"]) == (rate, beta_rate)
    assert (recipe.training.optimizer, recipe.training.momentum) == ("sgd", 0.9)
    assert (recipe.training.schedule, learning_rate(recipe.training.changed(epochs=1), 99, 100) < 0.4 * rate) == (
        ("cosine", True) if name == "ftso-cifar10" else ("steps", False)
    )
    (command,) = printed_fits(shipped_text(name))
    evaluation = Recipe.read(name, command.changes)
    assert (evaluation.space["cells"], evaluation.space["channels"]) == (cells, channels)
    settings = {key: value for key, value in evaluation.space.items() if key != "name"}
    assert load(evaluation.space["name"], **settings).size() == 8**28
    assert (recipe.fit.learning_rate, recipe.fit.auxiliary_weight, recipe.fit.drop_path) == (rate, 0.4, drop_path)
    assert (recipe.fit.clip_norm, recipe.training.clip_norm) == (5, 5)


@pytest.mark.parametrize(
    ("name", "rate", "batch", "warmup", "fit_batch", "drop_path"),
    [("darts-cifar10", 0.025, 64, 0, 96, 0.2), ("pc-darts-cifar10", 0.1, 256, 15, 128, 0.3)],
)
def test_the_recipes_of_darts_have_the_settings_of_their_papers(
    name: str, rate: float, batch: int, warmup: int, fit_batch: int, drop_path: float
) -> None:
    recipe = Recipe.read(name)
    training, fit = recipe.training, recipe.fit
    assert (training.epochs, training.batch_size, training.learning_rate, training.clip_norm) == (50, batch, rate, 5)
    assert (training.momentum, training.weight_decay, training.schedule) == (0.9, 3e-4, "cosine")
    assert (fit.epochs, fit.learning_rate, fit.cutout, fit.auxiliary_weight) == (600, 0.025, 16, 0.4)
    assert (fit.batch_size, fit.drop_path) == (fit_batch, drop_path)
    assert recipe.method.get("warmup_epochs", 0) == warmup
    assert recipe.data.validation == 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": {"name": "pad-nas", "stages": 3}}, "3 stages need 2 values of epochs"),
        ({"method": {"name": "pad-nas", "stage": 3}}, "'stage'; the nearest is 'stages'"),
        ({"method": "pad-nass"}, "No method is called 'pad-nass'; the nearest is 'pad-nas'"),
        ({"search": {"populations": 3}}, "'search.populations'; the nearest is 'population'"),
        ({"method": {"name": "pad-nas", "search": {}}}, "recipe's own key search"),
        ({"method": "i-supernet", "search": {"population": 1}}, "search.population = 1"),
    ],
)
def test_a_method_checks_its_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as error:
        method_of_recipe(Recipe.read({**MINIMAL, **settings}))
    assert message in str(error.value)


def test_free_keys_do_not_change_the_identity_of_a_recipe() -> None:
    recipe = Recipe.read(MINIMAL)
    free = [
        "scale.evaluate.actors=5",
        "scale.max_failures=9",
        "data.path=null",
        "training.checkpoint_minutes=2",
        "notes=[a]",
    ]
    assert Recipe.read(MINIMAL, free).identity() == recipe.identity()
    assert list(difference(recipe.json_value(), Recipe.read(MINIMAL, free).json_value(), FREE_KEYS)) == []
    for decisive in (
        "seed=1",
        "scale.train.workers=2",
        "training.batch_size=8",
        "method.stages=4",
        "scale.train.threads=2",
    ):
        assert Recipe.read(MINIMAL, [decisive]).identity() != recipe.identity()


def test_the_field_that_differs_is_found() -> None:
    before, now = (Recipe.read(MINIMAL, changes).json_value() for changes in ([], ["training.momentum=0.5"]))
    assert list(difference(before, now, FREE_KEYS)) == [("training.momentum", 0.9, 0.5)]
