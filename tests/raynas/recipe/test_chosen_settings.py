"""A recipe that chooses no epochs, batch size or rate is refused: no default suits all images and networks."""

import pytest

from raynas.networks.fit import fit_recipe
from raynas.recipe.recipe import Recipe
from raynas.study.method import method_of_recipe
from raynas.study.run_plan import check_fit, plan
from search_spaces.errors import UserError

TEXT = "nas-bench-macro: k3e3 k3e3 | k3e3 k3e3 k3e3 | k3e3 k3e3 k3e3"
CHOSEN = {"epochs": 2, "batch_size": 16, "learning_rate": 0.1}


@pytest.mark.parametrize(
    ("method", "keys"),
    [
        ("spos", ["epochs", "batch_size", "learning_rate"]),
        ("hm-nas", ["epochs", "batch_size", "learning_rate"]),
        ("darts", ["epochs", "batch_size", "learning_rate"]),
        ("pad-nas", ["batch_size"]),
        ("hour-nas", ["batch_size", "learning_rate"]),
        ("fp-nas-sweep", ["batch_size", "learning_rate"]),
        ("ftso", ["batch_size", "learning_rate"]),
        ({"name": "sweep", "of": {"name": "parsec"}}, ["batch_size", "learning_rate"]),
        (
            {"name": "sweep", "of": {"name": "spos"}, "settings": [{"name": "a", "set": {"training.epochs": 1}}]},
            ["batch_size", "learning_rate"],
        ),
    ],
)
def test_a_run_whose_training_was_never_chosen_is_refused(method: object, keys: list[str]) -> None:
    content = {"method": method, "space": "darts"}
    with pytest.raises(UserError) as error:
        method_of_recipe(Recipe.read(content))
    assert [key for key in CHOSEN if f"training.{key}" in str(error.value)] == keys
    method_of_recipe(Recipe.read({**content, "training": {key: CHOSEN[key] for key in keys}}))


def test_a_tuning_alone_reads_no_training() -> None:
    method_of_recipe(Recipe.read({"method": {"name": "hm-nas", "searched_run": "runs/x"}, "space": "darts"}))


def test_a_fit_whose_settings_were_never_chosen_is_refused() -> None:
    small = ["data.name=digits", "epochs=2", "batch_size=16"]
    with pytest.raises(
        UserError, match=r"fit\.learning_rate has no default that suits all images and networks: set it"
    ):
        check_fit(plan(fit_recipe(TEXT, None, small)))
    check_fit(plan(fit_recipe(TEXT, None, [*small, "learning_rate=0.1"])))


def test_a_run_folder_keeps_which_settings_of_a_fit_were_chosen() -> None:
    recipe = Recipe.read({"method": "spos", "space": "darts", "fit": {"epochs": 2}})
    written = recipe.json_value()
    assert written["fit"] == {"epochs": 2}
    assert Recipe.read(written) == recipe
    assert Recipe.read(written).fit.model_fields_set == {"epochs"}
