"""What a method is to the engine: settings, a name in the entry-point group `raynas.methods`, and `run`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from raynas.recipe.recipe import Recipe
from search_spaces.errors import UserError, nearest
from search_spaces.validation import validate

if TYPE_CHECKING:
    from raynas.results.outcome import Outcome
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study

_GROUP = "raynas.methods"


class Method(BaseModel, ABC):
    """A way to search. Its fields are the recipe's `method` settings; a field `search` takes the recipe's `search`.

    Attributes:
        paper: where the method comes from.
        spaces: which search spaces it works on, in words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    paper: ClassVar[str]
    spaces: ClassVar[str]

    def check(self, plan: Plan) -> None:
        """Look for what would fail later; called before anything is trained.

        Raises:
            UserError: if the method cannot do what the recipe asks.
        """

    @abstractmethod
    def run(self, study: Study) -> Outcome:
        """The method, as a sequence of the study's durable steps."""


def check_training_key_unset(recipe: Recipe, setting: str, instead: str) -> None:
    """Raises UserError if the recipe gives a setting of training that the method has under another name."""
    if getattr(recipe.training, setting) != type(recipe.training).model_fields[setting].default:
        raise UserError(f"The method {recipe.method['name']} has {instead}: leave training.{setting} out.")


def check_fit_batch_size(plan: Plan) -> None:
    """Raises UserError if there are too few images for the recipe's `fit`, with which a method's last step trains."""
    images = plan.data.counts["train"] + plan.data.counts["validation"]
    if plan.recipe.fit.batch_size > images:
        raise UserError(f"fit.batch_size = {plan.recipe.fit.batch_size} is more than the {images} training images.")


def names() -> list[str]:
    """The names of all methods that are installed, in alphabetical order."""
    return sorted(entry_points(group=_GROUP).names)


def kind(name: str) -> type[Method]:
    """The class of a method.

    Raises:
        UserError: if no installed package offers it.
    """
    found = entry_points(group=_GROUP, name=name)
    if not found:
        raise UserError(f"No method is called {name!r}; {nearest(name, names())}")
    loaded: type[Method] = next(iter(found)).load()
    return loaded


def method_of_recipe(recipe: Recipe) -> Method:
    """The recipe's method with the recipe's settings.

    Raises:
        UserError: if there is no such method, or it does not know a setting.
    """
    chosen = kind(recipe.method["name"])
    settings: dict[str, Any] = {key: value for key, value in recipe.method.items() if key != "name"}
    if "search" in settings:
        raise UserError("The settings of the search stand under the recipe's own key search, not under method.")
    if recipe.search:
        if "search" not in chosen.model_fields:
            raise UserError(f"The method {recipe.method['name']} has no search to set: leave the key search out.")
        settings["search"] = recipe.search
    return validate(chosen, settings, f"the method {recipe.method['name']}")
